//! Streams of messages that are encoded already: several to a piece, each with its prefix.
//!
//! tonic encodes one message at a time, for each reader anew. So the rpc of such a stream answers
//! with an empty stream and puts the pieces into the response's extensions, as a [`FramedBody`];
//! [`Framed`] around the service makes them the body. All else (requests, errors, metadata) is
//! tonic's.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use http_body::Frame;
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

/// What stands before each message: not compressed, and its length (gRPC over HTTP/2,
/// Length-Prefixed-Message).
const PREFIX_BYTES: usize = 5;

/// Writes a message with its prefix.
pub(super) fn write_framed(out: &mut Vec<u8>, message: &impl Message) {
    let length = message.encoded_len();
    out.reserve(PREFIX_BYTES + length);
    out.push(0);
    // No message of ours is near 4 GiB.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode_raw(out);
}

/// A body on its way from an rpc to [`Framed`].
#[derive(Clone)]
pub(super) struct FramedBody(Arc<Mutex<Option<Body>>>);

impl FramedBody {
    /// Of pieces, each whole messages; the end's status is OK, or the error that ends the stream.
    pub(super) fn new(pieces: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Self {
        let body = Pieces { pieces: Some(pieces.boxed()) };
        Self(Arc::new(Mutex::new(Some(Body::new(body)))))
    }
}

struct Pieces {
    /// `None` when the trailers are sent.
    pieces: Option<BoxStream<'static, Result<Bytes, Status>>>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        let status = match ready!(pieces.poll_next_unpin(cx)) {
            Some(Ok(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.pieces = None;
        let mut trailers = http::HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }
}

/// A service some of whose rpcs answer with a [`FramedBody`].
#[derive(Debug, Clone)]
pub(super) struct Framed<S>(pub(super) S);

impl<S: NamedService> NamedService for Framed<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Framed<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request).map(|response| response.map(with_framed_body)).boxed()
    }
}

fn with_framed_body(mut response: http::Response<Body>) -> http::Response<Body> {
    let framed = response.extensions_mut().remove::<FramedBody>();
    let body = framed.and_then(|body| body.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    match body {
        Some(body) => response.map(|_| body),
        None => response,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::api::grpc::pb;

    #[test]
    fn a_framed_message_is_its_prefix_and_its_bytes() {
        let message = pb::Heartbeat { cursor: "c".repeat(300), time: None, generation: None };
        let mut out = vec![9];
        write_framed(&mut out, &message);
        let bytes = message.encode_to_vec();
        assert_eq!(out[..2], [9, 0]);
        assert_eq!(out[2..6], u32::try_from(bytes.len()).expect("small").to_be_bytes());
        assert_eq!(out[6..], bytes);
    }

    #[tokio::test]
    async fn the_body_of_pieces_ends_with_the_status() {
        for (end, code) in [(None, "0"), (Some(Status::unavailable("gone")), "14")] {
            let pieces = [Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))];
            let pieces = futures::stream::iter(pieces).chain(futures::stream::iter(end.map(Err)));
            let mut response = http::Response::new(Body::empty());
            response.extensions_mut().insert(FramedBody::new(pieces));
            let body = with_framed_body(response).into_body().collect().await.expect("whole");
            assert_eq!(body.trailers().expect("trailers")["grpc-status"], code);
            assert_eq!(body.to_bytes(), "abc");
        }
    }
}
