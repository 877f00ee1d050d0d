//! Opening: the lock, what the last run left, the torn tail, the epoch.
//!
//! Everything that a reader will be shown is made durable first. Damage that is not the tail of
//! an append that was never acknowledged is told, never mended in silence.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::EmbeddedOptions;
use super::disk::{Disk, PieceFile};
use super::piece::{self, HEADER_BYTES, Header, Index, Piece};
use super::recover::{LastRun, Recovered, recover};
use super::state::State;
use crate::log::tail::Tail;
use crate::types::clock::random_u64;
use crate::types::{Epoch, Revision};

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the folder {} is in use by another process: stop that one, or choose another data folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// Stored bytes are damaged, or of a release that this one does not know.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// The file system refused something.
    #[error("{}: {error}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// A log that is ready for use.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) pieces: Vec<Arc<Piece>>,
    pub(super) tail: Tail,
    pub(super) file: Box<dyn PieceFile>,
}

/// A piece as found on disk.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) length: u64,
}

pub(super) fn open(
    folder: &Path,
    options: EmbeddedOptions,
    disk: &dyn Disk,
) -> Result<Opened, OpenError> {
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let lock = lock(folder)?;
    let state = State::read(folder).map_err(at(folder))?;
    let boot_id = disk.boot_id();
    let rebooted = state.is_none_or(|state| state.boot_id.is_none() || state.boot_id != boot_id);
    let last_run = LastRun { state, rebooted };
    let mut found = find_pieces(folder)?;

    let last = found.pop();
    let (pieces, tail, file) = match last {
        None => {
            let epoch = Epoch::generate();
            begin(folder, disk, behind_store(options, epoch, epoch))?
        }
        Some(last) => resume(folder, disk, options, &last_run, &found, &last)?,
    };
    let now = State { durability: options.durability, boot_id, closed: None };
    now.write(folder, disk).map_err(at(folder))?;
    Ok(Opened { lock, pieces, tail, file })
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("LOCK");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }),
    }
}

/// The pieces of a folder, oldest first, by their headers; removes unfinished files.
fn find_pieces(folder: &Path) -> Result<Vec<Found>, OpenError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(".tmp") {
            std::fs::remove_file(&path).map_err(at(&path))?;
        } else if let Some(first) = piece::revision_of(name) {
            found.push(find_piece(path, first)?);
        }
    }
    found.sort_by_key(|piece| piece.header.first);
    for pair in found.windows(2) {
        if pair[1].header.number != pair[0].header.number + 1 {
            let detail = format!("a piece is missing before {}", pair[1].path.display());
            return Err(OpenError::Corrupt(detail));
        }
    }
    Ok(found)
}

fn find_piece(path: PathBuf, first: Revision) -> Result<Found, OpenError> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    let file = File::open(&path).map_err(at(&path))?;
    let length = file.metadata().map_err(at(&path))?.len();
    file.take(HEADER_BYTES as u64).read_to_end(&mut bytes).map_err(at(&path))?;
    let corrupt = |what: &str| OpenError::Corrupt(format!("{}: {what}", path.display()));
    let header = Header::decode(&bytes).map_err(|what| corrupt(&what))?;
    if header.first != first {
        return Err(corrupt("its name is not that of its first revision"));
    }
    Ok(Found { path, header, length })
}

/// Makes an I/O error one that says what it was about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Io { path: path.to_owned(), error }
}

type Ready = (Vec<Arc<Piece>>, Tail, Box<dyn PieceFile>);

/// Of a log that begins behind what the store has applied, and goes on from there in everything.
fn behind_store(options: EmbeddedOptions, epoch: Epoch, end_epoch: Epoch) -> Tail {
    Tail {
        epoch,
        end_epoch,
        end: options.min_end,
        end_time: options.min_end_time,
        end_events: options.min_end_events,
    }
}

/// Begins a log that holds nothing yet.
fn begin(folder: &Path, disk: &dyn Disk, tail: Tail) -> Result<Ready, OpenError> {
    let (piece, file) = begin_piece(folder, disk, Header::behind(tail, 0))?;
    Ok((vec![piece], tail, file))
}

