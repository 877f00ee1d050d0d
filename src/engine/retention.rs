//! Retention: drops the log's oldest pieces when they are too old or the log is too large.
//!
//! In the background, on no lock that a write takes. Never past what the store holds durably (a
//! restart applies the log from there on) and never past what a durable consumer still needs,
//! unless the log has grown to `limits.retention_held_times_max` times what is retained; that
//! consumer is told at its next pull.
//! Only whole pieces go, and never the one that is appended to: a log smaller than a piece
//! (`limits.log_piece_bytes_target`) is kept whole, however old.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::log::ReadError;
use crate::store::{Store, StoreError};
use crate::types::{Revision, Timestamp};

/// Why nothing was dropped this time.
#[derive(Debug, thiserror::Error)]
enum RetentionError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a task panicked")]
    Panicked,
}

/// Starts the background task; it ends with the engine, which it does not keep alive.
pub(super) fn start(engine: &Engine, store: Store, life: CancellationToken) {
    let inner = Arc::downgrade(&engine.inner);
    let interval = Duration::from_millis(engine.inner.limits.retention_interval_ms);
    engine.inner.tasks.spawn(async move {
        let mut durable = Revision::ZERO;
        loop {
            tokio::select! {
                () = life.cancelled() => break,
                () = tokio::time::sleep(interval) => {}
            }
            let Some(inner) = inner.upgrade() else { break };
            let mut retention =
                Retention { engine: Engine { inner }, store: store.clone(), durable };
            if let Err(error) = retention.run(Timestamp::now()).await {
                tracing::error!(%error, "the log could not be trimmed; it is tried again");
            }
            durable = retention.durable;
        }
    });
}

struct Retention {
    engine: Engine,
    store: Store,
    /// What the store is known to hold durably.
    durable: Revision,
}

impl Retention {
    /// Drops what need not be kept at this moment; gives the floor.
    async fn run(&mut self, now: Timestamp) -> Result<Revision, RetentionError> {
        let inner = &self.engine.inner;
        let before = inner.log.bounds().await?;
        let unwanted = self.beyond(now, 1).await?;
        if unwanted < before.floor {
            return Ok(before.floor);
        }
        let overdue = self.beyond(now, inner.limits.retention_held_times_max).await?;
        let applied = inner.published.load().applied.revision;
        if unwanted.min(applied) > self.durable {
            let store = self.store.clone();
            let persisted = tokio::task::spawn_blocking(move || store.persist()).await;
            persisted.map_err(|_| RetentionError::Panicked)??;
            self.durable = applied;
        }
        // From here to the trim no consumer may be made to begin at what is about to go.
        let _gate = inner.consumers.trim_gate().await;
        let holding = inner.consumers.hold(&before, applied);
        let held = holding.iter().map(|(_, held)| *held).min().unwrap_or(Revision(u64::MAX));
        let through = unwanted.min(held.max(overdue)).min(self.durable);
        if through < before.floor {
            return Ok(before.floor);
        }
        let floor = inner.log.trim(through).await?;
        if floor > before.floor {
            let bytes = before.bytes.saturating_sub(inner.log.bounds().await?.bytes);
            inner.metrics.trimmed(bytes);
            tracing::info!(%floor, bytes, "old changes are trimmed away");
        }
        for (name, held) in holding.iter().map(|(name, held)| (name, held.next())) {
            if held >= floor {
                continue;
            }
            tracing::warn!(%name, %held, %floor, "a consumer lost changes: it held the log too long");
        }
        Ok(floor)
    }

