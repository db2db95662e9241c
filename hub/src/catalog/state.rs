//! The catalog as a pure state machine: the same commands give the same catalog on every hub.
//!
//! Ids are assigned here and never used again. A refused command changes nothing, so that it need not be
//! logged; `version` counts the applied ones.

use super::command::{Command, Settings};
use headwater::ids::{CatalogVersion, PlanVersion, StreamId, ViewId};
use headwater::wire::{StreamPlans, encode_control};
use headwater_sql::SqlError;
use headwater_sql::definition::{
    Attribute, Ddl, StreamDef, TableDef, TableId, ViewChange, ViewDef, dependants,
};
use headwater_sql::source::CatalogSnapshot;
use headwater_sql::transform::{Feeds, VERSIONS_MAX};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Most streams and most views of one catalog: every session may be sent all of them.
pub const RELATIONS_MAX: usize = 4_096;

/// Most tables of one catalog: with `table_bytes_max` each, that is what they may take on disk.
pub const TABLES_MAX: usize = 256;

/// Most views that read one view's output: each fold of the view makes rows for all of them at once, in memory.
pub const READERS_MAX: usize = 16;

/// Versions of plans that a view remembers when they are gone, besides those that there are: producers keep batches for a week.
const FED_KEPT: usize = 16 * VERSIONS_MAX;

/// Streams, views, tables and settings after some number of commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CatalogState {
    pub(super) version: CatalogVersion,
    pub(super) settings: Settings,
    pub(super) streams: Vec<StreamDef>,
    pub(super) views: Vec<ViewDef>,
    pub(super) last_stream: StreamId,
    pub(super) last_view: ViewId,
    pub(super) tables: Vec<TableDef>,
    pub(super) last_table: TableId,
}

impl CatalogState {
    /// Applies one command. `true` when something changed; otherwise the catalog is as before.
    ///
    /// # Errors
    /// The command is refused and nothing changed.
    pub fn apply(&mut self, command: &Command) -> Result<bool, SqlError> {
        let changed = match command {
            Command::Init(settings) => self.init(settings),
            Command::Ddl(ddl) => self.apply_ddl(ddl)?,
        };
        if changed {
            if !matches!(command, Command::Ddl(Ddl::CreateTable { .. } | Ddl::DropTable { .. })) {
                self.note_fed();
            }
            self.version = self.version.next();
        }
        Ok(changed)
    }

    /// Commands applied so far.
    pub fn version(&self) -> CatalogVersion {
        self.version
    }

    /// What was fixed at the first start.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The newest view id ever assigned: higher ones never existed.
    pub fn last_view(&self) -> ViewId {
        self.last_view
    }

    /// The catalog as readers see it.
    pub fn snapshot(&self) -> CatalogSnapshot {
        CatalogSnapshot {
            version: self.version,
            streams: self.streams.iter().cloned().map(Arc::new).collect(),
            views: listed(self.views.iter().filter(|v| v.transform().is_none())),
            tables: self.tables.iter().cloned().map(Arc::new).collect(),
            transforms: listed(self.views.iter().filter(|v| v.transform().is_some())),
        }
    }

