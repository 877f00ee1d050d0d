//! The vector index on one thread: exact search beside a plain single-precision scan of the same
//! vectors in the same run, and what an update costs. `cargo bench --bench index`.
//!
//! Figures are medians of wall time.
//!
//! The plain scan is compiled for the base of the target, as any program is unless told
//! otherwise, while the index chooses its instructions when it runs. With
//! `RUSTFLAGS="-C target-cpu=native"` the scan is nearly twice as fast, and then about as fast as
//! the index where k is a tenth of the rows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use arrwdb::index::{LibraryIndex, Neighbour, Query, RowKey};
use arrwdb::types::{Metric, Vector};

#[path = "harness/vectors.rs"]
mod vectors;

use vectors::{DIMENSION, Mixture};

const QUERIES: usize = 100;
/// Queries that share one pass.
const GROUP: usize = 16;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    pool.install(|| {
        search_table();
        update_table();
    });
}

fn search_table() {
    println!("exact search, {DIMENSION} dimensions, one thread");
    println!(
        "{:>8} {:>6} | {:>12} {:>12} | {:>12} {:>7} | {:>14}",
        "rows", "k", "p50", "queries/s", "f32 scan p50", "ratio", "of 16 a query"
    );
    let mixture = Mixture::new();
    for rows in [10_000, 20_000, 100_000] {
        let vectors = mixture.draw(1, rows);
        let queries = mixture.draw(2, QUERIES);
        let index = filled(&vectors, 512);
        let view = index.view();
        let contiguous: Vec<f32> = vectors.concat();
        for k in [10, 100, 1_000] {
            let ask = |vector| Query { k, ..Query::new(vector) };
            for vector in queries.iter().take(10) {
                let (found, plain) = (view.search(&[ask(vector)]), plain(&contiguous, vector, k));
                assert!(same(&found[0], &plain), "the index finds what the scan finds");
            }
            let ours = median(
                queries.iter().map(|vector| timed(|| black_box(view.search(&[ask(vector)])))),
            );
            let theirs = median(
                queries
                    .iter()
                    .take(30)
                    .map(|vector| timed(|| black_box(plain(&contiguous, vector, k)))),
            );
            let grouped = median(queries.chunks_exact(GROUP).map(|group| {
                let asked: Vec<Query<'_>> = group.iter().map(|vector| ask(vector)).collect();
                timed(|| black_box(view.search(&asked)))
            }));
            println!(
                "{rows:>8} {k:>6} | {:>9.1} us {:>12.0} | {:>9.1} us {:>6.2}x | {:>11.1} us",
                micros(ours),
                1e6 / micros(ours),
                micros(theirs),
                micros(theirs) / micros(ours),
                micros(grouped) / GROUP as f64,
            );
        }
    }
}

fn update_table() {
    println!("\nupdates, {DIMENSION} dimensions, a view taken after each");
    println!(
        "{:>8} {:>8} | {:>12} {:>12} | {:>12}",
        "rows", "batch", "us a row", "max, us", "bytes a row"
    );
    let vectors = Mixture::new().draw(3, 50_000);
    for (rows, batch) in [(20_000, 1), (50_000, 512)] {
        let batches: Vec<Vec<(RowKey, Vector)>> = keyed(&vectors[..rows], batch).collect();
        let mut index = LibraryIndex::new(DIMENSION, Metric::Cosine);
        let mut view = index.view();
        let mut longest = Duration::ZERO;
        let all = timed(|| {
            for added in &batches {
                longest = longest.max(timed(|| {
                    index.update(&[], added);
                    view = index.view();
                }));
            }
        });
        println!(
            "{rows:>8} {batch:>8} | {:>12.2} {:>12.1} | {:>12.0}",
            micros(all) / rows as f64,
            micros(longest),
            view.bytes() as f64 / rows as f64
        );
    }
}

fn filled(vectors: &[Vec<f32>], batch: usize) -> LibraryIndex {
    let mut index = LibraryIndex::new(DIMENSION, Metric::Cosine);
    for added in keyed(vectors, batch) {
        index.update(&[], &added);
    }
    index
}

fn keyed(vectors: &[Vec<f32>], batch: usize) -> impl Iterator<Item = Vec<(RowKey, Vector)>> {
    let row = |(i, values): (usize, &Vec<f32>)| {
        let vector = Vector::new("vector", values.clone(), DIMENSION, Metric::Cosine);
        (RowKey { document: i as u64, slot: 0 }, vector.expect("valid"))
    };
    let rows: Vec<(RowKey, Vector)> = vectors.iter().enumerate().map(row).collect();
    rows.chunks(batch).map(<[_]>::to_vec).collect::<Vec<_>>().into_iter()
}

/// What one would write first, made fast: 32 sums that the compiler keeps in registers, then the
/// k nearest.
fn plain(vectors: &[f32], query: &[f32], k: usize) -> Vec<(f32, usize)> {
    let dot = |row: &[f32]| {
        let mut sums = [0.0_f32; 32];
        for (row, query) in row.as_chunks::<32>().0.iter().zip(query.as_chunks::<32>().0) {
            for ((sum, x), y) in sums.iter_mut().zip(row).zip(query) {
                *sum += x * y;
            }
        }
        sums.iter().sum::<f32>()
    };
    let rows = vectors.chunks_exact(DIMENSION).enumerate();
    let mut found: Vec<(f32, usize)> = rows.map(|(i, row)| (1.0 - dot(row), i)).collect();
    found.select_nth_unstable_by(k - 1, |a, b| a.0.total_cmp(&b.0));
    found.truncate(k);
    found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    found
}

fn same(found: &[Neighbour], plain: &[(f32, usize)]) -> bool {
    let near = |(a, b): (&Neighbour, &(f32, usize))| (a.distance - b.0).abs() < 1e-5;
    found.len() == plain.len() && found.iter().zip(plain).all(near)
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let _ = work();
    start.elapsed()
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
