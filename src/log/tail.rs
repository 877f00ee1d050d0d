//! The end of a log as its appender knows it: what the next changes must follow on.

use super::AppendError;
use crate::types::{Change, Epoch, Revision, Timestamp};

/// What the next change must follow on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// The epoch it must be of.
    pub(super) epoch: Epoch,
    /// The epoch of the change at `end`; when there was never one, or it is not known, `epoch`.
    pub(super) end_epoch: Epoch,
    /// Its revision must be higher.
    pub(super) end: Revision,
    /// Its time must not be before.
    pub(super) end_time: Timestamp,
    /// Its `events_before`.
    pub(super) end_events: u64,
}

impl Tail {
    /// The tail behind `changes`: `Stale` when the writer believed in another end, `Refused` when
    /// the changes do not follow on.
    pub(super) fn behind(
        self,
        expected_end: Revision,
        changes: &[Change],
    ) -> Result<Self, AppendError> {
        if expected_end != self.end {
            return Err(AppendError::Stale { end: self.end });
        }
        changes.iter().try_fold(self, Self::step)
    }

    fn step(self, change: &Change) -> Result<Self, AppendError> {
        let head = &change.head;
        let refused = |what: &str| {
            let detail = format!("revision {}: {what}, after {self:?}", head.revision);
            Err(AppendError::Refused(detail))
        };
        if head.revision <= self.end {
            return refused("does not increase");
        }
        if head.revision.0 == u64::MAX {
            return refused("leaves no revision for the next");
        }
        if head.epoch != self.epoch {
            return refused("is of another epoch");
        }
        if head.time < self.end_time {
            return refused("is older than the change before");
        }
        if head.events_before != self.end_events {
            return refused("miscounts the events before it");
        }
        if change.bodies.len() != head.kind.added_chunks().len() {
            return refused("has bodies that do not match its head");
        }
        Ok(Self {
            epoch: self.epoch,
            end_epoch: self.epoch,
            end: head.revision,
            end_time: head.time,
            end_events: self.end_events + u64::from(head.kind.num_events()),
        })
    }
}
