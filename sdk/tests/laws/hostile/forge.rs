//! Forged states: what no events gave, at the edge of what decodes.

use crate::fuzz::random::Random;
use crate::support::{Row, build, bytes, examples};
use headwater::aggregate::AggregateSpec;
use headwater::codec::{Reader, Writer};
use headwater::limits::BATCH_EVENTS_MAX;
use headwater::sketch::bloom::Shape;
use headwater::sketch::countmin::Shape as CountMinShape;
use headwater::value::{DataType, Value, key};

/// Counts at every edge.
pub const COUNTS: [u64; 8] =
    [1, 5, BATCH_EVENTS_MAX, BATCH_EVENTS_MAX + 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX];

/// Forged states of a spec. All decode; an aggregate that this does not know fails the suite.
pub fn states(spec: &AggregateSpec, random: &mut Random) -> Vec<Vec<u8>> {
    let mut forged = match spec {
        AggregateSpec::Count { .. } => COUNTS.iter().map(|&c| varint(c)).collect(),
        AggregateSpec::Sum(of) if of.is_float() => float_sums(),
        AggregateSpec::Sum(of) => int_sums(of),
        AggregateSpec::Moments => moments(),
        AggregateSpec::Moments4 => moments4(),
        AggregateSpec::Regression => regressions(),
        AggregateSpec::Min(of) | AggregateSpec::Max(of) => {
            values(of).map(|v| [&[1], &v[..]].concat()).collect()
        }
        AggregateSpec::BoolAnd | AggregateSpec::BoolOr => vec![vec![0], vec![1], vec![2]],
        AggregateSpec::BitAnd(of) | AggregateSpec::BitOr(of) | AggregateSpec::BitXor(of) => {
            values(of).map(|v| [&[1], &v[..]].concat()).collect()
        }
        AggregateSpec::ArgMin { value, key } | AggregateSpec::ArgMax { value, key } => pairs(value, key),
        AggregateSpec::Hll { precision, .. } => hlls(*precision, random),
        AggregateSpec::DdSketch { .. } => ddsketches(spec, random),
        AggregateSpec::TDigest { compression } => tdigests(usize::from(*compression), random),
        AggregateSpec::TopK { value, k, .. } => {
            topks(spec, value, (8 * usize::from(*k)).clamp(64, 8_000), random)
        }
        AggregateSpec::Bloom { rate_ppm, expected, .. } => blooms(*rate_ppm, *expected, random),
        AggregateSpec::Set { value, cap } => sets(spec, value, *cap as usize, random),
        AggregateSpec::Rows { limit, columns, .. } => rows(spec, *limit as usize, columns.len(), random),
        AggregateSpec::JsonSum { cap } => json_sums(*cap as usize),
        AggregateSpec::Freq { error_ppm, confidence_ppm, .. } => {
            freqs(&CountMinShape::new(*error_ppm, *confidence_ppm), random)
        }
        AggregateSpec::Theta { lg_k, .. } => thetas(1 << lg_k, random),
        AggregateSpec::Histogram { bounds } => histograms(bounds.len(), random),
        AggregateSpec::ExpHistogram { buckets } => exp_histograms(*buckets, random),
        AggregateSpec::Bucket { value, cap } => in_buckets(spec, value, *cap as usize, random),
        AggregateSpec::Counter => spans(&|time, count| span_of_doubles(time, count, true)),
        AggregateSpec::TimeWeight { .. } => spans(&|time, count| span_of_doubles(time, count, false)),
        AggregateSpec::StateAgg => spans(&span_of_states),
        _ => {
            panic!("{spec:?} has no forged states: an aggregate must be tried against merges of hostile ones")
        }
    };
    // And what events do give.
    forged.extend([3, 40, 400].map(|n| bytes(&build(spec, &examples(spec, random.bits(), n)))));
    forged
}

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(value);
    out
}

/// A number of any size, little-endian.
#[derive(Clone)]
pub struct Big(Vec<u64>);

