//! Documents and chunks: the unit of ingest and the unit of search.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::cursor::Revision;
use super::error::{Error, Result};
use super::id::{ChunkId, DocumentId};
use super::library::check_field;
use super::limits::Limits;
use super::metadata::Metadata;
use super::vector::Vector;

/// A document without its chunks: what lists, hits and events show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentHead {
    /// Unique in its library.
    pub id: DocumentId,
    /// The revision that created it: its key in the store, and its place in lists and exports.
    pub created_revision: Revision,
    /// Never empty.
    pub title: String,
    /// Empty when not given, like the two below.
    pub author: String,
    /// What kind of document, in the client's words.
    pub document_type: String,
    /// Where it came from.
    pub source_url: String,
    /// In the client's order.
    pub tags: Vec<String>,
    /// The client's.
    pub metadata: Metadata,
    /// How many chunks it has.
    pub num_chunks: u32,
    /// When it was first written.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// Of its last write.
    pub revision: Revision,
}

/// A chunk without its text and vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkHead {
    /// Made at the write.
    pub id: ChunkId,
    /// Its place in the store below its document; never reused within the document.
    pub slot: u32,
    /// Its place in the document, from 0.
    pub index: u32,
    /// The client's.
    pub metadata: Metadata,
}

/// A chunk's text and vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkBody {
    /// May be empty only when the client brought the vector.
    pub text: Arc<str>,
    /// Of the library's dimension.
    pub vector: Vector,
}

/// A whole chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// What it is.
    pub head: ChunkHead,
    /// What it says.
    pub text: Arc<str>,
    /// Its vector, where it was asked for.
    pub vector: Option<Vector>,
}

/// A whole document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// All but the chunks.
    pub head: DocumentHead,
    /// In index order.
    pub chunks: Vec<Chunk>,
}

/// One chunk that a client wants written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewChunk {
    /// Embedded by the server unless `embedding` is given.
    pub text: String,
    /// The client's own vector.
    pub embedding: Option<Vec<f32>>,
    /// The client's.
    pub metadata: Metadata,
}

/// What a client wants a document to say.
#[derive(Debug, Clone, PartialEq)]
pub enum NewContent {
    /// One text that the server splits into chunks.
    Text(String),
    /// The chunks.
    Chunks(Vec<NewChunk>),
}

impl NewContent {
    /// Chunks that are texts alone.
    #[must_use]
    pub fn texts(texts: Vec<String>) -> Self {
        Self::Chunks(
            texts.into_iter().map(|text| NewChunk { text, ..NewChunk::default() }).collect(),
        )
    }

    /// Checks counts and sizes; `path` is the field's name as the client wrote it (`texts`,
    /// `text` or `chunks`).
    pub fn check(&self, path: &str, limits: &Limits) -> Result<()> {
        match self {
            Self::Text(text) if text.trim().is_empty() => {
                Err(Error::invalid(path, "must not be blank"))
            }
            Self::Text(text) => check_text(path, text, limits),
            Self::Chunks(chunks) if chunks.is_empty() => {
                Err(Error::invalid(path, "must not be empty"))
            }
            Self::Chunks(chunks) => {
                if chunks.len() > limits.chunks_per_document_max {
                    let (is, most) = (chunks.len(), limits.chunks_per_document_max);
                    let detail =
                        format!("has {is} items; at most {most} (chunks_per_document_max)");
                    return Err(Error::too_large(path, detail));
                }
                chunks.iter().enumerate().try_for_each(|(i, chunk)| {
                    let path = format!("{path}[{i}]");
                    if chunk.embedding.is_none() && chunk.text.trim().is_empty() {
                        return Err(Error::invalid(path, "must not be blank"));
                    }
                    check_text(&path, &chunk.text, limits)
                })
            }
        }
    }
}

fn check_text(path: &str, text: &str, limits: &Limits) -> Result<()> {
    if text.len() > limits.text_bytes_max {
        let (is, most) = (text.len(), limits.text_bytes_max);
        let detail = format!("is {is} bytes; at most {most} (text_bytes_max)");
        return Err(Error::too_large(path, detail));
    }
    Ok(())
}

/// What an ingested document does to one of the same id that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Updates it to exactly what was sent.
    #[default]
    Replace,
    /// Leaves it; the item counts as skipped.
    Skip,
    /// Leaves it; the item fails with `already-exists`.
    Fail,
}

impl OnConflict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Replace, Self::Skip, Self::Fail];

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Skip => "skip",
            Self::Fail => "fail",
        }
    }

    /// By its name in JSON; `invalid-argument` naming `on_conflict` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.name() == text)
            .ok_or_else(|| Error::invalid("on_conflict", "must be replace, skip or fail"))
    }
}

