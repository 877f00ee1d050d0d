//! What an ingest tells: progress on standard error, failures, and the summary.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::super::Failure;
use super::super::exit::line;
use super::super::json::{self, Json, Object};
use super::super::output::{Output, counted, excerpt, is_watched, note, shown, thousands};
use super::window::{Became, Outcome, Totals};
use crate::api::fault::Fault;
use crate::types::Error;

/// Failures that are told of one by one; all are counted, and in the file.
const FAILURES_SHOWN: u64 = 20;
/// Between two lines of progress where nobody watches.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Between two looks of the bar.
const BAR_INTERVAL: Duration = Duration::from_millis(200);

/// How an ingest is going.
pub(super) struct Report {
    began: Instant,
    bar: Option<ProgressBar>,
    /// Whether lines of progress are wanted instead.
    lines: bool,
    told: Instant,
    num_bytes: u64,
    num_bytes_total: Option<u64>,
    quiet: bool,
    /// Whether failures go to standard output as JSON.
    json: Option<Output>,
    failures: Option<(PathBuf, BufWriter<File>)>,
    is_truncated: bool,
}

impl Report {
    /// `num_bytes_total`: of the whole input, where that is known.
    pub(super) fn new(
        quiet: bool,
        json: bool,
        failures: Option<&Path>,
        num_bytes_total: Option<u64>,
    ) -> Result<Self, Failure> {
        let failures = failures.map(|path| {
            let file = File::create(path).map_err(|error| told(path, &error))?;
            Ok::<_, Failure>((path.to_owned(), BufWriter::new(file)))
        });
        let bar = (!quiet && is_watched()).then(|| bar(num_bytes_total)).transpose()?;
        Ok(Self {
            began: Instant::now(),
            lines: !quiet && bar.is_none(),
            bar,
            told: Instant::now(),
            num_bytes: 0,
            num_bytes_total,
            quiet,
            json: json.then(Output::new),
            failures: failures.transpose()?,
            is_truncated: false,
        })
    }

    /// What has become of some documents.
    pub(super) fn tell(&mut self, outcomes: Vec<Outcome>, totals: &Totals) -> Result<(), Failure> {
        let mut nth = totals.failed - failures(&outcomes);
        for outcome in outcomes {
            self.num_bytes += outcome.num_bytes;
            if let Became::Failed(error) = &outcome.became {
                nth += 1;
                self.failed(&outcome, error, nth)?;
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.num_bytes);
            bar.set_message(self.counts(totals));
        } else if self.lines && self.told.elapsed() >= LINE_INTERVAL {
            self.told = Instant::now();
            note(format_args!("{}{}", self.counts(totals), self.left()));
        }
        Ok(())
    }

    fn failed(&mut self, outcome: &Outcome, error: &Error, nth: u64) -> Result<(), Failure> {
        let record = record(outcome, error);
        if let Some((path, file)) = &mut self.failures {
            serde_json::to_writer(&mut *file, &record)?;
            let written = file.write_all(b"\n").and_then(|()| file.flush());
            written.map_err(|error| told(path, &error))?;
        }
        if let Some(out) = &mut self.json {
            out.json(&record)?;
            return out.flush();
        }
        let place = shown(&place(outcome));
        let title = match excerpt(&outcome.title, 60) {
            none if none.is_empty() => String::new(),
            title => format!(" {title:?}"),
        };
        match nth {
            1..=FAILURES_SHOWN => self.say(&format!("{place}{title}: {}", line(error))),
            _ if nth == FAILURES_SHOWN + 1 => {
                self.say("more failures are counted; --failures FILE keeps them all");
            }
            _ => {}
        }
        Ok(())
    }

    /// Something that a person should know on the way.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }

    /// An export came that lacks its end.
    pub(super) fn truncated(&mut self, file: &str) {
        self.is_truncated = true;
        self.say(&format!("{}: the export is truncated: some of it is missing", shown(file)));
    }

    /// Whether all went well.
    pub(super) fn is_good(&self, totals: &Totals) -> bool {
        totals.failed == 0 && !self.is_truncated
    }

