//! The unary verbs over HTTP, as tests need them: JSON in, JSON out, anything else fails the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::eventually;

/// Of the libraries that tests make: small, so that an index is nearly nothing.
pub const DIMENSION: usize = 8;

/// A vector that nothing but this number has.
pub fn vector(number: u64) -> Vec<f32> {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut vector: Vec<f32> = (1..DIMENSION)
        .map(|_| {
            bits = bits.rotate_left(9).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            f32::from(u16::try_from(bits >> 50).unwrap_or_default()) / 16_384.0
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "tests count to less than 2^24")]
    vector.push(number as f32);
    vector
}

#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    http: reqwest::Client,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().http1_only().build().expect("a client");
        Self { address, http }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks; an error when the server is not there, or leaves in the middle.
    pub async fn try_ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> reqwest::Result<(u16, Value)> {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.request(method.parse().expect("a method"), url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    /// Asks and must be answered with success.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.try_ask(method, path, body).await.expect("an answer");
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Makes a library whose clients bring their vectors.
    pub async fn create_library(&self, name: &str) -> Value {
        let new = json!({"name": name, "embedder": "none", "dimension": DIMENSION, "metric": "l2"});
        self.ask("POST", "/v1/libraries", Some(&new)).await
    }

    pub async fn statistics(&self, library: &str) -> Value {
        self.ask("GET", &format!("/v1/libraries/{library}/statistics"), None).await
    }

    pub async fn search(&self, library: &str, vector: &[f32], k: usize) -> Value {
        let query = json!({"embedding": vector, "k": k});
        self.ask("POST", &format!("/v1/libraries/{library}/search"), Some(&query)).await
    }

    /// All documents of a library with their chunks, by id.
    pub async fn documents(&self, library: &str) -> BTreeMap<String, Value> {
        let (mut documents, mut token) = (BTreeMap::new(), String::new());
        loop {
            let path = format!(
                "/v1/libraries/{library}/documents?include_chunks=true&page_size=1000\
                 &page_token={token}"
            );
            let mut page = self.ask("GET", &path, None).await;
            for document in page["documents"].as_array_mut().expect("documents") {
                let id = document["id"].as_str().expect("an id").to_owned();
                assert!(documents.insert(id, document.take()).is_none(), "listed twice");
            }
            token = page["next_page_token"].as_str().expect("a token").to_owned();
            if token.is_empty() {
                return documents;
            }
        }
    }

    /// An export with embeddings, which must be whole: documents by id.
    pub async fn export(&self, library: &str) -> BTreeMap<String, Value> {
        let path = format!("/v1/libraries/{library}/documents/stream?include_embeddings=true");
        let answer = self.http.get(format!("http://{}{path}", self.address)).send().await;
        let text = answer.expect("an answer").text().await.expect("a whole body");
        let mut lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let last = lines.pop().expect("a last line");
        assert_eq!(last["status"], "complete", "{last}");
        assert_eq!(last["total_documents"], lines.len());
        let documents: BTreeMap<_, _> = lines
            .into_iter()
            .map(|line| (line["id"].as_str().expect("an id").to_owned(), line))
            .collect();
        assert_eq!(last["total_documents"], documents.len(), "exported twice");
        documents
    }

    /// All events, from a cursor on, up to what is the tail now.
    pub async fn events(&self, cursor: &str, more: &str) -> Vec<Value> {
        let (mut events, mut cursor) = (Vec::new(), cursor.to_owned());
        loop {
            let path = format!("/v1/events?cursor={cursor}&limit=1000{more}");
            let mut page = self.ask("GET", &path, None).await;
            events.append(page["events"].as_array_mut().expect("events"));
            let next = page["next_cursor"].as_str().expect("a cursor").to_owned();
            if page["next_cursor"] == page["tail_cursor"] || next == cursor {
                return events;
            }
            cursor = next;
        }
    }

    /// Waits until so many batches of a library are closed; the event that closed the last.
    pub async fn closing_of_batch(&self, library: &str, number: usize) -> Value {
        let more = format!("&library_id={library}&event_types=batch.completed,batch.failed");
        eventually("the batch is closed", async || {
            let mut closed = self.events("begin", &more).await;
            assert!(closed.len() <= number, "more batches than were begun: {closed:?}");
            (closed.len() == number).then(|| closed.pop()).flatten()
        })
        .await
    }
}
