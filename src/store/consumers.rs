//! Durable consumers: where they are kept.
//!
//! Unlike the rest of the store they cannot be made again from the log, and an acknowledgement is
//! promised to survive: so they lie in a database of their own, in a folder within the store's,
//! and every write to it is synced. That neither makes the writer wait behind that sync nor an
//! acknowledgement behind the syncing of documents.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use serde::{Deserialize, Serialize};

use super::{StoreError, codec};
use crate::types::{
    Consumer, ConsumerName, Cursor, Epoch, EventType, LibraryId, RequestId, Revision, Timestamp,
};

/// The folder within the store's.
const FOLDER: &str = "consumers";
/// They all fit into it many times over.
const CACHE_BYTES: u64 = 1 << 20;
/// Writes held in memory before they are flushed: a record is a few hundred bytes.
const MEMTABLE_BYTES: u64 = 1 << 20;
/// The least that the key-value store allows.
const JOURNAL_BYTES: u64 = 64 << 20;

/// A consumer put, or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerWrite {
    /// As it is now.
    Put(std::sync::Arc<Consumer>),
    /// It is gone.
    Remove(ConsumerName),
}

/// The database of the consumers.
#[derive(Clone)]
pub(super) struct ConsumerSpace {
    database: Database,
    consumers: Keyspace,
}

/// The durable form. Types are kept by name: that is what clients are promised about them.
#[derive(Serialize, Deserialize)]
struct Durable {
    name: ConsumerName,
    library: Option<LibraryId>,
    event_types: Vec<String>,
    filter: Option<String>,
    epoch: Epoch,
    revision: Revision,
    ordinal: u32,
    generation: u64,
    owner: String,
    paused: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
    request_id: Option<RequestId>,
}

impl ConsumerSpace {
    pub(super) fn open(store_folder: &Path) -> Result<Self, StoreError> {
        let database = Database::builder(store_folder.join(FOLDER))
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let consumers = database.keyspace("consumers", options)?;
        Ok(Self { database, consumers })
    }

    pub(super) fn read(&self) -> Result<Vec<Consumer>, StoreError> {
        self.consumers.iter().map(|guard| decode(&guard.value()?)).collect()
    }

    pub(super) fn write(&self, writes: &[ConsumerWrite]) -> Result<(), StoreError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for write in writes {
            match write {
                ConsumerWrite::Put(consumer) => {
                    batch.insert(&self.consumers, consumer.name.as_str(), encode(consumer)?);
                }
                ConsumerWrite::Remove(name) => batch.remove(&self.consumers, name.as_str()),
            }
        }
        Ok(batch.commit()?)
    }
}

fn encode(consumer: &Consumer) -> Result<Vec<u8>, StoreError> {
    let consumer = consumer.clone();
    let durable = Durable {
        name: consumer.name,
        library: consumer.library,
        event_types: consumer.event_types.iter().map(|kind| kind.name().to_owned()).collect(),
        filter: consumer.filter,
        epoch: consumer.cursor.epoch,
        revision: consumer.cursor.revision,
        ordinal: consumer.cursor.ordinal,
        generation: consumer.generation,
        owner: consumer.owner,
        paused: consumer.paused,
        created_at: consumer.created_at,
        updated_at: consumer.updated_at,
        request_id: consumer.request_id,
    };
    codec::encode("consumer", &durable)
}

fn decode(bytes: &[u8]) -> Result<Consumer, StoreError> {
    let durable: Durable = codec::decode("consumer", bytes)?;
    let event_types = durable.event_types.iter().map(|name| EventType::parse(name));
    let event_types = event_types
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::Corrupt { what: "consumer", why: error.detail })?;
    let (epoch, revision, ordinal) = (durable.epoch, durable.revision, durable.ordinal);
    Ok(Consumer {
        name: durable.name,
        library: durable.library,
        event_types,
        filter: durable.filter,
        cursor: Cursor { epoch, revision, ordinal },
        generation: durable.generation,
        owner: durable.owner,
        paused: durable.paused,
        created_at: durable.created_at,
        updated_at: durable.updated_at,
        request_id: durable.request_id,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn consumer(name: &str, generation: u64) -> Consumer {
        Consumer {
            name: ConsumerName::parse(name).expect("a name"),
            library: Some(LibraryId::generate()),
            event_types: vec![EventType::DocumentAdded, EventType::BatchFailed],
            filter: Some("event.type == \"document.added\"".to_owned()),
            cursor: Cursor { epoch: Epoch(7), revision: Revision(9), ordinal: 3 },
            generation,
            owner: "host-1".to_owned(),
            paused: true,
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(2),
            request_id: Some(RequestId::parse("r").expect("an id")),
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn consumers_are_there_after_a_restart_and_gone_when_removed() {
        let folder = tempfile::tempdir().expect("folder");
        let (a, b) = (consumer("a", 1), consumer("b/c", 2));
        let put = |one: &Consumer| ConsumerWrite::Put(Arc::new(one.clone()));
        {
            let space = ConsumerSpace::open(folder.path()).expect("opens");
            assert_eq!(space.read().expect("readable"), []);
            space.write(&[put(&consumer("a", 0)), put(&b)]).expect("written");
            space.write(&[put(&a)]).expect("written");
            assert_eq!(space.read().expect("readable"), [a.clone(), b.clone()]);
        }
        let space = ConsumerSpace::open(folder.path()).expect("opens");
        assert_eq!(space.read().expect("readable"), [a.clone(), b]);
        space.write(&[ConsumerWrite::Remove(a.name)]).expect("written");
        let names: Vec<_> = space.read().expect("readable").into_iter().map(|c| c.name).collect();
        assert_eq!(names, [ConsumerName::parse("b/c").expect("a name")]);
    }
}
