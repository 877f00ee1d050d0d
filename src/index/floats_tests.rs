//! Vectors in files: what is found stays the same, whatever becomes of the file.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::graph_tests::{filled, key, queries, rows, tend};
use super::*;
use crate::types::{IndexType, LibraryId};

/// The vectors for good, and how often one was asked for.
#[derive(Debug, Default)]
struct Source {
    vectors: HashMap<RowKey, Vector>,
    asked: AtomicUsize,
}

impl RowSource for Source {
    fn vector(&self, row: RowKey) -> Option<Vector> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.vectors.get(&row).cloned()
    }
}

/// A folder that segments are kept in.
pub(super) struct Filing {
    folder: tempfile::TempDir,
    source: Arc<Source>,
    kept: Vec<Kept>,
    next: usize,
}

impl Filing {
    /// With these vectors for good.
    pub(super) fn new(rows: &[(RowKey, Vector)]) -> Self {
        let vectors = rows.iter().cloned().collect();
        let source = Arc::new(Source { vectors, asked: AtomicUsize::new(0) });
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, source, kept: Vec::new(), next: 0 }
    }

    fn home(&self) -> Home {
        Home::Disk(Arc::clone(&self.source) as Arc<dyn RowSource>)
    }

    fn asked(&self) -> usize {
        self.source.asked.load(Ordering::Relaxed)
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.kept.iter().map(|kept| kept.path().to_owned()).collect()
    }

    /// Writes what is to be written of a view, however little, and removes what nobody needs.
    pub(super) fn keep(&mut self, view: &View) {
        for keeper in view.keepers(&self.kept, &self.home(), 1) {
            let path = self.folder.path().join(format!("{}.segment", self.next));
            self.next += 1;
            self.kept.push(keeper.write(&path, library(), &self.home()).expect("written"));
        }
        for gone in view.take_unneeded(&mut self.kept) {
            std::fs::remove_file(gone.path()).expect("it is there");
        }
    }

    /// The index that a start makes of the files and these rows.
    fn restored(&self, metric: Metric, rows: &[(RowKey, Vector)]) -> (LibraryIndex, Vec<Kept>) {
        let dimension = rows[0].1.as_slice().len();
        let mut restoring = Restoring::new(dimension, metric, self.home());
        let read = |path: &PathBuf| restoring.read(path, library()).expect("read");
        let kept = self.paths().iter().rev().map(read).collect();
        rows.iter().for_each(|(key, vector)| restoring.push(*key, vector.clone()));
        (restoring.finish(), kept)
    }
}

fn library() -> LibraryId {
    LibraryId::from_bytes([7; 16])
}

fn answers(view: &View, exact: bool) -> Vec<Vec<Neighbour>> {
    let queries = queries(16, 20);
    let query = |vector| Query { k: 20, exact, ..Query::new(vector) };
    queries.iter().map(|vector| view.search(&[query(vector)]).remove(0)).collect()
}

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];

/// 5 000 rows with a graph, and 4 600 without one of which 4 096 lie still; in memory.
fn index_of(metric: Metric) -> (LibraryIndex, Vec<(RowKey, Vector)>) {
    let mut all = rows(1, 0, 5_000, 16);
    let mut index = filled(metric, &all);
    tend(&mut index, IndexType::Hnsw, Urge::Asked);
    let later = rows(2, 5_000, 4_600, 16);
    later.chunks(512).for_each(|rows| index.update(&[], rows));
    all.extend(later);
    (index, all)
}

/// Changes every so manieth byte of the vectors in a file.
fn damage(path: &Path, vectors: usize, every: usize) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("there");
    let end = file.metadata().expect("readable").len();
    let begin = end - (vectors * 64) as u64;
    for at in (begin..end).step_by(every) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("readable");
        file.write_all_at(&[byte[0] ^ 0x10], at).expect("writable");
    }
}

#[test]
fn vectors_in_files_are_found_as_those_in_memory_and_take_no_memory() {
    for metric in METRICS {
        let (index, all) = index_of(metric);
        let view = index.view();
        let (before, expected) = (view.bytes(), [true, false].map(|exact| answers(&view, exact)));
        let mut filing = Filing::new(&all);
        filing.keep(&view);
        assert_eq!(filing.kept.len(), 2, "a graph, and rows without one");
        assert_eq!([true, false].map(|exact| answers(&view, exact)), expected, "{metric:?}");
        // A lane a row, less a checksum.
        assert_eq!(before - view.bytes(), (5_000 + 4_096) * (64 - 4));
        // There is nothing more to write, and nobody was asked for what the files have.
        assert!(view.keepers(&filing.kept, &filing.home(), 1).is_empty());
        assert_eq!(filing.asked(), 0);
    }
}

#[test]
fn rows_out_of_files_are_moved_into_blocks_and_files_that_nobody_needs_go() {
    let (mut index, mut all) = index_of(Metric::L2);
    let mut filing = Filing::new(&all);
    filing.keep(&index.view());
    let before = filing.paths();
    // More than half of each block goes: the rest moves into others.
    let gone: Vec<RowKey> = (0..9_600).filter(|i| i % 9 < 5).map(key).collect();
    index.update(&gone, &[]);
    tend(&mut index, IndexType::Flat, Urge::Asked);
    all.retain(|(key, _)| !gone.contains(key));
    let model = filled(Metric::L2, &all);
    assert_eq!(answers(&index.view(), true), answers(&model.view(), true));
    filing.keep(&index.view());
    assert!(before.iter().all(|path| !path.exists()));
    assert_eq!(answers(&index.view(), true), answers(&model.view(), true));
    assert_eq!(filing.asked(), 0);
}

