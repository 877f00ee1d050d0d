//! One integration binary: a real server, driven from outside over gRPC and HTTP.

#![allow(unreachable_pub, reason = "a test binary is reached from nowhere")]

mod demo;
mod harness;
mod smoke;
mod tidy;
