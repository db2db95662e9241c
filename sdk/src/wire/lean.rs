//! The frames between hubs and pages, read and written by hand: the bytes are postcard's, the code is a fifth of
//! what serde's visitors cost in the WASM module.
//!
//! Owns: [`Lean`], which reads exactly what [`super::encode_control`] writes; [`Put`], which writes the same.
//! Must not know: framing.
//! Invariants: one encoding per value (varints are canonical, tags are one byte of 0 or 1 where they are
//! booleans); nothing is allocated before its bytes are there; nested types and values, which only answers
//! have, are refused. Errors stick in the [`Cursor`] and are looked at once, at the end: a branch after every
//! field would double the code. Tests compare it with serde on every frame of the golden vectors.

use super::{
    Ack, AckLevel, ClockReply, ClockRequest, Failure, Goodbye, Hello, Plans, Refused, RefusedCode, Resume,
    Resumed, SessionLimits, StreamPlans, Welcome,
};
use crate::aggregate::AggregateSpec;
#[cfg(feature = "functions")]
use crate::aggregate::{Keep, SortColumn};
use crate::codec::{DecodeError, Reader, Writer};
use crate::flavor::{SKETCHES, SMALL};
use crate::ids::{
    BootId, CatalogVersion, ClusterId, Epoch, Micros, Pid, PlanVersion, RouteVersion, Seq, StreamId, ViewId,
};
use crate::plan::{BinaryOp, ExprId, Function, Node, Op, Plan, StatePlan};
use crate::schema::{Field, StreamSchema};
use crate::value::{DataType, Interval, Value};
use alloc::string::String;
use alloc::vec::Vec;

/// A reader whose first error stays; from then on every value is a default.
pub(super) struct Cursor<'a> {
    reader: Reader<'a>,
    error: Option<DecodeError>,
}

impl<'a> Cursor<'a> {
    #[inline(never)]
    fn keep<T: Default>(&mut self, read: Result<T, DecodeError>) -> T {
        read.unwrap_or_else(|error| {
            self.fail(error);
            T::default()
        })
    }

    #[inline(never)]
    fn fail(&mut self, error: DecodeError) {
        self.error.get_or_insert(error);
        self.reader = Reader::new(&[]);
    }

    #[inline(never)]
    fn unsigned(&mut self, max: u64) -> u64 {
        let value = self.reader.varint();
        self.keep(value.and_then(|value| if value <= max { Ok(value) } else { Err(DecodeError::Overlong) }))
    }

    #[inline(never)]
    fn signed(&mut self) -> i64 {
        let value = self.reader.zigzag();
        self.keep(value)
    }

    fn u8(&mut self) -> u8 {
        let value = self.reader.u8();
        self.keep(value)
    }

    /// A tag below `variants`; 0 after an error.
    #[inline(never)]
    fn tag(&mut self, variants: u8) -> u8 {
        let tag = self.unsigned(255) as u8;
        if tag < variants {
            return tag;
        }
        self.fail(DecodeError::Invalid("tag"));
        0
    }

    /// Reads a counted list, one `item` after the other.
    #[inline(never)]
    fn list(&mut self, item: &mut dyn FnMut(&mut Self)) {
        let count = self.reader.count(1, usize::MAX);
        for _ in 0..self.keep(count) {
            if self.error.is_some() {
                return;
            }
            item(self);
        }
    }

    #[inline(never)]
    fn blob(&mut self) -> &'a [u8] {
        let value = self.reader.blob(usize::MAX);
        self.keep(value)
    }
}

