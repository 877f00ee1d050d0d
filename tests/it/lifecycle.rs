//! The server around the API: who may come, what is compressed, what it says of itself, how it
//! ends.

use arrwdb::api::grpc::pb;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::grpc_wire::{self, Grpc, ingest_messages};
use crate::harness::{Process, Server};
use crate::wire::{EventsQuery, Http, Reply, Wire, in_time, lines, ndjson, text};

fn preflight(http: &Http, path: &str, origin: &str) -> reqwest::RequestBuilder {
    http.request("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-grpc-web")
}

fn cors_headers(reply: &Reply) -> Vec<String> {
    let names = reply.headers.keys().map(|name| name.as_str().to_owned());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

const GRPC_PATH: &str = "/arrwdb.v1.LibraryService/ListLibraries";

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_let_in_only_when_configured() {
    let server = Server::start().await;
    let http = Http::of(&server);
    for path in ["/v1/libraries", "/v1/events/stream?cursor=x", GRPC_PATH] {
        let reply = http.send(preflight(&http, path, "https://a.example")).await;
        assert_eq!(cors_headers(&reply), Vec::<String>::new(), "{path}");
        let request = http.request("GET", path).header("origin", "https://a.example");
        let reply = http.send(request).await;
        assert_eq!(cors_headers(&reply), Vec::<String>::new(), "{path}");
    }
    server.stop().await;

    let origin = "https://a.example";
    let server = Server::start_with(|s| s.cors_origins = vec![origin.to_owned()]).await;
    let http = Http::of(&server);
    for path in ["/v1/libraries", "/v1/libraries/x/documents/stream", GRPC_PATH] {
        let reply = http.send(preflight(&http, path, origin)).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin), "{path}");
        let other = http.send(preflight(&http, path, "https://b.example")).await;
        assert_eq!(other.header("access-control-allow-origin"), None, "{path}");
    }
    let request = http.request("GET", "/v1/libraries/nobody").header("origin", origin);
    let reply = http.send(request).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some(origin), "on problems too");
    assert_eq!(reply.fault().slug, "not-found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whole_answers_are_compressed() {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.vectors("l", "dot", 1).await;
    let documents: Vec<Value> = (0..50)
        .map(|n| {
            json!({"id": format!("d{n}"), "title": "t".repeat(500),
            "chunks": [{"text": "x", "embedding": [n]}]})
        })
        .collect();
    let encoding = async |request: reqwest::RequestBuilder| {
        let response = request.header("accept-encoding", "gzip").send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        response
            .headers()
            .get("content-encoding")
            .map(|value| value.to_str().expect("text").to_owned())
    };
    let base = "/v1/libraries/l";
    let ingest = http.request("POST", &format!("{base}/documents/stream"));
    assert_eq!(encoding(ingest.body(ndjson(&documents))).await, None, "ingest");
    for (method, path) in [
        ("GET", format!("{base}/documents/stream")),
        ("POST", format!("{base}/search/stream?embedding=1&k=50")),
        ("GET", "/v1/events/stream?cursor=begin".to_owned()),
    ] {
        assert_eq!(encoding(http.request(method, &path)).await, None, "{path}");
    }
    for (method, path) in
        [("GET", format!("{base}/documents")), ("GET", "/v1/events?cursor=begin".to_owned())]
    {
        let compressed = encoding(http.request(method, &path)).await;
        assert_eq!(compressed.as_deref(), Some("gzip"), "{path}");
    }
    let plain = http.get(&format!("{base}/documents")).await;
    assert_eq!(plain.header("content-encoding"), None, "nobody asked for it");
    server.stop().await;
}

/// The services that a server's reflection lists, by either version of its protocol.
async fn reflected(server: &Server) -> [Vec<String>; 2] {
    macro_rules! ask {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
            let mut client = ServerReflectionClient::new(server.channel().await);
            let ask = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let replies = client.server_reflection_info(futures::stream::iter([ask])).await;
            let mut replies = replies.expect("reflection").into_inner();
            let reply = in_time("a reply", replies.next()).await.expect("one").expect("no fault");
            let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
                panic!("{reply:?}");
            };
            let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            names.sort();
            names
        }};
    }
    [ask!(v1), ask!(v1alpha)]
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_every_service_in_both_versions() {
    let server = Server::start().await;
    let [v1, v1alpha] = reflected(&server).await;
    for name in [
        "arrwdb.v1.DocumentService",
        "arrwdb.v1.EventService",
        "arrwdb.v1.LibraryService",
        "arrwdb.v1.SearchService",
        "grpc.health.v1.Health",
    ] {
        assert!(v1.iter().any(|listed| listed == name), "{name} in {v1:?}");
        assert!(v1alpha.iter().any(|listed| listed == name), "{name} in {v1alpha:?}");
    }
    server.stop().await;
}

