// What callers see: plain values with the names of the glossary. Revisions are `bigint`, which
// compare as numbers do; times are RFC 3339 in UTC, as the server wrote them.

import type { JsonObject } from "@bufbuild/protobuf";

import type { ErrorDetails } from "./errors.js";

export type { JsonObject };

/** How nearness is measured. */
export type Metric = "cosine" | "dot" | "l2" | (string & {});

/** The kind of index that was asked for. */
export type IndexType = "auto" | "flat" | "hnsw" | (string & {});

/** What an ingested document does to one of the same id that exists. */
export type OnConflict = "replace" | "skip" | "fail";

/** Numbers of a vector. */
export type Embedding = readonly number[] | Float32Array;

/** Every call takes these. */
export interface CallOptions {
  /** Gives the call up: it throws `cancelled`. */
  signal?: AbortSignal | undefined;
  /** How long it may take in all, in milliseconds: 30 000 unless said otherwise. */
  timeoutMs?: number | undefined;
}

/** Reads take this too. */
export interface ReadOptions extends CallOptions {
  /** Waits until the server sees at least this revision: reads what was written before. */
  minRevision?: bigint | undefined;
}

/** Changes take this too. */
export interface WriteOptions extends CallOptions {
  /** Throws `conflict` unless this is the revision that is there. */
  expectedRevision?: bigint | undefined;
}

/** A named set of documents with one dimension, one metric and one embedder. */
export interface Library {
  id: string;
  name: string;
  description: string;
  metric: Metric;
  dimension: number;
  embedder: { id: string; sha256: string };
  indexType: IndexType;
  metadata: JsonObject;
  numDocuments: number;
  numChunks: number;
  createdAt: string;
  updatedAt: string;
  revision: bigint;
}

/** A library to make. */
export interface LibraryInput {
  /** Unique on the server: 1 to 128 characters. */
  name: string;
  description?: string | undefined;
  metric?: "cosine" | "dot" | "l2" | undefined;
  /** A configured embedder's name, `default`, or `none` (then `dimension` is needed). */
  embedder?: string | undefined;
  dimension?: number | undefined;
  indexType?: "auto" | "flat" | "hnsw" | undefined;
  metadata?: JsonObject | undefined;
}

/** What to change of a library; what is not there stays. */
export interface LibraryPatch {
  name?: string | undefined;
  description?: string | undefined;
  metadata?: JsonObject | undefined;
}

/** What a library holds and costs. */
export interface LibraryStatistics {
  libraryId: string;
  name: string;
  numDocuments: number;
  numChunks: number;
  numSegments: number;
  numTombstones: number;
  indexBytes: number;
  revision: bigint;
}

/** What a library's index is made of. */
export interface IndexStatistics {
  libraryId: string;
  indexType: IndexType;
  /** One for each chunk. */
  numRows: number;
  /** Rows that are deleted but not yet merged away. */
  numTombstones: number;
  /** Of memory. */
  indexBytes: number;
  /** Each graph with its rows, then the rows that have none. */
  segments: IndexSegment[];
  /** The graph that is being built; `undefined` when none is. */
  building?: IndexBuild;
  /** At which all this is true. */
  revision: bigint;
}

/** Rows of an index that are searched together. */
export interface IndexSegment {
  /** Rows without a graph are always searched exactly. */
  hasGraph: boolean;
  numRows: number;
  numTombstones: number;
  indexBytes: number;
  /** How wide walks for the ten nearest are unless a search says; 0 without a graph. */
  ef: number;
}

/** A graph that is being built. */
export interface IndexBuild {
  numRows: number;
  /** To the nearest thousand. */
  numRowsDone: number;
}

/** How to build an index anew. */
export interface RebuildOptions extends CallOptions {
  /** The kind that it has from then on; the one that it has when not given. */
  indexType?: "auto" | "flat" | "hnsw" | undefined;
}

/** What to measure of searches. */
export interface RecallOptions extends ReadOptions {
  /** How many stored vectors are queries: 1 to 1 000; 100 when not given. */
  numQueries?: number | undefined;
  /** How many hits of each count: 1 to 1 000; 10 when not given. */
  k?: number | undefined;
  /** How wide walks are, as in a search. */
  ef?: number | undefined;
}

