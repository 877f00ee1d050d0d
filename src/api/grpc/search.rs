//! `arrwdb.v1.SearchService`.

use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use tonic::{Request, Response, Status};

use super::convert::{given, library_ref, metadata_to_pb, read_at};
use super::pages::{Pages, pages};
use super::pb::search_service_server::SearchService;
use super::{Grpc, pb, reply, reply_stream};
use crate::engine::mode::{SearchMode, Weights};
use crate::engine::recall::RecallRequest;
use crate::engine::search::{Explanation, Hit, QueryBy, SearchQuery, SearchRequest, SearchResults};
use crate::types::{Error, Result as ArrwdbResult};

/// Hits whose texts are read before the first is sent; then twice as many each time.
const FIRST_PAGE_HITS: usize = 16;

/// Most hits read at once.
const PAGE_HITS_MAX: usize = 256;

#[tonic::async_trait]
impl SearchService for Grpc {
    type StreamSearchStream = BoxStream<'static, Result<pb::StreamSearchResponse, Status>>;

    async fn search(
        &self,
        request: Request<pb::SearchRequest>,
    ) -> Result<Response<pb::SearchResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let several = !request.queries.is_empty();
        let request = search_request(request, self.engine.limits().hits_per_reply_max)?;
        let results = self.engine.search(&library, request).await?;
        reply(response(&results, several, self.engine.limits().message_bytes_max).await?)
    }

    async fn stream_search(
        &self,
        request: Request<pb::StreamSearchRequest>,
    ) -> Result<Response<Self::StreamSearchStream>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let request = stream_request(request, self.engine.limits().hits_per_stream_max)?;
        let results = self.engine.search(&library, request).await?;
        let messages = pages(&self.tasks, self.engine.limits(), |pages| send(results, pages));
        reply_stream(messages.boxed())
    }

    async fn measure_recall(
        &self,
        request: Request<pb::MeasureRecallRequest>,
    ) -> Result<Response<pb::MeasureRecallResponse>, Status> {
        let request = request.into_inner();
        let library = library_ref(&request.library_id)?;
        let number = |number: Option<u32>| number.map(|number| number as usize);
        let wanted = RecallRequest {
            queries: number(request.num_queries),
            k: number(request.k),
            ef: number(request.ef),
            at: read_at(request.min_revision, request.timeout_ms),
        };
        let measured = self.engine.measure_recall(&library, wanted).await?;
        reply(pb::MeasureRecallResponse {
            recall: measured.recall,
            recall_min: measured.recall_min,
            num_queries: count(measured.queries),
            k: count(measured.k),
            search_us: measured.search_us,
            exact_us: measured.exact_us,
            revision: measured.revision.0,
        })
    }
}

fn search_request(request: pb::SearchRequest, k_max: usize) -> ArrwdbResult<SearchRequest> {
    let single = pb::SearchQuery {
        query: request.query,
        embedding: request.embedding,
        k: request.k,
        distance_threshold: request.distance_threshold,
        filter: String::new(),
        ef: request.ef,
        mode: request.mode,
        weights: request.weights,
    };
    let listed = !request.queries.is_empty();
    let queries = if !listed {
        vec![query(single)?]
    } else if single.query.is_some() || !single.embedding.is_empty() {
        return Err(Error::invalid("queries", "excludes query and embedding beside it"));
    } else {
        let queries = request.queries.into_iter().enumerate().map(|(i, one)| {
            let k = one.k.or(single.k);
            let distance_threshold = one.distance_threshold.or(single.distance_threshold);
            let ef = one.ef.or(single.ef);
            let mode = if one.mode == 0 { single.mode } else { one.mode };
            let weights = one.weights.or(single.weights);
            query(pb::SearchQuery { k, distance_threshold, ef, mode, weights, ..one })
                .map_err(|error| error.within(&format!("queries[{i}]")))
        });
        queries.collect::<ArrwdbResult<_>>()?
    };
    Ok(SearchRequest {
        queries,
        listed,
        filter: given(request.filter),
        include_text: request.include_text.unwrap_or(true),
        exact: request.exact,
        explain: request.explain,
        by_document: by_document(request.group_by)?,
        k_max,
        at: read_at(request.min_revision, request.timeout_ms),
    })
}

fn stream_request(request: pb::StreamSearchRequest, k_max: usize) -> ArrwdbResult<SearchRequest> {
    let request = pb::SearchRequest {
        library_id: request.library_id,
        query: request.query,
        embedding: request.embedding,
        k: request.k,
        distance_threshold: request.distance_threshold,
        queries: Vec::new(),
        filter: request.filter,
        include_text: request.include_text,
        exact: request.exact,
        ef: request.ef,
        min_revision: request.min_revision,
        timeout_ms: request.timeout_ms,
        group_by: request.group_by,
        mode: request.mode,
        weights: request.weights,
        explain: request.explain,
    };
    search_request(request, k_max)
}

