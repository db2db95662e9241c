//! One catalog version as DataFusion sees it: schemas `public` (views and tables), `headwater` and `pipelinedb` (system).

use super::plans::Plans;
use super::session::{CATALOG, SCHEMA};
use super::stored::StoredTable;
use super::{answer, pg, system, view};
use crate::convert::type_of_field;
use crate::definition::ViewDef;
use crate::error::SqlError;
use crate::parse::{ROWS, unhidden};
use crate::source::{CatalogSnapshot, Source};
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    TableProvider,
};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, ScalarUDF};
use headwater::schema::{ARRIVAL_TIMESTAMP, Field};
use headwater::value::DataType;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The tables of one catalog version; views are planned when they are first named.
pub(super) struct Tables {
    inner: Arc<Inner>,
    catalogs: Arc<dyn CatalogProviderList>,
    plans: Plans,
    functions: Vec<Arc<ScalarUDF>>,
}

/// What schemas share.
pub(super) struct Inner {
    catalog: Arc<CatalogSnapshot>,
    source: Arc<dyn Source>,
    base: SessionState,
    views: Mutex<HashMap<String, Arc<dyn TableProvider>>>,
    /// Columns of views, with the types that they have when they are read.
    columns: Mutex<HashMap<String, Vec<Field>>>,
    /// The rows of a statement, under [`ROWS`].
    rows: Option<Arc<MemTable>>,
}

impl Tables {
    pub(super) fn new(catalog: Arc<CatalogSnapshot>, source: Arc<dyn Source>, base: SessionState) -> Self {
        let functions = pg::functions(&catalog);
        Self::make(
            Inner { catalog, source, base, views: Mutex::default(), columns: Mutex::default(), rows: None },
            functions,
        )
    }

    /// The same, and rows of a statement under [`ROWS`], for one query of it.
    pub(super) fn with_rows(
        &self,
        fields: &[Field],
        batches: Vec<RecordBatch>,
    ) -> std::result::Result<Arc<Self>, SqlError> {
        let rows = MemTable::try_new(answer::schema_of(fields), vec![batches]);
        let rows = rows.map_err(|e| SqlError::new("XX000", e.to_string()))?;
        let Inner { catalog, source, base, .. } = &*self.inner;
        let inner = Inner {
            catalog: Arc::clone(catalog),
            source: Arc::clone(source),
            base: base.clone(),
            views: Mutex::default(),
            columns: Mutex::default(),
            rows: Some(Arc::new(rows)),
        };
        Ok(Arc::new(Self::make(inner, self.functions.clone())))
    }

    fn make(inner: Inner, functions: Vec<Arc<ScalarUDF>>) -> Self {
        let inner = Arc::new(inner);
        let schemas = MemoryCatalogProvider::new();
        let systems =
            ["headwater", "pipelinedb"].into_iter().chain(pg::SCHEMAS).map(|name| (name, Some(name)));
        for (name, system) in [(SCHEMA, None)].into_iter().chain(systems) {
            let schema = Schema { inner: Arc::clone(&inner), system };
            // Registering into a fresh in-memory catalog cannot fail.
            let _ = schemas.register_schema(name, Arc::new(schema));
        }
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(schemas));
        Self { inner, catalogs: Arc::new(catalogs), plans: Plans::default(), functions }
    }

    pub(super) fn catalog(&self) -> &Arc<CatalogSnapshot> {
        &self.inner.catalog
    }

    /// Functions about this catalog version.
    pub(super) fn functions(&self) -> &[Arc<ScalarUDF>] {
        &self.functions
    }

    /// Queries planned against these tables.
    pub(super) fn plans(&self) -> &Plans {
        &self.plans
    }

    pub(super) fn catalogs(&self) -> Arc<dyn CatalogProviderList> {
        Arc::clone(&self.catalogs)
    }

    /// The columns of a stream, view or table; `None` when there is none.
    pub(super) fn columns(&self, name: &str) -> Result<Option<Vec<Field>>> {
        self.inner.columns(name)
    }
}

impl Inner {
    pub(super) fn catalog(&self) -> &Arc<CatalogSnapshot> {
        &self.catalog
    }

