//! Search: resolve the vector, rank on a view, read texts as they are wanted.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{SemaphorePermit, oneshot};

use super::matches::Selected;
use super::state::{LibraryState, Published};
use super::{Engine, ReadAt, store_error};
use crate::index::{Neighbour, Query, Rows, View};
use crate::store::{DocumentKey, StoreError, StoredDocument};
use crate::types::{
    ChunkId, DocumentId, Error, ErrorKind, Filter, FilterScope, Library, LibraryRef, Limits,
    Metadata, Result, Revision, Vector,
};

/// What a search asks.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// One or several; they share a pass over memory and one revision.
    pub queries: Vec<SearchQuery>,
    /// Whether they came as a list: then a fault names the query's place in it.
    pub listed: bool,
    /// Only chunks that this expression is true of, for queries that have no filter of their own.
    pub filter: Option<String>,
    /// Whether hits carry their text.
    pub include_text: bool,
    /// Whether approximation is forbidden.
    pub exact: bool,
    /// Whether only the best chunk of each document counts: k is how many documents then.
    pub by_document: bool,
    /// Most hits that a query may ask for: `limits.hits_per_reply_max` or
    /// `limits.hits_per_stream_max`, by transport verb.
    pub k_max: usize,
    /// From which revision on.
    pub at: ReadAt,
}

/// One query.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchQuery {
    /// What to be near to.
    pub by: QueryBy,
    /// How many hits; `None`: `limits.hits_default`.
    pub k: Option<usize>,
    /// Only hits at this distance or nearer.
    pub distance_threshold: Option<f32>,
    /// Only chunks that this expression is true of, in place of the request's.
    pub filter: Option<String>,
    /// How wide walks through the index's graphs are: more finds more and takes longer. `None`:
    /// what was found to be enough when they were built. Of no effect where the search is exact.
    pub ef: Option<usize>,
}

/// What to be near to.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryBy {
    /// A text, embedded by the library's model.
    Text(String),
    /// A vector.
    Embedding(Vec<f32>),
}

/// One ranked chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// From 1.
    pub rank: u32,
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its document.
    pub document_id: DocumentId,
    /// Higher is better; never increasing along the ranks.
    pub score: f32,
    /// Lower is nearer.
    pub distance: f32,
    /// The chunk's text, when asked for.
    pub text: Option<Arc<str>>,
    /// The document's title.
    pub title: String,
    /// The document's metadata with the chunk's over it.
    pub metadata: Metadata,
}

/// Hits that are read in the same go as the ranking: the usual reply needs nothing more.
const FIRST_HITS: usize = 16;
/// A search that scans at most so many bytes (half a millisecond's work) runs on the thread that
/// took the request.
const INLINE_SCAN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Ranked hits, one ranking for each query, all at one revision. Holds the state that it was
/// ranked on; drop it to free it.
#[derive(Debug)]
pub struct SearchResults {
    reader: HitReader,
    rankings: Vec<Ranking>,
}

#[derive(Debug)]
struct Ranking {
    neighbours: Arc<[Neighbour]>,
    first: Vec<Hit>,
}

impl SearchResults {
    /// The revision that was searched.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.reader.state.applied.revision
    }

    /// How many hits each query has.
    #[must_use]
    pub fn totals(&self) -> Vec<usize> {
        self.rankings.iter().map(|ranking| ranking.neighbours.len()).collect()
    }

    /// Reads hits of one query, with their texts, from the searched state. `ranks` count from 0
    /// and are cut to what there is. Dropping the future frees the work.
    pub async fn hits(&self, query: usize, ranks: Range<usize>) -> Result<Vec<Hit>> {
        let Some(ranking) = self.rankings.get(query) else { return Ok(Vec::new()) };
        let end = ranks.end.min(ranking.neighbours.len());
        if ranks.start >= end {
            return Ok(Vec::new());
        }
        if let Some(hits) = ranking.first.get(ranks.start..end) {
            return Ok(hits.to_vec());
        }
        let (reader, neighbours) = (self.reader.clone(), Arc::clone(&ranking.neighbours));
        Engine::blocking(move || reader.read(&neighbours, ranks.start..end)).await
    }
}

/// Makes hits from neighbours by reading the searched state.
#[derive(Debug, Clone)]
struct HitReader {
    state: Arc<Published>,
    library: Arc<LibraryState>,
    include_text: bool,
    by_document: bool,
}

impl HitReader {
    fn read(&self, neighbours: &[Neighbour], ranks: Range<usize>) -> Result<Vec<Hit>, StoreError> {
        let mut hits = Vec::with_capacity(ranks.len());
        // Neighbouring hits are often of one document, which is read once then.
        let mut last: Option<(DocumentKey, StoredDocument)> = None;
        for rank in ranks {
            let neighbour = neighbours[rank];
            let key = DocumentKey {
                library: self.library.library.id,
                created: Revision(neighbour.row.document),
            };
            if last.as_ref().is_none_or(|(of, _)| *of != key) {
                let stored = self.state.snapshot.stored_document(key)?;
                last = Some((key, stored.ok_or_else(missing)?));
            }
            if let Some((_, document)) = &last {
                hits.push(self.hit(rank, neighbour, key, document)?);
            }
        }
        Ok(hits)
    }

