//! Libraries in JSON.

use serde::{Deserialize, Serialize};

use super::{Object, Shown, Verbatim, emptied, given, metadata, required};
use crate::engine::library::{LibraryStatistics, LibraryView};
use crate::types::{
    EmbedderRef, Error, IndexType, LibraryId, LibraryName, LibraryPatch, Limits, Metadata, Metric,
    NewLibrary, Page, Result, Revision, Timestamp,
};

/// A library as clients see it.
#[derive(Serialize)]
pub(in crate::api::http) struct LibraryOut<'a> {
    id: Shown<LibraryId>,
    name: &'a str,
    description: &'a str,
    metric: &'static str,
    dimension: u32,
    embedder: EmbedderOut<'a>,
    index_type: &'static str,
    metadata: Verbatim<'a>,
    num_documents: u64,
    num_chunks: u64,
    created_at: Shown<Timestamp>,
    updated_at: Shown<Timestamp>,
    revision: Shown<Revision>,
}

/// Where the vectors of a library's texts come from.
#[derive(Serialize)]
pub(super) struct EmbedderOut<'a> {
    id: &'a str,
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
#[derive(Serialize)]
pub(in crate::api::http) struct LibrariesOut<'a> {
    libraries: Vec<LibraryOut<'a>>,
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
#[derive(Serialize)]
pub(in crate::api::http) struct LibraryStatisticsOut<'a> {
    id: Shown<LibraryId>,
    name: &'a str,
    num_documents: u64,
    num_chunks: u64,
    num_segments: u64,
    num_tombstones: u64,
    index_bytes: u64,
    revision: Shown<Revision>,
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::api::http) struct LibraryIn {
    name: Option<String>,
    description: Option<String>,
    metric: Option<String>,
    dimension: Option<u32>,
    embedder: Option<String>,
    index_type: Option<String>,
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::api::http) struct LibraryPatchIn {
    #[serde(default, deserialize_with = "given")]
    name: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
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
    use crate::types::{Library, LibraryCounts};

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
