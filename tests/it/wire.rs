//! Clients for tests: HTTP as it is, and both transports as one set of verbs over the gateway's
//! JSON, so that one script can run through either.

#![allow(dead_code, reason = "not every behaviour needs every tool")]

use std::time::Duration;

use arrwdb::api::fault::Fault as Row;
use arrwdb::types::ErrorKind;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::harness::{DEADLINE, Server};

/// What a call came to: the gateway's JSON, or a fault that looks the same on both transports.
pub type Outcome = Result<Value, Fault>;

/// A fault without what only one transport has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub slug: String,
    pub detail: String,
    /// Field and detail of each violation.
    pub violations: Vec<(String, String)>,
    pub retry_after_ms: Option<u64>,
    pub floor_cursor: Option<String>,
}

/// Every kind there is; the match makes the compiler ask for new ones.
pub fn kinds() -> Vec<ErrorKind> {
    use ErrorKind as K;
    let all = vec![
        K::InvalidArgument,
        K::NotFound,
        K::AlreadyExists,
        K::Conflict,
        K::FailedPrecondition,
        K::TooLarge,
        K::ResourceExhausted,
        K::CursorExpired,
        K::CursorUnknown,
        K::Unavailable,
        K::DeadlineExceeded,
        K::Cancelled,
        K::Unauthenticated,
        K::PermissionDenied,
        K::Unimplemented,
        K::Corrupt,
        K::Internal,
    ];
    for kind in &all {
        match kind {
            K::InvalidArgument
            | K::NotFound
            | K::AlreadyExists
            | K::Conflict
            | K::FailedPrecondition
            | K::TooLarge
            | K::ResourceExhausted
            | K::CursorExpired
            | K::CursorUnknown
            | K::Unavailable
            | K::DeadlineExceeded
            | K::Cancelled
            | K::Unauthenticated
            | K::PermissionDenied
            | K::Unimplemented
            | K::Corrupt
            | K::Internal => {}
        }
    }
    all
}

/// The row of the fault table that a slug names.
pub fn row(slug: &str) -> Row {
    let rows = kinds().into_iter().map(Row::of);
    rows.into_iter().find(|row| row.slug == slug).unwrap_or_else(|| panic!("no slug {slug:?}"))
}

/// Fails the test when a future takes longer than anything may.
pub async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    let ended = tokio::time::timeout(DEADLINE, future).await;
    ended.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// An HTTP answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = in_time("the end of a body", response.bytes()).await.expect("a whole body");
        Self { status, headers, body }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The body of a success.
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The lines of a successful NDJSON body.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/x-ndjson"));
        lines(self.text())
    }

    /// The problem of a refusal, which must look as the fault table says.
    pub fn fault(&self) -> Fault {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body: Value = serde_json::from_slice(&self.body).expect("JSON");
        let slug = text(&body["type"]);
        let slug = slug.strip_prefix("urn:arrwdb:error:").expect("our type").to_owned();
        let row = row(&slug);
        assert_eq!(self.status, row.status.as_u16(), "{body}");
        assert_eq!(body["status"], json!(self.status));
        assert_eq!(body["title"], json!(row.title));
        let violations = body.get("errors").and_then(Value::as_array);
        let violation = |v: &Value| (text(&v["field"]), text(&v["detail"]));
        let retry_after_ms = body.get("retry_after_ms").and_then(Value::as_u64);
        assert_eq!(retry_after_ms.is_some(), self.headers.contains_key("retry-after"));
        Fault {
            slug,
            detail: text(&body["detail"]),
            violations: violations.into_iter().flatten().map(violation).collect(),
            retry_after_ms,
            floor_cursor: body.get("floor_cursor").map(text),
        }
    }

    pub fn outcome(&self) -> Outcome {
        if (200..300).contains(&self.status) { Ok(self.ok()) } else { Err(self.fault()) }
    }
}

