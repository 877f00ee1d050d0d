//! A new graph's trial: hides how it is found how wide walks through it must be.
//!
//! Some of the graph's own rows are queries; what an exact search finds for them is what a walk
//! should find. Walks do not go through the query's own row: its links lead to what is near, and
//! queries that come later have no row of their own.

use std::sync::Arc;

use super::block::Shape;
use super::build::{BuildError, Progress};
use super::flat::{Flat, Part};
use super::graph::{Graph, Width};
use super::kernels::Kernels;
use super::view::View;
use super::{Neighbour, Query, RowKey, hits_among};

/// Queries of a trial: enough that a recall of 0.986 is told from one of 0.98.
const QUERIES: usize = 400;
/// What walks are to find. Above what searches are promised by two deviations of such a sample.
const RECALL_TARGET: f64 = 0.986;
/// What searches are promised. A graph that finds less, however wide the walk, is not used.
const RECALL_MIN: f64 = 0.98;
/// Widths that are tried for the 10 nearest.
const WIDTHS_OF_10: [usize; 19] =
    [24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 640, 800, 1_024, 1_440, 2_048];
/// Widths that are tried for the 100 nearest.
const WIDTHS_OF_100: [usize; 12] =
    [128, 160, 200, 256, 320, 400, 512, 640, 800, 1_024, 1_440, 2_048];

/// Sets the graph's widths; refuses a graph that no width helps.
pub(super) fn widen(
    shape: &Shape,
    parts: &[Part],
    mut graph: Graph,
    progress: &Progress,
) -> Result<Graph, BuildError> {
    let mut view = View { flat: Flat::with_parts(*shape, parts.to_vec()) };
    let queries = view.sample(QUERIES);
    let ask = |view: &View, k: usize, exact: bool| -> Result<Vec<Vec<Neighbour>>, BuildError> {
        let of_query = |(row, vector): &(RowKey, Vec<f32>)| {
            if progress.is_stopped() {
                return Err(BuildError::Stopped);
            }
            // One more, for the row itself.
            let query = Query { k: k + 1, exact, avoid: Some(*row), ..Query::new(vector) };
            let mut found = view.search_with(&[query], Kernels::best(), 1).remove(0);
            found.retain(|neighbour| neighbour.row != *row);
            found.truncate(k);
            Ok(found)
        };
        queries.iter().map(of_query).collect()
    };
    let exact = ask(&view, 100.min(graph.rows()), true)?;
    let mut best = [(0, 0.0); 2];
    for (best, (k, widths)) in
        best.iter_mut().zip([(10, &WIDTHS_OF_10[..]), (100, &WIDTHS_OF_100[..])])
    {
        for width in widths {
            graph.set_width(Width { of_10: *width, of_100: *width });
            let tried = Arc::new(graph);
            view.flat.set_graphs(vec![Arc::clone(&tried)]);
            let recall = recall_of(&ask(&view, k, false)?, &exact, k);
            view.flat.set_graphs(Vec::new());
            graph = Arc::into_inner(tried).ok_or(BuildError::Failed("it is shared"))?;
            *best = (*width, recall);
            if recall >= RECALL_TARGET {
                break;
            }
        }
    }
    let [(of_10, recall), (of_100, recall_of_100)] = best;
    if recall.min(recall_of_100) < RECALL_MIN {
        return Err(BuildError::Unsuited { recall: recall.min(recall_of_100) });
    }
    graph.set_width(Width { of_10, of_100: of_100.max(of_10) });
    Ok(graph)
}

/// The share of what is nearest that was found.
#[expect(clippy::cast_precision_loss, reason = "some ten thousand")]
pub(super) fn recall_of(found: &[Vec<Neighbour>], exact: &[Vec<Neighbour>], k: usize) -> f64 {
    let exact = || exact.iter().map(|exact| &exact[..k.min(exact.len())]);
    let wanted: usize = exact().map(<[Neighbour]>::len).sum();
    let hits = found.iter().zip(exact()).map(|(found, exact)| hits_among(found, exact));
    if wanted == 0 { 1.0 } else { hits.sum::<usize>() as f64 / wanted as f64 }
}
