//! The two ingest streams: what is read of a client, and what is told to it.
//!
//! A task of its own works through the items, so that they are read even while the client takes no
//! replies (replies wait in a spool), and so that the batch of a client that vanishes is still
//! closed. A message that cannot be read ends the stream, as the protocol demands; a message that
//! says something wrong fails alone.

use std::pin::pin;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use prost::Message;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status, Streaming};

use super::convert::document::{new_document, on_conflict_from_pb};
use super::convert::library_ref;
use super::status::excerpt;
use super::{pb, status};
use crate::api::spool::{SpoolReader, SpoolWriter, spool};
use crate::engine::Engine;
use crate::engine::ingest::{IngestItem, IngestStatus};
use crate::types::{
    BatchCounts, BatchFailure, BatchId, Error, ErrorKind, Limits, Result, Revision,
};

/// What a message of an ingest stream holds.
#[derive(Debug)]
pub(super) enum Item {
    Header(pb::IngestHeader),
    Document(Box<pb::DocumentInput>),
    Nothing,
}

/// A message of either ingest rpc.
pub(super) trait IngestMessage: Send + 'static {
    /// What it holds.
    fn item(self) -> Item;
}

macro_rules! ingest_message {
    ($message:ident, $items:ident) => {
        impl IngestMessage for pb::$message {
            fn item(self) -> Item {
                match self.item {
                    Some(pb::$items::Item::Header(header)) => Item::Header(header),
                    Some(pb::$items::Item::Document(input)) => Item::Document(Box::new(input)),
                    None => Item::Nothing,
                }
            }
        }
    };
}

ingest_message!(IngestDocumentsRequest, ingest_documents_request);
ingest_message!(StreamIngestDocumentsRequest, stream_ingest_documents_request);

/// Works through a stream and answers once, at its end.
pub(super) async fn summarized<M: IngestMessage>(
    engine: &Engine,
    tasks: &TaskTracker,
    messages: Streaming<M>,
) -> Result<pb::IngestDocumentsResponse> {
    let (report, statuses) = begin(engine, messages).await?;
    let limits = engine.limits().clone();
    joined(tasks.spawn(summarize(statuses, report, limits))).await
}

/// Works through a stream and tells what becomes of each item.
pub(super) async fn reported<M: IngestMessage>(
    engine: &Engine,
    tasks: &TaskTracker,
    messages: Streaming<M>,
) -> Result<BoxStream<'static, Result<pb::StreamIngestDocumentsResponse, Status>>> {
    let (report, statuses) = begin(engine, messages).await?;
    let limits = engine.limits().clone();
    let (writer, reader) = spool(&limits);
    let pump = tasks.spawn(pump(statuses, report, writer, limits));
    Ok(replies(reader, pump).boxed())
}

/// Reads the header and opens the batch.
async fn begin<M: IngestMessage>(
    engine: &Engine,
    mut messages: Streaming<M>,
) -> Result<(Report, impl Stream<Item = IngestStatus> + Send + 'static)> {
    let limits = engine.limits().clone();
    let shutdown = engine.shutdown_token().clone();
    let header = match next(&mut messages, &limits, &shutdown).await {
        Next::Message(message) => match message.item() {
            Item::Header(header) => header,
            Item::Document(_) | Item::Nothing => return Err(no_header()),
        },
        Next::End => return Err(no_header()),
        Next::Broken(_, error) => return Err(error),
    };
    let library = library_ref(&header.library_id)?;
    let on_conflict = on_conflict_from_pb(header.on_conflict)?;
    let report = Report::from_pb(header.report)?;
    let ingest = engine.ingest(&library, on_conflict).await?;
    Ok((report, ingest.run(items(messages, limits, shutdown))))
}

fn no_header() -> Error {
    Error::invalid("header", "the first message must hold it")
}

