//! The DataFusion session behind every query, and the small rewrites that make its SQL PostgreSQL's.

use super::agreeing::{self, Agreeing};
use super::bytes::{Counted, RefuseTexts};
use super::canonical::MakeCanonical;
use super::casts;
use super::checked::CheckArithmetic;
use super::clauses;
use super::forms;
use super::frames::PrepareWindows;
use super::intervals::{CompareIntervals, SortWindows};
use super::limited::{self, LimitFunctions};
use super::literals::{ReadLiterals, Types};
use super::merged;
use super::micros::Microseconds;
use super::names::{self, Role};
use super::nulls::TellNulls;
use super::operands::CastOperands;
use super::planned::Operators;
use super::quotient::DivideNumerics;
use super::regexes::CompileOneByOne;
use super::rounding::Round;
use super::setops::AgreeInSets;
use super::sizes::CheckSizes;
use super::wildcards::CheckWildcards;
use super::{
    collected, combine, exports, guard, operators, patterns, pg, postgres, records, series, sketch, states,
    sums, times, unions,
};
use crate::error::SqlError;
use crate::text::{Text, fold};
use crate::types::parse_type;
use crate::units;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::config::{ConfigOptions, Dialect};
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, LogicalPlan, ScalarUDF};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast::{self, Expr, ObjectName, Spanned, VisitMut, VisitorMut};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The catalog that holds everything; names never need it.
pub(super) const CATALOG: &str = "headwater";
/// The schema of views.
pub(super) const SCHEMA: &str = "public";

/// A session with all functions and no tables.
pub(super) fn base_state(batch_rows: usize) -> SessionState {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        // Answers are small and many run at once: one thread each, no exchange between partitions.
        .with_target_partitions(1)
        .with_batch_size(batch_rows);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    // Scans cannot use them, and plans that have none can run again (see `plans`).
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    let mut state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_optimizer_rules(between(optimizer_rules(), || Arc::new(Stop)))
        .with_physical_optimizer_rules(between(physical_rules(), || Arc::new(Stop)))
        .with_analyzer_rules(analyzer_rules())
        .with_expr_planners(expr_planners())
        .with_type_planner(Arc::new(Types))
        .with_analyzer_rule(Arc::new(CompareIntervals))
        .with_analyzer_rule(Arc::new(CheckSizes))
        .with_analyzer_rule(Arc::new(LimitFunctions))
        .with_analyzer_rule(Arc::new(CheckArithmetic))
        .with_analyzer_rule(Arc::new(PrepareWindows))
        .with_analyzer_rule(Arc::new(MakeCanonical))
        .with_analyzer_rule(Arc::new(TellNulls))
        .with_analyzer_rule(Arc::new(CheckWildcards))
        .with_analyzer_rule(Arc::new(CompileOneByOne))
        .build();
    register(&mut state);
    state
}

/// DataFusion's, behind what has to see literals before they are coerced; and before types are made to agree, which its
/// last one does, what has to see theirs.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    let last = rules.len().saturating_sub(1);
    let early: [Arc<dyn AnalyzerRule + Send + Sync>; 4] =
        [Arc::new(CastOperands), Arc::new(DivideNumerics), Arc::new(Round), Arc::new(SortWindows)];
    rules.splice(last..last, early);
    // What set operations make agree has its type by then; what they make of it is an operand, too.
    let first: [Arc<dyn AnalyzerRule + Send + Sync>; 4] =
        [Arc::new(ReadLiterals), Arc::new(CastOperands), Arc::new(AgreeInSets), Arc::new(Microseconds)];
    rules.splice(0..0, first);
    rules.push(Arc::new(Microseconds));
    rules.push(Arc::new(RefuseTexts));
    rules
}

/// DataFusion's, behind ours.
fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(Operators)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}

/// DataFusion's, but the one that calculates what expressions share before them: for all rows, whatever guards them.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    rules.retain(|rule| rule.name() != "common_sub_expression_eliminate");
    rules
}

