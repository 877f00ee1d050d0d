//! Building a graph: hides the crate that does it, and what it must be kept from.
//!
//! `instant-distance` builds over int8 codes where they lie, without copying them. Three things it
//! must not see: rows with the same codes (more links at distance 0 than a node has would hide
//! everything else, so they are folded into one node), its option to extend candidates (it
//! deadlocks), and its own option to keep pruned links (four times the work).
//!
//! A finished graph is tried on a sample of its own rows, as queries with a known answer. That
//! finds how wide walks must be, and whether the graph is good enough to be used at all: codes
//! that serve a set of vectors badly (far from the origin, for L2) are found out here and leave it
//! to the exact scan.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use instant_distance::{Builder, Heuristic, Point};
use progress_bar::ProgressBar;
use serde::{Serialize, Serializer};

use super::block::Shape;
use super::flat::Part;
use super::graph::{Graph, Layers, Node, Width};
use super::kernels::{Kernels, RowLane};
use super::links::LinksWriter;
use super::trial;
use crate::types::Metric;

/// How many near nodes the builder looks at for each new one: at 200 it takes twice as long for
/// a walk that is a tenth shorter.
const EF_CONSTRUCTION: usize = 100;
/// Any: the same rows give the same layers.
const SEED: u64 = 0x6172_7277;

/// Why there is no graph.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// It was told to stop.
    #[error("the build was stopped")]
    Stopped,
    /// Not even wide walks find enough of what is there.
    #[error("a graph over these vectors finds {recall:.3} of what is nearest; they stay flat")]
    Unsuited {
        /// Of the 10 nearest, by the widest walk tried.
        recall: f64,
    },
    /// The builder failed.
    #[error("the graph builder failed: {0}")]
    Failed(&'static str),
}

/// How far a build is; clones are one. Also the way to stop it.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { bar: ProgressBar::hidden(), stop: Arc::default() }
    }
}

impl Progress {
    /// Makes the build end within some milliseconds.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Rows that are linked already, to the nearest thousand, and all rows that will be; 0 of 0
    /// before it begins.
    #[must_use]
    pub fn rows(&self) -> (u64, u64) {
        (self.bar.position(), self.bar.length().unwrap_or_default())
    }
}

/// A row as the builder sees it.
#[derive(Clone)]
struct Row<'a> {
    codes: &'a [RowLane],
    of: &'a Comparison<'a>,
    scale: f32,
    /// L2: the squared norm. Dot: what makes all rows equally long ([`Comparison`]).
    square: f32,
}

/// What all comparisons of a build have in common.
struct Comparison<'a> {
    kernels: Kernels,
    metric: Metric,
    stop: &'a AtomicBool,
}

/// What unwinds the builder when it is told to stop.
struct Stopped;

impl Point for Row<'_> {
    fn distance(&self, other: &Self) -> f32 {
        let Comparison { kernels, metric, stop } = self.of;
        if stop.load(Ordering::Relaxed) {
            // Not a panic of which anybody is told.
            resume_unwind(Box::new(Stopped));
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let codes = kernels.code_dot(self.codes, other.codes) as f32;
        let dot = self.scale * other.scale * codes;
        match metric {
            Metric::Cosine => 1.0 - dot,
            // Each row gets one number more, so that all have the length of the longest: then the
            // largest dot product is the smallest angle, and nearness goes both ways (Bachrach and
            // others, 2014).
            Metric::Dot => -(dot + self.square * other.square),
            Metric::L2 => self.square + other.square - 2.0 * dot,
        }
    }
}

/// To the builder's serialised form rows add nothing.
impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// Builds a graph over the live rows of these parts, on the threads of the current rayon pool.
///
/// Cost: about 0.1 ms of a core a row of 256 numbers, and 0.7 KB of memory a row until it ends.
pub(super) fn build(
    shape: &Shape,
    parts: &[Part],
    progress: &Progress,
) -> Result<Graph, BuildError> {
    let kernels = Kernels::best();
    let (nodes, twins) = nodes_of(shape, parts);
    if nodes.is_empty() {
        return Err(BuildError::Failed("there are no rows"));
    }
    let comparison = Comparison { kernels, metric: shape.metric, stop: &progress.stop };
    let rows = rows_of(shape, parts, &nodes, &comparison);
    let work = AssertUnwindSafe(|| link(rows, progress.bar.clone()));
    let (writer, ranks) = match catch_unwind(work) {
        Ok(Ok(linked)) => linked,
        Ok(Err(error)) => return Err(error),
        Err(cause) if cause.is::<Stopped>() || progress.is_stopped() => {
            return Err(BuildError::Stopped);
        }
        Err(_) => return Err(BuildError::Failed("it panicked")),
    };
    let layers = writer.finish().ok_or(BuildError::Failed("what it gave is no graph"))?;
    let mut layers = layers.into_iter();
    let base = layers.next().ok_or(BuildError::Failed("what it gave has no base"))?;
    let mut names = vec![0; nodes.len()];
    for (node, rank) in nodes.iter().zip(ranks) {
        names[rank as usize] = *node;
    }
    let of = Layers {
        parts: parts.iter().map(Part::id).collect(),
        row_bits: shape.row_bits(),
        base,
        upper: layers.collect(),
        names,
        twins,
    };
    // Until the trial says better.
    let graph = Graph::new(of, Width { of_10: 64, of_100: 256 });
    trial::widen(shape, parts, graph, progress)
}

