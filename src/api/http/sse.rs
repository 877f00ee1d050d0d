//! The bytes of Server-Sent Events (the HTML standard, section 9.2).
//!
//! Data is JSON on one line, so no frame needs more than one `data:` line.

use std::io::Write;

use serde::Serialize;
use utoipa::ToSchema;

use super::dto::described::{ShownCursor, ShownRevision, ShownTime};
use super::dto::event::{EventOut, SnapshotDocumentOut};
use super::dto::{Shown, write};
use super::problem::StreamError;
use crate::api::slot;
use crate::engine::changes::Format;
use crate::engine::snapshot::{Snapshot, SnapshotDocument};
use crate::types::{Cursor, Error, Event, Timestamp};

/// Events as frames, which the engine keeps for all readers.
pub(super) const FRAMES: Format = Format::new(slot::SSE, write_event);

/// What a browser waits before it comes back, in milliseconds; part of the first frame.
const RETRY_LINE: &[u8] = b"retry: 2000\n";

/// That nothing happened: everything up to here was sent or passed no filter.
#[derive(Serialize, ToSchema)]
pub(super) struct Heartbeat {
    /// Where to go on.
    id: ShownCursor,
    /// `heartbeat`.
    r#type: &'static str,
    /// The server's clock.
    timestamp: ShownTime,
    /// Of a stream as a durable consumer: its owner's, to acknowledge with.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
}

/// The end of a snapshot: what follows came after it.
#[derive(Serialize, ToSchema)]
pub(super) struct SnapshotEnd {
    /// Where to go on.
    id: ShownCursor,
    /// `snapshot.end`.
    r#type: &'static str,
    /// The server's clock.
    timestamp: ShownTime,
    /// The revision that the snapshot was of.
    revision: ShownRevision,
    /// How many documents it had.
    total_documents: u64,
}

/// The line that a stream begins with.
pub(super) fn write_retry(out: &mut Vec<u8>) {
    out.extend_from_slice(RETRY_LINE);
}

/// An event of the log.
pub(super) fn write_event(out: &mut Vec<u8>, event: &Event<'_>) {
    write_frame(out, Some(event.id), event.event_type.name(), &EventOut(event));
}

