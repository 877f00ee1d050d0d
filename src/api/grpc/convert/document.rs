//! Conversions of documents and chunks.

use super::{mask, metadata_from_pb, metadata_to_pb, renamed, timestamp};
use crate::api::grpc::pb;
use crate::types::{
    Chunk, Document, DocumentId, DocumentPatch, Error, Limits, Metadata, NewChunk, NewContent,
    NewDocument, OnConflict, Result,
};

/// A document's id; `invalid-argument` naming `field`.
pub(in crate::api::grpc) fn document_id(field: &str, text: &str) -> Result<DocumentId> {
    DocumentId::parse(text).map_err(|error| renamed(error, field))
}

/// The document that a client wants written. Sizes are the engine's to check.
pub(in crate::api::grpc) fn new_document(
    input: pb::DocumentInput,
    limits: &Limits,
) -> Result<NewDocument> {
    let id = match input.id.as_str() {
        "" => None,
        id => Some(DocumentId::parse(id)?),
    };
    let (content_field, content) = content(input.text, input.texts, input.chunks, limits)?;
    Ok(NewDocument {
        id,
        title: input.title,
        author: input.author,
        document_type: input.document_type,
        source_url: input.source_url,
        tags: input.tags,
        metadata: metadata_from_pb("metadata", input.metadata, limits)?,
        content,
        content_field,
    })
}

/// A document that is to be written, as a message: the opposite of [`new_document`].
#[must_use]
pub fn new_document_to_pb(new: NewDocument) -> pb::DocumentInput {
    let metadata = |metadata: &Metadata| (!metadata.is_empty()).then(|| metadata_to_pb(metadata));
    let mut input = pb::DocumentInput {
        id: new.id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        title: new.title,
        author: new.author,
        document_type: new.document_type,
        source_url: new.source_url,
        tags: new.tags,
        metadata: metadata(&new.metadata),
        ..Default::default()
    };
    match new.content {
        NewContent::Text(text) => input.text = Some(text),
        NewContent::Chunks(chunks) if new.content_field == "texts" => {
            input.texts = chunks.into_iter().map(|chunk| chunk.text).collect();
        }
        NewContent::Chunks(chunks) => {
            let chunk = |chunk: NewChunk| pb::ChunkInput {
                text: chunk.text,
                embedding: chunk.embedding.unwrap_or_default(),
                metadata: metadata(&chunk.metadata),
            };
            input.chunks = chunks.into_iter().map(chunk).collect();
        }
    }
    input
}

/// What the document says, and the field that said it; none of them is an empty `texts`.
fn content(
    text: Option<String>,
    texts: Vec<String>,
    chunks: Vec<pb::ChunkInput>,
    limits: &Limits,
) -> Result<(&'static str, NewContent)> {
    match (text, texts.is_empty(), chunks.is_empty()) {
        (Some(text), true, true) => Ok(("text", NewContent::Text(text))),
        (None, _, true) => Ok(("texts", NewContent::texts(texts))),
        (None, true, false) => {
            let chunks = chunks.into_iter().enumerate();
            let chunks = chunks.map(|(i, chunk)| new_chunk(i, chunk, limits));
            Ok(("chunks", NewContent::Chunks(chunks.collect::<Result<_>>()?)))
        }
        (_, _, no_chunks) => {
            let field = if no_chunks { "text" } else { "chunks" };
            Err(Error::invalid(field, "only one of texts, text and chunks may be given"))
        }
    }
}

fn new_chunk(index: usize, chunk: pb::ChunkInput, limits: &Limits) -> Result<NewChunk> {
    let metadata = match chunk.metadata {
        Some(metadata) => {
            metadata_from_pb(&format!("chunks[{index}].metadata"), Some(metadata), limits)?
        }
        None => Default::default(),
    };
    let embedding = Some(chunk.embedding).filter(|numbers| !numbers.is_empty());
    Ok(NewChunk { text: chunk.text, embedding, metadata })
}

