//! An index out of files and rows: hides which rows of a kept graph are still there.
//!
//! The store says what is in a library, row by row; a file only says how some of these rows were
//! indexed. A row of the store that a file has, with the codes that belong to its vector, takes its
//! place under the graph; a row of the file that the store does not have is a tombstone; a row
//! that no file has is new. So whatever the files say, and however old they are, searches find
//! what the store has.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{Draft, Shape};
use super::file::{self, FileError, Loaded};
use super::flat::{Location, Part};
use super::floats::{FloatFile, Home};
use super::graph::Graph;
use super::{LibraryIndex, RowKey, View};
use crate::types::{LibraryId, Metric, Vector};

/// An index that is being loaded.
#[derive(Debug)]
pub struct Restoring {
    shape: Shape,
    home: Home,
    /// Of all files, in order; the blocks' places are the ids of their parts.
    blocks: Vec<Draft>,
    graphs: Vec<Graph>,
    /// Rows of the blocks that were not seen in the store yet.
    missing: HashMap<RowKey, (usize, u32)>,
    /// Rows of the blocks that were.
    found: Vec<(RowKey, Location)>,
    /// Rows that no block has, waiting to be added together.
    new: Vec<(RowKey, Vector)>,
    /// With the rows that no block has.
    index: LibraryIndex,
}

/// The place of a part that came out of a file.
#[expect(clippy::cast_possible_truncation, reason = "there are as many as blocks")]
fn place_of(part: u64) -> usize {
    part as usize
}

/// Rows that are added to an index at once.
const NEW_ROWS: usize = 4_096;

impl Restoring {
    /// Nothing yet. All files come first, then all rows.
    #[must_use]
    pub fn new(dimension: usize, metric: Metric, home: Home) -> Self {
        let shape = Shape::new(dimension, metric);
        Self {
            shape,
            home,
            blocks: Vec::new(),
            graphs: Vec::new(),
            missing: HashMap::new(),
            found: Vec::new(),
            new: Vec::new(),
            index: LibraryIndex::of_shape(shape),
        }
    }

    /// Reads a file that [`Keeper::write`] wrote for this library; the newest file first. After an
    /// error nothing is known of it.
    ///
    /// Cost: reads some 1.4 bytes a number of each row; where vectors have their home in memory, or
    /// the file has none, as much memory as they take.
    pub fn read(&mut self, path: &Path, library: LibraryId) -> Result<Kept, FileError> {
        let Loaded { drafts, mut graph, file } =
            file::read(path, library, &self.shape, &self.home)?;
        let first_part = self.blocks.len() as u64;
        for block in drafts {
            let place = self.blocks.len();
            for (row, key) in (0..).zip(block.keys()) {
                // A row that a newer file has is none of this one any more.
                self.missing.entry(*key).or_insert((place, row));
            }
            self.blocks.push(block);
        }
        if let Some(graph) = &mut graph {
            graph.set_first_part(first_part);
        }
        let kept = Kept { path: path.to_owned(), graph: graph.as_ref().map(Graph::serial), file };
        self.graphs.extend(graph);
        Arc::make_mut(&mut self.index.view).flat.begin_at(self.blocks.len() as u64);
        Ok(kept)
    }

    /// A row that the store has; each once.
    pub fn push(&mut self, key: RowKey, vector: Vector) {
        if let Some((place, row)) = self.missing.remove(&key)
            && self.blocks[place].set_vector(&self.shape, row as usize, vector.as_slice())
        {
            self.found.push((key, Location { part: place as u64, row }));
            return;
        }
        self.new.push((key, vector));
        if self.new.len() == NEW_ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.index.update(&[], &self.new);
        self.new.clear();
    }

    /// The index with all rows that were pushed.
    #[must_use]
    pub fn finish(mut self) -> LibraryIndex {
        self.flush();
        let mut live: Vec<Vec<bool>> =
            self.blocks.iter().map(|block| vec![false; block.len()]).collect();
        for (_, location) in &self.found {
            live[place_of(location.part)][location.row as usize] = true;
        }
        let parts = self.blocks.into_iter().zip(live).zip(0..).map(|((block, live), id)| {
            let removed = live.iter().enumerate().filter(|(_, live)| !**live);
            Part::with_removed(id, block.finish(), removed.map(|(row, _)| row))
        });
        let graphs = self.graphs.into_iter().map(Arc::new).collect();
        self.index.put_before(parts.collect(), graphs, self.found);
        self.index
    }
}

/// A segment that is in a file.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    /// The graph's serial, if it has one.
    graph: Option<u64>,
    /// With the vectors, if they are there.
    file: Option<Arc<FloatFile>>,
}

impl Kept {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn has(&self, part: &Part) -> bool {
        let file = part.block().float_file();
        file.is_some_and(|file| self.file.as_ref().is_some_and(|own| Arc::ptr_eq(own, &file)))
    }
}

