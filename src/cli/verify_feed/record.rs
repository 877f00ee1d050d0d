//! What was recorded of a feed, as the checks see it: the same whatever transport it came by.
//!
//! A recording keeps of an event what the checks need: its identity, what it is about, and a digest
//! of what it says, which is the same over all transports. Texts are not kept, so that a recording
//! of a million events fits into memory.

use std::fmt;
use std::sync::Arc;

use crate::types::{BatchId, ChunkId, Cursor, DocumentId, EventType, LibraryId, LibraryName};
use crate::types::{Match, Revision, Timestamp};

/// Where something stands: a file and a line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name, or what the recording is called.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What one reader got, in the order in which it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The file's name, or what the recording is called.
    pub name: Arc<str>,
    /// What came.
    pub entries: Vec<Entry>,
}

/// One thing that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub item: Item,
}

/// What can come.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// The reader connected, for the first time or again: what comes next must go on where it was.
    Connected,
    /// An event of the log.
    Event(Box<EventRecord>),
    /// A heartbeat or a page's `next_cursor`: everything up to here was sent or filtered out.
    Bookmark(Cursor),
    /// A document of the snapshot that the reading begins with.
    Document(Box<DocumentRecord>),
    /// The end of that snapshot: it is of this cursor and has so many documents.
    SnapshotEnd {
        /// What follows came after it.
        cursor: Cursor,
        /// As the server counted.
        total: u64,
    },
    /// The server ended the stream with an error.
    Ended,
}

/// A document as a snapshot shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRecord {
    /// Its library.
    pub library: LibraryId,
    /// Its id.
    pub id: DocumentId,
    /// Of its last change.
    pub revision: Revision,
    /// Digest of its fields, as of an export's line.
    pub image: u64,
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// Its id.
    pub id: Cursor,
    /// What happened.
    pub event_type: EventType,
    /// Where.
    pub library: LibraryId,
    /// As the event says; must be that of its id.
    pub revision: Revision,
    /// As the event says; must be what its id says.
    pub last: bool,
    /// The ingest stream.
    pub batch: Option<BatchId>,
    /// When.
    pub time: Timestamp,
    /// What it is about.
    pub subject: Subject,
    /// How it says that it matches the reader's filter.
    pub matched: Option<Match>,
    /// Of everything that it says in all transports.
    pub digest: u64,
}

impl EventRecord {
    /// Its place among the events of its change, from 0.
    #[must_use]
    pub fn ordinal(&self) -> u32 {
        self.id.place()
    }
}

impl fmt::Display for EventRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.event_type.name(), self.id)
    }
}

/// What an event is about, as far as the checks fold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A library, by its name after the change.
    Library(Option<LibraryName>),
    /// A document.
    Document {
        /// Its id.
        id: DocumentId,
        /// How many chunks it has or had.
        num_chunks: u64,
        /// Digest of its fields, as of an export's line.
        image: u64,
    },
    /// A chunk of a document.
    Chunk {
        /// The document's id.
        document: DocumentId,
        /// The chunk's id.
        id: ChunkId,
    },
    /// An ingest stream that ended, with the number of documents that it wrote.
    Batch {
        /// Documents written.
        succeeded: u64,
    },
    /// Something else.
    Other,
}

impl Recording {
    /// One reading out of pieces, each begun where the one before ended.
    #[must_use]
    pub fn joined(pieces: Vec<Self>) -> Option<Self> {
        pieces.into_iter().reduce(|mut whole, piece| {
            whole.entries.extend(piece.entries);
            whole
        })
    }

    /// Its events, in the order in which they came.
    pub fn events(&self) -> impl Iterator<Item = (&Place, &EventRecord)> {
        self.entries.iter().filter_map(|entry| match &entry.item {
            Item::Event(event) => Some((&entry.place, &**event)),
            Item::Connected
            | Item::Bookmark(_)
            | Item::Document(_)
            | Item::SnapshotEnd { .. }
            | Item::Ended => None,
        })
    }
}

/// Which events a recording was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Only of this library.
    pub library: Option<LibraryId>,
    /// A bit for each type ([`EventType::bit`]).
    pub types: u16,
}

impl Asked {
    /// All events.
    pub const ALL: Self = Self { library: None, types: u16::MAX };

    /// Whether an event was asked for.
    #[must_use]
    pub fn admits(&self, event: &EventRecord) -> bool {
        self.library.is_none_or(|library| library == event.library)
            && self.types & event.event_type.bit() != 0
    }

    /// Whether a change that was asked for was asked for as a whole.
    #[must_use]
    pub fn whole_changes(&self) -> bool {
        EventType::ALL.iter().all(|kind| self.types & kind.bit() != 0)
    }
}

/// The rules, by what a breach of them is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Ids strictly increase.
    Order,
    /// No event comes twice.
    Unique,
    /// The events of a change stay together and are all there.
    Atomic,
    /// `last` stands on exactly the last event of a change.
    Last,
    /// A bookmark is never ahead of an event that comes later, and never goes back.
    Bookmark,
    /// A reader that comes back goes on exactly where it was.
    Resume,
    /// Only what was asked for comes.
    Filter,
    /// An event agrees with its own id and with the others of its change.
    Identity,
    /// Time does not go back.
    Time,
    /// A batch that completed wrote what it says.
    Batch,
    /// Everything that was asked for comes.
    Complete,
    /// Nothing comes that is not in the log.
    Foreign,
    /// An event says the same to every reader.
    Payload,
    /// The events give the state that the export shows.
    Export,
    /// A snapshot is whole, before all else, and shows the state that the events give.
    Snapshot,
}

impl Rule {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Unique => "unique",
            Self::Atomic => "atomic",
            Self::Last => "last",
            Self::Bookmark => "bookmark",
            Self::Resume => "resume",
            Self::Filter => "filter",
            Self::Identity => "identity",
            Self::Time => "time",
            Self::Batch => "batch",
            Self::Complete => "complete",
            Self::Foreign => "foreign",
            Self::Payload => "payload",
            Self::Export => "export",
            Self::Snapshot => "snapshot",
        }
    }
}

/// A breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// Where it shows.
    pub place: Place,
    /// What was expected and what came.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.rule.name(), self.detail)
    }
}
