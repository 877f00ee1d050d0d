//! A server under pressure: a disk that fails or is full, many subscribers, more streams than there
//! is room for, searches beside a full-speed ingest.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrwdb::api::grpc::pb::document_service_client::DocumentServiceClient;
use arrwdb::api::grpc::pb::event_service_client::EventServiceClient;
use arrwdb::api::grpc::pb::{
    ChunkInput, CreateDocumentRequest, DocumentInput, GetDocumentRequest, SubscribeRequest,
    subscribe_response,
};
use arrwdb::engine::{Engine, EngineOptions};
use arrwdb::log::embedded::{EmbeddedLog, EmbeddedOptions, FaultyDisk};
use arrwdb::settings::Settings;
use arrwdb::store::Store;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{Client, vector};
use crate::harness::{Server, eventually};
use crate::rawhttp;
use crate::wires::{Item, NotBegun, Told, WIRES, begin, ingest, soon};

const LIBRARY: &str = "main";
const DOCUMENTS: &str = "/v1/libraries/main/documents";

/// A server whose log lies on a disk that fails when told to.
async fn on_faulty_disk(folder: &Path, disk: &FaultyDisk) -> Server {
    let shutdown = CancellationToken::new();
    let settings = Settings::default();
    let store = Store::open(&folder.join("store")).expect("a store");
    let applied = store.snapshot().applied().expect("readable");
    let options = EmbeddedOptions {
        min_end: applied.revision,
        min_end_time: applied.time,
        min_end_events: applied.events,
        ..EmbeddedOptions::default()
    };
    let log = EmbeddedLog::open_with(&folder.join("log"), options, Arc::new(disk.clone()));
    let options = EngineOptions {
        limits: settings.limits.clone(),
        embedders: Vec::new(),
        index: None,
        shutdown: shutdown.child_token(),
    };
    let engine = Engine::open(store, Arc::new(log.expect("a log")), options).await;
    Server::over(engine.expect("an engine"), &settings, shutdown).await
}

fn item(number: u64) -> Item {
    Item::of_one(format!("d{number}"), "Doc", &format!("text {number}"), &vector(number))
}

fn body(number: u64) -> Value {
    serde_json::from_str(&item(number).line()).expect("JSON")
}

