//! The database under test: an engine over a store in a folder and one of the two logs, with
//! faults to order and the ways in which a server ends and begins again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrwdb::engine::{Engine, EngineOptions, IndexOptions, IndexVectors};
use arrwdb::log::ChangeLog;
use arrwdb::log::embedded::{EmbeddedLog, EmbeddedOptions, FaultyDisk, OpenError};
use arrwdb::log::memory::{Fault, MemoryLog};
use arrwdb::store::{Store, StoreError};
use arrwdb::types::{Limits, Revision};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use crate::embedder::Arithmetic;

/// How long anything may take before it counts as stuck.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until there is a value.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Small, so that commits, pages, pieces and memories fill up.
pub fn limits() -> Limits {
    Limits {
        commit_changes_max: 7,
        writer_mailbox_max: 16,
        ingest_items_in_flight_max: 12,
        feed_read_bytes_target: 3_000,
        reply_bytes_target: 6_000,
        request_ids_max: 5,
        index_graph_rows_min: 6,
        index_graph_rows_min_asked: 4,
        index_settle_ms: 1,
        index_look_ms: 1,
        ..Limits::default()
    }
}

const PIECE_BYTES: usize = 6_000;

/// An engine's options with the model's embedder.
pub fn options() -> EngineOptions {
    EngineOptions {
        limits: limits(),
        embedders: vec![("default".to_owned(), Arc::new(Arithmetic::new()))],
        index: None,
        shutdown: CancellationToken::new(),
    }
}

/// The log under test.
enum Backend {
    Memory(Arc<MemoryLog>),
    Embedded(FaultyDisk),
}

/// What is there while the database is open.
struct Open {
    engine: Engine,
    store: Store,
    log: Arc<dyn ChangeLog>,
}

/// How a life of the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order.
    Close,
    /// The engine is dropped.
    Drop,
    /// The engine is dropped, then everything that the log did not sync is lost.
    PowerLoss,
    /// As if killed: the next life runs on copies of the files as they are at one moment, the
    /// store's perhaps older or gone.
    Kill(StoreLeft),
}

/// What a kill leaves of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreLeft {
    /// As it is at that moment.
    Now,
    /// As it was at the last [`World::keep_store`].
    Kept,
    /// Nothing.
    Nothing,
}

pub struct World {
    backend: Backend,
    open: Option<Open>,
    folder: TempDir,
    kept: Option<TempDir>,
    /// The log is to begin a new epoch when it is opened.
    new_epoch: bool,
    /// Folders of former lives: what was killed may still write there.
    retired: Vec<TempDir>,
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

impl World {
    pub async fn over_memory_log() -> Self {
        Self::begin(Backend::Memory(Arc::new(MemoryLog::new(5)))).await
    }

    pub async fn over_embedded_log() -> Self {
        Self::begin(Backend::Embedded(FaultyDisk::new())).await
    }

    async fn begin(backend: Backend) -> Self {
        let folder = folder();
        let mut world =
            Self { backend, open: None, folder, kept: None, new_epoch: false, retired: Vec::new() };
        world.start().await;
        world
    }

    fn opened(&self) -> &Open {
        self.open.as_ref().expect("open between lives only")
    }

    pub fn engine(&self) -> &Engine {
        &self.opened().engine
    }

    pub fn store(&self) -> &Store {
        &self.opened().store
    }

    pub fn log(&self) -> &Arc<dyn ChangeLog> {
        &self.opened().log
    }

