//! Runs read from the log for readers that the window is too short for: a bounded cache, so that
//! readers close together share one pass over the log.
//!
//! The log is read by one reader at a time; those that wait for their turn find what the one
//! before them read. So a thousand readers that come back at one cursor read the log once.
//!
//! A run that would take up much of the cache, which is one change of many chunks, is kept beside
//! it, one at a time: its readers come back to it for each piece. Those that want another large one
//! wait until it was not used for a while, or for long enough; else readers at different places
//! would have every large run read and encoded anew for every piece.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::metrics::Metrics;
use super::run::Run;
use crate::log::{ChangeLog, ReadError};
use crate::types::{Limits, Revision};

/// The part of the cache that a run may take up without counting as large.
const LARGE_SHARE: usize = 8;

/// What was read last.
#[derive(Debug)]
pub(super) struct Past {
    cache: Mutex<Cache>,
    /// Whoever holds it reads the log.
    turn: tokio::sync::Mutex<()>,
    /// Tells that another large run has its turn.
    changed: Notify,
    bytes_max: usize,
    read_bytes_target: usize,
}

#[derive(Debug, Default)]
struct Cache {
    /// By the revision after which a run was read: it holds all changes from there to its last.
    runs: BTreeMap<Revision, Arc<Run>>,
    /// Oldest first.
    order: VecDeque<Revision>,
    bytes: usize,
    large: Option<Large>,
}

/// The large run that has its turn.
#[derive(Debug)]
struct Large {
    /// The revision after which it was read.
    after: Revision,
    run: Arc<Run>,
    since: Instant,
    used: Instant,
}

/// How long a large run is unused before another one may take its place: its readers are slow, or
/// through with it.
const LARGE_IDLE: Duration = Duration::from_millis(100);
/// How long one has its place while others wait, used or not: fast readers get through some tens of
/// megabytes.
const LARGE_TURN: Duration = Duration::from_secs(1);

impl Large {
    fn has_next(&self, after: Revision) -> bool {
        self.after <= after && self.run.last() > after
    }

    /// How long its turn goes on, as things stand.
    fn left(&self, now: Instant) -> Duration {
        let end = (self.used + LARGE_IDLE).min(self.since + LARGE_TURN);
        end.saturating_duration_since(now)
    }
}

