//! `combine(column)`: re-merges the states behind a view's column over a coarser grouping.
//!
//! The planner sees an aggregate that gives back its argument's type. Before optimisation this pass finds where
//! that argument comes from: it follows the column down through projections, aliases, filters, joins and unions
//! to the scan of a view, threads the hidden state column back up, and replaces the call by [`MergeStates`].
//! A view column that is an expression over aggregates (`sum(x) / count(*)`) is recomputed from its merged parts.

use super::merge::{Emit, MergeStates};
use super::scan::{ViewScan, state_column};
use super::stored::StoredTable;
use super::unions::MergeValues;
use crate::definition::ViewDef;
use crate::error::SqlError;
use datafusion::arrow::datatypes::DataType as ArrowType;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, Result};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Distinct, Expr, Filter, Join, Limit, LogicalPlan,
    Projection, Signature, Sort, SubqueryAlias, TableScan, Union, Volatility, Window,
};
use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::value::DataType;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What `combine` is until the pass has run.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Combine {
    name: &'static str,
    /// The only aggregate whose columns it takes, unless it takes all.
    of: Option<&'static str>,
    signature: Signature,
}

impl Combine {
    /// `combine`, and PipelineDB's names for it over columns of one aggregate that do not read as states.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let names = [("combine", None), ("hll_union_agg", Some("hll")), ("topk_merge_agg", Some("topk"))];
        let signature = || Signature::any(1, Volatility::Immutable);
        names.into_iter().map(move |(name, of)| Self { name, of, signature: signature() })
    }
}

impl AggregateUDFImpl for Combine {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[ArrowType]) -> Result<ArrowType> {
        Ok(arg_types.first().cloned().unwrap_or(ArrowType::Null))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Err(refuse("combine is not supported here"))
    }
}

/// One state that a traced column is made of.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// How the template spells it.
    output: String,
    /// Where the state is, in the plan at hand.
    pub(super) column: Column,
    pub(super) spec: AggregateSpec,
    finisher: Finisher,
    data_type: DataType,
}

/// A column traced to a view.
#[derive(Clone, Debug)]
struct Traced {
    /// The column's value over its outputs (`$0`).
    template: Expr,
    sources: Vec<Source>,
    /// The view's column, for errors.
    name: String,
}

fn refuse(message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(SqlError::new("0A000", message)))
}

/// `0A000` for an argument that has no states behind it.
fn not_a_view_column(what: &str) -> DataFusionError {
    let error =
        SqlError::new("42809", format!("combine needs an aggregate column of a continuous view, not {what}"));
    DataFusionError::External(Box::new(
        error.with_hint("combine(column) re-merges what a view has aggregated"),
    ))
}

/// Replaces every `combine` of a plan.
pub(super) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(has_combine) => {
            rewrite_aggregate(aggregate).map(Transformed::yes)
        }
        LogicalPlan::Window(window) if window.window_expr.iter().any(has_combine) => {
            Err(refuse("combine as a window function is not supported"))
        }
        node => Ok(Transformed::no(node)),
    })
    .data()
}

fn has_combine(expr: &Expr) -> bool {
    let is_combine = |expr: &Expr| match expr {
        Expr::AggregateFunction(f) => is_placeholder(&f.func),
        Expr::WindowFunction(w) => {
            matches!(&w.fun, datafusion::logical_expr::WindowFunctionDefinition::AggregateUDF(f) if is_placeholder(f))
        }
        _ => false,
    };
    expr.exists(|e| Ok(is_combine(e))).unwrap_or(false)
}

fn is_placeholder(function: &AggregateUDF) -> bool {
    (function.inner().as_ref() as &dyn Any).is::<Combine>()
}

