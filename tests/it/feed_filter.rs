//! Filter expressions in the feed: what passes is exactly what a naive reading of the whole feed
//! lets pass, on every transport, and updates say how.

use arrwdb::api::grpc::pb;
use arrwdb::api::grpc::pb::event_service_client::EventServiceClient;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::feed_client::{Grpc, all_events, create_library, follow, ids, pages};
use crate::harness::Server;

/// A filter expression, as text and as its meaning.
#[derive(Debug, Clone)]
enum Expression {
    NumberAtLeast(i64),
    NumberIs(i64),
    KindIs(&'static str),
    HasKind,
    TitleStarts(&'static str),
    TypeIs(&'static str),
    TypeStarts(&'static str),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
}

impl Expression {
    fn random(rng: &mut impl Rng, levels: u32) -> Self {
        let pick = |rng: &mut _, of: &[&'static str]| of[RngExt::random_range(rng, 0..of.len())];
        let kinds = if levels == 0 { 7 } else { 10 };
        match rng.random_range(0..kinds) {
            0 => Self::NumberAtLeast(rng.random_range(0..6)),
            1 => Self::NumberIs(rng.random_range(0..6)),
            2 => Self::KindIs(pick(rng, &["a", "b"])),
            3 => Self::HasKind,
            4 => Self::TitleStarts(pick(rng, &["x", "y", "Title"])),
            5 => Self::TypeIs(pick(rng, &["document.updated", "chunk.deleted", "batch.started"])),
            6 => Self::TypeStarts(pick(rng, &["document.", "chunk.", "library."])),
            7 => Self::Not(Box::new(Self::random(rng, levels - 1))),
            8 => Self::And(
                Box::new(Self::random(rng, levels - 1)),
                Box::new(Self::random(rng, levels - 1)),
            ),
            _ => Self::Or(
                Box::new(Self::random(rng, levels - 1)),
                Box::new(Self::random(rng, levels - 1)),
            ),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::NumberAtLeast(n) => format!("document.metadata.n >= {n}"),
            Self::NumberIs(n) => format!("document.metadata.n == {n}"),
            Self::KindIs(kind) => format!("document.metadata.kind == {kind:?}"),
            Self::HasKind => "has(document.metadata.kind)".to_owned(),
            Self::TitleStarts(start) => format!("document.title.startsWith({start:?})"),
            Self::TypeIs(name) => format!("event.type == {name:?}"),
            Self::TypeStarts(start) => format!("event.type.startsWith({start:?})"),
            Self::Not(one) => format!("!({})", one.text()),
            Self::And(one, other) => format!("({}) && ({})", one.text(), other.text()),
            Self::Or(one, other) => format!("({}) || ({})", one.text(), other.text()),
        }
    }

    /// What it says of an image, which an event without a document does not have; `None`: unknown.
    fn says(&self, event_type: &str, image: Option<&Image>) -> Option<bool> {
        let field = |name| image?.metadata.get(name);
        match self {
            Self::NumberAtLeast(n) => field("n")?.as_f64().map(|is| is >= *n as f64),
            Self::NumberIs(n) => field("n")?.as_f64().map(|is| is == *n as f64),
            Self::KindIs(kind) => field("kind")?.as_str().map(|is| is == *kind),
            Self::HasKind => Some(field("kind").is_some()),
            Self::TitleStarts(start) => Some(image?.title.starts_with(start)),
            Self::TypeIs(name) => Some(event_type == *name),
            Self::TypeStarts(start) => Some(event_type.starts_with(start)),
            Self::Not(one) => one.says(event_type, image).map(|is| !is),
            Self::And(one, other) => {
                match (one.says(event_type, image), other.says(event_type, image)) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                }
            }
            Self::Or(one, other) => {
                match (one.says(event_type, image), other.says(event_type, image)) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                }
            }
        }
    }
}

/// A document as a filter sees it here.
#[derive(Debug, Clone)]
struct Image {
    title: String,
    metadata: Map<String, Value>,
}

impl Image {
    fn of(event: &Value, title: &str, metadata: &str) -> Option<Self> {
        let title = event[title].as_str()?.to_owned();
        Some(Self { title, metadata: event[metadata].as_object()?.clone() })
    }
}

/// The whole feed as a reader with this expression should see it.
fn oracle(log: &[Value], expression: &Expression) -> Vec<Value> {
    let (mut before, mut after): (Option<Image>, Option<Image>) = (None, None);
    let mut passed = Vec::new();
    for event in log {
        let name = event["type"].as_str().expect("a type");
        let says = |image: Option<&Image>| expression.says(name, image) == Some(true);
        if name.starts_with("document.") {
            after = Image::of(event, "title", "metadata");
            before = match name {
                "document.updated" => Image::of(event, "previous_title", "previous_metadata"),
                "document.deleted" => after.clone(),
                _ => None,
            };
        }
        let matched = match name {
            "document.updated" => match (says(before.as_ref()), says(after.as_ref())) {
                (false, true) => Some(Some("entered")),
                (true, true) => Some(Some("stayed")),
                (true, false) => Some(Some("left")),
                (false, false) => None,
            },
            "document.added" | "document.deleted" | "chunk.added" => {
                says(after.as_ref()).then_some(None)
            }
            "chunk.deleted" => says(before.as_ref()).then_some(None),
            // It stands for documents that it does not show.
            "library.deleted" => (expression.says(name, None) != Some(false)).then_some(None),
            _ => says(None).then_some(None),
        };
        if let Some(matched) = matched {
            let mut event = event.clone();
            if let Some(matched) = matched {
                event["match"] = json!(matched);
            }
            passed.push(event);
        }
    }
    passed
}

/// Documents come, change and go, with metadata of all shapes.
async fn live(server: &Server, library: &str, rng: &mut ChaCha8Rng, steps: usize) {
    for _ in 0..steps {
        let id = format!("d{}", rng.random_range(0..8));
        let url = server.url(&format!("/v1/libraries/{library}/documents"));
        let mut metadata = Map::new();
        if rng.random_bool(0.7) {
            metadata.insert("n".into(), json!(rng.random_range(0..6)));
        }
        match rng.random_range(0..4) {
            0 => drop(metadata.insert("kind".into(), json!("a"))),
            1 => drop(metadata.insert("kind".into(), json!("b"))),
            2 => drop(metadata.insert("kind".into(), json!(7))),
            _ => {}
        }
        let title = ["x 1", "y 2", "Title 3"][rng.random_range(0..3)];
        let chunk = |n: u32| json!({ "text": format!("t{n}"), "embedding": [1, n] });
        let count = rng.random_range(1..3);
        let chunks: Vec<_> = (0..count).map(|_| chunk(rng.random_range(0..4))).collect();
        let request = match rng.random_range(0..5) {
            0 => server.http.delete(format!("{url}/{id}")),
            1 | 2 => server.http.patch(format!("{url}/{id}")).json(&json!({
                "title": title, "metadata": metadata, "chunks": chunks,
            })),
            _ => server.http.post(&url).json(&json!({
                "id": id, "title": title, "metadata": metadata, "chunks": chunks,
            })),
        };
        let status = request.send().await.expect("answered").status();
        assert!(status.is_success() || [404, 409].contains(&status.as_u16()), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_feed_is_the_filter_of_the_whole_feed() {
    let server = Server::start_with(|settings| {
        // Some of it from the window, some from the log.
        settings.limits.feed_window_bytes_max = 20_000;
    })
    .await;
    let library = create_library(&server, "a").await;
    let seed = 0x5eed_0001;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    live(&server, &library, &mut rng, 150).await;
    let url = server.url(&format!("/v1/libraries/{library}"));
    assert!(server.http.delete(url).send().await.expect("answered").status().is_success());
    let log = all_events(&server).await;
    assert_eq!(log.last().expect("events")["type"], "library.deleted");
    let mut matches = std::collections::BTreeSet::new();
    for round in 0..80 {
        let expression = Expression::random(&mut rng, 3);
        let text = expression.text();
        if text.len() > 1_000 {
            continue;
        }
        let expected = oracle(&log, &expression);
        let filter = utf8_percent_encode(&text, NON_ALPHANUMERIC);
        let got = pages(&server, &format!("filter={filter}")).await;
        assert_eq!(got, expected, "seed {seed:#x}, round {round}: {text}");
        for event in &expected {
            matches.insert(event["match"].as_str().unwrap_or_default().to_owned());
        }
        let query = format!("cursor=begin&filter={filter}");
        let frames = follow(&server, &query, None).await.events(expected.len()).await;
        let frames: Vec<_> = frames.iter().map(|frame| frame.data.clone()).collect();
        assert_eq!(frames, expected, "seed {seed:#x}, round {round}: {text}");
        let request = pb::SubscribeRequest {
            filter: text.clone(),
            cursor: "begin".to_owned(),
            ..Default::default()
        };
        let messages = Grpc::open(&server, request).await.events(expected.len()).await;
        let names = |kind| match kind {
            pb::EventMatch::Unspecified => "",
            pb::EventMatch::Entered => "entered",
            pb::EventMatch::Stayed => "stayed",
            pb::EventMatch::Left => "left",
        };
        let messages: Vec<_> =
            messages.iter().map(|m| (m.id.clone(), names(m.r#match()).to_owned())).collect();
        let match_of = |e: &Value| e["match"].as_str().unwrap_or_default().to_owned();
        let expected: Vec<_> =
            ids(&expected).into_iter().zip(expected.iter().map(match_of)).collect();
        assert_eq!(messages, expected, "seed {seed:#x}, round {round}: {text}");
    }
    assert_eq!(Vec::from_iter(matches), ["", "entered", "left", "stayed"], "all were seen");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_filter_is_refused_at_subscription_on_every_door() {
    let server = Server::start().await;
    let mut client = EventServiceClient::new(server.channel().await);
    for text in ["document.titel == 'x'", "document.title ==", "chunk.text == 'x'", "size(3) > 1"] {
        let filter = utf8_percent_encode(text, NON_ALPHANUMERIC);
        for path in ["/v1/events", "/v1/events/stream"] {
            let url = server.url(&format!("{path}?filter={filter}"));
            let response = server.http.get(url).send().await.expect("an answer");
            assert_eq!(response.status(), 400, "{path}: {text}");
            let problem: Value = response.json().await.expect("a problem");
            assert_eq!(problem["errors"][0]["field"], "filter", "{problem}");
        }
        let request = pb::SubscribeRequest { filter: text.to_owned(), ..Default::default() };
        let status = client.subscribe(request).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{text}: {status}");
        let request = pb::ListEventsRequest { filter: text.to_owned(), ..Default::default() };
        let status = client.list_events(request).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{text}: {status}");
    }
    server.stop().await;
}
