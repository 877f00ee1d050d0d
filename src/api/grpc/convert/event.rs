//! Conversions of events.

use super::library::{embedder_to_pb, index_type_to_pb, metric_to_pb};
use super::{any_library, metadata_to_pb, timestamp};
use crate::api::grpc::framed::write_framed;
use crate::api::grpc::pb;
use crate::engine::changes::{EventStatistics, EventsRequest, Selected};
use crate::engine::snapshot::{Snapshot, SnapshotDocument};
use crate::types::{
    BatchCounts, Cursor, DocumentHead, Error, Event, EventPayload, EventType, Filter, FilterScope,
    Library, Limits, Match, Result, StartAt, Timestamp, seconds,
};

/// Which events a reader wants; `default` is where an empty cursor starts.
pub(in crate::api::grpc) fn events_request(
    library_id: &str,
    event_types: &[i32],
    filter: &str,
    cursor: &str,
    default: StartAt,
    limits: &Limits,
) -> Result<EventsRequest> {
    Ok(EventsRequest {
        library: any_library(library_id)?,
        event_types: event_types_from_pb(event_types)?,
        filter: match filter {
            "" => None,
            text => Some(Filter::parse(text, FilterScope::Feed, limits)?),
        },
        start: if cursor.is_empty() { default } else { cursor.parse()? },
    })
}

/// The events of selected changes, in order.
pub(in crate::api::grpc) fn events_to_pb(changes: &[Selected]) -> impl Iterator<Item = pb::Event> {
    changes.iter().flat_map(Selected::events).map(|event| event_to_pb(&event))
}

fn event_to_pb(event: &Event<'_>) -> pb::Event {
    pb::Event {
        id: event.id.to_string(),
        r#type: event_type_to_pb(event.event_type).into(),
        library_id: event.library_id.to_string(),
        timestamp: Some(timestamp(event.time)),
        revision: event.revision.0,
        last: event.last,
        batch_id: event.batch_id.map(|id| id.to_string()).unwrap_or_default(),
        r#match: match_to_pb(event.matched).into(),
        payload: Some(payload_to_pb(&event.payload)),
    }
}

fn match_to_pb(matched: Option<Match>) -> pb::EventMatch {
    match matched {
        None | Some(Match::Matched) => pb::EventMatch::Unspecified,
        Some(Match::Entered) => pb::EventMatch::Entered,
        Some(Match::Stayed) => pb::EventMatch::Stayed,
        Some(Match::Left) => pb::EventMatch::Left,
    }
}

fn payload_to_pb(payload: &EventPayload<'_>) -> pb::event::Payload {
    use pb::event::Payload;
    match payload {
        EventPayload::Library { library, before } => Payload::Library(pb::LibraryEvent {
            previous_name: before.map(|before| before.name.as_str().to_owned()),
            previous_description: before.map(|before| before.description.clone()),
            previous_metadata: before.map(|before| metadata_to_pb(&before.metadata)),
            ..library_event(library)
        }),
        EventPayload::LibraryDeleted { library, num_documents, num_chunks } => {
            Payload::Library(pb::LibraryEvent {
                num_documents: Some(*num_documents),
                num_chunks: Some(*num_chunks),
                ..library_event(library)
            })
        }
        EventPayload::Document { document, before } => Payload::Document(pb::DocumentEvent {
            previous_title: before.map(|before| before.title.clone()),
            previous_metadata: before.map(|before| metadata_to_pb(&before.metadata)),
            ..document_event(document)
        }),
        EventPayload::Chunk { document, chunk } => Payload::Chunk(pb::ChunkEvent {
            chunk_id: chunk.id.to_string(),
            document_id: document.id.as_str().to_owned(),
            title: document.title.clone(),
            index: chunk.index,
            metadata: Some(metadata_to_pb(&chunk.metadata)),
        }),
        EventPayload::BatchStarted => Payload::Batch(pb::BatchEvent::default()),
        EventPayload::BatchEnded { counts, reason } => Payload::Batch(pb::BatchEvent {
            reason: reason.map(str::to_owned),
            ..batch_event(counts)
        }),
        EventPayload::IndexRebuilt { index_type } => Payload::Index(pb::IndexEvent {
            index_type: index_type_to_pb(*index_type).into(),
            ..Default::default()
        }),
        EventPayload::IndexOptimized { segments_before, segments_after } => {
            Payload::Index(pb::IndexEvent {
                segments_before: Some(*segments_before),
                segments_after: Some(*segments_after),
                ..Default::default()
            })
        }
    }
}

fn library_event(library: &Library) -> pb::LibraryEvent {
    pb::LibraryEvent {
        name: library.name.as_str().to_owned(),
        description: library.description.clone(),
        metric: metric_to_pb(library.metric).into(),
        dimension: library.dimension,
        embedder: Some(embedder_to_pb(&library.embedder)),
        index_type: index_type_to_pb(library.index_type).into(),
        metadata: Some(metadata_to_pb(&library.metadata)),
        ..Default::default()
    }
}

