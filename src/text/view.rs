//! An immutable state of an index and the search over it: hides how rows that cannot be among the
//! best are passed over.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::block::List;
use super::parts::{Part, Parts};
use super::rows::{PartRows, TextRows};
use super::score::Weights;
use super::terms::QueryTerms;
use crate::types::RowKey;

/// An immutable state of a library's text index that searches run on.
#[derive(Debug, Clone, Default)]
pub struct TextView {
    pub(super) parts: Parts,
}

/// One query of a search.
#[derive(Debug, Clone, Copy)]
pub struct TextQuery<'a> {
    /// What it says.
    pub terms: &'a QueryTerms,
    /// How many hits at most.
    pub k: usize,
    /// Only these rows, chosen from the view that is searched; `None`: all.
    pub rows: Option<&'a TextRows>,
}

/// One row that has words of the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextHit {
    /// Whose.
    pub row: RowKey,
    /// BM25: above 0, and higher is better. Comparable within one view and query only.
    pub score: f32,
}

/// What one word of a query adds to a row's score.
#[derive(Debug, Clone, PartialEq)]
pub struct TermPart {
    /// As the query says it first, folded.
    pub word: Box<str>,
    /// Live rows of the view that have it.
    pub rows: usize,
    /// How often the row has it.
    pub frequency: u32,
    /// What it adds.
    pub score: f32,
}

impl TextView {
    /// Live rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.live()
    }

    /// Whether there is no live row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removed rows that are still in memory.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.parts.tombstones()
    }

    /// Terms of all live rows, repetitions included.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.parts.length()
    }

    /// Bytes of memory that it holds, removed rows included. Views of one index share most of
    /// theirs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.parts.bytes()
    }

    /// The live rows that are wanted. Asks for each once, in the order of memory: rows that were
    /// written together mostly come together.
    #[must_use]
    pub fn select(&self, is_wanted: impl FnMut(RowKey) -> bool) -> TextRows {
        TextRows::of(self.parts.as_slice(), is_wanted)
    }

    /// Whether the rows were chosen from a view with the same blocks as this one.
    #[must_use]
    pub fn has(&self, rows: &TextRows) -> bool {
        rows.is_of(self.parts.as_slice())
    }

    /// The best rows, best first, equal scores by row key: those that have a word of the query,
    /// and k of them at most. Exact: what scoring all rows gives.
    ///
    /// CPU-bound, on the calling thread, and not to be cancelled. Cost: some nanoseconds for each
    /// row that has one of the query's rarer words, and as much for the others while there are
    /// fewer than k hits.
    ///
    /// Panics when rows were chosen from another view.
    #[must_use]
    pub fn search(&self, query: TextQuery<'_>) -> Vec<TextHit> {
        let parts = self.parts.as_slice();
        assert!(query.rows.is_none_or(|rows| self.has(rows)), "rows were chosen from another view");
        if query.k == 0 {
            return Vec::new();
        }
        let weights = Weights::of(query.terms, parts);
        let mut best = Best { k: query.k, hits: BinaryHeap::new() };
        let mut scratch = Scratch::default();
        for (at, part) in parts.iter().enumerate() {
            let chosen = query.rows.map(|rows| &rows.parts[at]);
            if chosen.is_none_or(|chosen| chosen.count > 0) {
                search_part(at, part, chosen, &weights, &mut best, &mut scratch);
            }
        }
        best.into_sorted()
    }

    /// What each word of the query adds to the score of each of these rows; nothing for a row
    /// that is not live. The parts of a row add up to its score.
    ///
    /// Cost: a look at the key of every row of the view.
    #[must_use]
    pub fn explain(&self, query: &QueryTerms, rows: &[RowKey]) -> Vec<Vec<TermPart>> {
        let parts = self.parts.as_slice();
        let weights = Weights::of(query, parts);
        let places: HashMap<RowKey, usize> =
            rows.iter().enumerate().map(|(place, key)| (*key, place)).collect();
        let mut explained = vec![Vec::new(); rows.len()];
        for (at, part) in parts.iter().enumerate() {
            for (row, key) in part.block.keys.iter().enumerate() {
                if let Some(place) = places.get(key).filter(|_| !part.is_dead(row)) {
                    explained[*place] = explain_row(query, &weights, at, part, row);
                }
            }
        }
        // The same row may have been asked for twice.
        rows.iter().map(|key| explained[places[key]].clone()).collect()
    }
}

fn explain_row(
    query: &QueryTerms,
    weights: &Weights,
    at: usize,
    part: &Part,
    row: usize,
) -> Vec<TermPart> {
    let length = part.block.lengths[row];
    let explain = |weight: &super::score::Weight| {
        let list = part.block.list_at(weight.places[at]? as usize);
        let frequency = list.frequency_of(row)?;
        Some(TermPart {
            word: query.0[weight.of_query].word.clone(),
            rows: weight.rows,
            frequency,
            score: weights.score(weight.most, frequency, length),
        })
    };
    weights.terms.iter().filter_map(explain).collect()
}

