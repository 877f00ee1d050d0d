//! What filters accept, refuse and decide, and a naive evaluator that they are held against.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::types::change::{BatchFailure, ChangeHead, ChangeKind};
use crate::types::{
    BatchCounts, BatchId, ChunkHead, ChunkId, DocumentHead, DocumentId, EmbedderRef, Epoch,
    ErrorKind, IndexType, Library, LibraryId, LibraryName, Metadata, Metric, Revision, Timestamp,
};

fn metadata(json: &Json) -> Metadata {
    let map: Map<String, Json> = json.as_object().expect("an object").clone();
    Metadata::new("metadata", map, &Limits::default()).expect("valid metadata")
}

fn document(fields: &Json) -> DocumentHead {
    DocumentHead {
        id: DocumentId::parse("doc-1").expect("valid id"),
        created_revision: Revision::ZERO,
        title: "Wombats".to_owned(),
        author: String::new(),
        document_type: "article".to_owned(),
        source_url: "https://example.org/wombats".to_owned(),
        tags: vec!["animal".to_owned(), "australia".to_owned()],
        metadata: metadata(fields),
        num_chunks: 1,
        created_at: Timestamp::parse("2026-03-01T12:00:00Z").expect("a time"),
        updated_at: Timestamp::parse("2026-03-02T12:00:00Z").expect("a time"),
        revision: Revision::ZERO,
    }
}

fn chunk(fields: &Json) -> ChunkHead {
    ChunkHead { id: ChunkId::generate(), slot: 2, index: 2, metadata: metadata(fields) }
}

fn search(text: &str) -> Result<Filter> {
    Filter::parse(text, FilterScope::Search, &Limits::default())
}

fn feed(text: &str) -> Result<Filter> {
    Filter::parse(text, FilterScope::Feed, &Limits::default())
}

