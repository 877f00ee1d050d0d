//! The growing segment: hides how a stream of small updates becomes blocks worth scanning, and
//! how the space of removed rows comes back.
//!
//! Blocks never change; a row is removed by a mark beside its block. New rows become a block, and
//! the blocks before it that are no larger are merged into it, as carries run through a binary
//! counter: a row is copied some log₂(block size) times until its block is full, and there are
//! never many small blocks. A block that is half dead is merged likewise, which its removals pay
//! for.
//!
//! Graphs lie over blocks that stay where they are: a graph names the blocks whose rows it links,
//! and those are not merged while it is there. A row is removed from under a graph as from any
//! block. So a graph comes and goes without a row being moved.

use std::sync::Arc;

use super::RowKey;
use super::block::{Block, Draft, Shape};
use super::graph::Graph;
use super::policy::is_worn;
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

    /// With this id; these of its rows are removed.
    pub(super) fn with_removed(
        id: u64,
        block: Block,
        removed: impl Iterator<Item = usize>,
    ) -> Self {
        let mut tombstones = Tombstones::of_rows(block.len());
        removed.for_each(|row| tombstones.insert(row));
        let tombstones = (tombstones.count > 0).then(|| Arc::new(tombstones));
        Self { id, block: Arc::new(block), tombstones }
    }

    /// Rows that are not removed.
    pub(super) fn live(&self) -> usize {
        self.block.len() - self.tombstones.as_ref().map_or(0, |tombstones| tombstones.count)
    }

    /// Removed rows.
    pub(super) fn tombstones(&self) -> usize {
        self.block.len() - self.live()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let marks = self.tombstones.as_ref().map_or(0, |marks| marks.words.len() * 8);
        size_of::<Self>() + self.block.bytes() + marks
    }

    fn is_worn(&self, dead_percent: usize) -> bool {
        is_worn(self.block.len(), self.live(), dead_percent)
    }

    /// The places of rows that are not removed.
    pub(super) fn live_rows(&self) -> impl Iterator<Item = usize> {
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
    /// Each over consecutive parts, in their order; no part has two.
    graphs: Vec<Arc<Graph>>,
    /// Parts with ids below this are not merged for being small: a graph is being built on them.
    sealed: u64,
}

/// Dead blocks that one update merges at most: some milliseconds of copying.
const COMPACTED_PARTS_MAX: usize = 4;