/// The values of NDJSON; every line must end.
pub fn lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line does not end: {text:?}");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Values as NDJSON.
pub fn ndjson(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// The text of a value that must be one.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// A revision as JSON has it.
pub fn revision(value: &Value) -> u64 {
    text(value).parse().expect("a revision")
}

/// A part of a path, percent-encoded.
pub fn encoded(part: &str) -> String {
    percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// HTTP/1.1 requests to a server.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
}

impl Http {
    pub fn of(server: &Server) -> Self {
        Self { client: server.http.clone(), base: server.url("") }
    }

    /// Over HTTP/1.1, of any server.
    pub fn at(base: String) -> Self {
        Self { client: reqwest::Client::builder().http1_only().build().expect("client"), base }
    }

    /// The same over HTTP/2 cleartext.
    pub fn h2(server: &Server) -> Self {
        let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("client");
        Self { client, base: server.url("") }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = in_time("the head of an answer", request.send()).await.expect("an answer");
        Reply::of(response).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(self.request("POST", path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(self.request("PATCH", path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request("DELETE", path)).await
    }

    /// Sends a whole NDJSON body and gives the lines of the answer.
    pub async fn ingest(
        &self,
        library: &str,
        query: &str,
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let path = format!("/v1/libraries/{}/documents/stream{query}", encoded(library));
        self.send(self.request("POST", &path).body(body)).await
    }

    pub async fn export(&self, library: &str, query: &str) -> Vec<Value> {
        let path = format!("/v1/libraries/{}/documents/stream{query}", encoded(library));
        self.get(&path).await.lines()
    }

    /// A library whose clients bring vectors.
    pub async fn vectors(&self, name: &str, metric: &str, dimension: usize) -> Value {
        let body = json!({"name": name, "metric": metric, "embedder": "none",
            "dimension": dimension});
        self.post("/v1/libraries", body).await.ok()
    }

    /// Every event from a cursor to the tail.
    pub async fn events(&self, cursor: &str, query: &str) -> Vec<Value> {
        let (mut cursor, mut events) = (cursor.to_owned(), Vec::new());
        loop {
            let path = format!("/v1/events?cursor={cursor}&limit=1000{query}");
            let page = self.get(&path).await.ok();
            events.extend(page["events"].as_array().expect("a list").iter().cloned());
            cursor = text(&page["next_cursor"]);
            if cursor >= text(&page["tail_cursor"]) {
                return events;
            }
        }
    }

    pub async fn follow(&self, query: &str) -> Sse {
        self.follow_with(self.request("GET", &format!("/v1/events/stream{query}"))).await
    }

    pub async fn follow_with(&self, request: reqwest::RequestBuilder) -> Sse {
        let response = in_time("the head of a stream", request.send()).await.expect("an answer");
        let status = response.status().as_u16();
        assert_eq!(status, 200, "{}", response.text().await.expect("a body"));
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Sse { pieces: response.bytes_stream().boxed(), bytes: Vec::new() }
    }
}

/// One Server-Sent Event.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub id: Option<String>,
    pub event: String,
    pub data: Value,
    /// The bytes, without the blank line.
    pub raw: String,
}

/// A stream of Server-Sent Events being read.
pub struct Sse {
    pieces: BoxStream<'static, reqwest::Result<Bytes>>,
    bytes: Vec<u8>,
}

impl Sse {
    /// The next frame; `None` at a clean end.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let rest = self.bytes.split_off(end + 2);
                let frame = std::mem::replace(&mut self.bytes, rest);
                return Some(frame_of(std::str::from_utf8(&frame[..end]).expect("UTF-8")));
            }
            match in_time("the next frame", self.pieces.next()).await {
                Some(piece) => self.bytes.extend(piece.expect("an unbroken stream")),
                None => {
                    assert!(self.bytes.is_empty(), "half a frame at the end");
                    return None;
                }
            }
        }
    }

    /// The next event of the log.
    pub async fn event(&mut self) -> Frame {
        loop {
            let frame = self.next().await.expect("the stream goes on");
            match frame.event.as_str() {
                "heartbeat" => {}
                "stream.error" => panic!("{}", frame.raw),
                _ => return frame,
            }
        }
    }

    /// The next `n` events of the log.
    pub async fn events(&mut self, n: usize) -> Vec<Frame> {
        let mut events = Vec::with_capacity(n);
        while events.len() < n {
            events.push(self.event().await);
        }
        events
    }

    /// Their data.
    pub async fn take(&mut self, n: usize) -> Vec<Value> {
        self.events(n).await.into_iter().map(|frame| frame.data).collect()
    }
}

fn frame_of(raw: &str) -> Frame {
    let (mut id, mut event, mut data) = (None, None, None);
    for line in raw.lines() {
        match line.split_once(": ").expect("a field") {
            ("id", value) => id = Some(value.to_owned()),
            ("event", value) => event = Some(value.to_owned()),
            ("data", value) => data = Some(serde_json::from_str(value).expect("JSON")),
            ("retry", _) => {}
            other => panic!("no field of ours: {other:?}"),
        }
    }
    Frame {
        id,
        event: event.expect("a named event"),
        data: data.expect("data"),
        raw: raw.to_owned(),
    }
}

/// Where to read the feed from, and what of it.
#[derive(Debug, Clone, Default)]
pub struct EventsQuery {
    pub library: String,
    pub types: Vec<&'static str>,
    pub cursor: String,
}

impl EventsQuery {
    pub fn from(cursor: impl Into<String>) -> Self {
        Self { cursor: cursor.into(), ..Self::default() }
    }

