//! Recordings out of text: Server-Sent Events as `curl -N` writes them, or JSON values one after
//! the other (events or pages as HTTP gives them, messages as grpcurl prints them).
//!
//! A stream may be cut anywhere; what is not whole at the end is not there. A file of Server-Sent
//! Events may hold several connections, one behind the other: each begins with its `retry:` line.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::facts::{self, Exported};
use super::record::{Entry, EventRecord, Item, Place, Recording};
use crate::types::Cursor;

/// Why a file cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Unreadable {
    /// Where.
    pub place: Place,
    /// Why.
    pub why: String,
}

impl Recording {
    /// Reads a recording; `name` is what reports call it.
    pub fn parse(name: &str, text: &str) -> Result<Self, Unreadable> {
        Self::parse_sifted(name, text, &mut |event, _| Some(event))
    }

    /// Reads a recording and keeps the events that `sift` gives back; it sees each with its
    /// fields, in order.
    pub(super) fn parse_sifted(
        name: &str,
        text: &str,
        sift: &mut Sift<'_>,
    ) -> Result<Self, Unreadable> {
        let name: Arc<str> = name.into();
        let entries = match text.trim_start().starts_with(['{', '[']) {
            true => json(&name, text, sift)?,
            false => sse(&name, text, sift)?,
        };
        Ok(Self { name, entries })
    }
}

/// What sees each event with its fields and gives back what is kept.
pub(super) type Sift<'a> = dyn FnMut(EventRecord, &Map<String, Value>) -> Option<EventRecord> + 'a;

/// A library's documents as an export gave them.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportRecord {
    pub(super) documents: Vec<(Place, Exported)>,
    /// What the last line says: everything up to here is in it.
    pub(super) cursor: Cursor,
    pub(super) end: Place,
}

impl ExportRecord {
    /// Reads an export; `name` is what reports call it. One without its closing line is cut and
    /// cannot be compared with.
    pub fn parse(name: &str, text: &str) -> Result<Self, Unreadable> {
        let file: Arc<str> = name.into();
        let mut documents = Vec::new();
        let mut end = Place { file: Arc::clone(&file), line: 1 };
        for (place, value) in values(&file, text)? {
            let unreadable = |why| Unreadable { place: place.clone(), why };
            let object = object(&value).map_err(unreadable)?;
            match object.get("status").and_then(Value::as_str) {
                None => documents.push((
                    place,
                    facts::exported(object)
                        .map_err(|why| Unreadable { place: end.clone(), why })?,
                )),
                Some("complete") => {
                    let cursor = facts::cursor(object, "cursor").map_err(unreadable)?;
                    return Ok(Self { documents, cursor, end: place });
                }
                Some(status) => {
                    return Err(unreadable(format!("the export ended with {status:?}")));
                }
            }
            if let Some((place, _)) = documents.last() {
                end = place.clone();
            }
        }
        Err(Unreadable { place: end, why: "the export is cut: it has no closing line".to_owned() })
    }
}

fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| "is no JSON object".to_owned())
}

