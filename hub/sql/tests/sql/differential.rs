//! Views against DataFusion: the same SELECT, once rolled up by the sdk and read back, once computed straight
//! from the events. Random definitions over random events; the seed is printed and can be set with
//! `HEADWATER_SEED`.

use crate::hub::{Hub, run};
use datafusion::config::Dialect;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use headwater::schema::{ARRIVAL_TIMESTAMP, Field};
use headwater::value::column::ColumnBatch;
use headwater::value::{DataType, Value};
use headwater_sql::{batch_of, rows_of, type_of_field};
use std::cmp::Ordering;
use std::sync::Arc;

pub const STREAM: &str = "CREATE STREAM s (i int, j bigint, k smallint, x double precision, t text, u text, b boolean, p numeric(9,2), d date)";
pub const COLUMNS: [&str; 10] = ["i", "j", "k", "x", "t", "u", "b", "p", "d", "arrival_timestamp"];
const VIEWS: usize = 250;
const EVENTS: usize = 400;

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators").
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn event(&mut self, at: usize) -> Vec<Value> {
        let words = ["", "a", "Ab", "abc", "X%y", "h\u{e9}", "zz top"];
        let mut values = vec![
            Value::Int(self.below(40) as i64 - 20),
            Value::Int(self.below(5) as i64 * 1_000_000_007),
            Value::Int(self.below(6) as i64),
            Value::Float(self.below(1_000) as f64 / 8.0 - 30.0),
            Value::Text(words[self.below(words.len())].to_owned()),
            Value::Text(format!("u{}", self.below(30))),
            Value::Bool(self.below(2) == 0),
            Value::Decimal(self.below(100_000) as i128 - 50_000),
            Value::Int(19_000 + self.below(50) as i64),
        ];
        for value in &mut values {
            if self.below(10) == 0 {
                *value = Value::Null;
            }
        }
        values.push(Value::Int(1_700_000_000_000_000 + at as i64 * 37_000_000));
        values
    }

    fn int(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.pick(&["i", "k", "j", "7", "-3", "length(t)"]).to_owned();
        }
        let d = depth - 1;
        match self.below(9) {
            0 => format!("({} + {})", self.int(d), self.int(d)),
            1 => format!("({} - {})", self.int(d), self.int(0)),
            2 => format!("({} * {})", self.int(0), self.pick(&["2", "-3", "k"])),
            3 => format!("({} / {})", self.int(d), self.pick(&["2", "7", "-3"])),
            4 => format!("({} % {})", self.int(d), self.pick(&["2", "7"])),
            5 => format!("CASE WHEN {} THEN {} ELSE {} END", self.bool(d), self.int(d), self.int(d)),
            6 => format!("coalesce({}, {})", self.int(d), self.int(0)),
            7 => format!("abs({})", self.int(d)),
            _ => format!("nullif({}, {})", self.int(d), self.int(0)),
        }
    }

    fn float(&mut self, depth: usize) -> String {
        match self.below(5) {
            0 if depth > 0 => format!("({} + {})", self.float(depth - 1), self.int(0)),
            1 if depth > 0 => format!("({} * 0.5)", self.float(depth - 1)),
            2 => "floor(x)".to_owned(),
            3 => "sqrt(abs(x))".to_owned(),
            _ => "x".to_owned(),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.pick(&["t", "u", "'c'"]).to_owned();
        }
        let d = depth - 1;
        match self.below(7) {
            0 => format!("upper({})", self.text(d)),
            1 => format!("lower({})", self.text(d)),
            2 => format!("substr({}, 1, {})", self.text(d), self.pick(&["1", "2"])),
            3 => format!("({} || {})", self.text(d), self.text(0)),
            4 => format!("CASE WHEN {} THEN {} END", self.bool(d), self.text(d)),
            5 => format!("coalesce({}, '-')", self.text(d)),
            _ => format!("replace({}, 'a', 'q')", self.text(d)),
        }
    }

    fn bool(&mut self, depth: usize) -> String {
        let d = depth.saturating_sub(1);
        match self.below(if depth == 0 { 4 } else { 10 }) {
            0 => "b".to_owned(),
            1 => format!("i {} {}", self.pick(&["<", ">=", "=", "<>"]), self.pick(&["0", "k", "5"])),
            2 => "t IS NULL".to_owned(),
            3 => "x > 10.5".to_owned(),
            4 => format!("({} AND {})", self.bool(d), self.bool(d)),
            5 => format!("({} OR {})", self.bool(d), self.bool(d)),
            6 => format!("NOT ({})", self.bool(d)),
            7 => format!("{} IN ({}, 3)", self.int(d), self.int(0)),
            8 => format!("{} LIKE {}", self.text(d), self.pick(&["'a%'", "'%b%'", "'_'"])),
            _ => format!("{} BETWEEN -5 AND {}", self.int(d), self.int(0)),
        }
    }

    fn key(&mut self) -> String {
        match self.below(8) {
            0 => "date_trunc('minute', arrival_timestamp)".to_owned(),
            1 => "date_trunc('hour', arrival_timestamp)".to_owned(),
            2 => self.int(2),
            3 => self.bool(2),
            4 => "d".to_owned(),
            5 => "p".to_owned(),
            _ => self.text(2),
        }
    }

    fn aggregate(&mut self) -> String {
        let call = match self.below(14) {
            0 => "count(*)".to_owned(),
            1 => format!("count({})", self.text(1)),
            2 => format!("sum({})", self.int(1)),
            3 => format!("sum({})", self.float(1)),
            4 => "sum(p)".to_owned(),
            5 => format!("avg({})", self.float(1)),
            6 => format!("min({})", self.text(1)),
            7 => format!("max({})", self.int(1)),
            8 => format!("stddev_samp({})", self.float(0)),
            9 => "var_pop(i)".to_owned(),
            10 => format!("bool_and({})", self.bool(1)),
            11 => format!("bool_or({})", self.bool(1)),
            12 => "bit_or(k)".to_owned(),
            _ => "count(DISTINCT u)".to_owned(),
        };
        match self.below(4) {
            0 => format!("{call} FILTER (WHERE {})", self.bool(1)),
            _ => call,
        }
    }

    fn select(&mut self) -> String {
        let keys: Vec<String> = (0..self.below(3)).map(|_| self.key()).collect();
        let mut items: Vec<String> =
            keys.iter().enumerate().map(|(n, key)| format!("{key} AS k{n}")).collect();
        items.extend((0..1 + self.below(4)).map(|n| format!("{} AS a{n}", self.aggregate())));
        let filter = if self.below(2) == 0 { format!(" WHERE {}", self.bool(2)) } else { String::new() };
        let ordinals: Vec<String> = (1..=keys.len()).map(|n| n.to_string()).collect();
        let group =
            if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", ordinals.join(", ")) };
        format!("SELECT {} FROM s{filter}{group}", items.join(", "))
    }
}

