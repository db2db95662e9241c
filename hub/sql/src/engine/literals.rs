//! Text that is read as PostgreSQL reads it: literals beside a value of another type, and casts to `uuid` and `bytea`.
//! Literals of times are read as events' are, where they can be: Arrow cuts a seventh digit of seconds off, and wants
//! seconds.
//!
//! Arrow would take a bytea's text for its bytes, and knows no uuid: it travels as text, which compares as it is
//! written. An analyser's rule reads literals before types are coerced, and puts functions in the place of casts.

use super::agreeing;
use super::bytes::{self, is_text};
use super::casts;
use super::families::{
    Family, Operand, compare, compare_within, compares, constant, family, open_text, placed, read_as,
};
use super::guard;
use super::planned::condition;
use super::postgres::each;
use super::times;
use super::walk::rewrite;
use crate::convert::{array_from_values, arrow_field, cast_text, type_of_field};
use crate::error::SqlError;
use crate::types::{parse_type, type_name};
use crate::units;
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType as ArrowType, Field, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::logical_expr;
use datafusion::logical_expr::expr::{Case, Cast, ScalarFunction};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{self, TimezoneInfo};
use headwater::value::{DataType, Value};
use std::sync::Arc;

/// The types that DataFusion's planner does not know.
#[derive(Debug)]
pub(super) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, written: &ast::DataType) -> Result<Option<FieldRef>> {
        if let ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(_, Some(_))) = written {
            // DataFusion's would have that many elements also where it is NULL; PostgreSQL takes no notice of it.
            let error = SqlError::unsupported("an array type with a length").with_hint("leave it out: int[]");
            return Err(guard::external(error));
        }
        let timestamp =
            |zone| Some(Arc::new(Field::new("", ArrowType::Timestamp(TimeUnit::Microsecond, zone), true)));
        Ok(match written {
            ast::DataType::Uuid => Some(Arc::new(arrow_field("uuid", &DataType::Uuid))),
            // DataFusion's are of nanoseconds, which end in 2262.
            ast::DataType::Timestamp(None | Some(6..), TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
                timestamp(Some("+00:00".into()))
            }
            ast::DataType::Timestamp(None | Some(6..), _) => timestamp(None),
            // Its own is of 24 bits.
            ast::DataType::Float(_) => match parse_type(written) {
                Ok(data_type) => Some(Arc::new(arrow_field("", &data_type))),
                Err(error) => return Err(guard::external(error)),
            },
            _ => None,
        })
    }
}

/// Reads the literals of a plan.
#[derive(Debug)]
pub(super) struct ReadLiterals;

impl AnalyzerRule for ReadLiterals {
    fn name(&self) -> &str {
        "read_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, read)
    }
}

