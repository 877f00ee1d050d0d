//! `arrwdb.v1.EventService`: the feed as a stream of messages.

use bytes::Bytes;
use futures::stream::{self, Empty};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::convert::consumer::follow_request;
use super::convert::event::{
    events_request, events_to_pb, statistics_to_pb, write_event, write_heartbeat,
    write_snapshot_document, write_snapshot_end,
};
use super::convert::read_at;
use super::framed::FramedBody;
use super::pages::{Pages, pages};
use super::pb::event_service_server::EventService;
use super::{Grpc, pb, reply, reply_stream};
use crate::api::slot;
use crate::engine::changes::{FeedPiece, Format, Subscription};
use crate::engine::snapshot::Snapshot;
use crate::types::{Cursor, Error, ErrorKind, Result as ArrwdbResult, StartAt, Timestamp};

/// Events as messages, which the engine keeps for all readers.
const MESSAGES: Format = Format::new(slot::GRPC, write_event);

#[tonic::async_trait]
impl EventService for Grpc {
    /// Has nothing: the messages are in the response's [`FramedBody`].
    type SubscribeStream = Empty<Result<pb::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let (snapshot, subscription) = self.begin(&request).await?;
        let shutdown = self.engine.shutdown_token().clone();
        let engine = self.engine.clone();
        let messages = pages(&self.tasks, self.engine.limits(), async move |pages| {
            let ended = send(snapshot, subscription, &shutdown, &pages).await;
            if ended.as_ref().is_err_and(|error| error.kind == ErrorKind::DeadlineExceeded) {
                engine.client_stalled();
            }
            ended
        });
        let mut response = reply_stream(stream::empty())?;
        response.extensions_mut().insert(FramedBody::new(messages));
        Ok(response)
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let request = request.into_inner();
        let limit = Some(request.limit as usize).filter(|limit| *limit > 0);
        let at = read_at(request.min_revision, request.timeout_ms);
        let request = events_request(
            &request.library_id,
            &request.event_types,
            &request.filter,
            &request.cursor,
            StartAt::Begin,
            self.engine.limits(),
        )?;
        let page = self.engine.list_events(request, limit, at).await?;
        reply(pb::ListEventsResponse {
            events: events_to_pb(&page.changes).collect(),
            next_cursor: page.next_cursor.to_string(),
            tail_cursor: page.tail_cursor.to_string(),
        })
    }

    async fn get_event_statistics(
        &self,
        request: Request<pb::GetEventStatisticsRequest>,
    ) -> Result<Response<pb::GetEventStatisticsResponse>, Status> {
        let request = request.into_inner();
        let at = read_at(request.min_revision, request.timeout_ms);
        reply(statistics_to_pb(&self.engine.event_statistics(at).await?))
    }
}

impl Grpc {
    /// What a subscription begins with, if it was asked for that, and the subscription.
    async fn begin(
        &self,
        request: &pb::SubscribeRequest,
    ) -> ArrwdbResult<(Option<Snapshot>, Subscription)> {
        if let Some(request) = follow_request(request)? {
            return Ok((None, self.engine.subscribe_consumer(request).await?));
        }
        let wanted = events_request(
            &request.library_id,
            &request.event_types,
            &request.filter,
            &request.cursor,
            StartAt::Now,
            self.engine.limits(),
        )?;
        if request.snapshot {
            let (snapshot, tail) = self.engine.subscribe_with_snapshot(wanted).await?;
            return Ok((Some(snapshot), tail));
        }
        Ok((None, self.engine.subscribe(wanted).await?))
    }
}

/// Sends the snapshot, if there is one, then what the subscription yields.
async fn send(
    snapshot: Option<Snapshot>,
    subscription: Subscription,
    shutdown: &CancellationToken,
    pages: &Pages<Bytes>,
) -> ArrwdbResult<()> {
    if let Some(snapshot) = snapshot {
        send_snapshot(snapshot, shutdown, pages).await?;
    }
    follow(subscription, pages).await
}

/// Sends the documents, then the end with the cursor.
async fn send_snapshot(
    mut snapshot: Snapshot,
    shutdown: &CancellationToken,
    pages: &Pages<Bytes>,
) -> ArrwdbResult<()> {
    loop {
        let documents = tokio::select! {
            biased;
            () = pages.left() => return Err(Error::new(ErrorKind::Cancelled, "the client left")),
            () = shutdown.cancelled() => {
                return Err(Error::unavailable("the server is shutting down"));
            }
            documents = snapshot.next() => documents?,
        };
        let mut messages = Vec::new();
        match documents {
            Some(documents) => {
                for document in &documents {
                    write_snapshot_document(&mut messages, document);
                }
                pages.send(vec![messages.into()]).await?;
            }
            None => {
                write_snapshot_end(&mut messages, &snapshot);
                return pages.send(vec![messages.into()]).await;
            }
        }
    }
}

/// Sends what the subscription yields until the client leaves; at shutdown a last heartbeat with
/// the cursor to go on from.
async fn follow(mut subscription: Subscription, pages: &Pages<Bytes>) -> ArrwdbResult<()> {
    loop {
        pages.ready().await?;
        let piece = tokio::select! {
            biased;
            () = pages.left() => return Ok(()),
            piece = subscription.next_piece(MESSAGES) => piece?,
        };
        match piece {
            Some(FeedPiece::Events { bytes, events }) => {
                let length = bytes.len();
                pages.send(vec![bytes]).await?;
                subscription.delivered(events, length);
            }
            Some(FeedPiece::Heartbeat { cursor, time }) => {
                pages.send(vec![heartbeat(cursor, time, subscription.generation())]).await?;
            }
            None => {
                let generation = subscription.generation();
                let last = heartbeat(subscription.cursor(), Timestamp::now(), generation);
                return pages.send(vec![last]).await;
            }
        }
    }
}

fn heartbeat(cursor: Cursor, time: Timestamp, generation: Option<u64>) -> Bytes {
    let mut out = Vec::new();
    write_heartbeat(&mut out, cursor, time, generation);
    out.into()
}
