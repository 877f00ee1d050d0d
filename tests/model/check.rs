//! Whether the database is what the model says: state, search, feed, store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrwdb::engine::changes::{EventsRequest, FeedItem};
use arrwdb::engine::mode::SearchMode;
use arrwdb::engine::search::{QueryBy, SearchQuery, SearchRequest};
use arrwdb::engine::{Engine, ReadAt};
use arrwdb::log::{AppendError, ChangeLog, LogBounds, ReadError};
use arrwdb::store::{DocumentParts, Store};
use arrwdb::text::{QueryTerms, RowTerms, TextIndex, TextQuery};
use arrwdb::types::filter::FieldsOf;
use arrwdb::types::{
    Change, ChangeHead, Cursor, Document, DocumentId, ErrorKind, Filter, FilterScope, LibraryRef,
    Limits, PageRequest, Revision, RowKey, StartAt, Timestamp,
};
use async_trait::async_trait;

use crate::dice::Dice;
use crate::embedder;
use crate::fold::{Fold, ModelChunk, ModelDocument, ModelLibrary, distance};
use crate::ops::vector;
use crate::told::{self, ToldEvent};
use crate::world::{self, World};

/// A read of what is there.
pub const NOW: ReadAt = ReadAt { min_revision: None, timeout: None };

/// Everything that can be read, against everything that the model knows.
pub async fn everything(world: &World, fold: &Fold, dice: &mut Dice) {
    let engine = world.engine();
    assert_eq!(engine.tail(), fold.tail());
    assert_eq!(engine.readiness(), Ok(()));
    libraries(engine, fold).await;
    for library in fold.libraries.values() {
        documents(engine, library, dice).await;
        search(engine, library, dice).await;
    }
    feed(world, fold, dice).await;
    log(world, fold).await;
}

async fn libraries(engine: &Engine, fold: &Fold) {
    let (mut views, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { size: 2, token };
        let page = engine.list_libraries(page, NOW).await.expect("listed");
        views.extend(page.items);
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    let mut expected: Vec<_> = fold.libraries.values().collect();
    expected.sort_by_key(|library| library.library.name.clone());
    assert_eq!(views.len(), expected.len());
    for (view, library) in views.iter().zip(expected) {
        assert_eq!((&view.library, view.counts), (&library.library, library.counts()));
        let by_name = LibraryRef::Name(view.library.name.clone());
        assert_eq!(engine.get_library(&by_name, NOW).await.as_ref(), Ok(view));
        let statistics = engine.library_statistics(&by_name, NOW).await.expect("there");
        assert_eq!((statistics.counts, statistics.revision), (view.counts, fold.tail()));
    }
    if let Some(gone) = fold.gone.last() {
        let error = engine.get_library(&LibraryRef::Id(*gone), NOW).await.expect_err("gone");
        assert_eq!(error.kind, ErrorKind::NotFound);
    }
}

/// Whether a document as read is the model's.
pub fn assert_document(is: &Document, expected: &ModelDocument, with_vectors: bool) {
    assert_eq!(is.head, expected.head);
    assert_eq!(is.chunks.len(), expected.chunks.len());
    for (chunk, expected) in is.chunks.iter().zip(&expected.chunks) {
        assert_eq!(chunk.head, expected.head);
        assert_eq!(*chunk.text, *expected.text);
        let vector = chunk.vector.as_ref().map(|vector| vector.as_slice());
        assert_eq!(vector, with_vectors.then_some(expected.vector.as_slice()));
    }
}

async fn documents(engine: &Engine, library: &ModelLibrary, dice: &mut Dice) {
    let reference = LibraryRef::Id(library.library.id);
    let mut expected: Vec<_> = library.documents.values().collect();
    expected.sort_by_key(|document| document.head.created_revision);

    let mut export = engine.export(&reference, true, NOW).await.expect("exported");
    assert_eq!(export.total_documents(), library.counts().documents);
    let mut exported = Vec::new();
    while let Some(page) = export.next().await.expect("read") {
        exported.extend(page);
    }
    assert_eq!(exported.len(), expected.len());
    for (document, expected) in exported.iter().zip(&expected) {
        assert_document(document, expected, true);
    }

    let (mut listed, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { size: 1 + dice.below(7), token };
        let page = engine.list_documents(&reference, page, true, NOW).await.expect("listed");
        listed.extend(page.items);
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), expected.len());
    for (document, expected) in listed.iter().zip(&expected) {
        assert_document(document, expected, false);
    }

    let asked: Vec<_> = (0..14)
        .map(|n| DocumentId::parse(&format!("doc/{n}")).expect("valid"))
        .chain(library.documents.keys().take(5).cloned())
        .collect();
    let found = engine.batch_get_documents(&reference, &asked, NOW).await.expect("read");
    let (there, missing): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|id| library.documents.contains_key(id));
    assert_eq!(found.missing, missing);
    assert_eq!(found.documents.len(), there.len());
    for (document, id) in found.documents.iter().zip(&there) {
        assert_document(document, &library.documents[id], false);
        assert_eq!(engine.get_document(&reference, id, NOW).await.as_ref(), Ok(document));
    }
}

