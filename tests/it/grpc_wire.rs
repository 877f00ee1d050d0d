//! The verbs of the API over gRPC, their messages shown as the gateway's JSON.

use arrwdb::api::grpc::pb;
use arrwdb::types::Timestamp;
use futures::{Stream, StreamExt};
use pb::document_service_client::DocumentServiceClient;
use pb::event_service_client::EventServiceClient;
use pb::index_service_client::IndexServiceClient;
use pb::library_service_client::LibraryServiceClient;
use pb::search_service_client::SearchServiceClient;
use prost_types::value::Kind;
use serde_json::{Map, Value, json};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use crate::harness::Server;
use crate::wire::{EventsQuery, Fault, Outcome, Wire, in_time, row, text};

/// Generated clients over one channel.
#[derive(Clone)]
pub struct Grpc {
    pub libraries: LibraryServiceClient<Channel>,
    pub documents: DocumentServiceClient<Channel>,
    pub searches: SearchServiceClient<Channel>,
    pub events: EventServiceClient<Channel>,
    pub indexes: IndexServiceClient<Channel>,
}

impl Grpc {
    pub async fn of(server: &Server) -> Self {
        let channel = server.channel().await;
        Self {
            libraries: LibraryServiceClient::new(channel.clone()),
            documents: DocumentServiceClient::new(channel.clone())
                .max_decoding_message_size(usize::MAX),
            searches: SearchServiceClient::new(channel.clone())
                .max_decoding_message_size(usize::MAX),
            indexes: IndexServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel).max_decoding_message_size(usize::MAX),
        }
    }

    /// Opens a subscription.
    pub async fn follow(
        &self,
        query: &EventsQuery,
    ) -> Result<Streaming<pb::SubscribeResponse>, Status> {
        let request = pb::SubscribeRequest {
            library_id: query.library.clone(),
            event_types: query.types.iter().map(|name| event_type(name)).collect(),
            cursor: query.cursor.clone(),
            ..Default::default()
        };
        let opened = in_time("a subscription", self.events.clone().subscribe(request)).await;
        opened.map(tonic::Response::into_inner)
    }
}

/// A status, which must look as the fault table says.
pub fn fault(status: &Status) -> Fault {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "arrwdb");
    let slug = info.reason.to_ascii_lowercase().replace('_', "-");
    assert_eq!(info.reason, slug.to_ascii_uppercase().replace('-', "_"));
    assert_eq!(status.code(), row(&slug).code, "{status:?}");
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
    let retry = details.retry_info().and_then(|info| info.retry_delay);
    Fault {
        slug,
        detail: status.message().to_owned(),
        violations: violations
            .unwrap_or_default()
            .iter()
            .map(|v| (v.field.clone(), v.description.clone()))
            .collect(),
        retry_after_ms: retry.map(|retry| u64::try_from(retry.as_millis()).expect("small")),
        floor_cursor: info.metadata.get("floor_cursor").cloned(),
    }
}

fn answer<T>(result: Result<tonic::Response<T>, Status>) -> Result<T, Fault> {
    result.map(tonic::Response::into_inner).map_err(|status| fault(&status))
}

/// JSON as a `Struct`.
pub fn object(value: &Value) -> prost_types::Struct {
    let fields = value.as_object().expect("an object").iter();
    prost_types::Struct { fields: fields.map(|(k, v)| (k.clone(), any(v))).collect() }
}

