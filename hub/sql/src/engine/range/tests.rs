use super::*;
use datafusion::logical_expr::{col, lit};
use datafusion::prelude::cast;
use headwater::value::key::encode_key;

fn keys() -> Vec<(String, DataType)> {
    vec![("minute".into(), DataType::Timestamp), ("url".into(), DataType::Text)]
}

fn micros(at: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(at), Some("+00:00".into())))
}

fn key(at: i64) -> Vec<u8> {
    encode_key(&[Value::Int(at)], &[DataType::Timestamp]).expect("key")
}

#[test]
fn times_become_ranges() {
    let range =
        key_range(&[col("minute").gt_eq(micros(1_000)).and(col("minute").lt(micros(2_000)))], &keys());
    assert_eq!(range.min, key(1_000));
    assert!(range.max.expect("bounded") > key(2_000));
    assert_eq!(key_range(&[], &keys()), KeyRange::default());
    let finer = cast(
        col("minute"),
        datafusion::arrow::datatypes::DataType::Timestamp(
            datafusion::arrow::datatypes::TimeUnit::Nanosecond,
            None,
        ),
    );
    let range = key_range(&[finer.gt(lit(ScalarValue::TimestampNanosecond(Some(1_500_999), None)))], &keys());
    assert_eq!(range.min, key(1_500));
    let day = cast(col("minute"), datafusion::arrow::datatypes::DataType::Date32);
    assert!(
        !bounds_key(&day.eq(lit(ScalarValue::Date32(Some(1)))), &keys()),
        "a coarser cast says nothing about the key"
    );
}

#[test]
fn a_pinned_key_opens_the_next() {
    let range = key_range(&[col("minute").eq(micros(5)), col("url").eq(lit("a"))], &keys());
    let whole = encode_key(&[Value::Int(5), Value::Text("a".into())], &[DataType::Timestamp, DataType::Text])
        .expect("key");
    assert_eq!(range.min, whole);
    assert!(range.max.expect("bounded") > whole);
    let range = key_range(&[col("url").eq(lit("a"))], &keys());
    assert_eq!(range, KeyRange::default(), "the second key alone is not a range");
}

#[test]
fn the_other_group_is_never_cut_off() {
    let keys = [("url".to_owned(), DataType::Text)];
    let other = headwater::group::OTHER_KEY.to_vec();
    let holds = |filter: Expr| {
        let range = key_range(&[filter], &keys);
        range.min <= other && range.max.is_none_or(|max| other < max)
    };
    assert!(holds(col("url").eq(lit("(other)"))));
    assert!(holds(col("url").lt(lit("z"))));
    assert!(holds(col("url").in_list(vec![lit("a"), lit("(other)")], false)));
    assert!(!holds(col("url").eq(lit("a"))));
    assert!(!holds(col("url").between(lit("a"), lit("b"))));
}