impl Big {
    /// `value * 2^shift`, and `less` less.
    pub fn new(value: u64, shift: usize, less: u64) -> Self {
        let mut limbs = vec![0; shift / 64];
        let wide = u128::from(value) << (shift % 64);
        limbs.extend([wide as u64, (wide >> 64) as u64]);
        let mut borrow = less;
        for limb in &mut limbs {
            let (left, under) = limb.overflowing_sub(borrow);
            (*limb, borrow) = (left, u64::from(under));
        }
        Self(limbs)
    }

    fn bit(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|limb| limb >> (at % 64) & 1 == 1)
    }

    fn bits(&self) -> usize {
        (0..64 * self.0.len()).rev().find(|&i| self.bit(i)).map_or(0, |i| i + 1)
    }

    /// Bytes from bit `from` on.
    fn bytes(&self, from: usize, bits_each: usize) -> Vec<u8> {
        let digit = |i: usize| (0..bits_each).fold(0u8, |b, j| b | u8::from(self.bit(i + j)) << j);
        (from..self.bits().max(from + 1)).step_by(bits_each).map(digit).collect()
    }

    /// As a wide sum: zigzag of a number that is twice this, or one less for a negative one.
    fn wide(&self) -> Vec<u8> {
        let mut digits = self.bytes(0, 7);
        let last = digits.len() - 1;
        digits[..last].iter_mut().for_each(|d| *d |= 0x80);
        digits
    }

    /// As an exact sum, times `2^exponent`.
    pub fn exact(&self, negative: bool, special: u8, exponent: i64) -> Vec<u8> {
        let zeros = (0..64 * self.0.len()).find(|&i| self.bit(i));
        let magnitude = zeros.map_or(Vec::new(), |zeros| self.bytes(zeros, 8));
        let head = (magnitude.len() as u64) << 2 | u64::from(special > 0) << 1;
        let mut out = varint(head | u64::from(negative));
        out.extend((special > 0).then_some(special));
        if let Some(zeros) = zeros {
            out.put_zigzag(exponent + zeros as i64);
            put_magnitude(&magnitude, &mut out);
        }
        out
    }
}

fn put_magnitude(magnitude: &[u8], out: &mut Vec<u8>) {
    if magnitude.len() <= 24 {
        return out.extend_from_slice(magnitude);
    }
    let run = |at: usize| magnitude[at..].iter().take_while(|b| **b == magnitude[at]).count();
    let is_run = |at: usize| matches!(magnitude[at], 0 | 0xff) && run(at) >= 4;
    let mut at = 0;
    while at < magnitude.len() {
        let literal = (at..magnitude.len()).find(|&i| is_run(i)).unwrap_or(magnitude.len());
        out.put_blob(&magnitude[at..literal]);
        at = literal;
        if at < magnitude.len() {
            out.put_varint((run(at) as u64) << 1 | u64::from(magnitude[at] & 1));
            at += run(at);
        }
    }
}

/// The largest and the smallest sums of `count` doubles, each to the power `power`.
fn extremes(count: u64, power: usize) -> Vec<Vec<u8>> {
    let (top, low) = (1024 * power, 1074 * power);
    let mut sums: Vec<Vec<u8>> = Vec::new();
    for negative in if power % 2 == 1 { &[false, true][..] } else { &[false] } {
        sums.push(Big::new(count, 0, 0).exact(*negative, 0, top as i64));
        sums.push(Big::new(count, top + low, 1).exact(*negative, 0, -(low as i64)));
        sums.push(Big::new(1, 0, 0).exact(*negative, 0, -(low as i64)));
    }
    sums
}

fn float_sums() -> Vec<Vec<u8>> {
    let mut states = vec![varint(0), varint(u64::MAX)];
    for count in COUNTS.into_iter().filter(|c| *c < u64::MAX) {
        states.extend(extremes(count, 1).into_iter().map(|sum| [varint(count), sum].concat()));
        if count > 3 {
            states.push([varint(count), Big::new(count - 3, 2098, 1).exact(true, 7, -1074)].concat());
        }
    }
    states
}

fn int_sums(of: &DataType) -> Vec<Vec<u8>> {
    let bits = match of {
        DataType::Int16 => 15,
        DataType::Int32 => 31,
        DataType::Decimal { .. } => 127,
        _ => 63,
    };
    let mut states = vec![varint(0), varint(u64::MAX)];
    for count in COUNTS.into_iter().filter(|c| *c < u64::MAX) {
        for less in [0, 1] {
            states.push([varint(count), Big::new(count, bits + 1, less).wide()].concat());
        }
    }
    states
}

