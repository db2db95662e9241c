//! Prevents: an event that is taken or refused by whether its stream's schema is there yet.

use super::*;
use crate::emit::tests::{buffer, event, last, schema};
use crate::ids::Micros;
use crate::schema::ARRIVAL_TIMESTAMP;
use crate::value::Value;
use alloc::collections::BTreeMap;
use alloc::vec;
use serde::Serialize;

type Row = BTreeMap<String, Value>;

fn now<T: Serialize + ?Sized>(event: &T) -> Result<Row, EmitError> {
    let mut buffer = buffer();
    buffer.push(event, Micros(5)).map_err(without_type)?;
    Ok(last(&buffer))
}

/// The column's type, which nobody knows while the event is kept.
fn without_type(mut error: EmitError) -> EmitError {
    if let EmitError::WrongType(mismatch) = &mut error {
        mismatch.expected.clear();
    }
    error
}

fn later<T: Serialize + ?Sized>(event: &T) -> Result<Row, EmitError> {
    now(&KeptEvent::of(event).map_err(without_type)?)
}

/// How many columns take a value; all do the same with it now and later.
fn columns_that_take<T: Serialize>(value: T) -> usize {
    let schema = schema();
    let columns = schema.fields.iter().map(|field| field.name.as_str()).chain([ARRIVAL_TIMESTAMP]);
    let event = |column| BTreeMap::from([(column, &value)]);
    let alike = columns.filter(|column| {
        let (now, later) = (now(&event(*column)), later(&event(*column)));
        assert_eq!(now, later, "{column}");
        now.is_ok()
    });
    alike.count()
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Wrapped<T>(T);

#[derive(Serialize)]
struct Pair(u8, u8);

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
enum Any {
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Struct { name: &'static str, small: u8 },
}

/// How serde shows a `bytes::Bytes` or a `serde_bytes::ByteBuf`.
struct Blob(&'static [u8]);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("changed my mind"))
    }
}

/// Every shape of a value that serde has: the number of columns that take it, so that none passes by being refused
/// everywhere.
#[test]
fn every_value_means_the_same_now_and_later() {
    let taken = [
        columns_that_take(true),
        columns_that_take(1i8),
        columns_that_take(-1i16),
        columns_that_take(1i32),
        columns_that_take(i64::MAX),
        columns_that_take(1i128),
        columns_that_take(1u8),
        columns_that_take(1u16),
        columns_that_take(40_000u32),
        columns_that_take(1u64),
        columns_that_take(1u128),
        columns_that_take(0.5f32),
        columns_that_take(1.0f64),
        columns_that_take(f64::INFINITY),
        columns_that_take('x'),
        columns_that_take("x"),
        columns_that_take("12.50"),
        columns_that_take("2024-02-29"),
        columns_that_take("1 day 2 h"),
        columns_that_take("00010203-0405-0607-0809-0a0b0c0d0e0f"),
        columns_that_take(Blob(&[0, 255])),
        columns_that_take(vec![0u8, 255]),
        columns_that_take([9u8; 16]),
        columns_that_take((1u8, 2i64)),
        columns_that_take(vec![1.0f64]),
        columns_that_take(Some(1)),
        columns_that_take(None::<u8>),
        columns_that_take(()),
        columns_that_take(Any::Unit),
        columns_that_take(Wrapped(Some(Wrapped("x")))),
        columns_that_take(serde_json::json!(7)),
        columns_that_take(serde_json::json!([7, 8])),
    ];
    assert!(taken.iter().all(|columns| *columns > 0), "{taken:?}");
}

#[test]
fn what_no_column_takes_is_refused_alike() {
    let taken = [
        columns_that_take(u64::MAX),
        columns_that_take(i128::MIN),
        columns_that_take(u128::MAX),
        columns_that_take(f64::NAN),
        columns_that_take(vec![256]),
        columns_that_take(vec![70_000]),
        columns_that_take(vec![1.5]),
        columns_that_take(vec!["x"]),
        columns_that_take(vec![None::<u8>]),
        columns_that_take([1u8; 9]),
        columns_that_take("far too long for a text of 8 bytes"),
        columns_that_take(Unit),
        columns_that_take(Pair(1, 2)),
        columns_that_take(Any::Newtype(1)),
        columns_that_take(Any::Tuple(1, 2)),
        columns_that_take(Any::Struct { name: "x", small: 1 }),
        columns_that_take(BTreeMap::from([("x", 1)])),
        columns_that_take(event("x")),
        columns_that_take(Fails),
    ];
    assert_eq!(taken, [0; 19]);
}

fn alike<T: Serialize>(event: T) -> Result<Row, &'static str> {
    let (now, later) = (now(&event), later(&event));
    assert_eq!(now, later);
    now.map_err(|error| error.code())
}

#[test]
fn every_event_means_the_same_now_and_later() {
    for rows in [
        alike(event("x")),
        alike(Some(Wrapped(event("x")))),
        alike(Any::Struct { name: "x", small: 1 }),
        alike(Unit),
        alike(BTreeMap::from([("big", u64::MAX / 2)])),
        alike(serde_json::json!({ "name": "x", "raw": [1, 2], "double": null })),
        alike(BTreeMap::from([(Wrapped("name"), 'x')])),
    ] {
        assert!(rows.is_ok(), "{rows:?}");
    }
    assert_eq!(alike(BTreeMap::from([("nope", 1)])), Err("unknown_column"));
    assert_eq!(alike(Fails), Err("serialize"));
    for no_row in [
        alike(5),
        alike("x"),
        alike(Blob(&[1])),
        alike(None::<u8>),
        alike(vec![1]),
        alike((1, 2)),
        alike(Pair(1, 2)),
        alike(Any::Unit),
        alike(Any::Newtype(1)),
        alike(Any::Tuple(1, 2)),
        alike(BTreeMap::from([(1, 1)])),
        alike(BTreeMap::from([('n', 1)])),
    ] {
        assert_eq!(no_row, Err("not_a_row"));
    }
}

/// What a map of serde cannot have, a `Serialize` by hand can.
#[test]
fn a_map_that_is_none_is_refused_alike() {
    struct Headless;
    impl Serialize for Headless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_value(&1)?;
            map.end()
        }
    }
    struct Twice;
    impl Serialize for Twice {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([("big", 1), ("big", 2)])
        }
    }
    assert_eq!(alike(Headless), Err("serialize"));
    assert_eq!(alike(Twice), Err("duplicate_column"));
}
