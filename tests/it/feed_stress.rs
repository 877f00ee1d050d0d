//! The feed under stress: concurrent writers of all kinds of changes, slow, dying and resuming
//! readers on mixed transports, a durable consumer whose owners die, kill −9 and restart of the real
//! binary, once with the log trimmed as fast as the consumer lets it. Everything that any reader got
//! is recorded and goes through the verifier.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrwdb::api::grpc::pb;
use arrwdb::api::grpc::pb::event_service_client::EventServiceClient;
use arrwdb::api::grpc::pb::subscribe_response::Item as Message;
use arrwdb::cli::verify_feed::{
    Asked, Covered, ExportRecord, Log, Recording, Sifted, check, check_export, check_filtered,
};
use arrwdb::types::{Cursor, EventType, Filter, FilterScope, LibraryId, Limits, Revision};
use futures::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::transport::Endpoint;

use crate::harness::{DEADLINE, Process};

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Scale {
    writers: u64,
    operations: u64,
    documents_per_stream: u64,
    /// How often each kind of reader is there.
    copies: usize,
    kills: u64,
    deliveries_min: u64,
    /// The log that is kept beyond what the consumer holds; `None`: all of it.
    kept_bytes: Option<u64>,
}

/// Where the server is, once it is there; counted up with each start.
type Address = watch::Receiver<Option<(u64, std::net::SocketAddr)>>;

/// What writers and readers share.
#[derive(Clone)]
struct World {
    address: Address,
    http: reqwest::Client,
    libraries: Arc<Vec<(String, LibraryId)>>,
    /// Operations that writers have finished.
    done: Arc<watch::Sender<u64>>,
    /// The feed's end, once the writers are through.
    end: watch::Receiver<Option<u64>>,
    /// Revisions that were acknowledged.
    acknowledged: Arc<Mutex<Vec<u64>>>,
    /// Broken requests, for which nothing is known.
    broken: Arc<AtomicU64>,
}

impl World {
    /// The server, waiting for it.
    async fn server(&self) -> (u64, std::net::SocketAddr) {
        let mut address = self.address.clone();
        let found = tokio::time::timeout(DEADLINE, address.wait_for(Option::is_some)).await;
        found.expect("the server is back in time").expect("the test goes on").expect("some")
    }

    /// Waits until the server that failed is replaced.
    async fn next_server(&self, failed: u64) {
        let mut address = self.address.clone();
        let newer = |now: &Option<(u64, _)>| now.is_some_and(|(start, _)| start > failed);
        let found = tokio::time::timeout(DEADLINE, address.wait_for(newer)).await;
        found.expect("a server fails only when it is killed").expect("the test goes on");
    }

    /// Sends a request; `None` when the server was killed meanwhile.
    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<reqwest::Body>,
    ) -> Option<(u16, String)> {
        let (start, address) = self.server().await;
        let mut request = self.http.request(method, format!("http://{address}{path}"));
        if let Some(body) = body {
            request = request.body(body);
        }
        let reply = async {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.text().await.ok()?))
        };
        let reply = tokio::time::timeout(DEADLINE, reply).await.expect("answered in time");
        if reply.is_none() {
            self.broken.fetch_add(1, Ordering::Relaxed);
            self.next_server(start).await;
        }
        reply
    }

    fn acknowledge(&self, text: &str) {
        let reply: Value = serde_json::from_str(text).expect("JSON");
        let revision = reply["revision"].as_str().and_then(|text| text.parse().ok());
        let revision = revision.unwrap_or_else(|| panic!("no revision: {text}"));
        self.acknowledged.lock().expect("lock").push(revision);
    }
}

fn document(random: &mut impl Rng, id: &str) -> Value {
    let chunks: Vec<_> = (0..random.random_range(1..4))
        .map(|n| json!({"text": format!("{id} {n}"), "embedding": vector(random)}))
        .collect();
    json!({"id": id, "title": format!("Title {id}"), "chunks": chunks, "metadata": {"n": 1}})
}

fn vector(random: &mut impl Rng) -> [f32; 4] {
    std::array::from_fn(|_| random.random_range(0.1..1.0))
}

