//! `arrwdb verify-feed`: checks recorded streams against what the feed promises.
//!
//! [`record`] is what was recorded, [`Recording::parse`] reads it, [`check`] looks at one recording,
//! [`Log`] at several together, [`check_export`] at an export; tests use the same.

mod check;
mod compare;
mod facts;
mod fold;
mod read;
mod record;
mod sift;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use check::{Checked, Covered, check, check_filtered};
pub use compare::Log;
pub use fold::{check_export, check_snapshots};
pub use read::{ExportRecord, Unreadable};
pub use record::{
    Asked, DocumentRecord, Entry, EventRecord, Item, Place, Recording, Rule, Subject, Violation,
};
pub use sift::Sifted;

use super::Failure;
use crate::types::{
    Cursor, EventType, Filter, FilterScope, LibraryId, LibraryName, LibraryRef, Limits, Revision,
    StartAt,
};

/// Exit status when a rule is broken.
const EXIT_VIOLATIONS: u8 = 1;
/// Exit status when something cannot be read.
const EXIT_UNREADABLE: u8 = 2;
/// Violations that are reported in full; the others are counted.
const REPORTED_MAX: usize = 100;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Recordings: what `curl -N …/v1/events/stream` wrote, events or pages as JSON, or what
    /// grpcurl printed; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The files are one reading in pieces, each resumed with the last id of the one before
    #[arg(long)]
    resumed: bool,
    /// Where the recordings were asked to begin (`begin` or a cursor), for those that do not begin
    /// with a heartbeat
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<StartAt>,
    /// The recordings were asked for this library only, by id or name
    #[arg(long, value_name = "LIBRARY")]
    library: Option<LibraryRef>,
    /// The recordings were asked for these types only, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    event_types: Vec<String>,
    /// The recordings were asked for with this filter; needs a --reference from the feed's begin on
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// A recording of all events, taken for the log: the recordings must hold exactly what they
    /// were asked for of it, and their snapshots the documents that it gives
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// An export of a library: the events up to its cursor must give exactly its documents
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

/// Checks and reports on standard output; 1 when a rule is broken, 2 when something cannot be read.
pub(super) fn run(args: &Args) -> ExitCode {
    match verify(args) {
        Ok(report) => report.tell(),
        Err(error) => {
            eprintln!("arrwdb: {error}");
            ExitCode::from(EXIT_UNREADABLE)
        }
    }
}

/// What is told at the end.
#[derive(Debug, Default)]
struct Report {
    violations: Vec<Violation>,
    recordings: usize,
    events: u64,
    bookmarks: u64,
    resumes: u64,
    /// Events that are known over all recordings.
    known: usize,
    /// Documents of the export.
    documents: Option<usize>,
}

impl Report {
    fn tell(&self) -> ExitCode {
        // That nobody reads it is no reason to fail.
        let mut out = std::io::stdout().lock();
        for violation in self.violations.iter().take(REPORTED_MAX) {
            let _ = writeln!(out, "{violation}");
        }
        if let Some(more) = self.violations.len().checked_sub(REPORTED_MAX).filter(|n| *n > 0) {
            let _ = writeln!(out, "… and {more} more");
        }
        let export = self.documents.map(|n| format!(", {n} exported documents"));
        let _ = writeln!(
            out,
            "{} recordings, {} events ({} distinct), {} bookmarks, {} resumes{}: {} violations",
            self.recordings,
            self.events,
            self.known,
            self.bookmarks,
            self.resumes,
            export.unwrap_or_default(),
            self.violations.len()
        );
        match self.violations.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(EXIT_VIOLATIONS),
        }
    }
}

