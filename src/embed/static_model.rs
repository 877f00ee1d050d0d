//! The default embedder: hides a static model that lies in the binary and how its work is kept off
//! the asynchronous threads.
//!
//! A text's vector is the mean of its tokens' rows, normalised: microseconds, no network, always
//! the same. The model is loaded at the first call, so a server whose clients bring their vectors
//! never pays for it. It reads a text's first 512 tokens and about its first 3 000 characters;
//! the rest of a longer text does not show in its vector, so long texts want splitting first.

use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

use async_trait::async_trait;
use model2vec_rs::model::StaticModel;
use tokio::sync::oneshot;

use super::{EmbedError, Embedder, Purpose};
use crate::types::{EmbedderRef, background};

/// The model's id, pinned in every library made with it.
pub const MODEL_ID: &str = "minilm-static-256";

/// SHA-256 of `model.safetensors`, `tokenizer.json` and `config.json`, one after the other: all
/// three decide what a text's vector is.
pub const MODEL_SHA256: &str = "3473ac69f157d6d326cf9ec3dfc54618d5c4b8e6b534476eae412f779921f1e4";

const DIMENSION: usize = 256;
const MODEL: &[u8] = include_bytes!("../../models/minilm-static-256/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../models/minilm-static-256/tokenizer.json");
const CONFIG: &[u8] = include_bytes!("../../models/minilm-static-256/config.json");

/// Texts of at most this many bytes together are embedded where they are: they take less than
/// 100 µs, and a trip to another thread would take longer than most of them.
const INLINE_BYTES_MAX: usize = 1_024;

/// The model `minilm-static-256`, English, 256 dimensions. Cheap to clone; clones share the model.
///
/// Errors: `Text` for a text in which it knows no word. Cost: some 20–60 µs of one core per 100
/// words; a call runs on one thread, so as many cores are busy as there are calls. Documents are
/// embedded on background threads, so that a query is answered while a stream comes in.
#[derive(Debug, Clone)]
pub struct StaticEmbedder {
    model: Arc<OnceLock<StaticModel>>,
    /// For documents; not there before the first that is not embedded where it is.
    pool: Arc<OnceLock<Option<rayon::ThreadPool>>>,
    reference: EmbedderRef,
}

impl StaticEmbedder {
    /// Loads nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let reference = EmbedderRef { id: MODEL_ID.into(), sha256: MODEL_SHA256.into() };
        Self { model: Arc::default(), pool: Arc::default(), reference }
    }

    /// How many calls at once leave enough of the machine to the rest of the server: half of its
    /// cores, at least one.
    #[must_use]
    pub fn calls_in_flight_max() -> usize {
        available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
    }
}

impl Default for StaticEmbedder {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Embedder for StaticEmbedder {
    fn model(&self) -> &EmbedderRef {
        &self.reference
    }

    fn dimension(&self) -> usize {
        DIMENSION
    }

    async fn embed(
        &self,
        purpose: Purpose,
        texts: Vec<Arc<str>>,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        if let Some(model) = self.model.get()
            && bytes <= INLINE_BYTES_MAX
        {
            return encode(model, &texts);
        }
        let model = Arc::clone(&self.model);
        let (answer, call) = oneshot::channel();
        let work = move || {
            // The caller may have left while this waited.
            if !answer.is_closed() {
                let _ = answer.send(encode(model.get_or_init(load), &texts));
            }
        };
        match (purpose, self.pool.get_or_init(start_pool)) {
            (Purpose::Document, Some(pool)) => pool.spawn(work),
            _ => drop(tokio::task::spawn_blocking(work)),
        }
        // Nothing drops the answer but a panic.
        call.await.unwrap_or_else(|_| Err(EmbedError::Broken("the model panicked".into())))
    }
}

fn start_pool() -> Option<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(StaticEmbedder::calls_in_flight_max())
        .thread_name(|number| format!("embed-{number}"))
        .start_handler(|_| background::lower_priority())
        .panic_handler(|_| tracing::error!("the model panicked"))
        .build();
    pool.inspect_err(|error| tracing::warn!(%error, "no threads of its own for embedding")).ok()
}

