//! Arithmetic of queries that never wraps: an integer that does not fit its type is `22003`, a double divided by
//! zero `22012`, as in PostgreSQL.
//!
//! What doubles come to is canonical (see `canonical`).
//!
//! DataFusion adds, subtracts, multiplies and negates integers modulo their width, and divides doubles as IEEE 754
//! does, remainders included. An analyser's rule puts functions
//! in the place of those operators, behind type coercion and before anything is folded into constants, so that
//! constants, filters, joins and subqueries are checked, too. Decimals, times and intervals are checked by Arrow.

use super::canonical;
use super::guard;
use super::postgres::each;
use super::walk::rewrite;
use crate::error::SqlError;
use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;
use std::any::Any;
use std::sync::Arc;

/// Checks the arithmetic of a plan.
#[derive(Debug)]
pub(super) struct CheckArithmetic;

impl AnalyzerRule for CheckArithmetic {
    fn name(&self) -> &str {
        "check_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, schema| Ok(checked(expr, schema)))
    }
}

fn checked(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let call = |operation, data_type, args| {
        let func = Arc::new(ScalarUDF::from(Checked::new(operation, data_type)));
        Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let checked = Operation::of(op).and_then(|o| Some((o, o.checked_type(&left, &right, schema)?)));
            match checked {
                Some((operation, data_type)) => call(operation, data_type, vec![*left, *right]),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Negative(inner) => match Operation::Negate.checked_type(&inner, &inner, schema) {
            Some(data_type) => call(Operation::Negate, data_type, vec![*inner]),
            None => Transformed::no(Expr::Negative(inner)),
        },
        expr => Transformed::no(expr),
    }
}

/// What is checked already knows its type: asking DataFusion costs more the deeper an expression is.
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    match expr {
        Expr::ScalarFunction(call) => {
            match (call.func.inner().as_ref() as &dyn Any).downcast_ref::<Checked>() {
                Some(checked) => Some(checked.data_type.clone()),
                None => expr.get_type(schema).ok(),
            }
        }
        expr => expr.get_type(schema).ok(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
}

impl Operation {
    fn of(op: Operator) -> Option<Self> {
        Some(match op {
            Operator::Plus => Self::Add,
            Operator::Minus => Self::Subtract,
            Operator::Multiply => Self::Multiply,
            Operator::Divide => Self::Divide,
            Operator::Modulo => Self::Modulo,
            _ => return None,
        })
    }

    /// The type, where it is one type of integers or doubles on both sides.
    fn checked_type(self, left: &Expr, right: &Expr, schema: &DFSchema) -> Option<DataType> {
        let (left, right) = (type_of(left, schema)?, type_of(right, schema)?);
        let is_checked = left.is_floating() || left.is_integer() && self != Self::Modulo;
        (left == right && is_checked).then_some(left)
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract | Self::Negate => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    fn kernel(self) -> fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError> {
        match self {
            Self::Add => numeric::add,
            Self::Subtract => numeric::sub,
            Self::Multiply => numeric::mul,
            Self::Divide => |left, right| divided(numeric::div(left, right)?, right),
            Self::Modulo => |left, right| divided(numeric::rem(left, right)?, right),
            Self::Negate => |value, _| numeric::neg(value.get().0),
        }
    }
}

/// Arrow refuses to divide integers by zero, but not doubles.
fn divided(quotients: ArrayRef, right: &dyn Datum) -> std::result::Result<ArrayRef, ArrowError> {
    let by_zero = match quotients.data_type() {
        DataType::Float64 => has_zero::<Float64Type>(right, &quotients),
        DataType::Float32 => has_zero::<Float32Type>(right, &quotients),
        _ => false,
    };
    if by_zero { Err(ArrowError::DivideByZero) } else { Ok(quotients) }
}

/// True when a divisor is zero and nothing is NULL.
fn has_zero<T: ArrowPrimitiveType>(divisors: &dyn Datum, quotients: &ArrayRef) -> bool {
    let (divisors, is_constant) = divisors.get();
    let divisors = divisors.as_primitive::<T>();
    let divisor = |row: usize| divisors.value(if is_constant { 0 } else { row });
    (0..quotients.len()).any(|row| quotients.is_valid(row) && divisor(row) == T::Native::default())
}

/// One operation on numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    data_type: DataType,
    signature: Signature,
}

impl Checked {
    fn new(operation: Operation, data_type: DataType) -> Self {
        let args = if operation == Operation::Negate { 1 } else { 2 };
        Self { operation, data_type, signature: Signature::any(args, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.operation.sign()
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [left, right] => format!("({left} {} {right})", self.operation.sign()),
            _ => format!("(- {})", args.first().unwrap_or(&Expr::default())),
        })
    }

    /// As DataFusion names the operator.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match args {
            [left, right] => {
                format!("{} {} {}", left.schema_name(), self.operation.sign(), right.schema_name())
            }
            _ => format!("(- {})", args.first().unwrap_or(&Expr::default()).schema_name()),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (Some(left), Some(right)) = (args.args.first(), args.args.last()) else {
            return Err(guard::external(SqlError::new("XX000", "no operand")));
        };
        let value = apply(left, right, self.operation.kernel());
        let value = value.map_err(|error| out_of_range(error, &self.data_type))?;
        if self.data_type.is_floating() {
            each(&value, args.number_rows, canonical::array)
        } else {
            Ok(value)
        }
    }
}

/// `22003` with the type's SQL name; other errors as they are.
fn out_of_range(error: DataFusionError, data_type: &DataType) -> DataFusionError {
    let DataFusionError::ArrowError(arrow, backtrace) = error else { return error };
    match *arrow {
        ArrowError::ArithmeticOverflow(_) => {
            let field = datafusion::arrow::datatypes::Field::new("", data_type.clone(), true);
            let name = crate::type_name(&crate::type_of_field(&field));
            guard::external(SqlError::new("22003", format!("{name} out of range")))
        }
        other => DataFusionError::ArrowError(Box::new(other), backtrace),
    }
}