fn begin_piece(
    folder: &Path,
    disk: &dyn Disk,
    header: Header,
) -> Result<(Arc<Piece>, Box<dyn PieceFile>), OpenError> {
    let piece = Piece::new(folder, header, HEADER_BYTES as u64, Some(Index::default()));
    let file = disk.create(piece.path(), &header.encode()).map_err(at(piece.path()))?;
    Ok((Arc::new(piece), file))
}

/// Goes on with a log whose earlier pieces and last piece these are.
fn resume(
    folder: &Path,
    disk: &dyn Disk,
    options: EmbeddedOptions,
    last_run: &LastRun,
    earlier: &[Found],
    last: &Found,
) -> Result<Ready, OpenError> {
    let Recovered { tail, index, length } = recover(last, last_run)?;
    let dropped = last.length - length;
    let is_behind = tail.end < options.min_end;
    if is_behind && dropped > 0 && last_run.always_synced() {
        let (path, end, store) = (last.path.display(), tail.end, options.min_end);
        return Err(OpenError::Corrupt(format!(
            "{path} cannot be read behind revision {end}, yet the store has seen {store}. Restore \
             a backup, or move the log's folder away to go on from the store, where changes behind \
             {store} are lost and readers of the feed begin anew"
        )));
    }
    let mut file = disk.open(&last.path).map_err(at(&last.path))?;
    if dropped > 0 {
        let path = last.path.display();
        tracing::warn!(%path, bytes = dropped, end = %tail.end, "dropped the log's torn tail");
        file.truncate(length).map_err(at(&last.path))?;
    }
    // What a killed process wrote may be in the kernel's cache alone, and readers see it now.
    file.sync().map_err(at(&last.path))?;
    if is_behind {
        return begin_behind_hole(folder, disk, options, tail, earlier, last);
    }

    let as_piece = |found: &Found| Arc::new(Piece::new(folder, found.header, found.length, None));
    let mut pieces: Vec<_> = earlier.iter().map(as_piece).collect();
    let last_piece = Arc::new(Piece::new(folder, last.header, length, Some(index)));
    let may_have_lost = last_run.left_unsynced() && (dropped > 0 || last_run.rebooted);
    if !may_have_lost && !options.new_epoch {
        pieces.push(last_piece);
        return Ok((pieces, tail, file));
    }
    let tail = Tail { epoch: epoch_after(tail.epoch), ..tail };
    tracing::warn!(end = %tail.end, "the log begins a new epoch: feed readers ahead begin anew");
    let mut number = last.header.number;
    // A last piece that holds nothing is replaced, under the same name.
    if tail.end >= last.header.first {
        pieces.push(last_piece);
        number += 1;
    }
    let (piece, file) = begin_piece(folder, disk, Header::behind(tail, number))?;
    pieces.push(piece);
    Ok((pieces, tail, file))
}

/// The store has applied changes that the log lost: nobody can read across that hole, so what
/// lies before it goes, oldest first, and a new epoch begins behind it.
fn begin_behind_hole(
    folder: &Path,
    disk: &dyn Disk,
    options: EmbeddedOptions,
    tail: Tail,
    earlier: &[Found],
    last: &Found,
) -> Result<Ready, OpenError> {
    let (end, store) = (tail.end, options.min_end);
    tracing::warn!(%end, %store, "the log ends before the store: it begins a new epoch behind it");
    for found in earlier.iter().chain([last]) {
        disk.remove(&found.path).map_err(at(&found.path))?;
    }
    begin(folder, disk, behind_store(options, epoch_after(tail.epoch), tail.epoch))
}

/// Later than `last` in order, whatever the clock says.
fn epoch_after(last: Epoch) -> Epoch {
    let epoch = Epoch::generate();
    if epoch > last { epoch } else { Epoch(last.0 + 1 + (random_u64() & 0xffff_ffff)) }
}
