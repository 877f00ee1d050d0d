//! Where graphs, and text indexes, are kept on disk: hides which file is of which graph.
//!
//! A file for each graph, written once when the graph is there and removed when it is gone. A new
//! one is whole before the old ones go; what a crash leaves besides is found at the next start to
//! have no rows, and goes then.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::state::Published;
use super::text_shelf::TextShelf;
use crate::index::{FileError, Restoring, View};
use crate::types::LibraryId;

/// The folder with the graphs and text indexes of all libraries.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// No file has this number or a higher one.
    next: u64,
    files: HashMap<LibraryId, Vec<Kept>>,
    pub(super) texts: TextShelf,
}

#[derive(Debug)]
struct Kept {
    /// The graph's.
    serial: u64,
    path: PathBuf,
}

const EXTENSION: &str = "graph";
/// The folder of text indexes within.
const TEXTS: &str = "text";

impl Shelf {
    /// Opens or makes the folder; removes files that were not finished.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut next = 0;
        for path in paths_in(&folder)? {
            match number_of(&path) {
                Some((_, number)) => next = next.max(number + 1),
                None if path.extension().is_some_and(|of| of == "tmp") => fs::remove_file(&path)?,
                // Not ours.
                None => {}
            }
        }
        let texts = TextShelf::open(folder.join(TEXTS))?;
        Ok(Self { folder, next, files: HashMap::new(), texts })
    }

    /// Reads what there is of a library; gives the files that were read, in their order. One that
    /// is of no use is named in the server's log and removed: its graph will be built again.
    pub(super) fn read(&self, library: LibraryId, into: &mut Restoring) -> Vec<PathBuf> {
        let mut files: Vec<(u64, PathBuf)> = paths_in(&self.folder)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|path| {
                let (of, number) = number_of(&path)?;
                (of == library).then_some((number, path))
            })
            .collect();
        files.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let mut read = Vec::new();
        for (_, path) in files {
            match into.read(&path, library) {
                Ok(()) => read.push(path),
                Err(error) => {
                    let file = path.display();
                    tracing::warn!(%file, %error, "a graph's file is of no use; it is built again");
                    remove(&path);
                }
            }
        }
        read
    }

    /// Notes what was read of a library: the files of the view's graphs, in their order.
    pub(super) fn note(&mut self, library: LibraryId, view: &View, files: Vec<PathBuf>) {
        let kept = view.graph_serials().into_iter().zip(files);
        let kept: Vec<Kept> = kept.map(|(serial, path)| Kept { serial, path }).collect();
        if !kept.is_empty() {
            self.files.insert(library, kept);
        }
    }

    /// Keeps the graphs that a library has and no others. Blocks, for as long as it takes to write
    /// what is new.
    pub(super) fn keep(&mut self, library: LibraryId, view: &View) -> Result<(), FileError> {
        let mut before = self.files.remove(&library).unwrap_or_default();
        let mut failed = None;
        let mut kept = Vec::new();
        for keeper in view.keepers() {
            if let Some(at) = before.iter().position(|kept| kept.serial == keeper.serial()) {
                kept.push(before.swap_remove(at));
                continue;
            }
            let path = self.folder.join(format!("{library}-{:020}.{EXTENSION}", self.next));
            self.next += 1;
            match keeper.write(&path, library) {
                Ok(()) => kept.push(Kept { serial: keeper.serial(), path }),
                Err(error) => failed = Some(error),
            }
        }
        before.iter().for_each(|gone| remove(&gone.path));
        if !kept.is_empty() {
            self.files.insert(library, kept);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Removes the files of libraries that are not there.
    pub(super) fn retain(&mut self, is_there: impl Fn(LibraryId) -> bool) {
        self.files.retain(|library, _| is_there(*library));
        self.texts.retain(&is_there);
        for path in paths_in(&self.folder).unwrap_or_default() {
            if number_of(&path).is_some_and(|(library, _)| !is_there(library)) {
                remove(&path);
            }
        }
    }
}

/// Brings the files of graphs up to date with the graphs. `kept`: the serials of those that
/// were on the shelf when it was looked at last.
pub(super) async fn keep_graphs(
    mut shelf: Shelf,
    state: &Published,
    kept: &mut HashMap<LibraryId, Vec<u64>>,
) -> Option<Shelf> {
    if kept.keys().any(|library| !state.libraries.contains_key(library)) {
        kept.retain(|library, _| state.libraries.contains_key(library));
        shelf.retain(|library| state.libraries.contains_key(&library));
    }
    for (id, library) in &state.libraries {
        let serials = library.view.graph_serials();
        if kept.get(id).map_or(serials.is_empty(), |kept| *kept == serials) {
            continue;
        }
        let (id, view) = (*id, Arc::clone(&library.view));
        kept.insert(id, serials);
        let write = move || {
            let done = shelf.keep(id, &view);
            (shelf, done)
        };
        // A panic loses the shelf and with it the files, not the graphs.
        let (back, done) = tokio::task::spawn_blocking(write).await.ok()?;
        shelf = back;
        if let Err(error) = done {
            let library = library.library.name.as_str();
            tracing::error!(library, %error, "a graph was not kept: it will be built again");
        }
    }
    Some(shelf)
}

/// Writes the text indexes that changed, of those that were not written for so long. On this
/// pool, whose threads wait while others have work; neither searches nor the writer wait.
pub(super) async fn keep_texts(
    mut shelf: Shelf,
    state: &Published,
    pool: &rayon::ThreadPool,
    age: Duration,
) -> Option<Shelf> {
    shelf.texts.forget_gone(|library| state.libraries.contains_key(&library));
    for (id, library) in &state.libraries {
        let (id, view) = (*id, Arc::clone(&library.text));
        if !shelf.texts.wants(id, &view, age) {
            continue;
        }
        let (done, written) = oneshot::channel();
        let applied = state.applied.revision;
        pool.spawn(move || {
            let result = shelf.texts.keep(id, &view, applied);
            let _ = done.send((shelf, result));
        });
        // A panic loses the shelf and with it the files, not the indexes.
        let (back, result) = written.await.ok()?;
        shelf = back;
        if let Err(error) = result {
            let library = library.library.name.as_str();
            tracing::error!(library, %error, "a text index was not kept: texts are read again");
        }
    }
    Some(shelf)
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
