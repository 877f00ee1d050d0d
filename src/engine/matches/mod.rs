//! Which rows of a library a filter lets through: hides that what filters look at is kept in
//! memory, how much of it, and for whom.
//!
//! A library has a table of the fields that its filters look at. The first filter that looks at a
//! field reads all documents of the library once, on a thread for blocking work; from then on any
//! filter over these fields is answered from memory, and a change costs the documents that
//! changed. Nothing here is durable, and nothing waits for the writer or makes it wait.
//!
//! All tables together take `limits.filter_memory_bytes_max`, and for a moment twice that while
//! one is read again. Those used longest ago go first. Where the fields of one library take more
//! than that, it keeps of its filters' terms only where they are true, some bytes a document, so
//! that such a library reads all documents for every new term.

mod column;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use self::column::Source;
use self::table::{Table, sources_of, terms_of};
use super::Engine;
use super::state::{LibraryState, Published};
use crate::index::Rows;
use crate::store::StoreError;
use crate::text::TextRows;
use crate::types::{Error, Filter, LibraryId, Result};

/// What is kept for the filters of all libraries.
#[derive(Debug)]
pub(super) struct Matches {
    bytes_max: usize,
    /// By library, those that were searched with a filter.
    libraries: Mutex<HashMap<LibraryId, Arc<Entry>>>,
    /// Counts uses, for the order of eviction.
    uses: AtomicU64,
}

/// What is kept for one library.
#[derive(Debug, Default)]
struct Entry {
    /// Held while the table is read anew, so that those who wait for the same read it once; the
    /// table that there is goes on answering.
    reading: Arc<tokio::sync::Mutex<()>>,
    /// Held while it answers.
    table: ArcSwapOption<tokio::sync::Mutex<Table>>,
    bytes: AtomicUsize,
    used: AtomicU64,
}

/// A state to be searched, and the rows that each filter lets through in it.
pub(super) struct Selected {
    pub(super) state: Arc<Published>,
    pub(super) library: Arc<LibraryState>,
    /// One for each filter, in their order.
    pub(super) chosen: Vec<Arc<Chosen>>,
}

/// The rows of one state's indexes that a filter lets through.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Of the vector index.
    pub(super) rows: Rows,
    /// Of the text index: the same, as far as it has them.
    pub(super) texts: TextRows,
}

impl Chosen {
    fn bytes(&self) -> usize {
        self.rows.bytes() + self.texts.bytes()
    }

    fn is_of(&self, library: &LibraryState) -> bool {
        library.view.has(&self.rows) && library.text.has(&self.texts)
    }
}

