//! The index against a naive model in double precision.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::floats_tests::Filing;
use super::kernels::Kernels;
use super::*;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];

type Model = BTreeMap<RowKey, Vec<f32>>;

fn key(document: u64, slot: u32) -> RowKey {
    RowKey { document, slot }
}

/// Blocks so small that a few dozen rows fill, merge and compact several.
fn small_blocks(dimension: usize, metric: Metric, block_rows_max: usize) -> LibraryIndex {
    LibraryIndex::of_shape(Shape { block_rows_max, ..Shape::new(dimension, metric) })
}

fn vector(values: &[f32], metric: Metric) -> Vector {
    Vector::new("vector", values.to_vec(), values.len(), metric).expect("valid")
}

fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |term: fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(x, y)| term(f64::from(*x), f64::from(*y))).sum()
    };
    match metric {
        Metric::Cosine => {
            1.0 - sum(|x, y| x * y) / (sum(|x, _| x * x).sqrt() * sum(|_, y| y * y).sqrt())
        }
        Metric::Dot => -sum(|x, y| x * y),
        Metric::L2 => sum(|x, y| (x - y) * (x - y)).sqrt(),
    }
}

/// Fails unless `found` is a right answer: sorted, no row twice, every distance right, and
/// nothing nearer left out. Rows whose distances rounding cannot tell apart may change places.
fn check(metric: Metric, model: &Model, query: &Query<'_>, found: &[Neighbour]) {
    let exact: BTreeMap<RowKey, f64> =
        model.iter().map(|(key, row)| (*key, distance(metric, query.vector, row))).collect();
    // What is summed may be much larger than its sum, and it is the former that is rounded.
    let summed = |row: &Vec<f32>| -> f64 {
        row.iter().zip(query.vector).map(|(x, y)| f64::from(x * y).abs()).sum()
    };
    let scale = match metric {
        Metric::Dot => model.values().map(summed).fold(1.0, f64::max),
        Metric::Cosine | Metric::L2 => exact.values().fold(1.0, |scale, d| d.abs().max(scale)),
    };
    // The root of a squared distance near 0 keeps only half of the digits.
    let tolerance = if metric == Metric::L2 { 1e-5 } else { 2e-6 } * scale;
    let wanted = query.distance_max.map_or(f64::INFINITY, f64::from);

    assert!(found.is_sorted_by(|a, b| topk::nearer_first(a, b).is_lt()), "{found:?}");
    for neighbour in found {
        let right = exact.get(&neighbour.row).expect("only live rows");
        let off = (right - f64::from(neighbour.distance)).abs();
        assert!(off <= tolerance, "{metric:?} {neighbour:?}: {right}");
        assert!(f64::from(neighbour.distance) <= wanted);
    }
    let mut sorted: Vec<f64> = exact.values().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let certain = sorted.iter().filter(|d| **d <= wanted - tolerance).count();
    let possible = sorted.iter().filter(|d| **d <= wanted + tolerance).count();
    assert!(found.len() >= query.k.min(certain), "{} of {certain}", found.len());
    assert!(found.len() <= query.k.min(possible), "{} of {possible}", found.len());
    // The i-th found is as near as the i-th nearest.
    for (neighbour, right) in found.iter().zip(&sorted) {
        assert!((right - f64::from(neighbour.distance)).abs() <= tolerance, "{metric:?}");
    }
}

