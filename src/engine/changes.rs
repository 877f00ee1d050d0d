//! The change feed: subscriptions, pages of past events, statistics.
//!
//! Nothing is published to anybody: a subscription is a cursor that pulls. It reads the window of
//! the newest changes, or the log when it has fallen out of it, and waits at the tail. So a slow
//! reader costs nobody but itself, and no queue can grow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::consumers::Ownership;
use super::feed::Progress;
use super::resume::{check_cursor, check_revision, epoch_of, expired};
use super::{Engine, ReadAt};
use crate::log::ReadError;
use crate::types::{
    ChangeHead, Cursor, Error, ErrorKind, Event, EventType, LibraryId, LibraryRef, Result,
    Revision, StartAt, Timestamp,
};

/// Which events a reader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsRequest {
    /// Only of this library.
    pub library: Option<LibraryRef>,
    /// Only of these types; empty: all.
    pub event_types: Vec<EventType>,
    /// From where.
    pub start: StartAt,
}

/// A structural filter: by library and type. Copied into everything that it selects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFilter {
    library: Option<LibraryId>,
    types: u16,
}

impl EventFilter {
    /// Whether an event passes.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        self.library.is_none_or(|id| id == event.library_id)
            && self.types & event.event_type.bit() != 0
    }
}

/// A change of which at least one event passes the filter.
#[derive(Debug, Clone)]
pub struct Selected {
    head: Arc<ChangeHead>,
    filter: EventFilter,
    /// Events up to this one are the reader's already.
    after: Option<Cursor>,
    /// Events behind this one come in a later page.
    until: Option<Cursor>,
}

impl Selected {
    /// Of a change, the events after `after`; `None` when none passes.
    fn select(head: &Arc<ChangeHead>, filter: EventFilter, after: Cursor) -> Option<Self> {
        let after = (head.revision == after.revision).then_some(after);
        let selected = Self { head: Arc::clone(head), filter, after, until: None };
        let any = selected.events().next().is_some();
        any.then_some(selected)
    }

    /// The events that pass, in order; at least one.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        self.head.events().filter(|event| {
            self.filter.matches(event)
                && self.after.is_none_or(|after| event.id.ordinal > after.ordinal)
                && self.until.is_none_or(|until| event.id.ordinal <= until.ordinal)
        })
    }
}

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

/// Changes that one page of past events looks at, about a tenth of a second of reading.
const PAGE_CHANGES: usize = 50_000;

/// A live reader of the feed. It pulls: a slow reader costs nobody but itself. Drop it to end it.
#[derive(Debug)]
pub struct Subscription {
    engine: Engine,
    filter: EventFilter,
    position: Cursor,
    tail: watch::Receiver<Revision>,
    progress: Arc<Progress>,
    id: u64,
    /// When a heartbeat is due.
    heartbeat_at: Instant,
    /// Whether the first item is still to come.
    fresh: bool,
    /// Of the durable consumer that it follows as.
    pub(super) ownership: Option<Arc<Ownership>>,
}

impl Subscription {
    /// Waits for the next item; `None` when the server shuts down. `cursor-expired` when the
    /// reader fell behind the floor; as a durable consumer's, `conflict`, `failed-precondition` or
    /// `not-found` when that has another owner, is paused or is gone. Safe to drop and call again:
    /// nothing is lost.
    pub async fn next(&mut self) -> Result<Option<FeedItem>> {
        let ownership = self.ownership.clone();
        let item = tokio::select! {
            biased;
            error = Ownership::lost(ownership) => Err(error),
            item = self.read() => item,
        };
        if item.is_err() {
            self.engine.inner.feed.errors.fetch_add(1, Ordering::Relaxed);
        }
        item
    }

