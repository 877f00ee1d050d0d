//! The best row of each document: hides how far a search must go for that.

use std::collections::HashSet;

use super::{Neighbour, Query, View};

/// Neighbours asked for at first, for each document that is wanted.
const ROWS_PER_DOCUMENT: usize = 2;
/// How many times more each further time.
const GROWTH: usize = 4;

impl View {
    /// As [`View::search`], but only each document's nearest row counts: k is how many documents.
    ///
    /// Cost: that of one search for twice k rows where documents have few rows near the query;
    /// else of some more, each for four times as many rows as the one before.
    #[must_use]
    pub fn search_documents(&self, queries: &[Query<'_>]) -> Vec<Vec<Neighbour>> {
        let mut best: Vec<Vec<Neighbour>> = queries.iter().map(|_| Vec::new()).collect();
        let mut left: Vec<(usize, Query<'_>)> = queries
            .iter()
            .map(|query| Query { k: query.k.saturating_mul(ROWS_PER_DOCUMENT), ..*query })
            .enumerate()
            .collect();
        while !left.is_empty() {
            let asked: Vec<Query<'_>> = left.iter().map(|(_, query)| *query).collect();
            let found = self.search(&asked);
            let mut again = Vec::new();
            for ((place, query), found) in left.into_iter().zip(found) {
                let is_all = found.len() < query.k;
                best[place] = first_of_each(found, queries[place].k);
                if !is_all && best[place].len() < queries[place].k {
                    let k = query.k.saturating_mul(GROWTH);
                    again.push((place, Query { k, ..query }));
                }
            }
            left = again;
        }
        best
    }
}

/// The first row of each document, of at most so many documents.
fn first_of_each(found: Vec<Neighbour>, documents: usize) -> Vec<Neighbour> {
    let mut seen = HashSet::new();
    let is_first = |neighbour: &Neighbour| seen.insert(neighbour.row.document);
    found.into_iter().filter(is_first).take(documents).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{LibraryIndex, RowKey};
    use crate::types::{Metric, Vector};

    #[test]
    fn each_document_comes_once_with_its_nearest_row() {
        let mut index = LibraryIndex::new(2, Metric::L2);
        // Document d has d rows at d, d + 0.1, …; document 40 has most.
        let rows: Vec<(RowKey, Vector)> = (1..=40_u32)
            .flat_map(|document| (0..document).map(move |slot| (document, slot)))
            .map(|(document, slot)| {
                let x = document as f32 + slot as f32 / 1_000.0;
                let document = u64::from(document);
                let vector = Vector::new("v", vec![x, 1.0], 2, Metric::L2).expect("valid");
                (RowKey { document, slot }, vector)
            })
            .collect();
        index.update(&[], &rows);
        let view = index.view();
        let origin = [50.0, 1.0];
        for (k, expected) in [(1, 1), (3, 3), (39, 39), (40, 40), (100, 40)] {
            let query = Query { k, ..Query::new(&origin) };
            let found = view.search_documents(&[query, Query { k: 2, ..query }]);
            let documents: Vec<u64> = found[0].iter().map(|n| n.row.document).collect();
            let nearest: Vec<u64> = (1..=40).rev().take(expected).collect();
            assert_eq!(documents, nearest);
            let last_slots = found[0].iter().all(|n| u64::from(n.row.slot) + 1 == n.row.document);
            assert!(last_slots, "the nearest row of each is its last: {:?}", found[0]);
            assert_eq!(found[1].len(), 2);
        }
        let none = Query { k: 0, ..Query::new(&origin) };
        assert_eq!(view.search_documents(&[none]), [vec![]]);
    }
}
