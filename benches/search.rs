//! Search over gRPC: latency with one client, queries a second from eight, the first hit of a
//! streamed search beside the whole, a write at a time, searches beside an ingest, text queries, and
//! filters that let through shares of the rows. `cargo bench --bench search`;
//! `ARRWDB_BENCH_ROWS=1000000` for other sizes, separated by commas; `ARRWDB_BENCH_ONLY=filters` or
//! `=sizes` for a part. `benches/growth.py` draws its output.
//!
//! Rows have vectors of 256 numbers and a text; a search asks for ten hits with their texts. The
//! eight clients have a connection each and share one thread, so that the server is not starved.

#[path = "search/filters.rs"]
mod filters;
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrwdb::api::grpc::pb::{SearchMode, SearchRequest, StreamSearchRequest};
use harness::client::Client;
use harness::measure::{Latencies, Span, grouped, row};
use harness::server::Server;
use harness::vectors::{DIMENSION, Mixture};
use harness::{Outcome, corpus, runtime, setting};

const CLIENTS: usize = 8;
/// Rows that are made and sent at a time.
const PART_ROWS: usize = 50_000;
/// How long is searched beside a paced ingest, and beside one at full speed.
const PACED: Duration = Duration::from_secs(8);
const UNPACED: Duration = Duration::from_secs(3);
const LIBRARY: &str = "rows";

fn main() -> Outcome {
    let sizes = std::env::var("ARRWDB_BENCH_ROWS").unwrap_or("10000,20000,100000".to_owned());
    let runtime = runtime(1);
    let only = std::env::var("ARRWDB_BENCH_ONLY").unwrap_or_default();
    for rows in sizes.split(',') {
        if only != "filters" {
            runtime.block_on(sized(rows.trim().parse()?))?;
        }
        if only != "sizes" {
            runtime.block_on(filters::sized(rows.trim().parse()?))?;
        }
    }
    if only.is_empty() { runtime.block_on(by_text()) } else { Ok(()) }
}

async fn sized(rows: usize) -> Outcome {
    let server = Server::start();
    let client = Client::connect(server.address).await?;
    client.create_library(LIBRARY, Some(DIMENSION)).await?;
    let empty = server.resident_mb();
    println!("{} rows of {DIMENSION}, k = 10", grouped(rows as f64));
    // In parts, so that this process does not hold a million vectors.
    for (seed, from) in (0..rows).step_by(PART_ROWS).enumerate() {
        let part = corpus::with_vectors(seed as u64, (rows - from).min(PART_ROWS));
        let (count, span) = (part.len(), Span::begin(&server));
        client.load(LIBRARY, part.into_iter()).await?;
        let used = span.end(&server);
        if from == 0 || from + count == rows {
            row(
                "one stream",
                format!("{} docs/s", used.rate(count)),
                format!("{} rows before", grouped(from as f64)),
            );
        }
    }
    let queries = queries();
    let mut coming = client.search(&queries, 100).await?;
    row("1 client, just after", coming.summary(), "");
    let span = Span::begin(&server);
    client.optimize(LIBRARY).await?;
    let took = span.end(&server).wall;
    row("optimize", format!("{:.1} s", took.as_secs_f64()), "");
    row(
        "memory",
        format!("{:.0} MB", server.resident_mb()),
        format!("empty {empty:.0} MB, index {:.0} MB", client.index_mb(LIBRARY).await?),
    );
    client.search(&queries, 200).await?;
    one(&server, &client, &queries, 2_000, "1 client").await?;
    let exact: Vec<SearchRequest> =
        queries.iter().map(|query| SearchRequest { exact: true, ..query.clone() }).collect();
    // About a second's worth, whatever the size.
    let count = (20_000_000 / rows).clamp(50, 2_000);
    one(&server, &client, &exact, count, "1 client, exact").await?;
    many(&server, &queries, 1_000).await?;
    streamed(&client, &queries).await?;
    writes(&server, &client).await?;
    for ingest in [
        Ingest::Vectors(Some(1_000)),
        Ingest::Vectors(Some(5_000)),
        Ingest::Vectors(None),
        Ingest::Texts,
    ] {
        beside_ingest(&server, &client, &queries, ingest).await?;
    }
    Ok(())
}

/// One document at a time.
async fn writes(server: &Server, client: &Client) -> Outcome {
    let (documents, mut latencies) = (corpus::with_vectors(88, 500), Latencies::default());
    let (count, span) = (documents.len(), Span::begin(server));
    for document in documents {
        let began = Instant::now();
        client.create(LIBRARY, document).await?;
        latencies.add(began.elapsed());
    }
    let used = span.end(server);
    row("a write at a time", latencies.summary(), used.cost(count));
    Ok(())
}

fn queries() -> Vec<SearchRequest> {
    let request = |embedding| SearchRequest {
        library_id: LIBRARY.to_owned(),
        embedding,
        k: Some(10),
        ..SearchRequest::default()
    };
    Mixture::new().draw(1_000_000, 500).into_iter().map(request).collect()
}

async fn one(
    server: &Server,
    client: &Client,
    queries: &[SearchRequest],
    count: usize,
    what: &str,
) -> Outcome {
    let span = Span::begin(server);
    let mut latencies = client.search(queries, count).await?;
    let used = span.end(server);
    row(what, latencies.summary(), format!("{}/s; {}", used.rate(count), used.cost(count)));
    Ok(())
}

