//! The k nearest rows of a query, from bounds first and exact distances at last: hides which rows
//! are worth an exact distance.

use std::cmp::Ordering;
use std::ops::Range;

use super::flat::Part;
use super::probe::Probe;
use super::{Neighbour, RowKey};

/// A row that may be among the nearest.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Its distance is at least this; when exact, it is this.
    lower: f32,
    /// Its distance is at most this; when exact, it is this.
    upper: f32,
    /// Place of its part.
    part: u32,
    /// Its place in the part.
    row: u32,
}

impl Candidate {
    /// Bounds meet only where the distance has been computed, or might as well have been.
    fn is_exact(&self) -> bool {
        self.lower >= self.upper
    }
}

/// Collects candidates of one query over some parts.
///
/// Holds at most 4k + [`SPARE_CANDIDATES`] of them: when full it drops those that k others beat
/// for certain, and where bounds cannot tell enough of them apart it computes distances.
#[derive(Debug)]
pub(super) struct Nearest<'a> {
    probe: &'a Probe,
    parts: &'a [Part],
    candidates: Vec<Candidate>,
    candidates_max: usize,
    /// No row farther than this is wanted.
    limit: f32,
    /// `limit` as a key.
    key_limit: f32,
}

/// Rows whose numbers are asked for before they are worked on.
const FETCHED_AHEAD: usize = 4;
/// So that a small k does not tidy up after every few rows.
const SPARE_CANDIDATES: usize = 64;

impl<'a> Nearest<'a> {
    /// For a query with k > 0, over those of the parts that are at these places.
    pub(super) fn new(probe: &'a Probe, parts: &'a [Part], places: Range<usize>) -> Self {
        let rows: usize = parts[places].iter().map(|part| part.block().len()).sum();
        let candidates_max = 4 * probe.k.min(rows) + SPARE_CANDIDATES;
        let limit = probe.distance_max.unwrap_or(f32::INFINITY);
        Self {
            probe,
            parts,
            candidates: Vec::with_capacity(candidates_max),
            candidates_max,
            limit,
            key_limit: probe.key_limit(limit),
        }
    }

    pub(super) fn probe(&self) -> &'a Probe {
        self.probe
    }

    /// Rows whose key is for certain above this need not be offered.
    pub(super) fn key_limit(&self) -> f32 {
        self.key_limit
    }

    /// Offers a live row by place of its part, place in the part, and bounds of its key.
    #[expect(clippy::cast_possible_truncation, reason = "places of rows and parts fit 32 bits")]
    pub(super) fn offer(&mut self, part: usize, row: usize, lower: f32, upper: f32) {
        // A bound that is no number bounds nothing.
        let known = |key: f32, unknown: f32| if key.is_nan() { unknown } else { key };
        let lower = self.probe.distance(known(lower, f32::NEG_INFINITY));
        let upper = self.probe.distance(known(upper, f32::INFINITY));
        if lower > self.limit {
            return;
        }
        let (part, row) = (part as u32, row as u32);
        self.candidates.push(Candidate { lower, upper, part, row });
        if self.candidates.len() == self.candidates_max {
            self.tighten();
        }
    }

    /// The nearest of all rows offered.
    pub(super) fn into_sorted(mut self) -> Vec<Neighbour> {
        self.settle();
        let distance_max = self.probe.distance_max.unwrap_or(f32::INFINITY);
        let mut found: Vec<Neighbour> = self
            .candidates
            .iter()
            .map(|candidate| Neighbour { row: self.key_of(candidate), distance: candidate.lower })
            .filter(|neighbour| neighbour.distance <= distance_max)
            .collect();
        found.sort_unstable_by(nearer_first);
        found
    }

    /// Lowers the limit to the k-th smallest upper bound and drops what is beyond it.
    fn tighten(&mut self) {
        let k = self.probe.k;
        if self.candidates.len() > k {
            let by_upper = |a: &Candidate, b: &Candidate| a.upper.total_cmp(&b.upper);
            let (_, kth, _) = self.candidates.select_nth_unstable_by(k - 1, by_upper);
            let kth = kth.upper;
            self.lower_limit_to(kth);
            self.drop_beyond_limit();
        }
        if self.candidates.len() > self.candidates_max / 4 * 3 {
            self.settle();
        }
    }

    /// Leaves the k nearest, all with exact distances.
    fn settle(&mut self) {
        let k = self.probe.k;
        if self.candidates.len() > k {
            // k exact distances, of the most promising rows, are a limit that most of the
            // others' lower bounds are beyond.
            let by_upper = |a: &Candidate, b: &Candidate| a.upper.total_cmp(&b.upper);
            self.candidates.select_nth_unstable_by(k - 1, by_upper);
            self.make_exact(0, k);
            let farthest = self.candidates[..k].iter().map(|c| c.upper).max_by(f32::total_cmp);
            self.lower_limit_to(farthest.unwrap_or(f32::INFINITY));
            self.drop_beyond_limit();
        }
        self.make_exact(0, self.candidates.len());
        if self.candidates.len() > k {
            let mut candidates = std::mem::take(&mut self.candidates);
            let order = |a: &Candidate, b: &Candidate| self.order(a, b);
            let (_, kth, _) = candidates.select_nth_unstable_by(k - 1, order);
            let kth = kth.upper;
            candidates.truncate(k);
            self.candidates = candidates;
            self.lower_limit_to(kth);
        }
    }

    fn make_exact(&mut self, first: usize, end: usize) {
        let parts = self.parts;
        let block_of = |candidate: &Candidate| parts[candidate.part as usize].block();
        // Rows lie anywhere: the next ones are fetched while one is worked on.
        let fetch = |candidate: Option<&Candidate>| {
            if let Some(candidate) = candidate.filter(|candidate| !candidate.is_exact()) {
                block_of(candidate).prefetch_floats(candidate.row as usize);
            }
        };
        let candidates = &mut self.candidates[first..end];
        (0..FETCHED_AHEAD).for_each(|at| fetch(candidates.get(at)));
        for at in 0..candidates.len() {
            fetch(candidates.get(at + FETCHED_AHEAD));
            let candidate = &mut candidates[at];
            if !candidate.is_exact() {
                let (block, row) = (block_of(candidate), candidate.row as usize);
                let distance = block.with_floats(row, |floats| self.probe.distance_to(floats));
                (candidate.lower, candidate.upper) = (distance, distance);
            }
        }
    }

    fn lower_limit_to(&mut self, limit: f32) {
        if limit < self.limit {
            self.limit = limit;
            self.key_limit = self.probe.key_limit(limit);
        }
    }

    fn drop_beyond_limit(&mut self) {
        let limit = self.limit;
        self.candidates.retain(|candidate| candidate.lower <= limit);
    }

    fn order(&self, a: &Candidate, b: &Candidate) -> Ordering {
        a.lower.total_cmp(&b.lower).then_with(|| self.key_of(a).cmp(&self.key_of(b)))
    }

    fn key_of(&self, candidate: &Candidate) -> RowKey {
        self.parts[candidate.part as usize].block().keys()[candidate.row as usize]
    }
}

/// The order of an answer.
pub(super) fn nearer_first(a: &Neighbour, b: &Neighbour) -> Ordering {
    a.distance.total_cmp(&b.distance).then_with(|| a.row.cmp(&b.row))
}
