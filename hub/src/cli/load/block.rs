//! A run of rows as columns of the stream, filled row by row or column by column.
//!
//! Invariant: a row is in all columns or in none; every value went through the SDK's own conversions.

use super::faults::{Fault, Place};
use super::mapping::Target;
pub(super) use crate::ingest::json::Found;
use headwater::emit::{Cell, EmitError, push_cell};
use headwater::limits::TimeLimits;
use headwater::value::DataType;
use headwater::value::column::{Column, ColumnBatch, ColumnData};
use headwater_sql::type_name;

/// Text and bytea may be as long as for `emit`.
const VALUE_KIB: usize = 64;

/// What a load tells about its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Odd {
    /// NaN values that were read as NULL.
    pub nans: u64,
    /// Rows whose time lies further in the future than hubs take.
    pub future: u64,
    /// The first of them, and its time.
    pub first_future: Option<(Place, i64)>,
    /// Rows whose time is NULL, in a file that brings times.
    pub timeless: u64,
    /// The latest time that a row brings.
    pub latest: Option<i64>,
}

impl Odd {
    /// Adds counts.
    pub fn add(&mut self, other: Self) {
        self.nans += other.nans;
        self.future += other.future;
        self.first_future = self.first_future.or(other.first_future);
        self.timeless += other.timeless;
        self.latest = self.latest.max(other.latest);
    }
}

/// Columns of the stream, `arrival_timestamp` last.
#[derive(Debug)]
pub(super) struct Block<'a> {
    targets: &'a [Target],
    columns: Vec<Column>,
    rows: usize,
    /// Where each row is in the file, as far as that was said.
    places: Vec<Place>,
    odd: Odd,
}

impl<'a> Block<'a> {
    /// No rows.
    pub fn new(targets: &'a [Target]) -> Self {
        let columns = targets.iter().map(|target| Column::new(&target.field.data_type)).collect();
        Self { targets, columns, rows: 0, places: Vec::new(), odd: Odd::default() }
    }

