//! What the demo shows, step by step, and checks as it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures::stream;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use super::super::Failure;
use super::super::output::thousands;
use super::client::{Client, Exported, Found, Ingested};
use super::corpus;
use super::follow::{self, Followed};
use super::report::{Checks, Latencies, millis, rate, say};
use crate::api::grpc::pb::{DocumentInput, ExportComplete, Hit};

/// The library that the corpus goes into.
pub(super) const LIBRARY: &str = "wordnet";

/// The library that its export goes into.
const COPY: &str = "wordnet-copy";

/// How long an event that is due may take.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Texts of the corpus that are searched for.
const SEARCHES: usize = 500;

/// Documents between an export and the ingest it is piped into.
const PIPE_DOCUMENTS: usize = 64;

/// How far from its own vector a text may be found: rounding.
const OWN_DISTANCE_MAX: f32 = 1e-3;

const QUESTIONS: [&str; 5] = [
    "a bird that hunts at night",
    "colours in the sky after the rain",
    "the planet with rings",
    "huge wave after an earthquake at sea",
    "an instrument played with a bow",
];

/// Goes through all steps. An error when a call fails or a check does not hold.
pub(super) async fn run(address: SocketAddr) -> Result<(), Failure> {
    let client = Client::connect(address).await?;
    let corpus = corpus::documents()?;
    let mut checks = Checks::default();
    let (ingested, followed) = stream_in(&client, &corpus, &mut checks).await?;
    resume(&client, &followed, &mut checks).await?;
    ask(&client, &corpus, &mut checks).await?;
    let searches = measure_searches(&client, &corpus, &mut checks).await?;
    let copied = copy(&client, &corpus, &mut checks).await?;

    let mut delays = followed.delays;
    let (mut first, mut whole) = searches;
    let count = corpus.len();
    say("\nFigures, with client and server on this machine in one process");
    let figure = |what: &str, figure: String| say(format_args!("  {what:<38} {figure}"));
    figure("durable ingest, one stream, documents", rate(count, ingested.whole));
    figure("first document acknowledged after", millis(ingested.first));
    figure("write to subscriber during ingest", delays.summary());
    figure("search by text, k = 10, first hit", first.summary());
    figure("search by text, k = 10, all hits", whole.summary());
    figure("export with vectors, documents", rate(count, copied.export));
    figure("export piped into ingest, documents", rate(count, copied.pipe));
    checks.end()
}

/// Streams the corpus in while a subscriber follows.
async fn stream_in(
    client: &Client,
    corpus: &[DocumentInput],
    checks: &mut Checks,
) -> Result<(Ingested, Followed), Failure> {
    let library = client.create_library(LIBRARY).await?;
    let embedder = library.embedder.unwrap_or_default().id;
    say(format_args!("\nLibrary {LIBRARY}: {} dimensions by {embedder}", library.dimension));

    let mut events = client.subscribe(LIBRARY, "now").await?;
    follow::begin(&mut events).await?;
    let count = corpus.len();
    say(format_args!(
        "\nStreaming in {} documents; the first events as they arrive:",
        thousands(&count.to_string())
    ));
    let style = "  {bar:40} {pos}/{len} documents";
    let bar = ProgressBar::new(count as u64).with_style(ProgressStyle::with_template(style)?);
    let follower = follow::until_batch_ends(events, Some(bar.clone()));
    let follower = AbortOnDropHandle::new(tokio::spawn(follower));
    let documents = stream::iter(corpus.to_vec());
    let ingested = client.ingest(LIBRARY, documents, || bar.inc(1)).await?;
    bar.finish_and_clear();
    let late = |_| format!("events are missing after {EVENT_TIMEOUT:?}");
    let followed = timeout(EVENT_TIMEOUT, follower).await.map_err(late)???;

    for failure in ingested.failures.iter().take(3) {
        let detail = failure.error.as_ref().map_or("", |error| &error.detail);
        say(format_args!("  refused: document {}, {}: {detail}", failure.position, failure.title));
    }
    let summary = &ingested.summary;
    let texts: usize = corpus.iter().map(|document| document.texts.len()).sum();
    checks.that(
        (summary.total_succeeded, summary.total_failed) == (count as u64, 0)
            && summary.total_chunks == texts as u64,
        format_args!(
            "{} documents with {} chunks are durable and searchable",
            summary.total_succeeded, summary.total_chunks
        ),
    );
    let sent: BTreeSet<_> = corpus.iter().map(|document| &document.id).collect();
    let told: BTreeSet<_> = followed.documents.iter().map(|(_, id)| id).collect();
    checks.that(
        followed.documents.len() == count && sent == told,
        format_args!("each document showed as one event ({})", followed.documents.len()),
    );
    checks.that(
        followed.documents.is_sorted_by(|(a, _), (b, _)| a < b),
        "events came in order of their ids",
    );
    checks.that(
        followed.batch.total_succeeded == summary.total_succeeded,
        "batch.completed says what the stream's summary says",
    );
    Ok((ingested, followed))
}

