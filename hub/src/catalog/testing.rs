//! Definitions for tests, made without SQL.

use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater::plan::{ExprId, Node, Op, Plan, StatePlan};
use headwater::schema::{Field, StreamSchema};
use headwater::value::DataType;
use headwater_sql::definition::{
    Ddl, Output, SelectItem, StreamDef, TableColumn, TableDef, TableId, ViewDef,
};

/// A stream with the columns `k text, v bigint`.
pub(crate) fn stream_def(name: &str) -> StreamDef {
    let field = |name: &str, data_type| Field { name: name.into(), data_type };
    let fields = vec![field("k", DataType::Text), field("v", DataType::Int64)];
    StreamDef { schema: StreamSchema { id: StreamId(0), name: name.into(), fields } }
}

/// `SELECT k, count(*), sum(v) FROM stream GROUP BY k`
pub(crate) fn view_def(name: &str, stream: u32) -> ViewDef {
    let node = |column, data_type| Node { op: Op::Column(column), data_type };
    let sum = AggregateSpec::Sum(DataType::Int64);
    let output = |name: &str, state, data_type| Output {
        name: name.into(),
        state,
        finisher: Finisher::Value,
        data_type,
    };
    ViewDef {
        id: ViewId(0),
        name: name.into(),
        query: format!("SELECT k, count(*), sum(v) FROM s{stream} GROUP BY k"),
        options: Vec::new(),
        plan: Plan {
            view: ViewId(0),
            version: PlanVersion(1),
            stream: StreamId(stream),
            nodes: vec![node(0, DataType::Text), node(1, DataType::Int64)],
            filter: None,
            keys: vec![ExprId(0)],
            states: vec![
                StatePlan { spec: AggregateSpec::Count { argument: false }, args: Vec::new(), filter: None },
                StatePlan { spec: sum, args: vec![ExprId(1)], filter: None },
            ],
            groups_max: 65_536,
        },
        keys: vec![("k".into(), DataType::Text)],
        outputs: vec![
            output("$0", 0, DataType::Int64),
            output("$1", 1, DataType::Decimal { precision: 38, scale: 0 }),
        ],
        select: vec![SelectItem { name: "k".into(), expr: "k".into() }],
        attributes: Vec::new(),
    }
}

pub(crate) fn create_stream(name: &str) -> Ddl {
    Ddl::CreateStream { def: stream_def(name), if_not_exists: false }
}

pub(crate) fn create_view(name: &str, stream: u32) -> Ddl {
    Ddl::CreateView { def: Box::new(view_def(name, stream)), if_not_exists: false }
}

pub(crate) fn drop_stream(name: &str, cascade: bool) -> Ddl {
    Ddl::DropStream { name: name.into(), if_exists: false, cascade }
}

pub(crate) fn drop_view(name: &str) -> Ddl {
    Ddl::DropView { name: name.into(), if_exists: false }
}

/// A table with the columns `k text, v bigint`, k the primary key or not.
pub(crate) fn table_def(name: &str, keyed: bool) -> TableDef {
    let column = |name: &str, data_type, not_null| TableColumn {
        field: Field { name: name.into(), data_type },
        not_null,
        default: None,
    };
    let columns = vec![column("k", DataType::Text, keyed), column("v", DataType::Int64, false)];
    TableDef { id: TableId(0), name: name.into(), columns, key: if keyed { vec![0] } else { Vec::new() } }
}
