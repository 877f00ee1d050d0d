//! Indexes and their recall in JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Shown;
use crate::engine::ReadAt;
use crate::engine::indexing::{IndexStatistics, Segment};
use crate::engine::recall::{Recall, RecallRequest};
use crate::types::{IndexType, LibraryId, Result, Revision};

/// What an index is made of.
#[derive(Serialize)]
pub(in crate::api::http) struct IndexOut {
    id: Shown<LibraryId>,
    index_type: &'static str,
    num_rows: u64,
    num_tombstones: u64,
    index_bytes: u64,
    segments: Vec<SegmentOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    building: Option<BuildingOut>,
    revision: Shown<Revision>,
}

#[derive(Serialize)]
struct SegmentOut {
    has_graph: bool,
    num_rows: usize,
    num_tombstones: usize,
    index_bytes: usize,
    ef: usize,
}

#[derive(Serialize)]
struct BuildingOut {
    num_rows: u64,
    num_rows_done: u64,
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
            revision: Shown(statistics.revision),
        }
    }
}

/// How an index is to be built anew.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object", default)]
pub(in crate::api::http) struct RebuildIn {
    index_type: Option<String>,
}

impl RebuildIn {
    pub(in crate::api::http) fn index_type(&self) -> Result<Option<IndexType>> {
        self.index_type.as_deref().map(IndexType::parse).transpose()
    }
}

/// What to measure.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object", default)]
pub(in crate::api::http) struct RecallIn {
    num_queries: Option<usize>,
    k: Option<usize>,
    ef: Option<usize>,
    min_revision: Option<String>,
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
#[derive(Serialize)]
pub(in crate::api::http) struct RecallOut {
    recall: f64,
    recall_min: f64,
    num_queries: usize,
    k: usize,
    search_us: f64,
    exact_us: f64,
    revision: Shown<Revision>,
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
