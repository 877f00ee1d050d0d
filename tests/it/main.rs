//! One integration binary: a real server, driven from outside over gRPC and HTTP.

#![allow(unreachable_pub, reason = "a test binary is reached from nowhere")]

mod demo;
mod documents;
mod events;
mod export;
mod external;
mod grpc_wire;
mod harness;
mod libraries;
mod lifecycle;
mod limits;
mod parity;
mod search;
mod smoke;
mod tidy;
mod wire;