fn read(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let changed = match &mut expr {
        Expr::Cast(cast) if !is_castable(cast, schema) => return Err(no_cast(cast, schema)),
        Expr::Cast(cast) if cast.field.data_type().is_decimal() && has_exponent(&cast.expr) => {
            read_as(&mut cast.expr, &type_of_field(&cast.field))?
        }
        Expr::Cast(cast) if type_of_field(&cast.field) == DataType::Timestamp => {
            read_as(&mut cast.expr, &DataType::Timestamp)?
        }
        Expr::Cast(cast) => {
            return read_cast(cast, schema).map(|read| read.map_or(Transformed::no(expr), Transformed::yes));
        }
        Expr::TryCast(cast) if special(&cast.field).is_some() => {
            return Err(guard::external(SqlError::unsupported("TRY_CAST to uuid or bytea")));
        }
        Expr::BinaryExpr(binary) if compares(binary.op) => {
            compare(&mut binary.left, &binary.op.to_string(), &mut binary.right, schema)?
        }
        Expr::InList(list) => {
            let expr = &mut list.expr;
            list.list.iter_mut().try_fold(false, |any, item| {
                Ok::<_, DataFusionError>(compare(expr, "=", item, schema)? | any)
            })?
        }
        Expr::Between(between) => {
            compare(&mut between.expr, ">=", &mut between.low, schema)?
                | compare(&mut between.expr, "<=", &mut between.high, schema)?
        }
        Expr::InSubquery(within) => compare_within(within, schema).map(|()| false)?,
        Expr::Case(case) => read_case(case, schema)?,
        Expr::ScalarFunction(call) => match casts::inner(call) {
            Some(inner) => return Ok(Transformed::yes(inner)),
            None => read_call(call, schema)?,
        },
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

/// Arrow reads no `1e3` as a numeric.
fn has_exponent(expr: &Expr) -> bool {
    open_text(expr).is_some_and(|text| text.contains(['e', 'E']))
}

/// The type of a field, where it is one of the two.
fn special(field: &Field) -> Option<DataType> {
    Some(type_of_field(field)).filter(|t| matches!(t, DataType::Uuid | DataType::Bytea))
}

/// Conditions, and the results, which are of one type.
fn read_case(case: &mut Case, schema: &DFSchema) -> Result<bool> {
    let mut changed = false;
    for (when, _) in &mut case.when_then_expr {
        changed |= match &mut case.expr {
            Some(operand) => compare(operand, "=", when, schema)?,
            None => condition(when, "CASE/WHEN", schema)?,
        };
    }
    let results = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
    let results = results.chain(case.else_expr.iter_mut().map(AsMut::as_mut));
    changed |= agree(results.collect(), schema)?;
    let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    let results: Vec<&Expr> = results.chain(case.else_expr.iter().map(AsRef::as_ref)).collect();
    matching("case", &results, schema).map(|()| changed)
}

/// Reads the literals among values of one type as that.
fn agree(mut values: Vec<&mut Expr>, schema: &DFSchema) -> Result<bool> {
    if !values.iter().any(|value| open_text(value).is_some()) {
        return Ok(false);
    }
    let of =
        |value: &&mut Expr| Operand::of(value, schema).filter(|o| !o.is_open && o.family != Family::Other);
    let Some(wanted) = values.iter().find_map(of) else { return Ok(false) };
    let wanted = wanted.data_type();
    values.iter_mut().try_fold(false, |any, value| Ok(read_as(value, &wanted)? | any))
}

/// Text among values of a type that it is no part of: only literals are read.
fn matching(name: &str, args: &[&Expr], schema: &DFSchema) -> Result<()> {
    let is_strict = |family| !matches!(family, Family::Text | Family::Uuid | Family::Other);
    let all: Vec<Operand> = args.iter().filter_map(|arg| Operand::of(arg, schema)).collect();
    let strict = all.iter().find(|operand| is_strict(operand.family));
    let text = all.iter().find(|operand| operand.family == Family::Text && !operand.is_open);
    let (Some(strict), Some(text)) = (strict, text) else { return Ok(()) };
    let name = name.to_uppercase();
    let message = format!("{name} types {} and {} cannot be matched", strict.name(), text.name());
    let error = SqlError::new("42804", message).with_hint("a cast of one side may help");
    Err(placed(error, args))
}

/// `42883`
fn no_function(name: &str, args: &[&Expr], schema: &DFSchema) -> DataFusionError {
    let types = args.iter().map(|arg| Operand::of(arg, schema).map_or_else(String::new, |of| of.name()));
    let message = format!("function {name}({}) does not exist", types.collect::<Vec<_>>().join(", "));
    let hint = match name {
        "date_trunc" => "it takes a unit and a time: date_trunc('hour', time)",
        "date_bin" => "it takes a width and times: date_bin('15 minutes', time, origin)",
        _ => "it takes a time: date_trunc('day', now()) + difference has the clock of an interval",
    };
    placed(SqlError::new("42883", message).with_hint(hint), args)
}

fn read_call(call: &mut ScalarFunction, schema: &DFSchema) -> Result<bool> {
    match (call.func.name(), call.args.as_mut_slice()) {
        (name, args) if agreeing::NAMES.contains(&name) => {
            let changed = agree(args.iter_mut().collect(), schema)?;
            matching(name, &args.iter().collect::<Vec<_>>(), schema).map(|()| changed)
        }
        // As in PostgreSQL, where it takes bytes and nothing else.
        ("encode", [text, _]) => read_as(text, &DataType::Bytea),
        (name @ "date_trunc", [unit, of]) => {
            let is_text = |expr: &Expr| Operand::of(expr, schema).is_some_and(|o| o.family == Family::Text);
            let is_time = Operand::of(of, schema)
                .is_none_or(|of| matches!(of.family, Family::Time | Family::Interval | Family::Other));
            let is_null = Operand::of(unit, schema).is_none_or(|unit| unit.family == Family::Other);
            if !is_null && !is_text(unit) || open_text(of).is_none() && !is_time {
                return Err(no_function(name, &[unit, of], schema));
            }
            match open_text(of) {
                Some(text) => {
                    *of = constant(text, &DataType::Timestamp)?;
                    Ok(true)
                }
                None => Ok(false),
            }
        }
        (name @ "date_bin", [width, times @ ..]) => {
            let is_time = |time: &Expr| {
                open_text(time).is_some()
                    || Operand::of(time, schema)
                        .is_none_or(|time| matches!(time.family, Family::Time | Family::Other))
            };
            match times.iter().all(is_time) {
                true => Ok(false),
                false => {
                    let args: Vec<&Expr> = std::iter::once(&*width).chain(times.iter()).collect();
                    Err(no_function(name, &args, schema))
                }
            }
        }
        (name @ "to_char", [of, pattern])
            if Operand::of(of, schema).is_some_and(|of| of.family == Family::Interval) =>
        {
            Err(no_function(name, &[of, pattern], schema))
        }
        ("to_timestamp", [seconds])
            if Operand::of(seconds, schema).is_some_and(|of| of.family == Family::Number) =>
        {
            call.func = times::of_seconds();
            Ok(true)
        }
        ("to_hex", [n]) => match Operand::of(n, schema) {
            Some(of) if ["integer", "smallint"].contains(&of.name().as_str()) => {
                let wide = logical_expr::cast(std::mem::take(n), ArrowType::Int64);
                *n = logical_expr::bitwise_and(wide, logical_expr::lit(i64::from(u32::MAX)));
                Ok(true)
            }
            _ => Ok(false),
        },
        ("date_part", [field, of]) => {
            let is_interval = Operand::of(of, schema).is_some_and(|of| of.family == Family::Interval);
            match open_text(field).filter(|_| is_interval) {
                Some(field) => units::check_interval(field).map_err(guard::external).map(|()| false),
                None => Ok(false),
            }
        }
        _ => Ok(false),
    }
}

/// What a cast of text to one of the two becomes, and one of bytes to text; `None`: it may stay.
fn read_cast(cast: &Cast, schema: &DFSchema) -> Result<Option<Expr>> {
    if is_text(cast.field.data_type()) && bytes::is_of_bytes(&cast.expr, schema) {
        return Ok(Some(bytes::spelled(cast.expr.as_ref().clone())));
    }
    let Some(data_type) = special(&cast.field) else { return Ok(None) };
    if let Some(text) = open_text(&cast.expr) {
        return constant(text, &data_type).map(Some);
    }
    let is_read = Operand::of(&cast.expr, schema).is_some_and(|from| from.family == Family::Uuid);
    if !is_text(&cast.expr.get_type(schema)?) || is_read && data_type == DataType::Uuid {
        return Ok(None);
    }
    let func = Arc::new(ScalarUDF::from(Read::new(data_type)));
    Ok(Some(Expr::ScalarFunction(ScalarFunction { func, args: vec![cast.expr.as_ref().clone()] })))
}

/// False where PostgreSQL has no such cast: Arrow counts days or microseconds since 1970, takes a uuid's text for its bytes,
/// or makes NULL of what it does not know.
fn is_castable(cast: &Cast, schema: &DFSchema) -> bool {
    use Family as F;
    let Some(from) = Operand::of(&cast.expr, schema) else { return true };
    match (from.family, family(&cast.field)) {
        (from, to) if from == to => true,
        (F::Other | F::Text, _) | (_, F::Other | F::Text) => true,
        (F::Boolean, F::Number) | (F::Number, F::Boolean) => {
            !from.field.data_type().is_decimal() && !cast.field.data_type().is_decimal()
        }
        _ => false,
    }
}

/// `42846`
fn no_cast(cast: &Cast, schema: &DFSchema) -> DataFusionError {
    let from = Operand::of(&cast.expr, schema);
    let has =
        |wanted| family(&cast.field) == wanted || from.as_ref().is_some_and(|from| from.family == wanted);
    let name = from.as_ref().map_or_else(String::new, Operand::name);
    let to = type_name(&type_of_field(&cast.field));
    let mut error = SqlError::new("42846", format!("cannot cast type {name} to {to}"));
    if has(Family::Number) && (has(Family::Time) || has(Family::Interval)) {
        error = error.with_hint("extract(epoch FROM time) and to_timestamp(seconds) count seconds");
    }
    placed(error, &[&cast.expr])
}

/// Text as one of the two, at run time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Read {
    is_uuid: bool,
    signature: Signature,
}

impl Read {
    fn new(data_type: DataType) -> Self {
        let signature = Signature::any(1, Volatility::Immutable);
        Self { is_uuid: data_type == DataType::Uuid, signature }
    }

    fn data_type(&self) -> DataType {
        if self.is_uuid { DataType::Uuid } else { DataType::Bytea }
    }

    fn column(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let (texts, data_type) = (cast(texts, &ArrowType::Utf8)?, self.data_type());
        let value = |text: Option<&str>| text.map_or(Ok(Value::Null), |text| cast_text(text, &data_type));
        let values: std::result::Result<Vec<Value>, SqlError> =
            texts.as_string::<i32>().iter().map(value).collect();
        values.and_then(|values| array_from_values(&values, &data_type)).map_err(guard::external)
    }
}

impl ScalarUDFImpl for Read {
    fn name(&self) -> &str {
        if self.is_uuid { "uuid" } else { "bytea" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[ArrowType]) -> Result<ArrowType> {
        Ok(crate::convert::arrow_type(&self.data_type()))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(arrow_field(self.name(), &self.data_type())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        each(&args.args[0], args.number_rows, |texts| self.column(texts))
    }
}
