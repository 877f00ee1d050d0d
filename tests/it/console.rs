//! The console's files over a real socket. What they do in a browser is `external/console.rs`.

use reqwest::{Method, Response};

use crate::harness::Server;

async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = server.http.request(method, server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer")
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name}"));
    value.to_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_once_compressed_and_under_its_policy() {
    let server = Server::start().await;
    for path in ["/", "/console/app.js", "/console/vendor/uplot/uPlot.iife.min.js"] {
        let whole = ask(&server, Method::GET, path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(whole.status(), 200, "{path}");
        assert_eq!(header(&whole, "content-encoding"), "gzip", "{path}");
        let policy = header(&whole, "content-security-policy");
        assert!(policy.starts_with("default-src 'self'; "), "{policy}");
        assert_eq!(header(&whole, "x-content-type-options"), "nosniff");
        let tag = header(&whole, "etag");
        let plain = ask(&server, Method::GET, path, &[]).await;
        assert_eq!(header(&plain, "etag"), tag);
        let (sent, full) =
            (whole.bytes().await.expect("a body"), plain.bytes().await.expect("a body"));
        assert!(sent.len() < full.len(), "{path}: {} of {}", sent.len(), full.len());

        let again = [("if-none-match", tag.as_str()), ("accept-encoding", "gzip")];
        let again = ask(&server, Method::GET, path, &again).await;
        assert_eq!(again.status(), 304, "{path}");
        assert_eq!(header(&again, "etag"), tag);
        assert!(again.bytes().await.expect("none").is_empty());
        let head = ask(&server, Method::HEAD, path, &[]).await;
        assert_eq!((head.status().as_u16(), header(&head, "etag")), (200, tag));
    }
    let page = ask(&server, Method::GET, "/", &[]).await;
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    assert!(page.text().await.expect("text").starts_with("<!doctype html>"));
    let written = ask(&server, Method::POST, "/", &[]).await;
    assert_eq!((written.status().as_u16(), header(&written, "allow")), (405, "GET,HEAD".into()));
    assert_eq!(header(&written, "content-type"), "application/problem+json");
    server.stop().await;
}
