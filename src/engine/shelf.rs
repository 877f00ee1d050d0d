//! Where segments are kept on disk: hides which file is of which graph and of which vectors.
//!
//! A file for each graph, and for rows without one whose vectors are to be on disk; written once
//! and removed when nothing of it is needed. A new one is whole before the old ones go; what a
//! crash leaves besides is found at the next start to have no rows, and goes then.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::index::{FileError, Home, Kept, Restoring, RowKey, RowSource, View};
use crate::store::{DocumentKey, Store};
use crate::types::{LibraryId, Revision, Vector};

/// The folder with the segments of all libraries.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// What has the vectors of rows whose file is damaged; `None`: vectors stay in memory.
    store: Option<Store>,
    /// So many rows without a graph are worth a file of their vectors.
    rows_min: usize,
    /// No file has this number or a higher one.
    next: u64,
    files: HashMap<LibraryId, Vec<Kept>>,
}

/// The vectors of a library in the store.
struct StoredRows {
    store: Store,
    library: LibraryId,
}

impl std::fmt::Debug for StoredRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRows").field("library", &self.library).finish_non_exhaustive()
    }
}

impl RowSource for StoredRows {
    fn vector(&self, row: RowKey) -> Option<Vector> {
        let key = DocumentKey { library: self.library, created: Revision(row.document) };
        let vector = self.store.snapshot().vector(key, row.slot);
        vector
            .inspect_err(|error| {
                tracing::error!(library = %self.library, %error, "a vector cannot be read");
            })
            .ok()
            .flatten()
    }
}

const EXTENSION: &str = "segment";
/// What is not whole, and what an earlier release wrote.
const GONE: [&str; 2] = ["tmp", "graph"];

impl Shelf {
    /// Opens or makes the folder; removes files that were not finished.
    /// Vectors stay in memory, unless there is a store to read them from when a file is damaged.
    pub(super) fn open(folder: PathBuf, store: Option<Store>, rows_min: usize) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut next = 0;
        for path in paths_in(&folder)? {
            match number_of(&path) {
                Some((_, number)) => next = next.max(number + 1),
                None if path.extension().is_some_and(|of| GONE.iter().any(|gone| of == *gone)) => {
                    fs::remove_file(&path)?;
                }
                // Not ours.
                None => {}
            }
        }
        Ok(Self { folder, store, rows_min, next, files: HashMap::new() })
    }

    /// Where the vectors of a library are to be.
    pub(super) fn home(&self, library: LibraryId) -> Home {
        match &self.store {
            Some(store) => Home::Disk(Arc::new(StoredRows { store: store.clone(), library })),
            None => Home::Memory,
        }
    }

    /// Reads what there is of a library. A file that is of no use is named in the server's log and
    /// removed: its graph will be built again.
    pub(super) fn read(&mut self, library: LibraryId, into: &mut Restoring) {
        let mut files: Vec<(u64, PathBuf)> = paths_in(&self.folder)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|path| {
                let (of, number) = number_of(&path)?;
                (of == library).then_some((number, path))
            })
            .collect();
        files.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        for (_, path) in files {
            match into.read(&path, library) {
                Ok(kept) => self.files.entry(library).or_default().push(kept),
                Err(error) => {
                    let file = path.display();
                    tracing::warn!(%file, %error, "a segment's file is of no use; it is built again");
                    remove(&path);
                }
            }
        }
    }

    /// Whether there is something to do for a library.
    pub(super) fn is_behind(&self, library: LibraryId, view: &View) -> bool {
        let kept = self.files.get(&library).map_or(&[][..], Vec::as_slice);
        kept.iter().any(|kept| !view.needs(kept))
            || !view.keepers(kept, &self.home(library), self.rows_min).is_empty()
    }

    /// Keeps the segments that a library has and no others. Blocks, for as long as it takes to write
    /// what is new.
    pub(super) fn keep(&mut self, library: LibraryId, view: &View) -> Result<(), FileError> {
        let home = self.home(library);
        let mut kept = self.files.remove(&library).unwrap_or_default();
        let mut failed = None;
        for keeper in view.keepers(&kept, &home, self.rows_min) {
            let path = self.folder.join(format!("{library}-{:020}.{EXTENSION}", self.next));
            self.next += 1;
            match keeper.write(&path, library, &home) {
                Ok(new) => kept.push(new),
                Err(error) => failed = Some(error),
            }
        }
        view.take_unneeded(&mut kept).iter().for_each(|gone| remove(gone.path()));
        if !kept.is_empty() {
            self.files.insert(library, kept);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether it has files of no other libraries.
    pub(super) fn is_of(&self, is_there: impl Fn(LibraryId) -> bool) -> bool {
        self.files.keys().all(|library| is_there(*library))
    }

    /// Removes the files of libraries that are not there.
    pub(super) fn retain(&mut self, is_there: impl Fn(LibraryId) -> bool) {
        self.files.retain(|library, _| is_there(*library));
        for path in paths_in(&self.folder).unwrap_or_default() {
            if number_of(&path).is_some_and(|(library, _)| !is_there(library)) {
                remove(&path);
            }
        }
    }
}

fn paths_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// Whose file it is, and its number; `None` for other files.
fn number_of(path: &Path) -> Option<(LibraryId, u64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let (library, number) = name.rsplit_once('-')?;
    Some((LibraryId::parse("library_id", library).ok()?, number.parse().ok()?))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "a file could not be removed");
    }
}