/// What a client wants changed of the document `id`.
pub(in crate::api::grpc) fn document_patch(
    id: &DocumentId,
    document: Option<pb::DocumentInput>,
    update_mask: Option<prost_types::FieldMask>,
    limits: &Limits,
) -> Result<DocumentPatch> {
    const KNOWN: [&str; 9] = [
        "title",
        "author",
        "document_type",
        "source_url",
        "tags",
        "metadata",
        "text",
        "texts",
        "chunks",
    ];
    let input = document.unwrap_or_default();
    if !input.id.is_empty() && input.id != id.as_str() {
        return Err(Error::invalid("document.id", "cannot change: leave it out"));
    }
    let paths = mask(update_mask, &KNOWN)?;
    let wanted = |path: &str, set: bool| match &paths {
        Some(paths) => paths.iter().any(|named| named == path || named == "*"),
        None => set,
    };
    let field = |path, text: String| wanted(path, !text.is_empty()).then_some(text);
    // Only content that the mask names counts, and `*` names what is set.
    let named = |path: &str, set: bool| match &paths {
        Some(paths) => paths.iter().any(|p| p == path || (set && p == "*")),
        None => set,
    };
    let text = named("text", input.text.is_some()).then(|| input.text.unwrap_or_default());
    let wants_texts = named("texts", !input.texts.is_empty());
    let wants_chunks = named("chunks", !input.chunks.is_empty());
    let content = match (text, wants_texts, wants_chunks) {
        (None, false, false) => None,
        (None, false, true) if input.chunks.is_empty() => {
            Some(("chunks", NewContent::Chunks(Vec::new())))
        }
        (text, wants_texts, wants_chunks) => {
            let texts = if wants_texts { input.texts } else { Vec::new() };
            let chunks = if wants_chunks { input.chunks } else { Vec::new() };
            Some(content(text, texts, chunks, limits)?)
        }
    };
    let metadata = wanted("metadata", input.metadata.is_some())
        .then(|| metadata_from_pb("metadata", input.metadata, limits))
        .transpose()?;
    Ok(DocumentPatch {
        title: field("title", input.title),
        author: field("author", input.author),
        document_type: field("document_type", input.document_type),
        source_url: field("source_url", input.source_url),
        tags: wanted("tags", !input.tags.is_empty()).then_some(input.tags),
        metadata,
        content,
    })
}

/// A document as reads show it.
pub(in crate::api::grpc) fn document_to_pb(document: Document) -> pb::Document {
    let Document { head, chunks } = document;
    pb::Document {
        id: head.id.as_str().to_owned(),
        title: head.title,
        author: head.author,
        document_type: head.document_type,
        source_url: head.source_url,
        tags: head.tags,
        metadata: Some(metadata_to_pb(&head.metadata)),
        chunks: chunks.into_iter().map(|chunk| chunk_to_pb(&chunk)).collect(),
        num_chunks: head.num_chunks,
        created_at: Some(timestamp(head.created_at)),
        updated_at: Some(timestamp(head.updated_at)),
        revision: head.revision.0,
    }
}

fn chunk_to_pb(chunk: &Chunk) -> pb::Chunk {
    pb::Chunk {
        id: chunk.head.id.to_string(),
        index: chunk.head.index,
        text: chunk.text.to_string(),
        metadata: Some(metadata_to_pb(&chunk.head.metadata)),
    }
}

