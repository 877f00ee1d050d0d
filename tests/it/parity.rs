//! gRPC and HTTP are one API: one script through both gives equal values, order and faults.

use std::collections::{HashMap, HashSet};

use arrwdb::api::fault::Fault as Row;
use arrwdb::types::{Error, ErrorKind};
use serde_json::{Value, json};
use tonic::Code;

use crate::grpc_wire::{self, Grpc};
use crate::harness::Server;
use crate::wire::{EventsQuery, Fault, Http, Outcome, Wire, kinds, text};

/// Names for what differs from run to run, in the order of appearance.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(object) => {
                let mut fields: Vec<_> = object.iter().collect();
                fields.sort_by_key(|(name, _)| *name);
                let named = |(key, value): (&String, &Value)| (key.clone(), self.value(value));
                Value::Object(fields.into_iter().map(named).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (name, length) = if let Some(cursor) = rest.get(..40).filter(|s| is_hex(s)) {
                (format!("<cursor {}>", &cursor[16..]), 40)
            } else if let Some(uuid) = rest.get(..36).filter(|s| is_uuid(s)) {
                let next = self.0.len();
                (format!("<id {}>", self.0.entry(uuid.to_owned()).or_insert(next)), 36)
            } else if rest.get(..27).is_some_and(is_time) {
                ("<time>".to_owned(), 27)
            } else {
                (first.to_string(), first.len_utf8())
            };
            out += &name;
            rest = &rest[length..];
        }
        out
    }

    fn fault(&mut self, fault: &Fault) -> Fault {
        let violations = fault.violations.iter();
        Fault {
            slug: fault.slug.clone(),
            detail: self.text(&fault.detail),
            violations: violations.map(|(f, d)| (f.clone(), self.text(d))).collect(),
            retry_after_ms: fault.retry_after_ms,
            floor_cursor: fault.floor_cursor.as_deref().map(|cursor| self.text(cursor)),
        }
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => b == b'-',
        _ => b.is_ascii_hexdigit(),
    })
}

fn is_time(text: &str) -> bool {
    arrwdb::types::Timestamp::parse(text).is_some_and(|time| time.to_string() == text)
}

/// What a script did, step by step.
#[derive(Default)]
struct Steps {
    names: Names,
    done: Vec<(String, Outcome)>,
    /// Faults of another kind than expected.
    wrong: Vec<String>,
}

impl Steps {
    /// Notes a step that must succeed; gives what it gave.
    fn ok(&mut self, label: &str, outcome: Outcome) -> Value {
        let value = outcome.unwrap_or_else(|fault| panic!("{label}: {fault:?}"));
        let named = self.names.value(&value);
        self.done.push((label.to_owned(), Ok(named)));
        value
    }

    /// Notes a step that must be refused with a slug.
    fn refused(&mut self, label: &str, slug: &str, outcome: Outcome) {
        let fault = outcome.expect_err(label);
        if fault.slug != slug {
            self.wrong.push(format!("{label}: not {slug} but {fault:?}"));
        }
        let named = self.names.fault(&fault);
        self.done.push((label.to_owned(), Err(named)));
    }
}

