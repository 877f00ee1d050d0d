//! Floor 0: the values that every other floor speaks in. No I/O, no async, no wire types.
//!
//! Values are parsed once into types that cannot be wrong; above this floor nothing checks again.

#[cfg(test)]
pub(crate) mod arbitrary;
pub mod background;
pub mod change;
pub mod clock;
pub mod codec;
pub mod consumer;
pub mod cursor;
pub mod document;
pub mod error;
pub mod event;
pub mod filter;
pub mod id;
pub mod library;
pub mod limits;
mod machine;
pub mod metadata;
pub mod page;
pub mod row;
pub mod vector;

pub use change::{BatchCounts, BatchFailure, Change, ChangeHead, ChangeKind};
pub use clock::{Timestamp, seconds};
pub use consumer::Consumer;
pub use cursor::{Cursor, Epoch, Revision, StartAt};
pub use document::{
    Chunk, ChunkBody, ChunkHead, Document, DocumentHead, DocumentPatch, NewChunk, NewContent,
    NewDocument, OnConflict,
};
pub use error::{Error, ErrorKind, Result, Violation};
pub use event::{Event, EventPayload, EventType};
pub use filter::{Filter, FilterScope, Match};
pub use id::{
    BatchId, ChunkId, ConsumerName, DocumentId, LibraryId, LibraryName, LibraryRef, RequestId,
};
pub use library::{
    EmbedderRef, IndexType, Library, LibraryCounts, LibraryPatch, Metric, NewLibrary,
};
pub use limits::Limits;
pub use metadata::Metadata;
pub use page::{Page, PageRequest};
pub use row::RowKey;
pub use vector::Vector;
