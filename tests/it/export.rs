//! Export: whole, restorable, and exactly what the feed goes on from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::grpc_wire::Grpc;
use crate::harness::Server;
use crate::wire::{EventsQuery, Http, Wire, ndjson, revision, text};

/// A document of every shape.
fn documents() -> Vec<Value> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // Decimals that a single shows as they are.
    let mut number = move || f64::from(rng.random_range(-1_000..1_000)) / 1_000.0;
    (0..300)
        .map(|n: i32| {
            let chunks = (0..1 + n % 4).map(|c| {
                let mut chunk = json!({"text": format!("text {n}.{c} \"ü\" \n"),
                    "embedding": [number(), number(), number()]});
                if c == 1 {
                    chunk["metadata"] = json!({"page": c, "deep": {"list": [null, 0.1, "x"]}});
                }
                if c == 2 {
                    chunk["text"] = json!("");
                }
                chunk
            });
            let mut document = json!({"id": format!("d/{}", (n * 7) % 300), "title": format!("T{n}"),
                "chunks": chunks.collect::<Vec<_>>()});
            if n % 2 == 0 {
                document["author"] = json!("A");
                document["metadata"] = json!({"n": n, "third": 1.0 / 3.0, "big": 1e300});
            }
            if n % 3 == 0 {
                document["tags"] = json!(["x", "y ü"]);
                document["source_url"] = json!("https://e.org/?a=b&c");
                document["document_type"] = json!("note");
            }
            document
        })
        .collect()
}

