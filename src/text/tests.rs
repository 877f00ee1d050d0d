//! The index against a list of rows that is scored one by one.

#![expect(clippy::cast_possible_truncation, reason = "rounding is meant, and numbers are small")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// All rows, and BM25 as one would write it down.
#[derive(Debug, Clone, Default)]
struct Model(BTreeMap<RowKey, RowTerms>);

impl Model {
    fn update(&mut self, removed: &[RowKey], added: &[(RowKey, RowTerms)]) {
        for key in removed {
            self.0.remove(key);
        }
        self.0.extend(added.iter().cloned());
    }

    fn having(&self, term: u64) -> f64 {
        self.0.values().filter(|row| frequency(row, term) > 0).count() as f64
    }

    /// In the order in which the sum is rounded: rare terms first, then as the query says them.
    fn search(
        &self,
        query: &QueryTerms,
        k: usize,
        wanted: impl Fn(RowKey) -> bool,
    ) -> Vec<TextHit> {
        let rows = self.0.len() as f64;
        let length: f64 = self.0.values().map(|row| f64::from(row.length)).sum();
        let mut terms: Vec<(f32, u64)> = Vec::new();
        for term in &query.0 {
            let having = self.having(term.term);
            if having > 0.0 {
                let rarity = ((rows - having + 0.5) / (having + 0.5)).ln_1p();
                terms.push(((f64::from(term.count) * rarity * 2.2) as f32, term.term));
            }
        }
        terms.sort_by(|one, other| other.0.total_cmp(&one.0));
        let (base, slope) = ((1.2 * 0.25) as f32, (1.2 * 0.75 * rows / length) as f32);
        let mut hits = Vec::new();
        for (key, row) in self.0.iter().filter(|(key, _)| wanted(**key)) {
            let mut score = 0.0_f32;
            for (most, term) in &terms {
                let often = frequency(row, *term) as f32;
                score += most * (often / (often + (base + slope * row.length as f32)));
            }
            if score > 0.0 {
                hits.push(TextHit { row: *key, score });
            }
        }
        hits.sort_by(|one, other| other.score.total_cmp(&one.score).then(one.row.cmp(&other.row)));
        hits.truncate(k);
        hits
    }
}

fn frequency(row: &RowTerms, term: u64) -> u32 {
    row.terms.iter().find(|(of, _)| *of == term).map_or(0, |(_, frequency)| *frequency)
}

fn key(number: u64) -> RowKey {
    RowKey { document: number / 3, slot: u32::try_from(number % 3).expect("below 3") }
}

/// Words of which the first are in most texts and the last in few.
fn text(random: &mut ChaCha8Rng, words: usize, different: u32) -> String {
    let mut text = String::new();
    for _ in 0..words {
        let skewed = random.random::<f64>().powi(4);
        let word = (skewed * f64::from(different)) as u32;
        text += &format!("w{word}x ");
        if random.random_ratio(1, 50) {
            text += &format!("w{word}x ").repeat(20);
        }
    }
    text
}

fn row(random: &mut ChaCha8Rng, different: u32) -> RowTerms {
    let words = random.random_range(0..30);
    RowTerms::of_chunk("", &text(random, words, different))
}

