//! Everything a hub can be told, once: one tree of options with a single listing behind the flags, the
//! environment, the TOML file, the `--help` text and the file that `headwater config` prints.
//!
//! Owns: names, defaults, units and documentation of every option, and their precedence:
//! flag > environment > file > default. Must not know: what the rooms do with them.
//! Invariants: text becomes typed options here, once; every number has a range in which nothing overflows; unknown
//! keys of the file are refused.

mod near;

use near::nearest;
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
    /// A number outside of its range.
    #[error("{} must be {least} to {most}, not {value} (--{}, {}, or [{}] of the options file)", .option.key, .option.flag, .option.env, .option.section)]
    Range {
        /// Of which option.
        option: &'static OptionDoc,
        /// What it is.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Tokens are given, and one or all of them are empty.
    #[error(
        "the list of tokens (--tokens, HEADWATER_TOKENS) has no token or an empty one (two commas, or one at the end): a hub that takes everybody has no \
         such option at all"
    )]
    EmptyToken,
    /// A level of logs that there is not.
    #[error(
        "log level {0:?}: write error, warn, info, debug or trace; or directives such as headwater_hub=debug,quinn=warn"
    )]
    LogLevel(String),
    /// A variable that is probably meant for another.
    #[error("there is no variable {name}: did you mean {meant}?")]
    Variable {
        /// Its name.
        name: String,
        /// What it looks like.
        meant: String,
    },
    /// An origin that no page has.
    #[error(
        "{0:?} of cors_origins (--cors-origins, HEADWATER_CORS_ORIGINS, [listen] of the options file) is no origin: write scheme and host as browsers \
         send them, such as https://app.example or http://localhost:3000 without a path, or *"
    )]
    Origin(String),
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
        // An empty one among others is kept, to be refused.
        let tokens = Some(text).filter(|text| !text.trim().is_empty());
        Ok(Self(tokens.map_or_else(Vec::new, |text| text.split(',').map(|s| s.trim().into()).collect())))
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

/// An address to listen on: an IP address and a port, or `localhost` (127.0.0.1) and a port. Other names are not looked
/// up: what they stand for may change under a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ip = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        ip.as_deref().unwrap_or(text).parse().map(Self).map_err(|_| {
            format!(
                "{text:?} is no IP address with a port, such as 127.0.0.1:7171, [::1]:7171 or 0.0.0.0:7171"
            )
        })
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

/// Where the PostgreSQL protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum PgListen {
    /// Beside QUIC: at its IP address, port [`PG_PORT`]; any free port where QUIC takes one.
    Auto,
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

/// PostgreSQL's own port is 5432, which a PostgreSQL of this machine may have.
pub const PG_PORT: u16 = 5433;

impl FromStr for PgListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" | "" => Ok(Self::Off),
            address => address.parse().map(|Listen(address)| Self::At(address)).map_err(|_| {
                format!("{address:?} is neither auto, off nor an address such as 127.0.0.1:5433")
            }),
        }
    }
}

