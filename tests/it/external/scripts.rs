//! Clients in other languages, generated from `proto/`, and a real browser: scripts that check
//! what they see and say so by their status.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::readme::event_source;
use super::{output, tool, tools};
use crate::harness::{Process, repository};

/// A loopback address of this test's own: no socket of another process takes its ports while the
/// server is down.
const OWN_ADDRESS: &str = "127.0.0.9:0";

fn python(scenario: &str, server: &Process) -> Command {
    let mut command = tool(tools().join("venv/bin/python"));
    command.arg(repository("tests/tools/grpc_client.py"));
    command.arg(server.address.to_string()).arg(scenario);
    command
}

fn node(script: &str, arguments: &[&str]) -> Command {
    let mut command = tool("node");
    command.arg(repository("tests/tools").join(script)).args(arguments);
    command
}

fn with_server(flags: &[&str], command: impl FnOnce(&Process) -> Command) {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path(), flags);
    output(&mut command(&server));
    assert_eq!(server.terminate(), Some(0));
}

/// Runs a script that asks for restarts of its server: a line `terminate` or `kill` on its output
/// is answered by `restarted` on its input. The scripts' input stays open until they end.
fn run_with_restarts(
    mut server: Process,
    mut restart: impl FnMut(Process, &str) -> Process,
    mut script: Command,
) {
    let mut child =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`timeout` starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut restarts = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line = line.expect("UTF-8");
        server = restart(server, &line);
        writeln!(stdin, "restarted").expect("the script listens");
        restarts += 1;
    }
    assert_eq!(child.wait().expect("waitable").code(), Some(0), "{script:?}");
    assert!(restarts > 0, "{script:?} asked for no restart");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
#[ignore = "needs Python with grpcio: run by .ci/run"]
fn python_streams_documents_in_and_reads_one_summary() {
    with_server(&[], |server| python("ingest", server));
}

#[test]
#[ignore = "needs Python with grpcio: run by .ci/run"]
fn python_reads_a_status_before_it_sends_the_next_document() {
    with_server(&[], |server| python("interleave", server));
}

#[test]
#[ignore = "needs Python with grpcio: run by .ci/run"]
fn python_subscribes_and_resumes_where_it_was() {
    with_server(&[], |server| python("resume", server));
}

#[test]
#[ignore = "needs Python with grpcio: run by .ci/run"]
fn python_sees_deadlines_cancellation_and_the_details_of_errors() {
    with_server(&[], |server| python("ends", server));
}

#[test]
#[ignore = "needs Python with grpcio: run by .ci/run"]
fn python_asyncio_follows_while_it_streams_in() {
    with_server(&[], |server| python("asyncio", server));
}

/// Tests of `clients/python`, against this binary; they start its servers themselves.
fn python_client(arguments: &[&str]) {
    let mut pytest = tool(tools().join("venv/bin/python"));
    pytest.args(["-m", "pytest"]).args(arguments).current_dir(repository("clients/python/tests"));
    pytest.env("ARRWDB_BINARY", env!("CARGO_BIN_EXE_arrwdb"));
    pytest.env("PYTHONDONTWRITEBYTECODE", "1");
    output(&mut pytest);
}

#[test]
#[ignore = "needs Python with pytest: run by .ci/run"]
fn the_python_client_speaks_every_verb_and_its_readme_is_true() {
    python_client(&["--ignore=test_resumption.py"]);
}

#[test]
#[ignore = "needs Python with pytest: run by .ci/run"]
fn the_blocking_python_client_loses_and_doubles_nothing() {
    python_client(&["test_resumption.py", "-k", "blocking"]);
}

#[test]
#[ignore = "needs Python with pytest: run by .ci/run"]
fn the_asyncio_python_client_loses_and_doubles_nothing() {
    python_client(&["test_resumption.py", "-k", "not blocking"]);
}

#[test]
#[ignore = "needs Node with grpc-js: run by .ci/run"]
fn node_streams_searches_and_follows_over_grpc() {
    with_server(&[], |server| node("node_grpc.mjs", &[&server.address.to_string()]));
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn a_browser_follows_over_restarts_without_loss_or_repetition() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start_at(OWN_ADDRESS, folder.path(), &[]);
    let address = server.address.to_string();
    let restart = |server: Process, how: &str| {
        match how {
            "terminate" => assert_eq!(server.terminate(), Some(0)),
            "kill" => server.kill(),
            other => panic!("the script said {other:?}"),
        }
        Process::start_at(&address, folder.path(), &[])
    };
    run_with_restarts(server, restart, node("browser.mjs", &["follow", &address]));
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn a_browser_ingests_and_reads_searches_and_exports_as_they_come() {
    with_server(&[], |server| node("browser.mjs", &["fetch", &server.address.to_string()]));
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn a_browser_speaks_grpc_web() {
    with_server(&[], |server| node("browser.mjs", &["grpc-web", &server.address.to_string()]));
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn a_browser_lets_the_pages_of_configured_origins_in_and_no_others() {
    let folder = tempfile::tempdir().expect("folder");
    let start = |name: &str, flags: &[&str]| Process::start(&folder.path().join(name), flags);
    let servers = [
        start("open", &["--cors-origins", "*"]),
        start("shut", &[]),
        start("other", &["--cors-origins", "https://example.org"]),
    ];
    let addresses = servers.each_ref().map(|server| server.address.to_string());
    let shown = event_source(&addresses[0]);
    let mut arguments = vec!["cross-origin"];
    arguments.extend(addresses.iter().map(String::as_str));
    arguments.push(&shown);
    output(&mut node("browser.mjs", &arguments));
}
