//! Documents in JSON: as clients read them, write them, and move them (export and ingest).

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::{ShownChunkId, ShownRevision, ShownTime};
use super::ingest::ClosingLine;
use super::{Object, Shown, Verbatim, emptied, given, metadata, required};
use crate::types::{
    Chunk, Document, DocumentId, DocumentPatch, Error, Limits, Metadata, NewChunk, NewContent,
    NewDocument, Page, Result,
};

/// A document: the unit of ingest.
#[derive(Serialize, ToSchema)]
#[schema(as = Document)]
pub(in crate::api::http) struct DocumentOut<'a> {
    /// Unique in its library.
    id: &'a str,
    /// Its title.
    title: &'a str,
    /// Empty when not given.
    author: &'a str,
    /// What kind of document, in the client's words; empty when not given.
    document_type: &'a str,
    /// Where it came from; empty when not given.
    source_url: &'a str,
    /// Its tags.
    tags: &'a [String],
    /// The client's own.
    metadata: Verbatim<'a>,
    /// In order; absent in a page without `include_chunks`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<Vec<ChunkOut<'a>>>,
    /// How many chunks it has.
    num_chunks: u32,
    /// When it was created.
    created_at: ShownTime,
    /// When it was created or last updated.
    updated_at: ShownTime,
    /// That of its creation or last update; the `ETag` of this answer.
    revision: ShownRevision,
}

/// A part of a document: the unit of search.
#[derive(Serialize, ToSchema)]
#[schema(as = Chunk)]
struct ChunkOut<'a> {
    /// Kept through an update while text and vector stay the same.
    id: ShownChunkId,
    /// Its place in the document, from 0.
    index: u32,
    /// Empty where the client brought a vector without one.
    text: &'a str,
    /// The client's own.
    metadata: Verbatim<'a>,
}

impl<'a> From<&'a Chunk> for ChunkOut<'a> {
    fn from(chunk: &'a Chunk) -> Self {
        Self {
            id: Shown(chunk.head.id),
            index: chunk.head.index,
            text: &chunk.text,
            metadata: Verbatim(&chunk.head.metadata),
        }
    }
}

impl<'a> DocumentOut<'a> {
    /// Without `include_chunks` the field is not there.
    pub(in crate::api::http) fn new(document: &'a Document, include_chunks: bool) -> Self {
        let head = &document.head;
        Self {
            id: head.id.as_str(),
            title: &head.title,
            author: &head.author,
            document_type: &head.document_type,
            source_url: &head.source_url,
            tags: &head.tags,
            metadata: Verbatim(&head.metadata),
            chunks: include_chunks.then(|| document.chunks.iter().map(ChunkOut::from).collect()),
            num_chunks: head.num_chunks,
            created_at: Shown(head.created_at),
            updated_at: Shown(head.updated_at),
            revision: Shown(head.revision),
        }
    }
}

/// A page of documents.
#[derive(Serialize, ToSchema)]
#[schema(as = DocumentsPage)]
pub(in crate::api::http) struct DocumentsOut<'a> {
    /// In the order of their creation.
    documents: Vec<DocumentOut<'a>>,
    /// Gives the next page as `page_token`; empty when this is the last.
    next_page_token: &'a str,
}

impl<'a> DocumentsOut<'a> {
    pub(in crate::api::http) fn new(page: &'a Page<Document>, include_chunks: bool) -> Self {
        Self {
            documents: page
                .items
                .iter()
                .map(|document| DocumentOut::new(document, include_chunks))
                .collect(),
            next_page_token: page.next_token.as_deref().unwrap_or_default(),
        }
    }
}

/// A document as a line of an export: all that an ingest needs to restore it, and what it ignores.
/// What is empty is absent.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedDocument)]
pub(in crate::api::http) struct DocumentLine<'a> {
    /// Unique in its library.
    id: &'a str,
    /// Its title.
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    document_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source_url: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "is_empty")]
    metadata: Verbatim<'a>,
    /// In order.
    #[schema(value_type = Vec<ChunkLine<'_>>)]
    chunks: ChunkLines<'a>,
    /// When it was created.
    created_at: ShownTime,
    /// When it was created or last updated.
    updated_at: ShownTime,
    /// That of its creation or last update.
    revision: ShownRevision,
}

