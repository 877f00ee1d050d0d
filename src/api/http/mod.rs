//! The REST gateway: JSON, NDJSON and Server-Sent Events over the engine's verbs.
//!
//! Nothing here decides anything about data; it reads requests strictly (a parameter or field
//! that nobody knows is refused by name) and writes answers as documented. Streaming answers are
//! never compressed: a compressor would hold lines back.
//!
//! `/` is the console, a page for people.
//!
//! A document whose id is `stream` shares its path with the streams; its client writes
//! `%73tream`, which is the same id and another path.

mod body;
mod console;
mod consumers;
mod docs;
mod documents;
mod dto;
mod events;
mod export;
mod index;
mod ingest;
mod libraries;
pub mod ndjson;
mod openapi;
mod origin;
mod params;
mod path;
mod problem;
mod reply;
mod search;
mod sink;
mod sse;

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio_util::task::TaskTracker;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use utoipa::ToSchema;

use self::dto::Shown;
use self::dto::described::ShownRevision;
use self::openapi::faults::ServerFaults;
pub use self::origin::refuse_foreign_pages;
use self::problem::Problem;
use self::reply::json;
use crate::engine::Engine;
use crate::types::{Error, ErrorKind, Result};

/// How long a browser may remember what a preflight allowed.
const PREFLIGHT_MEMORY: Duration = Duration::from_secs(3_600);

/// What the gateway needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpState {
    /// The database.
    pub engine: Engine,
    /// Owns the tasks behind open streams. They end by themselves when the engine's shutdown
    /// token is cancelled; whoever drains closes the tracker and waits for it.
    pub tasks: TaskTracker,
    /// Which browsers may come.
    pub options: HttpOptions,
}

/// How the gateway is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpOptions {
    /// Origins whose pages may use the server, as browsers send them (`https://example.org`);
    /// `*` for all. Empty: none.
    pub cors_origins: Vec<String>,
}

impl HttpOptions {
    /// Checks that the origins can be sent; `invalid-argument` naming `cors_origins` otherwise.
    pub fn check(&self) -> Result<()> {
        self.cors_origins.iter().enumerate().try_for_each(|(i, origin)| {
            let scheme_and_host = origin.split_once("://");
            let good = origin == "*"
                || scheme_and_host.is_some_and(|(scheme, host)| {
                    !scheme.is_empty() && !host.is_empty() && !host.contains('/')
                }) && HeaderValue::from_str(origin).is_ok();
            if good {
                return Ok(());
            }
            let detail = format!("{origin:?} is not an origin such as https://example.org, nor *");
            Err(Error::invalid(format!("cors_origins[{i}]"), detail))
        })
    }
}

/// What lets the pages of other origins in; `None` when none may come. [`router`] has it already;
/// the server puts it over gRPC-web too.
#[must_use]
pub fn cors_layer(options: &HttpOptions) -> Option<CorsLayer> {
    if options.cors_origins.is_empty() {
        return None;
    }
    let origins = if options.cors_origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(
            options.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()),
        )
    };
    let exposed = [
        header::ETAG,
        header::RETRY_AFTER,
        HeaderName::from_static("grpc-status"),
        HeaderName::from_static("grpc-message"),
        HeaderName::from_static("grpc-status-details-bin"),
    ];
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(AllowMethods::any())
            .allow_headers(AllowHeaders::any())
            .expose_headers(exposed)
            .max_age(PREFLIGHT_MEMORY),
    )
}

