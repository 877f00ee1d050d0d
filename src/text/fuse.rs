//! Two rankings of one query as one: hides how distances and BM25 scores are made comparable.
//!
//! Each ranking spreads a belief of 1 over its first rows, exponentially in how good they are, and
//! a row's score is the weighted mean of the beliefs in it. So a ranking with a clear winner says
//! more than one whose rows are all alike (a common word alone, say), which is what ranks do not
//! tell: by figures (`docs/QUALITY.md`) this finds more than reciprocal rank fusion, which loses
//! several points to BM25 where words match. The scale of distances does not matter, as they count
//! relative to each other; BM25 scores are sums of log-odds, and count as they are.

use std::collections::HashMap;

use super::view::TextHit;
use crate::types::RowKey;

/// How many rows of each ranking fusion wants to see, if there are as many: its answer for a k up
/// to this does not depend on k.
pub const FUSED_ROWS: usize = 100;

/// A row that is as far as the last row of [`FUSED_ROWS`] is believed in e^(1 / this) times less
/// than the nearest.
const NEARNESS_SCALE: f64 = 0.4;
/// A row whose BM25 score is this much lower is believed in e times less.
const SCORE_SCALE: f64 = 1.5;

/// How much each of two rankings counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fusion {
    /// Of the vector ranking; the two are 1 together.
    vector: f64,
    /// Of the text ranking.
    text: f64,
}

/// A row in the fused ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fused {
    /// Whose.
    pub row: RowKey,
    /// From 0 to 1; higher is better. Comparable within one search only.
    pub score: f32,
    /// Its place in the vector ranking, where it is there; the value is a distance.
    pub vector: Option<FusedPart>,
    /// Its place in the text ranking, where it is there; the value is a BM25 score.
    pub text: Option<FusedPart>,
}

/// What one ranking says of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FusedPart {
    /// From 1.
    pub rank: u32,
    /// By which it is ranked.
    pub value: f32,
    /// What it adds to the score.
    pub score: f32,
}

impl Default for Fusion {
    /// What measures best.
    fn default() -> Self {
        Self { vector: 0.6, text: 0.4 }
    }
}

impl Fusion {
    /// With these weights, of which only the ratio counts. `None` unless both are finite, neither
    /// is negative and one is not 0.
    #[must_use]
    pub fn new(vector: f32, text: f32) -> Option<Self> {
        let (vector, text) = (f64::from(vector), f64::from(text));
        let sum = vector + text;
        let fine = vector >= 0.0 && text >= 0.0 && sum > 0.0 && sum.is_finite();
        fine.then(|| Self { vector: vector / sum, text: text / sum })
    }

    /// The best k rows of both rankings, best first, equal scores by row key. A ranking without
    /// weight adds no rows.
    ///
    /// `vector` has rows with their distances, nearest first, `text` the hits of the same query,
    /// best first: the first [`FUSED_ROWS`] of each at least, or k if that is more.
    #[must_use]
    pub fn fuse(&self, vector: &[(RowKey, f32)], text: &[TextHit], k: usize) -> Vec<Fused> {
        let mut rows: HashMap<RowKey, Fused> = HashMap::new();
        let none = |row| Fused { row, score: 0.0, vector: None, text: None };
        if self.vector > 0.0 {
            let distances: Vec<f32> = vector.iter().map(|(_, distance)| *distance).collect();
            let parts = parts(&distances, &nearness(&distances), self.vector);
            for ((row, _), part) in vector.iter().zip(parts) {
                rows.entry(*row).or_insert_with(|| none(*row)).vector = Some(part);
            }
        }
        if self.text > 0.0 {
            let scores: Vec<f32> = text.iter().map(|hit| hit.score).collect();
            let scaled: Vec<f64> = scores.iter().map(|s| f64::from(*s) / SCORE_SCALE).collect();
            for (hit, part) in text.iter().zip(parts(&scores, &scaled, self.text)) {
                rows.entry(hit.row).or_insert_with(|| none(hit.row)).text = Some(part);
            }
        }
        let mut fused: Vec<Fused> = rows.into_values().collect();
        for row in &mut fused {
            let score = |part: Option<FusedPart>| part.map_or(0.0, |part| part.score);
            row.score = score(row.vector) + score(row.text);
        }
        fused.sort_unstable_by(|one, other| {
            other.score.total_cmp(&one.score).then_with(|| one.row.cmp(&other.row))
        });
        fused.truncate(k);
        fused
    }
}

/// How near rows are on the scale on which e is one step: 1 / [`NEARNESS_SCALE`] for the nearest,
/// 0 for the last of the first [`FUSED_ROWS`].
fn nearness(distances: &[f32]) -> Vec<f64> {
    let Some(nearest) = distances.first() else { return Vec::new() };
    let last = distances[distances.len().min(FUSED_ROWS) - 1];
    let range = f64::from(last) - f64::from(*nearest);
    let near = |distance: &f32| {
        let near = (f64::from(last) - f64::from(*distance)) / range;
        // Rows that are all equally far, or infinitely.
        if near.is_finite() { near / NEARNESS_SCALE } else { 0.0 }
    };
    distances.iter().map(near).collect()
}

