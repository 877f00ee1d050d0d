// Between messages and the values of types.ts: the only place that knows both.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";

import { invalid } from "./errors.js";
import type { Consumer as PbConsumer } from "./gen/arrwdb/v1/consumer_service_pb.js";
import {
  type Document as PbDocument,
  type DocumentInput as PbDocumentInput,
  DocumentInputSchema,
  OnConflict as PbOnConflict,
} from "./gen/arrwdb/v1/document_pb.js";
import {
  type BatchEvent,
  type DocumentEvent,
  type Event as PbEvent,
  EventMatch,
  EventType as PbEventType,
  type LibraryEvent,
} from "./gen/arrwdb/v1/event_pb.js";
import type {
  GetEventStatisticsResponse,
  Heartbeat as PbHeartbeat,
  SnapshotDocument,
} from "./gen/arrwdb/v1/event_service_pb.js";
import {
  type Embedder,
  IndexType as PbIndexType,
  type Library as PbLibrary,
  Metric as PbMetric,
} from "./gen/arrwdb/v1/library_pb.js";
import type { GetIndexStatisticsResponse } from "./gen/arrwdb/v1/index_service_pb.js";
import type { GetLibraryStatisticsResponse } from "./gen/arrwdb/v1/library_service_pb.js";
import { GroupBy as PbGroupBy, type Hit as PbHit } from "./gen/arrwdb/v1/search_service_pb.js";
import type {
  Consumer,
  Document,
  DocumentFacts,
  DocumentInput,
  Event,
  EventFilter,
  EventStatistics,
  EventType,
  Heartbeat,
  Hit,
  IndexStatistics,
  IndexType,
  IngestProgress,
  Library,
  LibraryFacts,
  LibraryStatistics,
  Metric,
  OnConflict,
  SearchOptions,
  SnapshotItem,
} from "./types.js";

/** As the server writes times over HTTP: UTC, with microseconds. */
export function toTime(timestamp: Timestamp | undefined): string {
  const { seconds, nanos } = timestamp ?? { seconds: 0n, nanos: 0 };
  const whole = new Date(Number(seconds) * 1_000).toISOString().slice(0, 19);
  return `${whole}.${String(Math.trunc(nanos / 1_000)).padStart(6, "0")}Z`;
}

/** A value of an enumeration by its name there, in lower case. */
function nameOf(names: Record<number, string>, value: number): string {
  return names[value]?.toLowerCase() ?? `unknown-${value}`;
}

/** The value of a name; UNSPECIFIED when there is none. */
function valueOf<T extends number>(values: object, field: string, name: string | undefined): T {
  if (name === undefined) return 0 as T;
  const value = (values as Record<string, unknown>)[name.toUpperCase().replaceAll(".", "_")];
  if (typeof value !== "number") throw invalid(field, `${JSON.stringify(name)} is not one`);
  return value as T;
}

export const fromMetric = (name: Metric | undefined): PbMetric => valueOf(PbMetric, "metric", name);
export const fromIndexType = (name: IndexType | undefined): PbIndexType => valueOf(PbIndexType, "indexType", name);
export const fromOnConflict = (name: OnConflict | undefined): PbOnConflict => valueOf(PbOnConflict, "onConflict", name);
export const fromGroupBy = (name: SearchOptions["groupBy"]): PbGroupBy => valueOf(PbGroupBy, "groupBy", name);
export const fromEventType = (name: EventType): PbEventType => valueOf(PbEventType, "eventTypes", name);
const toEventType = (value: PbEventType) => nameOf(PbEventType, value).replace("_", ".") as EventType;

/** Leaves out what is not set. */
type Set<T> = { [K in keyof T]: Exclude<T[K], undefined> };
export function set<T extends object>(fields: T): Partial<Set<T>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Set<T>>;
}

export function toLibrary(library: PbLibrary): Library {
  return {
    id: library.id,
    name: library.name,
    description: library.description,
    metric: nameOf(PbMetric, library.metric),
    dimension: library.dimension,
    embedder: toEmbedder(library.embedder),
    indexType: nameOf(PbIndexType, library.indexType),
    metadata: library.metadata ?? {},
    numDocuments: Number(library.numDocuments),
    numChunks: Number(library.numChunks),
    createdAt: toTime(library.createdAt),
    updatedAt: toTime(library.updatedAt),
    revision: library.revision,
  };
}

function toEmbedder(embedder: Embedder | undefined): Library["embedder"] {
  return { id: embedder?.id ?? "", sha256: embedder?.sha256 ?? "" };
}

export function toLibraryStatistics(statistics: GetLibraryStatisticsResponse): LibraryStatistics {
  return {
    libraryId: statistics.libraryId,
    name: statistics.name,
    numDocuments: Number(statistics.numDocuments),
    numChunks: Number(statistics.numChunks),
    numSegments: Number(statistics.numSegments),
    numTombstones: Number(statistics.numTombstones),
    indexBytes: Number(statistics.indexBytes),
    revision: statistics.revision,
  };
}

