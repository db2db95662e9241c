//! What SQL defines: streams, views and tables as the catalog keeps them, and the DDL that changes them.
//!
//! Owns: the serialised definitions. Must not know: how they are stored or replicated.

use crate::text::quote;
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater::plan::Plan;
use headwater::schema::{Field, StreamSchema};
use headwater::value::DataType;
use serde::{Deserialize, Serialize};

/// A stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamDef {
    /// Id, name, columns.
    pub schema: StreamSchema,
}

/// A continuous view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewDef {
    /// The view.
    pub id: ViewId,
    /// Its name, folded.
    pub name: String,
    /// The defining SELECT, as given.
    pub query: String,
    /// WITH options, as given and in order: `num_shards`, `ttl`, ... Those about clusters are kept for later.
    pub options: Vec<(String, String)>,
    /// What producers evaluate.
    pub plan: Plan,
    /// The group key columns, in key-byte order: name and type. Names are unique within the view.
    pub keys: Vec<(String, DataType)>,
    /// Finished aggregates: what the select list refers to.
    pub outputs: Vec<Output>,
    /// The select list over keys and outputs, as SQL expressions with their column names, in order.
    pub select: Vec<SelectItem>,
    /// What else there is to know; at most one of a kind, but of [`Attribute::Grouping`].
    pub attributes: Vec<Attribute>,
}

/// The key of a sliding window's panes: readers never see it.
pub const PANE_KEY: &str = "$pane";

impl ViewDef {
    /// The states of a partial of this view.
    pub fn specs(&self) -> Vec<AggregateSpec> {
        self.plan.states.iter().map(|s| s.spec.clone()).collect()
    }

    /// The sliding window, when the view is one.
    pub fn window(&self) -> Option<SlidingWindow> {
        self.attributes.iter().find_map(|a| if let Attribute::Window(w) = a { Some(*w) } else { None })
    }

    /// The group key columns that readers see: all but the pane.
    pub fn visible_keys(&self) -> &[(String, DataType)] {
        &self.keys[usize::from(self.window().is_some()).min(self.keys.len())..]
    }

    /// The condition on groups, over keys and outputs, as SQL.
    pub fn having(&self) -> Option<&str> {
        self.attributes
            .iter()
            .find_map(|a| if let Attribute::Having(e) = a { Some(e.as_str()) } else { None })
    }

    /// The order of rows where the reader asks for none.
    pub fn order_by(&self) -> &[SortItem] {
        let found =
            self.attributes.iter().find_map(|a| if let Attribute::OrderBy(o) = a { Some(o) } else { None });
        found.map_or(&[], Vec::as_slice)
    }

    /// The grouping sets, as places in [`ViewDef::keys`]; `None` for a plain GROUP BY.
    pub fn grouping_sets(&self) -> Option<&[Vec<u16>]> {
        self.attributes.iter().find_map(|a| match a {
            Attribute::GroupingSets(sets) => Some(sets.as_slice()),
            _ => None,
        })
    }

    /// The keys of each `grouping(...)`; the select list spells the first `$g0`.
    pub fn groupings(&self) -> impl Iterator<Item = &[u16]> {
        self.attributes.iter().filter_map(|a| match a {
            Attribute::Grouping(keys) => Some(keys.as_slice()),
            _ => None,
        })
    }

    /// What the view reads, when that is another view's output.
    pub fn chained(&self) -> Option<&Chained> {
        self.attributes.iter().find_map(|a| if let Attribute::Chained(c) = a { Some(c) } else { None })
    }

    /// The streams that a continuous transform feeds; `None`: it is a view.
    pub fn transform(&self) -> Option<&[StreamId]> {
        self.attributes
            .iter()
            .find_map(|a| if let Attribute::Transform(t) = a { Some(t.as_slice()) } else { None })
    }

    /// The transforms whose output the plan was made over.
    pub fn through(&self) -> &[ViewId] {
        let found =
            self.attributes.iter().find_map(|a| if let Attribute::Through(t) = a { Some(t) } else { None });
        found.map_or(&[], Vec::as_slice)
    }

    /// True when it is over the output of this view or transform.
    pub fn reads_output_of(&self, other: ViewId) -> bool {
        self.chained().is_some_and(|c| c.source == other) || self.through().contains(&other)
    }

