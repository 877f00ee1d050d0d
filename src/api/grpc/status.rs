//! How our errors look in gRPC: the code of the fault table, and details in `google.rpc` terms.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::pb;
use crate::api::fault::{Fault, shown_detail};
use crate::types::{Error, ErrorKind, Violation};

/// The domain of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "arrwdb";

/// Longest message of a status in bytes: it travels in a header, percent-encoded, and clients
/// refuse header blocks of 8 KiB.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// The status of an error: `ErrorInfo` always (reason: the slug in UPPER_SNAKE; metadata
/// `floor_cursor` where a cursor expired), `BadRequest` and `RetryInfo` where there is something to
/// say.
#[must_use]
pub fn to_status(error: &Error) -> Status {
    let fault = Fault::of(error.kind);
    let metadata: HashMap<String, String> =
        error.floor.iter().map(|floor| ("floor_cursor".to_owned(), floor.to_string())).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason(fault.slug), DOMAIN, metadata);
    for violation in &error.violations {
        let field = excerpt(&violation.field, MESSAGE_BYTES_MAX);
        details.add_bad_request_violation(field, excerpt(&violation.detail, MESSAGE_BYTES_MAX));
    }
    if error.retry_after.is_some() {
        details.set_retry_info(error.retry_after);
    }
    Status::with_error_details(fault.code, excerpt(shown_detail(error), MESSAGE_BYTES_MAX), details)
}

/// What a client is told by a failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The error, as far as it travelled.
    pub error: Error,
    /// Whether arrwdb said so itself. Otherwise it is the connection that failed, or what lies
    /// between.
    pub from_server: bool,
}

/// The error of a status: the opposite of [`to_status`]. A status that arrwdb did not make and
/// that says no more than that something broke on the way is `unavailable`.
#[must_use]
pub fn from_status(status: &Status) -> Told {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == DOMAIN);
    let named =
        info.and_then(|info| Fault::kind(&info.reason.to_ascii_lowercase().replace('_', "-")));
    let from_server = named.is_some();
    let kind = named.unwrap_or_else(|| guess(status.code()));
    let mut error = Error::new(kind, status.message());
    let floor = info.and_then(|info| info.metadata.get("floor_cursor"));
    error.floor = floor.and_then(|floor| floor.parse().ok());
    error.retry_after = details.retry_info().and_then(|info| info.retry_delay);
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
    error.violations = violations
        .unwrap_or_default()
        .iter()
        .map(|one| Violation { field: one.field.clone(), detail: one.description.clone() })
        .collect();
    Told { error, from_server }
}

/// The kind of an error that arrwdb did not name.
fn guess(code: Code) -> ErrorKind {
    if matches!(code, Code::Internal | Code::Unknown | Code::Cancelled) {
        return ErrorKind::Unavailable;
    }
    if code == Code::OutOfRange {
        // How a message beyond the size limit shows.
        return ErrorKind::TooLarge;
    }
    Fault::kind_of_code(code).unwrap_or(ErrorKind::Unavailable)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        to_status(&error)
    }
}

/// `cursor-expired` as `CURSOR_EXPIRED`.
fn reason(slug: &str) -> String {
    slug.to_ascii_uppercase().replace('-', "_")
}

/// The error of one item of a stream.
pub(super) fn to_pb(error: &Error) -> pb::Error {
    pb::Error {
        slug: Fault::of(error.kind).slug.to_owned(),
        detail: shown_detail(error).to_owned(),
        violations: error
            .violations
            .iter()
            .map(|v| pb::FieldViolation { field: v.field.clone(), detail: v.detail.clone() })
            .collect(),
        retry_after_ms: error
            .retry_after
            .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// The beginning of a text, at most `bytes_max` bytes, cut between characters.
pub(super) fn excerpt(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::{Cursor, Epoch, Revision};

    #[test]
    fn a_wrong_field_shows_as_bad_request() {
        let status = to_status(&Error::invalid("chunks[2].embedding", "has 3 numbers"));
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), "chunks[2].embedding: has 3 numbers");
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_ARGUMENT", "arrwdb"));
        let violations = &details.bad_request().expect("BadRequest").field_violations;
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].field, "chunks[2].embedding");
        assert_eq!(violations[0].description, "has 3 numbers");
        assert!(details.retry_info().is_none());
    }

    #[test]
    fn an_expired_cursor_says_where_the_floor_is() {
        let floor = Cursor::after(Epoch(7), Revision(9));
        let mut error = Error::new(ErrorKind::CursorExpired, "gone");
        error.floor = Some(floor);
        let status = to_status(&error);
        assert_eq!(status.code(), tonic::Code::OutOfRange);
        let details = status.get_error_details();
        let info = details.error_info().expect("ErrorInfo");
        assert_eq!(info.reason, "CURSOR_EXPIRED");
        assert_eq!(info.metadata.get("floor_cursor"), Some(&floor.to_string()));
        assert!(details.bad_request().is_none());
    }

    #[test]
    fn advice_to_retry_is_passed_on() {
        let error = Error::unavailable("later").retry_after(Duration::from_millis(1_500));
        let details = to_status(&error).get_error_details();
        let delay = details.retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay, Some(Duration::from_millis(1_500)));
        assert_eq!(to_pb(&error).retry_after_ms, Some(1_500));
        assert_eq!(to_pb(&error).slug, "unavailable");
    }

    #[test]
    fn a_client_reads_the_error_that_was_sent() {
        let mut expired = Error::new(ErrorKind::CursorExpired, "gone");
        expired.floor = Some(Cursor::after(Epoch(7), Revision(9)));
        let passing = Error::unavailable("later").retry_after(Duration::from_millis(1_500));
        for error in [expired, passing, Error::invalid("k", "must be greater than 0")] {
            assert_eq!(from_status(&to_status(&error)), Told { error, from_server: true });
        }
        for (code, kind) in [
            (Code::Unknown, ErrorKind::Unavailable),
            (Code::Internal, ErrorKind::Unavailable),
            (Code::OutOfRange, ErrorKind::TooLarge),
            (Code::Unimplemented, ErrorKind::Unimplemented),
            (Code::DeadlineExceeded, ErrorKind::DeadlineExceeded),
        ] {
            let told = from_status(&Status::new(code, "x"));
            assert_eq!((told.error.kind, told.from_server), (kind, false), "{code:?}");
        }
    }

    #[test]
    fn inner_detail_never_crosses_the_edge() {
        let error = Error::internal("secret path");
        let status = to_status(&error);
        assert_eq!(status.code(), tonic::Code::Internal);
        assert!(!status.message().contains("secret"), "{status:?}");
        assert!(!to_pb(&error).detail.contains("secret"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = to_status(&Error::not_found("ä".repeat(10_000)));
        assert_eq!(status.message(), "ä".repeat(MESSAGE_BYTES_MAX / 2));
        assert_eq!(excerpt("äö", 3), "ä");
    }
}
