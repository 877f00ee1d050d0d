//! Hides where the values of a filter's fields come from.

use std::cell::OnceCell;

use serde_json::{Map, Value as Json};

use super::expr::{Literal, Name};
use crate::types::{BatchId, ChunkHead, DocumentHead, EventType, LibraryId, Metadata, Timestamp};

/// A value that a filter looks at. Cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// There, and null.
    Null,
    /// True or false.
    Bool(bool),
    /// A finite double.
    Number(f64),
    /// A text.
    Text(&'a str),
    /// A moment.
    Time(Timestamp),
    /// A list of texts.
    Texts(&'a [String]),
    /// A list from metadata.
    List(&'a [Json]),
    /// A list that stands in the filter.
    Literals(&'a [Literal]),
    /// An object from metadata.
    Object(&'a Map<String, Json>),
}

impl<'a> Value<'a> {
    /// Of a JSON value; `None` for a number that is no finite double.
    #[must_use]
    pub fn of_json(json: &'a Json) -> Option<Self> {
        match json {
            Json::Null => Some(Self::Null),
            Json::Bool(value) => Some(Self::Bool(*value)),
            Json::Number(number) => {
                number.as_f64().filter(|number| number.is_finite()).map(Self::Number)
            }
            Json::String(text) => Some(Self::Text(text)),
            Json::Array(items) => Some(Self::List(items)),
            Json::Object(object) => Some(Self::Object(object)),
        }
    }

    /// Of a constant.
    #[must_use]
    pub fn of_literal(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Number(number) => Self::Number(*number),
            Literal::Text(text) => Self::Text(text),
            Literal::Time(time) => Self::Time(*time),
            Literal::List(items) => Self::Literals(items),
        }
    }
}

/// Where a filter gets the values of its fields from.
pub trait Fields {
    /// The value of a field, or below it of the keys in `path` (metadata only); `None` when it is
    /// absent. Called once for each mention of the field, so it should be cheap when repeated.
    fn value(&self, name: Name, path: &[String]) -> Option<Value<'_>>;
}

/// The fields of one document, one chunk of it, and one event about it, as far as given.
///
/// What is not given is absent. Metadata is parsed at the first look and kept, so one of these
/// may serve several filters; it does not leave its thread.
#[derive(Debug, Default, Clone)]
pub struct FieldsOf<'a> {
    document: Option<&'a DocumentHead>,
    chunk: Option<&'a ChunkHead>,
    chunk_text: Option<&'a str>,
    event: Option<(EventType, LibraryId, Option<BatchId>)>,
    document_metadata: OnceCell<Map<String, Json>>,
    chunk_metadata: OnceCell<Map<String, Json>>,
    library_id: OnceCell<String>,
    batch_id: OnceCell<String>,
}

impl<'a> FieldsOf<'a> {
    /// A document's.
    #[must_use]
    pub fn document(document: &'a DocumentHead) -> Self {
        Self { document: Some(document), ..Self::default() }
    }

    /// An event's own, without what it is about.
    #[must_use]
    pub fn event(kind: EventType, library_id: LibraryId, batch_id: Option<BatchId>) -> Self {
        Self { event: Some((kind, library_id, batch_id)), ..Self::default() }
    }

    /// These with a document's, in place of those of another.
    #[must_use]
    pub fn with_document(mut self, document: &'a DocumentHead) -> Self {
        self.document = Some(document);
        self.document_metadata = OnceCell::new();
        self
    }

    /// These with a chunk's, in place of those of another; the text only where
    /// [`super::Filter::reads`] it.
    #[must_use]
    pub fn with_chunk(mut self, chunk: &'a ChunkHead, text: Option<&'a str>) -> Self {
        self.chunk = Some(chunk);
        self.chunk_text = text;
        self.chunk_metadata = OnceCell::new();
        self
    }
}

impl Fields for FieldsOf<'_> {
    fn value(&self, name: Name, path: &[String]) -> Option<Value<'_>> {
        let document = self.document;
        match name {
            Name::DocumentId => document.map(|document| Value::Text(document.id.as_str())),
            Name::DocumentTitle => document.map(|document| Value::Text(&document.title)),
            Name::DocumentAuthor => document.map(|document| Value::Text(&document.author)),
            Name::DocumentType => document.map(|document| Value::Text(&document.document_type)),
            Name::DocumentSourceUrl => document.map(|document| Value::Text(&document.source_url)),
            Name::DocumentTags => document.map(|document| Value::Texts(&document.tags)),
            Name::DocumentCreatedAt => document.map(|document| Value::Time(document.created_at)),
            Name::DocumentUpdatedAt => document.map(|document| Value::Time(document.updated_at)),
            Name::DocumentMetadata => below(&document?.metadata, &self.document_metadata, path),
            Name::ChunkIndex => self.chunk.map(|chunk| Value::Number(f64::from(chunk.index))),
            Name::ChunkText => self.chunk_text.map(Value::Text),
            Name::ChunkMetadata => below(&self.chunk?.metadata, &self.chunk_metadata, path),
            Name::EventType => self.event.map(|(kind, _, _)| Value::Text(kind.name())),
            Name::EventLibraryId => {
                let (_, id, _) = self.event?;
                Some(Value::Text(self.library_id.get_or_init(|| id.to_string())))
            }
            Name::EventBatchId => {
                let id = self.event?.2?;
                Some(Value::Text(self.batch_id.get_or_init(|| id.to_string())))
            }
        }
    }
}

/// What `metadata` holds below the keys in `path`.
fn below<'a>(
    metadata: &Metadata,
    parsed: &'a OnceCell<Map<String, Json>>,
    path: &[String],
) -> Option<Value<'a>> {
    let object = parsed.get_or_init(|| metadata.to_map());
    let Some((first, rest)) = path.split_first() else {
        return Some(Value::Object(object));
    };
    let found = rest.iter().try_fold(object.get(first)?, |json, key| json.as_object()?.get(key));
    found.and_then(Value::of_json)
}
