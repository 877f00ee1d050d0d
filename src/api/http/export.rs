//! Streaming export: a snapshot of a library as NDJSON that an ingest restores.

use axum::extract::State;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::dto::document::{DocumentLine, ExportLine};
use super::dto::ingest::ClosingLine;
use super::dto::{Shown, write_line};
use super::openapi::faults::ReadOneFaults;
use super::openapi::params::{LibraryParam, ReadParams};
use super::params::Params;
use super::path::LibraryPath;
use super::problem::Problem;
use super::sink::{Gone, Sink};
use super::{HttpState, reply, shutting_down, sink};
use crate::engine::export::Export;
use crate::types::{Document, Error, Result};

/// Bytes that the lines of a page may well take: saves growing step by step.
const PAGE_BYTES: usize = 3 << 19;

/// Stream a library out
///
/// A snapshot, in the shape that an ingest takes. Without its last line it is not whole. The events
/// behind the `cursor` of that are exactly what came after it.
#[utoipa::path(
    get,
    path = "/v1/libraries/{library}/documents/stream",
    operation_id = "export_documents",
    tag = "documents",
    params(
        LibraryParam,
        ("include_embeddings" = Option<bool>, Query, nullable = false,
            description = "Whether the chunks have their vectors (`false`)."),
        ReadParams,
    ),
    responses(
        (status = 200, description = "A document a line, then the last line.",
            content(("application/x-ndjson", item_schema = ExportLine<'_>))),
        ReadOneFaults,
    )
)]
pub(super) async fn export(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    mut params: Params,
) -> Result<Response, Problem> {
    let at = params.read_at()?;
    let include_embeddings = params.flag("include_embeddings")?.unwrap_or_default();
    params.finish()?;
    let export = state.engine.export(&library, include_embeddings, at).await?;
    let shutdown = state.engine.shutdown_token().clone();
    let body = sink::body(&state.tasks, state.engine.limits(), "export", |sink| async move {
        // A client that left needs to hear nothing.
        let _ = write(export, &shutdown, sink).await;
    });
    Ok(reply::ndjson(body))
}

/// Reads a page while the one before is turned into lines, and that while the client takes the
/// one before that.
async fn write(
    mut export: Export,
    shutdown: &CancellationToken,
    mut sink: Sink,
) -> Result<(), Gone> {
    let mut total_documents = 0;
    let mut page = export.next().await;
    loop {
        let documents = match page {
            Ok(Some(documents)) if !shutdown.is_cancelled() => documents,
            Ok(Some(_)) => return sink.send(closing(&error_line(&shutting_down()))).await,
            Err(error) => return sink.send(closing(&error_line(&error))).await,
            Ok(None) => {
                let cursor = Shown(export.cursor());
                return sink.send(closing(&ClosingLine::Export { total_documents, cursor })).await;
            }
        };
        total_documents += documents.len() as u64;
        let lines = tokio::task::spawn_blocking(move || lines(&documents));
        let (lines, next) = tokio::join!(lines, export.next());
        let Ok(lines) = lines else {
            let error = Error::internal("writing the lines of an export panicked");
            return sink.send(closing(&error_line(&error))).await;
        };
        sink.send(lines).await?;
        page = next;
    }
}

/// The line that ends a stream which broke.
pub(super) fn error_line(error: &Error) -> ClosingLine<'_> {
    ClosingLine::Error { error: error.into() }
}

/// A last line.
pub(super) fn closing(line: &ClosingLine<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_line(&mut out, line);
    out
}

fn lines(documents: &[Document]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PAGE_BYTES);
    for document in documents {
        write_line(&mut out, &DocumentLine::from(document));
    }
    out
}
