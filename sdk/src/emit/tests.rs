use super::*;
use crate::ids::StreamId;
use crate::schema::Field;
use crate::value::{DataType, Interval};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;

pub(super) fn schema() -> StreamSchema {
    let field = |name: &str, data_type| Field { name: name.to_string(), data_type };
    let fields = vec![
        field("flag", DataType::Bool),
        field("small", DataType::Int16),
        field("big", DataType::Int64),
        field("real", DataType::Float32),
        field("double", DataType::Float64),
        field("price", DataType::Decimal { precision: 6, scale: 2 }),
        field("name", DataType::Text),
        field("raw", DataType::Bytea),
        field("id", DataType::Uuid),
        field("day", DataType::Date),
        field("time", DataType::Timestamp),
        field("span", DataType::Interval),
    ];
    StreamSchema { id: StreamId(1), name: "s".to_string(), fields }
}

pub(super) fn buffer() -> EventBuffer {
    EventBuffer::with_options(schema(), EmitOptions { value_bytes_max: 8, rows_max: 100 })
}

/// The last row by column name.
pub(super) fn last(buffer: &EventBuffer) -> BTreeMap<String, Value> {
    buffer.batch().check(buffer.schema()).expect("a buffer holds valid batches");
    let columns = buffer.batch().columns.iter().enumerate();
    let value = |(at, column): (usize, &crate::value::column::Column)| {
        let data_type = buffer.schema().data_type(at).expect("a column of the schema");
        (name_of(buffer.schema(), at).to_string(), column.value(buffer.rows() - 1, &data_type))
    };
    columns.map(value).filter(|(_, v)| !v.is_null()).collect()
}

fn one(name: &str, value: Value) -> Result<Value, EmitError> {
    let mut buffer = buffer();
    buffer.push_values(&[(name, value)], Micros(5))?;
    Ok(last(&buffer).remove(name).unwrap_or(Value::Null))
}

#[derive(Serialize)]
enum Level {
    Warn,
}

#[derive(Serialize)]
struct Wrapped(i64);

#[derive(Serialize)]
pub(super) struct Event<'a> {
    name: &'a str,
    flag: bool,
    small: u8,
    big: Wrapped,
    real: f32,
    double: Option<f64>,
    price: f64,
    raw: Vec<u8>,
    id: [u8; 16],
    day: &'a str,
    time: i64,
    span: &'a str,
}

pub(super) fn event(name: &str) -> Event<'_> {
    Event {
        name,
        flag: true,
        small: 7,
        big: Wrapped(-1),
        real: 0.5,
        double: None,
        price: 12.345,
        raw: vec![0, 255],
        id: [9; 16],
        day: "2024-02-29",
        time: 77,
        span: "1 mon -00:00:01",
    }
}

#[test]
fn a_struct_becomes_a_row() {
    let mut buffer = buffer();
    for name in ["a", "\u{e9}"] {
        buffer.push(&event(name), Micros(42)).expect("a good event");
    }
    let row = last(&buffer);
    assert_eq!(buffer.rows(), 2);
    assert_eq!(row["name"], Value::Text("\u{e9}".to_string()));
    assert_eq!(row["flag"], Value::Bool(true));
    assert_eq!(row["small"], Value::Int(7));
    assert_eq!(row["big"], Value::Int(-1));
    assert_eq!(row["real"], Value::Float(0.5));
    assert_eq!(row.get("double"), None);
    assert_eq!(row["price"], Value::Decimal(1235), "rounded to the column's scale");
    assert_eq!(row["raw"], Value::Bytes(vec![0, 255]));
    assert_eq!(row["id"], Value::Bytes(vec![9; 16]));
    assert_eq!(row["day"], Value::Int(19_782));
    assert_eq!(row["time"], Value::Int(77));
    let span = Interval { months: 1, days: 0, micros: -1_000_000 };
    assert_eq!(row["span"], Value::Interval(span));
    assert_eq!(row[ARRIVAL_TIMESTAMP], Value::Int(42));
}

