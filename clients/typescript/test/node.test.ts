// The client in Node against the real server.

import assert from "node:assert/strict";
import http2 from "node:http2";
import { after, before, test } from "node:test";

import { ArrwdbError, Client, type DocumentInput, type Event, IngestError, type IngestStatus } from "arrwdb";

import { documents, eventually, Proxy, type Received, Server } from "./harness.js";

const HOST = "127.0.0.21";
const HEARTBEAT = ["--limit", "heartbeat_interval_ms=100"];

let server: Server;
let client: Client;
before(async () => {
  server = await Server.start(HOST, ...HEARTBEAT);
  client = new Client(server.url);
});
after(async () => {
  client.close();
  await server.stop();
});

/** The error that a promise must end with. */
async function errorOf(promise: Promise<unknown>): Promise<ArrwdbError> {
  const error = await promise.then(() => assert.fail("it went well"), (error: unknown) => error);
  assert.ok(error instanceof ArrwdbError, String(error));
  return error;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

test("libraries are made, read, listed, changed and deleted", async () => {
  const made = await client.libraries.create({
    name: "libraries", metric: "l2", embedder: "none", dimension: 3, indexType: "flat", metadata: { owner: "me" },
  });
  const { metric, dimension, indexType, metadata, embedder } = made;
  assert.deepEqual(
    { metric, dimension, indexType, metadata, embedder },
    { metric: "l2", dimension: 3, indexType: "flat", metadata: { owner: "me" }, embedder: { id: "none", sha256: "" } },
  );
  assert.deepEqual(await client.libraries.get("libraries"), made);
  assert.deepEqual(await client.libraries.get(made.id, { minRevision: made.revision }), made);
  await client.libraries.create({ name: "libraries 2" });
  const names = (await all(client.libraries.list({ pageSize: 1 }))).map(({ name }) => name);
  assert.ok(names.includes("libraries") && names.includes("libraries 2"), String(names));

  const changed = await client.libraries.update("libraries", { description: "new" }, { expectedRevision: made.revision });
  assert.equal(changed.description, "new");
  assert.deepEqual(changed.metadata, { owner: "me" });
  assert.equal((await client.libraries.update("libraries", { metadata: {} })).description, "new");
  const stale = await errorOf(client.libraries.update("libraries", { description: "x" }, { expectedRevision: made.revision }));
  assert.equal(stale.slug, "conflict");
  assert.equal((await client.libraries.statistics("libraries")).name, "libraries");
  assert.ok((await client.libraries.delete("libraries")) > changed.revision);
  assert.equal((await errorOf(client.libraries.get("libraries"))).slug, "not-found");
});

test("documents are made, read, listed, changed and deleted", async () => {
  await client.libraries.create({ name: "documents" });
  const input = {
    id: "a/b", title: "Heron", author: "me", documentType: "note", sourceUrl: "file:x", tags: ["bird"],
    metadata: { seen: 3, deep: { list: [1, "two", null] } }, texts: ["It wades.", "It eats fish."],
  };
  const made = await client.documents.create("documents", input);
  const { texts, ...facts } = input;
  assert.deepEqual({ ...made, ...facts }, made);
  assert.deepEqual(made.chunks.map(({ text }) => text), texts);
  assert.match(made.createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.deepEqual(await client.documents.get("documents", "a/b", { minRevision: made.revision }), made);
  assert.equal((await errorOf(client.documents.create("documents", input))).slug, "already-exists");

  await client.documents.create("documents", { id: "c", title: "C", text: "c" });
  assert.deepEqual((await all(client.documents.list("documents", { pageSize: 1 }))).map(({ id }) => id), ["a/b", "c"]);
  const many = await client.documents.getMany("documents", ["c", "none", "a/b"]);
  assert.deepEqual([many.documents.map(({ id }) => id), many.missingIds], [["c", "a/b"], ["none"]]);

  const changed = await client.documents.update("documents", "a/b", { author: "", tags: ["x"] }, { expectedRevision: made.revision });
  assert.deepEqual([changed.author, changed.tags, changed.sourceUrl], ["", ["x"], "file:x"]);
  assert.deepEqual(changed.chunks, made.chunks);
  const wrong = await errorOf(client.documents.update("documents", "a/b", { title: " " }));
  assert.deepEqual([wrong.slug, wrong.violations.map(({ field }) => field)], ["invalid-argument", ["title"]]);
  assert.ok((await client.documents.delete("documents", "c")) > changed.revision);
  assert.equal((await errorOf(client.documents.get("documents", "c"))).slug, "not-found");
  assert.equal((await errorOf(client.documents.create("documents", { title: "half \ud800", text: "x" }))).slug, "invalid-argument");
});

test("searches find at once, many at a time, and hit by hit", async () => {
  await client.libraries.create({ name: "searches", embedder: "none", dimension: 2 });
  const points = [[1, 0], [1, 1], [0, 1]];
  const made = await client.ingest("searches", points.map((embedding, i) => ({
    id: `d${i}`, title: `D${i}`, metadata: { i }, chunks: [{ text: `t${i}`, embedding }],
  })));
  const found = await client.search("searches", { embedding: new Float32Array([1, 0]), k: 2, minRevision: made.revision });
  assert.deepEqual(found.hits.map(({ documentId, rank, text, metadata }) => ({ documentId, rank, text, metadata })), [
    { documentId: "d0", rank: 1, text: "t0", metadata: { i: 0 } },
    { documentId: "d1", rank: 2, text: "t1", metadata: { i: 1 } },
  ]);
  assert.equal(found.hits[0]!.score, 1);
  const bare = await client.search("searches", { embedding: [1, 0], distanceThreshold: 0.1, includeText: false });
  assert.deepEqual(bare.hits.map((hit) => "text" in hit), [false]);
  const many = await client.searchMany("searches", [{ embedding: [0, 1] }, { embedding: [1, 0], k: 1 }], { filter: "document.metadata.i > 0" });
  assert.deepEqual(many.map(({ hits }) => hits[0]!.documentId), ["d2", "d1"]);
  const own = await client.searchMany("searches", [{ embedding: [1, 0], filter: 'chunk.text == "t2"' }, { embedding: [1, 0] }]);
  assert.deepEqual(own.map(({ hits }) => hits.map(({ documentId }) => documentId)), [["d2"], ["d0", "d1", "d2"]]);

  const stream = client.streamSearch("searches", { embedding: [1, 0], k: 10 });
  assert.deepEqual((await all(stream)).map(({ documentId }) => documentId), ["d0", "d1", "d2"]);
  assert.equal(stream.end?.totalResults, 3);
  const filtered = await all(client.streamSearch("searches", { embedding: [1, 0], filter: 'document.id == "d1"' }));
  assert.deepEqual(filtered.map(({ documentId }) => documentId), ["d1"]);
  for await (const _ of client.streamSearch("searches", { embedding: [1, 0] })) break;

  await client.documents.create("searches", {
    id: "d3", title: "D3", chunks: [[1, 0.1], [1, 0.2]].map((embedding) => ({ text: "t3", embedding })),
  });
  const near = { embedding: [1, 0], k: 3 };
  const ids = (hits: { documentId: string }[]) => hits.map(({ documentId }) => documentId);
  assert.deepEqual(ids((await client.search("searches", near)).hits), ["d0", "d3", "d3"]);
  assert.deepEqual(ids((await client.search("searches", { ...near, groupBy: "document", exact: true })).hits), ["d0", "d3", "d1"]);
  assert.deepEqual(ids(await all(client.streamSearch("searches", { ...near, groupBy: "document" }))), ["d0", "d3", "d1"]);
  const grouped = await client.searchMany("searches", [near, { ...near, ef: 5 }], { groupBy: "document", ef: 100 });
  assert.deepEqual(grouped.map(({ hits }) => ids(hits)), [["d0", "d3", "d1"], ["d0", "d3", "d1"]]);
  // They arrive: out of their range they are refused.
  const wide = { ...near, ef: 10_001 };
  for (const wrong of [
    () => client.search("searches", wide),
    () => client.searchMany("searches", [wide]),
    () => client.searchMany("searches", [near], { ef: 10_001 }),
    () => all(client.streamSearch("searches", wide)),
    () => client.measureRecall("searches", { ef: 10_001 }),
  ]) {
    const { slug, violations } = await errorOf(wrong());
    assert.equal(slug, "invalid-argument");
    assert.match(violations[0]!.field, /ef$/);
  }
  assert.equal((await errorOf(client.search("searches", { embedding: [1] }))).slug, "invalid-argument");
  assert.equal((await errorOf(client.search("searches", { query: "text" }))).slug, "invalid-argument");
});

test("documents are counted and deleted by a filter", async () => {
  await client.libraries.create({ name: "counted", embedder: "none", dimension: 1 });
  const { revision } = await client.ingest("counted", Array.from({ length: 10 }, (_, i) => ({
    id: `d${i}`, title: "D", metadata: { i }, chunks: [{ embedding: [i + 1] }, { embedding: [1] }],
  })));
  const whole = await client.documents.count("counted", { minRevision: revision });
  assert.deepEqual([whole.numDocuments, whole.numChunks], [10, 20]);
  assert.ok(whole.revision >= revision);
  const filter = "document.metadata.i < 4";
  const some = await client.documents.count("counted", { filter });
  assert.deepEqual([some.numDocuments, some.numChunks], [4, 8]);
  assert.equal((await errorOf(client.documents.count("counted", { filter: "no(" }))).slug, "invalid-argument");
  assert.equal((await errorOf(client.documents.deleteMany("counted", ""))).slug, "invalid-argument");
  const gone = await client.documents.deleteMany("counted", filter);
  assert.deepEqual([gone.numDeleted, gone.numChanged], [4, 0]);
  assert.ok(gone.revision > revision);
  const none = await client.documents.deleteMany("counted", filter, { minRevision: gone.revision });
  assert.deepEqual(none, { numDeleted: 0, numChanged: 0, revision: gone.revision });
  assert.deepEqual((await server.exported("counted")).sort(), ["d4", "d5", "d6", "d7", "d8", "d9"]);
});

test("an index is looked at, built anew, optimized, and its recall measured", async () => {
  const own = await Server.start(HOST, "--limit", "index_graph_rows_min_asked=300");
  const client = new Client(own.url);
  const { id } = await client.libraries.create({ name: "indexed", embedder: "none", dimension: 4 });
  const point = (i: number) => [Math.sin(i), Math.cos(i), Math.sin(7 * i), Math.cos(3 * i)];
  const { revision } = await client.ingest("indexed", Array.from({ length: 400 }, (_, i) => ({
    id: `d${i}`, title: "D", chunks: [{ embedding: point(i) }],
  })));
  const flat = await client.indexes.statistics("indexed", { minRevision: revision });
  assert.deepEqual([flat.libraryId, flat.indexType, flat.numRows, flat.numTombstones], [id, "auto", 400, 0]);
  assert.ok(flat.segments.every(({ hasGraph, ef }) => !hasGraph && ef === 0) && flat.segments.length > 0);
  assert.equal(flat.segments.reduce((sum, { numRows }) => sum + numRows, 0), 400);
  assert.ok(flat.indexBytes > 0 && !("building" in flat));

  const rebuilt = await client.indexes.rebuild("indexed", { indexType: "hnsw" });
  assert.ok(rebuilt > revision);
  const built = await client.indexes.statistics("indexed", { minRevision: rebuilt });
  assert.equal(built.indexType, "hnsw");
  assert.ok(built.segments[0]!.hasGraph && built.segments[0]!.ef > 0, JSON.stringify(built.segments));
  const measured = await client.measureRecall("indexed", { numQueries: 20, k: 5, ef: 200 });
  assert.deepEqual([measured.numQueries, measured.k], [20, 5]);
  assert.ok(measured.recall > 0.9 && measured.recall <= 1 && measured.recallMin <= measured.recall);
  assert.ok(measured.searchUs > 0 && measured.exactUs > 0 && measured.revision >= rebuilt);

  await client.documents.deleteMany("indexed", "document.id != 'd1'");
  const optimized = await client.indexes.optimize("indexed");
  const left = await client.indexes.statistics("indexed", { minRevision: optimized });
  assert.deepEqual([left.numRows, left.numTombstones], [1, 0]);
  const { events } = await client.listEvents({ eventTypes: ["index.rebuilt", "index.optimized"] });
  assert.deepEqual(events.map(({ type, revision }) => [type, revision]), [["index.rebuilt", rebuilt], ["index.optimized", optimized]]);
  assert.equal((await client.indexes.rebuild("indexed", { indexType: "flat" })) > optimized, true);
  assert.equal((await client.indexes.statistics("indexed")).indexType, "flat");
  assert.equal((await errorOf(client.indexes.optimize("none"))).slug, "not-found");
  assert.equal((await errorOf(client.indexes.rebuild("indexed", { indexType: "tree" as "flat" }))).slug, "invalid-argument");
  client.close();
  await own.stop();
});

test("an export is whole, says where the events go on, and can be ingested again", async () => {
  await client.libraries.create({ name: "exports" });
  await client.libraries.create({ name: "copy" });
  await client.ingest("exports", documents(50));
  const stream = client.export("exports", { includeEmbeddings: true });
  const exported = await all(stream);
  assert.equal(exported.length, 50);
  assert.equal(exported[0]!.chunks![0]!.embedding!.length, 256);
  assert.equal(stream.end?.totalDocuments, 50);
  await client.documents.delete("exports", exported[0]!.id!);
  const { events } = await client.listEvents({ libraryId: "exports", cursor: stream.end!.cursor });
  assert.deepEqual(events.map(({ type }) => type), ["document.deleted", "chunk.deleted"]);

  assert.equal((await client.ingest("copy", client.export("exports"))).totalSucceeded, 49);
  assert.deepEqual(await server.exported("copy"), await server.exported("exports"));
});

test("an ingest tells of each item in order, and a bad one fails alone", async () => {
  await client.libraries.create({ name: "ingest" });
  const items: DocumentInput[] = [
    { id: "a", title: "A", text: "a" },
    { title: "no text" },
    { title: "half \ud800 a pair", text: "x" },
    { title: "B", texts: ["b", "c"] },
    { id: "a", title: "A again", text: "a" },
  ];
  const statuses: IngestStatus[] = [];
  const progress: number[] = [];
  const onProgress = ({ totalProcessed }: { totalProcessed: number }) => progress.push(totalProcessed);
  const ingest = client.streamIngest("ingest", items, { onConflict: "skip", onProgress });
  let next = await ingest.next();
  for (; next.done !== true; next = await ingest.next()) statuses.push(next.value);
  assert.deepEqual(statuses.map(({ position, status }) => [position, status]), [
    [1, "completed"], [2, "failed"], [3, "failed"], [4, "completed"], [5, "skipped"],
  ]);
  assert.deepEqual(progress, [1, 2, 3, 4, 5]);
  const summary = next.value;
  const { totalProcessed, totalSucceeded, totalFailed, totalSkipped, totalChunks, failuresOmitted } = summary;
  assert.deepEqual([totalProcessed, totalSucceeded, totalFailed, totalSkipped, totalChunks, failuresOmitted], [5, 2, 2, 1, 3, 0]);
  assert.deepEqual(summary.failures.map(({ position, error }) => [position, error.slug]), [[2, "invalid-argument"], [3, "invalid-argument"]]);
  assert.equal(summary.batchIds.length, 1);
  assert.equal((await client.libraries.statistics("ingest", { minRevision: summary.revision })).numDocuments, 2);
  const refused = await client.ingest("ingest", [{ id: "a", title: "A", text: "a" }], { onConflict: "fail" });
  assert.equal(refused.failures[0]!.error.slug, "already-exists");
  assert.deepEqual(await client.ingest("ingest", []), { ...summary, ...Object.fromEntries(Object.keys(summary).map((key) => [key, key.startsWith("total") || key === "failuresOmitted" ? 0 : key === "revision" ? 0n : []])) });
  const nowhere = await errorOf(client.ingest("nowhere", documents(3)));
  assert.ok(nowhere instanceof IngestError);
  assert.deepEqual([nowhere.slug, nowhere.summary.totalProcessed], ["not-found", 0]);
});

test("an ingest acknowledges while its source is still giving, and does not read far ahead", async () => {
  await client.libraries.create({ name: "live" });
  let answered: () => void = () => {};
  async function* live() {
    for (const document of [{ title: "half \ud800", text: "x" }, ...documents(3)]) {
      const seen = new Promise<void>((resolve) => (answered = resolve));
      yield document;
      await seen;
    }
  }
  assert.equal((await client.ingest("live", live(), { onProgress: () => answered() })).totalSucceeded, 3);

  let given = 0;
  let closed = false;
  function* endless() {
    try {
      for (;;) yield { title: `${++given}`, text: "x" };
    } finally {
      closed = true;
    }
  }
  const ingest = client.streamIngest("live", endless());
  for (let i = 1; i <= 10; i++) {
    const { done, value } = await ingest.next();
    assert.equal(done !== true && value.position, i);
  }
  // What is kept until it is acknowledged, and the one that the source is asked for.
  assert.ok(given <= 10 + 1_024 + 1, `${given}`);
  await ingest.return(undefined as never);
  assert.ok(closed);
});

test("a source's own error comes out, behind what it gave", async () => {
  await client.libraries.create({ name: "source" });
  function* broken() {
    yield* documents(5);
    throw new RangeError("no more");
  }
  let processed = 0;
  await assert.rejects(client.ingest("source", broken(), { onProgress: (p) => (processed = p.totalProcessed) }), RangeError);
  assert.equal(processed, 5);
  const abort = new AbortController();
  async function* stuck() {
    yield* documents(2);
    await new Promise(() => {});
  }
  const given = client.ingest("source", stuck(), {
    signal: abort.signal, onProgress: (p) => p.totalProcessed === 2 && abort.abort(),
  });
  const error = await errorOf(given);
  assert.ok(error instanceof IngestError);
  assert.deepEqual([error.slug, error.summary.totalSucceeded], ["cancelled", 2]);
});

for (const onConflict of ["replace", "skip", "fail"] as const) {
  test(`acknowledgements that are lost double nothing: ${onConflict}`, async () => {
    const name = `lost-${onConflict}`;
    await client.libraries.create({ name });
    // Some are there before, and are not the ingest's.
    const text = "A sentence about nothing much. ".repeat(100);
    const named = () => [...documents(20, (i) => `named-${i}`)].map((document) => ({ ...document, text }));
    await client.ingest(name, named().slice(0, 5));
    const proxy = await Proxy.start(server.address);
    const over = new Client(proxy.url);
    const statuses: IngestStatus[] = [];
    let written = 0;
    async function* source() {
      yield* documents(20);
      await eventually("the first are acknowledged", () => statuses.length === 20);
      // The server writes these, and the client does not hear of it.
      proxy.muted = true;
      yield* documents(20);
      yield* named();
      await eventually("all are written", async () => (written = (await client.libraries.statistics(name)).numDocuments) === 60);
      proxy.muted = false;
      proxy.cut();
      yield { title: "last", text: "x" };
    }
    const summary = await over.ingest(name, source(), { onConflict, onProgress: (_, status) => statuses.push(status) });
    assert.equal(written, 60);
    assert.deepEqual(statuses.map(({ position }) => position), Array.from({ length: 61 }, (_, i) => i + 1));
    // What was written unheard counts as written, what was there before does not.
    const expected = { replace: "completed", skip: "skipped", fail: "failed" }[onConflict];
    for (const { position, status } of statuses) {
      assert.equal(status, position > 40 && position <= 45 ? expected : "completed", `${position}`);
    }
    const { numChunks } = await client.documents.get(name, "named-19");
    assert.ok(numChunks > 1);
    for (const status of statuses.slice(45, 60)) assert.equal(status.status === "completed" && status.numChunks, numChunks);
    assert.equal(summary.totalChunks, 41 + numChunks * (onConflict === "replace" ? 20 : 15));
    assert.equal(summary.totalProcessed, 61);
    assert.equal(new Set(await server.exported(name)).size, 61);
    assert.equal((await server.exported(name)).length, 61);
    over.close();
    proxy.stop();
  });
}

test("a subscription whose connection breaks anywhere loses and repeats nothing", async () => {
  const { id: libraryId } = await client.libraries.create({ name: "cuts" });
  await client.ingest("cuts", documents(100));
  const log: Event[] = [];
  for (let cursor = "begin"; ; ) {
    const page = await client.listEvents({ libraryId, cursor, limit: 50 });
    log.push(...page.events);
    cursor = page.nextCursor;
    if (cursor >= page.tailCursor) break;
  }
  const proxy = await Proxy.start(server.address);
  const over = new Client(proxy.url);
  let breaks = 0;
  const received: Event[] = [];
  proxy.bytesMax = 1_500;
  const options = { libraryId, cursor: "begin", onBreak: () => void (breaks += 1) };
  for await (const event of over.subscribe(options)) {
    received.push(event);
    proxy.bytesMax = 1_500 + 37 * (breaks % 40);
    if (received.length === log.length) break;
  }
  assert.deepEqual(received, log);
  assert.ok(breaks > 10, `${breaks} breaks`);
  over.close();
  proxy.stop();
});

test("a server that is killed in mid-subscription and mid-ingest costs nothing", async () => {
  const own = await Server.start(HOST, ...HEARTBEAT);
  const client = new Client(own.url);
  await client.libraries.create({ name: "notes" });
  const subscription = client.subscribe({ cursor: "begin", heartbeats: true });
  const received: Received[] = [];
  const reading = (async () => {
    for await (const item of subscription) received.push(item);
  })();
  const total = 4_000;
  let killing = Promise.resolve();
  let kills = 0;
  const summary = await client.ingest("notes", documents(total), {
    onConflict: "fail",
    onProgress: ({ totalProcessed }) => {
      if (totalProcessed % 1_000 !== 500) return;
      kills += 1;
      const signal = kills === 2 ? "SIGTERM" : "SIGKILL";
      killing = killing.then(() => own.kill(signal)).then(() => own.restart());
    },
  });
  await killing;
  assert.equal(kills, 4);
  assert.deepEqual([summary.totalProcessed, summary.totalSucceeded, summary.totalFailed], [total, total, 0]);
  const ids = await own.exported("notes");
  assert.deepEqual([ids.length, new Set(ids).size], [total, total]);
  const newest = await own.newest();
  await eventually("all was received", () => (subscription.cursor ?? "") >= newest);
  subscription.close();
  await reading;
  const added = received.filter((item) => item.type === "document.added");
  assert.deepEqual(added.map(({ documentId }) => documentId), ids);
  await own.verify(received, "notes");
  await own.verify(received, "notes", "--cursor", "begin");
  client.close();
  await own.stop();
});

test("subscriptions begin, pause and end where they are told to", async () => {
  const { id: libraryId } = await client.libraries.create({ name: "places" });
  // From now: what is written after it is open.
  const eventTypes = ["document.added"] as const;
  const subscription = await client.subscribe({ libraryId, eventTypes }).open();
  assert.ok(subscription.cursor);
  await client.ingest("places", documents(4, (i) => `d${i}`));
  const given: string[] = [];
  const read = async (count: number) => {
    for await (const event of subscription) {
      if (event.type !== "document.added") assert.fail(event.type);
      assert.equal(subscription.cursor, event.id);
      given.push(event.documentId);
      if (given.length === count) break;
    }
  };
  await read(1);
  await read(4);
  assert.deepEqual(given, ["d0", "d1", "d2", "d3"]);
  // Another client, from a stored cursor, a revision, a time.
  const first = (await client.listEvents({ libraryId, eventTypes })).events[0]!;
  for (const [cursor, expected] of [[first.id, "d1"], [`revision:${first.revision}`, "d1"], [`time:${first.timestamp}`, "d0"]]) {
    for await (const event of client.subscribe({ libraryId, eventTypes, cursor })) {
      assert.equal(event.type === "document.added" && event.documentId, expected, cursor);
      break;
    }
  }
  // Filtered out: heartbeats move it all the same.
  const idle = client.subscribe({ eventTypes: ["library.deleted"], heartbeats: true });
  let beats = 0;
  for await (const item of idle) {
    assert.equal(item.type, "heartbeat");
    assert.equal(item.id, idle.cursor);
    if (++beats === 3) idle.close();
  }
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 150);
  assert.equal((await errorOf(all(client.subscribe({ signal: abort.signal })))).slug, "cancelled");
  const future = first.id.slice(0, 16) + "7" + first.id.slice(17);
  assert.equal((await errorOf(all(client.subscribe({ cursor: future })))).slug, "cursor-unknown");
  assert.equal((await errorOf(all(client.subscribe({ libraryId: "none" })))).slug, "not-found");
  assert.equal((await errorOf(all(client.subscribe({ eventTypes: ["nonsense" as "chunk.added"] })))).slug, "invalid-argument");
  assert.equal((await client.eventStatistics()).running, true);
});

test("a snapshot and what comes after it give the library, wherever the connection breaks", async () => {
  const { id: libraryId } = await client.libraries.create({ name: "folded" });
  await client.ingest("folded", documents(60, (i) => `d${i}`));
  const proxy = await Proxy.start(server.address);
  const over = new Client(proxy.url);
  const state = new Map<string, string>();
  let begins = 0;
  let whole = false;
  // The first connections break within the snapshot.
  proxy.bytesMax = 2_000;
  const onBreak = () => void (proxy.bytesMax += begins < 4 ? 1_000 : 20_000);
  const subscription = over.subscribe({ libraryId, snapshot: true, onBreak });
  const reading = (async () => {
    for await (const item of subscription) {
      if (item.type === "snapshot.begin") {
        begins += 1;
        state.clear();
      } else if (item.type === "snapshot.end") {
        assert.deepEqual([item.totalDocuments, item.id], [state.size, subscription.cursor]);
        whole = true;
      } else if (item.type === "snapshot.document" || item.type === "document.added" || item.type === "document.updated") {
        assert.equal(whole, item.type !== "snapshot.document");
        state.set(item.documentId, item.title);
      } else if (item.type === "document.deleted") state.delete(item.documentId);
    }
  })();
  for (let i = 0; i < 60; i++) {
    if (i % 3 === 0) await client.documents.delete("folded", `d${i}`);
    if (i % 3 === 1) await client.documents.update("folded", `d${i}`, { title: `new ${i}` });
    if (i % 3 === 2) await client.documents.create("folded", { id: `e${i}`, title: `E ${i}`, text: "e" });
    if (i === 20) await eventually("the snapshot has begun again", () => begins > 1);
  }
  const newest = await server.newest();
  await eventually("all was received", () => whole && (subscription.cursor ?? "") >= newest);
  subscription.close();
  await reading;
  assert.ok(begins > 1, `${begins}`);
  const there = (await all(client.documents.list("folded"))).map(({ id, title }) => [id, title] as const);
  assert.deepEqual(Object.fromEntries(state), Object.fromEntries(there));
  over.close();
  proxy.stop();
});

test("a filter gives what it is true of, and says how updates match", async () => {
  const { id: libraryId } = await client.libraries.create({ name: "filtered" });
  const filter = 'document.metadata.team == "a"';
  const cursor = (await client.listEvents({ cursor: "now" })).tailCursor;
  for (const [id, team] of [["x", "a"], ["y", "b"]] as const) {
    await client.documents.create("filtered", { id, title: id, text: id, metadata: { team } });
  }
  for (const [id, metadata] of [["x", { team: "a", n: 1 }], ["x", { team: "b" }], ["y", { team: "a" }], ["y", { team: "c" }]] as const) {
    await client.documents.update("filtered", id, { metadata });
  }
  const seen: unknown[] = [];
  for await (const event of client.subscribe({ libraryId, filter, eventTypes: ["document.added", "document.updated"], cursor })) {
    if (event.type === "document.added") seen.push([event.documentId]);
    if (event.type === "document.updated") seen.push([event.documentId, event.match]);
    if (seen.length === 5) break;
  }
  assert.deepEqual(seen, [["x"], ["x", "stayed"], ["x", "left"], ["y", "entered"], ["y", "left"]]);
  const page = await client.listEvents({ libraryId, filter, cursor, eventTypes: ["document.added"] });
  assert.deepEqual(page.events.map((event) => event.type === "document.added" && event.documentId), ["x"]);
  assert.equal((await errorOf(all(client.subscribe({ filter: "1 +" })))).slug, "invalid-argument");
});

test("a subscription that nobody reads holds nothing else up", async () => {
  await client.libraries.create({ name: "slow" });
  const slow = await client.subscribe({ cursor: "begin" }).open();
  const metadata = { filler: "x".repeat(50_000) };
  await client.ingest("slow", Array.from({ length: 200 }, (_, i) => ({ title: `${i}`, text: "x", metadata })));
  assert.equal((await client.search("slow", { query: "x", k: 1 })).hits.length, 1);
  let count = 0;
  for await (const event of slow) if (event.type === "document.added" && ++count && event.title === "199") break;
  assert.ok(count >= 200);
});

test("consumers are kept by the server, and given what is not acknowledged", async () => {
  const { id: libraryId } = await client.libraries.create({ name: "consumed" });
  const eventTypes = ["document.added"] as const;
  const made = await client.consumers.create({ name: "mailer", libraryId, eventTypes, cursor: "begin" });
  assert.deepEqual([made.libraryId, made.eventTypes, made.paused], [libraryId, ["document.added"], false]);
  await client.ingest("consumed", documents(10, (i) => `d${i}`));
  const pulled = await client.consumers.pull("mailer", { owner: "one", maxEvents: 4 });
  assert.equal(pulled.events.length, 4);
  await client.consumers.acknowledge("mailer", pulled.generation, pulled.events[1]!.id);
  const again = await client.consumers.pull("mailer", { generation: pulled.generation, maxEvents: 1, waitMs: 1_000 });
  assert.deepEqual(again.events, [pulled.events[2]]);

  const ids: string[] = [];
  const consume = async (until: number, acknowledge: boolean) => {
    const consumption = client.consume("mailer", { owner: "two" });
    for await (const event of consumption) {
      ids.push(event.type === "document.added" ? event.documentId : event.type);
      if (acknowledge) await consumption.acknowledge();
      if (ids.length === until) break;
    }
    return consumption;
  };
  await consume(2, false);
  const consumption = await consume(8, true);
  assert.deepEqual(ids, ["d2", "d3", "d2", "d3", "d4", "d5", "d6", "d7"]);
  // The one before is stale, and is told.
  const stale = await errorOf(client.consumers.acknowledge("mailer", pulled.generation, pulled.nextCursor));
  assert.equal(stale.slug, "conflict");
  const waiting = errorOf(all(client.consume("mailer", { generation: consumption.generation })));
  await eventually("it is taken over", async () => (await client.consumers.get("mailer")).generation > consumption.generation!);
  await client.consumers.seek("mailer", "begin");
  assert.equal((await waiting).slug, "conflict");
  assert.equal((await client.consumers.pause("mailer")).paused, true);
  assert.equal((await errorOf(all(client.consume("mailer")))).slug, "failed-precondition");
  assert.equal((await client.consumers.resume("mailer")).paused, false);
  assert.deepEqual((await all(client.consumers.list())).map(({ name }) => name), ["mailer"]);
  await client.consumers.delete("mailer");
  assert.equal((await errorOf(client.consumers.get("mailer"))).slug, "not-found");
});

test("a consumption goes on over breaks and kills, and gives nothing twice", async () => {
  const own = await Server.start(HOST, ...HEARTBEAT);
  const proxy = await Proxy.start(own.address);
  const client = new Client(proxy.url);
  const direct = new Client(own.url);
  await direct.libraries.create({ name: "notes" });
  await direct.consumers.create({ name: "reader", cursor: "begin", eventTypes: ["document.added"] });
  const consumption = client.consume("reader");
  const given: string[] = [];
  const reading = (async () => {
    for await (const event of consumption) {
      given.push(event.id);
      // Acknowledges seldom, so that the server gives a good deal of it again.
      if (given.length % 7 === 0) await consumption.acknowledge();
    }
  })();
  for (let round = 0; round < 3; round++) {
    await direct.ingest("notes", documents(50));
    await eventually("it was given out", () => given.length === 50 * (round + 1));
    if (round === 0) proxy.cut();
    if (round === 1) await own.kill().then(() => own.restart());
  }
  const log = (await direct.listEvents({ eventTypes: ["document.added"], limit: 1_000 })).events;
  assert.deepEqual(given, log.map(({ id }) => id));
  // What passes no filter needs no acknowledgement once nothing is owed.
  await consumption.acknowledge();
  await direct.libraries.create({ name: "other" });
  await eventually("heartbeats move it", async () => (await direct.consumers.get("reader")).lagRevisions === 0);
  consumption.close();
  await reading;
  client.close();
  direct.close();
  proxy.stop();
  await own.stop();
});

test("what is safe is tried again while the server is away, and nothing else", async () => {
  const own = await Server.start(HOST);
  const client = new Client(own.url, { timeoutMs: 20_000 });
  await client.libraries.create({ name: "notes" });
  await client.documents.create("notes", { id: "a", title: "A", text: "a" });
  await own.kill();
  assert.equal((await errorOf(client.documents.update("notes", "a", { title: "B" }))).slug, "unavailable");
  assert.equal((await errorOf(client.documents.delete("notes", "a"))).slug, "unavailable");
  assert.equal((await errorOf(client.consumers.pull("none"))).slug, "unavailable");
  assert.equal((await errorOf(client.libraries.get("notes", { timeoutMs: 300 }))).slug, "unavailable");
  assert.equal((await errorOf(client.ingest("notes", documents(1), { patienceMs: 300 }))).slug, "unavailable");
  assert.equal((await errorOf(client.subscribe({ patienceMs: 300 }).open())).slug, "unavailable");
  assert.equal((await errorOf(all(client.export("notes", { signal: AbortSignal.timeout(300) })))).slug, "cancelled");
  const waiting = [
    client.libraries.get("notes"), client.documents.create("notes", { id: "b", title: "B", text: "b" }),
    client.search("notes", { query: "a" }), all(client.export("notes")), client.ingest("notes", documents(3)),
  ];
  await own.restart();
  await Promise.all(waiting);
  assert.equal((await own.exported("notes")).length, 5);
  const late = await errorOf(client.libraries.get("notes", { minRevision: 1_000n, timeoutMs: 200 }));
  assert.equal(late.slug, "deadline-exceeded");
  client.close();
  await own.stop();
});

/** A gRPC server that says what the test wants. */
async function fake(answer: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void) {
  const server = http2.createServer();
  server.on("stream", answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return { server, url: `http://127.0.0.1:${typeof address === "object" && address?.port}` };
}

test("a token goes with every request", async () => {
  const seen: (string | undefined)[] = [];
  const { server, url } = await fake((stream, headers) => {
    seen.push(headers.authorization);
    stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "16" }, { endStream: true });
  });
  const client = new Client(url, { token: "secret" });
  assert.equal((await errorOf(client.libraries.get("x"))).slug, "unauthenticated");
  assert.equal((await errorOf(all(client.subscribe()))).slug, "unauthenticated");
  assert.equal((await errorOf(client.ingest("x", documents(1)))).slug, "unauthenticated");
  assert.deepEqual(seen, ["Bearer secret", "Bearer secret", "Bearer secret"]);
  client.close();
  server.close();
});

test("a connection that says nothing counts as broken", async () => {
  let asked = 0;
  const { server, url } = await fake((stream) => {
    asked += 1;
    stream.on("error", () => {});
    stream.respond({ ":status": 200, "content-type": "application/grpc" });
  });
  const client = new Client(url);
  const breaks: string[] = [];
  const onBreak = (error: ArrwdbError) => void breaks.push(error.slug);
  const subscription = client.subscribe({ silenceMs: 50, patienceMs: 1_000, onBreak });
  assert.equal((await errorOf(subscription.open())).slug, "unavailable");
  assert.ok(asked > 1 && breaks.length === asked - 1, `${asked} ${breaks.join()}`);
  client.close();
  server.close();
});
