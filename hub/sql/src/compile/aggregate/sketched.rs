//! Sets, frequencies and histograms: calls whose states are read by functions.

use super::{Call, Parts};
use crate::compile::coerce::Typed;
use crate::compile::function::argument_exprs;
use crate::error::SqlError;
use datafusion::sql::sqlparser::ast::{Expr, Ident};
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::plan::ExprId;
use headwater::schema::ARRIVAL_TIMESTAMP;
use headwater::value::{DataType, Value};

/// PipelineDB's defaults, but for theta sets, which it had not: theirs is Apache DataSketches'.
const BLOOM_RATE: f64 = 0.02;
const BLOOM_EXPECTED: u32 = 16_384;
const FREQ_ERROR: f64 = 0.002;
const FREQ_CONFIDENCE: f64 = 0.995;
const THETA_K: u32 = 4_096;
const BUCKET_CAP: u32 = 10_000;
/// OpenTelemetry's default.
const EXP_HISTOGRAM_BUCKETS: u16 = 160;

impl Call<'_, '_> {
    /// An optional share between 0 and 1, which must be a literal, in millionths.
    fn share_ppm(&mut self, what: &str, default: f64) -> Result<u32, SqlError> {
        let share = if self.args.is_empty() {
            default
        } else {
            let arg = self.args.remove(0);
            let bad =
                SqlError::new("22023", format!("{what} of {} must be a literal between 0 and 1", self.name));
            self.number(&arg).filter(|share| (0.0..=1.0).contains(share)).ok_or(bad.at(arg.at))?
        };
        Ok((share * 1e6).round() as u32)
    }

    /// A literal number.
    fn number(&self, typed: &Typed) -> Option<f64> {
        let (value, data_type) = self.constant(typed).zip(typed.known())?;
        match crate::convert::cast_value(&value, data_type, &DataType::Float64) {
            Some(Value::Float(x)) => Some(x),
            _ => None,
        }
    }

    pub(super) fn bloom(&mut self) -> Result<Parts, SqlError> {
        self.check(1..=3)?;
        let (x, value) = self.next()?;
        let rate_ppm = self.share_ppm("the rate of false positives", BLOOM_RATE)?;
        let expected = self.parameter("the number of values", BLOOM_EXPECTED)?;
        Parts::finish(AggregateSpec::Bloom { value, rate_ppm, expected }, vec![x], Finisher::Bytes)
    }

    pub(super) fn freq(&mut self) -> Result<Parts, SqlError> {
        self.check(1..=3)?;
        let (x, value) = self.next()?;
        let error_ppm = self.share_ppm("the error", FREQ_ERROR)?;
        let confidence_ppm = self.share_ppm("the confidence", FREQ_CONFIDENCE)?;
        Parts::finish(AggregateSpec::Freq { value, error_ppm, confidence_ppm }, vec![x], Finisher::Bytes)
    }

    pub(super) fn theta(&mut self) -> Result<Parts, SqlError> {
        self.check(1..=2)?;
        let at = self.args.get(1).and_then(|k| k.at);
        let (x, value) = self.next()?;
        let k = self.parameter("k", THETA_K)?;
        if !k.is_power_of_two() || !(16..=65_536).contains(&k) {
            return Err(
                SqlError::new("22023", "k of theta_agg must be a power of two from 16 to 65536").at(at)
            );
        }
        Parts::finish(AggregateSpec::Theta { value, lg_k: k.ilog2() as u8 }, vec![x], Finisher::Bytes)
    }

    /// `histogram(x, ARRAY[...])`.
    pub(super) fn histogram(&mut self) -> Result<Parts, SqlError> {
        let array = argument_exprs(&self.f.args, self.name)?.into_iter().find_map(|arg| match arg {
            Expr::Array(array) => Some(array),
            _ => None,
        });
        let Some(array) = array else {
            return Err(self.no_match().with_hint("histogram(x, ARRAY[1, 10, 100])"));
        };
        self.check(1..=1)?;
        let x = self.double()?;
        let mut bounds = Vec::new();
        for bound in &array.elem {
            let typed = self.exprs.expr(bound)?;
            let bad = SqlError::new("22023", "bounds of histogram must be literal numbers").at(typed.at);
            // No -0.
            bounds.push(self.number(&typed).ok_or(bad)? + 0.0);
        }
        let ascending = bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|x| x.is_finite());
        if !ascending || !(1..=1_000).contains(&bounds.len()) {
            return Err(SqlError::new(
                "22023",
                "bounds of histogram must be 1 to 1000 finite numbers, ascending",
            ));
        }
        Parts::new(AggregateSpec::Histogram { bounds }, vec![x])
    }

    pub(super) fn exp_histogram(&mut self) -> Result<Parts, SqlError> {
        self.check(1..=2)?;
        let x = self.double()?;
        let buckets = self.parameter("the number of buckets", EXP_HISTOGRAM_BUCKETS)?;
        Parts::finish(AggregateSpec::ExpHistogram { buckets }, vec![x], Finisher::Bytes)
    }

    /// `bucket_agg(x, bucket[, ts])`.
    pub(super) fn bucket(&mut self) -> Result<Parts, SqlError> {
        self.check(2..=3)?;
        let no_match = self.no_match();
        let (x, value) = self.next()?;
        let bucket = self.coerced(&DataType::Int32, &no_match)?;
        let time = if self.args.is_empty() {
            self.exprs.any(&Expr::Identifier(Ident::with_quote('"', ARRIVAL_TIMESTAMP)))?.0
        } else {
            self.coerced(&DataType::Timestamp, &no_match)?
        };
        let spec = AggregateSpec::Bucket { value, cap: BUCKET_CAP };
        Parts::finish(spec, vec![x, bucket, time], Finisher::Bytes)
    }

    /// The next argument as this type; where it has none of them, the call's `no_match`.
    pub(super) fn coerced(&mut self, data_type: &DataType, no_match: &SqlError) -> Result<ExprId, SqlError> {
        let arg = self.args.remove(0);
        let coerced = self.exprs.nodes.coerce(arg, data_type);
        coerced.map_err(|e| if e.code == "42804" { no_match.clone() } else { e })
    }
}
