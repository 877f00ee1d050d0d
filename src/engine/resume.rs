//! Whether the feed can go on behind a cursor, and what to tell a reader when it cannot.

use crate::log::LogBounds;
use crate::types::{Cursor, Epoch, Error, ErrorKind, Result, Revision};

/// The epoch that a revision is of: that of the last span which begins at or below it.
pub(super) fn epoch_of(bounds: &LogBounds, revision: Revision) -> Epoch {
    let spans = &bounds.epochs;
    let at = spans.partition_point(|(_, first)| *first <= revision);
    spans.get(at.saturating_sub(1)).map_or(Epoch(0), |(epoch, _)| *epoch)
}

pub(super) fn check_cursor(bounds: &LogBounds, tail: Revision, cursor: Cursor) -> Result<()> {
    let known = |epoch| bounds.epochs.iter().any(|(one, _)| *one == epoch);
    if cursor.revision.next() < bounds.floor {
        // Epochs sort by the time of their making: an older one than all that are left is past.
        let past = bounds.epochs.first().is_some_and(|(oldest, _)| cursor.epoch < *oldest);
        return Err(match known(cursor.epoch) || past {
            true => expired(bounds),
            false => unknown("is of another log, or of a history that was lost"),
        });
    }
    check_revision(bounds, tail, cursor.revision)?;
    // Just below the floor any known epoch will do: which one it was is trimmed away.
    let below = cursor.revision < bounds.floor && cursor.epoch <= epoch_of(bounds, bounds.floor);
    if below || epoch_of(bounds, cursor.revision) == cursor.epoch {
        return Ok(());
    }
    Err(unknown("is of another log, or of a history that was lost"))
}

pub(super) fn check_revision(bounds: &LogBounds, tail: Revision, revision: Revision) -> Result<()> {
    if revision > tail {
        return Err(unknown(&format!("is ahead of the feed, which ends at revision {tail}")));
    }
    if revision.next() < bounds.floor {
        return Err(expired(bounds));
    }
    Ok(())
}

fn unknown(why: &str) -> Error {
    let detail = format!("the cursor {why}: take a fresh export and follow from its cursor");
    Error::new(ErrorKind::CursorUnknown, detail)
}

pub(super) fn expired(bounds: &LogBounds) -> Error {
    let before = Revision(bounds.floor.0.saturating_sub(1));
    let floor = Cursor::after(epoch_of(bounds, before), before);
    let detail = format!(
        "changes before revision {} are trimmed away: take a fresh export and follow from its \
         cursor, or lose them and follow from {floor}",
        bounds.floor
    );
    Error { floor: Some(floor), ..Error::new(ErrorKind::CursorExpired, detail) }
}
