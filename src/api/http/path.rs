//! What a request's path names: a library, a document in one, or a consumer.
//!
//! The path is matched before it is decoded, so an encoded `/` stays within its segment.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::types::{ConsumerName, DocumentId, Error, ErrorKind, LibraryRef, Result};

/// The library of `/v1/libraries/{library}…`.
#[derive(Debug)]
pub(super) struct LibraryPath(pub(super) LibraryRef);

/// The library and the document of `/v1/libraries/{library}/documents/{document}`.
#[derive(Debug)]
pub(super) struct DocumentPath(pub(super) LibraryRef, pub(super) DocumentId);

/// The consumer of `/v1/consumers/{consumer}…`.
#[derive(Debug)]
pub(super) struct ConsumerPath(pub(super) ConsumerName);

impl<S: Sync> FromRequestParts<S> for ConsumerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let name: String = segments(parts).await?;
        Ok(Self(ConsumerName::parse(&name)?))
    }
}

impl<S: Sync> FromRequestParts<S> for LibraryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let library: String = segments(parts).await?;
        Ok(Self(library.parse()?))
    }
}

impl<S: Sync> FromRequestParts<S> for DocumentPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let (library, document): (String, String) = segments(parts).await?;
        Ok(Self(library.parse()?, DocumentId::parse(&document)?))
    }
}

async fn segments<T: DeserializeOwned + Send>(parts: &mut Parts) -> Result<T> {
    let Path(segments) = Path::from_request_parts(parts, &()).await.map_err(|_| {
        Error::new(ErrorKind::InvalidArgument, "the path is not UTF-8 when decoded")
    })?;
    Ok(segments)
}