/// One writer: its own documents in every library, so that it knows what may be refused.
async fn write(world: World, number: u64, scale: Scale) {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    for operation in 0..scale.operations {
        let (name, _) = &world.libraries[random.random_range(0..world.libraries.len())];
        let documents = format!("/v1/libraries/{name}/documents");
        let id = format!("w{number}-{}", random.random_range(0..20));
        let path = format!("{documents}/{id}");
        use reqwest::Method;
        let json = |value: Value| Some(reqwest::Body::from(value.to_string()));
        let reply = match random.random_range(0..12) {
            0..3 => world.send(Method::POST, &documents, json(document(&mut random, &id))).await,
            3..5 => {
                let patch = json!({"metadata": {"n": operation}});
                world.send(Method::PATCH, &path, json(patch)).await
            }
            5 => {
                let chunks = document(&mut random, &id)["chunks"].take();
                world.send(Method::PATCH, &path, json(json!({"chunks": chunks}))).await
            }
            6 => world.send(Method::DELETE, &path, None).await,
            7 => scratch(&world, number, operation).await,
            8 => {
                leave(&world, &format!("{documents}/stream"), &document(&mut random, &id)).await;
                None
            }
            _ => {
                let lines: String = (0..scale.documents_per_stream)
                    .map(|n| format!("{}\n", document(&mut random, &format!("s{number}-{n}"))))
                    .collect();
                let stream = format!("{documents}/stream?report=summary");
                let reply = world.send(Method::POST, &stream, Some(lines.into())).await;
                // A stream that broke on the server's side has no summary.
                reply.filter(|(_, text)| text.contains("\"summary\""))
            }
        };
        match reply {
            None | Some((404 | 409, _)) => {}
            Some((200 | 201, text)) => world.acknowledge(text.trim_end()),
            Some((status, text)) => panic!("operation {operation} of {number}: {status} {text}"),
        }
        world.done.send_modify(|done| *done += 1);
    }
}

/// Streams a document in and leaves in the middle of the next, once the first is answered.
async fn leave(world: &World, path: &str, first: &Value) {
    let (answered, wait) = tokio::sync::oneshot::channel::<()>();
    let begun = futures::stream::iter([Ok(format!("{first}\n{{\"title\":"))]);
    let cut = futures::stream::once(async move {
        // Whether it was answered or the server was killed: leave.
        let _ = wait.await;
        Err(std::io::Error::other("gone"))
    });
    let (_, address) = world.server().await;
    let body = reqwest::Body::wrap_stream(begun.chain(cut));
    let sent = world.http.post(format!("http://{address}{path}")).body(body).send();
    let sent = tokio::time::timeout(DEADLINE, sent).await.expect("answered in time");
    let Ok(mut response) = sent else { return };
    let _ = tokio::time::timeout(DEADLINE, response.chunk()).await.expect("answered in time");
    drop(answered);
    // The connection breaks once hyper has seen the error.
    while let Ok(Some(_)) = response.chunk().await {}
}

/// A library that comes, changes and goes.
async fn scratch(world: &World, number: u64, operation: u64) -> Option<(u16, String)> {
    use reqwest::Method;
    let name = format!("scratch-{number}-{operation}");
    let new = json!({"name": name, "embedder": "none", "dimension": 4, "metric": "l2"});
    let body = |value: &Value| Some(reqwest::Body::from(value.to_string()));
    let (status, text) = world.send(Method::POST, "/v1/libraries", body(&new)).await?;
    assert_eq!(status, 201, "{text}");
    let path = format!("/v1/libraries/{name}");
    let mut random = ChaCha8Rng::seed_from_u64(operation);
    let one = document(&mut random, "one");
    world.send(Method::POST, &format!("{path}/documents"), body(&one)).await?;
    let change = json!({"description": "soon gone"});
    world.send(Method::PATCH, &path, body(&change)).await?;
    world.send(Method::DELETE, &path, None).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Sse,
    Grpc,
    Pages,
}

/// A reader: how it reads, and what it has read.
struct Reader {
    name: String,
    /// Taken in turn, one for each connection.
    transports: Vec<Transport>,
    /// The place of its library in the world's.
    library: Option<usize>,
    types: Vec<EventType>,
    filter: &'static str,
    /// Leaves after so many events and comes back.
    dies_after: Option<usize>,
    /// Reads on only when the writers have done something more.
    slow: bool,
    cursor: String,
    pieces: Vec<Recording>,
    /// The pieces before each loss of which it was told.
    before: Vec<Vec<Recording>>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// All is read.
    Done,
    /// The reader left.
    Left,
    /// The connection broke.
    Broke,
    /// What follows was trimmed away, it was told.
    Lost,
}

/// One connection's recording as it grows.
#[derive(Debug, Default)]
struct Piece {
    text: String,
    events: usize,
    cursor: Option<Cursor>,
}

impl Reader {
    async fn run(mut self, world: World) -> Self {
        for turn in 0.. {
            let (start, address) = world.server().await;
            let mut piece = Piece::default();
            let address = address.to_string();
            let transport = self.transports[turn % self.transports.len()];
            let ended = match transport {
                Transport::Sse => self.sse(&world, &address, turn, &mut piece).await,
                Transport::Grpc => self.grpc(&world, &address, &mut piece).await,
                Transport::Pages => self.pages(&world, &address, &mut piece).await,
            };
            let name = format!("{} {turn} {transport:?}", self.name);
            if !piece.text.trim().is_empty() {
                self.pieces.push(Recording::parse(&name, &piece.text).expect("readable"));
            }
            if let Some(cursor) = piece.cursor {
                self.cursor = cursor.to_string();
            }
            match ended {
                Ended::Done => break,
                Ended::Left => {}
                Ended::Broke => world.next_server(start).await,
                Ended::Lost => {
                    self.before.push(std::mem::take(&mut self.pieces));
                    self.cursor = "begin".to_owned();
                }
            }
        }
        self
    }

