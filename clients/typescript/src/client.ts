// The one API, whatever the transport.

import { createClient, type Client as Rpc, type Interceptor, type Transport } from "@connectrpc/connect";

import { Caller, expecting, seeing, TIMEOUT_MS } from "./caller.js";
import { Consumption, type ConsumeOptions } from "./consumption.js";
import {
  fromDocumentInput,
  fromEventFilter,
  fromEventType,
  fromGroupBy,
  fromIndexType,
  fromMetric,
  set,
  toConsumer,
  toDocument,
  toDocumentInput,
  toEvents,
  toEventStatistics,
  toHit,
  toLibrary,
  toLibraryStatistics,
} from "./convert.js";
import { invalid } from "./errors.js";
import { ConsumerService } from "./gen/arrwdb/v1/consumer_service_pb.js";
import { DocumentService } from "./gen/arrwdb/v1/document_service_pb.js";
import { EventService } from "./gen/arrwdb/v1/event_service_pb.js";
import { LibraryService } from "./gen/arrwdb/v1/library_service_pb.js";
import { SearchService } from "./gen/arrwdb/v1/search_service_pb.js";
import { uuidv7 } from "./ids.js";
import { Indexes } from "./indexes.js";
import { ingest, type IngestWire } from "./ingest.js";
import { Stream, whole } from "./stream.js";
import { type Subscribed, type SubscribeOptions, Subscription } from "./subscription.js";
import type {
  CallOptions,
  Consumer,
  ConsumerInput,
  DeletedDocuments,
  Document,
  DocumentCount,
  DocumentInput,
  DocumentPatch,
  EventFilter,
  EventPage,
  EventStatistics,
  ExportEnd,
  Hit,
  IngestOptions,
  IngestStatus,
  IngestSummary,
  Library,
  LibraryInput,
  LibraryPatch,
  LibraryStatistics,
  Pulled,
  PullOptions,
  ReadOptions,
  Recall,
  RecallOptions,
  SearchEnd,
  SearchOptions,
  SearchQuery,
  SearchResult,
  WriteOptions,
} from "./types.js";

/** How to reach a server. */
export interface ClientOptions {
  /** Sent with every request as `authorization: Bearer …`. The server has no authentication yet. */
  token?: string | undefined;
  /**
   * For `https://` in Node: PEM texts of the authorities to trust, and of a certificate of one's own
   * with its key. A browser uses its own. The server has no TLS yet: this is for a proxy before it.
   */
  tls?: { ca?: string | undefined; certificate?: string | undefined; key?: string | undefined } | undefined;
  /** How long a call may take in all unless it says otherwise, in milliseconds: 30 000. */
  timeoutMs?: number | undefined;
}

/** How bytes travel: all that differs between Node and browsers. @internal */
export interface Wires {
  transport: Transport;
  ingest: (documents: Rpc<typeof DocumentService>) => IngestWire;
  close: () => void;
}

/** A server's address with a scheme and without a slash at its end. @internal */
export function baseUrlOf(address: string): string {
  const url = address.includes("://") ? address : `http://${address}`;
  return url.replace(/\/+$/, "");
}

/** What every request carries besides. @internal */
export function headersOf({ token }: ClientOptions): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** Puts that on gRPC requests. @internal */
export function interceptorsOf(options: ClientOptions): Interceptor[] {
  const headers = Object.entries(headersOf(options));
  return [
    (next) => (request) => {
      for (const [name, value] of headers) request.header.set(name, value);
      return next(request);
    },
  ];
}

/** All of a list, page by page. */
async function* pages<T>(read: (pageToken: string) => Promise<{ items: T[]; nextPageToken: string }>): AsyncGenerator<T, void, undefined> {
  let pageToken = "";
  do {
    const { items, nextPageToken } = await read(pageToken);
    yield* items;
    pageToken = nextPageToken;
  } while (pageToken !== "");
}

/** Libraries. Wherever a `libraryId` is asked for, the library's name serves too. */
export class Libraries {
  readonly #rpc: Rpc<typeof LibraryService>;
  readonly #caller: Caller;

  /** @internal */
  constructor(transport: Transport, caller: Caller) {
    this.#rpc = createClient(LibraryService, transport);
    this.#caller = caller;
  }

  /** Makes a library; `already-exists` when the name is taken. */
  async create(library: LibraryInput, options: CallOptions = {}): Promise<Library> {
    const { metric, indexType, ...rest } = library;
    const request = {
      ...set(rest),
      metric: fromMetric(metric),
      indexType: fromIndexType(indexType),
      requestId: uuidv7(),
    };
    const response = await this.#caller.again((call) => this.#rpc.createLibrary(request, call), options);
    return toLibrary(response.library!);
  }