fn by_document(number: i32) -> ArrwdbResult<bool> {
    match pb::GroupBy::try_from(number) {
        Ok(pb::GroupBy::Unspecified) => Ok(false),
        Ok(pb::GroupBy::Document) => Ok(true),
        Err(_) => Err(Error::invalid("group_by", "must be document")),
    }
}

fn mode(number: i32) -> ArrwdbResult<Option<SearchMode>> {
    match pb::SearchMode::try_from(number) {
        Ok(pb::SearchMode::Unspecified) => Ok(None),
        Ok(pb::SearchMode::Hybrid) => Ok(Some(SearchMode::Hybrid)),
        Ok(pb::SearchMode::Vector) => Ok(Some(SearchMode::Vector)),
        Ok(pb::SearchMode::Text) => Ok(Some(SearchMode::Text)),
        Err(_) => Err(Error::invalid("mode", "must be hybrid, vector or text")),
    }
}

fn query(query: pb::SearchQuery) -> ArrwdbResult<SearchQuery> {
    let by = match (query.query, query.embedding.is_empty()) {
        (Some(text), true) => QueryBy::Text(text),
        (None, false) => QueryBy::Embedding(query.embedding),
        (None, true) => return Err(Error::invalid("query", "or embedding is required")),
        (Some(_), false) => {
            return Err(Error::invalid("embedding", "excludes query beside it"));
        }
    };
    if query.distance_threshold.is_some_and(|threshold| !threshold.is_finite()) {
        return Err(Error::invalid("distance_threshold", "must be finite"));
    }
    let k = query.k.map(|k| k as usize);
    let filter = given(query.filter);
    let (distance_threshold, ef) = (query.distance_threshold, query.ef.map(|ef| ef as usize));
    let mode = mode(query.mode)?;
    let weights = query.weights.map(|of| Weights { vector: of.vector, text: of.text });
    Ok(SearchQuery { by, k, mode, weights, distance_threshold, filter, ef })
}

/// The whole answer; `too-large` rather than one beyond `bytes_max`.
async fn response(
    results: &SearchResults,
    several: bool,
    bytes_max: usize,
) -> ArrwdbResult<pb::SearchResponse> {
    let revision = results.revision().0;
    let mut queries = Vec::new();
    let mut bytes = 0;
    for (query, total) in results.totals().into_iter().enumerate() {
        let mut hits = Vec::with_capacity(total);
        while hits.len() < total {
            let ranks = hits.len()..(hits.len() + PAGE_HITS_MAX).min(total);
            let read = results.hits(query, ranks).await?.into_iter().map(hit_to_pb);
            hits.extend(read.inspect(|hit| bytes += hit.encoded_len()));
            if bytes > bytes_max {
                let detail = format!(
                    "the answer would be larger than {bytes_max} bytes (message_bytes_max): ask \
                     for fewer hits or none of their texts, or for a stream"
                );
                return Err(Error::too_large("k", detail));
            }
        }
        queries.push(pb::SearchQueryResults {
            results: hits,
            total_results: count(total),
            revision,
        });
    }
    if several {
        return Ok(pb::SearchResponse { revision, queries, ..Default::default() });
    }
    let one = queries.pop().unwrap_or_default();
    let (results, total_results) = (one.results, one.total_results);
    Ok(pb::SearchResponse { results, total_results, revision, queries: Vec::new() })
}

/// Sends the hits of the one query, then `complete`. Texts are read as the client takes them.
async fn send(results: SearchResults, pages: Pages<pb::StreamSearchResponse>) -> ArrwdbResult<()> {
    use pb::stream_search_response::Item;
    let message = |item| pb::StreamSearchResponse { item: Some(item) };
    let total = results.totals().first().copied().unwrap_or_default();
    let (mut from, mut page) = (0, FIRST_PAGE_HITS);
    while from < total {
        let to = (from + page).min(total);
        let hits = results.hits(0, from..to).await?;
        let hits = hits.into_iter().map(|hit| message(Item::Hit(hit_to_pb(hit))));
        pages.send(hits.collect()).await?;
        (from, page) = (to, (page * 2).min(PAGE_HITS_MAX));
    }
    let revision = results.revision().0;
    let complete = pb::SearchComplete { total_results: count(total), revision };
    pages.send(vec![message(Item::Complete(complete))]).await
}

fn count(total: usize) -> u32 {
    u32::try_from(total).unwrap_or(u32::MAX)
}

