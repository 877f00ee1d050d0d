//! Errors as `application/problem+json` (RFC 9457), and as objects within a stream.
//!
//! What a kind looks like is [`Fault`]'s to say. An internal error is logged here and shown
//! without its detail.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::dto::described::ShownCursor;
use super::dto::{Shown, to_bytes};
use crate::api::fault::{Fault, shown_detail};
use crate::types::Error;

/// An error on its way to an HTTP client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    error: Error,
    /// Where it differs from the status of the error's kind.
    status: Option<StatusCode>,
}

impl Problem {
    /// With another status than that of the error's kind.
    pub(super) fn with_status(error: Error, status: StatusCode) -> Self {
        Self { error, status: Some(status) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { error, status: None }
    }
}

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// `urn:arrwdb:error:` and the slug, which is part of the API; all else is for people.
    r#type: String,
    /// The same for every error of the kind.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what to do.
    detail: &'a str,
    /// The fields that are wrong; absent for none.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: Vec<FieldError<'a>>,
    /// When a retry is worth it; absent where it is not known to be.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// Where a lost reader may begin, of `cursor-expired`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_cursor: Option<ShownCursor>,
}

/// A field that is wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = FieldError)]
struct FieldError<'a> {
    /// Its path.
    field: &'a str,
    /// What is wrong with it.
    detail: &'a str,
}

/// An error as an object within a stream.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StreamError)]
pub(super) struct StreamError<'a> {
    /// The slug.
    r#type: &'static str,
    /// What is wrong, and what to do.
    detail: &'a str,
    /// When a retry is worth it; absent where it is not known to be.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// Where a lost reader may begin, of `cursor-expired`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_cursor: Option<ShownCursor>,
}

impl<'a> From<&'a Error> for StreamError<'a> {
    fn from(error: &'a Error) -> Self {
        Self {
            r#type: Fault::of(error.kind).slug,
            detail: shown_detail(error),
            retry_after_ms: retry_after_ms(error),
            floor_cursor: error.floor.map(Shown),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (error, fault) = (&self.error, Fault::of(self.error.kind));
        let status = self.status.unwrap_or(fault.status);
        let mut body = to_bytes(&ProblemBody {
            r#type: format!("urn:arrwdb:error:{}", fault.slug),
            title: fault.title,
            status: status.as_u16(),
            detail: shown_detail(error),
            errors: error
                .violations
                .iter()
                .map(|violation| FieldError { field: &violation.field, detail: &violation.detail })
                .collect(),
            retry_after_ms: retry_after_ms(error),
            floor_cursor: error.floor.map(Shown),
        });
        // For those who read it in a terminal.
        body.push(b'\n');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(after) = error.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn retry_after_ms(error: &Error) -> Option<u64> {
    error.retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::to_bytes;

    use super::*;
    use crate::types::{Cursor, Epoch, ErrorKind, Revision};

    async fn shown(problem: Problem) -> (Response, String) {
        let (head, body) = problem.into_response().into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("in memory");
        let text = String::from_utf8(body.to_vec()).expect("UTF-8");
        (Response::from_parts(head, Body::empty()), text)
    }

    #[tokio::test]
    async fn a_field_error_shows_its_field() {
        let (response, body) = shown(Error::invalid("k", "must be at least 1").into()).await;
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(
            body,
            r#"{"type":"urn:arrwdb:error:invalid-argument","title":"The request is wrong","#
                .to_owned()
                + r#""status":400,"detail":"k: must be at least 1","#
                + r#""errors":[{"field":"k","detail":"must be at least 1"}]}"#
                + "\n"
        );
    }

    #[tokio::test]
    async fn retry_and_floor_are_told() {
        let floor = Cursor::after(Epoch(1), Revision(2));
        let mut error =
            Error::new(ErrorKind::CursorExpired, "gone").retry_after(Duration::from_millis(1_200));
        error.floor = Some(floor);
        let (response, body) = shown(error.into()).await;
        assert_eq!(response.status(), 410);
        assert_eq!(response.headers()["retry-after"], "2");
        let tail =
            format!(r#""detail":"gone","retry_after_ms":1200,"floor_cursor":"{floor}"}}"#) + "\n";
        assert!(body.ends_with(&tail), "{body}");
    }

    #[tokio::test]
    async fn inner_detail_never_crosses_the_edge() {
        let error = Error::internal("secret path");
        let line = super::to_bytes(&StreamError::from(&error));
        assert!(!String::from_utf8_lossy(&line).contains("secret"));
        let (response, body) = shown(error.into()).await;
        assert_eq!(response.status(), 500);
        assert!(!body.contains("secret"), "{body}");
    }
}
