//! Golden vectors of states: `tests/vectors/states.txt`, add-only.

use crate::support::{Row, build, bytes};
use headwater::aggregate::{AggregateSpec as Spec, Keep, SortColumn};
use headwater::codec::Reader;
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater::plan::PlanBuilder;
use headwater::value::{DataType as T, Interval, Value};

type Vector = (&'static str, Spec, Vec<Row>);

fn column(values: impl IntoIterator<Item = Value>) -> Vec<Row> {
    values.into_iter().map(|v| vec![v]).collect()
}

fn ints(values: impl IntoIterator<Item = i64>) -> Vec<Row> {
    column(values.into_iter().map(Value::Int))
}

fn floats(values: impl IntoIterator<Item = f64>) -> Vec<Row> {
    column(values.into_iter().map(Value::Float))
}

fn texts(values: &[&str]) -> Vec<Row> {
    column(values.iter().map(|v| Value::Text((*v).into())))
}

fn counts_and_sums() -> Vec<Vector> {
    let null = || vec![vec![Value::Null]];
    let decimal = T::Decimal { precision: 10, scale: 2 };
    vec![
        ("count_rows", Spec::Count { argument: false }, vec![vec![]; 300]),
        ("count_values", Spec::Count { argument: true }, [ints([1, 2]), null()].concat()),
        ("sum_empty", Spec::Sum(T::Float64), vec![]),
        ("sum_bigint", Spec::Sum(T::Int64), ints([i64::MAX, i64::MAX, 1])),
        ("sum_negative", Spec::Sum(T::Int32), ints([-64])),
        ("sum_numeric", Spec::Sum(decimal), column([Value::Decimal(1999), Value::Decimal(-1)])),
        ("sum_tenths", Spec::Sum(T::Float64), floats([0.1; 10])),
        ("sum_cancels", Spec::Sum(T::Float64), floats([1e308, 1.0, -1e308])),
        ("sum_far_apart", Spec::Sum(T::Float64), floats([1e300, -5e-324])),
        ("sum_infinite", Spec::Sum(T::Float64), floats([f64::INFINITY, 1.5])),
        ("moments_few", Spec::Moments, floats([2.0, 1.0, -0.0])),
        ("moments", Spec::Moments, floats([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])),
    ]
}

fn extremes() -> Vec<Vector> {
    let pair = |value: Value, key: i64| vec![value, Value::Int(key)];
    let interval = |months, days| Value::Interval(Interval { months, days, micros: 0 });
    let timed = vec![pair(Value::Text("late".into()), 20), pair(Value::Text("early".into()), 10)];
    let keyed = |value| (value, T::Timestamp);
    let (value, key) = keyed(T::Text);
    vec![
        ("min_bigint", Spec::Min(T::Int64), ints([5, -3, 9])),
        ("min_empty", Spec::Min(T::Text), vec![]),
        ("max_text", Spec::Max(T::Text), texts(&["b", "ab", ""])),
        ("max_double_nan", Spec::Max(T::Float64), floats([1.0, f64::NAN])),
        ("min_double_zero", Spec::Min(T::Float64), floats([-0.0])),
        ("max_real", Spec::Max(T::Float32), floats([0.5, 0.25])),
        ("min_interval", Spec::Min(T::Interval), column([interval(1, 0), interval(0, 30)])),
        ("bool_and", Spec::BoolAnd, column([Value::Bool(true), Value::Bool(false)])),
        ("bool_or", Spec::BoolOr, column([Value::Bool(true), Value::Bool(false)])),
        ("bit_and", Spec::BitAnd(T::Int32), ints([-1, 12])),
        ("bit_or", Spec::BitOr(T::Int16), ints([1, 2, 4])),
        ("first", Spec::ArgMin { value: value.clone(), key: key.clone() }, timed.clone()),
        ("last", Spec::ArgMax { value: value.clone(), key: key.clone() }, timed),
        (
            "last_null",
            Spec::ArgMax { value, key },
            vec![pair(Value::Text("x".into()), 1), pair(Value::Null, 2)],
        ),
    ]
}

fn sketches() -> Vec<Vector> {
    let weighted = |value: &str, weight| vec![Value::Text(value.into()), Value::Int(weight)];
    let top = |weighted| Spec::TopK { value: T::Text, k: 2, weighted };
    vec![
        ("hll_few", Spec::Hll { value: T::Text, precision: 14 }, texts(&["a", "b", "a"])),
        ("hll_registers", Spec::Hll { value: T::Int64, precision: 4 }, ints(0..100)),
        ("ddsketch_few", Spec::DdSketch { alpha_ppm: 10_000 }, floats([3.0, -1.0, 0.5])),
        (
            "ddsketch_buckets",
            Spec::DdSketch { alpha_ppm: 10_000 },
            floats((-5..15).map(|i| f64::from(i) * 1.5)),
        ),
        ("tdigest", Spec::TDigest { compression: 20 }, floats((0..60).map(f64::from))),
        ("topk", top(false), texts(&["b", "a", "b"])),
        ("topk_weighted", top(true), vec![weighted("a", 10), weighted("b", 3), weighted("a", -1)]),
        ("set_bigint", Spec::Set { value: T::Int64, cap: 10 }, ints([300, -1, 300])),
        ("set_full", Spec::Set { value: T::Int64, cap: 2 }, ints([1, 2, 3])),
    ]
}

fn filters() -> Vec<Vector> {
    let bloom = |rate_ppm, expected| Spec::Bloom { value: T::Text, rate_ppm, expected };
    let many: Vec<String> = (0..20).map(|i| format!("v{i}")).collect();
    let many = texts(&many.iter().map(String::as_str).collect::<Vec<_>>());
    vec![
        ("bloom_few", bloom(20_000, 16_384), texts(&["a", "b", "a"])),
        ("bloom_bits", bloom(20_000, 40), many),
        ("bloom_smallest", bloom(500_000, 1), texts(&["a", "b"])),
    ]
}

fn later() -> Vec<Vector> {
    let pairs = |pairs: &[(f64, f64)]| -> Vec<Row> {
        pairs.iter().map(|(y, x)| vec![Value::Float(*y), Value::Float(*x)]).collect()
    };
    let line: Vec<(f64, f64)> = (0..6).map(|i| (f64::from(i) * 0.5 + 0.1, f64::from(i * i))).collect();
    let half = vec![vec![Value::Float(1.0), Value::Null], vec![Value::Null, Value::Float(1.0)]];
    vec![
        ("bit_xor", Spec::BitXor(T::Int64), ints([6, i64::MIN, 3])),
        ("moments4_few", Spec::Moments4, floats([2.5, -1.0])),
        ("moments4", Spec::Moments4, floats([0.1, 2.0, -4.0, 4.0, 5.0, 5.0, 7.0, 9.0, 1e10])),
        ("regression_few", Spec::Regression, [pairs(&[(2.5, -1.0), (-0.0, 3.0)]), half].concat()),
        ("regression", Spec::Regression, pairs(&line)),
        ("regression_infinite", Spec::Regression, pairs(&[&line[..], &[(f64::INFINITY, 7.0)]].concat())),
    ]
}

fn rows() -> Vec<Vector> {
    let sorted = |data_type, descending, nulls_first| SortColumn { data_type, descending, nulls_first };
    let of = |keep, limit, columns: &[SortColumn]| Spec::Rows { keep, limit, columns: columns.to_vec() };
    let (up, down) = (sorted(T::Int64, false, false), sorted(T::Text, true, false));
    let interval = |months, days| vec![Value::Interval(Interval { months, days, micros: 0 })];
    let timed = |x: Value, at: i64| vec![Value::Int(at), x];
    let text = |text: &str| Value::Text(text.into());
    let start = 1_700_000_000_000_000;
    let log =
        vec![timed(text("b"), start + 1_000), timed(Value::Null, start), timed(text("a"), start + 1_000)];
    let times = [SortColumn::ascending(T::Timestamp), SortColumn::ascending(T::Text)];
    let pair = |n: i64, s: &str| vec![Value::Int(n), text(s)];
    vec![
        ("rows_first", of(Keep::First, 2, std::slice::from_ref(&up)), ints([300, -5, 7, -5])),
        (
            "rows_last",
            of(Keep::Last, 2, std::slice::from_ref(&up)),
            [ints([1, 2, 3]), vec![vec![Value::Null]]].concat(),
        ),
        (
            "rows_text_descending",
            of(Keep::First, 3, std::slice::from_ref(&down)),
            [texts(&["a", "ab", "b"]), vec![vec![Value::Null]]].concat(),
        ),
        (
            "rows_pairs",
            of(Keep::First, 3, &[up, down]),
            vec![pair(2, "x"), pair(1, "a"), pair(1, "b"), pair(3, "")],
        ),
        (
            "rows_interval",
            of(Keep::First, 2, &[sorted(T::Interval, false, true)]),
            vec![interval(0, 31), interval(1, 0), interval(0, 29)],
        ),
        ("rows_all", of(Keep::All, 10, &times), log.clone()),
        ("rows_full", of(Keep::All, 2, &times), log),
        ("rows_empty", of(Keep::All, 2, &times), vec![]),
        ("json_sum", Spec::JsonSum { cap: 10 }, texts(&["{\"b\": -3, \"a\": 1}", "{\"b\": 2}", "no object"])),
        ("json_sum_full", Spec::JsonSum { cap: 1 }, texts(&["{\"b\": -3, \"a\": 1}"])),
    ]
}

/// In the order of the files.
fn frequencies() -> Vec<Vector> {
    let freq = |error_ppm, confidence_ppm| Spec::Freq { value: T::Text, error_ppm, confidence_ppm };
    vec![
        ("freq_once", freq(2_000, 995_000), texts(&["a", "b"])),
        ("freq_few", freq(2_000, 995_000), texts(&["a", "b", "a"])),
        ("freq_counters", freq(400_000, 700_000), texts(&["a", "b", "a", "c", "d"])),
    ]
}

fn samples() -> Vec<Vector> {
    let theta = |lg_k| Spec::Theta { value: T::Int64, lg_k };
    vec![("theta_few", theta(12), ints([1, 2, 1])), ("theta_bounded", theta(4), ints(0..20))]
}

fn histograms() -> Vec<Vector> {
    let bounds = vec![0.0, 10.0, 20.0];
    let exp = |buckets| Spec::ExpHistogram { buckets };
    vec![
        ("histogram", Spec::Histogram { bounds }, floats([-1.0, 5.0, 5.5, 20.0, 1e9])),
        ("exp_histogram", exp(160), floats([1.0, 2.0, 2.5, -3.0, 0.0, 1e-9])),
        ("exp_histogram_wide", exp(4), floats([5e-324, f64::MAX, f64::INFINITY])),
    ]
}

fn in_buckets() -> Vec<Vector> {
    let put =
        |value: &str, bucket, time| vec![Value::Text(value.into()), Value::Int(bucket), Value::Int(time)];
    let bucket = |cap| Spec::Bucket { value: T::Text, cap };
    let rows = vec![put("a", 1, 10), put("b", 2, 10), put("a", 3, 20), put("b", 1, 10)];
    vec![("bucket", bucket(10), rows.clone()), ("bucket_full", bucket(1), rows)]
}

fn spans() -> Vec<Vector> {
    let at = |time, x| vec![Value::Int(time), Value::Float(x)];
    let is = |time, state: &str| vec![Value::Int(time), Value::Text(state.into())];
    let readings = vec![at(30, 2.5), at(10, 1.0), at(20, 4.0), at(40, 3.0)];
    vec![
        ("counter_one", Spec::Counter, vec![at(1_000_000, 7.0), at(5, -1.0), at(6, f64::INFINITY)]),
        ("counter", Spec::Counter, readings.clone()),
        ("time_weight_two", Spec::TimeWeight { linear: false }, vec![at(0, 1.0), at(10, 3.0)]),
        ("time_weight", Spec::TimeWeight { linear: false }, readings.clone()),
        ("time_weight_linear", Spec::TimeWeight { linear: true }, readings),
        ("state_agg", Spec::StateAgg, vec![is(0, "on"), is(60, "off"), is(70, "on"), is(100, "off")]),
        ("state_agg_one", Spec::StateAgg, vec![is(-1, "on")]),
    ]
}

fn all() -> Vec<Vector> {
    [
        counts_and_sums(),
        extremes(),
        sketches(),
        filters(),
        later(),
        rows(),
        frequencies(),
        samples(),
        histograms(),
        in_buckets(),
        spans(),
    ]
    .concat()
}

fn line((name, spec, rows): &Vector) -> String {
    let hex: String = bytes(&build(spec, rows)).iter().map(|b| format!("{b:02x}")).collect();
    let rows = if rows.len() > 25 {
        format!("{} rows, {:?} to {:?}", rows.len(), rows[0], rows[rows.len() - 1])
    } else {
        format!("{rows:?}")
    };
    format!("{name}\t{hex}\t{spec:?} of {rows}")
}

#[test]
fn golden_vectors_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/states.txt");
    let file = std::fs::read_to_string(path).expect("the vectors");
    let lines: Vec<&str> = file.lines().filter(|l| !l.starts_with('#')).collect();
    let vectors: Vec<Vector> = all();
    let own: Vec<String> = vectors.iter().map(line).collect();
    assert_eq!(lines, own, "add a line, never change one:\n{}", own.join("\n"));
    for (i, vector) in vectors.iter().enumerate() {
        let hex = lines[i].split('\t').nth(1).expect("hex");
        let golden: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect();
        let decoded = crate::fuzz::states::decode(&vector.1, &mut Reader::new(&golden)).expect(vector.0);
        assert_eq!(bytes(&decoded), golden, "{}", vector.0);
    }
    for name in Spec::NAMES {
        assert!(vectors.iter().any(|(_, spec, _)| spec.name() == name), "{name} has no vector");
    }
}

