//! Graphs against the exact scan: while they are built, put in place and taken off.

#![expect(clippy::cast_possible_truncation, reason = "small test data")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::trial::recall_of;
use super::*;
use crate::types::IndexType;

const POLICY: Policy =
    Policy { graph_rows_min: 3_000, graph_rows_min_asked: 1_000, graph_rows_max: 100_000 };

pub(super) fn key(document: u64) -> RowKey {
    RowKey { document, slot: 0 }
}

/// Reproducible numbers from −1 to 1.
struct Random(u64);

impl Random {
    fn number(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.number() + 1.0) / 2.0 * end as f32) as usize % end
    }
}

/// Rows in clusters, as texts have them: `dimension` numbers from a few inner ones and noise.
pub(super) fn rows(seed: u64, first: u64, count: u64, dimension: usize) -> Vec<(RowKey, Vector)> {
    let mut random = Random(99);
    let outward: Vec<f32> = (0..12 * dimension).map(|_| random.number()).collect();
    let centres: Vec<f32> = (0..12 * 20).map(|_| 2.0 * random.number()).collect();
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    (first..first + count)
        .map(|document| {
            let centre = 12 * random.below(20);
            let mut values = vec![0.0; dimension];
            for (centre, outward) in
                centres[centre..centre + 12].iter().zip(outward.chunks_exact(dimension))
            {
                let inner = centre + random.number();
                values.iter_mut().zip(outward).for_each(|(value, x)| *value += inner * x);
            }
            values.iter_mut().for_each(|value| *value += 0.05 * random.number());
            (key(document), Vector::new("v", values, dimension, Metric::Cosine).expect("valid"))
        })
        .collect()
}

pub(super) fn filled(metric: Metric, rows: &[(RowKey, Vector)]) -> LibraryIndex {
    let mut index = LibraryIndex::new(rows[0].1.as_slice().len(), metric);
    for rows in rows.chunks(512) {
        index.update(&[], rows);
    }
    index
}

/// Does all that there is to do.
pub(super) fn tend(index: &mut LibraryIndex, kind: IndexType, urge: Urge) {
    for _ in 0..200 {
        match index.view().work(&POLICY, kind, urge) {
            Work::Rest => return,
            Work::Compact(outworn) => {
                index.compact(&outworn);
            }
            Work::Seal => index.seal(),
            Work::Build(task) => {
                let built = task.run(&Progress::default()).expect("built");
                assert!(index.install(built), "nothing changed meanwhile");
            }
        }
    }
    panic!("there is always something to do");
}

fn graphs(index: &LibraryIndex) -> usize {
    index.view().segments().iter().filter(|segment| segment.has_graph).count()
}

/// Recall of the default search beside the exact one; fails on an answer that no search may give.
fn recall(view: &View, queries: &[Vec<f32>], k: usize, rows: Option<&Rows>) -> f64 {
    let ask = |exact| -> Vec<Vec<Neighbour>> {
        let query = |vector: &Vec<f32>| {
            let query = Query { k, rows, exact, ..Query::new(vector) };
            view.search(&[query]).remove(0)
        };
        queries.iter().map(query).collect()
    };
    let (found, exact) = (ask(false), ask(true));
    let allowed = allowed(view, rows);
    for (found, exact) in found.iter().zip(&exact) {
        check(&allowed, found, exact);
    }
    recall_of(&found, &exact, k)
}

/// Rows that a search may find.
fn allowed(view: &View, rows: Option<&Rows>) -> BTreeSet<RowKey> {
    let mut allowed = BTreeSet::new();
    for (place, part) in view.flat.parts().iter().enumerate() {
        let may = |row: usize| {
            !part.is_dead(row) && rows.is_none_or(|rows| rows.parts()[place].contains(row))
        };
        let keys = part.block().keys().iter().enumerate();
        allowed.extend(keys.filter(|(row, _)| may(*row)).map(|(_, key)| *key));
    }
    allowed
}

