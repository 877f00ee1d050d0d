// A real browser as a client of arrwdb.
//
// Usage: browser.mjs SCENARIO ARGUMENT…; ends with status 0 when everything held.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import readline from "node:readline";

import { launch } from "./chromium.mjs";
import { bundlePage } from "./generate.mjs";

const DEADLINE_MS = 60_000;
const JSON_TYPE = { "content-type": "application/json" };

async function post(address, path, body) {
  const options = { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body) };
  const response = await fetch(`http://${address}${path}`, options);
  assert.equal(response.status, 201, await response.clone().text());
  return response.json();
}

const documents = "/v1/libraries/a/documents";
const create = (address, id) => post(address, documents, { id, title: id, text: `words of ${id}` });

/** Follows with an EventSource while the server goes away in every way, and comes back. */
async function follow(page, address) {
  const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const restart = async (how) => {
    console.log(how);
    assert.equal((await answers.next()).value, "restarted");
  };
  const library = await post(address, "/v1/libraries", { name: "a" });
  await page.goto(`http://${address}/health`);
  await page.addScriptTag({ content: bundlePage() });
  // No cursor: from now. All that it knows later is what the server sent.
  const url = `/v1/events/stream?library_id=${library.id}&event_types=document.added`;
  await page.evaluate((url) => arrwdb.follow(url, ["document.added", "heartbeat"]), url);
  await page.waitForFunction(() => followed.events.length > 0);

  const written = [];
  const write = async (count) => {
    for (let i = 0; i < count; i++) {
      const id = `d${written.length}`;
      await create(address, id);
      written.push(id);
    }
  };
  const added = () =>
    page.evaluate(() => followed.events.filter((event) => event.type === "document.added"));
  const caughtUp = (count) =>
    page.waitForFunction(
      (count) => followed.events.filter((e) => e.type === "document.added").length >= count,
      count,
    );
  // Restarted before it has read anything but a heartbeat: that id is where it goes on.
  for (const how of ["terminate", "kill", "terminate"]) {
    await restart(how);
    // Most likely written before the browser is back: it waits 2 s.
    await write(3);
    await caughtUp(written.length);
    await write(2);
    await caughtUp(written.length);
  }
  const events = await added();
  assert.deepEqual(events.map((event) => event.data.document_id), written);
  const ids = events.map((event) => event.id);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  assert.deepEqual(ids, events.map((event) => event.data.id));
  assert.equal(await page.evaluate(() => followed.opened), 4);
}

/** Ingests by an ordinary POST; reads what streams out by a ReadableStream. */
async function overFetch(page, address) {
  await post(address, "/v1/libraries", { name: "a" });
  await page.goto(`http://${address}/health`);
  await page.addScriptTag({ content: bundlePage() });
  const total = 2_000;
  const told = await page.evaluate(async ([url, total]) => {
    const documents = Array.from({ length: total }, (_, i) =>
      JSON.stringify({ id: `d${i}`, title: `Doc ${i}`, texts: [`number ${i} ` + "word ".repeat(100)] }));
    const headers = { "content-type": "application/x-ndjson" };
    const response = await fetch(url, { method: "POST", headers, body: documents.join("\n") });
    return arrwdb.readLines(response);
  }, [`${documents}/stream`, total]);
  const completed = told.lines.filter((line) => line.status === "completed");
  assert.deepEqual(completed.map((line) => line.line), Array.from({ length: total }, (_, i) => i + 1));
  assert.equal(told.lines.at(-1).total_succeeded, total);

  const search = await page.evaluate(async () => {
    const options = { method: "POST" };
    const path = "/v1/libraries/a/search/stream?query=number+7&k=1000";
    return arrwdb.readLines(await fetch(path, options));
  });
  assert.deepEqual(search.lines.slice(0, -1).map((hit) => hit.rank), Array.from({ length: 1_000 }, (_, i) => i + 1));
  assert.equal(search.lines.at(-1).total_results, 1_000);
  assert.equal(search.rest, "");
  assert.ok(search.pieces > 1, `${search.pieces} pieces`);

  const exported = await page.evaluate(
    async (url) => arrwdb.readLines(await fetch(`${url}?include_embeddings=true`)),
    `${documents}/stream`,
  );
  assert.deepEqual(exported.lines.slice(0, -1).map((line) => line.id), Array.from({ length: total }, (_, i) => `d${i}`));
  assert.equal(exported.lines.at(-1).total_documents, total);
  assert.ok(exported.pieces > 1, `${exported.pieces} pieces`);

  // Leaving in the middle is the client's right.
  const left = await page.evaluate(async (url) => {
    const reader = (await fetch(url)).body.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return value.length;
  }, `${documents}/stream`);
  assert.ok(left > 0);
  assert.equal(await page.evaluate(async () => (await fetch("/ready")).status), 200);
}

