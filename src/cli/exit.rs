//! How commands end: the one table of exit statuses, and what a failure says on standard error.

use std::process::ExitCode;

use super::Failure;
use crate::api::fault::Fault;
use crate::types::{Error, ErrorKind};

/// Told below the help of `arrwdb`; documented in `docs/CLI.md`.
pub(super) const HELP: &str = "\
Exit status:
    0  done; also when the reader of standard output has left
    1  the command failed: not found, conflict, failed lines, an export that is not whole, …
    2  wrong usage: flags, or values that the server refuses as invalid-argument
    3  the server cannot be reached, is unavailable, or did not answer in time
    4  events are lost to this reader: cursor-expired or cursor-unknown
  130  interrupted";

/// An exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// All that was asked for is done.
    Done = 0,
    /// The command itself failed.
    Failed = 1,
    /// It was asked for wrongly.
    Usage = 2,
    /// The server cannot be reached or does not answer.
    Unreachable = 3,
    /// What followed the cursor cannot be read any more.
    CursorLost = 4,
    /// A signal ended it.
    Interrupted = 130,
}

impl Exit {
    fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidArgument => Self::Usage,
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => Self::Unreachable,
            ErrorKind::CursorExpired | ErrorKind::CursorUnknown => Self::CursorLost,
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::FailedPrecondition
            | ErrorKind::TooLarge
            | ErrorKind::ResourceExhausted
            | ErrorKind::Cancelled
            | ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
            | ErrorKind::Unimplemented
            | ErrorKind::Corrupt
            | ErrorKind::Internal => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Ends a command that has told all there is to tell.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("ends with status {}", *self as u8)]
pub(super) enum Ended {
    /// Something of what was asked for failed.
    Failed = 1,
    /// A signal came.
    Interrupted = 130,
    /// Nobody reads standard output any more: has enough.
    ReaderGone = 0,
}

/// Tells of a failure on standard error, in one line, and gives the status to end with.
pub(super) fn tell(failure: &Failure) -> ExitCode {
    if let Some(ended) = failure.downcast_ref::<Ended>() {
        return ExitCode::from(*ended as u8);
    }
    let Some(error) = failure.downcast_ref::<Error>() else {
        eprintln!("arrwdb: {failure}");
        return Exit::Failed.into();
    };
    eprintln!("arrwdb: {}", line(error));
    Exit::of(error.kind).into()
}

/// An error with its slug and, where there is one, what to do next.
pub(super) fn line(error: &Error) -> String {
    let detail = error.detail.replace(['\n', '\r'], " ");
    let slug = Fault::of(error.kind).slug;
    match next_step(error) {
        Some(step) => format!("{slug}: {detail} ({step})"),
        None => format!("{slug}: {detail}"),
    }
}

fn next_step(error: &Error) -> Option<String> {
    match error.kind {
        ErrorKind::Unavailable => {
            let step =
                "is it running? --server and ARRWDB_SERVER say where, `arrwdb serve` starts one";
            error.detail.starts_with(CANNOT_CONNECT).then(|| step.to_owned())
        }
        ErrorKind::DeadlineExceeded => Some("--timeout gives it more time".to_owned()),
        ErrorKind::CursorExpired | ErrorKind::CursorUnknown => {
            let from = match error.floor {
                Some(floor) => format!("; the oldest events that are left follow {floor}"),
                None => String::new(),
            };
            Some(format!("rebuild with --snapshot or an export, and follow from there{from}"))
        }
        ErrorKind::InvalidArgument
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Conflict
        | ErrorKind::FailedPrecondition
        | ErrorKind::TooLarge
        | ErrorKind::ResourceExhausted
        | ErrorKind::Cancelled
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::Unimplemented
        | ErrorKind::Corrupt
        | ErrorKind::Internal => None,
    }
}

/// What the detail of a failed connection begins with.
pub(super) const CANNOT_CONNECT: &str = "cannot connect";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Cursor, Epoch, Revision};

    #[test]
    fn a_failure_is_one_line_with_its_slug_and_what_to_do() {
        assert_eq!(
            line(&Error::not_found("there is no\nlibrary a")),
            "not-found: there is no library a"
        );
        let refused = Error::unavailable(format!("{CANNOT_CONNECT} to http://x"));
        assert!(line(&refused).contains("ARRWDB_SERVER"), "{}", line(&refused));
        assert_eq!(line(&Error::unavailable("stopping")), "unavailable: stopping");
        let mut expired = Error::new(ErrorKind::CursorExpired, "gone");
        expired.floor = Some(Cursor::after(Epoch(1), Revision(2)));
        let told = line(&expired);
        assert!(told.starts_with("cursor-expired: gone (") && told.contains("00000002f"), "{told}");
    }

    #[test]
    fn the_help_names_every_status() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Unreachable,
            Exit::CursorLost,
            Exit::Interrupted,
        ];
        let told: Vec<_> =
            HELP.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(told, all.map(|exit| (exit as u8).to_string()));
    }
}