impl Matches {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, libraries: Mutex::default(), uses: AtomicU64::new(0) }
    }

    /// The newest state, and the rows that these filters (of search scope) let through in it.
    ///
    /// `not-found` when the library is gone meanwhile. Dropping the future lets work that has
    /// begun end for those who come next.
    pub(super) async fn select(
        self: &Arc<Self>,
        published: &Arc<ArcSwap<Published>>,
        library: LibraryId,
        filters: &[Arc<Filter>],
    ) -> Result<Selected> {
        let entry = self.entry(library);
        if let Some(selected) = self.ask(&entry, published, library, filters).await? {
            return Ok(selected);
        }
        let reading = Arc::clone(&entry.reading).lock_owned().await;
        // Who waited finds, mostly, that the one before has read what was lacking.
        if let Some(selected) = self.ask(&entry, published, library, filters).await? {
            return Ok(selected);
        }
        // Waited for here: a thread for blocking work must not wait for another.
        let carried = match entry.table.load_full() {
            Some(old) => old.lock().await.carried(&sources_of(filters)),
            None => Vec::new(),
        };
        let (matches, published) = (Arc::clone(self), Arc::clone(published));
        let filters = filters.to_vec();
        let work = move || {
            let selected = matches.read(&entry, &published, library, &filters, carried);
            drop(reading);
            selected
        };
        Engine::blocking(work).await?.ok_or_else(|| gone(library))
    }

    /// What the table that there is says; `None` when there is none that can.
    async fn ask(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        published: &ArcSwap<Published>,
        library: LibraryId,
        filters: &[Arc<Filter>],
    ) -> Result<Option<Selected>> {
        let Some(table) = entry.table.load_full() else { return Ok(None) };
        let mut table = table.lock_owned().await;
        // Loaded under the lock, so that it is not older than the table.
        let state = published.load_full();
        let library = Arc::clone(state.libraries.get(&library).ok_or_else(|| gone(library))?);
        if let Some(chosen) = table.known(&library, filters) {
            return Ok(Some(Selected { state, library, chosen }));
        }
        let (matches, entry, filters) = (Arc::clone(self), Arc::clone(entry), filters.to_vec());
        let work = move || {
            let chosen = table.select(&state, &library, &filters, matches.bytes_max)?;
            table.shrink(matches.bytes_max);
            matches.account(&entry, table.bytes());
            Ok(chosen.map(|chosen| Selected { state, library, chosen }))
        };
        Engine::blocking(work).await
    }

    /// Reads a table that can say; `None` when the library is gone.
    fn read(
        &self,
        entry: &Entry,
        published: &ArcSwap<Published>,
        library: LibraryId,
        filters: &[Arc<Filter>],
        carried: Vec<Source>,
    ) -> Result<Option<Selected>, StoreError> {
        let state = published.load_full();
        let Some(of) = state.libraries.get(&library).map(Arc::clone) else { return Ok(None) };
        let mut table = self.read_table(&state, &of, filters, carried)?;
        let chosen = table.select(&state, &of, filters, usize::MAX)?.ok_or_else(lacking)?;
        table.shrink(self.bytes_max);
        let bytes = table.bytes();
        entry.table.store(Some(Arc::new(tokio::sync::Mutex::new(table))));
        self.account(entry, bytes);
        self.keep(&state, library);
        Ok(Some(Selected { state, library: of, chosen }))
    }

    /// Reads the fields that the filters look at with those of other filters, without them, or
    /// only what the filters' terms say, whichever first takes no more memory than there is.
    fn read_table(
        &self,
        state: &Published,
        library: &LibraryState,
        filters: &[Arc<Filter>],
        carried: Vec<Source>,
    ) -> Result<Table, StoreError> {
        let read = |sources: &[Source], bytes_max| {
            Table::read(&state.snapshot, library, sources.to_vec(), bytes_max)
        };
        let sources = sources_of(filters);
        if !carried.is_empty() {
            let all = [sources.clone(), carried].concat();
            if let Some(table) = read(&all, self.bytes_max)? {
                return Ok(table);
            }
        }
        if let Some(table) = read(&sources, self.bytes_max)? {
            return Ok(table);
        }
        tracing::debug!(library = %library.library.name, "the fields of a filter are too large");
        read(&terms_of(filters), usize::MAX)?.ok_or_else(lacking)
    }

    fn entry(&self, library: LibraryId) -> Arc<Entry> {
        let mut libraries = self.libraries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Arc::clone(libraries.entry(library).or_default());
        entry.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        entry
    }

    /// Notes what a library's table takes, and drops others while all take too much.
    fn account(&self, entry: &Entry, bytes: usize) {
        entry.bytes.store(bytes, Ordering::Relaxed);
        let mut libraries = self.libraries.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes_of = |entry: &Entry| entry.bytes.load(Ordering::Relaxed);
        while libraries.values().map(|entry| bytes_of(entry)).sum::<usize>() > self.bytes_max {
            let others = libraries.iter().filter(|(_, other)| {
                bytes_of(other) > 0 && !std::ptr::eq(Arc::as_ptr(other), entry)
            });
            let oldest = others.min_by_key(|(_, other)| other.used.load(Ordering::Relaxed));
            let Some(oldest) = oldest.map(|(library, _)| *library) else { break };
            libraries.remove(&oldest);
        }
    }

    /// Forgets libraries that are gone; `but` may be newer than `state`.
    fn keep(&self, state: &Published, but: LibraryId) {
        let mut libraries = self.libraries.lock().unwrap_or_else(PoisonError::into_inner);
        libraries.retain(|library, _| *library == but || state.libraries.contains_key(library));
    }
}

fn gone(library: LibraryId) -> Error {
    Error::not_found(format!("there is no library {library}"))
}

/// A table that was read for some filters answers them.
fn lacking() -> StoreError {
    StoreError::Corrupt { what: "filter", why: "its table lacks a field".to_owned() }
}
