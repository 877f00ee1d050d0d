//! The writer: the one place where changes are made.
//!
//! A thread of its own takes what waits in the mailbox, admits it, appends it to the log as one
//! durable commit, applies it, publishes the new state and tail, and answers; in that order, so
//! that nothing is acknowledged or delivered that is not durable and applied. The mailbox is
//! bounded: awaiting a place in it is the backpressure that reaches a client's socket. Commands
//! once submitted finish, whether or not their submitter still waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot, watch};

use super::Inner;
use super::admit::{Admission, Admitted, Touched};
use super::apply::Fold;
use super::document::{PreparedDocument, PreparedPatch};
use super::feed::Feed;
use super::metrics::Metrics;
use super::state::Published;
use super::tend::{Deed, IndexWork, Tended};
use super::terms::ReadTerms;
use crate::log::{AppendError, ChangeLog};
use crate::store::{Store, StoredRequest};
use crate::types::{
    BatchCounts, BatchFailure, BatchId, Change, ChangeHead, DocumentHead, DocumentId, EmbedderRef,
    Epoch, Error, ErrorKind, LibraryId, LibraryPatch, LibraryRef, Limits, NewLibrary, OnConflict,
    RequestId, Result, Revision, Timestamp,
};

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    CreateLibrary {
        new: Box<NewLibrary>,
        embedder: EmbedderRef,
        dimension: u32,
        request_id: Option<RequestId>,
    },
    UpdateLibrary {
        library: LibraryRef,
        patch: Box<LibraryPatch>,
        expected: Option<Revision>,
    },
    DeleteLibrary {
        library: LibraryRef,
        expected: Option<Revision>,
    },
    WriteDocument {
        library: LibraryId,
        document: Box<PreparedDocument>,
        on_conflict: OnConflict,
        batch_id: Option<BatchId>,
        request_id: Option<RequestId>,
    },
    UpdateDocument {
        library: LibraryId,
        id: DocumentId,
        patch: Box<PreparedPatch>,
        expected: Option<Revision>,
    },
    DeleteDocument {
        library: LibraryId,
        id: DocumentId,
        expected: Option<Revision>,
    },
    StartBatch {
        library: LibraryId,
        batch_id: BatchId,
    },
    EndBatch {
        library: LibraryId,
        batch_id: BatchId,
        counts: BatchCounts,
        failure: Option<BatchFailure>,
    },
    /// A user asked for work on an index, and it is done.
    RecordIndex {
        library: LibraryId,
        done: IndexWork,
    },
    /// Change how a library's rows are indexed, not which.
    Tend {
        library: LibraryId,
        deed: Deed,
        /// What became of it, in place of the command's answer.
        tended: oneshot::Sender<Tended>,
    },
    /// Finish what came before, make everything durable, end.
    Close,
}

/// A command with the way to answer it.
pub(super) struct Submission {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<Outcome>>,
}

/// What became of a command.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is durable and applied.
    Written {
        /// The change that it became.
        change: Arc<ChangeHead>,
        /// The state right after its commit.
        state: Arc<Published>,
    },
    /// Nothing was written: the document exists and was to be left.
    Exists(Box<DocumentHead>),
    /// Nothing was written: the request was done before.
    Remembered(Revision, StoredRequest),
}

/// An answer that is on its way.
pub(super) struct Answer(oneshot::Receiver<Result<Outcome>>);

