//! The console: hides the page that the binary carries within it, and how a browser is given it.
//!
//! The files in `page/` are served as they stand there: nothing is built, nothing comes from
//! elsewhere, and the policy they are sent with lets nothing come. The page uses the paths of this
//! gateway like any other client and knows nothing else of the server.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest, Sha256};

/// Everything from this server, nothing inline, no plug-ins, in nobody's frame. Its forms are the
/// scripts' alone.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const STYLE: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const ICON: HeaderValue = HeaderValue::from_static("image/svg+xml");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Bytes of a hash that name a file's content.
const TAG_BYTES: usize = 16;

/// A file of the page.
#[derive(Clone)]
struct File {
    path: &'static str,
    content_type: HeaderValue,
    bytes: &'static [u8],
}

/// Files of `page/` under `/console/`.
macro_rules! files {
    ($($name:literal: $content_type:expr),* $(,)?) => {
        [$(File {
            path: concat!("/console/", $name),
            content_type: $content_type,
            bytes: include_bytes!(concat!("page/", $name)),
        }),*]
    };
}

/// All files of the page. The page itself is at `/` alone.
fn files() -> impl Iterator<Item = File> {
    let page = File { path: "/", content_type: HTML, bytes: include_bytes!("page/index.html") };
    let beside = files! {
        "activity.js": SCRIPT,
        "app.js": SCRIPT,
        "client.js": SCRIPT,
        "document.js": SCRIPT,
        "dom.js": SCRIPT,
        "feed.js": SCRIPT,
        "follower.js": SCRIPT,
        "icon.svg": ICON,
        "ingest.js": SCRIPT,
        "libraries.js": SCRIPT,
        "library.js": SCRIPT,
        "map-worker.js": SCRIPT,
        "map.js": SCRIPT,
        "metrics.js": SCRIPT,
        "pick.js": SCRIPT,
        "pieces.js": SCRIPT,
        "projection.js": SCRIPT,
        "pulse.js": SCRIPT,
        "search.js": SCRIPT,
        "style.css": STYLE,
        "theme.js": SCRIPT,
        "upload.js": SCRIPT,
        "vendor/uplot/LICENSE": TEXT,
        "vendor/uplot/README.md": TEXT,
        "vendor/uplot/uPlot.iife.min.js": SCRIPT,
        "vendor/uplot/uPlot.min.css": STYLE,
    };
    std::iter::once(page).chain(beside)
}

/// The page's paths. Costs some milliseconds of hashing when it is built, and nothing later.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    files().fold(Router::new(), |router, file| {
        let tag = entity_tag(file.bytes);
        let path = file.path;
        let serve = move |headers: HeaderMap| std::future::ready(answer(&file, &tag, &headers));
        router.route(path, get(serve))
    })
}

/// Names the content. Weak, for what is sent may be compressed.
fn entity_tag(bytes: &[u8]) -> String {
    let hash: String =
        Sha256::digest(bytes).iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{hash}\"")
}

/// The file, or that the browser has it.
fn answer(file: &File, tag: &str, headers: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    if has(headers, tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(Bytes::from_static(file.bytes));
        response.headers_mut().insert(header::CONTENT_TYPE, file.content_type.clone());
    }
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    // Asked for each time and answered with 304: after an update of the server no file is an old one.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let same = HeaderValue::from_static("same-origin");
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), same);
    response
}

