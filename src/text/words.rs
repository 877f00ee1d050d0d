//! From text to terms: hides how words are found, folded and stemmed, and that a term is a
//! fingerprint.
//!
//! Words are those of Unicode (UAX 29). A word is lower-cased, loses its accents and, when it
//! consists of the letters a to z, its English ending (Porter 2). Scripts that write no spaces
//! between words, and Hangul, which writes particles to its words, are read as characters and as
//! pairs of neighbouring ones. A text is read alike to be found and to find.
//!
//! A term is the XXH3 fingerprint of what comes out, 64 bits: dictionaries of numbers are small
//! and quick to merge. Two words of a library with ten million different ones share a fingerprint
//! with a probability of 3 in a million, and then count as one word. Terms lie on disk, so a
//! change of any rule here is a new [`READING`].

use std::cell::RefCell;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;
use xxhash_rust::xxh3::xxh3_64;

/// Numbers the rules of this file: what was read by others is read again.
pub(super) const READING: u32 = 1;

/// Longer words have no ending worth cutting, and are rarely words.
const STEMMED_BYTES_MAX: usize = 32;
/// Shorter ones have none.
const STEMMED_BYTES_MIN: usize = 3;

/// Calls `found` with each term of a text in order, and with the folded word that it is of.
///
/// Cost: some 10 µs for 100 English words.
pub(super) fn read(text: &str, mut found: impl FnMut(u64, &str)) {
    let mut reader = Reader::default();
    for (at, word) in text.unicode_word_indices() {
        reader.word(at, word, &mut found);
    }
    reader.run.flush(&mut found);
}

#[derive(Default)]
struct Reader {
    folded: String,
    run: Run,
}

impl Reader {
    fn word(&mut self, at: usize, word: &str, found: &mut impl FnMut(u64, &str)) {
        let Self { folded, run } = self;
        if run.end != at {
            run.flush(found);
        }
        folded.clear();
        if word.is_ascii() {
            folded.push_str(word);
            folded.make_ascii_lowercase();
            run.flush(found);
            read_folded(folded, found);
            return;
        }
        fold(word, folded);
        let mut rest = folded.as_str();
        while let Some(first) = rest.chars().next() {
            let paired = is_paired(first);
            let end = rest.find(|c| is_paired(c) != paired).unwrap_or(rest.len());
            let (piece, others) = rest.split_at(end);
            if paired {
                run.characters.extend(piece.chars());
            } else {
                run.flush(found);
                read_folded(piece, found);
            }
            rest = others;
        }
        run.end = at + word.len();
    }
}

/// Lower case, compatibility forms as their plain ones, accents off.
fn fold(word: &str, folded: &mut String) {
    let lower = word.chars().flat_map(char::to_lowercase);
    // Marks of other scripts are vowels and the like, and stay.
    let is_accent = |c: &char| ('\u{300}'..='\u{36f}').contains(c);
    let plain = lower.nfkd().filter(|c| !is_accent(c)).nfc();
    // Compatibility forms may be upper case again.
    for c in plain.flat_map(char::to_lowercase) {
        match c {
            'ß' => folded.push_str("ss"),
            'ς' => folded.push('σ'),
            '\u{2018}' | '\u{2019}' | '\u{ff07}' => folded.push('\''),
            c => folded.push(c),
        }
    }
}

/// Whether a character is of a script that is read in pairs.
fn is_paired(c: char) -> bool {
    matches!(u32::from(c),
        0x0e00..=0x0eff // Thai, Lao
        | 0x1000..=0x109f // Myanmar
        | 0x1100..=0x11ff // Hangul
        | 0x1780..=0x17ff // Khmer
        | 0x3005..=0x3007
        | 0x3040..=0x30ff // Hiragana, Katakana
        | 0x3100..=0x318f // Bopomofo, Hangul
        | 0x31f0..=0x31ff
        | 0x3400..=0x4dbf // Han
        | 0x4e00..=0x9fff
        | 0xac00..=0xd7ff // Hangul
        | 0xf900..=0xfaff
        | 0x20000..=0x3ffff)
}

/// Neighbouring characters of scripts that are read in pairs.
#[derive(Default)]
struct Run {
    characters: Vec<char>,
    /// Where in the text it ends.
    end: usize,
}

impl Run {
    fn flush(&mut self, found: &mut impl FnMut(u64, &str)) {
        if self.characters.is_empty() {
            return;
        }
        let mut buffer = String::new();
        let mut tell = |characters: &[char]| {
            buffer.clear();
            buffer.extend(characters);
            found(xxh3_64(buffer.as_bytes()), &buffer);
        };
        self.characters.windows(2).for_each(&mut tell);
        self.characters.chunks(1).for_each(&mut tell);
        self.characters.clear();
    }
}

