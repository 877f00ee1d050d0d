//! One integration binary: a real server, driven from outside over gRPC and HTTP.

mod demo;
mod harness;
mod smoke;
mod tidy;
