//! Libraries: a named set of documents with one dimension, one metric, one embedder.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::cursor::Revision;
use super::error::{Error, Result};
use super::id::{LibraryId, LibraryName};
use super::limits::Limits;
use super::metadata::Metadata;

/// How near two vectors are. A *distance* is lower when nearer, a *score* higher when better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Metric {
    /// distance = 1 − cos, score = cos.
    #[default]
    Cosine,
    /// distance = −dot, score = dot.
    Dot,
    /// distance = Euclidean, score = −distance.
    L2,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::Dot, Self::L2];

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::L2 => "l2",
        }
    }

    /// By its name in JSON; `invalid-argument` naming `metric` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.name() == text)
            .ok_or_else(|| Error::invalid("metric", "must be cosine, dot or l2"))
    }

    /// The score that belongs to a distance.
    #[must_use]
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Self::Cosine => 1.0 - distance,
            Self::Dot | Self::L2 => -distance,
        }
    }
}

/// Which kind of index a library wants for its settled part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum IndexType {
    /// The server chooses by size.
    #[default]
    Auto,
    /// Always exact.
    Flat,
    /// Graphs as soon as they pay.
    Hnsw,
}

impl IndexType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Flat, Self::Hnsw];

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Flat => "flat",
            Self::Hnsw => "hnsw",
        }
    }

    /// By its name in JSON; `invalid-argument` naming `index_type` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| Error::invalid("index_type", "must be auto, flat or hnsw"))
    }
}

/// Which model a library's vectors come from, pinned at its creation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EmbedderRef {
    /// The model's id, or [`EmbedderRef::NONE`].
    pub id: String,
    /// The model's SHA-256 in lower-case hexadecimal; empty where there is none to know.
    pub sha256: String,
}

impl EmbedderRef {
    /// The id that stands for "clients bring their vectors".
    pub const NONE: &str = "none";

    /// Whether clients bring their vectors.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.id == Self::NONE
    }
}

/// A library as stored and as its events show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Library {
    /// Made by the server.
    pub id: LibraryId,
    /// Unique on the server.
    pub name: LibraryName,
    /// For people; may be empty.
    pub description: String,
    /// Fixed at creation.
    pub metric: Metric,
    /// Numbers a vector; fixed at creation.
    pub dimension: u32,
    /// Fixed at creation.
    pub embedder: EmbedderRef,
    /// What was asked for at creation.
    pub index_type: IndexType,
    /// The client's.
    pub metadata: Metadata,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last created or updated; its documents do not count.
    pub updated_at: Timestamp,
    /// Of its last creation or update.
    pub revision: Revision,
}

/// What is in a library at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LibraryCounts {
    /// Documents.
    pub documents: u64,
    /// Chunks.
    pub chunks: u64,
}

/// A library that a client wants, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLibrary {
    /// Unique on the server.
    pub name: LibraryName,
    /// May be empty.
    pub description: String,
    /// How distances are measured.
    pub metric: Metric,
    /// The name of a configured embedder, `default` or `none`.
    pub embedder: String,
    /// Required when the embedder is `none`; otherwise the embedder's own or absent.
    pub dimension: Option<u32>,
    /// Which kind of index.
    pub index_type: IndexType,
    /// The client's.
    pub metadata: Metadata,
}

impl NewLibrary {
    /// The name that stands for the server's default embedder.
    pub const DEFAULT_EMBEDDER: &str = "default";

    /// With nothing but a name: cosine, the default embedder.
    #[must_use]
    pub fn named(name: LibraryName) -> Self {
        Self {
            name,
            description: String::new(),
            metric: Metric::Cosine,
            embedder: Self::DEFAULT_EMBEDDER.to_owned(),
            dimension: None,
            index_type: IndexType::Auto,
            metadata: Metadata::default(),
        }
    }

    /// Checks what the field types cannot.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        check_field("description", &self.description, limits)?;
        match self.dimension {
            Some(d) if d == 0 || d as usize > limits.dimension_max => Err(Error::invalid(
                "dimension",
                format!("must be 1 to {} (dimension_max)", limits.dimension_max),
            )),
            _ => Ok(()),
        }
    }
}

/// What a client wants changed of a library; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LibraryPatch {
    /// A new name, unique on the server.
    pub name: Option<LibraryName>,
    /// A new description.
    pub description: Option<String>,
    /// New metadata, replacing the whole object.
    pub metadata: Option<Metadata>,
}

impl LibraryPatch {
    /// Checks what the field types cannot.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        self.description.as_deref().map_or(Ok(()), |d| check_field("description", d, limits))
    }
}

/// Checks a short text field against `limits.field_bytes_max`.
pub(crate) fn check_field(field: &str, text: &str, limits: &Limits) -> Result<()> {
    if text.len() > limits.field_bytes_max {
        let (is, most) = (text.len(), limits.field_bytes_max);
        let detail = format!("is {is} bytes; at most {most} (field_bytes_max)");
        return Err(Error::too_large(field, detail));
    }
    Ok(())
}
