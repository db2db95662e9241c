//! What shard groups must know of views: how to decode their partials, which keys are plausible, how long
//! rows live.
//!
//! Owns: [`ViewShape`] and the index of the newest catalog. Must not know: SQL text, outputs.

use headwater::aggregate::{AggregateSpec, Finisher};
use headwater::codec::{DecodeError, Reader};
use headwater::group::{GroupTable, OTHER_KEY};
use headwater::ids::{CatalogVersion, Micros, PlanVersion, ViewId};
use headwater::plan::{BinaryOp, ExprId, Function, Node, Op, Plan, StatePlan};
use headwater::value::column::{Column, ColumnData};
use headwater::value::key::decode_append;
use headwater::value::{DataType, Interval, Value};
use headwater_sql::chain::Chains;
use headwater_sql::definition::ViewDef;
use headwater_sql::source::CatalogSnapshot;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const DAY: i64 = 86_400_000_000;

/// A view as shard groups see it.
#[derive(Debug)]
pub struct ViewShape {
    /// The view.
    pub id: ViewId,
    /// The plan versions whose partials are taken, the view's own first, and how many of the states each has.
    pub versions: Vec<(PlanVersion, usize)>,
    /// Heap bytes of a group's states while they are empty: what a byte or less of a batch becomes.
    pub group_bytes: usize,
    /// It reads another view's output: folds feed it, and no producer.
    pub is_chained: bool,
    /// Its states.
    pub specs: Vec<AggregateSpec>,
    /// Those of them that count their events (`count`, `sum`, quantiles, ...).
    pub counting: Vec<usize>,
    /// Types of its key columns.
    pub key_types: Vec<DataType>,
    /// The key column that tells when a group's events arrived, where there is one.
    pub bucket: Option<Bucket>,
    /// The states of `first` and `last` by time: their keys are times of arrival.
    pub arrivals: Vec<Arrival>,
    /// When rows expire.
    pub ttl: Option<Ttl>,
    /// Most groups per shard group (`group_cap`), where the view says so.
    pub groups_max: Option<u64>,
}

/// A time bucket made from `arrival_timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Which key column.
    pub column: usize,
    /// The widest a bucket can be, microseconds.
    pub width: i64,
    /// What was added to the time of arrival before it was cut into buckets, microseconds: local days.
    pub shift: i64,
}

/// A state that keeps the value of the first or the last arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which state.
    pub state: usize,
    /// True for `last`.
    pub is_last: bool,
}

/// Rows whose time is older than this are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// Which key column holds the time (`timestamptz` or `date`).
    pub column: usize,
    /// Their age, microseconds.
    pub age: i64,
}

/// Heap bytes of one group among several, all states empty.
fn group_bytes(specs: &[AggregateSpec]) -> usize {
    const GROUPS: u32 = 64;
    let mut table = GroupTable::new(specs);
    for n in 0..GROUPS {
        table.group(&n.to_be_bytes());
    }
    table.heap_bytes() / GROUPS as usize
}

fn versions(def: &ViewDef) -> Vec<(PlanVersion, usize)> {
    def.versions().into_iter().map(|version| (version, def.states_of(version))).collect()
}

impl ViewShape {
    /// How many of the states partials of a plan version have; `None`: they are not the view's.
    pub fn states_of(&self, version: PlanVersion) -> Option<usize> {
        self.versions.iter().find(|known| known.0 == version).map(|known| known.1)
    }

    /// Most groups per shard group at a hub whose views may have `hub_max`.
    pub fn group_cap(&self, hub_max: u64) -> u64 {
        self.groups_max.map_or(hub_max, |max| max.min(hub_max))
    }

    /// The shape of `def`, or `None` when this build cannot hold its states.
    pub fn new(def: &ViewDef, arrival_column: Option<u16>) -> Option<Self> {
        let specs = def.specs();
        let counting = counting(GroupTable::try_new(&specs)?);
        Some(Self {
            id: def.id,
            versions: versions(def),
            is_chained: def.chained().is_some(),
            group_bytes: group_bytes(&specs),
            specs,
            counting,
            key_types: def.keys.iter().map(|k| k.1.clone()).collect(),
            bucket: arrival_column.and_then(|column| find_bucket(&def.plan, column)),
            arrivals: arrival_column.map_or(Vec::new(), |column| find_arrivals(&def.plan, column)),
            ttl: find_ttl(def),
            groups_max: def.typed_options().group_cap.map(u64::from),
        })
    }

