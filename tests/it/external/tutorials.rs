//! The pages of `docs/` that are run from top to bottom: quick start, guides and tutorials. Each
//! prints what stands in it.
//!
//! A page is one shell: blocks of commands are pasted into it one after the other, and what they
//! print is compared with the block of text below, if there is one; else they must print nothing.
//! Blocks with a file's name are written as that file before. Addresses are replaced by ones of
//! the test's own. With `ARRWDB_WRITE_GOLDEN` set, what differs is written into the page, and the
//! test fails once.

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;

use super::pages::settled;
use super::readme::FOLLOWED;
use super::{Running, output, tool, tools};
use crate::harness::repository;

/// Where servers and what stands beside them listen in the pages.
const SERVER: &str = "127.0.0.1:8000";
const BESIDE: &str = "127.0.0.1:8080";
/// An address of these tests alone: nobody else takes its ports while a server is down.
const OWN_HOST: &str = "127.0.0.10";
/// What the shell prints behind each block.
const NEXT: &str = "=== next ===";
/// What a page says that its web page shows.
const SHOWS: &str = "<!-- the page shows: ";

/// A part of a page that something is done with.
#[derive(Debug, PartialEq)]
enum Part<'a> {
    /// Written as this file.
    File(&'a str, &'a str),
    /// Run, and what it prints.
    Commands(&'a str, Option<&'a str>),
    /// What the web page shows by now.
    Shows(&'a str),
}

/// The parts of a page, in order.
fn parts(page: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = page;
    while let Some(at) = [rest.find("\n```"), rest.find(SHOWS)].into_iter().flatten().min() {
        if let Some(shown) = rest[at..].strip_prefix(SHOWS) {
            let (shown, behind) = shown.split_once(" -->").expect("an end");
            parts.push(Part::Shows(shown));
            rest = behind;
            continue;
        }
        let (head, block) = rest[at + 4..].split_once('\n').expect("a line");
        let end =
            if block.starts_with("```") { 0 } else { block.find("\n```").expect("an end") + 1 };
        let code = &block[..end];
        rest = &block[end + 3..];
        match head.split_once(' ') {
            Some((_, file)) => parts.push(Part::File(file, code)),
            None if head == "sh" => parts.push(Part::Commands(code, None)),
            None if head == "text" => match parts.last_mut() {
                Some(Part::Commands(_, answer @ None)) => *answer = Some(code),
                other => panic!("answers to what? {other:?}"),
            },
            None => {}
        }
    }
    parts
}

/// A page at work: its shell, its folder, its addresses.
struct Page {
    name: &'static str,
    text: String,
    folder: TempDir,
    server: String,
    beside: String,
}

impl Page {
    fn new(name: &'static str) -> Self {
        let text = fs::read_to_string(repository(name)).expect("the page");
        let folder = tempfile::tempdir().expect("a folder");
        let [server, beside] = free_addresses();
        Self { name, text, folder, server, beside }
    }

    /// A text of the page for this test's addresses.
    fn here(&self, text: &str) -> String {
        let port = self.beside.rsplit(':').next().expect("a port");
        text.replace(SERVER, &self.server)
            .replace("localhost:8000", &self.server)
            .replace(BESIDE, &self.beside)
            .replace("127.0.0.1 8080", &format!("{OWN_HOST} {port}"))
            .replace("\"127.0.0.1\"", &format!("\"{OWN_HOST}\""))
            .replace(" 8080", &format!(" {port}"))
            .replace(FOLLOWED[0], FOLLOWED[1])
    }

    fn shell(&self) -> Running {
        let mut path = std::env::var("PATH").expect("a path");
        let binary = Path::new(env!("CARGO_BIN_EXE_arrwdb")).parent().expect("a folder");
        for programs in [tools().join("node_modules/.bin"), tools().join("venv/bin"), binary.into()]
        {
            path = format!("{}:{path}", programs.display());
        }
        let mut shell = tool("bash");
        shell.args(["-euo", "pipefail"]).current_dir(self.folder.path()).env("PATH", path);
        shell.env("PYTHONPATH", repository("clients/python/src"));
        shell.env("PYTHONDONTWRITEBYTECODE", "1");
        Running::start(shell)
    }

    /// Runs it; `shows` is told what the web page is to show by now.
    fn run(&self, mut shows: impl FnMut(&str)) {
        let parts = parts(&self.text);
        for part in &parts {
            if let Part::File(file, code) = part {
                fs::write(self.folder.path().join(file), self.here(code)).expect("written");
            }
        }
        let mut shell = self.shell();
        let mut mended = self.text.clone();
        let mut ran = 0;
        for part in &parts {
            let (commands, answer) = match part {
                Part::Commands(commands, answer) => (*commands, answer.unwrap_or_default()),
                Part::Shows(shown) => {
                    shows(shown);
                    continue;
                }
                Part::File(..) => continue,
            };
            let printed = run_block(&mut shell, &self.here(commands));
            ran += 1;
            let (says, said) = (settled(answer.trim_end()), settled(printed.trim_end()));
            if says == said {
                continue;
            }
            let write = std::env::var_os("ARRWDB_WRITE_GOLDEN").is_some();
            let write = write && matches!(part, Part::Commands(_, Some(_)));
            assert!(write, "{}: {commands}\nprinted\n{said}\n\nnot\n{says}", self.name);
            let [old, new] = [answer, printed.as_str()]
                .map(|text| format!("```sh\n{commands}```\n\n```text\n{text}```"));
            mended = mended.replace(&old, &new);
        }
        assert!(ran > 0, "{} has no commands", self.name);
        assert_eq!(shell.end(), Some(0), "{}", self.name);
        if mended != self.text {
            fs::write(repository(self.name), mended).expect("written");
            panic!("{} is written anew: look at it", self.name);
        }
    }
}

