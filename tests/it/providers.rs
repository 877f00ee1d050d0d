//! Remote models behind a whole server: a stand-in for a provider that is slow, away or lying.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrwdb::embed::remote::{Protocol, RemoteModel};
use arrwdb::settings::{RemoteEmbedderSettings, Settings};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::Server;

const CALLS_IN_FLIGHT_MAX: usize = 3;
const CALL_TEXTS_MAX: usize = 40;

/// What the stand-in does, and what it saw.
#[derive(Default)]
struct Provider {
    slow: AtomicBool,
    away: AtomicBool,
    lies: AtomicBool,
    in_flight: AtomicUsize,
    in_flight_most: AtomicUsize,
    /// Texts of each call.
    calls: Mutex<Vec<usize>>,
}

impl Provider {
    async fn answer(self: Arc<Self>, body: Value) -> axum::response::Response {
        if self.away.load(Ordering::SeqCst) {
            return (StatusCode::UNAUTHORIZED, "come back later").into_response();
        }
        let texts = body["input"].as_array().expect("texts").clone();
        self.calls.lock().expect("lock").push(texts.len());
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_flight_most.fetch_max(now, Ordering::SeqCst);
        if self.slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        let lies = self.lies.load(Ordering::SeqCst);
        let of = |(index, text): (usize, &Value)| {
            let mut vector = vector(text.as_str().expect("a text"));
            vector.truncate(if lies { 2 } else { 3 });
            json!({"index": index, "embedding": vector})
        };
        let data: Vec<_> = texts.iter().enumerate().map(of).rev().collect();
        Json(json!({"data": data})).into_response()
    }

    async fn serve(self: &Arc<Self>) -> (String, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("bound"));
        let provider = Arc::clone(self);
        let handler = move |Json(body): Json<Value>| Arc::clone(&provider).answer(body);
        let serving = async move {
            axum::serve(listener, Router::new().fallback(handler)).await.expect("serves");
        };
        (url, AbortOnDropHandle::new(tokio::spawn(serving)))
    }
}

/// Near to each other for numbers that are: an angle for each.
fn vector(text: &str) -> Vec<f32> {
    let number: f32 = text.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    vec![(number / 1e3).cos(), (number / 1e3).sin(), 0.0]
}

/// Settings with the model `stand-in` at a URL.
fn at(url: &str) -> impl FnOnce(&mut Settings) {
    let model = RemoteModel {
        provider: Protocol::OpenAi,
        url: url.to_owned(),
        model: "numbers-3".to_owned(),
        dimension: 3,
        ask_dimension: false,
        api_key_env: None,
        call_texts_max: CALL_TEXTS_MAX,
        calls_in_flight_max: CALLS_IN_FLIGHT_MAX,
        document_prefix: String::new(),
        query_prefix: "query: ".to_owned(),
    };
    let embedder = RemoteEmbedderSettings { model, key: None };
    move |settings| settings.embedders = BTreeMap::from([("stand-in".to_owned(), embedder)])
}

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let sent = server.http.post(server.url(path)).json(body).send().await.expect("sent");
    let status = sent.status().as_u16();
    (status, sent.json().await.expect("JSON"))
}

async fn ingest(server: &Server, lines: &[Value]) -> Vec<Value> {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let url = server.url("/v1/libraries/main/documents/stream");
    let sent = server.http.post(url).body(body).send().await.expect("sent");
    let text = sent.text().await.expect("text");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines.filter(|line: &Value| line["status"] != "processing").collect()
}

