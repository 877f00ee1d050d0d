//! One column of a library's table: hides how the values of a field, one for each document or
//! chunk, are kept in little memory.
//!
//! Values lie once each in a dictionary; documents and chunks have its codes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::types::filter::{Expr, Field, Fields, FieldsOf, Name, Value};
use crate::types::{ChunkHead, DocumentHead, Timestamp};

/// What a column has.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// The values of a field.
    Field(Field),
    /// Whether a term of a filter is true: for what is too wide to be kept.
    Term(Expr),
}

impl Source {
    /// What must be kept to decide this term of a filter.
    pub(super) fn of_term(term: &Expr) -> Vec<Self> {
        let fields = term.fields();
        // Texts and whole objects are looked at once, and what they said is kept.
        if fields.iter().any(|field| is_wide(field)) {
            return vec![Self::Term(term.clone())];
        }
        fields.into_iter().cloned().map(Self::Field).collect()
    }

    /// Whether each chunk has a value of its own, rather than its document.
    pub(super) fn is_of_chunks(&self) -> bool {
        let of_chunks =
            |name: Name| matches!(name, Name::ChunkIndex | Name::ChunkText | Name::ChunkMetadata);
        match self {
            Self::Field(field) => of_chunks(field.name),
            Self::Term(term) => term.fields().iter().any(|field| of_chunks(field.name)),
        }
    }

    /// Whether it looks at the texts of chunks.
    pub(super) fn reads_texts(&self) -> bool {
        match self {
            Self::Field(field) => field.name == Name::ChunkText,
            Self::Term(term) => term.fields().iter().any(|field| field.name == Name::ChunkText),
        }
    }
}

fn is_wide(field: &Field) -> bool {
    let object = matches!(field.name, Name::DocumentMetadata | Name::ChunkMetadata);
    field.name == Name::ChunkText || (object && field.path.is_empty())
}

/// A column. Code 0 stands for what is absent, or for a term that is not
/// true; a term that is true has code 1.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) source: Source,
    codes: Codes,
    values: Dictionary,
    /// Bytes of the codes.
    bytes: usize,
}

#[derive(Debug)]
enum Codes {
    /// By place of the document.
    Documents(Vec<u32>),
    /// By place of the document: slot and code of those chunks that have one, by slot.
    Chunks(Vec<Box<[(u32, u32)]>>),
}

impl Column {
    pub(super) fn new(source: Source) -> Self {
        let codes = match source.is_of_chunks() {
            true => Codes::Chunks(Vec::new()),
            false => Codes::Documents(Vec::new()),
        };
        Self { source, codes, values: Dictionary::default(), bytes: 0 }
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.values.bytes
    }

    /// Distinct values that it holds, those that are no more in use included.
    pub(super) fn values(&self) -> usize {
        self.values.values.len()
    }

    pub(super) fn is_of_chunks(&self) -> bool {
        matches!(self.codes, Codes::Chunks(_))
    }

    /// Sets what the document at this place says, a new one's behind the last.
    pub(super) fn put_document(&mut self, place: usize, fields: &FieldsOf<'_>) {
        let code = self.code(fields);
        if let Codes::Documents(codes) = &mut self.codes {
            match codes.get_mut(place) {
                Some(old) => *old = code,
                None => codes.push(code),
            }
            self.bytes = size_of::<u32>() * codes.capacity();
        }
    }

    /// Sets what the chunks of the document at this place say.
    pub(super) fn put_chunks(&mut self, place: usize, mut chunks: Vec<(u32, u32)>) {
        chunks.retain(|(_, code)| *code != 0);
        chunks.sort_unstable();
        if let Codes::Chunks(codes) = &mut self.codes {
            let added = size_of_val(chunks.as_slice());
            match codes.get_mut(place) {
                Some(old) => {
                    self.bytes -= size_of_val::<[(u32, u32)]>(old);
                    *old = chunks.into();
                }
                None => {
                    codes.push(chunks.into());
                    self.bytes += size_of::<Box<[(u32, u32)]>>();
                }
            }
            self.bytes += added;
        }
    }

    /// The code of what these fields say.
    pub(super) fn code(&mut self, fields: &impl Fields) -> u32 {
        match &self.source {
            Source::Term(term) => u32::from(term.holds(fields)),
            Source::Field(field) => {
                let value = fields.value(field.name, &field.path).and_then(Stored::of);
                value.map_or(0, |value| self.values.code(value))
            }
        }
    }

    /// Codes by place of the document; `None` where chunks have them.
    pub(super) fn documents(&self) -> Option<&[u32]> {
        match &self.codes {
            Codes::Documents(codes) => Some(codes),
            Codes::Chunks(_) => None,
        }
    }

    /// The code of a document, or of its chunk in a slot.
    pub(super) fn code_of(&self, place: usize, slot: u32) -> u32 {
        match &self.codes {
            Codes::Documents(codes) => codes.get(place).copied().unwrap_or(0),
            Codes::Chunks(codes) => {
                let Some(chunks) = codes.get(place) else { return 0 };
                // Mostly every chunk has a code, in the place of its slot.
                match chunks.get(slot as usize) {
                    Some((at, code)) if *at == slot => *code,
                    _ => match chunks.binary_search_by_key(&slot, |(slot, _)| *slot) {
                        Ok(at) => chunks[at].1,
                        Err(_) => 0,
                    },
                }
            }
        }
    }

