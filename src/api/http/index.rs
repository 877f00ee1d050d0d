//! The verbs about a library's index over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::HttpState;
use super::body::OptionalJsonBody;
use super::dto::index::{IndexOut, RebuildIn, RecallIn, RecallOut};
use super::dto::{Nothing, Revised, Shown};
use super::params::Params;
use super::path::LibraryPath;
use super::problem::Problem;
use super::reply::json;

type Reply = Result<Response, Problem>;

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
