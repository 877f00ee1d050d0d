//! `arrwdb demo`: a server in a fresh folder, shown at work by a client that knows nothing but its
//! address.
//!
//! Progress goes to standard error, results to standard output. The folder is removed at the end.

mod client;
mod corpus;
mod follow;
mod report;
mod tour;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Failure, shutdown_on_signals, start_logs};
use crate::server;
use crate::settings::Settings;
use report::say;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End after the run instead of staying up; the status says whether all that was checked held
    #[arg(long)]
    exit: bool,
    /// The address to serve gRPC and HTTP on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
}

/// Serves, goes through the tour, and stays up until a signal unless told to exit. Fails when
/// anything that the tour checks does not hold.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("arrwdb-demo-").tempdir()?;
    let settings = Settings {
        data_dir: folder.path().join("data"),
        listen: args.listen,
        log_filter: "warn".to_owned(),
        ..Settings::default()
    };
    start_logs(&settings);
    let shutdown = shutdown_on_signals()?;
    let listener = server::bind(&settings.listen)
        .await
        .map_err(|error| format!("listen: {} cannot be served on: {error}", settings.listen))?;
    let address = reachable(listener.local_addr()?);
    let engine = server::open_engine(&settings, &shutdown).await?;
    let stop = shutdown.clone();
    let served = engine.clone();
    let serving = tokio::spawn(async move { server::serve(listener, served, &[], stop).await });
    say(format_args!("Serving gRPC and HTTP on http://{address}, data in {:?}", folder.path()));

    let tour = tokio::select! {
        tour = tour::run(address) => tour,
        () = shutdown.cancelled() => Err("interrupted".into()),
    };
    if tour.is_ok() && !args.exit {
        say(what_to_try(address));
        shutdown.cancelled().await;
    }
    shutdown.cancel();
    let served = serving.await;
    engine.close().await;
    drop(engine);
    folder.close()?;
    served??;
    tour
}

/// Where a client on this machine reaches a listener that may be bound to all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            address.set_ip(Ipv6Addr::LOCALHOST.into());
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => {}
    }
    address
}

/// Lines to paste into a shell.
fn what_to_try(address: SocketAddr) -> String {
    let library = format!("http://{address}/v1/libraries/{}", tour::LIBRARY);
    let json = "-H 'content-type: application/json'";
    let query = r#""query":"a bird of prey","k":3"#;
    let grpc = format!(r#"{{"library_id":"{}",{query}}}"#, tour::LIBRARY);
    format!(
        r#"
Still serving; everything is gone when this ends (Ctrl-C). In another terminal:

  curl -s {library}
  curl -s {library}/search {json} -d '{{{query}}}'
  curl -sN -X POST '{library}/search/stream?query=a+bird+of+prey&k=3'
  curl -sN 'http://{address}/v1/events/stream'        # leave it open, then:
  echo '{{"title":"Hello","texts":["a first document"]}}' | curl -sN -T . -X POST {library}/documents/stream
  curl -sN {library}/documents/stream | head -n 3

  grpcurl -plaintext {address} list
  grpcurl -plaintext -d '{grpc}' {address} arrwdb.v1.SearchService/StreamSearch
  grpcurl -plaintext -d '{{"cursor":"begin"}}' {address} arrwdb.v1.EventService/Subscribe
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_this_machine() {
        let reach = |text: &str| reachable(text.parse().expect("address")).to_string();
        assert_eq!(reach("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reach("[::]:80"), "[::1]:80");
        assert_eq!(reach("10.0.0.1:80"), "10.0.0.1:80");
    }

    #[test]
    fn the_bodies_to_paste_are_json() {
        let text = what_to_try(SocketAddr::from(([127, 0, 0, 1], 8000)));
        let mut bodies = 0;
        for body in text.split('\'').filter(|quoted| quoted.starts_with('{')) {
            serde_json::from_str::<serde_json::Value>(body).expect(body);
            bodies += 1;
        }
        assert_eq!(bodies, 4, "{text}");
    }
}
