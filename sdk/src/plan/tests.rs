use super::*;
use crate::codec::DecodeError;
use crate::schema::{Field, StreamSchema};
use crate::value::Interval;
use alloc::string::{String, ToString};
use alloc::vec;
use proptest::prelude::*;

fn schema() -> StreamSchema {
    let field = |name: &str, data_type| Field { name: name.to_string(), data_type };
    let fields =
        vec![field("url", DataType::Text), field("ms", DataType::Float64), field("n", DataType::Int32)];
    StreamSchema { id: StreamId(3), name: "s".to_string(), fields }
}

/// The design's example: by minute and url, with a filter and four kinds of states.
fn example() -> Plan {
    let mut b = PlanBuilder::new();
    let room = "a small plan";
    let (url, ms) = (b.column(0, DataType::Text).expect(room), b.column(1, DataType::Float64).expect(room));
    let (n, at) = (b.column(2, DataType::Int32).expect(room), b.column(3, DataType::Timestamp).expect(room));
    let minute = b.literal(Value::Text("minute".to_string()), DataType::Text).expect(room);
    let minute = b.node(Op::Call(Function::DateTrunc, vec![minute, at]), DataType::Timestamp).expect(room);
    let limit = b.literal(Value::Float(60_000.0), DataType::Float64).expect(room);
    let fast = b.node(Op::Binary(BinaryOp::Lt, ms, limit), DataType::Bool).expect(room);
    b.filter(fast);
    b.key(minute).expect(room);
    b.key(url).expect(room);
    b.state(AggregateSpec::Count { argument: false }, &[], None).expect(room);
    b.state(AggregateSpec::Hll { value: DataType::Text, precision: 14 }, &[url], None).expect(room);
    b.state(AggregateSpec::DdSketch { alpha_ppm: 10_000 }, &[ms], Some(fast)).expect(room);
    b.state(AggregateSpec::Sum(DataType::Int32), &[n], None).expect(room);
    b.finish(ViewId(7), PlanVersion(2), StreamId(3), 10_000)
}

/// One of each operation and literal, to pin their tags.
fn everything() -> Plan {
    let mut b = PlanBuilder::new();
    let mut ids = vec![];
    let ops = |a: ExprId| {
        vec![
            Op::Not(a),
            Op::Negate(a),
            Op::IsNull(a),
            Op::IsNotNull(a),
            Op::IsTrue(a),
            Op::IsFalse(a),
            Op::Binary(BinaryOp::IsNotDistinct, a, a),
            Op::Cast { input: a, try_cast: true },
            Op::Case { branches: vec![(a, a)], otherwise: Some(a) },
            Op::InList { input: a, list: vec![a], negated: true },
            Op::Like { input: a, pattern: a, negated: false, case_insensitive: true },
            Op::Call(Function::WidthBucket, vec![a, a, a, a]),
        ]
    };
    let literals = vec![
        (Value::Null, DataType::Null),
        (Value::Bool(true), DataType::Bool),
        (Value::Int(-3), DataType::Int16),
        (Value::Float(1.5), DataType::Float32),
        (Value::Decimal(-125), DataType::Decimal { precision: 9, scale: 2 }),
        (Value::Bytes(vec![0; 16]), DataType::Uuid),
        (Value::Bytes(vec![1, 2]), DataType::Bytea),
        (Value::Interval(Interval { months: 1, days: -2, micros: 3 }), DataType::Interval),
        (Value::Int(9), DataType::Date),
    ];
    for (value, data_type) in literals {
        ids.push(b.literal(value, data_type).expect("room"));
    }
    for op in ops(ids[1]) {
        ids.push(b.node(op, DataType::Bool).expect("room"));
    }
    for id in ids {
        b.state(AggregateSpec::Count { argument: true }, &[id], None).expect("room");
    }
    b.finish(ViewId(1), PlanVersion(1), StreamId(1), 1)
}

/// The file is add-only: a new plan's line is printed by this test's failure; an old line never changes.
#[test]
fn golden_vectors_hold() {
    let file = include_str!("../../../tests/vectors/plans.txt");
    let mut wrong = String::new();
    for (name, plan) in [("example", example()), ("everything", everything())] {
        let hex: String = plan.to_bytes().iter().map(|b| alloc::format!("{b:02x}")).collect();
        let line = file.lines().find(|l| l.split('\t').next() == Some(name));
        if line.and_then(|l| l.split('\t').nth(1)) != Some(hex.as_str()) {
            wrong += &alloc::format!("{name}\t{hex}\n");
        }
    }
    assert!(wrong.is_empty(), "missing or different:\n{wrong}");
}