    /// True when this is still the shape of the view: ALTER changes how long its rows live, and how many they are.
    fn is_of(&self, def: &ViewDef) -> bool {
        let groups_max = def.typed_options().group_cap.map(u64::from);
        self.versions == versions(def) && (self.ttl, self.groups_max) == (find_ttl(def), groups_max)
    }

    /// The events a group stands for, as the state says that counts most of them; `None` when no state counts.
    pub fn events(&self, table: &GroupTable, group: u32) -> Option<u64> {
        let count = |at: &usize| match table.states().get(*at)?.finish(group, &Finisher::Count) {
            Ok(Value::Int(count)) => u64::try_from(count).ok(),
            // More than any integer holds.
            _ => Some(u64::MAX),
        };
        self.counting.iter().filter_map(count).max()
    }

    /// Scratch for [`ViewShape::check_key`].
    pub fn key_columns(&self) -> Vec<Column> {
        self.key_types.iter().map(Column::new).collect()
    }

    /// Refuses bytes that are no key of this view; returns the time of its bucket, if it has one.
    pub fn check_key(&self, key: &[u8], scratch: &mut [Column]) -> Result<Option<Micros>, DecodeError> {
        if key == OTHER_KEY {
            return Ok(None);
        }
        let mut reader = Reader::new(key);
        for (data_type, column) in self.key_types.iter().zip(scratch.iter_mut()) {
            column.clear();
            decode_append(&mut reader, data_type, column)?;
        }
        reader.finish()?;
        let time = |b: Bucket| {
            let start = time_of(scratch.get(b.column)?, &self.key_types[b.column])?;
            Some(Micros(start.0.saturating_sub(b.shift)))
        };
        Ok(self.bucket.and_then(time))
    }

    /// The time in a key's TTL column.
    pub fn ttl_time(&self, key: &[u8], scratch: &mut [Column]) -> Option<Micros> {
        let ttl = self.ttl?;
        if key == OTHER_KEY {
            return None;
        }
        self.check_key(key, scratch).ok()?;
        time_of(scratch.get(ttl.column)?, &self.key_types[ttl.column])
    }
}

/// The states that answer how many events they hold.
fn counting(mut table: GroupTable) -> Vec<usize> {
    table.group(&[]);
    let counts = |at: &usize| matches!(table.states()[*at].finish(0, &Finisher::Count), Ok(Value::Int(0)));
    (0..table.states().len()).filter(counts).collect()
}

fn time_of(column: &Column, data_type: &DataType) -> Option<Micros> {
    match &column.data {
        ColumnData::Int(values) if column.is_valid(0) => {
            let value = *values.first()?;
            Some(Micros(if *data_type == DataType::Date { value.saturating_mul(DAY) } else { value }))
        }
        _ => None,
    }
}

/// All views of one catalog version.
#[derive(Debug, Default)]
pub struct Views {
    /// The catalog they are from.
    pub version: CatalogVersion,
    by_id: HashMap<ViewId, Arc<ViewShape>>,
    existing: HashSet<ViewId>,
    /// By the view whose output is read.
    chains: HashMap<ViewId, Arc<Chains>>,
}

impl Views {
    /// The views of a catalog. Shapes of views that `previous` knows are shared.
    pub fn new(catalog: &CatalogSnapshot, previous: &Views) -> Self {
        let shape = |def: &Arc<ViewDef>| {
            let known = previous.by_id.get(&def.id).filter(|s| s.is_of(def));
            let arrival = || u16::try_from(catalog.source_of(def)?.fields.len()).ok();
            let shape = known.cloned().or_else(|| ViewShape::new(def, arrival()).map(Arc::new));
            if shape.is_none() {
                tracing::warn!(view = %def.name, "this build cannot hold the states of a view; its batches are dropped");
            }
            shape.map(|s| (def.id, s))
        };
        let existing = catalog.views.iter().map(|v| v.id).collect();
        let chains = |def: &Arc<ViewDef>| Some((def.id, Arc::new(Chains::of(def, &catalog.views)?)));
        Self {
            version: catalog.version,
            by_id: catalog.views.iter().filter_map(shape).collect(),
            existing,
            chains: catalog.views.iter().filter_map(chains).collect(),
        }
    }

