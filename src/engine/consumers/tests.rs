//! What a consumer promises, over a small engine.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::engine::changes::FeedItem;
use crate::engine::small::Small;
use crate::log::ChangeLog;
use crate::types::{Event, Limits};

fn name(text: &str) -> ConsumerName {
    ConsumerName::parse(text).expect("a name")
}

fn new(text: &str) -> NewConsumer {
    NewConsumer {
        name: name(text),
        library: None,
        event_types: vec![],
        filter: None,
        start: StartAt::Begin,
    }
}

async fn small() -> Small {
    Small::open(|_| {}).await
}

/// A pull that takes over, or goes on.
async fn pull(small: &Small, generation: Option<u64>, most: usize) -> Result<PulledEvents> {
    let request = PullRequest { generation, max_events: Some(most), ..PullRequest::default() };
    small.engine.pull_events(&name("c"), request).await
}

fn events(pulled: &PulledEvents) -> impl Iterator<Item = Event<'_>> {
    pulled.changes.iter().flat_map(Selected::events)
}

fn revisions(pulled: &PulledEvents) -> Vec<u64> {
    events(pulled).map(|event| event.revision.0).collect()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("refused").kind
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_acknowledged_is_given_again_also_after_a_restart() {
    let small = small().await;
    small.change(5).await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let first = pull(&small, None, 2).await.expect("pulled");
    assert_eq!(revisions(&first), [1, 2]);
    let generation = Some(first.generation);
    assert_eq!(revisions(&pull(&small, generation, 2).await.expect("pulled")), [1, 2]);
    let ahead = PullRequest {
        generation,
        cursor: Some(first.next_cursor),
        max_events: Some(2),
        ..PullRequest::default()
    };
    let ahead = small.engine.pull_events(&name("c"), ahead).await.expect("pulled");
    assert_eq!(revisions(&ahead), [3, 4], "reads on without acknowledging");
    assert_eq!(revisions(&pull(&small, generation, 1).await.expect("pulled")), [1]);
    let engine = &small.engine;
    let view = engine
        .acknowledge_events(&name("c"), first.generation, first.next_cursor)
        .await
        .expect("acknowledged");
    assert_eq!(view.consumer.cursor, first.next_cursor);
    assert_eq!((view.lag.revisions, view.lag.events), (4, 4));
    let before = engine.get_consumer(&name("c")).await.expect("there").consumer;

    let small = small.reopen().await;
    let after = small.engine.get_consumer(&name("c")).await.expect("there").consumer;
    assert_eq!(after, before);
    let pulled = pull(&small, generation, 10).await.expect("the owner goes on");
    assert_eq!(revisions(&pulled), [3, 4, 5, 6]);
    assert_eq!(pulled.next_cursor, pulled.tail_cursor);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_are_cumulative_and_never_go_back() {
    let small = small().await;
    small.change(5).await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let pulled = pull(&small, None, 10).await.expect("pulled");
    let ids: Vec<Cursor> = events(&pulled).map(|event| event.id).collect();
    let acknowledge = async |cursor| {
        let engine = &small.engine;
        let view = engine.acknowledge_events(&name("c"), pulled.generation, cursor).await;
        view.map(|view| view.consumer.cursor)
    };
    assert_eq!(acknowledge(ids[3]).await, Ok(ids[3]));
    assert_eq!(acknowledge(ids[1]).await, Ok(ids[3]), "late is as good as done");
    assert_eq!(acknowledge(ids[3]).await, Ok(ids[3]));
    assert_eq!(revisions(&pull(&small, Some(pulled.generation), 9).await.expect("more")), [5, 6]);
    let beyond = Cursor { revision: Revision(99), ..ids[0] };
    assert_eq!(kind(acknowledge(beyond).await), ErrorKind::CursorUnknown);
    let foreign = Cursor { epoch: crate::types::Epoch(u64::MAX), ..ids[4] };
    assert_eq!(kind(acknowledge(foreign).await), ErrorKind::CursorUnknown);
    assert_eq!(acknowledge(pulled.next_cursor).await, Ok(pulled.next_cursor));
    let view = small.engine.get_consumer(&name("c")).await.expect("there");
    assert_eq!(view.lag, ConsumerLag::default(), "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_come_together_are_all_answered() {
    let small = Small::open(|limits| limits.consumer_commit_max = 4).await;
    small.change(40).await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let pulled = pull(&small, None, 100).await.expect("pulled");
    let ids: Vec<Cursor> = events(&pulled).map(|event| event.id).collect();
    let (consumer, engine) = (name("c"), &small.engine);
    let each = ids.iter().rev().map(|id| async {
        let view = engine.acknowledge_events(&consumer, pulled.generation, *id).await;
        let cursor = view.expect("acknowledged").consumer.cursor;
        assert!(cursor >= *id, "the answer covers what was acknowledged");
    });
    futures::future::join_all(each).await;
    let small = small.reopen().await;
    let view = small.engine.get_consumer(&name("c")).await.expect("there");
    assert_eq!(Some(&view.consumer.cursor), ids.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_makes_the_one_before_stale() {
    let small = small().await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let first = pull(&small, None, 1).await.expect("pulled");
    let tail = first.next_cursor;
    let engine = small.engine.clone();
    let acknowledged = engine.acknowledge_events(&name("c"), first.generation, tail).await;
    acknowledged.expect("acknowledged");
    // The first owner waits for more when the second comes.
    let waiting = tokio::spawn(async move {
        let wait = Duration::from_secs(40);
        let generation = Some(first.generation);
        let request = PullRequest { generation, wait, ..PullRequest::default() };
        engine.pull_events(&name("c"), request).await
    });
    let request = PullRequest { owner: "second".to_owned(), ..PullRequest::default() };
    let second = small.engine.pull_events(&name("c"), request).await.expect("pulled");
    assert!(second.generation > first.generation);
    let ended = tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("at once");
    let error = ended.expect("no panic").expect_err("stale");
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.detail.contains(&second.generation.to_string()), "{error}");
    assert_eq!(kind(pull(&small, Some(first.generation), 1).await), ErrorKind::Conflict);
    let late = small.engine.acknowledge_events(&name("c"), first.generation, tail).await;
    assert_eq!(kind(late), ErrorKind::Conflict);
    let view = small.engine.get_consumer(&name("c")).await.expect("there");
    assert_eq!(view.consumer.owner, "second");
    assert!(pull(&small, Some(second.generation), 1).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_waits_for_the_first_event_and_no_longer_than_asked() {
    let small = small().await;
    let started = NewConsumer { start: StartAt::Now, ..new("c") };
    small.engine.create_consumer(started, None).await.expect("created");
    let wait = |wait| PullRequest { wait, ..PullRequest::default() };
    let (consumer, soon) = (name("c"), Duration::from_millis(1));
    let none = small.engine.pull_events(&consumer, wait(soon)).await.expect("pulled");
    assert_eq!(revisions(&none), [0_u64; 0]);
    let pull = small.engine.pull_events(&consumer, wait(Duration::from_secs(40)));
    let (pulled, tail) = tokio::join!(pull, small.change(1));
    assert_eq!(revisions(&pulled.expect("pulled")), [tail.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_no_filter_is_passed_over_and_frees_the_log() {
    let small = small().await;
    let filtered =
        NewConsumer { filter: Some("event.type == \"library.deleted\"".to_owned()), ..new("c") };
    small.engine.create_consumer(filtered, None).await.expect("created");
    let tail = small.change(5).await;
    let pulled = pull(&small, None, 2).await.expect("pulled");
    assert_eq!(revisions(&pulled), [0_u64; 0]);
    let view = small.engine.get_consumer(&name("c")).await.expect("there");
    assert_eq!(view.consumer.cursor, pulled.next_cursor);
    assert_eq!(view.consumer.cursor.revision, tail, "all of it was looked at");
    small.engine.delete_library(&small.library(), None).await.expect("deleted");
    let pulled = pull(&small, Some(pulled.generation), 2).await.expect("pulled");
    assert_eq!(revisions(&pulled), [tail.0 + 1]);
    let view = small.engine.get_consumer(&name("c")).await.expect("there");
    assert_eq!(view.consumer.cursor.revision, tail, "not acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn types_and_libraries_select_what_is_given() {
    let small = small().await;
    small.change(2).await;
    let event_types = vec![EventType::LibraryUpdated];
    let library = Some(small.library());
    let selective = NewConsumer { event_types, library, ..new("c") };
    small.engine.create_consumer(selective, None).await.expect("created");
    assert_eq!(revisions(&pull(&small, None, 9).await.expect("pulled")), [2, 3]);
    let unknown = NewConsumer { library: "nobody".parse().ok(), ..new("d") };
    assert_eq!(kind(small.engine.create_consumer(unknown, None).await), ErrorKind::NotFound);
    for filter in ["", "document.titel == 1", "1 +"] {
        let wrong = NewConsumer { filter: Some(filter.to_owned()), ..new("d") };
        let error = small.engine.create_consumer(wrong, None).await.expect_err(filter);
        assert_eq!(error.violations[0].field, "filter");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_moves_both_ways_and_makes_the_owner_stale() {
    let small = small().await;
    small.change(5).await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let first = pull(&small, None, 10).await.expect("pulled");
    let (consumer, engine) = (name("c"), &small.engine);
    let done = engine.acknowledge_events(&consumer, first.generation, first.next_cursor).await;
    done.expect("acknowledged");
    let back = StartAt::Revision(Revision(2));
    let view = engine.seek_consumer(&consumer, back).await.expect("moved");
    assert_eq!(view.consumer.cursor.revision, Revision(2));
    let late = engine.acknowledge_events(&consumer, first.generation, first.next_cursor).await;
    assert_eq!(kind(late), ErrorKind::Conflict, "it would undo the seek");
    assert_eq!(revisions(&pull(&small, None, 2).await.expect("pulled")), [3, 4]);
    engine.seek_consumer(&consumer, StartAt::Now).await.expect("moved");
    assert_eq!(revisions(&pull(&small, None, 2).await.expect("pulled")), [0_u64; 0]);
    let beyond = engine.seek_consumer(&consumer, StartAt::Revision(Revision(99))).await;
    assert_eq!(kind(beyond), ErrorKind::CursorUnknown);
    assert_eq!(kind(engine.seek_consumer(&name("d"), back).await), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_gives_nothing_and_keeps_its_place() {
    let small = small().await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let pulled = pull(&small, None, 1).await.expect("pulled");
    let (consumer, engine) = (name("c"), &small.engine);
    let view = engine.pause_consumer(&consumer, true).await.expect("paused");
    assert!(view.consumer.paused);
    for generation in [None, Some(pulled.generation)] {
        let refused = pull(&small, generation, 1).await;
        assert_eq!(kind(refused), ErrorKind::FailedPrecondition);
    }
    let cursor = pulled.next_cursor;
    let done = engine.acknowledge_events(&consumer, pulled.generation, cursor).await;
    assert_eq!(done.expect("what is under way may end").consumer.cursor, cursor);
    let small = small.reopen().await;
    assert_eq!(kind(pull(&small, None, 1).await), ErrorKind::FailedPrecondition);
    small.engine.pause_consumer(&consumer, false).await.expect("resumed");
    small.change(1).await;
    let pulled = pull(&small, Some(pulled.generation), 1).await.expect("the owner goes on");
    assert_eq!(revisions(&pulled), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_made_again_under_a_name_knows_no_owner_of_the_one_before() {
    let small = small().await;
    let (consumer, engine) = (name("c"), &small.engine);
    engine.create_consumer(new("c"), None).await.expect("created");
    let old = pull(&small, None, 1).await.expect("pulled");
    engine.delete_consumer(&consumer).await.expect("gone");
    assert_eq!(kind(engine.get_consumer(&consumer).await), ErrorKind::NotFound);
    assert_eq!(kind(engine.delete_consumer(&consumer).await), ErrorKind::NotFound);
    assert_eq!(kind(pull(&small, Some(old.generation), 1).await), ErrorKind::NotFound);
    engine.create_consumer(new("c"), None).await.expect("created");
    let fresh = pull(&small, None, 1).await.expect("pulled");
    let late = engine.acknowledge_events(&consumer, old.generation, old.next_cursor).await;
    assert_eq!(kind(late), ErrorKind::Conflict);
    assert!(fresh.generation > old.generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_unique_and_numbers_limited_and_retries_safe() {
    let small = Small::open(|limits: &mut Limits| limits.consumers_max = 2).await;
    let (engine, id) = (&small.engine, |text| RequestId::parse(text).ok());
    let made = engine.create_consumer(new("c"), id("r")).await.expect("created");
    let again = engine.create_consumer(new("c"), id("r")).await.expect("the same");
    assert_eq!(again.consumer, made.consumer);
    for other in [None, id("s")] {
        assert_eq!(kind(engine.create_consumer(new("c"), other).await), ErrorKind::AlreadyExists);
    }
    engine.create_consumer(new("b"), None).await.expect("created");
    let more = engine.create_consumer(new("a"), None).await;
    assert_eq!(kind(more), ErrorKind::ResourceExhausted);
    let page = |token: Option<String>| PageRequest { size: 1, token };
    let first = engine.list_consumers(page(None)).await.expect("listed");
    let second = engine.list_consumers(page(first.next_token.clone())).await.expect("listed");
    let names = [&first, &second].map(|page| page.items[0].consumer.name.as_str().to_owned());
    assert_eq!((names, second.next_token), (["b".to_owned(), "c".to_owned()], None));
    let wrong = engine.list_consumers(page(Some("no name".to_owned()))).await;
    assert_eq!(wrong.expect_err("wrong").violations[0].field, "page_token");
}

/// A counter among the metrics.
async fn counted(small: &Small, counter: &str) -> u64 {
    let text = small.engine.metrics().await.expect("numbers");
    let mut values = text.lines().filter_map(|line| line.strip_prefix(counter)?.strip_prefix(' '));
    values.next().expect("there").parse().expect("a number")
}

#[tokio::test]
async fn a_pull_that_waits_is_not_woken_by_what_does_not_concern_it() {
    let small = small().await;
    let event_types = vec![EventType::LibraryDeleted];
    let selective = NewConsumer { event_types, start: StartAt::Now, ..new("c") };
    small.engine.create_consumer(selective, None).await.expect("created");
    let polls = Arc::new(AtomicU64::new(0));
    let (engine, counter) = (small.engine.clone(), Arc::clone(&polls));
    let waiting = tokio::spawn(async move {
        let (consumer, wait) = (name("c"), Duration::from_secs(50));
        let request = PullRequest { wait, ..PullRequest::default() };
        let mut pull = std::pin::pin!(engine.pull_events(&consumer, request));
        std::future::poll_fn(|context| {
            counter.fetch_add(1, Ordering::SeqCst);
            pull.as_mut().poll(context)
        })
        .await
    });
    while small.engine.inner.feed.num_interests() == 0 {
        tokio::task::yield_now().await;
    }
    let before = polls.load(Ordering::SeqCst);
    let tail = small.change(20).await;
    assert_eq!(polls.load(Ordering::SeqCst), before);
    let reads = counted(&small, "arrwdb_feed_window_reads_total").await;
    small.engine.delete_library(&small.library(), None).await.expect("deleted");
    let pulled = waiting.await.expect("no panic").expect("pulled");
    assert_eq!(revisions(&pulled), [tail.0 + 1]);
    let read = counted(&small, "arrwdb_feed_window_reads_total").await - reads;
    assert_eq!(read, 1, "what does not concern it is not read");
    assert_eq!(small.engine.inner.feed.num_interests(), 0, "it listens no more");
}

#[tokio::test]
async fn a_pull_whose_wait_is_over_has_passed_over_what_does_not_concern_it() {
    let small = small().await;
    let event_types = vec![EventType::LibraryDeleted];
    let selective = NewConsumer { event_types, start: StartAt::Now, ..new("c") };
    small.engine.create_consumer(selective, None).await.expect("created");
    let request = PullRequest { wait: Duration::from_secs(50), ..PullRequest::default() };
    let consumer = name("c");
    let pull = small.engine.pull_events(&consumer, request);
    let ended = async {
        while small.engine.inner.feed.num_interests() == 0 {
            tokio::task::yield_now().await;
        }
        let tail = small.change(3).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60)).await;
        tokio::time::resume();
        tail
    };
    let (pulled, tail) = tokio::join!(pull, ended);
    let pulled = pulled.expect("pulled");
    assert_eq!(revisions(&pulled), [0_u64; 0]);
    let next = pulled.next_cursor;
    assert_eq!((next, next.revision), (pulled.tail_cursor, tail));
    assert_eq!(next, small.engine.cursor_after(tail).await.expect("known"));
    let view = small.engine.get_consumer(&consumer).await.expect("there");
    assert_eq!((view.consumer.cursor, view.lag), (next, ConsumerLag::default()));
}

/// A consumer to which nothing passes, behind twelve changes that are looked at one by one.
async fn far_behind(look_ms: u64) -> (Small, Revision) {
    let small = Small::open(|limits| {
        limits.events_page_changes_max = 1;
        limits.consumer_look_ms = look_ms;
    })
    .await;
    let filter = Some("event.type == \"library.deleted\"".to_owned());
    let filtered = NewConsumer { filter, ..new("c") };
    small.engine.create_consumer(filtered, None).await.expect("created");
    let tail = small.change(11).await;
    (small, tail)
}

#[tokio::test]
async fn a_pull_that_does_not_wait_looks_no_longer_than_its_limit() {
    let (small, _) = far_behind(0).await;
    for through in 1..=3 {
        let pulled = pull(&small, None, 9).await.expect("pulled");
        assert_eq!(revisions(&pulled), [0_u64; 0]);
        assert!(pulled.next_cursor < pulled.tail_cursor, "read on");
        let view = small.engine.get_consumer(&name("c")).await.expect("there");
        assert_eq!(view.consumer.cursor, pulled.next_cursor);
        assert_eq!(view.consumer.cursor.revision, Revision(through), "one page");
    }
}

#[tokio::test]
async fn a_pull_that_passes_over_much_keeps_its_place_on_the_way() {
    let (small, tail) = far_behind(1 << 40).await;
    let pulled = pull(&small, None, 9).await.expect("pulled");
    assert_eq!(pulled.next_cursor.revision, tail);
    let acknowledged = counted(&small, "arrwdb_consumer_acknowledgements_total").await;
    assert!(acknowledged >= 12, "one a page: {acknowledged}");
    let (small, _) = far_behind(1 << 40).await;
    let first = small.engine.get_consumer(&name("c")).await.expect("there").consumer.cursor;
    let cursor = Some(first);
    let ahead = PullRequest { cursor, ..PullRequest::default() };
    let pulled = small.engine.pull_events(&name("c"), ahead).await.expect("pulled");
    assert_eq!(pulled.next_cursor, pulled.tail_cursor);
    let view = small.engine.get_consumer(&name("c")).await.expect("there");
    assert_eq!(view.consumer.cursor, first, "reading ahead acknowledges nothing");
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicU64);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_owner_is_woken_only_when_it_may_be_one_no_more() {
    let small = small().await;
    let (engine, consumer) = (&small.engine, name("c"));
    for consumer in ["c", "other"] {
        engine.create_consumer(new(consumer), None).await.expect("created");
    }
    let pulled = pull(&small, None, 9).await.expect("pulled");
    let kept = engine.get_consumer(&consumer).await.expect("there").consumer;
    let ownership = Ownership::new(&engine.inner.consumers, &kept);
    let mut lost = std::pin::pin!(Ownership::lost(Some(Arc::new(ownership))));
    let wakes = Arc::new(Wakes::default());
    let waker = std::task::Waker::from(Arc::clone(&wakes));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(lost.as_mut().poll(&mut context).is_pending());
    let done = pulled.next_cursor;
    engine.acknowledge_events(&consumer, pulled.generation, done).await.expect("acknowledged");
    engine.seek_consumer(&name("other"), StartAt::Begin).await.expect("moved");
    engine.pause_consumer(&name("other"), true).await.expect("paused");
    engine.delete_consumer(&name("other")).await.expect("gone");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    engine.delete_consumer(&consumer).await.expect("gone");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    // Also where there is one of its name again.
    engine.create_consumer(new("c"), None).await.expect("created");
    let std::task::Poll::Ready(error) = lost.as_mut().poll(&mut context) else {
        panic!("it owns nothing any more")
    };
    assert_eq!(error.kind, ErrorKind::Conflict);
}

#[tokio::test]
async fn what_is_acknowledged_too_late_counts_only_if_it_was_of_this_log() {
    let small = Small::open(|limits| limits.retention_age_ms = 1).await;
    small.change(8).await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let pulled = pull(&small, None, 2).await.expect("pulled");
    let own = pulled.next_cursor;
    assert_eq!(own.revision, Revision(2));
    small.log.trim(Revision(6)).await.expect("trimmed");
    assert_eq!(small.floor().await, Revision(7));
    let foreign = Cursor { epoch: crate::types::Epoch(1), revision: Revision(3), ..own };
    assert!(foreign.epoch < own.epoch);
    let acknowledge = async |cursor| {
        let engine = &small.engine;
        let view = engine.acknowledge_events(&name("c"), pulled.generation, cursor).await;
        view.map(|view| view.consumer.cursor)
    };
    assert_eq!(kind(acknowledge(foreign).await), ErrorKind::CursorExpired);
    assert_eq!(acknowledge(own).await, Ok(own), "dealt with, if late");
}

async fn follow(small: &Small, generation: Option<u64>, owner: &str) -> Result<Subscription> {
    let request = FollowRequest { name: name("c"), generation, owner: owner.to_owned() };
    small.engine.subscribe_consumer(request).await
}

async fn next(subscription: &mut Subscription) -> Result<FeedItem> {
    let item = tokio::time::timeout(Duration::from_secs(30), subscription.next()).await;
    Ok(item.expect("in time")?.expect("no end"))
}

/// The revisions up to the tail.
async fn read(small: &Small, subscription: &mut Subscription) -> Vec<u64> {
    let mut read = Vec::new();
    while subscription.cursor().revision < small.engine.tail() {
        if let FeedItem::Changes(changes) = next(subscription).await.expect("goes on") {
            let events = changes.iter().flat_map(Selected::events);
            read.extend(events.map(|event| event.revision.0));
        }
    }
    read
}

/// Why a subscription ends.
async fn end(mut subscription: Subscription) -> ErrorKind {
    loop {
        if let Err(error) = next(&mut subscription).await {
            return error.kind;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_begins_behind_what_is_acknowledged_and_owns_the_consumer() {
    let small = small().await;
    small.change(5).await;
    let only = NewConsumer { event_types: vec![EventType::LibraryUpdated], ..new("c") };
    small.engine.create_consumer(only, None).await.expect("created");
    let pulled = pull(&small, None, 2).await.expect("pulled");
    assert_eq!(revisions(&pulled), [2, 3]);
    let (engine, consumer, done) = (&small.engine, name("c"), pulled.next_cursor);
    engine.acknowledge_events(&consumer, pulled.generation, done).await.expect("acknowledged");

    let mut subscription = follow(&small, None, "s").await.expect("subscribed");
    let generation = subscription.generation().expect("it is an owner");
    assert!(generation > pulled.generation);
    let first = next(&mut subscription).await.expect("there");
    assert!(matches!(first, FeedItem::Heartbeat { cursor, .. } if cursor == done), "{first:?}");
    assert_eq!(read(&small, &mut subscription).await, [4, 5, 6]);
    let late = engine.acknowledge_events(&consumer, pulled.generation, done).await;
    assert_eq!(kind(late), ErrorKind::Conflict);
    let view = engine.get_consumer(&consumer).await.expect("there");
    assert_eq!((view.consumer.owner.as_str(), view.consumer.cursor), ("s", done), "as it was");
    // As a heartbeat's cursor is acknowledged.
    let five = engine.cursor_after(Revision(5)).await.expect("known");
    engine.acknowledge_events(&consumer, generation, five).await.expect("acknowledged");
    drop(subscription);
    let small = small.reopen().await;
    let mut subscription = follow(&small, Some(generation), "s").await.expect("still its owner");
    assert_eq!(read(&small, &mut subscription).await, [6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_when_the_consumer_is_not_its_own_any_more() {
    let small = small().await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let (consumer, engine) = (name("c"), &small.engine);
    // Each waits at the tail when it happens.
    let waiting = async || {
        let mut subscription = follow(&small, None, "").await.expect("subscribed");
        read(&small, &mut subscription).await;
        subscription
    };
    let pulled = tokio::spawn(end(waiting().await));
    pull(&small, None, 1).await.expect("taken over");
    assert_eq!(pulled.await.expect("no panic"), ErrorKind::Conflict);
    let followed = tokio::spawn(end(waiting().await));
    let mut backlog = follow(&small, None, "").await.expect("taken over");
    assert_eq!(followed.await.expect("no panic"), ErrorKind::Conflict);
    engine.seek_consumer(&consumer, StartAt::Begin).await.expect("moved");
    let error = next(&mut backlog).await.expect_err("although there is something to read");
    assert_eq!(error.kind, ErrorKind::Conflict);
    let moved = tokio::spawn(end(waiting().await));
    engine.seek_consumer(&consumer, StartAt::Now).await.expect("moved");
    assert_eq!(moved.await.expect("no panic"), ErrorKind::Conflict);
    let paused = tokio::spawn(end(waiting().await));
    engine.pause_consumer(&consumer, true).await.expect("paused");
    assert_eq!(paused.await.expect("no panic"), ErrorKind::FailedPrecondition);
    assert_eq!(kind(follow(&small, None, "").await), ErrorKind::FailedPrecondition);
    engine.pause_consumer(&consumer, false).await.expect("resumed");
    let deleted = tokio::spawn(end(waiting().await));
    engine.delete_consumer(&consumer).await.expect("gone");
    assert_eq!(deleted.await.expect("no panic"), ErrorKind::NotFound);
    assert_eq!(kind(follow(&small, None, "").await), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_comes_back_does_not_take_the_consumer_from_its_successor() {
    let small = small().await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let first = follow(&small, None, "first").await.expect("subscribed");
    let generation = first.generation();
    let mut again = follow(&small, generation, "first").await.expect("still its owner");
    assert!(again.generation() > generation);
    assert_eq!(end(first).await, ErrorKind::Conflict, "one stream at a time");
    assert_eq!(kind(follow(&small, generation, "first").await), ErrorKind::Conflict);
    let tail = small.change(1).await;
    assert_eq!(read(&small, &mut again).await, [1, tail.0], "who owns it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_takes_nothing_over() {
    let small = small().await;
    small.engine.create_consumer(new("c"), None).await.expect("created");
    let owner = pull(&small, None, 1).await.expect("pulled").generation;
    let error = follow(&small, None, &"x".repeat(129)).await.expect_err("too long");
    assert_eq!(error.violations[0].field, "owner");
    assert!(pull(&small, Some(owner), 1).await.is_ok(), "it is still the owner");
}
