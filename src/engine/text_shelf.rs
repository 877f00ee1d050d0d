//! Where text indexes are kept on disk: hides which files they are, when they are worth writing,
//! and what of the store must be read again.
//!
//! A folder for each library: a file for each block, written once, and a manifest, replaced as a
//! whole when the blocks that it names are there. Nothing here is needed: what is missing, damaged
//! or of another release is read from the texts in the store.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::state::Published;
use super::terms::{load_document, load_texts};
use crate::store::{DocumentKey, StoreError, StoreSnapshot};
use crate::text::{TextIndex, TextView};
use crate::types::{LibraryId, Revision, RowKey};

/// The folder with the text indexes of all libraries.
#[derive(Debug)]
pub(super) struct TextShelf {
    folder: PathBuf,
    opened: Instant,
    kept: HashMap<LibraryId, Kept>,
}

/// What lies on disk of a library.
#[derive(Debug)]
struct Kept {
    /// The view that it is of, which this does not keep in memory; none where there is no such
    /// view.
    view: Weak<TextView>,
    blocks: HashSet<u64>,
    since: Instant,
}

const MANIFEST: &str = "manifest";
const BLOCK_EXTENSION: &str = "block";

impl TextShelf {
    /// Opens or makes the folder.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, opened: Instant::now(), kept: HashMap::new() })
    }

    /// The text index of a library in this state: as it was kept, with what changed since; or all
    /// of it read from the store, when what was kept is of no use, which the server's log says.
    pub(super) fn load(
        &mut self,
        snapshot: &StoreSnapshot,
        library: LibraryId,
        applied: Revision,
    ) -> Result<TextIndex, StoreError> {
        let folder = self.folder_of(library);
        match read(&folder) {
            Ok(Some((mut index, mark))) if mark <= applied => {
                let is_same = catch_up(&mut index, snapshot, library, mark)?;
                let view = if is_same { Arc::downgrade(&index.view()) } else { Weak::new() };
                let kept = Kept { view, blocks: blocks_in(&folder), since: self.opened };
                self.kept.insert(library, kept);
                return Ok(index);
            }
            Ok(None) => {}
            Ok(Some((_, mark))) => {
                let folder = folder.display();
                tracing::warn!(%folder, %mark, "a text index is newer than the store: read again");
                self.forget(library);
            }
            Err(error) => {
                let folder = folder.display();
                tracing::warn!(%folder, %error, "a text index is of no use: all texts are read");
                self.forget(library);
            }
        }
        let mut index = TextIndex::new();
        load_texts(&mut index, snapshot, library)?;
        Ok(index)
    }

    /// Whether this view is to be written: it is not what lies there, and that is at least so old.
    pub(super) fn wants(&self, library: LibraryId, view: &Arc<TextView>, age: Duration) -> bool {
        match self.kept.get(&library) {
            None => !view.is_empty() && self.opened.elapsed() >= age,
            Some(kept) => {
                let is_same = std::ptr::eq(kept.view.as_ptr(), Arc::as_ptr(view));
                !is_same && kept.since.elapsed() >= age
            }
        }
    }

    /// Writes what is new of a view, whose state is at this revision. Blocks, for as long as that
    /// takes. After an error what lay there before is still good, or is nothing.
    pub(super) fn keep(
        &mut self,
        library: LibraryId,
        view: &Arc<TextView>,
        applied: Revision,
    ) -> io::Result<()> {
        let folder = self.folder_of(library);
        fs::create_dir_all(&folder)?;
        let since = Instant::now();
        let mut kept = self.kept.remove(&library).unwrap_or_else(|| Kept {
            view: Weak::new(),
            blocks: HashSet::new(),
            since,
        });
        // Also after an error: not at once again.
        kept.since = since;
        let written = self.write(&folder, view, applied, &mut kept);
        self.kept.insert(library, kept);
        written
    }

    fn write(
        &self,
        folder: &Path,
        view: &Arc<TextView>,
        applied: Revision,
        kept: &mut Kept,
    ) -> io::Result<()> {
        let saved = view.to_saved(applied.0);
        for block in &saved.blocks {
            if !kept.blocks.contains(&block.id()) {
                write_whole(&block_path(folder, block.id()), &block.to_bytes())?;
                kept.blocks.insert(block.id());
            }
        }
        File::open(folder)?.sync_all()?;
        write_whole(&folder.join(MANIFEST), &saved.manifest)?;
        File::open(folder)?.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        let named: HashSet<u64> = saved.blocks.iter().map(|block| block.id()).collect();
        kept.blocks.extract_if(|id| !named.contains(id)).for_each(|id| {
            remove(&block_path(folder, id));
        });
        kept.view = Arc::downgrade(view);
        Ok(())
    }

    /// Removes the files of libraries that this process knew and that are gone.
    pub(super) fn forget_gone(&mut self, is_there: impl Fn(LibraryId) -> bool) {
        let gone: Vec<_> =
            self.kept.keys().copied().filter(|library| !is_there(*library)).collect();
        gone.into_iter().for_each(|library| self.forget(library));
    }

    /// Removes the files of all libraries that are not there.
    pub(super) fn retain(&mut self, is_there: impl Fn(LibraryId) -> bool) {
        self.kept.retain(|library, _| is_there(*library));
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let library = path.file_name().and_then(|name| name.to_str());
            let library = library.and_then(|name| LibraryId::parse("library_id", name).ok());
            if library.is_some_and(|library| !is_there(library)) {
                remove_folder(&path);
            }
        }
    }

    fn forget(&mut self, library: LibraryId) {
        self.kept.remove(&library);
        remove_folder(&self.folder_of(library));
    }

    fn folder_of(&self, library: LibraryId) -> PathBuf {
        self.folder.join(library.to_string())
    }
}

