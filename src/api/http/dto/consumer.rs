//! Durable consumers in JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::{EventTypeName, ShownCursor, ShownTime};
use super::event::{EventList, EventOut};
use super::{Shown, renamed};
use crate::engine::consumers::{ConsumerView, NewConsumer, PullRequest, PulledEvents};
use crate::types::{ConsumerName, Cursor, Error, EventType, Page, Result, StartAt, seconds};

/// A durable consumer: a named place in the feed that the server keeps.
#[derive(Serialize, ToSchema)]
#[schema(as = Consumer)]
pub(in crate::api::http) struct ConsumerOut<'a> {
    /// What it is called.
    name: &'a str,
    /// The library that it follows; empty for all.
    library_id: String,
    /// The types of event that it is given; empty for all.
    #[schema(value_type = Vec<EventTypeName>)]
    event_types: Vec<&'static str>,
    /// The expression that is true of the events that it is given; empty for all.
    filter: &'a str,
    /// Everything up to here is acknowledged, or passed no filter.
    cursor: ShownCursor,
    /// Counts its owners; acknowledge with it.
    generation: u64,
    /// What its owner calls itself.
    owner: &'a str,
    /// Whether it gives nothing out.
    paused: bool,
    /// Whether the log was trimmed past its cursor.
    expired: bool,
    /// Revisions of the log behind its cursor.
    lag_revisions: u64,
    /// Events of the log behind its cursor, whether or not they pass its filter.
    lag_events: u64,
    /// Age of the oldest of them.
    lag_seconds: f64,
    /// When it was made.
    created_at: ShownTime,
    /// When it last changed, by an acknowledgement too.
    updated_at: ShownTime,
}

impl<'a> From<&'a ConsumerView> for ConsumerOut<'a> {
    fn from(view: &'a ConsumerView) -> Self {
        let (consumer, lag) = (&*view.consumer, view.lag);
        Self {
            name: consumer.name.as_str(),
            library_id: consumer.library.map(|id| id.to_string()).unwrap_or_default(),
            event_types: consumer.event_types.iter().map(|kind| kind.name()).collect(),
            filter: consumer.filter.as_deref().unwrap_or_default(),
            cursor: Shown(consumer.cursor),
            generation: consumer.generation,
            owner: &consumer.owner,
            paused: consumer.paused,
            expired: view.expired,
            lag_revisions: lag.revisions,
            lag_events: lag.events,
            lag_seconds: seconds(lag.age),
            created_at: Shown(consumer.created_at),
            updated_at: Shown(consumer.updated_at),
        }
    }
}

/// A page of consumers.
#[derive(Serialize, ToSchema)]
#[schema(as = ConsumersPage)]
pub(in crate::api::http) struct ConsumersOut<'a> {
    /// By name.
    consumers: Vec<ConsumerOut<'a>>,
    /// Gives the next page as `page_token`; empty when this is the last.
    next_page_token: &'a str,
}

impl<'a> From<&'a Page<ConsumerView>> for ConsumersOut<'a> {
    fn from(page: &'a Page<ConsumerView>) -> Self {
        Self {
            consumers: page.items.iter().map(ConsumerOut::from).collect(),
            next_page_token: page.next_token.as_deref().unwrap_or_default(),
        }
    }
}

/// What a pull gives.
#[derive(Serialize, ToSchema)]
#[schema(as = PulledEvents)]
pub(in crate::api::http) struct PulledOut<'a> {
    /// Acknowledge with it, and pull again with it.
    generation: u64,
    /// The next events that are not acknowledged, in order.
    #[schema(value_type = Vec<EventOut<'_>>)]
    events: EventList<'a>,
    /// Acknowledge this when all of them are dealt with.
    next_cursor: ShownCursor,
    /// The end of the feed at the time of the pull.
    tail_cursor: ShownCursor,
}

impl<'a> From<&'a PulledEvents> for PulledOut<'a> {
    fn from(pulled: &'a PulledEvents) -> Self {
        Self {
            generation: pulled.generation,
            events: EventList(&pulled.changes),
            next_cursor: Shown(pulled.next_cursor),
            tail_cursor: Shown(pulled.tail_cursor),
        }
    }
}

/// A consumer that a client wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = NewConsumer)]
pub(in crate::api::http) struct ConsumerIn {
    /// 1 to 128 characters of `A–Z a–z 0–9 . _ : / @ -`.
    #[schema(value_type = String)]
    name: Option<String>,
    /// Only events of this library, by id or name; all when empty.
    library_id: Option<String>,
    /// Only events of these types; all when empty.
    #[schema(value_type = Option<Vec<EventTypeName>>)]
    event_types: Option<Vec<String>>,
    /// Only events of which this expression is true; all when empty.
    filter: Option<String>,
    /// Where to begin: the id of an event, `begin`, `now` (the default), `revision:N` or
    /// `time:RFC3339`.
    cursor: Option<String>,
}

