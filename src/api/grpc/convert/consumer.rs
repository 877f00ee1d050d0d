//! Conversions of durable consumers.

use std::time::Duration;

use super::event::{event_type_to_pb, event_types_from_pb, events_to_pb};
use super::{any_library, given, timestamp};
use crate::api::grpc::pb;
use crate::engine::consumers::{
    ConsumerView, FollowRequest, NewConsumer, PullRequest, PulledEvents,
};
use crate::types::{ConsumerName, Error, Result, StartAt};

pub(in crate::api::grpc) fn new_consumer(
    request: pb::CreateConsumerRequest,
) -> Result<NewConsumer> {
    Ok(NewConsumer {
        name: ConsumerName::parse(&request.name)?,
        library: any_library(&request.library_id)?,
        event_types: event_types_from_pb(&request.event_types)?,
        filter: given(request.filter),
        start: match request.cursor.as_str() {
            "" => StartAt::Now,
            text => text.parse()?,
        },
    })
}

pub(in crate::api::grpc) fn pull_request(
    request: pb::PullEventsRequest,
) -> Result<(ConsumerName, PullRequest)> {
    let pull = PullRequest {
        generation: request.generation,
        owner: request.owner,
        cursor: match request.cursor.as_str() {
            "" => None,
            text => Some(text.parse()?),
        },
        max_events: Some(request.max_events as usize).filter(|most| *most > 0),
        wait: Duration::from_millis(request.wait_ms.into()),
    };
    Ok((ConsumerName::parse(&request.name)?, pull))
}

/// As which consumer to subscribe, if as one: that says what is wanted, so nothing else may.
pub(in crate::api::grpc) fn follow_request(
    request: &pb::SubscribeRequest,
) -> Result<Option<FollowRequest>> {
    let given = |fields: &[(&str, bool)], why: &str| {
        let given = fields.iter().find(|(_, given)| *given);
        given.map_or(Ok(()), |(field, _)| Err(Error::invalid(*field, why)))
    };
    if request.consumer.is_empty() {
        let owner =
            [("owner", !request.owner.is_empty()), ("generation", request.generation.is_some())];
        given(&owner, "is of a subscription as a consumer")?;
        return Ok(None);
    }
    let wanted = [
        ("library_id", !request.library_id.is_empty()),
        ("event_types", !request.event_types.is_empty()),
        ("cursor", !request.cursor.is_empty()),
        ("filter", !request.filter.is_empty()),
        ("snapshot", request.snapshot),
    ];
    given(&wanted, "is the consumer's own")?;
    let name = ConsumerName::parse(&request.consumer)
        .map_err(|_| Error::invalid("consumer", "must be a consumer's name"))?;
    let (generation, owner) = (request.generation, request.owner.clone());
    Ok(Some(FollowRequest { name, generation, owner }))
}

pub(in crate::api::grpc) fn pulled_to_pb(pulled: &PulledEvents) -> pb::PullEventsResponse {
    pb::PullEventsResponse {
        events: events_to_pb(&pulled.changes).collect(),
        next_cursor: pulled.next_cursor.to_string(),
        tail_cursor: pulled.tail_cursor.to_string(),
        generation: pulled.generation,
    }
}

pub(in crate::api::grpc) fn consumer_to_pb(view: &ConsumerView) -> pb::Consumer {
    let (consumer, lag) = (&view.consumer, view.lag);
    let types = consumer.event_types.iter();
    pb::Consumer {
        name: consumer.name.as_str().to_owned(),
        library_id: consumer.library.map(|id| id.to_string()).unwrap_or_default(),
        event_types: types.map(|kind| event_type_to_pb(*kind).into()).collect(),
        filter: consumer.filter.clone().unwrap_or_default(),
        cursor: consumer.cursor.to_string(),
        generation: consumer.generation,
        owner: consumer.owner.clone(),
        paused: consumer.paused,
        expired: view.expired,
        lag_revisions: lag.revisions,
        lag_events: lag.events,
        lag_seconds: lag.age.as_secs_f64(),
        created_at: Some(timestamp(consumer.created_at)),
        updated_at: Some(timestamp(consumer.updated_at)),
    }
}
