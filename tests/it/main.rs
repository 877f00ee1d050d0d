//! One integration binary: a real server, driven from outside over gRPC and HTTP.

#![allow(unreachable_pub, reason = "a test binary is reached from nowhere")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test panics at whatever it does not expect")]

mod cli;
mod cli_feed;
mod cli_ingest;
mod client;
mod console;
mod consumers;
mod data_fixture;
mod demo;
mod documents;
mod events;
mod export;
mod external;
mod feed_client;
mod feed_delivery;
mod feed_docs;
mod feed_filter;
mod feed_snapshot;
mod feed_stress;
mod feed_verify;
mod grpc_docs;
mod grpc_wire;
mod harness;
mod index;
mod ledger;
mod libraries;
mod lifecycle;
mod limits;
mod links;
mod metrics;
mod parity;
mod pressure;
mod providers;
mod rawhttp;
mod recovery;
mod retention;
mod search;
mod smoke;
mod streaming;
mod tidy;
mod wire;
mod wires;
