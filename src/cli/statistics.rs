//! `arrwdb statistics`: the feed in numbers, or a library.

use super::connect::{Connection, ServerArgs};
use super::output::Output;
use super::{Failure, json};
use crate::api::grpc::pb;
use crate::types::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A library, by name or id; without one the feed's statistics
    library: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Asks and prints.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let server = Connection::open(&args.server).await?;
    let statistics = match args.library {
        Some(library_id) => {
            let request = pb::GetLibraryStatisticsRequest { library_id, ..Default::default() };
            let reply = server.answer(server.libraries().get_library_statistics(request)).await?;
            json::library_statistics(reply)
        }
        None => {
            let request = pb::GetEventStatisticsRequest::default();
            let reply = server.answer(server.events().get_event_statistics(request)).await?;
            json::event_statistics(reply)
        }
    };
    let mut out = Output::new();
    out.answer(args.json, &statistics)?;
    out.flush()
}
