//! Tables about the catalog, and the answers of SHOW and DESCRIBE.

use super::answer::Answer;
use crate::error::SqlError;
use crate::parse::{Show, StatementKind};
use crate::source::{CatalogSnapshot, SystemTable};
use crate::types::type_name;
use headwater::schema::Field;
use headwater::value::{DataType, Value};

/// Tables that are always there.
pub(super) const NAMES: &[&str] = &["streams", "views", "transforms"];

/// `headwater.streams`, `headwater.views`, `headwater.transforms` and PipelineDB's spellings of them.
pub(super) fn table(schema: &str, name: &str, catalog: &CatalogSnapshot) -> Option<SystemTable> {
    match (schema, name) {
        ("headwater" | "pipelinedb", "streams") => Some(streams(catalog)),
        ("headwater" | "pipelinedb", "views") => Some(views(catalog)),
        ("headwater" | "pipelinedb", "transforms") => Some(transforms(catalog)),
        _ => None,
    }
}

fn text(name: &str) -> Field {
    Field { name: name.to_owned(), data_type: DataType::Text }
}

fn bigint(name: &str) -> Field {
    Field { name: name.to_owned(), data_type: DataType::Int64 }
}

/// The columns of what SHOW and DESCRIBE answer.
pub(super) fn fields(kind: &StatementKind) -> Vec<Field> {
    let nothing = CatalogSnapshot::default();
    match kind {
        StatementKind::Show(show) => shown(*show, &nothing).columns,
        StatementKind::Describe(_) => vec![text("column"), text("type")],
        _ => Vec::new(),
    }
}

fn streams(catalog: &CatalogSnapshot) -> SystemTable {
    let row = |s: &std::sync::Arc<crate::definition::StreamDef>| {
        let schema = &s.schema;
        let columns = schema.fields.iter().map(|f| format!("{} {}", f.name, type_name(&f.data_type)));
        let columns = Value::List(columns.map(Value::Text).collect());
        let views =
            catalog.views.iter().filter(|v| v.plan.stream == schema.id).map(|v| Value::Text(v.name.clone()));
        vec![
            Value::Int(schema.id.0.into()),
            Value::Text(schema.name.clone()),
            columns,
            Value::List(views.collect()),
        ]
    };
    let list =
        |name: &str| Field { name: name.to_owned(), data_type: DataType::List(Box::new(DataType::Text)) };
    let columns = vec![bigint("id"), text("name"), list("columns"), list("views")];
    SystemTable { columns, rows: catalog.streams.iter().map(row).collect() }
}

fn views(catalog: &CatalogSnapshot) -> SystemTable {
    let columns = vec![
        bigint("id"),
        text("name"),
        text("stream"),
        text("definition"),
        text("options"),
        bigint("plan_version"),
        bigint("groups_max"),
        Field { name: "active".to_owned(), data_type: DataType::Bool },
    ];
    let row = |v: &std::sync::Arc<crate::definition::ViewDef>| {
        let stream = catalog.source_of(v);
        let options = v.options.iter().map(|(name, value)| format!("{name} = {value}"));
        vec![
            Value::Int(v.id.0.into()),
            Value::Text(v.name.clone()),
            stream.map_or(Value::Null, |s| Value::Text(s.name)),
            Value::Text(v.query.clone()),
            Value::Text(options.collect::<Vec<_>>().join(", ")),
            Value::Int(v.plan.version.0.into()),
            Value::Int(v.plan.groups_max.into()),
            Value::Bool(v.is_active()),
        ]
    };
    SystemTable { columns, rows: catalog.views.iter().map(row).collect() }
}

fn transforms(catalog: &CatalogSnapshot) -> SystemTable {
    let list =
        |name: &str| Field { name: name.to_owned(), data_type: DataType::List(Box::new(DataType::Text)) };
    let active = Field { name: "active".to_owned(), data_type: DataType::Bool };
    let columns = vec![
        bigint("id"),
        text("name"),
        text("stream"),
        list("columns"),
        list("into"),
        text("definition"),
        active,
    ];
    let row = |t: &std::sync::Arc<crate::definition::ViewDef>| {
        let stream = catalog.source_of(t).map_or(Value::Null, |s| Value::Text(s.name));
        let made = t.keys.iter().map(|(name, data_type)| format!("{name} {}", type_name(data_type)));
        let into = |id: &headwater::ids::StreamId| {
            let target = catalog.streams.iter().find(|s| s.schema.id == *id)?;
            Some(Value::Text(target.schema.name.clone()))
        };
        let into = t.transform().unwrap_or_default().iter().filter_map(into).collect();
        vec![
            Value::Int(t.id.0.into()),
            Value::Text(t.name.clone()),
            stream,
            Value::List(made.map(Value::Text).collect()),
            Value::List(into),
            Value::Text(t.query.clone()),
            Value::Bool(t.is_active()),
        ]
    };
    SystemTable { columns, rows: catalog.transforms.iter().map(row).collect() }
}

/// The answer of SHOW.
pub(super) fn show(show: Show, catalog: &CatalogSnapshot) -> Result<Answer, SqlError> {
    let table = shown(show, catalog);
    Answer::values("SHOW", table.columns, &table.rows)
}

fn shown(show: Show, catalog: &CatalogSnapshot) -> SystemTable {
    match show {
        Show::Streams => streams(catalog),
        Show::Views => views(catalog),
        Show::Tables => tables(catalog),
        Show::Transforms => transforms(catalog),
    }
}

/// What tables are; `headwater.tables` says how large they are.
fn tables(catalog: &CatalogSnapshot) -> SystemTable {
    let list =
        |name: &str| Field { name: name.to_owned(), data_type: DataType::List(Box::new(DataType::Text)) };
    let columns = vec![bigint("id"), text("name"), list("columns"), list("primary_key")];
    let row = |table: &std::sync::Arc<crate::definition::TableDef>| {
        let columns = table.columns.iter().map(|column| {
            Value::Text(format!("{} {}", column.field.name, type_name(&column.field.data_type)))
        });
        let key = table.key.iter().filter_map(|at| table.columns.get(usize::from(*at)));
        vec![
            Value::Int(table.id.0.into()),
            Value::Text(table.name.clone()),
            Value::List(columns.collect()),
            Value::List(key.map(|column| Value::Text(column.field.name.clone())).collect()),
        ]
    };
    SystemTable { columns, rows: catalog.tables.iter().map(row).collect() }
}

/// The answer of DESCRIBE.
pub(super) fn describe(columns: &[Field]) -> Result<Answer, SqlError> {
    let row = |f: &Field| vec![Value::Text(f.name.clone()), Value::Text(type_name(&f.data_type))];
    let rows: Vec<_> = columns.iter().map(row).collect();
    let name = crate::parse::Name { name: String::new(), position: None };
    Answer::values("DESCRIBE", fields(&StatementKind::Describe(name)), &rows)
}
