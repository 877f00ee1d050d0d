//! Proptest strategies for changes of every kind, for the tests of the codec and of the logs.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{
    BatchCounts, BatchFailure, BatchId, Change, ChangeHead, ChangeKind, ChunkBody, ChunkHead,
    ChunkId, DocumentHead, DocumentId, EmbedderRef, Epoch, IndexType, Library, LibraryId,
    LibraryName, Limits, Metadata, Metric, RequestId, Revision, Timestamp, Vector,
};

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_micros)
}

fn revision() -> impl Strategy<Value = Revision> {
    any::<u64>().prop_map(Revision)
}

fn library_id() -> impl Strategy<Value = LibraryId> {
    any::<[u8; 16]>().prop_map(LibraryId::from_bytes)
}

fn chunk_id() -> impl Strategy<Value = ChunkId> {
    any::<[u8; 16]>().prop_map(ChunkId::from_bytes)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    proptest::collection::btree_map("[a-z]{1,4}", value, 0..4).prop_map(|map| {
        let object: Map<String, Value> = map.into_iter().collect();
        Metadata::new("metadata", object, &Limits::default()).expect("small and flat")
    })
}

fn metric() -> impl Strategy<Value = Metric> {
    prop_oneof![Just(Metric::Cosine), Just(Metric::Dot), Just(Metric::L2)]
}

fn index_type() -> impl Strategy<Value = IndexType> {
    prop_oneof![Just(IndexType::Auto), Just(IndexType::Flat), Just(IndexType::Hnsw)]
}

fn library() -> impl Strategy<Value = Library> {
    let name = "[a-zäß][a-z 0-9]{0,20}x".prop_map(|text| LibraryName::parse(&text).expect("valid"));
    let fixed = (library_id(), name, metric(), 1..9000u32, index_type(), "[0-9a-f]{0,64}");
    let free = ("\\PC{0,40}", metadata(), timestamp(), timestamp(), revision());
    (fixed, free).prop_map(
        |(
            (id, name, metric, dimension, index_type, sha256),
            (description, metadata, created_at, updated_at, revision),
        )| Library {
            id,
            name,
            description,
            metric,
            dimension,
            embedder: EmbedderRef { id: "static".to_owned(), sha256 },
            index_type,
            metadata,
            created_at,
            updated_at,
            revision,
        },
    )
}

fn document_head() -> impl Strategy<Value = DocumentHead> {
    let id = "[A-Za-z0-9._:/@-]{1,128}".prop_map(|text| DocumentId::parse(&text).expect("valid"));
    let texts = ("\\PC{1,40}", "\\PC{0,20}", "\\PC{0,20}", "\\PC{0,20}", vec("\\PC{1,9}", 0..4));
    let rest = (metadata(), any::<u32>(), timestamp(), timestamp(), revision(), revision());
    (id, texts, rest).prop_map(
        |(
            id,
            (title, author, document_type, source_url, tags),
            (metadata, num_chunks, created_at, updated_at, created_revision, revision),
        )| DocumentHead {
            id,
            created_revision,
            title,
            author,
            document_type,
            source_url,
            tags,
            metadata,
            num_chunks,
            created_at,
            updated_at,
            revision,
        },
    )
}

fn chunk_head() -> impl Strategy<Value = ChunkHead> {
    (chunk_id(), any::<u32>(), any::<u32>(), metadata())
        .prop_map(|(id, slot, index, metadata)| ChunkHead { id, slot, index, metadata })
}

fn chunk_body() -> impl Strategy<Value = ChunkBody> {
    ("\\PC{0,60}", vec(-1e9f32..1e9, 0..20)).prop_map(|(text, values)| {
        let dimension = values.len();
        let vector = Vector::new("v", values, dimension, Metric::L2).expect("finite");
        ChunkBody { text: text.into(), vector }
    })
}

fn counts() -> impl Strategy<Value = BatchCounts> {
    any::<[u64; 5]>().prop_map(|[processed, succeeded, failed, skipped, chunks]| BatchCounts {
        processed,
        succeeded,
        failed,
        skipped,
        chunks,
    })
}

fn failure() -> impl Strategy<Value = BatchFailure> {
    prop_oneof![
        Just(BatchFailure::Interrupted),
        Just(BatchFailure::ClientGone),
        Just(BatchFailure::Stalled),
        "\\PC{0,30}".prop_map(BatchFailure::Other),
    ]
}

/// Every kind of change, not necessarily one that makes sense.
pub(crate) fn kind() -> impl Strategy<Value = ChangeKind> {
    let chunks = || vec(chunk_head(), 0..4);
    prop_oneof![
        library().prop_map(|library| ChangeKind::LibraryCreated { library }),
        (library(), library())
            .prop_map(|(before, after)| ChangeKind::LibraryUpdated { before, after }),
        (library(), any::<u64>(), any::<u64>()).prop_map(|(before, num_documents, num_chunks)| {
            ChangeKind::LibraryDeleted { before, num_documents, num_chunks }
        }),
        (document_head(), chunks())
            .prop_map(|(document, chunks)| ChangeKind::DocumentAdded { document, chunks }),
        (document_head(), document_head(), chunks(), any::<u32>(), chunks(), chunks()).prop_map(
            |(before, after, layout, next_slot, removed, added)| ChangeKind::DocumentUpdated {
                before,
                after,
                layout,
                next_slot,
                removed,
                added,
            }
        ),
        (document_head(), chunks())
            .prop_map(|(before, removed)| ChangeKind::DocumentDeleted { before, removed }),
        Just(ChangeKind::BatchStarted),
        counts().prop_map(|counts| ChangeKind::BatchCompleted { counts }),
        (counts(), failure())
            .prop_map(|(counts, reason)| ChangeKind::BatchFailed { counts, reason }),
        index_type().prop_map(|index_type| ChangeKind::IndexRebuilt { index_type }),
        any::<(u32, u32)>().prop_map(|(segments_before, segments_after)| {
            ChangeKind::IndexOptimized { segments_before, segments_after }
        }),
    ]
}

/// Any change whose bodies fit its head.
pub(crate) fn change() -> impl Strategy<Value = Change> {
    let place = (any::<u64>(), revision(), timestamp(), any::<u64>());
    let batch = option::of(any::<[u8; 16]>().prop_map(BatchId::from_bytes));
    let request =
        option::of("[!-~]{1,128}".prop_map(|text| RequestId::parse(&text).expect("valid")));
    (place, library_id(), batch, request, kind(), vec(chunk_body(), 4)).prop_map(
        |(
            (epoch, revision, time, events_before),
            library_id,
            batch_id,
            request_id,
            kind,
            mut bodies,
        )| {
            bodies.truncate(kind.added_chunks().len());
            let head = ChangeHead {
                epoch: Epoch(epoch),
                revision,
                time,
                events_before,
                library_id,
                batch_id,
                request_id,
                kind,
            };
            Change { head, bodies }
        },
    )
}
