//! A log in memory, with faults that can be ordered: for tests of what stands on a log.
//!
//! Keeps the contract but for durability: it survives a [`MemoryLog::reopen`], not the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::tail::Tail;
use super::{AppendError, ChangeLog, LogBounds, ReadError};
use crate::types::codec;
use crate::types::{Change, ChangeHead, ChunkBody, Epoch, Revision, Timestamp};

/// What can be made to happen to the next append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another writer is ahead: [`AppendError::Stale`]; nothing is written.
    Stale,
    /// Written, but [`AppendError::Unknown`].
    UnknownApplied,
    /// Not written, and [`AppendError::Unknown`].
    UnknownNotApplied,
    /// [`AppendError::Refused`]; the append after it succeeds.
    Refused,
    /// [`AppendError::Closed`], from now on until reopened; nothing is written.
    Closed,
}

/// The log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    held: Arc<Mutex<Held>>,
    faults: Mutex<VecDeque<Fault>>,
    /// Why no append may succeed any more. Locked before `held`.
    closed: Mutex<Option<String>>,
}

/// What is held, over all reopenings.
#[derive(Debug)]
struct Held {
    /// In order, in pieces of `piece_changes`; the last piece is the one appended to.
    pieces: VecDeque<Vec<Stored>>,
    piece_changes: usize,
    /// The first revision that may be of each epoch.
    epochs: Vec<(Epoch, Revision)>,
    epoch_before: Epoch,
    floor: Revision,
    tail: Tail,
    bytes: u64,
}

#[derive(Debug)]
struct Stored {
    head: Arc<ChangeHead>,
    bodies: Vec<ChunkBody>,
    bytes: usize,
}

impl MemoryLog {
    /// An empty log whose pieces hold this many changes, at least one.
    #[must_use]
    pub fn new(piece_changes: usize) -> Self {
        let epoch = Epoch::generate();
        let tail = Tail {
            epoch,
            end_epoch: epoch,
            end: Revision::ZERO,
            end_time: Timestamp::default(),
            end_events: 0,
        };
        Self::over(Arc::new(Mutex::new(Held {
            pieces: VecDeque::from([Vec::new()]),
            piece_changes: piece_changes.max(1),
            epochs: vec![(epoch, Revision(1))],
            epoch_before: epoch,
            floor: Revision(1),
            tail,
            bytes: 0,
        })))
    }

    fn over(held: Arc<Mutex<Held>>) -> Self {
        Self { held, faults: Mutex::default(), closed: Mutex::default() }
    }

    /// The same log, opened anew: what was appended is there, and it takes appends again. The old
    /// handle takes none.
    #[must_use]
    pub fn reopen(&self) -> Self {
        lock(&self.closed).get_or_insert_with(|| "it was opened anew".to_owned());
        Self::over(Arc::clone(&self.held))
    }

    /// Begins a new epoch, as after a loss or a restored backup. Nothing is lost here.
    pub fn begin_epoch(&self) {
        let mut held = lock(&self.held);
        let epoch = Epoch(held.tail.epoch.0 + 1);
        let first = held.tail.end.next();
        held.tail.epoch = epoch;
        if held.epochs.last().is_some_and(|(_, begun)| *begun == first) {
            held.epochs.pop();
        }
        held.epochs.push((epoch, first));
        // A piece is of one epoch.
        if held.pieces.back().is_some_and(|piece| !piece.is_empty()) {
            held.pieces.push_back(Vec::new());
        }
    }

    /// Orders a fault for an append to come: each happens once, in the order given.
    pub fn inject(&self, fault: Fault) {
        lock(&self.faults).push_back(fault);
    }

    fn append_now(&self, expected_end: Revision, changes: &[Change]) -> Result<(), AppendError> {
        let mut closed = lock(&self.closed);
        if let Some(reason) = &*closed {
            return Err(AppendError::Closed(reason.clone()));
        }
        let fault = lock(&self.faults).pop_front();
        let mut held = lock(&self.held);
        match fault {
            None => held.append(expected_end, changes),
            Some(Fault::Stale) => Err(AppendError::Stale { end: held.tail.end.next() }),
            Some(Fault::UnknownApplied) => {
                held.append(expected_end, changes)?;
                Err(AppendError::Unknown("the answer was lost, as ordered".to_owned()))
            }
            Some(Fault::UnknownNotApplied) => {
                Err(AppendError::Unknown("the request was lost, as ordered".to_owned()))
            }
            Some(Fault::Refused) => Err(AppendError::Refused("as ordered".to_owned())),
            Some(Fault::Closed) => {
                *closed = Some("fsync failed, as ordered".to_owned());
                Err(AppendError::Closed("fsync failed, as ordered".to_owned()))
            }
        }
    }