/// `Aggregate(combine(c), ...)` becomes a projection over an aggregate that merges states.
fn rewrite_aggregate(aggregate: Aggregate) -> Result<LogicalPlan> {
    let schema = Arc::clone(&aggregate.schema);
    let mut input = Arc::unwrap_or_clone(aggregate.input);
    let mut aggr_expr = Vec::new();
    let groups = schema.fields().len() - aggregate.aggr_expr.len();
    let mut items: Vec<Expr> =
        (0..groups).map(|at| Expr::Column(Column::from(schema.qualified_field(at)))).collect();
    for (at, expr) in aggregate.aggr_expr.into_iter().enumerate() {
        let (qualifier, field) = schema.qualified_field(groups + at);
        if !has_combine(&expr) {
            items.push(Expr::Column(Column::from((qualifier, field))));
            aggr_expr.push(expr);
            continue;
        }
        let (new_input, value) = merge_calls(input, expr, &mut aggr_expr)?;
        input = new_input;
        items.push(value.alias_qualified(qualifier.cloned(), field.name()));
    }
    let merged = Aggregate::try_new(Arc::new(input), aggregate.group_expr, aggr_expr)?;
    Ok(LogicalPlan::Projection(Projection::try_new(items, Arc::new(LogicalPlan::Aggregate(merged)))?))
}

/// Traces one call, adds its merges to `aggr_expr` and gives its value over them.
fn merge_calls(input: LogicalPlan, expr: Expr, aggr_expr: &mut Vec<Expr>) -> Result<(LogicalPlan, Expr)> {
    let AggregateFunction { func, params } = match expr.unalias() {
        Expr::AggregateFunction(function) => function,
        _ => return Err(refuse("combine inside another aggregate is not supported")),
    };
    if params.distinct || !params.order_by.is_empty() || params.null_treatment.is_some() {
        return Err(refuse("DISTINCT, ORDER BY and NULLS in combine are not supported"));
    }
    let argument = argument_column(&params)?;
    let stored = is_stored(&input, &argument)?.then(|| input.clone());
    let (input, traced) = match (trace(input, &argument), stored) {
        (Ok(traced), _) => traced,
        (Err(_), Some(input)) => return Ok((input, stored_value(params, aggr_expr))),
        (Err(error), None) => return Err(error),
    };
    check_aggregate(&func, &traced)?;
    let value = merged_value(&traced, params.filter.as_deref(), aggr_expr)?;
    Ok((input, value))
}

/// The one state that a column is the answer of, as another column of the plan that comes back.
pub(super) fn state_of(plan: LogicalPlan, column: &Column, function: &str) -> Result<(LogicalPlan, Source)> {
    let (plan, traced) = trace(plan, column)?;
    match (&traced.template, traced.sources.as_slice()) {
        (Expr::Column(_), [source]) => Ok((plan, source.clone())),
        _ => Err(refuse(format!("{function} of an expression over several aggregates is not supported"))),
    }
}

/// True for a column of bytes of a plan that reads a table: states may have been stored there, and say what they are.
fn is_stored(input: &LogicalPlan, column: &Column) -> Result<bool> {
    let mut reads_table = false;
    input.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
        {
            reads_table |= (provider.as_ref() as &dyn Any).is::<StoredTable>();
        }
        Ok(if reads_table { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    let is_bytes = input
        .schema()
        .maybe_index_of_column(column)
        .is_some_and(|at| input.schema().field(at).data_type() == &ArrowType::Binary);
    Ok(reads_table && is_bytes)
}

/// The merge of states by what they say of themselves.
fn stored_value(params: AggregateFunctionParams, aggr_expr: &mut Vec<Expr>) -> Expr {
    let merge = Arc::new(AggregateUDF::from(MergeValues::combine()));
    let name = fresh("merged");
    aggr_expr.push(Expr::AggregateFunction(AggregateFunction { func: merge, params }).alias(&name));
    Expr::Column(Column::new_unqualified(name))
}

/// `42883` for a column of another aggregate than the name says.
fn check_aggregate(function: &AggregateUDF, traced: &Traced) -> Result<()> {
    let of = (function.inner().as_ref() as &dyn Any).downcast_ref::<Combine>().and_then(|combine| combine.of);
    match (of, traced.sources.iter().find(|source| of.is_some_and(|of| source.spec.name() != of))) {
        (Some(of), Some(_)) => {
            let message = format!("{} needs a column of {of}_agg, not \"{}\"", function.name(), traced.name);
            let error = SqlError::new("42883", message).with_hint("combine(column) takes all of them");
            Err(DataFusionError::External(Box::new(error)))
        }
        _ => Ok(()),
    }
}

fn argument_column(params: &AggregateFunctionParams) -> Result<Column> {
    match params.args.as_slice() {
        [argument] => match argument.clone().unalias_nested().data {
            Expr::Column(column) => Ok(column),
            _ => Err(not_a_view_column("an expression")),
        },
        _ => Err(refuse("combine takes one column")),
    }
}

/// The template with every output replaced by the merge of its states.
fn merged_value(traced: &Traced, filter: Option<&Expr>, aggr_expr: &mut Vec<Expr>) -> Result<Expr> {
    let mut names = Vec::new();
    for source in &traced.sources {
        let emit = Emit::Value(source.finisher.clone(), source.data_type.clone());
        names.push((source.output.clone(), add_merge(source, emit, &traced.name, filter, aggr_expr)));
    }
    let template = traced.template.clone().transform(|expr| match &expr {
        Expr::Column(column) => match names.iter().find(|(output, _)| *output == column.name) {
            Some((_, name)) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name)))),
            None => Ok(Transformed::no(expr)),
        },
        _ => Ok(Transformed::no(expr)),
    });
    template.data()
}

