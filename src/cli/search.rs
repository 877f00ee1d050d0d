//! `arrwdb search`: hits as they come, for one query or for each line of standard input.

use tokio::io::{AsyncBufReadExt, BufReader};

use super::connect::{Connection, ServerArgs};
use super::output::{Output, excerpt, note};
use super::{Failure, json};
use crate::api::grpc::pb::{self, stream_search_response::Item};
use crate::types::{Error, ErrorKind, Result};

/// Characters of a hit's text that people are shown.
const TEXT_SHOWN: usize = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The library, by name or id
    library: String,
    /// What to be near to; several words are one query. `-` reads a query a line from standard
    /// input and answers each before the next is read
    #[arg(required = true, value_name = "QUERY")]
    query: Vec<String>,
    /// How many hits, at most 10 000
    #[arg(short, long, default_value_t = 10)]
    k: u32,
    /// Only chunks of which this expression is true, as in 'document.tags.contains("bird")'
    #[arg(long, value_name = "EXPRESSION", default_value = "", hide_default_value = true)]
    filter: String,
    /// By what chunks are ranked [default: vector with a distance threshold, else hybrid]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// How much each ranking counts in a hybrid search: that of nearness, then that of words
    #[arg(long, value_name = "VECTOR,TEXT", value_parser = weights)]
    weights: Option<pb::SearchWeights>,
    /// Say how each hit came to its rank
    #[arg(long)]
    explain: bool,
    /// Only hits at this distance or nearer
    #[arg(long, value_name = "DISTANCE", allow_negative_numbers = true)]
    distance_threshold: Option<f32>,
    /// Forbid approximation
    #[arg(long)]
    exact: bool,
    /// Do not fetch the hits' texts
    #[arg(long)]
    no_text: bool,
    /// See at least this revision
    #[arg(long, value_name = "REVISION")]
    min_revision: Option<u64>,
    /// Print a line of JSON for each hit, and one at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// By what chunks are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// By nearness of vectors and by words, the two rankings made one
    Hybrid,
    /// By nearness of vectors
    Vector,
    /// By words
    Text,
}

impl Mode {
    /// As a request says it.
    pub(super) fn to_pb(mode: Option<Self>) -> i32 {
        let mode = mode.map_or(pb::SearchMode::Unspecified, |mode| match mode {
            Self::Hybrid => pb::SearchMode::Hybrid,
            Self::Vector => pb::SearchMode::Vector,
            Self::Text => pb::SearchMode::Text,
        });
        mode.into()
    }
}

/// Two numbers; the server says whether they can be weights.
pub(super) fn weights(text: &str) -> Result<pb::SearchWeights, String> {
    let numbers = text.split_once(',').and_then(|(vector, text)| {
        Some(pb::SearchWeights {
            vector: vector.trim().parse().ok()?,
            text: text.trim().parse().ok()?,
        })
    });
    numbers.ok_or_else(|| "must be two numbers separated by a comma".to_owned())
}

/// Searches and prints the hits.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let server = Connection::open(&args.server).await?;
    let mut out = Output::new();
    if args.query != ["-"] {
        let hits = search(&server, &args, args.query.join(" "), &mut out).await?;
        if hits == 0 && !args.json {
            note("nothing found");
        }
        return out.flush();
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        // An empty line is what a search field holds before the first letter.
        if !line.trim().is_empty() {
            search(&server, &args, line, &mut out).await?;
        }
        if !args.json {
            out.line("")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// One query; gives how many hits there are.
async fn search(
    server: &Connection,
    args: &Args,
    query: String,
    out: &mut Output,
) -> Result<u32, Failure> {
    let request = pb::StreamSearchRequest {
        library_id: args.library.clone(),
        query: Some(query),
        k: Some(args.k),
        mode: Mode::to_pb(args.mode),
        weights: args.weights,
        explain: args.explain,
        distance_threshold: args.distance_threshold,
        filter: args.filter.clone(),
        include_text: Some(!args.no_text),
        exact: args.exact,
        min_revision: args.min_revision,
        ..Default::default()
    };
    let mut stream = server.answer(server.searches().stream_search(request)).await?;
    while let Some(message) = out.next(&mut stream).await? {
        match message.item {
            Some(Item::Hit(hit)) if args.json => out.json(&json::hit(hit))?,
            Some(Item::Hit(hit)) => show(&hit, out)?,
            Some(Item::Complete(complete)) => {
                let total = complete.total_results;
                if args.json {
                    out.json(&json::search_complete(complete))?;
                }
                return Ok(total);
            }
            None => {}
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "the search ended before it was complete").into())
}

fn show(hit: &pb::Hit, out: &mut Output) -> Result<(), Failure> {
    let (rank, score, id) = (hit.rank, hit.score, &hit.document_id);
    out.line(format_args!("{rank:>3}  {score:.4}  {id}  {}", excerpt(&hit.title, TEXT_SHOWN)))?;
    if let Some(explanation) = &hit.explanation {
        if let Some(pb::VectorPart { rank, distance, score }) = &explanation.vector {
            out.line(format_args!(
                "     {score:.4} by nearness: rank {rank}, distance {distance}"
            ))?;
        }
        if let Some(pb::TextPart { rank, bm25, score }) = &explanation.text {
            out.line(format_args!("     {score:.4} by words: rank {rank}, BM25 {bm25}"))?;
        }
    }
    match hit.text.as_deref().map(|text| excerpt(text, TEXT_SHOWN)) {
        Some(text) if !text.is_empty() => out.line(format_args!("     {text}")),
        Some(_) | None => Ok(()),
    }
}
