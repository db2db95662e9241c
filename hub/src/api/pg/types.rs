//! PostgreSQL's numbers of types.
//!
//! Owns: which of our types is which of PostgreSQL's. Must not know: values.

use headwater::value::DataType;

/// `record`, what no scalar type is.
const OIDS: u32 = 1028;
const RECORD: u32 = 2249;
const RECORD_ARRAY: u32 = 2287;
const NUMERIC: u32 = 1700;

/// A type with the numbers of itself and of its array, and its size (-1: it depends).
static TYPES: [(DataType, u32, u32, i16); 12] = [
    (DataType::Bool, 16, 1000, 1),
    (DataType::Bytea, 17, 1001, -1),
    (DataType::Int64, 20, 1016, 8),
    (DataType::Int16, 21, 1005, 2),
    (DataType::Int32, 23, 1007, 4),
    (DataType::Text, 25, 1009, -1),
    (DataType::Float32, 700, 1021, 4),
    (DataType::Float64, 701, 1022, 8),
    (DataType::Date, 1082, 1182, 4),
    (DataType::Timestamp, 1184, 1185, 8),
    (DataType::Interval, 1186, 1187, 16),
    (DataType::Uuid, 2950, 2951, 16),
];

/// Types of parameters that clients use and that are read as ours.
static SYNONYMS: [(u32, DataType); 8] = [
    (19, DataType::Text),
    (26, DataType::Int64),
    (114, DataType::Text),
    (1042, DataType::Text),
    (1043, DataType::Text),
    (1114, DataType::Timestamp),
    (3802, DataType::Text),
    (18, DataType::Text),
];

/// The same for arrays: of `varchar`, `bpchar`, `timestamp`.
static ARRAY_SYNONYMS: [(u32, DataType); 3] =
    [(1015, DataType::Text), (1014, DataType::Text), (1115, DataType::Timestamp)];

/// Of a parameter of a statement that spells `oid[]`, which is an array of bigints here: drivers that look up the
/// types they do not know know this one, and would look up the other.
pub fn oid_or_oids(data_type: &DataType) -> u32 {
    match data_type {
        DataType::List(item) if **item == DataType::Int64 => OIDS,
        other => oid(other),
    }
}

/// The number of a type. Lists of lists have none: PostgreSQL's arrays are rectangular; they read as text.
pub fn oid(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Decimal { .. } => NUMERIC,
        DataType::Struct(_) => RECORD,
        DataType::List(item) => array_oid(item),
        other => entry(other).map_or(25, |entry| entry.1),
    }
}

fn array_oid(item: &DataType) -> u32 {
    match item {
        DataType::Decimal { .. } => 1231,
        DataType::Struct(_) => RECORD_ARRAY,
        DataType::List(_) => 25,
        other => entry(other).map_or(25, |entry| entry.2),
    }
}

fn entry(data_type: &DataType) -> Option<&'static (DataType, u32, u32, i16)> {
    TYPES.iter().find(|entry| entry.0 == *data_type)
}

/// Bytes of a value, -1 when it depends.
pub fn size(data_type: &DataType) -> i16 {
    entry(data_type).map_or(-1, |entry| entry.3)
}

/// What a type's parameters are: of numerics, precision and scale.
pub fn modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal { precision, scale } => ((i32::from(*precision) << 16) | i32::from(*scale)) + 4,
        _ => -1,
    }
}

/// The type of a parameter: `Ok(None)` where it is not told, an error for types there are not.
pub fn data_type(oid: u32) -> Result<Option<DataType>, u32> {
    const DEFAULT: DataType = DataType::Decimal { precision: 38, scale: 10 };
    let list = |item: &DataType| Ok(Some(DataType::List(Box::new(item.clone()))));
    match oid {
        // Not told, or `unknown`.
        0 | 705 => return Ok(None),
        NUMERIC => return Ok(Some(DEFAULT)),
        1231 => return list(&DEFAULT),
        _ => {}
    }
    if let Some(entry) = TYPES.iter().find(|entry| entry.1 == oid) {
        return Ok(Some(entry.0.clone()));
    }
    if let Some(entry) = TYPES.iter().find(|entry| entry.2 == oid) {
        return list(&entry.0);
    }
    if let Some((_, item)) = ARRAY_SYNONYMS.iter().find(|(number, _)| *number == oid) {
        return list(item);
    }
    SYNONYMS.iter().find(|(number, _)| *number == oid).map(|(_, t)| Some(t.clone())).ok_or(oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_numbers_and_numbers_types() {
        for (data_type, oid, array, _) in &TYPES {
            assert_eq!(super::oid(data_type), *oid);
            assert_eq!(super::data_type(*oid), Ok(Some(data_type.clone())));
            let list = DataType::List(Box::new(data_type.clone()));
            assert_eq!(super::oid(&list), *array);
            assert_eq!(super::data_type(*array), Ok(Some(list)));
        }
        assert_eq!((data_type(0), data_type(705), data_type(600)), (Ok(None), Ok(None), Err(600)));
        let money = DataType::Decimal { precision: 10, scale: 2 };
        assert_eq!((oid(&money), modifier(&money), size(&money)), (1700, 655_366, -1));
        let nested = DataType::List(Box::new(DataType::List(Box::new(DataType::Int64))));
        assert_eq!(oid(&nested), 25);
        let bigints = DataType::List(Box::new(DataType::Int64));
        assert_eq!((oid_or_oids(&bigints), oid_or_oids(&nested)), (1028, 25));
    }
}
