//! Searches with filters against a naive reading of the whole library, while it changes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use crate::engine::search::{Hit, QueryBy, SearchQuery, SearchRequest};
use crate::engine::small::Small;
use crate::engine::{Engine, ReadAt};
use crate::types::filter::FieldsOf;
use crate::types::{
    Document, DocumentId, DocumentPatch, ErrorKind, Filter, FilterScope, LibraryRef, Limits,
    Metadata, Metric, NewChunk, NewContent, NewDocument, Result,
};

fn metadata(value: &serde_json::Value) -> Metadata {
    let object = value.as_object().expect("an object").clone();
    Metadata::new("metadata", object, &Limits::default()).expect("valid")
}

fn id(n: u32) -> DocumentId {
    DocumentId::parse(&format!("d{n}")).expect("valid")
}

/// A vector in this direction, in thousandths of a turn.
#[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
fn direction(angle: u32) -> Vec<f32> {
    let angle = f64::from(angle) / 1_000.0 * std::f64::consts::TAU;
    vec![angle.cos() as f32, angle.sin() as f32]
}

/// Chunks whose texts and metadata follow from their angles.
fn chunks(angles: &[u32]) -> NewContent {
    let chunk = |angle: &u32| NewChunk {
        text: format!("turn {angle}"),
        embedding: Some(direction(*angle)),
        metadata: match angle % 3 {
            0 => Metadata::default(),
            1 => metadata(&json!({"angle": angle})),
            _ => metadata(&json!({"angle": format!("{angle}")})),
        },
    };
    NewContent::Chunks(angles.iter().map(chunk).collect())
}

/// Metadata of which some is absent, of another type, or nested, as `n` goes.
fn some_metadata(n: u32) -> Metadata {
    metadata(&match n % 6 {
        0 => json!({}),
        1 => json!({"n": n, "kind": "even tempered"}),
        2 => json!({"n": format!("{n}"), "kind": "odd"}),
        3 => json!({"n": n, "list": ["a", n], "deep": {"on": true, "level": n}}),
        4 => json!({"n": null, "deep": {"on": false}}),
        _ => json!({"n": n, "list": [], "deep": 7}),
    })
}

fn request(filter: Option<&str>, embedding: Vec<f32>, k: usize) -> SearchRequest {
    let by = QueryBy::Embedding(embedding);
    SearchRequest {
        queries: vec![SearchQuery { k: Some(k), ..SearchQuery::new(by) }],
        listed: false,
        filter: filter.map(str::to_owned),
        include_text: true,
        exact: false,
        explain: false,
        by_document: false,
        k_max: 100_000,
        at: ReadAt::default(),
    }
}

async fn hits(engine: &Engine, library: &LibraryRef, request: SearchRequest) -> Result<Vec<Hit>> {
    let results = engine.search(library, request).await?;
    let total = results.totals()[0];
    results.hits(0, 0..total).await
}

async fn all(engine: &Engine, library: &LibraryRef) -> Vec<Document> {
    let mut export = engine.export(library, true, ReadAt::default()).await.expect("an export");
    let mut documents = Vec::new();
    while let Some(page) = export.next().await.expect("readable") {
        documents.extend(page);
    }
    documents
}

/// Distances of the chunks that a filter is true of, nearest first, and their ids.
fn naive(documents: &[Document], filter: &Filter, query: &[f32]) -> (Vec<f64>, BTreeSet<String>) {
    let (mut distances, mut ids) = (Vec::new(), BTreeSet::new());
    for document in documents {
        for chunk in &document.chunks {
            let fields = FieldsOf::document(&document.head);
            if filter.matches(&fields.with_chunk(&chunk.head, Some(&chunk.text))) {
                let vector = chunk.vector.as_ref().expect("asked for").as_slice();
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
                };
                let norms = (dot(vector, vector) * dot(query, query)).sqrt();
                distances.push(1.0 - dot(vector, query) / norms);
                ids.insert(chunk.head.id.to_string());
            }
        }
    }
    distances.sort_by(f64::total_cmp);
    (distances, ids)
}

