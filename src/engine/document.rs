//! Document verbs.

use std::sync::Arc;

use super::library::{revision_written, unexpected};
use super::state::{Published, no_document};
use super::terms::{Retitled, has_texts};
use super::writer::{Command, Outcome};
use super::{Engine, Inner, ReadAt};
use crate::store::{DocumentKey, DocumentParts, StoreError};
use crate::text::RowTerms;
use crate::types::{
    ChangeHead, ChangeKind, Chunk, Document, DocumentId, DocumentPatch, Error, ErrorKind, Library,
    LibraryId, LibraryRef, Metadata, NewDocument, OnConflict, Page, PageRequest, RequestId, Result,
    Revision, Vector,
};

/// What a batch get found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundDocuments {
    /// Those that exist, in the order asked for.
    pub documents: Vec<Document>,
    /// The ids that do not, in the order asked for.
    pub missing: Vec<DocumentId>,
}

/// A chunk with its vector, ready to be written.
#[derive(Debug, Clone)]
pub(super) struct PreparedChunk {
    pub(super) text: Arc<str>,
    pub(super) vector: Vector,
    pub(super) metadata: Metadata,
    /// What the text index keeps of it under its document's title; `None`: nothing.
    pub(super) terms: Option<RowTerms>,
}

/// A document's own fields, checked.
#[derive(Debug, Clone)]
pub(super) struct DocumentFields {
    pub(super) id: Option<DocumentId>,
    pub(super) title: String,
    pub(super) author: String,
    pub(super) document_type: String,
    pub(super) source_url: String,
    pub(super) tags: Vec<String>,
    pub(super) metadata: Metadata,
}

/// A document, split and embedded, ready to be written.
#[derive(Debug)]
pub(super) struct PreparedDocument {
    pub(super) fields: DocumentFields,
    pub(super) chunks: Vec<PreparedChunk>,
}

/// A patch, its content split and embedded.
#[derive(Debug)]
pub(super) struct PreparedPatch {
    pub(super) title: Option<String>,
    pub(super) author: Option<String>,
    pub(super) document_type: Option<String>,
    pub(super) source_url: Option<String>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) metadata: Option<Metadata>,
    pub(super) chunks: Option<Vec<PreparedChunk>>,
    /// The title that the chunks were read under.
    pub(super) read_title: String,
    /// The chunks that there are, read under the new title, where only that changes.
    pub(super) retitled: Option<Retitled>,
}

impl Inner {
    /// Checks, splits and embeds a document.
    pub(super) async fn prepare(
        &self,
        library: &Library,
        new: NewDocument,
    ) -> Result<PreparedDocument> {
        new.check(&self.limits)?;
        let chunks =
            self.prepare_content(library, &new.title, new.content_field, new.content).await?;
        let fields = DocumentFields {
            id: new.id,
            title: new.title,
            author: new.author,
            document_type: new.document_type,
            source_url: new.source_url,
            tags: new.tags,
            metadata: new.metadata,
        };
        Ok(PreparedDocument { fields, chunks })
    }
}

impl Engine {
    /// Creates a document; it is durable and searchable when this answers. `already-exists` when
    /// its id is taken. With a `request_id` that made a document before, gives that document as
    /// it is now.
    pub async fn create_document(
        &self,
        library: &LibraryRef,
        new: NewDocument,
        request_id: Option<RequestId>,
    ) -> Result<Document> {
        let state = self.state_at(ReadAt::default()).await?;
        let library = state.library(library)?.library.clone();
        let document = self.inner.prepare(&library, new).await?;
        let texts: Vec<_> = document.chunks.iter().map(|chunk| Arc::clone(&chunk.text)).collect();
        let command = Command::WriteDocument {
            library: library.id,
            document: Box::new(document),
            on_conflict: OnConflict::Fail,
            batch_id: None,
            request_id,
        };
        match self.inner.write(command).await? {
            Outcome::Written { change, .. } => document_added(&change, texts),
            Outcome::Remembered(revision, request) => {
                let key = DocumentKey { library: request.library_id, created: revision };
                let at = ReadAt { min_revision: Some(revision), timeout: None };
                let state = self.state_at(at).await?;
                let read = move || state.snapshot.document(key, false);
                Self::blocking(read).await?.ok_or_else(|| {
                    let id = &request.request_id;
                    let detail = format!("request {id} made a document that is deleted since");
                    Error::new(ErrorKind::FailedPrecondition, detail)
                })
            }
            Outcome::Exists(_) => Err(unexpected()),
        }
    }

