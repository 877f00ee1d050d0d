// The README's programs, as they stand there: they compile strictly, and print what it says.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { test } from "node:test";

import { build } from "esbuild";
import { chromium } from "playwright-core";

import { Server } from "./harness.js";

const HOST = "127.0.0.23";
const SHOWN = "http://127.0.0.1:8000";

const readme = readFileSync(path.join(process.env["ARRWDB_CLIENT"]!, "README.md"), "utf8");

/** The blocks of a kind. */
function blocks(kind: string): string[] {
  return [...readme.matchAll(/^```(.*)\n([^]*?)^```$/gm)].filter((block) => block[1] === kind).map((block) => block[2]!);
}

test("the README's programs do what it says, in Node and in a browser", async () => {
  const server = await Server.start(HOST, "--cors-origins", "*");
  const program = blocks("ts").join("\n").replaceAll(SHOWN, server.url);
  const page = blocks("ts browser").join("\n").replaceAll(SHOWN, server.url);
  // As TypeScript it compiles; as JavaScript it runs as it is.
  writeFileSync("tour.mts", program);
  writeFileSync("tour.mjs", program);
  writeFileSync("page.mts", page);
  writeFileSync("readme.json", JSON.stringify({ extends: "./tsconfig.json", include: ["tour.mts", "page.mts"] }));
  execFileSync("tsc", ["--project", "readme.json"], { stdio: "inherit" });

  // It ends by itself: a client that is closed keeps no process.
  const printed = execFileSync(process.execPath, ["tour.mjs"], { encoding: "utf8", timeout: 60_000 });
  const shown = program.split("\n").flatMap((line) => line.split("// → ").slice(1).map((part) => part.trim()));
  assert.ok(shown.length > 15);
  assert.deepEqual(printed.trimEnd().split("\n"), shown);

  const bundle = await build({ entryPoints: ["out/page.mjs"], bundle: true, format: "esm", write: false });
  const script = bundle.outputFiles[0]!.text;
  const site = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : '<!doctype html><meta charset="utf-8"><body><script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  const browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}`);
  await tab.waitForFunction(() => document.body.innerText.includes("From a page"));
  assert.equal(await tab.title(), "Heron");
  assert.match(await tab.innerText("body"), /^Heron; Note 1; .*Note 500; /);
  await browser.close();
  site.close();
  await server.stop();
});
