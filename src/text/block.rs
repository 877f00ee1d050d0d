//! Hides how the terms of some thousand rows lie in memory: inverted, two bytes for each row that
//! has a term.
//!
//! A block never changes. It knows nothing of deletion; rows that are to be left behind are left
//! behind when it is merged.

use std::ops::Range;

use super::terms::RowTerms;
use crate::types::RowKey;

/// Most rows in a block: a posting has 12 bits for the row, and merging a block never stalls the
/// writer for more than some milliseconds.
const BLOCK_ROWS_MAX: usize = 4_096;
/// Most terms in the rows of a block (one row always fits), for rows of long texts.
const BLOCK_LENGTH_MAX: u64 = 1 << 20;

/// Lists of at least this many postings say their best, so that a search can pass over them.
const PEAK_POSTINGS_MIN: usize = 64;

/// Rows, inverted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Whose each row is.
    pub(super) keys: Box<[RowKey]>,
    /// Terms of each row, repetitions included.
    pub(super) lengths: Box<[u32]>,
    /// Every term in it, ascending.
    pub(super) terms: Box<[u64]>,
    /// Where each term's postings begin, and where the last one's end.
    pub(super) starts: Box<[u32]>,
    /// Each term's rows, ascending.
    pub(super) postings: Box<[Posting]>,
    /// How often, for the postings that cannot say it: by place.
    pub(super) frequent: Box<[(u32, u32)]>,
    /// The best of the longer lists, by place of the term.
    pub(super) peaks: Box<[Peak]>,
}

/// A row and how often it has the term: 12 bits and 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Posting(pub(super) u16);

/// What a posting says when the term is there this often or more.
const FREQUENT: u32 = 15;

impl Posting {
    #[expect(clippy::cast_possible_truncation, reason = "12 bits and 4")]
    fn new(row: usize, frequency: u32) -> Self {
        debug_assert!(row < BLOCK_ROWS_MAX);
        Self((row as u16) << 4 | frequency.min(FREQUENT) as u16)
    }

    pub(super) fn row(self) -> usize {
        usize::from(self.0 >> 4)
    }

    /// How often; `None` where [`Block::frequent`] says it.
    pub(super) fn frequency(self) -> Option<u32> {
        let frequency = u32::from(self.0 & 0xf);
        (frequency < FREQUENT).then_some(frequency)
    }
}

/// No posting of a list is better than this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peak {
    /// The term's place.
    pub(super) place: u32,
    /// The highest frequency.
    pub(super) frequency_max: u32,
    /// The least length of a row.
    pub(super) length_min: u32,
}

/// The postings of one term.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    pub(super) postings: &'a [Posting],
    /// Where in the block they begin.
    first: u32,
    frequent: &'a [(u32, u32)],
}

impl List<'_> {
    /// Row and frequency of each posting.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u32)> {
        let says = |(place, posting): (u32, &Posting)| {
            (posting.row(), posting.frequency().unwrap_or_else(|| self.frequent(place)))
        };
        (self.first..).zip(self.postings).map(says)
    }

    /// How often a row has the term.
    pub(super) fn frequency_of(&self, row: usize) -> Option<u32> {
        let at = self.postings.binary_search_by_key(&row, |posting| posting.row()).ok()?;
        let place = self.first + u32::try_from(at).ok()?;
        Some(self.postings[at].frequency().unwrap_or_else(|| self.frequent(place)))
    }

    fn frequent(&self, place: u32) -> u32 {
        let found = self.frequent.binary_search_by_key(&place, |(place, _)| *place);
        found.map_or(FREQUENT, |at| self.frequent[at].1)
    }
}

impl Block {
    /// Blocks of new rows, in their order.
    pub(super) fn of_rows(mut rows: &[(RowKey, RowTerms)]) -> Vec<Self> {
        let mut blocks = Vec::new();
        while !rows.is_empty() {
            let lengths = rows.iter().map(|(_, terms)| terms.length);
            let (fitting, rest) = rows.split_at(rows_that_fit(lengths));
            blocks.push(Self::of_fitting(fitting));
            rows = rest;
        }
        blocks
    }

