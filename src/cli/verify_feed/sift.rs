//! What a filter lets through of a recording of all events, decided anew from what the events
//! themselves say: an image before a change is what the events before it gave.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json};

use super::facts;
use super::read::Unreadable;
use super::record::{EventRecord, Recording, Subject};
use crate::types::filter::{Fields, Name, Truth, Value};
use crate::types::{Cursor, DocumentId, EventType, Filter, LibraryId, Match, Timestamp};

/// What a filter lets through.
#[derive(Debug, Clone, PartialEq)]
pub struct Sifted {
    /// The events that pass, each with how it matches.
    pub recording: Recording,
    /// The events of documents which, as the event leaves them, a snapshot shows.
    pub shown: HashSet<Cursor>,
}

impl Sifted {
    /// Reads a recording of all events, from the feed's begin on; `name` is what reports call it.
    pub fn parse(name: &str, text: &str, filter: &Filter) -> Result<Self, Unreadable> {
        let (mut state, mut shown) = (State::default(), HashSet::new());
        let recording = Recording::parse_sifted(name, text, &mut |event, fields| {
            state.follow(&event, fields);
            if state.is_shown(&event, filter) {
                shown.insert(event.id);
            }
            let matched = state.matches(&event, fields, filter)?;
            Some(EventRecord { matched: matched.name().map(|_| matched), ..event })
        })?;
        Ok(Self { recording, shown })
    }
}

/// A document as events tell of it; what they do not tell is unknown.
#[derive(Debug, Clone, Default)]
struct Image {
    id: String,
    title: String,
    /// Author, type, source URL, tags.
    more: Option<([String; 3], Vec<String>)>,
    metadata: Map<String, Json>,
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

impl Image {
    /// The document that an event shows.
    fn of(fields: &Map<String, Json>) -> Self {
        let text = |name: &str| facts::text(fields, name).unwrap_or_default().to_owned();
        let tags = fields.get("tags").and_then(Json::as_array).into_iter().flatten();
        let tags = tags.filter_map(Json::as_str).map(str::to_owned).collect();
        let more = ["author", "document_type", "source_url"].map(text);
        Self {
            id: text("document_id"),
            title: text("title"),
            more: Some((more, tags)),
            metadata: object(fields, "metadata"),
            ..Self::default()
        }
    }

    /// The document that an update says was there before.
    fn before(fields: &Map<String, Json>) -> Self {
        let text = |name: &str| facts::text(fields, name).unwrap_or_default().to_owned();
        Self {
            id: text("document_id"),
            title: text("previous_title"),
            metadata: object(fields, "previous_metadata"),
            ..Self::default()
        }
    }
}

fn object(fields: &Map<String, Json>, name: &str) -> Map<String, Json> {
    fields.get(name).and_then(Json::as_object).cloned().unwrap_or_default()
}

/// The documents, and those of the change that is read.
#[derive(Debug, Default)]
struct State {
    documents: HashMap<(LibraryId, DocumentId), Image>,
    before: Option<Image>,
    after: Option<Image>,
}

impl State {
    fn follow(&mut self, event: &EventRecord, fields: &Map<String, Json>) {
        match (&event.subject, event.event_type) {
            (Subject::Chunk { .. }, _) => return,
            (Subject::Document { id, .. }, kind) => {
                let key = (event.library, id.clone());
                let known = self.documents.remove(&key);
                let shows = Image { updated_at: Some(event.time), ..Image::of(fields) };
                (self.before, self.after) = if kind == EventType::DocumentAdded {
                    (None, Some(Image { created_at: Some(event.time), ..shows }))
                } else if kind == EventType::DocumentUpdated {
                    let before = known.unwrap_or_else(|| Image::before(fields));
                    let after = Image { created_at: before.created_at, ..shows };
                    (Some(before), Some(after))
                } else {
                    (Some(known.unwrap_or_else(|| Image::of(fields))), None)
                };
                if let Some(after) = &self.after {
                    self.documents.insert(key, after.clone());
                }
                return;
            }
            (_, EventType::LibraryDeleted) => {
                self.documents.retain(|(library, _), _| *library != event.library);
            }
            (Subject::Library(_) | Subject::Batch { .. } | Subject::Other, _) => {}
        }
        (self.before, self.after) = (None, None);
    }

