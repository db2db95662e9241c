//! Reads: the hub as SQL sees it.
//!
//! Owns: the glue between SQL's [`Source`] and the catalog and shard groups, and the hub's system tables.
//! Must not know: how groups are stored, how queries run.

pub mod system;

use crate::catalog::Catalog;
use crate::ingest::Ingest;
use crate::server::StatusSource;
use crate::shard::Shards;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use headwater::group::GroupTable;
use headwater::ids::ViewId;
use headwater_sql::SqlError;
use headwater_sql::definition::{Ddl, TableDef};
use headwater_sql::source::{
    CatalogSnapshot, Insertion, ScanRequest, Source, SystemTable, TableRows, TableWrite,
};
use std::sync::Arc;

/// The catalog and the shard groups of this hub.
pub struct HubSource {
    catalog: Catalog,
    shards: Shards,
    /// `None`: nothing is inserted here.
    ingest: Option<Ingest>,
    status: StatusSource,
}

impl HubSource {
    /// Over open rooms.
    pub fn new(catalog: Catalog, shards: Shards, status: StatusSource) -> Self {
        Self { catalog, shards, ingest: None, status }
    }

    /// With a place for rows of INSERT.
    #[must_use]
    pub(crate) fn with_ingest(self, ingest: Ingest) -> Self {
        Self { ingest: Some(ingest), ..self }
    }
}

impl Source for HubSource {
    fn catalog(&self) -> Arc<CatalogSnapshot> {
        self.catalog.snapshot()
    }

    fn scan(&self, request: ScanRequest) -> BoxStream<'static, Result<GroupTable, SqlError>> {
        self.shards.scan(request)
    }

    fn apply(&self, ddl: Ddl) -> BoxFuture<'static, Result<bool, SqlError>> {
        let catalog = self.catalog.clone();
        async move { catalog.apply(ddl).await }.boxed()
    }

    fn table(&self, table: &Arc<TableDef>) -> BoxFuture<'static, Result<Arc<TableRows>, SqlError>> {
        let (catalog, table) = (self.catalog.clone(), Arc::clone(table));
        async move { catalog.table(table).await }.boxed()
    }

    fn write_table(&self, write: TableWrite) -> BoxFuture<'static, Result<u64, SqlError>> {
        let catalog = self.catalog.clone();
        async move { catalog.write_table(write).await }.boxed()
    }

    fn expire(&self, view: ViewId) -> BoxFuture<'static, Result<u64, SqlError>> {
        let shards = self.shards.clone();
        async move { shards.expire(view).await }.boxed()
    }

    fn insert(&self, insertion: Insertion) -> BoxFuture<'static, Result<(), SqlError>> {
        let ingest = self.ingest.clone();
        async move {
            match ingest {
                Some(ingest) => ingest.insert(insertion).await,
                None => Err(SqlError::unsupported("INSERT")),
            }
        }
        .boxed()
    }

    fn flush(&self) -> BoxFuture<'static, Result<(), SqlError>> {
        let (ingest, shards) = (self.ingest.clone(), self.shards.clone());
        async move {
            if let Some(ingest) = ingest {
                ingest.flush().await?;
            }
            shards.settle().await
        }
        .boxed()
    }

    fn system_table(&self, name: &str) -> Option<SystemTable> {
        match name {
            "quarantine" => Some(system::quarantine(&self.catalog.snapshot(), &self.shards.quarantine())),
            "tables" => {
                Some(system::tables(&self.catalog.snapshot(), |table| self.catalog.table_size(table).ok()))
            }
            _ => system::table(name, || (self.status)()),
        }
    }
}
