//! `arrwdb eval`: how well searches find what people judged to be right.
//!
//! Documents are what is judged and ranked: each counts with its best chunk.

mod measure;
mod read;

use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};

use self::measure::{Figures, Sum};
use self::read::{Judgements, Query};
use super::Failure;
use super::connect::{Connection, ServerArgs};
use super::json::Object;
use super::output::{Output, is_watched, note};
use super::search::{Mode, weights};
use crate::api::grpc::pb::{self, stream_search_response::Item};
use crate::types::{Error, ErrorKind};

/// Searches under way at once: the server's cores have work, other clients have their turn.
const SEARCHES_IN_FLIGHT: usize = 4;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The library, by name or id
    #[arg(long)]
    library: String,
    /// The queries: lines of an id, a tab and a text, or of JSON with `_id` and `text`
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Which documents are right: lines of query, anything, document and grade (TREC), or of query,
    /// document and grade below a head (BEIR)
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// By what is ranked [default: hybrid]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// How much each ranking counts in a hybrid search: that of nearness, then that of words
    #[arg(long, value_name = "VECTOR,TEXT", value_parser = weights)]
    weights: Option<pb::SearchWeights>,
    /// How many documents recall and the reciprocal rank look at, 10 to 10 000
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..))]
    k: u32,
    /// Only chunks of which this expression is true
    #[arg(long, value_name = "EXPRESSION", default_value = "", hide_default_value = true)]
    filter: String,
    /// Forbid approximation
    #[arg(long)]
    exact: bool,
    /// No progress and no notes
    #[arg(long)]
    quiet: bool,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Asks every judged query and prints the means.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let queries = read::queries(&args.queries)?;
    let judgements = read::judgements(&args.qrels)?;
    let num_queries = queries.len();
    let judged: Vec<Query> =
        queries.into_iter().filter(|query| judgements.has_relevant(&query.id)).collect();
    if judged.is_empty() {
        let detail = "no query has a document with a grade above 0 there";
        return Err(Error::invalid("--qrels", detail).into());
    }
    let num_unjudged = num_queries - judged.len();
    let num_unasked = judgements.len() - judged.len();
    if !args.quiet && num_unjudged > 0 {
        note(format_args!("{num_unjudged} queries have no right document: not measured"));
    }
    if !args.quiet && num_unasked > 0 {
        note(format_args!("{num_unasked} queries of the judgements are not among the queries"));
    }
    let server = Connection::open(&args.server).await?;
    let bar = (!args.quiet && is_watched()).then(|| bar(judged.len())).transpose()?;
    let measured = judged.iter().map(|query| measure(&server, &args, query, &judgements));
    let mut measured = futures::stream::iter(measured).buffer_unordered(SEARCHES_IN_FLIGHT);
    let mut sum = Sum::default();
    while let Some(figures) = measured.try_next().await? {
        sum.add(figures);
        if let Some(bar) = &bar {
            bar.inc(1);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let mean = sum.mean();
    let mut out = Output::new();
    let answer = Object::new()
        .with("library", args.library.clone())
        .with("num_queries", judged.len() as u64)
        .with("num_unjudged", num_unjudged as u64)
        .with("num_unasked", num_unasked as u64)
        .with("k", args.k)
        .with("ndcg_at_10", mean.ndcg)
        .with("recall_at_k", mean.recall)
        .with("mrr_at_k", mean.reciprocal_rank);
    out.answer(args.json, &answer)?;
    out.flush()
}

fn bar(queries: usize) -> Result<ProgressBar, Failure> {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} queries, {eta} left")?;
    Ok(ProgressBar::new(queries as u64).with_style(style))
}

/// Asks one query.
async fn measure(
    server: &Connection,
    args: &Args,
    query: &Query,
    judgements: &Judgements,
) -> Result<Figures, Failure> {
    let request = pb::StreamSearchRequest {
        library_id: args.library.clone(),
        query: Some(query.text.clone()),
        k: Some(args.k),
        mode: Mode::to_pb(args.mode),
        weights: args.weights,
        filter: args.filter.clone(),
        exact: args.exact,
        include_text: Some(false),
        group_by: pb::GroupBy::Document.into(),
        ..Default::default()
    };
    let of_query = |mut error: Error| {
        error.detail = format!("query {}: {}", query.id, error.detail);
        error
    };
    let asked = server.answer(server.searches().stream_search(request)).await;
    let mut stream = asked.map_err(of_query)?;
    let mut grades = Vec::new();
    loop {
        let message = stream.message().await;
        let message = message.map_err(|status| of_query(super::connect::error(&status)))?;
        match message.and_then(|message| message.item) {
            Some(Item::Hit(hit)) => grades.push(judgements.grade(&query.id, &hit.document_id)),
            Some(Item::Complete(_)) => break,
            None => {
                let detail = "the search ended before it was complete";
                return Err(of_query(Error::new(ErrorKind::Unavailable, detail)).into());
            }
        }
    }
    Ok(Figures::of(&grades, &judgements.grades(&query.id)))
}
