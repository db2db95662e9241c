//! A plain `HashMap` from a tuple to a tuple: the least that any program does to count by key.

use crate::workload::Events;
use std::collections::HashMap;

/// Borrowed keys: not even the text is copied.
pub fn run(events: &Events) -> usize {
    let mut groups: HashMap<(&str, i64), (u64, f64)> = HashMap::new();
    for row in 0..events.len() {
        let group = groups.entry((events.path_text(row), events.status[row])).or_default();
        group.0 += 1;
        group.1 += events.latency_ms[row];
    }
    groups.len()
}
