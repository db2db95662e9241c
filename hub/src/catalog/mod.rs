//! The catalog: streams, views, tables and settings, changed by logged commands; and the rows of tables.
//!
//! Owns: the pure state machine ([`state::CatalogState`]), its command log and snapshots in `catalog.redb`, the rows of
//! reference tables there, the handle that everybody reads ([`Catalog`]). Must not know: SQL text, sessions, shards.
//! Invariants: a change is on disk before anybody sees it; a refused change leaves no trace; the version is
//! the number of applied commands. Rows are no commands: they change in transactions of their own, one per statement,
//! by the same one writer.

#[cfg(test)]
mod chained;
pub mod command;
mod first;
mod plans;
mod read;
mod row;
mod second;
pub mod state;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use table::TableSize;

use crate::store::marker::{self, CATALOG_FILE, HUB_FILE, Marker};
use crate::store::tables::{CATALOG_TABLES, version_key};
use crate::store::{RedbOptions, RedbStore, Snapshot, Store, StoreError, Table, WriteBody};
use command::{Command, Settings};
use headwater::ids::{CatalogVersion, ViewId};
use headwater_sql::SqlError;
use headwater_sql::definition::{Ddl, TableDef, TableId};
use headwater_sql::source::{CatalogSnapshot, TableRows, TableWrite};
use state::CatalogState;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Commands kept in the log before a snapshot replaces them: bounds what opening replays.
const SNAPSHOT_EVERY: u64 = 64;

/// Versions that are drawn for one plan before chance is told to whoever asked: the second is taken with all but
/// certainty.
const DRAWS_MAX: usize = 8;

/// Bytes of one stream's plans, unless told otherwise.
const STREAM_PLANS_BYTES_MAX: usize = 192 << 10;

/// Bytes of all definitions, unless told otherwise.
const BYTES_MAX: usize = 16 << 20;

/// How a catalog is opened.
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    /// Shard groups of a new data directory (1 to 1,024, default 1). An existing directory keeps its own number.
    pub shard_groups: u16,
    /// Bytes of one stream's schema and plans: every session that feeds it is sent all of them in one frame.
    /// Default 192 KiB, which leaves a page's frame of 256 KiB some room. A view that does not fit is refused.
    pub stream_plans_bytes_max: usize,
    /// Bytes of all definitions together, as a snapshot has them. Default 16 MiB. In memory they take up to twelve
    /// times as much, and every change of the catalog copies them: what would be more is refused.
    pub bytes_max: usize,
    /// What tables may take.
    pub tables: TableOptions,
}

/// Limits of reference tables.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions {
    /// Rows of one table. Default 1,000,000.
    pub rows_max: u64,
    /// Bytes of the keys and values of one table's rows. Default 64 MiB; on disk about twice as much, for each of at most
    /// [`state::TABLES_MAX`] tables. Reading a table takes two to four times its bytes in memory.
    pub bytes_max: u64,
    /// Bytes of tables kept in memory for the next reader. Default 128 MiB. What does not fit is read again for every
    /// statement, and held by that statement alone: the worst case is this, and one table per running statement.
    pub cache_bytes: usize,
}

impl TableOptions {
    /// `54000`: the table would have more than it may.
    pub(crate) fn check(&self, name: &str, rows: u64, bytes: u64) -> Result<(), SqlError> {
        let (what, most, option) = if rows > self.rows_max {
            ("rows", self.rows_max, "storage.table_rows_max")
        } else if bytes > self.bytes_max {
            ("bytes", self.bytes_max, "storage.table_bytes_max")
        } else {
            return Ok(());
        };
        let message = format!("table \"{name}\" would have more than {most} {what}");
        let hint = format!("tables are for reference data: count events in a view, or raise {option}");
        Err(SqlError::new("54000", message).with_hint(hint))
    }
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { rows_max: 1_000_000, bytes_max: 64 << 20, cache_bytes: 128 << 20 }
    }
}

impl Default for CatalogOptions {
    fn default() -> Self {
        let tables = TableOptions::default();
        Self { shard_groups: 1, stream_plans_bytes_max: STREAM_PLANS_BYTES_MAX, bytes_max: BYTES_MAX, tables }
    }
}

