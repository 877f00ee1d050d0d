//! `arrwdb ingest`, `export` and `import` against the real binary: nothing missing, nothing
//! doubled, whatever breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::{Ended, command, ended, lines, run, run_with};
use crate::harness::{DEADLINE, Process};

fn start(folder: &Path) -> Process {
    Process::start(folder, &[])
}

/// The documents of a library, by id, without what each write gives anew.
fn documents(server: &Process, library: &str) -> BTreeMap<String, Value> {
    let export = run(server, &["export", library, "--quiet"]).well();
    let mut lines = lines(&export);
    let end = lines.pop().expect("a closing line");
    assert_eq!(end["status"], "complete");
    assert_eq!(end["total_documents"], lines.len());
    let by_id: BTreeMap<_, _> = lines
        .into_iter()
        .map(|line| (line["id"].as_str().expect("an id").to_owned(), line))
        .collect();
    assert_eq!(by_id.len() as u64, end["total_documents"].as_u64().expect("a count"));
    by_id
}

/// The ids of events of a type, in order.
fn events(server: &Process, kind: &str) -> Vec<String> {
    let args = ["subscribe", "--cursor", "begin", "--until-tail", "--json", "--event-types", kind];
    let events = lines(&run(server, &args).well());
    events.iter().map(|event| event["document_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn folders_are_read_and_a_second_run_replaces() {
    let folder = tempfile::tempdir().expect("folder");
    let server = start(&folder.path().join("data"));
    run(&server, &["library", "create", "docs"]).well();
    let files = folder.path().join("files");
    let write = |name: &str, text: &[u8]| {
        let path = files.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write(
        "guide/a.md",
        b"---\nauthor: Me\ntags: [x, y]\nlevel: 3\n---\n# Title *A*\n\nText of a.\n",
    );
    write("b.txt", "Text of b: ä.".as_bytes());
    write(
        "c.ndjson",
        b"{\"id\":\"c1\",\"title\":\"C\",\"text\":\"c\"}\n\n{\"title\":\"no text\"}\n",
    );
    write("bad.txt", b"\xff");
    write("blank.md", b"---\nlevel: 1\n---\n\n");
    write("picture.png", b"\x89PNG");
    let failures = folder.path().join("failures.ndjson");
    let ingest = |more: &[&str]| -> Ended {
        let mut command = command(server.address, &["ingest", "docs", "files", "--failures"]);
        command.arg(&failures).args(more).current_dir(folder.path());
        ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn())
    };
    let ended = ingest(&[]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.out.starts_with("3 documents written, 3 failed; 3 chunks"), "{ended:#?}");
    for words in [
        "left out, for the format is not known: 1 file\n",
        "files/bad.txt \"bad.txt\": invalid-argument: text: is not UTF-8",
        "files/c.ndjson:3 \"no text\": invalid-argument: texts: ",
        "files/blank.md \"blank.md\": invalid-argument: text: must not be blank",
    ] {
        assert!(ended.log.contains(words), "{words}: {ended:#?}");
    }
    let told = lines(&std::fs::read_to_string(&failures).expect("written"));
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|line| line["status"] == "failed" && line["file"].is_string()));
    let of_line = told.iter().find(|line| line["line"] == 3).expect("of the line");
    assert_eq!(of_line["error"]["type"], "invalid-argument");

    let first = documents(&server, "docs");
    assert_eq!(first.keys().collect::<Vec<_>>(), ["c1", "files/b.txt", "files/guide/a.md"]);
    let a = &first["files/guide/a.md"];
    assert_eq!((&a["title"], &a["author"]), (&json!("Title A"), &json!("Me")));
    assert_eq!((&a["tags"], &a["metadata"]), (&json!(["x", "y"]), &json!({"level": 3})));
    assert!(a["chunks"][0]["text"].as_str().expect("text").starts_with("# Title *A*"), "{a}");
    let url = a["source_url"].as_str().expect("a URL");
    assert!(url.starts_with("file:///") && url.ends_with("files/guide/a.md"), "{url}");

    let ended = ingest(&["--json", "--quiet"]);
    let told = lines(&ended.out);
    assert_eq!((told.len(), ended.log.as_str()), (4, ""), "{ended:#?}");
    assert_eq!(told[3]["status"], "summary");
    assert_eq!((&told[3]["total_succeeded"], &told[3]["total_failed"]), (&json!(3), &json!(3)));
    assert_eq!(documents(&server, "docs"), first);
    assert_eq!(events(&server, "document.added").len(), 3);

    let skipped = ingest(&["--on-conflict", "skip"]);
    assert!(skipped.out.starts_with("0 documents written, 3 skipped, 3 failed"), "{skipped:#?}");
    let failed = ingest(&["--on-conflict", "fail"]);
    assert!(failed.out.starts_with("0 documents written, 6 failed"), "{failed:#?}");
    let log = run(&server, &["ingest", "docs", "Cargo.toml"]).badly(2);
    assert!(log.contains("--format"), "{log}");
}

