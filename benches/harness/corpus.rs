//! What is streamed in: the definitions of `examples/corpus`, two texts a document, and documents
//! that bring vectors of their own.

use arrwdb::api::grpc::pb::{ChunkInput, DocumentInput};
use serde_json::{Value, json};

use super::vectors::Mixture;

const LINES: &str = include_str!("../../examples/corpus/wordnet.ndjson");

/// All texts of the corpus.
pub fn texts() -> Vec<String> {
    let of = |line: &str| -> Vec<String> {
        let line: Value = serde_json::from_str(line).expect("JSON");
        serde_json::from_value(line["texts"].clone()).expect("texts")
    };
    LINES.lines().flat_map(of).collect()
}

/// Documents of two texts each, without ids: all are new. The corpus is gone through as often as
/// it takes.
pub fn documents(count: usize) -> Vec<DocumentInput> {
    let texts = texts();
    let text = |place: usize| texts[place % texts.len()].clone();
    let document = |n: usize| DocumentInput {
        title: format!("Document {n}"),
        texts: vec![text(2 * n), text(2 * n + 1)],
        ..DocumentInput::default()
    };
    (0..count).map(document).collect()
}

/// Documents of one short text with a vector of [`super::vectors::DIMENSION`] numbers, ids `doc-N`.
pub fn with_vectors(seed: u64, count: usize) -> Vec<DocumentInput> {
    let texts = texts();
    let vectors = Mixture::new().draw(seed, count);
    let document = |(n, embedding): (usize, Vec<f32>)| DocumentInput {
        id: format!("doc-{seed}-{n}"),
        title: format!("Document {n}"),
        chunks: vec![ChunkInput {
            text: texts[n % texts.len()].clone(),
            embedding,
            metadata: None,
        }],
        ..DocumentInput::default()
    };
    vectors.into_iter().enumerate().map(document).collect()
}

/// Small documents of one chunk with a vector of [`SMALL_DIMENSION`] numbers, ids `doc-N`.
pub fn small(from: usize, count: usize) -> impl Iterator<Item = DocumentInput> + Send + 'static {
    small_with_text(from, count, "a short text")
}

pub fn small_with_text(
    from: usize,
    count: usize,
    text: &str,
) -> impl Iterator<Item = DocumentInput> + Send + 'static {
    let text = text.to_owned();
    (from..from + count).map(move |n| DocumentInput {
        id: format!("doc-{n}"),
        title: format!("Document {n}"),
        chunks: vec![ChunkInput {
            text: text.clone(),
            embedding: (0..SMALL_DIMENSION).map(|i| ((n + i) % 97 + 1) as f32).collect(),
            metadata: None,
        }],
        ..DocumentInput::default()
    })
}

/// Of documents that are to cost as little as a document can.
pub const SMALL_DIMENSION: usize = 8;

/// A document as a line of NDJSON, or as the body of a POST.
pub fn line(document: &DocumentInput) -> String {
    let mut line = json!({ "title": document.title });
    if !document.id.is_empty() {
        line["id"] = json!(document.id);
    }
    if document.chunks.is_empty() {
        line["texts"] = json!(document.texts);
    } else {
        let chunk = |c: &ChunkInput| json!({ "text": c.text, "embedding": c.embedding });
        line["chunks"] = document.chunks.iter().map(chunk).collect();
    }
    line.to_string() + "\n"
}
