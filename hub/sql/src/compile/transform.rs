//! `CREATE CONTINUOUS TRANSFORM`, and `FROM output_of('transform')`.
//!
//! Owns: the expressions of a transform as the keys of a plan without states. Must not know: how plans are put together for
//! the views of other streams ([`crate::transform`]).

use super::coerce::{Typed, What};
use super::expr::{Exprs, Layer};
use super::from::{self, From};
use super::output::Relation;
use super::select::find_aggregate;
use super::{Kind, check_free, missing_stream};
use crate::definition::{Attribute, Ddl, SelectItem, ViewDef};
use crate::error::SqlError;
use crate::parse::{CreateView, Name};
use crate::source::CatalogSnapshot;
use crate::text::{Text, quote};
use crate::types::type_name;
use datafusion::sql::sqlparser::ast::{self, Select};
use headwater::ids::{StreamId, ViewId};
use headwater::plan::{ExprId, KEYS_MAX, Op};
use headwater::schema::StreamSchema;
use headwater::value::{DataType, Value};
use std::sync::Arc;

type Columns = Vec<(String, ExprId, DataType)>;

/// Compiles CREATE CONTINUOUS TRANSFORM.
pub(super) fn create(create: &CreateView, text: &Text, catalog: &CatalogSnapshot) -> Result<Ddl, SqlError> {
    check_free(&create.name, create.if_not_exists, catalog, Kind::Transform)?;
    if let Some(option) = create.options.first() {
        let message = format!("option \"{}\" of a continuous transform", option.name.name);
        return Err(SqlError::new("22023", message).at(option.name.position).with_hint("it keeps nothing"));
    }
    let plain = from::plain_select(text, &create.query)?;
    let at = text.of_span(plain.select.select_token.0.span);
    if plain.distinct || plain.order_by.is_some() {
        return Err(refused("DISTINCT or ORDER BY").at(at));
    }
    check_plain(plain.select).map_err(|e| e.at(at))?;
    let mut from = from::open(text, plain.select, catalog)?;
    if from.exprs.stream.output().is_some() {
        let error = SqlError::unsupported("a continuous transform of a view's output");
        return Err(error
            .at(at)
            .with_hint("a view can read it: CREATE CONTINUOUS VIEW ... FROM output_of('view')"));
    }
    if let Some(condition) = &plain.select.selection {
        from.require_where(condition)?;
    }
    let mut columns = columns(&mut from.exprs, plain.select)?;
    let targets = targets(create, &from.exprs.stream, catalog)?;
    check_alike(&targets)?;
    for (schema, at) in &targets {
        fit(&mut from.exprs, &mut columns, schema).map_err(|e| e.at(*at))?;
    }
    let targets = targets.iter().map(|(schema, _)| schema.id).collect();
    let def = assemble(create, from, columns, targets)?;
    Ok(Ddl::CreateView { def: Box::new(def), if_not_exists: create.if_not_exists })
}

fn refused(what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} in a continuous transform"))
        .with_hint("it chooses, computes and filters columns; aggregate in a view over its output")
}

fn check_plain(select: &Select) -> Result<(), SqlError> {
    let is_grouped = match &select.group_by {
        ast::GroupByExpr::Expressions(list, modifiers) => !list.is_empty() || !modifiers.is_empty(),
        ast::GroupByExpr::All(_) => true,
    };
    if is_grouped || select.having.is_some() {
        return Err(refused("GROUP BY or HAVING"));
    }
    Ok(())
}

/// What it makes: names, expressions, types.
fn columns(exprs: &mut Exprs<'_>, select: &Select) -> Result<Columns, SqlError> {
    let mut columns: Columns = Vec::new();
    for item in &select.projection {
        let at = exprs.text.of(item);
        if let ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. } = item
            && let Some(name) = find_aggregate(expr)
        {
            return Err(refused("an aggregate").at(exprs.text.of(&name)));
        }
        let before = columns.len();
        from::item_columns(exprs, item, &mut columns).map_err(|e| e.at(at))?;
        for place in before..columns.len() {
            let name = &columns[place].0;
            if columns[..place].iter().any(|other| other.0 == *name) {
                let message = format!("column \"{name}\" appears twice in the select list");
                return Err(SqlError::new("42701", message).at(at).with_hint("name one of them with AS"));
            }
        }
    }
    if columns.len() > KEYS_MAX {
        return Err(SqlError::new("54011", format!("a continuous transform has at most {KEYS_MAX} columns")));
    }
    Ok(columns)
}

/// The streams that are fed, none of them above the one that is read.
fn targets<'c>(
    create: &CreateView,
    stream: &StreamSchema,
    catalog: &'c CatalogSnapshot,
) -> Result<Vec<(&'c StreamSchema, Option<u32>)>, SqlError> {
    let above = catalog.feeds().above(stream.id);
    let find = |name: &Name| {
        let target = catalog.stream(&name.name).ok_or_else(|| missing_stream(name, catalog))?;
        if above.contains(&target.schema.id) {
            let message = format!(
                "transform \"{}\" would feed stream \"{}\" with what comes of it",
                create.name.name, name.name
            );
            return Err(SqlError::new("42P17", message).at(name.position));
        }
        Ok((&target.schema, name.position))
    };
    create.transform.iter().flatten().map(find).collect()
}

