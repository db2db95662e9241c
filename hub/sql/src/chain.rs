//! A view's output: the groups that a fold changes, as rows for the views that read them.
//!
//! Owns: the columns of such rows, and their evaluation by the plans of chained views. Must not know: folds, logs, SQL
//! text. A row has the group's keys, whether the group was there before, and the view's outputs three times: before, after,
//! and of what was merged. What is made of a chunk of rows is kept apart until the caller has written the chunk.

use crate::definition::{Chained, Output, ViewDef};
use headwater::aggregate::AggregateSpec;
use headwater::codec::Reader;
use headwater::group::{GroupTable, OTHER_KEY};
use headwater::ids::{Micros, StreamId};
use headwater::plan::{Op, Plan};
use headwater::rollup::{Rollup, RollupOptions, ViewPartials};
use headwater::schema::{Field, StreamSchema};
use headwater::value::column::{Column, ColumnBatch, Slot};
use headwater::value::key::{decode_append, is_key_type};
use headwater::value::{DataType, Value};
use std::sync::Arc;

/// What the group of producers' overflow is called in columns of type text.
const OTHER_NAME: &str = "(other)";

/// One of the three rows of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Before; NULL where the group is new.
    Old,
    /// After.
    New,
    /// Of what was merged alone.
    Delta,
}

/// Where things are in the rows of a view's output.
#[derive(Clone, Copy, Debug)]
pub struct OutputColumns {
    keys: usize,
    outputs: usize,
}

impl OutputColumns {
    /// Of this view.
    pub fn of(view: &ViewDef) -> Self {
        Self { keys: view.keys.len(), outputs: view.outputs.len() }
    }

    /// A group key: the same in all versions.
    pub fn key(self, at: usize) -> u16 {
        at as u16
    }

    /// True where there was a row before.
    pub fn existed(self) -> u16 {
        self.keys as u16
    }

    /// An output of one version.
    pub fn output(self, version: Version, at: usize) -> u16 {
        let block = match version {
            Version::Old => 0,
            Version::New => 1,
            Version::Delta => 2,
        };
        (self.keys + 1 + block * self.outputs + at) as u16
    }
}

/// True for types that columns of rows can have; a column of another type is always NULL.
pub fn is_column_type(data_type: &DataType) -> bool {
    is_key_type(data_type)
}

/// The rows of a view's output as the stream that plans read. It is in no catalog: its id is 0.
pub fn output_schema(view: &ViewDef) -> StreamSchema {
    let field = |name: String, data_type: &DataType| {
        let data_type = if is_column_type(data_type) { data_type.clone() } else { DataType::Bool };
        Field { name, data_type }
    };
    let mut fields: Vec<Field> =
        view.keys.iter().map(|(name, t)| field(format!("(new).{name}"), t)).collect();
    fields.push(field("old IS NOT NULL".to_owned(), &DataType::Bool));
    for version in ["old", "new", "delta"] {
        let output = |o: &Output| field(format!("({version}).{}", o.name), &o.data_type);
        fields.extend(view.outputs.iter().map(output));
    }
    StreamSchema { id: StreamId(0), name: format!("output_of('{}')", view.name), fields }
}

/// The views that read the output of one view.
#[derive(Debug)]
pub struct Chains {
    columns: OutputColumns,
    schema: StreamSchema,
    key_types: Vec<DataType>,
    outputs: Vec<Output>,
    specs: Vec<AggregateSpec>,
    chains: Vec<Chain>,
    /// Columns that any plan reads.
    wanted: Vec<bool>,
}

/// One reader.
#[derive(Debug)]
struct Chain {
    plan: Plan,
    combined: Vec<(u16, u16)>,
}

impl Chains {
    /// The active readers of `source` among `views`; `None` without any.
    pub fn of(source: &ViewDef, views: &[Arc<ViewDef>]) -> Option<Self> {
        let reads = |view: &&Arc<ViewDef>| {
            view.is_active() && view.chained().is_some_and(|Chained { source: of, .. }| *of == source.id)
        };
        let chains: Vec<Chain> = views.iter().filter(reads).map(|view| Chain::new(view)).collect();
        if chains.is_empty() {
            return None;
        }
        let schema = output_schema(source);
        let mut wanted = vec![false; schema.fields.len()];
        for node in chains.iter().flat_map(|chain| &chain.plan.nodes) {
            if let Op::Column(column) = node.op
                && let Some(wanted) = wanted.get_mut(usize::from(column))
            {
                *wanted = true;
            }
        }
        Some(Self {
            columns: OutputColumns::of(source),
            schema,
            key_types: source.keys.iter().map(|key| key.1.clone()).collect(),
            outputs: source.outputs.clone(),
            specs: source.specs(),
            chains,
            wanted,
        })
    }

    /// Room for the changes of one fold, which happens at `time`. Rows whose key is longer than `key_bytes_max` are
    /// rejected, as producers do.
    pub fn changes(self: &Arc<Self>, time: Micros, key_bytes_max: usize) -> Changes {
        let columns = self.schema.fields.iter().map(|field| Column::new(&field.data_type));
        let columns = columns.chain([Column::new(&DataType::Timestamp)]).collect();
        let reader = |chain: &Chain| {
            let mut rollup = Rollup::new(self.schema.clone(), RollupOptions { key_bytes_max });
            for (view, error) in rollup.set_plans(self.schema.clone(), vec![chain.plan.clone()]) {
                debug_assert!(false, "the plan of view {view} was checked when it was made: {error}");
            }
            Reading { rollup, now: Vec::new(), kept: Vec::new() }
        };
        Changes {
            readers: self.chains.iter().map(reader).collect(),
            of: Arc::clone(self),
            time,
            batch: ColumnBatch { columns },
            delta: GroupTable::new(&self.specs),
            deltas: Vec::new(),
        }
    }
}

