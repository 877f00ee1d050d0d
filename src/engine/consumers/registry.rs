//! The registry: the one place where durable consumers are changed.
//!
//! A task of its own takes the edits that wait, makes them in order, writes what came of them as
//! one synced commit, shows the new state, answers; in that order, so that nothing is seen of a
//! consumer that a crash could take back. So an acknowledgement waits for a sync, and those that
//! come meanwhile share the next one.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::resume::check_cursor;
use crate::log::LogBounds;
use crate::store::{ConsumerWrite, Store};
use crate::types::{
    Consumer, ConsumerName, Cursor, Error, ErrorKind, Limits, Result, Revision, Timestamp,
};

/// All consumers, by name. Cheap to clone.
pub(super) type ConsumerMap = imbl::OrdMap<ConsumerName, Arc<Consumer>>;

/// A change to a consumer.
#[derive(Debug)]
pub(super) enum Edit {
    Create(Box<Consumer>),
    /// A new owner takes it: the next generation. Only from this one, if one is named.
    Own {
        name: ConsumerName,
        owner: String,
        from: Option<u64>,
    },
    /// Everything up to the cursor is done.
    Acknowledge {
        name: ConsumerName,
        generation: u64,
        cursor: Cursor,
    },
    /// Goes to a place, forwards or back; whoever owned it is stale.
    Seek {
        name: ConsumerName,
        cursor: Cursor,
    },
    SetPaused {
        name: ConsumerName,
        paused: bool,
    },
    Remove {
        name: ConsumerName,
    },
}

struct Submission {
    edit: Edit,
    answer: oneshot::Sender<Result<Arc<Consumer>>>,
}

/// The consumers as everybody sees them, and the way to change them.
#[derive(Debug)]
pub(in crate::engine) struct Registry {
    mailbox: mpsc::Sender<Submission>,
    consumers: watch::Receiver<ConsumerMap>,
    /// Held while a consumer is given a place, and while the log is trimmed: so no consumer is
    /// made to begin at what is about to go.
    gate: Mutex<()>,
}

/// The task's side of it.
pub(in crate::engine) struct Committer {
    mailbox: mpsc::Receiver<Submission>,
    consumers: watch::Sender<ConsumerMap>,
    store: Store,
    consumers_max: usize,
    commit_max: usize,
}

impl Registry {
    /// Over what is stored. Whoever makes it runs the committer.
    pub(in crate::engine) fn new(
        stored: Vec<Consumer>,
        store: &Store,
        limits: &Limits,
    ) -> (Self, Committer) {
        let map = stored.into_iter().map(|one| (one.name.clone(), Arc::new(one)));
        let (sender, consumers) = watch::channel(map.collect::<ConsumerMap>());
        let (mailbox, submissions) = mpsc::channel(limits.consumer_commit_max);
        let committer = Committer {
            mailbox: submissions,
            consumers: sender,
            store: store.clone(),
            consumers_max: limits.consumers_max,
            commit_max: limits.consumer_commit_max,
        };
        (Self { mailbox, consumers, gate: Mutex::new(()) }, committer)
    }

    /// All consumers as they are now.
    pub(super) fn all(&self) -> ConsumerMap {
        self.consumers.borrow().clone()
    }

    /// A consumer as it is now; `not-found` otherwise.
    pub(super) fn get(&self, name: &ConsumerName) -> Result<Arc<Consumer>> {
        find(&self.consumers.borrow(), name)
    }

    /// Tells of every change.
    pub(super) fn watch(&self) -> watch::Receiver<ConsumerMap> {
        self.consumers.clone()
    }

