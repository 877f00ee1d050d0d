//! Closes connections whose client takes nothing: hides when a write counts as stalled.
//!
//! A client that sends without reading is not stalled, however long its upload takes: every byte
//! that comes in starts the time anew. (A plain write timeout would cut such an upload.)

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A connection that fails with `TimedOut` when bytes wait to be taken and for `limit` none was
/// taken and none came in.
pub(super) struct StallGuard<T> {
    stream: T,
    limit: Duration,
    /// Set while a write waits.
    deadline: Pin<Box<Sleep>>,
    waiting: bool,
    stalled: Stalled,
}

/// Whether a connection was failed for that reason. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Stalled(Arc<AtomicBool>);

impl Stalled {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<T> StallGuard<T> {
    pub(super) fn new(stream: T, limit: Duration) -> Self {
        let deadline = Box::pin(tokio::time::sleep(limit));
        Self { stream, limit, deadline, waiting: false, stalled: Stalled::default() }
    }

    /// Tells, also later, whether it failed.
    pub(super) fn stalled(&self) -> Stalled {
        self.stalled.clone()
    }

    fn restart(&mut self) {
        let deadline = Instant::now() + self.limit;
        self.deadline.as_mut().reset(deadline);
    }

    /// Passes a write's answer on; one that waits too long becomes an error.
    fn guard<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        if !std::mem::replace(&mut self.waiting, true) {
            self.restart();
        }
        ready!(self.deadline.as_mut().poll(cx));
        self.stalled.0.store(true, Ordering::Release);
        let why = "the client took nothing for longer than subscriber_stall_ms";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for StallGuard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if self.waiting && buffer.filled().len() > before {
            self.restart();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for StallGuard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.guard(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.guard(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_after_the_limit_and_not_before() {
        let (ours, _theirs) = duplex(4);
        let mut guarded = StallGuard::new(ours, LIMIT);
        let start = Instant::now();
        let stalled = guarded.stalled();
        assert!(!stalled.is_set());
        let error = guarded.write_all(b"more than fits").await.expect_err("cut");
        assert!(stalled.is_set());
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= LIMIT && start.elapsed() < LIMIT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_anything_to_take_does_not_count() {
        let (ours, mut theirs) = duplex(4);
        let mut guarded = StallGuard::new(ours, LIMIT);
        tokio::time::sleep(2 * LIMIT).await;
        let write = tokio::spawn(async move { guarded.write_all(b"12345678").await });
        tokio::time::sleep(LIMIT / 2).await;
        let mut taken = [0; 8];
        theirs.read_exact(&mut taken).await.expect("all of it");
        write.await.expect("no panic").expect("written");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_without_reading_is_not_cut() {
        let (ours, mut theirs) = duplex(4);
        let (mut reader, mut writer) = tokio::io::split(StallGuard::new(ours, LIMIT));
        let write = tokio::spawn(async move { writer.write_all(b"replies").await });
        for _ in 0..5 {
            tokio::time::sleep(LIMIT / 2).await;
            theirs.write_all(b"line").await.expect("sent");
            let mut line = [0; 4];
            reader.read_exact(&mut line).await.expect("read");
        }
        assert!(!write.is_finished());
        let mut replies = [0; 7];
        theirs.read_exact(&mut replies).await.expect("read at last");
        write.await.expect("no panic").expect("written");
    }
}