    fn query(&self) -> String {
        let mut query = format!("?cursor={}", encoded(&self.cursor));
        if !self.library.is_empty() {
            query += &format!("&library_id={}", encoded(&self.library));
        }
        if !self.types.is_empty() {
            query += &format!("&event_types={}", self.types.join(","));
        }
        query
    }
}

/// The verbs of the API over the gateway's JSON.
pub trait Wire {
    async fn create_library(&self, body: Value, request_id: &str) -> Outcome;
    async fn get_library(&self, library: &str, min_revision: Option<u64>) -> Outcome;
    async fn list_libraries(&self, size: u32, token: &str) -> Outcome;
    async fn update_library(&self, library: &str, patch: Value, expected: Option<u64>) -> Outcome;
    async fn delete_library(&self, library: &str, expected: Option<u64>) -> Outcome;
    async fn library_statistics(&self, library: &str) -> Outcome;
    async fn count(&self, library: &str, filter: &str) -> Outcome;
    async fn delete_matching(&self, library: &str, filter: &str) -> Outcome;
    async fn index(&self, library: &str, min_revision: Option<u64>) -> Outcome;
    async fn rebuild_index(&self, library: &str, body: Value) -> Outcome;
    async fn optimize_index(&self, library: &str) -> Outcome;
    async fn recall(&self, library: &str, body: Value) -> Outcome;
    async fn create_document(&self, library: &str, body: Value, request_id: &str) -> Outcome;
    async fn get_document(&self, library: &str, id: &str) -> Outcome;
    async fn list_documents(&self, library: &str, size: u32, token: &str, all: bool) -> Outcome;
    async fn update_document(
        &self,
        library: &str,
        id: &str,
        patch: Value,
        expected: Option<u64>,
    ) -> Outcome;
    async fn delete_document(&self, library: &str, id: &str, expected: Option<u64>) -> Outcome;
    /// Every status of an ingest stream, positions under `line`.
    async fn ingest(
        &self,
        library: &str,
        on_conflict: &str,
        report: &str,
        documents: &[Value],
    ) -> Outcome;
    async fn search(&self, library: &str, body: Value) -> Outcome;
    /// Every hit, then the closing line.
    async fn stream_search(&self, library: &str, body: Value) -> Outcome;
    /// Every document, then the closing line.
    async fn export(&self, library: &str, embeddings: bool) -> Outcome;
    async fn list_events(&self, query: &EventsQuery, limit: u32) -> Outcome;
    /// The first so many events of a subscription, behind its first heartbeat.
    async fn subscribe(&self, query: &EventsQuery, events: usize) -> Outcome;
    async fn event_statistics(&self) -> Outcome;
}

fn with(path: String, pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) }
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn library_path(library: &str) -> String {
    format!("/v1/libraries/{}", encoded(library))
}

fn document_path(library: &str, id: &str) -> String {
    format!("/v1/libraries/{}/documents/{}", encoded(library), encoded(id))
}

impl Http {
    async fn whole(&self, request: reqwest::RequestBuilder) -> Outcome {
        let reply = self.send(request).await;
        if reply.status == 200 { Ok(Value::Array(reply.lines())) } else { Err(reply.fault()) }
    }
}

impl Wire for Http {
    async fn create_library(&self, body: Value, request_id: &str) -> Outcome {
        let path = with("/v1/libraries".into(), &[("request_id", request_id.into())]);
        self.post(&path, body).await.outcome()
    }

    async fn get_library(&self, library: &str, min_revision: Option<u64>) -> Outcome {
        let timeout = min_revision.map(|_| 1);
        let pairs = [("min_revision", shown(min_revision)), ("timeout_ms", shown(timeout))];
        self.get(&with(library_path(library), &pairs)).await.outcome()
    }

    async fn list_libraries(&self, size: u32, token: &str) -> Outcome {
        let pairs = [("page_size", size.to_string()), ("page_token", token.into())];
        self.get(&with("/v1/libraries".into(), &pairs)).await.outcome()
    }

    async fn update_library(&self, library: &str, patch: Value, expected: Option<u64>) -> Outcome {
        let pairs = [("expected_revision", shown(expected))];
        self.patch(&with(library_path(library), &pairs), patch).await.outcome()
    }

    async fn delete_library(&self, library: &str, expected: Option<u64>) -> Outcome {
        let pairs = [("expected_revision", shown(expected))];
        self.delete(&with(library_path(library), &pairs)).await.outcome()
    }

    async fn library_statistics(&self, library: &str) -> Outcome {
        self.get(&format!("{}/statistics", library_path(library))).await.outcome()
    }

    async fn count(&self, library: &str, filter: &str) -> Outcome {
        let path = format!("{}/count", library_path(library));
        self.get(&with(path, &[("filter", filter.into())])).await.outcome()
    }

