//! An immutable state of an index and the search over it: hides segments, passes and threads.

use std::ops::Range;

use rayon::prelude::*;

use super::block::Shape;
use super::flat::{Flat, Part};
use super::kernels::Kernels;
use super::probe::Probe;
use super::rows::{PartRows, Rows};
use super::topk::{Nearest, nearer_first};
use super::{Neighbour, Query, RowKey};

/// An immutable state of a library's index that searches run on.
#[derive(Debug, Clone)]
pub struct View {
    pub(super) flat: Flat,
}

/// Bytes of codes that a pass reads for its first query before the next one reads them: they
/// stay in the cache nearest to the processor.
const CHUNK_BYTES: usize = 32 * 1024;
/// Most rows in a chunk.
const CHUNK_ROWS_MAX: usize = 256;
/// Fewest rows in a chunk.
const CHUNK_ROWS_MIN: usize = 16;
/// A search that multiplies fewer bytes of codes than this (about a millisecond of work) stays
/// on its thread: waking others would cost more than they help.
const BYTES_PER_THREAD_MIN: usize = 16 * 1024 * 1024;

impl View {
    pub(super) fn new(shape: Shape) -> Self {
        Self { flat: Flat::new(shape) }
    }

    /// Live rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flat.live()
    }

    /// Whether there is no live row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it holds, tombstoned rows included. Views of one index share most
    /// of theirs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.flat.bytes()
    }

    /// Rows that are tombstones: removed, and still in memory.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.flat.tombstones()
    }

    /// Segments: one, which grows, as soon as there are rows.
    #[must_use]
    pub fn segments(&self) -> usize {
        usize::from(!self.flat.parts().is_empty())
    }

    /// The live rows that are wanted. Asks for each once, in the order of memory: rows that were
    /// written together mostly come together.
    #[must_use]
    pub fn select(&self, is_wanted: impl FnMut(RowKey) -> bool) -> Rows {
        Rows::of(self.flat.parts(), is_wanted)
    }

    /// Whether the rows were chosen from a view with the same blocks as this one.
    #[must_use]
    pub fn has(&self, rows: &Rows) -> bool {
        rows.is_of(self.flat.parts())
    }

    /// Each query's nearest rows, nearest first, equal distances by row key; fewer than k when
    /// fewer are live (and chosen, where the query has [`Rows`]) or near enough. Exact: what a
    /// scan in single precision gives.
    ///
    /// CPU-bound, and not to be cancelled: runs on the calling thread, and on the current rayon
    /// pool when large. Cost: one pass over a byte per number for all queries together, then
    /// single-precision distances of the rows that the pass could not rule out. Of chosen rows
    /// the pass reads these and few others.
    ///
    /// Panics when rows were chosen from another view.
    #[must_use]
    pub fn search(&self, queries: &[Query<'_>]) -> Vec<Vec<Neighbour>> {
        let wanted = self.scan_bytes(queries.iter().map(|query| query.rows)) / BYTES_PER_THREAD_MIN;
        let threads = wanted.clamp(1, rayon::current_num_threads());
        self.search_with(queries, Kernels::best(), threads)
    }

    /// Bytes that a search of queries for these rows looks at, each query's counted: some 10 to
    /// 20 GB are a second's work of a core.
    #[must_use]
    pub fn scan_bytes<'a>(&self, queries: impl IntoIterator<Item = Option<&'a Rows>>) -> usize {
        let all: usize = self.flat.parts().iter().map(|part| part.block().len()).sum();
        let rows = queries.into_iter().map(|rows| rows.map_or(all, Rows::len)).sum::<usize>();
        rows * 64 * self.flat.shape().code_lanes()
    }

    /// As [`View::search`], with these kernels and in so many pieces.
    pub(super) fn search_with(
        &self,
        queries: &[Query<'_>],
        kernels: Kernels,
        threads: usize,
    ) -> Vec<Vec<Neighbour>> {
        let shape = self.flat.shape();
        for rows in queries.iter().filter_map(|query| query.rows) {
            assert!(self.has(rows), "rows were chosen from another view");
        }
        let probes: Vec<Probe> =
            queries.iter().map(|query| Probe::new(shape, query, kernels)).collect();
        let parts = self.flat.parts();
        let chosen = |places: Range<usize>| -> Vec<Option<&[PartRows]>> {
            queries.iter().map(|query| Some(&query.rows?.parts()[places.clone()])).collect()
        };
        if threads <= 1 {
            return nearest_of(shape, parts, &probes, &chosen(0..parts.len()), kernels);
        }
        let length = parts.len().div_ceil(threads).max(1);
        let pieces: Vec<_> = (0..parts.len())
            .step_by(length)
            .map(|first| first..(first + length).min(parts.len()))
            .map(|places| (&parts[places.clone()], chosen(places)))
            .collect();
        let found: Vec<Vec<Vec<Neighbour>>> = pieces
            .into_par_iter()
            .map(|(piece, chosen)| nearest_of(shape, piece, &probes, &chosen, kernels))
            .collect();
        merge(&probes, found)
    }
}

