//! `min_n`, `max_n`, `first_values`, `last_values`, `array_agg`, `string_agg`, `json_agg`, `json_object_agg`: rows in an
//! order of their own, the first or last n of them or all up to a cap.
//!
//! State: a multiset of rows of one or more columns, each ascending or descending with NULLs first or last: the
//! `limit` first or last ones, or all, or "full" once there are more than `limit`. The order is total: rows that compare
//! equal are equal, so ties cannot show. Identity: no rows. Merge: union, of which the first (last) `limit` are
//! kept; full absorbs. Both depend only on the multiset of rows: commutative, associative. Exact, or an error when
//! finished. NULLs are rows; what must skip them has a FILTER in its plan.
//! Worst case: for each row its bytes and about 40 (twice that between two prunings of the first or last).
//! Bytes: 0 for full; else 1 + how many (varint), then the rows in their order, each as key bytes of its columns (NULL
//! too), but for a first column of integers, dates or times: varint 0 for NULL, else 1 + zigzag of the difference to
//! the row before. So times cost a few bytes each, and a state is no larger than its events.

use super::column::{State, StateColumn, admit_key};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, column::key_value, json};
use super::{Keep, SortColumn};
use crate::codec::{DecodeError, Reader, Writer};
use crate::sketch::key::Key;
use crate::value::column::Column;
use crate::value::{DataType, Interval, Physical, Value, key};
use alloc::borrow::Cow;
#[cfg(feature = "finish")]
use alloc::string::String;
#[cfg(feature = "finish")]
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Rows by group.
pub(super) type RowStates = StateColumn<Rows>;

/// What the states of a column share.
pub(super) struct Params {
    /// Which rows are kept.
    pub keep: Keep,
    /// How many at most.
    pub limit: usize,
    /// What they are made of.
    pub columns: Vec<SortColumn>,
}

/// The flag before a value in a row's sort bytes; NULLs have a smaller or a larger one.
const VALUE: u8 = 1;

impl Params {
    /// How a row ranks against another for being kept.
    fn rank(&self, a: &[u8], b: &[u8]) -> Ordering {
        match self.keep {
            Keep::Last => b.cmp(a),
            Keep::First | Keep::All => a.cmp(b),
        }
    }

    /// True where integers of the first column are written as differences.
    fn differs(&self, column: usize) -> bool {
        column == 0 && self.columns[0].data_type.physical() == Physical::Int
    }

    /// Calls `each(column, key bytes)` for the parts of a row.
    fn parts(&self, row: &[u8], mut each: impl FnMut(usize, &[u8])) {
        let mut rest = row;
        for (at, column) in self.columns.iter().enumerate() {
            let Some((&flag, bytes)) = rest.split_first() else { return };
            rest = bytes;
            if flag != VALUE {
                each(at, &[key::NULL_BYTE]);
                continue;
            }
            let bytes = match column.descending {
                true => Cow::Owned(bytes.iter().map(|byte| !byte).collect::<Vec<u8>>()),
                false => Cow::Borrowed(bytes),
            };
            let skip = span_bytes(&column.data_type);
            let used = key_bytes(&bytes[skip..], &column.data_type).len();
            each(at, &bytes[skip..skip + used]);
            rest = &rest[skip + used..];
        }
    }
}

/// The bytes of the first value in canonical key bytes.
fn key_bytes<'a>(bytes: &'a [u8], data_type: &DataType) -> &'a [u8] {
    let mut reader = Reader::new(bytes);
    // These bytes were written or checked here.
    let _ = key::decode_value(&mut reader, data_type);
    &bytes[..bytes.len() - reader.remaining()]
}

/// Key bytes order intervals by their parts; PostgreSQL by their span, which is put before them in memory.
fn span_bytes(data_type: &DataType) -> usize {
    if *data_type == DataType::Interval { 16 } else { 0 }
}

