//! `arrwdb subscribe`: events on standard output, over broken connections and restarts of the
//! server, each once.

mod show;
mod stream;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::stream::{Came, Stream};
use super::connect::{Connection, ServerArgs, seconds};
use super::exit::Ended;
use super::output::{Output, note};
use super::retry::{Outage, is_passing};
use super::{Failure, json, shutdown_on_signals};
use crate::api::grpc::pb;
use crate::api::grpc::values::event_type_to_pb;
use crate::types::{Cursor, EventType, Result, StartAt};

pub(super) use show::show;

/// Events of one page where only what is there already is read.
const PAGE_EVENTS: u32 = 1_000;
/// As a consumer: what was printed is acknowledged after so many events, and when nothing comes.
const ACKNOWLEDGED_EVENTS: u64 = 1_000;

/// Which events are wanted.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WantedArgs {
    /// Only events of this library, by name or id
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) library: String,
    /// Only events of these types, separated by commas, as in document.added,document.deleted
    #[arg(long, value_delimiter = ',', value_name = "TYPES", value_parser = EventType::parse)]
    pub(super) event_types: Vec<EventType>,
    /// Only events of which this expression is true, as in 'document.title.contains("x")'
    #[arg(long, value_name = "EXPRESSION", default_value = "", hide_default_value = true)]
    pub(super) filter: String,
    /// Where to begin: a cursor, begin, now, revision:N or time:RFC3339
    #[arg(long, default_value = "now", value_parser = start)]
    pub(super) cursor: String,
}

impl WantedArgs {
    /// The types as numbers of a message.
    pub(super) fn types(&self) -> Vec<i32> {
        self.event_types.iter().map(|kind| event_type_to_pb(*kind).into()).collect()
    }
}

/// Checks where to begin; the server gets it as it was written.
pub(super) fn start(text: &str) -> Result<String> {
    let _: StartAt = text.parse()?;
    Ok(text.to_owned())
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    wanted: WantedArgs,
    /// Begin with the documents that are there, then go on with what comes after them
    #[arg(long, conflicts_with_all = ["cursor", "until_tail", "consumer"])]
    snapshot: bool,
    /// Follow as this durable consumer, and acknowledge what was printed
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["library", "event_types", "filter", "cursor", "until_tail"]
    )]
    consumer: Option<String>,
    /// End at the end of the feed, as it is when this begins, instead of waiting for more
    #[arg(long)]
    until_tail: bool,
    /// End after so many events
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// Print a line of JSON for each event, as the HTTP stream has it
    #[arg(long)]
    json: bool,
    /// With --json, print heartbeats too: their ids are cursors
    #[arg(long, requires = "json", conflicts_with = "until_tail")]
    heartbeats: bool,
    /// Seconds to try when the connection breaks; counts from the last event or heartbeat
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    retry_seconds: Duration,
    /// Do not tell of broken connections, nor at the end where to go on
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Prints events until the limit, the tail or a signal.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let server = Connection::open(&args.server).await?;
    let interrupted = shutdown_on_signals()?;
    let mut printer = Printer {
        out: Output::new(),
        json: args.json,
        left: args.limit.unwrap_or(u64::MAX),
        cursor: String::new(),
    };
    let end = match args.until_tail {
        true => past(&server, &args, &mut printer, &interrupted).await,
        false => follow(&server, &args, &mut printer, &interrupted).await,
    };
    printer.out.flush()?;
    if !args.quiet && !printer.cursor.is_empty() {
        let place = &printer.cursor;
        match &args.consumer {
            Some(name) => note(format_args!("{name} has acknowledged up to {place}")),
            None => note(format_args!("go on with --cursor {place}")),
        }
    }
    end
}

/// What prints, and knows where it is.
struct Printer {
    out: Output,
    json: bool,
    /// Events until the limit.
    left: u64,
    /// Behind what was printed; empty before it is known.
    cursor: String,
}

impl Printer {
    /// Prints an event; gives whether more are wanted.
    fn event(&mut self, event: pb::Event) -> Result<bool, Failure> {
        let id = event.id.clone();
        let event = json::event(event);
        match self.json {
            true => self.out.json(&event)?,
            false => self.out.line(show(&event))?,
        }
        self.cursor = id;
        self.left -= 1;
        Ok(self.left > 0)
    }

    fn other(&mut self, object: &json::Object) -> Result<(), Failure> {
        match self.json {
            true => self.out.json(object),
            false => self.out.line(show(object)),
        }
    }
}