async fn nearest(server: &Server, body: Value) -> (u16, Value) {
    post(server, "/v1/libraries/main/search", &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_through_a_slow_provider_keeps_its_calls_full() {
    let provider = Arc::new(Provider::default());
    provider.slow.store(true, Ordering::SeqCst);
    let (url, _serving) = provider.serve().await;
    let server = Server::start_with(at(&url)).await;
    let new = json!({"name": "main", "embedder": "stand-in"});
    let (status, library) = post(&server, "/v1/libraries", &new).await;
    assert_eq!((status, &library["dimension"]), (201, &json!(3)));
    assert_eq!(library["embedder"]["id"], "numbers-3");

    let document =
        |n: usize| json!({"id": format!("d{n}"), "title": "T", "text": format!("a {n}")});
    let documents: Vec<Value> = (0..1_200).map(document).collect();
    let told = ingest(&server, &documents).await;
    let summary = told.last().expect("a summary");
    assert_eq!(
        (&summary["status"], &summary["total_succeeded"]),
        (&json!("summary"), &json!(1_200))
    );
    let calls = provider.calls.lock().expect("lock").clone();
    assert_eq!(calls.iter().sum::<usize>(), 1_200);
    assert!(calls.iter().all(|texts| *texts <= CALL_TEXTS_MAX), "{calls:?}");
    assert_eq!(provider.in_flight_most.load(Ordering::SeqCst), CALLS_IN_FLIGHT_MAX);
    // Full but for those of the beginning and the end.
    let full = calls.iter().filter(|texts| **texts == CALL_TEXTS_MAX).count();
    assert!(full * 2 > calls.len(), "{calls:?}");

    let query = json!({"query": "which is 777", "k": 1});
    let (status, found) = nearest(&server, query).await;
    assert_eq!((status, &found["results"][0]["document_id"]), (200, &json!("d777")), "{found}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_or_lies_fails_texts_and_nothing_else() {
    let provider = Arc::new(Provider::default());
    let (url, _serving) = provider.serve().await;
    let server = Server::start_with(at(&url)).await;
    post(&server, "/v1/libraries", &json!({"name": "main", "embedder": "stand-in"})).await;
    let text = |n: u32| json!({"id": format!("d{n}"), "title": "T", "text": format!("a {n}")});
    let own = |n: u32| {
        let chunk = json!({"text": "own", "embedding": vector(&format!("a {n}"))});
        json!({"id": format!("d{n}"), "title": "T", "chunks": [chunk]})
    };
    let by_vector = || json!({"embedding": vector("a 900"), "k": 1});
    for (flag, detail) in [(&provider.away, "401"), (&provider.lies, "nonsense")] {
        let round = u32::from(detail == "nonsense") * 100;
        let told = ingest(&server, &[text(round)]).await;
        assert_eq!(told[0]["status"], "completed", "{told:?}");
        flag.store(true, Ordering::SeqCst);
        let told = ingest(&server, &[text(round + 1), own(round + 900), text(round + 2)]).await;
        let statuses: Vec<_> = told.iter().map(|line| line["status"].as_str()).collect();
        assert_eq!(statuses, ["failed", "completed", "failed", "summary"].map(Some));
        assert_eq!(told[0]["error"]["type"], "unavailable", "{told:?}");
        let why = told[0]["error"]["detail"].as_str().expect("words");
        assert!(why.contains("embedder") && why.contains(detail), "{why}");
        let (status, problem) = nearest(&server, json!({"query": "which is 1", "k": 1})).await;
        assert_eq!(status, 503, "{problem}");
        assert_eq!(problem["type"], "urn:arrwdb:error:unavailable");
        let (status, found) = nearest(&server, by_vector()).await;
        assert_eq!((status, &found["results"][0]["document_id"]), (200, &json!("d900")), "{found}");
        flag.store(false, Ordering::SeqCst);
    }
    let told = ingest(&server, &[text(1), text(2)]).await;
    let statuses: Vec<_> = told.iter().map(|line| line["status"].as_str()).collect();
    assert_eq!(statuses, ["completed", "completed", "summary"].map(Some));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_goes_on_where_its_model_moved_to_and_says_when_it_is_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let provider = Arc::new(Provider::default());
    let text = |n: u32| json!({"id": format!("d{n}"), "title": "T", "text": format!("a {n}")});
    let (url, serving) = provider.serve().await;
    let server = Server::open(folder.path(), at(&url)).await;
    post(&server, "/v1/libraries", &json!({"name": "main", "embedder": "stand-in"})).await;
    assert_eq!(ingest(&server, &[text(1)]).await[0]["status"], "completed");
    server.stop().await;
    drop(serving);

    let server = Server::open(folder.path(), |_| {}).await;
    let told = ingest(&server, &[text(2)]).await;
    assert_eq!(told[0]["error"]["type"], "failed-precondition", "{told:?}");
    assert!(told[0]["error"]["detail"].as_str().is_some_and(|why| why.contains("numbers-3")));
    let (status, found) = nearest(&server, json!({"embedding": [1.0, 0.0, 0.0], "k": 1})).await;
    assert_eq!((status, &found["results"][0]["document_id"]), (200, &json!("d1")), "{found}");
    let (status, told) =
        post(&server, "/v1/libraries", &json!({"name": "x", "embedder": "y"})).await;
    assert_eq!(status, 400, "{told}");
    server.stop().await;

    let (elsewhere, _serving) = provider.serve().await;
    let server = Server::open(folder.path(), at(&elsewhere)).await;
    assert_eq!(ingest(&server, &[text(2)]).await[0]["status"], "completed");
    server.stop().await;
}