/** How much of the exact answer searches give. */
export interface Recall {
  /** The share of the nearest that was found, of all queries together: 0 to 1. */
  recall: number;
  /** The same of the query that found least. */
  recallMin: number;
  /** Fewer than asked for where there are fewer chunks. */
  numQueries: number;
  k: number;
  /** How long a search takes on the server, in microseconds: the median. */
  searchUs: number;
  /** The same of an exact search. */
  exactUs: number;
  /** That was searched. */
  revision: bigint;
}

/** What a filter lets through. */
export interface DocumentCount {
  /** Documents of which at least one chunk passes. */
  numDocuments: number;
  numChunks: number;
  /** At which this is true. */
  revision: bigint;
}

/** What was deleted by a filter. */
export interface DeletedDocuments {
  numDeleted: number;
  /** Documents that others changed or deleted meanwhile, and that were left alone. */
  numChanged: number;
  /** Of the last deletion; when there was none, that of the state that was looked at. */
  revision: bigint;
}

/** The unit of ingest. */
export interface Document {
  id: string;
  title: string;
  author: string;
  documentType: string;
  sourceUrl: string;
  tags: string[];
  metadata: JsonObject;
  /** In index order; empty in a list that was asked for without chunks. */
  chunks: Chunk[];
  numChunks: number;
  createdAt: string;
  updatedAt: string;
  revision: bigint;
}

/** The unit of search. */
export interface Chunk {
  id: string;
  index: number;
  text: string;
  metadata: JsonObject;
}

/** A document to write. Exactly one of `text`, `texts` and `chunks` says what it says. */
export interface DocumentInput {
  /** 1 to 128 characters of `A–Z a–z 0–9 . _ : / @ -`; a UUID is made when not given. */
  id?: string | undefined;
  title: string;
  author?: string | undefined;
  documentType?: string | undefined;
  sourceUrl?: string | undefined;
  tags?: readonly string[] | undefined;
  metadata?: JsonObject | undefined;
  /** One text that the server splits into chunks. */
  text?: string | undefined;
  /** The texts of the chunks. */
  texts?: readonly string[] | undefined;
  /** The chunks, with their own vectors or metadata where wanted. */
  chunks?: readonly ChunkInput[] | undefined;
}

/** A chunk to write. */
export interface ChunkInput {
  text?: string | undefined;
  /** As many finite numbers as the library's dimension. */
  embedding?: Embedding | undefined;
  metadata?: JsonObject | undefined;
}

/** What to change of a document; what is not there stays. The content goes as a whole. */
export type DocumentPatch = Partial<Omit<DocumentInput, "id">>;

/** What to find: `query` or `embedding`. */
export interface SearchQuery {
  /** A text to be near to. */
  query?: string | undefined;
  /** A vector to be near to. */
  embedding?: Embedding | undefined;
  /** How many hits: 10 when not given. */
  k?: number | undefined;
  /** Only hits at this distance or nearer. */
  distanceThreshold?: number | undefined;
  /** Only chunks of which this expression is true, for example `document.metadata.team == "a"`. */
  filter?: string | undefined;
  /**
   * How wide walks through the index's graphs are, 1 to 10 000: more finds more and takes longer.
   * What was found to be enough when they were built, when not given.
   */
  ef?: number | undefined;
}

/** How to find it. */
export interface SearchOptions extends ReadOptions {
  /** For those queries that have none of their own. */
  filter?: string | undefined;
  /** Whether hits carry their text; they do when not given. */
  includeText?: boolean | undefined;
  /** What `k` counts: chunks, or with `document` documents, of each only its best chunk. */
  groupBy?: "document" | undefined;
  /** Whether approximation is forbidden: then every chunk that may be found is looked at. */
  exact?: boolean | undefined;
  /** For those queries that have none of their own. */
  ef?: number | undefined;
}