/// A handle to the catalog; clones share it.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Mutex<Writer>,
    newest: watch::Sender<Arc<CatalogSnapshot>>,
    settings: Settings,
    store: Arc<dyn Store>,
    cache: read::Cache,
    tables: TableOptions,
}

struct Writer {
    store: Arc<dyn Store>,
    state: CatalogState,
    /// The version of the newest snapshot on disk.
    snapshot: CatalogVersion,
    /// See [`CatalogOptions::stream_plans_bytes_max`].
    plans_bytes_max: usize,
    /// See [`CatalogOptions::bytes_max`].
    bytes_max: usize,
    tables: TableOptions,
    /// A write failed: what is on disk is not known until it was read again.
    doubtful: bool,
    /// Versions of plans: random, but in tests.
    draw: Box<plans::Draw>,
}

/// True when there are streams in the catalog at `path`. They are only made once both files are there. A file that cannot
/// be read without writing to it says nothing.
fn has_streams(path: &Path) -> bool {
    let read = |snapshot: &dyn Snapshot| Ok(!load(snapshot)?.0.snapshot().streams.is_empty());
    RedbStore::look(path, CATALOG_TABLES, read).unwrap_or(false)
}

impl Catalog {
    /// Opens the catalog of the data directory `dir`, which is made (marker file and all) when it is
    /// missing or empty.
    ///
    /// # Errors
    /// Anything that [`StoreError`] names; nothing is overwritten then.
    pub fn open(dir: &Path, options: &CatalogOptions) -> Result<Self, StoreError> {
        let marker = marker::open(dir, || draw_marker(options))?;
        if options.shard_groups != 1 && options.shard_groups != marker.shard_groups {
            let (has, asked) = (marker.shard_groups, options.shard_groups);
            tracing::warn!(has, asked, "the number of shard groups is fixed when a data directory is made");
        }
        let (file, data) = (dir.join(CATALOG_FILE), dir.join(HUB_FILE));
        let size = |path: &Path| path.metadata().map_or(0, |m| m.len());
        // The data file is made after this one: where there is data, a catalog was lost.
        if size(&file) == 0 && size(&data) > 0 {
            return Err(StoreError::Corrupted(format!("{} is missing or empty", file.display())));
        }
        // Opening writes, if only redb's own notes: nothing is written to one file while the other cannot be used.
        if size(&data) > 0 {
            RedbStore::check(&data)?;
        } else if size(&file) > 0 && has_streams(&file) {
            return Err(StoreError::Corrupted(format!("{} is missing or empty", data.display())));
        }
        let store = RedbStore::open(
            &file,
            CATALOG_TABLES,
            RedbOptions { cache_bytes: 8 << 20, ..RedbOptions::default() },
        )?;
        let catalog = Self::with_options(Arc::new(store), marker, options)?;
        marker::sync_directory(dir)?;
        Ok(catalog)
    }

    /// A catalog in a store of the caller's: memory in tests.
    #[cfg(test)]
    pub(crate) fn with_store(store: Box<dyn Store>, marker: Marker) -> Result<Self, StoreError> {
        Self::with_options(Arc::from(store), marker, &CatalogOptions::default())
    }

    pub(crate) fn with_options(
        store: Arc<dyn Store>,
        marker: Marker,
        options: &CatalogOptions,
    ) -> Result<Self, StoreError> {
        let (state, snapshot) = load(&*store.snapshot()?)?;
        let mut writer = Writer {
            store: Arc::clone(&store),
            state,
            snapshot,
            plans_bytes_max: options.stream_plans_bytes_max,
            bytes_max: options.bytes_max,
            tables: options.tables,
            doubtful: false,
            draw: Box::new(plans::draw),
        };
        if writer.state.version() == CatalogVersion(0) {
            writer.apply(Command::Init(draw_settings(&marker)?)).map_err(|e| match e {
                ApplyError::Store(e) => e,
                ApplyError::Refused(e) | ApplyError::SameVersion(e) => StoreError::Corrupted(e.message),
            })?;
        }
        let settings = writer.state.settings().clone();
        if settings.cluster != marker.cluster {
            return Err(StoreError::Corrupted(
                "the catalog belongs to another cluster than its directory".into(),
            ));
        }
        let newest = watch::Sender::new(Arc::new(writer.state.snapshot()));
        let cache = read::Cache::new(options.tables.cache_bytes);
        let writer = Mutex::new(writer);
        let tables = options.tables;
        Ok(Self { inner: Arc::new(Inner { writer, newest, settings, store, cache, tables }) })
    }

