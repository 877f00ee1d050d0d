//! The verbs of durable consumers over HTTP.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::HttpState;
use super::body::{JsonBody, OptionalJsonBody};
use super::dto::consumer::{
    AcknowledgeIn, ConsumerIn, ConsumerOut, ConsumersOut, Gone, PullIn, PulledOut, SeekIn,
};
use super::openapi::faults::{
    ConsumerFaults, CreateConsumerFaults, FindFaults, OwnerFaults, ServerFaults,
};
use super::openapi::params::{ConsumerParam, PageParams, RequestIdParams};
use super::params::Params;
use super::path::ConsumerPath;
use super::problem::Problem;
use super::reply::{json, request_id};
use crate::engine::consumers::{ConsumerView, FollowRequest};
use crate::types::{ConsumerName, Error, Result};

type Reply = Result<Response, Problem>;

fn shown(status: StatusCode, view: &ConsumerView) -> Response {
    json(status, &ConsumerOut::from(view))
}

/// Takes `consumer` and what belongs to it: as which consumer to follow, if as one. That says what
/// is wanted, so nothing else may.
pub(super) fn follow_request(params: &mut Params) -> Result<Option<FollowRequest>> {
    let Some(name) = params.take("consumer") else { return Ok(None) };
    for field in ["library_id", "event_types", "cursor", "filter", "snapshot"] {
        if params.take(field).is_some() {
            return Err(Error::invalid(field, "is the consumer's own"));
        }
    }
    let name = ConsumerName::parse(&name)
        .map_err(|_| Error::invalid("consumer", "must be a consumer's name"))?;
    let generation = params.number("generation", "a whole number")?;
    let owner = params.take("owner").unwrap_or_default();
    Ok(Some(FollowRequest { name, generation, owner }))
}