/// All paths of the gateway, with a fallback that answers every other one.
pub fn router(state: HttpState) -> Router {
    let cors = cors_layer(&state.options);
    let unary = console::router()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi::description))
        .route("/docs", get(docs::page))
        .route("/v1/libraries", get(libraries::list).post(libraries::create))
        .route(
            "/v1/libraries/{library}",
            get(libraries::read).patch(libraries::update).delete(libraries::delete),
        )
        .route("/v1/libraries/{library}/statistics", get(libraries::statistics))
        .route("/v1/libraries/{library}/count", get(documents::count))
        .route(
            "/v1/libraries/{library}/documents",
            get(documents::list).post(documents::create).delete(documents::delete_matching),
        )
        .route(
            "/v1/libraries/{library}/documents/{document}",
            get(documents::read).patch(documents::update).delete(documents::delete),
        )
        .route("/v1/libraries/{library}/search", post(search::search))
        .route("/v1/libraries/{library}/recall", post(index::recall))
        .route("/v1/libraries/{library}/index", get(index::statistics))
        .route("/v1/libraries/{library}/index/rebuild", post(index::rebuild))
        .route("/v1/libraries/{library}/index/optimize", post(index::optimize))
        .route("/v1/events", get(events::list))
        .route("/v1/events/statistics", get(events::statistics))
        .route("/v1/consumers", get(consumers::list).post(consumers::create))
        .route("/v1/consumers/{consumer}", get(consumers::read).delete(consumers::delete))
        .route("/v1/consumers/{consumer}/pull", post(consumers::pull))
        .route("/v1/consumers/{consumer}/acknowledge", post(consumers::acknowledge))
        .route("/v1/consumers/{consumer}/seek", post(consumers::seek))
        .route("/v1/consumers/{consumer}/pause", post(consumers::pause))
        .route("/v1/consumers/{consumer}/resume", post(consumers::resume))
        .layer(CompressionLayer::new());
    let streaming = Router::new()
        .route("/v1/libraries/{library}/documents/stream", get(export::export).post(ingest::ingest))
        .route("/v1/libraries/{library}/search/stream", post(search::stream))
        // A stream may take a consumer over, which no HEAD may do.
        .route("/v1/events/stream", get(events::stream).head(only_get).fallback(only_get));
    let router = with_fallbacks(unary.merge(streaming)).with_state(state);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// Answers unknown paths and wrong methods with problems.
fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.fallback(unknown_path).method_not_allowed_fallback(wrong_method)
}

async fn unknown_path(uri: Uri) -> Problem {
    Error::not_found(format!("there is nothing at {}", uri.path())).into()
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not a method of {}", uri.path());
    let error = Error::new(ErrorKind::InvalidArgument, detail);
    Problem::with_status(error, StatusCode::METHOD_NOT_ALLOWED)
}

/// Where `GET` alone is served, not even `HEAD`.
async fn only_get(method: Method, uri: Uri) -> Response {
    let mut response = wrong_method(method, uri).await.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

/// That the process is alive.
#[derive(Serialize, ToSchema)]
struct Alive {
    /// `alive`.
    status: &'static str,
}

/// Whether the process is alive
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "get_health",
    tag = "server",
    responses((status = 200, description = "It is.", body = Alive))
)]
async fn health() -> Response {
    json(StatusCode::OK, &Alive { status: "alive" })
}

/// That reads and writes are served.
#[derive(Serialize, ToSchema)]
struct Ready {
    /// `ready`.
    status: &'static str,
    /// The highest revision that can be read.
    revision: ShownRevision,
}

/// Whether reads and writes are served
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "get_readiness",
    tag = "server",
    responses((status = 200, description = "They are.", body = Ready), ServerFaults)
)]
async fn ready(State(state): State<HttpState>) -> Result<Response, Problem> {
    if state.engine.shutdown_token().is_cancelled() {
        return Err(shutting_down().into());
    }
    state.engine.readiness().map_err(Error::unavailable)?;
    Ok(json(StatusCode::OK, &Ready { status: "ready", revision: Shown(state.engine.tail()) }))
}

/// The server in numbers, for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_metrics",
    tag = "server",
    responses(
        (status = 200, description = "OpenMetrics.", body = String,
            content_type = "application/openmetrics-text"),
        ServerFaults,
    )
)]
async fn metrics(State(state): State<HttpState>) -> Result<Response, Problem> {
    Ok(reply::open_metrics(state.engine.metrics().await?))
}

