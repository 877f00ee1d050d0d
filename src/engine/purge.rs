//! Freeing what deleted libraries held: in the background, a little at a time, resumed after a
//! restart. Nothing is visible of it but the space.

use super::Engine;
use crate::store::{Store, StoreError};

/// Keys freed at once: some milliseconds of work.
const PURGE_KEYS: usize = 2_000;

/// Starts the background task; it ends with the engine.
pub(super) fn start(engine: &Engine, store: Store) {
    let shutdown = engine.inner.shutdown.clone();
    let mut tail = engine.inner.tail.clone();
    engine.inner.tasks.spawn(async move {
        loop {
            let (work, token) = (store.clone(), shutdown.clone());
            let done =
                tokio::task::spawn_blocking(move || purge(&work, &|| token.is_cancelled())).await;
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "freeing a deleted library failed"),
                Err(error) => tracing::error!(%error, "freeing a deleted library panicked"),
            }
            // A deletion is a change; looking after each commit costs one read of an almost
            // always empty keyspace, at most once a second.
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = tail.changed() => if changed.is_err() { break },
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            }
        }
    });
}

fn purge(store: &Store, stop: &dyn Fn() -> bool) -> Result<(), StoreError> {
    for library in store.purges()? {
        while !stop() && !store.purge(library, PURGE_KEYS)? {}
    }
    Ok(())
}
