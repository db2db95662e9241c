//! Operands that PostgreSQL takes for another type, cast before types are made to agree.
//!
//! Numbers that DataFusion counts without a sign (`approx_distinct(x)`) get one before they are calculated with: a
//! difference of two may be negative, and is a bigint in PostgreSQL. A date beside an interval is a timestamp. A real beside a
//! whole number or a numeric is a double, in calculations and in comparisons.

use super::agreeing;
use super::families::compares;
use super::setops;
use super::walk::rewrite;
use crate::convert::arrow_type;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Cast};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Subquery, cast};
use datafusion::optimizer::AnalyzerRule;
use std::sync::Arc;

/// Casts such operands.
#[derive(Debug)]
pub(super) struct CastOperands;

impl AnalyzerRule for CastOperands {
    fn name(&self) -> &str {
        "cast_operands"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, schema| Ok(with_types(expr, schema)))
    }
}

fn with_types(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let typed = typed(expr, schema);
    let widened = widened(typed.data, schema);
    Transformed::new_transformed(widened.data, typed.transformed || widened.transformed)
}

fn typed(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.is_numerical_operators() => {
            let (left, right) = (signed(left, schema), signed(right, schema));
            let transformed = left.transformed || right.transformed;
            let (left, right) = (left.data, right.data);
            let dated = dated(&left, op, &right, schema);
            let (left, right) = match dated {
                Some(true) => (as_time(*left), right),
                Some(false) => (left, as_time(*right)),
                None => (left, right),
            };
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Transformed::new_transformed(expr, transformed || dated.is_some())
        }
        Expr::Negative(operand) => signed(operand, schema).update_data(Expr::Negative),
        expr => Transformed::no(expr),
    }
}