export function toIndexStatistics(statistics: GetIndexStatisticsResponse): IndexStatistics {
  const { building } = statistics;
  return {
    libraryId: statistics.libraryId,
    indexType: nameOf(PbIndexType, statistics.indexType),
    numRows: Number(statistics.numRows),
    numTombstones: Number(statistics.numTombstones),
    indexBytes: Number(statistics.indexBytes),
    segments: statistics.segments.map((segment) => ({
      hasGraph: segment.hasGraph,
      numRows: Number(segment.numRows),
      numTombstones: Number(segment.numTombstones),
      indexBytes: Number(segment.indexBytes),
      ef: segment.ef,
    })),
    ...(building && { building: { numRows: Number(building.numRows), numRowsDone: Number(building.numRowsDone) } }),
    revision: statistics.revision,
  };
}

export function toDocument(document: PbDocument): Document {
  return {
    id: document.id,
    title: document.title,
    author: document.author,
    documentType: document.documentType,
    sourceUrl: document.sourceUrl,
    tags: document.tags,
    metadata: document.metadata ?? {},
    chunks: document.chunks.map(({ id, index, text, metadata }) => ({ id, index, text, metadata: metadata ?? {} })),
    numChunks: document.numChunks,
    createdAt: toTime(document.createdAt),
    updatedAt: toTime(document.updatedAt),
    revision: document.revision,
  };
}

/** Whether no text in it has half a surrogate pair, which no encoding can carry. */
function isWellFormed(value: unknown): boolean {
  if (typeof value === "string") return !HALF_PAIR.test(value);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return true;
  // A vector is long, and has no texts.
  if (Array.isArray(value)) return typeof value[0] === "number" || value.every(isWellFormed);
  return Object.entries(value).every(([name, value]) => isWellFormed(name) && isWellFormed(value));
}

const HALF_PAIR = /\p{Surrogate}/u;

/** Throws `invalid-argument` for text that cannot be sent, rather than altering it. */
export function fromDocumentInput(document: Partial<DocumentInput>): PbDocumentInput {
  const wrong = Object.entries(document).find(([, value]) => !isWellFormed(value));
  if (wrong !== undefined) throw invalid(wrong[0], "is not well-formed Unicode: it has half a surrogate pair");
  const chunks = document.chunks?.map((chunk) =>
    set({ ...chunk, embedding: chunk.embedding && Array.from(chunk.embedding) }),
  );
  const init = set({ ...document, chunks, tags: document.tags && [...document.tags] });
  return create(DocumentInputSchema, init as MessageInitShape<typeof DocumentInputSchema>);
}

/** A document of an export, in the shape that an ingest takes. */
export function toDocumentInput(document: PbDocumentInput): DocumentInput {
  return {
    id: document.id,
    title: document.title,
    ...(document.author && { author: document.author }),
    ...(document.documentType && { documentType: document.documentType }),
    ...(document.sourceUrl && { sourceUrl: document.sourceUrl }),
    ...(document.tags.length > 0 && { tags: document.tags }),
    ...(document.metadata && { metadata: document.metadata }),
    ...(document.text !== undefined && { text: document.text }),
    ...(document.texts.length > 0 && { texts: document.texts }),
    ...(document.chunks.length > 0 && {
      chunks: document.chunks.map(({ text, embedding, metadata }) => ({
        text,
        ...(embedding.length > 0 && { embedding }),
        ...(metadata && { metadata }),
      })),
    }),
  };
}

export function toHit(hit: PbHit): Hit {
  const { rank, chunkId, documentId, score, distance, text, title, metadata } = hit;
  const found = { rank, chunkId, documentId, score, distance, title, metadata: metadata ?? {} };
  return text === undefined ? found : { ...found, text };
}

export function fromEventFilter(of: EventFilter): { libraryId: string; eventTypes: PbEventType[]; filter: string } {
  return {
    libraryId: of.libraryId ?? "",
    eventTypes: (of.eventTypes ?? []).map(fromEventType),
    filter: of.filter ?? "",
  };
}

