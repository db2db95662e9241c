//! `headwater serve`: a hub in the foreground, until SIGINT or SIGTERM.

use super::CliError;
use crate::options::{Layer, LogFormat, LogOptions, Options};
use crate::server::Hub;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Flags of `serve`. Everything can also be set by HEADWATER_* variables and in the options file.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Options file (TOML); print one with `headwater config`
    #[arg(long, env = "HEADWATER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    layer: Layer,
}

pub(super) fn run(args: ServeArgs) -> Result<(), CliError> {
    let options = Options::resolve(args.layer, args.config.as_deref())?;
    log(&options.log)?;
    super::runtime()?.block_on(serve(&options))
}

async fn serve(options: &Options) -> Result<(), CliError> {
    let hub = Hub::start(options).await?;
    greet(&hub, options);
    tracing::info!(quic = %hub.addr(), http = %hub.http_addr(), fingerprint = %hub.fingerprint(), "ready");
    let reason = stop_signal().await;
    tracing::info!(reason, "shutting down; a second signal stops at once");
    tokio::select! {
        result = hub.shutdown() => result?,
        reason = stop_signal() => {
            tracing::warn!(reason, "stopped without draining: what was acknowledged is safe in the log");
            return Ok(());
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Tells where to connect: on standard output, for people and scripts; logs go to standard error.
fn greet(hub: &Hub, options: &Options) {
    let scheme = if hub.is_development() { "http" } else { "https" };
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "headwater {} is ready", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "  data         {}", options.storage.data_dir.display());
    let _ = writeln!(out, "  quic         {}", hub.addr());
    let _ = writeln!(out, "  http         {scheme}://{}", hub.http_addr());
    if hub.is_development() {
        let _ = writeln!(out, "  fingerprint  {}", hub.fingerprint());
    }
    let _ = out.flush();
    if options.auth.tokens.0.is_empty() && !hub.http_addr().ip().is_loopback() {
        tracing::warn!("everybody who reaches this hub may read and write: set tokens");
    }
    if hub.is_development() && !hub.http_addr().ip().is_loopback() {
        tracing::warn!("HTTP is not encrypted: set tls_cert and tls_key, or put a proxy in front");
    }
}

async fn stop_signal() -> &'static str {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return interrupt().await };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            reason = interrupt() => reason,
        }
    }
    #[cfg(not(unix))]
    interrupt().await
}

async fn interrupt() -> &'static str {
    match tokio::signal::ctrl_c().await {
        Ok(()) => "SIGINT",
        // Without signals the process can only be killed; it must not stop by itself.
        Err(_) => std::future::pending().await,
    }
}

fn log(options: &LogOptions) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&options.level)
        .map_err(|error| CliError::Usage(format!("log level {:?}: {error}", options.level)))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let result = match options.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    result.map_err(|error| CliError::Other(error.to_string()))
}
