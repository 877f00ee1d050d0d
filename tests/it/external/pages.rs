//! The pages of `clients/` and of the command line: each command answers what stands below it, and
//! `curl.md` has every path.
//!
//! With `ARRWDB_WRITE_GOLDEN` set, what differs is written into the page, and the test fails once.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::readme::{FOLLOWED, SHOWN};
use super::{output, tool, tools};
use crate::harness::{Process, repository};

/// Every HTTP path.
const CURL: &str = "clients/curl.md";
/// grpcurl, and clients of one's own.
const README: &str = "clients/README.md";
/// The command line.
const CLI: &str = "docs/CLI.md";
/// What a block of commands begins with, and what one of answers does; both end alike.
const COMMANDS: &str = "```sh\n";
const ANSWERS: &str = "```text\n";
const END: &str = "```";
/// Printed behind the answers of each block.
const NEXT: &str = "=== next ===\n";
/// Members that say how large something is on this server.
const SIZES: [&str; 2] = ["\"log_bytes\":", "\"index_bytes\":"];

fn read(page: &str) -> String {
    std::fs::read_to_string(repository(page)).expect("the page")
}

/// The text between two marks, and what is behind it.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(begin)?.1.split_once(end)
}

/// Each block of commands with the answers below it.
fn examples(page: &str) -> Vec<(&str, &str)> {
    let mut examples = Vec::new();
    let mut rest = page;
    while let Some((commands, behind)) = between(rest, COMMANDS, END) {
        let gap = behind.find(ANSWERS);
        assert_eq!(gap, Some(2), "no answer stands below\n{commands}");
        let (answers, behind) = between(behind, ANSWERS, END).expect("an end");
        examples.push((commands, answers));
        rest = behind;
    }
    examples
}

/// The methods and paths that the router has, as the page's headings write them.
pub(super) fn routes() -> BTreeSet<String> {
    let router = std::fs::read_to_string(repository("src/api/http/mod.rs")).expect("the router");
    let code = router.split("#[cfg(test)]").next().expect("one part");
    let mut routes = BTreeSet::new();
    for route in code.split(".route(").skip(1) {
        let (path, rest) = between(route, "\"", "\"").expect("a path");
        let handlers = rest.split(['\n', ';']).take(3).collect::<String>();
        for method in ["get", "post", "put", "patch", "delete"] {
            if handlers.contains(&format!("{method}(")) {
                routes.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    routes
}

/// The sections of the page that are about a path: its heading and its text.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let about = |section: &str| section.starts_with('`');
    page.split("\n### ")
        .filter(|section| about(section))
        .filter_map(|s| between(s, "`", "`"))
        .collect()
}

/// What one of answers says on every server.
pub(super) fn settled(answer: &str) -> String {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
    let mut text = String::new();
    let mut rest = answer;
    while let Some(begin) = rest.find(part_of_word) {
        let (before, from) = rest.split_at(begin);
        let end = from.find(|c| !part_of_word(c)).unwrap_or(from.len());
        let (word, behind) = from.split_at(end);
        text.push_str(before);
        // A size stands in one word with its colon.
        let is_size = SIZES.iter().any(|name| text.ends_with(name.trim_end_matches(':')));
        text.push_str(match kind_of(word) {
            _ if is_size => ":SIZE",
            Some(kind) => kind,
            None => word,
        });
        rest = behind;
    }
    text + rest
}

/// What a word is, if servers differ in it.
fn kind_of(word: &str) -> Option<&'static str> {
    let (colon, value) = match word.strip_prefix(':') {
        Some(value) => (true, value),
        None => (false, word),
    };
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let dashes: Vec<usize> = value.match_indices('-').map(|(at, _)| at).collect();
    let kinds = match value.len() {
        36 if dashes == [8, 13, 18, 23] => ["UUID", ":UUID"],
        40 if is_hex(value) => ["CURSOR", ":CURSOR"],
        20.. if value.ends_with('Z') && dashes == [4, 7] => ["TIME", ":TIME"],
        16 if is_number(value) => ["GENERATION", ":GENERATION"],
        _ if value.contains('.') && value.parse::<f64>().is_ok() => ["FLOAT", ":FLOAT"],
        _ => return None,
    };
    Some(kinds[usize::from(colon)])
}

/// All commands in one shell, in a folder that has the protos; what each block printed.
fn answers(examples: &[(&str, &str)], server: &Process) -> Vec<String> {
    let folder = tempfile::tempdir().expect("folder");
    let package = folder.path().join("proto/arrwdb/v1");
    std::fs::create_dir_all(&package).expect("a folder");
    for proto in std::fs::read_dir(repository("proto/arrwdb/v1")).expect("the protos") {
        let proto = proto.expect("a proto");
        std::fs::copy(proto.path(), package.join(proto.file_name())).expect("a copy");
    }
    let mut script = String::new();
    for (commands, _) in examples {
        writeln!(script, "{commands}echo '{}'", NEXT.trim_end()).expect("written");
    }
    let script =
        script.replace(SHOWN, &server.address.to_string()).replace(FOLLOWED[0], FOLLOWED[1]);
    let mut path = std::env::var("PATH").expect("a path");
    for programs in ["venv/bin", "node_modules/.bin"] {
        path = format!("{}:{path}", tools().join(programs).display());
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_arrwdb")).parent().expect("a folder");
    path = format!("{}:{path}", binary.display());
    let mut shell = tool("bash");
    shell.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path()).env("PATH", path);
    output(&mut shell).split(NEXT).map(|answer| answer.trim_end().to_owned()).collect()
}

/// Runs a page's commands and compares what they answer with what stands below them.
fn shows_what_it_says(name: &str) {
    let page = read(name);
    let examples = examples(&page);
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path(), &[]);
    let answers = answers(&examples, &server);
    assert_eq!(server.terminate(), Some(0));
    let mut mended = page.clone();
    for ((commands, shown), answer) in examples.iter().zip(&answers) {
        let (said, shows) = (settled(answer), settled(shown.trim_end()));
        if said == shows {
            continue;
        }
        assert!(std::env::var_os("ARRWDB_WRITE_GOLDEN").is_some(), "{commands}\n{said}\n\n{shows}");
        let [old, new] = [*shown, &format!("{answer}\n")]
            .map(|text| format!("{COMMANDS}{commands}{END}\n\n{ANSWERS}{text}{END}"));
        mended = mended.replace(&old, &new);
    }
    if mended != page {
        std::fs::write(repository(name), mended).expect("written");
        panic!("{name} is written anew: look at it");
    }
}

