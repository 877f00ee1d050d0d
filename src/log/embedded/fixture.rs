//! A log as release 0.1 wrote it: it must open for ever, and say the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::executor::block_on;
use serde_json::json;

use super::*;
use crate::types::{
    BatchCounts, BatchFailure, BatchId, ChangeKind, ChunkBody, ChunkHead, ChunkId, DocumentHead,
    DocumentId, EmbedderRef, IndexType, Library, LibraryId, LibraryName, Metadata, Metric,
    RequestId, Vector,
};

/// The two epochs of the fixture: epochs are random, so the generator prints them.
const EPOCHS: [Epoch; 2] = [Epoch(0x6b05_7bf6_8688_267f), Epoch(0x6b05_7bf6_d9ee_b1e3)];

/// The first revision of the second epoch.
const SECOND_EPOCH_FIRST: u64 = 10;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log-v1")
}

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_micros((1_700_000_000 + seconds) * 1_000_000 + 123_456)
}

fn metadata(value: serde_json::Value) -> Metadata {
    let serde_json::Value::Object(object) = value else { panic!("an object") };
    Metadata::new("metadata", object, &Limits::default()).expect("valid")
}

fn library(name: &str, seconds: u64, revision: u64) -> Library {
    Library {
        id: LibraryId::from_bytes([0x11; 16]),
        name: LibraryName::parse(name).expect("valid"),
        description: "Lieder und Gedichte – 詩".to_owned(),
        metric: Metric::Dot,
        dimension: 3,
        embedder: EmbedderRef { id: "none".to_owned(), sha256: String::new() },
        index_type: IndexType::Flat,
        metadata: metadata(json!({"owner": "me", "size": 2.5, "nested": {"a": [1, null, true]}})),
        created_at: time(1),
        updated_at: time(seconds),
        revision: Revision(revision),
    }
}

fn document(title: &str, num_chunks: u32, seconds: u64, revision: u64) -> DocumentHead {
    DocumentHead {
        id: DocumentId::parse("shelf/7:a@b.c_d-e").expect("valid"),
        created_revision: Revision(2),
        title: title.to_owned(),
        author: "Анна".to_owned(),
        document_type: "poem".to_owned(),
        source_url: "https://example.org/7".to_owned(),
        tags: vec!["old".to_owned(), "täglich".to_owned()],
        metadata: metadata(json!({"year": 1820})),
        num_chunks,
        created_at: time(2),
        updated_at: time(seconds),
        revision: Revision(revision),
    }
}

fn chunk(id: u8, slot: u32, index: u32) -> ChunkHead {
    let metadata = metadata(json!({"line": slot}));
    ChunkHead { id: ChunkId::from_bytes([id; 16]), slot, index, metadata }
}

fn body(text: &str, numbers: [f32; 3]) -> ChunkBody {
    let vector = Vector::new("v", numbers.to_vec(), 3, Metric::Dot).expect("valid");
    ChunkBody { text: text.into(), vector }
}

/// What the fixture holds, as appended: one kind after the other.
fn expected() -> Vec<Vec<Change>> {
    let counts = BatchCounts { processed: 9, succeeded: 4, failed: 3, skipped: 2, chunks: 300 };
    let failed = |reason| ChangeKind::BatchFailed { counts, reason };
    let added = ChangeKind::DocumentAdded {
        document: document("Über allen Gipfeln", 2, 2, 2),
        chunks: vec![chunk(0xa0, 0, 0), chunk(0xa1, 1, 1)],
    };
    let added_bodies = vec![body("ist Ruh", [0.5, -1.0, 3.25]), body("", [f32::MIN_POSITIVE; 3])];
    let updated = ChangeKind::DocumentUpdated {
        before: document("Über allen Gipfeln", 2, 2, 2),
        after: document("Wandrers Nachtlied", 2, 4, 4),
        layout: vec![chunk(0xa1, 1, 0), chunk(0xa2, 2, 1)],
        next_slot: 3,
        removed: vec![chunk(0xa0, 0, 0)],
        added: vec![chunk(0xa2, 2, 1)],
    };
    let updated_bodies = vec![body("in allen Wipfeln", [1e-9, 1e9, -0.0])];
    let plain = |kind| (kind, Vec::new());
    let appends = vec![
        vec![plain(ChangeKind::LibraryCreated { library: library("poems", 1, 1) })],
        vec![(added, added_bodies), plain(ChangeKind::BatchStarted), (updated, updated_bodies)],
        vec![plain(ChangeKind::DocumentDeleted {
            before: document("Wandrers Nachtlied", 2, 4, 4),
            removed: vec![chunk(0xa1, 1, 0), chunk(0xa2, 2, 1)],
        })],
        vec![plain(ChangeKind::BatchCompleted { counts }), plain(failed(BatchFailure::Stalled))],
        vec![plain(failed(BatchFailure::ClientGone)), plain(failed(BatchFailure::Interrupted))],
        vec![plain(failed(BatchFailure::Other("no room".to_owned())))],
        vec![
            plain(ChangeKind::IndexRebuilt { index_type: IndexType::Hnsw }),
            plain(ChangeKind::IndexOptimized { segments_before: 300, segments_after: 1 }),
        ],
        vec![plain(ChangeKind::LibraryUpdated {
            before: library("poems", 1, 1),
            after: library("songs", 13, 13),
        })],
        vec![plain(ChangeKind::LibraryDeleted {
            before: library("songs", 13, 13),
            num_documents: 70_000,
            num_chunks: 5_000_000_000,
        })],
    ];
    number(appends)
}

