//! Search: exact by the naive measure, and always of what was acknowledged.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::grpc_wire::Grpc;
use crate::harness::Server;
use crate::wire::{Http, Wire, ndjson, revision, text};

/// The distance of a metric in double precision, straight from its definition.
fn naive(metric: &str, a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    match metric {
        "cosine" => 1.0 - dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt()),
        "dot" => -dot(a, b),
        "l2" => a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt(),
        other => panic!("no metric {other}"),
    }
}

fn vector(rng: &mut ChaCha8Rng, dimension: usize) -> Vec<f64> {
    // Singles shown as doubles, so that the server gets exactly these numbers.
    (0..dimension).map(|_| f64::from(rng.random_range(-1.0_f32..1.0))).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * (1.0 + a.abs())
}

fn hits(answer: &Value) -> &Vec<Value> {
    answer["results"].as_array().expect("hits")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// Checks hits against the naive ranking of `live` (chunk text → vector).
fn check(metric: &str, query: &[f64], live: &HashMap<String, Vec<f64>>, found: &[Value], k: usize) {
    let mut expected: Vec<f64> = live.values().map(|v| naive(metric, query, v)).collect();
    expected.sort_by(f64::total_cmp);
    assert_eq!(found.len(), k.min(live.len()));
    let mut seen = std::collections::HashSet::new();
    let mut score_before = f64::INFINITY;
    for (place, hit) in found.iter().enumerate() {
        let name = text(&hit["text"]);
        let vector = live.get(&name).unwrap_or_else(|| panic!("{name} is not there any more"));
        assert!(seen.insert(name), "twice: {hit}");
        let (distance, score) = (number(&hit["distance"]), number(&hit["score"]));
        assert_eq!(hit["rank"], json!(place + 1));
        assert!(close(naive(metric, query, vector), distance), "{metric}: {hit}");
        assert!(close(expected[place], distance), "{metric} {place}: {} {hit}", expected[place]);
        let of_distance = if metric == "cosine" { 1.0 - distance } else { -distance };
        assert!(close(score, of_distance), "{metric}: {hit}");
        assert!(score <= score_before, "the score increases: {hit}");
        score_before = score;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn search_equals_a_naive_ranking_in_every_metric() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    for (seed, metric) in ["cosine", "dot", "l2"].into_iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        let dimension = 19;
        http.vectors(metric, metric, dimension).await;
        let mut live = HashMap::new();
        let chunk = |name: String, rng: &mut ChaCha8Rng, live: &mut HashMap<_, _>| {
            let vector = vector(rng, dimension);
            live.insert(name.clone(), vector.clone());
            json!({"text": name, "embedding": vector})
        };
        let mut documents = Vec::new();
        for n in 0..300 {
            let chunks: Vec<Value> =
                (0..3).map(|c| chunk(format!("{n}.{c}"), &mut rng, &mut live)).collect();
            documents.push(json!({"id": format!("d{n}"), "title": "t", "chunks": chunks}));
        }
        http.ingest(metric, "", ndjson(&documents)).await.lines();
        for n in (0..300).step_by(7) {
            http.delete(&format!("/v1/libraries/{metric}/documents/d{n}")).await.ok();
            (0..3).for_each(|c| drop(live.remove(&format!("{n}.{c}"))));
        }
        for n in (1..300).step_by(7) {
            (0..3).for_each(|c| drop(live.remove(&format!("{n}.{c}"))));
            let chunks = [chunk(format!("{n} new"), &mut rng, &mut live)];
            let path = format!("/v1/libraries/{metric}/documents/d{n}");
            http.patch(&path, json!({"chunks": chunks})).await.ok();
        }
        for k in [1, 7, 100, 1_000] {
            let query = vector(&mut rng, dimension);
            let body = json!({"embedding": query, "k": k});
            let over_http = http.search(metric, body.clone()).await.expect("hits");
            check(metric, &query, &live, hits(&over_http), k);
            assert_eq!(Ok(over_http), grpc.search(metric, body.clone()).await);
            let mut lines = http.stream_search(metric, body).await.expect("hits");
            let lines = lines.as_array_mut().expect("lines");
            let end = lines.pop().expect("a last line");
            assert_eq!(
                (&end["status"], &end["total_results"]),
                (&json!("complete"), &json!(lines.len()))
            );
            check(metric, &query, &live, lines, k);
        }
        // A threshold between two neighbours takes exactly those below.
        let query = vector(&mut rng, dimension);
        let mut distances: Vec<f64> = live.values().map(|v| naive(metric, &query, v)).collect();
        distances.sort_by(f64::total_cmp);
        let at = (20..).find(|at| distances[at + 1] - distances[*at] > 1e-3).expect("a gap");
        let threshold = f64::midpoint(distances[at], distances[at + 1]);
        let body = json!({"embedding": query, "k": 1_000, "distance_threshold": threshold});
        let found = http.search(metric, body).await.expect("hits");
        check(metric, &query, &live, hits(&found), at + 1);
        assert_eq!(found["total_results"], json!(at + 1));
    }
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hits_are_streamed_in_order() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    http.vectors("l", "l2", 2).await;
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut live = HashMap::new();
    let documents: Vec<Value> = (0..11)
        .map(|d| {
            let chunks = (0..1_000).map(|c| {
                let (name, vector) = (format!("{d}.{c}"), vector(&mut rng, 2));
                live.insert(name.clone(), vector.clone());
                json!({"text": name, "embedding": vector})
            });
            json!({"title": "t", "chunks": chunks.collect::<Vec<_>>()})
        })
        .collect();
    let answer = http.ingest("l", "?report=summary", ndjson(&documents)).await.lines();
    assert_eq!(answer[0]["total_chunks"], 11_000);
    let query = vec![0.25, -0.5];
    let body = json!({"embedding": query, "k": 10_000});
    let over_http = http.stream_search("l", body.clone()).await.expect("hits");
    let lines = over_http.as_array().expect("lines");
    check("l2", &query, &live, &lines[..10_000], 10_000);
    assert_eq!(lines[10_000]["total_results"], 10_000);
    assert_eq!(lines.len(), 10_001);
    assert_eq!(grpc.stream_search("l", body).await.as_ref(), Ok(&over_http));
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_found_at_once_and_what_was_deleted_never_again() {
    let server = Server::start().await;
    let (http, grpc) = (Http::of(&server), Grpc::of(&server).await);
    http.vectors("l", "l2", 2).await;
    let writer = |w: u32| {
        let (http, grpc) = (http.clone(), grpc.clone());
        async move {
            for n in 0..40 {
                let place = [f64::from(w), f64::from(n)];
                let body = json!({"id": format!("{w}.{n}"), "title": "t",
                    "chunks": [{"text": "x", "embedding": place}]});
                let written = if n % 2 == 0 {
                    http.create_document("l", body, "").await
                } else {
                    grpc.create_document("l", body, "").await
                };
                let written = written.expect("written");
                let query = json!({"embedding": place, "k": 1, "distance_threshold": 0.5});
                let mut at = query.clone();
                at["min_revision"] = written["revision"].clone();
                for found in [grpc.search("l", query.clone()).await, http.search("l", at).await] {
                    let found = found.expect("hits");
                    assert_eq!(hits(&found)[0]["document_id"], written["id"]);
                    assert!(revision(&found["revision"]) >= revision(&written["revision"]));
                }
                if n % 3 == 0 {
                    let id = text(&written["id"]);
                    http.delete_document("l", &id, None).await.expect("deleted");
                    let found = grpc.search("l", query).await.expect("an answer");
                    assert_eq!(found["total_results"], 0, "{id} was deleted");
                }
            }
        }
    };
    futures::future::join_all((0..8).map(writer)).await;
    let all = http.search("l", json!({"embedding": [0, 0], "k": 1_000})).await.expect("hits");
    assert_eq!(all["total_results"], 8 * 26);
    drop((http, grpc));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_without_an_embedder_refuses_texts_and_says_what_to_do() {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.vectors("own", "cosine", 3).await;
    let path = "/v1/libraries/own/documents";
    for (body, field) in [
        (json!({"title": "t", "texts": ["a", "b"]}), "texts[0]"),
        (json!({"title": "t", "text": "a"}), "text"),
        (
            json!({"title": "t", "chunks": [{"text": "a", "embedding": [1, 2, 3]}, {"text": "b"}]}),
            "chunks[1]",
        ),
    ] {
        let fault = http.post(path, body).await.fault();
        assert_eq!(
            (fault.slug.as_str(), fault.violations[0].0.as_str()),
            ("invalid-argument", field)
        );
        assert!(fault.detail.contains("`embedding`"), "{}", fault.detail);
    }
    let fault = http.search("own", json!({"query": "a"})).await.expect_err("no embedder");
    assert_eq!(fault.violations[0].0, "query");
    assert!(fault.detail.contains("`embedding`"), "{}", fault.detail);

    // A library with an embedder takes a client's own vectors too, beside texts.
    http.post("/v1/libraries", json!({"name": "mixed"})).await.ok();
    let mut vector = vec![0.0; 256];
    vector[0] = 1.0;
    let body = json!({"title": "t",
        "chunks": [{"text": "a wading bird"}, {"text": "elsewhere", "embedding": vector}]});
    http.post("/v1/libraries/mixed/documents", body).await.ok();
    let by_text = http.search("mixed", json!({"query": "a wading bird", "k": 1})).await;
    let by_text = by_text.expect("a hit");
    assert_eq!(hits(&by_text)[0]["text"], "a wading bird");
    assert!(number(&hits(&by_text)[0]["distance"]).abs() < 1e-5);
    let by_vector = http.search("mixed", json!({"embedding": vector, "k": 1})).await;
    assert_eq!(hits(&by_vector.expect("a hit"))[0]["text"], "elsewhere");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_search_have_golden_bytes() {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.vectors("l", "dot", 2).await;
    let body = json!({"id": "d", "title": "T", "metadata": {"a": 1, "b": 1}, "chunks": [
        {"text": "near", "embedding": [2, 0.25], "metadata": {"b": 2}},
        {"text": "far", "embedding": [-1, 0]}]});
    let document = http.post("/v1/libraries/l/documents", body).await.ok();
    let ids: Vec<_> = (0..2).map(|n| text(&document["chunks"][n]["id"])).collect();
    let path = "/v1/libraries/l/search/stream";
    let expected = format!(
        concat!(
            r#"{{"rank":1,"chunk_id":"{}","document_id":"d","score":2.25,"distance":-2.25,"text":"near","title":"T","metadata":{{"a":1,"b":2}}}}"#,
            "\n",
            r#"{{"rank":2,"chunk_id":"{}","document_id":"d","score":-1.0,"distance":1.0,"text":"far","title":"T","metadata":{{"a":1,"b":1}}}}"#,
            "\n",
            r#"{{"status":"complete","total_results":2,"revision":"2"}}"#,
            "\n"
        ),
        ids[0], ids[1]
    );
    let by_body = http.post(path, json!({"embedding": [1, 1], "k": 5})).await;
    assert_eq!(by_body.text(), expected);
    assert_eq!(by_body.header("content-type"), Some("application/x-ndjson"));
    let request = http.request("POST", &format!("{path}?embedding=1,1&k=5"));
    assert_eq!(http.send(request).await.text(), expected);
    let without =
        http.post(&format!("{path}?include_text=false"), json!({"embedding": [1, 1]})).await;
    assert!(without.lines().iter().all(|line| line.get("text").is_none()));
    let both = http.post(&format!("{path}?k=3"), json!({"embedding": [1, 1], "k": 3})).await;
    assert_eq!(both.fault().violations[0].0, "k");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_a_listed_query_names_its_place_even_when_it_is_the_only_one() {
    let server = Server::start().await;
    let http = Http::of(&server);
    http.vectors("l", "dot", 2).await;
    let grpc = Grpc::of(&server).await;
    let query = |k: u32| json!({"embedding": [1, 1], "k": k});
    let filtered = |filter: &str| json!({"embedding": [1, 1], "filter": filter});
    for (body, field) in [
        (filtered("x"), "filter"),
        (json!({"queries": [filtered("true"), filtered("chunk.index <")]}), "queries[1].filter"),
        (json!({"queries": [query(1)], "filter": "event.type == \"x\""}), "filter"),
        (query(0), "k"),
        (json!({"queries": [query(0)]}), "queries[0].k"),
        (json!({"queries": [query(1), query(0)]}), "queries[1].k"),
    ] {
        for outcome in [http.search("l", body.clone()).await, grpc.search("l", body.clone()).await]
        {
            assert_eq!(outcome.expect_err("no hits").violations[0].0, field);
        }
    }
    server.stop().await;
}
