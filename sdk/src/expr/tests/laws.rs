//! Properties that hold for all inputs.

use super::super::*;
use crate::aggregate::AggregateSpec;
use crate::ids::{PlanVersion, StreamId, ViewId};
use crate::plan::{BinaryOp, Function, StatePlan};
use crate::schema::{Field, StreamSchema};
use crate::value::{DataType, Interval};
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;

const DEC: DataType = DataType::Decimal { precision: 38, scale: 3 };
const TYPES: [DataType; 11] = [
    DataType::Int64,
    DataType::Int32,
    DataType::Float64,
    DataType::Bool,
    DataType::Text,
    DataType::Timestamp,
    DataType::Interval,
    DEC,
    DataType::Date,
    DataType::Bytea,
    DataType::Float32,
];

fn value_of(data_type: &DataType) -> BoxedStrategy<Value> {
    let edge =
        prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(-1), Just(1), -100i64..100, any::<i64>()];
    let float =
        prop_oneof![any::<f64>(), -10.0f64..10.0, Just(0.0), Just(-0.0), Just(f64::MAX), Just(f64::NAN)];
    let some = match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Int32 | DataType::Date => edge.prop_map(|v| Value::Int(i64::from(v as i32))).boxed(),
        DataType::Float64 => float.prop_map(Value::Float).boxed(),
        DataType::Float32 => float.prop_map(|v| Value::Float(f64::from(v as f32))).boxed(),
        DataType::Decimal { .. } => any::<i128>().prop_map(|v| Value::Decimal(v % 10i128.pow(38))).boxed(),
        DataType::Text => "[a%_\\\\ 1\\-\u{e4}\u{1f600}]{0,6}".prop_map(Value::Text).boxed(),
        DataType::Bytea => proptest::collection::vec(any::<u8>(), 0..5).prop_map(Value::Bytes).boxed(),
        DataType::Interval => (any::<i32>(), any::<i32>(), edge)
            .prop_map(|(months, days, micros)| Value::Interval(Interval { months, days, micros }))
            .boxed(),
        _ => edge.prop_map(Value::Int).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 6 => some].boxed()
}

fn schema() -> StreamSchema {
    let field = |(i, t): (usize, &DataType)| Field { name: alloc::format!("c{i}"), data_type: t.clone() };
    StreamSchema {
        id: StreamId(1),
        name: "s".to_string(),
        fields: TYPES.iter().enumerate().map(field).collect(),
    }
}

fn batches() -> impl Strategy<Value = ColumnBatch> {
    let row = TYPES.iter().map(value_of).collect::<Vec<_>>();
    proptest::collection::vec(row, 1..5).prop_map(|rows| {
        let mut batch = schema().empty_batch();
        for row in rows {
            for (column, value) in batch.columns.iter_mut().zip(&row) {
                assert!(column.push(value));
            }
            batch.columns.last_mut().expect("arrival").push(&Value::Int(7));
        }
        batch
    })
}

fn binary_ops() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp as B;
    let ops = [
        B::Add,
        B::Subtract,
        B::Multiply,
        B::Divide,
        B::Modulo,
        B::Eq,
        B::NotEq,
        B::Lt,
        B::LtEq,
        B::Gt,
        B::GtEq,
        B::And,
        B::Or,
        B::Concat,
        B::BitAnd,
        B::BitOr,
        B::BitXor,
        B::IsDistinct,
        B::IsNotDistinct,
    ];
    proptest::sample::select(ops.to_vec())
}

fn functions() -> impl Strategy<Value = Function> {
    use Function as F;
    let all = [
        F::Abs,
        F::Floor,
        F::Ceil,
        F::Round,
        F::Trunc,
        F::Sqrt,
        F::Power,
        F::Exp,
        F::Ln,
        F::Log10,
        F::Sign,
        F::Lower,
        F::Upper,
        F::Length,
        F::OctetLength,
        F::Trim,
        F::LTrim,
        F::RTrim,
        F::Substr,
        F::Left,
        F::Right,
        F::StrPos,
        F::Replace,
        F::SplitPart,
        F::StartsWith,
        F::Concat,
        F::Coalesce,
        F::NullIf,
        F::Greatest,
        F::Least,
        F::DateTrunc,
        F::DatePart,
        F::TimeBucket,
        F::ToTimestamp,
        F::Md5,
        F::WidthBucket,
    ];
    proptest::sample::select(all.to_vec())
}

