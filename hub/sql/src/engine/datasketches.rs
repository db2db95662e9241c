//! `to_datasketches(column)`: states as sketches of Apache DataSketches, in its own serialized formats.
//!
//! Owns: those formats (little-endian preambles of 8-byte words: how many words, version 1 or 3, family, flags), and which
//! states have one. Must not know: where states come from.
//!
//! | state | family | what it says there |
//! |---|---|---|
//! | hll | 7 HLL, as HLL_8 out of order | estimates; merges with other exports of hubs, as values are hashed by xxh3 here and by MurmurHash3 there |
//! | theta | 3 compact theta, ordered, default seed | the same, of 63 bits of each hash |
//! | topk | 10 frequent items of strings, longs or doubles | all of it: lower and upper bounds, totals |
//! | tdigest | 20 t-digest of doubles | all of it |
//! | freq | 18 count-min of doubles, default seed | totals, merges with other exports of hubs; **no frequencies**: a value's counters are not where MurmurHash3 looks for them |

use crate::error::SqlError;
use headwater::aggregate::AggregateSpec;
use headwater::codec::{DecodeError, Reader};
use headwater::sketch::countmin::{self, CountMin};
use headwater::sketch::hll::Hll;
use headwater::sketch::tdigest::TDigest;
use headwater::sketch::theta::Theta;
use headwater::value::{DataType, Value, key};

/// The hash of DataSketches' default seed, 9001: its package for Python opens count-min sketches under no other.
const SEED_HASH: u16 = 0x93cc;
/// 63 bits: hashes and bounds of theta sketches are positive longs there.
const THETA_MAX: u64 = (1 << 63) - 1;

const EMPTY: u8 = 4;

/// A preamble's first word: words of the preamble, version, family, then five bytes of its own.
fn preamble(words: u8, version: u8, family: u8, own: [u8; 5]) -> Vec<u8> {
    let [a, b, c, d, e] = own;
    vec![words, version, family, a, b, c, d, e]
}

/// The bytes of a state, without what it says of itself; `Ok(None)`: its aggregate has no sketch there.
///
/// # Errors
/// `22003`: it counts more than those sketches can; `0A000`: its values have no type there; `22P03`: no such state.
pub(super) fn export(spec: &AggregateSpec, state: &[u8]) -> Result<Option<Vec<u8>>, SqlError> {
    let mut reader = Reader::new(state);
    let bytes = match spec {
        AggregateSpec::Hll { precision, .. } => hll(*precision, &mut reader).map_err(wrong)?,
        AggregateSpec::Theta { lg_k, .. } => theta(1 << lg_k, &mut reader).map_err(wrong)?,
        AggregateSpec::TopK { value, k, .. } => top(value, *k, &mut reader)?,
        AggregateSpec::TDigest { compression } => digest(*compression, &mut reader)?,
        AggregateSpec::Freq { error_ppm, confidence_ppm, .. } => {
            counters(&countmin::Shape::new(*error_ppm, *confidence_ppm), &mut reader)?
        }
        _ => return Ok(None),
    };
    Ok(Some(bytes))
}

/// How many bytes an export takes at most, before it is made.
pub(super) fn bytes_max(spec: &AggregateSpec, state: &[u8]) -> usize {
    match spec {
        AggregateSpec::Hll { precision, .. } => 40 + (1 << precision),
        AggregateSpec::Freq { error_ppm, confidence_ppm, .. } => {
            let shape = countmin::Shape::new(*error_ppm, *confidence_ppm);
            24 + 8 * shape.width() * shape.depth() as usize
        }
        // Lengths and counts have fixed widths there.
        _ => 64 + 8 * state.len(),
    }
}

fn wrong(_: DecodeError) -> SqlError {
    SqlError::new("22P03", "to_datasketches: these bytes are no state that it reads")
}

fn too_many() -> SqlError {
    SqlError::new("22003", "to_datasketches: the state counts more than its sketch can")
}