  async get(libraryId: string, options: ReadOptions = {}): Promise<Library> {
    const request = { libraryId, ...seeing(options) };
    const response = await this.#caller.again((call) => this.#rpc.getLibrary(request, call), options);
    return toLibrary(response.library!);
  }

  /** All libraries by name, read page by page as the loop goes. */
  list(options: ReadOptions & { pageSize?: number | undefined } = {}): AsyncGenerator<Library, void, undefined> {
    return pages(async (pageToken) => {
      const request = { pageToken, pageSize: options.pageSize ?? 0, ...seeing(options) };
      const page = await this.#caller.again((call) => this.#rpc.listLibraries(request, call), options);
      return { items: page.libraries.map(toLibrary), nextPageToken: page.nextPageToken };
    });
  }

  /** Changes what the patch has. Not tried again by itself. */
  async update(libraryId: string, patch: LibraryPatch, options: WriteOptions = {}): Promise<Library> {
    const library = set(patch);
    const request = { libraryId, library, updateMask: { paths: Object.keys(library) }, ...expecting(options) };
    const response = await this.#caller.once((call) => this.#rpc.updateLibrary(request, call), options);
    return toLibrary(response.library!);
  }

  /** Deletes a library with all that is in it; gives the revision. Not tried again by itself. */
  async delete(libraryId: string, options: WriteOptions = {}): Promise<bigint> {
    const request = { libraryId, ...expecting(options) };
    return (await this.#caller.once((call) => this.#rpc.deleteLibrary(request, call), options)).revision;
  }

  async statistics(libraryId: string, options: ReadOptions = {}): Promise<LibraryStatistics> {
    const request = { libraryId, ...seeing(options) };
    const response = await this.#caller.again((call) => this.#rpc.getLibraryStatistics(request, call), options);
    return toLibraryStatistics(response);
  }
}

/** The names of a patch's fields on the wire. */
const DOCUMENT_FIELDS: Record<keyof DocumentPatch, string> = {
  title: "title",
  author: "author",
  documentType: "document_type",
  sourceUrl: "source_url",
  tags: "tags",
  metadata: "metadata",
  text: "text",
  texts: "texts",
  chunks: "chunks",
};

/** Documents, one by one. */
export class Documents {
  readonly #rpc: Rpc<typeof DocumentService>;
  readonly #caller: Caller;

  /** @internal */
  constructor(rpc: Rpc<typeof DocumentService>, caller: Caller) {
    this.#rpc = rpc;
    this.#caller = caller;
  }

  /** Makes a document; `already-exists` when its id is taken. Durable and searchable when it resolves. */
  async create(libraryId: string, document: DocumentInput, options: CallOptions = {}): Promise<Document> {
    const request = { libraryId, document: fromDocumentInput(document), requestId: uuidv7() };
    const response = await this.#caller.again((call) => this.#rpc.createDocument(request, call), options);
    return toDocument(response.document!);
  }

  async get(libraryId: string, documentId: string, options: ReadOptions = {}): Promise<Document> {
    const request = { libraryId, documentId, ...seeing(options) };
    const response = await this.#caller.again((call) => this.#rpc.getDocument(request, call), options);
    return toDocument(response.document!);
  }

  /** Reads at most 1 000 documents; says which do not exist. */
  async getMany(
    libraryId: string,
    documentIds: readonly string[],
    options: ReadOptions = {},
  ): Promise<{ documents: Document[]; missingIds: string[] }> {
    const request = { libraryId, documentIds: [...documentIds], ...seeing(options) };
    const response = await this.#caller.again((call) => this.#rpc.batchGetDocuments(request, call), options);
    return { documents: response.documents.map(toDocument), missingIds: response.missingIds };
  }

  /** All documents in the order of their creation, read page by page as the loop goes. */
  list(
    libraryId: string,
    options: ReadOptions & { pageSize?: number | undefined; includeChunks?: boolean | undefined } = {},
  ): AsyncGenerator<Document, void, undefined> {
    const { pageSize = 0, includeChunks = false } = options;
    return pages(async (pageToken) => {
      const request = { libraryId, pageToken, pageSize, includeChunks, ...seeing(options) };
      const page = await this.#caller.again((call) => this.#rpc.listDocuments(request, call), options);
      return { items: page.documents.map(toDocument), nextPageToken: page.nextPageToken };
    });
  }

