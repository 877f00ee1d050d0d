//! `arrwdb index`: shows, rebuilds, optimizes and measures a library's index.

use std::time::Duration;

use super::connect::{Connection, ServerArgs, seconds};
use super::output::Output;
use super::{Failure, json};
use crate::api::grpc::pb;
use crate::api::grpc::values::index_type_to_pb;
use crate::types::{IndexType, Result};

/// What to do with an index.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show what a library's index is made of, and what is being built
    Get(OneArgs),
    /// Build it anew, also as another kind; done when this ends
    Rebuild(RebuildArgs),
    /// Merge its segments and give back the space of deleted chunks; done when this ends
    Optimize(WorkArgs),
    /// Measure how many of the nearest chunks searches find
    Recall(RecallArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    /// The library, by name or id
    library: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct WorkArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Seconds to wait for the work beyond --timeout; it goes on without you
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    wait: Duration,
}

#[derive(Debug, clap::Args)]
pub(super) struct RebuildArgs {
    #[command(flatten)]
    work: WorkArgs,
    /// The kind that it has from then on: auto, flat or hnsw
    #[arg(long, value_parser = IndexType::parse, value_name = "TYPE")]
    index_type: Option<IndexType>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RecallArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Stored vectors to search for
    #[arg(long, value_name = "COUNT", default_value = "100")]
    num_queries: u32,
    /// Hits of each that count
    #[arg(long, short, value_name = "COUNT", default_value = "10")]
    k: u32,
    /// How wide walks through graphs are; what a search takes when not given
    #[arg(long)]
    ef: Option<u32>,
}

/// Does it and prints what the server answers.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let mut out = Output::new();
    match command {
        Command::Get(args) => {
            let server = Connection::open(&args.server).await?;
            let request =
                pb::GetIndexStatisticsRequest { library_id: args.library, ..Default::default() };
            let reply = server.answer(server.indexes().get_index_statistics(request)).await?;
            out.answer(args.json, &json::index(reply))?;
        }
        Command::Rebuild(RebuildArgs { work: WorkArgs { one, wait }, index_type }) => {
            let server = Connection::open(&one.server).await?;
            let index_type = index_type.map(|kind| index_type_to_pb(kind).into());
            let request = pb::RebuildIndexRequest {
                library_id: one.library,
                index_type: index_type.unwrap_or_default(),
            };
            let mut indexes = server.indexes();
            let reply = server.answer_after(wait, indexes.rebuild_index(request)).await?;
            out.answer(one.json, &json::revised(reply.revision))?;
        }
        Command::Optimize(WorkArgs { one, wait }) => {
            let server = Connection::open(&one.server).await?;
            let request = pb::OptimizeIndexRequest { library_id: one.library };
            let mut indexes = server.indexes();
            let reply = server.answer_after(wait, indexes.optimize_index(request)).await?;
            out.answer(one.json, &json::revised(reply.revision))?;
        }
        Command::Recall(RecallArgs { one, num_queries, k, ef }) => {
            let server = Connection::open(&one.server).await?;
            let request = pb::MeasureRecallRequest {
                library_id: one.library,
                num_queries: Some(num_queries),
                k: Some(k),
                ef,
                ..Default::default()
            };
            let reply = server.answer(server.searches().measure_recall(request)).await?;
            out.answer(one.json, &json::recall(reply))?;
        }
    }
    out.flush()
}
