//! How the API description shows the values that go as texts: ids, revisions, cursors, times, names
//! of a closed set; and the client's own objects.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::{Shown, Verbatim};
use crate::types::{
    BatchId, ChunkId, Cursor, EventType, IndexType, LibraryId, Metric, Revision, Timestamp,
};

/// A revision as JSON shows it.
pub(in crate::api::http) type ShownRevision = Shown<Revision>;
/// A cursor as JSON shows it.
pub(in crate::api::http) type ShownCursor = Shown<Cursor>;
/// A moment as JSON shows it.
pub(in crate::api::http) type ShownTime = Shown<Timestamp>;
/// A library's id as JSON shows it.
pub(in crate::api::http) type ShownLibraryId = Shown<LibraryId>;
/// A chunk's id as JSON shows it.
pub(in crate::api::http) type ShownChunkId = Shown<ChunkId>;
/// A batch's id as JSON shows it.
pub(in crate::api::http) type ShownBatchId = Shown<BatchId>;

/// Describes a type as a text: its name in the description, what it is, and what else is known.
macro_rules! texts {
    ($($type:ty = $name:literal, $what:literal, $more:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($what));
                let more: fn(ObjectBuilder) -> ObjectBuilder = $more;
                more(text).into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    )*};
}

fn uuid(text: ObjectBuilder) -> ObjectBuilder {
    text.format(Some(SchemaFormat::Custom("uuid".to_owned())))
}

/// Names of a closed set.
#[derive(Debug)]
pub(in crate::api::http) struct MetricName;
#[derive(Debug)]
pub(in crate::api::http) struct IndexTypeName;
#[derive(Debug)]
pub(in crate::api::http) struct EventTypeName;
#[derive(Debug)]
pub(in crate::api::http) struct StreamedEventName;

/// What events of a stream, not of the log, are called.
pub(in crate::api::http) const STREAM_EVENTS: [&str; 4] =
    ["heartbeat", "snapshot.document", "snapshot.end", "stream.error"];

fn event_types() -> impl Iterator<Item = &'static str> {
    EventType::ALL.iter().map(|kind| kind.name())
}

texts! {
    ShownRevision = "Revision", "The number of a change, strictly increasing over the whole server.",
        |text| text.pattern(Some("^[0-9]+$"));
    ShownCursor = "Cursor",
        "A place in the feed, opaque: \"up to and including this is mine\". Sorts as text.",
        |text| text.pattern(Some("^[0-9a-f]{40}$"));
    ShownTime = "Time", "A moment in UTC (RFC 3339, with `Z`).",
        |text| text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    ShownLibraryId = "LibraryId", "A library's id (UUIDv7).", uuid;
    ShownChunkId = "ChunkId", "A chunk's id (UUIDv7).", uuid;
    ShownBatchId = "BatchId", "The id of an ingest stream (UUIDv7).", uuid;
    MetricName = "Metric", "How near two vectors are. A lower distance is nearer, a higher score better.",
        |text| text.enum_values(Some(Metric::ALL.map(Metric::name)));
    IndexTypeName = "IndexType", "The kind of index that was asked for.",
        |text| text.enum_values(Some(IndexType::ALL.map(IndexType::name)));
    EventTypeName = "EventType", "What happened.", |text| text.enum_values(Some(event_types()));
    StreamedEventName = "StreamedEventType", "What happened, or what the stream says of itself.",
        |text| text.enum_values(Some(event_types().chain(STREAM_EVENTS)));
}

impl PartialSchema for Verbatim<'_> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("An object of the client's own."))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .into()
    }
}

impl ToSchema for Verbatim<'_> {
    fn name() -> Cow<'static, str> {
        "Metadata".into()
    }
}
