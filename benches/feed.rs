//! The change feed: from a write to its subscribers, deliveries a second to many of them, how fast
//! one that comes late catches up, and what one that does not costs in memory.
//! `cargo bench --bench feed -- [latency|deliveries|catch-up|lagging]`, all without a word.
//!
//! Subscribers have a connection each. They count frames and messages without decoding them, but
//! for latencies.

mod harness;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrwdb::api::grpc::pb::event_service_client::EventServiceClient;
use arrwdb::api::grpc::pb::{EventType, SubscribeRequest, event, subscribe_response};
use futures::future::try_join_all;
use harness::client::Client;
use harness::measure::{Latencies, Span, grouped, row};
use harness::server::Server;
use harness::{Outcome, corpus, runtime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

const LIBRARY: &str = "docs";
const SUBSCRIBERS: [usize; 3] = [1, 20, 100];
const WRITES: usize = 300;
const WRITES_A_SECOND: u32 = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    Sse,
    Grpc,
}

const TRANSPORTS: [Transport; 2] = [Transport::Sse, Transport::Grpc];

/// What subscribers of a library ask for, and the events that a document makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    /// All events of the server, as they lie in the log.
    All,
    /// `document.added` of the library.
    Added,
    /// The same, by an expression that lets all of them through.
    Expression,
}

const EXPRESSION: &str = "event.type == 'document.added' && document.title != ''";

impl Asked {
    fn events(self, documents: usize) -> usize {
        match self {
            // A document and its chunk; begin and end of the batch.
            Self::All => 2 * documents + 2,
            Self::Added | Self::Expression => documents,
        }
    }

    fn request(self, cursor: &str) -> SubscribeRequest {
        let open = SubscribeRequest { cursor: cursor.to_owned(), ..SubscribeRequest::default() };
        match self {
            Self::All => open,
            Self::Added => added_from(cursor),
            Self::Expression => SubscribeRequest { filter: EXPRESSION.to_owned(), ..open },
        }
    }

    fn query(self) -> String {
        match self {
            Self::All => String::new(),
            Self::Added => format!("&library_id={LIBRARY}&event_types=document.added"),
            Self::Expression => {
                let safe = EXPRESSION.replace(' ', "%20").replace('&', "%26");
                format!("&filter={}", safe.replace('\'', "%27"))
            }
        }
    }
}

fn main() -> Outcome {
    let runtime = runtime(2);
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    if wanted("latency") {
        latencies(&runtime)?;
    }
    if wanted("deliveries") {
        println!("deliveries while one stream writes small documents as fast as it is let");
        for transport in TRANSPORTS {
            for asked in [Asked::All, Asked::Added, Asked::Expression] {
                for (subscribers, documents) in [(1, 50_000), (20, 20_000), (100, 20_000)] {
                    runtime.block_on(deliveries(transport, asked, subscribers, documents))?;
                }
            }
            runtime.block_on(deliveries(transport, Asked::All, 1_000, 2_000))?;
        }
    }
    if wanted("catch-up") {
        println!("catching up from the begin: all events of 100 000 small documents");
        runtime.block_on(catch_up(100_000))?;
    }
    if wanted("lagging") {
        println!("memory of subscribers that take nothing and are over 100 000 events behind");
        for transport in TRANSPORTS {
            runtime.block_on(lagging(transport))?;
        }
    }
    Ok(())
}

fn latencies(runtime: &tokio::runtime::Runtime) -> Outcome {
    println!("write to subscriber, {WRITES_A_SECOND} writes a second, one after the other");
    for durability in ["fsync", "os"] {
        for transport in TRANSPORTS {
            for subscribers in SUBSCRIBERS {
                runtime.block_on(latency(durability, transport, subscribers))?;
            }
        }
    }
    Ok(())
}

async fn server(durability: &str) -> Outcome<(Server, Client)> {
    let server = Server::start_with(&["--durability", durability]);
    let client = Client::connect(server.address).await?;
    client.create_library(LIBRARY, Some(corpus::SMALL_DIMENSION)).await?;
    Ok((server, client))
}

/// What is known of a write: when it was sent, when it was acknowledged.
type Moments = Arc<Vec<OnceLock<Instant>>>;

fn moments() -> Moments {
    Arc::new((0..WRITES).map(|_| OnceLock::new()).collect())
}

async fn latency(durability: &str, transport: Transport, subscribers: usize) -> Outcome {
    let (server, client) = server(durability).await?;
    let (sent, answered) = (moments(), moments());
    let mut tasks = Vec::new();
    for _ in 0..subscribers {
        tasks.push(watch(server.address, transport).await?);
    }
    let span = Span::begin(&server);
    let mut due = tokio::time::interval(Duration::from_secs(1) / WRITES_A_SECOND);
    for (n, document) in corpus::small(0, WRITES).enumerate() {
        due.tick().await;
        let _ = sent[n].set(Instant::now());
        client.create(LIBRARY, document).await?;
        let _ = answered[n].set(Instant::now());
    }
    let (mut from_write, mut writes) = (Latencies::default(), Latencies::default());
    for arrivals in try_join_all(tasks).await? {
        for (n, at) in arrivals? {
            from_write.add(at - *sent[n].get().ok_or("an event before its write")?);
        }
    }
    let used = span.end(&server);
    for (sent, answered) in sent.iter().zip(answered.iter()) {
        writes.add(*answered.get().ok_or("no answer")? - *sent.get().ok_or("not sent")?);
    }
    row(
        &format!("{transport:?}, {subscribers} subscribers, {durability}"),
        from_write.summary(),
        format!("the write itself {}; {}", writes.summary(), used.cost(WRITES * subscribers)),
    );
    Ok(())
}

