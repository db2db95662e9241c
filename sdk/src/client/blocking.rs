//! The client for programs without a tokio runtime.

use super::{
    Client, CloseReport, ConnectError, ConnectOptions, Emitter, FlushError, QueryError, Rows, Stats,
};
use crate::schema::StreamSchema;
use crate::wire::AckLevel;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// A [`Client`] with a runtime of its own (one thread). Its methods block; emitters never do. Not for use inside
/// a tokio runtime.
#[derive(Clone, Debug)]
pub struct BlockingClient {
    client: Client,
    runtime: Arc<Runtime>,
}

impl BlockingClient {
    pub(super) fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("headwater-client")
            .enable_all()
            .build()
            .map_err(|error| ConnectError::Socket(error.to_string()))?;
        let client = runtime.block_on(Client::connect(options))?;
        Ok(Self { client, runtime: Arc::new(runtime) })
    }

    /// As [`Client::stream`].
    pub fn stream(&self, name: &str) -> Emitter {
        self.client.stream(name)
    }

    /// As [`Client::schema`].
    ///
    /// # Errors
    /// As [`Client::schema`].
    pub fn schema(&self, stream: &str) -> Result<StreamSchema, ConnectError> {
        self.runtime.block_on(self.client.schema(stream))
    }

    /// As [`Client::flush`].
    ///
    /// # Errors
    /// As [`Client::flush`].
    pub fn flush(&self, level: AckLevel) -> Result<(), FlushError> {
        self.runtime.block_on(self.client.flush(level))
    }

    /// As [`Client::query`].
    ///
    /// # Errors
    /// As [`Client::query`].
    pub fn query(&self, sql: &str) -> Result<Rows, QueryError> {
        self.runtime.block_on(self.client.query(sql))
    }

    /// As [`Client::query_as`].
    ///
    /// # Errors
    /// As [`Client::query_as`].
    pub fn query_as<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, QueryError> {
        self.runtime.block_on(self.client.query_as(sql))
    }

    /// As [`Client::stats`].
    pub fn stats(&self) -> Stats {
        self.client.stats()
    }

    /// As [`Client::close`].
    pub fn close(&self) -> CloseReport {
        self.runtime.block_on(self.client.close())
    }
}
