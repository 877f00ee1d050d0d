// What the scripts here share: the tools that .ci/run installed, and code generated from proto/.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "../..");

export const tools = path.resolve(process.env.ARRWDB_TEST_TOOLS ?? path.join(root, "target/test-tools"));
export const proto = path.join(root, "proto");

/** Loads a node module of the tools. */
export const load = createRequire(path.join(tools, "package.json"));

/** The files of proto/, as imports name them. */
export function protoFiles() {
  return readdirSync(proto, { recursive: true }).filter((name) => name.endsWith(".proto"));
}

/** Makes the page's script: protoc-gen-es over proto/, then connect-web and page.mjs in a bundle. */
export function bundlePage() {
  const out = mkdtempSync(path.join(tmpdir(), "arrwdb-page-"));
  execFileSync(path.join(tools, "venv/bin/python"), [
    "-m", "grpc_tools.protoc", `-I${proto}`,
    `--plugin=protoc-gen-es=${path.join(tools, "node_modules/.bin/protoc-gen-es")}`,
    `--es_out=${out}`, "--es_opt=target=js", ...protoFiles(),
  ]);
  const bundle = load("esbuild").buildSync({
    entryPoints: [path.join(here, "page.mjs")],
    alias: { "#generated": out },
    nodePaths: [path.join(tools, "node_modules")],
    bundle: true,
    format: "iife",
    write: false,
  });
  return bundle.outputFiles[0].text;
}
