//! Admission: from foreign payload bytes to checked partials, before the writer sees them.
//!
//! Owns: decoding, limits, plausibility (rule P1's second half). Must not know: sessions, the log.
//! The same function reads a record back from the log. It decides by the record's own time, never by a
//! clock, so that a replay decides as the first reading did. Counts are not held against a section's events:
//! a flush that was split over several batches apportions its events by groups.

use super::overlay::Partials;
use super::views::{ViewShape, Views};
use headwater::codec::DecodeError;
use headwater::group::GroupTable;
use headwater::ids::Micros;
use headwater::limits::BatchLimits;
use headwater::wire::RefusedCode;
use headwater::wire::batch::{Payload, Section};
use std::sync::Arc;
use std::time::Duration;

/// What admission checks besides the format.
#[derive(Clone, Copy, Debug)]
pub struct AdmitOptions {
    /// Limits of one batch.
    pub limits: BatchLimits,
    /// How far in the future a time bucket may start.
    pub future_skew: Duration,
    /// How far in the past a time bucket may end.
    pub late_max: Option<Duration>,
}

/// Why a batch is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAdmitted {
    /// The code on the wire.
    pub code: RefusedCode,
    /// For people.
    pub message: String,
}

impl From<DecodeError> for NotAdmitted {
    fn from(error: DecodeError) -> Self {
        let code = match error {
            DecodeError::TooLarge(_) => RefusedCode::TooLarge,
            _ => RefusedCode::Malformed,
        };
        Self { code, message: error.to_string() }
    }
}

/// Decodes and checks a payload that arrived at `time`.
///
/// # Errors
/// The batch is refused as a whole; nothing of it may be applied.
pub fn admit(
    payload: &[u8],
    time: Micros,
    views: &Views,
    options: &AdmitOptions,
) -> Result<Partials, NotAdmitted> {
    let payload = Payload::parse(payload, &options.limits)?;
    let mut partials = Partials::default();
    let ledger = &mut partials.ledger;
    ledger.batches = 1;
    ledger.report(&payload.ledger);
    for section in payload.sections() {
        let Some(shape) = views.get(section.view) else {
            ledger.view_dropped_sections += 1;
            ledger.view_dropped_events = ledger.view_dropped_events.saturating_add(section.events);
            continue;
        };
        if section.version != shape.version {
            let message = format!("view {} has no plan version {}", section.view, section.version);
            return Err(NotAdmitted { code: RefusedCode::UnknownPlan, message });
        }
        ledger.rejected.merge(&section.rejected);
        let sifted = sift(section, shape, time, options)?;
        ledger.groups += sifted.table.len() as u64;
        ledger.late_groups += sifted.late;
        ledger.future_groups += sifted.future;
        partials.views.push((section.view, sifted.table));
    }
    Ok(partials)
}

struct Sifted {
    table: GroupTable,
    late: u64,
    future: u64,
}

/// Merges the section's groups into a table of their own, without those at impossible times.
fn sift(
    section: &Section<'_>,
    shape: &Arc<ViewShape>,
    time: Micros,
    options: &AdmitOptions,
) -> Result<Sifted, NotAdmitted> {
    let mut sifted = Sifted { table: GroupTable::new(&shape.specs), late: 0, future: 0 };
    let mut refused: Option<GroupTable> = None;
    let mut scratch = shape.key_columns();
    let window = Window::new(time, shape, options);
    let mut groups = section.groups();
    while let Some((key, states)) = groups.next_group()? {
        let bucket = shape.check_key(key, &mut scratch)?;
        let counter = match bucket.map(|b| window.place(b)) {
            None | Some(Place::Inside) => {
                sifted.table.merge_encoded(key, states)?;
                continue;
            }
            Some(Place::Late) => &mut sifted.late,
            Some(Place::Future) => &mut sifted.future,
        };
        *counter += 1;
        // Its states are read all the same: the next group's begin where they end.
        refused.get_or_insert_with(|| GroupTable::new(&shape.specs)).merge_encoded(key, states)?;
    }
    groups.finish()?;
    Ok(sifted)
}

/// Which buckets are plausible.
struct Window {
    start_min: i64,
    start_max: i64,
}

enum Place {
    Inside,
    Late,
    Future,
}

impl Window {
    fn new(time: Micros, shape: &ViewShape, options: &AdmitOptions) -> Self {
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        let width = shape.bucket.map_or(0, |b| b.width);
        let oldest = options.late_max.map(|d| time.0.saturating_sub(micros(d)).saturating_sub(width));
        Self {
            start_min: oldest.unwrap_or(i64::MIN),
            start_max: time.0.saturating_add(micros(options.future_skew)),
        }
    }

    fn place(&self, start: Micros) -> Place {
        match start.0 {
            s if s < self.start_min => Place::Late,
            s if s > self.start_max => Place::Future,
            _ => Place::Inside,
        }
    }
}
