use super::*;
use crate::codec::Reader;
use alloc::string::{String, ToString};
use core::cmp::Ordering;
use proptest::prelude::*;

fn key(value: &Value, data_type: &DataType) -> Vec<u8> {
    encode_key(core::slice::from_ref(value), core::slice::from_ref(data_type)).expect("the value fits")
}

const DEC: DataType = DataType::Decimal { precision: 38, scale: 4 };

/// Integers near every tag boundary, and anywhere.
fn ints() -> impl Strategy<Value = i128> {
    prop_oneof![
        -200i128..200,
        (0u32..127, -2i128..3, any::<bool>())
            .prop_map(|(bits, near, neg)| ((1i128 << bits) + near) * if neg { -1 } else { 1 }),
        any::<i128>(),
    ]
}

fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::NAN)
    ]
}

fn float_cmp(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn values(data_type: DataType) -> BoxedStrategy<Value> {
    let small = |t: DataType| {
        ints().prop_map(move |v| Value::Int(if t == DataType::Int16 { v as i16 as i64 } else { v as i64 }))
    };
    let some = match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Int64 | DataType::Int16 => small(data_type).boxed(),
        DataType::Float64 => floats().prop_map(Value::Float).boxed(),
        DataType::Decimal { .. } => ints().prop_map(|v| Value::Decimal(v % 10i128.pow(38))).boxed(),
        DataType::Text => "[\u{0}-\u{2}a\u{e9}\u{10ffff}]{0,6}".prop_map(Value::Text).boxed(),
        DataType::Bytea => proptest::collection::vec(0u8..4, 0..6).prop_map(Value::Bytes).boxed(),
        DataType::Uuid => any::<[u8; 16]>().prop_map(|v| Value::Bytes(v.to_vec())).boxed(),
        _ => any::<(i32, i32, i64)>()
            .prop_map(|(months, days, micros)| Value::Interval(Interval { months, days, micros }))
            .boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 9 => some].boxed()
}

const TYPES: [DataType; 9] = [
    DataType::Bool,
    DataType::Int16,
    DataType::Int64,
    DataType::Float64,
    DEC,
    DataType::Text,
    DataType::Bytea,
    DataType::Uuid,
    DataType::Interval,
];

fn rows() -> impl Strategy<Value = (Vec<DataType>, Vec<Value>, Vec<Value>)> {
    proptest::collection::vec(proptest::sample::select(TYPES.to_vec()), 1..4).prop_flat_map(|types| {
        let side: Vec<_> = types.iter().map(|t| values(t.clone())).collect();
        (Just(types), side.clone(), side)
    })
}

/// The oracle: order of values as SQL sorts them, NULLS LAST.
fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => a.is_null().cmp(&b.is_null()),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => float_cmp(*a, *b),
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Interval(a), Value::Interval(b)) => {
            (a.months, a.days, a.micros).cmp(&(b.months, b.days, b.micros))
        }
        _ => panic!("values of two types"),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    compare(a, b) == Ordering::Equal && a.is_null() == b.is_null()
}

proptest! {
    #[test]
    fn keys_order_as_their_values_and_round_trip((types, a, b) in rows()) {
        let (ka, kb) = (encode_key(&a, &types).expect("fits"), encode_key(&b, &types).expect("fits"));
        let want = a.iter().zip(&b).map(|(x, y)| compare(x, y)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal);
        prop_assert_eq!(ka.cmp(&kb), want);
        let back = decode_key(&ka, &types).expect("canonical");
        prop_assert!(back.iter().zip(&a).all(|(x, y)| same(x, y)), "{:?} became {:?}", a, back);
        prop_assert_ne!(ka[0], 0xfe);
    }

    #[test]
    fn columns_encode_and_append_as_values_do((types, a, b) in rows()) {
        for (i, t) in types.iter().enumerate() {
            let mut column = Column::new(t);
            for value in [&a[i], &b[i], &Value::Null] {
                prop_assert!(column.push(value));
            }
            let mut back = Column::new(t);
            for (row, value) in [&a[i], &b[i], &Value::Null].into_iter().enumerate() {
                let mut out = Vec::new();
                encode_row(&column, row, t, &mut out);
                prop_assert_eq!(&out, &key(value, t));
                decode_append(&mut Reader::new(&out), t, &mut back).expect("canonical");
                prop_assert!(same(&back.value(row, t), value));
            }
        }
    }

    #[test]
    fn any_bytes_decode_to_what_encodes_to_them_or_not_at_all(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..3, 0x0eu8..0x22, 0xdeu8..=0xff], 0..20),
    ) {
        for t in &TYPES {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = decode_value(&mut reader, t) {
                let used = bytes.len() - reader.remaining();
                prop_assert_eq!(key(&value, t), &bytes[..used]);
            }
            let mut column = Column::new(t);
            let mut other = Reader::new(&bytes);
            let appended = decode_append(&mut other, t, &mut column);
            prop_assert_eq!(appended.is_ok(), decode_value(&mut Reader::new(&bytes), t).is_ok());
            prop_assert_eq!(column.len(), usize::from(appended.is_ok()));
        }
    }

    #[test]
    fn integers_of_all_widths_share_their_bytes(v in any::<i64>()) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        put_int64(v, &mut a);
        put_int(i128::from(v), &mut b);
        prop_assert_eq!(a, b);
    }
}

