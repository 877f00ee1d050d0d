//! Searches and hits in JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::{ShownChunkId, ShownRevision};
use super::ingest::ClosingLine;
use super::{Shown, Verbatim};
use crate::api::http::params::Params;
use crate::engine::ReadAt;
use crate::engine::mode::{SearchMode, Weights};
use crate::engine::search::{Explanation, Hit, QueryBy, SearchQuery, SearchRequest};
use crate::types::{Error, Limits, Result, Revision};

/// One ranked chunk.
#[derive(Serialize, ToSchema)]
#[schema(as = Hit)]
pub(in crate::api::http) struct HitOut<'a> {
    /// From 1.
    rank: u32,
    /// The chunk.
    chunk_id: ShownChunkId,
    /// Its document.
    document_id: &'a str,
    /// Higher is better; never increasing from rank to rank. By vectors: the metric's. By words:
    /// BM25, above 0. By both: from 0 to 1, and comparable within one ranking only.
    score: f32,
    /// Lower is nearer. Not there where hits are ranked by words alone.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<f32>,
    /// The chunk's text, unless `include_text` is false.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The document's title.
    title: &'a str,
    /// The document's metadata with the chunk's over it.
    metadata: Verbatim<'a>,
    /// How it came to its rank, when `explain` asks for it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<ExplanationOut>,
}

/// What each ranking says of a hit; absent where the hit is not among those that the ranking gave,
/// or was not ranked so.
#[derive(Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(in crate::api::http) struct ExplanationOut {
    /// The ranking by nearness.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<VectorPartOut>,
    /// The ranking by words.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextPartOut>,
}

/// What the ranking by nearness says of a hit.
#[derive(Serialize, ToSchema)]
#[schema(as = VectorPart)]
pub(in crate::api::http) struct VectorPartOut {
    /// Its place there, from 1.
    rank: u32,
    /// How far it is.
    distance: f32,
    /// What that adds to its score.
    score: f32,
}

/// What the ranking by words says of a hit.
#[derive(Serialize, ToSchema)]
#[schema(as = TextPart)]
pub(in crate::api::http) struct TextPartOut {
    /// Its place there, from 1.
    rank: u32,
    /// Its BM25 score.
    bm25: f32,
    /// What that adds to its score.
    score: f32,
}

impl From<Explanation> for ExplanationOut {
    fn from(explanation: Explanation) -> Self {
        let vector = explanation.vector.map(|part| VectorPartOut {
            rank: part.rank,
            distance: part.value,
            score: part.score,
        });
        let text = explanation.text.map(|part| TextPartOut {
            rank: part.rank,
            bm25: part.value,
            score: part.score,
        });
        Self { vector, text }
    }
}

/// The hits of one query, best first; and what `search` answers when it is asked one.
#[derive(ToSchema)]
#[schema(as = SearchResults)]
#[expect(dead_code, reason = "describes what `search` writes piece by piece")]
pub(in crate::api::http) struct SearchOut<'a> {
    /// Best first.
    results: Vec<HitOut<'a>>,
    /// How many there are.
    total_results: usize,
    /// The revision that the whole answer is of.
    revision: ShownRevision,
}

/// What `search` answers when it is asked several queries: one result each, in their order.
#[derive(ToSchema)]
#[schema(as = SeveralSearchResults)]
#[expect(dead_code, reason = "describes what `search` writes piece by piece")]
pub(in crate::api::http) struct SeveralSearchOut<'a> {
    /// One for each query.
    queries: Vec<SearchOut<'a>>,
    /// The revision that the whole answer is of.
    revision: ShownRevision,
}