    /// Adds a row of text; `found` gives the value of the file's column at a position.
    pub fn push_row<'f>(
        &mut self,
        mut found: impl FnMut(usize) -> Result<Found<'f>, Fault>,
    ) -> Result<(), Fault> {
        let nans = self.odd.nans;
        for (at, target) in self.targets.iter().enumerate() {
            let put = match target.source {
                Some(source) => found(source).and_then(|found| self.put_found(at, &found)),
                None => self.put(at, Cell::Null),
            };
            if let Err(fault) = put {
                self.columns.iter_mut().for_each(|column| column.truncate(self.rows));
                self.odd.nans = nans;
                return Err(fault);
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Says where the next row is.
    pub fn place(&mut self, place: Place) {
        self.places.push(place);
    }

    /// Says that `rows` were added to every column by [`Self::put`].
    pub fn complete(&mut self, rows: usize) {
        self.rows += rows;
    }

    fn put_found(&mut self, at: usize, found: &Found<'_>) -> Result<(), Fault> {
        let data_type = &self.targets[at].field.data_type;
        let Some(cell) = found.cell(data_type) else {
            let what = format!("column {}: an array or object", self.targets[at].field.name);
            return Err(Fault { code: "wrong_type", what });
        };
        self.put(at, cell)
    }

    /// Adds a value to column `at`. NaN is how many writers of files say "missing"; states do not take it: it
    /// reads as NULL, and is counted so that the load can tell.
    pub fn put(&mut self, at: usize, cell: Cell<'_>) -> Result<(), Fault> {
        let field = &self.targets[at].field;
        match push_cell(&mut self.columns[at], field, cell) {
            Ok(()) => Ok(()),
            Err(EmitError::NotANumber(_)) => {
                self.odd.nans += 1;
                self.put(at, Cell::Null)
            }
            Err(error) => Err(fault(&error, &field.name, &field.data_type, cell)),
        }
    }

    /// The columns, once rows without a time have one: `arrival`, when the load began.
    pub fn finish(mut self, arrival: i64) -> (ColumnBatch, Odd) {
        if let Some(times) = self.columns.pop() {
            let skew = i64::try_from(TimeLimits::PERSISTENT.future_skew_max.as_micros()).unwrap_or(i64::MAX);
            let latest = arrival.saturating_add(skew);
            let time = |row| match &times.data {
                ColumnData::Int(values) if times.is_valid(row) => values[row],
                _ => arrival,
            };
            let filled: Vec<i64> = (0..self.rows).map(time).collect();
            if self.targets.last().is_some_and(|target| target.source.is_some()) {
                self.odd.timeless += (0..self.rows).filter(|row| !times.is_valid(*row)).count() as u64;
            }
            self.odd.latest = (0..self.rows).filter(|row| times.is_valid(*row)).map(time).max();
            self.odd.future += filled.iter().filter(|time| **time > latest).count() as u64;
            let mut placed = self.places.iter().copied().zip(filled.iter().copied());
            self.odd.first_future = placed.find(|(_, time)| *time > latest);
            self.columns.push(Column::valid(ColumnData::Int(filled)));
        }
        (ColumnBatch { columns: self.columns }, self.odd)
    }
}

fn fault(error: &EmitError, name: &str, data_type: &DataType, cell: Cell<'_>) -> Fault {
    let (shown, of) = (shown(cell), type_name(data_type));
    let what = match error.code() {
        "wrong_type" => format!("column {name}: {shown} is not {of}"),
        "out_of_range" => format!("column {name}: {shown} is out of range for {of}"),
        "malformed" => format!("column {name}: {shown} cannot be read as {of}{}", form(data_type)),
        "too_long" => format!("column {name}: {shown} is longer than {VALUE_KIB} KiB"),
        _ => error.to_string(),
    };
    Fault { code: error.code(), what }
}

/// How a value is written whose form is not plain.
fn form(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Timestamp => ": write it as 2026-11-30T12:00:00Z",
        DataType::Date => ": write it as 2026-11-30",
        DataType::Interval => ": write it as 1 day 02:30:00",
        DataType::Uuid => ": write it as 01020304-0506-0708-090a-0b0c0d0e0f10",
        DataType::Bytea => ": write it as \\x00ff",
        _ => "",
    }
}

/// Text between quotes as the file has it; what cannot be seen is written out.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out + "\""
}