impl TryFrom<String> for PgListen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
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
    /// The least and the most that a number may be.
    pub range: Option<(u64, u64)>,
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
                $field:ident: $type:ty = $default:literal $(in $least:literal, $most:literal)?, $flag:literal, $env:literal;
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
                          help = help($flag))]
                    $field: Option<$type>,
                )+
            }

            impl $Layer {
                fn apply(self, options: &mut $Options) {
                    $( if let Some(value) = self.$field { options.$field = value; } )+
                }
            }

            impl $Options {
                /// Numbers by their flags.
                fn numbers(&self) -> Vec<(&'static str, u64)> {
                    // Only numbers have a least and a most.
                    let numbers: &[&[(&'static str, u64)]] = &[$(
                        &[$( ($flag, { const _: (u64, u64) = ($least, $most); u64::from(self.$field) }) )?],
                    )+];
                    numbers.concat()
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

        impl Options {
            fn numbers(&self) -> Vec<(&'static str, u64)> {
                [$( self.$section.numbers(), )+].concat()
            }
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
                range: [$( Some(($least, $most)), )? None][0],
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
        /// Shard groups of a new data directory; fixed once it exists. Each costs one log and one overlay.
        shard_groups: u16 = "1" in 1, 1_024, "shard-groups", "HEADWATER_SHARD_GROUPS";
        /// Milliseconds a batch may wait for others to share its fsync. 0 syncs each batch alone; above 100 clients feel it.
        commit_delay_ms: u64 = "5" in 0, 10_000, "commit-delay-ms", "HEADWATER_COMMIT_DELAY_MS";
        /// Bytes of waiting batches that are synced without waiting longer.
        commit_bytes: u64 = "262144" in 0, 1_073_741_824, "commit-bytes", "HEADWATER_COMMIT_BYTES";
        /// Milliseconds between folds of the log into the base. Longer means fewer writes, more memory and a slower restart.
        fold_interval_ms: u64 = "1000" in 1, 3_600_000, "fold-interval-ms", "HEADWATER_FOLD_INTERVAL_MS";
        /// Bytes of committed log that start folds at once: bounds what reopening after a crash replays, to well under a second.
        fold_log_bytes: u64 = "4194304" in 0, 1_099_511_627_776, "fold-log-bytes", "HEADWATER_FOLD_LOG_BYTES";
        /// Bytes of states waiting in memory, over all shard groups, that start folds at once; the overlay's worst case is about twice this, and once more for each of the views (at most 16) that read one view's output.
        fold_bytes: u64 = "67108864" in 0, 1_099_511_627_776, "fold-bytes", "HEADWATER_FOLD_BYTES";
        /// Groups kept per view and shard group, where the view's group_cap does not ask for less; the lightest of more go into one exact (other) group.
        view_groups_max: u64 = "10000000" in 1, 1_000_000_000_000, "view-groups-max", "HEADWATER_VIEW_GROUPS_MAX";
        /// Damaged states kept for inspection, rows of each shard group; what is beyond is counted only.
        quarantine_rows_max: u64 = "10000" in 0, 1_000_000_000_000, "quarantine-rows-max", "HEADWATER_QUARANTINE_ROWS_MAX";
        /// The same in bytes on disk, for each shard group.
        quarantine_bytes_max: u64 = "67108864" in 0, 1_099_511_627_776, "quarantine-bytes-max", "HEADWATER_QUARANTINE_BYTES_MAX";
        /// Bytes of batches waiting to be written, and of the states that they become, before clients have to wait. Full sketches take two to four times their bytes on top; a batch that alone is larger waits alone (up to seventy times its frame).
        inbox_bytes: u64 = "33554432" in 1_024, 68_719_476_736, "inbox-bytes", "HEADWATER_INBOX_BYTES";
        /// Bytes of all definitions in the catalog together; more are refused. In memory they take up to twelve times as much.
        catalog_bytes_max: u64 = "16777216" in 1048576, 1_099_511_627_776, "catalog-bytes-max", "HEADWATER_CATALOG_BYTES_MAX";
        /// Rows of one reference table. A statement that would make it larger is refused.
        table_rows_max: u64 = "1000000" in 0, 1_000_000_000_000, "table-rows-max", "HEADWATER_TABLE_ROWS_MAX";
        /// Bytes of keys and values of one reference table; on disk about twice as much, for each of at most 256 tables.
        table_bytes_max: u64 = "67108864" in 0, 1_099_511_627_776, "table-bytes-max", "HEADWATER_TABLE_BYTES_MAX";
        /// Bytes of reference tables kept in memory; what does not fit is read anew and held by each statement that reads it.
        table_cache_bytes: u64 = "134217728" in 0, 1_099_511_627_776, "table-cache-bytes", "HEADWATER_TABLE_CACHE_BYTES";
        /// Bytes of the store's page cache.
        cache_bytes: u64 = "268435456" in 0, 1_099_511_627_776, "cache-bytes", "HEADWATER_CACHE_BYTES";
    }
    /// Where the hub listens, with which certificate.
    listen: ListenOptions, ListenLayer {
        /// Address for QUIC (UDP), and for HTTP (TCP) unless that has its own. Port 0 takes a free one.
        address: Listen = "127.0.0.1:7171", "listen", "HEADWATER_LISTEN";
        /// Address for HTTP (TCP) when it differs from the QUIC address.
        http_address: Maybe<Listen> = "", "listen-http", "HEADWATER_LISTEN_HTTP";
        /// Address for the PostgreSQL protocol (TCP); auto: port 5433 at the IP address of listen, where it is free; off: nowhere.
        pg_address: PgListen = "auto", "pg-listen", "HEADWATER_PG_LISTEN";
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
        frame_bytes_max: u32 = "4194304" in 1_024, 268_435_456, "frame-bytes-max", "HEADWATER_FRAME_BYTES_MAX";
        /// Most groups in one batch.
        batch_groups_max: u32 = "65536" in 1, 16_777_216, "batch-groups-max", "HEADWATER_BATCH_GROUPS_MAX";
        /// Longest group key, bytes.
        key_bytes_max: u32 = "1024" in 1, 1_048_576, "key-bytes-max", "HEADWATER_KEY_BYTES_MAX";
        /// Largest body over HTTP, bytes; the default is that of pages.
        http_frame_bytes_max: u32 = "262144" in 1_024, 268_435_456, "http-frame-bytes-max", "HEADWATER_HTTP_FRAME_BYTES_MAX";
        /// Most groups in one batch over HTTP.
        http_batch_groups_max: u32 = "4096" in 1, 16_777_216, "http-batch-groups-max", "HEADWATER_HTTP_BATCH_GROUPS_MAX";
        /// Longest group key over HTTP, bytes.
        http_key_bytes_max: u32 = "256" in 1, 1_048_576, "http-key-bytes-max", "HEADWATER_HTTP_KEY_BYTES_MAX";
        /// Milliseconds after its birth for which a producer's batches are remembered (and must have arrived).
        pid_lifetime_ms: u64 = "604800000" in 1_000, 3_155_760_000_000, "pid-lifetime-ms", "HEADWATER_PID_LIFETIME_MS";
        /// Milliseconds a producer's clock may run ahead of the hub's.
        future_skew_ms: u64 = "300000" in 0, 3_155_760_000_000, "future-skew-ms", "HEADWATER_FUTURE_SKEW_MS";
        /// Milliseconds that an event may be late where its view groups by time; 0 takes any age.
        late_max_ms: u64 = "604800000" in 0, 3_155_760_000_000, "late-max-ms", "HEADWATER_LATE_MAX_MS";
        /// Whether loads of history may bring time buckets of any age, over QUIC; true or false.
        backfill: bool = "true", "backfill", "HEADWATER_BACKFILL";
        /// QUIC connections at a time. Each may hold session_bytes_max and one connection window.
        connections_max: u32 = "1024" in 1, 1_000_000, "connections-max", "HEADWATER_CONNECTIONS_MAX";
        /// HTTP connections at a time. Above it the one that is idle longest makes room; when none is idle, new ones are told the hub's health only. Each may hold http_session_bytes_max.
        http_connections_max: u32 = "1024" in 1, 1_000_000, "http-connections-max", "HEADWATER_HTTP_CONNECTIONS_MAX";
        /// PostgreSQL connections at a time, three quarters of them from one address; more are refused with 53300. Each may hold pg_session_bytes_max, one message and 150 KiB.
        pg_connections_max: u32 = "256" in 1, 1_000_000, "pg-connections-max", "HEADWATER_PG_CONNECTIONS_MAX";
        /// Longest message of a PostgreSQL client, bytes; it comes out of ingress_bytes_max.
        pg_message_bytes_max: u32 = "4194304" in 16_384, 1_073_741_824, "pg-message-bytes-max", "HEADWATER_PG_MESSAGE_BYTES_MAX";
        /// Bytes that prepared statements and portals of one PostgreSQL connection may hold, about; more are refused with 53200.
        pg_session_bytes_max: u32 = "8388608" in 1_024, 1_073_741_824, "pg-session-bytes-max", "HEADWATER_PG_SESSION_BYTES_MAX";
        /// COPYs and bodies of /v1/events at a time, three quarters of them from one address; more are refused with 53300. A place is taken with the first 64 KiB, the first block of rows or the end. Each may hold load_bytes_max and what is measured late, 10 MiB of rows and a line.
        loads_max: u32 = "16" in 1, 10_000, "loads-max", "HEADWATER_LOADS_MAX";
        /// Bytes of the groups of one COPY or /v1/events, which are counted when all rows are there, or of the rows that it brings a table, and of one INSERT; more end it with 53200. INSERTs that are counted together, four times at once, may hold as much. Measured at least every 65,536 rows times views.
        load_bytes_max: u64 = "268435456" in 1_048_576, 1_099_511_627_776, "load-bytes-max", "HEADWATER_LOAD_BYTES_MAX";
        /// Bytes of one line of these; a quote that is never closed would otherwise be one.
        load_line_bytes_max: u32 = "1048576" in 1_024, 1_073_741_824, "load-line-bytes-max", "HEADWATER_LOAD_LINE_BYTES_MAX";
        /// Bytes of one body of /v1/events, which is read as it comes and not kept.
        events_body_bytes_max: u64 = "67108864" in 1_024, 1_099_511_627_776, "events-body-bytes-max", "HEADWATER_EVENTS_BODY_BYTES_MAX";
        /// Bytes of rows of INSERT that wait to be aggregated; more wait. What `async` may lose in a crash is this and a few batches.
        insert_bytes_max: u64 = "67108864" in 1_048_576, 1_099_511_627_776, "insert-bytes-max", "HEADWATER_INSERT_BYTES_MAX";
        /// Milliseconds between two messages of a PostgreSQL client after which its connection is closed: pools and people keep theirs for long.
        pg_idle_ms: u64 = "3600000" in 100, 86_400_000, "pg-idle-ms", "HEADWATER_PG_IDLE_MS";
        /// QUIC connections, again HTTP connections, and again PostgreSQL connections, at a time from one remote address (of IPv6: one /64); more are refused before their handshake, over QUIC as busy, and try again. Clients behind one NAT or proxy share it: raise it there, at most to connections_max. One address may then hold that many times what connections_max says.
        address_connections_max: u32 = "256" in 1, 1_000_000, "address-connections-max", "HEADWATER_ADDRESS_CONNECTIONS_MAX";
        /// Streams (batches and queries in flight) of one connection.
        streams_max: u32 = "64" in 1, 65_536, "streams-max", "HEADWATER_STREAMS_MAX";
        /// Bytes of frames that one connection may have in the hub at a time; at least one frame.
        session_bytes_max: u32 = "16777216" in 1_024, 4_294_967_295, "session-bytes-max", "HEADWATER_SESSION_BYTES_MAX";
        /// Bytes of bodies that one HTTP connection may announce at a time; at least one frame. A proxy that carries many clients over one connection may need more.
        http_session_bytes_max: u32 = "4194304" in 1_024, 4_294_967_295, "http-session-bytes-max", "HEADWATER_HTTP_SESSION_BYTES_MAX";
        /// Bytes of frames that all connections together may have in the hub at a time, counted as they arrive; at least one frame. HTTP may take half of it.
        ingress_bytes_max: u32 = "268435456" in 1_024, 4_294_967_295, "ingress-bytes-max", "HEADWATER_INGRESS_BYTES_MAX";
        /// Bytes of the plans of one stream's views, which every session that feeds it is sent; a view that does not fit is refused. Pages need them to fit http_frame_bytes_max, all their streams together.
        stream_plans_bytes_max: u32 = "196608" in 1_024, 268_435_456, "stream-plans-bytes-max", "HEADWATER_STREAM_PLANS_BYTES_MAX";
        /// Streams that one session may feed.
        session_streams_max: u32 = "256" in 1, 65_536, "session-streams-max", "HEADWATER_SESSION_STREAMS_MAX";
        /// QUIC flow control per stream, bytes.
        stream_window_bytes: u32 = "1048576" in 1_024, 1_073_741_824, "stream-window-bytes", "HEADWATER_STREAM_WINDOW_BYTES";
        /// QUIC flow control per connection, bytes.
        connection_window_bytes: u32 = "8388608" in 1_024, 1_073_741_824, "connection-window-bytes", "HEADWATER_CONNECTION_WINDOW_BYTES";
        /// Milliseconds of silence after which a connection is closed. Over HTTP an answer that is not taken gets 35 s or more; a request that is being worked on is waited for.
        idle_ms: u64 = "30000" in 100, 86_400_000, "idle-ms", "HEADWATER_IDLE_MS";
        /// Milliseconds between keep-alives; below idle_ms.
        keep_alive_ms: u64 = "10000" in 10, 86_400_000, "keep-alive-ms", "HEADWATER_KEEP_ALIVE_MS";
        /// Milliseconds in which a frame, once begun, must be complete; and every 64 KiB of a COPY that holds a place, and of a body of /v1/events.
        frame_ms: u64 = "10000" in 1, 3_600_000, "frame-ms", "HEADWATER_FRAME_MS";
        /// Milliseconds that a shutdown waits for what is in flight.
        drain_ms: u64 = "10000" in 0, 3_600_000, "drain-ms", "HEADWATER_DRAIN_MS";
    }
    /// What one statement may take.
    sql: SqlLimitOptions, SqlLimitLayer {
        /// Milliseconds a statement may take, waiting for its turn and planning included.
        timeout_ms: u64 = "5000" in 1, 86_400_000, "sql-timeout-ms", "HEADWATER_SQL_TIMEOUT_MS";
        /// Bytes one query may hold: operators, scanned groups, results of functions.
        memory_bytes: u64 = "67108864" in 1, 1_099_511_627_776, "sql-memory-bytes", "HEADWATER_SQL_MEMORY_BYTES";
        /// Rows of one answer.
        rows_max: u64 = "1000000" in 1, 1_000_000_000_000, "sql-rows-max", "HEADWATER_SQL_ROWS_MAX";
        /// Bytes of one text, bytea or list that a function may make. Batches of such values on their way come on top of memory_bytes.
        value_bytes_max: u64 = "1048576" in 1, 1_073_741_824, "sql-value-bytes-max", "HEADWATER_SQL_VALUE_BYTES_MAX";
        /// Tables and SELECTs a query may stand for when every CTE is counted as often as it is named: bounds planning (1000 take about a second).
        plan_nodes_max: u32 = "1000" in 1, 100_000, "sql-plan-nodes-max", "HEADWATER_SQL_PLAN_NODES_MAX";
        /// Statements at a time, each on a thread of its own; more wait until their timeout. The worst case is this many times memory_bytes.
        concurrent_max: u32 = "16" in 1, 4_096, "sql-concurrent-max", "HEADWATER_SQL_CONCURRENT_MAX";
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
    ///
    /// # Errors
    /// [`OptionsError::Unreadable`] or [`OptionsError::Invalid`] for the file, [`OptionsError::EmptyToken`], and those
    /// of [`Options::check`].
    pub fn resolve(layer: Layer, file: Option<&Path>) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        if let Some(path) = file {
            read_file(path)?.apply(&mut options);
        }
        // A variable that somebody forgot to fill must not open the hub to everybody.
        let is_open = layer.auth.tokens.as_ref().is_some_and(|tokens| tokens.0.is_empty());
        layer.apply(&mut options);
        if is_open || options.auth.tokens.0.iter().any(|token| token.trim().is_empty()) {
            return Err(OptionsError::EmptyToken);
        }
        options.check()?;
        Ok(options)
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.listen.http_address.0.unwrap_or(self.listen.address).0
    }

    /// Where the PostgreSQL protocol is to be spoken, and whether the hub goes without it when that is not free.
    pub fn pg_address(&self) -> Option<(SocketAddr, bool)> {
        match self.listen.pg_address {
            PgListen::Off => None,
            PgListen::At(address) => Some((address, false)),
            PgListen::Auto => {
                let Listen(quic) = self.listen.address;
                let port = if quic.port() == 0 { 0 } else { PG_PORT };
                Some((SocketAddr::new(quic.ip(), port), true))
            }
        }
    }

    /// Refuses options that do not fit each other.
    ///
    /// # Errors
    /// [`OptionsError::Range`], [`OptionsError::LogLevel`], [`OptionsError::Origin`] or [`OptionsError::Conflict`]: the first
    /// that is found.
    pub fn check(&self) -> Result<(), OptionsError> {
        for (flag, value) in self.numbers() {
            if let Some((option, (least, most))) = ranged(flag)
                && !(least..=most).contains(&value)
            {
                return Err(OptionsError::Range { option, value, least, most });
            }
        }
        if !is_log_level(&self.log.level) {
            return Err(OptionsError::LogLevel(self.log.level.clone()));
        }
        if let Some(strange) = self.listen.cors_origins.0.iter().find(|origin| !is_origin(origin)) {
            return Err(OptionsError::Origin(strange.clone()));
        }
        let limits = &self.limits;
        let rules = [
            (
                self.listen.tls_cert.0.is_none() != self.listen.tls_key.0.is_none(),
                "tls_cert and tls_key belong together (--tls-cert and --tls-key, HEADWATER_TLS_CERT and HEADWATER_TLS_KEY): \
                 one of them is missing",
            ),
            (
                limits.keep_alive_ms >= limits.idle_ms,
                "keep_alive_ms must be below idle_ms (--keep-alive-ms, --idle-ms)",
            ),
            (
                limits.session_bytes_max < limits.frame_bytes_max,
                "session_bytes_max must hold one frame (--session-bytes-max, --frame-bytes-max)",
            ),
            (
                limits.ingress_bytes_max < limits.frame_bytes_max,
                "ingress_bytes_max must hold one frame (--ingress-bytes-max, --frame-bytes-max)",
            ),
            (
                limits.http_session_bytes_max < limits.http_frame_bytes_max.min(limits.frame_bytes_max),
                "http_session_bytes_max must hold one frame (--http-session-bytes-max, --http-frame-bytes-max)",
            ),
            (
                limits.ingress_bytes_max < limits.pg_message_bytes_max,
                "ingress_bytes_max must hold one message (--ingress-bytes-max, --pg-message-bytes-max)",
            ),
            (
                limits.stream_plans_bytes_max > limits.frame_bytes_max,
                "stream_plans_bytes_max must fit one frame (--stream-plans-bytes-max, --frame-bytes-max)",
            ),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, message)) => Err(OptionsError::Conflict(message)),
            None => Ok(()),
        }
    }
}

