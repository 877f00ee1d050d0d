//! Whether the feed can go on behind a cursor, and what to tell a reader when it cannot.

use crate::log::LogBounds;
use crate::types::{Cursor, Epoch, Error, ErrorKind, Result, Revision};

/// The epoch that a revision at `floor − 1` or above is of.
pub(super) fn epoch_of(bounds: &LogBounds, revision: Revision) -> Epoch {
    if revision < bounds.floor {
        return bounds.epoch_before;
    }
    // The last span that begins at or below it.
    let spans = &bounds.epochs;
    let at = spans.partition_point(|(_, first)| *first <= revision);
    spans.get(at.saturating_sub(1)).map_or(Epoch(0), |(epoch, _)| *epoch)
}

/// Whether the log has, or has just before its floor, changes of this epoch.
pub(super) fn is_known(bounds: &LogBounds, epoch: Epoch) -> bool {
    bounds.epoch_before == epoch || bounds.epochs.iter().any(|(one, _)| *one == epoch)
}

pub(super) fn check_cursor(bounds: &LogBounds, tail: Revision, cursor: Cursor) -> Result<()> {
    if is_trimmed_behind(bounds, cursor.revision) {
        // Epochs sort by the time of their making: an older one than all that are left is past.
        let past = cursor.epoch < bounds.epoch_before;
        return Err(match is_known(bounds, cursor.epoch) || past {
            true => expired(bounds),
            false => unknown("is of another log, or of a history that was lost"),
        });
    }
    check_revision(bounds, tail, cursor.revision)?;
    if epoch_of(bounds, cursor.revision) != cursor.epoch {
        return Err(unknown("is of another log, or of a history that was lost"));
    }
    Ok(())
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

pub(super) fn unknown(why: &str) -> Error {
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
            epoch_before: Epoch(7),
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

    const BEFORE: Epoch = Epoch(5);
    const FIRST: Epoch = Epoch(10);
    const SECOND: Epoch = Epoch(20);

    /// Revision 4, now gone, was of the epoch before; revisions 5 to 9 are of the first epoch, 10 to
    /// 12 of the second.
    fn bounds() -> LogBounds {
        LogBounds {
            epochs: vec![(FIRST, Revision(5)), (SECOND, Revision(10))],
            epoch_before: BEFORE,
            floor: Revision(5),
            end: Revision(12),
            end_time: Timestamp::default(),
            end_events: 100,
            bytes: 0,
        }
    }

    fn check(epoch: Epoch, revision: u64, ordinal: u32) -> Result<(), ErrorKind> {
        let cursor = Cursor { epoch, revision: Revision(revision), ordinal };
        check_cursor(&bounds(), Revision(12), cursor).map_err(|error| error.kind)
    }

    fn whole(epoch: Epoch, revision: u64) -> Result<(), ErrorKind> {
        check(epoch, revision, Cursor::ALL)
    }

    #[test]
    fn a_revision_is_of_the_last_epoch_that_begins_at_or_below_it() {
        let of = |revision| epoch_of(&bounds(), Revision(revision));
        assert_eq!(of(4), BEFORE);
        assert_eq!([of(5), of(9)], [FIRST; 2]);
        assert_eq!([of(10), of(12), of(13)], [SECOND; 3]);
    }

    #[test]
    fn cursors_are_good_from_just_below_the_floor_to_the_tail() {
        for (epoch, revision) in [(BEFORE, 4), (FIRST, 5), (FIRST, 9), (SECOND, 10), (SECOND, 12)] {
            for ordinal in [0, 3, 3 | Cursor::LAST, Cursor::ALL] {
                assert_eq!(check(epoch, revision, ordinal), Ok(()), "{revision} {ordinal}");
            }
        }
    }

    #[test]
    fn a_cursor_below_that_is_expired_in_a_known_epoch_or_an_older_one() {
        assert_eq!(whole(FIRST, 3), Err(ErrorKind::CursorExpired));
        assert_eq!(whole(FIRST, 0), Err(ErrorKind::CursorExpired));
        assert_eq!(whole(BEFORE, 3), Err(ErrorKind::CursorExpired));
        assert_eq!(whole(Epoch(3), 3), Err(ErrorKind::CursorExpired));
        assert_eq!(whole(Epoch(15), 3), Err(ErrorKind::CursorUnknown));
        assert_eq!(whole(Epoch(99), 3), Err(ErrorKind::CursorUnknown));
    }

    #[test]
    fn just_below_the_floor_only_the_epoch_of_what_was_there_will_do() {
        assert_eq!(whole(Epoch(3), 4), Err(ErrorKind::CursorUnknown));
        assert_eq!(whole(FIRST, 4), Err(ErrorKind::CursorUnknown));
        assert_eq!(whole(SECOND, 4), Err(ErrorKind::CursorUnknown));
        assert_eq!(whole(Epoch(99), 4), Err(ErrorKind::CursorUnknown));
    }

    #[test]
    fn a_cursor_of_another_history_is_unknown() {
        // The first epoch went on to 10 before it was lost.
        assert_eq!(whole(FIRST, 10), Err(ErrorKind::CursorUnknown));
        assert_eq!(whole(SECOND, 9), Err(ErrorKind::CursorUnknown));
        assert_eq!(whole(Epoch(15), 7), Err(ErrorKind::CursorUnknown));
    }

    #[test]
    fn a_cursor_ahead_of_the_tail_is_unknown() {
        assert_eq!(whole(SECOND, 13), Err(ErrorKind::CursorUnknown));
        assert_eq!(check(SECOND, 13, 0), Err(ErrorKind::CursorUnknown));
        let durable_not_applied =
            check_cursor(&bounds(), Revision(11), Cursor::after(SECOND, Revision(12)));
        assert_eq!(durable_not_applied.map_err(|e| e.kind), Err(ErrorKind::CursorUnknown));
    }

    #[test]
    fn revisions_are_checked_against_floor_and_tail() {
        let check = |revision| {
            check_revision(&bounds(), Revision(12), Revision(revision)).map_err(|error| error.kind)
        };
        assert_eq!(check(3), Err(ErrorKind::CursorExpired));
        assert_eq!([check(4), check(5), check(12)], [Ok(()); 3]);
        assert_eq!(check(13), Err(ErrorKind::CursorUnknown));
    }

    #[test]
    fn an_expired_reader_is_told_a_floor_that_is_good() {
        let floor = expired(&bounds()).floor.expect("a floor");
        assert_eq!(floor, Cursor::after(BEFORE, Revision(4)));
        assert_eq!(check_cursor(&bounds(), Revision(12), floor), Ok(()));
    }
}