fn moments() -> Vec<Vec<u8>> {
    let mut states = vec![varint(0), varint(u64::MAX)];
    let raw = [f64::MIN, f64::MIN, f64::MAX, f64::INFINITY];
    states.push([varint(4), raw.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect()].concat());
    for count in COUNTS.into_iter().filter(|c| (5..u64::MAX).contains(c)) {
        for squares in extremes(count, 2) {
            // The smallest squares beside the largest sum: no values give it, yet it decodes.
            let sums = extremes(count, 1);
            states.extend(sums.iter().map(|sum| [varint(count), sum.clone(), squares.clone()].concat()));
        }
        let none = Big::new(0, 0, 0).exact(false, 0, 0);
        states.push([varint(count), none.clone(), none].concat());
    }
    states
}

/// Sums of the first four powers that no values give together, each at an end of what it may be by itself.
fn moments4() -> Vec<Vec<u8>> {
    let mut states = vec![varint(0), varint(u64::MAX)];
    let raw = [f64::MIN, f64::MIN, -1.0, 0.0, 0.0, 5e-324, f64::MAX, f64::INFINITY];
    states.push([varint(8), raw.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect()].concat());
    for count in COUNTS.into_iter().filter(|c| (9..u64::MAX).contains(c)) {
        let [s1, s2, s3, s4] = [1, 2, 3, 4].map(|power| extremes(count, power));
        for i in 0..s1.len() {
            let even = |sums: &[Vec<u8>]| sums[i % sums.len()].clone();
            let odd = |sums: &[Vec<u8>]| sums[(i + 2) % sums.len()].clone();
            states.push([varint(count), odd(&s1), even(&s2), odd(&s3), even(&s4)].concat());
        }
        states.push([varint(count), Big::new(0, 0, 0).exact(false, 0, 0).repeat(4)].concat());
        states.push(
            [
                varint(count),
                Big::new(count - 3, 2098, 1).exact(true, 7, -1074),
                extremes(count, 2)[0].clone(),
                Big::new(0, 0, 0).exact(false, 0, 0),
                extremes(count, 4)[0].clone(),
            ]
            .concat(),
        );
    }
    states
}

/// Sums of pairs that no values give together.
fn regressions() -> Vec<Vec<u8>> {
    let mut states = vec![varint(0), varint(u64::MAX)];
    let raw = [[f64::MIN, f64::MAX], [-1.0, f64::INFINITY], [0.0, 0.0], [f64::MAX, 5e-324]];
    states.push([varint(4), raw.iter().flatten().flat_map(|x| x.to_bits().to_le_bytes()).collect()].concat());
    for count in COUNTS.into_iter().filter(|c| (5..u64::MAX).contains(c)) {
        let (singles, squares) = (extremes(count, 1), extremes(count, 2));
        for i in 0..singles.len() {
            let single = |at: usize| singles[(i + at) % singles.len()].clone();
            let double = |at: usize| squares[(i + at) % squares.len()].clone();
            let xy = Big::new(count, 0, 0).exact(i % 2 == 0, 0, 2048);
            states.push([varint(count), single(0), single(3), double(0), double(1), xy].concat());
        }
        states.push([varint(count), Big::new(0, 0, 0).exact(false, 0, 0).repeat(5)].concat());
    }
    states
}

