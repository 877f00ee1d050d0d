//! `arrwdb ingest` and `arrwdb import`: documents streamed in, over broken connections and killed
//! servers alike, none of them lost or doubled.

mod drive;
mod markdown;
mod report;
mod source;
mod window;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use self::drive::Drive;
use self::report::Report;
use self::source::{Format, Plan, READ_AHEAD};
use self::window::Window;
use super::connect::{Connection, ServerArgs, seconds};
use super::exit::Ended;
use super::output::{counted, note};
use super::{Failure, library, shutdown_on_signals};
use crate::api::grpc::pb;
use crate::types::{Error, Limits, OnConflict};

/// How an ingest is to go.
#[derive(Debug, clap::Args)]
struct HowArgs {
    /// What a document does to one of the same id: replace, skip or fail
    #[arg(long, default_value = "replace", value_parser = OnConflict::parse, value_name = "WHAT")]
    on_conflict: OnConflict,
    /// Write each failure to this file, as a line of JSON with its file and line
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// Seconds to try when the connection breaks; counts from the last answer
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    retry_seconds: Duration,
    /// Largest document and line, in bytes, as the server is set up for
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().message_bytes_max)]
    message_bytes_max: usize,
    /// Tell nothing but failures and the summary
    #[arg(short, long)]
    quiet: bool,
    /// Print failures and the summary as lines of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The library, by name or id
    library: String,
    /// Files, folders, or `-` for NDJSON from standard input. Of folders, files that end in
    /// .ndjson, .jsonl, .md, .markdown, .txt and .text are read, hidden ones aside
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read all files as of this format, whatever their names end with
    #[arg(long)]
    format: Option<Format>,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The library, by name or id
    library: String,
    /// What `arrwdb export`, or an export over HTTP, wrote; `-` for standard input
    file: PathBuf,
    /// Create the library first
    #[arg(long)]
    create: bool,
    #[command(flatten, next_help_heading = "With --create")]
    new: library::NewArgs,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Streams files in and reports what has become of them; fails when any document failed.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let plan = Plan::new(&args.paths, args.format)?;
    if plan.is_empty() {
        let detail = "has no NDJSON, Markdown or text in it";
        return Err(Error::invalid(args.paths[0].display().to_string(), detail).into());
    }
    if plan.num_unknown > 0 && !args.how.quiet {
        let unknown = counted(plan.num_unknown as u64, "file");
        note(format_args!("left out, for the format is not known: {unknown}"));
    }
    let server = Connection::open(&args.server).await?;
    ingest(&server, args.library, plan, &args.how).await
}

/// Streams an export in; one that is not whole is refused before anything is written, or, from
/// standard input, told of at the end.
pub(super) async fn import(args: ImportArgs) -> Result<(), Failure> {
    let file = args.file;
    let plan = tokio::task::spawn_blocking(move || whole_export(&file)).await??;
    let server = Connection::open(&args.server).await?;
    if args.create {
        library::create(&server, args.new.into_request(args.library.clone())).await?;
    }
    ingest(&server, args.library, plan, &args.how).await
}

fn whole_export(file: &Path) -> Result<Plan, Failure> {
    Plan::export(file)
}

async fn ingest(
    server: &Connection,
    library: String,
    plan: Plan,
    how: &HowArgs,
) -> Result<(), Failure> {
    // By id from here on: a library that takes over the name meanwhile is another one.
    let library = library::get(server, library).await?;
    let known_revision = match how.on_conflict {
        OnConflict::Replace => 0,
        OnConflict::Skip | OnConflict::Fail => {
            let request = pb::GetEventStatisticsRequest::default();
            server.answer(server.events().get_event_statistics(request)).await?.tail_revision
        }
    };
    let mut report = Report::new(how.quiet, how.json, how.failures.as_deref(), plan.num_bytes())?;
    let (sender, found) = mpsc::channel(READ_AHEAD);
    let message_bytes_max = how.message_bytes_max;
    // Ends when nobody takes what it finds; a read of standard input may outlast this.
    let _reading = tokio::task::spawn_blocking(move || plan.read(message_bytes_max, &sender));
    let mut drive = Drive {
        server,
        window: Window::new(library.id, how.on_conflict, known_revision),
        found,
        report: &mut report,
        retry: how.retry_seconds,
        interrupted: shutdown_on_signals()?,
    };
    let ended = drive.run().await;
    let (totals, pending) = (drive.window.totals().clone(), drive.window.num_pending());
    let is_good = report.is_good(&totals);
    report.end(&totals, pending)?;
    ended?;
    if is_good { Ok(()) } else { Err(Ended::Failed.into()) }
}