fn document_event(document: &DocumentHead) -> pb::DocumentEvent {
    pb::DocumentEvent {
        document_id: document.id.as_str().to_owned(),
        title: document.title.clone(),
        author: document.author.clone(),
        document_type: document.document_type.clone(),
        source_url: document.source_url.clone(),
        tags: document.tags.clone(),
        metadata: Some(metadata_to_pb(&document.metadata)),
        num_chunks: document.num_chunks,
        ..Default::default()
    }
}

fn batch_event(counts: &BatchCounts) -> pb::BatchEvent {
    pb::BatchEvent {
        total_processed: counts.processed,
        total_succeeded: counts.succeeded,
        total_failed: counts.failed,
        total_skipped: counts.skipped,
        total_chunks: counts.chunks,
        reason: None,
    }
}

/// A type of event as a number of the message.
#[must_use]
pub fn event_type_to_pb(event_type: EventType) -> pb::EventType {
    match event_type {
        EventType::LibraryCreated => pb::EventType::LibraryCreated,
        EventType::LibraryUpdated => pb::EventType::LibraryUpdated,
        EventType::LibraryDeleted => pb::EventType::LibraryDeleted,
        EventType::DocumentAdded => pb::EventType::DocumentAdded,
        EventType::DocumentUpdated => pb::EventType::DocumentUpdated,
        EventType::DocumentDeleted => pb::EventType::DocumentDeleted,
        EventType::ChunkAdded => pb::EventType::ChunkAdded,
        EventType::ChunkDeleted => pb::EventType::ChunkDeleted,
        EventType::IndexRebuilt => pb::EventType::IndexRebuilt,
        EventType::IndexOptimized => pb::EventType::IndexOptimized,
        EventType::BatchStarted => pb::EventType::BatchStarted,
        EventType::BatchCompleted => pb::EventType::BatchCompleted,
        EventType::BatchFailed => pb::EventType::BatchFailed,
    }
}

pub(super) fn event_types_from_pb(numbers: &[i32]) -> Result<Vec<EventType>> {
    numbers.iter().map(|number| event_type_from_pb(*number)).collect()
}

/// A type of event from its number; `invalid-argument` for an unknown one.
pub fn event_type_from_pb(number: i32) -> Result<EventType> {
    let known = EventType::ALL.iter().copied();
    known
        .into_iter()
        .find(|kind| i32::from(event_type_to_pb(*kind)) == number)
        .ok_or_else(|| Error::invalid("event_types", format!("{number} is no type of event")))
}

/// Writes an event as a message of a subscription, with its prefix.
pub(in crate::api::grpc) fn write_event(out: &mut Vec<u8>, event: &Event<'_>) {
    write_item(out, pb::subscribe_response::Item::Event(event_to_pb(event)));
}

/// Writes a heartbeat as a message of a subscription, with its prefix.
pub(in crate::api::grpc) fn write_heartbeat(
    out: &mut Vec<u8>,
    cursor: Cursor,
    time: Timestamp,
    generation: Option<u64>,
) {
    let (cursor, time) = (cursor.to_string(), Some(timestamp(time)));
    let heartbeat = pb::Heartbeat { cursor, time, generation };
    write_item(out, pb::subscribe_response::Item::Heartbeat(heartbeat));
}

/// Writes a document of a snapshot as a message of a subscription, with its prefix.
pub(in crate::api::grpc) fn write_snapshot_document(out: &mut Vec<u8>, one: &SnapshotDocument) {
    let message = pb::SnapshotDocument {
        library_id: one.library_id.to_string(),
        timestamp: Some(timestamp(one.document.updated_at)),
        revision: one.document.revision.0,
        document: Some(document_event(&one.document)),
    };
    write_item(out, pb::subscribe_response::Item::SnapshotDocument(message));
}

/// Writes the end of a snapshot as a message of a subscription, with its prefix.
pub(in crate::api::grpc) fn write_snapshot_end(out: &mut Vec<u8>, snapshot: &Snapshot) {
    let message = pb::SnapshotEnd {
        cursor: snapshot.cursor().to_string(),
        total_documents: snapshot.total_documents(),
    };
    write_item(out, pb::subscribe_response::Item::SnapshotEnd(message));
}

fn write_item(out: &mut Vec<u8>, item: pb::subscribe_response::Item) {
    write_framed(out, &pb::SubscribeResponse { item: Some(item) });
}

