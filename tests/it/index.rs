//! Indexes on a whole server: graphs come by themselves and when asked for, searches go on and
//! stay right, space comes back, and the kind outlives a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrwdb::settings::Settings;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::harness::{Server, eventually};
use crate::wire::{EventsQuery, Http, Wire, ndjson, text};

const DIMENSION: usize = 16;
const ROWS: usize = 5_000;

/// Graphs of a few thousand rows, soon.
fn small_graphs(settings: &mut Settings) {
    settings.limits.index_graph_rows_min = 4_000;
    settings.limits.index_graph_rows_min_asked = 3_000;
    settings.limits.index_settle_ms = 100;
}

/// Documents of one chunk, in clusters.
fn documents(from: usize, count: usize) -> Vec<Value> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let centres: Vec<Vec<f32>> = (0..30)
        .map(|_| (0..DIMENSION).map(|_| rng.random_range(-1.0_f32..1.0)).collect())
        .collect();
    (from..from + count)
        .map(|n| {
            let mut rng = ChaCha8Rng::seed_from_u64(n as u64 + 100);
            let centre = &centres[n % 30];
            let vector: Vec<f32> =
                centre.iter().map(|x| x + rng.random_range(-0.5_f32..0.5)).collect();
            json!({"id": format!("d{n}"), "title": "t", "metadata": {"n": n},
                "chunks": [{"text": format!("{n}"), "embedding": vector}]})
        })
        .collect()
}

async fn fill(http: &Http, library: &str, documents: &[Value]) {
    let lines = http.ingest(library, "?report=summary", ndjson(documents)).await.lines();
    assert_eq!(lines.last().expect("a summary")["total_failed"], 0);
}

fn embedding(document: &Value) -> Value {
    document["chunks"][0]["embedding"].clone()
}

async fn index_of(http: &Http, library: &str) -> Value {
    http.index(library, None).await.expect("statistics")
}

fn graphs(index: &Value) -> usize {
    let segments = index["segments"].as_array().expect("segments").iter();
    segments.filter(|segment| segment["has_graph"] == true).count()
}

