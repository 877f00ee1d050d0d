//! A graph over the rows of some parts: hides its layers and the walk that finds near rows.
//!
//! A hierarchical navigable small world (Malkov and Yashunin, 2018) without vectors of its own: a
//! node *is* a row of a block, named by the block's place and its own. The walk computes distances
//! over codes only, goes through rows that nobody wants but takes none of them, and ends when it
//! is told to. What it finds are candidates; exact distances are for others.
//!
//! Immutable. Rows with the same codes are one node ("twins"): links among many equal rows would
//! take the place of all others.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::block::Block;
use super::kernels::{Columns, RowLane, prefetch, prefetch_codes};
use super::links::{LINKS_MAX, Links};
use super::probe::Probe;

/// Names a row of a graph: its block's place in the graph, and its place in the block.
pub(super) type Node = u32;

/// A graph over the rows of some parts.
#[derive(Debug)]
pub(super) struct Graph {
    /// No other graph of this process has or had it.
    serial: u64,
    parts: Vec<u64>,
    row_bits: u32,
    rows: usize,
    /// Of all rows, by name.
    base: Links,
    /// From the top down; by rank.
    upper: Vec<Links>,
    /// The names of the nodes that are in upper layers, by rank. The first is where walks begin.
    ranks: Vec<Node>,
    /// Pairs of a node and a row with the same codes, sorted.
    twins: Vec<(Node, Node)>,
    width: Width,
}

fn next_serial() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What a graph is made from.
#[derive(Debug)]
pub(super) struct Layers {
    /// The ids of the parts, in order.
    pub(super) parts: Vec<u64>,
    /// Bits of a name that are the place in a block.
    pub(super) row_bits: u32,
    /// By rank.
    pub(super) base: Links,
    /// From the base up, by rank.
    pub(super) upper: Vec<Links>,
    /// Names by rank.
    pub(super) names: Vec<Node>,
    /// Pairs of a node and a row with the same codes, sorted.
    pub(super) twins: Vec<(Node, Node)>,
}

/// How wide a walk must be for a good answer: the number of nearest nodes it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    /// For the 10 nearest.
    pub(super) of_10: usize,
    /// For the 100 nearest.
    pub(super) of_100: usize,
}

impl Width {
    /// For the k nearest: between and beyond the two that are known, in proportion.
    pub(super) fn of(self, k: usize) -> usize {
        match k {
            ..=10 => self.of_10,
            11..=100 => self.of_10 + self.of_100.saturating_sub(self.of_10) * (k - 10) / 90,
            _ => self.of_100.saturating_mul(k).div_ceil(100),
        }
        .max(k)
    }
}

/// Codes of a part, as a walk looks at them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    codes: &'a [RowLane],
    lanes: usize,
    columns: Columns<'a>,
}

impl<'a> Page<'a> {
    pub(super) fn of(block: &'a Block) -> Self {
        let codes = block.codes_of(0, block.len());
        let lanes = codes.len() / block.len().max(1);
        Self { codes, lanes, columns: block.columns_of(0, block.len()) }
    }

    #[inline]
    fn codes_of(&self, row: usize) -> &'a [RowLane] {
        &self.codes[row * self.lanes..(row + 1) * self.lanes]
    }
}

/// What a walk is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Errand {
    /// How many near nodes it keeps on its way.
    pub(super) width: usize,
    /// How many of them it hands over.
    pub(super) take: usize,
    /// After so many distances it gives up.
    pub(super) distances_max: usize,
    /// A node that it does not go to, unless it begins there.
    pub(super) avoid: Option<Node>,
}

/// What a walk writes again each time.
#[derive(Debug, Default)]
struct Scratch {
    visited: Vec<u64>,
    /// Nodes to go to, nearest first.
    frontier: BinaryHeap<Reverse<Seen>>,
    /// The nearest wanted nodes, farthest first.
    nearest: BinaryHeap<Seen>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A node by its distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seen(u64);

impl Seen {
    fn new(key: f32, node: Node) -> Self {
        // Flipped so that unsigned order is the order of numbers.
        let bits = key.to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(ordered) << 32 | u64::from(node))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    fn node(self) -> Node {
        self.0 as Node
    }

    fn is_nearer_than(self, other: Self) -> bool {
        self.0 >> 32 < other.0 >> 32
    }
}

impl Graph {
    /// Of at least one node.
    pub(super) fn new(of: Layers, width: Width) -> Self {
        let Layers { parts, row_bits, base, mut upper, names, twins } = of;
        let base = base.renamed(&names, parts.len() << row_bits);
        // The largest of the upper layers has all ranks that any of them has.
        let ranks = names[..upper.first().map_or(1, Links::len)].to_vec();
        upper.reverse();
        Self {
            serial: next_serial(),
            parts,
            row_bits,
            rows: names.len() + twins.len(),
            base,
            upper,
            ranks,
            twins,
            width,
        }
    }

