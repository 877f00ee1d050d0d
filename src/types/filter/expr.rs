//! Hides how a filter's syntax tree is laid out and written back as text.
//!
//! The tree is made by the parser alone, which has resolved every name, checked all types that can
//! be known and put chains and comparisons into one shape, so that evaluator and index need not.

use std::fmt::{self, Write as _};

use super::FilterScope;
use crate::types::Timestamp;

/// A filter's syntax tree. Its height is bounded by `limits.filter_levels_max`.
///
/// An index may answer a conjunct ([`super::Filter::conjuncts`]) of one of these shapes, for
/// which it needs nothing but the field's values:
/// - `Compare(op, Field, Literal)`: a comparison of a field with a literal always has the field
///   on the left;
/// - `In(Field, Literal::List)`: equality with one of several;
/// - `In(Literal, Field)`: a list that holds, or an object that has the key;
/// - `Has(Field)`, and `Field` alone (a boolean).
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A constant.
    Literal(Literal),
    /// The value of a field; unknown where it is absent.
    Field(Field),
    /// Whether a field is there; never unknown. Text and lists that are fields of their own
    /// (outside metadata) count as absent when empty.
    Has(Field),
    /// Characters of a text, items of a list, keys of an object.
    Size(Box<Expr>),
    /// `!x`.
    Not(Box<Expr>),
    /// `a && b && …`: two or more, none of them an `And`.
    And(Vec<Expr>),
    /// `a || b || …`: two or more, none of them an `Or`.
    Or(Vec<Expr>),
    /// `-x`.
    Negate(Box<Expr>),
    /// Arithmetic on numbers; unknown where the result is no finite number.
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// A comparison; unknown between unlike types, except with `null`.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `x in list` is `x == list[0] || x == list[1] || …`; `key in object` is whether it has it.
    In(Box<Expr>, Box<Expr>),
    /// Whether the first text starts with the second.
    StartsWith(Box<Expr>, Box<Expr>),
    /// Whether the first text contains the second.
    Contains(Box<Expr>, Box<Expr>),
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number: all are doubles.
    Number(f64),
    /// A text.
    Text(String),
    /// A text that is compared with a time.
    Time(Timestamp),
    /// Scalars.
    List(Vec<Literal>),
}

/// A place that a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    /// Which field.
    pub name: Name,
    /// The keys below it, outermost first; empty except for metadata.
    pub path: Vec<String>,
}

