//! Reading: consistent views of the store, point reads and scans on them.

use std::iter::Peekable;
use std::sync::Arc;

use fjall::{Guard, Iter, Keyspace, Readable, Snapshot};

use super::{
    Applied, DocumentKey, OpenBatch, Spaces, StoreError, StoredDocument, StoredRequest, codec, keys,
};
use crate::types::{
    BatchId, Chunk, Document, DocumentHead, DocumentId, Library, LibraryId, Revision, Vector,
};

/// A consistent view of everything committed before it was taken.
#[derive(Clone)]
pub struct StoreSnapshot {
    snapshot: Snapshot,
    spaces: Arc<Spaces>,
}

impl std::fmt::Debug for StoreSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreSnapshot").finish_non_exhaustive()
    }
}

impl StoreSnapshot {
    pub(super) fn new(snapshot: Snapshot, spaces: Arc<Spaces>) -> Self {
        Self { snapshot, spaces }
    }

    /// How far the log has been applied.
    pub fn applied(&self) -> Result<Applied, StoreError> {
        match self.snapshot.get(&self.spaces.meta, keys::APPLIED)? {
            None => Ok(Applied::default()),
            Some(bytes) => Applied::from_bytes(&bytes).ok_or(StoreError::Corrupt {
                what: "applied revision",
                why: "wrong length".to_owned(),
            }),
        }
    }

    /// All libraries.
    pub fn libraries(&self) -> Result<Vec<Library>, StoreError> {
        let values = self.snapshot.iter(&self.spaces.libraries);
        values.map(|guard| codec::decode("library", &guard.value()?)).collect()
    }

    /// All remembered requests, oldest first.
    pub fn requests(&self) -> Result<Vec<(Revision, StoredRequest)>, StoreError> {
        let pairs = self.snapshot.iter(&self.spaces.requests);
        pairs
            .map(|guard| {
                let (key, value) = guard.into_inner()?;
                let revision = keys::read_u64(&key).map(Revision).ok_or(StoreError::Corrupt {
                    what: "request key",
                    why: "wrong length".to_owned(),
                })?;
                Ok((revision, codec::decode("request", &value)?))
            })
            .collect()
    }

    /// All open batches.
    pub fn batches(&self) -> Result<Vec<(BatchId, OpenBatch)>, StoreError> {
        let pairs = self.snapshot.iter(&self.spaces.batches);
        pairs
            .map(|guard| {
                let (key, value) = guard.into_inner()?;
                let id = key.as_ref().try_into().map_err(|_| StoreError::Corrupt {
                    what: "batch key",
                    why: "wrong length".to_owned(),
                })?;
                Ok((BatchId::from_bytes(id), codec::decode("batch", &value)?))
            })
            .collect()
    }

    /// Where the document with this id lies, if there is one.
    pub fn find(
        &self,
        library: LibraryId,
        id: &DocumentId,
    ) -> Result<Option<DocumentKey>, StoreError> {
        let Some(bytes) = self.snapshot.get(&self.spaces.names, keys::name(library, id))? else {
            return Ok(None);
        };
        match keys::read_u64(&bytes) {
            Some(created) => Ok(Some(DocumentKey { library, created: Revision(created) })),
            None => {
                Err(StoreError::Corrupt { what: "document name", why: "wrong length".to_owned() })
            }
        }
    }

    /// A document without texts and vectors.
    pub fn stored_document(&self, key: DocumentKey) -> Result<Option<StoredDocument>, StoreError> {
        let bytes = self.snapshot.get(&self.spaces.documents, keys::document(key))?;
        bytes.map(|bytes| codec::decode_document(&bytes)).transpose()
    }

    /// A whole document.
    pub fn document(
        &self,
        key: DocumentKey,
        with_vectors: bool,
    ) -> Result<Option<Document>, StoreError> {
        let Some(stored) = self.stored_document(key)? else { return Ok(None) };
        let run = |space: &Keyspace| {
            let range = keys::chunk(key, 0)..=keys::chunk(key, u32::MAX);
            Run(KeyedIter(self.snapshot.range(space, range)).peekable())
        };
        let read_text = |bytes: &[u8]| codec::decode_text(bytes).map(Arc::<str>::from);
        let texts = run(&self.spaces.texts).of(key, read_text)?;
        let vectors = match with_vectors {
            true => Some(run(&self.spaces.vectors).of(key, read_vector)?),
            false => None,
        };
        assemble(stored, &texts, vectors.as_deref()).map(Some)
    }

    /// A chunk's text.
    pub fn text(&self, key: DocumentKey, slot: u32) -> Result<Option<Arc<str>>, StoreError> {
        let bytes = self.snapshot.get(&self.spaces.texts, keys::chunk(key, slot))?;
        bytes.map(|bytes| codec::decode_text(&bytes).map(Arc::from)).transpose()
    }

    /// A chunk's vector.
    pub fn vector(&self, key: DocumentKey, slot: u32) -> Result<Option<Vector>, StoreError> {
        let bytes = self.snapshot.get(&self.spaces.vectors, keys::chunk(key, slot))?;
        bytes.map(|bytes| read_vector(&bytes)).transpose()
    }

    /// All vectors of a library, by document and slot.
    #[must_use]
    pub fn vectors(&self, library: LibraryId) -> VectorScan {
        VectorScan(self.snapshot.prefix(&self.spaces.vectors, library.as_bytes()))
    }

