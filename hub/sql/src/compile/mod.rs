//! Definitions to plans: checked statements become catalog changes.
//!
//! Owns: everything between the syntax tree and [`Ddl`]. Must not know: how the catalog keeps it, how events
//! are evaluated, how answers are read.
//! Invariants: the catalog is only read; a plan that comes out passes `Plan::validate`.

mod aggregate;
mod alter;
mod bucket;
mod coerce;
mod expr;
mod from;
mod function;
mod grouping;
mod nodes;
mod options;
mod output;
mod select;
mod table;
mod transform;
mod window;

pub use options::{GROUPS_MAX_DEFAULT, ViewOptions};
pub(crate) use select::{is_aggregate_call, item_name};
pub(crate) use table::{filled as filled_table, missing as missing_table};

use crate::definition::{Attribute, Ddl, StreamDef, ViewChange, ViewDef};
use crate::error::SqlError;
use crate::parse::{CreateStream, CreateView, Drop, Name, Statement, StatementKind};
use crate::source::CatalogSnapshot;
use crate::suggest::did_you_mean;
use crate::text::Text;
use aggregate::Defaults;
use headwater::ids::{StreamId, ViewId};
use headwater::schema::StreamSchema;
use headwater::value::DataType;
use select::Built;

/// Compiles a CREATE or DROP against a catalog; `None` for every other statement.
///
/// # Errors
/// `42P01`, `42P07`, `2BP01` for names that are missing, taken or needed; everything the view compiler refuses.
pub fn compile(statement: &Statement, catalog: &CatalogSnapshot) -> Result<Option<Ddl>, SqlError> {
    statement.with_stack(|| compile_here(statement, catalog))
}

fn compile_here(statement: &Statement, catalog: &CatalogSnapshot) -> Result<Option<Ddl>, SqlError> {
    Ok(Some(match &statement.kind {
        StatementKind::CreateStream(create) => create_stream(create, catalog)?,
        StatementKind::CreateView(create) if create.transform.is_some() => {
            transform::create(create, &statement.text, catalog)?
        }
        StatementKind::CreateView(create) => create_view(create, &statement.text, catalog)?,
        StatementKind::DropStream(drop) => drop_stream(drop, catalog)?,
        StatementKind::DropView(drop) => drop_view(drop, catalog)?,
        StatementKind::CreateTable(create) => table::create(create, catalog)?,
        StatementKind::DropTable(drop) => table::drop(drop, catalog)?,
        StatementKind::AlterView(alter) => alter::view(alter, catalog)?,
        StatementKind::Call(call) => return alter::call(call, catalog),
        _ => return Ok(None),
    }))
}

/// What a name may stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stream,
    View,
    Table,
    Transform,
}

impl Kind {
    pub(crate) fn of(name: &str, catalog: &CatalogSnapshot) -> Option<Self> {
        let stream = catalog.stream(name).map(|_| Self::Stream);
        let view = || catalog.view(name).map(|_| Self::View);
        let transform = || catalog.transform(name).map(|_| Self::Transform);
        stream.or_else(view).or_else(|| catalog.table(name).map(|_| Self::Table)).or_else(transform)
    }

    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::View => "continuous view",
            Self::Table => "table",
            Self::Transform => "continuous transform",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Stream => "STREAM",
            Self::View => "CONTINUOUS VIEW",
            Self::Table => "TABLE",
            Self::Transform => "CONTINUOUS TRANSFORM",
        }
    }
}

fn check_free(
    name: &Name,
    if_not_exists: bool,
    catalog: &CatalogSnapshot,
    wanted: Kind,
) -> Result<(), SqlError> {
    match Kind::of(&name.name, catalog) {
        None => Ok(()),
        Some(kind) if kind == wanted && if_not_exists => Ok(()),
        Some(kind) => {
            let message = format!("{} \"{}\" already exists", kind.noun(), name.name);
            Err(SqlError::new("42P07", message).at(name.position))
        }
    }
}

/// `42809`: there is something else of this name.
fn check_kind(name: &Name, wanted: Kind, catalog: &CatalogSnapshot) -> Result<(), SqlError> {
    match Kind::of(&name.name, catalog) {
        Some(kind) if kind != wanted => {
            Err(SqlError::new("42809", format!("\"{}\" is a {}", name.name, kind.noun()))
                .at(name.position)
                .with_hint(format!("DROP {}", kind.sql())))
        }
        _ => Ok(()),
    }
}

