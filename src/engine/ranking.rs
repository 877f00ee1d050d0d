//! Rankings of a library's chunks: hides how many rows each index is asked for, and how two
//! rankings, or the chunks of one document, become one.

use std::collections::HashSet;
use std::sync::Arc;

use super::matches::Chosen;
use super::state::LibraryState;
use crate::index::{Neighbour, Query};
use crate::text::{FUSED_ROWS, Fused, FusedPart, Fusion, QueryTerms, TextHit, TextQuery};
use crate::types::{Metric, Vector};

/// A query that can be ranked: by its vector, by its terms, or by both.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) vector: Option<Arc<Vector>>,
    pub(super) terms: Option<QueryTerms>,
    /// How the two rankings become one.
    pub(super) fusion: Fusion,
    pub(super) k: usize,
    pub(super) distance_max: Option<f32>,
    /// Place of its filter among those of the request.
    pub(super) filter: Option<usize>,
    pub(super) ef: Option<usize>,
    pub(super) exact: bool,
}

/// Rows asked for at first for each document that is wanted.
const ROWS_PER_DOCUMENT: usize = 2;
/// How many times more each further time.
const GROWTH: usize = 4;
/// What a text search costs for each row of the library, in bytes that a scan of vectors reads
/// meanwhile.
const TEXT_ROW_BYTES: usize = 40;

impl Asked {
    fn is_hybrid(&self) -> bool {
        self.vector.is_some() && self.terms.is_some()
    }

    /// How many rows of each index are looked at to begin with.
    fn rows_first(&self, by_document: bool) -> usize {
        let rows = if by_document { self.k.saturating_mul(ROWS_PER_DOCUMENT) } else { self.k };
        if self.is_hybrid() { rows.max(FUSED_ROWS) } else { rows }
    }

    fn near<'a>(&'a self, rows: usize, chosen: &'a [Arc<Chosen>]) -> Option<Query<'a>> {
        Some(Query {
            vector: self.vector.as_ref()?.as_slice(),
            k: rows,
            distance_max: self.distance_max,
            rows: self.filter.map(|place| &chosen[place].rows),
            exact: self.exact,
            avoid: None,
            ef: self.ef,
        })
    }

    fn said<'a>(&'a self, rows: usize, chosen: &'a [Arc<Chosen>]) -> Option<TextQuery<'a>> {
        let chosen = self.filter.map(|place| &chosen[place].texts);
        Some(TextQuery { terms: self.terms.as_ref()?, k: rows, rows: chosen })
    }

    /// The rows of both rankings, best first.
    fn join(&self, metric: Metric, near: &[Neighbour], said: &[TextHit]) -> Vec<Fused> {
        match (&self.vector, &self.terms) {
            (Some(_), Some(_)) => {
                let near: Vec<_> = near.iter().map(|near| (near.row, near.distance)).collect();
                self.fusion.fuse(&near, said, usize::MAX)
            }
            (_, None) => {
                let part = |near: &Neighbour| (near.distance, metric.score(near.distance));
                alone(near.iter().map(|near| (near.row, part(near))), |fused, part| {
                    fused.vector = Some(part);
                })
            }
            (None, Some(_)) => {
                alone(said.iter().map(|hit| (hit.row, (hit.score, hit.score))), |fused, part| {
                    fused.text = Some(part);
                })
            }
        }
    }
}

/// One ranking as if it were of two: rows with the values by which they are ranked and scores.
fn alone(
    rows: impl Iterator<Item = (crate::types::RowKey, (f32, f32))>,
    set: impl Fn(&mut Fused, FusedPart),
) -> Vec<Fused> {
    let fused = |(rank, (row, (value, score)))| {
        let mut fused = Fused { row, score, vector: None, text: None };
        set(&mut fused, FusedPart { rank, value, score });
        fused
    };
    (1..).zip(rows).map(fused).collect()
}

/// About how much work ranking these is, in bytes of vectors that a scan reads meanwhile.
pub(super) fn work_bytes(
    library: &LibraryState,
    asked: &[Asked],
    chosen: &[Arc<Chosen>],
    by_document: bool,
) -> usize {
    let near = |asked: &&Asked| asked.vector.is_some();
    let near: Vec<Query<'_>> = asked
        .iter()
        .filter(near)
        .filter_map(|asked| asked.near(asked.rows_first(by_document), chosen))
        .collect();
    let texts = asked.iter().filter(|asked| asked.terms.is_some()).count();
    library.view.work_bytes(&near) + texts * library.text.len() * TEXT_ROW_BYTES
}

