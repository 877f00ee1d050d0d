//! Remote models: hides how a provider is asked over HTTP, and which of its failures pass.
//!
//! A call asks again, after a pause that grows and varies or that the provider names, as long as
//! the failure may pass and time is left. An answer is believed only when it has a vector for each
//! text; what they look like is checked by who calls. The key is never logged and no redirect is
//! followed, so that it goes nowhere else.

mod provider;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{EmbedError, Embedder, Purpose};
use crate::types::{EmbedderRef, Timestamp};

type Vectors = Vec<Vec<f32>>;

/// Before the second attempt; pauses double from there, with jitter.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Between two attempts at most, unless the provider asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// Attempts for documents: some ten seconds of a provider that is away.
const DOCUMENT_ATTEMPTS_MAX: usize = 6;
/// Attempts for a query: somebody waits for it.
const QUERY_ATTEMPTS_MAX: usize = 2;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A number of an answer, written out, with room to spare.
const NUMBER_BYTES_MAX: usize = 40;
/// What an answer may have beside its vectors.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `POST {url}/embeddings`, as OpenAI and most servers of open models do.
    OpenAi,
    /// `POST {url}/v2/embed`.
    Cohere,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Cohere => "cohere",
        }
    }
}

/// A model behind HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteModel {
    /// How its provider speaks.
    pub provider: Protocol,
    /// Where: what stands before `/embeddings` or `/v2/embed`.
    pub url: String,
    /// Its name at the provider.
    pub model: String,
    /// Numbers of a vector.
    pub dimension: usize,
    /// Whether the provider is asked for that dimension, of models that can have several.
    #[serde(default)]
    pub ask_dimension: bool,
    /// The environment variable that has the key; none is sent without.
    pub api_key_env: Option<String>,
    /// Texts of one call at most.
    #[serde(default = "RemoteModel::call_texts_max")]
    pub call_texts_max: usize,
    /// Calls at once at most, for documents and for queries each.
    #[serde(default = "RemoteModel::calls_in_flight_max")]
    pub calls_in_flight_max: usize,
    /// What stands before each text that is stored.
    #[serde(default)]
    pub document_prefix: String,
    /// What stands before each text that is searched with.
    #[serde(default)]
    pub query_prefix: String,
}

impl RemoteModel {
    /// What every provider takes.
    const fn call_texts_max() -> usize {
        96
    }

    const fn calls_in_flight_max() -> usize {
        4
    }

    /// What is pinned in libraries: all that decides what a text's vector is, but not where the
    /// model is served, so that it may move.
    #[must_use]
    pub fn reference(&self) -> EmbedderRef {
        let parts = [
            self.provider.name(),
            &self.model,
            &self.dimension.to_string(),
            &self.ask_dimension.to_string(),
            &self.document_prefix,
            &self.query_prefix,
        ];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        EmbedderRef { id: self.model.clone(), sha256 }
    }
}

/// A key that does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(HeaderValue);

impl ApiKey {
    /// `None` when it cannot stand in a header.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// A remote model as an embedder.
///
/// Errors: `Text` for one that the provider refuses, found by asking for halves of what it was
/// sent with; `Unavailable` when it is away, overloaded, or refuses the key or the model;
/// `DeadlineExceeded` when it does not answer in time; `Broken` when it answers nonsense. Cost: a
/// call over the network. At most as many texts a call as the caller brings: put a
/// [`BatchingEmbedder`](super::BatchingEmbedder) before it.
#[derive(Debug)]
pub struct RemoteEmbedder {
    model: RemoteModel,
    reference: EmbedderRef,
    client: Client,
    timeout: Duration,
    pause_min: Duration,
}

/// What a provider answers.
#[derive(Debug)]
enum Answer {
    /// A vector for each text.
    Vectors(Vectors),
    /// Something of what was sent is refused, and why.
    Refused(String),
}

/// Why an attempt has no answer.
#[derive(Debug)]
enum Failure {
    /// Asking again may help, after so long when the provider said so.
    Passing(String, Option<Duration>),
    /// Asking again will not help.
    Lasting(EmbedError),
}

impl RemoteEmbedder {
    /// Connects to nothing yet. `timeout` is that of a call, with all its attempts.
    ///
    /// In words when no client can be made.
    pub fn new(model: RemoteModel, key: Option<ApiKey>, timeout: Duration) -> Result<Self, String> {
        let headers = key.map(|key| (AUTHORIZATION, key.0));
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter(headers))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("arrwdb/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        let reference = model.reference();
        Ok(Self { model, reference, client, timeout, pause_min: PAUSE_MIN })
    }