/// A value in postcard's encoding.
pub(super) trait Lean: Sized {
    /// Reads one.
    fn read(cursor: &mut Cursor<'_>) -> Self;
}

/// Reads `body` as exactly one value.
pub(super) fn read_all<T: Lean>(body: &[u8]) -> Result<T, DecodeError> {
    let mut cursor = Cursor { reader: Reader::new(body), error: None };
    let value = T::read(&mut cursor);
    match cursor.error {
        Some(error) => Err(error),
        None => cursor.reader.finish().map(|()| value),
    }
}

macro_rules! simple {
    ($($type:ty = |$cursor:ident| $read:expr;)*) => {$(
        impl Lean for $type {
            fn read($cursor: &mut Cursor<'_>) -> Self {
                $read
            }
        }
    )*};
}
simple! {
    u8 = |cursor| cursor.u8();
    u16 = |cursor| cursor.unsigned(u64::from(u16::MAX)) as u16;
    u32 = |cursor| cursor.unsigned(u64::from(u32::MAX)) as u32;
    u64 = |cursor| cursor.unsigned(u64::MAX);
    i32 = |cursor| {
        let value = cursor.signed();
        cursor.keep(i32::try_from(value).map_err(|_| DecodeError::Overlong))
    };
    i64 = |cursor| cursor.signed();
    i128 = |cursor| {
        if SMALL {
            // A numeric literal: its plan is left to a build that has such values.
            while cursor.u8() >= 0x80 {}
            return 0;
        }
        let value = cursor.reader.zigzag128();
        cursor.keep(value)
    };
    f64 = |cursor| {
        let value = cursor.reader.f64();
        cursor.keep(value)
    };
    bool = |cursor| cursor.tag(2) == 1;
    Pid = |cursor| {
        let value = cursor.reader.array();
        Pid(cursor.keep(value))
    };
    ClusterId = |cursor| ClusterId(Pid::read(cursor).0);
}

impl Lean for String {
    #[inline(never)]
    fn read(cursor: &mut Cursor<'_>) -> Self {
        let text = core::str::from_utf8(cursor.blob()).map_err(|_| DecodeError::Invalid("utf-8"));
        Self::from(cursor.keep(text))
    }
}

impl<T: Lean> Lean for Option<T> {
    fn read(cursor: &mut Cursor<'_>) -> Self {
        bool::read(cursor).then(|| T::read(cursor))
    }
}

impl<T: Lean> Lean for Vec<T> {
    #[inline(never)]
    fn read(cursor: &mut Cursor<'_>) -> Self {
        let mut all = Self::new();
        cursor.list(&mut |cursor| all.push(T::read(cursor)));
        all
    }
}

macro_rules! newtypes {
    ($($type:ident),*) => {$(
        impl Lean for $type {
            fn read(cursor: &mut Cursor<'_>) -> Self {
                $type(Lean::read(cursor))
            }
        }
    )*};
}
newtypes!(BootId, CatalogVersion, Epoch, ExprId, Micros, PlanVersion, RouteVersion, Seq, StreamId, ViewId);

/// Fields in the order of the definition: that is the order on the wire.
macro_rules! structs {
    ($($type:ident { $($field:ident),* })*) => {$(
        impl Lean for $type {
            fn read(cursor: &mut Cursor<'_>) -> Self {
                $(let $field = Lean::read(cursor);)*
                $type { $($field),* }
            }
        }
    )*};
}
#[cfg(feature = "functions")]
structs! {
    SortColumn { data_type, descending, nulls_first }
}
structs! {
    Welcome { version, time, boot, catalog, route, ack_level_max, limits, streams, unknown_streams, cluster }
    SessionLimits { frame_bytes_max, batch_groups_max, key_bytes_max, pid_lifetime_ms }
    StreamPlans { schema, plans }
    Plans { catalog, streams, unknown_streams }
    Resumed { pid, floor, bitmap, level, expired }
    Ack { pid, seq, level, epoch }
    Refused { pid, seq, code, message, retry_after_ms }
    ClockReply { sent, time }
    Failure { code, message, position, hint }
    Goodbye { reason }
    StreamSchema { id, name, fields }
    Field { name, data_type }
    Plan { view, version, stream, nodes, filter, keys, states, groups_max }
    StatePlan { spec, args, filter }
    Node { op, data_type }
    Interval { months, days, micros }
}

/// Variants without fields, in the order of the definition: that is their tag.
macro_rules! enums {
    ($($type:ident { $($variant:ident),* $(,)? })*) => {$(
        impl Lean for $type {
            fn read(cursor: &mut Cursor<'_>) -> Self {
                const ALL: &[$type] = &[$($type::$variant),*];
                ALL[usize::from(cursor.tag(ALL.len() as u8))]
            }
        }
    )*};
}
enums! {
    AckLevel { Received, Durable, Replicated }
    RefusedCode {
        Malformed, TooLarge, BornInFuture, Expired, DotConflict, WindowExceeded, NotPrimary, Unavailable,
        Throttled, Unauthorized, UnknownPlan,
    }
    BinaryOp {
        Add, Subtract, Multiply, Divide, Modulo, Eq, NotEq, Lt, LtEq, Gt, GtEq, And, Or, Concat, BitAnd, BitOr,
        BitXor, IsDistinct, IsNotDistinct,
    }
    Function {
        Abs, Floor, Ceil, Round, Trunc, Sqrt, Power, Exp, Ln, Log10, Sign, Lower, Upper, Length, OctetLength, Trim,
        LTrim, RTrim, Substr, Left, Right, StrPos, Replace, SplitPart, StartsWith, Concat, Coalesce, NullIf,
        Greatest, Least, DateTrunc, DatePart, TimeBucket, ToTimestamp, Md5, WidthBucket,
    }
}

impl Lean for DataType {
    #[inline(never)]
    fn read(cursor: &mut Cursor<'_>) -> Self {
        match cursor.tag(16) {
            0 => Self::Bool,
            1 => Self::Int16,
            2 => Self::Int32,
            3 => Self::Int64,
            4 => Self::Float32,
            5 => Self::Float64,
            6 => Self::Decimal { precision: cursor.u8(), scale: cursor.u8() },
            7 => Self::Text,
            8 => Self::Bytea,
            9 => Self::Uuid,
            10 => Self::Date,
            11 => Self::Timestamp,
            12 => Self::Interval,
            15 => Self::Null,
            _ => {
                cursor.fail(DecodeError::Invalid("nested type"));
                Self::Null
            }
        }
    }
}

impl Lean for Value {
    #[inline(never)]
    fn read(cursor: &mut Cursor<'_>) -> Self {
        match cursor.tag(8) {
            1 => Self::Bool(Lean::read(cursor)),
            2 => Self::Int(Lean::read(cursor)),
            3 => Self::Float(Lean::read(cursor)),
            4 => Self::Decimal(Lean::read(cursor)),
            5 => Self::Text(Lean::read(cursor)),
            6 => Self::Bytes(cursor.blob().to_vec()),
            7 => Self::Interval(Lean::read(cursor)),
            _ => Self::Null,
        }
    }
}

impl Lean for Op {
    #[inline(never)]
    fn read(cursor: &mut Cursor<'_>) -> Self {
        match cursor.tag(14) {
            0 => Self::Column(Lean::read(cursor)),
            1 => Self::Literal(Lean::read(cursor)),
            2 => Self::Not(Lean::read(cursor)),
            3 => Self::Negate(Lean::read(cursor)),
            4 => Self::IsNull(Lean::read(cursor)),
            5 => Self::IsNotNull(Lean::read(cursor)),
            6 => Self::IsTrue(Lean::read(cursor)),
            7 => Self::IsFalse(Lean::read(cursor)),
            8 => Self::Binary(Lean::read(cursor), Lean::read(cursor), Lean::read(cursor)),
            9 => Self::Cast { input: Lean::read(cursor), try_cast: Lean::read(cursor) },
            10 => Self::Case { branches: Lean::read(cursor), otherwise: Lean::read(cursor) },
            11 => Self::InList {
                input: Lean::read(cursor),
                list: Lean::read(cursor),
                negated: Lean::read(cursor),
            },
            12 => Self::Like {
                input: Lean::read(cursor),
                pattern: Lean::read(cursor),
                negated: Lean::read(cursor),
                case_insensitive: Lean::read(cursor),
            },
            _ => Self::Call(Lean::read(cursor), Lean::read(cursor)),
        }
    }
}

impl Lean for (ExprId, ExprId) {
    fn read(cursor: &mut Cursor<'_>) -> Self {
        (Lean::read(cursor), Lean::read(cursor))
    }
}

/// What follows the tag of each spec, in tag order: `t` a type, `n` a number or boolean, `d` a double, `(` a counted
/// list of all that comes after it.
const SHAPES: &[u8] = b"n,t,t,t,,,,t,t,tt,tt,tn,n,n,tnn,tn,tnn,t,,,nn(tnn,n,tnn,tn,(d,n,tn,,n,";

/// Specs that every build runs.
const SLIM_TAGS: [u8; 6] = [0, 1, 2, 3, 11, 12];

/// Passes over a spec whose states this build does not have.
fn skip(cursor: &mut Cursor<'_>, shape: &[u8]) {
    for (at, part) in shape.iter().enumerate() {
        match part {
            b't' => drop(DataType::read(cursor)),
            b'd' => drop(cursor.reader.f64().map_err(|error| cursor.fail(error))),
            b'(' => return cursor.list(&mut |cursor| skip(cursor, &shape[at + 1..])),
            _ => drop(cursor.unsigned(u64::MAX)),
        }
    }
}

fn skip_spec(cursor: &mut Cursor<'_>, tag: u8) {
    if let Some(shape) = SHAPES.split(|byte| *byte == b',').nth(usize::from(tag)) {
        skip(cursor, shape);
    }
}

impl Lean for AggregateSpec {
    #[inline(never)]
    fn read(cursor: &mut Cursor<'_>) -> Self {
        let tag = cursor.tag(Self::NAMES.len() as u8);
        if !SKETCHES && !SLIM_TAGS.contains(&tag) {
            skip_spec(cursor, tag);
            // Stands for all that only larger builds run: no plan with it is run here.
            return Self::Moments;
        }
        match tag {
            0 => Self::Count { argument: Lean::read(cursor) },
            1 => Self::Sum(Lean::read(cursor)),
            2 => Self::Min(Lean::read(cursor)),
            3 => Self::Max(Lean::read(cursor)),
            4 => Self::Moments,
            5 => Self::BoolAnd,
            6 => Self::BoolOr,
            7 => Self::BitAnd(Lean::read(cursor)),
            8 => Self::BitOr(Lean::read(cursor)),
            9 => Self::ArgMin { value: Lean::read(cursor), key: Lean::read(cursor) },
            10 => Self::ArgMax { value: Lean::read(cursor), key: Lean::read(cursor) },
            11 => Self::Hll { value: Lean::read(cursor), precision: cursor.u8() },
            12 => Self::DdSketch { alpha_ppm: Lean::read(cursor) },
            13 => Self::TDigest { compression: Lean::read(cursor) },
            14 => {
                Self::TopK { value: Lean::read(cursor), k: Lean::read(cursor), weighted: Lean::read(cursor) }
            }
            15 => Self::Set { value: Lean::read(cursor), cap: Lean::read(cursor) },
            16 => Self::Bloom {
                value: Lean::read(cursor),
                rate_ppm: Lean::read(cursor),
                expected: Lean::read(cursor),
            },
            17 => Self::BitXor(Lean::read(cursor)),
            18 => Self::Moments4,
            19 => Self::Regression,
            #[cfg(feature = "functions")]
            20 => Self::Rows {
                keep: Lean::read(cursor),
                limit: Lean::read(cursor),
                columns: Lean::read(cursor),
            },
            #[cfg(not(feature = "functions"))]
            20 => {
                skip_spec(cursor, tag);
                Self::Moments
            }
            21 => Self::JsonSum { cap: Lean::read(cursor) },
            22 => Self::Freq {
                value: Lean::read(cursor),
                error_ppm: Lean::read(cursor),
                confidence_ppm: Lean::read(cursor),
            },
            23 => Self::Theta { value: Lean::read(cursor), lg_k: cursor.u8() },
            #[cfg(feature = "functions")]
            24 => Self::Histogram { bounds: Lean::read(cursor) },
            #[cfg(not(feature = "functions"))]
            24 => {
                skip_spec(cursor, tag);
                Self::Moments
            }
            25 => Self::ExpHistogram { buckets: Lean::read(cursor) },
            26 => Self::Bucket { value: Lean::read(cursor), cap: Lean::read(cursor) },
            27 => Self::Counter,
            28 => Self::TimeWeight { linear: Lean::read(cursor) },
            _ => Self::StateAgg,
        }
    }
}

#[cfg(feature = "functions")]
impl Lean for Keep {
    fn read(cursor: &mut Cursor<'_>) -> Self {
        match cursor.tag(11) {
            0 => Self::First,
            1 => Self::Last,
            _ => Self::All,
        }
    }
}

/// A body that pages send.
pub(super) trait Put {
    /// Appends what [`super::encode_control`] would.
    fn put(&self, out: &mut Vec<u8>);
}

/// Appends a body.
pub(super) fn put<T: Put>(body: &T, out: &mut Vec<u8>) {
    body.put(out);
}

impl Put for Hello {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_varint(self.versions.len() as u64);
        self.versions.iter().for_each(|version| out.put_varint(u64::from(*version)));
        out.push(u8::from(self.token.is_some()));
        self.token.iter().for_each(|token| out.put_blob(token.as_bytes()));
        out.put_varint(self.streams.len() as u64);
        self.streams.iter().for_each(|stream| out.put_blob(stream.as_bytes()));
        out.put_blob(self.sdk.as_bytes());
        out.put_varint(u64::from(self.capabilities));
    }
}

