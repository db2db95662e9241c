//! Reading the vector file: a few forms of SQL, turned into plans.

use super::super::*;
use super::shown;
use crate::aggregate::AggregateSpec;
use crate::ids::{PlanVersion, StreamId, ViewId};
use crate::plan::{BinaryOp, Function, PlanBuilder};
use crate::schema::{Field, StreamSchema};
use crate::value::column::Slot;
use crate::value::{DataType, Interval, Value};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// How operands reach the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Literals,
    Columns,
    ColumnsWithNulls,
}

pub struct Case {
    pub sql: String,
    pub expected: String,
    form: Form,
    operands: Vec<(Value, DataType)>,
    result: DataType,
}

enum Form {
    Binary(BinaryOp),
    Like { negated: bool, case_insensitive: bool },
    In { negated: bool },
    Cast,
    Call(Function),
}

struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0).trim_start();
        rest.is_some()
    }

    fn word(&mut self) -> &'a str {
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest.trim_start();
        word
    }

    /// `null::type` or `type 'literal'`.
    fn operand(&mut self) -> (Value, DataType) {
        let word = self.word();
        if word == "null" {
            assert!(self.eat("::"));
            return (Value::Null, type_of(self.word(), 0));
        }
        let end = self.0[1..].find('\'').expect("a quoted literal") + 1;
        let literal = &self.0[1..end];
        self.0 = self.0[end + 1..].trim_start();
        let scale = literal.split_once('.').map_or(0, |(_, digits)| digits.len() as u8);
        let data_type = type_of(word, if literal.contains('e') { 40 } else { scale });
        (value(literal, &data_type), data_type)
    }
}

fn type_of(name: &str, scale: u8) -> DataType {
    match name {
        "int2" | "smallint" => DataType::Int16,
        "int4" | "integer" => DataType::Int32,
        "int8" | "bigint" => DataType::Int64,
        "float4" | "real" => DataType::Float32,
        "float8" | "double precision" => DataType::Float64,
        "numeric" => DataType::Decimal { precision: 38, scale },
        "text" => DataType::Text,
        "bool" | "boolean" => DataType::Bool,
        "bytea" => DataType::Bytea,
        "uuid" => DataType::Uuid,
        "date" => DataType::Date,
        "timestamptz" | "timestamp with time zone" => DataType::Timestamp,
        "interval" => DataType::Interval,
        other => panic!("unknown type {other}"),
    }
}

fn value(literal: &str, data_type: &DataType) -> Value {
    let bytes = literal.as_bytes();
    match data_type {
        DataType::Bool => Value::Bool(literal == "t"),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Value::Int(literal.parse().expect("an integer"))
        }
        DataType::Float32 => Value::Float(f64::from(literal.parse::<f32>().expect("a real"))),
        DataType::Float64 => Value::Float(literal.parse().expect("a double")),
        DataType::Decimal { scale, .. } => Value::Decimal(parse_decimal(bytes, *scale).expect("a numeric")),
        DataType::Text => Value::Text(literal.to_string()),
        DataType::Uuid => Value::Bytes(parse_uuid(bytes).expect("a uuid").to_vec()),
        DataType::Bytea => {
            let hex = |i: usize| u8::from_str_radix(&literal[i..i + 2], 16).expect("hex");
            Value::Bytes((2..literal.len()).step_by(2).map(hex).collect())
        }
        DataType::Date => match literal {
            "0044-03-15 BC" => Value::Int(time::days_from_civil(-43, 3, 15)),
            _ => Value::Int(parse_date(bytes).expect("a date")),
        },
        DataType::Timestamp => Value::Int(parse_timestamp(bytes).expect("a timestamp")),
        DataType::Interval => Value::Interval(interval(literal)),
        other => panic!("no literals of {other:?}"),
    }
}

fn interval(literal: &str) -> Interval {
    let words: Vec<&str> = literal.split(' ').collect();
    words.chunks(2).fold(Interval::default(), |mut v, pair| {
        let n: i64 = pair[0].parse().expect("a number");
        match pair[1].trim_end_matches('s') {
            "mon" => v.months += n as i32,
            "day" => v.days += n as i32,
            "hour" => v.micros += n * 3_600_000_000,
            "second" => v.micros += n * 1_000_000,
            other => panic!("unknown unit {other}"),
        }
        v
    })
}

