//! The plans of a catalog: what changes make of them, within which bounds, and how they get their versions.

use super::state::CatalogState;
use super::{ApplyError, random};
use crate::store::StoreError;
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater_sql::SqlError;
use headwater_sql::definition::{Ddl, ViewChange, ViewDef};
use headwater_sql::transform::{Fault, PLANS_MAX, VERSIONS_MAX};
use std::collections::HashMap;

/// What plans take their versions from.
pub(super) type Draw = dyn FnMut() -> Result<PlanVersion, StoreError> + Send;

/// The view that makes its stream's plans larger, if this change does.
pub(super) fn grown_by(ddl: &Ddl, next: &CatalogState) -> Option<ViewDef> {
    match ddl {
        Ddl::CreateView { def, .. } => Some(ViewDef::clone(def)),
        Ddl::AlterView { change: ViewChange::Replace(def), .. } => Some(ViewDef::clone(def)),
        Ddl::AlterView { change: ViewChange::Active(true) | ViewChange::Extend { .. }, view: Some(view) } => {
            next.views.iter().find(|v| v.id == *view).cloned()
        }
        _ => None,
    }
}

/// A rule of this hub and not of the state machine: what was once logged is always read.
pub(super) fn check(next: &CatalogState, view: &ViewDef, bytes_max: usize) -> Result<(), ApplyError> {
    // A view grows the plans of every stream that transforms bring to its own.
    let streams = next.feeds().above(view.plan.stream);
    check_made(next, &streams)?;
    if view.versions().iter().skip(1).any(|version| *version == view.plan.version) {
        return Err(same_version(&view.name));
    }
    let bytes = streams.into_iter().map(|stream| next.plans_bytes(stream)).max().unwrap_or(0);
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!(
        "view \"{}\" does not fit: the plans of its stream would take {bytes} bytes, at most {bytes_max} are sent",
        view.name
    );
    let hint = "drop views of the stream, or raise stream_plans_bytes_max";
    Err(ApplyError::Refused(SqlError::new("54000", message).with_hint(hint)))
}

/// Whether transforms make what the views of these streams ask for, within bounds.
fn check_made(next: &CatalogState, streams: &[StreamId]) -> Result<(), ApplyError> {
    let name = |view: ViewId| next.views.iter().find(|v| v.id == view).map_or("?", |v| v.name.as_str());
    let mut versions: HashMap<ViewId, usize> = HashMap::new();
    for (stream, made) in next.feeds().all_plans() {
        made.plans.iter().for_each(|plan| *versions.entry(plan.view).or_default() += 1);
        let Some(fault) = made.fault.filter(|_| streams.contains(&stream.id)) else { continue };
        return Err(match fault {
            Fault::TooMany => {
                let message = format!("stream \"{}\" would have more than {PLANS_MAX} plans", stream.name);
                ApplyError::Refused(
                    SqlError::new("54000", message).with_hint("let fewer transforms feed one another"),
                )
            }
            Fault::Unfit(view) => {
                let what = format!("the plan of view \"{}\" over stream \"{}\"", name(view), stream.name);
                let message = format!("{what} would be too large with what transforms put into it");
                ApplyError::Refused(SqlError::new("54000", message))
            }
            Fault::SameVersion(view) => same_version(name(view)),
        });
    }
    match versions.into_iter().find(|(_, count)| *count > VERSIONS_MAX) {
        Some((view, count)) => {
            let message = format!(
                "transforms would make {count} plans of view \"{}\", at most {VERSIONS_MAX}",
                name(view)
            );
            Err(ApplyError::Refused(SqlError::new("54000", message)))
        }
        None => Ok(()),
    }
}

fn same_version(view: &str) -> ApplyError {
    let message = format!("two plans of view \"{view}\" would have one version, by chance");
    ApplyError::SameVersion(
        SqlError::new("40001", message).with_hint("try again, or create the transform or view anew"),
    )
}

/// Gives the plan that a change brings its version. 21 bits take three bytes in a batch.
pub(super) fn name(ddl: &mut Ddl, draw: &mut Draw) -> Result<(), StoreError> {
    let version = match ddl {
        Ddl::CreateView { def, .. } => &mut def.plan.version,
        Ddl::AlterView { change: ViewChange::Replace(def), .. } => &mut def.plan.version,
        Ddl::AlterView { change: ViewChange::Extend { def, since, .. }, .. } => {
            *since = wall_micros();
            &mut def.plan.version
        }
        Ddl::AlterView { change: ViewChange::Truncate { version }, .. } => version,
        _ => return Ok(()),
    };
    if *version == PlanVersion(0) {
        *version = draw()?;
    }
    Ok(())
}

/// A version that hardly any other plan has had: views of another cluster, and those made after an older copy of this
/// directory was restored, have the same ids.
pub(super) fn draw() -> Result<PlanVersion, StoreError> {
    Ok(PlanVersion((u32::from_le_bytes(random()?) >> 11).max(1)))
}

/// For people: nothing is decided by it.
fn wall_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
