//! Streaming ingest: NDJSON in, a status for each line out, both at once.
//!
//! Three parties work side by side: the request's body becomes items, the engine makes statuses
//! of them, and a task of its own puts these into the spool that the answer is read from. So
//! neither a client that reads late nor one that never reads holds anything up, and what was
//! sent is written even when nobody reads what became of it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::body::{INLINE_BYTES_MAX, broken_off, check_content_type};
use super::dto::document::DocumentIn;
use super::dto::ingest::StatusLine;
use super::dto::write_line;
use super::ndjson::{ExportCheck, Line, Lines, Said, read_line};
use super::openapi::faults::IngestFaults;
use super::openapi::params::LibraryParam;
use super::params::Params;
use super::path::LibraryPath;
use super::problem::Problem;
use super::{HttpState, reply, shutting_down};
use crate::api::spool::{SpoolReader, SpoolWriter, spool};
use crate::engine::ingest::{IngestItem, IngestStatus};
use crate::types::{BatchFailure, Error, ErrorKind, Limits, OnConflict, Result};

/// Statuses put into the spool at once, when so many are at hand.
const STATUSES_AT_ONCE: usize = 64;
/// Bytes of lines that go out as one piece, when so many are at hand.
const PIECE_BYTES_TARGET: usize = 64 << 10;

/// What of the statuses the client wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Report {
    #[default]
    All,
    Failures,
    Summary,
}

impl Report {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "all" => Ok(Self::All),
            "failures" => Ok(Self::Failures),
            "summary" => Ok(Self::Summary),
            _ => Err(Error::invalid("report", "must be all, failures or summary")),
        }
    }

    fn includes(self, status: &IngestStatus) -> bool {
        match status {
            IngestStatus::Processing { .. }
            | IngestStatus::Completed { .. }
            | IngestStatus::Skipped { .. } => self == Self::All,
            IngestStatus::Failed { .. } => self != Self::Summary,
            IngestStatus::Summary { .. } | IngestStatus::Broken { .. } => true,
        }
    }
}

/// Stream documents in
///
/// A document a line, a body of any length, sent as slowly as you like; what became of each line is
/// told while you are still sending. A bad line fails alone, with its number. An answer without its
/// `summary` is not finished: what was `completed` is written. The last line of an export is
/// understood, and an export without one is reported as `truncated`.
#[utoipa::path(
    post,
    path = "/v1/libraries/{library}/documents/stream",
    operation_id = "ingest_documents",
    tag = "documents",
    params(
        LibraryParam,
        ("on_conflict" = Option<String>, Query, nullable = false,
            description = "What it does to one of the same id: `replace` (the default), `skip`, `fail`."),
        ("report" = Option<String>, Query, nullable = false,
            description = "What is told: `all` (the default), `failures`, `summary`."),
    ),
    request_body(content(
        ("application/x-ndjson", item_schema = DocumentIn),
    ), description = "One document a line."),
    responses(
        (status = 200, description = "What became of each line, then a summary.",
            content(("application/x-ndjson", item_schema = StatusLine<'_>))),
        IngestFaults,
    )
)]
pub(super) async fn ingest(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    mut params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let on_conflict = params.take("on_conflict");
    let on_conflict =
        on_conflict.as_deref().map_or(Ok(OnConflict::default()), OnConflict::parse)?;
    let report = params.take("report").as_deref().map_or(Ok(Report::All), Report::parse)?;
    params.finish()?;
    check_content_type(&headers)?;

    let ingest = match state.engine.ingest(&library, on_conflict).await {
        Ok(ingest) => ingest,
        Err(error) => {
            drain(body).await;
            return Err(error.into());
        }
    };
    let span = tracing::info_span!("ingest", batch_id = %ingest.batch_id());
    let limits = state.engine.limits();
    let truncated = Arc::new(AtomicBool::new(false));
    let shutdown = state.engine.shutdown_token().clone();
    let statuses = ingest.run(items(body, limits.clone(), shutdown, Arc::clone(&truncated)));
    let (writer, reader) = spool(limits);
    state.tasks.spawn(pump(statuses, report, truncated, writer).instrument(span));
    Ok(reply::ndjson(Body::from_stream(pieces(reader))))
}

/// Most bytes of a refused upload that are read before it is answered, and how long that may take.
const DRAIN_BYTES_MAX: usize = 64 << 10;
const DRAIN_TIME_MAX: Duration = Duration::from_millis(100);

/// Reads a small body of a request that is refused anyway: some HTTP/2 clients take an answer that
/// comes before they have sent all for a broken stream.
async fn drain(mut body: Body) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES_MAX {
                break;
            }
        }
    };
    // Running out of time is as good as having read enough.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, read).await;
}