#[tokio::test]
async fn views_answer_what_datafusion_computes_from_the_events() {
    let seed = std::env::var("HEADWATER_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed);
    eprintln!("HEADWATER_SEED={seed}");
    let mut random = Random(seed);
    let (hub, engine) = Hub::start();
    run(&engine, STREAM).await.expect("stream");
    let selects: Vec<String> = (0..VIEWS).map(|_| random.select()).collect();
    for (n, select) in selects.iter().enumerate() {
        let ddl = format!("CREATE CONTINUOUS VIEW v{n} AS {select}");
        run(&engine, &ddl).await.unwrap_or_else(|e| panic!("{ddl}: {e:?}"));
    }
    let events: Vec<Vec<Value>> = (0..EVENTS).map(|at| random.event(at)).collect();
    let events: Vec<Vec<Value>> = events.into_iter().map(to_emit).collect();
    hub.push("s", &COLUMNS, &events, 7);
    let reference = reference(&hub);
    let mut compared = 0;
    for (n, select) in selects.iter().enumerate() {
        let got =
            run(&engine, &format!("SELECT * FROM v{n}")).await.unwrap_or_else(|e| panic!("{select}: {e:?}"));
        // Overflow and the like end DataFusion's whole query; a view rejects the one event.
        let Ok(want) = expected(&reference, select).await else { continue };
        let got = got
            .rows
            .into_iter()
            .map(|r| r.into_iter().zip(got.fields.iter().map(|f| f.data_type.clone())).collect())
            .collect();
        compare(select, got, want);
        compared += 1;
    }
    assert!(compared > VIEWS * 9 / 10, "only {compared} views could be compared");
}

/// Numeric columns are emitted as doubles' neighbours: text, which is exact.
fn to_emit(mut row: Vec<Value>) -> Vec<Value> {
    if let Value::Decimal(units) = row[7] {
        let sign = if units < 0 { "-" } else { "" };
        row[7] = Value::Text(format!("{sign}{}.{:02}", units.abs() / 100, units.abs() % 100));
    }
    row
}

/// A DataFusion of its own over the events.
pub fn reference(hub: &Hub) -> SessionContext {
    let schema = hub.stream("s").schema.clone();
    let arrival = Field { name: ARRIVAL_TIMESTAMP.to_owned(), data_type: DataType::Timestamp };
    let fields: Vec<Field> = schema.fields.iter().cloned().chain([arrival]).collect();
    let row = |batch: &ColumnBatch, at: usize| -> Vec<Value> {
        batch.columns.iter().zip(&fields).map(|(c, f)| c.value(at, &f.data_type)).collect()
    };
    let rows: Vec<Vec<Value>> =
        hub.events("s").iter().flat_map(|b| (0..b.rows()).map(|at| row(b, at)).collect::<Vec<_>>()).collect();
    let batch = batch_of(&fields, &rows).expect("batch");
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
    let context = SessionContext::new_with_config(config);
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("table");
    context.register_table("s", Arc::new(table)).expect("registered");
    context
}

pub type Typed = (Value, DataType);

pub async fn expected(context: &SessionContext, select: &str) -> datafusion::error::Result<Vec<Vec<Typed>>> {
    let batches = context.sql(select).await?.collect().await?;
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let field = |f: &Arc<headwater_sql::arrow::datatypes::Field>| Field {
            name: f.name().clone(),
            data_type: type_of_field(f),
        };
        let fields: Vec<Field> = schema.fields().iter().map(field).collect();
        let values = rows_of(&batch, &fields).expect("rows");
        rows.extend(
            values
                .into_iter()
                .map(|r| r.into_iter().zip(fields.iter().map(|f| f.data_type.clone())).collect::<Vec<_>>()),
        );
    }
    Ok(rows)
}