fn verify(args: &Args) -> Result<Report, Failure> {
    let mut recordings = Vec::new();
    for file in &args.files {
        recordings.push(Recording::parse(&file.display().to_string(), &text(file)?)?);
    }
    if args.resumed {
        recordings = Recording::joined(recordings).into_iter().collect();
    }
    let parse = |path: &PathBuf| -> Result<_, Failure> {
        Ok(Recording::parse(&path.display().to_string(), &text(path)?)?)
    };
    let reference = args.reference.as_ref().map(parse).transpose()?;
    let sifted = sifted(args)?;
    let known = || recordings.iter().chain(&reference);
    let asked = Asked { library: library(args, known())?, types: types(args)? };

    let mut report = Report { recordings: recordings.len(), ..Report::default() };
    let mut checks = Vec::new();
    let check_one = if sifted.is_some() { check_filtered } else { check };
    for recording in &recordings {
        let checked = check_one(recording, asked, start(args.cursor, recording)?);
        report.add(&checked);
        checks.push(checked.covered);
    }
    let authority = reference.as_ref().map(|reference| {
        let checked = check(reference, Asked::ALL, start(Some(StartAt::Begin), reference).ok()?);
        Some((reference, checked))
    });
    let authority = authority.flatten();
    let log = match &authority {
        Some((reference, checked)) => {
            report.violations.extend(checked.violations.iter().cloned());
            let shown = sifted.as_ref().map(|sifted| &sifted.shown);
            let whole = Log::reference(reference, &checked.covered);
            for recording in &recordings {
                let found = check_snapshots(&whole, recording, asked.library, shown);
                report.violations.extend(found);
            }
            whole
        }
        None => Log::union(recordings.iter().zip(checks.iter().map(Vec::as_slice))),
    };
    let passed = sifted.as_ref().map(|one| Log::reference(&one.recording, log.covered()));
    for (recording, covered) in recordings.iter().zip(&checks) {
        let log = passed.as_ref().unwrap_or(&log);
        report.violations.extend(log.compare(recording, covered, asked));
    }
    report.known = log.len();
    if let Some(path) = &args.export {
        let export = ExportRecord::parse(&path.display().to_string(), &text(path)?)?;
        report.documents = Some(export.documents.len());
        let library = asked.library.ok_or("--export needs --library, to know whose it is")?;
        if reference.is_none() && !asked.whole_changes() {
            return Err("--export needs all event types, or a --reference".into());
        }
        report.violations.extend(check_export(&log, library, &export));
    }
    Ok(report)
}

/// What the filter that was asked for lets through of the reference.
fn sifted(args: &Args) -> Result<Option<Sifted>, Failure> {
    let Some(filter) = &args.filter else { return Ok(None) };
    let path = args.reference.as_ref().ok_or("--filter needs a --reference")?;
    let filter = Filter::parse(filter, FilterScope::Feed, &Limits::default())?;
    Ok(Some(Sifted::parse(&path.display().to_string(), &text(path)?, &filter)?))
}

impl Report {
    fn add(&mut self, checked: &Checked) {
        self.violations.extend(checked.violations.iter().cloned());
        self.events += checked.events;
        self.bookmarks += checked.bookmarks;
        self.resumes += checked.resumes;
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    let read = match path.as_os_str() == "-" {
        true => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).map(|_| text)
        }
        false => std::fs::read(path),
    };
    let bytes = read.map_err(|error| format!("{}: {error}", path.display()))?;
    // A stream may be cut within a character; what is cut is not looked at.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where a recording was asked to begin.
fn start(cursor: Option<StartAt>, recording: &Recording) -> Result<Option<Cursor>, Failure> {
    match cursor {
        None => Ok(None),
        Some(StartAt::Cursor(cursor)) => Ok(Some(cursor)),
        Some(StartAt::Begin) => {
            // A heartbeat says it better: the log may begin later than with its first change.
            let first = recording.entries.iter().find_map(|entry| match &entry.item {
                Item::Bookmark(_) | Item::SnapshotEnd { .. } => Some(None),
                Item::Event(event) => Some(Some(Cursor::after(event.id.epoch, Revision::ZERO))),
                Item::Connected | Item::Document(_) | Item::Ended => None,
            });
            Ok(first.flatten())
        }
        Some(StartAt::Now | StartAt::Revision(_) | StartAt::Time(_)) => {
            Err("--cursor must be `begin` or a cursor".into())
        }
    }
}

fn types(args: &Args) -> Result<u16, Failure> {
    match args.event_types.as_slice() {
        [] => Ok(u16::MAX),
        names => names.iter().try_fold(0, |set, name| Ok(set | EventType::parse(name)?.bit())),
    }
}

/// The id of the library that was asked for; a name is found in the recordings.
fn library<'a>(
    args: &Args,
    recordings: impl Iterator<Item = &'a Recording>,
) -> Result<Option<LibraryId>, Failure> {
    match &args.library {
        None => Ok(None),
        Some(LibraryRef::Id(id)) => Ok(Some(*id)),
        Some(LibraryRef::Name(name)) => {
            let found =
                recordings.flat_map(Recording::events).find_map(|(_, event)| named(event, name));
            let missing = || format!("no recording names library {name}: give its id");
            found.map(Some).ok_or_else(|| missing().into())
        }
    }
}

fn named(event: &EventRecord, name: &LibraryName) -> Option<LibraryId> {
    match &event.subject {
        Subject::Library(Some(of)) if of == name => Some(event.library),
        Subject::Library(_)
        | Subject::Document { .. }
        | Subject::Chunk { .. }
        | Subject::Batch { .. }
        | Subject::Other => None,
    }
}
