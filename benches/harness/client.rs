//! Calls over gRPC.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use arrwdb::api::grpc::pb::document_service_client::DocumentServiceClient;
use arrwdb::api::grpc::pb::index_service_client::IndexServiceClient;
use arrwdb::api::grpc::pb::library_service_client::LibraryServiceClient;
use arrwdb::api::grpc::pb::search_service_client::SearchServiceClient;
use arrwdb::api::grpc::pb::{
    CreateDocumentRequest, CreateLibraryRequest, DocumentInput, GetLibraryStatisticsRequest,
    IngestDocumentsRequest, IngestHeader, OptimizeIndexRequest, SearchRequest,
    StreamIngestDocumentsRequest, StreamSearchRequest, ingest_documents_request,
    stream_ingest_documents_request, stream_ingest_documents_response, stream_search_response,
};
use bytes::{Buf, BufMut};
use futures::{Stream, StreamExt};
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::Outcome;
use super::measure::Latencies;

/// One connection.
#[derive(Debug, Clone)]
pub struct Client {
    pub channel: Channel,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Outcome<Self> {
        let channel = Channel::from_shared(format!("http://{address}"))?;
        // Windows as large as what the server may send at once: HTTP/2's own are made for pages.
        let channel = channel
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .tcp_nodelay(true)
            .connect()
            .await?;
        Ok(Self { channel })
    }

    /// Creates a library: with the default embedder, or with vectors that documents bring.
    pub async fn create_library(&self, name: &str, own: Option<usize>) -> Outcome {
        let request = CreateLibraryRequest {
            name: name.to_owned(),
            embedder: own.map_or_else(String::new, |_| "none".to_owned()),
            dimension: own.map(u32::try_from).transpose()?,
            ..CreateLibraryRequest::default()
        };
        LibraryServiceClient::new(self.channel.clone()).create_library(request).await?;
        Ok(())
    }

    /// Streams documents in, is told of each, and gives the time to each `completed`.
    pub async fn stream_in(
        &self,
        library: &str,
        documents: impl Iterator<Item = DocumentInput> + Send + 'static,
    ) -> Outcome<Vec<Duration>> {
        use stream_ingest_documents_request::Item;
        use stream_ingest_documents_response::Status;

        let header = IngestHeader { library_id: library.to_owned(), ..IngestHeader::default() };
        let items = [Item::Header(header)].into_iter().chain(documents.map(Item::Document));
        let items = items.map(|item| StreamIngestDocumentsRequest { item: Some(item) });
        let mut client = DocumentServiceClient::new(self.channel.clone());
        let (began, mut completed) = (Instant::now(), Vec::new());
        let reply = client.stream_ingest_documents(futures::stream::iter(items)).await?;
        let mut statuses = reply.into_inner();
        while let Some(message) = statuses.message().await? {
            match message.status {
                Some(Status::Completed(_)) => completed.push(began.elapsed()),
                Some(Status::Summary(summary)) => {
                    assert_eq!(summary.total_succeeded, completed.len() as u64);
                    assert_eq!(summary.total_failed, 0);
                    return Ok(completed);
                }
                Some(Status::Failed(failure)) => return Err(format!("{failure:?}").into()),
                Some(Status::Processing(_) | Status::Skipped(_)) | None => {}
            }
        }
        Err("the stream ended without a summary".into())
    }

    /// Streams documents in and is told once, at the end.
    pub async fn load(
        &self,
        library: &str,
        documents: impl Iterator<Item = DocumentInput> + Send + 'static,
    ) -> Outcome<u64> {
        self.load_stream(library, futures::stream::iter(documents)).await
    }

    /// The same, so many documents a second.
    pub async fn load_paced(
        &self,
        library: &str,
        documents: impl Iterator<Item = DocumentInput> + Send + 'static,
        rate: usize,
    ) -> Outcome<u64> {
        let began = tokio::time::Instant::now();
        let paced =
            futures::stream::iter(documents.enumerate()).then(move |(n, document)| async move {
                tokio::time::sleep_until(began + Duration::from_secs_f64(n as f64 / rate as f64))
                    .await;
                document
            });
        self.load_stream(library, paced).await
    }

