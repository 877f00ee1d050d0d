//! The outside world: curl, grpcurl, Python, Node and a browser against the real binary, and the
//! commands of the README and of `clients/` as they stand there.
//!
//! All are ignored in plain `cargo test`, which needs no tools; `.ci/run` installs the tools and
//! runs every one. Scripts are in `tests/tools/`; what they need is in `target/test-tools/` or
//! where `ARRWDB_TEST_TOOLS` says.

mod console;
mod curl;
mod grpcurl;
mod openapi;
mod pages;
mod readme;
mod scripts;
mod tutorials;
mod typescript;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::harness::repository;

/// After so many seconds a tool counts as stuck and is killed; its test fails then.
const TOOL_SECONDS_MAX: &str = "120";

/// Where `.ci/run` put the Python environment and the node modules.
fn tools() -> PathBuf {
    std::env::var_os("ARRWDB_TEST_TOOLS")
        .map_or_else(|| repository("target/test-tools"), PathBuf::from)
}

/// A tool by name or path, with an end: nothing here waits for ever. `timeout` is of coreutils.
fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", TOOL_SECONDS_MAX]).arg(program);
    command.env("ARRWDB_TEST_TOOLS", tools()).stdin(Stdio::null());
    command
}

/// What a tool that must end well wrote to its standard output.
fn output(command: &mut Command) -> String {
    let (code, out, log) = outcome(command);
    assert_eq!(code, Some(0), "{command:?}\n{out}\n{log}");
    out
}

/// How a tool ended, and what it wrote to standard output and standard error.
fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("`timeout` starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A tool whose input and output are used while it runs.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("`timeout` starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, out }
    }

    fn write(&mut self, line: &Value) {
        let stdin = self.child.stdin.as_mut().expect("open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the tool reads");
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("UTF-8");
        assert!(!line.is_empty(), "the tool ended or was stuck");
        line.trim_end().to_owned()
    }

    fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Closes its input and waits for its end.
    fn end(mut self) -> Option<i32> {
        self.close_input();
        self.child.wait().expect("waitable").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        // `timeout` passes SIGTERM on; SIGKILL would orphan the tool.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// NDJSON.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}
