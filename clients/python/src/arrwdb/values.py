"""What goes in and comes out: plain values, in the words of the server's glossary.

Times are aware `datetime`s in UTC. Metadata is plain JSON: the server keeps numbers as doubles,
and whole ones come back as `int`. A revision is an `int` that grows over the whole server; a
cursor is an opaque text that names a place in the change feed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Union

from .errors import ArrwdbError

Metadata = Mapping[str, Any]
"""Plain JSON: texts, numbers, booleans, `None`, and lists and mappings of them."""

Metric = Literal["cosine", "dot", "l2"]
"""How nearness is measured."""

IndexType = Literal["auto", "flat", "hnsw"]
"""Which kind of index: the server's choice, exact, or graphs."""

GroupBy = Literal["document"]
"""What a search counts in place of chunks: documents, of each only its best chunk."""

OnConflict = Literal["replace", "skip", "fail"]
"""What an ingested document does to one of the same id: update it, leave it, or fail."""

EventType = Literal[
    "library.created",
    "library.updated",
    "library.deleted",
    "document.added",
    "document.updated",
    "document.deleted",
    "chunk.added",
    "chunk.deleted",
    "index.rebuilt",
    "index.optimized",
    "batch.started",
    "batch.completed",
    "batch.failed",
]
"""What can happen. A newer server may send others: ignore what you do not know."""


@dataclass(frozen=True)
class Embedder:
    """The model that a library's vectors come from."""

    id: str
    """The model's id; `none` where clients bring their vectors."""
    sha256: str
    """Of the model, in lower-case hexadecimal; empty where there is none to know."""


@dataclass(frozen=True)
class Library:
    """A named set of documents with one dimension, one metric, one embedder."""

    id: str
    name: str
    description: str
    metric: str
    dimension: int
    embedder: Embedder
    index_type: str
    metadata: dict[str, Any]
    num_documents: int
    num_chunks: int
    created_at: datetime
    updated_at: datetime
    revision: int
    """Of its creation or last update."""


@dataclass(frozen=True)
class LibraryStatistics:
    """What a library holds and costs."""

    library_id: str
    name: str
    num_documents: int
    num_chunks: int
    num_segments: int
    num_tombstones: int
    """Rows of its index that are deleted but not yet merged away."""
    index_bytes: int
    """Memory of its index."""
    revision: int
    """At which all this is true."""


@dataclass(frozen=True)
class IndexSegment:
    """Rows of an index that are searched together."""

    has_graph: bool
    """Rows without a graph are always searched exactly."""
    num_rows: int
    num_tombstones: int
    index_bytes: int
    ef: int
    """How wide walks for the ten nearest are unless a search says; 0 without a graph."""


@dataclass(frozen=True)
class IndexBuild:
    """A graph that is being built."""

    num_rows: int
    num_rows_done: int


@dataclass(frozen=True)
class IndexStatistics:
    """What a library's index is made of."""

    library_id: str
    index_type: str
    num_rows: int
    num_tombstones: int
    """Rows that are deleted but not yet merged away."""
    index_bytes: int
    segments: tuple[IndexSegment, ...]
    building: IndexBuild | None
    revision: int
    """At which all this is true."""


@dataclass(frozen=True)
class Recall:
    """How much of the exact answer searches give."""

    recall: float
    """The share of the nearest that was found, of all queries together: 0 to 1."""
    recall_min: float
    """The same of the query that found least."""
    num_queries: int
    k: int
    search_us: float
    """How long a search takes on the server, in microseconds: the median."""
    exact_us: float
    """The same of an exact search."""
    revision: int


@dataclass(frozen=True)
class DocumentCount:
    """What a filter lets through."""

    num_documents: int
    """Documents of which at least one chunk passes."""
    num_chunks: int
    revision: int


@dataclass(frozen=True)
class DeletedDocuments:
    """What was deleted by a filter."""

    num_deleted: int
    num_changed: int
    """Documents that others changed or deleted meanwhile, and that were left alone."""
    revision: int
    """Of the last deletion; when there was none, that of the state that was looked at."""


@dataclass(frozen=True)
class Chunk:
    """The unit of search: a text with one vector."""

    id: str
    index: int
    text: str
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Document:
    """The unit of ingest, as the server has it."""

    id: str
    title: str
    author: str
    document_type: str
    source_url: str
    tags: list[str]
    metadata: dict[str, Any]
    chunks: list[Chunk]
    """Empty in a list that was asked for without them."""
    num_chunks: int
    created_at: datetime
    updated_at: datetime
    revision: int
    """Of its last write."""