fn any(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(bool) => Kind::BoolValue(*bool),
        Value::Number(number) => Kind::NumberValue(number.as_f64().expect("a double")),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.iter().map(any).collect() })
        }
        Value::Object(_) => Kind::StructValue(object(value)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn json_of(message: &prost_types::Struct) -> Value {
    let fields = message.fields.iter();
    Value::Object(fields.map(|(key, value)| (key.clone(), json_of_any(value))).collect())
}

#[expect(clippy::cast_possible_truncation, reason = "whole and small")]
fn json_of_any(value: &prost_types::Value) -> Value {
    match value.kind.as_ref().expect("a kind") {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(bool) => json!(bool),
        Kind::NumberValue(n) if n.fract() == 0.0 && n.abs() < 9e15 => json!(*n as i64),
        Kind::NumberValue(n) => json!(n),
        Kind::StringValue(text) => json!(text),
        Kind::ListValue(list) => Value::Array(list.values.iter().map(json_of_any).collect()),
        Kind::StructValue(object) => json_of(object),
    }
}

fn metadata(message: Option<&prost_types::Struct>) -> Value {
    message.map_or_else(|| json!({}), json_of)
}

fn time(message: Option<prost_types::Timestamp>) -> Value {
    let message = message.expect("a time");
    let seconds = u64::try_from(message.seconds).expect("after 1970");
    let nanos = u64::try_from(message.nanos).expect("positive");
    json!(Timestamp::from_micros(seconds * 1_000_000 + nanos / 1_000).to_string())
}

/// An f32 as its shortest decimal, which is how JSON shows it.
fn single(number: f32) -> Value {
    serde_json::from_str(&serde_json::to_string(&number).expect("a number")).expect("JSON")
}

fn field(value: &Value, name: &str) -> String {
    value.get(name).filter(|value| !value.is_null()).map(text).unwrap_or_default()
}

fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> Option<u32> {
    value.get(name).map(|n| u32::try_from(n.as_u64().expect("whole")).expect("small"))
}

fn enumerated(prefix: &str, value: &Value, name: &str, parse: fn(&str) -> Option<i32>) -> i32 {
    match value.get(name) {
        None => 0,
        // What is not one of the names is a number that is none of the values.
        Some(named) => {
            parse(&format!("{prefix}{}", text(named).to_ascii_uppercase())).unwrap_or(99)
        }
    }
}

fn event_type(name: &str) -> i32 {
    let name = format!("EVENT_TYPE_{}", name.to_ascii_uppercase().replace('.', "_"));
    pb::EventType::from_str_name(&name).map_or(99, i32::from)
}

fn metric(metric: pb::Metric) -> Value {
    json!(metric.as_str_name().trim_start_matches("METRIC_").to_ascii_lowercase())
}

fn index_type(index_type: pb::IndexType) -> Value {
    json!(index_type.as_str_name().trim_start_matches("INDEX_TYPE_").to_ascii_lowercase())
}

fn embedder(embedder: Option<&pb::Embedder>) -> Value {
    let embedder = embedder.expect("an embedder");
    json!({"id": embedder.id, "sha256": embedder.sha256})
}

fn library(library: Option<&pb::Library>) -> Value {
    let library = library.expect("a library");
    json!({
        "id": library.id,
        "name": library.name,
        "description": library.description,
        "metric": metric(library.metric()),
        "dimension": library.dimension,
        "embedder": embedder(library.embedder.as_ref()),
        "index_type": index_type(library.index_type()),
        "metadata": metadata(library.metadata.as_ref()),
        "num_documents": library.num_documents,
        "num_chunks": library.num_chunks,
        "created_at": time(library.created_at),
        "updated_at": time(library.updated_at),
        "revision": library.revision.to_string(),
    })
}

fn document(document: Option<&pb::Document>, chunks: bool) -> Value {
    let document = document.expect("a document");
    let mut value = json!({
        "id": document.id,
        "title": document.title,
        "author": document.author,
        "document_type": document.document_type,
        "source_url": document.source_url,
        "tags": document.tags,
        "metadata": metadata(document.metadata.as_ref()),
        "num_chunks": document.num_chunks,
        "created_at": time(document.created_at),
        "updated_at": time(document.updated_at),
        "revision": document.revision.to_string(),
    });
    let chunk = |chunk: &pb::Chunk| {
        json!({"id": chunk.id, "index": chunk.index, "text": chunk.text,
            "metadata": metadata(chunk.metadata.as_ref())})
    };
    if chunks {
        value["chunks"] = document.chunks.iter().map(chunk).collect();
    } else {
        assert!(document.chunks.is_empty(), "chunks that nobody asked for");
    }
    value
}

/// The gateway's JSON as the document that a client sends.
pub fn input(value: &Value) -> pb::DocumentInput {
    let chunk = |chunk: &Value| pb::ChunkInput {
        text: field(chunk, "text"),
        embedding: numbers(&chunk["embedding"]),
        metadata: chunk.get("metadata").map(object),
    };
    let list = |name: &str| value.get(name).and_then(Value::as_array).into_iter().flatten();
    pb::DocumentInput {
        id: field(value, "id"),
        title: field(value, "title"),
        author: field(value, "author"),
        document_type: field(value, "document_type"),
        source_url: field(value, "source_url"),
        tags: list("tags").map(text).collect(),
        metadata: value.get("metadata").filter(|value| !value.is_null()).map(object),
        text: value.get("text").map(text),
        texts: list("texts").map(text).collect(),
        chunks: list("chunks").map(chunk).collect(),
    }
}

/// A document of an export as the gateway's line, without what only the line has.
fn line(input: &pb::DocumentInput) -> Value {
    let mut value = Map::new();
    value.insert("id".into(), json!(input.id));
    value.insert("title".into(), json!(input.title));
    for (name, text) in [
        ("author", &input.author),
        ("document_type", &input.document_type),
        ("source_url", &input.source_url),
    ] {
        if !text.is_empty() {
            value.insert(name.into(), json!(text));
        }
    }
    if !input.tags.is_empty() {
        value.insert("tags".into(), json!(input.tags));
    }
    if let Some(metadata) = &input.metadata {
        value.insert("metadata".into(), json_of(metadata));
    }
    let chunk = |chunk: &pb::ChunkInput| {
        let mut value = json!({"text": chunk.text});
        if let Some(metadata) = &chunk.metadata {
            value["metadata"] = json_of(metadata);
        }
        if !chunk.embedding.is_empty() {
            value["embedding"] = chunk.embedding.iter().map(|number| single(*number)).collect();
        }
        value
    };
    value.insert("chunks".into(), input.chunks.iter().map(chunk).collect());
    Value::Object(value)
}

fn hit(hit: &pb::Hit) -> Value {
    let mut value = json!({
        "rank": hit.rank,
        "chunk_id": hit.chunk_id,
        "document_id": hit.document_id,
        "score": single(hit.score),
        "title": hit.title,
        "metadata": metadata(hit.metadata.as_ref()),
    });
    if let Some(text) = &hit.text {
        value["text"] = json!(text);
    }
    if let Some(distance) = hit.distance {
        value["distance"] = single(distance);
    }
    if let Some(explanation) = &hit.explanation {
        value["explanation"] = json!({});
        if let Some(part) = &explanation.vector {
            let (distance, score) = (single(part.distance), single(part.score));
            let part = json!({"rank": part.rank, "distance": distance, "score": score});
            value["explanation"]["vector"] = part;
        }
        if let Some(part) = &explanation.text {
            let (bm25, score) = (single(part.bm25), single(part.score));
            value["explanation"]["text"] = json!({"rank": part.rank, "bm25": bm25, "score": score});
        }
    }
    value
}

/// An event as the gateway shows it.
pub fn event(event: &pb::Event) -> Value {
    let kind = event.r#type().as_str_name().trim_start_matches("EVENT_TYPE_").to_ascii_lowercase();
    let kind = kind.replace('_', ".");
    let mut value = json!({
        "id": event.id,
        "type": kind,
        "library_id": event.library_id,
        "timestamp": time(event.timestamp),
        "revision": event.revision.to_string(),
        "last": event.last,
    });
    if !event.batch_id.is_empty() {
        value["batch_id"] = json!(event.batch_id);
    }
    let payload = event.payload.as_ref().expect("a payload");
    let payload = payload_of(payload, kind == "batch.started");
    for (name, field) in payload.as_object().expect("an object") {
        value[name] = field.clone();
    }
    value
}

fn payload_of(payload: &pb::event::Payload, started: bool) -> Value {
    use pb::event::Payload;
    let mut value = json!({});
    match payload {
        Payload::Library(library) => {
            value = json!({
                "name": library.name,
                "description": library.description,
                "metric": metric(library.metric()),
                "dimension": library.dimension,
                "embedder": embedder(library.embedder.as_ref()),
                "index_type": index_type(library.index_type()),
                "metadata": metadata(library.metadata.as_ref()),
            });
            if let Some(name) = &library.previous_name {
                value["previous_name"] = json!(name);
                value["previous_description"] = json!(library.previous_description());
                value["previous_metadata"] = metadata(library.previous_metadata.as_ref());
            }
            if let Some(documents) = library.num_documents {
                value["num_documents"] = json!(documents);
                value["num_chunks"] = json!(library.num_chunks());
            }
        }
        Payload::Document(document) => {
            value["document_id"] = json!(document.document_id);
            value["title"] = json!(document.title);
            for (name, text) in [
                ("author", &document.author),
                ("document_type", &document.document_type),
                ("source_url", &document.source_url),
            ] {
                if !text.is_empty() {
                    value[name] = json!(text);
                }
            }
            value["tags"] = json!(document.tags);
            value["num_chunks"] = json!(document.num_chunks);
            value["metadata"] = metadata(document.metadata.as_ref());
            if let Some(title) = &document.previous_title {
                value["previous_title"] = json!(title);
                value["previous_metadata"] = metadata(document.previous_metadata.as_ref());
            }
        }
        Payload::Chunk(chunk) => {
            value = json!({"chunk_id": chunk.chunk_id, "document_id": chunk.document_id,
                "index": chunk.index, "title": chunk.title,
                "metadata": metadata(chunk.metadata.as_ref())});
        }
        Payload::Batch(batch) if started => assert_eq!(*batch, pb::BatchEvent::default()),
        Payload::Batch(batch) => {
            value = json!({"total_processed": batch.total_processed,
                "total_succeeded": batch.total_succeeded, "total_failed": batch.total_failed,
                "total_skipped": batch.total_skipped, "total_chunks": batch.total_chunks});
            if let Some(reason) = &batch.reason {
                value["reason"] = json!(reason);
            }
        }
        Payload::Index(index) => match (index.segments_before, index.segments_after) {
            (Some(before), Some(after)) => {
                value = json!({"segments_before": before, "segments_after": after});
            }
            _ => value = json!({"index_type": index_type(index.index_type())}),
        },
    }
    value
}

/// The status of an ingest stream as the gateway's line.
pub fn status(status: &pb::StreamIngestDocumentsResponse) -> Value {
    use pb::stream_ingest_documents_response::Status;
    match status.status.as_ref().expect("a status") {
        Status::Processing(s) => {
            json!({"status": "processing", "line": s.position, "title": s.title})
        }
        Status::Completed(s) => json!({"status": "completed", "line": s.position, "id": s.id,
            "title": s.title, "num_chunks": s.num_chunks, "revision": s.revision.to_string()}),
        Status::Skipped(s) => json!({"status": "skipped", "line": s.position, "id": s.id,
            "title": s.title, "revision": s.revision.to_string()}),
        Status::Failed(s) => {
            let error = s.error.as_ref().expect("an error");
            json!({"status": "failed", "line": s.position, "title": s.title,
                "error": {"type": error.slug, "detail": error.detail}})
        }
        Status::Summary(s) => json!({"status": "summary", "batch_id": s.batch_id,
            "total_processed": s.total_processed, "total_succeeded": s.total_succeeded,
            "total_failed": s.total_failed, "total_skipped": s.total_skipped,
            "total_chunks": s.total_chunks, "revision": s.revision.to_string()}),
    }
}

/// The messages of an ingest stream: the header, then documents.
pub fn ingest_messages(
    library: &str,
    on_conflict: &str,
    report: &str,
    documents: impl Stream<Item = Value> + Send + 'static,
) -> impl Stream<Item = pb::StreamIngestDocumentsRequest> + Send + 'static {
    use pb::stream_ingest_documents_request::Item;
    let options = json!({"on_conflict": on_conflict, "report": report});
    let parse = |name: &str| pb::OnConflict::from_str_name(name).map(i32::from);
    let report = |name: &str| pb::IngestReport::from_str_name(name).map(i32::from);
    let header = pb::IngestHeader {
        library_id: library.to_owned(),
        on_conflict: enumerated("ON_CONFLICT_", &options, "on_conflict", parse),
        report: enumerated("INGEST_REPORT_", &options, "report", report),
    };
    let first = futures::stream::iter([Item::Header(header)]);
    let rest = documents.map(|document| Item::Document(input(&document)));
    first.chain(rest).map(|item| pb::StreamIngestDocumentsRequest { item: Some(item) })
}