fn ranged(flag: &str) -> Option<(&'static OptionDoc, (u64, u64))> {
    OPTIONS.iter().find(|option| option.flag == flag).and_then(|option| Some((option, option.range?)))
}

/// The help of a flag: documentation, range, default.
fn help(flag: &str) -> String {
    let Some(option) = OPTIONS.iter().find(|option| option.flag == flag) else { return String::new() };
    let range = option.range.map(|(least, most)| format!("{least} to {most}"));
    let default = (!option.default.is_empty()).then(|| format!("default: {}", option.default));
    let facts: Vec<String> = range.into_iter().chain(default).collect();
    let doc = option.doc.trim();
    if facts.is_empty() { doc.into() } else { format!("{doc} [{}]", facts.join("; ")) }
}

/// What a browser may send as `Origin`: a scheme, a host and perhaps a port; `null` of pages that have none.
fn is_origin(text: &str) -> bool {
    let is_host = |rest: &str| !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ', '*']);
    matches!(text, "*" | "null")
        || text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && is_host(rest))
}

/// Levels, and directives with their target; what a directive's braces hold is the subscriber's to judge.
fn is_log_level(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |text: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text));
    text.contains(['[', '{']) && text.contains('=')
        || text.split(',').map(str::trim).all(|part| match part.split_once('=') {
            Some((target, level)) => !target.is_empty() && is_level(level.trim()),
            None => is_level(part),
        })
}