    /// The columns of a stream, view or table; `None` when there is none.
    pub(super) fn columns(&self, name: &str) -> Result<Option<Vec<Field>>> {
        if let Some(stream) = self.catalog.stream(name) {
            let arrival = Field { name: ARRIVAL_TIMESTAMP.to_owned(), data_type: DataType::Timestamp };
            return Ok(Some(stream.schema.fields.iter().cloned().chain([arrival]).collect()));
        }
        if let Some(table) = self.catalog.table(name) {
            return Ok(Some(table.fields()));
        }
        let Some(def) = self.catalog.view(name) else { return Ok(None) };
        let mut columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(columns) = columns.get(name) {
            return Ok(Some(columns.clone()));
        }
        let plan = typed(def, &self.source, &self.base)?;
        let fields = plan.schema().fields().iter();
        let fields: Vec<_> =
            fields.map(|f| Field { name: f.name().clone(), data_type: type_of_field(f) }).collect();
        columns.insert(name.to_owned(), fields.clone());
        Ok(Some(fields))
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("version", &self.catalog.version).finish_non_exhaustive()
    }
}

impl Inner {
    fn view(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(def) = self.catalog.view(name) else { return Ok(None) };
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = views.get(name) {
            return Ok(Some(Arc::clone(view)));
        }
        let plan = view::plan(def, &self.source, &self.base)?;
        let view: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, Some(def.query.clone())));
        views.insert(name.to_owned(), Arc::clone(&view));
        Ok(Some(view))
    }

    /// A table by its name, or by the one under which it shows its rows.
    fn stored(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        if let Some(rows) = self.rows.as_ref().filter(|_| name == ROWS) {
            return Some(Arc::<MemTable>::clone(rows));
        }
        let (name, with_rows) = unhidden(name).map_or((name, false), |name| (name, true));
        let def = self.catalog.table(name)?;
        Some(Arc::new(StoredTable::new(Arc::clone(def), Arc::clone(&self.source), with_rows)))
    }

    fn system(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let table = match system::table(schema, name, &self.catalog) {
            Some(table) => table,
            None if pg::SCHEMAS.contains(&schema) => match pg::table(schema, name, self)? {
                Some(table) => table,
                None => return Ok(None),
            },
            None => match self.source.system_table(name).filter(|_| schema == "headwater") {
                Some(table) => table,
                None => return Ok(None),
            },
        };
        let external = |e| DataFusionError::External(Box::new(e));
        let batch = answer::batch_of(&table.columns, &table.rows).map_err(external)?;
        Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
    }
}

/// Plans and type-checks a view's select list before the view exists.
pub(super) fn check_view(def: &ViewDef, source: &Arc<dyn Source>, base: &SessionState) -> Result<()> {
    typed(&Arc::new(def.clone()), source, base).map(drop)
}

/// The plan behind a view's name with the types that its columns have when they are read.
fn typed(def: &Arc<ViewDef>, source: &Arc<dyn Source>, base: &SessionState) -> Result<LogicalPlan> {
    let plan = view::plan(def, source, base)?;
    base.analyzer().execute_and_check(plan, base.config_options(), |_, _| {})
}

#[derive(Debug)]
struct Schema {
    inner: Arc<Inner>,
    system: Option<&'static str>,
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        match self.system {
            None => {
                let catalog = &self.inner.catalog;
                let tables = catalog.tables.iter().map(|t| t.name.clone());
                catalog.views.iter().map(|v| v.name.clone()).chain(tables).collect()
            }
            Some(schema) if pg::SCHEMAS.contains(&schema) => pg::names(schema),
            Some(_) => system::NAMES.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.system {
            None => match self.inner.view(name)? {
                Some(view) => Ok(Some(view)),
                None => match self.inner.stored(name) {
                    // As if pg_catalog were in the search path.
                    None if name.starts_with("pg_") => self.inner.system("pg_catalog", name),
                    table => Ok(table),
                },
            },
            Some(schema) => self.inner.system(schema, name),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        match self.system {
            None => {
                let is_pg =
                    name.starts_with("pg_") && pg::names("pg_catalog").iter().any(|known| known == name);
                let table = unhidden(name).unwrap_or(name);
                (name == ROWS && self.inner.rows.is_some())
                    || self.inner.catalog.view(name).is_some()
                    || self.inner.catalog.table(table).is_some()
                    || is_pg
            }
            Some(schema) if pg::SCHEMAS.contains(&schema) => {
                pg::names(schema).iter().any(|known| known == name)
            }
            Some(schema) => {
                system::table(schema, name, &self.inner.catalog).is_some()
                    || self.inner.source.system_table(name).is_some()
            }
        }
    }
}
