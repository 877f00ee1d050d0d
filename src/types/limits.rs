//! Every limit of the server: its default, its unit (in the name) and the reason for it.
//!
//! All can be set in the `[limits]` table of the settings file. A limit that a client meets is
//! answered with a fault that names it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::machine;
use super::page::PageRequest;

macro_rules! limits {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $default:expr;)*) => {
        /// All limits, with their defaults in [`Limits::default`].
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[doc = $doc])* pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Checks that no limit is zero; `invalid-argument` naming the first that is.
            pub fn check(&self) -> Result<()> {
                $(if self.$name == 0 {
                    return Err(Error::invalid(
                        concat!("limits.", stringify!($name)),
                        "must be greater than 0",
                    ));
                })*
                Ok(())
            }
        }
    };
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

limits! {
    /// One line of NDJSON, one JSON body and one gRPC message: what a client may make the server
    /// hold for it in one piece.
    message_bytes_max: usize = 16 * MIB;
    /// Chunks a document: bounds a change, which is atomic.
    chunks_per_document_max: usize = 10_000;
    /// One chunk's text, and the whole text when the server splits it.
    text_bytes_max: usize = MIB;
    /// A document's title.
    title_bytes_max: usize = KIB;
    /// A document's author, type and source URL, and a library's description: each.
    field_bytes_max: usize = 4 * KIB;
    /// Tags a document.
    tags_per_document_max: usize = 64;
    /// One tag.
    tag_characters_max: usize = 64;
    /// One metadata object as canonical JSON.
    metadata_bytes_max: usize = 64 * KIB;
    /// Objects and arrays within each other in metadata: bounds recursion.
    metadata_levels_max: usize = 8;
    /// Numbers a vector: the largest models in use give some 4 096.
    dimension_max: usize = 8_192;
    /// Libraries a server: each costs a few KiB of memory at all times.
    libraries_max: usize = 10_000;
    /// Characters of text that the server aims at when it splits a text into chunks: about 200
    /// tokens, below the 512 at which the default model stops reading.
    chunk_characters_target: usize = 1_000;

    /// Hits in one unary reply.
    hits_per_reply_max: usize = 1_000;
    /// Hits a streamed search.
    hits_per_stream_max: usize = 10_000;
    /// Hits a search gives when the client does not say.
    hits_default: usize = 10;
    /// Queries in one search request: they share a pass over memory.
    queries_per_search_max: usize = 100;
    /// Width of walks through graphs that a query may ask for: beyond this a scan is cheaper.
    search_ef_max: usize = 10_000;
    /// Stored vectors that are queries when recall is measured and the client does not say.
    recall_queries_default: usize = 100;
    /// The same at most: each is an exact search, some seconds together in a library of a million.
    recall_queries_max: usize = 1_000;
    /// How often a text index that changes is written to disk: what came after is read again at a
    /// start, some 20 µs a chunk, and writing all the time would cost more than that.
    text_keep_interval_ms: u64 = 60_000;
    /// Different words of a query that a text search looks at, its first ones: each costs a look
    /// into every block, and the default model stops reading after about as many.
    query_terms_max: usize = 256;
    /// Searches under way or waiting for the pool; one more is told to slow down.
    searches_waiting_max: usize = 1_024;

    /// One filter expression: its cost at every evaluation grows with its length.
    filter_bytes_max: usize = KIB;
    /// Operators, selections and brackets within each other in a filter (chains of `&&` and `||`
    /// aside): bounds the stack that parsing and evaluation take, about 10 KiB a level.
    filter_levels_max: usize = 32;
    /// Memory for what filters of searches look at, of all libraries together: some 30 fields of
    /// a million documents. Beyond this, libraries not searched with a filter for longest are read
    /// again when they are; fields of one library that take more alone are read for every new
    /// filter.
    filter_memory_bytes_max: usize = 128 * MIB;

    /// Items a page when the client does not say.
    page_size_default: usize = 100;
    /// Items a page at most.
    page_size_max: usize = 1_000;
    /// Documents read by one batch get.
    batch_get_documents_max: usize = 1_000;
    /// Bytes of one unary reply that lists things: clients refuse 4 MiB by default. A page ends
    /// early rather than grow beyond it (one item always fits).
    reply_bytes_target: usize = 3 * MIB;

    /// Items of one ingest stream between reading and acknowledgement: enough to fill embedding
    /// and commit batches, small enough that memory is bounded by it.
    ingest_items_in_flight_max: usize = 512;
    /// Bytes of those items.
    ingest_bytes_in_flight_max: usize = 32 * MIB;
    /// Ingest streams at once: each may hold the bytes above.
    ingest_streams_max: usize = 256;
    /// Replies not yet read by an ingesting client, kept in memory.
    spool_memory_bytes_max: usize = MIB;
    /// Replies not yet read by an ingesting client, kept in an unlinked temporary file; beyond
    /// this the upload is paused.
    spool_disk_bytes_max: usize = 1024 * MIB;
    /// Bytes of failures listed in the summary of a client-streaming ingest; the rest is
    /// counted. Clients refuse messages of 4 MiB by default.
    summary_failure_bytes_max: usize = 3 * MIB;
    /// An ingest stream whose client sends nothing for this long is closed.
    ingest_idle_ms: u64 = 5 * 60 * 1_000;

    /// Writes waiting for the writer; more wait at their sender, which is the backpressure that
    /// reaches the client's socket.
    writer_mailbox_max: usize = 1_024;
    /// Changes that one fsync makes durable.
    commit_changes_max: usize = 512;
    /// Bytes that one fsync makes durable, before the last change that fits.
    commit_bytes_target: usize = 16 * MIB;
    /// Size at which a piece of the log is closed and the next begun: what retention drops.
    log_piece_bytes_target: usize = 64 * MIB;
    /// Age from which a piece of the log is dropped: how long a reader may stay away and still go
    /// on behind its cursor.
    retention_age_ms: u64 = 7 * 24 * 60 * 60 * 1_000;
    /// Bytes of log above which its oldest pieces are dropped.
    retention_bytes_max: u64 = 4 << 30;
    /// How many times these two durable consumers may hold the log to: the hard cap, beyond which
    /// what they have not acknowledged is dropped too.
    retention_held_times_max: u32 = 2;
    /// How often the two are looked at: a log may be this much over them.
    retention_interval_ms: u64 = 30_000;
    /// Texts waiting to be embedded; more wait at their sender.
    embed_waiting_texts_max: usize = 4_096;
    /// Texts embedded in one call.
    embed_batch_texts_max: usize = 256;
    /// How long one call to an embedder may take.
    embed_timeout_ms: u64 = 60_000;

    /// Rows of a library from which new rows get a graph: a scan of so many takes about a
    /// millisecond, and many small graphs are slower than one scan.
    index_graph_rows_min: usize = 65_536;
    /// The same for a library that asks for `hnsw`.
    index_graph_rows_min_asked: usize = 4_096;
    /// Rows of one graph at most: it takes some minutes to build, and what is built is not there
    /// before all of it is.
    index_graph_rows_max: usize = 1_000_000;
    /// Silence after which a library's rows are put into as few graphs as may be.
    index_settle_ms: u64 = 5_000;
    /// How often it is looked whether an index wants something done: a graph takes seconds to
    /// build anyway.
    index_look_ms: u64 = 500;
    /// Rows without a graph whose vectors are worth a file, where vectors are on disk: some 16 MiB of
    /// 256 numbers each. Fewer stay in memory, so that a library has few files.
    index_file_rows_min: usize = 16_384;
    /// Bytes of memory that the indexes of all libraries, of vectors and of words, take together when
    /// documents and libraries that would be added are refused; one commit's worth more at most. By
    /// default three quarters of what the machine, or the container, has: the rest is for the store,
    /// for searches, and for a graph that is being built.
    index_memory_bytes_max: usize = machine::memory_bytes() / 4 * 3;
    /// Requests for work on indexes that wait for their turn.
    index_requests_max: usize = 64;

    /// Events in one page of the events list, and read from the log at once.
    events_per_page_max: usize = 1_000;
    /// Bytes of events that one page of the events list looks at, where few pass its filter; it
    /// may go beyond by one change. About a tenth of a second of reading.
    events_page_read_bytes_max: usize = 16 * MIB;
    /// Updates of a library, newest first, that are looked at to know since when it has its name,
    /// when that is followed from an older cursor: each is a read of the log.
    library_updates_looked_at_max: usize = 1_000;
    /// Times that one page of the events list lets others have their turn, each after a
    /// millisecond or less of evaluating its filter: about a tenth of a second as well.
    events_page_turns_max: usize = 200;
    /// Bytes of log that are read at once for subscriptions that the window is too short for.
    feed_read_bytes_target: usize = 64 * KIB;
    /// Bytes of the newest events kept in memory, in each format: some seconds of the fastest
    /// ingest, so that readers that keep up never read the log.
    feed_window_bytes_max: usize = 32 * MIB;
    /// Bytes of events read from the log and kept in memory, in each format: what readers that
    /// catch up close together share. One run that is larger (a single change of many chunks) is
    /// kept beside it.
    feed_cache_bytes_max: usize = 8 * MIB;
    /// Live subscriptions.
    subscriptions_max: usize = 10_000;
    /// Silence after which a subscription sends a heartbeat.
    heartbeat_interval_ms: u64 = 15_000;
    /// A subscriber that takes nothing for this long is closed.
    subscriber_stall_ms: u64 = 5 * 60 * 1_000;

    /// Durable consumers: each may hold the log, and costs a few KiB of memory at all times.
    consumers_max: usize = 1_000;
    /// How long one pull of a durable consumer waits for events at most: below the minute after
    /// which many proxies give up.
    consumer_wait_ms_max: u64 = 50_000;
    /// How long one pull looks for an event that passes, when it does not wait that long anyway:
    /// long enough to get on through a past that does not concern it, short enough for every
    /// client's patience.
    consumer_look_ms: u64 = 1_000;
    /// Changes to consumers (acknowledgements above all) that one fsync makes durable, and that
    /// may wait for it; more wait at their sender.
    consumer_commit_max: usize = 256;

    /// How long a read waits for `min_revision` when the client does not say, and at most.
    min_revision_wait_ms: u64 = 10_000;
    /// How long a `request_id` is remembered.
    request_id_memory_ms: u64 = 10 * 60 * 1_000;
    /// Request ids remembered at most: the oldest beyond this are forgotten early.
    request_ids_max: usize = 1_000_000;
    /// How long a drain may take before open streams are cut.
    shutdown_grace_ms: u64 = 10_000;
    /// Connections at once.
    connections_max: usize = 10_000;
    /// A client that has not sent its request's headers within this time is closed.
    header_read_ms: u64 = 30_000;
    /// How long a connection that is done with waits for its client to close it too, so that the
    /// last bytes arrive: enough for a slow line, short for whoever waits for a shutdown.
    linger_ms: u64 = 1_000;
    /// Requests at once on one HTTP/2 connection: one client's share of the server.
    http2_streams_max: usize = 1_024;
    /// Bytes of one request's body that a client may send before they are read: what an upload
    /// that is paused holds.
    http2_stream_window_bytes: usize = MIB;
    /// The same for all requests of a connection: several times that of one, so that a paused
    /// upload does not hold the requests beside it.
    http2_connection_window_bytes: usize = 8 * MIB;
    /// The head of one HTTP/1.1 request, and bytes of one reply that wait for a client that is slow
    /// to take them, before the last piece that fits; at least 8 KiB.
    http1_buffer_bytes_max: usize = 16 * KIB;
    /// Bytes of one reply that wait for a client that is slow to take them.
    http2_send_buffer_bytes_max: usize = 128 * KIB;
    /// Silence after which an HTTP/2 client is asked whether it is still there, so that one that
    /// vanished without a word frees what it holds.
    http2_keepalive_interval_ms: u64 = 30_000;
    /// How long it may take to answer that.
    http2_keepalive_timeout_ms: u64 = 20_000;
}

impl Limits {
    /// The page that a client asked for: `None` or 0 is the default size, more than the maximum
    /// is the maximum (AIP-158).
    #[must_use]
    pub fn page_request(&self, size: Option<u32>, token: Option<String>) -> PageRequest {
        let size = match size {
            None | Some(0) => self.page_size_default,
            Some(size) => (size as usize).min(self.page_size_max),
        };
        PageRequest { size, token: token.filter(|token| !token.is_empty()) }
    }

    /// `limits.heartbeat_interval_ms` as a duration.
    #[must_use]
    pub const fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_zero_is_refused_by_name() {
        let limits = Limits { text_bytes_max: 0, ..Limits::default() };
        let error = limits.check().expect_err("zero");
        assert!(error.detail.starts_with("limits.text_bytes_max:"), "{error}");
        assert_eq!(Limits::default().check(), Ok(()));
    }
}