    fn query(&self, world: &World) -> String {
        let mut query = String::new();
        if let Some(library) = self.library {
            query += &format!("&library_id={}", world.libraries[library].0);
        }
        if !self.types.is_empty() {
            let names: Vec<_> = self.types.iter().map(|kind| kind.name()).collect();
            query += &format!("&event_types={}", names.join(","));
        }
        if !self.filter.is_empty() {
            let safe = utf8_percent_encode(self.filter, NON_ALPHANUMERIC);
            query += &format!("&filter={safe}");
        }
        query
    }

    /// After something was read: whether to read on.
    async fn goes_on(&self, world: &World, piece: &Piece) -> Option<Ended> {
        let end = *world.end.borrow();
        let read = |end: u64| piece.cursor.is_some_and(|c| c.is_whole() && c.revision.0 >= end);
        if end.is_some_and(read) {
            return Some(Ended::Done);
        }
        if self.dies_after.is_some_and(|most| piece.events >= most) {
            return Some(Ended::Left);
        }
        if self.slow && end.is_none() {
            let mut done = world.done.subscribe();
            done.borrow_and_update();
            let mut end = world.end.clone();
            tokio::select! {
                _ = done.changed() => {}
                _ = end.wait_for(Option::is_some) => {}
            }
        }
        None
    }

    async fn sse(&self, world: &World, address: &str, turn: usize, piece: &mut Piece) -> Ended {
        let query = self.query(world);
        // The header wins over the parameter, as with a browser that comes back.
        let (parameter, header) = match turn % 2 {
            0 => (self.cursor.as_str(), None),
            _ => ("begin", Some(self.cursor.as_str())),
        };
        let url = format!("http://{address}/v1/events/stream?cursor={parameter}{query}");
        let mut request = world.http.get(url);
        if let Some(id) = header {
            request = request.header("last-event-id", id);
        }
        let Ok(response) = request.send().await else { return Ended::Broke };
        let status = response.status();
        let (mut body, mut bytes, mut scanned) = (response.bytes_stream(), Vec::new(), 0);
        loop {
            let next = tokio::time::timeout(DEADLINE, body.next()).await;
            let next = next.expect("a heartbeat comes at least");
            let Some(Ok(chunk)) = next else {
                piece.text = String::from_utf8_lossy(&bytes).into_owned();
                return Ended::Broke;
            };
            bytes.extend_from_slice(&chunk);
            if status == reqwest::StatusCode::GONE {
                return Ended::Lost;
            }
            assert!(status.is_success(), "{}", String::from_utf8_lossy(&bytes));
            while let Some(length) = bytes[scanned..].windows(2).position(|two| two == b"\n\n") {
                let frame = String::from_utf8_lossy(&bytes[scanned..scanned + length]);
                if frame.contains("event: stream.error") {
                    assert!(frame.contains("\"type\":\"cursor-expired\""), "{frame}");
                    piece.text = String::from_utf8_lossy(&bytes[..scanned]).into_owned();
                    return Ended::Lost;
                }
                let id = frame.lines().find_map(|line| line.strip_prefix("id: "));
                piece.cursor = id.and_then(|id| id.parse().ok());
                piece.events += usize::from(!frame.contains("event: heartbeat"));
                scanned += length + 2;
            }
            if let Some(ended) = self.goes_on(world, piece).await {
                piece.text = String::from_utf8_lossy(&bytes).into_owned();
                return ended;
            }
        }
    }

    async fn grpc(&self, world: &World, address: &str, piece: &mut Piece) -> Ended {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let Ok(channel) = endpoint.connect().await else { return Ended::Broke };
        let library = self.library.map(|at| world.libraries[at].1.to_string());
        let wire = |kind: &EventType| {
            let name = kind.name().to_ascii_uppercase().replace('.', "_");
            pb::EventType::from_str_name(&format!("EVENT_TYPE_{name}")).expect("known").into()
        };
        let request = pb::SubscribeRequest {
            library_id: library.unwrap_or_default(),
            event_types: self.types.iter().map(wire).collect(),
            filter: self.filter.to_owned(),
            cursor: self.cursor.clone(),
            ..Default::default()
        };
        let mut messages = match EventServiceClient::new(channel).subscribe(request).await {
            Ok(reply) => reply.into_inner(),
            Err(status) if status.code() == tonic::Code::OutOfRange => return Ended::Lost,
            Err(_) => return Ended::Broke,
        };
        loop {
            let next = tokio::time::timeout(DEADLINE, messages.message()).await;
            let message = match next.expect("a heartbeat comes at least") {
                Ok(Some(message)) => message,
                Err(status) if status.code() == tonic::Code::OutOfRange => return Ended::Lost,
                Ok(None) | Err(_) => return Ended::Broke,
            };
            let value = match message.item.expect("an item") {
                Message::Heartbeat(heartbeat) => {
                    piece.cursor = heartbeat.cursor.parse().ok();
                    json!({"heartbeat": {"cursor": heartbeat.cursor}})
                }
                Message::Event(event) => {
                    piece.cursor = event.id.parse().ok();
                    piece.events += 1;
                    json!({"event": event_json(&event)})
                }
                other => panic!("not asked for: {other:?}"),
            };
            piece.text += &value.to_string();
            piece.text.push('\n');
            if let Some(ended) = self.goes_on(world, piece).await {
                return ended;
            }
        }
    }

