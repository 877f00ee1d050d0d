//! Events: how changes show in the feed.

use super::change::{BatchCounts, ChangeHead, ChangeKind};
use super::clock::Timestamp;
use super::cursor::{Cursor, Revision};
use super::document::{ChunkHead, DocumentHead};
use super::error::{Error, Result};
use super::filter::Match;
use super::id::{BatchId, LibraryId};
use super::library::{IndexType, Library};

macro_rules! event_types {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// The kinds of event that the log gives.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventType {
            $($(#[doc = $doc])* $variant,)*
        }

        impl EventType {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

event_types! {
    /// A library was created.
    LibraryCreated = "library.created",
    /// A library's own fields changed.
    LibraryUpdated = "library.updated",
    /// A library went; stands for all that was in it.
    LibraryDeleted = "library.deleted",
    /// A document was written under a new id.
    DocumentAdded = "document.added",
    /// A document was changed or replaced.
    DocumentUpdated = "document.updated",
    /// A document went.
    DocumentDeleted = "document.deleted",
    /// A chunk came, with its document or by an update.
    ChunkAdded = "chunk.added",
    /// A chunk went, with its document or by an update.
    ChunkDeleted = "chunk.deleted",
    /// An index was rebuilt at a user's wish.
    IndexRebuilt = "index.rebuilt",
    /// An index's segments were merged at a user's wish.
    IndexOptimized = "index.optimized",
    /// An ingest stream's first item came.
    BatchStarted = "batch.started",
    /// An ingest stream ended.
    BatchCompleted = "batch.completed",
    /// An ingest stream broke.
    BatchFailed = "batch.failed",
}

impl EventType {
    /// By its name on the wire; `invalid-argument` naming `event_types` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            let detail = format!("{text:?} is not one of {}", known.join(", "));
            Error::invalid("event_types", detail)
        })
    }

    /// Its bit in a set of types.
    #[must_use]
    pub const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// The set of these types, bit by bit; of all types where none is named.
    #[must_use]
    pub fn set(types: &[Self]) -> u16 {
        match types {
            [] => u16::MAX,
            types => types.iter().fold(0, |set, one| set | one.bit()),
        }
    }
}

/// One event: a view into the change that it shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event<'a> {
    /// Its id, the same over retry, replay and restart.
    pub id: Cursor,
    /// What kind.
    pub event_type: EventType,
    /// The library it is about.
    pub library_id: LibraryId,
    /// When the change was made.
    pub time: Timestamp,
    /// The change's.
    pub revision: Revision,
    /// Whether it is the last event of its change.
    pub last: bool,
    /// The ingest stream that the change belongs to.
    pub batch_id: Option<BatchId>,
    /// How it matches the filter expression of the reader that it is shown to, if that has one.
    pub matched: Option<Match>,
    /// What it says.
    pub payload: EventPayload<'a>,
}

/// What an event says besides what all events say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EventPayload<'a> {
    /// `library.created`, `library.updated`: the library as it is now.
    Library {
        /// As it is now.
        library: &'a Library,
        /// As it was before an update.
        before: Option<&'a Library>,
    },
    /// `library.deleted`.
    LibraryDeleted {
        /// As it was.
        library: &'a Library,
        /// Documents that went with it.
        num_documents: u64,
        /// Chunks that went with it.
        num_chunks: u64,
    },
    /// `document.added`, `document.updated` (as it is), `document.deleted` (as it was).
    Document {
        /// The document.
        document: &'a DocumentHead,
        /// As it was before an update.
        before: Option<&'a DocumentHead>,
    },
    /// `chunk.added`, `chunk.deleted`.
    Chunk {
        /// The document it belongs or belonged to, as the change leaves or found it.
        document: &'a DocumentHead,
        /// The chunk.
        chunk: &'a ChunkHead,
    },
    /// `batch.started`.
    BatchStarted,
    /// `batch.completed`, `batch.failed`.
    BatchEnded {
        /// What became of its items.
        counts: &'a BatchCounts,
        /// Why it broke, for `batch.failed`.
        reason: Option<&'a str>,
    },
    /// `index.rebuilt`.
    IndexRebuilt {
        /// The kind of index now.
        index_type: IndexType,
    },
    /// `index.optimized`.
    IndexOptimized {
        /// Segments before.
        segments_before: u32,
        /// Segments after.
        segments_after: u32,
    },
}