/// Each query's best rows, best first, equal scores by row: k of them at most, or, `by_document`,
/// the best row of each of k documents at most.
///
/// Queries share passes over the vectors. Where chunks of few documents are in the way, the
/// indexes are asked again, each time for four times as many rows. CPU-bound, and not to be
/// cancelled.
pub(super) fn rank(
    library: &LibraryState,
    asked: &[Asked],
    chosen: &[Arc<Chosen>],
    by_document: bool,
) -> Vec<Vec<Fused>> {
    let mut best: Vec<Vec<Fused>> = asked.iter().map(|_| Vec::new()).collect();
    let first = |(place, asked): (usize, &Asked)| (place, asked.rows_first(by_document));
    let mut left: Vec<(usize, usize)> = asked.iter().enumerate().map(first).collect();
    while !left.is_empty() {
        let near: Vec<Query<'_>> =
            left.iter().filter_map(|(place, rows)| asked[*place].near(*rows, chosen)).collect();
        let mut near = library.view.search(&near).into_iter();
        let mut again = Vec::new();
        for (place, rows) in left {
            let of = &asked[place];
            let near = of.vector.as_ref().and_then(|_| near.next()).unwrap_or_default();
            let said = of.said(rows, chosen).map(|query| library.text.search(query));
            let said = said.unwrap_or_default();
            let mut found = of.join(library.library.metric, &near, &said);
            if by_document {
                let mut seen = HashSet::new();
                found.retain(|row| seen.insert(row.row.document));
                if found.len() < of.k && (near.len() >= rows || said.len() >= rows) {
                    again.push((place, rows.saturating_mul(GROWTH)));
                    continue;
                }
            }
            found.truncate(of.k);
            best[place] = found;
        }
        left = again;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::touched::Touched;
    use crate::index::LibraryIndex;
    use crate::text::{RowTerms, TextIndex};
    use crate::types::{
        EmbedderRef, IndexType, Library, LibraryCounts, LibraryId, LibraryName, Metadata, Revision,
        RowKey, Timestamp,
    };

    /// Document d has d rows at d, d + 0.001, …, each with the words `row` and its slot.
    fn library(documents: u32) -> LibraryState {
        let rows = (1..=documents).flat_map(|document| (0..document).map(move |s| (document, s)));
        let (mut vectors, mut texts) = (LibraryIndex::new(2, Metric::L2), TextIndex::new());
        for (document, slot) in rows {
            let key = RowKey { document: u64::from(document), slot };
            let x = document as f32 + slot as f32 / 1_000.0;
            let vector = Vector::new("v", vec![x, 1.0], 2, Metric::L2).expect("valid");
            vectors.update(&[], &[(key, vector)]);
            let text = format!("row {}", if slot + 1 == document { "last" } else { "other" });
            texts.update(&[], &[(key, RowTerms::of_chunk("", &text))]);
        }
        let library = Library {
            id: LibraryId::generate(),
            name: LibraryName::parse("l").expect("valid"),
            description: String::new(),
            metric: Metric::L2,
            dimension: 2,
            embedder: EmbedderRef { id: "e".into(), sha256: String::new() },
            index_type: IndexType::Auto,
            metadata: Metadata::default(),
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(1),
            revision: Revision(1),
        };
        LibraryState {
            library,
            counts: LibraryCounts::default(),
            view: vectors.view(),
            text: texts.view(),
            touched: Touched::since(Revision(1)),
        }
    }

    fn asked(vector: Option<f32>, text: Option<&str>, k: usize) -> Asked {
        let of = |x| Arc::new(Vector::new("v", vec![x, 1.0], 2, Metric::L2).expect("valid"));
        Asked {
            vector: vector.map(of),
            terms: text.map(|text| QueryTerms::of(text, 8)),
            fusion: Fusion::default(),
            k,
            distance_max: None,
            filter: None,
            ef: None,
            exact: false,
        }
    }

    #[test]
    fn each_document_comes_once_with_its_best_row() {
        let library = library(40);
        let slot_is_last = |fused: &Fused| u64::from(fused.row.slot) + 1 == fused.row.document;
        for (k, expected) in [(1, 1), (3, 3), (39, 39), (40, 40), (100, 40)] {
            let queries = [
                asked(Some(50.0), None, k),
                asked(None, Some("last"), k),
                asked(None, Some("row"), k),
                asked(Some(50.0), Some("last"), k),
                asked(Some(50.0), None, 2),
            ];
            let found = rank(&library, &queries, &[], true);
            let nearest: Vec<u64> = (1..=40).rev().take(expected).collect();
            let documents = |place: usize| -> Vec<u64> {
                found[place].iter().map(|fused| fused.row.document).collect()
            };
            assert_eq!(documents(0), nearest, "by nearness");
            for place in 0..4 {
                let mut each = documents(place);
                each.sort_unstable();
                each.dedup();
                assert_eq!(each.len(), expected, "query {place}, k {k}");
            }
            for place in [0, 1, 3] {
                assert!(found[place].iter().all(slot_is_last), "query {place}: {:?}", found[place]);
            }
            assert_eq!(found[4].len(), 2);
        }
    }

    #[test]
    fn a_mode_says_what_it_ranked_by() {
        let library = library(5);
        let queries = [
            asked(Some(5.0), None, 3),
            asked(None, Some("last"), 3),
            asked(Some(5.0), Some("last"), 3),
        ];
        let found = rank(&library, &queries, &[], false);
        for (place, fused) in found.iter().enumerate() {
            assert_eq!(fused.len(), 3, "{place}");
            assert!(fused.is_sorted_by(|one, other| one.score >= other.score));
        }
        let near = found[0][0].vector.expect("ranked by it");
        assert_eq!((near.rank, near.value, near.score, found[0][0].text), (1, 0.0, -0.0, None));
        let said = found[1][0].text.expect("ranked by it");
        assert_eq!((said.rank, found[1][0].vector), (1, None));
        assert!(said.value > 0.0 && said.value == found[1][0].score);
        assert_eq!(found[2][0].row, RowKey { document: 5, slot: 4 });
        let parts = |fused: &Fused| [fused.vector, fused.text].into_iter().flatten();
        let sum: f32 = parts(&found[2][0]).map(|part| part.score).sum();
        assert_eq!(found[2][0].score, sum);
    }
}
