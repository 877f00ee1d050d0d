//! A subscription that resumes by itself: hides that connections break and servers restart.
//!
//! As a durable consumer it comes back as the owner that it was, begins behind what is
//! acknowledged, and leaves out what it has given before.

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;
use tonic::Streaming;

use super::super::Failure;
use super::super::connect::{self, Connection};
use super::super::exit;
use super::super::output::note;
use super::super::retry::{Outage, is_passing};
use crate::api::grpc::pb::{self, SubscribeResponse, subscribe_response::Item};
use crate::types::{Error, ErrorKind, Result, clock};

/// Silence after which a connection counts as dead: four heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What a subscription gives.
#[derive(Debug)]
pub(super) enum Came {
    /// The next event.
    Event(Box<pb::Event>),
    /// Everything up to its cursor was given or did not pass the filter.
    Heartbeat(pb::Heartbeat),
    /// A snapshot begins; what was given of one before is void.
    SnapshotBegin,
    /// Its next document.
    SnapshotDocument(Box<pb::SnapshotDocument>),
    /// It is whole.
    SnapshotEnd(pb::SnapshotEnd),
}

/// The events of a subscription, in order, each once.
pub(super) struct Stream {
    server: Connection,
    /// What the next connection asks for.
    request: pb::SubscribeRequest,
    outage: Outage,
    quiet: bool,
    messages: Option<Streaming<SubscribeResponse>>,
    ready: VecDeque<Came>,
    /// Whether this connection has begun to give a snapshot.
    in_snapshot: bool,
    // As a durable consumer, from here on.
    generation: Option<u64>,
    /// Requests as an owner that were not answered: one of them may have been heard.
    takeovers_unheard: u32,
    handed_out: String,
    acknowledged: String,
}

impl Stream {
    /// For a request; gives up when nothing can be heard for `retry`.
    pub(super) fn new(
        server: Connection,
        mut request: pb::SubscribeRequest,
        retry: Duration,
        quiet: bool,
    ) -> Self {
        if !request.consumer.is_empty() {
            // Of this process alone, so that it knows itself again.
            request.owner = format!("arrwdb-subscribe-{:016x}", clock::random_u64());
        }
        Self {
            server,
            request,
            outage: Outage::new(retry),
            quiet,
            messages: None,
            ready: VecDeque::new(),
            in_snapshot: false,
            generation: None,
            takeovers_unheard: 0,
            handed_out: String::new(),
            acknowledged: String::new(),
        }
    }

    /// What is at hand; `None` when it must be waited for.
    pub(super) fn ready(&mut self) -> Option<Result<Came, Failure>> {
        while self.ready.is_empty() {
            let message = self.messages.as_mut()?.message().now_or_never()?;
            match message {
                Ok(Some(message)) => {
                    self.outage.over();
                    self.take(message);
                }
                // Whoever waits deals with it.
                Ok(None) => {
                    self.messages = None;
                    return None;
                }
                Err(status) => {
                    self.messages = None;
                    let error = connect::error(&status);
                    return (!is_passing(&error)).then(|| Err(error.into()));
                }
            }
        }
        self.give().map(Ok)
    }

