//! The calls that the demo makes: hides the messages of gRPC.

use std::net::SocketAddr;
use std::time::Duration;

use futures::Stream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use super::super::Failure;
use crate::api::grpc::pb::document_service_client::DocumentServiceClient;
use crate::api::grpc::pb::event_service_client::EventServiceClient;
use crate::api::grpc::pb::library_service_client::LibraryServiceClient;
use crate::api::grpc::pb::search_service_client::SearchServiceClient;
use crate::api::grpc::pb::{
    CreateLibraryRequest, DocumentInput, EventType, ExportComplete, ExportDocumentsRequest,
    ExportDocumentsResponse, Hit, IngestFailure, IngestHeader, IngestSummary, Library,
    StreamIngestDocumentsRequest, StreamSearchRequest, SubscribeRequest, SubscribeResponse,
    export_documents_response, stream_ingest_documents_request, stream_ingest_documents_response,
    stream_search_response,
};

/// How long the server may take to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one server. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub(super) struct Client {
    channel: Channel,
}

/// How an ingest stream went.
#[derive(Debug)]
pub(super) struct Ingested {
    /// The closing line.
    pub(super) summary: IngestSummary,
    /// What was refused.
    pub(super) failures: Vec<IngestFailure>,
    /// From the begin of the stream to its first `completed`.
    pub(super) first: Duration,
    /// From its begin to its end.
    pub(super) whole: Duration,
}

/// How a streamed search went.
#[derive(Debug)]
pub(super) struct Found {
    /// Best first.
    pub(super) hits: Vec<Hit>,
    /// How many the server says there are.
    pub(super) total: u32,
    /// From the call to the first hit.
    pub(super) first: Duration,
    /// From the call to the end.
    pub(super) whole: Duration,
}

impl Client {
    /// Connects.
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let endpoint =
            Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(CONNECT_TIMEOUT);
        Ok(Self { channel: endpoint.connect().await? })
    }

    /// Creates a library with the default embedder.
    pub(super) async fn create_library(&self, name: &str) -> Result<Library, Failure> {
        let request = CreateLibraryRequest { name: name.to_owned(), ..Default::default() };
        let mut libraries = LibraryServiceClient::new(self.channel.clone());
        let reply = libraries.create_library(request).await.map_err(told("CreateLibrary"))?;
        reply.into_inner().library.ok_or_else(|| "CreateLibrary: no library came".into())
    }

    /// Streams documents in; `completed` is called for each that is durable.
    pub(super) async fn ingest(
        &self,
        library: &str,
        documents: impl Stream<Item = DocumentInput> + Send + 'static,
        mut completed: impl FnMut(),
    ) -> Result<Ingested, Failure> {
        use futures::StreamExt as _;
        use stream_ingest_documents_request::Item;
        use stream_ingest_documents_response::Status;

        let header = IngestHeader { library_id: library.to_owned(), ..Default::default() };
        let items = futures::stream::iter([Item::Header(header)])
            .chain(documents.map(Item::Document))
            .map(|item| StreamIngestDocumentsRequest { item: Some(item) });
        let began = Instant::now();
        let (mut first, mut failures) = (None, Vec::new());
        let mut client = DocumentServiceClient::new(self.channel.clone());
        let error = told("StreamIngestDocuments");
        let mut statuses =
            client.stream_ingest_documents(items).await.map_err(&error)?.into_inner();
        while let Some(message) = statuses.message().await.map_err(&error)? {
            match message.status {
                Some(Status::Completed(_)) => {
                    first.get_or_insert_with(|| began.elapsed());
                    completed();
                }
                Some(Status::Failed(failure)) => failures.push(failure),
                Some(Status::Summary(summary)) => {
                    let whole = began.elapsed();
                    let first = first.unwrap_or(whole);
                    return Ok(Ingested { summary, failures, first, whole });
                }
                Some(Status::Processing(_) | Status::Skipped(_)) | None => {}
            }
        }
        Err("StreamIngestDocuments: ended without a summary".into())
    }

    /// Searches with a text and takes all hits.
    pub(super) async fn search(
        &self,
        library: &str,
        query: &str,
        k: u32,
    ) -> Result<Found, Failure> {
        use stream_search_response::Item;

        let request = StreamSearchRequest {
            library_id: library.to_owned(),
            query: Some(query.to_owned()),
            k: Some(k),
            ..Default::default()
        };
        let began = Instant::now();
        let (mut first, mut hits) = (None, Vec::new());
        let mut client = SearchServiceClient::new(self.channel.clone());
        let error = told("StreamSearch");
        let mut items = client.stream_search(request).await.map_err(&error)?.into_inner();
        while let Some(message) = items.message().await.map_err(&error)? {
            match message.item {
                Some(Item::Hit(hit)) => {
                    first.get_or_insert_with(|| began.elapsed());
                    hits.push(hit);
                }
                Some(Item::Complete(complete)) => {
                    let whole = began.elapsed();
                    let (total, first) = (complete.total_results, first.unwrap_or(whole));
                    return Ok(Found { hits, total, first, whole });
                }
                None => {}
            }
        }
        Err("StreamSearch: ended without completion".into())
    }

    /// Begins an export with vectors.
    pub(super) async fn export(&self, library: &str) -> Result<Export, Failure> {
        let request = ExportDocumentsRequest {
            library_id: library.to_owned(),
            include_embeddings: true,
            ..Default::default()
        };
        let mut client = DocumentServiceClient::new(self.channel.clone());
        let reply = client.export_documents(request).await.map_err(told("ExportDocuments"))?;
        Ok(Export { items: reply.into_inner() })
    }

    /// Follows a library's documents and batches from a cursor on.
    pub(super) async fn subscribe(
        &self,
        library: &str,
        cursor: &str,
    ) -> Result<Streaming<SubscribeResponse>, Failure> {
        let types = [EventType::DocumentAdded, EventType::BatchCompleted, EventType::BatchFailed];
        let request = SubscribeRequest {
            library_id: library.to_owned(),
            event_types: types.map(i32::from).to_vec(),
            cursor: cursor.to_owned(),
            ..Default::default()
        };
        let mut client = EventServiceClient::new(self.channel.clone());
        Ok(client.subscribe(request).await.map_err(told("Subscribe"))?.into_inner())
    }
}

/// An export under way.
#[derive(Debug)]
pub(super) struct Export {
    items: Streaming<ExportDocumentsResponse>,
}

/// What an export says next.
#[derive(Debug)]
pub(super) enum Exported {
    /// A document.
    Document(Box<DocumentInput>),
    /// That it is whole.
    Complete(ExportComplete),
}

impl Export {
    /// The next item; an error when the export ends before it is whole.
    pub(super) async fn next(&mut self) -> Result<Exported, Failure> {
        use export_documents_response::Item;

        while let Some(message) = self.items.message().await.map_err(told("ExportDocuments"))? {
            match message.item {
                Some(Item::Document(document)) => return Ok(Exported::Document(document.into())),
                Some(Item::Complete(complete)) => return Ok(Exported::Complete(complete)),
                None => {}
            }
        }
        Err("ExportDocuments: ended without completion".into())
    }
}

/// A failed call as a person wants to read it.
pub(super) fn told(call: &'static str) -> impl Fn(Status) -> Failure {
    move |status| format!("{call}: {:?}: {}", status.code(), status.message()).into()
}
