//! The defining SELECT: keys, the select list, HAVING and ORDER BY.
//!
//! Invariants: a select item is an SQL expression over key names, `$n` and `$gn` only; the time bucket is the first
//! key, so that TTL and time ranges are ranges of keys. So is a sliding window's pane, before it.

use super::aggregate::{self, Aggregate, Defaults};
use super::expr::Exprs;
use super::from::{From, Plain};
use super::function::{argument_exprs, check_known, check_volatile, function_name, refuse_syntax};
use super::grouping::{self, Groups, by_position};
use super::nodes::Nodes;
use super::output;
use super::window::Wanted;
use crate::definition::{Attribute, Chained, Output, SelectItem, SortItem};
use crate::dialect::parse_expr;
use crate::error::SqlError;
use crate::text::fold;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, ObjectName, OrderBy, OrderByKind, Select, Value as Literal, Visit, VisitMut, Visitor,
    VisitorMut,
};
use headwater::plan::{BinaryOp, ExprId, Function, Op, StatePlan};
use headwater::value::{DataType, Value};
use std::ops::ControlFlow;

/// Most select items and aggregate calls of a view.
const ITEMS_MAX: usize = 256;
/// Arguments of `grouping`, as in PostgreSQL.
const GROUPING_MAX: usize = 31;

/// The parts of a view that its SELECT decides.
pub(super) struct Built {
    pub(super) filter: Option<ExprId>,
    pub(super) keys: Vec<Key>,
    pub(super) states: Vec<StatePlan>,
    pub(super) outputs: Vec<Output>,
    pub(super) select: Vec<SelectItem>,
    pub(super) attributes: Vec<Attribute>,
}

/// What decides besides the SELECT itself.
pub(super) struct Wants<'o> {
    pub(super) defaults: Defaults,
    pub(super) ttl_column: Option<&'o str>,
    pub(super) window: Option<Wanted>,
}

/// One group expression.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: ExprId,
    pub(super) data_type: DataType,
    pub(super) name: String,
}

/// True for a call of an aggregate, by its name.
pub(crate) fn is_aggregate_call(call: &ast::Function) -> bool {
    function_name(call).is_ok_and(|name| aggregate::is_aggregate(&name))
}