fn function(name: &str) -> Function {
    use Function as F;
    let names = [
        ("abs", F::Abs),
        ("floor", F::Floor),
        ("ceil", F::Ceil),
        ("round", F::Round),
        ("trunc", F::Trunc),
        ("sqrt", F::Sqrt),
        ("power", F::Power),
        ("exp", F::Exp),
        ("ln", F::Ln),
        ("log10", F::Log10),
        ("sign", F::Sign),
        ("lower", F::Lower),
        ("upper", F::Upper),
        ("length", F::Length),
        ("octet_length", F::OctetLength),
        ("btrim", F::Trim),
        ("ltrim", F::LTrim),
        ("rtrim", F::RTrim),
        ("substr", F::Substr),
        ("left", F::Left),
        ("right", F::Right),
        ("strpos", F::StrPos),
        ("replace", F::Replace),
        ("split_part", F::SplitPart),
        ("starts_with", F::StartsWith),
        ("concat", F::Concat),
        ("coalesce", F::Coalesce),
        ("nullif", F::NullIf),
        ("greatest", F::Greatest),
        ("least", F::Least),
        ("date_trunc", F::DateTrunc),
        ("date_part", F::DatePart),
        ("to_timestamp", F::ToTimestamp),
        ("md5", F::Md5),
        ("width_bucket", F::WidthBucket),
    ];
    names.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("unknown function {name}")).1
}

fn operator(scan: &mut Scan<'_>) -> Form {
    use BinaryOp as B;
    let negated = scan.eat("not ");
    let forms = [
        ("is distinct from ", B::IsDistinct),
        ("is not distinct from ", B::IsNotDistinct),
        ("and ", B::And),
        ("or ", B::Or),
        ("<> ", B::NotEq),
        ("<= ", B::LtEq),
        (">= ", B::GtEq),
        ("< ", B::Lt),
        ("> ", B::Gt),
        ("= ", B::Eq),
        ("+ ", B::Add),
        ("- ", B::Subtract),
        ("* ", B::Multiply),
        ("/ ", B::Divide),
        ("% ", B::Modulo),
        ("& ", B::BitAnd),
        ("|| ", B::Concat),
        ("| ", B::BitOr),
        ("# ", B::BitXor),
    ];
    if scan.eat("in (") {
        return Form::In { negated };
    }
    if scan.eat("like ") || scan.0.starts_with("ilike ") {
        return Form::Like { negated, case_insensitive: scan.eat("ilike ") };
    }
    let found = forms.into_iter().find(|(token, _)| scan.eat(token));
    Form::Binary(found.unwrap_or_else(|| panic!("unknown operator at {}", scan.0)).1)
}

/// Undoes the file's `\u{hex}`.
fn plain(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut out = parts.next().unwrap_or("").to_string();
    for part in parts {
        let (hex, rest) = part.split_once('}').expect("a closing brace");
        out.push(char::from_u32(u32::from_str_radix(hex, 16).expect("hex")).expect("a character"));
        out += rest;
    }
    out
}

impl Case {
    pub fn parse(line: &str) -> Self {
        let columns: Vec<String> = line.split('\t').map(plain).collect();
        let [sql, result, expected] = &columns[..] else { panic!("three columns in {line}") };
        let scan = &mut Scan(sql);
        let (form, operands) = parse_form(scan);
        let scale = expected.split_once('.').map_or(0, |(_, digits)| digits.len() as u8);
        let result = match result.as_str() {
            "?" => guess(&form, &operands),
            name => type_of(name, if expected.starts_with('!') { 10 } else { scale }),
        };
        Self { sql: sql.clone(), expected: expected.clone(), form, operands, result }
    }