/// A type as the tests of the npm package write it, and a value as they read it.
fn type_name(data_type: &T) -> String {
    match data_type {
        T::Bool => "\"boolean\"".into(),
        T::Int16 => "\"smallint\"".into(),
        T::Int32 => "\"integer\"".into(),
        T::Int64 => "\"bigint\"".into(),
        T::Float32 => "\"real\"".into(),
        T::Float64 => "\"double\"".into(),
        T::Decimal { precision, scale } => format!("{{\"precision\":{precision},\"scale\":{scale}}}"),
        T::Text => "\"text\"".into(),
        T::Timestamp => "\"timestamptz\"".into(),
        T::Interval => "\"interval\"".into(),
        other => panic!("no name for {other:?}"),
    }
}

fn json(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => format!("\"{n}\""),
        Value::Float(x) if x.is_infinite() => format!("\"{}Infinity\"", if *x < 0.0 { "-" } else { "" }),
        Value::Float(x) => format!("\"{x:e}\""),
        Value::Decimal(units) => format!("\"{units}\""),
        Value::Text(text) => format!("{text:?}"),
        Value::Interval(Interval { months, days, micros }) => {
            format!("{{\"months\":{months},\"days\":{days},\"micros\":{micros}}}")
        }
        other => panic!("no JSON for {other:?}"),
    }
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
}

