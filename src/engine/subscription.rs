//! A live reader of the feed: it pulls changes, or pieces of events as a transport sends them.
//!
//! What it keeps is a position. What it hands out is shared with all other readers, or a copy of
//! bounded size; so one that stalls, or lags far behind, holds little and costs nobody else.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::Engine;
use super::consumers::Ownership;
use super::feed::{Ahead, Progress};
use super::metrics::Metrics;
use super::run::{Format, Run};
use super::select::{EventFilter, Selected};
use crate::types::{Cursor, Match, Result, Timestamp};

/// Bytes at which a piece that is put together is full; it has at most one event more.
const PIECE_BYTES_TARGET: usize = 16 << 10;
/// Bytes up to which a run is handed out as it is. What is larger is copied piece by piece, so
/// that a reader which stalls does not keep it in memory.
const SHARED_BYTES_MAX: usize = 32 << 10;
/// Bytes below which runs are copied together when there are more of them: sending a piece costs
/// more than copying it.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// What a subscription yields.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// Changes, in order, each with at least one event that passes.
    Changes(Vec<Selected>),
    /// Nothing to tell for a while; everything up to this cursor has been looked at. The first
    /// item of every subscription is one, so that a client has a cursor from the start.
    Heartbeat {
        /// Resume here.
        cursor: Cursor,
        /// The server's clock.
        time: Timestamp,
    },
}

/// What a subscription yields as a transport sends it.
#[derive(Debug, Clone)]
pub enum FeedPiece {
    /// Events, in order.
    Events {
        /// One behind the other, in the format that was asked for.
        bytes: Bytes,
        /// How many; at least one.
        events: u64,
    },
    /// As [`FeedItem::Heartbeat`].
    Heartbeat {
        /// Resume here.
        cursor: Cursor,
        /// The server's clock.
        time: Timestamp,
    },
}

/// A live reader of the feed. It pulls: a slow reader costs nobody but itself. Drop it to end it.
#[derive(Debug)]
pub struct Subscription {
    engine: Engine,
    reader: Reader,
    id: u64,
    bell: watch::Receiver<()>,
    /// When a heartbeat is due.
    heartbeat_at: Instant,
    /// Wakes at that time or, when it was put off, before.
    timer: Pin<Box<Sleep>>,
    /// Whether the first item is still to come.
    fresh: bool,
    /// Of the durable consumer that it follows as.
    pub(super) ownership: Option<Arc<Ownership>>,
}

/// Where a subscription stands, and what it wants.
#[derive(Debug)]
struct Reader {
    filter: EventFilter,
    position: Cursor,
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
}

/// What one read gives.
enum Read<T> {
    Taken(T),
    Heartbeat(Cursor, Timestamp),
}

impl Subscription {
    pub(super) fn new(
        engine: Engine,
        filter: EventFilter,
        position: Cursor,
        id: u64,
        progress: Arc<Progress>,
    ) -> Self {
        let heartbeat_at = Instant::now() + engine.inner.limits.heartbeat_interval();
        let metrics = Arc::clone(&engine.inner.metrics);
        Self {
            engine,
            bell: progress.interest.bell(),
            reader: Reader { filter, position, progress, metrics },
            id,
            heartbeat_at,
            timer: Box::pin(tokio::time::sleep_until(heartbeat_at)),
            fresh: true,
            ownership: None,
        }
    }

    /// For a reader that has its cursor from elsewhere.
    pub(super) fn without_first_heartbeat(mut self) -> Self {
        self.fresh = false;
        self
    }

    pub(super) fn filter(&self) -> &EventFilter {
        &self.reader.filter
    }

    /// Waits for the next item; `None` when the server shuts down. `cursor-expired` when the
    /// reader fell behind the floor; as a durable consumer's, `conflict`, `failed-precondition` or
    /// `not-found` when that has another owner, is paused or is gone. Safe to drop and call again:
    /// nothing is lost.
    pub async fn next(&mut self) -> Result<Option<FeedItem>> {
        Ok(self.read(Reader::changes).await?.map(|read| match read {
            Read::Taken(changes) => FeedItem::Changes(changes),
            Read::Heartbeat(cursor, time) => FeedItem::Heartbeat { cursor, time },
        }))
    }

    /// The same as a transport sends it; one subscription may be read in both ways.
    pub async fn next_piece(&mut self, format: Format) -> Result<Option<FeedPiece>> {
        let take = |reader: &mut Reader, runs: &[Arc<Run>]| reader.piece(runs, &format);
        Ok(self.read(take).await?.map(|read| match read {
            Read::Taken((bytes, events)) => FeedPiece::Events { bytes, events },
            Read::Heartbeat(cursor, time) => FeedPiece::Heartbeat { cursor, time },
        }))
    }

    async fn read<T>(
        &mut self,
        take: impl Fn(&mut Reader, &[Arc<Run>]) -> Option<T>,
    ) -> Result<Option<Read<T>>> {
        let ownership = self.ownership.clone();
        let read = tokio::select! {
            biased;
            error = Ownership::lost(ownership) => Err(error),
            read = self.read_on(take) => read,
        };
        if read.is_err() {
            self.engine.inner.feed.errors.fetch_add(1, Ordering::Relaxed);
        }
        read
    }

