//! The connection to a server: the one place that makes a channel and says who is calling.
//!
//! A token and a certificate will come in here: in [`ServerArgs`], and in [`channel`], which every
//! call goes through.

use std::time::Duration;

use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::exit::CANNOT_CONNECT;
use crate::api::grpc::pb::consumer_service_client::ConsumerServiceClient;
use crate::api::grpc::pb::document_service_client::DocumentServiceClient;
use crate::api::grpc::pb::event_service_client::EventServiceClient;
use crate::api::grpc::pb::index_service_client::IndexServiceClient;
use crate::api::grpc::pb::library_service_client::LibraryServiceClient;
use crate::api::grpc::pb::search_service_client::SearchServiceClient;
use crate::api::grpc::{Told, from_status};
use crate::types::{Error, ErrorKind, Limits, Result};

/// How long the server may take to accept the connection, where `--timeout` is not shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the server is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// The server's address
    #[arg(
        long,
        env = "ARRWDB_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000"
    )]
    pub(super) server: String,
    /// Seconds that a call may take; streams may take longer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) timeout: Duration,
}

/// Whole or broken seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "must be a number of seconds".to_owned())
}

/// What calls travel on.
type Transport = Channel;

/// A connection to one server. Connects again by itself; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    transport: Transport,
    timeout: Duration,
}

/// The channel of every call. Waits for the first connection; `unavailable` when there is none.
async fn channel(args: &ServerArgs) -> Result<Transport> {
    let wrong = |why: String| Error::invalid("--server", why);
    let with_scheme = match args.server.contains("://") {
        true => args.server.clone(),
        false => format!("http://{}", args.server),
    };
    if with_scheme.starts_with("https://") {
        return Err(wrong("https is not spoken yet: put http:// before the address".to_owned()));
    }
    let limits = Limits::default();
    let endpoint = Endpoint::from_shared(with_scheme)
        .map_err(|error| wrong(format!("{:?} is no address: {error}", args.server)))?
        .user_agent(concat!("arrwdb-cli/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| Error::internal(error.to_string()))?
        .connect_timeout(CONNECT_TIMEOUT.min(args.timeout))
        // One that is dead without having been closed is found by its silence.
        .http2_keep_alive_interval(Duration::from_millis(limits.http2_keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(limits.http2_keepalive_timeout_ms))
        .keep_alive_while_idle(true);
    let connected = endpoint.connect().await;
    connected.map_err(|error| {
        let why = innermost(&error);
        Error::unavailable(format!("{CANNOT_CONNECT} to {}: {why}", args.server))
    })
}

/// The innermost cause of an error: what the operating system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

macro_rules! client {
    ($(#[doc = $doc:literal])* $name:ident, $client:ident) => {
        $(#[doc = $doc])*
        pub(super) fn $name(&self) -> $client<Transport> {
            // The server says how large its replies are; it is no stranger.
            $client::new(self.transport.clone())
                .max_decoding_message_size(usize::MAX)
                .max_encoding_message_size(usize::MAX)
        }
    };
}

impl Connection {
    /// Connects.
    pub(super) async fn open(args: &ServerArgs) -> Result<Self> {
        Ok(Self { transport: channel(args).await?, timeout: args.timeout })
    }

    client!(
        /// Calls about libraries.
        libraries,
        LibraryServiceClient
    );
    client!(
        /// Calls about documents.
        documents,
        DocumentServiceClient
    );
    client!(
        /// Searches.
        searches,
        SearchServiceClient
    );
    client!(
        /// Calls about indexes.
        indexes,
        IndexServiceClient
    );
    client!(
        /// The feed.
        events,
        EventServiceClient
    );
    client!(
        /// Durable consumers.
        consumers,
        ConsumerServiceClient
    );

    /// Waits for the answer of a unary call, as long as `--timeout` allows.
    pub(super) async fn answer<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T> {
        self.answer_within(self.timeout, call).await
    }

    /// The same for a call that the server is asked to take `longer` over.
    pub(super) async fn answer_after<T>(
        &self,
        longer: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T> {
        self.answer_within(self.timeout.saturating_add(longer), call).await
    }

    async fn answer_within<T>(
        &self,
        timeout: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T> {
        match tokio::time::timeout(timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(error(&status)),
            Err(_) => {
                let detail =
                    format!("the server did not answer within {} s", timeout.as_secs_f64());
                Err(Error::new(ErrorKind::DeadlineExceeded, detail))
            }
        }
    }
}

/// The error of a failed call, in words that a person can use.
pub(super) fn error(status: &Status) -> Error {
    let Told { mut error, from_server } = from_status(status);
    if !from_server && error.kind == ErrorKind::Unavailable {
        let why = match std::error::Error::source(status) {
            Some(source) => innermost(source),
            None => status.message().to_owned(),
        };
        error.detail = format!("the connection broke: {why}");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_be_broken_and_must_be_some() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1_500)));
        for text in ["", "-1", "nan", "1e99", "1s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