    /// Reads a document with its chunks, without vectors; `not-found` when there is none.
    pub async fn get_document(
        &self,
        library: &LibraryRef,
        id: &DocumentId,
        at: ReadAt,
    ) -> Result<Document> {
        let state = self.state_at(at).await?;
        let library = state.library(library)?.library.clone();
        let (library_id, wanted) = (library.id, id.clone());
        let found = Self::blocking(move || read_document(&state, library_id, &wanted)).await?;
        found.ok_or_else(|| no_document(&library, id))
    }

    /// Reads several documents with their chunks, without vectors, at one revision.
    /// `too-large` for more than `limits.batch_get_documents_max`, and when they are more than
    /// `limits.message_bytes_max` together.
    pub async fn batch_get_documents(
        &self,
        library: &LibraryRef,
        ids: &[DocumentId],
        at: ReadAt,
    ) -> Result<FoundDocuments> {
        let most = self.inner.limits.batch_get_documents_max;
        if ids.len() > most {
            let detail =
                format!("has {} items; at most {most} (batch_get_documents_max)", ids.len());
            return Err(Error::too_large("document_ids", detail));
        }
        let state = self.state_at(at).await?;
        let library = state.library(library)?.library.id;
        let (ids, bytes_max) = (ids.to_vec(), self.inner.limits.message_bytes_max);
        let read = move || {
            let mut found = FoundDocuments { documents: Vec::new(), missing: Vec::new() };
            let mut bytes = 0;
            for id in ids {
                match read_document(&state, library, &id)? {
                    Some(document) => {
                        bytes += document_bytes(&document);
                        found.documents.push(document);
                    }
                    None => found.missing.push(id),
                }
                if bytes > bytes_max {
                    return Ok(None);
                }
            }
            Ok(Some(found))
        };
        Self::blocking(read).await?.ok_or_else(|| {
            let detail = format!("together are more than {bytes_max} bytes (message_bytes_max)");
            Error::too_large("document_ids", detail)
        })
    }

    /// Lists documents in the order of their creation, with their chunks when asked for
    /// (otherwise `chunks` is empty). A page ends early rather than grow beyond
    /// `limits.reply_bytes_target`.
    pub async fn list_documents(
        &self,
        library: &LibraryRef,
        page: PageRequest,
        include_chunks: bool,
        at: ReadAt,
    ) -> Result<Page<Document>> {
        let state = self.state_at(at).await?;
        let library = state.library(library)?.library.id;
        let after = match page.token.as_deref() {
            None => Revision::ZERO,
            Some(token) => token.parse().map(Revision).map_err(|_| {
                Error::invalid("page_token", "is not a token that this server gave")
            })?,
        };
        let bytes_target = self.inner.limits.reply_bytes_target;
        let parts = DocumentParts { texts: include_chunks, vectors: false };
        let read = move || {
            let mut items: Vec<Document> = Vec::new();
            let mut bytes = 0;
            for document in state.snapshot.documents(library, after, parts) {
                let document = document?;
                bytes += document_bytes(&document);
                if items.len() == page.size || (!items.is_empty() && bytes > bytes_target) {
                    let last = items.last().map(|last| last.head.created_revision.to_string());
                    return Ok(Page { items, next_token: last });
                }
                items.push(document);
            }
            Ok(Page { items, next_token: None })
        };
        Self::blocking(read).await
    }

