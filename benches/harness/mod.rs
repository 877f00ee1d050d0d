//! What the benches share: the server as a process of its own, its clients, and the measure of
//! time, processor and memory.

#![allow(dead_code, reason = "not every bench needs every tool")]
#![allow(unreachable_pub, reason = "public within a bench")]

pub mod client;
pub mod corpus;
pub mod http;
pub mod measure;
pub mod server;
pub mod set;
pub mod vectors;

/// What a bench may fail with: it ends with this.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A whole number from the environment, `default` without one.
pub fn setting(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a whole number")),
        Err(_) => default,
    }
}

/// The runtime that clients of a bench run on.
pub fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime")
}
