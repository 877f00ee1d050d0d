//! Newline-delimited JSON from clients: lines are cut on bytes within bounds, and each becomes a
//! document or an item that fails alone.
//!
//! No line is held beyond its limit: of a longer one the start is kept, for its title, and the
//! rest skipped up to its newline. Every line counts, blank ones too, so that numbers are those
//! that an editor shows.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::dto::document::DocumentIn;
use super::dto::parse;
use crate::types::{Error, Limits, NewDocument, Result};

/// Bytes of a refused line that its title is looked for in.
const TITLE_SEARCH_BYTES: usize = 8 << 10;
/// What some editors put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub position: u64,
    /// Without its end; only its start when it is too long.
    pub bytes: Bytes,
    /// Whether it is longer than the limit.
    pub too_long: bool,
}

/// Cuts a body into lines. Feed it a piece, take lines until there are none, feed the next.
#[derive(Debug)]
pub struct Lines {
    line_bytes_max: usize,
    /// Lines that ended.
    position: u64,
    /// What was fed and not yet looked at.
    piece: Bytes,
    /// The start of a line whose end has not come yet.
    partial: BytesMut,
    /// Whether `partial` is the start of a line that is too long.
    skipping: bool,
}

impl Lines {
    /// For lines of at most so many bytes, without their end.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> Self {
        Self {
            line_bytes_max,
            position: 0,
            piece: Bytes::new(),
            partial: BytesMut::new(),
            skipping: false,
        }
    }

    /// Takes the next piece of the body; the one before must be used up.
    pub fn feed(&mut self, piece: Bytes) {
        debug_assert!(self.piece.is_empty(), "lines are taken before more is fed");
        self.piece = piece;
    }

    /// The next line that has ended and is not blank.
    #[expect(clippy::should_implement_trait, reason = "feeding and taking alternate")]
    pub fn next(&mut self) -> Option<Line> {
        while let Some(end) = self.piece.iter().position(|byte| *byte == b'\n') {
            let rest = self.piece.split_to(end + 1).slice(..end);
            if let Some(line) = self.end_line(rest) {
                return Some(line);
            }
        }
        let rest = std::mem::take(&mut self.piece);
        self.extend_partial(&rest);
        None
    }

    /// The last line, when the body ended without a newline.
    pub fn finish(&mut self) -> Option<Line> {
        if self.partial.is_empty() && self.piece.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.piece);
        self.end_line(rest)
    }

    fn extend_partial(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        // One byte more may be the carriage return that is no part of the line.
        let room = (self.line_bytes_max + 1 + BYTE_ORDER_MARK.len()) - self.partial.len();
        if bytes.len() <= room {
            self.partial.extend_from_slice(bytes);
            return;
        }
        self.skipping = true;
        let start = TITLE_SEARCH_BYTES.saturating_sub(self.partial.len()).min(bytes.len());
        let mut kept = BytesMut::from(&self.partial[..self.partial.len().min(TITLE_SEARCH_BYTES)]);
        kept.extend_from_slice(&bytes[..start]);
        // Lets go of what a line of the largest size took.
        self.partial = kept;
    }

    /// Puts a line together; `None` when it is blank.
    fn end_line(&mut self, rest: Bytes) -> Option<Line> {
        self.position += 1;
        let mut bytes = if self.partial.is_empty() && !self.skipping {
            rest
        } else {
            self.extend_partial(&rest);
            self.partial.split().freeze()
        };
        let skipped = std::mem::take(&mut self.skipping);
        if self.position == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes = bytes.slice(BYTE_ORDER_MARK.len()..);
        }
        if bytes.ends_with(b"\r") {
            bytes.truncate(bytes.len() - 1);
        }
        let too_long = skipped || bytes.len() > self.line_bytes_max;
        if too_long {
            bytes = Bytes::copy_from_slice(&bytes[..bytes.len().min(TITLE_SEARCH_BYTES)]);
        } else if bytes.trim_ascii().is_empty() {
            return None;
        }
        Some(Line { position: self.position, bytes, too_long })
    }
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// A document, and whether it comes from an export.
    Document(Box<NewDocument>, bool),
    /// The last line of an export of so many documents.
    ExportEnd(u64),
    /// Nothing that can be used.
    Rejected {
        /// As far as it could be read.
        title: String,
        /// What is wrong.
        error: Error,
        /// Whether it comes from an export.
        exported: bool,
    },
}