    /// The views that read the output of this one.
    pub fn chains(&self, view: ViewId) -> Option<&Arc<Chains>> {
        self.chains.get(&view)
    }

    /// True when any view reads another one's output.
    pub fn has_chains(&self) -> bool {
        !self.chains.is_empty()
    }

    /// True for views of the catalog, also those whose states this build cannot hold.
    pub fn exists(&self, view: ViewId) -> bool {
        self.existing.contains(&view)
    }

    /// A view, unless it was dropped, never existed, or has states that this build cannot hold.
    pub fn get(&self, view: ViewId) -> Option<&Arc<ViewShape>> {
        self.by_id.get(&view)
    }

    /// All views.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ViewShape>> {
        self.by_id.values()
    }
}

/// The first key that is a time bucket of `arrival_timestamp`, or that timestamp itself, perhaps shifted by a constant.
fn find_bucket(plan: &Plan, arrival: u16) -> Option<Bucket> {
    let node = |id: &ExprId| plan.nodes.get(usize::from(id.0));
    plan.keys.iter().enumerate().find_map(|(column, key)| {
        let (inner, outer) = shifted(plan, key);
        match &node(inner)?.op {
            Op::Call(Function::DateTrunc | Function::TimeBucket, args) => {
                let [unit, time] = args.as_slice() else { return None };
                let shift = find_shift(plan, time, arrival)?.checked_add(outer)?;
                Some(Bucket { column, width: literal_width(node(unit)?)?, shift })
            }
            _ => Some(Bucket { column, width: 0, shift: find_shift(plan, key, arrival)? }),
        }
    })
}

/// An expression without the constant span added to it last, and that span: buckets with an origin are shifted back.
fn shifted<'p>(plan: &'p Plan, id: &'p ExprId) -> (&'p ExprId, i64) {
    let span = |by: &ExprId| constant_span(plan.nodes.get(usize::from(by.0))?);
    let found = match plan.nodes.get(usize::from(id.0)).map(|n| &n.op) {
        Some(Op::Binary(BinaryOp::Add, time, by)) => span(by).map(|by| (time, by)),
        Some(Op::Binary(BinaryOp::Subtract, time, by)) => span(by).map(|by| (time, -by)),
        _ => None,
    };
    found.unwrap_or((id, 0))
}

/// How far from the time of arrival an expression is: 0 for `arrival_timestamp`, -5 hours for
/// `arrival_timestamp - interval '5 hours'`; `None` where that is not constant.
fn find_shift(plan: &Plan, time: &ExprId, arrival: u16) -> Option<i64> {
    let node = |id: &ExprId| plan.nodes.get(usize::from(id.0));
    match &node(time)?.op {
        Op::Column(column) if *column == arrival => Some(0),
        Op::Binary(BinaryOp::Add, a, b) => {
            let (time, by) = if constant_span(node(b)?).is_some() { (a, b) } else { (b, a) };
            find_shift(plan, time, arrival)?.checked_add(constant_span(node(by)?)?)
        }
        Op::Binary(BinaryOp::Subtract, time, by) => {
            find_shift(plan, time, arrival)?.checked_sub(constant_span(node(by)?)?)
        }
        _ => None,
    }
}

/// A literal interval without months, microseconds.
fn constant_span(node: &Node) -> Option<i64> {
    match &node.op {
        Op::Literal(Value::Interval(by)) if by.months == 0 => {
            i64::from(by.days).checked_mul(DAY)?.checked_add(by.micros)
        }
        _ => None,
    }
}

/// The states whose key is the arrival timestamp itself. Keys that users made are theirs to bound.
fn find_arrivals(plan: &Plan, arrival: u16) -> Vec<Arrival> {
    let by_arrival = |state: &StatePlan| {
        let key = state.args.get(1).and_then(|id| plan.nodes.get(usize::from(id.0)));
        key.is_some_and(|key| key.op == Op::Column(arrival))
    };
    let states = plan.states.iter().enumerate().filter(|(_, state)| by_arrival(state));
    let arrivals = states.filter_map(|(at, state)| match state.spec {
        AggregateSpec::ArgMin { .. } => Some(Arrival { state: at, is_last: false }),
        AggregateSpec::ArgMax { .. } => Some(Arrival { state: at, is_last: true }),
        _ => None,
    });
    arrivals.collect()
}