    async fn read(&mut self) -> Result<Option<FeedItem>> {
        if std::mem::take(&mut self.fresh) {
            return Ok(Some(self.heartbeat()));
        }
        let shutdown = self.engine.inner.shutdown.clone();
        loop {
            if shutdown.is_cancelled() {
                return Ok(None);
            }
            // Seen before reading: a change that comes later wakes the wait below.
            let tail = *self.tail.borrow_and_update();
            let heads = self.engine.heads_after(self.position, tail).await?;
            if !heads.is_empty() {
                if let Some(item) = self.select(&heads) {
                    return Ok(Some(item));
                }
                if Instant::now() >= self.heartbeat_at {
                    return Ok(Some(self.heartbeat()));
                }
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                changed = self.tail.changed() => if changed.is_err() { return Ok(None) },
                () = tokio::time::sleep_until(self.heartbeat_at) => {
                    return Ok(Some(self.heartbeat()));
                }
            }
        }
    }

    /// Moves over changes; gives those that pass.
    fn select(&mut self, heads: &[Arc<ChangeHead>]) -> Option<FeedItem> {
        let position = self.position;
        let select = |head| Selected::select(head, self.filter, position);
        let selected: Vec<_> = heads.iter().filter_map(select).collect();
        if let Some(last) = heads.last() {
            self.position = Cursor::after(last.epoch, last.revision);
            let events = last.events_before + u64::from(last.kind.num_events());
            self.progress.set(self.position, last.time, events);
        }
        if selected.is_empty() {
            return None;
        }
        self.heartbeat_at = Instant::now() + self.engine.inner.limits.heartbeat_interval();
        Some(FeedItem::Changes(selected))
    }

    fn heartbeat(&mut self) -> FeedItem {
        self.heartbeat_at = Instant::now() + self.engine.inner.limits.heartbeat_interval();
        FeedItem::Heartbeat { cursor: self.position, time: Timestamp::now() }
    }

    /// Everything up to here was yielded or filtered out.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.position
    }

    /// The generation to acknowledge with, of a durable consumer's subscription.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.ownership.as_ref().map(|ownership| ownership.generation())
    }

    /// Counts events as handed to the client's connection, for the statistics.
    pub fn delivered(&self, events: u64) {
        self.progress.delivered.fetch_add(events, Ordering::Relaxed);
        self.engine.inner.feed.delivered.fetch_add(events, Ordering::Relaxed);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.engine.inner.feed.leave(self.id);
    }
}

/// A page of past events.
#[derive(Debug, Clone)]
pub struct EventsPage {
    /// Changes, in order.
    pub changes: Vec<Selected>,
    /// Read on here; also when the page is empty.
    pub next_cursor: Cursor,
    /// The feed's end at the time of the read.
    pub tail_cursor: Cursor,
}

/// The feed in numbers, since the server started.
#[derive(Debug, Clone, PartialEq)]
pub struct EventStatistics {
    /// Events that became readable.
    pub total_published: u64,
    /// Events handed to clients' connections, over all subscribers.
    pub total_delivered: u64,
    /// Subscriptions that ended with an error.
    pub total_errors: u64,
    /// Events that live subscribers still lack, added up.
    pub pending_events: u64,
    /// The live subscribers, oldest first.
    pub subscribers: Vec<SubscriberStatistics>,
    /// Whether the feed is being served.
    pub running: bool,
    /// When the server started.
    pub started_at: Timestamp,
    /// The feed's end.
    pub tail_revision: Revision,
    /// The lowest readable revision.
    pub floor_revision: Revision,
    /// Bytes of log.
    pub log_bytes: u64,
}

/// One live subscriber in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriberStatistics {
    /// A number of this subscription, unique since the start.
    pub id: u64,
    /// How far it has read.
    pub cursor: Cursor,
    /// Revisions between it and the tail.
    pub lag_revisions: u64,
    /// Time between the last change that it has looked at and the feed's last; zero at the tail.
    pub lag: Duration,
    /// Events it lacks.
    pub pending_events: u64,
    /// Events handed to its connection.
    pub delivered_events: u64,
    /// When it began.
    pub since: Timestamp,
}

impl Engine {
    /// Begins a subscription. `invalid-argument` for what cannot be, `cursor-expired` or
    /// `cursor-unknown` for a start that cannot be honoured, `not-found` for an unknown library
    /// name, `resource-exhausted` when `limits.subscriptions_max` are live.
    pub async fn subscribe(&self, request: EventsRequest) -> Result<Subscription> {
        loop {
            match self.subscribe_once(request.clone()).await {
                Err(error) if is_overtaken(request.start, &error) => {}
                subscribed => return subscribed,
            }
        }
    }

