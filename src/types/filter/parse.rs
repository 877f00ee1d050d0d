//! Hides the library that parses, and how its untyped tree becomes ours.
//!
//! Names are resolved and types checked on the way, so that what can be refused is refused before
//! anything is evaluated.

use cel::common::ast::{CallExpr, Expr as Parsed, IdedExpr, ListExpr, LiteralValue};
use cel::common::ast::{SelectExpr, SourceInfo, operators};
use cel::parser::ParseErrors;

use super::expr::{Arithmetic, Comparison, Expr, Field, Literal, Name};
use super::{Fault, FilterScope};
use crate::types::Timestamp;

/// Parses a text that [`super::scan::check`] let pass.
pub(super) fn parse(text: &str, scope: FilterScope) -> Result<Expr, Fault> {
    // An environment of its own has no macros, so `has` and all else come as the calls they are.
    // No recovery from errors: it could join what the scan took for separate parts.
    let parser = cel::Env::default().with_optional_support(false).parser();
    let (tree, source) = parser
        .error_recovery_limit(0)
        .parse_with_source_info(text)
        .map_err(|errors| syntax_fault(text, &errors))?;
    let builder = Builder { source, scope };
    builder.boolean(&tree, "a filter")
}

/// What the parser says first, in our words.
fn syntax_fault(text: &str, errors: &ParseErrors) -> Fault {
    let Some(error) = errors.errors.first() else {
        return Fault { offset: 0, why: "syntax error".to_owned() };
    };
    let (line, column) = (place(error.pos.0), place(error.pos.1));
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let offset = text[start..].char_indices().nth(column).map_or(text.len(), |(at, _)| start + at);
    let why = if error.msg.starts_with("Syntax error") {
        let found: String = text[offset..].chars().take(12).collect();
        if found.is_empty() {
            "syntax error: the expression is not finished".to_owned()
        } else {
            format!("syntax error near {found:?}")
        }
    } else {
        // Up to the colon: what follows are the parser's inner names.
        error.msg.split(": ").next().unwrap_or_default().to_owned()
    };
    Fault { offset, why }
}

/// From counted from 1 to counted from 0.
fn place(from_one: isize) -> usize {
    usize::try_from(from_one - 1).unwrap_or(0)
}

/// What is known of an expression's value, should it have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Null,
    Bool,
    Number,
    Text,
    Time,
    List,
    Object,
    /// Anything: it comes from metadata.
    Any,
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Time => "a time",
            Self::List => "a list",
            Self::Object => "an object",
            Self::Any => "anything",
        }
    }

    const fn of_field(name: Name) -> Self {
        match name {
            Name::DocumentId
            | Name::DocumentTitle
            | Name::DocumentAuthor
            | Name::DocumentType
            | Name::DocumentSourceUrl
            | Name::ChunkText
            | Name::EventType
            | Name::EventLibraryId
            | Name::EventBatchId => Self::Text,
            Name::DocumentTags => Self::List,
            Name::DocumentCreatedAt | Name::DocumentUpdatedAt => Self::Time,
            Name::DocumentMetadata | Name::ChunkMetadata => Self::Object,
            Name::ChunkIndex => Self::Number,
        }
    }

    const fn of_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(_) => Self::Bool,
            Literal::Number(_) => Self::Number,
            Literal::Text(_) => Self::Text,
            Literal::Time(_) => Self::Time,
            Literal::List(_) => Self::List,
        }
    }

    const fn of(expr: &Expr) -> Self {
        match expr {
            Expr::Literal(literal) => Self::of_literal(literal),
            Expr::Field(field) if field.path.is_empty() => Self::of_field(field.name),
            Expr::Field(_) => Self::Any,
            Expr::Size(_) | Expr::Negate(_) | Expr::Arithmetic(..) => Self::Number,
            Expr::Has(_)
            | Expr::Not(_)
            | Expr::And(_)
            | Expr::Or(_)
            | Expr::Compare(..)
            | Expr::In(..)
            | Expr::StartsWith(..)
            | Expr::Contains(..) => Self::Bool,
        }
    }

    /// Whether a value of this type can be of one of `wanted`.
    fn may_be(self, wanted: &[Self]) -> bool {
        self == Self::Any || wanted.contains(&self)
    }
}

const FUNCTIONS: &str = "has(field), size(x), x.startsWith(text) and x.contains(text)";