/// What one transport shows and the other has no place for.
fn without(mut value: Value, keys: &[&str]) -> Value {
    match &mut value {
        Value::Array(items) => items.iter().map(|item| without(item.clone(), keys)).collect(),
        Value::Object(object) => {
            object.retain(|key, _| !keys.contains(&key.as_str()));
            value
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn revision_of(value: &Value) -> u64 {
    text(&value["revision"]).parse().expect("a revision")
}

async fn libraries<W: Wire>(wire: &W, steps: &mut Steps) {
    let full = json!({"name": "täglich/neu", "description": "Text", "metric": "dot",
        "embedder": "none", "dimension": 3, "index_type": "flat",
        "metadata": {"n": 1, "half": 0.5, "list": [true, null, "x"], "deep": {"er": {}}}});
    let created = steps.ok("create with everything", wire.create_library(full, "").await);
    let id = text(&created["id"]);
    steps.ok("create with a name", wire.create_library(json!({"name": "default"}), "r1").await);
    steps.ok("create again", wire.create_library(json!({"name": "default"}), "r1").await);
    for (label, slug, body) in [
        ("no name", "invalid-argument", json!({"name": ""})),
        ("blank name", "invalid-argument", json!({"name": " x"})),
        ("a name like an id", "invalid-argument", json!({"name": id})),
        ("a name twice", "already-exists", json!({"name": "täglich/neu"})),
        ("an unknown embedder", "invalid-argument", json!({"name": "a", "embedder": "magic"})),
        ("no dimension", "invalid-argument", json!({"name": "a", "embedder": "none"})),
        ("another dimension", "invalid-argument", json!({"name": "a", "dimension": 3})),
        (
            "dimension 0",
            "invalid-argument",
            json!({"name": "a", "embedder": "none", "dimension": 0}),
        ),
        (
            "a dimension too large",
            "invalid-argument",
            json!({"name": "a", "embedder": "none", "dimension": 8193}),
        ),
        ("an unknown metric", "invalid-argument", json!({"name": "a", "metric": "manhattan"})),
        ("an unknown index", "invalid-argument", json!({"name": "a", "index_type": "tree"})),
        ("a long description", "too-large", json!({"name": "a", "description": "x".repeat(5000)})),
        (
            "deep metadata",
            "invalid-argument",
            json!({"name": "a", "metadata": {"1":{"2":{"3":{"4":{"5":{"6":{"7":{"8":{"9":1}}}}}}}}}}),
        ),
    ] {
        steps.refused(label, slug, wire.create_library(body, "").await);
    }
    let outcome = wire.create_library(json!({"name": "a"}), "two words").await;
    steps.refused("a wrong request id", "invalid-argument", outcome);

    steps.ok("get by id", wire.get_library(&id, None).await);
    steps.ok("get by name", wire.get_library("täglich/neu", Some(1)).await);
    steps.refused("get no name", "not-found", wire.get_library("nobody", None).await);
    let absent = "01890000-0000-7000-8000-000000000000";
    steps.refused("get no id", "not-found", wire.get_library(absent, None).await);
    let late = wire.get_library(&id, Some(1_000_000)).await;
    steps.refused("wait in vain", "deadline-exceeded", late);

    for name in ["m", "k", "l"] {
        let body = json!({"name": name, "embedder": "none", "dimension": 2});
        steps.ok("create one more", wire.create_library(body, "").await);
    }
    let mut token = String::new();
    loop {
        let page = steps.ok("page", wire.list_libraries(2, &token).await);
        token = text(&page["next_page_token"]);
        if token.is_empty() {
            break;
        }
    }
    steps.refused("a wrong token", "invalid-argument", wire.list_libraries(2, " ?").await);

    let patch = json!({"description": "", "metadata": {"b": 2}});
    let revision = revision_of(&created);
    let updated = steps.ok("update", wire.update_library(&id, patch, Some(revision)).await);
    let patch = json!({"name": "heute"});
    let stale = wire.update_library(&id, patch.clone(), Some(revision)).await;
    steps.refused("update what changed", "conflict", stale);
    let fresh = wire.update_library(&id, patch, Some(revision_of(&updated))).await;
    steps.ok("rename", fresh);
    steps.refused("the old name", "not-found", wire.get_library("täglich/neu", None).await);
    let taken = wire.update_library("heute", json!({"name": "default"}), None).await;
    steps.refused("rename to a taken name", "already-exists", taken);
    let other = wire.update_library("nobody", json!({"description": "x"}), None).await;
    steps.refused("update nobody", "not-found", other);

    let statistics = wire.library_statistics("heute").await;
    steps.ok("statistics", statistics);
    steps.refused("statistics of nobody", "not-found", wire.library_statistics("no").await);
    steps.refused("delete what changed", "conflict", wire.delete_library("k", Some(1)).await);
    steps.ok("delete", wire.delete_library("k", None).await);
    steps.refused("delete again", "not-found", wire.delete_library("k", None).await);
}

async fn documents<W: Wire>(wire: &W, steps: &mut Steps) {
    let full = json!({"id": "a/b:c@d.e_f-0", "title": "Heron ü", "author": "A. Uthor",
        "document_type": "note", "source_url": "https://example.org/?a=b", "tags": ["x", "y"],
        "metadata": {"n": 7, "nested": {"list": [1, 2.5, null]}},
        "chunks": [{"text": "one", "embedding": [1.0, 0.25], "metadata": {"page": 1}},
            {"text": "", "embedding": [0.1, -2.0]}]});
    let created = steps.ok("create", wire.create_document("m", full.clone(), "d1").await);
    let id = "a/b:c@d.e_f-0";
    steps.ok("create again", wire.create_document("m", full.clone(), "d1").await);
    steps.refused("create twice", "already-exists", wire.create_document("m", full, "").await);
    let vector = |x: f64| json!([{"text": "t", "embedding": [x, 1.0]}]);
    let named = json!({"title": "Made by the server", "chunks": vector(0.5)});
    let other = steps.ok("create without an id", wire.create_document("m", named, "").await);
    let split = json!({"id": "split", "title": "Split", "text": "One sentence. ".repeat(200)});
    steps.ok("create from one text", wire.create_document("default", split, "").await);
    let texts = json!({"id": "texts", "title": "Texts", "texts": ["a wading bird", "a river"]});
    steps.ok("create from texts", wire.create_document("default", texts, "").await);

    let long = "x".repeat(129);
    for (label, slug, library, body) in [
        ("no library", "not-found", "nobody", json!({"title": "t", "texts": ["x"]})),
        ("no title", "invalid-argument", "default", json!({"title": "", "texts": ["x"]})),
        ("blank title", "invalid-argument", "default", json!({"title": " ", "texts": ["x"]})),
        ("long title", "too-large", "default", json!({"title": "x".repeat(1025), "texts": ["x"]})),
        ("no content", "invalid-argument", "default", json!({"title": "t", "texts": []})),
        ("blank text", "invalid-argument", "default", json!({"title": "t", "texts": ["x", " "]})),
        (
            "two contents",
            "invalid-argument",
            "default",
            json!({"title": "t", "texts": ["x"], "text": "y"}),
        ),
        (
            "a wrong id",
            "invalid-argument",
            "default",
            json!({"id": "a b", "title": "t", "texts": ["x"]}),
        ),
        (
            "a long id",
            "invalid-argument",
            "default",
            json!({"id": long, "title": "t", "texts": ["x"]}),
        ),
        (
            "too many tags",
            "too-large",
            "default",
            json!({"title": "t", "texts": ["x"], "tags": vec!["t"; 65]}),
        ),
        (
            "a long tag",
            "too-large",
            "default",
            json!({"title": "t", "texts": ["x"], "tags": ["x".repeat(65)]}),
        ),
        (
            "an empty tag",
            "invalid-argument",
            "default",
            json!({"title": "t", "texts": ["x"], "tags": [""]}),
        ),
        (
            "large metadata",
            "too-large",
            "default",
            json!({"title": "t", "texts": ["x"], "metadata": {"a": "x".repeat(70_000)}}),
        ),
        (
            "large chunk metadata",
            "too-large",
            "m",
            json!({"title": "t", "chunks": [{"text": "x", "embedding": [1, 2],
                "metadata": {"a": "x".repeat(70_000)}}]}),
        ),
        ("text without embedder", "invalid-argument", "m", json!({"title": "t", "texts": ["x"]})),
        (
            "a wrong dimension",
            "invalid-argument",
            "m",
            json!({"title": "t", "chunks": [{"text": "x", "embedding": [1, 2, 3]}]}),
        ),
        (
            "a zero vector",
            "invalid-argument",
            "m",
            json!({"title": "t", "chunks": [{"text": "x", "embedding": [0, 0]}]}),
        ),
    ] {
        steps.refused(label, slug, wire.create_document(library, body, "").await);
    }

    steps.ok("get", wire.get_document("m", id).await);
    steps.refused("get nobody", "not-found", wire.get_document("m", "nobody").await);
    steps.refused("get nowhere", "not-found", wire.get_document("nobody", id).await);
    for n in 0..5 {
        let body = json!({"id": format!("p{n}"), "title": format!("Page {n}"),
            "chunks": vector(f64::from(n))});
        steps.ok("create one more", wire.create_document("m", body, "").await);
    }
    for all in [false, true] {
        let mut token = String::new();
        loop {
            let page = steps.ok("page", wire.list_documents("m", 3, &token, all).await);
            token = text(&page["next_page_token"]);
            if token.is_empty() {
                break;
            }
        }
    }
    let wrong = wire.list_documents("m", 3, "x", false).await;
    steps.refused("a wrong token", "invalid-argument", wrong);

    let revision = revision_of(&created);
    let patch = json!({"title": "New", "author": null, "tags": [], "metadata": null});
    let updated = wire.update_document("m", id, patch.clone(), Some(revision)).await;
    let updated = steps.ok("update all but content", updated);
    let stale = wire.update_document("m", id, patch, Some(revision)).await;
    steps.refused("update what changed", "conflict", stale);
    let patch = json!({"chunks": [{"text": "new", "embedding": [3, 4]},
        {"text": "one", "embedding": [1.0, 0.25], "metadata": {"page": 2}}]});
    let outcome = wire.update_document("m", id, patch, Some(revision_of(&updated))).await;
    steps.ok("update content", outcome);
    for (label, patch) in [
        ("no chunks", json!({"chunks": []})),
        ("a blank title", json!({"title": " "})),
        ("a wrong vector", json!({"chunks": [{"text": "x", "embedding": [1]}]})),
    ] {
        let outcome = wire.update_document("m", id, patch, None).await;
        steps.refused(label, "invalid-argument", outcome);
    }
    let nobody = wire.update_document("m", "nobody", json!({"title": "x"}), None).await;
    steps.refused("update nobody", "not-found", nobody);
    let stale = wire.delete_document("m", id, Some(revision)).await;
    steps.refused("delete what changed", "conflict", stale);
    steps.ok("delete", wire.delete_document("m", &text(&other["id"]), None).await);
    let again = wire.delete_document("m", &text(&other["id"]), None).await;
    steps.refused("delete again", "not-found", again);
    let body = json!({"title": "Gone", "chunks": vector(9.0)});
    let gone = steps.ok("create", wire.create_document("m", body.clone(), "gone").await);
    steps.ok("delete it", wire.delete_document("m", &text(&gone["id"]), None).await);
    let retry = wire.create_document("m", body, "gone").await;
    steps.refused("retry what is deleted", "failed-precondition", retry);
    let misused = wire.create_library(json!({"name": "z"}), "d1").await;
    steps.refused("a request id for another request", "invalid-argument", misused);
}

async fn ingest<W: Wire>(wire: &W, steps: &mut Steps) {
    let items = [
        json!({"id": "i1", "title": "One", "chunks": [{"text": "a", "embedding": [1, 0]}]}),
        json!({"id": "i2", "title": "", "chunks": [{"text": "a", "embedding": [1, 0]}]}),
        json!({"id": "i1", "title": "Again", "chunks": [{"text": "a", "embedding": [1, 0]},
            {"text": "b", "embedding": [0.5, 0.5]}]}),
        json!({"id": "i3", "title": "Wrong", "chunks": [{"text": "a", "embedding": [1]}]}),
        json!({"id": "i4", "title": "Text", "texts": ["no embedder here"]}),
    ];
    for on_conflict in ["replace", "skip", "fail"] {
        for report in ["all", "failures", "summary"] {
            let label = format!("ingest {on_conflict} {report}");
            let mut lines = steps_sorted(wire.ingest("l", on_conflict, report, &items).await);
            steps.ok(&label, Ok(lines.take()));
        }
    }
    let nowhere = wire.ingest("nobody", "replace", "all", &items).await;
    steps.refused("ingest nowhere", "not-found", nowhere);
    let wrong = wire.ingest("l", "perhaps", "all", &items).await;
    steps.refused("a wrong on_conflict", "invalid-argument", wrong);
    let wrong = wire.ingest("l", "replace", "some", &items).await;
    steps.refused("a wrong report", "invalid-argument", wrong);
}

/// When an item is read and when another is done are two clocks: `processing` comes first here.
fn steps_sorted(outcome: Outcome) -> Value {
    let mut lines = outcome.expect("an answer");
    let lines = lines.as_array_mut().expect("lines");
    lines.sort_by_key(|line| line["status"] != "processing");
    Value::Array(std::mem::take(lines))
}

async fn search<W: Wire>(wire: &W, steps: &mut Steps) {
    for body in [
        json!({"embedding": [1, 0.1]}),
        json!({"embedding": [1, 0.1], "k": 2, "include_text": false}),
        json!({"embedding": [1, 0.1], "k": 1000, "distance_threshold": 0.1}),
        json!({"queries": [{"embedding": [1, 0], "k": 1}, {"embedding": [0, 1]}], "k": 3}),
        json!({"queries": [{"embedding": [1, 0], "distance_threshold": 0.5},
            {"embedding": [0, -1], "k": 2}], "distance_threshold": 0.01}),
        json!({"embedding": [1, 0.1], "k": 100, "filter": "chunk.index == 0"}),
        json!({"embedding": [1, 0.1], "k": 100, "filter": "chunk.index != 0", "distance_threshold": 1}),
        json!({"embedding": [1, 0.1], "k": 100, "filter": "size(document.metadata) == 0"}),
        json!({"embedding": [1, 0.1], "filter": "has(document.metadata.nothing)"}),
        json!({"embedding": [1, 0.1], "filter": ""}),
        json!({"queries": [{"embedding": [1, 0], "filter": "chunk.index == 0"},
            {"embedding": [0, 1]}, {"embedding": [0, 1], "filter": ""}], "filter": "false"}),
    ] {
        steps.ok(&body.to_string(), wire.search("m", body.clone()).await);
        if body.get("queries").is_none() {
            steps.ok(&format!("streamed {body}"), wire.stream_search("m", body).await);
        }
    }
    let body = json!({"query": "a bird that wades", "k": 3});
    steps.ok("by text", wire.search("default", body.clone()).await);
    steps.ok("by text, streamed", wire.stream_search("default", body).await);
    for body in [
        json!({"query": "a bird", "mode": "hybrid", "explain": true}),
        json!({"query": "a bird", "weights": {"vector": 1, "text": 3}, "explain": true}),
        json!({"query": "a bird", "mode": "text", "explain": true}),
        json!({"query": "a bird", "mode": "vector", "explain": true}),
        json!({"query": "a bird", "distance_threshold": 0.9, "explain": true}),
        json!({"query": "a bird", "group_by": "document", "filter": "chunk.index == 0"}),
        json!({"queries": [{"query": "a bird"}, {"query": "a bird", "mode": "vector"},
            {"query": "a bird", "mode": "hybrid", "weights": {"vector": 1, "text": 1}}],
            "mode": "text", "explain": true}),
    ] {
        steps.ok(&body.to_string(), wire.search("default", body.clone()).await);
        if body.get("queries").is_none() {
            steps.ok(&format!("streamed {body}"), wire.stream_search("default", body).await);
        }
    }
    for (slug, library, body) in [
        ("not-found", "nobody", json!({"query": "x"})),
        ("invalid-argument", "m", json!({"query": "no embedder"})),
        ("invalid-argument", "default", json!({"query": " "})),
        ("invalid-argument", "m", json!({})),
        ("invalid-argument", "m", json!({"embedding": [1, 2, 3]})),
        ("invalid-argument", "m", json!({"embedding": [0, 0]})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "query": "x"})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "k": 0})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "filter": "document.titel == 1"})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "filter": "chunk.index == \"x\""})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "filter": "event.type == \"x\""})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "filter": "document.title =="})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "filter": " "})),
        ("too-large", "m", json!({"embedding": [1, 2], "filter": " ".repeat(1_025)})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "ef": 0})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "mode": "hybrid"})),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "mode": "text"})),
        ("invalid-argument", "m", json!({"query": "no embedder", "mode": "text"})),
        ("invalid-argument", "default", json!({"query": "x", "mode": "fuzzy"})),
        (
            "invalid-argument",
            "default",
            json!({"query": "x", "mode": "hybrid", "distance_threshold": 0.5}),
        ),
        (
            "invalid-argument",
            "default",
            json!({"query": "x", "mode": "text", "weights": {"vector": 1, "text": 1}}),
        ),
        ("invalid-argument", "default", json!({"query": "x", "weights": {"vector": 0, "text": 0}})),
        (
            "invalid-argument",
            "default",
            json!({"query": "x", "weights": {"vector": -1, "text": 1}}),
        ),
        ("invalid-argument", "m", json!({"embedding": [1, 2], "ef": 10_001})),
        (
            "deadline-exceeded",
            "m",
            json!({"embedding": [1, 2], "min_revision": "1000000", "timeout_ms": 1}),
        ),
    ] {
        let label = body.to_string();
        steps.refused(&label, slug, wire.search(library, body.clone()).await);
        steps.refused(&label, slug, wire.stream_search(library, body).await);
    }
    for (slug, body) in [
        ("invalid-argument", json!({"embedding": [1, 2], "k": 1001})),
        ("invalid-argument", json!({"queries": [{"embedding": [1, 2]}, {}]})),
        ("invalid-argument", json!({"queries": [{"embedding": [1, 2]}, {"embedding": [1]}]})),
        ("invalid-argument", json!({"queries": [{"embedding": [1, 2], "k": 0}]})),
        ("invalid-argument", json!({"queries": [{"embedding": [1, 2], "filter": "x"}]})),
        ("invalid-argument", json!({"queries": [{"embedding": [1, 2]}], "filter": "x"})),
        ("invalid-argument", json!({"queries": [{"embedding": [1, 2]}], "embedding": [1, 2]})),
        ("too-large", json!({"queries": vec![json!({"embedding": [1, 2]}); 101]})),
    ] {
        let label = body.to_string().chars().take(80).collect::<String>();
        steps.refused(&label, slug, wire.search("m", body).await);
    }
    let many = json!({"embedding": [1, 2], "k": 10_001});
    steps.refused("too many hits", "invalid-argument", wire.stream_search("m", many).await);
}