    async fn delete_matching(&self, library: &str, filter: &str) -> Outcome {
        let path = format!("{}/documents", library_path(library));
        self.delete(&with(path, &[("filter", filter.into())])).await.outcome()
    }

    async fn index(&self, library: &str, min_revision: Option<u64>) -> Outcome {
        let timeout = min_revision.map(|_| 1);
        let pairs = [("min_revision", shown(min_revision)), ("timeout_ms", shown(timeout))];
        self.get(&with(format!("{}/index", library_path(library)), &pairs)).await.outcome()
    }

    async fn rebuild_index(&self, library: &str, body: Value) -> Outcome {
        self.post(&format!("{}/index/rebuild", library_path(library)), body).await.outcome()
    }

    async fn optimize_index(&self, library: &str) -> Outcome {
        self.post(&format!("{}/index/optimize", library_path(library)), json!({})).await.outcome()
    }

    async fn recall(&self, library: &str, body: Value) -> Outcome {
        self.post(&format!("{}/recall", library_path(library)), body).await.outcome()
    }

    async fn create_document(&self, library: &str, body: Value, request_id: &str) -> Outcome {
        let path = format!("{}/documents", library_path(library));
        self.post(&with(path, &[("request_id", request_id.into())]), body).await.outcome()
    }

    async fn get_document(&self, library: &str, id: &str) -> Outcome {
        self.get(&document_path(library, id)).await.outcome()
    }

    async fn list_documents(&self, library: &str, size: u32, token: &str, all: bool) -> Outcome {
        let pairs = [
            ("page_size", size.to_string()),
            ("page_token", token.into()),
            ("include_chunks", all.to_string()),
        ];
        let path = format!("{}/documents", library_path(library));
        self.get(&with(path, &pairs)).await.outcome()
    }

    async fn update_document(
        &self,
        library: &str,
        id: &str,
        patch: Value,
        expected: Option<u64>,
    ) -> Outcome {
        let mut request = self.request("PATCH", &document_path(library, id)).json(&patch);
        if let Some(expected) = expected {
            request = request.header("if-match", format!("\"{expected}\""));
        }
        self.send(request).await.outcome()
    }

    async fn delete_document(&self, library: &str, id: &str, expected: Option<u64>) -> Outcome {
        let pairs = [("expected_revision", shown(expected))];
        self.delete(&with(document_path(library, id), &pairs)).await.outcome()
    }

    async fn ingest(
        &self,
        library: &str,
        on_conflict: &str,
        report: &str,
        documents: &[Value],
    ) -> Outcome {
        let path = format!("{}/documents/stream", library_path(library));
        let pairs = [("on_conflict", on_conflict.into()), ("report", report.into())];
        self.whole(self.request("POST", &with(path, &pairs)).body(ndjson(documents))).await
    }

    async fn search(&self, library: &str, body: Value) -> Outcome {
        self.post(&format!("{}/search", library_path(library)), body).await.outcome()
    }

    async fn stream_search(&self, library: &str, body: Value) -> Outcome {
        let path = format!("{}/search/stream", library_path(library));
        self.whole(self.request("POST", &path).json(&body)).await
    }

    async fn export(&self, library: &str, embeddings: bool) -> Outcome {
        let path = format!("{}/documents/stream", library_path(library));
        let path = with(path, &[("include_embeddings", embeddings.to_string())]);
        self.whole(self.request("GET", &path)).await
    }

    async fn list_events(&self, query: &EventsQuery, limit: u32) -> Outcome {
        let path = format!("/v1/events{}&limit={limit}", query.query());
        self.get(&path).await.outcome()
    }

    async fn subscribe(&self, query: &EventsQuery, events: usize) -> Outcome {
        let request = self.request("GET", &format!("/v1/events/stream{}", query.query()));
        let response = in_time("the head", request.send()).await.expect("an answer");
        if response.status().as_u16() != 200 {
            return Err(Reply::of(response).await.fault());
        }
        let mut frames = Sse { pieces: response.bytes_stream().boxed(), bytes: Vec::new() };
        let first = frames.next().await.expect("a first frame");
        assert_eq!(first.event, "heartbeat");
        let mut items = vec![json!({"heartbeat": first.id.expect("a cursor")})];
        while items.len() <= events {
            let frame = frames.event().await;
            assert_eq!(frame.id, Some(text(&frame.data["id"])));
            assert_eq!(frame.event, text(&frame.data["type"]));
            items.push(frame.data);
        }
        Ok(Value::Array(items))
    }

    async fn event_statistics(&self) -> Outcome {
        self.get("/v1/events/statistics").await.outcome()
    }
}

/// How long an idle subscription of these tests is silent.
pub const QUICK_HEARTBEAT: Duration = Duration::from_millis(20);

/// The channel of a server, for generated clients.
pub async fn channel(server: &Server) -> Channel {
    server.channel().await
}
