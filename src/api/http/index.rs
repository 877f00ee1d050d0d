//! The verbs about a library's index over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::HttpState;
use super::body::OptionalJsonBody;
use super::dto::index::{IndexOut, RebuildIn, RecallIn, RecallOut};
use super::dto::{Nothing, Revised, Shown};
use super::openapi::faults::{IndexFaults, ReadOneFaults, RecallFaults};
use super::openapi::params::{LibraryParam, ReadParams};
use super::params::Params;
use super::path::LibraryPath;
use super::problem::Problem;
use super::reply::json;

type Reply = Result<Response, Problem>;

/// What an index is made of
#[utoipa::path(
    get,
    path = "/v1/libraries/{library}/index",
    operation_id = "get_index_statistics",
    tag = "index",
    params(LibraryParam, ReadParams),
    responses((status = 200, description = "Its segments.", body = IndexOut), ReadOneFaults)
)]
pub(super) async fn statistics(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    mut params: Params,
) -> Reply {
    let at = params.read_at()?;
    params.finish()?;
    let statistics = state.engine.index_statistics(&library, at).await?;
    Ok(json(StatusCode::OK, &IndexOut::from(&statistics)))
}

/// Build an index anew
///
/// Answers when it is done; searches go on meanwhile. Gives the revision of `index.rebuilt`.
#[utoipa::path(
    post,
    path = "/v1/libraries/{library}/index/rebuild",
    operation_id = "rebuild_index",
    tag = "index",
    params(LibraryParam),
    request_body = Option<RebuildIn>,
    responses((status = 200, description = "It is built.", body = Revised), IndexFaults)
)]
pub(super) async fn rebuild(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    params: Params,
    OptionalJsonBody(input): OptionalJsonBody<RebuildIn>,
) -> Reply {
    params.finish()?;
    let kind = input.unwrap_or_default().index_type()?;
    let revision = state.engine.rebuild_index(&library, kind).await?;
    Ok(json(StatusCode::OK, &Revised { revision: Shown(revision) }))
}

/// Merge what an index is made of, and let go of what is deleted
///
/// Answers when it is done; searches go on meanwhile. Gives the revision of `index.optimized`.
#[utoipa::path(
    post,
    path = "/v1/libraries/{library}/index/optimize",
    operation_id = "optimize_index",
    tag = "index",
    params(LibraryParam),
    request_body = Option<Nothing>,
    responses((status = 200, description = "It is merged.", body = Revised), IndexFaults)
)]
pub(super) async fn optimize(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    params: Params,
    OptionalJsonBody(_): OptionalJsonBody<Nothing>,
) -> Reply {
    params.finish()?;
    let revision = state.engine.optimize_index(&library).await?;
    Ok(json(StatusCode::OK, &Revised { revision: Shown(revision) }))
}

/// Measure how much of the exact answer searches give
///
/// Searches for stored vectors, and compares with exact search.
#[utoipa::path(
    post,
    path = "/v1/libraries/{library}/recall",
    operation_id = "measure_recall",
    tag = "index",
    params(LibraryParam),
    request_body = Option<RecallIn>,
    responses((status = 200, description = "What was measured.", body = RecallOut), RecallFaults)
)]
pub(super) async fn recall(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    params: Params,
    OptionalJsonBody(input): OptionalJsonBody<RecallIn>,
) -> Reply {
    params.finish()?;
    let request = input.unwrap_or_default().into_request()?;
    let measured = state.engine.measure_recall(&library, request).await?;
    Ok(json(StatusCode::OK, &RecallOut::from(&measured)))
}
