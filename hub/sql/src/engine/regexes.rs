//! Patterns that differ from row to row, one at a time.
//!
//! DataFusion compiles the regular expressions of a batch first and keeps them all, 10 MB each at worst, and nothing stops it
//! meanwhile; LIKE becomes one for each row. Here a function gets the rows of one pattern after those of another, and is asked
//! between them whether there is still time. The operators are such functions, too, where their pattern is no constant.

use super::guard;
use super::walk::rewrite;
use datafusion::arrow::array::{Array, ArrayRef, make_comparator};
use datafusion::arrow::compute::{SortOptions, concat};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::regex::regexp_like;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply_cmp;
use std::sync::Arc;

/// Functions whose second argument is a pattern.
const FUNCTIONS: [&str; 5] =
    ["regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace"];

/// Puts [`ByPattern`] into a plan.
#[derive(Debug)]
pub(super) struct CompileOneByOne;

impl AnalyzerRule for CompileOneByOne {
    fn name(&self) -> &str {
        "compile_one_by_one"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, _| Ok(one_by_one(expr)))
    }
}

fn one_by_one(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(binary) if !is_constant(&binary.right) => match folds_case(binary.op) {
            Some((folds_case, negated)) => {
                let matches = matched(binary, folds_case);
                Transformed::yes(if negated { Expr::Not(Box::new(matches)) } else { matches })
            }
            None => Transformed::no(Expr::BinaryExpr(binary)),
        },
        Expr::Like(like) if like.escape_char.is_none() && !is_constant(&like.pattern) => {
            let alike = ScalarUDF::from(Alike::new(like.case_insensitive));
            let alike = of_pattern(Arc::new(alike), vec![*like.expr, *like.pattern]);
            Transformed::yes(if like.negated { Expr::Not(Box::new(alike)) } else { alike })
        }
        Expr::ScalarFunction(call)
            if FUNCTIONS.contains(&call.func.name())
                && call.args.get(1).is_some_and(|pattern| !is_constant(pattern)) =>
        {
            Transformed::yes(of_pattern(call.func, call.args))
        }
        expr => Transformed::no(expr),
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => is_constant(&cast.expr),
        _ => false,
    }
}

/// Whether one of the operators `~` takes upper case for lower case, and whether it is negated.
fn folds_case(op: Operator) -> Option<(bool, bool)> {
    match op {
        Operator::RegexMatch => Some((false, false)),
        Operator::RegexIMatch => Some((true, false)),
        Operator::RegexNotMatch => Some((false, true)),
        Operator::RegexNotIMatch => Some((true, true)),
        _ => None,
    }
}

fn matched(binary: BinaryExpr, folds_case: bool) -> Expr {
    let mut args = vec![*binary.left, *binary.right];
    args.extend(folds_case.then(|| lit("i")));
    of_pattern(regexp_like(), args)
}

fn of_pattern(inner: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    let func = Arc::new(ScalarUDF::from(ByPattern { inner }));
    Expr::ScalarFunction(ScalarFunction { func, args })
}

/// LIKE and ILIKE.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Alike {
    folds_case: bool,
    signature: Signature,
}

impl Alike {
    fn new(folds_case: bool) -> Self {
        Self { folds_case, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Alike {
    fn name(&self) -> &str {
        if self.folds_case { "ilike" } else { "like" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, pattern] = take_function_args(self.name(), args.args)?;
        apply_cmp(if self.folds_case { Operator::ILikeMatch } else { Operator::LikeMatch }, &text, &pattern)
    }
}

/// A function of [`FUNCTIONS`], or [`Alike`], given the rows of one pattern at a time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ByPattern {
    inner: Arc<ScalarUDF>,
}

impl ByPattern {
    /// The rows from `start` on whose pattern is this one.
    fn part(
        &self,
        args: &ScalarFunctionArgs,
        pattern: ScalarValue,
        rows: (usize, usize),
    ) -> Result<ArrayRef> {
        guard::check()?;
        let (start, end) = rows;
        let mut parts: Vec<ColumnarValue> =
            args.args.iter().map(|arg| sliced(arg, start, end - start)).collect();
        parts[1] = ColumnarValue::Scalar(pattern);
        let args = ScalarFunctionArgs { args: parts, number_rows: end - start, ..args.clone() };
        self.inner.invoke_with_args(args)?.into_array(end - start)
    }
}

fn sliced(arg: &ColumnarValue, start: usize, rows: usize) -> ColumnarValue {
    match arg {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, rows)),
        scalar => scalar.clone(),
    }
}

/// Where the runs of equal values end.
fn runs(values: &ArrayRef) -> Result<Vec<usize>> {
    let order = make_comparator(values, values, SortOptions::default())?;
    let ends = (1..values.len()).filter(|row| order(row - 1, *row).is_ne());
    Ok(ends.chain([values.len()]).collect())
}

impl ScalarUDFImpl for ByPattern {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Array(patterns)) = args.args.get(1) else {
            return self.inner.invoke_with_args(args);
        };
        if patterns.is_empty() {
            return self.inner.invoke_with_args(args);
        }
        let (mut start, mut parts) = (0, Vec::new());
        for end in runs(patterns)? {
            let pattern = ScalarValue::try_from_array(patterns, start)?;
            parts.push(self.part(&args, pattern, (start, end))?);
            start = end;
        }
        Ok(ColumnarValue::Array(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?))
    }

    // Not its inner function's simplification: that puts an operator in its place.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Original(args))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }
}
