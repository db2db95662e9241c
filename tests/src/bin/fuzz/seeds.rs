//! Valid inputs to start from: the golden vectors, and states made by updating.

use headwater::aggregate::{self, AggregateSpec};
use headwater::value::column::Column;
use headwater::value::{DataType, Interval, Value};
use headwater_tests::random::Rng;
use headwater_tests::root;

/// `name<TAB>hex` lines of a file in `tests/vectors`, as bytes; empty when the file is not there.
pub fn vectors(file: &str) -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(root().join("tests/vectors").join(file)).unwrap_or_default();
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let pairs = lines.filter_map(|l| {
        let mut columns = l.split('\t');
        Some((columns.next()?.to_owned(), unhex(columns.next()?)?))
    });
    pairs.collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.trim().chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Inputs that once broke this target.
pub fn crashers(target: &str) -> Vec<Vec<u8>> {
    vectors("crashers.txt").into_iter().filter(|(name, _)| name == target).map(|(_, bytes)| bytes).collect()
}

/// The states of `spec` over no, one, a few and many rows.
pub fn states(spec: &AggregateSpec) -> Vec<Vec<u8>> {
    let sizes = [0u32, 1, 2, 7, 40, 400, 3000];
    sizes.iter().filter_map(|&rows| state(spec, rows)).collect()
}

/// `None` when this build cannot hold such states.
fn state(spec: &AggregateSpec, rows: u32) -> Option<Vec<u8>> {
    let mut states = aggregate::create(spec)?;
    let mut rng = Rng::new(u64::from(rows));
    let types: Vec<DataType> = spec.arg_types().into_iter().map(|t| t.unwrap_or(DataType::Int64)).collect();
    let mut columns: Vec<Column> = types.iter().map(Column::new).collect();
    for _ in 0..rows {
        for (column, data_type) in columns.iter_mut().zip(&types) {
            let value = match spec {
                AggregateSpec::JsonSum { .. } => {
                    Value::Text(format!(r#"{{"v{}": {}}}"#, rng.below(60), rng.below(900)))
                }
                _ => value(data_type, &mut rng),
            };
            assert!(column.push(&value), "a value of its type fits its column");
        }
    }
    states.resize(1);
    let all: Vec<u32> = (0..rows).collect();
    states.update(&all, &vec![0; rows as usize], &columns.iter().collect::<Vec<_>>());
    let mut out = Vec::new();
    states.encode(0, &mut out);
    Some(out)
}

fn value(data_type: &DataType, rng: &mut Rng) -> Value {
    // Few small values and many large ones: both the repeated and the distinct matter.
    let number = match rng.below(3) {
        0 => rng.below(8) as i64,
        1 => rng.below(10_000) as i64 - 5_000,
        _ => rng.next_u64() as i64 >> 16,
    };
    match data_type {
        DataType::Bool => Value::Bool(number % 2 == 0),
        DataType::Int16 => Value::Int(i64::from(number as i16)),
        DataType::Int32 | DataType::Date => Value::Int(i64::from(number as i32)),
        DataType::Float32 => Value::Float(f64::from(number as f32)),
        DataType::Float64 => Value::Float(number as f64 / 16.0),
        DataType::Decimal { .. } => Value::Decimal(i128::from(number)),
        DataType::Text => Value::Text(format!("v{number}")),
        DataType::Bytea => Value::Bytes(number.to_le_bytes().to_vec()),
        DataType::Uuid => Value::Bytes([number.to_le_bytes(), number.to_le_bytes()].concat()),
        DataType::Interval => Value::Interval(Interval { months: 1, days: number as i32, micros: number }),
        _ => Value::Int(number.abs()),
    }
}