/// Gives the changes their places: revisions from 1.
fn number(appends: Vec<Vec<(ChangeKind, Vec<ChunkBody>)>>) -> Vec<Vec<Change>> {
    let (mut revision, mut events_before) = (0, 0);
    let mut place = |(kind, bodies): (ChangeKind, Vec<ChunkBody>)| {
        revision += 1;
        let head = ChangeHead {
            epoch: EPOCHS[usize::from(revision >= SECOND_EPOCH_FIRST)],
            revision: Revision(revision),
            time: time(revision),
            events_before,
            library_id: LibraryId::from_bytes([0x11; 16]),
            batch_id: (revision % 2 == 0).then_some(BatchId::from_bytes([0x22; 16])),
            request_id: (revision % 3 == 0)
                .then(|| RequestId::parse(&format!("try-{revision}")).expect("valid")),
            kind,
        };
        events_before += u64::from(head.kind.num_events());
        Change { head, bodies }
    };
    appends.into_iter().map(|append| append.into_iter().map(&mut place).collect()).collect()
}

#[test]
fn a_log_of_format_1_opens_and_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(fixture()).expect("the fixture") {
        let path = entry.expect("listed").path();
        let name = path.file_name().expect("a name");
        std::fs::copy(&path, folder.path().join(name)).expect("copied");
    }
    let log = EmbeddedLog::open(folder.path(), EmbeddedOptions::default()).expect("opened");
    let expected: Vec<Change> = expected().into_iter().flatten().collect();
    assert_eq!(block_on(log.read_changes(Revision::ZERO, usize::MAX)), Ok(expected));
    let bounds = block_on(log.bounds()).expect("bounds");
    assert_eq!(
        bounds.epochs,
        [(EPOCHS[0], Revision(1)), (EPOCHS[1], Revision(SECOND_EPOCH_FIRST))],
        "it was closed cleanly: no new epoch"
    );
    assert_eq!((bounds.floor, bounds.end), (Revision(1), Revision(14)));
    assert_eq!((bounds.end_time, bounds.end_events), (time(14), 20));
    assert_eq!(block_on(log.seek(time(9))), Ok(Revision(8)));
}

/// What this release writes is what the fixture holds, byte for byte: a change of the format
/// needs a new version and a fixture of its own.
#[test]
fn format_1_is_still_written_the_same() {
    let mut written = Vec::new();
    for append in expected() {
        let start = written.len();
        for change in &append {
            codec::encode_change(change, &mut written).expect("small");
        }
        codec::mark_first_of_append(&mut written[start..]);
    }
    let mut pieces: Vec<_> = std::fs::read_dir(fixture())
        .expect("the fixture")
        .map(|entry| entry.expect("listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    pieces.sort();
    assert!(pieces.len() > 2, "several pieces");
    let stored: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| std::fs::read(piece).expect("read").split_off(HEADER_BYTES))
        .collect();
    assert!(stored == written, "the bytes of a record changed");
}

/// Generates it in a temporary folder, or anew in the repository with `ARRWDB_WRITE_FIXTURE=1`:
/// only for a new format version, with the printed epochs put into [`EPOCHS`].
#[test]
fn the_fixture_can_be_generated() {
    let temporary = tempfile::tempdir().expect("a folder");
    let anew = std::env::var_os("ARRWDB_WRITE_FIXTURE").is_some();
    let folder = if anew { fixture() } else { temporary.path().to_owned() };
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut options = EmbeddedOptions { piece_bytes_target: 700, ..Default::default() };
    let mut epochs = Vec::new();
    let open = |options| {
        EmbeddedLog::open_with(&folder, options, Arc::new(FaultyDisk::new())).expect("opened")
    };
    let mut log = open(options);
    for mut append in expected() {
        if append[0].head.revision == Revision(SECOND_EPOCH_FIRST) {
            drop(log);
            options.new_epoch = true;
            log = open(options);
        }
        let bounds = block_on(log.bounds()).expect("bounds");
        epochs = bounds.epochs.clone();
        for change in &mut append {
            change.head.epoch = bounds.epoch();
        }
        block_on(log.append(bounds.end, &append)).expect("appended");
    }
    block_on(log.close()).expect("closed");
    drop(log);
    std::fs::remove_file(folder.join("LOCK")).expect("removed");
    println!("{epochs:#x?}");
    assert_eq!(epochs.len(), 2);
    let log = EmbeddedLog::open(&folder, EmbeddedOptions::default()).expect("opened again");
    let kinds = |changes: Vec<Change>| changes.into_iter().map(|c| c.head.kind).collect::<Vec<_>>();
    let read = block_on(log.read_changes(Revision::ZERO, usize::MAX)).expect("readable");
    assert_eq!(kinds(read), kinds(expected().into_iter().flatten().collect()));
    drop(log);
    let _ = std::fs::remove_file(folder.join("LOCK"));
}
