//! The text index on one thread: reading, updates, searches, saving and opening, memory.
//! `cargo bench --bench text` (`ARRWDB_BENCH_ROWS=1000000` for other sizes).
//!
//! The texts are those of `examples/corpus`, put together three and three, so that vocabulary and
//! lengths are those of prose: some 40 words a row. Figures are medians of wall time.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use arrwdb::text::{QueryTerms, RowTerms, TextIndex, TextQuery};
use arrwdb::types::RowKey;
use serde_json::Value;

const LINES: &str = include_str!("../examples/corpus/wordnet.ndjson");
const ROWS: usize = 100_000;
const QUERY_TERMS_MAX: usize = 256;

fn main() {
    let rows = std::env::var("ARRWDB_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: usize = rows.unwrap_or(ROWS);
    let texts = texts();
    let place = |row: usize, step: usize| &*texts[(row * step + row / texts.len()) % texts.len()];
    let text = |row: usize| [place(row, 1), place(row, 7), place(row, 13)].join(" ");

    let read = timed(|| (0..5_000).for_each(|row| drop(RowTerms::of_chunk("", &text(row)))));
    println!("{rows} rows of text");
    println!("  read a text                 {:>9.2} us", micros(read) / 5e3);

    let key = |row: usize| RowKey { document: row as u64, slot: 0 };
    let mut index = TextIndex::new();
    let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
    for first in (0..rows).step_by(512) {
        let added = (first..rows.min(first + 512))
            .map(|row| (key(row), RowTerms::of_chunk("", &text(row))))
            .collect::<Vec<_>>();
        let took = timed(|| index.update(&[], &added));
        (longest, all) = (longest.max(took), all + took);
    }
    println!(
        "  add 512 rows                {:>9.2} us a row, the longest {:.1} ms",
        micros(all) / rows as f64,
        micros(longest) / 1e3
    );
    let bytes = (index.bytes() as f64 / rows as f64, index.view().bytes() as f64 / rows as f64);
    println!(
        "  memory                      {:>9.0} bytes a row, {:.0} of them blocks",
        bytes.0, bytes.1
    );

    let mut view = index.view();
    let ones: Vec<_> =
        (0..5_000).map(|row| [(key(row * 7 % rows), RowTerms::of_chunk("", &text(row)))]).collect();
    let mut times: Vec<Duration> = Vec::new();
    for one in &ones {
        times.push(timed(|| {
            index.update(&[], one);
            view = index.view();
        }));
    }
    times.sort_unstable();
    println!(
        "  replace a row, take a view  {:>9.2} us, p99 {:.0} us, the longest {:.1} ms",
        micros(times[times.len() / 2]),
        micros(times[times.len() * 99 / 100]),
        micros(times[times.len() - 1]) / 1e3
    );

    for words in [1, 3, 8] {
        let query = |at: usize| {
            let text = &texts[at * 31 % texts.len()];
            text.split(' ').skip(at % 2).take(words).collect::<Vec<_>>().join(" ")
        };
        for (k, one_in) in [(10, 1), (100, 1), (1_000, 1), (10, 100)] {
            let chosen = view.select(|key| key.document % one_in == 0);
            let rows = (one_in > 1).then_some(&chosen);
            let took = median((0..300).map(|at| {
                let text = query(at);
                timed(|| {
                    let terms = QueryTerms::of(&text, QUERY_TERMS_MAX);
                    black_box(view.search(TextQuery { terms: &terms, k, rows }))
                })
            }));
            let chosen = if one_in == 1 { "" } else { ", 1 row in 100 chosen" };
            println!("  {words} words, k = {k:<5}         {:>9.1} us{chosen}", micros(took));
        }
    }

    let start = Instant::now();
    let saved = view.to_saved(0);
    let blocks: HashMap<u64, Vec<u8>> =
        saved.blocks.iter().map(|block| (block.id(), block.to_bytes())).collect();
    let took = start.elapsed();
    let bytes: usize = blocks.values().map(Vec::len).sum();
    println!(
        "  save all                    {:>9.2} us a row, {:.0} bytes",
        micros(took) / rows as f64,
        bytes as f64 / rows as f64
    );
    let took = timed(|| TextIndex::open(&saved.manifest, |id| blocks.get(&id).cloned()));
    println!("  open                        {:>9.2} us a row", micros(took) / rows as f64);
}

fn texts() -> Vec<String> {
    let of = |line: &str| -> Vec<String> {
        let line: Value = serde_json::from_str(line).expect("JSON");
        serde_json::from_value(line["texts"].clone()).expect("texts")
    };
    LINES.lines().flat_map(of).collect()
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let _ = work();
    start.elapsed()
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
