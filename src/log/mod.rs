//! The change log: the one ordered, durable record of everything that happened.
//!
//! # The contract
//!
//! Every backend keeps these promises; the conformance suite in `contract` tests them.
//!
//! 1. **Order.** Changes are read in the order in which they were appended; revisions strictly
//!    increase along the log, gaps allowed.
//! 2. **One proposer at a time.** An append says which revision it believes to be the last. If
//!    another one is last, nothing is written and the answer is [`AppendError::Stale`]: two
//!    writers can never both succeed from the same state.
//! 3. **All or nothing, as far as anyone can see.** The changes of one append become readable
//!    together, after they are durable; after a crash either none of them is there or, where the
//!    crash came in the middle, a prefix of them that nobody was told about.
//! 4. **Durable before `Ok`.** When `append` answers `Ok`, its changes survive whatever the
//!    backend's durability setting promises to survive. Nothing is readable before that. Where
//!    that promise turns out broken (unsynced changes lost with the power), the log opens with a
//!    new epoch: rule 9.
//! 5. **Unknown is said.** When a backend cannot tell whether an append took effect it answers
//!    [`AppendError::Unknown`]; the caller finds out by asking for [`ChangeLog::bounds`] and
//!    reading. A repeat of the same append with the same expected tail is then safe: rule 2.
//! 6. **A broken log stays broken.** After [`AppendError::Closed`] no append succeeds until the
//!    log is opened anew; reads go on. A failed fsync is never retried.
//! 7. **Reads** give a contiguous run of changes after a revision, or
//!    [`ReadError::Trimmed`] when some of them are gone. They never skip. Changes before damage
//!    are given; [`ReadError::Corrupt`] is for who reads on from there.
//! 8. **Trim** drops whole pieces from the front, never past what it was told, and moves the floor
//!    before any byte goes, so that a reader is refused rather than shown a hole.
//! 9. **Epochs** are history's names. Every change carries the epoch it was written in; the epochs
//!    of a log form contiguous spans. (epoch, revision) is never reused. An epoch changes only
//!    when a log is opened, never under a writer.
//! 10. **Cancellation.** Dropping the future of a read has no effect. Dropping the future of an
//!     append leaves its outcome unknown, as in rule 5.

#[cfg(test)]
mod contract;
pub mod embedded;
pub mod memory;
mod tail;

use std::sync::Arc;

use async_trait::async_trait;

use crate::types::{Change, ChangeHead, Epoch, Revision, Timestamp};

/// What a log holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBounds {
    /// The epochs that changes at or after the floor, and the next change, are of: each with the
    /// first revision that may belong to it, oldest first; never empty. The last is current.
    pub epochs: Vec<(Epoch, Revision)>,
    /// The epoch of the change right below the floor, which is gone; the first of `epochs` when
    /// there was never one.
    pub epoch_before: Epoch,
    /// The lowest revision from which a reader can read without a hole: reading after
    /// `floor − 1` works, after anything lower is [`ReadError::Trimmed`]. At least 1.
    pub floor: Revision,
    /// The highest durable revision; `floor − 1` or lower when the log holds nothing.
    pub end: Revision,
    /// The time of the change at `end`; zero when there was never one.
    pub end_time: Timestamp,
    /// How many events the log has ever held, up to and including `end`.
    pub end_events: u64,
    /// Bytes on disk (or in memory, for a log that lives there).
    pub bytes: u64,
}

impl LogBounds {
    /// The epoch that the next change is written in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epochs.last().map_or(Epoch(0), |(epoch, _)| *epoch)
    }
}

/// Why an append did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another writer appended; nothing of this append was written.
    #[error(
        "the log ends at revision {end}, not where this writer believed: another writer took over"
    )]
    Stale {
        /// The log's true end.
        end: Revision,
    },
    /// Nothing of this append was written; a later one may succeed.
    #[error("{0}")]
    Refused(String),
    /// Whether it was written is not known: rule 5.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The log takes no more appends; whether this one survives a restart is not known.
    #[error("the log is closed for writing: {0}")]
    Closed(String),
}

/// Why a read did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Some of the changes asked for are trimmed away.
    #[error("trimmed up to revision {floor}")]
    Trimmed {
        /// The lowest revision that is left.
        floor: Revision,
    },
    /// Stored bytes are damaged.
    #[error("damaged: {0}")]
    Corrupt(String),
    /// The backend could not be reached or read.
    #[error("{0}")]
    Io(String),
}

/// Ordered, durable store of changes. The module's documentation is its contract.
#[async_trait]
pub trait ChangeLog: Send + Sync + 'static {
    /// What the log holds now.
    async fn bounds(&self) -> Result<LogBounds, ReadError>;

    /// Appends changes that the caller has numbered: revisions greater than `expected_end` and
    /// strictly increasing, the current epoch, times that never fall, `events_before` without a
    /// gap; anything else is [`AppendError::Refused`]. No changes at all: only rule 2 is checked.
    /// Durable when it answers `Ok`. May block its thread on the disk: call it from one that may.
    async fn append(&self, expected_end: Revision, changes: &[Change]) -> Result<(), AppendError>;

    /// Reads heads of the changes after `after`, oldest first, up to `bytes_target` bytes of heads
    /// as stored, but at least one when there is one. Empty at the end of the log and beyond.
    async fn read_heads(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Arc<ChangeHead>>, ReadError>;

    /// The same with whole changes; `bytes_target` counts heads and bodies.
    async fn read_changes(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Change>, ReadError>;

    /// The revision after which to read to get the first change made at `time` or later: never
    /// below `floor − 1`, the end when all are earlier.
    async fn seek(&self, time: Timestamp) -> Result<Revision, ReadError>;

    /// The lowest revision to [`trim`](Self::trim) through so that at most `bytes_max` bytes stay;
    /// when the piece that is appended to is more than that by itself, the lowest that leaves only
    /// it. `floor − 1` when nothing has to go.
    async fn excess(&self, bytes_max: u64) -> Result<Revision, ReadError>;

    /// Drops as many whole pieces as lie entirely at or below `through`, never the one that is
    /// appended to; gives the new floor.
    async fn trim(&self, through: Revision) -> Result<Revision, ReadError>;

    /// Makes everything durable that is not yet (`durability = os`) and marks the log as cleanly
    /// closed. Appends and a second close are [`AppendError::Closed`] from then on. May block its
    /// thread on the disk.
    async fn close(&self) -> Result<(), AppendError>;
}