/// A line of an export: the documents, then the last line.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = ExportLine)]
#[expect(dead_code, reason = "describes what an export writes line by line")]
pub(in crate::api::http) enum ExportLine<'a> {
    Document(DocumentLine<'a>),
    Last(ClosingLine<'a>),
}

/// The chunks of an export's line, serialised where they lie.
struct ChunkLines<'a>(&'a [Chunk]);

impl Serialize for ChunkLines<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|chunk| ChunkLine {
            id: Shown(chunk.head.id),
            index: chunk.head.index,
            text: &chunk.text,
            metadata: Verbatim(&chunk.head.metadata),
            embedding: chunk.vector.as_ref().map(|vector| vector.as_slice()),
        }))
    }
}

/// A chunk in a line of an export.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedChunk)]
struct ChunkLine<'a> {
    /// Its id; an ingest makes another.
    id: ShownChunkId,
    /// Its place in the document, from 0.
    index: u32,
    /// Empty where the client brought a vector without one.
    text: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    metadata: Verbatim<'a>,
    /// Its vector, when `include_embeddings` asks for it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
}

fn is_empty(metadata: &Verbatim<'_>) -> bool {
    metadata.0.is_empty()
}

impl<'a> From<&'a Document> for DocumentLine<'a> {
    fn from(document: &'a Document) -> Self {
        let head = &document.head;
        Self {
            id: head.id.as_str(),
            title: &head.title,
            author: &head.author,
            document_type: &head.document_type,
            source_url: &head.source_url,
            tags: &head.tags,
            metadata: Verbatim(&head.metadata),
            chunks: ChunkLines(&document.chunks),
            created_at: Shown(head.created_at),
            updated_at: Shown(head.updated_at),
            revision: Shown(head.revision),
        }
    }
}

/// A document that a client wants written. What only answers carry is accepted and ignored, so
/// that a document that was read or exported can be sent back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = NewDocument)]
pub(in crate::api::http) struct DocumentIn {
    /// 1 to 128 characters of `A–Z a–z 0–9 . _ : / @ -`; a UUID is made when absent.
    id: Option<String>,
    /// Not blank; at most 1 KiB.
    #[schema(value_type = String)]
    title: Option<String>,
    /// At most 4 KiB.
    author: Option<String>,
    /// What kind of document, in your words; at most 4 KiB.
    document_type: Option<String>,
    /// Where it came from; at most 4 KiB.
    source_url: Option<String>,
    /// At most 64, of at most 64 characters.
    tags: Option<Vec<String>>,
    /// An object of your own: at most 64 KiB and 8 levels.
    metadata: Option<Object>,
    /// The chunks' texts. One of `texts`, `text` and `chunks` is required, and only one.
    texts: Option<Vec<String>>,
    /// A text that the server splits into chunks.
    text: Option<String>,
    /// The chunks, with a vector or metadata of their own.
    chunks: Option<Vec<ChunkIn>>,
    /// Ignored, as are `num_chunks`, `created_at` and `updated_at`.
    #[schema(value_type = Option<Value>)]
    revision: Option<IgnoredAny>,
    #[serde(rename = "num_chunks")]
    #[schema(value_type = Option<Value>)]
    _num_chunks: Option<IgnoredAny>,
    #[serde(rename = "created_at")]
    #[schema(value_type = Option<Value>)]
    _created_at: Option<IgnoredAny>,
    #[serde(rename = "updated_at")]
    #[schema(value_type = Option<Value>)]
    _updated_at: Option<IgnoredAny>,
    /// Of an export's last line, with `total_documents`, `cursor` and `error`.
    #[schema(ignore)]
    pub(in crate::api::http) status: Option<String>,
    #[schema(ignore)]
    pub(in crate::api::http) total_documents: Option<u64>,
    #[schema(ignore)]
    cursor: Option<IgnoredAny>,
    #[schema(ignore)]
    error: Option<IgnoredAny>,
}

