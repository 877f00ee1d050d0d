//! A piece of the log: its file's name and header, and an index of where its changes lie.
//!
//! A piece is never empty unless it is the last, ends right before the next begins, and all its
//! changes are of one epoch.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::records::Records;
use crate::log::ReadError;
use crate::log::tail::Tail;
use crate::types::codec::Place;
use crate::types::{Epoch, Revision, Timestamp};

/// Bytes of a piece's header.
pub(super) const HEADER_BYTES: usize = 72;
const MAGIC: [u8; 8] = *b"arrwlog\0";
const VERSION: u32 = 1;

/// Distance between the changes that the index remembers: a read decodes at most this much
/// before it gets to what was asked for.
const INDEX_STEP_BYTES: u64 = 64 << 10;

/// What a piece's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Pieces are counted; a gap shows that one is missing.
    pub(super) number: u64,
    /// Of all its changes.
    pub(super) epoch: Epoch,
    /// The epoch of the change before it; `epoch` when there was none, or it is not known.
    pub(super) epoch_before: Epoch,
    /// The lowest revision that may be in it: one more than the log's end when it was begun.
    pub(super) first: Revision,
    /// The time of the change before it; zero when there was none.
    pub(super) start_time: Timestamp,
    /// The events of all changes before it.
    pub(super) events_before: u64,
}

impl Header {
    /// Of the piece that is begun behind this tail.
    pub(super) fn behind(tail: Tail, number: u64) -> Self {
        Self {
            number,
            epoch: tail.epoch,
            epoch_before: tail.end_epoch,
            first: tail.end.next(),
            start_time: tail.end_time,
            events_before: tail.end_events,
        }
    }

    /// The tail that the piece was begun behind.
    pub(super) fn tail(&self) -> Tail {
        Tail {
            epoch: self.epoch,
            end_epoch: self.epoch_before,
            end: Revision(self.first.0 - 1),
            end_time: self.start_time,
            end_events: self.events_before,
        }
    }

    /// The durable form.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.start_time.micros().to_le_bytes());
        bytes[48..56].copy_from_slice(&self.events_before.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.epoch_before.0.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..68]);
        bytes[68..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// From the durable form; says what is wrong with it otherwise.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let bytes: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or_else(|| "the header is cut off".to_owned())?;
        let number =
            |at: usize| u64::from_le_bytes(bytes[at..].first_chunk().copied().unwrap_or_default());
        if bytes[..8] != MAGIC {
            return Err("not a piece of a log".to_owned());
        }
        if bytes[68..] != crc32c::crc32c(&bytes[..68]).to_le_bytes() {
            return Err("checksum mismatch in the header".to_owned());
        }
        if bytes[8..12] != VERSION.to_le_bytes()
            || bytes[12..16] != [0; 4]
            || bytes[64..68] != [0; 4]
        {
            return Err("its format is not known to this release".to_owned());
        }
        if number(32) == 0 {
            return Err("it claims to begin with revision 0".to_owned());
        }
        Ok(Self {
            number: number(16),
            epoch: Epoch(number(24)),
            epoch_before: Epoch(number(56)),
            first: Revision(number(32)),
            start_time: Timestamp::from_micros(number(40)),
            events_before: number(48),
        })
    }
}

/// The name of the piece that begins with this revision; names sort like revisions.
pub(super) fn file_name(first: Revision) -> String {
    format!("{:020}.log", first.0)
}

/// The revision in a piece's name; `None` for other files.
pub(super) fn revision_of(name: &str) -> Option<Revision> {
    let digits = name.strip_suffix(".log")?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok().map(Revision))?
}

/// One remembered change.
#[derive(Debug, Clone, Copy)]
struct Entry {
    revision: Revision,
    time: Timestamp,
    offset: u64,
}