async fn matching<W: Wire>(wire: &W, steps: &mut Steps) {
    for filter in ["", "true", "false", "chunk.index == 0", "size(document.metadata) == 0"] {
        steps.ok(&format!("count {filter}"), wire.count("m", filter).await);
    }
    steps.refused("count by no field", "invalid-argument", wire.count("m", "x == 1").await);
    steps.refused("count in nobody", "not-found", wire.count("nobody", "").await);
    for body in [
        json!({"embedding": [1, 0.1], "k": 3, "group_by": "document"}),
        json!({"embedding": [1, 0.1], "k": 100, "group_by": "document", "filter": "chunk.index > 0"}),
    ] {
        let found = steps.ok(&body.to_string(), wire.search("m", body.clone()).await);
        let hits = found["results"].as_array().expect("hits");
        let documents: HashSet<String> = hits.iter().map(|hit| text(&hit["document_id"])).collect();
        assert_eq!(documents.len(), hits.len(), "each document once");
        steps.ok(&format!("streamed {body}"), wire.stream_search("m", body).await);
    }
    let by_chunk = json!({"embedding": [1, 0.1], "group_by": "chunk"});
    steps.refused("group by chunk", "invalid-argument", wire.search("m", by_chunk).await);
    steps.refused("delete all", "invalid-argument", wire.delete_matching("m", "").await);
    steps.refused("delete by no field", "invalid-argument", wire.delete_matching("m", "x").await);
    steps.refused("delete in nobody", "not-found", wire.delete_matching("nobody", "true").await);
    let before = wire.count("m", "").await.expect("counted");
    let some = wire.count("m", "chunk.index == 1").await.expect("counted");
    let deleted = wire.delete_matching("m", "chunk.index == 1").await;
    let deleted = steps.ok("delete some", deleted.map(|done| without(done, &["revision"])));
    assert_eq!(deleted, json!({"num_deleted": some["num_documents"], "num_changed": 0}));
    let after = wire.count("m", "").await.expect("counted");
    let number = |value: &Value| value["num_documents"].as_u64().expect("a number");
    assert_eq!(number(&after), number(&before) - number(&some));
    assert!(number(&some) > 0 && number(&after) > 0, "{some} {after}");
    let again = wire.delete_matching("m", "chunk.index == 1").await;
    steps.ok("delete nothing", again);
}

