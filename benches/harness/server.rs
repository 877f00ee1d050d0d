//! The real binary as a process of its own on a fresh folder, and what it costs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A running server. Dropped, it is killed.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    folder: Option<TempDir>,
}

impl Server {
    /// On a folder that is removed with it, with default settings: fsync on.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self::open(folder.path(), flags);
        server.folder = Some(folder);
        server
    }

    /// On a folder that outlives it. Returns when it says that it is ready.
    pub fn open(folder: &Path, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_arrwdb"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-filter", "warn", "--data-dir"])
            .arg(folder)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http://")?.parse().ok())
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { address, child, folder: None }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// Memory in use.
    pub fn resident_mb(&self) -> f64 {
        self.status_mb("VmRSS:")
    }

    /// Memory in use that is no file's.
    pub fn anonymous_mb(&self) -> f64 {
        self.status_mb("RssAnon:")
    }

    /// The most memory in use since the start or the last [`Server::forget_peak`].
    pub fn peak_mb(&self) -> f64 {
        self.status_mb("VmHWM:")
    }

    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("writable");
    }

    fn status_mb(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the server lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        let kib = line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
        kib.expect("a number") / 1024.0
    }

    /// Processor time so far.
    pub fn processor(&self) -> Duration {
        processor(&format!("/proc/{}/stat", self.child.id())).expect("the server lives").1
    }

    /// Processor time so far by what threads are named, numbers at the end left out.
    pub fn threads(&self) -> BTreeMap<String, Duration> {
        let mut threads = BTreeMap::new();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        for task in tasks.expect("the server lives").flatten() {
            // A thread may have ended meanwhile.
            if let Some((name, time)) = processor(&task.path().join("stat").to_string_lossy()) {
                let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
                *threads.entry(name.to_owned()).or_default() += time;
            }
        }
        threads
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Name and processor time from a `stat` file of a process or thread (proc(5): comm, utime and
/// stime). Linux tells user space 100 ticks a second.
pub fn processor(path: &str) -> Option<(String, Duration)> {
    let stat = std::fs::read_to_string(path).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once(" (")?.1.to_owned();
    let mut fields = after.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    let ticks = fields.next()?? + fields.next()??;
    Some((name, Duration::from_millis(ticks * 10)))
}
