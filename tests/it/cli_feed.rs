//! `arrwdb subscribe` against the real binary: each event once, over killed servers, as the
//! verifier of the feed sees it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};

use crate::cli::{Ended, command, ended, lines, run, run_with};
use crate::harness::{DEADLINE, Process};

fn documents(range: std::ops::Range<usize>) -> String {
    let line = |n| {
        format!(
            "{{\"id\":\"d{n}\",\"title\":\"T{n}\",\"text\":\"text {n}\",\"metadata\":{{\"n\":{n}}}}}\n"
        )
    };
    range.map(line).collect()
}

/// A library with some of everything that events tell of.
fn history(server: &Process) {
    let done = |args: &[&str]| run(server, args).well();
    done(&["library", "create", "l", "--description", "first", "--metadata", r#"{"x":1}"#]);
    done(&["library", "create", "other"]);
    run_with(server, &["ingest", "l", "-", "--quiet"], &documents(0..20)).well();
    run_with(server, &["ingest", "other", "-", "--quiet"], &documents(0..5)).well();
    let changed = "{\"id\":\"d3\",\"title\":\"U\",\"texts\":[\"a\",\"b\"],\"author\":\"me\",\"tags\":[\"t\"]}\n";
    run_with(server, &["ingest", "l", "-", "--quiet"], changed).well();
    done(&["document", "delete", "l", "d4"]);
    done(&["library", "update", "l", "--description", "second"]);
    done(&["library", "delete", "other"]);
}

/// The data of the frames of an event stream from its begin to a revision, heartbeats aside.
async fn http_events(server: &Process, query: &str, count: usize) -> String {
    let url = server.url(&format!("/v1/events/stream?{query}"));
    let mut body = reqwest::get(url).await.expect("sent").bytes_stream();
    let mut text = String::new();
    loop {
        let (whole, _) = text.rsplit_once("\n\n").unwrap_or_default();
        let data = whole.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<_> = data.filter(|data| !data.contains("\"heartbeat\"")).collect();
        if events.len() >= count {
            return events[..count].iter().map(|event| format!("{event}\n")).collect();
        }
        let piece = tokio::time::timeout(DEADLINE, body.next()).await.expect("in time");
        text.push_str(std::str::from_utf8(&piece.expect("open").expect("read")).expect("UTF-8"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_what_http_streams() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path(), &[]);
    history(&server);
    let all = ["subscribe", "--cursor", "begin", "--json"];
    let past = run(&server, &[&all[..], &["--until-tail"]].concat()).well();
    let count = past.lines().count();
    assert!(count > 60, "{count}");
    assert_eq!(past, http_events(&server, "cursor=begin", count).await);
    let live = run(&server, &[&all[..], &["--limit", &count.to_string()]].concat());
    assert!(live.log.contains("go on with --cursor "), "{}", live.log);
    assert_eq!(live.well(), past);
    // Filters, and a place in the middle.
    let middle = lines(&past)[count / 2]["id"].as_str().expect("an id").to_owned();
    let filter = r#"document.metadata.n >= 3"#;
    let args = ["subscribe", "--json", "--until-tail", "--library", "l", "--cursor", &middle];
    let some = ["--event-types", "document.added,document.updated", "--filter", filter];
    let some = run(&server, &[&args[..], &some].concat()).well();
    let query = "library_id=l&event_types=document.added,document.updated\
                 &filter=document.metadata.n%20%3E%3D%203";
    let query = format!("{query}&cursor={middle}");
    let count = some.lines().count();
    assert!(count >= 5 && some.contains("\"match\":\"left\""), "{some}");
    assert_eq!(some, http_events(&server, &query, count).await);

    let snapshot = ["subscribe", "--json", "--snapshot", "--library", "l"];
    let mut follower = Follower::start(&server, &snapshot, Stdio::piped());
    let mut out = BufReader::new(follower.0.stdout.take().expect("piped")).lines();
    let told: Vec<String> = out.by_ref().take(21).map(|line| line.expect("UTF-8")).collect();
    let http = http_events(&server, "library_id=l&snapshot=true", 20).await;
    assert_eq!(told[0], "{\"type\":\"snapshot.begin\"}");
    assert_eq!(told[1..20].join("\n"), http.lines().take(19).collect::<Vec<_>>().join("\n"));
    let mut end: Value = serde_json::from_str(http.lines().last().expect("lines")).expect("JSON");
    // The one thing that gRPC does not carry.
    end.as_object_mut().expect("an object").remove("timestamp");
    assert_eq!(lines(&told[20])[0], end);
    // From there on it is live.
    run(&server, &["document", "delete", "l", "d7"]).well();
    let next: Value =
        serde_json::from_str(&out.next().expect("a line").expect("UTF-8")).expect("JSON");
    assert_eq!((&next["type"], &next["document_id"]), (&json!("document.deleted"), &json!("d7")));
    follower.stop();
    assert_eq!(follower.end().0, Some(0));
}

#[test]
fn a_reader_that_events_are_lost_to_ends_with_a_status_of_its_own() {
    let folder = tempfile::tempdir().expect("folder");
    let little =
        ["log_piece_bytes_target=1000", "retention_bytes_max=1000", "retention_interval_ms=10"];
    let flags: Vec<&str> = little.into_iter().flat_map(|limit| ["--limit", limit]).collect();
    let server = Process::start(folder.path(), &flags);
    run(&server, &["library", "create", "l"]).well();
    run(&server, &["consumer", "create", "c", "--cursor", "begin"]).well();
    let past = ["subscribe", "--cursor", "begin", "--until-tail", "--json"];
    let first = lines(&run(&server, &past).well())[0]["id"].as_str().expect("an id").to_owned();
    // More than is kept, also for a consumer.
    run_with(&server, &["ingest", "l", "-", "--quiet"], &documents(0..200)).well();
    let start = Instant::now();
    loop {
        let consumer = lines(&run(&server, &["consumer", "get", "c", "--json"]).well()).remove(0);
        if consumer["expired"] == true {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "never trimmed: {consumer}");
    }
    let ahead = format!("{}00ffffffffffffffffffffff", &first[..16]);
    let foreign = "a".repeat(40);
    for (args, slug) in [
        (&["subscribe", "--cursor", &first][..], "cursor-expired"),
        (&["subscribe", "--cursor", &first, "--until-tail"], "cursor-expired"),
        (&["subscribe", "--cursor", "revision:1"], "cursor-expired"),
        (&["subscribe", "--consumer", "c"], "cursor-expired"),
        (&["consumer", "pull", "c"], "cursor-expired"),
        (&["consumer", "seek", "c", &first], "cursor-expired"),
        (&["consumer", "create", "d", "--cursor", &first], "cursor-expired"),
        (&["subscribe", "--cursor", &ahead], "cursor-unknown"),
        (&["subscribe", "--cursor", &ahead, "--until-tail"], "cursor-unknown"),
        (&["subscribe", "--cursor", &foreign], "cursor-unknown"),
        (&["consumer", "seek", "c", &ahead], "cursor-unknown"),
        (&["consumer", "create", "d", "--cursor", &foreign], "cursor-unknown"),
    ] {
        let log = run(&server, args).badly(4);
        assert!(log.starts_with(&format!("arrwdb: {slug}: ")), "{args:?}: {log}");
        assert!(log.contains("rebuild with --snapshot or an export"), "{args:?}: {log}");
        assert_eq!(log.lines().count(), 1, "{args:?}: {log}");
    }
    // From the oldest that is left it can be followed.
    assert!(!run(&server, &past).well().is_empty());
}

#[test]
fn people_see_a_line_for_each_event() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path(), &[]);
    history(&server);
    let past = run(&server, &["subscribe", "--cursor", "begin", "--until-tail"]).well();
    for words in [
        "library.created    l",
        "document.added     d0  T0  1 chunk\n",
        "batch.completed    20 written",
        "document.updated   d3  U  2 chunks  (before: T3)",
        "document.deleted   d4  T4",
        "library.deleted    other",
    ] {
        assert!(past.contains(words), "{words}:\n{past}");
    }
    assert!(past.lines().all(|line| line.starts_with("20")), "{past}");
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path(), &[]);
    run(&server, &["library", "create", "l"]).well();
    run_with(&server, &["ingest", "l", "-", "--quiet"], &documents(0..3_000)).well();
    for args in [
        &["subscribe", "--cursor", "begin", "--json"][..],
        &["subscribe", "--cursor", "begin", "--until-tail"],
        &["export", "l"],
        &["document", "list", "l"],
        &["search", "l", "text", "-k", "3000", "--json"],
    ] {
        let mut command = command(server.address, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let mut out = BufReader::with_capacity(64, child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("a line");
        drop(out);
        let ended = ended(Ok(child));
        assert!(!line.is_empty(), "{args:?}: {ended:#?}");
        assert_eq!((ended.code, ended.log.as_str()), (Some(0), ""), "{args:?}");
    }
}

/// A command that goes on until it is told to stop, or its test ends.
struct Follower(Child);

impl Follower {
    fn start(server: &Process, args: &[&str], out: impl Into<Stdio>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arrwdb"));
        command.args(args).env("ARRWDB_SERVER", server.url("")).stdin(Stdio::null());
        Self(command.stdout(out).stderr(Stdio::piped()).spawn().expect("it starts"))
    }

    /// SIGTERM.
    fn stop(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Its status at its end, and what it said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        let mut stderr = self.0.stderr.take().expect("piped");
        stderr.read_to_string(&mut log).expect("UTF-8");
        (self.0.wait().expect("waitable").code(), log)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a recording has an event of this revision or a later one.
fn wait_for(recording: &Path, revision: u64) {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(recording).expect("readable");
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let last: Option<Value> = whole.lines().last().map(|line| lines(line).remove(0));
        let reached = last.and_then(|event| event["revision"].as_str()?.parse::<u64>().ok());
        if reached.is_some_and(|reached| reached >= revision) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "never happened: revision {revision}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes in rounds, through servers that are killed in the middle of each; gives the one that is
/// left and the last revision.
fn write_over_kills(mut server: Process, folder: &Path) -> (Process, u64) {
    let address: SocketAddr = server.address;
    let mut revision = 0;
    for round in 0..4 {
        let args = ["ingest", "l", "-", "--json"];
        let mut ingest = command(address, &args);
        ingest.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut ingest = ingest.spawn().expect("it starts");
        let mut stdin = ingest.stdin.take().expect("piped");
        let input = documents(round * 300..(round + 1) * 300);
        let half = input[..input.len() / 2].rfind('\n').expect("a line") + 1;
        stdin.write_all(&input.as_bytes()[..half]).expect("it reads");
        let counted = || {
            let library = run(&server, &["library", "get", "l", "--json"]).well();
            lines(&library)[0]["num_documents"].as_u64().expect("a count")
        };
        let start = Instant::now();
        while counted() < (round * 300 + 20) as u64 {
            assert!(start.elapsed() < DEADLINE, "the documents never came");
        }
        server.kill();
        server = Process::start_at(&address.to_string(), folder, &[]);
        stdin.write_all(&input.as_bytes()[half..]).expect("it reads");
        drop(stdin);
        let ended: Ended = ended(Ok(ingest));
        let summary = lines(&ended.well()).pop().expect("a summary");
        assert_eq!(summary["total_failed"], 0, "{summary}");
        revision = summary["revision"].as_str().and_then(|r| r.parse().ok()).expect("a revision");
    }
    (server, revision)
}

#[test]
fn a_subscription_over_killed_servers_passes_the_verifier() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let server = Process::start(&data, &[]);
    run(&server, &["library", "create", "l"]).well();
    let recordings = [
        ("all.ndjson", &["--cursor", "begin", "--heartbeats"][..], &[][..]),
        (
            "typed.ndjson",
            &["--cursor", "begin", "--event-types", "document.added,batch.completed"],
            &["--event-types", "document.added,batch.completed", "--cursor", "begin"],
        ),
        ("snapshot.ndjson", &["--snapshot", "--library", "l"], &["--library", "l"]),
    ];
    let followers: Vec<Follower> = recordings
        .iter()
        .map(|(name, args, _)| {
            let args = [&["subscribe", "--json"][..], args].concat();
            let out = File::create(folder.path().join(name)).expect("a file");
            Follower::start(&server, &args, out)
        })
        .collect();
    let (server, revision) = write_over_kills(server, &data);
    for (name, ..) in &recordings {
        wait_for(&folder.path().join(name), revision);
    }
    for mut follower in followers {
        follower.stop();
        let (code, log) = follower.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("resumes in") && log.contains("go on with --cursor "), "{log}");
    }
    let whole = run(&server, &["subscribe", "--cursor", "begin", "--until-tail", "--json"]).well();
    let reference = folder.path().join("reference.ndjson");
    std::fs::write(&reference, whole).expect("written");
    for (name, _, asked) in recordings {
        let recording = folder.path().join(name);
        let mut verify = command(server.address, &["verify-feed"]);
        verify.arg(&recording).arg("--reference").arg(&reference).args(asked);
        let ended = ended(verify.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn());
        assert!(ended.out.contains(": 0 violations"), "{name}: {ended:#?}");
        ended.well();
    }
}

#[test]
fn a_consumer_over_killed_servers_prints_each_event_once_and_acknowledges_it() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let server = Process::start(&data, &[]);
    run(&server, &["library", "create", "l"]).well();
    let made = ["consumer", "create", "c", "--event-types", "document.added,document.updated"];
    run(&server, &[&made[..], &["--cursor", "begin"]].concat()).well();
    let recording = folder.path().join("c.ndjson");
    let out = File::create(&recording).expect("a file");
    let mut follower = Follower::start(&server, &["subscribe", "--consumer", "c", "--json"], out);
    let (server, revision) = write_over_kills(server, &data);
    let wanted = ["--event-types", "document.added,document.updated", "--cursor", "begin"];
    let expected = [&["subscribe", "--until-tail", "--json"][..], &wanted].concat();
    let expected = run(&server, &expected).well();
    let last = lines(&expected).pop().expect("events")["revision"].clone();
    let last: u64 = last.as_str().and_then(|r| r.parse().ok()).expect("a revision");
    assert!(last <= revision);
    wait_for(&recording, last);
    let start = Instant::now();
    loop {
        let consumer = lines(&run(&server, &["consumer", "get", "c", "--json"]).well()).remove(0);
        let acknowledged = consumer["cursor"].as_str().expect("a cursor")[16..32].to_owned();
        if u64::from_str_radix(&acknowledged, 16).expect("a revision") >= last {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "never acknowledged: {consumer}");
    }
    assert_eq!(std::fs::read_to_string(&recording).expect("readable"), expected);
    // Another owner ends it.
    run(&server, &["consumer", "pull", "c"]).well();
    let (code, log) = follower.end();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("conflict: "), "{log}");
}