/// Variables that are no option of a hub: those of clients, and the file's.
const OTHERS: [&str; 5] =
    ["HEADWATER_CONFIG", "HEADWATER_HUB", "HEADWATER_FINGERPRINT", "HEADWATER_CA", "HEADWATER_TOKEN"];

/// Looks for misspelt variables of a client among `names`; what resembles an option of a hub is none of its concern.
///
/// # Errors
/// [`OptionsError::Variable`] names the first that is misspelt.
pub fn check_client_variables(names: impl Iterator<Item = String>) -> Result<(), OptionsError> {
    match check_variables(names) {
        Err(OptionsError::Variable { name, meant }) if OTHERS.contains(&meant.as_str()) => {
            Err(OptionsError::Variable { name, meant })
        }
        _ => Ok(()),
    }
}

/// Looks for misspelt variables among `names`: one that is almost an option is refused; other HEADWATER_* names,
/// which may be somebody else's, are given back.
///
/// # Errors
/// [`OptionsError::Variable`] names the first that is misspelt.
pub fn check_variables(names: impl Iterator<Item = String>) -> Result<Vec<String>, OptionsError> {
    let known: Vec<&str> = OPTIONS.iter().map(|option| option.env).chain(OTHERS).collect();
    let mut strange = Vec::new();
    for name in names.filter(|name| name.starts_with("HEADWATER_") && !known.contains(&name.as_str())) {
        match nearest(&name, &known) {
            Some(meant) => return Err(OptionsError::Variable { name, meant: meant.into() }),
            None => strange.push(name),
        }
    }
    Ok(strange)
}

