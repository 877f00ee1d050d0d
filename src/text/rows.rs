//! A choice among the rows of a view: hides how it is kept, which is one bit a row.

use super::parts::Part;
use crate::types::RowKey;

/// Rows of one view that a search may find. Immutable, and of use with that view only.
#[derive(Debug, Clone)]
pub struct TextRows {
    pub(super) parts: Vec<PartRows>,
    count: usize,
}

/// Rows of one part.
#[derive(Debug, Clone)]
pub(super) struct PartRows {
    id: u64,
    /// Empty when there is none.
    words: Box<[u64]>,
    pub(super) count: usize,
}

impl TextRows {
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
        let part = |part: &PartRows| size_of::<PartRows>() + size_of_val(&*part.words);
        size_of::<Self>() + self.parts.iter().map(part).sum::<usize>()
    }

    /// Whether it was chosen from these parts.
    pub(super) fn is_of(&self, parts: &[Part]) -> bool {
        self.parts.iter().map(|part| part.id).eq(parts.iter().map(|part| part.id))
    }
}

impl PartRows {
    fn of(part: &Part, is_wanted: &mut impl FnMut(RowKey) -> bool) -> Self {
        let mut words = vec![0_u64; part.block.len().div_ceil(64)];
        let mut count = 0;
        for (row, key) in part.block.keys.iter().enumerate() {
            if !part.is_dead(row) && is_wanted(*key) {
                words[row / 64] |= 1 << (row % 64);
                count += 1;
            }
        }
        if count == 0 {
            words = Vec::new();
        }
        Self { id: part.id, words: words.into(), count }
    }

    /// The bits of the 64 rows from `64 * at` on.
    pub(super) fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or_default()
    }
}