#[test]
fn a_graph_over_rows_in_files_has_one_of_its_own_with_their_vectors() {
    let (mut index, all) = index_of(Metric::Cosine);
    let mut filing = Filing::new(&all);
    filing.keep(&index.view());
    let before = filing.paths();
    tend(&mut index, IndexType::Hnsw, Urge::Asked);
    let expected = answers(&index.view(), false);
    filing.keep(&index.view());
    assert_eq!(filing.kept.len(), 1);
    assert!(before.iter().all(|path| !path.exists()));
    assert_eq!(answers(&index.view(), false), expected);
    assert_eq!(filing.asked(), 0);
}

#[test]
fn a_start_takes_vectors_where_they_are_and_only_those_that_the_store_has() {
    for metric in METRICS {
        let (index, mut all) = index_of(metric);
        let mut filing = Filing::new(&all);
        filing.keep(&index.view());
        let (again, kept) = filing.restored(metric, &all);
        assert_eq!(answers(&again.view(), true), answers(&index.view(), true), "{metric:?}");
        assert!(again.view().keepers(&kept, &filing.home(), 5_000).is_empty());
        assert!(again.view().bytes() <= index.view().bytes() + 4_096);

        // One row has another vector meanwhile, of nearly the same codes; one is gone.
        let mut other = all[3].1.as_slice().to_vec();
        other[0] = f32::from_bits(other[0].to_bits() + 1);
        all[3].1 = Vector::new("v", other, 16, metric).expect("valid");
        all.remove(7);
        let (again, _) = filing.restored(metric, &all);
        let model = filled(metric, &all);
        assert_eq!(answers(&again.view(), true), answers(&model.view(), true), "{metric:?}");
        let query = Query { k: 1, ..Query::new(all[3].1.as_slice()) };
        assert_eq!(again.view().search(&[query]), model.view().search(&[query]));
        assert_eq!(filing.asked(), 0);
    }
}

#[test]
fn a_start_with_vectors_in_memory_takes_them_from_the_store() {
    let (index, all) = index_of(Metric::Dot);
    let expected = answers(&index.view(), true);
    let mut filing = Filing::new(&all);
    filing.keep(&index.view());
    let mut restoring = Restoring::new(16, Metric::Dot, Home::Memory);
    filing.paths().iter().for_each(|path| {
        restoring.read(path, library()).expect("read");
    });
    all.iter().for_each(|(key, vector)| restoring.push(*key, vector.clone()));
    let again = restoring.finish();
    filing.paths().iter().for_each(|path| damage(path, 4_096, 8));
    assert_eq!(answers(&again.view(), true), expected);
    assert_eq!(filing.asked(), 0);
}

#[test]
fn damaged_vectors_are_read_from_the_store_and_written_anew() {
    for metric in METRICS {
        let (index, all) = index_of(metric);
        let view = index.view();
        let expected = [true, false].map(|exact| answers(&view, exact));
        let mut filing = Filing::new(&all);
        filing.keep(&view);
        let before = filing.paths();
        before.iter().for_each(|path| damage(path, 4_096, 200));
        assert_eq!([true, false].map(|exact| answers(&view, exact)), expected, "{metric:?}");
        assert!(filing.asked() > 0);
        filing.keep(&view);
        assert_eq!(filing.kept.len(), 2);
        assert!(before.iter().all(|path| !path.exists()), "damaged files go");
        let asked = filing.asked();
        assert_eq!([true, false].map(|exact| answers(&view, exact)), expected, "{metric:?}");
        assert_eq!(filing.asked(), asked, "the new files are whole");
    }
}

#[test]
fn a_file_cut_short_is_read_from_the_store_and_not_taken_by_a_start() {
    let (index, all) = index_of(Metric::Cosine);
    let view = index.view();
    let expected = answers(&view, true);
    let mut filing = Filing::new(&all);
    filing.keep(&view);
    for path in filing.paths() {
        let file = OpenOptions::new().write(true).open(&path).expect("there");
        let length = file.metadata().expect("readable").len();
        file.set_len(length - 2_000 * 64).expect("cut");
        let read = Restoring::new(16, Metric::Cosine, filing.home()).read(&path, library());
        assert!(matches!(read, Err(FileError::Damaged(_))), "{read:?}");
    }
    assert_eq!(answers(&view, true), expected);
    assert!(filing.asked() > 0);
}

#[test]
fn a_row_that_can_be_read_nowhere_is_about_where_its_codes_say() {
    let (index, all) = index_of(Metric::Cosine);
    let view = index.view();
    let expected = answers(&view, true);
    let mut filing = Filing::new(&[]);
    filing.keep(&view);
    assert!(!all.is_empty());
    filing.paths().iter().for_each(|path| damage(path, 4_096, 8));
    for (found, expected) in answers(&view, true).iter().zip(expected) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.distance - expected.distance).abs() < 0.02, "{found:?} {expected:?}");
        }
    }
}
