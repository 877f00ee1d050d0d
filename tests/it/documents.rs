//! Documents: ids, patches, which chunks stay, what events say of it, conflicts in a stream.

use serde_json::{Value, json};

use crate::harness::Server;
use crate::wire::{Http, encoded, lines, ndjson, revision, text};

const PATH: &str = "/v1/libraries/l/documents";

async fn server() -> (Server, Http) {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.vectors("l", "dot", 2).await;
    (server, http)
}

fn chunk(text: &str, x: f64) -> Value {
    json!({"text": text, "embedding": [x, 1]})
}

/// Types of events with what tells chunks apart.
fn shape(events: &[Value]) -> Vec<String> {
    let one = |event: &Value| match event.get("index") {
        Some(index) => format!("{} {index}", text(&event["type"])),
        None => text(&event["type"]),
    };
    events.iter().map(one).collect()
}

async fn tail(http: &Http) -> String {
    text(&http.get("/v1/events?cursor=now").await.ok()["tail_cursor"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_id_may_look_like_a_path() {
    let (server, http) = server().await;
    let longest = "x".repeat(128);
    for id in ["a/b/c", "https://e.org:80/x@y", "..", ".", "stream", "-", longest.as_str()] {
        let body = json!({"id": id, "title": id, "chunks": [chunk("t", 1.0)]});
        let created = http.post(PATH, body).await;
        assert_eq!(created.status, 201, "{}", created.text());
        let path = match id {
            "stream" => format!("{PATH}/%73tream"),
            // A client that resolves dots would ask for another path.
            "." | ".." => continue,
            _ => format!("{PATH}/{}", encoded(id)),
        };
        assert_eq!(http.get(&path).await.ok(), created.ok());
        let patched = http.patch(&path, json!({"title": "new"})).await.ok();
        assert_eq!((&patched["id"], &patched["title"]), (&json!(id), &json!("new")));
        http.delete(&path).await.ok();
        assert_eq!(http.get(&path).await.fault().slug, "not-found");
    }
    for id in ["a b", "ä", "", "a?b", &"x".repeat(129)] {
        let body = json!({"id": id, "title": "t", "chunks": [chunk("t", 1.0)]});
        let fault = http.post(PATH, body).await.fault();
        assert_eq!(
            (fault.slug.as_str(), fault.violations[0].0.as_str()),
            ("invalid-argument", "id")
        );
    }
    let body = json!({"title": "t", "chunks": [chunk("t", 1.0)]});
    let made = text(&http.post(PATH, body).await.ok()["id"]);
    assert_eq!(made.as_bytes()[14], b'7', "a UUIDv7: {made}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_of_fields_leaves_the_chunks_and_shows_one_event() {
    let (server, http) = server().await;
    let body = json!({"id": "d", "title": "Old", "author": "A", "tags": ["x"],
        "metadata": {"a": 1, "b": 2}, "chunks": [chunk("one", 1.0), chunk("two", 2.0)]});
    let mut expected = http.post(PATH, body).await.ok();
    let path = format!("{PATH}/d");
    for (patch, field, value) in [
        (json!({"title": "New"}), "title", json!("New")),
        (json!({"metadata": {"c": 3}}), "metadata", json!({"c": 3})),
        (json!({"author": null}), "author", json!("")),
        (json!({"tags": ["y", "z"]}), "tags", json!(["y", "z"])),
        (json!({"tags": null}), "tags", json!([])),
        (json!({"source_url": "u"}), "source_url", json!("u")),
        (json!({"document_type": "note"}), "document_type", json!("note")),
        (json!({"metadata": null}), "metadata", json!({})),
        (json!({}), "title", json!("New")),
    ] {
        let cursor = tail(&http).await;
        let before = expected.clone();
        let changed = http.patch(&path, patch.clone()).await.ok();
        expected[field] = value;
        for own in ["revision", "updated_at"] {
            expected[own] = changed[own].clone();
        }
        assert_eq!(changed, expected, "{patch}");
        assert_eq!(http.get(&path).await.ok(), expected);
        let events = http.events(&cursor, "").await;
        assert_eq!(shape(&events), ["document.updated"], "{patch}");
        assert_eq!(events[0]["last"], true);
        assert_eq!(events[0]["previous_metadata"], before["metadata"]);
        assert_eq!(events[0]["previous_title"], before["title"]);
        assert_eq!(events[0]["metadata"], expected["metadata"]);
        assert_eq!(events[0]["revision"], expected["revision"]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_keep_their_ids_while_text_and_vector_stay() {
    let (server, http) = server().await;
    let path = format!("{PATH}/d");
    let chunks = json!([chunk("a", 1.0), chunk("b", 2.0), chunk("b", 2.0), chunk("c", 3.0)]);
    let body = json!({"id": "d", "title": "t", "chunks": chunks});
    let first = http.post(PATH, body).await.ok();
    let ids = |document: &Value| -> Vec<String> {
        let chunks = document["chunks"].as_array().expect("chunks");
        assert!(chunks.iter().enumerate().all(|(i, chunk)| chunk["index"] == json!(i)));
        chunks.iter().map(|chunk| text(&chunk["id"])).collect()
    };
    let old = ids(&first);

    // Another order: the same chunks, and nothing came or went.
    let cursor = tail(&http).await;
    let turned = json!([chunk("c", 3.0), chunk("b", 2.0), chunk("a", 1.0), chunk("b", 2.0)]);
    let second = http.patch(&path, json!({"chunks": turned})).await.ok();
    let now = ids(&second);
    assert_eq!((&now[0], &now[2]), (&old[3], &old[0]));
    assert_eq!([&now[1], &now[3]], [&old[1], &old[2]]);
    assert_eq!(shape(&http.events(&cursor, "").await), ["document.updated"]);

    // The same text with another vector is another chunk; so is the same vector with another text.
    let cursor = tail(&http).await;
    let mixed = json!([chunk("c", 3.5), chunk("b", 2.0), chunk("A", 1.0)]);
    let third = http.patch(&path, json!({"chunks": mixed})).await.ok();
    let then = ids(&third);
    assert_eq!(then[1], now[1], "kept");
    assert!(!now.contains(&then[0]) && !now.contains(&then[2]));
    let events = http.events(&cursor, "").await;
    let expected = [
        "document.updated",
        "chunk.deleted 0",
        "chunk.deleted 2",
        "chunk.deleted 3",
        "chunk.added 0",
        "chunk.added 2",
    ];
    assert_eq!(shape(&events), expected);
    let chunk_ids: Vec<_> = events[1..].iter().map(|event| text(&event["chunk_id"])).collect();
    assert_eq!(chunk_ids, [&now[0], &now[2], &now[3], &then[0], &then[2]].map(String::clone));
    let lasts: Vec<_> = events.iter().map(|event| event["last"].clone()).collect();
    assert_eq!(lasts, [false, false, false, false, false, true].map(Value::from));

    // Only metadata of a chunk changed: the chunk stays itself, with the new metadata.
    let cursor = tail(&http).await;
    let mut tagged = chunk("b", 2.0);
    tagged["metadata"] = json!({"page": 3});
    let patch = json!({"chunks": [chunk("c", 3.5), tagged, chunk("A", 1.0)]});
    let fourth = http.patch(&path, patch).await.ok();
    assert_eq!(ids(&fourth), then);
    assert_eq!(fourth["chunks"][1]["metadata"], json!({"page": 3}));
    assert_eq!(http.get(&path).await.ok(), fourth);
    assert_eq!(shape(&http.events(&cursor, "").await), ["document.updated"]);
    let found = http.post("/v1/libraries/l/search", json!({"embedding": [0, 1]})).await.ok();
    assert_eq!(found["total_results"], 3, "chunks that went are not found");
    let hits = found["results"].as_array().expect("hits");
    let hit = hits.iter().find(|hit| hit["text"] == "b").expect("found");
    assert_eq!(hit["metadata"], json!({"page": 3}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_says_what_went() {
    let (server, http) = server().await;
    let body = json!({"id": "d", "title": "Old", "metadata": {"a": 1},
        "chunks": [chunk("one", 1.0), chunk("two", 2.0)]});
    let created = http.post(PATH, body).await.ok();
    let path = format!("{PATH}/d");
    http.patch(&path, json!({"metadata": {"a": 2}})).await.ok();
    let cursor = tail(&http).await;
    let deleted = http.delete(&path).await.ok();
    assert!(revision(&deleted["revision"]) > revision(&created["revision"]));
    let events = http.events(&cursor, "").await;
    assert_eq!(shape(&events), ["document.deleted", "chunk.deleted 0", "chunk.deleted 1"]);
    assert_eq!((&events[0]["title"], &events[0]["metadata"]), (&json!("Old"), &json!({"a": 2})));
    for (event, chunk) in events[1..].iter().zip(created["chunks"].as_array().expect("chunks")) {
        assert_eq!(event["chunk_id"], chunk["id"]);
        assert_eq!(event["revision"], deleted["revision"]);
    }
    // What follows under the same id is another document.
    let body = json!({"id": "d", "title": "Another", "chunks": [chunk("one", 1.0)]});
    let again = http.post(PATH, body).await.ok();
    assert_ne!(again["chunks"][0]["id"], created["chunks"][0]["id"]);
    let events = http.events(&cursor, "&event_types=document.added,document.updated").await;
    assert_eq!(shape(&events), ["document.added"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_listed_in_the_order_of_their_creation() {
    let (server, http) = server().await;
    let ids = ["z", "m", "a", "k", "b"];
    for id in ids {
        let body = json!({"id": id, "title": "t", "chunks": [chunk("x", 1.0)]});
        http.post(PATH, body).await.ok();
    }
    http.patch(&format!("{PATH}/z"), json!({"title": "changed"})).await.ok();
    http.delete(&format!("{PATH}/k")).await.ok();
    for size in [1, 2, 3, 4, 10] {
        let (mut token, mut found) = (String::new(), Vec::new());
        loop {
            let page = http.get(&format!("{PATH}?page_size={size}&page_token={token}")).await.ok();
            let documents = page["documents"].as_array().expect("a list");
            assert!(documents.len() <= size && !documents.is_empty());
            assert!(documents.iter().all(|document| document.get("chunks").is_none()));
            found.extend(documents.iter().map(|document| text(&document["id"])));
            token = text(&page["next_page_token"]);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, ["z", "m", "a", "b"], "{size} a page");
    }
    let whole = http.get(&format!("{PATH}?include_chunks=true")).await.ok();
    assert_eq!(whole["documents"][0], http.get(&format!("{PATH}/z")).await.ok());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_create_writes_once_even_over_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    http.vectors("l", "dot", 2).await;
    let create = |http: Http| async move {
        let body = json!({"title": "t", "chunks": [chunk("x", 1.0)]});
        http.post(&format!("{PATH}?request_id=r"), body).await.ok()
    };
    let first = create(http.clone()).await;
    let (a, b) = tokio::join!(create(http.clone()), create(http.clone()));
    assert_eq!([&a, &b], [&first, &first]);
    // The answer is the document as it is now.
    let path = format!("{PATH}/{}", text(&first["id"]));
    let changed = http.patch(&path, json!({"title": "u"})).await.ok();
    assert_eq!(create(http.clone()).await, changed);
    drop(http);
    server.stop().await;
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    assert_eq!(create(http.clone()).await, changed);
    assert_eq!(http.export("l", "").await.len(), 2, "one document");
    let other = http.post("/v1/libraries?request_id=r", json!({"name": "x"})).await.fault();
    assert_eq!(other.violations[0].0, "request_id");
    drop(http);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_at_once_write_once() {
    let (server, http) = server().await;
    let create = |n: usize| {
        let http = http.clone();
        async move {
            let body = json!({"title": format!("t{n}"), "chunks": [chunk("x", 1.0)]});
            http.post(&format!("{PATH}?request_id=same"), body).await.ok()
        }
    };
    let answers = futures::future::join_all((0..16).map(create)).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(http.export("l", "").await.len(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_replaces_skips_or_fails_what_exists() {
    let (server, http) = server().await;
    let old = json!({"id": "d", "title": "Old", "author": "A", "metadata": {"a": 1},
        "chunks": [chunk("same", 1.0), chunk("old", 2.0)]});
    let first = http.post(PATH, old).await.ok();
    let path = format!("{PATH}/d");
    let new = json!({"id": "d", "title": "New", "chunks": [chunk("same", 1.0)]});

    for (mode, status) in [("skip", "skipped"), ("fail", "failed")] {
        let cursor = tail(&http).await;
        let query = format!("?on_conflict={mode}");
        let answer = http.ingest("l", &query, ndjson(std::slice::from_ref(&new))).await.lines();
        assert_eq!(answer[1]["status"], status);
        assert_eq!(http.get(&path).await.ok(), first);
        let events = http.events(&cursor, "").await;
        assert_eq!(shape(&events), ["batch.started", "batch.completed"]);
        let summary = answer.last().expect("a summary");
        assert_eq!(summary[format!("total_{status}")], 1);
        assert_eq!(events[1][format!("total_{status}")], 1);
        if status == "skipped" {
            assert_eq!(answer[1]["revision"], first["revision"]);
        } else {
            assert_eq!(answer[1]["error"]["type"], "already-exists");
        }
    }

    let cursor = tail(&http).await;
    let answer = http.ingest("l", "", ndjson(&[new])).await.lines();
    assert_eq!(answer[1]["status"], "completed");
    let replaced = http.get(&path).await.ok();
    assert_eq!((&replaced["title"], &replaced["author"]), (&json!("New"), &json!("")));
    assert_eq!(replaced["metadata"], json!({}));
    assert_eq!(replaced["created_at"], first["created_at"]);
    assert_eq!(replaced["chunks"][0]["id"], first["chunks"][0]["id"], "the same chunk");
    let events = http.events(&cursor, "").await;
    let expected = ["batch.started", "document.updated", "chunk.deleted 1", "batch.completed"];
    assert_eq!(shape(&events), expected);
    let batch = text(&answer.last().expect("a summary")["batch_id"]);
    assert!(events.iter().all(|event| event["batch_id"] == json!(batch)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_with_one_id_in_a_stream_are_applied_in_order() {
    let (server, http) = server().await;
    let items: Vec<Value> = (0..200)
        .map(|n| {
            json!({"id": format!("d{}", n % 3), "title": format!("v{n}"),
                "chunks": [chunk(&format!("text {n}"), f64::from(n))]})
        })
        .collect();
    let answer = http.ingest("l", "", ndjson(&items)).await.lines();
    let done: Vec<_> = answer.iter().filter(|line| line["status"] == "completed").collect();
    assert_eq!(done.len(), 200);
    let revisions: Vec<_> = done.iter().map(|line| revision(&line["revision"])).collect();
    assert!(revisions.is_sorted_by(|a, b| a < b), "strictly increasing");
    for (id, title) in [("d0", "v198"), ("d1", "v199"), ("d2", "v197")] {
        assert_eq!(http.get(&format!("{PATH}/{id}")).await.ok()["title"], title);
    }
    let events = http.events("begin", "&event_types=document.added,document.updated").await;
    let titles: Vec<_> = events.iter().map(|event| text(&event["title"])).collect();
    assert_eq!(titles, (0..200).map(|n| format!("v{n}")).collect::<Vec<_>>());
    assert_eq!(events.iter().filter(|event| event["type"] == "document.added").count(), 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_an_ingest_have_golden_bytes() {
    let (server, http) = server().await;
    let body = concat!(
        "{\"id\":\"a\",\"title\":\"One \\\"1\\\"\",\"chunks\":[{\"text\":\"x\",\"embedding\":[1,2]}]}\n",
        "\n",
        "not json\n",
        "{\"title\":\"Two\",\"chunks\":[]}\r\n",
        "{\"id\":\"a\",\"title\":\"Last without a line end\",\"chunks\":[{\"text\":\"x\",\"embedding\":[1,2]}]}"
    );
    let answer = http.ingest("l", "?on_conflict=skip", body).await;
    let all = lines(answer.text());
    let batch = text(&all.last().expect("a summary")["batch_id"]);
    let mut found: Vec<&str> = answer.text().lines().collect();
    found.sort_by_key(|line| !line.contains("processing"));
    let expected = [
        r#"{"status":"processing","line":1,"title":"One \"1\""}"#.to_owned(),
        r#"{"status":"processing","line":4,"title":"Two"}"#.to_owned(),
        r#"{"status":"processing","line":5,"title":"Last without a line end"}"#.to_owned(),
        r#"{"status":"completed","line":1,"id":"a","title":"One \"1\"","num_chunks":1,"revision":"3"}"#
            .to_owned(),
        r#"{"status":"failed","line":3,"title":"","error":{"type":"invalid-argument","detail":"is not JSON: expected ident at line 1 column 2"}}"#
            .to_owned(),
        r#"{"status":"failed","line":4,"title":"Two","error":{"type":"invalid-argument","detail":"chunks: must not be empty"}}"#
            .to_owned(),
        r#"{"status":"skipped","line":5,"id":"a","title":"Last without a line end","revision":"3"}"#
            .to_owned(),
        format!(
            r#"{{"status":"summary","batch_id":"{batch}","total_processed":4,"total_succeeded":1,"total_failed":2,"total_skipped":1,"total_chunks":1,"revision":"4"}}"#
        ),
    ];
    assert_eq!(found, expected);
    for (report, count) in [("failures", 3), ("summary", 1)] {
        let query = format!("?on_conflict=skip&report={report}");
        assert_eq!(http.ingest("l", &query, body).await.lines().len(), count);
    }
    let before = http.events("begin", "").await.len();
    let empty = http.ingest("l", "", "\n\n").await.lines();
    assert_eq!((empty.len(), &empty[0]["total_processed"]), (1, &json!(0)));
    assert_eq!(http.events("begin", "").await.len(), before, "no item, no batch");
    server.stop().await;
}
