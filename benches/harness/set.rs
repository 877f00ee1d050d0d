//! Sets of vectors for the benches of the index alone: drawn, or of a folder with `rows.f32` and
//! `queries.f32` (numbers one after the other, little-endian) and `dimension` (digits).

use std::path::{Path, PathBuf};

use arrwdb::embed::{Embedder, Purpose, StaticEmbedder};
use arrwdb::index::{LibraryIndex, RowKey};
use arrwdb::types::{Metric, Vector};

use super::setting;
use super::vectors::Mixture;

/// Queries that texts give.
const TEXT_QUERIES: usize = 1_000;
/// Queries that are drawn.
const DRAWN_QUERIES: usize = 500;

pub struct Set {
    pub rows: Vec<Vec<f32>>,
    pub queries: Vec<Vec<f32>>,
}

impl Set {
    /// As the arguments say: of a folder, where `--embed` first makes its files from `texts.txt`, one
    /// text a line, by the built-in model, the last thousand as queries; or `ARRWDB_BENCH_ROWS`
    /// drawn rows.
    pub fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
        let folder = arguments.iter().find(|a| !a.starts_with("--")).map(PathBuf::from);
        let Some(folder) = folder else {
            let (mixture, count) = (Mixture::new(), setting("ARRWDB_BENCH_ROWS", 100_000));
            return Self { rows: mixture.draw(1, count), queries: mixture.draw(2, DRAWN_QUERIES) };
        };
        if arguments.contains(&"--embed".to_owned()) {
            embed(&folder);
        }
        read(&folder)
    }
}

/// The key of the row at a place in the set.
pub fn key(place: usize) -> RowKey {
    RowKey { document: place as u64, slot: 0 }
}

/// Adds rows of a set, from a place on.
pub fn add(index: &mut LibraryIndex, first: usize, rows: &[Vec<f32>]) {
    let valid = |row: &Vec<f32>| {
        Vector::new("vector", row.clone(), row.len(), Metric::Cosine).expect("a valid vector")
    };
    let added: Vec<(RowKey, Vector)> =
        rows.iter().enumerate().map(|(i, row)| (key(first + i), valid(row))).collect();
    index.update(&[], &added);
}

fn embed(folder: &Path) {
    let texts = std::fs::read_to_string(folder.join("texts.txt")).expect("texts.txt");
    let texts: Vec<String> = texts.lines().map(str::to_owned).collect();
    let embedder = StaticEmbedder::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut vectors = Vec::new();
    for texts in texts.chunks(256) {
        let texts = texts.iter().map(|text| text.as_str().into()).collect();
        let batch = runtime.block_on(embedder.embed(Purpose::Document, texts));
        vectors.extend(batch.expect("vectors"));
    }
    let bytes = |vectors: &[Vec<f32>]| -> Vec<u8> {
        vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect()
    };
    let (rows, queries) = vectors.split_at(vectors.len() - TEXT_QUERIES);
    std::fs::write(folder.join("rows.f32"), bytes(rows)).expect("writable");
    std::fs::write(folder.join("queries.f32"), bytes(queries)).expect("writable");
    std::fs::write(folder.join("dimension"), rows[0].len().to_string()).expect("writable");
}

fn read(folder: &Path) -> Set {
    let text = std::fs::read_to_string(folder.join("dimension")).expect("dimension");
    let dimension: usize = text.trim().parse().expect("a number");
    let numbers = |name: &str| -> Vec<Vec<f32>> {
        let bytes = std::fs::read(folder.join(name)).expect("vectors");
        let numbers: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
        numbers.chunks_exact(dimension).map(<[f32]>::to_vec).collect()
    };
    Set { rows: numbers("rows.f32"), queries: numbers("queries.f32") }
}
