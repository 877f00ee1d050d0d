//! The library verbs over HTTP.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::HttpState;
use super::body::JsonBody;
use super::dto::library::{
    LibrariesOut, LibraryIn, LibraryOut, LibraryPatchIn, LibraryStatisticsOut,
};
use super::dto::{Revised, Shown};
use super::params::Params;
use super::path::LibraryPath;
use super::problem::Problem;
use super::reply::{expected_revision, json, json_at, request_id};
use crate::engine::library::LibraryView;
use crate::types::Result;

type Reply = Result<Response, Problem>;

fn shown(status: StatusCode, view: &LibraryView) -> Response {
    json_at(status, view.library.revision, &LibraryOut::from(view))
}

pub(super) async fn create(
    State(state): State<HttpState>,
    headers: HeaderMap,
    mut params: Params,
    JsonBody(input): JsonBody<LibraryIn>,
) -> Reply {
    let request_id = request_id(&headers, &mut params)?;
    params.finish()?;
    let new = input.into_new(state.engine.limits())?;
    let view = state.engine.create_library(new, request_id).await?;
    Ok(shown(StatusCode::CREATED, &view))
}

pub(super) async fn list(State(state): State<HttpState>, mut params: Params) -> Reply {
    let (page, at) = (params.page(state.engine.limits())?, params.read_at()?);
    params.finish()?;
    let page = state.engine.list_libraries(page, at).await?;
    Ok(json(StatusCode::OK, &LibrariesOut::from(&page)))
}

pub(super) async fn read(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    mut params: Params,
) -> Reply {
    let at = params.read_at()?;
    params.finish()?;
    let view = state.engine.get_library(&library, at).await?;
    Ok(shown(StatusCode::OK, &view))
}

pub(super) async fn update(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    headers: HeaderMap,
    mut params: Params,
    JsonBody(input): JsonBody<LibraryPatchIn>,
) -> Reply {
    let expected = expected_revision(&headers, &mut params)?;
    params.finish()?;
    let patch = input.into_patch(state.engine.limits())?;
    let view = state.engine.update_library(&library, patch, expected).await?;
    Ok(shown(StatusCode::OK, &view))
}

pub(super) async fn delete(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    headers: HeaderMap,
    mut params: Params,
) -> Reply {
    let expected = expected_revision(&headers, &mut params)?;
    params.finish()?;
    let revision = state.engine.delete_library(&library, expected).await?;
    Ok(json(StatusCode::OK, &Revised { revision: Shown(revision) }))
}

pub(super) async fn statistics(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    mut params: Params,
) -> Reply {
    let at = params.read_at()?;
    params.finish()?;
    let statistics = state.engine.library_statistics(&library, at).await?;
    Ok(json(StatusCode::OK, &LibraryStatisticsOut::from(&statistics)))
}
