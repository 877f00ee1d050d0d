//! The console in a real browser, clicked through: `tests/tools/console.mjs` says what it must see.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::{output, tool};
use crate::harness::{Process, repository};

/// A loopback address of this test's own: no socket of another process takes its ports while the
/// server is down.
const OWN_ADDRESS: &str = "127.0.0.11:0";

fn script(scenario: &str, address: &str) -> Command {
    let mut command = tool("node");
    command.arg(repository("tests/tools/console.mjs")).args([scenario, address]);
    command
}

/// A scenario against a server with nothing in it.
fn passes(scenario: &str) {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path(), &[]);
    output(&mut script(scenario, &server.address.to_string()));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
#[ignore = "needs Node: run by .ci/run"]
fn the_console_computes_as_it_says_and_its_charts_library_is_the_packaged_one() {
    output(&mut script("parts", "none"));
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_takes_documents_in_from_nothing_to_their_end() {
    passes("ingestion");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_shows_statuses_while_a_file_goes_in() {
    passes("streaming");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_follows_pauses_and_resumes_with_nothing_missing() {
    passes("following");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_searches_as_somebody_types() {
    passes("searching");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_draws_a_map_that_can_be_read() {
    passes("mapping");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_charts_what_the_server_does() {
    passes("charts");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_shows_how_an_index_is_laid_out() {
    passes("layout");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_is_for_everybody_in_both_themes_and_on_a_phone() {
    passes("every-view");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_console_goes_on_after_its_server_was_killed_and_stopped() {
    let folder = tempfile::tempdir().expect("folder");
    let first = Process::start_at(OWN_ADDRESS, folder.path(), &[]);
    let address = first.address.to_string();
    let mut server = Some(first);
    let mut command = script("restarts", &address);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`timeout` starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut starts = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        match (line.expect("UTF-8").as_str(), server.take()) {
            ("kill", Some(running)) => running.kill(),
            ("terminate", Some(running)) => assert_eq!(running.terminate(), Some(0)),
            ("start", None) => {
                server = Some(Process::start_at(&address, folder.path(), &[]));
                starts += 1;
            }
            (other, _) => panic!("the script said {other:?}"),
        }
        writeln!(stdin, "done").expect("the script listens");
    }
    assert_eq!(child.wait().expect("waitable").code(), Some(0), "{command:?}");
    assert_eq!(starts, 2);
    assert_eq!(server.expect("started again").terminate(), Some(0));
}
