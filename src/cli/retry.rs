//! When a stream that broke is begun again, and how long to wait before.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use crate::types::{Error, ErrorKind};

/// Before the second attempt; pauses double from there, with jitter.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Between two attempts at most: a server that comes back is noticed soon.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Whether the same request may work a little later.
pub(super) fn is_passing(error: &Error) -> bool {
    match error.kind {
        ErrorKind::Unavailable => true,
        ErrorKind::ResourceExhausted => error.retry_after.is_some(),
        ErrorKind::InvalidArgument
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Conflict
        | ErrorKind::FailedPrecondition
        | ErrorKind::TooLarge
        | ErrorKind::CursorExpired
        | ErrorKind::CursorUnknown
        | ErrorKind::DeadlineExceeded
        | ErrorKind::Cancelled
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::Unimplemented
        | ErrorKind::Corrupt
        | ErrorKind::Internal => false,
    }
}

/// A stream that broke: since when nothing came, and when to give it up.
#[derive(Debug)]
pub(super) struct Outage {
    give_up_after: Duration,
    since: Option<Instant>,
    pauses: ExponentialBackoff,
}

impl Outage {
    /// Gives up when nothing came for so long; zero: at once.
    pub(super) fn new(give_up_after: Duration) -> Self {
        Self { give_up_after, since: None, pauses: pauses() }
    }

    /// Something came.
    pub(super) fn over(&mut self) {
        if self.since.take().is_some() {
            self.pauses = pauses();
        }
    }

    /// How long to wait before the next attempt, at least as long as the server asks for; `None`:
    /// it lasts too long.
    pub(super) fn pause(&mut self, error: &Error) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let pause = self.pauses.next().unwrap_or(PAUSE_MAX);
        let pause = pause.max(error.retry_after.unwrap_or_default());
        (since.elapsed() + pause <= self.give_up_after).then_some(pause)
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX / 2)
        // Adds up to as much again.
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Error {
        Error::unavailable("broken")
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_ends_when_something_comes_or_it_lasts_too_long() {
        let mut outage = Outage::new(Duration::from_secs(60));
        let (mut attempts, began) = (0, Instant::now());
        while let Some(pause) = outage.pause(&broken()) {
            assert!(pause >= PAUSE_MIN && pause <= PAUSE_MAX, "{pause:?}");
            tokio::time::sleep(pause).await;
            attempts += 1;
        }
        assert!(began.elapsed() <= Duration::from_secs(60) && attempts > 10, "{attempts}");
        assert!(began.elapsed() > Duration::from_secs(50), "{:?}", began.elapsed());
        outage.over();
        assert!(outage.pause(&broken()).is_some_and(|pause| pause <= 2 * PAUSE_MIN));
        assert_eq!(Outage::new(Duration::ZERO).pause(&broken()), None);
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        assert!(is_passing(&broken()));
        let busy = Error::new(ErrorKind::ResourceExhausted, "busy");
        assert!(!is_passing(&busy));
        assert!(is_passing(&busy.retry_after(Duration::from_secs(1))));
        assert!(!is_passing(&Error::not_found("gone")));
    }
}