/// What a ranking says of its rows, by how good they are on the scale on which e is one step.
#[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
fn parts(values: &[f32], goods: &[f64], weight: f64) -> Vec<FusedPart> {
    let best = goods.first().copied().unwrap_or_default();
    let belief = |good: &f64| (good - best).min(0.0).exp();
    let all: f64 = goods.iter().take(FUSED_ROWS).map(belief).sum();
    let part = |(rank, (value, good)): (u32, (&f32, &f64))| FusedPart {
        rank,
        value: *value,
        score: (weight * belief(good) / all) as f32,
    };
    (1..).zip(values.iter().zip(goods)).map(part).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(document: u64) -> RowKey {
        RowKey { document, slot: 0 }
    }

    fn near(rows: &[(u64, f32)]) -> Vec<(RowKey, f32)> {
        rows.iter().map(|(document, distance)| (key(*document), *distance)).collect()
    }

    fn hits(rows: &[(u64, f32)]) -> Vec<TextHit> {
        rows.iter()
            .map(|(document, score)| TextHit { row: key(*document), score: *score })
            .collect()
    }

    fn order(fused: &[Fused]) -> Vec<u64> {
        fused.iter().map(|fused| fused.row.document).collect()
    }

    #[test]
    fn a_clear_winner_beats_a_ranking_of_equals() {
        let distances = near(&[(1, 0.50), (2, 0.51), (3, 0.52), (4, 0.53)]);
        let clear = hits(&[(4, 20.0), (9, 5.0)]);
        assert_eq!(order(&Fusion::default().fuse(&distances, &clear, 1)), [4]);
        let equals: Vec<(u64, f32)> = (10..100).map(|document| (document, 5.0)).collect();
        assert_eq!(order(&Fusion::default().fuse(&distances, &hits(&equals), 2)), [1, 2]);
    }

    #[test]
    fn weights_decide_and_parts_add_up() {
        let distances = near(&[(1, 0.1), (2, 0.4), (3, 0.9)]);
        let texts = hits(&[(3, 8.0), (4, 7.0)]);
        let fuse =
            |vector, text| Fusion::new(vector, text).expect("valid").fuse(&distances, &texts, 10);
        assert_eq!(order(&fuse(1.0, 0.0)), [1, 2, 3]);
        assert_eq!(order(&fuse(0.0, 2.0)), [3, 4]);
        assert_eq!(fuse(3.0, 1.0), fuse(0.75, 0.25));
        let fused = fuse(1.0, 1.0);
        let sum: f32 = fused.iter().map(|row| row.score).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        let third = fused.iter().find(|row| row.row == key(3)).expect("is there");
        let (vector, text) = (third.vector.expect("both"), third.text.expect("both"));
        assert_eq!((vector.rank, vector.value, text.rank, text.value), (3, 0.9, 1, 8.0));
        assert_eq!(third.score, vector.score + text.score);
        let wrong = [(0.0, 0.0), (-1.0, 2.0), (f32::NAN, 1.0), (1.0, f32::INFINITY)];
        assert!(wrong.iter().all(|(vector, text)| Fusion::new(*vector, *text).is_none()));
    }

    #[test]
    fn one_ranking_alone_keeps_its_order() {
        let fusion = Fusion::default();
        let distances = near(&[(5, -3e38), (1, 0.0), (4, 3e38)]);
        assert_eq!(order(&fusion.fuse(&distances, &[], 10)), [5, 1, 4]);
        let same = near(&[(2, 0.5), (7, 0.5)]);
        assert_eq!(order(&fusion.fuse(&same, &[], 10)), [2, 7]);
        assert_eq!(order(&fusion.fuse(&[], &hits(&[(9, 3.0), (2, 1.0)]), 10)), [9, 2]);
        assert!(fusion.fuse(&[], &[], 10).is_empty());
    }

    proptest! {
        #[test]
        fn a_smaller_k_gives_the_beginning(
            distances in prop::collection::btree_map(0_u64..300, 0.0_f32..2.0, 0..200),
            scores in prop::collection::btree_map(0_u64..300, 0.1_f32..40.0, 0..200),
            k in 0_usize..50,
        ) {
            let mut distances: Vec<(u64, f32)> = distances.into_iter().collect();
            distances.sort_by(|one, other| one.1.total_cmp(&other.1));
            let mut scores: Vec<(u64, f32)> = scores.into_iter().collect();
            scores.sort_by(|one, other| other.1.total_cmp(&one.1));
            let (distances, scores) = (near(&distances), hits(&scores));
            let all = Fusion::default().fuse(&distances, &scores, usize::MAX);
            let in_order = all.is_sorted_by(|one, other| {
                one.score > other.score || (one.score == other.score && one.row < other.row)
            });
            prop_assert!(in_order);
            let some = Fusion::default().fuse(&distances, &scores, k);
            prop_assert_eq!(&some[..], &all[..k.min(all.len())]);
            // Each ranking's order is kept among rows that the other does not know.
            let alone: Vec<f32> = all
                .iter()
                .filter(|row| row.text.is_none())
                .filter_map(|row| row.vector.map(|part| part.value))
                .collect();
            prop_assert!(alone.is_sorted(), "{:?}", alone);
        }
    }
}
