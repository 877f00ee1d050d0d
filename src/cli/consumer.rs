//! `arrwdb consumer`: durable consumers, made, read from and moved by hand and by scripts.

use std::time::Duration;

use super::connect::{Connection, ServerArgs, seconds};
use super::json::Object;
use super::output::{Output, counted, excerpt, note};
use super::subscribe::{WantedArgs, show, start};
use super::{Failure, json};
use crate::api::grpc::pb;
use crate::types::Result;

/// What to do with durable consumers.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a consumer: a named place in the feed that the server keeps
    Create(CreateArgs),
    /// List all consumers by name; with --json one a line
    List(ListArgs),
    /// Show a consumer and how far it is behind
    Get(OneArgs),
    /// Take the next events, as its owner
    ///
    /// Without --generation this takes the consumer over from its owner. What is not acknowledged
    /// comes again with the next pull.
    Pull(PullArgs),
    /// Acknowledge all events up to a cursor
    Acknowledge(AcknowledgeArgs),
    /// Move a consumer, forwards or back
    Seek(SeekArgs),
    /// Let a consumer give nothing out until it is resumed
    Pause(OneArgs),
    /// End a pause
    Resume(OneArgs),
    /// Delete a consumer
    Delete(OneArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Its name, unique on the server
    name: String,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    /// The consumer
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct PullArgs {
    /// The consumer
    name: String,
    /// What the pull before gave; without it the consumer is taken over
    #[arg(long)]
    generation: Option<u64>,
    /// What a new owner calls itself, for people
    #[arg(long, default_value = "", hide_default_value = true)]
    owner: String,
    /// Read on behind this cursor, without acknowledging anything
    #[arg(long, default_value = "", hide_default_value = true)]
    cursor: String,
    /// Most events, at most 1 000
    #[arg(long, default_value_t = 100, value_name = "EVENTS")]
    max_events: u32,
    /// Seconds to wait for the first event, at most 50
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = seconds)]
    wait: Duration,
    /// Acknowledge what was given, as soon as it is printed
    #[arg(long)]
    acknowledge: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct AcknowledgeArgs {
    /// The consumer
    name: String,
    /// Everything up to here: a pull's next_cursor, or an event's id
    cursor: String,
    /// What the pull gave
    #[arg(long)]
    generation: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SeekArgs {
    /// The consumer
    name: String,
    /// A cursor, begin, now, revision:N or time:RFC3339
    #[arg(value_parser = start)]
    cursor: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Does it and prints what the server answers.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let mut out = Output::new();
    match command {
        Command::List(args) => list(&args, &mut out).await?,
        Command::Pull(args) => pull(args, &mut out).await?,
        Command::Create(args) => {
            let server = Connection::open(&args.server).await?;
            let request = pb::CreateConsumerRequest {
                name: args.name,
                event_types: args.wanted.types(),
                library_id: args.wanted.library,
                filter: args.wanted.filter,
                cursor: args.wanted.cursor,
                request_id: String::new(),
            };
            let reply = server.answer(server.consumers().create_consumer(request)).await?;
            tell(&mut out, args.json, reply.consumer)?;
        }
        Command::Get(OneArgs { name, json, server }) => {
            let server = Connection::open(&server).await?;
            let request = pb::GetConsumerRequest { name };
            let reply = server.answer(server.consumers().get_consumer(request)).await?;
            tell(&mut out, json, reply.consumer)?;
        }
        Command::Acknowledge(AcknowledgeArgs { name, cursor, generation, json, server }) => {
            let server = Connection::open(&server).await?;
            let request = pb::AcknowledgeRequest { name, generation, cursor };
            let reply = server.answer(server.consumers().acknowledge(request)).await?;
            tell(&mut out, json, reply.consumer)?;
        }
        Command::Seek(SeekArgs { name, cursor, json, server }) => {
            let server = Connection::open(&server).await?;
            let request = pb::SeekRequest { name, cursor };
            let reply = server.answer(server.consumers().seek(request)).await?;
            tell(&mut out, json, reply.consumer)?;
        }
        Command::Pause(OneArgs { name, json, server }) => {
            let server = Connection::open(&server).await?;
            let reply = server.answer(server.consumers().pause(pb::PauseRequest { name })).await?;
            tell(&mut out, json, reply.consumer)?;
        }
        Command::Resume(OneArgs { name, json, server }) => {
            let server = Connection::open(&server).await?;
            let reply =
                server.answer(server.consumers().resume(pb::ResumeRequest { name })).await?;
            tell(&mut out, json, reply.consumer)?;
        }
        Command::Delete(OneArgs { name, json, server }) => {
            let server = Connection::open(&server).await?;
            let request = pb::DeleteConsumerRequest { name };
            server.answer(server.consumers().delete_consumer(request)).await?;
            out.answer(json, &Object::new())?;
        }
    }
    out.flush()
}

fn tell(out: &mut Output, json: bool, consumer: Option<pb::Consumer>) -> Result<(), Failure> {
    out.answer(json, &json::consumer(consumer.unwrap_or_default()))
}

async fn list(args: &ListArgs, out: &mut Output) -> Result<(), Failure> {
    let server = Connection::open(&args.server).await?;
    let heads = ["NAME", "LAG", "SECONDS", "STATE", "OWNER", "CURSOR"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut page_token = String::new();
    loop {
        let request = pb::ListConsumersRequest { page_token, ..Default::default() };
        let page = server.answer(server.consumers().list_consumers(request)).await?;
        for consumer in page.consumers {
            if args.json {
                out.json(&json::consumer(consumer))?;
                continue;
            }
            let state = match (consumer.expired, consumer.paused) {
                (true, _) => "expired",
                (false, true) => "paused",
                (false, false) => "live",
            };
            let lag = counted(consumer.lag_events, "event");
            let seconds = format!("{:.1}", consumer.lag_seconds);
            let owner = excerpt(&consumer.owner, 40);
            let row = [consumer.name, lag, seconds, state.to_owned(), owner, consumer.cursor];
            rows.push(row.to_vec());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if !args.json {
        out.table(&rows)?;
    }
    Ok(())
}

async fn pull(args: PullArgs, out: &mut Output) -> Result<(), Failure> {
    let server = Connection::open(&args.server).await?;
    let request = pb::PullEventsRequest {
        name: args.name.clone(),
        generation: args.generation,
        owner: args.owner,
        cursor: args.cursor,
        max_events: args.max_events,
        wait_ms: u32::try_from(args.wait.as_millis()).unwrap_or(u32::MAX),
    };
    let mut consumers = server.consumers();
    let reply = server.answer_after(args.wait, consumers.pull_events(request)).await?;
    let (generation, next, is_empty) =
        (reply.generation, reply.next_cursor.clone(), reply.events.is_empty());
    if args.json {
        out.json(&json::pulled(reply))?;
    } else {
        for event in reply.events {
            out.line(show(&json::event(event)))?;
        }
    }
    out.flush()?;
    if args.acknowledge {
        let request = pb::AcknowledgeRequest { name: args.name, generation, cursor: next };
        server.answer(server.consumers().acknowledge(request)).await?;
    } else if !args.json && !is_empty {
        note(format_args!("acknowledge with: {next} --generation {generation}"));
    }
    if is_empty && !args.json && !args.acknowledge {
        note(format_args!("nothing new; generation {generation}"));
    }
    Ok(())
}