/// What a search writes again for every part.
#[derive(Default)]
struct Scratch {
    /// Of each row.
    scores: Vec<f32>,
    /// A bit for each row that may be among the best.
    candidates: Vec<u64>,
}

/// A sum of bounds is compared with sums that were rounded otherwise.
const ROUNDING: f32 = 1.0 + 1e-4;

/// Scores of one part the rows that may be among the best.
fn search_part(
    at: usize,
    part: &Part,
    chosen: Option<&PartRows>,
    weights: &Weights,
    best: &mut Best,
    scratch: &mut Scratch,
) {
    let block = &*part.block;
    let mut lists: Vec<(f32, List<'_>, f32)> = Vec::with_capacity(weights.terms.len());
    for weight in &weights.terms {
        let Some(place) = weight.places[at].map(|place| place as usize) else { continue };
        let bound = block.peak_at(place).map_or(weight.most, |peak| {
            weights.score(weight.most, peak.frequency_max, peak.length_min)
        });
        lists.push((weight.most, block.list_at(place), bound));
    }
    // What this list and those behind it can add at most.
    let mut rest = vec![0.0_f32; lists.len() + 1];
    for (place, (.., bound)) in lists.iter().enumerate().rev() {
        rest[place] = rest[place + 1] + bound * ROUNDING;
    }
    // Rows that only have words from here on cannot be among the best.
    let limit = best.limit();
    let needed = rest.iter().position(|rest| *rest < limit).unwrap_or(lists.len());
    if needed == 0 {
        return;
    }

    let Scratch { scores, candidates } = scratch;
    scores.clear();
    scores.resize(block.len(), 0.0);
    candidates.clear();
    candidates.resize(block.len().div_ceil(64), 0);
    for (most, list, _) in &lists[..needed] {
        for (row, frequency) in list.iter() {
            scores[row] += weights.score(*most, frequency, block.lengths[row]);
            candidates[row / 64] |= 1 << (row % 64);
        }
    }
    for (word, bits) in candidates.iter_mut().enumerate() {
        let dead = part.tombstones.as_ref().map_or(0, |dead| dead.words[word]);
        *bits &= !dead & chosen.map_or(u64::MAX, |chosen| chosen.word(word));
    }
    for (place, (most, list, _)) in lists.iter().enumerate().skip(needed) {
        keep(candidates, |row| scores[row] + rest[place] >= limit);
        let left: usize = candidates.iter().map(|bits| bits.count_ones() as usize).sum();
        let mut add = |row: usize, frequency| {
            scores[row] += weights.score(*most, frequency, block.lengths[row]);
        };
        if left * POSTINGS_PER_LOOKUP < list.postings.len() {
            for row in rows_of(candidates) {
                if let Some(frequency) = list.frequency_of(row) {
                    add(row, frequency);
                }
            }
        } else {
            let is_candidate = |row: usize| candidates[row / 64] >> (row % 64) & 1 == 1;
            list.iter().filter(|(row, _)| is_candidate(*row)).for_each(|(row, f)| add(row, f));
        }
    }
    for row in rows_of(candidates) {
        best.offer(TextHit { row: block.keys[row], score: scores[row] });
    }
}

/// Looking one row up in a list costs about as much as reading this many postings.
const POSTINGS_PER_LOOKUP: usize = 16;

/// The rows whose bits are set.
fn rows_of(words: &[u64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(word, bits)| {
        let mut bits = *bits;
        std::iter::from_fn(move || {
            let row = (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)?;
            bits &= bits - 1;
            Some(row)
        })
    })
}

/// Clears the bits of rows that are not kept.
fn keep(words: &mut [u64], is_kept: impl Fn(usize) -> bool) {
    for (word, bits) in words.iter_mut().enumerate() {
        let mut left = *bits;
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            if !is_kept(word * 64 + bit as usize) {
                *bits &= !(1 << bit);
            }
        }
    }
}

/// The best hits so far; the worst of them on top.
struct Best {
    k: usize,
    hits: BinaryHeap<Ranked>,
}

impl Best {
    /// Hits below this score are in vain.
    fn limit(&self) -> f32 {
        match self.hits.peek() {
            Some(worst) if self.hits.len() >= self.k => worst.0.score,
            _ => 0.0,
        }
    }

    fn offer(&mut self, hit: TextHit) {
        let hit = Ranked(hit);
        if self.hits.len() < self.k {
            self.hits.push(hit);
        } else if let Some(mut worst) = self.hits.peek_mut()
            && hit < *worst
        {
            *worst = hit;
        }
    }

    fn into_sorted(self) -> Vec<TextHit> {
        self.hits.into_sorted_vec().into_iter().map(|hit| hit.0).collect()
    }
}

/// A hit; better ones are less.
#[derive(PartialEq)]
struct Ranked(TextHit);

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.score.total_cmp(&self.0.score).then_with(|| self.0.row.cmp(&other.0.row))
    }
}