async fn indexes<W: Wire>(wire: &W, steps: &mut Steps) {
    steps.ok("index", wire.index("m", None).await);
    steps.ok("rebuild", wire.rebuild_index("m", json!({})).await);
    for kind in ["flat", "hnsw", "auto"] {
        steps.ok(kind, wire.rebuild_index("m", json!({"index_type": kind})).await);
        steps.ok("index of another kind", wire.index("m", None).await);
        steps.ok("a library of another kind", wire.get_library("m", None).await);
    }
    steps.ok("optimize", wire.optimize_index("m").await);
    let unknown = wire.rebuild_index("m", json!({"index_type": "tree"})).await;
    steps.refused("an unknown kind", "invalid-argument", unknown);
    steps.refused("index of nobody", "not-found", wire.index("nobody", None).await);
    steps.refused("a late index", "deadline-exceeded", wire.index("m", Some(1_000_000)).await);
    let rebuilt = wire.rebuild_index("nobody", json!({})).await;
    steps.refused("rebuild nobody", "not-found", rebuilt);
    steps.refused("optimize nobody", "not-found", wire.optimize_index("nobody").await);
    for body in [json!({}), json!({"num_queries": 3, "k": 2, "ef": 20})] {
        let measured = wire.recall("m", body.clone()).await.expect("measured");
        let measured = without(measured, &["search_us", "exact_us"]);
        steps.ok(&format!("recall {body}"), Ok(measured));
    }
    for body in [
        json!({"num_queries": 0}),
        json!({"num_queries": 1_001}),
        json!({"k": 0}),
        json!({"k": 1_001}),
        json!({"ef": 0}),
        json!({"ef": 10_001}),
    ] {
        let refused = wire.recall("m", body.clone()).await;
        steps.refused(&format!("recall {body}"), "invalid-argument", refused);
    }
    steps.refused("recall of nobody", "not-found", wire.recall("nobody", json!({})).await);
}

