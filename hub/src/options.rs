//! Everything a hub can be told, once: one tree of options with a single listing behind the flags, the
//! environment, the TOML file, the `--help` text and the file that `headwater config` prints.
//!
//! Owns: names, defaults, units and documentation of every option, and their precedence:
//! flag > environment > file > default. Must not know: what the rooms do with them.
//! Invariant: text becomes typed options here, once; unknown keys of the file are refused.

use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// Why options were refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The file cannot be read.
    #[error("cannot read the options file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid: syntax, an unknown key, a value of the wrong type.
    #[error("options file {path}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why, as the TOML reader says it.
        message: String,
    },
    /// Options that do not fit each other.
    #[error("{0}")]
    Conflict(&'static str),
}

/// A list: an array in TOML, separated by commas in flags and environment.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct List(pub Vec<String>);

impl FromStr for List {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(String::from).collect()))
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A list that never shows itself in logs.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secrets(pub Vec<String>);

impl FromStr for Secrets {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<List>().map(|list| Self(list.0))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} hidden>", self.0.len())
    }
}

/// A value that may be left out; empty text means "none".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Maybe<T>(pub Option<T>);

impl<T: FromStr> FromStr for Maybe<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|value| Self(Some(value))) }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json"),
        }
    }
}

/// One option, as documentation.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// The section of the TOML file.
    pub section: &'static str,
    /// The key within the section.
    pub key: &'static str,
    /// What it does: unit, extremes, worst-case memory.
    pub doc: &'static str,
    /// The default, as text; empty = none.
    pub default: &'static str,
    /// The flag, without dashes.
    pub flag: &'static str,
    /// The environment variable.
    pub env: &'static str,
}

macro_rules! options {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Options:ident, $Layer:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:literal, $flag:literal, $env:literal;
            )+
        }
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Options {
                $( $(#[doc = $doc])+ pub $field: $type, )+
            }

            impl Default for $Options {
                fn default() -> Self {
                    Self { $( $field: default_of::<$type>($default), )+ }
                }
            }

            /// What one source (flags and environment, or the file) says about this section.
            #[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
            #[serde(deny_unknown_fields, default)]
            struct $Layer {
                $(
                    #[arg(id = $flag, long = $flag, env = $env, hide_env_values = true, value_name = "VALUE",
                          help = concat!($($doc,)+ " [default: ", $default, "]"))]
                    $field: Option<$type>,
                )+
            }

            impl $Layer {
                fn apply(self, options: &mut $Options) {
                    $( if let Some(value) = self.$field { options.$field = value; } )+
                }
            }
        )+

        /// All options of a hub.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Options {
            $( $(#[doc = $section_doc])+ pub $section: $Options, )+
        }

        /// What one source says: flags over environment, or the file.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields, default)]
        pub struct Layer {
            $( #[command(flatten)] $section: $Layer, )+
        }

        impl Layer {
            fn apply(self, options: &mut Options) {
                $( self.$section.apply(&mut options.$section); )+
            }
        }

        /// Every option, in order.
        pub const OPTIONS: &[OptionDoc] = &[$($(
            OptionDoc {
                section: stringify!($section),
                key: stringify!($field),
                doc: concat!($($doc,)+),
                default: $default,
                flag: $flag,
                env: $env,
            },
        )+)+];
    };
}

