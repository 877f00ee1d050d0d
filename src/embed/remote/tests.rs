//! The remote embedder against a stand-in that is slow, failing, rate-limiting and lying.

use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::*;

/// What the stand-in was asked: path, headers, body.
type Asked = Arc<Mutex<Vec<(String, HeaderMap, Value)>>>;

/// A provider whose answers the test makes: of the number of the call, from 0, and its body.
struct StandIn {
    url: String,
    asked: Asked,
    _serving: tokio_util::task::AbortOnDropHandle<()>,
}

impl StandIn {
    async fn start(answer: impl Fn(usize, &Value) -> Response + Send + Sync + 'static) -> Self {
        let asked = Asked::default();
        let (answer, seen) = (Arc::new(answer), Arc::clone(&asked));
        let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            let number = {
                let mut seen = seen.lock().expect("lock");
                seen.push((uri.path().to_owned(), headers, body.clone()));
                seen.len() - 1
            };
            answer(number, &body)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let serving = tokio::spawn(async move {
            axum::serve(listener, Router::new().fallback(handler)).await.expect("serves");
        });
        Self { url, asked, _serving: tokio_util::task::AbortOnDropHandle::new(serving) }
    }

    fn calls(&self) -> usize {
        self.asked.lock().expect("lock").len()
    }

    fn embedder(&self, provider: Protocol) -> RemoteEmbedder {
        self.embedder_of(RemoteModel { provider, ..model(&self.url) })
    }

    fn embedder_of(&self, model: RemoteModel) -> RemoteEmbedder {
        let made = RemoteEmbedder::new(model, ApiKey::new("sesame"), Duration::from_secs(20));
        RemoteEmbedder { pause_min: Duration::from_millis(1), ..made.expect("made") }
    }
}

fn model(url: &str) -> RemoteModel {
    RemoteModel {
        provider: Protocol::OpenAi,
        url: url.to_owned(),
        model: "some-model".to_owned(),
        dimension: 2,
        ask_dimension: false,
        api_key_env: None,
        call_texts_max: 8,
        calls_in_flight_max: 2,
        document_prefix: String::new(),
        query_prefix: String::new(),
    }
}

fn texts(texts: &[&str]) -> Vec<Arc<str>> {
    texts.iter().map(|text| (*text).into()).collect()
}

/// A vector that tells of which text it is.
fn vector(text: &Value) -> Value {
    json!([text.as_str().expect("a text").len(), 1.0])
}

/// A right answer, its vectors in another order than the texts.
fn open_ai(body: &Value) -> Response {
    let input = body["input"].as_array().expect("texts");
    let of = |(index, text)| json!({"index": index, "embedding": vector(text)});
    let data: Vec<_> = input.iter().enumerate().map(of).rev().collect();
    axum::Json(json!({"data": data, "object": "list"})).into_response()
}

fn cohere(body: &Value) -> Response {
    let vectors: Vec<_> = body["texts"].as_array().expect("texts").iter().map(vector).collect();
    axum::Json(json!({"id": "x", "embeddings": {"float": vectors}})).into_response()
}

fn status(status: u16, body: &'static str) -> Response {
    (StatusCode::from_u16(status).expect("a status"), body).into_response()
}

async fn embed(embedder: &RemoteEmbedder, of: &[&str]) -> Result<Vectors, EmbedError> {
    embedder.embed(Purpose::Document, texts(of)).await
}