    /// The highest revision that this many times the retention does not cover.
    async fn beyond(&self, now: Timestamp, times: u32) -> Result<Revision, ReadError> {
        let (limits, log) = (&self.engine.inner.limits, &self.engine.inner.log);
        let age = Duration::from_millis(limits.retention_age_ms).saturating_mul(times);
        let age_micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let oldest = Timestamp::from_micros(now.micros().saturating_sub(age_micros));
        let aged = log.seek(oldest).await?;
        let excess = log.excess(limits.retention_bytes_max.saturating_mul(times.into())).await?;
        Ok(aged.max(excess))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::changes::{EventsRequest, FeedItem};
    use crate::engine::consumers::{FollowRequest, NewConsumer, PullRequest};
    use crate::engine::small::{PIECE_CHANGES, Small};
    use crate::engine::{OpenError, ReadAt};
    use crate::log::ChangeLog;
    use crate::types::{ConsumerName, Cursor, ErrorKind, StartAt};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn retention(small: &Small) -> Retention {
        let (engine, store) = (small.engine.clone(), small.store.clone());
        Retention { engine, store, durable: Revision::ZERO }
    }

    /// The floor after retention has looked, this much later than now.
    async fn floor_after(small: &Small, later: Duration) -> Revision {
        let micros = Timestamp::now().micros() + u64::try_from(later.as_micros()).expect("small");
        retention(small).run(Timestamp::from_micros(micros)).await.expect("runs")
    }

    async fn begin_at(small: &Small, start: StartAt) -> Result<u64, ErrorKind> {
        let request = EventsRequest { library: None, event_types: vec![], filter: None, start };
        let page = small.engine.list_events(request, None, ReadAt::default()).await;
        let first = page.map_err(|error| error.kind)?.changes;
        Ok(first.first().and_then(|one| one.events().next().map(|e| e.revision.0)).unwrap_or(0))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_old_goes_in_whole_pieces_but_for_the_last() {
        let small = Small::open(|limits| limits.retention_age_ms = 60_000).await;
        assert_eq!(small.change(10).await, Revision(11));
        assert_eq!(floor_after(&small, Duration::from_secs(30)).await, Revision(1));
        assert_eq!(floor_after(&small, HOUR).await, Revision(10));
        assert_eq!(small.floor().await, Revision(10));
        assert_eq!(floor_after(&small, HOUR).await, Revision(10), "the last piece stays");
        small.change(PIECE_CHANGES).await;
        assert_eq!(floor_after(&small, HOUR).await, Revision(13));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_much_goes() {
        let small = Small::open(|limits| limits.retention_bytes_max = 2_000).await;
        let bytes = async || small.log.bounds().await.expect("readable").bytes;
        while bytes().await <= 2_000 {
            assert_eq!(floor_after(&small, Duration::ZERO).await, Revision(1));
            small.change(1).await;
        }
        small.change(20).await;
        let floor = floor_after(&small, Duration::ZERO).await;
        let tail = small.engine.tail();
        assert!(floor > Revision(20) && floor <= tail, "{floor} of {tail}");
        assert!(bytes().await <= 2_000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn readers_get_all_behind_the_floor_and_are_told_below_it() {
        let small = Small::open(|limits| limits.retention_age_ms = 1).await;
        let tail = small.change(20).await;
        let small = small.reopen().await;
        let request = EventsRequest {
            library: None,
            event_types: vec![],
            filter: None,
            start: StartAt::Begin,
        };
        let mut early = small.engine.subscribe(request).await.expect("subscribed");
        let floor = floor_after(&small, HOUR).await;
        assert_eq!(floor, Revision(19));
        for (place, expected) in [
            (floor.0 - 2, Err(ErrorKind::CursorExpired)),
            (floor.0 - 1, Ok(floor.0)),
            (floor.0, Ok(if floor == tail { 0 } else { floor.0 + 1 })),
            (tail.0, Ok(0)),
            (tail.0 + 1, Err(ErrorKind::CursorUnknown)),
        ] {
            let at = StartAt::Revision(Revision(place));
            assert_eq!(begin_at(&small, at).await, expected, "after {place}, floor {floor}");
        }
        assert_eq!(begin_at(&small, StartAt::Begin).await, Ok(floor.0));
        // Who read when it went has all of it, or is told where to go on.
        let mut next = Revision(1);
        while next <= tail {
            match early.next().await {
                Ok(Some(FeedItem::Changes(changes))) => {
                    for event in changes.iter().flat_map(|selected| selected.events()) {
                        assert_eq!(event.revision, next);
                        next = next.next();
                    }
                }
                Ok(Some(FeedItem::Heartbeat { .. })) => {}
                Ok(None) => panic!("no end"),
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::CursorExpired);
                    let there = error.floor.expect("where to go on");
                    assert_eq!(begin_at(&small, StartAt::Cursor(there)).await, Ok(floor.0));
                    break;
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_consumer_holds_the_log_up_to_twice_and_is_told_then() {
        let small = Small::open(|limits| limits.retention_age_ms = 1_800_000).await;
        let name = ConsumerName::parse("c").expect("name");
        let new = NewConsumer {
            name: name.clone(),
            library: None,
            event_types: vec![],
            filter: None,
            start: StartAt::Begin,
        };
        small.engine.create_consumer(new, None).await.expect("created");
        small.change(8).await;
        let pull = || PullRequest { max_events: Some(4), ..PullRequest::default() };
        let pulled = small.engine.pull_events(&name, pull()).await.expect("pulled");
        assert_eq!(floor_after(&small, HOUR / 4 * 3).await, Revision(1), "held at the begin");
        let four = pulled.next_cursor;
        assert_eq!(four.revision, Revision(4));
        let acknowledged =
            small.engine.acknowledge_events(&name, pulled.generation, four).await.expect("done");
        assert!(!acknowledged.expired);
        // Revision 5 is held, and with it its piece: 4, 5, 6.
        assert_eq!(floor_after(&small, HOUR / 4 * 3).await, Revision(4));
        assert_eq!(floor_after(&small, HOUR * 2).await, Revision(7), "twice is the hard cap");
        let view = small.engine.get_consumer(&name).await.expect("there");
        assert!(view.expired);
        assert_eq!((view.lag.revisions, view.lag.events), (3, 3), "what can still be read");
        let error = small.engine.pull_events(&name, pull()).await.expect_err("expired");
        assert_eq!(error.kind, ErrorKind::CursorExpired);
        let floor = error.floor.expect("the way back");
        let follow = FollowRequest { name: name.clone(), generation: None, owner: String::new() };
        let told = small.engine.subscribe_consumer(follow).await.expect_err("expired");
        assert_eq!((told.kind, told.floor), (ErrorKind::CursorExpired, Some(floor)));
        // Its cursor is lost, so it holds nothing any more.
        small.change(PIECE_CHANGES).await;
        assert_eq!(floor_after(&small, HOUR / 4 * 3).await, Revision(10));
        let error = small.engine.seek_consumer(&name, StartAt::Cursor(floor)).await;
        assert_eq!(error.expect_err("past").kind, ErrorKind::CursorExpired);
        let view = small.engine.seek_consumer(&name, StartAt::Begin).await.expect("moved");
        assert!(!view.expired);
        let pulled = small.engine.pull_events(&name, pull()).await.expect("pulled");
        assert_eq!(
            pulled.changes[0].events().next().map(|event| event.revision),
            Some(Revision(10))
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_consumer_within_a_change_holds_that_change() {
        let small = Small::open(|limits| limits.retention_age_ms = 1_800_000).await;
        small.change(5).await;
        let name = ConsumerName::parse("c").expect("name");
        let whole = small.engine.cursor_after(Revision(3)).await.expect("known");
        for (cursor, floor) in [(Cursor { ordinal: 0, ..whole }, 1), (whole, 4)] {
            let new = NewConsumer {
                name: name.clone(),
                library: None,
                event_types: vec![],
                filter: None,
                start: StartAt::Cursor(cursor),
            };
            small.engine.create_consumer(new, None).await.expect("created");
            assert_eq!(floor_after(&small, HOUR / 4 * 3).await, Revision(floor));
            small.engine.delete_consumer(&name).await.expect("gone");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_restart_after_a_trim_has_everything_and_frees_what_is_deleted() {
        let small = Small::open(|limits| limits.retention_age_ms = 1).await;
        let library = small.library();
        small.change(5).await;
        small.engine.delete_library(&library, None).await.expect("deleted");
        let tail = small.engine.tail();
        let floor = floor_after(&small, HOUR).await;
        assert!(floor > Revision(1));
        let small = small.reopen().await;
        assert_eq!((small.engine.tail(), small.floor().await), (tail, floor));
        let gone = small.engine.get_library(&library, ReadAt::default()).await;
        assert_eq!(gone.expect_err("deleted").kind, ErrorKind::NotFound);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while !small.store.purges().expect("readable").is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "never freed");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_engine_that_is_dropped_lets_go_of_its_store() {
        let Small { engine, store, folder, .. } = Small::open(|_| {}).await;
        drop((engine, store));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while Store::open(folder.path()).is_err() {
            assert!(tokio::time::Instant::now() < deadline, "something holds it");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_is_behind_the_floor_is_refused() {
        let small = Small::open(|limits| limits.retention_age_ms = 1).await;
        small.change(5).await;
        let floor = floor_after(&small, HOUR).await;
        small.engine.close().await;
        let fresh = tempfile::tempdir().expect("folder");
        let options = crate::engine::EngineOptions {
            limits: small.limits.clone(),
            embedders: vec![],
            index: None,
            shutdown: tokio_util::sync::CancellationToken::new(),
        };
        let log = std::sync::Arc::new(small.log.reopen());
        let store = Store::open(fresh.path()).expect("store");
        let error = Engine::open(store, log, options).await.expect_err("a gap");
        assert!(error.to_string().contains("Restore the whole data folder"), "{error}");
        let OpenError::Gap { floor: at, applied } = error else { panic!("{error}") };
        assert_eq!((at, applied), (floor, Revision::ZERO));
    }
}