options! {
    /// Where the data lives and how eagerly it is made safe.
    storage: StorageOptions, StorageLayer {
        /// Directory of the catalog, the data and the development certificate; made when missing. One hub at a time.
        data_dir: PathBuf = "headwater-data", "data-dir", "HEADWATER_DATA_DIR";
        /// Shard groups of a new data directory (1 to 1024); fixed once it exists. Each costs one log and one overlay.
        shard_groups: u16 = "1", "shard-groups", "HEADWATER_SHARD_GROUPS";
        /// Milliseconds a batch may wait for others to share its fsync. 0 syncs each batch alone; above 100 clients feel it.
        commit_delay_ms: u64 = "5", "commit-delay-ms", "HEADWATER_COMMIT_DELAY_MS";
        /// Bytes of waiting batches that are synced without waiting longer.
        commit_bytes: u64 = "262144", "commit-bytes", "HEADWATER_COMMIT_BYTES";
        /// Milliseconds between folds of the log into the base. Longer means fewer writes, more memory and a slower restart.
        fold_interval_ms: u64 = "1000", "fold-interval-ms", "HEADWATER_FOLD_INTERVAL_MS";
        /// Bytes of committed log that start folds at once: bounds what reopening after a crash replays, to well under a second.
        fold_log_bytes: u64 = "4194304", "fold-log-bytes", "HEADWATER_FOLD_LOG_BYTES";
        /// Bytes of states waiting in memory, over all shard groups, that start folds at once; the overlay's worst case is about twice this.
        fold_bytes: u64 = "67108864", "fold-bytes", "HEADWATER_FOLD_BYTES";
        /// Groups kept per view and shard group, where the view's group_cap does not ask for less; the lightest of more go into one exact (other) group.
        view_groups_max: u64 = "10000000", "view-groups-max", "HEADWATER_VIEW_GROUPS_MAX";
        /// Damaged states kept for inspection, rows of each shard group; what is beyond is counted only.
        quarantine_rows_max: u64 = "10000", "quarantine-rows-max", "HEADWATER_QUARANTINE_ROWS_MAX";
        /// The same in bytes on disk, for each shard group.
        quarantine_bytes_max: u64 = "67108864", "quarantine-bytes-max", "HEADWATER_QUARANTINE_BYTES_MAX";
        /// Bytes of batches waiting to be written before clients have to wait; decoded states come on top, two to four times as much.
        inbox_bytes: u64 = "33554432", "inbox-bytes", "HEADWATER_INBOX_BYTES";
        /// Bytes of the store's page cache.
        cache_bytes: u64 = "268435456", "cache-bytes", "HEADWATER_CACHE_BYTES";
    }
    /// Where the hub listens, with which certificate.
    listen: ListenOptions, ListenLayer {
        /// Address for QUIC (UDP), and for HTTP (TCP) unless that has its own. Port 0 takes a free one.
        address: SocketAddr = "127.0.0.1:7171", "listen", "HEADWATER_LISTEN";
        /// Address for HTTP (TCP) when it differs from the QUIC address.
        http_address: Maybe<SocketAddr> = "", "listen-http", "HEADWATER_LISTEN_HTTP";
        /// PEM file with the certificate chain. With it HTTP speaks TLS too; without it a development certificate is made and HTTP is plain.
        tls_cert: Maybe<PathBuf> = "", "tls-cert", "HEADWATER_TLS_CERT";
        /// PEM file with the certificate's private key.
        tls_key: Maybe<PathBuf> = "", "tls-key", "HEADWATER_TLS_KEY";
        /// Names and addresses of the development certificate.
        dev_names: List = "localhost,127.0.0.1,::1", "dev-names", "HEADWATER_DEV_NAMES";
        /// Origins of pages that may call the HTTP face (CORS); * is any. Without any: every origin while HTTP listens on loopback, none elsewhere.
        cors_origins: List = "", "cors-origins", "HEADWATER_CORS_ORIGINS";
    }
    /// Who may connect.
    auth: AuthOptions, AuthLayer {
        /// Tokens of which clients must present one, for events and for SQL. Without any everybody may. Prefer the file or the environment: flags are visible to other users.
        tokens: Secrets = "", "tokens", "HEADWATER_TOKENS";
    }
    /// What one client may take. Defaults are those for native clients.
    limits: LimitOptions, LimitLayer {
        /// Largest frame, bytes.
        frame_bytes_max: u32 = "4194304", "frame-bytes-max", "HEADWATER_FRAME_BYTES_MAX";
        /// Most groups in one batch.
        batch_groups_max: u32 = "65536", "batch-groups-max", "HEADWATER_BATCH_GROUPS_MAX";
        /// Longest group key, bytes.
        key_bytes_max: u32 = "1024", "key-bytes-max", "HEADWATER_KEY_BYTES_MAX";
        /// Largest body over HTTP, bytes; the default is that of pages.
        http_frame_bytes_max: u32 = "262144", "http-frame-bytes-max", "HEADWATER_HTTP_FRAME_BYTES_MAX";
        /// Most groups in one batch over HTTP.
        http_batch_groups_max: u32 = "4096", "http-batch-groups-max", "HEADWATER_HTTP_BATCH_GROUPS_MAX";
        /// Longest group key over HTTP, bytes.
        http_key_bytes_max: u32 = "256", "http-key-bytes-max", "HEADWATER_HTTP_KEY_BYTES_MAX";
        /// Milliseconds after its birth for which a producer's batches are remembered (and must have arrived).
        pid_lifetime_ms: u64 = "604800000", "pid-lifetime-ms", "HEADWATER_PID_LIFETIME_MS";
        /// Milliseconds a producer's clock may run ahead of the hub's.
        future_skew_ms: u64 = "300000", "future-skew-ms", "HEADWATER_FUTURE_SKEW_MS";
        /// Milliseconds that an event may be late where its view groups by time; 0 takes any age.
        late_max_ms: u64 = "604800000", "late-max-ms", "HEADWATER_LATE_MAX_MS";
        /// Whether loads of history may bring time buckets of any age, over QUIC; true or false.
        backfill: bool = "true", "backfill", "HEADWATER_BACKFILL";
        /// QUIC connections at a time. Each may hold session_bytes_max and one connection window.
        connections_max: u32 = "1024", "connections-max", "HEADWATER_CONNECTIONS_MAX";
        /// HTTP connections at a time. Above it the one that is idle longest makes room; when none is idle, new ones are told the hub's health only. Each may hold http_session_bytes_max.
        http_connections_max: u32 = "1024", "http-connections-max", "HEADWATER_HTTP_CONNECTIONS_MAX";
        /// QUIC connections, and again HTTP connections, at a time from one remote address (of IPv6: one /64); more are refused before their handshake. Clients behind one NAT or proxy share it.
        address_connections_max: u32 = "256", "address-connections-max", "HEADWATER_ADDRESS_CONNECTIONS_MAX";
        /// Streams (batches and queries in flight) of one connection.
        streams_max: u32 = "64", "streams-max", "HEADWATER_STREAMS_MAX";
        /// Bytes of frames that one connection may have in the hub at a time; at least one frame.
        session_bytes_max: u32 = "16777216", "session-bytes-max", "HEADWATER_SESSION_BYTES_MAX";
        /// Bytes of bodies that one HTTP connection may announce at a time; at least one frame. A proxy that carries many clients over one connection may need more.
        http_session_bytes_max: u32 = "4194304", "http-session-bytes-max", "HEADWATER_HTTP_SESSION_BYTES_MAX";
        /// Bytes of frames that all connections together may have in the hub at a time, counted as they arrive; at least one frame. HTTP may take half of it.
        ingress_bytes_max: u32 = "268435456", "ingress-bytes-max", "HEADWATER_INGRESS_BYTES_MAX";
        /// Bytes of the plans of one stream's views, which every session that feeds it is sent; a view that does not fit is refused. Pages need them to fit http_frame_bytes_max, all their streams together.
        stream_plans_bytes_max: u32 = "196608", "stream-plans-bytes-max", "HEADWATER_STREAM_PLANS_BYTES_MAX";
        /// Streams that one session may feed.
        session_streams_max: u32 = "256", "session-streams-max", "HEADWATER_SESSION_STREAMS_MAX";
        /// QUIC flow control per stream, bytes.
        stream_window_bytes: u32 = "1048576", "stream-window-bytes", "HEADWATER_STREAM_WINDOW_BYTES";
        /// QUIC flow control per connection, bytes.
        connection_window_bytes: u32 = "8388608", "connection-window-bytes", "HEADWATER_CONNECTION_WINDOW_BYTES";
        /// Milliseconds of silence after which a connection is closed. Over HTTP an answer that does not move gets 35 s or more: watches wait for 25.
        idle_ms: u64 = "30000", "idle-ms", "HEADWATER_IDLE_MS";
        /// Milliseconds between keep-alives; below idle_ms.
        keep_alive_ms: u64 = "10000", "keep-alive-ms", "HEADWATER_KEEP_ALIVE_MS";
        /// Milliseconds in which a frame, once begun, must be complete.
        frame_ms: u64 = "10000", "frame-ms", "HEADWATER_FRAME_MS";
        /// Milliseconds that a shutdown waits for what is in flight.
        drain_ms: u64 = "10000", "drain-ms", "HEADWATER_DRAIN_MS";
    }
    /// What one statement may take.
    sql: SqlLimitOptions, SqlLimitLayer {
        /// Milliseconds a statement may take, waiting for its turn and planning included.
        timeout_ms: u64 = "5000", "sql-timeout-ms", "HEADWATER_SQL_TIMEOUT_MS";
        /// Bytes one query may hold: operators, scanned groups, results of functions.
        memory_bytes: u64 = "67108864", "sql-memory-bytes", "HEADWATER_SQL_MEMORY_BYTES";
        /// Rows of one answer.
        rows_max: u64 = "1000000", "sql-rows-max", "HEADWATER_SQL_ROWS_MAX";
        /// Bytes of one text, bytea or list that a function may make. Batches of such values on their way come on top of memory_bytes.
        value_bytes_max: u64 = "1048576", "sql-value-bytes-max", "HEADWATER_SQL_VALUE_BYTES_MAX";
        /// Tables and SELECTs a query may stand for when every CTE is counted as often as it is named: bounds planning (1000 take about a second).
        plan_nodes_max: u32 = "1000", "sql-plan-nodes-max", "HEADWATER_SQL_PLAN_NODES_MAX";
        /// Statements at a time, each on a thread of its own; more wait until their timeout. The worst case is this many times memory_bytes.
        concurrent_max: u32 = "16", "sql-concurrent-max", "HEADWATER_SQL_CONCURRENT_MAX";
    }
    /// What the hub says about itself.
    log: LogOptions, LogLayer {
        /// text or json.
        format: LogFormat = "text", "log-format", "HEADWATER_LOG_FORMAT";
        /// error, warn, info, debug or trace; or tracing directives such as headwater_hub=debug,quinn=warn.
        level: String = "info", "log-level", "HEADWATER_LOG_LEVEL";
    }
}