/** Unary and server-streaming calls over gRPC-web. */
async function grpcWeb(page, base) {
  const result = await page.evaluate(async (base) => {
    const { Code, ConnectError, EventType, clients } = arrwdb;
    const { libraries, documents, searches, events } = clients(base);
    const library = (await libraries.createLibrary({ name: "w" })).library;
    const abort = new AbortController();
    const wanted = { cursor: "begin", libraryId: library.id, eventTypes: [EventType.DOCUMENT_ADDED] };
    const following = (async () => {
      const ids = [];
      try {
        for await (const { item } of events.subscribe(wanted, { signal: abort.signal })) {
          if (item.case === "event") ids.push(item.value.payload.value.documentId);
          if (ids.length === 2) abort.abort();
        }
      } catch (error) {
        return { ids, code: Code[ConnectError.from(error).code] };
      }
      return { ids, code: "none" };
    })();
    for (const [id, text] of [["heron", "A bird that wades."], ["anvil", "A smith's block of iron."]]) {
      await documents.createDocument({ libraryId: "w", document: { id, title: id, texts: [text] } });
    }
    const reply = await searches.search({ libraryId: "w", query: "bird", k: 1 });
    const ranks = [];
    for await (const { item } of searches.streamSearch({ libraryId: "w", query: "smith", k: 2 })) {
      ranks.push(item.case === "hit" ? item.value.documentId : item.case);
    }
    const exported = [];
    for await (const { item } of documents.exportDocuments({ libraryId: "w" })) exported.push(item.case);
    const refused = await libraries.getLibrary({ libraryId: "none" }).then(
      () => ({}),
      (error) => ({ code: Code[error.code], details: error.details.map((detail) => detail.type) }),
    );
    return { found: reply.results[0].documentId, ranks, exported, refused, followed: await following };
  }, base);
  assert.equal(result.found, "heron");
  assert.deepEqual(result.ranks, ["anvil", "heron", "complete"]);
  assert.deepEqual(result.exported, ["document", "document", "complete"]);
  assert.equal(result.refused.code, "NotFound");
  assert.ok(result.refused.details.includes("google.rpc.ErrorInfo"), `${result.refused.details}`);
  assert.deepEqual(result.followed, { ids: ["heron", "anvil"], code: "Canceled" });
}

/** A page of another origin: let in where it is configured, and shut out elsewhere. */
async function crossOrigin(page, open, shut, other, eventSource) {
  const site = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>elsewhere</title>");
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${site.address().port}`;
  try {
    await page.goto(origin);
    await page.addScriptTag({ content: bundlePage() });
    // Preflights: JSON, PATCH, If-Match; and a header that only an exposing server shows.
    const let_in = await page.evaluate(async ([base, headers]) => {
      const ask = (path, method, body, more = {}) =>
        fetch(base + path, { method, headers: { ...headers, ...more }, body: JSON.stringify(body) });
      const created = await ask("/v1/libraries", "POST", { name: "a" });
      const tag = created.headers.get("etag");
      const more = { "if-match": tag };
      const patched = await ask("/v1/libraries/a", "PATCH", { description: "new" }, more);
      return { created: created.status, tag, patched: patched.status };
    }, [`http://${open}`, JSON_TYPE]);
    assert.deepEqual(let_in, { created: 201, tag: '"1"', patched: 200 });
    await grpcWeb(page, `http://${open}`);
    const first = await page.evaluate((expression) => new Promise((resolve, reject) => {
      const source = eval(expression);
      source.addEventListener("library.created", (event) => {
        source.close();
        resolve(JSON.parse(event.data).name);
      });
      source.onerror = () => reject(new Error(`refused: ${expression}`));
    }), eventSource);
    assert.equal(first, "a");

    for (const address of [shut, other]) {
      const outcome = await page.evaluate(async (base) => ({
        fetched: await fetch(`${base}/health`).then(() => "let in", () => "shut out"),
        followed: await new Promise((resolve) => {
          const source = new EventSource(`${base}/v1/events/stream`);
          source.onopen = () => resolve("let in");
          source.onerror = () => resolve(source.readyState === 2 ? "shut out" : "retries");
        }),
        // A write that no preflight asks about, and whose answer the page may not see.
        written: await fetch(`${base}/v1/libraries`, {
          method: "POST", mode: "no-cors", body: JSON.stringify({ name: "planted" }),
        }).then((response) => response.type),
        called: await arrwdb.clients(base).libraries.listLibraries({}).then(() => "let in", () => "shut out"),
      }), `http://${address}`);
      const nothing = { fetched: "shut out", followed: "shut out", called: "shut out" };
      assert.deepEqual(outcome, { ...nothing, written: "opaque" }, address);
      const { libraries } = await (await fetch(`http://${address}/v1/libraries`)).json();
      assert.deepEqual(libraries, [], "a foreign page wrote");
    }
  } finally {
    site.close();
    site.closeAllConnections();
  }
}

const scenarios = {
  follow,
  fetch: overFetch,
  "grpc-web": async (page, address) => {
    await page.goto(`http://${address}/health`);
    await page.addScriptTag({ content: bundlePage() });
    await grpcWeb(page, `http://${address}`);
  },
  "cross-origin": crossOrigin,
};

const [scenario, ...rest] = process.argv.slice(2);
const browser = await launch();
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  await scenarios[scenario](page, ...rest);
} finally {
  await browser.close();
  process.stdin.destroy();
}
