use super::*;
use crate::aggregate::States;
use crate::codec::Writer;
use crate::value::column::Column;
use alloc::collections::BTreeMap;
use alloc::vec;
use proptest::prelude::*;

/// The simplest states there can be: a number of rows.
#[derive(Default)]
struct Rows(Vec<u64>);

impl States for Rows {
    fn resize(&mut self, groups: usize) {
        self.0.resize(groups, 0);
    }
    fn update(&mut self, _rows: &[u32], groups: &[u32], _args: &[&Column]) {
        groups.iter().for_each(|g| self.0[*g as usize] += 1);
    }
    fn merge(&mut self, group: u32, bytes: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.0[group as usize] += bytes.varint()?;
        Ok(())
    }
    fn admit(&mut self, group: u32, bytes: &mut Reader<'_>) -> Result<u64, DecodeError> {
        self.merge(group, bytes).map(|()| 0)
    }
    fn merge_group(&mut self, into: u32, other: &dyn States, from: u32) {
        self.0[into as usize] +=
            other.as_any().downcast_ref::<Self>().expect("the same states").0[from as usize];
    }
    fn encode(&self, group: u32, out: &mut Vec<u8>) {
        out.put_varint(self.0[group as usize]);
    }
    fn reset(&mut self, group: u32) {
        self.0[group as usize] = 0;
    }
    fn heap_bytes(&self) -> usize {
        self.0.capacity() * 8
    }
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
    #[cfg(feature = "finish")]
    fn finish(
        &self,
        group: u32,
        _: &aggregate::Finisher,
    ) -> Result<crate::value::Value, aggregate::FinishError> {
        Ok(crate::value::Value::Int(self.0[group as usize] as i64))
    }
}

fn table() -> GroupTable {
    GroupTable {
        specs: vec![AggregateSpec::Count { argument: false }],
        states: vec![Box::new(Rows::default())],
        keys: Keys::default(),
        index: Index::default(),
        admitted: Vec::new(),
    }
}

fn count(table: &mut GroupTable, keys: &[Vec<u8>], at_once: bool) {
    let mut lookup = Keys::default();
    keys.iter().for_each(|k| lookup.push(k));
    let mut groups = Vec::new();
    if at_once {
        table.group_all(&lookup, &mut groups);
    } else {
        groups.extend(keys.iter().map(|k| table.group(k)));
    }
    let rows: Vec<u32> = (0..keys.len() as u32).collect();
    table.states_mut()[0].update(&rows, &groups, &[]);
}

/// The counts by key, read through the canonical bytes.
fn contents(table: &GroupTable) -> Vec<(Vec<u8>, u64)> {
    let state = |g| {
        let mut out = Vec::new();
        table.encode_states(g, &mut out);
        Reader::new(&out).varint().expect("a count")
    };
    table.sorted().into_iter().map(|g| (table.key(g).to_vec(), state(g))).collect()
}

fn expected<'a>(keys: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<(Vec<u8>, u64)> {
    let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    keys.into_iter().for_each(|k| *counts.entry(k.clone()).or_default() += 1);
    counts.into_iter().collect()
}

fn some_keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let key = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..3),
        proptest::collection::vec(0u8..4, 0..40),
        (0u32..2000).prop_map(|v| v.to_be_bytes().to_vec()),
    ];
    proptest::collection::vec(key, 0..600)
}

proptest! {
    #[test]
    fn a_table_counts_as_a_map_does(batches in proptest::collection::vec((some_keys(), any::<bool>()), 1..4)) {
        let mut table = table();
        for (keys, at_once) in &batches {
            count(&mut table, keys, *at_once);
        }
        prop_assert_eq!(contents(&table), expected(batches.iter().flat_map(|(k, _)| k)));
        for (key, _) in contents(&table) {
            let group = table.find(&key).expect("a group of the table");
            prop_assert_eq!(table.key(group), key.as_slice());
        }
        prop_assert_eq!(table.find(b"no key of the strategy is this long, not even the longest ones"), None);
    }

    #[test]
    fn tables_merge_whole_by_group_and_from_bytes(a in some_keys(), b in some_keys()) {
        let want = expected(a.iter().chain(&b));
        let mut other = table();
        count(&mut other, &b, true);
        let (mut whole, mut by_group, mut from_bytes) = (table(), table(), table());
        for into in [&mut whole, &mut by_group, &mut from_bytes] {
            count(into, &a, true);
        }
        whole.merge_table(&other);
        for from in 0..other.len() as u32 {
            by_group.merge_group(other.key(from), &other, from);
            let mut bytes = Vec::new();
            other.encode_states(from, &mut bytes);
            let mut reader = Reader::new(&bytes);
            from_bytes.merge_encoded(other.key(from), &mut reader).expect("canonical bytes");
            reader.finish().expect("all bytes are read");
        }
        prop_assert_eq!(&contents(&whole), &want);
        prop_assert_eq!(&contents(&by_group), &want);
        prop_assert_eq!(&contents(&from_bytes), &want);
    }
}

#[test]
fn a_cleared_table_is_empty_and_usable() {
    let mut table = table();
    let keys: Vec<Vec<u8>> = (0u32..5000).map(|v| v.to_le_bytes().to_vec()).collect();
    count(&mut table, &keys, true);
    assert_eq!(table.len(), 5000);
    assert!(table.heap_bytes() > 5000 * 12);
    table.clear();
    assert!(table.is_empty());
    assert_eq!(table.find(&keys[7]), None);
    count(&mut table, &keys[..10], false);
    assert_eq!(contents(&table), expected(&keys[..10]));
}