#[test]
fn plans_round_trip_and_have_one_encoding() {
    for plan in [example(), everything()] {
        let bytes = plan.to_bytes();
        assert_eq!(Plan::from_bytes(&bytes), Ok(plan));
        assert_eq!(Plan::from_bytes(&bytes[..bytes.len() - 1]), Err(DecodeError::Truncated));
        assert_eq!(Plan::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(DecodeError::Trailing));
    }
    // The view id 7 with a needless second byte.
    let mut overlong = example().to_bytes();
    overlong.splice(0..1, [0x87, 0x00]);
    assert!(Plan::from_bytes(&overlong).is_err());
}

#[test]
fn the_example_is_valid_and_shared() {
    let plan = example();
    assert_eq!(plan.validate(&schema()), Ok(()));
    let mut b = PlanBuilder::new();
    let x = b.column(0, DataType::Text).expect("room");
    assert_eq!(b.column(0, DataType::Text), Ok(x));
    let s = b.state(AggregateSpec::Count { argument: true }, &[x], None);
    assert_eq!(b.state(AggregateSpec::Count { argument: true }, &[x], None), s);
    let zero = b.literal(Value::Float(0.0), DataType::Float64).expect("room");
    assert_ne!(b.literal(Value::Float(-0.0), DataType::Float64), Ok(zero));
    let plan = b.finish(ViewId(1), PlanVersion(1), StreamId(3), 1);
    assert_eq!(plan.nodes.len(), 1, "literals that nothing needs are left out");
}

fn refused(change: impl Fn(&mut Plan)) -> PlanError {
    let mut plan = example();
    change(&mut plan);
    plan.validate(&schema()).expect_err("a plan that must be refused")
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    assert_eq!(refused(|p| p.stream = StreamId(4)), PlanError::Stream);
    assert_eq!(refused(|p| p.nodes[0].op = Op::Column(9)), PlanError::Column(0));
    assert_eq!(refused(|p| p.nodes[0].data_type = DataType::Int64), PlanError::Column(0));
    assert_eq!(refused(|p| p.nodes[0].op = Op::Not(ExprId(0))), PlanError::Order(0));
    assert_eq!(refused(|p| p.keys.push(ExprId(999))), PlanError::Order(999));
    assert_eq!(refused(|p| p.filter = p.keys.first().copied()), PlanError::Root);
    assert_eq!(refused(|p| p.keys = vec![ExprId(0); 33]), PlanError::TooLarge);
    assert_eq!(refused(|p| p.nodes = vec![p.nodes[0].clone(); 4097]), PlanError::TooLarge);
    assert_eq!(refused(|p| p.states = vec![p.states[0].clone(); 257]), PlanError::TooLarge);
    assert_eq!(refused(|p| p.states[1].args.clear()), PlanError::State(1));
    assert_eq!(refused(|p| p.states[2].args = vec![ExprId(0)]), PlanError::State(2));
    let wide = AggregateSpec::Hll { value: DataType::Text, precision: 30 };
    assert_eq!(refused(|p| p.states[1].spec = wide.clone()), PlanError::State(1));
    let huge = Value::Text("x".repeat(LITERAL_BYTES_MAX + 1));
    let push = |p: &mut Plan, value: &Value, data_type| {
        p.nodes.push(Node { op: Op::Literal(value.clone()), data_type });
    };
    assert_eq!(refused(|p| push(p, &huge, DataType::Text)), PlanError::TooLarge);
    let last = example().nodes.len() as u16;
    assert_eq!(refused(|p| push(p, &Value::Int(1), DataType::Text)), PlanError::Type(last));
    let zero_digits = DataType::Decimal { precision: 0, scale: 0 };
    assert_eq!(refused(|p| push(p, &Value::Null, zero_digits.clone())), PlanError::Type(last));
    let list = DataType::List(alloc::boxed::Box::new(DataType::Text));
    assert_eq!(refused(|p| push(p, &Value::Null, list.clone())), PlanError::Type(last));
    let era = |p: &mut Plan| {
        let at = p.nodes.iter().position(|n| matches!(n.op, Op::Literal(Value::Text(_)))).expect("the unit");
        p.nodes[at].op = Op::Literal(Value::Text("era".to_string()));
    };
    assert!(matches!(refused(era), PlanError::Type(_)));
}

proptest! {
    #[test]
    fn foreign_bytes_decode_to_their_own_encoding_or_not_at_all(
        mut bytes in Just(example().to_bytes()), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
        noise in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [bytes, noise] {
            if let Ok(plan) = Plan::from_bytes(&bytes) {
                prop_assert_eq!(plan.to_bytes(), bytes);
                let _ = plan.validate(&schema());
            }
        }
    }
}
