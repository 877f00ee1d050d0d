//! How good the answers are: nDCG@10 of the vector ranking, of BM25, and of several ways to fuse
//! the two, on sets that `data.py` makes from what Debian has.
//!
//! ```text
//! python3 examples/quality/data.py /tmp/quality
//! cargo run --release --example quality -- /tmp/quality
//! cargo run --release --example quality -- /tmp/quality appstream-ja appstream-de
//! ```
//!
//! Vectors are those of the model that comes with the server, compared exactly. Relevance is yes
//! or no.

use std::collections::HashMap;
use std::path::Path;

use arrwdb::text::{FUSED_ROWS, Fusion, QueryTerms, RowTerms, TextHit, TextIndex, TextQuery};
use arrwdb::types::RowKey;
use model2vec_rs::model::StaticModel;
use serde_json::Value;

const SETS: [&str; 4] = ["wordnet", "wordnet-any", "appstream", "packages"];
/// Hits that are judged.
const DEPTH: usize = 10;
const QUERY_TERMS_MAX: usize = 256;

const MODEL: &[u8] = include_bytes!("../../models/minilm-static-256/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../models/minilm-static-256/tokenizer.json");
const CONFIG: &[u8] = include_bytes!("../../models/minilm-static-256/config.json");

/// One query with what both rankings say of it.
struct Judged {
    relevant: Vec<RowKey>,
    /// Nearest first, with their distances.
    vector: Vec<(RowKey, f32)>,
    /// Best first.
    text: Vec<TextHit>,
}

/// A way to rank: the first rows of its ranking of a query.
type Way = (&'static str, Box<dyn Fn(&Judged) -> Vec<RowKey>>);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the folder that data.py made");
    let mut names: Vec<String> = arguments.collect();
    if names.is_empty() {
        names = SETS.map(str::to_owned).into();
    }
    let model = StaticModel::from_bytes(TOKENIZER, MODEL, CONFIG, None).expect("the model");
    let sets: Vec<Vec<Judged>> =
        names.iter().map(|name| judge(&Path::new(&folder).join(name), &model)).collect();
    print!("{:<34}", "nDCG@10");
    names.iter().for_each(|name| print!("{name:>15}"));
    println!("{:>10}", "average");
    for (name, rank) in ways() {
        let figures: Vec<f64> = sets.iter().map(|queries| ndcg_of(queries, &rank)).collect();
        print!("{name:<34}");
        figures.iter().for_each(|figure| print!("{figure:>15.1}"));
        println!("{:>10.1}", figures.iter().sum::<f64>() / figures.len() as f64);
    }
}

fn ways() -> Vec<Way> {
    let weighted = |vector, text| believed(Fusion::new(vector, text).expect("weights"));
    vec![
        way("vector", |query| query.vector.iter().map(|(row, _)| *row).collect()),
        way("text (BM25)", |query| query.text.iter().map(|hit| hit.row).collect()),
        way("hybrid, by default", believed(Fusion::default())),
        way("  vector 0.7, text 0.3", weighted(0.7, 0.3)),
        way("  vector 0.5, text 0.5", weighted(0.5, 0.5)),
        way("  vector 0.4, text 0.6", weighted(0.4, 0.6)),
        way("reciprocal ranks, k = 60", reciprocal(60.0, 0.5)),
        way("  text 0.6", reciprocal(60.0, 0.6)),
        way("  text 0.7", reciprocal(60.0, 0.7)),
        way("  text 0.8", reciprocal(60.0, 0.8)),
        way("reciprocal ranks, k = 5, text 0.6", reciprocal(5.0, 0.6)),
        way("scores from 0 to 1, text 0.5", spread(0.5)),
        way("  text 0.7", spread(0.7)),
        way("  text 0.8", spread(0.8)),
    ]
}

fn way(name: &'static str, rank: impl Fn(&Judged) -> Vec<RowKey> + 'static) -> Way {
    (name, Box::new(rank))
}

/// As the text room does it.
fn believed(fusion: Fusion) -> impl Fn(&Judged) -> Vec<RowKey> {
    move |query| {
        let fused = fusion.fuse(&query.vector, &query.text, DEPTH);
        fused.iter().map(|fused| fused.row).collect()
    }
}

/// Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009), weighted.
fn reciprocal(k: f64, text: f64) -> impl Fn(&Judged) -> Vec<RowKey> {
    move |query| {
        let mut scores: HashMap<RowKey, f64> = HashMap::new();
        for (rank, (row, _)) in query.vector.iter().take(FUSED_ROWS).enumerate() {
            *scores.entry(*row).or_default() += (1.0 - text) / (k + 1.0 + rank as f64);
        }
        for (rank, hit) in query.text.iter().take(FUSED_ROWS).enumerate() {
            *scores.entry(hit.row).or_default() += text / (k + 1.0 + rank as f64);
        }
        best(scores)
    }
}

