//! Statements in, answers out: planning, limits and the life of one query.
//!
//! Owns: the DataFusion session, one query's thread, memory and deadline. Must not know: where groups come from
//! ([`Source`]), how answers cross a wire.
//! Invariants: a query sees one catalog version and one version of each table; nothing but a [`Source`] is ever read or
//! changed (no files, no tables of DataFusion's own); every limit ends a query with an error, never with a shorter answer.

mod agreeing;
mod answer;

mod arrays;
mod bytes;
mod canonical;
mod casts;
mod change;
mod checked;
mod clauses;
mod collected;
mod combine;
mod datasketches;
mod describing;
mod exact;
mod expansion;
mod explain;
mod exports;
mod expression;
mod failure;
mod families;
mod forms;
mod frames;
mod growth;
mod guard;
mod guarded;
mod insert;
mod intervals;
mod limited;
mod literals;
mod merge;
mod merged;
mod micros;
mod names;
mod nulls;
mod operands;
mod operators;
mod own;
mod parameters;
mod patterns;
mod pg;
mod planned;
mod plans;
mod postgres;
mod quotient;
mod range;
mod records;
mod regexes;
mod returning;
mod rounding;
mod running;
mod scan;
mod series;
mod session;
mod setops;
mod sizes;
mod sketch;
mod states;
mod stored;
mod sums;
mod system;
mod tables;
mod times;
mod unions;
mod view;
mod walk;
mod watched;
mod wildcards;
mod wrapper;

pub use answer::{Answer, Found, Rows, Skipped, batch_of, rows_of};
pub use arrays::array_items;
pub use change::TableWriter;
pub use describing::Description;
pub use insert::{TableTarget, WriteTarget, columns_of, unknown_column};
pub use parameters::{PARAMETERS_MAX, Parameter, ParameterValue};

use crate::compile::compile;
use crate::definition::{Ddl, ViewChange};
use crate::error::SqlError;
use crate::parse::{AlterAction, AlterView, Call, CallName, Explain, Statement, StatementKind, parse};
use crate::source::{CatalogSnapshot, Source};
use crate::text::Text;
use datafusion::common::DataFusionError;
use datafusion::common::format::ExplainStatementOptions;
use datafusion::execution::SessionState;
use datafusion::execution::TaskContext;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::{ExplainStatement, Statement as DfStatement};
use datafusion::sql::sqlparser::ast;
use futures::FutureExt;
use futures::future::BoxFuture;
use guard::Guard;
use headwater::schema::Field;
use headwater::value::{DataType, Value};
use headwater::wire::ReadLevel;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tables::Tables;
use tokio::sync::Semaphore;

/// Limits of statements. The worst case of all of them together is `concurrent_max` times `memory_bytes_max`, plus
/// two batches per statement that are on their way.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// A statement that takes longer, waiting and planning included, ends with `57014`. Default 5 s; a longer one
    /// keeps a read transaction open, which makes the store's file grow.
    pub timeout: Duration,
    /// Statements that run at a time, each on a thread of its own; more wait, and end with `53300` when their
    /// timeout comes first. Default 16. A thread that cannot be stopped at once keeps its place until it ends.
    pub concurrent_max: usize,
    /// Bytes a query may hold in operators, scanned groups and results of functions; more end it with `53200`.
    /// Default 64 MiB.
    pub memory_bytes_max: usize,
    /// Bytes of one text, bytea or list that a function may make; more end the query with `53200`. Default 1 MiB.
    /// Operators copy batches of such values without accounting: 64 of them is what they may hold besides.
    pub value_bytes_max: usize,
    /// Tables and SELECTs that a query may stand for when every CTE and view is counted as often as it is named;
    /// more are refused with `54001`. Default 1,000: about a second of planning.
    pub plan_nodes_max: usize,
    /// Rows a query may return; more end it with `54000`. Default 1,000,000.
    pub rows_max: u64,
    /// Rows per batch. Default 8,192; smaller batches cost time, larger ones memory.
    pub batch_rows: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            concurrent_max: 16,
            memory_bytes_max: 64 << 20,
            value_bytes_max: 1 << 20,
            plan_nodes_max: 1_000,
            rows_max: 1_000_000,
            batch_rows: 8_192,
        }
    }
}