    /// What feeds what.
    pub fn feeds(&self) -> Feeds<'_> {
        let streams = self.streams.iter().map(|stream| &stream.schema).collect();
        Feeds { views: self.views.iter().collect(), streams }
    }

    /// Bytes of a stream's schema and plans, as a session is sent them.
    pub fn plans_bytes(&self, stream: StreamId) -> usize {
        let Some(def) = self.streams.iter().find(|s| s.schema.id == stream) else { return 0 };
        let plans = self.feeds().plans(stream).plans;
        let mut bytes = Vec::new();
        encode_control(&StreamPlans { schema: def.schema.clone(), plans }, &mut bytes);
        bytes.len()
    }

    /// Views remember the plans that transforms make of theirs: what was made with them is taken when they are gone.
    fn note_fed(&mut self) {
        if self.views.iter().all(|view| view.transform().is_none()) {
            return;
        }
        let mut made: HashMap<ViewId, Vec<PlanVersion>> = HashMap::new();
        for plan in self.feeds().all_plans().into_iter().flat_map(|(_, made)| made.plans) {
            made.entry(plan.view).or_default().push(plan.version);
        }
        for view in &mut self.views {
            let own = view.plan.version;
            let mut live = made.remove(&view.id).unwrap_or_default();
            live.retain(|version| *version != own);
            let known = view.versions();
            let mut gone: Vec<PlanVersion> =
                known.iter().copied().filter(|version| *version != own && !live.contains(version)).collect();
            gone.drain(..gone.len().saturating_sub(FED_KEPT));
            let fed = [gone, live].concat();
            view.attributes.retain(|attribute| !matches!(attribute, Attribute::Fed(_)));
            if !fed.is_empty() {
                view.attributes.push(Attribute::Fed(fed));
            }
            view.forget_narrow();
        }
    }

    fn init(&mut self, settings: &Settings) -> bool {
        let fresh = self.version == CatalogVersion(0);
        if fresh {
            self.settings = settings.clone();
        }
        fresh
    }

    fn apply_ddl(&mut self, ddl: &Ddl) -> Result<bool, SqlError> {
        match ddl {
            Ddl::CreateStream { def, if_not_exists } => self.create_stream(def, *if_not_exists),
            Ddl::DropStream { name, if_exists, cascade } => self.drop_stream(name, *if_exists, *cascade),
            Ddl::CreateView { def, if_not_exists } => self.create_view(def, *if_not_exists),
            Ddl::DropView { name, if_exists } => self.drop_view(name, *if_exists, false),
            Ddl::DropViewCascade { name, if_exists } => self.drop_view(name, *if_exists, true),
            Ddl::AlterView { view: Some(view), change } => self.alter_view(*view, change),
            Ddl::AlterView { view: None, .. } => Ok(false),
            Ddl::CreateTable { def, if_not_exists } => self.create_table(def, *if_not_exists),
            Ddl::DropTable { name, if_exists } => self.drop_table(name, *if_exists),
            other => Err(unknown_change(other)),
        }
    }

    fn create_stream(&mut self, def: &StreamDef, if_not_exists: bool) -> Result<bool, SqlError> {
        if self.is_taken(&def.schema.name, Kind::Stream, if_not_exists)? {
            return Ok(false);
        }
        check_room("streams", self.streams.len(), RELATIONS_MAX)?;
        let mut def = def.clone();
        self.last_stream = self.last_stream.next();
        def.schema.id = self.last_stream;
        self.streams.push(def);
        Ok(true)
    }

    fn create_view(&mut self, def: &ViewDef, if_not_exists: bool) -> Result<bool, SqlError> {
        let kind = if def.transform().is_some() { Kind::Transform } else { Kind::View };
        if self.is_taken(&def.name, kind, if_not_exists)? {
            return Ok(false);
        }
        check_room("views", self.views.len(), RELATIONS_MAX)?;
        self.check_source(def)?;
        self.check_readers(def)?;
        let mut def = def.clone();
        self.name_view(&mut def);
        self.views.push(def);
        Ok(true)
    }

    /// What a view reads may have been dropped since it was compiled.
    fn check_source(&self, def: &ViewDef) -> Result<(), SqlError> {
        let is_view = |id: &ViewId| self.views.iter().any(|view| view.id == *id);
        let is_stream = |id: &StreamId| self.streams.iter().any(|s| s.schema.id == *id);
        let is_there = match def.chained() {
            Some(chained) => is_view(&chained.source),
            None => is_stream(&def.plan.stream),
        };
        let targets = def.transform().unwrap_or_default();
        if targets.iter().any(|target| self.feeds().above(def.plan.stream).contains(target)) {
            return Err(SqlError::new("42P17", format!("transform \"{}\" would feed itself", def.name)));
        }
        let is_there = is_there && def.through().iter().all(is_view) && targets.iter().all(is_stream);
        if is_there { Ok(()) } else { Err(no_source(def)) }
    }

    /// `54000`: too many views read the output of one.
    fn check_readers(&self, def: &ViewDef) -> Result<(), SqlError> {
        let Some(source) = def.chained().map(|chained| chained.source) else { return Ok(()) };
        let reads = |view: &&ViewDef| view.chained().is_some_and(|chained| chained.source == source);
        if self.views.iter().filter(reads).count() < READERS_MAX {
            return Ok(());
        }
        let message = format!("at most {READERS_MAX} views can read the output of one view");
        Err(SqlError::new("54000", message)
            .with_hint("let one view read it, and others read that one's output"))
    }

    fn dependants(&self, of: ViewId) -> Vec<&ViewDef> {
        dependants(&self.views.iter().collect::<Vec<_>>(), of)
    }

    /// The views that read a view's output go on with it under its new id.
    fn follow(&mut self, before: ViewId, now: ViewId) {
        for attribute in self.views.iter_mut().flat_map(|view| &mut view.attributes) {
            if let Attribute::Chained(chained) = attribute
                && chained.source == before
            {
                chained.source = now;
            }
        }
    }

    /// The next id.
    fn name_view(&mut self, def: &mut ViewDef) {
        self.last_view = self.last_view.next();
        def.id = self.last_view;
        def.plan.view = self.last_view;
    }

    fn alter_view(&mut self, view: ViewId, change: &ViewChange) -> Result<bool, SqlError> {
        let Some(at) = self.views.iter().position(|v| v.id == view) else {
            // Compiled against a view that was dropped or emptied meanwhile.
            let message = "the view was dropped, emptied or replaced meanwhile";
            return Err(SqlError { hint: Some("try again".into()), ..SqlError::new("40001", message) });
        };
        let is_transform = self.views[at].transform().is_some();
        if is_transform && !matches!(change, ViewChange::Rename(_) | ViewChange::Active(_)) {
            return Err(SqlError::new(
                "42809",
                format!("\"{}\" is a continuous transform", self.views[at].name),
            ));
        }
        match change {
            ViewChange::Rename(name) => {
                self.is_taken(name, Kind::View, false)?;
                self.views[at].name.clone_from(name);
            }
            ViewChange::Options { options, groups_max, query, before } => {
                let view = &mut self.views[at];
                if before.as_ref().is_some_and(|before| *before != view.options) {
                    let message = "another statement changed the view's options meanwhile";
                    return Err(SqlError {
                        hint: Some("try again".into()),
                        ..SqlError::new("40001", message)
                    });
                }
                view.options.clone_from(options);
                view.plan.groups_max = *groups_max;
                view.query = query.clone().unwrap_or_else(|| view.query.clone());
            }
            ViewChange::Active(active) => return Ok(self.views[at].set_active(*active)),
            ViewChange::Truncate { version } => {
                let mut def = self.views[at].clone();
                def.plan.version = *version;
                self.name_view(&mut def);
                self.follow(view, def.id);
                self.views[at] = def;
            }
            ViewChange::Replace(def) => {
                self.check_source(def)?;
                check_unread("replace", &self.views[at].name, &self.dependants(view))?;
                let mut def = ViewDef::clone(def);
                def.name.clone_from(&self.views[at].name);
                self.name_view(&mut def);
                self.views[at] = def;
            }
            ViewChange::Extend { def, before, since } => {
                check_unread("extend", &self.views[at].name, &self.dependants(view))?;
                let view = &mut self.views[at];
                if view.plan.version != *before || !def.extends(view) {
                    let message = "another statement changed the view meanwhile";
                    return Err(SqlError {
                        hint: Some("try again".into()),
                        ..SqlError::new("40001", message)
                    });
                }
                view.extend(ViewDef::clone(def), *since);
            }
            other => return Err(unknown_change(other)),
        }
        Ok(true)
    }

    fn drop_stream(&mut self, name: &str, if_exists: bool, cascade: bool) -> Result<bool, SqlError> {
        let Some(at) = self.streams.iter().position(|s| s.schema.name == name) else {
            return self.absent(name, Kind::Stream, if_exists);
        };
        let id = self.streams[at].schema.id;
        let is_direct = |v: &&ViewDef| {
            let feeds = v.transform().is_some_and(|targets| targets.contains(&id));
            feeds || (v.chained().is_none() && v.plan.stream == id)
        };
        let direct = self.views.iter().filter(is_direct);
        let with_chains = |view: &ViewDef| {
            let chained = self.dependants(view.id).into_iter().map(|view| (view.id, view.name.clone()));
            std::iter::once((view.id, view.name.clone())).chain(chained).collect::<Vec<_>>()
        };
        let mut all: Vec<(ViewId, String)> = Vec::new();
        for reader in direct.flat_map(with_chains) {
            if !all.contains(&reader) {
                all.push(reader);
            }
        }
        let (gone, readers): (Vec<ViewId>, Vec<String>) = all.into_iter().unzip();
        if !readers.is_empty() && !cascade {
            let message =
                format!("cannot drop stream \"{name}\" because views read it: {}", readers.join(", "));
            let hint = Some("use DROP STREAM ... CASCADE to drop its views too".into());
            return Err(SqlError { hint, ..SqlError::new("2BP01", message) });
        }
        self.views.retain(|view| !gone.contains(&view.id));
        self.streams.remove(at);
        Ok(true)
    }

    fn drop_view(&mut self, name: &str, if_exists: bool, cascade: bool) -> Result<bool, SqlError> {
        let Some(view) = self.views.iter().find(|v| v.name == name) else {
            return self.absent(name, Kind::View, if_exists);
        };
        let readers = self.dependants(view.id);
        if !cascade {
            check_unread("drop", name, &readers)?;
        }
        let gone: Vec<ViewId> = readers.iter().map(|reader| reader.id).chain([view.id]).collect();
        self.views.retain(|view| !gone.contains(&view.id));
        Ok(true)
    }

    fn create_table(&mut self, def: &TableDef, if_not_exists: bool) -> Result<bool, SqlError> {
        if self.is_taken(&def.name, Kind::Table, if_not_exists)? {
            return Ok(false);
        }
        check_room("tables", self.tables.len(), TABLES_MAX)?;
        self.last_table = TableId(self.last_table.0 + 1);
        self.tables.push(TableDef { id: self.last_table, ..def.clone() });
        Ok(true)
    }

    fn drop_table(&mut self, name: &str, if_exists: bool) -> Result<bool, SqlError> {
        let Some(at) = self.tables.iter().position(|t| t.name == name) else {
            return self.absent(name, Kind::Table, if_exists);
        };
        self.tables.remove(at);
        Ok(true)
    }

    fn kind_of(&self, name: &str) -> Option<Kind> {
        let is_table = || self.tables.iter().any(|t| t.name == name);
        let view = || self.views.iter().find(|v| v.name == name);
        let view = || view().map(|v| if v.transform().is_some() { Kind::Transform } else { Kind::View });
        let stream = self.streams.iter().any(|s| s.schema.name == name).then_some(Kind::Stream);
        stream.or_else(view).or_else(|| is_table().then_some(Kind::Table))
    }

    /// Streams, views and tables share one name space, as relations do in PostgreSQL.
    fn is_taken(&self, name: &str, wanted: Kind, if_not_exists: bool) -> Result<bool, SqlError> {
        match self.kind_of(name) {
            None => Ok(false),
            Some(kind) if kind == wanted && if_not_exists => Ok(true),
            Some(kind) => Err(SqlError::new("42P07", format!("{} \"{name}\" already exists", kind.noun()))),
        }
    }

    fn absent(&self, name: &str, wanted: Kind, if_exists: bool) -> Result<bool, SqlError> {
        match self.kind_of(name) {
            Some(kind) => {
                let hint = Some(format!("use DROP {} to drop it", kind.sql()));
                let message = format!("\"{name}\" is a {}, not a {}", kind.noun(), wanted.noun());
                Err(SqlError { hint, ..SqlError::new("42809", message) })
            }
            None if if_exists => Ok(false),
            None => Err(SqlError::new("42P01", format!("{} \"{name}\" does not exist", wanted.noun()))),
        }
    }
}