    /// Whether, and how, the event matches.
    fn matches(
        &self,
        event: &EventRecord,
        fields: &Map<String, Json>,
        filter: &Filter,
    ) -> Option<Match> {
        let library = event.library.to_string();
        let batch = event.batch.map(|id| id.to_string());
        let chunk = matches!(event.subject, Subject::Chunk { .. }).then(|| Chunk {
            // Whole numbers of this size are doubles.
            index: fields.get("index").and_then(Json::as_f64).unwrap_or_default(),
            metadata: object(fields, "metadata"),
        });
        let of = |document: Option<&Image>| {
            let kind = event.event_type;
            let (library, batch) = (library.as_str(), batch.as_deref());
            filter.matches(&Seen { kind, library, batch, document, chunk: chunk.as_ref() })
        };
        if event.event_type == EventType::DocumentUpdated {
            return match (of(self.before.as_ref()), of(self.after.as_ref())) {
                (false, true) => Some(Match::Entered),
                (true, true) => Some(Match::Stayed),
                (true, false) => Some(Match::Left),
                (false, false) => None,
            };
        }
        if event.event_type == EventType::LibraryDeleted {
            let library = library.as_str();
            let (kind, batch) = (event.event_type, batch.as_deref());
            let seen = Seen { kind, library, batch, document: None, chunk: None };
            return (filter.eval(&seen) != Truth::False).then_some(Match::Matched);
        }
        let gone = [EventType::DocumentDeleted, EventType::ChunkDeleted];
        let image = match gone.contains(&event.event_type) {
            true => &self.before,
            false => &self.after,
        };
        of(image.as_ref()).then_some(Match::Matched)
    }

    /// Whether a snapshot shows the document as this event leaves it.
    fn is_shown(&self, event: &EventRecord, filter: &Filter) -> bool {
        let Subject::Document { .. } = event.subject else { return false };
        let Some(document) = &self.after else { return false };
        let library = event.library.to_string();
        filter.matches(&Seen {
            kind: EventType::DocumentAdded,
            library: &library,
            batch: None,
            document: Some(document),
            chunk: None,
        })
    }
}

/// A chunk as its event tells of it.
struct Chunk {
    index: f64,
    metadata: Map<String, Json>,
}

/// What a filter sees.
struct Seen<'a> {
    kind: EventType,
    library: &'a str,
    batch: Option<&'a str>,
    document: Option<&'a Image>,
    chunk: Option<&'a Chunk>,
}

impl Fields for Seen<'_> {
    fn value(&self, name: Name, path: &[String]) -> Option<Value<'_>> {
        let more = |at: usize| {
            let (texts, _) = self.document?.more.as_ref()?;
            Some(Value::Text(&texts[at]))
        };
        match name {
            Name::DocumentId => Some(Value::Text(&self.document?.id)),
            Name::DocumentTitle => Some(Value::Text(&self.document?.title)),
            Name::DocumentAuthor => more(0),
            Name::DocumentType => more(1),
            Name::DocumentSourceUrl => more(2),
            Name::DocumentTags => Some(Value::Texts(&self.document?.more.as_ref()?.1)),
            Name::DocumentCreatedAt => self.document?.created_at.map(Value::Time),
            Name::DocumentUpdatedAt => self.document?.updated_at.map(Value::Time),
            Name::DocumentMetadata => below(&self.document?.metadata, path),
            Name::ChunkIndex => Some(Value::Number(self.chunk?.index)),
            Name::ChunkText => None,
            Name::ChunkMetadata => below(&self.chunk?.metadata, path),
            Name::EventType => Some(Value::Text(self.kind.name())),
            Name::EventLibraryId => Some(Value::Text(self.library)),
            Name::EventBatchId => self.batch.map(Value::Text),
        }
    }
}

fn below<'a>(object: &'a Map<String, Json>, path: &[String]) -> Option<Value<'a>> {
    let Some((first, rest)) = path.split_first() else { return Some(Value::Object(object)) };
    let found = rest.iter().try_fold(object.get(first)?, |json, key| json.as_object()?.get(key));
    found.and_then(Value::of_json)
}
