//! Snapshot and tail: what a client folds from a subscription that begins with a snapshot is what
//! the server has, whoever writes meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrwdb::api::grpc::pb;
use arrwdb::api::grpc::pb::event_service_client::EventServiceClient;
use arrwdb::api::grpc::pb::subscribe_response::Item;
use serde_json::{Value, json};

use crate::feed_client::{Grpc, all_events, create_library, document, follow, ids, ingest};
use crate::harness::Server;
use crate::wire::Frame;

/// Documents by library and id: title and `n`.
type Fold = BTreeMap<(String, String), (String, i64)>;

/// Puts what a frame says into the fold; true for the event that says that the writers are done.
fn fold(state: &mut Fold, frame: &Frame) -> bool {
    let data = &frame.data;
    let key = || {
        let text = |name: &str| data[name].as_str().expect("text").to_owned();
        (text("library_id"), text("document_id"))
    };
    let value = || {
        let title = data["title"].as_str().expect("a title").to_owned();
        (title, data["metadata"]["n"].as_i64().expect("a number"))
    };
    match (frame.event.as_str(), data["match"].as_str()) {
        ("snapshot.document", _) => {
            assert!(frame.id.is_none(), "no cursor before the snapshot is whole");
            assert!(state.insert(key(), value()).is_none(), "twice in the snapshot: {data}");
        }
        ("document.added", _) => assert!(state.insert(key(), value()).is_none(), "{data}"),
        ("document.updated", Some("left")) | ("document.deleted", _) => {
            assert!(state.remove(&key()).is_some(), "{data}");
        }
        ("document.updated", Some("entered")) => {
            assert!(state.insert(key(), value()).is_none(), "{data}");
        }
        ("document.updated", _) => assert!(state.insert(key(), value()).is_some(), "{data}"),
        ("library.created", _) => return data["name"] == "done",
        _ => {}
    }
    false
}

/// What a library holds, as the server says.
async fn held(server: &Server, library: &str) -> Fold {
    let (mut state, mut token) = (Fold::new(), String::new());
    loop {
        let path = format!("/v1/libraries/{library}/documents?page_size=100&page_token={token}");
        let page: Value = server
            .http
            .get(server.url(&path))
            .send()
            .await
            .expect("answered")
            .json()
            .await
            .expect("JSON");
        for one in page["documents"].as_array().expect("a list") {
            let text = |name: &str| one[name].as_str().expect("text").to_owned();
            let n = one["metadata"]["n"].as_i64().expect("a number");
            state.insert((library.to_owned(), text("id")), (text("title"), n));
        }
        match page["next_page_token"].as_str().filter(|token| !token.is_empty()) {
            Some(next) => next.clone_into(&mut token),
            None => return state,
        }
    }
}

/// What a library's export holds, and its cursor.
async fn export(server: &Server, library: &str) -> (Fold, String) {
    let url = server.url(&format!("/v1/libraries/{library}/documents/stream"));
    let text = server.http.get(url).send().await.expect("answered").text().await.expect("text");
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let last = lines.pop().expect("a last line");
    assert_eq!(
        (&last["status"], &last["total_documents"]),
        (&json!("complete"), &json!(lines.len()))
    );
    let document = |one: &Value| {
        let text = |name: &str| one[name].as_str().expect("text").to_owned();
        let n = one["metadata"]["n"].as_i64().expect("a number");
        ((library.to_owned(), text("id")), (text("title"), n))
    };
    (lines.iter().map(document).collect(), last["cursor"].as_str().expect("a cursor").to_owned())
}

