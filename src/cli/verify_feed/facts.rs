//! One event out of its JSON: flat as over HTTP, or nested as grpcurl prints it; and one document
//! out of a line of an export.
//!
//! Digests cover the fields that both shapes have, without their defaults, so that the same event
//! has the same digest whichever way it came.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};

use serde_json::{Map, Value};

use super::record::{DocumentRecord, EventRecord, Subject};
use crate::types::{
    BatchId, ChunkId, Cursor, DocumentId, EventType, LibraryId, LibraryName, Match, Revision,
    Timestamp,
};

/// Fields that are texts.
const TEXTS: &[&str] = &[
    "name",
    "description",
    "document_id",
    "title",
    "author",
    "document_type",
    "source_url",
    "chunk_id",
    "reason",
    "previous_name",
    "previous_description",
    "previous_title",
];
/// Fields that are numbers, in gRPC's JSON partly as texts.
const NUMBERS: &[&str] = &[
    "index",
    "dimension",
    "num_documents",
    "num_chunks",
    "total_processed",
    "total_succeeded",
    "total_failed",
    "total_skipped",
    "total_chunks",
    "segments_before",
    "segments_after",
];
/// Fields that are lists or objects.
const VALUES: &[&str] = &["tags", "embedder", "metadata", "previous_metadata"];
/// Fields that have one of a few values, with what gRPC's JSON puts before it.
const CHOICES: [(&str, &str); 2] = [("metric", "METRIC_"), ("index_type", "INDEX_TYPE_")];
/// The fields of a document that an export has too.
const IMAGE: &[&str] = &["title", "author", "document_type", "source_url", "tags", "metadata"];

/// An event's fields side by side, as HTTP has them.
pub(super) fn flat(object: &Map<String, Value>) -> Cow<'_, Map<String, Value>> {
    let name = object.get("type").and_then(Value::as_str).unwrap_or_default();
    match name.strip_prefix("EVENT_TYPE_") {
        None => Cow::Borrowed(object),
        Some(name) => {
            let name = name.to_ascii_lowercase().replacen('_', ".", 1);
            let mut flat = flattened(object);
            flat.insert("type".to_owned(), name.into());
            Cow::Owned(flat)
        }
    }
}

/// Reads an event that is [`flat`]; in words why it is none.
pub(super) fn event(object: &Map<String, Value>) -> Result<EventRecord, String> {
    let name = text(object, "type")?.to_owned();
    let event_type = EventType::parse(&name).map_err(|error| error.detail)?;
    let time = text(object, "timestamp")?;
    let batch = match object.get("batch_id").and_then(Value::as_str) {
        None | Some("") => None,
        Some(id) => Some(BatchId::parse("batch_id", id).map_err(|error| error.detail)?),
    };
    let record = EventRecord {
        id: cursor(object, "id")?,
        event_type,
        library: LibraryId::parse("library_id", text(object, "library_id")?)
            .map_err(|error| error.detail)?,
        revision: Revision(number(object, "revision")?),
        last: object.get("last").and_then(Value::as_bool).unwrap_or_default(),
        batch,
        time: Timestamp::parse(time).ok_or_else(|| format!("timestamp {time:?} is no time"))?,
        subject: subject(event_type, object)?,
        matched: matched(object)?,
        digest: digest(object, &[TEXTS, NUMBERS, VALUES, &CHOICES.map(|(name, _)| name)]),
    };
    Ok(record)
}

fn matched(object: &Map<String, Value>) -> Result<Option<Match>, String> {
    let Some(text) = object.get("match").and_then(Value::as_str) else { return Ok(None) };
    match text.strip_prefix("EVENT_MATCH_").unwrap_or(text).to_ascii_lowercase().as_str() {
        "unspecified" => Ok(None),
        "entered" => Ok(Some(Match::Entered)),
        "stayed" => Ok(Some(Match::Stayed)),
        "left" => Ok(Some(Match::Left)),
        _ => Err(format!("match {text:?} is none")),
    }
}

/// Reads a document of a snapshot; in words why it is none.
pub(super) fn snapshot_document(object: &Map<String, Value>) -> Result<DocumentRecord, String> {
    let flat = match object.get("document") {
        // As grpcurl prints it.
        Some(Value::Object(_)) => Cow::Owned(flattened(object)),
        _ => Cow::Borrowed(object),
    };
    Ok(DocumentRecord {
        library: LibraryId::parse("library_id", text(&flat, "library_id")?)
            .map_err(|error| error.detail)?,
        id: document_id(&flat, "document_id")?,
        revision: Revision(number(&flat, "revision")?),
        image: digest(&flat, &[IMAGE]),
    })
}