    async fn pages(&self, world: &World, address: &str, piece: &mut Piece) -> Ended {
        let query = self.query(world);
        loop {
            let cursor = piece.cursor.map_or(self.cursor.clone(), |cursor| cursor.to_string());
            let limit = 7 + piece.events % 500;
            let url = format!("http://{address}/v1/events?cursor={cursor}&limit={limit}{query}");
            let Ok(response) = world.http.get(url).send().await else { return Ended::Broke };
            let status = response.status();
            let Ok(text) = response.text().await else { return Ended::Broke };
            if status == reqwest::StatusCode::GONE {
                return Ended::Lost;
            }
            assert!(status.is_success(), "{text}");
            let page: Value = serde_json::from_str(&text).expect("JSON");
            let events = page["events"].as_array().expect("a list").len();
            let idle = page["next_cursor"] == page["tail_cursor"];
            piece.cursor = page["next_cursor"].as_str().and_then(|cursor| cursor.parse().ok());
            piece.events += events;
            piece.text += &text;
            piece.text.push('\n');
            if let Some(ended) = self.goes_on(world, piece).await {
                return ended;
            }
            if idle {
                // At the tail, nothing to do until something is written.
                let mut done = world.done.subscribe();
                let mut end = world.end.clone();
                tokio::select! {
                    _ = done.changed() => {}
                    _ = end.wait_for(Option::is_some) => {}
                }
            }
        }
    }
}

/// The owner of the durable consumer `c`: it pulls and follows in turn, and dies with events
/// processed that are not acknowledged.
struct Owner {
    /// Where the server began each session, and all that it gave.
    sessions: Vec<(Cursor, Recording)>,
    /// What was processed, each event once, as pages.
    once: String,
    processed: Cursor,
    /// What is acknowledged for certain.
    acknowledged: Cursor,
    /// What may be.
    tried: Cursor,
}

impl Owner {
    fn new(cursor: Cursor) -> Self {
        let (sessions, once) = (Vec::new(), String::new());
        Self { sessions, once, processed: cursor, acknowledged: cursor, tried: cursor }
    }

    async fn run(mut self, world: World) -> Self {
        for turn in 0.. {
            let state = world.send(reqwest::Method::GET, "/v1/consumers/c", None).await;
            let Some((200, state)) = state else { continue };
            let begin = cursor_of(&serde_json::from_str(&state).expect("JSON"), "cursor");
            assert!(begin >= self.acknowledged, "{begin} went back behind {}", self.acknowledged);
            assert!(begin <= self.tried, "{begin} was never acknowledged");
            let mut text = String::new();
            let ended = match turn % 2 {
                0 => self.pull(&world, &mut text).await,
                _ => self.follow(&world, &mut text).await,
            };
            if !text.trim().is_empty() {
                let recording = Recording::parse(&format!("owner {turn}"), &text);
                self.sessions.push((begin, recording.expect("readable")));
            }
            if ended == Ended::Done {
                break;
            }
        }
        self
    }

    /// Pulls, acknowledges every third page, and leaves with two pages that are not.
    async fn pull(&mut self, world: &World, text: &mut String) -> Ended {
        let mut ask = json!({"owner": "pull", "max_events": 150, "wait_ms": 100});
        for round in 1..=11 {
            let body = reqwest::Body::from(ask.to_string());
            let path = "/v1/consumers/c/pull";
            let reply = world.send(reqwest::Method::POST, path, Some(body)).await;
            let Some((status, page)) = reply else { return Ended::Broke };
            assert_eq!(status, 200, "{page}");
            text.push_str(&page);
            text.push('\n');
            let page: Value = serde_json::from_str(&page).expect("JSON");
            let next = cursor_of(&page, "next_cursor");
            self.process(page["events"].as_array().expect("a list"), next);
            let done = self.is_done(world);
            if done || round % 3 == 0 {
                let acknowledged = self.acknowledge(world, &page["generation"], next).await;
                let Some(()) = acknowledged else { return Ended::Broke };
            }
            if done {
                return Ended::Done;
            }
            ask["generation"] = page["generation"].clone();
            ask["cursor"] = page["next_cursor"].clone();
        }
        Ended::Left
    }

