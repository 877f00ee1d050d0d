//! The change feed: one order on every transport, resumable anywhere, honest about loss.

use std::path::Path;

use arrwdb::api::grpc::pb;
use arrwdb::types::EventType;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::grpc_wire::{self, Grpc};
use crate::harness::{Server, eventually};
use crate::wire::{EventsQuery, Http, QUICK_HEARTBEAT, Wire, in_time, ndjson, revision, text};

/// Something of every kind of change, in two libraries; gives all events.
async fn history(http: &Http) -> Vec<Value> {
    http.vectors("a", "dot", 1).await;
    http.vectors("b", "dot", 1).await;
    http.patch("/v1/libraries/a", json!({"description": "x"})).await.ok();
    let chunk = |n: i32| json!({"text": format!("{n}"), "embedding": [n]});
    for (library, n) in [("a", 1), ("b", 2), ("a", 3)] {
        let documents = [
            json!({"id": format!("d{n}"), "title": "t", "chunks": [chunk(1), chunk(2)]}),
            json!({"title": "", "chunks": [chunk(1)]}),
            json!({"id": format!("d{n}"), "title": "u", "chunks": [chunk(2), chunk(3)]}),
        ];
        http.ingest(library, "", ndjson(&documents)).await.lines();
    }
    http.patch("/v1/libraries/a/documents/d1", json!({"metadata": {"k": 1}})).await.ok();
    http.delete("/v1/libraries/b/documents/d2").await.ok();
    http.delete("/v1/libraries/b").await.ok();
    http.events("begin", "").await
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| text(&event["id"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_changes_are_ordered_and_whole() {
    let server = Server::start().await;
    let http = Http::of(&server);
    let events = history(&http).await;
    let ids = ids(&events);
    assert!(ids.is_sorted_by(|a, b| a < b), "ids increase strictly, as text");
    for pair in events.windows(2) {
        let (one, next) = (revision(&pair[0]["revision"]), revision(&pair[1]["revision"]));
        assert!(one <= next);
        assert_eq!(pair[0]["last"], json!(one < next), "the last of a change says so");
        assert!(text(&pair[0]["timestamp"]) <= text(&pair[1]["timestamp"]));
    }
    let kinds: Vec<_> = events.iter().map(|event| text(&event["type"])).collect();
    let batch = [
        "batch.started",
        "document.added",
        "chunk.added",
        "chunk.added",
        "document.updated",
        "chunk.deleted",
        "chunk.added",
        "batch.completed",
    ];
    let mut expected = vec!["library.created", "library.created", "library.updated"];
    (0..3).for_each(|_| expected.extend(batch));
    expected.extend([
        "document.updated",
        "document.deleted",
        "chunk.deleted",
        "chunk.deleted",
        "library.deleted",
    ]);
    assert_eq!(kinds, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_from_any_event_on_the_other_transport() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    let all = history(&http).await;
    for cut in 0..all.len() {
        let (before, after) = all.split_at(cut + 1);
        let cursor = text(&before.last().expect("one")["id"]);
        let query = EventsQuery::from(cursor.clone());
        let listed = grpc.list_events(&query, 1_000).await.expect("a page");
        assert_eq!(listed["events"], json!(after), "listed from {cut}");
        // What was read over SSE goes on over gRPC, and the other way round.
        let mut first = http.follow("?cursor=begin").await;
        assert_eq!(first.take(before.len()).await, before);
        drop(first);
        let rest = grpc.subscribe(&query, after.len()).await.expect("events");
        assert_eq!(rest.as_array().expect("a list")[1..], *after, "gRPC from {cut}");
        let request = http.request("GET", "/v1/events/stream").header("last-event-id", &cursor);
        let mut back = http.follow_with(request).await;
        assert_eq!(back.take(after.len()).await, after, "SSE from {cut}");
    }
    // The cursor of a first heartbeat goes on as well.
    let beat = grpc.subscribe(&EventsQuery::from("begin"), 0).await.expect("a heartbeat");
    let cursor = text(&beat[0]["heartbeat"]);
    assert_eq!(http.events(&cursor, "").await, all);
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_the_same_bytes_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    let all = history(&http).await;
    let read = |http: Http, n: usize| async move {
        let mut feed = http.follow("?cursor=begin").await;
        let mut frames = Vec::new();
        while frames.len() < n {
            frames.push(feed.event().await.raw);
        }
        frames
    };
    let frames = read(http.clone(), all.len()).await;
    assert_eq!(read(http.clone(), all.len()).await, frames);
    drop(http);
    server.stop().await;
    let server = Server::open(folder.path(), |_| {}).await;
    let http = Http::of(&server);
    assert_eq!(read(http.clone(), all.len()).await, frames);
    drop(http);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_feed_is_the_filter_of_the_whole_feed() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    let all = history(&http).await;
    let libraries = ["", "a"].into_iter().map(str::to_owned);
    // The library that is gone still has a past, by its id.
    let libraries: Vec<_> = libraries.chain([text(&all[1]["library_id"])]).collect();
    let names: Vec<&'static str> = EventType::ALL.iter().map(|kind| kind.name()).collect();
    let mut sets: Vec<Vec<&'static str>> = names.iter().map(|name| vec![*name]).collect();
    sets.extend(names.windows(3).map(<[_]>::to_vec));
    sets.push(vec![]);
    for library in &libraries {
        let id = if library == "a" { text(&all[0]["library_id"]) } else { library.clone() };
        for types in &sets {
            let passes = |event: &&Value| {
                let kind = text(&event["type"]);
                (library.is_empty() || text(&event["library_id"]) == id)
                    && (types.is_empty() || types.contains(&kind.as_str()))
            };
            let expected: Vec<Value> = all.iter().filter(passes).cloned().collect();
            let query = EventsQuery {
                library: library.clone(),
                types: types.clone(),
                cursor: "begin".into(),
            };
            for limit in [1_000, 2] {
                let (mut query, mut found) = (query.clone(), Vec::new());
                loop {
                    let page = grpc.list_events(&query, limit).await.expect("a page");
                    found.extend(page["events"].as_array().expect("a list").iter().cloned());
                    query.cursor = text(&page["next_cursor"]);
                    if page["next_cursor"] == page["tail_cursor"] {
                        break;
                    }
                }
                assert_eq!(found, expected, "{library} {types:?} by {limit}");
            }
            let n = expected.len();
            let followed = http.subscribe(&query, n).await.expect("events");
            assert_eq!(followed.as_array().expect("a list")[1..], expected);
            assert_eq!(grpc.subscribe(&query, n).await, Ok(followed));
        }
    }
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_carry_a_filtered_idle_subscriber_on_and_never_back() {
    let quick = u64::try_from(QUICK_HEARTBEAT.as_millis()).expect("small");
    let server = Server::start_with(|s| s.limits.heartbeat_interval_ms = quick).await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    http.vectors("a", "dot", 1).await;
    let types = vec!["library.deleted"];
    let query = EventsQuery { types, cursor: "begin".into(), ..EventsQuery::default() };
    let mut over_grpc = grpc.follow(&query).await.expect("a subscription");
    let mut over_http = http.follow("?event_types=library.deleted&cursor=begin").await;
    let (mut at_http, mut at_grpc) = (String::new(), String::new());
    for n in 0..5 {
        let body = json!({"title": format!("{n}"), "chunks": [{"embedding": [n]}]});
        http.post("/v1/libraries/a/documents", body).await.ok();
        let tail = text(&http.get("/v1/events?cursor=now").await.ok()["tail_cursor"]);
        while at_http < tail {
            let frame = over_http.next().await.expect("goes on");
            assert_eq!(frame.event, "heartbeat");
            let id = frame.id.expect("a cursor");
            assert_eq!(frame.data["id"], json!(id));
            assert!(id >= at_http && id <= tail, "{at_http} {id} {tail}");
            at_http = id;
        }
        while at_grpc < tail {
            let message = in_time("a heartbeat", over_grpc.next()).await.expect("goes on");
            match message.expect("no fault").item {
                Some(pb::subscribe_response::Item::Heartbeat(beat)) => {
                    assert!(beat.cursor >= at_grpc && beat.cursor <= tail);
                    at_grpc = beat.cursor;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let deleted = http.delete("/v1/libraries/a").await.ok();
    assert_eq!(over_http.event().await.data["revision"], deleted["revision"]);
    drop((http, grpc, over_grpc));
    drop(over_http);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_may_be_named() {
    let server = Server::start().await;
    let http = Http::of(&server);
    let all = history(&http).await;
    let total = all.len();
    assert_eq!(http.events("begin", "").await, all);
    assert_eq!(http.events("now", "").await, Vec::<Value>::new());
    assert_eq!(http.get("/v1/events?limit=1000").await.ok()["events"], json!(all), "begin");
    let last = revision(&all[total - 1]["revision"]);
    for at in 0..=last {
        let behind: Vec<_> = all.iter().filter(|e| revision(&e["revision"]) > at).collect();
        let listed = http.events(&format!("revision:{at}"), "").await;
        assert_eq!(json!(listed), json!(behind), "behind revision {at}");
    }
    for event in &all {
        let time = text(&event["timestamp"]);
        let from: Vec<_> = all.iter().filter(|e| text(&e["timestamp"]) >= time).collect();
        let listed = http.events(&format!("time:{time}"), "").await;
        assert_eq!(json!(listed), json!(from), "from {time}");
    }
    assert_eq!(http.events("time:2000-01-01T00:00:00Z", "").await, all);
    assert!(http.events("time:2999-01-01T00:00:00Z", "").await.is_empty());
    assert_eq!(http.events("time:2000-01-01T02:00:00%2B02:00", "").await, all);

    // A stream without a cursor begins now: the first thing it tells is what comes next.
    let mut feed = http.follow("").await;
    let first = feed.next().await.expect("a frame at once");
    assert_eq!(first.event, "heartbeat");
    http.vectors("c", "dot", 1).await;
    assert_eq!(feed.event().await.data["name"], "c");
    drop(feed);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_event_id_beats_the_cursor() {
    let server = Server::start().await;
    let http = Http::of(&server);
    let all = history(&http).await;
    let id = text(&all[4]["id"]);
    let request = http.request("GET", "/v1/events/stream?cursor=begin");
    let mut feed = http.follow_with(request.header("last-event-id", &id)).await;
    assert_eq!(feed.take(3).await, all[5..8]);
    let request = http.request("GET", "/v1/events/stream?cursor=now");
    let mut feed = http.follow_with(request.header("last-event-id", "revision:1")).await;
    assert_eq!(feed.event().await.data, all[1]);
    for wrong in ["nonsense", "é"] {
        let request = http.request("GET", "/v1/events/stream?cursor=begin");
        let value = reqwest::header::HeaderValue::from_bytes(wrong.as_bytes()).expect("bytes");
        let reply = http.send(request.header("last-event-id", value)).await;
        assert_eq!(reply.fault().slug, "invalid-argument", "{wrong}");
    }
    drop(feed);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_honoured_is_said_so() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    let all = history(&http).await;
    let epoch = text(&all[0]["id"])[..16].to_owned();
    let other = format!("{}{}", "f".repeat(16), &text(&all[3]["id"])[16..]);
    let future = format!("{epoch}{:016x}ffffffff", 1_000);
    for cursor in [other, future, "revision:1000".to_owned()] {
        for path in ["/v1/events?cursor=", "/v1/events/stream?cursor="] {
            let reply = http.get(&format!("{path}{cursor}")).await;
            assert_eq!((reply.status, reply.fault().slug.as_str()), (410, "cursor-unknown"));
        }
        let refused = grpc.follow(&EventsQuery::from(cursor.clone())).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::OutOfRange);
        let fault = grpc_wire::fault(&refused);
        assert_eq!(fault.slug, "cursor-unknown");

        // A browser's EventSource cannot read a problem.
        let request = http.request("GET", &format!("/v1/events/stream?cursor={cursor}"));
        let mut feed = http.follow_with(request.header("accept", "text/event-stream")).await;
        let frame = feed.next().await.expect("a frame");
        assert_eq!((frame.event.as_str(), &frame.id), ("stream.error", &None));
        assert_eq!(frame.data, json!({"type": "cursor-unknown", "detail": fault.detail}));
        assert!(frame.raw.starts_with("retry: 2000\n"));
        assert_eq!(feed.next().await, None, "then the stream ends");
    }
    // What is wrong in itself is a problem for everybody.
    for query in [
        "cursor=x",
        "event_types=document.eaten",
        "library_id=%20",
        "cursor=time:x",
        "event_types=heartbeat",
        "curser=begin",
        "filter=document.titel%20==%20'x'",
        "snapshot=true&cursor=begin",
    ] {
        let request = http.request("GET", &format!("/v1/events/stream?{query}"));
        let reply = http.send(request.header("accept", "text/event-stream")).await;
        assert_eq!(
            (reply.status, reply.fault().slug.as_str()),
            (400, "invalid-argument"),
            "{query}"
        );
    }
    let errors = http.event_statistics().await.expect("statistics")["total_errors"].clone();
    assert!(errors.as_u64().is_some());
    drop((http, grpc));
    server.stop().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_does_not_take_cursors_of_the_lost_history() {
    let folder = tempfile::tempdir().expect("folder");
    let (live, backup) = (folder.path().join("live"), folder.path().join("backup"));
    let server = Server::open(&live, |_| {}).await;
    let http = Http::of(&server);
    http.vectors("a", "dot", 1).await;
    http.vectors("b", "dot", 1).await;
    drop(http);
    server.stop().await;
    copy(&live, &backup);

    let server = Server::open(&live, |_| {}).await;
    let http = Http::of(&server);
    http.vectors("lost", "dot", 1).await;
    let all = http.events("begin", "").await;
    assert_eq!(all.len(), 3);
    drop(http);
    server.stop().await;

    let server = Server::open(&backup, |settings| settings.new_epoch = true).await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    for name in ["c", "d"] {
        http.vectors(name, "dot", 1).await;
    }
    let now = http.events("begin", "").await;
    assert_eq!(now[..2], all[..2], "what the backup has is as it was");
    assert_ne!(now[2]["id"], all[2]["id"]);
    assert!(ids(&now).is_sorted());
    let lost = EventsQuery::from(text(&all[2]["id"]));
    let refused = grpc.list_events(&lost, 10).await.expect_err("a lost history");
    assert_eq!(refused.slug, "cursor-unknown");
    let known = EventsQuery::from(text(&all[1]["id"]));
    let rest = grpc.list_events(&known, 10).await.expect("the rest");
    assert_eq!(rest["events"], json!(now[2..]));
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frames_of_a_feed_have_golden_bytes() {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.vectors("lib", "dot", 1).await;
    let body = json!({"id": "d", "title": "Li\nne", "tags": ["x"], "metadata": {"n": 1.0},
        "chunks": [{"text": "t", "embedding": [1], "metadata": {"page": 2}}]});
    let document = http.post("/v1/libraries/lib/documents", body).await.ok();
    let request = http.request("GET", "/v1/events/stream?cursor=begin");
    let response = request.send().await.expect("an answer");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    drop(response);
    let mut feed = http.follow("?cursor=begin").await;
    let frames = [feed.next().await, feed.next().await, feed.next().await, feed.next().await];
    let frames = frames.map(|frame| frame.expect("a frame"));
    let epoch = frames[0].id.as_deref().expect("an id")[..16].to_owned();
    let library = text(&frames[1].data["library_id"]);
    let mut shown = frames.iter().map(|frame| frame.raw.clone() + "\n\n").collect::<String>();
    let times = frames.iter().map(|frame| text(&frame.data["timestamp"]));
    for time in times.collect::<Vec<_>>() {
        shown = shown.replace(&time, "TIME");
    }
    let shown = shown
        .replace(&epoch, "EPOCH-----------")
        .replace(&library, "LIBRARY")
        .replace(&text(&document["chunks"][0]["id"]), "CHUNK");
    let expected = concat!(
        "retry: 2000\n",
        "id: EPOCH-----------0000000000000000ffffffff\n",
        "event: heartbeat\n",
        r#"data: {"id":"EPOCH-----------0000000000000000ffffffff","type":"heartbeat","timestamp":"TIME"}"#,
        "\n\n",
        "id: EPOCH-----------000000000000000180000000\n",
        "event: library.created\n",
        r#"data: {"id":"EPOCH-----------000000000000000180000000","type":"library.created","library_id":"LIBRARY","timestamp":"TIME","revision":"1","last":true,"name":"lib","description":"","metric":"dot","dimension":1,"embedder":{"id":"none","sha256":""},"index_type":"auto","metadata":{}}"#,
        "\n\n",
        "id: EPOCH-----------000000000000000200000000\n",
        "event: document.added\n",
        r#"data: {"id":"EPOCH-----------000000000000000200000000","type":"document.added","library_id":"LIBRARY","timestamp":"TIME","revision":"2","last":false,"document_id":"d","title":"Li\nne","tags":["x"],"num_chunks":1,"metadata":{"n":1}}"#,
        "\n\n",
        "id: EPOCH-----------000000000000000280000001\n",
        "event: chunk.added\n",
        r#"data: {"id":"EPOCH-----------000000000000000280000001","type":"chunk.added","library_id":"LIBRARY","timestamp":"TIME","revision":"2","last":true,"chunk_id":"CHUNK","document_id":"d","index":0,"title":"Li\nne","metadata":{"page":2}}"#,
        "\n\n",
    );
    assert_eq!(shown, expected);
    drop(feed);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statistics_of_the_feed_are_true() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    let statistics = async || http.event_statistics().await.expect("statistics");
    let fresh = statistics().await;
    assert_eq!((&fresh["total_published"], &fresh["subscriber_count"]), (&json!(0), &json!(0)));
    assert_eq!((&fresh["running"], &fresh["tail_revision"]), (&json!(true), &json!("0")));
    http.vectors("a", "dot", 1).await;

    // One reader takes everything, one nothing of much more than its connection holds.
    let mut reader = http.follow("?cursor=begin").await;
    let mut stalled = grpc.follow(&EventsQuery::from("begin")).await.expect("a subscription");
    assert_eq!(reader.next().await.expect("a frame").event, "heartbeat");
    let metadata = json!({"pad": "x".repeat(60_000)});
    let documents: Vec<Value> = (0..200)
        .map(|n| {
            json!({"id": format!("d{n}"), "title": "t", "metadata": metadata,
                "chunks": [{"embedding": [n]}]})
        })
        .collect();
    http.ingest("a", "?report=summary", ndjson(&documents)).await.lines();
    let total = 1 + 1 + 2 * 200 + 1;
    reader.take(total).await;
    let now = eventually("one reader is done", async || {
        let now = statistics().await;
        (now["subscribers"][0]["delivered_events"] == json!(total)).then_some(now)
    })
    .await;
    assert_eq!((&now["total_published"], &now["subscriber_count"]), (&json!(total), &json!(2)));
    assert_eq!(now["tail_revision"], "203");
    assert_eq!(now["floor_revision"], "1");
    assert!(now["log_bytes"].as_u64().expect("a number") > 200 * 60_000);
    let (first, second) = (&now["subscribers"][0], &now["subscribers"][1]);
    assert_eq!((&first["pending_events"], &first["lag_revisions"]), (&json!(0), &json!(0)));
    assert_eq!(first["lag_seconds"], json!(0.0));
    let pending = second["pending_events"].as_u64().expect("a number");
    assert!(pending > 0 && pending < total as u64, "{second}");
    assert!(second["lag_revisions"].as_u64().expect("a number") > 0, "{second}");
    assert_eq!(now["pending_events"], second["pending_events"]);
    let of = |one: &Value| one["delivered_events"].as_u64().expect("a number");
    assert_eq!(now["total_delivered"], json!(of(first) + of(second)));
    assert!(of(second) < total as u64);

    let mut events = 0;
    while events < total {
        let message = in_time("an event", stalled.next()).await.expect("goes on");
        events += usize::from(matches!(
            message.expect("no fault").item,
            Some(pb::subscribe_response::Item::Event(_))
        ));
    }
    eventually("nothing is pending", async || {
        let now = statistics().await;
        let done = now["pending_events"] == 0 && now["total_delivered"] == json!(2 * total);
        done.then_some(())
    })
    .await;
    drop((reader, stalled));
    eventually("both left", async || (statistics().await["subscriber_count"] == 0).then_some(()))
        .await;
    assert_eq!(statistics().await["total_delivered"], json!(2 * total));
    drop((http, grpc));
    server.stop().await;
}