    /// Changes a document; the write is durable and searchable when this answers. `conflict`
    /// when `expected` is not its revision.
    pub async fn update_document(
        &self,
        library: &LibraryRef,
        id: &DocumentId,
        patch: DocumentPatch,
        expected: Option<Revision>,
    ) -> Result<Document> {
        patch.check(&self.inner.limits)?;
        let state = self.state_at(ReadAt::default()).await?;
        let library = state.library(library)?.library.clone();
        let has_content = patch.content.is_some();
        let (read_title, retitled) = match (&patch.title, has_content) {
            _ if !has_texts(&library) => (String::new(), None),
            (Some(title), true) => (title.clone(), None),
            (None, false) => (String::new(), None),
            (Some(title), false) => {
                let (state, library, id, title) = (state, library.id, id.clone(), title.clone());
                let read = move || read_retitled(&state, library, &id, &title);
                (String::new(), Self::blocking(read).await?)
            }
            (None, true) => {
                let (state, library, id) = (state, library.id, id.clone());
                let title = Self::blocking(move || title_of(&state, library, &id)).await?;
                (title.unwrap_or_default(), None)
            }
        };
        let chunks = match patch.content {
            None => None,
            Some((field, content)) => {
                let prepared = self.inner.prepare_content(&library, &read_title, field, content);
                Some(prepared.await?)
            }
        };
        let patch = Box::new(PreparedPatch {
            title: patch.title,
            author: patch.author,
            document_type: patch.document_type,
            source_url: patch.source_url,
            tags: patch.tags,
            metadata: patch.metadata,
            chunks,
            read_title,
            retitled,
        });
        let command =
            Command::UpdateDocument { library: library.id, id: id.clone(), patch, expected };
        match self.inner.write(command).await? {
            Outcome::Written { change, state } => {
                Self::blocking(move || document_updated(&change, &state)).await
            }
            Outcome::Exists(_) | Outcome::Remembered(..) => Err(unexpected()),
        }
    }

    /// Deletes a document; gives the revision of the deletion, which is durable then.
    /// `conflict` when `expected` is not its revision.
    pub async fn delete_document(
        &self,
        library: &LibraryRef,
        id: &DocumentId,
        expected: Option<Revision>,
    ) -> Result<Revision> {
        let state = self.state_at(ReadAt::default()).await?;
        let library = state.library(library)?.library.id;
        let command = Command::DeleteDocument { library, id: id.clone(), expected };
        revision_written(self.inner.write(command).await?)
    }
}

fn read_document(
    state: &Published,
    library: crate::types::LibraryId,
    id: &DocumentId,
) -> Result<Option<Document>, StoreError> {
    match state.snapshot.find(library, id)? {
        Some(key) => state.snapshot.document(key, false),
        None => Ok(None),
    }
}

fn read_retitled(
    state: &Published,
    library: LibraryId,
    id: &DocumentId,
    title: &str,
) -> Result<Option<Retitled>, StoreError> {
    let Some(key) = state.snapshot.find(library, id)? else { return Ok(None) };
    Retitled::read(&state.snapshot, key, title)
}

fn title_of(
    state: &Published,
    library: LibraryId,
    id: &DocumentId,
) -> Result<Option<String>, StoreError> {
    let Some(key) = state.snapshot.find(library, id)? else { return Ok(None) };
    Ok(state.snapshot.stored_document(key)?.map(|stored| stored.head.title))
}

/// About how many bytes a document takes in a reply.
pub(super) fn document_bytes(document: &Document) -> usize {
    let chunk = |chunk: &Chunk| {
        let vector = chunk.vector.as_ref().map_or(0, |vector| 4 * vector.as_slice().len());
        chunk.text.len() + chunk.head.metadata.message_bytes() + vector + 80
    };
    let head = &document.head;
    let tags: usize = head.tags.iter().map(|tag| tag.len() + 4).sum();
    512 + head.title.len()
        + head.author.len()
        + head.source_url.len()
        + head.metadata.message_bytes()
        + tags
        + document.chunks.iter().map(chunk).sum::<usize>()
}

fn document_added(change: &ChangeHead, texts: Vec<Arc<str>>) -> Result<Document> {
    let ChangeKind::DocumentAdded { document, chunks } = &change.kind else {
        return Err(unexpected());
    };
    let chunks = chunks
        .iter()
        .zip(texts)
        .map(|(head, text)| Chunk { head: head.clone(), text, vector: None })
        .collect();
    Ok(Document { head: document.clone(), chunks })
}

/// The document as this change left it. Texts come from the state after its commit; no other
/// change of that commit touched it.
fn document_updated(change: &ChangeHead, state: &Published) -> Result<Document, StoreError> {
    let ChangeKind::DocumentUpdated { after, layout, .. } = &change.kind else {
        return Err(StoreError::Corrupt {
            what: "answer of the writer",
            why: "it does not belong to the command".to_owned(),
        });
    };
    let key = DocumentKey { library: change.library_id, created: after.created_revision };
    let chunk = |head: &crate::types::ChunkHead| {
        let text = state.snapshot.text(key, head.slot)?.unwrap_or_default();
        Ok(Chunk { head: head.clone(), text, vector: None })
    };
    let chunks = layout.iter().map(chunk).collect::<Result<_, StoreError>>()?;
    Ok(Document { head: after.clone(), chunks })
}