/// DataFusion's, but those that move filters through projections by the names of columns, of which two tables may have the
/// same. Nothing here takes filters: views and tables are read by ranges of their keys.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| !rule.name().starts_with("FilterPushdown"));
    rules
}

/// Every rule, and a stop behind each.
fn between<R: ?Sized>(rules: Vec<Arc<R>>, stop: impl Fn() -> Arc<R>) -> Vec<Arc<R>> {
    rules.into_iter().flat_map(|rule| [rule, stop()]).collect()
}

/// A rule that changes nothing, and ends planning when the statement's time is over.
#[derive(Debug)]
struct Stop;

impl OptimizerRule for Stop {
    fn name(&self) -> &str {
        "stop"
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        guard::check().map(|()| Transformed::no(plan))
    }
}

impl PhysicalOptimizerRule for Stop {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        guard::check().map(|()| plan)
    }

    fn name(&self) -> &str {
        "stop"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn register(state: &mut SessionState) {
    use datafusion::execution::FunctionRegistry;
    for name in crate::functions::ARROW {
        let _ = state.deregister_udf(name);
    }
    for function in combine::Combine::all() {
        // Registration fails only for planners that refuse it; the default one does not.
        let _ = state.register_udaf(Arc::new(AggregateUDF::from(function)));
    }
    for function in unions::aggregates() {
        let _ = state.register_udaf(Arc::new(AggregateUDF::from(function)));
    }
    for function in states::functions() {
        let _ = state.register_udf(Arc::new(ScalarUDF::from(function)));
    }
    let _ = state.register_udf(Arc::new(ScalarUDF::from(exports::ToDatasketches::new())));
    for function in records::functions() {
        let _ = state.register_udf(Arc::new(ScalarUDF::from(function)));
    }
    for function in sketch::functions() {
        let _ = state.register_udf(Arc::new(ScalarUDF::from(function)));
    }
    for function in postgres::functions() {
        let _ = state.register_udf(Arc::new(ScalarUDF::from(function)));
    }
    for name in collected::NAMES {
        if let Ok(inner) = state.udaf(name) {
            let _ = state.register_udaf(Arc::new(AggregateUDF::from(collected::Collected::new(inner))));
        }
    }
    if let Ok(inner) = state.udaf(sums::NAME) {
        let _ = state.register_udaf(Arc::new(AggregateUDF::from(sums::Exact::new(inner))));
    }
    let _ = state.register_udf(Arc::new(ScalarUDF::from(casts::Named::default())));
    for name in agreeing::NAMES {
        if let Ok(inner) = state.udf(name) {
            let _ = state.register_udf(Arc::new(ScalarUDF::from(Agreeing::new(inner))));
        }
    }
    let functions: Vec<Arc<ScalarUDF>> = state.scalar_functions().values().cloned().collect();
    for function in functions {
        let _ = state.register_udf(limited::limit(&function));
    }
    // Last: functions that were registered again have brought their other names with them.
    for name in ["length", "octet_length"] {
        if let Ok(inner) = state.udf(name) {
            let _ = state.register_udf(Arc::new(ScalarUDF::from(Counted::new(name, inner))));
        }
    }
    for function in times::functions() {
        let _ = state.register_udf(Arc::new(ScalarUDF::from(function)));
    }
    for name in series::NAMES {
        if let Some(table) = state.table_functions().get(name) {
            let series = series::Series::new(Arc::clone(table.function()));
            state.register_udtf(name, Arc::new(series));
        }
    }
}

/// What becomes of parameters without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placeholders {
    /// They are an error.
    Refused,
    /// They stay: the statement is planned, not run.
    Stay,
}