/// Any operation over operands below `at`; mostly ill typed.
fn ops(at: u16) -> BoxedStrategy<Op> {
    let id = move || (0..at).prop_map(ExprId);
    let unit = prop_oneof![Just("month"), Just("week"), Just("epoch"), Just("year"), Just("second")];
    let literal = prop_oneof![
        proptest::sample::select(TYPES.to_vec()).prop_flat_map(|t| value_of(&t)),
        unit.prop_map(|u| Value::Text(u.to_string())),
        (0..3i32, 0..9i32).prop_map(|(months, days)| Value::Interval(Interval { months, days, micros: 0 })),
    ];
    let ids = move |n| proptest::collection::vec((0..at).prop_map(ExprId), 1..n);
    prop_oneof![
        4 => (binary_ops(), id(), id()).prop_map(|(op, a, b)| Op::Binary(op, a, b)),
        2 => literal.prop_map(Op::Literal),
        4 => (functions(), ids(5)).prop_map(|(f, args)| Op::Call(f, args)),
        2 => (id(), any::<bool>()).prop_map(|(input, try_cast)| Op::Cast { input, try_cast }),
        1 => (id(), id(), any::<bool>(), any::<bool>()).prop_map(|(input, pattern, negated, case_insensitive)| {
            Op::Like { input, pattern, negated, case_insensitive }
        }),
        1 => (id(), ids(4), any::<bool>()).prop_map(|(input, list, negated)| Op::InList { input, list, negated }),
        1 => (id(), id(), proptest::option::of(id())).prop_map(|(when, then, otherwise)| {
            Op::Case { branches: vec![(when, then)], otherwise }
        }),
        1 => id().prop_map(Op::Negate),
        1 => id().prop_map(Op::Not),
        1 => id().prop_map(Op::IsTrue),
        1 => id().prop_map(Op::IsNull),
    ]
    .boxed()
}

/// Operations on top of all columns; the well-typed ones are kept.
fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let columns = TYPES.len() as u16;
    let node = (ops(columns), proptest::sample::select(TYPES.to_vec()), any::<u16>());
    proptest::collection::vec(node, 40).prop_map(move |candidates| {
        let column = |(i, t): (usize, &DataType)| Node { op: Op::Column(i as u16), data_type: t.clone() };
        let mut nodes: Vec<Node> = TYPES.iter().enumerate().map(column).collect();
        for (op, data_type, spread) in candidates {
            // Also use earlier results as operands, so that errors and constants flow on.
            let fresh = usize::from(spread) % 3 == 0 && nodes.len() > usize::from(columns);
            let shift = if fresh { (nodes.len() as u16) - columns } else { 0 };
            let op = shifted(op, shift);
            nodes.push(Node { op, data_type });
            if plan(&nodes).validate(&schema()).is_err() {
                nodes.pop();
            }
        }
        nodes
    })
}

fn shifted(op: Op, by: u16) -> Op {
    match op {
        Op::Binary(op, a, b) => Op::Binary(op, ExprId(a.0 + by), ExprId(b.0 + by)),
        Op::Cast { input, try_cast } => Op::Cast { input: ExprId(input.0 + by), try_cast },
        Op::Call(f, args) => Op::Call(f, args.into_iter().map(|a| ExprId(a.0 + by)).collect()),
        other => other,
    }
}

/// A plan that counts every node.
fn plan(nodes: &[Node]) -> Plan {
    let count = |at| StatePlan {
        spec: AggregateSpec::Count { argument: true },
        args: vec![ExprId(at as u16)],
        filter: None,
    };
    Plan {
        view: ViewId(1),
        version: PlanVersion(1),
        stream: StreamId(1),
        nodes: nodes.to_vec(),
        filter: None,
        keys: vec![],
        states: (TYPES.len()..nodes.len()).map(count).collect(),
        groups_max: 1,
    }
}

