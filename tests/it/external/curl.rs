//! Every documented path of the gateway, asked by curl over HTTP/1.1 and HTTP/2.

use std::process::Command;

use serde_json::{Value, json};

use super::{Running, json as parse, lines, output, tool};
use crate::harness::Process;

const VERSIONS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

/// curl on one server with one version of HTTP.
struct Curl<'a> {
    server: &'a Process,
    version: &'static str,
}

/// What came of a request.
#[derive(Debug)]
struct Reply {
    status: u16,
    content_type: String,
    body: String,
}

impl Curl<'_> {
    fn command(&self, arguments: &[&str], path: &str) -> Command {
        let mut command = tool("curl");
        command.args(["-sS", self.version]).args(arguments).arg(self.server.url(path));
        command
    }

    fn ask(&self, arguments: &[&str], path: &str) -> Reply {
        let told = ["-w", "\n%{http_code} %{content_type}"];
        let out = output(&mut self.command(&[&told, arguments].concat(), path));
        let (body, told) = out.rsplit_once('\n').expect("a last line");
        let (status, content_type) = told.split_once(' ').expect("two words");
        Reply {
            status: status.parse().expect("a number"),
            content_type: content_type.into(),
            body: body.into(),
        }
    }

    /// The body of a reply that is a success in JSON.
    fn get(&self, arguments: &[&str], path: &str) -> Value {
        let reply = self.ask(arguments, path);
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(reply.content_type, "application/json", "{path}");
        parse(&reply.body)
    }

    /// Sends JSON.
    fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = body.to_string();
        self.ask(&["-X", method, "-H", "content-type: application/json", "-d", &body], path)
    }

    fn create(&self, path: &str, body: &Value) -> Value {
        let reply = self.send("POST", path, body);
        assert_eq!(reply.status, 201, "{path}: {reply:?}");
        parse(&reply.body)
    }
}

fn with_both_versions(test: impl Fn(&Curl<'_>)) {
    for version in VERSIONS {
        let folder = tempfile::tempdir().expect("folder");
        let server = Process::start(folder.path(), &[]);
        test(&Curl { server: &server, version });
        assert_eq!(server.terminate(), Some(0), "{version}");
    }
}

/// The lines of the next frame of Server-Sent Events.
fn read_frame(follow: &mut Running) -> Vec<String> {
    let mut frame = Vec::new();
    loop {
        let line = follow.read();
        if line.is_empty() {
            return frame;
        }
        frame.push(line);
    }
}

/// The value of a field in a frame.
fn field<'a>(frame: &'a [String], name: &str) -> &'a str {
    let value = frame.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {name} in {frame:?}"))
}

