//! Runs `tests/slt/*.slt`. Records are separated by empty lines:
//!
//! - `statement ok` / SQL
//! - `statement error CODE [POSITION]` / SQL / `----` / message / hint (may be missing)
//! - `events STREAM` / header of column names / rows; cells are separated by ` | `, NULL is null
//! - `clock TIME`: where the hub's clock stands from now on
//! - `query [sorted]` / SQL / `----` / header of `name type` / rows
//!
//! With `HEADWATER_SLT=complete` the expected parts are rewritten from what came out.

use crate::hub::{Hub, run};
use headwater::expr::{date_text, timestamp_text};
use headwater::ids::Micros;
use headwater::schema::ARRIVAL_TIMESTAMP;
use headwater::value::{DataType, Interval, Value};
use headwater_sql::{Engine, Rows, type_name};
use std::fmt::Write;
use std::path::Path;

#[tokio::test]
async fn every_file_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let complete = std::env::var("HEADWATER_SLT").is_ok_and(|v| v == "complete");
    let mut failures = String::new();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "slt")) {
        let text = std::fs::read_to_string(path).expect("file");
        let actual = run_file(&text).await;
        if complete {
            std::fs::write(path, &actual).expect("write");
        } else if actual != text {
            let _ = writeln!(failures, "{}:\n{}", path.display(), difference(&text, &actual));
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn difference(want: &str, got: &str) -> String {
    let (want, got): (Vec<_>, Vec<_>) = (want.lines().collect(), got.lines().collect());
    let at = want.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let show = |lines: &[&str]| {
        lines.iter().skip(at.saturating_sub(3)).take(10).map(|l| format!("  {l}\n")).collect::<String>()
    };
    format!("line {}: wanted\n{}got\n{}", at + 1, show(&want), show(&got))
}

/// Runs all records and gives the file as it should be.
async fn run_file(text: &str) -> String {
    let (hub, engine) = Hub::start();
    let mut out = Vec::new();
    for record in text.trim_end().split("\n\n") {
        out.push(run_record(record.trim_matches('\n'), &hub, &engine).await);
    }
    out.join("\n\n") + "\n"
}

async fn run_record(record: &str, hub: &Hub, engine: &Engine) -> String {
    let comments: Vec<&str> = record.lines().take_while(|l| l.starts_with('#')).collect();
    let body: Vec<&str> = record.lines().skip(comments.len()).collect();
    let comments: String = comments.iter().map(|l| format!("{l}\n")).collect();
    let Some(head) = body.first() else { return comments.trim_end().to_owned() };
    let words: Vec<&str> = head.split_whitespace().collect();
    let input = body[1..].iter().take_while(|l| **l != "----").copied().collect::<Vec<_>>().join("\n");
    let done = match words.as_slice() {
        ["events", stream] => {
            events(hub, stream, &input);
            format!("{head}\n{input}")
        }
        ["clock", time @ ..] => {
            hub.set_now(clock(engine, &time.join(" ")).await);
            (*head).to_owned()
        }
        ["statement", ..] => statement(engine, &input).await,
        ["query", ..] => query(engine, &input, &words, head).await,
        _ => panic!("unknown record {head}"),
    };
    comments + &done
}

async fn clock(engine: &Engine, time: &str) -> Micros {
    let rows = run(engine, &format!("SELECT timestamptz '{time}'")).await.expect("a time");
    let [Value::Int(micros)] = rows.rows[0].as_slice() else { panic!("{time} is no time") };
    Micros(*micros)
}

async fn statement(engine: &Engine, sql: &str) -> String {
    match run(engine, sql).await {
        Ok(_) => format!("statement ok\n{sql}"),
        Err(error) => failed("statement", sql, &error),
    }
}

fn failed(kind: &str, sql: &str, error: &headwater_sql::SqlError) -> String {
    let position = error.position.map(|p| format!(" {p}")).unwrap_or_default();
    let hint = error.hint.as_ref().map(|h| format!("\nhint: {h}")).unwrap_or_default();
    format!("{kind} error {}{position}\n{sql}\n----\n{}{hint}", error.code, error.message)
}

async fn query(engine: &Engine, sql: &str, words: &[&str], head: &str) -> String {
    let sorted = words.contains(&"sorted");
    let first = run(engine, sql).await;
    if words.contains(&"once") {
        return match first {
            Ok(rows) => format!("{head}\n{sql}\n----\n{}", show(&rows, sorted)),
            Err(error) => failed("statement", sql, &error),
        };
    }
    if first.is_ok() && !sql.to_lowercase().contains("explain") {
        assert_eq!(
            run(engine, sql).await.map(|r| r.rows.len()),
            first.as_ref().map(|r| r.rows.len()).map_err(Clone::clone),
            "{sql}"
        );
    }
    match run(engine, sql).await {
        Ok(rows) => format!("{}\n{sql}\n----\n{}", head.replace(" error", ""), show(&rows, sorted)),
        Err(error) => failed("statement", sql, &error),
    }
}

fn show(answer: &Rows, sorted: bool) -> String {
    let header: Vec<String> =
        answer.fields.iter().map(|f| format!("{} {}", f.name, type_name(&f.data_type))).collect();
    let line = |row: &Vec<Value>| {
        let cells: Vec<String> = row.iter().zip(&answer.fields).map(|(v, f)| cell(v, &f.data_type)).collect();
        cells.join(" | ")
    };
    let mut lines: Vec<String> = answer.rows.iter().map(line).collect();
    if sorted {
        lines.sort();
    }
    lines.insert(0, header.join(" | "));
    lines.join("\n")
}

fn cell(value: &Value, data_type: &DataType) -> String {
    match (value, data_type) {
        (Value::Null, _) => "NULL".into(),
        (Value::Int(v), DataType::Timestamp) => timestamp_text(*v),
        (Value::Int(v), DataType::Date) => date_text(*v),
        (Value::Decimal(v), DataType::Decimal { scale, .. }) => decimal(*v, usize::from(*scale)),
        (Value::Bool(v), _) => v.to_string(),
        (Value::Int(v), _) => v.to_string(),
        (Value::Float(v), _) => format!("{v:?}"),
        (Value::Text(v), _) => v.clone(),
        (Value::Bytes(v), _) => v.iter().map(|b| format!("{b:02x}")).collect(),
        (Value::Interval(Interval { months, days, micros }), _) => {
            format!("{months} mons {days} days {micros} us")
        }
        (Value::List(items), DataType::List(of)) => {
            format!("[{}]", items.iter().map(|i| cell(i, of)).collect::<Vec<_>>().join(", "))
        }
        (Value::Struct(parts), DataType::Struct(of)) => {
            format!("({})", parts.iter().zip(of).map(|(p, (_, t))| cell(p, t)).collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn decimal(units: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if units < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn events(hub: &Hub, stream: &str, input: &str) {
    let mut lines = input.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split('|').map(str::trim).collect();
    let schema = hub.stream(stream).schema.clone();
    let types: Vec<DataType> =
        columns.iter().map(|c| schema.data_type(schema.column(c).expect(c)).expect("type")).collect();
    let row = |line: &str| {
        line.split('|').zip(&types).zip(&columns).map(|((text, t), c)| read(text.trim(), t, c)).collect()
    };
    let rows: Vec<Vec<Value>> = lines.map(row).collect();
    hub.push(stream, &columns, &rows, 2);
}

fn read(text: &str, data_type: &DataType, column: &str) -> Value {
    match data_type {
        _ if text == "NULL" => Value::Null,
        DataType::Bool => Value::Bool(text == "true"),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Value::Int(text.parse().expect(text)),
        DataType::Float32 | DataType::Float64 => Value::Float(text.parse().expect(text)),
        DataType::Bytea => Value::Bytes(text.as_bytes().to_vec()),
        // The buffer wants a number here; whole seconds read well in files.
        DataType::Timestamp if column == ARRIVAL_TIMESTAMP => {
            Value::Int(text.parse::<i64>().expect(text) * 1_000_000)
        }
        DataType::Interval => {
            Value::Interval(Interval { months: 0, days: 0, micros: text.parse::<i64>().expect(text) })
        }
        _ => Value::Text(text.to_owned()),
    }
}
