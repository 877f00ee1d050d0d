//! The transports: thin adapters over the engine's verbs. Same values, same order, same faults.

pub mod fault;
pub mod grpc;
pub mod http;
pub mod spool;

/// The engine's slots for encoded events: one for each format.
mod slot {
    /// Frames of Server-Sent Events.
    pub(super) const SSE: usize = 0;
    /// gRPC messages with their prefix.
    pub(super) const GRPC: usize = 1;
}