#[test]
#[ignore = "needs curl: run by .ci/run"]
fn curl_reaches_libraries_and_documents() {
    with_both_versions(|curl| {
        assert_eq!(curl.get(&[], "/health"), json!({"status": "alive"}));
        assert_eq!(curl.get(&[], "/ready")["status"], "ready");

        let library = curl.create("/v1/libraries", &json!({"name": "täglich neu"}));
        let id = library["id"].as_str().expect("an id");
        assert_eq!((&library["metric"], &library["dimension"]), (&json!("cosine"), &json!(256)));
        let by_name = "/v1/libraries/t%C3%A4glich%20neu";
        assert_eq!(curl.get(&[], by_name), library);
        assert_eq!(curl.get(&[], &format!("/v1/libraries/{id}")), library);
        assert_eq!(curl.get(&[], "/v1/libraries")["libraries"], json!([library]));
        let reply = curl.send("PATCH", by_name, &json!({"description": "new"}));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(parse(&reply.body)["description"], "new");

        let documents = format!("/v1/libraries/{id}/documents");
        let new = json!({"id": "a/b", "title": "Heron", "texts": ["It wades.", "It eats fish."]});
        let document = curl.create(&documents, &new);
        assert_eq!(document["num_chunks"], 2);
        let path = format!("{documents}/a%2Fb");
        assert_eq!(curl.get(&[], &path), document);
        let listed = curl.get(&[], &format!("{documents}?page_size=1"));
        assert_eq!(listed["documents"][0]["id"], "a/b");
        let statistics = curl.get(&[], &format!("/v1/libraries/{id}/statistics"));
        assert_eq!(
            (&statistics["num_documents"], &statistics["num_chunks"]),
            (&json!(1), &json!(2))
        );

        let stale = format!("if-match: \"{}\"", library["revision"].as_str().expect("text"));
        let reply = curl.ask(&["-X", "DELETE", "-H", &stale], &path);
        assert_eq!((reply.status, reply.content_type.as_str()), (409, "application/problem+json"));
        assert_eq!(parse(&reply.body)["type"], "urn:arrwdb:error:conflict");
        let current = format!("if-match: \"{}\"", document["revision"].as_str().expect("text"));
        let changed = ["-X", "PATCH", "-H", &current, "--json", r#"{"tags": ["bird"]}"#];
        let changed = curl.get(&changed, &path);
        assert_eq!(changed["tags"], json!(["bird"]));
        assert!(curl.get(&["-X", "DELETE"], &path)["revision"].is_string());
        assert_eq!(curl.ask(&[], &path).status, 404);
        assert!(curl.get(&["-X", "DELETE"], by_name)["revision"].is_string());
        let reply = curl.ask(&[], by_name);
        assert_eq!((reply.status, reply.content_type.as_str()), (404, "application/problem+json"));
    });
}

#[test]
#[ignore = "needs curl: run by .ci/run"]
fn curl_streams_in_searches_and_pipes_an_export_into_another_library() {
    with_both_versions(|curl| {
        curl.create("/v1/libraries", &json!({"name": "a"}));
        curl.create("/v1/libraries", &json!({"name": "b"}));
        let body = "{\"id\":\"1\",\"title\":\"Heron\",\"texts\":[\"A bird that wades.\"]}\n\
                    not JSON\n\
                    {\"id\":\"2\",\"title\":\"Anvil\",\"text\":\"A smith's block of iron.\"}";
        let stream = "/v1/libraries/a/documents/stream";
        let reply = curl.ask(&["-H", "content-type: application/x-ndjson", "-d", body], stream);
        // `-d` drops line ends only from files, so three lines arrive.
        assert_eq!((reply.status, reply.content_type.as_str()), (200, "application/x-ndjson"));
        let told = lines(&reply.body);
        let statuses: Vec<_> = told.iter().map(|line| (&line["status"], &line["line"])).collect();
        let ended: Vec<_> = statuses.into_iter().filter(|(s, _)| *s != "processing").collect();
        assert_eq!(
            ended,
            [
                (&json!("completed"), &json!(1)),
                (&json!("failed"), &json!(2)),
                (&json!("completed"), &json!(3)),
                (&json!("summary"), &Value::Null),
            ]
        );

        let reply = curl.send("POST", "/v1/libraries/a/search", &json!({"query": "bird", "k": 1}));
        assert_eq!(parse(&reply.body)["results"][0]["title"], "Heron", "{reply:?}");
        let several = json!({"queries": [{"query": "bird"}, {"query": "smith"}], "k": 1});
        let several = parse(&curl.send("POST", "/v1/libraries/a/search", &several).body);
        assert_eq!(several["queries"][1]["results"][0]["title"], "Anvil");
        let reply = curl.ask(&["-X", "POST"], "/v1/libraries/a/search/stream?query=smith&k=2");
        assert_eq!((reply.status, reply.content_type.as_str()), (200, "application/x-ndjson"));
        let hits = lines(&reply.body);
        assert_eq!((&hits[0]["rank"], &hits[0]["title"]), (&json!(1), &json!("Anvil")));
        assert_eq!(hits[2]["status"], "complete");

        let export = curl.ask(&[], &format!("{stream}?include_embeddings=true"));
        assert_eq!(export.content_type, "application/x-ndjson");
        let exported = lines(&export.body);
        let closing = exported.last().expect("lines");
        assert_eq!(
            (&closing["status"], &closing["total_documents"]),
            (&json!("complete"), &json!(2))
        );
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &export.body).expect("written");
        let file = file.path().to_str().expect("UTF-8");
        let into = "/v1/libraries/b/documents/stream?report=summary";
        let summary = lines(&curl.ask(&["-X", "POST", "-T", file], into).body);
        assert_eq!(summary.len(), 1, "{summary:?}");
        assert_eq!(summary[0]["total_succeeded"], 2);
        assert_eq!(summary[0]["truncated"], Value::Null);

        let unknown = curl.ask(&["-d", "{}"], "/v1/libraries/none/documents/stream");
        assert_eq!(unknown.status, 404);
    });
}

#[test]
#[ignore = "needs curl: run by .ci/run"]
fn curl_shows_a_status_before_the_next_line_is_sent() {
    with_both_versions(|curl| {
        curl.create("/v1/libraries", &json!({"name": "a"}));
        let path = "/v1/libraries/a/documents/stream";
        let mut upload = Running::start(
            curl.command(&["-N", "--no-progress-meter", "-T", ".", "-X", "POST"], path),
        );
        for line in 1..=3 {
            upload.write(&json!({"id": format!("{line}"), "title": "T", "text": "words"}));
            for status in ["processing", "completed"] {
                let told = parse(&upload.read());
                assert_eq!((&told["status"], &told["line"]), (&json!(status), &json!(line)));
            }
            // Durable and readable, while the upload is open.
            let read = curl.get(&[], &format!("/v1/libraries/a/documents/{line}"));
            assert_eq!(read["title"], "T");
        }
        upload.close_input();
        let summary = parse(&upload.read());
        assert_eq!(
            (&summary["status"], &summary["total_succeeded"]),
            (&json!("summary"), &json!(3))
        );
        assert_eq!(upload.end(), Some(0));
    });
}

