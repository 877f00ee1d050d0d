//! The corpus that the demo streams in: nouns of WordNet 3.0, as `examples/corpus/` has them.

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::super::Failure;
use crate::api::grpc::pb::DocumentInput;

const LINES: &str = include_str!("../../../examples/corpus/wordnet.ndjson");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    title: String,
    texts: Vec<String>,
    document_type: String,
    tags: Vec<String>,
    metadata: Map<String, Json>,
}

/// All documents in order.
pub(super) fn documents() -> Result<Vec<DocumentInput>, Failure> {
    let parse = |line: &str| -> Result<DocumentInput, Failure> {
        let line: Line = serde_json::from_str(line)?;
        Ok(DocumentInput {
            id: line.id,
            title: line.title,
            document_type: line.document_type,
            tags: line.tags,
            metadata: Some(object(line.metadata)),
            texts: line.texts,
            ..DocumentInput::default()
        })
    };
    LINES.lines().map(parse).collect()
}

fn object(object: Map<String, Json>) -> Struct {
    Struct { fields: object.into_iter().map(|(key, json)| (key, value(json))).collect() }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(bool),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(value).collect() })
        }
        Json::Object(map) => Kind::StructValue(object(map)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::types::{DocumentId, Limits, NewDocument};

    #[test]
    fn every_document_is_fit_to_be_ingested() {
        let documents = documents().expect("readable");
        assert!(documents.len() > 4_000);
        let ids: BTreeSet<_> = documents.iter().map(|document| &document.id).collect();
        assert_eq!(ids.len(), documents.len(), "an id appears twice");
        for document in documents {
            assert!(DocumentId::parse(&document.id).is_ok(), "{}", document.id);
            let new = NewDocument {
                tags: document.tags,
                ..NewDocument::titled(document.title, document.texts)
            };
            assert_eq!(new.check(&Limits::default()), Ok(()), "{}", document.id);
        }
    }
}
