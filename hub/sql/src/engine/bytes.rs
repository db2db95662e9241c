//! `bytea` where DataFusion would take it for the text that its bytes may be.
//!
//! | written | here |
//! |---|---|
//! | `x::text`, `text \|\| x` | `\x6162`, as PostgreSQL writes it |
//! | `x \|\| y` | bytes |
//! | `length(x)`, `octet_length(x)` | bytes, counted |
//! | windows sorted by `x` | sorted by `x::text`, whose order is the same |
//! | a function or an operator of texts | refused: there is none of bytes |

use super::families::placed;
use super::limited;
use super::postgres::each;
use crate::error::SqlError;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::fmt::Write;
use std::sync::Arc;

/// The function that spells them.
const SPELL: &str = "bytea_text";

/// The bytes as PostgreSQL writes them.
pub(super) fn spelled(bytes: Expr) -> Expr {
    let func = Arc::new(ScalarUDF::from(Spell { signature: Signature::any(1, Volatility::Immutable) }));
    Expr::ScalarFunction(ScalarFunction { func: limited::limit(&func), args: vec![bytes] })
}

/// Both, one behind the other.
pub(super) fn joined(left: Expr, right: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func: limited::joined(), args: vec![left, right] })
}

pub(super) fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Spell {
    signature: Signature,
}

impl ScalarUDFImpl for Spell {
    fn name(&self) -> &str {
        SPELL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(SPELL, DataType::Utf8, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        each(&args.args[0], args.number_rows, |values| {
            let values = cast(values, &DataType::Binary)?;
            let texts: StringArray = values.as_binary::<i32>().iter().map(|v| v.map(hex)).collect();
            Ok(Arc::new(texts))
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A function of texts that counts the bytes of a bytea.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Counted {
    name: &'static str,
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl Counted {
    /// `inner` under a name of its own, which its aliases are not.
    pub(super) fn new(name: &'static str, inner: Arc<ScalarUDF>) -> Self {
        Self { name, inner, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Counted {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [DataType::Binary] = types {
            return Ok(vec![DataType::Binary]);
        }
        let fields: Vec<FieldRef> = types.iter().map(|t| Arc::new(Field::new("", t.clone(), true))).collect();
        let fields = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Binary] => Ok(DataType::Int32),
            types => self.inner.inner().return_type(types),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [bytes] if bytes.data_type() == DataType::Binary => each(bytes, args.number_rows, count),
            _ => self.inner.invoke_with_args(args),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

fn count(values: &ArrayRef) -> Result<ArrayRef> {
    let values = values.as_binary::<i32>();
    let length = |at: usize| values.is_valid(at).then(|| values.value_length(at));
    Ok(Arc::new((0..values.len()).map(length).collect::<Int32Array>()))
}

/// Refuses the casts of bytes to text that making types agree has put into a plan: nobody wrote them.
#[derive(Debug)]
pub(super) struct RefuseTexts;

impl AnalyzerRule for RefuseTexts {
    fn name(&self) -> &str {
        "refuse_texts_of_bytes"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            let schema = match node {
                LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
                _ => merge_schema(&node.inputs()),
            };
            node.apply_expressions(|expr| {
                check_column(expr, &schema)?;
                expr.apply(|expr| check(expr, &schema).map(|()| TreeNodeRecursion::Continue))
            })
        })?;
        Ok(plan)
    }
}

/// Text that became bytes, to stand below others in a UNION.
fn check_column(column: &Expr, schema: &DFSchema) -> Result<()> {
    match column.clone().unalias_nested().data {
        Expr::Cast(cast) if is_bytes(cast.field.data_type()) => match cast.expr.get_type(schema) {
            Ok(from) if is_text(&from) => Err(no_match(column)),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn no_match(expr: &Expr) -> DataFusionError {
    let error = SqlError::new("42804", "types bytea and text do not match");
    placed(error.with_hint("x::text makes a text of bytes, x::bytea bytes of a text"), &[expr])
}

fn check(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let is_read = |expr: &Expr| matches!(expr, Expr::Cast(cast) if is_text(cast.field.data_type()) && is_of_bytes(&cast.expr, schema));
    match expr {
        Expr::ScalarFunction(call) if call.args.iter().any(is_read) => {
            Err(no_function(call.func.name(), &call.args))
        }
        Expr::AggregateFunction(call) if call.params.args.iter().any(is_read) => {
            Err(no_function(call.func.name(), &call.params.args))
        }
        Expr::Like(like) if is_of_bytes(&like.expr, schema) || is_read(&like.expr) => {
            let error = SqlError::unsupported("LIKE over bytea");
            Err(placed(error.with_hint("compare x::text, or encode(x, 'hex')"), &[expr]))
        }
        expr if is_read(expr) => Err(no_match(expr)),
        _ => Ok(()),
    }
}

/// True for an expression of bytes.
pub(super) fn is_of_bytes(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| is_bytes(&data_type))
}

fn no_function(name: &str, args: &[Expr]) -> DataFusionError {
    let message = format!("function {name}(bytea) does not exist");
    let error = SqlError::new("42883", message).with_hint("it takes text: x::text or encode(x, 'hex')");
    match args {
        [_] => placed(error, &[]),
        args => {
            let message = format!("function {name} does not take bytea");
            placed(SqlError { message, ..error }, &args.iter().collect::<Vec<_>>())
        }
    }
}
