//! Retention on a whole server: disk is freed, readers that race the floor are never shown a hole,
//! restarts go on behind it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrwdb::engine::changes::{EventsRequest, FeedItem};
use arrwdb::engine::{Engine, OpenError, ReadAt};
use arrwdb::server;
use arrwdb::settings::Settings;
use arrwdb::types::{
    Cursor, Error, ErrorKind, LibraryName, LibraryPatch, LibraryRef, Limits, NewLibrary, Revision,
    StartAt,
};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{DEADLINE, Server, eventually};

const PIECE_BYTES: usize = 4 << 10;
const LOG_BYTES: u64 = 16 << 10;

/// Small pieces, of which a few are kept.
fn keep_little(limits: &mut Limits) {
    limits.log_piece_bytes_target = PIECE_BYTES;
    limits.retention_bytes_max = LOG_BYTES;
    limits.retention_interval_ms = 1;
}

async fn make_library(engine: &Engine) -> LibraryRef {
    let name = LibraryName::parse("l").expect("name");
    let new = NewLibrary {
        embedder: "none".to_owned(),
        dimension: Some(2),
        ..NewLibrary::named(name.clone())
    };
    engine.create_library(new, None).await.expect("created");
    LibraryRef::Name(name)
}

/// One change, of some 600 bytes and one event.
async fn change(engine: &Engine, library: &LibraryRef) -> Revision {
    let description = Some(format!("{:0250}", engine.tail().0));
    let patch = LibraryPatch { description, ..LibraryPatch::default() };
    let view = engine.update_library(library, patch, None).await.expect("updated");
    view.library.revision
}

async fn export_cursor(engine: &Engine, library: &LibraryRef) -> Cursor {
    engine.export(library, false, ReadAt::default()).await.expect("export").cursor()
}

