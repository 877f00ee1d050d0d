//! `arrwdb export`: a snapshot of a library as NDJSON, verified, whole or not at all.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

use super::connect::{self, Connection, ServerArgs, seconds};
use super::exit::{Ended, line};
use super::output::{Output, counted, is_watched, note};
use super::retry::{Outage, is_passing};
use super::{Failure, json, library, shutdown_on_signals};
use crate::api::grpc::pb::{
    ExportComplete, ExportDocumentsRequest, ExportDocumentsResponse,
    export_documents_response::Item,
};
use crate::types::Error;

/// Between two looks of the bar.
const BAR_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The library, by name or id
    library: String,
    /// Write to this file, under another name until it is whole; without it to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With the vectors, so that an import need not embed the texts again
    #[arg(long)]
    include_embeddings: bool,
    /// See at least this revision
    #[arg(long, value_name = "REVISION")]
    min_revision: Option<u64>,
    /// Seconds to try when the connection breaks; to a file only: it begins again
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    retry_seconds: Duration,
    /// Tell nothing but errors
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Why an export ended early.
enum Broken {
    /// The connection or the server did it.
    Server(Error),
    /// What beginning again does not help.
    Failure(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Exports and says where to follow from.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let server = Connection::open(&args.server).await?;
    let bar = match is_watched() && !args.quiet {
        true => {
            let library = library::get(&server, args.library.clone()).await?;
            let style = "{bar:30} {pos}/{len} documents  {per_sec}  ETA {eta}";
            let bar = ProgressBar::new(library.num_documents);
            let bar = bar.with_style(ProgressStyle::with_template(style)?);
            bar.enable_steady_tick(BAR_INTERVAL);
            bar
        }
        false => ProgressBar::hidden(),
    };
    // A part of a file is taken away at a signal too.
    let interrupted = shutdown_on_signals()?;
    let exporting = async {
        match &args.output {
            Some(path) => to_file(&server, &args, path, &bar).await,
            None => to_output(&server, &args, &bar).await,
        }
    };
    let complete = tokio::select! {
        complete = exporting => complete,
        () = interrupted.cancelled() => Err(Ended::Interrupted.into()),
    };
    bar.finish_and_clear();
    let ExportComplete { total_documents, cursor } = complete?;
    if !args.quiet {
        let documents = counted(total_documents, "document");
        note(format_args!("{documents}; what came after: --cursor {cursor}"));
    }
    Ok(())
}

async fn to_output(
    server: &Connection,
    args: &Args,
    bar: &ProgressBar,
) -> Result<ExportComplete, Failure> {
    let mut out = Output::new();
    let write = |line: &json::Object| out.json(line);
    let complete = match export(server, args, bar, write).await {
        Ok(complete) => complete,
        Err(Broken::Failure(failure)) => return Err(failure),
        // What is written cannot be taken back.
        Err(Broken::Server(error)) => {
            // The reader gets what came, and no closing line.
            out.flush()?;
            return Err(error.into());
        }
    };
    out.flush()?;
    Ok(complete)
}

/// Writes under another name in the same folder, and renames when all of it is on the disk.
async fn to_file(
    server: &Connection,
    args: &Args,
    path: &Path,
    bar: &ProgressBar,
) -> Result<ExportComplete, Failure> {
    let told = |error: std::io::Error| -> Failure { format!("{}: {error}", path.display()).into() };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let mut outage = Outage::new(args.retry_seconds);
    loop {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .tempfile_in(folder)
            .map_err(told)?;
        let mut writer = BufWriter::new(part);
        let mut num_lines = 0_u64;
        let write = |line: &json::Object| {
            num_lines += 1;
            serde_json::to_writer(&mut writer, line)?;
            writer.write_all(b"\n").map_err(told)
        };
        let error = match export(server, args, bar, write).await {
            Ok(complete) => {
                let part = writer.into_inner().map_err(|error| told(error.into_error()))?;
                keep(part, path).map_err(told)?;
                return Ok(complete);
            }
            Err(Broken::Failure(failure)) => return Err(failure),
            Err(Broken::Server(error)) => error,
        };
        if num_lines > 0 {
            outage.over();
        }
        let passes = is_passing(&error);
        let Some(pause) = outage.pause(&error).filter(|_| passes) else {
            return Err(error.into());
        };
        if !args.quiet {
            let why = line(&error);
            bar.suspend(|| note(format_args!("{why}; begins again in {pause:.1?}")));
        }
        tokio::time::sleep(pause).await;
        bar.reset();
    }
}

/// Gives the file its name, once it is on the disk. Its permissions are those of other new files.
fn keep(part: NamedTempFile, path: &Path) -> std::io::Result<()> {
    part.as_file().sync_all()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is its owner's alone; what is at the path already says better.
        let mode = std::fs::metadata(path).map_or(0o644, |old| old.permissions().mode() & 0o777);
        part.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    part.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// One export from its begin to its end, verified by its count.
async fn export(
    server: &Connection,
    args: &Args,
    bar: &ProgressBar,
    mut write: impl FnMut(&json::Object) -> Result<(), Failure>,
) -> Result<ExportComplete, Broken> {
    let request = ExportDocumentsRequest {
        library_id: args.library.clone(),
        include_embeddings: args.include_embeddings,
        min_revision: args.min_revision,
        timeout_ms: None,
    };
    let mut client = server.documents();
    let broken = |status: tonic::Status| Broken::Server(connect::error(&status));
    let mut stream = client.export_documents(request).await.map_err(broken)?.into_inner();
    let mut num_documents = 0;
    while let Some(ExportDocumentsResponse { item }) = stream.message().await.map_err(broken)? {
        match item {
            Some(Item::Document(document)) => {
                num_documents += 1;
                bar.inc(1);
                write(&json::exported(document))?;
            }
            Some(Item::Complete(complete)) if complete.total_documents != num_documents => {
                let total = complete.total_documents;
                let detail = format!("{num_documents} of {total} documents came");
                return Err(Broken::Failure(Error::internal(detail).into()));
            }
            Some(Item::Complete(complete)) => {
                write(&json::export_complete(complete.clone()))?;
                return Ok(complete);
            }
            None => {}
        }
    }
    Err(Broken::Server(Error::unavailable("the export ended before it was complete")))
}
