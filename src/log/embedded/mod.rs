//! The log in files of its own: append-only pieces in one folder, of which retention drops the
//! oldest whole.
//!
//! One fdatasync an append, by the thread that appends; readers never wait for it and never see
//! a byte that it has not made durable. What lies in the files is in `docs/FORMAT.md`. Does not
//! depend on the key-value store, and shares no atomic batch with it: the store remembers the
//! highest revision applied and recovery applies the rest.

mod disk;
mod faults;
mod open;
mod piece;
mod read;
mod records;
mod recover;
mod state;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;

pub use self::disk::{Disk, PieceFile, RealDisk, SyncFailed};
#[doc(hidden)]
pub use self::faults::FaultyDisk;
pub use self::open::OpenError;
use self::piece::{HEADER_BYTES, Header, Piece};
use self::state::{ClosedAt, State};
use super::tail::Tail;
use super::{AppendError, ChangeLog, LogBounds, ReadError};
use crate::types::codec::{self, Place};
use crate::types::{Change, ChangeHead, Epoch, Limits, Revision, Timestamp};

/// Capacity of the encoding buffer that is kept between appends: above a usual group commit.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// What an acknowledged append survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The loss of power: an fsync before each acknowledgement.
    #[default]
    Fsync,
    /// The death of the process, but not of the machine: the operating system writes when it
    /// likes. A reboot after an unclean end begins a new epoch, since changes may be gone.
    Os,
}

/// How to open a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// What an acknowledged append survives.
    pub durability: Durability,
    /// Size at which a piece is closed and the next begun; `limits.log_piece_bytes_target`.
    pub piece_bytes_target: usize,
    /// The highest revision that the store has applied. A log that ends before it has lost
    /// changes: it begins a new epoch behind it, and what it still holds is dropped, since no
    /// reader could get across the hole.
    pub min_end: Revision,
    /// The time of the change at `min_end`: that of what follows in a new epoch is not before.
    pub min_end_time: Timestamp,
    /// The events up to and including `min_end`: what follows in a new epoch counts on from them.
    pub min_end_events: u64,
    /// Begins a new epoch in any case: for a restored backup, whose history may have gone on
    /// elsewhere.
    pub new_epoch: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            piece_bytes_target: Limits::default().log_piece_bytes_target,
            min_end: Revision::ZERO,
            min_end_time: Timestamp::default(),
            min_end_events: 0,
            new_epoch: false,
        }
    }
}

/// The embedded log. One process has it at a time. Dropped without
/// [`close`](ChangeLog::close) it counts as crashed, which loses nothing.
pub struct EmbeddedLog {
    /// Locked while this exists; reads under way do not hold it.
    _lock: File,
    shared: Arc<Shared>,
    /// Held for a whole append, including its I/O; never across an await.
    writer: Mutex<Writer>,
}

/// What readers use.
struct Shared {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    /// Locked for moments only, never during I/O.
    readable: RwLock<Readable>,
    /// Trimmed pieces whose files are still there, oldest first. Held while they are removed, so
    /// that files go strictly from the front.
    doomed: Mutex<Vec<Arc<Piece>>>,
}

/// What can be read now.
struct Readable {
    /// Oldest first, never empty; the last is appended to.
    pieces: Vec<Arc<Piece>>,
    tail: Tail,
    /// Of the pieces, for [`LogBounds::epochs`].
    epochs: Vec<(Epoch, Revision)>,
    /// Of the pieces.
    bytes: u64,
}

/// What appends use.
struct Writer {
    options: EmbeddedOptions,
    /// The last piece's.
    file: Box<dyn PieceFile>,
    buffer: Vec<u8>,
    /// Why no append may succeed any more.
    closed: Option<String>,
}

impl EmbeddedLog {
    /// Opens the log in a folder of its own, making both where there are none, and mends what an
    /// unclean end left. Blocks: it reads the last piece whole.
    pub fn open(folder: &Path, options: EmbeddedOptions) -> Result<Self, OpenError> {
        Self::open_with(folder, options, Arc::new(RealDisk))
    }

    /// The same on a disk that may fail: for tests.
    #[doc(hidden)]
    pub fn open_with(
        folder: &Path,
        options: EmbeddedOptions,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let opened = open::open(folder, options, disk.as_ref())?;
        Ok(Self {
            _lock: opened.lock,
            shared: Arc::new(Shared {
                folder: folder.to_owned(),
                disk,
                readable: RwLock::new(Readable::new(opened.pieces, opened.tail)),
                doomed: Mutex::default(),
            }),
            writer: Mutex::new(Writer {
                options,
                file: opened.file,
                buffer: Vec::new(),
                closed: None,
            }),
        })
    }

