//! Every limit that a client can meet is answered with a fault that names it.

use arrwdb::api::grpc::pb;
use arrwdb::types::Limits;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::grpc_wire::{self, Grpc, ingest_messages};
use crate::harness::{Server, eventually};
use crate::wire::{EventsQuery, Fault, Http, Wire, in_time, ndjson, text};

async fn limited(change: impl FnOnce(&mut Limits)) -> (Server, Http, Grpc) {
    let server = Server::start_with(|settings| change(&mut settings.limits)).await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    http.vectors("l", "dot", 2).await;
    http.post("/v1/libraries", json!({"name": "texts"})).await.ok();
    (server, http, grpc)
}

fn names(fault: &Fault, slug: &str, limit: &str) {
    assert_eq!(fault.slug, slug, "{fault:?}");
    assert!(fault.detail.contains(limit), "{fault:?} does not name {limit}");
}

/// Checks a document one way and the other: created, ingested, over both transports.
async fn document_refused(
    http: &Http,
    grpc: &Grpc,
    body: Value,
    slug: &str,
    limit: &str,
    field: &str,
) {
    let library = if body.get("chunks").is_some() { "l" } else { "texts" };
    for outcome in [
        http.create_document(library, body.clone(), "").await,
        grpc.create_document(library, body.clone(), "").await,
    ] {
        let fault = outcome.expect_err(limit);
        names(&fault, slug, limit);
        assert_eq!(fault.violations[0].0, field);
        assert_eq!(fault.detail, format!("{field}: {}", fault.violations[0].1));
    }
    for lines in [
        http.ingest(library, "", ndjson(std::slice::from_ref(&body))).await.lines(),
        grpc.ingest(library, "replace", "all", std::slice::from_ref(&body))
            .await
            .expect("lines")
            .as_array()
            .expect("lines")
            .clone(),
    ] {
        let failed = &lines[lines.len() - 2];
        assert_eq!((&failed["status"], &failed["error"]["type"]), (&json!("failed"), &json!(slug)));
        assert!(text(&failed["error"]["detail"]).contains(limit), "{failed}");
    }
    let id = "exists";
    let chunks = json!([{"text": "x", "embedding": [1, 1]}]);
    let ok = match library {
        "l" => json!({"id": id, "title": "t", "chunks": chunks}),
        _ => json!({"id": id, "title": "t", "texts": ["x"]}),
    };
    drop(http.create_document(library, ok, "").await);
    let mut patch = body;
    patch.as_object_mut().expect("an object").remove("id");
    let before = http.get_document(library, id).await;
    for outcome in [
        http.update_document(library, id, patch.clone(), None).await,
        grpc.update_document(library, id, patch.clone(), None).await,
    ] {
        names(&outcome.expect_err(limit), slug, limit);
    }
    assert_eq!(http.get_document(library, id).await, before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_a_document_are_named() {
    let (server, http, grpc) = limited(|limits| {
        limits.chunks_per_document_max = 3;
        limits.text_bytes_max = 100;
        limits.title_bytes_max = 10;
        limits.field_bytes_max = 20;
        limits.tags_per_document_max = 2;
        limits.tag_characters_max = 4;
        limits.metadata_bytes_max = 50;
        limits.metadata_levels_max = 2;
        limits.chunk_characters_target = 10;
    })
    .await;
    let long = |n: usize| "x".repeat(n);
    let chunk = json!({"text": "x", "embedding": [1, 1]});
    let too_large = "too-large";
    for (body, slug, limit, field) in [
        (
            json!({"title": "t", "texts": ["a", "b", "c", "d"]}),
            too_large,
            "chunks_per_document_max",
            "texts",
        ),
        (
            json!({"title": "t", "chunks": vec![chunk.clone(); 4]}),
            too_large,
            "chunks_per_document_max",
            "chunks",
        ),
        (
            json!({"title": "t", "text": "word word word word word word word word"}),
            too_large,
            "chunks_per_document_max",
            "text",
        ),
        (json!({"title": "t", "texts": ["a", long(101)]}), too_large, "text_bytes_max", "texts[1]"),
        (json!({"title": "t", "text": long(101)}), too_large, "text_bytes_max", "text"),
        (
            json!({"title": "t", "chunks": [{"text": long(101), "embedding": [1, 1]}]}),
            too_large,
            "text_bytes_max",
            "chunks[0]",
        ),
        (json!({"title": long(11), "texts": ["a"]}), too_large, "title_bytes_max", "title"),
        (
            json!({"title": "t", "author": long(21), "texts": ["a"]}),
            too_large,
            "field_bytes_max",
            "author",
        ),
        (
            json!({"title": "t", "document_type": long(21), "texts": ["a"]}),
            too_large,
            "field_bytes_max",
            "document_type",
        ),
        (
            json!({"title": "t", "source_url": long(21), "texts": ["a"]}),
            too_large,
            "field_bytes_max",
            "source_url",
        ),
        (
            json!({"title": "t", "tags": ["a", "b", "c"], "texts": ["a"]}),
            too_large,
            "tags_per_document_max",
            "tags",
        ),
        (
            json!({"title": "t", "tags": ["a", "äöüßx"], "texts": ["a"]}),
            too_large,
            "tag_characters_max",
            "tags[1]",
        ),
        (
            json!({"title": "t", "metadata": {"a": long(50)}, "texts": ["a"]}),
            too_large,
            "metadata_bytes_max",
            "metadata",
        ),
        (
            json!({"title": "t", "metadata": {"a": {"b": {"c": 1}}}, "texts": ["a"]}),
            "invalid-argument",
            "metadata_levels_max",
            "metadata",
        ),
        (
            json!({"title": "t", "chunks": [{"text": "x", "embedding": [1, 1],
            "metadata": {"a": long(50)}}]}),
            too_large,
            "metadata_bytes_max",
            "chunks[0].metadata",
        ),
    ] {
        document_refused(&http, &grpc, body, slug, limit, field).await;
    }
    let most = json!({"title": long(10), "author": long(20), "tags": ["äöüß", "b"],
        "metadata": {"a": {"b": 1}}, "texts": [long(100), "b", "c"]});
    http.create_document("texts", most, "").await.expect("all at their limits");
    let fault = http.search("texts", json!({"query": long(101)})).await.expect_err("too long");
    names(&fault, too_large, "text_bytes_max");
    let body = json!({"name": "n", "description": long(21)});
    names(
        &http.create_library(body.clone(), "").await.expect_err("long"),
        too_large,
        "field_bytes_max",
    );
    let outcome = grpc.update_library("l", json!({"description": long(21)}), None).await;
    names(&outcome.expect_err("long"), too_large, "field_bytes_max");
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_libraries_and_searches_are_named() {
    let (server, http, grpc) = limited(|limits| {
        limits.dimension_max = 256;
        limits.libraries_max = 3;
        limits.hits_per_reply_max = 5;
        limits.hits_per_stream_max = 8;
        limits.hits_default = 3;
        limits.queries_per_search_max = 2;
        limits.min_revision_wait_ms = 1;
        limits.batch_get_documents_max = 2;
        limits.page_size_default = 2;
        limits.page_size_max = 4;
        limits.events_per_page_max = 4;
    })
    .await;
    let wide = json!({"name": "w", "embedder": "none", "dimension": 257});
    names(
        &http.create_library(wide, "").await.expect_err("wide"),
        "invalid-argument",
        "dimension_max",
    );
    http.vectors("third", "dot", 256).await;
    for outcome in [
        http.create_library(json!({"name": "fourth"}), "").await,
        grpc.create_library(json!({"name": "fourth"}), "").await,
    ] {
        names(&outcome.expect_err("one too many"), "resource-exhausted", "libraries_max");
    }
    http.delete("/v1/libraries/third").await.ok();
    http.create_library(json!({"name": "fourth"}), "").await.expect("there is room again");

    let documents: Vec<Value> = (0..10)
        .map(|n| json!({"id": format!("{n}"), "title": "t", "chunks": [{"embedding": [1, n]}]}))
        .collect();
    http.ingest("l", "", ndjson(&documents)).await.lines();
    let query = |k: u32| json!({"embedding": [1, 1], "k": k});
    for (k, unary, streamed) in
        [(5, true, true), (6, false, true), (8, false, true), (9, false, false)]
    {
        for (ok, limit, outcome) in [
            (unary, "hits_per_reply_max", http.search("l", query(k)).await),
            (unary, "hits_per_reply_max", grpc.search("l", query(k)).await),
            (streamed, "hits_per_stream_max", http.stream_search("l", query(k)).await),
            (streamed, "hits_per_stream_max", grpc.stream_search("l", query(k)).await),
        ] {
            match (ok, outcome) {
                (true, outcome) => drop(outcome.expect("within the limit")),
                (false, outcome) => names(&outcome.expect_err("beyond"), "invalid-argument", limit),
            }
        }
    }
    let usual = http.search("l", json!({"embedding": [1, 1]})).await.expect("hits");
    assert_eq!(usual["total_results"], 3);
    let three = json!({"queries": vec![json!({"embedding": [1, 1]}); 3]});
    for outcome in [http.search("l", three.clone()).await, grpc.search("l", three.clone()).await] {
        names(&outcome.expect_err("three"), "too-large", "queries_per_search_max");
    }
    let request = pb::BatchGetDocumentsRequest {
        library_id: "l".into(),
        document_ids: vec!["1".into(), "2".into(), "3".into()],
        ..Default::default()
    };
    let refused = grpc.documents.clone().batch_get_documents(request).await.expect_err("three");
    names(&grpc_wire::fault(&refused), "too-large", "batch_get_documents_max");
    let late = http.get("/v1/libraries/l?min_revision=1000").await.fault();
    names(&late, "deadline-exceeded", "min_revision");

    // A page that is asked for too large is as large as may be (AIP-158).
    for (asked, given) in [(0, 2), (3, 3), (4, 4), (100, 4)] {
        let page = http.list_documents("l", asked, "", false).await.expect("a page");
        assert_eq!(page["documents"].as_array().expect("a list").len(), given);
        assert_eq!(grpc.list_documents("l", asked, "", false).await, Ok(page));
        let page = http.list_events(&EventsQuery::from("begin"), asked).await.expect("a page");
        assert_eq!(page["events"].as_array().expect("a list").len(), given);
    }
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_too_large_for_one_piece_is_refused_by_name() {
    let (server, http, grpc) = limited(|limits| limits.message_bytes_max = 10_000).await;
    let long = json!({"id": "d", "title": "t", "texts": ["x".repeat(10_000)]});
    let path = "/v1/libraries/texts/documents";
    names(&http.post(path, long.clone()).await.fault(), "too-large", "message_bytes_max");
    let pieces = futures::stream::iter(vec!["x".repeat(6_000); 2]).map(Ok::<_, std::io::Error>);
    let request = http.request("POST", path).body(reqwest::Body::wrap_stream(pieces));
    names(&http.send(request).await.fault(), "too-large", "message_bytes_max");
    names(
        &http.patch("/v1/libraries/l", long.clone()).await.fault(),
        "too-large",
        "message_bytes_max",
    );
    let search = json!({"query": "x".repeat(10_000)});
    for path in ["/v1/libraries/texts/search", "/v1/libraries/texts/search/stream"] {
        names(&http.post(path, search.clone()).await.fault(), "too-large", "message_bytes_max");
    }
    // An answer is bounded as a request is; a stream of the same is not.
    let documents: Vec<Value> = (0..20)
        .map(|n| json!({"title": "t", "chunks": [{"text": "x".repeat(900), "embedding": [1, n]}]}))
        .collect();
    http.ingest("l", "", ndjson(&documents)).await.lines();
    let query = json!({"embedding": [1, 1], "k": 20});
    let over_http = http.search("l", query.clone()).await;
    names(over_http.as_ref().expect_err("large"), "too-large", "message_bytes_max");
    assert_eq!(grpc.search("l", query.clone()).await, over_http);
    let streamed = http.stream_search("l", query.clone()).await.expect("hits");
    assert_eq!(streamed.as_array().expect("lines").len(), 21);
    assert_eq!(grpc.stream_search("l", query).await, Ok(streamed));
    // A long line fails alone.
    let short = json!({"id": "s", "title": "t", "texts": ["x"]});
    let lines =
        http.ingest("texts", "", ndjson(&[short.clone(), long.clone(), short])).await.lines();
    let failed = lines.iter().find(|line| line["status"] == "failed").expect("one");
    assert_eq!((&failed["line"], &failed["error"]["type"]), (&json!(2), &json!("too-large")));
    assert!(text(&failed["error"]["detail"]).contains("message_bytes_max"), "{failed}");
    let summary = lines.last().expect("a summary");
    assert_eq!((&summary["total_succeeded"], &summary["total_failed"]), (&json!(2), &json!(1)));

    // Over gRPC the protocol leaves no choice but to end the stream, saying why.
    let fault = grpc
        .ingest("texts", "replace", "all", std::slice::from_ref(&long))
        .await
        .expect_err("long");
    names(&fault, "too-large", "message_bytes_max");
    let unary = pb::CreateDocumentRequest {
        library_id: "texts".into(),
        document: Some(grpc_wire::input(&long)),
        ..Default::default()
    };
    let refused = grpc.documents.clone().create_document(unary).await.expect_err("long");
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "tonic refuses it before us: {refused:?}");
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_is_told_to_come_later() {
    let (server, http, grpc) = limited(|limits| {
        limits.ingest_streams_max = 1;
        limits.subscriptions_max = 2;
    })
    .await;
    let (first, second) = (http.follow("").await, http.follow("").await);
    for outcome in [
        http.subscribe(&EventsQuery::from("now"), 0).await,
        grpc.subscribe(&EventsQuery::from("now"), 0).await,
    ] {
        names(&outcome.expect_err("one too many"), "resource-exhausted", "subscriptions_max");
    }
    drop(first);
    eventually("a place is free again", async || {
        http.subscribe(&EventsQuery::from("now"), 0).await.ok().map(drop)
    })
    .await;
    drop(second);

    let (sender, documents) = tokio::sync::mpsc::channel::<Value>(1);
    let documents = tokio_stream::wrappers::ReceiverStream::new(documents);
    let messages = ingest_messages("l", "replace", "all", documents);
    let mut client = grpc.documents.clone();
    let mut replies = client.stream_ingest_documents(messages).await.expect("open").into_inner();
    let item = json!({"title": "t", "chunks": [{"embedding": [1, 1]}]});
    for fault in [
        http.ingest("l", "", ndjson(std::slice::from_ref(&item))).await.fault(),
        grpc.ingest("l", "replace", "all", std::slice::from_ref(&item)).await.expect_err("busy"),
    ] {
        names(&fault, "resource-exhausted", "ingest_streams_max");
        assert_eq!(fault.retry_after_ms, Some(1_000));
    }
    sender.send(item.clone()).await.expect("the stream is open");
    drop(sender);
    let mut last = None;
    while let Some(reply) = in_time("a status", replies.next()).await {
        last = Some(grpc_wire::status(&reply.expect("no fault")));
    }
    assert_eq!(last.expect("a summary")["total_succeeded"], 1);
    eventually("the place is free again", async || {
        let reply = http.ingest("l", "", ndjson(std::slice::from_ref(&item))).await;
        (reply.status == 200).then_some(())
    })
    .await;
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_ingest_is_closed_by_name() {
    let (server, http, grpc) = limited(|limits| limits.ingest_idle_ms = 50).await;
    let item = json!({"title": "t", "chunks": [{"embedding": [1, 1]}]});
    let first = ndjson(std::slice::from_ref(&item));
    let body = futures::stream::iter([Ok::<_, std::io::Error>(first)]);
    let body = reqwest::Body::wrap_stream(body.chain(futures::stream::pending()));
    let lines = http.ingest("l", "", body).await.lines();
    let end = lines.last().expect("a last line");
    assert_eq!(
        (&end["status"], &end["error"]["type"]),
        (&json!("error"), &json!("deadline-exceeded"))
    );
    assert!(text(&end["error"]["detail"]).contains("ingest_idle_ms"), "{end}");
    assert_eq!(lines[1]["status"], "completed", "what was sent is written");

    let documents = futures::stream::iter([item]).chain(futures::stream::pending());
    let messages = ingest_messages("l", "replace", "all", documents);
    let mut client = grpc.documents.clone();
    let mut replies = client.stream_ingest_documents(messages).await.expect("open").into_inner();
    let fault = loop {
        match in_time("the end", replies.next()).await.expect("an end with a status") {
            Ok(_) => {}
            Err(status) => break grpc_wire::fault(&status),
        }
    };
    names(&fault, "deadline-exceeded", "ingest_idle_ms");
    let failed = http.events("begin", "&event_types=batch.failed").await;
    assert_eq!(failed.len(), 2);
    for event in failed {
        assert_eq!((&event["reason"], &event["total_succeeded"]), (&json!("stalled"), &json!(1)));
    }
    drop((http, grpc));
    server.stop().await;
}
