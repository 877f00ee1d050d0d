//! The document verbs over HTTP, one document at a time.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::HttpState;
use super::body::JsonBody;
use super::dto::document::{DocumentIn, DocumentOut, DocumentPatchIn, DocumentsOut};
use super::dto::matching::{DeletedOut, MatchingOut};
use super::dto::{Revised, Shown};
use super::openapi::faults::{
    ChangeFaults, CreateInFaults, DeleteFaults, DeleteMatchingFaults, MatchFaults, ReadOneFaults,
};
use super::openapi::params::{
    DocumentParam, ExpectedParams, LibraryParam, PageParams, ReadParams, RequestIdParams,
};
use super::params::Params;
use super::path::{DocumentPath, LibraryPath};
use super::problem::Problem;
use super::reply::{expected_revision, json, json_at, request_id};
use crate::types::{Document, Result};

type Reply = Result<Response, Problem>;

fn shown(status: StatusCode, document: &Document) -> Response {
    json_at(status, document.head.revision, &DocumentOut::new(document, true))
}

/// Create a document
///
/// A `title`, and one of `text` (split by the server), `texts` (the chunks) and `chunks`.
#[utoipa::path(
    post,
    path = "/v1/libraries/{library}/documents",
    operation_id = "create_document",
    tag = "documents",
    params(LibraryParam, RequestIdParams),
    request_body = DocumentIn,
    responses(
        (status = 201, description = "As created.", body = DocumentOut<'_>,
            headers(("ETag" = String, description = "Its revision, for `If-Match`."))),
        CreateInFaults,
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    headers: HeaderMap,
    mut params: Params,
    JsonBody(input): JsonBody<DocumentIn>,
) -> Reply {
    let request_id = request_id(&headers, &mut params)?;
    params.finish()?;
    let new = input.into_new(state.engine.limits())?;
    let document = state.engine.create_document(&library, new, request_id).await?;
    Ok(shown(StatusCode::CREATED, &document))
}

/// List the documents of a library
#[utoipa::path(
    get,
    path = "/v1/libraries/{library}/documents",
    operation_id = "list_documents",
    tag = "documents",
    params(
        LibraryParam,
        PageParams,
        ("include_chunks" = Option<bool>, Query, nullable = false,
            description = "Whether the documents come with their chunks (`false`)."),
        ReadParams,
    ),
    responses(
        (status = 200, description = "A page, in the order of their creation.", body = DocumentsOut<'_>),
        ReadOneFaults,
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    mut params: Params,
) -> Reply {
    let (page, at) = (params.page(state.engine.limits())?, params.read_at()?);
    let include_chunks = params.flag("include_chunks")?.unwrap_or_default();
    params.finish()?;
    let page = state.engine.list_documents(&library, page, include_chunks, at).await?;
    Ok(json(StatusCode::OK, &DocumentsOut::new(&page, include_chunks)))
}

/// Read a document with its chunks
#[utoipa::path(
    get,
    path = "/v1/libraries/{library}/documents/{document}",
    operation_id = "get_document",
    tag = "documents",
    params(LibraryParam, DocumentParam, ReadParams),
    responses(
        (status = 200, description = "As it is.", body = DocumentOut<'_>,
            headers(("ETag" = String, description = "Its revision, for `If-Match`."))),
        ReadOneFaults,
    )
)]
pub(super) async fn read(
    State(state): State<HttpState>,
    DocumentPath(library, id): DocumentPath,
    mut params: Params,
) -> Reply {
    let at = params.read_at()?;
    params.finish()?;
    let document = state.engine.get_document(&library, &id, at).await?;
    Ok(shown(StatusCode::OK, &document))
}

/// Change a document
///
/// Any field but `id`; `text`, `texts` or `chunks` replace all chunks.
#[utoipa::path(
    patch,
    path = "/v1/libraries/{library}/documents/{document}",
    operation_id = "update_document",
    tag = "documents",
    params(LibraryParam, DocumentParam, ExpectedParams),
    request_body = DocumentPatchIn,
    responses(
        (status = 200, description = "As changed.", body = DocumentOut<'_>,
            headers(("ETag" = String, description = "Its new revision, for `If-Match`."))),
        ChangeFaults,
    )
)]
pub(super) async fn update(
    State(state): State<HttpState>,
    DocumentPath(library, id): DocumentPath,
    headers: HeaderMap,
    mut params: Params,
    JsonBody(input): JsonBody<DocumentPatchIn>,
) -> Reply {
    let expected = expected_revision(&headers, &mut params)?;
    params.finish()?;
    let patch = input.into_patch(state.engine.limits())?;
    let document = state.engine.update_document(&library, &id, patch, expected).await?;
    Ok(shown(StatusCode::OK, &document))
}

/// Delete a document with its chunks
#[utoipa::path(
    delete,
    path = "/v1/libraries/{library}/documents/{document}",
    operation_id = "delete_document",
    tag = "documents",
    params(LibraryParam, DocumentParam, ExpectedParams),
    responses((status = 200, description = "It is deleted.", body = Revised), DeleteFaults)
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    DocumentPath(library, id): DocumentPath,
    headers: HeaderMap,
    mut params: Params,
) -> Reply {
    let expected = expected_revision(&headers, &mut params)?;
    params.finish()?;
    let revision = state.engine.delete_document(&library, &id, expected).await?;
    Ok(json(StatusCode::OK, &Revised { revision: Shown(revision) }))
}

/// Count what a filter lets through
///
/// The documents of which at least one chunk passes, and the chunks that do; all without a filter.
#[utoipa::path(
    get,
    path = "/v1/libraries/{library}/count",
    operation_id = "count_documents",
    tag = "documents",
    params(
        LibraryParam,
        ("filter" = Option<String>, Query, nullable = false,
            description = "An expression over document and chunk."),
        ReadParams,
    ),
    responses((status = 200, description = "How many.", body = MatchingOut), MatchFaults)
)]
pub(super) async fn count(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    mut params: Params,
) -> Reply {
    let (filter, at) = (params.take("filter"), params.read_at()?);
    params.finish()?;
    let filter = filter.as_deref().filter(|filter| !filter.is_empty());
    let counted = state.engine.count_matching(&library, filter, at).await?;
    Ok(json(StatusCode::OK, &MatchingOut::from(&counted)))
}

/// Delete the documents of which a chunk passes a filter
///
/// One change for each; what another client changes meanwhile is left alone and counted.
#[utoipa::path(
    delete,
    path = "/v1/libraries/{library}/documents",
    operation_id = "delete_matching_documents",
    tag = "documents",
    params(
        LibraryParam,
        ("filter" = String, Query,
            description = "An expression over document and chunk; `true` for all."),
        ReadParams,
    ),
    responses((status = 200, description = "They are deleted.", body = DeletedOut), DeleteMatchingFaults)
)]
pub(super) async fn delete_matching(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    mut params: Params,
) -> Reply {
    let (filter, at) = (params.take("filter").unwrap_or_default(), params.read_at()?);
    params.finish()?;
    let deleted = state.engine.delete_matching(&library, &filter, at).await?;
    Ok(json(StatusCode::OK, &DeletedOut::from(&deleted)))
}