/// What `search` answers.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = SearchAnswer)]
#[expect(dead_code, reason = "describes what `search` writes piece by piece")]
pub(in crate::api::http) enum SearchAnswer<'a> {
    One(SearchOut<'a>),
    Several(SeveralSearchOut<'a>),
}

/// A line of a streamed search: the hits, best first, then the last line.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = SearchLine)]
#[expect(dead_code, reason = "describes what `search_stream` writes line by line")]
pub(in crate::api::http) enum SearchLine<'a> {
    Hit(HitOut<'a>),
    Last(ClosingLine<'a>),
}

impl<'a> From<&'a Hit> for HitOut<'a> {
    fn from(hit: &'a Hit) -> Self {
        Self {
            rank: hit.rank,
            chunk_id: Shown(hit.chunk_id),
            document_id: hit.document_id.as_str(),
            score: hit.score,
            distance: hit.distance,
            text: hit.text.as_deref(),
            title: &hit.title,
            metadata: Verbatim(&hit.metadata),
            explanation: hit.explanation.map(ExplanationOut::from),
        }
    }
}

/// What a client asks, in a JSON body or the query string or both.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = SearchRequest)]
pub(in crate::api::http) struct SearchIn {
    /// A text. One of `query`, `embedding` and `queries` is required, and only one.
    query: Option<String>,
    /// A vector of the library's dimension.
    embedding: Option<Vec<f32>>,
    /// Most hits: 10 when absent; at most 1 000 in one answer, 10 000 in a stream.
    k: Option<usize>,
    /// `hybrid`, by vectors and words together; `vector`; or `text`, by words alone. When absent:
    /// `vector` for an embedding or with a distance threshold, else `hybrid`.
    mode: Option<String>,
    /// How much each ranking counts in a hybrid search; what measures best when absent.
    weights: Option<WeightsIn>,
    /// Whether hits say how they came to their ranks.
    explain: Option<bool>,
    /// The largest distance that a hit may have. Ranks by vectors.
    distance_threshold: Option<f32>,
    /// Up to 100 queries that share one revision; not in a stream. `k`, `mode`, `weights`,
    /// `distance_threshold`, `filter` and `ef` beside them are for those without their own.
    queries: Option<Vec<QueryIn>>,
    /// Whether hits have their text (`true`).
    include_text: Option<bool>,
    /// Whether to compare with every vector, however large the library.
    exact: Option<bool>,
    /// `document`: of each document only its best chunk.
    group_by: Option<String>,
    /// Waits until it sees at least this revision.
    min_revision: Option<String>,
    /// How long it waits for that, in milliseconds.
    timeout_ms: Option<u64>,
    /// Only chunks of which this expression is true.
    filter: Option<String>,
    /// How widely graphs are searched: more finds more and takes longer; good when absent.
    ef: Option<usize>,
}

/// How much each ranking counts: numbers, none negative, one above 0. Only their ratio matters.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Weights)]
struct WeightsIn {
    /// Of nearness.
    vector: f32,
    /// Of words.
    text: f32,
}

/// One of several queries.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Query)]
struct QueryIn {
    /// A text; or `embedding`.
    query: Option<String>,
    /// A vector of the library's dimension; or `query`.
    embedding: Option<Vec<f32>>,
    /// Most hits.
    k: Option<usize>,
    /// `hybrid`, `vector` or `text`.
    mode: Option<String>,
    /// How much each ranking counts in a hybrid search.
    weights: Option<WeightsIn>,
    /// The largest distance that a hit may have.
    distance_threshold: Option<f32>,
    /// Only chunks of which this expression is true.
    filter: Option<String>,
    /// How widely graphs are searched: more finds more and takes longer; good when absent.
    ef: Option<usize>,
}

impl SearchIn {
    /// Adds what the query string says; `invalid-argument` for what the body says too.
    pub(in crate::api::http) fn add(&mut self, mut params: Params) -> Result<()> {
        fn set<T>(name: &str, field: &mut Option<T>, value: Option<T>) -> Result<()> {
            match (&field, value) {
                (_, None) => Ok(()),
                (None, value) => {
                    *field = value;
                    Ok(())
                }
                (Some(_), Some(_)) => Err(Error::invalid(name, "is given twice")),
            }
        }
        set("query", &mut self.query, params.take("query"))?;
        let embedding = params.take("embedding").as_deref().map(numbers).transpose()?;
        set("embedding", &mut self.embedding, embedding)?;
        set("k", &mut self.k, params.number("k", "a whole number")?)?;
        let threshold = params.number("distance_threshold", "a number")?;
        set("distance_threshold", &mut self.distance_threshold, threshold)?;
        set("filter", &mut self.filter, params.take("filter"))?;
        set("include_text", &mut self.include_text, params.flag("include_text")?)?;
        set("ef", &mut self.ef, params.number("ef", "a whole number")?)?;
        set("group_by", &mut self.group_by, params.take("group_by"))?;
        set("mode", &mut self.mode, params.take("mode"))?;
        let weights = params.take("weights").as_deref().map(weights).transpose()?;
        set("weights", &mut self.weights, weights)?;
        set("explain", &mut self.explain, params.flag("explain")?)?;
        set("exact", &mut self.exact, params.flag("exact")?)?;
        set("min_revision", &mut self.min_revision, params.take("min_revision"))?;
        let timeout = params.number("timeout_ms", "a whole number of milliseconds")?;
        set("timeout_ms", &mut self.timeout_ms, timeout)?;
        params.finish()
    }

    /// Whether the answer is to be that of several queries.
    pub(in crate::api::http) fn has_several(&self) -> bool {
        self.queries.is_some()
    }

    /// The request. What stands beside `queries` is for those that lack it.
    pub(in crate::api::http) fn into_request(
        self,
        k_max: usize,
        limits: &Limits,
    ) -> Result<SearchRequest> {
        let min_revision = self.min_revision.as_deref();
        let at = ReadAt {
            min_revision: min_revision
                .map(|text| Revision::parse("min_revision", text))
                .transpose()?,
            timeout: self.timeout_ms.map(Duration::from_millis),
        };
        let one = QueryIn {
            query: self.query,
            embedding: self.embedding,
            k: self.k,
            distance_threshold: self.distance_threshold,
            filter: None,
            ef: self.ef,
            mode: self.mode,
            weights: self.weights,
        };
        Ok(SearchRequest {
            listed: self.queries.is_some(),
            queries: match self.queries {
                None => vec![one.into_query()?],
                Some(queries) => several(queries, &one, limits)?,
            },
            filter: given(self.filter),
            include_text: self.include_text.unwrap_or(true),
            exact: self.exact.unwrap_or_default(),
            explain: self.explain.unwrap_or_default(),
            by_document: match self.group_by.as_deref() {
                None => false,
                Some("document") => true,
                Some(_) => return Err(Error::invalid("group_by", "must be document")),
            },
            k_max,
            at,
        })
    }
}

fn several(queries: Vec<QueryIn>, common: &QueryIn, limits: &Limits) -> Result<Vec<SearchQuery>> {
    if common.query.is_some() || common.embedding.is_some() {
        return Err(Error::invalid("queries", "excludes query and embedding beside it"));
    }
    let most = limits.queries_per_search_max;
    match queries.len() {
        0 => return Err(Error::invalid("queries", "must not be empty")),
        n if n > most => {
            let detail = format!("has {n} items; at most {most} (queries_per_search_max)");
            return Err(Error::too_large("queries", detail));
        }
        _ => {}
    }
    let query = |(i, mut query): (usize, QueryIn)| {
        query.k = query.k.or(common.k);
        query.distance_threshold = query.distance_threshold.or(common.distance_threshold);
        query.ef = query.ef.or(common.ef);
        query.mode = query.mode.or_else(|| common.mode.clone());
        query.weights = query.weights.or(common.weights);
        query.into_query().map_err(|error| error.within(&format!("queries[{i}]")))
    };
    queries.into_iter().enumerate().map(query).collect()
}

impl QueryIn {
    fn into_query(self) -> Result<SearchQuery> {
        let by = match (self.query, self.embedding) {
            (Some(text), None) => QueryBy::Text(text),
            (None, Some(embedding)) => QueryBy::Embedding(embedding),
            (None, None) => return Err(Error::invalid("query", "or embedding is required")),
            (Some(_), Some(_)) => {
                return Err(Error::invalid("embedding", "excludes query beside it"));
            }
        };
        if self.distance_threshold.is_some_and(|threshold| !threshold.is_finite()) {
            return Err(Error::invalid("distance_threshold", "must be finite"));
        }
        let (k, distance_threshold, ef) = (self.k, self.distance_threshold, self.ef);
        let mode = self.mode.as_deref().map(SearchMode::parse).transpose()?;
        let weights = self.weights.map(|of| Weights { vector: of.vector, text: of.text });
        let filter = given(self.filter);
        Ok(SearchQuery { by, k, mode, weights, distance_threshold, filter, ef })
    }
}

/// An empty filter is none, as in the query string.
fn given(filter: Option<String>) -> Option<String> {
    filter.filter(|filter| !filter.is_empty())
}

/// Weights of a query string: two numbers.
fn weights(text: &str) -> Result<WeightsIn> {
    let wrong =
        || Error::invalid("weights", "must be two numbers: that of nearness, that of words");
    let (vector, text) = text.split_once(',').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse().map_err(|_| wrong());
    Ok(WeightsIn { vector: number(vector)?, text: number(text)? })
}

/// Numbers of a query string: separated by commas, in brackets or not.
fn numbers(text: &str) -> Result<Vec<f32>> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    inner
        .split(',')
        .map(|number| number.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| Error::invalid("embedding", "must be numbers separated by commas"))
}