fn compare(select: &str, got: Vec<Vec<Typed>>, want: Vec<Vec<Typed>>) {
    let difference = difference(select, got, want);
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
}

/// What differs between two answers, rows in any order.
pub fn difference(select: &str, mut got: Vec<Vec<Typed>>, mut want: Vec<Vec<Typed>>) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{select}\n    {} rows instead of {}", got.len(), want.len()));
    }
    got.sort_by(|a, b| order(a, b));
    want.sort_by(|a, b| order(a, b));
    let mut pairs = got.iter().zip(&want);
    let (got, want) = pairs.find(|(got, want)| {
        got.len() != want.len() || !got.iter().zip(want.iter()).all(|(g, w)| same(g, w))
    })?;
    Some(format!("{select}\n    got {got:?}\n    want {want:?}"))
}

/// So many random events, ready to be pushed.
pub fn events(seed: u64, count: usize) -> Vec<Vec<Value>> {
    let mut random = Random(seed);
    (0..count).map(|at| to_emit(random.event(at))).collect()
}

/// Rows by their keys: columns whose values are equal in both.
fn order(a: &[Typed], b: &[Typed]) -> Ordering {
    let parts = a.iter().zip(b).map(|(a, b)| text(a).cmp(&text(b)));
    parts.fold(Ordering::Equal, Ordering::then)
}

fn number((value, data_type): &Typed) -> Option<f64> {
    match (value, data_type) {
        (Value::Int(v), _) => Some(*v as f64),
        (Value::Float(v), _) => Some(*v),
        (Value::Decimal(v), DataType::Decimal { scale, .. }) => {
            Some(*v as f64 / 10f64.powi(i32::from(*scale)))
        }
        _ => None,
    }
}

/// Sort key: numbers are rounded so that the last digits of a float do not change the order.
fn text(value: &Typed) -> String {
    match number(value) {
        Some(v) => format!("{v:.3}"),
        None => format!("{:?}", value.0),
    }
}

fn same(got: &Typed, want: &Typed) -> bool {
    match (number(got), number(want)) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3),
        _ => got.0 == want.0,
    }
}