/// One chunk that a client wants written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = NewChunk)]
struct ChunkIn {
    /// At most 1 MiB. Needed where the library's embedder makes the vector.
    text: Option<String>,
    /// The vector: as many numbers as the library's dimension.
    embedding: Option<Vec<f32>>,
    /// An object of your own: at most 64 KiB and 8 levels.
    metadata: Option<Object>,
    /// Ignored, as is `index`.
    #[serde(rename = "id")]
    #[schema(value_type = Option<Value>)]
    _id: Option<IgnoredAny>,
    #[serde(rename = "index")]
    #[schema(value_type = Option<Value>)]
    _index: Option<IgnoredAny>,
}

impl DocumentIn {
    /// Whether it comes from an export: nothing else carries a revision.
    pub(in crate::api::http) fn is_exported(&self) -> bool {
        self.revision.is_some()
    }

    /// The document itself. `invalid-argument` naming what is missing, given twice, or belongs
    /// to an export's last line only.
    pub(in crate::api::http) fn into_new(self, limits: &Limits) -> Result<NewDocument> {
        let closing = [
            ("status", self.status.is_some()),
            ("total_documents", self.total_documents.is_some()),
            ("cursor", self.cursor.is_some()),
            ("error", self.error.is_some()),
        ];
        if let Some((name, _)) = closing.into_iter().find(|(_, given)| *given) {
            return Err(Error::invalid(name, "is not a field of a document"));
        }
        let content = content(self.texts, self.text, self.chunks, limits)?;
        let (content_field, content) = content
            .ok_or_else(|| Error::invalid("texts", "one of texts, text and chunks is required"))?;
        Ok(NewDocument {
            id: self.id.as_deref().map(DocumentId::parse).transpose()?,
            title: self.title.ok_or_else(|| Error::invalid("title", "is required"))?,
            author: self.author.unwrap_or_default(),
            document_type: self.document_type.unwrap_or_default(),
            source_url: self.source_url.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
            metadata: metadata("metadata", self.metadata, limits)?,
            content,
            content_field,
        })
    }

    /// Its title, for those who cannot use the rest.
    pub(in crate::api::http) fn title(&self) -> &str {
        self.title.as_deref().unwrap_or_default()
    }
}

/// At most one of the three ways to give a document's content, with the name of the field.
fn content(
    texts: Option<Vec<String>>,
    text: Option<String>,
    chunks: Option<Vec<ChunkIn>>,
    limits: &Limits,
) -> Result<Option<(&'static str, NewContent)>> {
    let several =
        |name| Err(Error::invalid(name, "only one of texts, text and chunks may be given"));
    match (texts, text, chunks) {
        (None, None, None) => Ok(None),
        (Some(texts), None, None) => Ok(Some(("texts", NewContent::texts(texts)))),
        (None, Some(text), None) => Ok(Some(("text", NewContent::Text(text)))),
        (None, None, Some(chunks)) => {
            let chunks = chunks
                .into_iter()
                .enumerate()
                .map(|(i, chunk)| {
                    Ok(NewChunk {
                        text: chunk.text.unwrap_or_default(),
                        embedding: chunk.embedding,
                        metadata: metadata(
                            &format!("chunks[{i}].metadata"),
                            chunk.metadata,
                            limits,
                        )?,
                    })
                })
                .collect::<Result<_>>()?;
            Ok(Some(("chunks", NewContent::Chunks(chunks))))
        }
        (_, Some(_), None) => several("text"),
        (_, _, Some(_)) => several("chunks"),
    }
}

