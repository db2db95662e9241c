//! Definitions of reference tables.

use super::{Kind, check_free, check_kind};
use crate::definition::{Ddl, TableColumn, TableDef, TableId};
use crate::error::SqlError;
use crate::parse::{CreateTable, Drop, Name};
use crate::source::CatalogSnapshot;
use crate::suggest::did_you_mean;
use crate::types::type_name;
use headwater::schema::Field;
use headwater::value::DataType;

/// Compiles CREATE TABLE without a query.
pub(super) fn create(create: &CreateTable, catalog: &CatalogSnapshot) -> Result<Ddl, SqlError> {
    check_free(&create.name, create.if_not_exists, catalog, Kind::Table)?;
    let mut columns = create.columns.clone();
    let mut key = Vec::new();
    for name in &create.key {
        let Some(at) = columns.iter().position(|column| column.field.name == name.name) else {
            let message = format!("column \"{}\" named in key does not exist", name.name);
            return Err(SqlError::new("42703", message).at(name.position));
        };
        if columns[at].field.data_type == DataType::Interval {
            return Err(SqlError::unsupported("an interval in a primary key").at(name.position).with_hint(
                "'1 month', '30 days' and '720 hours' are equal and kept apart: keep seconds, as a bigint",
            ));
        }
        columns[at].not_null = true;
        key.push(at as u16);
    }
    let def = TableDef { id: TableId(0), name: create.name.name.clone(), columns, key };
    Ok(Ddl::CreateTable { def, if_not_exists: create.if_not_exists })
}

/// The table that a query fills; `None`: there is one already, and IF NOT EXISTS was said.
pub(crate) fn filled(
    create: &CreateTable,
    fields: &[Field],
    catalog: &CatalogSnapshot,
) -> Result<TableDef, SqlError> {
    check_free(&create.name, create.if_not_exists, catalog, Kind::Table)?;
    let mut columns = Vec::new();
    for field in fields {
        if matches!(field.data_type, DataType::List(_) | DataType::Struct(_)) {
            let what =
                format!("column \"{}\" of type {} in a table", field.name, type_name(&field.data_type));
            return Err(SqlError::unsupported(what)
                .at(create.name.position)
                .with_hint("a table's column holds single values: choose one, or leave it out"));
        }
        columns.push(TableColumn { field: field.clone(), not_null: false, default: None });
    }
    Ok(TableDef { id: TableId(0), name: create.name.name.clone(), columns, key: Vec::new() })
}

/// Compiles DROP TABLE.
pub(super) fn drop(drop: &Drop, catalog: &CatalogSnapshot) -> Result<Ddl, SqlError> {
    check_kind(&drop.name, Kind::Table, catalog)?;
    if catalog.table(&drop.name.name).is_none() && !drop.if_exists {
        return Err(missing(&drop.name, catalog));
    }
    Ok(Ddl::DropTable { name: drop.name.name.clone(), if_exists: drop.if_exists })
}

/// There is no table of this name that a statement could change.
pub(crate) fn missing(name: &Name, catalog: &CatalogSnapshot) -> SqlError {
    match Kind::of(&name.name, catalog) {
        Some(Kind::View) => SqlError::new("42809", format!("\"{}\" is a continuous view", name.name))
            .with_hint("views change only by events; TRUNCATE CONTINUOUS VIEW empties one"),
        Some(Kind::Stream) => SqlError::new("42809", format!("\"{}\" is a stream", name.name))
            .with_hint("events cannot be changed: they are not stored"),
        _ => {
            let near = did_you_mean(&name.name, catalog.tables.iter().map(|t| t.name.as_str()));
            SqlError::new("42P01", format!("table \"{}\" does not exist", name.name))
                .with_hint(near.unwrap_or_else(|| "SHOW TABLES lists what there is".to_owned()))
        }
    }
    .at(name.position)
}