#[test]
#[ignore = "needs curl: run by .ci/run"]
fn curl_follows_events_and_resumes_behind_the_last_one() {
    with_both_versions(|curl| {
        let library = curl.create("/v1/libraries", &json!({"name": "a"}));
        let id = library["id"].as_str().expect("text");
        let path = format!("/v1/events/stream?library_id={id}&event_types=document.added");
        let accept = ["-N", "-H", "accept: text/event-stream"];
        let mut follow = Running::start(curl.command(&accept, &path));
        let first = read_frame(&mut follow);
        assert_eq!(first[0], "retry: 2000");
        assert!(!field(&first, "id").is_empty());
        let create = |name: &str| {
            let document = json!({"id": name, "title": name, "text": "words"});
            curl.create("/v1/libraries/a/documents", &document);
        };
        create("one");
        let one = read_frame(&mut follow);
        assert_eq!(field(&one, "event"), "document.added");
        assert_eq!(parse(field(&one, "data"))["document_id"], "one");
        drop(follow);

        create("two");
        let last = format!("last-event-id: {}", field(&one, "id"));
        let mut follow =
            Running::start(curl.command(&[&accept[..], &["-H", &last]].concat(), &path));
        let mut frame = read_frame(&mut follow);
        while field(&frame, "event") == "heartbeat" {
            frame = read_frame(&mut follow);
        }
        assert_eq!(parse(field(&frame, "data"))["document_id"], "two");
        drop(follow);

        let page = curl.get(&[], "/v1/events?cursor=begin&limit=3");
        let types: Vec<_> =
            page["events"].as_array().expect("a list").iter().map(|e| &e["type"]).collect();
        assert_eq!(types, ["library.created", "document.added", "chunk.added"]);
        let next = page["next_cursor"].as_str().expect("text");
        let rest = curl.get(&[], &format!("/v1/events?cursor={next}&limit=1000"));
        assert_eq!(rest["next_cursor"], rest["tail_cursor"]);
        assert_eq!(rest["events"].as_array().map(Vec::len), Some(2));
        let statistics = curl.get(&[], "/v1/events/statistics");
        assert_eq!(
            (&statistics["running"], &statistics["total_published"]),
            (&json!(true), &json!(5))
        );

        let lost = format!("/v1/events/stream?cursor={}", "f".repeat(40));
        let reply = curl.ask(&[], &lost);
        assert_eq!((reply.status, reply.content_type.as_str()), (410, "application/problem+json"));
        let reply = curl.ask(&["-H", "accept: text/event-stream"], &lost);
        assert_eq!((reply.status, reply.content_type.as_str()), (200, "text/event-stream"));
        assert!(reply.body.contains("event: stream.error\n"), "{reply:?}");
    });
}

#[test]
#[ignore = "needs curl: run by .ci/run"]
fn curl_is_refused_a_line_of_fifty_megabytes_and_that_line_alone() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let long = format!("{{\"title\":\"long\",\"text\":\"{}\"}}", "x".repeat(50_000_000));
    let short = json!({"title": "short", "text": "words"});
    std::fs::write(file.path(), format!("{long}\n{short}\n")).expect("written");
    let document = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(document.path(), long).expect("written");
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().expect("UTF-8").to_owned();
    with_both_versions(|curl| {
        curl.create("/v1/libraries", &json!({"name": "a"}));
        let upload = ["-X", "POST", "-T", &path(&file)];
        let reply = curl.ask(&upload, "/v1/libraries/a/documents/stream?report=all");
        let told = lines(&reply.body);
        let of = |line: u64| -> Vec<&Value> { told.iter().filter(|t| t["line"] == line).collect() };
        assert_eq!(of(1).last().expect("told")["error"]["type"], "too-large", "{told:?}");
        assert_eq!(of(2).last().expect("told")["status"], "completed", "{told:?}");
        let summary = told.last().expect("told");
        assert_eq!((&summary["total_succeeded"], &summary["total_failed"]), (&json!(1), &json!(1)));

        // Debian 12's curl takes the end of a stream whose upload it has not finished for an
        // error, though all of the reply has come (RFC 9113, 8.1, has servers do so).
        if curl.version == "--http2-prior-knowledge" {
            return;
        }
        let upload = ["-X", "POST", "-H", "content-type: application/json", "-T", &path(&document)];
        let reply = curl.ask(&upload, "/v1/libraries/a/documents");
        assert_eq!((reply.status, reply.content_type.as_str()), (413, "application/problem+json"));
    });
}