/// The items of a body. `truncated` is set before the end when an export came in without its.
fn items(
    mut body: Body,
    limits: Limits,
    shutdown: CancellationToken,
    truncated: Arc<AtomicBool>,
) -> impl Stream<Item = IngestItem> + Send + 'static {
    let idle = Duration::from_millis(limits.ingest_idle_ms);
    let limits = Arc::new(limits);
    async_stream::stream! {
        let mut lines = Lines::new(limits.message_bytes_max);
        let mut check = ExportCheck::default();
        let mut ended = false;
        loop {
            let line = if ended { lines.finish() } else { lines.next() };
            if let Some(line) = line {
                if shutdown.is_cancelled() {
                    yield stopped();
                    return;
                }
                let position = line.position;
                let said = read_aside(line, &limits).await;
                check.see(&said);
                if let Some(item) = item(position, said) {
                    yield item;
                }
                continue;
            }
            if ended {
                truncated.store(check.is_truncated(), Ordering::Release);
                return;
            }
            let frame = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    yield stopped();
                    return;
                }
                frame = tokio::time::timeout(idle, body.frame()) => frame,
            };
            match frame {
                Ok(Some(Ok(frame))) => {
                    // What is not data is trailers, which say nothing here.
                    if let Ok(data) = frame.into_data() {
                        lines.feed(data);
                    }
                }
                Ok(None) => ended = true,
                Ok(Some(Err(_))) => {
                    let (reason, error) = (BatchFailure::ClientGone, broken_off());
                    yield IngestItem::Broken { reason, error };
                    return;
                }
                Err(_) => {
                    yield stalled(idle);
                    return;
                }
            }
        }
    }
}

/// Reads a line; a long one off the async threads.
async fn read_aside(line: Line, limits: &Arc<Limits>) -> Said {
    if line.bytes.len() <= INLINE_BYTES_MAX {
        return read_line(&line, limits);
    }
    let limits = Arc::clone(limits);
    let reading = tokio::task::spawn_blocking(move || read_line(&line, &limits));
    reading.await.unwrap_or_else(|_| Said::Rejected {
        title: String::new(),
        error: Error::internal("reading a line panicked"),
        exported: false,
    })
}

fn item(position: u64, said: Said) -> Option<IngestItem> {
    match said {
        Said::Document(document, _) => Some(IngestItem::Document { position, document }),
        Said::Rejected { title, error, .. } => {
            Some(IngestItem::Rejected { position, title, error })
        }
        Said::ExportEnd(_) => None,
    }
}

fn stopped() -> IngestItem {
    let reason = BatchFailure::Other("server-shutdown".to_owned());
    IngestItem::Broken { reason, error: shutting_down() }
}

fn stalled(idle: Duration) -> IngestItem {
    let detail = format!("nothing came for {} ms (ingest_idle_ms)", idle.as_millis());
    let error = Error::new(ErrorKind::DeadlineExceeded, detail);
    IngestItem::Broken { reason: BatchFailure::Stalled, error }
}

/// Puts what becomes of the items into the spool, to the end, even when nobody reads it.
async fn pump(
    statuses: impl Stream<Item = IngestStatus>,
    report: Report,
    truncated: Arc<AtomicBool>,
    mut writer: SpoolWriter,
) {
    let mut statuses = pin!(statuses.ready_chunks(STATUSES_AT_ONCE));
    let mut is_read = true;
    while let Some(statuses) = statuses.next().await {
        if !is_read {
            continue;
        }
        let mut lines = Vec::with_capacity(256 * statuses.len());
        for status in statuses.iter().filter(|status| report.includes(status)) {
            let truncated = truncated.load(Ordering::Acquire);
            write_line(&mut lines, &StatusLine::new(status, truncated));
        }
        if !lines.is_empty() {
            is_read = writer.push(lines.into()).await.is_ok();
        }
    }
}

