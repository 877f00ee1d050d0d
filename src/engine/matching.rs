//! The verbs about all that a filter lets through: count it, delete it.

use std::sync::Arc;

use futures::StreamExt;

use super::library::revision_written;
use super::matches::Selected;
use super::writer::Command;
use super::{Engine, ReadAt};
use crate::store::DocumentKey;
use crate::types::{
    DocumentId, Error, ErrorKind, Filter, FilterScope, LibraryId, LibraryRef, Result, Revision,
};

/// What a filter lets through, at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matching {
    /// Documents of which at least one chunk passes.
    pub documents: u64,
    /// Chunks that pass.
    pub chunks: u64,
    /// The revision that this is true of.
    pub revision: Revision,
}

/// What became of the documents that a filter let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// Documents that were deleted.
    pub documents: u64,
    /// Documents that were changed or deleted by others meanwhile, and left alone.
    pub changed: u64,
    /// Of the last deletion; of the state that was looked at, when nothing was deleted.
    pub revision: Revision,
}

/// Deletions that wait for the writer at once: enough that they share commits.
const DELETIONS_IN_FLIGHT: usize = 128;

impl Engine {
    /// Counts the documents and chunks that a filter lets through; all, without one. A filter as
    /// that of a search: over fields of chunk and document.
    ///
    /// `invalid-argument` or `too-large` for a wrong filter. Cost: as that of a search's filter.
    pub async fn count_matching(
        &self,
        library: &LibraryRef,
        filter: Option<&str>,
        at: ReadAt,
    ) -> Result<Matching> {
        let Some(filter) = filter else {
            let state = self.state_at(at).await?;
            let counts = state.library(library)?.counts;
            let revision = state.applied.revision;
            return Ok(Matching { documents: counts.documents, chunks: counts.chunks, revision });
        };
        let selected = self.select_matching(library, filter, at).await?;
        Ok(Matching {
            documents: documents_of(&selected).len() as u64,
            chunks: selected.chosen.iter().map(|chosen| chosen.rows.len() as u64).sum(),
            revision: selected.state.applied.revision,
        })
    }

    /// Deletes every document of which at least one chunk passes a filter, as it is when this
    /// begins: one that changes meanwhile is left alone and counted. Each deletion is a change of
    /// its own, durable when this answers; they are not one transaction. What is not yet deleted
    /// when the future is dropped stays, but for up to 128 that are on their way.
    ///
    /// `invalid-argument` or `too-large` for a wrong filter.
    pub async fn delete_matching(
        &self,
        library: &LibraryRef,
        filter: &str,
        at: ReadAt,
    ) -> Result<Deleted> {
        if filter.is_empty() {
            return Err(Error::invalid("filter", "is required; `true` is that of all"));
        }
        let selected = self.select_matching(library, filter, at).await?;
        let id = selected.library.library.id;
        let mut deleted =
            Deleted { documents: 0, changed: 0, revision: selected.state.applied.revision };
        let found = Self::blocking(move || {
            let keys = documents_of(&selected).into_iter();
            let head = |created| {
                let key = DocumentKey { library: id, created: Revision(created) };
                let stored = selected.state.snapshot.stored_document(key);
                stored.map(|stored| stored.map(|stored| (stored.head.id, stored.head.revision)))
            };
            keys.filter_map(|created| head(created).transpose()).collect::<Result<Vec<_>, _>>()
        })
        .await?;
        let mut deletions = futures::stream::iter(found)
            .map(|(document, revision)| self.delete_unchanged(id, document, revision))
            .buffer_unordered(DELETIONS_IN_FLIGHT);
        while let Some(done) = deletions.next().await {
            match done? {
                Some(revision) => {
                    deleted.documents += 1;
                    deleted.revision = deleted.revision.max(revision);
                }
                None => deleted.changed += 1,
            }
        }
        Ok(deleted)
    }

    /// `None` when it is not there any more as it was.
    async fn delete_unchanged(
        &self,
        library: LibraryId,
        id: DocumentId,
        revision: Revision,
    ) -> Result<Option<Revision>> {
        let command = Command::DeleteDocument { library, id, expected: Some(revision) };
        match self.inner.write(command).await.and_then(revision_written) {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::NotFound) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn select_matching(
        &self,
        library: &LibraryRef,
        filter: &str,
        at: ReadAt,
    ) -> Result<Selected> {
        let filter = Filter::parse(filter, FilterScope::Search, &self.inner.limits)?;
        let id = self.state_at(at).await?.library(library)?.library.id;
        let (matches, published) = (&self.inner.matches, &self.inner.published);
        matches.select(published, id, &[Arc::new(filter)]).await
    }
}

/// Keys of the documents of which some row was selected, each once.
fn documents_of(selected: &Selected) -> Vec<u64> {
    let view = &selected.library.view;
    let rows = selected.chosen.iter().flat_map(|chosen| view.keys_of(&chosen.rows));
    let mut documents: Vec<u64> = rows.map(|key| key.document).collect();
    documents.sort_unstable();
    documents.dedup();
    documents
}