#[test]
fn maps_enums_options_and_other_structs_share_a_buffer() {
    #[derive(Serialize)]
    struct Other {
        time: &'static str,
        name: Level,
        arrival_timestamp: i64,
    }
    #[derive(Serialize)]
    struct Flat<'a> {
        flag: bool,
        #[serde(flatten)]
        rest: BTreeMap<&'a str, i64>,
    }
    let mut buffer = buffer();
    let other = Other { time: "1970-01-01T00:00:01Z", name: Level::Warn, arrival_timestamp: 3 };
    buffer.push(&Some(other), Micros(42)).expect("a good event");
    let row = last(&buffer);
    assert_eq!(row["time"], Value::Int(1_000_000));
    assert_eq!(row["name"], Value::Text("Warn".to_string()));
    assert_eq!(row[ARRIVAL_TIMESTAMP], Value::Int(3));
    buffer.push(&Flat { flag: false, rest: BTreeMap::from([("big", 8)]) }, Micros(1)).expect("a good event");
    assert_eq!(last(&buffer)["big"], Value::Int(8));
    buffer.push(&event("b"), Micros(2)).expect("a good event");
    assert_eq!(last(&buffer)["small"], Value::Int(7));
    assert_eq!(buffer.rows(), 3);
    buffer.clear();
    assert!(buffer.is_empty() && buffer.batch().rows() == 0);
}

#[test]
fn every_kind_of_bad_event_has_a_code_and_leaves_no_trace() {
    let mut buffer = buffer();
    buffer.push(&event("kept"), Micros(1)).expect("a good event");
    let before = buffer.batch().clone();
    let long = "123456789".to_string();
    let bad: &[(&str, Value, &str)] = &[
        ("nope", Value::Int(1), "unknown_column"),
        ("flag", Value::Int(1), "wrong_type"),
        ("small", Value::Int(40_000), "out_of_range"),
        ("small", Value::Float(1.5), "wrong_type"),
        ("big", Value::Text("1".to_string()), "wrong_type"),
        ("double", Value::Float(f64::NAN), "nan"),
        ("real", Value::Float(1e300), "out_of_range"),
        ("price", Value::Int(10_000), "out_of_range"),
        ("price", Value::Text("x".to_string()), "malformed"),
        ("name", Value::Text(long.clone()), "too_long"),
        ("raw", Value::Bytes(long.into_bytes()), "too_long"),
        ("id", Value::Bytes(vec![1; 15]), "malformed"),
        ("id", Value::Text("zz".to_string()), "malformed"),
        ("day", Value::Text("2024-02-30".to_string()), "malformed"),
        ("time", Value::Text("noon".to_string()), "malformed"),
        ("span", Value::Text("soon".to_string()), "malformed"),
        ("span", Value::Int(1), "wrong_type"),
    ];
    for (name, value, code) in bad {
        let good = ("double", Value::Float(1.0));
        let good = if *name == "double" { ("big", Value::Int(1)) } else { good };
        let error = buffer.push_values(&[good, (name, value.clone())], Micros(2)).expect_err("a bad event");
        assert_eq!(error.code(), *code, "{name} {value:?}");
        assert_eq!(buffer.batch(), &before, "{name} left a trace");
    }
    let mut told = |name, value| buffer.push_values(&[(name, value)], Micros(2)).map_err(|e| e.to_string());
    for (name, value, expected) in [
        ("big", Value::Text("1".to_string()), "column \"big\" is bigint, the value is text"),
        ("small", Value::Float(1.5), "column \"small\" is smallint, the value is a fraction"),
        ("price", Value::Bool(true), "column \"price\" is numeric(6,2), the value is boolean"),
    ] {
        assert_eq!(told(name, value), Err(expected.to_string()));
    }
    let told = |buffer: &mut EventBuffer, event| buffer.push(&event, Micros(2)).map_err(|e| e.to_string());
    for (event, expected) in [
        (serde_json::json!({ "name": ["a"] }), "column \"name\" is text, the value is a list"),
        (
            serde_json::json!({ "time": { "a": 1 } }),
            "column \"time\" is timestamptz, the value is a struct or map",
        ),
    ] {
        assert_eq!(told(&mut buffer, event), Err(expected.to_string()));
    }
    let twice = [("big", Value::Int(1)), ("big", Value::Int(2))];
    assert_eq!(buffer.push_values(&twice, Micros(2)).map_err(|e| e.code()), Err("duplicate_column"));
    assert_eq!(buffer.push(&5, Micros(2)), Err(EmitError::NotARow));
    assert_eq!(buffer.push(&vec![1, 2], Micros(2)), Err(EmitError::NotARow));
    let text = event("far too long").name.to_string();
    assert_eq!(buffer.push(&event(&text), Micros(2)).map_err(|e| e.code()), Err("too_long"));
    assert_eq!(buffer.batch(), &before);
    assert_eq!(buffer.rows(), 1);
}

