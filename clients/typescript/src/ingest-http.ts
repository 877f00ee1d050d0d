// Ingest by NDJSON POSTs: browsers cannot stream a request. Each POST takes what is ready, within
// limits, and its answer is read line by line.

import { ArrwdbError, fromProblem } from "./errors.js";
import type { IngestWire, Item, WireStatus } from "./ingest.js";

/** Most items of one POST. */
const POST_ITEMS_MAX = 256;
/** Most bytes of one POST, but for one item that is larger alone. */
const POST_BYTES_MAX = 4 << 20;

/** For transports that stream one way; `headers` are those of every request. */
export function ingestOverHttp(baseUrl: string, headers: () => Record<string, string>): IngestWire {
  return async function* ({ libraryId, onConflict }, items, signal) {
    const path = `/v1/libraries/${encodeURIComponent(libraryId)}/documents/stream`;
    const url = `${baseUrl}${path}?on_conflict=${onConflict}`;
    for (let first = await items.next(); first !== undefined; first = await items.next()) {
      const batch = [first];
      for (let bytes = first.bytes; batch.length < POST_ITEMS_MAX && bytes < POST_BYTES_MAX; ) {
        const item = items.ready();
        if (item === undefined) break;
        batch.push(item);
        bytes += item.bytes;
      }
      const response = await fetch(url, {
        method: "POST",
        headers: { ...headers(), "content-type": "application/x-ndjson" },
        body: batch.map(toLine).join("\n"),
        signal,
      });
      if (!response.ok) throw await problemOf(response);
      yield* statuses(response);
    }
  };
}

/** An item as a line of NDJSON: the names of the wire, JSON numbers for vectors. */
function toLine({ input, refused }: Item): string {
  if (refused !== undefined) return "{}";
  const { documentType, sourceUrl, chunks, ...same } = input;
  return JSON.stringify({
    ...same,
    document_type: documentType,
    source_url: sourceUrl,
    chunks: chunks?.map((chunk) => ({ ...chunk, embedding: chunk.embedding && Array.from(chunk.embedding) })),
  });
}

async function* statuses(response: Response): AsyncGenerator<WireStatus> {
  for await (const line of lines(response)) {
    const said = JSON.parse(line) as Record<string, unknown>;
    const [id, title] = [String(said["id"]), String(said["title"])];
    switch (said["status"]) {
      case "completed": {
        const [numChunks, revision] = [Number(said["num_chunks"]), BigInt(String(said["revision"]))];
        yield { status: "completed", id, title, numChunks, revision };
        break;
      }
      case "skipped":
        yield { status: "skipped", id, title, revision: BigInt(String(said["revision"])) };
        break;
      case "failed":
        yield { status: "failed", title, error: fromProblem(said["error"]) };
        break;
      case "summary":
        yield { status: "summary", batchId: String(said["batch_id"]) };
        return;
      case "error":
        throw new ArrwdbError(fromProblem(said["error"]));
    }
  }
  throw new ArrwdbError({ slug: "unavailable", detail: "the answer was cut" });
}

/** The lines of an answer that ended with a newline, as they come. */
async function* lines(response: Response): AsyncGenerator<string> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = parts.pop()!;
      yield* parts;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function problemOf(response: Response): Promise<ArrwdbError> {
  const text = await response.text();
  try {
    return new ArrwdbError(fromProblem(JSON.parse(text)));
  } catch {
    // A proxy's own.
    const slug = response.status >= 500 ? "unavailable" : "internal";
    return new ArrwdbError({ slug, detail: `HTTP status ${response.status}` });
  }
}
