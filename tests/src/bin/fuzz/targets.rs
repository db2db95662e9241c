//! The decoders, each as a function from bytes to a verdict.

use crate::{payload, plan, seeds};
use headwater::aggregate::{self, AggregateSpec, Finisher, Keep, SortColumn, States};
use headwater::codec::{DecodeError, Reader};
use headwater::plan::Op;
use headwater::value::key;
use headwater::value::{DataType, Value};
use headwater::wire::{self, Body, Frame, FrameKind, encode_frame};
use std::collections::VecDeque;
use std::sync::Mutex;

/// What became of an input.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// A valid encoding, and the only one of its value.
    Accepted,
    /// Refused with an error.
    Refused,
    /// Accepted, but it should not have been.
    Wrong(String),
}

/// What gives valid inputs.
type Seeds = Box<dyn Fn() -> Vec<Vec<u8>> + Send + Sync>;

/// What is tried.
type Decoder = Box<dyn Fn(&[u8]) -> Verdict + Send + Sync>;

/// One decoder.
pub struct Target {
    /// What the command line calls it, or a part of it.
    pub name: &'static str,
    /// Valid inputs.
    pub seeds: Seeds,
    /// Decodes.
    pub run: Decoder,
    /// Heap bytes that a state of this kind may take whatever its input: registers, tables.
    pub memory_base: usize,
}

impl Target {
    /// Heap bytes that an input of this length justifies: decoded values are larger than their bytes (a
    /// `Value` of one byte takes 32, hash tables and growing vectors double), so a factor of 256 is generous and
    /// still catches a length that is believed.
    pub fn memory_max(&self, input_bytes: usize) -> usize {
        self.memory_base + 4096 + 256 * input_bytes
    }
}

/// All decoders of foreign bytes in the SDK.
pub fn all() -> Vec<Target> {
    let mut targets = vec![
        Target {
            name: "frame",
            seeds: Box::new(|| bytes(seeds::vectors("frames.txt"))),
            run: Box::new(frame),
            memory_base: 0,
        },
        Target { name: "batch", seeds: Box::new(batch_seeds), run: Box::new(payload::batch), memory_base: 0 },
        payload::target(),
        plan::target(),
        Target { name: "key", seeds: Box::new(key_seeds), run: Box::new(group_key), memory_base: 0 },
    ];
    targets.extend(specs().into_iter().map(|(name, spec)| state_target(name, spec)));
    targets
}

fn bytes(vectors: Vec<(String, Vec<u8>)>) -> Vec<Vec<u8>> {
    vectors.into_iter().map(|(_, bytes)| bytes).collect()
}

const FRAME_BYTES_MAX: usize = 1 << 20;

fn frame(input: &[u8]) -> Verdict {
    let Ok(frame) = Frame::read_only(input, FRAME_BYTES_MAX) else { return Verdict::Refused };
    match (decoded(&frame, input), frame.recode_as_pages()) {
        (Verdict::Refused, Some(Ok(_))) => Verdict::Wrong("taken by pages only".into()),
        (Verdict::Accepted, Some(Ok(again))) => same(input, &again),
        // Types inside types, and values inside values, are for answers; a page has no use for a plan with one.
        (Verdict::Accepted, Some(Err(error)))
            if error != DecodeError::Invalid("nested type") && !has_nested_value(&frame) =>
        {
            Verdict::Wrong(format!("refused by pages only: {error}"))
        }
        (verdict, _) => verdict,
    }
}

fn has_nested_value(frame: &Frame<'_>) -> bool {
    let streams = match frame.kind {
        FrameKind::Welcome => frame.decode::<wire::Welcome>().map(|welcome| welcome.streams),
        _ => frame.decode::<wire::Plans>().map(|plans| plans.streams),
    };
    let streams = streams.unwrap_or_default();
    let mut nodes = streams.iter().flat_map(|stream| &stream.plans).flat_map(|plan| &plan.nodes);
    nodes.any(|node| matches!(node.op, Op::Literal(Value::List(_) | Value::Struct(_))))
}