    /// Waits for what comes next, over as many connections as it takes. Nothing is lost when it is
    /// dropped.
    pub(super) async fn next(&mut self) -> Result<Came, Failure> {
        loop {
            if let Some(came) = self.give() {
                return Ok(came);
            }
            let error = match self.receive().await {
                Ok(message) => {
                    self.outage.over();
                    self.take(message);
                    self.acknowledge_idle().await?;
                    continue;
                }
                Err(error) => error,
            };
            self.messages = None;
            // This request is unheard itself; one before it must have been too.
            if self.is_ours_after_all(&error, self.takeovers_unheard.saturating_sub(1)).await {
                continue;
            }
            let Some(pause) = self.outage.pause(&error).filter(|_| is_passing(&error)) else {
                return Err(error.into());
            };
            if !self.quiet {
                let why = exit::line(&error);
                note(format_args!("{why}; resumes in {pause:.1?}"));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// As a durable consumer: everything up to this cursor is dealt with. Durable when it
    /// answers; tried again when the connection breaks, for it changes nothing the second time.
    pub(super) async fn acknowledge(&mut self, cursor: &str) -> Result<(), Failure> {
        loop {
            let request = pb::AcknowledgeRequest {
                name: self.request.consumer.clone(),
                generation: self.generation.unwrap_or_default(),
                cursor: cursor.to_owned(),
            };
            let status = match self.server.consumers().acknowledge(request).await {
                Ok(_) => {
                    if *self.acknowledged < *cursor {
                        cursor.clone_into(&mut self.acknowledged);
                    }
                    return Ok(());
                }
                Err(status) => status,
            };
            let error = connect::error(&status);
            if self.is_ours_after_all(&error, self.takeovers_unheard).await {
                continue;
            }
            let Some(pause) = self.outage.pause(&error).filter(|_| is_passing(&error)) else {
                return Err(error.into());
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// The next of what is ready; from here on it counts as given.
    fn give(&mut self) -> Option<Came> {
        let came = self.ready.pop_front()?;
        match &came {
            Came::Event(event) => {
                self.handed_out.clone_from(&event.id);
                self.stand_at(&event.id);
            }
            Came::SnapshotEnd(end) => {
                // It is whole: what follows is resumed like any other stream.
                self.request.snapshot = false;
                self.stand_at(&end.cursor);
            }
            Came::Heartbeat(heartbeat) => self.stand_at(&heartbeat.cursor),
            Came::SnapshotBegin | Came::SnapshotDocument(_) => {}
        }
        Some(came)
    }

    /// Where the next connection begins; a consumer's place is the server's to know.
    fn stand_at(&mut self, cursor: &str) {
        if self.request.consumer.is_empty() && !self.request.snapshot {
            cursor.clone_into(&mut self.request.cursor);
        }
    }

    /// Makes ready what a message has that was not given before.
    fn take(&mut self, message: SubscribeResponse) {
        match message.item {
            // A consumer's stream begins anew behind what is acknowledged: cursors sort as text.
            Some(Item::Event(event))
                if !self.request.consumer.is_empty() && event.id <= self.handed_out => {}
            Some(Item::Event(event)) => self.ready.push_back(Came::Event(Box::new(event))),
            Some(Item::Heartbeat(heartbeat)) => {
                self.beat(&heartbeat);
                self.ready.push_back(Came::Heartbeat(heartbeat));
            }
            Some(Item::SnapshotDocument(document)) => {
                self.begin_snapshot();
                self.ready.push_back(Came::SnapshotDocument(Box::new(document)));
            }
            Some(Item::SnapshotEnd(end)) => {
                self.begin_snapshot();
                self.ready.push_back(Came::SnapshotEnd(end));
            }
            None => {}
        }
    }

    /// Before the first message of a snapshot on this connection.
    fn begin_snapshot(&mut self) {
        if !std::mem::replace(&mut self.in_snapshot, true) {
            self.ready.push_back(Came::SnapshotBegin);
        }
    }

    fn beat(&mut self, heartbeat: &pb::Heartbeat) {
        let Some(generation) = heartbeat.generation else { return };
        if self.generation.is_none() || self.takeovers_unheard > 0 {
            // The first on this connection: it is at what is acknowledged, and may lie behind
            // what was handed out.
            if self.acknowledged < heartbeat.cursor {
                self.acknowledged.clone_from(&heartbeat.cursor);
            }
        }
        self.generation = Some(generation);
        self.takeovers_unheard = 0;
    }

    /// When all that was handed out is dealt with, what did not pass the filter since then may be
    /// acknowledged too: an idle consumer holds no log.
    async fn acknowledge_idle(&mut self) -> Result<(), Failure> {
        if self.request.consumer.is_empty() {
            return Ok(());
        }
        let Some(Came::Heartbeat(heartbeat)) = self.ready.back() else { return Ok(()) };
        if self.handed_out <= self.acknowledged && self.acknowledged < heartbeat.cursor {
            let cursor = heartbeat.cursor.clone();
            self.acknowledge(&cursor).await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<SubscribeResponse> {
        let broken = |detail: &str| Error::unavailable(detail);
        let messages = match &mut self.messages {
            Some(messages) => messages,
            None => {
                let messages = self.ask().await?;
                self.messages.insert(messages)
            }
        };
        match tokio::time::timeout(SILENCE_MAX, messages.message()).await {
            Ok(Ok(Some(message))) => Ok(message),
            Ok(Ok(None)) => Err(broken("the server ended the stream")),
            Ok(Err(status)) => Err(connect::error(&status)),
            Err(_) => Err(broken(&format!("nothing came for {} s", SILENCE_MAX.as_secs()))),
        }
    }

    async fn ask(&mut self) -> Result<Streaming<SubscribeResponse>> {
        self.in_snapshot = false;
        let mut request = self.request.clone();
        if !request.consumer.is_empty() && self.generation.is_some() {
            request.generation = self.generation;
            self.takeovers_unheard += 1;
        }
        let mut client = self.server.events();
        let reply = client.subscribe(request).await;
        reply.map(tonic::Response::into_inner).map_err(|status| connect::error(&status))
    }

    /// Whether a conflict is with ourselves: the server took us back under a generation that we
    /// never heard of, because the connection broke before it could say so.
    async fn is_ours_after_all(&mut self, error: &Error, takeovers_unheard: u32) -> bool {
        if error.kind != ErrorKind::Conflict || takeovers_unheard == 0 {
            return false;
        }
        let request = pb::GetConsumerRequest { name: self.request.consumer.clone() };
        let Ok(reply) = self.server.consumers().get_consumer(request).await else { return false };
        match reply.into_inner().consumer {
            Some(consumer) if consumer.owner == self.request.owner => {
                self.generation = Some(consumer.generation);
                true
            }
            Some(_) | None => false,
        }
    }
}
