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
    if is_trimmed_behind(bounds, cursor.revision) {
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
    if is_trimmed_behind(bounds, revision) {
        return Err(expired(bounds));
    }
    Ok(())
}

/// Whether the change that follows `revision` is gone. A client can name any number, the highest
/// one too, which has no next.
fn is_trimmed_behind(bounds: &LogBounds, revision: Revision) -> bool {
    revision < bounds.floor && revision.next() < bounds.floor
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    #[test]
    fn the_highest_number_a_client_can_name_is_ahead_of_every_feed() {
        let bounds = LogBounds {
            epochs: vec![(Epoch(7), Revision(1))],
            floor: Revision(3),
            end: Revision(5),
            end_time: Timestamp::from_micros(0),
            end_events: 5,
            bytes: 0,
        };
        let highest = Revision(u64::MAX);
        for epoch in [Epoch(7), Epoch(u64::MAX)] {
            let error = check_cursor(&bounds, bounds.end, Cursor::after(epoch, highest));
            assert_eq!(error.expect_err("ahead").kind, ErrorKind::CursorUnknown);
        }
        let error = check_revision(&bounds, bounds.end, highest).expect_err("ahead");
        assert_eq!(error.kind, ErrorKind::CursorUnknown);
        let error = check_revision(&bounds, bounds.end, Revision(1)).expect_err("trimmed");
        assert_eq!(error.kind, ErrorKind::CursorExpired);
        assert_eq!(check_revision(&bounds, bounds.end, Revision(2)), Ok(()));
    }
}