    fn hit(
        &self,
        rank: usize,
        neighbour: Neighbour,
        key: DocumentKey,
        document: &StoredDocument,
    ) -> Result<Hit, StoreError> {
        let slot = neighbour.row.slot;
        // Slot and index are the same until a document is updated.
        let chunk = document
            .chunks
            .get(slot as usize)
            .filter(|chunk| chunk.slot == slot)
            .or_else(|| document.chunks.iter().find(|chunk| chunk.slot == slot))
            .ok_or_else(missing)?;
        let text = match self.include_text {
            true => Some(self.state.snapshot.text(key, slot)?.ok_or_else(missing)?),
            false => None,
        };
        let metric = self.library.library.metric;
        Ok(Hit {
            rank: u32::try_from(rank + 1).unwrap_or(u32::MAX),
            chunk_id: chunk.id,
            document_id: document.head.id.clone(),
            score: metric.score(neighbour.distance),
            distance: neighbour.distance,
            text,
            title: document.head.title.clone(),
            metadata: document.head.metadata.overlaid(&chunk.metadata),
        })
    }
}

/// Index and store are published together; a row without its document is damage.
fn missing() -> StoreError {
    StoreError::Corrupt { what: "hit", why: "the index has a row that the store lacks".to_owned() }
}

impl Engine {
    /// Ranks. Ranking is done when it answers; texts are read by [`SearchResults::hits`].
    ///
    /// Cost: a pass over all vectors of the library. A filter leaves of it those that it lets
    /// through; the first one that looks at some field, and one that looks at something wide (the
    /// texts of chunks, metadata as a whole) that was not asked for lately, reads all documents of
    /// the library before. What each lets through is kept until the library changes.
    ///
    /// `invalid-argument` for a wrong vector, k or filter; `too-large` for too many queries or a
    /// long filter; `failed-precondition` for a text query where the library's model is not at
    /// hand; `resource-exhausted` when `limits.searches_waiting_max` wait. Dropping the future
    /// frees the work.
    pub async fn search(
        &self,
        library: &LibraryRef,
        request: SearchRequest,
    ) -> Result<SearchResults> {
        let (began, queries) = (Instant::now(), request.queries.len());
        let results = self.search_now(library, request).await;
        match &results {
            Ok(_) => self.inner.metrics.searched(queries, began),
            Err(_) => self.inner.metrics.search_failed(),
        }
        results
    }

    async fn search_now(
        &self,
        library: &LibraryRef,
        request: SearchRequest,
    ) -> Result<SearchResults> {
        let limits = &self.inner.limits;
        match (request.queries.len(), limits.queries_per_search_max) {
            (0, _) => return Err(Error::invalid("queries", "must not be empty")),
            (n, most) if n > most => {
                let detail = format!("has {n} items; at most {most} (queries_per_search_max)");
                return Err(Error::too_large("queries", detail));
            }
            _ => {}
        }
        let listed = request.listed;
        let within = |place: usize, error: Error| match listed {
            true => error.within(&format!("queries[{place}]")),
            false => error,
        };
        let mut filters = Filters::default();
        let common = filters.add(request.filter.as_deref(), limits)?;
        let mut filter_of = Vec::with_capacity(request.queries.len());
        for (place, query) in request.queries.iter().enumerate() {
            let own = filters.add(query.filter.as_deref(), limits);
            filter_of.push(own.map_err(|error| within(place, error))?.or(common));
        }
        let state = self.state_at(request.at).await?;
        let library = Arc::clone(state.library(library)?);
        let mut queries = Vec::with_capacity(request.queries.len());
        for (place, (query, filter)) in request.queries.into_iter().zip(filter_of).enumerate() {
            let (k_max, exact) = (request.k_max, request.exact);
            let resolved = self.resolve(&library.library, query, filter, k_max, exact).await;
            queries.push(resolved.map_err(|error| within(place, error))?);
        }
        let _place = self.search_place()?;
        let filters = filters.0;
        let selected = if filters.is_empty() {
            Selected { state, library, rows: Vec::new() }
        } else {
            // No older than this state: the filter's is the newest.
            drop(state);
            let (matches, published) = (&self.inner.matches, &self.inner.published);
            matches.select(published, library.library.id, &filters).await?
        };
        let Selected { state, library, rows } = selected;
        let (include_text, by_document) = (request.include_text, request.by_document);
        let reader = HitReader { state, library, include_text, by_document };
        let rankings = self.rank(reader.clone(), queries, rows).await?;
        Ok(SearchResults { reader, rankings })
    }

