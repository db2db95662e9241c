//! The states of the WASM core module: one column and one loop for all of its aggregates.
//!
//! Owns: count, sum, min, max, HLL and DDSketch as a producer needs them: update, merge, bytes. Must not know: other
//! producers' bytes, answers.
//! Why not [`super::States`]: six vtables and copies of everything are a twentieth of what every page downloads. Laws
//! and bytes are those of the files named after the aggregates; a test compares them.

use super::AggregateSpec;
use crate::codec::Writer;
#[cfg(not(feature = "sketches"))]
use crate::codec::{DecodeError, Reader};
use crate::hash::hash64;
use crate::sketch::ddsketch::{DdSketch, Mapping};
use crate::sketch::exact::{Big, special};
use crate::sketch::hll::Hll;
use crate::value::column::{Column, ColumnData};
use crate::value::{DataType, key};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The states of one spec, one per group.
pub struct Slim {
    spec: AggregateSpec,
    mapping: Mapping,
    states: Vec<State>,
}

enum State {
    Count(u64),
    Ints { count: u64, sum: i128 },
    Floats { count: u64, special: u8, sum: Big },
    Extreme(Option<Kept<Box<[u8]>>>),
    Hll(Hll),
    DdSketch(DdSketch),
}

/// A value that `min` or `max` keeps.
enum Kept<B> {
    /// Whatever has 64 bits or less, in the order of the values.
    Word(i64),
    Bytes(B),
}

