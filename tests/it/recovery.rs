//! The real binary, killed at any moment and started again on the same folder; shut down in order;
//! started where another one runs; and given a folder that has lost something.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use arrwdb::api::grpc::pb::event_service_client::EventServiceClient;
use arrwdb::api::grpc::pb::{SubscribeRequest, subscribe_response};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Client, vector};
use crate::harness::{Process, channel, eventually};
use crate::ledger::{Fact, Ledger, body, document, epoch_of};
use crate::rawhttp;
use crate::wires::{Item, Told, WIRES, Wire, begin, ingest, soon};

const LIBRARY: &str = "main";

async fn start(folder: &Path, extra: &[&str]) -> Process {
    // Starting waits for the process: not on a thread that others need.
    tokio::task::block_in_place(|| Process::start(folder, extra))
}

async fn kill(server: Process) {
    tokio::task::block_in_place(|| server.kill());
}

async fn terminate(server: Process) -> Option<i32> {
    tokio::task::block_in_place(|| server.terminate())
}

/// What all workers of a round share.
#[derive(Clone)]
struct Shared {
    ledger: Arc<Mutex<Ledger>>,
    /// How many acknowledgements the round has seen.
    acknowledgements: Arc<watch::Sender<u64>>,
}

impl Shared {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic")
    }

    fn acknowledged(&self, fact: &Fact, revision: u64) {
        self.ledger().acknowledged(fact, revision);
        self.acknowledgements.send_modify(|count| *count += 1);
    }
}

/// Streams documents in, batch after batch, new ones and replaced ones, until the server is gone.
async fn stream_worker(shared: Shared, wire: Wire, server: Client, mut random: ChaCha8Rng) {
    while let Ok((mut sender, mut told)) = begin(wire, server.address(), LIBRARY, false).await {
        let (sent, of_position) = (Mutex::new(Vec::new()), |sent: &Mutex<Vec<Fact>>, at: u64| {
            let at = usize::try_from(at).expect("a position") - 1;
            sent.lock().expect("no panic")[at].clone()
        });
        let num_items = random.random_range(1..400);
        let sending = async {
            for _ in 0..num_items {
                let id = format!("{wire:?}-{}", random.random_range(0..500));
                let version = shared.ledger().next_version();
                let fact = Fact::Written { library: LIBRARY.to_owned(), id: id.clone(), version };
                shared.ledger().sent(fact.clone());
                sent.lock().expect("no panic").push(fact);
                sender.try_send(&document(&id, version)).await?;
            }
            sender.try_finish().await
        };
        let hearing = async {
            loop {
                match told.try_next().await? {
                    Some(Told::Processing { .. }) => {}
                    Some(Told::Completed { position, revision, .. }) => {
                        shared.acknowledged(&of_position(&sent, position), revision);
                    }
                    Some(Told::Summary { batch_id, .. }) => {
                        shared.ledger().batch_completed(batch_id);
                    }
                    Some(told) => panic!("{wire:?}: {told:?}"),
                    None => return Ok(()),
                }
            }
        };
        if tokio::try_join!(sending, hearing).is_err() {
            return;
        }
    }
}