/// The npm package and `load` take it so; an `Option` that is `None` was refused.
#[test]
fn an_arrival_of_null_is_the_time_of_the_push() {
    let mut buffer = buffer();
    for (given, pushed, taken) in [(None, 5, 5), (Some(7), 6, 7), (None, 8, 8)] {
        let event = BTreeMap::from([(ARRIVAL_TIMESTAMP, given)]);
        buffer.push(&event, Micros(pushed)).expect("a good event");
        assert_eq!(last(&buffer)[ARRIVAL_TIMESTAMP], Value::Int(taken));
    }
    buffer.push(&event("a"), Micros(9)).expect("a good event");
    assert_eq!((buffer.rows(), last(&buffer)[ARRIVAL_TIMESTAMP].clone()), (4, Value::Int(9)));
}

#[test]
fn conversions_lose_nothing() {
    assert_eq!(one("big", Value::Float(3.0)), Ok(Value::Int(3)));
    assert_eq!(one("time", Value::Float(1e15)), Ok(Value::Int(1_000_000_000_000_000)));
    assert_eq!(one("double", Value::Int(3)), Ok(Value::Float(3.0)));
    assert_eq!(one("price", Value::Int(-3)), Ok(Value::Decimal(-300)));
    assert_eq!(one("price", Value::Float(0.1)), Ok(Value::Decimal(10)));
    assert_eq!(one("price", Value::Text("9999.99".to_string())), Ok(Value::Decimal(999_999)));
    assert_eq!(one("real", Value::Float(0.1)), Ok(Value::Float(f64::from(0.1f32))));
    assert_eq!(one("day", Value::Int(-1)), Ok(Value::Int(-1)));
    assert_eq!(one("name", Value::Null), Ok(Value::Null));
}

#[test]
fn a_full_buffer_says_so() {
    let mut buffer =
        EventBuffer::with_options(schema(), EmitOptions { rows_max: 1, ..EmitOptions::default() });
    buffer.push(&event("a"), Micros(1)).expect("room");
    assert_eq!(buffer.push(&event("b"), Micros(1)), Err(EmitError::Full));
    buffer.clear();
    buffer.push(&event("b"), Micros(1)).expect("room again");
}

#[test]
fn a_serialize_that_fails_midway_leaves_no_trace() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut row = serializer.serialize_struct("Fails", 2)?;
            row.serialize_field("big", &1)?;
            Err(serde::ser::Error::custom("changed my mind"))
        }
    }
    let mut buffer = buffer();
    let error = buffer.push(&Fails, Micros(1)).expect_err("it fails");
    assert_eq!(error, EmitError::Serialize("changed my mind".to_string()));
    buffer.push(&event("a"), Micros(1)).expect("the column is free again");
    last(&buffer);
}