#[tokio::test]
async fn an_open_ai_server_is_asked_in_its_words_and_its_vectors_put_in_order() {
    let stand_in = StandIn::start(|_, body| open_ai(body)).await;
    let embedder = stand_in.embedder_of(RemoteModel {
        ask_dimension: true,
        query_prefix: "query: ".to_owned(),
        url: format!("{}/v1/", stand_in.url),
        ..model(&stand_in.url)
    });
    let vectors = embed(&embedder, &["a", "bb", "ccc"]).await.expect("vectors");
    assert_eq!(vectors, [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]);
    let vectors = embedder.embed(Purpose::Query, texts(&["a"])).await.expect("vectors");
    assert_eq!(vectors, [[8.0, 1.0]]);
    let asked = stand_in.asked.lock().expect("lock").clone();
    let [(path, headers, body), (_, _, query)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(path, "/v1/embeddings");
    assert_eq!(headers["authorization"], "Bearer sesame");
    assert_eq!(headers["content-type"], "application/json");
    let wanted = json!({"model": "some-model", "input": ["a", "bb", "ccc"],
        "encoding_format": "float", "dimensions": 2});
    assert_eq!(*body, wanted);
    assert_eq!(query["input"], json!(["query: a"]));
    assert!(!format!("{embedder:?}").contains("sesame"));
}

#[tokio::test]
async fn cohere_is_told_what_texts_are_for() {
    let stand_in = StandIn::start(|_, body| cohere(body)).await;
    let embedder = stand_in.embedder(Protocol::Cohere);
    assert_eq!(embed(&embedder, &["a", "bb"]).await, Ok(vec![vec![1.0, 1.0], vec![2.0, 1.0]]));
    embedder.embed(Purpose::Query, texts(&["a"])).await.expect("vectors");
    let asked = stand_in.asked.lock().expect("lock").clone();
    assert_eq!(asked[0].0, "/v2/embed");
    let wanted = json!({"model": "some-model", "texts": ["a", "bb"], "truncate": "NONE",
        "input_type": "search_document", "embedding_types": ["float"]});
    assert_eq!(asked[0].2, wanted);
    assert_eq!(asked[1].2["input_type"], "search_query");
}

#[tokio::test]
async fn what_may_pass_is_asked_again_and_a_pause_that_is_named_is_kept() {
    let stand_in = StandIn::start(|number, body| match number {
        0 => status(500, "oh"),
        1 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        2 => status(503, ""),
        _ => open_ai(body),
    })
    .await;
    let began = Instant::now();
    embed(&stand_in.embedder(Protocol::OpenAi), &["a"]).await.expect("at the fourth attempt");
    assert_eq!(stand_in.calls(), 4);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn attempts_end_and_somebody_who_waits_is_told_sooner() {
    let stand_in = StandIn::start(|_, _| status(503, r#"{"message": "no room"}"#)).await;
    let embedder = stand_in.embedder(Protocol::OpenAi);
    let reason = "HTTP 503 Service Unavailable: no room".to_owned();
    let wanted = EmbedError::Unavailable { reason, retry_after: None };
    assert_eq!(embed(&embedder, &["a"]).await, Err(wanted.clone()));
    assert_eq!(stand_in.calls(), DOCUMENT_ATTEMPTS_MAX);
    assert_eq!(embedder.embed(Purpose::Query, texts(&["a"])).await, Err(wanted));
    assert_eq!(stand_in.calls(), DOCUMENT_ATTEMPTS_MAX + QUERY_ATTEMPTS_MAX);
}

#[tokio::test]
async fn a_pause_beyond_the_deadline_is_not_waited_for_and_told() {
    let later = |_: usize, _: &Value| {
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")]).into_response()
    };
    let stand_in = StandIn::start(later).await;
    let error = embed(&stand_in.embedder(Protocol::OpenAi), &["a"]).await.expect_err("not now");
    let EmbedError::Unavailable { retry_after, .. } = error else { panic!("{error:?}") };
    assert_eq!((retry_after, stand_in.calls()), (Some(Duration::from_secs(3600)), 1));
}

#[tokio::test]
async fn what_will_not_pass_is_asked_once() {
    for code in [301, 401, 403, 404] {
        let stand_in = StandIn::start(move |_, _| {
            let away = [("location", "http://127.0.0.1:9/")];
            let body = r#"{"error": {"message": "bad key"}}"#;
            (StatusCode::from_u16(code).expect("a status"), away, body).into_response()
        })
        .await;
        let error = embed(&stand_in.embedder(Protocol::OpenAi), &["a"]).await.expect_err("refused");
        let EmbedError::Unavailable { reason, retry_after: None } = error else {
            panic!("{error:?}")
        };
        assert!(reason.contains("bad key") && reason.contains(&code.to_string()), "{reason}");
        assert_eq!(stand_in.calls(), 1);
    }
}

#[tokio::test]
async fn a_text_that_is_refused_is_found_and_so_is_a_call_that_is_only_too_large() {
    let stand_in = StandIn::start(|_, body| {
        let input = body["input"].as_array().expect("texts");
        match input.iter().any(|text| text == "bad") {
            true => status(400, r#"{"error": {"message": "too long"}}"#),
            false => open_ai(body),
        }
    })
    .await;
    let embedder = stand_in.embedder(Protocol::OpenAi);
    for bad in 0..7 {
        let mut of = ["a", "b", "c", "d", "e", "f", "g"];
        of[bad] = "bad";
        let reason = "refused, HTTP 400 Bad Request: too long".to_owned();
        assert_eq!(embed(&embedder, &of).await, Err(EmbedError::Text { index: bad, reason }));
    }

    let stand_in = StandIn::start(|_, body| match body["input"].as_array().map_or(0, Vec::len) {
        0..=2 => open_ai(body),
        _ => status(413, ""),
    })
    .await;
    let embedder = stand_in.embedder(Protocol::OpenAi);
    let vectors = embed(&embedder, &["a", "bb", "ccc", "dddd", "eeeee"]).await.expect("vectors");
    let lengths: Vec<_> = vectors.iter().map(|vector| vector[0]).collect();
    assert_eq!(lengths, [1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[tokio::test]
async fn lies_are_not_believed() {
    let one = |index: usize| json!({"index": index, "embedding": [1.0, 1.0]});
    let open_ai = [
        json!({"data": [one(0)]}),
        json!({"data": [one(0), one(1), one(2)]}),
        json!({"data": [one(0), one(0)]}),
        json!({"data": [one(1), one(2)]}),
        json!({"data": [one(0), {"index": 1, "embedding": null}]}),
        json!({"data": [one(0), {"index": 1, "embedding": [1.0, "x"]}]}),
        json!({"data": [one(0), {"embedding": [1.0, 1.0]}]}),
        json!({"vectors": []}),
        json!("hello"),
        json!("x".repeat(ANSWER_BYTES_MAX + 1_000)),
    ];
    let cohere = [
        json!({"embeddings": {"float": [[1.0, 1.0]]}}),
        json!({"embeddings": {"float": [[1.0, 1.0], null]}}),
        json!({"embeddings": {"int8": [[1, 1], [1, 1]]}}),
        json!({"embeddings": [[1.0, 1.0], [1.0, 1.0]]}),
    ];
    let lies = open_ai.map(|lie| (Protocol::OpenAi, lie)).into_iter();
    for (protocol, lie) in lies.chain(cohere.map(|lie| (Protocol::Cohere, lie))) {
        let told = lie.clone();
        let stand_in = StandIn::start(move |_, _| axum::Json(told.clone()).into_response()).await;
        let error = embed(&stand_in.embedder(protocol), &["a", "b"]).await.expect_err("a lie");
        let told: String = lie.to_string().chars().take(100).collect();
        assert!(matches!(error, EmbedError::Broken(_)), "{told}: {error:?}");
        assert_eq!(stand_in.calls(), 1, "{told}");
    }
}

#[tokio::test]
async fn a_provider_that_hangs_or_is_not_there_is_told_of() {
    let stand_in = StandIn::start(|_, _| {
        let pieces = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        axum::body::Body::from_stream(pieces).into_response()
    })
    .await;
    let hurried = RemoteEmbedder {
        timeout: Duration::from_millis(50),
        ..stand_in.embedder(Protocol::OpenAi)
    };
    let error = embed(&hurried, &["a"]).await;
    assert_eq!(error, Err(EmbedError::DeadlineExceeded(Duration::from_millis(50))));

    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://user:secret@{}", listener.local_addr().expect("bound"))
    };
    let embedder = stand_in.embedder_of(model(&nobody));
    let error = embed(&embedder, &["a"]).await.expect_err("nobody there");
    let EmbedError::Unavailable { reason, .. } = error else { panic!("{error:?}") };
    assert!(reason.contains("refused") && !reason.contains("secret"), "{reason}");
}

#[test]
fn a_model_is_the_same_wherever_it_is_served_and_another_with_another_prefix() {
    let here = model("http://here").reference();
    assert_eq!(here, model("http://there").reference());
    assert_eq!((here.id.as_str(), here.sha256.len()), ("some-model", 64));
    let prefixed = RemoteModel { query_prefix: "q".to_owned(), ..model("http://here") };
    let moved = RemoteModel { document_prefix: "q".to_owned(), ..model("http://here") };
    assert_ne!(prefixed.reference(), here);
    assert_ne!(prefixed.reference(), moved.reference());
}

#[test]
fn a_time_to_come_back_may_be_a_date() {
    let of = |text: &str| {
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]))
    };
    assert_eq!(of("7"), Some(Duration::from_secs(7)));
    assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    assert!(of("Sat, 21 Oct 2090 07:28:00 GMT").is_some_and(|wait| wait.as_secs() > 1 << 30));
    assert_eq!(of("soon"), None);
}
