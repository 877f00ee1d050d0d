//! Tending the indexes: hides when graphs are built and space is given back, and on which threads.
//!
//! One task looks at every library now and then, does what its index wants done, one thing at a
//! time, and what users ask for before that. What takes long runs on a pool of its own, of few
//! threads that wait while others have work; what changes an index is done by the writer, between
//! two commits. Searches go on meanwhile, on the state that there is.
//!
//! It also keeps text indexes on disk, from time to time and once more at the end, so that a start
//! need not read all texts.
//!
//! All of it is this node's own business: nothing is logged but that a user's work is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::library::revision_written;
use super::state::{LibraryState, Published};
use super::text_shelf::{TextShelf, keep_texts};
use super::writer::Command;
use crate::index::{BuildError, Built, Outworn, Policy, Progress, Task, Urge, View, Work};
use crate::types::{
    ChangeKind, Error, ErrorKind, IndexType, LibraryId, Limits, Result, Revision, background,
};

/// A change of an index that changes no row; for the writer.
#[derive(Debug)]
pub(super) enum Deed {
    /// Let the rows that are there lie still.
    Seal,
    /// Take graphs off and merge what is half dead, a little of it.
    Compact(Outworn),
    /// Put a graph in place.
    Install(Box<Built>),
    /// Count the memory anew: vectors went to disk.
    Recount,
}

/// What became of a deed.
#[derive(Debug)]
pub(super) struct Tended {
    /// The state with it.
    pub(super) state: Arc<Published>,
    /// Its library.
    pub(super) library: Arc<LibraryState>,
    /// Compact: nothing more is left to do. Install: the graph is in place.
    pub(super) done: bool,
}

/// Work on an index that a user asked for and that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexWork {
    /// It was built anew.
    Rebuilt {
        /// The kind that it has now.
        index_type: IndexType,
    },
    /// Its segments were merged.
    Optimized {
        /// Segments before.
        segments_before: u32,
        /// Segments after.
        segments_after: u32,
    },
}

impl From<IndexWork> for ChangeKind {
    fn from(work: IndexWork) -> Self {
        match work {
            IndexWork::Rebuilt { index_type } => Self::IndexRebuilt { index_type },
            IndexWork::Optimized { segments_before, segments_after } => {
                Self::IndexOptimized { segments_before, segments_after }
            }
        }
    }
}

/// What a user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Build anew, as this kind if one is given.
    Rebuild(Option<IndexType>),
    /// Merge all segments into as few as may be, and give back what removed rows take.
    Optimize,
}

struct Request {
    library: LibraryId,
    wish: Wish,
    answer: oneshot::Sender<Result<Revision>>,
}

/// A graph that is being built.
#[derive(Debug, Clone)]
struct Building {
    library: LibraryId,
    progress: Progress,
    rows: usize,
}

/// How to ask for work on indexes, and what is being done.
#[derive(Debug)]
pub(super) struct Tender {
    requests: mpsc::Sender<Request>,
    building: Arc<Mutex<Option<Building>>>,
}

/// How often it is looked whether a library that is being worked on is still there.
const GONE_INTERVAL: Duration = Duration::from_millis(100);
/// How often work on rows that were moved meanwhile is done again before it is given up.
const TRIES_MAX: usize = 3;
/// Rows must have grown by this factor before vectors that graphs do not serve are tried again.
const UNSUITED_GROWTH: usize = 2;

/// What the task that tends needs.
pub(super) struct Start {
    requests: mpsc::Receiver<Request>,
    building: Arc<Mutex<Option<Building>>>,
    pool: rayon::ThreadPool,
}

impl Tender {
    /// Nothing happens before [`start`].
    pub(super) fn new(limits: &Limits) -> Result<(Self, Start), rayon::ThreadPoolBuildError> {
        // Half of the cores: searches and the writer have the rest, and the others as well while
        // they have work.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads((cores / 2).max(1))
            .thread_name(|n| format!("index-{n}"))
            .start_handler(|_| background::lower_priority())
            .build()?;
        let (sender, requests) = mpsc::channel(limits.index_requests_max);
        let building = Arc::new(Mutex::new(None));
        let tender = Self { requests: sender, building: Arc::clone(&building) };
        Ok((tender, Start { requests, building, pool }))
    }

