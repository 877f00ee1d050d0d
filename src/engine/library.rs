//! Library verbs.

use std::ops::Bound;

use super::state::LibraryState;
use super::writer::{Command, Outcome};
use super::{Engine, ReadAt};
use crate::types::{
    ChangeKind, Error, ErrorKind, Library, LibraryCounts, LibraryName, LibraryPatch, LibraryRef,
    NewLibrary, Page, PageRequest, RequestId, Result, Revision,
};

/// A library with what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct LibraryView {
    /// The library.
    pub library: Library,
    /// What is in it, at the revision of the read.
    pub counts: LibraryCounts,
}

/// What a library holds and costs.
#[derive(Debug, Clone, PartialEq)]
pub struct LibraryStatistics {
    /// The library.
    pub library: Library,
    /// What is in it.
    pub counts: LibraryCounts,
    /// Segments of its index.
    pub segments: u64,
    /// Rows of its index that are tombstones.
    pub tombstones: u64,
    /// Memory of its index in bytes.
    pub index_bytes: u64,
    /// The revision at which all this is true.
    pub revision: Revision,
}

impl From<&LibraryState> for LibraryView {
    fn from(state: &LibraryState) -> Self {
        Self { library: state.library.clone(), counts: state.counts }
    }
}

impl Engine {
    /// Creates a library; the write is durable when this answers. `already-exists` when the name
    /// is taken, `resource-exhausted` at `limits.libraries_max`. With a `request_id` that made a
    /// library before, gives that library as it is now; `failed-precondition` when it is deleted
    /// since.
    pub async fn create_library(
        &self,
        new: NewLibrary,
        request_id: Option<RequestId>,
    ) -> Result<LibraryView> {
        new.check(&self.inner.limits)?;
        let (embedder, dimension) = self.inner.choose_embedder(&new)?;
        let command =
            Command::CreateLibrary { new: Box::new(new), embedder, dimension, request_id };
        match self.inner.write(command).await? {
            Outcome::Remembered(revision, request) => {
                let reference = LibraryRef::Id(request.library_id);
                let at = ReadAt { min_revision: Some(revision), timeout: None };
                self.get_library(&reference, at).await.map_err(|error| {
                    if error.kind != ErrorKind::NotFound {
                        return error;
                    }
                    let id = &request.request_id;
                    let detail = format!("request {id} made a library that is deleted since");
                    Error::new(ErrorKind::FailedPrecondition, detail)
                })
            }
            written @ (Outcome::Written { .. } | Outcome::Exists(_)) => library_written(written),
        }
    }

    /// Reads a library; `not-found` when there is none.
    pub async fn get_library(&self, library: &LibraryRef, at: ReadAt) -> Result<LibraryView> {
        let state = self.state_at(at).await?;
        Ok(LibraryView::from(&**state.library(library)?))
    }

    /// Lists libraries by name.
    pub async fn list_libraries(&self, page: PageRequest, at: ReadAt) -> Result<Page<LibraryView>> {
        let state = self.state_at(at).await?;
        let after = page.token.as_deref().map(page_name).transpose()?;
        let start = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (start, Bound::Unbounded);
        let mut ids = state.names.range::<_, LibraryName>(range).map(|(_, id)| id);
        let items: Vec<LibraryView> = ids
            .by_ref()
            .take(page.size)
            .filter_map(|id| state.libraries.get(id))
            .map(|state| LibraryView::from(&**state))
            .collect();
        let more = ids.next().is_some();
        let last = items.last().map(|view| view.library.name.as_str().to_owned());
        Ok(Page { items, next_token: last.filter(|_| more) })
    }

    /// Changes a library; the write is durable when this answers. `conflict` when `expected` is
    /// not its revision, `already-exists` when the new name is taken.
    pub async fn update_library(
        &self,
        library: &LibraryRef,
        patch: LibraryPatch,
        expected: Option<Revision>,
    ) -> Result<LibraryView> {
        patch.check(&self.inner.limits)?;
        let command =
            Command::UpdateLibrary { library: library.clone(), patch: Box::new(patch), expected };
        library_written(self.inner.write(command).await?)
    }

    /// Deletes a library with all that is in it; gives the revision of the deletion, which is
    /// durable then. `conflict` when `expected` is not its revision.
    pub async fn delete_library(
        &self,
        library: &LibraryRef,
        expected: Option<Revision>,
    ) -> Result<Revision> {
        let command = Command::DeleteLibrary { library: library.clone(), expected };
        revision_written(self.inner.write(command).await?)
    }

    /// What a library holds and costs.
    pub async fn library_statistics(
        &self,
        library: &LibraryRef,
        at: ReadAt,
    ) -> Result<LibraryStatistics> {
        let state = self.state_at(at).await?;
        let library = state.library(library)?;
        Ok(LibraryStatistics {
            library: library.library.clone(),
            counts: library.counts,
            segments: library.view.segments().len() as u64,
            tombstones: library.view.tombstones() as u64,
            index_bytes: library.view.bytes() as u64,
            revision: state.applied.revision,
        })
    }
}

fn page_name(token: &str) -> Result<LibraryName> {
    LibraryName::parse(token)
        .map_err(|_| Error::invalid("page_token", "is not a token that this server gave"))
}

/// The revision of a change that was written.
pub(super) fn revision_written(outcome: Outcome) -> Result<Revision> {
    match outcome {
        Outcome::Written { change, .. } => Ok(change.revision),
        Outcome::Exists(_) | Outcome::Remembered(..) => Err(unexpected()),
    }
}

/// The answer does not belong to the command.
pub(super) fn unexpected() -> Error {
    Error::internal("the writer gave an answer that does not belong to the command")
}

fn library_written(outcome: Outcome) -> Result<LibraryView> {
    let Outcome::Written { change, state } = outcome else { return Err(unexpected()) };
    match &change.kind {
        ChangeKind::LibraryCreated { library } => {
            Ok(LibraryView { library: library.clone(), counts: LibraryCounts::default() })
        }
        ChangeKind::LibraryUpdated { after, .. } => {
            let counts = state.libraries.get(&after.id).map(|state| state.counts);
            Ok(LibraryView { library: after.clone(), counts: counts.unwrap_or_default() })
        }
        ChangeKind::LibraryDeleted { .. }
        | ChangeKind::DocumentAdded { .. }
        | ChangeKind::DocumentUpdated { .. }
        | ChangeKind::DocumentDeleted { .. }
        | ChangeKind::BatchStarted
        | ChangeKind::BatchCompleted { .. }
        | ChangeKind::BatchFailed { .. }
        | ChangeKind::IndexRebuilt { .. }
        | ChangeKind::IndexOptimized { .. } => Err(unexpected()),
    }
}
