//! True streaming, on every wire: replies while the client still sends, clients that read late or
//! never, lines of any length, uploads of any length, clients that vanish, lines that are bad.

use std::path::Path;

use arrwdb::api::grpc::pb;
use arrwdb::api::grpc::pb::event_service_client::EventServiceClient;
use arrwdb::api::grpc::pb::{EventType, SubscribeRequest, subscribe_response};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::client::{Client, DIMENSION, vector};
use crate::harness::{Process, channel, eventually};
use crate::rawhttp;
use crate::wires::{
    Counts, Item, NotBegun, Told, WIRES, Wire, begin, ingest, message, soon, vanish,
};

const MIB: u64 = 1 << 20;

/// A server as a process of its own, with a library for each wire.
struct Setting {
    server: Process,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Setting {
    async fn new(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = start(folder.path(), extra).await;
        let client = Client::new(server.address);
        for wire in WIRES {
            client.create_library(library(wire)).await;
        }
        Self { server, client, _folder: folder }
    }
}

async fn start(folder: &Path, extra: &[&str]) -> Process {
    // Starting waits for the process: not on a thread that others need.
    tokio::task::block_in_place(|| Process::start(folder, extra))
}

fn library(wire: Wire) -> &'static str {
    match wire {
        Wire::Http1 => "http1",
        Wire::Http2 => "http2",
        Wire::Grpc => "grpc",
    }
}

fn item(number: u64) -> Item {
    let (id, title) = (format!("d{number}"), format!("Doc {number}"));
    Item::of_one(id, &title, &format!("text {number}"), &vector(number))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_document_is_completed_and_found_before_the_next_is_sent() {
    let setting = Setting::new(&[]).await;
    for wire in WIRES {
        let (mut sender, mut told) =
            ingest(wire, setting.server.address, library(wire), false).await;
        for number in 1..=5 {
            sender.send(&item(number)).await;
            assert_eq!(told.next().await, Some(Told::Processing { position: number }), "{wire:?}");
            let Some(Told::Completed { position, id, num_chunks: 1, .. }) = told.next().await
            else {
                panic!("{wire:?}: not completed")
            };
            assert_eq!((position, id), (number, format!("d{number}")));
            let found = setting.client.search(library(wire), &vector(number), 1).await;
            assert_eq!(found["results"][0]["document_id"], format!("d{number}"), "{wire:?}");
            assert_eq!(found["results"][0]["distance"], 0.0, "{wire:?}");
        }
        let kept = sender.finish().await;
        let Some(Told::Summary { counts, .. }) = told.next().await else { panic!("no summary") };
        let expected = Counts { processed: 5, succeeded: 5, chunks: 5, ..Counts::default() };
        assert_eq!(counts, expected, "{wire:?}");
        assert_eq!(told.next().await, None, "{wire:?}");
        drop(kept);
    }
}

/// Replies that are not read are some 200 MB here: were they kept in memory, it would show. The
/// documents are skipped, so that nothing else grows.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_everything_before_it_reads_gets_every_status_and_costs_no_memory() {
    const ITEMS: u64 = 100_000;
    const GROWTH_MAX: u64 = 64 * MIB;
    for wire in WIRES {
        let setting = Setting::new(&[]).await;
        let title = "long title ".repeat(90);
        let sent = Item::of_one("one", &title, "text", &vector(0));
        // The first run makes the document and warms up what every stream needs.
        for (wave, items) in [(1, 1_000), (2, ITEMS)] {
            let before = setting.server.peak_bytes();
            let (mut sender, mut told) =
                ingest(wire, setting.server.address, library(wire), true).await;
            sender.send_all((0..items).map(|_| sent.clone())).await;
            let kept = sender.finish().await;
            let closed = setting.client.closing_of_batch(library(wire), wave).await;
            assert_eq!(closed["type"], "batch.completed", "{wire:?}");
            assert_eq!(closed["total_processed"], items, "{wire:?}");
            let grown = setting.server.peak_bytes() - before;
            assert!(
                wave == 1 || grown <= GROWTH_MAX,
                "{wire:?}: {} MiB more for replies that nobody read",
                grown / MIB
            );
            let (mut processing, mut done) = (0, 0);
            loop {
                match told.next().await.expect("a summary comes before the end") {
                    Told::Processing { position } => {
                        processing += 1;
                        assert_eq!(position, processing, "{wire:?}");
                    }
                    Told::Completed { position, .. } | Told::Skipped { position, .. } => {
                        done += 1;
                        assert_eq!(position, done, "{wire:?}");
                    }
                    Told::Summary { counts, .. } => {
                        assert_eq!(counts.processed, items);
                        assert_eq!(counts.succeeded + counts.skipped, items);
                        break;
                    }
                    told => panic!("{wire:?}: {told:?}"),
                }
            }
            assert_eq!((processing, done), (items, items), "{wire:?}");
            assert_eq!(told.next().await, None);
            drop(kept);
        }
    }
}