/// Both scores stretched to go from 0 for the last of the first rows to 1 for the first.
fn spread(text: f64) -> impl Fn(&Judged) -> Vec<RowKey> {
    let stretched = |scores: Vec<(RowKey, f32)>| {
        let (first, last) = (scores[0].1, scores[scores.len() - 1].1);
        let range = f64::from(first - last).max(1e-6);
        scores.into_iter().map(move |(row, score)| (row, f64::from(score - last) / range))
    };
    move |query| {
        let mut scores: HashMap<RowKey, f64> = HashMap::new();
        let near = query.vector.iter().take(FUSED_ROWS).map(|(row, d)| (*row, -d)).collect();
        for (row, score) in stretched(near) {
            *scores.entry(row).or_default() += (1.0 - text) * score;
        }
        let mut hits: Vec<_> =
            query.text.iter().take(FUSED_ROWS).map(|hit| (hit.row, hit.score)).collect();
        if !hits.is_empty() {
            if hits.len() < FUSED_ROWS {
                // Rows without a word of the query: their score is 0.
                hits.push((RowKey { document: u64::MAX, slot: 0 }, 0.0));
            }
            for (row, score) in stretched(hits) {
                *scores.entry(row).or_default() += text * score;
            }
        }
        best(scores)
    }
}

fn best(scores: HashMap<RowKey, f64>) -> Vec<RowKey> {
    let mut rows: Vec<(RowKey, f64)> = scores.into_iter().collect();
    rows.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    rows.into_iter().map(|(row, _)| row).collect()
}

/// Reads a set and ranks its documents for each query.
fn judge(folder: &Path, model: &StaticModel) -> Vec<Judged> {
    let documents = lines(&folder.join("documents.jsonl"));
    let queries = lines(&folder.join("queries.jsonl"));
    let field = |line: &Value, name: &str| line[name].as_str().expect("a string").to_owned();
    let key = |place: usize| RowKey { document: place as u64, slot: 0 };
    let places: HashMap<String, RowKey> =
        documents.iter().enumerate().map(|(at, line)| (field(line, "id"), key(at))).collect();

    let texts: Vec<String> = documents.iter().map(|line| field(line, "text")).collect();
    let rows = documents.iter().zip(&texts).enumerate();
    let rows =
        rows.map(|(at, (line, text))| (key(at), RowTerms::of_chunk(&field(line, "title"), text)));
    let mut index = TextIndex::new();
    index.update(&[], &rows.collect::<Vec<_>>());
    let view = index.view();
    let vectors = model.encode(&texts);

    let asked: Vec<String> = queries.iter().map(|line| field(line, "text")).collect();
    let embedded = model.encode(&asked);
    let judged = queries.iter().zip(asked).zip(embedded).map(|((line, text), embedding)| {
        let cosine = |vector: &Vec<f32>| -> f32 {
            vector.iter().zip(&embedding).map(|(one, other)| one * other).sum()
        };
        let mut vector: Vec<(RowKey, f32)> = vectors
            .iter()
            .enumerate()
            .map(|(at, vector)| (key(at), 1.0 - cosine(vector)))
            .collect();
        vector.sort_by(|one, other| one.1.total_cmp(&other.1).then(one.0.cmp(&other.0)));
        vector.truncate(FUSED_ROWS);
        let terms = QueryTerms::of(&text, QUERY_TERMS_MAX);
        let hits = view.search(TextQuery { terms: &terms, k: FUSED_ROWS, rows: None });
        let relevant = line["relevant"].as_array().expect("a list").iter();
        let relevant = relevant.map(|id| places[id.as_str().expect("a string")]).collect();
        Judged { relevant, vector, text: hits }
    });
    judged.collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The mean over queries, in percent.
fn ndcg_of(queries: &[Judged], rank: &dyn Fn(&Judged) -> Vec<RowKey>) -> f64 {
    let sum: f64 = queries.iter().map(|query| ndcg(&rank(query), &query.relevant)).sum();
    100.0 * sum / queries.len() as f64
}

/// The discounted gain of the first [`DEPTH`] rows, relative to the best there can be.
fn ndcg(ranking: &[RowKey], relevant: &[RowKey]) -> f64 {
    let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let ranks = ranking.iter().take(DEPTH).enumerate();
    let found: f64 =
        ranks.filter(|(_, row)| relevant.contains(row)).map(|(rank, _)| gain(rank)).sum();
    found / (0..relevant.len().min(DEPTH)).map(gain).sum::<f64>()
}
