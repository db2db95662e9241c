//! Building states from rows, splitting and merging them.

use crate::fuzz::random::Random;
pub use crate::fuzz::states::empty;
use headwater::aggregate::{AggregateSpec, REGISTRY, States};
use headwater::codec::Reader;
use headwater::value::column::Column;
use headwater::value::{DataType, Value};

pub type Row = Vec<Value>;
pub type State = Box<dyn States>;

pub fn examples(spec: &AggregateSpec, seed: u64, n: usize) -> Vec<Row> {
    let mut random = Random::new(seed);
    let row = REGISTRY[usize::from(spec.tag())].row;
    (0..n).map(|_| row(spec, &mut || random.bits())).collect()
}

pub fn update(spec: &AggregateSpec, states: &mut State, rows: &[Row], groups: &[u32]) {
    let types = spec.arg_types();
    let mut columns: Vec<Column> =
        types.iter().map(|t| Column::new(t.as_ref().unwrap_or(&DataType::Int64))).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            assert!(column.push(value), "{spec:?} does not take {value:?}");
        }
    }
    let numbers: Vec<u32> = (0..rows.len() as u32).collect();
    states.update(&numbers, groups, &columns.iter().collect::<Vec<_>>());
}

pub fn build(spec: &AggregateSpec, rows: &[Row]) -> State {
    let mut states = empty(spec, 1);
    // In uneven batches, as events come.
    for chunk in rows.chunks(77) {
        update(spec, &mut states, chunk, &vec![0; chunk.len()]);
    }
    states
}

pub fn bytes(state: &State) -> Vec<u8> {
    crate::fuzz::states::bytes(state.as_ref())
}

pub fn merged(spec: &AggregateSpec, parts: &[&State]) -> State {
    let mut state = empty(spec, 1);
    parts.iter().for_each(|part| state.merge_group(0, part.as_ref(), 0));
    state
}

/// Deals the rows to `parts` states at random and merges them in a random tree.
pub fn split(spec: &AggregateSpec, rows: &[Row], parts: usize, seed: u64) -> State {
    let mut random = Random::new(seed ^ 0xabcd);
    let mut dealt = vec![Vec::new(); parts];
    for row in rows {
        dealt[random.below(parts)].push(row.clone());
    }
    let mut states: Vec<State> = dealt.iter().map(|rows| build(spec, rows)).collect();
    while states.len() > 1 {
        let part = states.swap_remove(random.below(states.len()));
        let into = random.below(states.len());
        if random.bits().is_multiple_of(2) {
            states[into].merge_group(0, part.as_ref(), 0);
        } else {
            states[into].merge(0, &mut Reader::new(&bytes(&part))).expect("own bytes");
        }
    }
    states.remove(0)
}

/// What an event takes at least when it is sent by itself: its arrival time and its arguments.
pub fn raw_bytes(spec: &AggregateSpec, row: &Row) -> usize {
    let argument = |(value, data_type): (&Value, Option<DataType>)| match (value, data_type) {
        (Value::Null | Value::Bool(_), _) => 1,
        (Value::Int(_), Some(DataType::Int16)) => 2,
        (Value::Int(_), Some(DataType::Int32 | DataType::Date)) => 4,
        (Value::Float(_), Some(DataType::Float32)) => 4,
        (Value::Decimal(_) | Value::Interval(_), _) => 16,
        (Value::Text(v), _) => 1 + v.len(),
        (Value::Bytes(_), Some(DataType::Uuid)) => 16,
        (Value::Bytes(v), _) => 1 + v.len(),
        _ => 8,
    };
    8 + row.iter().zip(spec.arg_types()).map(argument).sum::<usize>()
}
