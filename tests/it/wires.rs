//! An ingest stream as a client has it, on any wire: one script drives all three.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use arrwdb::api::grpc::pb;
use arrwdb::api::grpc::pb::document_service_client::DocumentServiceClient;
use arrwdb::api::grpc::pb::stream_ingest_documents_request::Item as PbItem;
use arrwdb::api::grpc::pb::stream_ingest_documents_response::Status as PbStatus;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::rawhttp;

/// How long one reply may take before it counts as stuck: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for what must come.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let within = tokio::time::timeout(PATIENCE, future).await;
    within.unwrap_or_else(|_| panic!("never came: {what}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Http1,
    Http2,
    Grpc,
}

pub const WIRES: [Wire; 3] = [Wire::Http1, Wire::Http2, Wire::Grpc];

/// A document to send.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Item {
    pub id: String,
    pub title: String,
    pub chunks: Vec<(String, Vec<f32>)>,
}

impl Item {
    /// A document of one chunk.
    pub fn of_one(id: impl Into<String>, title: &str, text: &str, vector: &[f32]) -> Self {
        let chunks = vec![(text.to_owned(), vector.to_vec())];
        Self { id: id.into(), title: title.to_owned(), chunks }
    }

    /// As a line of NDJSON, with its end.
    pub fn line(&self) -> String {
        let chunk =
            |(text, vector): &(String, Vec<f32>)| json!({"text": text, "embedding": vector});
        let chunks: Vec<_> = self.chunks.iter().map(chunk).collect();
        format!("{}\n", json!({"id": self.id, "title": self.title, "chunks": chunks}))
    }

    fn message(&self) -> pb::StreamIngestDocumentsRequest {
        let chunk = |(text, vector): &(String, Vec<f32>)| pb::ChunkInput {
            text: text.clone(),
            embedding: vector.clone(),
            ..Default::default()
        };
        message(pb::DocumentInput {
            id: self.id.clone(),
            title: self.title.clone(),
            chunks: self.chunks.iter().map(chunk).collect(),
            ..Default::default()
        })
    }
}

/// A message that holds a document.
pub fn message(document: pb::DocumentInput) -> pb::StreamIngestDocumentsRequest {
    pb::StreamIngestDocumentsRequest { item: Some(PbItem::Document(document)) }
}

/// What a client is told, the same for all wires.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Processing {
        position: u64,
    },
    Completed {
        position: u64,
        id: String,
        num_chunks: u64,
        revision: u64,
    },
    Skipped {
        position: u64,
        id: String,
    },
    Failed {
        position: u64,
        title: String,
        slug: String,
        detail: String,
    },
    Summary {
        batch_id: String,
        counts: Counts,
        revision: u64,
    },
    /// The stream itself failed.
    Broken {
        slug: String,
        detail: String,
    },
}

/// What became of the items of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub processed: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub skipped: u64,
    pub chunks: u64,
}

/// A client's runtime of its own: when that goes, the client is gone, without a farewell.
#[derive(Debug)]
struct Machine(Option<tokio::runtime::Runtime>);

