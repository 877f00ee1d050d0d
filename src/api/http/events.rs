//! The change feed over HTTP: Server-Sent Events, pages of the past, numbers.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::FutureExt;

use super::dto::event::{EventStatisticsOut, EventsOut, event_types};
use super::params::{Params, header_strict, header_text};
use super::problem::Problem;
use super::reply::{event_stream, json};
use super::sink::{Gone, Sink};
use super::{HttpState, consumers, sink, sse};
use crate::engine::changes::{EventsRequest, FeedItem, Subscription};
use crate::types::{ErrorKind, Result, StartAt, Timestamp};

/// Bytes of frames that are gathered while more are at hand.
const PIECE_BYTES_TARGET: usize = 64 << 10;

pub(super) async fn stream(
    State(state): State<HttpState>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let subscribed = if let Some(request) = consumers::follow_request(&mut params)? {
        params.finish()?;
        // Its place is what it acknowledged, not what a browser has received.
        state.engine.subscribe_consumer(request).await
    } else {
        let mut request = events_request(&mut params, StartAt::Now)?;
        params.refuse("filter")?;
        if params.flag("snapshot")?.unwrap_or_default() {
            return Err(super::params::unimplemented("snapshot").into());
        }
        params.finish()?;
        if let Some(id) = header_strict(&headers, "last-event-id")? {
            request.start = id.parse()?;
        }
        state.engine.subscribe(request).await
    };
    let subscription = match subscribed {
        Ok(subscription) => subscription,
        Err(error) if is_cursor_lost(error.kind) && reads_only_events(&headers) => {
            let mut frames = Vec::new();
            sse::write_retry(&mut frames);
            sse::write_stream_error(&mut frames, &error);
            return Ok(event_stream(Body::from(frames)));
        }
        Err(error) => return Err(error.into()),
    };
    let body = sink::body(&state.tasks, state.engine.limits(), "events", |sink| async move {
        // A client that left needs to hear nothing.
        let _ = follow(subscription, sink).await;
    });
    Ok(event_stream(body))
}

/// Writes what the subscription yields until the client leaves or the feed ends.
async fn follow(mut subscription: Subscription, mut sink: Sink) -> Result<(), Gone> {
    let mut frames = Frames { bytes: Vec::new(), events: 0 };
    sse::write_retry(&mut frames.bytes);
    let mut at_hand = None;
    loop {
        let item = match at_hand.take() {
            Some(item) => item,
            None => tokio::select! {
                biased;
                () = sink.gone() => return Err(Gone),
                item = subscription.next() => item,
            },
        };
        match item {
            Ok(Some(FeedItem::Changes(changes))) => {
                for selected in &changes {
                    for event in selected.events() {
                        sse::write_event(&mut frames.bytes, &event);
                        frames.events += 1;
                        if frames.bytes.len() >= PIECE_BYTES_TARGET {
                            frames.hand_over(&subscription, &mut sink).await?;
                        }
                    }
                }
            }
            Ok(Some(FeedItem::Heartbeat { cursor, time })) => {
                let generation = subscription.generation();
                sse::write_heartbeat(&mut frames.bytes, cursor, time, generation);
            }
            Ok(None) => {
                let (cursor, time) = (subscription.cursor(), Timestamp::now());
                let generation = subscription.generation();
                sse::write_heartbeat(&mut frames.bytes, cursor, time, generation);
                return frames.hand_over(&subscription, &mut sink).await;
            }
            Err(error) => {
                sse::write_stream_error(&mut frames.bytes, &error);
                return frames.hand_over(&subscription, &mut sink).await;
            }
        }
        if frames.bytes.len() < PIECE_BYTES_TARGET {
            at_hand = subscription.next().now_or_never();
        }
        if at_hand.is_none() {
            frames.hand_over(&subscription, &mut sink).await?;
        }
    }
}

/// Frames that are written and not handed over.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    /// How many of them are events of the log.
    events: u64,
}

impl Frames {
    async fn hand_over(
        &mut self,
        subscription: &Subscription,
        sink: &mut Sink,
    ) -> Result<(), Gone> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        sink.send(std::mem::take(&mut self.bytes)).await?;
        subscription.delivered(std::mem::take(&mut self.events));
        Ok(())
    }
}

pub(super) async fn list(
    State(state): State<HttpState>,
    mut params: Params,
) -> Result<Response, Problem> {
    let request = events_request(&mut params, StartAt::Begin)?;
    params.refuse("filter")?;
    let limit = params.number("limit", "a whole number")?.filter(|limit| *limit > 0);
    let at = params.read_at()?;
    params.finish()?;
    let page = state.engine.list_events(request, limit, at).await?;
    Ok(json(StatusCode::OK, &EventsOut(&page)))
}

pub(super) async fn statistics(
    State(state): State<HttpState>,
    mut params: Params,
) -> Result<Response, Problem> {
    let at = params.read_at()?;
    params.finish()?;
    let statistics = state.engine.event_statistics(at).await?;
    Ok(json(StatusCode::OK, &EventStatisticsOut::from(&statistics)))
}

/// Takes `library_id`, `event_types` and `cursor`; `start` is meant when there is no cursor.
fn events_request(params: &mut Params, start: StartAt) -> Result<EventsRequest> {
    let library = params.take("library_id");
    let types = params.take("event_types");
    let cursor = params.take("cursor");
    Ok(EventsRequest {
        library: library
            .map(|text| text.parse().map_err(|error: crate::types::Error| renamed(error)))
            .transpose()?,
        event_types: types.as_deref().map_or(Ok(Vec::new()), event_types)?,
        start: cursor.as_deref().map_or(Ok(start), str::parse)?,
    })
}

/// A library reference that cannot be, under the name of its parameter.
fn renamed(error: crate::types::Error) -> crate::types::Error {
    let why = error.violations.into_iter().next().map_or(error.detail, |first| first.detail);
    crate::types::Error::invalid("library_id", why)
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
        let request = events_request(&mut params, StartAt::Now)?;
        params.finish()?;
        Ok(request)
    }

    #[test]
    fn a_request_says_what_it_wants() {
        let everything = EventsRequest { library: None, event_types: vec![], start: StartAt::Now };
        assert_eq!(request(""), Ok(everything.clone()));
        assert_eq!(request("library_id=&event_types=&cursor="), Ok(everything));
        let query = "library_id=l%2F1&event_types=document.added,chunk.deleted&cursor=revision:3";
        let expected = EventsRequest {
            library: "l/1".parse::<LibraryRef>().ok(),
            event_types: vec![EventType::DocumentAdded, EventType::ChunkDeleted],
            start: StartAt::Revision(Revision(3)),
        };
        assert_eq!(request(query), Ok(expected));
        for (query, name) in [
            ("event_types=document.eaten", "event_types"),
            ("event_types=heartbeat", "event_types"),
            ("library_id=+x", "library_id"),
            ("cursor=abc", "cursor"),
            ("event_type=document.added", "event_type"),
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