async fn health(server: &Server) -> i32 {
    let mut health = HealthClient::new(server.channel().await);
    let answer = health.check(HealthCheckRequest::default()).await.expect("an answer");
    answer.into_inner().status
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_fsync_nothing_is_written_and_everything_is_read() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), FaultyDisk::new());
    let server = on_faulty_disk(folder.path(), &disk).await;
    let client = Client::new(server.address);
    client.create_library(LIBRARY).await;
    client.ask("POST", DOCUMENTS, Some(&body(1))).await;
    assert_eq!(client.ask("GET", "/ready", None).await["status"], "ready");
    assert_eq!(health(&server).await, i32::from(ServingStatus::Serving));
    let mut follower = EventServiceClient::new(server.channel().await);
    let request = SubscribeRequest { cursor: "begin".to_owned(), ..Default::default() };
    let mut follower = follower.subscribe(request).await.expect("subscribed").into_inner();
    let mut streams = Vec::new();
    for wire in WIRES {
        streams.push((wire, ingest(wire, server.address, LIBRARY, false).await));
    }

    disk.fail_sync();
    let (status, problem) =
        client.try_ask("POST", DOCUMENTS, Some(&body(2))).await.expect("an answer");
    assert_eq!((status, &problem["type"]), (503, &json!("urn:arrwdb:error:unavailable")));
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("not known") && detail.contains("fsync failed"), "{detail}");

    // No kind of write gets through from here on, though the disk is well again.
    let synced = disk.syncs();
    for (method, path, sent) in [
        ("POST", DOCUMENTS.to_owned(), Some(body(3))),
        ("PATCH", format!("{DOCUMENTS}/d1"), Some(json!({"title": "new"}))),
        ("DELETE", format!("{DOCUMENTS}/d1"), None),
        ("PATCH", "/v1/libraries/main".to_owned(), Some(json!({"description": "new"}))),
        ("DELETE", "/v1/libraries/main".to_owned(), None),
    ] {
        let (status, problem) =
            client.try_ask(method, &path, sent.as_ref()).await.expect("an answer");
        assert_eq!(status, 503, "{method} {path}: {problem}");
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains("no more writes until the server is restarted"), "{detail}");
        assert!(detail.contains("fsync failed"), "{detail}");
    }
    let mut documents = DocumentServiceClient::new(server.channel().await);
    let chunk = ChunkInput { text: "x".to_owned(), embedding: vector(6), ..Default::default() };
    let input = DocumentInput { title: "x".to_owned(), chunks: vec![chunk], ..Default::default() };
    let request = CreateDocumentRequest {
        library_id: LIBRARY.to_owned(),
        document: Some(input),
        ..Default::default()
    };
    let refused = documents.create_document(request).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    for (wire, (mut sender, mut told)) in streams {
        sender.send(&item(4)).await;
        // A server that has ended the stream may have closed it before the client finishes.
        let kept = sender.try_finish().await;
        let rest = told.rest().await;
        let refused = |told: &Told| match told {
            Told::Failed { slug, .. } | Told::Broken { slug, .. } => slug == "unavailable",
            _ => false,
        };
        assert!(!rest.is_empty() && rest.iter().all(refused), "{wire:?}: {rest:?}");
        drop(kept);
    }
    assert_eq!(disk.syncs(), synced, "something was written");

    // It says why, and reads go on.
    let (status, why) = client.try_ask("GET", "/ready", None).await.expect("an answer");
    assert_eq!(status, 503);
    assert!(why["detail"].as_str().expect("a detail").contains("fsync failed"), "{why}");
    assert_eq!(health(&server).await, i32::from(ServingStatus::NotServing));
    let (status, _) = client.try_ask("GET", "/health", None).await.expect("an answer");
    assert_eq!(status, 200, "the process is alive");
    let found = client.search(LIBRARY, &vector(1), 5).await;
    assert_eq!(found["total_results"], 1, "{found}");
    assert_eq!(client.documents(LIBRARY).await.len(), 1);
    assert_eq!(client.export(LIBRARY).await.len(), 1);
    let request = GetDocumentRequest {
        library_id: LIBRARY.to_owned(),
        document_id: "d1".to_owned(),
        ..Default::default()
    };
    documents.get_document(request).await.expect("read");
    // library.created, document.added, chunk.added: nothing that is not durable was delivered.
    let events = client.events("begin", "").await;
    assert_eq!(events.len(), 3, "{events:?}");
    let mut seen = Vec::new();
    while seen.len() < events.len() {
        let next = soon("an event", follower.message()).await.expect("no error").expect("no end");
        if let Some(subscribe_response::Item::Event(event)) = next.item {
            seen.push(event.id);
        }
    }
    assert!(events.iter().zip(&seen).all(|(event, seen)| event["id"] == **seen), "{seen:?}");

    // A start on the same disk after the power failed has exactly what was acknowledged.
    drop((follower, documents));
    server.stop().await;
    disk.lose_power().expect("lost");
    let server = on_faulty_disk(folder.path(), &disk).await;
    let client = Client::new(server.address);
    assert_eq!(client.documents(LIBRARY).await.len(), 1);
    assert_eq!(client.events("begin", "").await, events);
    client.ask("POST", DOCUMENTS, Some(&body(5))).await;
    server.stop().await;
}

/// A disk that is full refuses a write in its middle: nothing of it stays, its writer is told, and
/// once there is room again everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let (folder, disk) = (tempfile::tempdir().expect("a folder"), FaultyDisk::new());
    let server = on_faulty_disk(folder.path(), &disk).await;
    let client = Client::new(server.address);
    client.create_library(LIBRARY).await;
    for (number, room) in (1..).zip([0, 1, 30, 100]) {
        disk.fail_append_after(room);
        let (status, problem) =
            client.try_ask("POST", DOCUMENTS, Some(&body(number))).await.expect("an answer");
        assert_eq!((status, &problem["type"]), (503, &json!("urn:arrwdb:error:unavailable")));
        let path = format!("{DOCUMENTS}/d{number}");
        let (status, _) = client.try_ask("GET", &path, None).await.expect("an answer");
        assert_eq!(status, 404, "a refused document is there");
        assert_eq!(client.ask("GET", "/ready", None).await["status"], "ready");
        client.ask("POST", DOCUMENTS, Some(&body(number))).await;
    }
    let documents = client.documents(LIBRARY).await;
    let events = client.events("begin", "").await;
    assert_eq!((documents.len(), events.len()), (4, 9));
    server.stop().await;
    let server = on_faulty_disk(folder.path(), &disk).await;
    let client = Client::new(server.address);
    assert_eq!(client.documents(LIBRARY).await, documents);
    assert_eq!(client.events("begin", "").await, events);
    server.stop().await;
}

