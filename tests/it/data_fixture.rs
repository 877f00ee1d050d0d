//! A data folder as release 0.1 left it behind, killed in the middle of an ingest: it must open for
//! ever, and say the same.

use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};

use crate::harness::{Process, Server, eventually};
use crate::wire::{Http, ndjson, revision};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-v1")
}

fn unpack(archive: &Path, into: &Path) {
    let file = std::fs::File::open(archive).expect("the fixture");
    tar::Archive::new(GzDecoder::new(file)).unpack(into).expect("unpacked");
}

/// All that can be read, but for what depends on when it is asked.
async fn everything(server: &Server) -> Value {
    let http = Http::of(server);
    let libraries = http.get("/v1/libraries").await.ok();
    let mut exports = serde_json::Map::new();
    for library in libraries["libraries"].as_array().expect("a list") {
        let name = library["name"].as_str().expect("a name");
        let lines = http.export(name, "?include_embeddings=true").await;
        exports.insert(name.to_owned(), lines.into());
    }
    let mut events = http.events("begin", "").await;
    // The start has closed the batch that was open.
    let closing = events.last_mut().expect("events").as_object_mut().expect("an event");
    closing.remove("timestamp").expect("a time");
    let mut consumer = http.get("/v1/consumers/mailer").await.ok();
    consumer.as_object_mut().expect("a consumer").remove("lag_seconds");
    let mut nearest = Vec::new();
    for (library, query) in [
        ("poems", json!({"embedding": [1, 0, 0], "k": 3, "include_text": false})),
        ("notes", json!({"query": "a grey bird in shallow water", "k": 3, "mode": "vector"})),
    ] {
        let answer = http.post(&format!("/v1/libraries/{library}/search"), query).await.ok();
        let hits = answer["results"].as_array().expect("hits");
        // How far is a matter of the machine's arithmetic.
        nearest.extend(hits.iter().map(|hit| json!([hit["document_id"], hit["chunk_id"]])));
    }
    json!({"libraries": libraries, "exports": exports, "events": events, "consumer": consumer,
        "nearest": nearest})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_release_0_1_opens_and_says_the_same() {
    let temporary = tempfile::tempdir().expect("a folder");
    unpack(&folder().join("data.tar.gz"), temporary.path());
    let expected = std::fs::read(folder().join("says.json")).expect("what it says");
    let expected: Value = serde_json::from_slice(&expected).expect("JSON");
    // Twice: what recovery wrote is read as well.
    for _ in 0..2 {
        let server = Server::open(temporary.path(), |_| {}).await;
        let says = everything(&server).await;
        for part in ["libraries", "exports", "events", "consumer", "nearest"] {
            assert_eq!(says[part], expected[part], "{part}");
        }
        server.stop().await;
    }
    // And it goes on from there.
    let server = Server::open(temporary.path(), |_| {}).await;
    let last = expected["events"].as_array().expect("events").last().expect("one");
    let body = json!({"title": "new", "text": "words"});
    let new = Http::of(&server).post("/v1/libraries/notes/documents", body).await.ok();
    assert_eq!(revision(&new["revision"]), revision(&last["revision"]) + 1);
    server.stop().await;
}

/// Makes such a folder; anew in the repository with `ARRWDB_WRITE_FIXTURE=1`: only for a new
/// format, as a fixture beside this one.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_can_be_made() {
    let temporary = tempfile::tempdir().expect("a folder");
    let data = temporary.path().join("data");
    let process = tokio::task::block_in_place(|| Process::start(&data, &[]));
    write(&Http::at(process.url(""))).await;
    assert_eq!(tokio::task::block_in_place(|| process.terminate()), Some(0));
    let process = tokio::task::block_in_place(|| Process::start(&data, &[]));
    let http = Http::at(process.url(""));
    http.patch("/v1/libraries/poems/documents/d2", json!({"tags": ["late"]})).await.ok();
    let _open = open_ingest(&http).await;
    tokio::task::block_in_place(|| process.kill());
    let archive = temporary.path().join("data.tar.gz");
    pack(&data, &archive);

    let copy = temporary.path().join("copy");
    unpack(&archive, &copy);
    let server = Server::open(&copy, |_| {}).await;
    let says = everything(&server).await;
    server.stop().await;
    let events = says["events"].as_array().expect("events");
    assert_eq!(events.last().expect("events")["reason"], "interrupted");
    assert_eq!(says["nearest"].as_array().expect("hits").len(), 6);
    if std::env::var_os("ARRWDB_WRITE_FIXTURE").is_some() {
        std::fs::create_dir_all(folder()).expect("a folder");
        std::fs::copy(&archive, folder().join("data.tar.gz")).expect("copied");
        let says = serde_json::to_string_pretty(&says).expect("JSON") + "\n";
        std::fs::write(folder().join("says.json"), says).expect("written");
    }
}