/// What single precision may be off by.
fn tolerance(distance: f64) -> f64 {
    1e-4 * (1.0 + distance.abs())
}

async fn search(engine: &Engine, library: &ModelLibrary, dice: &mut Dice) {
    let dimension = library.library.dimension as usize;
    let by_text = !library.library.embedder.is_none();
    for _ in 0..3 {
        let (by, query) = match by_text && dice.percent(50) {
            true => {
                let text = "the last tram".to_owned();
                let query = embedder::vector_of(&text);
                (QueryBy::Text(text), query)
            }
            false => {
                let query = vector(dice, dimension);
                (QueryBy::Embedding(query.clone()), query)
            }
        };
        let k = *dice.pick(&[1, 3, 10, 40]);
        let threshold = dice.percent(30).then(|| *dice.pick(&[0.5, 1.0, 3.0]));
        let filter = dice.percent(60).then(|| *dice.pick(FILTERS));
        if by_text {
            let mode = *dice.pick(&[SearchMode::Hybrid, SearchMode::Text]);
            let text = *dice.pick(QUERIES);
            check_words(engine, library, mode, text, k, filter).await;
        }
        check_search(engine, library, by, &query, k, threshold, filter).await;
    }
}

/// Over fields that documents and chunks of the model have, and have not.
const FILTERS: &[&str] = &[
    "document.metadata.n < 4",
    "document.metadata.z == \"last\" || chunk.metadata.n >= 5",
    "null in document.metadata.deep.list && !(document.author == \"\")",
    "chunk.index == 0 && size(document.tags) > 0",
    "chunk.text.contains(\"e\")",
    "document.updated_at > document.created_at",
    "size(chunk.metadata) == 0",
    "document.document_type == \"report\"",
    "has(document.metadata.none)",
];