    /// A place among the searches that wait; `resource-exhausted` when there is none.
    pub(super) fn search_place(&self) -> Result<SemaphorePermit<'_>> {
        self.inner.searches.try_acquire().map_err(|_| {
            let most = self.inner.limits.searches_waiting_max;
            let detail = format!("{most} searches wait already (searches_waiting_max)");
            Error::new(ErrorKind::ResourceExhausted, detail)
                .retry_after(std::time::Duration::from_millis(100))
        })
    }

    async fn resolve(
        &self,
        library: &Library,
        query: SearchQuery,
        filter: Option<usize>,
        k_max: usize,
        exact: bool,
    ) -> Result<Resolved> {
        let k = query.k.unwrap_or(self.inner.limits.hits_default.min(k_max));
        if k == 0 || k > k_max {
            let detail = format!("must be 1 to {k_max} (hits_per_reply_max, hits_per_stream_max)");
            return Err(Error::invalid("k", detail));
        }
        let ef_max = self.inner.limits.search_ef_max;
        if query.ef.is_some_and(|ef| ef == 0 || ef > ef_max) {
            return Err(Error::invalid("ef", format!("must be 1 to {ef_max} (search_ef_max)")));
        }
        if query.distance_threshold.is_some_and(f32::is_nan) {
            return Err(Error::invalid("distance_threshold", "must be a number"));
        }
        let vector = match query.by {
            QueryBy::Text(text) if text.trim().is_empty() => {
                return Err(Error::invalid("query", "must not be blank"));
            }
            QueryBy::Text(text) => self.inner.embed_query(library, text).await?,
            QueryBy::Embedding(values) => {
                Vector::new("embedding", values, library.dimension as usize, library.metric)?
            }
        };
        let (distance_max, ef) = (query.distance_threshold, query.ef);
        Ok(Resolved { vector, k, distance_max, filter, ef, exact })
    }

    /// Ranks and reads the first hits: a small library's where it is, so that the answer does not
    /// wait for a busy machine to run another thread; others on the pool for searches.
    async fn rank(
        &self,
        reader: HitReader,
        queries: Vec<Resolved>,
        rows: Vec<Arc<Rows>>,
    ) -> Result<Vec<Ranking>> {
        let asked: Vec<Query<'_>> = queries.iter().map(|query| query.ask(&rows)).collect();
        if reader.library.view.work_bytes(&asked) <= INLINE_SCAN_BYTES_MAX {
            return rank(&reader, &queries, &rows).map_err(store_error);
        }
        let (answer, ranked) = oneshot::channel();
        self.inner.search_pool.spawn(move || {
            // The caller may have left while this waited.
            if !answer.is_closed() {
                let _ = answer.send(rank(&reader, &queries, &rows));
            }
        });
        match ranked.await {
            Ok(ranked) => ranked.map_err(store_error),
            Err(_) => Err(Error::internal("a search ended by a panic; the server's log has it")),
        }
    }
}

struct Resolved {
    vector: Vector,
    k: usize,
    distance_max: Option<f32>,
    /// Place of its filter.
    filter: Option<usize>,
    ef: Option<usize>,
    exact: bool,
}

impl Resolved {
    /// As the index is asked, with the rows that its filter lets through, of those of all filters.
    fn ask<'a>(&'a self, rows: &'a [Arc<Rows>]) -> Query<'a> {
        Query {
            vector: self.vector.as_slice(),
            k: self.k,
            distance_max: self.distance_max,
            rows: self.filter.map(|place| &*rows[place]),
            exact: self.exact,
            ef: self.ef,
            avoid: None,
        }
    }
}

/// The filters of a request, each once.
#[derive(Default)]
struct Filters(Vec<Arc<Filter>>);

impl Filters {
    /// Parses a filter, if there is one, and says its place.
    fn add(&mut self, text: Option<&str>, limits: &Limits) -> Result<Option<usize>> {
        let Some(text) = text else { return Ok(None) };
        let filter = Filter::parse(text, FilterScope::Search, limits)?;
        let known = self.0.iter().position(|known| **known == filter);
        Ok(Some(known.unwrap_or_else(|| {
            self.0.push(Arc::new(filter));
            self.0.len() - 1
        })))
    }
}

fn rank(
    reader: &HitReader,
    queries: &[Resolved],
    rows: &[Arc<Rows>],
) -> Result<Vec<Ranking>, StoreError> {
    let view: &View = &reader.library.view;
    let queries: Vec<Query<'_>> = queries.iter().map(|query| query.ask(rows)).collect();
    let found = match reader.by_document {
        true => view.search_documents(&queries),
        false => view.search(&queries),
    };
    found
        .into_iter()
        .map(|neighbours| {
            let first = reader.read(&neighbours, 0..neighbours.len().min(FIRST_HITS))?;
            Ok(Ranking { neighbours: neighbours.into(), first })
        })
        .collect()
}