    /// The field's value that a code stands for.
    pub(super) fn value(&self, code: u32) -> Option<Value<'_>> {
        self.values.values.get((code as usize).checked_sub(1)?).and_then(Stored::value)
    }

    /// Of each code, from 0 on, whether `term` is true where this column has it. The column has
    /// the term itself, or all that the term looks at.
    pub(super) fn holds(&self, term: &Expr) -> Vec<bool> {
        match &self.source {
            Source::Term(_) => vec![false, true],
            Source::Field(_) => (0..=self.values.values.len())
                .map(|code| u32::try_from(code).is_ok_and(|code| term.holds(&One(self, code))))
                .collect(),
        }
    }
}

/// The one field of a column, where it has this code.
struct One<'a>(&'a Column, u32);

impl Fields for One<'_> {
    fn value(&self, name: Name, path: &[String]) -> Option<Value<'_>> {
        let Self(column, code) = self;
        if is_field(&column.source, name, path) { column.value(*code) } else { None }
    }
}

/// Whether a column of this source has this field's values.
pub(super) fn is_field(source: &Source, name: Name, path: &[String]) -> bool {
    matches!(source, Source::Field(field) if field.name == name && field.path == path)
}

/// Distinct values in the order of their first use. Two of equal hash may both be in it twice.
#[derive(Debug, Default)]
struct Dictionary {
    values: Vec<Stored>,
    codes: HashMap<u64, u32>,
    bytes: usize,
}

/// What a value costs besides its text: its place, and its hash with its code.
const VALUE_BYTES: usize = size_of::<Stored>() + 24;

impl Dictionary {
    fn code(&mut self, value: Stored) -> u32 {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let hash = hasher.finish();
        let found = self.codes.get(&hash).copied();
        let same = |code: &u32| self.values.get(*code as usize - 1) == Some(&value);
        if let Some(code) = found.filter(same) {
            return code;
        }
        self.bytes += VALUE_BYTES + value.bytes();
        self.values.push(value);
        let code = u32::try_from(self.values.len()).unwrap_or(0);
        self.codes.insert(hash, code);
        code
    }
}

/// A value that is kept.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Stored {
    /// The bits of a double.
    Number(u64),
    Text(Box<str>),
    Time(Timestamp),
    Texts(Box<[String]>),
    Json(serde_json::Value),
}

impl Stored {
    fn of(value: Value<'_>) -> Option<Self> {
        use serde_json::Value as Json;
        Some(match value {
            Value::Null => Self::Json(Json::Null),
            Value::Bool(is) => Self::Json(Json::Bool(is)),
            Value::Number(number) => Self::Number(number.to_bits()),
            Value::Text(text) => Self::Text(text.into()),
            Value::Time(time) => Self::Time(time),
            Value::Texts(texts) => Self::Texts(texts.into()),
            Value::List(items) => Self::Json(Json::Array(items.to_vec())),
            Value::Object(object) => Self::Json(Json::Object(object.clone())),
            // Stands in filters only, never in a field.
            Value::Literals(_) => return None,
        })
    }

    fn value(&self) -> Option<Value<'_>> {
        Some(match self {
            Self::Number(bits) => Value::Number(f64::from_bits(*bits)),
            Self::Text(text) => Value::Text(text),
            Self::Time(time) => Value::Time(*time),
            Self::Texts(texts) => Value::Texts(texts),
            Self::Json(json) => return Value::of_json(json),
        })
    }

    /// About how many bytes it holds besides itself.
    fn bytes(&self) -> usize {
        match self {
            Self::Number(_) | Self::Time(_) => 0,
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(|text| size_of::<String>() + text.len()).sum(),
            Self::Json(json) => json_bytes(json),
        }
    }
}

/// About how many bytes a JSON value holds besides itself; its nesting is bounded by
/// `limits.metadata_levels_max`.
fn json_bytes(json: &serde_json::Value) -> usize {
    use serde_json::Value as Json;
    /// A node of a tree of pairs, part full, by pair.
    const PAIR_BYTES: usize = 96;
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(|item| size_of::<Json>() + json_bytes(item)).sum(),
        Json::Object(object) => {
            object.iter().map(|(key, value)| PAIR_BYTES + key.len() + json_bytes(value)).sum()
        }
    }
}

/// What a document says, as far as some columns need it.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) head: DocumentHead,
    /// The chunks, with their texts, if needed.
    pub(super) chunks: Vec<(ChunkHead, Option<std::sync::Arc<str>>)>,
}

impl Content {
    /// Puts what it says at this place of all columns.
    pub(super) fn put_into(&self, columns: &mut [Column], place: usize) {
        let mut fields = FieldsOf::document(&self.head);
        let mut codes: Vec<Vec<(u32, u32)>> = Vec::with_capacity(columns.len());
        for column in columns.iter_mut() {
            if !column.is_of_chunks() {
                column.put_document(place, &fields);
            }
            codes.push(Vec::with_capacity(self.chunks.len()));
        }
        for (chunk, text) in &self.chunks {
            fields = fields.with_chunk(chunk, text.as_deref());
            for (column, codes) in columns.iter_mut().zip(&mut codes) {
                if column.is_of_chunks() {
                    codes.push((chunk.slot, column.code(&fields)));
                }
            }
        }
        for (column, codes) in columns.iter_mut().zip(codes) {
            if column.is_of_chunks() {
                column.put_chunks(place, codes);
            }
        }
    }
}