async fn check_search(
    engine: &Engine,
    library: &ModelLibrary,
    by: QueryBy,
    query: &[f32],
    k: usize,
    threshold: Option<f32>,
    filter: Option<&str>,
) {
    let metric = library.library.metric;
    let request = SearchRequest {
        queries: vec![SearchQuery {
            k: Some(k),
            mode: Some(SearchMode::Vector),
            distance_threshold: threshold,
            ..SearchQuery::new(by)
        }],
        listed: false,
        filter: filter.map(str::to_owned),
        include_text: true,
        exact: true,
        explain: false,
        by_document: false,
        k_max: 1_000,
        at: NOW,
    };
    let reference = LibraryRef::Id(library.library.id);
    let results = engine.search(&reference, request).await.expect("ranked");
    let total = results.totals()[0];
    let hits = results.hits(0, 0..total).await.expect("read");
    assert_eq!(hits.len(), total);

    let limits = Limits::default();
    let filter = filter.map(|text| Filter::parse(text, FilterScope::Search, &limits));
    let filter = filter.transpose().expect("valid");
    let matches = |document: &ModelDocument, chunk: &ModelChunk| {
        let fields = FieldsOf::document(&document.head);
        let fields = fields.with_chunk(&chunk.head, Some(&chunk.text));
        filter.as_ref().is_none_or(|filter| filter.matches(&fields))
    };
    let mut distances: Vec<f64> = Vec::new();
    for document in library.documents.values() {
        let matching = document.chunks.iter().filter(|chunk| matches(document, chunk));
        distances.extend(matching.map(|chunk| distance(metric, query, &chunk.vector)));
    }
    distances.sort_by(f64::total_cmp);
    // A threshold at a distance that a chunk has may fall to either side.
    let limit = threshold.map_or(f64::INFINITY, f64::from);
    let surely = distances.iter().filter(|d| **d + tolerance(**d) < limit).count();
    let perhaps = distances.iter().filter(|d| **d - tolerance(**d) <= limit).count();
    assert!((surely.min(k)..=perhaps.min(k)).contains(&total), "{total} hits of {k}");
    let mut seen = BTreeSet::new();
    for (place, hit) in hits.iter().enumerate() {
        assert_eq!(hit.rank as usize, place + 1);
        assert!(seen.insert(hit.chunk_id), "{} twice", hit.chunk_id);
        let document = library.documents.get(&hit.document_id).expect("a hit is of a document");
        let chunk = document.chunks.iter().find(|chunk| chunk.head.id == hit.chunk_id);
        let chunk = chunk.expect("a hit is a chunk");
        assert!(matches(document, chunk), "{filter:?} is not true of {hit:?}");
        assert_eq!((&hit.title, hit.text.as_deref()), (&document.head.title, Some(&*chunk.text)));
        assert_eq!(hit.metadata, document.head.metadata.overlaid(&chunk.head.metadata));
        let near = hit.distance.expect("a vector search");
        let (is, told) = (distance(metric, query, &chunk.vector), f64::from(near));
        assert!((is - told).abs() <= tolerance(is), "distance {told} for {is}");
        let best = distances[place];
        assert!((told - best).abs() <= tolerance(best), "rank {place}: {told}, could be {best}");
        assert_eq!(hit.score, metric.score(near));
        assert!(place == 0 || hit.distance >= hits[place - 1].distance);
    }
}

/// Words that texts and titles of the model have, and have not.
const QUERIES: &[&str] = &["the last tram", "title", "red", "e a the of", "nothing has this"];

/// A search by words: each hit has the score that an index made just now of the model's documents
/// gives it, and no better one is missing. Of a hybrid search, the part by words; and that the
/// parts are all there is to its scores.
async fn check_words(
    engine: &Engine,
    library: &ModelLibrary,
    mode: SearchMode,
    query: &str,
    k: usize,
    filter: Option<&str>,
) {
    let metric = library.library.metric;
    let vector = embedder::vector_of(query);
    let query = QueryBy::Text(query.to_owned());
    let terms = match &query {
        QueryBy::Text(text) => QueryTerms::of(text, Limits::default().query_terms_max),
        QueryBy::Embedding(_) => unreachable!("is a text"),
    };
    let request = SearchRequest {
        queries: vec![SearchQuery { k: Some(k), mode: Some(mode), ..SearchQuery::new(query) }],
        listed: false,
        filter: filter.map(str::to_owned),
        include_text: true,
        exact: true,
        explain: true,
        by_document: false,
        k_max: 1_000,
        at: NOW,
    };
    let reference = LibraryRef::Id(library.library.id);
    let results = engine.search(&reference, request).await.expect("ranked");
    let total = results.totals()[0];
    let hits = results.hits(0, 0..total).await.expect("read");

    let limits = Limits::default();
    let filter = filter.map(|text| Filter::parse(text, FilterScope::Search, &limits));
    let filter = filter.transpose().expect("valid");
    let (mut rows, mut chosen, mut places) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    for (number, document) in library.documents.values().enumerate() {
        for chunk in &document.chunks {
            let fields = FieldsOf::document(&document.head);
            let fields = fields.with_chunk(&chunk.head, Some(&chunk.text));
            let row = RowKey { document: number as u64, slot: chunk.head.slot };
            places.insert(chunk.head.id, (row, document, chunk));
            if filter.as_ref().is_none_or(|filter| filter.matches(&fields)) {
                chosen.insert(row);
            }
            if !chunk.text.trim().is_empty() {
                rows.push((row, RowTerms::of_chunk(&document.head.title, &chunk.text)));
            }
        }
    }
    let mut index = TextIndex::new();
    index.update(&[], &rows);
    let view = index.view();
    let selected = view.select(|row| chosen.contains(&row));
    let said = view.search(TextQuery { terms: &terms, k: rows.len(), rows: Some(&selected) });
    let score_of: BTreeMap<RowKey, f32> = said.iter().map(|hit| (hit.row, hit.score)).collect();

    let possible = match mode {
        SearchMode::Text => said.len(),
        SearchMode::Hybrid | SearchMode::Vector => chosen.len(),
    };
    assert_eq!(total, k.min(possible), "{mode:?} {filter:?}");
    let mut seen = BTreeSet::new();
    for (place, hit) in hits.iter().enumerate() {
        let (row, document, chunk) = places.get(&hit.chunk_id).expect("a hit is a chunk");
        assert!(seen.insert(*row), "{} twice", hit.chunk_id);
        assert!(chosen.contains(row), "{filter:?} is not true of {hit:?}");
        assert_eq!((&hit.title, hit.text.as_deref()), (&document.head.title, Some(&*chunk.text)));
        assert!(place == 0 || hit.score <= hits[place - 1].score);
        let explanation = hit.explanation.expect("asked for");
        let by_words = explanation.text.map(|part| part.value);
        assert_eq!(by_words, score_of.get(row).copied(), "{hit:?}");
        match mode {
            SearchMode::Text => {
                assert_eq!((Some(hit.score), hit.distance), (by_words, None));
                assert_eq!(hit.score, said[place].score, "a better row is missing");
            }
            SearchMode::Hybrid | SearchMode::Vector => {
                let is = distance(metric, &vector, &chunk.vector);
                let told = f64::from(hit.distance.expect("has a vector"));
                assert!((is - told).abs() <= tolerance(is), "distance {told} for {is}");
                let parts = [explanation.vector, explanation.text].into_iter().flatten();
                assert_eq!(hit.score, parts.map(|part| part.score).sum::<f32>());
            }
        }
    }
}