    /// Follows as the consumer, acknowledges now and then, and leaves without.
    async fn follow(&mut self, world: &World, text: &mut String) -> Ended {
        let (start, address) = world.server().await;
        let url = format!("http://{address}/v1/events/stream?consumer=c&owner=stream");
        let Ok(response) = world.http.get(url).send().await else {
            world.next_server(start).await;
            return Ended::Broke;
        };
        let status = response.status();
        let (mut body, mut generation) = (response.bytes_stream(), Value::Null);
        let (mut scanned, mut events) = (0, 0);
        while events < 1_100 {
            let piece = tokio::time::timeout(DEADLINE, body.next()).await;
            let Some(Ok(piece)) = piece.expect("a heartbeat comes at least") else {
                world.next_server(start).await;
                return Ended::Broke;
            };
            text.push_str(std::str::from_utf8(&piece).expect("ASCII"));
            assert!(status.is_success(), "{text}");
            while let Some(length) = text[scanned..].find("\n\n") {
                let frame = &text[scanned..scanned + length];
                scanned += length + 2;
                let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
                let data: Value = serde_json::from_str(data.expect("data")).expect("JSON");
                let id = cursor_of(&data, "id");
                if data["type"] == "heartbeat" {
                    generation = data["generation"].clone();
                    self.process(&[], id);
                } else {
                    events += 1;
                    self.process(&[data], id);
                }
                let done = self.is_done(world);
                if done || (events > 0 && events % 300 == 0) {
                    let acknowledged = self.acknowledge(world, &generation, id).await;
                    let Some(()) = acknowledged else { return Ended::Broke };
                }
                if done {
                    return Ended::Done;
                }
            }
        }
        Ended::Left
    }

    /// Takes events that were not given before; everything up to the cursor is dealt with.
    fn process(&mut self, events: &[Value], cursor: Cursor) {
        let fresh = |event: &&Value| cursor_of(event, "id") > self.processed;
        let fresh: Vec<_> = events.iter().filter(fresh).collect();
        self.processed = self.processed.max(cursor);
        let at = self.processed.to_string();
        let page = json!({"events": fresh, "next_cursor": at, "tail_cursor": at});
        self.once.push_str(&page.to_string());
        self.once.push('\n');
    }

    fn is_done(&self, world: &World) -> bool {
        let end = *world.end.borrow();
        end.is_some_and(|end| self.processed.is_whole() && self.processed.revision.0 >= end)
    }

    /// `None` when the server was killed meanwhile.
    async fn acknowledge(&mut self, world: &World, generation: &Value, to: Cursor) -> Option<()> {
        self.tried = self.tried.max(to);
        let done = json!({"generation": generation, "cursor": to.to_string()}).to_string();
        let path = "/v1/consumers/c/acknowledge";
        let (status, state) = world.send(reqwest::Method::POST, path, Some(done.into())).await?;
        assert_eq!(status, 200, "{state}");
        let state: Value = serde_json::from_str(&state).expect("JSON");
        assert_eq!(cursor_of(&state, "cursor"), to.max(self.acknowledged));
        self.acknowledged = self.acknowledged.max(to);
        Some(())
    }
}

fn cursor_of(value: &Value, field: &str) -> Cursor {
    let text = value[field].as_str().unwrap_or_else(|| panic!("no {field}: {value}"));
    text.parse().expect("a cursor")
}

/// An event as grpcurl prints it.
fn event_json(event: &pb::Event) -> Value {
    use pb::event::Payload;
    let time = event.timestamp.expect("a time");
    let micros = u64::try_from(time.seconds).expect("positive") * 1_000_000
        + u64::try_from(time.nanos / 1_000).expect("positive");
    let mut json = json!({
        "id": event.id,
        "type": event.r#type().as_str_name(),
        "libraryId": event.library_id,
        "timestamp": arrwdb::types::Timestamp::from_micros(micros).to_string(),
        "revision": event.revision.to_string(),
        "last": event.last,
        "batchId": event.batch_id,
        "match": event.r#match().as_str_name(),
    });
    let metadata = |object: &Option<prost_types::Struct>| object.as_ref().map(struct_json);
    let embedder = match event.payload.as_ref() {
        Some(Payload::Library(of)) => of.embedder.as_ref().map(|embedder| {
            // A default is left out, as grpcurl does.
            let fields = [("id", embedder.id.as_str()), ("sha256", embedder.sha256.as_str())];
            Value::from_iter(fields.into_iter().filter(|(_, text)| !text.is_empty()))
        }),
        _ => None,
    };
    let (name, payload) = match event.payload.as_ref().expect("a payload") {
        Payload::Library(of) => (
            "library",
            json!({
                "name": of.name, "description": of.description,
                "previousDescription": of.previous_description, "dimension": of.dimension,
                "metric": of.metric().as_str_name(), "indexType": of.index_type().as_str_name(),
                "embedder": embedder,
                "metadata": metadata(&of.metadata), "previousName": of.previous_name,
                "previousMetadata": metadata(&of.previous_metadata),
                "numDocuments": of.num_documents.map(|n| n.to_string()),
                "numChunks": of.num_chunks.map(|n| n.to_string()),
            }),
        ),
        Payload::Document(of) => (
            "document",
            json!({
                "documentId": of.document_id, "title": of.title, "author": of.author,
                "documentType": of.document_type, "sourceUrl": of.source_url, "tags": of.tags,
                "metadata": metadata(&of.metadata), "numChunks": of.num_chunks,
                "previousTitle": of.previous_title,
                "previousMetadata": metadata(&of.previous_metadata),
            }),
        ),
        Payload::Chunk(of) => (
            "chunk",
            json!({
                "chunkId": of.chunk_id, "documentId": of.document_id, "title": of.title,
                "index": of.index, "metadata": metadata(&of.metadata),
            }),
        ),
        Payload::Batch(of) => (
            "batch",
            json!({
                "totalProcessed": of.total_processed.to_string(),
                "totalSucceeded": of.total_succeeded.to_string(),
                "totalFailed": of.total_failed.to_string(),
                "totalSkipped": of.total_skipped.to_string(),
                "totalChunks": of.total_chunks.to_string(), "reason": of.reason,
            }),
        ),
        Payload::Index(of) => (
            "index",
            json!({"segmentsBefore": of.segments_before, "segmentsAfter": of.segments_after}),
        ),
    };
    json[name] = payload;
    json
}

