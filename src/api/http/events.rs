//! The change feed over HTTP: Server-Sent Events, pages of the past, numbers.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Version};
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::dto::event::{EventStatisticsOut, EventsOut, event_types};
use super::dto::event_schema::StreamedEvent;
use super::dto::renamed;
use super::openapi::faults::{EventsFaults, ReadFaults, StreamFaults};
use super::openapi::params::{EventsParams, ReadParams};
use super::params::{Params, header_strict, header_text};
use super::problem::Problem;
use super::reply::{event_stream, json};
use super::sink::{Gone, Sink};
use super::{HttpState, consumers, shutting_down, sink, sse};
use crate::engine::changes::{EventsRequest, FeedPiece, Subscription};
use crate::engine::snapshot::Snapshot;
use crate::types::{ErrorKind, Filter, FilterScope, Limits, Result, StartAt, Timestamp};

/// Follow the feed
///
/// As it happens, from `now` unless a cursor is given. `snapshot` begins with the documents that are
/// there; `library_id` must name a library then, and `cursor` be absent. `consumer` follows as a
/// durable consumer, which excludes all else but `owner` and `generation`. A browser's `EventSource`
/// is told of a lost cursor by a `stream.error`, since it cannot read a problem.
#[utoipa::path(
    get,
    path = "/v1/events/stream",
    operation_id = "follow_events",
    tag = "events",
    params(
        EventsParams,
        ("snapshot" = Option<bool>, Query, nullable = false,
            description = "Whether to begin with the documents that are there (`false`)."),
        ("consumer" = Option<String>, Query, nullable = false,
            description = "Follows as this durable consumer, and takes it over."),
        ("owner" = Option<String>, Query, nullable = false,
            description = "What a new owner calls itself, for people."),
        ("generation" = Option<u64>, Query, nullable = false,
            description = "Takes the consumer over only if it is still at this one."),
        ("Last-Event-ID" = Option<String>, Header, nullable = false,
            description = "Where to go on; goes before `cursor`."),
    ),
    responses(
        (status = 200, description = "The events.",
            content(("text/event-stream", item_schema = StreamedEvent<'_>))),
        StreamFaults,
    )
)]
pub(super) async fn stream(
    State(state): State<HttpState>,
    version: Version,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let begun = if let Some(request) = consumers::follow_request(&mut params)? {
        params.finish()?;
        // Its place is what it acknowledged, not what a browser has received.
        state.engine.subscribe_consumer(request).await.map(|tail| (None, tail))
    } else {
        let mut request = events_request(&mut params, StartAt::Now, state.engine.limits())?;
        let mut with_snapshot = params.flag("snapshot")?.unwrap_or_default();
        params.finish()?;
        if let Some(id) = header_strict(&headers, "last-event-id")? {
            // It had an id: so it has the whole snapshot, and goes on behind it.
            with_snapshot = false;
            request.start = id.parse()?;
        }
        match with_snapshot {
            true => state.engine.subscribe_with_snapshot(request).await.map(|(s, t)| (Some(s), t)),
            false => state.engine.subscribe(request).await.map(|tail| (None, tail)),
        }
    };
    let (snapshot, subscription) = match begun {
        Ok(begun) => begun,
        Err(error) if is_cursor_lost(error.kind) && reads_only_events(&headers) => {
            let mut frames = Vec::new();
            sse::write_retry(&mut frames);
            sse::write_stream_error(&mut frames, &error);
            return Ok(event_stream(Body::from(frames)));
        }
        Err(error) => return Err(error.into()),
    };
    let shutdown = state.engine.shutdown_token().clone();
    let engine = state.engine.clone();
    let body = sink::body(&state.tasks, state.engine.limits(), "events", |mut sink| async move {
        // A client that left needs to hear nothing.
        let left = send(snapshot, subscription, &shutdown, &mut sink).await.is_err();
        // In HTTP/1.1 it is the connection that stalls, and that is counted.
        if left && sink.is_stalled() && version == Version::HTTP_2 {
            engine.client_stalled();
        }
    });
    Ok(event_stream(body))
}

/// Sends the snapshot, if there is one, then what the subscription yields.
async fn send(
    snapshot: Option<Snapshot>,
    subscription: Subscription,
    shutdown: &CancellationToken,
    sink: &mut Sink,
) -> Result<(), Gone> {
    let mut begin = Vec::new();
    sse::write_retry(&mut begin);
    let Some(snapshot) = snapshot else { return follow(subscription, begin, sink).await };
    match send_snapshot(snapshot, begin, shutdown, sink).await? {
        Ok(()) => follow(subscription, Vec::new(), sink).await,
        Err(error) => {
            let mut frame = Vec::new();
            sse::write_stream_error(&mut frame, &error);
            sink.send(frame).await
        }
    }
}

/// Sends what the stream begins with and the documents, none with an id, then the end with the
/// cursor: a client that is cut before has no cursor and begins again.
async fn send_snapshot(
    mut snapshot: Snapshot,
    begin: Vec<u8>,
    shutdown: &CancellationToken,
    sink: &mut Sink,
) -> Result<Result<()>, Gone> {
    let mut frames = begin;
    loop {
        let page = tokio::select! {
            biased;
            () = sink.gone() => return Err(Gone),
            () = shutdown.cancelled() => return Ok(Err(shutting_down())),
            page = snapshot.next() => page,
        };
        match page {
            Ok(Some(documents)) => {
                for document in &documents {
                    sse::write_snapshot_document(&mut frames, document);
                }
                sink.send(std::mem::take(&mut frames)).await?;
            }
            Ok(None) => {
                sse::write_snapshot_end(&mut frames, &snapshot, Timestamp::now());
                return sink.send(frames).await.map(Ok);
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Sends what the stream begins with, in one piece with the first item (a heartbeat, unless there
/// was a snapshot), then what the subscription yields until the client leaves or the feed ends.
async fn follow(
    mut subscription: Subscription,
    begin: Vec<u8>,
    sink: &mut Sink,
) -> Result<(), Gone> {
    let mut frame = begin;
    loop {
        sink.ready().await?;
        let piece = tokio::select! {
            biased;
            () = sink.gone() => return Err(Gone),
            piece = subscription.next_piece(sse::FRAMES) => piece,
        };
        match piece {
            Ok(Some(FeedPiece::Events { bytes, events })) => {
                let length = bytes.len();
                sink.send(bytes).await?;
                subscription.delivered(events, length);
                continue;
            }
            Ok(Some(FeedPiece::Heartbeat { cursor, time })) => {
                sse::write_heartbeat(&mut frame, cursor, time, subscription.generation());
                sink.send(std::mem::take(&mut frame)).await?;
                continue;
            }
            Ok(None) => {
                let (cursor, generation) = (subscription.cursor(), subscription.generation());
                sse::write_heartbeat(&mut frame, cursor, Timestamp::now(), generation);
            }
            Err(error) => sse::write_stream_error(&mut frame, &error),
        }
        return sink.send(frame).await;
    }
}

/// Read past events
///
/// From `begin` unless a cursor is given. A page may have few events or none where few pass the
/// filter, and yet its `next_cursor` goes on.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "list_events",
    tag = "events",
    params(
        EventsParams,
        ("limit" = Option<u64>, Query, nullable = false,
            description = "Most events: 100 when absent or 0; at most 1 000."),
        ReadParams,
    ),
    responses((status = 200, description = "A page.", body = EventsOut<'_>), EventsFaults)
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    mut params: Params,
) -> Result<Response, Problem> {
    let request = events_request(&mut params, StartAt::Begin, state.engine.limits())?;
    let limit = params.number("limit", "a whole number")?.filter(|limit| *limit > 0);
    let at = params.read_at()?;
    params.finish()?;
    let page = state.engine.list_events(request, limit, at).await?;
    Ok(json(StatusCode::OK, &EventsOut(&page)))
}

/// The feed in numbers
#[utoipa::path(
    get,
    path = "/v1/events/statistics",
    operation_id = "get_event_statistics",
    tag = "events",
    params(ReadParams),
    responses(
        (status = 200, description = "Since the server started.", body = EventStatisticsOut),
        ReadFaults,
    )
)]
pub(super) async fn statistics(
    State(state): State<HttpState>,
    mut params: Params,
) -> Result<Response, Problem> {
    let at = params.read_at()?;
    params.finish()?;
    let statistics = state.engine.event_statistics(at).await?;
    Ok(json(StatusCode::OK, &EventStatisticsOut::from(&statistics)))
}

/// Takes `library_id`, `event_types`, `filter` and `cursor`; `start` is meant when there is no
/// cursor.
fn events_request(params: &mut Params, start: StartAt, limits: &Limits) -> Result<EventsRequest> {
    let library = params.take("library_id");
    let types = params.take("event_types");
    let filter = params.take("filter");
    let cursor = params.take("cursor");
    Ok(EventsRequest {
        library: library
            .map(|text| text.parse().map_err(|error| renamed(error, "library_id")))
            .transpose()?,
        event_types: types.as_deref().map_or(Ok(Vec::new()), event_types)?,
        filter: filter.map(|text| Filter::parse(&text, FilterScope::Feed, limits)).transpose()?,
        start: cursor.as_deref().map_or(Ok(start), str::parse)?,
    })
}

fn is_cursor_lost(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::CursorExpired | ErrorKind::CursorUnknown)
}

/// Whether this is a browser's `EventSource`, which cannot read a problem.
fn reads_only_events(headers: &HeaderMap) -> bool {
    header_text(headers, "accept").is_some_and(|accept| {
        let kind = accept.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream") && !accept.contains(',')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{EventType, LibraryRef, Revision};

    fn request(query: &str) -> Result<EventsRequest> {
        let mut params = Params::parse(query)?;
        let request = events_request(&mut params, StartAt::Now, &Limits::default())?;
        params.finish()?;
        Ok(request)
    }

    #[test]
    fn a_request_says_what_it_wants() {
        let everything =
            EventsRequest { library: None, event_types: vec![], filter: None, start: StartAt::Now };
        assert_eq!(request(""), Ok(everything.clone()));
        assert_eq!(request("library_id=&event_types=&filter=&cursor="), Ok(everything));
        let query = "library_id=l%2F1&event_types=document.added,chunk.deleted&cursor=revision:3";
        let expected = EventsRequest {
            library: "l/1".parse::<LibraryRef>().ok(),
            event_types: vec![EventType::DocumentAdded, EventType::ChunkDeleted],
            filter: None,
            start: StartAt::Revision(Revision(3)),
        };
        assert_eq!(request(query), Ok(expected));
        for (query, name) in [
            ("event_types=document.eaten", "event_types"),
            ("event_types=heartbeat", "event_types"),
            ("library_id=+x", "library_id"),
            ("cursor=abc", "cursor"),
            ("event_type=document.added", "event_type"),
            ("filter=document.titel+%3D%3D+%22x%22", "filter"),
            ("filter=chunk.text+%3D%3D+%22x%22", "filter"),
        ] {
            assert_eq!(request(query).expect_err(query).violations[0].field, name);
        }
    }

    #[test]
    fn a_browsers_event_source_is_told_from_other_clients() {
        let accepts = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept", accept.parse().expect("valid"));
            reads_only_events(&headers)
        };
        assert!(accepts("text/event-stream"));
        assert!(accepts("text/event-stream; q=1"));
        for other in ["*/*", "text/event-stream, application/json", "application/json"] {
            assert!(!accepts(other), "{other}");
        }
        assert!(!reads_only_events(&HeaderMap::new()));
    }
}
