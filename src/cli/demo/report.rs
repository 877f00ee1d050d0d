//! What the demo says: lines, checks that hold or not, and latencies.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use super::super::Failure;
use super::super::output::thousands;

/// One line on standard output. That nobody reads it is no reason to stop.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Checks, told as they are made and counted.
#[derive(Debug, Default)]
pub(super) struct Checks {
    made: usize,
    failed: usize,
}

impl Checks {
    /// Tells that `what` holds, or that it does not.
    pub(super) fn that(&mut self, holds: bool, what: impl Display) {
        self.made += 1;
        self.failed += usize::from(!holds);
        say(format_args!("  [{}] {what}", if holds { "ok" } else { "FAILED" }));
    }

    /// An error when any check failed.
    pub(super) fn end(self) -> Result<(), Failure> {
        match self.failed {
            0 => Ok(()),
            failed => Err(format!("{failed} of {} checks failed", self.made).into()),
        }
    }
}

/// How long many of the same took.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    /// One more.
    pub(super) fn add(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// p50 and p99 in milliseconds; a dash when there are none.
    pub(super) fn summary(&mut self) -> String {
        self.0.sort_unstable();
        match (self.percentile(50), self.percentile(99)) {
            (Some(p50), Some(p99)) => format!("p50 {}, p99 {}", millis(p50), millis(p99)),
            _ => "-".to_owned(),
        }
    }

    /// The smallest that at least `percent` of 100 do not exceed (nearest rank), of sorted ones.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied()
    }
}

/// Milliseconds with two digits.
pub(super) fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// How many of something a second, with spaces between thousands.
pub(super) fn rate(count: usize, duration: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = count as f64 / duration.as_secs_f64().max(1e-9);
    thousands(&format!("{rate:.0}")) + "/s"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), "-");
        (1..=200).rev().for_each(|n| latencies.add(Duration::from_millis(n)));
        assert_eq!(latencies.summary(), "p50 100.00 ms, p99 198.00 ms");
        let mut one = Latencies::default();
        one.add(Duration::from_micros(20));
        assert_eq!(one.summary(), "p50 0.02 ms, p99 0.02 ms");
    }

    #[test]
    fn rates_are_grouped() {
        assert_eq!(rate(12_345_678, Duration::from_secs(1)), "12 345 678/s");
        assert_eq!(rate(999, Duration::from_secs(1)), "999/s");
        assert_eq!(rate(1, Duration::from_millis(1)), "1 000/s");
    }

    #[test]
    fn a_failed_check_fails_the_whole() {
        let mut checks = Checks::default();
        checks.that(true, "one");
        assert!(checks.end().is_ok());
        let mut checks = Checks::default();
        checks.that(true, "one");
        checks.that(false, "two");
        assert_eq!(checks.end().expect_err("failed").to_string(), "1 of 2 checks failed");
    }
}
