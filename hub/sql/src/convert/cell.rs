//! Single values onto columns of events, with PostgreSQL's errors.
//!
//! Owns: which SQLSTATE and words a value gets that a column does not take. Must not know: where values come from.

use crate::error::SqlError;
use crate::types::type_name;
use headwater::emit::{Cell, EmitError, EmitOptions, push_cell};
use headwater::schema::Field;
use headwater::value::DataType;
use headwater::value::column::Column;

/// Characters of a value that an error shows.
const SHOWN_CHARS: usize = 60;

/// Adds a value to a column of the field's type, or refuses it and leaves the column alone.
///
/// # Errors
/// `22P02`, `22007`: text that is no such value; `22003`, `22008`: out of range; `42804`: a value of another kind;
/// `22001`: text or bytea longer than events may have; `22023`: NaN, which no event may have.
pub fn put_cell(column: &mut Column, field: &Field, cell: Cell<'_>) -> Result<(), SqlError> {
    let pushed = match (cell, &field.data_type) {
        (Cell::Text(text), DataType::Date) => push_cell(column, field, Cell::Text(without_zone(text))),
        _ => push_cell(column, field, cell),
    };
    pushed.map_err(|error| explain(&error, field, cell))
}

/// A date without the offset of a time zone behind it, which PostgreSQL reads and forgets: JDBC writes `2024-02-29 +01`.
fn without_zone(text: &str) -> &str {
    let Some((date, zone)) = text.trim().split_once(' ') else { return text };
    let zone = zone.trim_start();
    let is_offset = zone.starts_with(['+', '-'])
        && (3..=9).contains(&zone.len())
        && zone.bytes().skip(1).all(|byte| byte.is_ascii_digit() || byte == b':');
    if is_offset { date } else { text }
}

#[cold]
fn explain(error: &EmitError, field: &Field, cell: Cell<'_>) -> SqlError {
    let of = type_name(&field.data_type);
    let is_time = matches!(field.data_type, DataType::Date | DataType::Timestamp | DataType::Interval);
    match (error, cell) {
        (EmitError::Malformed(_) | EmitError::WrongType(_), Cell::Text(text)) => {
            let code = if is_time { "22007" } else { "22P02" };
            SqlError::new(code, format!("invalid input syntax for type {of}: \"{}\"", shown(text)))
        }
        (EmitError::OutOfRange(_), cell) => {
            let code = if is_time { "22008" } else { "22003" };
            let message = match cell {
                Cell::Text(text) => format!("value \"{}\" is out of range for type {of}", shown(text)),
                _ => format!("value is out of range for type {of}"),
            };
            SqlError::new(code, message)
        }
        (EmitError::TooLong(_), _) => {
            let bytes_max = EmitOptions::default().value_bytes_max;
            SqlError::new("22001", format!("value too long: one of an event has at most {bytes_max} bytes"))
        }
        (EmitError::NotANumber(_), _) => {
            SqlError::new("22023", "NaN is no value of an event").with_hint("NULL is what is not known")
        }
        (EmitError::Full, _) => SqlError::new("54000", "too many bytes at a time"),
        _ => SqlError::new("42804", format!("a value of another type, where {of} is wanted")),
    }
}

/// The beginning of a text, for an error.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_jdbc_have_a_zone() {
        let field = Field { name: "d".into(), data_type: DataType::Date };
        let reads = |text| {
            let mut column = Column::new(&field.data_type);
            put_cell(&mut column, &field, Cell::Text(text)).map(|()| column.value(0, &field.data_type))
        };
        let day = reads("2024-02-29");
        assert!(day.is_ok());
        for text in ["2024-02-29 +00", " 2024-02-29 -0130 ", "2024-02-29 +01:00"] {
            assert_eq!(reads(text), day, "{text}");
        }
        for text in ["2024-02-29 12:00", "2024-02-29 +", "2024-02-29 x", "2024-02-29 +0000000000"] {
            assert!(reads(text).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_are_postgresqls() {
        let long = "x".repeat(70_000);
        for (data_type, cell, code, message) in [
            (DataType::Int32, Cell::Text("a"), "22P02", "invalid input syntax for type integer: \"a\""),
            (DataType::Int32, Cell::Text("1.5"), "22P02", "invalid input syntax for type integer: \"1.5\""),
            (DataType::Date, Cell::Text("soon"), "22007", "invalid input syntax for type date: \"soon\""),
            (DataType::Int16, Cell::Int(70_000), "22003", "value is out of range for type smallint"),
            (DataType::Bool, Cell::Int(1), "42804", "a value of another type, where boolean is wanted"),
            (DataType::Float64, Cell::Text("NaN"), "22023", "NaN is no value of an event"),
            (
                DataType::Text,
                Cell::Text(&long),
                "22001",
                "value too long: one of an event has at most 65536 bytes",
            ),
        ] {
            let field = Field { name: "c".into(), data_type };
            let mut column = Column::new(&field.data_type);
            let error = put_cell(&mut column, &field, cell).expect_err(message);
            assert_eq!((error.code, error.message.as_str(), column.len()), (code, message, 0));
        }
    }
}