/// Reads a line; what is wrong with it is told within `limits`.
#[must_use]
pub fn read_line(line: &Line, limits: &Limits) -> Said {
    if line.too_long {
        let most = limits.message_bytes_max;
        let error =
            Error::too_large("line", format!("is longer than {most} bytes (message_bytes_max)"));
        return rejected(find_title(&line.bytes), error, false, limits);
    }
    let input = match parse::<DocumentIn>(&line.bytes) {
        Ok(input) => input,
        Err(error) => return rejected(find_title(&line.bytes), error, false, limits),
    };
    if let (Some("complete"), Some(total)) = (input.status.as_deref(), input.total_documents) {
        return Said::ExportEnd(total);
    }
    let (exported, title) = (input.is_exported(), input.title().to_owned());
    match input.into_new(limits) {
        Ok(document) => Said::Document(Box::new(document), exported),
        Err(error) => rejected(title, error, exported, limits),
    }
}

fn rejected(mut title: String, error: Error, exported: bool, limits: &Limits) -> Said {
    let mut length = title.len().min(limits.title_bytes_max);
    while !title.is_char_boundary(length) {
        length -= 1;
    }
    title.truncate(length);
    Said::Rejected { title, error, exported }
}

/// The title of what may be the start of a JSON object; empty when there is none to be read.
fn find_title(bytes: &[u8]) -> String {
    let mut title = String::new();
    // Where the object goes wrong does not matter: the title is either found before or not.
    let _ = TitleSearch(&mut title).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
    title
}

struct TitleSearch<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for TitleSearch<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TitleSearch<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "title" {
                *self.0 = map.next_value()?;
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Tells whether exports that came in are whole: each must end with its last line, and that must
/// count as many documents as came.
#[derive(Debug, Default)]
pub struct ExportCheck {
    seen: u64,
    /// Whether an export's document came since the last end.
    open: bool,
    truncated: bool,
}

impl ExportCheck {
    /// Takes note of the next line.
    pub fn see(&mut self, said: &Said) {
        match said {
            Said::Document(_, exported) | Said::Rejected { exported, .. } => {
                self.seen += 1;
                self.open |= exported;
            }
            Said::ExportEnd(total) => {
                self.truncated |= *total != self.seen;
                (self.seen, self.open) = (0, false);
            }
        }
    }

    /// Whether something is missing, should the input end here.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated || self.open
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::ErrorKind;

    const LINE_BYTES_MAX: usize = 64;

    /// All lines of a body that comes in these pieces.
    fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Line> {
        let mut lines = Lines::new(LINE_BYTES_MAX);
        let mut found = Vec::new();
        for piece in pieces {
            lines.feed(Bytes::copy_from_slice(piece));
            found.extend(std::iter::from_fn(|| lines.next()));
            assert!(lines.partial.len() <= TITLE_SEARCH_BYTES.max(LINE_BYTES_MAX + 4));
        }
        found.extend(lines.finish());
        found
    }