proptest! {
    #[test]
    fn valid_plans_never_panic_and_give_whole_columns(nodes in nodes(), batch in batches()) {
        let plan = plan(&nodes);
        let mut program = Program::compile(&plan, &schema()).expect("validated");
        program.evaluate(&batch);
        for (at, node) in nodes.iter().enumerate() {
            let column = program.column(&batch, ExprId(at as u16));
            prop_assert_eq!(column.len(), batch.rows());
            for row in (0..batch.rows()).filter(|row| column.is_valid(*row)) {
                let value = column.value(row, &node.data_type);
                prop_assert!(value.fits(&node.data_type), "{:?} gave {value:?}", node);
            }
        }
        let bytes = plan.to_bytes();
        // NaN literals are not equal to themselves, their bytes are.
        prop_assert_eq!(Plan::from_bytes(&bytes).expect("canonical").to_bytes(), bytes);
    }

    #[test]
    fn kernels_give_what_rows_give(nodes in nodes(), batch in batches()) {
        for node in &nodes {
            let mut args = Vec::new();
            let mut over_columns = true;
            node.op.operands(&mut |id| match nodes[usize::from(id.0)].op {
                Op::Column(column) => {
                    let column = &batch.columns[usize::from(column)];
                    args.push(Arg { column, step: 1, data_type: &nodes[usize::from(id.0)].data_type });
                }
                _ => over_columns = false,
            });
            let (mut fast, mut slow) = (Column::new(&node.data_type), Column::new(&node.data_type));
            if !over_columns || args.is_empty() || !fast::evaluate(node, &args, None, batch.rows(), &mut fast) {
                continue;
            }
            scalar::evaluate(node, &args, None, batch.rows(), &mut slow);
            for row in 0..batch.rows() {
                prop_assert_eq!(fast.slot(row), slow.slot(row), "{:?}", node);
                let (a, b) = (fast.value(row, &node.data_type), slow.value(row, &node.data_type));
                let nans = matches!((&a, &b), (Value::Float(a), Value::Float(b)) if a.is_nan() && b.is_nan());
                prop_assert!(a == b || nans, "{:?}: {a:?} and {b:?}", node);
            }
        }
    }

    #[test]
    fn like_gives_what_the_definition_gives(text in "[ab\u{e4}]{0,8}", pattern in "[ab\u{e4}%_]{0,6}") {
        fn defined(text: &[char], pattern: &[char]) -> bool {
            match pattern {
                [] => text.is_empty(),
                ['%', rest @ ..] => (0..=text.len()).any(|skip| defined(&text[skip..], rest)),
                [first, rest @ ..] => match text {
                    [c, tail @ ..] => (*first == '_' || first == c) && defined(tail, rest),
                    [] => false,
                },
            }
        }
        let (t, p): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
        prop_assert_eq!(like::like(&text, &pattern, false), Ok(defined(&t, &p)));
    }

    #[test]
    fn dates_round_trip_and_follow_each_other(days in -200_000_000i64..200_000_000) {
        let (y, m, d) = time::civil_from_days(days);
        prop_assert_eq!(time::days_from_civil(y, m, d), days);
        prop_assert!(d >= 1 && d <= time::days_in_month(y, m));
        prop_assert!(time::civil_from_days(days + 1) > (y, m, d));
    }

    #[test]
    fn times_round_trip_as_text(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
        let mut text = Vec::new();
        time_text::put_timestamp(micros, &mut text);
        prop_assert_eq!(parse_timestamp(&text), Some(micros));
    }

    #[test]
    fn floats_round_trip_as_text(bits in any::<u64>()) {
        let v = f64::from_bits(bits);
        let mut text = Vec::new();
        number::put_float(v, false, &mut text);
        let back = number::parse_float(&text).expect("our own text");
        prop_assert!(back == v || (back.is_nan() && v.is_nan()));
    }

    #[test]
    fn decimals_round_trip_as_text(v in any::<i128>(), scale in 0u8..=38) {
        let units = v % 10i128.pow(38);
        let mut text = Vec::new();
        decimal::put_decimal(units, scale, &mut text);
        prop_assert_eq!(parse_decimal(&text, scale), Ok(units));
    }

    #[test]
    fn decimal_products_and_quotients_round_as_exact_ones(
        a in -1_000_000_000i64..1_000_000_000, b in -1_000_000_000i64..1_000_000_000, to in 0u8..12,
    ) {
        // The oracle has room for all digits: scales 6 and 3 give 9.
        let half_away = |n: i128, d: i128| {
            let (q, r) = (n / d, n % d);
            if r.abs() * 2 >= d.abs() { q + if (n < 0) == (d < 0) { 1 } else { -1 } } else { q }
        };
        let (wide_a, wide_b) = (i128::from(a), i128::from(b));
        let want = half_away(wide_a * wide_b * 10i128.pow(3), 10i128.pow(12 - u32::from(to)));
        prop_assert_eq!(decimal::mul(wide_a, 6, wide_b, 3, to), Some(want));
        if b != 0 {
            let want = half_away(wide_a * 10i128.pow(u32::from(to)), wide_b * 1000);
            prop_assert_eq!(decimal::div(wide_a, 6, wide_b, 3, to), Some(want));
        }
    }

    #[test]
    fn parsers_never_panic(text in proptest::collection::vec(any::<u8>(), 0..40), ascii in "[0-9eE+.: TZ-]{0,40}") {
        for text in [text.as_slice(), ascii.as_bytes()] {
            let _ = (parse_date(text), parse_timestamp(text), parse_uuid(text));
            let _ = (parse_decimal(text, 38), parse_decimal(text, 0), number::parse_float(text));
            let _ = number::parse_int(text);
        }
    }
}