fn create_stream(create: &CreateStream, catalog: &CatalogSnapshot) -> Result<Ddl, SqlError> {
    check_free(&create.name, create.if_not_exists, catalog, Kind::Stream)?;
    let schema =
        StreamSchema { id: StreamId(0), name: create.name.name.clone(), fields: create.columns.clone() };
    Ok(Ddl::CreateStream { def: StreamDef { schema }, if_not_exists: create.if_not_exists })
}

fn drop_stream(drop: &Drop, catalog: &CatalogSnapshot) -> Result<Ddl, SqlError> {
    let name = &drop.name;
    check_kind(name, Kind::Stream, catalog)?;
    match catalog.stream(&name.name) {
        Some(stream) if !drop.cascade => {
            let id = stream.schema.id;
            let reads = |v: &&std::sync::Arc<ViewDef>| {
                v.plan.stream == id || v.transform().is_some_and(|targets| targets.contains(&id))
            };
            let readers = catalog.views.iter().chain(&catalog.transforms).filter(reads);
            let with_chains = |view: &'_ std::sync::Arc<ViewDef>| {
                let chained = catalog.dependants(view.id).map(|v| v.name.clone());
                std::iter::once(view.name.clone()).chain(chained).collect::<Vec<_>>()
            };
            let mut views: Vec<String> = Vec::new();
            for name in readers.flat_map(with_chains) {
                if !views.contains(&name) {
                    views.push(name);
                }
            }
            if !views.is_empty() {
                let is_transform = |name: &String| catalog.transform(name).is_some();
                let what = if views.iter().any(is_transform) { "views and transforms" } else { "views" };
                let readers = views.join(", ");
                let message = format!("stream \"{}\" is read by continuous {what}: {readers}", name.name);
                return Err(SqlError::new("2BP01", message)
                    .at(name.position)
                    .with_hint("DROP STREAM ... CASCADE drops them too"));
            }
        }
        None if !drop.if_exists => return Err(missing_stream(name, catalog)),
        _ => {}
    }
    Ok(Ddl::DropStream { name: name.name.clone(), if_exists: drop.if_exists, cascade: drop.cascade })
}

fn drop_view(drop: &Drop, catalog: &CatalogSnapshot) -> Result<Ddl, SqlError> {
    let name = &drop.name;
    let view = catalog.view(&name.name).or_else(|| catalog.transform(&name.name));
    match drop.is_transform {
        Some(true) => check_kind(name, Kind::Transform, catalog)?,
        Some(false) => check_kind(name, Kind::View, catalog)?,
        None if view.is_none() => check_kind(name, Kind::View, catalog)?,
        None => {}
    }
    if view.is_none() && !drop.if_exists {
        return Err(missing_view(name, catalog));
    }
    let (name, if_exists) = (name.name.clone(), drop.if_exists);
    if drop.cascade {
        return Ok(Ddl::DropViewCascade { name, if_exists });
    }
    if let Some(view) = view {
        let needed = check_dependants(view, "drop", catalog);
        needed.map_err(|e| {
            let what = if drop.is_transform == Some(true) { "TRANSFORM" } else { "VIEW" };
            e.at(drop.name.position).with_hint(format!("DROP CONTINUOUS {what} ... CASCADE drops them too"))
        })?;
    }
    Ok(Ddl::DropView { name, if_exists })
}

/// `2BP01`: other views read the output of this one.
fn check_dependants(view: &ViewDef, verb: &str, catalog: &CatalogSnapshot) -> Result<(), SqlError> {
    let names = catalog.dependants(view.id).map(|view| view.name.as_str()).collect::<Vec<_>>();
    if names.is_empty() {
        return Ok(());
    }
    let kind = if view.transform().is_some() { Kind::Transform } else { Kind::View };
    let message = format!(
        "cannot {verb} {} \"{}\" because others read its output: {}",
        kind.noun(),
        view.name,
        names.join(", ")
    );
    Err(SqlError::new("2BP01", message))
}

pub(crate) fn missing_view(name: &Name, catalog: &CatalogSnapshot) -> SqlError {
    if let Some(kind @ (Kind::Stream | Kind::Table | Kind::Transform)) = Kind::of(&name.name, catalog) {
        let message = format!("\"{}\" is a {}", name.name, kind.noun());
        return SqlError::new("42809", message).at(name.position);
    }
    let message = format!("continuous view \"{}\" does not exist", name.name);
    let hint = did_you_mean(&name.name, catalog.views.iter().map(|v| v.name.as_str()));
    let hint = hint.unwrap_or_else(|| "SHOW VIEWS lists those that there are".to_owned());
    SqlError::new("42P01", message).at(name.position).with_hint(hint)
}

