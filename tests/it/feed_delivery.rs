//! Delivery: every reader gets every event, once, in order, wherever it reads from and whoever
//! else reads, stalls or writes.

use arrwdb::api::grpc::pb;
use arrwdb::api::grpc::pb::subscribe_response::Item;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::feed_client::{Grpc, all_events, create_library, document, follow, ids, ingest};
use crate::harness::{DEADLINE, Server, eventually};

fn from(cursor: &str) -> pb::SubscribeRequest {
    pb::SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() }
}

/// Some changes of all sizes in two libraries, written side by side.
async fn write_some(server: &Server, documents: usize) {
    let lines = |prefix: &'static str| -> Vec<_> {
        (0..documents).map(|n| document(&format!("{prefix}{n}"), 1 + n % 3)).collect()
    };
    let (a, b) = (create_library(server, "a").await, create_library(server, "b").await);
    let (x, y) = (lines("x"), lines("y"));
    tokio::join!(ingest(server, &a, &x), ingest(server, &b, &y));
    // Updates that take chunks away and bring others.
    ingest(server, &a, &x[..documents / 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_transports_show_the_same_events_while_writers_run() {
    let server = Server::start().await;
    let mut sse = follow(&server, "cursor=begin", None).await;
    let mut grpc = Grpc::open(&server, from("begin")).await;
    write_some(&server, 60).await;
    // One change of more events than are sent in one piece.
    ingest(&server, "a", &[document("large", 1_000)]).await;
    let log = all_events(&server).await;
    let frames = sse.events(log.len()).await;
    let messages = grpc.events(log.len()).await;
    for ((event, frame), message) in log.iter().zip(&frames).zip(&messages) {
        assert_eq!(&frame.data, event);
        assert_eq!(frame.id.as_deref(), event["id"].as_str());
        assert_eq!(frame.event, event["type"].as_str().expect("a type"));
        assert_eq!(message.id, event["id"].as_str().expect("an id"));
        assert_eq!(message.last, event["last"].as_bool().expect("a flag"));
    }
    let mut sorted = ids(&log);
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, ids(&log), "strictly increasing");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_cut_after_any_event_goes_on_over_the_other_transport() {
    // Small enough that most cuts lie outside the window.
    let server = Server::start_with(|settings| {
        settings.limits.feed_window_bytes_max = 10_000;
        settings.limits.feed_cache_bytes_max = 20_000;
    })
    .await;
    write_some(&server, 8).await;
    let log = all_events(&server).await;
    let whole = follow(&server, "cursor=begin", None).await.events(log.len()).await;
    let messages = Grpc::open(&server, from("begin")).await.events(log.len()).await;
    for cut in 1..log.len() {
        let id = ids(&log[cut - 1..cut]).remove(0);
        let rest = log.len() - cut;
        let over_grpc = Grpc::open(&server, from(&id)).await.events(rest).await;
        assert_eq!(over_grpc, messages[cut..], "after event {cut}");
        let over_sse = follow(&server, "", Some(&id)).await.events(rest).await;
        assert_eq!(over_sse, whole[cut..], "after event {cut}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_far_behind_are_served_from_the_log_on_their_connections() {
    let server = Server::start_with(|settings| {
        settings.limits.feed_window_bytes_max = 1;
        settings.limits.feed_cache_bytes_max = 50_000;
        settings.limits.feed_read_bytes_target = 4_000;
    })
    .await;
    write_some(&server, 100).await;
    let log = ids(&all_events(&server).await);
    let read = async |start: usize| {
        let query = match start {
            0 => "cursor=begin".to_owned(),
            start => format!("cursor={}", log[start - 1]),
        };
        let frames = follow(&server, &query, None).await.events(log.len() - start).await;
        let seen: Vec<_> = frames.into_iter().filter_map(|frame| frame.id).collect();
        assert_eq!(seen, log[start..]);
    };
    futures::future::join_all((0..60).map(|n| read(n % 7 * 30))).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_keeps_nobody_waiting_and_then_reads_everything() {
    let server = Server::start_with(|settings| {
        settings.limits.feed_window_bytes_max = 100_000;
        settings.limits.feed_cache_bytes_max = 100_000;
    })
    .await;
    let library = create_library(&server, "a").await;
    let mut stalled = TcpStream::connect(server.address).await.expect("connected");
    let request = b"GET /v1/events/stream?cursor=begin HTTP/1.1\r\nhost: x\r\n\r\n";
    stalled.write_all(request).await.expect("sent");
    let mut healthy = Vec::new();
    for _ in 0..100 {
        healthy.push(follow(&server, "cursor=begin", None).await);
    }
    // Events of some 6 MB: more than a socket takes.
    let lines: Vec<_> = (0..1_000)
        .map(|n| {
            let mut line = document(&format!("d{n}"), 1);
            line["metadata"] = serde_json::json!({ "text": "x".repeat(6_000) });
            line
        })
        .collect();
    let (_, ()) = tokio::join!(
        futures::future::join_all(healthy.iter_mut().map(|reader| reader.events(2_003))),
        ingest(&server, &library, &lines)
    );
    let statistics = server.engine.event_statistics(Default::default()).await.expect("numbers");
    let behind = statistics.subscribers.iter().filter(|one| one.pending_events > 0).count();
    assert_eq!(behind, 1, "the one that takes nothing lags, and nobody else");

    let last = ids(&all_events(&server).await).pop().expect("events");
    let wanted = format!("id: {last}\n");
    let (mut text, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
    while !String::from_utf8_lossy(&text[text.len().saturating_sub(20_000)..]).contains(&wanted) {
        let read = tokio::time::timeout(DEADLINE, stalled.read(&mut chunk)).await;
        let read = read.expect("in time").expect("readable");
        assert!(read > 0, "the stream ended");
        text.extend_from_slice(&chunk[..read]);
    }
    let text = String::from_utf8_lossy(&text);
    assert_eq!(text.matches("\nevent: document.added\n").count(), 1_000);
    assert_eq!(text.matches("\nevent: chunk.added\n").count(), 1_000);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_filter_lets_nothing_pass_advances_by_heartbeats() {
    let server = Server::start_with(|settings| {
        settings.limits.heartbeat_interval_ms = 20;
        settings.limits.feed_window_bytes_max = 1;
    })
    .await;
    let (a, quiet) = (create_library(&server, "a").await, create_library(&server, "q").await);
    let quietly = |query: String| pb::SubscribeRequest { library_id: query, ..from("now") };
    let mut grpc = Grpc::open(&server, quietly(quiet.clone())).await;
    let mut sse = follow(&server, &format!("library_id={quiet}&cursor=now"), None).await;
    let lines: Vec<_> = (0..50).map(|n| document(&format!("d{n}"), 1)).collect();
    ingest(&server, &a, &lines).await;
    let tail = ids(&all_events(&server).await).pop().expect("events");
    let mut seen = Vec::new();
    // A cursor behind the last event, in the revision that it has.
    while seen.last().is_none_or(|cursor: &String| *cursor < tail) {
        let Item::Heartbeat(beat) = grpc.item().await else { panic!("nothing passes") };
        seen.push(beat.cursor);
    }
    assert!(seen.is_sorted(), "bookmarks never go back");
    eventually("the other transport gets there too", async || {
        let frame = sse.next().await.expect("the stream goes on");
        assert_eq!(frame.event, "heartbeat");
        (frame.id.expect("a cursor") >= tail).then_some(())
    })
    .await;
    // What concerns it comes at once and whole.
    ingest(&server, &quiet, &[document("mine", 1)]).await;
    let event = grpc.event().await;
    assert_eq!(event.library_id, quiet);
    assert_eq!(event.r#type(), pb::EventType::BatchStarted);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_subscribers_get_every_event() {
    let server = Server::start().await;
    let library = create_library(&server, "a").await;
    let mut client = arrwdb::api::grpc::pb::event_service_client::EventServiceClient::new(
        server.channel().await,
    );
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        let stream = client.subscribe(from("now")).await.expect("subscribed").into_inner();
        streams.push(stream);
    }
    let lines: Vec<_> = (0..10).map(|n| document(&format!("d{n}"), 1)).collect();
    ingest(&server, &library, &lines).await;
    let read = streams.into_iter().map(|mut stream| async move {
        let mut ids = Vec::new();
        while ids.len() < 22 {
            let next = stream.message().await.expect("no error").expect("goes on");
            if let Some(Item::Event(event)) = next.item {
                ids.push(event.id);
            }
        }
        ids
    });
    let all = tokio::time::timeout(DEADLINE, futures::future::join_all(read)).await;
    let expected = ids(&all_events(&server).await)[1..].to_vec();
    assert!(all.expect("in time").iter().all(|seen| *seen == expected));
    eventually("all are counted as delivered", async || {
        let numbers = server.engine.event_statistics(Default::default()).await.expect("numbers");
        (numbers.total_delivered == 22_000).then_some(())
    })
    .await;
    server.stop().await;
}

/// A sample of the server's metrics.
async fn metric(server: &Server, name: &str) -> u64 {
    let text = server.engine.metrics().await.expect("numbers");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {line:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_readers_that_come_back_shares_its_passes_over_the_log() {
    let server = Server::start_with(|settings| {
        settings.limits.feed_window_bytes_max = 1;
        settings.limits.feed_cache_bytes_max = 100_000;
        settings.limits.feed_read_bytes_target = 4_000;
    })
    .await;
    write_some(&server, 100).await;
    let log = ids(&all_events(&server).await);
    let mut live = follow(&server, "cursor=now", None).await;
    let channel = server.channel().await;
    let read = async |from: &str, count: usize| {
        let mut client = pb::event_service_client::EventServiceClient::new(channel.clone());
        let request = pb::SubscribeRequest { cursor: from.to_owned(), ..Default::default() };
        let mut stream = client.subscribe(request).await.expect("subscribed").into_inner();
        let mut seen = Vec::new();
        while seen.len() < count {
            let next = stream.message().await.expect("no error").expect("goes on");
            if let Some(Item::Event(event)) = next.item {
                seen.push(event.id);
            }
        }
        seen
    };
    let reads = async || metric(&server, "arrwdb_feed_log_reads_total").await;
    let before = reads().await;
    assert_eq!(read(&log[0], log.len() - 1).await, log[1..]);
    let alone = reads().await - before;
    assert!(alone > 5, "{alone} reads are too few to tell");

    let before = reads().await;
    // Cut at about the same time, not at the same event.
    let storm = (0..1_000).map(|n| read(&log[n % 20], log.len() - 1 - n % 20));
    let writes = async {
        for n in 0..20 {
            ingest(&server, "b", &[document(&format!("meanwhile{n}"), 1)]).await;
            live.events(4).await;
        }
    };
    let storm = tokio::time::timeout(2 * DEADLINE, futures::future::join_all(storm));
    let (storm, ()) = tokio::join!(storm, writes);
    for (n, seen) in storm.expect("in time").into_iter().enumerate() {
        assert_eq!(seen, log[1 + n % 20..]);
    }
    // However far they drift apart, which is as the threads run: the cache holds a part of the log.
    let together = reads().await - before;
    assert!(together < 1_000 * alone / 5, "{together} reads for 1 000 readers, {alone} for one");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut_and_counted() {
    let server = Server::start_with(|settings| {
        settings.limits.subscriber_stall_ms = 2_000;
        settings.limits.heartbeat_interval_ms = 20;
    })
    .await;
    let library = create_library(&server, "a").await;
    let mut over_sse = TcpStream::connect(server.address).await.expect("connected");
    let request = b"GET /v1/events/stream?cursor=begin HTTP/1.1\r\nhost: x\r\n\r\n";
    over_sse.write_all(request).await.expect("sent");
    // Two on one connection, in whose window both have room: only the one that takes nothing is cut.
    let channel = tonic::transport::Channel::from_shared(server.url("")).expect("an address");
    let channel = channel.initial_connection_window_size(1 << 20);
    let channel = channel.initial_stream_window_size(1 << 16).connect().await;
    let mut client = pb::event_service_client::EventServiceClient::new(channel.expect("connected"));
    let mut over_grpc = client.subscribe(from("begin")).await.expect("subscribed").into_inner();
    let mut healthy = client.subscribe(from("begin")).await.expect("subscribed").into_inner();
    let healthy = tokio::spawn(async move {
        let mut events = 0;
        while events < 2_003 {
            let next = healthy.message().await.expect("no error").expect("goes on");
            events += usize::from(matches!(next.item, Some(Item::Event(_))));
        }
        healthy
    });
    let lines: Vec<_> = (0..1_000)
        .map(|n| {
            let mut line = document(&format!("d{n}"), 1);
            line["metadata"] = serde_json::json!({ "text": "x".repeat(8_000) });
            line
        })
        .collect();
    ingest(&server, &library, &lines).await;
    eventually("both are cut", async || {
        (metric(&server, "arrwdb_stalled_clients_total").await == 2).then_some(())
    })
    .await;
    let healthy = tokio::time::timeout(DEADLINE, healthy).await.expect("in time");
    eventually("only the one that reads is left", async || {
        (metric(&server, "arrwdb_subscribers").await == 1).then_some(())
    })
    .await;
    // What was on its way arrives; then it is told why it ends.
    let ended = loop {
        match over_grpc.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended as if whole"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), tonic::Code::DeadlineExceeded, "{ended}");
    drop((healthy, over_sse));
    server.stop().await;
}
