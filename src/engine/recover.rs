//! Opening: load the store, apply what the log has beyond it, close what a crash cut, start the
//! writer.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::task::TaskTracker;

use super::apply::Fold;
use super::consumers::Registry;
use super::feed::Feed;
use super::matches::Matches;
use super::metrics::Metrics;
use super::shelf::Shelf;
use super::tend::{self, Tender};
use super::text_shelf::TextShelf;
use super::writer::{Command, Publisher, Writer};
use super::{Engine, EngineOptions, IndexOptions, IndexVectors, Inner, keep, purge, retention};
use crate::log::{ChangeLog, ReadError};
use crate::store::{Store, StoreError};
use crate::types::{BatchCounts, BatchFailure, Limits, Revision};

/// Why the engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be read.
    #[error("log: {0}")]
    Log(#[from] ReadError),
    /// Log and store do not fit together.
    #[error(
        "the log begins at revision {floor} but the store has applied only up to {applied}: \
         the changes between are gone. Restore the whole data folder from one backup"
    )]
    Gap {
        /// The log's floor.
        floor: Revision,
        /// What the store has applied.
        applied: Revision,
    },
    /// A thread or pool could not be started.
    #[error("could not start a thread: {0}")]
    Thread(String),
}

/// Log read at once during recovery.
const RECOVER_BYTES: usize = 8 << 20;

impl Engine {
    /// Opens the database over a store and a log: applies what the log has beyond the store,
    /// closes batches that a crash cut (`batch.failed`, `interrupted`), and starts the writer.
    /// Must be called within a tokio runtime. Takes time in proportion to the chunks stored.
    pub async fn open(
        store: Store,
        log: Arc<dyn ChangeLog>,
        options: EngineOptions,
    ) -> Result<Self, OpenError> {
        let limits = options.limits;
        let loading = (store.clone(), limits.clone(), options.index);
        let load = move || {
            let (store, limits, index) = loading;
            let consumers = store.consumers()?;
            let mut texts = index.as_ref().and_then(open_text_shelf);
            let mut shelf = index.and_then(|index| open_shelf(index, &store, &limits));
            let fold = Fold::load(store, &limits, shelf.as_mut(), texts.as_mut())?;
            Ok::<_, StoreError>((fold, consumers, shelf, texts))
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        let (fold, consumers, shelf, texts) =
            loaded.map_err(|error| OpenError::Thread(error.to_string()))??;
        let mut fold = replay(fold, &*log).await?;
        let bounds = log.bounds().await?;
        fold.follow(&bounds);

        let state = Arc::clone(fold.state());
        let (tail, tail_receiver) = watch::channel(state.applied.revision);
        let published = Arc::new(ArcSwap::new(Arc::clone(&state)));
        let feed = Arc::new(Feed::new(&limits, state.applied, bounds.epoch()));
        let metrics = Arc::new(Metrics::new());
        let failure = Arc::new(ArcSwapOption::empty());
        let (mailbox, submissions) = mpsc::channel(limits.writer_mailbox_max);
        let writer = Writer {
            limits: limits.clone(),
            log: Arc::clone(&log),
            store: store.clone(),
            fold,
            end: bounds.end,
            epoch: bounds.epoch(),
            publish: Publisher { state: Arc::clone(&published), feed: Arc::clone(&feed), tail },
            failure: Arc::clone(&failure),
            metrics: Arc::clone(&metrics),
        };
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer.run(submissions, &runtime))
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        let search_pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|n| format!("search-{n}"))
            .build()
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        let (consumers, committer) = Registry::new(consumers, &store, &limits);
        let (tender, tending) =
            Tender::new(&limits).map_err(|error| OpenError::Thread(error.to_string()))?;
        let life = options.shutdown.child_token();
        let engine = Self {
            inner: Arc::new(Inner {
                searches: Semaphore::new(limits.searches_waiting_max),
                matches: Arc::new(Matches::new(limits.filter_memory_bytes_max)),
                ingests: Arc::new(Semaphore::new(limits.ingest_streams_max)),
                limits,
                shutdown: options.shutdown,
                embedders: options.embedders,
                log,
                published,
                tail: tail_receiver,
                mailbox,
                feed,
                consumers,
                metrics,
                tender,
                failure,
                _life: life.clone().drop_guard(),
                search_pool,
                tasks: TaskTracker::new(),
                writer: std::sync::Mutex::new(Some(thread)),
            }),
        };
        engine.inner.tasks.spawn(committer.run(engine.inner.shutdown.clone()));
        engine.close_cut_batches(&store).await?;
        purge::start(&engine, store.clone());
        tend::start(&engine, tending, texts, life.clone());
        keep::start(&engine, shelf, life.clone());
        retention::start(&engine, store, life);
        Ok(engine)
    }

    async fn close_cut_batches(&self, store: &Store) -> Result<(), OpenError> {
        for (batch_id, batch) in store.snapshot().batches()? {
            let command = Command::EndBatch {
                library: batch.library_id,
                batch_id,
                counts: BatchCounts::default(),
                failure: Some(BatchFailure::Interrupted),
            };
            if let Err(error) = self.inner.write(command).await {
                tracing::error!(%error, %batch_id, "a batch that a crash cut could not be closed");
            }
        }
        Ok(())
    }
}

/// All of it can be made again, so the server starts without the folder too.
fn open_shelf(index: IndexOptions, store: &Store, limits: &Limits) -> Option<Shelf> {
    let IndexOptions { folder, vectors } = index;
    let store = match vectors {
        IndexVectors::Memory => None,
        IndexVectors::Disk => Some(store.clone()),
    };
    let shelf = Shelf::open(folder.clone(), store, limits.index_file_rows_min);
    shelf
        .inspect_err(|error| {
            tracing::error!(folder = %folder.display(), %error, "the index is not kept on disk");
        })
        .ok()
}

fn open_text_shelf(index: &IndexOptions) -> Option<TextShelf> {
    let folder = index.folder.join("text");
    TextShelf::open(folder.clone())
        .inspect_err(|error| {
            tracing::error!(folder = %folder.display(), %error, "text indexes are not kept on disk");
        })
        .ok()
}

/// Applies what the log has beyond the store.
async fn replay(mut fold: Fold, log: &dyn ChangeLog) -> Result<Fold, OpenError> {
    let bounds = log.bounds().await?;
    let applied = fold.state().applied.revision;
    if applied.next() < bounds.floor {
        return Err(OpenError::Gap { floor: bounds.floor, applied });
    }
    loop {
        let applied = fold.state().applied.revision;
        if applied >= bounds.end {
            break;
        }
        let changes = log.read_changes(applied, RECOVER_BYTES).await?;
        if changes.is_empty() {
            break;
        }
        tracing::info!(from = %applied, changes = changes.len(), "applying the log");
        fold = tokio::task::spawn_blocking(move || fold.apply(&changes, Vec::new()).map(|_| fold))
            .await
            .map_err(|error| OpenError::Thread(error.to_string()))??;
    }
    Ok(fold)
}
