//! Conversions between the wire's messages and our types, each in one place.
//!
//! `from_pb` checks what the types demand and names the field as the client wrote it; `to_pb`
//! cannot fail.

pub(super) mod consumer;
pub(super) mod document;
pub(super) mod event;
pub(super) mod library;

use std::time::Duration;

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

use crate::engine::ReadAt;
use crate::types::{
    Error, LibraryRef, Limits, Metadata, PageRequest, RequestId, Result, Revision, Timestamp,
};

/// From which revision on a read is good enough.
pub(super) fn read_at(min_revision: Option<u64>, timeout_ms: Option<u32>) -> ReadAt {
    ReadAt {
        min_revision: min_revision.map(Revision),
        timeout: timeout_ms.map(|ms| Duration::from_millis(u64::from(ms))),
    }
}

/// A library by id or name; `invalid-argument` naming `library_id` when it can be neither.
pub(super) fn library_ref(text: &str) -> Result<LibraryRef> {
    text.parse().map_err(|error| renamed(error, "library_id"))
}

/// The same where the empty text stands for all libraries.
pub(super) fn any_library(text: &str) -> Result<Option<LibraryRef>> {
    if text.is_empty() { Ok(None) } else { library_ref(text).map(Some) }
}

/// An optional field where the empty text stands for absence.
pub(super) fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The same for a request id.
pub(super) fn request_id(text: &str) -> Result<Option<RequestId>> {
    if text.is_empty() { Ok(None) } else { RequestId::parse(text).map(Some) }
}

/// The page that was asked for.
pub(super) fn page(limits: &Limits, size: u32, token: String) -> PageRequest {
    limits.page_request(Some(size), Some(token))
}

/// An error about one field, told of the name that the field has in this message.
pub(super) fn renamed(mut error: Error, field: &str) -> Error {
    if let [violation] = error.violations.as_mut_slice() {
        violation.field = field.to_owned();
        error.detail = format!("{field}: {}", violation.detail);
    }
    error
}

/// A moment as a message.
pub(super) fn timestamp(moment: Timestamp) -> prost_types::Timestamp {
    let micros = moment.micros();
    let nanos = (micros % 1_000_000) * 1_000;
    prost_types::Timestamp {
        seconds: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// A moment from a message; whole microseconds, an absent one and one before 1970 is 1970.
#[must_use]
pub fn timestamp_from_pb(moment: Option<prost_types::Timestamp>) -> Timestamp {
    let moment = moment.unwrap_or_default();
    let seconds = u64::try_from(moment.seconds).unwrap_or(0);
    let nanos = u64::try_from(moment.nanos).unwrap_or(0);
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000))
}

/// Metadata as a message; empty metadata is an empty message.
#[must_use]
pub fn metadata_to_pb(metadata: &Metadata) -> Struct {
    if metadata.is_empty() {
        return Struct::default();
    }
    object_to_pb(metadata.to_map())
}

fn object_to_pb(object: Map<String, Json>) -> Struct {
    Struct { fields: object.into_iter().map(|(key, value)| (key, value_to_pb(value))).collect() }
}

fn value_to_pb(value: Json) -> Value {
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(bool),
        // Every number of metadata is a double.
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(value_to_pb).collect() })
        }
        Json::Object(object) => Kind::StructValue(object_to_pb(object)),
    };
    Value { kind: Some(kind) }
}

/// Metadata from a message, absent meaning empty; faults name `field`.
pub fn metadata_from_pb(field: &str, message: Option<Struct>, limits: &Limits) -> Result<Metadata> {
    match message {
        Some(message) if !message.fields.is_empty() => {
            Metadata::new(field, object_from_pb(field, message)?, limits)
        }
        _ => Ok(Metadata::default()),
    }
}

fn object_from_pb(field: &str, message: Struct) -> Result<Map<String, Json>> {
    let entries = message.fields.into_iter();
    entries.map(|(key, value)| Ok((key, value_from_pb(field, value)?))).collect()
}

fn value_from_pb(field: &str, value: Value) -> Result<Json> {
    Ok(match value.kind {
        None => return Err(Error::invalid(field, "has a value that says nothing")),
        Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => Json::Bool(bool),
        Some(Kind::NumberValue(double)) => Number::from_f64(double)
            .map(Json::Number)
            .ok_or_else(|| Error::invalid(field, format!("{double} is not finite")))?,
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => {
            let items = list.values.into_iter().map(|value| value_from_pb(field, value));
            Json::Array(items.collect::<Result<_>>()?)
        }
        Some(Kind::StructValue(object)) => Json::Object(object_from_pb(field, object)?),
    })
}

/// The paths of an update mask: `None` when it says "what is set"; `invalid-argument` naming
/// `update_mask` for a path that is not one of `known` (or `*`).
pub(super) fn mask(
    mask: Option<prost_types::FieldMask>,
    known: &[&str],
) -> Result<Option<Vec<String>>> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    match paths.iter().find(|path| *path != "*" && !known.contains(&path.as_str())) {
        Some(path) => {
            let detail = format!("{path:?} is not one of {}, *", known.join(", "));
            Err(Error::invalid("update_mask", detail))
        }
        None => Ok(Some(paths).filter(|paths| !paths.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            "\\PC{0,8}".prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
                prop::collection::btree_map("\\PC{0,4}", inner, 0..5)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn metadata_round_trips(object in prop::collection::btree_map("\\PC{0,6}", json(), 0..5)) {
            let limits = Limits::default();
            let metadata = Metadata::new("metadata", object.into_iter().collect(), &limits)
                .expect("within the limits");
            let back = metadata_from_pb("metadata", Some(metadata_to_pb(&metadata)), &limits);
            prop_assert_eq!(back, Ok(metadata));
        }

        #[test]
        fn moments_keep_their_microseconds(micros in 0_u64..253_402_300_799_999_999) {
            let moment = timestamp(Timestamp::from_micros(micros));
            let seconds = u64::try_from(moment.seconds).expect("after 1970");
            let nanos = u64::try_from(moment.nanos).expect("positive");
            prop_assert!(nanos < 1_000_000_000);
            prop_assert_eq!(seconds * 1_000_000 + nanos / 1_000, micros);
            prop_assert_eq!(timestamp_from_pb(Some(moment)).micros(), micros);
        }
    }

    #[test]
    fn metadata_that_json_cannot_say_is_refused() {
        let with = |kind| {
            let fields = [("a".to_owned(), Value { kind })].into();
            metadata_from_pb("chunks[1].metadata", Some(Struct { fields }), &Limits::default())
        };
        for kind in [None, Some(Kind::NumberValue(f64::NAN))] {
            let error = with(kind).expect_err("refused");
            assert_eq!(error.violations[0].field, "chunks[1].metadata");
        }
        assert_eq!(metadata_from_pb("metadata", None, &Limits::default()), Ok(Metadata::default()));
    }

    #[test]
    fn errors_name_the_field_of_the_message() {
        let error = library_ref(" x").expect_err("no name");
        assert_eq!(error.violations[0].field, "library_id");
        assert!(error.detail.starts_with("library_id: "), "{error}");
        assert_eq!(request_id(""), Ok(None));
        assert!(request_id("a b").is_err());
    }

    #[test]
    fn masks_know_their_paths() {
        let of = |paths: &[&str]| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            mask(Some(prost_types::FieldMask { paths }), &["name", "metadata"])
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["name", "*"]).map(|paths| paths.map(|p| p.len())), Ok(Some(2)));
        let error = of(&["metadata.key"]).expect_err("unknown");
        assert_eq!(error.violations[0].field, "update_mask");
    }
}
