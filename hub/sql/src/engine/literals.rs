//! Text that is read as a `uuid` or `bytea`, as PostgreSQL reads it: literals beside such a value, and casts. Literals of
//! times are read as events' are, where they can be: Arrow cuts a seventh digit of seconds off, and wants seconds.
//!
//! Arrow would take a bytea's text for its bytes, and knows no uuid: it travels as text, which compares as it is
//! written. An analyser's rule reads literals before types are coerced, and puts functions in the place of casts.

use super::guard;
use super::postgres::each;
use super::walk::rewrite;
use crate::convert::{array_from_values, arrow_field, cast_text, scalar_of, type_of_field};
use crate::error::SqlError;
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType as ArrowType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast;
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
        let is_uuid = matches!(written, ast::DataType::Uuid);
        Ok(is_uuid.then(|| Arc::new(arrow_field("uuid", &DataType::Uuid))))
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
        Expr::Cast(cast) if type_of_field(&cast.field) == DataType::Timestamp => read_time(&mut cast.expr),
        Expr::Cast(cast) => {
            return read_cast(cast, schema).map(|read| read.map_or(Transformed::no(expr), Transformed::yes));
        }
        Expr::TryCast(cast) if special(&cast.field).is_some() => {
            return Err(guard::external(SqlError::unsupported("TRY_CAST to uuid or bytea")));
        }
        Expr::BinaryExpr(binary) if compares(binary.op) => {
            beside(&mut binary.left, &binary.right, schema)?
                | beside(&mut binary.right, &binary.left, schema)?
        }
        Expr::InList(list) => all_beside(&mut list.list, &list.expr, schema)?,
        Expr::Between(between) => {
            beside(&mut between.low, &between.expr, schema)?
                | beside(&mut between.high, &between.expr, schema)?
        }
        _ => false,
    };
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// True for operators that compare two values of one type.
pub(super) fn compares(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom
    )
}

/// The type of a field, where it is one of the two.
fn special(field: &Field) -> Option<DataType> {
    Some(type_of_field(field)).filter(|t| matches!(t, DataType::Uuid | DataType::Bytea))
}

fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    match expr {
        // A cast to text keeps the metadata of what it casts.
        Expr::Cast(cast) => special(&cast.field),
        expr => special(&expr.to_field(schema).ok()?.1),
    }
}

/// A literal whose type is still open.
fn open_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), metadata)
            if metadata.as_ref().is_none_or(FieldMetadata::is_empty) =>
        {
            Some(text)
        }
        _ => None,
    }
}

/// Reads a literal as the type of what stands beside it.
fn beside(literal: &mut Expr, other: &Expr, schema: &DFSchema) -> Result<bool> {
    let Some(text) = open_text(literal) else { return Ok(false) };
    if other.to_field(schema).is_ok_and(|(_, field)| type_of_field(&field) == DataType::Timestamp) {
        return Ok(read_time(literal));
    }
    let Some(data_type) = type_of(other, schema) else { return Ok(false) };
    *literal = constant(text, &data_type)?;
    Ok(true)
}

/// Reads a literal as a time. What only Arrow can read (`20240229`, names of zones) stays.
fn read_time(literal: &mut Expr) -> bool {
    let read = open_text(literal).and_then(|text| constant(text, &DataType::Timestamp).ok());
    read.map(|time| *literal = time).is_some()
}

fn all_beside(literals: &mut [Expr], other: &Expr, schema: &DFSchema) -> Result<bool> {
    literals.iter_mut().try_fold(false, |any, literal| Ok(beside(literal, other, schema)? | any))
}

fn constant(text: &str, data_type: &DataType) -> Result<Expr> {
    let value = cast_text(text, data_type).map_err(guard::external)?;
    let scalar = scalar_of(&value, data_type).unwrap_or(ScalarValue::Null);
    let metadata = FieldMetadata::new_from_field(&arrow_field("", data_type));
    Ok(Expr::Literal(scalar, Some(metadata).filter(|m| !m.is_empty())))
}

/// What a cast of text to one of the two becomes; `None`: it may stay.
fn read_cast(cast: &Cast, schema: &DFSchema) -> Result<Option<Expr>> {
    let Some(data_type) = special(&cast.field) else { return Ok(None) };
    if let Some(text) = open_text(&cast.expr) {
        return constant(text, &data_type).map(Some);
    }
    let is_text =
        matches!(cast.expr.get_type(schema)?, ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View);
    if !is_text || type_of(&cast.expr, schema).as_ref() == Some(&data_type) {
        return Ok(None);
    }
    let func = Arc::new(ScalarUDF::from(Read::new(data_type)));
    Ok(Some(Expr::ScalarFunction(ScalarFunction { func, args: vec![cast.expr.as_ref().clone()] })))
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