/// What a client wants changed of a document. `null` empties what can be empty.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = DocumentPatch)]
pub(in crate::api::http) struct DocumentPatchIn {
    /// Not blank; at most 1 KiB.
    #[schema(value_type = String)]
    #[serde(default, deserialize_with = "given")]
    title: Option<Option<String>>,
    /// At most 4 KiB.
    #[schema(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    author: Option<Option<String>>,
    /// What kind of document, in your words; at most 4 KiB.
    #[schema(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    document_type: Option<Option<String>>,
    /// Where it came from; at most 4 KiB.
    #[schema(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    source_url: Option<Option<String>>,
    /// All tags; at most 64, of at most 64 characters.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(default, deserialize_with = "given")]
    tags: Option<Option<Vec<String>>>,
    /// All of it: at most 64 KiB and 8 levels.
    #[schema(value_type = Option<Object>)]
    #[serde(default, deserialize_with = "given")]
    metadata: Option<Option<Object>>,
    /// The chunks' texts, which replace all chunks. One of `texts`, `text` and `chunks` at most.
    #[schema(value_type = Vec<String>)]
    #[serde(default, deserialize_with = "given")]
    texts: Option<Option<Vec<String>>>,
    /// A text that the server splits into chunks, which replace all chunks.
    #[schema(value_type = String)]
    #[serde(default, deserialize_with = "given")]
    text: Option<Option<String>>,
    /// Replace all chunks.
    #[schema(value_type = Vec<ChunkIn>)]
    #[serde(default, deserialize_with = "given")]
    chunks: Option<Option<Vec<ChunkIn>>>,
}

