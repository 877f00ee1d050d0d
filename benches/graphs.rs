//! The graphs of the vector index on one thread: build, recall, speed and memory, with filters and
//! tombstones. `cargo bench --bench graphs`, or `-- FOLDER` for the vectors of a folder:
//! `rows.f32` and `queries.f32` (numbers one after the other, little-endian), `dimension` (digits).
//! `-- FOLDER --embed` first makes these files from `texts.txt`, one text a line, by the built-in
//! model: the last thousand are queries. `benches/peers/index.sh` runs it beside its peers.
//!
//! Times are the thread's time on a processor, so that neighbours count little; medians of rounds.

mod harness;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrwdb::index::{
    Home, Kernels, LibraryIndex, Neighbour, Policy, Progress, Query, RowKey, RowSource, Rows, Urge,
    View, Work,
};
use arrwdb::types::{IndexType, LibraryId, Metric, Vector};
use harness::measure::thread_us;
use harness::set::{Set, add, key};
use harness::setting;

/// Rounds of all queries of which the median counts.
const ROUNDS: usize = 3;
/// Queries with filters: there are many filters, and exact answers to compare with take long.
const FILTERED_QUERIES: usize = 200;

fn main() {
    let set = Set::from_arguments();
    let threads = setting("ARRWDB_BENCH_THREADS", 2);
    let builders = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let mut index = load(&set.rows);
    builders.install(|| build(&mut index, set.rows.len()));
    let view = index.view();
    println!("bytes a row: {:.0}", bytes_a_row(&view));
    one.install(|| {
        by_width(&view, &set.queries);
        by_kernels(&view, &set.queries);
        if std::env::var("ARRWDB_BENCH_FILTERS").is_ok_and(|filters| filters == "no") {
            return;
        }
        by_filter(&view, &set, "no tombstones");
        for percent in [30, 49] {
            let gone = |i: usize| i * 7 % 100 < percent;
            let gone: Vec<RowKey> = (0..set.rows.len()).filter(|i| gone(*i)).map(key).collect();
            gone.chunks(1_000).for_each(|gone| index.update(gone, &[]));
            by_filter(&index.view(), &set, &format!("{percent} % tombstones"));
        }
        // The first view again, the vectors of which go to files that the system has in its cache.
        let folder = file_vectors(&view);
        println!("vectors in files; bytes a row: {:.0}", bytes_a_row(&view));
        by_width(&view, &set.queries);
        drop(folder);
    });
}

fn bytes_a_row(view: &View) -> f64 {
    view.bytes() as f64 / view.len() as f64
}

/// Moves the vectors of a view's rows to files.
fn file_vectors(view: &View) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::Disk(Arc::new(NoSource));
    for (number, keeper) in view.keepers(&[], &home, 1).iter().enumerate() {
        let path = folder.path().join(number.to_string());
        let kept = keeper.write(&path, LibraryId::from_bytes([1; 16]), &home);
        kept.expect("written");
    }
    folder
}

/// Nothing is damaged here.
#[derive(Debug)]
struct NoSource;

impl RowSource for NoSource {
    fn vector(&self, row: RowKey) -> Option<Vector> {
        panic!("{row:?} could not be read from its file");
    }
}

fn load(rows: &[Vec<f32>]) -> LibraryIndex {
    let mut index = LibraryIndex::new(rows[0].len(), Metric::Cosine);
    for (n, chunk) in rows.chunks(512).enumerate() {
        add(&mut index, 512 * n, chunk);
    }
    index
}

fn build(index: &mut LibraryIndex, rows: usize) {
    let policy =
        Policy { graph_rows_min: 1_000, graph_rows_min_asked: 1_000, graph_rows_max: 1_000_000 };
    loop {
        match index.view().work(&policy, IndexType::Hnsw, Urge::Asked) {
            Work::Rest => break,
            Work::Seal => index.seal(),
            Work::Compact(outworn) => {
                index.compact(&outworn);
            }
            Work::Build(task) => {
                let (wall, cpu) = (Instant::now(), process_cpu_us());
                let built = task.run(&Progress::default()).expect("a graph");
                println!(
                    "build of {rows} rows: {:.1} us of processor a row, {:.1} s of wall time",
                    (process_cpu_us() - cpu) / rows as f64,
                    wall.elapsed().as_secs_f64()
                );
                assert!(index.install(built), "nothing changed");
            }
        }
    }
    for segment in index.view().segments() {
        println!("{segment:?}");
    }
}