impl ConsumerIn {
    pub(in crate::api::http) fn into_new(self) -> Result<NewConsumer> {
        let name = self.name.ok_or_else(|| Error::invalid("name", "is required"))?;
        let library = self.library_id.filter(|text| !text.is_empty());
        let types = self.event_types.unwrap_or_default();
        Ok(NewConsumer {
            name: ConsumerName::parse(&name)?,
            library: library
                .map(|text| text.parse().map_err(|error| renamed(error, "library_id")))
                .transpose()?,
            event_types: types.iter().map(|name| EventType::parse(name)).collect::<Result<_>>()?,
            filter: self.filter.filter(|text| !text.is_empty()),
            start: given_start(self.cursor.as_deref(), Some(StartAt::Now))?,
        })
    }
}

/// What an owner asks for; all of it may be absent.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = PullRequest)]
pub(in crate::api::http) struct PullIn {
    /// That of the owner. Without one the consumer is taken over.
    generation: Option<u64>,
    /// What a new owner calls itself, for people: at most 128 characters.
    owner: Option<String>,
    /// Reads on from here without acknowledging: a `next_cursor` of before.
    cursor: Option<String>,
    /// Most events (100 when absent or 0).
    max_events: Option<usize>,
    /// How long to wait for the first event, in milliseconds.
    wait_ms: Option<u64>,
}

impl PullIn {
    pub(in crate::api::http) fn into_request(self) -> Result<PullRequest> {
        let cursor = self.cursor.filter(|text| !text.is_empty());
        Ok(PullRequest {
            generation: self.generation,
            owner: self.owner.unwrap_or_default(),
            cursor: cursor.as_deref().map(str::parse).transpose()?,
            max_events: self.max_events.filter(|most| *most > 0),
            wait: Duration::from_millis(self.wait_ms.unwrap_or_default()),
        })
    }
}

/// What is dealt with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Acknowledgement)]
pub(in crate::api::http) struct AcknowledgeIn {
    /// That of the owner.
    #[schema(value_type = u64)]
    generation: Option<u64>,
    /// Everything up to here is done: a `next_cursor`, or the id of an event or heartbeat.
    #[schema(value_type = String)]
    cursor: Option<String>,
}

impl AcknowledgeIn {
    /// The generation and the cursor.
    pub(in crate::api::http) fn into_parts(self) -> Result<(u64, Cursor)> {
        let required = |field| Error::invalid(field, "is required");
        let generation = self.generation.ok_or_else(|| required("generation"))?;
        let cursor = self.cursor.ok_or_else(|| required("cursor"))?;
        Ok((generation, cursor.parse()?))
    }
}

/// Where a consumer is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = SeekRequest)]
pub(in crate::api::http) struct SeekIn {
    /// The id of an event, `begin`, `now`, `revision:N` or `time:RFC3339`.
    #[schema(value_type = String)]
    cursor: Option<String>,
}

impl SeekIn {
    pub(in crate::api::http) fn into_start(self) -> Result<StartAt> {
        given_start(self.cursor.as_deref(), None)
    }
}

fn given_start(cursor: Option<&str>, default: Option<StartAt>) -> Result<StartAt> {
    match (cursor, default) {
        (None | Some(""), Some(default)) => Ok(default),
        (None, None) => Err(Error::invalid("cursor", "is required")),
        (Some(text), _) => text.parse(),
    }
}

/// What the deletion of something answers that has no revision.
#[derive(Serialize, ToSchema)]
#[schema(as = Gone)]
pub(in crate::api::http) struct Gone {}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn wrong_fields_are_named() {
        let new = |text: &str| parse::<ConsumerIn>(text.as_bytes()).and_then(ConsumerIn::into_new);
        let good =
            r#"{"name":"a","library_id":"l","event_types":["document.added"],"cursor":"begin"}"#;
        assert_eq!(new(good).expect("good").start, StartAt::Begin);
        assert_eq!(new(r#"{"name":"a","cursor":""}"#).expect("good").start, StartAt::Now);
        for (text, field) in [
            ("{}", "name"),
            (r#"{"name":"a b"}"#, "name"),
            (r#"{"name":"a","library_id":" x"}"#, "library_id"),
            (r#"{"name":"a","event_types":["heartbeat"]}"#, "event_types"),
            (r#"{"name":"a","cursor":"soon"}"#, "cursor"),
            (r#"{"name":"a","library":"l"}"#, "library"),
        ] {
            assert_eq!(new(text).expect_err(text).violations[0].field, field, "{text}");
        }
        let parts = |text: &str| {
            parse::<AcknowledgeIn>(text.as_bytes()).and_then(AcknowledgeIn::into_parts)
        };
        assert_eq!(parts(r#"{"cursor":"x"}"#).expect_err("no").violations[0].field, "generation");
        assert_eq!(parts(r#"{"generation":1}"#).expect_err("no").violations[0].field, "cursor");
        let seek = parse::<SeekIn>(b"{}").and_then(SeekIn::into_start);
        assert_eq!(seek.expect_err("no").violations[0].field, "cursor");
    }
}
