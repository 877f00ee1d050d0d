//! `arrwdb.v1.DocumentService`; its streams are in `ingest` and `export`.

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::document::{document_id, document_patch, document_to_pb, new_document};
use super::convert::{given, library_ref, page, read_at, request_id};
use super::pages::pages;
use super::pb::document_service_server::DocumentService;
use super::{Grpc, export, ingest, pb, reply, reply_stream};
use crate::types::{Error, Result as ArrwdbResult, Revision};

#[tonic::async_trait]
impl DocumentService for Grpc {
    type StreamIngestDocumentsStream =
        BoxStream<'static, Result<pb::StreamIngestDocumentsResponse, Status>>;
    type ExportDocumentsStream = BoxStream<'static, Result<pb::ExportDocumentsResponse, Status>>;

    async fn create_document(
        &self,
        request: Request<pb::CreateDocumentRequest>,
    ) -> Result<Response<pb::CreateDocumentResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let request_id = request_id(&request.request_id)?;
        let input = request.document.ok_or_else(|| Error::invalid("document", "is required"))?;
        let new = new_document(input, self.engine.limits())?;
        let document = self.engine.create_document(&library, new, request_id).await?;
        reply(pb::CreateDocumentResponse { document: Some(document_to_pb(document)) })
    }

    async fn get_document(
        &self,
        request: Request<pb::GetDocumentRequest>,
    ) -> Result<Response<pb::GetDocumentResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let id = document_id("document_id", &request.document_id)?;
        let at = read_at(request.min_revision, request.timeout_ms);
        let document = self.engine.get_document(&library, &id, at).await?;
        reply(pb::GetDocumentResponse { document: Some(document_to_pb(document)) })
    }

    async fn batch_get_documents(
        &self,
        request: Request<pb::BatchGetDocumentsRequest>,
    ) -> Result<Response<pb::BatchGetDocumentsResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let most = self.engine.limits().batch_get_documents_max;
        if request.document_ids.len() > most {
            let is = request.document_ids.len();
            let detail = format!("has {is} items; at most {most} (batch_get_documents_max)");
            return Err(Error::too_large("document_ids", detail).into());
        }
        let ids = request.document_ids.iter().enumerate();
        let ids = ids.map(|(i, id)| document_id(&format!("document_ids[{i}]"), id));
        let ids = ids.collect::<ArrwdbResult<Vec<_>>>()?;
        let at = read_at(request.min_revision, request.timeout_ms);
        let found = self.engine.batch_get_documents(&library, &ids, at).await?;
        reply(pb::BatchGetDocumentsResponse {
            documents: found.documents.into_iter().map(document_to_pb).collect(),
            missing_ids: found.missing.iter().map(|id| id.as_str().to_owned()).collect(),
        })
    }

    async fn list_documents(
        &self,
        request: Request<pb::ListDocumentsRequest>,
    ) -> Result<Response<pb::ListDocumentsResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let page = page(self.engine.limits(), request.page_size, request.page_token);
        let at = read_at(request.min_revision, request.timeout_ms);
        let chunks = request.include_chunks;
        let page = self.engine.list_documents(&library, page, chunks, at).await?;
        reply(pb::ListDocumentsResponse {
            documents: page.items.into_iter().map(document_to_pb).collect(),
            next_page_token: page.next_token.unwrap_or_default(),
        })
    }

    async fn update_document(
        &self,
        request: Request<pb::UpdateDocumentRequest>,
    ) -> Result<Response<pb::UpdateDocumentResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let id = document_id("document_id", &request.document_id)?;
        let limits = self.engine.limits();
        let patch = document_patch(&id, request.document, request.update_mask, limits)?;
        let expected = request.expected_revision.map(Revision);
        let document = self.engine.update_document(&library, &id, patch, expected).await?;
        reply(pb::UpdateDocumentResponse { document: Some(document_to_pb(document)) })
    }

    async fn count_documents(
        &self,
        request: Request<pb::CountDocumentsRequest>,
    ) -> Result<Response<pb::CountDocumentsResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let at = read_at(request.min_revision, request.timeout_ms);
        let filter = given(request.filter);
        let counted = self.engine.count_matching(&library, filter.as_deref(), at).await?;
        reply(pb::CountDocumentsResponse {
            num_documents: counted.documents,
            num_chunks: counted.chunks,
            revision: counted.revision.0,
        })
    }

    async fn delete_documents(
        &self,
        request: Request<pb::DeleteDocumentsRequest>,
    ) -> Result<Response<pb::DeleteDocumentsResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let at = read_at(request.min_revision, request.timeout_ms);
        let deleted = self.engine.delete_matching(&library, &request.filter, at).await?;
        reply(pb::DeleteDocumentsResponse {
            num_deleted: deleted.documents,
            num_changed: deleted.changed,
            revision: deleted.revision.0,
        })
    }

    async fn delete_document(
        &self,
        request: Request<pb::DeleteDocumentRequest>,
    ) -> Result<Response<pb::DeleteDocumentResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let id = document_id("document_id", &request.document_id)?;
        let expected = request.expected_revision.map(Revision);
        let revision = self.engine.delete_document(&library, &id, expected).await?;
        reply(pb::DeleteDocumentResponse { revision: revision.0 })
    }

    async fn ingest_documents(
        &self,
        request: Request<Streaming<pb::IngestDocumentsRequest>>,
    ) -> Result<Response<pb::IngestDocumentsResponse>, Status> {
        reply(ingest::summarized(&self.engine, &self.tasks, request.into_inner()).await?)
    }

    async fn stream_ingest_documents(
        &self,
        request: Request<Streaming<pb::StreamIngestDocumentsRequest>>,
    ) -> Result<Response<Self::StreamIngestDocumentsStream>, Status> {
        reply_stream(ingest::reported(&self.engine, &self.tasks, request.into_inner()).await?)
    }

    async fn export_documents(
        &self,
        request: Request<pb::ExportDocumentsRequest>,
    ) -> Result<Response<Self::ExportDocumentsStream>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let at = read_at(request.min_revision, request.timeout_ms);
        let export = self.engine.export(&library, request.include_embeddings, at).await?;
        let shutdown = self.engine.shutdown_token().clone();
        let messages = pages(&self.tasks, self.engine.limits(), move |pages| {
            export::send(export, pages, shutdown)
        });
        reply_stream(messages.boxed())
    }
}