fn paths(patch: &Value) -> Option<prost_types::FieldMask> {
    let paths = patch.as_object().expect("an object").keys().cloned().collect();
    Some(prost_types::FieldMask { paths })
}

fn mode(body: &Value) -> i32 {
    match body.get("mode").map(text).as_deref() {
        None => 0,
        Some("hybrid") => 1,
        Some("vector") => 2,
        Some("text") => 3,
        Some(_) => -1,
    }
}

fn weights(body: &Value) -> Option<pb::SearchWeights> {
    let weights = body.get("weights")?;
    let weight = |name: &str| numbers(&json!([weights[name]])).first().copied().unwrap_or_default();
    Some(pb::SearchWeights { vector: weight("vector"), text: weight("text") })
}

fn stream_request(library: &str, body: &Value) -> pb::StreamSearchRequest {
    pb::StreamSearchRequest {
        library_id: library.to_owned(),
        query: body.get("query").map(text),
        embedding: numbers(&body["embedding"]),
        k: number(body, "k"),
        distance_threshold: numbers(&json!([body["distance_threshold"]])).first().copied(),
        filter: field(body, "filter"),
        include_text: body.get("include_text").and_then(Value::as_bool),
        exact: false,
        ef: number(body, "ef"),
        mode: mode(body),
        weights: weights(body),
        explain: body["explain"].as_bool().unwrap_or_default(),
        group_by: match body.get("group_by").map(text).as_deref() {
            None => 0,
            Some("document") => 1,
            Some(_) => -1,
        },
        min_revision: body.get("min_revision").map(|value| text(value).parse().expect("one")),
        timeout_ms: number(body, "timeout_ms"),
    }
}

