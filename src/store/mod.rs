//! The embedded key-value store: the state that the log folds to, and how it lies on disk.
//!
//! Everything in it but the durable consumers can be made again from the log as far back as the log
//! reaches; it remembers the highest revision applied so that recovery applies only the rest.
//! Writes are therefore not synced one by one, but for those of `consumers`. One writer; any number
//! of readers on snapshots that never change.
//!
//! The key-value crate is named only in this folder.

mod codec;
mod consumers;
mod keys;
mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::types::{
    BatchId, ChunkHead, Consumer, DocumentHead, DocumentId, Library, LibraryId, RequestId,
    Revision, Timestamp, Vector,
};

use consumers::ConsumerSpace;
pub use consumers::ConsumerWrite;
pub use snapshot::{DocumentParts, DocumentScan, StoreSnapshot, VectorScan};

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "the folder {} is in use by another process: stop that one, or choose another data folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// The key-value store failed; it takes no more writes after a failed sync.
    #[error("store: {0}")]
    Engine(#[from] fjall::Error),
    /// Stored bytes do not say what they should.
    #[error("store: damaged {what}: {why}")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a release that this one does not know.
    #[error("store: format {0} is not known to this release; use a newer one")]
    Format(u64),
}

/// A document as it lies in the store: all but texts and vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDocument {
    /// What it is.
    pub head: DocumentHead,
    /// The slot that its next new chunk gets.
    pub next_slot: u32,
    /// Its chunks in index order.
    pub chunks: Vec<ChunkHead>,
}

/// Where a document lies: its library and the revision that created it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// Its library.
    pub library: LibraryId,
    /// The revision that created it.
    pub created: Revision,
}

/// What a remembered request made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredRequest {
    /// The client's name for it.
    pub request_id: RequestId,
    /// When it was done.
    pub time: Timestamp,
    /// The library that it made, or made something in.
    pub library_id: LibraryId,
    /// Whether it made a document (with this request's revision as its key).
    pub document: bool,
}

/// An ingest stream that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpenBatch {
    /// Its library.
    pub library_id: LibraryId,
    /// The revision of its start.
    pub started: Revision,
}

/// The on-disk format that this release writes.
const FORMAT: u64 = 1;

/// Block cache: hits of popular documents; the vectors live in the index, not here.
const CACHE_BYTES: u64 = 32 << 20;
/// Writes that one keyspace may hold in memory before it is flushed.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// The key-value store's own journal, which recovery replays: bounds the time of a start.
const JOURNAL_BYTES: u64 = 128 << 20;

/// The keyspaces, by what they hold. Key layouts are in `keys`, values in `codec`.
pub(crate) struct Spaces {
    meta: Keyspace,
    libraries: Keyspace,
    documents: Keyspace,
    names: Keyspace,
    texts: Keyspace,
    vectors: Keyspace,
    requests: Keyspace,
    batches: Keyspace,
    purges: Keyspace,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    spaces: Arc<Spaces>,
    consumers: ConsumerSpace,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in a folder of its own, creating it when it is empty.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()
            .map_err(|error| {
                if matches!(error, fjall::Error::Locked) {
                    return StoreError::InUse(folder.to_owned());
                }
                StoreError::Engine(error)
            })?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        // Numbers do not compress; saving the attempt is worth a tenth of an ingest.
        let plain = || {
            options().data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        };
        let spaces = Spaces {
            meta: database.keyspace("meta", options)?,
            libraries: database.keyspace("libraries", options)?,
            documents: database.keyspace("documents", options)?,
            names: database.keyspace("names", options)?,
            texts: database.keyspace("texts", options)?,
            vectors: database.keyspace("vectors", plain)?,
            requests: database.keyspace("requests", options)?,
            batches: database.keyspace("batches", options)?,
            purges: database.keyspace("purges", options)?,
        };
        let consumers = ConsumerSpace::open(folder)?;
        let store = Self { database, spaces: Arc::new(spaces), consumers };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.spaces.meta.get(keys::FORMAT)? {
            None => self.spaces.meta.insert(keys::FORMAT, FORMAT.to_be_bytes())?,
            Some(bytes) => match keys::read_u64(&bytes) {
                Some(FORMAT) => {}
                other => return Err(StoreError::Format(other.unwrap_or(0))),
            },
        }
        Ok(())
    }

    /// A consistent view of everything committed so far. Hold it only as long as it is read:
    /// it keeps what later writes replace.
    #[must_use]
    pub fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot::new(self.database.snapshot(), Arc::clone(&self.spaces))
    }

    /// A new, empty batch of writes.
    #[must_use]
    pub fn batch(&self) -> StoreBatch {
        // `Buffer` hands the batch to the operating system: without it a batch stays in this
        // process and a crash would make recovery read more of the log.
        let batch = self.database.batch().durability(Some(PersistMode::Buffer));
        StoreBatch { batch, spaces: Arc::clone(&self.spaces) }
    }

    /// Makes everything committed so far durable. Slow: one sync.
    pub fn persist(&self) -> Result<(), StoreError> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    /// Libraries that are gone but whose content still takes up space.
    pub fn purges(&self) -> Result<Vec<LibraryId>, StoreError> {
        let guards = self.spaces.purges.iter();
        guards.map(|guard| keys::read_library(&guard.key()?)).collect()
    }

    /// Frees up to `keys_max` keys of a library that is gone; whether all are free now. Safe to
    /// run beside the writer: nothing writes below a library that is gone.
    pub fn purge(&self, library: LibraryId, keys_max: usize) -> Result<bool, StoreError> {
        let spaces = &self.spaces;
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        let mut left = keys_max;
        for space in [&spaces.vectors, &spaces.texts, &spaces.names, &spaces.documents] {
            for guard in space.prefix(library.as_bytes()).take(left) {
                batch.remove(space, guard.key()?);
                left -= 1;
            }
        }
        let done = left > 0;
        if done {
            batch.remove(&spaces.purges, *library.as_bytes());
        }
        batch.commit()?;
        Ok(done)
    }

    /// All durable consumers, by name.
    pub fn consumers(&self) -> Result<Vec<Consumer>, StoreError> {
        self.consumers.read()
    }

    /// Puts and removes durable consumers, each at most once, all or none; durable when it
    /// answers. Slow: one sync, which nothing else waits for.
    pub fn write_consumers(&self, writes: &[ConsumerWrite]) -> Result<(), StoreError> {
        self.consumers.write(writes)
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.database.disk_space()?)
    }
}