impl Chain {
    fn new(view: &ViewDef) -> Self {
        let combined = view.chained().map_or(Vec::new(), |c| c.combined.clone());
        // All that a fold changes counts; how many groups are kept is decided where the partials are folded.
        Self { plan: Plan { groups_max: u32::MAX, ..view.plan.clone() }, combined }
    }
}

/// The changes of one fold of one view.
#[derive(Debug)]
pub struct Changes {
    of: Arc<Chains>,
    readers: Vec<Reading>,
    time: Micros,
    /// The rows of the chunk.
    batch: ColumnBatch,
    /// What was merged, by the source's keys.
    delta: GroupTable,
    /// The group in `delta` of each row.
    deltas: Vec<u32>,
}

#[derive(Debug)]
struct Reading {
    rollup: Rollup,
    /// Made of the chunk.
    now: Vec<ViewPartials>,
    /// Made of chunks before.
    kept: Vec<ViewPartials>,
}

impl Changes {
    /// Begins a chunk; what was made of one that was not kept is forgotten.
    pub fn begin(&mut self) {
        self.batch.clear();
        self.deltas.clear();
        self.delta = GroupTable::new(&self.of.specs);
        for reader in &mut self.readers {
            reader.now.clear();
            reader.rollup.drain();
        }
    }

    /// A group that is about to change: its row, where there is one.
    pub fn before(&mut self, rows: &GroupTable, group: Option<u32>) {
        let at = usize::from(self.of.columns.existed());
        self.batch.columns[at].push(&Value::Bool(group.is_some()));
        self.finish(Version::Old, rows, group);
    }

    /// Where to merge what is merged into the group.
    pub fn delta(&mut self) -> &mut GroupTable {
        &mut self.delta
    }

    /// The group of `key` after the change, behind [`Changes::before`] and the merge into [`Changes::delta`].
    pub fn after(&mut self, key: &[u8], rows: &GroupTable) {
        self.push_key(key);
        self.finish(Version::New, rows, rows.find(key));
        let delta = std::mem::replace(&mut self.delta, GroupTable::new(&[]));
        let group = delta.find(key);
        self.finish(Version::Delta, &delta, group);
        self.delta = delta;
        self.deltas.push(group.unwrap_or_default());
        let arrival = self.of.schema.fields.len();
        self.batch.columns[arrival].push(&Value::Int(self.time.0));
    }

    fn push_key(&mut self, key: &[u8]) {
        let mut reader = Reader::new(key);
        for (data_type, column) in self.of.key_types.iter().zip(&mut self.batch.columns) {
            let rows = column.len();
            if key == OTHER_KEY {
                let is_text = *data_type == DataType::Text;
                column.push(&if is_text { Value::Text(OTHER_NAME.to_owned()) } else { Value::Null });
            } else if decode_append(&mut reader, data_type, column).is_err() && column.len() == rows {
                // Keys were checked when they were admitted.
                column.push_slot(Slot::Domain);
            }
        }
    }

    fn finish(&mut self, version: Version, rows: &GroupTable, group: Option<u32>) {
        let of = &self.of;
        for (at, output) in of.outputs.iter().enumerate() {
            let place = usize::from(of.columns.output(version, at));
            let column = &mut self.batch.columns[place];
            match group.filter(|_| of.wanted[place]) {
                Some(group) => push_finished(column, output, rows, group),
                None => column.push_slot(Slot::Null),
            }
        }
    }

    /// Evaluates the chunk for all readers; nothing of it counts before [`Changes::keep`].
    pub fn evaluate(&mut self) {
        if self.batch.rows() == 0 {
            return;
        }
        let (delta, deltas) = (&self.delta, &self.deltas);
        for (reader, chain) in self.readers.iter_mut().zip(&self.of.chains) {
            reader.rollup.push(&self.batch);
            let placed: Vec<(u32, u32)> = reader.rollup.placed().collect();
            reader.now = reader.rollup.drain();
            let Some(partials) = reader.now.first_mut() else { continue };
            for (mine, theirs) in &chain.combined {
                let states = delta.states().get(usize::from(*theirs));
                let Some((mine, theirs)) =
                    partials.table.states_mut().get_mut(usize::from(*mine)).zip(states)
                else {
                    continue;
                };
                for (row, group) in &placed {
                    mine.merge_group(*group, theirs.as_ref(), deltas[*row as usize]);
                }
            }
        }
    }

    /// The chunk counts: what it was made of is written.
    pub fn keep(&mut self) {
        for reader in &mut self.readers {
            reader.kept.append(&mut reader.now);
        }
    }

    /// What all readers made of the chunks that were kept, without those that saw nothing.
    pub fn into_partials(self) -> Vec<ViewPartials> {
        let together = |mut reader: Reading| {
            reader.rollup.drain();
            reader.rollup.merge(reader.kept);
            reader.rollup.drain()
        };
        self.readers.into_iter().flat_map(together).collect()
    }
}

fn push_finished(column: &mut Column, output: &Output, rows: &GroupTable, group: u32) {
    if !is_column_type(&output.data_type) {
        return column.push_slot(Slot::Null);
    }
    let finished = rows.states().get(usize::from(output.state)).map(|s| s.finish(group, &output.finisher));
    let slot = match finished {
        Some(Ok(Value::Float(value))) if value.is_nan() => Slot::Domain,
        Some(Ok(value)) if value.fits(&output.data_type) => {
            if column.push(&value) {
                return;
            }
            Slot::Domain
        }
        // Beyond its type: rows that need it are rejected, as an overflow is everywhere.
        _ => Slot::Overflow,
    };
    column.push_slot(slot);
}