/// The first aggregate call in an expression, by name.
pub(super) fn find_aggregate(expr: &Expr) -> Option<ObjectName> {
    struct Find;
    impl Visitor for Find {
        type Break = ObjectName;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<ObjectName> {
            match expr {
                Expr::Function(f) if is_aggregate_call(f) => ControlFlow::Break(f.name.clone()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Find).break_value()
}

/// Compiles GROUP BY, the select list, HAVING and ORDER BY.
pub(super) fn build(from: &mut From<'_>, plain: &Plain<'_>, wants: Wants<'_>) -> Result<Built, SqlError> {
    let select = plain.select;
    let pane = wants.window.as_ref().map(|window| window.pane(from)).transpose()?;
    let exprs = &mut from.exprs;
    let items = named_items(exprs, select)?;
    let Groups { mut keys, sets } = match plain.distinct {
        true => grouping::distinct(exprs, select, &items)?,
        false => grouping::group_by(exprs, select, &items)?,
    };
    name_keys(exprs, &mut keys, &items);
    order_keys(exprs, &mut keys, wants.ttl_column)?;
    let mut list = List::new(exprs, &keys, wants.defaults);
    let at = list.exprs.text.of_span(select.select_token.0.span);
    let mut select_items = Vec::new();
    for (expr, name) in &items {
        let item = list.item(expr);
        let expr = item.map_err(|e| if keys.is_empty() { explain_plain(e, &items, at) } else { e })?;
        select_items.push(SelectItem { name: name.clone(), expr });
    }
    let mut attributes: Vec<Attribute> = wants.window.iter().map(|w| Attribute::Window(w.window())).collect();
    if let Some(having) = &select.having {
        attributes.push(Attribute::Having(list.item(having)?));
    }
    if let Some(order) = plain.order_by {
        attributes.push(Attribute::OrderBy(list.order(order, &items)?));
    }
    let List { states, outputs, groupings, combined, .. } = list;
    attributes.extend(exprs.stream.output().map(|output| {
        let source = output.view.id;
        Attribute::Chained(Chained { source, combined })
    }));
    if keys.is_empty() && states.is_empty() {
        return Err(SqlError::unsupported("a continuous view without an aggregate or GROUP BY").at(at));
    }
    let panes = usize::from(pane.is_some());
    attributes.extend(set_attributes(&keys, sets, groupings, panes));
    keys.splice(0..0, pane);
    Ok(Built { filter: from.filter, keys, states, outputs, select: select_items, attributes })
}

/// Grouping sets and calls of `grouping`, as places in the keys behind the panes.
fn set_attributes(
    keys: &[Key],
    sets: Option<Vec<Vec<ExprId>>>,
    groupings: Vec<Vec<ExprId>>,
    panes: usize,
) -> Vec<Attribute> {
    let place = |id: &ExprId| keys.iter().position(|k| k.id == *id).map(|at| (at + panes) as u16);
    let places = |ids: &Vec<ExprId>| ids.iter().filter_map(place).collect::<Vec<u16>>();
    // A plain GROUP BY is one set of all keys, which only `grouping` asks for.
    let all = || (!groupings.is_empty()).then(|| vec![keys.iter().map(|k| k.id).collect()]);
    let sets = sets.or_else(all).filter(|_| !keys.is_empty());
    let sets = sets.map(|sets| Attribute::GroupingSets(sets.iter().map(places).collect()));
    sets.into_iter().chain(groupings.iter().map(|ids| Attribute::Grouping(places(ids)))).collect()
}

/// A SELECT without GROUP BY and aggregates is not a mistake in one column: it is another kind of view.
fn explain_plain(error: SqlError, items: &[(Expr, String)], at: Option<u32>) -> SqlError {
    if error.code != "42803" || items.iter().any(|(expr, _)| find_aggregate(expr).is_some()) {
        return error;
    }
    SqlError::unsupported("a continuous view without an aggregate or GROUP BY").at(at)
}

/// The select list with a unique name for each item.
fn named_items(exprs: &Exprs<'_>, select: &Select) -> Result<Vec<(Expr, String)>, SqlError> {
    let mut items: Vec<(Expr, String)> = Vec::new();
    for item in &select.projection {
        let (expr, name) = match item {
            ast::SelectItem::UnnamedExpr(expr) => (expr, item_name(expr)),
            ast::SelectItem::ExprWithAlias { expr, alias } => (expr, fold(alias)),
            _ => {
                let at = exprs.text.of(item).or_else(|| exprs.text.of_span(select.select_token.0.span));
                return Err(SqlError::not_in_definition("*").at(at));
            }
        };
        if items.iter().any(|(_, before)| *before == name) {
            let message = format!("column \"{name}\" appears twice in the select list");
            return Err(SqlError::new("42701", message)
                .at(exprs.text.of(expr))
                .with_hint("name one of them with AS"));
        }
        items.push((expr.clone(), name));
    }
    if items.len() > ITEMS_MAX {
        return Err(SqlError::new("54011", format!("a view has at most {ITEMS_MAX} columns")));
    }
    Ok(items)
}

/// PostgreSQL's name for a column without AS.
pub(crate) fn item_name(expr: &Expr) -> String {
    match expr {
        Expr::Nested(inner) => item_name(inner),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(ast::AccessExpr::Dot(field)) => item_name(field),
            _ => "?column?".into(),
        },
        Expr::Identifier(ident) => fold(ident),
        Expr::CompoundIdentifier(path) => path.last().map_or_else(String::new, fold),
        Expr::Function(f) => function_name(f).unwrap_or_else(|_| "function".into()),
        Expr::Case { .. } => "case".into(),
        Expr::Cast { expr, .. } => item_name(expr),
        Expr::Extract { .. } => "extract".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Trim { .. } => "btrim".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Exists { .. } => "exists".into(),
        Expr::Array(_) => "array".into(),
        Expr::Interval(_) => "interval".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        _ => "?column?".into(),
    }
}

/// Names keys after the select items that show them; others keep their column's name, or get one.
fn name_keys(exprs: &Exprs<'_>, keys: &mut [Key], items: &[(Expr, String)]) {
    let mut taken: Vec<String> = Vec::new();
    for (at, key) in keys.iter_mut().enumerate() {
        let shown =
            items.iter().find(|(expr, _)| key_of(exprs, expr) == Some(key.id)).map(|(_, name)| name.clone());
        let base = shown
            .unwrap_or_else(|| if key.name.is_empty() { format!("key{}", at + 1) } else { key.name.clone() });
        let base = if base.starts_with('$') { format!("_{base}") } else { base };
        let mut name = base.clone();
        let mut n = 2;
        while taken.contains(&name) {
            name = format!("{base}_{n}");
            n += 1;
        }
        taken.push(name.clone());
        key.name = name;
    }
}

/// The node an expression compiles to, if it compiles; the plan is not touched.
fn key_of(exprs: &Exprs<'_>, expr: &Expr) -> Option<ExprId> {
    let mut scratch = exprs.clone();
    scratch.any(expr).ok().map(|(id, _)| id)
}

fn order_keys(exprs: &Exprs<'_>, keys: &mut [Key], ttl_column: Option<&str>) -> Result<(), SqlError> {
    let arrival = exprs.stream.fields.len();
    let is_bucket = |key: &Key| {
        let reads_time =
            exprs.nodes.any(key.id, &|op| matches!(op, Op::Column(c) if usize::from(*c) == arrival));
        reads_time && key.data_type == DataType::Timestamp && is_bucket_op(&exprs.nodes, key.id)
    };
    let time = match ttl_column {
        Some(name) => Some(ttl_key(keys, name)?),
        None => keys.iter().position(is_bucket),
    };
    if let Some(at) = time {
        keys[..=at].rotate_right(1);
    }
    Ok(())
}

/// True for buckets of time, also for those that are shifted back to their origin.
fn is_bucket_op(nodes: &Nodes, id: ExprId) -> bool {
    match nodes.op(id) {
        Op::Call(Function::DateTrunc | Function::TimeBucket, _) => true,
        Op::Binary(BinaryOp::Add | BinaryOp::Subtract, bucket, by) => {
            let is_call =
                matches!(nodes.op(*bucket), Op::Call(Function::DateTrunc | Function::TimeBucket, _));
            is_call && matches!(nodes.literal(*by), Some(Value::Interval(_)))
        }
        _ => false,
    }
}

fn ttl_key(keys: &[Key], name: &str) -> Result<usize, SqlError> {
    let hint = "ttl_column names a column of the select list that GROUP BY groups by, such as a date_trunc";
    let at = keys.iter().position(|k| k.name == name);
    let at = at.ok_or_else(|| {
        SqlError::new("42703", format!("ttl_column \"{name}\" is not a group key")).with_hint(hint)
    })?;
    match keys[at].data_type {
        DataType::Timestamp | DataType::Date => Ok(at),
        _ => Err(SqlError::new("42804", format!("ttl_column \"{name}\" must be timestamptz or date"))
            .with_hint(hint)),
    }
}

/// The select list under compilation.
struct List<'l, 'e> {
    exprs: &'l mut Exprs<'e>,
    keys: &'l [Key],
    defaults: Defaults,
    states: Vec<StatePlan>,
    outputs: Vec<Output>,
    /// SQL over outputs that stands for a call; in an item, first, a name stands for it.
    derived: Vec<Expr>,
    groupings: Vec<Vec<ExprId>>,
    /// As [`Chained::combined`].
    combined: Vec<(u16, u16)>,
}

/// What the names of [`List::derived`] begin with: no key and no output has such a name.
const DERIVED: &str = "$$";

impl<'l, 'e> List<'l, 'e> {
    fn new(exprs: &'l mut Exprs<'e>, keys: &'l [Key], defaults: Defaults) -> Self {
        let (states, outputs, derived) = (Vec::new(), Vec::new(), Vec::new());
        let (groupings, combined) = (Vec::new(), Vec::new());
        Self { exprs, keys, defaults, states, outputs, derived, groupings, combined }
    }

    /// The item over keys and outputs, as SQL.
    fn item(&mut self, expr: &Expr) -> Result<String, SqlError> {
        let mut expr = expr.clone();
        if let ControlFlow::Break(error) = VisitMut::visit(&mut expr, self) {
            return Err(error);
        }
        let _ = VisitMut::visit(&mut expr, &mut PutDerived(&self.derived));
        Ok(expr.to_string())
    }

    /// A call that is no aggregate but made of some.
    fn hypothetical(&mut self, f: &ast::Function, name: &str) -> Result<String, SqlError> {
        let derived = aggregate::hypothetical::compile(self.exprs, f, name)?;
        let mut sql = derived.sql.to_owned();
        for (at, aggregate) in derived.aggregates.into_iter().enumerate() {
            let output = self.output(aggregate)?;
            sql = sql.replace(&format!("{{{at}}}"), &format!("\"{output}\""));
        }
        let parsed = parse_expr(&sql);
        self.derived.push(parsed.map_err(|e| SqlError::new("XX000", e.to_string()))?);
        Ok(format!("{DERIVED}{}", self.derived.len() - 1))
    }

    /// `combine((delta).column)`: states that the fold merges.
    fn combine(&mut self, f: &ast::Function) -> Result<String, SqlError> {
        let mut combined = output::combine(self.exprs, f)?;
        let mut names = Vec::new();
        for (theirs, state, aggregate) in std::mem::take(&mut combined.aggregates) {
            let mine = self.output(aggregate)?;
            let at = self.outputs.iter().find(|o| o.name == mine).map_or(0, |o| o.state);
            if !self.combined.contains(&(at, state)) {
                self.combined.push((at, state));
            }
            names.push((theirs, mine));
        }
        self.derived.push(combined.renamed(&names));
        Ok(format!("{DERIVED}{}", self.derived.len() - 1))
    }

    /// ORDER BY. A name alone is that of an item, as in PostgreSQL.
    fn order(&mut self, order: &OrderBy, items: &[(Expr, String)]) -> Result<Vec<SortItem>, SqlError> {
        let OrderByKind::Expressions(sorted) = &order.kind else {
            return Err(SqlError::not_in_definition("ORDER BY ALL").at(self.exprs.text.of(order)));
        };
        let mut out = Vec::new();
        for key in sorted {
            let at = self.exprs.text.of(&key.expr);
            let expr = match &key.expr {
                Expr::Value(value) => match &value.value {
                    Literal::Number(digits, _) => {
                        by_position(digits, "ORDER BY", items).map_err(|e| e.at(at))?
                    }
                    _ => return Err(SqlError::new("42601", "non-integer constant in ORDER BY").at(at)),
                },
                Expr::Identifier(ident) => {
                    let name = fold(ident);
                    items.iter().find(|(_, alias)| *alias == name).map_or(&key.expr, |(expr, _)| expr)
                }
                other => other,
            };
            let descending = key.options.asc == Some(false);
            let nulls_first = key.options.nulls_first.unwrap_or(descending);
            out.push(SortItem { expr: self.item(expr)?, descending, nulls_first });
        }
        Ok(out)
    }

    /// `grouping(key, ...)`: which of these a row's set leaves out.
    fn grouping(&mut self, f: &ast::Function) -> Result<String, SqlError> {
        let args = argument_exprs(&f.args, "grouping")?;
        if args.is_empty() || args.len() > GROUPING_MAX {
            return Err(SqlError::new("54023", format!("grouping takes 1 to {GROUPING_MAX} arguments")));
        }
        let mut ids = Vec::new();
        for arg in args {
            let key = key_of(self.exprs, arg).filter(|id| self.keys.iter().any(|k| k.id == *id));
            let message = "arguments to GROUPING must be grouping expressions";
            ids.push(key.ok_or_else(|| SqlError::new("42803", message).at(self.exprs.text.of(arg)))?);
        }
        let at = self.groupings.iter().position(|known| *known == ids).unwrap_or_else(|| {
            self.groupings.push(ids);
            self.groupings.len() - 1
        });
        Ok(format!("$g{at}"))
    }

    fn output(&mut self, aggregate: Aggregate) -> Result<String, SqlError> {
        let state = match self.states.iter().position(|s| *s == aggregate.state) {
            Some(at) => at,
            None => {
                self.states.push(aggregate.state);
                self.states.len() - 1
            }
        } as u16;
        if let Some(same) = self.outputs.iter().find(|o| o.state == state && o.finisher == aggregate.finisher)
        {
            return Ok(same.name.clone());
        }
        if self.outputs.len() >= ITEMS_MAX {
            return Err(SqlError::new("54011", format!("a view has at most {ITEMS_MAX} aggregates")));
        }
        let name = format!("${}", self.outputs.len());
        self.outputs.push(Output {
            name: name.clone(),
            state,
            finisher: aggregate.finisher,
            data_type: aggregate.data_type,
        });
        Ok(name)
    }

    /// The key or output that stands for this expression; `None` when its parts have to be looked at.
    fn replacement(&mut self, expr: &Expr) -> Result<Option<String>, SqlError> {
        if let Expr::Function(f) = expr {
            let at = self.exprs.text.of(&f.name);
            let name = function_name(f).map_err(|e| e.at(at))?;
            check_volatile(&name).map_err(|e| e.at(at))?;
            if f.over.is_none() && aggregate::hypothetical::NAMES.contains(&name.as_str()) {
                return self.hypothetical(f, &name).map(Some);
            }
            if name == "grouping" && f.over.is_none() && f.filter.is_none() {
                return self.grouping(f).map(Some).map_err(|e| e.at(at));
            }
            if name == "combine" && self.exprs.stream.output().is_some() {
                return self.combine(f).map(Some).map_err(|e| e.at(at));
            }
            if aggregate::is_aggregate(&name) {
                let aggregate = aggregate::compile(self.exprs, f, &name, self.defaults)?;
                return self.output(aggregate).map(Some);
            }
        }
        if find_aggregate(expr).is_some() {
            return Ok(None);
        }
        match key_of(self.exprs, expr).and_then(|id| self.keys.iter().find(|k| k.id == id)) {
            Some(key) => Ok(Some(key.name.clone())),
            None => self.check_leaf(expr).map(|()| None),
        }
    }

    /// What is neither key nor aggregate must be a constant or an expression over them.
    fn check_leaf(&mut self, expr: &Expr) -> Result<(), SqlError> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                self.exprs.any(expr)?;
                let name = item_name(expr);
                let message = format!(
                    "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
                );
                Err(SqlError::new("42803", message).at(self.exprs.text.of(expr)))
            }
            Expr::CompoundFieldAccess { .. } => Err(self.exprs.not_grouped(expr)),
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                Err(refuse_syntax(expr).at(self.exprs.text.of(expr)))
            }
            Expr::Function(f) if f.over.is_some() => self.exprs.function(f).map(|_| ()),
            Expr::Function(f) => {
                check_known(&function_name(f)?).map_err(|e| e.at(self.exprs.text.of(&f.name)))
            }
            _ => Ok(()),
        }
    }
}

/// Puts expressions over outputs where their names stand.
struct PutDerived<'d>(&'d [Expr]);

impl VisitorMut for PutDerived<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some(derived) =
                ident.value.strip_prefix(DERIVED).and_then(|at| self.0.get(at.parse::<usize>().ok()?))
        {
            *expr = derived.clone();
        }
        ControlFlow::Continue(())
    }
}

impl VisitorMut for List<'_, '_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.replacement(expr) {
            Ok(Some(name)) => {
                *expr = Expr::Identifier(Ident::with_quote('"', name));
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}
