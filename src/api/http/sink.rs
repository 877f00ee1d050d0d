//! A response body that a task writes, piece by piece, as fast as the client takes it.
//!
//! The hand-off holds one piece, so the task is never more than two ahead of the connection. A
//! client that takes nothing for `limits.subscriber_stall_ms` is cut: what the task holds (a
//! snapshot, a subscription) is freed, and the body ends with an error rather than as if whole.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::types::Limits;

/// Pieces between the task and the connection.
const PIECES_AHEAD: usize = 1;

/// The client takes no more: it left, or it stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The end that the task writes to.
#[derive(Debug)]
pub(super) struct Sink {
    pieces: mpsc::Sender<Bytes>,
    stall: Duration,
    stalled: Arc<AtomicBool>,
}

impl Sink {
    /// Waits until there is room for a piece, so that none need be held meanwhile. [`Gone`] means:
    /// stop.
    pub(super) async fn ready(&mut self) -> Result<(), Gone> {
        // Nobody else sends: the room stays.
        self.in_time(self.pieces.reserve()).await.map(drop)
    }

    /// Hands a piece over; waits until there is room for it. [`Gone`] means: stop.
    pub(super) async fn send(&mut self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.in_time(self.pieces.send(piece.into())).await
    }

    async fn in_time<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Gone> {
        match tokio::time::timeout(self.stall, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                self.stalled.store(true, Ordering::Release);
                tracing::info!(stall = ?self.stall, "a client takes nothing: its stream is cut");
                Err(Gone)
            }
        }
    }

    /// Whether a piece was not taken in time.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Resolves when the client left.
    pub(super) async fn gone(&self) {
        self.pieces.closed().await;
    }
}

/// A body that the task which `write` makes writes to. `name` is for the log.
pub(super) fn body<F: Future<Output = ()> + Send + 'static>(
    tasks: &TaskTracker,
    limits: &Limits,
    name: &'static str,
    write: impl FnOnce(Sink) -> F,
) -> Body {
    let (pieces, taken) = mpsc::channel(PIECES_AHEAD);
    let stalled = Arc::new(AtomicBool::new(false));
    let stall = Duration::from_millis(limits.subscriber_stall_ms);
    let sink = Sink { pieces, stall, stalled: Arc::clone(&stalled) };
    tasks.spawn(write(sink).instrument(tracing::info_span!("stream", name)));
    Body::from_stream(stream::unfold(Some((taken, stalled)), |state| async move {
        let (mut taken, stalled) = state?;
        match taken.recv().await {
            Some(piece) => Some((Ok(piece), Some((taken, stalled)))),
            None if stalled.load(Ordering::Acquire) => {
                let error = io::Error::new(io::ErrorKind::TimedOut, "the client took nothing");
                Some((Err(error), None))
            }
            None => None,
        }
    }))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_order_and_the_end_is_clean() {
        let tasks = TaskTracker::new();
        let body = body(&tasks, &Limits::default(), "test", |mut sink| async move {
            for piece in ["a", "b", "c"] {
                sink.send(piece).await.expect("the client is there");
            }
        });
        assert_eq!(body.collect().await.expect("whole").to_bytes(), "abc");
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn the_task_stays_close_to_the_client_and_ends_when_it_leaves() {
        let tasks = TaskTracker::new();
        let (report, mut sent) = mpsc::channel(100);
        let mut body = body(&tasks, &Limits::default(), "test", |mut sink| async move {
            for number in 0.. {
                let Ok(()) = sink.send(vec![0_u8]).await else { return };
                report.send(number).await.expect("the test listens");
            }
        });
        assert!(body.frame().await.is_some());
        drop(body);
        tasks.close();
        tasks.wait().await;
        let mut last = None;
        while let Some(number) = sent.recv().await {
            last = Some(number);
        }
        assert!(last <= Some(2), "{last:?} pieces were handed over and nobody took them");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_is_cut_with_an_error() {
        let tasks = TaskTracker::new();
        let limits = Limits { subscriber_stall_ms: 1_000, ..Limits::default() };
        let mut body = body(&tasks, &limits, "test", |mut sink| async move {
            while sink.send("x").await.is_ok() {}
        });
        tasks.close();
        tasks.wait().await;
        assert!(body.frame().await.expect("what was handed over").is_ok());
        assert!(body.frame().await.expect("the cut").is_err());
        assert!(body.frame().await.is_none());
    }
}