fn decoded(frame: &Frame<'_>, input: &[u8]) -> Verdict {
    macro_rules! by_kind {
        ($($kind:ident => $body:ty,)*) => {
            match frame.kind {
                $(FrameKind::$kind => again::<$body>(frame, input),)*
                other => Verdict::Wrong(format!("no body is tried for {other:?}")),
            }
        };
    }
    by_kind! {
        Hello => wire::Hello,
        Welcome => wire::Welcome,
        Plans => wire::Plans,
        Resume => wire::Resume,
        Resumed => wire::Resumed,
        Batch => wire::BatchFrame,
        Ack => wire::Ack,
        Refused => wire::Refused,
        ClockRequest => wire::ClockRequest,
        ClockReply => wire::ClockReply,
        Query => wire::Query,
        RowsHeader => wire::RowsHeader,
        Rows => wire::Rows,
        RowsEnd => wire::RowsEnd,
        Failure => wire::Failure,
        Goodbye => wire::Goodbye,
    }
}

fn again<T: Body>(frame: &Frame<'_>, input: &[u8]) -> Verdict {
    match frame.decode::<T>() {
        Err(_) => Verdict::Refused,
        Ok(body) => same(input, &encode_frame(&body)),
    }
}

/// Accepts `input` when it is what its value encodes to.
pub fn same(input: &[u8], encoded: &[u8]) -> Verdict {
    if input == encoded {
        return Verdict::Accepted;
    }
    Verdict::Wrong(format!("a second encoding; the canonical one is {}", crate::hex(encoded)))
}

fn batch_seeds() -> Vec<Vec<u8>> {
    let vectors = seeds::vectors("batches.txt").into_iter().filter(|(name, _)| !name.starts_with("hash"));
    bytes(vectors.collect())
}

const KEY_TYPES: [DataType; 4] =
    [DataType::Text, DataType::Int64, DataType::Float64, DataType::Decimal { precision: 38, scale: 4 }];

fn key_seeds() -> Vec<Vec<u8>> {
    let rows = [
        vec![Value::Text("a\0b".into()), Value::Int(-5), Value::Float(1.5), Value::Decimal(1 << 90)],
        vec![Value::Null, Value::Int(i64::MIN), Value::Float(-0.25), Value::Null],
        vec![Value::Text(String::new()), Value::Null, Value::Null, Value::Decimal(-7)],
    ];
    rows.iter().filter_map(|row| key::encode_key(row, &KEY_TYPES)).collect()
}

fn group_key(input: &[u8]) -> Verdict {
    match key::decode_key(input, &KEY_TYPES) {
        Err(_) => Verdict::Refused,
        Ok(values) => match key::encode_key(&values, &KEY_TYPES) {
            Some(encoded) => same(input, &encoded),
            None => Verdict::Wrong("decoded values do not encode".into()),
        },
    }
}

/// One spec of every kind, and of every layout where the layout decides the decoder.
fn specs() -> Vec<(&'static str, AggregateSpec)> {
    use AggregateSpec as S;
    let decimal = DataType::Decimal { precision: 20, scale: 2 };
    let list = vec![
        ("count", S::Count { argument: false }),
        ("sum_bigint", S::Sum(DataType::Int64)),
        ("sum_double", S::Sum(DataType::Float64)),
        ("sum_numeric", S::Sum(decimal.clone())),
        ("min_text", S::Min(DataType::Text)),
        ("min_double", S::Min(DataType::Float64)),
        ("max_bigint", S::Max(DataType::Int64)),
        ("max_interval", S::Max(DataType::Interval)),
        ("moments", S::Moments),
        ("bool_and", S::BoolAnd),
        ("bool_or", S::BoolOr),
        ("bit_and", S::BitAnd(DataType::Int32)),
        ("bit_or", S::BitOr(DataType::Int64)),
        ("arg_min", S::ArgMin { value: DataType::Text, key: DataType::Timestamp }),
        ("arg_max", S::ArgMax { value: DataType::Float64, key: decimal }),
        ("hll", S::Hll { value: DataType::Text, precision: 10 }),
        ("hll_14", S::Hll { value: DataType::Int64, precision: 14 }),
        ("ddsketch", S::DdSketch { alpha_ppm: 10_000 }),
        ("tdigest", S::TDigest { compression: 100 }),
        ("topk", S::TopK { value: DataType::Text, k: 5, weighted: false }),
        ("topk_weighted", S::TopK { value: DataType::Int64, k: 5, weighted: true }),
        ("set", S::Set { value: DataType::Text, cap: 100 }),
    ];
    let list: Vec<_> = list.into_iter().chain(later_specs()).collect();
    let forgotten = S::NAMES.iter().filter(|name| list.iter().all(|(_, spec)| spec.name() != **name));
    assert_eq!(forgotten.collect::<Vec<_>>(), Vec::<&&str>::new(), "every aggregate is a target");
    list
}