    async fn read_on<T>(
        &mut self,
        take: impl Fn(&mut Reader, &[Arc<Run>]) -> Option<T>,
    ) -> Result<Option<Read<T>>> {
        if std::mem::take(&mut self.fresh) {
            return Ok(Some(self.heartbeat()));
        }
        let shutdown = self.engine.inner.shutdown.clone();
        loop {
            if shutdown.is_cancelled() {
                return Ok(None);
            }
            // Heard before reading: a change that comes later rings again.
            self.bell.borrow_and_update();
            let runs = self.engine.ahead(&mut self.reader).await?;
            if !runs.is_empty() {
                let taken = take(&mut self.reader, &runs);
                if let Some(taken) = taken {
                    self.put_off_heartbeat();
                    return Ok(Some(Read::Taken(taken)));
                }
            }
            if Instant::now() >= self.heartbeat_at {
                return Ok(Some(self.heartbeat()));
            }
            if !runs.is_empty() {
                // Nothing passed: on to the next, after the others.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                changed = self.bell.changed() => if changed.is_err() { return Ok(None) },
                () = self.timer.as_mut() => self.timer.as_mut().reset(self.heartbeat_at),
            }
        }
    }

    fn heartbeat<T>(&mut self) -> Read<T> {
        self.put_off_heartbeat();
        Read::Heartbeat(self.reader.position, Timestamp::now())
    }

    /// The timer is left as it is, so that a busy reader does not set it for each event.
    fn put_off_heartbeat(&mut self) {
        self.heartbeat_at = Instant::now() + self.engine.inner.limits.heartbeat_interval();
    }

    /// Everything up to here was yielded or filtered out.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.reader.position
    }

    /// The generation to acknowledge with, of a durable consumer's subscription.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.ownership.as_ref().map(|ownership| ownership.generation())
    }

    /// Counts events, and their bytes, as handed to the client's connection.
    pub fn delivered(&self, events: u64, bytes: usize) {
        self.reader.metrics.delivered(bytes);
        self.reader.progress.delivered.fetch_add(events, Ordering::Relaxed);
        self.engine.inner.feed.delivered.fetch_add(events, Ordering::Relaxed);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.engine.inner.feed.leave(self.id);
    }
}

impl Engine {
    /// The next runs that may concern a reader, from the window or the log; none when there are
    /// none up to the feed's end, where the reader is moved to then.
    async fn ahead(&self, reader: &mut Reader) -> Result<Vec<Arc<Run>>> {
        let feed = &self.inner.feed;
        match feed.ahead(reader.position, &reader.progress.interest) {
            Ahead::Runs(runs) => {
                self.inner.metrics.read_window();
                Ok(runs)
            }
            Ahead::Past(tail) => {
                let after = reader.position.whole_before();
                let run = self.run_after(after, tail.revision).await?;
                Ok(run.into_iter().collect())
            }
            Ahead::Tail(tail) => {
                if tail.revision > reader.position.revision {
                    reader.move_to(feed.cursor_at(tail), tail.time, tail.events);
                }
                Ok(Vec::new())
            }
        }
    }
}

impl Reader {
    fn move_to(&mut self, position: Cursor, time: Timestamp, events: u64) {
        self.position = position;
        self.progress.set(position, time, events);
    }

    fn move_over(&mut self, run: &Run) {
        if let Some(head) = run.heads().last() {
            let events = head.events_before + u64::from(head.kind.num_events());
            self.move_to(Cursor::after(head.epoch, head.revision), head.time, events);
        }
    }

    /// Moves over runs; gives the changes that pass.
    fn changes(&mut self, runs: &[Arc<Run>]) -> Option<Vec<Selected>> {
        let mut selected = Vec::new();
        for run in runs {
            for head in run.heads_after(self.position.whole_before()) {
                selected.extend(Selected::select(head, &self.filter, self.position));
            }
            self.move_over(run);
        }
        (!selected.is_empty()).then_some(selected)
    }

    /// Moves over runs until a piece is full; gives the events that pass and how many they are.
    fn piece(&mut self, runs: &[Arc<Run>], format: &Format) -> Option<(Bytes, u64)> {
        let (mut piece, mut events) = (Vec::new(), 0);
        for run in runs {
            if self.filter.is_open() && self.position.revision < run.first() {
                let encoded = run.encoded(format, &self.metrics);
                let length = encoded.bytes.len();
                let shared = length >= SHARED_BYTES_MIN || runs.len() == 1;
                if length <= SHARED_BYTES_MAX && shared {
                    if piece.is_empty() {
                        self.move_over(run);
                        return Some((encoded.bytes.clone(), encoded.num_events()));
                    }
                    break;
                }
            }
            events += self.copy(run, format, &mut piece);
            if piece.len() >= PIECE_BYTES_TARGET {
                break;
            }
        }
        (events > 0).then(|| (piece.into(), events))
    }

    /// Moves over one run, or until the piece is full; puts what passes to its end and counts it.
    fn copy(&mut self, run: &Run, format: &Format, piece: &mut Vec<u8>) -> u64 {
        if !self.progress.interest.may_concern(run) {
            self.move_over(run);
            return 0;
        }
        let filter = self.filter.clone();
        let (mut count, mut last) = (0, None);
        for head in run.heads_after(self.position.whole_before()) {
            if filter.library.is_some_and(|id| id != head.library_id) {
                continue;
            }
            let first = run.place(head);
            for event in filter.select(head, self.position) {
                if piece.len() >= PIECE_BYTES_TARGET {
                    if let Some((id, time, events)) = last {
                        self.move_to(id, time, events);
                    }
                    return count;
                }
                let ordinal = event.id.ordinal & !Cursor::LAST;
                match event.matched.and_then(Match::name) {
                    None => {
                        let encoded = run.encoded(format, &self.metrics);
                        piece.extend_from_slice(encoded.event(first + ordinal as usize));
                    }
                    Some(_) => format.write(piece, &event),
                }
                count += 1;
                last = Some((event.id, head.time, head.events_before + u64::from(ordinal) + 1));
            }
        }
        self.move_over(run);
        count
    }
}
