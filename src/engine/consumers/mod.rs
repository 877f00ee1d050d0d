//! Durable consumers: named cursors that the server keeps, pulled from and acknowledged.
//!
//! A consumer holds its place in the feed over restarts and crashes: everything up to its cursor
//! is acknowledged, everything behind it is given out again until it is. So each event is handled
//! at least once. The cursor moves forward by acknowledgements, which are durable before they are
//! answered, and back only by a seek. It has one owner at a time: a pull without a generation
//! takes the consumer over and makes the generation before stale, which is then refused
//! everything. Consumers are state, not changes: no event tells of them.

mod registry;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::changes::{EventsRequest, Selected, Subscription};
use super::resume::{check_cursor, is_known};
use super::{Engine, ReadAt};
use crate::log::ReadError;
use crate::types::consumer::check_owner;
use crate::types::{
    Consumer, ConsumerName, Cursor, Error, ErrorKind, EventType, Filter, FilterScope, LibraryRef,
    Page, PageRequest, RequestId, Result, Revision, StartAt, Timestamp,
};
use registry::{Edit, owned};
pub(super) use registry::{Ownership, Registry};

/// A consumer that a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConsumer {
    /// Its name.
    pub name: ConsumerName,
    /// Only events of this library.
    pub library: Option<LibraryRef>,
    /// Only events of these types; empty: all.
    pub event_types: Vec<EventType>,
    /// Only events of which this expression is true.
    pub filter: Option<String>,
    /// Where it begins.
    pub start: StartAt,
}

/// A consumer and how far it is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerView {
    /// As it is kept.
    pub consumer: Arc<Consumer>,
    /// What it has not acknowledged yet.
    pub lag: ConsumerLag,
    /// Whether its next pull is told that its cursor is lost: seek first.
    pub expired: bool,
}

/// What a consumer has not acknowledged yet. Of one that is expired, what can still be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsumerLag {
    /// Revisions between it and the tail.
    pub revisions: u64,
    /// Events of the log behind its cursor, whether or not they pass its filter.
    pub events: u64,
    /// The age of the oldest change behind its cursor; zero at the tail.
    pub age: Duration,
}

/// What an owner asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullRequest {
    /// The generation that a pull before gave; `None` takes the consumer over.
    pub generation: Option<u64>,
    /// What the new owner calls itself, for people; for a pull that takes over.
    pub owner: String,
    /// Reads on behind this cursor, without acknowledging; `None`: behind what is acknowledged.
    pub cursor: Option<Cursor>,
    /// Most events looked at for one answer; `None`: `limits.page_size_default`; more than
    /// `limits.events_per_page_max` is that limit.
    pub max_events: Option<usize>,
    /// How long to wait for the first event; more than `limits.consumer_wait_ms_max` is that
    /// limit.
    pub wait: Duration,
}

/// How a client wants to follow as a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowRequest {
    /// The consumer.
    pub name: ConsumerName,
    /// Takes it over only from this generation; `None`: from whoever owns it.
    pub generation: Option<u64>,
    /// What the new owner calls itself, for people.
    pub owner: String,
}

/// What a pull gave.
#[derive(Debug, Clone)]
pub struct PulledEvents {
    /// The owner's; to be given with what it asks for next.
    pub generation: u64,
    /// Acknowledge this when all the events are dealt with.
    pub next_cursor: Cursor,
    /// The feed's end at the time of the read.
    pub tail_cursor: Cursor,
    /// Changes that pass the consumer's filters, in order.
    pub changes: Vec<Selected>,
}

impl Engine {
    /// Makes a consumer; durable when this answers. `already-exists` when the name is taken (but
    /// by this same `request_id`: then that one), `resource-exhausted` at
    /// `limits.consumers_max`, `invalid-argument` and the cursor faults as in a subscription.
    pub async fn create_consumer(
        &self,
        new: NewConsumer,
        request_id: Option<RequestId>,
    ) -> Result<ConsumerView> {
        if let Some(filter) = &new.filter {
            Filter::parse(filter, FilterScope::Feed, &self.inner.limits)?;
        }
        let _gate = self.inner.consumers.trim_gate().await;
        let (library, cursor) = self.start_in(new.library.as_ref(), new.start).await?;
        let now = Timestamp::now();
        let consumer = Consumer {
            name: new.name,
            library,
            event_types: new.event_types,
            filter: new.filter,
            cursor,
            // Beyond those of an earlier consumer of this name, so that its owners stay stale.
            generation: now.micros(),
            owner: String::new(),
            paused: false,
            created_at: now,
            updated_at: now,
            request_id,
        };
        let made = self.inner.consumers.edit(Edit::Create(Box::new(consumer))).await?;
        self.consumer_view(made).await
    }

    /// A consumer and its lag; `not-found`.
    pub async fn get_consumer(&self, name: &ConsumerName) -> Result<ConsumerView> {
        self.consumer_view(self.inner.consumers.get(name)?).await
    }