    pub fn evaluate(&self, shape: Shape) -> String {
        let mut b = PlanBuilder::new();
        let fields: Vec<Field> = self
            .operands
            .iter()
            .enumerate()
            .map(|(i, (_, data_type))| Field { name: alloc::format!("c{i}"), data_type: data_type.clone() })
            .collect();
        let schema = StreamSchema { id: StreamId(1), name: "s".to_string(), fields };
        let root = self.add(&mut b, shape);
        let as_text = match self.result {
            DataType::Interval => root,
            _ => b.node(Op::Cast { input: root, try_cast: false }, DataType::Text).expect("room"),
        };
        for id in [root, as_text] {
            b.state(AggregateSpec::Count { argument: true }, &[id], None).expect("room");
        }
        let plan = b.finish(ViewId(1), PlanVersion(1), StreamId(1), 10);
        let mut program = Program::compile(&plan, &schema).unwrap_or_else(|e| panic!("{}: {e}", self.sql));
        let batch = self.batch(&schema, shape);
        program.evaluate(&batch);
        let root = |at: usize| program.column(&batch, plan.states[at].args[0]);
        let (root, text) = (root(0), root(1 % plan.states.len()));
        let last = batch.rows() - 1;
        assert_eq!(root.len(), batch.rows());
        let first = shown(root, text, 0);
        assert_eq!(first, shown(root, text, last), "{}: rows agree", self.sql);
        first
    }

    /// Adds the expression over literals; gives its root.
    pub fn literals(&self, b: &mut PlanBuilder) -> ExprId {
        self.add(b, Shape::Literals)
    }

    fn add(&self, b: &mut PlanBuilder, shape: Shape) -> ExprId {
        let ids: Vec<ExprId> = self
            .operands
            .iter()
            .enumerate()
            .map(|(i, (value, data_type))| {
                let literal = shape == Shape::Literals || (i == 0 && self.needs_literal());
                let op = if literal { Op::Literal(value.clone()) } else { Op::Column(i as u16) };
                b.node(op, data_type.clone()).expect("room")
            })
            .collect();
        b.node(self.op(&ids), self.result.clone()).expect("room")
    }

    fn batch(&self, schema: &StreamSchema, shape: Shape) -> ColumnBatch {
        let mut batch = schema.empty_batch();
        for row in 0..3 {
            for (column, (value, _)) in batch.columns.iter_mut().zip(&self.operands) {
                let null = shape == Shape::ColumnsWithNulls && row == 1;
                if null { column.push_slot(Slot::Null) } else { assert!(column.push(value)) }
            }
            batch.columns.last_mut().expect("arrival").push(&Value::Int(0));
        }
        batch
    }

    fn needs_literal(&self) -> bool {
        matches!(self.form, Form::Call(Function::DateTrunc | Function::DatePart))
    }

    fn op(&self, ids: &[ExprId]) -> Op {
        match self.form {
            Form::Binary(op) => Op::Binary(op, ids[0], ids[1]),
            Form::Like { negated, case_insensitive } => {
                Op::Like { input: ids[0], pattern: ids[1], negated, case_insensitive }
            }
            Form::In { negated } => Op::InList { input: ids[0], list: ids[1..].to_vec(), negated },
            Form::Cast => Op::Cast { input: ids[0], try_cast: false },
            Form::Call(function) => Op::Call(function, ids.to_vec()),
        }
    }
}

fn parse_form(scan: &mut Scan<'_>) -> (Form, Vec<(Value, DataType)>) {
    let start = scan.0;
    let name = scan.word();
    if !scan.0.starts_with('(') {
        scan.0 = start;
        let mut operands = vec![scan.operand()];
        let form = operator(scan);
        operands.push(scan.operand());
        while scan.eat(",") {
            operands.push(scan.operand());
        }
        return (form, operands);
    }
    scan.eat("(");
    let mut operands = vec![scan.operand()];
    while scan.eat(",") {
        operands.push(scan.operand());
    }
    (if name == "cast" { Form::Cast } else { Form::Call(function(name)) }, operands)
}

/// The result type of an expression that fails in PostgreSQL, which then does not say.
fn guess(form: &Form, operands: &[(Value, DataType)]) -> DataType {
    use Function as F;
    match form {
        Form::Like { .. } | Form::In { .. } => DataType::Bool,
        Form::Call(F::SplitPart | F::Substr) => DataType::Text,
        Form::Call(F::ToTimestamp) => DataType::Timestamp,
        Form::Call(F::WidthBucket) => DataType::Int32,
        Form::Call(F::DatePart) => DataType::Float64,
        _ => operands[0].1.clone(),
    }
}
