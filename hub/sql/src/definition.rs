//! What SQL defines: streams and views as the catalog keeps them, and the DDL that changes them.
//!
//! Owns: the serialised definitions. Must not know: how they are stored or replicated.

use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::ids::ViewId;
use headwater::plan::Plan;
use headwater::schema::StreamSchema;
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
}

impl ViewDef {
    /// The states of a partial of this view.
    pub fn specs(&self) -> Vec<AggregateSpec> {
        self.plan.states.iter().map(|s| s.spec.clone()).collect()
    }
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
    /// DROP CONTINUOUS VIEW
    DropView {
        /// Its name.
        name: String,
        /// IF EXISTS
        if_exists: bool,
    },
}

impl Ddl {
    /// PostgreSQL's command tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::CreateStream { .. } => "CREATE STREAM",
            Self::DropStream { .. } => "DROP STREAM",
            Self::CreateView { .. } => "CREATE CONTINUOUS VIEW",
            Self::DropView { .. } => "DROP CONTINUOUS VIEW",
        }
    }
}
