//! Changes: the immutable facts of the log, holding all that their events need for ever.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::cursor::{Epoch, Revision};
use super::document::{ChunkBody, ChunkHead, DocumentHead};
use super::id::{BatchId, LibraryId, RequestId};
use super::library::{Library, LibraryCounts};

/// One change: its head, which events are made from, and the bodies of the chunks it adds.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Everything but texts and vectors.
    pub head: ChangeHead,
    /// Texts and vectors of [`ChangeKind::added_chunks`], in the same order.
    pub bodies: Vec<ChunkBody>,
}

/// Everything of a change but texts and vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeHead {
    /// The history it was written in.
    pub epoch: Epoch,
    /// Its number.
    pub revision: Revision,
    /// The writer's clock, never before that of the change before.
    pub time: Timestamp,
    /// How many events all changes before it in this log have: the place of its first event in
    /// the feed, counted from 0. Makes lag in events a subtraction.
    pub events_before: u64,
    /// The library it is about.
    pub library_id: LibraryId,
    /// The ingest stream it belongs to.
    pub batch_id: Option<BatchId>,
    /// What makes a retry of it safe.
    pub request_id: Option<RequestId>,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened. New kinds go to the end: the place is the durable tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// A library was created.
    LibraryCreated {
        /// As created.
        library: Library,
    },
    /// A library's name, description or metadata changed.
    LibraryUpdated {
        /// As it was.
        before: Library,
        /// As it is.
        after: Library,
    },
    /// A library went, with all that was in it.
    LibraryDeleted {
        /// As it was.
        before: Library,
        /// Documents that went with it.
        num_documents: u64,
        /// Chunks that went with it.
        num_chunks: u64,
    },
    /// A document was written under a new id.
    DocumentAdded {
        /// As written.
        document: DocumentHead,
        /// All its chunks, in index order, slot = index.
        chunks: Vec<ChunkHead>,
    },
    /// A document was changed or replaced.
    DocumentUpdated {
        /// As it was.
        before: DocumentHead,
        /// As it is.
        after: DocumentHead,
        /// All its chunks as they are, in index order.
        layout: Vec<ChunkHead>,
        /// The slot that the next new chunk gets.
        next_slot: u32,
        /// Chunks that went, in their old index order.
        removed: Vec<ChunkHead>,
        /// Chunks that came, in index order.
        added: Vec<ChunkHead>,
    },
    /// A document went.
    DocumentDeleted {
        /// As it was.
        before: DocumentHead,
        /// Its chunks, in index order.
        removed: Vec<ChunkHead>,
    },
    /// The first item of an ingest stream came.
    BatchStarted,
    /// An ingest stream ended.
    BatchCompleted {
        /// What became of its items.
        counts: BatchCounts,
    },
    /// An ingest stream broke.
    BatchFailed {
        /// What became of its items until then.
        counts: BatchCounts,
        /// Why.
        reason: BatchFailure,
    },
    /// A user asked for an index to be rebuilt, and it was.
    IndexRebuilt {
        /// The kind of index it has now.
        index_type: super::library::IndexType,
    },
    /// A user asked for an index's segments to be merged, and they were.
    IndexOptimized {
        /// Segments before.
        segments_before: u32,
        /// Segments after.
        segments_after: u32,
    },
}

/// What became of the items of an ingest stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchCounts {
    /// Items read.
    pub processed: u64,
    /// Items written.
    pub succeeded: u64,
    /// Items refused.
    pub failed: u64,
    /// Items left alone because their id existed.
    pub skipped: u64,
    /// Chunks written.
    pub chunks: u64,
}

/// Why an ingest stream broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchFailure {
    /// The server stopped or crashed in the middle; said at recovery.
    Interrupted,
    /// The client left in the middle.
    ClientGone,
    /// The client sent nothing for `limits.ingest_idle_ms`.
    Stalled,
    /// The stream could not go on, in words.
    Other(String),
}

impl BatchFailure {
    /// In words, as events and people see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Interrupted => "interrupted",
            Self::ClientGone => "client-gone",
            Self::Stalled => "stalled",
            Self::Other(words) => words,
        }
    }
}

impl ChangeKind {
    /// The heads of the chunks that it adds, whose bodies the change carries.
    #[must_use]
    pub fn added_chunks(&self) -> &[ChunkHead] {
        match self {
            Self::DocumentAdded { chunks, .. } => chunks,
            Self::DocumentUpdated { added, .. } => added,
            Self::LibraryCreated { .. }
            | Self::LibraryUpdated { .. }
            | Self::LibraryDeleted { .. }
            | Self::DocumentDeleted { .. }
            | Self::BatchStarted
            | Self::BatchCompleted { .. }
            | Self::BatchFailed { .. }
            | Self::IndexRebuilt { .. }
            | Self::IndexOptimized { .. } => &[],
        }
    }

    /// The heads of the chunks that it removes one by one.
    #[must_use]
    pub fn removed_chunks(&self) -> &[ChunkHead] {
        match self {
            Self::DocumentUpdated { removed, .. } | Self::DocumentDeleted { removed, .. } => {
                removed
            }
            Self::LibraryCreated { .. }
            | Self::LibraryUpdated { .. }
            | Self::LibraryDeleted { .. }
            | Self::DocumentAdded { .. }
            | Self::BatchStarted
            | Self::BatchCompleted { .. }
            | Self::BatchFailed { .. }
            | Self::IndexRebuilt { .. }
            | Self::IndexOptimized { .. } => &[],
        }
    }

    /// The document that it wrote, as it is then.
    #[must_use]
    pub fn written_document(&self) -> Option<&DocumentHead> {
        match self {
            Self::DocumentAdded { document, .. }
            | Self::DocumentUpdated { after: document, .. } => Some(document),
            Self::LibraryCreated { .. }
            | Self::LibraryUpdated { .. }
            | Self::LibraryDeleted { .. }
            | Self::DocumentDeleted { .. }
            | Self::BatchStarted
            | Self::BatchCompleted { .. }
            | Self::BatchFailed { .. }
            | Self::IndexRebuilt { .. }
            | Self::IndexOptimized { .. } => None,
        }
    }

    /// How many events it shows as: one for itself, one for each chunk that goes or comes.
    #[must_use]
    pub fn num_events(&self) -> u32 {
        let chunks = self.added_chunks().len() + self.removed_chunks().len();
        u32::try_from(chunks + 1).unwrap_or(u32::MAX)
    }

    /// What a library holds after this change to one of its documents.
    #[must_use]
    pub fn count(&self, counts: LibraryCounts) -> LibraryCounts {
        let mut counts = counts;
        match self {
            Self::DocumentAdded { .. } => counts.documents += 1,
            Self::DocumentDeleted { .. } => counts.documents -= 1,
            Self::LibraryCreated { .. }
            | Self::LibraryUpdated { .. }
            | Self::LibraryDeleted { .. }
            | Self::DocumentUpdated { .. }
            | Self::BatchStarted
            | Self::BatchCompleted { .. }
            | Self::BatchFailed { .. }
            | Self::IndexRebuilt { .. }
            | Self::IndexOptimized { .. } => {}
        }
        counts.chunks += self.added_chunks().len() as u64;
        counts.chunks -= self.removed_chunks().len() as u64;
        counts
    }
}