/** One ranked chunk. */
export interface Hit {
  /** From 1. */
  rank: number;
  chunkId: string;
  documentId: string;
  /** Higher is better. */
  score: number;
  /** Lower is nearer. */
  distance: number;
  text?: string;
  title: string;
  /** The document's with the chunk's over it. */
  metadata: JsonObject;
}

/** What a search found. */
export interface SearchResult {
  /** Best first. */
  hits: Hit[];
  totalResults: number;
  revision: bigint;
}

/** How a streamed search ended. */
export type SearchEnd = Omit<SearchResult, "hits">;

/** How an export ended. */
export interface ExportEnd {
  totalDocuments: number;
  /** Following the events from here gives exactly what came after the export. */
  cursor: string;
}

/** What became of one item of an ingest. `position` is its place in what was given, from 1. */
export type IngestStatus =
  | { status: "completed"; position: number; id: string; title: string; numChunks: number; revision: bigint }
  | { status: "skipped"; position: number; id: string; title: string; revision: bigint }
  | { status: "failed"; position: number; title: string; error: ErrorDetails };

/** How far an ingest is. */
export interface IngestProgress {
  totalProcessed: number;
  totalSucceeded: number;
  totalFailed: number;
  totalSkipped: number;
  totalChunks: number;
}

/** What came of an ingest. */
export interface IngestSummary extends IngestProgress {
  /** The batches that were closed: more than one where connections broke, or in a browser. */
  batchIds: string[];
  /** Reads with this `minRevision` see all that was written; 0 when nothing was. */
  revision: bigint;
  /** The items that failed, in order: at most 1 000. */
  failures: Extract<IngestStatus, { status: "failed" }>[];
  /** How many more failed. */
  failuresOmitted: number;
}

/** How to ingest. */
export interface IngestOptions {
  onConflict?: OnConflict | undefined;
  /** Called after each item. */
  onProgress?: ((progress: IngestProgress, status: IngestStatus) => void) | undefined;
  /** Gives it up: what is not acknowledged may be written or not. */
  signal?: AbortSignal | undefined;
  /** How long it keeps trying when nothing is acknowledged any more: 60 000 ms unless said otherwise. */
  patienceMs?: number | undefined;
}

/** What can happen. */
export type EventType =
  | "library.created"
  | "library.updated"
  | "library.deleted"
  | "document.added"
  | "document.updated"
  | "document.deleted"
  | "chunk.added"
  | "chunk.deleted"
  | "index.rebuilt"
  | "index.optimized"
  | "batch.started"
  | "batch.completed"
  | "batch.failed";

interface EventBase<T extends EventType> {
  /** The same over retry, replay and restart; also the cursor behind it. */
  id: string;
  type: T;
  libraryId: string;
  timestamp: string;
  revision: bigint;
  /** Whether it is the last event of its change. */
  last: boolean;
  /** The ingest stream that the change belongs to. */
  batchId?: string;
}

/** What an event says of a library. */
export interface LibraryFacts {
  name: string;
  description: string;
  metric: Metric;
  dimension: number;
  embedder: { id: string; sha256: string };
  indexType: IndexType;
  metadata: JsonObject;
}

/** What an event says of a document. */
export interface DocumentFacts {
  documentId: string;
  title: string;
  author: string;
  documentType: string;
  sourceUrl: string;
  tags: string[];
  numChunks: number;
  metadata: JsonObject;
}

/** What an event says of a chunk. */
export interface ChunkFacts {
  chunkId: string;
  documentId: string;
  index: number;
  /** Of the document. */
  title: string;
  metadata: JsonObject;
}

