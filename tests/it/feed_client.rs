//! Readers of the feed as the tests of the feed use them: over SSE, over gRPC, by pages.

#![allow(dead_code, reason = "not every behaviour needs every tool")]

use arrwdb::api::grpc::pb;
use arrwdb::api::grpc::pb::event_service_client::EventServiceClient;
use arrwdb::api::grpc::pb::subscribe_response::Item;
use serde_json::{Value, json};

use crate::harness::{DEADLINE, Server};
use crate::wire::{Http, Sse};

/// A reader over SSE, with the query string as it is, and the `Last-Event-ID` of an `EventSource`
/// that comes back.
pub async fn follow(server: &Server, query: &str, last_event_id: Option<&str>) -> Sse {
    let http = Http::of(server);
    let mut request = http.request("GET", &format!("/v1/events/stream?{query}"));
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    http.follow_with(request).await
}

/// A reader over gRPC.
pub struct Grpc(tonic::Streaming<pb::SubscribeResponse>);

impl Grpc {
    pub async fn open(server: &Server, request: pb::SubscribeRequest) -> Self {
        let mut client = EventServiceClient::new(server.channel().await);
        Self(client.subscribe(request).await.expect("subscribed").into_inner())
    }

    pub async fn item(&mut self) -> Item {
        let next = tokio::time::timeout(DEADLINE, self.0.message()).await.expect("in time");
        next.expect("no error").expect("the stream goes on").item.expect("an item")
    }

    pub async fn event(&mut self) -> pb::Event {
        loop {
            match self.item().await {
                Item::Event(event) => return event,
                Item::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn events(&mut self, count: usize) -> Vec<pb::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event().await);
        }
        events
    }
}

/// All events so far, by pages.
pub async fn all_events(server: &Server) -> Vec<Value> {
    pages(server, "").await
}

/// All events so far that a query lets pass, by pages.
pub async fn pages(server: &Server, query: &str) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), "begin".to_owned());
    loop {
        let url = server.url(&format!("/v1/events?limit=7&cursor={cursor}&{query}"));
        let page: Value = get(server, &url).await;
        events.extend(page["events"].as_array().expect("a list").iter().cloned());
        let next = page["next_cursor"].as_str().expect("a cursor").to_owned();
        if next == cursor || Some(next.as_str()) >= page["tail_cursor"].as_str() {
            return events;
        }
        cursor = next;
    }
}

async fn get(server: &Server, url: &str) -> Value {
    let response = server.http.get(url).send().await.expect("an answer");
    assert!(response.status().is_success(), "{url}: {}", response.text().await.expect("text"));
    response.json().await.expect("JSON")
}

/// A library without an embedder, whose vectors have two dimensions.
pub async fn create_library(server: &Server, name: &str) -> String {
    let body = json!({ "name": name, "embedder": "none", "dimension": 2 });
    let response = server.http.post(server.url("/v1/libraries")).json(&body).send().await;
    let made: Value = response.expect("an answer").json().await.expect("JSON");
    made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

/// Ingests one line for each document, in one request.
pub async fn ingest(server: &Server, library: &str, lines: &[Value]) {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let url =
        format!("/v1/libraries/{library}/documents/stream?report=summary&on_conflict=replace");
    let request = server.http.post(server.url(&url)).header("content-type", "application/x-ndjson");
    let text = request.body(body).send().await.expect("answered").text().await.expect("text");
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["total_succeeded"], lines.len(), "{text}");
}

/// A document of some chunks.
pub fn document(id: &str, chunks: usize) -> Value {
    let chunk = |n| json!({ "text": format!("{id} {n}"), "embedding": [1, n] });
    let chunks: Vec<_> = (0..chunks).map(chunk).collect();
    json!({ "id": id, "title": format!("Title {id}"), "chunks": chunks, "metadata": { "n": id.len() } })
}

pub fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
}