/// The spool as pieces of a body: what is at hand goes out at once, and as one.
fn pieces(reader: SpoolReader) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        let first = match reader.next().await? {
            Ok(first) => first,
            Err(error) => {
                tracing::error!(%error, "replies to an ingest are lost: the spool failed");
                return Some((Err(error), None));
            }
        };
        let Some(second) = reader.try_next() else { return Some((Ok(first), Some(reader))) };
        let mut piece = BytesMut::from(first);
        piece.extend_from_slice(&second);
        while piece.len() < PIECE_BYTES_TARGET
            && let Some(more) = reader.try_next()
        {
            piece.extend_from_slice(&more);
        }
        Some((Ok(piece.freeze()), Some(reader)))
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::types::{BatchCounts, BatchId, Revision};

    type Piece = Result<Bytes, std::io::Error>;

    struct Upload {
        pieces: mpsc::Sender<Piece>,
        shutdown: CancellationToken,
        truncated: Arc<AtomicBool>,
    }

    fn upload(limits: Limits) -> (Upload, impl Stream<Item = IngestItem> + Unpin) {
        let (pieces, body) = mpsc::channel(64);
        let (shutdown, truncated) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let body = Body::from_stream(ReceiverStream::new(body));
        let items = items(body, limits, shutdown.clone(), Arc::clone(&truncated));
        (Upload { pieces, shutdown, truncated }, Box::pin(items))
    }

    async fn send(upload: &Upload, piece: impl Into<Bytes>) {
        upload.pieces.send(Ok(piece.into())).await.expect("the body is read");
    }

    fn titled(item: Option<IngestItem>) -> (u64, String) {
        match item.expect("an item") {
            IngestItem::Document { position, document } => (position, document.title),
            IngestItem::Rejected { position, title, .. } => (position, format!("bad {title}")),
            IngestItem::Broken { reason, .. } => (0, reason.as_str().to_owned()),
        }
    }

    #[tokio::test]
    async fn an_item_comes_before_the_next_line_is_sent() {
        let (upload, mut items) = upload(Limits::default());
        for n in 1..=3 {
            send(&upload, format!("{{\"title\":\"t{n}\",\"text\":\"x\"}}\n")).await;
            assert_eq!(titled(items.next().await), (n, format!("t{n}")));
        }
        drop(upload);
        assert!(items.next().await.is_none());
    }

    #[tokio::test]
    async fn a_bad_line_fails_alone_with_its_number() {
        let limits = Limits { message_bytes_max: 100_000, ..Limits::default() };
        let (upload, mut items) = upload(limits);
        send(&upload, "\n{\"title\":\"a\",\"text\":\"x\"}\n\nnot json\n{\"title\":\"b\"").await;
        send(&upload, format!(",\"text\":\"{}\"}}\n", "x".repeat(200_000))).await;
        send(&upload, &b"{\"title\":\"c\",\"text\":\"\xff\"}\r\n"[..]).await;
        // Long enough to be read on another thread.
        send(&upload, format!("{{\"title\":\"d\",\"text\":\"{}\"}}", "y".repeat(80_000))).await;
        let pieces = upload.pieces.clone();
        drop((upload, pieces));
        let mut found = Vec::new();
        while let Some(item) = items.next().await {
            found.push(titled(Some(item)));
        }
        let expected = [(2, "a"), (4, "bad "), (5, "bad b"), (6, "bad c"), (7, "d")];
        assert_eq!(found, expected.map(|(line, title)| (line, title.to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_breaks_the_stream() {
        let (upload, mut items) = upload(Limits { ingest_idle_ms: 1_000, ..Limits::default() });
        send(&upload, "{\"title\":\"a\",\"text\":\"x\"}\n").await;
        assert_eq!(titled(items.next().await), (1, "a".to_owned()));
        assert_eq!(titled(items.next().await), (0, "stalled".to_owned()));
        assert!(items.next().await.is_none());
    }

    #[tokio::test]
    async fn a_broken_body_and_a_shutdown_break_the_stream() {
        let (gone, mut items) = upload(Limits::default());
        send(&gone, "{\"title\":\"a\"").await;
        gone.pieces.send(Err(std::io::Error::other("reset"))).await.expect("is read");
        assert_eq!(titled(items.next().await), (0, "client-gone".to_owned()));
        assert!(items.next().await.is_none());

        let (stopped, mut items) = upload(Limits::default());
        send(&stopped, "{\"title\":\"a\",\"text\":\"x\"}\n{\"title\":\"b\",\"text\":\"x\"}\n")
            .await;
        assert_eq!(titled(items.next().await), (1, "a".to_owned()));
        stopped.shutdown.cancel();
        assert_eq!(titled(items.next().await), (0, "server-shutdown".to_owned()));
        assert!(items.next().await.is_none());
    }

    #[tokio::test]
    async fn an_export_without_its_last_line_is_told() {
        for (end, expected) in [
            ("", true),
            (r#"{"status":"complete","total_documents":1,"cursor":"c"}"#, false),
            (r#"{"status":"complete","total_documents":2,"cursor":"c"}"#, true),
        ] {
            let (upload, mut items) = upload(Limits::default());
            let line = r#"{"title":"a","text":"x","revision":"1"}"#;
            send(&upload, format!("{line}\n{end}")).await;
            let truncated = Arc::clone(&upload.truncated);
            drop(upload);
            assert_eq!(titled(items.next().await), (1, "a".to_owned()));
            assert!(items.next().await.is_none());
            assert_eq!(truncated.load(Ordering::Acquire), expected, "{end}");
        }
    }

    fn processing(position: u64) -> IngestStatus {
        IngestStatus::Processing { position, title: "t".into() }
    }

    fn summary() -> IngestStatus {
        IngestStatus::Summary {
            batch_id: BatchId::from_bytes([1; 16]),
            counts: BatchCounts::default(),
            revision: Revision(1),
        }
    }

    #[tokio::test]
    async fn a_status_goes_out_while_others_are_awaited() {
        let (statuses, from) = mpsc::channel(1);
        let (writer, reader) = spool(&Limits::default());
        let truncated = Arc::new(AtomicBool::new(false));
        let pumping = tokio::spawn(pump(ReceiverStream::new(from), Report::All, truncated, writer));
        let mut pieces = pin!(pieces(reader));
        for position in 1..=3 {
            statuses.send(processing(position)).await.expect("is pumped");
            let piece = pieces.next().await.expect("a line").expect("the spool works");
            let line =
                format!("{{\"status\":\"processing\",\"line\":{position},\"title\":\"t\"}}\n");
            assert_eq!(piece, line);
        }
        drop(statuses);
        assert!(pieces.next().await.is_none());
        pumping.await.expect("no panic");
    }

    #[tokio::test]
    async fn everything_is_worked_through_when_nobody_reads_or_reads_late() {
        for reads in [false, true] {
            let (writer, reader) = spool(&Limits::default());
            let reader = reads.then_some(reader);
            let mut count = 0_u64;
            let statuses = stream::iter((1..=50_000).map(processing)).inspect(|_| count += 1);
            let truncated = Arc::new(AtomicBool::new(false));
            pump(statuses, Report::All, truncated, writer).await;
            assert_eq!(count, 50_000);
            let Some(reader) = reader else { continue };
            let bytes: Vec<_> = pieces(reader).map(|piece| piece.expect("works")).collect().await;
            assert!(bytes.len() < 100, "{} pieces", bytes.len());
            let text = bytes.concat();
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 50_000);
        }
    }

    #[tokio::test]
    async fn a_report_leaves_out_what_was_not_asked_for() {
        let statuses = || {
            let error = Error::invalid("k", "x");
            let failed = IngestStatus::Failed { position: 2, title: String::new(), error };
            stream::iter([processing(1), processing(2), failed, summary()])
        };
        for (report, expected) in [("all", 4), ("failures", 2), ("summary", 1)] {
            let (writer, reader) = spool(&Limits::default());
            let report = Report::parse(report).expect("known");
            pump(statuses(), report, Arc::new(AtomicBool::new(true)), writer).await;
            let bytes: Vec<_> = pieces(reader).map(|piece| piece.expect("works")).collect().await;
            let text = String::from_utf8(bytes.concat()).expect("UTF-8");
            assert_eq!(text.lines().count(), expected, "{text}");
            assert!(text.ends_with("\"revision\":\"1\",\"truncated\":true}\n"), "{text}");
        }
        assert!(Report::parse("some").is_err());
    }
}