/// Values of a type as states hold them, at both ends.
fn values(of: &DataType) -> impl Iterator<Item = Vec<u8>> + use<> {
    let zigzag = |v: i128| {
        let mut out = Vec::new();
        out.put_zigzag128(v);
        out
    };
    let float = |x: f64| x.to_bits().to_le_bytes().to_vec();
    let ints = |max: i64| [0, i128::from(max), -i128::from(max) - 1].map(zigzag).to_vec();
    let all = match of {
        DataType::Bool => vec![vec![0], vec![1], vec![0]],
        DataType::Int16 => ints(i64::from(i16::MAX)),
        DataType::Int32 | DataType::Date => ints(i64::from(i32::MAX)),
        DataType::Int64 | DataType::Timestamp => ints(i64::MAX),
        DataType::Decimal { .. } => [0, i128::MAX, i128::MIN].map(zigzag).to_vec(),
        DataType::Float32 => {
            [f32::MIN, f32::INFINITY, f32::from_bits(1)].map(|x| x.to_bits().to_le_bytes().to_vec()).to_vec()
        }
        DataType::Float64 => [f64::MIN, f64::from_bits(0x7ff8 << 48), 5e-324].map(float).to_vec(),
        DataType::Interval => [i64::from(i32::MAX), i64::from(i32::MIN), 0]
            .map(|v| [zigzag(v.into()), zigzag(v.into()), zigzag((v << 31).into())].concat())
            .to_vec(),
        DataType::Uuid => [0, 255, 7].map(|b| vec![b; 16]).to_vec(),
        _ => [0, 1, 3_000].map(|n| [varint(n), vec![b'x'; n as usize]].concat()).to_vec(),
    };
    all.into_iter()
}

fn pairs(value: &DataType, key: &DataType) -> Vec<Vec<u8>> {
    let both = values(key).flat_map(|k| values(value).map(move |v| [vec![1], k.clone(), v].concat()));
    both.chain(values(key).map(|k| [vec![2], k].concat())).chain([vec![0]]).collect()
}

fn hlls(precision: u8, random: &mut Random) -> Vec<Vec<u8>> {
    let max = (3usize << precision) / 32;
    let registers = |of: &mut dyn FnMut(usize) -> u8| {
        let mut out = varint(max as u64 + 1);
        for four in 0..1usize << (precision - 2) {
            let packed = (0..4).rev().fold(0u32, |packed, i| packed << 6 | u32::from(of(4 * four + i)));
            out.extend_from_slice(&packed.to_le_bytes()[..3]);
        }
        out
    };
    let rank = 65 - precision;
    let mut states = vec![
        registers(&mut |_| rank),
        registers(&mut |i| u8::from(i == 0)),
        registers(&mut |i| if i % 2 == 1 { rank } else { 0 }),
        registers(&mut |_| (random.bits() % u64::from(rank + 1)) as u8),
    ];
    let hashes = |n: usize, of: &dyn Fn(u64) -> u64| {
        [varint(n as u64), (0..n as u64).flat_map(|i| of(i).to_le_bytes()).collect()].concat()
    };
    // All in the first register, or in the last: the most hashes that leave the others empty.
    states.push(hashes(max, &|i| i));
    states.push(hashes(max, &|i| u64::MAX - (max as u64 - 1) + i));
    states
}

/// Sketches of events whose counts are replaced.
fn ddsketches(spec: &AggregateSpec, random: &mut Random) -> Vec<Vec<u8>> {
    let ends = [f64::MAX, f64::MIN, 2f64.powi(-64), -(2f64.powi(-64)), 0.0, 1.0, -1.0, 2.0, 3.0, 4.0];
    let rows: Vec<Row> = ends.iter().map(|x| vec![Value::Float(*x)]).collect();
    let mut states = vec![[varint(8), f64::INFINITY.to_bits().to_le_bytes().repeat(8)].concat()];
    for rows in [rows, examples(spec, random.bits(), 300)] {
        let model = bytes(&build(spec, &rows));
        for count in COUNTS {
            states.push(recount(&model, &mut || count));
        }
        states.push(recount(&model, &mut || COUNTS[random.below(COUNTS.len())]));
    }
    // As much as one batch may claim, in one bucket.
    states.push([varint(9), varint(BATCH_EVENTS_MAX), vec![0, 0]].concat());
    states
}

fn recount(model: &[u8], count: &mut dyn FnMut() -> u64) -> Vec<u8> {
    let mut reader = Reader::new(model);
    let mut out = varint(reader.varint().expect("the form"));
    assert_eq!(out, [9], "buckets");
    reader.varint().expect("zeros");
    out.put_varint(count());
    for _ in 0..2 {
        let buckets = reader.varint().expect("buckets");
        out.put_varint(buckets);
        for _ in 0..buckets {
            out.put_varint(reader.varint().expect("index"));
            reader.varint().expect("count");
            out.put_varint(count());
        }
    }
    // Nine values at least.
    if count() == 1 { model.to_vec() } else { out }
}

