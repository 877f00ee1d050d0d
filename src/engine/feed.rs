//! What all subscriptions share: the window of the newest changes, the tail, who waits for what,
//! and how far each live reader has come.
//!
//! Readers that want the same libraries and types share one [`Interest`]. It knows the last
//! change that may concern them, so they are not woken for others and pass over them at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use super::changes::SubscriberStatistics;
use super::past::Past;
use super::run::Run;
use crate::store::Applied;
use crate::types::{
    ChangeHead, Cursor, Epoch, Error, ErrorKind, LibraryId, Limits, Result, Revision, Timestamp,
};

/// Bytes of runs that a reader is given at once: what it works on before others have their turn.
const READ_BYTES_TARGET: usize = 64 << 10;

/// What all subscriptions share.
#[derive(Debug)]
pub(super) struct Feed {
    newest: RwLock<Newest>,
    pub(super) past: Past,
    pub(super) subscribers: Mutex<BTreeMap<u64, Arc<Progress>>>,
    subscriptions_max: usize,
    window_bytes_max: usize,
    next_id: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) events_at_start: u64,
    pub(super) started_at: Timestamp,
    /// The epoch of what is published.
    epoch: Epoch,
}

/// What changes with every commit, all at once.
#[derive(Debug)]
struct Newest {
    /// The newest changes, for readers that keep up.
    window: VecDeque<Arc<Run>>,
    window_bytes: usize,
    /// All changes after this revision are in the window.
    after: Revision,
    /// How far the feed reaches.
    tail: Applied,
    /// Who waits for what, by library (`None`: all of them).
    interests: HashMap<Option<LibraryId>, Vec<Arc<Interest>>>,
}

/// What a group of subscriptions waits for.
#[derive(Debug)]
pub(super) struct Interest {
    library: Option<LibraryId>,
    types: u16,
    /// The last revision that may concern it; written with the tail, under one lock.
    last: AtomicU64,
    /// Rung after such a change.
    bell: watch::Sender<()>,
    /// Subscriptions that share it; written under the lock of the list that it is in.
    readers: AtomicUsize,
}

/// Somebody who waits at the feed's end and is no subscription. Drop it to end that.
#[derive(Debug)]
pub(super) struct Listener<'a> {
    feed: &'a Feed,
    interest: Arc<Interest>,
    bell: watch::Receiver<()>,
}

/// What there is behind a reader's position.
#[derive(Debug)]
pub(super) enum Ahead {
    /// Nothing that concerns it, up to the feed's end.
    Tail(Applied),
    /// The next runs that may concern it; what lies before and between them does not.
    Runs(Vec<Arc<Run>>),
    /// More than the window holds: the log has it.
    Past(Applied),
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
    pub(super) interest: Arc<Interest>,
}

impl Interest {
    /// Rings after each change that may concern it.
    pub(super) fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Whether everything behind a position is of no concern.
    fn is_behind(&self, position: Cursor) -> bool {
        position.is_whole() && self.last.load(Ordering::Acquire) <= position.revision.0
    }

    pub(super) fn may_concern(&self, run: &Run) -> bool {
        run.may_concern(self.library, self.types)
    }
}

impl Feed {
    pub(super) fn new(limits: &Limits, applied: Applied, epoch: Epoch) -> Self {
        Self {
            newest: RwLock::new(Newest {
                window: VecDeque::new(),
                window_bytes: 0,
                after: applied.revision,
                tail: applied,
                interests: HashMap::new(),
            }),
            past: Past::new(limits),
            subscribers: Mutex::new(BTreeMap::new()),
            subscriptions_max: limits.subscriptions_max,
            window_bytes_max: limits.feed_window_bytes_max,
            next_id: AtomicU64::new(1),
            delivered: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            events_at_start: applied.events,
            started_at: Timestamp::now(),
            epoch,
        }
    }

    /// Makes changes readable that are durable and applied, and wakes those whom they may
    /// concern.
    pub(super) fn publish(&self, heads: &[Arc<ChangeHead>]) {
        let Some(last) = heads.last() else { return };
        let runs = Run::cut(heads);
        let events = last.events_before + u64::from(last.kind.num_events());
        let tail = Applied { revision: last.revision, time: last.time, events };
        let concerned = {
            let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
            let concerned = newest.concern(&runs);
            newest.push(runs, self.window_bytes_max);
            newest.tail = tail;
            concerned
        };
        for interest in concerned {
            interest.bell.send_replace(());
        }
    }

