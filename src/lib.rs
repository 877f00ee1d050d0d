//! arrwdb: a streaming, real-time vector database.
//!
//! One log; everything else is a fold of it or a cursor over it. `docs/ARCHITECTURE.md` shows the
//! floors; imports go down only.

pub mod api;
pub mod cli;
pub mod embed;
pub mod engine;
pub mod index;
pub mod log;
pub mod server;
pub mod settings;
pub mod store;
pub mod text;
pub mod types;
