//! `counter_agg(ts, value)`, `time_weight(ts, value[, method])`, `state_agg(ts, state)`: what needs events in the order
//! of time. See [`crate::sketch::timeline`] for state, laws and bytes, and [`crate::sketch::counter`],
//! [`crate::sketch::area`] and [`crate::sketch::stays`] for what they sum up.
//!
//! A row with a NULL does not count, nor does a value that is not finite, nor a negative reading of a counter. Events of
//! one time are taken in the order of their values. Answers are exact, or an error where the events of two producers, or
//! of two flushes, overlap in time.

use super::column::{State, StateColumn};
#[cfg(feature = "finish")]
use super::{FinishError, Finisher, spec::bigint};
use crate::codec::{DecodeError, Reader};
use crate::limits::VALUE_BYTES_MAX;
use crate::sketch::area::Area;
use crate::sketch::counter::Readings;
use crate::sketch::key::Key;
use crate::sketch::stays::Stays;
use crate::sketch::timeline::{Span, Timeline};
#[cfg(feature = "finish")]
use crate::value::Interval;
#[cfg(feature = "finish")]
use crate::value::Value;
use crate::value::column::{Column, ColumnData};
#[cfg(feature = "finish")]
use alloc::string::String;
#[cfg(feature = "finish")]
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Counters by group.
pub(super) type CounterStates = StateColumn<Timeline<Readings>>;
/// Time-weighted averages by group.
pub(super) type TimeWeightStates<const LINEAR: bool> = StateColumn<Timeline<Area<LINEAR>>>;
/// Durations of states by group.
pub(super) type StateStates = StateColumn<Timeline<Stays>>;

/// What a kind of span takes and gives.
pub(super) trait Kind: Span<Value: Clone> + Send + Sync + 'static {
    /// An event's value, if it counts.
    fn value(column: &Column, row: usize) -> Option<Self::Value>;
    /// The order of the values of one time.
    fn order(a: &Self::Value, b: &Self::Value) -> Ordering;
    /// What a producer's span must keep besides.
    fn admit(&self) -> Result<(), DecodeError> {
        Ok(())
    }
    /// The answer.
    #[cfg(feature = "finish")]
    fn finish(spans: &[Self], finisher: &Finisher) -> Result<Value, FinishError>;
}

impl<K: Kind> State for Timeline<K> {
    type Params = ();

    fn empty((): &()) -> Self {
        Self::default()
    }

    fn update(states: &mut [Self], (): &(), rows: &[u32], groups: &[u32], args: &[&Column]) {
        let [times, values] = args else { return };
        let ColumnData::Int(time) = &times.data else { return };
        let mut events: Vec<(u32, i64, K::Value)> = Vec::with_capacity(rows.len());
        for (&row, &group) in rows.iter().zip(groups) {
            let row = row as usize;
            if times.is_valid(row)
                && values.is_valid(row)
                && let Some(value) = K::value(values, row)
            {
                events.push((group, time[row], value));
            }
        }
        events.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| K::order(&a.2, &b.2)));
        for of_group in events.chunk_by(|a, b| a.0 == b.0) {
            states[of_group[0].0 as usize]
                .add(of_group.iter().map(|(_, time, value)| (*time, value.clone())));
        }
    }

    fn merge(&mut self, (): &(), other: &Self) {
        self.merge(other);
    }

    fn encode(&self, (): &(), out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn decode((): &(), bytes: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::decode(bytes)
    }

    fn admit(&self, (): &()) -> Result<u64, DecodeError> {
        // A broken one tells nothing, and breaks its group: as events of any time would.
        self.spans().unwrap_or_default().iter().try_for_each(K::admit)?;
        Ok(self.count().unwrap_or(0))
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[cfg(feature = "finish")]
    fn finish(&self, (): &(), finisher: &Finisher) -> Result<Value, FinishError> {
        match self.spans() {
            Some(_) if *finisher == Finisher::Count => bigint(self.count().unwrap_or(u64::MAX)),
            Some(spans) => K::finish(spans, finisher),
            None => Err(FinishError::Overlapping),
        }
    }
}

fn finite(column: &Column, row: usize) -> Option<f64> {
    match &column.data {
        ColumnData::Float(values) => Some(values[row] + 0.0).filter(|x| x.is_finite()),
        _ => None,
    }
}

impl Kind for Readings {
    fn value(column: &Column, row: usize) -> Option<f64> {
        finite(column, row).filter(|x| *x >= 0.0)
    }

    fn order(a: &f64, b: &f64) -> Ordering {
        a.total_cmp(b)
    }

    #[cfg(feature = "finish")]
    fn finish(spans: &[Self], finisher: &Finisher) -> Result<Value, FinishError> {
        let progress = Self::progress(spans);
        let value = match finisher {
            Finisher::Resets => return bigint(progress.map_or(0, |progress| progress.resets)),
            Finisher::Delta => progress.map(|progress| progress.delta),
            Finisher::Rate => progress
                .filter(|progress| progress.micros > 0)
                .map(|progress| progress.delta / (progress.micros as f64 / 1e6)),
            _ => return Err(FinishError::Mismatch),
        };
        Ok(value.map_or(Value::Null, Value::Float))
    }
}

impl<const LINEAR: bool> Kind for Area<LINEAR> {
    fn value(column: &Column, row: usize) -> Option<f64> {
        finite(column, row)
    }

    fn order(a: &f64, b: &f64) -> Ordering {
        a.total_cmp(b)
    }

    #[cfg(feature = "finish")]
    fn finish(spans: &[Self], finisher: &Finisher) -> Result<Value, FinishError> {
        match finisher {
            Finisher::Avg => Ok(Self::average(spans).map_or(Value::Null, Value::Float)),
            _ => Err(FinishError::Mismatch),
        }
    }
}

impl Kind for Stays {
    fn value(column: &Column, row: usize) -> Option<Key> {
        match &column.data {
            ColumnData::Bytes(values) => Some(values.get(row).into()),
            _ => None,
        }
    }

    fn order(a: &Key, b: &Key) -> Ordering {
        a.cmp(b)
    }

    fn admit(&self) -> Result<(), DecodeError> {
        let long = self.states().any(|state| state.len() > VALUE_BYTES_MAX);
        if long { Err(DecodeError::TooLarge("value")) } else { Ok(()) }
    }

    #[cfg(feature = "finish")]
    fn finish(spans: &[Self], finisher: &Finisher) -> Result<Value, FinishError> {
        if *finisher != Finisher::Value {
            return Err(FinishError::Mismatch);
        }
        let record = |(state, micros): (&[u8], u64)| {
            let micros = i64::try_from(micros).map_err(|_| FinishError::OutOfRange("interval"))?;
            let state = String::from_utf8_lossy(state).into_owned();
            Ok(Value::Struct(vec![
                Value::Text(state),
                Value::Interval(Interval { months: 0, days: 0, micros }),
            ]))
        };
        Self::durations(spans).into_iter().map(record).collect::<Result<_, _>>().map(Value::List)
    }
}
