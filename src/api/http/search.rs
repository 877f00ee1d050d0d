//! Search over HTTP: as one answer, or hit by hit.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::body::OptionalJsonBody;
use super::dto::ingest::ClosingLine;
use super::dto::search::{HitOut, SearchAnswer, SearchIn, SearchLine};
use super::dto::{Shown, write, write_line};
use super::export::{closing, error_line};
use super::openapi::faults::SearchFaults;
use super::openapi::params::{LibraryParam, ReadParams, SearchParams};
use super::params::Params;
use super::path::LibraryPath;
use super::problem::Problem;
use super::reply::{self, json_bytes};
use super::sink::{Gone, Sink};
use super::{HttpState, shutting_down, sink};
use crate::engine::search::SearchResults;
use crate::types::{Error, Result};

/// Hits read at once for one answer.
const HITS_PER_READ: usize = 64;
/// Hits of a stream's first piece: few, so that it goes out at once.
const FIRST_PIECE_HITS: usize = 16;
/// Hits of a stream's piece at most.
const PIECE_HITS_MAX: usize = 256;
/// Bytes that a stream's pieces aim at.
const PIECE_BYTES_TARGET: usize = 64 << 10;

/// Search a library
///
/// One query, or several that share one revision. All of it but `queries` may stand in the query
/// string too, but not in both.
#[utoipa::path(
    post,
    path = "/v1/libraries/{library}/search",
    operation_id = "search",
    tag = "search",
    params(LibraryParam, SearchParams, ReadParams),
    request_body = Option<SearchIn>,
    responses((status = 200, description = "The hits.", body = SearchAnswer<'_>), SearchFaults)
)]
pub(super) async fn search(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    params: Params,
    OptionalJsonBody(input): OptionalJsonBody<SearchIn>,
) -> Result<Response, Problem> {
    let limits = state.engine.limits();
    let mut input = input.unwrap_or_default();
    input.add(params)?;
    let several = input.has_several();
    let request = input.into_request(limits.hits_per_reply_max, limits)?;
    let results = state.engine.search(&library, request).await?;
    let body = write_reply(&results, several, limits.message_bytes_max).await?;
    Ok(json_bytes(StatusCode::OK, body))
}

async fn write_reply(results: &SearchResults, several: bool, bytes_max: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(4 << 10);
    out.extend_from_slice(if several { b"{\"queries\":[" } else { b"{" });
    for (query, total) in results.totals().into_iter().enumerate() {
        if several {
            out.extend_from_slice(if query == 0 { b"{" } else { b",{" });
        }
        out.extend_from_slice(b"\"results\":[");
        write_hits(results, query, total, bytes_max, &mut out).await?;
        out.extend_from_slice(b"],\"total_results\":");
        write(&mut out, &total);
        if several {
            out.extend_from_slice(b",\"revision\":");
            write(&mut out, &Shown(results.revision()));
            out.push(b'}');
        }
    }
    out.extend_from_slice(if several { b"],\"revision\":" } else { b",\"revision\":" });
    write(&mut out, &Shown(results.revision()));
    out.push(b'}');
    Ok(out)
}

/// Appends the hits of a query; `too-large` rather than an answer beyond `bytes_max`.
async fn write_hits(
    results: &SearchResults,
    query: usize,
    total: usize,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut from = 0;
    while from < total {
        let to = (from + HITS_PER_READ).min(total);
        for (i, hit) in results.hits(query, from..to).await?.iter().enumerate() {
            if from + i > 0 {
                out.push(b',');
            }
            write(out, &HitOut::from(hit));
        }
        if out.len() > bytes_max {
            let detail = format!(
                "the answer would be larger than {bytes_max} bytes (message_bytes_max): ask for \
                 fewer hits or none of their texts, or for a stream"
            );
            return Err(Error::too_large("k", detail));
        }
        from = to;
    }
    Ok(())
}

/// Search a library, hit by hit
///
/// One query. Ranking is done before the first line; texts are read as you take them, and leaving
/// frees the rest.
#[utoipa::path(
    post,
    path = "/v1/libraries/{library}/search/stream",
    operation_id = "stream_search",
    tag = "search",
    params(LibraryParam, SearchParams, ReadParams),
    request_body = Option<SearchIn>,
    responses(
        (status = 200, description = "A hit a line, then the last line.",
            content(("application/x-ndjson", item_schema = SearchLine<'_>))),
        SearchFaults,
    )
)]
pub(super) async fn stream(
    State(state): State<HttpState>,
    LibraryPath(library): LibraryPath,
    params: Params,
    OptionalJsonBody(input): OptionalJsonBody<SearchIn>,
) -> Result<Response, Problem> {
    let limits = state.engine.limits();
    let mut input = input.unwrap_or_default();
    input.add(params)?;
    if input.has_several() {
        return Err(Error::invalid("queries", "a stream answers one query").into());
    }
    let request = input.into_request(limits.hits_per_stream_max, limits)?;
    let results = state.engine.search(&library, request).await?;
    let shutdown = state.engine.shutdown_token().clone();
    let body = sink::body(&state.tasks, limits, "search", |sink| async move {
        // A client that left needs to hear nothing.
        let _ = write_stream(results, &shutdown, sink).await;
    });
    Ok(reply::ndjson(body))
}

async fn write_stream(
    results: SearchResults,
    shutdown: &CancellationToken,
    mut sink: Sink,
) -> Result<(), Gone> {
    let total = results.totals().first().copied().unwrap_or_default();
    let (mut from, mut hits_wanted) = (0, FIRST_PIECE_HITS);
    while from < total {
        if shutdown.is_cancelled() {
            return sink.send(closing(&error_line(&shutting_down()))).await;
        }
        let to = (from + hits_wanted).min(total);
        let hits = match results.hits(0, from..to).await {
            Ok(hits) => hits,
            Err(error) => return sink.send(closing(&error_line(&error))).await,
        };
        let mut lines = Vec::with_capacity(PIECE_BYTES_TARGET);
        hits.iter().for_each(|hit| write_line(&mut lines, &HitOut::from(hit)));
        hits_wanted = next_piece_hits(to - from, lines.len());
        sink.send(lines).await?;
        from = to;
    }
    let revision = Shown(results.revision());
    sink.send(closing(&ClosingLine::Search { total_results: total, revision })).await
}

/// How many hits the next piece takes: up to four times the last, near the bytes aimed at.
fn next_piece_hits(last_hits: usize, last_bytes: usize) -> usize {
    let by_bytes = PIECE_BYTES_TARGET * last_hits / last_bytes.max(1);
    by_bytes.clamp(1, PIECE_HITS_MAX.min(4 * last_hits.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_to_their_size_and_shrink_for_long_texts() {
        assert_eq!(next_piece_hits(16, 16 * 200), 64);
        assert_eq!(next_piece_hits(64, 64 * 200), 256);
        assert_eq!(next_piece_hits(256, 256 * 200), 256);
        assert_eq!(next_piece_hits(256, 256 * 1_024), 64);
        assert_eq!(next_piece_hits(16, 16 << 20), 1);
        assert_eq!(next_piece_hits(1, 1 << 20), 1);
        assert_eq!(next_piece_hits(0, 0), 1);
    }
}
