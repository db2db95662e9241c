//! `headwater serve`: a hub in the foreground, until SIGINT or SIGTERM.

use super::CliError;
use crate::options::{Layer, LogFormat, LogOptions, Options, check_variables};
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
    let strange = check_variables(super::variables())?;
    let options = Options::resolve(args.layer, args.config.as_deref())?;
    log(&options.log)?;
    for name in strange {
        tracing::warn!("the variable {name} is no option: it is ignored");
    }
    if options.auth.tokens.0.is_empty() && std::env::var_os("HEADWATER_TOKEN").is_some() {
        tracing::warn!(
            "HEADWATER_TOKEN is what clients present; this hub asks for none: set HEADWATER_TOKENS"
        );
    }
    super::runtime()?.block_on(serve(&options))
}

async fn serve(options: &Options) -> Result<(), CliError> {
    // From here on, so that none is missed: a signal that comes while the hub opens ends it once it is open.
    let mut signals = Signals::new()?;
    let hub = Hub::start(options).await?;
    greet(&hub, options);
    tracing::info!(quic = %hub.addr(), http = %hub.http_addr(), fingerprint = %hub.fingerprint(), "ready");
    let reason = signals.next().await;
    tracing::info!(reason, "shutting down; a second signal stops at once");
    tokio::select! {
        result = hub.shutdown() => result?,
        reason = signals.next() => {
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
    match hub.pg_addr() {
        Some(address) => drop(writeln!(out, "  postgresql   {address}")),
        None => drop(writeln!(out, "  postgresql   off")),
    }
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

/// What asks a hub to stop.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        /// A file grew beyond the process's limit (`ulimit -f`): SIGXFSZ, the same number on all but MIPS.
        const FILE_TOO_LARGE: i32 = 25;
        let listen = |kind| signal(kind).map_err(|error| CliError::Other(format!("signals: {error}")));
        // It would end the hub. Once somebody listens, the write fails instead, as on a full disk.
        let _ = signal(SignalKind::from_raw(FILE_TOO_LARGE));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            // Without signals the process can only be killed; it must not stop by itself.
            else => std::future::pending().await,
        }
    }
}

/// What asks a hub to stop.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, CliError> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "ctrl-C",
            // Without signals the process can only be killed; it must not stop by itself.
            Err(_) => std::future::pending().await,
        }
    }
}

fn log(options: &LogOptions) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&options.level)
        .map_err(|error| CliError::Usage(format!("log level {:?}: {error}", options.level)))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Otherwise a log that nobody reads would end the hub.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let result = match options.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // Panics over damaged bytes are caught, and the error that comes of them is told; a line of the log is enough here.
    let backtrace = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            backtrace(panic);
        }
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a panic: {}", panic.payload_as_str().unwrap_or("without a text"));
    }));
    result.map_err(|error| CliError::Other(error.to_string()))
}
