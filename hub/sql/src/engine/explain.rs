//! `EXPLAIN CONTINUOUS VIEW`: what producers evaluate, what is kept, and how large it is.

use super::answer::Answer;
use super::expression;
use crate::definition::{PANE_KEY, ViewDef};
use crate::error::SqlError;
use crate::source::{CatalogSnapshot, ScanRequest, Source};
use crate::types::type_name;
use datafusion::arrow::temporal_conversions::timestamp_us_to_datetime;
use futures::StreamExt;
use headwater::aggregate::AggregateSpec;
use headwater::group::GroupTable;
use headwater::schema::{Field, StreamSchema};
use headwater::value::{DataType, Value};
use headwater::wire::ReadLevel;
use std::sync::Arc;

/// Groups that are measured: the first ones.
const SAMPLE: usize = 4_096;

/// The answer: one row per part of the view.
pub(super) fn view(def: &ViewDef, catalog: &CatalogSnapshot, sizes: &Sizes) -> Result<Answer, SqlError> {
    let mut rows = Rows(Vec::new());
    if let Some(stream) = catalog.source_of(def) {
        plan(&mut rows, def, &stream, sizes);
    }
    reading(&mut rows, def);
    storage(&mut rows, def, sizes);
    let column = |name: &str| Field { name: name.to_owned(), data_type: DataType::Text };
    Answer::values("EXPLAIN", vec![column("part"), column("detail")], &rows.0)
}

struct Rows(Vec<Vec<Value>>);

impl Rows {
    fn push(&mut self, part: impl Into<String>, detail: impl Into<String>) {
        self.0.push(vec![Value::Text(part.into()), Value::Text(detail.into())]);
    }
}

/// What producers evaluate.
fn plan(rows: &mut Rows, def: &ViewDef, stream: &StreamSchema, sizes: &Sizes) {
    let text = |id| expression::text(&def.plan, stream, id);
    rows.push("stream", &stream.name);
    if let Some(filter) = def.plan.filter {
        rows.push("filter", text(filter));
    }
    for ((name, data_type), id) in def.keys.iter().zip(&def.plan.keys) {
        let name = if name == PANE_KEY { "(pane)" } else { name };
        rows.push(format!("key {name}"), format!("{} = {}", type_name(data_type), text(*id)));
    }
    for (at, state) in def.plan.states.iter().enumerate() {
        let args: Vec<String> = state.args.iter().map(|id| text(*id)).collect();
        let filter = state.filter.map(|id| format!(" FILTER (WHERE {})", text(id))).unwrap_or_default();
        let merged = def.chained().and_then(|c| c.combined.iter().find(|(mine, _)| usize::from(*mine) == at));
        if let Some((_, theirs)) = merged {
            rows.push(format!("state {at}"), format!("{}, merged from state {theirs}", spec(&state.spec)));
            continue;
        }
        let size = sizes.state(at).map(|bytes| format!(": {bytes} bytes on average")).unwrap_or_default();
        rows.push(format!("state {at}"), format!("{}({}){filter}{size}", spec(&state.spec), args.join(", ")));
    }
}

/// A state with the parameters that decide what it merges with.
fn spec(spec: &AggregateSpec) -> String {
    let debug = format!("{spec:?}");
    let rest = debug.find(['(', ' ']).map_or("", |at| debug[at..].trim());
    let braced = || rest.strip_prefix("{ ")?.strip_suffix(" }");
    // Whether there is an argument is seen in the call.
    let is_parameter = |part: &&str| !part.starts_with("argument: ");
    match rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).or_else(braced) {
        Some(parameters) if parameters.split(", ").any(|part| is_parameter(&part)) => {
            let parameters: Vec<&str> = parameters.split(", ").filter(is_parameter).collect();
            format!("{} [{}]", spec.name(), parameters.join(", "))
        }
        _ => spec.name().to_owned(),
    }
}

/// An expression over outputs, in which they have the names of their states.
fn shown(expr: &str, def: &ViewDef) -> String {
    let names = def.outputs.iter().map(|output| (format!("\"{}\"", output.name), output.state));
    names.fold(expr.to_owned(), |expr, (name, state)| expr.replace(&name, &format!("[state {state}]")))
}

