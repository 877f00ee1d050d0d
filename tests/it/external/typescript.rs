//! The TypeScript client, in Node and in a browser: its own tests, against this build's server.

use super::{output, tool};
use crate::harness::repository;

/// Builds the client in a folder of its own and runs tests of it by name.
fn passes(suite: &str) {
    let mut command = tool("node");
    command.arg(repository("clients/typescript/scripts/test.mjs")).arg(suite);
    output(command.env("ARRWDB_BINARY", env!("CARGO_BIN_EXE_arrwdb")));
}

#[test]
#[ignore = "needs Node, buf and protoc-gen-es: run by .ci/run"]
fn the_typescript_client_is_in_step_with_the_protos() {
    passes("generated");
}

#[test]
#[ignore = "needs Node: run by .ci/run"]
fn the_typescript_client_loses_and_doubles_nothing_in_node() {
    passes("node");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_typescript_client_loses_and_doubles_nothing_in_a_browser() {
    passes("browser");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_typescript_client_does_what_its_readme_says() {
    passes("readme");
}