/// Fails unless an approximate answer is sorted, has no row twice, has only rows that may be
/// found, with the distances that the exact search gives them, and as many as that.
fn check(allowed: &BTreeSet<RowKey>, found: &[Neighbour], exact: &[Neighbour]) {
    assert!(found.is_sorted_by(|a, b| topk::nearer_first(a, b).is_lt()), "{found:?}");
    assert_eq!(found.len(), exact.len());
    let distinct: BTreeSet<RowKey> = found.iter().map(|neighbour| neighbour.row).collect();
    assert_eq!(distinct.len(), found.len(), "a row came twice");
    assert!(distinct.is_subset(allowed), "a row that must not be found");
    let exact: BTreeMap<RowKey, f32> = exact.iter().map(|n| (n.row, n.distance)).collect();
    for neighbour in found {
        let same = exact.get(&neighbour.row).is_none_or(|d| *d == neighbour.distance);
        assert!(same, "{neighbour:?}");
    }
}

pub(super) fn queries(dimension: usize, count: u64) -> Vec<Vec<f32>> {
    rows(7, 0, count, dimension).into_iter().map(|(_, row)| row.as_slice().to_vec()).collect()
}

#[test]
fn a_graph_finds_nearly_all_for_every_metric_with_filters_and_tombstones() {
    let (rows, queries) = (rows(1, 0, 12_000, 32), queries(32, 40));
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let mut index = filled(metric, &rows);
        tend(&mut index, IndexType::Auto, Urge::Quiet);
        assert_eq!(graphs(&index), 1, "{metric:?}");
        for removed in [0_u64, 10, 40] {
            let gone: Vec<RowKey> =
                (0..12_000).filter(|i| i * 7 % 100 < removed).map(key).collect();
            index.update(&gone, &[]);
            let view = index.view();
            for k in [10, 100] {
                let recall = recall(&view, &queries, k, None);
                assert!(recall >= 0.98, "{metric:?} {removed} % removed, k {k}: {recall}");
            }
            for share in [50, 10, 1] {
                let chosen = view.select(|key| key.document * 31 % 100 < share);
                let recall = recall(&view, &queries, 10, Some(&chosen));
                assert!(recall >= 0.98, "{metric:?} {removed} % removed, {share} %: {recall}");
            }
        }
    }
}

#[test]
fn walks_are_what_answers_and_their_width_is_the_querys() {
    let (rows, queries) = (rows(1, 0, 9_000, 32), queries(32, 40));
    let mut index = filled(Metric::Cosine, &rows);
    tend(&mut index, IndexType::Auto, Urge::Quiet);
    let view = index.view();
    let recall_at = |ef| {
        let ask = |query: Query<'_>| view.search(&[query]).remove(0);
        let all = |exact, ef| -> Vec<Vec<Neighbour>> {
            queries.iter().map(|v| ask(Query { k: 10, exact, ef, ..Query::new(v) })).collect()
        };
        recall_of(&all(false, Some(ef)), &all(true, None), 10)
    };
    let (narrow, wide) = (recall_at(10), recall_at(60));
    assert!(narrow < wide && narrow < 0.99, "{narrow} {wide}: a narrow walk loses some");
    let (exact, walked) =
        (Query { exact: true, ..Query::new(&queries[0]) }, Query::new(&queries[0]));
    assert!(view.work_bytes(&[walked]) * 2 < view.work_bytes(&[exact]));
}