    /// Rows that are linked and rows that will be, of the graph that is being built for a library.
    pub(super) fn building(&self, library: LibraryId) -> Option<(u64, u64)> {
        let building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let building = building.as_ref().filter(|building| building.library == library)?;
        Some((building.progress.rows().0, building.rows as u64))
    }

    /// Asks for work and waits until it is done; gives the revision of the change that says so.
    /// The work goes on when the future is dropped.
    pub(super) async fn ask(&self, library: LibraryId, wish: Wish) -> Result<Revision> {
        let (answer, done) = oneshot::channel();
        let request = Request { library, wish, answer };
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                let detail = "too much work on indexes waits already (index_requests_max)";
                Error::new(ErrorKind::ResourceExhausted, detail).retry_after(Duration::from_secs(1))
            }
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        done.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn closed() -> Error {
    Error::unavailable("the server is shutting down")
}

/// Starts the background task; it ends with the engine, which it does not keep alive.
pub(super) fn start(
    engine: &Engine,
    start: Start,
    mut texts: Option<TextShelf>,
    life: CancellationToken,
) {
    let inner = Arc::downgrade(&engine.inner);
    let limits = &engine.inner.limits;
    let policy = Policy {
        graph_rows_min: limits.index_graph_rows_min,
        graph_rows_min_asked: limits.index_graph_rows_min_asked,
        graph_rows_max: limits.index_graph_rows_max,
    };
    let settle = Duration::from_millis(limits.index_settle_ms);
    let look_interval = Duration::from_millis(limits.index_look_ms);
    let text_age = Duration::from_millis(limits.text_keep_interval_ms);
    let Start { mut requests, building, pool } = start;
    let pool = Arc::new(pool);
    engine.inner.tasks.spawn(async move {
        let mut watched = HashMap::new();
        let mut wait = look_interval;
        let mut last = None;
        loop {
            let request = tokio::select! {
                biased;
                () = life.cancelled() => break,
                request = requests.recv() => request,
                () = tokio::time::sleep(wait) => None,
            };
            let Some(inner) = inner.upgrade() else { break };
            let round = Round {
                engine: Engine { inner },
                policy: &policy,
                pool: &pool,
                building: &building,
                life: &life,
            };
            if let Some(shelf) = texts.take() {
                let state = round.engine.inner.published.load_full();
                texts = keep_texts(shelf, &state, &pool, text_age).await;
            }
            match request {
                Some(request) => round.serve(request).await,
                None => last = round.look(&mut watched, last, settle).await,
            }
            // Where something was done there may be more.
            wait = if last.is_some() { Duration::ZERO } else { look_interval };
        }
        // What came since it was written last would be read again at the next start.
        if let (Some(inner), Some(shelf)) = (inner.upgrade(), texts) {
            let state = inner.published.load_full();
            keep_texts(shelf, &state, &pool, Duration::ZERO).await;
        }
    });
}

/// What is known of a library between two looks.
struct Watched {
    view: Arc<View>,
    since: Instant,
    /// Up to which urge there is nothing to do for this view.
    done: Option<Urge>,
    /// How many rows it had when a graph over them turned out to be of no use.
    unsuited_rows: usize,
}

/// One look at everything, or one request.
struct Round<'a> {
    engine: Engine,
    policy: &'a Policy,
    pool: &'a Arc<rayon::ThreadPool>,
    building: &'a Mutex<Option<Building>>,
    life: &'a CancellationToken,
}

/// Why work on an index ended.
enum Ended {
    /// It is done.
    Done,
    /// The rows were moved meanwhile: look again.
    Moved,
    /// Graphs do not serve these vectors.
    Unsuited(BuildError),
    /// The library or the engine is gone, or the builder failed.
    Failed(Error),
}

