//! Recovery of the last piece: where its good records end, and whether what lies behind is the
//! torn tail of an append that nobody was told about, or damage.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::Durability;
use super::open::{Found, OpenError, at};
use super::piece::{HEADER_BYTES, Index};
use super::records::Records;
use super::state::State;
use crate::log::ReadError;
use crate::log::tail::Tail;
use crate::types::Revision;
use crate::types::codec::{self, CodecError, RecordPrefix};

/// What is known about the last run.
pub(super) struct LastRun {
    /// What it wrote down; `None` when nothing is known.
    pub(super) state: Option<State>,
    /// The machine was started anew since, or may have been.
    pub(super) rebooted: bool,
}

impl LastRun {
    /// It may have acknowledged changes without a sync, which a reboot loses.
    pub(super) fn left_unsynced(&self) -> bool {
        self.state.is_none_or(|state| state.durability == Durability::Os && state.closed.is_none())
    }

    /// It is known to have synced every change before it told anybody.
    pub(super) fn always_synced(&self) -> bool {
        self.state.is_some_and(|state| state.durability == Durability::Fsync)
    }

    /// The system may have written later changes and lost earlier ones.
    fn lost_in_any_order(&self) -> bool {
        self.state.is_some() && self.left_unsynced() && self.rebooted
    }

    /// How many bytes of a piece are known to be durable.
    fn durable_bytes(&self, piece: &Found) -> Result<u64, OpenError> {
        match self.state.and_then(|state| state.closed) {
            Some(closed) if closed.piece > piece.header.first => {
                let path = piece.path.display();
                let detail = format!("the piece {} behind {path} is missing", closed.piece);
                Err(OpenError::Corrupt(detail))
            }
            Some(closed) if closed.piece == piece.header.first => Ok(closed.length),
            Some(_) | None => Ok(0),
        }
    }
}

/// The good part of the last piece.
pub(super) struct Recovered {
    /// Behind its last record.
    pub(super) tail: Tail,
    /// Of its records.
    pub(super) index: Index,
    /// Its bytes; what lies behind may be cut off.
    pub(super) length: u64,
}

/// Reads the last piece whole.
pub(super) fn recover(piece: &Found, last_run: &LastRun) -> Result<Recovered, OpenError> {
    let durable = last_run.durable_bytes(piece)?;
    let mut records = open_records(piece, HEADER_BYTES as u64)?;
    let mut index = Index::default();
    let mut last = None;
    let damage = loop {
        let offset = records.offset();
        match records.place().and_then(|place| records.verify().map(|()| place)) {
            Ok(Some(place)) => {
                index.note(place, offset);
                last = Some((place.revision, offset));
                records.skip();
            }
            Ok(None) => break None,
            Err(ReadError::Corrupt(damage)) => break Some(damage),
            Err(error) => return Err(cannot_read(piece, error)),
        }
    };
    let length = records.offset();
    let end = last.map_or(piece.header.tail().end, |(revision, _)| revision);
    match damage {
        Some(damage) if length < durable => {
            return Err(OpenError::Corrupt(format!("{damage}, in what was closed cleanly")));
        }
        Some(damage) if !is_torn(piece, length, end, last_run)? => {
            return Err(OpenError::Corrupt(damage));
        }
        None if length < durable => {
            let path = piece.path.display();
            let detail = format!("{path} has {length} bytes, but had {durable} when it was closed");
            return Err(OpenError::Corrupt(detail));
        }
        Some(_) | None => {}
    }
    let tail = match last {
        Some((_, offset)) => tail_behind(piece, offset)?,
        None => piece.header.tail(),
    };
    Ok(Recovered { tail, index, length })
}

/// Whether the bad record at `offset`, behind revision `end`, and all that follows are what an
/// interrupted append can leave.
fn is_torn(
    piece: &Found,
    offset: u64,
    end: Revision,
    last_run: &LastRun,
) -> Result<bool, OpenError> {
    let mut rest = Vec::new();
    let mut file = File::open(&piece.path).map_err(at(&piece.path))?;
    file.seek(SeekFrom::Start(offset)).map_err(at(&piece.path))?;
    file.read_to_end(&mut rest).map_err(at(&piece.path))?;
    match codec::verify_record(&rest) {
        Err(CodecError::Truncated | CodecError::Checksum(_)) => {}
        // Its checksums are right: somebody meant this.
        Ok(_) | Err(CodecError::Version(_) | CodecError::Malformed(_)) => return Ok(false),
    }
    if last_run.lost_in_any_order() {
        return Ok(true);
    }
    // An append begins when the one before is over, and over means whole. So if one begins behind
    // the bad record, that record was whole once. A good prefix tells where to look; otherwise
    // everywhere.
    let from = RecordPrefix::read(&rest).map_or(1, RecordPrefix::total);
    let begins_append = |at: usize| {
        codec::find_append(&rest[at..])
            .is_some_and(|place| place.epoch == piece.header.epoch && place.revision > end)
    };
    Ok(!(from..rest.len()).any(begins_append))
}

/// The tail behind the good record at `offset`.
fn tail_behind(piece: &Found, offset: u64) -> Result<Tail, OpenError> {
    let mut records = open_records(piece, offset)?;
    let head = records.place().and_then(|_| records.head());
    let head = head.map_err(|error| cannot_read(piece, error))?;
    Ok(Tail {
        epoch: head.epoch,
        end_epoch: head.epoch,
        end: head.revision,
        end_time: head.time,
        end_events: head.events_before + u64::from(head.kind.num_events()),
    })
}

fn open_records(piece: &Found, offset: u64) -> Result<Records, OpenError> {
    Records::open(&piece.path, piece.header.epoch, offset, piece.length)
        .map_err(|error| cannot_read(piece, error))
}

fn cannot_read(piece: &Found, error: ReadError) -> OpenError {
    match error {
        ReadError::Corrupt(damage) => OpenError::Corrupt(damage),
        ReadError::Io(what) => {
            OpenError::Io { path: piece.path.clone(), error: std::io::Error::other(what) }
        }
        ReadError::Trimmed { .. } => unreachable!("nothing trims a log that is being opened"),
    }
}
