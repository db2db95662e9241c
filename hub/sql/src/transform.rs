//! Continuous transforms: what events of one stream make for the views of another.
//!
//! Owns: the plans that a stream's events feed. A transform keeps nothing: a view over the stream that it feeds is given
//! another plan, over the stream that the transform reads, with the transform's expressions in place of columns. Producers
//! evaluate it as any plan, so that every event counts once, whatever lies between. Must not know: SQL text, storage.

use crate::definition::ViewDef;
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater::plan::Plan;
use headwater::schema::StreamSchema;
use std::collections::HashMap;

/// Most plans of one stream. Transforms that fan out and in again multiply them: a definition that would is refused.
pub const PLANS_MAX: usize = 1_024;

/// Most plans that transforms make for one view, over all streams: it remembers the version of each.
pub const VERSIONS_MAX: usize = 256;

/// Why a stream does not have all the plans that its views and transforms ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// More than [`PLANS_MAX`].
    TooMany,
    /// A view's plan cannot be made through a transform: it would be too large, or not valid.
    Unfit(ViewId),
    /// Two plans of a view have one version, by chance: another try draws others.
    SameVersion(ViewId),
}

/// The plans of a stream.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Those that there are.
    pub plans: Vec<Plan>,
    /// Why these are not all that were asked for.
    pub fault: Option<Fault>,
}

/// Views, transforms and streams of one catalog.
#[derive(Clone, Debug)]
pub struct Feeds<'c> {
    /// Views and transforms.
    pub views: Vec<&'c ViewDef>,
    /// Streams.
    pub streams: Vec<&'c StreamSchema>,
}

impl Made {
    /// The first fault is told, unless there are too many plans: other faults come of that.
    fn blame(&mut self, fault: Fault) {
        if self.fault.is_none() || fault == Fault::TooMany {
            self.fault = Some(fault);
        }
    }
}

impl<'c> Feeds<'c> {
    /// The plans that events of a stream feed: those of its views, and those that transforms make for views of others.
    /// What is not active is left out.
    pub fn plans(&self, stream: StreamId) -> Made {
        self.make(stream, &mut HashMap::new())
    }

    /// The plans of all streams.
    pub fn all_plans(&self) -> Vec<(&'c StreamSchema, Made)> {
        let mut made = HashMap::new();
        self.streams.iter().map(|stream| (*stream, self.make(stream.id, &mut made))).collect()
    }

    /// Each stream is visited once, however many ways lead to it.
    fn make(&self, stream: StreamId, known: &mut HashMap<StreamId, Made>) -> Made {
        if let Some(made) = known.get(&stream) {
            return made.clone();
        }
        let fed =
            |view: &&&'c ViewDef| view.chained().is_none() && view.plan.stream == stream && self.is_fed(view);
        let (transforms, views): (Vec<&&ViewDef>, Vec<&&ViewDef>) =
            self.views.iter().filter(fed).partition(|view| view.transform().is_some());
        let mut made = Made { plans: views.into_iter().map(|view| view.plan.clone()).collect(), fault: None };
        for transform in transforms {
            for target in transform.transform().unwrap_or_default() {
                let there = self.make(*target, known);
                there.fault.into_iter().for_each(|fault| made.blame(fault));
                self.compose(transform, &there.plans, &mut made);
            }
        }
        known.insert(stream, made.clone());
        made
    }

    /// Adds what a transform makes of the plans of a stream that it feeds.
    fn compose(&self, transform: &ViewDef, there: &[Plan], made: &mut Made) {
        let Some(schema) = self.streams.iter().find(|s| s.id == transform.plan.stream) else { return };
        for plan in there {
            let version = fed_version(plan.version, transform.plan.version);
            let composed = plan.composed(&transform.plan, schema.fields.len() as u16, version);
            let composed = composed.ok().filter(|composed| composed.validate(schema).is_ok());
            let is_taken = |other: &Plan| (other.view, other.version) == (plan.view, version);
            // The view remembers an older plan of this version, which had fewer states.
            let is_narrow =
                |view: &&ViewDef| view.id == plan.view && view.states_of(version) < plan.states.len();
            let fault = match composed {
                _ if made.plans.len() >= PLANS_MAX => Fault::TooMany,
                _ if made.plans.iter().any(is_taken) || self.views.iter().any(is_narrow) => {
                    Fault::SameVersion(plan.view)
                }
                None => Fault::Unfit(plan.view),
                Some(composed) => {
                    made.plans.push(composed);
                    continue;
                }
            };
            made.blame(fault);
        }
    }

    /// True when it is active, and so is every transform that its plan was made over.
    fn is_fed(&self, view: &ViewDef) -> bool {
        let below = |id: &ViewId| self.views.iter().find(|v| v.id == *id).is_some_and(|v| self.is_fed(v));
        view.is_active() && view.through().iter().all(below)
    }

    /// The streams whose events reach this one through transforms, active or not, itself among them.
    pub fn above(&self, stream: StreamId) -> Vec<StreamId> {
        let mut found = vec![stream];
        let mut at = 0;
        while let Some(stream) = found.get(at).copied() {
            let into = self.views.iter().filter(|view| view.transform().is_some_and(|t| t.contains(&stream)));
            for from in into.map(|transform| transform.plan.stream) {
                if !found.contains(&from) {
                    found.push(from);
                }
            }
            at += 1;
        }
        found
    }
}

/// The version of the plan that a transform makes of another: the same on every hub, and a random name as the two that it
/// is made of. 21 bits, as every plan has.
fn fed_version(plan: PlanVersion, transform: PlanVersion) -> PlanVersion {
    let mixed = plan.0.wrapping_mul(0x9e37_79b1) ^ transform.0.wrapping_mul(0x85eb_ca6b).rotate_left(15);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0xc2b2_ae35);
    PlanVersion((mixed >> 11).max(1))
}