async fn export<W: Wire>(wire: &W, steps: &mut Steps) {
    for embeddings in [false, true] {
        // The gateway's lines carry what a reader may want besides; ingest ignores it.
        let lines = wire.export("m", embeddings).await.expect("an export");
        let mut lines = without(lines, &["created_at", "updated_at", "revision"]);
        for line in lines.as_array_mut().expect("lines") {
            if let Some(chunks) = line.get_mut("chunks") {
                *chunks = without(chunks.take(), &["id", "index"]);
            }
        }
        steps.ok(&format!("export {embeddings}"), Ok(lines));
    }
    steps.refused("export nowhere", "not-found", wire.export("nobody", false).await);
}

async fn events<W: Wire>(wire: &W, steps: &mut Steps) {
    let all = wire.list_events(&EventsQuery::from("begin"), 1_000).await;
    let all = steps.ok("all events", all);
    let all = all["events"].as_array().expect("a list").clone();
    assert!(all.len() > 50, "the script made {} events", all.len());
    let mut cursor = "begin".to_owned();
    for _ in 0..4 {
        let page = steps.ok("a page", wire.list_events(&EventsQuery::from(cursor), 7).await);
        cursor = text(&page["next_cursor"]);
    }
    let types = vec!["document.updated", "chunk.deleted", "batch.failed"];
    let some = EventsQuery { types, library: "m".into(), cursor: "begin".into() };
    steps.ok("some events", wire.list_events(&some, 1_000).await);
    steps.ok("follow some", wire.subscribe(&some, 3).await);
    let middle = text(&all[20]["id"]);
    let rest = all.len() - 21;
    steps.ok("follow from the middle", wire.subscribe(&EventsQuery::from(middle), rest).await);
    steps.ok("follow a revision", wire.subscribe(&EventsQuery::from("revision:9"), 9).await);
    let time = format!("time:{}", text(&all[30]["timestamp"]));
    let first = wire.subscribe(&EventsQuery::from(time), 1).await.expect("events");
    assert!(text(&first[1]["timestamp"]) >= text(&all[30]["timestamp"]));
    let future = format!("{}{:016x}ffffffff", &text(&all[0]["id"])[..16], 1_u64 << 40);
    for (place, (slug, query)) in [
        ("cursor-unknown", EventsQuery::from(future)),
        ("cursor-unknown", EventsQuery::from("0".repeat(16) + &"0".repeat(15) + "1ffffffff")),
        ("cursor-unknown", EventsQuery::from("revision:1000000")),
        ("invalid-argument", EventsQuery::from("yesterday")),
        ("invalid-argument", EventsQuery::from("time:yesterday")),
        ("invalid-argument", EventsQuery { library: " x".into(), ..EventsQuery::default() }),
        ("not-found", EventsQuery { library: "nobody".into(), ..EventsQuery::default() }),
    ]
    .into_iter()
    .enumerate()
    {
        let label = format!("start {place}");
        steps.refused(&label, slug, wire.list_events(&query, 1).await);
        steps.refused(&label, slug, wire.subscribe(&query, 1).await);
    }
}