/// A default is text in the listing above, so that documentation and value cannot differ.
fn default_of<T: FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(value) => value,
        Err(_) => panic!("the default {text:?} in the listing of options does not parse"),
    }
}

impl Options {
    /// Resolves flags and environment (`layer`), the file and the defaults.
    pub fn resolve(layer: Layer, file: Option<&Path>) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        if let Some(path) = file {
            read_file(path)?.apply(&mut options);
        }
        layer.apply(&mut options);
        options.check()?;
        Ok(options)
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.listen.http_address.0.unwrap_or(self.listen.address)
    }

    /// Refuses options that do not fit each other.
    pub fn check(&self) -> Result<(), OptionsError> {
        let limits = &self.limits;
        let rules = [
            (
                self.listen.tls_cert.0.is_none() != self.listen.tls_key.0.is_none(),
                "tls_cert and tls_key belong together",
            ),
            (!(1..=1024).contains(&self.storage.shard_groups), "shard_groups must be 1 to 1024"),
            (limits.keep_alive_ms >= limits.idle_ms, "keep_alive_ms must be below idle_ms"),
            (limits.frame_bytes_max < 1024, "frame_bytes_max must be at least 1024"),
            (limits.http_frame_bytes_max < 1024, "http_frame_bytes_max must be at least 1024"),
            (limits.session_bytes_max < limits.frame_bytes_max, "session_bytes_max must hold one frame"),
            (limits.ingress_bytes_max < limits.frame_bytes_max, "ingress_bytes_max must hold one frame"),
            (
                limits.http_session_bytes_max < limits.http_frame_bytes_max.min(limits.frame_bytes_max),
                "http_session_bytes_max must hold one frame",
            ),
            (
                limits.stream_plans_bytes_max > limits.frame_bytes_max,
                "stream_plans_bytes_max must fit one frame",
            ),
            (limits.http_connections_max == 0, "http_connections_max must not be 0"),
            (limits.address_connections_max == 0, "address_connections_max must not be 0"),
            (limits.streams_max == 0, "streams_max must not be 0"),
            (limits.frame_ms == 0, "frame_ms must not be 0"),
            (self.sql.concurrent_max == 0, "concurrent_max must not be 0"),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, message)) => Err(OptionsError::Conflict(message)),
            None => Ok(()),
        }
    }
}