/// What is found equals what the model finds, for some queries, with and without a choice.
fn check(index: &TextIndex, model: &Model, random: &mut ChaCha8Rng, different: u32) {
    let view = index.view();
    assert_eq!(view.len(), model.0.len());
    assert_eq!(view.length(), model.0.values().map(|row| u64::from(row.length)).sum::<u64>());
    for _ in 0..6 {
        let words = random.random_range(1..6);
        let query = QueryTerms::of(&text(random, words, different), 100);
        let k = [1, 3, 10, 100, 10_000][random.random_range(0..5)];
        let found = view.search(TextQuery { terms: &query, k, rows: None });
        assert_eq!(found, model.search(&query, k, |_| true));
        let modulus = random.random_range(1..9);
        let wanted = |key: RowKey| key.document.is_multiple_of(modulus);
        let rows = view.select(wanted);
        assert_eq!(rows.len(), model.0.keys().filter(|key| wanted(**key)).count());
        let found = view.search(TextQuery { terms: &query, k, rows: Some(&rows) });
        assert_eq!(found, model.search(&query, k, wanted));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_found_is_what_scoring_every_row_finds(
        seed in any::<u64>(),
        steps in 1_usize..25,
        different in 1_u32..200,
        largest in 1_u64..300,
    ) {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let (mut index, mut model) = (TextIndex::new(), Model::default());
        for _ in 0..steps {
            // Small steps and large ones, new rows and ones that are there, some of them twice.
            let size = 2_u64.pow(random.random_range(0..8));
            let some = |random: &mut ChaCha8Rng| -> Vec<RowKey> {
                let count = random.random_range(0..size);
                (0..count).map(|_| key(random.random_range(0..largest))).collect()
            };
            let removed = some(random);
            let added = some(random);
            let added: Vec<_> =
                added.into_iter().map(|key| (key, row(random, different))).collect();
            index.update(&removed, &added);
            model.update(&removed, &added);
        }
        check(&index, &model, random, different);
        let saved = index.view().to_saved(seed);
        let (opened, mark) = reopened(&saved);
        prop_assert_eq!(mark, seed);
        check(&opened, &model, random, different);
    }
}

fn reopened(saved: &Saved) -> (TextIndex, u64) {
    let blocks: HashMap<u64, Vec<u8>> =
        saved.blocks.iter().map(|block| (block.id(), block.to_bytes())).collect();
    TextIndex::open(&saved.manifest, |id| blocks.get(&id).cloned()).expect("opens")
}

#[test]
fn blocks_that_are_full_and_merge_find_the_same() {
    let random = &mut ChaCha8Rng::seed_from_u64(7);
    let (mut index, mut model) = (TextIndex::new(), Model::default());
    for step in 0..12_u64 {
        let added: Vec<_> =
            (0..1_700).map(|at| (key(step * 1_500 + at), row(random, 3_000))).collect();
        let removed: Vec<_> =
            (0..900).map(|_| key(random.random_range(0..(step + 1) * 1_500))).collect();
        index.update(&removed, &added);
        model.update(&removed, &added);
    }
    let parts = index.view().parts.as_slice().len();
    assert!((3..20).contains(&parts), "{parts} parts");
    assert!(index.view().tombstones() > 0);
    check(&index, &model, random, 3_000);

    // Statistics do not know what was removed: the same rows alone give the same hits, to the bit.
    let mut alone = TextIndex::new();
    let rows: Vec<_> = model.0.clone().into_iter().collect();
    rows.chunks(1_000).for_each(|rows| alone.update(&[], rows));
    assert_eq!(alone.view().tombstones(), 0);
    for words in 1..6 {
        let query = QueryTerms::of(&text(random, words, 3_000), 100);
        let hits =
            |index: &TextIndex| index.view().search(TextQuery { terms: &query, k: 50, rows: None });
        assert_eq!(hits(&index), hits(&alone));
    }

    // Removing all but a few gives the space back.
    let full = index.bytes();
    let removed = index.retain(|key| key.document < 10);
    assert_eq!(removed, model.0.len() - index.view().len());
    model.0.retain(|key, _| key.document < 10);
    check(&index, &model, random, 3_000);
    assert!(index.bytes() * 20 < full, "{} of {full}", index.bytes());
}

#[test]
fn a_view_does_not_change() {
    let random = &mut ChaCha8Rng::seed_from_u64(11);
    let mut index = TextIndex::new();
    let rows = |random: &mut ChaCha8Rng| -> Vec<(RowKey, RowTerms)> {
        (0..200).map(|at| (key(at), row(random, 50))).collect()
    };
    index.update(&[], &rows(random));
    let view = index.view();
    let query = QueryTerms::of("w1x w7x w20x", 10);
    let search = |view: &TextView| view.search(TextQuery { terms: &query, k: 50, rows: None });
    let chosen = view.select(|key| key.slot == 1);
    let before = search(&view);
    for _ in 0..20 {
        index.update(&[key(1), key(50)], &rows(random));
        assert_eq!(search(&view), before);
    }
    assert!(view.has(&chosen) && !index.view().has(&chosen));
    assert_ne!(search(&index.view()), before);
    assert!(!Arc::ptr_eq(&view, &index.view()));
}

#[test]
fn the_last_of_rows_with_one_key_stays() {
    let mut index = TextIndex::new();
    let row = |text| (key(5), RowTerms::of_chunk("", text));
    index.update(&[], &[row("one"), row("two"), row("")]);
    let found = |index: &TextIndex, text: &str| {
        let terms = QueryTerms::of(text, 10);
        index.view().search(TextQuery { terms: &terms, k: 10, rows: None }).len()
    };
    assert_eq!((found(&index, "one two"), index.view().len()), (0, 1));
    index.update(&[key(5)], &[row("two"), row("one")]);
    assert_eq!((found(&index, "one"), found(&index, "two")), (1, 0));
    index.update(&[key(5), key(5), key(6)], &[]);
    assert_eq!((found(&index, "one"), index.view().len()), (0, 0));
    assert!(index.view().is_empty());
}

#[test]
fn an_explanation_adds_up_to_the_score() {
    let mut index = TextIndex::new();
    let texts = ["red fox and blue fox", "a red house", "blue", "the cat"];
    let rows = (0..).zip(texts).map(|(at, text)| (key(at), RowTerms::of_chunk("", text)));
    index.update(&[], &rows.collect::<Vec<_>>());
    let query = QueryTerms::of("Foxes red zebra", 10);
    let hits = index.view().search(TextQuery { terms: &query, k: 10, rows: None });
    assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), [key(0), key(1)]);
    let keys = [key(1), key(0), key(3), key(99), key(0)];
    let explained = index.view().explain(&query, &keys);
    let score = |place: usize| explained[place].iter().map(|part| part.score).sum::<f32>();
    assert_eq!((score(0), score(1), score(4)), (hits[1].score, hits[0].score, hits[0].score));
    assert!(explained[2].is_empty() && explained[3].is_empty());
    let said: Vec<_> =
        explained[1].iter().map(|part| (&*part.word, part.rows, part.frequency)).collect();
    assert_eq!(said, [("foxes", 1, 2), ("red", 2, 1)]);
}

