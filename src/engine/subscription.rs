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
use super::select::{Effort, EventFilter, Selected, Stop};
use crate::types::{ChangeHead, Cursor, Match, Result, Timestamp};

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
    /// Changes, in order, each with at least one event that passes; one whose filter takes long
    /// comes in parts.
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
    /// Whether it has evaluated so much in one go that it is the others' turn.
    tired: bool,
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
            reader: Reader { filter, position, progress, metrics, tired: false },
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
        Ok(self.read(None, Reader::changes).await?.map(|read| match read {
            Read::Taken(changes) => FeedItem::Changes(changes),
            Read::Heartbeat(cursor, time) => FeedItem::Heartbeat { cursor, time },
        }))
    }

    /// The same as a transport sends it; one subscription may be read in both ways.
    pub async fn next_piece(&mut self, format: Format) -> Result<Option<FeedPiece>> {
        let take = |reader: &mut Reader, runs: &[Arc<Run>]| reader.piece(runs, &format);
        Ok(self.read(Some(format), take).await?.map(|read| match read {
            Read::Taken((bytes, events)) => FeedPiece::Events { bytes, events },
            Read::Heartbeat(cursor, time) => FeedPiece::Heartbeat { cursor, time },
        }))
    }

    async fn read<T>(
        &mut self,
        format: Option<Format>,
        take: impl Fn(&mut Reader, &[Arc<Run>]) -> Option<T>,
    ) -> Result<Option<Read<T>>> {
        let ownership = self.ownership.clone();
        let read = tokio::select! {
            biased;
            error = Ownership::lost(ownership) => Err(error),
            read = self.read_on(format, take) => read,
        };
        if read.is_err() {
            self.engine.inner.feed.errors.fetch_add(1, Ordering::Relaxed);
        }
        read
    }

    async fn read_on<T>(
        &mut self,
        format: Option<Format>,
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
            if std::mem::take(&mut self.reader.tired) {
                tokio::task::yield_now().await;
            }
            // Heard before reading: a change that comes later rings again.
            self.bell.borrow_and_update();
            let runs = self.engine.ahead(&mut self.reader).await?;
            // Only who takes all of a large run as it is has it encoded.
            if let Some(format) = format
                && self.reader.filter.expression.is_none()
            {
                for run in runs.iter().filter(|run| self.reader.progress.interest.may_concern(run))
                {
                    run.encode_apart(format, &self.reader.metrics).await;
                }
            }
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

    /// To an event of a change, or behind it.
    fn move_within(&mut self, head: &ChangeHead, position: Cursor) {
        let events = u64::from(position.place().saturating_add(1));
        let events = head.events_before + events.min(u64::from(head.kind.num_events()));
        self.move_to(position, head.time, events);
    }

    fn move_over(&mut self, run: &Run) {
        if let Some(head) = run.heads().last() {
            let events = head.events_before + u64::from(head.kind.num_events());
            self.move_to(Cursor::after(head.epoch, head.revision), head.time, events);
        }
    }

    /// Moves over runs, or as far as one effort goes; gives the changes that pass.
    fn changes(&mut self, runs: &[Arc<Run>]) -> Option<Vec<Selected>> {
        let (mut selected, mut effort) = (Vec::new(), Effort::default());
        for run in runs {
            for head in run.heads_after(self.position.whole_before()) {
                let (mut one, mut position) = (Selected::new(head), self.position);
                let stop = one.judge(&self.filter, &mut position, usize::MAX, &mut effort);
                if one.num_events() > 0 {
                    selected.push(one);
                }
                if position != self.position {
                    self.move_within(head, position);
                }
                if stop == Stop::Spent {
                    self.tired = true;
                    return (!selected.is_empty()).then_some(selected);
                }
            }
            self.move_over(run);
        }
        (!selected.is_empty()).then_some(selected)
    }

    /// Moves over runs until a piece is full; gives the events that pass and how many they are.
    fn piece(&mut self, runs: &[Arc<Run>], format: &Format) -> Option<(Bytes, u64)> {
        let (mut piece, mut events, mut effort) = (Vec::new(), 0, Effort::default());
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
            events += self.copy(run, format, &mut piece, &mut effort);
            self.tired = effort.is_spent();
            if piece.len() >= PIECE_BYTES_TARGET || self.tired {
                break;
            }
        }
        (events > 0).then(|| (piece.into(), events))
    }

    /// Moves over one run, or until the piece is full or the effort spent; puts what passes to the
    /// piece's end and counts it.
    fn copy(
        &mut self,
        run: &Run,
        format: &Format,
        piece: &mut Vec<u8>,
        effort: &mut Effort,
    ) -> u64 {
        if !self.progress.interest.may_concern(run) {
            self.move_over(run);
            return 0;
        }
        let filter = self.filter.clone();
        let encode = filter.expression.is_none() || !run.is_large();
        let (mut count, mut moved_to) = (0, None);
        for head in run.heads_after(self.position.whole_before()) {
            if filter.library.is_some_and(|id| id != head.library_id) {
                continue;
            }
            let (first, mut judged_to) = (run.place(head), None);
            for judged in filter.judge(head, self.position) {
                let full = piece.len() >= PIECE_BYTES_TARGET && judged.passed.is_some();
                if full || effort.is_spent() {
                    // Where nothing of this change was judged, the one before is as good a place.
                    if let Some(id) = judged_to {
                        self.move_within(head, id);
                    } else if let Some(before) = moved_to {
                        self.move_within(before, Cursor::after(before.epoch, before.revision));
                    }
                    return count;
                }
                effort.add(&judged);
                judged_to = Some(judged.id);
                let Some(event) = judged.passed else { continue };
                let place = first + event.id.place() as usize;
                // What few ask for is not worth encoding a large run.
                match (event.matched.and_then(Match::name), run.known(format)) {
                    (None, Some(encoded)) => piece.extend_from_slice(encoded.event(place)),
                    (None, None) if encode => {
                        let encoded = run.encoded(format, &self.metrics);
                        piece.extend_from_slice(encoded.event(place));
                    }
                    (None | Some(_), _) => format.write(piece, &event),
                }
                count += 1;
            }
            moved_to = Some(head);
        }
        self.move_over(run);
        count
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::engine::ReadAt;
    use crate::engine::changes::EventsRequest;
    use crate::engine::small::Small;
    use crate::types::{
        Event, Filter, FilterScope, Limits, Metadata, NewChunk, NewContent, NewDocument, StartAt,
    };

    const CHUNKS: usize = 4_000;

    fn write(out: &mut Vec<u8>, event: &Event<'_>) {
        out.extend_from_slice(event.event_type.name().as_bytes());
    }

    /// Where only the last of many chunks passes, others have had their turn so often.
    #[tokio::test]
    async fn others_have_their_turn_while_a_filter_looks_at_a_large_change() {
        let small = Small::open(|_| {}).await;
        let chunk = || NewChunk {
            text: "x".to_owned(),
            embedding: Some(vec![1.0, 0.0]),
            metadata: Metadata::default(),
        };
        let content = NewContent::Chunks((0..CHUNKS).map(|_| chunk()).collect());
        let document = NewDocument {
            content,
            content_field: "chunks",
            ..NewDocument::titled("large", Vec::new())
        };
        small.engine.create_document(&small.library(), document, None).await.expect("written");
        let last = format!("chunk.index == {}", CHUNKS - 1);
        let last = Filter::parse(&last, FilterScope::Feed, &Limits::default()).expect("a filter");
        let request = EventsRequest {
            library: None,
            event_types: vec![],
            filter: Some(last),
            start: StartAt::Begin,
        };
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let others = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let enough = CHUNKS / 300;

        let mut subscription = small.engine.subscribe(request.clone()).await.expect("subscribed");
        let first = subscription.next_piece(Format::new(0, write)).await.expect("reads");
        assert!(matches!(first, Some(FeedPiece::Heartbeat { .. })));
        let before = turns.load(Ordering::Relaxed);
        let piece = subscription.next_piece(Format::new(0, write)).await.expect("reads");
        let Some(FeedPiece::Events { events: 1, bytes }) = piece else { panic!("{piece:?}") };
        assert_eq!(bytes, "chunk.added");
        let had = turns.load(Ordering::Relaxed) - before;
        assert!(had >= enough, "{had} turns during a piece");

        let mut subscription = small.engine.subscribe(request.clone()).await.expect("subscribed");
        subscription.next().await.expect("reads").expect("a heartbeat");
        let before = turns.load(Ordering::Relaxed);
        let item = subscription.next().await.expect("reads");
        let Some(FeedItem::Changes(changes)) = item else { panic!("{item:?}") };
        assert_eq!(changes.iter().map(|one| one.events().count()).sum::<usize>(), 1);
        let had = turns.load(Ordering::Relaxed) - before;
        assert!(had >= enough, "{had} turns during an item");

        let before = turns.load(Ordering::Relaxed);
        let page = small.engine.list_events(request, Some(1), ReadAt::default()).await;
        let page = page.expect("read");
        assert_eq!(page.changes.iter().map(|one| one.events().count()).sum::<usize>(), 1);
        assert_eq!(page.next_cursor.revision, page.tail_cursor.revision);
        let had = turns.load(Ordering::Relaxed) - before;
        assert!(had >= enough, "{had} turns during a page");
        others.abort();
        small.engine.close().await;
    }
}
