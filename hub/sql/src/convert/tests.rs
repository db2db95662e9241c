use super::*;
use headwater::value::{Interval, Value};

fn samples() -> Vec<(DataType, Value)> {
    let pair = DataType::Struct(vec![("value".into(), DataType::Uuid), ("count".into(), DataType::Int64)]);
    vec![
        (DataType::Bool, Value::Bool(true)),
        (DataType::Int16, Value::Int(-7)),
        (DataType::Int32, Value::Int(1 << 30)),
        (DataType::Int64, Value::Int(i64::MIN)),
        (DataType::Float32, Value::Float(1.5)),
        (DataType::Float64, Value::Float(-0.1)),
        (DataType::Decimal { precision: 38, scale: 2 }, Value::Decimal(-12345)),
        (DataType::Text, Value::Text("h\u{e9}".into())),
        (DataType::Bytea, Value::Bytes(vec![0, 255])),
        (DataType::Uuid, Value::Bytes((0..16).collect())),
        (DataType::Date, Value::Int(19_000)),
        (DataType::Timestamp, Value::Int(1_700_000_000_000_001)),
        (DataType::Interval, Value::Interval(Interval { months: 1, days: -2, micros: 3 })),
        (DataType::List(Box::new(DataType::Text)), Value::List(vec![Value::Null, Value::Text("a".into())])),
        (
            DataType::List(Box::new(pair)),
            Value::List(vec![Value::Struct(vec![Value::Bytes(vec![9; 16]), Value::Int(3)])]),
        ),
        (DataType::Null, Value::Null),
    ]
}

#[test]
fn every_type_survives_there_and_back() {
    for (data_type, value) in samples() {
        let array = array_from_values(&[Value::Null, value.clone()], &data_type).expect("array");
        let field = arrow_field("x", &data_type);
        assert_eq!(array.data_type(), field.data_type());
        assert_eq!(type_of_field(&field), data_type);
        assert_eq!(value_at(&array, 0, &data_type).expect("null"), Value::Null);
        assert_eq!(value_at(&array, 1, &data_type).expect("value"), value, "{data_type:?}");
    }
}

#[test]
fn text_literals_read_as_postgresql_reads_them() {
    let reads = |text: &str, t: &DataType| cast_text(text, t).map_err(|e| e.code);
    assert_eq!(reads(" yes ", &DataType::Bool), Ok(Value::Bool(true)));
    assert_eq!(reads("42", &DataType::Int32), Ok(Value::Int(42)));
    assert_eq!(reads("x", &DataType::Int32), Err("22P02"));
    assert_eq!(reads("99999", &DataType::Int16), Err("22003"));
    assert_eq!(reads("-99999999999999999999", &DataType::Int64), Err("22003"));
    assert_eq!(reads("1.5", &DataType::Int16), Err("22P02"));
    assert_eq!(reads("1.25", &DataType::Decimal { precision: 5, scale: 2 }), Ok(Value::Decimal(125)));
    for (text, units) in [("1e1", 1_000), ("-1.5E+1", -1_500), ("+125e-2", 125), ("1e-3", 0), (".5e0", 50)] {
        let read = reads(text, &DataType::Decimal { precision: 5, scale: 2 });
        assert_eq!(read, Ok(Value::Decimal(units)), "{text}");
    }
    for text in ["e1", "1e", "1e1e1", "--1e1", "1 e1", "NaN", "."] {
        assert_eq!(reads(text, &DataType::Decimal { precision: 5, scale: 2 }), Err("22P02"), "{text}");
    }
    for text in ["1e99", "1e4", "-1e999999999999", "12345.6", &"9".repeat(60)] {
        assert_eq!(reads(text, &DataType::Decimal { precision: 5, scale: 2 }), Err("22003"), "{text}");
    }
    assert_eq!(reads("2024-02-30", &DataType::Date), Err("22008"));
    assert_eq!(reads("2024-02-20 25:00:00", &DataType::Timestamp), Err("22008"));
    assert_eq!(
        reads("2024-02-20 1:2:3", &DataType::Timestamp),
        Err("22007"),
        "no form that is read, but in the calendar"
    );
    for other in ["soon", "2024", "24-1-x", "2024-01-01 noon"] {
        assert_eq!(reads(other, &DataType::Timestamp), Err("22007"), "{other}");
    }
    assert_eq!(reads("1970-01-01 00:00:01", &DataType::Timestamp), Ok(Value::Int(1_000_000)));
    assert_eq!(reads("1970-01-01T01:00:00+01:00", &DataType::Timestamp), Ok(Value::Int(0)));
    assert_eq!(reads("1970-01-02", &DataType::Timestamp), Ok(Value::Int(86_400_000_000)));
    assert_eq!(reads("\\x00ff", &DataType::Bytea), Ok(Value::Bytes(vec![0, 255])));
    let uuid = reads("{00010203-0405-0607-0809-0A0B0C0D0E0F}", &DataType::Uuid);
    assert_eq!(uuid, Ok(Value::Bytes((0..16).collect())));
    assert_eq!(reads("0001", &DataType::Uuid), Err("22P02"));
}