/// The state over a stream whose columns are its arguments, and the rows.
fn event_line(number: u32, (name, spec, rows): &Vector) -> String {
    let types: Vec<T> = spec.arg_types().iter().map(|t| t.clone().unwrap_or(T::Int64)).collect();
    let mut b = PlanBuilder::new();
    let column = |(at, data_type): (usize, &T)| b.column(at as u16, data_type.clone()).expect("room");
    let args: Vec<_> = types.iter().enumerate().map(column).collect();
    b.state(spec.clone(), &args, None).expect("room");
    let plan = b.finish(ViewId(number), PlanVersion(1), StreamId(number), 10);
    let plan: String = plan.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let rows = list(rows.iter().map(|row| list(row.iter().map(json))));
    format!("{name}\t{plan}\t{}\t{rows}", list(types.iter().map(type_name)))
}

/// The same states for the WASM module (`js/test/vectors.test.mjs`), as events; `emit` takes no NaN.
#[test]
fn events_of_the_vectors_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/state_events.txt");
    let file = std::fs::read_to_string(path).expect("the vectors");
    let is_nan = |value: &Value| matches!(value, Value::Float(x) if x.is_nan());
    let vectors: Vec<Vector> = all();
    let vectors = vectors.iter().zip(1..).filter(|((_, _, rows), _)| !rows.iter().flatten().any(is_nan));
    let missing: String = vectors
        .map(|(vector, number)| event_line(number, vector) + "\n")
        .filter(|line| !file.lines().any(|known| known == line.trim_end()))
        .collect();
    assert!(missing.is_empty(), "missing or different:\n{missing}");
}