    async fn subscribe_once(&self, request: EventsRequest) -> Result<Subscription> {
        let tail_receiver = self.inner.tail.clone();
        let (filter, position) = self.start(request).await?;
        let tail = self.inner.feed.tail();
        // Where it stands in events and time is known at the tail; else the next change tells.
        let next = self.heads_after(position, tail.revision).await?;
        let (events, time) = match next.first() {
            None => (tail.events, tail.time),
            Some(head) if head.revision == position.revision => {
                (head.events_before + u64::from(position.ordinal) + 1, head.time)
            }
            Some(head) => (head.events_before, head.time),
        };
        let progress = Arc::new(Progress {
            cursor: Mutex::new(position),
            time: AtomicU64::new(time.micros()),
            events: AtomicU64::new(events),
            delivered: AtomicU64::new(0),
            since: Timestamp::now(),
        });
        let id = self.inner.feed.join(&progress)?;
        Ok(Subscription {
            engine: self.clone(),
            filter,
            position,
            tail: tail_receiver,
            progress,
            id,
            heartbeat_at: Instant::now() + self.inner.limits.heartbeat_interval(),
            fresh: true,
            ownership: None,
        })
    }

    /// Reads past events: at most `limit` (`None`: `limits.page_size_default`; more than
    /// `limits.events_per_page_max` is that limit). Never waits for new ones. Looks at a bounded
    /// number of changes: where few events pass the filter, a page may have few or none and yet
    /// its `next_cursor` goes on.
    pub async fn list_events(
        &self,
        request: EventsRequest,
        limit: Option<usize>,
        at: ReadAt,
    ) -> Result<EventsPage> {
        self.state_at(at).await?;
        loop {
            match self.page_of_events(request.clone(), limit).await {
                Err(error) if is_overtaken(request.start, &error) => {}
                page => return page,
            }
        }
    }

