//! The memory of the indexes: vectors that go to disk and come back, whatever becomes of their
//! files, and what is refused when there is no more memory.

use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::grpc_wire::Grpc;
use crate::harness::{Process, Server, eventually};
use crate::wire::{Http, Outcome, Wire, ndjson};

const DIMENSION: usize = 16;
/// More than a block of those that are full, and some more.
const ROWS: usize = 9_000;

/// Vectors go to disk as soon as a block is full; graphs as soon as there are some thousand rows.
const SOON: [&str; 8] = [
    "--limit",
    "index_file_rows_min=1",
    "--limit",
    "index_graph_rows_min=8000",
    "--limit",
    "index_settle_ms=100",
    "--limit",
    "index_look_ms=20",
];

fn documents(from: usize, count: usize) -> Vec<Value> {
    let document = |n: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(n as u64);
        let vector: Vec<f32> = (0..DIMENSION).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
        json!({"id": format!("d{n}"), "title": "t", "chunks": [{"embedding": vector}]})
    };
    (from..from + count).map(document).collect()
}

async fn fill(http: &Http, library: &str, documents: &[Value]) {
    let lines = http.ingest(library, "?report=summary", ndjson(documents)).await.lines();
    assert_eq!(lines.last().expect("a summary")["total_failed"], 0, "{lines:?}");
}

/// The ids and distances of exact searches.
async fn answers(http: &Http, library: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for document in documents(1_000_000, 20) {
        let embedding = &document["chunks"][0]["embedding"];
        let query = json!({"embedding": embedding, "k": 50, "exact": true});
        let found = http.search(library, query).await.expect("hits");
        let hits = found["results"].as_array().expect("hits").iter();
        all.extend(hits.map(|hit| json!([hit["document_id"], hit["distance"]])));
    }
    assert_eq!(all.len(), 20 * 50);
    all
}

async fn index_bytes(http: &Http, library: &str) -> u64 {
    http.index(library, None).await.expect("statistics")["index_bytes"].as_u64().expect("a number")
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join("index")).expect("a folder");
    let files = files.map(|file| file.expect("readable").path());
    files.filter(|path| path.extension().is_some_and(|of| of == "segment")).collect()
}

fn start(folder: &Path, extra: &[&str]) -> (Process, Http) {
    let extra: Vec<&str> = SOON.iter().chain(extra).copied().collect();
    let server = tokio::task::block_in_place(|| Process::start(folder, &extra));
    let http = Http::at(server.url(""));
    (server, http)
}

fn kill(server: Process) {
    tokio::task::block_in_place(|| server.kill());
}

