//! Recall of default searches over graphs, beside exact ones: with filters that let through shares
//! of the rows, near to the queries, far from them or neither; and with tombstones. Ends with a
//! failure when any recall is below what is promised. `cargo bench --bench recall`, or with the
//! arguments of `graphs` for vectors of a folder; `benches/texts.py` makes texts for one.
//!
//! Times are the thread's time on a processor, of one round.

mod harness;

use std::process::ExitCode;

use arrwdb::index::{
    LibraryIndex, Neighbour, Policy, Progress, Query, RowKey, Rows, Urge, View, Work, hits_among,
};
use arrwdb::types::{IndexType, Limits, Metric};
use harness::set::{Set, add, key};
use harness::{measure, setting};

/// What searches are promised to find.
const RECALL_MIN: f64 = 0.98;
/// Of what is asked.
const K: [usize; 2] = [10, 100];
/// What filters let through, of a thousand rows.
const PERMILLE: [usize; 5] = [1_000, 500, 100, 10, 1];
/// Rows that are tombstones, of a hundred.
const TOMBSTONES: [usize; 6] = [0, 10, 30, 50, 70, 90];

/// Queries with filters: each has filters of its own.
const FILTERED_QUERIES: usize = 200;

/// Which rows a filter lets through, or a removal takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Any.
    Spread,
    /// The nearest to one row, for all queries the same.
    Topic,
    /// The nearest to the query.
    Near,
    /// The farthest from the query.
    Far,
}

/// Rows in the order in which a filter lets them through.
struct Orders {
    spread: Vec<u32>,
    topic: Vec<u32>,
    /// For each of the queries with filters.
    near: Vec<Vec<u32>>,
}

struct Bench {
    set: Set,
    orders: Orders,
    /// The least recall, and where.
    least: (f64, String),
}

