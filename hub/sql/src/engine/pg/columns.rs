//! Columns of streams, views and tables: `pg_attribute`, `information_schema.columns`.

use super::{NAME, flag, int, long_name, modifier, relations, text, type_oid, types};
use crate::definition::TableColumn;
use crate::engine::tables::Inner;
use datafusion::common::Result;
use headwater::schema::Field;
use headwater::value::{DataType, Value};

/// Of `information_schema.columns`.
pub(super) const COLUMNS: &str = "t table_catalog, t table_schema, t table_name, t column_name, n ordinal_position, t column_default, \
     t is_nullable, t data_type, n character_maximum_length, n character_octet_length, n numeric_precision, \
     n numeric_precision_radix, n numeric_scale, n datetime_precision, t interval_type, n interval_precision, \
     t character_set_name, t collation_name, t domain_name, t udt_catalog, t udt_schema, t udt_name, \
     t is_self_referencing, t is_identity, t identity_generation, t identity_start, t identity_increment, \
     t identity_maximum, t identity_minimum, t identity_cycle, t is_generated, t generation_expression, t is_updatable";

fn each(inner: &Inner, row: impl Fn(i64, &str, usize, &Field) -> Vec<Value>) -> Result<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    for relation in relations(inner.catalog()) {
        let columns = inner.columns(relation.name)?.unwrap_or_default();
        rows.extend(
            columns.iter().enumerate().map(|(at, field)| row(relation.oid, relation.name, at + 1, field)),
        );
    }
    Ok(rows)
}

pub(super) fn attributes(inner: &Inner) -> Result<Vec<Vec<Value>>> {
    each(inner, |oid, table, number, field| {
        let data_type = &field.data_type;
        let mut row = vec![int(oid), text(&field.name), int(type_oid(data_type)), int(-1)];
        row.extend([int(types::size(data_type)), int(number as i64), int(dimensions(data_type)), int(-1)]);
        row.extend([int(modifier(data_type)), flag(false), text("i"), text("p"), text("")]);
        let column = table_column(inner, table, &field.name);
        row.extend([flag(column.is_some_and(|column| column.not_null)), flag(false), flag(false)]);
        row.extend([text(""), text(""), flag(false), flag(true), int(0), int(0)]);
        row.extend(std::iter::repeat_n(Value::Null, 4));
        row
    })
}

/// What is known of a column beyond its type, where it is a table's.
fn table_column<'a>(inner: &'a Inner, table: &str, column: &str) -> Option<&'a TableColumn> {
    let table = inner.catalog().table(table)?;
    table.columns.get(table.column(column)?)
}

fn dimensions(data_type: &DataType) -> i64 {
    i64::from(matches!(data_type, DataType::List(_)))
}

pub(super) fn columns(inner: &Inner) -> Result<Vec<Vec<Value>>> {
    each(inner, |_, table, number, field| {
        let data_type = &field.data_type;
        let (precision, radix, scale) = numbers(data_type);
        let mut row = vec![text(NAME), text("public"), text(table), text(&field.name), int(number as i64)];
        let column = table_column(inner, table, &field.name);
        let default = column.and_then(|column| column.default.as_deref());
        let default = default.map_or(Value::Null, |t| text(&format!("'{}'", t.replace('\'', "''"))));
        let is_nullable = if column.is_some_and(|column| column.not_null) { "NO" } else { "YES" };
        row.extend([default, text(is_nullable), text(&long_name(data_type)), Value::Null, Value::Null]);
        row.extend([precision, radix, scale, time_digits(data_type), Value::Null, Value::Null]);
        row.extend([Value::Null, Value::Null, Value::Null, text(NAME), text("pg_catalog")]);
        row.extend([text(&types::name(data_type)), text("NO"), text("NO")]);
        row.extend(std::iter::repeat_n(Value::Null, 5));
        row.extend([text("NO"), text("NEVER"), Value::Null, text("NO")]);
        row
    })
}

fn numbers(data_type: &DataType) -> (Value, Value, Value) {
    let (precision, radix, scale) = match data_type {
        DataType::Int16 => (16, 2, Some(0)),
        DataType::Int32 => (32, 2, Some(0)),
        DataType::Int64 => (64, 2, Some(0)),
        DataType::Float32 => (24, 2, None),
        DataType::Float64 => (53, 2, None),
        DataType::Decimal { precision, scale } => (i64::from(*precision), 10, Some(i64::from(*scale))),
        _ => return (Value::Null, Value::Null, Value::Null),
    };
    (int(precision), int(radix), scale.map_or(Value::Null, int))
}

fn time_digits(data_type: &DataType) -> Value {
    match data_type {
        DataType::Timestamp | DataType::Interval => int(6),
        DataType::Date => int(0),
        _ => Value::Null,
    }
}
