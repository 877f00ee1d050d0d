//! The command line: what `arrwdb` can be told to do.
//!
//! A command is a file here with its `Args` and its `run`, and an arm in [`run`].

mod connect;
mod consumer;
mod demo;
mod document;
mod eval;
mod exit;
mod export;
mod index;
mod ingest;
mod json;
mod library;
mod output;
mod retry;
mod search;
mod serve;
mod statistics;
mod subscribe;
pub mod verify_feed;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::exit::Exit;
use crate::settings::{LogFormat, Settings};

/// What a command may fail with: told to the user in one line.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A streaming, real-time vector database: stream documents in, search, export and follow them over
/// gRPC and HTTP.
#[derive(Debug, Parser)]
#[command(name = "arrwdb", version, about, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve gRPC and HTTP on one port until SIGINT or SIGTERM
    ///
    /// Every setting can be given as a flag, as an environment variable (ARRWDB_…) or in a TOML
    /// file; flags win over variables, variables over the file. Logs go to standard error.
    Serve(serve::Args),
    /// Create, list, read, change and delete libraries
    #[command(subcommand)]
    Library(library::Command),
    /// Read, list and delete documents
    #[command(subcommand)]
    Document(document::Command),
    /// Stream documents in: NDJSON, Markdown and text, files, folders and standard input
    ///
    /// Each document is durable and searchable as soon as it counts as written. A connection that
    /// breaks is made again, and what was not acknowledged is sent again under the same id: nothing
    /// is lost or doubled. A Markdown or text file's id is its path, so that ingesting it again
    /// replaces it. Exit status 1 when any document failed.
    Ingest(ingest::Args),
    /// Stream an export in; one that is not whole is refused
    Import(ingest::ImportArgs),
    /// Write a snapshot of a library as NDJSON, for `import` and for ingest over HTTP
    ///
    /// The last line says how many documents there are, and the cursor that following the feed
    /// from gives exactly what came after. A file gets its name only when all of that is in it.
    Export(export::Args),
    /// Print events as they happen, from now or from any place in the past
    ///
    /// Resumes by itself when the connection breaks or the server restarts: each event comes once,
    /// in order. Exit status 4 when events are lost to this reader because the log was trimmed, or
    /// is another one.
    Subscribe(subscribe::Args),
    /// Find the chunks that are nearest to a text
    Search(search::Args),
    /// Measure how well searches find what people judged to be right
    ///
    /// Asks each judged query and prints means over them: nDCG@10, recall and the reciprocal rank of
    /// the first right document. Reads the formats of TREC and BEIR. Documents are what is ranked.
    Eval(eval::Args),
    /// Create, list, read, pull from and move durable consumers
    #[command(subcommand)]
    Consumer(consumer::Command),
    /// Show, rebuild, optimize and measure a library's index
    #[command(subcommand)]
    Index(index::Command),
    /// Show the feed in numbers, or a library
    Statistics(statistics::Args),
    /// Print what makes a shell complete these commands
    ///
    /// For bash: `source <(arrwdb completions bash)`.
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Show arrwdb at work on a real corpus, then stay up to be tried
    ///
    /// Starts a server on a fresh folder, streams in some thousand documents over gRPC while events
    /// arrive, searches, exports and re-imports, checks what came of it and prints figures. The
    /// folder is removed at the end.
    Demo(demo::Args),
    /// Check recorded event streams against what the feed promises
    ///
    /// Looks at the order, uniqueness, wholeness and resumption of recordings, at their bookmarks and
    /// filters; compares them with each other, with a reference recording and with an export. Every
    /// breach is reported with its file and line. Exit status 1 for breaches, 2 for what cannot be
    /// read.
    VerifyFeed(verify_feed::Args),
}

/// Runs the command that the process's arguments name. Wrong arguments end the process with usage
/// and status 2; a command that fails gives status 1.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::tell(&error.into()),
    };
    let end = match cli.command {
        Command::VerifyFeed(args) => return verify_feed::run(&args),
        Command::Completions { shell } => completions(shell),
        Command::Serve(args) => runtime.block_on(serve::run(args)),
        Command::Demo(args) => runtime.block_on(demo::run(args)),
        Command::Library(command) => talk(runtime, library::run(command)),
        Command::Document(command) => talk(runtime, document::run(command)),
        Command::Ingest(args) => talk(runtime, ingest::run(args)),
        Command::Import(args) => talk(runtime, ingest::import(args)),
        Command::Export(args) => talk(runtime, export::run(args)),
        Command::Subscribe(args) => talk(runtime, subscribe::run(args)),
        Command::Consumer(command) => talk(runtime, consumer::run(command)),
        Command::Search(args) => talk(runtime, search::run(args)),
        Command::Eval(args) => talk(runtime, eval::run(args)),
        Command::Index(command) => talk(runtime, index::run(command)),
        Command::Statistics(args) => talk(runtime, statistics::run(args)),
    };
    match end {
        Ok(()) => Exit::Done.into(),
        Err(failure) => exit::tell(&failure),
    }
}

/// Prints the completions of a shell.
fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "arrwdb", &mut text);
    std::io::stdout().write_all(&text).map_err(|error| output::written(&error))
}

/// Runs a command that talks to a server. Does not wait for a read of standard input that may
/// never come back.
fn talk(
    runtime: Runtime,
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let end = runtime.block_on(command);
    runtime.shutdown_background();
    end
}

/// Sends logs to standard error from here on, as the settings say.
fn start_logs(settings: &Settings) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.log_filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match settings.log_format {
        LogFormat::Human => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    if let Err(error) = started {
        eprintln!("arrwdb: logs cannot be written: {error}");
    }
}

/// A token that the first SIGINT or SIGTERM cancels; the second ends the process at once.
fn shutdown_on_signals() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    let mut signals = Signals::new()?;
    // Lives as long as the process: it waits for what may always come.
    tokio::spawn(async move {
        let signal = signals.next().await;
        tracing::info!(signal, "shutting down; a second signal ends the process at once");
        cancelled.cancel();
        let signal = signals.next().await;
        tracing::warn!(signal, "ending at once");
        std::process::exit(Exit::Interrupted as i32);
    });
    Ok(token)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_takes_its_settings_as_flags() {
        let cli =
            Cli::try_parse_from(["arrwdb", "serve", "--listen", "localhost:0", "--limit", "a=1"]);
        let Command::Serve(args) = cli.expect("valid").command else { panic!("serve") };
        assert_eq!(args.settings.listen.as_deref(), Some("localhost:0"));
        assert_eq!(args.settings.limits, ["a=1"]);
        assert!(Cli::try_parse_from(["arrwdb"]).is_err());
    }
}