/// The items of a stream behind its header, positions counted from 1.
fn items<M, S>(
    messages: S,
    limits: Limits,
    shutdown: CancellationToken,
) -> impl Stream<Item = IngestItem> + Send + 'static
where
    M: IngestMessage,
    S: Stream<Item = Result<M, Status>> + Send + 'static,
{
    stream! {
        let mut messages = pin!(messages);
        let mut position = 0;
        loop {
            match next(&mut messages, &limits, &shutdown).await {
                Next::Message(message) => {
                    position += 1;
                    yield ingest_item(position, message.item(), &limits);
                }
                Next::End => break,
                Next::Broken(reason, error) => {
                    yield IngestItem::Broken { reason, error };
                    break;
                }
            }
        }
    }
}

fn ingest_item(position: u64, item: Item, limits: &Limits) -> IngestItem {
    let rejected = |title, error| IngestItem::Rejected { position, title, error };
    match item {
        Item::Document(input) => {
            let title = excerpt(&input.title, limits.title_bytes_max).to_owned();
            match new_document(*input, limits) {
                Ok(document) => IngestItem::Document { position, document: Box::new(document) },
                Err(error) => rejected(title, error),
            }
        }
        Item::Header(_) => {
            rejected(String::new(), Error::invalid("header", "only the first message may hold it"))
        }
        Item::Nothing => rejected(String::new(), Error::invalid("document", "is required")),
    }
}

/// What came of waiting for a message.
enum Next<M> {
    Message(M),
    End,
    Broken(BatchFailure, Error),
}

/// Waits for a message, at most `limits.ingest_idle_ms` and only until shutdown.
async fn next<M, S>(messages: &mut S, limits: &Limits, shutdown: &CancellationToken) -> Next<M>
where
    S: Stream<Item = Result<M, Status>> + Unpin,
{
    let idle = Duration::from_millis(limits.ingest_idle_ms);
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Next::Broken(
            BatchFailure::Other("server-shutdown".to_owned()),
            Error::unavailable("the server is shutting down"),
        ),
        received = tokio::time::timeout(idle, messages.next()) => match received {
            Ok(Some(Ok(message))) => Next::Message(message),
            Ok(Some(Err(status))) => broken(&status, limits),
            Ok(None) => Next::End,
            Err(_) => Next::Broken(
                BatchFailure::Stalled,
                Error::new(
                    ErrorKind::DeadlineExceeded,
                    format!("nothing came for {} ms (ingest_idle_ms)", limits.ingest_idle_ms),
                ),
            ),
        },
    }
}

/// Tells a message that cannot be read from a client that left.
///
/// The former come from the decoder under codes of their own. Whatever ends a request's body early
/// is `UNKNOWN`: the server makes it an error of its own, because tonic would take a client's
/// cancellation for the regular end of its stream.
fn broken<M>(status: &Status, limits: &Limits) -> Next<M> {
    let other = |reason: &str| BatchFailure::Other(reason.to_owned());
    if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) {
        let most = limits.message_bytes_max;
        let detail = format!("is larger than {most} bytes (message_bytes_max)");
        return Next::Broken(other("message-too-large"), Error::too_large("message", detail));
    }
    if matches!(status.code(), Code::Internal) {
        let error = Error::invalid("message", format!("cannot be read: {}", status.message()));
        return Next::Broken(other("unreadable-message"), error);
    }
    Next::Broken(BatchFailure::ClientGone, Error::new(ErrorKind::Cancelled, "the client left"))
}

/// What the client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    All,
    Failures,
    Summary,
}

impl Report {
    fn from_pb(number: i32) -> Result<Self> {
        match pb::IngestReport::try_from(number) {
            Ok(pb::IngestReport::Unspecified | pb::IngestReport::All) => Ok(Self::All),
            Ok(pb::IngestReport::Failures) => Ok(Self::Failures),
            Ok(pb::IngestReport::Summary) => Ok(Self::Summary),
            Err(_) => Err(Error::invalid("report", "must be all, failures or summary")),
        }
    }
}

