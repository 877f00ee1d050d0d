//! Events in JSON: one shape for the stream and for pages of the past.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::described::{ShownCursor, ShownRevision, ShownTime};
use super::library::EmbedderOut;
use super::{Shown, Verbatim};
use crate::engine::changes::{EventStatistics, EventsPage, Selected, SubscriberStatistics};
use crate::engine::snapshot::SnapshotDocument;
use crate::types::{
    BatchCounts, ChunkHead, DocumentHead, Event, EventPayload, EventType, Library, Match, Result,
    seconds,
};

/// An event as clients see it: flat.
#[derive(Debug, Clone, Copy)]
pub(in crate::api::http) struct EventOut<'a>(pub(in crate::api::http) &'a Event<'a>);

impl Serialize for EventOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &Shown(event.id))?;
        map.serialize_entry("type", event.event_type.name())?;
        map.serialize_entry("library_id", &Shown(event.library_id))?;
        map.serialize_entry("timestamp", &Shown(event.time))?;
        map.serialize_entry("revision", &Shown(event.revision))?;
        map.serialize_entry("last", &event.last)?;
        if let Some(batch_id) = event.batch_id {
            map.serialize_entry("batch_id", &Shown(batch_id))?;
        }
        if let Some(name) = event.matched.and_then(Match::name) {
            map.serialize_entry("match", name)?;
        }
        match event.payload {
            EventPayload::Library { library, before } => library_fields(&mut map, library, before)?,
            EventPayload::LibraryDeleted { library, num_documents, num_chunks } => {
                library_fields(&mut map, library, None)?;
                map.serialize_entry("num_documents", &num_documents)?;
                map.serialize_entry("num_chunks", &num_chunks)?;
            }
            EventPayload::Document { document, before } => {
                document_fields(&mut map, document, before)?;
            }
            EventPayload::Chunk { document, chunk } => chunk_fields(&mut map, document, chunk)?,
            EventPayload::BatchStarted => {}
            EventPayload::BatchEnded { counts, reason } => batch_fields(&mut map, counts, reason)?,
            EventPayload::IndexRebuilt { index_type } => {
                map.serialize_entry("index_type", index_type.name())?;
            }
            EventPayload::IndexOptimized { segments_before, segments_after } => {
                map.serialize_entry("segments_before", &segments_before)?;
                map.serialize_entry("segments_after", &segments_after)?;
            }
        }
        map.end()
    }
}

/// A document of a snapshot, as flat as the event that added it.
pub(in crate::api::http) struct SnapshotDocumentOut<'a>(
    pub(in crate::api::http) &'a SnapshotDocument,
);

impl Serialize for SnapshotDocumentOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SnapshotDocument { library_id, document } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "snapshot.document")?;
        map.serialize_entry("library_id", &Shown(*library_id))?;
        map.serialize_entry("timestamp", &Shown(document.updated_at))?;
        map.serialize_entry("revision", &Shown(document.revision))?;
        document_fields(&mut map, document, None)?;
        map.end()
    }
}

fn library_fields<M: SerializeMap>(
    map: &mut M,
    library: &Library,
    before: Option<&Library>,
) -> Result<(), M::Error> {
    map.serialize_entry("name", library.name.as_str())?;
    map.serialize_entry("description", &library.description)?;
    map.serialize_entry("metric", library.metric.name())?;
    map.serialize_entry("dimension", &library.dimension)?;
    map.serialize_entry("embedder", &EmbedderOut::from(&library.embedder))?;
    map.serialize_entry("index_type", library.index_type.name())?;
    map.serialize_entry("metadata", &Verbatim(&library.metadata))?;
    if let Some(before) = before {
        map.serialize_entry("previous_name", before.name.as_str())?;
        map.serialize_entry("previous_description", &before.description)?;
        map.serialize_entry("previous_metadata", &Verbatim(&before.metadata))?;
    }
    Ok(())
}

fn document_fields<M: SerializeMap>(
    map: &mut M,
    document: &DocumentHead,
    before: Option<&DocumentHead>,
) -> Result<(), M::Error> {
    map.serialize_entry("document_id", document.id.as_str())?;
    map.serialize_entry("title", &document.title)?;
    for (name, text) in [
        ("author", &document.author),
        ("document_type", &document.document_type),
        ("source_url", &document.source_url),
    ] {
        if !text.is_empty() {
            map.serialize_entry(name, text)?;
        }
    }
    map.serialize_entry("tags", &document.tags)?;
    map.serialize_entry("num_chunks", &document.num_chunks)?;
    map.serialize_entry("metadata", &Verbatim(&document.metadata))?;
    if let Some(before) = before {
        map.serialize_entry("previous_title", &before.title)?;
        map.serialize_entry("previous_metadata", &Verbatim(&before.metadata))?;
    }
    Ok(())
}

