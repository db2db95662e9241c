//! `FROM output_of('view')`: what folds change in another view, as rows `old`, `new` and `delta`.
//!
//! Owns: which views have an output, `(new).column`, `old IS NULL`, and `combine((delta).column)`. A column of the view is
//! written out over its keys and outputs, so that folds evaluate it as producers evaluate theirs.

use super::aggregate::Aggregate;
use super::coerce::What;
use super::expr::{Exprs, Layer};
use super::from::From;
use super::function::argument_exprs;
use super::{Kind, missing_view};
use crate::chain::{OutputColumns, Version, is_column_type, output_schema};
use crate::definition::{Output, SelectItem, ViewDef};
use crate::dialect::{DIALECT, parse_expr};
use crate::error::SqlError;
use crate::parse::Name;
use crate::source::CatalogSnapshot;
use crate::suggest::did_you_mean;
use crate::text::{Text, fold, fold_name};
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, Expr, FunctionArg, FunctionArgExpr, Ident, TableFactor, Value as Literal, Visit,
    VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use headwater::ids::ViewId;
use headwater::plan::{BinaryOp, ExprId, Op, StatePlan};
use headwater::schema::StreamSchema;
use headwater::value::{DataType, Value};
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;

/// Views that one after the other read each other's output: each folds after the one before it.
const DEPTH_MAX: usize = 16;

/// What a definition reads.
#[derive(Clone)]
pub(super) enum Relation<'a> {
    /// A stream.
    Stream(&'a StreamSchema),
    /// What changes in a view.
    Output(Arc<OutputOf>),
}

/// A view whose output is read.
pub(super) struct OutputOf {
    pub(super) view: Arc<ViewDef>,
    columns: OutputColumns,
    schema: StreamSchema,
}

impl Relation<'_> {
    pub(super) fn output(&self) -> Option<&Arc<OutputOf>> {
        match self {
            Self::Stream(_) => None,
            Self::Output(output) => Some(output),
        }
    }
}

impl Deref for Relation<'_> {
    type Target = StreamSchema;

    fn deref(&self) -> &StreamSchema {
        match self {
            Self::Stream(schema) => schema,
            Self::Output(output) => &output.schema,
        }
    }
}

/// The view whose output a FROM clause reads, if it is one.
pub(super) fn named(text: &Text, relation: &TableFactor) -> Option<Result<(Name, Option<Ident>), SqlError>> {
    let TableFactor::Table { name, alias, args: Some(args), .. } = relation else { return None };
    let parts = fold_name(name);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if !matches!(parts.as_slice(), ["output_of"] | ["pipelinedb", "output_of"]) {
        return None;
    }
    let at = text.of(relation);
    let wrong = || {
        let message = "output_of takes the name of a continuous view or transform, as text";
        Err(SqlError::new("42601", message).at(at).with_hint("FROM output_of('view')"))
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] = args.args.as_slice() else {
        return Some(wrong());
    };
    let Literal::SingleQuotedString(of) = &value.value else { return Some(wrong()) };
    let parsed = Parser::new(&DIALECT).try_with_sql(of).and_then(|mut p| p.parse_object_name(false));
    let Ok(parts) = parsed.map(|name| fold_name(&name)) else { return Some(wrong()) };
    match parts.as_slice() {
        [name] | [.., name] if parts.len() == 1 || parts[0] == "public" => {
            let position = text.of_span(value.span);
            Some(Ok((Name { name: name.clone(), position }, alias.as_ref().map(|a| a.name.clone()))))
        }
        _ => Some(wrong()),
    }
}

