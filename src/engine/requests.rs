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