impl Flat {
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, parts: Vec::new(), next_id: 0, graphs: Vec::new(), sealed: 0 }
    }

    /// With these parts, which lie still.
    pub(super) fn with_parts(shape: Shape, parts: Vec<Part>) -> Self {
        let next_id = parts.last().map_or(0, |part| part.id + 1);
        Self { parts, next_id, sealed: next_id, ..Self::new(shape) }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The graphs, each with the place of its first part.
    pub(super) fn graphs(&self) -> impl Iterator<Item = (usize, &Arc<Graph>)> {
        self.graphs.iter().map(|graph| {
            let first = graph.parts()[0];
            (self.parts.partition_point(|part| part.id < first), graph)
        })
    }

    /// Has these graphs and no others.
    pub(super) fn set_graphs(&mut self, graphs: Vec<Arc<Graph>>) {
        self.graphs = graphs;
    }

    /// Before the first part: it and those behind it get ids from this one on.
    pub(super) fn begin_at(&mut self, id: u64) {
        debug_assert!(self.parts.is_empty(), "parts have their ids already");
        (self.next_id, self.sealed) = (id, id);
    }

    /// Puts parts with lower ids than any that there is, and graphs over them, before all.
    pub(super) fn put_before(&mut self, parts: Vec<Part>, graphs: Vec<Arc<Graph>>) {
        self.parts.splice(0..0, parts);
        self.graphs.splice(0..0, graphs);
    }

    /// Puts a graph in place of those over the same parts. False, and nothing changes, when its
    /// parts are no longer there or another graph has some of them and others.
    pub(super) fn install(&mut self, graph: Graph) -> bool {
        let (Some(first), Some(last)) = (graph.parts().first(), graph.parts().last()) else {
            return false;
        };
        let place = self.parts.partition_point(|part| part.id < *first);
        let here = self.parts[place..].iter().map(Part::id).take(graph.parts().len());
        let within = |other: &Graph| graph.parts().binary_search(&other.parts()[0]).is_ok();
        let outside = |other: &Graph| {
            let ids = other.parts();
            ids[0] > *last || ids.last() < Some(first)
        };
        let nested = |other: &Arc<Graph>| {
            outside(other) || within(other) && other.parts().last() <= Some(last)
        };
        if !here.eq(graph.parts().iter().copied()) || !self.graphs.iter().all(nested) {
            return false;
        }
        self.graphs.retain(|other| outside(other));
        let at = self.graphs.partition_point(|other| other.parts()[0] < *first);
        self.sealed = self.sealed.max(*last + 1);
        self.graphs.insert(at, Arc::new(graph));
        true
    }

    /// Takes off the graphs that begin with these parts.
    pub(super) fn take_off(&mut self, first_parts: &[u64]) {
        self.graphs.retain(|graph| !first_parts.contains(&graph.parts()[0]));
    }

    /// Whether the part may yet be merged for being small.
    pub(super) fn grows(&self, part: &Part) -> bool {
        part.block.len() < self.shape.block_rows_max && part.id >= self.sealed
    }

    /// From now on the parts that are there are merged only when half dead.
    pub(super) fn seal(&mut self) {
        self.sealed = self.next_id;
    }

    /// Whether a graph has this part.
    fn is_linked(&self, id: u64) -> bool {
        let at = self.graphs.partition_point(|graph| graph.parts()[0] <= id);
        at > 0 && self.graphs[at - 1].parts().last() >= Some(&id)
    }

    /// Rows that are not removed.
    pub(super) fn live(&self) -> usize {
        self.parts.iter().map(Part::live).sum()
    }

    /// Removed rows that still take space.
    pub(super) fn tombstones(&self) -> usize {
        self.parts.iter().map(Part::tombstones).sum()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let graphs: usize = self.graphs.iter().map(|graph| graph.bytes()).sum();
        self.parts.iter().map(Part::bytes).sum::<usize>() + graphs
    }

    /// The place of a row's part and its own there, by a look at all keys.
    pub(super) fn find(&self, key: RowKey) -> Option<(usize, usize)> {
        self.parts.iter().enumerate().find_map(|(place, part)| {
            let is_it = |row: &usize| part.block.keys()[*row] == key;
            part.live_rows().find(is_it).map(|row| (place, row))
        })
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
    pub(super) fn append(&mut self, added: &[(RowKey, Vector)], dead_percent: usize) -> u64 {
        let first = self.next_id;
        let moved = self.take_parts_to_merge(added.len(), dead_percent);
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

    /// Whether there are parts without a graph of which so much is dead.
    pub(super) fn is_to_compact(&self, dead_percent: usize) -> bool {
        self.parts.iter().any(|part| part.is_worn(dead_percent) && !self.is_linked(part.id))
    }

    /// Takes out parts of which so much is dead, and the parts at the end that are not
    /// full and no larger than what is merged already.
    fn take_parts_to_merge(&mut self, added: usize, dead_percent: usize) -> Vec<Part> {
        let mut moved = Vec::new();
        let mut place = 0;
        while place < self.parts.len() && moved.len() < COMPACTED_PARTS_MAX {
            let part = &self.parts[place];
            if part.is_worn(dead_percent) && !self.is_linked(part.id) {
                moved.push(self.parts.remove(place));
            } else {
                place += 1;
            }
        }
        let mut rows = added + moved.iter().map(Part::live).sum::<usize>();
        while self.parts.last().is_some_and(|last| last.live() <= rows && self.grows(last)) {
            let Some(last) = self.parts.pop() else { break };
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
    block: Option<Draft>,
    /// Rows still to come: blocks get the room that they need and no more.
    rows_left: usize,
}

impl Filling<'_> {
    fn push(&mut self, fill: impl FnOnce(&Shape, &mut Draft)) {
        let room = self.rows_left.min(self.flat.shape.block_rows_max);
        let shape = &self.flat.shape;
        let mut block = self.block.take().unwrap_or_else(|| Draft::with_capacity(shape, room));
        fill(shape, &mut block);
        self.rows_left -= 1;
        if self.rows_left > 0 && block.len() < shape.block_rows_max {
            self.block = Some(block);
            return;
        }
        let part =
            Part { id: self.flat.next_id, block: Arc::new(block.finish()), tombstones: None };
        self.flat.parts.push(part);
        self.flat.next_id += 1;
    }
}