    /// Out of the arrays that [`Graph::arrays`] gave, over parts 0, 1, … of so many rows each;
    /// `None` when they cannot be such.
    pub(super) fn from_arrays(
        arrays: Vec<Vec<u32>>,
        rows_of_parts: &[usize],
        row_bits: u32,
        width: Width,
    ) -> Option<Self> {
        let is_row = |node: Node| {
            let (place, row) = (node >> row_bits, node & ((1 << row_bits) - 1));
            rows_of_parts.get(place as usize).is_some_and(|rows| (row as usize) < *rows)
        };
        let mut arrays = arrays.into_iter();
        let base = Links::from_arrays(arrays.next()?, arrays.next()?, is_row)?;
        let (ranks, twins) = (arrays.next()?, arrays.next()?);
        let mut upper: Vec<Links> = Vec::new();
        while let Some(offsets) = arrays.next() {
            // A walk goes down from a node to the same node of the next layer.
            let nodes = offsets.len().saturating_sub(1);
            let above = upper.last().map_or(1, Links::len);
            let links =
                Links::from_arrays(offsets, arrays.next()?, |rank| (rank as usize) < nodes)?;
            upper.push(Some(links).filter(|_| above <= nodes && nodes <= ranks.len())?);
        }
        let (twins, odd) = twins.as_chunks::<2>();
        let is_right = base.len() == rows_of_parts.len() << row_bits
            && !ranks.is_empty()
            && ranks.iter().chain(twins.as_flattened()).all(|node| is_row(*node))
            && odd.is_empty()
            && twins.is_sorted();
        let rows = rows_of_parts.iter().sum();
        let parts = (0..rows_of_parts.len() as u64).collect();
        let twins = twins.iter().map(|[node, twin]| (*node, *twin)).collect();
        let serial = next_serial();
        is_right.then_some(Self { serial, parts, row_bits, rows, base, upper, ranks, twins, width })
    }

    /// All that it is but its parts and its width.
    pub(super) fn arrays(&self) -> Vec<std::borrow::Cow<'_, [u32]>> {
        let twins = self.twins.iter().flat_map(|(node, twin)| [*node, *twin]).collect::<Vec<_>>();
        let base = self.base.arrays().into_iter().map(Into::into);
        let upper = self.upper.iter().flat_map(Links::arrays).map(Into::into);
        base.chain([self.ranks.as_slice().into(), twins.into()]).chain(upper).collect()
    }

    /// Lies over the parts from this one on, as many as it has.
    pub(super) fn set_first_part(&mut self, first: u64) {
        let count = self.parts.len() as u64;
        self.parts = (first..first + count).collect();
    }

    /// No other graph of this process has or had it.
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// The parts whose rows it has, in order.
    pub(super) fn parts(&self) -> &[u64] {
        &self.parts
    }

    /// Rows that it was built over.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// How wide walks are unless they are told.
    pub(super) fn width(&self) -> Width {
        self.width
    }

    /// Sets how wide walks are unless they are told.
    pub(super) fn set_width(&mut self, width: Width) {
        self.width = width;
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let links = self.base.bytes() + self.upper.iter().map(Links::bytes).sum::<usize>();
        size_of::<Self>() + links + 4 * self.ranks.capacity() + 8 * self.twins.capacity()
    }

    /// The place of a row's part in the graph, and the row's in the part.
    pub(super) fn place_of(&self, node: Node) -> (usize, usize) {
        ((node >> self.row_bits) as usize, node as usize & ((1 << self.row_bits) - 1))
    }

    /// The nearest wanted rows that a walk meets, nearest first by their codes; `None` when it
    /// took more distances than it was allowed. `pages` are those of [`Graph::parts`].
    pub(super) fn walk(
        &self,
        pages: &[Page<'_>],
        probe: &Probe,
        errand: Errand,
        is_wanted: impl Fn(Node) -> bool,
    ) -> Option<Vec<Node>> {
        let walk = Walk { graph: self, pages, probe };
        let wanted =
            |node| is_wanted(node) || self.twins_of(node).iter().any(|(_, twin)| is_wanted(*twin));
        let nearest = SCRATCH.with_borrow_mut(|scratch| {
            let begin = walk.descend(errand.avoid);
            if self.twins.is_empty() {
                walk.base(begin, errand, scratch, &is_wanted)
            } else {
                walk.base(begin, errand, scratch, wanted)
            }
        })?;
        let mut found = Vec::with_capacity(nearest.len());
        for node in nearest {
            let twins = self.twins_of(node).iter().map(|(_, twin)| *twin);
            found.extend(std::iter::once(node).chain(twins).filter(|node| is_wanted(*node)));
        }
        Some(found)
    }

    /// The node of a row, by the places of its part and its own; not one that stands for others,
    /// too.
    pub(super) fn lone_node_at(&self, place: usize, row: usize) -> Option<Node> {
        let node = Node::try_from(place << self.row_bits | row).ok()?;
        Some(node).filter(|node| self.twins_of(*node).is_empty())
    }

    fn twins_of(&self, node: Node) -> &[(Node, Node)] {
        if self.twins.is_empty() {
            return &[];
        }
        let begin = self.twins.partition_point(|(of, _)| *of < node);
        let count = self.twins[begin..].partition_point(|(of, _)| *of == node);
        &self.twins[begin..begin + count]
    }
}

/// One walk.
struct Walk<'a> {
    graph: &'a Graph,
    pages: &'a [Page<'a>],
    probe: &'a Probe,
}

