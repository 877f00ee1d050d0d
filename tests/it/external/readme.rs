//! The README's tours, pasted as they stand there.

use std::path::Path;

use super::{output, tool, tools};
use crate::harness::{Process, repository};

/// Where the README's server listens.
pub(super) const SHOWN: &str = "localhost:8000";

/// How long the README follows the feed, and how long its test does, whose machine may be busy.
pub(super) const FOLLOWED: [&str; 2] = ["max-time 2 ", "max-time 6 "];

fn readme() -> String {
    std::fs::read_to_string(repository("README.md")).expect("README.md")
}

/// The shell blocks of a tour, for a server at `address`.
fn blocks(tour: &str, address: &str) -> Vec<String> {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("<!-- tour: {tour} -->")).expect("the tour begins");
    let (text, _) = rest.split_once("<!-- end -->").expect("the tour ends");
    let blocks: Vec<String> = text
        .split("```sh\n")
        .skip(1)
        .map(|block| block.split("```").next().expect("one part").replace(SHOWN, address))
        .map(|block| block.replace(FOLLOWED[0], FOLLOWED[1]))
        .collect();
    assert!(!blocks.is_empty(), "{tour} has no commands");
    blocks
}

/// What each block of a tour prints, pasted into a shell in `folder`; none may fail.
fn paste(tour: &str, server: &Process, folder: &Path) -> Vec<String> {
    let path = std::env::var("PATH").expect("a path");
    let path = format!("{}:{path}", tools().join("venv/bin").display());
    blocks(tour, &server.address.to_string())
        .iter()
        .map(|block| {
            let mut shell = tool("bash");
            shell.args(["-euo", "pipefail", "-c", block]).current_dir(folder).env("PATH", &path);
            let out = output(&mut shell);
            assert!(!out.contains("urn:arrwdb:error"), "{block}\n{out}");
            out
        })
        .collect()
}

/// Asserts that each block printed what the README says it shows.
fn assert_shown(outputs: &[String], shown: &[&[&str]]) {
    assert_eq!(outputs.len(), shown.len(), "blocks of the tour: {outputs:#?}");
    for (out, parts) in outputs.iter().zip(shown) {
        for part in *parts {
            assert!(out.contains(part), "{part} is not in\n{out}");
        }
    }
}

#[test]
#[ignore = "needs curl and grpcurl: run by .ci/run"]
fn the_tours_of_the_readme_show_what_they_say() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(&folder.path().join("data"), &[]);
    assert_shown(
        &paste("curl", &server, folder.path()),
        &[
            &["\"name\":\"notes\""],
            &[
                "{\"status\":\"completed\",\"line\":1,\"id\":\"heron\"",
                "{\"status\":\"completed\",\"line\":2,\"id\":\"anvil\"",
                "{\"status\":\"failed\",\"line\":3,\"title\":\"no text at all\"",
                "\"total_succeeded\":2,\"total_failed\":1",
            ],
            &[
                "{\"results\":[{\"rank\":1,",
                "\"document_id\":\"heron\"",
                "{\"status\":\"complete\",\"total_results\":3,",
            ],
            &[
                "{\"events\":[{",
                "\"next_cursor\":\"",
                "event: document.added\n",
                "\"document_id\":\"anvil\"",
            ],
            &[
                "\"name\":\"mailer\"",
                "\"lag_events\":8",
                "{\"generation\":",
                "\"document_id\":\"heron\"",
            ],
            &[
                "\"name\":\"copy\"",
                "{\"status\":\"summary\"",
                "\"total_succeeded\":2,\"total_failed\":0",
            ],
            &["\"tags\":[\"bird\"]", "\"seen\":3", "{\"revision\":\"", "\"num_documents\":1"],
        ],
    );
    assert_shown(
        &paste("grpcurl", &server, folder.path()),
        &[&[
            "arrwdb.v1.SearchService",
            "\"documentId\": \"heron\"",
            "\"completed\": {",
            "\"totalSucceeded\": \"1\"",
            "EVENT_TYPE_LIBRARY_CREATED",
            "EVENT_TYPE_BATCH_COMPLETED",
        ]],
    );
    assert_eq!(server.terminate(), Some(0));
}

/// What the README's page would do, for a server at `address`.
pub(super) fn event_source(address: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once("`new EventSource(").expect("the README shows one");
    let (arguments, _) = rest.split_once('`').expect("it ends");
    format!("new EventSource({}", arguments.replace(SHOWN, address))
}
