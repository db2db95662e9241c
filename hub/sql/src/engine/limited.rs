//! Functions whose result can be much larger than their arguments, held to the statement's memory.
//!
//! DataFusion's functions allocate without accounting: `repeat('x', 2000000000)` takes two gigabytes before anybody
//! is asked. A limited function is the same function with its worst case computed first, in steps of rows; what it
//! made stays charged for as long as any batch holds it.

use super::growth::{Growth, growth_of};
use super::guard;
use super::postgres::each;
use super::walk::rewrite;
use super::watched::longest;
use crate::error::SqlError;
use bytes::Bytes;
use datafusion::arrow::array::{ArrayData, ArrayRef, AsArray, make_array};
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::any::Any;
use std::sync::Arc;

/// Largest worst case of one step, bytes: what is reserved before a function runs.
const STEP_BYTES: usize = 4 << 20;
/// Smaller results are not worth an account of their own: a batch of a thousand columns holds 64 MiB of them.
const CHARGED_BYTES_MIN: usize = 64 << 10;

/// Steps that one value of a function may take which compares every byte of one argument with every one of another:
/// seconds at most, and nothing stops it meanwhile.
const STEPS_MAX: usize = 1 << 32;

/// The same function, limited; functions that cannot grow are given back as they are.
pub(super) fn limit(function: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match growth_of(function.name()) {
        Some(growth) if !is_limited(function) => {
            Arc::new(ScalarUDF::from(Limited { inner: Arc::clone(function), growth }))
        }
        _ => Arc::clone(function),
    }
}

fn check_steps(name: &str, steps: usize) -> Result<()> {
    if steps <= STEPS_MAX {
        return Ok(());
    }
    let message =
        format!("{name} of values this long is too slow: their bytes multiply to more than {STEPS_MAX}");
    Err(guard::external(SqlError::new("54000", message)))
}

fn is_limited(function: &ScalarUDF) -> bool {
    (function.inner().as_ref() as &dyn Any).is::<Limited>()
}

/// Limits what planning put into a plan by itself: the functions behind syntax such as `[1, 2]`, and `||`.
#[derive(Debug)]
pub(super) struct LimitFunctions;

impl AnalyzerRule for LimitFunctions {
    fn name(&self) -> &str {
        "limit_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, _| Ok(limited(expr)))
    }
}

fn limited(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::ScalarFunction(call) if growth_of(call.func.name()).is_some() && !is_limited(&call.func) => {
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: limit(&call.func), ..call }))
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => {
            let args = vec![*binary.left, *binary.right];
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: joined(), args }))
        }
        expr => Transformed::no(expr),
    }
}

/// The function behind `||`, of texts or of bytes.
pub(super) fn joined() -> Arc<ScalarUDF> {
    limit(&Arc::new(ScalarUDF::from(Joined::default())))
}

/// A function, and how much its result can grow.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Limited {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Limited {
    /// One step: reserved before it runs, charged with what came out.
    fn step(
        &self,
        args: ScalarFunctionArgs,
        worst: usize,
        account: Option<&MemoryReservation>,
    ) -> Result<ColumnarValue> {
        guard::check()?;
        if self.growth == Growth::Product {
            check_steps(self.name(), worst)?;
            return self.inner.invoke_with_args(args);
        }
        guard::check_bytes(self.name(), worst)?;
        let Some(account) = account else { return self.inner.invoke_with_args(args) };
        account.try_grow(worst)?;
        let value = self.inner.invoke_with_args(args);
        let made = match &value {
            Ok(ColumnarValue::Array(array)) => array.get_buffer_memory_size(),
            Ok(ColumnarValue::Scalar(scalar)) => scalar.size(),
            Err(_) => 0,
        };
        account.try_resize(account.size() - worst + made)?;
        value
    }

    /// The whole batch in steps of rows.
    fn in_steps(&self, args: &ScalarFunctionArgs, worst: &[usize]) -> Result<ArrayRef> {
        let account = guard::reservation(self.name());
        let mut pieces = Vec::new();
        let mut start = 0;
        while start < worst.len() {
            let mut bytes = worst[start];
            let mut end = start + 1;
            while end < worst.len() && bytes.saturating_add(worst[end]) <= STEP_BYTES {
                bytes += worst[end];
                end += 1;
            }
            let part = |arg: &ColumnarValue| match arg {
                ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, end - start)),
                scalar => scalar.clone(),
            };
            let args = ScalarFunctionArgs {
                args: args.args.iter().map(part).collect(),
                number_rows: end - start,
                ..args.clone()
            };
            pieces.push(self.step(args, bytes, account.as_ref())?.into_array(end - start)?);
            start = end;
        }
        if let [piece] = pieces.as_slice() {
            return Ok(Arc::clone(piece));
        }
        let all: usize = pieces.iter().map(|p| p.get_buffer_memory_size()).sum();
        account.as_ref().map_or(Ok(()), |account| account.try_grow(all))?;
        Ok(compute::concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
    }
}

