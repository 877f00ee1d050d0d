//! Texts on their way into text indexes: hides where they are read, which is not in the writer,
//! and which rows of a text index a change writes.
//!
//! What was read is not in the log: it is in the texts. Who applies a change without it, as
//! recovery does, reads them again.

use std::sync::Arc;

use rayon::prelude::*;

use super::Inner;
use crate::store::{DocumentKey, DocumentParts, StoreError, StoreSnapshot};
use crate::text::{QueryTerms, RowTerms, TextIndex};
use crate::types::{
    Change, ChangeKind, ChunkHead, Error, Library, LibraryId, Result, Revision, RowKey,
};

/// Whether a library has a text index: one whose clients bring vectors in place of texts has
/// none, and no cost of it.
pub(super) fn has_texts(library: &Library) -> bool {
    !library.embedder.is_none()
}

/// What a text index keeps of a chunk; `None` when the chunk itself says nothing: it is not in
/// the index then, whatever its title.
pub(super) fn read_chunk(title: &str, text: &str) -> Option<RowTerms> {
    let says_something = !text.trim().is_empty();
    says_something.then(|| RowTerms::of_chunk(title, text)).filter(|terms| !terms.is_empty())
}

/// What was read of chunks, by slot, before the change that writes them was made. It may lack
/// some of them.
pub(super) type ReadTerms = Vec<(u32, Option<RowTerms>)>;

/// The chunks of a document that is about to get another title, read with that.
#[derive(Debug)]
pub(super) struct Retitled {
    /// The document's key: another document under its id has other chunks.
    pub(super) created: Revision,
    pub(super) terms: ReadTerms,
}

/// Texts of so many bytes are read where they are: some hundred microseconds.
const INLINE_BYTES_MAX: usize = 8 << 10;

impl Inner {
    /// Reads chunks of a document with this title, in their order; nothing where the library has
    /// no text index.
    pub(super) async fn read_terms(
        &self,
        library: &Library,
        title: &str,
        texts: Vec<Arc<str>>,
    ) -> Result<Vec<Option<RowTerms>>> {
        if !has_texts(library) {
            return Ok(texts.iter().map(|_| None).collect());
        }
        let read = |title: &str, texts: Vec<Arc<str>>| {
            texts.iter().map(|text| read_chunk(title, text)).collect()
        };
        let bytes: usize = texts.iter().map(|text| title.len() + text.len()).sum();
        if bytes <= INLINE_BYTES_MAX {
            return Ok(read(title, texts));
        }
        let title = title.to_owned();
        let reading = tokio::task::spawn_blocking(move || read(&title, texts));
        reading.await.map_err(|_| Error::internal("reading the words of a text panicked"))
    }
}

impl Inner {
    /// Reads a query.
    pub(super) async fn read_query(&self, text: &str) -> Result<QueryTerms> {
        let most = self.limits.query_terms_max;
        if text.len() <= INLINE_BYTES_MAX {
            return Ok(QueryTerms::of(text, most));
        }
        let text = text.to_owned();
        let reading = tokio::task::spawn_blocking(move || QueryTerms::of(&text, most));
        reading.await.map_err(|_| Error::internal("reading the words of a query panicked"))
    }
}

impl Retitled {
    /// Reads a document's chunks with the title that it is about to get.
    pub(super) fn read(
        snapshot: &StoreSnapshot,
        key: DocumentKey,
        title: &str,
    ) -> Result<Option<Self>, StoreError> {
        let Some(document) = snapshot.document(key, false)? else { return Ok(None) };
        let chunks = document.chunks.iter();
        let terms = chunks.map(|chunk| (chunk.head.slot, read_chunk(title, &chunk.text)));
        Ok(Some(Self { created: key.created, terms: terms.collect() }))
    }
}