    /// Makes a change; it is durable when this answers. Dropping the future does not take it
    /// back.
    pub(super) async fn edit(&self, edit: Edit) -> Result<Arc<Consumer>> {
        let (answer, receiver) = oneshot::channel();
        let closed = || Error::unavailable("the server is shutting down");
        self.mailbox.send(Submission { edit, answer }).await.map_err(|_| closed())?;
        receiver.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Keeps consumers from being given a place while the log is trimmed, and the log from being
    /// trimmed while one is given a place.
    pub(in crate::engine) async fn trim_gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    /// The highest revision that no consumer needs any more, and the consumer that needs what
    /// follows. One whose cursor is lost anyway needs nothing.
    pub(in crate::engine) fn hold(
        &self,
        bounds: &LogBounds,
        tail: Revision,
    ) -> (Revision, Option<ConsumerName>) {
        let consumers = self.consumers.borrow();
        let holding =
            consumers.values().filter(|one| check_cursor(bounds, tail, one.cursor).is_ok());
        let slowest = holding.min_by_key(|one| done_through(one.cursor));
        let held = slowest.map_or(Revision(u64::MAX), |one| done_through(one.cursor));
        (held, slowest.map(|one| one.name.clone()))
    }
}

/// The highest revision of which nothing is left to read behind this cursor.
pub(super) fn done_through(cursor: Cursor) -> Revision {
    let partly = u64::from(!cursor.is_whole());
    Revision(cursor.revision.0.saturating_sub(partly))
}

/// The consumer, if this generation still owns it; `failed-precondition` when it is paused.
pub(super) fn owned(
    consumers: &ConsumerMap,
    name: &ConsumerName,
    generation: u64,
) -> Result<Arc<Consumer>> {
    let consumer = find(consumers, name)?;
    check_generation(&consumer, generation)?;
    check_running(&consumer)?;
    Ok(consumer)
}

/// That a subscription is its consumer's owner.
#[derive(Debug)]
pub(in crate::engine) struct Ownership {
    consumers: watch::Receiver<ConsumerMap>,
    name: ConsumerName,
    generation: u64,
}

impl Ownership {
    pub(super) fn new(registry: &Registry, consumer: &Consumer) -> Self {
        let (consumers, name) = (registry.watch(), consumer.name.clone());
        Self { consumers, name, generation: consumer.generation }
    }

    pub(in crate::engine) fn generation(&self) -> u64 {
        self.generation
    }