impl ScalarUDFImpl for Limited {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        guard::check()?;
        if let (Growth::Pad, Some(length)) = (self.growth, args.args.get_mut(1)) {
            *length = not_negative(length, args.number_rows)?;
        }
        let worst = self.growth.worst(&args);
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let total = worst.iter().fold(0usize, |sum, w| sum.saturating_add(*w));
        let value = if all_scalar {
            let worst = worst.first().copied().unwrap_or(0);
            let account = guard::reservation(self.name());
            self.step(args, worst, account.as_ref())?
        } else if total <= CHARGED_BYTES_MIN {
            return self.inner.invoke_with_args(args);
        } else {
            ColumnarValue::Array(self.in_steps(&args, &worst)?)
        };
        charged(self.name(), value)
    }

    // Not its inner function's simplification: that would put unlimited functions in its place.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Original(args))
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(input)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// A negative length is none, as in PostgreSQL; DataFusion takes it for a huge one.
fn not_negative(length: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
    each(length, rows, |lengths| {
        let lengths = compute::cast(lengths, &DataType::Int64)?;
        let lengths = lengths.as_primitive::<Int64Type>();
        Ok(Arc::new(lengths.unary::<_, Int64Type>(|length| length.max(0))))
    })
}

/// Checks the longest value, and ties the account of what was made to its buffers.
fn charged(name: &str, value: ColumnarValue) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Scalar(scalar) => {
            let bytes = scalar.size();
            guard::check_value(name, bytes)?;
            // A constant becomes part of the plan: it is there until the statement ends.
            guard::keep(bytes)?;
            Ok(ColumnarValue::Scalar(scalar))
        }
        ColumnarValue::Array(array) => {
            guard::check_value(name, longest(&array))?;
            match guard::current() {
                Some(_) => Ok(ColumnarValue::Array(make_array(held(name, &array.to_data())?))),
                None => Ok(ColumnarValue::Array(array)),
            }
        }
    }
}

/// The same data, whose large buffers are charged until the last array lets go of them.
fn held(name: &str, data: &ArrayData) -> Result<ArrayData> {
    let hold = |buffer: &Buffer| {
        let account = guard::reservation(name).filter(|_| buffer.len() >= CHARGED_BYTES_MIN);
        let Some(account) = account else { return Ok(buffer.clone()) };
        account.try_grow(buffer.len())?;
        Ok(Buffer::from(Bytes::from_owner(Held { buffer: buffer.clone(), _account: account })))
    };
    let buffers = data.buffers().iter().map(hold).collect::<Result<Vec<_>>>()?;
    let children = data.child_data().iter().map(|child| held(name, child)).collect::<Result<Vec<_>>>()?;
    Ok(data.clone().into_builder().buffers(buffers).child_data(children).build()?)
}

/// A buffer and its account.
struct Held {
    buffer: Buffer,
    _account: MemoryReservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

/// The operator `||` of two texts, or of bytes, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    signature: Signature,
}

impl Default for Joined {
    fn default() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &str {
        super::growth::JOINED
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(match arg_types {
            [DataType::Binary, _] | [_, DataType::Binary] => DataType::Binary,
            [DataType::Utf8View, _] | [_, DataType::Utf8View] => DataType::Utf8View,
            [DataType::LargeUtf8, _] | [_, DataType::LargeUtf8] => DataType::LargeUtf8,
            _ => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        use datafusion::arrow::compute::kernels::concat_elements::{
            concat_element_binary, concat_elements_utf8,
        };
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let is_bytes = *args.return_field.data_type() == DataType::Binary;
        let joint = if is_bytes { DataType::Binary } else { DataType::Utf8 };
        let text =
            |arg: &ColumnarValue| -> Result<ArrayRef> { Ok(compute::cast(&arg.to_array(rows)?, &joint)?) };
        let [left, right] = args.args.as_slice() else {
            return Err(guard::external(crate::SqlError::new("XX000", "|| takes two texts")));
        };
        let (left, right) = (text(left)?, text(right)?);
        let joined = if is_bytes {
            Arc::new(concat_element_binary(left.as_binary::<i32>(), right.as_binary::<i32>())?) as ArrayRef
        } else {
            Arc::new(concat_elements_utf8(left.as_string::<i32>(), right.as_string::<i32>())?)
        };
        let joined = compute::cast(&joined, args.return_field.data_type())?;
        match is_scalar {
            true => datafusion::common::ScalarValue::try_from_array(&joined, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(joined)),
        }
    }
}
