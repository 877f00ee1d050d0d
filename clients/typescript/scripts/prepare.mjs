// What npm runs after `npm install` here, and when another project installs this folder: builds
// dist/. For a project that only links the folder, npm installs nothing in it, so this does.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const cwd = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const npm = (...args) => execFileSync("npm", args, { cwd, stdio: "inherit", shell: process.platform === "win32" });

if (!existsSync(path.join(cwd, "node_modules/typescript"))) {
  npm("install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock");
}
npm("run", "build");