fn struct_json(object: &prost_types::Struct) -> Value {
    object.fields.iter().map(|(name, value)| (name.clone(), value_json(value))).collect()
}

fn value_json(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match value.kind.as_ref().expect("a kind") {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(value) => json!(value),
        Kind::NumberValue(value) => json!(value),
        Kind::StringValue(value) => json!(value),
        Kind::ListValue(list) => list.values.iter().map(value_json).collect(),
        Kind::StructValue(object) => struct_json(object),
    }
}

/// One of each kind: every transport, alone and mixed, filtered, slow, dying.
fn readers(copies: usize) -> Vec<Reader> {
    use Transport::{Grpc, Pages, Sse};
    let changes = [EventType::DocumentAdded, EventType::DocumentUpdated, EventType::ChunkDeleted];
    let reader = |name: &str, transports: &[Transport]| Reader {
        name: name.to_owned(),
        transports: transports.to_vec(),
        library: None,
        types: Vec::new(),
        filter: "",
        dies_after: None,
        slow: false,
        cursor: "begin".to_owned(),
        pieces: Vec::new(),
        before: Vec::new(),
    };
    let dying = |after: usize, name: &str, transports: &[Transport]| Reader {
        dies_after: Some(after),
        ..reader(name, transports)
    };
    let kinds = |copy: usize| {
        let kinds = [
            reader("sse", &[Sse]),
            reader("grpc", &[Grpc]),
            reader("pages", &[Pages]),
            Reader { slow: true, ..reader("slow sse", &[Sse]) },
            Reader { slow: true, ..reader("slow grpc", &[Grpc]) },
            dying(731, "dying", &[Sse, Grpc, Pages]),
            Reader { slow: true, ..dying(1_501, "slow and dying", &[Pages, Grpc, Sse]) },
            Reader { library: Some(0), ..dying(397, "of a library", &[Sse, Grpc]) },
            Reader { types: changes.to_vec(), ..dying(211, "of types", &[Grpc, Sse, Pages]) },
            Reader {
                filter: "document.metadata.n % 3 == 1 || event.type == 'batch.completed'",
                ..dying(307, "of a filter", &[Sse, Grpc, Pages])
            },
            Reader {
                slow: true,
                filter: "document.metadata.n % 3 != 1",
                ..dying(307, "slow, of a filter", &[Grpc, Pages, Sse])
            },
            // None of its library: it lives on heartbeats.
            Reader {
                library: Some(1),
                types: vec![EventType::LibraryUpdated],
                ..reader("rare", &[Sse])
            },
        ];
        kinds.map(|kind| Reader { name: format!("{} {copy}", kind.name), ..kind })
    };
    (0..copies).flat_map(kinds).collect()
}

fn asked(reader: &Reader, world: &World) -> Asked {
    Asked {
        library: reader.library.map(|at| world.libraries[at].1),
        types: match reader.types.as_slice() {
            [] => u16::MAX,
            types => types.iter().fold(0, |set, kind| set | kind.bit()),
        },
    }
}

/// What a reader's filter lets through of the log.
fn sifted(filter: &str, log: &str) -> Option<Sifted> {
    if filter.is_empty() {
        return None;
    }
    let filter = Filter::parse(filter, FilterScope::Feed, &Limits::default()).expect("a filter");
    Some(Sifted::parse("reference", log, &filter).expect("readable"))
}

