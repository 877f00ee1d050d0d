//! The fold: what a change does to store, indexes and libraries. Live traffic and recovery run
//! the same `apply`.
//!
//! Deterministic: reads no clock, no randomness, no network; the same changes give the same
//! state. All writes are absolute, so applying a change twice is applying it once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ceiling::Ceiling;
use super::requests::Requests;
use super::shelf::Shelf;
use super::state::{LibraryState, Published};
use super::tend::{Deed, Tended};
use super::terms::{self, ReadTerms};
use super::text_shelf::TextShelf;
use super::touched::Touched;
use crate::index::{Home, LibraryIndex, Restoring, RowKey};
use crate::log::LogBounds;
use crate::store::{
    Applied, DocumentKey, OpenBatch, Store, StoreBatch, StoreError, StoreSnapshot, StoredDocument,
    VectorScan,
};
use crate::text::{RowTerms, TextIndex, TextView};
use crate::types::{
    Change, ChangeHead, ChangeKind, ChunkBody, ChunkHead, Library, LibraryCounts, LibraryId,
    Limits, Revision, Vector,
};

/// The single owner of what changes: the store's write side, the indexes, the remembered
/// requests.
#[derive(Debug)]
pub(super) struct Fold {
    store: Store,
    indexes: HashMap<LibraryId, Indexes>,
    requests: Requests,
    ceiling: Ceiling,
    state: Arc<Published>,
}

/// What finds the chunks of one library.
#[derive(Debug)]
struct Indexes {
    vectors: LibraryIndex,
    /// `None` where the library has no texts to be found by.
    texts: Option<TextIndex>,
}

impl Indexes {
    fn new(library: &Library) -> Self {
        Self {
            vectors: LibraryIndex::new(library.dimension as usize, library.metric),
            texts: terms::has_texts(library).then(TextIndex::new),
        }
    }

    /// The memory that they take.
    fn bytes(&self) -> usize {
        self.vectors.bytes() + self.texts.as_ref().map_or(0, TextIndex::bytes)
    }

    fn text_view(&self) -> Arc<TextView> {
        self.texts.as_ref().map_or_else(Arc::default, TextIndex::view)
    }
}

impl Fold {
    /// Loads what the store holds, with the graphs that the shelf has. CPU-bound in the number of
    /// chunks.
    pub(super) fn load(
        store: Store,
        limits: &Limits,
        mut shelf: Option<&mut Shelf>,
        mut text_shelf: Option<&mut TextShelf>,
    ) -> Result<Self, StoreError> {
        let snapshot = store.snapshot();
        let mut state = Published {
            applied: snapshot.applied()?,
            snapshot: snapshot.clone(),
            libraries: imbl::HashMap::new(),
            names: imbl::OrdMap::new(),
        };
        let mut indexes = HashMap::new();
        let mut ceiling = Ceiling::new(limits.index_memory_bytes_max);
        for library in snapshot.libraries()? {
            let home = shelf.as_ref().map_or(Home::Memory, |shelf| shelf.home(library.id));
            let mut restoring = Restoring::new(library.dimension as usize, library.metric, home);
            if let Some(shelf) = &mut shelf {
                shelf.read(library.id, &mut restoring);
            }
            let (vectors, counts) = load_index(restoring, snapshot.vectors(library.id))?;
            let mut texts = terms::has_texts(&library).then(TextIndex::new);
            if let Some(texts) = &mut texts {
                match &mut text_shelf {
                    Some(shelf) => {
                        *texts = shelf.load(&snapshot, library.id, state.applied.revision)?;
                    }
                    None => terms::load_texts(texts, &snapshot, library.id)?,
                }
            }
            let index = Indexes { vectors, texts };
            let (view, text) = (index.vectors.view(), index.text_view());
            ceiling.set(library.id, index.bytes());
            indexes.insert(library.id, index);
            state.names.insert(library.name.clone(), library.id);
            let touched = Touched::since(state.applied.revision);
            let id = library.id;
            let library = LibraryState { library, counts, view, text, touched };
            state.libraries.insert(id, Arc::new(library));
        }
        if let Some(shelf) = shelf {
            shelf.retain(|library| indexes.contains_key(&library));
        }
        if let Some(shelf) = text_shelf {
            shelf.retain(|library| indexes.contains_key(&library));
        }
        let requests = Requests::load(snapshot.requests()?, limits);
        Ok(Self { store, indexes, requests, ceiling, state: Arc::new(state) })
    }

