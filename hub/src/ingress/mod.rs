//! The doors of the hub: QUIC and HTTP, one pure session machine behind both.
//!
//! Owns: connections, frames in and out, admission (tokens, limits, plans of a session). Must not know:
//! what is inside a batch, how it is kept, what SQL means: that is behind [`Backend`].
//! Invariants: a peer's bytes are bounded before they are buffered; a bad peer loses its own session only.

pub(crate) mod addresses;
pub mod answer;
pub mod budget;
pub mod certificate;
pub mod frames;
pub mod http;
pub mod quic;
pub mod session;

pub use crate::shard::Outcome;

use crate::ingest::{Load, Loading};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use headwater::ids::{BootId, ClusterId};
use headwater::value::DataType;
use headwater::wire::{BatchFrame, Query, Refused, Resume, Resumed, SessionLimits};
use headwater_sql::source::CatalogSnapshot;
use headwater_sql::{Answer, Description, Parameter, ReadOptions, SqlError, Statement};
use std::sync::Arc;
use tokio::sync::watch;

/// The rooms behind the doors. One implementation in [`crate::server`]; tests bring their own.
pub trait Backend: Send + Sync + 'static {
    /// The newest catalog, and news of it.
    fn catalog(&self) -> watch::Receiver<Arc<CatalogSnapshot>>;

    /// Whom this hub belongs to.
    fn cluster(&self) -> ClusterId;

    /// This start of the hub.
    fn boot(&self) -> BootId;

    /// Hands a batch over that came through a door with these limits; waits for a place (back-pressure), then yields its
    /// outcomes in order.
    fn submit(
        &self,
        batch: BatchFrame,
        limits: &SessionLimits,
    ) -> BoxFuture<'static, BoxStream<'static, Outcome>>;

    /// What the hub holds of a producer.
    fn resume(&self, resume: Resume) -> BoxFuture<'static, Result<Resumed, Refused>>;

    /// Runs one statement.
    fn query(&self, query: Query) -> BoxFuture<'static, Result<Answer, SqlError>>;

    /// Runs a statement that a session has read, with values for its parameters. When `stop` ends first it answers
    /// `57014`, or, where a change is being applied by then, its outcome.
    fn run(
        &self,
        statement: Arc<Statement>,
        parameters: Vec<Parameter>,
        options: ReadOptions,
        stop: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<Answer, SqlError>> {
        let _ = (parameters, options.timeout, stop);
        self.query(Query { sql: statement.sql().into(), read_level: options.read_level, token: None })
    }

    /// Begins a load of rows: COPY, or a body of events.
    ///
    /// # Errors
    /// `42P01` and its kind when there is no such stream or column.
    fn load(&self, loading: &Loading) -> Result<Load, SqlError> {
        let _ = loading;
        Err(SqlError::new("0A000", "rows are not loaded here"))
    }

    /// What such a statement takes and answers; `declared` are types of parameters, as far as they are told.
    fn describe(
        &self,
        statement: Arc<Statement>,
        declared: Vec<Option<DataType>>,
        options: ReadOptions,
    ) -> BoxFuture<'static, Result<Description, SqlError>> {
        let _ = (statement, declared, options);
        Box::pin(async { Err(SqlError::new("0A000", "statements are not described here")) })
    }
}