fn from(start: StartAt) -> EventsRequest {
    EventsRequest { library: None, event_types: Vec::new(), filter: None, start }
}

/// Reads the feed to its end in pages; gives the events and where the reader stands then.
pub async fn read_feed(engine: &Engine, start: StartAt, limit: usize) -> (Vec<ToldEvent>, Cursor) {
    let (mut events, mut start) = (Vec::new(), start);
    loop {
        let page = engine.list_events(from(start), Some(limit), NOW).await.expect("read");
        let read = told::events(&page);
        assert!(read.len() <= limit);
        if read.is_empty() {
            return (events, page.next_cursor);
        }
        events.extend(read);
        start = StartAt::Cursor(page.next_cursor);
    }
}

async fn feed(world: &World, fold: &Fold, dice: &mut Dice) {
    let engine = world.engine();
    let expected: Vec<&ToldEvent> = fold.history.iter().flat_map(|told| &told.events).collect();
    let limit = 1 + dice.below(300);
    let (events, _) = read_feed(engine, StartAt::Begin, limit).await;
    assert_eq!(events.len(), expected.len());
    for (event, expected) in events.iter().zip(&expected) {
        assert_eq!(event, *expected);
    }
    assert_eq!(told::changes(events), fold.history);
    if expected.is_empty() {
        return;
    }
    // From the id of any event on, what follows it comes, whoever reads it.
    let at = dice.below(expected.len());
    let (rest, _) = read_feed(engine, StartAt::Cursor(expected[at].id), 1_000).await;
    assert!(rest.iter().eq(expected[at + 1..].iter().copied()), "resumed behind {at}");
    subscribe(engine, &expected[at + 1..], StartAt::Cursor(expected[at].id)).await;
    let at = dice.below(fold.history.len());
    let revision = fold.history[at].revision;
    let (rest, _) = read_feed(engine, StartAt::Revision(revision), 1_000).await;
    assert_eq!(told::changes(rest), fold.history[at + 1..]);
}

async fn subscribe(engine: &Engine, expected: &[&ToldEvent], start: StartAt) {
    let mut subscription = engine.subscribe(from(start)).await.expect("subscribed");
    let mut read = Vec::new();
    while read.len() < expected.len() {
        let next = tokio::time::timeout(world::DEADLINE, subscription.next());
        match next.await.expect("comes in time").expect("reads").expect("lives") {
            FeedItem::Heartbeat { .. } => {}
            FeedItem::Changes(changes) => {
                let page = arrwdb::engine::changes::EventsPage {
                    changes,
                    next_cursor: subscription.cursor(),
                    tail_cursor: subscription.cursor(),
                };
                read.extend(told::events(&page));
            }
        }
    }
    assert!(read.iter().eq(expected.iter().copied()), "subscribed from {start:?}");
}