/// The rows that a change writes into its library's text index: those of the chunks that it adds,
/// and, as a title is read with each chunk, of all chunks where it changes the title. `snapshot` is
/// of the store with this change, or with later ones besides: what those removed is left out.
pub(super) fn rows_written(
    change: &Change,
    read: ReadTerms,
    snapshot: &StoreSnapshot,
) -> Result<Vec<(RowKey, RowTerms)>, StoreError> {
    let kind = &change.head.kind;
    let (document, chunks): (_, &[ChunkHead]) = match kind {
        ChangeKind::DocumentAdded { document, chunks } => (document, chunks),
        ChangeKind::DocumentUpdated { before, after, layout, .. }
            if before.title != after.title =>
        {
            (after, layout)
        }
        ChangeKind::DocumentUpdated { after, added, .. } => (after, added),
        ChangeKind::LibraryCreated { .. }
        | ChangeKind::LibraryUpdated { .. }
        | ChangeKind::LibraryDeleted { .. }
        | ChangeKind::DocumentDeleted { .. }
        | ChangeKind::BatchStarted
        | ChangeKind::BatchCompleted { .. }
        | ChangeKind::BatchFailed { .. }
        | ChangeKind::IndexRebuilt { .. }
        | ChangeKind::IndexOptimized { .. } => return Ok(Vec::new()),
    };
    let key = DocumentKey { library: change.head.library_id, created: document.created_revision };
    let mut read = read;
    read.sort_unstable_by_key(|(slot, _)| *slot);
    let mut rows = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let slot = chunk.slot;
        let terms = match read.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(place) => read[place].1.take(),
            Err(_) => {
                let added = kind.added_chunks().iter().position(|added| added.slot == slot);
                let text = match added {
                    Some(place) => Some(Arc::clone(&change.bodies[place].text)),
                    None => snapshot.text(key, slot)?,
                };
                text.and_then(|text| read_chunk(&document.title, &text))
            }
        };
        let row = RowKey { document: key.created.0, slot };
        rows.extend(terms.map(|terms| (row, terms)));
    }
    Ok(rows)
}

/// Chunks that are read side by side and added together when all texts are read.
const LOADED_CHUNKS: usize = 4_096;

/// Adds the chunks of one document, or puts them in the place of what there is of them; nothing
/// when it is gone.
pub(super) fn load_document(
    index: &mut TextIndex,
    snapshot: &StoreSnapshot,
    key: DocumentKey,
) -> Result<(), StoreError> {
    let Some(document) = snapshot.document(key, false)? else { return Ok(()) };
    let title = &document.head.title;
    let row = |slot| RowKey { document: key.created.0, slot };
    let chunks = document.chunks.iter();
    let rows: Vec<(RowKey, RowTerms)> = chunks
        .filter_map(|chunk| Some((row(chunk.head.slot), read_chunk(title, &chunk.text)?)))
        .collect();
    index.update(&[], &rows);
    Ok(())
}

/// Adds all chunks of a library. CPU-bound: some 20 µs a chunk of 100 words, on all cores.
pub(super) fn load_texts(
    index: &mut TextIndex,
    snapshot: &StoreSnapshot,
    library: LibraryId,
) -> Result<(), StoreError> {
    let mut waiting: Vec<(RowKey, Arc<str>, Arc<str>)> = Vec::new();
    let mut add = |waiting: &mut Vec<(RowKey, Arc<str>, Arc<str>)>| {
        let chunks = waiting.par_drain(..);
        let rows: Vec<(RowKey, RowTerms)> = chunks
            .filter_map(|(row, title, text)| Some((row, read_chunk(&title, &text)?)))
            .collect();
        index.update(&[], &rows);
    };
    let parts = DocumentParts { texts: true, vectors: false };
    for document in snapshot.documents(library, Revision::ZERO, parts) {
        let document = document?;
        let title: Arc<str> = document.head.title.into();
        let created = document.head.created_revision.0;
        for chunk in document.chunks {
            let row = RowKey { document: created, slot: chunk.head.slot };
            waiting.push((row, Arc::clone(&title), chunk.text));
        }
        if waiting.len() >= LOADED_CHUNKS {
            add(&mut waiting);
        }
    }
    add(&mut waiting);
    Ok(())
}
