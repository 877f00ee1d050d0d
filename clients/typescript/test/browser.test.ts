// The client in a real browser, on a page of another origin than the server's.

import assert from "node:assert/strict";
import { createServer, type Server as Site } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";

import { build } from "esbuild";
import { type Browser, chromium, type Page } from "playwright-core";

import { eventually, Server } from "./harness.js";
import type {} from "./page.js";

const HOST = "127.0.0.22";
let browser: Browser;
let site: Site;
let script: string;

before(async () => {
  const bundle = await build({ entryPoints: ["out/page.js"], bundle: true, format: "iife", platform: "browser", write: false });
  script = bundle.outputFiles[0]!.text;
  assert.ok(!script.includes("node:http2"), "the bundle is a browser's");
  site = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>elsewhere</title>");
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
});

after(async () => {
  await browser.close();
  site.close();
});

/** A page of the other origin, with the client in it. */
async function open(): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`http://127.0.0.1:${(site.address() as AddressInfo).port}`);
  await page.addScriptTag({ content: script });
  return page;
}

test("a page ingests, searches, follows, exports and consumes", async () => {
  const server = await Server.start(HOST, "--cors-origins", "*");
  const page = await open();
  const told = await page.evaluate((url) => window.scenarios.tour(url), server.url);
  const { summary, again, errors, ...rest } = told;
  const { totalProcessed, totalSucceeded, totalFailed, totalChunks } = summary;
  assert.deepEqual([totalProcessed, totalSucceeded, totalFailed, totalChunks], [4, 2, 2, 3]);
  assert.deepEqual(summary.failures.map(({ position, title, error }) => [position, title.slice(0, 4), error.slug]), [
    [2, "no t", "invalid-argument"], [3, "half", "invalid-argument"],
  ]);
  assert.equal(again.totalSkipped, 1);
  assert.deepEqual(rest, {
    titles: ["Heron", "Anvil"],
    found: ["heron"],
    ranked: ["anvil", "heron", "heron"],
    searched: 3,
    exported: [["heron", 256], ["anvil", 256]],
    total: 2,
    grouped: ["heron", "anvil"],
    index: [1, 2, 1, 3, 3, "auto"],
    gone: 1,
    facts: ["bird", ["x"], []],
    consumed: "document.updated",
  });
  assert.deepEqual(errors.map(({ slug }) => slug), [
    "not-found", "not-found", "invalid-argument", "invalid-argument", "cancelled", "cancelled",
  ]);
  await page.close();
  await server.stop();
});

test("a page loses and doubles nothing when the server is killed in mid-subscription and mid-ingest", async () => {
  const server = await Server.start(HOST, "--cors-origins", "*", "--limit", "heartbeat_interval_ms=100");
  const page = await open();
  const created = await fetch(`${server.url}/v1/libraries`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: "notes" }),
  });
  assert.equal(created.status, 201);
  const total = 3_000;
  let restarting = Promise.resolve();
  let restarts = 0;
  await page.exposeFunction("progress", (processed: number) => {
    if (processed % 1_000 !== 500) return;
    const signal = ++restarts === 2 ? "SIGTERM" : "SIGKILL";
    restarting = restarting.then(() => server.kill(signal)).then(() => server.restart());
  });
  await page.evaluate((url) => window.scenarios.follow(url), server.url);
  const summary = await page.evaluate(([url, total]) => window.scenarios.ingest(url, total), [server.url, total] as const);
  await restarting;
  assert.equal(restarts, 3);
  assert.deepEqual([summary.totalProcessed, summary.totalSucceeded, summary.totalFailed], [total, total, 0]);
  const ids = await server.exported("notes");
  assert.deepEqual([ids.length, new Set(ids).size], [total, total]);
  const newest = await server.newest();
  await eventually("the page has received all", async () => (await page.evaluate(() => window.scenarios.cursor())) >= newest);
  const { received, breaks } = await page.evaluate(() => window.scenarios.received());
  assert.ok(breaks >= 3, `${breaks} breaks`);
  assert.deepEqual(received.flatMap((item) => (item.type === "document.added" ? [item.documentId] : [])), ids);
  await server.verify(received, "notes");
  await server.verify(received, "notes", "--cursor", "begin");
  await page.close();
  await server.stop();
});

test("a page that the server does not know is told that it is out of reach", async () => {
  const server = await Server.start(HOST);
  const page = await open();
  assert.equal((await page.evaluate((url) => window.scenarios.shutOut(url), server.url)).slug, "unavailable");
  assert.deepEqual(JSON.parse(await server.text("/v1/libraries")), { libraries: [], next_page_token: "" });
  await page.close();
  await server.stop();
});