/// Create a durable consumer
#[utoipa::path(
    post,
    path = "/v1/consumers",
    operation_id = "create_consumer",
    tag = "consumers",
    params(RequestIdParams),
    request_body = ConsumerIn,
    responses((status = 201, description = "As created.", body = ConsumerOut<'_>), CreateConsumerFaults)
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    headers: HeaderMap,
    mut params: Params,
    JsonBody(input): JsonBody<ConsumerIn>,
) -> Reply {
    let request_id = request_id(&headers, &mut params)?;
    params.finish()?;
    let view = state.engine.create_consumer(input.into_new()?, request_id).await?;
    Ok(shown(StatusCode::CREATED, &view))
}

/// List the durable consumers
#[utoipa::path(
    get,
    path = "/v1/consumers",
    operation_id = "list_consumers",
    tag = "consumers",
    params(PageParams),
    responses((status = 200, description = "A page, by name.", body = ConsumersOut<'_>), ServerFaults)
)]
pub(super) async fn list(State(state): State<HttpState>, mut params: Params) -> Reply {
    let page = params.page(state.engine.limits())?;
    params.finish()?;
    let page = state.engine.list_consumers(page).await?;
    Ok(json(StatusCode::OK, &ConsumersOut::from(&page)))
}

/// Read a durable consumer, and how far it is behind
#[utoipa::path(
    get,
    path = "/v1/consumers/{consumer}",
    operation_id = "get_consumer",
    tag = "consumers",
    params(ConsumerParam),
    responses((status = 200, description = "As it is now.", body = ConsumerOut<'_>), FindFaults)
)]
pub(super) async fn read(
    State(state): State<HttpState>,
    ConsumerPath(name): ConsumerPath,
    params: Params,
) -> Reply {
    params.finish()?;
    Ok(shown(StatusCode::OK, &state.engine.get_consumer(&name).await?))
}

/// Pull the next events that are not acknowledged
///
/// Without a `generation` it takes the consumer over: the answer has the one to go on with.
#[utoipa::path(
    post,
    path = "/v1/consumers/{consumer}/pull",
    operation_id = "pull_events",
    tag = "consumers",
    params(ConsumerParam),
    request_body = Option<PullIn>,
    responses((status = 200, description = "The events.", body = PulledOut<'_>), OwnerFaults)
)]
pub(super) async fn pull(
    State(state): State<HttpState>,
    ConsumerPath(name): ConsumerPath,
    params: Params,
    OptionalJsonBody(input): OptionalJsonBody<PullIn>,
) -> Reply {
    params.finish()?;
    let request = input.unwrap_or_default().into_request()?;
    let pulled = state.engine.pull_events(&name, request).await?;
    Ok(json(StatusCode::OK, &PulledOut::from(&pulled)))
}

/// Acknowledge what is dealt with
///
/// Durable when it is answered, and cumulative; one that comes late changes nothing.
#[utoipa::path(
    post,
    path = "/v1/consumers/{consumer}/acknowledge",
    operation_id = "acknowledge_events",
    tag = "consumers",
    params(ConsumerParam),
    request_body = AcknowledgeIn,
    responses((status = 200, description = "As it is now.", body = ConsumerOut<'_>), OwnerFaults)
)]
pub(super) async fn acknowledge(
    State(state): State<HttpState>,
    ConsumerPath(name): ConsumerPath,
    params: Params,
    JsonBody(input): JsonBody<AcknowledgeIn>,
) -> Reply {
    params.finish()?;
    let (generation, cursor) = input.into_parts()?;
    let view = state.engine.acknowledge_events(&name, generation, cursor).await?;
    Ok(shown(StatusCode::OK, &view))
}

/// Move a durable consumer forwards or back
///
/// Its owner becomes stale.
#[utoipa::path(
    post,
    path = "/v1/consumers/{consumer}/seek",
    operation_id = "seek_consumer",
    tag = "consumers",
    params(ConsumerParam),
    request_body = SeekIn,
    responses((status = 200, description = "As it is now.", body = ConsumerOut<'_>), OwnerFaults)
)]
pub(super) async fn seek(
    State(state): State<HttpState>,
    ConsumerPath(name): ConsumerPath,
    params: Params,
    JsonBody(input): JsonBody<SeekIn>,
) -> Reply {
    params.finish()?;
    let view = state.engine.seek_consumer(&name, input.into_start()?).await?;
    Ok(shown(StatusCode::OK, &view))
}

/// Pause a durable consumer
///
/// It gives nothing out, and keeps its place.
#[utoipa::path(
    post,
    path = "/v1/consumers/{consumer}/pause",
    operation_id = "pause_consumer",
    tag = "consumers",
    params(ConsumerParam),
    responses((status = 200, description = "As it is now.", body = ConsumerOut<'_>), ConsumerFaults)
)]
pub(super) async fn pause(
    State(state): State<HttpState>,
    ConsumerPath(name): ConsumerPath,
    params: Params,
) -> Reply {
    params.finish()?;
    Ok(shown(StatusCode::OK, &state.engine.pause_consumer(&name, true).await?))
}

/// Resume a durable consumer
#[utoipa::path(
    post,
    path = "/v1/consumers/{consumer}/resume",
    operation_id = "resume_consumer",
    tag = "consumers",
    params(ConsumerParam),
    responses((status = 200, description = "As it is now.", body = ConsumerOut<'_>), ConsumerFaults)
)]
pub(super) async fn resume(
    State(state): State<HttpState>,
    ConsumerPath(name): ConsumerPath,
    params: Params,
) -> Reply {
    params.finish()?;
    Ok(shown(StatusCode::OK, &state.engine.pause_consumer(&name, false).await?))
}

/// Delete a durable consumer
#[utoipa::path(
    delete,
    path = "/v1/consumers/{consumer}",
    operation_id = "delete_consumer",
    tag = "consumers",
    params(ConsumerParam),
    responses((status = 200, description = "It is deleted.", body = Gone), ConsumerFaults)
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    ConsumerPath(name): ConsumerPath,
    params: Params,
) -> Reply {
    params.finish()?;
    state.engine.delete_consumer(&name).await?;
    Ok(json(StatusCode::OK, &Gone {}))
}
