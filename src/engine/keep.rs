//! Keeping the indexes on disk: hides when files are written and removed.
//!
//! A task of its own, beside the one that tends: vectors of new rows go to disk while a graph is
//! being built, which may take minutes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Engine;
use super::shelf::Shelf;
use super::tend::{Deed, deed};
use crate::types::LibraryId;

/// After so long a segment that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Starts the background task; it ends with the engine, which it does not keep alive.
pub(super) fn start(engine: &Engine, shelf: Option<Shelf>, life: CancellationToken) {
    let Some(mut shelf) = shelf else { return };
    let look_interval = Duration::from_millis(engine.inner.limits.index_look_ms);
    let inner = Arc::downgrade(&engine.inner);
    engine.inner.tasks.spawn(async move {
        let mut failed = HashMap::new();
        loop {
            tokio::select! {
                biased;
                () = life.cancelled() => break,
                () = tokio::time::sleep(look_interval) => {}
            }
            let Some(inner) = inner.upgrade() else { break };
            // A panic loses the shelf and with it the files, not the graphs.
            let Some(back) = keep(&Engine { inner }, shelf, &mut failed).await else { break };
            shelf = back;
        }
    });
}

/// Brings the files of segments up to date. `failed`: when that failed last, which is not tried
/// again at once.
async fn keep(
    engine: &Engine,
    mut shelf: Shelf,
    failed: &mut HashMap<LibraryId, Instant>,
) -> Option<Shelf> {
    let state = engine.inner.published.load_full();
    failed.retain(|_, at| at.elapsed() < RETRY);
    let is_there = |library| state.libraries.contains_key(&library);
    if !shelf.is_of(is_there) {
        shelf.retain(is_there);
    }
    for (id, library) in &state.libraries {
        let (id, view) = (*id, Arc::clone(&library.view));
        if failed.contains_key(&id) || !shelf.is_behind(id, &view) {
            continue;
        }
        let write = move || {
            let done = shelf.keep(id, &view);
            (shelf, done)
        };
        let (back, done) = tokio::task::spawn_blocking(write).await.ok()?;
        shelf = back;
        // A library that is gone takes no memory either.
        let _ = deed(engine, id, Deed::Recount).await;
        if let Err(error) = done {
            let library = library.library.name.as_str();
            tracing::error!(library, %error, "a segment was not kept on disk");
            failed.insert(id, Instant::now());
        }
    }
    Some(shelf)
}