async fn status_of(
    client: &mut HealthClient<tonic::transport::Channel>,
    service: &str,
) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.map(|reply| reply.into_inner().status())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_serving_until_the_shutdown_begins() {
    let server = Server::start().await;
    let http = Http::of(&server);
    assert_eq!(http.get("/health").await.ok()["status"], "alive");
    assert_eq!(http.get("/ready").await.ok()["status"], "ready");
    let mut client = HealthClient::new(server.channel().await);
    for service in ["", "arrwdb.v1.LibraryService", "arrwdb.v1.EventService"] {
        let status = status_of(&mut client, service).await.expect("a status");
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let unknown = status_of(&mut client, "no.Such").await.expect_err("unknown");
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let mut watches = Vec::new();
    for service in ["", "arrwdb.v1.SearchService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watch = client.watch(request).await.expect("a watch").into_inner();
        let first = in_time("a status", watch.next()).await.expect("one").expect("no fault");
        assert_eq!(first.status(), ServingStatus::Serving);
        watches.push(watch);
    }
    server.begin_shutdown();
    for mut watch in watches {
        let next = in_time("a status", watch.next()).await.expect("one").expect("no fault");
        assert_eq!(next.status(), ServingStatus::NotServing);
        assert!(in_time("the end", watch.next()).await.is_none(), "it ends");
    }
    drop((client, http));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_serves_is_a_fault_on_either_transport() {
    let server = Server::start().await;
    let http = Http::of(&server);
    for path in [
        "/console",
        "/console/nothing.js",
        "/index.html",
        "/v1",
        "/v1/nothing",
        "/v1/libraries/a/b/c",
        "/v2/libraries",
        "/V1/libraries",
    ] {
        assert_eq!(http.get(path).await.fault().slug, "not-found", "{path}");
    }
    let wrong = http.send(http.request("PUT", "/v1/libraries")).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET,HEAD,POST")));
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    grpc.ready().await.expect("ready");
    let codec =
        tonic_prost::ProstCodec::<pb::ListLibrariesRequest, pb::ListLibrariesResponse>::default();
    let path = "/arrwdb.v1.LibraryService/Nothing".parse().expect("a path");
    let request = tonic::Request::new(pb::ListLibrariesRequest::default());
    let refused = grpc.unary(request, path, codec).await.expect_err("no such rpc");
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    server.stop().await;
}

/// A stream of items that stays open until the sender is dropped.
fn held_open(first: Value) -> (tokio::sync::mpsc::Sender<Value>, impl Stream<Item = Value> + Send) {
    let (sender, items) = tokio::sync::mpsc::channel(4);
    sender.try_send(first).expect("room");
    (sender, tokio_stream::wrappers::ReceiverStream::new(items))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_every_open_stream_cleanly() {
    let folder = tempfile::tempdir().expect("folder");
    // Longer than the test waits: only streams that end by themselves let it pass.
    let server = Server::open(folder.path(), |s| s.limits.shutdown_grace_ms = 120_000).await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    http.vectors("l", "dot", 1).await;
    let item =
        |id: &str| json!({"id": id, "title": "t", "chunks": [{"text": "x", "embedding": [1]}]});

    let mut sse = http.follow("").await;
    let filtered = "?event_types=library.deleted&cursor=begin";
    let mut idle = http.follow(filtered).await;
    let mut events = grpc.follow(&EventsQuery::from("now")).await.expect("a subscription");
    for stream in [&mut sse, &mut idle] {
        assert_eq!(stream.next().await.expect("a frame").event, "heartbeat");
    }
    in_time("a heartbeat", events.next()).await.expect("one").expect("no fault");

    let (http_sender, items) = held_open(item("over-http"));
    let body = items.map(|item| Ok::<_, std::io::Error>(format!("{item}\n")));
    let request = http.request("POST", "/v1/libraries/l/documents/stream");
    let response = request.body(reqwest::Body::wrap_stream(body)).send().await.expect("an answer");
    let mut answer = response.bytes_stream();
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("completed") {
        told.extend(in_time("a status", answer.next()).await.expect("goes on").expect("whole"));
    }
    let (grpc_sender, items) = held_open(item("over-grpc"));
    let mut client = grpc.documents.clone();
    let messages = ingest_messages("l", "replace", "all", items);
    let mut statuses = client.stream_ingest_documents(messages).await.expect("open").into_inner();
    loop {
        let status = in_time("a status", statuses.next()).await.expect("one").expect("no fault");
        if grpc_wire::status(&status)["status"] == "completed" {
            break;
        }
    }

    // Both followers have seen both documents; then the server stops.
    for _ in 0..2 {
        while sse.event().await.event != "document.added" {}
    }
    let mut documents = 0;
    while documents < 2 {
        let message = in_time("an event", events.next()).await.expect("one").expect("no fault");
        if let Some(pb::subscribe_response::Item::Event(event)) = message.item {
            documents += i32::from(event.r#type() == pb::EventType::DocumentAdded);
        }
    }
    server.begin_shutdown();
    // Subscribers get a last cursor, then the end.
    let mut last = sse.next().await.expect("a frame");
    while last.event != "heartbeat" {
        last = sse.next().await.expect("a frame");
    }
    assert_eq!(sse.next().await, None);
    assert_eq!(idle.next().await.expect("a last frame").event, "heartbeat");
    assert_eq!(idle.next().await, None);
    let mut cursor = String::new();
    while let Some(message) = in_time("the end", events.next()).await {
        match message.expect("a clean end").item.expect("an item") {
            pb::subscribe_response::Item::Heartbeat(beat) => cursor = beat.cursor,
            pb::subscribe_response::Item::Event(_) => cursor.clear(),
            other => panic!("not asked for: {other:?}"),
        }
    }
    assert!(!cursor.is_empty(), "the last message is a heartbeat");

    while let Some(piece) = in_time("the end", answer.next()).await {
        told.extend(piece.expect("a clean end"));
    }
    let told = lines(std::str::from_utf8(&told).expect("UTF-8"));
    let end = told.last().expect("a last line");
    assert_eq!((&end["status"], &end["error"]["type"]), (&json!("error"), &json!("unavailable")));
    let fault = loop {
        match in_time("the end", statuses.next()).await.expect("ends with a status") {
            Ok(_) => {}
            Err(status) => break grpc_wire::fault(&status),
        }
    };
    assert_eq!(fault.slug, "unavailable");
    assert_eq!(json!(fault.detail), end["error"]["detail"]);
    drop((http, grpc, events, statuses, client, http_sender, grpc_sender, sse, idle));
    server.stop().await;

    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    for id in ["over-http", "over-grpc"] {
        http.get_document("l", id).await.expect("it was acknowledged");
    }
    let failed = http.events("begin", "&event_types=batch.failed").await;
    let reasons: Vec<_> = failed.iter().map(|event| text(&event["reason"])).collect();
    assert_eq!(reasons, ["server-shutdown", "server-shutdown"]);
    // What the last cursors have not seen is what follows them, and nothing twice.
    for cursor in [last.id.expect("a cursor"), cursor] {
        let before = http.events("begin", "").await;
        let rest = http.events(&cursor, "").await;
        assert_eq!(rest[..], before[before.len() - rest.len()..]);
        assert!(rest.len() <= 2, "at most the ends of the batches: {rest:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_exports_with_a_word() {
    let server = Server::start_with(|s| s.limits.shutdown_grace_ms = 120_000).await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    http.vectors("l", "dot", 1).await;
    let metadata = json!({"pad": "x".repeat(60_000)});
    let documents: Vec<Value> = (0..400)
        .map(|n| {
            json!({"id": format!("d{n}"), "title": "t", "metadata": metadata,
            "chunks": [{"embedding": [n]}]})
        })
        .collect();
    http.ingest("l", "?report=summary", ndjson(&documents)).await.lines();
    let request = http.request("GET", "/v1/libraries/l/documents/stream");
    let mut body = request.send().await.expect("an answer").bytes_stream();
    let mut bytes = in_time("a piece", body.next()).await.expect("one").expect("whole").to_vec();
    let request = pb::ExportDocumentsRequest { library_id: "l".into(), ..Default::default() };
    let mut client = grpc.documents.clone();
    let mut messages = client.export_documents(request).await.expect("open").into_inner();
    in_time("a document", messages.next()).await.expect("one").expect("no fault");

    server.begin_shutdown();
    while let Some(piece) = in_time("the end", body.next()).await {
        bytes.extend(piece.expect("a clean end"));
    }
    let exported = lines(std::str::from_utf8(&bytes).expect("UTF-8"));
    let end = exported.last().expect("a last line");
    assert_eq!((&end["status"], &end["error"]["type"]), (&json!("error"), &json!("unavailable")));
    assert!(exported.len() < 400, "the client had not taken all of it");
    let fault = loop {
        match in_time("the end", messages.next()).await.expect("ends with a status") {
            Ok(message) => assert!(!matches!(
                message.item,
                Some(pb::export_documents_response::Item::Complete(_))
            )),
            Err(status) => break grpc_wire::fault(&status),
        }
    };
    assert_eq!(fault.slug, "unavailable");
    drop((http, grpc, client, messages, body));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_well_with_streams_open() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), &[]);
    let client = reqwest::Client::builder().http1_only().build().expect("client");
    let response = client.get(process.url("/v1/events/stream")).send().await.expect("an answer");
    let mut body = response.bytes_stream();
    let first = in_time("a frame", body.next()).await.expect("one").expect("whole");
    assert!(first.starts_with(b"retry: 2000\nid: "));
    let ended = tokio::task::spawn_blocking(move || process.terminate());
    let mut rest = Vec::new();
    while let Some(piece) = in_time("the end", body.next()).await {
        rest.extend(piece.expect("a clean end"));
    }
    assert!(String::from_utf8_lossy(&rest).contains("event: heartbeat\n"), "a last cursor");
    assert_eq!(in_time("the exit", ended).await.expect("no panic"), Some(0));
}