/// A bit of everything that a folder can hold.
async fn write(http: &Http) {
    let metadata = json!({"owner": "me", "size": 2.5, "nested": {"a": [1, null, true]}});
    let poems = json!({"name": "poems", "metric": "dot", "embedder": "none", "dimension": 3,
        "description": "Lieder – 詩", "metadata": metadata});
    http.post("/v1/libraries?request_id=r1", poems).await.ok();
    http.post("/v1/libraries", json!({"name": "notes"})).await.ok();
    http.vectors("gone", "l2", 2).await;
    let poem = |id: &str, title: &str, first: [f64; 3]| {
        json!({"id": id, "title": title, "author": "Анна", "document_type": "poem",
            "source_url": "https://example.org/7", "tags": ["old", "täglich"],
            "metadata": {"year": 1820}, "chunks": [
                {"text": "ist Ruh", "embedding": first, "metadata": {"line": 1}},
                {"text": "", "embedding": [0, 1, -3.25]}]})
    };
    let documents = "/v1/libraries/poems/documents";
    let first = poem("shelf/7:a@b.c_d-e", "Über allen Gipfeln", [0.5, -1.0, 3.25]);
    http.post(&format!("{documents}?request_id=r2"), first).await.ok();
    http.post(documents, poem("d2", "Wandrers Nachtlied", [2.0, 0.0, 0.0])).await.ok();
    http.post(documents, poem("d3", "Gefunden", [9.0, 9.0, 9.0])).await.ok();
    http.delete(&format!("{documents}/d3")).await.ok();
    let lines = ndjson(&[
        json!({"id": "heron", "title": "Heron", "texts": ["A grey bird.", "It eats fish."]}),
        json!({"title": "no text at all"}),
        json!({"id": "anvil", "title": "Anvil", "text": "A block of iron."}),
    ]);
    http.ingest("notes", "", lines).await.lines();
    let new = json!({"text": "A grey bird that stands in shallow water."});
    http.patch("/v1/libraries/notes/documents/heron", new).await.ok();
    http.patch("/v1/libraries/notes", json!({"description": "mine"})).await.ok();
    let consumer = json!({"name": "mailer", "library_id": "notes", "cursor": "begin",
        "event_types": ["document.added"]});
    http.post("/v1/consumers", consumer).await.ok();
    let pulled = http.post("/v1/consumers/mailer/pull", json!({"max_events": 1})).await.ok();
    let acknowledged = json!({"cursor": pulled["events"][0]["id"],
        "generation": pulled["generation"]});
    http.post("/v1/consumers/mailer/acknowledge", acknowledged).await.ok();
    http.delete("/v1/libraries/gone").await.ok();
}

/// Sends one document and leaves the stream open.
async fn open_ingest(http: &Http) -> impl Sized + use<> {
    let (mut sender, lines) = futures::channel::mpsc::channel::<Result<String, std::io::Error>>(1);
    let line = json!({"id": "kite", "title": "Kite", "text": "A toy that flies."}).to_string();
    sender.send(Ok(line + "\n")).await.expect("sent");
    let body = reqwest::Body::wrap_stream(lines);
    let request = http.request("POST", "/v1/libraries/notes/documents/stream").body(body);
    let answer = request.send().await.expect("an answer").bytes_stream();
    let kite = || http.get("/v1/libraries/notes/documents/kite");
    eventually("the document is there", async || (kite().await.status == 200).then_some(())).await;
    (sender, answer.boxed())
}

fn pack(folder: &Path, archive: &Path) {
    let file = std::fs::File::create(archive).expect("created");
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::best()));
    archive.sparse(false);
    archive.append_dir_all("", folder).expect("packed");
    archive.into_inner().expect("packed").finish().expect("packed");
}