#[test]
fn scores_are_those_of_the_formula() {
    let mut index = TextIndex::new();
    let texts = ["red fox and blue fox", "a red house", "blue", "the cat"];
    let rows = (0..).zip(texts).map(|(at, text)| (key(at), RowTerms::of_chunk("", text)));
    index.update(&[], &rows.collect::<Vec<_>>());
    // 4 rows of 11 terms: fox twice in a row of 5, which alone has it.
    let rarity = (1.0_f64 + (4.0 - 1.0 + 0.5) / (1.0 + 0.5)).ln();
    let norm = 1.2 * (0.25 + 0.75 * 5.0 / (11.0 / 4.0));
    for (text, times) in [("fox", 1.0), ("fox foxes", 2.0)] {
        let query = QueryTerms::of(text, 10);
        let hits = index.view().search(TextQuery { terms: &query, k: 10, rows: None });
        let expected = times * rarity * 2.2 * 2.0 / (2.0 + norm);
        assert_eq!(hits.len(), 1);
        assert!((f64::from(hits[0].score) - expected).abs() < 1e-5, "{hits:?}, not {expected}");
    }
}

#[test]
fn bytes_of_a_block_change_only_with_their_numbers() {
    let mut index = TextIndex::new();
    let texts = [
        ("Straße", "Running foxes' U.S.A. node.js 1,000 caf\u{e9}s"),
        ("東京", "東京都へ行く 책을"),
        ("", "the the the the the the the the the the the the the the the the cat"),
    ];
    let rows =
        (0..).zip(texts).map(|(at, (title, text))| (key(at), RowTerms::of_chunk(title, text)));
    index.update(&[], &rows.collect::<Vec<_>>());
    let saved = index.view().to_saved(7);
    // Whoever changes what is read (`READING`) or how it lies (`VERSION`) gives it a new number.
    let of = |bytes: &[u8]| (bytes.len(), crc32c::crc32c(&bytes[..bytes.len() - 4]));
    assert_eq!(of(&saved.blocks[0].to_bytes()), (440, 0x1c2d84cd));
    assert_eq!(of(&saved.manifest), (44, 0x6807bf16));
}

#[test]
fn an_index_without_terms_finds_nothing() {
    let mut index = TextIndex::new();
    let query = QueryTerms::of("word", 10);
    let search = |index: &TextIndex| {
        index.view().search(TextQuery { terms: &query, k: 10, rows: None }).len()
    };
    assert_eq!(search(&index), 0);
    index.update(&[], &[(key(1), RowTerms::of_chunk("", "..."))]);
    assert_eq!((search(&index), index.view().len(), index.view().length()), (0, 1, 0));
    let (opened, _) = reopened(&index.view().to_saved(0));
    assert_eq!((search(&opened), opened.view().len()), (0, 1));
}

