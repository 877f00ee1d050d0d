//! The vector index of one library: hides how rows are kept and searched, and says which rows are
//! near a query.
//!
//! One writer changes a [`LibraryIndex`]; searches run on the immutable [`View`]s that it gives
//! out, so neither waits for the other. Every search is exact: its answer is the one that a scan
//! of all live rows, or of those of them that were chosen, in single precision gives.
//!
//! Rows are in memory only; the store has them, and a start builds the index again from there.

mod block;
mod flat;
mod kernels;
mod probe;
mod rows;
mod topk;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::block::Shape;
use self::flat::Location;
pub use self::rows::Rows;
pub use self::view::View;
use crate::types::{Metric, Vector};

/// Where a vector belongs: a document's key and the chunk's slot in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The document's key: the revision that created it.
    pub document: u64,
    /// The chunk's slot in its document.
    pub slot: u32,
}

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
}

/// One neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Whose.
    pub row: RowKey,
    /// How far. Cosine: 0 to 2. Dot: any. L2: 0 or more.
    pub distance: f32,
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
        if removed.is_empty() && added.is_empty() {
            return;
        }
        let flat = &mut Arc::make_mut(&mut self.view).flat;
        for key in removed.iter().chain(added.iter().map(|(key, _)| key)) {
            if let Some(location) = self.locations.remove(key) {
                flat.bury(location);
            }
        }
        let first = flat.append(added);
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

    /// The index as it is now; later updates do not change it.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }
}

#[cfg(test)]
mod tests;
