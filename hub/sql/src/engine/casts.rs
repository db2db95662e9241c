//! Casts that tell two aggregates, windows or keys of groups apart: `sum(x::double precision), sum(x)`.
//!
//! DataFusion leaves casts out of the names of expressions, and takes no name twice. Where two would have one name,
//! every cast of the SELECT is wrapped in a function that only has a name; it is gone as soon as columns have theirs.

use super::own::each_own;
use crate::text::fold;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr as Planned, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, Ident, Query, Select, SetExpr, Visit, VisitMut, Visitor,
    VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// No name of SQL starts so.
const NAME: &str = "$cast";

/// Wraps the casts of a query's SELECT, where two names would be one.
pub(super) fn tell_apart(query: &mut Query) {
    let Query { body, order_by, .. } = query;
    let SetExpr::Select(select) = body.as_mut() else { return };
    if !has_casts(select) || !clashes(select) {
        return;
    }
    each_own(&mut select.projection, wrap);
    each_own(&mut select.group_by, wrap);
    each_own(&mut select.having, wrap);
    each_own(order_by, wrap);
}

/// Wraps a cast.
fn wrap(expr: &mut Expr) {
    if let Expr::Cast { data_type, .. } = expr {
        let name = data_type.to_string();
        *expr = wrapped(std::mem::replace(expr, Expr::Value(ast::Value::Null.into())), name);
    }
}

fn wrapped(cast: Expr, data_type: String) -> Expr {
    let name = Expr::Value(ast::Value::SingleQuotedString(data_type).with_span(Span::empty()));
    let args = [cast, name].map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    super::operators::call(Ident::with_quote('"', NAME), args.into())
}

fn has_casts(select: &Select) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Cast { .. } => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    select.visit(&mut Find).is_break()
}

/// True when two different aggregates, windows, keys or plain items are one without their casts.
fn clashes(select: &Select) -> bool {
    let mut names = Names { depth: 0, seen: HashMap::new() };
    let found = select.projection.visit(&mut names);
    if found.is_break() || select.having.visit(&mut names).is_break() {
        return true;
    }
    let ast::GroupByExpr::Expressions(keys, _) = &select.group_by else { return false };
    keys.iter().any(|key| names.is_taken(key))
}

struct Names {
    depth: usize,
    /// By what is left without casts.
    seen: HashMap<String, Expr>,
}

impl Names {
    /// True when another expression has the name.
    fn is_taken(&mut self, expr: &Expr) -> bool {
        let mut plain = expr.clone();
        let _ = VisitMut::visit(&mut plain, &mut Strip);
        let seen = self.seen.entry(plain.to_string().to_lowercase()).or_insert_with(|| expr.clone());
        seen.to_string().to_lowercase() != expr.to_string().to_lowercase()
    }
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        if self.depth == 0 && is_computed(function) && self.is_taken(expr) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// An aggregate or a window.
fn is_computed(function: &ast::Function) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    function.over.is_some() || crate::functions::is_aggregate(&name)
}

/// Takes casts away.
struct Strip;

impl VisitorMut for Strip {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = expr {
            *expr = std::mem::replace(inner, Expr::Value(ast::Value::Null.into()));
        }
        ControlFlow::Continue(())
    }
}

/// What is in the function.
pub(super) fn inner(call: &mut ScalarFunction) -> Option<Planned> {
    if call.func.name() != NAME {
        return None;
    }
    call.args.first_mut().map(std::mem::take)
}

/// The function: its first argument, under a name that has the second.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Named {
    signature: Signature,
}

impl Default for Named {
    fn default() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Named {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let first = args.arg_fields.first().map(Arc::clone);
        Ok(first
            .unwrap_or_else(|| Arc::new(datafusion::arrow::datatypes::Field::new("", DataType::Null, true))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let null = ColumnarValue::Scalar(datafusion::common::ScalarValue::Null);
        Ok(args.args.into_iter().next().unwrap_or(null))
    }
}