impl Answer {
    /// Waits for it. Dropping this does not take the command back.
    pub(super) async fn wait(self) -> Result<Outcome> {
        self.0.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn closed() -> Error {
    Error::unavailable("the server is shutting down")
}

impl Inner {
    /// Puts a command into the mailbox, waiting for a place; the answer comes later.
    pub(super) async fn submit(&self, command: Command) -> Result<Answer> {
        let (answer, receiver) = oneshot::channel();
        let sent = self.mailbox.send(Submission { command, answer }).await;
        sent.map(|()| Answer(receiver)).map_err(|_| closed())
    }

    /// Submits a command and waits for its answer.
    pub(super) async fn write(&self, command: Command) -> Result<Outcome> {
        self.submit(command).await?.wait().await
    }
}

/// How often an append with an unknown outcome is looked into before the writer gives up.
const UNKNOWN_TRIES_MAX: u32 = 6;
/// How long the first of those tries waits; each waits twice as long as the one before.
const UNKNOWN_WAIT: Duration = Duration::from_millis(50);

/// The writer's own things; lives on its thread.
pub(super) struct Writer {
    pub(super) limits: Limits,
    pub(super) log: Arc<dyn ChangeLog>,
    pub(super) store: Store,
    pub(super) fold: Fold,
    /// The log's end, as this writer knows it.
    pub(super) end: Revision,
    pub(super) epoch: Epoch,
    pub(super) publish: Publisher,
    pub(super) failure: Arc<ArcSwapOption<String>>,
    pub(super) metrics: Arc<Metrics>,
}

/// What became of commands that are changes now, one of each for a change.
#[derive(Default)]
struct Made {
    answers: Vec<oneshot::Sender<Result<Outcome>>>,
    changes: Vec<Change>,
    /// What was read of their texts.
    terms: Vec<ReadTerms>,
}

/// Where a new state goes.
pub(super) struct Publisher {
    pub(super) state: Arc<arc_swap::ArcSwap<Published>>,
    pub(super) feed: Arc<Feed>,
    pub(super) tail: watch::Sender<Revision>,
}

impl Publisher {
    /// State first, then the feed's window, then the tail that wakes everybody.
    fn publish(&self, state: &Arc<Published>, heads: &[Arc<ChangeHead>]) {
        self.state.store(Arc::clone(state));
        self.feed.publish(heads);
        self.tail.send_replace(state.applied.revision);
    }
}

/// Why a commit did not happen.
enum CommitError {
    /// Nothing was written; the writer goes on.
    Refused(Error),
    /// The writer is done for; what became of the commit is not known.
    Fatal(String),
}

impl Writer {
    /// Works until it is told to close or every sender is gone.
    pub(super) fn run(
        mut self,
        mut mailbox: mpsc::Receiver<Submission>,
        runtime: &tokio::runtime::Handle,
    ) {
        let mut carried: Option<Submission> = None;
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = carried.take().or_else(|| mailbox.blocking_recv()) else { break };
            let (batch, rest) = self.gather(first, &mut mailbox);
            match rest {
                Some(Submission { command: Command::Close, answer }) => closing = Some(answer),
                rest => carried = rest,
            }
            self.work(batch, runtime);
        }
        mailbox.close();
        self.close(runtime);
        if let Some(answer) = closing {
            let _ = answer.send(Err(closed()));
        }
    }

    /// Takes what waits, as far as it fits into one commit; a command that must not share this
    /// commit comes back as the second value.
    fn gather(
        &self,
        first: Submission,
        mailbox: &mut mpsc::Receiver<Submission>,
    ) -> (Vec<Submission>, Option<Submission>) {
        let mut touched: HashSet<Touched> = HashSet::new();
        let mut bytes = 0;
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(submission) = next {
            let touches = submission.command.touches();
            let alone = touches.contains(&Touched::All);
            let closing = matches!(submission.command, Command::Close);
            let clash = touches.iter().any(|one| touched.contains(one));
            if closing || (!batch.is_empty() && (alone || clash)) {
                return (batch, Some(submission));
            }
            bytes += submission.command.bytes();
            touched.extend(touches);
            batch.push(submission);
            let full = batch.len() >= self.limits.commit_changes_max
                || bytes >= self.limits.commit_bytes_target;
            if alone || full {
                break;
            }
            next = mailbox.try_recv().ok();
        }
        (batch, None)
    }

    fn work(&mut self, batch: Vec<Submission>, runtime: &tokio::runtime::Handle) {
        if let Some(reason) = self.failure.load_full() {
            for Submission { answer, .. } in batch {
                let _ = answer.send(Err(refused(&reason)));
            }
            return;
        }
        let batch = self.tend(batch);
        let Made { answers: pending, changes, terms } = self.admit(batch);
        if changes.is_empty() {
            return;
        }
        let began = Instant::now();
        match self.commit(&changes, terms, runtime) {
            Ok(state) => {
                let heads: Vec<_> =
                    changes.into_iter().map(|change| Arc::new(change.head)).collect();
                self.publish.publish(&state, &heads);
                self.metrics.committed(heads.len(), began);
                for (change, answer) in heads.into_iter().zip(pending) {
                    let state = Arc::clone(&state);
                    let _ = answer.send(Ok(Outcome::Written { change, state }));
                }
            }
            Err(CommitError::Refused(error)) => {
                for answer in pending {
                    let _ = answer.send(Err(error.clone()));
                }
            }
            Err(CommitError::Fatal(reason)) => {
                tracing::error!(reason, "the writer stops: no more writes until a restart");
                self.failure.store(Some(Arc::new(reason.clone())));
                for answer in pending {
                    let detail = format!("it is not known whether this was written: {reason}");
                    let _ = answer.send(Err(Error::unavailable(detail)));
                }
            }
        }
    }

    /// Does what is no change, and gives back the rest.
    fn tend(&mut self, batch: Vec<Submission>) -> Vec<Submission> {
        let mut rest = Vec::with_capacity(batch.len());
        for Submission { command, answer } in batch {
            let Command::Tend { library, deed, tended } = command else {
                rest.push(Submission { command, answer });
                continue;
            };
            let done = self.fold.tend(library, deed);
            if let Some(done) = &done {
                self.publish.state.store(Arc::clone(&done.state));
            }
            // Who asked may be gone; what is done is done.
            let _ = done.map(|done| tended.send(done));
        }
        rest
    }

    /// Turns commands into changes; answers at once those that write nothing.
    fn admit(&self, batch: Vec<Submission>) -> Made {
        let applied = self.fold.state().applied;
        let time = Timestamp::now().max(applied.time);
        let mut revision = self.end.max(applied.revision);
        let mut events = applied.events;
        let mut made = Made::default();
        for Submission { command, answer } in batch {
            let admission = Admission {
                fold: &self.fold,
                limits: &self.limits,
                revision: revision.next(),
                time,
            };
            let draft = match admission.admit(command) {
                Ok(Admitted::Change(draft)) => draft,
                Ok(Admitted::Exists(head)) => {
                    let _ = answer.send(Ok(Outcome::Exists(head)));
                    continue;
                }
                Ok(Admitted::Remembered(at, request)) => {
                    let _ = answer.send(Ok(Outcome::Remembered(at, request)));
                    continue;
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                    continue;
                }
            };
            revision = revision.next();
            let head = ChangeHead {
                epoch: self.epoch,
                revision,
                time,
                events_before: events,
                library_id: draft.library_id,
                batch_id: draft.batch_id,
                request_id: draft.request_id,
                kind: draft.kind,
            };
            events += u64::from(head.kind.num_events());
            made.changes.push(Change { head, bodies: draft.bodies });
            made.terms.push(draft.terms);
            made.answers.push(answer);
        }
        made
    }

    fn commit(
        &mut self,
        changes: &[Change],
        terms: Vec<ReadTerms>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Arc<Published>, CommitError> {
        runtime.block_on(append(&*self.log, self.end, changes))?;
        if let Some(last) = changes.last() {
            self.end = last.head.revision;
        }
        self.fold.apply(changes, terms).map_err(|error| {
            CommitError::Fatal(format!("the store failed; the log has the changes: {error}"))
        })
    }

    fn close(&self, runtime: &tokio::runtime::Handle) {
        if let Err(error) = self.store.persist() {
            tracing::error!(%error, "the store could not be made durable; the log has the changes");
        }
        if let Err(error) = runtime.block_on(self.log.close()) {
            tracing::error!(%error, "the log could not be closed");
        }
    }
}

fn refused(reason: &str) -> Error {
    Error::unavailable(format!("no more writes until the server is restarted: {reason}"))
}

/// Appends, and finds out what became of it when the log cannot tell.
async fn append(
    log: &dyn ChangeLog,
    expected_end: Revision,
    changes: &[Change],
) -> Result<(), CommitError> {
    let mut unknown = None;
    for attempt in 0..UNKNOWN_TRIES_MAX {
        match log.append(expected_end, changes).await {
            Ok(()) => return Ok(()),
            Err(AppendError::Refused(reason)) if unknown.is_none() => {
                let detail = format!("the log refused the write: {reason}");
                return Err(CommitError::Refused(Error::new(ErrorKind::Unavailable, detail)));
            }
            Err(AppendError::Closed(reason)) => return Err(CommitError::Fatal(reason)),
            // After an unknown outcome the log may end with this very append.
            Err(AppendError::Stale { end }) => match unknown {
                Some(_) if ends_with(log, expected_end, changes).await => return Ok(()),
                _ => {
                    let reason = AppendError::Stale { end }.to_string();
                    return Err(CommitError::Fatal(reason));
                }
            },
            // A refusal speaks of this attempt; an earlier one may be in the log, or get there.
            Err(AppendError::Unknown(reason) | AppendError::Refused(reason)) => {
                tracing::warn!(reason, "append with unknown outcome; looking into the log");
                if ends_with(log, expected_end, changes).await {
                    return Ok(());
                }
                unknown = Some(reason);
                tokio::time::sleep(UNKNOWN_WAIT * 2u32.pow(attempt)).await;
            }
        }
    }
    Err(CommitError::Fatal(unknown.unwrap_or_default()))
}

/// Whether what follows `after` in the log is exactly these changes.
async fn ends_with(log: &dyn ChangeLog, after: Revision, changes: &[Change]) -> bool {
    let (mut at, mut left) = (after, changes);
    while !left.is_empty() {
        let Ok(read) = log.read_changes(at, 1 << 20).await else { return false };
        if read.is_empty() || read.len() > left.len() || read != left[..read.len()] {
            return false;
        }
        left = &left[read.len()..];
        at = read.last().map_or(at, |change| change.head.revision);
    }
    log.bounds().await.is_ok_and(|bounds| bounds.end == at)
}

impl Command {
    /// About how many bytes of log it makes.
    fn bytes(&self) -> usize {
        let chunks = match self {
            Self::WriteDocument { document, .. } => document.chunks.as_slice(),
            Self::UpdateDocument { patch, .. } => patch.chunks.as_deref().unwrap_or(&[]),
            Self::CreateLibrary { .. }
            | Self::UpdateLibrary { .. }
            | Self::DeleteLibrary { .. }
            | Self::DeleteDocument { .. }
            | Self::StartBatch { .. }
            | Self::EndBatch { .. }
            | Self::RecordIndex { .. }
            | Self::Tend { .. }
            | Self::Close => &[],
        };
        let chunk = |chunk: &super::document::PreparedChunk| {
            chunk.text.len() + 4 * chunk.vector.as_slice().len() + 64
        };
        512 + chunks.iter().map(chunk).sum::<usize>()
    }
}
