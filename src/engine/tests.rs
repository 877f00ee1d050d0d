//! What the engine promises beside its verbs: commits, waits, the end, and a log that lost its
//! past.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test panics at whatever it does not expect")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::changes::{EventsRequest, FeedItem};
use super::document::{DocumentFields, PreparedChunk, PreparedDocument};
use super::writer::{Answer, Outcome};
use super::*;
use crate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use crate::log::memory::{Fault, MemoryLog};
use crate::log::{AppendError, LogBounds, ReadError};
use crate::store::Store;
use crate::types::{
    Change, ChangeHead, ChangeKind, DocumentId, EventType, Library, LibraryId, LibraryName,
    LibraryPatch, LibraryRef, Metadata, Metric, NewChunk, NewContent, NewDocument, NewLibrary,
    OnConflict, RequestId, StartAt, Timestamp, Vector,
};

fn options() -> EngineOptions {
    EngineOptions {
        limits: Limits::default(),
        embedders: Vec::new(),
        index: None,
        shutdown: CancellationToken::new(),
    }
}

async fn open(folder: &TempDir, log: Arc<dyn ChangeLog>) -> Engine {
    let store = Store::open(&folder.path().join("store")).expect("store opens");
    Engine::open(store, log, options()).await.expect("engine opens")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

async fn a_library(engine: &Engine, name: &str) -> Library {
    let mut new = NewLibrary::named(LibraryName::parse(name).expect("valid"));
    "none".clone_into(&mut new.embedder);
    new.dimension = Some(2);
    engine.create_library(new, None).await.expect("created").library
}

fn a_document(title: &str) -> NewDocument {
    let embedding = Some(vec![1.0, 0.0]);
    let chunk = NewChunk { text: title.to_owned(), embedding, metadata: Metadata::default() };
    let content = NewContent::Chunks(vec![chunk]);
    NewDocument { content, content_field: "chunks", ..NewDocument::titled(title, Vec::new()) }
}

fn at(revision: Revision) -> ReadAt {
    ReadAt { min_revision: Some(revision), timeout: None }
}

/// A memory log whose appends wait for permits, and which says what shared an append.
struct Gated {
    log: MemoryLog,
    permits: Semaphore,
    /// Whoever asks for its bounds waits for it.
    bounds: tokio::sync::Mutex<()>,
    bounds_asked: AtomicUsize,
    appended: std::sync::Mutex<Vec<Vec<String>>>,
}

impl Gated {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            log: MemoryLog::new(100),
            permits: Semaphore::new(1_000),
            bounds: tokio::sync::Mutex::default(),
            bounds_asked: AtomicUsize::new(0),
            appended: std::sync::Mutex::default(),
        })
    }

    fn shut(&self) {
        self.permits.forget_permits(1_000);
    }

    fn release(&self) {
        self.permits.add_permits(1_000);
    }

    /// What each append since the last look wrote, by title.
    fn take_appended(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.appended.lock().expect("no panic"))
    }
}

fn title(change: &Change) -> String {
    let written = change.head.kind.written_document().map(|document| document.title.clone());
    written.unwrap_or_else(|| match &change.head.kind {
        ChangeKind::LibraryCreated { library } => library.name.as_str().to_owned(),
        ChangeKind::DocumentDeleted { .. } => "deleted".to_owned(),
        ChangeKind::LibraryUpdated { .. } => "library updated".to_owned(),
        ChangeKind::LibraryDeleted { .. } => "library deleted".to_owned(),
        other => panic!("{other:?}"),
    })
}

#[async_trait]
impl ChangeLog for Gated {
    async fn bounds(&self) -> Result<LogBounds, ReadError> {
        self.bounds_asked.fetch_add(1, Ordering::Relaxed);
        let _bounds = self.bounds.lock().await;
        self.log.bounds().await
    }

    async fn append(&self, expected_end: Revision, changes: &[Change]) -> Result<(), AppendError> {
        let permit = self.permits.acquire().await.expect("never closed");
        permit.forget();
        let titles = changes.iter().map(title).collect();
        self.appended.lock().expect("no panic").push(titles);
        self.log.append(expected_end, changes).await
    }

