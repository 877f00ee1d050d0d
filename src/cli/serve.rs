//! `arrwdb serve`: a server in the foreground.

use std::io::Write;

use super::{Failure, shutdown_on_signals, start_logs};
use crate::server;
use crate::settings::{Settings, SettingsArgs};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Flags over environment over file.
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

/// Serves until a signal; ends when everything is drained.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let settings = Settings::load_here(&args.settings)?;
    start_logs(&settings);
    let shutdown = shutdown_on_signals()?;
    let engine = server::open_engine(&settings, &shutdown).await?;
    let listener = server::bind(&settings.listen)
        .await
        .map_err(|error| format!("listen: {} cannot be served on: {error}", settings.listen))?;
    let address = listener.local_addr()?;
    let version = env!("CARGO_PKG_VERSION");
    let data_dir = settings.data_dir.display();
    tracing::info!(version, %address, %data_dir, durability = ?settings.durability, "serving");
    // For people and scripts alike; that nobody reads it is no reason to stop.
    let _ = writeln!(std::io::stdout(), "arrwdb is ready on http://{address} (gRPC and HTTP)");
    server::serve(listener, engine, &settings.cors_origins, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