/// Registers of a byte each, without the estimate that only a sketch which saw every value has (out of order).
fn hll(precision: u8, reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    const HLL_8_LIST: u8 = 0b1000;
    const HLL_8: u8 = 0b1010;
    let ranks = Hll::decode(precision, reader)?.ranks();
    if ranks.iter().all(|rank| *rank == 0) {
        return Ok(preamble(2, 1, 7, [precision, 3, 8 | EMPTY, 0, HLL_8_LIST]));
    }
    let mut out = preamble(10, 1, 7, [precision, 0, 8 | 16, 0, HLL_8]);
    let sum = |of: &dyn Fn(u8) -> bool| -> f64 {
        let shares = ranks.iter().filter(|rank| of(**rank)).map(|rank| (-f64::from(*rank)).exp2());
        // A sum of nothing is -0.
        shares.sum::<f64>() + 0.0
    };
    for double in [0.0, sum(&|rank| rank < 32), sum(&|rank| rank >= 32)] {
        out.extend_from_slice(&double.to_le_bytes());
    }
    let zeros = ranks.iter().filter(|rank| **rank == 0).count() as u32;
    out.extend_from_slice(&zeros.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&ranks);
    Ok(out)
}

/// Hashes lose their last bit: what was below the bound stays below it.
fn theta(k: usize, reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    const READ_ONLY_COMPACT_ORDERED: u8 = 2 | 8 | 16;
    const SINGLE: u8 = 32;
    let (bound, hashes) = Theta::decode(k, reader)?.parts();
    let mut hashes: Vec<u64> = hashes.iter().map(|hash| (hash >> 1).max(1)).collect();
    hashes.dedup();
    let seed = SEED_HASH.to_le_bytes();
    let begin =
        |words, flags| preamble(words, 3, 3, [0, 0, READ_ONLY_COMPACT_ORDERED | flags, seed[0], seed[1]]);
    let mut out = match (bound, hashes.len()) {
        (None, 0) => begin(1, EMPTY),
        (None, 1) => begin(1, SINGLE),
        (None, _) => begin(2, 0),
        (Some(_), _) => begin(3, 0),
    };
    if bound.is_some() || hashes.len() > 1 {
        out.extend_from_slice(&(hashes.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }
    if let Some(bound) = bound {
        out.extend_from_slice(&bound.div_ceil(2).min(THETA_MAX).to_le_bytes());
    }
    hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
    Ok(out)
}

/// Counts are lower bounds there, too, and `offset` is what they may be too low by.
fn top(value: &DataType, k: u16, reader: &mut Reader<'_>) -> Result<Vec<u8>, SqlError> {
    let keep = (8 * usize::from(k)).clamp(64, 8_000) as u64;
    let len = reader.varint().map_err(wrong)?;
    if len > 2 * keep {
        return Err(too_many());
    }
    // A map is at most 3/4 full.
    let lg_map = (0..).find(|lg| (1u64 << lg) * 3 / 4 >= 2 * keep).unwrap_or(u8::MAX);
    let error = reader.varint().map_err(wrong)?;
    let mut total = if error > 0 { reader.varint().map_err(wrong)? } else { 0 };
    let (mut counts, mut items) = (Vec::new(), Vec::new());
    for _ in 0..len {
        item(&key::decode_value(reader, value).map_err(wrong)?, value, &mut items)?;
        let count = reader.varint().map_err(wrong)?;
        total = total.checked_add(count).ok_or_else(too_many)?;
        counts.extend_from_slice(&count.to_le_bytes());
    }
    if total == 0 {
        return Ok(preamble(1, 1, 10, [lg_map, 3, 1 | EMPTY, 0, 0]));
    }
    let mut out = preamble(4, 1, 10, [lg_map, lg_map, 0, 0, 0]);
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&error.to_le_bytes());
    out.append(&mut counts);
    out.append(&mut items);
    Ok(out)
}

/// An item as the serializers of strings, longs and doubles write it.
fn item(item: &Value, data_type: &DataType, out: &mut Vec<u8>) -> Result<(), SqlError> {
    match (item, data_type) {
        (Value::Text(text), _) => {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        (Value::Int(n), DataType::Int16 | DataType::Int32 | DataType::Int64) => {
            out.extend_from_slice(&n.to_le_bytes());
        }
        (Value::Float(x), _) => out.extend_from_slice(&x.to_le_bytes()),
        _ => {
            let what = format!("to_datasketches of values of type {}", crate::types::type_name(data_type));
            let hint = "frequent items are strings, longs or doubles there: topk_agg(x::text, k)";
            return Err(SqlError::unsupported(what).with_hint(hint));
        }
    }
    Ok(())
}

fn digest(compression: u16, reader: &mut Reader<'_>) -> Result<Vec<u8>, SqlError> {
    const SINGLE: u8 = 2;
    let digest = TDigest::decode(compression, reader).map_err(wrong)?;
    let centroids = digest.centroids().ok_or_else(too_many)?;
    let size = compression.to_le_bytes();
    let begin = |words, flags| preamble(words, 1, 20, [size[0], size[1], flags, 0, 0]);
    let (Some((least, _)), Some((most, _))) = (centroids.first(), centroids.last()) else {
        return Ok(begin(1, 1));
    };
    if let [(value, 1)] = centroids.as_slice() {
        let mut out = begin(1, SINGLE);
        out.extend_from_slice(&value.to_le_bytes());
        return Ok(out);
    }
    let mut out = begin(2, 0);
    out.extend_from_slice(&(centroids.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&least.to_le_bytes());
    out.extend_from_slice(&most.to_le_bytes());
    for (mean, weight) in &centroids {
        out.extend_from_slice(&mean.to_le_bytes());
        out.extend_from_slice(&weight.to_le_bytes());
    }
    Ok(out)
}

fn counters(shape: &countmin::Shape, reader: &mut Reader<'_>) -> Result<Vec<u8>, SqlError> {
    let sketch = CountMin::decode(shape, reader).map_err(wrong)?;
    let (total, counters) = sketch.total().zip(sketch.counters(shape)).ok_or_else(too_many)?;
    let rows = u8::try_from(shape.depth()).map_err(|_| too_many())?;
    let mut out = preamble(2, 1, 18, [u8::from(total == 0), 0, 0, 0, 0]);
    out.extend_from_slice(&(shape.width() as u32).to_le_bytes());
    out.push(rows);
    out.extend_from_slice(&SEED_HASH.to_le_bytes());
    out.push(0);
    if total > 0 {
        out.extend_from_slice(&(total as f64).to_le_bytes());
        counters.iter().for_each(|count| out.extend_from_slice(&(*count as f64).to_le_bytes()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::codec::Writer;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn exported(spec: &AggregateSpec, state: &[u8]) -> String {
        let bytes = export(spec, state).expect("a state").expect("a sketch");
        assert!(bytes.len() <= bytes_max(spec, state), "{} bytes", bytes.len());
        hex(&bytes)
    }

    /// The same bytes are read by the package of PyPI in `tests/clients/with_datasketches.py`.
    #[test]
    fn digests_have_the_bytes_of_the_library() {
        let spec = AggregateSpec::TDigest { compression: 100 };
        let state = |values: &[f64]| {
            let mut digest = TDigest::new(100);
            values.iter().for_each(|value| digest.add(*value));
            let mut out = Vec::new();
            digest.encode(&mut out);
            out
        };
        assert_eq!(exported(&spec, &state(&[])), "0101146400010000");
        assert_eq!(exported(&spec, &state(&[1.5])), "0101146400020000000000000000f83f");
        let three = "02011464000000000300000000000000000000000000f83f0000000000001040000000000000f83f0100000000000000\
                     000000000000044001000000000000000000000000001040\
                     0100000000000000";
        assert_eq!(exported(&spec, &state(&[2.5, 1.5, 4.0])), three);
    }

    #[test]
    fn heavy_hitters_are_frequent_items() {
        let spec = AggregateSpec::TopK { value: DataType::Text, k: 1, weighted: false };
        let state = |counts: &[(&str, u64)], error: u64, lost: u64| {
            let mut out = Vec::new();
            out.put_varint(counts.len() as u64);
            out.put_varint(error);
            if error > 0 {
                out.put_varint(lost);
            }
            for (text, count) in counts {
                key::encode_value(&Value::Text((*text).into()), &DataType::Text, &mut out);
                out.put_varint(*count);
            }
            out
        };
        assert_eq!(exported(&spec, &state(&[], 0, 0)), "01010a0803050000");
        let two = "04010a08080000000200000000000000050000000000000000000000000000000300000000000000020000000000000001000000\
                   61020000006262";
        assert_eq!(exported(&spec, &state(&[("a", 3), ("bb", 2)], 0, 0)), two);
        let with_error = export(&spec, &state(&[("a", 3)], 2, 130)).expect("a state").expect("a sketch");
        assert_eq!(with_error[16..32], [133u64.to_le_bytes(), 2u64.to_le_bytes()].concat());
        let days = AggregateSpec::TopK { value: DataType::Date, k: 1, weighted: false };
        let mut state = vec![1, 0];
        key::encode_value(&Value::Int(1), &DataType::Date, &mut state);
        state.put_varint(1);
        assert_eq!(export(&days, &state).map_err(|e| e.code), Err("0A000"));
    }

    #[test]
    fn registers_and_hashes_are_theirs() {
        let spec = AggregateSpec::Hll { value: DataType::Text, precision: 4 };
        assert_eq!(exported(&spec, &[0]), "02010704030c0008");
        let mut sketch = Hll::new(4);
        [0xf << 60 | 1 << 58, 1 << 59].iter().for_each(|hash| sketch.insert(*hash));
        let mut state = Vec::new();
        sketch.encode(&mut state);
        // Two registers: 15 with rank 2, 0 with rank 1.
        let kxq = hex(&(14.0f64 + 0.5 + 0.25).to_le_bytes());
        let zeros = "0000000000000000";
        let expected =
            format!("0a0107040018000a{zeros}{kxq}{zeros}0e0000000000000001000000000000000000000000000002");
        assert_eq!(exported(&spec, &state), expected);
        let spec = AggregateSpec::Theta { value: DataType::Text, lg_k: 4 };
        let state = |hashes: &[u64], bound: Option<u64>| {
            let mut out = Vec::new();
            out.put_varint((hashes.len() as u64) << 1 | u64::from(bound.is_some()));
            bound.iter().chain(hashes).for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
            out
        };
        assert_eq!(exported(&spec, &state(&[], None)), "01030300001ecc93");
        assert_eq!(exported(&spec, &state(&[6], None)), "01030300003acc930300000000000000");
        let two = "02030300001acc93020000000000000003000000000000000400000000000000";
        assert_eq!(exported(&spec, &state(&[6, 9], None)), two);
        let hashes: Vec<u64> = (1..=16).map(|n| 2 * n).collect();
        let bounded = exported(&spec, &state(&hashes, Some(35)));
        assert!(bounded.starts_with("03030300001acc9310000000000000001200000000000000"), "{bounded}");
    }

    #[test]
    fn counters_come_row_by_row() {
        let spec = AggregateSpec::Freq { value: DataType::Text, error_ppm: 900_000, confidence_ppm: 860_000 };
        let shape = countmin::Shape::new(900_000, 860_000);
        let encoded = |sketch: &CountMin| {
            let mut out = Vec::new();
            sketch.encode(&shape, &mut out);
            out
        };
        let mut sketch = CountMin::default();
        assert_eq!((shape.width(), shape.depth()), (4, 2));
        assert_eq!(exported(&spec, &encoded(&sketch)), "02011201000000000400000002cc9300");
        sketch.add(&shape, 7, 3);
        let bytes = export(&spec, &encoded(&sketch)).expect("a state").expect("a sketch");
        assert_eq!(bytes.len(), 24 + 8 * 8);
        let doubles: Vec<f64> =
            bytes[16..].as_chunks().0.iter().map(|eight| f64::from_le_bytes(*eight)).collect();
        let in_row = |row: &[f64]| row.iter().sum::<f64>();
        assert_eq!((doubles[0], in_row(&doubles[1..5]), in_row(&doubles[5..])), (3.0, 3.0, 3.0));
    }
}