    /// The state after the last commit.
    pub(super) fn state(&self) -> &Arc<Published> {
        &self.state
    }

    /// Goes on behind the log's end. A log that lost its past counts its events anew, and what
    /// is appended to it must follow on its own count, not on the store's.
    pub(super) fn follow(&mut self, log: &LogBounds) {
        let applied = self.state.applied;
        let time = applied.time.max(log.end_time);
        let applied = Applied { time, events: log.end_events, ..applied };
        self.state = Arc::new(Published { applied, ..Published::clone(&self.state) });
    }

    /// The requests that are remembered.
    pub(super) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// The memory that the indexes take.
    pub(super) fn ceiling(&self) -> &Ceiling {
        &self.ceiling
    }

    /// Applies changes in order, all together: store first, then the indexes, then a new state,
    /// which the caller publishes. After an error nothing may be applied any more.
    ///
    /// `read`: what was read of the texts of each change; where it lacks, they are read here.
    pub(super) fn apply(
        &mut self,
        changes: &[Change],
        read: Vec<ReadTerms>,
    ) -> Result<Arc<Published>, StoreError> {
        let Some(last) = changes.last() else { return Ok(Arc::clone(&self.state)) };
        let mut batch = self.store.batch();
        let mut next = Next::after(&self.state);
        for change in changes {
            write(&mut batch, change)?;
            self.requests.remember(&mut batch, &change.head)?;
            next.fold(&change.head);
        }
        self.requests.forget(&mut batch, last.head.time);
        for library in next.reindexed() {
            batch.put_library(library)?;
        }
        let applied = applied(&last.head);
        batch.put_applied(applied);
        batch.commit()?;

        let snapshot = self.store.snapshot();
        self.index(changes, read, &snapshot)?;
        for library in next.changed() {
            self.ceiling.set(library, self.indexes.get(&library).map_or(0, Indexes::bytes));
        }
        self.state = Arc::new(next.finish(applied, snapshot, &self.indexes));
        Ok(Arc::clone(&self.state))
    }

    /// Changes how a library's rows are indexed; `None` when the library is gone.
    pub(super) fn tend(&mut self, id: LibraryId, deed: Deed) -> Option<Tended> {
        let indexes = self.indexes.get_mut(&id)?;
        let index = &mut indexes.vectors;
        let library = self.state.libraries.get(&id)?;
        let done = match deed {
            Deed::Seal => {
                index.seal();
                true
            }
            Deed::Compact(outworn) => !index.compact(&outworn),
            Deed::Install(built) => index.install(*built),
            Deed::Recount => true,
        };
        let view = index.view();
        self.ceiling.set(id, indexes.bytes());
        let library = Arc::new(LibraryState { view, ..LibraryState::clone(library) });
        let mut state = Published::clone(&self.state);
        state.libraries.insert(id, Arc::clone(&library));
        self.state = Arc::new(state);
        Some(Tended { state: Arc::clone(&self.state), library, done })
    }

    /// Brings the indexes up to date. Additions that follow each other go in together.
    fn index(
        &mut self,
        changes: &[Change],
        read: Vec<ReadTerms>,
        snapshot: &StoreSnapshot,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::default();
        let read = read.into_iter().chain(std::iter::repeat_with(Vec::new));
        for (change, read) in changes.iter().zip(read) {
            let head = &change.head;
            match &head.kind {
                ChangeKind::LibraryCreated { library } => {
                    self.indexes.insert(library.id, Indexes::new(library));
                }
                ChangeKind::LibraryDeleted { .. } => {
                    self.indexes.remove(&head.library_id);
                }
                ChangeKind::DocumentAdded { document: of, .. }
                | ChangeKind::DocumentUpdated { before: of, .. }
                | ChangeKind::DocumentDeleted { before: of, .. } => {
                    let removes = !head.kind.removed_chunks().is_empty();
                    if removes || rows.library.is_some_and(|library| library != head.library_id) {
                        rows.flush(&mut self.indexes);
                    }
                    rows.push(head, of.created_revision, &change.bodies);
                    let indexes = self.indexes.get(&head.library_id);
                    if indexes.is_some_and(|indexes| indexes.texts.is_some()) {
                        rows.texts.extend(terms::rows_written(change, read, snapshot)?);
                    }
                }
                ChangeKind::LibraryUpdated { .. }
                | ChangeKind::BatchStarted
                | ChangeKind::BatchCompleted { .. }
                | ChangeKind::BatchFailed { .. }
                | ChangeKind::IndexRebuilt { .. }
                | ChangeKind::IndexOptimized { .. } => {}
            }
        }
        rows.flush(&mut self.indexes);
        Ok(())
    }
}

