//! The documents that are not acknowledged yet: hides how an ingest survives a broken connection.
//! Does no I/O.
//!
//! Every document has an id before it is sent. The server answers in order, so the first pending
//! one is the one that an answer is about. A connection that breaks leaves the pending ones in
//! doubt: each may have been written, unheard. The next connection sends them again, in order:
//!
//! - `replace` writes the same again, which changes nothing but, at most, the revision.
//! - `skip` leaves what is there. It was written by us if its revision is above all that we knew
//!   when we first sent it, and was there before otherwise; only the latter counts as skipped.
//! - `fail` would refuse our own write, so those in doubt go ahead in a stream of their own that
//!   skips.

use std::collections::VecDeque;

use super::source::{Item, Place};
use crate::api::fault::Fault;
use crate::api::grpc::pb::{
    self, IngestHeader, StreamIngestDocumentsRequest, StreamIngestDocumentsResponse,
    stream_ingest_documents_request, stream_ingest_documents_response::Status,
};
use crate::types::{Error, ErrorKind, Limits, OnConflict, Result};

/// What has become of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Became {
    /// Durable and searchable.
    Completed,
    /// Was there before, and was left alone.
    Skipped,
    /// Refused.
    Failed(Error),
}

/// A document that is dealt with.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) place: Place,
    pub(super) title: String,
    /// Of the input.
    pub(super) num_bytes: u64,
    pub(super) became: Became,
}

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    pub(super) chunks: u64,
    /// Reads at this revision see all that was written.
    pub(super) revision: u64,
    /// One for each stream that came to its end.
    pub(super) batch_ids: Vec<String>,
    /// Streams that broke.
    pub(super) resumptions: u64,
}

impl Totals {
    /// Documents that are dealt with.
    pub(super) fn processed(&self) -> u64 {
        self.succeeded + self.failed + self.skipped
    }
}

struct Pending {
    item: Box<Item>,
    num_bytes: usize,
    is_sent: bool,
    /// Whether it was sent on a connection that broke.
    is_in_doubt: bool,
    /// What was known of the server when it was first sent.
    known_revision: u64,
}

/// What a stream is to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A document is ready.
    Send,
    /// There may be more.
    Wait,
    /// Nothing more goes over this stream.
    End,
}

/// What is pending, and what has become of the rest.
pub(super) struct Window {
    library_id: String,
    on_conflict: OnConflict,
    items_max: usize,
    bytes_max: usize,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// How many of the pending ones this stream has sent or passed over.
    next: usize,
    sent_on_stream: u64,
    answered_on_stream: u64,
    only_doubts: bool,
    is_finished: bool,
    known_revision: u64,
    totals: Totals,
}

impl Window {
    /// For a library by id; `known_revision` is one that the server has reached.
    pub(super) fn new(library_id: String, on_conflict: OnConflict, known_revision: u64) -> Self {
        // As many and as much as the server has under way for one stream: more would wait there.
        let limits = Limits::default();
        Self {
            library_id,
            on_conflict,
            items_max: limits.ingest_items_in_flight_max,
            bytes_max: limits.ingest_bytes_in_flight_max,
            pending: VecDeque::new(),
            pending_bytes: 0,
            next: 0,
            sent_on_stream: 0,
            answered_on_stream: 0,
            only_doubts: false,
            is_finished: false,
            known_revision,
            totals: Totals::default(),
        }
    }

    /// How it stands.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Documents that are not acknowledged, and may have been written.
    pub(super) fn num_pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether another document may be admitted.
    pub(super) fn has_room(&self) -> bool {
        !self.is_finished
            && self.pending.len() < self.items_max
            && self.pending_bytes < self.bytes_max
    }

    /// Takes a document in, behind all that were. One that is refused already is told of when all
    /// before it were: here, or by [`Window::answered`].
    pub(super) fn admit(&mut self, item: Box<Item>) -> Vec<Outcome> {
        let num_bytes = prost::Message::encoded_len(&item.document);
        self.pending_bytes += num_bytes;
        self.pending.push_back(Pending {
            item,
            num_bytes,
            is_sent: false,
            is_in_doubt: false,
            known_revision: 0,
        });
        self.refusals()
    }

    /// No more documents come.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Whether there is something to send or to wait for.
    pub(super) fn wants_stream(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether everything is acknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.is_finished && self.pending.is_empty()
    }