#[cfg(test)]
mod tests {
    use super::super::{parse, to_bytes};
    use super::*;
    use crate::engine::search::RankingPart;
    use crate::types::{ChunkId, DocumentId, ErrorKind, Metadata};

    fn request(query: &str, body: &str) -> Result<SearchRequest> {
        let mut input = match body {
            "" => SearchIn::default(),
            body => parse::<SearchIn>(body.as_bytes())?,
        };
        input.add(Params::parse(query)?)?;
        input.into_request(1_000, &Limits::default())
    }

    fn text(query: &str) -> SearchQuery {
        SearchQuery::new(QueryBy::Text(query.into()))
    }

    #[test]
    fn a_hit_prints_as_documented() {
        let mut hit = Hit {
            rank: 1,
            chunk_id: ChunkId::from_bytes([1; 16]),
            document_id: DocumentId::parse("d").expect("valid"),
            score: 0.9,
            distance: Some(0.1),
            text: Some("text".into()),
            title: "title".into(),
            metadata: Metadata::default(),
            explanation: None,
        };
        assert_eq!(
            String::from_utf8_lossy(&to_bytes(&HitOut::from(&hit))),
            concat!(
                r#"{"rank":1,"chunk_id":"01010101-0101-0101-0101-010101010101","#,
                r#""document_id":"d","score":0.9,"distance":0.1,"text":"text","#,
                r#""title":"title","metadata":{}}"#
            )
        );
        let part = RankingPart { rank: 3, value: 0.5, score: 0.9 };
        hit.text = None;
        hit.distance = None;
        hit.explanation = Some(Explanation { vector: None, text: Some(part) });
        assert_eq!(
            String::from_utf8_lossy(&to_bytes(&HitOut::from(&hit))),
            concat!(
                r#"{"rank":1,"chunk_id":"01010101-0101-0101-0101-010101010101","#,
                r#""document_id":"d","score":0.9,"title":"title","metadata":{},"#,
                r#""explanation":{"text":{"rank":3,"bm25":0.5,"score":0.9}}}"#
            )
        );
        hit.explanation = Some(Explanation { vector: Some(part), text: None });
        let printed = to_bytes(&HitOut::from(&hit));
        let expected = r#""explanation":{"vector":{"rank":3,"distance":0.5,"score":0.9}}}"#;
        assert!(String::from_utf8_lossy(&printed).ends_with(expected));
    }

