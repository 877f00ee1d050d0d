//! Embedders: text to vectors.
//!
//! An embedder may be remote, slow, failing or rate-limited: it is asynchronous, every call has a
//! deadline of its caller's, and its errors say whether a retry is worth it.

pub mod batch;
pub mod remote;
pub mod static_model;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::types::EmbedderRef;

pub use batch::BatchingEmbedder;
pub use remote::RemoteEmbedder;
pub use static_model::StaticEmbedder;

/// What a text is embedded for; some models embed the two differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To be stored and found.
    Document,
    /// To find with.
    Query,
}

/// Why texts could not be embedded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// This text can never be embedded by this model: its place among the texts, and why.
    #[error("text {index}: {reason}")]
    Text {
        /// The text's place in the call.
        index: usize,
        /// Why.
        reason: String,
    },
    /// The model cannot be reached or is overloaded now.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// When a retry is worth it, where the model said so.
        retry_after: Option<Duration>,
    },
    /// It took too long.
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    /// It answered nonsense: a wrong count or dimension.
    #[error("{0}")]
    Broken(String),
}

/// Text to vectors.
///
/// Cancellation: dropping the future abandons the call; it has no lasting effect.
#[async_trait]
pub trait Embedder: Send + Sync + 'static {
    /// The model's id and hash, pinned in each library made with it.
    fn model(&self) -> &EmbedderRef;

    /// Numbers a vector.
    fn dimension(&self) -> usize;

    /// Embeds texts; one vector each, in their order, each of `dimension` finite numbers and not
    /// zero. All or nothing.
    async fn embed(
        &self,
        purpose: Purpose,
        texts: Vec<Arc<str>>,
    ) -> Result<Vec<Vec<f32>>, EmbedError>;
}