impl Machine {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(Some(builder.worker_threads(1).enable_all().build().expect("a runtime")))
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let runtime = self.0.as_ref().expect("runs until it is dropped");
        runtime.spawn(work).await.expect("no panic")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The half that sends.
#[derive(Debug)]
pub enum IngestSender {
    Http1(rawhttp::Sender),
    Http2(mpsc::Sender<io::Result<Bytes>>),
    Grpc(mpsc::Sender<pb::StreamIngestDocumentsRequest>),
}

/// The half that is told. It holds the connection.
pub struct IngestReceiver {
    replies: Replies,
    _machine: Option<Machine>,
}

enum Replies {
    Http1(Box<rawhttp::Receiver>),
    Http2(futures::stream::BoxStream<'static, reqwest::Result<Bytes>>, BytesMut),
    Grpc(Box<tonic::Streaming<pb::StreamIngestDocumentsResponse>>),
}

/// Why a stream could not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotBegun {
    /// The server refused, with this slug.
    Refused(String),
    /// There is no server, or it left.
    Disconnected,
}

/// Begins an ingest stream. `skip` leaves documents that exist; otherwise they are replaced.
pub async fn begin(
    wire: Wire,
    address: SocketAddr,
    library: &str,
    skip: bool,
) -> Result<(IngestSender, IngestReceiver), NotBegun> {
    let gone = |_| NotBegun::Disconnected;
    let on_conflict = if skip { "skip" } else { "replace" };
    let path = format!("/v1/libraries/{library}/documents/stream?on_conflict={on_conflict}");
    match wire {
        Wire::Http1 => {
            let (sender, mut receiver) =
                rawhttp::begin(address, "POST", &path).await.map_err(|_| NotBegun::Disconnected)?;
            // The status line comes back before the body goes out: that is full duplex.
            let status = soon("the status line", receiver.status()).await;
            if status.map_err(|_| NotBegun::Disconnected)? != 200 {
                return Err(NotBegun::Refused(problem_slug(&collect(&mut receiver).await)));
            }
            let replies = Replies::Http1(Box::new(receiver));
            Ok((IngestSender::Http1(sender), IngestReceiver { replies, _machine: None }))
        }
        Wire::Http2 => {
            let machine = Machine::new();
            let (sender, pieces) = mpsc::channel(4);
            let url = format!("http://{address}{path}");
            let answer = machine.run(async move {
                let client = reqwest::Client::builder().http2_prior_knowledge().build();
                let body = reqwest::Body::wrap_stream(ReceiverStream::new(pieces));
                client.expect("a client").post(url).body(body).send().await
            });
            let answer = soon("the answer's head", answer).await.map_err(gone)?;
            if answer.status() != 200 {
                let problem = answer.bytes().await.map_err(gone)?;
                return Err(NotBegun::Refused(problem_slug(&problem)));
            }
            let replies = Replies::Http2(answer.bytes_stream().boxed(), BytesMut::new());
            Ok((IngestSender::Http2(sender), IngestReceiver { replies, _machine: Some(machine) }))
        }
        Wire::Grpc => {
            let machine = Machine::new();
            let (sender, messages) = mpsc::channel(64);
            let on_conflict =
                if skip { pb::OnConflict::Skip } else { pb::OnConflict::Replace }.into();
            let header =
                pb::IngestHeader { library_id: library.to_owned(), on_conflict, report: 0 };
            let header = pb::StreamIngestDocumentsRequest { item: Some(PbItem::Header(header)) };
            sender.send(header).await.expect("room");
            let answer = machine.run(async move {
                let channel = Channel::from_shared(format!("http://{address}")).expect("a URL");
                let channel = channel.connect().await.map_err(|_| NotBegun::Disconnected)?;
                let mut client = DocumentServiceClient::new(channel);
                let answer = client.stream_ingest_documents(ReceiverStream::new(messages)).await;
                answer.map_err(|status| not_begun(&status))
            });
            let replies = soon("the answer's head", answer).await?.into_inner();
            let replies = Replies::Grpc(Box::new(replies));
            Ok((IngestSender::Grpc(sender), IngestReceiver { replies, _machine: Some(machine) }))
        }
    }
}

/// The same for a stream that must begin.
pub async fn ingest(
    wire: Wire,
    address: SocketAddr,
    library: &str,
    skip: bool,
) -> (IngestSender, IngestReceiver) {
    begin(wire, address, library, skip).await.expect("it may begin")
}

async fn collect(receiver: &mut rawhttp::Receiver) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(piece) = receiver.piece().await.expect("a whole answer") {
        body.extend_from_slice(&piece);
    }
    body
}

fn problem_slug(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).expect("a problem");
    let kind = problem["type"].as_str().expect("a type");
    kind.strip_prefix("urn:arrwdb:error:").expect("ours").to_owned()
}

/// The slug of a gRPC error; `None` for one that the server did not send: a lost connection.
pub fn status_slug(status: &tonic::Status) -> Option<String> {
    let info = status.get_details_error_info()?;
    Some(info.reason.to_ascii_lowercase().replace('_', "-"))
}

fn not_begun(status: &tonic::Status) -> NotBegun {
    status_slug(status).map_or(NotBegun::Disconnected, NotBegun::Refused)
}

/// The connection ended while the client was still sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnected;

impl IngestSender {
    pub async fn try_send(&mut self, item: &Item) -> Result<(), Disconnected> {
        match self {
            Self::Http1(_) | Self::Http2(_) => self.try_send_lines(item.line()).await,
            Self::Grpc(messages) => messages.send(item.message()).await.map_err(|_| Disconnected),
        }
    }

    pub async fn send(&mut self, item: &Item) {
        soon("room for an item", self.try_send(item)).await.expect("the server is there");
    }

    /// Sends items, over HTTP many lines at once.
    pub async fn send_all(&mut self, items: impl IntoIterator<Item = Item>) {
        match self {
            Self::Grpc(_) => {
                for item in items {
                    self.send(&item).await;
                }
            }
            Self::Http1(_) | Self::Http2(_) => {
                let mut lines = String::new();
                for item in items {
                    lines.push_str(&item.line());
                    if lines.len() >= 64 << 10 {
                        self.send_lines(std::mem::take(&mut lines)).await;
                    }
                }
                self.send_lines(lines).await;
            }
        }
    }

    /// Sends bytes of lines; over HTTP only.
    pub async fn send_lines(&mut self, lines: impl Into<Bytes>) {
        let sent = soon("room for lines", self.try_send_lines(lines)).await;
        sent.expect("the server is there");
    }

    async fn try_send_lines(&mut self, lines: impl Into<Bytes>) -> Result<(), Disconnected> {
        let lines = lines.into();
        match self {
            Self::Http1(sender) => sender.send(&lines).await.map_err(|_| Disconnected),
            Self::Http2(pieces) => pieces.send(Ok(lines)).await.map_err(|_| Disconnected),
            Self::Grpc(_) => panic!("gRPC has no lines"),
        }
    }

    /// Sends a message as it is; over gRPC only.
    pub async fn send_message(&mut self, message: pb::StreamIngestDocumentsRequest) {
        let Self::Grpc(messages) = self else { panic!("HTTP has no messages") };
        soon("room for a message", messages.send(message)).await.expect("the server is there");
    }

