//! The one mapping of messages to JSON: what a command prints with `--json` is what the HTTP API
//! answers, member by member and byte by byte. Tests compare the two.

mod found;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::api::grpc::pb;
use crate::api::grpc::values::{
    event_type_from_pb, index_type_from_pb, metadata_from_pb, metric_from_pb, timestamp_from_pb,
};
use crate::types::{Cursor, Error, EventType, IndexType, Limits, Metric};

pub(super) use self::found::{hit, index, recall, search_complete};

/// A JSON value that keeps the order of members and the digits of singles.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    /// A string.
    Text(String),
    /// A whole number.
    Number(u64),
    /// A double.
    Double(f64),
    /// A single, in as many digits as it needs.
    Single(f32),
    /// True or false.
    Flag(bool),
    /// An object as its text.
    Raw(String),
    /// A vector.
    Singles(Vec<f32>),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Object),
}

/// A JSON object, its members in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Object(Vec<(&'static str, Json)>);

impl Object {
    /// Without members.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// With one member more.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Json>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// With one member more, if there is a value for it.
    pub(super) fn with_some(self, name: &'static str, value: Option<impl Into<Json>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With one member more, unless it is empty.
    fn with_text(self, name: &'static str, text: String) -> Self {
        self.with_some(name, Some(text).filter(|text| !text.is_empty()))
    }

    /// Its members in order.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'static str, &Json)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// A member that is a text; empty when there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.0.iter().find(|(known, _)| *known == name) {
            Some((_, Json::Text(text))) => text,
            Some(_) | None => "",
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident,)*) => {
        $(impl From<$type> for Json {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    &str => Text,
    String => Text,
    u32 => Number,
    u64 => Number,
    f64 => Double,
    f32 => Single,
    bool => Flag,
    Object => Object,
    Vec<Json> => List,
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Double(number) => serializer.serialize_f64(*number),
            Self::Single(number) => serializer.serialize_f32(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Raw(text) => {
                let raw: &RawValue =
                    serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
            Self::Singles(numbers) => numbers.serialize(serializer),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

/// Revisions and cursors are texts.
fn revision(revision: u64) -> String {
    revision.to_string()
}

fn moment(moment: Option<prost_types::Timestamp>) -> String {
    timestamp_from_pb(moment).to_string()
}

/// Metadata in its canonical text, whatever this server's limits are.
fn metadata(message: Option<prost_types::Struct>) -> Json {
    let all = Limits {
        metadata_bytes_max: usize::MAX,
        metadata_levels_max: usize::MAX,
        ..Limits::default()
    };
    match metadata_from_pb("metadata", message, &all) {
        Ok(metadata) => Json::Raw(metadata.as_json().to_owned()),
        // Only a server that is no arrwdb sends numbers that are none.
        Err(_) => Json::Raw("null".to_owned()),
    }
}

fn is_empty(metadata: &Option<prost_types::Struct>) -> bool {
    metadata.as_ref().is_none_or(|metadata| metadata.fields.is_empty())
}

fn texts(texts: Vec<String>) -> Json {
    Json::List(texts.into_iter().map(Json::Text).collect())
}

/// The name of a type of event; that of one which this client does not know is empty.
pub(super) fn event_type(number: i32) -> &'static str {
    event_type_from_pb(number).map_or("", EventType::name)
}

fn metric(number: i32) -> &'static str {
    metric_from_pb(number).map_or("", Metric::name)
}

fn index_type(number: i32) -> &'static str {
    index_type_from_pb(number).map_or("", IndexType::name)
}

fn embedder(embedder: Option<pb::Embedder>) -> Object {
    let pb::Embedder { id, sha256 } = embedder.unwrap_or_default();
    Object::new().with("id", id).with("sha256", sha256)
}

/// A library.
pub(super) fn library(library: pb::Library) -> Object {
    Object::new()
        .with("id", library.id)
        .with("name", library.name)
        .with("description", library.description)
        .with("metric", metric(library.metric))
        .with("dimension", library.dimension)
        .with("embedder", embedder(library.embedder))
        .with("index_type", index_type(library.index_type))
        .with("metadata", metadata(library.metadata))
        .with("num_documents", library.num_documents)
        .with("num_chunks", library.num_chunks)
        .with("created_at", moment(library.created_at))
        .with("updated_at", moment(library.updated_at))
        .with("revision", revision(library.revision))
}

/// What a deletion, and work on an index, answers.
pub(super) fn revised(at: u64) -> Object {
    Object::new().with("revision", revision(at))
}

/// What a library holds and costs.
pub(super) fn library_statistics(of: pb::GetLibraryStatisticsResponse) -> Object {
    Object::new()
        .with("id", of.library_id)
        .with("name", of.name)
        .with("num_documents", of.num_documents)
        .with("num_chunks", of.num_chunks)
        .with("num_segments", of.num_segments)
        .with("num_tombstones", of.num_tombstones)
        .with("index_bytes", of.index_bytes)
        .with("revision", revision(of.revision))
}

/// The feed in numbers.
pub(super) fn event_statistics(of: pb::GetEventStatisticsResponse) -> Object {
    let subscriber = |one: pb::SubscriberStatistics| {
        let object = Object::new()
            .with("id", one.id)
            .with("cursor", one.cursor)
            .with("lag_revisions", one.lag_revisions)
            .with("lag_seconds", one.lag_seconds)
            .with("pending_events", one.pending_events)
            .with("delivered_events", one.delivered_events)
            .with("since", moment(one.since));
        Json::Object(object)
    };
    Object::new()
        .with("total_published", of.total_published)
        .with("total_delivered", of.total_delivered)
        .with("total_errors", of.total_errors)
        .with("pending_events", of.pending_events)
        .with("subscriber_count", of.subscriber_count)
        .with("running", of.running)
        .with("started_at", moment(of.started_at))
        .with("tail_revision", revision(of.tail_revision))
        .with("floor_revision", revision(of.floor_revision))
        .with("log_bytes", of.log_bytes)
        .with("subscribers", of.subscribers.into_iter().map(subscriber).collect::<Vec<_>>())
}

/// A document as reads show it; `chunks` says whether they were asked for.
pub(super) fn document(document: pb::Document, chunks: bool) -> Object {
    let chunk = |chunk: pb::Chunk| {
        let object = Object::new()
            .with("id", chunk.id)
            .with("index", chunk.index)
            .with("text", chunk.text)
            .with("metadata", metadata(chunk.metadata));
        Json::Object(object)
    };
    let chunks = chunks.then(|| document.chunks.into_iter().map(chunk).collect::<Vec<_>>());
    Object::new()
        .with("id", document.id)
        .with("title", document.title)
        .with("author", document.author)
        .with("document_type", document.document_type)
        .with("source_url", document.source_url)
        .with("tags", texts(document.tags))
        .with("metadata", metadata(document.metadata))
        .with_some("chunks", chunks)
        .with("num_chunks", document.num_chunks)
        .with("created_at", moment(document.created_at))
        .with("updated_at", moment(document.updated_at))
        .with("revision", revision(document.revision))
}

/// A line of an export: all that an ingest needs to restore the document. What HTTP has besides
/// (ids of chunks, times, the revision) does not travel over gRPC.
pub(super) fn exported(document: pb::DocumentInput) -> Object {
    let chunk = |(index, chunk): (u64, pb::ChunkInput)| {
        let embedding = Some(chunk.embedding).filter(|vector| !vector.is_empty());
        let own = (!is_empty(&chunk.metadata)).then(|| metadata(chunk.metadata));
        let object = Object::new()
            .with("index", index)
            .with("text", chunk.text)
            .with_some("metadata", own)
            .with_some("embedding", embedding.map(Json::Singles));
        Json::Object(object)
    };
    let own = (!is_empty(&document.metadata)).then(|| metadata(document.metadata));
    let tags = Some(document.tags).filter(|tags| !tags.is_empty());
    let chunks: Vec<Json> = (0..).zip(document.chunks).map(chunk).collect();
    Object::new()
        .with("id", document.id)
        .with("title", document.title)
        .with_text("author", document.author)
        .with_text("document_type", document.document_type)
        .with_text("source_url", document.source_url)
        .with_some("tags", tags.map(texts))
        .with_some("metadata", own)
        .with("chunks", chunks)
}

/// The last line of an export.
pub(super) fn export_complete(complete: pb::ExportComplete) -> Object {
    Object::new()
        .with("status", "complete")
        .with("total_documents", complete.total_documents)
        .with("cursor", complete.cursor)
}

/// An error within a stream.
pub(super) fn stream_error(slug: &str, detail: &str, retry_after_ms: Option<u64>) -> Object {
    Object::new()
        .with("type", slug)
        .with("detail", detail)
        .with_some("retry_after_ms", retry_after_ms)
}

/// An event: flat, as over HTTP.
pub(super) fn event(event: pb::Event) -> Object {
    use pb::event::Payload;
    let kind = event_type(event.r#type);
    let matched = match event.r#match() {
        pb::EventMatch::Unspecified => None,
        pb::EventMatch::Entered => Some("entered"),
        pb::EventMatch::Stayed => Some("stayed"),
        pb::EventMatch::Left => Some("left"),
    };
    let object = Object::new()
        .with("id", event.id)
        .with("type", kind)
        .with("library_id", event.library_id)
        .with("timestamp", moment(event.timestamp))
        .with("revision", revision(event.revision))
        .with("last", event.last)
        .with_text("batch_id", event.batch_id)
        .with_some("match", matched);
    match event.payload {
        None => object,
        Some(Payload::Library(library)) => library_event(object, library),
        Some(Payload::Document(document)) => document_event(object, document),
        Some(Payload::Chunk(chunk)) => object
            .with("chunk_id", chunk.chunk_id)
            .with("document_id", chunk.document_id)
            .with("index", chunk.index)
            .with("title", chunk.title)
            .with("metadata", metadata(chunk.metadata)),
        Some(Payload::Batch(_)) if kind == EventType::BatchStarted.name() => object,
        Some(Payload::Batch(batch)) => object
            .with("total_processed", batch.total_processed)
            .with("total_succeeded", batch.total_succeeded)
            .with("total_failed", batch.total_failed)
            .with("total_skipped", batch.total_skipped)
            .with("total_chunks", batch.total_chunks)
            .with_some("reason", batch.reason),
        Some(Payload::Index(index)) if kind == EventType::IndexRebuilt.name() => {
            object.with("index_type", index_type(index.index_type))
        }
        Some(Payload::Index(index)) => object
            .with_some("segments_before", index.segments_before)
            .with_some("segments_after", index.segments_after),
    }
}

fn library_event(object: Object, library: pb::LibraryEvent) -> Object {
    object
        .with("name", library.name)
        .with("description", library.description)
        .with("metric", metric(library.metric))
        .with("dimension", library.dimension)
        .with("embedder", embedder(library.embedder))
        .with("index_type", index_type(library.index_type))
        .with("metadata", metadata(library.metadata))
        .with_some("previous_name", library.previous_name)
        .with_some("previous_description", library.previous_description)
        .with_some(
            "previous_metadata",
            library.previous_metadata.map(|before| metadata(Some(before))),
        )
        .with_some("num_documents", library.num_documents)
        .with_some("num_chunks", library.num_chunks)
}

fn document_event(object: Object, document: pb::DocumentEvent) -> Object {
    object
        .with("document_id", document.document_id)
        .with("title", document.title)
        .with_text("author", document.author)
        .with_text("document_type", document.document_type)
        .with_text("source_url", document.source_url)
        .with("tags", texts(document.tags))
        .with("num_chunks", document.num_chunks)
        .with("metadata", metadata(document.metadata))
        .with_some("previous_title", document.previous_title)
        .with_some(
            "previous_metadata",
            document.previous_metadata.map(|before| metadata(Some(before))),
        )
}

/// That nothing happened up to its cursor.
pub(super) fn heartbeat(heartbeat: pb::Heartbeat) -> Object {
    Object::new()
        .with("id", heartbeat.cursor)
        .with("type", "heartbeat")
        .with("timestamp", moment(heartbeat.time))
        .with_some("generation", heartbeat.generation)
}

/// A document of a snapshot.
pub(super) fn snapshot_document(document: pb::SnapshotDocument) -> Object {
    let object = Object::new()
        .with("type", "snapshot.document")
        .with("library_id", document.library_id)
        .with("timestamp", moment(document.timestamp))
        .with("revision", revision(document.revision));
    document_event(object, document.document.unwrap_or_default())
}

/// The end of a snapshot. The time that HTTP has besides does not travel over gRPC.
pub(super) fn snapshot_end(end: pb::SnapshotEnd) -> Object {
    let at: Result<Cursor, Error> = end.cursor.parse();
    Object::new()
        .with("id", end.cursor)
        .with("type", "snapshot.end")
        .with_some("revision", at.ok().map(|cursor| cursor.revision.to_string()))
        .with("total_documents", end.total_documents)
}

/// A durable consumer.
pub(super) fn consumer(consumer: pb::Consumer) -> Object {
    let types = consumer.event_types.iter().map(|kind| event_type(*kind).into());
    Object::new()
        .with("name", consumer.name)
        .with("library_id", consumer.library_id)
        .with("event_types", types.collect::<Vec<Json>>())
        .with("filter", consumer.filter)
        .with("cursor", consumer.cursor)
        .with("generation", consumer.generation)
        .with("owner", consumer.owner)
        .with("paused", consumer.paused)
        .with("expired", consumer.expired)
        .with("lag_revisions", consumer.lag_revisions)
        .with("lag_events", consumer.lag_events)
        .with("lag_seconds", consumer.lag_seconds)
        .with("created_at", moment(consumer.created_at))
        .with("updated_at", moment(consumer.updated_at))
}

/// What a pull gives.
pub(super) fn pulled(pulled: pb::PullEventsResponse) -> Object {
    let events = pulled.events.into_iter().map(|one| event(one).into());
    Object::new()
        .with("generation", pulled.generation)
        .with("events", events.collect::<Vec<Json>>())
        .with("next_cursor", pulled.next_cursor)
        .with("tail_cursor", pulled.tail_cursor)
}