fn load() -> StaticModel {
    StaticModel::from_bytes(TOKENIZER, MODEL, CONFIG, None)
        .expect("the files are part of the binary, and a test loads them")
}

fn encode(model: &StaticModel, texts: &[Arc<str>]) -> Result<Vec<Vec<f32>>, EmbedError> {
    let encode_one = |(index, text): (usize, &Arc<str>)| {
        // Leading space would count toward the characters that are read.
        let vector = model.encode_single(text.trim_start());
        // Vectors are of length one, but for texts without a single known word.
        if vector.iter().any(|x| *x != 0.0) {
            Ok(vector)
        } else {
            Err(EmbedError::Text { index, reason: "has no word that the model knows".into() })
        }
    };
    texts.iter().enumerate().map(encode_one).collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    async fn embed(texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let texts = texts.iter().map(|text| Arc::from(*text)).collect();
        StaticEmbedder::new().embed(Purpose::Document, texts).await
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn the_pinned_hash_is_that_of_the_files() {
        let digest = [MODEL, TOKENIZER, CONFIG]
            .into_iter()
            .fold(Sha256::new(), |hash, file| hash.chain_update(file))
            .finalize();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(MODEL_SHA256, hex);
    }

    #[tokio::test]
    async fn vectors_have_the_dimension_length_one_and_meaning() {
        let texts = [
            "a small domesticated feline that purrs",
            "a cat sleeping on the sofa",
            "interest rates set by the central bank",
        ];
        let vectors = embed(&texts).await.expect("good texts");
        assert_eq!(vectors.len(), texts.len());
        for vector in &vectors {
            assert_eq!(vector.len(), StaticEmbedder::new().dimension());
            assert!((cosine(vector, vector) - 1.0).abs() < 1e-4);
        }
        let (near, far) = (cosine(&vectors[0], &vectors[1]), cosine(&vectors[0], &vectors[2]));
        assert!(near > far + 0.2, "near {near}, far {far}");
    }

    #[tokio::test]
    async fn a_text_without_known_words_is_named() {
        for unknown in ["", "  \n", "[MASK]", "\u{10ffff}\u{10fffe}"] {
            let error = embed(&["fine", unknown, "fine too"]).await.expect_err("unknown");
            assert!(matches!(error, EmbedError::Text { index: 1, .. }), "{unknown:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_text_has_one_vector_whatever_it_came_with() {
        let long = "the quick brown fox jumps over the lazy dog ".repeat(50);
        let embedder = StaticEmbedder::new();
        let call = |texts: Vec<&str>| {
            embedder.embed(Purpose::Query, texts.into_iter().map(Arc::from).collect())
        };
        // The first call loads the model on a blocking thread, the second runs where it is, the
        // third is too long for that.
        let first = call(vec!["fox"]).await.expect("good");
        let second = call(vec!["fox"]).await.expect("good");
        let third = call(vec![&long, "fox"]).await.expect("good");
        assert_eq!(first[0], second[0]);
        assert_eq!(first[0], third[1]);
    }

    #[tokio::test]
    async fn what_lies_beyond_512_tokens_does_not_count() {
        let long = "fox ".repeat(2_000);
        let vectors = embed(&[&long, &format!("{long} and an elephant"), "fox"]).await;
        let vectors = vectors.expect("good");
        assert_eq!(vectors[0], vectors[1]);
        assert!(cosine(&vectors[0], &vectors[2]) > 0.999);
        // A blank beginning is not read as text.
        let indented = format!("{}fox", " ".repeat(10_000));
        assert_eq!(embed(&[&indented]).await.expect("good")[0], vectors[2]);
    }
}