/// The JSON values of a text, each with the line that it begins on; one that is cut at the end is
/// left out.
fn values(file: &Arc<str>, text: &str) -> Result<Vec<(Place, Value)>, Unreadable> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let (mut values, mut at, mut line) = (Vec::new(), 0, 1);
    loop {
        let rest = &text[at..];
        let begin = at + rest.len() - rest.trim_start().len();
        line += newlines(&text[at..begin]);
        let place = Place { file: Arc::clone(file), line };
        match stream.next() {
            None => return Ok(values),
            Some(Err(error)) if error.is_eof() => return Ok(values),
            Some(Err(error)) => {
                let line = error.line();
                let place = Place { line, ..place };
                return Err(Unreadable { place, why: format!("is not JSON: {error}") });
            }
            Some(Ok(value)) => values.push((place, value)),
        }
        at = stream.byte_offset();
        line += newlines(&text[begin..at]);
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn json(file: &Arc<str>, text: &str, sift: &mut Sift<'_>) -> Result<Vec<Entry>, Unreadable> {
    let mut entries = Vec::new();
    for (place, value) in values(file, text)? {
        let items = object(&value).and_then(|object| message(object, sift));
        let items = items.map_err(|why| Unreadable { place: place.clone(), why })?;
        // A subscription begins with a heartbeat; pages do not say where they begin.
        if entries.is_empty() && is_heartbeat(&value) {
            entries.push(Entry { place: place.clone(), item: Item::Connected });
        }
        entries.extend(items.into_iter().map(|item| Entry { place: place.clone(), item }));
    }
    Ok(entries)
}

fn is_heartbeat(value: &Value) -> bool {
    value.get("heartbeat").is_some() || value.get("type").is_some_and(|kind| kind == "heartbeat")
}

/// What one JSON value says: an event, a bookmark, a page of events.
fn message(object: &Map<String, Value>, sift: &mut Sift<'_>) -> Result<Vec<Item>, String> {
    let page = object.get("events").map(|events| events.as_array().ok_or("events is no list"));
    let next = ["next_cursor", "nextCursor"].into_iter().find(|name| object.contains_key(*name));
    if let Some(next) = next {
        let mut items = Vec::new();
        for event in page.transpose()?.into_iter().flatten() {
            items.extend(event_item(event.as_object().ok_or("an event is no object")?, sift)?);
        }
        items.push(Item::Bookmark(facts::cursor(object, next)?));
        return Ok(items);
    }
    let inner = |name: &str| object.get(name).and_then(Value::as_object);
    if let Some(event) = inner("event") {
        return Ok(event_item(event, sift)?.into_iter().collect());
    }
    if let Some(heartbeat) = inner("heartbeat") {
        return Ok(vec![Item::Bookmark(facts::cursor(heartbeat, "cursor")?)]);
    }
    if let Some(document) = inner("snapshotDocument") {
        return Ok(vec![Item::Document(Box::new(facts::snapshot_document(document)?))]);
    }
    if let Some(end) = inner("snapshotEnd") {
        let total = facts::number(end, "totalDocuments")?;
        return Ok(vec![Item::SnapshotEnd { cursor: facts::cursor(end, "cursor")?, total }]);
    }
    Ok(event_item(object, sift)?.into_iter().collect())
}

/// An event, or a message of the stream in an event's clothes; `None` for what is not kept.
fn event_item(object: &Map<String, Value>, sift: &mut Sift<'_>) -> Result<Option<Item>, String> {
    Ok(Some(match facts::text(object, "type")? {
        "heartbeat" => Item::Bookmark(facts::cursor(object, "id")?),
        // How `arrwdb subscribe` tells that a snapshot was cut and begins anew.
        "snapshot.begin" => Item::Connected,
        "snapshot.document" => Item::Document(Box::new(facts::snapshot_document(object)?)),
        "snapshot.end" => Item::SnapshotEnd {
            cursor: facts::cursor(object, "id")?,
            total: facts::number(object, "total_documents")?,
        },
        _ => {
            let flat = facts::flat(object);
            let kept = sift(facts::event(&flat)?, &flat);
            return Ok(kept.map(|event| Item::Event(Box::new(event))));
        }
    }))
}

/// A frame that is being read.
#[derive(Debug, Default)]
struct Frame<'a> {
    begin: usize,
    id: Option<&'a str>,
    event: Option<&'a str>,
    data: Option<&'a str>,
}

/// Reads the frames that are whole: those that an empty line ends.
fn sse(file: &Arc<str>, text: &str, sift: &mut Sift<'_>) -> Result<Vec<Entry>, Unreadable> {
    let mut entries = Vec::new();
    let mut frame = Frame::default();
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let place = Place { file: Arc::clone(file), line: number };
        // What has no end of line is cut.
        let Some(line) = line.strip_suffix('\n') else { break };
        let line = line.strip_suffix('\r').unwrap_or(line);
        if connects(line) {
            // A frame that the connection before left unfinished is not there.
            frame = Frame::default();
            entries.push(Entry { place, item: Item::Connected });
        } else if line.is_empty() {
            let frame = std::mem::take(&mut frame);
            let place = Place { line: frame.begin, ..place };
            let item = frame.item(sift).map_err(|why| Unreadable { place: place.clone(), why })?;
            entries.extend(item.map(|item| Entry { place, item }));
        } else if let Some((field, value)) = line.split_once(':') {
            let value = value.strip_prefix(' ').unwrap_or(value);
            if frame.begin == 0 {
                frame.begin = number;
            }
            match field {
                "id" => frame.id = Some(value),
                "event" => frame.event = Some(value),
                "data" => frame.data = Some(value),
                // A comment.
                "" => {}
                _ => return Err(Unreadable { place, why: format!("{field:?} is no field") }),
            }
        } else {
            return Err(Unreadable { place, why: "is neither an event stream nor JSON".into() });
        }
    }
    Ok(entries)
}

/// Whether a connection begins on this line: with `retry: N`, perhaps right behind what the
/// connection before left unfinished. A line that is whole and says something else never ends so:
/// ids are hexadecimal, types are names, data ends with a brace.
fn connects(line: &str) -> bool {
    line.rsplit_once("retry: ").is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

impl Frame<'_> {
    /// What it says; `None` for an empty one.
    fn item(self, sift: &mut Sift<'_>) -> Result<Option<Item>, String> {
        let Some(data) = self.data else {
            return match self.begin {
                0 => Ok(None),
                _ => Err("the frame has no data".to_owned()),
            };
        };
        if self.event == Some("stream.error") {
            return Ok(Some(Item::Ended));
        }
        let value: Value =
            serde_json::from_str(data).map_err(|error| format!("data is not JSON: {error}"))?;
        let object = object(&value)?;
        let name = facts::text(object, "type")?;
        let id = match name {
            // A cursor within a snapshot there is not.
            "snapshot.document" => None,
            _ => Some(facts::text(object, "id")?),
        };
        if self.id != id {
            return Err(format!("the frame's id is {:?}, the event's {id:?}", self.id));
        }
        if self.event != Some(name) {
            return Err(format!("the frame's event is {:?}, the event's type {name}", self.event));
        }
        event_item(object, sift)
    }
}
