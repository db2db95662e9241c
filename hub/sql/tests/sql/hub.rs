//! A hub in memory: a catalog, the sdk's rollup, and one table of groups per view.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use headwater::emit::EventBuffer;
use headwater::group::GroupTable;
use headwater::ids::{CatalogVersion, Micros, StreamId, ViewId};
use headwater::rollup::{Rollup, RollupOptions};
use headwater::schema::Field;
use headwater::value::column::ColumnBatch;
use headwater::value::{DataType, Value};
use headwater_sql::chain::Chains;
use headwater_sql::definition::{Attribute, Ddl, StreamDef, TableDef, TableId, ViewChange, ViewDef};
use headwater_sql::source::{
    CatalogSnapshot, Insertion, ROW_COLUMN, Removed, ScanRequest, Source, TableRows, TableWrite,
};
use headwater_sql::{Engine, EngineOptions, ReadOptions, Rows, SqlError, batch_of, rows_of};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Groups per chunk of a scan: small, so that answers are made of several.
const CHUNK: usize = 3;

/// The hub's state; shared by the source and the test.
#[derive(Default)]
pub struct Hub {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    catalog: Arc<CatalogSnapshot>,
    next_id: u32,
    groups: BTreeMap<ViewId, GroupTable>,
    tables: BTreeMap<TableId, Table>,
    events: BTreeMap<StreamId, Vec<ColumnBatch>>,
    scanned: usize,
    /// Where the clock stands, once it is set.
    now: Option<Micros>,
}

impl Hub {
    /// A hub and an engine over it.
    pub fn start() -> (Arc<Self>, Engine) {
        Self::start_with(EngineOptions::default())
    }

    pub fn start_with(options: EngineOptions) -> (Arc<Self>, Engine) {
        let hub = Arc::new(Self::default());
        let engine = Engine::new(Arc::new(Handle(Arc::clone(&hub))), options);
        (hub, engine)
    }

    pub fn stream(&self, name: &str) -> Arc<StreamDef> {
        let catalog = Arc::clone(&self.inner.lock().expect("lock").catalog);
        Arc::clone(catalog.stream(name).unwrap_or_else(|| panic!("no stream {name}")))
    }

    /// Sends events of `columns` through the rollup, in flushes of `flush` rows.
    pub fn push(&self, stream: &str, columns: &[&str], rows: &[Vec<Value>], flush: usize) {
        let def = self.stream(stream);
        for (at, rows) in rows.chunks(flush).enumerate() {
            let mut buffer = EventBuffer::new(def.schema.clone());
            for (n, row) in rows.iter().enumerate() {
                let mut values: Vec<(&str, Value)> =
                    columns.iter().copied().zip(row.iter().cloned()).collect();
                let arrival = values
                    .iter()
                    .position(|(name, _)| *name == "arrival_timestamp")
                    .map(|at| values.remove(at).1);
                let arrival = match arrival {
                    Some(Value::Int(micros)) => Micros(micros),
                    _ => Micros((at * flush + n) as i64 * 1_000_000),
                };
                buffer.push_values(&values, arrival).unwrap_or_else(|e| panic!("{row:?}: {e}"));
            }
            self.push_batch(&def, buffer.batch());
        }
    }

    pub fn push_batch(&self, def: &StreamDef, batch: &ColumnBatch) {
        let mut inner = self.inner.lock().expect("lock");
        let plans = inner.catalog.plans_of(def.schema.id);
        let mut rollup = Rollup::new(def.schema.clone(), RollupOptions::default());
        assert!(rollup.set_plans(def.schema.clone(), plans).is_empty(), "plans are refused");
        rollup.push(batch);
        for partials in rollup.drain() {
            inner.merge(partials.view, &partials.table);
        }
        inner.events.entry(def.schema.id).or_default().push(batch.clone());
    }

    /// All events of a stream, as they were pushed.
    pub fn events(&self, stream: &str) -> Vec<ColumnBatch> {
        let id = self.stream(stream).schema.id;
        self.inner.lock().expect("lock").events.get(&id).cloned().unwrap_or_default()
    }

    /// Sets the clock, which then stands still.
    pub fn set_now(&self, now: Micros) {
        self.inner.lock().expect("lock").now = Some(now);
    }