fn add_merge(
    source: &Source,
    emit: Emit,
    column: &str,
    filter: Option<&Expr>,
    aggr_expr: &mut Vec<Expr>,
) -> String {
    let merge = AggregateUDF::from(MergeStates::new(source.spec.clone(), emit, column.to_owned()));
    let argument = vec![Expr::Column(source.column.clone())];
    let call = AggregateFunction::new_udf(
        Arc::new(merge),
        argument,
        false,
        filter.cloned().map(Box::new),
        vec![],
        None,
    );
    let name = fresh("merged");
    aggr_expr.push(Expr::AggregateFunction(call).alias(&name));
    name
}

/// A column name that no query has.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("${what}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Finds the states behind a column of `plan`, and makes them columns of the plan that comes back.
fn trace(plan: LogicalPlan, column: &Column) -> Result<(LogicalPlan, Traced)> {
    match plan {
        LogicalPlan::Projection(projection) => trace_projection(projection, column),
        LogicalPlan::SubqueryAlias(alias) => trace_alias(alias, column),
        LogicalPlan::Filter(filter) => {
            let (input, traced) = trace(Arc::unwrap_or_clone(filter.input), column)?;
            Ok((LogicalPlan::Filter(Filter::try_new(filter.predicate, Arc::new(input))?), traced))
        }
        LogicalPlan::Sort(sort) => {
            let (input, traced) = trace(Arc::unwrap_or_clone(sort.input), column)?;
            Ok((LogicalPlan::Sort(Sort { input: Arc::new(input), ..sort }), traced))
        }
        LogicalPlan::Limit(limit) => {
            let (input, traced) = trace(Arc::unwrap_or_clone(limit.input), column)?;
            Ok((LogicalPlan::Limit(Limit { input: Arc::new(input), ..limit }), traced))
        }
        LogicalPlan::Window(window) => {
            if !window.input.schema().has_column(column) {
                return Err(not_a_view_column("the result of a window function"));
            }
            let (input, traced) = trace(Arc::unwrap_or_clone(window.input), column)?;
            Ok((LogicalPlan::Window(Window::try_new(window.window_expr, Arc::new(input))?), traced))
        }
        LogicalPlan::Join(join) => trace_join(join, column),
        LogicalPlan::Union(union) => trace_union(union, column),
        LogicalPlan::Aggregate(aggregate) => trace_aggregate(aggregate, column),
        LogicalPlan::Distinct(Distinct::All(_) | Distinct::On(_)) => {
            Err(not_a_view_column("a column behind DISTINCT"))
        }
        LogicalPlan::TableScan(scan) => trace_scan(scan, column),
        _ => Err(not_a_view_column(&format!("column \"{}\"", column.name))),
    }
}

fn trace_projection(projection: Projection, column: &Column) -> Result<(LogicalPlan, Traced)> {
    let at = projection.schema.index_of_column(column)?;
    let expr = projection.expr[at].clone().unalias_nested().data;
    let input = Arc::unwrap_or_clone(projection.input);
    let (input, traced) = match (&expr, view_of(&input)) {
        (_, Some(def)) => {
            let traced = trace_item(&def, &expr, &column.name, &input)?;
            (input, traced)
        }
        (Expr::Column(inner), None) => trace(input, inner)?,
        _ => trace_computed(input, &expr)?,
    };
    let mut items = projection.expr;
    let traced = carry(traced, |source, name| items.push(Expr::Column(source.clone()).alias(name)));
    Ok((LogicalPlan::Projection(Projection::try_new(items, Arc::new(input))?), traced))
}