impl<'a> Walk<'a> {
    /// The node that the upper layers lead to.
    fn descend(&self, avoid: Option<Node>) -> Seen {
        let ranks = &self.graph.ranks;
        let mut best = (self.key_of(ranks[0]), 0_u32);
        for layer in &self.graph.upper {
            loop {
                let here = best.1;
                let mut keys = [0.0; LINKS_MAX];
                let ranks_near = layer.of(here);
                self.keys_of(ranks_near.iter().map(|rank| ranks[*rank as usize]), &mut keys);
                for (rank, key) in ranks_near.iter().zip(keys) {
                    if key < best.0 && Some(ranks[*rank as usize]) != avoid {
                        best = (key, *rank);
                    }
                }
                if best.1 == here {
                    break;
                }
            }
        }
        Seen::new(best.0, ranks[best.1 as usize])
    }

    /// The nearest wanted nodes around, nearest first.
    fn base(
        &self,
        begin: Seen,
        errand: Errand,
        scratch: &mut Scratch,
        is_wanted: impl Fn(Node) -> bool,
    ) -> Option<Vec<Node>> {
        let Scratch { visited, frontier, nearest } = scratch;
        visited.clear();
        visited.resize((self.pages.len() << self.graph.row_bits).div_ceil(64), 0);
        frontier.clear();
        nearest.clear();
        let width = errand.width.max(1);
        let is_new = |visited: &mut [u64], node: Node| {
            let (word, bit) = (&mut visited[node as usize / 64], 1 << (node % 64));
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        };
        is_new(visited, begin.node());
        if let Some(node) = errand.avoid {
            is_new(visited, node);
        }
        frontier.push(Reverse(begin));
        if is_wanted(begin.node()) {
            nearest.push(begin);
        }
        let mut distances = 0;
        let mut around = [0; LINKS_MAX];
        let mut keys = [0.0; LINKS_MAX];
        while let Some(Reverse(here)) = frontier.pop() {
            let farthest = nearest.peek().copied().filter(|_| nearest.len() >= width);
            if farthest.is_some_and(|farthest| farthest.is_nearer_than(here)) {
                break;
            }
            let mut count = 0;
            for node in self.graph.base.of(here.node()) {
                if is_new(visited, *node) {
                    self.prefetch(*node);
                    around[count] = *node;
                    count += 1;
                }
            }
            if let Some(Reverse(next)) = frontier.peek() {
                prefetch(self.graph.base.begin_of(next.node()));
            }
            distances += count;
            if distances > errand.distances_max {
                return None;
            }
            self.keys_of(around[..count].iter().copied(), &mut keys);
            for (node, key) in around[..count].iter().zip(keys) {
                let seen = Seen::new(key, *node);
                let is_full = nearest.len() >= width;
                if is_full && nearest.peek().is_some_and(|worst| !seen.is_nearer_than(*worst)) {
                    continue;
                }
                frontier.push(Reverse(seen));
                if is_wanted(*node) {
                    if is_full {
                        nearest.pop();
                    }
                    nearest.push(seen);
                }
            }
        }
        let mut found: Vec<Seen> = nearest.drain().collect();
        found.sort_unstable();
        found.truncate(errand.take);
        Some(found.into_iter().map(Seen::node).collect())
    }

    #[inline]
    fn prefetch(&self, node: Node) {
        let (place, row) = self.graph.place_of(node);
        let page = &self.pages[place];
        prefetch_codes(page.codes_of(row));
        prefetch(&page.columns.scales[row]);
    }

    fn key_of(&self, node: Node) -> f32 {
        let mut key = [0.0; LINKS_MAX];
        self.keys_of(std::iter::once(node), &mut key);
        key[0]
    }

    /// The keys of up to [`LINKS_MAX`] nodes, as their codes have them.
    fn keys_of(&self, nodes: impl Iterator<Item = Node> + Clone, keys: &mut [f32; LINKS_MAX]) {
        let mut rows: [&[RowLane]; LINKS_MAX] = [&[]; LINKS_MAX];
        let mut dots = [0; LINKS_MAX];
        let mut count = 0;
        for (node, slot) in nodes.clone().zip(&mut rows) {
            let (place, row) = self.graph.place_of(node);
            *slot = self.pages[place].codes_of(row);
            count += 1;
        }
        self.probe.kernels().dots_of(&self.probe.codes, &rows[..count], &mut dots[..count]);
        for ((node, dot), key) in nodes.zip(dots).zip(keys) {
            let (place, row) = self.graph.place_of(node);
            let columns = &self.pages[place].columns;
            *key = self.probe.lower.estimate(dot, columns.scales[row], columns.squares[row]);
        }
    }
}