    fn append_now(&self, expected_end: Revision, changes: &[Change]) -> Result<(), AppendError> {
        let Ok(mut writer) = self.writer.lock() else {
            return Err(AppendError::Closed("an earlier append panicked".to_owned()));
        };
        writer.check_open()?;
        let tail = self.shared.with(|readable| readable.tail);
        let next = tail.behind(expected_end, changes)?;
        if changes.is_empty() {
            return Ok(());
        }
        let mut places = writer.encode(changes)?;
        let piece = self.shared.piece_to_append_to(&mut writer, tail)?;
        let start = piece.length();
        writer.write(start)?;
        for (_, offset) in &mut places {
            *offset += start;
        }
        let written = writer.buffer.len() as u64;
        writer.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.shared.change(|readable| {
            piece.grow(&places, start + written);
            readable.bytes += written;
            readable.tail = next;
        });
        Ok(())
    }

    fn close_now(&self) -> Result<(), AppendError> {
        let Ok(mut writer) = self.writer.lock() else {
            return Err(AppendError::Closed("an earlier append panicked".to_owned()));
        };
        writer.check_open()?;
        let synced = writer.file.sync();
        if let Err(error) = synced {
            return Err(writer.close_for_ever(format!("fsync failed: {error}")));
        }
        let (piece, length) = self.shared.with(|readable| {
            let piece = readable.last_piece();
            (piece.header().first, piece.length())
        });
        let state = State {
            durability: writer.options.durability,
            boot_id: self.shared.disk.boot_id(),
            closed: Some(ClosedAt { piece, length }),
        };
        let written = state.write(&self.shared.folder, self.shared.disk.as_ref());
        let closed = writer.close_for_ever("it was closed".to_owned());
        match written {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the log could not be marked as cleanly closed");
                Err(closed)
            }
        }
    }
}

impl Writer {
    fn check_open(&self) -> Result<(), AppendError> {
        match &self.closed {
            Some(reason) => Err(AppendError::Closed(reason.clone())),
            None => Ok(()),
        }
    }

    fn close_for_ever(&mut self, reason: String) -> AppendError {
        self.closed = Some(reason.clone());
        AppendError::Closed(reason)
    }

    /// Fills the buffer with the changes' records; gives their places and offsets in it.
    fn encode(&mut self, changes: &[Change]) -> Result<Vec<(Place, u64)>, AppendError> {
        self.buffer.clear();
        let places = changes.iter().map(|change| {
            let offset = self.buffer.len() as u64;
            codec::encode_change(change, &mut self.buffer)
                .map_err(|error| AppendError::Refused(error.to_string()))?;
            let head = &change.head;
            let place = Place {
                epoch: head.epoch,
                revision: head.revision,
                time: head.time,
                events_before: head.events_before,
            };
            Ok((place, offset))
        });
        let places = places.collect::<Result<Vec<_>, _>>()?;
        codec::mark_first_of_append(&mut self.buffer);
        Ok(places)
    }

    /// Writes the buffer behind the `length` bytes that the last piece has, durably.
    fn write(&mut self, length: u64) -> Result<(), AppendError> {
        if let Err(error) = self.file.append(&self.buffer) {
            return Err(self.take_back(length, &error));
        }
        match self.sync_if_promised() {
            Ok(()) => Ok(()),
            Err(error) => {
                // The kernel may now believe pages to be written that are not: take them out of
                // its cache, lest a process that opens the log next believes them too. Nothing
                // more can be done if this fails.
                let _ = self.file.truncate(length);
                Err(self.close_for_ever(format!("fsync failed: {error}")))
            }
        }
    }

    /// After a failed write: cuts off what came of it, durably, so that it can never show.
    fn take_back(&mut self, length: u64, cause: &io::Error) -> AppendError {
        match self.file.truncate(length).and_then(|()| self.sync_if_promised()) {
            Ok(()) => AppendError::Refused(format!("the log could not be written: {cause}")),
            Err(error) => self.close_for_ever(format!(
                "a write failed ({cause}) and could not be taken back ({error})"
            )),
        }
    }

    fn sync_if_promised(&mut self) -> io::Result<()> {
        match self.options.durability {
            Durability::Fsync => self.file.sync(),
            Durability::Os => Ok(()),
        }
    }
}

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&Readable) -> T) -> T {
        look(&self.readable.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Readable) -> T) -> T {
        change(&mut self.readable.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last piece; when it is full, a new one, after the full one is durable.
    fn piece_to_append_to(
        &self,
        writer: &mut Writer,
        tail: Tail,
    ) -> Result<Arc<Piece>, AppendError> {
        let last = self.with(|readable| Arc::clone(readable.last_piece()));
        let is_empty = tail.end < last.header().first;
        if is_empty || last.length() < writer.options.piece_bytes_target as u64 {
            return Ok(last);
        }
        // Only the last piece may ever be torn: recovery relies on it.
        if let Err(error) = writer.file.sync() {
            return Err(writer.close_for_ever(format!("fsync failed: {error}")));
        }
        let header = Header::behind(tail, last.header().number + 1);
        let piece = Arc::new(Piece::new(
            &self.folder,
            header,
            HEADER_BYTES as u64,
            Some(piece::Index::default()),
        ));
        writer.file = match self.disk.create(piece.path(), &header.encode()) {
            Ok(file) => file,
            Err(error) if SyncFailed::is_in(&error) => {
                return Err(writer.close_for_ever(error.to_string()));
            }
            Err(error) => {
                let detail = format!("a new piece of the log could not be begun: {error}");
                return Err(AppendError::Refused(detail));
            }
        };
        self.change(|readable| readable.push(Arc::clone(&piece)));
        Ok(piece)
    }

    fn trim(&self, through: Revision) -> Result<Revision, ReadError> {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        let floor = self.change(|readable| {
            doomed.extend(readable.drop_through(through));
            readable.floor()
        });
        // A file that cannot be removed stays first in line for the next trim.
        while let Some(oldest) = doomed.first() {
            match self.disk.remove(oldest.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(records::io_error(oldest.path(), &error));
                }
                Ok(()) | Err(_) => drop(doomed.remove(0)),
            }
        }
        Ok(floor)
    }
}

