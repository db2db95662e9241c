//! Patterns of LIKE that are too slow: every `%` is another walk through the text, and nothing stops one value's match.

use super::guard;
use super::walk::rewrite;
use super::wrapper::Wrapper;
use crate::error::SqlError;
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;
use std::sync::{Arc, LazyLock};

/// Most wildcards of one pattern.
const WILDCARDS_MAX: usize = 32;

/// Checks the patterns of a plan, constants when it is planned and others when it runs.
#[derive(Debug)]
pub(super) struct CheckWildcards;

impl AnalyzerRule for CheckWildcards {
    fn name(&self) -> &str {
        "check_wildcards"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |mut expr, _| {
            let Expr::Like(like) = &mut expr else { return Ok(Transformed::no(expr)) };
            if let Expr::Literal(literal, _) = like.pattern.as_ref() {
                literal.try_as_str().flatten().map_or(Ok(()), check)?;
                return Ok(Transformed::no(expr));
            }
            let pattern = std::mem::take(like.pattern.as_mut());
            *like.pattern = FUNCTION.call(vec![pattern]);
            Ok(Transformed::yes(expr))
        })
    }
}

/// `54001`
fn check(pattern: &str) -> Result<()> {
    // Several in a row are one, and behind a backslash it is a percent sign.
    let (mut runs, mut before) = (0, ' ');
    for next in pattern.chars() {
        runs += usize::from(next == '%' && !matches!(before, '%' | '\\'));
        before = if before == '\\' { ' ' } else { next };
    }
    if runs <= WILDCARDS_MAX {
        return Ok(());
    }
    let error = SqlError::new("54001", format!("a pattern has more than {WILDCARDS_MAX} wildcards"));
    Err(guard::external(error.with_hint("x ~ takes regular expressions")))
}

/// The same pattern, when it may be one.
static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Wrapper::of_values("pattern", |patterns| {
        check_all(patterns)?;
        Ok(Arc::clone(patterns))
    })
});

fn check_all(patterns: &ArrayRef) -> Result<()> {
    match patterns.data_type() {
        DataType::Utf8 => patterns.as_string::<i32>().iter().flatten().try_for_each(check),
        DataType::LargeUtf8 => patterns.as_string::<i64>().iter().flatten().try_for_each(check),
        DataType::Utf8View => patterns.as_string_view().iter().flatten().try_for_each(check),
        _ => Ok(()),
    }
}