/// A real beside a number that it cannot hold becomes a double, and so does a numeric beside a real or a double.
fn widened(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right })
            if op.is_numerical_operators() || compares(op) =>
        {
            let changed = agree(&mut [&mut left, &mut right], schema);
            Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed)
        }
        Expr::Between(mut between) => {
            let changed = agree(&mut [&mut between.expr, &mut between.low, &mut between.high], schema);
            Transformed::new_transformed(Expr::Between(between), changed)
        }
        Expr::InList(mut list) => {
            // PostgreSQL compares with an array of several constants, whose type is theirs and the operand's.
            let is_array = list.list.len() > 1 && list.list.iter().all(|item| !item.any_column_refs());
            let items = list.list.iter_mut();
            let mut values: Vec<&mut Expr> = std::iter::once(list.expr.as_mut()).chain(items).collect();
            let changed = if is_array { agree_all(&mut values, schema) } else { agree(&mut values, schema) };
            Transformed::new_transformed(Expr::InList(list), changed)
        }
        Expr::Cast(mut number) if number.field.data_type().is_decimal() => match decimal(&number.expr) {
            Some(literal) if is_near(&number.expr) => {
                number.expr = Box::new(literal);
                Transformed::yes(Expr::Cast(number))
            }
            _ => Transformed::no(Expr::Cast(number)),
        },
        Expr::InSubquery(mut within) => {
            let changed = agree_within(&mut within.expr, &mut within.subquery, schema);
            Transformed::new_transformed(Expr::InSubquery(within), changed)
        }
        Expr::SetComparison(mut within) => {
            let changed = agree_within(&mut within.expr, &mut within.subquery, schema);
            Transformed::new_transformed(Expr::SetComparison(within), changed)
        }
        Expr::Case(mut case) => {
            let changed = agree_in_case(&mut case, schema);
            Transformed::new_transformed(Expr::Case(case), changed)
        }
        // It compares, and gives the first of them as it is.
        Expr::ScalarFunction(mut call) if call.func.name() == "nullif" => {
            let changed = agree(&mut call.args.iter_mut().collect::<Vec<_>>(), schema);
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        Expr::ScalarFunction(mut call) if agreeing::NAMES.contains(&call.func.name()) => {
            let changed = agree_all(&mut call.args.iter_mut().collect::<Vec<_>>(), schema);
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        Expr::ScalarFunction(mut call) if call.func.name() == "array_has" => {
            let changed = agree_in_array(&mut call.args, schema);
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        Expr::ScalarFunction(mut call) if OF_DOUBLES.contains(&call.func.name()) => {
            let reals = call.args.iter_mut().filter(|arg| kind(arg, schema) == Kind::Real);
            let changed = reals.map(doubled).count() > 0;
            Transformed::new_transformed(Expr::ScalarFunction(call), changed)
        }
        expr => Transformed::no(expr),
    }
}

/// The operand with what it is compared with, and the results, which are of one type.
fn agree_in_case(case: &mut Case, schema: &DFSchema) -> bool {
    let mut changed = false;
    if let Some(operand) = &mut case.expr {
        let whens = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
        changed = agree(&mut std::iter::once(operand.as_mut()).chain(whens).collect::<Vec<_>>(), schema);
    }
    let results = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
    let mut results: Vec<&mut Expr> = results.chain(case.else_expr.iter_mut().map(AsMut::as_mut)).collect();
    agree_all(&mut results, schema) | changed
}

/// `numeric = ANY (array[0.5])`
fn agree_in_array(args: &mut [Expr], schema: &DFSchema) -> bool {
    let [Expr::ScalarFunction(array), item] = args else { return false };
    if array.func.name() != "make_array"
        || kind(item, schema) != Kind::Numeric
        || !array.args.iter().all(is_near)
    {
        return false;
    }
    array
        .args
        .iter_mut()
        .for_each(|literal| *literal = decimal(literal).unwrap_or_else(|| std::mem::take(literal)));
    true
}

/// Values that are of one type: that of the first of double, real and numeric that is among them.
fn agree_all(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let among = Among::of(values, schema);
    if among.has_double || !among.has(Kind::Real) {
        return among.agree(values);
    }
    let others =
        values.iter_mut().zip(&among.kinds).filter(|(_, kind)| !matches!(kind, Kind::Real | Kind::Other));
    others.map(|(value, _)| **value = cast(std::mem::take(*value), DataType::Float32)).count() > 0
}

/// Values that are compared or calculated with one another.
fn agree(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    Among::of(values, schema).agree(values)
}

/// What there is among values.
struct Among {
    kinds: Vec<Kind>,
    /// Fractions as literals, which are numerics beside one.
    near: Vec<bool>,
    has_double: bool,
}

impl Among {
    fn of(values: &[&mut Expr], schema: &DFSchema) -> Self {
        let kinds: Vec<Kind> = values.iter().map(|value| kind(value, schema)).collect();
        let near: Vec<bool> = values.iter().map(|value| is_near(value)).collect();
        let has_double = kinds.iter().zip(&near).any(|(kind, near)| *kind == Kind::Double && !near);
        Self { kinds, near, has_double }
    }

    fn has(&self, wanted: Kind) -> bool {
        self.kinds.contains(&wanted)
    }

    /// A real or a double makes doubles of reals and numerics, and a numeric makes numerics of literals.
    fn agree(&self, values: &mut [&mut Expr]) -> bool {
        let has_numeric = self.has(Kind::Numeric);
        let floats = self.has_double || self.has(Kind::Real);
        let mixes_reals = self.has(Kind::Whole) || has_numeric || self.has_double;
        let mut changed = false;
        for ((value, kind), near) in values.iter_mut().zip(&self.kinds).zip(&self.near) {
            match kind {
                Kind::Numeric if floats => doubled(value),
                Kind::Real if mixes_reals => doubled(value),
                _ => match decimal(value).filter(|_| *near && has_numeric && !floats) {
                    Some(literal) => **value = literal,
                    None => continue,
                },
            }
            changed = true;
        }
        changed
    }
}

/// Functions that PostgreSQL has of doubles and not of reals.
const OF_DOUBLES: [&str; 28] = [
    "sqrt", "cbrt", "exp", "ln", "log", "log2", "log10", "power", "sin", "cos", "tan", "cot", "asin", "acos",
    "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "degrees", "radians", "ceil",
    "floor", "round", "trunc",
];

/// The same for what is compared with a subquery's column.
fn agree_within(operand: &mut Expr, subquery: &mut Subquery, schema: &DFSchema) -> bool {
    use Kind as K;
    let plan = &subquery.subquery;
    let Some(column) = plan.schema().fields().first().map(|field| Kind::of(field.data_type())) else {
        return false;
    };
    let as_double = |plan: &Arc<LogicalPlan>| setops::as_type(plan, 0, &DataType::Float64).map(Arc::new).ok();
    let changed = match (kind(operand, schema), column) {
        (K::Numeric, K::Double) => match setops::with_numeric(plan, 0) {
            Some(exact) => Some(Arc::new(exact)),
            None => {
                doubled(operand);
                return true;
            }
        },
        (K::Real, K::Whole) => {
            doubled(operand);
            return true;
        }
        (K::Real, K::Numeric) => {
            doubled(operand);
            as_double(plan)
        }
        (K::Double, K::Numeric) => match decimal(operand).filter(|_| is_near(operand)) {
            Some(exact) => {
                *operand = exact;
                return true;
            }
            None => as_double(plan),
        },
        (K::Whole | K::Numeric, K::Real) => {
            doubled(operand);
            as_double(plan)
        }
        _ => return false,
    };
    match changed {
        Some(plan) => {
            subquery.subquery = plan;
            true
        }
        None => false,
    }
}

/// The numeric with the digits of a double, or what is calculated from such.
pub(super) fn decimal(literal: &Expr) -> Option<Expr> {
    match literal {
        Expr::Literal(ScalarValue::Float64(Some(x)), metadata) => {
            let digits = x.to_string();
            let scale = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let units: i128 = digits.replace('.', "").parse().ok()?;
            let precision = u8::try_from(digits.len().max(scale + 1)).ok()?;
            let value = ScalarValue::Decimal128(Some(units), precision, i8::try_from(scale).ok()?);
            Some(Expr::Literal(value, metadata.clone()))
        }
        Expr::Negative(literal) => decimal(literal).map(|literal| Expr::Negative(Box::new(literal))),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let side = |side: &Expr| if is_near(side) { decimal(side) } else { Some(side.clone()) };
            let (left, right) = (Box::new(side(left)?), Box::new(side(right)?));
            Some(Expr::BinaryExpr(BinaryExpr { left, op: *op, right }))
        }
        _ => None,
    }
}

