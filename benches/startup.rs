//! How long a server takes from its start to being ready after SIGKILL, and its memory.
//! `cargo bench --bench startup`; `ARRWDB_BENCH_ROWS=20000,100000` documents, two texts each.
//!
//! Ready: `GET /ready` says so. Killed in the middle of writing: the first start finds a batch
//! that was cut and changes that the store has not.

mod harness;

use std::path::Path;
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::http::Connection;
use harness::measure::{grouped, millis, row};
use harness::server::Server;
use harness::{Outcome, corpus, runtime};

const STARTS: usize = 5;

fn main() -> Outcome {
    let fresh = tempfile::tempdir()?;
    let (server, took) = start(fresh.path())?;
    let idle = settled_mb(&server);
    row("fresh folder: ready", millis(took), format!("idle memory {idle:.0} MB"));
    drop(server);
    let sizes = std::env::var("ARRWDB_BENCH_ROWS").unwrap_or("20000,100000".to_owned());
    for count in sizes.split(',') {
        killed(count.trim().parse()?)?;
    }
    Ok(())
}

fn killed(count: usize) -> Outcome {
    let folder = tempfile::tempdir()?;
    let server = Server::open(folder.path(), &[]);
    runtime(2).block_on(async {
        let client = Client::connect(server.address).await?;
        client.create_library("docs", None).await?;
        client.load("docs", corpus::documents(count).into_iter()).await
    })?;
    let loaded = settled_mb(&server);
    // Killed while a stream is open and writing.
    let address = server.address;
    let (told, begun) = std::sync::mpsc::channel();
    let writing = std::thread::spawn(move || {
        runtime(1).block_on(async {
            let client = Client::connect(address).await?;
            let documents = corpus::documents(2_000).into_iter().cycle().enumerate();
            let documents = documents.map(move |(n, document)| {
                if n == 1_000 {
                    let _ = told.send(());
                }
                document
            });
            client.load("docs", documents).await
        })
    });
    begun.recv()?;
    server.kill();
    assert!(writing.join().expect("no panic").is_err(), "the stream was not cut");

    println!(
        "{} documents of 2 texts, after SIGKILL in the middle of a stream",
        grouped(count as f64)
    );
    let mut later = Vec::new();
    for number in 0..STARTS {
        let (server, took) = start(folder.path())?;
        if number == 0 {
            let processor = server.processor();
            row("first start: ready", millis(took), format!("processor {}", millis(processor)));
        } else {
            later.push(took);
        }
        if number + 1 == STARTS {
            later.sort_unstable();
            let range = format!("{} to {}", millis(later[0]), millis(later[later.len() - 1]));
            row(&format!("{} starts after SIGKILL when idle: ready", later.len()), range, "");
            let again = settled_mb(&server);
            row("memory", format!("{again:.0} MB"), format!("before the kill {loaded:.0} MB"));
        }
        server.kill();
    }
    Ok(())
}

/// Starts a server and asks until it is ready.
fn start(folder: &Path) -> Outcome<(Server, Duration)> {
    let began = Instant::now();
    let server = Server::open(folder, &[]);
    let mut connection = Connection::connect(server.address)?;
    while connection.get("/ready")?.0 != 200 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((server, began.elapsed()))
}

/// Memory once it has stayed the same for a second.
fn settled_mb(server: &Server) -> f64 {
    let (mut last, mut since) = (server.resident_mb(), Instant::now());
    let began = since;
    while since.elapsed() < Duration::from_secs(1) && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
        let now = server.resident_mb();
        if (now - last).abs() > 0.5 {
            (last, since) = (now, Instant::now());
        }
    }
    last
}
