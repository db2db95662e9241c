//! The evaluator against PostgreSQL's own answers, and kernels against the row-by-row path.

pub(crate) mod case;
mod laws;

use super::*;
use crate::value::column::{ColumnData, Slot};
use crate::value::{DataType, Value};
use alloc::string::{String, ToString};
use case::{Case, Shape};

/// Each line of the file: an expression, its type and PostgreSQL 15's result.
#[test]
fn expressions_give_what_postgresql_gives() {
    let file = include_str!("../../../tests/vectors/expressions.txt");
    let mut wrong = String::new();
    let mut cases = 0;
    for line in file.lines().filter(|l| !l.starts_with('#')) {
        let case = Case::parse(line);
        for shape in [Shape::Literals, Shape::Columns, Shape::ColumnsWithNulls] {
            cases += 1;
            let found = case.evaluate(shape);
            if found != case.expected && !excused(&case.sql) {
                wrong += &alloc::format!("{} ({shape:?}): {found} instead of {}\n", case.sql, case.expected);
            }
        }
    }
    assert!(cases > 4000, "the file was read");
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{wrong}", wrong.lines().count());
}

/// Where we differ on purpose.
fn excused(sql: &str) -> bool {
    // Unicode's full case mapping (as with ICU), not the C library's one character for one.
    let full_case = sql.starts_with("upper(") && sql.contains('\u{df}');
    // The shortest text that reads back; PostgreSQL's algorithm leaves out the interval's ends.
    let shortest = sql.contains("'1e23'");
    // Hexadecimal floats depend on PostgreSQL's C library.
    let hex_float = sql.contains("'0x10'");
    // Malformed input is a bad cast, whatever error class PostgreSQL gives it.
    let class = sql.contains("as bytea") || sql == "to_timestamp(float8 'NaN')";
    full_case || shortest || hex_float || class
}

/// The slot or the value as text: `NULL`, `!overflow`, `=12.5`.
fn shown(column: &Column, text: &Column, row: usize) -> String {
    match (column.slot(row), &column.data) {
        (Slot::Null, _) => "NULL".to_string(),
        (Slot::Valid, ColumnData::Interval(v)) => {
            alloc::format!("={} {} {}", v[row].months, v[row].days, v[row].micros)
        }
        (Slot::Valid, _) => match text.value(row, &DataType::Text) {
            Value::Text(text) => alloc::format!("={text}"),
            other => alloc::format!("no text but {other:?}"),
        },
        (slot, _) => alloc::format!("!{}", slot.code()),
    }
}