fn read_file(path: &Path) -> Result<Layer, OptionsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| OptionsError::Unreadable { path: path.into(), source })?;
    toml::from_str(&text).map_err(|error| OptionsError::Invalid {
        path: path.into(),
        message: error.to_string().trim_end().into(),
    })
}

/// A complete options file: every key with its documentation, set to its default (or commented out when it
/// has none).
pub fn template() -> String {
    use fmt::Write;
    let mut out =
        String::from("# Options of a Headwater hub. Flags and HEADWATER_* variables go before this file.\n");
    let mut section = "";
    for option in OPTIONS {
        if option.section != section {
            section = option.section;
            let _ = write!(out, "\n[{section}]\n");
        }
        let _ = writeln!(out, "\n#{}\n# --{} or {}", option.doc, option.flag, option.env);
        let _ = match toml_value(option) {
            Some(value) => writeln!(out, "{} = {value}", option.key),
            None => writeln!(out, "# {} =", option.key),
        };
    }
    out
}

fn toml_value(option: &OptionDoc) -> Option<String> {
    let text = option.default;
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit()) || matches!(text, "true" | "false") {
        return Some(text.into());
    }
    if option.key == "dev_names" {
        let quoted: Vec<String> = text.split(',').map(|name| format!("{name:?}")).collect();
        return Some(format!("[{}]", quoted.join(", ")));
    }
    Some(format!("{text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        layer: Layer,
    }

    fn parse(args: &[&str]) -> Layer {
        Flags::try_parse_from(std::iter::once("headwater").chain(args.iter().copied())).expect("flags").layer
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), text).expect("write");
        file
    }

    #[test]
    fn the_file_goes_before_defaults_and_flags_before_the_file() {
        let file = file("[storage]\ncommit_delay_ms = 7\nfold_interval_ms = 9\n[auth]\ntokens = [\"a\"]");
        let options =
            Options::resolve(parse(&["--commit-delay-ms", "11"]), Some(file.path())).expect("options");
        assert_eq!(options.storage.commit_delay_ms, 11);
        assert_eq!(options.storage.fold_interval_ms, 9);
        assert_eq!(options.storage.shard_groups, 1);
        assert_eq!(options.auth.tokens, Secrets(vec!["a".into()]));
        assert_eq!(format!("{:?}", options.auth), "AuthOptions { tokens: <1 hidden> }");
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_refused_with_their_place() {
        for (text, expected) in [
            ("[storage]\ncommit_delay = 7", "unknown field `commit_delay`"),
            ("[disk]\nx = 7", "unknown field `disk`"),
            ("[storage]\ncommit_delay_ms = \"soon\"", "invalid type"),
        ] {
            let file = file(text);
            let error =
                Options::resolve(Layer::default(), Some(file.path())).expect_err("refused").to_string();
            assert!(error.contains(expected) && error.contains("line"), "{error}");
        }
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        let error = Options::resolve(parse(&["--tls-cert", "x.pem"]), None).expect_err("refused");
        assert_eq!(error.to_string(), "tls_cert and tls_key belong together");
        assert!(Options::resolve(parse(&["--shard-groups", "0"]), None).is_err());
    }

    #[test]
    fn the_template_is_the_defaults() {
        let file = file(&template());
        assert_eq!(
            Options::resolve(Layer::default(), Some(file.path())).expect("options"),
            Options::default()
        );
        for option in OPTIONS {
            assert!(template().contains(&format!("{} =", option.key)), "{}", option.key);
        }
    }

    #[test]
    fn defaults_are_those_of_the_sdk() {
        use headwater::limits::{BatchLimits, FrameLimits, TimeLimits, TransportLimits};
        let limits = LimitOptions::default();
        let transport = TransportLimits::NATIVE;
        let sizes = [
            (limits.frame_bytes_max as usize, FrameLimits::NATIVE.body_bytes_max),
            (limits.http_frame_bytes_max as usize, FrameLimits::BROWSER.body_bytes_max),
            (limits.batch_groups_max as usize, BatchLimits::NATIVE.groups_max),
            (limits.http_batch_groups_max as usize, BatchLimits::BROWSER.groups_max),
            (limits.key_bytes_max as usize, BatchLimits::NATIVE.key_bytes_max),
            (limits.http_key_bytes_max as usize, BatchLimits::BROWSER.key_bytes_max),
            (limits.streams_max as usize, transport.streams_bidi_max as usize),
            (limits.stream_window_bytes as usize, transport.stream_window_bytes as usize),
            (limits.connection_window_bytes as usize, transport.connection_window_bytes as usize),
        ];
        let times = [
            (limits.idle_ms, transport.idle_timeout),
            (limits.keep_alive_ms, transport.keep_alive),
            (limits.pid_lifetime_ms, TimeLimits::PERSISTENT.pid_lifetime),
            (limits.late_max_ms, TimeLimits::PERSISTENT.late_max),
            (limits.future_skew_ms, TimeLimits::PERSISTENT.future_skew_max),
        ];
        assert!(sizes.iter().all(|(mine, sdk)| mine == sdk), "{sizes:?}");
        assert!(times.iter().all(|(mine, sdk)| u128::from(*mine) == sdk.as_millis()), "{times:?}");
    }

    #[test]
    fn every_option_has_its_flag_variable_and_help() {
        let mut command = Flags::command();
        let help = command.render_long_help().to_string();
        for option in OPTIONS {
            let env = format!("HEADWATER_{}", option.flag.to_uppercase().replace('-', "_"));
            assert_eq!(option.env, env);
            assert!(help.contains(&format!("--{}", option.flag)), "{}", option.flag);
            assert!(help.contains(&format!("[env: {}", option.env)), "{}", option.env);
            assert!(help.contains(option.doc.trim()), "{}", option.doc);
        }
    }
}