/// Waits until there is a graph over nearly all, in one file, of which the vectors are on disk.
async fn settled(http: &Http, folder: &Path, bytes_max: u64) {
    eventually("vectors on disk", async || {
        let index = http.index("l", None).await.expect("statistics");
        let segments_of_index = index["segments"].as_array().expect("segments");
        let graphs = segments_of_index.iter().filter(|segment| segment["has_graph"] == true);
        let settled = graphs.count() == 1
            && segments(folder).len() == 1
            && index["index_bytes"].as_u64() < Some(bytes_max);
        settled.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_go_to_disk_and_are_found_after_every_kind_of_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    // What the same documents are answered with from memory.
    let other = tempfile::tempdir().expect("a folder");
    let (server, http) = start(other.path(), &["--index-vectors", "memory"]);
    http.vectors("l", "cosine", DIMENSION).await;
    fill(&http, "l", &documents(0, ROWS)).await;
    http.optimize_index("l").await.expect("one graph over all");
    settled(&http, other.path(), u64::MAX).await;
    let (expected, in_memory) = (answers(&http, "l").await, index_bytes(&http, "l").await);
    kill(server);

    let (server, http) = start(folder.path(), &[]);
    http.vectors("l", "cosine", DIMENSION).await;
    fill(&http, "l", &documents(0, ROWS)).await;
    http.optimize_index("l").await.expect("one graph over all");
    // A lane of 64 bytes a row in memory, or a checksum of 4.
    let on_disk = in_memory - (ROWS * 50) as u64;
    settled(&http, folder.path(), on_disk).await;
    assert_eq!(answers(&http, "l").await, expected);
    kill(server);

    // Killed while a file was being made.
    let left = folder.path().join("index/left.tmp");
    std::fs::write(&left, b"arrwgrf\0").expect("written");
    let (server, http) = start(folder.path(), &[]);
    assert!(!left.exists());
    assert_eq!(answers(&http, "l").await, expected);
    settled(&http, folder.path(), on_disk).await;

    // Damaged while it is in use: answered from the store, and written anew.
    let damaged = segments(folder.path()).remove(0);
    let mut bytes = std::fs::read(&damaged).expect("readable");
    let vectors = bytes.len() - ROWS * 64;
    bytes[vectors..].iter_mut().step_by(90).for_each(|byte| *byte ^= 0x20);
    std::fs::write(&damaged, &bytes).expect("written");
    assert_eq!(answers(&http, "l").await, expected);
    eventually("a new file", async || (!damaged.exists()).then_some(())).await;
    settled(&http, folder.path(), on_disk).await;
    assert_eq!(answers(&http, "l").await, expected);
    kill(server);

    // Cut short, and then gone, while the server is stopped.
    let cut = segments(folder.path()).remove(0);
    let length = std::fs::metadata(&cut).expect("there").len();
    let file = std::fs::OpenOptions::new().write(true).open(&cut).expect("there");
    file.set_len(length - 100).expect("cut");
    let (server, http) = start(folder.path(), &[]);
    assert!(!cut.exists(), "it is of no use");
    assert_eq!(answers(&http, "l").await, expected);
    settled(&http, folder.path(), on_disk).await;
    kill(server);
    std::fs::remove_dir_all(folder.path().join("index")).expect("removed");
    let (server, http) = start(folder.path(), &["--index-vectors", "memory"]);
    assert_eq!(answers(&http, "l").await, expected);
    settled(&http, folder.path(), u64::MAX).await;
    kill(server);

    // From memory to disk.
    let (server, http) = start(folder.path(), &[]);
    settled(&http, folder.path(), on_disk).await;
    assert_eq!(answers(&http, "l").await, expected);
    kill(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_any_moment_of_its_filing_finds_what_it_had() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut server, mut http) = start(folder.path(), &[]);
    http.vectors("l", "l2", DIMENSION).await;
    let mut expected = None;
    for round in 0..6 {
        fill(&http, "l", &documents(round * 4_500, 4_500)).await;
        let gone = format!("/v1/libraries/l/documents/d{}", round * 4_500 + 3);
        http.delete(&gone).await.ok();
        let pause = std::time::Duration::from_millis(rng.random_range(0..400));
        tokio::time::sleep(pause).await;
        expected = Some(answers(&http, "l").await);
        kill(server);
        (server, http) = start(folder.path(), &[]);
        assert_eq!(Some(answers(&http, "l").await), expected, "round {round}");
    }
    http.optimize_index("l").await.expect("one graph over all");
    settled(&http, folder.path(), u64::MAX).await;
    assert_eq!(Some(answers(&http, "l").await), expected);
    kill(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_ceiling_what_would_grow_is_refused_and_all_else_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let ceiling = |bytes: usize| {
        move |settings: &mut arrwdb::settings::Settings| {
            settings.limits.index_memory_bytes_max = bytes;
            settings.limits.index_look_ms = 20;
        }
    };
    let server = Server::open(folder.path(), ceiling(1_000_000)).await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    for name in ["l", "kept"] {
        http.vectors(name, "cosine", DIMENSION).await;
    }
    // Some 200 bytes a row.
    fill(&http, "kept", &documents(0, 50)).await;
    let lines = http.ingest("l", "?report=all", ndjson(&documents(0, 8_000))).await.lines();
    let failed = |line: &&Value| line["status"] == "failed";
    let refused = lines.iter().find(failed).expect("a document that is refused");
    assert_eq!(refused["error"]["type"], "resource-exhausted");
    let bytes = index_bytes(&http, "l").await + index_bytes(&http, "kept").await;
    assert!((1_000_000..3_000_000).contains(&bytes), "{bytes}");

    let one = documents(9_000, 1).remove(0);
    let library = json!({"name": "more", "embedder": "none", "dimension": 3});
    let refused = [growing(&http, &one, &library).await, growing(&grpc, &one, &library).await];
    for outcome in refused.into_iter().flatten() {
        let fault = outcome.expect_err("no memory");
        assert_eq!(fault.slug, "resource-exhausted");
        assert!(fault.detail.contains("index_memory_bytes_max"), "{fault:?}");
        assert!(fault.detail.contains("delete"), "{fault:?}");
    }
    // What adds nothing goes on.
    http.update_document("l", "d0", json!({"title": "u"}), None).await.expect("updated");
    assert_eq!(http.search("kept", query()).await.expect("hits")["total_results"], 10);
    drop(http);
    server.stop().await;

    // A start is not refused, and deletes give the memory back.
    let server = Server::open(folder.path(), ceiling(500_000)).await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    let fault = grpc.create_document("kept", one.clone(), "").await.expect_err("no memory");
    assert_eq!(fault.slug, "resource-exhausted");
    http.delete_matching("l", "document.title == \"t\"").await.expect("deleted");
    eventually("room", async || http.create_document("kept", one.clone(), "").await.ok()).await;
    grpc.create_library(library, "").await.expect("there is room");
    server.stop().await;
}

/// What there must be memory for.
async fn growing(wire: &impl Wire, document: &Value, library: &Value) -> [Outcome; 3] {
    [
        wire.create_document("kept", document.clone(), "").await,
        wire.update_document("kept", "d1", json!({"chunks": document["chunks"]}), None).await,
        wire.create_library(library.clone(), "").await,
    ]
}

fn query() -> Value {
    json!({"embedding": vec![1.0; DIMENSION], "k": 10})
}