/// A document of an export.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exported {
    pub(super) id: DocumentId,
    pub(super) revision: Revision,
    pub(super) image: u64,
    pub(super) chunks: Vec<ChunkId>,
}

/// Reads a document's line; in words why it is none.
pub(super) fn exported(object: &Map<String, Value>) -> Result<Exported, String> {
    let chunks = object.get("chunks").and_then(Value::as_array).ok_or("chunks are missing")?;
    let chunk = |chunk: &Value| {
        let chunk = chunk.as_object().ok_or("a chunk is no object")?;
        ChunkId::parse("id", text(chunk, "id")?).map_err(|error| error.detail)
    };
    Ok(Exported {
        id: document_id(object, "id")?,
        revision: Revision(number(object, "revision")?),
        image: digest(object, &[IMAGE]),
        chunks: chunks.iter().map(chunk).collect::<Result<_, _>>()?,
    })
}

/// A cursor in a field.
pub(super) fn cursor(object: &Map<String, Value>, name: &str) -> Result<Cursor, String> {
    let text = text(object, name)?;
    text.parse().map_err(|_| format!("{name} {text:?} is no cursor"))
}

/// A text in a field.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    object.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is missing"))
}

/// A whole number in a field, written as one or as text; 0 when it is not there, as in gRPC's JSON.
pub(super) fn number(object: &Map<String, Value>, name: &str) -> Result<u64, String> {
    let number = match object.get(name) {
        None => Some(0),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    number.ok_or_else(|| format!("{name} is no whole number"))
}

fn document_id(object: &Map<String, Value>, name: &str) -> Result<DocumentId, String> {
    DocumentId::parse(text(object, name)?).map_err(|error| error.detail)
}

fn subject(event_type: EventType, object: &Map<String, Value>) -> Result<Subject, String> {
    Ok(match event_type {
        EventType::LibraryCreated | EventType::LibraryUpdated | EventType::LibraryDeleted => {
            Subject::Library(LibraryName::parse(text(object, "name")?).ok())
        }
        EventType::DocumentAdded | EventType::DocumentUpdated | EventType::DocumentDeleted => {
            Subject::Document {
                id: document_id(object, "document_id")?,
                num_chunks: number(object, "num_chunks")?,
                image: digest(object, &[IMAGE]),
            }
        }
        EventType::ChunkAdded | EventType::ChunkDeleted => Subject::Chunk {
            document: document_id(object, "document_id")?,
            id: ChunkId::parse("chunk_id", text(object, "chunk_id")?)
                .map_err(|error| error.detail)?,
        },
        EventType::BatchCompleted | EventType::BatchFailed => {
            Subject::Batch { succeeded: number(object, "total_succeeded")? }
        }
        EventType::BatchStarted | EventType::IndexRebuilt | EventType::IndexOptimized => {
            Subject::Other
        }
    })
}

/// gRPC's JSON made flat: names with underscores, the payload's fields beside the event's own.
fn flattened(object: &Map<String, Value>) -> Map<String, Value> {
    let mut flat = Map::new();
    for (name, value) in object {
        match value {
            // All that is nested is the payload; its own objects stay.
            Value::Object(payload) => {
                flat.extend(payload.iter().map(|(name, value)| (snake(name), value.clone())));
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                flat.insert(snake(name), value.clone());
            }
        }
    }
    flat
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A digest of these fields, those with their default left out.
fn digest(object: &Map<String, Value>, fields: &[&[&str]]) -> u64 {
    let mut canonical = String::new();
    for name in fields.iter().copied().flatten() {
        match object.get(*name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() || text == "0" => {}
            Some(Value::Array(list)) if list.is_empty() => {}
            Some(Value::Object(map)) if map.is_empty() => {}
            Some(value) if value.as_u64() == Some(0) => {}
            Some(value) => {
                // Writing to memory cannot fail.
                let _ = write!(canonical, "{name}=");
                let choice = CHOICES.iter().find(|(choice, _)| choice == name);
                match (value.as_str(), choice) {
                    (Some(text), Some((_, prefix))) => {
                        let text = text.strip_prefix(prefix).unwrap_or(text);
                        canonical.push_str(&text.to_ascii_lowercase());
                    }
                    (Some(number), None) if NUMBERS.contains(name) => canonical.push_str(number),
                    // Its fields have defaults too.
                    _ if *name == "embedder" => {
                        for field in ["id", "sha256"] {
                            let text = value.get(field).and_then(Value::as_str);
                            let _ = write!(canonical, "{:?},", text.unwrap_or_default());
                        }
                    }
                    _ => write_canonical(&mut canonical, value),
                }
                canonical.push('\n');
            }
        }
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(canonical.as_bytes());
    hasher.finish()
}

/// JSON with sorted keys and numbers as doubles.
fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => {
            let _ = write!(out, "{value}");
        }
        Value::Number(number) => {
            let _ = write!(out, "{}", number.as_f64().unwrap_or(f64::NAN));
        }
        Value::Array(list) => {
            out.push('[');
            for value in list {
                write_canonical(out, value);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut names: Vec<_> = map.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (name, value) in names {
                let _ = write!(out, "{name:?}:");
                write_canonical(out, value);
                out.push(',');
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> EventRecord {
        read(text).expect("an event")
    }

    fn read(text: &str) -> Result<EventRecord, String> {
        event(&flat(&serde_json::from_str(text).expect("an object")))
    }

    #[test]
    fn an_event_is_the_same_over_http_and_from_grpcurl() {
        let http = parsed(
            r#"{"id":"0000000000000abc000000000000000300000000","type":"document.updated",
            "library_id":"01010101-0101-0101-0101-010101010101",
            "timestamp":"2023-11-14T22:13:20.120000Z","revision":"3","last":false,
            "document_id":"d:1","title":"t","tags":[],"num_chunks":2,
            "metadata":{"n":1,"camelCase":{"x":[1.5]}},"previous_title":"o",
            "previous_metadata":{}}"#,
        );
        let grpc = parsed(
            r#"{"id":"0000000000000abc000000000000000300000000",
            "type":"EVENT_TYPE_DOCUMENT_UPDATED",
            "libraryId":"01010101-0101-0101-0101-010101010101",
            "timestamp":"2023-11-14T22:13:20.120Z","revision":"3",
            "document":{"documentId":"d:1","title":"t","numChunks":2,"previousTitle":"o",
            "metadata":{"camelCase":{"x":[1.5]},"n":1.0},"previousMetadata":{}}}"#,
        );
        assert_eq!(http, grpc);
        assert_eq!(http.event_type, EventType::DocumentUpdated);
        assert!(matches!(http.subject, Subject::Document { num_chunks: 2, .. }));
    }

    #[test]
    fn choices_are_the_same_in_both() {
        let http = parsed(
            r#"{"id":"0000000000000abc000000000000000380000000","type":"library.created",
            "library_id":"01010101-0101-0101-0101-010101010101","last":true,"revision":"3",
            "timestamp":"2023-11-14T22:13:20Z","name":"l","metric":"l2","dimension":4,
            "embedder":{"id":"none","sha256":""},"index_type":"auto"}"#,
        );
        let grpc = parsed(
            r#"{"id":"0000000000000abc000000000000000380000000","type":"EVENT_TYPE_LIBRARY_CREATED",
            "libraryId":"01010101-0101-0101-0101-010101010101","last":true,"revision":"3",
            "timestamp":"2023-11-14T22:13:20Z","library":{"name":"l","metric":"METRIC_L2",
            "dimension":4,"embedder":{"id":"none"},"indexType":"INDEX_TYPE_AUTO"}}"#,
        );
        assert_eq!(http, grpc);
    }

    #[test]
    fn every_field_that_both_have_is_in_the_digest() {
        let base = r#"{"id":"0000000000000abc000000000000000380000000","type":"batch.completed",
            "library_id":"01010101-0101-0101-0101-010101010101","last":true,"revision":"3",
            "timestamp":"2023-11-14T22:13:20Z""#;
        let digests: std::collections::HashSet<u64> = TEXTS
            .iter()
            .map(|name| format!(r#","{name}":"x""#))
            .chain(NUMBERS.iter().map(|name| format!(r#","{name}":7"#)))
            .chain(VALUES.iter().map(|name| format!(r#","{name}":[1]"#)))
            .chain(CHOICES.iter().map(|(name, _)| format!(r#","{name}":"x""#)))
            .chain([String::new()])
            .map(|field| parsed(&format!("{base}{field}}}")).digest)
            .collect();
        let fields = TEXTS.len() + NUMBERS.len() + VALUES.len() + CHOICES.len();
        assert_eq!(digests.len(), fields + 1);
    }

    #[test]
    fn what_is_no_event_is_told() {
        for (text, why) in [
            (r#"{"type":"document.eaten"}"#, "not one of"),
            (r#"{"type":"batch.started"}"#, "timestamp"),
            (r"{}", "type is missing"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(why), "{error}");
        }
    }
}
