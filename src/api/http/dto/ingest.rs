//! The lines that an ingest answers, and what closes an export.

use serde::Serialize;
use utoipa::ToSchema;

use super::Shown;
use super::described::{ShownBatchId, ShownCursor, ShownRevision};
use crate::api::http::problem::StreamError;
use crate::engine::ingest::IngestStatus;

/// One line of an ingest's answer: what became of one line, in their order, then how the stream
/// ended.
#[derive(Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
#[schema(as = IngestStatus)]
pub(in crate::api::http) enum StatusLine<'a> {
    /// A line was read and is being worked on.
    Processing { line: u64, title: &'a str },
    /// A document is durable and searchable.
    Completed { line: u64, id: &'a str, title: &'a str, num_chunks: u32, revision: ShownRevision },
    /// A document of this id exists and was left alone; `revision` is its own.
    Skipped { line: u64, id: &'a str, title: &'a str, revision: ShownRevision },
    /// A line was refused; nothing of it was written.
    Failed { line: u64, title: &'a str, error: StreamError<'a> },
    /// The stream ended: the last line. Reads at `revision` see all that was written.
    Summary {
        batch_id: ShownBatchId,
        total_processed: u64,
        total_succeeded: u64,
        total_failed: u64,
        total_skipped: u64,
        total_chunks: u64,
        revision: ShownRevision,
        /// Whether the input was an export that lacks its end.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
    },
    /// The stream broke: the last line. What was completed is written.
    Error { batch_id: ShownBatchId, error: StreamError<'a> },
}

impl<'a> StatusLine<'a> {
    /// `truncated` is what the summary says, should this be it.
    pub(in crate::api::http) fn new(status: &'a IngestStatus, truncated: bool) -> Self {
        match status {
            IngestStatus::Processing { position, title } => {
                Self::Processing { line: *position, title }
            }
            IngestStatus::Completed { position, id, title, num_chunks, revision } => {
                Self::Completed {
                    line: *position,
                    id: id.as_str(),
                    title,
                    num_chunks: *num_chunks,
                    revision: Shown(*revision),
                }
            }
            IngestStatus::Skipped { position, id, title, revision } => Self::Skipped {
                line: *position,
                id: id.as_str(),
                title,
                revision: Shown(*revision),
            },
            IngestStatus::Failed { position, title, error } => {
                Self::Failed { line: *position, title, error: error.into() }
            }
            IngestStatus::Summary { batch_id, counts, revision } => Self::Summary {
                batch_id: Shown(*batch_id),
                total_processed: counts.processed,
                total_succeeded: counts.succeeded,
                total_failed: counts.failed,
                total_skipped: counts.skipped,
                total_chunks: counts.chunks,
                revision: Shown(*revision),
                truncated,
            },
            IngestStatus::Broken { batch_id, error } => {
                Self::Error { batch_id: Shown(*batch_id), error: error.into() }
            }
        }
    }
}

/// The last line of an export or a streamed search.
#[derive(Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
#[schema(as = ClosingLine)]
pub(in crate::api::http) enum ClosingLine<'a> {
    /// An export is whole.
    #[serde(rename = "complete")]
    Export {
        total_documents: u64,
        /// Following the events from here gives what came after.
        cursor: ShownCursor,
    },
    /// A streamed search is whole.
    #[serde(rename = "complete")]
    Search { total_results: usize, revision: ShownRevision },
    /// The stream broke.
    Error { error: StreamError<'a> },
}

#[cfg(test)]
mod tests {
    use super::super::write_line;
    use super::*;
    use crate::types::{BatchCounts, BatchId, Cursor, DocumentId, Epoch, Error, Revision};

    fn line(line: &impl Serialize) -> String {
        let mut out = Vec::new();
        write_line(&mut out, line);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn status_lines_have_golden_bytes() {
        let (id, title) = (DocumentId::parse("d:1").expect("valid"), "Doc \"1\"".to_owned());
        let batch_id = BatchId::from_bytes([3; 16]);
        let counts = BatchCounts { processed: 5, succeeded: 2, failed: 1, skipped: 2, chunks: 6 };
        let error = Error::invalid("texts", "must not be empty");
        let revision = Revision(17);
        let statuses = [
            IngestStatus::Processing { position: 1, title: title.clone() },
            IngestStatus::Completed {
                position: 1,
                id: id.clone(),
                title: title.clone(),
                num_chunks: 3,
                revision,
            },
            IngestStatus::Skipped { position: 2, id, title: title.clone(), revision },
            IngestStatus::Failed { position: 3, title, error: error.clone() },
            IngestStatus::Summary { batch_id, counts, revision },
            IngestStatus::Broken { batch_id, error },
        ];
        let mut lines: String =
            statuses.iter().map(|status| line(&StatusLine::new(status, false))).collect();
        lines += &line(&StatusLine::new(&statuses[4], true));
        assert_eq!(lines, include_str!("../golden/ingest.ndjson"));
    }

    #[test]
    fn closing_lines_have_golden_bytes() {
        let cursor = Shown(Cursor::after(Epoch(1), Revision(2)));
        let lines = [
            line(&ClosingLine::Export { total_documents: 3, cursor }),
            line(&ClosingLine::Search { total_results: 4, revision: Shown(Revision(5)) }),
            line(&ClosingLine::Error { error: (&Error::unavailable("stopping")).into() }),
        ];
        assert_eq!(lines.concat(), include_str!("../golden/closing.ndjson"));
    }
}
