//! `/openapi.json` and `/docs`: they tell what the router has, and the server answers as they say.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::pages::routes;
use super::{output, tool, tools};
use crate::harness::{Process, Server, repository};

/// Limits that keep a search for defects from waiting.
const LIMITS: &str =
    "[limits]\nconsumer_wait_ms_max = 10\nconsumer_look_ms = 10\nmin_revision_wait_ms = 10\n";

async fn description(server: &Server) -> Value {
    let reply = server.http.get(server.url("/openapi.json")).send().await.expect("answered");
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.headers()["content-type"], "application/json");
    reply.json().await.expect("JSON")
}

/// Each operation, by method and path.
fn operations(description: &Value) -> Vec<(String, String, &Value)> {
    let paths = description["paths"].as_object().expect("paths");
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("an object") {
            all.push((method.to_uppercase(), path.clone(), operation));
        }
    }
    all
}

/// Names of the parameters that an operation takes in its query string.
fn query_parameters(operation: &Value) -> Vec<&str> {
    let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let in_query = all.iter().filter(|parameter| parameter["in"] == "query");
    in_query.map(|parameter| parameter["name"].as_str().expect("a name")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_every_path_of_the_router_and_no_other() {
    let server = Server::start().await;
    let description = description(&server).await;
    let described: BTreeSet<String> =
        operations(&description).iter().map(|(m, path, _)| format!("{m} {path}")).collect();
    assert_eq!(described, routes());
    let ids: Vec<_> =
        operations(&description).iter().map(|(_, _, o)| o["operationId"].to_string()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_described_method_and_parameter_is_served_and_others_are_refused() {
    let server = Server::start().await;
    let description = description(&server).await;
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    for (path, item) in description["paths"].as_object().expect("paths") {
        let url = server.url(&path.replace(['{', '}'], ""));
        for method in &methods {
            let is_described = item.get(method.as_str().to_lowercase()).is_some();
            // A parameter that nobody has, so that nothing is done.
            let asked = format!("{url}?nobody_has_this=1");
            let reply = server.http.request(method.clone(), asked).body("{}").send().await;
            let reply = reply.expect("answered");
            let is_refused = reply.status() == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(is_refused, !is_described, "{method} {path}: {}", reply.status());
            if is_refused {
                let allow = reply.headers()["allow"].to_str().expect("text").to_owned();
                assert_eq!(reply.headers()["content-type"], "application/problem+json");
                let allowed: BTreeSet<&str> = allow.split(',').filter(|m| *m != "HEAD").collect();
                let described = item.as_object().expect("an object").keys();
                let described: Vec<String> = described.map(|m| m.to_uppercase()).collect();
                let described: BTreeSet<&str> = described.iter().map(String::as_str).collect();
                assert_eq!(allowed, described, "{path}");
            }
        }
    }
    for (method, path, operation) in operations(&description) {
        let url = server.url(&path.replace(['{', '}'], ""));
        let method: Method = method.parse().expect("a method");
        let said = async |query: &str| {
            let asked = server.http.request(method.clone(), format!("{url}?{query}")).body("{}");
            asked.send().await.expect("answered").text().await.expect("text")
        };
        let unknown = "is not a parameter of this request";
        for name in query_parameters(operation) {
            // The second is what is refused, so the first was taken.
            let beside = if ["owner", "generation"].contains(&name) { "consumer=c&" } else { "" };
            let said = said(&format!("{beside}{name}=1&{name}2=1")).await;
            let is_taken = !said.contains(&format!("\"{name}: {unknown}"));
            assert!(is_taken, "{method} {path} does not take {name}: {said}");
        }
        if path.starts_with("/v1/") {
            let said = said("nobody_has_this=1").await;
            assert!(
                said.contains(&format!("nobody_has_this: {unknown}")),
                "{method} {path}: {said}"
            );
        }
    }
    server.stop().await;
}

/// Every name by which a handler takes a parameter is described somewhere.
#[tokio::test(flavor = "multi_thread")]
async fn no_parameter_is_taken_that_is_not_described() {
    let server = Server::start().await;
    let description = description(&server).await;
    let operations = operations(&description);
    let described: BTreeSet<&str> =
        operations.iter().flat_map(|(_, _, operation)| query_parameters(operation)).collect();
    let mut taken = 0;
    let folders = ["src/api/http", "src/api/http/dto"].map(repository);
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("sources"));
    for file in files.flatten() {
        let Ok(source) = std::fs::read_to_string(file.path()) else { continue };
        let code = source.split("#[cfg(test)]").next().expect("one part");
        for method in ["take", "flag", "number"] {
            for rest in code.split(&format!(".{method}(\"")).skip(1) {
                let name = rest.split('"').next().expect("one part");
                assert!(described.contains(name), "{name} is taken in {:?}", file.path());
                taken += 1;
            }
        }
    }
    assert!(taken > 15, "the sources were not understood: {taken}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_of_the_event_stream_says_that_only_get_is_allowed() {
    let server = Server::start().await;
    for method in [Method::HEAD, Method::POST, Method::DELETE] {
        let asked = server.http.request(method.clone(), server.url("/v1/events/stream"));
        let reply = asked.send().await.expect("answered");
        assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(reply.headers()["allow"], "GET", "{method}");
        let said = reply.text().await.expect("text");
        assert!(method == Method::HEAD || said.ends_with("}\n"), "{said:?}");
    }
    server.stop().await;
}

/// Runs a tool against a server of its own.
fn with_server(use_it: impl FnOnce(&Process)) {
    let folder = tempfile::tempdir().expect("folder");
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, LIMITS).expect("written");
    let data = folder.path().join("data");
    let server = Process::start(&data, &["--config", settings.to_str().expect("UTF-8")]);
    use_it(&server);
    assert_eq!(server.terminate(), Some(0), "it did not survive");
}

#[test]
#[ignore = "needs Python with schemathesis: run by .ci/run"]
fn the_server_answers_as_the_description_says() {
    with_server(|server| {
        let mut python = tool(tools().join("venv/bin/python"));
        python.arg(repository("tests/tools/openapi.py")).arg(server.address.to_string());
        output(&mut python);
    });
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_page_of_the_description_shows_every_operation_in_a_browser() {
    with_server(|server| {
        let mut look = tool("node");
        look.arg(repository("tests/tools/look.mjs")).args(["docs", &server.address.to_string()]);
        output(&mut look);
    });
}