fn missing_stream(name: &Name, catalog: &CatalogSnapshot) -> SqlError {
    let hint = did_you_mean(&name.name, catalog.streams.iter().map(|s| s.schema.name.as_str()));
    let hint =
        hint.unwrap_or_else(|| "CREATE STREAM makes one, SHOW STREAMS lists those that there are".to_owned());
    SqlError::new("42P01", format!("stream \"{}\" does not exist", name.name))
        .at(name.position)
        .with_hint(hint)
}

fn create_view(create: &CreateView, text: &Text, catalog: &CatalogSnapshot) -> Result<Ddl, SqlError> {
    let replaced = catalog.view(&create.name.name).filter(|_| create.or_replace);
    if replaced.is_none() {
        check_free(&create.name, create.if_not_exists, catalog, Kind::View)?;
    }
    let def = view_def(create, text, catalog)?;
    match replaced {
        Some(before) => {
            output::check_cycle(&def, before.id, catalog).map_err(|e| e.at(create.name.position))?;
            let change = alter::replace(before, def);
            if matches!(change, Ddl::AlterView { change: ViewChange::Replace(_), .. }) {
                let needed = check_dependants(before, "replace", catalog);
                needed.map_err(|e| e.at(create.name.position).with_hint("drop those views first"))?;
            }
            Ok(change)
        }
        None => Ok(Ddl::CreateView { def: Box::new(def), if_not_exists: create.if_not_exists }),
    }
}

fn view_def(create: &CreateView, text: &Text, catalog: &CatalogSnapshot) -> Result<ViewDef, SqlError> {
    let options = options::check(&create.options)?;
    let plain = from::plain_select(text, &create.query)?;
    let mut from = from::open(text, plain.select, catalog)?;
    let (condition, window) = match &plain.select.selection {
        Some(condition) => window::split(text, condition)?,
        None => (None, None),
    };
    if let Some(condition) = &condition {
        from.require_where(condition)?;
    }
    let through = std::mem::take(&mut from.through);
    let defaults = Defaults {
        hll_precision: options.hll_precision.unwrap_or(Defaults::default().hll_precision),
        ddsketch_alpha_ppm: options.quantile_error_ppm.unwrap_or(Defaults::default().ddsketch_alpha_ppm),
    };
    let at_option =
        |name: &str| create.options.iter().find(|o| o.name.name == name).and_then(|o| o.name.position);
    let window = window::wanted(&options, &create.options, window)?;
    let wants = select::Wants { defaults, ttl_column: options.ttl_column.as_deref(), window };
    let built = select::build(&mut from, &plain, wants)
        .map_err(|e| if e.message.starts_with("ttl_column") { e.at(at_option("ttl_column")) } else { e })?;
    check_ttl(&options, &built).map_err(|e| e.at(at_option("ttl")))?;
    let groups_max = options.group_cap.unwrap_or(GROUPS_MAX_DEFAULT);
    let from::From { exprs, .. } = from;
    let mut def = assemble(create, exprs.nodes, built, &exprs.stream, groups_max)?;
    if !through.is_empty() {
        def.attributes.push(Attribute::Through(through));
    }
    Ok(def)
}

/// `ttl` needs a time to look at: `ttl_column`, or else a first key that is a time.
fn check_ttl(options: &ViewOptions, built: &Built) -> Result<(), SqlError> {
    let timed =
        built.keys.first().is_some_and(|k| matches!(k.data_type, DataType::Timestamp | DataType::Date));
    if options.ttl.is_none() || timed {
        return Ok(());
    }
    let message = "ttl needs a time bucket among the group expressions";
    Err(SqlError::new("42P17", message)
        .with_hint("GROUP BY date_trunc('hour', arrival_timestamp), or name a ttl_column"))
}

fn assemble(
    create: &CreateView,
    nodes: nodes::Nodes,
    built: Built,
    stream: &StreamSchema,
    groups_max: u32,
) -> Result<ViewDef, SqlError> {
    let Built { filter, keys, states, outputs, select, attributes } = built;
    let key_ids: Vec<_> = keys.iter().map(|k| k.id).collect();
    let plan = nodes.finish(filter, &key_ids, &states, (stream.id, groups_max))?;
    if let Err(error) = plan.validate(stream) {
        return Err(SqlError::new("XX000", format!("the compiled plan is not valid: {error}")));
    }
    Ok(ViewDef {
        id: ViewId(0),
        name: create.name.name.clone(),
        query: create.query_sql.clone(),
        options: create.options.iter().map(|o| (o.name.name.clone(), o.value.clone())).collect(),
        plan,
        keys: keys.into_iter().map(|k| (k.name, k.data_type)).collect(),
        outputs,
        select,
        attributes,
    })
}

#[cfg(test)]
mod tests;