fn tdigests(compression: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let most = 4 * compression + 64;
    let digest = |weights: &[u64], mean: &mut dyn FnMut(usize) -> f64| {
        let mut centroids: Vec<(f64, u64)> =
            weights.iter().enumerate().map(|(i, w)| (mean(i) + 0.0, *w)).collect();
        centroids.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut out = varint(centroids.len() as u64);
        for (mean, weight) in centroids {
            out.extend_from_slice(&mean.to_bits().to_le_bytes());
            out.put_varint(weight);
        }
        out
    };
    let ones = vec![1; most];
    let mut states = vec![varint(0), varint(most as u64 + 1), digest(&ones, &mut |i| i as f64)];
    for total in [BATCH_EVENTS_MAX, 1 << 53, (1 << 53) + 1, 1 << 62, u64::MAX / 2, u64::MAX] {
        let rest = total - (most as u64 - 1);
        // One heavy centroid before, after or among single ones; all alike; halving.
        let heavy = |at: usize| (0..most).map(|i| if i == at { rest } else { 1 }).collect::<Vec<u64>>();
        for at in [0, most / 2, most - 1] {
            states.push(digest(&heavy(at), &mut |i| i as f64 - 100.0));
        }
        states.push(digest(&vec![total / most as u64; most], &mut |i| {
            if i % 2 == 0 { f64::MAX } else { f64::MIN }
        }));
        states.push(digest(&vec![total / most as u64; most], &mut |_| random.bits() as f64 - 9e18));
        let halves: Vec<u64> = (1..64).map(|i| total >> i).filter(|w| *w > 0).collect();
        states.push(digest(&halves, &mut |i| -(i as f64)));
        states.push(digest(&halves, &mut |i| i as f64));
        states.push(digest(&[total], &mut |_| f64::MAX));
    }
    states
}

/// Distinct key bytes of a type, ascending.
fn keys(spec: &AggregateSpec, of: &DataType, n: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let rows = examples(spec, random.bits(), 4 * n);
    let present = rows.iter().map(|row| &row[0]).filter(|v| !v.is_null());
    let encode =
        |v: &Value| key::encode_key(std::slice::from_ref(v), std::slice::from_ref(of)).expect("fits");
    let mut keys: Vec<Vec<u8>> = present.map(encode).collect();
    keys.sort();
    keys.dedup();
    while keys.len() > n {
        keys.remove(random.below(keys.len()));
    }
    keys
}

fn topks(spec: &AggregateSpec, value: &DataType, keep: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut states = vec![vec![0, 0], varint(2 * keep as u64 + 1)];
    for total in [BATCH_EVENTS_MAX, 1 << 62, u64::MAX / 2, u64::MAX] {
        for lost_share in [0, 2, u64::MAX] {
            let keys = keys(spec, value, 2 * keep, random);
            let lost =
                if lost_share == 0 { 0 } else { total / lost_share.min(2) - u64::from(lost_share > 2) };
            let error = lost / (keep as u64 + 1);
            let left = total - lost;
            let keys = if left > keys.len() as u64 { &keys[..] } else { &[] };
            let mut out = varint(keys.len() as u64);
            out.put_varint(error);
            if error > 0 {
                out.put_varint(lost);
            }
            for (i, key) in keys.iter().enumerate() {
                out.extend_from_slice(key);
                let heavy = left - (keys.len() as u64 - 1);
                out.put_varint(match i {
                    0 => heavy,
                    _ => 1,
                });
            }
            states.push(out);
        }
        let keys = keys(spec, value, 2 * keep, random);
        let mut out = varint(keys.len() as u64);
        out.put_varint(0);
        for key in &keys {
            out.extend_from_slice(key);
            out.put_varint(total / keys.len() as u64);
        }
        states.push(out);
    }
    states
}

