//! BM25: hides its formula, its constants and what it counts.
//!
//! Robertson and Zaragoza, *The Probabilistic Relevance Framework: BM25 and Beyond* (2009), with
//! the inverse document frequency that is never negative, ln(1 + (N − n + ½) / (n + ½)).

use super::parts::Part;
use super::terms::QueryTerms;

/// How soon saying a word again stops to count.
const K1: f64 = 1.2;
/// How much a row that is longer than others must say a word more often: 0 not at all, 1 in
/// proportion.
const B: f64 = 0.75;

/// A query's terms, weighed by what a view's live rows say, in the order in which every score is
/// summed: so a row's score does not depend on which blocks there are.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) terms: Vec<Weight>,
    /// A row's frequencies are compared with `base + slope × length`.
    base: f32,
    slope: f32,
}

/// One term, weighed.
#[derive(Debug)]
pub(super) struct Weight {
    /// Its place in the query.
    pub(super) of_query: usize,
    /// Live rows that have it.
    pub(super) rows: usize,
    /// What a row is worth that says nothing else.
    pub(super) most: f32,
    /// Its place in each part's dictionary.
    pub(super) places: Vec<Option<u32>>,
}

impl Weights {
    /// Weighs the terms that live rows have; others cannot add to any score.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(super) fn of(query: &QueryTerms, parts: &[Part]) -> Self {
        let live = parts.iter().map(Part::live).sum::<usize>() as f64;
        let length = parts.iter().map(|part| part.length).sum::<u64>() as f64;
        let mut terms = Vec::with_capacity(query.0.len());
        for (of_query, term) in query.0.iter().enumerate() {
            let (mut rows, mut places) = (0, Vec::with_capacity(parts.len()));
            for part in parts {
                let place = part.block.place_of(term.term);
                rows += place.map_or(0, |place| live_postings(part, place));
                places.push(place.and_then(|place| u32::try_from(place).ok()));
            }
            if rows > 0 {
                let having = rows as f64;
                let rarity = ((live - having + 0.5) / (having + 0.5)).ln_1p();
                let most = (f64::from(term.count) * rarity * (K1 + 1.0)) as f32;
                terms.push(Weight { of_query, rows, most, places });
            }
        }
        // Rare ones first: they rule out most rows. Equal ones in the query's order.
        terms.sort_by(|one, other| other.most.total_cmp(&one.most));
        let slope = if length > 0.0 { K1 * B * live / length } else { 0.0 };
        Self { terms, base: (K1 * (1.0 - B)) as f32, slope: slope as f32 }
    }

    /// What a row of this length that has a term this often gets for it: no less for a higher
    /// frequency, no less for a shorter row, and never more than `most`.
    #[expect(clippy::cast_precision_loss, reason = "rounding is meant")]
    pub(super) fn score(&self, most: f32, frequency: u32, length: u32) -> f32 {
        let frequency = frequency as f32;
        most * (frequency / (frequency + (self.base + self.slope * length as f32)))
    }
}

/// How many live rows of a part have the term at a place.
fn live_postings(part: &Part, place: usize) -> usize {
    let postings = part.block.list_at(place).postings;
    match &part.tombstones {
        None => postings.len(),
        Some(dead) => postings.iter().filter(|posting| !dead.contains(posting.row())).count(),
    }
}