/** One thing that happened: `type` says what, and with it what else there is. */
export type Event =
  | (EventBase<"library.created"> & LibraryFacts)
  | (EventBase<"library.updated"> &
      LibraryFacts & { previousName?: string; previousDescription?: string; previousMetadata?: JsonObject })
  | (EventBase<"library.deleted"> & LibraryFacts & { numDocuments: number; numChunks: number })
  | (EventBase<"document.added"> & DocumentFacts)
  | (EventBase<"document.updated"> &
      DocumentFacts & {
        previousTitle?: string;
        previousMetadata?: JsonObject;
        /** With a `filter`: whether the document matches it now and not before, both, or only before. */
        match?: "entered" | "stayed" | "left" | (string & {});
      })
  | (EventBase<"document.deleted"> & DocumentFacts)
  | (EventBase<"chunk.added" | "chunk.deleted"> & ChunkFacts)
  | EventBase<"batch.started">
  | (EventBase<"batch.completed"> & IngestProgress)
  | (EventBase<"batch.failed"> & IngestProgress & { reason: string })
  | (EventBase<"index.rebuilt"> & { indexType: IndexType })
  | (EventBase<"index.optimized"> & { segmentsBefore: number; segmentsAfter: number });

/** Everything up to `id` was given out or did not pass the filter. */
export interface Heartbeat {
  type: "heartbeat";
  id: string;
  timestamp: string;
}

/**
 * What a subscription with a snapshot begins with: a `begin`, made by the client; the documents that
 * are there; an `end`. When the connection breaks before the end, another `begin` follows: throw
 * away what was given out since the last one.
 */
export type SnapshotItem =
  | { type: "snapshot.begin" }
  | ({ type: "snapshot.document"; libraryId: string; timestamp: string; revision: bigint } & DocumentFacts)
  | { type: "snapshot.end"; id: string; totalDocuments: number };

/** Which events. */
export interface EventFilter {
  /** Only of this library, by id or name. */
  libraryId?: string | undefined;
  /** Only of these types. */
  eventTypes?: readonly EventType[] | undefined;
  /** Only those of which this expression is true, for example `document.metadata.team == "a"`. */
  filter?: string | undefined;
}

/** One page of past events. */
export interface EventPage {
  events: Event[];
  /** Where to read on, also when the page is empty. */
  nextCursor: string;
  /** The end of the feed at the time of the read. */
  tailCursor: string;
}

/** The feed in numbers, since the server started. */
export interface EventStatistics {
  totalPublished: number;
  totalDelivered: number;
  totalErrors: number;
  pendingEvents: number;
  subscriberCount: number;
  running: boolean;
  startedAt: string;
  tailRevision: bigint;
  floorRevision: bigint;
  logBytes: number;
  subscribers: SubscriberStatistics[];
}

/** One live subscriber in numbers. */
export interface SubscriberStatistics {
  id: number;
  cursor: string;
  lagRevisions: number;
  lagSeconds: number;
  pendingEvents: number;
  deliveredEvents: number;
  since: string;
}

/** A durable consumer. */
export interface Consumer {
  name: string;
  libraryId: string;
  eventTypes: EventType[];
  filter: string;
  /** Everything up to here is acknowledged. */
  cursor: string;
  /** Grows with each new owner and each seek; what carries an older one is refused. */
  generation: bigint;
  owner: string;
  paused: boolean;
  /** Whether its place is trimmed away: seek. */
  expired: boolean;
  lagRevisions: number;
  lagEvents: number;
  lagSeconds: number;
  createdAt: string;
  updatedAt: string;
}

/** A durable consumer to make. */
export interface ConsumerInput extends EventFilter {
  /** 1 to 128 characters of `A–Z a–z 0–9 . _ : / @ -`. */
  name: string;
  /** Where to begin: a cursor, `begin`, `now`, `revision:N` or `time:RFC3339`; `now` when not given. */
  cursor?: string | undefined;
}

/** How to pull. */
export interface PullOptions extends CallOptions {
  /** What the pull before gave. Not given: takes the consumer over. */
  generation?: bigint | undefined;
  /** What a new owner calls itself. */
  owner?: string | undefined;
  /** Reads on behind this cursor without acknowledging anything. */
  cursor?: string | undefined;
  /** 100 unless said otherwise, at most 1 000. */
  maxEvents?: number | undefined;
  /** How long to wait for the first event, in milliseconds: at most 50 000. */
  waitMs?: number | undefined;
}

/** What a pull gave. */
export interface Pulled extends EventPage {
  /** To be given with the pulls and acknowledgements that follow. */
  generation: bigint;
}