proptest! {
    #[test]
    fn whatever_is_pushed_the_batch_stays_valid(
        rows in proptest::collection::vec((0usize..14, any::<i64>(), any::<f64>(), "[0-9:T.\\- ]{0,10}", 0u8..4), 0..40),
    ) {
        let mut buffer = buffer();
        let mut added = 0;
        for (column, int, float, text, kind) in rows {
            let name = if column == 13 { "nope" } else { name_of(buffer.schema(), column) }.to_string();
            let value = match kind {
                0 => Value::Int(int),
                1 => Value::Float(float),
                2 => Value::Text(text),
                _ => Value::Bytes(text.into_bytes()),
            };
            added += usize::from(buffer.push_values(&[(&name, value)], Micros(int)).is_ok());
        }
        prop_assert_eq!(buffer.rows(), added);
        prop_assert_eq!(buffer.batch().rows(), added);
        prop_assert_eq!(buffer.batch().check(buffer.schema()), Ok(()));
    }
}

#[test]
fn foreign_batches_are_checked() {
    use crate::value::column::{ColumnData, Slot};
    let mut good = buffer();
    good.push(&event("\u{e9}a"), Micros(1)).expect("a good event");
    good.push(&event("b"), Micros(1)).expect("a good event");
    let check = |change: &dyn Fn(&mut ColumnBatch)| {
        let mut batch = good.batch().clone();
        change(&mut batch);
        batch.check(&schema())
    };
    assert_eq!(check(&|_| ()), Ok(()));
    let bad: [&dyn Fn(&mut ColumnBatch); 9] = [
        &|b| drop(b.columns.pop()),
        &|b| b.columns[0].truncate(1),
        &|b| b.columns[2].data = ColumnData::Float(vec![1.0, 2.0]),
        &|b| b.columns[1].data = ColumnData::Int(vec![1, 1 << 40]),
        &|b| b.columns[3].data = ColumnData::Float(vec![1.0, f64::NAN]),
        &|b| b.columns[12].slots = Some(vec![Slot::Null; 2]),
        &|b| b.columns[2].slots = Some(vec![Slot::Overflow; 2]),
        &|b| b.columns[2].slots = Some(vec![Slot::Valid]),
        &|b| {
            let ColumnData::Bytes(v) = &mut b.columns[6].data else { return };
            v.offsets[1] = 1;
        },
    ];
    for (at, change) in bad.iter().enumerate() {
        assert!(check(change).is_err(), "change {at} is found");
    }
}

#[test]
fn the_last_row_comes_out_as_it_went_in() {
    let mut buffer = buffer();
    buffer.push_values(&[("name", Value::Text("a".into()))], Micros(5)).expect("fits");
    let before = buffer.clone();
    let row = [
        ("flag", Value::Bool(true)),
        ("double", Value::Float(0.5)),
        ("price", Value::Decimal(12)),
        ("raw", Value::Bytes(vec![0, 1])),
    ];
    buffer.push_values(&row, Micros(6)).expect("fits");
    let expected = last(&buffer);
    let alone = buffer.take_last().expect("a row");
    assert_eq!((buffer.rows(), buffer.batch().columns.iter().map(Column::len).max()), (1, Some(1)));
    assert_eq!(last(&buffer), last(&before));
    alone.check(buffer.schema()).expect("a valid batch");
    let types = |at: usize| buffer.schema().data_type(at).expect("a column").clone();
    let values = alone.columns.iter().enumerate().map(|(at, column)| column.value(0, &types(at)));
    assert_eq!(values.filter(|v| !v.is_null()).collect::<Vec<_>>(), {
        let in_order = (0..alone.columns.len()).map(|at| name_of(buffer.schema(), at));
        in_order.filter_map(|name| expected.get(name).cloned()).collect::<Vec<_>>()
    });
    assert!(buffer.take_last().is_some() && buffer.take_last().is_none());
}