  /** Changes what the patch has. Not tried again by itself. */
  async update(libraryId: string, documentId: string, patch: DocumentPatch, options: WriteOptions = {}): Promise<Document> {
    const fields = set(patch);
    const request = {
      libraryId,
      documentId,
      document: fromDocumentInput(fields),
      updateMask: { paths: Object.keys(fields).map((field) => DOCUMENT_FIELDS[field as keyof DocumentPatch] ?? field) },
      ...expecting(options),
    };
    const response = await this.#caller.once((call) => this.#rpc.updateDocument(request, call), options);
    return toDocument(response.document!);
  }

  /** Deletes a document; gives the revision. Not tried again by itself. */
  async delete(libraryId: string, documentId: string, options: WriteOptions = {}): Promise<bigint> {
    const request = { libraryId, documentId, ...expecting(options) };
    return (await this.#caller.once((call) => this.#rpc.deleteDocument(request, call), options)).revision;
  }

  /** Counts the documents and chunks that a filter lets through; all without one. */
  async count(libraryId: string, options: ReadOptions & { filter?: string | undefined } = {}): Promise<DocumentCount> {
    const request = { libraryId, filter: options.filter ?? "", ...seeing(options) };
    const response = await this.#caller.again((call) => this.#rpc.countDocuments(request, call), options);
    const { numDocuments, numChunks, revision } = response;
    return { numDocuments: Number(numDocuments), numChunks: Number(numChunks), revision };
  }

  /**
   * Deletes every document of which at least one chunk passes a filter (`true`: all). Each deletion
   * is a change of its own; all are durable when it resolves. Not tried again by itself.
   */
  async deleteMany(libraryId: string, filter: string, options: ReadOptions = {}): Promise<DeletedDocuments> {
    const request = { libraryId, filter, ...seeing(options) };
    const response = await this.#caller.once((call) => this.#rpc.deleteDocuments(request, call), options);
    const { numDeleted, numChanged, revision } = response;
    return { numDeleted: Number(numDeleted), numChanged: Number(numChanged), revision };
  }
}

/** Durable consumers: places in the feed that the server keeps. */
export class Consumers {
  readonly #rpc: Rpc<typeof ConsumerService>;
  readonly #caller: Caller;

  /** @internal */
  constructor(transport: Transport, caller: Caller) {
    this.#rpc = createClient(ConsumerService, transport);
    this.#caller = caller;
  }

  /** Makes a consumer; `already-exists` when the name is taken. */
  async create(consumer: ConsumerInput, options: CallOptions = {}): Promise<Consumer> {
    const { name, libraryId = "", eventTypes = [], filter = "", cursor = "" } = consumer;
    const request = { name, libraryId, eventTypes: eventTypes.map(fromEventType), filter, cursor, requestId: uuidv7() };
    const response = await this.#caller.again((call) => this.#rpc.createConsumer(request, call), options);
    return toConsumer(response.consumer!);
  }

  /** A consumer and how far it is behind. */
  async get(name: string, options: CallOptions = {}): Promise<Consumer> {
    const response = await this.#caller.again((call) => this.#rpc.getConsumer({ name }, call), options);
    return toConsumer(response.consumer!);
  }

  /** All consumers by name, read page by page as the loop goes. */
  list(options: CallOptions & { pageSize?: number | undefined } = {}): AsyncGenerator<Consumer, void, undefined> {
    return pages(async (pageToken) => {
      const request = { pageToken, pageSize: options.pageSize ?? 0 };
      const page = await this.#caller.again((call) => this.#rpc.listConsumers(request, call), options);
      return { items: page.consumers.map(toConsumer), nextPageToken: page.nextPageToken };
    });
  }

  /**
   * The next events that are not acknowledged. Without a `generation` it takes the consumer over,
   * and is not tried again by itself.
   */
  async pull(name: string, options: PullOptions = {}): Promise<Pulled> {
    const { generation, owner = "", cursor = "", maxEvents = 0, waitMs = 0 } = options;
    const request = { name, owner, cursor, maxEvents, waitMs, ...set({ generation }) };
    const within = { ...options, timeoutMs: options.timeoutMs ?? TIMEOUT_MS + waitMs };
    const how = generation === undefined ? "once" : "again";
    const response = await this.#caller[how]((call) => this.#rpc.pullEvents(request, call), within);
    const { nextCursor, tailCursor } = response;
    return { events: toEvents(response.events), nextCursor, tailCursor, generation: response.generation };
  }

  /** Everything up to the cursor is dealt with. Durable when it resolves. */
  async acknowledge(name: string, generation: bigint, cursor: string, options: CallOptions = {}): Promise<Consumer> {
    const request = { name, generation, cursor };
    const response = await this.#caller.again((call) => this.#rpc.acknowledge(request, call), options);
    return toConsumer(response.consumer!);
  }

