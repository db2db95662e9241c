//! Golden vectors of whole events, `tests/vectors/events.txt`: a plan, and what one event of it becomes. JavaScript
//! gives the same plans and events to the WASM module (`js/test/vectors.test.mjs`): what it ships has to be the same.
//!
//! The plans are the expressions of `expressions.txt` and the values of `keys.txt`, each as a group key over one event.

use super::*;
use crate::expr::tests::case::Case;
use crate::limits::BatchLimits;
use crate::value::column::Slot;
use crate::value::key::tests::golden;
use crate::wire::batch::{LedgerDelta, SectionInput, encode_payloads};
use std::format;

const FILE: &str = include_str!("../../../../tests/vectors/events.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names and plans; the number of the view is the position of its line.
fn plans() -> Vec<(String, Plan)> {
    let expressions = include_str!("../../../../tests/vectors/expressions.txt");
    let keys = golden().into_iter().map(|(name, data_type, value)| {
        let mut b = PlanBuilder::new();
        let root = b.literal(value, data_type).expect("room");
        (format!("key {name}"), b, root)
    });
    let cases = expressions.lines().filter(|line| !line.starts_with('#')).enumerate().map(|(at, line)| {
        let mut b = PlanBuilder::new();
        let root = Case::parse(line).literals(&mut b);
        (format!("expression {}", at + 1), b, root)
    });
    let grouped = |(at, (name, mut b, root)): (usize, (String, PlanBuilder, _))| {
        b.key(root).expect("room");
        b.state(AggregateSpec::Count { argument: false }, &[], None).expect("room");
        (name, b.finish(ViewId(at as u32 + 1), PlanVersion(1), StreamId(1), 10))
    };
    keys.chain(cases).enumerate().map(grouped).collect()
}

/// The payload of one event without values, in hex.
fn payload(plan: &Plan) -> String {
    let field = Field { name: String::from("c"), data_type: DataType::Text };
    let schema = StreamSchema { id: StreamId(1), name: String::from("events"), fields: vec![field] };
    let mut batch = schema.empty_batch();
    batch.columns[0].push_slot(Slot::Null);
    assert!(batch.columns[1].push(&Value::Int(0)));
    let mut rollup = Rollup::new(schema.clone(), RollupOptions::default());
    assert!(rollup.set_plans(schema, vec![plan.clone()]).is_empty(), "{plan:?}");
    rollup.push(&batch);
    let delta = LedgerDelta { events: rollup.take_events(), ..LedgerDelta::default() };
    let partials = rollup.drain();
    let sections: Vec<_> = partials.iter().map(SectionInput::from).collect();
    hex(&encode_payloads(&delta, &sections, &BatchLimits::BROWSER).payloads[0].bytes)
}

/// The file is add-only: the lines that are missing are printed by this test's failure; an old line never changes.
#[test]
fn golden_vectors_hold() {
    let known: BTreeMap<&str, &str> = FILE.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut wrong = String::new();
    for (name, plan) in plans() {
        let line = format!("{}\t{}", hex(&plan.to_bytes()), payload(&plan));
        if known.get(name.as_str()) != Some(&line.as_str()) {
            wrong += &format!("{name}\t{line}\n");
        }
    }
    assert!(wrong.is_empty(), "missing or different:\n{wrong}");
}
