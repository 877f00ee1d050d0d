//! Whole JSON answers, and what requests for writes say in headers.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use super::dto::to_bytes;
use super::params::{Params, header_strict};
use crate::types::{Error, RequestId, Result, Revision};

/// What every answer that is JSON says of itself.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    json_bytes(status, to_bytes(value))
}

/// An answer of bytes that are JSON. Ends with a newline, for those who read it in a terminal.
pub(super) fn json_bytes(status: StatusCode, mut bytes: Vec<u8>) -> Response {
    bytes.push(b'\n');
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// An answer that Prometheus reads.
pub(super) fn open_metrics(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
    response
}

/// A JSON answer that is one thing at one revision: `ETag` is what `If-Match` takes.
pub(super) fn json_at(status: StatusCode, revision: Revision, value: &impl Serialize) -> Response {
    let mut response = json(status, value);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// A streamed answer of NDJSON lines.
pub(super) fn ndjson(body: Body) -> Response {
    streamed(body, NDJSON)
}

/// A streamed answer of Server-Sent Events.
pub(super) fn event_stream(body: Body) -> Response {
    streamed(body, EVENT_STREAM)
}

/// Tells proxies to pass on what comes as it comes.
fn streamed(body: Body, content_type: HeaderValue) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The revision that a write expects: `If-Match: "17"`, or `expected_revision=17`.
pub(super) fn expected_revision(
    headers: &HeaderMap,
    params: &mut Params,
) -> Result<Option<Revision>> {
    let parameter = params
        .take("expected_revision")
        .map(|text| Revision::parse("expected_revision", &text))
        .transpose()?;
    let tag = header_strict(headers, header::IF_MATCH.as_str())?.map(str::trim);
    // An empty one is a condition too: of somebody whose revision got lost on the way.
    let tag = tag.or_else(|| headers.contains_key(header::IF_MATCH).then_some(""));
    let header = match tag {
        None | Some("*") => None,
        Some(tag) => {
            let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
            Some(Revision::parse("If-Match", inner)?)
        }
    };
    one_of("expected_revision", parameter, header)
}

/// What makes a retry safe: `request_id=…`, or `Idempotency-Key: …`.
pub(super) fn request_id(headers: &HeaderMap, params: &mut Params) -> Result<Option<RequestId>> {
    let parameter = params.take("request_id").as_deref().map(RequestId::parse).transpose()?;
    let header = match headers.get("idempotency-key") {
        None => None,
        Some(value) => {
            // What is not ASCII becomes a text that is none either, and is refused.
            let text = String::from_utf8_lossy(value.as_bytes());
            Some(RequestId::parse(text.trim())?)
        }
    };
    one_of("request_id", parameter, header)
}

fn one_of<T: PartialEq>(name: &str, parameter: Option<T>, header: Option<T>) -> Result<Option<T>> {
    match (parameter, header) {
        (Some(parameter), Some(header)) if parameter != header => {
            Err(Error::invalid(name, "differs from what the header says"))
        }
        (parameter, header) => Ok(parameter.or(header)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(name, value.parse().expect("valid"));
        }
        headers
    }

    fn params(query: &str) -> Params {
        Params::parse(query).expect("valid")
    }

    #[test]
    fn an_expected_revision_comes_by_header_or_parameter() {
        let expected =
            |header, query| expected_revision(&headers("if-match", header), &mut params(query));
        assert_eq!(expected("", ""), Ok(None));
        assert_eq!(expected("*", ""), Ok(None));
        assert_eq!(expected("\"17\"", ""), Ok(Some(Revision(17))));
        assert_eq!(expected("17", "expected_revision=17"), Ok(Some(Revision(17))));
        assert_eq!(expected("", "expected_revision=17"), Ok(Some(Revision(17))));
        assert!(expected("\"17\"", "expected_revision=18").is_err());
        assert!(expected("W/\"x\"", "").is_err());
        assert!(expected("\"ä\"", "").is_err(), "a condition is never ignored");
        let empty = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(""))]);
        assert!(expected_revision(&empty, &mut params("")).is_err(), "nor is an empty one");
        assert!(expected("", "expected_revision=x").is_err());
    }

    #[test]
    fn a_request_id_comes_by_header_or_parameter() {
        let id =
            |header, query| request_id(&headers("idempotency-key", header), &mut params(query));
        let a = RequestId::parse("a").expect("valid");
        assert_eq!(id("", ""), Ok(None));
        assert_eq!(id("a", ""), Ok(Some(a.clone())));
        assert_eq!(id("a", "request_id=a"), Ok(Some(a)));
        assert!(id("a", "request_id=b").is_err());
        assert!(id("a b", "").is_err());
        assert!(id("ä", "").is_err());
    }

    #[test]
    fn an_answer_at_a_revision_can_be_matched() {
        let response = json_at(StatusCode::OK, Revision(17), &1);
        assert_eq!(response.headers()["etag"], "\"17\"");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(json(StatusCode::OK, &1).headers().get("etag").is_none());
    }
}