    /// The consumers by name, page by page.
    pub async fn list_consumers(&self, page: PageRequest) -> Result<Page<ConsumerView>> {
        let after = page.token.as_deref().map(page_name).transpose()?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.inner.consumers.all();
        let mut behind = all.range((start, Bound::Unbounded)).map(|(_, kept)| &kept.consumer);
        let mut items = Vec::new();
        for consumer in behind.by_ref().take(page.size) {
            items.push(self.consumer_view(Arc::clone(consumer)).await?);
        }
        let last = items.last().map(|view| view.consumer.name.as_str().to_owned());
        let more = behind.next().is_some();
        Ok(Page { items, next_token: last.filter(|_| more) })
    }

    /// All consumers by name, for the metrics.
    pub(super) async fn all_consumers(&self) -> Result<Vec<ConsumerView>> {
        let all = self.inner.consumers.all();
        let mut views = Vec::with_capacity(all.len());
        for kept in all.values() {
            views.push(self.consumer_view(Arc::clone(&kept.consumer)).await?);
        }
        Ok(views)
    }

    /// Gives the next events, waiting for the first if need be; none when the wait is over.
    /// `conflict` for a generation that is stale, also when it becomes so during the wait;
    /// `failed-precondition` while paused; `cursor-expired` when the log was trimmed past the
    /// consumer: seek. Where nothing passed the filter the cursor moves on by itself, page by page:
    /// what is far behind may take more than one pull, as each looks for `limits.consumer_look_ms`
    /// or as long as it waits. While it waits, only what may concern it wakes it.
    pub async fn pull_events(
        &self,
        name: &ConsumerName,
        request: PullRequest,
    ) -> Result<PulledEvents> {
        let limits = &self.inner.limits;
        check_owner(&request.owner)?;
        let registry = &self.inner.consumers;
        let consumer = match request.generation {
            None => {
                let (name, owner) = (name.clone(), request.owner);
                registry.edit(Edit::Own { name, owner, from: None }).await?
            }
            Some(generation) => owned(&registry.all(), name, generation)?,
        };
        let generation = consumer.generation;
        let filter = self.filter_of(&consumer)?;
        let ownership = Arc::new(Ownership::new(registry, &consumer));
        let longest = Duration::from_millis(limits.consumer_wait_ms_max);
        let began = Instant::now();
        let deadline = began + request.wait.min(longest);
        let look_until = deadline.max(began + Duration::from_millis(limits.consumer_look_ms));
        let mut position = request.cursor.unwrap_or(consumer.cursor);
        let (library, types) = (consumer.library, EventType::set(&consumer.event_types));
        let mut listener = None;
        loop {
            let wanted = wanted(&consumer, filter.clone(), position);
            let page = self.list_events(wanted, request.max_events, ReadAt::default()).await?;
            owned(&registry.all(), name, generation)?;
            position = page.next_cursor;
            let mut pulled = PulledEvents {
                generation,
                next_cursor: position,
                tail_cursor: page.tail_cursor,
                changes: page.changes,
            };
            if !pulled.changes.is_empty() {
                return Ok(pulled);
            }
            let at_tail = position.whole_before() >= page.tail_cursor.revision;
            let go_on = if at_tail {
                let listener =
                    listener.get_or_insert_with(|| self.inner.feed.listen(library, types));
                let go_on = tokio::select! {
                    biased;
                    () = self.inner.shutdown.cancelled() => false,
                    error = Ownership::lost(Some(Arc::clone(&ownership))) => return Err(error),
                    () = tokio::time::sleep_until(deadline) => false,
                    () = listener.heard(position) => true,
                };
                position = listener.reached(position);
                go_on
            } else {
                !self.inner.shutdown.is_cancelled() && Instant::now() < look_until
            };
            // Nothing of what was looked at is the owner's business. It is kept on the way too, so
            // that a client which gives up finds it done; but not at each change at the tail.
            let keep = !go_on || !at_tail;
            if keep && request.cursor.is_none() && position != consumer.cursor {
                self.acknowledge_events(name, generation, position).await?;
            }
            if !go_on {
                pulled.next_cursor = position;
                if position.revision > pulled.tail_cursor.revision {
                    pulled.tail_cursor = position;
                }
                return Ok(pulled);
            }
        }
    }

    /// Subscribes as a consumer, from its acknowledged cursor on, with its filter: takes it over,
    /// which makes the owner before stale. What comes is acknowledged, heartbeats too, with
    /// [`Engine::acknowledge_events`] and the subscription's generation. Faults as of
    /// [`Engine::pull_events`] and [`Engine::subscribe`], at the begin and later.
    pub async fn subscribe_consumer(&self, request: FollowRequest) -> Result<Subscription> {
        let FollowRequest { name, generation, owner } = request;
        check_owner(&owner)?;
        let registry = &self.inner.consumers;
        let consumer = registry.edit(Edit::Own { name, owner, from: generation }).await?;
        let wanted = wanted(&consumer, self.filter_of(&consumer)?, consumer.cursor);
        let mut subscription = self.subscribe(wanted).await?;
        subscription.ownership = Some(Arc::new(Ownership::new(registry, &consumer)));
        Ok(subscription)
    }