async fn script<W: Wire>(wire: &W) -> Vec<(String, Outcome)> {
    let mut steps = Steps::default();
    libraries(wire, &mut steps).await;
    documents(wire, &mut steps).await;
    ingest(wire, &mut steps).await;
    search(wire, &mut steps).await;
    indexes(wire, &mut steps).await;
    matching(wire, &mut steps).await;
    export(wire, &mut steps).await;
    events(wire, &mut steps).await;
    let statistics = wire.event_statistics().await.expect("statistics");
    let machine =
        ["log_bytes", "subscribers", "subscriber_count", "pending_events", "total_delivered"];
    steps.ok("feed statistics", Ok(without(statistics, &machine)));
    assert!(steps.wrong.is_empty(), "{:#?}", steps.wrong);
    steps.done
}

#[tokio::test(flavor = "multi_thread")]
async fn one_script_gives_the_same_over_grpc_and_http() {
    let (one, two) = (Server::start().await, Server::start().await);
    let (http, grpc) = (Http::of(&one), Grpc::of(&two).await);
    let (over_http, over_grpc) = tokio::join!(script(&http), script(&grpc));
    let labels = |steps: &[(String, Outcome)]| -> Vec<String> {
        steps.iter().map(|(label, _)| label.clone()).collect()
    };
    assert_eq!(labels(&over_http), labels(&over_grpc));
    let pairs = over_http.iter().zip(&over_grpc);
    let differ: Vec<String> = pairs
        .filter(|(one, other)| one.1 != other.1)
        .map(|((label, http), (_, grpc))| format!("{label}:\n  {http:?}\n  {grpc:?}"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    drop((http, grpc));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_transport_writes_the_other_reads_alike() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    let mut steps = Steps::default();
    libraries(&http, &mut steps).await;
    documents(&grpc, &mut steps).await;
    ingest(&http, &mut steps).await;
    assert_eq!(http.list_libraries(0, "").await, grpc.list_libraries(0, "").await);
    for library in ["default", "heute", "l", "m"] {
        assert_eq!(http.get_library(library, None).await, grpc.get_library(library, None).await);
        let statistics = http.library_statistics(library).await;
        assert_eq!(statistics, grpc.library_statistics(library).await);
        for all in [false, true] {
            let documents = http.list_documents(library, 0, "", all).await;
            assert_eq!(documents, grpc.list_documents(library, 0, "", all).await);
        }
    }
    let from_the_start = EventsQuery::from("begin");
    let listed = http.list_events(&from_the_start, 1_000).await.expect("events");
    assert_eq!(Ok(&listed), grpc.list_events(&from_the_start, 1_000).await.as_ref());
    let many = listed["events"].as_array().expect("a list").len();
    let followed = http.subscribe(&from_the_start, many).await.expect("events");
    assert_eq!(Ok(&followed), grpc.subscribe(&from_the_start, many).await.as_ref());
    assert_eq!(
        followed.as_array().expect("a list")[1..],
        listed["events"].as_array().expect("a list")[..]
    );
    drop((http, grpc));
    server.stop().await;
}

/// API.md's table of errors, word for word.
const TABLE: [(ErrorKind, &str, u16, Code); 17] = [
    (ErrorKind::InvalidArgument, "invalid-argument", 400, Code::InvalidArgument),
    (ErrorKind::NotFound, "not-found", 404, Code::NotFound),
    (ErrorKind::AlreadyExists, "already-exists", 409, Code::AlreadyExists),
    (ErrorKind::Conflict, "conflict", 409, Code::Aborted),
    (ErrorKind::FailedPrecondition, "failed-precondition", 412, Code::FailedPrecondition),
    (ErrorKind::TooLarge, "too-large", 413, Code::ResourceExhausted),
    (ErrorKind::ResourceExhausted, "resource-exhausted", 429, Code::ResourceExhausted),
    (ErrorKind::CursorExpired, "cursor-expired", 410, Code::OutOfRange),
    (ErrorKind::CursorUnknown, "cursor-unknown", 410, Code::OutOfRange),
    (ErrorKind::Unavailable, "unavailable", 503, Code::Unavailable),
    (ErrorKind::DeadlineExceeded, "deadline-exceeded", 504, Code::DeadlineExceeded),
    (ErrorKind::Cancelled, "cancelled", 499, Code::Cancelled),
    (ErrorKind::Unauthenticated, "unauthenticated", 401, Code::Unauthenticated),
    (ErrorKind::PermissionDenied, "permission-denied", 403, Code::PermissionDenied),
    (ErrorKind::Unimplemented, "unimplemented", 501, Code::Unimplemented),
    (ErrorKind::Corrupt, "corrupt", 500, Code::DataLoss),
    (ErrorKind::Internal, "internal", 500, Code::Internal),
];

#[test]
fn the_fault_table_is_the_documented_one() {
    assert_eq!(TABLE.len(), kinds().len());
    for (kind, slug, status, code) in TABLE {
        let row = Row::of(kind);
        assert_eq!((row.slug, row.status.as_u16(), row.code), (slug, status, code));
        let error = Error::new(kind, "why");
        let fault = grpc_wire::fault(&arrwdb::api::grpc::to_status(&error));
        assert_eq!(fault.slug, slug);
    }
}
