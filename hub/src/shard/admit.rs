//! Admission: from foreign payload bytes to checked partials, before the writer sees them.
//!
//! Owns: decoding, limits, plausibility (rule P1's second half). Must not know: sessions, the log.
//! What is decided here is decided once: the record carries the time and the [`Window`] it was decided by, and
//! [`readmit`] reads a record back by those, never by a clock or by today's options. Counts are not held against
//! a section's events: a flush that was split over several batches apportions its events by groups.

use super::ledger::Total;
use super::overlay::{Damaged, Partials};
use super::record::Window;
use super::views::{ViewShape, Views};
use headwater::aggregate::integer_key;
use headwater::codec::{DecodeError, Reader};
use headwater::group::GroupTable;
use headwater::ids::{Micros, ViewId};
use headwater::limits::BatchLimits;
use headwater::wire::RefusedCode;
use headwater::wire::batch::{Payload, Section};
use std::collections::HashSet;
use std::sync::Arc;

/// What admission checks besides the format.
#[derive(Clone, Copy, Debug)]
pub struct AdmitOptions {
    /// Limits of one batch.
    pub limits: BatchLimits,
    /// Which time buckets are taken.
    pub window: Window,
}

/// Records may have been taken under any limits.
pub(super) const NO_LIMITS: BatchLimits = BatchLimits {
    payload_bytes_max: usize::MAX,
    groups_max: usize::MAX,
    key_bytes_max: usize::MAX,
    keys_bytes_max: usize::MAX,
    sections_max: usize::MAX,
};

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
    partials.ledger.batches = 1;
    partials.ledger.report(&payload.ledger);
    for section in payload.sections() {
        take(section, time, views, How { window: options.window, is_output: false }, &mut partials)?;
    }
    Ok(partials)
}

/// Bytes that a payload takes while it waits: its own, and those of the states that it becomes, of which a byte of a
/// batch may make seventy. Sketches grow by what they hold besides, two to four times their bytes.
pub fn weight(payload: &[u8], views: &Views, limits: &BatchLimits) -> usize {
    let Ok(parsed) = Payload::parse(payload, limits) else { return payload.len() };
    let states = parsed.sections().iter().filter_map(|section| {
        let shape = views.get(section.view)?;
        // Whatever it claims: a group has a byte of key and of each state at least.
        let groups = section.groups.min(payload.len() / (1 + shape.specs.len()));
        Some(groups.saturating_mul(shape.group_bytes))
    });
    states.fold(payload.len(), usize::saturating_add)
}

/// How sections are read.
#[derive(Clone, Copy)]
struct How {
    window: Window,
    /// They are what a fold made for the views that read outputs, and not a producer's claim: they stand for what many
    /// batches brought, each within its bounds.
    is_output: bool,
}

