//! `arrwdb.v1.LibraryService`.

use tonic::{Request, Response, Status};

use super::convert::library::{library_patch, library_to_pb, new_library, statistics_to_pb};
use super::convert::{library_ref, page, read_at, request_id};
use super::pb::library_service_server::LibraryService;
use super::{Grpc, pb, reply};
use crate::types::Revision;

#[tonic::async_trait]
impl LibraryService for Grpc {
    async fn create_library(
        &self,
        request: Request<pb::CreateLibraryRequest>,
    ) -> Result<Response<pb::CreateLibraryResponse>, Status> {
        let request = request.into_inner();
        let request_id = request_id(&request.request_id)?;
        let new = new_library(request, self.engine.limits())?;
        let view = self.engine.create_library(new, request_id).await?;
        reply(pb::CreateLibraryResponse { library: Some(library_to_pb(view)) })
    }

    async fn get_library(
        &self,
        request: Request<pb::GetLibraryRequest>,
    ) -> Result<Response<pb::GetLibraryResponse>, Status> {
        let request = request.into_inner();
        let at = read_at(request.min_revision, request.timeout_ms);
        let view = self.engine.get_library(&library_ref(&request.library_id)?, at).await?;
        reply(pb::GetLibraryResponse { library: Some(library_to_pb(view)) })
    }

    async fn list_libraries(
        &self,
        request: Request<pb::ListLibrariesRequest>,
    ) -> Result<Response<pb::ListLibrariesResponse>, Status> {
        let request = request.into_inner();
        let page = page(self.engine.limits(), request.page_size, request.page_token);
        let at = read_at(request.min_revision, request.timeout_ms);
        let page = self.engine.list_libraries(page, at).await?;
        reply(pb::ListLibrariesResponse {
            libraries: page.items.into_iter().map(library_to_pb).collect(),
            next_page_token: page.next_token.unwrap_or_default(),
        })
    }

    async fn update_library(
        &self,
        request: Request<pb::UpdateLibraryRequest>,
    ) -> Result<Response<pb::UpdateLibraryResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let patch = library_patch(request.library, request.update_mask, self.engine.limits())?;
        let expected = request.expected_revision.map(Revision);
        let view = self.engine.update_library(&library, patch, expected).await?;
        reply(pb::UpdateLibraryResponse { library: Some(library_to_pb(view)) })
    }

    async fn delete_library(
        &self,
        request: Request<pb::DeleteLibraryRequest>,
    ) -> Result<Response<pb::DeleteLibraryResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let expected = request.expected_revision.map(Revision);
        let revision = self.engine.delete_library(&library, expected).await?;
        reply(pb::DeleteLibraryResponse { revision: revision.0 })
    }

    async fn get_library_statistics(
        &self,
        request: Request<pb::GetLibraryStatisticsRequest>,
    ) -> Result<Response<pb::GetLibraryStatisticsResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let at = read_at(request.min_revision, request.timeout_ms);
        let statistics = self.engine.library_statistics(&library, at).await?;
        reply(statistics_to_pb(&statistics))
    }
}