    #[test]
    fn the_query_string_and_the_body_say_the_same() {
        let query = "query=red+fox&k=3&distance_threshold=0.5&include_text=false&exact=true\
                     &min_revision=7&timeout_ms=20&ef=40&group_by=document\
                     &mode=hybrid&weights=1,2&explain=true\
                     &filter=chunk.index+%3D%3D+0";
        let body = r#"{"query":"red fox","k":3,"distance_threshold":0.5,"include_text":false,
                       "exact":true,"min_revision":"7","timeout_ms":20,"ef":40,"group_by":"document",
                       "mode":"hybrid","weights":{"vector":1,"text":2},"explain":true,
                       "filter":"chunk.index == 0"}"#;
        let parsed = request(query, "").expect("valid");
        assert_eq!(Ok(&parsed), request("", body).as_ref());
        assert!(parsed.by_document && parsed.explain);
        assert_eq!(parsed.queries[0].mode, Some(SearchMode::Hybrid));
        assert_eq!(parsed.queries[0].weights, Some(Weights { vector: 1.0, text: 2.0 }));
        assert_eq!(parsed.at.min_revision, Some(Revision(7)));
        assert_eq!((parsed.queries[0].k, parsed.queries[0].ef), (Some(3), Some(40)));
        assert_eq!(parsed.filter.as_deref(), Some("chunk.index == 0"));
        let none = request("filter=", r#"{"query":"a","filter":""}"#).expect("valid");
        assert_eq!((none.filter, none.queries), (None, vec![text("a")]));
        let vector = request("embedding=[1,-2.5]", "").expect("valid").queries;
        assert_eq!(vector[0].by, QueryBy::Embedding(vec![1.0, -2.5]));
    }