impl How {
    /// The first `count` states of a group.
    fn read(
        self,
        table: &mut GroupTable,
        key: &[u8],
        (states, count): (&mut Reader<'_>, usize),
    ) -> Result<u32, DecodeError> {
        match self.is_output {
            true => table.merge_first(key, states, count),
            false => table.admit_first(key, states, count),
        }
    }
}

/// Reads the payload of a record that was admitted at `time` under `window`. What was taken stays taken: a
/// section that this build cannot read (any more) is handed on for quarantine, the others count.
pub fn readmit(bytes: &[u8], time: Micros, window: Window, views: &Views) -> Partials {
    reread(bytes, time, How { window, is_output: false }, views)
}

fn reread(bytes: &[u8], time: Micros, how: How, views: &Views) -> Partials {
    let mut partials = Partials::default();
    partials.ledger.batches = 1;
    let damaged = |view| Damaged { view, payload: bytes.to_vec() };
    let payload = match Payload::parse(bytes, &NO_LIMITS) {
        Ok(payload) => payload,
        Err(error) => {
            tracing::error!(%error, "the payload of a log record cannot be read");
            partials.damaged.push(damaged(ViewId(0)));
            return partials;
        }
    };
    partials.ledger.report(&payload.ledger);
    for section in payload.sections() {
        let view = section.view;
        if let Err(error) = take(section, time, views, how, &mut partials) {
            tracing::error!(%view, error = error.message, "a section of a log record cannot be read");
            partials.damaged.push(damaged(view));
        }
    }
    partials
}

/// Reads the payload of a record that a fold made. Its rows are no events of a producer: no batch is counted.
pub fn read_output(bytes: &[u8], time: Micros, views: &Views) -> Partials {
    let mut partials = reread(bytes, time, How { window: Window::ANY, is_output: true }, views);
    partials.ledger.batches = 0;
    partials
}

/// Adds a section to `partials`, whole or not at all.
fn take(
    section: &Section<'_>,
    time: Micros,
    views: &Views,
    how: How,
    partials: &mut Partials,
) -> Result<(), NotAdmitted> {
    let ledger = &mut partials.ledger;
    // Another version's view was dropped, too: this one got its id in another cluster, or in an older copy's future.
    // And what views make of other views' outputs is no producer's to say.
    let shape = views.get(section.view).filter(|shape| shape.is_chained == how.is_output);
    let taken = shape.and_then(|shape| Some((shape, shape.states_of(section.version)?)));
    let Some((shape, states)) = taken else {
        ledger.view_dropped_sections += 1;
        ledger.view_dropped_groups += section.groups as Total;
        ledger.view_dropped_events = ledger.view_dropped_events.saturating_add(section.events.into());
        return Ok(());
    };
    let sifted = sift(section, (shape, states), time, how)?;
    ledger.rejected.report(&section.rejected);
    ledger.groups += sifted.table.len() as Total;
    ledger.late_groups += sifted.late;
    ledger.future_groups += sifted.future;
    partials.views.push((section.view, sifted.table));
    Ok(())
}

struct Sifted {
    table: GroupTable,
    late: Total,
    future: Total,
}

/// Merges the section's groups into a table of their own, without those at impossible times.
fn sift(
    section: &Section<'_>,
    (shape, count): (&Arc<ViewShape>, usize),
    time: Micros,
    how: How,
) -> Result<Sifted, NotAdmitted> {
    let mut sifted = Sifted { table: GroupTable::new(&shape.specs), late: 0, future: 0 };
    let mut left_out = HashSet::new();
    let mut scratch = shape.key_columns();
    let window = Bounds::new(time, shape, how.window);
    let mut groups = section.groups();
    while let Some((key, states)) = groups.next_group()? {
        let bucket = shape.check_key(key, &mut scratch)?;
        // Its states are read wherever it belongs: the next group's begin where they end.
        let group = how.read(&mut sifted.table, key, (states, count))?;
        let counter = match window.place_of_group(bucket, shape, &sifted.table, group) {
            Place::Inside => continue,
            Place::Late => &mut sifted.late,
            Place::Future => &mut sifted.future,
        };
        *counter += 1;
        left_out.insert(group);
    }
    groups.finish()?;
    if !left_out.is_empty() {
        sifted.table = without(&sifted.table, &left_out);
    }
    Ok(sifted)
}

fn without(table: &GroupTable, left_out: &HashSet<u32>) -> GroupTable {
    let mut kept = GroupTable::new(table.specs());
    for group in (0..table.len() as u32).filter(|group| !left_out.contains(group)) {
        kept.merge_group(table.key(group), table, group);
    }
    kept
}

/// Which times are plausible.
struct Bounds {
    start_min: i64,
    start_max: i64,
}

enum Place {
    Inside,
    Late,
    Future,
}

impl Bounds {
    fn new(time: Micros, shape: &ViewShape, window: Window) -> Self {
        let micros = |seconds: u32| i64::from(seconds) * 1_000_000;
        let width = shape.bucket.map_or(0, |b| b.width);
        let oldest = window.late_max.map(|s| time.0.saturating_sub(micros(s)).saturating_sub(width));
        Self {
            start_min: oldest.unwrap_or(i64::MIN),
            start_max: time.0.saturating_add(micros(window.future_skew)),
        }
    }

    /// Where a group's bucket is, and the events that `first` and `last` say they kept: a forged time of arrival
    /// would win against every event to come.
    fn place_of_group(
        &self,
        bucket: Option<Micros>,
        shape: &ViewShape,
        table: &GroupTable,
        group: u32,
    ) -> Place {
        let winning = shape.arrivals.iter().filter_map(|arrival| {
            let key = integer_key(table.states().get(arrival.state)?.as_ref(), group)?;
            Some((self.place(Micros(key)), arrival.is_last))
        });
        let wins = winning.filter_map(|(place, is_last)| match (&place, is_last) {
            (Place::Future, true) | (Place::Late, false) => Some(place),
            _ => None,
        });
        let places = bucket.map(|bucket| self.place(bucket)).into_iter().chain(wins);
        places.into_iter().find(|place| !matches!(place, Place::Inside)).unwrap_or(Place::Inside)
    }

    fn place(&self, start: Micros) -> Place {
        match start.0 {
            s if s < self.start_min => Place::Late,
            s if s > self.start_max => Place::Future,
            _ => Place::Inside,
        }
    }
}