impl Wire for Grpc {
    async fn create_library(&self, body: Value, request_id: &str) -> Outcome {
        let metric = |name: &str| pb::Metric::from_str_name(name).map(i32::from);
        let index = |name: &str| pb::IndexType::from_str_name(name).map(i32::from);
        let request = pb::CreateLibraryRequest {
            name: field(&body, "name"),
            description: field(&body, "description"),
            metric: enumerated("METRIC_", &body, "metric", metric),
            embedder: field(&body, "embedder"),
            dimension: number(&body, "dimension"),
            index_type: enumerated("INDEX_TYPE_", &body, "index_type", index),
            metadata: body.get("metadata").map(object),
            request_id: request_id.to_owned(),
        };
        let reply = answer(self.libraries.clone().create_library(request).await)?;
        Ok(library(reply.library.as_ref()))
    }

    async fn get_library(&self, id: &str, min_revision: Option<u64>) -> Outcome {
        let timeout_ms = min_revision.map(|_| 1);
        let request = pb::GetLibraryRequest { library_id: id.into(), min_revision, timeout_ms };
        let reply = answer(self.libraries.clone().get_library(request).await)?;
        Ok(library(reply.library.as_ref()))
    }

    async fn list_libraries(&self, size: u32, token: &str) -> Outcome {
        let request = pb::ListLibrariesRequest {
            page_size: size,
            page_token: token.into(),
            ..Default::default()
        };
        let reply = answer(self.libraries.clone().list_libraries(request).await)?;
        let libraries: Vec<_> = reply.libraries.iter().map(|one| library(Some(one))).collect();
        Ok(json!({"libraries": libraries, "next_page_token": reply.next_page_token}))
    }