fn main() -> ExitCode {
    let mut set = Set::from_arguments();
    set.queries.truncate(setting("ARRWDB_BENCH_QUERIES", 1_000));
    let builders = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let orders = Orders::of(&set);
    println!(
        "{} rows of {}, {} queries, {FILTERED_QUERIES} with filters",
        measure::grouped(set.rows.len() as f64),
        set.rows[0].len(),
        set.queries.len()
    );
    let mut index = LibraryIndex::new(set.rows[0].len(), Metric::Cosine);
    for (n, rows) in set.rows.chunks(512).enumerate() {
        add(&mut index, 512 * n, rows);
        builders.install(|| tend(&mut index, Urge::Busy));
    }
    let mut bench = Bench { set, orders, least: (1.0, String::new()) };
    one.install(|| bench.without_filter(&index.view(), "rows have just come"));
    builders.install(|| tend(&mut index, Urge::Asked));
    one.install(|| bench.with_filters(&index.view(), "settled"));
    for kind in [Kind::Spread, Kind::Topic] {
        let mut index = LibraryIndex::new(bench.set.rows[0].len(), Metric::Cosine);
        bench.set.rows.chunks(512).enumerate().for_each(|(n, rows)| add(&mut index, 512 * n, rows));
        builders.install(|| tend(&mut index, Urge::Asked));
        for percent in TOMBSTONES.into_iter().skip(1) {
            let gone = bench.orders.first(kind, 0, bench.set.rows.len() * percent / 100);
            let gone: Vec<RowKey> = (0..gone.len()).filter(|place| gone[*place]).map(key).collect();
            gone.chunks(1_000).for_each(|gone| index.update(gone, &[]));
            let what = format!("{percent} % tombstones, {kind:?}");
            one.install(|| match percent {
                30 | 50 => bench.with_filters(&index.view(), &what),
                _ => bench.without_filter(&index.view(), &what),
            });
        }
        builders.install(|| tend(&mut index, Urge::Quiet));
        one.install(|| bench.without_filter(&index.view(), "the same, tidied up"));
    }
    println!("least: {:.4}, {}", bench.least.0, bench.least.1);
    if bench.least.0 < RECALL_MIN { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Does all that there is to do, as a server does.
fn tend(index: &mut LibraryIndex, urge: Urge) {
    let limits = Limits::default();
    let policy = Policy {
        graph_rows_min: limits.index_graph_rows_min,
        graph_rows_min_asked: limits.index_graph_rows_min_asked,
        graph_rows_max: limits.index_graph_rows_max,
    };
    loop {
        match index.view().work(&policy, IndexType::Auto, urge) {
            Work::Rest => return,
            Work::Seal => index.seal(),
            Work::Compact(outworn) => while index.compact(&outworn) {},
            Work::Build(task) => {
                let built = task.run(&Progress::default()).expect("a graph");
                assert!(index.install(built), "nothing changed");
            }
        }
    }
}

impl Orders {
    fn of(set: &Set) -> Self {
        let rows = set.rows.len();
        let mut spread: Vec<usize> = (0..rows).collect();
        // Multiples of an odd number, modulo 2^64: any order that is none of the rows'.
        spread.sort_by_key(|place| (*place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self {
            spread: ranks(&spread),
            topic: near(&set.rows, &set.rows[rows / 2]),
            near: set.queries[..FILTERED_QUERIES.min(set.queries.len())]
                .iter()
                .map(|query| near(&set.rows, query))
                .collect(),
        }
    }

    /// Whether each row is one of the first so many.
    fn first(&self, kind: Kind, query: usize, count: usize) -> Vec<bool> {
        let ranks = match kind {
            Kind::Spread => &self.spread,
            Kind::Topic => &self.topic,
            Kind::Near | Kind::Far => &self.near[query],
        };
        let is_first = |rank: &u32| match kind {
            Kind::Far => ranks.len() - *rank as usize <= count,
            Kind::Spread | Kind::Topic | Kind::Near => (*rank as usize) < count,
        };
        ranks.iter().map(is_first).collect()
    }
}

/// The rank of each row by its nearness to a vector.
fn near(rows: &[Vec<f32>], to: &[f32]) -> Vec<u32> {
    let dots: Vec<f32> =
        rows.iter().map(|row| row.iter().zip(to).map(|(x, y)| x * y).sum()).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by(|a, b| dots[*b].total_cmp(&dots[*a]));
    ranks(&order)
}

#[expect(clippy::cast_possible_truncation, reason = "fewer rows than that")]
fn ranks(order: &[usize]) -> Vec<u32> {
    let mut ranks = vec![0; order.len()];
    for (rank, place) in order.iter().enumerate() {
        ranks[*place] = rank as u32;
    }
    ranks
}

impl Bench {
    fn without_filter(&mut self, view: &View, what: &str) {
        self.heading(view, what);
        self.measure(view, what, 1_000, Kind::Spread);
    }

    fn with_filters(&mut self, view: &View, what: &str) {
        self.heading(view, what);
        for permille in PERMILLE {
            let kinds = [Kind::Spread, Kind::Topic, Kind::Near, Kind::Far];
            let count = if permille == 1_000 { 1 } else { kinds.len() };
            for kind in &kinds[..count] {
                self.measure(view, what, permille, *kind);
            }
        }
    }

    fn heading(&self, view: &View, what: &str) {
        let segment = |s: arrwdb::index::Segment| match s.has_graph {
            true => format!("a graph of {} (ef {}, {} dead)", s.rows, s.ef, s.tombstones),
            false => format!("{} rows without", s.rows),
        };
        let segments: Vec<String> = view.segments().into_iter().map(segment).collect();
        println!("{what}: {}", segments.join(", "));
    }

    /// One line: recall, and the time of a search beside that of an exact one.
    fn measure(&mut self, view: &View, what: &str, permille: usize, kind: Kind) {
        let count = self.set.rows.len() * permille / 1_000;
        let queries = match permille {
            1_000 => &self.set.queries[..],
            _ => &self.set.queries[..self.orders.near.len()],
        };
        let rows: Vec<Rows> = match (permille, kind) {
            (1_000, _) => Vec::new(),
            (_, Kind::Spread | Kind::Topic) => vec![self.select(view, kind, 0, count)],
            (_, Kind::Near | Kind::Far) => {
                (0..queries.len()).map(|query| self.select(view, kind, query, count)).collect()
            }
        };
        let mut line = format!("  {:>5.1} % {:<7}", permille as f64 / 10.0, format!("{kind:?}"));
        for k in K {
            let ask = |exact| {
                let begin = measure::thread_us();
                let all = queries.iter().enumerate();
                let ask = |(place, vector): (usize, &Vec<f32>)| {
                    let rows = rows.get(place).or(rows.first());
                    view.search(&[Query { k, exact, rows, ..Query::new(vector) }]).remove(0)
                };
                let found: Vec<Vec<Neighbour>> = all.map(ask).collect();
                (found, (measure::thread_us() - begin) / queries.len() as f64)
            };
            let ((found, us), (exact, exact_us)) = (ask(false), ask(true));
            let hits: usize = found.iter().zip(&exact).map(|(f, e)| hits_among(f, e)).sum();
            let wanted: usize = exact.iter().map(Vec::len).sum();
            let recall = if wanted == 0 { 1.0 } else { hits as f64 / wanted as f64 };
            line += &format!(" | @{k:<3} {recall:.4} {us:>7.1} us (exact {exact_us:>7.1})");
            if recall < self.least.0 {
                self.least = (recall, format!("@{k}, {what}, {permille} permille {kind:?}"));
            }
        }
        println!("{line}");
    }

    fn select(&self, view: &View, kind: Kind, query: usize, count: usize) -> Rows {
        let chosen = self.orders.first(kind, query, count);
        view.select(|key| chosen[usize::try_from(key.document).expect("a place")])
    }
}
