//! The engine in numbers, for Prometheus: counted where things happen, read by [`Engine::metrics`].
//!
//! Counting is one atomic addition, or one short lock for a histogram, once for a commit, a search or
//! a stream, never once for an event. What statistics know already is not counted twice: it is
//! read when the numbers are asked for.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::changes::EventStatistics;
use super::consumers::ConsumerView;
use super::state::Published;
use super::{Engine, ReadAt};
use crate::types::{BatchCounts, Error, Result};

/// What is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    commit_changes: Histogram,
    commit_seconds: Histogram,
    window_reads: Counter,
    log_reads: Counter,
    shared_reads: Counter,
    encode_seconds: Counter<f64, AtomicU64>,
    delivered_bytes: Counter,
    stalled_clients: Counter,
    ingest_items: Family<[(&'static str, &'static str); 1], Counter>,
    ingest_stream_seconds: Histogram,
    ingest_streams_open: Gauge,
    search_seconds: Histogram,
    search_queries: Counter,
    search_failures: Counter,
    trims: Counter,
    trimmed_bytes: Counter,
    acknowledgements: Counter,
    index_build_seconds: Histogram,
    index_built_rows: Counter,
    index_build_failures: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        // From 50 µs, a fast search, to over 10 s.
        let seconds = || Histogram::new(exponential_buckets(50e-6, 2.0, 18));
        Self {
            commit_changes: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: seconds(),
            window_reads: Counter::default(),
            log_reads: Counter::default(),
            shared_reads: Counter::default(),
            encode_seconds: Counter::default(),
            delivered_bytes: Counter::default(),
            stalled_clients: Counter::default(),
            ingest_items: Family::default(),
            // From 1 ms to over an hour.
            ingest_stream_seconds: Histogram::new(exponential_buckets(1e-3, 4.0, 12)),
            ingest_streams_open: Gauge::default(),
            search_seconds: seconds(),
            search_queries: Counter::default(),
            search_failures: Counter::default(),
            trims: Counter::default(),
            trimmed_bytes: Counter::default(),
            acknowledgements: Counter::default(),
            // From 0.1 s to over an hour.
            index_build_seconds: Histogram::new(exponential_buckets(0.1, 3.0, 11)),
            index_built_rows: Counter::default(),
            index_build_failures: Counter::default(),
        }
    }

    /// A commit of so many changes that began then and is published.
    #[expect(clippy::cast_precision_loss, reason = "a commit has far less than 2^52 changes")]
    pub(super) fn committed(&self, changes: usize, began: Instant) {
        self.commit_changes.observe(changes as f64);
        self.commit_seconds.observe(began.elapsed().as_secs_f64());
    }

    /// A graph of so many rows was built.
    pub(super) fn built(&self, rows: usize, began: Instant) {
        self.index_build_seconds.observe(began.elapsed().as_secs_f64());
        self.index_built_rows.inc_by(rows as u64);
    }

    /// A graph could not be built.
    pub(super) fn build_failed(&self) {
        self.index_build_failures.inc();
    }

    /// A reader was served from the window of the newest changes.
    pub(super) fn read_window(&self) {
        self.window_reads.inc();
    }

    /// A reader was served from the log.
    pub(super) fn read_log(&self) {
        self.log_reads.inc();
    }

    /// A reader was served what another had just read from the log.
    pub(super) fn read_shared(&self) {
        self.shared_reads.inc();
    }

    /// Events were written in a format, for all readers.
    pub(super) fn encoded(&self, began: Instant) {
        self.encode_seconds.inc_by(began.elapsed().as_secs_f64());
    }

    /// Bytes of events were handed to a client's connection.
    pub(super) fn delivered(&self, bytes: usize) {
        self.delivered_bytes.inc_by(bytes as u64);
    }

    /// A client was cut because it took nothing.
    pub(super) fn stalled(&self) {
        self.stalled_clients.inc();
    }

    /// An ingest stream began.
    pub(super) fn ingest_began(&self) {
        self.ingest_streams_open.inc();
    }

    /// An ingest stream ended.
    pub(super) fn ingest_ended(&self, counts: &BatchCounts, took: Duration) {
        self.ingest_streams_open.dec();
        self.ingest_stream_seconds.observe(took.as_secs_f64());
        let outcomes = [
            ("succeeded", counts.succeeded),
            ("failed", counts.failed),
            ("skipped", counts.skipped),
        ];
        for (outcome, number) in outcomes {
            self.ingest_items.get_or_create(&[("outcome", outcome)]).inc_by(number);
        }
    }

    /// A search of so many queries that began then has its ranking.
    pub(super) fn searched(&self, queries: usize, began: Instant) {
        self.search_queries.inc_by(queries as u64);
        self.search_seconds.observe(began.elapsed().as_secs_f64());
    }

    /// A search was refused or failed.
    pub(super) fn search_failed(&self) {
        self.search_failures.inc();
    }

    /// The log's floor moved, which freed so much.
    pub(super) fn trimmed(&self, bytes: u64) {
        self.trims.inc();
        self.trimmed_bytes.inc_by(bytes);
    }

    /// A durable consumer's owner acknowledged, durably.
    pub(super) fn acknowledged(&self) {
        self.acknowledgements.inc();
    }

    /// With what the statistics and the consumers know, as OpenMetrics text.
    fn to_text(
        &self,
        statistics: &EventStatistics,
        consumers: &[ConsumerView],
        state: &Published,
    ) -> Result<String> {
        let mut registry = Registry::with_prefix("arrwdb");
        self.register(&mut registry);
        register_feed(&mut registry, statistics);
        register_consumers(&mut registry, consumers);
        register_indexes(&mut registry, state);
        if let Some(bytes) = resident_bytes() {
            let gauge: ConstGauge<u64> = ConstGauge::new(bytes);
            let help = "Memory of the process that is in RAM";
            registry.register_with_unit("process_resident", help, Unit::Bytes, gauge);
        }
        let mut text = String::new();
        encode(&mut text, &registry)
            .map_err(|error| Error::internal(format!("metrics could not be written: {error}")))?;
        Ok(text)
    }

    fn register(&self, to: &mut Registry) {
        to.register("commit_changes", "Changes in a commit", self.commit_changes.clone());
        let help = "Time from the begin of an append to its publication";
        to.register_with_unit("commit", help, Unit::Seconds, self.commit_seconds.clone());
        let help = "Reads of the feed served from the window of the newest changes";
        to.register("feed_window_reads", help, self.window_reads.clone());
        let help = "Reads of the feed served from the log";
        to.register("feed_log_reads", help, self.log_reads.clone());
        let help = "Reads of the feed served from what was just read from the log for another";
        to.register("feed_shared_reads", help, self.shared_reads.clone());
        let help = "Time spent on writing events in a transport's format";
        let took = self.encode_seconds.clone();
        to.register_with_unit("feed_encode", help, Unit::Seconds, took);
        let help = "Bytes of events handed to clients' connections";
        let bytes = self.delivered_bytes.clone();
        to.register_with_unit("events_delivered", help, Unit::Bytes, bytes);
        let help = "Clients that were cut because they took nothing";
        to.register("stalled_clients", help, self.stalled_clients.clone());
        let help = "Items of ended ingest streams, by what became of them";
        to.register("ingest_items", help, self.ingest_items.clone());
        let help = "Time that ended ingest streams were open";
        let took = self.ingest_stream_seconds.clone();
        to.register_with_unit("ingest_stream", help, Unit::Seconds, took);
        let help = "Ingest streams that are open";
        to.register("ingest_streams_open", help, self.ingest_streams_open.clone());
        let help = "Time from a search's request to its ranking";
        to.register_with_unit("search", help, Unit::Seconds, self.search_seconds.clone());
        let help = "Queries that were answered; a search has one or more";
        to.register("search_queries", help, self.search_queries.clone());
        let help = "Searches that were refused or failed";
        to.register("search_failures", help, self.search_failures.clone());
        let help = "Times that old changes were dropped from the log";
        to.register("log_trims", help, self.trims.clone());
        let help = "Bytes of log that were dropped";
        to.register_with_unit("log_trimmed", help, Unit::Bytes, self.trimmed_bytes.clone());
        let help = "Acknowledgements of durable consumers, each durable";
        to.register("consumer_acknowledgements", help, self.acknowledgements.clone());
        let help = "Time that the building of a graph took";
        let took = self.index_build_seconds.clone();
        to.register_with_unit("index_build", help, Unit::Seconds, took);
        let help = "Rows that went into graphs; a row may go into several, one after the other";
        to.register("index_built_rows", help, self.index_built_rows.clone());
        let help = "Graphs whose builder failed";
        to.register("index_build_failures", help, self.index_build_failures.clone());
    }
}

