//! Indexes and what searches find in JSON.

use super::{Json, Object, index_type, metadata, revision};
use crate::api::grpc::pb;

/// What an index is made of.
pub(in crate::cli) fn index(of: pb::GetIndexStatisticsResponse) -> Object {
    let segment = |one: pb::IndexSegment| {
        let object = Object::new()
            .with("has_graph", one.has_graph)
            .with("num_rows", one.num_rows)
            .with("num_tombstones", one.num_tombstones)
            .with("index_bytes", one.index_bytes)
            .with("ef", one.ef);
        Json::Object(object)
    };
    let building = |one: pb::IndexBuild| {
        Object::new().with("num_rows", one.num_rows).with("num_rows_done", one.num_rows_done)
    };
    Object::new()
        .with("id", of.library_id)
        .with("index_type", index_type(of.index_type))
        .with("num_rows", of.num_rows)
        .with("num_tombstones", of.num_tombstones)
        .with("index_bytes", of.index_bytes)
        .with("segments", of.segments.into_iter().map(segment).collect::<Vec<_>>())
        .with_some("building", of.building.map(building))
        .with_some("text", of.text.map(text_index))
        .with("revision", revision(of.revision))
}

fn text_index(of: pb::TextIndex) -> Object {
    Object::new()
        .with("num_rows", of.num_rows)
        .with("num_tombstones", of.num_tombstones)
        .with("num_terms", of.num_terms)
        .with("index_bytes", of.index_bytes)
}

/// How much of the exact answer searches give.
pub(in crate::cli) fn recall(of: pb::MeasureRecallResponse) -> Object {
    Object::new()
        .with("recall", of.recall)
        .with("recall_min", of.recall_min)
        .with("num_queries", of.num_queries)
        .with("k", of.k)
        .with("search_us", of.search_us)
        .with("exact_us", of.exact_us)
        .with("revision", revision(of.revision))
}

/// A hit.
pub(in crate::cli) fn hit(hit: pb::Hit) -> Object {
    Object::new()
        .with("rank", hit.rank)
        .with("chunk_id", hit.chunk_id)
        .with("document_id", hit.document_id)
        .with("score", hit.score)
        .with_some("distance", hit.distance)
        .with_some("text", hit.text)
        .with("title", hit.title)
        .with("metadata", metadata(hit.metadata))
        .with_some("explanation", hit.explanation.map(explanation))
}

fn explanation(explanation: pb::Explanation) -> Object {
    let vector = |part: pb::VectorPart| {
        let object = Object::new().with("rank", part.rank);
        object.with("distance", part.distance).with("score", part.score)
    };
    let text = |part: pb::TextPart| {
        Object::new().with("rank", part.rank).with("bm25", part.bm25).with("score", part.score)
    };
    Object::new()
        .with_some("vector", explanation.vector.map(vector))
        .with_some("text", explanation.text.map(text))
}

/// The last line of a streamed search.
pub(in crate::cli) fn search_complete(complete: pb::SearchComplete) -> Object {
    Object::new()
        .with("status", "complete")
        .with("total_results", complete.total_results)
        .with("revision", revision(complete.revision))
}
