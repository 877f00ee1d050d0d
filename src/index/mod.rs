//! The vector index of one library: hides how rows are kept and searched, and says which rows are
//! near a query.
//!
//! One writer changes a [`LibraryIndex`]; searches run on the immutable [`View`]s that it gives
//! out, so neither waits for the other. A scan is exact: its answer is the one that a look at all
//! live rows, or at those of them that were chosen, in single precision gives. Large parts get
//! graphs, built beside all that ([`View::work`]); a walk through one finds nearly all of it in a
//! fraction of the time, and is taken where it is cheaper.
//!
//! Rows are in memory, in single precision or in the file of their segment ([`Home`]); the store
//! has them too, and a start reads them from there. A file may spare it the building of graphs
//! ([`Restoring`]), and never says what is in the library.

mod block;
mod build;
mod file;
mod flat;
mod floats;
mod graph;
mod kernels;
mod links;
mod plan;
mod policy;
mod probe;
mod restore;
mod rows;
mod tend;
mod topk;
mod trial;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::block::Shape;
pub use self::build::{BuildError, Progress};
pub use self::file::FileError;
use self::flat::Location;
pub use self::floats::{Home, RowSource};
pub use self::kernels::Kernels;
use self::policy::DEAD_PERCENT;
pub use self::policy::{Policy, Urge};
pub use self::restore::{Keeper, Kept, Restoring};
pub use self::rows::Rows;
pub use self::tend::{Built, Outworn, Segment, Task, Work};
pub use self::view::View;
pub use crate::types::RowKey;
use crate::types::{Metric, Vector};

/// One query of a search.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Of the library's dimension and checked.
    pub vector: &'a [f32],
    /// How many neighbours at most.
    pub k: usize,
    /// Only neighbours at this distance or nearer.
    pub distance_max: Option<f32>,
    /// Only these rows, chosen from the view that is searched; `None`: all.
    pub rows: Option<&'a Rows>,
    /// Whether approximation is forbidden.
    pub exact: bool,
    /// How many near rows a walk through a graph keeps on its way: more find more and take
    /// longer. `None`: what was measured to find nearly all when the graph was built. At least k
    /// either way.
    pub ef: Option<usize>,
    /// A row that walks do not go through, though it may be found. A stored vector is an easy
    /// query, because its own row has links to what is near; without that row it is as hard as one
    /// that is not stored. For measurements: to look it up takes a look at all keys.
    pub avoid: Option<RowKey>,
}

impl<'a> Query<'a> {
    /// For the nearest row of all.
    #[must_use]
    pub const fn new(vector: &'a [f32]) -> Self {
        Self { vector, k: 1, distance_max: None, rows: None, exact: false, ef: None, avoid: None }
    }
}

/// One neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Whose.
    pub row: RowKey,
    /// How far. Cosine: 0 to 2. Dot: any. L2: 0 or more.
    pub distance: f32,
}

/// How many of the nearest rows were found, of those that an exact search for as many gives: rows
/// as near as the farthest of them count, whichever they are.
#[must_use]
pub fn hits_among(found: &[Neighbour], exact: &[Neighbour]) -> usize {
    let Some(farthest) = exact.last() else { return 0 };
    found.iter().filter(|row| row.distance <= farthest.distance).count().min(exact.len())
}

/// How far these vectors are from a query, in their order: what an exact search says of them.
///
/// Cost: some microseconds each.
#[must_use]
pub fn distances(metric: Metric, query: &[f32], vectors: &[Vector]) -> Vec<f32> {
    let mut index = LibraryIndex::new(query.len(), metric);
    let rows: Vec<(RowKey, Vector)> = (0..)
        .zip(vectors)
        .map(|(document, vector)| (RowKey { document, slot: 0 }, vector.clone()))
        .collect();
    index.update(&[], &rows);
    let query = Query { k: rows.len(), exact: true, ..Query::new(query) };
    let mut found = index.view().search(&[query]).pop().unwrap_or_default();
    found.sort_unstable_by_key(|neighbour| neighbour.row);
    found.into_iter().map(|neighbour| neighbour.distance).collect()
}

/// The part of a library's index that its single writer changes.
#[derive(Debug)]
pub struct LibraryIndex {
    /// The current state; copied when it is changed while a search still holds it. The copy is
    /// of references to blocks, not of rows.
    view: Arc<View>,
    /// Where each live row is. A tree, because it grows without ever being rehashed as a whole.
    locations: BTreeMap<RowKey, Location>,
}

impl LibraryIndex {
    /// Empty.
    #[must_use]
    pub fn new(dimension: usize, metric: Metric) -> Self {
        Self::of_shape(Shape::new(dimension, metric))
    }

    fn of_shape(shape: Shape) -> Self {
        Self { view: Arc::new(View::new(shape)), locations: BTreeMap::new() }
    }

    /// Takes rows away and adds rows. Removing a row that is not there has no effect; adding
    /// one that is there replaces it, also when the same call adds it twice: the last one stays.
    /// Visible in views taken afterwards.
    ///
    /// Cost: each row is copied a logarithmic number of times as blocks merge, and each call
    /// copies one reference per block (4096 rows or fewer). Space of removed rows comes back
    /// once half of their block is gone.
    pub fn update(&mut self, removed: &[RowKey], added: &[(RowKey, Vector)]) {
        if !removed.is_empty() || !added.is_empty() {
            self.update_rows(removed, added, DEAD_PERCENT);
        }
    }

    fn update_rows(&mut self, removed: &[RowKey], added: &[(RowKey, Vector)], dead_percent: usize) {
        let flat = &mut Arc::make_mut(&mut self.view).flat;
        for key in removed.iter().chain(added.iter().map(|(key, _)| key)) {
            if let Some(location) = self.locations.remove(key) {
                flat.bury(location);
            }
        }
        let first = flat.append(added, dead_percent);
        let mut outdated = Vec::new();
        for (location, key) in flat.rows_since(first) {
            // What was known of a row that moved is history; what was known of a row that this
            // same call added already is a duplicate.
            let before = self.locations.insert(key, location);
            outdated.extend(before.filter(|before| before.part >= first));
        }
        for location in outdated {
            flat.bury(location);
        }
    }

    /// Bytes of memory, as [`View::bytes`] has them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.view.bytes()
    }

    /// The index as it is now; later updates do not change it.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }
}

#[cfg(test)]
mod floats_tests;
#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod recall_tests;
#[cfg(test)]
mod restore_tests;
#[cfg(test)]
mod tests;
