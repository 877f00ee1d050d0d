//! The client loops of `docs/FEED.md`, run as they stand there.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::harness::{DEADLINE, Server, eventually, repository};

/// The code block of the document whose first line begins with a comment of this name.
fn block(language: &str, name: &str) -> String {
    let document = std::fs::read_to_string(repository("docs/FEED.md")).expect("readable");
    let opening = format!("```{language}\n# {name} ");
    let at = document.find(&opening).unwrap_or_else(|| panic!("no block {name}"));
    let code = &document[at + opening.len() - name.len() - 3..];
    code.split_once("\n```").expect("a closed block").0.to_owned()
}

/// A client loop that runs, and the lines that it prints.
struct Client {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Client {
    fn start(program: &str, script: &Path, server: &Server, place: &Path) -> Self {
        let mut child = Command::new(program)
            .arg(script)
            .arg(format!("http://{}", server.address))
            .arg(place)
            .stdout(Stdio::piped())
            // Of its own, so that what it starts ends with it.
            .process_group(0)
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel(1_000);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    async fn events(&mut self, number: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < number {
            let line = tokio::time::timeout(DEADLINE, self.lines.recv()).await;
            let line = line.expect("in time").expect("it goes on");
            events.push(serde_json::from_str(&line).expect("an event"));
        }
        events
    }

    /// Ends it once its place has reached the last event that it printed.
    async fn stop(self, place: &Path, last: &Value) {
        let last = last["id"].as_str().expect("an id");
        eventually("the place is stored", async || {
            let stored = std::fs::read_to_string(place).unwrap_or_default();
            (stored.trim() >= last).then_some(())
        })
        .await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

async fn write(server: &Server, number: usize) {
    let document = json!({"id": format!("d{number}"), "title": "T", "texts": ["a", "b"]});
    let url = server.url("/v1/libraries/notes/documents");
    let reply = server.http.post(url).json(&document).send().await.expect("sent");
    assert_eq!(reply.status(), 201);
}

async fn all(server: &Server) -> Vec<Value> {
    let page = server.http.get(server.url("/v1/events?limit=1000")).send().await.expect("sent");
    let mut page: Value = page.json().await.expect("JSON");
    page["events"].as_array_mut().map(std::mem::take).expect("a list")
}

/// Runs a loop, ends it, writes more, runs it again: it gets everything, each once.
async fn follows(program: &str, language: &str, name: &str) {
    let server = Server::start().await;
    let library = server.http.post(server.url("/v1/libraries")).json(&json!({"name": "notes"}));
    assert_eq!(library.send().await.expect("sent").status(), 201);
    let folder = tempfile::tempdir().expect("a folder");
    let (script, place) = (folder.path().join(name), folder.path().join("place"));
    std::fs::write(&script, block(language, name)).expect("written");
    let mut got = Vec::new();
    for round in 0..3 {
        let mut client = Client::start(program, &script, &server, &place);
        write(&server, round).await;
        // A library has one event, a document of two chunks three.
        let due = 1 + 3 * (round + 1) - got.len();
        got.extend(client.events(due).await);
        client.stop(&place, &got[got.len() - 1]).await;
    }
    assert_eq!(got, all(&server).await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs python3: run by .ci/run"]
async fn the_python_loop_of_the_document_follows_and_resumes() {
    follows("python3", "python", "follow.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs bash and curl: run by .ci/run"]
async fn the_curl_loop_of_the_document_follows_and_resumes() {
    follows("bash", "bash", "follow.sh").await;
}