/// They were infinity or nothing.
#[test]
fn numbers_beyond_a_double_are_refused() {
    let reads = |text: &str, t: &DataType| cast_text(text, t).map_err(|e| e.code);
    for (text, data_type) in [
        ("1e39", DataType::Float32),
        ("-1e39", DataType::Float32),
        ("1e-60", DataType::Float32),
        ("1e400", DataType::Float64),
        ("-1E-400", DataType::Float64),
    ] {
        assert_eq!(reads(text, &data_type), Err("22003"), "{text}");
    }
    assert_eq!(reads("1e39", &DataType::Float64), Ok(Value::Float(1e39)));
    assert_eq!(reads("0e999", &DataType::Float64), Ok(Value::Float(0.0)));
    assert_eq!(reads("-Infinity", &DataType::Float32), Ok(Value::Float(f64::NEG_INFINITY)));
    let long = cast_text(&"x".repeat(1_000), &DataType::Float64).expect_err("no number");
    assert!(long.message.len() < 200, "{long}");
}

#[test]
fn intervals() {
    let reads = |text| cast_text(text, &DataType::Interval).map_err(|e| e.code);
    let interval = |months, days, micros| Ok(Value::Interval(Interval { months, days, micros }));
    assert_eq!(reads("1 hour"), interval(0, 0, 3_600_000_000));
    assert_eq!(reads("30 days"), interval(0, 30, 0));
    assert_eq!(reads("1 mon 2 days 00:00:03"), interval(1, 2, 3_000_000));
    assert_eq!(reads("15"), interval(0, 0, 15_000_000));
    assert_eq!(reads("1 month - 1 day"), interval(1, -1, 0));
    assert_eq!(reads("+ 1 month + 1 day"), interval(1, 1, 0));
    assert_eq!(reads("- 1 day"), interval(0, -1, 0));
    assert_eq!(reads("-1 days +02:00:00"), interval(0, -1, 7_200_000_000));
    assert_eq!(reads("- 2 days + 00:00:03"), interval(0, -2, 3_000_000));
    assert_eq!(reads("soon"), Err("22007"));
}

#[test]
fn other_arrow_widths_are_cast() {
    use datafusion::arrow::array::{StringViewArray, UInt64Array};
    let big = UInt64Array::from(vec![7, u64::MAX]);
    let field = ArrowField::new("x", ArrowType::UInt64, false);
    assert_eq!(value_at(&big, 0, &type_of_field(&field)).expect("fits"), Value::Int(7));
    assert_eq!(value_at(&big, 1, &type_of_field(&field)).expect_err("past bigint").code, "22003");
    let view = StringViewArray::from(vec!["a"]);
    assert_eq!(value_at(&view, 0, &DataType::Text).expect("text"), Value::Text("a".into()));
}

#[test]
fn there_is_one_zero_and_one_nan() {
    for (x, wanted) in [
        (-0.0, 0.0_f64),
        (0.0, 0.0),
        (-f64::NAN, f64::NAN),
        (f64::from_bits(0x7ff0_0000_0000_0001), f64::NAN),
        (-1.5, -1.5),
        (f64::NEG_INFINITY, f64::NEG_INFINITY),
        (-f64::MIN_POSITIVE / 2.0, -f64::MIN_POSITIVE / 2.0),
    ] {
        assert_eq!(double(x).to_bits(), wanted.to_bits(), "{x}");
    }
    assert_eq!(real(-0.0).to_bits(), 0);
    assert_eq!(real(-f32::NAN).to_bits(), f32::NAN.to_bits());
}