fn saved_index() -> (TextIndex, Saved) {
    let random = &mut ChaCha8Rng::seed_from_u64(3);
    let mut index = TextIndex::new();
    let rows: Vec<_> = (0..70).map(|at| (key(at), row(random, 20))).collect();
    index.update(&[], &rows);
    index.update(&[key(3), key(64)], &[]);
    let saved = index.view().to_saved(42);
    (index, saved)
}

#[test]
fn damaged_bytes_are_found() {
    let (_, saved) = saved_index();
    let block = saved.blocks[0].to_bytes();
    let open = |manifest: &[u8], block: &[u8]| {
        TextIndex::open(manifest, |_| Some(block.to_vec())).map(|_| ())
    };
    assert_eq!(open(&saved.manifest, &block), Ok(()));
    for at in 0..block.len() {
        let mut damaged = block.clone();
        damaged[at] ^= 0x10;
        assert_eq!(open(&saved.manifest, &damaged), Err(Damage::Checksum("text block")));
        assert!(open(&saved.manifest, &block[..at]).is_err());
    }
    for at in 0..saved.manifest.len() {
        let mut damaged = saved.manifest.clone();
        damaged[at] ^= 0x10;
        assert_eq!(open(&damaged, &block), Err(Damage::Checksum("text manifest")));
    }
    assert_eq!(open(&block, &block), Err(Damage::Version("text manifest")));
    let missing = TextIndex::open(&saved.manifest, |_| None).map(|_| ());
    assert_eq!(missing, Err(Damage::Missing(saved.blocks[0].id())));
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn made_up_bytes_do_no_harm() {
    let random = &mut ChaCha8Rng::seed_from_u64(5);
    let (_, saved) = saved_index();
    let block = saved.blocks[0].to_bytes();
    let (mut opened, mut refused) = (0, 0);
    for round in 0..4_000 {
        let (mut manifest, mut made_up) = (saved.manifest.clone(), block.clone());
        let bytes = if round % 4 == 0 { &mut manifest } else { &mut made_up };
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(16..bytes.len());
            bytes[at] = random.random();
        }
        let (manifest, made_up) = (sealed(manifest), sealed(made_up));
        match TextIndex::open(&manifest, |_| Some(made_up.clone())) {
            Ok((index, _)) => {
                opened += 1;
                let query = QueryTerms::of("w0x w1x w5x w19x", 10);
                let _ = index.view().search(TextQuery { terms: &query, k: 5, rows: None });
            }
            Err(_) => refused += 1,
        }
    }
    assert!(opened > 50 && refused > 50, "{opened} opened, {refused} refused");
    let mut other = block;
    other[12] = 99;
    let other = sealed(other);
    let refused = TextIndex::open(&saved.manifest, |_| Some(other.clone())).map(|_| ());
    assert_eq!(refused, Err(Damage::Reading(99)));
}

#[test]
fn a_saved_index_goes_on() {
    let (_, saved) = saved_index();
    let (mut index, mark) = reopened(&saved);
    assert_eq!((mark, index.view().len()), (42, 68));
    let last = saved.blocks.last().expect("has blocks").id();
    let random = &mut ChaCha8Rng::seed_from_u64(6);
    let rows: Vec<_> = (0..200).map(|at| (key(at), row(random, 20))).collect();
    index.update(&[], &rows);
    assert_eq!(index.view().len(), 200);
    assert!(index.view().to_saved(0).blocks.iter().all(|block| block.id() > last));
}

#[test]
fn long_rows_make_smaller_blocks() {
    let random = &mut ChaCha8Rng::seed_from_u64(9);
    let (mut index, mut model) = (TextIndex::new(), Model::default());
    let long: Vec<_> = (0..5)
        .map(|at| (key(at), RowTerms::of_chunk("", &text(random, 280_000, 60_000))))
        .collect();
    for row in long.chunks(1) {
        index.update(&[], row);
        model.update(&[], row);
    }
    assert!(index.view().parts.as_slice().len() > 1);
    check(&index, &model, random, 60_000);
}