@dataclass(frozen=True)
class NewChunk:
    """A chunk to write."""

    text: str = ""
    embedding: Sequence[float] | None = None
    """The client's own vector, of the library's dimension; the server embeds the text without."""
    metadata: Metadata | None = None
    """Goes over the document's in search hits."""


@dataclass(frozen=True)
class NewDocument:
    """A document to write. One of `text`, `texts` and `chunks` says what it says.

    Wherever one is taken, a mapping with the same names serves too, and so does a line of the
    server's NDJSON as `json.loads` gives it. An export yields these.
    """

    title: str
    id: str = ""
    """The client's own: 1 to 128 characters of `A–Z a–z 0–9 . _ : / @ -`; empty for a new UUID."""
    author: str = ""
    document_type: str = ""
    source_url: str = ""
    tags: Sequence[str] = ()
    metadata: Metadata | None = None
    text: str | None = None
    """One text that the server splits into chunks."""
    texts: Sequence[str] = ()
    """The texts of the chunks."""
    chunks: Sequence[NewChunk | Mapping[str, Any]] = ()
    """The chunks, with their own vectors or metadata where wanted."""


@dataclass(frozen=True)
class BatchOfDocuments:
    """The documents that were asked for, as far as they exist."""

    documents: list[Document]
    """In the order asked for."""
    missing_ids: list[str]


@dataclass(frozen=True)
class IngestOutcome:
    """What became of one document of an ingest."""

    position: int
    """Its place in what was given, from 1."""
    status: Literal["completed", "skipped", "failed"]
    """`completed` means durable and searchable."""
    id: str
    title: str
    num_chunks: int = 0
    revision: int | None = None
    """Of its write; of the document that exists when it was skipped."""
    error: ArrwdbError | None = None
    """Why it failed. Nothing of it was written then."""


@dataclass(frozen=True)
class IngestProgress:
    """How far an ingest is: the newest outcome, and the counts with it."""

    outcome: IngestOutcome
    total_processed: int
    total_succeeded: int
    total_failed: int
    total_skipped: int
    total_chunks: int


@dataclass(frozen=True)
class IngestSummary:
    """How an ingest ended."""

    total_processed: int
    total_succeeded: int
    total_failed: int
    total_skipped: int
    total_chunks: int
    revision: int
    """Reads with this `min_revision` see all that was written."""
    batch_ids: list[str]
    """Of the streams that ended well; their events carry it. One that broke is not known by id."""
    resumptions: int
    """How often the connection broke and the ingest went on."""
    failures: list[IngestOutcome] = field(default_factory=list)
    """The first documents that failed, in order."""
    failures_omitted: int = 0
    """How many more failed than `failures` has."""


@dataclass(frozen=True)
class Hit:
    """One ranked chunk."""

    rank: int
    """From 1."""
    chunk_id: str
    document_id: str
    score: float
    """Higher is better."""
    distance: float
    """Lower is nearer."""
    text: str | None
    """`None` when not asked for."""
    title: str
    metadata: dict[str, Any]
    """The document's with the chunk's over it."""


@dataclass(frozen=True)
class SearchResults:
    """What was found for one query."""

    results: list[Hit]
    """Best first."""
    total_results: int
    revision: int
    """That was searched."""


@dataclass(frozen=True)
class SearchQuery:
    """One query of several: a text or a vector."""

    query: str | None = None
    embedding: Iterable[float] | None = None
    k: int | None = None
    distance_threshold: float | None = None
    filter: str = ""
    """Only chunks of which this expression is true; the call's when empty."""
    ef: int | None = None
    """How wide walks through the index's graphs are; the call's when not given."""


@dataclass(frozen=True)
class LibraryEvent:
    """Of `library.created`, `library.updated` (as it is now) and `library.deleted` (as it was)."""

    name: str
    description: str
    metric: str
    dimension: int
    embedder: Embedder
    index_type: str
    metadata: dict[str, Any]
    previous_name: str | None
    previous_description: str | None
    previous_metadata: dict[str, Any] | None
    num_documents: int | None
    num_chunks: int | None


@dataclass(frozen=True)
class DocumentEvent:
    """Of `document.added`, `document.updated` (as it is now) and `document.deleted` (as it was)."""

    document_id: str
    title: str
    author: str
    document_type: str
    source_url: str
    tags: list[str]
    metadata: dict[str, Any]
    num_chunks: int
    previous_title: str | None
    previous_metadata: dict[str, Any] | None


