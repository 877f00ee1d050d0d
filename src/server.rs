//! The one port: gRPC, gRPC-web and HTTP on the same listener, and how it shuts down.
//!
//! `axum::serve` has no settings for connections and tonic's own server breaks upgrades, so this is
//! an accept loop of its own over hyper.

mod body;
mod components;
mod linger;
mod stall;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::Request;
use axum::Router;
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_web::GrpcWebLayer;
use tower::ServiceExt as _;
use tower_http::cors::CorsLayer;
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use tracing::Level;

use crate::api::grpc;
use crate::api::http::{self, HttpOptions, HttpState};
use crate::engine::Engine;
use crate::types::{Limits, Result};
pub use body::BodyCut;
use body::RequestBody;
pub use components::{StartError, open_engine};
use linger::{Lent, linger};
use stall::StallGuard;

/// How long to wait after the system had no descriptor for a new connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What every HTTP/2 connection begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Binds the address; port 0 takes a free one, `local_addr` of the listener says which. Warns when
/// others than this machine can reach it.
pub async fn bind(listen: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "listening beyond loopback, and there is no authentication yet: whoever can reach this \
             address can read and change everything"
        );
    }
    Ok(listener)
}

/// Serves until `shutdown` is cancelled and then until all connections are done, at most
/// `limits.shutdown_grace_ms` more: connections that are still open then are cut.
///
/// The shutdown begins with the engine's own token: health turns to NOT_SERVING, and open streams
/// end by themselves. The engine is closed at the end. An error when the services cannot be built.
pub async fn serve(
    listener: TcpListener,
    engine: Engine,
    cors_origins: &[String],
    shutdown: CancellationToken,
) -> Result<()> {
    // Owns the tasks behind open streams.
    let tasks = TaskTracker::new();
    let options = HttpOptions { cors_origins: cors_origins.to_vec() };
    let cors = http::cors_layer(&options);
    let state =
        HttpState { engine: engine.clone(), tasks: tasks.clone(), options: options.clone() };
    let options = Arc::new(options);
    let rest = http::router(state);
    let foreign = from_fn_with_state(options, http::refuse_foreign_pages);
    let app = app(rest, grpc::routes(&engine, &tasks)?, cors).layer(foreign);
    let draining = engine.shutdown_token().clone();
    let stalled = {
        let engine = engine.clone();
        move || engine.client_stalled()
    };
    run(listener, app, engine.limits(), shutdown, stalled, || draining.cancel()).await;
    tasks.close();
    if tokio::time::timeout(grace(engine.limits()), tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "tasks of streams did not end within the grace period");
    }
    engine.close().await;
    Ok(())
}

fn grace(limits: &Limits) -> Duration {
    Duration::from_millis(limits.shutdown_grace_ms)
}

/// Both transports, and what goes around them.
fn app(rest: Router, grpc: tonic::service::Routes, cors: Option<CorsLayer>) -> Router {
    let grpc = grpc.prepare().into_axum_router().reset_fallback().layer(GrpcWebLayer::new());
    let trace = TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::DEBUG))
        .on_request(())
        .on_response(DefaultOnResponse::new().level(Level::DEBUG))
        .on_body_chunk(())
        .on_eos(())
        .on_failure(());
    let grpc = match cors {
        Some(cors) => grpc.layer(cors),
        None => grpc,
    };
    rest.merge(grpc).layer(trace)
}

/// Accepts until shutdown, then drains. `stalled` is called for each connection that is cut because
/// its client takes nothing.
async fn run(
    listener: TcpListener,
    app: Router,
    limits: &Limits,
    shutdown: CancellationToken,
    stalled: impl Fn() + Clone + Send + 'static,
    drain: impl FnOnce(),
) {
    let builder = builder(limits);
    let header_read = Duration::from_millis(limits.header_read_ms);
    let stall = Duration::from_millis(limits.subscriber_stall_ms);
    let linger_limit = Duration::from_millis(limits.linger_ms);
    // One permit a connection; without one new clients wait in the system's backlog.
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some((stream, peer, permit)) = accept(&listener, &permits, &shutdown).await {
        let service = app.clone().into_service::<RequestBody>();
        let service =
            TowerToHyperService::new(service.map_request(|request: Request<Incoming>| {
                let version = request.version();
                request.map(|body| RequestBody::new(body, version))
            }));
        let (builder, watcher) = (builder.clone(), graceful.watcher());
        let (cut, shutdown, stalled) = (cut.clone(), shutdown.clone(), stalled.clone());
        connections.spawn(async move {
            let _permit = permit;
            let begun = tokio::select! {
                () = shutdown.cancelled() => false,
                begun = tokio::time::timeout(header_read, begins(&stream)) => begun == Ok(true),
            };
            if !begun {
                return;
            }
            let (stream, returned) = Lent::new(stream);
            let stream = StallGuard::new(stream, stall);
            let is_stalled = stream.stalled();
            let connection =
                builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
            let served = async {
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%peer, error, "a connection ended");
                }
                if let (false, Ok(stream)) = (is_stalled.is_set(), returned.await) {
                    linger(stream, linger_limit).await;
                }
            };
            tokio::select! {
                () = cut.cancelled() => {}
                () = served => {}
            }
            if is_stalled.is_set() {
                tracing::info!(%peer, ?stall, "a client takes nothing: its connection is cut");
                stalled();
            }
        });
    }
    drop(listener);
    drain();
    connections.close();
    if tokio::time::timeout(grace(limits), graceful.shutdown()).await.is_err() {
        let open = connections.len();
        tracing::warn!(open, "connections that did not end within the grace period are cut");
        cut.cancel();
    }
    connections.wait().await;
}

