//! Standard output: data and nothing else, flushed when nothing more is at hand.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write};

use futures::FutureExt;
use serde::Serialize;
use tonic::Streaming;

use super::Failure;
use super::connect;
use super::exit::Ended;
use super::json::{Json, Object};

/// What commands write their data to.
pub(super) struct Output {
    out: BufWriter<Stdout>,
}

impl Output {
    /// Standard output of this process.
    pub(super) fn new() -> Self {
        Self { out: BufWriter::new(io::stdout()) }
    }

    /// Writes a line of text; [`Ended::ReaderGone`] once nobody reads.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(|error| written(&error))
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| written(&error.into()))?;
        self.out.write_all(b"\n").map_err(|error| written(&error))
    }

    /// Writes an answer: a line of JSON, or its members below each other for people.
    pub(super) fn answer(&mut self, json: bool, answer: &Object) -> Result<(), Failure> {
        if json {
            return self.json(answer);
        }
        let width = answer.members().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in answer.members() {
            let text = match value {
                Json::Text(text) => shown(text),
                Json::Number(_)
                | Json::Double(_)
                | Json::Single(_)
                | Json::Flag(_)
                | Json::Raw(_)
                | Json::Singles(_)
                | Json::List(_)
                | Json::Object(_) => serde_json::to_string(value)?,
            };
            let line = format!("{name:width$}  {text}");
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Writes a table: columns as wide as they must be.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) -> Result<(), Failure> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            self.line(cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// The next message of a stream. What was written goes out before it is waited for.
    pub(super) async fn next<T>(
        &mut self,
        stream: &mut Streaming<T>,
    ) -> Result<Option<T>, Failure> {
        let next = match stream.message().now_or_never() {
            Some(next) => next,
            None => {
                self.flush()?;
                stream.message().await
            }
        };
        next.map_err(|status| connect::error(&status).into())
    }

    /// Sends out what was written.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| written(&error))
    }
}

/// What a failed write means.
pub(super) fn written(error: &io::Error) -> Failure {
    match error.kind() == ErrorKind::BrokenPipe {
        true => Ended::ReaderGone.into(),
        false => format!("standard output: {error}").into(),
    }
}

/// A text on one line of a terminal: what would move its cursor is shown as an escape.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// The beginning of a text on one line, at most so many characters.
pub(super) fn excerpt(text: &str, characters_max: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", shown(words[..end].trim_end())),
        None => shown(&words),
    }
}

/// Digits in groups of three.
pub(super) fn thousands(digits: &str) -> String {
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// How many there are of something: `1 chunk`, `2 000 chunks`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(&count.to_string()))
}

/// A line for people on standard error.
pub(super) fn note(text: impl Display) {
    // That nobody reads it is no reason to stop.
    let _ = writeln!(io::stderr(), "arrwdb: {text}");
}

/// Whether a person watches standard error.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_plural() {
        assert_eq!(counted(1, "chunk"), "1 chunk");
        assert_eq!(counted(0, "chunk"), "0 chunks");
        assert_eq!(counted(1_234, "document"), "1 234 documents");
    }

    #[test]
    fn texts_stay_on_their_line() {
        assert_eq!(shown("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(excerpt("one\n two   three", 80), "one two three");
        assert_eq!(excerpt("für alle", 3), "für…");
        assert_eq!(excerpt("", 0), "");
    }
}