fn line(number: usize) -> String {
    format!(
        "{{\"id\":\"d{number}\",\"title\":\"T{number}\",\"texts\":[\"one {number}\",\"two\"]}}\n"
    )
}

/// Waits until a library has so many documents.
fn wait_for(server: &Process, library: &str, count: u64) {
    let start = Instant::now();
    loop {
        let library = lines(&run(server, &["library", "get", library, "--json"]).well()).remove(0);
        if library["num_documents"].as_u64().expect("a count") >= count {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "never happened: {count} documents");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Streams documents in without a pause, through servers that are killed; gives the one that is
/// left, how many documents there were, and what the ingest said.
fn ingest_over_kills(
    folder: &Path,
    on_conflict: &str,
    before: &[usize],
) -> (Process, usize, Ended) {
    let mut server = start(folder);
    let address: SocketAddr = server.address;
    run(&server, &["library", "create", "l"]).well();
    let earlier: String = before.iter().map(|number| line(*number)).collect();
    run_with(&server, &["ingest", "l", "-", "--quiet"], &earlier).well();
    let args = ["ingest", "l", "-", "--json", "--on-conflict", on_conflict];
    let mut ingest = command(address, &args);
    ingest.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ingest = ingest.spawn().expect("it starts");
    let mut stdin = ingest.stdin.take().expect("piped");
    let (stop, stopped) = mpsc::channel::<()>();
    // Faster than the server takes them, so that some are under way at all times.
    let writing = std::thread::spawn(move || {
        let mut count = 0;
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            stdin.write_all(line(count).as_bytes()).expect("it reads");
            count += 1;
        }
        count
    });
    for _ in 0..3 {
        let counted = || {
            let library = run(&server, &["library", "get", "l", "--json"]).well();
            lines(&library)[0]["num_documents"].as_u64().expect("a count")
        };
        wait_for(&server, "l", counted() + 150);
        server.kill();
        server = Process::start_at(&address.to_string(), folder, &[]);
    }
    stop.send(()).expect("it writes");
    let count = writing.join().expect("no panic");
    (server, count, ended(Ok(ingest)))
}

#[test]
fn a_server_that_is_killed_makes_an_ingest_neither_miss_nor_double() {
    let folder = tempfile::tempdir().expect("folder");
    let (server, count, ended) = ingest_over_kills(folder.path(), "replace", &[]);
    assert!(ended.log.contains("goes on in"), "{}", ended.log);
    let summary = lines(&ended.well()).pop().expect("a summary");
    assert_eq!((&summary["total_succeeded"], &summary["total_failed"]), (&json!(count), &json!(0)));
    assert!(summary["resumptions"].as_u64() >= Some(3), "{summary}");
    let documents = documents(&server, "l");
    assert_eq!(documents.len(), count);
    for number in 0..count {
        let document = &documents[&format!("d{number}")];
        assert_eq!(document["title"], format!("T{number}"));
        assert_eq!(document["chunks"][0]["text"], format!("one {number}"));
        assert_eq!(document["chunks"].as_array().map(Vec::len), Some(2));
    }
    let added = events(&server, "document.added");
    assert_eq!(added.iter().collect::<BTreeSet<_>>().len(), added.len(), "each was added once");
    assert_eq!(added.len(), count);
}

#[test]
fn what_was_there_before_is_told_from_what_was_written_unheard() {
    for (on_conflict, count) in [("skip", "total_skipped"), ("fail", "total_failed")] {
        let folder = tempfile::tempdir().expect("folder");
        let (server, written, ended) = ingest_over_kills(folder.path(), on_conflict, &[5, 70, 159]);
        let code = i32::from(on_conflict == "fail");
        assert_eq!(ended.code, Some(code), "{}", ended.log);
        let summary = lines(&ended.out).pop().expect("a summary");
        assert_eq!(summary["total_succeeded"], written - 3, "{summary}");
        assert!(summary["resumptions"].as_u64() >= Some(3), "{summary}");
        assert_eq!(summary[count], 3, "{summary}");
        assert_eq!(documents(&server, "l").len(), written);
        assert_eq!(events(&server, "document.updated"), Vec::<String>::new());
    }
}

#[test]
fn a_server_that_stays_away_is_given_up() {
    let folder = tempfile::tempdir().expect("folder");
    let server = start(folder.path());
    let address = server.address;
    run(&server, &["library", "create", "l"]).well();
    let mut ingest = command(address, &["ingest", "l", "-", "--retry-seconds", "0.5"]);
    ingest.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ingest = ingest.spawn().expect("it starts");
    let mut stdin = ingest.stdin.take().expect("piped");
    stdin.write_all(line(1).as_bytes()).expect("it reads");
    wait_for(&server, "l", 1);
    server.kill();
    stdin.write_all(line(2).as_bytes()).expect("it reads");
    let ended = ended(Ok(ingest));
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(ended.out.starts_with("1 document written, 1 sent and not answered"), "{ended:#?}");
    assert!(ended.log.contains("unavailable: "), "{ended:#?}");
}

#[test]
fn an_interrupted_ingest_tells_what_is_written() {
    let folder = tempfile::tempdir().expect("folder");
    let server = start(folder.path());
    run(&server, &["library", "create", "l"]).well();
    let mut ingest = Command::new(env!("CARGO_BIN_EXE_arrwdb"));
    ingest.args(["ingest", "l", "-"]).env("ARRWDB_SERVER", server.url(""));
    ingest.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ingest = ingest.spawn().expect("it starts");
    // Stays open: there may be more.
    let mut stdin = ingest.stdin.take().expect("piped");
    stdin.write_all(line(1).as_bytes()).expect("it reads");
    wait_for(&server, "l", 1);
    let sent = Command::new("kill").args(["-INT", &ingest.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let ended = ended(Ok(ingest));
    assert_eq!(ended.code, Some(130), "{ended:#?}");
    assert!(ended.out.starts_with("1 document written"), "{ended:#?}");
    drop(stdin);
}

#[test]
fn an_export_comes_back_as_it_was_and_only_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let server = start(&folder.path().join("data"));
    run(&server, &["library", "create", "one", "--embedder", "none", "--dimension", "2"]).well();
    let input: String = (0..50)
        .map(|n| {
            let chunk = json!({"text": format!("t{n}"), "embedding": [0.1 + f64::from(n), -2.5],
                "metadata": {"page": n}});
            let document = json!({"id": format!("d{n}"), "title": "T", "chunks": [chunk],
                "tags": ["a"], "metadata": {"n": f64::from(n) / 3.0}});
            format!("{document}\n")
        })
        .collect();
    run_with(&server, &["ingest", "one", "-", "--quiet"], &input).well();
    let file = folder.path().join("one.ndjson");
    let path = file.to_str().expect("UTF-8");
    let ended = run(&server, &["export", "one", "-o", path, "--include-embeddings"]);
    let (log, out) = (ended.log.clone(), ended.well());
    assert_eq!(out, "");
    assert!(log.contains("50 documents; what came after: --cursor "), "{log}");
    let whole = std::fs::read_to_string(&file).expect("written");
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 2, "no part is left beside the file");

    let none = ["--create", "--embedder", "none", "--dimension", "2", "--quiet"];
    run(&server, &[&["import", "two", path][..], &none].concat()).well();
    let export =
        |library| run(&server, &["export", library, "--include-embeddings", "--quiet"]).well();
    let without_end = |text: &str| {
        let (documents, _) = text.trim_end().rsplit_once('\n').expect("lines");
        documents.to_owned()
    };
    assert_eq!(without_end(&export("two")), without_end(&whole));

    // Cut between two lines, within one, and before the closing line.
    run(&server, &["library", "create", "three", "--embedder", "none", "--dimension", "2"]).well();
    let cut = folder.path().join("cut.ndjson");
    let middle = whole[..whole.len() / 2].rfind('\n').expect("a line") + 1;
    for end in [middle, whole.len() / 2, without_end(&whole).len() + 1, 0] {
        std::fs::write(&cut, &whole[..end]).expect("written");
        let path = cut.to_str().expect("UTF-8");
        let log = run(&server, &["import", "three", path]).badly(1);
        assert!(log.contains("the export is truncated") && log.contains("nothing was"), "{log}");
    }
    let missing = whole.split_once('\n').expect("lines").1;
    std::fs::write(&cut, missing).expect("written");
    let log = run(&server, &["import", "three", cut.to_str().expect("UTF-8")]).badly(1);
    assert!(log.contains("has 49 documents, its closing line says 50"), "{log}");
    assert_eq!(documents(&server, "three").len(), 0);
    // What comes through a pipe is known at its end only.
    let ended = run_with(&server, &["import", "three", "-", "--json"], &whole[..middle]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert_eq!(lines(&ended.out).pop().expect("a summary")["truncated"], true);
    assert!(ended.log.contains("the export is truncated"), "{ended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_says_what_http_exports() {
    let folder = tempfile::tempdir().expect("folder");
    let server = start(folder.path());
    run(&server, &["library", "create", "l"]).well();
    let input = concat!(
        r#"{"id":"a","title":"A","author":"x","document_type":"y","source_url":"z","tags":["t"],"#,
        r#""metadata":{"b":[1,null,{"c":0.1}]},"chunks":[{"text":"one","metadata":{"p":1}},{"text":"two"}]}"#,
        "\n",
        r#"{"id":"b","title":"B","text":"three"}"#,
    );
    run_with(&server, &["ingest", "l", "-", "--quiet"], input).well();
    let url = server.url("/v1/libraries/l/documents/stream?include_embeddings=true");
    let http = reqwest::get(url).await.expect("sent").text().await.expect("text");
    let mut expected = lines(&http);
    // What gRPC does not carry, and an ingest does not need.
    for line in expected.iter_mut().filter_map(Value::as_object_mut) {
        for name in ["created_at", "updated_at", "revision"] {
            line.remove(name);
        }
        for chunk in line.get_mut("chunks").and_then(Value::as_array_mut).into_iter().flatten() {
            chunk.as_object_mut().expect("an object").remove("id");
        }
    }
    let said = run(&server, &["export", "l", "--include-embeddings", "--quiet"]).well();
    assert_eq!(lines(&said), expected);
    // Either goes back in, and through `ingest` as well as `import`.
    for (text, verb) in [(&http, "import"), (&said, "import"), (&http, "ingest"), (&said, "ingest")]
    {
        run_with(&server, &[verb, "l", "-", "--quiet"], text).well();
    }
    assert_eq!(
        lines(&run(&server, &["export", "l", "--include-embeddings", "--quiet"]).well())[..2],
        expected[..2]
    );
}
