//! The command line against the real binary: what commands print is what HTTP answers, and they
//! end as scripts expect.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::Process;

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub log: String,
}

impl Ended {
    /// What it printed; it must have ended well.
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    /// What it said on standard error; it must have ended with this status, and printed nothing.
    pub fn badly(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert_eq!(self.out, "", "{self:#?}");
        self.log
    }
}

/// A command for the server at an address. It ends within two minutes, or its test fails.
pub fn command(address: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", "120", env!("CARGO_BIN_EXE_arrwdb")]).args(args);
    command.env("ARRWDB_SERVER", format!("http://{address}")).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(server: &Process, args: &[&str]) -> Ended {
    ended(command(server.address, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn())
}

/// Runs a command that reads `input`.
pub fn run_with(server: &Process, args: &[&str], input: &str) -> Ended {
    let mut command = command(server.address, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // It may end before it has read everything.
    let writing = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let ended = ended(Ok(child));
    let _ = writing.join().expect("no panic");
    ended
}

pub fn ended(child: std::io::Result<Child>) -> Ended {
    let output = child.and_then(Child::wait_with_output).expect("it starts and ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code(), out: text(output.stdout), log: text(output.stderr) }
}

/// Lines of JSON.
pub fn lines(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(line).collect()
}

/// A server with a library `birds` in it, as the command line makes it.
fn server() -> (tempfile::TempDir, Process) {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path(), &[]);
    let new = ["library", "create", "birds", "--metadata", r#"{"b":1.0,"a":[0.1,"é"]}"#];
    run(&server, &new).well();
    let documents = concat!(
        r#"{"id":"heron","title":"Heron","text":"A grey bird in shallow water.","tags":["wading"],"#,
        r#""metadata":{"n":1.5}}"#,
        "\n",
        r#"{"id":"owl","title":"Owl","author":"A","texts":["A bird of the night.","It hunts mice."]}"#,
        "\n",
    );
    run_with(&server, &["ingest", "birds", "-", "--quiet"], documents).well();
    (folder, server)
}

async fn http(server: &Process, path: &str) -> String {
    let reply = reqwest::get(server.url(path)).await.expect("sent");
    assert!(reply.status().is_success(), "{path}: {}", reply.status());
    reply.text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_json_says_is_what_http_answers() {
    let (_folder, server) = server();
    let said = |args: &[&str]| run(&server, args).well();
    let named = ["consumer", "create", "mailer", "--library", "birds", "--cursor", "begin"];
    said(&[&named[..], &["--event-types", "document.added,chunk.added"]].concat());
    for (args, path) in [
        (&["library", "get", "birds", "--json"][..], "/v1/libraries/birds"),
        (&["statistics", "birds", "--json"], "/v1/libraries/birds/statistics"),
        (&["index", "get", "birds", "--json"], "/v1/libraries/birds/index"),
        (&["statistics", "--json"], "/v1/events/statistics"),
        (&["document", "get", "birds", "owl", "--json"], "/v1/libraries/birds/documents/owl"),
    ] {
        assert_eq!(said(args).trim_end(), http(&server, path).await.trim_end(), "{args:?}");
    }
    // How far a consumer is behind in seconds changes from one to the next.
    let settled = |text: &str| {
        let mut value: Value = serde_json::from_str(text).expect("JSON");
        assert!(value["lag_seconds"].is_number(), "{value}");
        value["lag_seconds"] = json!(0);
        value
    };
    let got = said(&["consumer", "get", "mailer", "--json"]);
    assert_eq!(settled(&got), settled(&http(&server, "/v1/consumers/mailer").await));
    assert_eq!(
        got.find("lag_events"),
        http(&server, "/v1/consumers/mailer").await.find("lag_events")
    );

    let pages = [
        (&["library", "list", "--json"][..], "/v1/libraries", "libraries"),
        (&["document", "list", "birds", "--json"], "/v1/libraries/birds/documents", "documents"),
    ];
    for (args, path, name) in pages {
        let page: Value = serde_json::from_str(&http(&server, path).await).expect("JSON");
        assert_eq!(json!(lines(&said(args))), page[name], "{args:?}");
    }

    let search = ["search", "birds", "a", "night", "bird", "--json", "-k", "5"];
    let url = server.url("/v1/libraries/birds/search/stream?query=a+night+bird&k=5");
    let found = reqwest::Client::new().post(&url).send().await.expect("sent");
    assert_eq!(said(&search), found.text().await.expect("text"));
    let url = format!("{url}&include_text=false&filter=document.id%20%3D%3D%20%22owl%22");
    let found = reqwest::Client::new().post(&url).send().await.expect("sent");
    let filter = ["--no-text", "--filter", r#"document.id == "owl""#];
    assert_eq!(said(&[&search[..], &filter].concat()), found.text().await.expect("text"));

    for (flags, query) in [
        (&["--mode", "text", "--explain"][..], "mode=text&explain=true"),
        (&["--mode", "hybrid", "--weights", "1,2"], "mode=hybrid&weights=1,2"),
        (&["--mode", "vector"], "mode=vector"),
    ] {
        let url = server.url("/v1/libraries/birds/search/stream?query=a+night+bird&k=5");
        let found = reqwest::Client::new().post(format!("{url}&{query}")).send().await;
        let found = found.expect("sent").text().await.expect("text");
        assert_eq!(said(&[&search[..], flags].concat()), found);
    }
    let shown = said(&["search", "birds", "night", "--explain"]);
    assert!(shown.contains("by words: rank 1, BM25 "), "{shown}");

    let pulled = said(&["consumer", "pull", "mailer", "--json"]);
    let generation = lines(&pulled)[0]["generation"].as_u64().expect("a number");
    let (_, again) = Client::new(server.address)
        .try_ask("POST", "/v1/consumers/mailer/pull", Some(&json!({"generation": generation})))
        .await
        .expect("answered");
    assert_eq!(lines(&pulled)[0], again);
    assert_eq!(again["events"].as_array().map(Vec::len), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_and_documents_are_made_changed_and_deleted() {
    let (_folder, server) = server();
    let said = |args: &[&str]| run(&server, args).well();
    let one = |args: &[&str]| lines(&said(&[args, &["--json"]].concat())).remove(0);
    let none = ["--embedder", "none", "--dimension", "3", "--metric", "l2", "--index-type", "flat"];
    let made =
        one(&[&["library", "create", "v", "--description", "of vectors"][..], &none].concat());
    assert_eq!(made["dimension"], 3);
    assert_eq!((&made["metric"], &made["index_type"]), (&json!("l2"), &json!("flat")));
    let changed = one(&["library", "update", "v", "--name", "w", "--metadata", r#"{"x":2}"#]);
    assert_eq!((&changed["name"], &changed["description"]), (&json!("w"), &json!("of vectors")));
    assert_eq!(changed["metadata"], json!({"x": 2}));
    let emptied = one(&["library", "update", "w", "--description", ""]);
    assert_eq!((&emptied["description"], &emptied["metadata"]), (&json!(""), &json!({"x": 2})));
    let stale = ["library", "delete", "w", "--expected-revision", "1"];
    assert!(run(&server, &stale).badly(1).contains("conflict"));
    assert!(one(&["library", "delete", "w"])["revision"].is_string());

    let table = said(&["library", "list"]);
    assert!(table.starts_with("NAME") && table.contains("birds  2          3"), "{table}");
    assert!(said(&["library", "get", "birds"]).contains("num_documents  2\n"));
    assert!(said(&["document", "list", "birds"]).contains("owl    2 chunks  Owl\n"));
    let limited = said(&["document", "list", "birds", "--limit", "1", "--json"]);
    assert_eq!(lines(&limited)[0]["id"], "heron");
    assert_eq!(limited.lines().count(), 1);
    one(&["document", "delete", "birds", "owl"]);
    assert!(run(&server, &["document", "get", "birds", "owl"]).badly(1).contains("not-found: "));

    let found = said(&["search", "birds", "a wading bird"]);
    // The only chunk has all that both rankings believe.
    assert!(found.starts_with("  1  1.0000  heron  Heron\n     A grey bird"), "{found}");
    let asked = run_with(&server, &["search", "birds", "-", "--json"], "grey\n\nwater\n").well();
    let ends = lines(&asked).iter().filter(|line| line["status"] == "complete").count();
    assert_eq!((ends, asked.lines().count()), (2, 4));
}

#[test]
fn failures_are_one_line_and_a_status() {
    let (_folder, server) = server();
    for (args, code, words) in [
        (&["library", "get", "none"][..], 1, "arrwdb: not-found: "),
        (&["library", "create", "birds"], 1, "already-exists: "),
        (&["search", "none", "x"], 1, "not-found: "),
        (&["export", "none"], 1, "not-found: "),
        (&["ingest", "none", "README.md"], 1, "not-found: "),
        (&["ingest", "birds", "/no/such/file"], 1, "/no/such/file"),
        (&["statistics", "none"], 1, "not-found: "),
        (&["index", "get", "none"], 1, "not-found: "),
        (&["index", "rebuild", "none"], 1, "not-found: "),
        (&["index", "recall", "birds", "--num-queries", "0"], 2, "invalid-argument: num_queries"),
        (&["consumer", "get", "none"], 1, "not-found: "),
        (&["subscribe", "--consumer", "none"], 1, "not-found: "),
        (&["search", "birds", "x", "--filter", "no("], 2, "invalid-argument: filter"),
        (
            &["search", "birds", "x", "--mode", "text", "--distance-threshold", "1"],
            2,
            "invalid-argument: mode",
        ),
        (&["library", "create", " x"], 2, "invalid-argument: name"),
        (&["subscribe", "--filter", "document.x ="], 2, "invalid-argument: "),
        (&["library", "list", "--server", "https://x"], 2, "--server"),
        (&["library", "list", "--server", "http://127.0.0.1:1"], 3, "ARRWDB_SERVER"),
        (&["subscribe", "--server", "127.0.0.1:1"], 3, "cannot connect to 127.0.0.1:1"),
        (&["ingest", "x", "README.md", "--server", "127.0.0.1:1"], 3, "cannot connect"),
        (&["subscribe", "--cursor", &"a".repeat(40)], 4, "cursor-unknown: "),
        (&["subscribe", "--cursor", &"a".repeat(40), "--until-tail"], 4, "cursor-unknown: "),
    ] {
        let log = run(&server, args).badly(code);
        assert!(log.contains(words), "{args:?}: {log}");
        assert_eq!(log.lines().count(), 1, "{args:?}: {log}");
    }
    // Wrong flags are clap's to tell.
    for (args, words) in [
        (&["library", "create"][..], "<NAME>"),
        (&["library", "create", "x", "--metric", "manhattan"], "cosine, dot or l2"),
        (&["library", "create", "x", "--metadata", "[]"], "JSON object"),
        (&["library", "update", "birds"], "required"),
        (&["search", "birds"], "<QUERY>"),
        (&["search", "birds", "x", "--mode", "fuzzy"], "hybrid, vector, text"),
        (&["search", "birds", "x", "--weights", "1"], "two numbers"),
        (&["subscribe", "--event-types", "document.gone"], "document.added"),
        (&["subscribe", "--cursor", "soon"], "begin, now"),
        (&["subscribe", "--snapshot", "--until-tail"], "cannot be used"),
        (&["ingest", "birds", "x", "--on-conflict", "merge"], "replace, skip or fail"),
        (&["library", "list", "--timeout", "soon"], "seconds"),
        (&["consumer", "acknowledge", "x", "y"], "--generation"),
    ] {
        let log = run(&server, args).badly(2);
        assert!(log.contains(words), "{args:?}: {log}");
    }
    let help = run(&server, &["--help"]).well();
    assert!(help.contains("Exit status:") && help.contains("cursor-expired"), "{help}");
}

#[test]
fn a_call_that_takes_too_long_is_given_up() {
    let (_folder, server) = server();
    let args = ["search", "birds", "x", "--min-revision", "1000000", "--timeout", "0.2"];
    let log = run(&server, &args).badly(3);
    assert!(log.contains("deadline-exceeded: ") && log.contains("--timeout"), "{log}");
}

#[test]
fn consumers_are_led_by_hand() {
    let (_folder, server) = server();
    let said = |args: &[&str]| run(&server, args).well();
    let one = |args: &[&str]| lines(&said(&[args, &["--json"]].concat())).remove(0);
    let made = ["consumer", "create", "c", "--event-types", "document.added", "--cursor", "begin"];
    assert_eq!(one(&made)["event_types"], json!(["document.added"]));
    let pulled = one(&["consumer", "pull", "c", "--owner", "me", "--max-events", "1"]);
    assert_eq!(pulled["events"][0]["document_id"], "heron");
    let generation = pulled["generation"].to_string();
    let next = pulled["next_cursor"].as_str().expect("a cursor");
    let acknowledge = ["consumer", "acknowledge", "c", next, "--generation", &generation];
    let acknowledged = one(&acknowledge);
    assert_eq!((&acknowledged["cursor"], &acknowledged["owner"]), (&json!(next), &json!("me")));
    // Another owner makes the first stale.
    let shown = said(&["consumer", "pull", "c", "--acknowledge"]);
    assert!(shown.contains("document.added") && shown.contains("owl"), "{shown}");
    assert!(run(&server, &acknowledge).badly(1).contains("conflict: "));
    assert_eq!(one(&["consumer", "get", "c"])["lag_events"], 0, "the rest does not pass");

    assert_eq!(one(&["consumer", "pause", "c"])["paused"], true);
    assert!(run(&server, &["consumer", "pull", "c"]).badly(1).contains("failed-precondition: "));
    assert_eq!(one(&["consumer", "resume", "c"])["paused"], false);
    one(&["consumer", "seek", "c", "begin"]);
    assert_eq!(one(&["consumer", "pull", "c"])["events"].as_array().map(Vec::len), Some(2));
    assert!(said(&["consumer", "list"]).contains("\nc "));
    assert_eq!(one(&["consumer", "delete", "c"]), json!({}));
    assert_eq!(said(&["consumer", "list", "--json"]), "");
}

#[test]
fn every_shell_gets_its_completions() {
    let (_folder, server) = server();
    for (shell, words) in [
        ("bash", "complete -F _arrwdb"),
        ("zsh", "#compdef arrwdb"),
        ("fish", "complete -c arrwdb"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let text = run(&server, &["completions", shell]).well();
        assert!(text.contains(words) && text.contains("subscribe"), "{shell}");
    }
}