/// That nothing happened up to `cursor`; to the owner of a consumer, with its generation.
pub(super) fn write_heartbeat(
    out: &mut Vec<u8>,
    cursor: Cursor,
    time: Timestamp,
    generation: Option<u64>,
) {
    let (id, timestamp) = (Shown(cursor), Shown(time));
    let data = Heartbeat { id, r#type: "heartbeat", timestamp, generation };
    write_frame(out, Some(cursor), "heartbeat", &data);
}

/// A document of a snapshot. Has no id: a client that comes back begins again.
pub(super) fn write_snapshot_document(out: &mut Vec<u8>, document: &SnapshotDocument) {
    write_frame(out, None, "snapshot.document", &SnapshotDocumentOut(document));
}

/// That the snapshot is whole; what follows came after it.
pub(super) fn write_snapshot_end(out: &mut Vec<u8>, snapshot: &Snapshot, time: Timestamp) {
    let cursor = snapshot.cursor();
    let data = SnapshotEnd {
        id: Shown(cursor),
        r#type: "snapshot.end",
        timestamp: Shown(time),
        revision: Shown(cursor.revision),
        total_documents: snapshot.total_documents(),
    };
    write_frame(out, Some(cursor), "snapshot.end", &data);
}

/// Why the stream ends. Has no id: a client that comes back resumes where it was.
pub(super) fn write_stream_error(out: &mut Vec<u8>, error: &Error) {
    write_frame(out, None, "stream.error", &StreamError::from(error));
}

fn write_frame(out: &mut Vec<u8>, id: Option<Cursor>, name: &str, data: &impl Serialize) {
    // Writing to memory cannot fail.
    if let Some(id) = id {
        let _ = writeln!(out, "id: {id}");
    }
    let _ = write!(out, "event: {name}\ndata: ");
    write(out, data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        BatchCounts, BatchFailure, BatchId, ChangeHead, ChangeKind, ChunkHead, ChunkId,
        DocumentHead, DocumentId, EmbedderRef, Epoch, ErrorKind, IndexType, Library, LibraryId,
        LibraryName, Limits, Metadata, Metric, Revision,
    };

    fn metadata(text: &str) -> Metadata {
        let map = serde_json::from_str(text).expect("an object");
        Metadata::new("metadata", map, &Limits::default()).expect("valid")
    }

    fn library(name: &str) -> Library {
        Library {
            id: LibraryId::from_bytes([1; 16]),
            name: LibraryName::parse(name).expect("valid"),
            description: "about".into(),
            metric: Metric::Cosine,
            dimension: 256,
            embedder: EmbedderRef { id: "m".into(), sha256: "ab".into() },
            index_type: IndexType::Auto,
            metadata: metadata(r#"{"team":"a"}"#),
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
            revision: Revision(1),
        }
    }

    fn document(title: &str) -> DocumentHead {
        DocumentHead {
            id: DocumentId::parse("d:1").expect("valid"),
            created_revision: Revision(2),
            title: title.into(),
            author: String::new(),
            document_type: "note".into(),
            source_url: String::new(),
            tags: vec!["x".into()],
            metadata: metadata(r#"{"n":1}"#),
            num_chunks: 1,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
            revision: Revision(2),
        }
    }

    fn chunk(byte: u8) -> ChunkHead {
        let id = ChunkId::from_bytes([byte; 16]);
        ChunkHead { id, slot: 0, index: 0, metadata: metadata(r#"{"page":2}"#) }
    }

    /// One change of every kind.
    fn kinds() -> Vec<ChangeKind> {
        let counts = BatchCounts { processed: 5, succeeded: 2, failed: 1, skipped: 2, chunks: 6 };
        vec![
            ChangeKind::LibraryCreated { library: library("lib") },
            ChangeKind::LibraryUpdated { before: library("lib"), after: library("new") },
            ChangeKind::DocumentAdded { document: document("Line\none"), chunks: vec![chunk(2)] },
            ChangeKind::DocumentUpdated {
                before: document("old"),
                after: document("new"),
                layout: vec![chunk(3)],
                next_slot: 2,
                removed: vec![chunk(2)],
                added: vec![chunk(3)],
            },
            ChangeKind::DocumentDeleted { before: document("new"), removed: vec![chunk(3)] },
            ChangeKind::BatchStarted,
            ChangeKind::BatchCompleted { counts },
            ChangeKind::BatchFailed { counts, reason: BatchFailure::ClientGone },
            ChangeKind::IndexRebuilt { index_type: IndexType::Hnsw },
            ChangeKind::IndexOptimized { segments_before: 4, segments_after: 1 },
            ChangeKind::LibraryDeleted { before: library("new"), num_documents: 3, num_chunks: 7 },
        ]
    }

    #[test]
    fn frames_of_every_event_type_have_golden_bytes() {
        let mut out = Vec::new();
        write_retry(&mut out);
        let cursor = Cursor::after(Epoch(0xabc), Revision(0));
        let time = Timestamp::from_micros(1_700_000_000_123_456);
        write_heartbeat(&mut out, cursor, time, None);
        write_heartbeat(&mut out, cursor, time, Some(7));
        for (revision, kind) in (1..).zip(kinds()) {
            let head = ChangeHead {
                epoch: Epoch(0xabc),
                revision: Revision(revision),
                time: Timestamp::from_micros(1_700_000_000_123_456),
                events_before: 0,
                library_id: LibraryId::from_bytes([1; 16]),
                batch_id: (revision >= 3).then(|| BatchId::from_bytes([9; 16])),
                request_id: None,
                kind,
            };
            head.events().for_each(|event| write_event(&mut out, &event));
        }
        let mut error = Error::new(ErrorKind::CursorExpired, "trimmed");
        error.floor = Some(cursor);
        write_stream_error(&mut out, &error);
        let text = String::from_utf8(out).expect("UTF-8");
        if std::env::var_os("ARRWDB_WRITE_GOLDEN").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/http/golden/events.sse");
            std::fs::write(path, &text).expect("written");
        }
        assert_eq!(text, include_str!("golden/events.sse"));
        for frame in text.split("\n\n").filter(|frame| !frame.is_empty()) {
            let (_, data) = frame.split_once("\ndata: ").expect("one data line");
            serde_json::from_str::<serde_json::Value>(data).expect("JSON on one line");
        }
    }
}