/// What a reader chooses per query.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Which states to merge.
    pub read_level: ReadLevel,
    /// How long the statement may take, where that is less than [`EngineOptions::timeout`].
    pub timeout: Option<Duration>,
}

/// Executes SQL against a [`Source`]. Cheap to share; one per hub.
pub struct Engine {
    core: Arc<Core>,
}

/// What the threads of statements share.
struct Core {
    source: Arc<dyn Source>,
    options: EngineOptions,
    base: SessionState,
    tables: Mutex<Option<Arc<Tables>>>,
    /// One per statement that may run at a time.
    places: Arc<Semaphore>,
    /// Whose turn it is to write to tables.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Engine {
    /// An engine over a hub.
    pub fn new(source: Arc<dyn Source>, options: EngineOptions) -> Self {
        let base = session::base_state(options.batch_rows);
        let places = Arc::new(Semaphore::new(options.concurrent_max.clamp(1, Semaphore::MAX_PERMITS)));
        let (tables, writing) = (Mutex::new(None), Arc::default());
        Self { core: Arc::new(Core { source, options, base, tables, places, writing }) }
    }

    /// Executes a statement. A text without one answers with an empty tag. Runs on a thread of its own; the caller, who must be in a Tokio runtime with
    /// time, only waits, and no longer than [`EngineOptions::timeout`]. Dropping the future or the answer stops it.
    ///
    /// # Errors
    /// Everything that parsing, [`compile`] and queries refuse; a text of several statements (`42601`). Errors that come up while rows are read are in the answer's batches.
    pub async fn execute(&self, sql: &str, options: ReadOptions) -> Result<Answer, SqlError> {
        let never = futures::future::pending().boxed();
        running::execute(&self.core, running::Work::Text(sql.to_owned()), options, never).await
    }

    /// Executes a statement that was read before, with values for its parameters. Otherwise as [`Engine::execute`].
    ///
    /// # Errors
    /// The same; `42P02` when a parameter has no value.
    pub async fn execute_statement(
        &self,
        statement: Arc<Statement>,
        parameters: Vec<Parameter>,
        options: ReadOptions,
    ) -> Result<Answer, SqlError> {
        let never = futures::future::pending().boxed();
        self.execute_until(never, statement, parameters, options).await
    }

    /// As [`Engine::execute_statement`], and ends with `57014` when `stop` does before the answer begins. A statement
    /// whose change is being applied by then answers its outcome instead: it cannot be undone.
    ///
    /// # Errors
    /// The same; `57014` when it was stopped.
    pub async fn execute_until(
        &self,
        stop: BoxFuture<'static, ()>,
        statement: Arc<Statement>,
        parameters: Vec<Parameter>,
        options: ReadOptions,
    ) -> Result<Answer, SqlError> {
        running::execute(&self.core, running::Work::Statement(statement, parameters), options, stop).await
    }

    /// What writes rows to tables that come from elsewhere than statements.
    pub fn table_writer(&self) -> TableWriter {
        TableWriter::new(Arc::clone(&self.core))
    }

    /// What a statement takes and answers. `declared`: types of its parameters, as far as they are known.
    ///
    /// # Errors
    /// Everything that planning refuses.
    pub async fn describe(
        &self,
        statement: Arc<Statement>,
        declared: Vec<Option<DataType>>,
        options: ReadOptions,
    ) -> Result<Description, SqlError> {
        running::describe(&self.core, running::Work::Describe(statement, declared), options).await
    }
}