/// The feed in numbers.
pub(in crate::api::grpc) fn statistics_to_pb(
    statistics: &EventStatistics,
) -> pb::GetEventStatisticsResponse {
    let subscribers: Vec<_> = statistics
        .subscribers
        .iter()
        .map(|subscriber| pb::SubscriberStatistics {
            id: subscriber.id,
            cursor: subscriber.cursor.to_string(),
            lag_revisions: subscriber.lag_revisions,
            lag_seconds: seconds(subscriber.lag),
            pending_events: subscriber.pending_events,
            delivered_events: subscriber.delivered_events,
            since: Some(timestamp(subscriber.since)),
        })
        .collect();
    pb::GetEventStatisticsResponse {
        total_published: statistics.total_published,
        total_delivered: statistics.total_delivered,
        total_errors: statistics.total_errors,
        pending_events: statistics.pending_events,
        subscriber_count: subscribers.len() as u64,
        running: statistics.running,
        started_at: Some(timestamp(statistics.started_at)),
        tail_revision: statistics.tail_revision.0,
        floor_revision: statistics.floor_revision.0,
        log_bytes: statistics.log_bytes,
        subscribers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        BatchFailure, BatchId, ChangeHead, ChangeKind, ChunkHead, ChunkId, DocumentId, Epoch,
        LibraryId, Metadata, Revision,
    };

    fn document(title: &str, num_chunks: u32) -> DocumentHead {
        DocumentHead {
            id: DocumentId::parse("d").expect("an id"),
            created_revision: Revision(1),
            title: title.to_owned(),
            author: String::new(),
            document_type: String::new(),
            source_url: String::new(),
            tags: vec![],
            metadata: Metadata::default(),
            num_chunks,
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(1),
            revision: Revision(2),
        }
    }

    fn change(kind: ChangeKind) -> ChangeHead {
        ChangeHead {
            epoch: Epoch(1),
            revision: Revision(2),
            time: Timestamp::from_micros(3_000_001),
            events_before: 0,
            library_id: LibraryId::generate(),
            batch_id: Some(BatchId::generate()),
            request_id: None,
            kind,
        }
    }

    fn events(change: &ChangeHead) -> Vec<pb::Event> {
        change.events().map(|event| event_to_pb(&event)).collect()
    }

    #[test]
    fn types_map_one_to_one_and_keep_their_names() {
        for kind in EventType::ALL {
            let wire = event_type_to_pb(*kind);
            assert_eq!(event_type_from_pb(wire.into()), Ok(*kind));
            let name = kind.name().to_ascii_uppercase().replace('.', "_");
            assert_eq!(wire.as_str_name(), format!("EVENT_TYPE_{name}"));
        }
        for wrong in [0, 99, -1] {
            let error = event_type_from_pb(wrong).expect_err("no type");
            assert_eq!(error.violations[0].field, "event_types");
        }
    }

    #[test]
    fn an_update_shows_both_images_then_its_chunks() {
        let chunk = |slot| ChunkHead {
            id: ChunkId::generate(),
            slot,
            index: 0,
            metadata: Metadata::default(),
        };
        let change = change(ChangeKind::DocumentUpdated {
            before: document("old", 1),
            after: document("new", 1),
            layout: vec![],
            next_slot: 2,
            removed: vec![chunk(0)],
            added: vec![chunk(1)],
        });
        let events = events(&change);
        let kinds: Vec<_> = events.iter().map(pb::Event::r#type).collect();
        let expected = [
            pb::EventType::DocumentUpdated,
            pb::EventType::ChunkDeleted,
            pb::EventType::ChunkAdded,
        ];
        assert_eq!(kinds, expected);
        assert_eq!(events.iter().map(|e| e.last).collect::<Vec<_>>(), [false, false, true]);
        let Some(pb::event::Payload::Document(payload)) = &events[0].payload else {
            panic!("{:?}", events[0]);
        };
        assert_eq!(payload.title, "new");
        assert_eq!(payload.previous_title.as_deref(), Some("old"));
        assert!(payload.previous_metadata.is_some());
        assert_eq!(events[0].timestamp.map(|t| (t.seconds, t.nanos)), Some((3, 1_000)));
        assert_eq!(events[0].id.parse::<Cursor>().map(|c| c.revision), Ok(Revision(2)));
        assert_eq!(events[0].batch_id, change.batch_id.expect("set").to_string());
    }

    #[test]
    fn a_broken_batch_says_why() {
        let counts = BatchCounts { processed: 3, succeeded: 2, failed: 1, skipped: 0, chunks: 5 };
        let reason = BatchFailure::ClientGone;
        let events = events(&change(ChangeKind::BatchFailed { counts, reason }));
        let Some(pb::event::Payload::Batch(batch)) = &events[0].payload else {
            panic!("{:?}", events[0]);
        };
        assert_eq!(batch.reason.as_deref(), Some("client-gone"));
        assert_eq!((batch.total_processed, batch.total_chunks), (3, 5));
    }

    #[test]
    fn an_empty_cursor_is_the_default() {
        let limits = Limits::default();
        let request = |library: &str, filter: &str, cursor: &str| {
            events_request(library, &[], filter, cursor, StartAt::Now, &limits)
        };
        let at = |cursor: &str| request("", "", cursor).map(|request| request.start);
        assert_eq!(at(""), Ok(StartAt::Now));
        assert_eq!(at("begin"), Ok(StartAt::Begin));
        assert!(at("yesterday").is_err());
        assert!(request(" ", "", "").is_err());
        assert!(request("", "document.title == \"x\"", "").is_ok_and(|r| r.filter.is_some()));
        let error = request("", "document.titel == \"x\"", "").expect_err("no such name");
        assert_eq!(error.violations[0].field, "filter");
    }
}
