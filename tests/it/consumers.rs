//! Durable consumers on a whole server: both transports say the same, owners are fenced over the
//! wire, and nothing acknowledged is lost by kill −9.

use std::time::Duration;

use arrwdb::api::grpc::pb;
use pb::consumer_service_client::ConsumerServiceClient;
use pb::event_service_client::EventServiceClient;
use pb::subscribe_response::Item as Message;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::harness::{DEADLINE, Process, Server, channel};
use crate::wire::{self, in_time};

/// A consumer's verbs over HTTP.
struct Http {
    client: reqwest::Client,
    base: String,
}

impl Http {
    fn new(base: String) -> Self {
        let client = reqwest::Client::builder().http1_only().build().expect("client");
        Self { client, base }
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).json(&body);
        let answer = request.send().await.expect("answers");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// The answer of a request that must succeed.
    async fn done(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await;
        answer.expect("answers").json().await.expect("JSON")
    }

    async fn make_library(&self) {
        let library = json!({"name": "l", "embedder": "none", "dimension": 2});
        self.done("/v1/libraries", library).await;
    }

    /// One document with one chunk: two events.
    async fn write(&self, id: &str) {
        let chunk = json!({"text": "a", "embedding": [1.0, 0.5]});
        let document = json!({"id": id, "title": id, "chunks": [chunk]});
        self.done("/v1/libraries/l/documents", document).await;
    }
}

fn ids(pulled: &Value) -> Vec<String> {
    let events = pulled["events"].as_array().expect("events");
    events.iter().map(|event| event["document_id"].as_str().expect("an id").to_owned()).collect()
}

/// A consumer as gRPC shows it, in the shape of HTTP.
fn as_json(consumer: &pb::Consumer) -> Value {
    let types: Vec<String> = consumer
        .event_types()
        .map(|kind| {
            let name = kind.as_str_name().trim_start_matches("EVENT_TYPE_").to_ascii_lowercase();
            name.replacen('_', ".", 1)
        })
        .collect();
    json!({
        "name": consumer.name,
        "library_id": consumer.library_id,
        "event_types": types,
        "filter": consumer.filter,
        "cursor": consumer.cursor,
        "generation": consumer.generation,
        "owner": consumer.owner,
        "paused": consumer.paused,
        "expired": consumer.expired,
        "lag_revisions": consumer.lag_revisions,
        "lag_events": consumer.lag_events,
    })
}

/// The same without what clocks make differ.
fn timeless(mut consumer: Value) -> Value {
    let object = consumer.as_object_mut().expect("an object");
    for field in ["lag_seconds", "created_at", "updated_at"] {
        assert!(object.remove(field).is_some(), "{field} is there");
    }
    consumer
}

struct Both {
    http: Http,
    grpc: ConsumerServiceClient<Channel>,
}

impl Both {
    /// The consumer over both transports, which must agree.
    async fn get(&mut self, name: &str) -> Value {
        let http = timeless(self.http.get(&format!("/v1/consumers/{name}")).await);
        let request = pb::GetConsumerRequest { name: name.to_owned() };
        let grpc = self.grpc.get_consumer(request).await.expect("there").into_inner();
        assert_eq!(as_json(&grpc.consumer.expect("given")), http);
        http
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_transports_say_the_same_of_a_consumers_whole_life() {
    let server = Server::start().await;
    let http = Http::new(server.url(""));
    let mut both = Both { http, grpc: ConsumerServiceClient::new(server.channel().await) };
    both.http.make_library().await;
    for id in ["a", "b", "c"] {
        both.http.write(id).await;
    }
    let library = both.http.get("/v1/libraries/l").await["id"].clone();

    let new = json!({"name": "one", "library_id": "l", "event_types": ["document.added"],
                     "filter": "document.id != \"b\"", "cursor": "begin"});
    let (status, made) = both.http.post("/v1/consumers", new.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["library_id"], library);
    let (status, problem) = both.http.post("/v1/consumers", new).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::CONFLICT, &json!("urn:arrwdb:error:already-exists"))
    );
    let new = pb::CreateConsumerRequest {
        name: "two".to_owned(),
        library_id: "l".to_owned(),
        event_types: vec![pb::EventType::DocumentAdded.into()],
        filter: "document.id != \"b\"".to_owned(),
        cursor: "begin".to_owned(),
        request_id: "r".to_owned(),
    };
    both.grpc.create_consumer(new.clone()).await.expect("created");
    both.grpc.create_consumer(new.clone()).await.expect("a retry is safe");
    let twice = pb::CreateConsumerRequest { request_id: String::new(), ..new };
    let status = both.grpc.create_consumer(twice).await.expect_err("taken");
    assert_eq!(status.code(), tonic::Code::AlreadyExists);