    /// Groups handed out by scans so far.
    pub fn scanned(&self) -> usize {
        self.inner.lock().expect("lock").scanned
    }
}

impl Inner {
    fn change(&mut self, change: impl FnOnce(&mut CatalogSnapshot)) {
        let mut catalog = CatalogSnapshot::clone(&self.catalog);
        change(&mut catalog);
        catalog.version = CatalogVersion(catalog.version.0 + 1);
        self.catalog = Arc::new(catalog);
    }

    /// Merges partials into a view as a fold does, and what that changes into the views that read its output.
    fn merge(&mut self, view: ViewId, table: &GroupTable) {
        let Some(mut groups) = self.groups.remove(&view) else { return };
        let views = &self.catalog.views;
        let def = views.iter().find(|v| v.id == view).expect("a view with groups");
        let chains = Chains::of(def, views).map(Arc::new);
        let mut changes = chains.map(|chains| chains.changes(self.now.unwrap_or(Micros(0)), 1_024));
        for keys in table.sorted().chunks(CHUNK) {
            let Some(changes) = &mut changes else {
                for group in keys {
                    groups.merge_group(table.key(*group), table, *group);
                }
                continue;
            };
            changes.begin();
            for group in keys {
                let key = table.key(*group);
                changes.before(&groups, groups.find(key));
                groups.merge_group(key, table, *group);
                changes.delta().merge_group(key, table, *group);
                changes.after(key, &groups);
            }
            changes.evaluate();
            changes.keep();
        }
        self.groups.insert(view, groups);
        for partials in changes.into_iter().flat_map(|changes| changes.into_partials()) {
            self.merge(partials.view, &partials.table);
        }
    }

    fn is_view(&self, name: &str) -> bool {
        self.catalog.view(name).is_some() || self.catalog.transform(name).is_some()
    }

    /// Drops views, and those that read their output.
    fn drop_views(&mut self, dropped: impl Fn(&ViewDef) -> bool) {
        let all = self.catalog.views.iter().chain(&self.catalog.transforms);
        let gone: Vec<ViewId> = all.filter(|v| dropped(v)).map(|v| v.id).collect();
        let chained = gone.iter().flat_map(|view| self.catalog.dependants(*view)).map(|v| v.id);
        let gone: Vec<ViewId> = gone.iter().copied().chain(chained).collect();
        self.groups.retain(|view, _| !gone.contains(view));
        self.change(|c| {
            c.views.retain(|v| !gone.contains(&v.id));
            c.transforms.retain(|v| !gone.contains(&v.id));
        });
    }

    fn apply(&mut self, ddl: Ddl) -> bool {
        self.next_id += 1;
        let id = self.next_id;
        match ddl {
            Ddl::CreateStream { def, .. } if self.catalog.stream(&def.schema.name).is_some() => return false,
            Ddl::CreateStream { mut def, .. } => {
                def.schema.id = StreamId(id);
                self.change(|c| c.streams.push(Arc::new(def)));
            }
            Ddl::CreateView { def, .. } if self.is_view(&def.name) => return false,
            Ddl::CreateView { mut def, .. } => {
                def.id = ViewId(id);
                def.plan.view = ViewId(id);
                if def.transform().is_some() {
                    self.change(|c| c.transforms.push(Arc::from(def)));
                    return true;
                }
                self.groups.insert(ViewId(id), GroupTable::try_new(&def.specs()).expect("supported"));
                self.change(|c| c.views.push(Arc::from(def)));
            }
            Ddl::DropView { name, .. } | Ddl::DropViewCascade { name, .. } => {
                self.drop_views(|view| view.name == name);
            }
            Ddl::DropStream { name, .. } => {
                let id = self.catalog.stream(&name).map(|s| s.schema.id);
                self.drop_views(|view| {
                    let feeds = |id| view.transform().is_some_and(|targets| targets.contains(&id));
                    Some(view.plan.stream) == id || id.is_some_and(feeds)
                });
                self.change(|c| c.streams.retain(|s| s.schema.name != name));
            }
            Ddl::CreateTable { def, .. } if self.catalog.table(&def.name).is_some() => return false,
            Ddl::CreateTable { mut def, .. } => {
                def.id = TableId(id);
                self.tables.insert(TableId(id), Table::default());
                self.change(|c| c.tables.push(Arc::new(def)));
            }
            Ddl::DropTable { name, .. } => self.change(|c| c.tables.retain(|t| t.name != name)),
            Ddl::AlterView { view: Some(view), change } => return self.alter(view, change),
            Ddl::AlterView { view: None, .. } => return false,
            other => panic!("unknown change {other:?}"),
        }
        true
    }

