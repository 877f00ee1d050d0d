//! How much of what is nearest searches find: stored vectors as queries, beside the exact search.

use std::time::Instant;

use tokio::sync::oneshot;

use super::{Engine, ReadAt};
use crate::index::{Neighbour, Query, RowKey, View, hits_among};
use crate::types::{Error, LibraryRef, Result, Revision};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecallRequest {
    /// How many stored vectors are queries; `None`: `limits.recall_queries_default`.
    pub queries: Option<usize>,
    /// How many hits of each count; `None`: `limits.hits_default`.
    pub k: Option<usize>,
    /// How wide walks are; as in a search.
    pub ef: Option<usize>,
    /// From which revision on.
    pub at: ReadAt,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// The share of the nearest that was found, of all queries together; 1 where there are none.
    pub recall: f64,
    /// The same of the query that found least.
    pub recall_min: f64,
    /// How many vectors were queries.
    pub queries: usize,
    /// How many hits of each counted.
    pub k: usize,
    /// How long a search takes, in microseconds: the median.
    pub search_us: f64,
    /// The same of an exact search.
    pub exact_us: f64,
    /// The revision that was searched.
    pub revision: Revision,
}

impl Engine {
    /// Measures the recall of a library's searches: stored vectors from all over it are queries,
    /// and what a search finds is compared with what an exact one does. A vector is no hit of
    /// itself; another row at the distance of the farthest counts as found.
    ///
    /// `invalid-argument` for a wrong k, ef or number of queries; `resource-exhausted` when
    /// `limits.searches_waiting_max` searches wait. Costs an exact search a query, one after the
    /// other, on one thread of the searches' pool. Dropping the future ends the work soon.
    pub async fn measure_recall(
        &self,
        library: &LibraryRef,
        request: RecallRequest,
    ) -> Result<Recall> {
        let limits = &self.inner.limits;
        let within = |field: &str, value: Option<usize>, default: usize, most: usize| match value {
            Some(n) if n == 0 || n > most => {
                Err(Error::invalid(field, format!("must be 1 to {most}")))
            }
            value => Ok(value.unwrap_or(default)),
        };
        let queries_max = limits.recall_queries_max;
        let queries = within(
            "num_queries",
            request.queries,
            limits.recall_queries_default.min(queries_max),
            queries_max,
        )?;
        let k_max = limits.hits_per_reply_max;
        let k = within("k", request.k, limits.hits_default.min(k_max), k_max)?;
        if let Some(ef) = request.ef {
            within("ef", Some(ef), ef, limits.search_ef_max)?;
        }
        let state = self.state_at(request.at).await?;
        let view = std::sync::Arc::clone(&state.library(library)?.view);
        let _place = self.search_place()?;
        let (answer, measured) = oneshot::channel();
        let revision = state.applied.revision;
        self.inner.search_pool.spawn(move || {
            let mut measurement = Measurement::new(k, revision);
            for (row, vector) in view.sample(queries) {
                if answer.is_closed() {
                    return;
                }
                measurement.add(&view, row, &vector, request.ef);
            }
            let _ = answer.send(measurement.finish());
        });
        let panicked = |_| Error::internal("a search ended by a panic; the server's log has it");
        measured.await.map_err(panicked)
    }
}

struct Measurement {
    k: usize,
    revision: Revision,
    found: usize,
    wanted: usize,
    recall_min: f64,
    searches_us: Vec<f64>,
    exacts_us: Vec<f64>,
}

impl Measurement {
    fn new(k: usize, revision: Revision) -> Self {
        Self {
            k,
            revision,
            found: 0,
            wanted: 0,
            recall_min: 1.0,
            searches_us: Vec::new(),
            exacts_us: Vec::new(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn add(&mut self, view: &View, row: RowKey, vector: &[f32], ef: Option<usize>) {
        let k = self.k;
        let ask = |exact: bool| -> (Vec<Neighbour>, f64) {
            let began = Instant::now();
            // One more, because the row may find itself; a query that is not stored finds no row
            // that leads it to the others.
            let query = Query { k: k + 1, exact, ef, avoid: Some(row), ..Query::new(vector) };
            let mut found = view.search(&[query]).pop().unwrap_or_default();
            let took = began.elapsed().as_secs_f64() * 1e6;
            found.retain(|neighbour| neighbour.row != row);
            found.truncate(k);
            (found, took)
        };
        let ((found, search_us), (exact, exact_us)) = (ask(false), ask(true));
        self.searches_us.push(search_us);
        self.exacts_us.push(exact_us);
        if exact.is_empty() {
            return;
        }
        let hits = hits_among(&found, &exact);
        self.found += hits;
        self.wanted += exact.len();
        self.recall_min = self.recall_min.min(hits as f64 / exact.len() as f64);
    }

    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    fn finish(mut self) -> Recall {
        Recall {
            recall: if self.wanted == 0 { 1.0 } else { self.found as f64 / self.wanted as f64 },
            recall_min: self.recall_min,
            queries: self.searches_us.len(),
            k: self.k,
            search_us: median(&mut self.searches_us),
            exact_us: median(&mut self.exacts_us),
            revision: self.revision,
        }
    }
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