/// The lines of an export without what an import makes anew.
fn content(lines: &[Value]) -> Vec<Value> {
    let lines = lines.iter().filter(|line| line.get("status").is_none());
    lines
        .map(|line| {
            let mut line = line.clone();
            let fields = line.as_object_mut().expect("an object");
            fields
                .retain(|key, _| !["created_at", "updated_at", "revision"].contains(&key.as_str()));
            for chunk in line["chunks"].as_array_mut().expect("chunks") {
                let fields = chunk.as_object_mut().expect("an object");
                fields.retain(|key, _| !["id", "index"].contains(&key.as_str()));
            }
            line
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_pipes_into_an_ingest_that_restores_it() {
    let (server, other) = (Server::start().await, Server::start().await);
    let (http, there) = (Http::of(&server), Http::of(&other));
    let grpc = Grpc::of(&server).await;
    http.vectors("l", "cosine", 3).await;
    let sent = documents();
    http.ingest("l", "", ndjson(&sent)).await.lines();
    let path = "/v1/libraries/l/documents/stream?include_embeddings=true";
    let exported = http.get(path).await;
    let lines = exported.lines();
    assert_eq!(content(&lines), sent, "what was sent, in its order");
    let end = lines.last().expect("a last line");
    assert_eq!((&end["status"], &end["total_documents"]), (&json!("complete"), &json!(300)));
    assert_eq!(end.as_object().expect("an object").len(), 3);
    for (n, line) in lines[..300].iter().enumerate() {
        let id = text(&line["id"]);
        let read = http.get_document("l", &id).await.expect("exists");
        assert_eq!(
            (&line["revision"], &line["created_at"]),
            (&read["revision"], &read["created_at"])
        );
        assert_eq!(line["chunks"][0]["id"], read["chunks"][0]["id"], "{n}");
    }

    there.vectors("copy", "cosine", 3).await;
    let answer = there.ingest("copy", "?report=failures", exported.body.clone()).await.lines();
    assert_eq!((answer.len(), &answer[0]["total_succeeded"]), (1, &json!(300)));
    assert!(answer[0].get("truncated").is_none());
    let again = there.export("copy", "?include_embeddings=true").await;
    assert_eq!(content(&again), sent);
    let query = json!({"embedding": [0.3, -0.2, 0.9], "k": 1_000});
    let distances = |found: Value| -> Vec<Value> {
        let hits = found["results"].as_array().expect("hits").iter();
        hits.map(|hit| json!([hit["distance"], hit["document_id"], hit["text"]])).collect()
    };
    let here = distances(http.search("l", query.clone()).await.expect("hits"));
    assert_eq!(here, distances(there.search("copy", query).await.expect("hits")));

    // The gRPC export is the same documents; its messages go into an ingest as they are.
    let mut over_grpc = grpc.export("l", true).await.expect("an export");
    let over_grpc = over_grpc.as_array_mut().expect("lines");
    let complete = over_grpc.pop().expect("a last message");
    assert_eq!(complete, *end);
    assert_eq!(*over_grpc, sent);
    http.vectors("second", "cosine", 3).await;
    let statuses = grpc.ingest("second", "replace", "summary", over_grpc).await.expect("done");
    assert_eq!(statuses[0]["total_succeeded"], 300);
    let second = http.export("second", "?include_embeddings=true").await;
    assert_eq!(content(&second), sent);
    drop((http, there, grpc));
    server.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_without_vectors_is_embedded_anew() {
    let server = Server::start().await;
    let http = Http::of(&server);
    for name in ["l", "copy"] {
        http.post("/v1/libraries", json!({"name": name})).await.ok();
    }
    let sent = [
        json!({"id": "a", "title": "A", "text": "One thing. ".repeat(300)}),
        json!({"id": "b", "title": "B", "texts": ["a wading bird", "a river in Spain"]}),
    ];
    http.ingest("l", "", ndjson(&sent)).await.lines();
    let lines = http.export("l", "").await;
    assert!(lines[0]["chunks"].as_array().expect("chunks").len() > 1, "it was split");
    http.ingest("copy", "", ndjson(&lines)).await.lines();
    let with = "?include_embeddings=true";
    assert_eq!(content(&http.export("copy", with).await), content(&http.export("l", with).await));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_export_is_ingested_and_reported() {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.vectors("l", "cosine", 3).await;
    http.ingest("l", "", ndjson(&documents()[..5])).await.lines();
    let lines = http.export("l", "?include_embeddings=true").await;
    let mut short = lines.clone();
    short.remove(2);
    for (name, body, truncated, documents) in [
        ("whole", &lines[..], false, 5),
        ("cut", &lines[..4], true, 4),
        ("without its end", &lines[..5], true, 5),
        ("with a hole", &short, true, 4),
    ] {
        http.vectors(name, "cosine", 3).await;
        let answer = http.ingest(name, "?report=summary", ndjson(body)).await.lines();
        let summary = &answer[0];
        assert_eq!(summary["total_succeeded"], documents, "{name}");
        assert_eq!(summary["total_failed"], 0, "{name}");
        assert_eq!(summary.get("truncated"), truncated.then_some(&json!(true)), "{name}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_golden_bytes() {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.vectors("l", "dot", 2).await;
    let body = json!({"id": "d", "title": "T", "tags": ["x"], "metadata": {"b": 1.0, "a": 0.5},
        "chunks": [{"text": "t", "embedding": [0.1, 2], "metadata": {"page": 3}}]});
    let document = http.post("/v1/libraries/l/documents", body).await.ok();
    let exported = http.get("/v1/libraries/l/documents/stream?include_embeddings=true").await;
    let cursor = text(&exported.lines()[1]["cursor"]);
    let expected = format!(
        concat!(
            r#"{{"id":"d","title":"T","tags":["x"],"metadata":{{"a":0.5,"b":1}},"chunks":[{{"id":{},"index":0,"text":"t","metadata":{{"page":3}},"embedding":[0.1,2.0]}}],"created_at":{},"updated_at":{},"revision":"2"}}"#,
            "\n",
            r#"{{"status":"complete","total_documents":1,"cursor":"{}"}}"#,
            "\n"
        ),
        document["chunks"][0]["id"], document["created_at"], document["updated_at"], cursor
    );
    assert_eq!(exported.text(), expected);
    assert!(cursor.ends_with("0000000000000002ffffffff"), "{cursor}");
    server.stop().await;
}

/// What a follower knows of a library: title and number of chunks by document.
type Fold = BTreeMap<String, (String, Value)>;

fn apply(fold: &mut Fold, event: &Value) {
    let id = || text(&event["document_id"]);
    let state = || (text(&event["title"]), event["num_chunks"].clone());
    match text(&event["type"]).as_str() {
        "document.added" => assert_eq!(fold.insert(id(), state()), None, "added twice: {event}"),
        "document.updated" => {
            let before = fold.insert(id(), state()).unwrap_or_else(|| panic!("unknown: {event}"));
            assert_eq!(before.0, text(&event["previous_title"]));
        }
        "document.deleted" => assert_eq!(fold.remove(&id()), Some(state()), "{event}"),
        _ => {}
    }
}

fn fold_of(lines: &[Value]) -> Fold {
    let lines = lines.iter().filter(|line| line.get("status").is_none());
    let state = |line: &Value| {
        let chunks = line["chunks"].as_array().expect("chunks").len();
        (text(&line["id"]), (text(&line["title"]), json!(chunks)))
    };
    lines.map(state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_and_the_events_from_its_cursor_are_exactly_the_library() {
    let server = Server::start_with(|settings| settings.limits.heartbeat_interval_ms = 20).await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    http.vectors("l", "l2", 1).await;
    http.vectors("noise", "l2", 1).await;
    let stop = AtomicBool::new(false);
    let write = async |seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut writes = 0_u32;
        while !stop.load(Ordering::Relaxed) || writes < 100 {
            writes += 1;
            let id = format!("d{}", rng.random_range(0..20));
            let chunks: Vec<Value> = (0..rng.random_range(1..4))
                .map(|c| json!({"text": format!("{c}"), "embedding": [rng.random_range(0..5)]}))
                .collect();
            let body = json!({"id": id, "title": format!("{seed}.{writes}"), "chunks": chunks});
            // Some of these are refused: others write the same documents.
            match rng.random_range(0..6) {
                0 => drop(http.create_document("l", body, "").await),
                1 => drop(http.delete_document("l", &id, None).await),
                2 => drop(http.update_document("l", &id, json!({"title": "p"}), None).await),
                3 => drop(
                    http.create_document("noise", json!({"title": "n", "chunks": chunks}), "")
                        .await,
                ),
                _ => drop(grpc.ingest("l", "replace", "summary", &[body]).await.expect("done")),
            }
        }
    };
    let follow = async |at: usize| {
        // Exports from the start, from the middle, and from the end of the writing.
        let until = 60 * at as u64;
        crate::harness::eventually("enough is written", async || {
            let statistics = http.event_statistics().await.expect("statistics");
            (revision(&statistics["tail_revision"]) >= until).then_some(())
        })
        .await;
        let lines = http.export("l", "").await;
        let fold = fold_of(&lines);
        let end = lines.last().expect("a last line");
        assert_eq!(end["total_documents"], json!(fold.len()));
        let cursor = text(&end["cursor"]);
        let mut feed = http.follow(&format!("?library_id=l&cursor={cursor}")).await;
        assert_eq!(feed.next().await.expect("a heartbeat").id.as_ref(), Some(&cursor));
        if at == 3 {
            stop.store(true, Ordering::Relaxed);
        }
        (feed, fold, cursor)
    };
    let follow_all = async { futures::future::join_all((0..4).map(follow)).await };
    let (followers, ()) = tokio::join!(follow_all, async {
        futures::future::join_all((0..4).map(write)).await;
    });
    let tail = text(&http.get("/v1/events?cursor=now").await.ok()["tail_cursor"]);
    let truth = fold_of(&http.export("l", "").await);
    for (mut feed, mut fold, mut at) in followers {
        while at < tail {
            let frame = feed.next().await.expect("the stream goes on");
            let id = frame.id.expect("a cursor");
            assert!(id >= at, "backwards from {at} to {id}");
            // An event's own cursor may be the tail's, written shorter.
            let reached = id[..32] == tail[..32] && frame.data["last"] != json!(false);
            at = if reached { tail.clone() } else { id };
            apply(&mut fold, &frame.data);
        }
        assert_eq!(fold, truth);
    }
    // The same from each of the events' pages.
    let mut fold = Fold::new();
    let mut cursor = "begin".to_owned();
    while cursor == "begin" || cursor < tail {
        let query = EventsQuery { library: "l".into(), ..EventsQuery::from(cursor) };
        let page = grpc.list_events(&query, 33).await.expect("a page");
        page["events"].as_array().expect("a list").iter().for_each(|event| apply(&mut fold, event));
        cursor = text(&page["next_cursor"]);
    }
    assert_eq!(fold, truth);
    drop((http, grpc));
    server.stop().await;
}
