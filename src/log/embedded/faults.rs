//! A disk that fails when told to, and loses power when told to. For tests of this crate and of
//! the server; nothing else uses it.
//!
//! What is synced is written down rather than synced: only [`FaultyDisk::lose_power`] takes power
//! away, and tests open thousands of logs.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, PieceFile, RealDisk};

/// The system's files with faults that can be ordered. Each ordered fault happens once. Clones are
/// one disk.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    boots: u8,
    syncs: u64,
    fail_append_after: Option<usize>,
    fail_sync: bool,
    fail_truncate: bool,
    fail_create: bool,
    /// How much of each file is durable.
    durable: HashMap<PathBuf, u64>,
}

impl FaultyDisk {
    /// A disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next append write only this many bytes and then fail.
    pub fn fail_append_after(&self, bytes: usize) {
        self.state().fail_append_after = Some(bytes);
    }

    /// Lets the next sync fail. What it would have made durable is lost with the power.
    pub fn fail_sync(&self) {
        self.state().fail_sync = true;
    }

    /// Lets the next truncation fail.
    pub fn fail_truncate(&self) {
        self.state().fail_truncate = true;
    }

    /// Lets the next creation of a file fail.
    pub fn fail_create(&self) {
        self.state().fail_create = true;
    }

    /// How many syncs have succeeded.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Loses everything that was not synced and starts the machine anew. Drop the log first.
    pub fn lose_power(&self) -> io::Result<()> {
        let mut state = self.state();
        state.boots = state.boots.wrapping_add(1);
        for (path, durable) in &state.durable {
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            if file.metadata()?.len() > *durable {
                file.set_len(*durable)?;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fault<T>(what: &str) -> io::Result<T> {
    Err(io::Error::other(format!("{what} failed, as ordered")))
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn PieceFile>> {
        if std::mem::take(&mut self.state().fail_create) {
            return fault("creation");
        }
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, content)?;
        std::fs::rename(&temporary, path)?;
        self.state().durable.insert(path.to_owned(), content.len() as u64);
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn PieceFile>> {
        let inner = RealDisk.open(path)?;
        let length = std::fs::metadata(path)?.len();
        Ok(Box::new(FaultyFile { disk: self.clone(), path: path.to_owned(), length, inner }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().durable.remove(path);
        std::fs::remove_file(path)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        Some([self.state().boots.wrapping_add(1); 16])
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    length: u64,
    inner: Box<dyn PieceFile>,
}

impl PieceFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let cut = self.disk.state().fail_append_after.take();
        let written = cut.map_or(bytes.len(), |cut| cut.min(bytes.len()));
        self.inner.append(&bytes[..written])?;
        self.length += written as u64;
        if cut.is_some() { fault("write") } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.disk.state().fail_sync) {
            return fault("fsync");
        }
        let mut state = self.disk.state();
        state.syncs += 1;
        state.durable.insert(self.path.clone(), self.length);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if std::mem::take(&mut self.disk.state().fail_truncate) {
            return fault("truncation");
        }
        self.inner.truncate(length)?;
        self.length = length;
        Ok(())
    }
}