/// Whether a request says that the client has what `tag` names (RFC 9110, 13.1.2: weakly compared).
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::types::EventType;

    async fn ask(path: &str, tags: &[&str]) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::get(path);
        for tag in tags {
            request = request.header(header::IF_NONE_MATCH, *tag);
        }
        let request = request.body(Body::empty()).expect("valid");
        let (head, body) = router().oneshot(request).await.expect("infallible").into_parts();
        (head.status, head.headers, body.collect().await.expect("in memory").to_bytes())
    }

    fn walk(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("readable folder") {
            let entry = entry.expect("readable entry");
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.insert(name);
            }
        }
    }

    #[tokio::test]
    async fn every_file_of_the_page_is_served_as_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/http/console/page");
        let mut names = BTreeSet::new();
        walk(&folder, "", &mut names);
        assert!(names.len() > 20, "{names:?}");
        let served: BTreeSet<String> = files()
            .map(|file| file.path.strip_prefix("/console/").unwrap_or("index.html").to_owned())
            .collect();
        assert_eq!(served, names);
        for name in &names {
            let path = if name == "index.html" { "/".into() } else { format!("/console/{name}") };
            let (status, headers, bytes) = ask(&path, &[]).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            assert!(bytes == std::fs::read(folder.join(name)).expect("file"), "{path}");
            let content_type = headers["content-type"].to_str().expect("text");
            let expected = match name.rsplit_once('.').map(|(_, ending)| ending) {
                Some("js") => "text/javascript; charset=utf-8",
                Some("css") => "text/css; charset=utf-8",
                Some("svg") => "image/svg+xml",
                Some("html") => "text/html; charset=utf-8",
                _ => "text/plain; charset=utf-8",
            };
            assert_eq!(content_type, expected, "{path}");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            let policy = headers["content-security-policy"].to_str().expect("text");
            assert!(policy.starts_with("default-src 'self'; "), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
        }
    }

    #[tokio::test]
    async fn a_file_that_the_browser_has_is_not_sent_again() {
        let (_, headers, _) = ask("/console/app.js", &[]).await;
        let tag = headers["etag"].to_str().expect("text").to_owned();
        assert!(tag.starts_with("W/\"") && tag.len() > 20, "{tag}");
        assert_eq!(headers["cache-control"], "no-cache");
        let strong = tag.trim_start_matches("W/").to_owned();
        let list = format!("\"other\", {tag}");
        for tags in [vec![tag.as_str()], vec![&strong], vec![&list], vec!["*"], vec!["\"a\"", &tag]]
        {
            let (status, headers, bytes) = ask("/console/app.js", &tags).await;
            assert_eq!(status, StatusCode::NOT_MODIFIED, "{tags:?}");
            assert_eq!(headers["etag"], tag);
            assert!(bytes.is_empty());
        }
        for other in ["\"other\"", "", "W/", &tag[..tag.len() - 2]] {
            let (status, _, bytes) = ask("/console/app.js", &[other]).await;
            assert_eq!(status, StatusCode::OK, "{other:?}");
            assert!(!bytes.is_empty());
        }
        let (_, other, _) = ask("/console/dom.js", &[]).await;
        assert_ne!(other["etag"], tag);
    }

    /// A type of event that the engine learns must be one that people can ask for.
    #[test]
    fn the_feed_offers_every_type_of_event() {
        let feed = files().find(|file| file.path == "/console/feed.js").expect("there");
        let text = std::str::from_utf8(feed.bytes).expect("UTF-8");
        let (_, list) = text.split_once("TYPES = [").expect("a list");
        let (list, _) = list.split_once(']').expect("its end");
        let offered: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
        let known: BTreeSet<&str> = EventType::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(offered, known);
    }

    /// Scripts name each other, the page and its worker by paths that a reader must be able to trust.
    #[test]
    fn the_page_names_only_files_of_its_own() {
        let paths: BTreeSet<&str> = files().map(|file| file.path).collect();
        let mut named = 0;
        for file in files().filter(|file| !file.path.contains("vendor")) {
            let text = std::str::from_utf8(file.bytes).expect("UTF-8");
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !elsewhere.contains("http://") && !elsewhere.contains("https://"),
                "{}",
                file.path
            );
            let imports = text.split("from \"./").skip(1).map(|rest| format!("/console/{rest}"));
            let others = text.split("\"/console/").skip(1).map(|rest| format!("/console/{rest}"));
            for path in imports.chain(others) {
                let path = path.split('"').next().expect("one part");
                assert!(paths.contains(path), "{} names {path}", file.path);
                named += 1;
            }
        }
        assert!(named > 40, "{named}");
    }
}