impl Past {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            cache: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            bytes_max: limits.feed_cache_bytes_max,
            read_bytes_target: limits.feed_read_bytes_target,
        }
    }

    /// A run that has the change after `after`, up to `tail` at most; it may begin before that.
    /// `None` when there is no such change. Counts whether the log was read for it.
    pub(super) async fn read(
        &self,
        log: &dyn ChangeLog,
        after: Revision,
        tail: Revision,
        metrics: &Metrics,
    ) -> Result<Option<Arc<Run>>, ReadError> {
        if after >= tail {
            return Ok(None);
        }
        let shared = || self.known(after).inspect(|_| metrics.read_shared());
        let mut wants_large = false;
        loop {
            if let Some(run) = shared() {
                return Ok(Some(run));
            }
            if wants_large {
                self.other_turn(after).await;
            }
            let _turn = self.turn.lock().await;
            if let Some(run) = shared() {
                return Ok(Some(run));
            }
            if wants_large && !self.may_take_turn() {
                continue;
            }
            metrics.read_log();
            let mut heads = log.read_heads(after, self.read_bytes_target).await?;
            // The log may hold what is durable and not yet applied: nobody sees that.
            heads.truncate(heads.partition_point(|head| head.revision <= tail));
            let runs = Run::cut(&heads);
            let Some(first) = runs.first().cloned() else { return Ok(None) };
            wants_large = self.is_large(&first);
            self.keep(after, runs);
            if !wants_large {
                return Ok(Some(first));
            }
        }
    }

    fn is_large(&self, run: &Run) -> bool {
        run.is_large() && run.bytes() > self.bytes_max / LARGE_SHARE
    }

    /// Whether the place of the large run is free, or its turn over.
    fn may_take_turn(&self) -> bool {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.large.as_ref().is_none_or(|large| large.left(Instant::now()).is_zero())
    }

    /// Waits until the large run's turn is over, or another has it.
    async fn other_turn(&self, after: Revision) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Heard from here on.
            changed.as_mut().enable();
            let left = {
                let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
                let large = cache.large.as_ref().filter(|large| !large.has_next(after));
                large.map_or(Duration::ZERO, |large| large.left(Instant::now()))
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    fn known(&self, after: Revision) -> Option<Arc<Run>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(large) = cache.large.as_mut().filter(|large| large.has_next(after)) {
            large.used = Instant::now();
            return Some(Arc::clone(&large.run));
        }
        let (_, run) = cache.runs.range(..=after).next_back()?;
        (run.last() > after).then(|| Arc::clone(run))
    }

    fn keep(&self, after: Revision, runs: Vec<Arc<Run>>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = after;
        for run in runs {
            let last = run.last();
            if self.is_large(&run) {
                let now = Instant::now();
                if cache.large.as_ref().is_none_or(|large| large.left(now).is_zero()) {
                    cache.large = Some(Large { after, run, since: now, used: now });
                    self.changed.notify_waiters();
                }
                after = last;
                continue;
            }
            cache.bytes += run.bytes();
            match cache.runs.insert(after, run) {
                Some(shorter) => cache.bytes -= shorter.bytes(),
                None => cache.order.push_back(after),
            }
            after = last;
        }
        while cache.bytes > self.bytes_max {
            let Some(oldest) = cache.order.pop_front() else { break };
            if let Some(run) = cache.runs.remove(&oldest) {
                cache.bytes -= run.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::engine::fixture::{added, heads};
    use crate::log::memory::MemoryLog;
    use crate::log::{AppendError, LogBounds};
    use crate::types::{Change, ChangeHead, ChunkBody, Metric, Timestamp, Vector};

    /// A log that counts how often it is read.
    struct Counted {
        log: MemoryLog,
        reads: AtomicUsize,
    }

    impl Counted {
        /// With this many documents.
        async fn with(documents: u32) -> Self {
            Self::of(documents, 0).await
        }

        /// With so many of so many chunks.
        async fn of(documents: u32, chunks: u32) -> Self {
            let log = MemoryLog::new(1_000);
            let epoch = log.bounds().await.expect("readable").epoch();
            let heads = heads((0..documents).map(|n| added(&format!("d{n}"), chunks)).collect());
            let vector = Vector::new("vector", vec![1.0], 1, Metric::Dot).expect("a vector");
            let body = ChunkBody { text: "".into(), vector };
            let change = |head: &Arc<ChangeHead>| Change {
                head: ChangeHead { epoch, ..(**head).clone() },
                bodies: head.kind.added_chunks().iter().map(|_| body.clone()).collect(),
            };
            let changes: Vec<_> = heads.iter().map(change).collect();
            log.append(Revision::ZERO, &changes).await.expect("appended");
            Self { log, reads: AtomicUsize::new(0) }
        }
    }

    #[async_trait]
    impl ChangeLog for Counted {
        async fn bounds(&self) -> Result<LogBounds, ReadError> {
            self.log.bounds().await
        }
        async fn append(&self, end: Revision, changes: &[Change]) -> Result<(), AppendError> {
            self.log.append(end, changes).await
        }
        async fn read_heads(
            &self,
            after: Revision,
            bytes_target: usize,
        ) -> Result<Vec<Arc<ChangeHead>>, ReadError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            // Others get to ask meanwhile.
            tokio::task::yield_now().await;
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
        async fn trim(&self, through: Revision) -> Result<Revision, ReadError> {
            self.log.trim(through).await
        }
        async fn excess(&self, bytes_max: u64) -> Result<Revision, ReadError> {
            self.log.excess(bytes_max).await
        }
        async fn close(&self) -> Result<(), AppendError> {
            self.log.close().await
        }
    }

    /// All revisions that a reader sees from `after` to the tail.
    async fn read_all(past: &Past, log: &dyn ChangeLog, after: u64, tail: u64) -> Vec<u64> {
        let (mut seen, mut after) = (Vec::new(), Revision(after));
        let metrics = Metrics::new();
        let read = async |after| past.read(log, after, Revision(tail), &metrics).await;
        while let Some(run) = read(after).await.expect("readable") {
            seen.extend(run.heads_after(after).iter().map(|head| head.revision.0));
            after = run.last();
        }
        seen
    }

    #[tokio::test]
    async fn readers_that_come_back_together_read_the_log_once() {
        let log = Counted::with(2_000).await;
        let past = Past::new(&Limits { feed_read_bytes_target: 4 << 10, ..Limits::default() });
        let expected: Vec<u64> = (1..=2_000).collect();
        assert_eq!(read_all(&past, &log, 0, 2_000).await, expected);
        let alone = log.reads.swap(0, Ordering::Relaxed);
        assert!(alone > 10, "{alone} reads are too few to tell");

        let past = Past::new(&Limits { feed_read_bytes_target: 4 << 10, ..Limits::default() });
        // From cursors that are close together, not only from the same.
        let readers = (0..100).map(|n| read_all(&past, &log, n % 3, 2_000));
        for (n, seen) in futures::future::join_all(readers).await.into_iter().enumerate() {
            assert_eq!(seen, expected[n % 3..]);
        }
        let together = log.reads.load(Ordering::Relaxed);
        assert!(together <= alone + 3, "{together} reads for 100 readers, {alone} for one");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_what_is_not_is_read_again() {
        let log = Counted::with(2_000).await;
        let limits = Limits {
            feed_read_bytes_target: 4 << 10,
            feed_cache_bytes_max: 140_000,
            ..Limits::default()
        };
        let past = Past::new(&limits);
        for _ in 0..2 {
            assert_eq!(read_all(&past, &log, 0, 2_000).await, Vec::from_iter(1..=2_000));
            let cache = past.cache.lock().expect("not poisoned");
            assert!(cache.bytes <= 140_000, "{}", cache.bytes);
            assert_eq!(cache.runs.len(), cache.order.len());
            assert_eq!(cache.bytes, cache.runs.values().map(|run| run.bytes()).sum::<usize>());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn large_runs_have_their_turn_one_after_the_other() {
        let log = Counted::of(20, 200).await;
        let limits =
            Limits { feed_read_bytes_target: 1, feed_cache_bytes_max: 100, ..Limits::default() };
        let past = Past::new(&limits);
        let metrics = Metrics::new();
        let (first, second) = (Revision(0), Revision(10));
        let read = async |after| {
            let run = past.read(&log, after, Revision(20), &metrics).await;
            run.expect("readable").expect("a run").first()
        };
        let begun = Instant::now();
        assert_eq!(read(first).await, Revision(1));
        // The one that has its turn is read on, whoever else waits meanwhile.
        let reading = async {
            for _ in 0..50 {
                assert_eq!(read(first).await, Revision(1));
                tokio::time::sleep(LARGE_IDLE / 2).await;
            }
        };
        let waiting = async {
            assert_eq!(read(second).await, Revision(11));
            assert!(begun.elapsed() >= LARGE_TURN, "{:?}", begun.elapsed());
            assert!(begun.elapsed() < LARGE_TURN + LARGE_IDLE, "{:?}", begun.elapsed());
        };
        tokio::join!(reading, waiting);
        // Back and forth a few times in these seconds, not for each read.
        let reads = log.reads.load(Ordering::Relaxed);
        assert!(reads <= 10, "{reads} reads");
        // One that nobody reads on is no reason to wait for long.
        let begun = Instant::now();
        assert_eq!(read(second).await, Revision(11));
        assert!(begun.elapsed() <= LARGE_IDLE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_run_larger_than_the_cache_is_read_once_for_all_who_are_in_it() {
        let log = Counted::of(1, 200).await;
        let past = Past::new(&Limits { feed_cache_bytes_max: 100, ..Limits::default() });
        let metrics = Metrics::new();
        for _ in 0..4 {
            let run = past.read(&log, Revision::ZERO, Revision(1), &metrics).await;
            assert_eq!(run.expect("readable").expect("one run").last(), Revision(1));
        }
        assert_eq!(log.reads.load(Ordering::Relaxed), 1);
        assert_eq!(past.cache.lock().expect("not poisoned").bytes, 0);
    }

    #[tokio::test]
    async fn nothing_beyond_the_tail_is_shown() {
        let log = Counted::with(100).await;
        let past = Past::new(&Limits::default());
        assert_eq!(read_all(&past, &log, 0, 7).await, Vec::from_iter(1..=7));
        assert_eq!(read_all(&past, &log, 3, 100).await, Vec::from_iter(4..=100));
    }
}