/// Rows of one library that go into its indexes together: removals first, then additions.
#[derive(Default)]
struct Rows {
    library: Option<LibraryId>,
    removed: Vec<RowKey>,
    added: Vec<(RowKey, Vector)>,
    /// Added to the text index, or replaced there.
    texts: Vec<(RowKey, RowTerms)>,
}

impl Rows {
    fn push(&mut self, head: &ChangeHead, created: Revision, bodies: &[ChunkBody]) {
        let row = |chunk: &ChunkHead| RowKey { document: created.0, slot: chunk.slot };
        self.library = Some(head.library_id);
        self.removed.extend(head.kind.removed_chunks().iter().map(row));
        let added = head.kind.added_chunks().iter().zip(bodies);
        self.added.extend(added.map(|(chunk, body)| (row(chunk), body.vector.clone())));
    }

    fn flush(&mut self, indexes: &mut HashMap<LibraryId, Indexes>) {
        let index = self.library.take().and_then(|library| indexes.get_mut(&library));
        if let Some(index) = index {
            index.vectors.update(&self.removed, &self.added);
            if let Some(texts) = &mut index.texts {
                texts.update(&self.removed, &self.texts);
            }
        }
        self.removed.clear();
        self.added.clear();
        self.texts.clear();
    }
}

/// How far the log is applied once this change is.
fn applied(head: &ChangeHead) -> Applied {
    let events = head.events_before + u64::from(head.kind.num_events());
    Applied { revision: head.revision, time: head.time, events }
}

fn load_index(
    mut index: Restoring,
    scan: VectorScan,
) -> Result<(LibraryIndex, LibraryCounts), StoreError> {
    let mut counts = LibraryCounts::default();
    let mut last = None;
    for row in scan {
        let (created, slot, vector) = row?;
        counts.chunks += 1;
        // Every document has at least one chunk, and a document's chunks lie together.
        if last.replace(created) != Some(created) {
            counts.documents += 1;
        }
        index.push(RowKey { document: created.0, slot }, vector);
    }
    Ok((index.finish(), counts))
}

/// Writes what a change does to the store.
fn write(batch: &mut StoreBatch, change: &Change) -> Result<(), StoreError> {
    let head = &change.head;
    let library = head.library_id;
    match &head.kind {
        ChangeKind::LibraryCreated { library }
        | ChangeKind::LibraryUpdated { after: library, .. } => {
            batch.put_library(library)?;
        }
        ChangeKind::LibraryDeleted { .. } => batch.remove_library(library),
        ChangeKind::DocumentAdded { document, chunks } => {
            let stored = StoredDocument {
                head: document.clone(),
                next_slot: document.num_chunks,
                chunks: chunks.clone(),
            };
            batch.put_document(library, &stored)?;
            let key = DocumentKey { library, created: document.created_revision };
            write_chunks(batch, key, &head.kind, &change.bodies);
        }
        ChangeKind::DocumentUpdated { after, layout, next_slot, .. } => {
            let stored = StoredDocument {
                head: after.clone(),
                next_slot: *next_slot,
                chunks: layout.clone(),
            };
            batch.put_document(library, &stored)?;
            let key = DocumentKey { library, created: after.created_revision };
            write_chunks(batch, key, &head.kind, &change.bodies);
        }
        ChangeKind::DocumentDeleted { before, .. } => {
            let key = DocumentKey { library, created: before.created_revision };
            batch.remove_document(key, &before.id);
            write_chunks(batch, key, &head.kind, &[]);
        }
        ChangeKind::BatchStarted => {
            if let Some(id) = head.batch_id {
                batch.put_batch(id, &OpenBatch { library_id: library, started: head.revision })?;
            }
        }
        ChangeKind::BatchCompleted { .. } | ChangeKind::BatchFailed { .. } => {
            if let Some(id) = head.batch_id {
                batch.remove_batch(id);
            }
        }
        // The library as it is now is in the state; `Fold::apply` writes it.
        ChangeKind::IndexRebuilt { .. } | ChangeKind::IndexOptimized { .. } => {}
    }
    Ok(())
}