    let one = both.get("one").await;
    assert_eq!((&one["lag_events"], &one["lag_revisions"]), (&json!(7), &json!(4)));
    let two = both.get("two").await;
    for field in ["library_id", "event_types", "filter", "cursor", "lag_events"] {
        assert_eq!(one[field], two[field], "{field}");
    }
    let listed = both.http.get("/v1/consumers?page_size=1").await;
    assert_eq!(listed["consumers"][0]["name"], "one");
    let page_token = listed["next_page_token"].as_str().expect("more").to_owned();
    let page = pb::ListConsumersRequest { page_size: 5, page_token };
    let listed = both.grpc.list_consumers(page).await.expect("listed").into_inner();
    assert_eq!(listed.consumers.iter().map(|c| &*c.name).collect::<Vec<_>>(), ["two"]);
    assert_eq!(listed.next_page_token, "");

    let by_http = both.http.done("/v1/consumers/one/pull", json!({"owner": "me"})).await;
    let pull = pb::PullEventsRequest {
        name: "two".to_owned(),
        owner: "me".to_owned(),
        ..Default::default()
    };
    let by_grpc = both.grpc.pull_events(pull).await.expect("pulled").into_inner();
    assert_eq!(ids(&by_http), ["a", "c"]);
    let event_ids: Vec<&str> = by_grpc.events.iter().map(|event| &*event.id).collect();
    let events = by_http["events"].as_array().expect("events");
    let same: Vec<&str> = events.iter().map(|e| e["id"].as_str().expect("an id")).collect();
    assert_eq!(event_ids, same);
    assert_eq!(by_http["next_cursor"], by_grpc.next_cursor);
    assert_eq!(by_http["tail_cursor"], by_grpc.tail_cursor);

    let done = json!({"generation": by_http["generation"], "cursor": by_http["next_cursor"]});
    both.http.done("/v1/consumers/one/acknowledge", done).await;
    let (generation, cursor) = (by_grpc.generation, by_grpc.next_cursor);
    let done = pb::AcknowledgeRequest { name: "two".to_owned(), generation, cursor };
    both.grpc.acknowledge(done).await.expect("acknowledged");
    for name in ["one", "two"] {
        let consumer = both.get(name).await;
        assert_eq!(consumer["cursor"], by_http["tail_cursor"]);
        assert_eq!((&consumer["lag_events"], &consumer["owner"]), (&json!(0), &json!("me")));
    }

    both.http.done("/v1/consumers/one/pause", json!({})).await;
    both.grpc.pause(pb::PauseRequest { name: "two".to_owned() }).await.expect("paused");
    assert_eq!(
        (&both.get("one").await["paused"], &both.get("two").await["paused"]),
        (&json!(true), &json!(true))
    );
    let (status, problem) = both.http.post("/v1/consumers/one/pull", json!({})).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{problem}");
    let pull = pb::PullEventsRequest { name: "two".to_owned(), ..Default::default() };
    let status = both.grpc.pull_events(pull).await.expect_err("paused");
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    both.http.done("/v1/consumers/one/resume", json!({})).await;
    both.grpc.resume(pb::ResumeRequest { name: "two".to_owned() }).await.expect("resumed");

    both.http.done("/v1/consumers/one/seek", json!({"cursor": "revision:2"})).await;
    let seek = pb::SeekRequest { name: "two".to_owned(), cursor: "revision:2".to_owned() };
    both.grpc.seek(seek).await.expect("moved");
    assert_eq!(both.get("one").await["cursor"], both.get("two").await["cursor"]);

