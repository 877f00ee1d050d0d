//! Reads the records of one piece in order, through a buffer of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::log::ReadError;
use crate::types::codec::{self, CodecError, PREFIX_BYTES, Place, RecordPrefix};
use crate::types::{Change, ChangeHead, Epoch, Revision};

/// Read from the file at once: a few hundred heads, some tens of usual records.
const CHUNK_BYTES: usize = 128 << 10;

/// A walk over the records of a piece. Stands on a record until told to [`skip`](Self::skip) it.
///
/// All failures that are not the file system's are [`ReadError::Corrupt`], naming file and place.
pub(super) struct Records {
    path: PathBuf,
    file: File,
    epoch: Epoch,
    /// No byte at or beyond is looked at.
    end: u64,
    /// Where in the file `buffer` begins.
    base: u64,
    buffer: Vec<u8>,
    /// Where in the file the record begins that it stands on.
    offset: u64,
    /// Of the record that it stood on before.
    last: Revision,
    /// Of the record that it stands on, once it was looked at.
    now: Option<(Place, RecordPrefix)>,
}

impl Records {
    /// Stands on the record that begins at `offset`, in a piece of this epoch.
    pub(super) fn open(
        path: &Path,
        epoch: Epoch,
        offset: u64,
        end: u64,
    ) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|error| io_error(path, &error))?;
        let (base, buffer) = (offset, Vec::new());
        let (path, last, now) = (path.to_owned(), Revision::ZERO, None);
        Ok(Self { path, file, epoch, end, base, buffer, offset, last, now })
    }

    /// Where in the file it stands.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the change stands that it stands on; `None` at the end.
    pub(super) fn place(&mut self) -> Result<Option<Place>, ReadError> {
        if self.offset == self.end {
            return Ok(None);
        }
        if let Some((place, _)) = self.now {
            return Ok(Some(place));
        }
        let prefix = self.bytes(PREFIX_BYTES as u64)?;
        let prefix = RecordPrefix::read(prefix).map_err(|error| self.damage(&error))?;
        // Checked before the buffer grows by what the prefix claims.
        if prefix.total() as u64 > self.end - self.offset {
            return Err(self.damage(&CodecError::Truncated));
        }
        let head = self.bytes(prefix.without_bodies() as u64)?;
        let (place, prefix) = codec::decode_place(head).map_err(|error| self.damage(&error))?;
        if place.epoch != self.epoch || place.revision <= self.last {
            let detail = format!("revision {} does not belong here", place.revision);
            return Err(self.damage(&CodecError::Malformed(detail)));
        }
        self.now = Some((place, prefix));
        Ok(Some(place))
    }

    /// Bytes of the record that it stands on, without bodies; 0 before [`place`](Self::place).
    pub(super) fn head_bytes(&self) -> usize {
        self.now.map_or(0, |(_, prefix)| prefix.without_bodies())
    }

    /// Bytes of the record that it stands on; 0 before [`place`](Self::place).
    pub(super) fn record_bytes(&self) -> usize {
        self.now.map_or(0, |(_, prefix)| prefix.total())
    }

    /// The head of the change that it stands on.
    pub(super) fn head(&mut self) -> Result<ChangeHead, ReadError> {
        let bytes = self.bytes(self.head_bytes() as u64)?;
        codec::decode_head(bytes).map(|(head, _)| head).map_err(|error| self.damage(&error))
    }

    /// The change that it stands on.
    pub(super) fn change(&mut self) -> Result<Change, ReadError> {
        let bytes = self.bytes(self.record_bytes() as u64)?;
        codec::decode_change(bytes).map(|(change, _)| change).map_err(|error| self.damage(&error))
    }

    /// Checks all checksums of the record that it stands on.
    pub(super) fn verify(&mut self) -> Result<(), ReadError> {
        let bytes = self.bytes(self.record_bytes() as u64)?;
        codec::verify_record(bytes).map(drop).map_err(|error| self.damage(&error))
    }

    /// Steps behind the record whose place was looked at last.
    pub(super) fn skip(&mut self) {
        if let Some((place, prefix)) = self.now.take() {
            self.last = place.revision;
            self.offset += prefix.total() as u64;
        }
    }

    /// The next `count` bytes from where it stands.
    fn bytes(&mut self, count: u64) -> Result<&[u8], ReadError> {
        let left = self.end - self.offset;
        if count > left {
            return Err(self.damage(&CodecError::Truncated));
        }
        if self.offset + count > self.base + self.buffer.len() as u64 {
            let wanted = left.min(count.max(CHUNK_BYTES as u64));
            self.fill(wanted).map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    return self.damage(&CodecError::Truncated);
                }
                io_error(&self.path, &error)
            })?;
        }
        let start = to_usize(self.offset - self.base);
        Ok(&self.buffer[start..start + to_usize(count)])
    }

    /// Makes the buffer hold exactly `count` bytes from where it stands.
    fn fill(&mut self, count: u64) -> io::Result<()> {
        let start = to_usize(self.offset - self.base).min(self.buffer.len());
        self.buffer.drain(..start);
        self.base = self.offset;
        let have = self.buffer.len();
        self.buffer.resize(to_usize(count), 0);
        self.file.seek(SeekFrom::Start(self.base + have as u64))?;
        let read = self.file.read_exact(&mut self.buffer[have..]);
        if read.is_err() {
            self.buffer.truncate(have);
        }
        read
    }

    fn damage(&self, error: &CodecError) -> ReadError {
        ReadError::Corrupt(format!("{} at byte {}: {error}", self.path.display(), self.offset))
    }
}

/// Lengths here are bounded by what a buffer holds.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the length of a buffer")]
const fn to_usize(length: u64) -> usize {
    length as usize
}

pub(super) fn io_error(path: &Path, error: &io::Error) -> ReadError {
    ReadError::Io(format!("{}: {error}", path.display()))
}
