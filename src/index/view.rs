//! An immutable state of an index and the search over it: hides segments, passes and threads.

use std::ops::Range;

use rayon::prelude::*;

use super::block::Shape;
use super::flat::{Flat, Part};
use super::graph::{Errand, Graph, Page};
use super::kernels::{FloatLane, Kernels};
use super::plan::{Ask, Walk, Way};
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

/// What a live row's entry in [`super::LibraryIndex`]'s tree takes: 32 bytes, in nodes of eleven of
/// which some seven are taken.
const PLACE_BYTES: usize = 56;

/// A query on its way.
struct Asked<'a> {
    probe: Probe,
    rows: Option<&'a Rows>,
    query: Query<'a>,
    /// The row to avoid, by place of its part and its own.
    avoid: Option<(usize, usize)>,
    /// Rows that walks found, by place of their part and their own.
    found: Vec<(usize, usize)>,
    /// Places of parts that walks have looked through, in order.
    walked: Vec<Range<usize>>,
}

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

    /// Bytes of memory that it and its index hold, tombstoned rows included. Views of one index
    /// share most of theirs. Cost: a look at each block.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.flat.bytes() + self.len() * PLACE_BYTES
    }

    /// Rows that are tombstones: removed, and still in memory.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.flat.tombstones()
    }

    /// The live rows that are wanted. Asks for each once, in the order of memory: rows that were
    /// written together mostly come together.
    #[must_use]
    pub fn select(&self, is_wanted: impl FnMut(RowKey) -> bool) -> Rows {
        Rows::of(self.flat.parts(), is_wanted)
    }

    /// Vectors of so many live rows (or all), spread over the memory; scaled to length 1 for
    /// cosine.
    #[must_use]
    pub fn sample(&self, count: usize) -> Vec<(RowKey, Vec<f32>)> {
        let step = self.len() / count.max(1);
        let dimension = self.flat.shape().dimension;
        let numbers = |lanes: &[FloatLane]| -> Vec<f32> {
            lanes.iter().flat_map(|lane| lane.0).take(dimension).collect()
        };
        let parts = self.flat.parts().iter();
        let rows = parts.flat_map(|part| part.live_rows().map(|row| (part.block(), row)));
        rows.step_by(step.max(1))
            .take(count)
            .map(|(block, row)| (block.keys()[row], block.with_floats(row, numbers)))
            .collect()
    }

    /// The keys of rows that were chosen from this view, in the order of memory.
    pub fn keys_of<'a>(&'a self, rows: &'a Rows) -> impl Iterator<Item = RowKey> + 'a {
        assert!(self.has(rows), "rows were chosen from another view");
        self.flat.parts().iter().zip(rows.parts()).flat_map(|(part, chosen)| {
            let keys = part.block().keys();
            chosen.rows().map(|row| keys[row])
        })
    }

    /// Whether the rows were chosen from a view with the same blocks as this one.
    #[must_use]
    pub fn has(&self, rows: &Rows) -> bool {
        rows.is_of(self.flat.parts())
    }

    /// Each query's nearest rows, nearest first, equal distances by row key; fewer than k when
    /// fewer are live (and chosen, where the query has [`Rows`]) or near enough.
    ///
    /// Distances are always exact: those of single precision. So is the answer where it comes from
    /// scans alone, what a scan of all vectors in single precision gives: always when the query
    /// says so, and for rows that have no graph. Rows that have one are walked to where that is
    /// cheaper, and then a near row may be missing; never is one there that is not live, not
    /// chosen or there already.
    ///
    /// CPU-bound, and not to be cancelled: runs on the calling thread, and on the current rayon
    /// pool when large. Cost: for each query a walk through each graph; one pass over a byte per
    /// number of what is scanned for all queries together, then single-precision distances of the
    /// rows that the pass could not rule out. Of chosen rows the pass reads these and few others.
    ///
    /// Panics when rows were chosen from another view.
    #[must_use]
    pub fn search(&self, queries: &[Query<'_>]) -> Vec<Vec<Neighbour>> {
        let kernels = Kernels::best();
        let asked = self.walk(queries, kernels, rayon::current_num_threads());
        let bytes: usize = asked.iter().map(|asked| self.bytes_left(asked)).sum();
        let threads = (bytes / BYTES_PER_THREAD_MIN).clamp(1, rayon::current_num_threads());
        self.scan(&asked, kernels, threads)
    }

    /// About how many bytes of codes a search of these queries costs to look at, each query's
    /// counted: some 10 to 20 GB are a second's work of a core.
    #[must_use]
    pub fn work_bytes(&self, queries: &[Query<'_>]) -> usize {
        let rows_of = |query: &Query<'_>| {
            let all: usize = match query.rows {
                Some(rows) => rows.len(),
                None => self.flat.parts().iter().map(|part| part.block().len()).sum(),
            };
            let saved = self.flat.graphs().map(|(first, graph)| {
                let ask = self.ask(query, first, graph);
                match ask.way() {
                    Way::Scan => 0,
                    Way::Walk(walk) => ask.wanted.saturating_sub(walk.cost),
                }
            });
            all.saturating_sub(saved.sum())
        };
        queries.iter().map(rows_of).sum::<usize>() * self.row_bytes()
    }

    /// As [`View::search`], with these kernels instead of the best, and its scans in so many
    /// pieces: for tests and measurements.
    #[must_use]
    pub fn search_with(
        &self,
        queries: &[Query<'_>],
        kernels: Kernels,
        threads: usize,
    ) -> Vec<Vec<Neighbour>> {
        let asked = self.walk(queries, kernels, threads);
        self.scan(&asked, kernels, threads)
    }

    fn row_bytes(&self) -> usize {
        64 * self.flat.shape().code_lanes()
    }

    /// What a query asks of the graph whose parts begin at a place.
    fn ask(&self, query: &Query<'_>, first: usize, graph: &Graph) -> Ask {
        let places = first..first + graph.parts().len();
        let wanted = match query.rows {
            Some(rows) => rows.parts()[places].iter().map(PartRows::count).sum(),
            None => self.flat.parts()[places].iter().map(Part::live).sum(),
        };
        let (rows, width) = (graph.rows(), graph.width());
        Ask { k: query.k, exact: query.exact, ef: query.ef, wanted, rows, width }
    }

    /// Makes queries ready and takes the walks that are worth it.
    fn walk<'a>(&self, queries: &[Query<'a>], kernels: Kernels, threads: usize) -> Vec<Asked<'a>> {
        for rows in queries.iter().filter_map(|query| query.rows) {
            assert!(self.has(rows), "rows were chosen from another view");
        }
        let shape = self.flat.shape();
        let ready = |query: &Query<'a>| Asked {
            probe: Probe::new(shape, query, kernels),
            rows: query.rows,
            query: *query,
            avoid: query.avoid.and_then(|key| self.flat.find(key)),
            found: Vec::new(),
            walked: Vec::new(),
        };
        let mut all: Vec<Asked<'a>> = queries.iter().map(ready).collect();
        for (first, graph) in self.flat.graphs() {
            let parts = &self.flat.parts()[first..first + graph.parts().len()];
            let mut walks: Vec<(&mut Asked<'a>, Walk)> = all
                .iter_mut()
                .filter_map(|asked| match self.ask(&asked.query, first, graph).way() {
                    Way::Walk(walk) => Some((asked, walk)),
                    Way::Scan => None,
                })
                .collect();
            if walks.is_empty() {
                continue;
            }
            let pages: Vec<Page<'_>> = parts.iter().map(|part| Page::of(part.block())).collect();
            let go = |(asked, walk): &mut (&mut Asked<'a>, Walk)| {
                asked.walk(first, graph, parts, &pages, *walk);
            };
            if walks.len() > 1 && threads > 1 {
                walks.par_iter_mut().for_each(go);
            } else {
                walks.iter_mut().for_each(go);
            }
        }
        all
    }

    /// Bytes of codes that are still to be scanned for a query.
    fn bytes_left(&self, asked: &Asked<'_>) -> usize {
        let rows_at = |place: usize| match asked.rows {
            Some(rows) => rows.parts()[place].count(),
            None => self.flat.parts()[place].block().len(),
        };
        let places = (0..self.flat.parts().len()).filter(|place| !asked.has_walked(*place));
        places.map(rows_at).sum::<usize>() * self.row_bytes()
    }

    /// The nearest of what walks found and of all that they have not looked through.
    fn scan(&self, asked: &[Asked<'_>], kernels: Kernels, threads: usize) -> Vec<Vec<Neighbour>> {
        let (shape, parts) = (self.flat.shape(), self.flat.parts());
        if threads <= 1 {
            return nearest_of(shape, parts, 0..parts.len(), asked, kernels);
        }
        let length = parts.len().div_ceil(threads).max(1);
        let pieces: Vec<_> = (0..parts.len())
            .step_by(length)
            .map(|first| first..(first + length).min(parts.len()))
            .collect();
        let found: Vec<Vec<Vec<Neighbour>>> = pieces
            .into_par_iter()
            .map(|places| nearest_of(shape, parts, places, asked, kernels))
            .collect();
        merge(asked, found)
    }
}

