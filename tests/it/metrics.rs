//! `/metrics` says what happened, and says the same as the statistics.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{DEADLINE, Server, eventually, repository};

/// The samples of a scrape.
async fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let response = server.http.get(server.url("/metrics")).send().await.expect("sent");
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = response.text().await.expect("text");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// The document names every metric that there is.
fn assert_documented(samples: &BTreeMap<String, f64>) {
    let document = std::fs::read_to_string(repository("docs/METRICS.md")).expect("readable");
    for name in samples.keys() {
        let name = name.split('{').next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let name = family.unwrap_or(name);
        assert!(document.contains(&format!("`{name}")), "{name} is not in docs/METRICS.md");
    }
}

async fn post(server: &Server, path: &str, body: &Value) -> u16 {
    let reply = server.http.post(server.url(path)).json(body).send().await.expect("sent");
    let status = reply.status().as_u16();
    reply.bytes().await.expect("a body");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_and_agree_with_statistics() {
    let server = Server::start().await;
    let fresh = scrape(&server).await;
    for name in ["arrwdb_events_published_total", "arrwdb_commit_changes_count"] {
        assert_eq!(fresh[name], 0.0, "{name}");
    }
    let new = json!({"name": "notes", "embedder": "none", "dimension": 2, "metric": "l2"});
    assert_eq!(post(&server, "/v1/libraries", &new).await, 201);
    let subscribe = server.url("/v1/events/stream?cursor=begin");
    let mut stream = server.http.get(subscribe).send().await.expect("sent").bytes_stream();
    let line = |n: u32| {
        let chunk = json!({"text": "x", "embedding": [n, 1]});
        json!({"id": format!("d{n}"), "title": "T", "chunks": [chunk]}).to_string() + "\n"
    };
    let lines = [line(1), line(2), "no JSON\n".to_owned(), line(3)].concat();
    let path = "/v1/libraries/notes/documents/stream?on_conflict=skip";
    for _ in 0..2 {
        let sent = server.http.post(server.url(path)).body(lines.clone()).send().await;
        sent.expect("sent").bytes().await.expect("all statuses");
    }
    let search = json!({"queries": [{"embedding": [1, 1]}, {"embedding": [2, 1]}]});
    assert_eq!(post(&server, "/v1/libraries/notes/search", &search).await, 200);
    assert_eq!(post(&server, "/v1/libraries/notes/search", &json!({"embedding": [1]})).await, 400);

    // One library, twice the begin and the end of a batch, three documents with a chunk each.
    let published = 1 + 2 * 2 + 3 * 2;
    let mut text = String::new();
    while text.matches("event: ").count() - text.matches("event: heartbeat").count() < published {
        let piece = tokio::time::timeout(DEADLINE, stream.next()).await.expect("in time");
        text += std::str::from_utf8(&piece.expect("open").expect("read")).expect("UTF-8");
    }
    let published = published as f64;
    let samples = eventually("what was delivered is counted", async || {
        let samples = scrape(&server).await;
        (samples["arrwdb_events_delivered_total"] >= published).then_some(samples)
    })
    .await;
    for (name, value) in [
        ("arrwdb_events_published_total", published),
        ("arrwdb_events_delivered_total", published),
        ("arrwdb_subscription_errors_total", 0.0),
        ("arrwdb_subscribers", 1.0),
        ("arrwdb_subscriber_pending_events", 0.0),
        ("arrwdb_subscriber_lag_revisions_max", 0.0),
        ("arrwdb_subscriber_lag_max_seconds", 0.0),
        // Library, two batches' begins and ends, three documents: each change in one commit.
        ("arrwdb_commit_changes_sum", 1.0 + 4.0 + 3.0),
        ("arrwdb_ingest_items_total{outcome=\"succeeded\"}", 3.0),
        ("arrwdb_ingest_items_total{outcome=\"skipped\"}", 3.0),
        ("arrwdb_ingest_items_total{outcome=\"failed\"}", 2.0),
        ("arrwdb_ingest_stream_seconds_count", 2.0),
        ("arrwdb_ingest_streams_open", 0.0),
        ("arrwdb_search_seconds_count", 1.0),
        ("arrwdb_search_queries_total", 2.0),
        ("arrwdb_search_failures_total", 1.0),
        ("arrwdb_tail_revision", 8.0),
        ("arrwdb_ready", 1.0),
    ] {
        assert_eq!(samples[name], value, "{name}");
    }
    let commits = samples["arrwdb_commit_changes_count"];
    assert!(commits > 0.0 && commits == samples["arrwdb_commit_seconds_count"]);
    assert!(samples["arrwdb_feed_window_reads_total"] > 0.0);
    if cfg!(target_os = "linux") {
        assert!(samples["arrwdb_process_resident_bytes"] > 1e6);
    }

    let statistics = server.http.get(server.url("/v1/events/statistics")).send().await;
    let statistics: Value = statistics.expect("sent").json().await.expect("JSON");
    for (name, field) in [
        ("arrwdb_events_published_total", "total_published"),
        ("arrwdb_events_delivered_total", "total_delivered"),
        ("arrwdb_subscription_errors_total", "total_errors"),
        ("arrwdb_subscribers", "subscriber_count"),
        ("arrwdb_log_bytes", "log_bytes"),
    ] {
        assert_eq!(Some(samples[name]), statistics[field].as_f64(), "{name}");
    }
    for (name, field) in
        [("arrwdb_tail_revision", "tail_revision"), ("arrwdb_floor_revision", "floor_revision")]
    {
        assert_eq!(Some(samples[name].to_string().as_str()), statistics[field].as_str(), "{name}");
    }

    assert_documented(&samples);
    drop(stream);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_the_past_are_served_from_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::open(folder.path(), |_| {}).await;
    assert_eq!(post(&server, "/v1/libraries", &json!({"name": "notes"})).await, 201);
    server.stop().await;
    // The window begins empty: what was before the start is in the log only.
    let server = Server::open(folder.path(), |_| {}).await;
    let before = scrape(&server).await["arrwdb_feed_log_reads_total"];
    let page = server.http.get(server.url("/v1/events")).send().await.expect("sent");
    let page: Value = page.json().await.expect("JSON");
    assert_eq!(page["events"].as_array().map(Vec::len), Some(1));
    let after = scrape(&server).await;
    assert_eq!(after["arrwdb_feed_log_reads_total"], before + 1.0);
    assert_eq!(after["arrwdb_feed_window_reads_total"], 0.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_consumers_lack_and_what_is_trimmed_is_told() {
    let server = Server::start_with(|s| {
        s.limits.log_piece_bytes_target = 4_000;
        s.limits.retention_bytes_max = 12_000;
        s.limits.retention_interval_ms = 1;
    })
    .await;
    let fresh = scrape(&server).await;
    for name in ["consumers", "consumers_expired", "consumer_acknowledgements_total"] {
        assert_eq!(fresh[&format!("arrwdb_{name}")], 0.0, "{name}");
    }
    let trims = |samples: &BTreeMap<String, f64>| {
        [samples["arrwdb_log_trims_total"], samples["arrwdb_log_trimmed_bytes_total"]]
    };
    assert_eq!(trims(&fresh), [0.0; 2]);
    for name in ["slow", "quick"] {
        let new = json!({"name": name, "cursor": "begin"});
        assert_eq!(post(&server, "/v1/consumers", &new).await, 201);
    }
    let new = json!({"name": "l", "embedder": "none", "dimension": 2, "metric": "l2"});
    assert_eq!(post(&server, "/v1/libraries", &new).await, 201);
    assert_eq!(post(&server, "/v1/libraries", &json!({"name": "m"})).await, 201);
    let pull = server.url("/v1/consumers/quick/pull");
    let pulled: Value =
        server.http.post(pull).send().await.expect("sent").json().await.expect("JSON");
    let first = json!({"generation": pulled["generation"], "cursor": pulled["events"][0]["id"]});
    assert_eq!(post(&server, "/v1/consumers/quick/acknowledge", &first).await, 200);
    let samples = scrape(&server).await;
    for (name, value) in [
        ("arrwdb_consumers", 2.0),
        ("arrwdb_consumers_expired", 0.0),
        ("arrwdb_consumer_lag_revisions{consumer=\"slow\"}", 2.0),
        ("arrwdb_consumer_lag_revisions{consumer=\"quick\"}", 1.0),
        ("arrwdb_consumer_acknowledgements_total", 1.0),
    ] {
        assert_eq!(samples[name], value, "{name}");
    }
    let lag = |name: &str| samples[&format!("arrwdb_consumer_lag_seconds{{consumer=\"{name}\"}}")];
    assert!(lag("slow") >= lag("quick") && lag("quick") > 0.0);

    // Past twice what is kept nobody holds it.
    let samples = eventually("both are expired", async || {
        let chunk = json!({"text": "x".repeat(500), "embedding": [1, 1]});
        let document = json!({"title": "T", "chunks": [chunk]});
        assert_eq!(post(&server, "/v1/libraries/l/documents", &document).await, 201);
        let samples = scrape(&server).await;
        // The floor moves before the trim is counted.
        let is_counted = trims(&samples)[0] >= 1.0;
        (samples["arrwdb_consumers_expired"] == 2.0 && is_counted).then_some(samples)
    })
    .await;
    let [times, bytes] = trims(&samples);
    assert!(times >= 1.0 && bytes > 0.0, "{times} trims, {bytes} bytes");
    assert!(samples["arrwdb_floor_revision"] > 2.0);
    assert_documented(&samples);
    server.stop().await;
}