/// The widest bucket of a `date_trunc` field or a `time_bucket` interval.
fn literal_width(node: &Node) -> Option<i64> {
    let Op::Literal(value) = &node.op else { return None };
    match value {
        Value::Interval(interval) => Some(interval_max(*interval)),
        Value::Text(field) => Some(match field.to_ascii_lowercase().as_str() {
            "microseconds" | "microsecond" => 1,
            "milliseconds" | "millisecond" => 1_000,
            "seconds" | "second" => 1_000_000,
            "minutes" | "minute" => 60_000_000,
            "hours" | "hour" => 3_600_000_000,
            "days" | "day" => DAY,
            "weeks" | "week" => 7 * DAY,
            "months" | "month" => 31 * DAY,
            "quarters" | "quarter" => 92 * DAY,
            "years" | "year" => 366 * DAY,
            "decades" | "decade" => 3_653 * DAY,
            "centuries" | "century" => 36_525 * DAY,
            "millennia" | "millennium" => 365_250 * DAY,
            _ => return None,
        }),
        _ => None,
    }
}

fn interval_max(interval: Interval) -> i64 {
    let days = i64::from(interval.months) * 31 + i64::from(interval.days);
    days.saturating_mul(DAY).saturating_add(interval.micros)
}

/// The options `ttl` and `ttl_column`; without the latter the first time column of the key. Views whose
/// options make no sense were refused by SQL; here they just never expire. A sliding window's panes lead the key, and
/// are kept for one pane longer than anybody reads them.
fn find_ttl(def: &ViewDef) -> Option<Ttl> {
    if let Some(window) = def.window() {
        return Some(Ttl { column: 0, age: window.span_us.saturating_add(window.pane_us) });
    }
    let options = def.typed_options();
    let age = interval_age(options.ttl?);
    let is_time = |t: &DataType| matches!(t, DataType::Timestamp | DataType::Date);
    let column = match options.ttl_column {
        Some(name) => def.keys.iter().position(|k| k.0.eq_ignore_ascii_case(&name))?,
        None => def.keys.iter().position(|k| is_time(&k.1))?,
    };
    (age > 0 && is_time(&def.keys[column].1)).then_some(Ttl { column, age })
}