/// Writes the text indexes that changed, of those that were not written for so long. On this
/// pool, whose threads wait while others have work; neither searches nor the writer wait.
pub(super) async fn keep_texts(
    mut shelf: TextShelf,
    state: &Published,
    pool: &rayon::ThreadPool,
    age: Duration,
) -> Option<TextShelf> {
    shelf.forget_gone(|library| state.libraries.contains_key(&library));
    for (id, library) in &state.libraries {
        let (id, view) = (*id, Arc::clone(&library.text));
        if !shelf.wants(id, &view, age) {
            continue;
        }
        let (done, written) = oneshot::channel();
        let applied = state.applied.revision;
        pool.spawn(move || {
            let result = shelf.keep(id, &view, applied);
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

/// What lies in a library's folder, with the revision of its state; `None` when that is nothing.
/// Blocks that no manifest names go: others will have their ids.
fn read(folder: &Path) -> Result<Option<(TextIndex, Revision)>, Box<dyn std::error::Error>> {
    let manifest = match fs::read(folder.join(MANIFEST)) {
        Ok(manifest) => manifest,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if folder.exists() {
                remove_folder(folder);
            }
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let mut named = HashSet::new();
    let (index, mark) = TextIndex::open(&manifest, |id| {
        named.insert(id);
        fs::read(block_path(folder, id)).ok()
    })?;
    for path in fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_manifest = path.file_name().is_some_and(|name| name == MANIFEST);
        if !is_manifest && block_of(&path).is_none_or(|id| !named.contains(&id)) {
            remove(&path);
        }
    }
    Ok(Some((index, Revision(mark))))
}

/// Brings an index that was in order at `mark` up to the store: documents written since are read
/// again, and what is not in the store goes. Gives whether nothing was to be done.
fn catch_up(
    index: &mut TextIndex,
    snapshot: &StoreSnapshot,
    library: LibraryId,
    mark: Revision,
) -> Result<bool, StoreError> {
    let mut stored: Vec<RowKey> = Vec::new();
    let mut written = Vec::new();
    for document in snapshot.stored_documents(library) {
        let document = document?;
        let created = document.head.created_revision;
        let first = stored.len();
        let row = |slot| RowKey { document: created.0, slot };
        stored.extend(document.chunks.iter().map(|chunk| row(chunk.slot)));
        stored[first..].sort_unstable();
        if document.head.revision > mark {
            written.push(created);
        }
    }
    let removed = index.retain(|row| stored.binary_search(&row).is_ok());
    let is_same = removed == 0 && written.is_empty();
    for created in written {
        load_document(index, snapshot, DocumentKey { library, created })?;
    }
    Ok(is_same)
}

fn blocks_in(folder: &Path) -> HashSet<u64> {
    let Ok(entries) = fs::read_dir(folder) else { return HashSet::new() };
    entries.filter_map(|entry| block_of(&entry.ok()?.path())).collect()
}

fn block_path(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("{id:020}.{BLOCK_EXTENSION}"))
}

fn block_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(BLOCK_EXTENSION)?.strip_suffix('.')?;
    name.parse().ok()
}

/// Writes a file so that it is under its name only when it is whole and durable.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "a file could not be removed");
    }
}

fn remove_folder(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %path.display(), %error, "a folder could not be removed");
    }
}