    fn read<T>(
        &self,
        after: Revision,
        bytes_target: usize,
        take: impl Fn(&Stored) -> T,
    ) -> Result<Vec<T>, ReadError> {
        let held = lock(&self.held);
        if after.0 < held.floor.0 - 1 {
            return Err(ReadError::Trimmed { floor: held.floor });
        }
        let mut bytes = 0;
        let wanted = held.stored_after(after);
        let page = wanted.take_while(|stored| {
            let first = bytes == 0;
            bytes += stored.bytes;
            first || bytes <= bytes_target
        });
        Ok(page.map(take).collect())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.pieces.iter().flatten()
    }

    fn stored_after(&self, after: Revision) -> impl Iterator<Item = &Stored> {
        let ends_before =
            |piece: &Vec<Stored>| piece.last().is_some_and(|stored| stored.head.revision <= after);
        let place = self.pieces.partition_point(ends_before);
        let pieces = self.pieces.range(place..).flatten();
        pieces.skip_while(move |stored| stored.head.revision <= after)
    }

    fn append(&mut self, expected_end: Revision, changes: &[Change]) -> Result<(), AppendError> {
        let tail = self.tail.behind(expected_end, changes)?;
        let mut encoded = Vec::new();
        let stored = changes.iter().map(|change| {
            encoded.clear();
            codec::encode_change(change, &mut encoded)
                .map_err(|error| AppendError::Refused(error.to_string()))?;
            let head = Arc::new(change.head.clone());
            Ok(Stored { head, bodies: change.bodies.clone(), bytes: encoded.len() })
        });
        let stored = stored.collect::<Result<Vec<_>, AppendError>>()?;
        self.bytes += stored.iter().map(|stored| stored.bytes as u64).sum::<u64>();
        for stored in stored {
            match self.pieces.back_mut() {
                Some(piece) if piece.len() < self.piece_changes => piece.push(stored),
                Some(_) | None => self.pieces.push_back(vec![stored]),
            }
        }
        self.tail = tail;
        Ok(())
    }

    fn trim(&mut self, through: Revision) -> Revision {
        while self.pieces.len() > 1 {
            let last = self.pieces.front().and_then(|piece| piece.last());
            let last = last.map(|stored| (stored.head.revision, stored.head.epoch));
            let Some((last, epoch)) = last.filter(|(revision, _)| *revision <= through) else {
                break;
            };
            self.epoch_before = epoch;
            let gone = self.pieces.pop_front().unwrap_or_default();
            self.bytes -= gone.iter().map(|stored| stored.bytes as u64).sum::<u64>();
            self.floor = last.next();
        }
        let floor = self.floor;
        let current = self.epochs.partition_point(|(_, first)| *first <= floor).saturating_sub(1);
        self.epochs.drain(..current);
        floor
    }
}

#[async_trait]
impl ChangeLog for MemoryLog {
    async fn bounds(&self) -> Result<LogBounds, ReadError> {
        let held = lock(&self.held);
        Ok(LogBounds {
            epochs: held.epochs.clone(),
            epoch_before: held.epoch_before,
            floor: held.floor,
            end: held.tail.end,
            end_time: held.tail.end_time,
            end_events: held.tail.end_events,
            bytes: held.bytes,
        })
    }

    async fn append(&self, expected_end: Revision, changes: &[Change]) -> Result<(), AppendError> {
        self.append_now(expected_end, changes)
    }

