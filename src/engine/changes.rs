//! The change feed: subscriptions, pages of past events, statistics.
//!
//! Nothing is published to anybody: a subscription is a cursor that pulls. It reads the window of
//! the newest changes, or the log when it has fallen out of it, and waits at the tail. So a slow
//! reader costs nobody but itself, and no queue can grow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::feed::Progress;
use super::resume::{check_cursor, check_revision, epoch_of, expired, unknown};
use super::run::Run;
use super::select::{Effort, Stop};
use super::{Engine, ReadAt};
use crate::log::ReadError;
use crate::types::{
    Cursor, Error, ErrorKind, EventType, Filter, LibraryId, LibraryRef, Result, Revision, StartAt,
    Timestamp,
};

pub use super::run::{FORMATS_MAX, Format};
pub use super::select::{EventFilter, Selected};
pub use super::subscription::{FeedItem, FeedPiece, Subscription};

/// Which events a reader wants.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsRequest {
    /// Only of this library.
    pub library: Option<LibraryRef>,
    /// Only of these types; empty: all.
    pub event_types: Vec<EventType>,
    /// Only where this is true, of [`crate::types::FilterScope::Feed`].
    pub filter: Option<Filter>,
    /// From where.
    pub start: StartAt,
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
    /// How many live subscribers lack changes that only the log has.
    pub catching_up: usize,
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
        let (filter, position) = self.start(request).await?;
        let tail = self.inner.feed.tail();
        // Where it stands in events and time is known at the tail; else the next change tells.
        let after = position.whole_before();
        let next = self.run_after(after, tail.revision).await?;
        let (events, time) = match next.iter().find_map(|run| run.heads_after(after).first()) {
            None => (tail.events, tail.time),
            Some(head) if head.revision == position.revision => {
                (head.events_before + u64::from(position.ordinal) + 1, head.time)
            }
            Some(head) => (head.events_before, head.time),
        };
        let progress = |interest| Progress {
            cursor: Mutex::new(position),
            time: AtomicU64::new(time.micros()),
            events: AtomicU64::new(events),
            delivered: AtomicU64::new(0),
            since: Timestamp::now(),
            interest,
        };
        let (id, progress) = self.inner.feed.join(filter.library, filter.types, progress)?;
        Ok(Subscription::new(self.clone(), filter, position, id, progress))
    }

    /// Reads past events: at most `limit` (`None`: `limits.page_size_default`; more than
    /// `limits.events_per_page_max` is that limit). Never waits for new ones. Looks at a bounded
    /// number of changes, and at so many events as its filter can be asked of in some tenth of a
    /// second: where few events pass the filter, a page may have few or none and yet
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
        let (mut changes, mut count, mut looked_at, mut turns) = (Vec::new(), 0, 0, 0);
        let mut effort = Effort::default();
        'read: while looked_at < limits.events_page_changes_max {
            let after = position.whole_before();
            let Some(run) = self.run_after(after, tail.revision).await? else { break };
            // Filters take time: others have their turn after each run.
            tokio::task::yield_now().await;
            let heads = run.heads_after(after);
            looked_at += heads.len();
            for head in heads {
                let mut selected = Selected::new(head);
                let stop = loop {
                    match selected.judge(&filter, &mut position, limit - count, &mut effort) {
                        Stop::Spent if turns < limits.events_page_turns_max => {
                            (turns, effort) = (turns + 1, Effort::default());
                            tokio::task::yield_now().await;
                        }
                        stop @ (Stop::Spent | Stop::End | Stop::Full) => break stop,
                    }
                };
                count += selected.num_events();
                if selected.num_events() > 0 {
                    changes.push(selected);
                }
                if stop != Stop::End || count == limit {
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
        let window = feed.window_after();
        let live = feed.subscribers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let subscribers: Vec<_> =
            live.iter().map(|(id, progress)| progress.statistics(*id, tail)).collect();
        Ok(EventStatistics {
            total_published: tail.events - feed.events_at_start,
            total_delivered: feed.delivered.load(Ordering::Relaxed),
            total_errors: feed.errors.load(Ordering::Relaxed),
            pending_events: subscribers.iter().map(|s| s.pending_events).sum(),
            catching_up: live.values().filter(|progress| progress.is_catching_up(window)).count(),
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
        let (library, cursor) = self.start_in(request.library.as_ref(), request.start).await?;
        let types = EventType::set(&request.event_types);
        let expression = request.filter.map(Arc::new);
        Ok((EventFilter { library, types, expression }, cursor))
    }

    /// The library whose changes are wanted, and the cursor to start behind.
    ///
    /// A library that is gone still has a past: an id need not exist; `not-found` for a name that
    /// does not. `cursor-expired` or `cursor-unknown` where there is no such start; also where a
    /// name is followed from a cursor older than the library that has it: an earlier one of that
    /// name may have been what the cursor's owner followed, and its end would never be told.
    pub(super) async fn start_in(
        &self,
        library: Option<&LibraryRef>,
        start: StartAt,
    ) -> Result<(Option<LibraryId>, Cursor)> {
        let named = match library {
            None => return Ok((None, self.start_cursor(start).await?)),
            Some(LibraryRef::Id(id)) => return Ok((Some(*id), self.start_cursor(start).await?)),
            Some(name) => Arc::clone(self.inner.published.load().library(name)?),
        };
        let cursor = self.start_cursor(start).await?;
        if matches!(start, StartAt::Cursor(_) | StartAt::Revision(_)) {
            let created_at = named.library.created_at;
            let created = self.inner.log.seek(created_at).await.map_err(log_error)?;
            if cursor.whole_before() < created {
                return Err(unknown(&format!(
                    "is older than the library {:?}, created at {created_at}, and what had that \
                     name before is another one (which its id would follow)",
                    named.library.name.as_str(),
                )));
            }
        }
        Ok((Some(named.library.id), cursor))
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

    /// The run that has the change after `after`, up to `tail` at most, from the window or the
    /// log; it may begin before that. `None` when there is no such change.
    pub(super) async fn run_after(
        &self,
        after: Revision,
        tail: Revision,
    ) -> Result<Option<Arc<Run>>> {
        if after >= tail {
            return Ok(None);
        }
        let feed = &self.inner.feed;
        let metrics = &self.inner.metrics;
        if let Some(run) = feed.run_after(after) {
            metrics.read_window();
            return Ok(Some(run));
        }
        match feed.past.read(&*self.inner.log, after, tail, metrics).await {
            Ok(run) => Ok(run),
            Err(error) => Err(self.read_error(error).await),
        }
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
