//! Position in the log: revision, epoch, cursor, and the ways to name a start.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::clock::{Timestamp, random_u64};
use super::error::{Error, Result};

/// The number of a change: strictly increasing over the whole server, gaps allowed, the first
/// is 1. Zero stands for "before all changes". In JSON a string.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Revision(pub u64);

impl Revision {
    /// Before all changes.
    pub const ZERO: Self = Self(0);

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Parses a decimal number; `invalid-argument` naming `field` otherwise.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        text.parse()
            .map(Self)
            .map_err(|_| Error::invalid(field, format!("{text:?} is not a revision")))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A random number that tells one history from another, so that (epoch, revision) is never
/// reused: made with the log, made anew when history may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// A fresh one: seconds since 1970 in the high half, so that later histories sort later, and
    /// 32 random bits below.
    #[must_use]
    pub fn generate() -> Self {
        let seconds = Timestamp::now().micros() / 1_000_000;
        Self((seconds << 32) | (random_u64() & 0xffff_ffff))
    }
}

/// A place in the feed: "up to and including this event is mine"; what follows comes next.
///
/// As text 40 lower-case hexadecimal digits (epoch 16, revision 16, ordinal 8), so that within a
/// log cursors sort as text. Opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The history it belongs to.
    pub epoch: Epoch,
    /// The change it stands in.
    pub revision: Revision,
    /// The event of that change, counted from 0, with [`Cursor::LAST`] set when it is the last;
    /// [`Cursor::ALL`] for the whole change.
    pub ordinal: u32,
}

impl Cursor {
    /// The ordinal that stands behind every event of a change.
    pub const ALL: u32 = u32::MAX;

    /// Set in the ordinal of a change's last event: a reader that has it has the whole change, so
    /// it can resume even when the change itself is trimmed away. Keeps the order.
    pub const LAST: u32 = 1 << 31;

    /// Behind the whole of `revision`.
    #[must_use]
    pub const fn after(epoch: Epoch, revision: Revision) -> Self {
        Self { epoch, revision, ordinal: Self::ALL }
    }

    /// Whether nothing of its change is left to read.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.ordinal & Self::LAST != 0
    }

    /// The event of its change, counted from 0, of a cursor that is an event's id.
    #[must_use]
    pub const fn place(self) -> u32 {
        self.ordinal & !Self::LAST
    }

    /// The last revision of which nothing is left to read: what follows it is to be read.
    #[must_use]
    pub const fn whole_before(self) -> Revision {
        match self.is_whole() {
            true => self.revision,
            false => Revision(self.revision.0.saturating_sub(1)),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}{:08x}", self.epoch.0, self.revision.0, self.ordinal)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// `invalid-argument` naming `cursor` unless it is 40 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 40 || !text.bytes().all(digit) {
            return Err(Error::invalid(
                "cursor",
                "must be a cursor from this server, or begin, now, revision:N or time:RFC3339",
            ));
        }
        let part = |range: std::ops::Range<usize>| u64::from_str_radix(&text[range], 16);
        match (part(0..16), part(16..32), u32::from_str_radix(&text[32..40], 16)) {
            (Ok(epoch), Ok(revision), Ok(ordinal)) => {
                Ok(Self { epoch: Epoch(epoch), revision: Revision(revision), ordinal })
            }
            _ => Err(Error::invalid("cursor", "must be a cursor from this server")),
        }
    }
}

/// Where to start reading the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest change that can still be read.
    Begin,
    /// With the first change after this request.
    Now,
    /// After this cursor.
    Cursor(Cursor),
    /// After this revision.
    Revision(Revision),
    /// With the first change made at this moment or later.
    Time(Timestamp),
}

impl FromStr for StartAt {
    type Err = Error;

    /// `begin`, `now`, `revision:N`, `time:RFC3339` or a cursor; `invalid-argument` naming
    /// `cursor` otherwise.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(revision) = text.strip_prefix("revision:") {
            return Revision::parse("cursor", revision).map(Self::Revision);
        }
        if let Some(time) = text.strip_prefix("time:") {
            return Timestamp::parse(time)
                .map(Self::Time)
                .ok_or_else(|| Error::invalid("cursor", format!("{time:?} is not RFC 3339")));
        }
        match text {
            "begin" => Ok(Self::Begin),
            "now" => Ok(Self::Now),
            _ => text.parse().map(Self::Cursor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip_and_sort_as_text(
            a in (any::<u64>(), any::<u64>(), any::<u32>()),
            b in (any::<u64>(), any::<u64>(), any::<u32>()),
        ) {
            let make = |(e, r, o)| Cursor { epoch: Epoch(e), revision: Revision(r), ordinal: o };
            let (a, b) = (make(a), make(b));
            prop_assert_eq!(a.to_string().parse::<Cursor>(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn any_text_is_a_start_or_an_error(text in "\\PC*") {
            let _ = text.parse::<StartAt>();
        }
    }

    #[test]
    fn named_starts_parse() {
        assert_eq!("begin".parse(), Ok(StartAt::Begin));
        assert_eq!("revision:7".parse(), Ok(StartAt::Revision(Revision(7))));
        assert!(matches!("time:2026-01-01T00:00:00Z".parse(), Ok(StartAt::Time(_))));
        for bad in ["", "revision:", "revision:-1", "time:now", "BEGIN"] {
            assert!(bad.parse::<StartAt>().is_err(), "{bad}");
        }
    }
}