fn write_chunks(batch: &mut StoreBatch, key: DocumentKey, kind: &ChangeKind, bodies: &[ChunkBody]) {
    for chunk in kind.removed_chunks() {
        batch.remove_chunk(key, chunk.slot);
    }
    for (chunk, body) in kind.added_chunks().iter().zip(bodies) {
        batch.put_chunk(key, chunk.slot, &body.text, &body.vector);
    }
}

/// The libraries of the next state, while it is being made.
struct Next {
    libraries: imbl::HashMap<LibraryId, Arc<LibraryState>>,
    names: imbl::OrdMap<crate::types::LibraryName, LibraryId>,
    /// Libraries that were touched: what they are now, and what is in them.
    touched: HashMap<LibraryId, NextLibrary>,
    gone: HashSet<LibraryId>,
    /// Libraries whose index was rebuilt.
    reindexed: HashSet<LibraryId>,
}

/// A library of the next state, but for its index.
struct NextLibrary {
    library: Library,
    counts: LibraryCounts,
    touched: Touched,
}

impl Next {
    fn after(state: &Published) -> Self {
        Self {
            libraries: state.libraries.clone(),
            names: state.names.clone(),
            touched: HashMap::new(),
            gone: HashSet::new(),
            reindexed: HashSet::new(),
        }
    }

    fn fold(&mut self, head: &ChangeHead) {
        match &head.kind {
            ChangeKind::LibraryCreated { library } => {
                self.names.insert(library.name.clone(), library.id);
                let next = NextLibrary {
                    library: library.clone(),
                    counts: LibraryCounts::default(),
                    touched: Touched::since(head.revision),
                };
                self.touched.insert(library.id, next);
            }
            ChangeKind::LibraryUpdated { before, after } => {
                self.names.remove(&before.name);
                self.names.insert(after.name.clone(), after.id);
                if let Some(next) = self.touch(head.library_id) {
                    next.library = after.clone();
                }
            }
            ChangeKind::LibraryDeleted { before, .. } => {
                self.names.remove(&before.name);
                self.touched.remove(&head.library_id);
                self.gone.insert(head.library_id);
            }
            ChangeKind::DocumentAdded { document: of, .. }
            | ChangeKind::DocumentUpdated { before: of, .. }
            | ChangeKind::DocumentDeleted { before: of, .. } => {
                if let Some(next) = self.touch(head.library_id) {
                    next.counts = head.kind.count(next.counts);
                    let (document, documents) = (of.created_revision.0, next.counts.documents);
                    next.touched.push(head.revision, document, documents);
                }
            }
            ChangeKind::IndexRebuilt { index_type } => {
                if let Some(next) = self.touch(head.library_id) {
                    next.library.index_type = *index_type;
                    self.reindexed.insert(head.library_id);
                }
            }
            ChangeKind::BatchStarted
            | ChangeKind::BatchCompleted { .. }
            | ChangeKind::BatchFailed { .. }
            | ChangeKind::IndexOptimized { .. } => {}
        }
    }

    /// The libraries that were touched or are gone.
    fn changed(&self) -> impl Iterator<Item = LibraryId> {
        self.touched.keys().chain(&self.gone).copied()
    }

    /// The libraries that have another kind of index than the store knows.
    fn reindexed(&self) -> impl Iterator<Item = &Library> {
        self.reindexed.iter().filter_map(|id| Some(&self.touched.get(id)?.library))
    }

    fn touch(&mut self, id: LibraryId) -> Option<&mut NextLibrary> {
        if !self.touched.contains_key(&id) {
            let state = self.libraries.get(&id)?;
            let (library, touched) = (state.library.clone(), state.touched.clone());
            self.touched.insert(id, NextLibrary { library, counts: state.counts, touched });
        }
        self.touched.get_mut(&id)
    }

    fn finish(
        mut self,
        applied: Applied,
        snapshot: StoreSnapshot,
        indexes: &HashMap<LibraryId, Indexes>,
    ) -> Published {
        for id in self.gone {
            self.libraries.remove(&id);
        }
        for (id, NextLibrary { library, counts, touched }) in self.touched {
            if let Some(index) = indexes.get(&id) {
                let (view, text) = (index.vectors.view(), index.text_view());
                let state = LibraryState { library, counts, view, text, touched };
                self.libraries.insert(id, Arc::new(state));
            }
        }
        Published { applied, snapshot, libraries: self.libraries, names: self.names }
    }
}
