//! Kept graphs: what comes back out of a file, and what of it counts.

use std::path::{Path, PathBuf};

use super::graph_tests::{filled, key, queries, rows, tend};
use super::*;
use crate::types::{IndexType, LibraryId};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("a.segment")
    }
}

fn library() -> LibraryId {
    LibraryId::from_bytes([7; 16])
}

/// An index with one graph, its rows, and the graph in a file.
fn kept(folder: &Folder, metric: Metric) -> (LibraryIndex, Vec<(RowKey, Vector)>) {
    let mut rows = rows(1, 0, 5_000, 16);
    // Twins, too.
    rows[17].1 = rows[16].1.clone();
    let mut index = filled(metric, &rows);
    tend(&mut index, IndexType::Hnsw, Urge::Asked);
    let keepers = index.view().keepers(&[], &Home::Memory, 1);
    assert_eq!(keepers.len(), 1);
    keepers[0].write(&folder.file(), library(), &Home::Memory).expect("written");
    (index, rows)
}

fn restored(path: &Path, metric: Metric, rows: &[(RowKey, Vector)]) -> LibraryIndex {
    let mut restoring = Restoring::new(16, metric, Home::Memory);
    restoring.read(path, library()).expect("read");
    rows.iter().for_each(|(key, vector)| restoring.push(*key, vector.clone()));
    restoring.finish()
}

fn answers(view: &View, exact: bool) -> Vec<Vec<Neighbour>> {
    let queries = queries(16, 20);
    let query = |vector| Query { k: 20, exact, ..Query::new(vector) };
    queries.iter().map(|vector| view.search(&[query(vector)]).remove(0)).collect()
}

#[test]
fn an_index_out_of_a_file_answers_as_the_one_that_was_kept() {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let folder = Folder::new();
        let (index, rows) = kept(&folder, metric);
        let again = restored(&folder.file(), metric, &rows);
        for exact in [true, false] {
            assert_eq!(answers(&again.view(), exact), answers(&index.view(), exact), "{metric:?}");
        }
        assert_eq!(again.view().segments(), index.view().segments());
        assert_eq!(again.locations.len(), 5_000);
    }
}

#[test]
fn the_store_says_what_is_there_however_old_the_file_is() {
    let folder = Folder::new();
    let (mut index, mut all) = kept(&folder, Metric::Cosine);
    // Afterwards some rows go, some come, and one has another vector under its key.
    let gone: Vec<RowKey> = (0..5_000).step_by(7).map(key).collect();
    let mut new = rows(2, 5_000, 800, 16);
    new.push((key(1), new[0].1.clone()));
    index.update(&gone, &new);
    all.retain(|(key, _)| !gone.contains(key) && key.document != 1);
    all.extend(new);
    let mut again = restored(&folder.file(), Metric::Cosine, &all);
    assert_eq!(answers(&again.view(), true), answers(&index.view(), true));
    assert_eq!(again.view().len(), index.view().len());
    assert!(again.view().segments()[0].has_graph);
    assert_eq!(again.view().segments()[0].tombstones, gone.len() + 1);

    // It goes on as any other.
    let later = rows(3, 6_000, 600, 16);
    let gone: Vec<RowKey> = (2..5_900).step_by(5).map(key).collect();
    for index in [&mut index, &mut again] {
        index.update(&gone, &later);
        tend(index, IndexType::Hnsw, Urge::Asked);
    }
    assert_eq!(answers(&again.view(), true), answers(&index.view(), true));
    assert_eq!((again.view().len(), again.view().segments().len()), (index.view().len(), 1));
}

#[test]
fn rows_of_two_files_belong_to_the_newer_one() {
    let folder = Folder::new();
    let (_, rows) = kept(&folder, Metric::Cosine);
    let mut restoring = Restoring::new(16, Metric::Cosine, Home::Memory);
    restoring.read(&folder.file(), library()).expect("read");
    restoring.read(&folder.file(), library()).expect("read");
    rows.iter().for_each(|(key, vector)| restoring.push(*key, vector.clone()));
    let mut index = restoring.finish();
    let rows: Vec<usize> = index.view().segments().iter().map(|segment| segment.rows).collect();
    assert_eq!(rows, [5_000, 0]);
    tend(&mut index, IndexType::Hnsw, Urge::Busy);
    assert_eq!((index.view().segments().len(), index.view().tombstones()), (1, 0));
}

#[test]
fn damage_is_found_wherever_it_is() {
    let folder = Folder::new();
    let (_, _) = kept(&folder, Metric::Cosine);
    let whole = std::fs::read(folder.file()).expect("readable");
    let read = |bytes: &[u8]| {
        std::fs::write(folder.file(), bytes).expect("writable");
        Restoring::new(16, Metric::Cosine, Home::Memory).read(&folder.file(), library())
    };
    assert!(read(&whole).is_ok());
    let places =
        (0..64).chain((64..whole.len()).step_by(whole.len() / 200)).chain([whole.len() - 1]);
    for place in places {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x10;
        assert!(read(&damaged).is_err(), "byte {place}");
    }
    for length in [0, 7, 40, whole.len() / 2, whole.len() - 1] {
        assert!(read(&whole[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn a_file_of_something_else_is_not_taken() {
    let folder = Folder::new();
    let (_, _) = kept(&folder, Metric::Cosine);
    let other = LibraryId::from_bytes([8; 16]);
    let foreign = |result| matches!(result, Err(FileError::Foreign(_)));
    assert!(foreign(Restoring::new(16, Metric::Cosine, Home::Memory).read(&folder.file(), other)));
    assert!(foreign(Restoring::new(16, Metric::L2, Home::Memory).read(&folder.file(), library())));
    assert!(foreign(
        Restoring::new(17, Metric::Cosine, Home::Memory).read(&folder.file(), library())
    ));
}
