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
pub(super) type ConsumerMap = imbl::OrdMap<ConsumerName, Kept>;

/// A consumer, and the bell of those who own it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) consumer: Arc<Consumer>,
    /// Rung after the consumer got another owner, was paused or resumed, or was taken away: not
    /// by acknowledgements, nor by what happens to others.
    bell: Arc<watch::Sender<()>>,
}

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
        let mut map = ConsumerMap::new();
        for consumer in stored {
            put(&mut map, consumer);
        }
        let (sender, consumers) = watch::channel(map);
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
        let all = consumers.values().map(|kept| &kept.consumer);
        let holding = all.filter(|one| check_cursor(bounds, tail, one.cursor).is_ok());
        let slowest = holding.min_by_key(|one| one.cursor.whole_before());
        let held = slowest.map_or(Revision(u64::MAX), |one| one.cursor.whole_before());
        (held, slowest.map(|one| one.name.clone()))
    }
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

/// That a subscription, or a pull, is its consumer's owner.
#[derive(Debug)]
pub(in crate::engine) struct Ownership {
    consumers: watch::Receiver<ConsumerMap>,
    /// `None` where the consumer was gone already.
    bell: Option<watch::Receiver<()>>,
    name: ConsumerName,
    generation: u64,
}

impl Ownership {
    pub(super) fn new(registry: &Registry, consumer: &Consumer) -> Self {
        let (consumers, name) = (registry.consumers.clone(), consumer.name.clone());
        let bell = consumers.borrow().get(&name).map(|kept| kept.bell.subscribe());
        Self { consumers, bell, name, generation: consumer.generation }
    }

    pub(in crate::engine) fn generation(&self) -> u64 {
        self.generation
    }

    /// Waits until it is no longer so, and says why: as [`owned`]. For ever where nothing is owned,
    /// and in a shutdown, which ends subscriptions by itself.
    pub(in crate::engine) async fn lost(ownership: Option<Arc<Self>>) -> Error {
        let Some(ownership) = ownership else { return std::future::pending().await };
        let mut bell = ownership.bell.clone();
        loop {
            // Heard before looking: what happens later rings again.
            if let Some(bell) = &mut bell {
                bell.borrow_and_update();
            }
            let still = owned(&ownership.consumers.borrow(), &ownership.name, ownership.generation);
            if let Err(error) = still {
                return error;
            }
            let rung = match &mut bell {
                Some(bell) => bell.changed().await.is_ok(),
                None => false,
            };
            if !rung {
                return std::future::pending().await;
            }
        }
    }
}

fn find(consumers: &ConsumerMap, name: &ConsumerName) -> Result<Arc<Consumer>> {
    let found = consumers.get(name).map(|kept| Arc::clone(&kept.consumer));
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
        let (before, now) = (self.consumers.borrow().clone(), Timestamp::now());
        let mut next = before.clone();
        let (mut writes, mut answers) = (BTreeMap::new(), Vec::new());
        for Submission { edit, answer } in submissions {
            let outcome = self.make(&mut next, edit, now).map(|(consumer, write)| {
                writes.extend(write.map(|write| (consumer.name.clone(), write)));
                consumer
            });
            answers.push((answer, outcome));
        }
        let bells = writes.keys().filter_map(|name| bell_of(name, &before, &next));
        let bells: Vec<_> = bells.collect();
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
            for bell in bells {
                bell.send_replace(());
            }
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
            if new.request_id.is_some() && new.request_id == there.consumer.request_id {
                return Ok((Arc::clone(&there.consumer), None));
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

/// The bell to ring for a consumer, where an owner of before may not be it any more.
fn bell_of(
    name: &ConsumerName,
    before: &ConsumerMap,
    after: &ConsumerMap,
) -> Option<Arc<watch::Sender<()>>> {
    let kept = before.get(name)?;
    let standing = |kept: &Kept| (kept.consumer.generation, kept.consumer.paused);
    let changed = after.get(name).map(standing) != Some(standing(kept));
    changed.then(|| Arc::clone(&kept.bell))
}

fn put(map: &mut ConsumerMap, consumer: Consumer) -> (Arc<Consumer>, Option<ConsumerWrite>) {
    let consumer = Arc::new(consumer);
    let bell = map.get(&consumer.name).map(|kept| Arc::clone(&kept.bell));
    let kept = Kept { consumer: Arc::clone(&consumer), bell: bell.unwrap_or_default() };
    map.insert(consumer.name.clone(), kept);
    let write = ConsumerWrite::Put(Arc::clone(&consumer));
    (consumer, Some(write))
}