    async fn update_library(&self, id: &str, patch: Value, expected: Option<u64>) -> Outcome {
        let request = pb::UpdateLibraryRequest {
            library_id: id.into(),
            update_mask: paths(&patch),
            library: Some(pb::Library {
                name: field(&patch, "name"),
                description: field(&patch, "description"),
                metadata: patch.get("metadata").filter(|value| !value.is_null()).map(object),
                ..Default::default()
            }),
            expected_revision: expected,
        };
        let reply = answer(self.libraries.clone().update_library(request).await)?;
        Ok(library(reply.library.as_ref()))
    }

    async fn delete_library(&self, id: &str, expected: Option<u64>) -> Outcome {
        let request =
            pb::DeleteLibraryRequest { library_id: id.into(), expected_revision: expected };
        let reply = answer(self.libraries.clone().delete_library(request).await)?;
        Ok(json!({"revision": reply.revision.to_string()}))
    }

    async fn library_statistics(&self, id: &str) -> Outcome {
        let request =
            pb::GetLibraryStatisticsRequest { library_id: id.into(), ..Default::default() };
        let reply = answer(self.libraries.clone().get_library_statistics(request).await)?;
        Ok(json!({"id": reply.library_id, "name": reply.name, "num_documents": reply.num_documents,
            "num_chunks": reply.num_chunks, "num_segments": reply.num_segments,
            "num_tombstones": reply.num_tombstones, "index_bytes": reply.index_bytes,
            "revision": reply.revision.to_string()}))
    }

