//! Request bodies of one JSON value: read within bounds, whatever their content type says but
//! for what plainly is none.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::HttpState;
use super::dto::parse;
use super::params::header_text;
use super::problem::Problem;
use crate::types::{Error, ErrorKind, Limits, Result};

/// Bytes of JSON beyond which reading it is taken off the async threads.
pub(super) const INLINE_BYTES_MAX: usize = 64 << 10;

/// A body of one JSON value.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

/// A body of one JSON value, or none.
#[derive(Debug)]
pub(super) struct OptionalJsonBody<T>(pub(super) Option<T>);

impl<T: DeserializeOwned + Send + 'static> FromRequest<HttpState> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        let bytes = read(request, state.engine.limits()).await?;
        Ok(Self(parse_aside(bytes).await?))
    }
}

impl<T: DeserializeOwned + Send + 'static> FromRequest<HttpState> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        let bytes = read(request, state.engine.limits()).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(None));
        }
        Ok(Self(Some(parse_aside(bytes).await?)))
    }
}

/// Refuses what cannot be JSON. Everything else may be: clients label it in many ways, curl by
/// default as a form.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<()> {
    match header_text(headers, header::CONTENT_TYPE.as_str()) {
        Some(kind) if kind.trim_start().to_ascii_lowercase().starts_with("multipart/") => {
            Err(Error::invalid("content-type", "must be JSON, not parts of a form"))
        }
        Some(_) | None => Ok(()),
    }
}

/// That the client's body ended before its time.
pub(super) fn broken_off() -> Error {
    Error::new(ErrorKind::Cancelled, "the request's body broke off")
}

async fn parse_aside<T: DeserializeOwned + Send + 'static>(bytes: Bytes) -> Result<T> {
    if bytes.len() <= INLINE_BYTES_MAX {
        return parse(&bytes);
    }
    match tokio::task::spawn_blocking(move || parse(&bytes)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::internal("reading JSON panicked")),
    }
}

async fn read(request: Request, limits: &Limits) -> Result<Bytes> {
    check_content_type(request.headers())?;
    let idle = Duration::from_millis(limits.header_read_ms);
    collect(request.into_body(), limits.message_bytes_max, idle).await
}

/// Reads a body of at most `bytes_max` bytes whose client is never silent for `idle`.
async fn collect(mut body: Body, bytes_max: usize, idle: Duration) -> Result<Bytes> {
    let too_large = || {
        let detail = format!("is larger than {bytes_max} bytes (message_bytes_max)");
        Error::too_large("body", detail)
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    loop {
        let Ok(frame) = tokio::time::timeout(idle, body.frame()).await else {
            let detail = "the request's body did not arrive in time (header_read_ms)";
            return Err(Error::new(ErrorKind::DeadlineExceeded, detail));
        };
        match frame {
            None => return Ok(bytes.freeze()),
            Some(Err(_)) => return Err(broken_off()),
            Some(Ok(frame)) => {
                let Some(piece) = frame.data_ref() else { continue };
                if bytes.len() + piece.len() > bytes_max {
                    return Err(too_large());
                }
                bytes.extend_from_slice(piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn pieces(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece)).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let idle = Duration::from_secs(1);
        assert_eq!(collect(pieces(&["ab", "c"]), 3, idle).await, Ok(Bytes::from_static(b"abc")));
        for body in [pieces(&["ab", "cd"]), Body::from("abcd")] {
            let error = collect(body, 3, idle).await.expect_err("too large");
            assert_eq!(error.kind, ErrorKind::TooLarge);
            assert!(error.detail.contains("message_bytes_max"), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_or_broken_body_is_an_error() {
        let silent = Body::from_stream(stream::pending::<Result<&str, std::io::Error>>());
        let error = collect(silent, 3, Duration::from_secs(1)).await.expect_err("silent");
        assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
        let broken = stream::iter([Ok("a"), Err(std::io::Error::other("reset"))]);
        let error = collect(Body::from_stream(broken), 3, Duration::from_secs(1)).await;
        assert_eq!(error.expect_err("broken"), broken_off());
    }

    #[test]
    fn only_multipart_is_refused_by_its_label() {
        let check = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", kind.parse().expect("valid"));
            check_content_type(&headers)
        };
        assert_eq!(check_content_type(&HeaderMap::new()), Ok(()));
        assert_eq!(check("application/x-ndjson; charset=utf-8"), Ok(()));
        assert_eq!(check("application/x-www-form-urlencoded"), Ok(()));
        assert!(check("Multipart/form-data; boundary=x").is_err());
    }
}