/// Links of all rows, and each row's rank.
fn link(rows: Vec<Row<'_>>, bar: ProgressBar) -> Result<(LinksWriter, Vec<u32>), BuildError> {
    let (graph, ranks) = Builder::default()
        .ef_construction(EF_CONSTRUCTION)
        .select_heuristic(Some(Heuristic { extend_candidates: false, keep_pruned: false }))
        .seed(SEED)
        .progress(bar)
        .build_hnsw(rows);
    let mut writer = postcard::to_io(&graph, LinksWriter::new())
        .map_err(|_| BuildError::Failed("its links could not be read"))?;
    writer.flush().map_err(|_| BuildError::Failed("its links could not be read"))?;
    Ok((writer, ranks.into_iter().map(instant_distance::PointId::into_inner).collect()))
}

/// The live rows that become nodes, and those that are twins of one of them.
#[expect(clippy::cast_possible_truncation, reason = "names of rows have 32 bits")]
fn nodes_of(shape: &Shape, parts: &[Part]) -> (Vec<Node>, Vec<(Node, Node)>) {
    let place_of = |node: Node| place_of(shape, node);
    // By checksum, so that rows with the same codes lie beside each other, the first of them first.
    let mut rows: Vec<(u32, Node)> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let node = |row: usize| (place << shape.row_bits() | row) as Node;
        let block = part.block();
        rows.extend(
            part.live_rows().map(|row| (checksum(block.codes_of(row, row + 1)), node(row))),
        );
    }
    rows.sort_unstable();
    let codes_of = |node: Node| {
        let (place, row) = place_of(node);
        let block = parts[place].block();
        let scale = block.columns_of(row, row + 1).scales[0].to_bits();
        (block.codes_of(row, row + 1), scale)
    };
    let (mut nodes, mut twins) = (Vec::with_capacity(rows.len()), Vec::new());
    for alike in rows.chunk_by(|a, b| a.0 == b.0) {
        // Of one checksum, and nearly always all the same.
        let first = nodes.len();
        for (_, node) in alike {
            let codes = codes_of(*node);
            match nodes[first..].iter().find(|known| codes_of(**known) == codes) {
                Some(known) => twins.push((*known, *node)),
                None => nodes.push(*node),
            }
        }
    }
    nodes.sort_unstable();
    twins.sort_unstable();
    twins.shrink_to_fit();
    (nodes, twins)
}

/// The place of a node's part, and its own in the part.
fn place_of(shape: &Shape, node: Node) -> (usize, usize) {
    ((node >> shape.row_bits()) as usize, node as usize & ((1 << shape.row_bits()) - 1))
}

fn checksum(codes: &[RowLane]) -> u32 {
    codes.iter().fold(0, |sum, lane| crc32c::crc32c_append(sum, &lane.0))
}

fn rows_of<'a>(
    shape: &Shape,
    parts: &'a [Part],
    nodes: &[Node],
    of: &'a Comparison<'a>,
) -> Vec<Row<'a>> {
    let place_of = |node: Node| place_of(shape, node);
    let norm_of = |node: &Node| {
        let (place, row) = place_of(*node);
        parts[place].block().columns_of(row, row + 1).norms[0]
    };
    let longest = nodes.iter().map(norm_of).fold(0.0_f32, f32::max);
    let row_of = |node: &Node| {
        let (place, row) = place_of(*node);
        let block = parts[place].block();
        let columns = block.columns_of(row, row + 1);
        let square = match of.metric {
            Metric::Cosine => 0.0,
            Metric::Dot => {
                (longest * longest - columns.norms[0] * columns.norms[0]).max(0.0).sqrt()
            }
            Metric::L2 => columns.squares[0],
        };
        Row { codes: block.codes_of(row, row + 1), of, scale: columns.scales[0], square }
    };
    nodes.iter().map(row_of).collect()
}
