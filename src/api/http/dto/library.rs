//! Libraries in JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::{IndexTypeName, MetricName, ShownLibraryId, ShownRevision, ShownTime};
use super::{Object, Shown, Verbatim, emptied, given, metadata, required};
use crate::engine::library::{LibraryStatistics, LibraryView};
use crate::types::{
    EmbedderRef, Error, IndexType, LibraryName, LibraryPatch, Limits, Metadata, Metric, NewLibrary,
    Page, Result,
};

/// A library: a named set of documents with one dimension, one metric, one embedder.
#[derive(Serialize, ToSchema)]
#[schema(as = Library)]
pub(in crate::api::http) struct LibraryOut<'a> {
    /// Made by the server.
    id: ShownLibraryId,
    /// Unique on the server; serves wherever the id does.
    name: &'a str,
    /// For people.
    description: &'a str,
    #[schema(value_type = MetricName)]
    metric: &'static str,
    /// Numbers a vector.
    dimension: u32,
    embedder: EmbedderOut<'a>,
    #[schema(value_type = IndexTypeName)]
    index_type: &'static str,
    /// The client's own.
    metadata: Verbatim<'a>,
    /// How many documents it has.
    num_documents: u64,
    /// How many chunks they have together.
    num_chunks: u64,
    /// When it was created.
    created_at: ShownTime,
    /// When it was created or last updated; writes to its documents do not count.
    updated_at: ShownTime,
    /// That of its creation or last update; the `ETag` of this answer.
    revision: ShownRevision,
}

/// Where the vectors of a library's texts come from, pinned at its creation.
#[derive(Serialize, ToSchema)]
#[schema(as = Embedder)]
pub(super) struct EmbedderOut<'a> {
    /// The model's id; `none` where clients bring their vectors.
    id: &'a str,
    /// The model's SHA-256 in lower-case hexadecimal; empty where there is none to know.
    sha256: &'a str,
}

impl<'a> From<&'a EmbedderRef> for EmbedderOut<'a> {
    fn from(embedder: &'a EmbedderRef) -> Self {
        Self { id: &embedder.id, sha256: &embedder.sha256 }
    }
}

impl<'a> From<&'a LibraryView> for LibraryOut<'a> {
    fn from(view: &'a LibraryView) -> Self {
        let library = &view.library;
        Self {
            id: Shown(library.id),
            name: library.name.as_str(),
            description: &library.description,
            metric: library.metric.name(),
            dimension: library.dimension,
            embedder: (&library.embedder).into(),
            index_type: library.index_type.name(),
            metadata: Verbatim(&library.metadata),
            num_documents: view.counts.documents,
            num_chunks: view.counts.chunks,
            created_at: Shown(library.created_at),
            updated_at: Shown(library.updated_at),
            revision: Shown(library.revision),
        }
    }
}

/// A page of libraries.
#[derive(Serialize, ToSchema)]
#[schema(as = LibrariesPage)]
pub(in crate::api::http) struct LibrariesOut<'a> {
    /// By name.
    libraries: Vec<LibraryOut<'a>>,
    /// Gives the next page as `page_token`; empty when this is the last.
    next_page_token: &'a str,
}

impl<'a> From<&'a Page<LibraryView>> for LibrariesOut<'a> {
    fn from(page: &'a Page<LibraryView>) -> Self {
        Self {
            libraries: page.items.iter().map(LibraryOut::from).collect(),
            next_page_token: page.next_token.as_deref().unwrap_or_default(),
        }
    }
}

/// What a library holds and costs.
#[derive(Serialize, ToSchema)]
#[schema(as = LibraryStatistics)]
pub(in crate::api::http) struct LibraryStatisticsOut<'a> {
    /// The library's id.
    id: ShownLibraryId,
    /// The library's name.
    name: &'a str,
    /// How many documents it has.
    num_documents: u64,
    /// How many chunks they have together.
    num_chunks: u64,
    /// Parts of its index.
    num_segments: u64,
    /// Deleted chunks that its index still carries.
    num_tombstones: u64,
    /// Memory that its index takes.
    index_bytes: u64,
    /// The revision that these numbers are of.
    revision: ShownRevision,
}

impl<'a> From<&'a LibraryStatistics> for LibraryStatisticsOut<'a> {
    fn from(statistics: &'a LibraryStatistics) -> Self {
        Self {
            id: Shown(statistics.library.id),
            name: statistics.library.name.as_str(),
            num_documents: statistics.counts.documents,
            num_chunks: statistics.counts.chunks,
            num_segments: statistics.segments,
            num_tombstones: statistics.tombstones,
            index_bytes: statistics.index_bytes,
            revision: Shown(statistics.revision),
        }
    }
}

/// A library that a client wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = NewLibrary)]
pub(in crate::api::http) struct LibraryIn {
    /// 1 to 128 characters, unique on the server; no control characters, no blank at either end,
    /// not the text of a UUID.
    #[schema(value_type = String)]
    name: Option<String>,
    /// For people; at most 4 KiB.
    description: Option<String>,
    /// `cosine` when absent.
    #[schema(value_type = Option<MetricName>)]
    metric: Option<String>,
    /// Numbers a vector. Required where clients bring their vectors; else that of the embedder.
    dimension: Option<u32>,
    /// A configured embedder's name, `default` (when absent), or `none` where clients bring their
    /// vectors.
    embedder: Option<String>,
    /// `auto` when absent.
    #[schema(value_type = Option<IndexTypeName>)]
    index_type: Option<String>,
    /// An object of your own: at most 64 KiB and 8 levels.
    metadata: Option<Object>,
}