    let url = server.url("/v1/consumers/one");
    let gone = server.http.delete(&url).send().await.expect("answers");
    assert_eq!((gone.status(), gone.text().await.expect("text")), (StatusCode::OK, "{}\n".into()));
    assert_eq!(server.http.get(url).send().await.expect("answers").status(), 404);
    let delete = || pb::DeleteConsumerRequest { name: "two".to_owned() };
    both.grpc.delete_consumer(delete()).await.expect("gone");
    let status = both.grpc.delete_consumer(delete()).await.expect_err("gone");
    assert_eq!(status.code(), tonic::Code::NotFound);
    drop(both);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_owner_is_refused_whichever_transport_it_comes_by() {
    let server = Server::start().await;
    let http = Http::new(server.url(""));
    http.make_library().await;
    http.done("/v1/consumers", json!({"name": "c"})).await;
    let first = http.done("/v1/consumers/c/pull", json!({"owner": "first"})).await;
    // It waits for events when the second comes by the other transport.
    let wait = json!({"generation": first["generation"], "wait_ms": 40_000});
    let waiting = http.post("/v1/consumers/c/pull", wait);
    let mut grpc = ConsumerServiceClient::new(server.channel().await);
    let pull = pb::PullEventsRequest {
        name: "c".to_owned(),
        owner: "second".to_owned(),
        ..Default::default()
    };
    let (ended, second) = tokio::join!(tokio::time::timeout(DEADLINE, waiting), async {
        grpc.pull_events(pull).await.expect("taken over").into_inner()
    });
    let (status, problem) = ended.expect("at once");
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::CONFLICT, &json!("urn:arrwdb:error:conflict"))
    );
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(&second.generation.to_string()), "{detail}");
    let generation = first["generation"].clone();
    let late = json!({"generation": generation, "cursor": second.tail_cursor});
    assert_eq!(http.post("/v1/consumers/c/acknowledge", late).await.0, StatusCode::CONFLICT);
    let late = pb::AcknowledgeRequest {
        name: "c".to_owned(),
        generation: generation.as_u64().expect("a number"),
        cursor: second.tail_cursor.clone(),
    };
    let status = grpc.acknowledge(late.clone()).await.expect_err("stale");
    assert_eq!(status.code(), tonic::Code::Aborted);
    let good = pb::AcknowledgeRequest { generation: second.generation, ..late };
    grpc.acknowledge(good).await.expect("the owner may");
    drop(grpc);
    server.stop().await;
}

/// What a gRPC stream gives next: a heartbeat's cursor and generation, or an event.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_the_stream_is_refused_and_takes_nothing_over() {
    let server = Server::start().await;
    let http = Http::new(server.url(""));
    http.done("/v1/consumers", json!({"name": "c"})).await;
    let pulled = http.done("/v1/consumers/c/pull", json!({"owner": "first"})).await;
    let stream = server.url("/v1/events/stream?consumer=c&owner=evil");
    let answer = http.client.head(stream).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let consumer = http.get("/v1/consumers/c").await;
    assert_eq!(
        (&consumer["generation"], &consumer["owner"]),
        (&pulled["generation"], &json!("first"))
    );
    server.stop().await;
}

async fn next(messages: &mut Streaming<pb::SubscribeResponse>) -> Result<Message, Status> {
    let message = in_time("the next message", messages.message()).await?;
    Ok(message.expect("goes on").item.expect("an item"))
}