/// A document as an export shows it: what an ingest stream takes to restore it.
pub(in crate::api::grpc) fn document_to_input(document: Document) -> pb::DocumentInput {
    let Document { head, chunks } = document;
    let chunk = |chunk: Chunk| pb::ChunkInput {
        text: chunk.text.to_string(),
        embedding: chunk.vector.map(|vector| vector.as_slice().to_vec()).unwrap_or_default(),
        metadata: (!chunk.head.metadata.is_empty()).then(|| metadata_to_pb(&chunk.head.metadata)),
    };
    pb::DocumentInput {
        id: head.id.as_str().to_owned(),
        title: head.title,
        author: head.author,
        document_type: head.document_type,
        source_url: head.source_url,
        tags: head.tags,
        metadata: (!head.metadata.is_empty()).then(|| metadata_to_pb(&head.metadata)),
        text: None,
        texts: Vec::new(),
        chunks: chunks.into_iter().map(chunk).collect(),
    }
}

/// What an ingested document does to one that exists.
pub(in crate::api::grpc) fn on_conflict_from_pb(number: i32) -> Result<OnConflict> {
    match pb::OnConflict::try_from(number) {
        Ok(pb::OnConflict::Unspecified | pb::OnConflict::Replace) => Ok(OnConflict::Replace),
        Ok(pb::OnConflict::Skip) => Ok(OnConflict::Skip),
        Ok(pb::OnConflict::Fail) => Ok(OnConflict::Fail),
        Err(_) => Err(Error::invalid("on_conflict", "must be replace, skip or fail")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ChunkHead, ChunkId, DocumentHead, Metric, Revision, Timestamp, Vector};

    fn metadata(text: &str) -> Metadata {
        let object = serde_json::from_str(text).expect("an object");
        Metadata::new("metadata", object, &Limits::default()).expect("small")
    }

    fn document() -> Document {
        let at = Timestamp::from_micros(1_700_000_000_123_456);
        let chunk = |index: u32, text: &str, metadata: Metadata| Chunk {
            head: ChunkHead { id: ChunkId::generate(), slot: index, index, metadata },
            text: text.into(),
            vector: Vector::new("", vec![1.0, 0.5], 2, Metric::Dot).ok(),
        };
        Document {
            head: DocumentHead {
                id: DocumentId::parse("a/1").expect("an id"),
                created_revision: Revision(3),
                title: "A".to_owned(),
                author: "b".to_owned(),
                document_type: "c".to_owned(),
                source_url: "d".to_owned(),
                tags: vec!["e".to_owned(), "f".to_owned()],
                metadata: metadata(r#"{"k":[1,{"x":null}]}"#),
                num_chunks: 2,
                created_at: at,
                updated_at: at,
                revision: Revision(9),
            },
            chunks: vec![
                chunk(0, "one", metadata(r#"{"page":2.5}"#)),
                chunk(1, "", Metadata::default()),
            ],
        }
    }

    fn input() -> pb::DocumentInput {
        pb::DocumentInput { title: "t".to_owned(), ..Default::default() }
    }

    fn patch(input: pb::DocumentInput, paths: &[&str]) -> Result<DocumentPatch> {
        let id = DocumentId::parse("a").expect("an id");
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let mask = Some(prost_types::FieldMask { paths });
        document_patch(&id, Some(input), mask, &Limits::default())
    }

    #[test]
    fn what_an_export_gives_ingest_takes() {
        let document = document();
        let new = new_document(document_to_input(document.clone()), &Limits::default());
        let new = new.expect("valid");
        let head = document.head;
        assert_eq!(new.id, Some(head.id));
        assert_eq!((new.title, new.author, new.tags), (head.title, head.author, head.tags));
        assert_eq!((new.document_type, new.source_url), (head.document_type, head.source_url));
        assert_eq!(new.metadata, head.metadata);
        let chunks = document.chunks.into_iter().map(|chunk| NewChunk {
            text: chunk.text.to_string(),
            embedding: chunk.vector.map(|vector| vector.as_slice().to_vec()),
            metadata: chunk.head.metadata,
        });
        assert_eq!(new.content, NewContent::Chunks(chunks.collect()));
        assert_eq!(new.content_field, "chunks");
    }

    #[test]
    fn what_is_to_be_written_survives_the_message() {
        let exported = new_document(document_to_input(document()), &Limits::default());
        let text = NewDocument {
            content: NewContent::Text("x".to_owned()),
            content_field: "text",
            ..NewDocument::titled("t", Vec::new())
        };
        let texts = NewDocument::titled("t", vec!["a".to_owned(), String::new()]);
        for new in [exported.expect("valid"), text, texts] {
            let back = new_document(new_document_to_pb(new.clone()), &Limits::default());
            assert_eq!(back, Ok(new));
        }
    }

    #[test]
    fn reads_show_all_but_vectors() {
        let shown = document_to_pb(document());
        assert_eq!((shown.id.as_str(), shown.revision, shown.num_chunks), ("a/1", 9, 2));
        assert_eq!((shown.chunks[0].text.as_str(), shown.chunks[1].index), ("one", 1));
        assert_eq!(shown.metadata.map(|m| m.fields.len()), Some(1));
        assert_eq!(shown.created_at.map(|at| at.nanos), Some(123_456_000));
    }

    #[test]
    fn content_comes_in_one_field() {
        let limits = Limits::default();
        let text = || Some("x".to_owned());
        let field = |input| new_document(input, &limits).map(|new| new.content_field);
        assert_eq!(field(pb::DocumentInput { text: text(), ..input() }), Ok("text"));
        let texts = vec!["x".to_owned()];
        assert_eq!(field(pb::DocumentInput { texts: texts.clone(), ..input() }), Ok("texts"));
        let two = pb::DocumentInput { text: text(), texts, ..input() };
        assert_eq!(field(two.clone()).expect_err("two").violations[0].field, "text");
        let chunks = vec![pb::ChunkInput::default()];
        let three = pb::DocumentInput { chunks, ..two };
        assert_eq!(field(three).expect_err("three").violations[0].field, "chunks");
        let none = new_document(input(), &limits).expect("the engine checks");
        let error = none.check(&limits).expect_err("no content");
        assert_eq!(error.detail, "texts: must not be empty");
        let bad = pb::DocumentInput { id: "a b".to_owned(), text: text(), ..input() };
        assert_eq!(new_document(bad, &limits).expect_err("bad id").violations[0].field, "id");
    }

    #[test]
    fn a_patch_without_a_mask_is_what_is_set() {
        let set = pb::DocumentInput { texts: vec!["x".to_owned()], ..input() };
        let expected = DocumentPatch {
            title: Some("t".to_owned()),
            content: Some(("texts", NewContent::texts(vec!["x".to_owned()]))),
            ..Default::default()
        };
        assert_eq!(patch(set.clone(), &[]), Ok(expected.clone()));
        let masked = DocumentPatch { title: None, ..expected };
        assert_eq!(patch(set, &["texts"]), Ok(masked));
    }

    #[test]
    fn a_masked_field_that_is_not_set_becomes_empty() {
        let emptied = patch(input(), &["author", "tags", "metadata"]).expect("valid");
        assert_eq!(emptied.author.as_deref(), Some(""));
        assert_eq!(emptied.tags, Some(vec![]));
        assert_eq!(emptied.metadata, Some(Metadata::default()));
        assert_eq!((emptied.title, emptied.content), (None, None));
        for field in ["text", "texts", "chunks"] {
            let content = patch(input(), &[field]).expect("valid").content;
            assert_eq!(content.map(|(name, _)| name), Some(field));
        }
        let all = patch(input(), &["*"]).expect("valid");
        assert_eq!((all.title.as_deref(), all.source_url.as_deref()), (Some("t"), Some("")));
        assert_eq!(all.content, None);
    }

    #[test]
    fn a_patch_cannot_rename_a_document() {
        let renamed = pb::DocumentInput { id: "b".to_owned(), ..input() };
        assert!(patch(renamed, &[]).is_err());
        assert!(patch(input(), &["num_chunks"]).is_err());
    }
}
