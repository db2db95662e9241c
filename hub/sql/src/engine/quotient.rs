//! Numerics divided as far as PostgreSQL divides them.
//!
//! DataFusion keeps four digits more than the dividend has, and cuts off the rest. PostgreSQL gives a quotient 16
//! significant digits at least, by its value; here a column has one scale, which its types decide: 16 to 20 digits
//! behind the point, more where an operand has more, rounded half away from zero. `avg` gets 16.

use super::guard;
use super::walk::rewrite;
use crate::error::SqlError;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array};
use datafusion::arrow::compute::cast as cast_array;
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, i256};
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, cast,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;
use std::sync::Arc;

/// Digits behind the point of every quotient: those of PostgreSQL's for quotients from 1 to 10.
const SCALE_MIN: i16 = 16;
/// Digits behind the point where there is room: those of PostgreSQL's for quotients below 1.
const SCALE_ROOM: i16 = 20;
/// What `avg` adds to the scale of its argument.
const AVG_SCALE: i8 = 4;

/// Divides the numerics of a plan.
#[derive(Debug)]
pub(super) struct DivideNumerics;

impl AnalyzerRule for DivideNumerics {
    fn name(&self) -> &str {
        "divide_numerics"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, schema| Ok(divided(expr, schema)))
    }
}

fn divided(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) => {
            let types =
                [&left, &right].map(|operand| operand.get_type(schema).ok().and_then(|t| decimal_of(&t)));
            match types {
                [Some((l, true)), Some((r, _))] | [Some((l, _)), Some((r, true))] => {
                    let func = Arc::new(ScalarUDF::from(Quotient::new(scale_of(l, r))));
                    Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: vec![*left, *right] }))
                }
                _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right })),
            }
        }
        Expr::AggregateFunction(mut call) if call.func.name() == "avg" => {
            let changed = averaged(&mut call.params.args, schema);
            Transformed::new_transformed(Expr::AggregateFunction(call), changed)
        }
        Expr::WindowFunction(mut call) if call.fun.name() == "avg" => {
            let changed = averaged(&mut call.params.args, schema);
            Transformed::new_transformed(Expr::WindowFunction(call), changed)
        }
        expr => Transformed::no(expr),
    }
}

/// An average is a quotient, too. True when what it averages was cast.
fn averaged(args: &mut [Expr], schema: &DFSchema) -> bool {
    let data_type = args.first().and_then(|arg| arg.get_type(schema).ok());
    let scale = SCALE_MIN as i8 - AVG_SCALE;
    let is_coarse = matches!(data_type, Some(DataType::Decimal128(_, own)) if own < scale);
    if is_coarse {
        let wide = DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale);
        args.iter_mut().for_each(|arg| *arg = cast(std::mem::take(arg), wide.clone()));
    }
    is_coarse
}

/// Precision and scale of a number without a binary fraction, and whether it is a decimal.
fn decimal_of(data_type: &DataType) -> Option<((u8, i8), bool)> {
    Some(match data_type {
        DataType::Decimal128(precision, scale) => ((*precision, *scale), true),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => ((20, 0), false),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => ((20, 0), false),
        _ => return None,
    })
}

fn scale_of(left: (u8, i8), right: (u8, i8)) -> i8 {
    let (precision, left_scale, right_scale) = (i16::from(left.0), i16::from(left.1), i16::from(right.1));
    let whole_digits = precision - left_scale + right_scale;
    let room = (i16::from(DECIMAL128_MAX_PRECISION) - whole_digits).clamp(SCALE_MIN, SCALE_ROOM);
    room.max(left_scale).max(right_scale) as i8
}

/// The division of two numerics.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Quotient {
    scale: i8,
    signature: Signature,
}

impl Quotient {
    fn new(scale: i8) -> Self {
        Self { scale, signature: Signature::any(2, Volatility::Immutable) }
    }