    fn of_fitting(rows: &[(RowKey, RowTerms)]) -> Self {
        let mut filling = Filling::default();
        let mut entries: Vec<(u64, usize, u32)> = Vec::new();
        for (row, (key, terms)) in rows.iter().enumerate() {
            filling.keys.push(*key);
            filling.lengths.push(terms.length);
            entries.extend(terms.terms.iter().map(|(term, frequency)| (*term, row, *frequency)));
        }
        // Stable, because that kind finds the runs that are in order already.
        entries.sort_by_key(|(term, ..)| *term);
        filling.postings.reserve_exact(entries.len());
        for list in entries.chunk_by(|(one, ..), (other, ..)| one == other) {
            for (_, row, frequency) in list {
                filling.push(*row, *frequency);
            }
            filling.close(list[0].0);
        }
        filling.finish()
    }

    /// Blocks of the rows of others, in their order, without the rows that `is_left` names by
    /// source and row.
    pub(super) fn merge(sources: &[&Self], is_left: impl Fn(usize, usize) -> bool) -> Vec<Self> {
        let mut kept: Vec<(usize, usize)> = Vec::new();
        for (source, block) in sources.iter().enumerate() {
            let rows = (0..block.len()).filter(|row| !is_left(source, *row));
            kept.extend(rows.map(|row| (source, row)));
        }
        let mut kept = kept.as_slice();
        let mut blocks = Vec::new();
        while !kept.is_empty() {
            let lengths = kept.iter().map(|(source, row)| sources[*source].lengths[*row]);
            let (rows, rest) = kept.split_at(rows_that_fit(lengths));
            blocks.push(Self::of_kept(sources, rows));
            kept = rest;
        }
        blocks
    }

    /// One block of these rows, given by source and row.
    fn of_kept(sources: &[&Self], rows: &[(usize, usize)]) -> Self {
        let mut filling = Filling::default();
        // Where each row of each source goes.
        let mut places: Vec<Vec<Option<u16>>> = vec![Vec::new(); sources.len()];
        for (to, (source, row)) in (0..).zip(rows) {
            let block = sources[*source];
            filling.keys.push(block.keys[*row]);
            filling.lengths.push(block.lengths[*row]);
            places[*source].resize(block.len(), None);
            places[*source][*row] = Some(to);
        }
        let mut entries: Vec<(u64, u32, u32)> = Vec::new();
        for (source, block) in (0..).zip(sources).filter(|(at, _)| !places[*at as usize].is_empty())
        {
            entries.extend((0..).zip(&*block.terms).map(|(place, term)| (*term, source, place)));
        }
        entries.sort_by_key(|(term, ..)| *term);
        for lists in entries.chunk_by(|(one, ..), (other, ..)| one == other) {
            for (_, source, place) in lists {
                let (block, places) = (sources[*source as usize], &places[*source as usize]);
                for (row, frequency) in block.list_at(*place as usize).iter() {
                    if let Some(to) = places[row] {
                        filling.push(usize::from(to), frequency);
                    }
                }
            }
            filling.close(lists[0].0);
        }
        filling.finish()
    }

    /// Rows.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it is as large as blocks get, so that merging it would be in vain.
    pub(super) fn is_full(&self) -> bool {
        let length: u64 = self.lengths.iter().map(|length| u64::from(*length)).sum();
        self.len() >= BLOCK_ROWS_MAX || length * 2 >= BLOCK_LENGTH_MAX
    }

    /// The place of a term.
    pub(super) fn place_of(&self, term: u64) -> Option<usize> {
        let terms = &*self.terms;
        // Fingerprints are spread evenly, so where one is can be told from what it is, but for
        // some hundred places; the steps from there double.
        let guess = (u128::from(term) * terms.len() as u128) >> 64;
        let guess = usize::try_from(guess).unwrap_or_default();
        let (mut low, mut high, mut step) = (guess, guess, 8);
        while low > 0 && terms[low] > term {
            low = low.saturating_sub(step);
            step *= 2;
        }
        while high < terms.len() && terms[high] < term {
            high = (high + step).min(terms.len());
            step *= 2;
        }
        let high = terms.len().min(high + 1);
        terms[low..high].binary_search(&term).ok().map(|at| low + at)
    }

