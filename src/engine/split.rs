//! Splitting: hides how a text that no client has chunked is cut into chunks.

use text_splitter::TextSplitter;

/// The splitter sees a text through windows of this many bytes a target character: its cost is
/// quadratic in the length of a text without paragraphs, seconds of a core for a MiB.
const WINDOW_BYTES: usize = 16;

/// Cuts a text at its paragraphs, else sentences, else words, else characters, into chunks as long
/// as fit `characters_target` (Unicode scalar values; 0 counts as 1).
///
/// Chunks come in the order of the text, cover all of it but white space at their ends, do not
/// overlap and are never blank; a blank text has none. Cost: up to some 200 ms of a core a MiB, so
/// a long text is to be cut off the asynchronous threads.
#[must_use]
pub(super) fn split(text: &str, characters_target: usize) -> Vec<String> {
    let characters_target = characters_target.max(1);
    let splitter = TextSplitter::new(characters_target);
    let mut chunks = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let window = prefix(rest, characters_target.saturating_mul(WINDOW_BYTES));
        let mut cut: Vec<_> = splitter.chunk_indices(window).collect();
        // The last chunk of a window would have gone on: it is cut again with what follows it.
        let cut_again = window.len() < rest.len() && cut.len() > 1;
        let end = cut.pop_if(|_| cut_again).map_or(window.len(), |(start, _)| start);
        let whole = cut.into_iter().map(|(_, chunk)| chunk.trim()).filter(|c| !c.is_empty());
        chunks.extend(whole.map(str::to_owned));
        rest = rest[end..].trim_start();
    }
    chunks
}

/// The longest beginning of at most `bytes` bytes that ends between characters.
fn prefix(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without_space(text: &str) -> String {
        text.chars().filter(|c| !c.is_whitespace()).collect()
    }

    #[test]
    fn cuts_lie_between_paragraphs_then_sentences_then_words() {
        let text = "One is short. Two is short.\n\nThree stands alone.";
        assert_eq!(split(text, 100), [text]);
        assert_eq!(split(text, 30), ["One is short. Two is short.", "Three stands alone."]);
        assert_eq!(split(text, 20), ["One is short.", "Two is short.", "Three stands alone."]);
        assert_eq!(split("hippopotamus herd", 12), ["hippopotamus", "herd"]);
        assert_eq!(split("abcdef", 4), ["abcd", "ef"]);
    }

    #[test]
    fn windows_do_not_show() {
        let paragraph = "A first sentence of some words. A second, longer sentence of more words.";
        let text = format!("{paragraph}\n\n").repeat(200);
        assert_eq!(split(&text, 80), vec![paragraph; 200]);
        let words: Vec<_> = (1000..3000).map(|n| format!("word{n}")).collect();
        let chunks = split(&words.join(" "), 100);
        assert_eq!(chunks.join(" "), words.join(" "), "words stay whole");
        // Eleven words of eight letters and ten spaces fit; only the last chunk is shorter.
        assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.split(' ').count() == 11));
    }

    #[test]
    fn a_blank_text_has_no_chunks() {
        assert!(split("", 10).is_empty());
        assert!(split(" \n\t\u{2003}\n", 3).is_empty());
    }

    #[test]
    fn long_texts_of_any_make_are_cut() {
        let makes = [
            "a".repeat(1 << 20),
            "\n".repeat(1 << 20) + "end",
            "word ".repeat(1 << 17),
            "A sentence. ".repeat(1 << 15),
            "paragraph\n\n".repeat(1 << 15),
            (1..500).map(|n| "x".to_owned() + &"\n".repeat(n)).collect(),
            "e\u{301}".repeat(1 << 16),
        ];
        for text in makes {
            let chunks = split(&text, 1_000);
            assert_eq!(without_space(&chunks.concat()), without_space(&text));
            assert!(chunks.iter().all(|chunk| chunk.chars().count() <= 1_000));
        }
    }

    proptest! {
        #[test]
        fn chunks_cover_the_text_in_order(
            text in r"([a-zé.!\n 漢😀\u{301}\u{200d}\u{a0}]|\r\n|\PC){0,200}",
            characters in 0_usize..50,
        ) {
            let chunks = split(&text, characters);
            prop_assert_eq!(without_space(&chunks.concat()), without_space(&text));
            for chunk in &chunks {
                prop_assert!(!chunk.trim().is_empty());
                prop_assert_eq!(chunk.trim(), chunk);
                prop_assert!(chunk.chars().count() <= characters.max(1));
                prop_assert!(text.contains(chunk.as_str()));
            }
        }
    }
}