impl ChangeHead {
    /// The events that this change shows as, in order: ordinal 0, 1, …
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        (0..self.kind.num_events()).map(|ordinal| self.event(ordinal))
    }

    /// Those of them that a reader which stands at `after` has not had.
    pub fn events_after(&self, after: Cursor) -> impl Iterator<Item = Event<'_>> {
        let rest = self.revision == after.revision;
        let first = if rest { after.place() + 1 } else { 0 };
        let events = (first..self.kind.num_events()).map(|ordinal| self.event(ordinal));
        events.filter(move |event| !rest || event.id.ordinal > after.ordinal)
    }

    /// The event with this ordinal, which must be below [`ChangeKind::num_events`].
    pub(crate) fn event(&self, ordinal: u32) -> Event<'_> {
        let (event_type, payload) = match ordinal.checked_sub(1) {
            None => self.first_event(),
            Some(place) => self.chunk_event(place as usize),
        };
        let last = ordinal + 1 == self.kind.num_events();
        let place = if last { ordinal | Cursor::LAST } else { ordinal };
        Event {
            id: Cursor { epoch: self.epoch, revision: self.revision, ordinal: place },
            event_type,
            library_id: self.library_id,
            time: self.time,
            revision: self.revision,
            last,
            batch_id: self.batch_id,
            matched: None,
            payload,
        }
    }

    fn first_event(&self) -> (EventType, EventPayload<'_>) {
        match &self.kind {
            ChangeKind::LibraryCreated { library } => {
                (EventType::LibraryCreated, EventPayload::Library { library, before: None })
            }
            ChangeKind::LibraryUpdated { before, after } => (
                EventType::LibraryUpdated,
                EventPayload::Library { library: after, before: Some(before) },
            ),
            ChangeKind::LibraryDeleted { before, num_documents, num_chunks } => (
                EventType::LibraryDeleted,
                EventPayload::LibraryDeleted {
                    library: before,
                    num_documents: *num_documents,
                    num_chunks: *num_chunks,
                },
            ),
            ChangeKind::DocumentAdded { document, .. } => {
                (EventType::DocumentAdded, EventPayload::Document { document, before: None })
            }
            ChangeKind::DocumentUpdated { before, after, .. } => (
                EventType::DocumentUpdated,
                EventPayload::Document { document: after, before: Some(before) },
            ),
            ChangeKind::DocumentDeleted { before, .. } => (
                EventType::DocumentDeleted,
                EventPayload::Document { document: before, before: None },
            ),
            ChangeKind::BatchStarted => (EventType::BatchStarted, EventPayload::BatchStarted),
            ChangeKind::BatchCompleted { counts } => {
                (EventType::BatchCompleted, EventPayload::BatchEnded { counts, reason: None })
            }
            ChangeKind::BatchFailed { counts, reason } => (
                EventType::BatchFailed,
                EventPayload::BatchEnded { counts, reason: Some(reason.as_str()) },
            ),
            ChangeKind::IndexRebuilt { index_type } => {
                (EventType::IndexRebuilt, EventPayload::IndexRebuilt { index_type: *index_type })
            }
            ChangeKind::IndexOptimized { segments_before, segments_after } => (
                EventType::IndexOptimized,
                EventPayload::IndexOptimized {
                    segments_before: *segments_before,
                    segments_after: *segments_after,
                },
            ),
        }
    }

    /// First those that went, with the document as it was, then those that came, with the
    /// document as it is.
    fn chunk_event(&self, place: usize) -> (EventType, EventPayload<'_>) {
        let removed = self.kind.removed_chunks();
        let (event_type, chunk) = match removed.get(place) {
            Some(chunk) => (EventType::ChunkDeleted, chunk),
            None => (EventType::ChunkAdded, &self.kind.added_chunks()[place - removed.len()]),
        };
        let document = match (&self.kind, event_type) {
            (ChangeKind::DocumentAdded { document, .. }, _) => document,
            (ChangeKind::DocumentUpdated { before, .. }, EventType::ChunkDeleted)
            | (ChangeKind::DocumentDeleted { before, .. }, _) => before,
            (ChangeKind::DocumentUpdated { after, .. }, _) => after,
            (
                ChangeKind::LibraryCreated { .. }
                | ChangeKind::LibraryUpdated { .. }
                | ChangeKind::LibraryDeleted { .. }
                | ChangeKind::BatchStarted
                | ChangeKind::BatchCompleted { .. }
                | ChangeKind::BatchFailed { .. }
                | ChangeKind::IndexRebuilt { .. }
                | ChangeKind::IndexOptimized { .. },
                _,
            ) => unreachable!("these have no chunk events"),
        };
        (event_type, EventPayload::Chunk { document, chunk })
    }
}