/// Two addresses that are free.
fn free_addresses() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((OWN_HOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").to_string())
}

/// What a block prints.
fn run_block(shell: &mut Running, commands: &str) -> String {
    let stdin = shell.child.stdin.as_mut().expect("open");
    writeln!(stdin, "{commands}echo '{NEXT}'").and_then(|()| stdin.flush()).expect("it reads");
    let mut printed = String::new();
    loop {
        let mut line = String::new();
        shell.out.read_line(&mut line).expect("UTF-8");
        assert!(!line.is_empty(), "this failed or was stuck:\n{commands}\n{printed}");
        // What prints no line end has the mark behind it.
        if let Some(last) = line.strip_suffix(&format!("{NEXT}\n")) {
            return printed + last;
        }
        printed += &line;
    }
}

/// The TypeScript client as `npm install ./clients/typescript` would put it, for programs in `folder`.
fn install_typescript_client(folder: &Path) {
    let client = folder.join("node_modules/arrwdb");
    fs::create_dir_all(&client).expect("a folder");
    let source = repository("clients/typescript");
    let mut copy = tool("cp");
    copy.arg("-r").args(["package.json", "tsconfig.json", "src"].map(|name| source.join(name)));
    output(copy.arg(&client));
    let modules = tools().join("node_modules");
    std::os::unix::fs::symlink(&modules, client.join("node_modules")).expect("linked");
    output(tool(modules.join(".bin/tsc")).args(["--project", "."]).current_dir(&client));
}

fn says_what_it_does(name: &'static str) {
    Page::new(name).run(|shown| panic!("{name} has no web page to show {shown:?}"));
}

#[test]
fn pages_fall_into_parts() {
    let page = "# T\n\n```sh\necho a\n```\n\n```text\na\n```\n\n```py a.py\n1\n```\n<!-- the page shows: 3 x -->\n\n\
                ```sh\ntrue\n```\n```json\n{}\n```\n";
    let expected = [
        Part::Commands("echo a\n", Some("a\n")),
        Part::File("a.py", "1\n"),
        Part::Shows("3 x"),
        Part::Commands("true\n", None),
    ];
    assert_eq!(parts(page), expected);
}

#[test]
#[ignore = "needs curl, grpcurl, Python and Node: run by .ci/run"]
fn the_quick_start_works_for_each_audience() {
    let page = Page::new("docs/QUICKSTART.md");
    install_typescript_client(page.folder.path());
    page.run(|shown| panic!("there is no web page to show {shown:?}"));
}

#[test]
#[ignore = "needs curl: run by .ci/run"]
fn the_guide_to_ingest_says_what_the_server_does() {
    says_what_it_does("docs/INGEST.md");
}

#[test]
#[ignore = "needs curl: run by .ci/run"]
fn the_guide_to_search_says_what_the_server_does() {
    says_what_it_does("docs/SEARCH.md");
}

#[test]
#[ignore = "needs Python with grpcio: run by .ci/run"]
fn the_audit_log_of_the_tutorial_survives_every_kill() {
    says_what_it_does("docs/tutorials/audit-log.md");
}

#[test]
#[ignore = "needs Node: run by .ci/run"]
fn the_notifier_of_the_tutorial_survives_every_kill() {
    let page = Page::new("docs/tutorials/notify.md");
    install_typescript_client(page.folder.path());
    page.run(|shown| panic!("there is no web page to show {shown:?}"));
}

#[test]
#[ignore = "needs Python with grpcio: run by .ci/run"]
fn the_monitor_of_the_tutorial_sees_ingests_end_and_break() {
    says_what_it_does("docs/tutorials/ingestion-monitor.md");
}

#[test]
#[ignore = "needs Node and Chromium: run by .ci/run"]
fn the_counter_of_the_tutorial_is_right_in_a_browser_also_after_a_kill() {
    let page = Page::new("docs/tutorials/live-counter.md");
    let mut browser: Option<Running> = None;
    page.run(|shown| {
        let browser = browser.get_or_insert_with(|| {
            let mut look = tool("node");
            look.arg(repository("tests/tools/look.mjs"));
            look.args(["watch", &format!("http://{}/counter.html", page.beside), "#count"]);
            Running::start(look)
        });
        // It counts up: what it shows last is what counts, and more than that would be wrong.
        while browser.read() != shown {}
    });
    assert_eq!(browser.expect("it was looked at").end(), Some(0));
}
