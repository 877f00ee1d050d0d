//! What `build.rs` makes of `proto/`: the messages, clients and servers of `arrwdb.v1`.
//!
//! The protos are the documentation. Lints rest here and only here: the text is generated.

#![allow(missing_docs, unreachable_pub, rust_2018_idioms)]
#![allow(clippy::all, clippy::wildcard_enum_match_arm, clippy::large_futures)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::redundant_clone,
    clippy::semicolon_if_nothing_returned
)]

tonic::include_proto!("arrwdb.v1");

/// The encoded descriptor set of `arrwdb.v1` and all that it imports, with comments: what
/// reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/arrwdb_descriptors.bin"));