/// One upload of some 200 MB, into a store that has been filled before: its buffers and caches grow
/// to their sizes once, whatever comes. Filled by many small streams, since the peak never falls:
/// one that is as large as the upload would hide that uploads are held.
///
/// Flat means here: index aside, growth stays far below what was sent. It is not nothing, because
/// the store keeps some 160 bytes of memory for each document that it has on disk.
async fn upload_of_100_000_documents_keeps_memory_flat(wire: Wire) {
    const ITEMS: u64 = 100_000;
    const FILLING_STREAMS: u64 = 20;
    const GROWTH_MAX: u64 = 64 * MIB;
    let setting = Setting::new(&[]).await;
    // A graph takes memory while it is built, which is another matter.
    let path = format!("/v1/libraries/{}/index/rebuild", library(wire));
    let flat = json!({"index_type": "flat"});
    setting.client.ask("POST", &path, Some(&flat)).await;
    let text = "lorem ipsum ".repeat(170);
    let items = |first: u64, number: u64| {
        let text = text.clone();
        (first..first + number).map(move |number| {
            let (id, title) = (format!("d{number}"), format!("Doc {number}"));
            Item::of_one(id, &title, &text, &vector(number))
        })
    };
    let filling = ITEMS / FILLING_STREAMS;
    for stream in 1..=FILLING_STREAMS {
        let (mut sender, mut told) =
            ingest(wire, setting.server.address, library(wire), false).await;
        sender.send_all(items(stream * ITEMS, filling)).await;
        let kept = sender.finish().await;
        assert_eq!(told.rest().await.len() as u64, filling + 1);
        drop(kept);
    }
    let index_bytes = async || {
        let statistics = setting.client.statistics(library(wire)).await;
        statistics["index_bytes"].as_u64().expect("a number")
    };
    let (before, index_before) = (setting.server.peak_bytes(), index_bytes().await);

    let (mut sender, mut told) = ingest(wire, setting.server.address, library(wire), false).await;
    sender.send_all(items(100 * ITEMS, ITEMS)).await;
    let kept = sender.finish().await;
    let (mut done, mut last_revision) = (0, 0);
    for told in told.rest().await {
        match told {
            Told::Completed { position, id, num_chunks: 1, revision } => {
                done += 1;
                assert_eq!((position, id), (done, format!("d{}", 100 * ITEMS + done - 1)));
                assert!(revision > last_revision);
                last_revision = revision;
            }
            Told::Summary { counts, .. } => assert_eq!(counts.succeeded, ITEMS),
            told => panic!("{told:?}"),
        }
    }
    assert_eq!(done, ITEMS);
    drop(kept);
    let grown = setting.server.peak_bytes() - before;
    let index_grown = index_bytes().await - index_before;
    println!("{wire:?}: {} MiB more, of which the index {}", grown / MIB, index_grown / MIB);
    assert!(
        grown <= index_grown + GROWTH_MAX,
        "{wire:?}: {} MiB more at the peak, of which the index has {} MiB",
        grown / MIB,
        index_grown / MIB
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_100_000_documents_over_http1_keeps_memory_flat() {
    upload_of_100_000_documents_keeps_memory_flat(Wire::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: run by .ci/run"]
async fn an_upload_of_100_000_documents_over_http2_keeps_memory_flat() {
    upload_of_100_000_documents_keeps_memory_flat(Wire::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: run by .ci/run"]
async fn an_upload_of_100_000_documents_over_grpc_keeps_memory_flat() {
    upload_of_100_000_documents_keeps_memory_flat(Wire::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_50_mb_is_refused_without_being_held_and_the_next_is_taken() {
    const LONG: u64 = 50 * 1_000 * 1_000;
    // Far below the line, above what the start of a line at the limit takes.
    const GROWTH_MAX: u64 = 16 * MIB;
    let setting = Setting::new(&["--limit", "message_bytes_max=1048576"]).await;
    for wire in [Wire::Http1, Wire::Http2] {
        let (mut sender, mut told) =
            ingest(wire, setting.server.address, library(wire), false).await;
        sender.send(&item(1)).await;
        assert!(matches!(told.next().await, Some(Told::Processing { position: 1 })));
        assert!(matches!(told.next().await, Some(Told::Completed { position: 1, .. })));
        let before = setting.server.peak_bytes();
        sender.send_lines(&b"{\"title\":\"Long\",\"text\":\""[..]).await;
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        for _ in 0..LONG.div_ceil(64 << 10) {
            sender.send_lines(piece.clone()).await;
        }
        sender.send_lines(&b"\"}\n"[..]).await;
        let Some(Told::Failed { position, title, slug, detail }) = told.next().await else {
            panic!("{wire:?}: not refused")
        };
        assert_eq!((position, &*title, &*slug), (2, "Long", "too-large"), "{wire:?}");
        assert!(detail.contains("message_bytes_max"), "{detail}");
        let grown = setting.server.peak_bytes() - before;
        assert!(grown <= GROWTH_MAX, "{wire:?}: {} MiB more for one line", grown / MIB);
        sender.send(&item(3)).await;
        let kept = sender.finish().await;
        let rest = told.rest().await;
        assert!(matches!(&rest[0], Told::Completed { position: 3, .. }), "{rest:?}");
        assert!(matches!(&rest[1], Told::Summary { .. }) && rest.len() == 2, "{rest:?}");
        drop(kept);
    }
}

/// The protocol leaves no choice: a message that cannot be read ends the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_50_mb_ends_its_stream_without_being_held_and_what_came_before_is_done() {
    const GROWTH_MAX: u64 = 16 * MIB;
    let setting = Setting::new(&["--limit", "message_bytes_max=1048576"]).await;
    let (mut sender, mut told) = ingest(Wire::Grpc, setting.server.address, "grpc", false).await;
    sender.send(&item(1)).await;
    assert!(matches!(told.next().await, Some(Told::Processing { position: 1 })));
    assert!(matches!(told.next().await, Some(Told::Completed { position: 1, .. })));
    let before = setting.server.peak_bytes();
    let long = "x".repeat(50 * 1_000 * 1_000);
    let title = "Long".to_owned();
    let document = pb::DocumentInput { title, text: Some(long), ..Default::default() };
    sender.send_message(message(document)).await;
    let Some(Told::Broken { slug, detail }) = told.next().await else { panic!("not refused") };
    assert_eq!(slug, "too-large");
    assert!(detail.contains("message_bytes_max"), "{detail}");
    let grown = setting.server.peak_bytes() - before;
    assert!(grown <= GROWTH_MAX, "{} MiB more for one message", grown / MIB);
    let closed = setting.client.closing_of_batch("grpc", 1).await;
    assert_eq!(
        (&closed["type"], &closed["reason"]),
        (&json!("batch.failed"), &json!("message-too-large"))
    );
    assert_eq!(setting.client.documents("grpc").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_whole_documents_and_a_closed_batch() {
    const CHUNKS: u64 = 3;
    let whole = |number: u64| Item {
        id: format!("d{number}"),
        title: format!("Doc {number}"),
        chunks: (0..CHUNKS).map(|i| (format!("text {number}.{i}"), vector(number + i))).collect(),
    };
    let setting = Setting::new(&[]).await;
    for wire in WIRES {
        // Once with everything answered and a line begun, then in full flight.
        for (batch, in_flight) in [(1, false), (2, true)] {
            let (mut sender, mut told) =
                ingest(wire, setting.server.address, library(wire), false).await;
            let mut completed = 0;
            if in_flight {
                sender.send_all((1..=2_000).map(whole)).await;
                // Some is done and most is not.
                while !matches!(told.next().await, Some(Told::Completed { .. })) {}
                completed += 1;
            } else {
                sender.send_all((1..=3).map(whole)).await;
                while completed < 3 {
                    completed +=
                        u64::from(matches!(told.next().await, Some(Told::Completed { .. })));
                }
                if wire != Wire::Grpc {
                    let line = whole(4).line();
                    sender.send_lines(line[..line.len() / 2].to_owned()).await;
                }
            }
            vanish(sender, told).await;
            let closed = setting.client.closing_of_batch(library(wire), batch).await;
            assert_eq!(closed["type"], "batch.failed", "{wire:?}: {closed}");
            assert_eq!(closed["reason"], "client-gone", "{wire:?}: {closed}");
            let succeeded = closed["total_succeeded"].as_u64().expect("a number");
            assert!(succeeded >= completed, "{wire:?}: {closed}");
            assert_eq!(closed["total_chunks"], succeeded * CHUNKS, "{wire:?}");
            let documents = setting.client.documents(library(wire)).await;
            assert_eq!(documents.len() as u64, succeeded.max(3), "{wire:?}");
            for document in documents.values() {
                let number = document["id"].as_str().and_then(|id| id[1..].parse::<u64>().ok());
                let number = number.expect("one of those that were sent");
                let texts = document["chunks"].as_array().expect("chunks").iter();
                let texts: Vec<_> = texts.map(|chunk| &chunk["text"]).collect();
                let expected: Vec<_> =
                    (0..CHUNKS).map(|i| json!(format!("text {number}.{i}"))).collect();
                assert_eq!(texts, expected.iter().collect::<Vec<_>>(), "{wire:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_its_request_closes_its_batch_and_keeps_its_connection() {
    let setting = Setting::new(&[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let (pieces, body) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(4);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    let url = setting.server.url("/v1/libraries/http2/documents/stream");
    let answer = soon("the head", client.post(url).body(body).send()).await.expect("an answer");
    pieces.send(Ok(item(1).line().into())).await.expect("room");
    eventually("the document is there", async || {
        (setting.client.documents("http2").await.len() == 1).then_some(())
    })
    .await;
    // An error in the body resets the stream and nothing else.
    pieces.send(Err(std::io::Error::other("the user pressed a key"))).await.expect("room");
    let closed = setting.client.closing_of_batch("http2", 1).await;
    assert_eq!(closed["reason"], "client-gone");
    drop(answer);
    let health = client.get(setting.server.url("/health")).send().await.expect("an answer");
    assert_eq!(health.status(), 200);
}

/// A bad line, what is wrong with it, its title as far as it can be read.
type Bad = (Vec<u8>, &'static str, &'static str);

fn bad_lines() -> Vec<Bad> {
    let of = |document: Value| document.to_string().into_bytes();
    let chunk = |embedding: Value| json!([{"text": "t", "embedding": embedding}]);
    let mut not_utf8 = b"{\"title\":\"U\",\"text\":\"".to_vec();
    not_utf8.extend_from_slice(b"\xff\xfe\"}");
    let deep = (0..40).fold(json!(1), |inner, _| json!({"a": inner}));
    let good = vector(1);
    vec![
        (b"not JSON".to_vec(), "invalid-argument", ""),
        (b"{\"title\":\"Cut\",\"texts\":[\"a\"".to_vec(), "invalid-argument", "Cut"),
        (b"[1,2,3]".to_vec(), "invalid-argument", ""),
        (b"null".to_vec(), "invalid-argument", ""),
        (not_utf8, "invalid-argument", "U"),
        (
            of(json!({"title": "Unknown", "chunks": chunk(json!(good)), "what": 1})),
            "invalid-argument",
            "Unknown",
        ),
        (of(json!({"chunks": chunk(json!(good))})), "invalid-argument", ""),
        (of(json!({"title": "No content"})), "invalid-argument", "No content"),
        (of(json!({"title": "Empty", "texts": []})), "invalid-argument", "Empty"),
        (of(json!({"title": "Both", "text": "a", "texts": ["b"]})), "invalid-argument", "Both"),
        (of(json!({"title": "Short", "chunks": chunk(json!([1.0]))})), "invalid-argument", "Short"),
        (
            of(json!({"title": "Strings", "chunks": chunk(json!(["a"]))})),
            "invalid-argument",
            "Strings",
        ),
        (
            format!(
                "{{\"title\":\"Huge\",\"chunks\":[{{\"text\":\"t\",\"embedding\":[{}1e60]}}]}}",
                "1,".repeat(DIMENSION - 1)
            )
            .into_bytes(),
            "invalid-argument",
            "Huge",
        ),
        (
            of(json!({"title": "Id", "id": "a b", "chunks": chunk(json!(good))})),
            "invalid-argument",
            "Id",
        ),
        (
            of(json!({"title": "Deep", "metadata": deep, "chunks": chunk(json!(good))})),
            "invalid-argument",
            "Deep",
        ),
        (
            of(json!({"title": "Tags", "tags": vec!["t"; 65], "chunks": chunk(json!(good))})),
            "too-large",
            "Tags",
        ),
        (
            format!("{{\"title\":\"Long\",\"text\":\"{}\"}}", "x".repeat(70_000)).into_bytes(),
            "too-large",
            "Long",
        ),
        // The library embeds nothing itself.
        (of(json!({"title": "Text", "texts": ["a"]})), "invalid-argument", "Text"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_fails_alone_with_its_number() {
    let setting = Setting::new(&["--limit", "message_bytes_max=65536"]).await;
    for wire in [Wire::Http1, Wire::Http2] {
        let (mut sender, mut told) =
            ingest(wire, setting.server.address, library(wire), false).await;
        // A good line, a bad one, a blank one, and so on.
        let (mut body, mut good, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        let mut line = 0;
        for (bad, slug, title) in bad_lines() {
            let number = good.len() as u64 + 1;
            body.extend_from_slice(item(number).line().as_bytes());
            body.extend_from_slice(&bad);
            body.extend_from_slice(b"\n \r\n");
            good.push((line + 1, format!("d{number}")));
            expected.push((line + 2, title.to_owned(), slug.to_owned()));
            line += 3;
        }
        sender.send_lines(body).await;
        let kept = sender.finish().await;
        let (mut completed, mut failed, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for told in told.rest().await {
            match told {
                Told::Completed { position, id, .. } => {
                    positions.push(position);
                    completed.push((position, id));
                }
                Told::Failed { position, title, slug, .. } => {
                    positions.push(position);
                    failed.push((position, title, slug));
                }
                Told::Summary { counts, .. } => {
                    assert_eq!(counts.processed, 2 * good.len() as u64, "{wire:?}");
                    assert_eq!(counts.failed, expected.len() as u64, "{wire:?}");
                }
                told => panic!("{wire:?}: {told:?}"),
            }
        }
        assert_eq!(failed, expected, "{wire:?}");
        assert_eq!(completed, good, "{wire:?}");
        assert!(positions.is_sorted(), "{wire:?}: {positions:?}");
        assert_eq!(setting.client.documents(library(wire)).await.len(), good.len());
        drop(kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_message_fails_alone_with_its_number() {
    let setting = Setting::new(&[]).await;
    let (mut sender, mut told) = ingest(Wire::Grpc, setting.server.address, "grpc", false).await;
    let chunk = |embedding: Vec<f32>| pb::ChunkInput {
        text: "t".to_owned(),
        embedding,
        ..Default::default()
    };
    let titled = |title: &str| pb::DocumentInput { title: title.to_owned(), ..Default::default() };
    let nan = vec![f32::NAN; DIMENSION];
    let second_header =
        pb::stream_ingest_documents_request::Item::Header(pb::IngestHeader::default());
    let bad = [
        (pb::StreamIngestDocumentsRequest { item: None }, "", "invalid-argument"),
        (pb::StreamIngestDocumentsRequest { item: Some(second_header) }, "", "invalid-argument"),
        (message(titled("No content")), "No content", "invalid-argument"),
        (
            message(pb::DocumentInput { chunks: vec![chunk(vec![1.0])], ..titled("Short") }),
            "Short",
            "invalid-argument",
        ),
        (
            message(pb::DocumentInput { chunks: vec![chunk(nan)], ..titled("NaN") }),
            "NaN",
            "invalid-argument",
        ),
        (
            message(pb::DocumentInput { texts: vec!["a".to_owned()], ..titled("Text") }),
            "Text",
            "invalid-argument",
        ),
    ];
    let mut expected = Vec::new();
    for (number, (message, title, slug)) in (1..).zip(bad) {
        sender.send(&item(number)).await;
        sender.send_message(message).await;
        expected.push((2 * number, title.to_owned(), slug.to_owned()));
    }
    let kept = sender.finish().await;
    let (mut completed, mut failed) = (Vec::new(), Vec::new());
    for told in told.rest().await {
        match told {
            Told::Completed { position, .. } => completed.push(position),
            Told::Failed { position, title, slug, .. } => failed.push((position, title, slug)),
            Told::Summary { counts, .. } => assert_eq!((counts.processed, counts.failed), (12, 6)),
            told => panic!("{told:?}"),
        }
    }
    assert_eq!(failed, expected);
    assert_eq!(completed, [1, 3, 5, 7, 9, 11]);
    assert_eq!(setting.client.documents("grpc").await.len(), 6);
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_into_an_unknown_library_is_refused_before_any_item() {
    let setting = Setting::new(&[]).await;
    for wire in WIRES {
        let refused = begin(wire, setting.server.address, "nowhere", false).await;
        assert_eq!(refused.err(), Some(NotBegun::Refused("not-found".to_owned())), "{wire:?}");
    }
}

/// Each kind of client that stops reading (or sending) at once, while the others work; and in the
/// end those who stopped get everything that was theirs.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_slow_nobody_down() {
    const ITEMS: u64 = 10_000;
    let setting = Setting::new(&[]).await;
    let address = setting.server.address;
    let (mut sender, mut told) = ingest(Wire::Http1, address, "http1", false).await;
    let text = "some text that takes room on the way to who does not read ".repeat(8);
    let items = |from: u64, to: u64| {
        let text = text.clone();
        (from..=to).map(move |number| {
            let (id, title) = (format!("d{number}"), format!("Doc {number}"));
            Item::of_one(id, &title, &text, &vector(number))
        })
    };
    sender.send_all(items(1, ITEMS)).await;
    let kept = sender.finish().await;
    assert_eq!(told.rest().await.len() as u64, ITEMS + 1);
    drop((kept, told));

    // Megabytes wait for each of these, and none takes a byte.
    let mut slow = Vec::new();
    for (method, path) in [
        ("GET", "/v1/libraries/http1/documents/stream?include_embeddings=true".to_owned()),
        ("GET", "/v1/events/stream?cursor=begin".to_owned()),
        (
            "POST",
            format!("/v1/libraries/http1/search/stream?k=10000&embedding={}", csv(&vector(1))),
        ),
    ] {
        let (sender, receiver) = rawhttp::begin_slow(address, method, &path).await.expect("there");
        slow.push((sender, receiver));
    }
    let mut events = EventServiceClient::new(channel(address).await);
    let request = SubscribeRequest { cursor: "begin".to_owned(), ..Default::default() };
    let mut slow_grpc = events.subscribe(request).await.expect("subscribed").into_inner();
    // One ingester stops in the middle of a line, one sends on and never reads.
    let (mut mid_line, told_mid_line) = ingest(Wire::Http1, address, "http1", false).await;
    mid_line.send_lines(&b"{\"title\":\"begun"[..]).await;
    let (mut unread, told_unread) = ingest(Wire::Http2, address, "http2", false).await;
    unread.send_all(items(1, ITEMS)).await;

    // Everybody else gets on: a subscriber, ingesters, searches, an export.
    let mut live = EventServiceClient::new(channel(address).await);
    let request = SubscribeRequest {
        library_id: "grpc".to_owned(),
        event_types: vec![EventType::DocumentAdded.into()],
        ..Default::default()
    };
    let mut live = live.subscribe(request).await.expect("subscribed").into_inner();
    for wire in WIRES {
        let (mut sender, mut told) = ingest(wire, address, "grpc", false).await;
        let first = 1 + 500 * (wire as u64);
        sender.send_all(items(first, first + 499)).await;
        let kept = sender.finish().await;
        assert_eq!(told.rest().await.len(), 501, "{wire:?}");
        drop(kept);
    }
    let mut seen = 0;
    while seen < 1_500 {
        let next = soon("an event", live.message()).await.expect("no error").expect("no end");
        seen += u64::from(matches!(next.item, Some(subscribe_response::Item::Event(_))));
    }
    let found = setting.client.search("grpc", &vector(7), 1).await;
    assert_eq!(found["results"][0]["document_id"], "d7");
    assert_eq!(setting.client.export("grpc").await.len(), 1_500);

    // Those who stalled find what was theirs, whole.
    for (_sender, receiver) in &mut slow {
        let mut lines = 0_u64;
        loop {
            let line = soon("a line", receiver.line()).await.expect("not cut").expect("no end");
            lines += u64::from(!line.is_empty());
            let is_last = line.starts_with(b"{\"status\":\"complete\"");
            // Of the events: those of the first library's documents, at the least.
            let is_enough = line.starts_with(b"id:") && lines > 6 * ITEMS;
            if is_last || is_enough {
                break;
            }
        }
        assert!(lines > ITEMS, "only {lines} lines");
    }
    let mut last_revision = 0;
    let mut added = 0;
    while added < 2 * ITEMS + 1_500 {
        let next = soon("an event", slow_grpc.message()).await.expect("no error").expect("no end");
        let Some(subscribe_response::Item::Event(event)) = next.item else { continue };
        assert!(event.revision >= last_revision, "out of order");
        last_revision = event.revision;
        added += u64::from(event.r#type() == EventType::DocumentAdded);
    }
    mid_line.send_lines(&b"\"}\n"[..]).await;
    for (sender, mut told, expected) in [(mid_line, told_mid_line, 1), (unread, told_unread, ITEMS)]
    {
        let kept = sender.finish().await;
        assert_eq!(told.rest().await.len() as u64, expected + 1);
        drop(kept);
    }
}

fn csv(vector: &[f32]) -> String {
    vector.iter().map(f32::to_string).collect::<Vec<_>>().join(",")
}