#[test]
fn the_page_of_curl_has_every_path() {
    let page = read(CURL);
    let sections = sections(&page);
    let shown: BTreeSet<String> = sections.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shown, routes());
    for (name, text) in sections {
        let (method, path) = name.split_once(' ').expect("a method and a path");
        let (commands, _) = between(text, COMMANDS, END).unwrap_or_else(|| panic!("{name}"));
        let parts: Vec<&str> = path.split(['{', '}']).step_by(2).collect();
        let mut rest = commands;
        for part in parts {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("{name}:\n{commands}")).1;
        }
        let is_said = ["PATCH", "DELETE"].contains(&method);
        assert!(!is_said || commands.contains(&format!("-X {method}")), "{name}:\n{commands}");
    }
}

#[test]
fn what_servers_differ_in_is_settled() {
    let told = concat!(
        r#"{"id":"01a20d96-efb1-7197-a25b-1b5de82fcac1","at":"2026-11-24T12:45:25.297736Z","#,
        r#""cursor":"6b0586e52aada5df0000000000000000ffffffff","generation":1795524330679432,"#,
        r#""score":-0.5,"log_bytes":8901,"total":17,"revision":"17"}"#
    );
    let settled_to = concat!(
        r#"{"id":"UUID","at":"TIME","cursor":"CURSOR","generation":GENERATION,"#,
        r#""score":FLOAT,"log_bytes":SIZE,"total":17,"revision":"17"}"#
    );
    assert_eq!(settled(told), settled_to);
}

#[test]
#[ignore = "needs curl: run by .ci/run"]
fn the_page_of_curl_shows_what_the_paths_answer() {
    shows_what_it_says(CURL);
}

#[test]
#[ignore = "needs grpcurl, buf, protoc-gen-es and Python: run by .ci/run"]
fn the_page_of_the_clients_shows_what_grpcurl_and_generated_stubs_answer() {
    shows_what_it_says(README);
}

#[test]
fn the_page_of_the_command_line_shows_what_commands_print() {
    shows_what_it_says(CLI);
}