    /// Acknowledges all events up to a cursor; durable when this answers. One that is behind what
    /// is acknowledged already changes nothing. `conflict` for a generation that is stale, the
    /// cursor faults for one that cannot be.
    pub async fn acknowledge_events(
        &self,
        name: &ConsumerName,
        generation: u64,
        cursor: Cursor,
    ) -> Result<ConsumerView> {
        let registry = &self.inner.consumers;
        let own = registry.get(name)?.cursor.epoch;
        if let Err(error) = self.start_cursor(StartAt::Cursor(cursor)).await {
            // What is trimmed away meanwhile was acknowledged too late, but was dealt with: if it
            // was of this log, which an epoch that nothing knows does not show.
            let expired = error.kind == ErrorKind::CursorExpired;
            let bounds = self.inner.log.bounds().await.map_err(super::changes::log_error)?;
            if !expired || (cursor.epoch != own && !is_known(&bounds, cursor.epoch)) {
                return Err(error);
            }
        }
        let edit = Edit::Acknowledge { name: name.clone(), generation, cursor };
        let acknowledged = registry.edit(edit).await?;
        self.inner.metrics.acknowledged();
        self.consumer_view(acknowledged).await
    }

    /// Moves a consumer, forwards or back; durable when this answers. Its owner becomes stale, so
    /// that what it still acknowledges does not undo this.
    pub async fn seek_consumer(&self, name: &ConsumerName, to: StartAt) -> Result<ConsumerView> {
        let _gate = self.inner.consumers.trim_gate().await;
        self.inner.consumers.get(name)?;
        let edit = Edit::Seek { name: name.clone(), cursor: self.start_cursor(to).await? };
        self.consumer_view(self.inner.consumers.edit(edit).await?).await
    }

    /// Pauses a consumer, or lets it run again. While paused it gives nothing out; its owner can
    /// still acknowledge, and the log is held for it as before.
    pub async fn pause_consumer(&self, name: &ConsumerName, paused: bool) -> Result<ConsumerView> {
        let edit = Edit::SetPaused { name: name.clone(), paused };
        self.consumer_view(self.inner.consumers.edit(edit).await?).await
    }

    /// Takes a consumer away.
    pub async fn delete_consumer(&self, name: &ConsumerName) -> Result<()> {
        let edit = Edit::Remove { name: name.clone() };
        self.inner.consumers.edit(edit).await.map(drop)
    }

    /// The expression of a consumer, which was sound when that was made.
    fn filter_of(&self, consumer: &Consumer) -> Result<Option<Filter>> {
        let parse = |text| Filter::parse(text, FilterScope::Feed, &self.inner.limits);
        consumer.filter.as_deref().map(parse).transpose()
    }

    async fn consumer_view(&self, consumer: Arc<Consumer>) -> Result<ConsumerView> {
        let log = &self.inner.log;
        loop {
            let tail = self.inner.published.load().applied;
            let bounds = log.bounds().await.map_err(super::changes::log_error)?;
            let cursor = consumer.cursor;
            let lost = check_cursor(&bounds, tail.revision, cursor).is_err();
            let floor = Revision(bounds.floor.0 - 1);
            let done = if lost { floor } else { cursor.whole_before() };
            let expired = lost || done < floor;
            let mut lag = ConsumerLag::default();
            if done < tail.revision {
                let head = match log.read_heads(done.max(floor), 1).await {
                    // Trimmed since the bounds were read.
                    Err(ReadError::Trimmed { .. }) => continue,
                    heads => heads.map_err(super::changes::log_error)?.into_iter().next(),
                };
                if let Some(head) = head {
                    let begun = !expired && head.revision == cursor.revision;
                    let had = if begun { u64::from(cursor.ordinal) + 1 } else { 0 };
                    lag = ConsumerLag {
                        revisions: tail.revision.0.saturating_sub(done.0),
                        events: tail.events.saturating_sub(head.events_before + had),
                        age: Timestamp::now().since(head.time),
                    };
                }
            }
            return Ok(ConsumerView { consumer, lag, expired });
        }
    }
}

/// What a consumer wants of the feed.
fn wanted(consumer: &Consumer, filter: Option<Filter>, position: Cursor) -> EventsRequest {
    EventsRequest {
        library: consumer.library.map(LibraryRef::Id),
        event_types: consumer.event_types.clone(),
        filter,
        start: StartAt::Cursor(position),
    }
}

fn page_name(token: &str) -> Result<ConsumerName> {
    ConsumerName::parse(token)
        .map_err(|_| Error::invalid("page_token", "must be one that a page before gave"))
}

#[cfg(test)]
mod tests;