/// What happens when it is read.
fn reading(rows: &mut Rows, def: &ViewDef) {
    for item in &def.select {
        let added = def.added().iter().find(|(name, _)| *name == item.name);
        let since = added.and_then(|(_, at)| timestamp_us_to_datetime(*at));
        let since = since.map_or_else(String::new, |at| format!(", of events since {}", at.format("%F %TZ")));
        rows.push(format!("column {}", item.name), format!("{}{since}", shown(&item.expr, def)));
    }
    if let Some(window) = def.window() {
        let (span, pane) = (duration(window.span_us), duration(window.pane_us));
        rows.push("window", format!("the last {span}, in panes of {pane}, merged when it is read"));
    }
    if let Some(sets) = def.grouping_sets() {
        let name = |at: &u16| def.keys.get(usize::from(*at)).map_or("?", |key| key.0.as_str());
        let set = |set: &Vec<u16>| format!("({})", set.iter().map(name).collect::<Vec<_>>().join(", "));
        let sets: Vec<String> = sets.iter().map(set).collect();
        rows.push("grouping sets", format!("{}, merged when it is read", sets.join(", ")));
    }
    if let Some(having) = def.having() {
        rows.push("having", shown(having, def));
    }
    for item in def.order_by() {
        rows.push(
            "order by",
            format!("{}{}", shown(&item.expr, def), if item.descending { " DESC" } else { "" }),
        );
    }
}

/// What it takes.
fn storage(rows: &mut Rows, def: &ViewDef, sizes: &Sizes) {
    let options: Vec<String> = def.options.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if !options.is_empty() {
        rows.push("options", options.join(", "));
    }
    rows.push("active", if def.is_active() { "yes" } else { "no: producers are not sent its plan" });
    let plan = postcard::to_allocvec(&def.plan).map_or(0, |bytes| bytes.len());
    let version = def.plan.version.0;
    rows.push(
        "plan",
        match def.chained() {
            Some(_) => format!("version {version}, {plan} bytes, evaluated by folds of the hub"),
            None => format!("version {version}, {plan} bytes to every producer"),
        },
    );
    let more = if sizes.is_all { "" } else { "at least " };
    rows.push("groups", format!("{more}{}", sizes.groups));
    if let Some((key, states)) = sizes.group() {
        let (bytes, most) = (key + states, def.plan.groups_max);
        rows.push("bytes of a group", format!("{bytes} on average: {key} of key, {states} of states"));
        rows.push(
            "bytes of a flush",
            format!("about {bytes} for each group that had events, of at most {most} groups"),
        );
    }
}

fn duration(micros: i64) -> String {
    let units =
        [(86_400_000_000, "days"), (3_600_000_000, "hours"), (60_000_000, "minutes"), (1_000_000, "seconds")];
    match units.iter().find(|(unit, _)| micros > 0 && micros % unit == 0) {
        Some((unit, name)) => format!("{} {name}", micros / unit),
        None => format!("{} ms", micros / 1_000),
    }
}

/// Bytes of the groups that were looked at.
#[derive(Default)]
pub(super) struct Sizes {
    groups: usize,
    keys: usize,
    states: Vec<usize>,
    is_all: bool,
}

impl Sizes {
    /// Looks at the first groups.
    pub(super) async fn measure(def: Arc<ViewDef>, source: Arc<dyn Source>) -> Result<Self, SqlError> {
        let mut sizes = Self { states: vec![0; def.plan.states.len()], is_all: true, ..Self::default() };
        let request =
            ScanRequest { view: def, key_min: Vec::new(), key_max: None, read_level: ReadLevel::default() };
        let mut chunks = source.scan(request);
        while let Some(chunk) = chunks.next().await {
            sizes.add(&chunk?);
            if sizes.groups >= SAMPLE {
                sizes.is_all = false;
                break;
            }
        }
        Ok(sizes)
    }

    fn add(&mut self, table: &GroupTable) {
        let mut bytes = Vec::new();
        for group in 0..table.len() as u32 {
            self.groups += 1;
            self.keys += table.key(group).len();
            for (total, states) in self.states.iter_mut().zip(table.states()) {
                bytes.clear();
                states.encode(group, &mut bytes);
                *total += bytes.len();
            }
        }
    }

    fn state(&self, at: usize) -> Option<usize> {
        self.states.get(at)?.checked_div(self.groups)
    }

    /// Bytes of a key, and of the states beside it.
    fn group(&self) -> Option<(usize, usize)> {
        let states: usize = self.states.iter().sum();
        self.keys.checked_div(self.groups).zip(states.checked_div(self.groups))
    }
}
