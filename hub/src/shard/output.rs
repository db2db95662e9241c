//! What a fold changed in a view, as the payload of a log record for the views that read its output.
//!
//! Owns: from evaluated changes to bytes. Must not know: where they are stored.

use super::admit::NO_LIMITS;
use headwater::rollup::ViewPartials;
use headwater::wire::batch::{LedgerDelta, SectionInput, encode_payloads};
use headwater_sql::chain::Changes;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The payload of what readers made of changes; `None` when that is nothing. States that break their own code cost the
/// readers this fold's changes, never the fold: they were merged once already, so that nothing is known to do it.
pub(super) fn payload(changes: Changes) -> Option<Vec<u8>> {
    let partials = catch_unwind(AssertUnwindSafe(|| changes.into_partials()));
    let Ok(partials) = partials else {
        tracing::error!("changes of a view cannot be merged: the views that read its output miss them");
        return None;
    };
    encoded(&partials)
}

fn encoded(partials: &[ViewPartials]) -> Option<Vec<u8>> {
    let sections: Vec<_> = partials.iter().map(SectionInput::from).collect();
    // A fold's record is as large as what the fold takes: bounded by that alone.
    let mut encoded = encode_payloads(&LedgerDelta::default(), &sections, &NO_LIMITS);
    debug_assert!(encoded.payloads.len() <= 1, "without limits nothing is split");
    encoded.payloads.pop().map(|payload| payload.bytes)
}
