//! An index out of files and rows: hides which rows of a kept graph are still there.
//!
//! The store says what is in a library, row by row; a file only says how some of these rows were
//! indexed. A row of the store that a file has, with the codes that belong to its vector, takes its
//! place under the graph; a row of the file that the store does not have is a tombstone; a row
//! that no file has is new. So whatever the files say, and however old they are, searches find
//! what the store has.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::block::{Block, Shape};
use super::file::{self, FileError, Kept};
use super::flat::{Location, Part};
use super::graph::Graph;
use super::{LibraryIndex, RowKey, View};
use crate::types::{LibraryId, Metric, Vector};

/// An index that is being loaded.
#[derive(Debug)]
pub struct Restoring {
    shape: Shape,
    /// Of all files, in order; the blocks' places are the ids of their parts.
    blocks: Vec<Block>,
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
    pub fn new(dimension: usize, metric: Metric) -> Self {
        let shape = Shape::new(dimension, metric);
        Self {
            shape,
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
    /// Cost: reads some 1.4 bytes a number of each row, and as much memory again as vectors take.
    pub fn read(&mut self, path: &Path, library: LibraryId) -> Result<(), FileError> {
        let Kept { blocks, mut graph } = file::read(path, library, &self.shape)?;
        graph.set_first_part(self.blocks.len() as u64);
        for block in blocks {
            let place = self.blocks.len();
            for (row, key) in (0..).zip(block.keys()) {
                // A row that a newer file has is none of this one any more.
                self.missing.entry(*key).or_insert((place, row));
            }
            self.blocks.push(block);
        }
        self.graphs.push(graph);
        Arc::make_mut(&mut self.index.view).flat.begin_at(self.blocks.len() as u64);
        Ok(())
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
            Part::with_removed(id, block, removed.map(|(row, _)| row))
        });
        let graphs = self.graphs.into_iter().map(Arc::new).collect();
        self.index.put_before(parts.collect(), graphs, self.found);
        self.index
    }
}

/// A graph with what is written of its rows.
#[derive(Debug, Clone)]
pub struct Keeper {
    shape: Shape,
    graph: Arc<Graph>,
    parts: Vec<Part>,
}

impl Keeper {
    /// The graph's serial: no other graph of this process has or had it.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.graph.serial()
    }

    /// Writes the file: synced, and under its name only when it is whole.
    pub fn write(&self, path: &Path, library: LibraryId) -> Result<(), FileError> {
        file::write(path, library, &self.shape, &self.graph, &self.parts)
    }
}

impl View {
    /// The serials of its graphs, in the order of their rows.
    #[must_use]
    pub fn graph_serials(&self) -> Vec<u64> {
        self.flat.graphs().map(|(_, graph)| graph.serial()).collect()
    }

    /// Its graphs, for keeping; in the order of their rows.
    #[must_use]
    pub fn keepers(&self) -> Vec<Keeper> {
        let keeper = |(first, graph): (usize, &Arc<Graph>)| Keeper {
            shape: *self.flat.shape(),
            graph: Arc::clone(graph),
            parts: self.flat.parts()[first..first + graph.parts().len()].to_vec(),
        };
        self.flat.graphs().map(keeper).collect()
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