/// Comes back with a cursor out of the middle, as a client does after a break.
async fn resume(client: &Client, before: &Followed, checks: &mut Checks) -> Result<(), Failure> {
    let middle = before.documents.len() / 2;
    let Some((cursor, _)) = before.documents.get(middle) else { return Ok(()) };
    let events = client.subscribe(LIBRARY, cursor).await?;
    let late = |_| format!("events are missing after {EVENT_TIMEOUT:?}");
    let again = follow::until_batch_ends(events, None);
    let again = timeout(EVENT_TIMEOUT, again).await.map_err(late)??;
    checks.that(
        again.documents == before.documents[middle + 1..],
        format_args!("a subscriber that comes back got the {} it missed", again.documents.len()),
    );
    Ok(())
}

/// Asks questions and shows what is found.
async fn ask(
    client: &Client,
    corpus: &[DocumentInput],
    checks: &mut Checks,
) -> Result<(), Failure> {
    say("\nStreamed searches");
    let mut good = true;
    for question in QUESTIONS {
        let found = client.search(LIBRARY, question, 3).await?;
        say(format_args!("  {question}   ({})", millis(found.whole)));
        for hit in &found.hits {
            let text = shortened(hit.text.as_deref().unwrap_or_default(), 66);
            say(format_args!("    {:.3}  {}: {text}", hit.score, hit.title));
        }
        good &= is_ranked(&found, 3, corpus);
    }
    checks.that(good, "hits are documents of the corpus, ranked by score");
    Ok(())
}

/// Whether a search gave `k` hits in rank order, all of them of the corpus.
fn is_ranked(found: &Found, k: usize, corpus: &[DocumentInput]) -> bool {
    let known = |id: &str| corpus.iter().any(|document| document.id == id);
    found.hits.len() == k
        && found.total as usize == k
        && found.hits.iter().zip(1..).all(|(hit, rank)| hit.rank == rank)
        && found.hits.is_sorted_by(|a, b| a.score >= b.score)
        && found.hits.iter().all(|hit| known(&hit.document_id))
}

/// Searches for texts that are there; each must find a text that says the same to the model. Gives
/// latencies to the first hit and to the last.
async fn measure_searches(
    client: &Client,
    corpus: &[DocumentInput],
    checks: &mut Checks,
) -> Result<(Latencies, Latencies), Failure> {
    let texts: Vec<_> = corpus.iter().flat_map(|document| &document.texts).collect();
    let step = (texts.len() / SEARCHES).max(1);
    let (mut first, mut whole) = (Latencies::default(), Latencies::default());
    let (mut made, mut own) = (0, 0);
    let is_own = |hit: &Hit| hit.distance.is_some_and(|distance| distance <= OWN_DISTANCE_MAX);
    for text in texts.into_iter().step_by(step).take(SEARCHES) {
        let found = client.search(LIBRARY, text, 10).await?;
        first.add(found.first);
        whole.add(found.whole);
        made += 1;
        own += usize::from(found.hits.first().is_some_and(is_own));
    }
    checks.that(own == made, format_args!("{own} of {made} texts were found by themselves"));
    Ok((first, whole))
}

/// How long the copy took.
struct Copied {
    export: Duration,
    pipe: Duration,
}

