//! The blocks of an index: hides how a stream of small updates becomes blocks worth searching,
//! and how the space of removed rows comes back.
//!
//! Blocks never change; a row is removed by a mark beside its block. New rows become a block, and
//! the blocks before it that are no larger are merged into it, as carries run through a binary
//! counter: a row is copied some log₂(block size) times until its block is full, and there are
//! never many small blocks. A block that is half dead is merged likewise, which its removals pay
//! for.

use std::sync::Arc;

use super::block::Block;
use super::terms::RowTerms;
use crate::types::RowKey;

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    /// The part's id.
    pub(super) part: u64,
    /// The row's place in it.
    pub(super) row: u32,
}

/// A block and which of its rows are removed.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) id: u64,
    pub(super) block: Arc<Block>,
    pub(super) tombstones: Option<Arc<Tombstones>>,
    /// Terms in its live rows, repetitions included.
    pub(super) length: u64,
}

impl Part {
    pub(super) fn new(id: u64, block: Block, tombstones: Option<Tombstones>) -> Self {
        let is_dead = |row| tombstones.as_ref().is_some_and(|dead| dead.contains(row));
        let lengths = block.lengths.iter().enumerate().filter(|(row, _)| !is_dead(*row));
        let length = lengths.map(|(_, length)| u64::from(*length)).sum();
        Self { id, block: Arc::new(block), tombstones: tombstones.map(Arc::new), length }
    }

    /// Whether the row is removed.
    pub(super) fn is_dead(&self, row: usize) -> bool {
        self.tombstones.as_ref().is_some_and(|tombstones| tombstones.contains(row))
    }

    /// Rows that are not removed.
    pub(super) fn live(&self) -> usize {
        self.block.len() - self.tombstones.as_ref().map_or(0, |tombstones| tombstones.count)
    }

    fn bury(&mut self, row: usize) {
        if self.is_dead(row) {
            return;
        }
        let rows = self.block.len();
        let tombstones = self.tombstones.get_or_insert_with(|| Arc::new(Tombstones::of_rows(rows)));
        Arc::make_mut(tombstones).insert(row);
        self.length -= u64::from(self.block.lengths[row]);
    }

    fn bytes(&self) -> usize {
        let marks = self.tombstones.as_ref().map_or(0, |marks| size_of_val(&*marks.words));
        size_of::<Self>() + self.block.bytes() + marks
    }
}

/// A set of rows of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tombstones {
    /// A bit a row.
    pub(super) words: Box<[u64]>,
    pub(super) count: usize,
}

impl Tombstones {
    fn of_rows(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)].into(), count: 0 }
    }

    /// Of a bit a row; `None` when they are not of so many rows.
    pub(super) fn of_words(words: Vec<u64>, rows: usize) -> Option<Self> {
        let used = 64 - words.last()?.leading_zeros() as usize;
        let fits = words.len() == rows.div_ceil(64) && (words.len() - 1) * 64 + used <= rows;
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        fits.then_some(Self { words: words.into(), count })
    }

    pub(super) fn contains(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    fn insert(&mut self, row: usize) {
        self.count += usize::from(!self.contains(row));
        self.words[row / 64] |= 1 << (row % 64);
    }
}

/// All rows of an index. A clone shares the blocks and is not changed by changes to this.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    /// In the order of their ids.
    parts: Vec<Part>,
    /// No part has had this id or a higher one.
    next_id: u64,
}

impl Parts {
    /// Of parts in the order of their ids.
    pub(super) fn of(parts: Vec<Part>) -> Self {
        let next_id = parts.last().map_or(0, |part| part.id + 1);
        Self { parts, next_id }
    }

    pub(super) fn as_slice(&self) -> &[Part] {
        &self.parts
    }

    /// Rows that are not removed.
    pub(super) fn live(&self) -> usize {
        self.parts.iter().map(Part::live).sum()
    }

    /// Removed rows that still take space.
    pub(super) fn tombstones(&self) -> usize {
        self.parts.iter().map(|part| part.block.len() - part.live()).sum()
    }

    /// Terms in all live rows, repetitions included.
    pub(super) fn length(&self) -> u64 {
        self.parts.iter().map(|part| part.length).sum()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Marks a row as removed. A part that is no more has no effect.
    pub(super) fn bury(&mut self, location: Location) {
        if let Ok(at) = self.parts.binary_search_by_key(&location.part, |part| part.id) {
            self.parts[at].bury(location.row as usize);
        }
    }

    /// Adds rows, and merges what there is to merge. Says the id of the first new part: all
    /// parts from it on have rows that are new or have moved ([`Parts::rows_since`]).
    pub(super) fn append(&mut self, added: &[(RowKey, RowTerms)]) -> u64 {
        let first = self.next_id;
        let fresh = Block::of_rows(added);
        let moved = self.take_parts_to_merge(fresh.iter().map(Block::len).sum());
        let blocks = if moved.is_empty() {
            fresh
        } else {
            let sources = moved.iter().map(|part| &*part.block).chain(&fresh);
            let sources: Vec<&Block> = sources.collect();
            Block::merge(&sources, |source, row| {
                moved.get(source).is_some_and(|part| part.is_dead(row))
            })
        };
        for block in blocks {
            self.parts.push(Part::new(self.next_id, block, None));
            self.next_id += 1;
        }
        first
    }

    /// All rows of the parts from this id on, in order.
    pub(super) fn rows_since(&self, first: u64) -> impl Iterator<Item = (Location, RowKey)> {
        let from = self.parts.partition_point(|part| part.id < first);
        self.parts[from..].iter().flat_map(|part| {
            let location = |row| Location { part: part.id, row };
            (0..).map(location).zip(part.block.keys.iter().copied())
        })
    }

    /// Takes out the parts that are at least half dead, and the parts at the end that are not
    /// full and no larger than what is merged already.
    fn take_parts_to_merge(&mut self, added: usize) -> Vec<Part> {
        let half_dead = |part: &mut Part| part.live() * 2 <= part.block.len();
        let mut moved: Vec<Part> = self.parts.extract_if(.., half_dead).collect();
        let mut rows = added + moved.iter().map(Part::live).sum::<usize>();
        while let Some(last) =
            self.parts.pop_if(|last| last.live() <= rows && !last.block.is_full())
        {
            rows += last.live();
            moved.push(last);
        }
        // Oldest first, so that rows written together stay together.
        moved.sort_unstable_by_key(|part| part.id);
        moved
    }
}
