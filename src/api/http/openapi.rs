//! The description of the gateway (OpenAPI 3.2), made of what stands beside the handlers and on the
//! JSON shapes.
//!
//! It describes the server with its default limits, and does not say what is checked of a value
//! beyond its shape: a text that is no filter is described like one that is.

pub(super) mod faults;
pub(super) mod params;

use std::sync::LazyLock;

use axum::response::Response;
use serde_json::{Value, json};
use utoipa::openapi::OpenApiVersion;
use utoipa::{Modify, OpenApi};

use super::dto::document::ExportLine;
use super::dto::event_schema::StreamedEvent;
use super::dto::ingest::StatusLine;
use super::dto::search::SearchLine;
use super::problem::ProblemBody;
use super::{consumers, docs, documents, events, export, index, ingest, libraries, reply, search};

/// Names of the groups that the operations stand in, as their tags.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "arrwdb",
        description = "\
A streaming, real-time vector database: documents stream in and are searchable the moment they are \
acknowledged, every change is a durable event that any number of clients follow, and search \
results, exports and events stream out.\n\n\
A write is durable and searchable when it is answered. A library is named by its id or its name. \
Revisions are texts. A parameter or field that is not one is refused; a parameter without a value \
counts as not given. Errors are `application/problem+json`. Streams are NDJSON, one object a line, \
or Server-Sent Events: nothing of them is held back, and one without its last line is not whole.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "server", description = "Whether it is well, in numbers, and what it can do."),
        (name = "libraries", description = "Named sets of documents, each with one embedder and metric."),
        (name = "documents", description = "The units of ingest, one by one or as streams."),
        (name = "search", description = "The nearest chunks, at once or hit by hit."),
        (name = "index", description = "What a library's index is made of, how good it is, and work on it."),
        (name = "events", description = "The change feed: everything that happened, in order."),
        (name = "consumers", description = "Named places in the feed that the server keeps."),
    ),
    paths(
        super::health,
        super::ready,
        super::metrics,
        description,
        docs::page,
        libraries::create,
        libraries::list,
        libraries::read,
        libraries::update,
        libraries::delete,
        libraries::statistics,
        documents::create,
        documents::list,
        documents::read,
        documents::update,
        documents::delete,
        documents::count,
        documents::delete_matching,
        ingest::ingest,
        export::export,
        search::search,
        search::stream,
        index::statistics,
        index::rebuild,
        index::optimize,
        index::recall,
        events::list,
        events::stream,
        events::statistics,
        consumers::create,
        consumers::list,
        consumers::read,
        consumers::pull,
        consumers::acknowledge,
        consumers::seek,
        consumers::pause,
        consumers::resume,
        consumers::delete,
    ),
    // What is named by `item_schema` is not collected by itself.
    components(schemas(
        ProblemBody<'_>,
        StatusLine<'_>,
        ExportLine<'_>,
        SearchLine<'_>,
        StreamedEvent<'_>,
    )),
    modifiers(&Version)
)]
struct Description;

struct Version;

impl Modify for Version {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        description.openapi = OpenApiVersion::Version32;
    }
}

/// The description; the same for every server of this version.
pub(super) static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let mut description = serde_json::to_value(Description::openapi()).unwrap_or_default();
    mend(&mut description);
    description
});

/// Says what the annotations have no words for.
fn mend(description: &mut Value) {
    // The data of a frame is a text; what the text holds is the schema's `contentSchema`.
    let data = "/components/schemas/ServerSentEvent/properties/data";
    if let Some(data) = description.pointer_mut(data) {
        let held = data.take();
        *data = json!({
            "type": "string",
            "description": "JSON on one line.",
            "contentMediaType": "application/json",
            "contentSchema": held,
        });
    }
    let operations = description["paths"].as_object_mut().into_iter().flatten();
    for operation in operations.filter_map(|(_, path)| path.as_object_mut()).flatten() {
        // A body that may be absent may not be `null`.
        let schema = "/requestBody/content/application~1json/schema";
        let Some(schema) = operation.1.pointer_mut(schema) else { continue };
        let one = schema["oneOf"].as_array().and_then(|of| {
            let one = of.iter().find(|one| one["type"] != "null");
            one.cloned().filter(|_| of.iter().any(|one| one["type"] == "null"))
        });
        if let Some(one) = one {
            *schema = one;
        }
    }
}

/// This description
///
/// OpenAPI 3.2, whose `itemSchema` says what one line or event of a stream is.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "get_description",
    tag = "server",
    responses((status = 200, description = "An OpenAPI document.", body = Object))
)]
pub(super) async fn description() -> Response {
    reply::json(axum::http::StatusCode::OK, &*DESCRIPTION)
}
