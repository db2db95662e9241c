//! ALTER, TRUNCATE, CREATE OR REPLACE, and PipelineDB's functions that change a view.
//!
//! Owns: what may be changed of a view that exists. Changes name the view by its id: one that was dropped and made
//! again meanwhile is another one.

use super::options::{self, check_alterable};
use super::{GROUPS_MAX_DEFAULT, Kind, ViewOptions, check_free, missing_view};
use crate::definition::{Ddl, ViewChange, ViewDef};
use crate::error::SqlError;
use crate::parse::{AlterAction, AlterView, Call, CallName, Name, Statement, StatementKind, WithOption};
use crate::source::CatalogSnapshot;
use crate::text::quote;
use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr};
use headwater::ids::PlanVersion;
use headwater::value::DataType;

/// Compiles ALTER and TRUNCATE.
pub(super) fn view(alter: &AlterView, catalog: &CatalogSnapshot) -> Result<Ddl, SqlError> {
    let name = &alter.name;
    if let (Some(transform), AlterAction::Rename(to)) = (catalog.transform(&name.name), &alter.action) {
        check_free(to, false, catalog, Kind::View)?;
        return Ok(Ddl::AlterView { view: Some(transform.id), change: ViewChange::Rename(to.name.clone()) });
    }
    let def = match catalog.view(&name.name) {
        Some(def) => Some(def),
        None if alter.if_exists && Kind::of(&name.name, catalog).is_none() => None,
        None if alter.action == AlterAction::Truncate && Kind::of(&name.name, catalog).is_none() => {
            let message = format!("relation \"{}\" does not exist", name.name);
            return Err(SqlError::new("42P01", message).at(name.position));
        }
        None => return Err(missing_view(name, catalog)),
    };
    let change = match (&alter.action, def) {
        (AlterAction::Rename(to), _) => {
            check_free(to, false, catalog, Kind::View)?;
            ViewChange::Rename(to.name.clone())
        }
        (AlterAction::Truncate, _) => ViewChange::Truncate { version: PlanVersion(0) },
        (AlterAction::Set(set), Some(def)) => options_change(def, set, &[])?,
        (AlterAction::Reset(reset), Some(def)) => options_change(def, &[], reset)?,
        (AlterAction::Add { item, position }, Some(def)) => {
            added(def, item, catalog).map_err(|e| SqlError { position: *position, ..e })?
        }
        (AlterAction::Set(_) | AlterAction::Reset(_) | AlterAction::Add { .. }, None) => {
            ViewChange::Active(true)
        }
    };
    Ok(Ddl::AlterView { view: def.map(|def| def.id), change })
}

/// ADD COLUMN: the view's definition with one item more, compiled anew. Its states have to be behind those that there are:
/// rows and batches on their way have these alone.
fn added(def: &ViewDef, item: &SelectItem, catalog: &CatalogSnapshot) -> Result<ViewChange, SqlError> {
    // Their plans read columns of the output by place.
    super::check_dependants(def, "extend", catalog).map_err(|e| e.with_hint("drop those views first"))?;
    let statement = parse_one(&def.query)?;
    let StatementKind::Query { mut query, .. } = statement.kind else { return Err(unreadable(def)) };
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(unreadable(def)) };
    select.projection.push(item.clone());
    let mut statement = parse_one(&format!("CREATE CONTINUOUS VIEW {} AS {query}", quote(&def.name)))?;
    let StatementKind::CreateView(create) = &mut statement.kind else { return Err(unreadable(def)) };
    create.options = def.options.iter().map(with_option).collect();
    let extended = super::view_def(create, &statement.text, catalog)?;
    if extended.keys.len() > def.keys.len() {
        return Err(SqlError::new("42803", "an added column must be an aggregate")
            .with_hint("another group key would be another view: CREATE it beside this one"));
    }
    if !extended.extends(def) {
        return Err(SqlError::unsupported("ADD COLUMN to a view with aggregates in HAVING or ORDER BY")
            .with_hint("CREATE a second view beside this one, or CREATE OR REPLACE it, which starts empty"));
    }
    Ok(ViewChange::Extend { def: Box::new(extended), before: def.plan.version, since: 0 })
}

fn parse_one(sql: &str) -> Result<Statement, SqlError> {
    crate::parse::parse(sql)?.pop().ok_or_else(|| SqlError::new("XX000", "a definition is empty"))
}

fn unreadable(def: &ViewDef) -> SqlError {
    SqlError::new("XX000", format!("the definition of view \"{}\" is no SELECT", def.name))
}

fn with_option((name, value): &(String, String)) -> WithOption {
    let name = Name { name: name.clone(), position: None };
    WithOption { name, value: value.clone(), value_position: None }
}