/// Everything up to the end of the feed as it is now, page by page.
async fn past(
    server: &Connection,
    args: &Args,
    printer: &mut Printer,
    interrupted: &CancellationToken,
) -> Result<(), Failure> {
    let wanted = &args.wanted;
    let mut cursor = wanted.cursor.clone();
    let mut end: Option<Cursor> = None;
    let mut outage = Outage::new(args.retry_seconds);
    while printer.left > 0 {
        let request = pb::ListEventsRequest {
            library_id: wanted.library.clone(),
            event_types: wanted.types(),
            cursor: cursor.clone(),
            filter: wanted.filter.clone(),
            limit: u32::try_from(printer.left).unwrap_or(u32::MAX).min(PAGE_EVENTS),
            ..Default::default()
        };
        let mut client = server.events();
        let page = tokio::select! {
            page = server.answer(client.list_events(request)) => page,
            () = interrupted.cancelled() => return Err(Ended::Interrupted.into()),
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                let Some(pause) = outage.pause(&error).filter(|_| is_passing(&error)) else {
                    return Err(error.into());
                };
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        outage.over();
        let end = *end.get_or_insert(page.tail_cursor.parse()?);
        for event in page.events {
            let id: Cursor = event.id.parse()?;
            // Others write on meanwhile.
            if id > end || !printer.event(event)? {
                return Ok(());
            }
        }
        printer.out.flush()?;
        printer.cursor.clone_from(&page.next_cursor);
        if page.next_cursor.parse::<Cursor>()? >= end {
            return Ok(());
        }
        cursor = page.next_cursor;
    }
    Ok(())
}

/// Everything, live.
async fn follow(
    server: &Connection,
    args: &Args,
    printer: &mut Printer,
    interrupted: &CancellationToken,
) -> Result<(), Failure> {
    let wanted = &args.wanted;
    let as_consumer = args.consumer.is_some();
    let request = pb::SubscribeRequest {
        library_id: wanted.library.clone(),
        event_types: wanted.types(),
        // A consumer and a snapshot say themselves where to begin.
        cursor: match as_consumer || args.snapshot {
            true => String::new(),
            false => wanted.cursor.clone(),
        },
        filter: wanted.filter.clone(),
        snapshot: args.snapshot,
        consumer: args.consumer.clone().unwrap_or_default(),
        ..Default::default()
    };
    let mut stream = Stream::new(server.clone(), request, args.retry_seconds, args.quiet);
    let mut unacknowledged = 0;
    while printer.left > 0 {
        let came = match stream.ready() {
            Some(came) => came?,
            None => {
                // Nothing is at hand: what was printed goes out, and is done with.
                printer.out.flush()?;
                if as_consumer && unacknowledged > 0 {
                    stream.acknowledge(&printer.cursor).await?;
                    unacknowledged = 0;
                }
                tokio::select! {
                    came = stream.next() => came?,
                    () = interrupted.cancelled() => break,
                }
            }
        };
        match came {
            Came::Event(event) => {
                unacknowledged += 1;
                let more = printer.event(*event)?;
                if as_consumer && (unacknowledged >= ACKNOWLEDGED_EVENTS || !more) {
                    printer.out.flush()?;
                    stream.acknowledge(&printer.cursor).await?;
                    unacknowledged = 0;
                }
            }
            Came::Heartbeat(heartbeat) => {
                // The first of a consumer's connection may lie behind what was printed.
                if !as_consumer || printer.cursor < heartbeat.cursor {
                    printer.cursor.clone_from(&heartbeat.cursor);
                }
                if args.heartbeats {
                    printer.other(&json::heartbeat(heartbeat))?;
                }
            }
            Came::SnapshotBegin => {
                printer.cursor.clear();
                printer.other(&json::Object::new().with("type", "snapshot.begin"))?;
            }
            Came::SnapshotDocument(document) => {
                printer.other(&json::snapshot_document(*document))?;
            }
            Came::SnapshotEnd(end) => {
                printer.cursor.clone_from(&end.cursor);
                printer.other(&json::snapshot_end(end))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin_is_checked_at_once() {
        for text in ["begin", "now", "revision:7", "time:2026-11-24T00:00:00Z"] {
            assert_eq!(start(text).as_deref(), Ok(text));
        }
        assert!(start("soon").is_err());
    }
}