/// Numbers of documents with the times at which they came.
type Arrivals = Vec<(usize, Instant)>;

/// A subscriber that notes all writes; returns when its subscription stands.
async fn watch(
    address: SocketAddr,
    transport: Transport,
) -> Outcome<JoinHandle<Outcome<Arrivals>>> {
    if transport == Transport::Sse {
        let mut events = Sse::subscribe(address, "now", Asked::Added).await?;
        return Ok(tokio::spawn(async move { events.arrivals(WRITES).await }));
    }
    let client = Client::connect(address).await?;
    let mut events = EventServiceClient::new(client.channel.clone());
    let mut messages = events.subscribe(added_from("now")).await?.into_inner();
    // The first message is a heartbeat: the subscription stands.
    messages.message().await?;
    Ok(tokio::spawn(async move {
        let mut arrivals = Vec::new();
        while arrivals.len() < WRITES {
            let message = messages.message().await?.ok_or("the feed ended")?;
            let Some(subscribe_response::Item::Event(event)) = message.item else { continue };
            let Some(event::Payload::Document(document)) = event.payload else {
                return Err("not a document's".into());
            };
            arrivals.push((number(&document.document_id)?, Instant::now()));
        }
        Ok(arrivals)
    }))
}

async fn deliveries(
    transport: Transport,
    asked: Asked,
    subscribers: usize,
    documents: usize,
) -> Outcome {
    let (server, client) = server("fsync").await?;
    let mut tasks = Vec::new();
    for _ in 0..subscribers {
        let events = asked.events(documents);
        tasks.push(follow(server.address, transport, "now", asked, events).await?);
    }
    let span = Span::begin(&server);
    client.load(LIBRARY, corpus::small(0, documents)).await?;
    let wrote = span_rate(documents, &span);
    for task in try_join_all(tasks).await? {
        task?;
    }
    let used = span.end(&server);
    let all = asked.events(documents) * subscribers;
    row(
        &format!("{transport:?}, {subscribers} subscribers, {asked:?}"),
        format!("{} deliveries/s", used.rate(all)),
        format!("{wrote} docs/s written; {}", used.cost(all)),
    );
    Ok(())
}

fn span_rate(count: usize, span: &Span) -> String {
    grouped(count as f64 / span.elapsed().as_secs_f64())
}

async fn catch_up(documents: usize) -> Outcome {
    let (server, client) = server("fsync").await?;
    client.load(LIBRARY, corpus::small(0, documents)).await?;
    for transport in TRANSPORTS {
        for subscribers in [1, 20] {
            server.forget_peak();
            let (before, span) = (server.resident_mb(), Span::begin(&server));
            // The library, its batch, and for each document one addition and one of its chunk.
            let events = Asked::All.events(documents) + 1;
            let mut tasks = Vec::new();
            for _ in 0..subscribers {
                tasks.push(follow(server.address, transport, "begin", Asked::All, events).await?);
            }
            for task in try_join_all(tasks).await? {
                task?;
            }
            let used = span.end(&server);
            row(
                &format!("{transport:?}, {subscribers} subscribers"),
                format!("{} events/s", used.rate(events * subscribers)),
                format!(
                    "{}; memory {before:.0} MB, peak {:+.1} MB",
                    used.cost(events * subscribers),
                    server.peak_mb() - before
                ),
            );
        }
    }
    Ok(())
}

/// Subscribers that read nothing but what tells that they stand: what each adds to the server's
/// memory. They begin at places far enough from each other that they share nothing; the first ones
/// fill what the server has free, and do not count.
async fn lagging(transport: Transport) -> Outcome {
    const FIRST: usize = 500;
    const SUBSCRIBERS: usize = 1_000;
    let (server, client) = server("fsync").await?;
    let documents = 80_000;
    client.load(LIBRARY, corpus::small(0, documents)).await?;
    let (mut over_sse, mut over_grpc, mut before) = (Vec::new(), Vec::new(), 0.0);
    for n in 0..FIRST + SUBSCRIBERS {
        if n == FIRST {
            before = resting_mb(&server).await;
        }
        let cursor = format!("revision:{}", 20 * n);
        match transport {
            Transport::Sse => {
                // One that takes nothing takes nothing in its socket either.
                let socket = TcpSocket::new_v4()?;
                socket.set_recv_buffer_size(4_096)?;
                let stream = socket.connect(server.address).await?;
                over_sse.push(Sse::over(stream, &cursor, Asked::All).await?);
            }
            Transport::Grpc => {
                let client = Client::connect(server.address).await?;
                let path = "/arrwdb.v1.EventService/Subscribe";
                let mut messages = client.uncooked(path, Asked::All.request(&cursor)).await?;
                messages.message().await?;
                over_grpc.push((client, messages));
            }
        }
    }
    let each = (resting_mb(&server).await - before) * 1024.0 / SUBSCRIBERS as f64;
    let events = grouped(Asked::All.events(documents) as f64);
    row(
        &format!("{transport:?}, {SUBSCRIBERS} subscribers"),
        format!("{each:.1} KB each"),
        format!("{before:.0} MB before; {events} events written"),
    );
    Ok(())
}

