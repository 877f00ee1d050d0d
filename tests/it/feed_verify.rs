//! The verifier finds what is wrong with a recording: a true one of a real server passes, and each
//! of a set of injected faults is found.

use std::path::Path;
use std::process::Command;

use arrwdb::cli::verify_feed::{
    Asked, ExportRecord, Log, Recording, Rule, Sifted, Violation, check, check_export,
    check_filtered, check_snapshots,
};
use arrwdb::types::{Cursor, Filter, FilterScope, LibraryId, Limits};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{DEADLINE, Server};

/// What a server was made to say.
struct Said {
    library: String,
    /// Everything, as an event stream.
    stream: String,
    export: String,
}

async fn post(server: &Server, path: &str, body: Value) -> Value {
    let response = server.http.post(server.url(path)).json(&body).send().await.expect("sent");
    assert!(response.status().is_success(), "{path}: {}", response.status());
    response.json().await.expect("JSON")
}

/// Reads an event stream until a cursor of `revision` has come.
async fn record(server: &Server, query: &str, revision: u64) -> String {
    let url = server.url(&format!("/v1/events/stream?{query}"));
    let response = server.http.get(url).send().await.expect("sent");
    assert!(response.status().is_success(), "{query}: {}", response.status());
    let (mut body, mut text) = (response.bytes_stream(), String::new());
    let reached = |text: &str| {
        let frames = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let id = frames.rsplit("\n\n").find_map(|frame| id_of(frame).parse::<Cursor>().ok());
        id.is_some_and(|id| id.is_whole() && id.revision.0 >= revision)
    };
    while !reached(&text) {
        let piece = tokio::time::timeout(DEADLINE, body.next()).await.expect("in time");
        text.push_str(std::str::from_utf8(&piece.expect("open").expect("read")).expect("UTF-8"));
    }
    text
}

/// The id of a frame.
fn id_of(frame: &str) -> &str {
    frame.lines().find_map(|line| line.strip_prefix("id: ")).unwrap_or_default()
}

/// Two libraries, documents of two chunks, updates, a deletion, a batch.
async fn said(server: &Server) -> Said {
    let library = post(server, "/v1/libraries", json!({"name": "one"})).await;
    let library = library["id"].as_str().expect("an id").to_owned();
    post(server, "/v1/libraries", json!({"name": "two"})).await;
    for number in 0..4 {
        let texts = [format!("heron {number}"), format!("otter {number}")];
        let document = json!({"id": format!("d{number}"), "title": "T", "texts": texts});
        post(server, "/v1/libraries/one/documents", document.clone()).await;
        post(server, "/v1/libraries/two/documents", document).await;
    }
    let path = |id: &str| server.url(&format!("/v1/libraries/one/documents/{id}"));
    let patch = json!({"texts": ["heron 1", "a new text"], "metadata": {"n": 1.5, "a": ["b"]}});
    server.http.patch(path("d1")).json(&patch).send().await.expect("sent");
    server.http.delete(path("d2")).send().await.expect("sent");
    let lines: String = (0..3)
        .map(|n| format!("{{\"id\":\"b{n}\",\"title\":\"B\",\"text\":\"owl {n}\"}}\n"))
        .collect();
    let url = server.url("/v1/libraries/one/documents/stream");
    let reply = server.http.post(url).body(lines).send().await.expect("sent");
    let reply = reply.text().await.expect("a reply");
    let summary: Value = serde_json::from_str(reply.lines().last().expect("lines")).expect("JSON");
    let revision = summary["revision"].as_str().and_then(|r| r.parse().ok()).expect("a revision");
    let stream = record(server, "cursor=begin", revision).await;
    let url = server.url("/v1/libraries/one/documents/stream");
    let export = server.http.get(url).send().await.expect("sent").text().await.expect("text");
    Said { library, stream, export }
}

