//! What can go wrong, said as what the caller should do about it.
//!
//! A closed set of kinds. How a kind looks on a wire is decided in one table, in the api.

use std::fmt;
use std::time::Duration;

use super::cursor::Cursor;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Mend the request: it can never succeed as it is.
    InvalidArgument,
    /// Look elsewhere: what was named is not there.
    NotFound,
    /// Choose another name, or use what exists.
    AlreadyExists,
    /// Read again, then retry with what you read: somebody else changed it.
    Conflict,
    /// Change the state of the system first: it does not allow this.
    FailedPrecondition,
    /// Send less.
    TooLarge,
    /// Slow down, or free something: a limit is used up.
    ResourceExhausted,
    /// Take a fresh snapshot: what followed that cursor is trimmed away.
    CursorExpired,
    /// Take a fresh snapshot: that cursor is not of this log's past.
    CursorUnknown,
    /// Retry later: the server cannot do this now.
    Unavailable,
    /// Retry with more time: it was not done within the time given.
    DeadlineExceeded,
    /// Nothing: the caller left.
    Cancelled,
    /// Say who you are.
    Unauthenticated,
    /// Ask for the right to do this.
    PermissionDenied,
    /// Do without: this server does not do that.
    Unimplemented,
    /// Call the operator: stored bytes are damaged.
    Corrupt,
    /// Report it: a defect of the server.
    Internal,
}

impl ErrorKind {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 17] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::FailedPrecondition,
        Self::TooLarge,
        Self::ResourceExhausted,
        Self::CursorExpired,
        Self::CursorUnknown,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::Unimplemented,
        Self::Corrupt,
        Self::Internal,
    ];
}

/// One field of a request that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path as the client wrote it, for example `chunks[2].embedding`.
    pub field: String,
    /// What must be true of it.
    pub detail: String,
}

/// A failure that the caller gets to see.
///
/// `detail` is for people; programs look at `kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What to do.
    pub kind: ErrorKind,
    /// What happened, in one sentence for a person.
    pub detail: String,
    /// The fields that are wrong, where that is the cause.
    pub violations: Vec<Violation>,
    /// When a retry is worth it, where that is known.
    pub retry_after: Option<Duration>,
    /// Of `CursorExpired`: the lowest cursor that can still be read from.
    pub floor: Option<Cursor>,
}

impl Error {
    /// Of a kind, with a sentence.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), violations: Vec::new(), retry_after: None, floor: None }
    }

    /// `invalid-argument` about one field; its detail reads `field: why`.
    pub fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::about(ErrorKind::InvalidArgument, field, why)
    }

    /// `too-large` about one field.
    pub fn too_large(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::about(ErrorKind::TooLarge, field, why)
    }

    /// `not-found` with a sentence.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, detail)
    }

    /// `unavailable` with a sentence.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, detail)
    }

    /// `internal` with a sentence that gives no inner detail away.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, detail)
    }

    fn about(kind: ErrorKind, field: impl Into<String>, why: impl Into<String>) -> Self {
        let (field, why) = (field.into(), why.into());
        let mut error = Self::new(kind, format!("{field}: {why}"));
        error.violations.push(Violation { field, detail: why });
        error
    }

    /// The same with advice when to retry.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The same with every field named below `parent`: `text` becomes `chunks[3].text`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        if let [violation] = self.violations.as_mut_slice() {
            violation.field = format!("{parent}.{}", violation.field);
            self.detail = format!("{}: {}", violation.field, violation.detail);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Error {}