    /// The newest catalog.
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.inner.newest.borrow().clone()
    }

    /// Every newer catalog, as soon as it is durable; versions may be skipped.
    pub fn watch(&self) -> watch::Receiver<Arc<CatalogSnapshot>> {
        self.inner.newest.subscribe()
    }

    /// What was fixed when the data directory was made.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The newest view id ever assigned, dropped views included.
    pub fn last_view(&self) -> ViewId {
        self.inner.writer().state.last_view()
    }

    /// Applies a checked change; it is durable when this returns. `false`: nothing to do (`IF [NOT] EXISTS`).
    ///
    /// # Errors
    /// Refused by the catalog's rules, or `58030` when storage failed.
    pub async fn apply(&self, ddl: Ddl) -> Result<bool, SqlError> {
        let inner = self.inner.clone();
        let applied = tokio::task::spawn_blocking(move || inner.apply(ddl)).await;
        applied.unwrap_or_else(|e| Err(SqlError::new("XX000", format!("catalog change failed: {e}"))))
    }

    /// Changes rows of a table, durably when this returns; how many were added.
    ///
    /// # Errors
    /// `23505` for a key that is there already; `54000` above [`TableOptions`]; `40001` when the table was dropped or
    /// changed meanwhile; `58030` when storage failed. Nothing was changed then, but for `58030`, where the whole change may
    /// turn out to be there.
    pub async fn write_table(&self, write: TableWrite) -> Result<u64, SqlError> {
        let inner = self.inner.clone();
        let written = tokio::task::spawn_blocking(move || inner.write_table(&write)).await;
        written.unwrap_or_else(|e| Err(SqlError::new("XX000", format!("writing to a table failed: {e}"))))
    }

    /// The rows of a table as they are now.
    ///
    /// # Errors
    /// `40001` when the table was dropped meanwhile; `XX001` when its rows cannot be read.
    pub async fn table(&self, table: Arc<TableDef>) -> Result<Arc<TableRows>, SqlError> {
        let inner = self.inner.clone();
        let read = tokio::task::spawn_blocking(move || inner.table(&table)).await;
        read.unwrap_or_else(|e| Err(SqlError::new("XX000", format!("reading a table failed: {e}"))))
    }

    /// What tables may take.
    pub fn table_options(&self) -> TableOptions {
        self.inner.tables
    }

    /// How large a table is.
    ///
    /// # Errors
    /// Those of [`Snapshot::get`].
    pub fn table_size(&self, table: TableId) -> Result<TableSize, StoreError> {
        table::size(&*self.inner.store.snapshot()?, table)
    }
}

impl Inner {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, ddl: Ddl) -> Result<bool, SqlError> {
        self.change(|writer| {
            writer.recover().map_err(ApplyError::Store)?;
            writer.apply_named(&ddl)
        })
    }

    fn write_table(&self, write: &TableWrite) -> Result<u64, SqlError> {
        self.change(|writer| {
            writer.recover().map_err(ApplyError::Store)?;
            writer.write_table(write)
        })
    }

    fn table(&self, table: &Arc<TableDef>) -> Result<Arc<TableRows>, SqlError> {
        let rows = self.cache.read(table, &*self.store);
        // After the read: a table that was dropped before it is empty there.
        if !self.newest.borrow().tables.iter().any(|known| known.id == table.id) {
            return Err(table::gone(&table.name));
        }
        rows.map_err(|e| SqlError::new("XX001", format!("table \"{}\" cannot be read: {e}", table.name)))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Writer) -> Result<T, ApplyError>) -> Result<T, SqlError> {
        let mut writer = self.writer();
        let changed = change(&mut writer);
        // Still under the writer's lock, so that watchers see versions in order. Also after a refusal: a change
        // that was reported as failed may have turned out to be on disk.
        if writer.state.version() != self.newest.borrow().version {
            self.newest.send_replace(Arc::new(writer.state.snapshot()));
        }
        changed.map_err(|e| match e {
            ApplyError::Refused(e) | ApplyError::SameVersion(e) => e,
            ApplyError::Store(e) => SqlError::new("58030", format!("the catalog could not be written: {e}")),
        })
    }
}