impl Put for Resume {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pid.0);
        out.put_varint(self.low_water.0);
    }
}

impl Put for ClockRequest {
    fn put(&self, out: &mut Vec<u8>) {
        out.put_zigzag(self.sent.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode_control, encode_control};
    use super::*;
    use core::fmt::Debug;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    /// Both readers agree on the bytes, on every prefix of them and on trailing bytes.
    fn same<T: Lean + Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        let mut bytes = Vec::new();
        encode_control(value, &mut bytes);
        assert_eq!(read_all::<T>(&bytes).as_ref(), Ok(value));
        for end in 0..bytes.len() {
            assert_eq!(read_all::<T>(&bytes[..end]).is_err(), decode_control::<T>(&bytes[..end]).is_err());
        }
        bytes.push(0);
        assert_eq!(read_all::<T>(&bytes), Err(DecodeError::Trailing));
    }

    #[test]
    fn it_writes_what_serde_does() {
        fn same<T: Put + Serialize>(body: &T) {
            let (mut ours, mut serdes) = (Vec::new(), Vec::new());
            body.put(&mut ours);
            encode_control(body, &mut serdes);
            assert_eq!(ours, serdes);
        }
        let text = |text: &str| String::from(text);
        let hello = Hello {
            versions: vec![1, 300],
            token: None,
            streams: vec![text("views"), text("")],
            sdk: text("sdk/1"),
            capabilities: u32::MAX,
        };
        same(&hello);
        same(&Hello { token: Some("t\u{e9}".into()), streams: vec![], ..hello });
        same(&Resume { pid: Pid([7; 16]), low_water: Seq(u64::MAX) });
        same(&ClockRequest { sent: Micros(i64::MIN) });
        same(&ClockRequest { sent: Micros(1_700_000_000_000_000) });
    }