  /** Moves a consumer, forwards or back; its owner becomes stale. Not tried again by itself. */
  async seek(name: string, cursor: string, options: CallOptions = {}): Promise<Consumer> {
    const response = await this.#caller.once((call) => this.#rpc.seek({ name, cursor }, call), options);
    return toConsumer(response.consumer!);
  }

  /** Lets it give nothing out until it is resumed. Not tried again by itself. */
  async pause(name: string, options: CallOptions = {}): Promise<Consumer> {
    const response = await this.#caller.once((call) => this.#rpc.pause({ name }, call), options);
    return toConsumer(response.consumer!);
  }

  /** Ends a pause. Not tried again by itself. */
  async resume(name: string, options: CallOptions = {}): Promise<Consumer> {
    const response = await this.#caller.once((call) => this.#rpc.resume({ name }, call), options);
    return toConsumer(response.consumer!);
  }

  /** Takes a consumer away. Not tried again by itself. */
  async delete(name: string, options: CallOptions = {}): Promise<void> {
    await this.#caller.once((call) => this.#rpc.deleteConsumer({ name }, call), options);
  }
}

/** What Node and browsers have in common: everything. */
export class BaseClient {
  readonly libraries: Libraries;
  readonly documents: Documents;
  readonly consumers: Consumers;
  readonly indexes: Indexes;
  readonly #documents: Rpc<typeof DocumentService>;
  readonly #searches: Rpc<typeof SearchService>;
  readonly #events: Rpc<typeof EventService>;
  readonly #caller: Caller;
  readonly #wire: IngestWire;
  readonly #close: () => void;