/// Memory in use when whatever is sent ahead of a client is sent.
async fn resting_mb(server: &Server) -> f64 {
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.resident_mb()
}

/// A subscriber that counts `events` and then leaves; returns when its subscription stands.
async fn follow(
    address: SocketAddr,
    transport: Transport,
    cursor: &str,
    asked: Asked,
    events: usize,
) -> Outcome<JoinHandle<Outcome>> {
    Ok(match transport {
        Transport::Sse => {
            let mut stream = Sse::subscribe(address, cursor, asked).await?;
            tokio::spawn(async move { stream.count(events).await })
        }
        Transport::Grpc => {
            let client = Client::connect(address).await?;
            let request = asked.request(cursor);
            let path = "/arrwdb.v1.EventService/Subscribe";
            let mut messages = client.uncooked(path, request).await?;
            // The first is a heartbeat: the subscription stands.
            messages.message().await?;
            tokio::spawn(async move {
                for _ in 0..events {
                    messages.message().await?.ok_or("the feed ended")?;
                }
                Ok(())
            })
        }
    })
}

fn added_from(cursor: &str) -> SubscribeRequest {
    SubscribeRequest {
        library_id: LIBRARY.to_owned(),
        event_types: vec![EventType::DocumentAdded.into()],
        cursor: cursor.to_owned(),
        ..SubscribeRequest::default()
    }
}

fn number(document_id: &str) -> Outcome<usize> {
    Ok(document_id.strip_prefix("doc-").ok_or("not one of ours")?.parse()?)
}

/// Server-Sent Events over a socket. Chunks of HTTP/1.1 end between frames, so that the lines
/// around them are skipped like other lines that say nothing.
struct Sse {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Sse {
    /// Returns when the first frame has come, a heartbeat: the subscription stands.
    async fn subscribe(address: SocketAddr, cursor: &str, asked: Asked) -> Outcome<Self> {
        Self::over(TcpStream::connect(address).await?, cursor, asked).await
    }

    async fn over(mut stream: TcpStream, cursor: &str, asked: Asked) -> Outcome<Self> {
        stream.set_nodelay(true)?;
        let request = format!(
            "GET /v1/events/stream?cursor={cursor}{} HTTP/1.1\r\nHost: arrwdb\r\n\
             Accept: text/event-stream\r\n\r\n",
            asked.query()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut sse = Self { stream, buffer: vec![0; 64 << 10], filled: 0 };
        loop {
            sse.fill().await?;
            let at_hand = &sse.buffer[..sse.filled];
            if let Some(end) = at_hand.windows(2).position(|pair| pair == b"\n\n") {
                let first = String::from_utf8_lossy(&at_hand[..end]).into_owned();
                assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
                assert!(first.contains("event: heartbeat\n"), "{first}");
                sse.take(end + 2);
                return Ok(sse);
            }
        }
    }

    async fn fill(&mut self) -> Outcome {
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err("the feed ended".into()),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }

    fn take(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Counts frames: they end with an empty line, and nothing else does that is not CRLF.
    async fn count(&mut self, frames: usize) -> Outcome {
        let mut seen = 0;
        loop {
            let at_hand = &self.buffer[..self.filled];
            seen += at_hand.windows(2).filter(|pair| *pair == b"\n\n").count();
            if seen >= frames {
                return Ok(());
            }
            // The last byte may be the first of a pair.
            self.take(self.filled.saturating_sub(1));
            self.fill().await?;
        }
    }

    async fn arrivals(&mut self, count: usize) -> Outcome<Arrivals> {
        const BEFORE: &str = "\"document_id\":\"";
        let mut arrivals = Vec::new();
        while arrivals.len() < count {
            self.fill().await?;
            let now = Instant::now();
            let at_hand = std::str::from_utf8(&self.buffer[..self.filled])?;
            let whole = at_hand.rfind("\n\n").map_or(0, |end| end + 2);
            for frame in at_hand[..whole].split("\n\n") {
                if let Some((_, after)) = frame.split_once(BEFORE) {
                    let id = after.split('"').next().unwrap_or_default();
                    arrivals.push((number(id)?, now));
                }
            }
            self.take(whole);
        }
        Ok(arrivals)
    }
}
