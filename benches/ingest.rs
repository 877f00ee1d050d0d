//! Durable ingest: how fast documents become searchable, what that costs and where.
//! `cargo bench --bench ingest`; `ARRWDB_BENCH_DOCUMENTS` documents (20 000).
//!
//! fsync is on. Texts are those of `examples/corpus`, embedded by the model that the server has
//! built in; a document that a client was told of is durable and searchable.

mod harness;

use std::time::Duration;

use arrwdb::api::grpc::pb::DocumentInput;
use harness::client::Client;
use harness::http::Connection;
use harness::measure::{Latencies, Span, Used, millis, row};
use harness::server::Server;
use harness::{Outcome, corpus, runtime, setting, vectors};

const STREAMS: usize = 16;

fn main() -> Outcome {
    let count = setting("ARRWDB_BENCH_DOCUMENTS", 20_000);
    let texts = corpus::documents(count);
    let own = corpus::with_vectors(1, count);
    println!("durable ingest of {count} documents, fsync on; processor time is a document's");
    let runtime = runtime(2);
    for (what, documents) in [("2 texts, embedded here", &texts), ("own vector of 256", &own)] {
        runtime.block_on(one_stream(what, documents))?;
        one_upload(what, documents)?;
    }
    runtime.block_on(with_words(&own))?;
    runtime.block_on(many_streams(&texts))?;
    posts(&texts[..count / 2])?;
    runtime.block_on(creates(&texts[..count / 2]))?;
    memory(&runtime)
}

/// A server with a library `docs`, for texts or for vectors.
async fn server(documents: &[DocumentInput]) -> Outcome<(Server, Client)> {
    let server = Server::start();
    let client = Client::connect(server.address).await?;
    let brings = documents.iter().any(|document| !document.chunks.is_empty());
    client.create_library("docs", brings.then_some(vectors::DIMENSION)).await?;
    Ok((server, client))
}

fn tell(what: &str, used: &Used, count: usize) {
    row(what, format!("{} docs/s", used.rate(count)), used.cost(count));
    println!("      server: {}", used.by_thread(count));
}

async fn one_stream(what: &str, documents: &[DocumentInput]) -> Outcome {
    let (server, client) = server(documents).await?;
    stream(&server, &client, what, documents).await
}

/// Own vectors, in a library that has an index of words besides.
async fn with_words(documents: &[DocumentInput]) -> Outcome {
    let server = Server::start();
    let client = Client::connect(server.address).await?;
    client.create_library("docs", None).await?;
    stream(&server, &client, "own vector of 256, and words", documents).await
}

async fn stream(
    server: &Server,
    client: &Client,
    what: &str,
    documents: &[DocumentInput],
) -> Outcome {
    let count = documents.len();
    let items = documents.to_vec();
    let span = Span::begin(server);
    let completed = client.stream_in("docs", items.into_iter()).await?;
    let used = span.end(server);
    tell(&format!("1 gRPC stream, {what}"), &used, count);
    let first = completed.first().copied().unwrap_or(Duration::ZERO);
    println!("      first `completed` after {}", millis(first).trim_start());
    Ok(())
}

fn one_upload(what: &str, documents: &[DocumentInput]) -> Outcome {
    let (server, _) = runtime(1).block_on(server(documents))?;
    let count = documents.len();
    let lines: Vec<String> = documents.iter().map(corpus::line).collect();
    let connection = Connection::connect(server.address)?;
    let span = Span::begin(&server);
    let (status, reply) =
        connection.upload("/v1/libraries/docs/documents/stream", lines.into_iter())?;
    let used = span.end(&server);
    let summary = format!("\"total_succeeded\":{count},");
    let reply = String::from_utf8(reply)?;
    let last = reply.lines().last().unwrap_or_default();
    assert!(status == 200 && last.contains(&summary), "{status}: {last}");
    tell(&format!("1 NDJSON upload, {what}"), &used, count);
    Ok(())
}

async fn many_streams(documents: &[DocumentInput]) -> Outcome {
    let (server, _) = server(documents).await?;
    let count = documents.len();
    let mut streams = Vec::new();
    for part in documents.chunks(count.div_ceil(STREAMS)) {
        let (client, part) = (Client::connect(server.address).await?, part.to_vec());
        streams.push(async move { client.stream_in("docs", part.into_iter()).await });
    }
    let span = Span::begin(&server);
    let done = futures::future::try_join_all(streams.into_iter().map(tokio::spawn)).await?;
    let used = span.end(&server);
    done.into_iter().collect::<Outcome<Vec<_>>>()?;
    tell(&format!("{STREAMS} gRPC streams, 2 texts"), &used, count);
    Ok(())
}