/// An expression over merged states: one that a `combine` further down made, or an item of a view that merges its groups
/// when it is read.
fn trace_computed(input: LogicalPlan, expr: &Expr) -> Result<(LogicalPlan, Traced)> {
    let columns: Vec<Column> = expr.column_refs().into_iter().cloned().collect();
    // `$merged` by a `combine`, `$0` by a view that merges its groups when it is read.
    let made_here = !columns.is_empty() && columns.iter().all(|c| c.name.starts_with('$'));
    if !made_here {
        return Err(not_a_view_column("an expression"));
    }
    let mut input = input;
    let mut whole = Traced { template: expr.clone(), sources: Vec::new(), name: String::new() };
    for column in columns {
        let (next, traced) = trace(input, &column)?;
        input = next;
        whole.name = traced.name;
        // A merge gives one output; it is known here by the merge's name.
        whole.sources.extend(traced.sources.into_iter().map(|s| Source { output: column.name.clone(), ..s }));
    }
    Ok((input, whole))
}

/// Gives every source a fresh column one level up.
fn carry(mut traced: Traced, mut add: impl FnMut(&Column, &str)) -> Traced {
    for source in &mut traced.sources {
        let name = fresh("state");
        add(&source.column, &name);
        source.column = Column::new_unqualified(name);
    }
    traced
}

/// The view whose groups this plan scans, in the order and under the condition that its definition has.
fn view_of(plan: &LogicalPlan) -> Option<Arc<ViewDef>> {
    let scan = match plan {
        LogicalPlan::TableScan(scan) => scan,
        LogicalPlan::Filter(filter) => return view_of(&filter.input),
        LogicalPlan::Sort(sort) => return view_of(&sort.input),
        LogicalPlan::Limit(limit) => return view_of(&limit.input),
        _ => return None,
    };
    let provider = source_as_provider(&scan.source).ok()?;
    (provider.as_ref() as &dyn Any).downcast_ref::<ViewScan>().map(|view| Arc::clone(view.def()))
}

/// A column of a view's select list.
fn trace_item(def: &ViewDef, expr: &Expr, name: &str, scan: &LogicalPlan) -> Result<Traced> {
    let columns = expr.column_refs();
    if columns.is_empty() || columns.iter().any(|c| def.keys.iter().any(|(key, _)| *key == c.name)) {
        let what =
            if matches!(expr, Expr::Column(_)) { "a group key" } else { "an expression over group keys" };
        return Err(not_a_view_column(&format!("\"{name}\", {what} of \"{}\"", def.name)));
    }
    let mut names: Vec<&String> = columns.iter().map(|c| &c.name).collect();
    names.sort();
    let sources = names.into_iter().map(|output| source_of(def, output, scan));
    Ok(Traced { template: expr.clone(), sources: sources.collect::<Result<_>>()?, name: name.to_owned() })
}

fn source_of(def: &ViewDef, output: &str, scan: &LogicalPlan) -> Result<Source> {
    let found = def.outputs.iter().find(|o| o.name == output);
    let found = found.ok_or_else(|| not_a_view_column(&format!("\"{output}\"")))?;
    let state = scan.schema().index_of_column_by_name(None, &state_column(found.state));
    let state = state.ok_or_else(|| not_a_view_column(&format!("\"{output}\"")))?;
    Ok(Source {
        output: output.to_owned(),
        column: Column::from(scan.schema().qualified_field(state)),
        spec: def.plan.states[usize::from(found.state)].spec.clone(),
        finisher: found.finisher.clone(),
        data_type: found.data_type.clone(),
    })
}

fn trace_scan(scan: TableScan, column: &Column) -> Result<(LogicalPlan, Traced)> {
    Err(not_a_view_column(&format!("column \"{}\" of {}", column.name, scan.table_name)))
}

fn trace_alias(alias: SubqueryAlias, column: &Column) -> Result<(LogicalPlan, Traced)> {
    let at = alias.schema.index_of_column(column)?;
    let inner = Column::from(alias.input.schema().qualified_field(at));
    let (input, mut traced) = trace(Arc::unwrap_or_clone(alias.input), &inner)?;
    for source in &mut traced.sources {
        source.column = Column::new(Some(alias.alias.clone()), &source.column.name);
    }
    Ok((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?), traced))
}