    async fn count(&self, id: &str, filter: &str) -> Outcome {
        let (library_id, filter) = (id.into(), filter.into());
        let request = pb::CountDocumentsRequest { library_id, filter, ..Default::default() };
        let reply = answer(self.documents.clone().count_documents(request).await)?;
        Ok(json!({"num_documents": reply.num_documents, "num_chunks": reply.num_chunks,
            "revision": reply.revision.to_string()}))
    }

    async fn delete_matching(&self, id: &str, filter: &str) -> Outcome {
        let (library_id, filter) = (id.into(), filter.into());
        let request = pb::DeleteDocumentsRequest { library_id, filter, ..Default::default() };
        let reply = answer(self.documents.clone().delete_documents(request).await)?;
        Ok(json!({"num_deleted": reply.num_deleted, "num_changed": reply.num_changed,
            "revision": reply.revision.to_string()}))
    }

    async fn index(&self, id: &str, min_revision: Option<u64>) -> Outcome {
        let request = pb::GetIndexStatisticsRequest {
            library_id: id.into(),
            min_revision,
            timeout_ms: min_revision.map(|_| 1),
        };
        let reply = answer(self.indexes.clone().get_index_statistics(request).await)?;
        let segment = |one: &pb::IndexSegment| {
            json!({"has_graph": one.has_graph, "num_rows": one.num_rows,
                "num_tombstones": one.num_tombstones, "index_bytes": one.index_bytes, "ef": one.ef})
        };
        let mut shown = json!({"id": reply.library_id, "num_rows": reply.num_rows,
            "index_type": index_type(reply.index_type()),
            "num_tombstones": reply.num_tombstones, "index_bytes": reply.index_bytes,
            "segments": reply.segments.iter().map(segment).collect::<Vec<_>>(),
            "revision": reply.revision.to_string()});
        if let Some(building) = reply.building {
            shown["building"] =
                json!({"num_rows": building.num_rows, "num_rows_done": building.num_rows_done});
        }
        Ok(shown)
    }

    async fn rebuild_index(&self, id: &str, body: Value) -> Outcome {
        let kind = body.get("index_type").map(|kind| {
            let name = format!("INDEX_TYPE_{}", text(kind).to_ascii_uppercase());
            pb::IndexType::from_str_name(&name).map_or(-1, i32::from)
        });
        let index_type = kind.unwrap_or_default();
        let request = pb::RebuildIndexRequest { library_id: id.into(), index_type };
        let reply = answer(self.indexes.clone().rebuild_index(request).await)?;
        Ok(json!({"revision": reply.revision.to_string()}))
    }

    async fn optimize_index(&self, id: &str) -> Outcome {
        let request = pb::OptimizeIndexRequest { library_id: id.into() };
        let reply = answer(self.indexes.clone().optimize_index(request).await)?;
        Ok(json!({"revision": reply.revision.to_string()}))
    }

    async fn recall(&self, id: &str, body: Value) -> Outcome {
        let request = pb::MeasureRecallRequest {
            library_id: id.into(),
            num_queries: number(&body, "num_queries"),
            k: number(&body, "k"),
            ef: number(&body, "ef"),
            min_revision: None,
            timeout_ms: None,
        };
        let reply = answer(self.searches.clone().measure_recall(request).await)?;
        Ok(json!({"recall": reply.recall, "recall_min": reply.recall_min,
            "num_queries": reply.num_queries, "k": reply.k, "search_us": reply.search_us,
            "exact_us": reply.exact_us, "revision": reply.revision.to_string()}))
    }