impl DocumentPatchIn {
    pub(in crate::api::http) fn into_patch(self, limits: &Limits) -> Result<DocumentPatch> {
        Ok(DocumentPatch {
            title: required("title", self.title)?,
            author: emptied(self.author),
            document_type: emptied(self.document_type),
            source_url: emptied(self.source_url),
            tags: emptied(self.tags),
            metadata: emptied(self.metadata)
                .map(|object| Metadata::new("metadata", object, limits))
                .transpose()?,
            content: content(
                required("texts", self.texts)?,
                required("text", self.text)?,
                required("chunks", self.chunks)?,
                limits,
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{parse, to_bytes};
    use super::*;
    use crate::types::{ChunkHead, ChunkId, DocumentHead, Metric, Revision, Timestamp, Vector};

    fn new(text: &[u8]) -> Result<NewDocument> {
        parse::<DocumentIn>(text)?.into_new(&Limits::default())
    }

    fn patch(text: &str) -> Result<DocumentPatch> {
        parse::<DocumentPatchIn>(text.as_bytes())?.into_patch(&Limits::default())
    }

    fn field(error: &Error) -> &str {
        &error.violations[0].field
    }

    fn document(metadata: &Metadata, vector: Option<Vec<f32>>) -> Document {
        Document {
            head: DocumentHead {
                id: DocumentId::parse("a/b").expect("valid"),
                created_revision: Revision(7),
                title: "Ti\"tle".into(),
                author: String::new(),
                document_type: "page".into(),
                source_url: String::new(),
                tags: vec![],
                metadata: metadata.clone(),
                num_chunks: 1,
                created_at: Timestamp::from_micros(1),
                updated_at: Timestamp::from_micros(2),
                revision: Revision(9),
            },
            chunks: vec![Chunk {
                head: ChunkHead {
                    id: ChunkId::from_bytes([2; 16]),
                    slot: 0,
                    index: 0,
                    metadata: Metadata::default(),
                },
                text: "one\ntwo".into(),
                vector: vector.map(|v| Vector::new("v", v, 2, Metric::Dot).expect("valid")),
            }],
        }
    }

    #[test]
    fn a_document_prints_as_documented() {
        let document = document(&Metadata::default(), None);
        let head = concat!(
            r#"{"id":"a/b","title":"Ti\"tle","author":"","document_type":"page","#,
            r#""source_url":"","tags":[],"metadata":{},"#
        );
        let chunks = concat!(
            r#""chunks":[{"id":"02020202-0202-0202-0202-020202020202","index":0,"#,
            r#""text":"one\ntwo","metadata":{}}],"#
        );
        let tail = concat!(
            r#""num_chunks":1,"created_at":"1970-01-01T00:00:00.000001Z","#,
            r#""updated_at":"1970-01-01T00:00:00.000002Z","revision":"9"}"#
        );
        let shown = |chunks| to_bytes(&DocumentOut::new(&document, chunks));
        assert_eq!(String::from_utf8_lossy(&shown(false)), format!("{head}{tail}"));
        assert_eq!(String::from_utf8_lossy(&shown(true)), format!("{head}{chunks}{tail}"));
    }

    #[test]
    fn an_exported_line_has_golden_bytes_and_restores_what_it_says() {
        let metadata = new(br#"{"title":"t","text":"x","metadata":{"n":1.5}}"#);
        let metadata = metadata.expect("valid").metadata;
        let line = to_bytes(&DocumentLine::from(&document(&metadata, Some(vec![0.1, -2.0]))));
        assert_eq!(
            String::from_utf8_lossy(&line),
            concat!(
                r#"{"id":"a/b","title":"Ti\"tle","document_type":"page","metadata":{"n":1.5},"#,
                r#""chunks":[{"id":"02020202-0202-0202-0202-020202020202","index":0,"#,
                r#""text":"one\ntwo","embedding":[0.1,-2.0]}],"#,
                r#""created_at":"1970-01-01T00:00:00.000001Z","#,
                r#""updated_at":"1970-01-01T00:00:00.000002Z","revision":"9"}"#
            )
        );
        let input: DocumentIn = parse(&line).expect("valid");
        assert!(input.is_exported());
        let restored = input.into_new(&Limits::default()).expect("valid");
        let expected = NewDocument {
            id: DocumentId::parse("a/b").ok(),
            document_type: "page".into(),
            metadata,
            content: NewContent::Chunks(vec![NewChunk {
                text: "one\ntwo".into(),
                embedding: Some(vec![0.1, -2.0]),
                metadata: Metadata::default(),
            }]),
            content_field: "chunks",
            ..NewDocument::titled("Ti\"tle", vec![])
        };
        assert_eq!(restored, expected);
    }

    #[test]
    fn faults_are_named() {
        for (text, name) in [
            (r#"{"texts":["x"]}"#, "title"),
            (r#"{"title":"t"}"#, "texts"),
            (r#"{"title":"t","texts":["x"],"text":"x"}"#, "text"),
            (r#"{"title":"t","texts":["x"],"chunks":[]}"#, "chunks"),
            (r#"{"title":"t","text":"x","id":"a b"}"#, "id"),
            (r#"{"title":"t","text":"x","titel":"t"}"#, "titel"),
            (r#"{"title":"t","text":"x","status":"complete"}"#, "status"),
            (r#"{"title":"t","chunks":[{"text":"x","embeding":[1]}]}"#, "chunks[0].embeding"),
            (r#"{"title":"t","chunks":[{"text":"x","metadata":{"a":1e999}}]}"#, ""),
        ] {
            let error = new(text.as_bytes()).expect_err(text);
            assert_eq!(error.violations.first().map_or("", |v| v.field.as_str()), name, "{text}");
        }
    }

    #[test]
    fn a_patch_tells_absent_from_null() {
        assert_eq!(patch("{}"), Ok(DocumentPatch::default()));
        let emptied = patch(r#"{"author":null,"tags":null,"metadata":null}"#).expect("valid");
        assert_eq!(emptied.author.as_deref(), Some(""));
        assert_eq!(emptied.tags, Some(vec![]));
        assert_eq!(emptied.metadata, Some(Metadata::default()));
        assert_eq!(emptied.title, None);
        for (text, name) in [
            (r#"{"title":null}"#, "title"),
            (r#"{"texts":null}"#, "texts"),
            (r#"{"text":"x","texts":["x"]}"#, "text"),
            (r#"{"revision":"1"}"#, "revision"),
        ] {
            assert_eq!(field(&patch(text).expect_err(text)), name);
        }
        let patch = patch(r#"{"texts":["x"]}"#).expect("valid");
        assert_eq!(patch.content, Some(("texts", NewContent::texts(vec!["x".into()]))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_document_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = new(&bytes);
        }

        #[test]
        fn any_embedding_survives_the_line(
            vector in prop::collection::vec(any::<f32>().prop_filter("finite", |x| {
                x.is_finite() && x.abs() < 1e18
            }), 2)
        ) {
            let line = to_bytes(&DocumentLine::from(
                &document(&Metadata::default(), Some(vector.clone())),
            ));
            let NewContent::Chunks(chunks) = new(&line).expect("valid").content else {
                panic!("chunks")
            };
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(chunks[0].embedding.as_deref().expect("kept")), bits(&vector));
        }
    }
}
