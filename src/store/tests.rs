//! What the store promises: formats, isolation, purges, scans.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::types::{
    ChunkId, Document, EmbedderRef, IndexType, LibraryName, Metadata, Metric, Vector,
};

struct Place {
    folder: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        Self { folder, store }
    }

    fn reopen(self) -> Result<Self, StoreError> {
        let Self { folder, store } = self;
        store.persist()?;
        drop(store);
        let store = Store::open(folder.path())?;
        Ok(Self { folder, store })
    }
}

fn library(number: u8) -> LibraryId {
    LibraryId::from_bytes([number; 16])
}

fn a_library(number: u8) -> Library {
    Library {
        id: library(number),
        name: LibraryName::parse(&format!("library {number}")).expect("valid"),
        description: String::new(),
        metric: Metric::L2,
        dimension: 2,
        embedder: EmbedderRef { id: "none".to_owned(), sha256: String::new() },
        index_type: IndexType::Auto,
        metadata: Metadata::default(),
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        revision: Revision(1),
    }
}

fn key(number: u8, created: u64) -> DocumentKey {
    DocumentKey { library: library(number), created: Revision(created) }
}

fn id(created: u64) -> DocumentId {
    DocumentId::parse(&format!("doc-{created}")).expect("valid")
}

fn vector(created: u64, slot: u32) -> Vector {
    let small = |number: u64| f32::from(u8::try_from(number % 251).expect("below 251"));
    let values = vec![small(created), small(slot.into())];
    Vector::new("v", values, 2, Metric::L2).expect("valid")
}

fn text(created: u64, slot: u32) -> String {
    format!("chunk {slot} of {created}")
}

/// A document whose chunks have these slots, in index order.
fn stored(created: u64, slots: &[u32]) -> StoredDocument {
    let chunk = |(index, slot): (u32, &u32)| ChunkHead {
        id: ChunkId::from_bytes([u8::try_from(slot % 251).expect("below 251"); 16]),
        slot: *slot,
        index,
        metadata: Metadata::default(),
    };
    StoredDocument {
        head: DocumentHead {
            id: id(created),
            created_revision: Revision(created),
            title: format!("document {created}"),
            author: String::new(),
            document_type: String::new(),
            source_url: String::new(),
            tags: Vec::new(),
            metadata: Metadata::default(),
            num_chunks: u32::try_from(slots.len()).expect("few"),
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            revision: Revision(created),
        },
        next_slot: slots.iter().max().map_or(0, |slot| slot.saturating_add(1)),
        chunks: (0..).zip(slots).map(chunk).collect(),
    }
}

fn put(batch: &mut StoreBatch, number: u8, created: u64, slots: &[u32]) {
    batch.put_document(library(number), &stored(created, slots)).expect("encodes");
    for slot in slots {
        let text = text(created, *slot);
        batch.put_chunk(key(number, created), *slot, &text, &vector(created, *slot));
    }
}

fn fill(store: &Store, write: impl FnOnce(&mut StoreBatch)) {
    let mut batch = store.batch();
    write(&mut batch);
    batch.commit().expect("committed");
}

const ALL: DocumentParts = DocumentParts { texts: true, vectors: true };

fn scan(store: &Store, number: u8, after: u64, parts: DocumentParts) -> Vec<Document> {
    let documents = store.snapshot().documents(library(number), Revision(after), parts);
    documents.collect::<Result<_, _>>().expect("readable")
}

/// Each chunk as (document, slot), checking that its text and vector are its own.
fn chunks(documents: &[Document]) -> Vec<(u64, u32)> {
    let of = |document: &Document| {
        let created = document.head.created_revision.0;
        let chunk = move |chunk: &crate::types::Chunk| {
            let slot = chunk.head.slot;
            assert_eq!(*chunk.text, *text(created, slot));
            assert_eq!(chunk.vector, Some(vector(created, slot)));
            (created, slot)
        };
        document.chunks.iter().map(chunk).collect::<Vec<_>>()
    };
    documents.iter().flat_map(of).collect()
}

#[test]
fn a_store_of_a_later_format_is_refused_by_its_number() {
    let place = Place::new();
    place.store.spaces.meta.insert(keys::FORMAT, 2u64.to_be_bytes()).expect("written");
    let error = place.reopen().map(|_| ()).expect_err("a later format");
    assert!(matches!(error, StoreError::Format(2)), "{error}");
}

#[test]
fn a_value_of_a_later_version_is_refused_by_its_number() {
    let place = Place::new();
    fill(&place.store, |batch| put(batch, 1, 1, &[0]));
    let (spaces, document) = (&place.store.spaces, key(1, 1));
    spaces.texts.insert(keys::chunk(document, 0), [9, b'x']).expect("written");
    spaces.documents.insert(keys::document(document), [7, 0, 0]).expect("written");
    let snapshot = place.store.snapshot();
    assert!(matches!(snapshot.text(document, 0), Err(StoreError::Format(9))));
    assert!(matches!(snapshot.stored_document(document), Err(StoreError::Format(7))));
}

