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
use super::openapi::faults::{ChangeFaults, CreateFaults, DeleteFaults, ReadFaults, ReadOneFaults};
use super::openapi::params::{
    ExpectedParams, LibraryParam, PageParams, ReadParams, RequestIdParams,
};
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

/// Create a library
///
/// `name` is all that is needed.
#[utoipa::path(
    post,
    path = "/v1/libraries",
    operation_id = "create_library",
    tag = "libraries",
    params(RequestIdParams),
    request_body = LibraryIn,
    responses(
        (status = 201, description = "As created.", body = LibraryOut<'_>,
            headers(("ETag" = String, description = "Its revision, for `If-Match`."))),
        CreateFaults,
    )
)]
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

/// List the libraries
#[utoipa::path(
    get,
    path = "/v1/libraries",
    operation_id = "list_libraries",
    tag = "libraries",
    params(PageParams, ReadParams),
    responses((status = 200, description = "A page, by name.", body = LibrariesOut<'_>), ReadFaults)
)]
pub(super) async fn list(State(state): State<HttpState>, mut params: Params) -> Reply {
    let (page, at) = (params.page(state.engine.limits())?, params.read_at()?);
    params.finish()?;
    let page = state.engine.list_libraries(page, at).await?;
    Ok(json(StatusCode::OK, &LibrariesOut::from(&page)))
}

/// Read a library
#[utoipa::path(
    get,
    path = "/v1/libraries/{library}",
    operation_id = "get_library",
    tag = "libraries",
    params(LibraryParam, ReadParams),
    responses(
        (status = 200, description = "As it is.", body = LibraryOut<'_>,
            headers(("ETag" = String, description = "Its revision, for `If-Match`."))),
        ReadOneFaults,
    )
)]
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

/// Change a library
#[utoipa::path(
    patch,
    path = "/v1/libraries/{library}",
    operation_id = "update_library",
    tag = "libraries",
    params(LibraryParam, ExpectedParams),
    request_body = LibraryPatchIn,
    responses(
        (status = 200, description = "As changed.", body = LibraryOut<'_>,
            headers(("ETag" = String, description = "Its new revision, for `If-Match`."))),
        ChangeFaults,
    )
)]
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

/// Delete a library with all that is in it
#[utoipa::path(
    delete,
    path = "/v1/libraries/{library}",
    operation_id = "delete_library",
    tag = "libraries",
    params(LibraryParam, ExpectedParams),
    responses((status = 200, description = "It is deleted.", body = Revised), DeleteFaults)
)]
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

/// A library in numbers
#[utoipa::path(
    get,
    path = "/v1/libraries/{library}/statistics",
    operation_id = "get_library_statistics",
    tag = "libraries",
    params(LibraryParam, ReadParams),
    responses(
        (status = 200, description = "What it holds and costs.", body = LibraryStatisticsOut<'_>),
        ReadOneFaults,
    )
)]
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