/// What the feed's statistics know.
fn register_feed(to: &mut Registry, statistics: &EventStatistics) {
    let mut counter = |name: &str, help: &str, value: u64| {
        to.register(name, help, ConstCounter::new(value));
    };
    counter("events_published", "Events that became readable", statistics.total_published);
    let help = "Events handed to clients' connections";
    counter("events_delivered", help, statistics.total_delivered);
    let help = "Subscriptions that ended with an error";
    counter("subscription_errors", help, statistics.total_errors);
    let subscribers = &statistics.subscribers;
    let most = subscribers.iter().map(|one| one.lag_revisions).max().unwrap_or_default();
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge: ConstGauge<u64> = ConstGauge::new(value);
        to.register(name, help, gauge);
    };
    gauge("subscribers", "Live subscriptions", subscribers.len() as u64);
    let help = "Live subscriptions that lack changes which only the log has";
    gauge("subscribers_catching_up", help, statistics.catching_up as u64);
    let help = "Events that live subscriptions still lack, added up";
    gauge("subscriber_pending_events", help, statistics.pending_events);
    let help = "Revisions that the slowest live subscription lacks";
    gauge("subscriber_lag_revisions_max", help, most);
    gauge("tail_revision", "Highest readable revision", statistics.tail_revision.0);
    gauge("floor_revision", "Lowest readable revision", statistics.floor_revision.0);
    gauge("ready", "1 while reads and writes are served", u64::from(statistics.running));
    let gauge: ConstGauge<u64> = ConstGauge::new(statistics.log_bytes);
    to.register_with_unit("log", "Size of the log", Unit::Bytes, gauge);
    let lag = subscribers.iter().map(|one| one.lag).max().unwrap_or_default();
    let gauge: ConstGauge<f64> = ConstGauge::new(lag.as_secs_f64());
    let help = "Time between the feed's end and the place of the slowest live subscription";
    to.register_with_unit("subscriber_lag_max", help, Unit::Seconds, gauge);
}