    async fn read_heads(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Arc<ChangeHead>>, ReadError> {
        self.log.read_heads(after, bytes_target).await
    }

    async fn read_changes(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Change>, ReadError> {
        self.log.read_changes(after, bytes_target).await
    }

    async fn seek(&self, time: Timestamp) -> Result<Revision, ReadError> {
        self.log.seek(time).await
    }

    async fn excess(&self, bytes_max: u64) -> Result<Revision, ReadError> {
        self.log.excess(bytes_max).await
    }

    async fn trim(&self, through: Revision) -> Result<Revision, ReadError> {
        self.log.trim(through).await
    }

    async fn close(&self) -> Result<(), AppendError> {
        self.log.close().await
    }
}

fn write(library: LibraryId, id: &str, title: &str, request: Option<&str>) -> Command {
    let vector = Vector::new("v", vec![1.0, 0.0], 2, Metric::Cosine).expect("valid");
    let terms = terms::read_chunk(title, title);
    let chunk = PreparedChunk { text: title.into(), vector, metadata: Metadata::default(), terms };
    let fields = DocumentFields {
        id: (!id.is_empty()).then(|| DocumentId::parse(id).expect("valid")),
        title: title.to_owned(),
        author: String::new(),
        document_type: String::new(),
        source_url: String::new(),
        tags: Vec::new(),
        metadata: Metadata::default(),
    };
    Command::WriteDocument {
        library,
        document: Box::new(PreparedDocument { fields, chunks: vec![chunk] }),
        on_conflict: OnConflict::Replace,
        batch_id: None,
        request_id: request.map(|text| RequestId::parse(text).expect("valid")),
    }
}

/// Submits commands while the log is shut, so that they all wait when it is released; the first
/// is under way alone by then.
async fn commits_of(log: &Gated, engine: &Engine, commands: Vec<Command>) -> Vec<Vec<String>> {
    log.shut();
    log.take_appended();
    let mut answers: Vec<Answer> = Vec::new();
    for command in commands {
        answers.push(engine.inner.submit(command).await.expect("submitted"));
    }
    log.release();
    for answer in answers {
        answer.wait().await.expect("written");
    }
    log.take_appended()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_to_the_same_document_or_request_never_share_a_commit() {
    let (folder, log) = (folder(), Gated::new());
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let (a, b) = (a_library(&engine, "a").await.id, a_library(&engine, "b").await.id);
    let delete = Command::DeleteDocument {
        library: a,
        id: DocumentId::parse("x").expect("valid"),
        expected: None,
    };
    let commands = vec![
        write(a, "x", "1", None),
        write(a, "x", "2", None),
        // The same id in another library is another document.
        write(b, "x", "3", None),
        write(a, "y", "4", Some("r")),
        write(a, "x", "5", None),
        write(a, "", "6", None),
        write(a, "", "7", None),
        delete,
        write(a, "z", "8", Some("r")),
    ];
    // What waited may have been taken in two goes, but what clashes never shares one.
    let commits = commits_of(&log, &engine, commands).await;
    let order: Vec<_> = commits.iter().flatten().map(String::as_str).collect();
    // "8" was remembered: its request had made "4".
    assert_eq!(order, ["1", "2", "3", "4", "5", "6", "7", "deleted"]);
    let apart = |one: &str, other: &str| {
        commits.iter().all(|commit| {
            !(commit.iter().any(|title| title == one) && commit.iter().any(|title| title == other))
        })
    };
    assert!(apart("1", "2") && apart("2", "5") && apart("5", "deleted"), "{commits:?}");
    assert!(!apart("3", "4") && !apart("6", "7"), "{commits:?}");
    engine.close().await;
}

#[tokio::test]
async fn a_snapshot_and_what_follows_are_of_one_library_whoever_takes_over_its_name() {
    let (folder, log) = (folder(), Gated::new());
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let first = a_library(&engine, "a").await;
    let name: LibraryRef = "a".parse().expect("a name");
    let request = EventsRequest {
        library: Some(name.clone()),
        event_types: vec![],
        filter: None,
        start: StartAt::Now,
    };
    // It has looked the name up, and is held up before its subscription begins.
    let held = log.bounds.lock().await;
    let asked = log.bounds_asked.load(Ordering::Relaxed);
    let asking = engine.clone();
    let begun = tokio::spawn(async move { asking.subscribe_with_snapshot(request).await });
    while log.bounds_asked.load(Ordering::Relaxed) == asked {
        tokio::task::yield_now().await;
    }
    engine.delete_library(&name, None).await.expect("deleted");
    let second = a_library(&engine, "a").await;
    drop(held);
    let (_snapshot, mut subscription) = begun.await.expect("no panic").expect("begun");
    let item = subscription.next().await.expect("reads");
    let Some(FeedItem::Changes(changes)) = item else { panic!("{item:?}") };
    let events = changes.iter().flat_map(|selected| selected.events());
    let of: Vec<_> = events.map(|event| (event.library_id, event.event_type)).collect();
    assert_eq!(of, [(first.id, EventType::LibraryDeleted)], "not {}", second.id);
    engine.close().await;
}

#[tokio::test]
async fn a_name_is_not_followed_from_before_the_library_that_has_it() {
    let (folder, log) = (folder(), Gated::new());
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let first = a_library(&engine, "a").await;
    let name: LibraryRef = "a".parse().expect("a name");
    let follow = async |library: &LibraryRef, start| {
        let request = EventsRequest {
            library: Some(library.clone()),
            event_types: vec![],
            filter: None,
            start,
        };
        let page = engine.list_events(request, None, ReadAt::default()).await;
        let types = |page: changes::EventsPage| {
            let events = page.changes.iter().flat_map(|selected| selected.events());
            (events.map(|event| event.event_type).collect::<Vec<_>>(), page.next_cursor)
        };
        page.map(types).map_err(|error| error.kind)
    };
    let (_, of_first) = follow(&name, StartAt::Begin).await.expect("followed");
    engine.delete_library(&name, None).await.expect("deleted");
    let (_, between) =
        follow(&LibraryRef::Id(first.id), StartAt::Begin).await.expect("an id has a past");
    let second = a_library(&engine, "a").await;
    let refused = Err(ErrorKind::CursorUnknown);
    assert_eq!(follow(&name, StartAt::Cursor(of_first)).await, refused);
    assert_eq!(follow(&name, StartAt::Revision(of_first.revision)).await, refused);
    let seen = async |library, start| follow(&library, start).await.expect("followed").0;
    let (deleted, created) = ([EventType::LibraryDeleted], [EventType::LibraryCreated]);
    assert_eq!(seen(LibraryRef::Id(first.id), StartAt::Cursor(of_first)).await, deleted);
    assert_eq!(seen(LibraryRef::Id(second.id), StartAt::Cursor(of_first)).await, created);
    // Nothing of that name was between these and its creation.
    assert_eq!(seen(name.clone(), StartAt::Cursor(between)).await, created);
    assert_eq!(seen(name.clone(), StartAt::Revision(between.revision)).await, created);
    assert_eq!(seen(name.clone(), StartAt::Begin).await, created);

    // One that takes the name over is another one too, however old; what else of it is updated
    // does not matter.
    let patch = async |library: &LibraryRef, patch| {
        let updated = engine.update_library(library, patch, None).await.expect("updated");
        StartAt::Revision(updated.library.revision)
    };
    let named = |name: &str| LibraryPatch {
        name: Some(LibraryName::parse(name).expect("a name")),
        ..LibraryPatch::default()
    };
    let described =
        |text: &str| LibraryPatch { description: Some(text.to_owned()), ..LibraryPatch::default() };
    let third = LibraryRef::Id(a_library(&engine, "b").await.id);
    let of_second = patch(&name, described("1")).await;
    patch(&third, described("2")).await;
    patch(&name, named("c")).await;
    let taken = patch(&third, named("a")).await;
    assert_eq!(follow(&name, of_second).await, refused);
    assert_eq!(seen(LibraryRef::Id(second.id), of_second).await, [EventType::LibraryUpdated]);
    patch(&third, described("3")).await;
    patch(&name, described("4")).await;
    assert_eq!(follow(&name, of_second).await, refused);
    assert_eq!(seen(name, taken).await, [EventType::LibraryUpdated; 2]);
    engine.close().await;
}

#[tokio::test]
async fn a_page_of_events_ends_early_rather_than_grow_beyond_what_clients_take() {
    let (folder, log) = (folder(), Gated::new());
    let store = Store::open(&folder.path().join("store")).expect("store opens");
    let limits =
        Limits { reply_bytes_target: 10_000, field_bytes_max: 20_000, ..Limits::default() };
    let options = EngineOptions { limits, ..options() };
    let engine = Engine::open(store, log, options).await.expect("engine opens");
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    for size in [100, 4_000, 4_000, 20_000, 100] {
        let patch = LibraryPatch { description: Some("x".repeat(size)), ..LibraryPatch::default() };
        engine.update_library(&library, patch, None).await.expect("updated");
    }
    let (mut start, mut pages) = (StartAt::Begin, Vec::new());
    loop {
        let request = EventsRequest { library: None, event_types: vec![], filter: None, start };
        let page = engine.list_events(request, None, ReadAt::default()).await.expect("a page");
        let events = page.changes.iter().flat_map(|selected| selected.events());
        pages.push(events.map(|event| event.revision.0).collect::<Vec<_>>());
        if page.next_cursor == page.tail_cursor {
            break;
        }
        start = StartAt::Cursor(page.next_cursor);
    }
    // An update shows what was there before too.
    assert_eq!(pages, [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_comes_and_goes_in_a_commit_of_its_own() {
    let (folder, log) = (folder(), Gated::new());
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let (a, b) = (a_library(&engine, "a").await.id, a_library(&engine, "b").await.id);
    let delete = Command::DeleteLibrary { library: LibraryRef::Id(b), expected: None };
    let commands = vec![
        write(b, "x", "1", None),
        write(b, "y", "2", None),
        delete,
        write(a, "x", "3", None),
        write(a, "y", "4", None),
    ];
    let commits = commits_of(&log, &engine, commands).await;
    let at = commits.iter().position(|commit| commit == &["library deleted"]).expect("alone");
    assert_eq!(commits[..at].concat(), ["1", "2"]);
    assert_eq!(commits[at + 1..].concat(), ["3", "4"]);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_has_no_more_changes_than_its_limit() {
    let (folder, log) = (folder(), Gated::new());
    let store = Store::open(&folder.path().join("store")).expect("store opens");
    let limits = Limits { commit_changes_max: 3, ..Limits::default() };
    let options = EngineOptions { limits, ..options() };
    let shared = Arc::clone(&log) as Arc<dyn ChangeLog>;
    let engine = Engine::open(store, shared, options).await.expect("engine opens");
    let a = a_library(&engine, "a").await.id;
    let commands = (0..20).map(|n| write(a, "", &n.to_string(), None)).collect();
    let commits = commits_of(&log, &engine, commands).await;
    let order: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(commits.concat(), order);
    assert_eq!(commits.iter().map(Vec::len).max(), Some(3), "{commits:?}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_visible_before_it_is_in_the_log() {
    let (folder, log) = (folder(), Gated::new());
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let library = a_library(&engine, "a").await;
    let before = engine.tail();
    log.shut();
    let answer = engine.inner.submit(write(library.id, "x", "1", None)).await.expect("submitted");
    let reference = LibraryRef::Id(library.id);
    let view = engine.get_library(&reference, ReadAt::default()).await.expect("there");
    assert_eq!((view.counts.documents, engine.tail()), (0, before));
    log.release();
    let outcome = answer.wait().await.expect("written");
    let Outcome::Written { change, state } = outcome else { panic!("{outcome:?}") };
    assert_eq!((change.revision, state.applied.revision), (before.next(), before.next()));
    let view = engine.get_library(&reference, ReadAt::default()).await.expect("there");
    assert_eq!((view.counts.documents, engine.tail()), (1, before.next()));
    engine.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_for_its_revision_as_long_as_it_may_and_no_longer() {
    let folder = folder();
    let engine = open(&folder, Arc::new(MemoryLog::new(10))).await;
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    let tail = engine.tail();
    assert!(engine.get_library(&library, at(tail)).await.is_ok());
    let longest = engine.limits().min_revision_wait_ms;
    for (timeout_ms, waits_ms) in
        [(None, longest), (Some(0), 0), (Some(250), 250), (Some(longest + 1), longest)]
    {
        let timeout = timeout_ms.map(Duration::from_millis);
        let read_at = ReadAt { min_revision: Some(tail.next()), timeout };
        let error = engine.get_library(&library, read_at).await.expect_err("never comes");
        assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
        let expected = format!("was not reached within {waits_ms} ms; the last revision is {tail}");
        assert!(error.detail.ends_with(&expected), "{error}");
    }
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_waits_sees_the_revision_that_it_waited_for() {
    let (folder, log) = (folder(), Gated::new());
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    let wanted = engine.tail().next();
    log.shut();
    let (writing, reading) = (engine.clone(), engine.clone());
    let (to, of) = (library.clone(), library.clone());
    let write =
        tokio::spawn(async move { writing.create_document(&to, a_document("1"), None).await });
    let read = tokio::spawn(async move { reading.get_library(&of, at(wanted)).await });
    log.release();
    let written = write.await.expect("no panic").expect("written");
    assert_eq!(written.head.revision, wanted);
    let view = read.await.expect("no panic").expect("in time");
    assert_eq!(view.counts.documents, 1);
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_was_submitted_and_refuses_what_comes_later() {
    let (folder, log) = (folder(), Gated::new());
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let library = a_library(&engine, "a").await;
    let mut subscription = engine
        .subscribe(EventsRequest {
            library: None,
            event_types: vec![],
            filter: None,
            start: StartAt::Now,
        })
        .await
        .expect("subscribed");
    let first = subscription.next().await.expect("reads");
    assert!(matches!(first, Some(FeedItem::Heartbeat { .. })));
    log.shut();
    let answer = engine.inner.submit(write(library.id, "x", "1", None)).await.expect("submitted");
    let revision = engine.tail().next();
    let (closing, waiting) = (engine.clone(), engine.clone());
    let reference = LibraryRef::Id(library.id);
    let of = reference.clone();
    let wait = tokio::spawn(async move { waiting.get_library(&of, at(Revision(99))).await });
    let close = tokio::spawn(async move { closing.close().await });
    log.release();
    close.await.expect("no panic");
    assert!(matches!(answer.wait().await, Ok(Outcome::Written { .. })));
    // A read that waits for a write to come is told that none will.
    let waited = wait.await.expect("no panic").expect_err("nothing comes");
    assert_eq!(waited.kind, ErrorKind::Unavailable);
    let refused = engine.create_document(&reference, a_document("2"), None).await;
    assert_eq!(refused.expect_err("closed").kind, ErrorKind::Unavailable);
    assert_eq!(engine.readiness(), Err("shutting down".to_owned()));
    // Reads go on; streams end.
    let view = engine.get_library(&reference, at(revision)).await.expect("there");
    assert_eq!(view.counts.documents, 1);
    assert!(subscription.next().await.expect("ends well").is_none());
    let closed = log.append(revision, &[]).await.expect_err("the log is closed");
    assert!(matches!(closed, AppendError::Closed(_)), "{closed}");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_free_once_a_closed_engine_is_dropped() {
    let folder = folder();
    let log = Arc::new(MemoryLog::new(10));
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    engine.close().await;
    drop(engine);
    let engine = open(&folder, Arc::new(log.reopen())).await;
    assert!(engine.get_library(&library, ReadAt::default()).await.is_ok());
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_log_stops_writes_and_nothing_else() {
    for fault in [Fault::Closed, Fault::Stale] {
        let (folder, log) = (folder(), Arc::new(MemoryLog::new(10)));
        let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
        let library = LibraryRef::Id(a_library(&engine, "a").await.id);
        log.inject(fault);
        for _ in 0..2 {
            let refused = engine.create_document(&library, a_document("1"), None).await;
            assert_eq!(refused.expect_err("broken").kind, ErrorKind::Unavailable, "{fault:?}");
            assert!(engine.readiness().is_err());
        }
        assert!(engine.get_library(&library, ReadAt::default()).await.is_ok());
        assert_eq!(log.bounds().await.expect("readable").end, engine.tail());
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_leaves_no_trace_and_the_next_one_succeeds() {
    let (folder, log) = (folder(), Arc::new(MemoryLog::new(10)));
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    let before = engine.tail();
    log.inject(Fault::Refused);
    let refused = engine.create_document(&library, a_document("1"), None).await;
    assert_eq!(refused.expect_err("refused").kind, ErrorKind::Unavailable);
    assert_eq!((engine.readiness(), engine.tail()), (Ok(()), before));
    let written = engine.create_document(&library, a_document("2"), None).await.expect("written");
    assert_eq!(written.head.revision, before.next());
    engine.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_an_unknown_outcome_does_not_pass_for_the_outcome() {
    let (folder, log) = (folder(), Arc::new(MemoryLog::new(10)));
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    // The first attempt may yet arrive, whatever becomes of the second.
    log.inject(Fault::UnknownNotApplied);
    log.inject(Fault::Refused);
    let written = engine.create_document(&library, a_document("1"), None).await;
    assert_eq!(written.expect("found out").head.title, "1");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_start_was_refused_leaves_no_trace() {
    let (folder, log) = (folder(), Arc::new(MemoryLog::new(10)));
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    let before = engine.tail();
    log.inject(Fault::Refused);
    let item = |position| {
        let document = Box::new(a_document("1"));
        ingest::IngestItem::Document { position, document }
    };
    let ingest = engine.ingest(&library, OnConflict::Replace).await.expect("begun");
    let items = futures::stream::iter([item(1), item(2)]);
    let statuses: Vec<_> = ingest.run(items).collect().await;
    let [ingest::IngestStatus::Broken { error, .. }] = statuses.as_slice() else {
        panic!("{statuses:?}")
    };
    assert_eq!((error.kind, engine.tail()), (ErrorKind::Unavailable, before));
    engine.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_stays_unknown_stops_writes() {
    let (folder, log) = (folder(), Arc::new(MemoryLog::new(10)));
    let engine = open(&folder, Arc::clone(&log) as Arc<dyn ChangeLog>).await;
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    for _ in 0..20 {
        log.inject(Fault::UnknownNotApplied);
    }
    let error = engine.create_document(&library, a_document("1"), None).await;
    assert_eq!(error.expect_err("unknown").kind, ErrorKind::Unavailable);
    assert!(engine.readiness().is_err());
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_whose_log_lost_its_past_takes_writes() {
    let folder = folder();
    let log_folder = folder.path().join("log");
    let open_log = |min_end| {
        let options = EmbeddedOptions { min_end, ..EmbeddedOptions::default() };
        Arc::new(EmbeddedLog::open(&log_folder, options).expect("log opens"))
    };
    let engine = open(&folder, open_log(Revision::ZERO)).await;
    let library = LibraryRef::Id(a_library(&engine, "a").await.id);
    engine.create_document(&library, a_document("1"), None).await.expect("written");
    let tail = engine.tail();
    engine.close().await;
    drop(engine);
    std::fs::remove_dir_all(&log_folder).expect("removed");

    let engine = open(&folder, open_log(tail)).await;
    assert_eq!(engine.tail(), tail);
    let written = engine.create_document(&library, a_document("2"), None).await;
    assert_eq!(written.expect("written").head.revision, tail.next());
    let begin =
        EventsRequest { library: None, event_types: vec![], filter: None, start: StartAt::Begin };
    let page = engine.list_events(begin, None, ReadAt::default()).await.expect("read");
    let events: Vec<_> = page.changes.iter().flat_map(|selected| selected.events()).collect();
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.revision == tail.next()));
    let statistics = engine.event_statistics(ReadAt::default()).await.expect("counted");
    assert_eq!((statistics.total_published, statistics.floor_revision), (2, tail.next()));
    engine.close().await;
    drop(engine);

    let engine = open(&folder, open_log(tail.next())).await;
    let view = engine.get_library(&library, ReadAt::default()).await.expect("there");
    assert_eq!(view.counts.documents, 2);
    engine.close().await;
}
