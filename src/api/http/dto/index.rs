//! Indexes and their recall in JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shown;
use super::described::{IndexTypeName, ShownLibraryId, ShownRevision};
use crate::engine::ReadAt;
use crate::engine::indexing::{IndexStatistics, Segment, TextStatistics};
use crate::engine::recall::{Recall, RecallRequest};
use crate::types::{IndexType, Result, Revision};

/// What an index is made of.
#[derive(Serialize, ToSchema)]
#[schema(as = Index)]
pub(in crate::api::http) struct IndexOut {
    /// The library's.
    id: ShownLibraryId,
    /// What was asked for.
    #[schema(value_type = IndexTypeName)]
    index_type: &'static str,
    /// Chunks that can be found.
    num_rows: u64,
    /// Rows of deleted chunks, which are still there.
    num_tombstones: u64,
    /// Bytes in memory.
    index_bytes: u64,
    /// What it is made of.
    segments: Vec<SegmentOut>,
    /// The graph that is being built, if one is.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    building: Option<BuildingOut>,
    /// The index of its texts; absent where the library has no embedder.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextIndexOut>,
    /// The revision that is shown.
    revision: ShownRevision,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Segment)]
struct SegmentOut {
    /// Whether it is searched by a graph; otherwise every row is looked at.
    has_graph: bool,
    /// Rows, deleted ones too.
    num_rows: usize,
    /// Rows of deleted chunks.
    num_tombstones: usize,
    /// Bytes in memory.
    index_bytes: usize,
    /// How widely its graph is searched by default; 0 without one.
    ef: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Building)]
struct BuildingOut {
    /// Rows that it will have.
    num_rows: u64,
    /// Rows that it has.
    num_rows_done: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TextIndex)]
struct TextIndexOut {
    /// Rows: one for each chunk that says something.
    num_rows: u64,
    /// Rows of deleted chunks, which are still there.
    num_tombstones: u64,
    /// Terms of all rows, repetitions included.
    num_terms: u64,
    /// Bytes in memory.
    index_bytes: u64,
}

impl From<TextStatistics> for TextIndexOut {
    fn from(text: TextStatistics) -> Self {
        Self {
            num_rows: text.rows,
            num_tombstones: text.tombstones,
            num_terms: text.terms,
            index_bytes: text.bytes,
        }
    }
}

impl From<&Segment> for SegmentOut {
    fn from(segment: &Segment) -> Self {
        Self {
            has_graph: segment.has_graph,
            num_rows: segment.rows,
            num_tombstones: segment.tombstones,
            index_bytes: segment.bytes,
            ef: segment.ef,
        }
    }
}

impl From<&IndexStatistics> for IndexOut {
    fn from(statistics: &IndexStatistics) -> Self {
        let building = |(done, all)| BuildingOut { num_rows: all, num_rows_done: done };
        Self {
            id: Shown(statistics.library_id),
            index_type: statistics.index_type.name(),
            num_rows: statistics.rows,
            num_tombstones: statistics.tombstones,
            index_bytes: statistics.bytes,
            segments: statistics.segments.iter().map(SegmentOut::from).collect(),
            building: statistics.building.map(building),
            text: statistics.text.map(TextIndexOut::from),
            revision: Shown(statistics.revision),
        }
    }
}

/// How an index is to be built anew.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RebuildRequest)]
pub(in crate::api::http) struct RebuildIn {
    /// The kind of index from here on; the kind that it has when absent.
    #[schema(value_type = Option<IndexTypeName>)]
    index_type: Option<String>,
}

impl RebuildIn {
    pub(in crate::api::http) fn index_type(&self) -> Result<Option<IndexType>> {
        self.index_type.as_deref().map(IndexType::parse).transpose()
    }
}

/// What to measure.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RecallRequest)]
pub(in crate::api::http) struct RecallIn {
    /// How many stored vectors are searched for.
    num_queries: Option<usize>,
    /// How many hits of each are compared.
    k: Option<usize>,
    /// How widely graphs are searched; as a search without it when absent.
    ef: Option<usize>,
    /// Waits until it sees at least this revision.
    min_revision: Option<String>,
    /// How long it waits for that, in milliseconds.
    timeout_ms: Option<u64>,
}

impl RecallIn {
    pub(in crate::api::http) fn into_request(self) -> Result<RecallRequest> {
        let revision = self.min_revision.as_deref();
        let min_revision =
            revision.map(|text| Revision::parse("min_revision", text)).transpose()?;
        let timeout = self.timeout_ms.map(Duration::from_millis);
        Ok(RecallRequest {
            queries: self.num_queries,
            k: self.k,
            ef: self.ef,
            at: ReadAt { min_revision, timeout },
        })
    }
}

/// What was measured.
#[derive(Serialize, ToSchema)]
#[schema(as = Recall)]
pub(in crate::api::http) struct RecallOut {
    /// Part of the exact hits that was found, on average.
    recall: f64,
    /// That of the query which found the smallest part.
    recall_min: f64,
    /// How many were searched for.
    num_queries: usize,
    /// How many hits of each were compared.
    k: usize,
    /// Microseconds of a search, on average.
    search_us: f64,
    /// Microseconds of an exact one.
    exact_us: f64,
    /// The revision that was searched.
    revision: ShownRevision,
}

impl From<&Recall> for RecallOut {
    fn from(recall: &Recall) -> Self {
        Self {
            recall: recall.recall,
            recall_min: recall.recall_min,
            num_queries: recall.queries,
            k: recall.k,
            search_us: recall.search_us,
            exact_us: recall.exact_us,
            revision: Shown(recall.revision),
        }
    }
}