    /// The summary, at the end.
    pub(super) fn end(mut self, totals: &Totals, pending: usize) -> Result<(), Failure> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some((path, file)) = &mut self.failures {
            file.flush().map_err(|error| told(path, &error))?;
        }
        let mut out = match self.json.take() {
            Some(mut out) => {
                out.json(&summary(totals, self.is_truncated))?;
                return out.flush();
            }
            None => Output::new(),
        };
        let written = counted(totals.succeeded, "document");
        let took = self.began.elapsed();
        let rest = [
            (totals.skipped, "skipped"),
            (totals.failed, "failed"),
            (pending as u64, "sent and not answered"),
        ];
        let rest: String = rest
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!(", {} {what}", thousands(&count.to_string())))
            .collect();
        let chunks = counted(totals.chunks, "chunk");
        out.line(format_args!("{written} written{rest}; {chunks}, revision {}", totals.revision))?;
        out.flush()?;
        if !self.quiet {
            let rate = rate(totals.processed(), took);
            note(format_args!("{:.1} s, {rate} documents/s", took.as_secs_f64()));
        }
        Ok(())
    }

    fn counts(&self, totals: &Totals) -> String {
        let processed = counted(totals.processed(), "document");
        let rate = rate(totals.processed(), self.began.elapsed());
        match totals.failed {
            0 => format!("{processed}, {rate}/s"),
            failed => format!("{processed}, {rate}/s, {} failed", thousands(&failed.to_string())),
        }
    }

    /// How much of the input is done, and how long the rest may take.
    fn left(&self) -> String {
        let Some(total) = self.num_bytes_total.filter(|_| self.num_bytes > 0) else {
            return String::new();
        };
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let done = (self.num_bytes as f64 / total as f64).min(1.0);
        let left = self.began.elapsed().mul_f64((1.0 - done) / done);
        format!(", {:.0} %, about {} left", done * 100.0, HumanDuration(left))
    }
}

fn failures(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().filter(|one| matches!(one.became, Became::Failed(_))).count() as u64
}

fn bar(num_bytes_total: Option<u64>) -> Result<ProgressBar, Failure> {
    let bar = match num_bytes_total {
        Some(total) => ProgressBar::new(total).with_style(ProgressStyle::with_template(
            "{bar:30} {bytes}/{total_bytes}  {msg}  ETA {eta}",
        )?),
        None => ProgressBar::new_spinner()
            .with_style(ProgressStyle::with_template("{spinner} {bytes}  {msg}")?),
    };
    bar.enable_steady_tick(BAR_INTERVAL);
    Ok(bar)
}

fn rate(count: u64, took: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = count as f64 / took.as_secs_f64().max(1e-3);
    thousands(&format!("{rate:.0}"))
}

fn told(path: &Path, error: &std::io::Error) -> Failure {
    format!("{}: {error}", path.display()).into()
}

fn place(outcome: &Outcome) -> String {
    match outcome.place.line {
        Some(line) => format!("{}:{line}", outcome.place.file),
        None => outcome.place.file.to_string(),
    }
}

/// A failure as a line of JSON: what HTTP answers to it, with the file.
fn record(outcome: &Outcome, error: &Error) -> Object {
    let retry_after = error.retry_after.and_then(|after| u64::try_from(after.as_millis()).ok());
    let slug = Fault::of(error.kind).slug;
    Object::new()
        .with("status", "failed")
        .with("file", &*outcome.place.file)
        .with_some("line", outcome.place.line)
        .with("title", outcome.title.as_str())
        .with("error", json::stream_error(slug, &error.detail, retry_after))
}

/// The summary as HTTP has it; several streams have several batches.
fn summary(totals: &Totals, is_truncated: bool) -> Object {
    let last = totals.batch_ids.last().map_or("", String::as_str);
    let all = totals.batch_ids.iter().map(|id| Json::from(id.as_str())).collect::<Vec<_>>();
    Object::new()
        .with("status", "summary")
        .with("batch_id", last)
        .with("total_processed", totals.processed())
        .with("total_succeeded", totals.succeeded)
        .with("total_failed", totals.failed)
        .with("total_skipped", totals.skipped)
        .with("total_chunks", totals.chunks)
        .with("revision", totals.revision.to_string())
        .with_some("truncated", is_truncated.then_some(true))
        .with("batch_ids", all)
        .with("resumptions", totals.resumptions)
}