impl Asked<'_> {
    /// Looks through a graph's rows by a walk. Where that takes too long they are left to the scan.
    fn walk(
        &mut self,
        first: usize,
        graph: &Graph,
        parts: &[Part],
        pages: &[Page<'_>],
        walk: Walk,
    ) {
        let probe = &self.probe;
        let places = first..first + parts.len();
        let avoided = self.avoid.filter(|(place, _)| places.contains(place));
        let avoid = avoided.and_then(|(place, row)| graph.lone_node_at(place - first, row));
        let errand = Errand { avoid, ..walk.errand };
        let found = match self.rows {
            Some(rows) => {
                let chosen = &rows.parts()[first..first + parts.len()];
                graph.walk(pages, probe, errand, |node| {
                    let (place, row) = graph.place_of(node);
                    chosen[place].contains(row)
                })
            }
            None if parts.iter().all(|part| part.tombstones() == 0) => {
                graph.walk(pages, probe, errand, |_| true)
            }
            None => graph.walk(pages, probe, errand, |node| {
                let (place, row) = graph.place_of(node);
                !parts[place].is_dead(row)
            }),
        };
        // A graph may fall into pieces that no link joins: fewer than there must be are no answer.
        let Some(found) = found.filter(|found| found.len() >= walk.found_min) else { return };
        self.walked.push(places);
        self.found.extend(found.into_iter().map(|node| {
            let (place, row) = graph.place_of(node);
            (first + place, row)
        }));
    }

    fn has_walked(&self, place: usize) -> bool {
        self.walked.iter().any(|places| places.contains(&place))
    }

    /// The rows of a part that are to be scanned: `None`, none; `Some(None)`, all.
    fn to_scan(&self, place: usize) -> Option<Option<&PartRows>> {
        if self.has_walked(place) {
            return None;
        }
        match self.rows.map(|rows| &rows.parts()[place]) {
            Some(chosen) if chosen.count() == 0 => None,
            chosen => Some(chosen),
        }
    }
}

