// Ingest over connections that break: what is not acknowledged is kept, and sent again under the
// same ids.

import { create, toBinary } from "@bufbuild/protobuf";

import { fromDocumentInput } from "./convert.js";
import { ArrwdbError, cancelled, type ErrorDetails, fromGrpc, invalid, isPassing } from "./errors.js";
import { type DocumentInput as PbDocumentInput, DocumentInputSchema } from "./gen/arrwdb/v1/document_pb.js";
import { uuidv7 } from "./ids.js";
import { linked, Pauses, sleep } from "./retry.js";
import type {
  CallOptions,
  Document,
  DocumentInput,
  IngestOptions,
  IngestProgress,
  IngestStatus,
  IngestSummary,
  OnConflict,
} from "./types.js";

/** Most items that are kept until they are acknowledged. */
const UNACKNOWLEDGED_MAX = 1_024;
/** Most bytes of them, but for one that is larger alone. */
const UNACKNOWLEDGED_BYTES_MAX = 32 << 20;
/** Most documents that are looked for at once, and most bytes of them. */
const LOOKED_FOR_MAX = 100;
const LOOKED_FOR_BYTES_MAX = 4 << 20;
/** Most failures that a summary carries. */
const FAILURES_MAX = 1_000;
/** How long an ingest keeps trying when nothing is acknowledged any more. */
const PATIENCE_MS = 60_000;
/** How long a read of an ingest's own may take at most. */
const CALL_MS_MAX = 30_000;

/** An item that is not acknowledged. */
export interface Item {
  position: number;
  input: DocumentInput & { id: string };
  message: PbDocumentInput;
  bytes: number;
  /** Whether the id was made here: then nobody else wrote a document under it. */
  ownId: boolean;
  /** On how many connections it was sent. */
  sent: number;
  /** What was known of the server when it was first sent: what is newer was written since. */
  knownRevision: bigint;
  /** Why it cannot be sent as it is. A blank goes in its place, which the server counts and refuses. */
  refused?: ErrorDetails;
  /** What became of it, where that is known without sending it again. */
  known?: IngestStatus;
}

/** What a server says of the items, in their order, or of the batch. */
export type WireStatus =
  | { status: "completed"; id: string; title: string; numChunks: number; revision: bigint }
  | { status: "skipped"; id: string; title: string; revision: bigint }
  | { status: "failed"; title: string; error: ErrorDetails }
  | { status: "summary"; batchId: string };

/** Sends items to a server and reads what it says of them, on one connection. */
export type IngestWire = (
  to: { libraryId: string; onConflict: OnConflict },
  items: ItemSource,
  signal: AbortSignal,
) => AsyncIterable<WireStatus>;

/** The items of one connection, in order. */
export interface ItemSource {
  /** The next one, when there is one; `undefined` at the end. */
  next(): Promise<Item | undefined>;
  /** The next one, if there is one already. */
  ready(): Item | undefined;
}

/** An ingest that ended before its end. `summary` has what was acknowledged until then. */
export class IngestError extends ArrwdbError {
  override readonly name = "IngestError";
  /** The items after the first `totalProcessed` may be written or not. */
  readonly summary: IngestSummary;

  constructor(error: ArrwdbError, summary: IngestSummary) {
    super(error, error.cause);
    this.summary = summary;
  }
}

/** Takes documents from their source ahead of the wire, within limits, and keeps them. */
class Window {
  readonly #source: AsyncIterator<DocumentInput> | Iterator<DocumentInput>;
  readonly #items: Item[] = [];
  #sent = 0;
  #bytes = 0;
  #position = 0;
  #ended = false;
  #changed = deferred();
  #knownRevision = 0n;

  /** What the source threw. */
  failure: { error: unknown } | undefined;

  constructor(documents: Iterable<DocumentInput> | AsyncIterable<DocumentInput>) {
    this.#source =
      Symbol.asyncIterator in documents ? documents[Symbol.asyncIterator]() : documents[Symbol.iterator]();
    void this.#fill();
  }

  /** Whether nothing waits to be acknowledged. */
  get idle(): boolean {
    return this.#items.length === 0;
  }

  /** Whether everything was taken and acknowledged. */
  get done(): boolean {
    return this.#ended && this.#items.length === 0;
  }

