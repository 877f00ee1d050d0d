//! The growing segment: hides how a stream of small updates becomes blocks worth scanning, and
//! how the space of removed rows comes back.
//!
//! Blocks never change; a row is removed by a mark beside its block. New rows become a block, and
//! the blocks before it that are no larger are merged into it, as carries run through a binary
//! counter: a row is copied some log₂(block size) times until its block is full, and there are
//! never many small blocks. A block that is half dead is merged likewise, which its removals pay
//! for.

use std::sync::Arc;

use super::RowKey;
use super::block::{Block, Shape};
use crate::types::Vector;

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
    id: u64,
    block: Arc<Block>,
    tombstones: Option<Arc<Tombstones>>,
}

impl Part {
    /// No other part of the index has or had it.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Its rows, removed ones included.
    pub(super) fn block(&self) -> &Block {
        &self.block
    }

    /// Whether the row is removed.
    pub(super) fn is_dead(&self, row: usize) -> bool {
        self.tombstones.as_ref().is_some_and(|tombstones| tombstones.contains(row))
    }

    fn live(&self) -> usize {
        self.block.len() - self.tombstones.as_ref().map_or(0, |tombstones| tombstones.count)
    }

    fn live_rows(&self) -> impl Iterator<Item = usize> {
        (0..self.block.len()).filter(|row| !self.is_dead(*row))
    }
}

/// A set of rows of one block.
#[derive(Debug, Clone)]
struct Tombstones {
    words: Vec<u64>,
    count: usize,
}

impl Tombstones {
    fn of_rows(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], count: 0 }
    }

    fn contains(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    fn insert(&mut self, row: usize) {
        self.count += usize::from(!self.contains(row));
        self.words[row / 64] |= 1 << (row % 64);
    }
}

/// All rows of the segment. A clone shares the blocks and is not changed by changes to this.
#[derive(Debug, Clone)]
pub(super) struct Flat {
    shape: Shape,
    /// In the order of their ids.
    parts: Vec<Part>,
    /// No part has had this id or a higher one.
    next_id: u64,
}

impl Flat {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, parts: Vec::new(), next_id: 0 }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn parts(&self) -> &[Part] {
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

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let marks = |part: &Part| part.tombstones.as_ref().map_or(0, |marks| marks.words.len() * 8);
        let part = |part: &Part| size_of::<Part>() + part.block.bytes() + marks(part);
        self.parts.iter().map(part).sum()
    }

    /// Marks a row as removed. A part that is no more has no effect.
    pub(super) fn bury(&mut self, location: Location) {
        if let Ok(at) = self.parts.binary_search_by_key(&location.part, |part| part.id) {
            let part = &mut self.parts[at];
            let rows = part.block.len();
            let tombstones =
                part.tombstones.get_or_insert_with(|| Arc::new(Tombstones::of_rows(rows)));
            Arc::make_mut(tombstones).insert(location.row as usize);
        }
    }

    /// Adds rows, and merges what there is to merge. Says the id of the first new part: all
    /// parts from it on have rows that are new or have moved ([`Flat::rows_since`]).
    pub(super) fn append(&mut self, added: &[(RowKey, Vector)]) -> u64 {
        let first = self.next_id;
        let moved = self.take_parts_to_merge(added.len());
        let rows = added.len() + moved.iter().map(Part::live).sum::<usize>();

        let mut filling = Filling { flat: self, block: None, rows_left: rows };
        for part in &moved {
            for row in part.live_rows() {
                filling.push(|_, block| block.push_row_of(&part.block, row));
            }
        }
        for (key, vector) in added {
            filling.push(|shape, block| block.push(shape, *key, vector.as_slice()));
        }
        debug_assert!(filling.block.is_none(), "the last row closes the last block");
        first
    }

    /// All rows of the parts from this id on, in order.
    pub(super) fn rows_since(&self, first: u64) -> impl Iterator<Item = (Location, RowKey)> {
        let from = self.parts.partition_point(|part| part.id < first);
        self.parts[from..].iter().flat_map(|part| {
            let location = |row| Location { part: part.id, row };
            (0..).map(location).zip(part.block.keys().iter().copied())
        })
    }

    /// Takes out the parts that are at least half dead, and the parts at the end that are not
    /// full and no larger than what is merged already.
    fn take_parts_to_merge(&mut self, added: usize) -> Vec<Part> {
        let half_dead = |part: &mut Part| part.live() * 2 <= part.block.len();
        let mut moved: Vec<Part> = self.parts.extract_if(.., half_dead).collect();
        let mut rows = added + moved.iter().map(Part::live).sum::<usize>();
        while let Some(last) = self
            .parts
            .pop_if(|last| last.live() <= rows && last.block.len() < self.shape.block_rows_max)
        {
            rows += last.live();
            moved.push(last);
        }
        // Oldest first, so that rows written together stay together.
        moved.sort_unstable_by_key(|part| part.id);
        moved
    }
}

/// A run of rows on their way into new parts.
struct Filling<'a> {
    flat: &'a mut Flat,
    block: Option<Block>,
    /// Rows still to come: blocks get the room that they need and no more.
    rows_left: usize,
}

impl Filling<'_> {
    fn push(&mut self, fill: impl FnOnce(&Shape, &mut Block)) {
        let room = self.rows_left.min(self.flat.shape.block_rows_max);
        let shape = &self.flat.shape;
        let mut block = self.block.take().unwrap_or_else(|| Block::with_capacity(shape, room));
        fill(shape, &mut block);
        self.rows_left -= 1;
        if self.rows_left > 0 && block.len() < shape.block_rows_max {
            self.block = Some(block);
            return;
        }
        let part = Part { id: self.flat.next_id, block: Arc::new(block), tombstones: None };
        self.flat.parts.push(part);
        self.flat.next_id += 1;
    }
}
