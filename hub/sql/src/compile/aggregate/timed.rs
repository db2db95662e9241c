//! Aggregates over the order of time: `counter_agg`, `time_weight`, `state_agg`.

use super::{Call, Parts};
use crate::error::SqlError;
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::value::{DataType, Value};

impl Call<'_, '_> {
    pub(super) fn counter(&mut self) -> Result<Parts, SqlError> {
        self.check(2..=2)?;
        let no_match = self.no_match();
        let time = self.coerced(&DataType::Timestamp, &no_match)?;
        let x = self.coerced(&DataType::Float64, &no_match)?;
        Parts::finish(AggregateSpec::Counter, vec![time, x], Finisher::Bytes)
    }

    /// `time_weight(ts, x[, 'LOCF' | 'Linear'])`.
    pub(super) fn time_weight(&mut self) -> Result<Parts, SqlError> {
        self.check(2..=3)?;
        let no_match = self.no_match();
        let time = self.coerced(&DataType::Timestamp, &no_match)?;
        let x = self.coerced(&DataType::Float64, &no_match)?;
        let linear = match self.args.pop() {
            None => false,
            Some(method) => {
                let bad = SqlError::new("22023", "the method of time_weight must be 'LOCF' or 'Linear'");
                match self.constant(&method) {
                    Some(Value::Text(text)) if text.eq_ignore_ascii_case("locf") => false,
                    Some(Value::Text(text)) if text.eq_ignore_ascii_case("linear") => true,
                    _ => return Err(bad.at(method.at)),
                }
            }
        };
        Parts::finish(AggregateSpec::TimeWeight { linear }, vec![time, x], Finisher::Avg)
    }

    pub(super) fn state_agg(&mut self) -> Result<Parts, SqlError> {
        self.check(2..=2)?;
        let no_match = self.no_match();
        let time = self.coerced(&DataType::Timestamp, &no_match)?;
        let state = self.coerced(&DataType::Text, &no_match)?;
        Parts::new(AggregateSpec::StateAgg, vec![time, state])
    }
}