async fn make_libraries(http: &reqwest::Client, process: &Process) -> Vec<(String, LibraryId)> {
    let mut libraries = Vec::new();
    for name in ["red", "green", "blue"] {
        let new = json!({"name": name, "embedder": "none", "dimension": 4, "metric": "l2"});
        let made = http.post(process.url("/v1/libraries")).json(&new).send().await.expect("sent");
        let made: Value = made.json().await.expect("JSON");
        let id = made["id"].as_str().expect("an id");
        libraries.push((name.to_owned(), LibraryId::parse("id", id).expect("an id")));
    }
    libraries
}

fn settings(scale: Scale) -> Vec<String> {
    let mut limits = vec!["heartbeat_interval_ms=100".to_owned()];
    match scale.kept_bytes {
        None => limits.push("log_piece_bytes_target=1000000".to_owned()),
        Some(bytes) => limits.extend([
            format!("log_piece_bytes_target={}", bytes / 4),
            format!("retention_bytes_max={bytes}"),
            "retention_interval_ms=20".to_owned(),
            // The consumer holds whatever it needs.
            "retention_held_times_max=1000000".to_owned(),
        ]),
    }
    limits.into_iter().flat_map(|limit| ["--limit".to_owned(), limit]).collect()
}

async fn stress(scale: Scale) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(scale);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let process = Process::start(folder.path(), &settings);
    let http = reqwest::Client::builder().http1_only().build().expect("a client");
    let consumer = json!({"name": "c", "cursor": "begin"});
    let made = http.post(process.url("/v1/consumers")).json(&consumer).send().await.expect("sent");
    let begin = cursor_of(&made.json().await.expect("JSON"), "cursor");
    let libraries = make_libraries(&http, &process).await;
    let (set_address, address) = watch::channel(Some((0, process.address)));
    let (set_end, end) = watch::channel(None);
    let world = World {
        address,
        http,
        libraries: libraries.into(),
        done: Arc::new(watch::Sender::new(0)),
        end,
        acknowledged: Arc::default(),
        broken: Arc::default(),
    };
    let readers: Vec<_> = readers(scale.copies)
        .into_iter()
        .map(|reader| tokio::spawn(reader.run(world.clone())))
        .collect();
    let owner = tokio::spawn(Owner::new(begin).run(world.clone()));
    let writers: Vec<_> =
        (0..scale.writers).map(|n| tokio::spawn(write(world.clone(), n, scale))).collect();

    // Kills, each when the writers have come so far.
    let (total, mut process) = (scale.writers * scale.operations, process);
    let mut done = world.done.subscribe();
    for kill in 1..=scale.kills {
        let due = total * kill / (scale.kills + 1);
        done.wait_for(|done| *done >= due).await.expect("writers go on");
        set_address.send_replace(None);
        process.kill();
        process = Process::start(folder.path(), &settings);
        set_address.send_replace(Some((kill, process.address)));
    }
    for writer in writers {
        writer.await.expect("a writer ends well");
    }
    let statistics = world.http.get(process.url("/v1/events/statistics")).send().await;
    let statistics: Value = statistics.expect("sent").json().await.expect("JSON");
    let tail = statistics["tail_revision"].as_str().and_then(|text| text.parse().ok());
    let tail: u64 = tail.expect("a revision");
    set_end.send_replace(Some(tail));
    let mut read = Vec::new();
    for reader in readers {
        let ended = tokio::time::timeout(4 * DEADLINE, reader).await.expect("reads to the end");
        read.push(ended.expect("a reader ends well"));
    }

    let owner = tokio::time::timeout(4 * DEADLINE, owner).await.expect("reads to the end");
    let owner = owner.expect("the owner ends well");

    // The truth, read at rest; of what is trimmed away, what the consumer was given.
    assert_eq!(begin.revision, Revision::ZERO);
    let once = Recording::parse("consumer", &owner.once).expect("readable");
    let truth_text = if scale.kept_bytes.is_some() {
        let floor = statistics["floor_revision"].as_str().expect("a revision");
        assert_ne!(floor, "1", "nothing was trimmed away");
        let lost = world.http.get(process.url("/v1/events?cursor=revision:0")).send().await;
        assert_eq!(lost.expect("sent").status(), 410);
        owner.once.clone()
    } else {
        let mut reference = Piece::default();
        let kind = readers_of_everything();
        let address = process.address.to_string();
        assert_eq!(kind.pages(&world, &address, &mut reference).await, Ended::Done);
        reference.text
    };
    let reference = Recording::parse("reference", &truth_text).expect("readable");
    let truth = check(&reference, Asked::ALL, Some(begin));
    assert_eq!(truth.violations, []);
    let log = Log::reference(&reference, &truth.covered);

    // Acknowledged writes are there, and every kind of event is.
    let revisions: std::collections::BTreeSet<_> =
        reference.events().map(|(_, event)| event.revision.0).collect();
    let acknowledged = world.acknowledged.lock().expect("lock").clone();
    assert!(acknowledged.len() as u64 > total / 4, "{} acknowledged", acknowledged.len());
    let lost: Vec<_> = acknowledged.iter().filter(|one| !revisions.contains(one)).collect();
    assert!(lost.is_empty(), "acknowledged and not in the feed: {lost:?}");
    let kinds = reference.events().fold(0, |set, (_, event)| set | event.event_type.bit());
    let index = EventType::IndexRebuilt.bit() | EventType::IndexOptimized.bit();
    let all = EventType::ALL.iter().fold(0, |set, kind| set | kind.bit());
    assert_eq!(kinds, all & !index, "not every kind of event came");

    // What each reader got.
    let (mut deliveries, mut resumes, mut losses) = (truth.events, 0, 0);
    for reader in read {
        let asked = asked(&reader, &world);
        losses += reader.before.len();
        assert!(reader.before.is_empty() || scale.kept_bytes.is_some(), "{} lost", reader.name);
        let sifted = sifted(reader.filter, &truth_text);
        let passed = sifted.as_ref().map(|sifted| {
            assert!(sifted.recording.events().count() > 10, "{}", reader.name);
            Log::reference(&sifted.recording, &truth.covered)
        });
        let verified = |pieces: Vec<Recording>, start: Option<Cursor>| {
            let recording = Recording::joined(pieces)?;
            let (checked, log) = match &passed {
                None => (check(&recording, asked, start), &log),
                Some(passed) => (check_filtered(&recording, asked, start), passed),
            };
            assert_eq!(checked.violations, [], "{}", reader.name);
            assert_eq!(log.compare(&recording, &checked.covered, asked), [], "{}", reader.name);
            Some(checked)
        };
        // Each part from where it was told that the log begins.
        for checked in reader.before.into_iter().filter_map(|part| verified(part, None)) {
            deliveries += checked.events;
            resumes += checked.resumes;
        }
        let start = Some(begin).filter(|_| scale.kept_bytes.is_none());
        let Some(checked) = verified(reader.pieces, start) else {
            panic!("{} got nothing", reader.name)
        };
        let after = start.unwrap_or(checked.covered[0].after);
        let whole = [Covered { after, until: checked.covered[0].until }];
        assert_eq!(checked.covered, whole, "{}", reader.name);
        assert!(whole[0].until.revision.0 >= tail, "{} did not reach the end", reader.name);
        deliveries += checked.events;
        resumes += checked.resumes;
    }

    // What the consumer was given: from where it stood, and again what was not acknowledged.
    let checked = check(&once, Asked::ALL, Some(begin));
    assert_eq!(checked.violations, []);
    assert_eq!(log.compare(&once, &checked.covered, Asked::ALL), []);
    let mut given = 0;
    for (start, session) in &owner.sessions {
        let checked = check(session, Asked::ALL, Some(*start));
        assert_eq!(checked.violations, []);
        assert_eq!(log.compare(session, &checked.covered, Asked::ALL), []);
        given += checked.events;
    }
    assert!(given > checked.events, "nothing was given again: {given}");
    deliveries += given;
    assert!(resumes >= scale.kills, "{resumes} resumes");
    assert!(deliveries >= scale.deliveries_min, "only {deliveries} deliveries");

    // The events give the state that exports show.
    for (name, id) in world.libraries.iter() {
        let url = process.url(&format!("/v1/libraries/{name}/documents/stream"));
        let export = world.http.get(url).send().await.expect("sent").text().await.expect("text");
        let export = ExportRecord::parse(name, &export).expect("whole");
        assert_eq!(check_export(&log, *id, &export), [], "{name}");
    }
    let broken = world.broken.load(Ordering::Relaxed);
    println!(
        "{deliveries} deliveries ({given} to the consumer), {resumes} resumes, {losses} losses told, \
         {broken} requests cut by kills"
    );
    assert_eq!(process.terminate(), Some(0));
}

fn readers_of_everything() -> Reader {
    readers(1).into_iter().find(|reader| reader.name == "pages 0").expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_gets_exactly_the_log_through_kills_and_resumes() {
    stress(Scale {
        writers: 4,
        operations: 60,
        documents_per_stream: 40,
        copies: 1,
        kills: 2,
        deliveries_min: 50_000,
        kept_bytes: None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_gets_exactly_the_log_or_is_told_while_it_is_trimmed() {
    stress(Scale {
        writers: 4,
        operations: 60,
        documents_per_stream: 40,
        copies: 1,
        kills: 2,
        // Whoever is too slow misses some.
        deliveries_min: 10_000,
        kept_bytes: Some(100_000),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: run by .ci/run"]
async fn a_million_deliveries_are_exactly_the_log() {
    stress(Scale {
        writers: 6,
        operations: 150,
        documents_per_stream: 80,
        copies: 2,
        kills: 5,
        deliveries_min: 1_000_000,
        kept_bytes: None,
    })
    .await;
}
