//! What all subscriptions share: the window of the newest changes, the tail, and how far each
//! live reader has come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::changes::SubscriberStatistics;
use crate::store::Applied;
use crate::types::{
    ChangeHead, ChangeKind, Cursor, DocumentHead, Error, ErrorKind, Limits, Result, Revision,
    Timestamp,
};

/// The newest changes, for readers that keep up.
#[derive(Debug)]
struct Window {
    heads: VecDeque<Arc<ChangeHead>>,
    /// All changes after this revision are here.
    after: Revision,
}

/// Changes in the window at most: some seconds of the fastest ingest.
const WINDOW_CHANGES: usize = 8_192;
/// Changes taken from the window at once at most.
const WINDOW_READ: usize = 512;

/// What all subscriptions share.
#[derive(Debug)]
pub(super) struct Feed {
    window: RwLock<Window>,
    pub(super) subscribers: Mutex<BTreeMap<u64, Arc<Progress>>>,
    subscriptions_max: usize,
    read_bytes_target: usize,
    next_id: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) events_at_start: u64,
    pub(super) started_at: Timestamp,
    /// How far the feed reaches.
    tail: RwLock<Applied>,
}

/// How far one live subscription has come; read by the statistics.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) cursor: Mutex<Cursor>,
    /// The time of the last change looked at, in microseconds.
    pub(super) time: AtomicU64,
    /// Events of the log up to and including the cursor.
    pub(super) events: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) since: Timestamp,
}

impl Feed {
    pub(super) fn new(limits: &Limits, applied: Applied) -> Self {
        Self {
            window: RwLock::new(Window { heads: VecDeque::new(), after: applied.revision }),
            subscribers: Mutex::new(BTreeMap::new()),
            subscriptions_max: limits.subscriptions_max,
            read_bytes_target: limits.feed_read_bytes_target,
            next_id: AtomicU64::new(1),
            delivered: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            events_at_start: applied.events,
            started_at: Timestamp::now(),
            tail: RwLock::new(applied),
        }
    }

    /// Makes changes readable that are durable and applied; the caller wakes the readers.
    pub(super) fn publish(&self, heads: &[Arc<ChangeHead>]) {
        let Some(last) = heads.last() else { return };
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        window.heads.extend(heads.iter().cloned());
        while window.heads.len() > WINDOW_CHANGES {
            if let Some(head) = window.heads.pop_front() {
                window.after = head.revision;
            }
        }
        drop(window);
        let events = last.events_before + u64::from(last.kind.num_events());
        *self.tail.write().unwrap_or_else(PoisonError::into_inner) =
            Applied { revision: last.revision, time: last.time, events };
    }

    pub(super) fn tail(&self) -> Applied {
        *self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes after a revision, some at a time; `None` when they are not all in the window.
    pub(super) fn newest(&self, after: Revision) -> Option<Vec<Arc<ChangeHead>>> {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        if after < window.after {
            return None;
        }
        let start = window.heads.partition_point(|head| head.revision <= after);
        let mut bytes = 0;
        let fits = |head: &&Arc<ChangeHead>| {
            let first = bytes == 0;
            bytes += shown_bytes(head);
            first || bytes <= self.read_bytes_target
        };
        Some(window.heads.range(start..).take(WINDOW_READ).take_while(fits).cloned().collect())
    }

    pub(super) fn join(&self, progress: &Arc<Progress>) -> Result<u64> {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        if subscribers.len() >= self.subscriptions_max {
            let most = self.subscriptions_max;
            let detail = format!("{most} subscriptions are live (subscriptions_max)");
            return Err(Error::new(ErrorKind::ResourceExhausted, detail));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        subscribers.insert(id, Arc::clone(progress));
        Ok(id)
    }

    pub(super) fn leave(&self, id: u64) {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// About how many bytes the events of a change take on a wire. What is read at once is held for a
/// reader until its client takes it, so that it must be bounded in bytes.
fn shown_bytes(head: &ChangeHead) -> usize {
    /// Of an event, without what clients chose.
    const EVENT: usize = 256;
    let chunks = head.kind.added_chunks().iter().chain(head.kind.removed_chunks());
    let chunks: usize = chunks.map(|chunk| EVENT + chunk.metadata.as_json().len()).sum();
    let document = |document: &DocumentHead| document.metadata.as_json().len();
    let own = match &head.kind {
        ChangeKind::DocumentAdded { document: one, .. }
        | ChangeKind::DocumentDeleted { before: one, .. } => document(one),
        ChangeKind::DocumentUpdated { before, after, .. } => document(before) + document(after),
        ChangeKind::LibraryCreated { library: one }
        | ChangeKind::LibraryDeleted { before: one, .. } => one.metadata.as_json().len(),
        ChangeKind::LibraryUpdated { before, after } => {
            before.metadata.as_json().len() + after.metadata.as_json().len()
        }
        ChangeKind::BatchStarted
        | ChangeKind::BatchCompleted { .. }
        | ChangeKind::BatchFailed { .. }
        | ChangeKind::IndexRebuilt { .. }
        | ChangeKind::IndexOptimized { .. } => 0,
    };
    EVENT + own + chunks
}

impl Progress {
    pub(super) fn set(&self, cursor: Cursor, time: Timestamp, events: u64) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
        self.time.store(time.micros(), Ordering::Relaxed);
        self.events.store(events, Ordering::Relaxed);
    }

    pub(super) fn statistics(&self, id: u64, tail: Applied) -> SubscriberStatistics {
        let cursor = *self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let time = Timestamp::from_micros(self.time.load(Ordering::Relaxed));
        SubscriberStatistics {
            id,
            cursor,
            lag_revisions: tail.revision.0.saturating_sub(cursor.revision.0),
            lag: tail.time.since(time),
            pending_events: tail.events.saturating_sub(self.events.load(Ordering::Relaxed)),
            delivered_events: self.delivered.load(Ordering::Relaxed),
            since: self.since,
        }
    }
}