/// Creates, updates and deletes one document at a time until the server is gone.
async fn unary_worker(shared: Shared, name: usize, server: Client, mut random: ChaCha8Rng) {
    let prefix = format!("unary{name}-");
    let mut ids = shared.ledger().ids(LIBRARY);
    ids.retain(|id| id.starts_with(&prefix));
    let documents = format!("/v1/libraries/{LIBRARY}/documents");
    loop {
        let choice = random.random_range(0..10);
        let known = (!ids.is_empty()).then(|| random.random_range(0..ids.len().max(1)));
        let (method, path, fact, item) = match known {
            Some(at) if choice < 2 => {
                let id = ids.swap_remove(at);
                let path = format!("{documents}/{id}");
                ("DELETE", path, Fact::Deleted { library: LIBRARY.to_owned(), id }, None)
            }
            known => {
                let version = shared.ledger().next_version();
                let (method, id) = match known {
                    Some(at) if choice < 6 => ("PATCH", ids[at].clone()),
                    _ => ("POST", format!("{prefix}{version}")),
                };
                let item = document(&id, version);
                let path = match method {
                    "PATCH" => format!("{documents}/{id}"),
                    _ => documents.clone(),
                };
                let fact = Fact::Written { library: LIBRARY.to_owned(), id, version };
                (method, path, fact, Some(item))
            }
        };
        let mut sent = item.as_ref().map(body);
        if let (Some(sent), "PATCH") = (&mut sent, method) {
            sent.as_object_mut().expect("an object").remove("id");
        }
        shared.ledger().sent(fact.clone());
        let Ok((status, answer)) = server.try_ask(method, &path, sent.as_ref()).await else {
            return;
        };
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        shared.acknowledged(&fact, revision(&answer));
        if let ("POST", Some(item)) = (method, item) {
            ids.push(item.id);
        }
    }
}

/// Makes libraries, puts something in and deletes them, until the server is gone.
async fn library_worker(shared: Shared, server: Client, mut random: ChaCha8Rng) {
    loop {
        let library = format!("passing-{}", shared.ledger().next_version());
        let num_documents = random.random_range(0..4);
        let mut steps = vec![(
            "POST",
            "/v1/libraries".to_owned(),
            Fact::LibraryCreated { library: library.clone() },
            Some(
                json!({"name": library, "embedder": "none", "dimension": crate::client::DIMENSION, "metric": "l2"}),
            ),
        )];
        for number in 0..num_documents {
            let version = shared.ledger().next_version();
            let id = format!("d{number}");
            let item = document(&id, version);
            let fact = Fact::Written { library: library.clone(), id, version };
            steps.push((
                "POST",
                format!("/v1/libraries/{library}/documents"),
                fact,
                Some(body(&item)),
            ));
        }
        // Some stay.
        if random.random_range(0..8) > 0 {
            let fact = Fact::LibraryDeleted { library: library.clone() };
            steps.push(("DELETE", format!("/v1/libraries/{library}"), fact, None));
        }
        for (method, path, fact, sent) in steps {
            shared.ledger().sent(fact.clone());
            let Ok((status, answer)) = server.try_ask(method, &path, sent.as_ref()).await else {
                return;
            };
            assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
            shared.acknowledged(&fact, revision(&answer));
        }
    }
}

/// Follows the feed as Server-Sent Events until the server is gone.
async fn sse_worker(shared: Shared, server: Client) {
    let path = "/v1/events/stream";
    let Ok((sender, mut receiver)) = rawhttp::begin(server.address(), "GET", path).await else {
        return;
    };
    let mut seen = Vec::new();
    if let Ok(_sender) = sender.finish().await {
        while let Ok(Some(line)) = receiver.line().await {
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            let event: Value = serde_json::from_slice(data).expect("JSON");
            if event["type"] != "heartbeat" {
                seen.push(event);
            }
        }
    }
    shared.ledger().seen(seen);
}

fn revision(answer: &Value) -> u64 {
    answer["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision")
}

