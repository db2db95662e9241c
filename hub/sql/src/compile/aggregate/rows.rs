//! Aggregates that keep rows in an order: the n first or last, and collections of all.
//!
//! | SQL | rows | order |
//! |---|---|---|
//! | `min_n(x, n)`, `max_n(x, n)` | x | by x; NULLs are left out |
//! | `first_values(n) WITHIN GROUP (ORDER BY a, ...)`, `last_values` | a, ... | as written |
//! | `array_agg(x[, cap] [ORDER BY k, ...])`, `json_agg` | k, ..., x | by k, ... (`arrival_timestamp`), then by x |
//! | `string_agg(x, delimiter[, cap] [ORDER BY k, ...])` | the same | the same; NULLs are left out |
//! | `json_object_agg(name, x[, cap])` | time, name, x | the same; NULL names are left out |

use super::{Call, Parts};
use crate::error::SqlError;
use datafusion::sql::sqlparser::ast::{Expr, FunctionArgumentClause, FunctionArguments, Ident, OrderByExpr};
use headwater::aggregate::{AggregateSpec, Finisher, Keep, SortColumn};
use headwater::plan::{ExprId, Op};
use headwater::schema::ARRIVAL_TIMESTAMP;
use headwater::value::{DataType, Value};

/// Elements of a collection where the call does not say.
const CAP: u32 = 10_000;

/// The aggregates here, by name.
pub(super) fn parts(call: &mut Call<'_, '_>, name: &str) -> Option<Result<Parts, SqlError>> {
    Some(match name {
        "min_n" => call.best(false),
        "max_n" => call.best(true),
        "first_values" => call.sorted(Keep::First),
        "last_values" => call.sorted(Keep::Last),
        "array_agg" => call.collection(Finisher::Column),
        "json_agg" => call.collection(Finisher::JsonArray),
        "string_agg" => call.strings(),
        "json_object_agg" => call.members(),
        "json_object_int_sum" => call.json_sums(),
        _ => return None,
    })
}

/// True for aggregates that may have ORDER BY between their parentheses.
pub(super) fn takes_order(name: &str) -> bool {
    matches!(name, "array_agg" | "json_agg" | "string_agg" | "json_object_agg")
}

/// The ORDER BY between the parentheses; `None` for any other clause there.
pub(super) fn order_by(args: &FunctionArguments) -> Option<&[OrderByExpr]> {
    let FunctionArguments::List(list) = args else { return Some(&[]) };
    match list.clauses.as_slice() {
        [] => Some(&[]),
        [FunctionArgumentClause::OrderBy(order)] => Some(order),
        _ => None,
    }
}

/// Columns of rows and what fills them.
#[derive(Default)]
struct Shape {
    columns: Vec<SortColumn>,
    args: Vec<ExprId>,
}

impl Shape {
    /// Adds a column, or finds the one that has these values already.
    fn add(&mut self, arg: ExprId, column: SortColumn) -> u8 {
        let at = self.args.iter().position(|known| *known == arg).unwrap_or_else(|| {
            self.args.push(arg);
            self.columns.push(column);
            self.args.len() - 1
        });
        at as u8
    }

    fn parts(self, keep: Keep, limit: u32, finisher: Finisher) -> Result<Parts, SqlError> {
        Parts::finish(AggregateSpec::Rows { keep, limit, columns: self.columns }, self.args, finisher)
    }
}

impl Call<'_, '_> {
    fn best(&mut self, largest: bool) -> Result<Parts, SqlError> {
        self.check(2..=2)?;
        let (x, data_type) = self.next()?;
        let n = self.parameter("n", 0)?;
        let mut shape = Shape::default();
        shape.add(x, SortColumn { descending: largest, ..SortColumn::ascending(data_type) });
        shape.parts(Keep::First, n, Finisher::Value)?.only_if_not_null(self, x)
    }