/** `undefined` for one of a type that this client does not know, which its reader passes over. */
export function toEvent(event: PbEvent): Event | undefined {
  const base = {
    id: event.id,
    libraryId: event.libraryId,
    timestamp: toTime(event.timestamp),
    revision: event.revision,
    last: event.last,
    ...(event.batchId && { batchId: event.batchId }),
  };
  const type = toEventType(event.type);
  const { payload } = event;
  switch (payload.case) {
    case "library": {
      const library = payload.value;
      const facts = { ...base, ...toLibraryFacts(library) };
      if (type === "library.created") return { ...facts, type };
      if (type === "library.updated") {
        const { previousName, previousDescription, previousMetadata } = library;
        return { ...facts, type, ...set({ previousName, previousDescription, previousMetadata }) };
      }
      if (type !== "library.deleted") return undefined;
      const { numDocuments, numChunks } = library;
      return { ...facts, type, numDocuments: Number(numDocuments ?? 0), numChunks: Number(numChunks ?? 0) };
    }
    case "document": {
      const facts = { ...base, ...toDocumentFacts(payload.value) };
      if (type === "document.added" || type === "document.deleted") return { ...facts, type };
      if (type !== "document.updated") return undefined;
      const { previousTitle, previousMetadata } = payload.value;
      const match = event.match === EventMatch.UNSPECIFIED ? undefined : nameOf(EventMatch, event.match);
      return { ...facts, type, ...set({ previousTitle, previousMetadata, match }) };
    }
    case "chunk": {
      if (type !== "chunk.added" && type !== "chunk.deleted") return undefined;
      const { chunkId, documentId, index, title, metadata } = payload.value;
      return { ...base, type, chunkId, documentId, index, title, metadata: metadata ?? {} };
    }
    case "batch": {
      if (type === "batch.started") return { ...base, type };
      const counts = { ...base, ...toProgress(payload.value) };
      if (type === "batch.completed") return { ...counts, type };
      return type === "batch.failed" ? { ...counts, type, reason: payload.value.reason ?? "" } : undefined;
    }
    case "index": {
      const { indexType, segmentsBefore, segmentsAfter } = payload.value;
      if (type === "index.rebuilt") return { ...base, type, indexType: nameOf(PbIndexType, indexType) };
      if (type !== "index.optimized") return undefined;
      return { ...base, type, segmentsBefore: segmentsBefore ?? 0, segmentsAfter: segmentsAfter ?? 0 };
    }
    default:
      return undefined;
  }
}

function toLibraryFacts(library: LibraryEvent): LibraryFacts {
  return {
    name: library.name,
    description: library.description,
    metric: nameOf(PbMetric, library.metric),
    dimension: library.dimension,
    embedder: toEmbedder(library.embedder),
    indexType: nameOf(PbIndexType, library.indexType),
    metadata: library.metadata ?? {},
  };
}

function toDocumentFacts(document: DocumentEvent): DocumentFacts {
  return {
    documentId: document.documentId,
    title: document.title,
    author: document.author,
    documentType: document.documentType,
    sourceUrl: document.sourceUrl,
    tags: document.tags,
    numChunks: document.numChunks,
    metadata: document.metadata ?? {},
  };
}

function toProgress(batch: BatchEvent): IngestProgress {
  return {
    totalProcessed: Number(batch.totalProcessed),
    totalSucceeded: Number(batch.totalSucceeded),
    totalFailed: Number(batch.totalFailed),
    totalSkipped: Number(batch.totalSkipped),
    totalChunks: Number(batch.totalChunks),
  };
}

export function toHeartbeat(heartbeat: PbHeartbeat): Heartbeat {
  return { type: "heartbeat", id: heartbeat.cursor, timestamp: toTime(heartbeat.time) };
}

export function toSnapshotDocument(
  snapshot: SnapshotDocument,
): Extract<SnapshotItem, { type: "snapshot.document" }> | undefined {
  const { libraryId, timestamp, revision, document } = snapshot;
  if (document === undefined) return undefined;
  return { type: "snapshot.document", libraryId, timestamp: toTime(timestamp), revision, ...toDocumentFacts(document) };
}

export function toEvents(events: PbEvent[]): Event[] {
  return events.map(toEvent).filter((event) => event !== undefined);
}

export function toEventStatistics(statistics: GetEventStatisticsResponse): EventStatistics {
  return {
    totalPublished: Number(statistics.totalPublished),
    totalDelivered: Number(statistics.totalDelivered),
    totalErrors: Number(statistics.totalErrors),
    pendingEvents: Number(statistics.pendingEvents),
    subscriberCount: Number(statistics.subscriberCount),
    running: statistics.running,
    startedAt: toTime(statistics.startedAt),
    tailRevision: statistics.tailRevision,
    floorRevision: statistics.floorRevision,
    logBytes: Number(statistics.logBytes),
    subscribers: statistics.subscribers.map((subscriber) => ({
      id: Number(subscriber.id),
      cursor: subscriber.cursor,
      lagRevisions: Number(subscriber.lagRevisions),
      lagSeconds: subscriber.lagSeconds,
      pendingEvents: Number(subscriber.pendingEvents),
      deliveredEvents: Number(subscriber.deliveredEvents),
      since: toTime(subscriber.since),
    })),
  };
}

export function toConsumer(consumer: PbConsumer): Consumer {
  return {
    name: consumer.name,
    libraryId: consumer.libraryId,
    eventTypes: consumer.eventTypes.map(toEventType),
    filter: consumer.filter,
    cursor: consumer.cursor,
    generation: consumer.generation,
    owner: consumer.owner,
    paused: consumer.paused,
    expired: consumer.expired,
    lagRevisions: Number(consumer.lagRevisions),
    lagEvents: Number(consumer.lagEvents),
    lagSeconds: consumer.lagSeconds,
    createdAt: toTime(consumer.createdAt),
    updatedAt: toTime(consumer.updatedAt),
  };
}