/// Works through the statuses to their end, whether or not anybody reads the replies. An error is
/// what the stream ends with.
async fn pump(
    statuses: impl Stream<Item = IngestStatus>,
    report: Report,
    mut writer: SpoolWriter,
    limits: Limits,
) -> Result<()> {
    let mut statuses = pin!(statuses);
    let mut listening = true;
    let mut end = Err(unfinished());
    while let Some(status) = statuses.next().await {
        match &status {
            IngestStatus::Summary { .. } => end = Ok(()),
            IngestStatus::Broken { error, .. } => end = Err(error.clone()),
            IngestStatus::Processing { .. }
            | IngestStatus::Completed { .. }
            | IngestStatus::Skipped { .. }
            | IngestStatus::Failed { .. } => {}
        }
        let message = status_to_pb(status, report, &limits);
        if let Some(message) = message.filter(|_| listening) {
            listening = writer.push(Bytes::from(message.encode_to_vec())).await.is_ok();
        }
    }
    end
}

/// What the spool holds, then how the stream ended.
fn replies(
    mut reader: SpoolReader,
    pump: JoinHandle<Result<()>>,
) -> impl Stream<Item = Result<pb::StreamIngestDocumentsResponse, Status>> + Send + 'static {
    stream! {
        while let Some(message) = reader.next().await {
            let reply = message.map_err(|error| error.to_string()).and_then(|message| {
                pb::StreamIngestDocumentsResponse::decode(message).map_err(|e| e.to_string())
            });
            match reply {
                Ok(reply) => yield Ok(reply),
                Err(error) => {
                    tracing::error!(error, "replies of an ingest stream are lost");
                    yield Err(Error::internal("replies were lost on the server").into());
                    return;
                }
            }
        }
        if let Err(error) = joined(pump).await {
            yield Err(error.into());
        }
    }
}

async fn joined<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    match task.await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "an ingest stream's task failed");
            Err(unfinished())
        }
    }
}

fn unfinished() -> Error {
    Error::internal("the ingest stream could not be finished")
}

/// Works through the statuses to the one answer of a stream that is told of at its end.
async fn summarize(
    statuses: impl Stream<Item = IngestStatus>,
    report: Report,
    limits: Limits,
) -> Result<pb::IngestDocumentsResponse> {
    let mut statuses = pin!(statuses);
    let mut failures = Vec::new();
    let (mut failure_bytes, mut failures_omitted) = (0, 0);
    let mut end = Err(unfinished());
    while let Some(status) = statuses.next().await {
        match status {
            IngestStatus::Failed { position, title, error } => {
                let failure = failure_to_pb(position, &title, &error, &limits);
                failure_bytes += failure.encoded_len();
                // Once one does not fit none is listed: what is listed is a beginning.
                if failure_bytes <= limits.summary_failure_bytes_max && report != Report::Summary {
                    failures.push(failure);
                } else {
                    failures_omitted += 1;
                }
            }
            IngestStatus::Summary { batch_id, counts, revision } => {
                end = Ok(summary_to_pb(batch_id, counts, revision));
            }
            IngestStatus::Broken { error, .. } => end = Err(error),
            IngestStatus::Processing { .. }
            | IngestStatus::Completed { .. }
            | IngestStatus::Skipped { .. } => {}
        }
    }
    let summary = end?;
    Ok(pb::IngestDocumentsResponse {
        batch_id: summary.batch_id,
        total_processed: summary.total_processed,
        total_succeeded: summary.total_succeeded,
        total_failed: summary.total_failed,
        total_skipped: summary.total_skipped,
        total_chunks: summary.total_chunks,
        revision: summary.revision,
        failures,
        failures_omitted,
    })
}

/// A status as the client sees it, if it wants to.
fn status_to_pb(
    status: IngestStatus,
    report: Report,
    limits: &Limits,
) -> Option<pb::StreamIngestDocumentsResponse> {
    use pb::stream_ingest_documents_response::Status;
    let all = report == Report::All;
    let status = match status {
        IngestStatus::Processing { position, title } if all => {
            Status::Processing(pb::IngestProcessing { position, title })
        }
        IngestStatus::Completed { position, id, title, num_chunks, revision } if all => {
            let (id, revision) = (id.as_str().to_owned(), revision.0);
            Status::Completed(pb::IngestCompleted { position, id, title, num_chunks, revision })
        }
        IngestStatus::Skipped { position, id, title, revision } if all => {
            let (id, revision) = (id.as_str().to_owned(), revision.0);
            Status::Skipped(pb::IngestSkipped { position, id, title, revision })
        }
        IngestStatus::Failed { position, title, error } if report != Report::Summary => {
            Status::Failed(failure_to_pb(position, &title, &error, limits))
        }
        IngestStatus::Summary { batch_id, counts, revision } => {
            Status::Summary(summary_to_pb(batch_id, counts, revision))
        }
        IngestStatus::Processing { .. }
        | IngestStatus::Completed { .. }
        | IngestStatus::Skipped { .. }
        | IngestStatus::Failed { .. }
        | IngestStatus::Broken { .. } => return None,
    };
    Some(pb::StreamIngestDocumentsResponse { status: Some(status) })
}