#[test]
fn values_outside_their_type_are_refused() {
    let wide = key(&Value::Int(40_000), &DataType::Int64);
    assert!(decode_key(&wide, &[DataType::Int16]).is_err());
    assert!(decode_key(&key(&Value::Float(0.1), &DataType::Float64), &[DataType::Float32]).is_err());
    let units = key(&Value::Decimal(1000), &DEC);
    assert!(decode_key(&units, &[DataType::Decimal { precision: 3, scale: 0 }]).is_err());
    assert!(decode_key(&[0x61, 0xff, 0x00], &[DataType::Text]).is_err(), "not UTF-8");
    assert!(decode_key(&[0x81, 0x00], &[DataType::Int64]).is_err(), "trailing");
    assert_eq!(encode_key(&[Value::Int(1)], &[DataType::Text]), None);
    assert_eq!(encode_key(&[], &[DataType::Text]), None);
}

/// Names, types and values of the golden vectors; the file is add-only.
pub(crate) fn golden() -> Vec<(&'static str, DataType, Value)> {
    use DataType as T;
    let int = |v| Value::Int(v);
    let text = |v: &str| Value::Text(v.to_string());
    let mut out = alloc::vec![
        ("null", T::Text, Value::Null),
        ("false", T::Bool, Value::Bool(false)),
        ("true", T::Bool, Value::Bool(true)),
        ("numeric_38_max", DEC, Value::Decimal(10i128.pow(38) - 1)),
        ("numeric_38_min", DEC, Value::Decimal(1 - 10i128.pow(38))),
        ("float_0", T::Float64, Value::Float(-0.0)),
        ("float_1_5", T::Float64, Value::Float(1.5)),
        ("float_minus_1_5", T::Float64, Value::Float(-1.5)),
        ("float_infinity", T::Float64, Value::Float(f64::INFINITY)),
        ("float_nan", T::Float64, Value::Float(f64::NAN)),
        ("text_empty", T::Text, text("")),
        ("text_ascii", T::Text, text("abc")),
        ("text_umlaut", T::Text, text("\u{e4}\u{20ac}\u{1f600}")),
        ("text_escapes", T::Text, text("a\u{0}b\u{1}c")),
        ("bytea_escapes", T::Bytea, Value::Bytes(alloc::vec![0, 1, 2, 0xfe, 0xff])),
        ("uuid", T::Uuid, Value::Bytes((0u8..16).collect())),
        ("date", T::Date, int(19_800)),
        ("timestamp", T::Timestamp, int(1_710_000_000_123_456)),
        ("interval", T::Interval, Value::Interval(Interval { months: 14, days: -3, micros: 5_000_000 })),
    ];
    for (name, v) in [
        ("int_0", 0),
        ("int_95", 95),
        ("int_96", 96),
        ("int_255", 255),
        ("int_256", 256),
        ("int_max", i64::MAX),
        ("int_minus_1", -1),
        ("int_minus_96", -96),
        ("int_minus_97", -97),
        ("int_minus_256", -256),
        ("int_minus_257", -257),
        ("int_min", i64::MIN),
    ] {
        out.push((name, T::Int64, int(v)));
    }
    out
}

/// The file is add-only: a new value's line is printed by this test's failure; an old line never changes.
#[test]
fn golden_vectors_hold() {
    let file = include_str!("../../../../tests/vectors/keys.txt");
    let known = |name: &str| file.lines().find(|l| l.split('\t').next() == Some(name));
    let mut wrong = String::new();
    for (name, data_type, value) in golden() {
        let hex: String = key(&value, &data_type).iter().map(|b| alloc::format!("{b:02x}")).collect();
        if known(name).and_then(|l| l.split('\t').nth(1)) != Some(hex.as_str()) {
            let input: String =
                alloc::format!("{value:?}").chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
            wrong += &alloc::format!("{name}\t{hex}\t{data_type:?} {input}\n");
        }
    }
    assert!(wrong.is_empty(), "missing or different:\n{wrong}");
}