impl Core {
    /// On the statement's own thread.
    async fn execute(&self, sql: &str, options: ReadOptions, guard: &Arc<Guard>) -> Result<Answer, SqlError> {
        let statements = parse(sql)?;
        match statements.as_slice() {
            [] => Ok(Answer::command("")),
            [statement] => self.run(statement, &[], options, guard).await,
            [_, second, ..] => Err(second.not_alone()),
        }
    }

    async fn run(
        &self,
        statement: &Statement,
        parameters: &[Parameter],
        options: ReadOptions,
        guard: &Arc<Guard>,
    ) -> Result<Answer, SqlError> {
        let tables = self.tables();
        match &statement.kind {
            StatementKind::Query { query, explain } => {
                self.query(statement, (query, *explain), parameters, &tables, (options, guard))
            }
            StatementKind::Insert(insert) => {
                self.insert(statement, insert, parameters, &tables, (options, guard)).await
            }
            StatementKind::Copy(_) | StatementKind::CopyFrom(_) | StatementKind::Session(_) => {
                Err(statement.needs_session())
            }
            StatementKind::Show(show) => system::show(*show, tables.catalog()),
            StatementKind::Describe(name) => self.describe(name, &tables),
            StatementKind::ExplainView(name) => self.explain_view(name, tables.catalog(), guard).await,
            StatementKind::CreateTable(create) if let Some(query) = &create.query => {
                let running = change::Running { statement, parameters, tables: &tables, options, guard };
                self.create_filled((create, query), running).await
            }
            StatementKind::Change(change) => {
                let running = change::Running { statement, parameters, tables: &tables, options, guard };
                self.change(change, running).await
            }
            StatementKind::AlterView(AlterView { name, action: AlterAction::Truncate, .. })
                if let Some(table) = tables.catalog().table(&name.name) =>
            {
                self.truncate(table, guard).await
            }
            StatementKind::Call(call) => self.call(statement, call, tables.catalog(), guard).await,
            _ => self.define(statement, tables.catalog(), guard).await,
        }
    }

    /// The tables of the newest catalog; made anew when it changed.
    fn tables(&self) -> Arc<Tables> {
        let catalog = self.source.catalog();
        let mut slot = self.tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match slot.as_ref() {
            Some(tables) if tables.catalog().version == catalog.version => Arc::clone(tables),
            _ => {
                let tables = Arc::new(Tables::new(catalog, Arc::clone(&self.source), self.base.clone()));
                *slot = Some(Arc::clone(&tables));
                tables
            }
        }
    }

    async fn define(
        &self,
        statement: &Statement,
        catalog: &CatalogSnapshot,
        guard: &Guard,
    ) -> Result<Answer, SqlError> {
        let Some(ddl) = compile(statement, catalog)? else {
            return Err(SqlError::unsupported("this statement"));
        };
        if let Ddl::CreateView { def, .. }
        | Ddl::AlterView { change: ViewChange::Replace(def) | ViewChange::Extend { def, .. }, .. } = &ddl
        {
            statement
                .with_stack(|| tables::check_view(def, &self.source, &self.base))
                .map_err(|e| failure::from_datafusion(e, &statement.text).at(statement.query_position()))?;
        }
        let tag = match &statement.kind {
            StatementKind::DropView(drop) if drop.is_transform == Some(true) => "DROP CONTINUOUS TRANSFORM",
            _ => ddl.tag(),
        };
        let there = skipped(&ddl, catalog);
        let changed = self.apply(guard, |source| source.apply(ddl)).await?;
        let notice = there.filter(|_| !changed);
        Ok(Answer { notice, ..Answer::command(tag) })
    }