/// Says of each expression whether it is true, false or unknown of the example.
fn decide(text: &str) -> Truth {
    let fields = json!({
        "year": 2020, "half": 0.5, "zero": 0, "flag": true, "none": null, "name": "Vombatus",
        "since": "2026-01-01T00:00:00Z", "deep": {"er": {"value": 7}}, "odd key": "odd",
        "list": [1, "two", null], "numbers": [1, 2, 3], "in": 4, "große": "ß",
    });
    let (document, chunk) = (document(&fields), chunk(&json!({"page": 12})));
    let fields = FieldsOf::document(&document).with_chunk(&chunk, Some("Wombats dig burrows."));
    let filter = search(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(filter.matches(&fields), filter.eval(&fields) == Truth::True);
    filter.eval(&fields)
}

#[test]
fn what_holds_is_true() {
    for text in [
        "true",
        "document.metadata.flag",
        "document.id == \"doc-1\"",
        "document.title == 'Wombats' && document.author == \"\"",
        "document.document_type in [\"article\", \"book\"]",
        "\"animal\" in document.tags",
        "size(document.tags) == 2 && document.tags.size() == 2",
        "document.tags == [\"animal\", \"australia\"]",
        "document.source_url.startsWith(\"https://\")",
        "document.title.contains(\"bat\")",
        "document.created_at < \"2026-03-01T13:00:00+00:30\"",
        "document.created_at == \"2026-03-01T13:00:00+01:00\"",
        "\"2026-03-01T12:00:00Z\" == document.created_at",
        "document.created_at in [\"2026-03-01T12:00:00Z\"]",
        "document.created_at > document.metadata.since",
        "document.metadata.since < document.updated_at",
        "document.updated_at > document.created_at",
        "document.metadata.year >= 2020 && 2019 < document.metadata.year",
        "document.metadata.half == 0.5 && document.metadata.half == .5 && 5e-1 == 0.5",
        "document.metadata.year + 1 == 2021 && 7 / 2 == 3.5 && 7 % 4 == 3 && 2 * 3 - 1 == 5",
        "-document.metadata.year == -2020 && -(-1) == 1 && 2 - -1 == 3 && 0x10 == 16 && 5u == 5",
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 7 - 2 - 1 == 4",
        "document.metadata.deep.er.value == 7",
        "document.metadata[\"deep\"].er[\"value\"] == 7",
        "document.metadata[\"odd key\"] == \"odd\" && document.metadata[\"in\"] == 4",
        "document.metadata[\"große\"] == \"ß\" && size(document.metadata[\"große\"]) == 1",
        "\"odd key\" in document.metadata && \"er\" in document.metadata.deep",
        "document.metadata.none == null && document.metadata.year != null",
        "has(document.metadata.none) && has(document.metadata[\"odd key\"])",
        "!has(document.metadata.nowhere.to.be) && !has(document.author) && has(document.title)",
        "document.metadata.year in document.metadata.numbers == false",
        "2 in document.metadata.numbers && 1 in document.metadata.list",
        "document.metadata.numbers == [1, 2, 3] && document.metadata.numbers != [1, 2]",
        "document.metadata.deep == document.metadata[\"deep\"]",
        "document.metadata.deep != chunk.metadata",
        "chunk.metadata.page == 12 && chunk.index == 2 && chunk.text.contains(\"burrow\")",
        "document.metadata.nowhere == 1 || document.metadata.year == 2020",
        "(document.metadata.year == 2020) == true",
        "document.title == \"Womb\\u0061ts\" // with a comment",
        "false || true && true",
        "true || false == false && false == true",
        "!false && !!true",
    ] {
        assert_eq!(decide(text), Truth::True, "{text}");
    }
}

#[test]
fn what_does_not_hold_is_false() {
    for text in [
        "false",
        "document.id != \"doc-1\"",
        "\"mineral\" in document.tags",
        "document.title in []",
        "document.title.startsWith(\"ombats\")",
        "document.metadata.year == null",
        "document.metadata.none != null",
        "document.metadata.nowhere == 1 && document.metadata.year == 1",
        "has(document.metadata.nowhere)",
        "!(document.metadata.flag)",
        "document.metadata.numbers == [1, 2]",
        "\"er\" in document.metadata",
    ] {
        assert_eq!(decide(text), Truth::False, "{text}");
    }
}

#[test]
fn what_cannot_be_known_is_unknown() {
    for text in [
        "document.metadata.nowhere == 1",
        "document.metadata.nowhere != 1",
        "document.metadata.nowhere == null",
        "!(document.metadata.nowhere == 1)",
        "document.metadata.nowhere",
        "document.metadata.year",
        "document.metadata.year.month == 1",
        "document.metadata.name > 3",
        "document.metadata.name == 3",
        "document.metadata.flag < 3",
        "document.metadata.year / document.metadata.zero == 1",
        "1 % 0 == 1",
        "1e308 * 10 > 0",
        "document.metadata.name + 1 == 2",
        "document.metadata.year.contains(\"2\")",
        "size(document.metadata.year) > 0",
        "\"two\" in document.metadata.name",
        "3 in document.metadata.list",
        "document.metadata.year in [\"a\", 1]",
        "document.created_at > document.metadata.name",
        "document.metadata.nowhere == 1 || document.metadata.year == 1",
        "document.metadata.nowhere == 1 && document.metadata.year == 2020",
        "document.metadata.year || document.metadata.nowhere",
        "document.metadata.list == [1, 2, null]",
    ] {
        assert_eq!(decide(text), Truth::Unknown, "{text}");
    }
}

/// The refusal's detail, without the field.
fn refusal(result: Result<Filter>) -> String {
    let error = result.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
    let [violation] = error.violations.as_slice() else { panic!("one violation: {error:?}") };
    assert_eq!(violation.field, "filter");
    violation.detail.clone()
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    for (text, place, why) in [
        ("document.titel == \"x\"", 1, "unknown name document.titel; names are document.id"),
        ("true && title == \"x\"", 9, "unknown name title"),
        ("document == null", 1, "unknown name document;"),
        ("has(document)", 5, "unknown name document;"),
        (".document.title == \"x\"", 2, "unknown name .document.title"),
        ("document.title.length == 3", 1, "document.title has no fields"),
        ("document.tags[0] == \"x\"", 15, "only a text literal can stand in square brackets"),
        ("size(\"x\").y == 1", 5, "only names have fields"),
        ("\"x\".y == 1", 1, "only names have fields"),
        ("has(1)", 5, "only names have fields"),
        ("event.type == \"document.added\"", 1, "event.type is not known here"),
        ("document.title > 3", 16, "text > a number can never be known"),
        ("document.title == 3", 16, "text == a number can never be known"),
        ("document.metadata.x < null", 21, "anything < null can never be known"),
        ("document.metadata.x < true", 21, "anything < a boolean can never be known"),
        ("document.created_at == document.title", 21, "a time == text can never be known"),
        ("document.created_at > \"soon\"", 23, "a time is compared with RFC 3339"),
        ("document.created_at in [\"soon\"]", 24, "a time is compared with RFC 3339"),
        ("size(document.created_at) == 1", 6, "what size is asked of must be text or a list"),
        ("document.title", 1, "a filter must be a boolean, not text"),
        ("1 + 1", 1, "a filter must be a boolean, not a number"),
        ("document.title && true", 1, "an operand of && or || must be a boolean, not text"),
        ("!document.tags", 2, "what ! stands before must be a boolean, not a list"),
        ("-document.title == 1", 2, "what - stands before must be a number, not text"),
        ("document.title + \"x\" == \"y\"", 1, "an operand of arithmetic must be a number"),
        ("document.title in \"text\"", 19, "what follows in must be a list or an object, not text"),
        ("3 in document.tags", 1, "a number cannot be in a list or object of text"),
        ("3 in document.metadata", 1, "a number cannot be in a list or object of text"),
        ("document.title in [\"a\", 3]", 1, "text cannot be in a list or object of a number"),
        (
            "document.tags.contains(\"x\")",
            1,
            "what startsWith or contains is asked of must be text",
        ),
        ("document.title.contains(3)", 25, "what startsWith or contains looks for must be text"),
        ("document.title in [document.id]", 20, "a list holds only text, numbers, booleans"),
        ("document.title in [[\"x\"]]", 20, "a list holds only text, numbers, booleans"),
        (
            "document.tags.exists(t, t == \"x\")",
            21,
            "unknown function exists; there are has(field)",
        ),
        ("document.title.matches(\".*\")", 23, "unknown function matches"),
        ("document.title.endsWith(\"x\")", 24, "unknown function endsWith"),
        ("timestamp(\"x\") == 1", 10, "unknown function timestamp"),
        ("contains(document.title, \"x\")", 9, "contains is used as in has(field)"),
        ("has()", 4, "has is used as in has(field)"),
        ("document.title.size(1) == 1", 20, "size is used as in has(field)"),
        ("true ? true : false", 6, "there are no conditionals"),
        ("{\"a\": 1} == null", 1, "there are no map or message literals"),
        ("document.metadata.`odd key` == 1", 19, "there are no quoted names"),
        ("document.title = \"x\"", 16, "equality is =="),
        ("true & true", 6, "both is &&"),
        ("true | true", 6, "either is ||"),
        ("document.title == \"x", 19, "this string has no end"),
        ("document.title == \"x\ny\"", 19, "this string has no end"),
        ("document.title == \"\\q\"", 20, "unknown escape"),
        ("document.title == \"\\u12\"", 20, "unknown escape"),
        ("document.title == \"\\ud800\"", 19, "invalid string literal"),
        ("document.title == r\"x\"", 19, "strings have no prefix"),
        ("document.title == b'x'", 19, "strings have no prefix"),
        ("document.title == \"\"\"x\"\"\"", 21, "strings have one quote at each end"),
        ("document.metadata.x == 99999999999999999999", 24, "invalid int literal"),
        ("document.metadata.x == 1e999", 24, "invalid double literal"),
        ("document.metadata.x == 1in", 25, "malformed number"),
        ("document.metadata.in == 1", 18, "syntax error near \".in == 1\""),
        ("document.metadata.if == 1 && if", 30, "reserved identifier"),
        ("(true", 6, "ends before ')'"),
        ("true)", 5, "')' closes nothing"),
        ("(true]", 6, "']' where ')' must come first"),
        ("true &&", 8, "syntax error: the expression is not finished"),
        ("&& true", 1, "an operand is missing here"),
        ("true && && true", 9, "an operand is missing here"),
        ("true true", 6, "syntax error near \"true\""),
        ("'é' == 'é' + + 'é'", 14, "syntax error near \"+ 'é'\""),
        ("true &&\n true\n true", 16, "syntax error near \"true\""),
        ("'é' == @", 8, "unexpected character"),
        ("é == 1", 1, "unexpected character"),
    ] {
        let detail = refusal(search(text));
        let expected = format!("at character {place}: ");
        let found = detail.strip_prefix(&expected);
        assert!(found.is_some_and(|found| found.contains(why)), "{text}\n  {detail}");
    }
    assert_eq!(refusal(search(" \n")), "must not be blank");
}

#[test]
fn each_scope_has_its_names() {
    assert!(feed("event.type == \"document.added\" && document.title == \"x\"").is_ok());
    assert!(refusal(feed("chunk.text.contains(\"x\")")).contains("chunk.text is not known here"));
    for name in Name::ALL {
        let text = format!("has({})", name.as_str());
        assert_eq!(search(&text).is_ok(), name.is_in(FilterScope::Search), "{text}");
        assert_eq!(feed(&text).is_ok(), name.is_in(FilterScope::Feed), "{text}");
        assert!(search(&text).or_else(|_| feed(&text)).is_ok_and(|filter| filter.reads(*name)));
    }
    assert!(!search("document.title == \"x\"").is_ok_and(|filter| filter.reads(Name::ChunkText)));
}

#[test]
fn size_and_depth_are_bounded() {
    let padded = |bytes: usize| format!("true{}", " ".repeat(bytes - 4));
    assert!(search(&padded(1024)).is_ok());
    let error = search(&padded(1025)).expect_err("too large");
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(error.detail.contains("filter_bytes_max"), "{error}");

    let nest = |levels| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    assert!(search(&nest(32)).is_ok());
    assert!(refusal(search(&nest(33))).contains("at most 32 levels (filter_levels_max)"));
    let sum = |operators| format!("0{} == 1", " + 1".repeat(operators));
    assert!(search(&sum(31)).is_ok());
    assert!(refusal(search(&sum(32))).contains("filter_levels_max"));
    assert!(refusal(search(&format!("{}true", "!".repeat(33)))).contains("filter_levels_max"));

    // Chains of && and ||, and lists, are as long as they fit.
    assert!(search(&format!("true{}", "&&true".repeat(160))).is_ok());
    assert!(search(&format!("true{}", "||1==1".repeat(160))).is_ok());
    assert!(search(&format!("1 in [1{}]", ",1".repeat(500))).is_ok());
}

#[test]
fn conjuncts_have_the_shapes_that_an_index_knows() {
    let filter = search(
        "2020 <= document.metadata.year && (document.document_type in [\"a\"] && \"x\" in \
         document.tags) && (true || has(document.author))",
    )
    .expect("valid");
    let field = |name, path: &[&str]| {
        Box::new(Expr::Field(Field { name, path: path.iter().map(|&key| key.into()).collect() }))
    };
    let literal = |literal| Box::new(Expr::Literal(literal));
    let text = |text: &str| Literal::Text(text.to_owned());
    let [range, equality, membership, rest] = filter.conjuncts() else { panic!("{filter:?}") };
    assert_eq!(
        *range,
        Expr::Compare(
            Comparison::GreaterOrEqual,
            field(Name::DocumentMetadata, &["year"]),
            literal(Literal::Number(2020.0)),
        )
    );
    assert_eq!(
        *equality,
        Expr::In(field(Name::DocumentType, &[]), literal(Literal::List(vec![text("a")])))
    );
    assert_eq!(*membership, Expr::In(literal(text("x")), field(Name::DocumentTags, &[])));
    assert!(matches!(rest, Expr::Or(terms) if terms.len() == 2));
    assert_eq!(search("true").expect("valid").conjuncts().len(), 1);
}

fn change(kind: ChangeKind, library_id: LibraryId, batch_id: Option<BatchId>) -> ChangeHead {
    ChangeHead {
        epoch: Epoch(1),
        revision: Revision::ZERO,
        time: Timestamp::default(),
        events_before: 0,
        library_id,
        batch_id,
        request_id: None,
        kind,
    }
}

fn matches_of(filter: &str, change: &ChangeHead) -> Vec<Option<Match>> {
    let filter = feed(filter).unwrap_or_else(|error| panic!("{error}"));
    change.events().map(|event| filter.match_event(&event)).collect()
}

#[test]
fn the_end_of_a_library_matches_unless_the_expression_is_false_of_it() {
    let library_id = LibraryId::generate();
    let before = Library {
        id: library_id,
        name: LibraryName::parse("l").expect("a name"),
        description: String::new(),
        metric: Metric::Cosine,
        dimension: 2,
        embedder: EmbedderRef { id: "none".to_owned(), sha256: String::new() },
        index_type: IndexType::Auto,
        metadata: Metadata::default(),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(1),
        revision: Revision(1),
    };
    let kind = ChangeKind::LibraryDeleted { before, num_documents: 3, num_chunks: 5 };
    let gone = change(kind, library_id, None);
    for (filter, expected) in [
        ("document.metadata.n > 5", Some(Match::Matched)),
        ("!(document.metadata.n > 5)", Some(Match::Matched)),
        ("event.type == \"library.deleted\"", Some(Match::Matched)),
        ("event.type.startsWith(\"document.\")", None),
        ("event.type == \"document.added\" && document.title == \"x\"", None),
        ("has(document.metadata.n)", None),
    ] {
        assert_eq!(matches_of(filter, &gone), [expected], "{filter}");
    }
    let started = change(ChangeKind::BatchStarted, library_id, None);
    assert_eq!(matches_of("document.metadata.n > 5", &started), [None]);
}

#[test]
fn an_update_enters_stays_or_leaves() {
    let library_id = LibraryId::generate();
    let update = |before: i32, after: i32| {
        let kind = ChangeKind::DocumentUpdated {
            before: document(&json!({"n": before})),
            after: document(&json!({"n": after})),
            layout: vec![],
            next_slot: 0,
            removed: vec![],
            added: vec![],
        };
        matches_of("document.metadata.n > 5", &change(kind, library_id, None))
    };
    assert_eq!(update(1, 9), [Some(Match::Entered)]);
    assert_eq!(update(8, 9), [Some(Match::Stayed)]);
    assert_eq!(update(9, 1), [Some(Match::Left)]);
    assert_eq!(update(1, 2), [None]);
}

#[test]
fn other_events_match_or_not() {
    let (library_id, batch_id) = (LibraryId::generate(), BatchId::generate());
    let added = change(
        ChangeKind::DocumentAdded {
            document: document(&json!({"n": 1})),
            chunks: vec![chunk(&json!({"page": 1})), chunk(&json!({"page": 2}))],
        },
        library_id,
        Some(batch_id),
    );
    let deleted = change(
        ChangeKind::DocumentDeleted { before: document(&json!({"n": 2})), removed: vec![] },
        library_id,
        None,
    );
    let failed = change(
        ChangeKind::BatchFailed {
            counts: BatchCounts::default(),
            reason: BatchFailure::Interrupted,
        },
        library_id,
        Some(batch_id),
    );
    let matched = Some(Match::Matched);
    assert_eq!(matches_of("document.metadata.n == 1", &added), [matched; 3]);
    assert_eq!(matches_of("chunk.metadata.page == 2", &added), [None, None, matched]);
    assert_eq!(matches_of("!has(chunk.index)", &added), [matched, None, None]);
    assert_eq!(matches_of("event.type == \"chunk.added\"", &added), [None, matched, matched]);
    assert_eq!(matches_of(&format!("event.batch_id == \"{batch_id}\""), &added), [matched; 3]);
    assert_eq!(matches_of("document.metadata.n == 2", &deleted), [matched]);
    assert_eq!(matches_of("has(event.batch_id)", &deleted), [None]);
    assert_eq!(matches_of(&format!("event.library_id == \"{library_id}\""), &failed), [matched]);
    assert_eq!(matches_of("document.title != \"x\"", &failed), [None]);
    assert_eq!(matches_of("!has(document.title)", &failed), [matched]);
}

// ------------------------------------------------------------------------------------------------
// The oracle: an expression of its own, decided naively over one JSON object.

/// An expression as a test makes it.
#[derive(Debug, Clone)]
enum Tree {
    /// Text in the filter, and what it stands for (`None`: nothing).
    Leaf(String, Option<Json>),
    Has(String, bool),
    Infix(&'static str, Box<Tree>, Box<Tree>),
    Prefix(&'static str, Box<Tree>),
    Method(&'static str, Box<Tree>, Box<Tree>),
    Size(Box<Tree>),
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Leaf(text, _) => text.clone(),
            Self::Has(text, _) => format!("has({text})"),
            Self::Infix(operator, left, right) => {
                format!("({} {operator} {})", left.text(), right.text())
            }
            Self::Prefix(operator, of) => format!("{operator}({})", of.text()),
            Self::Method(name, of, argument) => {
                format!("({}).{name}({})", of.text(), argument.text())
            }
            Self::Size(of) => format!("size({})", of.text()),
        }
    }

    /// Its value as JSON; `None` where it has none. Booleans are JSON booleans.
    fn value(&self) -> Option<Json> {
        match self {
            Self::Leaf(_, value) => value.clone(),
            Self::Has(_, is) => Some(json!(is)),
            Self::Prefix("!", of) => Some(json!(!of.value()?.as_bool()?)),
            Self::Prefix(_, of) => Some(json!(-of.value()?.as_f64()?)),
            Self::Size(of) => match of.value()? {
                Json::String(text) => Some(json!(text.chars().count())),
                Json::Array(items) => Some(json!(items.len())),
                Json::Object(object) => Some(json!(object.len())),
                Json::Null | Json::Bool(_) | Json::Number(_) => None,
            },
            Self::Method(name, of, argument) => {
                let (of, argument) = (of.value()?, argument.value()?);
                let (of, argument) = (of.as_str()?, argument.as_str()?);
                Some(json!(if *name == "contains" {
                    of.find(argument).is_some()
                } else {
                    of.get(..argument.len()) == Some(argument)
                }))
            }
            Self::Infix(operator, left, right) => apply(operator, left.value(), right.value()),
        }
    }
}

fn apply(operator: &str, left: Option<Json>, right: Option<Json>) -> Option<Json> {
    // The two connectives are tables over {true, false, unknown}.
    if operator == "&&" || operator == "||" {
        let side = |side: Option<Json>| side.and_then(|side| side.as_bool());
        let sides = [side(left), side(right)];
        let absorbing = operator == "||";
        return if sides.contains(&Some(absorbing)) {
            Some(json!(absorbing))
        } else if sides.contains(&None) {
            None
        } else {
            Some(json!(!absorbing))
        };
    }
    let (left, right) = (left?, right?);
    match operator {
        "==" => json_equal(&left, &right).map(|is| json!(is)),
        "!=" => json_equal(&left, &right).map(|is| json!(!is)),
        "in" => match &right {
            Json::Object(object) => left.as_str().map(|key| json!(object.contains_key(key))),
            Json::Array(items) => {
                let each: Vec<_> = items.iter().map(|item| json_equal(&left, item)).collect();
                if each.contains(&Some(true)) {
                    Some(json!(true))
                } else {
                    (!each.contains(&None)).then_some(Json::Bool(false))
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
        },
        "<" | "<=" | ">" | ">=" => {
            let (below, same) = match (&left, &right) {
                (Json::Number(left), Json::Number(right)) => {
                    (left.as_f64()? < right.as_f64()?, left.as_f64()? == right.as_f64()?)
                }
                (Json::String(left), Json::String(right)) => (left < right, left == right),
                _ => return None,
            };
            Some(json!(match operator {
                "<" => below,
                "<=" => below || same,
                ">" => !below && !same,
                _ => !below,
            }))
        }
        _ => {
            let (left, right) = (left.as_f64()?, right.as_f64()?);
            let result = match operator {
                "+" => left + right,
                "-" => left - right,
                "*" => left * right,
                "/" => left / right,
                _ => left % right,
            };
            // JSON has no infinities: they become null here, which would be a value.
            serde_json::Number::from_f64(result).map(Json::Number)
        }
    }
}

fn json_equal(left: &Json, right: &Json) -> Option<bool> {
    if left.is_null() || right.is_null() {
        return Some(left.is_null() && right.is_null());
    }
    let pairs: Vec<(&Json, &Json)> = match (left, right) {
        (Json::Bool(left), Json::Bool(right)) => return Some(left == right),
        (Json::Number(left), Json::Number(right)) => return Some(left.as_f64() == right.as_f64()),
        (Json::String(left), Json::String(right)) => return Some(left == right),
        (Json::Array(left), Json::Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).collect()
        }
        (Json::Object(left), Json::Object(right)) if left.keys().eq(right.keys()) => {
            left.values().zip(right.values()).collect()
        }
        (Json::Array(_), Json::Array(_)) | (Json::Object(_), Json::Object(_)) => {
            return Some(false);
        }
        _ => return None,
    };
    let each: Vec<_> = pairs.into_iter().map(|(left, right)| json_equal(left, right)).collect();
    if each.contains(&Some(false)) { Some(false) } else { (!each.contains(&None)).then_some(true) }
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(|is| json!(is)),
        4 => (-3..4i32).prop_map(|number| json!(number)),
        1 => (-2..3i32).prop_map(|number| json!(f64::from(number) / 4.0)),
        4 => "[ab]{0,2}".prop_map(|text| json!(text)),
        1 => "[\\PC\n\t\"\\\\]{0,3}".prop_map(|text| json!(text)),
    ]
}

/// What metadata may hold, two levels deep, with few keys so that paths hit.
fn json_value() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            proptest::collection::btree_map("[abc]", inner, 0..3)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn json_object() -> impl Strategy<Value = Json> {
    proptest::collection::btree_map("[abc]", json_value(), 0..4)
        .prop_map(|map| Json::Object(map.into_iter().collect()))
}

fn literal_text(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            format!("[{}]", items.iter().map(literal_text).collect::<Vec<_>>().join(","))
        }
        Json::String(text) => {
            let escaped: String =
                text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
            format!("'{escaped}'")
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_) => json.to_string(),
    }
}

