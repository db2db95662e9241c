//! Type names: SQL's spelling of [`DataType`] in both directions.

use crate::error::SqlError;
use datafusion::sql::sqlparser::ast::{self, CharacterLength, ExactNumberInfo};
use headwater::value::DataType;

/// Digits of a `numeric` without parameters: the widest that is held, with a middle scale.
const NUMERIC_DEFAULT: (u8, u8) = (38, 10);

/// The type as PostgreSQL prints it: `bigint`, `numeric(10,2)`, `timestamptz`, `text[]`.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Bool => "boolean".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        DataType::Text => "text".into(),
        DataType::Bytea => "bytea".into(),
        DataType::Uuid => "uuid".into(),
        DataType::Date => "date".into(),
        DataType::Timestamp => "timestamptz".into(),
        DataType::Interval => "interval".into(),
        DataType::List(item) => format!("{}[]", type_name(item)),
        DataType::Struct(fields) => struct_name(fields),
        DataType::Null => "unknown".into(),
        _ => format!("{data_type:?}"),
    }
}

fn struct_name(fields: &[(String, DataType)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, t)| format!("{name} {}", type_name(t))).collect();
    format!("record({})", fields.join(", "))
}

/// Reads a type as SQL writes it. Lengths of `varchar(n)` and `char(n)` are accepted and not enforced, and
/// `timestamp` is `timestamptz` in UTC: a stream has one clock.
pub(crate) fn parse_type(written: &ast::DataType) -> Result<DataType, SqlError> {
    use ast::DataType as T;
    Ok(match written {
        T::Bool | T::Boolean => DataType::Bool,
        T::SmallInt(None) | T::Int2(None) => DataType::Int16,
        T::Int(None) | T::Integer(None) | T::Int4(None) => DataType::Int32,
        T::BigInt(None) | T::Int8(None) => DataType::Int64,
        T::Real | T::Float4 => DataType::Float32,
        T::DoublePrecision | T::Float8 | T::Double(ExactNumberInfo::None) => DataType::Float64,
        T::Float(info) => float(info)?,
        T::Numeric(info) | T::Decimal(info) | T::Dec(info) => decimal(info)?,
        T::Varchar(Some(CharacterLength::IntegerLength { length: 0, .. }))
        | T::CharacterVarying(Some(CharacterLength::IntegerLength { length: 0, .. })) => {
            return Err(SqlError::new("22023", "length for type varchar must be at least 1"));
        }
        T::Text
        | T::Varchar(_)
        | T::CharacterVarying(_)
        | T::CharVarying(_)
        | T::Char(_)
        | T::Character(_) => DataType::Text,
        T::String(None) => DataType::Text,
        T::Bytea => DataType::Bytea,
        T::Uuid => DataType::Uuid,
        T::Date => DataType::Date,
        T::Timestamp(..) => DataType::Timestamp,
        T::Interval { .. } => DataType::Interval,
        other => return Err(unknown_type(other)),
    })
}

fn unknown_type(written: &ast::DataType) -> SqlError {
    let supported = "types: boolean, smallint, integer, bigint, real, double precision, numeric(p,s), text, varchar, \
                     timestamptz, date, interval, bytea, uuid";
    let name = written.to_string().to_lowercase();
    if let ast::DataType::Custom(..) = written {
        return SqlError::new("42704", format!("type \"{name}\" does not exist")).with_hint(supported);
    }
    SqlError::unsupported(format!("type {name}")).with_hint(supported)
}

fn float(info: &ExactNumberInfo) -> Result<DataType, SqlError> {
    match info {
        ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53) => Ok(DataType::Float64),
        ExactNumberInfo::Precision(1..=24) => Ok(DataType::Float32),
        _ => Err(SqlError::new("22023", "precision of float must be between 1 and 53")),
    }
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType, SqlError> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => (u64::from(NUMERIC_DEFAULT.0), i64::from(NUMERIC_DEFAULT.1)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let in_range = (1..=38).contains(&precision) && u64::try_from(scale).is_ok_and(|s| s <= precision);
    if !in_range {
        let message =
            format!("numeric({precision},{scale}): precision must be 1 to 38 and scale 0 to precision");
        return Err(SqlError::new("22023", message));
    }
    Ok(DataType::Decimal { precision: precision as u8, scale: scale as u8 })
}