/// The ids of the events that a subscriber sees, up to one of this revision.
async fn follow_grpc(
    server: &Server,
    until: tokio::sync::watch::Receiver<Option<u64>>,
) -> Vec<String> {
    let mut events = EventServiceClient::new(server.channel().await);
    let mut events =
        events.subscribe(SubscribeRequest::default()).await.expect("subscribed").into_inner();
    let mut seen = Vec::new();
    loop {
        let message = soon("an event", events.message()).await.expect("no error").expect("no end");
        if let Some(subscribe_response::Item::Event(event)) = message.item {
            seen.push(event.id);
            if event.last && *until.borrow() == Some(event.revision) {
                return seen;
            }
        }
    }
}

async fn follow_sse(
    server: &Server,
    until: tokio::sync::watch::Receiver<Option<u64>>,
) -> Vec<String> {
    let begun = rawhttp::begin(server.address, "GET", "/v1/events/stream").await;
    let (sender, mut lines) = begun.expect("there");
    let _sender = sender.finish().await.expect("sent");
    let mut seen = Vec::new();
    loop {
        let line = soon("an event", lines.line()).await.expect("no error").expect("no end");
        let Some(data) = line.strip_prefix(b"data: ") else { continue };
        let event: Value = serde_json::from_slice(data).expect("JSON");
        if event["type"] == "heartbeat" {
            continue;
        }
        seen.push(event["id"].as_str().expect("an id").to_owned());
        let revision = event["revision"].as_str().and_then(|text| text.parse().ok());
        if event["last"] == true && *until.borrow() == revision {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_subscribers_see_the_same_feed_while_eight_clients_write() {
    const WRITERS: u64 = 8;
    const DOCUMENTS_EACH: u64 = 25;
    let server = Arc::new(Server::start().await);
    let client = Client::new(server.address);
    client.create_library(LIBRARY).await;
    let before = client.events("begin", "").await.len();
    let (say_last, last) = tokio::sync::watch::channel(None);
    let mut subscribers = JoinSet::new();
    for _ in 0..100 {
        let (server, last) = (Arc::clone(&server), last.clone());
        subscribers.spawn(async move { follow_grpc(&server, last).await });
    }
    for _ in 0..100 {
        let (server, last) = (Arc::clone(&server), last.clone());
        subscribers.spawn(async move { follow_sse(&server, last).await });
    }
    let statistics = async || client.ask("GET", "/v1/events/statistics", None).await;
    eventually("all have subscribed", async || {
        (statistics().await["subscriber_count"] == 200).then_some(())
    })
    .await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = client.clone();
        writers.spawn(async move {
            for number in 0..DOCUMENTS_EACH {
                let number = writer * DOCUMENTS_EACH + number;
                client.ask("POST", DOCUMENTS, Some(&body(number))).await;
            }
        });
    }
    while let Some(ended) = soon("the writers' end", writers.join_next()).await {
        ended.expect("no panic");
    }
    // Whoever sees this one has seen all: it is known before it is written, being the next.
    let tail = client.ask("GET", "/v1/events/statistics", None).await;
    let tail: u64 =
        tail["tail_revision"].as_str().and_then(|text| text.parse().ok()).expect("a number");
    say_last.send_replace(Some(tail + 1));
    let last = client.ask("POST", DOCUMENTS, Some(&body(10_000))).await;
    assert_eq!(last["revision"], (tail + 1).to_string(), "revisions are without gaps here");
    let events = client.events("begin", "").await;
    let expected: Vec<&str> =
        events[before..].iter().map(|event| event["id"].as_str().expect("an id")).collect();
    assert_eq!(expected.len() as u64, 2 * (WRITERS * DOCUMENTS_EACH + 1));
    let mut ended = 0;
    while let Some(seen) = soon("a subscriber's end", subscribers.join_next()).await {
        assert_eq!(seen.expect("no panic"), expected);
        ended += 1;
    }
    assert_eq!(ended, 200);
    eventually("all have left", async || {
        (statistics().await["subscriber_count"] == 0).then_some(())
    })
    .await;
    assert_eq!(statistics().await["pending_events"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_streams_beyond_the_limit_are_refused_until_one_ends() {
    let server = Server::start_with(|settings| settings.limits.ingest_streams_max = 3).await;
    let client = Client::new(server.address);
    client.create_library(LIBRARY).await;
    let mut open = Vec::new();
    for wire in WIRES {
        open.push(ingest(wire, server.address, LIBRARY, false).await);
    }
    for wire in WIRES {
        let refused = begin(wire, server.address, LIBRARY, false).await.err();
        let expected = NotBegun::Refused("resource-exhausted".to_owned());
        assert_eq!(refused, Some(expected), "{wire:?}");
    }
    let path = format!("{DOCUMENTS}/stream");
    let (status, problem) =
        client.try_ask("POST", &path, Some(&json!({}))).await.expect("an answer");
    assert_eq!(status, 429);
    assert!(
        problem["detail"].as_str().expect("a detail").contains("ingest_streams_max"),
        "{problem}"
    );
    assert!(problem["retry_after_ms"].as_u64() > Some(0), "{problem}");
    // Nothing else is held up, and those that are open work.
    client.ask("POST", DOCUMENTS, Some(&body(1))).await;
    for (mut sender, mut told) in open {
        sender.send(&item(2)).await;
        let kept = sender.finish().await;
        assert_eq!(told.rest().await.len(), 2);
        drop(kept);
    }
    for wire in WIRES {
        eventually("there is room again", async || {
            begin(wire, server.address, LIBRARY, false).await.ok()
        })
        .await;
    }
    server.stop().await;
}

/// The ingest does not end before the searches have: if it held them up, neither would.
#[tokio::test(flavor = "multi_thread")]
async fn searches_are_answered_and_see_what_is_acknowledged_while_an_ingest_runs_at_full_speed() {
    const SEARCHES: usize = 200;
    let server = Server::start().await;
    let client = Client::new(server.address);
    client.create_library(LIBRARY).await;
    for wire in WIRES {
        let enough = AtomicBool::new(false);
        let (mut sender, mut told) = ingest(wire, server.address, LIBRARY, false).await;
        let (say_completed, mut completed) = tokio::sync::watch::channel((0, 0));
        let sending = async {
            let mut number = 0;
            while !enough.load(Ordering::Relaxed) {
                sender.send_all((0..100).map(|i| item(1 + (number + i) % 5_000))).await;
                number += 100;
            }
            sender.finish().await
        };
        let hearing = async {
            loop {
                match told.next().await.expect("a summary comes before the end") {
                    Told::Completed { position, revision, .. } => {
                        say_completed.send_replace((position, revision));
                    }
                    Told::Summary { counts, .. } => return counts,
                    Told::Processing { .. } => {}
                    told => panic!("{wire:?}: {told:?}"),
                }
            }
        };
        let searching = async {
            let mut during = 0;
            for _ in 0..SEARCHES {
                // Each after something more was acknowledged, so that they are spread over the ingest.
                soon("progress", completed.changed()).await.expect("it runs");
                let (position, revision) = *completed.borrow_and_update();
                let number = 1 + (position - 1) % 5_000;
                let found = client.search(LIBRARY, &vector(number), 1).await;
                assert_eq!(found["results"][0]["document_id"], format!("d{number}"), "{wire:?}");
                assert_eq!(found["results"][0]["distance"], 0.0, "{wire:?}");
                let at: u64 = found["revision"]
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .expect("a revision");
                assert!(at >= revision, "{wire:?}: a search at {at} after {revision}");
                during += 1;
            }
            enough.store(true, Ordering::Relaxed);
            during
        };
        let (_kept, counts, searches) = tokio::join!(sending, hearing, searching);
        assert_eq!(searches, SEARCHES);
        assert_eq!(counts.processed, counts.succeeded, "{wire:?}");
    }
    server.stop().await;
}
