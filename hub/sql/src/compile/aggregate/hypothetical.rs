//! `rank`, `dense_rank`, `percent_rank`, `cume_dist` of a value that is not there: counts of the events before it.
//!
//! No states of their own: `rank(c) WITHIN GROUP (ORDER BY x)` is one more than the events with `x < c`, and the others
//! are made of such counts too, of `dense_rank` of a set of distinct values. What is made of them is SQL over the view's
//! outputs, so that `combine` recomputes it from merged counts.

use super::{Aggregate, Call, Parts, finished, refuse_nested};
use crate::compile::coerce::{Typed, What};
use crate::compile::expr::Exprs;
use crate::compile::function::argument_exprs;
use crate::error::SqlError;
use datafusion::sql::sqlparser::ast::{self, OrderByExpr};
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::plan::{BinaryOp, ExprId, Op};
use headwater::value::DataType;

/// Distinct values before the one that `dense_rank` asks for.
const CAP: u32 = 10_000;

/// Every name.
pub(in crate::compile) const NAMES: &[&str] = &["rank", "dense_rank", "percent_rank", "cume_dist"];

/// What stands for a call: its aggregates, and SQL over them as `{0}`, `{1}`.
pub(in crate::compile) struct Derived {
    pub(in crate::compile) aggregates: Vec<Aggregate>,
    pub(in crate::compile) sql: &'static str,
}

/// Compiles `name(c) WITHIN GROUP (ORDER BY x)`.
pub(in crate::compile) fn compile(
    exprs: &mut Exprs<'_>,
    f: &ast::Function,
    name: &str,
) -> Result<Derived, SqlError> {
    let at = exprs.text.of(&f.name);
    derived(exprs, f, name).map_err(|e| e.at(at))
}

fn derived(exprs: &mut Exprs<'_>, f: &ast::Function, name: &str) -> Result<Derived, SqlError> {
    super::check_clauses(f, name)?;
    let items = argument_exprs(&f.args, name)?;
    refuse_nested(exprs, &items)?;
    let order = match (items.len(), f.within_group.as_slice()) {
        (_, []) => {
            let message = format!("WITHIN GROUP is required for hypothetical-set aggregate {name}");
            let hint = format!("{name}(10) WITHIN GROUP (ORDER BY x)");
            return Err(SqlError::new("42809", message).with_hint(hint));
        }
        (1, [order]) => order,
        (n, orders) if n == orders.len() => {
            return Err(SqlError::unsupported("WITHIN GROUP (ORDER BY ...) with several expressions"));
        }
        _ => {
            let message = format!("{name} takes one value for each expression of its ORDER BY");
            return Err(SqlError::new("42883", message));
        }
    };
    let call = Call::new(exprs, f, name)?;
    Hypothetical::new(call, order)?.derived(f)
}

/// Conditions on events, against the value that is not there.
struct Hypothetical<'c, 'e> {
    call: Call<'c, 'e>,
    x: ExprId,
    data_type: DataType,
    nulls_first: bool,
    before: ExprId,
    equal: ExprId,
}

impl<'c, 'e> Hypothetical<'c, 'e> {
    fn new(mut call: Call<'c, 'e>, order: &OrderByExpr) -> Result<Self, SqlError> {
        let value = call.args.remove(0);
        let literal = call.constant(&value).is_some_and(|value| !value.is_null());
        if !literal {
            let message = format!("the value of {} must be a literal that is not NULL", call.name);
            return Err(SqlError::new("22023", message).at(value.at));
        }
        let x = call.exprs.expr(&order.expr)?;
        if let What::Null | What::Text(_) = x.what {
            return Err(SqlError::unsupported("WITHIN GROUP (ORDER BY a constant)"));
        }
        let no_match = {
            let types = [value.name(), x.name()].join(", ");
            SqlError::new("42883", format!("function {}({types}) does not exist", call.name))
        };
        let items: Vec<Typed> = vec![x, value];
        let (ids, data_type) = call
            .exprs
            .nodes
            .unify(items, call.name)
            .map_err(|e| if e.code == "42804" { no_match } else { e })?;
        let descending = order.options.asc == Some(false);
        let nulls_first = order.options.nulls_first.unwrap_or(descending);
        let op = if descending { BinaryOp::Gt } else { BinaryOp::Lt };
        let mut compare = |op| call.exprs.nodes.push(Op::Binary(op, ids[0], ids[1]), DataType::Bool);
        let (mut before, equal) = (compare(op)?, compare(BinaryOp::Eq)?);
        if nulls_first {
            let null = call.exprs.nodes.push(Op::IsNull(ids[0]), DataType::Bool)?;
            before = call.exprs.nodes.push(Op::Binary(BinaryOp::Or, before, null), DataType::Bool)?;
        }
        Ok(Self { call, x: ids[0], data_type, nulls_first, before, equal })
    }

    fn derived(mut self, f: &ast::Function) -> Result<Derived, SqlError> {
        let all = self.count(f, None)?;
        let before = self.count(f, Some(self.before))?;
        Ok(match self.call.name {
            "rank" => Derived { aggregates: vec![before], sql: "({0} + 1)" },
            "dense_rank" => self.dense(f)?,
            "percent_rank" => Derived {
                aggregates: vec![before, all],
                sql: "(CASE WHEN {1} = 0 THEN 0.0 ELSE CAST({0} AS double precision) / {1} END)",
            },
            _ => {
                let nodes = &mut self.call.exprs.nodes;
                let upto = nodes.push(Op::Binary(BinaryOp::Or, self.before, self.equal), DataType::Bool)?;
                let upto = self.count(f, Some(upto))?;
                Derived {
                    aggregates: vec![upto, all],
                    sql: "(CAST({0} + 1 AS double precision) / ({1} + 1))",
                }
            }
        })
    }

    /// Distinct values before; NULL is one of them where it comes first.
    fn dense(&mut self, f: &ast::Function) -> Result<Derived, SqlError> {
        let spec = AggregateSpec::Set { value: self.data_type.clone(), cap: CAP };
        let parts =
            Parts { only: Some(self.before), ..Parts::finish(spec, vec![self.x], Finisher::Cardinality)? };
        let distinct = finished(self.call.exprs, f, self.call.name, parts)?;
        if !self.nulls_first {
            return Ok(Derived { aggregates: vec![distinct], sql: "({0} + 1)" });
        }
        let null = self.call.exprs.nodes.push(Op::IsNull(self.x), DataType::Bool)?;
        let nulls = self.count(f, Some(null))?;
        let sql = "({0} + 1 + CASE WHEN {1} > 0 THEN 1 ELSE 0 END)";
        Ok(Derived { aggregates: vec![distinct, nulls], sql })
    }

    fn count(&mut self, f: &ast::Function, only: Option<ExprId>) -> Result<Aggregate, SqlError> {
        let parts = Parts { only, ..Parts::new(AggregateSpec::Count { argument: false }, Vec::new())? };
        finished(self.call.exprs, f, self.call.name, parts)
    }
}