/// Those behind tag 15.
fn later_specs() -> Vec<(&'static str, AggregateSpec)> {
    use AggregateSpec as S;
    let columns = || {
        let last = SortColumn { data_type: DataType::Text, descending: true, nulls_first: true };
        vec![SortColumn::ascending(DataType::Int64), last]
    };
    vec![
        ("bloom", S::Bloom { value: DataType::Text, rate_ppm: 20_000, expected: 1_000 }),
        ("bit_xor", S::BitXor(DataType::Int64)),
        ("moments4", S::Moments4),
        ("regression", S::Regression),
        ("rows_first", S::Rows { keep: Keep::First, limit: 5, columns: columns() }),
        ("rows_all", S::Rows { keep: Keep::All, limit: 100, columns: columns() }),
        ("json_sum", S::JsonSum { cap: 100 }),
        ("freq", S::Freq { value: DataType::Text, error_ppm: 20_000, confidence_ppm: 900_000 }),
        ("theta", S::Theta { value: DataType::Text, lg_k: 8 }),
        ("histogram", S::Histogram { bounds: vec![-10.0, 0.0, 2.5] }),
        ("exp_histogram", S::ExpHistogram { buckets: 40 }),
        ("bucket", S::Bucket { value: DataType::Text, cap: 100 }),
        ("counter", S::Counter),
        ("time_weight", S::TimeWeight { linear: true }),
        ("state_agg", S::StateAgg),
    ]
}

fn state_target(name: &'static str, spec: AggregateSpec) -> Target {
    let name = Box::leak(format!("state_{name}").into_boxed_str());
    let honest = seeds::states(&spec);
    let of_seeds = honest.clone();
    let kept = Mutex::new(VecDeque::new());
    Target {
        name,
        seeds: Box::new(move || of_seeds.clone()),
        run: Box::new(move |input| match both(&spec, &honest, input) {
            Verdict::Accepted => closed_under_merge(&spec, input, &kept),
            other => other,
        }),
        memory_base: 256 << 10,
    }
}