/// The query with its columns named, schema names of functions (`pipelinedb.`, `pg_catalog.`) stripped, interval literals spelled as
/// Arrow reads them, parameters refused.
pub(super) fn prepare(
    query: &ast::Query,
    text: &Text,
    placeholders: Placeholders,
) -> std::result::Result<ast::Query, SqlError> {
    let mut query = query.clone();
    pg::spell(&mut query, text);
    let mut visitor = Prepare { text, depth: 0, copies: 0, placeholders };
    if let ControlFlow::Break(error) = VisitMut::visit(&mut query, &mut visitor) {
        return Err(error);
    }
    match operators::find_row(&query) {
        Some(row) => Err(SqlError::unsupported("a row as a value").at(text.of(&row))),
        None => Ok(query),
    }
}

struct Prepare<'a> {
    text: &'a Text,
    /// Queries around the one at hand.
    depth: usize,
    /// Nodes that comparisons of rows have added.
    copies: usize,
    placeholders: Placeholders,
}

impl Prepare<'_> {
    fn refuse(&self, what: &str, at: &impl Spanned, hint: &str) -> ControlFlow<SqlError> {
        ControlFlow::Break(SqlError::unsupported(what).at(self.text.of(at)).with_hint(hint))
    }
}

impl VisitorMut for Prepare<'_> {
    type Break = SqlError;

    /// DataFusion would leave the sample out and read everything.
    fn pre_visit_table_factor(&mut self, table: &mut ast::TableFactor) -> ControlFlow<SqlError> {
        match table {
            ast::TableFactor::Table { sample: Some(_), .. } => {
                self.refuse("TABLESAMPLE", table, "a condition on random() takes a sample")
            }
            table => {
                forms::table(table);
                ControlFlow::Continue(())
            }
        }
    }

    /// Columns get their names; FETCH FIRST n ROWS ONLY is LIMIT n.
    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<SqlError> {
        let role = if self.depth == 0 { Role::Answer } else { Role::Subquery };
        self.depth += 1;
        let checked = clauses::check_query(query, self.text);
        if let Err(error) = checked.and_then(|()| names::name_columns(query, role, self.text)) {
            return ControlFlow::Break(error);
        }
        casts::tell_apart(query);
        if let Some(ast::Fetch { with_ties: true, .. } | ast::Fetch { percent: true, .. }) = &query.fetch {
            return self.refuse("FETCH WITH TIES or PERCENT", query, "rank() OVER (ORDER BY ...) finds ties");
        }
        let Some(ast::Fetch { with_ties: false, percent: false, quantity }) = &query.fetch else {
            return ControlFlow::Continue(());
        };
        let rows = quantity.clone().unwrap_or_else(|| {
            let one = ast::Value::Number("1".into(), false);
            Expr::Value(one.with_span(datafusion::sql::sqlparser::tokenizer::Span::empty()))
        });
        match &mut query.limit_clause {
            Some(ast::LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
            Some(_) => return ControlFlow::Continue(()),
            clause @ None => {
                let limit = Some(rows);
                *clause = Some(ast::LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() });
            }
        }
        query.fetch = None;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    /// Views are found without their schema, and then `view.*` is, too.
    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<SqlError> {
        let is_public = |part: &ast::ObjectNamePart| part.as_ident().is_some_and(|i| fold(i) == SCHEMA);
        if name.0.len() == 2 && is_public(&name.0[0]) {
            name.0.remove(0);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<SqlError> {
        operators::flatten_groups(select);
        merged::qualify(select);
        let conditions = forms::conditions(select).map_err(|error| error.at(self.text.of(&*select)));
        match conditions.and_then(|()| clauses::check_select(select, self.text)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match operators::read(expr, &mut self.copies) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error.at(self.text.of(expr))),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        clauses::plain_literal(expr);
        if let Err(error) = clauses::check_expr(expr, self.text) {
            return ControlFlow::Break(error);
        }
        if let Err(error) = forms::expression(expr) {
            return ControlFlow::Break(error.at(self.text.of(expr)));
        }
        match expr {
            Expr::Function(function) => return self.spell_call(function),
            Expr::Extract { .. } => return self.spell_field(expr),
            Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } if matches!(**expr, Expr::Interval(_)) => {
                // DataFusion would put the sign before the literal's text, where it is its first part's alone.
                let inner = std::mem::replace(expr.as_mut(), Expr::Value(ast::Value::Null.into()));
                **expr = Expr::Nested(Box::new(inner));
            }
            Expr::Interval(interval) if interval.leading_field.is_none() => spell(&mut interval.value),
            Expr::Cast { expr, data_type: ast::DataType::Interval { .. }, .. } => spell(expr),
            _ => return self.check(expr),
        }
        ControlFlow::Continue(())
    }
}

impl Prepare<'_> {
    fn spell_call(&self, function: &mut ast::Function) -> ControlFlow<SqlError> {
        if function.name.to_string().eq_ignore_ascii_case("not") {
            // The parser's own limit ended within, and it went on with another meaning.
            let error = SqlError::new("54001", "statement is nested too deeply");
            return ControlFlow::Break(error.at(self.text.of(&*function)));
        }
        strip_schema(&mut function.name);
        rename(&mut function.name);
        match spell_unit(function, self.text).and_then(|()| spell_pattern(function, self.text)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn spell_field(&self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let Expr::Extract { field, .. } = expr else { return ControlFlow::Continue(()) };
        let name = field.to_string();
        match units::field(&name) {
            Some(known @ ("decade" | "century" | "millennium" | "julian")) => {
                self.refuse(&format!("extract({known})"), expr, "compute it from extract(year FROM ...)")
            }
            Some(known) => {
                *field = ast::DateTimeField::Custom(ast::Ident::new(known));
                ControlFlow::Continue(())
            }
            None => {
                let error = units::unknown(&name.to_lowercase());
                ControlFlow::Break(error.at(self.text.of(expr)))
            }
        }
    }

    /// Refuses what DataFusion would not do, or not as PostgreSQL does.
    fn check(&self, expr: &Expr) -> ControlFlow<SqlError> {
        match expr {
            Expr::Cast { data_type: data_type @ ast::DataType::Custom(name, _), .. } => parse_type(data_type)
                .map_or_else(
                    |error| ControlFlow::Break(error.at(self.text.of(name))),
                    |_| ControlFlow::Continue(()),
                ),
            Expr::Cast { expr, data_type: ast::DataType::JSON | ast::DataType::JSONB, .. } => {
                let hint = "answers are JSON where HTTP asks for it; rows need no cast";
                self.refuse("json", expr.as_ref(), hint)
            }
            Expr::Collate { .. } => self.refuse("COLLATE", expr, "text sorts by its bytes"),
            Expr::BinaryOp {
                left,
                op: ast::BinaryOperator::Multiply | ast::BinaryOperator::Divide,
                right,
            } if is_interval(left) || is_interval(right) => {
                let hint = "write the interval out: interval '36 hours', or make it of a column: (n || ' minutes')::interval";
                self.refuse("multiplication or division of an interval", expr, hint)
            }
            Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), span })
                if self.placeholders == Placeholders::Refused =>
            {
                let error = SqlError::unsupported(format!("parameter {name}"));
                ControlFlow::Break(error.at(self.text.of_span(*span)))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Rewrites an expression of a definition, which is no statement, as those of queries are.
///
/// # Errors
/// What DataFusion has not, or would do otherwise.
pub(super) fn spell_expression(expr: &mut Expr, text: &Text) -> std::result::Result<(), SqlError> {
    struct Spell<'a>(&'a Text);
    impl VisitorMut for Spell<'_> {
        type Break = SqlError;

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
            let spelled = forms::expression(expr).and_then(|()| match expr {
                Expr::Function(call) => {
                    strip_schema(&mut call.name);
                    rename(&mut call.name);
                    spell_unit(call, self.0).and_then(|()| spell_pattern(call, self.0))
                }
                _ => Ok(()),
            });
            spelled.map_or_else(ControlFlow::Break, ControlFlow::Continue)
        }
    }
    match VisitMut::visit(expr, &mut Spell(text)) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// PostgreSQL's many names of a unit, as the one that DataFusion has.
fn spell_unit(function: &mut ast::Function, text: &Text) -> std::result::Result<(), SqlError> {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold);
    let is_trunc = match name.as_deref() {
        Some("date_trunc") => true,
        Some("date_part") => false,
        _ => return Ok(()),
    };
    let ast::FunctionArguments::List(args) = &mut function.args else { return Ok(()) };
    let Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Value(value)))) =
        args.args.first_mut()
    else {
        return Ok(());
    };
    let at = text.of_span(value.span);
    if let ast::Value::SingleQuotedString(unit) = &mut value.value {
        let known = if is_trunc { units::unit(unit) } else { units::field(unit) };
        let known = known.ok_or_else(|| units::unknown(unit).at(at))?;
        if is_trunc && ["decade", "century", "millennium"].contains(&known) {
            function.name = ObjectName::from(vec![ast::Ident::new(postgres::TRUNC_YEARS)]);
        }
        // Its date_trunc knows these two in the singular only.
        *unit = if is_trunc { known.trim_end_matches("seconds").to_owned() } else { known.to_owned() };
        if is_trunc && known.ends_with("seconds") {
            unit.push_str("second");
        }
    }
    Ok(())
}