    #[test]
    fn several_queries_share_what_they_do_not_say() {
        let body = r#"{"queries":[{"query":"a"},{"query":"b","k":2,"filter":"false","ef":7}],"k":5,"ef":8,
                       "filter":"true"}"#;
        let request = request("", body).expect("valid");
        let own =
            SearchQuery { k: Some(2), filter: Some("false".into()), ef: Some(7), ..text("b") };
        assert_eq!(request.queries, [SearchQuery { k: Some(5), ef: Some(8), ..text("a") }, own]);
        assert_eq!(request.filter.as_deref(), Some("true"));
    }

    #[test]
    fn faults_are_named() {
        for (query, body, name) in [
            ("", "", "query"),
            ("", "{}", "query"),
            ("", r#"{"query":"a","embedding":[1]}"#, "embedding"),
            ("k=1", r#"{"query":"a","k":1}"#, "k"),
            ("", r#"{"query":"a","k":-1}"#, "k"),
            ("", r#"{"query":"a","ef":"x"}"#, "ef"),
            ("query=a&group_by=chunk", "", "group_by"),
            ("", r#"{"query":"a","filter":1}"#, "filter"),
            ("filter=true", r#"{"query":"a","filter":"true"}"#, "filter"),
            ("", r#"{"query":"a","limit":1}"#, "limit"),
            ("query=a&limit=1", "", "limit"),
            ("query=a&distance_threshold=NaN", "", "distance_threshold"),
            ("embedding=1;2", "", "embedding"),
            ("query=a&mode=fuzzy", "", "mode"),
            ("query=a&weights=1", "", "weights"),
            ("query=a&weights=1,b", "", "weights"),
            ("", r#"{"queries":[{"query":"a","mode":"x"}]}"#, "queries[0].mode"),
            ("", r#"{"queries":[]}"#, "queries"),
            ("query=a", r#"{"queries":[{"query":"b"}]}"#, "queries"),
            ("", r#"{"queries":[{"query":"a"},{}]}"#, "queries[1].query"),
            ("", r#"{"query":"a","min_revision":"x"}"#, "min_revision"),
        ] {
            let error = request(query, body).expect_err(name);
            assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
            assert_eq!(error.violations[0].field, name);
        }
    }
}
