//! `bucket_agg(x, bucket[, ts])`: which bucket each distinct value is in now.
//!
//! State: by distinct canonical key bytes the latest time and the bucket that came with it, or "full" once there are
//! more than `cap` values. Identity: empty. Merge: union; of a value in both the later time, at equal times the larger
//! bucket; full absorbs. Depends only on the set of events: commutative, associative, idempotent. Exact, or an error
//! when finished. A row with a NULL does not count. Worst case: `cap` values and about 60 bytes for each. As
//! PipelineDB's `bucket_agg`.
//! Bytes: 0 for full; else 1 + how many (varint), then for each value, ascending, its key bytes, the bucket and the time
//! in microseconds (zigzag).

use super::column::{State, StateColumn, admit_key, read_key, valid_rows};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader, Writer};
use crate::sketch::key::Key;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
use crate::value::{DataType, key};
#[cfg(feature = "finish")]
use alloc::collections::BTreeMap;
#[cfg(feature = "finish")]
use alloc::vec;
use alloc::vec::Vec;
use hashbrown::HashMap;

/// Values in buckets, by group.
pub(super) type BucketStates = StateColumn<Buckets>;

/// What the states of a column share.
pub(super) struct Params {
    /// The value's type.
    pub value: DataType,
    /// Most values.
    pub cap: u32,
}

/// When a value was last put somewhere, and where.
type Place = (i64, i32);

/// Values and their places; `None` when full.
#[derive(Clone)]
pub(super) struct Buckets(Option<HashMap<Key, Place>>);

impl Buckets {
    fn put(&mut self, key: &[u8], place: Place, cap: u32) {
        let Some(places) = &mut self.0 else { return };
        match places.get_mut(key) {
            Some(known) => *known = place.max(*known),
            None => {
                places.insert(key.into(), place);
            }
        }
        if places.len() > cap as usize {
            self.0 = None;
        }
    }
}

impl State for Buckets {
    type Params = Params;

    fn empty(_: &Params) -> Self {
        Self(Some(HashMap::new()))
    }

    fn update(states: &mut [Self], params: &Params, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [values, buckets, times] = args else { return };
        let (ColumnData::Int(bucket), ColumnData::Int(time)) = (&buckets.data, &times.data) else { return };
        let mut bytes = Vec::new();
        valid_rows(rows, groups, values, |row, group| {
            if buckets.is_valid(row) && times.is_valid(row) {
                bytes.clear();
                key::encode_row(values, row, &params.value, &mut bytes);
                states[group].put(&bytes, (time[row], bucket[row] as i32), params.cap);
            }
        });
    }

    fn merge(&mut self, params: &Params, other: &Self) {
        match &other.0 {
            None => self.0 = None,
            Some(places) => {
                places.iter().for_each(|(key, place)| self.put(key.as_bytes(), *place, params.cap));
            }
        }
    }

    fn encode(&self, _: &Params, out: &mut Vec<u8>) {
        let Some(places) = &self.0 else { return out.push(0) };
        out.put_varint(places.len() as u64 + 1);
        let mut sorted: Vec<(&[u8], Place)> =
            places.iter().map(|(key, place)| (key.as_bytes(), *place)).collect();
        sorted.sort_unstable();
        for (key, (time, bucket)) in sorted {
            out.extend_from_slice(key);
            out.put_zigzag(i64::from(bucket));
            out.put_zigzag(time);
        }
    }

    fn decode(params: &Params, bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Some(len) = bytes.varint()?.checked_sub(1) else { return Ok(Self(None)) };
        if len > u64::from(params.cap) {
            return Err(DecodeError::TooLarge("values in buckets"));
        }
        let mut places = HashMap::new();
        let mut before: &[u8] = &[];
        for _ in 0..len {
            before = read_key(&params.value, before, bytes)?;
            let bucket = i32::try_from(bytes.zigzag()?).map_err(|_| DecodeError::Invalid("bucket"))?;
            places.insert(before.into(), (bytes.zigzag()?, bucket));
        }
        Ok(Self(Some(places)))
    }

    fn admit(&self, _: &Params) -> Result<u64, DecodeError> {
        self.0.iter().flat_map(HashMap::keys).try_for_each(|key| admit_key(key.as_bytes())).map(|()| 0)
    }

    fn heap_bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |places| places.capacity() * 41 + places.keys().map(Key::heap_bytes).sum::<usize>())
    }

    #[cfg(feature = "finish")]
    fn finish(&self, params: &Params, finisher: &Finisher) -> Result<Value, FinishError> {
        let places = self.0.as_ref().ok_or(FinishError::SetFull(params.cap));
        match finisher {
            Finisher::Cardinality => bigint(places?.len() as u64),
            Finisher::Value => {
                let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
                places?.values().for_each(|(_, bucket)| *counts.entry(*bucket).or_default() += 1);
                let pair =
                    |(bucket, count)| Ok(Value::Struct(vec![Value::Int(i64::from(bucket)), bigint(count)?]));
                counts.into_iter().map(pair).collect::<Result<_, _>>().map(Value::List)
            }
            _ => Err(FinishError::Mismatch),
        }
    }
}