/// A literal that can be a numeric, as it is in PostgreSQL.
pub(super) fn is_near(literal: &Expr) -> bool {
    match literal {
        Expr::Literal(ScalarValue::Float64(Some(x)), _) => *x == 0.0 || (1e-9..1e15).contains(&x.abs()),
        Expr::Negative(literal) => is_near(literal),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.is_numerical_operators() => {
            let is_whole = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::Int64(Some(_)), _));
            let is_constant = |side: &Expr| is_near(side) || is_whole(side);
            is_constant(right) && is_constant(left) && (is_near(right) || is_near(left))
        }
        _ => false,
    }
}

fn doubled(number: &mut Expr) {
    // The digits of a literal, read as they are.
    let digits = match &*number {
        Expr::Cast(Cast { expr, .. }) => match expr.as_ref() {
            Expr::Literal(ScalarValue::Utf8(Some(digits)), _) => digits.parse::<f64>().ok(),
            _ => None,
        },
        _ => None,
    };
    *number = match digits {
        Some(x) => Expr::Literal(ScalarValue::Float64(Some(x)), None),
        None => cast(std::mem::take(number), DataType::Float64),
    };
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Whole,
    Numeric,
    Real,
    Double,
    /// No number.
    Other,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Float32 => Self::Real,
            data_type if data_type.is_floating() => Self::Double,
            data_type if data_type.is_decimal() => Self::Numeric,
            data_type if data_type.is_integer() => Self::Whole,
            _ => Self::Other,
        }
    }

    /// Of what two are calculated to.
    fn with(self, other: Self) -> Self {
        use Kind as K;
        match (self, other) {
            (K::Other, _) | (_, K::Other) => K::Other,
            (K::Real, K::Real) => K::Real,
            (K::Real | K::Double, _) | (_, K::Real | K::Double) => K::Double,
            (K::Numeric, _) | (_, K::Numeric) => K::Numeric,
            (K::Whole, K::Whole) => K::Whole,
        }
    }
}

/// As types will be made to agree: an expression's own type is asked for in vain before they are.
fn kind(expr: &Expr, schema: &DFSchema) -> Kind {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.is_numerical_operators() => {
            kind(right, schema).with(kind(left, schema))
        }
        Expr::Negative(inner) => kind(inner, schema),
        Expr::Alias(alias) => kind(&alias.expr, schema),
        expr => expr.get_type(schema).map_or(Kind::Other, |data_type| Kind::of(&data_type)),
    }
}

/// Aggregates are columns of the plan below.
fn signed(operand: Box<Expr>, schema: &DFSchema) -> Transformed<Box<Expr>> {
    let is_unsigned = matches!(*operand, Expr::Column(_))
        && operand.get_type(schema).is_ok_and(|data_type| data_type == DataType::UInt64);
    if is_unsigned {
        Transformed::yes(Box::new(cast(*operand, DataType::Int64)))
    } else {
        Transformed::no(operand)
    }
}

/// Whether the left or the right operand is a date that an interval moves.
fn dated(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<bool> {
    if !matches!(op, Operator::Plus | Operator::Minus) {
        return None;
    }
    // The left operand may be a long chain, whose type costs more the longer it is.
    match right.get_type(schema).ok()? {
        DataType::Interval(_) => (left.get_type(schema).ok()? == DataType::Date32).then_some(true),
        DataType::Date32 => matches!(left.get_type(schema).ok()?, DataType::Interval(_)).then_some(false),
        _ => None,
    }
}

fn as_time(date: Expr) -> Box<Expr> {
    Box::new(cast(date, arrow_type(&headwater::value::DataType::Timestamp)))
}