impl LibraryIn {
    pub(in crate::api::http) fn into_new(self, limits: &Limits) -> Result<NewLibrary> {
        let name = self.name.ok_or_else(|| Error::invalid("name", "is required"))?;
        Ok(NewLibrary {
            description: self.description.unwrap_or_default(),
            metric: self.metric.as_deref().map_or(Ok(Metric::default()), Metric::parse)?,
            dimension: self.dimension,
            index_type: self
                .index_type
                .as_deref()
                .map_or(Ok(IndexType::default()), IndexType::parse)?,
            metadata: metadata("metadata", self.metadata, limits)?,
            embedder: self.embedder.unwrap_or_else(|| NewLibrary::DEFAULT_EMBEDDER.to_owned()),
            name: LibraryName::parse(&name)?,
        })
    }
}

/// What a client wants changed of a library. `null` empties what can be empty.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = LibraryPatch)]
pub(in crate::api::http) struct LibraryPatchIn {
    /// A new name, as at the creation.
    #[schema(value_type = String)]
    #[serde(default, deserialize_with = "given")]
    name: Option<Option<String>>,
    /// For people; at most 4 KiB.
    #[schema(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    /// All of it: at most 64 KiB and 8 levels.
    #[schema(value_type = Option<Object>)]
    #[serde(default, deserialize_with = "given")]
    metadata: Option<Option<Object>>,
}

impl LibraryPatchIn {
    pub(in crate::api::http) fn into_patch(self, limits: &Limits) -> Result<LibraryPatch> {
        let name = required("name", self.name)?;
        Ok(LibraryPatch {
            name: name.as_deref().map(LibraryName::parse).transpose()?,
            description: emptied(self.description),
            metadata: emptied(self.metadata)
                .map(|object| Metadata::new("metadata", object, limits))
                .transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{parse, to_bytes};
    use super::*;
    use crate::types::{Library, LibraryCounts, LibraryId, Revision, Timestamp};

    fn new(text: &str) -> Result<NewLibrary> {
        parse::<LibraryIn>(text.as_bytes())?.into_new(&Limits::default())
    }

    fn field(error: &Error) -> &str {
        &error.violations[0].field
    }

    #[test]
    fn a_library_prints_as_documented() {
        let view = LibraryView {
            library: Library {
                id: LibraryId::from_bytes([1; 16]),
                name: LibraryName::parse("täglich").expect("valid"),
                description: String::new(),
                metric: Metric::L2,
                dimension: 3,
                embedder: EmbedderRef { id: "none".into(), sha256: String::new() },
                index_type: IndexType::Auto,
                metadata: new(r#"{"name":"x","metadata":{"b":1.0,"a":"é"}}"#)
                    .expect("valid")
                    .metadata,
                created_at: Timestamp::from_micros(0),
                updated_at: Timestamp::from_micros(1_500_000),
                revision: Revision(u64::MAX),
            },
            counts: LibraryCounts { documents: 2, chunks: 5 },
        };
        let page = Page { items: vec![view], next_token: None };
        assert_eq!(
            String::from_utf8_lossy(&to_bytes(&LibrariesOut::from(&page))),
            concat!(
                r#"{"libraries":[{"id":"01010101-0101-0101-0101-010101010101","name":"täglich","#,
                r#""description":"","metric":"l2","dimension":3,"#,
                r#""embedder":{"id":"none","sha256":""},"index_type":"auto","#,
                r#""metadata":{"a":"é","b":1},"num_documents":2,"num_chunks":5,"#,
                r#""created_at":"1970-01-01T00:00:00.000000Z","#,
                r#""updated_at":"1970-01-01T00:00:01.500000Z","#,
                r#""revision":"18446744073709551615"}],"next_page_token":""}"#
            )
        );
    }

    #[test]
    fn a_new_library_has_defaults_and_named_faults() {
        let library = new(r#"{"name":"a"}"#).expect("valid");
        assert_eq!(library, NewLibrary::named(LibraryName::parse("a").expect("valid")));
        for (text, name) in [
            ("{}", "name"),
            (r#"{"name":" a"}"#, "name"),
            (r#"{"name":"a","metric":"manhattan"}"#, "metric"),
            (r#"{"name":"a","index_type":"tree"}"#, "index_type"),
            (r#"{"name":"a","dimension":-1}"#, "dimension"),
            (r#"{"name":"a","metadata":[]}"#, "metadata"),
            (r#"{"name":"a","nam":1}"#, "nam"),
        ] {
            assert_eq!(field(&new(text).expect_err(text)), name);
        }
    }

    #[test]
    fn a_patch_tells_absent_from_null() {
        let patch =
            |text: &str| parse::<LibraryPatchIn>(text.as_bytes())?.into_patch(&Limits::default());
        assert_eq!(patch("{}"), Ok(LibraryPatch::default()));
        let emptied = patch(r#"{"description":null,"metadata":null}"#).expect("valid");
        assert_eq!(emptied.description.as_deref(), Some(""));
        assert_eq!(emptied.metadata, Some(Metadata::default()));
        assert_eq!(field(&patch(r#"{"name":null}"#).expect_err("null")), "name");
        assert_eq!(field(&patch(r#"{"metric":"l2"}"#).expect_err("fixed")), "metric");
    }
}
