//! The one table that says how each kind of error looks on the wires.

use http::StatusCode;
use tonic::Code;

use crate::types::{Error, ErrorKind};

/// How an error kind looks on the wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Stable name, part of the API: `urn:arrwdb:error:<slug>`; in gRPC's `ErrorInfo` in
    /// UPPER_SNAKE.
    pub slug: &'static str,
    /// For people, the same for every error of the kind.
    pub title: &'static str,
    /// HTTP status.
    pub status: StatusCode,
    /// gRPC code.
    pub code: Code,
}

impl Fault {
    /// The row of a kind.
    #[must_use]
    pub fn of(kind: ErrorKind) -> Self {
        let row = |slug, title, status, code| Self { slug, title, status, code };
        match kind {
            ErrorKind::InvalidArgument => row(
                "invalid-argument",
                "The request is wrong",
                StatusCode::BAD_REQUEST,
                Code::InvalidArgument,
            ),
            ErrorKind::NotFound => {
                row("not-found", "Not found", StatusCode::NOT_FOUND, Code::NotFound)
            }
            ErrorKind::AlreadyExists => row(
                "already-exists",
                "It exists already",
                StatusCode::CONFLICT,
                Code::AlreadyExists,
            ),
            ErrorKind::Conflict => {
                row("conflict", "Somebody else changed it", StatusCode::CONFLICT, Code::Aborted)
            }
            ErrorKind::FailedPrecondition => row(
                "failed-precondition",
                "The state does not allow it",
                StatusCode::PRECONDITION_FAILED,
                Code::FailedPrecondition,
            ),
            ErrorKind::TooLarge => row(
                "too-large",
                "The request is too large",
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::ResourceExhausted,
            ),
            ErrorKind::ResourceExhausted => row(
                "resource-exhausted",
                "A limit is used up",
                StatusCode::TOO_MANY_REQUESTS,
                Code::ResourceExhausted,
            ),
            ErrorKind::CursorExpired => row(
                "cursor-expired",
                "What followed the cursor is trimmed away",
                StatusCode::GONE,
                Code::OutOfRange,
            ),
            ErrorKind::CursorUnknown => row(
                "cursor-unknown",
                "The cursor is not of this log's past",
                StatusCode::GONE,
                Code::OutOfRange,
            ),
            ErrorKind::Unavailable => row(
                "unavailable",
                "The server cannot do this now",
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
            ),
            ErrorKind::DeadlineExceeded => row(
                "deadline-exceeded",
                "Not done in time",
                StatusCode::GATEWAY_TIMEOUT,
                Code::DeadlineExceeded,
            ),
            ErrorKind::Cancelled => {
                row("cancelled", "The caller left", CLIENT_CLOSED_REQUEST, Code::Cancelled)
            }
            ErrorKind::Unauthenticated => row(
                "unauthenticated",
                "Say who you are",
                StatusCode::UNAUTHORIZED,
                Code::Unauthenticated,
            ),
            ErrorKind::PermissionDenied => row(
                "permission-denied",
                "Not allowed",
                StatusCode::FORBIDDEN,
                Code::PermissionDenied,
            ),
            ErrorKind::Unimplemented => row(
                "unimplemented",
                "This server does not do that",
                StatusCode::NOT_IMPLEMENTED,
                Code::Unimplemented,
            ),
            ErrorKind::Corrupt => row(
                "corrupt",
                "Stored bytes are damaged",
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::DataLoss,
            ),
            ErrorKind::Internal => row(
                "internal",
                "A defect of the server",
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::Internal,
            ),
        }
    }
}

impl Fault {
    /// The kind that a slug names; `None` for an unknown one.
    #[must_use]
    pub fn kind(slug: &str) -> Option<ErrorKind> {
        ErrorKind::ALL.into_iter().find(|kind| Self::of(*kind).slug == slug)
    }

    /// The first kind that shows as a gRPC code: a guess, where there is no slug to know by.
    #[must_use]
    pub fn kind_of_code(code: Code) -> Option<ErrorKind> {
        ErrorKind::ALL.into_iter().find(|kind| Self::of(*kind).code == code)
    }
}

/// nginx's code for a client that closed its request; not registered, widely known.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

/// What a client sees instead of the detail of a defect.
const DEFECT: &str = "the server failed; its log says why";

/// The detail that a client may see. Logs that of a defect, which it may not.
pub(in crate::api) fn shown_detail(error: &Error) -> &str {
    if error.kind == ErrorKind::Internal {
        tracing::error!(detail = %error.detail, "a request met a defect");
        return DEFECT;
    }
    &error.detail
}
