//! Wall time and randomness: the only place of the crate that reads either.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A moment in UTC, in whole microseconds since 1970-01-01T00:00:00Z.
///
/// Shown and parsed as RFC 3339 with `Z`. Range: the years 1970 to 9999.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

/// The last microsecond of the year 9999, the largest that RFC 3339 can show.
const MICROS_MAX: u64 = 253_402_300_799_999_999;

impl Timestamp {
    /// Reads the system's wall clock. May go backwards between calls; the writer makes it
    /// non-decreasing along the log.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(u64::try_from(since.as_micros()).unwrap_or(MICROS_MAX))
    }

    /// From microseconds since the Unix epoch; later than the year 9999 is cut to its end.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(if micros > MICROS_MAX { MICROS_MAX } else { micros })
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// How much later than `earlier` this moment is; zero when it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Parses RFC 3339, any offset; `None` when it is not one or lies before 1970.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let moment: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(moment.as_microsecond()).ok().map(Self::from_micros)
    }
}

/// A duration in seconds, whole microseconds: the nearest double, so that it is shown without a
/// tail of digits.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "the nearest double is what is wanted")]
pub fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(moment) => write!(f, "{moment:.6}"),
            Err(_) => f.write_str("9999-12-31T23:59:59.999999Z"),
        }
    }
}

/// A fresh UUIDv7: ordered by time of making, unique by randomness.
#[must_use]
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

/// 64 random bits from the operating system.
#[must_use]
pub fn random_u64() -> u64 {
    // The last eight bytes of a version 4 UUID: 62 random bits and the fixed variant; mixing in
    // the first eight covers the fixed ones.
    let (high, low) = Uuid::new_v4().as_u64_pair();
    high.rotate_left(32) ^ low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_show_and_parse_as_rfc_3339() {
        let moment = Timestamp::from_micros(1_700_000_000_123_456);
        assert_eq!(moment.to_string(), "2023-11-14T22:13:20.123456Z");
        assert_eq!(Timestamp::parse("2023-11-14T22:13:20.123456Z"), Some(moment));
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20.123456+01:00"), Some(moment));
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), None);
    }
}
