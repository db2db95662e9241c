//! `pg_type`: the types that answers have, and those that clients look for.

use super::{OWNER, PG_CATALOG, flag, int, text};
use headwater::value::{DataType, Value};

/// Number, name, size, category, number of the array.
const TYPES: [(i64, &str, i64, &str, i64); 26] = [
    (16, "bool", 1, "B", 1000),
    (17, "bytea", -1, "U", 1001),
    (18, "char", 1, "Z", 1002),
    (19, "name", 64, "S", 1003),
    (20, "int8", 8, "N", 1016),
    (21, "int2", 2, "N", 1005),
    (23, "int4", 4, "N", 1007),
    (24, "regproc", 4, "N", 1008),
    (25, "text", -1, "S", 1009),
    (26, "oid", 4, "N", 1028),
    (114, "json", -1, "U", 199),
    (700, "float4", 4, "N", 1021),
    (701, "float8", 8, "N", 1022),
    (705, "unknown", -2, "X", 0),
    (1042, "bpchar", -1, "S", 1014),
    (1043, "varchar", -1, "S", 1015),
    (1082, "date", 4, "D", 1182),
    (1083, "time", 8, "D", 1183),
    (1114, "timestamp", 8, "D", 1115),
    (1184, "timestamptz", 8, "D", 1185),
    (1186, "interval", 16, "T", 1187),
    (1700, "numeric", -1, "N", 1231),
    (2205, "regclass", 4, "N", 2210),
    (2249, "record", -1, "P", 2287),
    (2950, "uuid", 16, "U", 2951),
    (3802, "jsonb", -1, "U", 3807),
];

/// PostgreSQL's number of a type.
pub(super) fn oid(data_type: &DataType) -> i64 {
    match data_type {
        DataType::List(item) if matches!(**item, DataType::List(_)) => 25,
        DataType::List(item) => entry(scalar(item)).4,
        other => entry(scalar(other)).0,
    }
}

/// Bytes of a value; -1 when it depends.
pub(super) fn size(data_type: &DataType) -> i64 {
    match data_type {
        DataType::List(_) => -1,
        other => entry(scalar(other)).2,
    }
}

/// PostgreSQL's short name: `int8`, `_text`.
pub(super) fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("_{}", entry(scalar(item)).1),
        other => entry(scalar(other)).1.to_owned(),
    }
}

fn scalar(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Bool => "bool",
        DataType::Bytea => "bytea",
        DataType::Int16 => "int2",
        DataType::Int32 => "int4",
        DataType::Int64 => "int8",
        DataType::Float32 => "float4",
        DataType::Float64 => "float8",
        DataType::Decimal { .. } => "numeric",
        DataType::Date => "date",
        DataType::Timestamp => "timestamptz",
        DataType::Interval => "interval",
        DataType::Uuid => "uuid",
        DataType::Struct(_) => "record",
        _ => "text",
    }
}

fn entry(name: &str) -> &'static (i64, &'static str, i64, &'static str, i64) {
    // Every name of `scalar` is in the table.
    TYPES.iter().find(|entry| entry.1 == name).unwrap_or(&TYPES[8])
}

/// `format_type`: the name as a definition would have it. `None` for types that there are not.
pub(super) fn format(oid: i64, modifier: i64) -> Option<String> {
    if let Some(item) = TYPES.iter().find(|entry| entry.4 == oid && oid != 0) {
        return format(item.0, modifier).map(|name| format!("{name}[]"));
    }
    let entry = TYPES.iter().find(|entry| entry.0 == oid)?;
    Some(match entry.1 {
        "bool" => "boolean".into(),
        "int2" => "smallint".into(),
        "int4" => "integer".into(),
        "int8" => "bigint".into(),
        "float4" => "real".into(),
        "float8" => "double precision".into(),
        "char" => "\"char\"".into(),
        "bpchar" => "character".into(),
        "varchar" => "character varying".into(),
        "time" => "time without time zone".into(),
        "timestamp" => "timestamp without time zone".into(),
        "timestamptz" => "timestamp with time zone".into(),
        "numeric" if modifier >= 4 => {
            let modifier = modifier - 4;
            format!("numeric({},{})", modifier >> 16, modifier & 0xffff)
        }
        other => other.to_owned(),
    })
}

/// The number of a type by one of its names.
pub(super) fn find(name: &str) -> Option<i64> {
    let name = name.trim().trim_start_matches("pg_catalog.").to_lowercase();
    if let Some(item) = name.strip_suffix("[]") {
        return find(item).and_then(|oid| TYPES.iter().find(|entry| entry.0 == oid)).map(|entry| entry.4);
    }
    TYPES.iter().find(|entry| entry.1 == name || format(entry.0, -1).as_deref() == Some(&name)).map(|e| e.0)
}

pub(super) fn rows() -> Vec<Vec<Value>> {
    let scalars = TYPES.iter().map(|(oid, name, size, category, array)| {
        let kind = if *name == "record" { "p" } else { "b" };
        row((*oid, name), *size, (kind, category), (0, *array))
    });
    let arrays = TYPES.iter().filter(|entry| entry.4 != 0).map(|(oid, name, _, _, array)| {
        let kind = if *name == "record" { "p" } else { "b" };
        row((*array, &format!("_{name}")), -1, (kind, "A"), (*oid, 0))
    });
    scalars.chain(arrays).collect()
}

fn row(
    (oid, name): (i64, &str),
    size: i64,
    (kind, category): (&str, &str),
    (element, array): (i64, i64),
) -> Vec<Value> {
    let mut row =
        vec![int(oid), text(name), int(PG_CATALOG), int(OWNER), int(size), flag(size > 0 && size <= 8)];
    row.extend([text(kind), text(category), flag(false), flag(true), text(","), int(0), int(0)]);
    row.extend([int(element), int(array)]);
    // From typinput to typanalyze.
    row.extend([0; 7].map(int));
    row.extend([text("i"), text("p"), flag(false), int(0), int(-1), int(0), int(0)]);
    row.extend([Value::Null, Value::Null, Value::Null]);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_numbers() {
        let money = DataType::Decimal { precision: 10, scale: 2 };
        assert_eq!((oid(&money), name(&money).as_str(), size(&money)), (1700, "numeric", -1));
        assert_eq!(format(1700, super::super::modifier(&money)).as_deref(), Some("numeric(10,2)"));
        let list = DataType::List(Box::new(DataType::Timestamp));
        assert_eq!((oid(&list), name(&list).as_str()), (1185, "_timestamptz"));
        assert_eq!(format(1185, -1).as_deref(), Some("timestamp with time zone[]"));
        assert_eq!(
            (find("bigint"), find("pg_catalog.int8"), find("text[]")),
            (Some(20), Some(20), Some(1009))
        );
        assert_eq!((find("nothing"), format(4, -1)), (None, None));
    }
}
