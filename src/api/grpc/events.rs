//! `arrwdb.v1.EventService`: the feed as a stream of messages.

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::convert::consumer::follow_request;
use super::convert::event::{
    events_request, events_to_pb, heartbeat, not_served, statistics_to_pb,
};
use super::convert::read_at;
use super::pages::{Pages, pages};
use super::pb::event_service_server::EventService;
use super::{Grpc, pb, reply, reply_stream};
use crate::engine::changes::{FeedItem, Selected, Subscription};
use crate::types::{Result as ArrwdbResult, StartAt, Timestamp};

#[tonic::async_trait]
impl EventService for Grpc {
    type SubscribeStream = BoxStream<'static, Result<pb::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let subscription = if let Some(request) = follow_request(&request)? {
            self.engine.subscribe_consumer(request).await?
        } else {
            not_served("filter", !request.filter.is_empty())?;
            not_served("snapshot", request.snapshot)?;
            let (library, types) = (&request.library_id, &request.event_types);
            let request = events_request(library, types, &request.cursor, StartAt::Now)?;
            self.engine.subscribe(request).await?
        };
        let messages =
            pages(&self.tasks, self.engine.limits(), move |pages| follow(subscription, pages));
        reply_stream(messages.boxed())
    }

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let request = request.into_inner();
        not_served("filter", !request.filter.is_empty())?;
        let limit = Some(request.limit as usize).filter(|limit| *limit > 0);
        let at = read_at(request.min_revision, request.timeout_ms);
        let types = &request.event_types;
        let request = events_request(&request.library_id, types, &request.cursor, StartAt::Begin)?;
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

/// Sends what the subscription yields until the client leaves; at shutdown a last heartbeat with
/// the cursor to go on from.
async fn follow(
    mut subscription: Subscription,
    pages: Pages<pb::SubscribeResponse>,
) -> ArrwdbResult<()> {
    loop {
        let item = tokio::select! {
            biased;
            () = pages.left() => return Ok(()),
            item = subscription.next() => item?,
        };
        match item {
            Some(FeedItem::Changes(changes)) => {
                let page = messages(&changes);
                let events = page.len() as u64;
                pages.send(page).await?;
                subscription.delivered(events);
            }
            Some(FeedItem::Heartbeat { cursor, time }) => {
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

fn messages(changes: &[Selected]) -> Vec<pb::SubscribeResponse> {
    let message =
        |event| pb::SubscribeResponse { item: Some(pb::subscribe_response::Item::Event(event)) };
    events_to_pb(changes).map(message).collect()
}