/// Fails unless a search with this filter finds the nearest of what the filter is true of.
async fn check(small: &Small, documents: &[Document], text: &str, query: &[f32], k: usize) {
    let limits = Limits::default();
    let filter = Filter::parse(text, FilterScope::Search, &limits).expect("valid");
    let (distances, ids) = naive(documents, &filter, query);
    let request = request(Some(text), query.to_vec(), k);
    let found = hits(&small.engine, &small.library(), request).await.expect("found");
    assert_eq!(found.len(), k.min(ids.len()), "{text}");
    let mut seen = BTreeSet::new();
    for (hit, distance) in found.iter().zip(&distances) {
        let chunk = hit.chunk_id.to_string();
        assert!(ids.contains(&chunk), "{text} is not true of {hit:?}");
        assert!(seen.insert(chunk), "{text}: twice {hit:?}");
        assert!(
            (f64::from(hit.distance.expect("has one")) - distance).abs() < 1e-5,
            "{text}: {distance} {hit:?}"
        );
    }
}

#[derive(Debug, Clone)]
enum Op {
    Write(u32, Vec<u32>),
    Describe(u32, u32),
    Replace(u32, Vec<u32>),
    Delete(u32),
    Search(Vec<String>, u32, usize),
}

fn term() -> impl Strategy<Value = String> {
    let number = 0_u32..60;
    prop_oneof![
        number.clone().prop_map(|n| format!("document.metadata.n == {n}")),
        number.clone().prop_map(|n| format!("document.metadata.n < {n}")),
        number.clone().prop_map(|n| format!("!(document.metadata.n >= {n})")),
        Just("document.metadata.kind in [\"odd\", \"none\"]".to_owned()),
        Just("has(document.metadata.deep.on) && document.metadata.deep.on".to_owned()),
        Just("!document.metadata.deep.on".to_owned()),
        Just("\"a\" in document.metadata.list".to_owned()),
        Just("document.metadata.n == null".to_owned()),
        Just("size(document.metadata) > 2".to_owned()),
        number.clone().prop_map(|n| format!("document.id in [\"d{n}\", \"d1\", \"d2\"]")),
        number.clone().prop_map(|n| format!("document.title.contains(\"{n}\")")),
        Just("document.created_at < document.updated_at".to_owned()),
        Just("\"even\" in document.tags".to_owned()),
        Just("size(document.tags) == 0".to_owned()),
        Just("chunk.index == 0".to_owned()),
        (0_u32..1_000).prop_map(|n| format!("chunk.metadata.angle < {n}")),
        (0_u32..10).prop_map(|n| format!("chunk.text.contains(\"{n}\")")),
        number.prop_map(|n| format!("chunk.metadata.angle > document.metadata.n * {n}")),
        Just("has(chunk.metadata)".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    prop_oneof![
        term(),
        (term(), term()).prop_map(|(a, b)| format!("{a} && {b}")),
        (term(), term()).prop_map(|(a, b)| format!("{a} || {b}")),
        (term(), term(), term()).prop_map(|(a, b, c)| format!("({a} || !({b})) && {c}")),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let document = || 0_u32..30;
    let angles = || prop::collection::vec(0_u32..1_000, 1..5);
    let search = (prop::collection::vec(expression(), 1..4), 0_u32..1_000, 1_usize..40);
    prop_oneof![
        4 => (document(), angles()).prop_map(|(n, angles)| Op::Write(n, angles)),
        2 => (document(), 0_u32..60).prop_map(|(n, to)| Op::Describe(n, to)),
        2 => (document(), angles()).prop_map(|(n, angles)| Op::Replace(n, angles)),
        2 => document().prop_map(Op::Delete),
        3 => search.prop_map(|(filters, query, k)| Op::Search(filters, query, k)),
    ]
}

async fn perform(small: &Small, op: Op) {
    let (engine, library) = (&small.engine, small.library());
    let written = match op {
        Op::Write(n, angles) => {
            let document = NewDocument {
                id: Some(id(n)),
                metadata: some_metadata(n),
                tags: if n % 2 == 0 { vec!["even".to_owned()] } else { Vec::new() },
                content: chunks(&angles),
                content_field: "chunks",
                ..NewDocument::titled(format!("number {n}"), Vec::new())
            };
            engine.create_document(&library, document, None).await.map(|_| ())
        }
        Op::Describe(n, to) => {
            let metadata = Some(some_metadata(to));
            let patch = DocumentPatch { metadata, ..DocumentPatch::default() };
            engine.update_document(&library, &id(n), patch, None).await.map(|_| ())
        }
        Op::Replace(n, angles) => {
            let content = Some(("chunks", chunks(&angles)));
            let patch = DocumentPatch { content, ..DocumentPatch::default() };
            engine.update_document(&library, &id(n), patch, None).await.map(|_| ())
        }
        Op::Delete(n) => engine.delete_document(&library, &id(n), None).await.map(|_| ()),
        Op::Search(filters, query, k) => {
            let documents = all(engine, &library).await;
            for filter in filters {
                check(small, &documents, &filter, &direction(query), k).await;
            }
            Ok(())
        }
    };
    if let Err(error) = written {
        assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::AlreadyExists), "{error}");
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_filtered_search_is_the_search_of_what_the_filter_is_true_of(
        ops in prop::collection::vec(op(), 1..60),
        // Ample, little, and so little that nothing is kept but where terms are true.
        bytes_max in prop_oneof![Just(1_usize << 20), Just(3_000), Just(1)],
        last in (prop::collection::vec(expression(), 4), 0_u32..1_000),
    ) {
        block_on(async {
            let small = Small::open(|limits| limits.filter_memory_bytes_max = bytes_max).await;
            for op in ops {
                perform(&small, op).await;
            }
            let (filters, query) = last;
            perform(&small, Op::Search(filters.clone(), query, 1_000)).await;
            // After a restart the same holds of what recovery made.
            let small = small.reopen().await;
            perform(&small, Op::Search(filters, query, 1_000)).await;
            small.engine.close().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_share_of_the_rows_is_found_exactly_whether_or_not_it_lies_together() {
    let small = Small::open(|_| {}).await;
    let count: u32 = 3_000;
    for n in 0..count {
        // `near` follows the direction, `mixed` does not.
        let document = NewDocument {
            id: Some(id(n)),
            metadata: metadata(&json!({"near": n, "mixed": n * 7_919 % count})),
            content: chunks(&[n / 3, (n / 3 + 1) % 1_000]),
            content_field: "chunks",
            ..NewDocument::titled("t", Vec::new())
        };
        small.engine.create_document(&small.library(), document, None).await.expect("created");
    }
    for round in 0..2 {
        let documents = all(&small.engine, &small.library()).await;
        for share in [3_000, 1_500, 300, 30, 3] {
            for field in ["near", "mixed"] {
                let filter = format!("document.metadata.{field} < {share}");
                for (query, k) in [(0, 10), (500, 10), (500, 10_000)] {
                    check(&small, &documents, &filter, &direction(query), k).await;
                }
            }
        }
        if round == 0 {
            // More changes than are listed: the table is read again.
            for n in (0..count).step_by(2) {
                perform(&small, Op::Delete(n)).await;
            }
        }
    }
    small.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_are_of_one_state_while_writers_move_everything() {
    let small = Small::open(|_| {}).await;
    let (engine, library) = (small.engine.clone(), small.library());
    for n in 0..40 {
        perform(&small, Op::Write(n, vec![n])).await;
    }
    let side = |n: u32, turn: u32| (n + turn) % 2;
    let write = async |turn: u32| {
        for n in 0..40 {
            // What the filter sees and where the vector lies change together.
            let patch = DocumentPatch {
                metadata: Some(metadata(&json!({"side": side(n, turn)}))),
                content: Some(("chunks", chunks(&[side(n, turn) * 500 + n]))),
                ..DocumentPatch::default()
            };
            let updated = engine.update_document(&library, &id(n), patch, None).await;
            updated.expect("updated");
        }
    };
    write(0).await;
    let writer = async {
        for turn in 1..30 {
            write(turn).await;
        }
    };
    let done = std::sync::atomic::AtomicBool::new(false);
    let reader = async || {
        let mut searches = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) || searches < 20 {
            for of in [0_u32, 1] {
                let filter = format!("document.metadata.side == {of}");
                let ask = request(Some(&filter), direction(of * 500 + 20), 100);
                let found = hits(&small.engine, &small.library(), ask).await.expect("found");
                // One document at a time changes sides.
                assert!((19..=21).contains(&found.len()), "{} hits", found.len());
                for hit in &found {
                    assert_eq!(hit.metadata.to_map()["side"], json!(of));
                    // All of this side lie within a twentieth of a turn.
                    assert!(hit.distance < Some(0.05), "{hit:?}");
                }
                searches += 1;
            }
        }
    };
    let writing = async {
        writer.await;
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(writing, reader(), reader());
    small.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_one_request_have_filters_of_their_own() {
    let small = Small::open(|_| {}).await;
    for n in 0..10 {
        perform(&small, Op::Write(n, vec![n, n + 500])).await;
    }
    let one = |filter: Option<&str>| SearchQuery {
        k: Some(100),
        filter: filter.map(str::to_owned),
        ..SearchQuery::new(QueryBy::Embedding(direction(0)))
    };
    let ask = |filters: &[Option<&str>]| SearchRequest {
        queries: filters.iter().map(|filter| one(*filter)).collect(),
        listed: true,
        ..request(Some("document.id in [\"d1\", \"d2\", \"d3\"]"), direction(0), 1)
    };
    let (engine, library) = (&small.engine, small.library());
    let own = [None, Some("chunk.index == 0"), Some("false"), Some("true"), None];
    let results = engine.search(&library, ask(&own)).await.expect("found");
    assert_eq!(results.totals(), [6, 10, 0, 20, 6]);
    let near = SearchRequest {
        queries: vec![SearchQuery { distance_threshold: Some(0.5), ..one(None) }],
        ..ask(&[None])
    };
    assert_eq!(engine.search(&library, near).await.expect("found").totals(), [3]);
    let refused = |filter: &str| {
        let filters = [None, Some(filter)];
        let ask = ask(&filters);
        async { engine.search(&library, ask).await.expect_err("refused") }
    };
    for filter in
        ["document.titel == \"x\"", "event.type == \"x\"", "1 <", "size(chunk.index)", " "]
    {
        let error = refused(filter).await;
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{filter}: {error}");
        assert_eq!(error.violations[0].field, "queries[1].filter");
    }
    let long = format!("document.title == \"{}\"", "x".repeat(1_024));
    assert_eq!(refused(&long).await.kind, ErrorKind::TooLarge);
    let common = engine.search(&library, request(Some("x"), direction(0), 1)).await;
    assert_eq!(common.expect_err("refused").violations[0].field, "filter");
    small.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_stays_within_its_memory_whatever_is_asked() {
    let bytes_max = 60_000;
    let small = Small::open(|limits| limits.filter_memory_bytes_max = bytes_max).await;
    for n in 0..300 {
        perform(&small, Op::Write(n, vec![n])).await;
    }
    let documents = all(&small.engine, &small.library()).await;
    let kept = || -> Vec<usize> {
        let libraries = small.engine.inner.matches.libraries.lock().expect("no panic");
        let table = |entry: &std::sync::Arc<super::Entry>| {
            let table = entry.table.load_full().expect("read");
            let bytes = table.try_lock().expect("idle").bytes();
            assert_eq!(bytes, entry.bytes.load(std::sync::atomic::Ordering::Relaxed));
            bytes
        };
        libraries.values().map(table).collect()
    };
    for n in 0..100 {
        for filter in [
            format!("document.metadata.n == {n} || document.title == \"x\""),
            format!("chunk.text.contains(\"{n}\")"),
            format!("document.metadata.k{n} == 1"),
        ] {
            check(&small, &documents, &filter, &direction(n), 5).await;
            let kept = kept();
            assert!(kept.len() == 1 && kept[0] > 0 && kept[0] <= bytes_max, "{filter}: {kept:?}");
        }
    }
    // A second library drives the first one out, and the other way round.
    let other = crate::types::NewLibrary {
        embedder: "none".to_owned(),
        dimension: Some(2),
        metric: Metric::Cosine,
        ..crate::types::NewLibrary::named(crate::types::LibraryName::parse("other").expect("valid"))
    };
    small.engine.create_library(other, None).await.expect("created");
    let other: LibraryRef = "other".parse().expect("a name");
    let filter = request(Some("document.title != \"x\""), direction(0), 10);
    assert_eq!(hits(&small.engine, &other, filter.clone()).await.expect("found"), []);
    assert!(kept().iter().sum::<usize>() <= bytes_max);
    small.engine.delete_library(&other, None).await.expect("deleted");
    let gone = hits(&small.engine, &other, filter).await.expect_err("gone");
    assert_eq!(gone.kind, ErrorKind::NotFound);
    check(&small, &documents, "document.author == \"\" && chunk.index >= 0", &[1.0, 0.0], 5).await;
    assert_eq!(kept().len(), 1, "of a library that is gone nothing is kept");
    small.engine.close().await;
}