    async fn read_heads(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Arc<ChangeHead>>, ReadError> {
        self.read(after, bytes_target, |stored| Arc::clone(&stored.head))
    }

    async fn read_changes(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Change>, ReadError> {
        self.read(after, bytes_target, |stored| Change {
            head: (*stored.head).clone(),
            bodies: stored.bodies.clone(),
        })
    }

    async fn seek(&self, time: Timestamp) -> Result<Revision, ReadError> {
        let held = lock(&self.held);
        let found = held.stored().find(|stored| stored.head.time >= time);
        Ok(found.map_or(held.tail.end, |stored| Revision(stored.head.revision.0 - 1)))
    }

    async fn excess(&self, bytes_max: u64) -> Result<Revision, ReadError> {
        let held = lock(&self.held);
        let (mut bytes, mut through) = (held.bytes, Revision(held.floor.0 - 1));
        for piece in held.pieces.range(..held.pieces.len() - 1) {
            if bytes <= bytes_max {
                break;
            }
            bytes -= piece.iter().map(|stored| stored.bytes as u64).sum::<u64>();
            through = piece.last().map_or(through, |stored| stored.head.revision);
        }
        Ok(through)
    }

    async fn trim(&self, through: Revision) -> Result<Revision, ReadError> {
        Ok(lock(&self.held).trim(through))
    }

    async fn close(&self) -> Result<(), AppendError> {
        let mut closed = lock(&self.closed);
        match &*closed {
            Some(reason) => Err(AppendError::Closed(reason.clone())),
            None => {
                *closed = Some("it was closed".to_owned());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::contract::{self, sample};
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_memory_log_keeps_the_contract() {
        let logs = Mutex::new(HashMap::<String, Arc<MemoryLog>>::new());
        contract::conformance(async |place: &str| {
            let mut logs = lock(&logs);
            let log = match logs.get(place) {
                Some(old) => old.reopen(),
                None => MemoryLog::new(3),
            };
            let log = Arc::new(log);
            logs.insert(place.to_owned(), Arc::clone(&log));
            log as Arc<dyn ChangeLog>
        })
        .await;
    }

    #[tokio::test]
    async fn ordered_faults_happen_once_each() {
        let log = MemoryLog::new(10);
        let end = async || log.bounds().await.expect("readable").end;
        let append = async || {
            let bounds = log.bounds().await.expect("readable");
            let next = bounds.end.0 + 1;
            log.append(bounds.end, &sample(&bounds, [next])).await
        };
        log.inject(Fault::Stale);
        assert_eq!(append().await, Err(AppendError::Stale { end: Revision(1) }));
        log.inject(Fault::Refused);
        assert!(matches!(append().await, Err(AppendError::Refused(_))));
        log.inject(Fault::UnknownNotApplied);
        assert!(matches!(append().await, Err(AppendError::Unknown(_))));
        assert_eq!(end().await, Revision(0));
        log.inject(Fault::UnknownApplied);
        assert!(matches!(append().await, Err(AppendError::Unknown(_))));
        assert_eq!(end().await, Revision(1));
        assert_eq!(append().await, Ok(()));
        log.inject(Fault::Closed);
        assert!(matches!(append().await, Err(AppendError::Closed(_))));
        assert!(matches!(append().await, Err(AppendError::Closed(_))));
        let log = log.reopen();
        let bounds = log.bounds().await.expect("readable");
        assert_eq!(log.append(bounds.end, &sample(&bounds, [3])).await, Ok(()));
    }

    #[tokio::test]
    async fn epochs_form_spans_and_leave_with_their_changes() {
        let log = MemoryLog::new(2);
        let first = log.bounds().await.expect("readable").epoch();
        for revision in 1..=3 {
            let bounds = log.bounds().await.expect("readable");
            log.append(bounds.end, &sample(&bounds, [revision])).await.expect("appended");
        }
        log.begin_epoch();
        log.begin_epoch();
        let bounds = log.bounds().await.expect("readable");
        assert_eq!(bounds.epochs, [(first, Revision(1)), (Epoch(first.0 + 2), Revision(4))]);
        log.append(bounds.end, &sample(&bounds, [7])).await.expect("appended");
        assert_eq!(log.trim(Revision(7)).await, Ok(Revision(4)));
        let bounds = log.bounds().await.expect("readable");
        assert_eq!(bounds.epochs, [(Epoch(first.0 + 2), Revision(4))]);
        assert_eq!(bounds.epoch_before, first);
    }
}
