//! Continuous transforms: what events of one stream make for the views of another.
//!
//! Owns: the plans that a stream's events feed. A transform keeps nothing: a view over the stream that it feeds is given
//! another plan, over the stream that the transform reads, with the transform's expressions in place of columns. Producers
//! evaluate it as any plan, so that every event counts once, whatever lies between. Must not know: SQL text, storage.

use crate::definition::ViewDef;
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater::plan::Plan;
use headwater::schema::StreamSchema;

/// Plans of one stream: more are not made.
pub const FED_MAX: usize = 4_096;

/// Views, transforms and streams of one catalog.
#[derive(Clone, Debug)]
pub struct Feeds<'c> {
    /// Views and transforms.
    pub views: Vec<&'c ViewDef>,
    /// Streams.
    pub streams: Vec<&'c StreamSchema>,
}

impl<'c> Feeds<'c> {
    /// The plans that events of a stream feed: those of its views, and those that transforms make for views of others.
    /// What is not active is left out, and so is a plan that would be too large.
    pub fn plans(&self, stream: StreamId) -> Vec<Plan> {
        let mut plans = Vec::new();
        self.collect(stream, &mut plans);
        plans
    }

    fn collect(&self, stream: StreamId, plans: &mut Vec<Plan>) {
        let fed =
            |view: &&&'c ViewDef| view.chained().is_none() && view.plan.stream == stream && self.is_fed(view);
        plans.extend(
            self.views.iter().filter(fed).filter(|v| v.transform().is_none()).map(|v| v.plan.clone()),
        );
        let arrival = self.streams.iter().find(|s| s.id == stream).map_or(0, |s| s.fields.len() as u16);
        for transform in self.views.iter().filter(fed) {
            let mut there = Vec::new();
            transform
                .transform()
                .unwrap_or_default()
                .iter()
                .for_each(|target| self.collect(*target, &mut there));
            let room = FED_MAX.saturating_sub(plans.len());
            let composed = |plan: &Plan| {
                let version = fed_version(plan.version, transform.plan.version);
                plan.composed(&transform.plan, arrival, version).ok()
            };
            plans.extend(there.iter().take(room).filter_map(composed));
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