fn listed<'v>(views: impl Iterator<Item = &'v ViewDef>) -> Vec<Arc<ViewDef>> {
    views.cloned().map(Arc::new).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stream,
    View,
    Table,
    Transform,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::View => "view",
            Self::Table => "table",
            Self::Transform => "continuous transform",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Stream => "STREAM",
            Self::View => "CONTINUOUS VIEW",
            Self::Table => "TABLE",
            Self::Transform => "CONTINUOUS TRANSFORM",
        }
    }
}

/// Compiled against a stream, or a view, that was dropped meanwhile.
fn no_source(def: &ViewDef) -> SqlError {
    let what = if def.chained().is_some() { "view whose output is read by" } else { "stream of" };
    SqlError::new("42P01", format!("the {what} view \"{}\" does not exist", def.name))
}

/// `2BP01`: other views read the output.
fn check_unread(verb: &str, name: &str, readers: &[&ViewDef]) -> Result<(), SqlError> {
    if readers.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = readers.iter().map(|view| view.name.as_str()).collect();
    let message =
        format!("cannot {verb} view \"{name}\" because others read its output: {}", names.join(", "));
    let hint = Some("use DROP CONTINUOUS VIEW ... CASCADE to drop them too".into());
    Err(SqlError { hint, ..SqlError::new("2BP01", message) })
}

