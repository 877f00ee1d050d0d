//! Components: the one place where store, log, embedders and engine are built and joined.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::embed::Embedder;
use crate::embed::batch::BatchingEmbedder;
use crate::embed::remote::RemoteEmbedder;
use crate::embed::static_model::StaticEmbedder;
use crate::engine::{Engine, EngineOptions, OpenError};
use crate::log::embedded::{self, EmbeddedLog, EmbeddedOptions};
use crate::settings::{Durability, RemoteEmbedderSettings, Settings};
use crate::store::{Store, StoreError};
use crate::types::{Limits, NewLibrary};

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder could not be made.
    #[error("data_dir: {} cannot be made: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] embedded::OpenError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No HTTP client could be made for a remote model.
    #[error("embedders.{name}: {why}")]
    Embedder {
        /// The model's name in the settings.
        name: String,
        /// Why.
        why: String,
    },
    /// They could not be joined.
    #[error(transparent)]
    Engine(#[from] OpenError),
    /// Opening panicked.
    #[error("opening the data folder panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Opens what the settings name: store, log, embedders, engine. The engine's shutdown token is a
/// child of `shutdown`. Takes time in proportion to what is stored.
pub async fn open_engine(
    settings: &Settings,
    shutdown: &CancellationToken,
) -> Result<Engine, StartError> {
    let (folder, durability) = (settings.data_dir.clone(), settings.durability);
    let (piece_bytes_target, new_epoch) =
        (settings.limits.log_piece_bytes_target, settings.new_epoch);
    let open = move || {
        std::fs::create_dir_all(&folder)
            .map_err(|error| StartError::Folder { folder: folder.clone(), error })?;
        let store = Store::open(&folder.join("store"))?;
        let applied = store.snapshot().applied()?;
        let options = EmbeddedOptions {
            durability: match durability {
                Durability::Fsync => embedded::Durability::Fsync,
                Durability::Os => embedded::Durability::Os,
            },
            piece_bytes_target,
            min_end: applied.revision,
            min_end_time: applied.time,
            min_end_events: applied.events,
            new_epoch,
        };
        let log = EmbeddedLog::open(&folder.join("log"), options)?;
        Ok::<_, StartError>((store, log))
    };
    let embedders = embedders(settings)?;
    let (store, log) = tokio::task::spawn_blocking(open).await??;
    let options = EngineOptions {
        limits: settings.limits.clone(),
        embedders,
        index_folder: Some(settings.data_dir.join("index")),
        shutdown: shutdown.child_token(),
    };
    Ok(Engine::open(store, Arc::new(log), options).await?)
}

type NamedEmbedders = Vec<(String, Arc<dyn Embedder>)>;

/// The built-in model and the remote ones, by name, each behind its batches.
fn embedders(settings: &Settings) -> Result<NamedEmbedders, StartError> {
    let limits = &settings.limits;
    let model: Arc<dyn Embedder> = Arc::new(StaticEmbedder::new());
    let batching = BatchingEmbedder::new(&model, limits, StaticEmbedder::calls_in_flight_max());
    let default: Arc<dyn Embedder> = Arc::new(batching);
    let mut embedders = vec![(NewLibrary::DEFAULT_EMBEDDER.to_owned(), default)];
    for (name, RemoteEmbedderSettings { model, key }) in &settings.embedders {
        let timeout = Duration::from_millis(limits.embed_timeout_ms);
        let remote = RemoteEmbedder::new(model.clone(), key.clone(), timeout)
            .map_err(|why| StartError::Embedder { name: name.clone(), why })?;
        let remote: Arc<dyn Embedder> = Arc::new(remote);
        let limits = Limits {
            embed_batch_texts_max: model.call_texts_max,
            // Its own deadline tells more and comes first.
            embed_timeout_ms: limits.embed_timeout_ms.saturating_add(1_000),
            ..limits.clone()
        };
        let batching = BatchingEmbedder::new(&remote, &limits, model.calls_in_flight_max);
        embedders.push((name.clone(), Arc::new(batching)));
    }
    Ok(embedders)
}
