//! Rounding as PostgreSQL does it: doubles to the even neighbour, numerics away from zero.
//!
//! | written | here |
//! |---|---|
//! | double to integer, `round(double)` | half to even |
//! | numeric to integer, and doubles that are numerics in PostgreSQL (see [`exact`](super::exact)) | half away from zero |
//! | double to numeric | the 15 digits that PostgreSQL takes of it, half away from zero |
//! | `round(double, n)` | the digits it is written with, half away from zero |
//! | `trunc(double, n)` | the digits it is written with, cut off |
//!
//! DataFusion cuts integers off, and rounds doubles by their binary digits.

use super::guard;
use super::postgres::each;
use super::walk::rewrite_where;
use crate::error::SqlError;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Float32Type, Float64Type, Int64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Puts rounding where a plan needs it.
#[derive(Debug)]
pub(super) struct Round;

impl AnalyzerRule for Round {
    fn name(&self) -> &str {
        "round"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_where(plan, rounds, |expr, schema, plan| Ok(rounded(expr, schema, plan)))
    }
}

fn rounds(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(cast) => cast.field.data_type().is_integer() || cast.field.data_type().is_decimal(),
        Expr::ScalarFunction(call) => match call.func.name() {
            "round" => true,
            "trunc" => call.args.len() == 2,
            _ => false,
        },
        _ => false,
    }
}

fn rounded(expr: Expr, schema: &DFSchema, plan: &LogicalPlan) -> Transformed<Expr> {
    let type_of = |expr: &Expr| expr.get_type(schema).ok();
    match expr {
        Expr::Cast(cast) if rounds(&Expr::Cast(cast.clone())) => {
            let from = type_of(&cast.expr);
            match from.and_then(|from| of_cast(&from, cast.field.data_type(), &cast.expr, plan)) {
                Some(mode) => {
                    let expr = Box::new(call(mode, vec![*cast.expr]));
                    Transformed::yes(Expr::Cast(Cast { expr, ..cast }))
                }
                None => Transformed::no(Expr::Cast(cast)),
            }
        }
        Expr::ScalarFunction(round) if is_of_numeric(&round, schema) => with_narrow_digits(round),
        Expr::ScalarFunction(trunc) if trunc.func.name() == "trunc" && trunc.args.len() == 2 => {
            match trunc.args.first().and_then(type_of).filter(|of| of.is_floating() || of.is_integer()) {
                Some(_) => Transformed::yes(call(Mode::Cut, trunc.args)),
                None => Transformed::no(Expr::ScalarFunction(trunc)),
            }
        }
        Expr::ScalarFunction(round) if round.func.name() == "round" => {
            match round.args.first().and_then(type_of).filter(DataType::is_floating) {
                Some(_) if round.args.len() == 2 => Transformed::yes(call(Mode::Digits, round.args)),
                Some(_) if !super::exact::is_numeric(&round.args[0], plan) => {
                    Transformed::yes(call(Mode::Even, round.args))
                }
                _ => Transformed::no(Expr::ScalarFunction(round)),
            }
        }
        expr => Transformed::no(expr),
    }
}

fn is_of_numeric(call: &ScalarFunction, schema: &DFSchema) -> bool {
    let is_numeric = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| data_type.is_decimal());
    ["round", "trunc"].contains(&call.func.name())
        && matches!(call.args.as_slice(), [numeric, Expr::Literal(ScalarValue::Int64(_), _)] if is_numeric(numeric))
}

/// The scale of the result is this literal's, which has to be of the function's type from the beginning: cast later, it would change
/// the result's type behind those who have planned with it.
fn with_narrow_digits(mut call: ScalarFunction) -> Transformed<Expr> {
    if let Some(Expr::Literal(digits, _)) = call.args.get_mut(1)
        && let Ok(narrow) = digits.cast_to(&DataType::Int32)
    {
        *digits = narrow;
    }
    Transformed::yes(Expr::ScalarFunction(call))
}