    #[test]
    fn it_reads_the_golden_frames_of_hubs_as_serde_does() {
        let mut seen = 0;
        for line in include_str!("../../../tests/vectors/frames.txt").lines().filter(|l| !l.starts_with('#'))
        {
            let hex = line.split('\t').nth(1).unwrap();
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            let frame = super::super::Frame::read_only(&bytes, 1 << 20).unwrap();
            seen += 1;
            match line.split('\t').next().unwrap() {
                "welcome" => same(&decode_control::<Welcome>(frame.body).unwrap()),
                "plans" => same(&decode_control::<Plans>(frame.body).unwrap()),
                "resumed" => same(&decode_control::<Resumed>(frame.body).unwrap()),
                "ack" => same(&decode_control::<Ack>(frame.body).unwrap()),
                "refused" => same(&decode_control::<Refused>(frame.body).unwrap()),
                "clock_reply" => same(&decode_control::<ClockReply>(frame.body).unwrap()),
                "failure" => same(&decode_control::<Failure>(frame.body).unwrap()),
                "goodbye" => same(&decode_control::<Goodbye>(frame.body).unwrap()),
                _ => seen -= 1,
            }
        }
        assert_eq!(seen, 8);
    }

    #[test]
    fn it_reads_every_type_value_and_operation_as_serde_does() {
        use DataType as T;
        let types = vec![
            T::Bool,
            T::Int16,
            T::Int32,
            T::Int64,
            T::Float32,
            T::Float64,
            T::Decimal { precision: 9, scale: 2 },
            T::Text,
            T::Bytea,
            T::Uuid,
            T::Date,
            T::Timestamp,
            T::Interval,
            T::Null,
        ];
        same(&types);
        let span = Interval { months: -1, days: 2, micros: i64::MIN };
        same(&vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(-0.5),
            Value::Decimal(i128::MIN),
            Value::Text("x".into()),
            Value::Bytes(vec![0, 255]),
            Value::Interval(span),
        ]);
        let (x, y) = (ExprId(1), ExprId(300));
        same(&vec![
            Op::Column(7),
            Op::Literal(Value::Null),
            Op::Not(x),
            Op::Negate(x),
            Op::IsNull(x),
            Op::IsNotNull(x),
            Op::IsTrue(x),
            Op::IsFalse(y),
            Op::Binary(BinaryOp::IsNotDistinct, x, y),
            Op::Cast { input: x, try_cast: true },
            Op::Case { branches: vec![(x, y)], otherwise: Some(y) },
            Op::InList { input: x, list: vec![y], negated: true },
            Op::Like { input: x, pattern: y, negated: false, case_insensitive: true },
            Op::Call(Function::WidthBucket, vec![x, y]),
            Op::Call(Function::Abs, vec![]),
        ]);
    }

    #[test]
    fn it_reads_every_spec_of_a_state_as_serde_does() {
        use DataType as T;
        let (value, key) = (T::Text, T::Timestamp);
        same(&vec![
            AggregateSpec::Count { argument: true },
            AggregateSpec::Sum(T::Int64),
            AggregateSpec::Min(T::Date),
            AggregateSpec::Max(T::Text),
            AggregateSpec::Moments,
            AggregateSpec::BoolAnd,
            AggregateSpec::BoolOr,
            AggregateSpec::BitAnd(T::Int16),
            AggregateSpec::BitOr(T::Int32),
            AggregateSpec::ArgMin { value: value.clone(), key: key.clone() },
            AggregateSpec::ArgMax { value: value.clone(), key },
            AggregateSpec::Hll { value: value.clone(), precision: 14 },
            AggregateSpec::DdSketch { alpha_ppm: 10_000 },
            AggregateSpec::TDigest { compression: 200 },
            AggregateSpec::TopK { value: value.clone(), k: 10, weighted: true },
            AggregateSpec::Set { value: value.clone(), cap: 10_000 },
            AggregateSpec::Bloom { value, rate_ppm: 20_000, expected: 16_384 },
            AggregateSpec::BitXor(T::Int64),
            AggregateSpec::Moments4,
            AggregateSpec::Regression,
            AggregateSpec::Rows {
                keep: Keep::All,
                limit: 300,
                columns: vec![
                    SortColumn::ascending(T::Decimal { precision: 9, scale: 2 }),
                    SortColumn { data_type: T::Text, descending: true, nulls_first: true },
                ],
            },
            AggregateSpec::JsonSum { cap: 300 },
            AggregateSpec::Freq { value: T::Text, error_ppm: 2_000, confidence_ppm: 995_000 },
            AggregateSpec::Theta { value: T::Text, lg_k: 12 },
            AggregateSpec::Histogram { bounds: vec![-1.5, 0.0, 2.5] },
            AggregateSpec::ExpHistogram { buckets: 160 },
            AggregateSpec::Bucket { value: T::Text, cap: 10_000 },
            AggregateSpec::Counter,
            AggregateSpec::TimeWeight { linear: true },
            AggregateSpec::StateAgg,
        ]);
    }

    /// A module that cannot pass over a spec would take the whole frame of plans for malformed.
    #[test]
    fn builds_without_an_aggregate_pass_over_its_spec() {
        for entry in &crate::aggregate::REGISTRY {
            for spec in (entry.specs)() {
                let mut bytes = Vec::new();
                encode_control(&spec, &mut bytes);
                let mut cursor = Cursor { reader: Reader::new(&bytes), error: None };
                let tag = cursor.tag(u8::MAX);
                skip_spec(&mut cursor, tag);
                assert!(cursor.error.is_none() && cursor.reader.is_empty(), "{spec:?}");
            }
        }
    }
}