/// What open streams are told when the server stops.
fn shutting_down() -> Error {
    Error::unavailable("the server is shutting down")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::path::{DocumentPath, LibraryPath};
    use super::*;

    async fn ask(router: Router, method: &str, uri: &str) -> (StatusCode, http::HeaderMap, String) {
        let request = Request::builder().method(method).uri(uri).header("origin", "https://a.b");
        let request = request.body(Body::empty()).expect("valid");
        let (head, body) = router.oneshot(request).await.expect("infallible").into_parts();
        let body = body.collect().await.expect("in memory").to_bytes();
        (head.status, head.headers, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    /// The gateway's paths over handlers that tell what they were asked.
    fn echo() -> Router {
        let library = |LibraryPath(library): LibraryPath| async move { library.to_string() };
        let document =
            |DocumentPath(library, id): DocumentPath| async move { format!("{library} | {id}") };
        with_fallbacks(
            Router::new()
                .route("/v1/libraries/{library}", get(library).delete(library))
                .route("/v1/libraries/{library}/documents/stream", get(|| async { "stream" }))
                .route("/v1/libraries/{library}/documents/{document}", get(document)),
        )
    }

    #[tokio::test]
    async fn encoded_names_and_ids_are_decoded_after_matching() {
        for (path, expected) in [
            ("/v1/libraries/t%C3%A4glich%20neu", "täglich neu"),
            ("/v1/libraries/a%2Fb", "a/b"),
            ("/v1/libraries/l/documents/a%2Fb%3Ac", "l | a/b:c"),
            ("/v1/libraries/l/documents/a:b@c", "l | a:b@c"),
            ("/v1/libraries/l/documents/stream", "stream"),
            ("/v1/libraries/l/documents/%73tream", "l | stream"),
        ] {
            let (status, _, body) = ask(echo(), "GET", path).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, expected), "{path}");
        }
    }

    #[tokio::test]
    async fn names_that_cannot_be_are_problems() {
        for path in ["/v1/libraries/%ff", "/v1/libraries/%20x", "/v1/libraries/l/documents/a%20b"] {
            let (status, headers, body) = ask(echo(), "GET", path).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
            assert_eq!(headers["content-type"], "application/problem+json");
        }
    }

    #[tokio::test]
    async fn unknown_paths_and_wrong_methods_are_problems() {
        let (status, headers, body) = ask(echo(), "GET", "/v2/libraries").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(body.contains(r#""type":"urn:arrwdb:error:not-found""#), "{body}");
        let (status, headers, body) = ask(echo(), "POST", "/v1/libraries/x").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["allow"], "GET,HEAD,DELETE");
        assert!(body.contains(r#""status":405"#), "{body}");
    }

    #[tokio::test]
    async fn only_configured_origins_are_let_in() {
        let options = |origins: &[&str]| HttpOptions {
            cors_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        };
        assert!(cors_layer(&HttpOptions::default()).is_none());
        let allowed = async |origins: &[&str]| {
            let layer = cors_layer(&options(origins)).expect("configured");
            let (_, headers, _) = ask(echo().layer(layer), "GET", "/v1/libraries/x").await;
            headers.get("access-control-allow-origin").map(|v| v.to_str().expect("text").to_owned())
        };
        assert_eq!(allowed(&["*"]).await.as_deref(), Some("*"));
        assert_eq!(allowed(&["https://a.b"]).await.as_deref(), Some("https://a.b"));
        assert_eq!(allowed(&["https://c.d"]).await, None);
        assert_eq!(options(&["*", "http://localhost:3000"]).check(), Ok(()));
        for bad in ["", "example.org", "https://a.b/", "https://a\n"] {
            assert!(options(&[bad]).check().is_err(), "{bad:?}");
        }
    }
}
