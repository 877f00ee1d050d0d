//! Which web pages may change things: hides how a browser tells where a request comes from.
//!
//! A browser sends a simple POST of any page to any server without asking first, and only hides
//! the answer. Without this, a page on the web could write to a server on the reader's own
//! machine.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::HttpOptions;
use super::problem::Problem;
use crate::types::{Error, ErrorKind};

/// Refuses requests of pages from elsewhere that are not in `cors_origins`, unless they can only
/// read (their answer stays hidden from the page then). Requests without an `Origin`, which are
/// not a page's, pass.
pub async fn refuse_foreign_pages(
    State(options): State<Arc<HttpOptions>>,
    request: Request,
    next: Next,
) -> Response {
    let harmless = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if harmless || is_welcome(&options, &request) {
        return next.run(request).await;
    }
    let detail = "pages of this origin may not use this server: start it with cors_origins";
    Problem::from(Error::new(ErrorKind::PermissionDenied, detail)).into_response()
}

fn is_welcome(options: &HttpOptions, request: &Request) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let allowed = |one: &String| one == "*" || one.as_bytes() == origin.as_bytes();
    if options.cors_origins.iter().any(allowed) {
        return true;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let of_page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    of_page.is_some_and(|(_, page)| host.is_some_and(|host| host.eq_ignore_ascii_case(page)))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_page_from_elsewhere_may_not_write() {
        let asked = async |origins: &[&str], method: &str, origin: Option<&str>| {
            let cors_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
            let options = Arc::new(HttpOptions { cors_origins });
            let app = Router::new()
                .route("/", post(|| async { "written" }).get(|| async { "read" }))
                .layer(from_fn_with_state(options, refuse_foreign_pages));
            let mut request = axum::http::Request::builder().method(method).uri("/");
            request = request.header("host", "localhost:8000");
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let request = request.body(Body::empty()).expect("valid");
            app.oneshot(request).await.expect("infallible").status()
        };
        let (ok, no) = (StatusCode::OK, StatusCode::FORBIDDEN);
        assert_eq!(asked(&[], "POST", None).await, ok);
        assert_eq!(asked(&[], "POST", Some("http://localhost:8000")).await, ok);
        assert_eq!(asked(&[], "POST", Some("https://evil.example")).await, no);
        assert_eq!(asked(&[], "POST", Some("http://localhost:9000")).await, no);
        assert_eq!(asked(&[], "POST", Some("null")).await, no);
        assert_eq!(asked(&[], "GET", Some("https://evil.example")).await, ok);
        assert_eq!(asked(&["https://app.example"], "POST", Some("https://app.example")).await, ok);
        assert_eq!(asked(&["https://app.example"], "POST", Some("https://evil.example")).await, no);
        assert_eq!(asked(&["*"], "POST", Some("https://evil.example")).await, ok);
    }
}