fn sets(spec: &AggregateSpec, value: &DataType, cap: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut states = vec![vec![0], vec![1]];
    for n in [1, cap, cap] {
        let keys = keys(spec, value, n, random);
        states.push([varint(keys.len() as u64 + 1), keys.concat()].concat());
    }
    states
}

fn blooms(rate_ppm: u32, expected: u32, random: &mut Random) -> Vec<Vec<u8>> {
    let words = Shape::new(rate_ppm, expected).bits() / 64;
    let filter = |word: &mut dyn FnMut(usize) -> u64| {
        [varint(words as u64 + 1), (0..words).flat_map(|i| word(i).to_le_bytes()).collect()].concat()
    };
    let hashes = |of: &dyn Fn(u64) -> u64| {
        [varint(words as u64), (0..words as u64).flat_map(|i| of(i).to_le_bytes()).collect()].concat()
    };
    vec![
        filter(&mut |_| u64::MAX),
        filter(&mut |i| u64::from(i == 0)),
        filter(&mut |i| u64::from(i + 1 == words) << 63),
        filter(&mut |_| random.bits()),
        hashes(&|i| i),
        hashes(&|i| u64::MAX - (words as u64 - 1) + i),
    ]
}

/// Rows at the limit, all alike, all NULL.
fn rows(spec: &AggregateSpec, limit: usize, columns: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let null = vec![Value::Null; columns];
    let alike = examples(spec, random.bits(), 1).remove(0);
    let state = |rows: &[Row]| bytes(&build(spec, rows));
    vec![
        vec![1],
        state(&vec![null.clone(); limit]),
        state(&vec![alike.clone(); limit]),
        state(&vec![alike; limit + 1]),
        state(&[examples(spec, random.bits(), limit - 1), vec![null]].concat()),
    ]
}

/// Sums at the edge of what their count allows, for as many names as there may be.
fn json_sums(cap: usize) -> Vec<Vec<u8>> {
    let mut states = vec![vec![0], vec![1]];
    for count in COUNTS.into_iter().filter(|c| *c < u64::MAX) {
        for names in [1, cap.min(count as usize)] {
            let mut out = varint(names as u64 + 1);
            out.put_varint(count);
            let mut sorted: Vec<String> = (0..names).map(|i| format!("{i}")).collect();
            sorted.sort();
            for name in sorted {
                out.extend([name.as_bytes(), &[0], &Big::new(count, 64, 1).wide()[..]].concat());
            }
            states.push(out);
        }
    }
    states
}

fn freqs(shape: &CountMinShape, random: &mut Random) -> Vec<Vec<u8>> {
    let (width, depth) = (shape.width(), shape.depth() as usize);
    let most = (width * depth / 9) as u64;
    let mut states = vec![varint(0), varint((most + 1) << 1 | 1)];
    for total in COUNTS.into_iter().filter(|total| *total > most) {
        // All in one counter of each row; or anywhere.
        for place in [0, width - 1] {
            let row = (0..width).flat_map(|at| varint(if at == place { total } else { 0 }));
            let row: Vec<u8> = row.collect();
            states.push([varint((most + 1) << 1), row.repeat(depth)].concat());
        }
        let mut rows = varint((most + 1) << 1);
        for _ in 0..depth {
            let place = random.below(width);
            (0..width).for_each(|at| rows.put_varint(if at == place { total } else { 0 }));
        }
        states.push(rows);
    }
    for count in COUNTS.into_iter().filter(|count| most > 0 && *count > 1) {
        states.push([varint(3), random.bits().to_le_bytes().to_vec(), varint(count)].concat());
    }
    states
}

fn thetas(k: u64, random: &mut Random) -> Vec<Vec<u8>> {
    let sampled = |bound: u64, hashes: &[u64]| {
        let all = [&[bound], hashes].concat();
        [varint((hashes.len() as u64) << 1 | 1), all.iter().flat_map(|h| h.to_le_bytes()).collect()].concat()
    };
    let lowest: Vec<u64> = (0..k).collect();
    let highest: Vec<u64> = (0..k).map(|i| u64::MAX - k + i).collect();
    let whole = [varint(k << 1), highest.iter().flat_map(|h| h.to_le_bytes()).collect()].concat();
    let mut some: Vec<u64> = (0..k).map(|_| random.bits() >> 1).collect();
    some.sort_unstable();
    some.dedup();
    vec![
        whole,
        sampled(1, &[]),
        sampled(1, &[0]),
        sampled(k, &lowest),
        sampled(u64::MAX, &lowest),
        sampled(u64::MAX, &highest),
        sampled(u64::MAX, &[]),
        sampled(1 << 63, &some),
    ]
}

