//! Building states from rows, and splitting, merging and damaging them.

use headwater::aggregate::{AggregateSpec, Finisher, REGISTRY, States, create};
use headwater::codec::{DecodeError, Reader};
use headwater::value::column::Column;
use headwater::value::{DataType, Value};

pub type Row = Vec<Value>;
pub type State = Box<dyn States>;

/// A small fixed generator (xorshift64*), so that a seed names a case for ever.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// One to three flips, cuts, insertions or repeats.
    pub fn mutate(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..1 + self.below(3) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => bytes.insert(at, self.next() as u8),
                3 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                _ => bytes.extend_from_within(..at.min(64)),
            }
        }
        bytes
    }
}

pub fn examples(spec: &AggregateSpec, seed: u64, n: usize) -> Vec<Row> {
    let mut random = Random::new(seed);
    let row = REGISTRY[usize::from(spec.tag())].row;
    (0..n).map(|_| row(spec, &mut || random.next())).collect()
}

pub fn empty(spec: &AggregateSpec, groups: usize) -> State {
    let mut states = create(spec).unwrap_or_else(|| panic!("{spec:?} is not in this build"));
    states.resize(groups);
    states
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
    let mut out = Vec::new();
    state.encode(0, &mut out);
    out
}

pub fn decode(spec: &AggregateSpec, reader: &mut Reader<'_>) -> Result<State, DecodeError> {
    let mut state = empty(spec, 1);
    state.merge(0, reader)?;
    Ok(state)
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
        if random.next().is_multiple_of(2) {
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

pub fn finishers() -> Vec<Finisher> {
    vec![
        Finisher::Value,
        Finisher::Avg,
        Finisher::Count,
        Finisher::VarPop,
        Finisher::VarSamp,
        Finisher::StddevPop,
        Finisher::StddevSamp,
        Finisher::Quantile(0.5),
        Finisher::Quantile(2.0),
        Finisher::Quantiles(vec![0.0, 0.9, 1.0]),
        Finisher::Cardinality,
        Finisher::Bytes,
    ]
}

/// Foreign bytes are refused, changing nothing, or are the one encoding of a state that can be merged,
/// finished and encoded.
pub fn check_foreign(spec: &AggregateSpec, foreign: &[u8], held: &mut State) {
    let mut reader = Reader::new(foreign);
    match decode(spec, &mut reader) {
        Ok(state) => {
            let used = foreign.len() - reader.remaining();
            assert_eq!(bytes(&state), foreign[..used], "{spec:?} has two encodings");
            finishers().iter().for_each(|finisher| drop(state.finish(0, finisher)));
            merged(spec, &[held, &state, &state]);
        }
        Err(_) => {
            let before = bytes(held);
            assert!(held.merge(0, &mut Reader::new(foreign)).is_err());
            assert_eq!(bytes(held), before, "{spec:?} changed by bytes it refused");
        }
    }
}