    fn alter(&mut self, view: ViewId, change: ViewChange) -> bool {
        if let Some(at) = self.catalog.transforms.iter().position(|t| t.id == view) {
            let mut def = ViewDef::clone(&self.catalog.transforms[at]);
            let changed = match change {
                ViewChange::Rename(name) => {
                    def.name = name;
                    true
                }
                ViewChange::Active(active) => def.set_active(active),
                other => panic!("unknown change of a transform {other:?}"),
            };
            self.change(|c| c.transforms[at] = Arc::new(def));
            return changed;
        }
        let Some(at) = self.catalog.views.iter().position(|v| v.id == view) else { panic!("no view {view}") };
        let mut def = ViewDef::clone(&self.catalog.views[at]);
        match change {
            ViewChange::Rename(name) => def.name = name,
            ViewChange::Options { options, groups_max, query, .. } => {
                def.options = options;
                def.plan.groups_max = groups_max;
                def.query = query.unwrap_or(def.query);
            }
            ViewChange::Active(active) => {
                if !def.set_active(active) {
                    return false;
                }
            }
            ViewChange::Truncate { .. } => self.begin_anew(&mut def),
            ViewChange::Replace(new) => {
                def = *new;
                self.begin_anew(&mut def);
            }
            ViewChange::Extend { def: extended, since, .. } => {
                def.extend(*extended, since);
                let mut wide = GroupTable::try_new(&def.specs()).expect("supported");
                wide.merge_table(&self.groups.remove(&def.id).expect("a view with groups"));
                self.groups.insert(def.id, wide);
            }
            other => panic!("unknown change {other:?}"),
        }
        self.change(|c| c.views[at] = Arc::new(def));
        true
    }

    fn begin_anew(&mut self, def: &mut ViewDef) {
        self.groups.remove(&def.id);
        let before = std::mem::replace(&mut def.id, ViewId(self.next_id));
        let now = def.id;
        self.change(|c| {
            for view in &mut c.views {
                let chained = Arc::make_mut(view).attributes.iter_mut();
                for attribute in chained {
                    if let Attribute::Chained(chained) = attribute
                        && chained.source == before
                    {
                        chained.source = now;
                    }
                }
            }
        });
        def.plan.view = def.id;
        self.groups.insert(def.id, GroupTable::try_new(&def.specs()).expect("supported"));
    }

    fn scan(&mut self, request: &ScanRequest) -> Vec<GroupTable> {
        let Some(groups) = self.groups.get(&request.view.id) else { return Vec::new() };
        let specs = request.view.specs();
        let wanted = |key: &[u8]| {
            key >= request.key_min.as_slice() && request.key_max.as_deref().is_none_or(|max| key < max)
        };
        let wanted: Vec<u32> = groups.sorted().into_iter().filter(|g| wanted(groups.key(*g))).collect();
        let chunk = |ids: &[u32]| {
            let mut table = GroupTable::new(&specs);
            ids.iter().for_each(|g| {
                table.merge_group(groups.key(*g), groups, *g);
            });
            table
        };
        let chunks = wanted.chunks(CHUNK).map(chunk).collect();
        self.scanned += wanted.len();
        chunks
    }
}

/// Rows by their number; it stands for the hub's store, whose own tests are the hub's.
#[derive(Default)]
struct Table {
    version: u64,
    next: u64,
    rows: BTreeMap<u64, Vec<Value>>,
}

impl Inner {
    fn table(&self, def: &TableDef) -> TableRows {
        let table = &self.tables[&def.id];
        let mut fields = def.fields();
        fields.push(Field { name: ROW_COLUMN.into(), data_type: DataType::Bytea });
        let rows: Vec<Vec<Value>> = table
            .rows
            .iter()
            .map(|(number, row)| {
                let mut row = row.clone();
                row.push(Value::Bytes(number.to_be_bytes().to_vec()));
                row
            })
            .collect();
        let batches = rows.chunks(CHUNK).map(|rows| batch_of(&fields, rows).expect("batch")).collect();
        TableRows { version: table.version, batches }
    }