#[test]
fn a_store_is_in_use_until_it_is_dropped() {
    let place = Place::new();
    let error = Store::open(place.folder.path()).map(|_| ()).expect_err("in use");
    assert!(matches!(&error, StoreError::InUse(folder) if folder == place.folder.path()));
    assert!(place.reopen().is_ok());
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let place = Place::new();
    let applied = Applied { revision: Revision(7), time: Timestamp::from_micros(5), events: 9 };
    let batch_id = BatchId::from_bytes([3; 16]);
    let open = OpenBatch { library_id: library(1), started: Revision(7) };
    fill(&place.store, |batch| {
        batch.put_library(&a_library(1)).expect("encodes");
        put(batch, 1, 7, &[0, 1]);
        batch.put_batch(batch_id, &open).expect("encodes");
        batch.put_applied(applied);
    });
    let place = place.reopen().expect("opens");
    let snapshot = place.store.snapshot();
    assert_eq!(snapshot.applied().expect("readable"), applied);
    assert_eq!(snapshot.libraries().expect("readable"), [a_library(1)]);
    assert_eq!(snapshot.batches().expect("readable"), [(batch_id, open)]);
    assert_eq!(snapshot.find(library(1), &id(7)).expect("readable"), Some(key(1, 7)));
    assert_eq!(chunks(&scan(&place.store, 1, 0, ALL)), [(7, 0), (7, 1)]);
}

#[test]
fn the_last_write_to_a_key_within_a_batch_is_the_one_that_counts() {
    let place = Place::new();
    fill(&place.store, |batch| {
        put(batch, 1, 1, &[0]);
        batch.remove_document(key(1, 1), &id(1));
        batch.remove_chunk(key(1, 1), 0);
        batch.remove_chunk(key(1, 2), 0);
        put(batch, 1, 2, &[0]);
        batch.put_document(library(1), &stored(3, &[0])).expect("encodes");
        batch.put_document(library(1), &stored(3, &[5])).expect("encodes");
        batch.put_chunk(key(1, 3), 5, "other", &vector(9, 9));
        batch.put_chunk(key(1, 3), 5, &text(3, 5), &vector(3, 5));
    });
    let expected = [(2, 0), (3, 5)];
    assert_eq!(chunks(&scan(&place.store, 1, 0, ALL)), expected);
    assert_eq!(place.store.snapshot().find(library(1), &id(1)).expect("readable"), None);
    let place = place.reopen().expect("opens");
    assert_eq!(chunks(&scan(&place.store, 1, 0, ALL)), expected);
}

#[test]
fn a_snapshot_never_changes() {
    let place = Place::new();
    fill(&place.store, |batch| {
        batch.put_library(&a_library(1)).expect("encodes");
        put(batch, 1, 1, &[0, 1]);
        put(batch, 1, 2, &[0]);
    });
    let before = place.store.snapshot();
    let mut scan_under_way = before.documents(library(1), Revision::ZERO, ALL);
    fill(&place.store, |batch| {
        batch.remove_library(library(1));
        batch.remove_document(key(1, 1), &id(1));
        batch.remove_chunk(key(1, 1), 1);
        put(batch, 1, 3, &[0]);
        batch.put_applied(Applied { revision: Revision(3), ..Applied::default() });
    });
    while !place.store.purge(library(1), 2).expect("purged") {}
    assert_eq!(before.applied().expect("readable"), Applied::default());
    assert_eq!(before.libraries().expect("readable").len(), 1);
    assert_eq!(before.find(library(1), &id(1)).expect("readable"), Some(key(1, 1)));
    assert_eq!(before.vectors(library(1)).count(), 3);
    let first = scan_under_way.next().expect("there").expect("readable");
    assert_eq!(chunks(&[first]), [(1, 0), (1, 1)]);
    let after = place.store.snapshot();
    assert_eq!(after.libraries().expect("readable"), []);
    assert_eq!(after.vectors(library(1)).count(), 0);
}