fn trace_join(join: Join, column: &Column) -> Result<(LogicalPlan, Traced)> {
    let (mut left, mut right) = (join.left, join.right);
    let in_left = left.schema().has_column(column);
    let side = if in_left { &mut left } else { &mut right };
    let (input, traced) = trace(Arc::unwrap_or_clone(Arc::clone(side)), column)?;
    *side = Arc::new(input);
    let join = Join::try_new(
        left,
        right,
        join.on,
        join.filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    Ok((LogicalPlan::Join(join), traced))
}

/// Every branch must have the same aggregate there; the states come last in each.
fn trace_union(union: Union, column: &Column) -> Result<(LogicalPlan, Traced)> {
    let at = union.schema.index_of_column(column)?;
    let mut inputs = Vec::new();
    let mut first: Option<Traced> = None;
    for input in union.inputs {
        let columns = input.schema().fields().len();
        let inner = Column::from(input.schema().qualified_field(at));
        let (input, mut traced) = trace(Arc::unwrap_or_clone(input), &inner)?;
        let mut items: Vec<Expr> =
            (0..columns).map(|i| Expr::Column(Column::from(input.schema().qualified_field(i)))).collect();
        let names =
            first.as_ref().map(|f| f.sources.iter().map(|s| s.column.name.clone()).collect::<Vec<_>>());
        for (n, source) in traced.sources.iter_mut().enumerate() {
            let name =
                names.as_ref().and_then(|names| names.get(n).cloned()).unwrap_or_else(|| fresh("state"));
            items.push(Expr::Column(source.column.clone()).alias(&name));
            source.column = Column::new_unqualified(name);
        }
        inputs.push(Arc::new(LogicalPlan::Projection(Projection::try_new(items, Arc::new(input))?)));
        match &first {
            Some(first) if !same_aggregate(first, &traced) => {
                return Err(not_a_view_column("different aggregates in the branches of a UNION"));
            }
            Some(_) => {}
            None => first = Some(traced),
        }
    }
    let traced = first.ok_or_else(|| not_a_view_column("a column of an empty UNION"))?;
    Ok((LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?), traced))
}

fn same_aggregate(a: &Traced, b: &Traced) -> bool {
    let parts =
        |t: &Traced| t.sources.iter().map(|s| (s.spec.clone(), s.finisher.clone())).collect::<Vec<_>>();
    let simple = |t: &Traced| matches!(t.template, Expr::Column(_));
    parts(a) == parts(b) && simple(a) && simple(b)
}

/// A `combine` over a `combine`: the inner one has been rewritten; it gives its merged states too.
fn trace_aggregate(aggregate: Aggregate, column: &Column) -> Result<(LogicalPlan, Traced)> {
    let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let at = aggregate.schema.index_of_column(column)?;
    let call = at
        .checked_sub(groups)
        .and_then(|at| aggregate.aggr_expr.get(at))
        .map(|e| e.clone().unalias_nested().data);
    let Some(Expr::AggregateFunction(call)) = call else {
        return Err(not_a_view_column("a grouping column"));
    };
    let Some(merge) = (call.func.inner().as_ref() as &dyn Any).downcast_ref::<MergeStates>() else {
        return Err(not_a_view_column(&format!("the result of {}", call.func.name())));
    };
    let (Emit::Value(finisher, data_type), [Expr::Column(state)]) =
        (&merge.emit, call.params.args.as_slice())
    else {
        return Err(not_a_view_column("a merged state"));
    };
    let mut source = Source {
        output: column.name.clone(),
        column: state.clone(),
        spec: merge.spec.clone(),
        finisher: finisher.clone(),
        data_type: data_type.clone(),
    };
    let mut aggr_expr = aggregate.aggr_expr.clone();
    let name = add_merge(&source, Emit::State, &merge.column, call.params.filter.as_deref(), &mut aggr_expr);
    source.column = Column::new_unqualified(name);
    let traced =
        Traced { template: Expr::Column(column.clone()), sources: vec![source], name: merge.column.clone() };
    let aggregate = Aggregate::try_new(aggregate.input, aggregate.group_expr, aggr_expr)?;
    Ok((LogicalPlan::Aggregate(aggregate), traced))
}