fn shown(cell: Cell<'_>) -> String {
    const CHARS: usize = 40;
    match cell {
        Cell::Null => "NULL".into(),
        Cell::Bool(v) => v.to_string(),
        Cell::Int(v) => v.to_string(),
        Cell::Float(v) => v.to_string(),
        Cell::Real(v) => v.to_string(),
        Cell::Text(v) if v.chars().count() > CHARS => {
            format!("{}...", quoted(&v.chars().take(CHARS).collect::<String>()))
        }
        Cell::Text(v) => quoted(v),
        Cell::Decimal { units, scale } => {
            use headwater::value::Value;
            let data_type = DataType::Decimal { precision: 38, scale };
            crate::api::text::text(&Value::Decimal(units), &data_type).unwrap_or_default()
        }
        _ => "what it has".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::schema::{ARRIVAL_TIMESTAMP, Field};
    use headwater::value::Value;

    fn targets() -> Vec<Target> {
        let target =
            |name: &str, data_type, source| Target { field: Field { name: name.into(), data_type }, source };
        vec![
            target("n", DataType::Int64, Some(0)),
            target("x", DataType::Float64, Some(1)),
            target("t", DataType::Text, None),
            target(ARRIVAL_TIMESTAMP, DataType::Timestamp, Some(2)),
        ]
    }

    /// No format could feed such a column.
    #[test]
    fn intervals_are_read_from_text() {
        let field = Field { name: "i".into(), data_type: DataType::Interval };
        let targets = [Target { field, source: Some(0) }];
        let mut block = Block::new(&targets);
        for text in ["1 day 02:00:00", " -00:00:01.5 ", "90", "1 year 2 mons"] {
            block.push_row(|_| Ok(Found::Text(text.into()))).expect(text);
        }
        let faults = [Found::Text("soon".into()), Found::Number("7"), Found::Text("1 fortnight".into())]
            .map(|found| block.push_row(|_| Ok(found.clone())).expect_err("no interval").what);
        assert_eq!(faults[0], "column i: \"soon\" cannot be read as interval: write it as 1 day 02:30:00");
        let shown: Vec<_> = (0..block.rows)
            .map(|row| block.columns[0].value(row, &DataType::Interval))
            .filter_map(|value| crate::api::text::text(&value, &DataType::Interval))
            .collect();
        assert_eq!(shown, ["1 day 02:00:00", "-00:00:01.5", "00:01:30", "1 year 2 mons"]);
    }

    /// Backslashes were told twice, and the form that is wanted not at all.
    #[test]
    fn text_is_told_as_it_is_and_as_it_should_be() {
        for (data_type, text, expected) in [
            (DataType::Bytea, "\\x0", r#""\x0" cannot be read as bytea: write it as \x00ff"#),
            (DataType::Uuid, "a\nb", r#""a\nb" cannot be read as uuid: write it as 01020304-"#),
            (
                DataType::Timestamp,
                "30.11.",
                "\"30.11.\" cannot be read as timestamptz: write it as 2026-11-30T12:",
            ),
            (DataType::Date, "\"", "\"\"\" cannot be read as date: write it as 2026-11-30"),
            (DataType::Int64, "x", "\"x\" cannot be read as bigint"),
        ] {
            let targets = [Target { field: Field { name: "c".into(), data_type }, source: Some(0) }];
            let fault =
                Block::new(&targets).push_row(|_| Ok(Found::Text(text.into()))).expect_err("malformed");
            assert!(fault.what.starts_with(&format!("column c: {expected}")), "{}", fault.what);
        }
    }

    /// A file's value of any length was taken, where `emit` refuses it.
    #[test]
    fn values_are_as_long_as_emit_takes_them() {
        let max = headwater::emit::EmitOptions::default().value_bytes_max;
        assert_eq!(max, VALUE_KIB << 10);
        let field = |data_type| Field { name: "v".into(), data_type };
        for (data_type, longest, longer) in [
            (DataType::Text, "x".repeat(max), "x".repeat(max + 1)),
            (DataType::Bytea, format!("\\x{}", "00".repeat(max)), format!("\\x{}", "00".repeat(max + 1))),
        ] {
            let targets = [Target { field: field(data_type), source: Some(0) }];
            let mut block = Block::new(&targets);
            block.push_row(|_| Ok(Found::Text(longest.as_str().into()))).expect("as long as may be");
            let fault = block.push_row(|_| Ok(Found::Text(longer.as_str().into()))).expect_err("too long");
            assert_eq!(fault.code, "too_long");
            assert!(fault.what.ends_with("... is longer than 64 KiB"), "{}", fault.what);
        }
    }

    #[test]
    fn a_row_is_taken_whole_or_not_at_all() {
        let targets = targets();
        let mut block = Block::new(&targets);
        let rows = [
            [Found::Number("1"), Found::Text("NaN".into()), Found::Null],
            [Found::Number("1.5"), Found::Text("NaN".into()), Found::Null],
            [Found::Number("2"), Found::Nested, Found::Null],
            [Found::Text("3".into()), Found::Number("0.5"), Found::Number("7")],
            [Found::Null, Found::Bool(true), Found::Null],
        ];
        let mut faults = Vec::new();
        for row in rows {
            faults.extend(block.push_row(|at| Ok(row[at].clone())).err().map(|fault| fault.what));
        }
        let expected = [
            "column n: \"1.5\" is not bigint",
            "column x: an array or object",
            "column x: true is not double precision",
        ];
        assert_eq!(faults, expected);
        let (batch, odd) = block.finish(40);
        assert_eq!((batch.rows(), odd), (2, Odd { nans: 1, timeless: 1, latest: Some(7), ..Odd::default() }));
        let values = |at: usize| [0, 1].map(|row| batch.columns[at].value(row, &targets[at].field.data_type));
        assert_eq!(values(0), [Value::Int(1), Value::Int(3)]);
        assert_eq!(values(1), [Value::Null, Value::Float(0.5)]);
        assert_eq!(values(2), [Value::Null, Value::Null]);
        assert_eq!(values(3), [Value::Int(40), Value::Int(7)]);
    }
}