    /// All documents of a library with the heads of their chunks, in the order of their creation.
    pub fn stored_documents(
        &self,
        library: LibraryId,
    ) -> impl Iterator<Item = Result<StoredDocument, StoreError>> + use<> {
        let documents = self.snapshot.prefix(&self.spaces.documents, library.as_bytes());
        documents.map(|guard| codec::decode_document(&guard.value()?))
    }

    /// Documents of a library in the order of their creation, those created after `after`.
    #[must_use]
    pub fn documents(
        &self,
        library: LibraryId,
        after: Revision,
        parts: DocumentParts,
    ) -> DocumentScan {
        let first = DocumentKey { library, created: after.next() };
        let last = DocumentKey { library, created: Revision(u64::MAX) };
        let chunks = |wanted: bool, space: &Keyspace| {
            let range = keys::chunk(first, 0)..=keys::chunk(last, u32::MAX);
            wanted.then(|| Run(KeyedIter(self.snapshot.range(space, range)).peekable()))
        };
        DocumentScan {
            documents: self
                .snapshot
                .range(&self.spaces.documents, keys::document(first)..=keys::document(last)),
            texts: chunks(parts.texts, &self.spaces.texts),
            vectors: chunks(parts.vectors, &self.spaces.vectors),
            library,
        }
    }
}

/// Which parts of documents a scan reads besides their heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DocumentParts {
    /// Chunks with their texts.
    pub texts: bool,
    /// The chunks' vectors too; has no effect without `texts`.
    pub vectors: bool,
}

fn read_vector(bytes: &[u8]) -> Result<Vector, StoreError> {
    Vector::from_bytes(bytes)
        .ok_or(StoreError::Corrupt { what: "vector", why: "wrong length".to_owned() })
}

/// All vectors of a library: (created revision, slot, vector).
pub struct VectorScan(Iter);

impl std::fmt::Debug for VectorScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorScan").finish_non_exhaustive()
    }
}

impl Iterator for VectorScan {
    type Item = Result<(Revision, u32, Vector), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = |guard: Guard| {
            let (key, value) = guard.into_inner()?;
            let (document, slot) = keys::read_chunk(&key)?;
            Ok((document.created, slot, read_vector(&value)?))
        };
        self.0.next().map(read)
    }
}

/// Documents in the order of their creation. Documents, texts and vectors are read side by side,
/// each in one pass.
pub struct DocumentScan {
    documents: Iter,
    texts: Option<Run>,
    vectors: Option<Run>,
    library: LibraryId,
}

impl std::fmt::Debug for DocumentScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DocumentScan").finish_non_exhaustive()
    }
}

impl Iterator for DocumentScan {
    type Item = Result<Document, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let guard = self.documents.next()?;
        Some(self.read(guard))
    }
}

impl DocumentScan {
    fn read(&mut self, guard: Guard) -> Result<Document, StoreError> {
        let (key, value) = guard.into_inner()?;
        let created = keys::read_document(&key)?.created;
        let Some(texts) = &mut self.texts else {
            let head: DocumentHead = codec::decode_document_head(&value)?;
            return Ok(Document { head, chunks: Vec::new() });
        };
        let stored = codec::decode_document(&value)?;
        let key = DocumentKey { library: self.library, created };
        let texts = texts.of(key, |bytes| codec::decode_text(bytes).map(Arc::<str>::from))?;
        let vectors = match &mut self.vectors {
            Some(vectors) => Some(vectors.of(key, read_vector)?),
            None => None,
        };
        assemble(stored, &texts, vectors.as_deref())
    }
}

/// Puts chunks, which lie by slot, into index order.
fn assemble(
    stored: StoredDocument,
    texts: &[(u32, Arc<str>)],
    vectors: Option<&[(u32, Vector)]>,
) -> Result<Document, StoreError> {
    fn of<T: Clone>(parts: &[(u32, T)], slot: u32, what: &'static str) -> Result<T, StoreError> {
        match parts.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(place) => Ok(parts[place].1.clone()),
            Err(_) => Err(StoreError::Corrupt { what, why: "missing".to_owned() }),
        }
    }
    let chunk = |head: crate::types::ChunkHead| {
        let text = of(texts, head.slot, "text")?;
        let vector = vectors.map(|vectors| of(vectors, head.slot, "vector")).transpose()?;
        Ok(Chunk { head, text, vector })
    };
    let chunks = stored.chunks.into_iter().map(chunk).collect::<Result<_, StoreError>>()?;
    Ok(Document { head: stored.head, chunks })
}

/// Chunks in key order, taken document by document.
struct Run(Peekable<KeyedIter>);

/// An iterator that reads each pair as it comes, so that it can be peeked at.
struct KeyedIter(Iter);

impl Iterator for KeyedIter {
    type Item = Result<(DocumentKey, u32, fjall::UserValue), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = |guard: Guard| {
            let (key, value) = guard.into_inner()?;
            let (document, slot) = keys::read_chunk(&key)?;
            Ok((document, slot, value))
        };
        self.0.next().map(read)
    }
}

impl Run {
    /// The parts of one document, by slot. Documents must be asked for in key order.
    fn of<T>(
        &mut self,
        key: DocumentKey,
        read: impl Fn(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Vec<(u32, T)>, StoreError> {
        let mut parts = Vec::new();
        let up_to = |item: &Result<(DocumentKey, u32, fjall::UserValue), StoreError>| {
            item.as_ref().map_or(true, |(document, ..)| *document <= key)
        };
        while let Some(item) = self.0.next_if(up_to) {
            let (document, slot, value) = item?;
            if document == key {
                parts.push((slot, read(&value)?));
            }
        }
        Ok(parts)
    }
}
