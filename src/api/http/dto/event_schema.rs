//! How the API description shows events: the fields that the hand-written serialisation of
//! [`super::event`] gives, with what each means.

#![expect(dead_code, reason = "these describe what `super::event` writes field by field")]

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::Verbatim;
use super::described::{
    EventTypeName, IndexTypeName, MetricName, ShownBatchId, ShownChunkId, ShownCursor,
    ShownLibraryId, ShownRevision, ShownTime, StreamedEventName,
};
use super::event::{EventOut, EventsOut, SnapshotDocumentOut};
use super::library::EmbedderOut;
use crate::api::http::problem::StreamError;
use crate::api::http::sse::{Heartbeat, SnapshotEnd};

/// One thing that happened, flat. Which of the fields behind `last` there are depends on its type.
#[derive(ToSchema)]
struct EventFields<'a> {
    /// The same over retry, replay and restart; also the cursor behind the event.
    id: ShownCursor,
    #[schema(value_type = EventTypeName)]
    r#type: &'static str,
    /// The library that it happened in.
    library_id: ShownLibraryId,
    /// When the change was made; never before that of the event before.
    timestamp: ShownTime,
    /// The change's revision.
    revision: ShownRevision,
    /// Whether it is the last event of its change.
    last: bool,
    /// The ingest stream that the change belongs to.
    #[schema(nullable = false)]
    batch_id: Option<ShownBatchId>,
    /// Of an update of a document, where there is a filter: `entered`, `stayed` or `left`.
    #[schema(nullable = false)]
    r#match: Option<&'a str>,
    /// Of a library.
    #[schema(nullable = false)]
    name: Option<&'a str>,
    /// Of a library.
    #[schema(nullable = false)]
    description: Option<&'a str>,
    /// Of a library.
    #[schema(nullable = false, value_type = Option<MetricName>)]
    metric: &'static str,
    /// Of a library: numbers a vector.
    #[schema(nullable = false)]
    dimension: Option<u32>,
    /// Of a library.
    #[schema(required = false)]
    embedder: EmbedderOut<'a>,
    /// Of a library, and of `index.rebuilt`.
    #[schema(nullable = false, value_type = Option<IndexTypeName>)]
    index_type: &'static str,
    /// Of a library, a document or a chunk: the client's own.
    #[schema(required = false)]
    metadata: Verbatim<'a>,
    /// Of `library.updated`: before it.
    #[schema(nullable = false)]
    previous_name: Option<&'a str>,
    /// Of `library.updated`: before it.
    #[schema(nullable = false)]
    previous_description: Option<&'a str>,
    /// Of `library.updated` and `document.updated`: before it.
    #[schema(required = false)]
    previous_metadata: Verbatim<'a>,
    /// Of `library.deleted`: the documents that went with it.
    #[schema(nullable = false)]
    num_documents: Option<u64>,
    /// Of a document; of `library.deleted`, the chunks that went with it.
    #[schema(nullable = false)]
    num_chunks: Option<u64>,
    /// Of a document or a chunk.
    #[schema(nullable = false)]
    document_id: Option<&'a str>,
    /// Of a document, or of a chunk's document.
    #[schema(nullable = false)]
    title: Option<&'a str>,
    /// Of a document; absent when empty.
    #[schema(nullable = false)]
    author: Option<&'a str>,
    /// Of a document; absent when empty.
    #[schema(nullable = false)]
    document_type: Option<&'a str>,
    /// Of a document; absent when empty.
    #[schema(nullable = false)]
    source_url: Option<&'a str>,
    /// Of a document.
    #[schema(nullable = false)]
    tags: Option<&'a [String]>,
    /// Of `document.updated`: before it.
    #[schema(nullable = false)]
    previous_title: Option<&'a str>,
    /// Of a chunk.
    #[schema(nullable = false)]
    chunk_id: Option<ShownChunkId>,
    /// Of a chunk: its place in the document, from 0.
    #[schema(nullable = false)]
    index: Option<u32>,
    /// Of `batch.completed` and `batch.failed`: items read.
    #[schema(nullable = false)]
    total_processed: Option<u64>,
    /// Of `batch.completed` and `batch.failed`: items written.
    #[schema(nullable = false)]
    total_succeeded: Option<u64>,
    /// Of `batch.completed` and `batch.failed`: items refused.
    #[schema(nullable = false)]
    total_failed: Option<u64>,
    /// Of `batch.completed` and `batch.failed`: items left alone because their id existed.
    #[schema(nullable = false)]
    total_skipped: Option<u64>,
    /// Of `batch.completed` and `batch.failed`: chunks written.
    #[schema(nullable = false)]
    total_chunks: Option<u64>,
    /// Of `batch.failed`: `client-gone`, `stalled`, `interrupted` (the server stopped or crashed:
    /// the counts are not known and are 0), or words.
    #[schema(nullable = false)]
    reason: Option<&'a str>,
    /// Of `index.optimized`.
    #[schema(nullable = false)]
    segments_before: Option<u32>,
    /// Of `index.optimized`.
    #[schema(nullable = false)]
    segments_after: Option<u32>,
}