  /** The items from the first that is not acknowledged on, for a new connection. */
  connection(signal: AbortSignal): ItemSource {
    this.#sent = 0;
    const ready = (): Item | undefined => {
      if (signal.aborted) return undefined;
      while (this.#items[this.#sent]?.known) this.#sent += 1;
      const item = this.#items[this.#sent];
      if (item === undefined) return undefined;
      this.#sent += 1;
      if (item.sent === 0) item.knownRevision = this.#knownRevision;
      item.sent += 1;
      return item;
    };
    const next = async (): Promise<Item | undefined> => {
      for (;;) {
        const item = ready();
        if (item !== undefined || this.#ended || signal.aborted) return item;
        await this.#change(signal);
      }
    };
    return { next, ready };
  }

  /** Waits for the first item of all, or the end. */
  async begun(signal: AbortSignal): Promise<void> {
    while (!this.#ended && this.#items.length === 0 && !signal.aborted) await this.#change(signal);
  }

  /** The first item, of which the server speaks next. */
  get first(): Item {
    const item = this.#sent === 0 ? undefined : this.#items[0];
    if (item !== undefined) return item;
    throw new ArrwdbError({ slug: "internal", detail: "the server told of more items than were sent" });
  }

  /** The server has reached this revision. */
  know(revision: bigint): void {
    if (revision > this.#knownRevision) this.#knownRevision = revision;
  }

  /** Takes the first item out: what became of it is known. */
  acknowledge(): void {
    this.#bytes -= this.#items.shift()?.bytes ?? 0;
    this.#sent = Math.max(0, this.#sent - 1);
    this.#tell();
  }

  /** Takes out what is known of the first items. */
  *known(): Generator<IngestStatus> {
    for (let known = this.#items[0]?.known; known !== undefined; known = this.#items[0]?.known) {
      this.acknowledge();
      yield known;
    }
  }

  /** The items that were sent on a connection that broke, and may be written: some at a time. */
  *unsure(): Generator<Item[]> {
    let some: Item[] = [];
    let bytes = 0;
    for (const item of [...this.#items]) {
      if (item.sent === 0 || item.refused !== undefined || item.known !== undefined) continue;
      if (some.length === LOOKED_FOR_MAX || (some.length > 0 && bytes + item.bytes > LOOKED_FOR_BYTES_MAX)) {
        yield some;
        [some, bytes] = [[], 0];
      }
      some.push(item);
      bytes += item.bytes;
    }
    if (some.length > 0) yield some;
  }

  /** Lets the source go. */
  stop(): void {
    if (this.#ended) return;
    this.#end();
    // A generator that waits runs its `finally` when it comes to itself.
    void Promise.resolve(this.#source.return?.()).catch(() => {});
  }

  async #fill(): Promise<void> {
    try {
      while (!this.#ended) {
        if (this.#items.length >= UNACKNOWLEDGED_MAX || this.#bytes >= UNACKNOWLEDGED_BYTES_MAX) {
          await this.#changed.promise;
          continue;
        }
        const next = await this.#source.next();
        if (this.#ended) return;
        if (next.done === true) return this.#end();
        this.#take(next.value);
      }
    } catch (error) {
      this.failure = { error };
      this.#end();
    }
  }

  #take(document: DocumentInput): void {
    this.#position += 1;
    const input = { ...document, id: document.id || uuidv7() };
    const item: Item = {
      position: this.#position,
      input,
      message: BLANK,
      bytes: 0,
      ownId: !document.id,
      sent: 0,
      knownRevision: 0n,
    };
    try {
      item.message = fromDocumentInput(input);
      item.bytes = toBinary(DocumentInputSchema, item.message).length;
    } catch (thrown) {
      const wrong = thrown instanceof ArrwdbError ? thrown : invalid("document", String(thrown));
      item.refused = { slug: wrong.slug, detail: wrong.detail, violations: wrong.violations };
    }
    this.#items.push(item);
    this.#bytes += item.bytes;
    this.#tell();
  }

  #end(): void {
    this.#ended = true;
    this.#tell();
  }

  #tell(): void {
    const { resolve } = this.#changed;
    this.#changed = deferred();
    resolve();
  }

  async #change(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = deferred();
    signal.addEventListener("abort", resolve);
    await Promise.race([this.#changed.promise, promise]);
    signal.removeEventListener("abort", resolve);
  }
}

/** What no server takes. */
const BLANK = create(DocumentInputSchema);

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** What is known of an ingest so far. */
class Tally {
  readonly summary: IngestSummary = {
    totalProcessed: 0,
    totalSucceeded: 0,
    totalFailed: 0,
    totalSkipped: 0,
    totalChunks: 0,
    batchIds: [],
    revision: 0n,
    failures: [],
    failuresOmitted: 0,
  };

  /** The counts alone, of this moment. */
  get progress(): IngestProgress {
    const { totalProcessed, totalSucceeded, totalFailed, totalSkipped, totalChunks } = this.summary;
    return { totalProcessed, totalSucceeded, totalFailed, totalSkipped, totalChunks };
  }

  add(status: IngestStatus): void {
    const { summary } = this;
    summary.totalProcessed += 1;
    if (status.status === "completed") {
      summary.totalSucceeded += 1;
      summary.totalChunks += status.numChunks;
      this.#see(status.revision);
    } else if (status.status === "skipped") {
      summary.totalSkipped += 1;
      this.#see(status.revision);
    } else {
      summary.totalFailed += 1;
      if (summary.failures.length < FAILURES_MAX) summary.failures.push(status);
      else summary.failuresOmitted += 1;
    }
  }

  close(batchId: string): void {
    this.summary.batchIds.push(batchId);
  }

  #see(revision: bigint): void {
    if (revision > this.summary.revision) this.summary.revision = revision;
  }
}

/** What an ingest needs of its client. */
export interface IngestParts {
  wire: IngestWire;
  /** Reads those of the documents that exist. */
  read: (libraryId: string, documentIds: string[], options: CallOptions) => Promise<Document[]>;
  /** The revision that the server has reached. */
  tail: (options: CallOptions) => Promise<bigint>;
}

/** Ingests, and gives what becomes of each item, in order; returns the summary. */
export async function* ingest(
  parts: IngestParts,
  libraryId: string,
  documents: Iterable<DocumentInput> | AsyncIterable<DocumentInput>,
  options: IngestOptions,
): AsyncGenerator<IngestStatus, IngestSummary, undefined> {
  const { onConflict = "replace", patienceMs = PATIENCE_MS } = options;
  const { controller, unlink } = linked(options.signal);
  const { signal } = controller;
  const within = { signal, timeoutMs: Math.min(patienceMs, CALL_MS_MAX) };
  const window = new Window(documents);
  const tally = new Tally();
  const pauses = new Pauses();
  let heardAt = performance.now();
  // What is there already is told from what this writes by its revision. A replacement need not be.
  let begun = onConflict === "replace";
  const tell = function* (status: IngestStatus) {
    tally.add(status);
    window.know(tally.summary.revision);
    options.onProgress?.(tally.progress, status);
    yield status;
    heardAt = performance.now();
  };
  try {
    for (;;) {
      await window.begun(signal);
      if (signal.aborted) throw cancelled(signal);
      if (window.done) break;

      const connection = linked(signal);
      let error = new ArrwdbError({ slug: "unavailable", detail: "the server ended the stream" });
      let heard = false;
      try {
        if (!begun) window.know(await parts.tail(within));
        begun = true;
        if (onConflict !== "replace") await lookFor(parts, libraryId, window, within);
        for (const known of window.known()) yield* tell(known);
        const items = window.connection(connection.controller.signal);
        for await (const said of parts.wire({ libraryId, onConflict }, items, connection.controller.signal)) {
          if (said.status === "summary") {
            tally.close(said.batchId);
            continue;
          }
          const status = await settle(parts, libraryId, window.first, said, within);
          window.acknowledge();
          heard = true;
          pauses.reset();
          yield* tell(status);
          for (const known of window.known()) yield* tell(known);
        }
      } catch (thrown) {
        error = fromGrpc(thrown, options.signal);
      } finally {
        connection.unlink();
        connection.controller.abort();
      }
      if (window.done) break;
      // A connection that everything came through on may end as it likes, for example as stalled.
      if (heard && window.idle && !signal.aborted) continue;
      const pause = pauses.next(error);
      if (!isPassing(error) || performance.now() + pause - heardAt > patienceMs) {
        throw error;
      }
      await sleep(pause, signal);
    }
    if (window.failure === undefined) return tally.summary;
  } catch (error) {
    throw error instanceof ArrwdbError ? new IngestError(error, tally.summary) : error;
  } finally {
    unlink();
    window.stop();
  }
  // The source's own: everything before it is acknowledged.
  throw window.failure.error;
}

/** What became of an item, out of what the server says of this try. */
async function settle(
  parts: IngestParts,
  libraryId: string,
  item: Item,
  said: Exclude<WireStatus, { status: "summary" }>,
  within: CallOptions,
): Promise<IngestStatus> {
  const { position, input, refused } = item;
  if (refused !== undefined) {
    return { status: "failed", position, title: String(input.title), error: refused };
  }
  if (said.status !== "failed" && said.id !== input.id) {
    const detail = `the server told of document ${said.id} where ${input.id} was next`;
    throw new ArrwdbError({ slug: "internal", detail });
  }
  if (said.status === "completed") return { ...said, position };
  const exists = said.status === "skipped" || said.error.slug === "already-exists";
  if (!exists || item.sent <= 1) return { ...said, position };
  // Perhaps written on a connection that broke, and only just.
  const [there] = await parts.read(libraryId, [input.id], within);
  return there !== undefined && wasWritten(item, there) ? toCompleted(position, there) : { ...said, position };
}

/**
 * Whether what is there under an item's id is the item, which was sent and not heard of: nobody else
 * has the ids of this client; under another, what is newer than what was known before it was sent.
 */
function wasWritten({ ownId, knownRevision }: Item, { revision }: Document): boolean {
  return ownId || revision > knownRevision;
}

/**
 * Looks for what was written on connections that broke before they could say so. It need not be sent
 * again, nor would the server take it again.
 */
async function lookFor(parts: IngestParts, libraryId: string, window: Window, within: CallOptions): Promise<void> {
  for (const items of window.unsure()) {
    const documents = await parts.read(libraryId, items.map(({ input }) => input.id), within);
    const written = new Map(documents.map((document) => [document.id, document]));
    for (const item of items) {
      const document = written.get(item.input.id);
      if (document !== undefined && wasWritten(item, document)) item.known = toCompleted(item.position, document);
    }
  }
}

function toCompleted(position: number, { id, title, numChunks, revision }: Document): IngestStatus {
  return { status: "completed", position, id, title, numChunks, revision };
}