async fn rounds_of_kill_9(rounds: u64, seed: u64) {
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut server = start(folder.path(), &[]).await;
    let library = Fact::LibraryCreated { library: LIBRARY.to_owned() };
    let created = Client::new(server.address).create_library(LIBRARY).await;
    ledger.lock().expect("no panic").sent(library.clone());
    ledger.lock().expect("no panic").acknowledged(&library, revision(&created));
    let mut epoch = None;
    for round in 0..rounds {
        let client = Client::new(server.address);
        let (acknowledgements, mut count) = watch::channel(0);
        let shared =
            Shared { ledger: Arc::clone(&ledger), acknowledgements: Arc::new(acknowledgements) };
        let mut workers = JoinSet::new();
        let mut fork = || ChaCha8Rng::seed_from_u64(random.random());
        for wire in WIRES {
            workers.spawn(stream_worker(shared.clone(), wire, client.clone(), fork()));
        }
        for name in 0..3 {
            workers.spawn(unary_worker(shared.clone(), name, client.clone(), fork()));
        }
        workers.spawn(library_worker(shared.clone(), client.clone(), fork()));
        for _ in 0..2 {
            workers.spawn(sse_worker(shared.clone(), client.clone()));
        }
        let moment = random.random_range(1..1_200);
        soon("acknowledgements", count.wait_for(|count| *count >= moment)).await.expect("works");
        kill(server).await;
        while let Some(ended) = soon("the workers' end", workers.join_next()).await {
            ended.expect("no panic");
        }
        server = start(folder.path(), &[]).await;
        let mut checked = std::mem::take(&mut *ledger.lock().expect("no panic"));
        checked.check(&Client::new(server.address)).await;
        let (tail, known) = (checked.tail(), checked.num_acknowledged());
        println!("round {round}: {known} acknowledged so far, tail {tail}");
        assert_eq!(*epoch.get_or_insert(checked.epoch()), checked.epoch(), "another history");
        *ledger.lock().expect("no panic") = checked;
    }
    assert_eq!(terminate(server).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_nothing_is_torn_by_kill_9() {
    rounds_of_kill_9(6, 20_261).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: run by .ci/run"]
async fn nothing_acknowledged_is_lost_and_nothing_is_torn_by_60_rounds_of_kill_9() {
    rounds_of_kill_9(60, rand::rng().next_u64()).await;
}

/// A library with some history: added, replaced, deleted; and the ledger of it.
async fn history(client: &Client, num_items: u64) {
    client.create_library(LIBRARY).await;
    let (mut sender, mut told) = ingest(Wire::Http1, client.address(), LIBRARY, false).await;
    let id = |number: u64| format!("d{}", number % (num_items * 2 / 3));
    sender.send_all((0..num_items).map(|number| document(&id(number), number + 1))).await;
    let kept = sender.finish().await;
    assert_eq!(told.rest().await.len() as u64, num_items + 1);
    drop(kept);
    for number in (0..num_items / 3).step_by(7) {
        let path = format!("/v1/libraries/{LIBRARY}/documents/d{number}");
        client.ask("DELETE", &path, None).await;
    }
}

/// Everything that a client can see of a server's data.
async fn everything(client: &Client) -> Vec<Value> {
    let libraries = client.ask("GET", "/v1/libraries", None).await;
    let documents = client.documents(LIBRARY).await.into_values();
    let exported = client.export(LIBRARY).await.into_values();
    let events = client.events("begin", "").await;
    [libraries].into_iter().chain(documents).chain(exported).chain(events).collect()
}

fn last_piece(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder.join("log")).expect("a log");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let pieces = paths.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    pieces.max().expect("a piece")
}

/// Takes bytes off the end of the log.
fn cut(folder: &Path, bytes: u64) {
    let piece = std::fs::OpenOptions::new().write(true).open(last_piece(folder)).expect("a piece");
    let length = piece.metadata().expect("a length").len();
    piece.set_len(length - bytes).expect("cut");
}

/// Runs the binary to its end, which must come by itself: whether it was well, and what it said.
fn run_to_end(folder: &Path, extra: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_arrwdb"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder)
        .args(extra)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_folder_is_refused_and_disturbs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[]).await;
    let client = Client::new(server.address);
    history(&client, 30).await;
    let before = everything(&client).await;
    let (well, said) = tokio::task::block_in_place(|| run_to_end(folder.path(), &[]));
    assert!(!well, "a second process served the same folder");
    assert!(said.contains("in use by another process"), "{said}");
    assert!(said.contains(folder.path().to_str().expect("text")), "{said}");
    assert_eq!(everything(&client).await, before);
    let written = body(&document("after", 1_000));
    client.ask("POST", &format!("/v1/libraries/{LIBRARY}/documents"), Some(&written)).await;
    assert_eq!(terminate(server).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_open_streams_with_their_cursors_and_exits_well() {
    let folder = tempfile::tempdir().expect("a folder");
    // Not a time that is measured: a stream that has to be cut ends in an error below.
    let server = start(folder.path(), &["--limit", "shutdown_grace_ms=60000"]).await;
    let client = Client::new(server.address);
    history(&client, 30).await;
    let tail = client.events("begin", "").await.pop().expect("events");
    let tail = tail["id"].as_str().expect("an id").to_owned();

    let (sender, mut sse) =
        rawhttp::begin(server.address, "GET", "/v1/events/stream").await.expect("there");
    let _sender = sender.finish().await.expect("sent");
    assert_eq!(sse.status().await.expect("an answer"), 200);
    let mut grpc = EventServiceClient::new(channel(server.address).await);
    let request = SubscribeRequest { cursor: "begin".to_owned(), ..Default::default() };
    let mut grpc = grpc.subscribe(request).await.expect("subscribed").into_inner();
    let mut ingests = Vec::new();
    for wire in WIRES {
        let (mut sender, mut told) = ingest(wire, server.address, LIBRARY, false).await;
        sender.send(&document(&format!("{wire:?}"), 2_000)).await;
        assert!(matches!(told.next().await, Some(Told::Processing { .. })));
        assert!(matches!(told.next().await, Some(Told::Completed { .. })));
        ingests.push((wire, sender, told));
    }

    let ending = tokio::task::spawn_blocking(move || server.terminate());
    let mut last_id = None;
    while let Some(line) = soon("an SSE line", sse.line()).await.expect("a proper end") {
        if let Some(id) = line.strip_prefix(b"id: ") {
            last_id = Some(String::from_utf8(id.to_vec()).expect("text"));
        }
    }
    let mut last_heartbeat = None;
    while let Some(message) = soon("a message", grpc.message()).await.expect("a proper end") {
        last_heartbeat = match message.item {
            Some(subscribe_response::Item::Heartbeat(heartbeat)) => Some(heartbeat.cursor),
            Some(subscribe_response::Item::Event(_)) | None => None,
            Some(other) => panic!("not asked for: {other:?}"),
        };
    }
    assert!(last_id.as_ref() > Some(&tail), "{last_id:?} is not behind {tail}");
    assert!(last_heartbeat.as_ref() > Some(&tail), "{last_heartbeat:?} is not behind {tail}");
    for (wire, _sender, mut told) in ingests {
        let rest = told.rest().await;
        let [Told::Broken { slug, .. }] = &*rest else { panic!("{wire:?}: {rest:?}") };
        assert_eq!(slug, "unavailable", "{wire:?}");
    }
    assert_eq!(ending.await.expect("no panic"), Some(0));

    let server = start(folder.path(), &[]).await;
    let client = Client::new(server.address);
    let after = client.events(&last_id.expect("an id"), "").await;
    let kinds: Vec<_> = after.iter().map(|event| &event["reason"]).collect();
    assert!(kinds.iter().all(|reason| **reason == json!("server-shutdown")), "{after:?}");
    for wire in WIRES {
        let path = format!("/v1/libraries/{LIBRARY}/documents/{wire:?}");
        assert_eq!(client.ask("GET", &path, None).await["title"], "v2000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_does_not_wait_for_ever_for_a_client_that_reads_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &["--limit", "shutdown_grace_ms=200"]).await;
    let client = Client::new(server.address);
    client.create_library(LIBRARY).await;
    let text = "text that no buffer on the way can hold ".repeat(50);
    let (mut sender, mut told) = ingest(Wire::Http1, server.address, LIBRARY, false).await;
    let item = |number: u64| Item::of_one(format!("d{number}"), "t", &text, &vector(number));
    sender.send_all((1..=5_000).map(item)).await;
    let kept = sender.finish().await;
    assert_eq!(told.rest().await.len(), 5_001);
    drop(kept);
    let path = format!("/v1/libraries/{LIBRARY}/documents/stream");
    let (_sender, mut export) =
        rawhttp::begin_slow(server.address, "GET", &path).await.expect("there");
    assert_eq!(export.status().await.expect("an answer"), 200);
    assert_eq!(terminate(server).await, Some(0));
    // What was cut does not look whole.
    let mut whole = false;
    while let Ok(Some(line)) = soon("a line", export.line()).await {
        whole |= line.starts_with(b"{\"status\":\"complete\"");
    }
    assert!(!whole, "an export that was cut says that it is complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_made_again_from_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    // Small pieces, so that there are several.
    let limits = ["--limit", "log_piece_bytes_target=65536"];
    let server = start(folder.path(), &limits).await;
    let client = Client::new(server.address);
    history(&client, 2_000).await;
    let before = everything(&client).await;
    let statistics = client.statistics(LIBRARY).await;
    assert_eq!(terminate(server).await, Some(0));
    std::fs::remove_dir_all(folder.path().join("store")).expect("removed");
    let server = start(folder.path(), &limits).await;
    let client = Client::new(server.address);
    let after = everything(&client).await;
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    for name in ["num_documents", "num_chunks", "revision"] {
        assert_eq!(client.statistics(LIBRARY).await[name], statistics[name], "{name}");
    }
    let found = client.search(LIBRARY, &document("d1", 2_000).chunks[0].1, 3).await;
    assert_eq!(found["results"][0]["distance"], 0.0, "{found}");
}

/// Started, and killed as soon as it says that it applies the log; again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_is_killed_is_taken_up_by_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[]).await;
    let client = Client::new(server.address);
    history(&client, 2_000).await;
    // One that the crash cuts: it must be closed once, by whichever start gets so far.
    let (mut sender, mut told) = ingest(Wire::Http1, server.address, LIBRARY, false).await;
    sender.send(&document("cut", 9_000)).await;
    assert!(matches!(told.next().await, Some(Told::Processing { .. })));
    assert!(matches!(told.next().await, Some(Told::Completed { .. })));
    let mut before = client.documents(LIBRARY).await;
    kill(server).await;
    std::fs::remove_dir_all(folder.path().join("store")).expect("removed");
    for _ in 0..3 {
        tokio::task::block_in_place(|| kill_while_it_applies_the_log(folder.path()));
    }
    let server = start(folder.path(), &[]).await;
    let client = Client::new(server.address);
    let mut after = client.documents(LIBRARY).await;
    assert_eq!(after.len(), before.len());
    while let (Some(before), Some(after)) = (before.pop_first(), after.pop_first()) {
        assert_eq!(before, after);
    }
    let closed = client.closing_of_batch(LIBRARY, 2).await;
    assert_eq!(closed["reason"], "interrupted");
}

fn kill_while_it_applies_the_log(folder: &Path) {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(env!("CARGO_BIN_EXE_arrwdb"))
        .args(["serve", "--listen", "127.0.0.1:0", "--log-filter", "info", "--data-dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("binary starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    // Later attempts may find everything applied, and are killed once they serve.
    let reached = lines
        .map_while(Result::ok)
        .any(|line| line.contains("applying the log") || line.contains("serving"));
    child.kill().expect("killed");
    child.wait().expect("reaped");
    assert!(reached, "it ended before it served");
}

/// How a client is refused that goes on from this cursor, over both transports.
async fn refused_cursor(server: &Process, cursor: &str) -> String {
    let client = Client::new(server.address);
    let path = format!("/v1/events?cursor={cursor}");
    let (status, problem) = client.try_ask("GET", &path, None).await.expect("an answer");
    assert_eq!(status, 410, "{problem}");
    let kind = problem["type"].as_str().expect("a type").to_owned();
    let slug = kind.strip_prefix("urn:arrwdb:error:").expect("ours").to_owned();
    let mut grpc = EventServiceClient::new(channel(server.address).await);
    let request = SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() };
    let status = grpc.subscribe(request).await.expect_err("refused");
    assert_eq!(crate::wires::status_slug(&status).as_ref(), Some(&slug));
    slug
}

/// What a power failure does to a log that is not synced: its end is gone, and the store's too.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tail_of_unsynced_writes_begins_a_new_epoch_and_old_cursors_beyond_it_are_unknown() {
    let os = ["--durability", "os"];
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &os).await;
    let client = Client::new(server.address);
    client.create_library(LIBRARY).await;
    let documents = format!("/v1/libraries/{LIBRARY}/documents");
    for version in 1..=20 {
        let written = body(&document(&format!("d{version}"), version));
        client.ask("POST", &documents, Some(&written)).await;
    }
    let before = client.events("begin", "").await;
    kill(server).await;
    cut(folder.path(), 10);
    std::fs::remove_dir_all(folder.path().join("store")).expect("removed");

    let server = start(folder.path(), &os).await;
    let client = Client::new(server.address);
    // The last document was cut in two: it is gone whole, and nothing else is.
    let left = client.documents(LIBRARY).await;
    assert_eq!(left.len(), 19);
    assert!(!left.contains_key("d20"));
    let lost = before.iter().position(|event| event["document_id"] == "d20").expect("was there");
    let after = client.events("begin", "").await;
    assert_eq!(after, before[..lost], "what is left is as it was");
    // Who has seen what is gone is told; who has not goes on.
    let cursor = |event: &Value| event["id"].as_str().expect("an id").to_owned();
    for event in &before[lost..] {
        assert_eq!(refused_cursor(&server, &cursor(event)).await, "cursor-unknown");
    }
    let written = body(&document("new", 21));
    let new = client.ask("POST", &documents, Some(&written)).await;
    let on = client.events(&cursor(&before[lost - 1]), "").await;
    assert_eq!(on[0]["document_id"], "new");
    assert_ne!(epoch_of(&on[0]), epoch_of(&before[0]), "the same epoch");
    // Even where its revision is used again.
    assert!(revision(&new) >= revision(&before[lost]));
    assert_eq!(refused_cursor(&server, &cursor(&before[lost])).await, "cursor-unknown");
}

/// The log lost its end and the store did not: what was applied stays, and the feed says that it
/// cannot tell the way there.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_ahead_of_its_log_is_kept_and_old_cursors_are_refused() {
    let os = ["--durability", "os"];
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &os).await;
    let client = Client::new(server.address);
    client.create_library(LIBRARY).await;
    let documents = format!("/v1/libraries/{LIBRARY}/documents");
    for version in 1..=20 {
        let written = body(&document(&format!("d{version}"), version));
        client.ask("POST", &documents, Some(&written)).await;
    }
    let before = client.events("begin", "").await;
    let listed = client.documents(LIBRARY).await;
    kill(server).await;
    cut(folder.path(), 10);
    let server = start(folder.path(), &os).await;
    let client = Client::new(server.address);
    assert_eq!(client.documents(LIBRARY).await, listed);
    // Whoever has read to the very end lacks nothing and goes on; the others lack what is lost.
    let id = |event: &Value| event["id"].as_str().expect("an id").to_owned();
    let (last, earlier) = before.split_last().expect("events");
    for event in earlier {
        assert_eq!(refused_cursor(&server, &id(event)).await, "cursor-expired", "{event}");
    }
    let written = body(&document("new", 21));
    let new = client.ask("POST", &documents, Some(&written)).await;
    assert!(revision(&new) > revision(before.last().expect("events")));
    let after = client.events("begin", "").await;
    assert_eq!(after[0]["document_id"], "new");
    assert_ne!(epoch_of(&after[0]), epoch_of(&before[0]), "the same epoch");
    assert_eq!(client.events(&id(last), "").await, after);
}

/// The way out of a damaged log that the server names: the store is all that is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_is_begun_anew_behind_its_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[]).await;
    let client = Client::new(server.address);
    history(&client, 30).await;
    // A batch that is open when the server dies is closed in the new history.
    let (mut sender, mut told) = ingest(Wire::Http1, server.address, LIBRARY, false).await;
    sender.send(&document("cut", 9_000)).await;
    assert!(matches!(told.next().await, Some(Told::Processing { .. })));
    assert!(matches!(told.next().await, Some(Told::Completed { .. })));
    let before = client.events("begin", "").await;
    let listed = client.documents(LIBRARY).await;
    kill(server).await;
    std::fs::remove_dir_all(folder.path().join("log")).expect("removed");

    let server = start(folder.path(), &[]).await;
    let client = Client::new(server.address);
    assert_eq!(client.documents(LIBRARY).await, listed);
    let after = client.events("begin", "").await;
    let [closed] = &*after else { panic!("{after:?}") };
    assert_eq!(
        (&closed["type"], &closed["reason"]),
        (&json!("batch.failed"), &json!("interrupted"))
    );
    assert!(revision(closed) > revision(before.last().expect("events")));
    assert_ne!(epoch_of(closed), epoch_of(&before[0]), "the same epoch");
    let first = before[0]["id"].as_str().expect("an id");
    // Which of the two depends on how the clocks of both histories stand.
    let slug = refused_cursor(&server, first).await;
    assert!(slug == "cursor-expired" || slug == "cursor-unknown", "{slug}");
    let written = body(&document("new", 9_001));
    client.ask("POST", &format!("/v1/libraries/{LIBRARY}/documents"), Some(&written)).await;
    assert_eq!(client.documents(LIBRARY).await.len(), listed.len() + 1);
    // The new history is one like any other.
    let events = client.events("begin", "").await;
    kill(server).await;
    let server = start(folder.path(), &[]).await;
    assert_eq!(Client::new(server.address).events("begin", "").await, events);
}

/// An end that was acknowledged as synced cannot just be gone: that is damage, and it is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_cleanly_closed_log_that_lost_bytes_does_not_open_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[]).await;
    history(&Client::new(server.address), 30).await;
    assert_eq!(terminate(server).await, Some(0));
    cut(folder.path(), 10);
    let (well, said) = tokio::task::block_in_place(|| run_to_end(folder.path(), &[]));
    assert!(!well, "it served a damaged log");
    let piece = last_piece(folder.path());
    let piece = piece.file_name().and_then(|name| name.to_str()).expect("text");
    assert!(said.contains("damaged") && said.contains(piece), "{said}");
}

/// What an append that was never acknowledged leaves: it was told to nobody, so nobody is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_append_of_a_killed_process_is_cut_off_and_the_epoch_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[]).await;
    let client = Client::new(server.address);
    history(&client, 30).await;
    let before = everything(&client).await;
    kill(server).await;
    let whole = std::fs::read(last_piece(folder.path())).expect("a piece");
    for torn in [&whole[64..64 + 20], &whole[64..64 + 40], &[0; 100], &[0xff; 9]] {
        let mut piece = whole.clone();
        piece.extend_from_slice(torn);
        std::fs::write(last_piece(folder.path()), piece).expect("written");
        let server = start(folder.path(), &[]).await;
        let client = Client::new(server.address);
        assert_eq!(everything(&client).await, before);
        kill(server).await;
        assert_eq!(std::fs::read(last_piece(folder.path())).expect("a piece"), whole);
    }
    let server = start(folder.path(), &[]).await;
    eventually("it is ready", async || {
        let (status, _) =
            Client::new(server.address).try_ask("GET", "/ready", None).await.expect("an answer");
        (status == 200).then_some(())
    })
    .await;
}