impl Round<'_> {
    /// Does one thing for the next library, behind `last`, that wants something; says which that
    /// was. `None` when none does.
    async fn look(
        &self,
        watched: &mut HashMap<LibraryId, Watched>,
        last: Option<LibraryId>,
        settle: Duration,
    ) -> Option<LibraryId> {
        let state = self.engine.inner.published.load_full();
        watched.retain(|library, _| state.libraries.contains_key(library));
        let mut libraries: Vec<_> = state.libraries.iter().collect();
        libraries.sort_unstable_by_key(|(id, _)| (Some(**id) <= last, **id));
        for (id, library) in libraries {
            let entry = watched.entry(*id).or_insert_with(|| Watched::new(&library.view));
            if !Arc::ptr_eq(&entry.view, &library.view) {
                let unsuited_rows = entry.unsuited_rows;
                *entry = Watched { unsuited_rows, ..Watched::new(&library.view) };
            }
            let urge = if entry.since.elapsed() < settle { Urge::Busy } else { Urge::Quiet };
            if entry.done >= Some(urge) || self.life.is_cancelled() {
                continue;
            }
            let suits = library.view.len() >= entry.unsuited_rows * UNSUITED_GROWTH;
            let name = library.library.name.as_str();
            match self.work(*id, library, urge, suits).await {
                None => {
                    entry.done = Some(urge);
                    continue;
                }
                Some(Ended::Unsuited(error)) => {
                    tracing::info!(library = name, %error, "no graph");
                    entry.unsuited_rows = library.view.len();
                }
                Some(Ended::Done | Ended::Moved) => {}
                Some(Ended::Failed(error)) => {
                    if !self.life.is_cancelled() {
                        tracing::error!(library = name, %error, "an index could not be tended");
                    }
                    // Not at once again.
                    entry.done = Some(urge);
                }
            }
            return Some(*id);
        }
        None
    }

    /// What the policy says comes first; `None` when that is nothing.
    async fn work(
        &self,
        id: LibraryId,
        library: &Arc<LibraryState>,
        urge: Urge,
        suits: bool,
    ) -> Option<Ended> {
        let kind = library.library.index_type;
        let mut view = Arc::clone(&library.view);
        let mut work = view.work(self.policy, kind, urge);
        if matches!(work, Work::Seal) && suits {
            match self.deed(id, Deed::Seal).await {
                Ok(tended) => view = Arc::clone(&tended.library.view),
                Err(error) => return Some(Ended::Failed(error)),
            }
            work = view.work(self.policy, kind, urge);
        }
        match work {
            Work::Compact(outworn) => Some(self.compact(id, outworn).await),
            Work::Build(task) if suits => Some(self.build(id, task).await),
            Work::Rest | Work::Seal | Work::Build(_) => None,
        }
    }

    async fn compact(&self, id: LibraryId, outworn: Outworn) -> Ended {
        loop {
            match self.deed(id, Deed::Compact(outworn.clone())).await {
                Ok(tended) if tended.done => return Ended::Done,
                // Commits come between the steps.
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return Ended::Failed(error),
            }
        }
    }

    /// Builds a graph and puts it in place.
    async fn build(&self, id: LibraryId, task: Task) -> Ended {
        let (rows, began) = (task.rows(), Instant::now());
        let progress = Progress::default();
        let building = Building { library: id, progress: progress.clone(), rows };
        self.set_building(Some(building));
        let built = self.run(id, task, &progress).await;
        self.set_building(None);
        let metrics = &self.engine.inner.metrics;
        match built {
            Ok(built) => {
                metrics.built(rows, began);
                match self.deed(id, Deed::Install(Box::new(built))).await {
                    Ok(tended) if tended.done => Ended::Done,
                    Ok(_) => Ended::Moved,
                    Err(error) => Ended::Failed(error),
                }
            }
            Err(error @ BuildError::Unsuited { .. }) => Ended::Unsuited(error),
            Err(BuildError::Stopped) => Ended::Failed(Error::unavailable("the build was stopped")),
            Err(error @ BuildError::Failed(_)) => {
                metrics.build_failed();
                Ended::Failed(Error::internal(error.to_string()))
            }
        }
    }

    /// Builds on the pool; stops when the library or the engine goes.
    async fn run(
        &self,
        id: LibraryId,
        task: Task,
        progress: &Progress,
    ) -> Result<Built, BuildError> {
        let (sender, mut built) = oneshot::channel();
        let within = progress.clone();
        self.pool.spawn(move || {
            let _ = sender.send(task.run(&within));
        });
        loop {
            tokio::select! {
                built = &mut built => {
                    return built.unwrap_or(Err(BuildError::Failed("its thread panicked")));
                }
                () = self.life.cancelled(), if !progress.is_stopped() => progress.stop(),
                () = tokio::time::sleep(GONE_INTERVAL), if !progress.is_stopped() => {
                    if !self.engine.inner.published.load().libraries.contains_key(&id) {
                        progress.stop();
                    }
                }
            }
        }
    }

    fn set_building(&self, building: Option<Building>) {
        *self.building.lock().unwrap_or_else(PoisonError::into_inner) = building;
    }

    async fn deed(&self, library: LibraryId, deed: Deed) -> Result<Tended> {
        self::deed(&self.engine, library, deed).await
    }

    async fn serve(&self, request: Request) {
        let Request { library, wish, answer } = request;
        let done = match wish {
            Wish::Rebuild(kind) => self.rebuild(library, kind).await,
            Wish::Optimize => self.optimize(library).await,
        };
        if let Err(error) = &done {
            tracing::info!(%library, %error, "work on an index was not done");
        }
        let _ = answer.send(done);
    }

    async fn rebuild(&self, id: LibraryId, kind: Option<IndexType>) -> Result<Revision> {
        let index_type = kind.unwrap_or(self.library(id)?.library.index_type);
        self.tidy(id, index_type).await?;
        self.build_all(id, index_type, true).await?;
        self.record(id, IndexWork::Rebuilt { index_type }).await
    }

    async fn optimize(&self, id: LibraryId) -> Result<Revision> {
        let library = self.library(id)?;
        let index_type = library.library.index_type;
        let segments_before = segments(&library);
        self.tidy(id, index_type).await?;
        self.build_all(id, index_type, false).await?;
        let library = self.library(id)?;
        let segments_after = segments(&library);
        self.record(id, IndexWork::Optimized { segments_before, segments_after }).await
    }

    /// Takes off graphs that are in the way and gives back the space of removed rows.
    async fn tidy(&self, id: LibraryId, kind: IndexType) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let view = Arc::clone(&self.library(id)?.view);
            let Work::Compact(outworn) = view.work(self.policy, kind, Urge::Asked) else { break };
            if let Ended::Failed(error) = self.compact(id, outworn).await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Builds the graphs that all rows of this moment should have: those that are there too, if
    /// `anew`.
    async fn build_all(&self, id: LibraryId, kind: IndexType, anew: bool) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let view = Arc::clone(&self.deed(id, Deed::Seal).await?.library.view);
            let mut moved = false;
            for task in view.tasks(self.policy, kind, anew) {
                match self.build(id, task).await {
                    Ended::Done => {}
                    Ended::Moved => moved = true,
                    Ended::Failed(error) => return Err(error),
                    Ended::Unsuited(error) => {
                        let detail = error.to_string();
                        return Err(Error::new(ErrorKind::FailedPrecondition, detail));
                    }
                }
            }
            if !moved {
                return Ok(());
            }
        }
        let detail = "so many rows are removed that no graph is finished in time; try again later";
        Err(Error::unavailable(detail))
    }

    async fn record(&self, library: LibraryId, done: IndexWork) -> Result<Revision> {
        revision_written(self.engine.inner.write(Command::RecordIndex { library, done }).await?)
    }

    fn library(&self, id: LibraryId) -> Result<Arc<LibraryState>> {
        let state = self.engine.inner.published.load();
        state.libraries.get(&id).map(Arc::clone).ok_or_else(gone)
    }
}

/// Has the writer do it.
pub(super) async fn deed(engine: &Engine, library: LibraryId, deed: Deed) -> Result<Tended> {
    let (tended, done) = oneshot::channel();
    engine.inner.submit(Command::Tend { library, deed, tended }).await?;
    done.await.map_err(|_| gone())
}

impl Watched {
    fn new(view: &Arc<View>) -> Self {
        Self { view: Arc::clone(view), since: Instant::now(), done: None, unsuited_rows: 0 }
    }
}

fn segments(library: &LibraryState) -> u32 {
    u32::try_from(library.view.segments().len()).unwrap_or(u32::MAX)
}

fn gone() -> Error {
    Error::not_found("the library is gone")
}
