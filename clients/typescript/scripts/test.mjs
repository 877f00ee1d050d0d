// Builds the client in a folder of its own, as it is installed, and runs tests against it.
//
// Usage: test.mjs [generated|node|browser|readme…]; all when none is named. The server is at
// ARRWDB_BINARY, or in target/ of this repository; node modules are those of ARRWDB_TEST_TOOLS, or
// of this folder.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const repository = path.resolve(here, "../..");
const modules = path.join(process.env.ARRWDB_TEST_TOOLS ?? here, "node_modules");
const binary = [
  process.env.ARRWDB_BINARY,
  path.join(repository, "target/release/arrwdb"),
  path.join(repository, "target/debug/arrwdb"),
].find((file) => file && existsSync(file));

const work = mkdtempSync(path.join(tmpdir(), "arrwdb-typescript-"));
const env = {
  ...process.env,
  ARRWDB_BINARY: binary,
  ARRWDB_CLIENT: here,
  PATH: `${path.join(modules, ".bin")}${path.delimiter}${process.env.PATH}`,
};
const run = (cwd, program, ...args) => execFileSync(program, args, { cwd, env, stdio: "inherit" });

const suites = process.argv.slice(2);
if (suites.length === 0) suites.push("generated", "node", "browser", "readme");
try {
  const client = path.join(work, "client");
  for (const name of ["package.json", "tsconfig.json", "src"]) {
    cpSync(path.join(here, name), path.join(client, name), { recursive: true });
  }
  symlinkSync(modules, path.join(client, "node_modules"));
  run(client, "tsc", "--project", "tsconfig.json");

  const app = path.join(work, "app");
  cpSync(path.join(here, "test"), app, { recursive: true });
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ type: "module" }));
  mkdirSync(path.join(app, "node_modules/@types"), { recursive: true });
  symlinkSync(client, path.join(app, "node_modules/arrwdb"));
  for (const name of ["@types/node", "undici-types", "esbuild", "playwright-core"]) {
    symlinkSync(path.join(modules, name), path.join(app, "node_modules", name));
  }
  run(app, "tsc", "--project", "tsconfig.json");
  const files = suites.map((suite) => path.join(app, `out/${suite}.test.js`));
  run(app, process.execPath, "--test", "--test-force-exit", "--test-timeout=100000", ...files);
} finally {
  rmSync(work, { recursive: true });
}
