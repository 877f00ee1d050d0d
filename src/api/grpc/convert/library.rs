//! Conversions of libraries.

use super::{mask, metadata_from_pb, metadata_to_pb, timestamp};
use crate::api::grpc::pb;
use crate::engine::library::{LibraryStatistics, LibraryView};
use crate::types::{
    EmbedderRef, Error, IndexType, LibraryName, LibraryPatch, Limits, Metric, NewLibrary, Result,
};

/// The library that a client wants.
pub(in crate::api::grpc) fn new_library(
    request: pb::CreateLibraryRequest,
    limits: &Limits,
) -> Result<NewLibrary> {
    let embedder = match request.embedder {
        empty if empty.is_empty() => NewLibrary::DEFAULT_EMBEDDER.to_owned(),
        named => named,
    };
    Ok(NewLibrary {
        name: LibraryName::parse(&request.name)?,
        description: request.description,
        metric: metric_from_pb(request.metric)?,
        embedder,
        dimension: request.dimension,
        index_type: index_type_from_pb(request.index_type)?,
        metadata: metadata_from_pb("metadata", request.metadata, limits)?,
    })
}

/// What a client wants changed of a library.
pub(in crate::api::grpc) fn library_patch(
    library: Option<pb::Library>,
    update_mask: Option<prost_types::FieldMask>,
    limits: &Limits,
) -> Result<LibraryPatch> {
    let library = library.unwrap_or_default();
    let paths = mask(update_mask, &["name", "description", "metadata"])?;
    let wanted = |path: &str, set: bool| match &paths {
        Some(paths) => paths.iter().any(|named| named == path || named == "*"),
        None => set,
    };
    let name = wanted("name", !library.name.is_empty())
        .then(|| LibraryName::parse(&library.name))
        .transpose()?;
    let description = wanted("description", !library.description.is_empty());
    let metadata = wanted("metadata", library.metadata.is_some())
        .then(|| metadata_from_pb("metadata", library.metadata, limits))
        .transpose()?;
    Ok(LibraryPatch { name, description: description.then_some(library.description), metadata })
}

/// A library with its counts.
pub(in crate::api::grpc) fn library_to_pb(view: LibraryView) -> pb::Library {
    let LibraryView { library, counts } = view;
    pb::Library {
        id: library.id.to_string(),
        name: library.name.as_str().to_owned(),
        description: library.description,
        metric: metric_to_pb(library.metric).into(),
        dimension: library.dimension,
        embedder: Some(embedder_to_pb(&library.embedder)),
        index_type: index_type_to_pb(library.index_type).into(),
        metadata: Some(metadata_to_pb(&library.metadata)),
        num_documents: counts.documents,
        num_chunks: counts.chunks,
        created_at: Some(timestamp(library.created_at)),
        updated_at: Some(timestamp(library.updated_at)),
        revision: library.revision.0,
    }
}

/// What a library holds and costs.
pub(in crate::api::grpc) fn statistics_to_pb(
    statistics: &LibraryStatistics,
) -> pb::GetLibraryStatisticsResponse {
    pb::GetLibraryStatisticsResponse {
        library_id: statistics.library.id.to_string(),
        num_documents: statistics.counts.documents,
        num_chunks: statistics.counts.chunks,
        num_segments: statistics.segments,
        num_tombstones: statistics.tombstones,
        index_bytes: statistics.index_bytes,
        revision: statistics.revision.0,
        name: statistics.library.name.as_str().to_owned(),
    }
}

/// The model of a library.
pub(in crate::api::grpc) fn embedder_to_pb(embedder: &EmbedderRef) -> pb::Embedder {
    pb::Embedder { id: embedder.id.clone(), sha256: embedder.sha256.clone() }
}

/// A metric.
pub(in crate::api::grpc) fn metric_to_pb(metric: Metric) -> pb::Metric {
    match metric {
        Metric::Cosine => pb::Metric::Cosine,
        Metric::Dot => pb::Metric::Dot,
        Metric::L2 => pb::Metric::L2,
    }
}

fn metric_from_pb(number: i32) -> Result<Metric> {
    match pb::Metric::try_from(number) {
        Ok(pb::Metric::Unspecified | pb::Metric::Cosine) => Ok(Metric::Cosine),
        Ok(pb::Metric::Dot) => Ok(Metric::Dot),
        Ok(pb::Metric::L2) => Ok(Metric::L2),
        Err(_) => Err(Error::invalid("metric", "must be cosine, dot or l2")),
    }
}

/// A kind of index.
pub(in crate::api::grpc) fn index_type_to_pb(index_type: IndexType) -> pb::IndexType {
    match index_type {
        IndexType::Auto => pb::IndexType::Auto,
        IndexType::Flat => pb::IndexType::Flat,
        IndexType::Hnsw => pb::IndexType::Hnsw,
    }
}

pub(in crate::api::grpc) fn index_type_from_pb(number: i32) -> Result<IndexType> {
    match pb::IndexType::try_from(number) {
        Ok(pb::IndexType::Unspecified | pb::IndexType::Auto) => Ok(IndexType::Auto),
        Ok(pb::IndexType::Flat) => Ok(IndexType::Flat),
        Ok(pb::IndexType::Hnsw) => Ok(IndexType::Hnsw),
        Err(_) => Err(Error::invalid("index_type", "must be auto, flat or hnsw")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Metadata;

    fn patch(library: pb::Library, paths: &[&str]) -> Result<LibraryPatch> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let mask = Some(prost_types::FieldMask { paths });
        library_patch(Some(library), mask, &Limits::default())
    }

    #[test]
    fn a_library_needs_only_a_name() {
        let limits = Limits::default();
        let request = pb::CreateLibraryRequest { name: "notes".to_owned(), ..Default::default() };
        let name = LibraryName::parse("notes").expect("a name");
        assert_eq!(new_library(request.clone(), &limits), Ok(NewLibrary::named(name)));
        let field = |request| {
            new_library(request, &limits).expect_err("faulty").violations[0].field.clone()
        };
        assert_eq!(field(pb::CreateLibraryRequest::default()), "name");
        assert_eq!(field(pb::CreateLibraryRequest { metric: 9, ..request.clone() }), "metric");
        assert_eq!(field(pb::CreateLibraryRequest { index_type: -1, ..request }), "index_type");
    }

    #[test]
    fn enums_round_trip() {
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            assert_eq!(metric_from_pb(metric_to_pb(metric).into()), Ok(metric));
        }
        for kind in [IndexType::Auto, IndexType::Flat, IndexType::Hnsw] {
            assert_eq!(index_type_from_pb(index_type_to_pb(kind).into()), Ok(kind));
        }
    }

    #[test]
    fn without_a_mask_what_is_set_changes() {
        let library = pb::Library { description: "new".to_owned(), ..Default::default() };
        let expected = LibraryPatch { description: Some("new".to_owned()), ..Default::default() };
        assert_eq!(patch(library, &[]), Ok(expected));
    }

    #[test]
    fn a_masked_field_that_is_not_set_becomes_empty() {
        let library = pb::Library { name: "kept out".to_owned(), ..Default::default() };
        let expected = LibraryPatch {
            name: None,
            description: Some(String::new()),
            metadata: Some(Metadata::default()),
        };
        assert_eq!(patch(library, &["description", "metadata"]), Ok(expected));
        let error = patch(pb::Library::default(), &["*"]).expect_err("an empty name");
        assert_eq!(error.violations[0].field, "name");
        assert!(patch(pb::Library::default(), &["dimension"]).is_err());
    }
}