#[test]
fn wide_decimals_keep_all_digits() {
    let max = 10i128.pow(38) - 1;
    assert_eq!(decimal::mul(max, 38, max, 38, 38), Some(max - 1), "0.99..9 squared");
    assert_eq!(decimal::div(max, 0, max, 0, 37), Some(10i128.pow(37)));
    assert_eq!(decimal::div(1, 0, max, 0, 38), Some(1));
    assert_eq!(decimal::mul(max, 0, max, 0, 0), None);
    assert_eq!(rescale(max, 38, 0), Some(1));
    assert_eq!(rescale(5, 1, 0), Some(1), "half away from zero");
    assert_eq!(rescale(-5, 1, 0), Some(-1));
}

#[test]
fn buckets_start_where_timescale_starts_them() {
    let at = |text: &str| parse_timestamp(text.as_bytes()).expect("a time");
    let days = |days| Interval { days, ..Interval::default() };
    let months = |months| Interval { months, ..Interval::default() };
    let micros = |micros| Interval { micros, ..Interval::default() };
    let cases = [
        (days(7), "2024-02-29 12:00:00", "2024-02-26"),
        (days(1), "2024-02-29 12:00:00", "2024-02-29"),
        (days(5), "2000-01-02 23:59:59", "1999-12-29"),
        (micros(900_000_000), "2024-02-29 12:34:56", "2024-02-29 12:30:00"),
        (micros(7), "1970-01-01 00:00:00", "1969-12-31 23:59:59.999996"),
        (months(1), "2024-02-29 12:00:00", "2024-02-01"),
        (months(5), "2024-02-29 12:00:00", "2023-10-01"),
        (months(12), "1969-07-20 00:00:00", "1969-01-01"),
    ];
    for (width, time, start) in cases {
        assert!(bucket_is_valid(width));
        assert_eq!(time::bucket(width, at(time)), Some(at(start)), "{width:?} of {time}");
    }
    assert!(!bucket_is_valid(days(0)) && !bucket_is_valid(days(-1)));
    assert!(!bucket_is_valid(Interval { months: 1, days: 1, micros: 0 }));
}

/// A branch that is not taken cannot fail the row, and a decided AND or OR cannot either.
#[test]
fn errors_that_nothing_needs_are_discarded() {
    let schema = schema();
    let (x, node) = (ExprId(0), |op, data_type| Node { op, data_type });
    let (int, bool) = (DataType::Int64, DataType::Bool);
    let nodes = vec![
        node(Op::Column(0), int.clone()),
        node(Op::Literal(Value::Int(0)), int.clone()),
        node(Op::Literal(Value::Int(10)), int.clone()),
        node(Op::Binary(BinaryOp::Divide, ExprId(2), x), int.clone()),
        node(Op::Binary(BinaryOp::NotEq, x, ExprId(1)), bool.clone()),
        node(Op::Case { branches: vec![(ExprId(4), ExprId(3))], otherwise: None }, int.clone()),
        node(Op::Binary(BinaryOp::Gt, ExprId(3), ExprId(1)), bool.clone()),
        node(Op::Binary(BinaryOp::And, ExprId(4), ExprId(6)), bool.clone()),
        node(Op::Call(Function::Coalesce, vec![ExprId(2), ExprId(3)]), int.clone()),
        node(Op::IsNull(ExprId(3)), bool),
    ];
    let mut plan = plan(&nodes);
    plan.states = (0..nodes.len() as u16)
        .map(|at| StatePlan {
            spec: AggregateSpec::Count { argument: true },
            args: vec![ExprId(at)],
            filter: None,
        })
        .collect();
    let mut batch = schema.empty_batch();
    for v in [0, 5] {
        for (at, column) in batch.columns.iter_mut().enumerate() {
            column.push(&if at == 0 || at == TYPES.len() { Value::Int(v) } else { Value::Null });
        }
    }
    let mut program = Program::compile(&plan, &schema).expect("valid");
    program.evaluate(&batch);
    let slots = |at: u16| {
        let column = program.column(&batch, ExprId(at));
        [column.slot(0).code(), column.slot(1).code()]
    };
    assert_eq!(slots(3), ["division_by_zero", "valid"]);
    assert_eq!(slots(5), ["null", "valid"]);
    assert_eq!(slots(7), ["valid", "valid"]);
    assert_eq!(slots(8), ["valid", "valid"]);
    assert_eq!(slots(9), ["division_by_zero", "valid"]);
}