/// How a hub reads a state: its own ([`States::merge`]) or a producer's ([`States::admit`]).
type Read = fn(&mut dyn States, u32, &mut Reader<'_>) -> Result<(), DecodeError>;

/// Both readings. The one for producers is the stricter: what it takes is a state, and read as the same.
fn both(spec: &AggregateSpec, honest: &[Vec<u8>], input: &[u8]) -> Verdict {
    let merged = state(spec, honest, |states, group, bytes| states.merge(group, bytes), input);
    let admitted = state(spec, honest, |states, group, bytes| states.admit(group, bytes).map(drop), input);
    match (merged, admitted) {
        (wrong @ Verdict::Wrong(_), _) => wrong,
        (_, Verdict::Wrong(what)) => Verdict::Wrong(format!("as a producer's: {what}")),
        (Verdict::Refused, Verdict::Accepted) => Verdict::Wrong("admitted, but no state".into()),
        (Verdict::Accepted, Verdict::Refused) if honest.iter().any(|state| state == input) => {
            Verdict::Wrong("what events gave is not admitted".into())
        }
        (merged, _) => merged,
    }
}

fn state(spec: &AggregateSpec, honest: &[Vec<u8>], read: Read, input: &[u8]) -> Verdict {
    let Some(mut states) = aggregate::create(spec) else {
        return Verdict::Wrong("this build does not have it".into());
    };
    states.resize(2);
    let mut reader = Reader::new(input);
    if read(&mut *states, 0, &mut reader).is_err() {
        return refused(spec, honest, read, input, &*states);
    }
    if !reader.is_empty() {
        return Verdict::Refused; // the caller's rule: nothing may follow
    }
    finish(spec, &*states);
    // Merging with itself must work too: totals may only saturate or fail at finish.
    let mut twice = Reader::new(input);
    if read(&mut *states, 1, &mut twice).is_err() {
        return Verdict::Wrong("refused the second time".into());
    }
    same(input, &encoded(&*states))
}

/// Neither an empty state nor one that holds something is changed by what is refused.
fn refused(
    spec: &AggregateSpec,
    honest: &[Vec<u8>],
    read: Read,
    input: &[u8],
    tried: &dyn States,
) -> Verdict {
    let changed = || Verdict::Wrong("changed by a state that it refused".into());
    if encoded(tried) != empty(spec) {
        return changed();
    }
    let mut states = aggregate::create(spec).expect("a build with every aggregate");
    states.resize(1);
    let held = &honest[honest.len() / 2];
    if states.merge(0, &mut Reader::new(held)).is_err()
        || read(&mut *states, 0, &mut Reader::new(input)).is_ok()
    {
        return Verdict::Wrong("refused, then not".into());
    }
    if encoded(&*states) == *held { Verdict::Refused } else { changed() }
}

/// Accepted states that the next ones are merged with.
const KEPT: usize = 4;

/// What merging accepted states makes must be accepted too: a hub stores it, and reads it again.
fn closed_under_merge(spec: &AggregateSpec, input: &[u8], kept: &Mutex<VecDeque<Vec<u8>>>) -> Verdict {
    let Some(mut merged) = aggregate::create(spec) else {
        return Verdict::Wrong("this build does not have it".into());
    };
    merged.resize(2);
    let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for other in kept.iter().map(Vec::as_slice).chain([input]) {
        if merged.merge(0, &mut Reader::new(other)).is_err() {
            return Verdict::Wrong(format!("refused what it had accepted: {}", crate::hex(other)));
        }
    }
    let bytes = encoded(&*merged);
    let again = merged.merge(1, &mut Reader::new(&bytes));
    let others: Vec<String> = kept.iter().map(|other| crate::hex(other)).collect();
    kept.push_back(input.to_vec());
    if kept.len() > KEPT {
        kept.pop_front();
    }
    match again {
        Ok(()) => Verdict::Accepted,
        Err(error) => Verdict::Wrong(format!("{error}: merged with {}", others.join(" "))),
    }
}

fn encoded(states: &dyn States) -> Vec<u8> {
    let mut out = Vec::new();
    states.encode(0, &mut out);
    out
}

fn empty(spec: &AggregateSpec) -> Vec<u8> {
    let mut states = aggregate::create(spec).expect("a build with every aggregate");
    states.resize(1);
    encoded(&*states)
}

/// Every way of finishing: values may be errors, never panics.
fn finish(spec: &AggregateSpec, states: &dyn States) {
    let finishers = [
        Finisher::Value,
        Finisher::Avg,
        Finisher::Count,
        Finisher::VarPop,
        Finisher::VarSamp,
        Finisher::StddevPop,
        Finisher::StddevSamp,
        Finisher::Quantile(0.5),
        Finisher::Quantiles(vec![0.0, 0.99, 1.0]),
        Finisher::Cardinality,
        Finisher::Bytes,
        Finisher::SkewnessSamp,
        Finisher::KurtosisPop,
        Finisher::CovarSamp,
        Finisher::Corr,
        Finisher::RegrSlope,
        Finisher::RegrIntercept,
        Finisher::RegrR2,
        Finisher::Column(0),
        Finisher::Join { column: 1, delimiter: ", ".into() },
        Finisher::JsonArray(1),
        Finisher::JsonObject { key: 1, value: 0 },
        Finisher::Delta,
        Finisher::Rate,
        Finisher::Resets,
    ];
    for finisher in finishers.iter().filter(|f| spec.finish_type(f).is_ok()) {
        let _ = states.finish(0, finisher);
    }
}