fn histograms(bounds: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut states = vec![varint(0), varint(bounds as u64 + 2)];
    for count in COUNTS {
        for number in [0, bounds, random.below(bounds + 1)] {
            let mut state = varint(1);
            state.put_zigzag(number as i64);
            state.put_varint(count);
            states.push(state);
        }
    }
    states
}

fn exp_histograms(buckets: u16, random: &mut Random) -> Vec<Vec<u8>> {
    // From the lowest number to the highest of a scale at which that just fits.
    let scale = (-10..=20).rev().find(|scale| 2_098u64 << 20 >> (20 - scale) < u64::from(buckets) - 1);
    let scale = scale.expect("three buckets at the lowest");
    let ends = [-(1_074i64 << 20) - 1, (1_024 << 20) - 1].map(|number| number >> (20 - scale));
    let mut states = vec![varint(0), varint(1)];
    for count in COUNTS {
        let mut wide = varint((scale + 12) as u64);
        wide.extend([0, 2]);
        wide.put_zigzag(ends[0]);
        wide.put_varint(1);
        wide.put_varint((ends[1] - ends[0] - 1) as u64);
        wide.put_varint(count.min(u64::MAX - 1));
        wide.push(0);
        states.push(wide);
        let mut narrow = [varint(32), varint(0), vec![0, 1]].concat();
        narrow.put_zigzag((random.bits() % (1 << 20)) as i64);
        narrow.put_varint(count);
        states.push(narrow);
        states.push([varint(32), varint(count), vec![0, 0]].concat());
    }
    states
}

fn in_buckets(spec: &AggregateSpec, value: &DataType, cap: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut states = vec![vec![0], vec![1]];
    for (bucket, time) in [(i32::MIN, i64::MAX), (i32::MAX, i64::MIN), (0, 0)] {
        let keys = keys(spec, value, cap, random);
        let mut state = varint(keys.len() as u64 + 1);
        for key in keys {
            state.extend(key);
            state.put_zigzag(bucket.into());
            state.put_zigzag(time);
        }
        states.push(state);
    }
    states
}

/// Spans of some numbers of events, alone and behind each other.
fn spans(span: &dyn Fn(i64, u64) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut states = vec![vec![0], vec![1]];
    for count in COUNTS {
        states.push([varint(2), span(i64::MIN, count)].concat());
        states.push([varint(2), span(i64::MAX - 9, count)].concat());
        states.push([varint(3), span(-20, count), span(20, count)].concat());
    }
    // One span less than may be.
    let many: Vec<u8> = (0..4_095).flat_map(|at| span(1_000 + 20 * at, 1)).collect();
    states.push([varint(4_096), many].concat());
    states
}

/// A span of at most 9 microseconds.
fn span_of_doubles(time: i64, count: u64, counter: bool) -> Vec<u8> {
    let mut out = varint(count);
    out.put_zigzag(time);
    out.extend_from_slice(&f64::MAX.to_le_bytes());
    if count > 1 {
        out.put_varint(9);
        out.extend_from_slice(&1f64.to_le_bytes());
    }
    if count > 2 && counter {
        out.put_varint(count - 1);
        out.extend(Big::new(count - 1, 0, 0).exact(false, 0, 1_024));
    } else if count > 2 {
        out.extend(Big::new(9, 0, 0).exact(true, 0, 1_024));
    }
    out
}

fn span_of_states(time: i64, count: u64) -> Vec<u8> {
    let mut out = varint(count);
    out.put_zigzag(time);
    if count == 1 {
        out.put_blob(b"on");
        return out;
    }
    out.put_varint(2);
    out.put_blob(b"");
    out.put_varint(0);
    out.put_blob(b"on");
    out.put_varint(9);
    out.put_varint(1);
    out
}