    /// Starts over with the first pending document; gives what the stream begins with.
    pub(super) fn begin_stream(&mut self) -> StreamIngestDocumentsRequest {
        for pending in &mut self.pending {
            pending.is_in_doubt |= pending.is_sent;
        }
        self.only_doubts = self.on_conflict == OnConflict::Fail
            && self.pending.iter().any(|pending| pending.is_in_doubt);
        (self.next, self.sent_on_stream, self.answered_on_stream) = (0, 0, 0);
        let on_conflict = match self.on_conflict {
            _ if self.only_doubts => pb::OnConflict::Skip,
            OnConflict::Replace => pb::OnConflict::Replace,
            OnConflict::Skip => pb::OnConflict::Skip,
            OnConflict::Fail => pb::OnConflict::Fail,
        };
        let header = IngestHeader {
            library_id: self.library_id.clone(),
            on_conflict: on_conflict.into(),
            ..Default::default()
        };
        message(stream_ingest_documents_request::Item::Header(header))
    }

    /// What the stream is to send next.
    pub(super) fn next(&mut self) -> Next {
        while let Some(pending) = self.pending.get(self.next) {
            if self.only_doubts && !pending.is_in_doubt {
                // Everything in doubt is ahead of everything that is not.
                return Next::End;
            }
            if pending.item.error.is_none() {
                return Next::Send;
            }
            self.next += 1;
        }
        if self.is_finished || self.only_doubts { Next::End } else { Next::Wait }
    }

    /// The document that [`Window::next`] said is ready; `None` if there is none.
    pub(super) fn take(&mut self) -> Option<StreamIngestDocumentsRequest> {
        let pending = self.pending.get_mut(self.next)?;
        self.next += 1;
        self.sent_on_stream += 1;
        if !pending.is_sent {
            pending.is_sent = true;
            pending.known_revision = self.known_revision;
        }
        let document = pending.item.document.clone();
        Some(message(stream_ingest_documents_request::Item::Document(document)))
    }

    /// What an answer says of the documents; more than one when it sets off refusals. `internal`
    /// for an answer to nothing.
    pub(super) fn answered(
        &mut self,
        answer: StreamIngestDocumentsResponse,
    ) -> Result<Vec<Outcome>> {
        let position = match &answer.status {
            Some(Status::Completed(completed)) => completed.position,
            Some(Status::Skipped(skipped)) => skipped.position,
            Some(Status::Failed(failed)) => failed.position,
            Some(Status::Summary(summary)) => {
                self.totals.batch_ids.push(summary.batch_id.clone());
                self.know(summary.revision);
                return Ok(Vec::new());
            }
            Some(Status::Processing(_)) | None => return Ok(Vec::new()),
        };
        self.answered_on_stream += 1;
        let sent = self.sent_on_stream;
        if position != self.answered_on_stream || position > sent {
            return Err(Error::internal(format!(
                "the server answered to {position} of {sent} sent"
            )));
        }
        let Some(pending) = self.shift() else { return Ok(Vec::new()) };
        let outcome = match answer.status {
            Some(Status::Completed(completed)) => {
                self.complete(pending, completed.num_chunks.into(), completed.revision)
            }
            Some(Status::Skipped(skipped)) => self.skip(pending, skipped.revision),
            Some(Status::Failed(failed)) => {
                self.fail(pending, &failed.title, item_error(failed.error.unwrap_or_default()))
            }
            Some(Status::Processing(_) | Status::Summary(_)) | None => return Ok(Vec::new()),
        };
        let mut outcomes = vec![outcome];
        outcomes.extend(self.refusals());
        Ok(outcomes)
    }

    /// The stream is over: well, or broken.
    pub(super) fn end_stream(&mut self, broken: Option<&Error>) {
        self.totals.resumptions += u64::from(broken.is_some());
    }

    /// What becomes of the documents at the front that are not even sent.
    fn refusals(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(error) = self.pending.front().and_then(|first| first.item.error.clone()) {
            let Some(pending) = self.shift() else { break };
            outcomes.push(self.fail(pending, "", error));
        }
        outcomes
    }

    fn shift(&mut self) -> Option<Pending> {
        let pending = self.pending.pop_front()?;
        self.pending_bytes -= pending.num_bytes;
        self.next = self.next.saturating_sub(1);
        Some(pending)
    }

