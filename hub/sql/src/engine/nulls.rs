//! What is NULL and what is not, where DataFusion says otherwise: `x = ANY (list)` is NULL when the list has a NULL and x is
//! not found; an item of a list that is a CASE is no constant.

use super::guard;
use super::walk::rewrite;
use super::wrapper::Wrapper;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use std::sync::{Arc, LazyLock};

/// Puts those into a plan.
#[derive(Debug)]
pub(super) struct TellNulls;

impl AnalyzerRule for TellNulls {
    fn name(&self) -> &str {
        "tell_nulls"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, _| {
            Ok(match expr {
                Expr::ScalarFunction(call) if call.func.name() == "array_has" && call.args.len() == 2 => {
                    let known = ScalarUDF::from(Known { array_has: call.func });
                    Transformed::yes(known.call(call.args))
                }
                // DataFusion takes an item for a constant when it is one over no rows, as a CASE with a literal may be.
                Expr::InList(mut list) if list.list.iter().any(has_case) => {
                    for item in list.list.iter_mut().filter(|item| has_case(item)) {
                        *item = PER_ROW.call(vec![std::mem::take(item)]);
                    }
                    Transformed::yes(Expr::InList(list))
                }
                expr => Transformed::no(expr),
            })
        })
    }
}

fn has_case(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(matches!(expr, Expr::Case(_)))).unwrap_or(true)
}

static PER_ROW: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Wrapper::of_rows("per_row", |values| {
        guard::check()?;
        Ok(Arc::clone(values))
    })
});

/// `array_has`, which is NULL where nothing was found and the list has a NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Known {
    array_has: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Known {
    fn name(&self) -> &str {
        "known_in"
    }

    fn signature(&self) -> &Signature {
        // Types agree already.
        static ANY: LazyLock<Signature> = LazyLock::new(|| Signature::any(2, Volatility::Immutable));
        &ANY
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (list, number_rows) = (args.args[0].clone(), args.number_rows);
        match self.array_has.invoke_with_args(args)? {
            ColumnarValue::Array(found) => {
                let lists = list.to_array(number_rows)?;
                Ok(ColumnarValue::Array(Arc::new(known(found.as_boolean(), &lists))))
            }
            ColumnarValue::Scalar(found) => {
                let known = known(found.to_array()?.as_boolean(), &list.to_array(1)?);
                ScalarValue::try_from_array(&known, 0).map(ColumnarValue::Scalar)
            }
        }
    }
}

fn known(found: &BooleanArray, lists: &ArrayRef) -> BooleanArray {
    let has_null = |row: usize| match lists.data_type() {
        DataType::List(_) => lists.as_list::<i32>().value(row).null_count() > 0,
        DataType::LargeList(_) => lists.as_list::<i64>().value(row).null_count() > 0,
        DataType::FixedSizeList(..) => lists.as_fixed_size_list().value(row).null_count() > 0,
        _ => false,
    };
    let value = |row: usize| match found.is_valid(row) {
        true if !found.value(row) && lists.is_valid(row) && has_null(row) => None,
        true => Some(found.value(row)),
        false => None,
    };
    (0..found.len()).map(value).collect()
}