fn hit_to_pb(hit: Hit) -> pb::Hit {
    pb::Hit {
        rank: hit.rank,
        chunk_id: hit.chunk_id.to_string(),
        document_id: hit.document_id.as_str().to_owned(),
        score: hit.score,
        distance: hit.distance,
        text: hit.text.map(|text| text.to_string()),
        title: hit.title,
        metadata: Some(metadata_to_pb(&hit.metadata)),
        explanation: hit.explanation.map(explanation_to_pb),
    }
}

fn explanation_to_pb(explanation: Explanation) -> pb::Explanation {
    let vector = explanation.vector.map(|part| pb::VectorPart {
        rank: part.rank,
        distance: part.value,
        score: part.score,
    });
    let text = explanation.text.map(|part| pb::TextPart {
        rank: part.rank,
        bm25: part.value,
        score: part.score,
    });
    pb::Explanation { vector, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ErrorKind;

    fn text(text: &str) -> pb::SearchRequest {
        pb::SearchRequest { query: Some(text.to_owned()), ..Default::default() }
    }

    fn fault(request: pb::SearchRequest) -> (ErrorKind, String) {
        let error = search_request(request, 10).expect_err("faulty");
        (error.kind, error.detail)
    }

    #[test]
    fn one_query_stands_in_the_request_itself() {
        let request = pb::SearchRequest { k: Some(3), min_revision: Some(7), ..text("x") };
        let request = search_request(request, 10).expect("valid");
        let by = QueryBy::Text("x".into());
        let expected = SearchQuery { k: Some(3), ..SearchQuery::new(by) };
        assert_eq!(request.queries, [expected]);
        assert_eq!(request.filter, None);
        assert!(request.include_text && !request.exact);
        assert_eq!(request.at, read_at(Some(7), None));
    }

    #[test]
    fn several_queries_take_what_they_do_not_say_from_the_request() {
        let by_text = pb::SearchQuery { query: Some("a".into()), k: Some(1), ..Default::default() };
        let by_vector = pb::SearchQuery {
            embedding: vec![1.0],
            filter: "chunk.index == 0".into(),
            ef: Some(70),
            mode: pb::SearchMode::Vector.into(),
            ..Default::default()
        };
        let request = pb::SearchRequest {
            queries: vec![by_text, by_vector],
            k: Some(5),
            distance_threshold: Some(0.5),
            filter: "true".into(),
            include_text: Some(false),
            ef: Some(50),
            mode: pb::SearchMode::Text.into(),
            ..Default::default()
        };
        let request = search_request(request, 10).expect("valid");
        assert_eq!(request.queries.iter().map(|q| q.k).collect::<Vec<_>>(), [Some(1), Some(5)]);
        assert_eq!(request.queries.iter().map(|q| q.ef).collect::<Vec<_>>(), [Some(50), Some(70)]);
        let modes: Vec<_> = request.queries.iter().filter_map(|query| query.mode).collect();
        assert_eq!(modes, [SearchMode::Text, SearchMode::Vector]);
        assert_eq!(request.queries[1].by, QueryBy::Embedding(vec![1.0]));
        assert_eq!(request.queries[1].distance_threshold, Some(0.5));
        assert_eq!(request.filter.as_deref(), Some("true"));
        let own: Vec<_> = request.queries.iter().map(|query| query.filter.as_deref()).collect();
        assert_eq!(own, [None, Some("chunk.index == 0")]);
        assert!(!request.include_text);
    }

    #[test]
    fn what_cannot_be_searched_for_is_refused_by_field() {
        use ErrorKind::InvalidArgument;
        let none = pb::SearchRequest::default();
        assert_eq!(fault(none), (InvalidArgument, "query: or embedding is required".into()));
        let both = pb::SearchRequest { embedding: vec![1.0], ..text("x") };
        assert_eq!(fault(both), (InvalidArgument, "embedding: excludes query beside it".into()));
        let nan = pb::SearchRequest { distance_threshold: Some(f32::NAN), ..text("x") };
        assert_eq!(fault(nan), (InvalidArgument, "distance_threshold: must be finite".into()));
        let wrong = pb::SearchRequest { mode: 9, ..text("x") };
        assert_eq!(fault(wrong), (InvalidArgument, "mode: must be hybrid, vector or text".into()));
        let queries = vec![pb::SearchQuery::default()];
        let (_, detail) =
            fault(pb::SearchRequest { queries: queries.clone(), ..Default::default() });
        assert!(detail.starts_with("queries[0].query: "), "{detail}");
        assert_eq!(fault(pb::SearchRequest { queries, ..text("x") }).0, InvalidArgument);
    }
}
