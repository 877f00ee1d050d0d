//! The verbs about a library's index: build it anew, merge its segments, say what it is made of.

use super::tend::Wish;
use super::terms::has_texts;
use super::{Engine, ReadAt};
pub use crate::index::Segment;
use crate::text::TextView;
use crate::types::{IndexType, LibraryId, LibraryRef, Result, Revision};

/// What a library's index is made of, at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexStatistics {
    /// Whose it is.
    pub library_id: LibraryId,
    /// The kind that the library has.
    pub index_type: IndexType,
    /// Its segments: each graph with its rows, then the rows that have none.
    pub segments: Vec<Segment>,
    /// Live rows.
    pub rows: u64,
    /// Removed rows that still take space.
    pub tombstones: u64,
    /// Bytes of memory.
    pub bytes: u64,
    /// Its text index, where it has one.
    pub text: Option<TextStatistics>,
    /// Rows that are linked, and rows that will be, of the graph that is being built.
    pub building: Option<(u64, u64)>,
    /// The revision that this is true of.
    pub revision: Revision,
}

/// What a library's text index is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextStatistics {
    /// Live rows: chunks that say something.
    pub rows: u64,
    /// Removed rows that still take space.
    pub tombstones: u64,
    /// Terms of all live rows, repetitions included.
    pub terms: u64,
    /// Bytes of memory.
    pub bytes: u64,
}

impl From<&TextView> for TextStatistics {
    fn from(view: &TextView) -> Self {
        Self {
            rows: view.len() as u64,
            tombstones: view.tombstones() as u64,
            terms: view.length(),
            bytes: view.bytes() as u64,
        }
    }
}

impl Engine {
    /// Builds a library's index anew, as another kind if one is given, and waits until that is
    /// done; gives the revision of the change that says so, and that keeps the kind. Searches go
    /// on with the index that there is until the new one is in its place. A library too small for
    /// a graph, or `flat`, has none afterwards.
    ///
    /// `failed-precondition` when a graph over these vectors would not find enough: the kind stays
    /// as it was. `resource-exhausted` when `limits.index_requests_max` such requests wait. The
    /// work goes on when the future is dropped.
    pub async fn rebuild_index(
        &self,
        library: &LibraryRef,
        kind: Option<IndexType>,
    ) -> Result<Revision> {
        let id = self.inner.published.load().library(library)?.library.id;
        self.inner.tender.ask(id, Wish::Rebuild(kind)).await
    }

    /// Merges a library's segments into as few as may be and gives back the space of removed
    /// rows, and waits until that is done; otherwise as [`Engine::rebuild_index`]. While a graph
    /// with many removed rows is being replaced, its rows are searched exactly, which is slower.
    pub async fn optimize_index(&self, library: &LibraryRef) -> Result<Revision> {
        let id = self.inner.published.load().library(library)?.library.id;
        self.inner.tender.ask(id, Wish::Optimize).await
    }

    /// What a library's index is made of.
    pub async fn index_statistics(
        &self,
        library: &LibraryRef,
        at: ReadAt,
    ) -> Result<IndexStatistics> {
        let state = self.state_at(at).await?;
        let library = state.library(library)?;
        Ok(IndexStatistics {
            library_id: library.library.id,
            index_type: library.library.index_type,
            segments: library.view.segments(),
            rows: library.view.len() as u64,
            tombstones: library.view.tombstones() as u64,
            bytes: library.view.bytes() as u64,
            text: has_texts(&library.library).then(|| TextStatistics::from(&*library.text)),
            building: self.inner.tender.building(library.library.id),
            revision: state.applied.revision,
        })
    }
}
