//! Ways of ranking: which there are, and which one a query gets.

use super::search::{QueryBy, SearchQuery};
use crate::text::Fusion;
use crate::types::{Error, Result};

/// By what chunks are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchMode {
    /// By nearness of vectors and by words, the two rankings made one.
    Hybrid,
    /// By nearness of vectors.
    Vector,
    /// By words.
    Text,
}

impl SearchMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hybrid, Self::Vector, Self::Text];

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Vector => "vector",
            Self::Text => "text",
        }
    }

    /// By its name in JSON; `invalid-argument` naming `mode` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| Error::invalid("mode", "must be hybrid, vector or text"))
    }

    /// The mode of a query: as it says; where it says nothing, `vector` for an embedding or with a
    /// distance threshold, and `hybrid` otherwise. `invalid-argument` where what it says cannot be.
    pub(super) fn of(query: &SearchQuery) -> Result<Self> {
        let by_text = matches!(query.by, QueryBy::Text(_));
        let has_threshold = query.distance_threshold.is_some();
        let mode = match query.mode {
            None if by_text && !has_threshold => Self::Hybrid,
            None => Self::Vector,
            Some(mode) => mode,
        };
        let name = mode.name();
        if mode != Self::Vector && !by_text {
            let detail = format!("{name} ranks by words, and an embedding has none");
            return Err(Error::invalid("mode", detail));
        }
        if mode != Self::Vector && has_threshold {
            let detail = format!("{name} ranks not by distance alone, as distance_threshold wants");
            return Err(Error::invalid("mode", detail));
        }
        if mode != Self::Hybrid && query.weights.is_some() {
            let detail = format!("are for two rankings, and the mode is {name}");
            return Err(Error::invalid("weights", detail));
        }
        Ok(mode)
    }
}

/// How much each ranking counts in a hybrid search. Only their ratio matters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of nearness.
    pub vector: f32,
    /// Of words.
    pub text: f32,
}

impl Weights {
    /// As a fusion; `invalid-argument` unless both are finite, neither is negative and one is
    /// above 0.
    pub(super) fn fusion(weights: Option<Self>) -> Result<Fusion> {
        let Some(Self { vector, text }) = weights else { return Ok(Fusion::default()) };
        let detail = "must be finite and not negative, and one of them above 0";
        Fusion::new(vector, text).ok_or_else(|| Error::invalid("weights", detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(by: QueryBy) -> SearchQuery {
        SearchQuery::new(by)
    }

    #[test]
    fn the_mode_follows_from_the_query_where_it_is_not_given() {
        let (text, vector) = (query(QueryBy::Text("a".into())), query(QueryBy::Embedding(vec![])));
        let near = SearchQuery { distance_threshold: Some(0.5), ..text.clone() };
        let mode = |query: &SearchQuery| SearchMode::of(query).expect("possible");
        assert_eq!(mode(&text), SearchMode::Hybrid);
        assert_eq!((mode(&vector), mode(&near)), (SearchMode::Vector, SearchMode::Vector));
        for given in SearchMode::ALL {
            assert_eq!(mode(&SearchQuery { mode: Some(given), ..text.clone() }), given);
            assert_eq!(SearchMode::parse(given.name()), Ok(given));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let text = query(QueryBy::Text("a".into()));
        let vector = query(QueryBy::Embedding(vec![1.0]));
        let weights = Some(Weights { vector: 1.0, text: 1.0 });
        for (mode, of, field) in [
            (Some(SearchMode::Hybrid), vector.clone(), "mode"),
            (Some(SearchMode::Text), vector.clone(), "mode"),
            (Some(SearchMode::Hybrid), near(&text), "mode"),
            (Some(SearchMode::Text), near(&text), "mode"),
            (Some(SearchMode::Text), SearchQuery { weights, ..text.clone() }, "weights"),
            (None, SearchQuery { weights, ..vector }, "weights"),
        ] {
            let error = SearchMode::of(&SearchQuery { mode, ..of }).expect_err("contradictory");
            assert_eq!(error.violations[0].field, field, "{error}");
        }
        for (vector, text) in [(0.0, 0.0), (-1.0, 1.0), (f32::NAN, 1.0), (1.0, f32::INFINITY)] {
            assert!(Weights::fusion(Some(Weights { vector, text })).is_err());
        }
    }

    fn near(query: &SearchQuery) -> SearchQuery {
        SearchQuery { distance_threshold: Some(0.5), ..query.clone() }
    }
}