/// The nearest rows of some parts, for each query: of what walks found there, and of all rows or
/// the chosen ones where no walk has been.
fn nearest_of(
    shape: &Shape,
    parts: &[Part],
    places: Range<usize>,
    asked: &[Asked<'_>],
    kernels: Kernels,
) -> Vec<Vec<Neighbour>> {
    let mut all: Vec<(Nearest<'_>, &Asked<'_>)> = asked
        .iter()
        .filter(|asked| asked.probe.k > 0)
        .map(|asked| (Nearest::new(&asked.probe, parts, places.clone()), asked))
        .collect();
    let mut scratch = Scratch { dots: [0; CHUNK_ROWS_MAX], hits: Vec::new() };
    for (nearest, asked) in &mut all {
        let found = asked.found.iter().filter(|(place, _)| places.contains(place));
        offer_found(nearest, parts, found);
    }
    let chunk_rows =
        (CHUNK_BYTES / (64 * shape.code_lanes().max(1))).clamp(CHUNK_ROWS_MIN, CHUNK_ROWS_MAX);
    for place in places {
        let part = &parts[place];
        let mut some: Vec<(&mut Nearest<'_>, Option<&PartRows>)> = all
            .iter_mut()
            .filter_map(|(nearest, asked)| Some((nearest, asked.to_scan(place)?)))
            .collect();
        if some.is_empty() {
            continue;
        }
        for first in (0..part.block().len()).step_by(chunk_rows) {
            let rows = first..(first + chunk_rows).min(part.block().len());
            for (nearest, chosen) in &mut some {
                let Some(chosen) = chosen else {
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
    let of_asked = |asked: &Asked<'_>| if asked.probe.k > 0 { found.next() } else { None };
    asked.iter().map(of_asked).map(Option::unwrap_or_default).collect()
}

/// What a pass writes again for every chunk and query.
struct Scratch {
    dots: [i32; CHUNK_ROWS_MAX],
    hits: Vec<u32>,
}

/// Offers rows that a walk found.
fn offer_found<'a>(
    nearest: &mut Nearest<'_>,
    parts: &[Part],
    found: impl Iterator<Item = &'a (usize, usize)>,
) {
    let probe = nearest.probe();
    for (place, row) in found {
        let block = parts[*place].block();
        let mut dot = [0];
        probe.kernels().dots(&probe.codes, block.codes_of(*row, row + 1), &mut dot);
        offer(nearest, *place, &parts[*place], *row, dot[0]);
    }
}

/// Offers one row with the bounds that its codes give.
fn offer(nearest: &mut Nearest<'_>, place: usize, part: &Part, row: usize, dot: i32) {
    let (probe, columns) = (nearest.probe(), part.block().columns_of(row, row + 1));
    let (scale, residual) = (columns.scales[0], columns.residuals[0]);
    let (norm, square) = (columns.norms[0], columns.squares[0]);
    let lower = probe.lower.bound(dot, scale, residual, norm, square);
    let upper = probe.upper.bound(dot, scale, residual, norm, square);
    nearest.offer(place, row, lower, upper);
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
        offer(nearest, place, part, first + at, dots[at]);
    }
}

/// The nearest of all pieces.
fn merge(asked: &[Asked<'_>], pieces: Vec<Vec<Vec<Neighbour>>>) -> Vec<Vec<Neighbour>> {
    let mut merged: Vec<Vec<Neighbour>> = asked.iter().map(|_| Vec::new()).collect();
    for piece in pieces {
        for (all, found) in merged.iter_mut().zip(piece) {
            all.extend(found);
        }
    }
    for (all, asked) in merged.iter_mut().zip(asked) {
        // Stable sorts find the runs that each piece has sorted already.
        all.sort_by(nearer_first);
        all.truncate(asked.probe.k);
    }
    merged
}