/// Exports the library, pipes another export of it into a second one, and compares.
async fn copy(
    client: &Client,
    corpus: &[DocumentInput],
    checks: &mut Checks,
) -> Result<Copied, Failure> {
    say("\nExport, and re-import into a second library");
    let began = Instant::now();
    let original = export_all(client, LIBRARY).await?;
    let export = began.elapsed();
    let same = corpus.iter().all(|sent| original.get(&sent.id).is_some_and(|got| says(got, sent)));
    checks.that(
        same && original.len() == corpus.len(),
        format_args!("the export has all {} documents as they were sent", corpus.len()),
    );

    client.create_library(COPY).await?;
    let began = Instant::now();
    let (documents, piped) = mpsc::channel(PIPE_DOCUMENTS);
    let reading = pipe_out(client, documents);
    let writing = client.ingest(COPY, ReceiverStream::new(piped), || ());
    let (ingested, complete) = tokio::try_join!(writing, reading)?;
    let pipe = began.elapsed();
    checks.that(
        ingested.summary.total_succeeded == complete.total_documents,
        format_args!("an export was piped into {COPY} ({} documents)", complete.total_documents),
    );
    let copied = export_all(client, COPY).await?;
    checks.that(copied == original, "both export the same documents, texts, metadata and vectors");
    Ok(Copied { export, pipe })
}

async fn export_all(
    client: &Client,
    library: &str,
) -> Result<BTreeMap<String, DocumentInput>, Failure> {
    let mut export = client.export(library).await?;
    let mut documents = BTreeMap::new();
    let mut count = 0;
    loop {
        match export.next().await? {
            Exported::Document(document) => {
                count += 1;
                documents.insert(document.id.clone(), *document);
            }
            Exported::Complete(complete) if complete.total_documents == count => {
                return Ok(documents);
            }
            Exported::Complete(complete) => {
                let total = complete.total_documents;
                return Err(format!("ExportDocuments: {count} of {total} documents came").into());
            }
        }
    }
}

async fn pipe_out(
    client: &Client,
    documents: mpsc::Sender<DocumentInput>,
) -> Result<ExportComplete, Failure> {
    let mut export = client.export(LIBRARY).await?;
    loop {
        match export.next().await? {
            Exported::Document(document) => {
                documents.send(*document).await.map_err(|_| "the ingest ended early")?;
            }
            Exported::Complete(complete) => return Ok(complete),
        }
    }
}

/// Whether an exported document says what was sent, whichever field its texts came in.
fn says(exported: &DocumentInput, sent: &DocumentInput) -> bool {
    let texts: Vec<&String> = if exported.chunks.is_empty() {
        exported.texts.iter().collect()
    } else {
        exported.chunks.iter().map(|chunk| &chunk.text).collect()
    };
    let heads = |document: &DocumentInput| {
        let DocumentInput { title, document_type, tags, metadata, .. } = document.clone();
        (title, document_type, tags, metadata)
    };
    heads(exported) == heads(sent) && texts.iter().copied().eq(&sent.texts)
}

/// At most `most` characters of a text.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::pb::ChunkInput;

    #[test]
    fn long_texts_are_shortened_between_characters() {
        assert_eq!(shortened("für alle", 20), "für alle");
        assert_eq!(shortened("für alle", 4), "für…");
        assert_eq!(shortened("", 0), "");
    }

    #[test]
    fn an_export_is_compared_by_what_it_says() {
        let sent = DocumentInput {
            id: "a".into(),
            title: "A".into(),
            texts: vec!["one".into(), "two".into()],
            ..Default::default()
        };
        let chunk = |text: &str| ChunkInput { text: text.into(), ..Default::default() };
        let exported = |texts: &[&str]| DocumentInput {
            chunks: texts.iter().map(|text| chunk(text)).collect(),
            texts: Vec::new(),
            ..sent.clone()
        };
        assert!(says(&exported(&["one", "two"]), &sent));
        assert!(says(&sent, &sent));
        assert!(!says(&exported(&["two", "one"]), &sent));
        assert!(!says(&exported(&["one"]), &sent));
        assert!(!says(&DocumentInput { title: "B".into(), ..sent.clone() }, &sent));
    }
}
