//! What default searches are promised to find, over a graph large enough that filtered ones walk.

use super::graph_tests::{filled, key, queries, rows, tend};
use super::trial::recall_of;
use super::*;
use crate::types::IndexType;

const ROWS: u64 = 40_000;
const DIMENSION: usize = 24;
/// The promise.
const RECALL_MIN: f64 = 0.98;

/// Rows that a filter lets through, for a query.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Any.
    Spread,
    /// Those nearest to the query.
    Near,
    /// Those farthest from it: the way to them is through rows that nobody wants.
    Far,
    /// Those nearest to the first query.
    Topic,
}

/// The rows of a share of the view that a filter of a kind lets through.
fn chosen(view: &View, order: &BTreeMap<RowKey, usize>, kind: Kind, permille: usize) -> Rows {
    let count = order.len() * permille / 1_000;
    view.select(|key| match kind {
        Kind::Spread => key.document * 7_919 % 1_000 < permille as u64,
        Kind::Near | Kind::Topic => order.get(&key).is_some_and(|rank| *rank < count),
        Kind::Far => order.get(&key).is_some_and(|rank| order.len() - rank <= count),
    })
}

/// All live rows by their nearness to a vector.
fn order(view: &View, vector: &[f32]) -> BTreeMap<RowKey, usize> {
    let all = Query { k: view.len(), exact: true, ..Query::new(vector) };
    let found = view.search(&[all]).remove(0);
    found.into_iter().enumerate().map(|(rank, neighbour)| (neighbour.row, rank)).collect()
}

#[test]
fn default_searches_find_what_is_promised_through_filters_and_tombstones() {
    let mut index = filled(Metric::Cosine, &rows(1, 0, ROWS, DIMENSION));
    tend(&mut index, IndexType::Auto, Urge::Asked);
    let queries = queries(DIMENSION, 24);
    let (mut walked, mut walked_filtered) = (0, 0);
    for removed in [0, 25, 45] {
        let gone: Vec<RowKey> = (0..ROWS).filter(|i| i * 7 % 100 < removed).map(key).collect();
        index.update(&gone, &[]);
        let view = index.view();
        assert!(view.segments().iter().all(|segment| segment.has_graph), "all rows have a graph");
        let orders: Vec<_> = queries.iter().map(|query| order(&view, query)).collect();
        for permille in [1_000, 700, 500, 100, 10, 1] {
            for kind in [Kind::Spread, Kind::Near, Kind::Far, Kind::Topic] {
                let (mut found, mut exact) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
                for (query, order) in queries.iter().zip(&orders) {
                    let order = if matches!(kind, Kind::Topic) { &orders[0] } else { order };
                    let chosen = chosen(&view, order, kind, permille);
                    let rows = Some(&chosen).filter(|_| permille < 1_000);
                    for (place, k) in [10, 100].into_iter().enumerate() {
                        let query = Query { k, rows, ..Query::new(query) };
                        let right = Query { exact: true, ..query };
                        found[place].extend(view.search(&[query]));
                        exact[place].extend(view.search(&[right]));
                        let is_walked = view.work_bytes(&[query]) * 2 < view.work_bytes(&[right]);
                        match rows {
                            Some(_) => walked_filtered += usize::from(is_walked),
                            None => walked += usize::from(is_walked),
                        }
                    }
                }
                for (place, k) in [10, 100].into_iter().enumerate() {
                    let recall = recall_of(&found[place], &exact[place], k);
                    let what = format!("{kind:?} {permille} permille, {removed} % removed");
                    assert!(recall >= RECALL_MIN, "@{k} {recall}: {what}");
                }
            }
        }
    }
    let why = "scans alone prove nothing of graphs";
    assert!(walked > 0 && walked_filtered > 0, "{walked} and {walked_filtered} filtered: {why}");
}
