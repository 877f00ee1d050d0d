//! Reading: from a revision or a time to the changes, over as many pieces as it takes.

use std::sync::Arc;

use super::piece::Piece;
use super::records::Records;
use super::{Readable, Shared};
use crate::log::ReadError;
use crate::types::{Change, ChangeHead, Revision, Timestamp};

/// A stretch of one piece that can be read.
struct Stretch {
    piece: Arc<Piece>,
    /// No byte at or beyond is readable yet.
    length: u64,
    /// Where the next piece begins, when there is one.
    next_first: Option<Revision>,
}

/// What one read has gathered.
struct Page<T> {
    items: Vec<T>,
    bytes: usize,
    bytes_target: usize,
    /// The highest revision that is gathered or was not asked for.
    after: Revision,
}

impl Shared {
    pub(super) fn read_heads(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Arc<ChangeHead>>, ReadError> {
        self.read(after, bytes_target, Records::head_bytes, |records| records.head().map(Arc::new))
    }

    pub(super) fn read_changes(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Change>, ReadError> {
        self.read(after, bytes_target, Records::record_bytes, Records::change)
    }

    fn read<T>(
        &self,
        after: Revision,
        bytes_target: usize,
        cost: impl Fn(&Records) -> usize,
        decode: impl Fn(&mut Records) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let mut page = Page { items: Vec::new(), bytes: 0, bytes_target, after };
        match self.fill(&mut page, cost, decode) {
            Ok(()) => Ok(page.items),
            // What lies before the damage is good; who reads on is told.
            Err(_) if !page.items.is_empty() => Ok(page.items),
            // A file that is gone or going was trimmed while this read was under way.
            Err(error) => {
                self.with(|readable| readable.check_floor(page.after))?;
                Err(error)
            }
        }
    }

    fn fill<T>(
        &self,
        page: &mut Page<T>,
        cost: impl Fn(&Records) -> usize,
        decode: impl Fn(&mut Records) -> Result<T, ReadError>,
    ) -> Result<(), ReadError> {
        while let Some(stretch) = self.with(|readable| readable.stretch_after(page.after))? {
            let mut records = stretch.piece.records_after(page.after, stretch.length)?;
            while let Some(place) = records.place()? {
                if place.revision > page.after {
                    let cost = cost(&records);
                    if !page.items.is_empty() && page.bytes + cost > page.bytes_target {
                        return Ok(());
                    }
                    page.items.push(decode(&mut records)?);
                    page.bytes += cost;
                    page.after = place.revision;
                }
                records.skip();
            }
            match stretch.next_first {
                None => return Ok(()),
                Some(first) if first == page.after.next() => {}
                Some(first) => {
                    let (path, end) = (stretch.piece.path().display(), page.after);
                    let detail = format!("{path} ends at revision {end}, the next begins {first}");
                    return Err(ReadError::Corrupt(detail));
                }
            }
        }
        Ok(())
    }

    pub(super) fn seek(&self, time: Timestamp) -> Result<Revision, ReadError> {
        // As in a read: an error may only mean that the piece was trimmed meanwhile; then the
        // answer lies behind it.
        loop {
            let (stretch, fallback) = self.with(|readable| readable.stretch_before(time));
            let Some(stretch) = stretch else {
                return Ok(fallback);
            };
            match stretch.first_from(time) {
                Ok(found) => return Ok(found.unwrap_or(fallback)),
                Err(error) => {
                    let before = Revision(stretch.piece.header().first.0 - 1);
                    if self.with(|readable| readable.check_floor(before)).is_ok() {
                        return Err(error);
                    }
                }
            }
        }
    }
}

impl Stretch {
    /// The revision before the first change made at `time` or later.
    fn first_from(&self, time: Timestamp) -> Result<Option<Revision>, ReadError> {
        let mut records = self.piece.records_from(time, self.length)?;
        while let Some(place) = records.place()? {
            if place.time >= time {
                return Ok(Some(Revision(place.revision.0 - 1)));
            }
            records.skip();
        }
        Ok(None)
    }
}

impl Readable {
    fn check_floor(&self, after: Revision) -> Result<(), ReadError> {
        let floor = self.floor();
        if after.0 < floor.0 - 1 { Err(ReadError::Trimmed { floor }) } else { Ok(()) }
    }

    /// Where the first change after `after` lies; `None` at the end.
    fn stretch_after(&self, after: Revision) -> Result<Option<Stretch>, ReadError> {
        self.check_floor(after)?;
        if after >= self.tail.end {
            return Ok(None);
        }
        let behind = self.pieces.partition_point(|piece| piece.header().first <= after.next());
        Ok(self.stretch(behind))
    }

    /// The only place where the first change made at `time` or later can be, and the answer when
    /// it is not there.
    fn stretch_before(&self, time: Timestamp) -> (Option<Stretch>, Revision) {
        // A piece's start time is that of the change before it: if that is late enough, the
        // change looked for is that one or an earlier one.
        let behind = self.pieces.partition_point(|piece| piece.header().start_time < time);
        let fallback = match self.pieces.get(behind) {
            Some(next) => Revision(next.header().first.0 - 1),
            None => self.tail.end,
        };
        (self.stretch(behind), fallback)
    }

    /// The piece before the one at this place.
    fn stretch(&self, behind: usize) -> Option<Stretch> {
        let piece = Arc::clone(self.pieces.get(behind.checked_sub(1)?)?);
        let length = piece.length();
        let next_first = self.pieces.get(behind).map(|next| next.header().first);
        Some(Stretch { piece, length, next_first })
    }
}
