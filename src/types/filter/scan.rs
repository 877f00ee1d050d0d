//! Hides how a filter's text is kept from overflowing the parser's stack.
//!
//! The parser recurses once for every operator, selection and bracket that lies within another,
//! and a stack overflow cannot be caught. So the text is measured first, in one pass without
//! recursion: it is cut into tokens exactly as the parser's grammar does, and whatever the grammar
//! would cut differently is refused here.

use super::Fault;

/// Refuses a text whose syntax tree would be higher than `levels_max`, or that holds a character,
/// string or number that is not part of the language.
pub(super) fn check(text: &str, levels_max: usize) -> Result<(), Fault> {
    Scan { text, at: 0, levels_max, open: Vec::new(), here: Level::default(), operand: false }.run()
}

/// What is known of the part of the text within one pair of brackets.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    /// Binary operators since the last `&&`, `||` or comma: they lean on each other.
    operators: usize,
    /// Height of the operand that is being read.
    operand: usize,
    /// Height of the highest operand between those operators.
    tallest: usize,
    /// Height of the highest part before the last `&&`, `||` or comma.
    parts: usize,
}

impl Level {
    /// An upper bound of the height of all that was read of it.
    fn height(self) -> usize {
        self.parts.max(self.operators + self.tallest.max(self.operand))
    }
}

struct Scan<'a> {
    text: &'a str,
    /// Byte offset of the next token.
    at: usize,
    levels_max: usize,
    /// The brackets around, outermost first: what closes each, and the level that it lies in.
    open: Vec<(u8, Level)>,
    here: Level,
    /// Whether the token before this one ends an operand.
    operand: bool,
}

impl Scan<'_> {
    fn run(mut self) -> Result<(), Fault> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0C => self.at += 1,
                b'/' if self.peek(1) == Some(b'/') => self.skip_while(|byte| byte != b'\n'),
                b'"' | b'\'' => self.string(byte)?,
                b'(' => self.open(b')'),
                b'[' => self.open(b']'),
                b')' | b']' => self.close(byte)?,
                b',' => self.separator(1)?,
                b'&' if self.peek(1) == Some(b'&') => self.separator(2)?,
                b'|' if self.peek(1) == Some(b'|') => self.separator(2)?,
                b'=' | b'!' | b'<' | b'>' if self.peek(1) == Some(b'=') => self.operator(2),
                b'!' | b'.' => self.prefix(),
                b'<' | b'>' | b'+' | b'-' | b'*' | b'/' | b'%' => self.operator(1),
                byte if byte.is_ascii_digit() => self.number()?,
                byte if is_word(byte) => self.word()?,
                byte => return Err(self.fault(foreign(byte))),
            }
            if self.here.height() + self.open.len() > self.levels_max {
                let most = self.levels_max;
                let why = format!("is nested too deep; at most {most} levels (filter_levels_max)");
                return Err(self.fault(why));
            }
        }
        match self.open.last() {
            Some((closing, _)) => {
                Err(self.fault(format!("ends before {:?}", char::from(*closing))))
            }
            None => Ok(()),
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn fault(&self, why: impl Into<String>) -> Fault {
        Fault { offset: self.at, why: why.into() }
    }

    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&belongs) {
            self.at += 1;
        }
    }

    fn operator(&mut self, length: usize) {
        self.at += length;
        self.operand = false;
        let here = &mut self.here;
        here.tallest = here.tallest.max(here.operand);
        here.operand = 0;
        here.operators += 1;
    }

    /// `!` before an operand, or the dot of a selection.
    fn prefix(&mut self) {
        self.at += 1;
        self.operand = false;
        self.here.operand += 1;
    }

    /// The parts between separators do not lean on each other: the parser makes a balanced tree
    /// of a chain. That holds only for a separator that follows an operand; another one would be
    /// passed over by the parser's error recovery.
    fn separator(&mut self, length: usize) -> Result<(), Fault> {
        if !self.operand {
            return Err(self.fault("an operand is missing here"));
        }
        self.at += length;
        self.operand = false;
        self.here = Level { parts: self.here.height(), ..Level::default() };
        Ok(())
    }

    fn open(&mut self, closing: u8) {
        self.at += 1;
        self.operand = false;
        self.open.push((closing, self.here));
        self.here = Level::default();
    }

    fn close(&mut self, byte: u8) -> Result<(), Fault> {
        match self.open.pop() {
            Some((closing, around)) if closing == byte => {
                let within = self.here.height();
                self.here = Level { operand: around.operand + within + 1, ..around };
                self.at += 1;
                self.operand = true;
                Ok(())
            }
            Some((closing, _)) => {
                let (is, wanted) = (char::from(byte), char::from(closing));
                Err(self.fault(format!("{is:?} where {wanted:?} must come first")))
            }
            None => Err(self.fault(format!("{:?} closes nothing", char::from(byte)))),
        }
    }

    fn word(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.skip_while(is_word);
        let word = &self.text[start..self.at];
        if matches!(self.peek(0), Some(b'"' | b'\'')) && is_string_prefix(word) {
            self.at = start;
            return Err(self.fault("strings have no prefix; write \"text\" with \\ for escapes"));
        }
        if word == "in" {
            self.operator(0);
        } else {
            self.operand = true;
        }
        Ok(())
    }

    /// The signs and dots within a number are counted as operators, which errs on the safe side.
    fn number(&mut self) -> Result<(), Fault> {
        self.skip_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'x' | b'u' | b'U'));
        if self.peek(0).is_some_and(is_word) {
            return Err(self.fault("malformed number"));
        }
        self.operand = true;
        Ok(())
    }

    fn string(&mut self, quote: u8) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                Some(byte) if byte == quote => break,
                Some(b'\\') => self.escape()?,
                Some(b'\n' | b'\r') | None => {
                    self.at = start;
                    return Err(self.fault("this string has no end"));
                }
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        if self.peek(0) == Some(quote) {
            return Err(self.fault("strings have one quote at each end"));
        }
        self.operand = true;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let octal = |byte: u8| (b'0'..=b'7').contains(&byte);
        let (digits, digit): (usize, fn(u8) -> bool) = match self.peek(1) {
            Some(
                b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`',
            ) => (0, octal),
            Some(b'x' | b'X') => (2, |byte| byte.is_ascii_hexdigit()),
            Some(b'u') => (4, |byte| byte.is_ascii_hexdigit()),
            Some(b'U') => (8, |byte| byte.is_ascii_hexdigit()),
            Some(b'0'..=b'3') => (2, octal),
            Some(_) | None => return Err(self.fault("unknown escape in a string")),
        };
        if !(2..2 + digits).all(|ahead| self.peek(ahead).is_some_and(digit)) {
            return Err(self.fault("unknown escape in a string"));
        }
        self.at += 2 + digits;
        Ok(())
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_string_prefix(word: &str) -> bool {
    ["r", "b", "br"].iter().any(|prefix| word.eq_ignore_ascii_case(prefix))
}

fn foreign(byte: u8) -> &'static str {
    match byte {
        b'?' | b':' => "there are no conditionals; use && and ||",
        b'{' | b'}' => "there are no map or message literals",
        b'`' => "there are no quoted names; write document.metadata[\"name\"]",
        b'=' => "unexpected \"=\"; equality is ==",
        b'&' => "unexpected \"&\"; both is &&",
        b'|' => "unexpected \"|\"; either is ||",
        _ => "unexpected character",
    }
}
