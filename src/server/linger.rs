//! Lets a connection's last bytes arrive: hides that the system resets a connection which is closed
//! before all that its client has sent is read, and with it forgets what the client has not got yet.
//!
//! So the end of a stream, a refusal in the middle of an upload, the last word of a shutdown would
//! be lost, by chance.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;

/// Bytes that are read at once of what nobody wants.
const DISCARDED_BYTES: usize = 8 << 10;

/// Ends what is sent, then reads and forgets what still comes, until the client has closed its side
/// too, for `limit` at most.
pub(super) async fn linger<T: AsyncRead + AsyncWrite + Unpin>(mut stream: T, limit: Duration) {
    let closed = async {
        stream.shutdown().await?;
        let mut discarded = [0; DISCARDED_BYTES];
        while stream.read(&mut discarded).await? > 0 {}
        io::Result::Ok(())
    };
    // However it ends, the stream is done with.
    let _ = tokio::time::timeout(limit, closed).await;
}

/// A stream that comes back when its borrower, which takes it by value, drops it.
pub(super) struct Lent<T> {
    stream: Option<T>,
    back: Option<oneshot::Sender<T>>,
}

impl<T> Lent<T> {
    /// The second of the two gives the stream back.
    pub(super) fn new(stream: T) -> (Self, oneshot::Receiver<T>) {
        let (back, returned) = oneshot::channel();
        (Self { stream: Some(stream), back: Some(back) }, returned)
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody may want it back.
            let _ = back.send(stream);
        }
    }
}

impl<T: Unpin> Lent<T> {
    fn stream(&mut self) -> Pin<&mut T> {
        Pin::new(self.stream.as_mut().expect("it is there until the drop"))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// More than the buffers of both sides hold.
    const REPLY_BYTES: usize = 16 << 20;

    #[tokio::test]
    async fn a_client_that_is_still_sending_gets_all_that_was_written_to_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");
        let serving = tokio::spawn(async move {
            let (mut lent, returned) = Lent::new(stream);
            lent.write_all(&vec![1; REPLY_BYTES]).await.expect("written");
            drop(lent);
            linger(returned.await.expect("given back"), Duration::from_secs(60)).await;
        });
        let (mut reader, mut writer) = client.into_split();
        let mut reply = vec![0; 1 << 10];
        let mut got = 0;
        loop {
            // Never read by the other side.
            let _ = writer.write_all(b"window update").await;
            match reader.read(&mut reply).await.expect("not reset") {
                0 => break,
                n => got += n,
            }
        }
        assert_eq!(got, REPLY_BYTES);
        drop((reader, writer));
        serving.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_is_not_waited_for_longer_than_the_limit() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let begun = tokio::time::Instant::now();
        linger(ours, Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.expect("closed");
        assert!(rest.is_empty());
    }
}