/// Writes that take effect together. All are absolute: applying one twice is applying it once.
pub struct StoreBatch {
    batch: fjall::OwnedWriteBatch,
    spaces: Arc<Spaces>,
}

impl std::fmt::Debug for StoreBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreBatch").finish_non_exhaustive()
    }
}

impl StoreBatch {
    /// Remembers the highest revision applied, its time, and the events up to and including it.
    pub fn put_applied(&mut self, applied: Applied) {
        self.batch.insert(&self.spaces.meta, keys::APPLIED, applied.to_bytes());
    }

    /// Puts a library.
    pub fn put_library(&mut self, library: &Library) -> Result<(), StoreError> {
        let value = codec::encode("library", library)?;
        self.batch.insert(&self.spaces.libraries, *library.id.as_bytes(), value);
        Ok(())
    }

    /// Takes a library away and marks its content to be freed.
    pub fn remove_library(&mut self, library: LibraryId) {
        self.batch.remove(&self.spaces.libraries, *library.as_bytes());
        self.batch.insert(&self.spaces.purges, *library.as_bytes(), []);
    }

    /// Puts a document without its texts and vectors.
    pub fn put_document(
        &mut self,
        library: LibraryId,
        document: &StoredDocument,
    ) -> Result<(), StoreError> {
        let key = DocumentKey { library, created: document.head.created_revision };
        let value = codec::encode_document(document)?;
        self.batch.insert(&self.spaces.documents, keys::document(key), value);
        let name = keys::name(library, &document.head.id);
        self.batch.insert(&self.spaces.names, name, keys::revision(key.created));
        Ok(())
    }

    /// Takes a document away; its chunks go by [`StoreBatch::remove_chunk`].
    pub fn remove_document(&mut self, key: DocumentKey, id: &DocumentId) {
        self.batch.remove(&self.spaces.documents, keys::document(key));
        self.batch.remove(&self.spaces.names, keys::name(key.library, id));
    }

    /// Puts a chunk's text and vector.
    pub fn put_chunk(&mut self, document: DocumentKey, slot: u32, text: &str, vector: &Vector) {
        let key = keys::chunk(document, slot);
        self.batch.insert(&self.spaces.texts, key, codec::encode_text(text));
        self.batch.insert(&self.spaces.vectors, key, vector.to_bytes());
    }

    /// Takes a chunk's text and vector away.
    pub fn remove_chunk(&mut self, document: DocumentKey, slot: u32) {
        let key = keys::chunk(document, slot);
        self.batch.remove(&self.spaces.texts, key);
        self.batch.remove(&self.spaces.vectors, key);
    }

    /// Remembers a request by the revision that it made.
    pub fn put_request(
        &mut self,
        revision: Revision,
        request: &StoredRequest,
    ) -> Result<(), StoreError> {
        let value = codec::encode("request", request)?;
        self.batch.insert(&self.spaces.requests, keys::revision(revision), value);
        Ok(())
    }

    /// Forgets a request.
    pub fn remove_request(&mut self, revision: Revision) {
        self.batch.remove(&self.spaces.requests, keys::revision(revision));
    }

    /// Remembers a batch as open.
    pub fn put_batch(&mut self, id: BatchId, batch: &OpenBatch) -> Result<(), StoreError> {
        let value = codec::encode("batch", batch)?;
        self.batch.insert(&self.spaces.batches, *id.as_bytes(), value);
        Ok(())
    }

    /// Forgets an open batch.
    pub fn remove_batch(&mut self, id: BatchId) {
        self.batch.remove(&self.spaces.batches, *id.as_bytes());
    }

    /// Makes the writes take effect, all or none; visible in snapshots taken afterwards.
    pub fn commit(self) -> Result<(), StoreError> {
        Ok(self.batch.commit()?)
    }
}

/// How far the log has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// The highest revision applied.
    pub revision: Revision,
    /// Its time.
    pub time: Timestamp,
    /// Events up to and including it.
    pub events: u64,
}

impl Applied {
    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.revision.0.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.time.micros().to_be_bytes());
        bytes[16..].copy_from_slice(&self.events.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [a, b, c] = bytes.as_chunks::<8>().0 else { return None };
        Some(Self {
            revision: Revision(u64::from_be_bytes(*a)),
            time: Timestamp::from_micros(u64::from_be_bytes(*b)),
            events: u64::from_be_bytes(*c),
        })
    }
}

#[cfg(test)]
mod tests;
