//! Query parameters: taken one by one, so that what nobody took is a typo and refused by name.

use std::str::FromStr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::engine::ReadAt;
use crate::types::{Error, ErrorKind, Limits, PageRequest, Result, Revision};

/// The query parameters of a request. A parameter without a value counts as not given.
#[derive(Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// `invalid-argument` for what is not UTF-8 and for a parameter that is given twice.
    pub(super) fn parse(query: &str) -> Result<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Error::invalid(name, "is given twice"));
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// Takes a parameter.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(known, _)| known == name)?;
        Some(self.pairs.remove(at).1).filter(|value| !value.is_empty())
    }

    /// Takes a number; `must` says what it must be.
    pub(super) fn number<T: FromStr>(&mut self, name: &str, must: &str) -> Result<Option<T>> {
        self.take(name)
            .map(|text| text.parse().map_err(|_| Error::invalid(name, format!("must be {must}"))))
            .transpose()
    }

    /// Takes `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        self.number(name, "true or false")
    }

    /// Takes `min_revision` and `timeout_ms`.
    pub(super) fn read_at(&mut self) -> Result<ReadAt> {
        let revision = self.take("min_revision");
        Ok(ReadAt {
            min_revision: revision
                .map(|text| Revision::parse("min_revision", &text))
                .transpose()?,
            timeout: self
                .number("timeout_ms", "a whole number of milliseconds")?
                .map(Duration::from_millis),
        })
    }

    /// Takes `page_size` and `page_token`.
    pub(super) fn page(&mut self, limits: &Limits) -> Result<PageRequest> {
        let size = self.number("page_size", "a whole number")?;
        Ok(limits.page_request(size, self.take("page_token")))
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<()> {
        match self.pairs.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(name, "is not a parameter of this request")),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default())?)
    }
}

fn decode(text: &str) -> Result<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| {
        Error::new(ErrorKind::InvalidArgument, "the query string is not UTF-8 when decoded")
    })
}

/// A request's headers as text; `None` for one that is absent, empty or not ASCII.
pub(super) fn header_text<'a>(headers: &'a axum::http::HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}

/// The same for a header whose meaning must not be lost; `invalid-argument` when it is not ASCII.
pub(super) fn header_strict<'a>(
    headers: &'a axum::http::HeaderMap,
    name: &str,
) -> Result<Option<&'a str>> {
    match headers.get(name).map(axum::http::HeaderValue::to_str) {
        Some(Err(_)) => Err(Error::invalid(name, "must be visible ASCII")),
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(error: &Error) -> &str {
        &error.violations[0].field
    }

    #[test]
    fn parameters_are_decoded_and_taken_once() {
        let mut params = Params::parse("a=x%2Fy+z&flag=true&empty=&n=7&").expect("valid");
        assert_eq!(params.take("a").as_deref(), Some("x/y z"));
        assert_eq!(params.take("a"), None);
        assert_eq!(params.flag("flag"), Ok(Some(true)));
        assert_eq!(params.take("empty"), None);
        assert_eq!(params.number::<u32>("n", "a number"), Ok(Some(7)));
        assert_eq!(params.finish(), Ok(()));
    }

    #[test]
    fn what_nobody_took_is_refused_by_name() {
        let mut params = Params::parse("page_size=3&pagetoken=x").expect("valid");
        let page = params.page(&Limits::default()).expect("valid");
        assert_eq!(page, PageRequest { size: 3, token: None });
        assert_eq!(field(&params.finish().expect_err("a typo")), "pagetoken");
    }

    #[test]
    fn wrong_values_name_their_parameter() {
        for (query, name) in [
            ("min_revision=x", "min_revision"),
            ("timeout_ms=-1", "timeout_ms"),
            ("timeout_ms=1&timeout_ms=2", "timeout_ms"),
        ] {
            let error = Params::parse(query).and_then(|mut params| params.read_at());
            assert_eq!(field(&error.expect_err(query)), name);
        }
        assert!(Params::parse("a=%ff").is_err());
    }

    proptest! {
        #[test]
        fn any_query_parses_or_is_refused(query in "\\PC{0,60}") {
            let _ = Params::parse(&query);
        }
    }
}
