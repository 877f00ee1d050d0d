//! Filters: hides how an expression over documents, chunks and events is parsed and decided.
//!
//! The language is a subset of the [Common Expression Language](https://cel.dev): fields and
//! literals, `== != < <= > >= in`, `&& || !`, `+ - * / %` on numbers, `has(field)`, `size(x)`,
//! `x.startsWith(text)`, `x.contains(text)`. No macros, no conditionals, no other functions.
//!
//! All numbers are doubles. A field may hold anything, or be absent, so logic has three values:
//! what cannot be known (an absent field, a comparison of unlike types, a division by zero) is
//! unknown; `&&`, `||` and `!` follow Kleene (`false && unknown` is false, `!unknown` is unknown),
//! and unknown at the top is no match. `has(field)` is never unknown; `x == null` asks whether a
//! field is there and null.
//!
//! Cost of an evaluation: the length of the expression times the length of the texts, lists and
//! objects it looks at; metadata is parsed once for each [`FieldsOf`], and only if looked at.

mod eval;
mod event;
mod expr;
mod fields;
mod parse;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;

pub use eval::Truth;
pub use event::{EventFields, Match};
pub use expr::{Arithmetic, Comparison, Expr, Field, Literal, Name};
pub use fields::{Fields, FieldsOf, Value};

use super::error::{Error, Result};
use super::event::{Event, EventPayload};
use super::limits::Limits;

/// What a filter is for: decides which names exist ([`Name::is_in`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterScope {
    /// Events: all but the texts of chunks.
    Feed,
    /// Chunks of a library: all but `event.…`.
    Search,
}

/// A parsed expression, every name resolved and every type checked that can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    expr: Expr,
}

impl Filter {
    /// Parses an expression, which must not be blank (no filter is the caller's `None`).
    ///
    /// `invalid-argument` naming `filter`, with the character (from 1) where the fault is: syntax,
    /// nesting beyond `limits.filter_levels_max`, a name that does not exist in this scope, a
    /// function that is not part of the language, types that can never match. `too-large` beyond
    /// `limits.filter_bytes_max`.
    pub fn parse(text: &str, scope: FilterScope, limits: &Limits) -> Result<Self> {
        if text.len() > limits.filter_bytes_max {
            let (is, most) = (text.len(), limits.filter_bytes_max);
            let detail = format!("is {is} bytes; at most {most} (filter_bytes_max)");
            return Err(Error::too_large("filter", detail));
        }
        if text.trim().is_empty() {
            return Err(Error::invalid("filter", "must not be blank"));
        }
        scan::check(text, limits.filter_levels_max)
            .and_then(|()| parse::parse(text, scope))
            .map(|expr| Self { expr })
            .map_err(|fault| fault.into_error(text))
    }

    /// Whether the expression is true of these fields.
    pub fn matches(&self, fields: &impl Fields) -> bool {
        self.eval(fields) == Truth::True
    }

    /// What the expression says of these fields.
    pub fn eval(&self, fields: &impl Fields) -> Truth {
        eval::truth(&self.expr, fields)
    }

    /// Whether, and how, an event matches: [`Self::match_fields`] of the event's own. A
    /// `library.deleted` stands for documents that it does not show, so it matches unless the
    /// expression is false of it.
    #[must_use]
    pub fn match_event(&self, event: &Event<'_>) -> Option<Match> {
        let fields = EventFields::of(event);
        if let EventPayload::LibraryDeleted { .. } = event.payload {
            return Match::of(None, self.eval(&fields.image) != Truth::False);
        }
        self.match_fields(&fields)
    }

    /// Whether, and how, an event matches, given fields that several filters may share; `None`
    /// when it does not.
    #[must_use]
    pub fn match_fields(&self, fields: &EventFields<'_>) -> Option<Match> {
        let now = self.matches(&fields.image);
        let before = fields.before.as_ref().map(|before| self.matches(before));
        Match::of(before, now)
    }

    /// The whole expression.
    #[must_use]
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The terms of the outermost `&&`, or the expression alone. A match makes every one of them
    /// true, so whatever an index finds false or unknown for one is no match.
    #[must_use]
    pub fn conjuncts(&self) -> &[Expr] {
        if let Expr::And(terms) = &self.expr { terms } else { std::slice::from_ref(&self.expr) }
    }

    /// Whether it looks at this field: tells a caller what it need not fetch (chunk texts).
    #[must_use]
    pub fn reads(&self, name: Name) -> bool {
        self.expr.reads(name)
    }
}

impl Expr {
    /// Whether it is true of these fields, as a filter of its own would be.
    pub fn holds(&self, fields: &impl Fields) -> bool {
        eval::truth(self, fields) == Truth::True
    }
}

impl fmt::Display for Filter {
    /// In a canonical form that parses to the same filter (though brackets that it adds may take
    /// it beyond the limits).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

/// What is wrong with an expression, and where.
#[derive(Debug)]
struct Fault {
    /// Byte offset in the text.
    offset: usize,
    why: String,
}

impl Fault {
    fn into_error(self, text: &str) -> Error {
        let before = text.get(..self.offset).unwrap_or(text);
        let place = before.chars().count() + 1;
        Error::invalid("filter", format!("at character {place}: {}", self.why))
    }
}