    /// The versions of plans whose partials are the view's.
    pub fn versions(&self) -> Vec<PlanVersion> {
        let fed = self.attributes.iter().find_map(|a| if let Attribute::Fed(f) = a { Some(f) } else { None });
        [self.plan.version].into_iter().chain(fed.into_iter().flatten().copied()).collect()
    }

    /// How many of the states partials of a version have: all, unless it is older than a column that was added.
    pub fn states_of(&self, version: PlanVersion) -> usize {
        let narrow = self.narrow().iter().find(|(known, _)| *known == version);
        narrow.map_or(self.plan.states.len(), |(_, states)| usize::from(*states))
    }

    /// Forgets how many states the plans had whose versions are not its own any more.
    pub fn forget_narrow(&mut self) {
        let versions = self.versions();
        for attribute in &mut self.attributes {
            if let Attribute::Narrow(narrow) = attribute {
                narrow.retain(|(version, _)| versions.contains(version));
            }
        }
    }

    fn narrow(&self) -> &[(PlanVersion, u16)] {
        let found =
            self.attributes.iter().find_map(|a| if let Attribute::Narrow(n) = a { Some(n) } else { None });
        found.map_or(&[], Vec::as_slice)
    }

    /// Columns that were added with states of their own, and when (microseconds since 1970): groups know of nothing before.
    pub fn added(&self) -> &[(String, i64)] {
        let found =
            self.attributes.iter().find_map(|a| if let Attribute::Added(c) = a { Some(c) } else { None });
        found.map_or(&[], Vec::as_slice)
    }

    /// True when this is `before` with columns behind its own, whose states are behind its own.
    pub fn extends(&self, before: &Self) -> bool {
        let cut = Self {
            plan: self.plan.first_states(before.plan.states.len()),
            outputs: self.outputs.iter().take(before.outputs.len()).cloned().collect(),
            select: self.select.iter().take(before.select.len()).cloned().collect(),
            ..self.clone()
        };
        self.select.len() > before.select.len() && cut.is_same_view(before)
    }

    /// Becomes `def`, which extends this, at a time. What was made with this definition's plans is still taken.
    pub fn extend(&mut self, mut def: Self, since: i64) {
        let states = u16::try_from(self.plan.states.len()).unwrap_or(u16::MAX);
        // The newest last: the oldest are forgotten first.
        let mut versions = self.versions();
        versions.rotate_left(1);
        let mut narrow = self.narrow().to_vec();
        for version in &versions {
            if !narrow.iter().any(|(known, _)| known == version) {
                narrow.push((*version, states));
            }
        }
        narrow.retain(|(version, _)| versions.contains(version));
        // What is made of states that were there stands for the events from before, too.
        let new: Vec<String> =
            def.outputs.iter().filter(|o| o.state >= states).map(|o| quote(&o.name)).collect();
        let is_new = |item: &&SelectItem| new.iter().any(|name| item.expr.contains(name));
        let mut added = self.added().to_vec();
        let items = def.select.iter().skip(self.select.len()).filter(is_new);
        added.extend(items.map(|item| (item.name.clone(), since)));
        def.attributes.extend([Attribute::Fed(versions), Attribute::Narrow(narrow), Attribute::Added(added)]);
        if !self.is_active() {
            def.attributes.push(Attribute::Inactive);
        }
        def.plan.view = self.id;
        def.plan.groups_max = self.plan.groups_max;
        *self = Self {
            id: self.id,
            name: std::mem::take(&mut self.name),
            options: std::mem::take(&mut self.options),
            ..def
        };
    }

    /// False while producers are not sent the plan.
    pub fn is_active(&self) -> bool {
        !self.attributes.contains(&Attribute::Inactive)
    }

    /// Sets or removes [`Attribute::Inactive`]; `false` when nothing changes.
    pub fn set_active(&mut self, active: bool) -> bool {
        if self.is_active() == active {
            return false;
        }
        match active {
            true => self.attributes.retain(|a| *a != Attribute::Inactive),
            false => self.attributes.push(Attribute::Inactive),
        }
        true
    }