enum ApplyError {
    Refused(SqlError),
    /// Chance gave two plans one version: other draws may not.
    SameVersion(SqlError),
    Store(StoreError),
}

impl Writer {
    /// Applies a change with a version that is drawn for its plan, and with others while chance repeats one.
    fn apply_named(&mut self, ddl: &Ddl) -> Result<bool, ApplyError> {
        let mut draws = 1;
        loop {
            let mut named = ddl.clone();
            plans::name(&mut named, &mut *self.draw).map_err(ApplyError::Store)?;
            match self.apply(Command::Ddl(named)) {
                Err(ApplyError::SameVersion(_)) if draws < DRAWS_MAX => draws += 1,
                applied => return applied,
            }
        }
    }

    fn apply(&mut self, command: Command) -> Result<bool, ApplyError> {
        let mut next = self.state.clone();
        if !next.apply(&command).map_err(ApplyError::Refused)? {
            return Ok(false);
        }
        if let Command::Ddl(ddl) = &command
            && let Some(view) = plans::grown_by(ddl, &next)
        {
            plans::check(&next, &view, self.plans_bytes_max)?;
        }
        self.check_bytes(&next)?;
        let dropped = self.table_dropped_by(&command);
        self.log(&command, next, &mut |txn| dropped.map_or(Ok(()), |table| table::remove_all(txn, table)))?;
        Ok(true)
    }

    /// `54000`: the definitions would take more than they may. What makes them smaller is always taken.
    fn check_bytes(&self, next: &CatalogState) -> Result<(), ApplyError> {
        let bytes = command::encode(next).map_err(ApplyError::Store)?.len();
        if bytes <= self.bytes_max || bytes <= command::encode(&self.state).map_err(ApplyError::Store)?.len()
        {
            return Ok(());
        }
        let message = format!("the catalog would have {bytes} bytes, more than {}", self.bytes_max);
        let hint = "drop streams and views that nobody needs, or raise storage.catalog_bytes_max";
        Err(ApplyError::Refused(SqlError::new("54000", message).with_hint(hint)))
    }

    fn table_dropped_by(&self, command: &Command) -> Option<TableId> {
        let Command::Ddl(Ddl::DropTable { name, .. }) = command else { return None };
        self.state.tables.iter().find(|table| table.name == *name).map(|table| table.id)
    }

    /// One durable transaction; a failed one may have been applied all the same.
    fn commit(&mut self, body: WriteBody<'_>) -> Result<(), ApplyError> {
        self.store.write(body).map_err(|error| {
            self.doubtful = true;
            ApplyError::Store(error)
        })
    }

    /// After a failed write: opens the store again and reads what it holds, because the failed change may be
    /// durable all the same, and applying the next one on the old state would give its ids to another.
    fn recover(&mut self) -> Result<(), StoreError> {
        if !self.doubtful {
            return Ok(());
        }
        self.store.reopen()?;
        (self.state, self.snapshot) = load(&*self.store.snapshot()?)?;
        self.doubtful = false;
        Ok(())
    }

    /// Logs an applied command, and changes rows with it.
    fn log(&mut self, command: &Command, next: CatalogState, rows: WriteBody<'_>) -> Result<(), ApplyError> {
        let version = next.version();
        let bytes = command::encode(command).map_err(ApplyError::Store)?;
        let snapshot = match version.0 - self.snapshot.0 >= SNAPSHOT_EVERY {
            true => Some(command::encode(&next).map_err(ApplyError::Store)?),
            false => None,
        };
        self.commit(&mut |txn| {
            rows(txn)?;
            txn.put(Table::Command, &version_key(version), &bytes)?;
            if let Some(snapshot) = &snapshot {
                txn.put(Table::Catalog, &version_key(version), snapshot)?;
                txn.remove_range(Table::Catalog, &[], &version_key(version), u64::MAX)?;
                txn.remove_range(Table::Command, &[], &version_key(version.next()), u64::MAX)?;
            }
            Ok(())
        })?;
        if snapshot.is_some() {
            self.snapshot = version;
        }
        self.state = next;
        Ok(())
    }
}