    async fn page_of_events(
        &self,
        request: EventsRequest,
        limit: Option<usize>,
    ) -> Result<EventsPage> {
        let limits = &self.inner.limits;
        let limit = limit.filter(|n| *n > 0).unwrap_or(limits.page_size_default);
        let limit = limit.min(limits.events_per_page_max);
        let tail = self.inner.feed.tail();
        let (filter, mut position) = self.start(request).await?;
        let tail_cursor = self.cursor_after(tail.revision).await?;
        let (mut changes, mut count, mut looked_at) = (Vec::new(), 0, 0);
        'read: while looked_at < PAGE_CHANGES {
            let heads = self.heads_after(position, tail.revision).await?;
            if heads.is_empty() {
                break;
            }
            looked_at += heads.len();
            for head in &heads {
                if let Some(mut selected) = Selected::select(head, filter, position) {
                    let events = selected.events().count();
                    if count + events > limit {
                        let last = selected.events().nth(limit - count - 1).map(|event| event.id);
                        if let Some(last) = last {
                            selected.until = Some(last);
                            changes.push(selected);
                            position = last;
                        }
                        break 'read;
                    }
                    count += events;
                    changes.push(selected);
                }
                position = Cursor::after(head.epoch, head.revision);
                if count == limit {
                    break 'read;
                }
            }
        }
        Ok(EventsPage { changes, next_cursor: position, tail_cursor })
    }

    /// The feed in numbers.
    pub async fn event_statistics(&self, at: ReadAt) -> Result<EventStatistics> {
        self.state_at(at).await?;
        let bounds = self.inner.log.bounds().await.map_err(log_error)?;
        let feed = &self.inner.feed;
        let tail = feed.tail();
        let subscribers: Vec<_> = feed
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(id, progress)| progress.statistics(*id, tail))
            .collect();
        Ok(EventStatistics {
            total_published: tail.events - feed.events_at_start,
            total_delivered: feed.delivered.load(Ordering::Relaxed),
            total_errors: feed.errors.load(Ordering::Relaxed),
            pending_events: subscribers.iter().map(|s| s.pending_events).sum(),
            subscribers,
            running: self.readiness().is_ok(),
            started_at: feed.started_at,
            tail_revision: tail.revision,
            floor_revision: bounds.floor,
            log_bytes: bounds.bytes,
        })
    }

    /// The cursor that stands behind a revision, in the epoch that this revision is of.
    pub(super) async fn cursor_after(&self, revision: Revision) -> Result<Cursor> {
        let bounds = self.inner.log.bounds().await.map_err(log_error)?;
        Ok(Cursor::after(epoch_of(&bounds, revision), revision))
    }

    /// Resolves a request to a filter and the cursor to start behind.
    async fn start(&self, request: EventsRequest) -> Result<(EventFilter, Cursor)> {
        let library = match &request.library {
            None => None,
            // A library that is gone still has a past: an id need not exist.
            Some(LibraryRef::Id(id)) => Some(*id),
            Some(name) => Some(self.inner.published.load().library(name)?.library.id),
        };
        let types = match request.event_types.as_slice() {
            [] => u16::MAX,
            types => types.iter().fold(0, |set, one| set | one.bit()),
        };
        Ok((EventFilter { library, types }, self.start_cursor(request.start).await?))
    }

    /// The cursor to start behind; `cursor-expired` or `cursor-unknown` where there is none.
    pub(super) async fn start_cursor(&self, start: StartAt) -> Result<Cursor> {
        let bounds = self.inner.log.bounds().await.map_err(log_error)?;
        let tail = self.inner.feed.tail().revision;
        let revision = match start {
            StartAt::Cursor(cursor) => {
                check_cursor(&bounds, tail, cursor)?;
                return Ok(cursor);
            }
            StartAt::Now => tail,
            StartAt::Begin => Revision(bounds.floor.0.saturating_sub(1)),
            StartAt::Time(time) => self.inner.log.seek(time).await.map_err(log_error)?.min(tail),
            StartAt::Revision(revision) => {
                check_revision(&bounds, tail, revision)?;
                revision
            }
        };
        Ok(Cursor::after(epoch_of(&bounds, revision), revision))
    }

    /// Some of the changes behind a cursor, up to the tail; empty at the tail. The first may be
    /// the change that the cursor stands in.
    async fn heads_after(&self, position: Cursor, tail: Revision) -> Result<Vec<Arc<ChangeHead>>> {
        let after = match position.is_whole() {
            true => position.revision,
            false => Revision(position.revision.0.saturating_sub(1)),
        };
        if after >= tail {
            return Ok(Vec::new());
        }
        if let Some(heads) = self.inner.feed.newest(after) {
            self.inner.metrics.read_window();
            return Ok(heads);
        }
        self.inner.metrics.read_log();
        let bytes = self.inner.limits.feed_read_bytes_target;
        let mut heads = match self.inner.log.read_heads(after, bytes).await {
            Ok(heads) => heads,
            Err(error) => return Err(self.read_error(error).await),
        };
        // The log may hold what is durable and not yet applied: nobody sees that.
        heads.truncate(heads.partition_point(|head| head.revision <= tail));
        Ok(heads)
    }

    async fn read_error(&self, error: ReadError) -> Error {
        match (error, self.inner.log.bounds().await) {
            (ReadError::Trimmed { .. }, Ok(bounds)) => expired(&bounds),
            (error, _) => log_error(error),
        }
    }
}

/// Whether the log was trimmed past a start that names no place of its own, while it was resolved:
/// it is resolved anew, and cannot be behind the floor for long.
fn is_overtaken(start: StartAt, error: &Error) -> bool {
    error.kind == ErrorKind::CursorExpired && matches!(start, StartAt::Begin | StartAt::Time(_))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn log_error(error: ReadError) -> Error {
    tracing::error!(%error, "log read failed");
    match error {
        ReadError::Trimmed { .. } => Error::new(ErrorKind::CursorExpired, "trimmed away"),
        ReadError::Corrupt(_) => {
            Error::new(ErrorKind::Corrupt, "stored bytes are damaged; see the server's log")
        }
        ReadError::Io(_) => Error::unavailable("the log could not be read"),
    }
}