    /// Says that nothing follows. Keep what comes back until the replies are read.
    pub async fn finish(self) -> Option<rawhttp::Sender> {
        self.try_finish().await.expect("the server is there")
    }

    pub async fn try_finish(self) -> Result<Option<rawhttp::Sender>, Disconnected> {
        match self {
            Self::Http1(sender) => sender.finish().await.map(Some).map_err(|_| Disconnected),
            Self::Http2(_) | Self::Grpc(_) => Ok(None),
        }
    }
}

/// The client vanishes: its socket closes, and nothing says whether more was to come.
pub async fn vanish(sender: IngestSender, receiver: IngestReceiver) {
    drop(receiver);
    match sender {
        IngestSender::Http1(_) => {}
        // Dropped before its connection is gone it would say that nothing follows.
        IngestSender::Http2(pieces) => soon("the end of the connection", pieces.closed()).await,
        IngestSender::Grpc(messages) => soon("the end of the connection", messages.closed()).await,
    }
}

impl IngestReceiver {
    /// The next reply; `None` at the proper end.
    pub async fn next(&mut self) -> Option<Told> {
        self.try_next().await.expect("the server is there")
    }

    /// The next reply, from a server that may vanish.
    pub async fn try_next(&mut self) -> Result<Option<Told>, Disconnected> {
        soon("a reply", self.read()).await
    }

    async fn read(&mut self) -> Result<Option<Told>, Disconnected> {
        match &mut self.replies {
            Replies::Http1(receiver) => {
                let line = receiver.line().await.map_err(|_| Disconnected)?;
                Ok(line.map(|line| told(&line)))
            }
            Replies::Http2(pieces, lines) => loop {
                if let Some(line) = rawhttp::cut_line(lines) {
                    return Ok(Some(told(&line)));
                }
                match pieces.next().await {
                    Some(piece) => lines.extend_from_slice(&piece.map_err(|_| Disconnected)?),
                    None if lines.is_empty() => return Ok(None),
                    None => return Err(Disconnected),
                }
            },
            Replies::Grpc(messages) => match messages.message().await {
                Ok(message) => Ok(message.map(told_by_grpc)),
                Err(status) => {
                    let slug = status_slug(&status).ok_or(Disconnected)?;
                    Ok(Some(Told::Broken { slug, detail: status.message().to_owned() }))
                }
            },
        }
    }

    /// Reads on to the end: the replies that are not `processing`, and then nothing.
    pub async fn rest(&mut self) -> Vec<Told> {
        let mut rest = Vec::new();
        while let Some(told) = self.next().await {
            if !matches!(told, Told::Processing { .. }) {
                rest.push(told);
            }
        }
        rest
    }
}

fn told(line: &[u8]) -> Told {
    let line: Value = serde_json::from_slice(line).expect("a line of JSON");
    let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{name} in {line}"));
    let text =
        |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text in {line}")).to_owned();
    let revision = || text(&line["revision"]).parse().expect("a number");
    let (slug, detail) = (&line["error"]["type"], &line["error"]["detail"]);
    match line["status"].as_str() {
        Some("processing") => Told::Processing { position: number("line") },
        Some("completed") => Told::Completed {
            position: number("line"),
            id: text(&line["id"]),
            num_chunks: number("num_chunks"),
            revision: revision(),
        },
        Some("skipped") => Told::Skipped { position: number("line"), id: text(&line["id"]) },
        Some("failed") => Told::Failed {
            position: number("line"),
            title: text(&line["title"]),
            slug: text(slug),
            detail: text(detail),
        },
        Some("summary") => Told::Summary {
            batch_id: text(&line["batch_id"]),
            counts: Counts {
                processed: number("total_processed"),
                succeeded: number("total_succeeded"),
                failed: number("total_failed"),
                skipped: number("total_skipped"),
                chunks: number("total_chunks"),
            },
            revision: revision(),
        },
        Some("error") => Told::Broken { slug: text(slug), detail: text(detail) },
        _ => panic!("no status known to the test: {line}"),
    }
}

fn told_by_grpc(message: pb::StreamIngestDocumentsResponse) -> Told {
    match message.status.expect("a status") {
        PbStatus::Processing(status) => Told::Processing { position: status.position },
        PbStatus::Completed(status) => Told::Completed {
            position: status.position,
            id: status.id,
            num_chunks: status.num_chunks.into(),
            revision: status.revision,
        },
        PbStatus::Skipped(status) => Told::Skipped { position: status.position, id: status.id },
        PbStatus::Failed(status) => {
            let error = status.error.expect("an error");
            Told::Failed {
                position: status.position,
                title: status.title,
                slug: error.slug,
                detail: error.detail,
            }
        }
        PbStatus::Summary(status) => Told::Summary {
            batch_id: status.batch_id,
            counts: Counts {
                processed: status.total_processed,
                succeeded: status.total_succeeded,
                failed: status.total_failed,
                skipped: status.total_skipped,
                chunks: status.total_chunks,
            },
            revision: status.revision,
        },
    }
}