fn failure_to_pb(position: u64, title: &str, error: &Error, limits: &Limits) -> pb::IngestFailure {
    pb::IngestFailure {
        position,
        // A title may be what failed, and as long as a message.
        title: excerpt(title, limits.title_bytes_max).to_owned(),
        error: Some(status::to_pb(error)),
    }
}

fn summary_to_pb(batch_id: BatchId, counts: BatchCounts, revision: Revision) -> pb::IngestSummary {
    pb::IngestSummary {
        batch_id: batch_id.to_string(),
        total_processed: counts.processed,
        total_succeeded: counts.succeeded,
        total_failed: counts.failed,
        total_skipped: counts.skipped,
        total_chunks: counts.chunks,
        revision: revision.0,
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::types::DocumentId;

    fn message(title: &str, texts: &[&str]) -> pb::IngestDocumentsRequest {
        let document = pb::DocumentInput {
            title: title.to_owned(),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            ..Default::default()
        };
        let item = pb::ingest_documents_request::Item::Document(document);
        pb::IngestDocumentsRequest { item: Some(item) }
    }

    fn header() -> pb::IngestDocumentsRequest {
        let item = pb::ingest_documents_request::Item::Header(pb::IngestHeader::default());
        pb::IngestDocumentsRequest { item: Some(item) }
    }

    async fn read(
        messages: Vec<Result<pb::IngestDocumentsRequest, Status>>,
        shutdown: CancellationToken,
    ) -> Vec<IngestItem> {
        items(stream::iter(messages), Limits::default(), shutdown).collect().await
    }

    fn failed(position: u64, title: &str) -> IngestStatus {
        let error = Error::invalid("texts", "must not be empty");
        IngestStatus::Failed { position, title: title.to_owned(), error }
    }

    fn summary() -> IngestStatus {
        let counts = BatchCounts { processed: 2, succeeded: 1, failed: 1, skipped: 0, chunks: 3 };
        IngestStatus::Summary { batch_id: BatchId::generate(), counts, revision: Revision(17) }
    }

    #[tokio::test]
    async fn a_wrong_message_fails_alone_and_positions_count_on() {
        let nothing = pb::IngestDocumentsRequest { item: None };
        let both = pb::DocumentInput {
            title: "both".to_owned(),
            text: Some("a".to_owned()),
            texts: vec!["b".to_owned()],
            ..Default::default()
        };
        let both = pb::ingest_documents_request::Item::Document(both);
        let both = pb::IngestDocumentsRequest { item: Some(both) };
        let messages = vec![message("a", &["x"]), header(), nothing, both, message("b", &["y"])];
        let messages = messages.into_iter().map(Ok).collect();
        let read = read(messages, CancellationToken::new()).await;
        let shown: Vec<_> = read
            .iter()
            .map(|item| match item {
                IngestItem::Document { position, document } => (*position, &*document.title, ""),
                IngestItem::Rejected { position, title, error } => {
                    (*position, &**title, &*error.violations[0].field)
                }
                IngestItem::Broken { .. } => panic!("{item:?}"),
            })
            .collect();
        let expected = [
            (1, "a", ""),
            (2, "", "header"),
            (3, "", "document"),
            (4, "both", "text"),
            (5, "b", ""),
        ];
        assert_eq!(shown, expected);
    }

    #[tokio::test]
    async fn what_ends_a_stream_early_is_told_apart() {
        let cases = [
            (Status::unknown("reset"), "client-gone", ErrorKind::Cancelled),
            (Status::cancelled("reset"), "client-gone", ErrorKind::Cancelled),
            (Status::out_of_range("big"), "message-too-large", ErrorKind::TooLarge),
            (Status::internal("bad UTF-8"), "unreadable-message", ErrorKind::InvalidArgument),
        ];
        for (status, expected, kind) in cases {
            let messages = vec![Ok(message("a", &["x"])), Err(status), Ok(message("b", &["y"]))];
            let read = read(messages, CancellationToken::new()).await;
            let [IngestItem::Document { .. }, IngestItem::Broken { reason, error }] = &read[..]
            else {
                panic!("{read:?}");
            };
            assert_eq!((reason.as_str(), error.kind), (expected, kind));
        }
    }

    #[tokio::test]
    async fn a_shutdown_breaks_the_stream() {
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let read = read(vec![Ok(message("a", &["x"]))], shutdown).await;
        let [IngestItem::Broken { reason, error }] = &read[..] else { panic!("{read:?}") };
        assert_eq!((reason.as_str(), error.kind), ("server-shutdown", ErrorKind::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_up() {
        let limits = Limits::default();
        let idle = Duration::from_millis(limits.ingest_idle_ms);
        let silent = stream::iter([Ok(message("a", &["x"]))]).chain(stream::pending());
        let begun = tokio::time::Instant::now();
        let read: Vec<_> = items(silent, limits, CancellationToken::new()).collect().await;
        let [IngestItem::Document { .. }, IngestItem::Broken { reason, .. }] = &read[..] else {
            panic!("{read:?}");
        };
        assert_eq!(*reason, BatchFailure::Stalled);
        assert!(begun.elapsed() >= idle);
    }

    #[tokio::test]
    async fn the_summary_lists_failures_until_they_are_too_many() {
        let one = failure_to_pb(
            1,
            "t",
            &Error::invalid("texts", "must not be empty"),
            &Limits::default(),
        );
        let limits =
            Limits { summary_failure_bytes_max: 2 * one.encoded_len(), ..Limits::default() };
        let statuses = || stream::iter([failed(1, "t"), failed(2, "t"), failed(3, "t"), summary()]);
        let all = summarize(statuses(), Report::All, limits.clone()).await.expect("whole");
        assert_eq!(all.failures.iter().map(|f| f.position).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((all.failures_omitted, all.revision, all.total_chunks), (1, 17, 3));
        let short = summarize(statuses(), Report::Summary, limits).await.expect("whole");
        assert_eq!((short.failures.len(), short.failures_omitted), (0, 3));
    }

    #[tokio::test]
    async fn a_stream_without_a_summary_is_an_error() {
        let limits = Limits::default();
        let statuses = stream::iter([failed(1, "t")]);
        let end = summarize(statuses, Report::All, limits.clone()).await;
        assert_eq!(end.expect_err("unfinished").kind, ErrorKind::Internal);
        let error = Error::unavailable("the server is shutting down");
        let broken = IngestStatus::Broken { batch_id: BatchId::generate(), error: error.clone() };
        assert_eq!(summarize(stream::iter([broken]), Report::All, limits).await, Err(error));
    }

    #[test]
    fn a_report_leaves_out_what_was_not_asked_for() {
        let completed = || IngestStatus::Completed {
            position: 1,
            id: DocumentId::parse("a").expect("an id"),
            title: "t".to_owned(),
            num_chunks: 1,
            revision: Revision(1),
        };
        let limits = Limits::default();
        let told = |report| {
            let told = [completed(), failed(2, "t"), summary()];
            told.map(|status| status_to_pb(status, report, &limits).is_some())
        };
        assert_eq!(told(Report::All), [true, true, true]);
        assert_eq!(told(Report::Failures), [false, true, true]);
        assert_eq!(told(Report::Summary), [false, false, true]);
        assert!(Report::from_pb(7).is_err());
    }

    #[test]
    fn a_title_that_is_too_long_is_cut_in_what_is_told() {
        let limits = Limits::default();
        let error = Error::too_large("title", "is long");
        let failure = failure_to_pb(1, &"ä".repeat(1 << 20), &error, &limits);
        assert_eq!(failure.title.len(), limits.title_bytes_max);
    }
}