fn literal(json: impl Strategy<Value = Json>) -> impl Strategy<Value = Tree> {
    json.prop_map(|json| Tree::Leaf(literal_text(&json), Some(json)))
}

/// A path into the metadata, found by the oracle's own walk.
fn path(object: Json) -> impl Strategy<Value = (String, Option<Json>)> {
    proptest::collection::vec(("[abc]", any::<bool>()), 1..3).prop_map(move |keys| {
        let mut text = "document.metadata".to_owned();
        let mut found = Some(&object);
        for (key, dotted) in keys {
            text += &if dotted { format!(".{key}") } else { format!("['{key}']") };
            found = found.and_then(Json::as_object).and_then(|object| object.get(&key));
        }
        (text, found.cloned())
    })
}

fn infix(
    operators: &'static [&'static str],
    left: impl Strategy<Value = Tree>,
    right: impl Strategy<Value = Tree>,
) -> impl Strategy<Value = Tree> {
    (proptest::sample::select(operators), left, right)
        .prop_map(|(operator, left, right)| Tree::Infix(operator, Box::new(left), Box::new(right)))
}

fn tree(object: &Json) -> impl Strategy<Value = Tree> + use<> {
    let document = document(object);
    let leaf = |text: &str, value| Tree::Leaf(text.to_owned(), value);
    let title = leaf("document.title", Some(json!(document.title)));
    let author = leaf("document.author", Some(json!("")));
    let tags = leaf("document.tags", Some(json!(document.tags)));
    let metadata = leaf("document.metadata", Some(object.clone()));
    let absent = leaf("chunk.metadata.a", None);
    let field = {
        let object = object.clone();
        move || path(object.clone()).prop_map(|(text, value)| Tree::Leaf(text, value)).boxed()
    };
    let has = {
        let known = [("document.author", false), ("document.title", true), ("chunk.index", false)];
        prop_oneof![
            path(object.clone()).prop_map(|(text, value)| Tree::Has(text, value.is_some())),
            proptest::sample::select(known.to_vec())
                .prop_map(|(text, is)| Tree::Has(text.to_owned(), is)),
        ]
    };
    let sized = prop_oneof![
        6 => field(),
        1 => proptest::sample::select(vec![title.clone(), tags.clone(), metadata.clone()]),
    ];
    let number = prop_oneof![
        3 => field(),
        3 => literal((-3..4i32).prop_map(|number| json!(number))),
        1 => literal((-2..3i32).prop_map(|number| json!(f64::from(number) / 4.0))),
        1 => sized.prop_map(|of| Tree::Size(Box::new(of))),
    ]
    .prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            3 => infix(&["+", "-", "*", "/", "%"], inner.clone(), inner.clone()),
            1 => inner.prop_map(|of| Tree::Prefix("-", Box::new(of))),
        ]
    });
    let text = prop_oneof![
        4 => field(),
        2 => literal("[ab]{0,2}".prop_map(|text| json!(text))),
        1 => proptest::sample::select(vec![title, author]),
    ];
    let list = prop_oneof![
        2 => field(),
        2 => literal(proptest::collection::vec(scalar(), 0..3).prop_map(Json::Array)),
        1 => Just(tags),
    ];
    let value = prop_oneof![
        4 => field(),
        2 => literal(scalar()),
        1 => number.clone(),
        1 => list.clone(),
        1 => Just(metadata.clone()),
        1 => Just(absent),
    ];
    let method = proptest::sample::select(&["contains", "startsWith"][..]);
    let boolean = prop_oneof![
        3 => infix(&["==", "!=", "in"], field(), value.clone()),
        2 => infix(&["==", "!="], value.clone(), value.clone()),
        2 => infix(&["<", "<=", ">", ">=", "=="], number.clone(), number),
        1 => infix(&["<", "<=", ">", ">=", "=="], text.clone(), text.clone()),
        2 => infix(&["in"], value, list),
        1 => infix(&["in"], text.clone(), Just(metadata)),
        1 => (method, text.clone(), text).prop_map(|(name, of, argument)| {
            Tree::Method(name, Box::new(of), Box::new(argument))
        }),
        1 => has,
        1 => field(),
        1 => literal(any::<bool>().prop_map(|is| json!(is))),
    ];
    boolean.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            4 => infix(&["&&", "||"], inner.clone(), inner.clone()),
            1 => infix(&["==", "!="], inner.clone(), inner.clone()),
            2 => inner.prop_map(|of| Tree::Prefix("!", Box::new(of))),
        ]
    })
}