/// One document a request from connections that each wait for their reply.
fn posts(documents: &[DocumentInput]) -> Outcome {
    let (server, _) = runtime(1).block_on(server(documents))?;
    let count = documents.len();
    let bodies: Vec<String> = documents.iter().map(corpus::line).collect();
    let post = |bodies: &[String]| -> Outcome<Latencies> {
        let mut connection = Connection::connect(server.address)?;
        let mut latencies = Latencies::default();
        for body in bodies {
            let began = std::time::Instant::now();
            let (status, reply) = connection.post("/v1/libraries/docs/documents", body)?;
            latencies.add(began.elapsed());
            assert_eq!(status, 201, "{}", String::from_utf8_lossy(&reply));
        }
        Ok(latencies)
    };
    let span = Span::begin(&server);
    let mut latencies = Latencies::default();
    std::thread::scope(|scope| {
        let parts = bodies.chunks(count.div_ceil(STREAMS));
        let clients: Vec<_> = parts.map(|part| scope.spawn(move || post(part))).collect();
        for client in clients {
            latencies.append(client.join().expect("no panic")?);
        }
        Outcome::Ok(())
    })?;
    let used = span.end(&server);
    tell(&format!("POST, HTTP/1.1, {STREAMS} connections, 2 texts"), &used, count);
    println!("      a request: {}", latencies.summary());
    Ok(())
}

async fn creates(documents: &[DocumentInput]) -> Outcome {
    let (server, _) = server(documents).await?;
    let count = documents.len();
    let mut clients = Vec::new();
    for part in documents.chunks(count.div_ceil(STREAMS)) {
        let (client, part) = (Client::connect(server.address).await?, part.to_vec());
        clients.push(async move {
            let mut latencies = Latencies::default();
            for document in part {
                let began = std::time::Instant::now();
                client.create("docs", document).await?;
                latencies.add(began.elapsed());
            }
            Outcome::Ok(latencies)
        });
    }
    let span = Span::begin(&server);
    let done = futures::future::try_join_all(clients.into_iter().map(tokio::spawn)).await?;
    let used = span.end(&server);
    let mut latencies = Latencies::default();
    for part in done {
        latencies.append(part?);
    }
    tell(&format!("CreateDocument, {STREAMS} connections, 2 texts"), &used, count);
    println!("      a request: {}", latencies.summary());
    Ok(())
}

/// One upload of many documents of about a kilobyte, with small vectors so that what grows is not
/// the index. The client reads nothing until it has sent all.
fn memory(runtime: &tokio::runtime::Runtime) -> Outcome {
    const PARTS: usize = 5;
    let part = setting("ARRWDB_BENCH_MEMORY_DOCUMENTS", 100_000) / PARTS;
    let server = Server::start();
    let client = runtime.block_on(Client::connect(server.address))?;
    runtime.block_on(client.create_library("docs", Some(corpus::SMALL_DIMENSION)))?;
    println!("memory of the server in one upload of {} documents of 1 kB", PARTS * part);
    row("before", format!("{:.0} MB", server.resident_mb()), "");
    let text = "x".repeat(1_000);
    // Runs as the lines are wanted, that is as they are sent.
    let lines = (0..PARTS).flat_map(|number| {
        if number > 0 {
            row(
                &format!("{} documents sent", number * part),
                format!("{:.0} MB", server.resident_mb()),
                format!("peak {:.0} MB", server.peak_mb()),
            );
            server.forget_peak();
        }
        let documents = corpus::small_with_text(number * part, part, &text);
        documents.map(|document| corpus::line(&document))
    });
    let connection = Connection::connect(server.address)?;
    connection.upload("/v1/libraries/docs/documents/stream", lines)?;
    let index = runtime.block_on(client.index_mb("docs"))?;
    row(
        &format!("{} documents, done", PARTS * part),
        format!("{:.0} MB", server.resident_mb()),
        format!("peak {:.0} MB, of it index {index:.0} MB", server.peak_mb()),
    );
    Ok(())
}
