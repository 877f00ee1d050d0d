//! Libraries: ids and names, updates, deletion for good.

use arrwdb::store::{DocumentParts, Store};
use arrwdb::types::{LibraryRef, Revision};
use serde_json::{Value, json};

use crate::harness::{Server, eventually};
use crate::wire::{Http, encoded, ndjson, revision, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_serves_wherever_an_id_does() {
    let server = Server::start().await;
    let http = Http::of(&server);
    let longest = "ä".repeat(128);
    for name in ["täglich neu", "a/b?c#d%25e", "100 %", "+", "名前", longest.as_str()] {
        let library = http.vectors(name, "cosine", 2).await;
        let id = text(&library["id"]);
        let paths = [format!("/v1/libraries/{}", encoded(name)), format!("/v1/libraries/{id}")];
        assert_eq!(http.get(&paths[0]).await.ok(), library);
        assert_eq!(http.get(&paths[1]).await.ok(), library);
        let document = json!({"id": "d", "title": "t", "chunks": [{"embedding": [1, 2]}]});
        let path = format!("{}/documents", paths[0]);
        assert_eq!(http.post(&path, document).await.status, 201);
        for path in &paths {
            let found = http.post(&format!("{path}/search"), json!({"embedding": [1, 2]})).await;
            assert_eq!(found.ok()["total_results"], 1, "{name}");
            let listed = http.get(&format!("{path}/documents")).await.ok();
            assert_eq!(listed["documents"][0]["id"], "d");
            let statistics = http.get(&format!("{path}/statistics")).await.ok();
            assert_eq!((&statistics["num_documents"], &statistics["id"]), (&json!(1), &json!(id)));
            let upper = path.replace(&id, &id.to_uppercase());
            assert_eq!(text(&http.get(&upper).await.ok()["id"]), id);
        }
        let query = format!("&library_id={}", encoded(name));
        let by_name = http.events("begin", &query).await;
        assert_eq!(by_name, http.events("begin", &format!("&library_id={id}")).await);
        assert_eq!(by_name.len(), 3);
        assert_eq!(http.export(name, "").await.len(), 2);
    }
    let plus = http.get("/v1/libraries/t%C3%A4glich+neu").await;
    assert_eq!(plus.fault().slug, "not-found", "a plus in a path is a plus");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_where_it_is_and_what_to_match() {
    let server = Server::start().await;
    let http = Http::of(&server);
    let reply = http.post("/v1/libraries", json!({"name": "a"})).await;
    assert_eq!(reply.status, 201);
    let library = reply.ok();
    let tag = format!("\"{}\"", text(&library["revision"]));
    assert_eq!(reply.header("etag"), Some(tag.as_str()));
    assert_eq!(library["created_at"], library["updated_at"]);
    assert_eq!((&library["metric"], &library["index_type"]), (&json!("cosine"), &json!("auto")));
    assert_eq!((&library["dimension"], &library["metadata"]), (&json!(256), &json!({})));
    assert_eq!(text(&library["embedder"]["sha256"]).len(), 64);
    let id = text(&library["id"]);
    assert_eq!(id.as_bytes()[14], b'7', "a UUIDv7: {id}");

    let patch = |tag: &str, body: Value| {
        let request = http.request("PATCH", "/v1/libraries/a").header("if-match", tag);
        http.send(request.json(&body))
    };
    let updated = patch(&tag, json!({"description": "x"})).await;
    assert_ne!(updated.header("etag"), Some(tag.as_str()));
    let stale = patch(&tag, json!({"description": "y"})).await.fault();
    assert_eq!(stale.slug, "conflict");
    assert_eq!(http.get("/v1/libraries/a").await.ok()["description"], "x");
    let newer = updated.ok();
    assert!(revision(&newer["revision"]) > revision(&library["revision"]));
    assert!(text(&newer["updated_at"]) >= text(&library["updated_at"]));
    let request = http.request("DELETE", "/v1/libraries/a").header("if-match", tag);
    assert_eq!(http.send(request).await.fault().slug, "conflict");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let server = Server::start().await;
    let http = Http::of(&server);
    let body = json!({"name": "a", "description": "d", "metadata": {"x": 1, "y": {"z": 2}}});
    let mut expected = http.post("/v1/libraries", body).await.ok();
    let mut path = "/v1/libraries/a".to_owned();
    for (patch, field, value) in [
        (json!({"metadata": {"x": 2}}), "metadata", json!({"x": 2})),
        (json!({"description": null}), "description", json!("")),
        (json!({"metadata": null}), "metadata", json!({})),
        (json!({"name": "b"}), "name", json!("b")),
        (json!({"name": "b"}), "name", json!("b")),
        (json!({}), "name", json!("b")),
    ] {
        let changed = http.patch(&path, patch.clone()).await.ok();
        expected[field] = value;
        for own in ["revision", "updated_at"] {
            expected[own] = changed[own].clone();
        }
        assert_eq!(changed, expected, "{patch}");
        path = format!("/v1/libraries/{}", text(&changed["name"]));
        assert_eq!(http.get(&path).await.ok(), expected);
    }
    for (patch, field) in [
        (json!({"metric": "dot"}), "metric"),
        (json!({"dimension": 3}), "dimension"),
        (json!({"name": null}), "name"),
        (json!({"name": ""}), "name"),
    ] {
        let fault = http.patch(&path, patch).await.fault();
        assert_eq!(
            (fault.slug.as_str(), fault.violations[0].0.as_str()),
            ("invalid-argument", field)
        );
    }
    assert_eq!(http.get("/v1/libraries/a").await.fault().slug, "not-found");
    let events = http.events("begin", "&event_types=library.updated").await;
    assert_eq!(events[0]["previous_metadata"], json!({"x": 1, "y": {"z": 2}}));
    assert_eq!(events[0]["metadata"], json!({"x": 2}));
    assert_eq!(
        (&events[1]["previous_description"], &events[1]["description"]),
        (&json!("d"), &json!(""))
    );
    assert_eq!((&events[3]["previous_name"], &events[3]["name"]), (&json!("a"), &json!("b")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_are_listed_by_name_page_by_page() {
    let server = Server::start().await;
    let http = Http::of(&server);
    let names = ["z", "Ä", "a", "A", "m m", "0"];
    for name in names {
        http.vectors(name, "dot", 1).await;
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    for size in [1, 2, 5, 6, 100] {
        let (mut token, mut found) = (String::new(), Vec::new());
        loop {
            let path = format!("/v1/libraries?page_size={size}&page_token={}", encoded(&token));
            let page = http.get(&path).await.ok();
            let libraries = page["libraries"].as_array().expect("a list");
            assert!(!libraries.is_empty() && libraries.len() <= size, "{page}");
            found.extend(libraries.iter().map(|library| text(&library["name"])));
            token = text(&page["next_page_token"]);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, sorted, "{size} a page");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_library_stands_for_all_that_was_in_it_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    let library = http.vectors("doomed", "cosine", 2).await;
    http.vectors("kept", "cosine", 2).await;
    let documents: Vec<Value> = (0..50)
        .map(|n| {
            json!({"id": format!("d{n}"), "title": "t",
                "chunks": [{"text": "secret", "embedding": [1, n]}, {"embedding": [n, 1]}]})
        })
        .collect();
    for library in ["doomed", "kept"] {
        http.ingest(library, "", ndjson(&documents)).await.lines();
    }
    let cursor = http.get("/v1/events?cursor=now").await.ok();
    let deleted = http.delete("/v1/libraries/doomed").await.ok();
    let events = http.events(&text(&cursor["tail_cursor"]), "").await;
    assert_eq!(events.len(), 1, "one event stands for all: {events:?}");
    let event = &events[0];
    assert_eq!((&event["type"], &event["last"]), (&json!("library.deleted"), &json!(true)));
    assert_eq!((&event["num_documents"], &event["num_chunks"]), (&json!(50), &json!(100)));
    assert_eq!((&event["name"], &event["library_id"]), (&json!("doomed"), &library["id"]));
    assert_eq!(event["revision"], deleted["revision"]);

    let gone = |http: Http, path: &'static str| async move {
        assert_eq!(http.get(path).await.fault().slug, "not-found", "{path}");
    };
    gone(http.clone(), "/v1/libraries/doomed").await;
    gone(http.clone(), "/v1/libraries/doomed/documents").await;
    gone(http.clone(), "/v1/libraries/doomed/documents/d1").await;
    gone(http.clone(), "/v1/libraries/doomed/documents/stream").await;
    let old_id = format!("/v1/libraries/{}", text(&library["id"]));
    assert_eq!(http.get(&old_id).await.fault().slug, "not-found");
    // The past stays readable, by id.
    let past = http.events("begin", &format!("&library_id={}", text(&library["id"]))).await;
    assert_eq!(past.len(), 1 + 1 + 50 * 3 + 1 + 1);

    // Under the old name comes a new library, empty, with an id of its own.
    let again = http.vectors("doomed", "l2", 3).await;
    assert_ne!(again["id"], library["id"]);
    assert_eq!(http.export("doomed", "").await.len(), 1);
    let body = json!({"id": "d1", "title": "t", "chunks": [{"embedding": [1, 2, 3]}]});
    let path = "/v1/libraries/doomed/documents";
    assert_eq!(http.post(path, body).await.status, 201);
    drop(http);
    server.stop().await;

    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    assert_eq!(http.get(&old_id).await.fault().slug, "not-found");
    assert_eq!(http.export("doomed", "").await.len(), 2);
    assert_eq!(http.export("kept", "").await.len(), 51);
    drop(http);
    server.stop().await;
    // The space is freed in the background, from each start on.
    let Ok(LibraryRef::Id(id)) = text(&library["id"]).parse() else { panic!("no id: {library}") };
    eventually("the purge leaves nothing", async || {
        Server::open(folder.path(), |_| {}).await.stop().await;
        let store = Store::open(&folder.path().join("store")).expect("opens");
        let parts = DocumentParts { texts: true, vectors: true };
        let left = store.snapshot().documents(id, Revision::ZERO, parts).count();
        (left == 0 && store.purges().expect("readable").is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_create_gets_the_first_answer_even_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    let create = |http: Http| async move {
        let request = http.request("POST", "/v1/libraries").header("idempotency-key", "once");
        http.send(request.json(&json!({"name": "a"}))).await.ok()
    };
    let first = create(http.clone()).await;
    assert_eq!(create(http.clone()).await, first);
    let by_parameter = http.post("/v1/libraries?request_id=once", json!({"name": "a"})).await;
    assert_eq!(by_parameter.ok(), first);
    let twice = http.post("/v1/libraries", json!({"name": "a"})).await.fault();
    assert_eq!(twice.slug, "already-exists");
    let tail = http.get("/v1/events/statistics").await.ok()["tail_revision"].clone();
    assert_eq!(tail, first["revision"], "retries write nothing");
    drop(http);
    server.stop().await;
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    assert_eq!(create(http.clone()).await, first);
    http.delete("/v1/libraries/a").await.ok();
    let late = http.post("/v1/libraries?request_id=once", json!({"name": "a"})).await.fault();
    assert_eq!(late.slug, "failed-precondition", "what it made is not there any more");
    drop(http);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_forgotten_after_its_time() {
    let server = Server::start_with(|settings| settings.limits.request_id_memory_ms = 1).await;
    let http = Http::of(&server);
    let path = "/v1/libraries?request_id=once";
    http.post(path, json!({"name": "a"})).await.ok();
    let refused = eventually("forgotten", async || {
        let reply = http.post(path, json!({"name": "a"})).await;
        (reply.status != 201).then(|| reply.fault())
    })
    .await;
    assert_eq!(refused.slug, "already-exists");
    server.stop().await;
}
