//! Streams with their stages and rollups.
//!
//! Owns: which table number is which stream. Must not know: sessions, JavaScript.
//! Invariant: what a stream gathered goes with it when the hub drops it; its events are told, not sent.

use crate::dictionary::Dictionary;
use crate::stage::Stage;
use alloc::string::String;
use alloc::vec::Vec;
use headwater::limits::BatchLimits;
use headwater::plan::{Op, Plan, PlanError};
use headwater::rollup::{Rollup, RollupOptions};
use headwater::schema::StreamSchema;
use headwater::wire::batch::{EncodedBatches, LedgerDelta, SectionInput, encode_payloads};
use headwater::wire::{Plans, StreamPlans};

/// Longest value of a column that no group key is made of, bytes.
const VALUE_BYTES_MAX: usize = 65_536;

/// True when some plan needs what this build does not have.
pub fn needs_full(plans: &Plans) -> bool {
    plans.streams.iter().any(|StreamPlans { schema, plans }| {
        plans.iter().any(|plan| matches!(plan.validate(schema), Err(PlanError::Unsupported(_))))
    })
}

/// All streams whose plans are in force, by table number.
#[derive(Default)]
pub struct Feed {
    streams: Vec<Stream>,
}

struct Stream {
    /// Columns that are group keys as they are.
    key_columns: Vec<u16>,
    rollup: Rollup,
    stage: Stage,
}

impl Feed {
    /// Replaces the plans, complete. Returns how many this build cannot run, and how many events were gathered for
    /// streams that are not among them.
    pub fn set_plans(&mut self, plans: Plans) -> (usize, u64) {
        let mut old = core::mem::take(&mut self.streams);
        let mut refused = 0;
        for StreamPlans { schema, plans } in plans.streams {
            let kept = old.iter().position(|stream| stream.rollup.schema().id == schema.id);
            let mut rollup = match kept {
                Some(at) => old.swap_remove(at).rollup,
                None => Rollup::new(nothing(&schema), RollupOptions::default()),
            };
            let mut key_columns = Vec::new();
            plans.iter().for_each(|plan| add_key_columns(plan, &mut key_columns));
            refused += rollup.set_plans(schema, plans).len();
            let stage = Stage::new(rollup.schema());
            self.streams.push(Stream { key_columns, rollup, stage });
        }
        (refused, old.iter_mut().map(|stream| stream.rollup.take_events()).sum())
    }

    /// Names, as `Engine::schema` gives them.
    pub fn schema(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for stream in &self.streams {
            let StreamSchema { name, fields, .. } = stream.rollup.schema();
            out.extend_from_slice(name.as_bytes());
            for field in fields {
                out.push(255);
                out.extend_from_slice(field.name.as_bytes());
            }
            out.push(254);
        }
        out
    }

    /// See `Engine::layout`. Columns that are group keys as they are take no longer values than keys may be.
    pub fn layout(&self, table: usize, key_bytes_max: usize) -> Vec<f64> {
        let Some(stream) = self.streams.get(table) else { return Vec::new() };
        stream.stage.layout(|column| {
            let is_key = stream.key_columns.iter().any(|key| usize::from(*key) == column);
            if is_key { key_bytes_max } else { VALUE_BYTES_MAX }
        })
    }

    /// Evaluates rows of one stream.
    pub fn push(&mut self, table: usize, rows: usize, texts: &Dictionary) {
        let Some(Stream { stage, rollup, .. }) = self.streams.get_mut(table) else { return };
        stage.lend(rows, texts, |batch, codes| rollup.push_coded(batch, codes));
    }

    /// Freezes all partials.
    pub fn freeze(&mut self, mut delta: LedgerDelta, limits: &BatchLimits) -> EncodedBatches {
        let mut partials = Vec::new();
        for Stream { rollup, .. } in &mut self.streams {
            rollup.set_options(RollupOptions { key_bytes_max: limits.key_bytes_max });
            delta.events += rollup.take_events();
            partials.append(&mut rollup.drain());
        }
        let mut sections = Vec::with_capacity(partials.len());
        partials.iter().for_each(|partials| sections.push(SectionInput::from(partials)));
        encode_payloads(&delta, &sections, limits)
    }
}

/// A stream without columns: its first plans bring them.
fn nothing(schema: &StreamSchema) -> StreamSchema {
    StreamSchema { id: schema.id, name: String::new(), fields: Vec::new() }
}

/// Columns that are group keys as they are.
fn add_key_columns(plan: &Plan, columns: &mut Vec<u16>) {
    for key in &plan.keys {
        if let Some(Op::Column(column)) = plan.nodes.get(usize::from(key.0)).map(|node| &node.op) {
            columns.push(*column);
        }
    }
}