    fn know(&mut self, revision: u64) {
        self.totals.revision = self.totals.revision.max(revision);
        self.known_revision = self.known_revision.max(revision);
    }

    fn complete(&mut self, pending: Pending, num_chunks: u64, revision: u64) -> Outcome {
        self.know(revision);
        self.totals.succeeded += 1;
        self.totals.chunks += num_chunks;
        outcome(pending, "", Became::Completed)
    }

    fn skip(&mut self, pending: Pending, revision: u64) -> Outcome {
        if pending.is_in_doubt && revision > pending.known_revision {
            // Written by us, unheard. Into how many chunks a text was split is not told again.
            let document = &pending.item.document;
            let num_chunks = document.texts.len().max(document.chunks.len()) as u64;
            return self.complete(pending, num_chunks, revision);
        }
        if self.on_conflict == OnConflict::Fail {
            let detail = format!("document {} exists already", pending.item.document.id);
            return self.fail(pending, "", Error::new(ErrorKind::AlreadyExists, detail));
        }
        self.know(revision);
        self.totals.skipped += 1;
        outcome(pending, "", Became::Skipped)
    }

    fn fail(&mut self, pending: Pending, title: &str, error: Error) -> Outcome {
        self.totals.failed += 1;
        outcome(pending, title, Became::Failed(error))
    }
}

fn outcome(pending: Pending, title: &str, became: Became) -> Outcome {
    let item = *pending.item;
    let title = if title.is_empty() { item.document.title } else { title.to_owned() };
    Outcome { place: item.place, title, num_bytes: item.num_bytes, became }
}

fn message(item: stream_ingest_documents_request::Item) -> StreamIngestDocumentsRequest {
    StreamIngestDocumentsRequest { item: Some(item) }
}

