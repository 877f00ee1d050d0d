//! The model test: seeded random operations, faults of the log, crashes and restarts on the real
//! engine and store, compared with a naive fold.
//!
//! `ARRWDB_MODEL_SEED` repeats a run (its seed is printed when it fails), `ARRWDB_MODEL_ROUNDS`
//! sets its length.

#![allow(unreachable_pub, reason = "a test binary is reached from nowhere")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test panics at whatever it does not expect")]

mod check;
mod dice;
mod embedder;
mod fold;
mod ops;
mod run;
mod told;
mod world;

use arrwdb::types::clock::random_u64;

use run::Run;
use world::World;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

async fn run(world: World) {
    let seed = number("ARRWDB_MODEL_SEED").unwrap_or_else(random_u64);
    let rounds = number("ARRWDB_MODEL_ROUNDS").unwrap_or(12);
    eprintln!("ARRWDB_MODEL_SEED={seed} ARRWDB_MODEL_ROUNDS={rounds}");
    Run::new(world, seed).rounds(usize::try_from(rounds).expect("fits")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_over_a_failing_log_in_memory_is_what_the_model_says() {
    run(World::over_memory_log().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_over_files_on_a_failing_disk_is_what_the_model_says() {
    run(World::over_embedded_log().await).await;
}
