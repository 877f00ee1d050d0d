//! The engine: the only facade; transports know nothing else.
//!
//! Every read runs on one published state (store snapshot, index views, revision), so it is
//! consistent and never waits for a write; every write goes through the one writer.

mod admit;
mod apply;
mod ceiling;
pub mod changes;
pub mod consumers;
pub mod document;
mod embedding;
pub mod export;
mod feed;
#[cfg(test)]
mod fixture;
pub mod indexing;
pub mod ingest;
mod keep;
pub mod library;
mod matches;
pub mod matching;
mod metrics;
pub mod mode;
mod past;
mod purge;
mod ranking;
pub mod recall;
mod recover;
mod requests;
mod resume;
mod retention;
mod run;
pub mod search;
mod select;
mod shelf;
#[cfg(test)]
mod small;
pub mod snapshot;
mod split;
mod state;
mod subscription;
mod tend;
mod terms;
mod text_shelf;
mod touched;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::embed::Embedder;
use crate::log::ChangeLog;
use crate::store::StoreError;
use crate::types::{Error, ErrorKind, Limits, Result, Revision};
use consumers::Registry;
use feed::Feed;
use matches::Matches;
use metrics::Metrics;
use state::Published;
use tend::Tender;
use writer::{Command, Submission};

pub use recover::OpenError;

/// What an engine is opened with, besides its store and its log.
#[derive(Clone)]
pub struct EngineOptions {
    /// The limits in force.
    pub limits: Limits,
    /// The embedders that libraries can be made with, by configured name; `default` is one.
    pub embedders: Vec<(String, Arc<dyn Embedder>)>,
    /// What of the indexes is kept on disk; `None`: nothing, they are built anew after each start.
    pub index: Option<IndexOptions>,
    /// Cancelled when the server begins to shut down.
    pub shutdown: CancellationToken,
}

/// What of the indexes is kept on disk.
#[derive(Debug, Clone)]
pub struct IndexOptions {
    /// The folder; made when it does not exist. Graphs are kept there either way.
    pub folder: PathBuf,
    /// Where vectors are that searches want exact distances of.
    pub vectors: IndexVectors,
}

/// Where an index has its vectors in single precision, which exact distances are computed with;
/// their codes of one byte a number are in memory either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexVectors {
    /// In memory: 4 bytes a number of each chunk.
    Memory,
    /// In files, once they lie still: searches read some dozens of them.
    #[default]
    Disk,
}

/// The database. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    limits: Limits,
    shutdown: CancellationToken,
    embedders: Vec<(String, Arc<dyn Embedder>)>,
    log: Arc<dyn ChangeLog>,
    /// What all reads see; replaced as a whole by the writer after each commit.
    published: Arc<ArcSwap<Published>>,
    /// The published revision, for those who wait for one.
    tail: watch::Receiver<Revision>,
    /// The way to the writer; closed by [`Engine::close`].
    mailbox: mpsc::Sender<Submission>,
    feed: Arc<Feed>,
    consumers: Registry,
    metrics: Arc<Metrics>,
    /// Builds graphs and gives back space.
    tender: Tender,
    /// Why writes are refused for good, once they are.
    failure: Arc<ArcSwapOption<String>>,
    /// Ends what runs in the background and needs the engine, also when it is dropped.
    _life: DropGuard,
    /// Ranks searches; bounded by `searches` in what waits for it.
    search_pool: rayon::ThreadPool,
    searches: Semaphore,
    /// What filters of searches look at.
    matches: Arc<Matches>,
    ingests: Arc<Semaphore>,
    /// Background work that must end before the store closes.
    tasks: TaskTracker,
    writer: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("tail", &self.tail()).finish_non_exhaustive()
    }
}

/// From which revision on a read is good enough, and how long it may wait for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadAt {
    /// The read sees at least this revision; `None`: what is there now.
    pub min_revision: Option<Revision>,
    /// How long to wait for it before `deadline-exceeded`; `None` or more than
    /// `limits.min_revision_wait_ms`: that limit.
    pub timeout: Option<Duration>,
}

impl Engine {
    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Cancelled when the server begins to shut down: open streams end then.
    #[must_use]
    pub fn shutdown_token(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    /// Whether writes and reads are served; otherwise why not, for `/ready` and the health
    /// service.
    pub fn readiness(&self) -> Result<(), String> {
        if let Some(reason) = self.inner.failure.load_full() {
            return Err(reason.to_string());
        }
        match self.inner.shutdown.is_cancelled() {
            true => Err("shutting down".to_owned()),
            false => Ok(()),
        }
    }

    /// The highest revision that reads see now.
    #[must_use]
    pub fn tail(&self) -> Revision {
        *self.inner.tail.borrow()
    }

    /// Ends the engine: the writer finishes what it was given, then store and log are made
    /// durable and closed. Call it after the transports have ended; writes submitted later are
    /// `unavailable`.
    pub async fn close(&self) {
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        // A closed mailbox would need every clone of the sender gone; the command works with
        // clones still about.
        if self.inner.submit(Command::Close).await.is_err() {
            tracing::debug!("the writer had ended before");
        }
        let thread = self.inner.writer.lock().ok().and_then(|mut thread| thread.take());
        let joined = tokio::task::spawn_blocking(move || thread.map(std::thread::JoinHandle::join));
        if !matches!(joined.await, Ok(None | Some(Ok(())))) {
            tracing::error!("the writer ended by a panic");
        }
    }

    /// The state that a read runs on, waiting for `min_revision` first.
    async fn state_at(&self, at: ReadAt) -> Result<Arc<Published>> {
        let Some(wanted) = at.min_revision else { return Ok(self.inner.published.load_full()) };
        let longest = Duration::from_millis(self.inner.limits.min_revision_wait_ms);
        let wait = at.timeout.unwrap_or(longest).min(longest);
        let mut tail = self.inner.tail.clone();
        let reached = tokio::time::timeout(wait, tail.wait_for(|tail| *tail >= wanted)).await;
        match reached {
            Ok(Ok(_)) => Ok(self.inner.published.load_full()),
            Ok(Err(_)) => Err(Error::unavailable("the server is shutting down")),
            Err(_) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!(
                    "min_revision {wanted} was not reached within {} ms; the last revision is {}",
                    wait.as_millis(),
                    self.tail()
                ),
            )),
        }
    }

    /// Runs a blocking read off the async threads.
    async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result.map_err(store_error),
            Err(_) => Err(Error::internal("a read ended by a panic; the server's log has it")),
        }
    }
}

/// Tells the caller what to do about a store failure; the details go to the server's log.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn store_error(error: StoreError) -> Error {
    tracing::error!(%error, "store read failed");
    match error {
        StoreError::Engine(_) | StoreError::InUse(_) => {
            Error::unavailable("the store could not be read")
        }
        StoreError::Corrupt { .. } | StoreError::Format(_) => {
            Error::new(ErrorKind::Corrupt, "stored bytes are damaged; see the server's log")
        }
    }
}

#[cfg(test)]
mod tests;