    async fn create_document(&self, id: &str, body: Value, request_id: &str) -> Outcome {
        let request = pb::CreateDocumentRequest {
            library_id: id.into(),
            document: Some(input(&body)),
            request_id: request_id.into(),
        };
        let reply = answer(self.documents.clone().create_document(request).await)?;
        Ok(document(reply.document.as_ref(), true))
    }

    async fn get_document(&self, library: &str, id: &str) -> Outcome {
        let request = pb::GetDocumentRequest {
            library_id: library.into(),
            document_id: id.into(),
            ..Default::default()
        };
        let reply = answer(self.documents.clone().get_document(request).await)?;
        Ok(document(reply.document.as_ref(), true))
    }

    async fn list_documents(&self, library: &str, size: u32, token: &str, all: bool) -> Outcome {
        let request = pb::ListDocumentsRequest {
            library_id: library.into(),
            page_size: size,
            page_token: token.into(),
            include_chunks: all,
            ..Default::default()
        };
        let reply = answer(self.documents.clone().list_documents(request).await)?;
        let documents: Vec<_> =
            reply.documents.iter().map(|one| document(Some(one), all)).collect();
        Ok(json!({"documents": documents, "next_page_token": reply.next_page_token}))
    }

    async fn update_document(
        &self,
        library: &str,
        id: &str,
        patch: Value,
        expected: Option<u64>,
    ) -> Outcome {
        let request = pb::UpdateDocumentRequest {
            library_id: library.into(),
            document_id: id.into(),
            document: Some(input(&patch)),
            update_mask: paths(&patch),
            expected_revision: expected,
        };
        let reply = answer(self.documents.clone().update_document(request).await)?;
        Ok(document(reply.document.as_ref(), true))
    }

    async fn delete_document(&self, library: &str, id: &str, expected: Option<u64>) -> Outcome {
        let request = pb::DeleteDocumentRequest {
            library_id: library.into(),
            document_id: id.into(),
            expected_revision: expected,
        };
        let reply = answer(self.documents.clone().delete_document(request).await)?;
        Ok(json!({"revision": reply.revision.to_string()}))
    }

    async fn ingest(
        &self,
        library: &str,
        on_conflict: &str,
        report: &str,
        documents: &[Value],
    ) -> Outcome {
        let documents = futures::stream::iter(documents.to_vec());
        let messages = ingest_messages(library, on_conflict, report, documents);
        let mut replies = answer(self.documents.clone().stream_ingest_documents(messages).await)?;
        let mut lines = Vec::new();
        while let Some(reply) = in_time("a status", replies.next()).await {
            lines.push(status(&reply.map_err(|status| fault(&status))?));
        }
        Ok(Value::Array(lines))
    }

    async fn search(&self, library: &str, body: Value) -> Outcome {
        let one = stream_request(library, &body);
        let query = |value: &Value| pb::SearchQuery {
            query: value.get("query").map(text),
            embedding: numbers(&value["embedding"]),
            k: number(value, "k"),
            distance_threshold: numbers(&json!([value["distance_threshold"]])).first().copied(),
            filter: field(value, "filter"),
            ef: number(value, "ef"),
            mode: mode(value),
            weights: weights(value),
        };
        let queries = body.get("queries").and_then(Value::as_array);
        let request = pb::SearchRequest {
            library_id: one.library_id,
            query: one.query,
            embedding: one.embedding,
            k: one.k,
            distance_threshold: one.distance_threshold,
            queries: queries.into_iter().flatten().map(query).collect(),
            filter: one.filter,
            include_text: one.include_text,
            exact: one.exact,
            ef: one.ef,
            mode: one.mode,
            weights: one.weights,
            explain: one.explain,
            group_by: one.group_by,
            min_revision: one.min_revision,
            timeout_ms: one.timeout_ms,
        };
        let reply = answer(self.searches.clone().search(request).await)?;
        let shown = |results: &[pb::Hit], total: u32, revision: u64| {
            let hits: Vec<_> = results.iter().map(hit).collect();
            json!({"results": hits, "total_results": total, "revision": revision.to_string()})
        };
        if queries.is_none() {
            return Ok(shown(&reply.results, reply.total_results, reply.revision));
        }
        let queries = reply.queries.iter();
        let queries: Vec<_> =
            queries.map(|one| shown(&one.results, one.total_results, one.revision)).collect();
        Ok(json!({"queries": queries, "revision": reply.revision.to_string()}))
    }

