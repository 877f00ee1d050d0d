//! Hides how an expression is decided, in three-valued logic.
//!
//! `None` is the unknown value throughout. Recursion goes as deep as the tree is high, plus as
//! deep as metadata may be nested where lists and objects are compared.

use std::cmp::Ordering;

use super::expr::{Arithmetic, Comparison, Expr, Field, Literal};
use super::fields::{Fields, Value};
use crate::types::Timestamp;

/// What can be said of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be known.
    Unknown,
}

/// What `expr` says of these fields.
pub(super) fn truth(expr: &Expr, fields: &impl Fields) -> Truth {
    match decide(expr, fields) {
        Some(true) => Truth::True,
        Some(false) => Truth::False,
        None => Truth::Unknown,
    }
}

/// The value of an expression that should be a boolean.
fn decide(expr: &Expr, fields: &impl Fields) -> Option<bool> {
    match value(expr, fields)? {
        Value::Bool(is) => Some(is),
        Value::Null
        | Value::Number(_)
        | Value::Text(_)
        | Value::Time(_)
        | Value::Texts(_)
        | Value::List(_)
        | Value::Literals(_)
        | Value::Object(_) => None,
    }
}

fn value<'a>(expr: &'a Expr, fields: &'a impl Fields) -> Option<Value<'a>> {
    match expr {
        Expr::Literal(literal) => Some(Value::of_literal(literal)),
        Expr::Field(field) => fields.value(field.name, &field.path),
        Expr::Has(field) => Some(Value::Bool(has(field, fields))),
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        Expr::Size(of) => Some(Value::Number(size(value(of, fields)?)? as f64)),
        Expr::Not(of) => Some(Value::Bool(!decide(of, fields)?)),
        Expr::And(terms) => kleene(terms.iter().map(|term| decide(term, fields)), false),
        Expr::Or(terms) => kleene(terms.iter().map(|term| decide(term, fields)), true),
        Expr::Negate(of) => Some(Value::Number(-number(of, fields)?)),
        Expr::Arithmetic(operator, left, right) => {
            let result = calculate(*operator, number(left, fields)?, number(right, fields)?);
            result.is_finite().then_some(Value::Number(result))
        }
        Expr::Compare(operator, left, right) => {
            compare(*operator, value(left, fields)?, value(right, fields)?).map(Value::Bool)
        }
        Expr::In(item, of) => within(value(item, fields)?, value(of, fields)?),
        Expr::StartsWith(of, start) => {
            Some(Value::Bool(text(of, fields)?.starts_with(text(start, fields)?)))
        }
        Expr::Contains(of, part) => {
            Some(Value::Bool(text(of, fields)?.contains(text(part, fields)?)))
        }
    }
}

