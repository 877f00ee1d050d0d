//! Runs read from the log for readers that the window is too short for: a bounded cache, so that
//! readers close together share one pass over the log.
//!
//! The log is read by one reader at a time; those that wait for their turn find what the one
//! before them read. So a thousand readers that come back at one cursor read the log once. One run
//! that is larger than the cache is kept beside it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::metrics::Metrics;
use super::run::Run;
use crate::log::{ChangeLog, ReadError};
use crate::types::{Limits, Revision};

/// What was read last.
#[derive(Debug)]
pub(super) struct Past {
    cache: Mutex<Cache>,
    /// Whoever holds it reads the log.
    turn: tokio::sync::Mutex<()>,
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
    /// The run read last that is larger than all of these may be, and the revision after which it
    /// was read: its readers come back to it for each piece.
    large: Option<(Revision, Arc<Run>)>,
}

impl Past {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            cache: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
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
        if let Some(run) = self.known(after) {
            metrics.read_shared();
            return Ok(Some(run));
        }
        let _turn = self.turn.lock().await;
        if let Some(run) = self.known(after) {
            metrics.read_shared();
            return Ok(Some(run));
        }
        metrics.read_log();
        let mut heads = log.read_heads(after, self.read_bytes_target).await?;
        // The log may hold what is durable and not yet applied: nobody sees that.
        heads.truncate(heads.partition_point(|head| head.revision <= tail));
        let runs = Run::cut(&heads);
        let first = runs.first().cloned();
        self.keep(after, runs);
        Ok(first)
    }

    fn known(&self, after: Revision) -> Option<Arc<Run>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let large = cache.large.iter().map(|(from, run)| (from, run));
        let mut runs = cache.runs.range(..=after).next_back().into_iter().chain(large);
        let has_next = |(from, run): &(&Revision, &Arc<Run>)| **from <= after && run.last() > after;
        runs.find(has_next).map(|(_, run)| Arc::clone(run))
    }

    fn keep(&self, after: Revision, runs: Vec<Arc<Run>>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = after;
        for run in runs {
            let last = run.last();
            if run.bytes() > self.bytes_max {
                cache.large = Some((after, run));
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
    use crate::types::{Change, ChangeHead, Timestamp};

    /// A log that counts how often it is read.
    struct Counted {
        log: MemoryLog,
        reads: AtomicUsize,
    }

    impl Counted {
        /// With this many documents.
        async fn with(documents: u32) -> Self {
            let log = MemoryLog::new(1_000);
            let epoch = log.bounds().await.expect("readable").epoch();
            let heads = heads((0..documents).map(|n| added(&format!("d{n}"), 0)).collect());
            let change = |head: &Arc<ChangeHead>| Change {
                head: ChangeHead { epoch, ..(**head).clone() },
                bodies: vec![],
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
            feed_cache_bytes_max: 10_000,
            ..Limits::default()
        };
        let past = Past::new(&limits);
        for _ in 0..2 {
            assert_eq!(read_all(&past, &log, 0, 2_000).await, Vec::from_iter(1..=2_000));
            let cache = past.cache.lock().expect("not poisoned");
            assert!(cache.bytes <= 10_000, "{}", cache.bytes);
            assert_eq!(cache.runs.len(), cache.order.len());
            assert_eq!(cache.bytes, cache.runs.values().map(|run| run.bytes()).sum::<usize>());
        }
    }

    #[tokio::test]
    async fn a_run_larger_than_the_cache_is_read_once_for_all_who_are_in_it() {
        let log = Counted::with(20).await;
        let past = Past::new(&Limits { feed_cache_bytes_max: 100, ..Limits::default() });
        let metrics = Metrics::new();
        for (after, left) in [(0, 20), (0, 20), (5, 15), (12, 8)] {
            let run = past.read(&log, Revision(after), Revision(20), &metrics).await;
            let run = run.expect("readable").expect("one run");
            assert!(run.bytes() > 100, "{} bytes are too few to tell", run.bytes());
            assert_eq!(run.heads_after(Revision(after)).len(), left);
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