    /// True when both count and show the same: they differ in names, ids, versions and options at most.
    pub fn is_same_view(&self, other: &Self) -> bool {
        let plan =
            |def: &Self| Plan { view: ViewId(0), version: PlanVersion(0), groups_max: 0, ..def.plan.clone() };
        let lasting = |def: &Self| {
            let passing = |a: &&Attribute| {
                use Attribute as A;
                matches!(a, A::Inactive | A::Fed(_) | A::Narrow(_) | A::Added(_))
            };
            def.attributes.iter().filter(|a| !passing(a)).cloned().collect::<Vec<_>>()
        };
        plan(self) == plan(other)
            && (&self.keys, &self.outputs, &self.select) == (&other.keys, &other.outputs, &other.select)
            && lasting(self) == lasting(other)
    }
}

/// Something that not every view has. Variants are append-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Attribute {
    /// Only the newest events count: the first key is the [`PANE_KEY`].
    Window(SlidingWindow),
    /// HAVING: an SQL expression over key names and output names.
    Having(String),
    /// ORDER BY, the first that counts first.
    OrderBy(Vec<SortItem>),
    /// GROUPING SETS, ROLLUP, CUBE: the sets, written out, as places in [`ViewDef::keys`].
    GroupingSets(Vec<Vec<u16>>),
    /// A `grouping(...)` of these keys.
    Grouping(Vec<u16>),
    /// Producers are not sent the plan; what they sent still counts.
    Inactive,
    /// FROM output_of(view): the plan reads what folds change in another view, and no producer has it.
    Chained(Chained),
    /// It is no view but a continuous transform: the keys are what it makes of events, for these streams.
    Transform(Vec<StreamId>),
    /// FROM output_of(transform): the transforms that are written out in the plan, which reads the stream below them.
    Through(Vec<ViewId>),
    /// Other versions of the view's plan: those that transforms into its stream make of it, also when they are gone, and
    /// those from before a column was added. What was made with them is taken.
    Fed(Vec<PlanVersion>),
    /// Versions whose partials have the first states alone, and how many.
    Narrow(Vec<(PlanVersion, u16)>),
    /// Columns that were added, and when: microseconds since 1970.
    Added(Vec<(String, i64)>),
}

/// Where a chained view's rows come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    /// The view whose output is read.
    pub source: ViewId,
    /// States that rows do not update: (a state here, the state of the source whose deltas are merged into it).
    pub combined: Vec<(u16, u16)>,
}

/// The views that read the output of `of`, directly or through others, nearest first.
pub fn dependants<'v>(views: &[&'v ViewDef], of: ViewId) -> Vec<&'v ViewDef> {
    let mut found: Vec<&ViewDef> = Vec::new();
    let mut sources = vec![of];
    while let Some(source) = sources.pop() {
        let readers = views.iter().filter(|view| view.reads_output_of(source));
        for reader in readers {
            sources.insert(0, reader.id);
            found.push(reader);
        }
    }
    found
}

/// How much of the past a sliding window shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlidingWindow {
    /// Its length, microseconds: panes that began at least this long ago are never read.
    pub span_us: i64,
    /// The length of a pane, microseconds: by how much it slides.
    pub pane_us: i64,
}

/// One expression of ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortItem {
    /// An SQL expression over key names and output names.
    pub expr: String,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST
    pub nulls_first: bool,
}

/// One aggregate call of a view: which state answers it, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Unique name within the view (`$0`, `$1`, ...), as [`SelectItem::expr`] spells it.
    pub name: String,
    /// Index into the plan's states.
    pub state: u16,
    /// How the state becomes a value.
    pub finisher: Finisher,
    /// The value's type.
    pub data_type: DataType,
}

/// One column of a view as readers see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelectItem {
    /// The column's name.
    pub name: String,
    /// An SQL expression over key names and output names.
    pub expr: String,
}

/// A table's identity in the catalog; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId(pub u32);

/// A reference table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDef {
    /// The table.
    pub id: TableId,
    /// Its name, folded.
    pub name: String,
    /// Its columns, at least one.
    pub columns: Vec<TableColumn>,
    /// The primary key: places in [`TableDef::columns`], in its order; empty for none.
    pub key: Vec<u16>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Its name and type, which is that of a single value.
    pub field: Field,
    /// NOT NULL; columns of the primary key are.
    pub not_null: bool,
    /// DEFAULT: the constant's text, as a cast from text reads it; `None` is NULL.
    pub default: Option<String>,
}

impl TableDef {
    /// Names and types.
    pub fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|column| column.field.clone()).collect()
    }

    /// The place of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.field.name == name)
    }
}