fn by_width(view: &View, queries: &[Vec<f32>]) {
    for k in [10, 100] {
        let exact = ask(view, queries, |q| Query { k, exact: true, ..Query::new(q) });
        println!("k = {k}: {:>8.1} us exact", exact.0);
        let widths = [10, 16, 24, 32, 48, 64, 96, 128, 200, 300, 400, 600, 800];
        let given = widths.into_iter().filter(|width| *width >= k).map(Some);
        for ef in given.chain([None]) {
            let found = ask(view, queries, |q| Query { k, ef, ..Query::new(q) });
            let recall = recall(&found.1, &exact.1, k);
            let name = ef.map_or("default".to_owned(), |ef| ef.to_string());
            println!("k = {k:<4} ef {name:>7}: recall {recall:.4} {:>8.1} us", found.0);
        }
    }
}

/// What searches take on machines that have less.
fn by_kernels(view: &View, queries: &[Vec<f32>]) {
    for kernels in Kernels::available() {
        let ask = |exact| {
            let queries = &queries[..FILTERED_QUERIES.min(queries.len())];
            let begin = thread_us();
            for query in queries {
                let query = Query { k: 10, exact, ..Query::new(query) };
                black_box(view.search_with(&[query], kernels, 1));
            }
            (thread_us() - begin) / queries.len() as f64
        };
        ask(false);
        println!("{kernels:?}: {:>8.1} us, exact {:>8.1} us", ask(false), ask(true));
    }
}

/// What filters cost that let through a share of the rows: any, and those nearest to a vector.
fn by_filter(view: &View, set: &Set, what: &str) {
    println!("filters, {what}");
    let target = &set.queries[0];
    let mut near: Vec<(f32, usize)> = set
        .rows
        .iter()
        .enumerate()
        .map(|(i, row)| (row.iter().zip(target).map(|(x, y)| x * y).sum::<f32>(), i))
        .collect();
    near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    for permille in [1_000, 500, 300, 100, 10, 1] {
        let count = set.rows.len() * permille / 1_000;
        let nearest: BTreeSet<u64> = near[..count].iter().map(|(_, i)| *i as u64).collect();
        let any =
            view.select(|key| key.document.wrapping_mul(2_654_435_761) % 1_000 < permille as u64);
        let correlated = view.select(|key| nearest.contains(&key.document));
        for (kind, rows) in [("any", &any), ("correlated", &correlated)] {
            let all: Option<&Rows> = if permille == 1_000 { None } else { Some(rows) };
            if all.is_none() && kind == "correlated" {
                continue;
            }
            let mut line = format!("{:>5.1} % {kind:<11}", permille as f64 / 10.0);
            for k in [10, 100] {
                let ask = |exact| {
                    let queries = &set.queries[..FILTERED_QUERIES.min(set.queries.len())];
                    ask(view, queries, |q| Query { k, exact, rows: all, ..Query::new(q) })
                };
                let (exact, found) = (ask(true), ask(false));
                let recall = recall(&found.1, &exact.1, k);
                line += &format!(
                    " | k {k:>3}: recall {recall:.4} {:>7.1} us (exact {:>7.1})",
                    found.0, exact.0
                );
            }
            println!("{line}");
        }
    }
}

/// Microseconds a query, and what was found.
fn ask<'a>(
    view: &View,
    queries: &'a [Vec<f32>],
    of: impl Fn(&'a [f32]) -> Query<'a>,
) -> (f64, Vec<Vec<Neighbour>>) {
    let mut times = Vec::new();
    let mut found = Vec::new();
    for _ in 0..ROUNDS {
        let begin = thread_us();
        found = queries.iter().map(|query| view.search(&[of(query)]).remove(0)).collect();
        times.push((thread_us() - begin) / queries.len() as f64);
    }
    times.sort_unstable_by(f64::total_cmp);
    (times[ROUNDS / 2], found)
}

fn recall(found: &[Vec<Neighbour>], exact: &[Vec<Neighbour>], k: usize) -> f64 {
    let (mut hits, mut wanted) = (0, 0);
    for (found, exact) in found.iter().zip(exact) {
        let Some(farthest) = exact.last() else { continue };
        let near = found.iter().filter(|n| n.distance <= farthest.distance).count();
        hits += near.min(k);
        wanted += exact.len();
    }
    hits as f64 / wanted as f64
}

/// Time of all threads of the process on a processor, to 10 ms.
fn process_cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    let ticks: f64 = fields[11..13].iter().map(|t| t.parse::<f64>().expect("ticks")).sum();
    ticks * 10_000.0
}