fn read_file(path: &Path) -> Result<Layer, OptionsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| OptionsError::Unreadable { path: path.into(), source })?;
    toml::from_str(&text).map_err(|error| {
        let mut message = in_words(error.to_string().trim_end());
        let keys: Vec<&str> = OPTIONS.iter().flat_map(|option| [option.key, option.section]).collect();
        let unknown = message.split("unknown field `").nth(1).and_then(|rest| rest.split('`').next());
        // A section's own name is a key of no section.
        let others = |key: &str| keys.iter().copied().filter(|known| *known != key).collect::<Vec<_>>();
        // A flag may be called otherwise than its key.
        let of_flag = |key: &str| OPTIONS.iter().find(|option| option.flag.replace('-', "_") == key);
        if let Some(option) = unknown.and_then(of_flag) {
            message.push_str(&format!("\ndid you mean {} of [{}]?", option.key, option.section));
        } else if let Some(meant) = unknown.and_then(|key| nearest(key, &others(key))) {
            message.push_str(&format!("\ndid you mean {meant}?"));
        }
        OptionsError::Invalid { path: path.into(), message }
    })
}

/// The TOML reader's words, without Rust's names of types.
fn in_words(message: &str) -> String {
    let Some(said) = ["u64", "u32"].iter().find_map(|of| message.strip_suffix(&format!("expected {of}")))
    else {
        return message.into();
    };
    let keys = said.lines().filter_map(|line| line.split_once("| ")?.1.split_once('='));
    let is_time = keys.into_iter().any(|(key, _)| key.trim_end().ends_with("_ms"));
    format!("{said}expected a number{}", if is_time { " of milliseconds" } else { "" })
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
        let range = option.range.map_or(String::new(), |(least, most)| format!("; {least} to {most}"));
        let _ = writeln!(out, "\n#{}\n# --{} or {}{range}", option.doc, option.flag, option.env);
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
mod tests;