impl Readable {
    fn new(pieces: Vec<Arc<Piece>>, tail: Tail) -> Self {
        let bytes = pieces.iter().map(|piece| piece.length()).sum();
        let mut readable = Self { pieces, tail, epochs: Vec::new(), bytes };
        readable.name_epochs();
        readable
    }

    fn last_piece(&self) -> &Arc<Piece> {
        self.pieces.last().expect("a log always has a last piece")
    }

    fn floor(&self) -> Revision {
        self.pieces.first().map_or(self.tail.end.next(), |piece| piece.header().first)
    }

    fn push(&mut self, piece: Arc<Piece>) {
        self.bytes += piece.length();
        self.pieces.push(piece);
        self.name_epochs();
    }

    /// Takes out the pieces that lie entirely at or below `through`, but for the last.
    fn drop_through(&mut self, through: Revision) -> Vec<Arc<Piece>> {
        let ends_in_time = |pair: &[Arc<Piece>]| pair[1].header().first.0 - 1 <= through.0;
        let count = self.pieces.windows(2).take_while(|pair| ends_in_time(pair)).count();
        let dropped: Vec<_> = self.pieces.drain(..count).collect();
        self.bytes -= dropped.iter().map(|piece| piece.length()).sum::<u64>();
        self.name_epochs();
        dropped
    }

    fn excess(&self, bytes_max: u64) -> Revision {
        let (mut bytes, mut through) = (self.bytes, Revision(self.floor().0 - 1));
        for pair in self.pieces.windows(2) {
            if bytes <= bytes_max {
                break;
            }
            bytes -= pair[0].length();
            through = Revision(pair[1].header().first.0 - 1);
        }
        through
    }

    fn name_epochs(&mut self) {
        self.epochs.clear();
        self.epochs.extend(self.pieces.iter().map(|p| (p.header().epoch, p.header().first)));
        self.epochs.dedup_by_key(|(epoch, _)| *epoch);
    }
}

#[async_trait]
impl ChangeLog for EmbeddedLog {
    async fn bounds(&self) -> Result<LogBounds, ReadError> {
        Ok(self.shared.with(|readable| LogBounds {
            epochs: readable.epochs.clone(),
            epoch_before: readable
                .pieces
                .first()
                .map_or(readable.tail.epoch, |first| first.header().epoch_before),
            floor: readable.floor(),
            end: readable.tail.end,
            end_time: readable.tail.end_time,
            end_events: readable.tail.end_events,
            bytes: readable.bytes,
        }))
    }

    /// Blocks on the disk until the changes are durable, without a single await: call it from a
    /// thread that may block. Once polled it is done, so dropping its future changes nothing.
    async fn append(&self, expected_end: Revision, changes: &[Change]) -> Result<(), AppendError> {
        self.append_now(expected_end, changes)
    }

    async fn read_heads(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Arc<ChangeHead>>, ReadError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.read_heads(after, bytes_target)).await
    }

    async fn read_changes(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Change>, ReadError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.read_changes(after, bytes_target)).await
    }

    async fn seek(&self, time: Timestamp) -> Result<Revision, ReadError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.seek(time)).await
    }

    async fn excess(&self, bytes_max: u64) -> Result<Revision, ReadError> {
        Ok(self.shared.with(|readable| readable.excess(bytes_max)))
    }

    /// When a file cannot be removed the answer is [`ReadError::Io`] although the floor moved; the
    /// next trim tries the file again.
    async fn trim(&self, through: Revision) -> Result<Revision, ReadError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.trim(through)).await
    }

    /// Blocks on the disk, like [`append`](Self::append).
    async fn close(&self) -> Result<(), AppendError> {
        self.close_now()
    }
}

/// Runs disk work off the async threads; in place where there is no runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return work();
    };
    match runtime.spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ReadError::Io(format!("the read was cut short: {error}"))),
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