/// The next connection and its permit; `None` at shutdown.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let next = async {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Replies are flushed item by item; Nagle would hold them back.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
                    }
                    return Some((stream, peer, permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        next = next => next,
    }
}

/// Waits until the first bytes tell HTTP/2 from HTTP/1.1: the one wait for which hyper has no
/// timeout. False when the client leaves before.
async fn begins(stream: &TcpStream) -> bool {
    const POLL: Duration = Duration::from_millis(5);
    let mut buffer = [0; HTTP2_PREFACE.len()];
    loop {
        match stream.peek(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(n) if n == buffer.len() || !HTTP2_PREFACE.starts_with(&buffer[..n]) => return true,
            // Part of a preface: rare, and the socket stays readable, so nothing to wait for.
            Ok(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let window = |bytes: usize| u32::try_from(bytes.min(i32::MAX as usize)).unwrap_or(u32::MAX);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper takes no less.
        .max_buf_size(limits.http1_buffer_bytes_max.max(8 << 10))
        .header_read_timeout(Duration::from_millis(limits.header_read_ms));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(limits.http2_keepalive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(limits.http2_keepalive_timeout_ms))
        .initial_stream_window_size(window(limits.http2_stream_window_bytes))
        .initial_connection_window_size(window(limits.http2_connection_window_bytes))
        .max_send_buf_size(limits.http2_send_buffer_bytes_max)
        .max_concurrent_streams(window(limits.http2_streams_max));
    builder
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use bytes::{Buf, Bytes};
    use futures::{StreamExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;

    use super::*;

    /// A server over `app` on a free port.
    struct Running {
        address: SocketAddr,
        shutdown: CancellationToken,
        done: JoinHandle<()>,
    }

    async fn running(app: Router, limits: Limits) -> Running {
        let listener = bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let done =
            tokio::spawn(async move { run(listener, app, &limits, token, || {}, || {}).await });
        Running { address, shutdown, done }
    }

    fn within<F: Future>(future: F) -> tokio::time::Timeout<F> {
        tokio::time::timeout(Duration::from_secs(20), future)
    }

    fn http2() -> reqwest::Client {
        reqwest::Client::builder().http2_prior_knowledge().build().expect("a client")
    }

    fn hello() -> Router {
        Router::new().route("/", get(async || "hello"))
    }

    #[tokio::test]
    async fn one_port_serves_both_versions_and_drains() {
        let server = running(hello(), Limits::default()).await;
        let url = format!("http://{}/", server.address);
        for client in [reqwest::Client::new(), http2()] {
            let response = client.get(&url).send().await.expect("a response");
            assert_eq!(response.text().await.expect("a body"), "hello");
        }
        server.shutdown.cancel();
        within(server.done).await.expect("drained").expect("no panic");
        assert!(TcpStream::connect(server.address).await.is_err(), "no longer listening");
    }

    #[tokio::test]
    async fn a_stream_that_does_not_end_is_cut_after_the_grace_period() {
        let endless = get(async || {
            let first = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"x"))]);
            Body::from_stream(first.chain(stream::pending()))
        });
        let app = Router::new().route("/", endless);
        for client in [reqwest::Client::new(), http2()] {
            let limits = Limits { shutdown_grace_ms: 50, ..Limits::default() };
            let server = running(app.clone(), limits).await;
            let response = client.get(format!("http://{}/", server.address)).send().await;
            let mut body = response.expect("a response").bytes_stream();
            assert_eq!(body.next().await.expect("open").expect("a chunk"), "x");
            server.shutdown.cancel();
            let rest = within(body.next()).await.expect("cut");
            assert!(!matches!(rest, Some(Ok(_))), "{rest:?}");
            within(server.done).await.expect("done").expect("no panic");
        }
    }

    #[tokio::test]
    async fn one_connection_too_many_waits_for_its_place() {
        let limits = Limits { connections_max: 1, ..Limits::default() };
        let server = running(hello(), limits).await;
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut first = TcpStream::connect(server.address).await.expect("connected");
        first.write_all(request).await.expect("sent");
        let mut byte = [0];
        first.read_exact(&mut byte).await.expect("served");
        let mut second = TcpStream::connect(server.address).await.expect("in the backlog");
        second.write_all(request).await.expect("sent");
        let waiting =
            tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
        assert!(waiting.is_err(), "served beyond the limit");
        drop(first);
        within(second.read_exact(&mut byte)).await.expect("served in its turn").expect("a byte");
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_closed() {
        let limits = Limits { header_read_ms: 50, ..Limits::default() };
        let server = running(hello(), limits).await;
        for beginning in [&b""[..], &b"PRI * H"[..], &b"GET / HT"[..]] {
            let mut client = TcpStream::connect(server.address).await.expect("connected");
            client.write_all(beginning).await.expect("sent");
            let mut reply = Vec::new();
            let end = within(client.read_to_end(&mut reply)).await;
            assert!(end.is_ok(), "{beginning:?} was left open");
        }
    }

    /// Decodes a gRPC message to its length.
    struct Length;

    impl tonic::codec::Decoder for Length {
        type Item = usize;
        type Error = tonic::Status;

        fn decode(
            &mut self,
            bytes: &mut tonic::codec::DecodeBuf<'_>,
        ) -> Result<Option<usize>, tonic::Status> {
            let length = bytes.remaining();
            bytes.advance(length);
            Ok(Some(length))
        }
    }

    /// What a gRPC service sees of its client's stream.
    #[derive(Debug, PartialEq)]
    enum Seen {
        Message(usize),
        End,
        Cut(tonic::Code),
    }

    #[tokio::test]
    async fn a_grpc_upload_that_is_cancelled_is_not_taken_for_a_whole_one() {
        let (seen, mut sees) = mpsc::channel(4);
        let upload = post(move |body: Body| async move {
            let mut messages = tonic::Streaming::new_request(Length, body, None, None);
            loop {
                let next = match messages.message().await {
                    Ok(Some(length)) => Seen::Message(length),
                    Ok(None) => Seen::End,
                    Err(status) => Seen::Cut(status.code()),
                };
                let more = matches!(next, Seen::Message(_));
                let _ = seen.send(next).await;
                if !more {
                    return;
                }
            }
        });
        let server = running(Router::new().route("/", upload), Limits::default()).await;
        let url = format!("http://{}/", server.address);
        let message = || Bytes::from_static(b"\0\0\0\0\x02ab");
        for client in [reqwest::Client::new(), http2()] {
            client.post(&url).body(message()).send().await.expect("answered");
            assert_eq!(within(sees.recv()).await.expect("in time"), Some(Seen::Message(2)));
            assert_eq!(within(sees.recv()).await.expect("in time"), Some(Seen::End));

            let first = stream::iter([Ok::<_, io::Error>(message())]);
            let endless = reqwest::Body::wrap_stream(first.chain(stream::pending()));
            let sent = tokio::spawn(client.post(&url).body(endless).send());
            assert_eq!(within(sees.recv()).await.expect("in time"), Some(Seen::Message(2)));
            sent.abort();
            let end = within(sees.recv()).await.expect("in time");
            assert_eq!(end, Some(Seen::Cut(tonic::Code::Unknown)));
        }
    }

    #[tokio::test]
    async fn only_configured_origins_may_ask_from_a_browser() {
        let of = |origins: &[&str]| {
            let cors_origins = origins.iter().map(|o| (*o).to_owned()).collect();
            let cors = http::cors_layer(&HttpOptions { cors_origins });
            app(Router::new(), hello().into(), cors)
        };
        let allowed = async |app: Router| {
            let request = Request::get("/").header("origin", "http://a.example");
            let request = request.body(Body::empty()).expect("a request");
            let response = app.oneshot(request).await.expect("infallible");
            let header = response.headers().get("access-control-allow-origin");
            header.map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!(allowed(of(&[])).await, None);
        assert_eq!(allowed(of(&["http://b.example"])).await, None);
        assert_eq!(
            allowed(of(&["http://b.example", "http://a.example"])).await.as_deref(),
            Some("http://a.example")
        );
        assert_eq!(allowed(of(&["*"])).await.as_deref(), Some("*"));
    }
}
