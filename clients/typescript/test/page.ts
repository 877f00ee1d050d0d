// What runs in the browser: `window.scenarios`, which browser.test.ts calls.

import { ArrwdbError, Client, type Event, type Heartbeat, IngestError } from "arrwdb";

/** Revisions are no JSON: they cross to the test as texts. */
const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value, (_, value) => (typeof value === "bigint" ? `${value}` : value))) as T;

async function errorOf(promise: Promise<unknown>): Promise<{ slug: string; detail: string; violations: unknown[] }> {
  const error = await promise.then(() => undefined, (error: unknown) => error);
  if (!(error instanceof ArrwdbError)) throw new Error(`no error of the client: ${String(error)}`);
  return { slug: error.slug, detail: error.detail, violations: error.violations };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const received: (Event | Heartbeat)[] = [];
let breaks = 0;
let reading: { cursor: string | undefined; close: () => void } | undefined;
let end: Promise<void> | undefined;

const scenarios = {
  /** Everything but what the others do, once. */
  async tour(url: string) {
    const client = new Client(url, { timeoutMs: 20_000 });
    const library = await client.libraries.create({ name: "notes", metadata: { from: "page" } });
    const added = await client.subscribe({ libraryId: library.id, eventTypes: ["document.added"] }).open();
    const summary = await client.ingest("notes", [
      { id: "heron", title: "Heron", documentType: "bird", tags: ["x"], texts: ["A grey bird that wades.", "It eats fish."] },
      { title: "no text" },
      { title: "half \ud800", text: "x" },
      { id: "anvil", title: "Anvil", chunks: [{ text: "A smith's block of iron.", metadata: { n: 1 } }] },
    ], { onConflict: "fail" });
    const again = await client.ingest("notes", [{ id: "heron", title: "H", text: "h" }], { onConflict: "skip" });
    const titles: string[] = [];
    for await (const event of added) {
      if (event.type === "document.added") titles.push(event.title);
      if (titles.length === 2) break;
    }
    const found = await client.search("notes", { query: "a wading animal", k: 1 });
    const stream = client.streamSearch("notes", { query: "blacksmith", k: 3 });
    const ranked = (await all(stream)).map(({ documentId }) => documentId);
    const grouped = await client.search("notes", { query: "a bird", k: 2, groupBy: "document", exact: true });
    const { numDocuments, numChunks } = await client.documents.count("notes", { filter: 'document.id == "heron"' });
    const recall = await client.measureRecall("notes", { k: 1, ef: 50 });
    const optimized = await client.indexes.optimize("notes");
    const index = await client.indexes.statistics("notes", { minRevision: optimized });
    const exporting = client.export("notes", { includeEmbeddings: true });
    const exported = await all(exporting);
    const heron = await client.documents.get("notes", "heron");
    const updated = await client.documents.update("notes", "heron", { tags: [] }, { expectedRevision: heron.revision });
    await client.consumers.create({ name: "c", cursor: "begin", eventTypes: ["document.updated"] });
    const consumption = client.consume("c", { owner: "page" });
    let consumed = "";
    for await (const event of consumption) {
      consumed = event.type;
      await consumption.acknowledge();
      break;
    }
    const abort = new AbortController();
    abort.abort();
    return plain({
      summary, again, titles, ranked, consumed,
      found: found.hits.map(({ documentId }) => documentId),
      searched: stream.end?.totalResults,
      exported: exported.map(({ id, chunks }) => [id, chunks?.[0]?.embedding?.length]),
      total: exporting.end?.totalDocuments,
      grouped: grouped.hits.map(({ documentId }) => documentId),
      index: [numDocuments, numChunks, recall.recall, recall.numQueries, index.numRows, index.indexType],
      gone: (await client.documents.deleteMany("notes", 'document.id == "anvil"')).numDeleted,
      facts: [heron.documentType, heron.tags, updated.tags],
      errors: [
        await errorOf(client.libraries.get("none")),
        await errorOf(client.ingest("none", [{ title: "x", text: "x" }])),
        await errorOf(client.documents.update("notes", "heron", { title: " " })),
        await errorOf(all(client.subscribe({ cursor: "nonsense" }))),
        await errorOf(all(client.subscribe({ signal: abort.signal }))),
        await errorOf(client.ingest("notes", [{ title: "x", text: "x" }], { signal: abort.signal })),
      ],
    });
  },

  /** Begins to follow; the test asks later what came. */
  async follow(url: string) {
    const client = new Client(url);
    const subscription = client.subscribe({ cursor: "begin", heartbeats: true, onBreak: () => void (breaks += 1) });
    reading = subscription;
    await subscription.open();
    end = (async () => {
      for await (const item of subscription) received.push(item);
    })();
  },

  /** Ingests what an async generator makes; calls the test at some places. */
  async ingest(url: string, total: number) {
    const client = new Client(url);
    async function* documents() {
      for (let i = 0; i < total; i++) yield { title: `Doc ${i}`, text: `text number ${i}` };
    }
    const onProgress = ({ totalProcessed }: { totalProcessed: number }) => void window.progress(totalProcessed);
    try {
      return plain(await client.ingest("notes", documents(), { onConflict: "fail", onProgress }));
    } catch (error) {
      throw error instanceof IngestError ? new Error(JSON.stringify(plain(error.summary)), { cause: error }) : error;
    }
  },

  cursor: () => reading?.cursor ?? "",

  async received() {
    reading?.close();
    await end;
    return plain({ received, breaks });
  },

  /** What a page sees of a server that does not let it in. */
  shutOut: (url: string) => errorOf(new Client(url).libraries.create({ name: "planted" }, { timeoutMs: 1_000 })),
};

export type Scenarios = typeof scenarios;
declare global {
  interface Window {
    scenarios: Scenarios;
    progress: (processed: number) => Promise<void>;
  }
}
window.scenarios = scenarios;