/// Appends the sort bytes of one part of a row.
fn put_part(key: &[u8], column: &SortColumn, out: &mut Vec<u8>) {
    if key == [key::NULL_BYTE] {
        return out.push(if column.nulls_first { VALUE - 1 } else { VALUE + 1 });
    }
    out.push(VALUE);
    let start = out.len();
    if column.data_type == DataType::Interval
        && let Ok(Value::Interval(interval)) = key::decode_value(&mut Reader::new(key), &column.data_type)
    {
        out.extend_from_slice(&(span(&interval) as u128 ^ 1 << 127).to_be_bytes());
    }
    out.extend_from_slice(key);
    if column.descending {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// Microseconds, a month counting 30 days.
fn span(interval: &Interval) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * 86_400_000_000 + i128::from(interval.micros)
}

/// The rows so far.
#[derive(Clone, Default)]
pub(super) struct Rows {
    /// The first `best` are the best `limit`, the best first; any order otherwise.
    rows: Vec<Key>,
    best: usize,
    full: bool,
}

impl Rows {
    fn offer(&mut self, params: &Params, row: &[u8]) {
        if self.full {
            return;
        }
        if params.keep == Keep::All {
            self.rows.push(row.into());
            if self.rows.len() > params.limit {
                *self = Self { full: true, ..Self::default() };
            }
            return;
        }
        let worst = self.best.checked_sub(1).map(|at| self.rows[at].as_bytes());
        if worst.is_some_and(|worst| params.rank(row, worst).is_ge()) {
            return;
        }
        self.rows.push(row.into());
        if self.rows.len() >= 2 * params.limit + 8 {
            self.prune(params);
        }
    }

    fn prune(&mut self, params: &Params) {
        self.rows.sort_unstable_by(|a, b| params.rank(a.as_bytes(), b.as_bytes()));
        self.rows.truncate(params.limit);
        self.best = self.rows.len();
    }

    /// The rows that count, in their order.
    fn sorted(&self, params: &Params) -> Vec<&[u8]> {
        let mut rows: Vec<&[u8]> = self.rows.iter().map(Key::as_bytes).collect();
        rows.sort_unstable_by(|a, b| params.rank(a, b));
        rows.truncate(params.limit);
        if params.keep == Keep::Last {
            rows.reverse();
        }
        rows
    }
}

impl State for Rows {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        if args.len() != params.columns.len() {
            return;
        }
        let (mut bytes, mut part) = (Vec::new(), Vec::new());
        for (&row, &group) in rows.iter().zip(groups) {
            bytes.clear();
            for (values, column) in args.iter().zip(&params.columns) {
                part.clear();
                key::encode_row(values, row as usize, &column.data_type, &mut part);
                put_part(&part, column, &mut bytes);
            }
            states[group as usize].offer(params, &bytes);
        }
    }

    fn merge(&mut self, params: &Params, other: &Self) {
        if other.full {
            *self = other.clone();
        }
        other.rows.iter().for_each(|row| self.offer(params, row.as_bytes()));
    }

    fn encode(&self, params: &Params, out: &mut Vec<u8>) {
        if self.full {
            return out.push(0);
        }
        let rows = self.sorted(params);
        out.put_varint(rows.len() as u64 + 1);
        let mut before = 0;
        for row in rows {
            params.parts(row, |at, key| match params.differs(at) {
                true => put_difference(key, &params.columns[0].data_type, &mut before, out),
                false => out.extend_from_slice(key),
            });
        }
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Some(len) = bytes.varint()?.checked_sub(1) else {
            return match params.keep {
                Keep::All => Ok(Self { full: true, ..Self::default() }),
                Keep::First | Keep::Last => Err(DecodeError::Invalid("number of rows")),
            };
        };
        if len > params.limit as u64 {
            return Err(DecodeError::TooLarge("rows"));
        }
        let mut rows: Vec<Key> = Vec::new();
        let (mut row, mut before) = (Vec::new(), 0);
        for _ in 0..len {
            read_row(params, bytes, &mut before, &mut row)?;
            if rows.last().is_some_and(|last| last.as_bytes() > &row[..]) {
                return Err(DecodeError::Invalid("order of rows"));
            }
            rows.push(row[..].into());
        }
        if params.keep == Keep::Last {
            rows.reverse();
        }
        let best = if rows.len() == params.limit { rows.len() } else { 0 };
        Ok(Self { rows, best, full: false })
    }

    /// A state stands for its rows at least.
    fn admit(&self, params: &Params) -> Result<u64, DecodeError> {
        let mut admitted = Ok(());
        for row in &self.rows {
            params.parts(row.as_bytes(), |_, key| admitted = admitted.and_then(|()| admit_key(key)));
        }
        admitted.map(|()| self.rows.len() as u64)
    }

    fn heap_bytes(&self) -> usize {
        self.rows.capacity() * core::mem::size_of::<Key>()
            + self.rows.iter().map(Key::heap_bytes).sum::<usize>()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, params: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        super::spec::rows_type(&params.columns, finisher)?;
        if self.full {
            return Err(FinishError::CollectionFull(params.limit as u32));
        }
        if self.rows.is_empty() {
            return Ok(Value::Null);
        }
        let rows = self.sorted(params).into_iter().map(|row| params.values(row));
        let column = |at: u8, mut row: Vec<Value>| core::mem::take(&mut row[usize::from(at)]);
        let data_type = |at: u8| &params.columns[usize::from(at)].data_type;
        Ok(match finisher {
            Finisher::Value if params.columns.len() == 1 => {
                Value::List(rows.map(|row| column(0, row)).collect())
            }
            Finisher::Value => Value::List(rows.map(Value::Struct).collect()),
            Finisher::Column(at) => Value::List(rows.map(|row| column(*at, row)).collect()),
            Finisher::Join { column: at, delimiter } => join(rows.map(|row| column(*at, row)), delimiter),
            Finisher::JsonArray(at) => {
                Value::Text(json::array(rows.map(|row| column(*at, row)), data_type(*at)))
            }
            Finisher::JsonObject { key, value } => {
                let pairs = rows.map(|row| (row[usize::from(*key)].clone(), column(*value, row)));
                Value::Text(json::object(pairs, data_type(*key), data_type(*value)))
            }
            _ => return Err(FinishError::Mismatch),
        })
    }
}