    /// The postings of the term at a place.
    pub(super) fn list_at(&self, place: usize) -> List<'_> {
        let Range { start, end } = self.starts[place]..self.starts[place + 1];
        let postings = &self.postings[start as usize..end as usize];
        List { postings, first: start, frequent: &self.frequent }
    }

    /// The best of the list at a place; `None` where only reading it tells.
    pub(super) fn peak_at(&self, place: usize) -> Option<Peak> {
        let found = self.peaks.binary_search_by_key(&place, |peak| peak.place as usize);
        found.ok().map(|at| self.peaks[at])
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.keys)
            + size_of_val(&*self.lengths)
            + size_of_val(&*self.terms)
            + size_of_val(&*self.starts)
            + size_of_val(&*self.postings)
            + size_of_val(&*self.frequent)
            + size_of_val(&*self.peaks)
    }
}

/// How many of the rows, which have these lengths, one block takes.
fn rows_that_fit(lengths: impl Iterator<Item = u32>) -> usize {
    let mut length = 0;
    let fits = |more: &u32| {
        length += u64::from(*more);
        length <= BLOCK_LENGTH_MAX
    };
    lengths.take(BLOCK_ROWS_MAX).take_while(fits).count().max(1)
}

/// A block that is being made, list by list.
#[derive(Default)]
pub(super) struct Filling {
    keys: Vec<RowKey>,
    lengths: Vec<u32>,
    terms: Vec<u64>,
    starts: Vec<u32>,
    postings: Vec<Posting>,
    /// Where the list at the end begins.
    list_start: usize,
    frequent: Vec<(u32, u32)>,
    peaks: Vec<Peak>,
}

impl Filling {
    /// Of these rows and no lists; `None` when no block can have so many.
    pub(super) fn of_rows(keys: Vec<RowKey>, lengths: Vec<u32>) -> Option<Self> {
        (keys.len() <= BLOCK_ROWS_MAX).then_some(Self { keys, lengths, ..Self::default() })
    }

    /// Adds a posting of another block to the list at the end; `frequent` tells the frequency
    /// that it cannot say, with its place. `None` when it cannot follow what is there.
    pub(super) fn push_posting(
        &mut self,
        posting: u16,
        frequent: impl FnOnce() -> Option<(u32, u32)>,
    ) -> Option<()> {
        let posting = Posting(posting);
        let follows = self.postings[self.list_start..].last().map(|last| last.row());
        if posting.row() >= self.keys.len() || follows.is_some_and(|last| last >= posting.row()) {
            return None;
        }
        let here = place(self.postings.len());
        let told = |(at, frequency): &(u32, u32)| *at == here && *frequency >= FREQUENT;
        let frequency = match posting.frequency() {
            Some(frequency) => (frequency > 0).then_some(frequency)?,
            None => frequent().filter(told)?.1,
        };
        self.push(posting.row(), frequency);
        Some(())
    }

    /// Postings of all lists.
    pub(super) fn num_postings(&self) -> usize {
        self.postings.len()
    }

    /// Adds a posting to the list at the end.
    fn push(&mut self, row: usize, frequency: u32) {
        if frequency >= FREQUENT {
            self.frequent.push((place(self.postings.len()), frequency));
        }
        self.postings.push(Posting::new(row, frequency));
    }

    /// Ends a list, which has what was pushed since the one before; nothing when that is nothing.
    pub(super) fn close(&mut self, term: u64) {
        let start = self.list_start;
        let postings = &self.postings[start..];
        if postings.is_empty() {
            return;
        }
        if postings.len() >= PEAK_POSTINGS_MIN {
            let list = List { postings, first: place(start), frequent: &self.frequent };
            let mut peak =
                Peak { place: place(self.terms.len()), frequency_max: 0, length_min: u32::MAX };
            for (row, frequency) in list.iter() {
                peak.frequency_max = peak.frequency_max.max(frequency);
                peak.length_min = peak.length_min.min(self.lengths[row]);
            }
            self.peaks.push(peak);
        }
        self.terms.push(term);
        self.starts.push(place(start));
        self.list_start = self.postings.len();
    }

    pub(super) fn finish(mut self) -> Block {
        self.starts.push(place(self.list_start));
        Block {
            keys: self.keys.into(),
            lengths: self.lengths.into(),
            terms: self.terms.into(),
            starts: self.starts.into(),
            postings: self.postings.into(),
            frequent: self.frequent.into(),
            peaks: self.peaks.into(),
        }
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