    fn divide(&self, left: &dyn Datum, right: &dyn Datum) -> std::result::Result<ArrayRef, ArrowError> {
        let ((left, left_is_one), (right, right_is_one)) = (left.get(), right.get());
        let ((left, left_scale), (right, right_scale)) = (decimals(left)?, decimals(right)?);
        let shift = i32::from(self.scale) + i32::from(right_scale) - i32::from(left_scale);
        let rows = if left_is_one { right.len() } else { left.len() };
        let at = |array: &Decimal128Array, is_one: bool, row: usize| {
            let row = if is_one { 0 } else { row };
            array.is_valid(row).then(|| array.value(row))
        };
        let quotient = |row| match (at(&left, left_is_one, row), at(&right, right_is_one, row)) {
            (Some(_), Some(0)) => Err(ArrowError::DivideByZero),
            (Some(left), Some(right)) => quotient(left, right, shift as u32).map(Some).ok_or_else(overflow),
            _ => Ok(None),
        };
        let quotients = (0..rows).map(quotient).collect::<std::result::Result<Decimal128Array, _>>()?;
        Ok(Arc::new(quotients.with_precision_and_scale(DECIMAL128_MAX_PRECISION, self.scale)?))
    }
}

fn overflow() -> ArrowError {
    ArrowError::ExternalError(Box::new(SqlError::new("22003", "numeric out of range")))
}

/// The operand as a decimal, and its scale.
fn decimals(values: &dyn Array) -> std::result::Result<(Decimal128Array, i8), ArrowError> {
    match values.data_type() {
        DataType::Decimal128(_, scale) => Ok((values.as_primitive::<Decimal128Type>().clone(), *scale)),
        _ => Ok((
            cast_array(values, &DataType::Decimal128(20, 0))?.as_primitive::<Decimal128Type>().clone(),
            0,
        )),
    }
}

/// `left * 10^shift / right`, half away from zero; `None` beyond 38 digits.
fn quotient(left: i128, right: i128, shift: u32) -> Option<i128> {
    let divisor = i256::from_i128(right);
    let (mut whole, mut rest) = (i256::from_i128(left / right), i256::from_i128(left % right));
    let mut shift = shift;
    while shift > 0 {
        // A rest has at most 38 digits: with as many more it still fits.
        let digits = shift.min(38);
        let unit = i256::from_i128(10i128.pow(digits));
        rest = rest.checked_mul(unit)?;
        whole = whole.checked_mul(unit)?.checked_add(rest.checked_div(divisor)?)?;
        rest = rest.checked_rem(divisor)?;
        shift -= digits;
    }
    let is_half = rest.to_i128()?.unsigned_abs() >= right.unsigned_abs().div_ceil(2);
    let up = if !is_half {
        0
    } else if (left < 0) == (right < 0) {
        1
    } else {
        -1
    };
    let rounded = whole.checked_add(i256::from_i128(up))?.to_i128()?;
    (rounded.unsigned_abs() < 10u128.pow(u32::from(DECIMAL128_MAX_PRECISION))).then_some(rounded)
}

impl ScalarUDFImpl for Quotient {
    fn name(&self) -> &str {
        "/"
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.iter().map(ToString::to_string).collect::<Vec<_>>().join(" / "))
    }

    /// As DataFusion names the operator.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(" / "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, self.scale))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [left, right] => apply(left, right, |left, right| self.divide(left, right)),
            _ => Err(guard::external(SqlError::new("XX000", "a quotient has two operands"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_half_away_from_zero() {
        assert_eq!(quotient(1, 3, 20), Some(33_333_333_333_333_333_333));
        assert_eq!(quotient(2, 3, 4), Some(6_667));
        assert_eq!(quotient(-2, 3, 4), Some(-6_667));
        assert_eq!(quotient(1, -2, 0), Some(-1));
        assert_eq!(quotient(5, 2, 0), Some(3));
        assert_eq!(quotient(1, 3, 0), Some(0));
        assert_eq!(quotient(i128::MAX / 2, 1, 0), Some(i128::MAX / 2));
        assert_eq!(quotient(10i128.pow(37), 1, 1), None);
        let most = 10i128.pow(38) - 1;
        assert_eq!(quotient(most, most, 37), Some(10i128.pow(37)));
        assert_eq!(quotient(1, most, 58), Some(10i128.pow(20)));
    }

    #[test]
    fn a_quotient_has_sixteen_digits_at_least() {
        assert_eq!(scale_of((38, 2), (20, 0)), 16);
        assert_eq!(scale_of((10, 2), (20, 0)), 20);
        assert_eq!(scale_of((10, 2), (38, 30)), 30);
        assert_eq!(scale_of((38, 38), (20, 0)), 38);
    }
}
