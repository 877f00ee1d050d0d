//! The transports: thin adapters over the engine's verbs. Same values, same order, same faults.

pub mod fault;
pub mod grpc;
pub mod http;
pub mod spool;