#[test]
fn many_copies_of_one_vector_hide_nothing() {
    let mut rows = rows(3, 0, 6_000, 16);
    let copied = rows[0].1.clone();
    rows.iter_mut().skip(1).step_by(3).for_each(|(_, row)| *row = copied.clone());
    let mut index = filled(Metric::Cosine, &rows);
    tend(&mut index, IndexType::Auto, Urge::Quiet);
    assert_eq!(graphs(&index), 1);
    let view = index.view();
    let ask =
        |vector: &Vector, k| view.search(&[Query { k, ..Query::new(vector.as_slice()) }]).remove(0);
    let distinct: Vec<_> = (0..6_000).filter(|i| i % 3 != 1 && *i > 0).step_by(37).collect();
    let found = distinct.iter().filter(|i| ask(&rows[**i].1, 1)[0].row == key(**i as u64)).count();
    assert!(found * 100 >= distinct.len() * 98, "{found} of {}", distinct.len());
    let copies = ask(&copied, 10);
    let first: Vec<RowKey> = [0].into_iter().chain((1..).step_by(3)).take(10).map(key).collect();
    let keys: Vec<RowKey> = copies.iter().map(|neighbour| neighbour.row).collect();
    assert_eq!(keys, first, "copies come by key");
    // The node that stands for the others is gone; they are not.
    index.update(&[key(0), key(1)], &[]);
    let view = index.view();
    let found = view.search(&[Query { k: 2, ..Query::new(copied.as_slice()) }]).remove(0);
    assert_eq!([found[0].row, found[1].row], [key(4), key(7)]);
    assert!(found[0].distance.abs() < 1e-6);
}

#[test]
fn a_build_that_is_told_to_stop_stops() {
    let index = filled(Metric::Cosine, &rows(1, 0, 6_000, 32));
    let Work::Build(task) = index.view().work(&POLICY, IndexType::Auto, Urge::Busy) else {
        panic!("a graph is to be built");
    };
    let progress = Progress::default();
    progress.stop();
    assert_eq!(task.run(&progress).err(), Some(BuildError::Stopped));
}

#[test]
fn a_build_says_how_far_it_is() {
    let index = filled(Metric::Cosine, &rows(1, 0, 6_000, 8));
    let Work::Build(task) = index.view().work(&POLICY, IndexType::Auto, Urge::Busy) else {
        panic!("a graph is to be built");
    };
    let progress = Progress::default();
    assert_eq!(progress.rows(), (0, 0));
    task.run(&progress).expect("built");
    let (done, all) = progress.rows();
    assert_eq!(all as usize, task.rows());
    assert!(done >= all - 1_000 && done <= all, "{done} of {all}");
}

#[test]
fn a_graph_whose_rows_have_moved_is_not_put_in_place() {
    let mut index = filled(Metric::Cosine, &rows(1, 0, 8_000, 8));
    let Work::Build(task) = index.view().work(&POLICY, IndexType::Auto, Urge::Busy) else {
        panic!("a graph is to be built");
    };
    let built = task.run(&Progress::default()).expect("built");
    // The first block loses most of its rows and is merged away.
    index.update(&(0..3_000).map(key).collect::<Vec<_>>(), &[]);
    let before = index.view();
    assert!(!index.install(built));
    assert_eq!(index.view().segments(), before.segments());
}

#[test]
fn a_library_that_is_mostly_deleted_gets_its_space_and_speed_back() {
    let mut index = filled(Metric::Cosine, &rows(1, 0, 20_000, 32));
    tend(&mut index, IndexType::Auto, Urge::Quiet);
    let (full, query) = (index.view().bytes(), queries(32, 1).remove(0));
    let gone: Vec<RowKey> = (0..20_000).filter(|i| i % 10 > 0).map(key).collect();
    for gone in gone.chunks(500) {
        index.update(gone, &[]);
    }
    tend(&mut index, IndexType::Auto, Urge::Busy);
    let view = index.view();
    assert_eq!((view.len(), view.tombstones()), (2_000, 0));
    assert!(view.bytes() < full / 8, "{} of {full}", view.bytes());
    assert!(view.work_bytes(&[Query::new(&query)]) <= 2_000 * 64);
}