async fn next_event(messages: &mut Streaming<pb::SubscribeResponse>) -> pb::Event {
    loop {
        if let Message::Event(event) = next(messages).await.expect("goes on") {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_as_a_consumer_is_taken_over_across_transports() {
    let server = Server::start().await;
    let http = Http::new(server.url(""));
    http.make_library().await;
    for id in ["a", "b", "c"] {
        http.write(id).await;
    }
    let wanted = json!({"name": "c", "event_types": ["document.added"], "cursor": "begin"});
    let begin = http.done("/v1/consumers", wanted).await["cursor"].clone();
    let mut consumers = ConsumerServiceClient::new(server.channel().await);
    let mut grpc = EventServiceClient::new(server.channel().await);
    let as_consumer = |owner: &str| pb::SubscribeRequest {
        consumer: "c".to_owned(),
        owner: owner.to_owned(),
        ..Default::default()
    };

    let mut first = grpc.subscribe(as_consumer("g")).await.expect("subscribed").into_inner();
    let Message::Heartbeat(heartbeat) = next(&mut first).await.expect("there") else {
        panic!("no heartbeat")
    };
    assert_eq!(heartbeat.cursor, begin);
    let generation = heartbeat.generation.expect("the owner's");
    let mut ids = Vec::new();
    for expected in ["a", "b", "c"] {
        let event = next_event(&mut first).await;
        let Some(pb::event::Payload::Document(document)) = event.payload else { panic!() };
        assert_eq!(document.document_id, expected);
        ids.push(event.id);
    }
    let done = pb::AcknowledgeRequest { name: "c".to_owned(), generation, cursor: ids[0].clone() };
    consumers.acknowledge(done.clone()).await.expect("acknowledged");

    // A browser that comes back says what it received; what it acknowledged counts.
    let sse = wire::Http::of(&server);
    let request = sse.request("GET", "/v1/events/stream?consumer=c&owner=s");
    let mut second = sse.follow_with(request.header("last-event-id", &ids[2])).await;
    let status = next(&mut first).await.expect_err("taken over");
    assert_eq!(status.code(), tonic::Code::Aborted, "{status}");
    let status = consumers.acknowledge(done).await.expect_err("stale");
    assert_eq!(status.code(), tonic::Code::Aborted);
    let heartbeat = second.next().await.expect("a heartbeat");
    assert_eq!((&heartbeat.event[..], &heartbeat.id), ("heartbeat", &Some(ids[0].clone())));
    let later = heartbeat.data["generation"].as_u64().expect("the owner's");
    assert!(later > generation);
    let events = second.take(2).await;
    assert_eq!([&events[0]["id"], &events[1]["id"]], [&json!(ids[1]), &json!(ids[2])]);
    assert_eq!(http.get("/v1/consumers/c").await["owner"], "s");

    // Nothing of this takes it over.
    for (query, field) in [
        ("consumer=c&library_id=l", "library_id"),
        ("consumer=c&event_types=document.added", "event_types"),
        ("consumer=c&cursor=begin", "cursor"),
        ("consumer=c&snapshot=true", "snapshot"),
        ("consumer=c+d", "consumer"),
        ("consumer=c&generation=x", "generation"),
        ("owner=s", "owner"),
    ] {
        let fault = sse.get(&format!("/v1/events/stream?{query}")).await.fault();
        assert_eq!((&*fault.slug, &*fault.violations[0].0), ("invalid-argument", field));
    }
    for request in [
        pb::SubscribeRequest { library_id: "l".to_owned(), ..as_consumer("") },
        pb::SubscribeRequest { cursor: "begin".to_owned(), ..as_consumer("") },
        pb::SubscribeRequest { snapshot: true, ..as_consumer("") },
        pb::SubscribeRequest { consumer: String::new(), ..as_consumer("g") },
        pb::SubscribeRequest { generation: Some(1), ..Default::default() },
    ] {
        let status = grpc.subscribe(request).await.expect_err("refused");
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
    }
    let back = format!("/v1/events/stream?consumer=c&generation={generation}");
    assert_eq!(sse.get(&back).await.fault().slug, "conflict");
    let back = pb::SubscribeRequest { generation: Some(generation), ..as_consumer("g") };
    let status = grpc.subscribe(back).await.expect_err("stale");
    assert_eq!(status.code(), tonic::Code::Aborted);
    http.write("d").await;
    assert_eq!(second.event().await.data["document_id"], "d");

    let mut third = grpc.subscribe(as_consumer("g")).await.expect("subscribed").into_inner();
    let end = loop {
        let frame = second.next().await.expect("told before the end");
        if frame.event != "heartbeat" {
            break frame;
        }
    };
    assert_eq!((&end.event[..], &end.data["type"]), ("stream.error", &json!("conflict")));
    assert_eq!((end.id, second.next().await), (None, None));
    assert_eq!(next_event(&mut third).await.id, ids[1]);
    server.begin_shutdown();
    // The rest, and where it stands: a shutdown is no loss of the consumer.
    while in_time("the end", third.message()).await.expect("a clean end").is_some() {}
    drop((consumers, grpc, third, second));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_waits_ends_at_a_shutdown_with_nothing() {
    let server = Server::start().await;
    let http = Http::new(server.url(""));
    http.done("/v1/consumers", json!({"name": "c"})).await;
    let waiting =
        tokio::spawn(
            async move { http.post("/v1/consumers/c/pull", json!({"wait_ms": 40_000})).await },
        );
    let owned = async || {
        let name = arrwdb::types::ConsumerName::parse("c").expect("a name");
        let view = server.engine.get_consumer(&name).await.expect("there");
        (view.consumer.updated_at > view.consumer.created_at).then_some(())
    };
    crate::harness::eventually("the pull has begun", owned).await;
    server.begin_shutdown();
    let ended = tokio::time::timeout(DEADLINE, waiting).await.expect("in time");
    let (status, answer) = ended.expect("no panic");
    assert!(status == StatusCode::OK && ids(&answer).is_empty(), "{status} {answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_processing_and_acknowledging_gives_the_same_again() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), &[]);
    let http = Http::new(process.url(""));
    http.make_library().await;
    let wanted = json!({"name": "c", "event_types": ["document.added"], "cursor": "begin"});
    http.done("/v1/consumers", wanted).await;
    let all: Vec<String> = (0..9).map(|n| format!("d{n}")).collect();
    for id in &all {
        http.write(id).await;
    }
    let pull = json!({"max_events": 3});
    let first = http.done("/v1/consumers/c/pull", pull.clone()).await;
    assert_eq!(ids(&first), all[..3]);
    let generation = first["generation"].clone();
    let done = json!({"generation": generation, "cursor": first["next_cursor"]});
    http.done("/v1/consumers/c/acknowledge", done).await;
    let second =
        http.done("/v1/consumers/c/pull", json!({"generation": generation, "max_events": 3}));
    let second = second.await;
    assert_eq!(ids(&second), all[3..6]);
    process.kill();

    let process = Process::start(folder.path(), &[]);
    let http = Http::new(process.url(""));
    let consumer = http.get("/v1/consumers/c").await;
    assert_eq!(consumer["cursor"], first["next_cursor"]);
    assert_eq!(consumer["generation"], generation);
    let again = http.done("/v1/consumers/c/pull", pull).await;
    assert_eq!(again["events"], second["events"], "the same events, byte for byte");
    assert!(again["generation"].as_u64() > generation.as_u64());
    let done = json!({"generation": again["generation"], "cursor": again["next_cursor"]});
    http.done("/v1/consumers/c/acknowledge", done).await;
    let rest = json!({"generation": again["generation"]});
    assert_eq!(ids(&http.done("/v1/consumers/c/pull", rest).await), all[6..]);
    assert_eq!(process.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_acknowledgement_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().expect("folder");
    let mut process = Process::start(folder.path(), &[]);
    let http = Http::new(process.url(""));
    http.make_library().await;
    for n in 0..60 {
        http.write(&format!("d{n}")).await;
    }
    http.done("/v1/consumers", json!({"name": "c", "cursor": "begin"})).await;
    let mut lowest = String::new();
    for round in 0..3 {
        let mut grpc = ConsumerServiceClient::new(channel(process.address).await);
        let pull = || pb::PullEventsRequest {
            name: "c".to_owned(),
            max_events: 1_000,
            ..Default::default()
        };
        let pulled = grpc.pull_events(pull()).await.expect("pulled").into_inner();
        assert!(pulled.events.iter().all(|event| event.id > lowest), "nothing is given twice");
        // Acknowledges one by one until it is killed in the middle.
        let (sender, mut acknowledged) = tokio::sync::watch::channel(lowest.clone());
        let owner = tokio::spawn(async move {
            for event in pulled.events {
                let request = pb::AcknowledgeRequest {
                    name: "c".to_owned(),
                    generation: pulled.generation,
                    cursor: event.id.clone(),
                };
                if grpc.acknowledge(request).await.is_err() {
                    break;
                }
                sender.send_replace(event.id);
            }
        });
        for _ in 0..10 + round {
            let changed = tokio::time::timeout(DEADLINE, acknowledged.changed()).await;
            if changed.expect("in time").is_err() {
                break;
            }
        }
        process.kill();
        tokio::time::timeout(Duration::from_secs(60), owner).await.expect("ends").expect("ends");
        lowest.clone_from(&acknowledged.borrow());
        process = Process::start(folder.path(), &[]);
        let consumer = Http::new(process.url("")).get("/v1/consumers/c").await;
        let cursor = consumer["cursor"].as_str().expect("a cursor");
        assert!(cursor >= &*lowest, "{cursor} went back behind {lowest}");
        lowest = cursor.to_owned();
    }
    assert_eq!(process.terminate(), Some(0));
}