struct Builder {
    source: SourceInfo,
    scope: FilterScope,
}

impl Builder {
    fn fault(&self, at: &IdedExpr, why: impl Into<String>) -> Fault {
        let offset = self.source.offset_for(at.id).map_or(0, |(start, _)| start as usize);
        Fault { offset, why: why.into() }
    }

    fn build(&self, tree: &IdedExpr) -> Result<Expr, Fault> {
        match &tree.expr {
            Parsed::Literal(value) => self.literal(tree, value).map(Expr::Literal),
            Parsed::List(list) => self.list(list),
            Parsed::Ident(_) | Parsed::Select(_) => self.field(tree).map(Expr::Field),
            Parsed::Call(call) => self.call(tree, call),
            Parsed::Map(_) | Parsed::Struct(_) => {
                Err(self.fault(tree, "there are no map or message literals"))
            }
            Parsed::Comprehension(_) => Err(self.fault(tree, "there are no macros")),
            Parsed::Unspecified => Err(self.fault(tree, "syntax error")),
        }
    }

    /// Builds what must be able to be of one of these types; `role` names it in the refusal.
    fn typed(&self, tree: &IdedExpr, wanted: &[Type], role: &str) -> Result<Expr, Fault> {
        let expr = self.build(tree)?;
        let found = Type::of(&expr);
        if found.may_be(wanted) {
            return Ok(expr);
        }
        let names: Vec<_> = wanted.iter().map(|wanted| wanted.name()).collect();
        let why = format!("{role} must be {}, not {}", names.join(" or "), found.name());
        Err(self.fault(first(tree), why))
    }

    fn boolean(&self, tree: &IdedExpr, role: &str) -> Result<Expr, Fault> {
        self.typed(tree, &[Type::Bool], role)
    }

    #[expect(clippy::cast_precision_loss, reason = "all numbers are doubles")]
    fn literal(&self, tree: &IdedExpr, value: &LiteralValue) -> Result<Literal, Fault> {
        match value {
            LiteralValue::Null => Ok(Literal::Null),
            LiteralValue::Boolean(value) => Ok(Literal::Bool(*value.inner())),
            LiteralValue::Int(value) => Ok(Literal::Number(*value.inner() as f64)),
            LiteralValue::UInt(value) => Ok(Literal::Number(*value.inner() as f64)),
            LiteralValue::Double(value) => Ok(Literal::Number(*value.inner())),
            LiteralValue::String(value) => Ok(Literal::Text(value.inner().to_owned())),
            LiteralValue::Bytes(_) => Err(self.fault(tree, "there are no bytes literals")),
        }
    }

    fn list(&self, list: &ListExpr) -> Result<Expr, Fault> {
        let item = |item: &IdedExpr| {
            if let Expr::Literal(literal) = self.build(item)?
                && !matches!(literal, Literal::List(_))
            {
                return Ok(literal);
            }
            Err(self.fault(first(item), "a list holds only text, numbers, booleans and null"))
        };
        let items = list.elements.iter().map(item).collect::<Result<_, _>>()?;
        Ok(Expr::Literal(Literal::List(items)))
    }

    /// A name: identifiers joined by dots, or by text in square brackets.
    fn field(&self, tree: &IdedExpr) -> Result<Field, Fault> {
        let mut keys = Vec::new();
        let mut at = tree;
        let root = loop {
            match &at.expr {
                Parsed::Ident(name) => break name,
                Parsed::Select(SelectExpr { operand, field, .. }) => {
                    keys.push(field.clone());
                    at = operand;
                }
                Parsed::Call(call) => {
                    let (operand, key) = self.index(at, call)?;
                    keys.push(key.to_owned());
                    at = operand;
                }
                Parsed::Literal(_)
                | Parsed::List(_)
                | Parsed::Map(_)
                | Parsed::Struct(_)
                | Parsed::Comprehension(_)
                | Parsed::Unspecified => return Err(self.fault(at, "only names have fields")),
            }
        };
        keys.reverse();
        self.resolve(at, root, keys)
    }

