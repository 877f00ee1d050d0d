//! What the embedded log asks of a disk, so that tests can put a failing one in its place.
//!
//! Only writes go through here; reads of what is durable use the files directly.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use uuid::Uuid;

/// The writing half of a disk.
pub trait Disk: Send + Sync + 'static {
    /// Makes a file with this content, or replaces one, at once and durably: after a crash either
    /// the old state or the new one is there. Leaves a file behind whose name ends in `.tmp` when
    /// it fails; when a sync failed, the error wraps a [`SyncFailed`].
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn PieceFile>>;

    /// Opens a file that exists, to append to it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn PieceFile>>;

    /// Removes a file, durably.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Tells one run of the machine from another; `None` where that cannot be known.
    fn boot_id(&self) -> Option<[u8; 16]>;
}

/// Marks the failure of a sync, after which nothing can be believed until the log is opened anew.
#[derive(Debug, thiserror::Error)]
#[error("fsync failed: {0}")]
pub struct SyncFailed(io::Error);

impl SyncFailed {
    fn wrap(error: io::Error) -> io::Error {
        io::Error::other(Self(error))
    }

    /// Whether an error wraps this one.
    #[must_use]
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// A file that grows at its end.
pub trait PieceFile: Send + 'static {
    /// Writes at the end. What was written is not known when it fails.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to this length.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn PieceFile>> {
        let temporary = path.with_extension("tmp");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all().map_err(SyncFailed::wrap)?;
        drop(file);
        std::fs::rename(&temporary, path)?;
        sync_folder_of(path)?;
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn PieceFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)?;
        sync_folder_of(path)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Uuid::try_parse(text.trim()).ok().map(Uuid::into_bytes)
    }
}

impl PieceFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// A file's name is durable when its folder is.
#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all().map_err(SyncFailed::wrap),
        None => Ok(()),
    }
}

/// Elsewhere the file system sees to it, and folders cannot be opened.
#[cfg(not(unix))]
fn sync_folder_of(_path: &Path) -> io::Result<()> {
    Ok(())
}