/// The newest snapshot plus the commands after it.
fn load(store: &dyn Snapshot) -> Result<(CatalogState, CatalogVersion), StoreError> {
    let mut newest = None;
    store.scan(Table::Catalog, &[], None, &mut |_, value| {
        newest = Some(command::decode::<CatalogState>(value));
        ControlFlow::Continue(())
    })?;
    let mut state = newest.transpose()?.unwrap_or_default();
    let snapshot = state.version();
    let mut replayed = Ok(());
    store.scan(Table::Command, &version_key(snapshot.next()), None, &mut |key, value| {
        replayed = replay(&mut state, key, value);
        if replayed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    replayed.map(|()| (state, snapshot))
}

fn replay(state: &mut CatalogState, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let expected = state.version().next();
    if key != version_key(expected) {
        return Err(StoreError::Corrupted(format!("catalog command {expected} is missing")));
    }
    match state.apply(&command::decode(value)?) {
        Ok(true) => Ok(()),
        other => Err(StoreError::Corrupted(format!("catalog command {expected} does not apply: {other:?}"))),
    }
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Io {
        kind: std::io::ErrorKind::Other,
        message: format!("no randomness: {e}"),
    })?;
    Ok(bytes)
}

fn draw_marker(options: &CatalogOptions) -> Result<Marker, StoreError> {
    let shard_groups = options.shard_groups.clamp(1, 4096);
    Ok(Marker { cluster: random()?, hub: u64::from_le_bytes(random()?), shard_groups })
}

fn draw_settings(marker: &Marker) -> Result<Settings, StoreError> {
    let Marker { cluster, hub, shard_groups } = *marker;
    Ok(Settings { cluster, hub, shard_groups, routing_key: random()? })
}

#[cfg(test)]
mod tests {
    use super::testing::{create_stream, create_view, drop_view};
    use super::*;
    use crate::store::MemoryStore;
    use crate::store::tables::HUB_TABLES;
    use headwater::ids::PlanVersion;

    const MARKER: Marker = Marker { cluster: [1; 16], hub: 2, shard_groups: 3 };

    fn open(store: &MemoryStore) -> Catalog {
        Catalog::with_store(Box::new(store.clone()), MARKER).expect("open")
    }

    #[tokio::test]
    async fn a_catalog_survives_reopening_through_snapshots() {
        let store = MemoryStore::new();
        let catalog = open(&store);
        let settings = catalog.settings().clone();
        assert_eq!((settings.shard_groups, settings.cluster), (3, [1; 16]));
        catalog.apply(create_stream("s")).await.expect("stream");
        for i in 0..100 {
            catalog.apply(create_view(&format!("v{i}"), 1)).await.expect("view");
        }
        catalog.apply(drop_view("v7")).await.expect("drop");
        let newest = catalog.snapshot();
        let again = open(&store);
        assert_eq!(again.settings(), &settings);
        assert_eq!(again.snapshot().version, newest.version);
        assert_eq!(again.snapshot().views, newest.views);
        assert_eq!(again.last_view(), ViewId(100));
        let mut commands = 0;
        let read = store.snapshot().expect("snapshot");
        read.scan(Table::Command, &[], None, &mut |_, _| {
            commands += 1;
            ControlFlow::Continue(())
        })
        .expect("scan");
        assert!(commands < SNAPSHOT_EVERY, "{commands} commands were kept");
    }

    /// Prevents that batches of another cluster's view, or of one that was made after this copy, count in a view that
    /// got the same id.
    #[tokio::test]
    async fn no_two_plans_have_one_version() {
        let mut versions = std::collections::BTreeSet::new();
        for _ in 0..2 {
            let store = MemoryStore::new();
            let catalog = open(&store);
            catalog.apply(create_stream("s")).await.expect("stream");
            for name in ["v", "w"] {
                let mut def = super::testing::view_def(name, 1);
                def.plan.version = PlanVersion(0);
                let create = Ddl::CreateView { def: Box::new(def), if_not_exists: false };
                catalog.apply(create).await.expect("view");
            }
            let views = catalog.snapshot().views.clone();
            assert_eq!(open(&store).snapshot().views, views, "a version is drawn once");
            versions.extend(views.iter().map(|view| view.plan.version.0));
        }
        assert_eq!(versions.len(), 4);
        assert!(versions.iter().all(|version| (1..1 << 21).contains(version)));
    }

    #[tokio::test]
    async fn a_change_that_is_not_durable_is_not_seen() {
        let store = MemoryStore::new();
        let catalog = open(&store);
        let before = catalog.snapshot().version;
        store.fail_next_write(StoreError::NoSpace);
        let error = catalog.apply(create_stream("s")).await.expect_err("no space");
        assert_eq!(error.code, "58030");
        assert_eq!(catalog.snapshot().version, before);
        assert!(catalog.snapshot().stream("s").is_none());
        assert!(open(&store).snapshot().stream("s").is_none());
    }

    #[tokio::test]
    async fn changes_go_on_once_there_is_space_again() {
        let store = MemoryStore::new();
        let catalog = open(&store);
        store.fail_next_write(StoreError::NoSpace);
        catalog.apply(create_stream("s")).await.expect_err("no space");
        catalog.apply(create_stream("t")).await.expect("space again");
        let snapshot = catalog.snapshot();
        assert!(snapshot.stream("s").is_none() && snapshot.stream("t").is_some());
        assert_eq!(open(&store).snapshot().version, snapshot.version);
    }

    #[tokio::test]
    async fn views_whose_plans_no_session_could_be_sent_are_refused() {
        let catalog = open(&MemoryStore::new());
        catalog.inner.writer().plans_bytes_max = 1000;
        catalog.apply(create_stream("s")).await.expect("stream");
        let mut made = 0;
        let error = loop {
            match catalog.apply(create_view(&format!("v{made}"), 1)).await {
                Ok(_) => made += 1,
                Err(error) => break error,
            }
            assert!(made < 1000, "there is no limit");
        };
        assert_eq!((error.code, made > 3), ("54000", true));
        assert!(error.hint.expect("hint").contains("stream_plans_bytes_max"));
        let before = catalog.snapshot();
        assert_eq!(before.views.len(), made, "the catalog is unchanged");
        catalog.apply(drop_view("v0")).await.expect("dropped");
        catalog.apply(create_view("again", 1)).await.expect("there is room again");
    }

    #[tokio::test]
    async fn watchers_see_the_newest_catalog() {
        let catalog = open(&MemoryStore::new());
        let mut watch = catalog.watch();
        assert!(watch.borrow_and_update().streams.is_empty());
        catalog.apply(create_stream("s")).await.expect("stream");
        watch.changed().await.expect("open");
        assert!(watch.borrow_and_update().stream("s").is_some());
    }

    #[tokio::test]
    async fn a_directory_is_made_once_locked_and_kept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("data");
        let catalog =
            Catalog::open(&path, &CatalogOptions { shard_groups: 4, ..Default::default() }).expect("open");
        // Streams are made when both files are there.
        let data = RedbStore::open(&path.join(HUB_FILE), HUB_TABLES, RedbOptions::default());
        drop(data.expect("data"));
        catalog.apply(create_stream("s")).await.expect("stream");
        let error = Catalog::open(&path, &CatalogOptions::default()).err().expect("locked");
        assert_eq!(error.code(), "storage_in_use");
        drop(catalog);
        let again = Catalog::open(&path, &CatalogOptions::default()).expect("reopen");
        assert_eq!(again.settings().shard_groups, 4);
        assert!(again.snapshot().stream("s").is_some());
    }

    #[test]
    fn a_lost_catalog_beside_data_is_no_new_hub() {
        let dir = tempfile::tempdir().expect("temporary directory");
        drop(Catalog::open(dir.path(), &CatalogOptions::default()).expect("open"));
        std::fs::write(dir.path().join(HUB_FILE), b"data").expect("data");
        std::fs::remove_file(dir.path().join(CATALOG_FILE)).expect("remove");
        let error = Catalog::open(dir.path(), &CatalogOptions::default()).err().expect("refused");
        assert_eq!(error.code(), "storage_corrupted");
    }
}
