//! Export of a whole library: documents a second, the first byte, memory.
//! `cargo bench --bench export`; `ARRWDB_BENCH_DOCUMENTS` documents (50 000) of two texts each.
//!
//! The clients count what comes and do not decode it: they are to cost less than the server.

mod harness;

use std::time::{Duration, Instant};

use arrwdb::api::grpc::pb::ExportDocumentsRequest;
use harness::client::Client;
use harness::http::Connection;
use harness::measure::{Span, grouped, millis, row};
use harness::server::Server;
use harness::{Outcome, corpus, runtime, setting};

const LIBRARY: &str = "docs";

fn main() -> Outcome {
    let count = setting("ARRWDB_BENCH_DOCUMENTS", 50_000);
    let runtime = runtime(1);
    let server = Server::start();
    let client = runtime.block_on(Client::connect(server.address))?;
    runtime.block_on(client.create_library(LIBRARY, None))?;
    runtime.block_on(client.load(LIBRARY, corpus::documents(count).into_iter()))?;
    println!("export of {} documents of 2 texts", grouped(count as f64));
    for embeddings in [false, true] {
        for round in 1..=2 {
            let span = Measured::begin(&server);
            let (first, bytes) = runtime.block_on(by_grpc(&client, embeddings, count))?;
            span.tell("gRPC", embeddings, round, first, bytes, count);
        }
        for round in 1..=2 {
            let span = Measured::begin(&server);
            let (first, bytes) = by_http(&server, embeddings, count)?;
            span.tell("NDJSON", embeddings, round, first, bytes, count);
        }
    }
    Ok(())
}

struct Measured<'a> {
    server: &'a Server,
    before_mb: f64,
    span: Span,
}

impl<'a> Measured<'a> {
    fn begin(server: &'a Server) -> Self {
        server.forget_peak();
        Self { server, before_mb: server.resident_mb(), span: Span::begin(server) }
    }

    fn tell(
        self,
        what: &str,
        embeddings: bool,
        round: usize,
        first: Duration,
        bytes: usize,
        count: usize,
    ) {
        let used = self.span.end(self.server);
        let with = if embeddings { "with vectors" } else { "texts" };
        row(
            &format!("{what}, {with}, round {round}"),
            format!("{} docs/s", used.rate(count)),
            format!(
                "first byte {}, {:.0} MB/s; memory {:.0} MB, peak {:+.1} MB; {}",
                millis(first).trim_start(),
                bytes as f64 / 1e6 / used.wall.as_secs_f64(),
                self.before_mb,
                self.server.peak_mb() - self.before_mb,
                used.cost(count)
            ),
        );
    }
}

async fn by_grpc(client: &Client, embeddings: bool, count: usize) -> Outcome<(Duration, usize)> {
    let began = Instant::now();
    let request = ExportDocumentsRequest {
        library_id: LIBRARY.to_owned(),
        include_embeddings: embeddings,
        ..ExportDocumentsRequest::default()
    };
    let path = "/arrwdb.v1.DocumentService/ExportDocuments";
    let mut messages = client.uncooked(path, request).await?;
    let (mut first, mut bytes, mut documents) = (None, 0, 0);
    while let Some(length) = messages.message().await? {
        first.get_or_insert_with(|| began.elapsed());
        bytes += length;
        documents += 1;
    }
    // The last message is `complete`.
    assert_eq!(documents, count + 1, "documents are missing");
    Ok((first.unwrap_or_default(), bytes))
}

fn by_http(server: &Server, embeddings: bool, count: usize) -> Outcome<(Duration, usize)> {
    let began = Instant::now();
    let mut connection = Connection::connect(server.address)?;
    let (mut first, mut bytes, mut lines) = (None, 0, 0);
    let path = format!("/v1/libraries/{LIBRARY}/documents/stream?include_embeddings={embeddings}");
    let status = connection.get_pieces(&path, |piece| {
        first.get_or_insert_with(|| began.elapsed());
        bytes += piece.len();
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
    })?;
    assert_eq!((status, lines), (200, count + 1), "documents are missing");
    Ok((first.unwrap_or_default(), bytes))
}
