//! `SELECT function('view', ...)`: PipelineDB's functions that change a view, and `flush()`.
//!
//! They are commands in the shape of a query: only a SELECT of nothing but one such call, with literal arguments, is
//! one.

use super::{Argument, Call, CallName, Name};
use crate::error::SqlError;
use crate::text::{Text, fold_name};
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr, Value as Literal,
};

/// The functions, and how many arguments follow the view's name.
const FUNCTIONS: [(&str, CallName, usize); 6] = [
    ("activate", CallName::Activate, 0),
    ("deactivate", CallName::Deactivate, 0),
    ("truncate_continuous_view", CallName::TruncateContinuousView, 0),
    ("set_ttl", CallName::SetTtl, 2),
    ("ttl_expire", CallName::TtlExpire, 0),
    ("flush", CallName::Flush, 0),
];

/// The call that a query is, if it is one.
pub(super) fn call(text: &Text, query: &Query) -> Result<Option<Call>, SqlError> {
    let Some(function) = only_call(query) else { return Ok(None) };
    let mut parts = fold_name(&function.name);
    let name = parts.pop().unwrap_or_default();
    let is_ours = parts.is_empty() || parts == ["pipelinedb"];
    let at = text.of(&function.name);
    if is_ours && name == "combine_table" {
        return Err(SqlError::unsupported("function combine_table")
            .at(at)
            .with_hint("SELECT combine(column) FROM (SELECT column FROM the view UNION ALL SELECT column FROM the table) AS both"));
    }
    let Some((_, function_name, more)) = FUNCTIONS.iter().find(|(known, ..)| is_ours && *known == name)
    else {
        return Ok(None);
    };
    let mut arguments = arguments(text, function, &name).map_err(|e| e.at(at))?;
    if *function_name == CallName::Flush && arguments.is_empty() {
        let view = Name { name: String::new(), position: at };
        return Ok(Some(Call { function: CallName::Flush, name, view, arguments, position: at }));
    }
    if *function_name == CallName::Flush {
        return Err(SqlError::new("42883", "function flush takes no arguments").at(at));
    }
    if arguments.len() != more + 1 {
        let message = format!("function {name} takes {} arguments, not {}", more + 1, arguments.len());
        return Err(SqlError::new("42883", message).at(at));
    }
    let view = arguments.remove(0);
    let Some(view_name) = view.value else {
        return Err(
            SqlError::new("22004", format!("{name}: the view's name is NULL")).at(view.value_position)
        );
    };
    let view = Name { name: fold_text(&view_name), position: view.value_position };
    Ok(Some(Call { function: *function_name, name, view, arguments, position: at }))
}

/// The one function of a SELECT of nothing else.
fn only_call(query: &Query) -> Option<&ast::Function> {
    let plain = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let bare = select.from.is_empty() && select.selection.is_none() && select.having.is_none();
    match select.projection.as_slice() {
        [
            SelectItem::UnnamedExpr(Expr::Function(f))
            | SelectItem::ExprWithAlias { expr: Expr::Function(f), .. },
        ] if plain && bare && f.over.is_none() => Some(f),
        _ => None,
    }
}

fn arguments(text: &Text, function: &ast::Function, name: &str) -> Result<Vec<Argument>, SqlError> {
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    let argument = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
            let at = text.of(expr);
            let message = format!("arguments of {name} must be literals");
            let value = literal(expr).ok_or_else(|| SqlError::new("0A000", message).at(at))?;
            Ok(Argument { value, value_position: at })
        }
        _ => Err(SqlError::new("42883", format!("function {name} does not take such arguments"))),
    };
    list.args.iter().map(argument).collect()
}

/// The text of a literal; `Some(None)` for NULL.
pub(super) fn literal(expr: &Expr) -> Option<Option<String>> {
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::Cast { expr, .. } => literal(expr),
        Expr::TypedString(typed) => typed.value.clone().into_string().map(Some),
        Expr::Interval(interval) => {
            let value = literal(&interval.value)??;
            Some(Some(
                interval.leading_field.as_ref().map_or(value.clone(), |unit| format!("{value} {unit}")),
            ))
        }
        Expr::Value(value) => match &value.value {
            Literal::Null => Some(None),
            Literal::Number(digits, _) => Some(Some(digits.clone())),
            other => other.clone().into_string().map(Some),
        },
        _ => None,
    }
}

/// A name inside of a text, as SQL would fold it.
fn fold_text(written: &str) -> String {
    let bare = written.strip_prefix("public.").unwrap_or(written);
    match bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => bare.to_lowercase(),
    }
}
