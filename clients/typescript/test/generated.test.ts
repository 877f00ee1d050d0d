// What is committed is what proto/ gives, and what is tested is what is installed.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";

const client = process.env["ARRWDB_CLIENT"] ?? assert.fail("ARRWDB_CLIENT says where the client is");

/** Every file below a folder, with its text. */
function texts(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const files = entries.map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));
  return Object.fromEntries(files.sort().map((file) => [file, readFileSync(path.join(folder, file), "utf8")]));
}

interface Package {
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  scripts: Record<string, string>;
}

const packageOf = (file: string) => JSON.parse(readFileSync(file, "utf8")) as Package;

test("the generated code is in step with the protos", () => {
  const out = mkdtempSync(path.join(tmpdir(), "arrwdb-generated-"));
  // The tools of .ci/run have buf; anybody else's npm brings it.
  const tools = process.env["ARRWDB_TEST_TOOLS"] !== undefined;
  const [program, ...words] = (tools ? "buf generate" : packageOf(path.join(client, "package.json")).scripts["generate"]!).split(" ");
  execFileSync(program!, [...words, "--output", out], { cwd: client, stdio: "inherit" });
  const [made, committed] = [texts(path.join(out, "src/gen")), texts(path.join(client, "src/gen"))];
  rmSync(out, { recursive: true });
  assert.deepEqual(Object.keys(committed), Object.keys(made));
  for (const [file, text] of Object.entries(made)) {
    assert.ok(committed[file] === text, `${file} is out of step: run "npm run generate"`);
  }
});

test("the tools that test the client are those that it asks for", { skip: !existsSync(path.join(client, "../../tests/tools")) }, () => {
  const { dependencies, devDependencies, scripts } = packageOf(path.join(client, "package.json"));
  const tools = packageOf(path.join(client, "../../tests/tools/package.json")).dependencies;
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    assert.equal(version.replace("^", ""), tools[name], name);
  }
  for (const name of ["@bufbuild/buf", "@bufbuild/protoc-gen-es"]) {
    assert.ok(scripts["generate"]!.includes(`${name}@${tools[name]}`), name);
  }
});