/// The terms of a folded word of a script that is written with spaces.
fn read_folded(word: &str, found: &mut impl FnMut(u64, &str)) {
    if word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return tell(word, found);
    }
    // A word may have inside: ' _ . : · and, in numbers, commas.
    let word = word.strip_suffix("'s").unwrap_or(word);
    if word.chars().any(char::is_numeric) && !word.contains(['\'', '_']) {
        return match word.contains(',') {
            true => tell(&word.replace(',', ""), found),
            false => tell(word, found),
        };
    }
    let parts = || word.split(['\'', '_', '.', ':', '·']).filter(|part| !part.is_empty());
    if word.contains('.') && parts().all(|part| part.chars().count() == 1) {
        return tell(&parts().collect::<String>(), found);
    }
    parts().for_each(|part| tell(part, found));
}

fn tell(word: &str, found: &mut impl FnMut(u64, &str)) {
    let fingerprint = xxh3_64(word.as_bytes());
    let has_ending = (STEMMED_BYTES_MIN..=STEMMED_BYTES_MAX).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let term = match has_ending {
        true => STEMS.with_borrow_mut(|stems| stems.of(fingerprint, word)),
        false => fingerprint,
    };
    found(term, word);
}

thread_local! {
    static STEMS: RefCell<Stems> = RefCell::new(Stems::new());
}

/// Words whose stems each thread remembers (256 KiB): most words of a text are common ones, and
/// stemming is the dearest part of reading.
const STEMS_KEPT: usize = 16_384;

struct Stems {
    stemmer: Stemmer,
    /// Fingerprints of a word and of its stem, each at the place that its own last bits name.
    kept: Box<[(u64, u64)]>,
}

impl Stems {
    fn new() -> Self {
        let kept = vec![(0, 0); STEMS_KEPT].into_boxed_slice();
        Self { stemmer: Stemmer::create(Algorithm::English), kept }
    }

    fn of(&mut self, fingerprint: u64, word: &str) -> u64 {
        let place = usize::try_from(fingerprint % STEMS_KEPT as u64).unwrap_or_default();
        let kept = &mut self.kept[place];
        if kept.0 != fingerprint {
            *kept = (fingerprint, xxh3_64(self.stemmer.stem(word).as_bytes()));
        }
        kept.1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        read(text, |_, word| words.push(word.to_owned()));
        words
    }

    fn terms(text: &str) -> Vec<u64> {
        let mut terms = Vec::new();
        read(text, |term, _| terms.push(term));
        terms
    }

    #[test]
    fn words_are_folded_and_cut() {
        let cases = [
            ("The Quick—brown fox's", "the quick brown fox"),
            ("Café ZOË naïve Straße", "cafe zoe naive strasse"),
            ("l\u{2019}homme don't", "l homme don t"),
            ("U.S.A. e.g. node.js std::io", "usa eg node js std io"),
            ("1,000 3.14 v1.2.3 10:30", "1000 3.14 v1.2.3 10 30"),
            ("snake_case __init__ a_1", "snake case init a 1"),
            ("ＦＵＬＬ ﬁne", "full fine"),
            ("Ёлка ёлка", "елка елка"),
            ("हिन्दी में", "हिन्दी में"),
            ("... --- !!!", ""),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn scripts_without_spaces_are_read_in_pairs() {
        let cases = [
            ("東京都へ", "東京 京都 都へ 東 京 都 へ"),
            ("猫", "猫"),
            ("猫 犬", "猫 犬"),
            ("ﾃﾞｰﾀ", "デー ータ デ ー タ"),
            ("2024년", "2024 년"),
            ("책을 읽다", "책을 책 을 읽다 읽 다"),
            ("vim編集x", "vim 編集 編 集 x"),
            ("ภาษา", "ภา าษ ษา ภ า ษ า"),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn forms_of_a_word_are_one_term() {
        assert_eq!(terms("runs running RUN"), [terms("run")[0]; 3]);
        assert_eq!(terms("libraries"), terms("library"));
        assert_ne!(terms("ion"), terms("on"));
        // Remembered stems are those of the word that asks.
        let many: Vec<String> = (0..20_000_u32).map(spelled).collect();
        let alone: Vec<u64> = many.iter().map(|word| terms(word)[0]).collect();
        assert_eq!(terms(&many.join(" ")), alone);
        let stemmer = Stemmer::create(Algorithm::English);
        for (word, term) in many.iter().zip(&alone) {
            assert_eq!(*term, xxh3_64(stemmer.stem(word).as_bytes()), "{word}");
        }
    }

    fn spelled(mut number: u32) -> String {
        let mut word = String::from("x");
        while number > 0 {
            word.push(char::from(b'a' + u8::try_from(number % 26).expect("below 26")));
            number /= 26;
        }
        word + "ings"
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "\\PC{0,60}") {
            prop_assert!(words(&text).iter().all(|word| !word.is_empty()));
        }

        #[test]
        fn case_does_not_matter(text in "[a-zA-Zà-öø-ÿÀ-ÖØ-ÞΑ-ΡΣ-Ωα-ωА-Яа-яＡ-Ｚ ]{0,40}") {
            prop_assert_eq!(terms(&text), terms(&text.to_lowercase()));
            prop_assert_eq!(terms(&text), terms(&text.to_uppercase()));
        }
    }
}