/// Everything that the verifier says of a recording, checked against a reference and an export.
fn verify(text: &str, said: &Said, reference: &str) -> Vec<Violation> {
    let recording = Recording::parse("recording", text).expect("readable");
    let reference = Recording::parse("reference", reference).expect("readable");
    let mut checked = check(&recording, Asked::ALL, None);
    let truth = check(&reference, Asked::ALL, None);
    let log = Log::reference(&reference, &truth.covered);
    checked.violations.extend(log.compare(&recording, &checked.covered, Asked::ALL));
    let export = ExportRecord::parse("export", &said.export).expect("whole");
    let library = LibraryId::parse("library", &said.library).expect("an id");
    let own = Log::union([(&recording, checked.covered.as_slice())]);
    checked.violations.extend(check_export(&own, library, &export));
    checked.violations
}

/// Frames of the stream, by what they hold.
struct Frames(Vec<String>);

impl Frames {
    fn of(stream: &str) -> Self {
        Self(stream.split_terminator("\n\n").map(str::to_owned).collect())
    }

    /// Where the nth frame stands that has all of these texts.
    fn find(&self, nth: usize, texts: &[&str]) -> usize {
        let has = |frame: &String| texts.iter().all(|text| frame.contains(text));
        let mut found = (0..self.0.len()).filter(|at| has(&self.0[*at]));
        found.nth(nth).unwrap_or_else(|| panic!("no frame has {texts:?}"))
    }

    fn text(&self) -> String {
        self.0.iter().map(|frame| format!("{frame}\n\n")).collect()
    }
}

const ADDED: &str = "event: document.added";

fn heartbeat(cursor: &str) -> String {
    format!(
        "id: {cursor}\nevent: heartbeat\ndata: {{\"id\":\"{cursor}\",\"type\":\"heartbeat\",\
         \"timestamp\":\"2030-01-01T00:00:00.000000Z\"}}"
    )
}