fn check_all(view: &View, metric: Metric, model: &Model, queries: &[Query<'_>]) {
    assert_eq!(view.len(), model.len());
    for kernels in Kernels::available() {
        for threads in [1, 3] {
            let found = view.search_with(queries, kernels, threads);
            assert_eq!(found.len(), queries.len());
            for (query, found) in queries.iter().zip(&found) {
                check(metric, model, query, found);
            }
        }
    }
}

/// Fails unless searches of chosen rows are right: of all, of some without pattern, of some that
/// lie together, of none, and of different ones for each query.
fn check_chosen(view: &View, metric: Metric, model: &Model, queries: &[Query<'_>]) {
    let wanted: [fn(RowKey) -> bool; 5] = [
        |_| true,
        |key| (key.document * 7 + u64::from(key.slot)) % 5 == 0,
        |key| key.document / 8 == 2,
        |key| key == RowKey { document: 1, slot: 1 },
        |_| false,
    ];
    let chosen = wanted.map(|wanted| {
        let rows = view.select(wanted);
        let model: Model = model.clone().into_iter().filter(|(key, _)| wanted(*key)).collect();
        assert_eq!((rows.len(), rows.is_empty()), (model.len(), model.is_empty()));
        (rows, model)
    });
    let filtered: Vec<(Query<'_>, &Model)> = queries
        .iter()
        .flat_map(|query| {
            chosen.iter().map(|(rows, model)| (Query { rows: Some(rows), ..*query }, model))
        })
        .chain(queries.iter().map(|query| (*query, model)))
        .collect();
    let queries: Vec<Query<'_>> = filtered.iter().map(|(query, _)| *query).collect();
    for kernels in Kernels::available() {
        for threads in [1, 3] {
            let found = view.search_with(&queries, kernels, threads);
            for ((query, model), found) in filtered.iter().zip(&found) {
                check(metric, model, query, found);
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Step {
    removed: Vec<RowKey>,
    added: Vec<(RowKey, Vec<f32>)>,
}

fn steps(dimension: usize) -> impl Strategy<Value = Vec<Step>> {
    // Few keys, so that they are removed, replaced and repeated; few values, so that rows tie.
    let some_key = || (0..40_u64, 0..3_u32).prop_map(|(document, slot)| key(document, slot));
    let number = prop_oneof![-1.0_f32..1.0, (-2..=2_i8).prop_map(f32::from)];
    let values = prop::collection::vec(number, dimension).prop_map(|mut values| {
        values[0] = if values[0] == 0.0 { 1.0 } else { values[0] };
        values
    });
    let removed = prop::collection::vec(some_key(), 0..12);
    let added = prop::collection::vec((some_key(), values), 0..20);
    let step = (removed, added).prop_map(|(removed, added)| Step { removed, added });
    prop::collection::vec(step, 1..20)
}

fn script() -> impl Strategy<Value = (Vec<Step>, Vec<f32>)> {
    let dimension = prop_oneof![Just(1_usize), Just(2), Just(17), Just(65), 3_usize..140];
    dimension.prop_flat_map(|n| (steps(n), prop::collection::vec(0.1_f32..2.0, n)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn answers_are_those_of_a_naive_scan_and_views_never_change(
        (steps, target) in script(),
        block_rows_max in prop_oneof![Just(1_usize), Just(8), Just(32)],
        k in 1_usize..150,
        distance_max in -0.5_f32..1.5,
        // After so many steps vectors go to files; 0: never.
        kept_every in prop_oneof![Just(0_usize), Just(3)],
    ) {
        for metric in METRICS {
            let queries = [
                Query { k, ..Query::new(&target) },
                Query { k: 3, distance_max: Some(distance_max), ..Query::new(&target) },
                Query { k: 0, ..Query::new(&target) },
                Query { k: 10_000, ..Query::new(&target) },
            ];
            let mut index = small_blocks(target.len(), metric, block_rows_max);
            let mut model = Model::new();
            let mut taken = vec![(index.view(), model.clone())];
            let mut filing = Filing::new(&[]);
            for (number, step) in steps.iter().enumerate() {
                let added: Vec<(RowKey, Vector)> =
                    step.added.iter().map(|(key, row)| (*key, vector(row, metric))).collect();
                index.update(&step.removed, &added);
                for key in &step.removed {
                    model.remove(key);
                }
                model.extend(step.added.iter().cloned());
                taken.push((index.view(), model.clone()));
                for part in index.view.flat.parts() {
                    prop_assert!(part.block().len() <= block_rows_max);
                }
                if kept_every > 0 && number % kept_every == 0 {
                    index.seal();
                    filing.keep(&index.view());
                }
                // A block may lose half of its rows to the duplicates of its own update, which
                // are dropped with the next one.
                let rows: usize =
                    index.view.flat.parts().iter().map(|part| part.block().len()).sum();
                prop_assert_eq!(rows, index.view().len() + index.view().tombstones());
            }
            for (view, model) in &taken {
                check_all(view, metric, model, &queries);
                check_chosen(view, metric, model, &queries[..2]);
            }
        }
    }
}

/// Reproducible numbers from −1 to 1 for larger sets than proptest likes.
fn spread(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn rows(count: u64, dimension: usize) -> Vec<(RowKey, Vec<f32>)> {
    // Clustered: ten centres, so that many rows are nearly as near as the k-th.
    let row = |i: u64| {
        let (centre, noise) = (spread(i % 10 + 1, dimension), spread(i + 1000, dimension));
        centre.iter().zip(noise).map(|(c, n)| c + 0.2 * n).collect()
    };
    (0..count).map(|i| (key(i, 0), row(i))).collect()
}

fn filled(metric: Metric, rows: &[(RowKey, Vec<f32>)], batch: usize) -> LibraryIndex {
    let mut index = LibraryIndex::new(rows[0].1.len(), metric);
    for rows in rows.chunks(batch) {
        let added: Vec<_> = rows.iter().map(|(key, row)| (*key, vector(row, metric))).collect();
        index.update(&[], &added);
    }
    index
}

#[test]
fn thousands_of_rows_over_full_blocks_are_searched_exactly() {
    let rows = rows(9_000, 48);
    let model: Model = rows.iter().cloned().collect();
    let target = &rows[77].1;
    for metric in METRICS {
        let index = filled(metric, &rows, 700);
        let lens: Vec<usize> =
            index.view().flat.parts().iter().map(|part| part.block().len()).collect();
        assert_eq!(lens[..2], [4096, 4096], "{lens:?}");
        let queries = [1, 10, 1000, 9_000, 10_000].map(|k| Query { k, ..Query::new(target) });
        check_all(&index.view(), metric, &model, &queries);
        check_chosen(&index.view(), metric, &model, &queries);
    }
}

#[test]
fn equal_rows_come_in_the_order_of_their_keys() {
    let rows: Vec<_> =
        (0..5_000).rev().map(|i| (key(i / 2, (i % 2) as u32), vec![1.0; 9])).collect();
    for metric in METRICS {
        let index = filled(metric, &rows, 512);
        let query = Query { k: 300, ..Query::new(&[1.0; 9]) };
        for threads in [1, 2] {
            let found = index.view().search_with(&[query], Kernels::best(), threads);
            let keys: Vec<RowKey> = found[0].iter().map(|neighbour| neighbour.row).collect();
            let first: Vec<RowKey> = (0..300).map(|i| key(i / 2, (i % 2) as u32)).collect();
            assert_eq!(keys, first, "{metric:?}");
        }
    }
}

#[test]
fn vectors_at_the_edge_of_single_precision_are_searched_exactly() {
    let sizes = [1e-30_f32, 1e-18, 1.0, 1e18];
    let rows: Vec<_> = (0..400_u64)
        .map(|i| {
            let size = sizes[(i % 4) as usize];
            (key(i, 0), spread(i + 1, 20).iter().map(|x| x * size).collect::<Vec<f32>>())
        })
        .collect();
    for metric in [Metric::Dot, Metric::L2] {
        let index = filled(metric, &rows, 100);
        for size in sizes {
            let target: Vec<f32> = spread(9, 20).iter().map(|x| x * size).collect();
            let query = Query { k: 20, ..Query::new(&target) };
            let fast = index.view().search(&[query]).remove(0);
            // The same kernels over every row: nothing may be lost on the way to them.
            let probe = probe::Probe::new(index.view.flat.shape(), &query, Kernels::best());
            let mut all: Vec<Neighbour> = Vec::new();
            for part in index.view.flat.parts() {
                let block = part.block();
                all.extend(block.keys().iter().enumerate().map(|(row, key)| Neighbour {
                    row: *key,
                    distance: block.with_floats(row, |floats| probe.distance_to(floats)),
                }));
            }
            all.sort_by(topk::nearer_first);
            assert_eq!(fast, all[..20], "{metric:?} {size}");
        }
    }
}

#[test]
fn space_comes_back_as_rows_go() {
    let rows = rows(10_000, 32);
    let mut index = filled(Metric::Cosine, &rows, 512);
    let full = index.view().bytes();
    let order: Vec<RowKey> =
        (0..7).flat_map(|r| (r..10_000).step_by(7)).map(|i| key(i, 0)).collect();
    for removed in order[..9_900].chunks(100) {
        index.update(removed, &[]);
        let view = index.view();
        assert!(view.tombstones() <= view.len(), "at least half of what is held is live");
    }
    assert_eq!(index.view().len(), 100);
    assert!(index.view().bytes() < full / 40, "{} of {full}", index.view().bytes());
    index.update(&order, &[]);
    let view = index.view();
    assert_eq!((view.len(), view.tombstones(), view.segments()), (0, 0, vec![]));
    assert!(index.locations.is_empty());
}

#[test]
fn rows_that_are_replaced_all_the_time_take_no_more_space() {
    let rows = rows(2_000, 16);
    let mut index = filled(Metric::L2, &rows, 512);
    let before = index.view().bytes();
    for round in 0..20 {
        for rows in rows.chunks(37) {
            let added: Vec<_> = rows
                .iter()
                .map(|(key, row)| (*key, vector(&spread(round, row.len()), Metric::L2)))
                .collect();
            index.update(&[], &added);
        }
        assert_eq!(index.view().len(), 2_000);
        assert!(index.view().bytes() < before * 5 / 2);
    }
}

#[test]
fn single_rows_make_few_blocks_and_are_copied_rarely() {
    let mut index = LibraryIndex::new(4, Metric::Dot);
    let (mut copied, mut parts_max) = (0, 0);
    for (key, row) in rows(6_000, 4) {
        // Appending nothing to a copy only tells the id that the next part will have.
        let first = index.view.flat.clone().append(&[], DEAD_PERCENT);
        index.update(&[], &[(key, vector(&row, Metric::Dot))]);
        copied += index.view.flat.rows_since(first).count();
        parts_max = parts_max.max(index.view.flat.parts().len());
    }
    assert!(parts_max <= 14, "{parts_max}");
    assert!(copied <= 6_000 * 14, "{copied}");
}

#[test]
fn an_empty_index_finds_nothing() {
    let mut index = LibraryIndex::new(3, Metric::Cosine);
    index.update(&[key(1, 0)], &[]);
    let query = Query { k: 5, ..Query::new(&[1.0, 0.0, 0.0]) };
    assert_eq!(index.view().search(&[query, query]), vec![vec![], vec![]]);
    assert_eq!(index.view().search(&[]), Vec::<Vec<Neighbour>>::new());
    assert!(index.view().is_empty());
}