    /// Changes something, in a task of the hub's: a reader that goes away does not stop it half way.
    async fn apply<T: Send + 'static>(
        &self,
        guard: &Guard,
        change: impl FnOnce(&dyn Source) -> BoxFuture<'static, Result<T, SqlError>>,
    ) -> Result<T, SqlError> {
        let change = change(self.source.as_ref());
        // Until its answer is there: what came between would be told as a statement that did nothing.
        if !guard.begin_applying() {
            return Err(guard::timeout());
        }
        let applied = guard.hub.spawn(change).await;
        applied.map_err(|_| SqlError::new("XX000", "the change could not be applied"))?
    }

    /// `SELECT activate('view')` and its kind: a row that tells what was done.
    async fn call(
        &self,
        statement: &Statement,
        call: &Call,
        catalog: &CatalogSnapshot,
        guard: &Guard,
    ) -> Result<Answer, SqlError> {
        if call.function == CallName::Flush {
            self.apply(guard, |source| source.flush()).await?;
            let field = Field { name: call.name.clone(), data_type: DataType::Bool };
            return Answer::values("SELECT", vec![field], &[vec![Value::Bool(true)]]);
        }
        let (data_type, value) = match compile(statement, catalog)? {
            Some(ddl) => {
                let changed = self.apply(guard, |source| source.apply(ddl)).await?;
                (DataType::Bool, Value::Bool(changed))
            }
            None => {
                let view = catalog.view(&call.view.name).map(|view| view.id).unwrap_or_default();
                let rows = self.apply(guard, |source| source.expire(view)).await?;
                (DataType::Int64, Value::Int(i64::try_from(rows).unwrap_or(i64::MAX)))
            }
        };
        Answer::values("SELECT", vec![Field { name: call.name.clone(), data_type }], &[vec![value]])
    }

    async fn explain_view(
        &self,
        name: &crate::parse::Name,
        catalog: &CatalogSnapshot,
        guard: &Guard,
    ) -> Result<Answer, SqlError> {
        let def = catalog.view(&name.name).ok_or_else(|| crate::compile::missing_view(name, catalog))?;
        let measured = explain::Sizes::measure(Arc::clone(def), Arc::clone(&self.source));
        let sizes = guard.hub.spawn(measured).await;
        explain::view(
            def,
            catalog,
            &sizes.map_err(|_| SqlError::new("XX000", "the view could not be read"))??,
        )
    }

    fn describe(&self, name: &crate::parse::Name, tables: &Tables) -> Result<Answer, SqlError> {
        let columns = tables.columns(&name.name).map_err(|e| failure::from_datafusion(e, &Text::new("")))?;
        match columns {
            Some(columns) => system::describe(&columns),
            None => Err(failure::unknown_relation(&name.name, tables.catalog()).at(name.position)),
        }
    }

    fn query(
        &self,
        statement: &Statement,
        (query, explain): (&ast::Query, Option<Explain>),
        parameters: &[Parameter],
        tables: &Arc<Tables>,
        (options, guard): (ReadOptions, &Arc<Guard>),
    ) -> Result<Answer, SqlError> {
        let text = &statement.text;
        let fail = |error| failure::from_datafusion(error, text).with_catalog_hint(tables.catalog());
        let nodes_max = self.options.plan_nodes_max;
        let prepared = statement.with_stack(|| {
            if parameters.is_empty() {
                return self.checked(query, statement, session::Placeholders::Refused);
            }
            let values: Vec<_> = parameters.iter().cloned().map(Some).collect();
            let bound = parameters::bind(query, &values, text)?;
            self.checked(&bound, statement, session::Placeholders::Refused)
        });
        let prepared = df_statement(prepared?, explain);
        let planned = tables.plans().get_or_plan(statement.sql(), parameters, options, || {
            let state = self.state(tables, options);
            statement.with_stack(|| plan(&state, prepared, nodes_max))
        });
        let planned = planned.map_err(fail)?;
        let batch_rows = watched::batch_rows(&planned, &self.options).map_err(fail)?;
        let stream = execute_stream(planned, self.task(guard, batch_rows)).map_err(fail)?;
        let tag = if explain.is_none() { "SELECT" } else { "EXPLAIN" };
        let named = explain.is_none().then_some(query);
        Ok(Answer::rows(tag, stream, named, (text.clone(), self.options.rows_max)))
    }

    /// A session for one query: its clock starts now.
    fn state(&self, tables: &Arc<Tables>, options: ReadOptions) -> SessionState {
        use datafusion::execution::FunctionRegistry;
        let mut state = self.base.clone();
        for function in tables.functions() {
            // Registration fails only for planners that refuse it; the default one does not.
            let _ = state.register_udf(Arc::clone(function));
        }
        state.mark_start_execution();
        state.register_catalog_list(tables.catalogs());
        state.config_mut().set_extension(Arc::new(options));
        state
    }

    /// What a running plan needs. Functions are in the plan itself.
    fn task(&self, guard: &Guard, batch_rows: usize) -> Arc<TaskContext> {
        let now = Arc::new(scan::Now(self.source.now()));
        let config = self.base.config().clone().with_batch_size(batch_rows).with_extension(now);
        let none = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        let id = self.base.session_id().to_owned();
        Arc::new(TaskContext::new(None, id, config, none.0, none.1, none.2, none.3, self.runtime(guard)))
    }

    /// Memory of one query: its own pool, and no spilling to disk.
    fn runtime(&self, guard: &Guard) -> Arc<RuntimeEnv> {
        let pool = Arc::clone(guard.pool());
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime =
            RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk).build_arc();
        runtime.unwrap_or_else(|_| Arc::clone(self.base.runtime_env()))
    }
}