#[cfg(feature = "finish")]
impl Params {
    fn values(&self, row: &[u8]) -> Vec<Value> {
        let mut values = vec![Value::Null; self.columns.len()];
        self.parts(row, |at, key| values[at] = key_value(key, &self.columns[at].data_type));
        values
    }
}

#[cfg(feature = "finish")]
fn join(values: impl Iterator<Item = Value>, delimiter: &str) -> Value {
    let mut joined: Option<String> = None;
    for value in values {
        let Value::Text(text) = value else { continue };
        match &mut joined {
            Some(joined) => *joined = [joined, delimiter, &text].concat(),
            None => joined = Some(text),
        }
    }
    joined.map_or(Value::Null, Value::Text)
}

/// Appends an integer as the difference to the one `before`.
fn put_difference(key: &[u8], data_type: &DataType, before: &mut i64, out: &mut Vec<u8>) {
    let Ok(Value::Int(value)) = key::decode_value(&mut Reader::new(key), data_type) else {
        return out.put_varint(0);
    };
    let difference = value.wrapping_sub(*before);
    *before = value;
    out.put_varint128(1 + u128::from((difference << 1) as u64 ^ (difference >> 63) as u64));
}

/// Reads a row and makes sort bytes of it.
fn read_row(
    params: &Params,
    bytes: &mut Reader<'_>,
    before: &mut i64,
    row: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    row.clear();
    for (at, column) in params.columns.iter().enumerate() {
        if params.differs(at) {
            let mut key = Vec::with_capacity(9);
            read_difference(&column.data_type, bytes, before, &mut key)?;
            put_part(&key, column, row);
            continue;
        }
        let rest = bytes.peek_rest();
        key::decode_value(bytes, &column.data_type)?;
        put_part(&rest[..rest.len() - bytes.remaining()], column, row);
    }
    Ok(())
}

fn read_difference(
    data_type: &DataType,
    bytes: &mut Reader<'_>,
    before: &mut i64,
    key: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let Some(zigzag) = bytes.varint128()?.checked_sub(1) else {
        key.push(key::NULL_BYTE);
        return Ok(());
    };
    let zigzag = u64::try_from(zigzag).map_err(|_| DecodeError::Overlong)?;
    let value = Value::Int(before.wrapping_add((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)));
    if !value.fits(data_type) || !key::encode_value(&value, data_type, key) {
        return Err(DecodeError::Invalid("integer"));
    }
    if let Value::Int(value) = value {
        *before = value;
    }
    Ok(())
}