/// The nearest rows of some parts, for each query: of all rows, or of the chosen ones of each
/// part.
fn nearest_of(
    shape: &Shape,
    parts: &[Part],
    probes: &[Probe],
    chosen: &[Option<&[PartRows]>],
    kernels: Kernels,
) -> Vec<Vec<Neighbour>> {
    let mut all: Vec<(Nearest<'_>, Option<&[PartRows]>)> = probes
        .iter()
        .zip(chosen)
        .filter(|(probe, _)| probe.k > 0)
        .map(|(probe, chosen)| (Nearest::new(probe, parts), *chosen))
        .collect();
    let chunk_rows =
        (CHUNK_BYTES / (64 * shape.code_lanes().max(1))).clamp(CHUNK_ROWS_MIN, CHUNK_ROWS_MAX);
    let mut scratch = Scratch { dots: [0; CHUNK_ROWS_MAX], hits: Vec::new() };
    for (place, part) in parts.iter().enumerate() {
        if all.iter().all(|(_, chosen)| chosen.is_some_and(|chosen| chosen[place].count() == 0)) {
            continue;
        }
        for first in (0..part.block().len()).step_by(chunk_rows) {
            let rows = first..(first + chunk_rows).min(part.block().len());
            for (nearest, chosen) in &mut all {
                let Some(chosen) = chosen.map(|chosen| &chosen[place]) else {
                    let is_live = |row| !part.is_dead(row);
                    offer_rows(nearest, place, part, rows.clone(), is_live, kernels, &mut scratch);
                    continue;
                };
                for run in chosen.runs(rows.clone()) {
                    let is_chosen = |row| chosen.contains(row);
                    offer_rows(nearest, place, part, run, is_chosen, kernels, &mut scratch);
                }
            }
        }
    }
    let mut found = all.into_iter().map(|(nearest, _)| nearest.into_sorted());
    let of_probe = |probe: &Probe| if probe.k > 0 { found.next() } else { None };
    probes.iter().map(of_probe).map(Option::unwrap_or_default).collect()
}

/// What a pass writes again for every chunk and query.
struct Scratch {
    dots: [i32; CHUNK_ROWS_MAX],
    hits: Vec<u32>,
}

/// Offers those of the rows that are wanted and that their bounds do not rule out.
fn offer_rows(
    nearest: &mut Nearest<'_>,
    place: usize,
    part: &Part,
    rows: Range<usize>,
    is_wanted: impl Fn(usize) -> bool,
    kernels: Kernels,
    scratch: &mut Scratch,
) {
    let (first, block, probe) = (rows.start, part.block(), nearest.probe());
    let columns = block.columns_of(rows.start, rows.end);
    let dots = &mut scratch.dots[..rows.len()];
    kernels.dots(&probe.codes, block.codes_of(rows.start, rows.end), dots);
    scratch.hits.clear();
    kernels.sift(dots, columns, &probe.lower, nearest.key_limit(), &mut scratch.hits);
    for at in scratch.hits.iter().map(|at| *at as usize).filter(|at| is_wanted(first + at)) {
        let (scale, residual) = (columns.scales[at], columns.residuals[at]);
        let (norm, square) = (columns.norms[at], columns.squares[at]);
        let lower = probe.lower.bound(dots[at], scale, residual, norm, square);
        let upper = probe.upper.bound(dots[at], scale, residual, norm, square);
        nearest.offer(place, first + at, lower, upper);
    }
}

/// The nearest of all pieces.
fn merge(probes: &[Probe], pieces: Vec<Vec<Vec<Neighbour>>>) -> Vec<Vec<Neighbour>> {
    let mut merged: Vec<Vec<Neighbour>> = probes.iter().map(|_| Vec::new()).collect();
    for piece in pieces {
        for (all, found) in merged.iter_mut().zip(piece) {
            all.extend(found);
        }
    }
    for (all, probe) in merged.iter_mut().zip(probes) {
        // Stable sorts find the runs that each piece has sorted already.
        all.sort_by(nearer_first);
        all.truncate(probe.k);
    }
    merged
}