fn chunk_fields<M: SerializeMap>(
    map: &mut M,
    document: &DocumentHead,
    chunk: &ChunkHead,
) -> Result<(), M::Error> {
    map.serialize_entry("chunk_id", &Shown(chunk.id))?;
    map.serialize_entry("document_id", document.id.as_str())?;
    map.serialize_entry("index", &chunk.index)?;
    map.serialize_entry("title", &document.title)?;
    map.serialize_entry("metadata", &Verbatim(&chunk.metadata))
}

fn batch_fields<M: SerializeMap>(
    map: &mut M,
    counts: &BatchCounts,
    reason: Option<&str>,
) -> Result<(), M::Error> {
    map.serialize_entry("total_processed", &counts.processed)?;
    map.serialize_entry("total_succeeded", &counts.succeeded)?;
    map.serialize_entry("total_failed", &counts.failed)?;
    map.serialize_entry("total_skipped", &counts.skipped)?;
    map.serialize_entry("total_chunks", &counts.chunks)?;
    match reason {
        Some(reason) => map.serialize_entry("reason", reason),
        None => Ok(()),
    }
}

/// A page of past events.
pub(in crate::api::http) struct EventsOut<'a>(pub(in crate::api::http) &'a EventsPage);

impl Serialize for EventsOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("events", &EventList(&self.0.changes))?;
        map.serialize_entry("next_cursor", &Shown(self.0.next_cursor))?;
        map.serialize_entry("tail_cursor", &Shown(self.0.tail_cursor))?;
        map.end()
    }
}

/// The events of changes, in order.
pub(super) struct EventList<'a>(pub(super) &'a [Selected]);

impl Serialize for EventList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut list = serializer.serialize_seq(None)?;
        for event in self.0.iter().flat_map(Selected::events) {
            list.serialize_element(&EventOut(&event))?;
        }
        list.end()
    }
}

/// The feed in numbers, since the server started.
#[derive(Serialize, ToSchema)]
#[schema(as = EventStatistics)]
pub(in crate::api::http) struct EventStatisticsOut {
    /// Events that became readable.
    total_published: u64,
    /// Events handed to clients' connections, over all subscribers.
    total_delivered: u64,
    /// Subscriptions that ended with an error.
    total_errors: u64,
    /// Events that live subscribers still lack, added up.
    pending_events: u64,
    /// Live subscribers.
    subscriber_count: usize,
    /// Whether the feed is being served.
    running: bool,
    /// When the server started.
    started_at: ShownTime,
    /// The highest revision that can be read.
    tail_revision: ShownRevision,
    /// The lowest revision that can be read.
    floor_revision: ShownRevision,
    /// Size of the log.
    log_bytes: u64,
    /// The live subscribers, oldest first.
    subscribers: Vec<SubscriberOut>,
}

/// One live subscriber in numbers.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscriber)]
struct SubscriberOut {
    /// Unique since the server started.
    id: u64,
    /// How far it has read.
    cursor: ShownCursor,
    /// Revisions between it and the tail.
    lag_revisions: u64,
    /// Age of the oldest change that it lacks; 0 at the tail.
    lag_seconds: f64,
    /// Events that it lacks.
    pending_events: u64,
    /// Events handed to its connection.
    delivered_events: u64,
    /// When it began.
    since: ShownTime,
}

impl From<&SubscriberStatistics> for SubscriberOut {
    fn from(subscriber: &SubscriberStatistics) -> Self {
        Self {
            id: subscriber.id,
            cursor: Shown(subscriber.cursor),
            lag_revisions: subscriber.lag_revisions,
            lag_seconds: seconds(subscriber.lag),
            pending_events: subscriber.pending_events,
            delivered_events: subscriber.delivered_events,
            since: Shown(subscriber.since),
        }
    }
}

impl From<&EventStatistics> for EventStatisticsOut {
    fn from(statistics: &EventStatistics) -> Self {
        Self {
            total_published: statistics.total_published,
            total_delivered: statistics.total_delivered,
            total_errors: statistics.total_errors,
            pending_events: statistics.pending_events,
            subscriber_count: statistics.subscribers.len(),
            running: statistics.running,
            started_at: Shown(statistics.started_at),
            tail_revision: Shown(statistics.tail_revision),
            floor_revision: Shown(statistics.floor_revision),
            log_bytes: statistics.log_bytes,
            subscribers: statistics.subscribers.iter().map(SubscriberOut::from).collect(),
        }
    }
}

/// The event types of a request, by name, separated by commas.
pub(in crate::api::http) fn event_types(text: &str) -> Result<Vec<EventType>> {
    text.split(',').map(|name| EventType::parse(name.trim())).collect()
}