    /// What a call of the index operator is applied to, and the key.
    fn index<'a>(
        &self,
        tree: &IdedExpr,
        call: &'a CallExpr,
    ) -> Result<(&'a IdedExpr, &'a str), Fault> {
        let [operand, key] = call.args.as_slice() else {
            return Err(self.fault(tree, "only names have fields"));
        };
        if call.func_name != operators::INDEX || call.target.is_some() {
            return Err(self.fault(tree, "only names have fields"));
        }
        if let Parsed::Literal(LiteralValue::String(key)) = &key.expr {
            return Ok((operand, key.inner()));
        }
        Err(self.fault(key, "only a text literal can stand in square brackets"))
    }

    fn resolve(&self, at: &IdedExpr, root: &str, mut keys: Vec<String>) -> Result<Field, Fault> {
        let whole = match keys.first() {
            Some(key) => format!("{root}.{key}"),
            None => root.to_owned(),
        };
        let Some(name) = Name::ALL.iter().copied().find(|name| name.as_str() == whole) else {
            return Err(self.fault(at, format!("unknown name {whole}; {}", self.known())));
        };
        if !name.is_in(self.scope) {
            let why = format!("{whole} is not known here; {}", self.known());
            return Err(self.fault(at, why));
        }
        keys.remove(0);
        if !keys.is_empty() && Type::of_field(name) != Type::Object {
            return Err(self.fault(at, format!("{whole} has no fields")));
        }
        Ok(Field { name, path: keys })
    }

    fn known(&self) -> String {
        let known = Name::ALL.iter().filter(|name| name.is_in(self.scope));
        let known: Vec<_> = known.map(|name| name.as_str()).collect();
        format!("names are {}", known.join(", "))
    }

    fn call(&self, tree: &IdedExpr, call: &CallExpr) -> Result<Expr, Fault> {
        let name = call.func_name.as_str();
        if let (None, [left, right]) = (&call.target, call.args.as_slice()) {
            if let Some(operator) = comparison(name) {
                return self.compare(tree, operator, left, right);
            }
            if let Some(operator) = arithmetic(name) {
                let operand = |of| self.typed(of, &[Type::Number], "an operand of arithmetic");
                let (left, right) = (operand(left)?, operand(right)?);
                return Ok(Expr::Arithmetic(operator, Box::new(left), Box::new(right)));
            }
        }
        match (call.target.as_deref(), name, call.args.as_slice()) {
            (None, operators::LOGICAL_AND, _) => self.chain(tree, name).map(Expr::And),
            (None, operators::LOGICAL_OR, _) => self.chain(tree, name).map(Expr::Or),
            (None, operators::LOGICAL_NOT, [of]) => {
                Ok(Expr::Not(Box::new(self.boolean(of, "what ! stands before")?)))
            }
            (None, operators::NEGATE, [of]) => {
                let of = self.typed(of, &[Type::Number], "what - stands before")?;
                Ok(Expr::Negate(Box::new(of)))
            }
            (None, operators::INDEX, _) => self.field(tree).map(Expr::Field),
            (None, operators::IN, [left, right]) => self.within(left, right),
            (None, "has", [of]) => self.field(of).map(Expr::Has),
            (None, "size", [of]) | (Some(of), "size", []) => {
                let wanted = [Type::Text, Type::List, Type::Object];
                Ok(Expr::Size(Box::new(self.typed(of, &wanted, "what size is asked of")?)))
            }
            (Some(of), "startsWith", [start]) => {
                let (of, start) = self.texts(of, start)?;
                Ok(Expr::StartsWith(of, start))
            }
            (Some(of), "contains", [part]) => {
                let (of, part) = self.texts(of, part)?;
                Ok(Expr::Contains(of, part))
            }
            (_, "has" | "size" | "startsWith" | "contains", _) => {
                Err(self.fault(tree, format!("{name} is used as in {FUNCTIONS}")))
            }
            _ => Err(self.fault(tree, format!("unknown function {name}; there are {FUNCTIONS}"))),
        }
    }

    /// The terms of a tree of `&&` alone, or of `||` alone.
    fn chain(&self, tree: &IdedExpr, operator: &str) -> Result<Vec<Expr>, Fault> {
        if let Parsed::Call(call) = &tree.expr
            && call.func_name == operator
        {
            let mut terms = Vec::new();
            for term in &call.args {
                terms.append(&mut self.chain(term, operator)?);
            }
            return Ok(terms);
        }
        Ok(vec![self.boolean(tree, "an operand of && or ||")?])
    }

    fn texts(&self, of: &IdedExpr, argument: &IdedExpr) -> Result<(Box<Expr>, Box<Expr>), Fault> {
        let text = |tree, role| self.typed(tree, &[Type::Text], role).map(Box::new);
        Ok((
            text(of, "what startsWith or contains is asked of")?,
            text(argument, "what startsWith or contains looks for")?,
        ))
    }

    fn compare(
        &self,
        tree: &IdedExpr,
        operator: Comparison,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Expr, Fault> {
        let (mut left_expr, mut right_expr) = (self.build(left)?, self.build(right)?);
        if let (Expr::Literal(literal), Type::Time) = (&mut left_expr, Type::of(&right_expr)) {
            self.read_time(left, literal)?;
        }
        if let (Expr::Literal(literal), Type::Time) = (&mut right_expr, Type::of(&left_expr)) {
            self.read_time(right, literal)?;
        }
        let types = (Type::of(&left_expr), Type::of(&right_expr));
        let ordered = [Type::Number, Type::Text, Type::Time];
        let comparable = if operator.is_ordering() {
            can_equal(types) && types.0.may_be(&ordered) && types.1.may_be(&ordered)
        } else {
            can_equal(types)
        };
        if !comparable {
            let (left, right) = (types.0.name(), types.1.name());
            let why = format!("{left} {} {right} can never be known", operator.as_str());
            return Err(self.fault(tree, why));
        }
        let swap = matches!((&left_expr, &right_expr), (Expr::Literal(_), Expr::Field(_)));
        let (operator, left, right) = if swap {
            (operator.swapped(), right_expr, left_expr)
        } else {
            (operator, left_expr, right_expr)
        };
        Ok(Expr::Compare(operator, Box::new(left), Box::new(right)))
    }

    fn within(&self, left: &IdedExpr, right: &IdedExpr) -> Result<Expr, Fault> {
        let item = self.build(left)?;
        let mut of = self.typed(right, &[Type::List, Type::Object], "what follows in")?;
        if let Expr::Literal(Literal::List(literals)) = &mut of {
            for literal in literals {
                if Type::of(&item) == Type::Time {
                    self.read_time(right, literal)?;
                }
                self.can_be_item(left, Type::of(&item), Type::of_literal(literal))?;
            }
        } else if Type::of(&of) != Type::Any {
            // Tags, or the keys of an object.
            self.can_be_item(left, Type::of(&item), Type::Text)?;
        }
        Ok(Expr::In(Box::new(item), Box::new(of)))
    }

    /// Refuses `item in of` where no item of that type can be equal.
    fn can_be_item(&self, at: &IdedExpr, item: Type, of: Type) -> Result<(), Fault> {
        if can_equal((item, of)) {
            return Ok(());
        }
        let (item, of) = (item.name(), of.name());
        Err(self.fault(first(at), format!("{item} cannot be in a list or object of {of}")))
    }

    /// Makes a text literal the time that it stands for.
    fn read_time(&self, at: &IdedExpr, literal: &mut Literal) -> Result<(), Fault> {
        if let Literal::Text(text) = literal {
            let why = "a time is compared with RFC 3339, such as \"2026-01-31T12:00:00Z\"";
            let time = Timestamp::parse(text).ok_or_else(|| self.fault(at, why))?;
            *literal = Literal::Time(time);
        }
        Ok(())
    }
}

/// Whether two values of these types can be equal, or one of them null.
fn can_equal((left, right): (Type, Type)) -> bool {
    left == right || [left, right].iter().any(|one| matches!(one, Type::Any | Type::Null))
}

/// The leftmost part of a tree: where it begins in the text.
fn first(tree: &IdedExpr) -> &IdedExpr {
    let mut at = tree;
    loop {
        at = match &at.expr {
            Parsed::Select(select) => &select.operand,
            Parsed::Call(call) => match (call.target.as_deref(), call.args.as_slice()) {
                (Some(target), _) => target,
                (None, [left, _]) if is_infix(&call.func_name) => left,
                (None, _) => return at,
            },
            Parsed::Literal(_)
            | Parsed::List(_)
            | Parsed::Ident(_)
            | Parsed::Map(_)
            | Parsed::Struct(_)
            | Parsed::Comprehension(_)
            | Parsed::Unspecified => return at,
        }
    }
}

fn is_infix(function: &str) -> bool {
    function.starts_with('_') || function == operators::IN
}

fn comparison(function: &str) -> Option<Comparison> {
    Some(match function {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn arithmetic(function: &str) -> Option<Arithmetic> {
    Some(match function {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        _ => return None,
    })
}