/// Opens the output of a view.
pub(super) fn open<'c>(
    text: &'c Text,
    (name, alias): (Name, Option<Ident>),
    catalog: &'c CatalogSnapshot,
) -> Result<From<'c>, SqlError> {
    let qualifier = alias.map_or_else(|| "output_of".to_owned(), |alias| fold(&alias));
    let view = match catalog.view(&name.name) {
        Some(view) => view,
        None if let Some(transform) = catalog.transform(&name.name) => {
            return super::transform::open(text, transform, qualifier, catalog);
        }
        None if Kind::of(&name.name, catalog) == Some(Kind::Stream) => {
            let message = format!("\"{}\" is a stream, which has no output", name.name);
            return Err(SqlError::new("42809", message)
                .at(name.position)
                .with_hint("read the stream itself"));
        }
        None => return Err(missing_view(&name, catalog)),
    };
    check(view, catalog).map_err(|e| e.at(name.position))?;
    let output =
        OutputOf { view: Arc::clone(view), columns: OutputColumns::of(view), schema: output_schema(view) };
    let stream = Relation::Output(Arc::new(output));
    let exprs = Exprs { text, stream, qualifier, layer: None, nodes: Default::default() };
    Ok(From { exprs, filter: None, through: Vec::new() })
}

/// Refuses the output of views whose rows are made when they are read, and chains that are too long.
fn check(view: &ViewDef, catalog: &CatalogSnapshot) -> Result<(), SqlError> {
    let refused = [
        (view.window().is_some(), "a sliding window", "rows leave it as time passes, which no fold sees"),
        (view.grouping_sets().is_some(), "a view with grouping sets", "they are made when it is read"),
        (
            view.having().is_some(),
            "a view with HAVING",
            "it is applied when the view is read: use WHERE here",
        ),
    ];
    if let Some((_, what, why)) = refused.into_iter().find(|(is, ..)| *is) {
        return Err(SqlError::unsupported(format!("the output of {what}")).with_hint(why));
    }
    if sources(view, catalog).count() >= DEPTH_MAX {
        let message = format!("more than {DEPTH_MAX} views read each other's output");
        return Err(SqlError::new("54001", message));
    }
    Ok(())
}

/// A view and those whose output it reads, from near to far.
fn sources<'c>(view: &'c ViewDef, catalog: &'c CatalogSnapshot) -> impl Iterator<Item = &'c ViewDef> {
    let next = |view: &&'c ViewDef| {
        let of = view.chained()?.source;
        catalog.views.iter().find(|v| v.id == of).map(|v| &**v)
    };
    std::iter::successors(Some(view), next)
}

/// `42P17`: a view that is replaced would read its own output.
pub(super) fn check_cycle(
    def: &ViewDef,
    replaced: ViewId,
    catalog: &CatalogSnapshot,
) -> Result<(), SqlError> {
    let Some(at) = sources(def, catalog).skip(1).position(|view| view.id == replaced) else { return Ok(()) };
    let mut names: Vec<&str> = sources(def, catalog).map(|view| view.name.as_str()).take(at + 1).collect();
    names.push(&def.name);
    let message = format!("view \"{}\" would read its own output: {}", def.name, names.join(" <- "));
    Err(SqlError::new("42P17", message))
}

impl OutputOf {
    /// `(new).column`: which row, and which column of the view.
    fn item(
        &self,
        text: &Text,
        root: &Expr,
        chain: &[AccessExpr],
    ) -> Result<(Version, &SelectItem), SqlError> {
        let at = text.of(root);
        let Some(version) = version(root) else {
            let message = "only the rows old, new and delta have columns here";
            return Err(SqlError::new("42P01", message).at(at).with_hint("(new).column"));
        };
        let [AccessExpr::Dot(Expr::Identifier(ident))] = chain else {
            return Err(SqlError::unsupported("access to a field or element of a column").at(at));
        };
        let name = fold(ident);
        let found = self.view.select.iter().find(|item| item.name == name);
        let item = found.ok_or_else(|| {
            let message = format!("column \"{name}\" does not exist in view \"{}\"", self.view.name);
            let hint = did_you_mean(&name, self.view.select.iter().map(|item| item.name.as_str()));
            SqlError::new("42703", message).at(text.of_ident(ident)).with_hint_opt(hint)
        })?;
        Ok((version, item))
    }
}