    async fn stream_search(&self, library: &str, body: Value) -> Outcome {
        use pb::stream_search_response::Item;
        let request = stream_request(library, &body);
        let mut replies = answer(self.searches.clone().stream_search(request).await)?;
        let mut lines = Vec::new();
        while let Some(reply) = in_time("a hit", replies.next()).await {
            let reply = reply.map_err(|status| fault(&status))?;
            lines.push(match reply.item.expect("an item") {
                Item::Hit(one) => hit(&one),
                Item::Complete(end) => json!({"status": "complete",
                    "total_results": end.total_results, "revision": end.revision.to_string()}),
            });
        }
        Ok(Value::Array(lines))
    }

    async fn export(&self, library: &str, embeddings: bool) -> Outcome {
        use pb::export_documents_response::Item;
        let request = pb::ExportDocumentsRequest {
            library_id: library.into(),
            include_embeddings: embeddings,
            ..Default::default()
        };
        let mut replies = answer(self.documents.clone().export_documents(request).await)?;
        let mut lines = Vec::new();
        while let Some(reply) = in_time("a document", replies.next()).await {
            let reply = reply.map_err(|status| fault(&status))?;
            lines.push(match reply.item.expect("an item") {
                Item::Document(one) => line(&one),
                Item::Complete(end) => json!({"status": "complete",
                    "total_documents": end.total_documents, "cursor": end.cursor}),
            });
        }
        Ok(Value::Array(lines))
    }

    async fn list_events(&self, query: &EventsQuery, limit: u32) -> Outcome {
        let request = pb::ListEventsRequest {
            library_id: query.library.clone(),
            event_types: query.types.iter().map(|name| event_type(name)).collect(),
            cursor: query.cursor.clone(),
            limit,
            ..Default::default()
        };
        let reply = answer(self.events.clone().list_events(request).await)?;
        let events: Vec<_> = reply.events.iter().map(event).collect();
        Ok(json!({"events": events, "next_cursor": reply.next_cursor,
            "tail_cursor": reply.tail_cursor}))
    }

    async fn subscribe(&self, query: &EventsQuery, events: usize) -> Outcome {
        use pb::subscribe_response::Item;
        let mut messages = self.follow(query).await.map_err(|status| fault(&status))?;
        let mut items = Vec::new();
        while items.len() <= events {
            let message = in_time("an event", messages.next()).await.expect("goes on");
            match message.map_err(|status| fault(&status))?.item.expect("an item") {
                Item::Event(one) => items.push(event(&one)),
                Item::Heartbeat(beat) if items.is_empty() => {
                    items.push(json!({"heartbeat": beat.cursor}));
                }
                Item::Heartbeat(_) => {}
                other => panic!("not asked for: {other:?}"),
            }
        }
        Ok(Value::Array(items))
    }

    async fn event_statistics(&self) -> Outcome {
        let request = pb::GetEventStatisticsRequest::default();
        let reply = answer(self.events.clone().get_event_statistics(request).await)?;
        let subscriber = |one: &pb::SubscriberStatistics| {
            json!({"id": one.id, "cursor": one.cursor, "lag_revisions": one.lag_revisions,
                "lag_seconds": one.lag_seconds, "pending_events": one.pending_events,
                "delivered_events": one.delivered_events, "since": time(one.since)})
        };
        Ok(json!({
            "total_published": reply.total_published,
            "total_delivered": reply.total_delivered,
            "total_errors": reply.total_errors,
            "pending_events": reply.pending_events,
            "subscriber_count": reply.subscriber_count,
            "running": reply.running,
            "started_at": time(reply.started_at),
            "tail_revision": reply.tail_revision.to_string(),
            "floor_revision": reply.floor_revision.to_string(),
            "log_bytes": reply.log_bytes,
            "subscribers": reply.subscribers.iter().map(subscriber).collect::<Vec<_>>(),
        }))
    }
}
