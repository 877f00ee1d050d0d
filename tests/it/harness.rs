//! Servers for tests: in this process on a free port, or the real binary as a process of its own.

#![allow(dead_code, reason = "not every behaviour needs every tool")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arrwdb::engine::Engine;
use arrwdb::server;
use arrwdb::settings::Settings;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// How long anything in a test may take before it counts as stuck.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A whole server in this process: real store, real log, real model, a real socket.
pub struct Server {
    pub address: SocketAddr,
    pub engine: Engine,
    pub http: reqwest::Client,
    shutdown: CancellationToken,
    task: Option<JoinHandle<()>>,
    folder: Option<TempDir>,
}

impl Server {
    /// With the default settings on a fresh folder.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With settings of the test's on a fresh folder.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut server = Self::open(folder.path(), change).await;
        server.folder = Some(folder);
        server
    }

    /// On a folder that outlives the server.
    pub async fn open(folder: &Path, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { data_dir: folder.to_owned(), ..Settings::default() };
        change(&mut settings);
        let shutdown = CancellationToken::new();
        let engine = server::open_engine(&settings, &shutdown).await.expect("engine opens");
        Self::over(engine, &settings, shutdown).await
    }

    /// Over an engine that the test has built, whose token is a child of `shutdown`.
    pub async fn over(engine: Engine, settings: &Settings, shutdown: CancellationToken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (serving, token) = (engine.clone(), shutdown.clone());
        let cors_origins = settings.cors_origins.clone();
        let task = tokio::spawn(async move {
            let ended = server::serve(listener, serving, &cors_origins, token).await;
            ended.expect("server ends well");
        });
        Self {
            address,
            engine,
            http: reqwest::Client::builder().http1_only().build().expect("client"),
            shutdown,
            task: Some(task),
            folder: None,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn channel(&self) -> Channel {
        channel(self.address).await
    }

    /// Shuts down in order and waits for the end.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take() {
            tokio::time::timeout(DEADLINE, task).await.expect("ends in time").expect("no panic");
        }
    }

    /// Begins the shutdown without waiting.
    pub fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }
}

pub async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}"))
        .expect("address")
        .connect()
        .await
        .expect("server listens")
}

/// The real binary as a process of its own, so that it can be killed and weighed.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts `arrwdb serve` on a folder and a free port, and waits until it is ready.
    pub fn start(folder: &Path, extra: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", folder, extra)
    }

    /// Starts `arrwdb serve` on an address of the test's choice, and waits until it is ready.
    pub fn start_at(listen: &str, folder: &Path, extra: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_arrwdb"))
            .args(["serve", "--listen", listen, "--data-dir"])
            .arg(folder)
            .args(extra)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line
            .split_whitespace()
            .find_map(|word| word.trim_start_matches("http://").parse().ok())
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { address, child }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    /// SIGTERM, then the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(sent.success());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("waitable") {
                return status.code();
            }
            assert!(start.elapsed() < DEADLINE, "did not end after SIGTERM");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    fn memory_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("process lives");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a known name");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("kB");
        kib * 1024
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("waitable").is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a condition holds; fails the test when it does not within the deadline.
pub async fn eventually<F, T>(what: &str, mut condition: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A file or folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
