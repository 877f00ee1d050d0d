//! Searches and hits in JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::{ShownChunkId, ShownRevision};
use super::ingest::ClosingLine;
use super::{Shown, Verbatim};
use crate::api::http::params::Params;
use crate::engine::ReadAt;
use crate::engine::search::{Hit, QueryBy, SearchQuery, SearchRequest};
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
    /// Higher is better; never increasing from rank to rank.
    score: f32,
    /// Lower is nearer.
    distance: f32,
    /// The chunk's text, unless `include_text` is false.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The document's title.
    title: &'a str,
    /// The document's metadata with the chunk's over it.
    metadata: Verbatim<'a>,
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
    /// The largest distance that a hit may have.
    distance_threshold: Option<f32>,
    /// Up to 100 queries that share one revision; not in a stream. `k`, `distance_threshold` and
    /// `filter` beside them are for those without their own.
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

    /// The request. `k`, `distance_threshold` and `filter` beside `queries` stand for those that lack them.
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
        Ok(SearchQuery { by, k, distance_threshold, filter: given(self.filter), ef })
    }
}

/// An empty filter is none, as in the query string.
fn given(filter: Option<String>) -> Option<String> {
    filter.filter(|filter| !filter.is_empty())
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
        let by = QueryBy::Text(query.into());
        SearchQuery { by, k: None, distance_threshold: None, filter: None, ef: None }
    }

    #[test]
    fn a_hit_prints_as_documented() {
        let mut hit = Hit {
            rank: 1,
            chunk_id: ChunkId::from_bytes([1; 16]),
            document_id: DocumentId::parse("d").expect("valid"),
            score: 0.9,
            distance: 0.1,
            text: Some("text".into()),
            title: "title".into(),
            metadata: Metadata::default(),
        };
        assert_eq!(
            String::from_utf8_lossy(&to_bytes(&HitOut::from(&hit))),
            concat!(
                r#"{"rank":1,"chunk_id":"01010101-0101-0101-0101-010101010101","#,
                r#""document_id":"d","score":0.9,"distance":0.1,"text":"text","#,
                r#""title":"title","metadata":{}}"#
            )
        );
        hit.text = None;
        assert!(!String::from_utf8_lossy(&to_bytes(&HitOut::from(&hit))).contains("text"));
    }

    #[test]
    fn the_query_string_and_the_body_say_the_same() {
        let query = "query=red+fox&k=3&distance_threshold=0.5&include_text=false&exact=true\
                     &min_revision=7&timeout_ms=20&ef=40&group_by=document&filter=chunk.index+%3D%3D+0";
        let body = r#"{"query":"red fox","k":3,"distance_threshold":0.5,"include_text":false,
                       "exact":true,"min_revision":"7","timeout_ms":20,"ef":40,"group_by":"document",
                       "filter":"chunk.index == 0"}"#;
        let parsed = request(query, "").expect("valid");
        assert_eq!(Ok(&parsed), request("", body).as_ref());
        assert!(parsed.by_document);
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