async fn floor(engine: &Engine) -> Revision {
    let statistics = engine.event_statistics(ReadAt::default()).await.expect("statistics");
    statistics.floor_revision
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("folder");
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn events(start: StartAt) -> EventsRequest {
    EventsRequest { library: None, event_types: vec![], filter: None, start }
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_is_freed_and_a_restart_goes_on_behind_the_floor() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::open(folder.path(), |s| keep_little(&mut s.limits)).await;
    let library = make_library(&server.engine).await;
    let early = export_cursor(&server.engine, &library).await;
    for _ in 0..300 {
        change(&server.engine, &library).await;
    }
    let log = folder.path().join("log");
    // Then nothing is left to trim, and the floor stays.
    eventually("the log is small", async || {
        let statistics = server.engine.event_statistics(ReadAt::default()).await;
        (statistics.expect("statistics").log_bytes <= LOG_BYTES).then_some(())
    })
    .await;
    let most = LOG_BYTES + PIECE_BYTES as u64;
    eventually("files are gone", async || (bytes_in(&log) < most).then_some(())).await;
    let low = floor(&server.engine).await;
    assert!(low > Revision(200), "{low}");
    let late = export_cursor(&server.engine, &library).await;
    let tail = server.engine.tail();
    server.stop().await;

    let server = Server::open(folder.path(), |_| {}).await;
    assert_eq!((server.engine.tail(), floor(&server.engine).await), (tail, low));
    let view = server.engine.get_library(&library, ReadAt::default()).await.expect("there");
    assert_eq!(view.library.revision, tail);
    let url = server.url(&format!("/v1/events?cursor={early}"));
    let answer = server.http.get(url).send().await.expect("answers");
    assert_eq!(answer.status(), 410);
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["type"], "urn:arrwdb:error:cursor-expired");
    let way_back = problem["floor_cursor"].as_str().expect("the floor");
    let url = server.url(&format!("/v1/events?limit=1&cursor={way_back}"));
    let page: Value =
        server.http.get(url).send().await.expect("answers").json().await.expect("JSON");
    assert_eq!(page["events"][0]["revision"], low.to_string());
    let next = change(&server.engine, &library).await;
    let page = server.engine.list_events(events(StartAt::Cursor(late)), None, ReadAt::default());
    let page = page.await.expect("an export's cursor is good behind the floor");
    let revisions: Vec<_> =
        page.changes.iter().flat_map(|one| one.events()).map(|event| event.revision).collect();
    assert_eq!(revisions, [next]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_deleted_after_a_trim_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::open(folder.path(), |s| keep_little(&mut s.limits)).await;
    let library = make_library(&server.engine).await;
    for _ in 0..100 {
        change(&server.engine, &library).await;
    }
    let engine = server.engine.clone();
    eventually("trimmed", async || (floor(&engine).await > Revision(1)).then_some(())).await;
    drop(engine);
    server.stop().await;
    std::fs::remove_dir_all(folder.path().join("store")).expect("deleted");
    let settings = Settings { data_dir: folder.path().to_owned(), ..Settings::default() };
    let token = tokio_util::sync::CancellationToken::new();
    let error = server::open_engine(&settings, &token).await.expect_err("a gap");
    let server::StartError::Engine(error @ OpenError::Gap { applied, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(applied, Revision::ZERO);
    assert!(error.to_string().contains("Restore the whole data folder"), "{error}");
}

/// What the readers of a race share.
struct Race {
    engine: Engine,
    done: AtomicBool,
}

impl Race {
    /// Follows from a start until the race is over and the tail is reached; begins again where it
    /// is told to when it was too slow. Checks that nothing is skipped, doubled or foreign. Gives
    /// how often it was told.
    async fn follow(self: Arc<Self>, mut start: StartAt, slow: bool) -> u64 {
        let mut expired = 0;
        'open: loop {
            // Where it stands, once it is known.
            let mut at: Option<Revision> = match start {
                StartAt::Cursor(cursor) => Some(cursor.revision),
                StartAt::Begin | StartAt::Now | StartAt::Revision(_) | StartAt::Time(_) => None,
            };
            let mut subscription = match self.engine.subscribe(events(start)).await {
                Ok(subscription) => subscription,
                Err(error) => {
                    start = told(&error, at);
                    expired += 1;
                    continue;
                }
            };
            loop {
                if self.done.load(Ordering::Acquire) && at == Some(self.engine.tail()) {
                    return expired;
                }
                match subscription.next().await {
                    Ok(Some(FeedItem::Heartbeat { cursor, .. })) => {
                        assert!(at.is_none_or(|at| at == cursor.revision), "{at:?}, {cursor}");
                        at = Some(cursor.revision);
                    }
                    Ok(Some(FeedItem::Changes(changes))) => {
                        for event in changes.iter().flat_map(|one| one.events()) {
                            let before = at.expect("the first item is a heartbeat");
                            assert_eq!(event.revision, before.next(), "from {start:?}");
                            at = Some(event.revision);
                        }
                        for _ in 0..if slow { 200 } else { 0 } {
                            tokio::task::yield_now().await;
                        }
                    }
                    Ok(None) => panic!("ended early"),
                    Err(error) => {
                        start = told(&error, at);
                        expired += 1;
                        continue 'open;
                    }
                }
            }
        }
    }

    /// Asks just around the floor, while it moves: what is given, as a page or on a subscription,
    /// begins right behind what was asked for, or is refused.
    async fn probe(self: Arc<Self>) -> (u64, u64) {
        let (mut given, mut refused) = (0, 0);
        while !self.done.load(Ordering::Acquire) {
            let low = floor(&self.engine).await.0;
            for place in [low.saturating_sub(2), low - 1, low, low + 1] {
                let asked = events(StartAt::Revision(Revision(place)));
                match self.engine.list_events(asked, Some(3), ReadAt::default()).await {
                    Ok(page) => {
                        given += 1;
                        let revisions = page.changes.iter().flat_map(|one| one.events());
                        for (event, expected) in revisions.zip(place + 1..) {
                            assert_eq!(event.revision.0, expected, "after {place}");
                        }
                    }
                    Err(error) => {
                        refused += 1;
                        told(&error, Some(Revision(place)));
                    }
                }
                match self.first_after(StartAt::Revision(Revision(place))).await {
                    Ok(first) => assert_eq!(first, Revision(place + 1)),
                    Err(error) => drop(told(&error, Some(Revision(place)))),
                }
            }
            // Who names no place is never behind the floor.
            let page = self.engine.list_events(events(StartAt::Begin), Some(3), ReadAt::default());
            let page = page.await.expect("the begin is always there");
            let first = page.changes[0].events().next().expect("not empty").revision;
            assert!(first >= Revision(low), "{first} of {low}");
            self.engine.subscribe(events(StartAt::Begin)).await.expect("there is a begin");
        }
        (given, refused)
    }

    /// The first revision that a subscription gives; the floor moves while it waits for it.
    async fn first_after(&self, start: StartAt) -> arrwdb::types::Result<Revision> {
        let mut subscription = self.engine.subscribe(events(start)).await?;
        loop {
            match subscription.next().await? {
                Some(FeedItem::Heartbeat { .. }) => {}
                Some(FeedItem::Changes(changes)) => {
                    let first = changes[0].events().next();
                    return Ok(first.expect("a change has an event that passes").revision);
                }
                None => panic!("ended early"),
            }
        }
    }
}

/// Where an error says to go on, which must be behind where the reader was.
fn told(error: &Error, at: Option<Revision>) -> StartAt {
    assert_eq!(error.kind, ErrorKind::CursorExpired, "{error}");
    let floor: Cursor = error.floor.expect("the floor");
    assert!(at.is_none_or(|at| floor.revision > at), "{floor} is not ahead of {at:?}");
    StartAt::Cursor(floor)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_that_race_the_floor_miss_nothing_that_they_are_not_told_of() {
    let folder = tempfile::tempdir().expect("folder");
    // Reopened once, so that the first changes are in no window.
    let server = Server::open(folder.path(), |_| {}).await;
    let library = make_library(&server.engine).await;
    for _ in 0..50 {
        change(&server.engine, &library).await;
    }
    server.stop().await;
    let server = Server::open(folder.path(), |s| keep_little(&mut s.limits)).await;
    let race = Arc::new(Race { engine: server.engine.clone(), done: AtomicBool::new(false) });
    let starts = [StartAt::Begin, StartAt::Revision(Revision(20)), StartAt::Now];
    let readers: Vec<_> = starts
        .into_iter()
        .flat_map(|start| [(start, false), (start, true)])
        .map(|(start, slow)| tokio::spawn(Arc::clone(&race).follow(start, slow)))
        .collect();
    let probe = tokio::spawn(Arc::clone(&race).probe());
    for _ in 0..1_500 {
        change(&server.engine, &library).await;
    }
    let low = floor(&server.engine).await;
    assert!(low > Revision(100), "{low}: the floor moved while they read");
    race.done.store(true, Ordering::Release);
    // Wakes those that wait at the tail.
    change(&server.engine, &library).await;
    for reader in readers {
        tokio::time::timeout(DEADLINE, reader).await.expect("in time").expect("no fault found");
    }
    let (given, refused) = probe.await.expect("no fault found");
    assert!(given > 0 && refused > 0, "{given} given, {refused} refused");
    drop(race);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_place_is_gone_is_told_so_on_both_transports() {
    use arrwdb::api::grpc::pb;
    use pb::consumer_service_client::ConsumerServiceClient;

    let server = Server::start_with(|s| keep_little(&mut s.limits)).await;
    let library = make_library(&server.engine).await;
    let made = server
        .http
        .post(server.url("/v1/consumers"))
        .json(&json!({"name": "slow", "cursor": "begin"}))
        .send()
        .await
        .expect("answers");
    assert_eq!(made.status(), 201);
    let lag = async || {
        let url = server.url("/v1/consumers/slow");
        let answer = server.http.get(url).send().await.expect("answers");
        answer.json::<Value>().await.expect("JSON")
    };
    // What it holds stays up to twice the retention.
    while server.engine.event_statistics(ReadAt::default()).await.expect("known").log_bytes
        < LOG_BYTES * 3 / 2
    {
        change(&server.engine, &library).await;
    }
    assert_eq!(floor(&server.engine).await, Revision(1));
    assert_eq!(lag().await["expired"], false);
    for _ in 0..100 {
        change(&server.engine, &library).await;
    }
    eventually("expired", async || (lag().await["expired"] == true).then_some(())).await;

    let mut client = ConsumerServiceClient::new(server.channel().await);
    let pull = || pb::PullEventsRequest { name: "slow".to_owned(), ..Default::default() };
    // It holds nothing any more, so the floor may move once more before it is back.
    eventually("back", async || {
        let url = server.url("/v1/consumers/slow/pull");
        let answer = server.http.post(url).send().await.expect("answers");
        assert_eq!(answer.status(), 410);
        let problem: Value = answer.json().await.expect("JSON");
        assert_eq!(problem["type"], "urn:arrwdb:error:cursor-expired");
        let status = client.pull_events(pull()).await.expect_err("expired");
        assert_eq!(status.code(), tonic::Code::OutOfRange);
        let cursor = problem["floor_cursor"].as_str().expect("the floor").to_owned();
        let seek = pb::SeekRequest { name: "slow".to_owned(), cursor };
        client.seek(seek).await.ok()
    })
    .await;
    let events = client.pull_events(pull()).await.expect("pulled").into_inner().events;
    assert_eq!(events[0].revision, floor(&server.engine).await.0);
    drop((client, lag));
    server.stop().await;
}

/// What a stream of Server-Sent Events gives until `enough`; the last id, and the types of events.
async fn follow_sse(
    response: reqwest::Response,
    enough: impl Fn(Cursor, &[String]) -> bool,
) -> (Cursor, Vec<String>) {
    let (mut body, mut text, mut read) = (response.bytes_stream(), String::new(), 0);
    let (mut cursor, mut types) = (None, Vec::new());
    loop {
        while let Some(length) = text[read..].find("\n\n") {
            let frame = &text[read..read + length];
            let field = |name| frame.lines().find_map(|line| line.strip_prefix(name));
            let id: Cursor = field("id: ").expect("no stream.error").parse().expect("a cursor");
            assert!(cursor.is_none_or(|before| before <= id), "went back");
            cursor = Some(id);
            types.extend(field("event: ").filter(|kind| *kind != "heartbeat").map(str::to_owned));
            read += length + 2;
            if enough(id, &types) {
                return (id, types);
            }
        }
        let piece = tokio::time::timeout(DEADLINE, body.next()).await.expect("in time");
        text += std::str::from_utf8(&piece.expect("goes on").expect("read")).expect("UTF-8");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_nothing_passes_to_lives_on_bookmarks_and_survives() {
    let server = Server::start_with(|s| {
        keep_little(&mut s.limits);
        s.limits.heartbeat_interval_ms = 20;
    })
    .await;
    let library = make_library(&server.engine).await;
    let url = server.url("/v1/events/stream?event_types=library.deleted");
    let from = async |cursor: &str| {
        let response = server.http.get(format!("{url}&cursor={cursor}")).send().await;
        response.expect("answers")
    };
    let begin = Cursor::after(export_cursor(&server.engine, &library).await.epoch, Revision(1));
    let idle = from(&begin.to_string()).await;
    assert_eq!(idle.status(), 200);
    while floor(&server.engine).await < Revision(100) {
        change(&server.engine, &library).await;
    }
    let tail = server.engine.tail();
    let (bookmark, types) = follow_sse(idle, |id, _| id.revision >= tail).await;
    assert_eq!(types, [""; 0], "nothing passed");
    // Its own start is gone; its bookmark is not, whatever happened since.
    assert_eq!(from(&begin.to_string()).await.status(), 410);
    for _ in 0..5 {
        change(&server.engine, &library).await;
    }
    server.engine.delete_library(&library, None).await.expect("deleted");
    let back = from(&bookmark.to_string()).await;
    assert_eq!(back.status(), 200);
    let (last, types) = follow_sse(back, |_, types| !types.is_empty()).await;
    assert_eq!((last.revision, types), (server.engine.tail(), vec!["library.deleted".to_owned()]));
    server.stop().await;
}