    async fn load_stream(
        &self,
        library: &str,
        documents: impl Stream<Item = DocumentInput> + Send + 'static,
    ) -> Outcome<u64> {
        use ingest_documents_request::Item;
        let header = IngestHeader { library_id: library.to_owned(), ..IngestHeader::default() };
        let header = futures::stream::iter([Item::Header(header)]);
        let items = header.chain(documents.map(Item::Document));
        let items = items.map(|item| IngestDocumentsRequest { item: Some(item) });
        let mut client = DocumentServiceClient::new(self.channel.clone());
        let summary = client.ingest_documents(items).await?.into_inner();
        if summary.total_failed > 0 {
            return Err(format!("refused: {:?}", summary.failures.first()).into());
        }
        Ok(summary.total_succeeded)
    }

    pub async fn create(&self, library: &str, document: DocumentInput) -> Outcome {
        let request = CreateDocumentRequest {
            library_id: library.to_owned(),
            document: Some(document),
            request_id: String::new(),
        };
        DocumentServiceClient::new(self.channel.clone()).create_document(request).await?;
        Ok(())
    }

    /// Makes its index as good as it gets.
    pub async fn optimize(&self, library: &str) -> Outcome {
        let request = OptimizeIndexRequest { library_id: library.to_owned() };
        IndexServiceClient::new(self.channel.clone()).optimize_index(request).await?;
        Ok(())
    }

    /// Memory of a library's index.
    pub async fn index_mb(&self, library: &str) -> Outcome<f64> {
        let request = GetLibraryStatisticsRequest {
            library_id: library.to_owned(),
            ..GetLibraryStatisticsRequest::default()
        };
        let mut client = LibraryServiceClient::new(self.channel.clone());
        let statistics = client.get_library_statistics(request).await?.into_inner();
        Ok(statistics.index_bytes as f64 / 1024.0 / 1024.0)
    }

    /// Searches again and again, one after the other, for ten hits with their texts.
    pub async fn search(&self, queries: &[SearchRequest], count: usize) -> Outcome<Latencies> {
        let mut client = SearchServiceClient::new(self.channel.clone());
        let mut latencies = Latencies::default();
        for query in queries.iter().cycle().take(count) {
            let began = Instant::now();
            let reply = client.search(query.clone()).await?.into_inner();
            latencies.add(began.elapsed());
            assert_eq!(reply.results.len(), 10, "fewer hits than asked for");
        }
        Ok(latencies)
    }

    /// A streamed search: the time to its first hit and to its end.
    pub async fn stream_search(
        &self,
        request: StreamSearchRequest,
    ) -> Outcome<(Duration, Duration)> {
        use stream_search_response::Item;
        let (k, began, mut first, mut hits) = (request.k, Instant::now(), None, 0);
        let mut client = SearchServiceClient::new(self.channel.clone());
        let mut items = client.stream_search(request).await?.into_inner();
        while let Some(message) = items.message().await? {
            match message.item {
                Some(Item::Hit(_)) => {
                    first.get_or_insert_with(|| began.elapsed());
                    hits += 1;
                }
                Some(Item::Complete(_)) => {
                    let whole = began.elapsed();
                    assert_eq!(Some(hits), k, "fewer hits than asked for");
                    return Ok((first.unwrap_or(whole), whole));
                }
                None => {}
            }
        }
        Err("the search ended without complete".into())
    }

    /// A streaming rpc whose messages are counted, not decoded: a client that costs little leaves
    /// the machine to the server.
    pub async fn uncooked<M: Message + 'static>(
        &self,
        path: &'static str,
        request: M,
    ) -> Outcome<Streaming<usize>> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = Lengths(PhantomData);
        Ok(grpc.server_streaming(Request::new(request), path, codec).await?.into_inner())
    }
}

/// Encodes messages, and decodes them to their length.
struct Lengths<M>(PhantomData<M>);

impl<M: Message + 'static> Codec for Lengths<M> {
    type Encode = M;
    type Decode = usize;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        Self(PhantomData)
    }
}

impl<M: Message> Encoder for Lengths<M> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, item: M, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item.encode_to_vec());
        Ok(())
    }
}

impl<M> Decoder for Lengths<M> {
    type Item = usize;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<usize>, Status> {
        let length = buffer.remaining();
        buffer.advance(length);
        Ok(Some(length))
    }
}
