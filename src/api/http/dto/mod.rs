//! The JSON shapes of the wire and their conversion from and to the values of `types`.
//!
//! Written by hand: a shape here is a promise to clients. Output borrows; metadata, which is kept
//! as canonical text, goes out as it is.

pub(super) mod consumer;
pub(super) mod described;
pub(super) mod document;
pub(super) mod event;
pub(super) mod event_schema;
pub(super) mod index;
pub(super) mod ingest;
pub(super) mod library;
pub(super) mod matching;
pub(super) mod search;

use std::fmt::Display;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use self::described::ShownRevision;
use crate::types::{Error, ErrorKind, Limits, Metadata, Result};

/// A JSON object that a client sent as metadata.
pub(super) type Object = Map<String, Value>;

/// The body of a request that has nothing to say: an object without fields.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Nothing)]
pub(super) struct Nothing {}

/// A value that shows in JSON as the text that it displays as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown<T>(pub(super) T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Metadata as the JSON object that its text says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verbatim<'a>(pub(super) &'a Metadata);

impl Serialize for Verbatim<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(self.0.as_json()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Appends a value as JSON.
pub(super) fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    let start = out.len();
    if let Err(error) = serde_json::to_writer(&mut *out, value) {
        // Only metadata whose stored text is damaged can do this.
        tracing::error!(%error, "a value cannot be shown as JSON");
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Appends a value as a line of NDJSON.
pub(super) fn write_line(out: &mut Vec<u8>, value: &impl Serialize) {
    write(out, value);
    out.push(b'\n');
}

/// A value as JSON.
pub(super) fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write(&mut out, value);
    out
}

/// Reads a value from JSON; `invalid-argument` naming the field that is wrong, by its path.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!("is not UTF-8 from byte {} on", error.valid_up_to());
        Error::new(ErrorKind::InvalidArgument, detail)
    })?;
    serde_json::from_str(text).map_err(|error| explain::<T>(text, &error))
}

/// Reads again, slowly, to say which field it was.
fn explain<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> Error {
    match error.classify() {
        Category::Data => {}
        Category::Io | Category::Syntax | Category::Eof => {
            return Error::new(ErrorKind::InvalidArgument, format!("is not JSON: {error}"));
        }
    }
    let words = error.to_string();
    let why = words.rsplit_once(" at line ").map_or(words.as_str(), |(why, _)| why);
    let mut reader = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) if error.path().iter().next().is_some() => {
            Error::invalid(error.path().to_string(), why)
        }
        Ok(_) | Err(_) => Error::new(ErrorKind::InvalidArgument, why),
    }
}

/// For a field of a patch: absent is `None`, `null` is `Some(None)`.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A field of a patch that can be taken away: `null` leaves it empty.
fn emptied<T: Default>(field: Option<Option<T>>) -> Option<T> {
    field.map(Option::unwrap_or_default)
}

/// A field of a patch that cannot be taken away.
fn required<T>(name: &str, field: Option<Option<T>>) -> Result<Option<T>> {
    match field {
        Some(None) => Err(Error::invalid(name, "must not be null")),
        Some(Some(value)) => Ok(Some(value)),
        None => Ok(None),
    }
}

/// An error about one field, told of the name that the field has here.
pub(super) fn renamed(error: Error, field: &str) -> Error {
    let why = error.violations.into_iter().next().map_or(error.detail, |first| first.detail);
    Error::invalid(field, why)
}

fn metadata(field: &str, object: Option<Object>, limits: &Limits) -> Result<Metadata> {
    object.map_or_else(|| Ok(Metadata::default()), |object| Metadata::new(field, object, limits))
}

/// What a deletion answers.
#[derive(Serialize, ToSchema)]
#[schema(as = Revised)]
pub(super) struct Revised {
    /// That of the deletion.
    pub(super) revision: ShownRevision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an object")]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Outer {
        inner: Option<Vec<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an object")]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Inner {
        number: Option<u32>,
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        for (text, field) in [
            (r#"{"iner":1}"#, Some("iner")),
            (r#"{"inner":[{"number":1},{"number":"x"}]}"#, Some("inner[1].number")),
            (r#"{"inner":[{"numbr":1}]}"#, Some("inner[0].numbr")),
            (r#"{"inner":7}"#, Some("inner")),
            ("[]", None),
            ("{", None),
            ("{} {}", None),
            ("", None),
        ] {
            let error = parse::<Outer>(text.as_bytes()).expect_err(text);
            assert_eq!(error.kind, ErrorKind::InvalidArgument);
            let named = error.violations.first().map(|violation| violation.field.as_str());
            assert_eq!(named, field, "{text}: {error}");
            assert!(!error.detail.contains("struct"), "{error}");
        }
        let error = parse::<Outer>(b"{\"inner\":\"\xff\"}").expect_err("not UTF-8");
        assert_eq!(error.detail, "is not UTF-8 from byte 10 on");
    }

    #[test]
    fn doubles_and_singles_survive_the_round_trip() {
        let doubles = [0.1 + 0.2, 1.0 / 3.0, 2.225_073_858_507_201_e-308, 123_456_789.123_456_78];
        for double in doubles {
            let text = to_bytes(&double);
            assert_eq!(parse::<f64>(&text), Ok(double));
        }
        let singles = [0.1_f32, 1.0 / 3.0, 16_777_216.0, f32::MIN_POSITIVE, 3.0e-39];
        for single in singles {
            assert_eq!(parse::<f32>(&to_bytes(&single)), Ok(single));
        }
        assert_eq!(to_bytes(&0.1_f32), b"0.1");
    }
}