/// What has to happen before a cast, if anything.
fn of_cast(from: &DataType, to: &DataType, operand: &Expr, plan: &LogicalPlan) -> Option<Mode> {
    match (from, to) {
        (DataType::Decimal128(..), to) if to.is_integer() => Some(Mode::Away),
        (from, to) if from.is_floating() && to.is_integer() => {
            Some(if super::exact::is_numeric(operand, plan) { Mode::Away } else { Mode::Even })
        }
        (from, DataType::Decimal128(_, scale)) if from.is_floating() => Some(Mode::Decimal(*scale)),
        _ => None,
    }
}

fn call(mode: Mode, args: Vec<Expr>) -> Expr {
    let func = Arc::new(ScalarUDF::from(Rounded::new(mode, args.len())));
    Expr::ScalarFunction(ScalarFunction { func, args })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mode {
    /// To the nearest integer, half to even.
    Even,
    /// To the nearest integer, half away from zero.
    Away,
    /// To as many digits behind the point as the second argument says.
    Digits,
    /// As [`Mode::Digits`], but cut off.
    Cut,
    /// As a numeric of this scale.
    Decimal(i8),
}

/// One way to round, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounded {
    mode: Mode,
    signature: Signature,
}

impl Rounded {
    fn new(mode: Mode, args: usize) -> Self {
        Self { mode, signature: Signature::any(args, Volatility::Immutable) }
    }

    fn column(&self, values: &ArrayRef) -> Result<ArrayRef> {
        Ok(match (self.mode, values.data_type()) {
            (Mode::Even, DataType::Float32) => {
                Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even))
            }
            (Mode::Even, DataType::Float64) => {
                Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even))
            }
            (Mode::Away, DataType::Float32) => {
                Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round))
            }
            (Mode::Away, DataType::Float64) => {
                Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round))
            }
            // Arrow rounds decimals to decimals half away from zero.
            (Mode::Away, DataType::Decimal128(..)) => cast(values, &WHOLE)?,
            (Mode::Decimal(scale), _) => decimals(values, scale)?,
            _ => return Err(guard::external(SqlError::new("XX000", "rounding of an unexpected type"))),
        })
    }
}

/// The type of a numeric without a fraction.
const WHOLE: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);

impl ScalarUDFImpl for Rounded {
    fn name(&self) -> &str {
        if self.mode == Mode::Cut { "trunc" } else { "round" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(match (self.mode, args.first()) {
            (Mode::Decimal(scale), _) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale),
            (_, Some(DataType::Decimal128(..))) => WHOLE,
            (Mode::Even | Mode::Away, Some(DataType::Float32)) => DataType::Float32,
            _ => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [value, digits] => {
                let (value, digits) = (value.to_array(args.number_rows)?, digits.to_array(args.number_rows)?);
                round_all(&value, &digits, self.mode == Mode::Cut).map(ColumnarValue::Array)
            }
            [value, ..] => each(value, args.number_rows, |values| self.column(values)),
            [] => Err(guard::external(SqlError::new("XX000", "nothing to round"))),
        }
    }
}

fn round_all(values: &ArrayRef, digits: &ArrayRef, cuts: bool) -> Result<ArrayRef> {
    let (values, digits) = (cast(values, &DataType::Float64)?, cast(digits, &DataType::Int64)?);
    let pairs = values.as_primitive::<Float64Type>().iter().zip(digits.as_primitive::<Int64Type>());
    let rounded: Float64Array =
        pairs.map(|(value, digits)| Some(round_digits(value?, digits?, cuts))).collect();
    Ok(Arc::new(rounded))
}

/// A double as digits and a power of ten.
fn digits_of(text: &str) -> Option<(i128, i64)> {
    let (mantissa, exponent) = text.split_once('e')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, exponent.parse::<i64>().ok()? - fraction.len() as i64))
}

/// Without the last `drop` digits, half away from zero.
fn without(digits: i128, drop: i64) -> i128 {
    match unit_of(drop) {
        Some(unit) => (digits + digits.signum() * (unit / 2)) / unit,
        None => 0,
    }
}