/// PostgreSQL's patterns of times, as DataFusion has them.
fn spell_pattern(function: &mut ast::Function, text: &Text) -> std::result::Result<(), SqlError> {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(fold);
    let Some(name @ ("to_char" | "to_date" | "to_timestamp")) = name.as_deref() else { return Ok(()) };
    let ast::FunctionArguments::List(args) = &mut function.args else { return Ok(()) };
    let Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Value(value)))) =
        args.args.get_mut(1)
    else {
        return Ok(());
    };
    let at = text.of_span(value.span);
    if let ast::Value::SingleQuotedString(pattern) = &mut value.value {
        let known = patterns::translate(pattern).map_err(|part| {
            SqlError::unsupported(format!("\"{part}\" in a pattern of {name}"))
                .at(at)
                .with_hint("YYYY MM DD HH24 MI SS MS US Mon Month Dy Day, or chrono's %Y-%m-%d")
        })?;
        *pattern = known;
    }
    Ok(())
}

/// An interval by its spelling.
fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_interval(inner),
        Expr::Interval(_) | Expr::Cast { data_type: ast::DataType::Interval { .. }, .. } => true,
        _ => false,
    }
}

/// `1 day 02:30:00` in words.
fn spell(literal: &mut Expr) {
    if let Expr::Value(value) = literal
        && let ast::Value::SingleQuotedString(text) = &mut value.value
    {
        *text = crate::convert::spell_interval(text);
    }
}

