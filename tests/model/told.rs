//! The feed as a client sees it, event by event, put together to changes again.

use arrwdb::engine::changes::EventsPage;
use arrwdb::types::{
    BatchCounts, BatchId, ChunkHead, Cursor, DocumentHead, Event, EventPayload, EventType, Library,
    LibraryId, Revision, Timestamp,
};

/// One event, kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldEvent {
    pub id: Cursor,
    pub event_type: EventType,
    pub library: LibraryId,
    pub time: Timestamp,
    pub batch: Option<BatchId>,
    pub last: bool,
    pub payload: Payload,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    Library { library: Library, before: Option<Library> },
    LibraryDeleted { library: Library, num_documents: u64, num_chunks: u64 },
    Document { document: DocumentHead, before: Option<DocumentHead> },
    Chunk { document: DocumentHead, chunk: ChunkHead },
    BatchStarted,
    BatchEnded { counts: BatchCounts, reason: Option<String> },
}

/// All events of one change.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub revision: Revision,
    pub events: Vec<ToldEvent>,
}

impl Told {
    pub fn first(&self) -> &ToldEvent {
        &self.events[0]
    }

    /// The title of the document that it wrote, if it wrote one.
    pub fn title(&self) -> Option<&str> {
        match &self.first().payload {
            Payload::Document { document, .. } => Some(&document.title),
            Payload::Library { .. }
            | Payload::LibraryDeleted { .. }
            | Payload::Chunk { .. }
            | Payload::BatchStarted
            | Payload::BatchEnded { .. } => None,
        }
    }

    /// Its chunk events of one type, with the documents that they show.
    pub fn chunks(&self, event_type: EventType) -> Vec<(&DocumentHead, &ChunkHead)> {
        let of_type = self.events.iter().filter(|event| event.event_type == event_type);
        of_type
            .map(|event| match &event.payload {
                Payload::Chunk { document, chunk } => (document, chunk),
                other => panic!("a chunk event says {other:?}"),
            })
            .collect()
    }
}

/// The events of a page, in order.
pub fn events(page: &EventsPage) -> Vec<ToldEvent> {
    let events = page.changes.iter().flat_map(|selected| selected.events());
    events.map(|event| told_event(&event)).collect()
}

fn told_event(event: &Event<'_>) -> ToldEvent {
    assert_eq!(event.id.revision, event.revision, "an id is not of its change");
    ToldEvent {
        id: event.id,
        event_type: event.event_type,
        library: event.library_id,
        time: event.time,
        batch: event.batch_id,
        last: event.last,
        payload: payload(&event.payload),
    }
}

fn payload(payload: &EventPayload<'_>) -> Payload {
    match *payload {
        EventPayload::Library { library, before } => {
            Payload::Library { library: library.clone(), before: before.cloned() }
        }
        EventPayload::LibraryDeleted { library, num_documents, num_chunks } => {
            Payload::LibraryDeleted { library: library.clone(), num_documents, num_chunks }
        }
        EventPayload::Document { document, before } => {
            Payload::Document { document: document.clone(), before: before.cloned() }
        }
        EventPayload::Chunk { document, chunk } => {
            Payload::Chunk { document: document.clone(), chunk: chunk.clone() }
        }
        EventPayload::BatchStarted => Payload::BatchStarted,
        EventPayload::BatchEnded { counts, reason } => {
            Payload::BatchEnded { counts: *counts, reason: reason.map(str::to_owned) }
        }
        EventPayload::IndexRebuilt { .. } | EventPayload::IndexOptimized { .. } => {
            panic!("nobody asked for an index to be changed")
        }
    }
}

/// Puts whole changes together, and checks what holds of every feed: ids strictly increase,
/// ordinals have no gap, the last event of a change and no other says so.
pub fn changes(events: Vec<ToldEvent>) -> Vec<Told> {
    let mut changes: Vec<Told> = Vec::new();
    for event in events {
        let revision = event.id.revision;
        match changes.last_mut().filter(|told| told.revision == revision) {
            Some(told) => told.events.push(event),
            None => changes.push(Told { revision, events: vec![event] }),
        }
    }
    let mut before = Revision::ZERO;
    for told in &changes {
        assert!(told.revision > before, "{} follows {before}", told.revision);
        before = told.revision;
        let first = told.first();
        let count = told.events.len();
        for (ordinal, event) in (0u32..).zip(&told.events) {
            let last = ordinal as usize + 1 == count;
            let place = if last { ordinal | Cursor::LAST } else { ordinal };
            assert_eq!(event.id.ordinal, place, "{event:?} of {count}");
            assert_eq!(event.last, last, "{event:?} of {count}");
            assert_eq!(event.id.epoch, first.id.epoch);
            assert_eq!(
                (event.library, event.time, event.batch),
                (first.library, first.time, first.batch)
            );
            let is_chunk = matches!(event.payload, Payload::Chunk { .. });
            assert_eq!(is_chunk, ordinal > 0, "{event:?}");
        }
    }
    changes
}
