//! Remembered requests: what makes the retry of a create safe.
//!
//! Kept in the store with the change that the request made, so a retry after a crash is safe too.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::store::{StoreBatch, StoreError, StoredRequest};
use crate::types::{ChangeHead, ChangeKind, Limits, RequestId, Revision, Timestamp};

/// The requests of the last `limits.request_id_memory_ms`, at most `limits.request_ids_max`.
#[derive(Debug)]
pub(super) struct Requests {
    by_id: HashMap<RequestId, (Revision, StoredRequest)>,
    /// Oldest first.
    order: VecDeque<(Revision, RequestId)>,
    memory: Duration,
    most: usize,
}

impl Requests {
    pub(super) fn load(stored: Vec<(Revision, StoredRequest)>, limits: &Limits) -> Self {
        let order = stored.iter().map(|(revision, r)| (*revision, r.request_id.clone())).collect();
        let by_id = stored
            .into_iter()
            .map(|(revision, request)| (request.request_id.clone(), (revision, request)))
            .collect();
        let memory = Duration::from_millis(limits.request_id_memory_ms);
        Self { by_id, order, memory, most: limits.request_ids_max }
    }

    /// What a request made, if it is still remembered at `now`.
    pub(super) fn find(
        &self,
        id: &RequestId,
        now: Timestamp,
    ) -> Option<&(Revision, StoredRequest)> {
        self.by_id.get(id).filter(|(_, request)| now.since(request.time) <= self.memory)
    }

    /// Remembers the request that a change was made for, if any.
    pub(super) fn remember(
        &mut self,
        batch: &mut StoreBatch,
        head: &ChangeHead,
    ) -> Result<(), StoreError> {
        let Some(request_id) = &head.request_id else { return Ok(()) };
        let request = StoredRequest {
            request_id: request_id.clone(),
            time: head.time,
            library_id: head.library_id,
            document: matches!(head.kind, ChangeKind::DocumentAdded { .. }),
        };
        batch.put_request(head.revision, &request)?;
        self.order.push_back((head.revision, request_id.clone()));
        self.by_id.insert(request_id.clone(), (head.revision, request));
        Ok(())
    }

    /// Forgets what is too old at `now`, or too much.
    pub(super) fn forget(&mut self, batch: &mut StoreBatch, now: Timestamp) {
        while let Some((revision, id)) = self.order.front() {
            // A request id used again after it was forgotten belongs to a later revision.
            let current = self.by_id.get(id).filter(|(of, _)| of == revision);
            let keep = current.is_none_or(|(_, request)| now.since(request.time) <= self.memory);
            if current.is_some() && keep && self.order.len() <= self.most {
                break;
            }
            batch.remove_request(*revision);
            if current.is_some() {
                self.by_id.remove(id);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::types::{Epoch, LibraryId};

    struct Place {
        _folder: tempfile::TempDir,
        store: Store,
        limits: Limits,
        requests: Requests,
    }

    fn id(text: &str) -> RequestId {
        RequestId::parse(text).expect("valid")
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    impl Place {
        fn new(memory_seconds: u64, most: usize) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let store = Store::open(folder.path()).expect("opens");
            let limits = Limits {
                request_id_memory_ms: memory_seconds * 1_000,
                request_ids_max: most,
                ..Limits::default()
            };
            let requests = Requests::load(Vec::new(), &limits);
            Self { _folder: folder, store, limits, requests }
        }

        /// A change for a request, and what is forgotten with it.
        fn remember(&mut self, revision: u64, seconds: u64, request: &str) {
            let head = ChangeHead {
                epoch: Epoch(1),
                revision: Revision(revision),
                time: at(seconds),
                events_before: 0,
                library_id: LibraryId::from_bytes([1; 16]),
                batch_id: None,
                request_id: Some(id(request)),
                kind: ChangeKind::BatchStarted,
            };
            let mut batch = self.store.batch();
            self.requests.remember(&mut batch, &head).expect("encodes");
            self.requests.forget(&mut batch, head.time);
            batch.commit().expect("committed");
        }

        fn find(&self, seconds: u64, request: &str) -> Option<u64> {
            self.requests.find(&id(request), at(seconds)).map(|(revision, _)| revision.0)
        }

        fn stored(&self) -> Vec<(u64, String)> {
            let stored = self.store.snapshot().requests().expect("readable");
            let show = |(revision, request): (Revision, StoredRequest)| {
                (revision.0, request.request_id.as_str().to_owned())
            };
            stored.into_iter().map(show).collect()
        }

        fn reload(&mut self) {
            let stored = self.store.snapshot().requests().expect("readable");
            self.requests = Requests::load(stored, &self.limits);
        }
    }

    #[test]
    fn a_request_is_remembered_for_its_time_and_not_longer() {
        let mut place = Place::new(60, 10);
        place.remember(1, 100, "a");
        for _ in 0..2 {
            assert_eq!(place.find(100, "a"), Some(1));
            assert_eq!(place.find(160, "a"), Some(1));
            assert_eq!(place.find(161, "a"), None);
            assert_eq!(place.find(100, "b"), None);
            place.reload();
        }
        // Gone from the store too with the next change that comes late enough.
        place.remember(2, 161, "b");
        assert_eq!(place.stored(), [(2, "b".to_owned())]);
    }

    #[test]
    fn beyond_the_limit_the_oldest_are_forgotten_early() {
        let mut place = Place::new(60, 2);
        place.remember(1, 100, "a");
        place.remember(2, 100, "b");
        place.remember(3, 100, "c");
        for _ in 0..2 {
            assert_eq!(place.find(100, "a"), None);
            assert_eq!(place.find(100, "b"), Some(2));
            assert_eq!(place.find(100, "c"), Some(3));
            assert_eq!(place.stored().len(), 2);
            place.reload();
        }
    }

    #[test]
    fn an_id_used_again_after_its_time_names_the_later_request() {
        let mut place = Place::new(60, 10);
        place.remember(1, 100, "a");
        place.remember(2, 150, "b");
        // Nothing has forgotten the first "a" yet, but its time is over.
        place.remember(3, 170, "a");
        for _ in 0..2 {
            assert_eq!(place.find(170, "a"), Some(3));
            assert_eq!(place.find(170, "b"), Some(2));
            assert_eq!(place.stored(), [(2, "b".to_owned()), (3, "a".to_owned())]);
            place.reload();
        }
        place.remember(4, 220, "c");
        assert_eq!((place.find(220, "b"), place.find(220, "a")), (None, Some(3)));
    }
}
