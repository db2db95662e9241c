//! Tables of the hub about itself: `headwater.status`, `headwater.ledger`, `headwater.view_sizes`,
//! `headwater.shard_groups`, `headwater.quarantine`, `headwater.tables`.

use crate::api::status::Status;
use crate::catalog::TableSize;
use crate::shard::Quarantined;
use crate::store::StoreError;
use headwater::schema::Field;
use headwater::value::{DataType, Value};
use headwater_sql::definition::{TableColumn, TableDef, TableId};
use headwater_sql::source::{CatalogSnapshot, SystemTable};
use headwater_sql::type_name;
use std::sync::Arc;

/// The names of all tables of this file.
pub const TABLES: [&str; 6] = ["status", "ledger", "view_sizes", "shard_groups", "quarantine", "tables"];

/// The table of this name; the status is read only when there is one.
pub fn table(name: &str, status: impl FnOnce() -> Status) -> Option<SystemTable> {
    match name {
        "status" => Some(figures(&status())),
        "ledger" => Some(ledger(&status())),
        "view_sizes" => Some(view_sizes(&status())),
        "shard_groups" => Some(shard_groups(&status())),
        _ => None,
    }
}

/// What was set aside as damaged; when even that cannot be read, the error in its place.
pub fn quarantine(catalog: &CatalogSnapshot, rows: &Result<Vec<Quarantined>, StoreError>) -> SystemTable {
    let bytea = |name: &str| Field { name: name.into(), data_type: DataType::Bytea };
    let columns = vec![
        text("view"),
        bigint("shard_group"),
        bigint("lsn"),
        text("kind"),
        bytea("key"),
        bigint("bytes"),
        bytea("head"),
    ];
    let row = |found: &Quarantined| {
        let view = catalog.views.iter().find(|view| view.id == found.view);
        vec![
            view.map_or(Value::Null, |view| Value::Text(view.name.clone())),
            Value::Int(found.group.0.into()),
            int(found.lsn),
            Value::Text(found.kind.into()),
            Value::Bytes(found.key.clone()),
            int(found.bytes),
            Value::Bytes(found.head.clone()),
        ]
    };
    let rows = match rows {
        Ok(rows) => rows.iter().map(row).collect(),
        Err(error) => {
            let mut row = vec![Value::Null; columns.len()];
            row[3] = Value::Text(error.to_string());
            vec![row]
        }
    };
    SystemTable { columns, rows }
}

/// All reference tables; a size that cannot be read is NULL.
pub fn tables(catalog: &CatalogSnapshot, size: impl Fn(TableId) -> Option<TableSize>) -> SystemTable {
    let columns = DataType::List(Box::new(DataType::Text));
    let columns = Field { name: "columns".into(), data_type: columns };
    let row = |table: &Arc<TableDef>| {
        let size = size(table.id);
        let column = |column: &TableColumn| {
            let null = if column.not_null { " not null" } else { "" };
            let data_type = type_name(&column.field.data_type);
            Value::Text(format!("{} {data_type}{null}", column.field.name))
        };
        vec![
            Value::Int(table.id.0.into()),
            Value::Text(table.name.clone()),
            Value::List(table.columns.iter().map(column).collect()),
            size.map_or(Value::Null, |size| int(size.rows)),
            size.map_or(Value::Null, |size| int(size.bytes)),
        ]
    };
    let columns = vec![bigint("id"), text("name"), columns, bigint("rows"), bigint("bytes")];
    SystemTable { columns, rows: catalog.tables.iter().map(row).collect() }
}

fn text(name: &str) -> Field {
    Field { name: name.into(), data_type: DataType::Text }
}

fn bigint(name: &str) -> Field {
    Field { name: name.into(), data_type: DataType::Int64 }
}

fn int(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// One row per figure, as in `/metrics`.
fn figures(status: &Status) -> SystemTable {
    let columns = vec![text("name"), text("value")];
    let row = |name: &str, value: String| vec![Value::Text(name.into()), Value::Text(value)];
    let mut rows = vec![row("version", status.version.clone()), row("boot", status.boot.to_string())];
    rows.push(row("catalog", status.catalog.to_string()));
    rows.extend(status.counters().map(|(name, _, value)| row(name, value.to_string())));
    rows.extend(status.gauges().map(|(name, _, value)| row(name, value.to_string())));
    rows.extend(status.storage.error.iter().map(|error| row("storage_error", error.clone())));
    SystemTable { columns, rows }
}

/// What became of events and batches, by outcome and reason.
fn ledger(status: &Status) -> SystemTable {
    let ledger = &status.ledger;
    let row = |kind: &str, reason: &str, count: u64| {
        vec![Value::Text(kind.into()), Value::Text(reason.into()), int(count)]
    };
    let mut rows = vec![
        row("events applied", "", ledger.applied),
        row("events in doubt", "", ledger.in_doubt),
        row("groups applied", "", ledger.groups),
        row("groups left out", "late", ledger.late_groups),
        row("groups left out", "future", ledger.future_groups),
        row("groups left out", "view dropped", ledger.view_dropped_groups),
        row("groups merged into (other)", "", ledger.other_groups),
        row("quarantined", "", ledger.quarantined),
        row("events of dropped views", "", ledger.view_dropped_events),
        row("batches applied", "", ledger.batches),
        row("batches in doubt", "", ledger.in_doubt_batches),
        row("batches duplicate", "", ledger.duplicates),
    ];
    rows.extend(ledger.refused.iter().map(|(code, count)| row("batches refused", code, *count)));
    rows.extend(ledger.dropped.iter().map(|(reason, count)| row("events dropped", reason, *count)));
    rows.extend(
        ledger.rejected.iter().map(|(reason, count)| row("events rejected by views", reason, *count)),
    );
    SystemTable { columns: vec![text("outcome"), text("reason"), bigint("count")], rows }
}

fn view_sizes(status: &Status) -> SystemTable {
    let columns =
        vec![text("view"), text("stream"), bigint("groups"), bigint("other"), bigint("quarantined")];
    let row = |view: &crate::api::status::ViewStatus| {
        vec![
            Value::Text(view.name.clone()),
            Value::Text(view.stream.clone()),
            int(view.groups),
            int(view.other),
            int(view.quarantined),
        ]
    };
    SystemTable { columns, rows: status.views.iter().map(row).collect() }
}

fn shard_groups(status: &Status) -> SystemTable {
    let names =
        ["shard_group", "epoch", "last", "durable", "committed", "folded", "sessions", "overlay_groups"];
    let columns = names.into_iter().chain(["overlay_bytes"]).map(bigint).collect();
    let row = |g: &crate::api::status::ShardGroup| {
        let figures = [u64::from(g.id), g.epoch, g.last, g.durable, g.committed, g.folded];
        figures.into_iter().chain([g.sessions, g.overlay_groups, g.overlay_bytes]).map(int).collect()
    };
    SystemTable { columns, rows: status.shard_groups.iter().map(row).collect() }
}