    /// Asks until there is an answer, a failure that lasts, or no time or attempt left.
    async fn ask(
        &self,
        purpose: Purpose,
        texts: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Answer, EmbedError> {
        let mut pauses = self.pauses(purpose);
        loop {
            let attempt = timeout_at(deadline, self.attempt(purpose, texts)).await;
            let attempt = attempt.map_err(|_| EmbedError::DeadlineExceeded(self.timeout))?;
            let (reason, retry_after) = match attempt {
                Ok(answer) => return Ok(answer),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(reason, retry_after)) => (reason, retry_after),
            };
            let pause = pauses.next().map(|pause| pause.max(retry_after.unwrap_or_default()));
            let Some(pause) = pause.filter(|pause| Instant::now() + *pause < deadline) else {
                return Err(EmbedError::Unavailable { reason, retry_after });
            };
            tracing::debug!(
                model = self.model.model,
                reason,
                ?pause,
                "the embedder is asked again"
            );
            tokio::time::sleep(pause).await;
        }
    }

    fn pauses(&self, purpose: Purpose) -> ExponentialBackoff {
        let attempts = match purpose {
            Purpose::Document => DOCUMENT_ATTEMPTS_MAX,
            Purpose::Query => QUERY_ATTEMPTS_MAX,
        };
        ExponentialBuilder::new()
            .with_min_delay(self.pause_min)
            .with_max_delay(PAUSE_MAX / 2)
            // Adds up to as much again.
            .with_jitter()
            .with_max_times(attempts - 1)
            .build()
    }

    async fn attempt(&self, purpose: Purpose, texts: &[Arc<str>]) -> Result<Answer, Failure> {
        // The URL may have a secret in it.
        let away = |error: reqwest::Error| Failure::Passing(causes(&error.without_url()), None);
        let broken = |why: String| Failure::Lasting(EmbedError::Broken(why));
        let request = provider::request(&self.client, &self.model, purpose, texts);
        let mut response = request.send().await.map_err(away)?;
        let (status, pause) = (response.status(), retry_after(response.headers()));
        let most = texts.len() * self.model.dimension * NUMBER_BYTES_MAX + ANSWER_BYTES_MAX;
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(away)? {
            if answer.len() + piece.len() > most {
                return Err(broken(format!("the embedder answered with more than {most} bytes")));
            }
            answer.extend_from_slice(&piece);
        }
        if status.is_success() {
            let vectors = provider::read(self.model.provider, &answer, texts.len());
            return vectors.map(Answer::Vectors).map_err(broken);
        }
        failed(status, pause, &provider::complaint(&answer))
    }
}

#[async_trait]
impl Embedder for RemoteEmbedder {
    fn model(&self) -> &EmbedderRef {
        &self.reference
    }

    fn dimension(&self) -> usize {
        self.model.dimension
    }

    async fn embed(&self, purpose: Purpose, texts: Vec<Arc<str>>) -> Result<Vectors, EmbedError> {
        let deadline = Instant::now() + self.timeout;
        let mut vectors = Vec::with_capacity(texts.len());
        // What is refused is asked for in halves: it may have been too much at once, or one text.
        let mut parts = vec![(0, texts.as_slice())];
        while let Some((first, part)) = parts.pop() {
            match self.ask(purpose, part, deadline).await? {
                Answer::Vectors(some) => vectors.extend(some),
                Answer::Refused(reason) if part.len() <= 1 => {
                    return Err(EmbedError::Text { index: first, reason });
                }
                Answer::Refused(_) => {
                    let (one, other) = part.split_at(part.len() / 2);
                    parts.extend([(first + one.len(), other), (first, one)]);
                }
            }
        }
        Ok(vectors)
    }
}

/// What an answer that is no success means.
fn failed(
    status: StatusCode,
    retry_after: Option<Duration>,
    complaint: &str,
) -> Result<Answer, Failure> {
    let told = match complaint {
        "" => format!("HTTP {status}"),
        _ => format!("HTTP {status}: {complaint}"),
    };
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Ok(Answer::Refused(format!("refused, {told}"))),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::Passing(told, retry_after))
        }
        status if status.is_server_error() => Err(Failure::Passing(told, retry_after)),
        _ => {
            let reason = format!("{told} (is its key, URL and model right?)");
            Err(Failure::Lasting(EmbedError::Unavailable { reason, retry_after: None }))
        }
    }
}

/// When the provider wants to be asked again: after seconds, or at a time.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let micros = u64::try_from(at.as_microsecond()).ok()?;
    Some(Duration::from_micros(micros.saturating_sub(Timestamp::now().micros())))
}

/// An error with all that caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}