  /** @internal */
  constructor({ transport, ingest, close }: Wires, options: ClientOptions) {
    this.#caller = new Caller(options.timeoutMs ?? TIMEOUT_MS);
    this.#documents = createClient(DocumentService, transport);
    this.#searches = createClient(SearchService, transport);
    this.#events = createClient(EventService, transport);
    this.#wire = ingest(this.#documents);
    this.#close = close;
    this.libraries = new Libraries(transport, this.#caller);
    this.documents = new Documents(this.#documents, this.#caller);
    this.consumers = new Consumers(transport, this.#caller);
    this.indexes = new Indexes(transport, this.#caller);
  }

  /**
   * Writes many documents, and goes on by itself after broken connections and restarts: items
   * without an id get one, so none is written twice, and those that were not acknowledged are sent
   * again. A bad item fails alone. Keeps at most 1 024 items or 32 MiB in memory.
   *
   * Throws `IngestError`, with a summary of what was acknowledged, when it cannot go on.
   */
  async ingest(
    libraryId: string,
    documents: Iterable<DocumentInput> | AsyncIterable<DocumentInput>,
    options: IngestOptions = {},
  ): Promise<IngestSummary> {
    const statuses = this.streamIngest(libraryId, documents, options);
    for (;;) {
      const { done, value } = await statuses.next();
      if (done === true) return value;
    }
  }

  /** The same, and tells what became of each item, in order; returns the summary. */
  streamIngest(
    libraryId: string,
    documents: Iterable<DocumentInput> | AsyncIterable<DocumentInput>,
    options: IngestOptions = {},
  ): AsyncGenerator<IngestStatus, IngestSummary, undefined> {
    const read = async (libraryId: string, documentIds: string[], options: CallOptions) =>
      (await this.documents.getMany(libraryId, documentIds, options)).documents;
    const tail = async (options: CallOptions) => (await this.eventStatistics(options)).tailRevision;
    return ingest({ wire: this.#wire, read, tail }, libraryId, documents, options);
  }

  /** Finds the chunks that are nearest to a text or a vector. */
  async search(libraryId: string, query: SearchQuery & SearchOptions): Promise<SearchResult> {
    const request = { libraryId, ...queryOf(query), ...howOf(query) };
    const response = await this.#caller.again((call) => this.#searches.search(request, call), query);
    return { hits: response.results.map(toHit), totalResults: response.totalResults, revision: response.revision };
  }

  /** Answers at most 100 queries at one revision, in their order. */
  async searchMany(libraryId: string, queries: readonly SearchQuery[], options: SearchOptions = {}): Promise<SearchResult[]> {
    if (queries.length === 0) return [];
    const request = { libraryId, queries: queries.map(queryOf), ...howOf(options) };
    const response = await this.#caller.again((call) => this.#searches.search(request, call), options);
    return response.queries.map(({ results, totalResults, revision }) => ({
      hits: results.map(toHit),
      totalResults,
      revision,
    }));
  }

  /** Finds hit by hit, best first: at most 10 000. Its `end` says how many there were. */
  streamSearch(libraryId: string, query: SearchQuery & SearchOptions): Stream<Hit, SearchEnd> {
    const request = { libraryId, ...queryOf(query), ...howOf(query) };
    const { signal, timeoutMs = 0 } = query;
    const open = () => this.#searches.streamSearch(request, { ...set({ signal }), timeoutMs });
    return new Stream(
      whole(
        open,
        ({ item }) => {
          if (item.case === "hit") return { item: toHit(item.value) };
          if (item.case !== "complete") return undefined;
          const { totalResults, revision } = item.value;
          return { end: { totalResults, revision } };
        },
        signal,
      ),
    );
  }

  /**
   * Measures how much of what is nearest searches find: looks for stored vectors, and compares with
   * what an exact search finds.
   */
  async measureRecall(libraryId: string, options: RecallOptions = {}): Promise<Recall> {
    const { numQueries, k, ef } = options;
    const request = { libraryId, ...set({ numQueries, k, ef }), ...seeing(options) };
    const measured = await this.#caller.again((call) => this.#searches.measureRecall(request, call), options);
    const { recall, recallMin, searchUs, exactUs, revision } = measured;
    return { recall, recallMin, numQueries: measured.numQueries, k: measured.k, searchUs, exactUs, revision };
  }

  /**
   * Reads a whole library at one revision, in the shape that `ingest` takes. Its `end` has the
   * cursor from which the events give what came after. It has no timeout unless one is given.
   */
  export(
    libraryId: string,
    options: ReadOptions & { includeEmbeddings?: boolean | undefined } = {},
  ): Stream<DocumentInput, ExportEnd> {
    const { signal, timeoutMs = 0, includeEmbeddings = false } = options;
    const request = { libraryId, includeEmbeddings, ...seeing(options) };
    const open = () => this.#documents.exportDocuments(request, { ...set({ signal }), timeoutMs });
    return new Stream(
      whole(
        open,
        ({ item }) => {
          if (item.case === "document") return { item: toDocumentInput(item.value) };
          if (item.case !== "complete") return undefined;
          return { end: { totalDocuments: Number(item.value.totalDocuments), cursor: item.value.cursor } };
        },
        signal,
      ),
    );
  }

  /** Follows the events; see `Subscription`. */
  subscribe<const O extends SubscribeOptions = {}>(options?: O): Subscription<Subscribed<O>> {
    return new Subscription(this.#events, options ?? {});
  }

  /** Follows as a durable consumer, which this takes over; see `Consumption`. */
  consume(consumer: string, options: ConsumeOptions = {}): Consumption {
    if (consumer === "") throw invalid("consumer", "must not be empty");
    const acknowledge = async (generation: bigint, cursor: string) => {
      await this.consumers.acknowledge(consumer, generation, cursor, set({ signal: options.signal }));
    };
    return new Consumption(this.#events, acknowledge, consumer, options);
  }

  /** One page of past events, from `begin` unless a cursor is given. */
  async listEvents(
    options: EventFilter & ReadOptions & { cursor?: string | undefined; limit?: number | undefined } = {},
  ): Promise<EventPage> {
    const { cursor = "", limit = 0 } = options;
    const request = { ...fromEventFilter(options), cursor, limit, ...seeing(options) };
    const page = await this.#caller.again((call) => this.#events.listEvents(request, call), options);
    return { events: toEvents(page.events), nextCursor: page.nextCursor, tailCursor: page.tailCursor };
  }

  /** The feed in numbers. */
  async eventStatistics(options: ReadOptions = {}): Promise<EventStatistics> {
    const request = seeing(options);
    return toEventStatistics(await this.#caller.again((call) => this.#events.getEventStatistics(request, call), options));
  }

  /** Lets the connection go; calls that are under way fail. */
  close(): void {
    this.#close();
  }
}

/** One query. */
function queryOf({ query, embedding, k, distanceThreshold, filter, ef }: SearchQuery) {
  return { ...set({ query, k, distanceThreshold, filter, ef }), embedding: Array.from(embedding ?? []) };
}

/** How all of a request's queries are answered. */
function howOf(options: SearchOptions) {
  const { filter = "", includeText, groupBy, exact = false, ef } = options;
  return { filter, exact, groupBy: fromGroupBy(groupBy), ...set({ includeText, ef }), ...seeing(options) };
}