fn unknown_change(change: &impl std::fmt::Debug) -> SqlError {
    SqlError::new("0A000", format!("the catalog does not know this change: {change:?}"))
}

fn check_room(what: &str, count: usize, most: usize) -> Result<(), SqlError> {
    if count < most {
        return Ok(());
    }
    Err(SqlError::new("54000", format!("too many {what}: a catalog holds at most {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::{create_stream, create_view, drop_stream, drop_view, view_def};

    fn code(result: Result<bool, SqlError>) -> &'static str {
        result.expect_err("must be refused").code
    }

    fn catalog(ddl: &[Ddl]) -> CatalogState {
        let mut state = CatalogState::default();
        for ddl in ddl {
            assert_eq!(state.apply(&Command::Ddl(ddl.clone())), Ok(true));
        }
        state
    }

    #[test]
    fn ids_are_assigned_and_never_used_again() {
        let mut state =
            catalog(&[create_stream("s"), create_view("v", 1), drop_view("v"), create_view("v", 1)]);
        assert_eq!(state.version(), CatalogVersion(4));
        let snapshot = state.snapshot();
        assert_eq!(snapshot.stream("s").map(|s| s.schema.id), Some(StreamId(1)));
        let view = snapshot.view("v").expect("view");
        assert_eq!((view.id, view.plan.view, view.plan.version), (ViewId(2), ViewId(2), PlanVersion(1)));
        assert_eq!(state.apply(&Command::Ddl(drop_stream("s", true))), Ok(true));
        assert_eq!(state.apply(&Command::Ddl(create_stream("s"))), Ok(true));
        assert_eq!(state.snapshot().stream("s").map(|s| s.schema.id), Some(StreamId(2)));
        assert_eq!(state.last_view(), ViewId(2));
    }

    #[test]
    fn refused_commands_change_nothing() {
        let mut state = catalog(&[create_stream("s"), create_view("v", 1)]);
        let before = state.clone();
        let refused = [
            (create_stream("s"), "42P07"),
            (create_stream("v"), "42P07"),
            (create_view("s", 1), "42P07"),
            (create_view("w", 9), "42P01"),
            (drop_view("w"), "42P01"),
            (drop_view("s"), "42809"),
            (drop_stream("v", false), "42809"),
            (drop_stream("s", false), "2BP01"),
        ];
        for (ddl, expected) in refused {
            assert_eq!(code(state.apply(&Command::Ddl(ddl.clone()))), expected, "{ddl:?}");
        }
        let quiet = [
            Ddl::DropView { name: "w".into(), if_exists: true },
            Ddl::DropStream { name: "w".into(), if_exists: true, cascade: false },
            Ddl::CreateView { def: Box::new(view_def("v", 1)), if_not_exists: true },
        ];
        for ddl in quiet {
            assert_eq!(state.apply(&Command::Ddl(ddl)), Ok(false));
        }
        assert_eq!(state, before);
    }

    fn alter(view: u32, change: ViewChange) -> Command {
        Command::Ddl(Ddl::AlterView { view: Some(ViewId(view)), change })
    }

    #[test]
    fn views_are_altered_by_their_id() {
        let mut state = catalog(&[create_stream("s"), create_view("v", 1), create_view("w", 1)]);
        assert_eq!(code(state.apply(&alter(1, ViewChange::Rename("w".into())))), "42P07");
        assert_eq!(code(state.apply(&alter(9, ViewChange::Active(true)))), "40001");
        assert_eq!(state.apply(&alter(1, ViewChange::Rename("x".into()))), Ok(true));
        let options = vec![("ttl".to_owned(), "1 day".to_owned())];
        let before = Some(Vec::new());
        let change = ViewChange::Options { options: options.clone(), groups_max: 5, query: None, before };
        assert_eq!(state.apply(&alter(1, change.clone())), Ok(true));
        assert_eq!(code(state.apply(&alter(1, change))), "40001", "made of options that are gone");
        let view = state.snapshot().view("x").expect("renamed").clone();
        assert_eq!((&view.options, view.plan.groups_max, view.plan.version), (&options, 5, PlanVersion(1)));
        let all = state.plans_bytes(StreamId(1));
        assert_eq!(state.apply(&alter(1, ViewChange::Active(false))), Ok(true));
        assert_eq!(state.apply(&alter(1, ViewChange::Active(false))), Ok(false));
        assert!(state.plans_bytes(StreamId(1)) < all, "its plan is not sent");
        assert_eq!(state.apply(&alter(1, ViewChange::Active(true))), Ok(true));
        assert_eq!(state.plans_bytes(StreamId(1)), all);
        let nothing = Ddl::AlterView { view: None, change: ViewChange::Active(true) };
        assert_eq!(state.apply(&Command::Ddl(nothing)), Ok(false));
    }

    #[test]
    fn an_emptied_or_replaced_view_is_another_one_under_the_same_name() {
        let mut state = catalog(&[create_stream("s"), create_view("v", 1)]);
        let truncate = || ViewChange::Truncate { version: PlanVersion(5) };
        assert_eq!(state.apply(&alter(1, truncate())), Ok(true));
        assert_eq!(code(state.apply(&alter(1, truncate()))), "40001");
        let view = state.snapshot().view("v").expect("it is there").clone();
        assert_eq!((view.id, view.plan.view, view.plan.version), (ViewId(2), ViewId(2), PlanVersion(5)));
        let mut def = view_def("other", 1);
        def.query = "SELECT 1".into();
        assert_eq!(state.apply(&alter(2, ViewChange::Replace(Box::new(def.clone())))), Ok(true));
        let view = state.snapshot().view("v").expect("it is there").clone();
        assert_eq!((view.id, view.query.as_str()), (ViewId(3), "SELECT 1"));
        def.plan.stream = StreamId(9);
        assert_eq!(code(state.apply(&alter(3, ViewChange::Replace(Box::new(def))))), "42P01");
        assert_eq!(state.last_view(), ViewId(3));
    }

    #[test]
    fn settings_are_set_once() {
        let mut state = CatalogState::default();
        let settings = Settings { shard_groups: 3, ..Settings::default() };
        assert_eq!(state.apply(&Command::Init(settings.clone())), Ok(true));
        assert_eq!(state.apply(&Command::Init(Settings::default())), Ok(false));
        assert_eq!(state.settings(), &settings);
    }
}