@dataclass(frozen=True)
class ChunkEvent:
    """Of `chunk.added` and `chunk.deleted`."""

    chunk_id: str
    document_id: str
    title: str
    index: int
    metadata: dict[str, Any]


@dataclass(frozen=True)
class BatchEvent:
    """Of `batch.started`, `batch.completed` and `batch.failed`; the event has the `batch_id`."""

    total_processed: int
    total_succeeded: int
    total_failed: int
    total_skipped: int
    total_chunks: int
    reason: str | None


@dataclass(frozen=True)
class IndexEvent:
    """Of `index.rebuilt` and `index.optimized`."""

    index_type: str
    segments_before: int | None
    segments_after: int | None


Payload = Union[LibraryEvent, DocumentEvent, ChunkEvent, BatchEvent, IndexEvent]
"""What an event says besides."""


@dataclass(frozen=True)
class Event:
    """One thing that happened. A change shows as one or more events, which are neighbours."""

    id: str
    """The same over retry, replay and restart; also the cursor behind the event."""
    type: str
    """An `EventType`, or one that this client does not know."""
    library_id: str
    timestamp: datetime
    revision: int
    """The change's."""
    last: bool
    """Whether it is the last event of its change."""
    batch_id: str
    """The ingest stream that the change belongs to; empty for none."""
    match: str | None
    """How an update matches the subscription's `filter`: `entered` (now, not before), `stayed`
    or `left`. `None` without a filter, and for what is no update of a document."""
    payload: Payload | None
    """`None` for a type that this client does not know."""

    @property
    def document_id(self) -> str | None:
        """The document that a `document.…` or `chunk.…` event is about."""
        if isinstance(self.payload, (DocumentEvent, ChunkEvent)):
            return self.payload.document_id
        return None


@dataclass(frozen=True)
class Heartbeat:
    """Everything up to its cursor was delivered or did not pass the filter."""

    cursor: str
    time: datetime
    """The server's clock."""


@dataclass(frozen=True)
class SnapshotBegin:
    """A snapshot begins: forget what this subscription gave before. There is another one only
    when the connection broke before the snapshot's end."""


@dataclass(frozen=True)
class SnapshotDocument:
    """A document as it was when the subscription began."""

    library_id: str
    timestamp: datetime
    """When it was last changed."""
    revision: int
    """Of that change."""
    document: DocumentEvent
    """What `document.added` would say of it."""


@dataclass(frozen=True)
class SnapshotEnd:
    """The end of a snapshot: the events that follow came after it."""

    cursor: str
    total_documents: int


SnapshotItem = Union[SnapshotBegin, SnapshotDocument, SnapshotEnd, Event]
"""What a subscription with `snapshot=True` gives: begin, documents, end, and then events."""


@dataclass(frozen=True)
class EventPage:
    """One page of past events."""

    events: list[Event]
    next_cursor: str
    """Where to read on, also when the page is empty."""
    tail_cursor: str
    """The end of the feed at the time of the read."""


@dataclass(frozen=True)
class SubscriberStatistics:
    """One live subscriber in numbers."""

    id: int
    cursor: str
    lag_revisions: int
    lag_seconds: float
    pending_events: int
    delivered_events: int
    since: datetime


@dataclass(frozen=True)
class EventStatistics:
    """The feed in numbers, since the server started."""

    total_published: int
    total_delivered: int
    total_errors: int
    pending_events: int
    subscriber_count: int
    running: bool
    started_at: datetime
    tail_revision: int
    floor_revision: int
    log_bytes: int
    subscribers: list[SubscriberStatistics]


@dataclass(frozen=True)
class Consumer:
    """A durable consumer: a named place in the feed that the server keeps."""

    name: str
    library_id: str
    event_types: list[str]
    filter: str
    cursor: str
    """Everything up to here is acknowledged."""
    generation: int
    """Grows with each new owner and each seek; what carries an older one is refused."""
    owner: str
    paused: bool
    expired: bool
    """Whether its cursor is lost: seek."""
    lag_revisions: int
    lag_events: int
    lag_seconds: float
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class PulledEvents:
    """The next events of a durable consumer."""

    events: list[Event]
    next_cursor: str
    """To be acknowledged when all the events are dealt with."""
    tail_cursor: str
    generation: int
    """For the pulls and acknowledgements that follow."""
