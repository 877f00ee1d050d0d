//! The text index of one library: hides how texts are read, kept and scored, and says which rows
//! have the words of a query (BM25).
//!
//! One writer changes a [`TextIndex`]; searches run on the immutable [`TextView`]s that it gives
//! out, so neither waits for the other. Every search is exact: its answer is the one that scoring
//! all live rows, or those of them that were chosen, gives. All statistics (rows, their average
//! length, rows that have a term) count the live rows of the view that is searched, and no others.
//!
//! Texts are read into [`RowTerms`] before they come to the writer, which has no time for that.
//! Blocks can be stored and opened again ([`TextView::to_saved`], [`TextIndex::open`]), so that a
//! start need not read all texts.

mod block;
mod fuse;
mod parts;
mod rows;
mod saved;
mod score;
mod terms;
mod view;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::fuse::{FUSED_ROWS, Fused, FusedPart, Fusion};
use self::parts::Location;
pub use self::rows::TextRows;
pub use self::saved::{Damage, Saved, SavedBlock};
pub use self::terms::{QueryTerms, RowTerms};
pub use self::view::{TermPart, TextHit, TextQuery, TextView};
use crate::types::RowKey;

/// The part of a library's text index that its single writer changes.
#[derive(Debug, Default)]
pub struct TextIndex {
    /// The current state; copied when it is changed while a search still holds it. The copy is
    /// of references to blocks, not of rows.
    view: Arc<TextView>,
    /// Where each live row is. A tree, because it grows without ever being rehashed as a whole.
    locations: BTreeMap<RowKey, Location>,
}

impl TextIndex {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes rows away and adds rows. Removing a row that is not there has no effect; adding
    /// one that is there replaces it, also when the same call adds it twice: the last one stays.
    /// Visible in views taken afterwards.
    ///
    /// Cost: each row is copied a logarithmic number of times as blocks merge, and each call
    /// copies one reference per block (4096 rows or fewer). Space of removed rows comes back
    /// once half of their block is gone.
    pub fn update(&mut self, removed: &[RowKey], added: &[(RowKey, RowTerms)]) {
        if removed.is_empty() && added.is_empty() {
            return;
        }
        let parts = &mut Arc::make_mut(&mut self.view).parts;
        for key in removed.iter().chain(added.iter().map(|(key, _)| key)) {
            if let Some(location) = self.locations.remove(key) {
                parts.bury(location);
            }
        }
        let first = parts.append(added);
        self.locate(first);
    }

    /// Takes away the rows that are not wanted, and says how many: after [`TextIndex::open`],
    /// those that were removed later than what was saved.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(RowKey) -> bool) -> usize {
        let keys = self.locations.keys().copied();
        let removed: Vec<RowKey> = keys.filter(|key| !is_wanted(*key)).collect();
        self.update(&removed, &[]);
        removed.len()
    }

    /// The index as it is now; later updates do not change it.
    #[must_use]
    pub fn view(&self) -> Arc<TextView> {
        Arc::clone(&self.view)
    }

    /// Bytes of memory, those of its current view included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.view.bytes() + self.locations.len() * LOCATION_BYTES
    }

    /// Takes note of the rows of the parts from this id on.
    fn locate(&mut self, first: u64) {
        let parts = &mut Arc::make_mut(&mut self.view).parts;
        let mut outdated = Vec::new();
        for (location, key) in parts.rows_since(first) {
            // What was known of a row that moved is history; what was known of a row that this
            // same call added already is a duplicate.
            let before = self.locations.insert(key, location);
            outdated.extend(before.filter(|before| before.part >= first));
        }
        for location in outdated {
            parts.bury(location);
        }
    }
}

/// What a row takes in [`TextIndex::locations`]: its key and place, and what a tree whose leaves
/// are two thirds full adds.
const LOCATION_BYTES: usize = (size_of::<RowKey>() + size_of::<Location>()) * 3 / 2;

#[cfg(test)]
mod tests;