#[test]
fn a_purge_frees_one_library_a_little_at_a_time() {
    let place = Place::new();
    fill(&place.store, |batch| {
        for number in 1..=3 {
            batch.put_library(&a_library(number)).expect("encodes");
            for created in 1..=5 {
                put(batch, number, created, &[0, 2]);
            }
        }
    });
    fill(&place.store, |batch| batch.remove_library(library(2)));
    assert_eq!(place.store.purges().expect("readable"), [library(2)]);
    let place = place.reopen().expect("opens");
    assert_eq!(place.store.purges().expect("readable"), [library(2)]);
    // Ten vectors, ten texts, five names, five documents.
    let mut left = 30;
    while !place.store.purge(library(2), 7).expect("purged") {
        left -= 7;
        let snapshot = place.store.snapshot();
        let vectors = snapshot.vectors(library(2)).count();
        assert_eq!(vectors, usize::try_from(left - 20).unwrap_or(0));
    }
    assert_eq!(left, 2);
    assert_eq!(place.store.purges().expect("readable"), []);
    let spaces = &place.store.spaces;
    for space in [&spaces.documents, &spaces.names, &spaces.texts, &spaces.vectors] {
        assert_eq!(space.prefix(library(2).as_bytes()).count(), 0);
    }
    for number in [1, 3] {
        let documents = scan(&place.store, number, 0, ALL);
        assert_eq!((documents.len(), chunks(&documents).len()), (5, 10));
        assert!(place.store.snapshot().find(library(number), &id(5)).expect("read").is_some());
    }
}

#[test]
fn a_scan_steps_over_gaps_and_over_what_belongs_to_no_document() {
    let place = Place::new();
    fill(&place.store, |batch| {
        // Between its neighbours' keys, and with keys of its own at their edges.
        put(batch, 1, u64::MAX, &[u32::MAX]);
        put(batch, 3, 0, &[0]);
        put(batch, 2, 1, &[0]);
        put(batch, 2, 4, &[7, 2, 9]);
        put(batch, 2, 9, &[1]);
        for orphan in [key(2, 0), key(2, 2), key(2, 5), key(2, 40)] {
            batch.put_chunk(orphan, 3, "nobody's", &vector(0, 0));
        }
        // Left behind in a document's own range.
        batch.put_chunk(key(2, 4), 5, "removed", &vector(0, 0));
    });
    let all = scan(&place.store, 2, 0, ALL);
    assert_eq!(chunks(&all), [(1, 0), (4, 7), (4, 2), (4, 9), (9, 1)]);
    assert_eq!(chunks(&scan(&place.store, 2, 1, ALL)), [(4, 7), (4, 2), (4, 9), (9, 1)]);
    assert_eq!(chunks(&scan(&place.store, 2, 3, ALL)).len(), 4);
    assert_eq!(chunks(&scan(&place.store, 2, 4, ALL)), [(9, 1)]);
    assert_eq!(chunks(&scan(&place.store, 2, 9, ALL)), []);
    assert_eq!(chunks(&scan(&place.store, 4, 0, ALL)), []);
    for document in &all {
        let key = key(2, document.head.created_revision.0);
        let read = place.store.snapshot().document(key, true).expect("readable");
        assert_eq!(read.as_ref(), Some(document));
    }
}

#[test]
fn a_scan_reads_the_parts_that_were_asked_for() {
    let place = Place::new();
    fill(&place.store, |batch| put(batch, 1, 1, &[1, 0]));
    let heads = scan(&place.store, 1, 0, DocumentParts::default());
    assert_eq!((&heads[0].head, heads[0].chunks.len()), (&stored(1, &[1, 0]).head, 0));
    let texts = scan(&place.store, 1, 0, DocumentParts { texts: true, vectors: false });
    let shown: Vec<_> = texts[0].chunks.iter().map(|c| (&*c.text, c.vector.clone())).collect();
    assert_eq!(shown, [("chunk 1 of 1", None), ("chunk 0 of 1", None)]);
    let vectors = scan(&place.store, 1, 0, DocumentParts { texts: false, vectors: true });
    assert_eq!(vectors, heads);
}

#[test]
fn a_document_that_lost_a_part_is_damage_and_not_a_shorter_document() {
    let place = Place::new();
    fill(&place.store, |batch| {
        put(batch, 1, 1, &[0, 1]);
        put(batch, 1, 2, &[0]);
    });
    place.store.spaces.vectors.remove(keys::chunk(key(1, 1), 1)).expect("removed");
    let snapshot = place.store.snapshot();
    let damaged = |result| matches!(result, Err(StoreError::Corrupt { what: "vector", .. }));
    assert!(damaged(snapshot.document(key(1, 1), true)));
    assert!(snapshot.document(key(1, 1), false).is_ok());
    let mut scan = snapshot.documents(library(1), Revision::ZERO, ALL);
    assert!(damaged(scan.next().expect("there").map(Some)));
    // The next one is whole.
    assert_eq!(chunks(&[scan.next().expect("there").expect("readable")]), [(2, 0)]);
    assert!(scan.next().is_none());
}

#[test]
fn texts_survive_every_character() {
    let place = Place::new();
    let text = "\u{0}ß\u{10ffff}\n";
    fill(&place.store, |batch| batch.put_chunk(key(1, 1), 0, text, &vector(1, 0)));
    let read = place.store.snapshot().text(key(1, 1), 0).expect("readable");
    assert_eq!(read, Some(Arc::from(text)));
}