/// A document that a client wants written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDocument {
    /// The client's own id, or one is made.
    pub id: Option<DocumentId>,
    /// Required, never empty.
    pub title: String,
    /// Empty when not given, like the two below.
    pub author: String,
    /// What kind of document, in the client's words.
    pub document_type: String,
    /// Where it came from.
    pub source_url: String,
    /// In order.
    pub tags: Vec<String>,
    /// The client's.
    pub metadata: Metadata,
    /// What it says.
    pub content: NewContent,
    /// The name of the field that the content came in: `text`, `texts` or `chunks`.
    pub content_field: &'static str,
}

impl NewDocument {
    /// With a title and texts and nothing else.
    #[must_use]
    pub fn titled(title: impl Into<String>, texts: Vec<String>) -> Self {
        Self {
            id: None,
            title: title.into(),
            author: String::new(),
            document_type: String::new(),
            source_url: String::new(),
            tags: Vec::new(),
            metadata: Metadata::default(),
            content: NewContent::texts(texts),
            content_field: "texts",
        }
    }

    /// Checks everything that needs no library; the first fault found is told.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        check_title(&self.title, limits)?;
        check_field("author", &self.author, limits)?;
        check_field("document_type", &self.document_type, limits)?;
        check_field("source_url", &self.source_url, limits)?;
        check_tags(&self.tags, limits)?;
        self.content.check(self.content_field, limits)
    }

    /// About how many bytes it holds in memory: what the in-flight bound of ingest counts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let content = match &self.content {
            NewContent::Text(text) => text.len(),
            NewContent::Chunks(chunks) => chunks
                .iter()
                .map(|c| c.text.len() + c.embedding.as_ref().map_or(0, |e| 4 * e.len()) + 96)
                .sum(),
        };
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 24).sum();
        content + tags + self.title.len() + self.metadata.as_json().len() + 256
    }
}

fn check_title(title: &str, limits: &Limits) -> Result<()> {
    if title.trim().is_empty() {
        return Err(Error::invalid("title", "must not be blank"));
    }
    if title.len() > limits.title_bytes_max {
        let (is, most) = (title.len(), limits.title_bytes_max);
        let detail = format!("is {is} bytes; at most {most} (title_bytes_max)");
        return Err(Error::too_large("title", detail));
    }
    Ok(())
}

fn check_tags(tags: &[String], limits: &Limits) -> Result<()> {
    if tags.len() > limits.tags_per_document_max {
        let (is, most) = (tags.len(), limits.tags_per_document_max);
        let detail = format!("has {is} items; at most {most} (tags_per_document_max)");
        return Err(Error::too_large("tags", detail));
    }
    tags.iter().enumerate().try_for_each(|(i, tag)| match tag.chars().count() {
        0 => Err(Error::invalid(format!("tags[{i}]"), "must not be empty")),
        n if n > limits.tag_characters_max => Err(Error::too_large(
            format!("tags[{i}]"),
            format!(
                "has {n} characters; at most {} (tag_characters_max)",
                limits.tag_characters_max
            ),
        )),
        _ => Ok(()),
    })
}

/// What a client wants changed of a document; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DocumentPatch {
    /// A new title, never empty.
    pub title: Option<String>,
    /// A new author; empty takes it away, like the two below.
    pub author: Option<String>,
    /// A new type.
    pub document_type: Option<String>,
    /// A new source.
    pub source_url: Option<String>,
    /// New tags, replacing all.
    pub tags: Option<Vec<String>>,
    /// New metadata, replacing the whole object.
    pub metadata: Option<Metadata>,
    /// New content, replacing all chunks, with the name of the field that it came in.
    pub content: Option<(&'static str, NewContent)>,
}

impl DocumentPatch {
    /// Checks everything that needs no library; the first fault found is told.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let field = |name, text: &Option<String>| {
            text.as_deref().map_or(Ok(()), |text| check_field(name, text, limits))
        };
        self.title.as_deref().map_or(Ok(()), |title| check_title(title, limits))?;
        field("author", &self.author)?;
        field("document_type", &self.document_type)?;
        field("source_url", &self.source_url)?;
        self.tags.as_deref().map_or(Ok(()), |tags| check_tags(tags, limits))?;
        match &self.content {
            Some((name, content)) => content.check(name, limits),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_names_its_field() {
        let limits = Limits::default();
        let field = |document: NewDocument| {
            document.check(&limits).expect_err("faulty").violations[0].field.clone()
        };
        let good = || NewDocument::titled("t", vec!["x".to_owned()]);
        assert_eq!(good().check(&limits), Ok(()));
        assert_eq!(field(NewDocument::titled(" ", vec!["x".to_owned()])), "title");
        assert_eq!(field(NewDocument::titled("t", vec![])), "texts");
        assert_eq!(field(NewDocument::titled("t", vec!["x".into(), " ".into()])), "texts[1]");
        assert_eq!(field(NewDocument { tags: vec![String::new()], ..good() }), "tags[0]");
        let long = "x".repeat(limits.text_bytes_max + 1);
        assert_eq!(field(NewDocument::titled("t", vec![long])), "texts[0]");
    }
}