/// What the log says of itself: revisions, epochs, times and counts of events.
async fn log(world: &World, fold: &Fold) {
    let log = world.log();
    let bounds = log.bounds().await.expect("readable");
    assert_eq!((bounds.end, bounds.end_events), (fold.tail(), fold.num_events()));
    let heads = log.read_heads(Revision::ZERO, usize::MAX).await.expect("readable");
    assert_eq!(heads.len(), fold.history.len());
    let (mut events, mut time) = (0, Timestamp::default());
    for (head, told) in heads.iter().zip(&fold.history) {
        assert_eq!((head.revision, head.events_before), (told.revision, events));
        assert!(head.time >= time, "time falls at {}", head.revision);
        time = head.time;
        events += told.events.len() as u64;
    }
    let statistics = world.engine().event_statistics(NOW).await.expect("counted");
    assert_eq!(statistics.tail_revision, fold.tail());
    assert_eq!((statistics.pending_events, statistics.subscribers.len()), (0, 0));
}

/// All that a store holds, but for what a deleted library left to be freed, as text.
pub fn dump(store: &Store) -> String {
    use std::fmt::Write as _;

    let snapshot = store.snapshot();
    let mut text = String::new();
    let mut line = |what: &dyn std::fmt::Debug| writeln!(text, "{what:?}").expect("a string");
    line(&snapshot.applied().expect("readable"));
    line(&snapshot.requests().expect("readable"));
    line(&snapshot.batches().expect("readable"));
    let mut libraries = snapshot.libraries().expect("readable");
    libraries.sort_by_key(|library| library.id);
    for library in libraries {
        line(&library);
        let parts = DocumentParts { texts: true, vectors: true };
        for document in snapshot.documents(library.id, Revision::ZERO, parts) {
            let document = document.expect("readable");
            line(&document);
            let key = snapshot.find(library.id, &document.head.id).expect("readable");
            let key = key.expect("a document is found by its id");
            line(&snapshot.stored_document(key).expect("readable"));
        }
        for row in snapshot.vectors(library.id) {
            line(&row.expect("readable"));
        }
    }
    text
}

/// Folds the whole log into an empty store: it must hold what the live one holds.
pub async fn replay(world: &World) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("opens");
    let log = Arc::new(ReadOnly(Arc::clone(world.log())));
    let engine = Engine::open(store.clone(), log, world::options()).await.expect("opens");
    let (live, replayed) = (dump(world.store()), dump(&store));
    for (live, replayed) in live.lines().zip(replayed.lines()) {
        assert_eq!(live, replayed, "applied one way and the other");
    }
    assert_eq!(live.len(), replayed.len());
    engine.close().await;
}

/// A log that another engine writes to.
struct ReadOnly(Arc<dyn ChangeLog>);

#[async_trait]
impl ChangeLog for ReadOnly {
    async fn bounds(&self) -> Result<LogBounds, ReadError> {
        self.0.bounds().await
    }

    async fn append(&self, _: Revision, _: &[Change]) -> Result<(), AppendError> {
        Err(AppendError::Refused("it is only read".to_owned()))
    }

    async fn read_heads(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Arc<ChangeHead>>, ReadError> {
        self.0.read_heads(after, bytes_target).await
    }

    async fn read_changes(
        &self,
        after: Revision,
        bytes_target: usize,
    ) -> Result<Vec<Change>, ReadError> {
        self.0.read_changes(after, bytes_target).await
    }

    async fn seek(&self, time: Timestamp) -> Result<Revision, ReadError> {
        self.0.seek(time).await
    }

    async fn excess(&self, bytes_max: u64) -> Result<Revision, ReadError> {
        self.0.excess(bytes_max).await
    }

    async fn trim(&self, through: Revision) -> Result<Revision, ReadError> {
        Ok(through)
    }

    async fn close(&self) -> Result<(), AppendError> {
        Ok(())
    }
}