async fn settled(http: &Http, library: &str) -> Value {
    eventually("all rows in one graph", async || {
        let index = index_of(http, library).await;
        (graphs(&index) == 1 && index.get("building").is_none()).then_some(index)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_comes_by_itself_and_goes_with_its_rows() {
    let server = Server::start_with(small_graphs).await;
    let http = Http::of(&server);
    http.vectors("l", "cosine", DIMENSION).await;
    let documents = documents(0, ROWS);
    fill(&http, "l", &documents).await;
    let full = settled(&http, "l").await;
    assert_eq!((&full["num_rows"], &full["num_tombstones"]), (&json!(ROWS), &json!(0)));
    for (exact, least) in [(true, 10.0), (false, 9.7)] {
        let mut found = 0;
        for document in documents.iter().step_by(97) {
            let ask = |exact| json!({"embedding": embedding(document), "k": 10, "exact": exact});
            let right = http.search("l", ask(true)).await.expect("found");
            let hits = http.search("l", ask(exact)).await.expect("found");
            let hits = hits["results"].as_array().expect("hits").clone();
            assert_eq!(hits.len(), 10);
            let farthest = right["results"][9]["distance"].as_f64().expect("a number");
            found += hits.iter().filter(|h| h["distance"].as_f64() <= Some(farthest)).count();
        }
        let queries = ROWS.div_ceil(97);
        assert!(found as f64 >= least * queries as f64, "exact {exact}: {found} of {queries} x 10");
    }
    let measured = http.recall("l", json!({"num_queries": 50})).await.expect("measured");
    assert!(measured["recall"].as_f64() >= Some(0.97), "{measured}");
    assert_eq!((&measured["num_queries"], &measured["k"]), (&json!(50), &json!(10)));

    for n in (0..ROWS).filter(|n| n % 10 > 0) {
        http.delete(&format!("/v1/libraries/l/documents/d{n}")).await.ok();
    }
    let left = eventually("space comes back", async || {
        let index = index_of(&http, "l").await;
        let bytes = |index: &Value| index["index_bytes"].as_u64().expect("a number");
        (bytes(&index) * 4 < bytes(&full)).then_some(index)
    })
    .await;
    assert_eq!((graphs(&left), &left["num_rows"]), (0, &json!(ROWS / 10)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_told_and_kept_and_searches_go_on_throughout() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::open(folder.path(), |settings| {
        small_graphs(settings);
        settings.limits.index_graph_rows_min = 1_000_000;
    })
    .await;
    let http = Arc::new(Http::of(&server));
    http.vectors("l", "cosine", DIMENSION).await;
    let documents = documents(0, ROWS);
    fill(&http, "l", &documents).await;

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let searching = tokio::spawn({
        let (http, stop, asked) = (Arc::clone(&http), Arc::clone(&stop), Arc::clone(&asked));
        let queries: Vec<Value> = documents.iter().step_by(131).map(embedding).collect();
        async move {
            let mut first: Vec<Value> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for (place, query) in queries.iter().enumerate() {
                    let body = json!({"embedding": query, "k": 5, "exact": true});
                    let found = http.search("l", body).await.expect("found")["results"].clone();
                    assert_eq!(found.as_array().expect("hits").len(), 5);
                    match first.get(place) {
                        Some(same) => assert_eq!(&found, same),
                        None => first.push(found),
                    }
                    let body = json!({"embedding": query, "k": 5});
                    let found = http.search("l", body).await.expect("found")["results"].clone();
                    assert_eq!(found[0], first[place][0], "a row finds itself");
                    assert_eq!(found.as_array().expect("hits").len(), 5);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    eventually("searches", async || (asked.load(Ordering::Relaxed) > 40).then_some(())).await;
    let rebuilt = http.rebuild_index("l", json!({"index_type": "hnsw"})).await.expect("rebuilt");
    let index = index_of(&http, "l").await;
    assert_eq!((graphs(&index), &index["index_type"]), (1, &json!("hnsw")));
    fill(&http, "l", &self::documents(ROWS, 10)).await;
    http.delete(&format!("/v1/libraries/l/documents/d{ROWS}")).await.ok();
    let segments = index_of(&http, "l").await["segments"].as_array().expect("segments").len();
    assert_eq!(segments, 2, "new rows have no graph");
    let optimized = http.optimize_index("l").await.expect("optimized");
    let index = index_of(&http, "l").await;
    assert_eq!(index["segments"].as_array().expect("segments").len(), 1);
    stop.store(true, Ordering::Relaxed);
    searching.await.expect("searches were right");

    let types = vec!["index.rebuilt", "index.optimized"];
    let told = EventsQuery { types, library: "l".into(), cursor: "begin".into() };
    let told = http.list_events(&told, 10).await.expect("events");
    let told: Vec<_> = told["events"].as_array().expect("events").clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        (text(&told[0]["type"]), &told[0]["index_type"]),
        ("index.rebuilt".into(), &json!("hnsw"))
    );
    assert_eq!(told[0]["revision"], rebuilt["revision"]);
    assert_eq!(told[1]["revision"], optimized["revision"]);
    assert_eq!((&told[1]["segments_before"], &told[1]["segments_after"]), (&json!(2), &json!(1)));
    drop(http);
    server.stop().await;

    let server = Server::open(folder.path(), small_graphs).await;
    let http = Http::of(&server);
    let library = http.get_library("l", None).await.expect("there");
    assert_eq!(library["index_type"], "hnsw", "the kind is kept");
    settled(&http, "l").await;
    http.rebuild_index("l", json!({"index_type": "flat"})).await.expect("rebuilt");
    let index = index_of(&http, "l").await;
    assert_eq!((graphs(&index), &index["index_type"]), (0, &json!("flat")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_goes_takes_its_build_along() {
    let server = Server::start_with(|settings| {
        small_graphs(settings);
        settings.limits.index_graph_rows_min = 1_000_000;
    })
    .await;
    let http = Http::of(&server);
    http.vectors("l", "cosine", DIMENSION).await;
    fill(&http, "l", &documents(0, ROWS)).await;
    let (rebuilt, deleted) =
        tokio::join!(http.rebuild_index("l", json!({"index_type": "hnsw"})), async {
            eventually("a build", async || index_of(&http, "l").await.get("building").cloned())
                .await;
            http.delete("/v1/libraries/l").await.status
        });
    assert_eq!(deleted, 200);
    let fault = rebuilt.expect_err("the library is gone");
    assert!(["not-found", "unavailable"].contains(&fault.slug.as_str()), "{fault:?}");
    server.stop().await;
}

/// Never a build, so that a graph which is there was read.
fn no_builds(settings: &mut Settings) {
    settings.limits.index_graph_rows_min = 1_000_000;
}

#[tokio::test(flavor = "multi_thread")]
async fn graphs_are_read_at_a_start_and_a_damaged_one_is_built_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder.path().join("index")).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.is_file()).collect()
    };
    let server = Server::open(folder.path(), small_graphs).await;
    let http = Http::of(&server);
    http.vectors("l", "cosine", DIMENSION).await;
    let documents = documents(0, ROWS);
    fill(&http, "l", &documents).await;
    settled(&http, "l").await;
    eventually("one file", async || {
        let files = files();
        let whole = files.iter().all(|file| file.extension().is_some_and(|e| e == "segment"));
        (files.len() == 1 && whole).then_some(())
    })
    .await;
    let ask = async |http: &Http, exact: bool| -> Vec<Value> {
        let mut found = Vec::new();
        for document in documents.iter().step_by(501) {
            let body = json!({"embedding": embedding(document), "k": 10, "exact": exact});
            found.push(http.search("l", body).await.expect("found")["results"].clone());
        }
        found
    };
    // Behind the file's back.
    http.delete("/v1/libraries/l/documents/d3").await.ok();
    fill(&http, "l", &self::documents(ROWS, 20)).await;
    let (exact, walked) = (ask(&http, true).await, ask(&http, false).await);
    drop(http);
    server.stop().await;

    let server = Server::open(folder.path(), no_builds).await;
    let http = Http::of(&server);
    let index = index_of(&http, "l").await;
    assert_eq!((graphs(&index), &index["num_rows"]), (1, &json!(ROWS + 19)));
    assert_eq!((ask(&http, true).await, ask(&http, false).await), (exact.clone(), walked));
    drop(http);
    server.stop().await;

    let file = files().remove(0);
    let mut bytes = std::fs::read(&file).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("writable");
    let server = Server::open(folder.path(), no_builds).await;
    let http = Http::of(&server);
    let index = index_of(&http, "l").await;
    assert_eq!((graphs(&index), &index["num_rows"]), (0, &json!(ROWS + 19)));
    assert_eq!(ask(&http, true).await, exact);
    assert_eq!(ask(&http, false).await, exact, "without a graph all is exact");
    drop(http);
    server.stop().await;

    let server = Server::open(folder.path(), small_graphs).await;
    let http = Http::of(&server);
    settled(&http, "l").await;
    eventually("a file again", async || (files().len() == 1).then_some(())).await;
    http.delete("/v1/libraries/l").await.ok();
    eventually("no file", async || files().is_empty().then_some(())).await;
    server.stop().await;
}