    fn texts(body: &str) -> Vec<(u64, String)> {
        let text = |line: Line| {
            assert!(!line.too_long);
            (line.position, String::from_utf8(line.bytes.to_vec()).expect("UTF-8"))
        };
        lines([body.as_bytes()]).into_iter().map(text).collect()
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let expected = vec![(1, "a".to_owned()), (4, "b".to_owned()), (5, "c".to_owned())];
        assert_eq!(texts("a\n\n  \nb\nc"), expected);
        assert_eq!(texts("\u{feff}a\r\n\r\n\t\r\nb\r\nc\r\n"), expected);
        assert_eq!(texts("\u{feff}"), vec![]);
        assert_eq!(texts(""), vec![]);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_beyond_is_refused_alone() {
        let (fits, long) = ("x".repeat(LINE_BYTES_MAX), "y".repeat(LINE_BYTES_MAX + 1));
        for end in ["\n", "\r\n"] {
            let body = format!("\u{feff}{fits}{end}{long}{end}{fits}{end}{long}");
            for size in [1, 7, 65, 66, 1_000] {
                let found = lines(body.as_bytes().chunks(size));
                let flags: Vec<_> =
                    found.iter().map(|line| (line.position, line.too_long)).collect();
                assert_eq!(flags, [(1, false), (2, true), (3, false), (4, true)], "{size}");
                assert_eq!(found[2].bytes, fits.as_bytes());
            }
        }
    }

    #[test]
    fn a_line_of_any_length_is_not_held() {
        let mut lines = Lines::new(1 << 20);
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        for _ in 0..800 {
            lines.feed(piece.clone());
            assert_eq!(lines.next(), None);
            assert!(lines.partial.capacity() <= 4 << 20);
        }
        assert!(lines.partial.capacity() <= 64 << 10);
        lines.feed(Bytes::from_static(b"\n{}\n"));
        let line = lines.next().expect("ended");
        assert!(line.too_long && line.bytes.len() == TITLE_SEARCH_BYTES);
        assert_eq!(lines.next().expect("ended").bytes, b"{}"[..]);
    }

    fn said(text: &[u8]) -> Said {
        let line = Line { position: 1, bytes: Bytes::copy_from_slice(text), too_long: false };
        read_line(&line, &Limits::default())
    }

    #[test]
    fn a_bad_line_fails_with_its_title_as_far_as_it_can_be_read() {
        for (text, expected) in [
            (&b"{\"title\":\"t\",\"texts\":[]"[..], "t"),
            (b"{\"title\":\"t\",\"text\":\"\xff\"}", "t"),
            (b"{\"tags\":[{\"title\":\"no\"}],\"title\":\"t\",\"x\":1}", "t"),
            (b"{\"text\":\"\xff\",\"title\":\"t\"}", "t"),
            (b"{\"text\":x,\"title\":\"t\"}", ""),
            (b"{\"title\":7,\"text\":\"x\"}", ""),
            (b"[\"title\"]", ""),
            (b"{\"title\":\"t\"}", "t"),
            (b"{\"status\":\"error\",\"error\":{}}", ""),
        ] {
            let Said::Rejected { title, error, .. } = said(text) else { panic!("refused") };
            assert_eq!(title, expected);
            assert_eq!(error.kind, ErrorKind::InvalidArgument);
        }
        let start = Bytes::from_static(b"{\"title\":\"t\",\"text\":\"xxxx");
        let line = Line { position: 9, bytes: start, too_long: true };
        let Said::Rejected { title, error, .. } = read_line(&line, &Limits::default()) else {
            panic!("refused")
        };
        assert_eq!((title.as_str(), error.kind), ("t", ErrorKind::TooLarge));
        assert!(error.detail.contains("message_bytes_max"), "{error}");
    }

    #[test]
    fn a_long_title_of_a_bad_line_is_cut_at_a_character() {
        let text = format!("{{\"title\":\"{}\"}}", "ä".repeat(2_000) + "x");
        let Said::Rejected { title, .. } = said(text.as_bytes()) else { panic!("refused") };
        assert_eq!(title, "ä".repeat(512));
    }

    fn is_truncated(lines: &[&str]) -> bool {
        let mut check = ExportCheck::default();
        lines.iter().for_each(|line| check.see(&said(line.as_bytes())));
        check.is_truncated()
    }

    #[test]
    fn an_export_without_its_end_is_truncated() {
        let plain = r#"{"title":"t","text":"x"}"#;
        let exported = r#"{"title":"t","text":"x","revision":"1"}"#;
        let bad = r#"{"title":"t","revision":"1"}"#;
        let end = |n: u64| format!(r#"{{"status":"complete","total_documents":{n},"cursor":"c"}}"#);
        let (zero, one, two) = (&end(0), &end(1), &end(2));
        assert!(!is_truncated(&[]));
        assert!(!is_truncated(&[plain]));
        assert!(!is_truncated(&[zero]));
        assert!(is_truncated(&[exported]));
        assert!(is_truncated(&[bad]));
        assert!(!is_truncated(&[exported, one]));
        assert!(!is_truncated(&[bad, exported, two]));
        assert!(is_truncated(&[exported, two]));
        assert!(!is_truncated(&[exported, one, exported, exported, two, plain]));
        assert!(is_truncated(&[exported, one, exported]));
    }

    proptest! {
        /// However a body is cut into pieces, its lines are the same, and the same as a naive
        /// splitter's.
        #[test]
        fn pieces_do_not_matter(
            body in prop::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), Just(b'x'), any::<u8>()], 0..400
            ),
            size in 1_usize..90,
        ) {
            let found = lines(body.chunks(size));
            prop_assert_eq!(&found, &lines([&body[..]]));
            let naive: Vec<_> = (1_u64..)
                .zip(body.split(|byte| *byte == b'\n'))
                .map(|(position, line)| {
                    let line = match position {
                        1 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
                        _ => line,
                    };
                    (position, line.strip_suffix(b"\r").unwrap_or(line))
                })
                .filter(|(_, line)| line.len() > LINE_BYTES_MAX || !line.trim_ascii().is_empty())
                .collect();
            let found: Vec<_> = found.iter().map(|line| (line.position, &line.bytes[..])).collect();
            prop_assert_eq!(found.len(), naive.len());
            for ((position, line), (naive_position, naive_line)) in found.iter().zip(&naive) {
                prop_assert_eq!(position, naive_position);
                prop_assert!(naive_line.starts_with(line));
                prop_assert!(line.len() == naive_line.len() || naive_line.len() > LINE_BYTES_MAX);
            }
        }

        #[test]
        fn any_line_says_something(text in "\\PC{0,80}") {
            let _ = said(text.as_bytes());
        }
    }
}