/// A document's metadata, and an expression that looks at it.
fn case() -> impl Strategy<Value = (Json, Tree)> {
    json_object().prop_flat_map(|object| {
        let tree = tree(&object);
        (Just(object), tree)
    })
}

fn roomy() -> Limits {
    Limits { filter_bytes_max: 1 << 16, filter_levels_max: 64, ..Limits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3_000,
        max_global_rejects: 6_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_evaluator_agrees_with_the_oracle((object, tree) in case()) {
        let text = tree.text();
        // Random trees are often ill-typed, and then must be refused for that reason alone; too
        // many of those fail the test.
        let filter = match Filter::parse(&text, FilterScope::Search, &roomy()) {
            Ok(filter) => filter,
            Err(error) => {
                let typed = ["must be", "can never be known", "cannot be in"];
                prop_assert!(typed.iter().any(|why| error.detail.contains(why)), "{text}: {error}");
                return Err(TestCaseError::reject("ill-typed"));
            }
        };
        let document = document(&object);
        let fields = FieldsOf::document(&document);
        let expected = match tree.value().and_then(|value| value.as_bool()) {
            Some(true) => Truth::True,
            Some(false) => Truth::False,
            None => Truth::Unknown,
        };
        prop_assert_eq!(filter.eval(&fields), expected, "{} of {}", text, object);

        let printed = filter.to_string();
        let again = Filter::parse(&printed, FilterScope::Search, &roomy());
        prop_assert_eq!(again, Ok(filter), "{} printed as {}", text, printed);
    }

    #[test]
    fn conjuncts_of_a_match_are_all_true((object, tree) in case()) {
        let Ok(filter) = Filter::parse(&tree.text(), FilterScope::Search, &roomy()) else {
            return Err(TestCaseError::reject("ill-typed"));
        };
        let document = document(&object);
        let fields = FieldsOf::document(&document);
        let all = filter.conjuncts().iter().all(|term| eval::truth(term, &fields) == Truth::True);
        prop_assert_eq!(filter.matches(&fields), all);
    }
}

/// Pieces that open, chain, nest and break.
const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    ".",
    ",",
    "<",
    "<=",
    ">",
    ">=",
    "==",
    "!=",
    "&&",
    "||",
    " in ",
    "?",
    ":",
    "{",
    "}",
    "\"",
    "'",
    "`",
    "\\",
    "\\u0061",
    "r'",
    "b\"",
    "'''",
    "//",
    "\n",
    " ",
    "a",
    "document.title",
    "document.metadata.a",
    "[\"k\"]",
    "'s'",
    "1",
    "2.5",
    "1e3",
    "0x",
    ".5",
    "u",
    "true",
    "null",
    "if",
    "has(",
    "size(",
    ".contains(",
    "é",
    "\u{1F600}",
    "\0",
    "@",
    "=",
    "&",
];