/// A transform has one list of columns.
fn check_alike(targets: &[(&StreamSchema, Option<u32>)]) -> Result<(), SqlError> {
    let types = |schema: &StreamSchema| schema.fields.iter().map(|f| f.data_type.clone()).collect::<Vec<_>>();
    let Some(((first, _), rest)) = targets.split_first() else { return Ok(()) };
    match rest.iter().find(|(schema, _)| types(schema) != types(first)) {
        Some((_, at)) => {
            Err(SqlError::unsupported("a continuous transform into streams of different columns")
                .at(*at)
                .with_hint("CREATE one for each of them"))
        }
        None => Ok(()),
    }
}

/// Casts columns to those of a stream, as INSERT would.
fn fit(exprs: &mut Exprs<'_>, columns: &mut Columns, schema: &StreamSchema) -> Result<(), SqlError> {
    if columns.len() != schema.fields.len() {
        let (has, wants) = (columns.len(), schema.fields.len());
        let message = format!("stream \"{}\" has {wants} columns, the transform {has}", schema.name);
        return Err(SqlError::new("42601", message)
            .with_hint("every column by its place; NULL for what there is not"));
    }
    for ((name, id, data_type), field) in columns.iter_mut().zip(&schema.fields) {
        let fitted = assigned(exprs, (*id, data_type), &field.data_type);
        *id = fitted.map_err(|e| {
            let (from, to) = (type_name(data_type), type_name(&field.data_type));
            let (column, stream) = (&field.name, &schema.name);
            let message = format!(
                "column \"{name}\" is {from}, but column \"{column}\" of stream \"{stream}\" is {to}"
            );
            SqlError { message, ..e }
        })?;
        *data_type = field.data_type.clone();
    }
    Ok(())
}

/// As INSERT assigns: among numbers and among times, and whatever is implicit.
fn assigned(
    exprs: &mut Exprs<'_>,
    (id, from): (ExprId, &DataType),
    to: &DataType,
) -> Result<ExprId, SqlError> {
    let is_time = |t: &DataType| matches!(t, DataType::Date | DataType::Timestamp);
    if from == to {
        return Ok(id);
    }
    if exprs.nodes.literal(id).is_some_and(Value::is_null) {
        return exprs.nodes.push(Op::Literal(Value::Null), to.clone());
    }
    if (from.is_numeric() && to.is_numeric()) || (is_time(from) && is_time(to)) {
        return exprs.nodes.cast(id, from, to, false);
    }
    exprs.nodes.coerce(Typed { what: What::Node(id, from.clone()), at: None }, to)
}

fn assemble(
    create: &CreateView,
    from: From<'_>,
    columns: Columns,
    targets: Vec<StreamId>,
) -> Result<ViewDef, SqlError> {
    let From { exprs, filter, through } = from;
    let keys: Vec<ExprId> = columns.iter().map(|column| column.1).collect();
    let plan = exprs.nodes.finish(filter, &keys, &[], (exprs.stream.id, 0))?;
    if let Err(error) = plan.validate(&exprs.stream) {
        return Err(SqlError::new("XX000", format!("the compiled plan is not valid: {error}")));
    }
    let mut attributes = vec![Attribute::Transform(targets)];
    if !through.is_empty() {
        attributes.push(Attribute::Through(through));
    }
    let item = |(name, ..): &(String, ExprId, DataType)| SelectItem { name: name.clone(), expr: quote(name) };
    Ok(ViewDef {
        id: ViewId(0),
        name: create.name.name.clone(),
        query: create.query_sql.clone(),
        options: Vec::new(),
        plan,
        select: columns.iter().map(item).collect(),
        keys: columns.into_iter().map(|(name, _, data_type)| (name, data_type)).collect(),
        outputs: Vec::new(),
        attributes,
    })
}

/// Opens what a transform makes: its stream, its condition, and its columns in place of the stream's.
pub(super) fn open<'c>(
    text: &'c Text,
    transform: &Arc<ViewDef>,
    qualifier: String,
    catalog: &'c CatalogSnapshot,
) -> Result<From<'c>, SqlError> {
    let stream = catalog.streams.iter().find(|s| s.schema.id == transform.plan.stream);
    let stream =
        stream.ok_or_else(|| SqlError::new("42P01", "the stream of the transform does not exist"))?;
    let mut nodes = super::nodes::Nodes::default();
    let ids = nodes.import(&transform.plan.nodes)?;
    let place = |id: ExprId| ids[usize::from(id.0)];
    let keys = transform.keys.iter().zip(&transform.plan.keys);
    let columns = keys.map(|((name, data_type), id)| (name.clone(), place(*id), data_type.clone())).collect();
    let filter = transform.plan.filter.map(place);
    let layer = Some(Layer(columns));
    let exprs = Exprs { text, stream: Relation::Stream(&stream.schema), qualifier, layer, nodes };
    Ok(From { exprs, filter, through: vec![transform.id] })
}
