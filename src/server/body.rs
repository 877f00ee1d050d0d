//! The body of a request, which ends in an error when the client cut it short.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A request's body as it comes in.
///
/// Below this, a client that resets an HTTP/2 stream can look like one that has sent everything:
/// hyper ends the body quietly on a reset with NO_ERROR, and tonic takes a reset with CANCEL for
/// the end of a client's stream. An upload that was cut would count as whole. So whatever ends a
/// body before its end is one error here, with no cause inside for anyone to be lenient about.
#[derive(Debug)]
pub(super) struct RequestBody {
    inner: Incoming,
    /// Only HTTP/2 can say after the last frame whether that was the end; HTTP/1.1 reports a body
    /// that is cut by itself.
    http2: bool,
    done: bool,
}

/// The client left before the end of its request's body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request was cut short: {0}")]
pub struct BodyCut(String);

impl RequestBody {
    /// Of a request with this version.
    pub(super) fn new(inner: Incoming, version: http::Version) -> Self {
        Self { inner, http2: version == http::Version::HTTP_2, done: false }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => {
                self.done = true;
                Some(Err(BodyCut(error.to_string())))
            }
            None => {
                self.done = true;
                let cut = self.http2 && !self.inner.is_end_stream();
                cut.then(|| Err(BodyCut("the stream was reset".to_owned())))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