/// Runs on a quarter of the stack that the server's threads have.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(run)
        .expect("a thread")
        .join()
        .expect("no panic");
}

#[test]
fn chains_and_nests_of_one_piece_never_overflow_the_stack() {
    on_a_small_stack(|| {
        let limits = Limits::default();
        for piece in PIECES {
            for other in PIECES {
                for operand in ["", "a", "1", "true", "document.metadata.a"] {
                    let unit = format!("{operand}{piece}{operand}{other}");
                    let text = unit.repeat(limits.filter_bytes_max / unit.len());
                    let _ = Filter::parse(&text, FilterScope::Feed, &limits);
                    let _ = Filter::parse(&(text + "a"), FilterScope::Feed, &limits);
                }
            }
        }
        // Closed nests, and the longest that are allowed.
        for (open, close) in [("(", ")"), ("!(", ")"), ("-(1-", ")"), ("[", "]"), ("size(", ")")] {
            for levels in 1..200 {
                let text = format!("{}a{}", open.repeat(levels), close.repeat(levels));
                let _ = Filter::parse(&text, FilterScope::Feed, &limits);
            }
        }
    });
}

#[test]
fn the_highest_tree_is_parsed_decided_and_printed_on_a_small_stack() {
    on_a_small_stack(|| {
        let limits = Limits::default();
        let deepest = (1..200)
            .map(|levels| format!("{}true{}", "!(false||true&&".repeat(levels), ")".repeat(levels)))
            .take_while(|text| Filter::parse(text, FilterScope::Feed, &limits).is_ok())
            .last()
            .expect("one level is allowed");
        let filter = Filter::parse(&deepest, FilterScope::Feed, &limits).expect("parsed");
        assert_ne!(filter.eval(&FieldsOf::default()), Truth::Unknown);
        assert!(deepest.matches('!').count() >= 15, "{deepest}");
        assert!(filter.to_string().len() > 100);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_never_panics(
        texts in proptest::collection::vec(
            proptest::collection::vec(proptest::sample::select(PIECES), 0..150),
            20,
        ),
        noise in "\\PC{0,300}",
    ) {
        on_a_small_stack(move || {
            for text in texts.into_iter().map(|pieces| pieces.concat()).chain([noise]) {
                let _ = Filter::parse(&text, FilterScope::Feed, &Limits::default());
                // Beyond the byte limit too, as the depth alone must be enough.
                let _ = Filter::parse(&text, FilterScope::Feed, &Limits {
                    filter_bytes_max: 1 << 16,
                    ..Limits::default()
                });
            }
        });
    }
}