/// Where some of a piece's changes lie, in their order.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Remembers a change if it is far enough from the one before. Call with all, in order.
    pub(super) fn note(&mut self, place: Place, offset: u64) {
        if self.entries.last().is_none_or(|last| offset >= last.offset + INDEX_STEP_BYTES) {
            let entry = Entry { revision: place.revision, time: place.time, offset };
            self.entries.push(entry);
        }
    }

    /// Where to begin to get all changes for which `is_before` does not hold.
    fn start(&self, is_before: impl Fn(&Entry) -> bool) -> u64 {
        let place = self.entries.partition_point(is_before);
        self.entries[..place].last().map_or(HEADER_BYTES as u64, |entry| entry.offset)
    }
}

/// A piece and how much of it readers may see.
#[derive(Debug)]
pub(super) struct Piece {
    path: PathBuf,
    header: Header,
    /// Bytes that are durable, header included. Raised under the log's lock, for the last piece
    /// only.
    length: AtomicU64,
    /// Built when it is first needed; the last piece always has one. Held while building, so that
    /// it is built once.
    index: Mutex<Option<Index>>,
}

impl Piece {
    /// A piece whose file exists.
    pub(super) fn new(folder: &Path, header: Header, length: u64, index: Option<Index>) -> Self {
        Self {
            path: folder.join(file_name(header.first)),
            header,
            length: AtomicU64::new(length),
            index: Mutex::new(index),
        }
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What its header says.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// How many bytes readers may see.
    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Lets readers see more, whose places are given with their offsets.
    pub(super) fn grow(&self, places: &[(Place, u64)], length: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let index = index.get_or_insert_default();
        for (place, offset) in places {
            index.note(*place, *offset);
        }
        self.length.store(length, Ordering::Release);
    }

    /// Its records from one at or before the first after `revision`.
    pub(super) fn records_after(
        &self,
        revision: Revision,
        length: u64,
    ) -> Result<Records, ReadError> {
        let start = self.start(length, |entry| entry.revision <= revision)?;
        Records::open(&self.path, self.header.epoch, start, length)
    }

    /// Its records from one at or before the first made at `time` or later.
    pub(super) fn records_from(&self, time: Timestamp, length: u64) -> Result<Records, ReadError> {
        let start = self.start(length, |entry| entry.time < time)?;
        Records::open(&self.path, self.header.epoch, start, length)
    }

    fn start(&self, length: u64, is_before: impl Fn(&Entry) -> bool) -> Result<u64, ReadError> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*index {
            return Ok(index.start(is_before));
        }
        let built = index.insert(self.build_index(length));
        Ok(built.start(is_before))
    }

    /// Stops at damage: whoever reads that far is told.
    fn build_index(&self, length: u64) -> Index {
        let mut index = Index::default();
        let from = HEADER_BYTES as u64;
        let Ok(mut records) = Records::open(&self.path, self.header.epoch, from, length) else {
            return index;
        };
        while let Ok(Some(place)) = records.place() {
            index.note(place, records.offset());
            records.skip();
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_damage_is_noticed() {
        let header = Header {
            number: 3,
            epoch: Epoch(u64::MAX),
            epoch_before: Epoch(u64::MAX - 1),
            first: Revision(17),
            start_time: Timestamp::from_micros(5),
            events_before: 99,
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        for at in 0..HEADER_BYTES {
            let mut damaged = bytes;
            damaged[at] ^= 0x10;
            assert!(Header::decode(&damaged).is_err(), "byte {at}");
            assert!(Header::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn names_tell_the_first_revision() {
        assert_eq!(file_name(Revision(42)), "00000000000000000042.log");
        for revision in [Revision(1), Revision(u64::MAX)] {
            assert_eq!(revision_of(&file_name(revision)), Some(revision));
        }
        for other in ["LOCK", "42.log", "00000000000000000042.tmp", "99999999999999999999.log"] {
            assert_eq!(revision_of(other), None, "{other}");
        }
        assert_eq!(revision_of("+0000000000000000042.log"), None);
    }
}
