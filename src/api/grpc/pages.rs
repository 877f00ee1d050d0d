//! Streams that a task fills page by page: what is read ahead, and clients that take nothing.
//!
//! The task is what can notice a client that takes nothing: a reply that nobody polls cannot.
//! Memory a stream: the page being sent, the one behind it, and the one that the task holds.

use std::time::Duration;

use async_stream::stream;
use futures::Stream;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::types::{Error, ErrorKind, Limits, Result};

/// Pages between the task and the connection: one is read while one is being sent.
const PAGES_AHEAD: usize = 1;

/// Where a task puts its pages.
#[derive(Debug)]
pub(super) struct Pages<T> {
    sender: mpsc::Sender<Vec<T>>,
    stall: Duration,
}

impl<T> Pages<T> {
    /// Waits until there is room for a page, so that none need be held meanwhile; errors as
    /// [`Self::send`].
    pub(super) async fn ready(&self) -> Result<()> {
        // Nobody else sends: the room stays.
        self.in_time(self.sender.reserve()).await.map(drop)
    }

    /// Hands a page to the connection. `cancelled` when the client left, `deadline-exceeded` when
    /// it takes nothing for `limits.subscriber_stall_ms`: either way the task is to end with that.
    pub(super) async fn send(&self, page: Vec<T>) -> Result<()> {
        self.in_time(self.sender.send(page)).await
    }

    async fn in_time<D, E>(
        &self,
        work: impl Future<Output = std::result::Result<D, E>>,
    ) -> Result<D> {
        match tokio::time::timeout(self.stall, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Error::new(ErrorKind::Cancelled, "the client left")),
            Err(_) => {
                let stall_ms = self.stall.as_millis();
                tracing::warn!(stall_ms, "a client takes nothing: its stream is ended");
                let detail = format!("nothing was taken for {stall_ms} ms (subscriber_stall_ms)");
                Err(Error::new(ErrorKind::DeadlineExceeded, detail))
            }
        }
    }

    /// Waits until the client leaves.
    pub(super) async fn left(&self) {
        self.sender.closed().await;
    }
}

/// The messages that `work` sends, then the error that it ends with, if any. `work` runs in a task
/// of `tasks`; dropping the stream makes its next `send` fail.
pub(super) fn pages<T, F>(
    tasks: &TaskTracker,
    limits: &Limits,
    work: impl FnOnce(Pages<T>) -> F,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static
where
    T: Send + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, mut received) = mpsc::channel(PAGES_AHEAD);
    let stall = Duration::from_millis(limits.subscriber_stall_ms);
    let task = tasks.spawn(work(Pages { sender, stall }));
    stream! {
        while let Some(page) = received.recv().await {
            for message in page {
                yield Ok(message);
            }
        }
        match task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => yield Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the task of a stream failed");
                yield Err(Error::internal("the stream could not go on").into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn messages_come_in_order_and_then_the_error() {
        let tasks = TaskTracker::new();
        let stream = pages(&tasks, &Limits::default(), async |pages: Pages<u32>| {
            pages.send(vec![1, 2]).await?;
            pages.send(vec![]).await?;
            pages.send(vec![3]).await?;
            Err(Error::unavailable("the server is shutting down"))
        });
        let read: Vec<_> = stream.map(|next| next.map_err(|status| status.code())).collect().await;
        assert_eq!(read, [Ok(1), Ok(2), Ok(3), Err(tonic::Code::Unavailable)]);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_no_quiet_end() {
        let tasks = TaskTracker::new();
        let stream = pages(&tasks, &Limits::default(), async |pages: Pages<u32>| {
            pages.send(vec![1]).await?;
            panic!("on purpose");
        });
        let read: Vec<_> = stream.map(|next| next.map_err(|status| status.code())).collect().await;
        assert_eq!(read, [Ok(1), Err(tonic::Code::Internal)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let tasks = TaskTracker::new();
        let limits = Limits::default();
        let (ended, end) = oneshot::channel();
        let stream = pages(&tasks, &limits, async move |pages: Pages<u32>| {
            let result = async {
                for page in 0.. {
                    pages.send(vec![page]).await?;
                }
                Ok(())
            };
            let result = result.await;
            let _ = ended.send(tokio::time::Instant::now());
            result
        });
        let begun = tokio::time::Instant::now();
        let ended = end.await.expect("it ends although nobody polls");
        assert_eq!(ended - begun, Duration::from_millis(limits.subscriber_stall_ms));
        let read: Vec<_> = stream.map(|next| next.map_err(|status| status.code())).collect().await;
        assert_eq!(read, [Ok(0), Err(tonic::Code::DeadlineExceeded)]);
    }

    #[tokio::test]
    async fn dropping_the_stream_ends_the_task() {
        let tasks = TaskTracker::new();
        let stream = pages(&tasks, &Limits::default(), async |pages: Pages<u32>| {
            pages.left().await;
            pages.send(vec![1]).await
        });
        tasks.close();
        drop(stream);
        let ended = tokio::time::timeout(Duration::from_secs(20), tasks.wait()).await;
        assert!(ended.is_ok(), "the task goes on");
    }
}