/// What can go wrong: its name, how to do it to a true stream, the rule that it breaks.
type Fault = (&'static str, fn(&mut Frames), Rule);

const FAULTS: &[Fault] = &[
    (
        "an event within a change is dropped",
        |f| drop(f.0.remove(f.find(2, &[ADDED]) + 1)),
        Rule::Atomic,
    ),
    (
        "the last event of a change is dropped",
        |f| drop(f.0.remove(f.find(2, &[ADDED]) + 2)),
        Rule::Atomic,
    ),
    ("a whole change is dropped", drop_change, Rule::Complete),
    ("a whole change is dropped, and the export shows it", drop_change, Rule::Export),
    ("a document of a batch is dropped", drop_from_batch, Rule::Batch),
    ("an event is doubled", double, Rule::Unique),
    ("an old event comes again", again, Rule::Unique),
    ("two events of a change are swapped", swap, Rule::Order),
    ("an event comes early", early, Rule::Order),
    ("a bookmark runs ahead", ahead, Rule::Bookmark),
    ("a bookmark goes back", back, Rule::Bookmark),
    ("a bookmark passes over the rest of a change", over, Rule::Bookmark),
    ("`last` is missing on the last event", |f| flip(f, true), Rule::Last),
    ("`last` is on an event in the middle", |f| flip(f, false), Rule::Last),
    ("a resumed stream has a gap", gap, Rule::Resume),
    ("a resumed stream begins too early", repeat, Rule::Resume),
    (
        "an event says something else",
        |f| edit(f, "\"title\":\"T\"", "\"title\":\"U\""),
        Rule::Payload,
    ),
    (
        "an event is of another revision than its id",
        |f| edit(f, "\"revision\":\"5\"", "\"revision\":\"6\""),
        Rule::Identity,
    ),
    ("time goes back", later, Rule::Time),
];

fn later(f: &mut Frames) {
    let at = f.find(0, &["event: library.created"]);
    f.0[at] = f.0[at].replacen("\"timestamp\":\"2", "\"timestamp\":\"3", 1);
}

fn drop_change(f: &mut Frames) {
    let at = f.find(2, &[ADDED, "\"batch_id\""]);
    // Its chunk goes with it; the batch is told apart by the fault after this one.
    f.0.drain(at..at + 2);
}

fn drop_from_batch(f: &mut Frames) {
    drop_change(f);
}

fn swap(f: &mut Frames) {
    let at = f.find(1, &[ADDED]);
    f.0.swap(at + 1, at + 2);
}

fn double(f: &mut Frames) {
    let at = f.find(2, &[ADDED]);
    f.0.insert(at + 1, f.0[at].clone());
}

fn again(f: &mut Frames) {
    let frame = f.0[f.find(0, &[ADDED])].clone();
    f.0.insert(f.find(3, &[ADDED]), frame);
}

fn early(f: &mut Frames) {
    let frame = f.0.remove(f.find(3, &[ADDED]));
    f.0.insert(f.find(1, &[ADDED]), frame);
}

fn ahead(f: &mut Frames) {
    let cursor = id_of(&f.0[f.find(3, &[ADDED]) + 2]).to_owned();
    f.0.insert(f.find(2, &[ADDED]), heartbeat(&cursor));
}

fn back(f: &mut Frames) {
    let cursor = id_of(&f.0[f.find(0, &[ADDED]) + 2]).to_owned();
    f.0.insert(f.find(3, &[ADDED]), heartbeat(&cursor));
}

fn over(f: &mut Frames) {
    let at = f.find(3, &[ADDED]);
    let cursor = id_of(&f.0[at + 2]).to_owned();
    f.0.insert(at + 1, heartbeat(&cursor));
}

fn flip(f: &mut Frames, last: bool) {
    let (from, to) = (format!("\"last\":{last}"), format!("\"last\":{}", !last));
    edit(f, &from, &to);
}

fn edit(f: &mut Frames, from: &str, to: &str) {
    let at = f.find(0, &[from]);
    f.0[at] = f.0[at].replacen(from, to, 1);
}

/// Cut after the third addition, resumed with the id of the frame `by` places off.
fn resume(f: &mut Frames, by: isize) {
    let at = f.find(2, &[ADDED]) + 2;
    let from = at.checked_add_signed(by).expect("within the stream");
    let mut rest = vec![format!("retry: 2000\n{}", heartbeat(id_of(&f.0[from])))];
    rest.extend_from_slice(&f.0[from + 1..]);
    f.0.truncate(at + 1);
    f.0.extend(rest);
}

fn gap(f: &mut Frames) {
    resume(f, 3);
}

fn repeat(f: &mut Frames) {
    resume(f, -3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_true_recording_passes_and_every_injected_fault_is_found() {
    let server = Server::start().await;
    let said = said(&server).await;
    server.stop().await;
    assert_eq!(verify(&said.stream, &said, &said.stream), []);

    // What a client does well is no fault: resume exactly, also after a frame that was cut.
    let mut resumed = Frames::of(&said.stream);
    resume(&mut resumed, 0);
    assert_eq!(verify(&resumed.text(), &said, &said.stream), []);
    let text = resumed.text();
    let (before, after) = text.rsplit_once("retry: 2000\n").expect("resumed");
    let cut = format!("{before}id: 0123\nevent: docuretry: 2000\n{after}");
    assert_eq!(verify(&cut, &said, &said.stream), []);

    for (name, inject, rule) in FAULTS {
        let mut frames = Frames::of(&said.stream);
        inject(&mut frames);
        let text = frames.text();
        assert_ne!(text, said.stream, "{name}: nothing was injected");
        let found = verify(&text, &said, &said.stream);
        let rules: Vec<_> = found.iter().map(|violation| violation.rule.name()).collect();
        assert!(rules.contains(&rule.name()), "{name}: found only {rules:?}");
    }

    // A foreign event: one that the log does not have.
    let mut reference = Frames::of(&said.stream);
    drop_change(&mut reference);
    let found = verify(&said.stream, &said, &reference.text());
    assert!(found.iter().any(|violation| violation.rule == Rule::Foreign), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_held_to_what_it_was_asked_for() {
    let server = Server::start().await;
    let said = said(&server).await;
    let last = Recording::parse("stream", &said.stream).expect("readable");
    let last = last.events().last().map(|(_, event)| event.revision.0).expect("events");
    let library = LibraryId::parse("library", &said.library).expect("an id");
    let by_library = record(&server, "cursor=begin&library_id=one", last).await;
    let url = "/v1/events?limit=1000&event_types=document.added,document.deleted";
    let page = server.http.get(server.url(url)).send().await.expect("sent").text().await;
    server.stop().await;
    let page = page.expect("a page");

    use arrwdb::types::EventType::{DocumentAdded, DocumentDeleted};
    let types = DocumentAdded.bit() | DocumentDeleted.bit();
    let truth = Recording::parse("truth", &said.stream).expect("readable");
    let covered = check(&truth, Asked::ALL, None).covered;
    let log = Log::reference(&truth, &covered);
    let verify = |text: &str, asked: Asked| {
        let recording = Recording::parse("recording", text).expect("readable");
        let checked = check(&recording, asked, Some(covered[0].after));
        assert!(checked.events > 0);
        let compared = log.compare(&recording, &checked.covered, asked);
        [checked.violations, compared].concat()
    };
    let (one, two_types) =
        (Asked { library: Some(library), ..Asked::ALL }, Asked { types, ..Asked::ALL });
    assert_eq!(verify(&by_library, one), []);
    assert_eq!(verify(&page, two_types), []);

    // An event too many, an event too few.
    let foreign = verify(&said.stream, one);
    assert!(foreign.iter().all(|violation| violation.rule == Rule::Filter) && foreign.len() > 4);
    let missing = verify(&by_library, Asked::ALL);
    assert!(missing.iter().any(|violation| violation.rule == Rule::Complete));
    let mut short: Value = serde_json::from_str(&page).expect("JSON");
    short["events"].as_array_mut().expect("a list").remove(3);
    let missing = verify(&short.to_string(), two_types);
    assert_eq!(missing.iter().map(|one| one.rule).collect::<Vec<_>>(), [Rule::Complete]);
}

fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_arrwdb"))
        .current_dir(folder)
        .arg("verify-feed")
        .args(args)
        .output()
        .expect("the binary starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("UTF-8"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tells_file_line_and_status() {
    let server = Server::start().await;
    let said = said(&server).await;
    server.stop().await;
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
    write("true.sse", &said.stream).expect("written");
    write("export.ndjson", &said.export).expect("written");
    let mut doubled = Frames::of(&said.stream);
    double(&mut doubled);
    write("doubled.sse", &doubled.text()).expect("written");
    let (first, second) = said.stream.split_at(said.stream.len() / 2);
    let half = Frames::of(first);
    let from = half.0[..half.0.len() - 1].iter().rev().map(|frame| id_of(frame)).next();
    let from = from.expect("an id");
    let rest = Frames::of(&said.stream);
    let at = rest.find(0, &[&format!("id: {from}\nevent")]);
    let rest = Frames(rest.0[at + 1..].to_vec()).text();
    write("first.sse", first).expect("written");
    let begin = format!("retry: 2000\n{}\n\n", heartbeat(from));
    write("rest.sse", &format!("{begin}{rest}")).expect("written");
    assert!(!second.is_empty());

    let library = said.library.as_str();
    let export = ["--export", "export.ndjson", "--library"];
    let (status, text) = run(folder.path(), &["true.sse", "--reference", "true.sse"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("1 recordings, ") && text.ends_with(": 0 violations\n"), "{text}");
    let (status, text) = run(folder.path(), &["first.sse", "rest.sse", "--resumed"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(" 1 resumes"), "{text}");

    let (status, text) = run(folder.path(), &["doubled.sse"]);
    assert_eq!(status, Some(1), "{text}");
    // Four lines a frame, and the line before the first.
    let line = 4 * (Frames::of(&said.stream).find(2, &[ADDED]) + 1) + 2;
    assert!(text.starts_with(&format!("doubled.sse:{line}: unique: document.added ")), "{text}");

    // A reading of one library is compared with that library's export.
    let mut one = Frames::of(&said.stream);
    one.0.retain(|frame| frame.contains(library) || frame.contains("heartbeat"));
    write("one.sse", &one.text()).expect("written");
    for name in ["one", library] {
        let (status, text) = run(folder.path(), &[&["one.sse"], &export[..], &[name]].concat());
        assert_eq!(status, Some(0), "{text}");
        assert!(text.contains("6 exported documents"), "{text}");
    }
    let changed = said.export.replacen("heron 0", "eagle 0", 1).replacen("\"T\"", "\"U\"", 1);
    write("export.ndjson", &changed).expect("written");
    let (status, text) = run(folder.path(), &[&["one.sse"], &export[..], &["one"]].concat());
    assert_eq!(status, Some(1), "{text}");
    assert!(text.starts_with("export.ndjson:1: export: document d0 "), "{text}");

    for (args, why) in [
        (vec!["absent.sse"], "absent.sse: "),
        (vec!["one.sse", "--event-types", "document.eaten"], "document.eaten"),
        (vec!["one.sse", "--library", "three"], "three"),
        (vec!["one.sse", "--export", "export.ndjson"], "--library"),
        (vec!["one.sse", "--export", "true.sse", "--library", "one"], "true.sse:1: is not JSON"),
        (vec!["one.sse", "--cursor", "now"], "--cursor"),
    ] {
        let (status, text) = run(folder.path(), &args);
        assert_eq!(status, Some(2), "{args:?}: {text}");
        assert!(text.contains(why), "{args:?}: {text}");
    }
}

/// Everything that the verifier says of a recording that was asked for with a filter, or with a
/// snapshot, or both.
fn verify_asked(text: &str, truth: &str, filter: Option<&str>) -> Vec<Violation> {
    let filter = filter
        .map(|text| Filter::parse(text, FilterScope::Feed, &Limits::default()).expect("a filter"));
    let sifted = filter.map(|filter| Sifted::parse("truth", truth, &filter).expect("readable"));
    let truth = Recording::parse("truth", truth).expect("readable");
    let covered = check(&truth, Asked::ALL, None).covered;
    let whole = Log::reference(&truth, &covered);
    let recording = Recording::parse("recording", text).expect("readable");
    let checked = match &sifted {
        None => check(&recording, Asked::ALL, None),
        Some(_) => check_filtered(&recording, Asked::ALL, None),
    };
    let passed = sifted.as_ref().map_or(&truth, |sifted| &sifted.recording);
    let compared =
        Log::reference(passed, &covered).compare(&recording, &checked.covered, Asked::ALL);
    let shown = sifted.as_ref().map(|sifted| &sifted.shown);
    let snapshots = check_snapshots(&whole, &recording, None, shown);
    [checked.violations, compared, snapshots].concat()
}

/// The rules that are broken.
fn rules(found: &[Violation]) -> Vec<Rule> {
    let mut rules: Vec<_> = found.iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

fn encoded(filter: &str) -> String {
    percent_encoding::utf8_percent_encode(filter, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_recording_is_held_to_its_filter() {
    let server = Server::start_with(|settings| settings.limits.heartbeat_interval_ms = 20).await;
    let said = said(&server).await;
    let last = Recording::parse("stream", &said.stream).expect("readable");
    let last = last.events().last().map(|(_, event)| event.revision.0).expect("events");
    let mut by_metadata = String::new();
    for filter in [
        "document.metadata.n == 1.5",
        "!(document.metadata.n == 1.5) && document.id != 'd0'",
        "chunk.index >= 1",
        "event.type.startsWith('library.') || document.title == 'B'",
        "event.type.startsWith('document.') && size(document.tags) == 0 && document.author == ''",
        "document.updated_at > document.created_at",
        "has(event.batch_id)",
        "event.type == 'index.rebuilt'",
    ] {
        let query = format!("cursor=begin&filter={}", encoded(filter));
        let text = record(&server, &query, last).await;
        assert_eq!(verify_asked(&text, &said.stream, Some(filter)), [], "{filter}");
        if by_metadata.is_empty() {
            by_metadata = text;
        }
    }
    server.stop().await;
    let filter = Some("document.metadata.n == 1.5");
    assert!(by_metadata.contains("\"match\":\"entered\""));

    // An event too many, an event too few, a match that is not so.
    assert!(rules(&verify_asked(&said.stream, &said.stream, filter)).contains(&Rule::Foreign));
    let mut few = Frames::of(&by_metadata);
    few.0.remove(few.find(0, &["\"match\":\"entered\""]));
    assert_eq!(rules(&verify_asked(&few.text(), &said.stream, filter)), [Rule::Complete]);
    let other = by_metadata.replace("\"match\":\"entered\"", "\"match\":\"stayed\"");
    assert_eq!(rules(&verify_asked(&other, &said.stream, filter)), [Rule::Payload]);

    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in
        [("all.sse", &said.stream), ("one.sse", &by_metadata), ("other.sse", &other)]
    {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let args = |file| [file, "--reference", "all.sse", "--filter", "document.metadata.n == 1.5"];
    let (status, text) = run(folder.path(), &args("one.sse"));
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = run(folder.path(), &args("other.sse"));
    assert_eq!(status, Some(1), "{text}");
    let (status, text) = run(folder.path(), &["one.sse", "--filter", "true"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("--reference"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_held_to_the_events_before_it() {
    let server = Server::start_with(|settings| settings.limits.heartbeat_interval_ms = 20).await;
    let said = said(&server).await;
    let last = Recording::parse("stream", &said.stream).expect("readable");
    let last = last.events().last().map(|(_, event)| event.revision.0).expect("events");
    let text = record(&server, "snapshot=true", last).await;
    let filter = "document.metadata.n == 1.5 || document.title == 'B'";
    let filtered = format!("snapshot=true&filter={}", encoded(filter));
    let filtered = record(&server, &filtered, last).await;
    server.stop().await;
    assert_eq!(text.matches("event: snapshot.document").count(), 10);
    assert_eq!(filtered.matches("event: snapshot.document").count(), 4);
    assert_eq!(verify_asked(&text, &said.stream, None), []);
    assert_eq!(verify_asked(&filtered, &said.stream, Some(filter)), []);
    // A document too many and too few for the filter.
    assert_eq!(rules(&verify_asked(&text, &said.stream, Some(filter))), [Rule::Snapshot]);
    assert_eq!(rules(&verify_asked(&filtered, &said.stream, None)), [Rule::Snapshot]);

    let faults: &[Fault] = &[
        ("a document is missing", |f| drop(f.0.remove(3)), Rule::Snapshot),
        ("a document comes twice", |f| f.0.insert(3, f.0[3].clone()), Rule::Snapshot),
        ("a document has other fields", |f| edit(f, "\"T\"", "\"U\""), Rule::Snapshot),
        ("the count is wrong", |f| edit(f, "nts\":10", "nts\":9"), Rule::Snapshot),
        ("the end comes early", |f| f.0[6..].reverse(), Rule::Snapshot),
    ];
    for (name, inject, rule) in faults {
        let mut frames = Frames::of(&text);
        inject(&mut frames);
        assert_ne!(frames.text(), text, "{name}: nothing was injected");
        let found = rules(&verify_asked(&frames.text(), &said.stream, None));
        assert!(found.contains(rule), "{name}: found only {found:?}");
    }
    // One that was cut begins again.
    let cut = Frames(Frames::of(&text).0[..4].to_vec()).text();
    assert_eq!(verify_asked(&format!("{cut}{text}"), &said.stream, None), []);
}