async fn many(server: &Server, queries: &[SearchRequest], count: usize) -> Outcome {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = Client::connect(server.address).await?;
        let mut queries = queries.to_vec();
        queries.rotate_left(number * 50);
        clients.push(async move { client.search(&queries, count).await });
    }
    let span = Span::begin(server);
    let mut latencies = Latencies::default();
    for part in futures::future::try_join_all(clients).await? {
        latencies.append(part);
    }
    let used = span.end(server);
    let all = latencies.len();
    row(
        &format!("{CLIENTS} clients"),
        latencies.summary(),
        format!("{}/s; {}", used.rate(all), used.cost(all)),
    );
    Ok(())
}

/// What is written while somebody searches.
#[derive(Debug, Clone, Copy)]
enum Ingest {
    /// Vectors into the library that is searched, so many documents a second, or all that go.
    Vectors(Option<usize>),
    /// Texts into another library, as fast as it goes.
    Texts,
}

/// What one client sees while a stream writes.
async fn beside_ingest(
    server: &Server,
    client: &Client,
    queries: &[SearchRequest],
    ingest: Ingest,
) -> Outcome {
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (library, documents, rate) = match ingest {
        Ingest::Vectors(rate) => (LIBRARY, corpus::with_vectors(77, 40_000), rate),
        Ingest::Texts => ("texts", corpus::documents(5_000), None),
    };
    if library != LIBRARY {
        client.create_library(library, None).await?;
    }
    let (stopping, sending) = (Arc::clone(&stop), Arc::clone(&sent));
    // The same documents over and over, as new ones.
    let endless = (0..)
        .map(move |n: usize| {
            let mut document = documents[n % documents.len()].clone();
            document.id = format!("more-{}-{n}", rate.unwrap_or_default());
            sending.store(n, Ordering::Relaxed);
            document
        })
        .take_while(move |_| !stopping.load(Ordering::Relaxed));
    let writer = Client::connect(server.address).await?;
    let writing = std::thread::spawn(move || {
        runtime(1).block_on(async {
            match rate {
                Some(rate) => writer.load_paced(library, endless, rate).await,
                None => writer.load(library, endless).await,
            }
        })
    });
    while sent.load(Ordering::Relaxed) < 1_000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (before, span) = (sent.load(Ordering::Relaxed), Span::begin(server));
    // At full speed the library soon has another size.
    let time = if rate.is_some() { PACED } else { UNPACED };
    let mut latencies = Latencies::default();
    while span.elapsed() < time {
        latencies.append(client.search(queries, 20).await?);
    }
    let used = span.end(server);
    let written = sent.load(Ordering::Relaxed) - before;
    stop.store(true, Ordering::Relaxed);
    writing.join().expect("no panic")?;
    let what = match ingest {
        Ingest::Vectors(Some(rate)) => format!("{} vectors a second", grouped(rate as f64)),
        Ingest::Vectors(None) => "vectors, full speed".to_owned(),
        Ingest::Texts => "texts, another library".to_owned(),
    };
    row(
        &format!("1 client beside an ingest ({what})"),
        latencies.summary(),
        format!("{} docs/s written; {}", used.rate(written), used.cost(latencies.len())),
    );
    Ok(())
}

async fn streamed(client: &Client, queries: &[SearchRequest]) -> Outcome {
    let (mut first, mut whole) = (Latencies::default(), Latencies::default());
    for query in queries.iter().take(100) {
        let request = StreamSearchRequest {
            library_id: LIBRARY.to_owned(),
            embedding: query.embedding.clone(),
            k: Some(1_000),
            ..StreamSearchRequest::default()
        };
        let (to_first, to_end) = client.stream_search(request).await?;
        first.add(to_first);
        whole.add(to_end);
    }
    let share = 100.0 * first.median().as_secs_f64() / whole.median().as_secs_f64();
    row(
        "1 client, streamed, k = 1000: first hit",
        first.summary(),
        format!("whole {}; first at {share:.0} %", whole.summary()),
    );
    Ok(())
}

/// Searches by text in the whole corpus, embedded by the server.
async fn by_text() -> Outcome {
    let count = setting("ARRWDB_BENCH_DOCUMENTS", 10_000);
    let server = Server::start();
    let client = Client::connect(server.address).await?;
    client.create_library(LIBRARY, None).await?;
    client.load(LIBRARY, corpus::documents(count).into_iter()).await?;
    let texts = corpus::texts();
    println!("by text, {} chunks, k = 10, exact", grouped(2.0 * count as f64));
    for mode in [SearchMode::Hybrid, SearchMode::Vector, SearchMode::Text] {
        let request = |text: &String| SearchRequest {
            library_id: LIBRARY.to_owned(),
            query: Some(text.clone()),
            k: Some(10),
            mode: mode.into(),
            ..SearchRequest::default()
        };
        let queries: Vec<_> = texts.iter().step_by(17).map(request).collect();
        client.search(&queries, 100).await?;
        let what = format!("{}, 1 client", mode.as_str_name());
        one(&server, &client, &queries, 2_000, &what).await?;
        many(&server, &queries, 1_000).await?;
    }
    Ok(())
}