/// The error of an item. One of a kind that this client does not know is the server's own.
fn item_error(error: pb::Error) -> Error {
    Error::new(Fault::kind(&error.slug).unwrap_or(ErrorKind::Internal), error.detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::pb::{
        DocumentInput, IngestCompleted, IngestFailure, IngestSkipped, IngestSummary,
    };

    fn window(on_conflict: OnConflict) -> Window {
        Window::new("l".to_owned(), on_conflict, 10)
    }

    fn item(id: &str) -> Box<Item> {
        let place = Place { file: "f".into(), line: Some(1) };
        let document =
            DocumentInput { id: id.to_owned(), title: id.to_owned(), ..Default::default() };
        Box::new(Item { place, num_bytes: 1, document, error: None })
    }

    fn bad(id: &str) -> Box<Item> {
        Box::new(Item { error: Some(Error::invalid("x", "bad")), ..*item(id) })
    }

    /// Sends what is ready; the ids.
    fn send(window: &mut Window) -> (Vec<String>, Next) {
        let mut ids = Vec::new();
        loop {
            match window.next() {
                Next::Send => match window.take().and_then(|message| message.item) {
                    Some(stream_ingest_documents_request::Item::Document(document)) => {
                        ids.push(document.id);
                    }
                    _ => panic!("a document"),
                },
                next @ (Next::Wait | Next::End) => return (ids, next),
            }
        }
    }

    fn answer(window: &mut Window, status: Status) -> Vec<(String, Became)> {
        let answer = StreamIngestDocumentsResponse { status: Some(status) };
        let outcomes = window.answered(answer).expect("expected");
        outcomes.into_iter().map(|outcome| (outcome.title, outcome.became)).collect()
    }

    fn completed(position: u64, revision: u64) -> Status {
        let num_chunks = 2;
        Status::Completed(IngestCompleted { position, revision, num_chunks, ..Default::default() })
    }

    fn skipped(position: u64, revision: u64) -> Status {
        Status::Skipped(IngestSkipped { position, revision, ..Default::default() })
    }

    fn done(id: &str) -> (String, Became) {
        (id.to_owned(), Became::Completed)
    }

    fn broken() -> Error {
        Error::unavailable("broken")
    }

    #[test]
    fn what_is_in_doubt_is_sent_again_in_order() {
        let mut window = window(OnConflict::Replace);
        window.begin_stream();
        for id in ["a", "b", "c"] {
            assert!(window.admit(item(id)).is_empty());
        }
        assert_eq!(send(&mut window), (vec!["a".into(), "b".into(), "c".into()], Next::Wait));
        assert_eq!(answer(&mut window, completed(1, 11)), [done("a")]);
        window.end_stream(Some(&broken()));
        window.begin_stream();
        window.admit(item("d"));
        window.finish();
        assert_eq!(send(&mut window), (vec!["b".into(), "c".into(), "d".into()], Next::End));
        for (position, id) in [(1, "b"), (2, "c"), (3, "d")] {
            assert!(!window.is_done());
            assert_eq!(answer(&mut window, completed(position, 11 + position)), [done(id)]);
        }
        assert!(window.is_done());
        let summary = IngestSummary { batch_id: "x".into(), revision: 20, ..Default::default() };
        assert!(answer(&mut window, Status::Summary(summary)).is_empty());
        let totals = window.totals();
        assert_eq!((totals.succeeded, totals.chunks, totals.resumptions), (4, 8, 1));
        assert_eq!((totals.revision, totals.batch_ids.len()), (20, 1));
    }

    #[test]
    fn what_was_written_unheard_is_not_skipped() {
        let mut window = window(OnConflict::Skip);
        window.begin_stream();
        for id in ["a", "b"] {
            window.admit(item(id));
        }
        send(&mut window);
        window.end_stream(Some(&broken()));
        window.begin_stream();
        send(&mut window);
        assert_eq!(answer(&mut window, skipped(1, 11)), [done("a")]);
        assert_eq!(answer(&mut window, skipped(2, 9)), [("b".to_owned(), Became::Skipped)]);
        assert_eq!((window.totals().succeeded, window.totals().skipped), (1, 1));
    }

    #[test]
    fn doubts_of_an_ingest_that_fails_on_conflict_go_ahead_alone() {
        let mut window = window(OnConflict::Fail);
        window.begin_stream();
        for id in ["a", "b"] {
            window.admit(item(id));
        }
        send(&mut window);
        window.admit(item("c"));
        window.end_stream(Some(&broken()));
        let header = window.begin_stream().item;
        let Some(stream_ingest_documents_request::Item::Header(header)) = header else {
            panic!("a header")
        };
        assert_eq!(header.on_conflict(), pb::OnConflict::Skip);
        assert_eq!(send(&mut window), (vec!["a".into(), "b".into()], Next::End));
        assert_eq!(answer(&mut window, skipped(1, 11)), [done("a")]);
        let outcomes = answer(&mut window, skipped(2, 9));
        assert!(matches!(&outcomes[0].1, Became::Failed(e) if e.kind == ErrorKind::AlreadyExists));
        window.end_stream(None);
        let header = window.begin_stream().item;
        let Some(stream_ingest_documents_request::Item::Header(header)) = header else {
            panic!("a header")
        };
        assert_eq!(header.on_conflict(), pb::OnConflict::Fail);
        assert_eq!(send(&mut window), (vec!["c".into()], Next::Wait));
    }

    #[test]
    fn what_is_not_sent_is_told_of_in_its_turn() {
        let mut window = window(OnConflict::Replace);
        assert_eq!(window.admit(bad("x")).len(), 1);
        assert!(!window.wants_stream());
        window.begin_stream();
        window.admit(item("a"));
        assert!(window.admit(bad("y")).is_empty());
        window.admit(item("b"));
        assert_eq!(send(&mut window).0, ["a", "b"]);
        let failed = IngestFailure { position: 1, title: "A".into(), ..Default::default() };
        let outcomes = answer(&mut window, Status::Failed(failed));
        assert_eq!(
            outcomes.iter().map(|(title, _)| title.as_str()).collect::<Vec<_>>(),
            ["A", "y"]
        );
        assert_eq!(answer(&mut window, completed(2, 12)), [done("b")]);
        assert_eq!((window.totals().failed, window.totals().succeeded), (3, 1));
    }

    #[test]
    fn answers_to_nothing_are_refused_and_the_window_is_bounded() {
        let mut window = window(OnConflict::Replace);
        window.begin_stream();
        window.admit(item("a"));
        let answer = StreamIngestDocumentsResponse { status: Some(completed(1, 1)) };
        assert!(window.answered(answer).is_err());
        while window.has_room() {
            window.admit(item("b"));
        }
        assert_eq!(window.num_pending(), Limits::default().ingest_items_in_flight_max);
        window.finish();
        assert!(!window.has_room());
    }
}
