//! A choice among the rows of a view: hides how it is kept, which is one bit a row.

use std::ops::Range;

use super::RowKey;
use super::flat::Part;

/// Rows of one view that a search may find. Immutable, and of use with that view only.
///
/// Holds a bit for each row of the view, tombstones included.
#[derive(Debug, Clone)]
pub struct Rows {
    parts: Vec<PartRows>,
    count: usize,
}

impl Rows {
    /// The live rows of these parts that are wanted.
    pub(super) fn of(parts: &[Part], mut is_wanted: impl FnMut(RowKey) -> bool) -> Self {
        let parts: Vec<PartRows> =
            parts.iter().map(|part| PartRows::of(part, &mut is_wanted)).collect();
        let count = parts.iter().map(|part| part.count).sum();
        Self { parts, count }
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let part = |part: &PartRows| size_of::<PartRows>() + 8 * part.words.capacity();
        size_of::<Self>() + self.parts.iter().map(part).sum::<usize>()
    }

    /// Part by part, as the view has them.
    pub(super) fn parts(&self) -> &[PartRows] {
        &self.parts
    }

    /// Whether it was chosen from these parts.
    pub(super) fn is_of(&self, parts: &[Part]) -> bool {
        self.parts.iter().map(|part| part.id).eq(parts.iter().map(Part::id))
    }
}

/// Rows of one part.
#[derive(Debug, Clone)]
pub(super) struct PartRows {
    id: u64,
    /// Empty when there is none.
    words: Vec<u64>,
    count: usize,
}

/// Wanted rows this near to each other are scanned together with those between them: a call
/// for each would cost more.
const GAP_ROWS_MAX: usize = 4;

impl PartRows {
    fn of(part: &Part, is_wanted: &mut impl FnMut(RowKey) -> bool) -> Self {
        let keys = part.block().keys();
        let mut words = vec![0_u64; keys.len().div_ceil(64)];
        for (row, key) in keys.iter().enumerate() {
            if !part.is_dead(row) && is_wanted(*key) {
                words[row / 64] |= 1 << (row % 64);
            }
        }
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        if count == 0 {
            words = Vec::new();
        }
        Self { id: part.id(), words, count }
    }

    /// How many rows.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether the row is one of them.
    pub(super) fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// All of them, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        let end = 64 * self.words.len();
        std::iter::successors(self.next(0, end), move |row| self.next(row + 1, end))
    }

    /// Runs of rows within `range` that have all of these within it and few others.
    pub(super) fn runs(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut from = range.start;
        std::iter::from_fn(move || {
            let first = self.next(from, range.end)?;
            let mut end = first + 1;
            while let Some(next) = self.next(end, range.end.min(end + GAP_ROWS_MAX + 1)) {
                end = next + 1;
            }
            from = end;
            Some(first..end)
        })
    }

    /// The first of these rows in `from..end`.
    fn next(&self, from: usize, end: usize) -> Option<usize> {
        let mut row = from;
        while row < end {
            let word = self.words.get(row / 64)? >> (row % 64);
            if word != 0 {
                let found = row + word.trailing_zeros() as usize;
                return (found < end).then_some(found);
            }
            row = (row / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_have_every_row_once_and_begin_and_end_with_one(
            rows in prop::collection::btree_set(0_usize..300, 0..200),
            start in 0_usize..300,
            length in 0_usize..300,
        ) {
            let mut words = vec![0_u64; 5];
            for row in &rows {
                words[row / 64] |= 1 << (row % 64);
            }
            let part = PartRows { id: 0, words, count: rows.len() };
            let range = start..(start + length).min(300);
            let runs: Vec<_> = part.runs(range.clone()).collect();
            let wanted: Vec<usize> = rows.iter().copied().filter(|row| range.contains(row)).collect();
            prop_assert!(part.rows().eq(rows.iter().copied()));
            let found: Vec<usize> =
                runs.iter().cloned().flatten().filter(|row| part.contains(*row)).collect();
            prop_assert_eq!(found, wanted);
            for run in &runs {
                prop_assert!(part.contains(run.start) && part.contains(run.end - 1));
            }
            for pair in runs.windows(2) {
                prop_assert!(pair[1].start > pair[0].end + GAP_ROWS_MAX);
            }
        }
    }
}