/// A month counts 30 days, as PostgreSQL compares intervals.
fn interval_age(interval: Interval) -> i64 {
    let days = i64::from(interval.months) * 30 + i64::from(interval.days);
    days.saturating_mul(DAY).saturating_add(interval.micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::view_def;
    use headwater_sql::definition::{Attribute, SlidingWindow};

    fn bucketed() -> ViewDef {
        let mut def = view_def("v", 1);
        let text = |s: &str| Node { op: Op::Literal(Value::Text(s.into())), data_type: DataType::Text };
        let time = DataType::Timestamp;
        def.plan.nodes = vec![
            Node { op: Op::Column(0), data_type: DataType::Text },
            Node { op: Op::Column(1), data_type: DataType::Int64 },
            text("minute"),
            Node { op: Op::Column(2), data_type: time.clone() },
            Node { op: Op::Call(Function::DateTrunc, vec![ExprId(2), ExprId(3)]), data_type: time.clone() },
        ];
        def.plan.keys = vec![ExprId(0), ExprId(4)];
        def.keys = vec![("k".into(), DataType::Text), ("minute".into(), time)];
        def
    }

    #[test]
    fn buckets_of_the_arrival_time_are_found() {
        let def = bucketed();
        assert_eq!(find_bucket(&def.plan, 2), Some(Bucket { column: 1, width: 60_000_000, shift: 0 }));
        assert_eq!(find_bucket(&def.plan, 3), None, "another column is the user's own time");
    }

    /// Local days, the usual key of a page's views, were taken of any age.
    #[test]
    fn shifted_buckets_of_the_arrival_time_are_found() {
        let mut def = bucketed();
        let span = |days, micros, months| Node {
            op: Op::Literal(Value::Interval(Interval { months, days, micros })),
            data_type: DataType::Interval,
        };
        let shifted = |op, a, b| Node { op: Op::Binary(op, a, b), data_type: DataType::Timestamp };
        let bucket = def.plan.nodes.pop().expect("bucket");
        def.plan.nodes.push(span(0, 18_000_000_000, 0));
        def.plan.nodes.push(shifted(BinaryOp::Subtract, ExprId(3), ExprId(4)));
        def.plan.nodes.push(span(1, 0, 0));
        def.plan.nodes.push(shifted(BinaryOp::Add, ExprId(6), ExprId(5)));
        let args = vec![ExprId(2), ExprId(7)];
        def.plan.nodes.push(Node { op: Op::Call(Function::DateTrunc, args), ..bucket });
        def.plan.keys = vec![ExprId(0), ExprId(8)];
        let shift = DAY - 18_000_000_000;
        assert_eq!(find_bucket(&def.plan, 2), Some(Bucket { column: 1, width: 60_000_000, shift }));
        let shape = ViewShape::new(&def, Some(2)).expect("shape");
        let values = [Value::Text("a".into()), Value::Int(shift + 60_000_000)];
        let types = [DataType::Text, DataType::Timestamp];
        let key = headwater::value::key::encode_key(&values, &types).expect("key");
        let time = shape.check_key(&key, &mut shape.key_columns()).expect("key");
        assert_eq!(time, Some(Micros(60_000_000)), "the time of arrival, not the local one");
        def.plan.nodes[4] = span(0, 0, 1);
        assert_eq!(find_bucket(&def.plan, 2), None, "months have no length");
    }

    #[test]
    fn buckets_with_an_origin_are_found_too() {
        let mut def = bucketed();
        let interval = |micros| Node {
            op: Op::Literal(Value::Interval(Interval { months: 0, days: 0, micros })),
            data_type: DataType::Interval,
        };
        let time = |op| Node { op, data_type: DataType::Timestamp };
        def.plan.nodes = vec![
            interval(300_000_000),
            interval(7_000_000),
            time(Op::Column(2)),
            time(Op::Binary(BinaryOp::Subtract, ExprId(2), ExprId(1))),
            time(Op::Call(Function::TimeBucket, vec![ExprId(0), ExprId(3)])),
            time(Op::Binary(BinaryOp::Add, ExprId(4), ExprId(1))),
        ];
        def.plan.keys = vec![ExprId(5)];
        assert_eq!(find_bucket(&def.plan, 2), Some(Bucket { column: 0, width: 300_000_000, shift: 0 }));
        assert_eq!(find_bucket(&def.plan, 1), None);
        def.plan.keys = vec![ExprId(3)];
        let moved = Some(Bucket { column: 0, width: 0, shift: -7_000_000 });
        assert_eq!(find_bucket(&def.plan, 2), moved, "a time that is moved is a bucket of its own");
    }

    #[test]
    fn shapes_follow_what_alter_changes_and_windows_expire() {
        let mut def = bucketed();
        let shape = ViewShape::new(&def, Some(2)).expect("shape");
        assert!(shape.is_of(&def));
        def.options = vec![("ttl".into(), "1 day".into())];
        assert!(!shape.is_of(&def));
        def.options = vec![("group_cap".into(), "5".into())];
        assert!(!shape.is_of(&def));
        def.attributes = vec![Attribute::Window(SlidingWindow { span_us: 3_600, pane_us: 180 })];
        assert_eq!(find_ttl(&def), Some(Ttl { column: 0, age: 3_780 }));
    }

    #[test]
    fn ttl_needs_a_time_column_of_the_key() {
        let mut def = bucketed();
        assert_eq!(find_ttl(&def), None);
        def.options = vec![("ttl".into(), "30 days".into())];
        assert_eq!(find_ttl(&def), Some(Ttl { column: 1, age: 30 * DAY }));
        def.options.push(("ttl_column".into(), "k".into()));
        assert_eq!(find_ttl(&def), None);
    }

    #[test]
    fn every_spelling_of_a_ttl_that_sql_accepts_expires() {
        let mut def = bucketed();
        let spellings = [
            ("1 month 2 days", 32 * DAY),
            ("3600", 3_600_000_000),
            ("02:30:00", 9_000_000_000),
            ("1.5 days", 3 * DAY / 2),
        ];
        for (text, age) in spellings {
            def.options = vec![("ttl".into(), text.into())];
            assert_eq!(find_ttl(&def), Some(Ttl { column: 1, age }), "{text}");
        }
    }
}