    fn sorted(&mut self, keep: Keep) -> Result<Parts, SqlError> {
        if self.f.within_group.is_empty() {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {}", self.name);
            let hint = format!("{}(10) WITHIN GROUP (ORDER BY x DESC)", self.name);
            return Err(SqlError::new("42809", message).with_hint(hint));
        }
        self.check(1..=1)?;
        let n = self.parameter("n", 0)?;
        let mut shape = Shape::default();
        for order in &self.f.within_group {
            self.order(&mut shape, order)?;
        }
        shape.parts(keep, n, Finisher::Value)
    }

    fn order(&mut self, shape: &mut Shape, order: &OrderByExpr) -> Result<(), SqlError> {
        let (id, data_type) = self.exprs.any(&order.expr)?;
        let descending = order.options.asc == Some(false);
        let nulls_first = order.options.nulls_first.unwrap_or(descending);
        shape.add(id, SortColumn { data_type, descending, nulls_first });
        Ok(())
    }

    /// The columns that order a collection: those of ORDER BY, or time.
    fn ordered(&mut self) -> Result<Shape, SqlError> {
        let mut shape = Shape::default();
        let order = order_by(&self.f.args).unwrap_or_default();
        for order in order {
            self.order(&mut shape, order)?;
        }
        if order.is_empty() {
            let (time, key) = self.exprs.any(&Expr::Identifier(Ident::with_quote('"', ARRIVAL_TIMESTAMP)))?;
            shape.add(time, SortColumn::ascending(key));
        }
        Ok(shape)
    }

    fn collection(&mut self, finisher: fn(u8) -> Finisher) -> Result<Parts, SqlError> {
        self.check(1..=2)?;
        let (x, data_type) = self.next()?;
        let cap = self.parameter("the cap", CAP)?;
        let mut shape = self.ordered()?;
        let at = shape.add(x, SortColumn::ascending(data_type));
        shape.parts(Keep::All, cap, finisher(at))
    }

    fn strings(&mut self) -> Result<Parts, SqlError> {
        self.check(2..=3)?;
        let no_match = self.no_match();
        let arg = self.args.remove(0);
        let wrong = |e: SqlError| if e.code == "42804" { no_match } else { e };
        let x = self.exprs.nodes.coerce(arg, &DataType::Text).map_err(wrong)?;
        let delimiter = self.args.remove(0);
        let delimiter = match self.constant(&delimiter) {
            Some(Value::Text(text)) => text,
            Some(Value::Null) => String::new(),
            None if matches!(delimiter.what, super::What::Null) => String::new(),
            _ => {
                return Err(SqlError::new("22023", "the delimiter of string_agg must be a text literal")
                    .at(delimiter.at));
            }
        };
        let cap = self.parameter("the cap", CAP)?;
        let mut shape = self.ordered()?;
        let column = shape.add(x, SortColumn::ascending(DataType::Text));
        shape.parts(Keep::All, cap, Finisher::Join { column, delimiter })?.only_if_not_null(self, x)
    }

    fn members(&mut self) -> Result<Parts, SqlError> {
        self.check(2..=3)?;
        let ((name, name_type), (x, data_type)) = (self.next()?, self.next()?);
        let cap = self.parameter("the cap", CAP)?;
        let mut shape = self.ordered()?;
        let key = shape.add(name, SortColumn::ascending(name_type));
        let value = shape.add(x, SortColumn::ascending(data_type));
        shape.parts(Keep::All, cap, Finisher::JsonObject { key, value })?.only_if_not_null(self, name)
    }

    fn json_sums(&mut self) -> Result<Parts, SqlError> {
        self.check(1..=2)?;
        let no_match = self.no_match();
        let (x, data_type) = self.next()?;
        let cap = self.parameter("the cap", CAP)?;
        if data_type == DataType::Text {
            Parts::new(AggregateSpec::JsonSum { cap }, vec![x])
        } else {
            Err(no_match)
        }
    }
}

impl Parts {
    /// Leaves out events for which `x` is NULL.
    fn only_if_not_null(self, call: &mut Call<'_, '_>, x: ExprId) -> Result<Self, SqlError> {
        let only = Some(call.exprs.nodes.push(Op::IsNotNull(x), DataType::Bool)?);
        Ok(Self { only, ..self })
    }
}
