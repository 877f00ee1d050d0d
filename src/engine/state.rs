//! The published state: what every read sees, immutable, replaced as a whole after each commit.

use std::sync::Arc;

use super::touched::Touched;
use crate::index::View;
use crate::store::{Applied, StoreSnapshot};
use crate::text::TextView;
use crate::types::{
    DocumentId, Error, Library, LibraryCounts, LibraryId, LibraryName, LibraryRef, Result,
};

/// One consistent state of the whole database.
#[derive(Debug, Clone)]
pub(super) struct Published {
    /// The revision that it is at.
    pub(super) applied: Applied,
    /// The store at that revision.
    pub(super) snapshot: StoreSnapshot,
    /// The libraries at that revision.
    pub(super) libraries: imbl::HashMap<LibraryId, Arc<LibraryState>>,
    /// Their names, in order.
    pub(super) names: imbl::OrdMap<LibraryName, LibraryId>,
}

/// One library at one revision.
#[derive(Debug, Clone)]
pub(super) struct LibraryState {
    pub(super) library: Library,
    pub(super) counts: LibraryCounts,
    pub(super) view: Arc<View>,
    /// Of the same rows as `view`, those whose chunks say something; empty where the library has
    /// no text index.
    pub(super) text: Arc<TextView>,
    /// Which documents the newest changes wrote.
    pub(super) touched: Touched,
}

impl Published {
    /// The library that a client points at; `not-found` otherwise.
    pub(super) fn library(&self, reference: &LibraryRef) -> Result<&Arc<LibraryState>> {
        let id = match reference {
            LibraryRef::Id(id) => Some(*id),
            LibraryRef::Name(name) => self.names.get(name).copied(),
        };
        id.and_then(|id| self.libraries.get(&id))
            .ok_or_else(|| Error::not_found(format!("there is no library {reference}")))
    }
}

/// `not-found` for a document.
pub(super) fn no_document(library: &Library, id: &DocumentId) -> Error {
    Error::not_found(format!("there is no document {id} in library {}", library.name))
}
