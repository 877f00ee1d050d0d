//! Search by words, and by words and vectors together, on a whole server.

use std::path::Path;

use serde_json::{Value, json};

use crate::grpc_wire::Grpc;
use crate::harness::{Process, Server, eventually};
use crate::wire::{Http, Wire, ndjson, text};

/// Texts whose words are their own.
async fn fill(http: &Http) {
    http.post("/v1/libraries", json!({"name": "l"})).await.ok();
    let documents = [
        json!({"id": "heron", "title": "Heron", "tags": ["bird"],
            "texts": ["A grey bird that stands in shallow water.", "It eats fish and frogs."]}),
        json!({"id": "otter", "title": "Otter",
            "texts": ["A brown animal that swims in rivers.", "It eats fish, too."]}),
        json!({"id": "anvil", "title": "Anvil",
            "texts": ["A block of iron on which a smith shapes hot metal: model ZX81."]}),
    ];
    http.ingest("l", "", ndjson(&documents)).await.lines();
}

fn hits(found: &Value) -> &Vec<Value> {
    found["results"].as_array().expect("hits")
}

fn documents(found: &Value) -> Vec<&str> {
    hits(found).iter().map(|hit| hit["document_id"].as_str().expect("an id")).collect()
}

async fn ask(wire: &impl Wire, body: Value) -> Value {
    wire.search("l", body).await.expect("hits")
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_vectors_rank_together_unless_something_else_is_asked_for() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    fill(&http).await;
    // A name that no model knows is found by its letters, in capitals or not.
    let by_text = ask(&http, json!({"query": "zx81", "mode": "text"})).await;
    assert_eq!(documents(&by_text), ["anvil"]);
    assert!(hits(&by_text)[0].get("distance").is_none(), "{by_text}");
    assert_eq!(documents(&ask(&http, json!({"query": "zx81", "k": 1})).await), ["anvil"]);
    // What has no word of the query is found by its vector, in a hybrid search too.
    let mut body = json!({"query": "eats fish", "k": 10, "explain": true});
    let hybrid = ask(&http, body.clone()).await;
    assert_eq!(hybrid["total_results"], 5);
    body["mode"] = json!("hybrid");
    assert_eq!(ask(&grpc, body.clone()).await, hybrid, "hybrid is what a text query gets");
    body["mode"] = json!("vector");
    let vector = ask(&http, body.clone()).await;
    assert_eq!(vector["total_results"], 5);
    body["mode"] = json!("text");
    let said = ask(&http, body.clone()).await;
    assert_eq!(said["total_results"], 2);
    for (place, hit) in hits(&hybrid).iter().enumerate() {
        assert_eq!(hit["rank"], place + 1);
        // Distances are those of the vector search, whichever ranking brought the hit.
        let same = |other: &&Value| other["chunk_id"] == hit["chunk_id"];
        let near = hits(&vector).iter().find(same).expect("has a vector");
        assert_eq!(near["distance"], hit["distance"], "{hit}");
        let parts = &hit["explanation"];
        assert_eq!(parts["vector"]["rank"], near["rank"], "{hit}");
        let of_text = hits(&said).iter().find(same);
        assert_eq!(parts.get("text").map(|part| &part["rank"]), of_text.map(|hit| &hit["rank"]));
        assert_eq!(parts.get("text").map(|part| &part["bm25"]), of_text.map(|hit| &hit["score"]));
        let scores = |name: &str| parts[name]["score"].as_f64().unwrap_or_default();
        let sum = scores("vector") + scores("text");
        assert!((hit["score"].as_f64().expect("a score") - sum).abs() < 1e-6, "{hit}");
    }
    // Weights: all on one ranking is that ranking's order.
    let all_words = json!({"query": "eats fish", "weights": {"vector": 0, "text": 1}});
    let chunks = |found: &Value| -> Vec<String> {
        hits(found).iter().map(|hit| text(&hit["chunk_id"])).collect()
    };
    let words = ask(&grpc, all_words).await;
    assert_eq!(chunks(&words), chunks(&said));
    for hit in hits(&words) {
        let same = |other: &&Value| other["chunk_id"] == hit["chunk_id"];
        let near = hits(&vector).iter().find(same).expect("has a vector");
        assert_eq!(near["distance"], hit["distance"], "measured for hits that words brought");
    }
    let near = json!({"query": "eats fish", "weights": {"vector": 1, "text": 0}});
    assert_eq!(chunks(&ask(&http, near).await), chunks(&vector));
    // A threshold and an embedding rank by vectors.
    let near = ask(&http, json!({"query": "eats fish", "distance_threshold": 2})).await;
    assert_eq!(chunks(&near), chunks(&vector));
    // Filters and documents.
    let birds = json!({"query": "eats fish", "filter": "\"bird\" in document.tags"});
    assert_eq!(documents(&ask(&http, birds).await), ["heron", "heron"]);
    let mut grouped = documents(&hybrid).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut seen = Vec::new();
    grouped.retain(|id| {
        !seen.contains(id) && {
            seen.push(id.clone());
            true
        }
    });
    let by_document = ask(&grpc, json!({"query": "eats fish", "group_by": "document"})).await;
    assert_eq!(documents(&by_document), grouped);
    let index = http.index("l", None).await.expect("an index");
    assert_eq!((&index["text"]["num_rows"], &index["num_rows"]), (&json!(5), &json!(5)));
    assert!(index["text"]["num_terms"].as_u64() > Some(20), "{index}");
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_found_by_its_words_at_once_and_gone_as_soon() {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.post("/v1/libraries", json!({"name": "l"})).await.ok();
    let found = async |word: &str| {
        let found = ask(&http, json!({"query": word, "mode": "text", "k": 100})).await;
        let mut ids: Vec<_> = documents(&found).into_iter().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    for n in 0..30 {
        let body = json!({"id": format!("d{n}"), "title": format!("title{n}"),
            "texts": [format!("word{n} common"), format!("second{n}")]});
        http.create_document("l", body, "").await.expect("written");
        assert_eq!(found(&format!("word{n}")).await, [format!("d{n}")]);
    }
    assert_eq!(found("common").await.len(), 30);
    // Another title is found with every chunk, the one before with none.
    http.update_document("l", "d7", json!({"title": "Renamed"}), None).await.expect("changed");
    assert_eq!(found("renamed").await, ["d7", "d7"]);
    assert_eq!(found("title7").await, Vec::<String>::new());
    assert_eq!(found("word7").await, ["d7"]);
    // Another text under the old title, and another title with the same text.
    let body = json!({"texts": ["replaced common", "second7"]});
    http.update_document("l", "d7", body, None).await.expect("changed");
    assert_eq!((found("word7").await.len(), found("replaced").await), (0, vec!["d7".to_owned()]));
    assert_eq!(found("renamed").await, ["d7", "d7"]);
    let body = json!({"title": "Again", "texts": ["replaced common", "second7"]});
    http.update_document("l", "d7", body, None).await.expect("changed");
    assert_eq!((found("renamed").await.len(), found("again").await.len()), (0, 2));
    // A document written anew under its id, by an ingest.
    let body = json!({"id": "d7", "title": "Ingested", "texts": ["second7"]});
    http.ingest("l", "", ndjson(&[body])).await.lines();
    assert_eq!((found("again").await.len(), found("ingested").await), (0, vec!["d7".to_owned()]));
    assert_eq!(found("replaced").await, Vec::<String>::new());
    for n in (0..30).step_by(3) {
        http.delete_document("l", &format!("d{n}"), None).await.expect("deleted");
        assert_eq!(found(&format!("second{n}")).await, Vec::<String>::new());
    }
    assert_eq!(found("common").await.len(), 19);
    http.delete_library("l", None).await.expect("deleted");
    http.post("/v1/libraries", json!({"name": "l"})).await.ok();
    assert_eq!(found("common").await, Vec::<String>::new());
    // Chunks that say nothing are not in the index of texts, nor are libraries of vectors alone.
    let mut vector = vec![0.0; 256];
    vector[0] = 1.0;
    let body = json!({"id": "v", "title": "Silent", "chunks": [{"embedding": vector}]});
    http.create_document("l", body, "").await.expect("written");
    assert_eq!(found("silent").await, Vec::<String>::new());
    let hybrid = ask(&http, json!({"query": "silent"})).await;
    assert_eq!(documents(&hybrid), ["v"], "found by its vector");
    http.vectors("own", "l2", 2).await;
    let index = http.index("own", None).await.expect("an index");
    assert!(index.get("text").is_none(), "{index}");
    server.stop().await;
}

/// What searches say, for comparison before and after.
async fn answers(http: &Http) -> Vec<Value> {
    let mut answers = Vec::new();
    for mode in ["text", "hybrid"] {
        for query in ["eats fish", "heron", "common word", "animal", "renamed"] {
            let body = json!({"query": query, "mode": mode, "k": 50, "explain": true});
            let mut found = http.search("l", body).await.expect("hits");
            found["revision"].take();
            answers.push(found);
        }
    }
    answers
}

async fn write_more(http: &Http, from: usize) {
    let documents: Vec<Value> = (from..from + 200)
        .map(|n| {
            json!({"id": format!("d{n}"), "title": format!("Number {n}"),
                "texts": [format!("common word number {n}"), format!("an animal, the {n}th")]})
        })
        .collect();
    http.ingest("l", "", ndjson(&documents)).await.lines();
    for n in (from..from + 200).step_by(9) {
        http.delete_document("l", &format!("d{n}"), None).await.expect("deleted");
    }
    for n in (from + 1..from + 200).step_by(9) {
        let body = json!({"title": "Renamed"});
        http.update_document("l", &format!("d{n}"), body, None).await.expect("changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    fill(&http).await;
    write_more(&http, 0).await;
    let before = answers(&http).await;
    server.stop().await;
    for from in [200, 400] {
        let server = Server::open(folder.path(), |_| {}).await;
        let http = Http::of(&server);
        let after = answers(&http).await;
        if from == 200 {
            assert_eq!(after, before);
        }
        write_more(&http, from).await;
        let before = answers(&http).await;
        server.stop().await;
        let server = Server::open(folder.path(), |_| {}).await;
        assert_eq!(answers(&Http::of(&server)).await, before);
        server.stop().await;
    }
}

async fn run(folder: &Path) -> (Process, Http) {
    // Starting waits for the process: not on a thread that others need.
    let server = tokio::task::block_in_place(|| Process::start(folder, &[]));
    let http = Http::at(format!("http://{}", server.address));
    (server, http)
}

async fn kill(server: Process) {
    tokio::task::block_in_place(|| server.kill());
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, http) = run(folder.path()).await;
    fill(&http).await;
    write_more(&http, 0).await;
    let before = answers(&http).await;
    kill(server).await;
    let (server, http) = run(folder.path()).await;
    assert_eq!(answers(&http).await, before);
    write_more(&http, 200).await;
    let before = answers(&http).await;
    kill(server).await;
    let (server, http) = run(folder.path()).await;
    assert_eq!(answers(&http).await, before);
    kill(server).await;
}

fn text_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let libraries = std::fs::read_dir(folder.join("index/text")).expect("a folder");
    let files = |library: std::fs::DirEntry| {
        let files = std::fs::read_dir(library.path()).expect("a folder");
        files.map(|file| file.expect("an entry").path())
    };
    let mut all: Vec<_> = libraries.flat_map(|library| files(library.expect("an entry"))).collect();
    all.sort();
    all
}

fn is_named(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|of| of.to_string_lossy().ends_with(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_text_indexes_are_used_brought_up_to_date_and_replaced_when_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    // Kept at the end, and not while it runs.
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    fill(&http).await;
    write_more(&http, 0).await;
    server.stop().await;
    let files = text_files(folder.path());
    assert!(files.iter().any(|file| is_named(file, "manifest")), "{files:?}");
    assert!(files.iter().any(|file| is_named(file, ".block")), "{files:?}");

    // A kill keeps nothing of what came since: it is read from the store.
    let (server, http) = run(folder.path()).await;
    write_more(&http, 200).await;
    http.delete_document("l", "heron", None).await.expect("deleted");
    http.update_document("l", "otter", json!({"title": "Renamed"}), None).await.expect("changed");
    let before = answers(&http).await;
    kill(server).await;
    assert_eq!(text_files(folder.path()), files, "nothing was kept meanwhile");
    let server = Server::open(folder.path(), |_| {}).await;
    assert_eq!(answers(&Http::of(&server)).await, before);
    server.stop().await;

    // Whatever is damaged or missing, the answers are the same.
    for damage in ["flip", "cut", "remove", "manifest"] {
        let files = text_files(folder.path());
        let wanted = if damage == "manifest" { "manifest" } else { ".block" };
        let file = files.iter().find(|file| is_named(file, wanted)).expect("is kept");
        let mut bytes = std::fs::read(file).expect("readable");
        let middle = bytes.len() / 2;
        match damage {
            "flip" | "manifest" => {
                bytes[middle] ^= 1;
                std::fs::write(file, &bytes).expect("written");
            }
            "cut" => std::fs::write(file, &bytes[..middle]).expect("written"),
            _ => std::fs::remove_file(file).expect("removed"),
        }
        let server = Server::open(folder.path(), |_| {}).await;
        assert_eq!(answers(&Http::of(&server)).await, before, "{damage}");
        server.stop().await;
    }
    // A library's files go with it.
    let server = Server::open(folder.path(), |settings| settings.limits.index_look_ms = 10).await;
    let http = Http::of(&server);
    http.delete_library("l", None).await.expect("deleted");
    server.stop().await;
    let server = Server::open(folder.path(), |_| {}).await;
    assert_eq!(text_files(folder.path()), Vec::<std::path::PathBuf>::new());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_index_is_kept_while_the_server_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::open(folder.path(), |settings| {
        settings.limits.index_look_ms = 10;
        settings.limits.text_keep_interval_ms = 10;
    })
    .await;
    let http = Http::of(&server);
    fill(&http).await;
    eventually("a manifest", async || {
        let files = text_files(folder.path());
        files.iter().any(|file| is_named(file, "manifest")).then_some(())
    })
    .await;
    write_more(&http, 0).await;
    let before = answers(&http).await;
    server.stop().await;
    let server = Server::open(folder.path(), |_| {}).await;
    assert_eq!(answers(&Http::of(&server)).await, before);
    server.stop().await;
}