    pub(super) fn tail(&self) -> Applied {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).tail
    }

    /// All changes after this revision are in the window.
    pub(super) fn window_after(&self) -> Revision {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).after
    }

    /// The cursor that stands at a tail which changes of this run of the server have led to.
    pub(super) fn cursor_at(&self, tail: Applied) -> Cursor {
        Cursor::after(self.epoch, tail.revision)
    }

    /// What there is behind a position; the first run may hold changes before it, which begins
    /// with the change after `after`.
    pub(super) fn ahead(&self, position: Cursor, interest: &Interest) -> Ahead {
        let after = position.whole_before();
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        if after >= newest.tail.revision || interest.is_behind(position) {
            return Ahead::Tail(newest.tail);
        }
        if after < newest.after {
            return Ahead::Past(newest.tail);
        }
        let start = newest.window.partition_point(|run| run.last() <= after);
        let (mut runs, mut bytes) = (Vec::new(), 0);
        for run in newest.window.range(start..).filter(|run| interest.may_concern(run)) {
            if !runs.is_empty() && bytes + run.bytes() > READ_BYTES_TARGET {
                break;
            }
            bytes += run.bytes();
            runs.push(Arc::clone(run));
        }
        match runs.is_empty() {
            true => Ahead::Tail(newest.tail),
            false => Ahead::Runs(runs),
        }
    }

    /// The run that has the change after `after`; `None` when the window has not.
    pub(super) fn run_after(&self, after: Revision) -> Option<Arc<Run>> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        if after < newest.after {
            return None;
        }
        let place = newest.window.partition_point(|run| run.last() <= after);
        newest.window.get(place).cloned()
    }

    /// Registers a subscription: the interest that it shares, and its number.
    pub(super) fn join(
        &self,
        library: Option<LibraryId>,
        types: u16,
        progress: impl FnOnce(Arc<Interest>) -> Progress,
    ) -> Result<(u64, Arc<Progress>)> {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        if subscribers.len() >= self.subscriptions_max {
            let most = self.subscriptions_max;
            let detail = format!("{most} subscriptions are live (subscriptions_max)");
            return Err(Error::new(ErrorKind::ResourceExhausted, detail));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::new(progress(self.interest(library, types)));
        subscribers.insert(id, Arc::clone(&progress));
        Ok((id, progress))
    }

    fn interest(&self, library: Option<LibraryId>, types: u16) -> Arc<Interest> {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        // What came before nobody has looked at.
        let last = AtomicU64::new(newest.tail.revision.0);
        let group = newest.interests.entry(library).or_default();
        if let Some(known) = group.iter().find(|interest| interest.types == types) {
            known.readers.fetch_add(1, Ordering::Relaxed);
            return Arc::clone(known);
        }
        let (bell, readers) = (watch::Sender::new(()), AtomicUsize::new(1));
        let interest = Arc::new(Interest { library, types, last, bell, readers });
        group.push(Arc::clone(&interest));
        interest
    }

    pub(super) fn leave(&self, id: u64) {
        let left = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(progress) = left {
            self.leave_interest(&progress.interest);
        }
    }

    /// Waits for what may concern this library (`None`: any) and these types.
    pub(super) fn listen(&self, library: Option<LibraryId>, types: u16) -> Listener<'_> {
        let interest = self.interest(library, types);
        let bell = interest.bell();
        Listener { feed: self, interest, bell }
    }

    fn leave_interest(&self, interest: &Arc<Interest>) {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        if interest.readers.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        if let Some(group) = newest.interests.get_mut(&interest.library) {
            group.retain(|one| !Arc::ptr_eq(one, interest));
            if group.is_empty() {
                newest.interests.remove(&interest.library);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn num_interests(&self) -> usize {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.interests.values().map(Vec::len).sum()
    }
}

impl Listener<'_> {
    /// Waits until there is something of concern behind a position. Safe to drop and call again.
    pub(super) async fn heard(&mut self, position: Cursor) {
        loop {
            // Heard before looking: a change that comes later rings again.
            self.bell.borrow_and_update();
            if !matches!(self.feed.ahead(position, &self.interest), Ahead::Tail(_)) {
                return;
            }
            if self.bell.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The place up to which nothing behind a position is of concern; that position is one at
    /// which the feed has ended in this run of the server.
    pub(super) fn reached(&self, position: Cursor) -> Cursor {
        let through = match self.feed.ahead(position, &self.interest) {
            Ahead::Tail(tail) => tail.revision,
            Ahead::Runs(runs) => {
                Revision(runs.first().map_or(0, |run| run.first().0.saturating_sub(1)))
            }
            Ahead::Past(_) => position.revision,
        };
        match through > position.revision {
            true => Cursor::after(self.feed.epoch, through),
            false => position,
        }
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.feed.leave_interest(&self.interest);
    }
}

impl Newest {
    /// Notes what the runs may concern; gives whom to wake.
    fn concern(&self, runs: &[Arc<Run>]) -> Vec<Arc<Interest>> {
        let mut concerned = Vec::new();
        let first = runs.first().map_or(Revision::ZERO, |run| run.first());
        for run in runs {
            let of_libraries = run.libraries().iter().map(|id| self.interests.get(&Some(*id)));
            let groups = of_libraries.chain([self.interests.get(&None)]).flatten();
            for interest in groups.flatten().filter(|one| one.types & run.types() != 0) {
                let before = interest.last.swap(run.last().0, Ordering::AcqRel);
                if before < first.0 {
                    concerned.push(Arc::clone(interest));
                }
            }
        }
        concerned
    }

    fn push(&mut self, runs: Vec<Arc<Run>>, bytes_max: usize) {
        for run in runs {
            self.window_bytes += run.bytes();
            self.window.push_back(run);
        }
        // The newest run stays, however large.
        while self.window_bytes > bytes_max && self.window.len() > 1 {
            if let Some(run) = self.window.pop_front() {
                self.window_bytes -= run.bytes();
                self.after = run.last();
            }
        }
    }
}

impl Progress {
    pub(super) fn set(&self, cursor: Cursor, time: Timestamp, events: u64) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
        self.time.store(time.micros(), Ordering::Relaxed);
        self.events.store(events, Ordering::Relaxed);
    }

    /// Whether it lacks changes that the window, which holds those after `window`, has not.
    pub(super) fn is_catching_up(&self, window: Revision) -> bool {
        let cursor = *self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        cursor.whole_before() < window && !self.interest.is_behind(cursor)
    }

    pub(super) fn statistics(&self, id: u64, tail: Applied) -> SubscriberStatistics {
        let cursor = *self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = match self.interest.is_behind(cursor) {
            // It lacks nothing, though it has not looked up to the tail.
            true => tail,
            false => Applied {
                revision: cursor.revision,
                time: Timestamp::from_micros(self.time.load(Ordering::Relaxed)),
                events: self.events.load(Ordering::Relaxed),
            },
        };
        SubscriberStatistics {
            id,
            cursor,
            lag_revisions: tail.revision.0.saturating_sub(reached.revision.0),
            lag: tail.time.since(reached.time),
            pending_events: tail.events.saturating_sub(reached.events),
            delivered_events: self.delivered.load(Ordering::Relaxed),
            since: self.since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{added, heads_from};
    use crate::types::EventType;

    fn feed(window_bytes_max: usize) -> Feed {
        let limits = Limits { feed_window_bytes_max: window_bytes_max, ..Limits::default() };
        Feed::new(&limits, Applied::default(), Epoch(7))
    }

    fn join(feed: &Feed, library: Option<LibraryId>, types: u16) -> (u64, Arc<Interest>) {
        let progress = |interest| Progress {
            cursor: Mutex::new(at(0)),
            time: AtomicU64::new(0),
            events: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            since: Timestamp::from_micros(0),
            interest,
        };
        let (id, progress) = feed.join(library, types, progress).expect("a place");
        (id, Arc::clone(&progress.interest))
    }

    fn at(revision: u64) -> Cursor {
        Cursor::after(Epoch(7), Revision(revision))
    }

    /// Publishes one document of this library in a commit of its own.
    fn publish(feed: &Feed, library: LibraryId, revision: u64) {
        let heads = heads_from(library, revision, revision - 1, vec![added("d", 0)]);
        feed.publish(&heads);
    }

    fn revisions(ahead: &Ahead) -> Vec<u64> {
        let Ahead::Runs(runs) = ahead else { panic!("{ahead:?}") };
        runs.iter().flat_map(|run| run.heads().iter().map(|head| head.revision.0)).collect()
    }

    #[test]
    fn a_reader_is_woken_only_for_what_may_concern_it() {
        let feed = feed(1 << 20);
        let (mine, other) = (LibraryId::generate(), LibraryId::generate());
        let (_, interest) = join(&feed, Some(mine), EventType::DocumentAdded.bit());
        let (_, everything) = join(&feed, None, u16::MAX);
        let (_, deletions) = join(&feed, Some(mine), EventType::DocumentDeleted.bit());
        let bells = [interest.bell(), everything.bell(), deletions.bell()];
        let rung = || bells.clone().map(|bell| bell.has_changed().expect("the feed lives"));
        publish(&feed, other, 1);
        assert_eq!(rung(), [false, true, false]);
        publish(&feed, mine, 2);
        assert_eq!(rung(), [true, true, false]);
    }

    #[test]
    fn what_does_not_concern_a_reader_is_passed_over_even_beyond_the_window() {
        let feed = feed(1);
        let (mine, other) = (LibraryId::generate(), LibraryId::generate());
        let (_, interest) = join(&feed, Some(mine), u16::MAX);
        (1..=5).for_each(|revision| publish(&feed, other, revision));
        let Ahead::Tail(tail) = feed.ahead(at(0), &interest) else { panic!("not at the tail") };
        assert_eq!(feed.cursor_at(tail), at(5));
        publish(&feed, mine, 6);
        assert_eq!(revisions(&feed.ahead(at(5), &interest)), [6]);
        assert!(matches!(feed.ahead(at(4), &interest), Ahead::Past(_)));
        // Those who want everything cannot pass over it.
        let (_, everything) = join(&feed, None, u16::MAX);
        assert!(matches!(feed.ahead(at(0), &everything), Ahead::Past(_)));
    }

    #[test]
    fn a_reader_that_joins_late_is_shown_what_came_before() {
        let feed = feed(1 << 20);
        let (mine, other) = (LibraryId::generate(), LibraryId::generate());
        publish(&feed, mine, 1);
        publish(&feed, other, 2);
        let (_, interest) = join(&feed, Some(mine), u16::MAX);
        assert_eq!(revisions(&feed.ahead(at(0), &interest)), [1]);
        assert!(matches!(feed.ahead(at(1), &interest), Ahead::Tail(_)));
    }

    #[test]
    fn a_cursor_inside_a_change_is_not_taken_for_one_behind_it() {
        let feed = feed(1 << 20);
        let (_, interest) = join(&feed, None, u16::MAX);
        feed.publish(&heads_from(LibraryId::generate(), 1, 0, vec![added("d", 3)]));
        let inside = Cursor { ordinal: 1, ..at(1) };
        assert_eq!(revisions(&feed.ahead(inside, &interest)), [1]);
    }

    #[test]
    fn a_listener_passes_over_what_does_not_concern_it_and_leaves_no_interest() {
        let feed = feed(1 << 20);
        let (mine, other) = (LibraryId::generate(), LibraryId::generate());
        publish(&feed, mine, 1);
        let listener = feed.listen(Some(mine), u16::MAX);
        assert_eq!(listener.reached(at(1)), at(1));
        publish(&feed, other, 2);
        publish(&feed, other, 3);
        assert_eq!(listener.reached(at(1)), at(3), "the feed's end");
        publish(&feed, mine, 4);
        publish(&feed, other, 5);
        assert_eq!(listener.reached(at(1)), at(3), "up to what is its own");
        assert_eq!(listener.reached(at(4)), at(5));
        drop(listener);
        assert_eq!(feed.num_interests(), 0);
    }

    #[test]
    fn an_interest_goes_with_its_last_reader() {
        let feed = feed(1 << 20);
        let library = Some(LibraryId::generate());
        let (first, interest) = join(&feed, library, 1);
        let (second, shared) = join(&feed, library, 1);
        assert!(Arc::ptr_eq(&interest, &shared));
        let (third, _) = join(&feed, library, 2);
        assert_eq!(feed.num_interests(), 2);
        feed.leave(first);
        feed.leave(third);
        assert_eq!(feed.num_interests(), 1);
        feed.leave(second);
        assert_eq!(feed.num_interests(), 0);
    }
}
