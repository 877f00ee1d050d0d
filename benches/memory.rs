//! Memory of a server with one library of vectors, with their single precision on disk and in
//! memory; what searches cost; and how long a start after SIGKILL takes until one is answered.
//! `cargo bench --bench memory`; `ARRWDB_BENCH_ROWS=300000` for other sizes, separated by commas;
//! `ARRWDB_BENCH_VECTORS=disk` for one of the homes.
//!
//! Rows have 256 numbers and no text worth mentioning. Measured when all are in one graph and
//! nothing moves any more.

mod harness;

use std::path::Path;
use std::time::{Duration, Instant};

use arrwdb::api::grpc::pb::index_service_client::IndexServiceClient;
use arrwdb::api::grpc::pb::{GetIndexStatisticsRequest, GetIndexStatisticsResponse, SearchRequest};
use harness::client::Client;
use harness::measure::{Span, grouped, millis, row};
use harness::server::Server;
use harness::vectors::{DIMENSION, Mixture};
use harness::{Outcome, corpus, runtime};

const LIBRARY: &str = "rows";
/// Index work is over when nothing has changed for so long.
const QUIET: Duration = Duration::from_secs(12);
const SEARCHES: usize = 4_000;

fn main() -> Outcome {
    let text = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let (sizes, homes) =
        (text("ARRWDB_BENCH_ROWS", "100000"), text("ARRWDB_BENCH_VECTORS", "disk,memory"));
    let runtime = runtime(1);
    for rows in sizes.split(',') {
        for home in homes.split(',') {
            runtime.block_on(sized(rows.trim().parse()?, home.trim()))?;
        }
    }
    Ok(())
}

async fn sized(rows: usize, home: &str) -> Outcome {
    let folder = tempfile::tempdir()?;
    let flags = ["--index-vectors", home];
    let server = Server::open(folder.path(), &flags);
    let client = Client::connect(server.address).await?;
    client.create_library(LIBRARY, Some(DIMENSION)).await?;
    for (seed, from) in (0..rows).step_by(50_000).enumerate() {
        let part = corpus::with_vectors(seed as u64, (rows - from).min(50_000));
        client.load(LIBRARY, part.into_iter()).await?;
    }
    println!("{} rows of {DIMENSION}, vectors: {home}", grouped(rows as f64));
    weigh(&server, &client, rows, "after the ingest").await?;
    settle(&client).await?;
    weigh(&server, &client, rows, "settled").await?;
    search(&server, &client).await?;
    weigh(&server, &client, rows, "searched").await?;
    drop(client);
    server.kill();
    for number in 0..3 {
        start(folder.path(), &flags, rows, number == 2).await?;
    }
    Ok(())
}

/// Waits until no graph is being built and nothing has changed for a while.
async fn settle(client: &Client) -> Outcome {
    let (mut last, mut since) = (None, Instant::now());
    while since.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let index = index(client).await?;
        let now = (index.segments.len(), index.index_bytes, index.building.is_some());
        if index.building.is_some() || last != Some(now) {
            (last, since) = (Some(now), Instant::now());
        }
    }
    Ok(())
}

async fn index(client: &Client) -> Outcome<GetIndexStatisticsResponse> {
    let request = GetIndexStatisticsRequest {
        library_id: LIBRARY.to_owned(),
        ..GetIndexStatisticsRequest::default()
    };
    let mut service = IndexServiceClient::new(client.channel.clone());
    Ok(service.get_index_statistics(request).await?.into_inner())
}

async fn weigh(server: &Server, client: &Client, rows: usize, what: &str) -> Outcome {
    let index = index(client).await?;
    let each = |bytes: f64| bytes / rows as f64;
    let anonymous = server.anonymous_mb() * 1024.0 * 1024.0;
    let resident = server.resident_mb() * 1024.0 * 1024.0;
    row(
        &format!("bytes a chunk, {what}"),
        format!("{:.0} resident", each(resident)),
        format!(
            "{:.0} of them anonymous; index {:.0} in {} segments",
            each(anonymous),
            each(index.index_bytes as f64),
            index.segments.len()
        ),
    );
    Ok(())
}

async fn search(server: &Server, client: &Client) -> Outcome {
    let request = |embedding| SearchRequest {
        library_id: LIBRARY.to_owned(),
        embedding,
        k: Some(10),
        ..SearchRequest::default()
    };
    let queries: Vec<_> = Mixture::new().draw(1_000_000, 500).into_iter().map(request).collect();
    client.search(&queries, queries.len()).await?;
    for (what, exact, count) in [("k = 10", false, SEARCHES), ("k = 10, exact", true, 200)] {
        let queries: Vec<_> =
            queries.iter().map(|query| SearchRequest { exact, ..query.clone() }).collect();
        let span = Span::begin(server);
        let mut latencies = client.search(&queries, count).await?;
        let used = span.end(server);
        row(&format!("1 client, {what}"), latencies.summary(), used.cost(count));
    }
    Ok(())
}

/// Until a search is answered.
async fn start(folder: &Path, flags: &[&str], rows: usize, is_last: bool) -> Outcome {
    let began = Instant::now();
    let server = Server::open(folder, flags);
    let client = Client::connect(server.address).await?;
    let query = Mixture::new().draw(1_000_001, 1).remove(0);
    let request = SearchRequest {
        library_id: LIBRARY.to_owned(),
        embedding: query,
        k: Some(10),
        ..SearchRequest::default()
    };
    client.search(&[request], 1).await?;
    let took = began.elapsed();
    row("start after SIGKILL: a search is answered", millis(took), "");
    if is_last {
        settle(&client).await?;
        weigh(&server, &client, rows, "after the start").await?;
    }
    server.kill();
    Ok(())
}