    fn write_table(&mut self, write: TableWrite) -> Result<u64, SqlError> {
        let mut def = write.table;
        if write.create.is_some() {
            let ddl = Ddl::CreateTable { def: TableDef::clone(&def), if_not_exists: false };
            assert!(self.apply(ddl), "the engine looks first");
            def = Arc::clone(self.catalog.table(&def.name).expect("table"));
        }
        let table = self.tables.get_mut(&def.id).expect("table");
        assert!(write.expected.is_none_or(|expected| expected == table.version), "nobody else writes");
        let mut rows = table.rows.clone();
        match write.removed {
            Removed::All => rows.clear(),
            Removed::Rows(gone) => gone.iter().for_each(|row| {
                let number = u64::from_be_bytes(row.as_slice().try_into().expect("a number"));
                assert!(rows.remove(&number).is_some(), "a row that was read");
            }),
        }
        let key = |row: &[Value]| -> Vec<Value> {
            def.key.iter().map(|at| row[usize::from(*at)].clone()).collect()
        };
        let mut added = 0;
        for row in write.added.iter().flat_map(|batch| rows_of(batch, &def.fields()).expect("rows")) {
            assert!(row.iter().zip(&def.columns).all(|(v, c)| v.fits(&c.field.data_type)), "{row:?}");
            if !def.key.is_empty() && rows.values().any(|other| key(other) == key(&row)) {
                if write.skip_duplicates {
                    continue;
                }
                return Err(SqlError::new("23505", "duplicate key value"));
            }
            rows.insert(table.next, row);
            table.next += 1;
            added += 1;
        }
        table.rows = rows;
        table.version += 1;
        Ok(added)
    }
}

struct Handle(Arc<Hub>);

impl Source for Handle {
    fn catalog(&self) -> Arc<CatalogSnapshot> {
        Arc::clone(&self.0.inner.lock().expect("lock").catalog)
    }

    fn scan(&self, request: ScanRequest) -> BoxStream<'static, Result<GroupTable, SqlError>> {
        let chunks = self.0.inner.lock().expect("lock").scan(&request);
        futures::stream::iter(chunks.into_iter().map(Ok)).boxed()
    }

    fn table(&self, table: &Arc<TableDef>) -> BoxFuture<'static, Result<Arc<TableRows>, SqlError>> {
        let rows = self.0.inner.lock().expect("lock").table(table);
        Box::pin(async move { Ok(Arc::new(rows)) })
    }

    fn write_table(&self, write: TableWrite) -> BoxFuture<'static, Result<u64, SqlError>> {
        let written = self.0.inner.lock().expect("lock").write_table(write);
        Box::pin(async move { written })
    }

    fn now(&self) -> Micros {
        self.0.inner.lock().expect("lock").now.unwrap_or(Micros(0))
    }

    fn expire(&self, view: ViewId) -> BoxFuture<'static, Result<u64, SqlError>> {
        let rows =
            self.0.inner.lock().expect("lock").groups.get(&view).map_or(0, |groups| groups.len() as u64);
        Box::pin(async move { Ok(rows) })
    }

    fn insert(&self, insertion: Insertion) -> BoxFuture<'static, Result<(), SqlError>> {
        for batch in &insertion.batches {
            batch.check(&insertion.stream.schema).expect("a batch of the stream");
            self.0.push_batch(&insertion.stream, batch);
        }
        Box::pin(async { Ok(()) })
    }

    fn apply(&self, ddl: Ddl) -> BoxFuture<'static, Result<bool, SqlError>> {
        let changed = self.0.inner.lock().expect("lock").apply(ddl);
        Box::pin(async move { Ok(changed) })
    }
}

/// Executes definitions that semicolons end.
pub async fn define(engine: &Engine, ddl: &str) {
    for statement in ddl.split(';') {
        run(engine, statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

/// Executes and reads to the end.
pub async fn run(engine: &Engine, sql: &str) -> Result<Rows, SqlError> {
    engine.execute(sql, ReadOptions::default()).await?.collect().await
}
