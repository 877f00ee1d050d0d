//! Export: a consistent snapshot of a library, read page by page.

use std::sync::Arc;

use super::document::document_bytes;
use super::state::{LibraryState, Published};
use super::{Engine, ReadAt};
use crate::store::{DocumentParts, StoreError};
use crate::types::{Cursor, Document, Library, LibraryRef, Result, Revision};

/// Documents read at once, in bytes: large enough that seeking is cheap, small enough that many
/// exports fit into memory.
const PAGE_BYTES: usize = 1 << 20;
/// Documents read at once at most.
const PAGE_DOCUMENTS: usize = 1_024;

/// A snapshot of a library being read. Holds the snapshot; drop it to free it.
#[derive(Debug)]
pub struct Export {
    state: Arc<Published>,
    library: Arc<LibraryState>,
    cursor: Cursor,
    parts: DocumentParts,
    /// The last document read; `None` behind the end.
    after: Option<Revision>,
}

impl Export {
    /// The library as exported.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library.library
    }

    /// The revision of the snapshot.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state.applied.revision
    }

    /// Following the events from here gives exactly what came after the snapshot.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How many documents the snapshot has.
    #[must_use]
    pub fn total_documents(&self) -> u64 {
        self.library.counts.documents
    }

    /// The next documents with all their chunks, in the order of their creation; `None` behind
    /// the last. About a MiB at a time. Dropping the future loses nothing: the page is read
    /// again.
    pub async fn next(&mut self) -> Result<Option<Vec<Document>>> {
        let Some(after) = self.after else { return Ok(None) };
        let (state, library, parts) =
            (Arc::clone(&self.state), self.library.library.id, self.parts);
        let read = move || {
            let mut page: Vec<Document> = Vec::new();
            let mut bytes = 0;
            for document in state.snapshot.documents(library, after, parts) {
                let document = document?;
                bytes += document_bytes(&document);
                page.push(document);
                if bytes >= PAGE_BYTES || page.len() >= PAGE_DOCUMENTS {
                    break;
                }
            }
            Ok::<_, StoreError>(page)
        };
        let page = Engine::blocking(read).await?;
        self.after = page.last().map(|document| document.head.created_revision);
        Ok(self.after.map(|_| page))
    }
}

impl Engine {
    /// Takes a snapshot of a library; with `include_embeddings` its chunks carry vectors.
    /// `not-found` for an unknown library.
    pub async fn export(
        &self,
        library: &LibraryRef,
        include_embeddings: bool,
        at: ReadAt,
    ) -> Result<Export> {
        let state = self.state_at(at).await?;
        let library = Arc::clone(state.library(library)?);
        let cursor = self.cursor_after(state.applied.revision).await?;
        let parts = DocumentParts { texts: true, vectors: include_embeddings };
        Ok(Export { state, library, cursor, parts, after: Some(Revision::ZERO) })
    }
}