/// A document of the snapshot that a stream begins with: what `document.added` would say.
#[derive(ToSchema)]
struct SnapshotDocumentFields<'a> {
    /// `snapshot.document`.
    r#type: &'static str,
    /// The library that it is in.
    library_id: ShownLibraryId,
    /// When it was last changed.
    timestamp: ShownTime,
    /// The revision of that change.
    revision: ShownRevision,
    /// Its id.
    document_id: &'a str,
    /// Its title.
    title: &'a str,
    /// Absent when empty.
    #[schema(nullable = false)]
    author: Option<&'a str>,
    /// Absent when empty.
    #[schema(nullable = false)]
    document_type: Option<&'a str>,
    /// Absent when empty.
    #[schema(nullable = false)]
    source_url: Option<&'a str>,
    /// Its tags.
    tags: &'a [String],
    /// How many chunks it has.
    num_chunks: u32,
    /// The client's own.
    metadata: Verbatim<'a>,
}

/// A page of past events.
#[derive(ToSchema)]
struct EventsPageFields<'a> {
    /// In order.
    events: Vec<EventOut<'a>>,
    /// Where to read on, also when the page is empty.
    next_cursor: ShownCursor,
    /// The end of the feed at the time of the read: all is read when `next_cursor` has reached it.
    tail_cursor: ShownCursor,
}

/// Gives a type the description of another.
macro_rules! described_as {
    ($($type:ty = $fields:ty, $name:literal;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                <$fields>::schema()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                <$fields as ToSchema>::schemas(schemas);
            }
        }
    )*};
}

described_as! {
    EventOut<'_> = EventFields<'_>, "Event";
    SnapshotDocumentOut<'_> = SnapshotDocumentFields<'_>, "SnapshotDocument";
    EventsOut<'_> = EventsPageFields<'_>, "EventsPage";
}

/// One Server-Sent Event, by its fields.
#[derive(ToSchema)]
#[schema(as = ServerSentEvent)]
pub(in crate::api::http) struct StreamedEvent<'a> {
    /// Where to go on, as `Last-Event-ID` or `cursor`. A frame without one moves nobody's place.
    #[schema(nullable = false)]
    id: Option<ShownCursor>,
    #[schema(value_type = StreamedEventName)]
    event: &'static str,
    /// JSON on one line.
    data: StreamedData<'a>,
    /// Milliseconds that a browser waits before it comes back; in the first frame.
    #[schema(nullable = false)]
    retry: Option<u64>,
}

/// What the data of a frame is, by its event.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = StreamedData)]
pub(in crate::api::http) enum StreamedData<'a> {
    Event(EventOut<'a>),
    Heartbeat(Heartbeat),
    SnapshotDocument(SnapshotDocumentOut<'a>),
    SnapshotEnd(SnapshotEnd),
    Error(StreamError<'a>),
}