macro_rules! names {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// The fields that exist.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Name {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it is written in a filter.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

names! {
    /// Text.
    DocumentId = "document.id",
    /// Text, never empty.
    DocumentTitle = "document.title",
    /// Text, empty when not given, like the two below.
    DocumentAuthor = "document.author",
    /// Text.
    DocumentType = "document.document_type",
    /// Text.
    DocumentSourceUrl = "document.source_url",
    /// A list of texts.
    DocumentTags = "document.tags",
    /// A time, in whole microseconds.
    DocumentCreatedAt = "document.created_at",
    /// A time, in whole microseconds.
    DocumentUpdatedAt = "document.updated_at",
    /// An object.
    DocumentMetadata = "document.metadata",
    /// A number, from 0.
    ChunkIndex = "chunk.index",
    /// Text; of searches only.
    ChunkText = "chunk.text",
    /// An object.
    ChunkMetadata = "chunk.metadata",
    /// Text; of the feed only, like the two below.
    EventType = "event.type",
    /// Text: a UUID in lower case.
    EventLibraryId = "event.library_id",
    /// Text: a UUID in lower case; absent outside batches.
    EventBatchId = "event.batch_id",
}

impl Name {
    /// Whether filters of this scope know it.
    #[must_use]
    pub const fn is_in(self, scope: FilterScope) -> bool {
        match self {
            Self::DocumentId
            | Self::DocumentTitle
            | Self::DocumentAuthor
            | Self::DocumentType
            | Self::DocumentSourceUrl
            | Self::DocumentTags
            | Self::DocumentCreatedAt
            | Self::DocumentUpdatedAt
            | Self::DocumentMetadata
            | Self::ChunkIndex
            | Self::ChunkMetadata => true,
            Self::ChunkText => matches!(scope, FilterScope::Search),
            Self::EventType | Self::EventLibraryId | Self::EventBatchId => {
                matches!(scope, FilterScope::Feed)
            }
        }
    }
}

macro_rules! operators {
    ($(#[doc = $doc_enum:literal])* $name:ident: $($variant:ident = $text:literal,)*) => {
        $(#[doc = $doc_enum])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
        }

        impl $name {
            /// As it is written in a filter.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

operators! {
    /// What two values may be in. Texts are ordered by code point.
    Comparison:
    Equal = "==",
    NotEqual = "!=",
    Less = "<",
    LessOrEqual = "<=",
    Greater = ">",
    GreaterOrEqual = ">=",
}

operators! {
    /// What two numbers make.
    Arithmetic:
    Add = "+",
    Subtract = "-",
    Multiply = "*",
    Divide = "/",
    Remainder = "%",
}

impl Comparison {
    /// The one that says the same with its sides swapped.
    #[must_use]
    pub const fn swapped(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    /// Whether it asks which of two comes first.
    #[must_use]
    pub const fn is_ordering(self) -> bool {
        match self {
            Self::Equal | Self::NotEqual => false,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => true,
        }
    }
}

/// How tightly an expression holds together, loosest first.
#[derive(PartialEq, PartialOrd)]
enum Binding {
    Or,
    And,
    Relation,
    Sum,
    Product,
    Unary,
    Member,
}

impl Expr {
    /// The fields that it looks at, each once.
    #[must_use]
    pub fn fields(&self) -> Vec<&Field> {
        let mut fields = Vec::new();
        self.collect_fields(&mut fields);
        fields
    }

    fn collect_fields<'a>(&'a self, fields: &mut Vec<&'a Field>) {
        match self {
            Self::Literal(_) => {}
            Self::Field(field) | Self::Has(field) => {
                if !fields.contains(&field) {
                    fields.push(field);
                }
            }
            Self::Size(of) | Self::Not(of) | Self::Negate(of) => of.collect_fields(fields),
            Self::And(terms) | Self::Or(terms) => {
                terms.iter().for_each(|term| term.collect_fields(fields));
            }
            Self::Arithmetic(_, left, right)
            | Self::Compare(_, left, right)
            | Self::In(left, right)
            | Self::StartsWith(left, right)
            | Self::Contains(left, right) => {
                left.collect_fields(fields);
                right.collect_fields(fields);
            }
        }
    }

    /// Whether it looks at a field.
    pub(super) fn reads(&self, name: Name) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Field(field) | Self::Has(field) => field.name == name,
            Self::Size(of) | Self::Not(of) | Self::Negate(of) => of.reads(name),
            Self::And(terms) | Self::Or(terms) => terms.iter().any(|term| term.reads(name)),
            Self::Arithmetic(_, left, right)
            | Self::Compare(_, left, right)
            | Self::In(left, right)
            | Self::StartsWith(left, right)
            | Self::Contains(left, right) => left.reads(name) || right.reads(name),
        }
    }

    fn binding(&self) -> Binding {
        match self {
            Self::Or(_) => Binding::Or,
            Self::And(_) => Binding::And,
            Self::Compare(..) | Self::In(..) => Binding::Relation,
            Self::Arithmetic(Arithmetic::Add | Arithmetic::Subtract, ..) => Binding::Sum,
            Self::Arithmetic(
                Arithmetic::Multiply | Arithmetic::Divide | Arithmetic::Remainder,
                ..,
            ) => Binding::Product,
            Self::Not(_) | Self::Negate(_) => Binding::Unary,
            Self::Literal(_)
            | Self::Field(_)
            | Self::Has(_)
            | Self::Size(_)
            | Self::StartsWith(..)
            | Self::Contains(..) => Binding::Member,
        }
    }

    /// Writes it, in brackets if it holds together less tightly than its place asks.
    fn write_in(&self, f: &mut fmt::Formatter<'_>, least: &Binding) -> fmt::Result {
        if self.binding() < *least { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

impl fmt::Display for Expr {
    /// As text that parses to the same tree.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Field(field) => field.fmt(f),
            Self::Has(field) => write!(f, "has({field})"),
            Self::Size(of) => write!(f, "size({of})"),
            Self::Not(of) => {
                f.write_str("!")?;
                of.write_in(f, &Binding::Member)
            }
            // The brackets keep a minus apart from a literal's own sign.
            Self::Negate(of) => write!(f, "-({of})"),
            Self::And(terms) => write_chain(f, terms, " && ", &Binding::Relation),
            Self::Or(terms) => write_chain(f, terms, " || ", &Binding::And),
            Self::Arithmetic(operator, left, right) => {
                let (left_least, right_least) = match self.binding() {
                    Binding::Product => (Binding::Product, Binding::Unary),
                    Binding::Or
                    | Binding::And
                    | Binding::Relation
                    | Binding::Sum
                    | Binding::Unary
                    | Binding::Member => (Binding::Sum, Binding::Product),
                };
                left.write_in(f, &left_least)?;
                write!(f, " {} ", operator.as_str())?;
                right.write_in(f, &right_least)
            }
            Self::Compare(operator, left, right) => {
                left.write_in(f, &Binding::Sum)?;
                write!(f, " {} ", operator.as_str())?;
                right.write_in(f, &Binding::Sum)
            }
            Self::In(left, right) => {
                left.write_in(f, &Binding::Sum)?;
                f.write_str(" in ")?;
                right.write_in(f, &Binding::Sum)
            }
            Self::StartsWith(text, start) => {
                text.write_in(f, &Binding::Member)?;
                write!(f, ".startsWith({start})")
            }
            Self::Contains(text, part) => {
                text.write_in(f, &Binding::Member)?;
                write!(f, ".contains({part})")
            }
        }
    }
}

fn write_chain(
    f: &mut fmt::Formatter<'_>,
    terms: &[Expr],
    operator: &str,
    least: &Binding,
) -> fmt::Result {
    for (i, term) in terms.iter().enumerate() {
        if i > 0 {
            f.write_str(operator)?;
        }
        term.write_in(f, least)?;
    }
    Ok(())
}

/// Up to here whole numbers are written without a fraction; all of them are 64-bit integers.
const WHOLE_MAX: f64 = 1e15;

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(value) if value.fract() == 0.0 && value.abs() < WHOLE_MAX => {
                write!(f, "{value}")
            }
            Self::Number(value) => write!(f, "{value:?}"),
            Self::Text(text) => write_text(f, text),
            Self::Time(time) => write!(f, "\"{time}\""),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        for key in &self.path {
            if is_plain_key(key) {
                write!(f, ".{key}")?;
            } else {
                f.write_str("[")?;
                write_text(f, key)?;
                f.write_str("]")?;
            }
        }
        Ok(())
    }
}

/// Whether a key can be written after a dot.
fn is_plain_key(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !matches!(key, "in" | "true" | "false" | "null")
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '\\' => f.write_str("\\\\")?,
            '"' => f.write_str("\\\"")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}
