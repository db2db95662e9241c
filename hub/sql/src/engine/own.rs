//! The expressions that are a query's own: those of its subqueries are left alone.

use datafusion::sql::sqlparser::ast::{Expr, Query, VisitMut, VisitorMut};
use std::ops::ControlFlow;

/// Does `change` to every expression within `node` and outside of its subqueries, operands first.
pub(super) fn each_own(node: &mut impl VisitMut, change: impl FnMut(&mut Expr)) {
    let _ = node.visit(&mut Own { depth: 0, change });
}

struct Own<F> {
    /// Queries around.
    depth: usize,
    change: F,
}

impl<F: FnMut(&mut Expr)> VisitorMut for Own<F> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0 {
            (self.change)(expr);
        }
        ControlFlow::Continue(())
    }
}
