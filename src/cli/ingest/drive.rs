//! Drives a [`Window`]: takes documents in as there is room, and has the connection.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::super::Failure;
use super::super::connect::{self, Connection};
use super::super::exit::{self, Ended};
use super::super::retry::{Outage, is_passing};
use super::report::Report;
use super::source::Found;
use super::window::{Next, Window};
use crate::api::grpc::pb::{
    StreamIngestDocumentsRequest, StreamIngestDocumentsResponse,
    stream_ingest_documents_response::Status,
};
use crate::types::{Error, ErrorKind};

/// Messages between the window and the connection: the connection's own buffers do the rest.
const REQUESTS_AHEAD: usize = 16;

/// What an ingest needs.
pub(super) struct Drive<'a> {
    pub(super) server: &'a Connection,
    pub(super) window: Window,
    /// What was read.
    pub(super) found: mpsc::Receiver<Found>,
    pub(super) report: &'a mut Report,
    /// How long to try when the server cannot be reached.
    pub(super) retry: Duration,
    pub(super) interrupted: CancellationToken,
}

/// How a stream ended early.
enum Broken {
    /// The connection or the server did it.
    Server(Error),
    /// What resuming does not help.
    Failure(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Drive<'_> {
    /// Streams everything in, over as many connections as it takes. The window has the totals,
    /// also when it fails.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        let mut outage = Outage::new(self.retry);
        loop {
            while !self.window.wants_stream() && !self.window.is_done() {
                self.take_in().await?;
            }
            if self.window.is_done() {
                return Ok(());
            }
            let processed = self.window.totals().processed();
            let error = match self.work().await {
                Ok(()) => {
                    self.window.end_stream(None);
                    outage.over();
                    continue;
                }
                Err(Broken::Failure(failure)) => return Err(failure),
                Err(Broken::Server(error)) => error,
            };
            self.window.end_stream(Some(&error));
            if self.window.totals().processed() > processed {
                outage.over();
            }
            if !self.window.wants_stream() {
                // Closed by the server because nothing came for long: nothing is lost.
                continue;
            }
            let passes = is_passing(&error) || error.kind == ErrorKind::DeadlineExceeded;
            let Some(pause) = outage.pause(&error).filter(|_| passes) else {
                return Err(error.into());
            };
            self.report.note(&format!("{}; goes on in {pause:.1?}", exit::line(&error)));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.interrupted.cancelled() => return Err(Ended::Interrupted.into()),
            }
        }
    }

    /// Waits for the next document.
    async fn take_in(&mut self) -> Result<(), Failure> {
        tokio::select! {
            found = self.found.recv() => self.take(found),
            () = self.interrupted.cancelled() => Err(Ended::Interrupted.into()),
        }
    }

    fn take(&mut self, found: Option<Found>) -> Result<(), Failure> {
        match found {
            Some(Found::Item(item)) => {
                let outcomes = self.window.admit(item);
                self.report.tell(outcomes, self.window.totals())
            }
            Some(Found::Truncated(file)) => {
                self.report.truncated(&file);
                Ok(())
            }
            None => {
                self.window.finish();
                Ok(())
            }
        }
    }

    /// Works on one stream to its end.
    async fn work(&mut self) -> Result<(), Broken> {
        let (sender, receiver) = mpsc::channel(REQUESTS_AHEAD);
        // There is room for the first.
        let _ = sender.try_send(self.window.begin_stream());
        let mut documents = self.server.documents();
        let call = documents.stream_ingest_documents(ReceiverStream::new(receiver));
        let statuses = tokio::select! {
            answer = call => answer.map_err(|status| Broken::Server(connect::error(&status)))?,
            () = self.interrupted.cancelled() => return Err(interrupted()),
        };
        self.exchange(Some(sender), statuses.into_inner()).await
    }

    /// Sends and listens at once.
    async fn exchange(
        &mut self,
        mut sender: Option<mpsc::Sender<StreamIngestDocumentsRequest>>,
        mut statuses: Streaming<StreamIngestDocumentsResponse>,
    ) -> Result<(), Broken> {
        // Once nobody takes requests the call is over; its statuses say why.
        let mut is_over = false;
        loop {
            let next = self.window.next();
            if next == Next::End || is_over {
                sender = None;
            }
            tokio::select! {
                permit = room(sender.as_ref()), if next == Next::Send && sender.is_some() => {
                    match (permit, self.window.take()) {
                        (Some(permit), Some(message)) => permit.send(message),
                        (None, _) | (_, None) => is_over = true,
                    }
                }
                found = self.found.recv(), if self.window.has_room() => self.take(found)?,
                answer = statuses.message() => {
                    let answer = answer.map_err(|status| Broken::Server(connect::error(&status)))?;
                    let Some(answer) = answer else {
                        return Err(Broken::Server(without_summary()));
                    };
                    let is_last = matches!(answer.status, Some(Status::Summary(_)));
                    let outcomes =
                        self.window.answered(answer).map_err(|error| Broken::Failure(error.into()))?;
                    self.report.tell(outcomes, self.window.totals())?;
                    if is_last {
                        return Ok(());
                    }
                }
                () = self.interrupted.cancelled() => return Err(interrupted()),
            }
        }
    }
}

/// A place for one message; `None` when nobody takes them any more.
async fn room<T>(sender: Option<&mpsc::Sender<T>>) -> Option<mpsc::Permit<'_, T>> {
    sender?.reserve().await.ok()
}

fn interrupted() -> Broken {
    Broken::Failure(Ended::Interrupted.into())
}

fn without_summary() -> Error {
    Error::unavailable("the ingest stream ended without a summary")
}