    /// Waits until it is no longer so, and says why: as [`owned`]. For ever where nothing is owned,
    /// and in a shutdown, which ends subscriptions by itself.
    pub(in crate::engine) async fn lost(ownership: Option<Arc<Self>>) -> Error {
        let Some(ownership) = ownership else { return std::future::pending().await };
        let mut consumers = ownership.consumers.clone();
        loop {
            let still =
                owned(&consumers.borrow_and_update(), &ownership.name, ownership.generation);
            if let Err(error) = still {
                return error;
            }
            if consumers.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

fn find(consumers: &ConsumerMap, name: &ConsumerName) -> Result<Arc<Consumer>> {
    let found = consumers.get(name).map(Arc::clone);
    found.ok_or_else(|| Error::not_found(format!("there is no consumer {name}")))
}

fn check_generation(consumer: &Consumer, generation: u64) -> Result<()> {
    if consumer.generation == generation {
        return Ok(());
    }
    let detail = format!(
        "consumer {} is at generation {}, not {generation}: it has another owner now, or was \
         moved; stop, or come without a generation to take it over",
        consumer.name, consumer.generation
    );
    Err(Error::new(ErrorKind::Conflict, detail))
}

fn check_running(consumer: &Consumer) -> Result<()> {
    if consumer.paused {
        let detail = format!("consumer {} is paused: resume it first", consumer.name);
        return Err(Error::new(ErrorKind::FailedPrecondition, detail));
    }
    Ok(())
}

impl Committer {
    /// Works until the shutdown begins.
    pub(in crate::engine) async fn run(mut self, shutdown: CancellationToken) {
        let mut waiting = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                count = self.mailbox.recv_many(&mut waiting, self.commit_max) => count,
            };
            if count == 0 {
                break;
            }
            self.commit(waiting.drain(..)).await;
        }
    }

    async fn commit(&self, submissions: impl Iterator<Item = Submission>) {
        let (mut next, now) = (self.consumers.borrow().clone(), Timestamp::now());
        let (mut writes, mut answers) = (BTreeMap::new(), Vec::new());
        for Submission { edit, answer } in submissions {
            let outcome = self.make(&mut next, edit, now).map(|(consumer, write)| {
                writes.extend(write.map(|write| (consumer.name.clone(), write)));
                consumer
            });
            answers.push((answer, outcome));
        }
        if !writes.is_empty() {
            let (store, writes) = (self.store.clone(), writes.into_values().collect::<Vec<_>>());
            let write = move || store.write_consumers(&writes);
            let failure = match tokio::task::spawn_blocking(write).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = failure {
                tracing::error!(error, "the consumers could not be written");
                let detail = "it is not known whether this was written; see the server's log";
                for (answer, _) in answers {
                    let _ = answer.send(Err(Error::unavailable(detail)));
                }
                return;
            }
            self.consumers.send_replace(next);
        }
        for (answer, outcome) in answers {
            let _ = answer.send(outcome);
        }
    }

    /// Makes one change; gives the consumer after it and what is to be written, if anything.
    fn make(
        &self,
        map: &mut ConsumerMap,
        edit: Edit,
        now: Timestamp,
    ) -> Result<(Arc<Consumer>, Option<ConsumerWrite>)> {
        let (name, before) = match &edit {
            Edit::Create(new) => return self.create(map, new),
            Edit::Own { name, .. }
            | Edit::Acknowledge { name, .. }
            | Edit::Seek { name, .. }
            | Edit::SetPaused { name, .. }
            | Edit::Remove { name } => (name.clone(), find(map, name)?),
        };
        let mut after = Consumer::clone(&before);
        match edit {
            Edit::Create(_) => {}
            Edit::Own { owner, from, .. } => {
                if let Some(generation) = from {
                    check_generation(&before, generation)?;
                }
                check_running(&before)?;
                after.generation += 1;
                after.owner = owner;
            }
            Edit::Acknowledge { generation, cursor, .. } => {
                check_generation(&before, generation)?;
                // Revisions order a log, whatever the epochs of its spans.
                let place = |cursor: Cursor| (cursor.revision, cursor.ordinal);
                if place(cursor) > place(before.cursor) {
                    after.cursor = cursor;
                }
            }
            Edit::Seek { cursor, .. } => {
                after.cursor = cursor;
                after.generation += 1;
                after.owner.clear();
            }
            Edit::SetPaused { paused, .. } => after.paused = paused,
            Edit::Remove { .. } => {
                map.remove(&name);
                return Ok((before, Some(ConsumerWrite::Remove(name))));
            }
        }
        if after == *before {
            return Ok((before, None));
        }
        after.updated_at = now;
        Ok(put(map, after))
    }

    fn create(
        &self,
        map: &mut ConsumerMap,
        new: &Consumer,
    ) -> Result<(Arc<Consumer>, Option<ConsumerWrite>)> {
        if let Some(there) = map.get(&new.name) {
            if new.request_id.is_some() && new.request_id == there.request_id {
                return Ok((Arc::clone(there), None));
            }
            let detail = format!("there is a consumer {} already", new.name);
            return Err(Error::new(ErrorKind::AlreadyExists, detail));
        }
        if map.len() >= self.consumers_max {
            let detail = format!("there are {} consumers (consumers_max)", self.consumers_max);
            return Err(Error::new(ErrorKind::ResourceExhausted, detail));
        }
        Ok(put(map, new.clone()))
    }
}

fn put(map: &mut ConsumerMap, consumer: Consumer) -> (Arc<Consumer>, Option<ConsumerWrite>) {
    let consumer = Arc::new(consumer);
    map.insert(consumer.name.clone(), Arc::clone(&consumer));
    let write = ConsumerWrite::Put(Arc::clone(&consumer));
    (consumer, Some(write))
}
