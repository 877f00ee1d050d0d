//! `arrwdb.v1.IndexService`.

use tonic::{Request, Response, Status};

use super::convert::library::{index_type_from_pb, index_type_to_pb};
use super::convert::{library_ref, read_at};
use super::pb::index_service_server::IndexService;
use super::{Grpc, pb, reply};
use crate::engine::indexing::{IndexStatistics, Segment, TextStatistics};

#[tonic::async_trait]
impl IndexService for Grpc {
    async fn rebuild_index(
        &self,
        request: Request<pb::RebuildIndexRequest>,
    ) -> Result<Response<pb::RebuildIndexResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let is_given = request.index_type != i32::from(pb::IndexType::Unspecified);
        let kind = is_given.then(|| index_type_from_pb(request.index_type)).transpose()?;
        let revision = self.engine.rebuild_index(&library, kind).await?;
        reply(pb::RebuildIndexResponse { revision: revision.0 })
    }

    async fn optimize_index(
        &self,
        request: Request<pb::OptimizeIndexRequest>,
    ) -> Result<Response<pb::OptimizeIndexResponse>, Status> {
        let library = library_ref(&request.into_inner().library_id)?;
        let revision = self.engine.optimize_index(&library).await?;
        reply(pb::OptimizeIndexResponse { revision: revision.0 })
    }

    async fn get_index_statistics(
        &self,
        request: Request<pb::GetIndexStatisticsRequest>,
    ) -> Result<Response<pb::GetIndexStatisticsResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let at = read_at(request.min_revision, request.timeout_ms);
        reply(statistics_to_pb(self.engine.index_statistics(&library, at).await?))
    }
}

fn statistics_to_pb(statistics: IndexStatistics) -> pb::GetIndexStatisticsResponse {
    let building = |(done, all)| pb::IndexBuild { num_rows: all, num_rows_done: done };
    pb::GetIndexStatisticsResponse {
        library_id: statistics.library_id.to_string(),
        index_type: index_type_to_pb(statistics.index_type).into(),
        num_rows: statistics.rows,
        num_tombstones: statistics.tombstones,
        index_bytes: statistics.bytes,
        segments: statistics.segments.into_iter().map(segment_to_pb).collect(),
        building: statistics.building.map(building),
        revision: statistics.revision.0,
        text: statistics.text.map(text_to_pb),
    }
}

fn text_to_pb(text: TextStatistics) -> pb::TextIndex {
    pb::TextIndex {
        num_rows: text.rows,
        num_tombstones: text.tombstones,
        num_terms: text.terms,
        index_bytes: text.bytes,
    }
}

fn segment_to_pb(segment: Segment) -> pb::IndexSegment {
    pb::IndexSegment {
        has_graph: segment.has_graph,
        num_rows: segment.rows as u64,
        num_tombstones: segment.tombstones as u64,
        index_bytes: segment.bytes as u64,
        ef: u32::try_from(segment.ef).unwrap_or(u32::MAX),
    }
}