/// What the consumers show; of each its lag, by its name. There are `limits.consumers_max` at most.
fn register_consumers(to: &mut Registry, consumers: &[ConsumerView]) {
    let mut gauge = |name: &str, help: &str, value: usize| {
        let gauge: ConstGauge<u64> = ConstGauge::new(value as u64);
        to.register(name, help, gauge);
    };
    gauge("consumers", "Durable consumers", consumers.len());
    let expired = consumers.iter().filter(|view| view.expired).count();
    gauge("consumers_expired", "Durable consumers whose cursor is lost", expired);
    let help = "Revisions that a durable consumer has not acknowledged";
    let revisions = each::<u64, AtomicU64>(consumers, |view| view.lag.revisions);
    to.register("consumer_lag_revisions", help, revisions);
    let help = "Age of the oldest change that a durable consumer has not acknowledged";
    let age = each::<f64, AtomicU64>(consumers, |view| view.lag.age.as_secs_f64());
    to.register_with_unit("consumer_lag", help, Unit::Seconds, age);
}

/// What the indexes of all libraries are made of, together.
fn register_indexes(to: &mut Registry, state: &Published) {
    let (mut rows, mut linked, mut tombstones, mut graphs) = (0, 0, 0, 0);
    for segment in state.libraries.values().flat_map(|library| library.view.segments()) {
        rows += segment.rows;
        linked += if segment.has_graph { segment.rows } else { 0 };
        graphs += usize::from(segment.has_graph);
        tombstones += segment.tombstones;
    }
    let mut gauge = |name: &str, help: &str, value: usize| {
        let gauge: ConstGauge<u64> = ConstGauge::new(value as u64);
        to.register(name, help, gauge);
    };
    gauge("index_rows", "Rows of all indexes, one a chunk", rows);
    gauge("index_linked_rows", "Rows of them that have a graph", linked);
    gauge("index_tombstones", "Deleted rows that still take space", tombstones);
    gauge("index_graphs", "Graphs of all indexes", graphs);
    let bytes: usize = state.libraries.values().map(|library| library.view.bytes()).sum();
    let gauge: ConstGauge<u64> = ConstGauge::new(bytes as u64);
    to.register_with_unit("index", "Memory of all indexes of vectors", Unit::Bytes, gauge);
    let texts = || state.libraries.values().map(|library| &library.text);
    let mut gauge = |name: &str, help: &str, value: usize| {
        let gauge: ConstGauge<u64> = ConstGauge::new(value as u64);
        to.register(name, help, gauge);
    };
    gauge("text_index_rows", "Rows of all text indexes", texts().map(|text| text.len()).sum());
    let tombstones = texts().map(|text| text.tombstones()).sum();
    gauge("text_index_tombstones", "Deleted rows of them that still take space", tombstones);
    let bytes: usize = texts().map(|text| text.bytes()).sum();
    let gauge: ConstGauge<u64> = ConstGauge::new(bytes as u64);
    to.register_with_unit("text_index", "Memory of all text indexes", Unit::Bytes, gauge);
}

/// A gauge for each consumer.
fn each<N, A: Atomic<N> + Default>(
    consumers: &[ConsumerView],
    value: impl Fn(&ConsumerView) -> N,
) -> Family<[(&'static str, String); 1], Gauge<N, A>> {
    let family = Family::<[(&'static str, String); 1], Gauge<N, A>>::default();
    for view in consumers {
        let labels = [("consumer", view.consumer.name.to_string())];
        family.get_or_create(&labels).set(value(view));
    }
    family
}

/// Resident memory of this process; `None` where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

impl Engine {
    /// Counts a client that was cut because it took nothing for `limits.subscriber_stall_ms`.
    pub fn client_stalled(&self) {
        self.inner.metrics.stalled();
    }

    /// The engine in numbers since it was opened, as OpenMetrics text; `docs/METRICS.md` lists
    /// them. Cost: a pass over the live subscriptions, the durable consumers and the indexes' blocks,
    /// and a read of the log for each consumer that lags.
    pub async fn metrics(&self) -> Result<String> {
        let statistics = self.event_statistics(ReadAt::default()).await?;
        let state = self.inner.published.load_full();
        self.inner.metrics.to_text(&statistics, &self.all_consumers().await?, &state)
    }
}
