//! Streams with their stages and rollups.
//!
//! Owns: which table number is which stream. Must not know: sessions, JavaScript.

use crate::dictionary::Dictionary;
use crate::stage::Stage;
use alloc::vec::Vec;
use headwater::group::GroupTable;
use headwater::limits::BatchLimits;
use headwater::schema::StreamSchema;
use headwater::wire::Plans;
use headwater::wire::batch::{EncodedBatches, LedgerDelta, SectionInput, encode_payloads};

/// Some plan needs an aggregate that this build does not have.
pub struct NeedsFull;

/// True when this build can evaluate all plans.
pub fn check(_plans: &Plans) -> Result<(), NeedsFull> {
    Ok(())
}

/// All streams whose plans are in force, by table number.
#[derive(Default)]
pub struct Feed {
    streams: Vec<Stream>,
    events: u64,
}

struct Stream {
    schema: StreamSchema,
    stage: Stage,
}

impl Feed {
    /// Replaces the plans.
    pub fn set_plans(&mut self, plans: Plans) {
        self.streams = plans
            .streams
            .into_iter()
            .map(|s| Stream { stage: Stage::new(&s.schema), schema: s.schema })
            .collect();
    }

    /// Names, as `Engine::schema` gives them.
    pub fn schema(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for stream in &self.streams {
            out.extend_from_slice(stream.schema.name.as_bytes());
            for field in &stream.schema.fields {
                out.push(0);
                out.extend_from_slice(field.name.as_bytes());
            }
            out.extend_from_slice(&[0, 0]);
        }
        out
    }

    /// See `Engine::layout`.
    pub fn layout(&self, table: usize, _key_bytes_max: usize) -> Vec<f64> {
        self.streams.get(table).map(|stream| stream.stage.layout(|_| 65_536)).unwrap_or_default()
    }

    /// Evaluates rows of one stream.
    pub fn push(&mut self, table: usize, rows: usize, texts: &Dictionary) {
        let Some(stream) = self.streams.get_mut(table) else { return };
        stream.stage.lend(rows, texts, |batch| self.events += batch.rows() as u64);
    }

    /// Freezes all partials.
    pub fn freeze(&mut self, mut delta: LedgerDelta, limits: &BatchLimits) -> EncodedBatches {
        delta.events = core::mem::take(&mut self.events);
        encode_payloads::<GroupTable>(&delta, &[] as &[SectionInput<'_, GroupTable>], limits)
    }
}
