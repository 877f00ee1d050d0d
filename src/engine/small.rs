//! A small engine for tests: one library without an embedder, a log in memory whose pieces hold
//! three changes.

use std::sync::Arc;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Engine, EngineOptions};
use crate::log::ChangeLog;
use crate::log::memory::MemoryLog;
use crate::store::Store;
use crate::types::{LibraryName, LibraryPatch, LibraryRef, Limits, NewLibrary, Revision};

/// Changes in a piece of the log.
pub(super) const PIECE_CHANGES: u64 = 3;

pub(super) struct Small {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) log: Arc<MemoryLog>,
    pub(super) folder: TempDir,
    pub(super) limits: Limits,
}

impl Small {
    /// With a library `l`, which is revision 1. Retention looks at nothing by itself.
    pub(super) async fn open(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits { retention_interval_ms: 1 << 40, ..Limits::default() };
        change(&mut limits);
        let folder = tempfile::tempdir().expect("folder");
        let store = Store::open(folder.path()).expect("store");
        let log = Arc::new(MemoryLog::new(3));
        let engine = open(&store, &log, &limits).await;
        let new = NewLibrary {
            embedder: "none".to_owned(),
            dimension: Some(2),
            ..NewLibrary::named(LibraryName::parse("l").expect("name"))
        };
        engine.create_library(new, None).await.expect("created");
        Self { engine, store, log, folder, limits }
    }

    /// Ends the engine and opens it anew over the same store and log.
    pub(super) async fn reopen(self) -> Self {
        let Self { engine, store, log, folder, limits } = self;
        engine.close().await;
        drop((engine, store));
        let store = Store::open(folder.path()).expect("store");
        let log = Arc::new(log.reopen());
        let engine = open(&store, &log, &limits).await;
        Self { engine, store, log, folder, limits }
    }

    pub(super) fn library(&self) -> LibraryRef {
        "l".parse().expect("a name")
    }

    /// Makes so many changes of one event each; gives the last one's revision.
    pub(super) async fn change(&self, count: u64) -> Revision {
        for _ in 0..count {
            let description = Some(format!("after {}", self.engine.tail()));
            let patch = LibraryPatch { description, ..LibraryPatch::default() };
            let updated = self.engine.update_library(&self.library(), patch, None).await;
            updated.expect("updated");
        }
        self.engine.tail()
    }

    pub(super) async fn floor(&self) -> Revision {
        self.log.bounds().await.expect("readable").floor
    }
}

async fn open(store: &Store, log: &Arc<MemoryLog>, limits: &Limits) -> Engine {
    let options = EngineOptions {
        limits: limits.clone(),
        embedders: Vec::new(),
        index: None,
        shutdown: CancellationToken::new(),
    };
    let log = Arc::clone(log) as Arc<dyn ChangeLog>;
    Engine::open(store.clone(), log, options).await.expect("opens")
}