/// CREATE OR REPLACE of a view that exists: the same definition keeps its rows.
pub(super) fn replace(before: &ViewDef, def: ViewDef) -> Ddl {
    let change = match before.is_same_view(&def) {
        true => ViewChange::Options {
            groups_max: def.plan.groups_max,
            options: def.options,
            query: Some(def.query),
            before: Some(before.options.clone()),
        },
        false => ViewChange::Replace(Box::new(def)),
    };
    Ddl::AlterView { view: Some(before.id), change }
}

/// Compiles a function that changes a view; `None` for those that change no definition.
pub(super) fn call(call: &Call, catalog: &CatalogSnapshot) -> Result<Option<Ddl>, SqlError> {
    if call.function == CallName::Flush {
        return Ok(None);
    }
    let name = &call.view;
    if let Some(transform) = catalog.transform(&name.name)
        && let CallName::Activate | CallName::Deactivate = call.function
    {
        let change = ViewChange::Active(call.function == CallName::Activate);
        return Ok(Some(Ddl::AlterView { view: Some(transform.id), change }));
    }
    let def = catalog.view(&name.name).ok_or_else(|| missing_view(name, catalog))?;
    let change = match call.function {
        CallName::Activate => ViewChange::Active(true),
        CallName::Deactivate => ViewChange::Active(false),
        CallName::TruncateContinuousView => ViewChange::Truncate { version: PlanVersion(0) },
        CallName::SetTtl => set_ttl(call, def)?,
        CallName::TtlExpire | CallName::Flush => return Ok(None),
    };
    Ok(Some(Ddl::AlterView { view: Some(def.id), change }))
}

/// `set_ttl(view, ttl, column)`; NULL takes one away.
fn set_ttl(call: &Call, def: &ViewDef) -> Result<ViewChange, SqlError> {
    let (mut set, mut reset) = (Vec::new(), Vec::new());
    for (name, argument) in ["ttl", "ttl_column"].into_iter().zip(&call.arguments) {
        let named = Name { name: name.to_owned(), position: argument.value_position.or(call.position) };
        match &argument.value {
            Some(value) => set.push(WithOption {
                name: named,
                value: value.clone(),
                value_position: argument.value_position,
            }),
            None => reset.push(named),
        }
    }
    options_change(def, &set, &reset)
}

/// One name of options that have two.
fn canonical(name: &str) -> &str {
    if name == "max_groups" { "group_cap" } else { name }
}

fn options_change(def: &ViewDef, set: &[WithOption], reset: &[Name]) -> Result<ViewChange, SqlError> {
    set.iter().map(|option| &option.name).chain(reset).try_for_each(check_alterable)?;
    options::check(set)?;
    let mut options = def.options.clone();
    options.retain(|(name, _)| !reset.iter().any(|gone| canonical(&gone.name) == canonical(name)));
    for option in set {
        let (name, value) = (option.name.name.clone(), option.value.clone());
        match options.iter_mut().find(|(known, _)| canonical(known) == canonical(&name)) {
            Some(known) => *known = (name, value),
            None => options.push((name, value)),
        }
    }
    let typed = ViewDef { options: options.clone(), ..def.clone() }.typed_options();
    let at = set.iter().find(|o| o.name.name.starts_with("ttl")).and_then(|o| o.value_position);
    check_ttl(def, &typed).map_err(|e| e.at(at.or_else(|| set.first().and_then(|o| o.name.position))))?;
    let groups_max = typed.group_cap.unwrap_or(GROUPS_MAX_DEFAULT);
    Ok(ViewChange::Options { options, groups_max, query: None, before: Some(def.options.clone()) })
}

fn check_ttl(def: &ViewDef, options: &ViewOptions) -> Result<(), SqlError> {
    let has_ttl = options.ttl.is_some() || options.ttl_column.is_some();
    if has_ttl && def.window().is_some() {
        return Err(SqlError::new("22023", "a sliding window has no ttl")
            .with_hint("its panes are removed when the window has passed them"));
    }
    let is_time = |t: &DataType| matches!(t, DataType::Timestamp | DataType::Date);
    match &options.ttl_column {
        Some(column) => match def.keys.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)) {
            Some((_, data_type)) if is_time(data_type) => Ok(()),
            Some(_) => {
                Err(SqlError::new("42804", format!("ttl_column \"{column}\" must be timestamptz or date")))
            }
            None => Err(SqlError::new("42703", format!("ttl_column \"{column}\" is not a group key"))),
        },
        None if options.ttl.is_some() && !def.keys.iter().any(|(_, data_type)| is_time(data_type)) => {
            Err(SqlError::new("42P17", "ttl needs a time bucket among the group expressions"))
        }
        None => Ok(()),
    }
}