/// The row that `new`, `(new)` and their kind name.
fn version(expr: &Expr) -> Option<Version> {
    match expr {
        Expr::Nested(inner) => version(inner),
        Expr::Identifier(ident) => match fold(ident).as_str() {
            "old" => Some(Version::Old),
            "new" => Some(Version::New),
            "delta" => Some(Version::Delta),
            _ => None,
        },
        _ => None,
    }
}

/// A select item of a view, as syntax.
fn parsed(item: &SelectItem) -> Result<Expr, SqlError> {
    let parsed = parse_expr(&item.expr);
    parsed.map_err(|e| SqlError::new("XX000", format!("column \"{}\" cannot be read: {e}", item.name)))
}

/// The names that an expression reads.
fn names(expr: &Expr) -> Vec<String> {
    struct Names(Vec<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Identifier(ident) = expr {
                self.0.push(fold(ident));
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(Vec::new());
    let _ = expr.visit(&mut names);
    names.0
}

impl Exprs<'_> {
    /// The output that is read here, where no subselect lies between.
    fn output_here(&self) -> Option<Arc<OutputOf>> {
        self.stream.output().filter(|_| self.layer.is_none()).cloned()
    }

    /// `(row).column`; `None` where nothing has rows.
    pub(super) fn field(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Option<What>, SqlError> {
        let Some(output) = self.output_here() else { return Ok(None) };
        let at = self.text.of(root);
        let (version, item) = output.item(self.text, root, chain)?;
        let expr = parsed(item)?;
        self.layer = Some(self.columns_of(&output, version, &expr).map_err(|e| e.at(at))?);
        let compiled = self.any(&expr);
        self.layer = None;
        let (id, data_type) = compiled.map_err(|e| SqlError { position: at, ..e })?;
        let id = match version {
            Version::Old => {
                let existed = self.nodes.push(Op::Column(output.columns.existed()), DataType::Bool)?;
                let op = Op::Case { branches: vec![(existed, id)], otherwise: None };
                self.nodes.push(op, data_type.clone())?
            }
            _ => id,
        };
        Ok(Some(What::Node(id, data_type)))
    }

    /// Keys and outputs of one version, as far as `expr` names them.
    fn columns_of(&mut self, output: &OutputOf, version: Version, expr: &Expr) -> Result<Layer, SqlError> {
        let names = names(expr);
        let (view, columns) = (&output.view, output.columns);
        let mut layer = Vec::new();
        let keys = view.keys.iter().enumerate().map(|(at, key)| (&key.0, columns.key(at), &key.1));
        let outputs = view.outputs.iter().enumerate();
        let outputs = outputs.map(|(at, o)| (&o.name, columns.output(version, at), &o.data_type));
        for (name, column, data_type) in keys.chain(outputs).filter(|(name, ..)| names.contains(name)) {
            if !is_column_type(data_type) {
                let error = SqlError::unsupported("a list or record of another view's output");
                return Err(error.with_hint("combine((delta).column) merges what it is made of"));
            }
            let id = self.nodes.push(Op::Column(column), data_type.clone())?;
            layer.push((name.clone(), id, data_type.clone()));
        }
        Ok(Layer(layer))
    }

    /// `old IS NOT NULL`, as whether that row is there; `None` for everything that is no row.
    pub(super) fn row_exists(&mut self, row: &Expr) -> Result<Option<ExprId>, SqlError> {
        let Some((output, version)) = self.output_here().zip(version(row)) else { return Ok(None) };
        let op = match version {
            Version::Old => Op::Column(output.columns.existed()),
            Version::New | Version::Delta => Op::Literal(Value::Bool(true)),
        };
        self.nodes.push(op, DataType::Bool).map(Some)
    }

    /// `42803`: a column of a row that is neither grouped by nor aggregated.
    pub(super) fn not_grouped(&mut self, expr: &Expr) -> SqlError {
        if let Err(error) = self.any(expr) {
            return error;
        }
        let message =
            format!("\"{expr}\" must appear in the GROUP BY clause or be used in an aggregate function");
        SqlError::new("42803", message).at(self.text.of(expr))
    }
}

/// `combine((delta).column)`: what the column is made of, merged.
pub(super) struct Combined {
    /// The column over names of the source's outputs.
    pub(super) expr: Expr,
    /// Those outputs: name, the source's state, and the aggregate that merges it here.
    pub(super) aggregates: Vec<(String, u16, Aggregate)>,
}

/// Compiles `combine((delta).column)`.
pub(super) fn combine(exprs: &mut Exprs<'_>, f: &ast::Function) -> Result<Combined, SqlError> {
    let at = exprs.text.of(&f.name);
    let usage = |message: &str| {
        let hint = "combine((delta).column) merges what was merged into the groups of the other view";
        SqlError::new("42809", message).at(at).with_hint(hint)
    };
    if f.filter.is_some() || f.over.is_some() || !f.within_group.is_empty() {
        let what = "FILTER, OVER or WITHIN GROUP of combine in a definition";
        return Err(SqlError::unsupported(what)
            .at(at)
            .with_hint("a condition in WHERE belongs to the whole view"));
    }
    let args = argument_exprs(&f.args, "combine")?;
    let ([Expr::CompoundFieldAccess { root, access_chain }], Some(output)) =
        (args.as_slice(), exprs.output_here())
    else {
        return Err(usage("combine takes a column of delta here"));
    };
    let (version, item) = output.item(exprs.text, root, access_chain)?;
    if version != Version::Delta {
        return Err(usage("combine of old or new would count events again"));
    }
    let expr = parsed(item)?;
    let view = &output.view;
    let names = names(&expr);
    if view.keys.iter().any(|(key, _)| names.contains(key)) {
        return Err(usage("combine takes columns that are aggregates"));
    }
    let outputs: Vec<&Output> = view.outputs.iter().filter(|o| names.contains(&o.name)).collect();
    if outputs.is_empty() {
        return Err(usage("combine takes columns that are aggregates"));
    }
    let merged = |o: &Output| Ok((o.name.clone(), o.state, merging(exprs, view, o)?));
    let aggregates = outputs.into_iter().map(merged).collect::<Result<Vec<_>, SqlError>>()?;
    Ok(Combined { expr, aggregates })
}

/// A state that takes no row: the fold merges the source's deltas into it. Its condition is never true, and tells it from
/// a state of the same kind that merges another one.
fn merging(exprs: &mut Exprs<'_>, view: &ViewDef, output: &Output) -> Result<Aggregate, SqlError> {
    let state = &view.plan.states[usize::from(output.state)];
    let mut args = Vec::new();
    for arg in &state.args {
        let data_type = view.plan.nodes[usize::from(arg.0)].data_type.clone();
        args.push(exprs.nodes.push(Op::Literal(Value::Null), data_type)?);
    }
    let number = Op::Literal(Value::Int(output.state.into()));
    let number = exprs.nodes.push(number, DataType::Int64)?;
    let none = exprs.nodes.push(Op::Literal(Value::Int(-1)), DataType::Int64)?;
    let never = exprs.nodes.push(Op::Binary(BinaryOp::Eq, number, none), DataType::Bool)?;
    let state = StatePlan { spec: state.spec.clone(), args, filter: Some(never) };
    Ok(Aggregate { state, finisher: output.finisher.clone(), data_type: output.data_type.clone() })
}

/// Names of the source's outputs, replaced by this view's.
pub(super) struct Renamed<'n>(pub(super) &'n [(String, String)]);

impl VisitorMut for Renamed<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr {
            let name = fold(ident);
            if let Some((_, mine)) = self.0.iter().find(|(theirs, _)| *theirs == name) {
                *expr = Expr::Identifier(Ident::with_quote('"', mine));
            }
        }
        ControlFlow::Continue(())
    }
}

impl Combined {
    /// The column over this view's outputs.
    pub(super) fn renamed(mut self, names: &[(String, String)]) -> Expr {
        let _ = VisitMut::visit(&mut self.expr, &mut Renamed(names));
        match self.expr {
            name @ Expr::Identifier(_) => name,
            other => Expr::Nested(Box::new(other)),
        }
    }
}