fn unit_of(drop: i64) -> Option<i128> {
    u32::try_from(drop).ok().and_then(|drop| 10i128.checked_pow(drop))
}

fn round_digits(value: f64, digits: i64, cuts: bool) -> f64 {
    let Some((all, exponent)) = digits_of(&format!("{value:e}")).filter(|_| value.is_finite()) else {
        return value;
    };
    let drop = exponent.saturating_add(digits).saturating_neg();
    if drop <= 0 {
        return value;
    }
    let power = exponent.saturating_add(drop);
    let left = if cuts { unit_of(drop).map_or(0, |unit| all / unit) } else { without(all, drop) };
    format!("{left}e{power}").parse().unwrap_or(value)
}

fn decimals(values: &ArrayRef, scale: i8) -> Result<ArrayRef> {
    let is_real = *values.data_type() == DataType::Float32;
    let values = cast(values, &DataType::Float64)?;
    let decimal = |value: f64| decimal(value, scale, is_real).ok_or_else(out_of_range);
    let decimals = values.as_primitive::<Float64Type>().iter().map(|value| value.map(decimal).transpose());
    let decimals = decimals.collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(decimals.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale)?))
}

/// The units of a numeric; PostgreSQL takes 15 digits of a double and 6 of a real.
fn decimal(value: f64, scale: i8, is_real: bool) -> Option<i128> {
    let text = if is_real { format!("{value:.5e}") } else { format!("{value:.14e}") };
    let (digits, exponent) = digits_of(&text)?;
    let shift = exponent + i64::from(scale);
    if shift <= 0 || digits == 0 {
        return Some(without(digits, -shift));
    }
    let unit = 10i128.checked_pow(u32::try_from(shift).ok()?)?;
    digits.checked_mul(unit).filter(|units| units.unsigned_abs() < 10u128.pow(38))
}

fn out_of_range() -> datafusion::common::DataFusionError {
    guard::external(SqlError::new("22003", "numeric out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_round_by_the_digits_they_are_written_with() {
        let cases = [
            (1.005, 2, 1.01),
            (2.675, 2, 2.68),
            (-2.5, 0, -3.0),
            (1234.5678, -2, 1200.0),
            (0.04, 1, 0.0),
            (7.0, 400, 7.0),
            (7.0, -400, 0.0),
            (1e300, 2, 1e300),
        ];
        for (value, digits, wanted) in cases {
            assert_eq!(round_digits(value, digits, false), wanted, "round({value}, {digits})");
        }
        assert!(round_digits(f64::NAN, 2, false).is_nan());
        assert_eq!(round_digits(f64::INFINITY, 2, false), f64::INFINITY);
    }

    #[test]
    fn digits_are_cut_off() {
        let cases = [
            (1.5, 2_147_483_647, 1.5),
            (1.5, -2_147_483_648, 0.0),
            (0.29, 2, 0.29),
            (-1.567, 2, -1.56),
            (1299.5, -2, 1200.0),
            (1e300, 2, 1e300),
        ];
        for (value, digits, wanted) in cases {
            assert_eq!(round_digits(value, digits, true), wanted, "trunc({value}, {digits})");
        }
    }

    #[test]
    fn doubles_become_numerics_by_fifteen_digits() {
        assert_eq!(decimal(1.005, 2, false), Some(101));
        assert_eq!(decimal(0.1 + 0.2, 17, false), Some(30_000_000_000_000_000));
        assert_eq!(decimal(-0.5, 0, false), Some(-1));
        assert_eq!(decimal(0.0, 38, false), Some(0));
        assert_eq!(decimal(1e37, 0, false), Some(10i128.pow(37)));
        assert_eq!(decimal(1e38, 0, false), None);
        assert_eq!(decimal(1e-300, 10, false), Some(0));
        assert_eq!(decimal(f64::from(0.1f32), 10, true), Some(1_000_000_000));
        assert_eq!(decimal(f64::INFINITY, 0, false), None);
    }
}