/// The highest number of a parameter in a query.
pub(crate) fn count_parameters(query: &ast::Query, text: &Text) -> usize {
    // Numbers that there cannot be are told when the statement is described or run.
    parameters::count(query, text).unwrap_or(0)
}

/// A query's physical plan. Planning is asynchronous only for tables that have to be fetched: ours are here, so it
/// never waits and can run on a stack of its own.
fn plan(
    state: &SessionState,
    statement: DfStatement,
    nodes_max: usize,
) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
    let waited = || DataFusionError::Internal("planning had to wait".to_owned());
    let plan = state.statement_to_plan(statement).now_or_never().ok_or_else(waited)??;
    read_only().verify_plan(&plan)?;
    expansion::check_plan(&plan, nodes_max)?;
    let plan = exports::rewrite(combine::rewrite(plan)?)?;
    let plan = guarded::guard(state.optimize(&plan)?)?;
    let planned = state.query_planner().create_physical_plan(&plan, state).now_or_never();
    watched::watch(planned.ok_or_else(waited)??)
}

fn df_statement(query: ast::Query, explain: Option<Explain>) -> DfStatement {
    let statement = DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
    match explain {
        None => statement,
        Some(Explain { analyze, verbose }) => {
            let options = ExplainStatementOptions { analyze, verbose, ..ExplainStatementOptions::default() };
            DfStatement::Explain(ExplainStatement { options, statement: Box::new(statement) })
        }
    }
}

fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// What CREATE ... IF NOT EXISTS finds, and DROP ... IF EXISTS does not.
fn skipped(ddl: &Ddl, catalog: &CatalogSnapshot) -> Option<Skipped> {
    let found = |differs| if differs { Found::Other } else { Found::Same };
    let (name, found) = match ddl {
        Ddl::CreateStream { def, if_not_exists: true } => {
            let there = catalog.stream(&def.schema.name)?;
            (&def.schema.name, found(there.schema.fields != def.schema.fields))
        }
        Ddl::CreateView { def, if_not_exists: true } => {
            let there = catalog.view(&def.name).or_else(|| catalog.transform(&def.name))?;
            (&def.name, found(!there.is_same_view(def)))
        }
        Ddl::CreateTable { def, if_not_exists: true } => {
            let there = catalog.table(&def.name)?;
            (&def.name, found((&there.columns, &there.key) != (&def.columns, &def.key)))
        }
        Ddl::DropStream { name, if_exists: true, .. }
        | Ddl::DropView { name, if_exists: true }
        | Ddl::DropViewCascade { name, if_exists: true }
        | Ddl::DropTable { name, if_exists: true } => (name, Found::Nothing),
        _ => return None,
    };
    Some(Skipped { name: name.clone(), found })
}