/// Adds, changes and deletes documents until told to stop.
async fn write(server: &Server, library: &str, writer: usize, stop: &AtomicBool) {
    let url = server.url(&format!("/v1/libraries/{library}/documents"));
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("w{writer}-{}", n % 5);
        let mut new = document(&id, 1);
        new["metadata"] = json!({ "n": n % 7 });
        let request = match n % 3 {
            0 => server.http.post(&url).json(&new),
            1 => server.http.patch(format!("{url}/{id}")).json(&json!({
                "title": format!("Changed {n}"), "metadata": { "n": n % 7 },
            })),
            _ => server.http.delete(format!("{url}/w{writer}-{}", n % 4)),
        };
        request.send().await.expect("answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_of_snapshot_or_export_and_tail_is_the_servers_state_while_writers_run() {
    let server = Arc::new(Server::start().await);
    let library = create_library(&server, "a").await;
    let lines: Vec<_> = (0..700).map(|n| document(&format!("old{n}"), 1)).collect();
    ingest(&server, &library, &lines).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..3 {
        let (server, library, stop) = (Arc::clone(&server), library.clone(), Arc::clone(&stop));
        writers.push(tokio::spawn(async move { write(&server, &library, writer, &stop).await }));
    }
    // One after the other, each into the midst of the writes: from exports, from snapshots, the
    // last few with a filter.
    let mut folds = Vec::new();
    for _ in 0..3 {
        let (mut state, cursor) = export(&server, &library).await;
        let mut sse = follow(&server, &format!("cursor={cursor}"), None).await;
        for _ in 0..5 {
            let frame = sse.event().await;
            fold(&mut state, &frame);
        }
        folds.push((false, sse, state));
    }
    for round in 0..8 {
        let filtered = round >= 5;
        // What is no document's event has nothing to be matched.
        let filter = "&filter=document.metadata.n%20%3E%3D%203%20%7C%7C%20event.type.startsWith(%22library%22)";
        let query = format!("snapshot=true{}", if filtered { filter } else { "" });
        let mut sse = follow(&server, &query, None).await;
        let (mut state, mut documents) = (Fold::new(), 0);
        loop {
            let frame = sse.event().await;
            if frame.event == "snapshot.end" {
                assert_eq!(frame.data["total_documents"], documents);
                assert_eq!(frame.data["id"].as_str(), frame.id.as_deref());
                break;
            }
            assert_eq!(frame.event, "snapshot.document", "nothing else before the end");
            fold(&mut state, &frame);
            documents += 1;
        }
        // Some of the tail before the next joins, so that the writes go on meanwhile.
        for _ in 0..5 {
            let frame = sse.event().await;
            fold(&mut state, &frame);
        }
        folds.push((filtered, sse, state));
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("no panic");
    }
    create_library(&server, "done").await;
    let expected = held(&server, &library).await;
    assert!(expected.len() > 700);
    for (filtered, mut sse, mut state) in folds {
        loop {
            let frame = sse.event().await;
            if fold(&mut state, &frame) {
                break;
            }
        }
        let mut expected = expected.clone();
        expected.retain(|_, (_, n)| !filtered || *n >= 3);
        assert_eq!(state, expected, "filtered: {filtered}");
    }
    Arc::into_inner(server).expect("the writers are done").stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_transports_give_the_same_snapshot_and_go_on_behind_it() {
    let server = Server::start().await;
    let (a, b) = (create_library(&server, "a").await, create_library(&server, "b").await);
    let lines: Vec<_> = (0..30).map(|n| document(&format!("d{n}"), 1 + n % 3)).collect();
    ingest(&server, &a, &lines).await;
    ingest(&server, &b, &lines[..10]).await;
    for (library, count) in [("", 40), (a.as_str(), 30), ("b", 10)] {
        let query = format!("snapshot=true&library_id={library}");
        let mut sse = follow(&server, &query, None).await;
        let request = pb::SubscribeRequest {
            library_id: library.to_owned(),
            snapshot: true,
            ..Default::default()
        };
        let mut grpc = Grpc::open(&server, request).await;
        for _ in 0..count {
            let data = sse.event().await.data;
            let Item::SnapshotDocument(one) = grpc.item().await else { panic!("not a document") };
            assert_eq!(data["library_id"], one.library_id);
            assert_eq!(data["revision"], one.revision.to_string());
            assert_eq!(data["document_id"], one.document.expect("there").document_id);
        }
        let end = sse.event().await;
        let Item::SnapshotEnd(same) = grpc.item().await else { panic!("not the end") };
        assert_eq!(end.id.as_ref(), Some(&same.cursor));
        assert_eq!(same.total_documents, count);
        // The first thing behind it is the first that came after.
        let written = document(&format!("after-{count}"), 1);
        ingest(&server, &b, std::slice::from_ref(&written)).await;
        if library != a {
            let first = sse.event().await;
            assert_eq!(first.event, "batch.started");
            assert_eq!(Some(grpc.event().await.id), first.id);
        }
        ingest(&server, &a, std::slice::from_ref(&written)).await;
        for id in [a.as_str(), "b"] {
            let path = format!("/v1/libraries/{id}/documents/after-{count}");
            let gone = server.http.delete(server.url(&path)).send().await.expect("answered");
            assert!(gone.status().is_success());
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_comes_back_with_the_snapshot_goes_on_behind_what_it_has() {
    let server = Server::start().await;
    let library = create_library(&server, "a").await;
    ingest(&server, &library, &[document("one", 1), document("two", 1)]).await;
    let mut sse = follow(&server, "snapshot=true", None).await;
    let cut = sse.event().await;
    assert_eq!((cut.event.as_str(), cut.id), ("snapshot.document", None));
    let mut end = sse.event().await;
    while end.event != "snapshot.end" {
        end = sse.event().await;
    }
    let id = end.id.expect("a cursor");
    ingest(&server, &library, &[document("three", 1)]).await;
    let mut again = follow(&server, "snapshot=true", Some(&id)).await;
    let log = ids(&all_events(&server).await);
    let rest: Vec<_> = log.into_iter().filter(|one| *one > id).collect();
    let frames = again.events(rest.len()).await;
    assert_eq!(frames.iter().filter_map(|frame| frame.id.clone()).collect::<Vec<_>>(), rest);
    assert!(rest.len() == 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_is_refused() {
    let server = Server::start().await;
    let mut client = EventServiceClient::new(server.channel().await);
    for (query, status, cursor, library) in
        [("cursor=begin", 400, "begin", ""), ("library_id=nowhere", 404, "", "nowhere")]
    {
        let url = server.url(&format!("/v1/events/stream?snapshot=true&{query}"));
        assert_eq!(server.http.get(url).send().await.expect("answered").status(), status);
        let request = pb::SubscribeRequest {
            library_id: library.to_owned(),
            cursor: cursor.to_owned(),
            snapshot: true,
            ..Default::default()
        };
        let refused = client.subscribe(request).await.expect_err("refused");
        let code = if status == 400 { tonic::Code::InvalidArgument } else { tonic::Code::NotFound };
        assert_eq!(refused.code(), code, "{refused}");
    }
    server.stop().await;
}