#[test]
fn a_flat_library_never_has_a_graph_and_one_that_becomes_flat_loses_it() {
    let mut index = filled(Metric::Cosine, &rows(1, 0, 5_000, 8));
    tend(&mut index, IndexType::Flat, Urge::Asked);
    assert_eq!(graphs(&index), 0);
    tend(&mut index, IndexType::Hnsw, Urge::Asked);
    assert_eq!(graphs(&index), 1);
    tend(&mut index, IndexType::Flat, Urge::Busy);
    assert_eq!(graphs(&index), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Add(u64),
    Remove {
        from: usize,
        every: usize,
        count: usize,
    },
    Tend(Urge, IndexType),
    /// Begin a build; it is put in place when the next one begins.
    Build,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let urge = prop_oneof![Just(Urge::Busy), Just(Urge::Quiet), Just(Urge::Asked)];
    let kind = prop_oneof![4 => Just(IndexType::Hnsw), 1 => Just(IndexType::Flat)];
    let step = prop_oneof![
        4 => (1_u64..900).prop_map(Step::Add),
        3 => (0_usize..6_000, 1_usize..4, 1_usize..1_500)
            .prop_map(|(from, every, count)| Step::Remove { from, every, count }),
        1 => (urge, kind).prop_map(|(urge, kind)| Step::Tend(urge, kind)),
        3 => Just(Step::Build),
    ];
    prop::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn answers_are_right_while_graphs_come_and_go_and_views_never_change(
        steps in steps(),
        seed in 1_u64..1_000,
    ) {
        let shape = Shape { block_rows_max: 256, ..Shape::new(6, Metric::Cosine) };
        let mut index = LibraryIndex::of_shape(shape);
        let mut next = 0;
        let mut live: BTreeSet<u64> = BTreeSet::new();
        let mut under_way: Option<Task> = None;
        let mut taken = Vec::new();
        let queries = queries(6, 3);
        let add = |index: &mut LibraryIndex, live: &mut BTreeSet<u64>, next: &mut u64, count| {
            // Some replace rows that are there.
            let rows = rows(seed + *next, *next - (*next).min(50), count, 6);
            live.extend(rows.iter().map(|(key, _)| key.document));
            *next = rows.last().map_or(*next, |(key, _)| key.document + 1);
            rows.chunks(200).for_each(|rows| index.update(&[], rows));
        };
        add(&mut index, &mut live, &mut next, 3_500);
        for step in steps {
            match step {
                Step::Add(count) => add(&mut index, &mut live, &mut next, count),
                Step::Remove { from, every, count } => {
                    let gone: Vec<u64> =
                        live.iter().copied().skip(from).step_by(every).take(count).collect();
                    live.retain(|document| !gone.contains(document));
                    index.update(&gone.into_iter().map(key).collect::<Vec<_>>(), &[]);
                }
                Step::Tend(urge, kind) => tend(&mut index, kind, urge),
                Step::Build => {
                    if let Some(task) = under_way.take()
                        && let Ok(built) = task.run(&Progress::default())
                    {
                        index.install(built);
                    }
                    index.seal();
                    let work = index.view().work(&POLICY, IndexType::Hnsw, Urge::Asked);
                    if let Work::Build(task) = work {
                        under_way = Some(task);
                    }
                }
            }
            let view = index.view();
            prop_assert_eq!(view.len(), live.len());
            let keys = view.search(&[Query { k: 10_000, exact: true, ..Query::new(&queries[0]) }]);
            let keys: BTreeSet<u64> = keys[0].iter().map(|n| n.row.document).collect();
            prop_assert_eq!(&keys, &live);
            let answers: Vec<_> = queries
                .iter()
                .map(|q| view.search(&[Query { k: 10, ..Query::new(q) }]).remove(0))
                .collect();
            taken.push((view, answers));
        }
        for (view, answers) in &taken {
            for k in [1, 10, 60] {
                recall(view, &queries, k, None);
                let chosen = view.select(|key| key.document % 3 > 0);
                recall(view, &queries, k, Some(&chosen));
            }
            for (query, answer) in queries.iter().zip(answers) {
                let again = view.search(&[Query { k: 10, ..Query::new(query) }]).remove(0);
                prop_assert_eq!(&again, answer, "the view has not changed");
            }
        }
    }
}