/// PostgreSQL's names of functions that DataFusion has under another.
fn rename(name: &mut ObjectName) {
    let [ast::ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice() else { return };
    let known = match fold(ident).as_str() {
        "sign" => "signum",
        "ceiling" => "ceil",
        "every" => "bool_and",
        // Its own of these names stop at the first.
        "array_remove" => "array_remove_all",
        "array_replace" => "array_replace_all",
        // Arrays begin at 1.
        "array_upper" => "array_length",
        _ => return,
    };
    ident.value = known.into();
}

fn strip_schema(name: &mut ObjectName) {
    let known = |part: &ast::ObjectNamePart| {
        part.as_ident().is_some_and(|i| ["pipelinedb", "pg_catalog"].contains(&fold(i).as_str()))
    };
    if name.0.len() == 2 && known(&name.0[0]) {
        name.0.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::OWN;

    /// What is listed for clients is there, and explained.
    #[test]
    fn functions_of_our_own_exist_and_are_documented() {
        let state = base_state(64);
        let page = include_str!("../../SQL.md");
        for own in OWN {
            let is_there = match own.is_aggregate {
                true => state.aggregate_functions().contains_key(own.name),
                false => state.scalar_functions().contains_key(own.name),
            };
            assert!(is_there, "{} is listed and not there", own.name);
            assert!(page.contains(&format!("`{}", own.name)), "{} is not in SQL.md", own.name);
        }
    }
}
