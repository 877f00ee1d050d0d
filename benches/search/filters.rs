//! Searches with filters: shares of the rows, spread or lying together; asked again, asked anew
//! each time, and beside writes that change the library between any two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrwdb::api::grpc::pb::{DocumentInput, SearchRequest};
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use super::harness::client::Client;
use super::harness::measure::{Span, grouped, row};
use super::harness::server::Server;
use super::harness::vectors::DIMENSION;
use super::harness::{Outcome, corpus, runtime};
use super::{LIBRARY, queries};

/// In per mille of the rows.
const SHARES: [usize; 5] = [1_000, 500, 100, 10, 1];
/// Documents that are written one by one beside the searches, a second, at most.
const WRITES_PER_SECOND: u64 = 200;

pub(super) async fn sized(rows: usize) -> Outcome {
    let server = Server::start();
    let client = Client::connect(server.address).await?;
    client.create_library(LIBRARY, Some(DIMENSION)).await?;
    for (seed, from) in (0..rows).step_by(50_000).enumerate() {
        let part = corpus::with_vectors(seed as u64, (rows - from).min(50_000));
        let part = part.into_iter().enumerate().map(move |(n, one)| described(one, from + n, rows));
        client.load(LIBRARY, part).await?;
    }
    println!("{} rows of {DIMENSION}, k = 10, filtered", grouped(rows as f64));
    let before = server.resident_mb();
    let mut first = client.search(&with_filter("document.metadata.spread >= 0"), 1).await?;
    let mut also = client.search(&with_filter("document.metadata.near > -9"), 1).await?;
    let memory = format!("memory {before:.0} to {:.0} MB", server.resident_mb());
    row("the first filter, and the first over another field", first.summary(), also.summary());
    row("", memory, String::new());

    let count = (20_000_000 / rows).clamp(50, 1_000);
    let plain = client.search(&queries(), count).await?.summary();
    row("no filter", plain, String::new());
    for share in SHARES {
        let limit = rows * share / 1_000;
        let spread = format!("document.metadata.spread < {limit}");
        asked(&server, &client, &format!("{} %, spread", share as f64 / 10.0), &spread, count)
            .await?;
        let near = near_limit(share);
        let near = format!("document.metadata.near < {near}");
        asked(
            &server,
            &client,
            &format!("{} %, near each other", share as f64 / 10.0),
            &near,
            count,
        )
        .await?;
    }
    two_fields(&server, &client, rows, count).await?;
    beside_writes(&server, &client, rows, count).await?;
    let texts = with_filter("chunk.text.contains(\"e\")");
    row("a filter over texts: first", client.search(&texts, 1).await?.summary(), String::new());
    Ok(())
}

/// With a number that has nothing to do with the vector, and one that follows from it.
fn described(mut document: DocumentInput, n: usize, rows: usize) -> DocumentInput {
    let number = |x: f64| Value { kind: Some(Kind::NumberValue(x)) };
    // 7 919 is prime and divides none of the sizes.
    let spread = (n * 7_919 % rows) as f64;
    let near = document.chunks.first().map_or(0.0, |chunk| f64::from(chunk.embedding[0]));
    let fields = [("spread", spread), ("near", near)];
    let fields = fields.map(|(name, x)| (name.to_owned(), number(x)));
    document.metadata = Some(Struct { fields: fields.into_iter().collect() });
    document
}

/// A first number below which this share of the vectors has it, measured on others.
fn near_limit(per_mille: usize) -> f64 {
    let sample = corpus::with_vectors(4_242, 20_000);
    let first = |one: &DocumentInput| one.chunks.first().map_or(0.0, |c| f64::from(c.embedding[0]));
    let mut values: Vec<f64> = sample.iter().map(first).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() * per_mille / 1_000).copied().unwrap_or(9.0)
}

fn with_filter(filter: &str) -> Vec<SearchRequest> {
    let with = |query| SearchRequest { filter: filter.to_owned(), ..query };
    queries().into_iter().map(with).collect()
}

/// Asked again and again, and each time by an expression that was never asked before.
async fn asked(
    server: &Server,
    client: &Client,
    what: &str,
    filter: &str,
    count: usize,
) -> Outcome {
    let same = with_filter(filter);
    client.search(&same, 20).await?;
    let span = Span::begin(server);
    let mut again = client.search(&same, count).await?;
    let used = span.end(server);
    let anew: Vec<SearchRequest> = same
        .into_iter()
        .enumerate()
        .map(|(n, query)| SearchRequest { filter: format!("{filter} && {n} >= 0"), ..query })
        .collect();
    let mut anew = client.search(&anew, count.min(anew.len())).await?;
    row(what, again.summary(), format!("anew {}; {}", anew.summary(), used.cost(count)));
    Ok(())
}

async fn two_fields(server: &Server, client: &Client, rows: usize, count: usize) -> Outcome {
    let filter = format!(
        "document.metadata.spread < {} || document.metadata.near > document.metadata.spread",
        rows / 10
    );
    asked(server, client, "10 %, two fields in one term", &filter, count).await
}

/// Every search sees another state of the library than the one before.
async fn beside_writes(server: &Server, client: &Client, rows: usize, count: usize) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, address) = (Arc::clone(&stop), server.address);
    let write = async move || -> Outcome<usize> {
        let client = Client::connect(address).await?;
        let documents = corpus::with_vectors(77, 5_000).into_iter().cycle().enumerate();
        let mut turns = tokio::time::interval(Duration::from_millis(1_000 / WRITES_PER_SECOND));
        for (n, document) in documents {
            if stopping.load(Ordering::Relaxed) {
                return Ok(n);
            }
            turns.tick().await;
            let document = DocumentInput { id: String::new(), ..described(document, n, rows) };
            client.create(LIBRARY, document).await?;
        }
        Ok(0)
    };
    let writing =
        std::thread::spawn(move || runtime(1).block_on(write()).map_err(|e| e.to_string()));
    let began = Instant::now();
    let queries = with_filter(&format!("document.metadata.spread < {}", rows / 10));
    let mut latencies = client.search(&queries, count.max(300)).await?;
    let seconds = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let written = writing.join().expect("no panic")?;
    let rate = format!("{:.0} docs/s written", written as f64 / seconds);
    row("10 %, spread, beside writes", latencies.summary(), rate);
    Ok(())
}