/// A checked change to the catalog. Ids inside are placeholders (0): the catalog assigns them when it applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ddl {
    /// CREATE STREAM
    CreateStream {
        /// Name and columns.
        def: StreamDef,
        /// IF NOT EXISTS
        if_not_exists: bool,
    },
    /// DROP STREAM; refused while views read it, unless `cascade`.
    DropStream {
        /// Its name.
        name: String,
        /// IF EXISTS
        if_exists: bool,
        /// CASCADE: drop its views too.
        cascade: bool,
    },
    /// CREATE CONTINUOUS VIEW
    CreateView {
        /// The view; `plan.stream` is set.
        def: Box<ViewDef>,
        /// IF NOT EXISTS
        if_not_exists: bool,
    },
    /// DROP CONTINUOUS VIEW; refused while others read its output.
    DropView {
        /// Its name.
        name: String,
        /// IF EXISTS
        if_exists: bool,
    },
    /// ALTER, TRUNCATE, CREATE OR REPLACE of a view that exists, and the functions that do the same.
    AlterView {
        /// The view; `None`: there is none, and IF EXISTS was said. Refused when it was dropped or emptied meanwhile.
        view: Option<ViewId>,
        /// What becomes of it.
        change: ViewChange,
    },
    /// CREATE TABLE
    CreateTable {
        /// Name and columns.
        def: TableDef,
        /// IF NOT EXISTS
        if_not_exists: bool,
    },
    /// DROP TABLE, with all rows.
    DropTable {
        /// Its name.
        name: String,
        /// IF EXISTS
        if_exists: bool,
    },
    /// DROP CONTINUOUS VIEW ... CASCADE: with the views that read its output.
    DropViewCascade {
        /// Its name.
        name: String,
        /// IF EXISTS
        if_exists: bool,
    },
}

/// What becomes of a view. Variants are append-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ViewChange {
    /// RENAME TO
    Rename(String),
    /// SET, RESET: all options from now on, and what a producer keeps between flushes.
    Options {
        /// As [`ViewDef::options`].
        options: Vec<(String, String)>,
        /// As [`Plan::groups_max`].
        groups_max: u32,
        /// As [`ViewDef::query`], where it was spelled anew.
        query: Option<String>,
        /// The options that this was made of; other ones are a conflict. Checked once, and not logged.
        #[serde(skip)]
        before: Option<Vec<(String, String)>>,
    },
    /// `activate(view)`, `deactivate(view)`
    Active(bool),
    /// TRUNCATE: the same view under a new id. Rows and batches in flight belong to the old one, as after DROP.
    Truncate {
        /// The new plan version; 0: the catalog draws one.
        version: PlanVersion,
    },
    /// CREATE OR REPLACE with another definition: DROP and CREATE in one.
    Replace(Box<ViewDef>),
    /// ADD COLUMN: the same rows, with more states.
    Extend {
        /// What [`ViewDef::extends`] the view.
        def: Box<ViewDef>,
        /// The plan version that it was made of; another one is a conflict.
        before: PlanVersion,
        /// When, microseconds since 1970; 0: the catalog says it.
        since: i64,
    },
}

impl ViewChange {
    fn tag(&self) -> &'static str {
        match self {
            Self::Rename(_) | Self::Options { .. } | Self::Active(_) | Self::Extend { .. } => {
                "ALTER CONTINUOUS VIEW"
            }
            Self::Truncate { .. } => "TRUNCATE CONTINUOUS VIEW",
            Self::Replace(_) => "CREATE CONTINUOUS VIEW (it starts empty)",
        }
    }
}

impl Ddl {
    /// PostgreSQL's command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::CreateStream { .. } => "CREATE STREAM",
            Self::DropStream { .. } => "DROP STREAM",
            Self::CreateView { def, .. } if def.transform().is_some() => "CREATE CONTINUOUS TRANSFORM",
            Self::CreateView { .. } => "CREATE CONTINUOUS VIEW",
            Self::DropView { .. } | Self::DropViewCascade { .. } => "DROP CONTINUOUS VIEW",
            Self::AlterView { change, .. } => change.tag(),
            Self::CreateTable { .. } => "CREATE TABLE",
            Self::DropTable { .. } => "DROP TABLE",
        }
    }
}