/// Doubles in the order of integers: turned once it is this, turned twice it is the double's own bits.
fn turned(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

#[cfg(not(feature = "sketches"))]
const ONLY_WRITES: DecodeError = DecodeError::Invalid("state: this build only writes them");

impl AsRef<Self> for Slim {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Slim {
    /// An empty column; `None` when this build does not have the aggregate or the spec is not valid.
    pub fn create(spec: &AggregateSpec) -> Option<Self> {
        let alpha_ppm = if let AggregateSpec::DdSketch { alpha_ppm } = spec { *alpha_ppm } else { 100 };
        let column = Self { spec: spec.clone(), mapping: Mapping::new(alpha_ppm), states: Vec::new() };
        spec.is_slim().then_some(column)
    }

    fn empty(spec: &AggregateSpec) -> State {
        match spec {
            AggregateSpec::Count { .. } => State::Count(0),
            AggregateSpec::Sum(of) if of.is_float() => {
                State::Floats { count: 0, special: 0, sum: Big::default() }
            }
            AggregateSpec::Sum(_) => State::Ints { count: 0, sum: 0 },
            AggregateSpec::Hll { precision, .. } => State::Hll(Hll::new(*precision)),
            AggregateSpec::DdSketch { .. } => State::DdSketch(DdSketch::default()),
            _ => State::Extreme(None),
        }
    }

    /// Grows (with empty states) or shrinks to `groups` states.
    pub fn resize(&mut self, groups: usize) {
        self.states.truncate(groups);
        while self.states.len() < groups {
            self.states.push(Self::empty(&self.spec));
        }
    }

    /// As [`super::States::update`].
    pub fn update(&mut self, rows: &[u32], groups: &[u32], args: &[&Column]) {
        let Self { spec, mapping, states } = self;
        let mut key = Vec::new();
        for (row, group) in rows.iter().zip(groups) {
            let (row, state) = (*row as usize, &mut states[*group as usize]);
            let column = args.first().copied();
            if !column.is_none_or(|column| column.is_valid(row)) {
                continue;
            }
            match (state, column.map(|column| (column, &column.data))) {
                (State::Count(count), _) => *count += 1,
                (State::Ints { count, sum }, Some((_, ColumnData::Int(v)))) => {
                    *count += 1;
                    *sum += i128::from(v[row]);
                }
                (State::Floats { count, special, sum }, Some((_, ColumnData::Float(v)))) => {
                    *count += 1;
                    add_float(v[row], special, sum);
                }
                (State::Extreme(kept), Some((column, _))) => offer(kept, value(column, row), spec),
                (State::Hll(hll), Some((column, _))) => {
                    key.clear();
                    if let AggregateSpec::Hll { value, .. } = spec {
                        key::encode_row(column, row, value, &mut key);
                    }
                    hll.insert(hash64(&key));
                }
                (State::DdSketch(sketch), Some((_, ColumnData::Float(v)))) => sketch.add(mapping, v[row]),
                _ => {}
            }
        }
    }

    /// Merges group `from` of `other`, which has the same spec, into `into`.
    pub fn merge_group(&mut self, into: u32, other: &Self, from: u32) {
        match (&mut self.states[into as usize], &other.states[from as usize]) {
            (State::Count(mine), State::Count(theirs)) => *mine += theirs,
            (State::Ints { count, sum }, State::Ints { count: more, sum: theirs }) => {
                *count += more;
                *sum += theirs;
            }
            (
                State::Floats { count, special, sum },
                State::Floats { count: more, special: seen, sum: theirs },
            ) => {
                *count += more;
                *special |= seen;
                sum.merge(theirs);
            }
            (State::Extreme(mine), State::Extreme(Some(theirs))) => offer(mine, theirs.view(), &self.spec),
            (State::Hll(mine), State::Hll(theirs)) => mine.merge(theirs),
            (State::DdSketch(mine), State::DdSketch(theirs)) => mine.merge(&self.mapping, theirs),
            _ => {}
        }
    }

    /// Appends the canonical bytes of `group`'s state.
    pub fn encode(&self, group: u32, out: &mut Vec<u8>) {
        match &self.states[group as usize] {
            State::Count(count) => out.put_varint(*count),
            State::Ints { count, sum } => {
                out.put_varint(*count);
                if *count > 0 {
                    out.put_zigzag128(*sum);
                }
            }
            State::Floats { count, special, sum } => {
                out.put_varint(*count);
                if *count > 0 {
                    let mut copy = Big::default();
                    copy.merge(sum);
                    copy.dyadic().encode(*special, out);
                }
            }
            State::Extreme(kept) => {
                out.push(u8::from(kept.is_some()));
                if let (Some(kept), AggregateSpec::Min(of) | AggregateSpec::Max(of)) = (kept, &self.spec) {
                    kept.encode(of, out);
                }
            }
            State::Hll(hll) => hll.encode(out),
            State::DdSketch(sketch) => sketch.encode(out),
        }
    }
}

/// What [`crate::group`] asks of columns and pages never do.
#[cfg(not(feature = "sketches"))]
impl Slim {
    /// This build only writes.
    pub fn merge(&mut self, _: u32, _: &mut Reader<'_>) -> Result<(), DecodeError> {
        Err(ONLY_WRITES)
    }

    /// This build only writes.
    pub fn admit(&mut self, _: u32, _: &mut Reader<'_>) -> Result<u64, DecodeError> {
        Err(ONLY_WRITES)
    }

    /// Nobody asks.
    pub fn heap_bytes(&self) -> usize {
        0
    }
}

fn add_float(x: f64, seen: &mut u8, sum: &mut Big) {
    let flag = special::of(x);
    *seen |= flag;
    // A zero would make the number long.
    if flag == 0 && x != 0.0 {
        sum.add_double(x);
    }
}

/// What `min` and `max` see at `row`, which is valid.
fn value(column: &Column, row: usize) -> Kept<&[u8]> {
    match &column.data {
        ColumnData::Bool(v) => Kept::Word(i64::from(v[row])),
        ColumnData::Int(v) => Kept::Word(v[row]),
        ColumnData::Float(v) => Kept::Word(turned(canonical(v[row]).to_bits() as i64)),
        ColumnData::Bytes(v) => Kept::Bytes(v.get(row)),
        // Other packages of the workspace bring the variants.
        #[allow(unreachable_patterns, reason = "depends on what else is built")]
        _ => Kept::Word(0),
    }
}

/// One bit pattern per value: 0 for -0, one NaN.
fn canonical(x: f64) -> f64 {
    const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0000);
    // Adding 0 turns -0 into 0 and changes nothing else.
    if x.is_nan() { NAN } else { x + 0.0 }
}

fn offer(kept: &mut Option<Kept<Box<[u8]>>>, value: Kept<&[u8]>, spec: &AggregateSpec) {
    let order = match (&*kept, &value) {
        (Some(Kept::Word(kept)), Kept::Word(value)) => value.cmp(kept),
        (Some(Kept::Bytes(kept)), Kept::Bytes(value)) => (**value).cmp(&**kept),
        _ => return *kept = Some(value.keep()),
    };
    let wins = if matches!(spec, AggregateSpec::Min(_)) { Ordering::Less } else { Ordering::Greater };
    if order == wins {
        *kept = Some(value.keep());
    }
}

impl Kept<&[u8]> {
    fn keep(self) -> Kept<Box<[u8]>> {
        match self {
            Self::Word(word) => Kept::Word(word),
            Self::Bytes(bytes) => Kept::Bytes(bytes.into()),
        }
    }
}

impl Kept<Box<[u8]>> {
    fn view(&self) -> Kept<&[u8]> {
        match self {
            Self::Word(word) => Kept::Word(*word),
            Self::Bytes(bytes) => Kept::Bytes(bytes),
        }
    }

    fn encode(&self, of: &DataType, out: &mut Vec<u8>) {
        match self {
            Self::Word(word) => match of {
                DataType::Bool => out.push(*word as u8),
                DataType::Float32 => {
                    let double = f64::from_bits(turned(*word) as u64);
                    out.extend_from_slice(&(double as f32).to_bits().to_le_bytes());
                }
                DataType::Float64 => out.extend_from_slice(&turned(*word).to_le_bytes()),
                _ => out.put_zigzag(*word),
            },
            Self::Bytes(bytes) if *of == DataType::Uuid => out.extend_from_slice(bytes),
            Self::Bytes(bytes) => out.put_blob(bytes),
        }
    }
}

#[cfg(all(test, feature = "sketches"))]
mod tests {
    use super::*;
    use crate::aggregate::{REGISTRY, create};
    use crate::value::Value;

    /// Every spec of the core module, on values of every kind, NULLs, merges: the bytes of hubs and native producers.
    #[test]
    fn it_writes_what_every_other_build_does() {
        let mut seed = 5u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 11 ^ seed << 32
        };
        let mut specs = 0;
        for entry in REGISTRY {
            for spec in (entry.specs)().iter().filter(|spec| spec.is_slim()) {
                specs += 1;
                for rows in [0, 1, 3, 40, 1_000] {
                    same(spec, rows, &mut || (entry.row)(spec, &mut random));
                }
            }
        }
        assert_eq!(specs, 2 + 5 + 2 * 11 + 12 + 3, "as many as there are types of numbers and of values");
    }

    fn same(spec: &AggregateSpec, rows: u32, row: &mut dyn FnMut() -> Vec<Value>) {
        let mut slim = Slim::create(spec).expect("slim");
        let mut full = create(spec).expect("supported");
        assert_eq!(spec.is_slim(), spec.is_supported());
        slim.resize(3);
        full.resize(3);
        let types = spec.arg_types();
        let column = |of: &Option<DataType>| Column::new(of.as_ref().unwrap_or(&DataType::Int64));
        let mut columns: Vec<Column> = types.iter().map(column).collect();
        for _ in 0..rows {
            columns.iter_mut().zip(row()).for_each(|(column, value)| assert!(column.push(&value)));
        }
        let args: Vec<&Column> = columns.iter().collect();
        let all: Vec<u32> = (0..rows).collect();
        let groups: Vec<u32> = all.iter().map(|row| row % 7 % 3).collect();
        slim.update(&all, &groups, &args);
        full.update(&all, &groups, &args);
        let other = (Slim::create(spec).expect("slim"), create(spec).expect("supported"));
        let (mut slim_other, mut full_other) = other;
        slim_other.resize(1);
        full_other.resize(1);
        for from in [2, 0, 1, 1] {
            for group in 0..3 {
                assert_eq!(
                    bytes(|out| slim.encode(group, out)),
                    bytes(|out| full.encode(group, out)),
                    "{spec:?}"
                );
            }
            slim_other.merge_group(0, &slim, from);
            full_other.merge_group(0, full.as_ref(), from);
            let (slim, full) =
                (bytes(|out| slim_other.encode(0, out)), bytes(|out| full_other.encode(0, out)));
            assert_eq!(slim, full, "{spec:?} merged");
        }
    }

    fn bytes(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }
}