    fn store_folder(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Opens the database in its folder, once what had it before has let go.
    async fn start(&mut self) {
        let path = self.store_folder();
        std::fs::create_dir_all(&path).expect("a folder");
        let store = eventually("the store is free", || match Store::open(&path) {
            Ok(store) => Some(store),
            Err(StoreError::InUse(_)) => None,
            Err(error) => panic!("{error}"),
        })
        .await;
        let applied = store.snapshot().applied().expect("readable").revision;
        let log = self.open_log(applied).await;
        let index =
            IndexOptions { folder: self.folder.path().join("index"), vectors: IndexVectors::Disk };
        let options = EngineOptions { index: Some(index), ..options() };
        let engine = Engine::open(store.clone(), Arc::clone(&log), options).await;
        self.open = Some(Open { engine: engine.expect("engine opens"), store, log });
    }

    async fn open_log(&mut self, applied: Revision) -> Arc<dyn ChangeLog> {
        match &mut self.backend {
            Backend::Memory(log) => {
                *log = Arc::new(log.reopen());
                if self.new_epoch {
                    log.begin_epoch();
                }
                Arc::clone(log) as Arc<dyn ChangeLog>
            }
            Backend::Embedded(disk) => {
                // Faults that were ordered and did not happen are forgotten.
                *disk = FaultyDisk::new();
                let options = EmbeddedOptions {
                    piece_bytes_target: PIECE_BYTES,
                    min_end: applied,
                    new_epoch: self.new_epoch,
                    ..EmbeddedOptions::default()
                };
                let (path, disk) = (self.folder.path().join("log"), Arc::new(disk.clone()));
                let open = || match EmbeddedLog::open_with(&path, options, disk.clone()) {
                    Ok(log) => Some(log),
                    Err(OpenError::InUse(_)) => None,
                    Err(error) => panic!("{error}"),
                };
                Arc::new(eventually("the log is free", open).await)
            }
        }
    }

    /// Orders something to go wrong; says what.
    pub fn inject(&self, dice: &mut Dice) -> String {
        match &self.backend {
            Backend::Memory(log) => {
                let orders: &[&[Fault]] = &[
                    &[Fault::Stale],
                    &[Fault::Closed],
                    &[Fault::Refused],
                    &[Fault::Refused, Fault::Refused],
                    &[Fault::UnknownApplied],
                    &[Fault::UnknownNotApplied],
                    &[Fault::UnknownNotApplied, Fault::UnknownApplied],
                    &[Fault::UnknownNotApplied, Fault::Refused],
                    &[Fault::UnknownNotApplied, Fault::Closed],
                ];
                let faults = *dice.pick(orders);
                faults.iter().for_each(|fault| log.inject(*fault));
                format!("{faults:?}")
            }
            Backend::Embedded(disk) => {
                let bytes = *dice.pick(&[0, 1, 23, 24, 100, 400, 2_000, 100_000]);
                match dice.below(6) {
                    0 => disk.fail_sync(),
                    1 => {
                        disk.fail_sync();
                        disk.fail_truncate();
                    }
                    2 => {
                        disk.fail_append_after(bytes);
                        disk.fail_truncate();
                    }
                    3 => disk.fail_create(),
                    _ => disk.fail_append_after(bytes),
                }
                format!("a disk that fails, perhaps after {bytes} bytes")
            }
        }
    }

    /// Keeps a copy of the store as it is, for a kill to come. Nothing may be writing.
    pub fn keep_store(&mut self) {
        let copied = folder();
        copy_folder(&self.store_folder(), copied.path());
        self.kept = Some(copied);
    }

    /// Ends this life. After [`End::Kill`] the returned engine is of the life that ended: what
    /// it does now nobody will ever see.
    pub async fn end(&mut self, end: End) -> Option<Engine> {
        let Open { engine, store, log } = self.open.take().expect("open between lives only");
        drop(store);
        match end {
            End::Close => engine.close().await,
            End::Drop => {}
            End::PowerLoss => {
                let Backend::Embedded(disk) = &self.backend else { return None };
                let held = Arc::downgrade(&log);
                drop((log, engine));
                eventually("the log is let go", || (held.strong_count() == 0).then_some(())).await;
                disk.lose_power().expect("files are there");
            }
            End::Kill(left) => {
                self.copy_all(left);
                return Some(engine);
            }
        }
        None
    }

    /// Begins the next life, now and then as one after a restored backup.
    pub async fn begin_anew(&mut self, dice: &mut Dice) {
        self.new_epoch = dice.percent(15);
        self.start().await;
    }

    /// Copies the store first: the log must have all that the store has.
    fn copy_all(&mut self, left: StoreLeft) {
        let next = folder();
        let store = next.path().join("store");
        match (left, &self.kept) {
            (StoreLeft::Now, _) => copy_folder(&self.store_folder(), &store),
            (StoreLeft::Kept, Some(kept)) => copy_folder(kept.path(), &store),
            (StoreLeft::Kept, None) | (StoreLeft::Nothing, _) => {}
        }
        match &mut self.backend {
            // What the old life appends from now on is refused.
            Backend::Memory(log) => *log = Arc::new(log.reopen()),
            Backend::Embedded(_) => {
                copy_folder(&self.folder.path().join("log"), &next.path().join("log"));
            }
        }
        copy_graphs(&self.folder.path().join("index"), &next.path().join("index"));
        self.retired.push(std::mem::replace(&mut self.folder, next));
    }
}

/// Copies what is there of the graphs' files, which come and go meanwhile.
fn copy_graphs(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries.flatten() {
        if let Ok(content) = std::fs::read(entry.path()) {
            std::fs::write(to.join(entry.file_name()), content).expect("written");
        }
    }
}

/// Copies files in the order of their names, which is that of the log's pieces. What is appended
/// meanwhile may be cut anywhere, as in a crash. Files that were made longer than they are full
/// stay so.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    let entries = std::fs::read_dir(from).expect("listed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("listed").path()).collect();
    paths.sort();
    for path in paths {
        let target = to.join(path.file_name().expect("named"));
        if path.is_dir() {
            copy_folder(&path, &target);
            continue;
        }
        let mut content = std::fs::read(&path).expect("readable");
        let length = content.len() as u64;
        let full = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        content.truncate(full);
        std::fs::write(&target, content).expect("written");
        let file = std::fs::OpenOptions::new().write(true).open(&target).expect("just written");
        file.set_len(length).expect("set");
    }
}