/// `decisive` if any term is that, unknown if any is unknown, the opposite otherwise: `||` with
/// `true`, `&&` with `false`. Stops at the first decisive term.
fn kleene<'a>(terms: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<Value<'a>> {
    let mut known = true;
    for term in terms {
        match term {
            Some(is) if is == decisive => return Some(Value::Bool(decisive)),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(Value::Bool(!decisive))
}

fn has(field: &Field, fields: &impl Fields) -> bool {
    let found = fields.value(field.name, &field.path);
    if !field.path.is_empty() {
        return found.is_some();
    }
    match found {
        None => false,
        Some(Value::Text(text)) => !text.is_empty(),
        Some(Value::Texts(texts)) => !texts.is_empty(),
        Some(Value::List(items)) => !items.is_empty(),
        Some(Value::Literals(items)) => !items.is_empty(),
        Some(Value::Object(object)) => !object.is_empty(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Time(_)) => true,
    }
}

fn number(expr: &Expr, fields: &impl Fields) -> Option<f64> {
    if let Value::Number(number) = value(expr, fields)? { Some(number) } else { None }
}

fn text<'a>(expr: &'a Expr, fields: &'a impl Fields) -> Option<&'a str> {
    if let Value::Text(text) = value(expr, fields)? { Some(text) } else { None }
}

fn size(of: Value<'_>) -> Option<usize> {
    match of {
        Value::Text(text) => Some(text.chars().count()),
        Value::Texts(texts) => Some(texts.len()),
        Value::List(items) => Some(items.len()),
        Value::Literals(items) => Some(items.len()),
        Value::Object(object) => Some(object.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Time(_) => None,
    }
}

fn calculate(operator: Arithmetic, left: f64, right: f64) -> f64 {
    match operator {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
        Arithmetic::Remainder => left % right,
    }
}

fn compare(operator: Comparison, left: Value<'_>, right: Value<'_>) -> Option<bool> {
    match operator {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => equal(left, right).map(|is| !is),
        Comparison::Less => order(left, right).map(Ordering::is_lt),
        Comparison::LessOrEqual => order(left, right).map(Ordering::is_le),
        Comparison::Greater => order(left, right).map(Ordering::is_gt),
        Comparison::GreaterOrEqual => order(left, right).map(Ordering::is_ge),
    }
}

/// Unlike types have no order.
fn order(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.partial_cmp(&right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Time(left), Value::Time(right)) => Some(left.cmp(&right)),
        (Value::Time(left), Value::Text(right)) => Some(left.cmp(&Timestamp::parse(right)?)),
        (Value::Text(left), Value::Time(right)) => Some(Timestamp::parse(left)?.cmp(&right)),
        _ => None,
    }
}

/// Whether two values are equal; unknown between unlike types other than null.
fn equal(left: Value<'_>, right: Value<'_>) -> Option<bool> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(true),
        (Value::Null, _) | (_, Value::Null) => Some(false),
        (Value::Bool(left), Value::Bool(right)) => Some(left == right),
        (Value::Object(left), Value::Object(right)) => {
            if left.len() != right.len() || !left.keys().all(|key| right.contains_key(key)) {
                return Some(false);
            }
            all_equal(left.iter().map(|(key, value)| {
                (Value::of_json(value), right.get(key).and_then(Value::of_json))
            }))
        }
        (left, right) => match (Items::of(left), Items::of(right)) {
            (Some(left), Some(right)) if left.len() != right.len() => Some(false),
            (Some(left), Some(right)) => {
                all_equal((0..left.len()).map(|place| (left.get(place), right.get(place))))
            }
            (None, None) => order(left, right).map(Ordering::is_eq),
            (Some(_), None) | (None, Some(_)) => None,
        },
    }
}

fn all_equal<'a>(
    mut pairs: impl Iterator<Item = (Option<Value<'a>>, Option<Value<'a>>)>,
) -> Option<bool> {
    let mut known = true;
    let differs = pairs.any(|(left, right)| {
        let is = left.zip(right).and_then(|(left, right)| equal(left, right));
        known &= is.is_some();
        is == Some(false)
    });
    if differs { Some(false) } else { known.then_some(true) }
}

/// `item in of`.
fn within<'a>(item: Value<'_>, of: Value<'_>) -> Option<Value<'a>> {
    if let Value::Object(object) = of {
        let Value::Text(key) = item else { return None };
        return Some(Value::Bool(object.contains_key(key)));
    }
    let items = Items::of(of)?;
    kleene((0..items.len()).map(|place| equal(item, items.get(place)?)), true)
}

/// A list, whatever it is made of.
#[derive(Clone, Copy)]
enum Items<'a> {
    Texts(&'a [String]),
    Json(&'a [serde_json::Value]),
    Literals(&'a [Literal]),
}

impl<'a> Items<'a> {
    fn of(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Texts(texts) => Some(Self::Texts(texts)),
            Value::List(items) => Some(Self::Json(items)),
            Value::Literals(items) => Some(Self::Literals(items)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Time(_)
            | Value::Object(_) => None,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Json(items) => items.len(),
            Self::Literals(items) => items.len(),
        }
    }

    fn get(self, place: usize) -> Option<Value<'a>> {
        match self {
            Self::Texts(texts) => texts.get(place).map(|text| Value::Text(text)),
            Self::Json(items) => Value::of_json(items.get(place)?),
            Self::Literals(items) => items.get(place).map(Value::of_literal),
        }
    }
}