/// A segment with what is written of it: rows, and the graph over them if there is one.
#[derive(Debug, Clone)]
pub struct Keeper {
    shape: Shape,
    graph: Option<Arc<Graph>>,
    parts: Vec<Part>,
}

/// Rows without a graph that go into one file, some more at most: its space comes back only when
/// all of them are gone.
const FILED_ROWS_MAX: usize = 65_536;

impl Keeper {
    /// Writes the file: synced, and under its name only when it is whole. Then vectors that are to
    /// be on disk are read from there, in every view that has them, and their memory is free.
    ///
    /// Blocks. Cost: reads and writes all that there is of the rows.
    pub fn write(&self, path: &Path, library: LibraryId, home: &Home) -> Result<Kept, FileError> {
        let graph = self.graph.as_deref();
        let file = file::write(path, library, &self.shape, graph, &self.parts, home)?;
        Ok(Kept { path: path.to_owned(), graph: graph.map(Graph::serial), file })
    }
}

impl View {
    /// Whether a file has something of this view.
    #[must_use]
    pub fn needs(&self, kept: &Kept) -> bool {
        kept.graph.is_some_and(|kept| self.flat.graphs().any(|(_, graph)| graph.serial() == kept))
            || self.flat.parts().iter().any(|part| kept.has(part))
    }

    /// Takes out the files that have nothing of this view, or nothing that a later one has not.
    #[must_use]
    pub fn take_unneeded(&self, kept: &mut Vec<Kept>) -> Vec<Kept> {
        let graphs: Vec<Option<u64>> = kept.iter().map(|kept| kept.graph).collect();
        let mut later = graphs
            .iter()
            .enumerate()
            .map(|(at, graph)| graph.is_some() && graphs[at + 1..].contains(graph));
        let mut is_replaced = || later.next().is_some_and(|later| later);
        kept.extract_if(.., |kept| is_replaced() || !self.needs(kept)).collect()
    }

    /// What is to be written so that graphs are kept, and vectors are where they should be; in the
    /// order of their rows. What is in one of the files already is left out, unless it turned out
    /// to be damaged; so are rows without a graph, while fewer than `rows_min` of them lie still in
    /// memory.
    #[must_use]
    pub fn keepers(&self, kept: &[Kept], home: &Home, rows_min: usize) -> Vec<Keeper> {
        let parts = self.flat.parts();
        let is_whole = |kept: &Kept| !kept.file.as_ref().is_some_and(|file| file.is_damaged());
        let is_kept = |graph: &Graph, parts: &[Part]| {
            kept.iter().any(|kept| {
                let has_rows = matches!(home, Home::Memory) || parts.iter().all(|p| kept.has(p));
                kept.graph == Some(graph.serial()) && is_whole(kept) && has_rows
            })
        };
        let mut keepers = Vec::new();
        let mut free = 0;
        for (first, graph) in self.flat.graphs() {
            self.keep_free(free..first, home, rows_min, &mut keepers);
            free = first + graph.parts().len();
            if !is_kept(graph, &parts[first..free]) {
                keepers.push(self.keeper(Some(graph), first..free));
            }
        }
        self.keep_free(free..parts.len(), home, rows_min, &mut keepers);
        keepers
    }

    /// The same of rows without a graph.
    fn keep_free(
        &self,
        places: Range<usize>,
        home: &Home,
        rows_min: usize,
        keepers: &mut Vec<Keeper>,
    ) {
        if matches!(home, Home::Memory) {
            return;
        }
        let parts = self.flat.parts();
        let is_to_move = |place: &usize| {
            let part = &parts[*place];
            let is_filed = part.block().float_file().is_some_and(|file| !file.is_damaged());
            !is_filed && !self.flat.grows(part)
        };
        let mut first = places.start;
        while first < places.end {
            let (mut end, mut rows) = (first, 0);
            while end < places.end && is_to_move(&end) && rows < FILED_ROWS_MAX {
                rows += parts[end].block().len();
                end += 1;
            }
            let is_damaged = (first..end).any(|place| parts[place].block().float_file().is_some());
            if end > first && rows >= rows_min || is_damaged {
                keepers.push(self.keeper(None, first..end));
            }
            first = end.max(first + 1);
        }
    }

    fn keeper(&self, graph: Option<&Arc<Graph>>, places: Range<usize>) -> Keeper {
        let parts = self.flat.parts()[places].to_vec();
        Keeper { shape: *self.flat.shape(), graph: graph.map(Arc::clone), parts }
    }
}

impl LibraryIndex {
    /// Puts parts with lower ids before its own.
    fn put_before(
        &mut self,
        parts: Vec<Part>,
        graphs: Vec<Arc<Graph>>,
        locations: Vec<(RowKey, Location)>,
    ) {
        Arc::make_mut(&mut self.view).flat.put_before(parts, graphs);
        self.locations.extend(locations);
    }
}
