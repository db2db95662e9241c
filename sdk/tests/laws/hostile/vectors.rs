//! Verdicts on forged states: `tests/vectors/states_foreign.txt`, add-only.

use super::forge::Big;
use crate::fuzz::states::{decode, empty};
use headwater::aggregate::{AggregateSpec as Spec, Keep, SortColumn};
use headwater::codec::{Reader, Writer};
use headwater::limits::{BATCH_EVENTS_MAX, VALUE_BYTES_MAX, WEIGHT_PER_EVENT};
use headwater::value::{DataType as T, Value};

type Forged = (&'static str, Spec, Vec<u8>);

fn counted(count: u64, rest: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(count);
    rest.iter().for_each(|bytes| out.extend_from_slice(bytes));
    out
}

fn sums() -> Vec<Forged> {
    let most = BATCH_EVENTS_MAX;
    let sum = |count, magnitude: Big, exponent| counted(count, &[&magnitude.exact(false, 0, exponent)]);
    let moments = |sum: u64, squares: u64| {
        counted(5, &[&Big::new(sum, 0, 0).exact(false, 0, 0), &Big::new(squares, 0, 0).exact(false, 0, 0)])
    };
    vec![
        ("count_most", Spec::Count { argument: false }, counted(most, &[])),
        ("count_too_many", Spec::Count { argument: false }, counted(most + 1, &[])),
        ("count_full", Spec::Count { argument: false }, counted(u64::MAX, &[])),
        ("sum_most", Spec::Sum(T::Float64), sum(3, Big::new(3, 0, 0), 1024)),
        ("sum_above", Spec::Sum(T::Float64), sum(3, Big::new(7, 0, 0), 1023)),
        ("sum_just_above", Spec::Sum(T::Float64), sum(1, Big::new((1 << 60) + 1, 0, 0), 964)),
        ("sum_too_fine", Spec::Sum(T::Float64), sum(3, Big::new(1, 0, 0), -1075)),
        ("sum_too_many", Spec::Sum(T::Float64), sum(most + 1, Big::new(1, 0, 0), 0)),
        ("sum_full", Spec::Sum(T::Float64), counted(u64::MAX, &[])),
        ("sum_smallint_most", Spec::Sum(T::Int16), vec![1, 0xff, 0xff, 0x03]),
        ("sum_smallint_above", Spec::Sum(T::Int16), vec![1, 0x81, 0x80, 0x04]),
        ("sum_bigint_full", Spec::Sum(T::Int64), counted(u64::MAX, &[])),
        ("moments_alike", Spec::Moments, moments(5, 5)),
        ("moments_negative_variance", Spec::Moments, moments(5, 4)),
        ("moments_no_squares", Spec::Moments, moments(5, 0)),
        ("moments_full", Spec::Moments, counted(u64::MAX, &[])),
    ]
}

fn sketches() -> Vec<Forged> {
    let digest = |weights: &[u64]| {
        weights.iter().fold(counted(weights.len() as u64, &[]), |mut out, weight| {
            out.extend_from_slice(&1f64.to_bits().to_le_bytes());
            out.put_varint(*weight);
            out
        })
    };
    let compression = 20;
    let top = |weighted, count: u64| {
        (Spec::TopK { value: T::Bool, k: 1, weighted }, [vec![1, 0], key(true), counted(count, &[])].concat())
    };
    let ((plain, most), (_, above)) = (top(false, BATCH_EVENTS_MAX), top(false, BATCH_EVENTS_MAX + 1));
    let (weighted, heavy) = top(true, u64::MAX);
    let ddsketch = Spec::DdSketch { alpha_ppm: 10_000 };
    vec![
        ("ddsketch_most", ddsketch.clone(), counted(9, &[&counted(BATCH_EVENTS_MAX, &[]), &[0, 0]])),
        ("ddsketch_too_many", ddsketch, counted(9, &[&counted(BATCH_EVENTS_MAX + 1, &[]), &[0, 0]])),
        ("tdigest_most", Spec::TDigest { compression }, digest(&[1, BATCH_EVENTS_MAX - 1])),
        ("tdigest_too_many", Spec::TDigest { compression }, digest(&[1, BATCH_EVENTS_MAX])),
        ("tdigest_weights_wrap", Spec::TDigest { compression }, digest(&[1 << 63, 1 << 63])),
        ("tdigest_full", Spec::TDigest { compression }, counted(145, &[])),
        ("tdigest_beyond_full", Spec::TDigest { compression }, counted(146, &[])),
        ("topk_most", plain.clone(), most),
        ("topk_too_many", plain.clone(), above),
        ("topk_weighted_heavy", weighted.clone(), heavy),
        ("topk_weighted_full", weighted, counted(129, &[])),
        ("topk_full", plain.clone(), counted(129, &[])),
        (
            "topk_weights_wrap",
            plain,
            [vec![2, 0], key(false), counted(1 << 63, &[]), key(true), counted(1 << 63, &[])].concat(),
        ),
    ]
}

/// Texts that no producer keeps, and weights of a batch.
fn values() -> Vec<Forged> {
    let text = |bytes: usize| "a".repeat(bytes);
    let max = |bytes: usize| [vec![1], counted(bytes as u64, &[]), text(bytes).into_bytes()].concat();
    let set = |bytes: usize| {
        let key = headwater::value::key::encode_key(&[Value::Text(text(bytes))], &[T::Text]).expect("fits");
        [vec![2], key].concat()
    };
    let weighted = Spec::TopK { value: T::Bool, k: 1, weighted: true };
    let weight = |weight: u64| [vec![1, 0], key(true), counted(weight, &[])].concat();
    let most = BATCH_EVENTS_MAX * WEIGHT_PER_EVENT;
    vec![
        ("max_text_longest", Spec::Max(T::Text), max(VALUE_BYTES_MAX)),
        ("max_text_too_long", Spec::Max(T::Text), max(VALUE_BYTES_MAX + 1)),
        ("set_text_too_long", Spec::Set { value: T::Text, cap: 4 }, set(2 * VALUE_BYTES_MAX + 2)),
        ("topk_weighted_most", weighted.clone(), weight(most)),
        ("topk_weighted_too_heavy", weighted, weight(most + 1)),
    ]
}

fn filters() -> Vec<Forged> {
    let bloom = Spec::Bloom { value: T::Int64, rate_ppm: 500_000, expected: 1 };
    let bits = |count: u8, bits: u64| [vec![count], bits.to_le_bytes().to_vec()].concat();
    vec![
        ("bloom_all", bloom.clone(), bits(2, u64::MAX)),
        ("bloom_none", bloom.clone(), bits(2, 0)),
        ("bloom_too_many_hashes", bloom.clone(), bits(3, 1)),
        ("bloom_unsorted", Spec::Bloom { value: T::Int64, rate_ppm: 20_000, expected: 40 }, {
            [vec![2], 2u64.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat()
        }),
    ]
}

fn frequencies() -> Vec<Forged> {
    let freq = Spec::Freq { value: T::Int64, error_ppm: 500_000, confidence_ppm: 1 };
    let two = Spec::Freq { value: T::Int64, error_ppm: 500_000, confidence_ppm: 700_000 };
    let hash = 7u64.to_le_bytes();
    vec![
        ("freq_most", freq.clone(), counted(2, &[&counted(BATCH_EVENTS_MAX, &[]), &[0; 5]])),
        ("freq_too_many", freq.clone(), counted(2, &[&counted(BATCH_EVENTS_MAX + 1, &[]), &[0; 5]])),
        ("freq_none", freq.clone(), counted(2, &[&[0; 6]])),
        ("freq_full", freq, counted(3, &[])),
        ("freq_rows_agree", two.clone(), counted(4, &[&[1, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]])),
        ("freq_rows_differ", two.clone(), counted(4, &[&[1, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]])),
        ("freq_counted", two.clone(), counted(3, &[&hash, &[2]])),
        ("freq_counted_once", two, counted(3, &[&hash, &[1]])),
    ]
}

fn samples() -> Vec<Forged> {
    let theta = Spec::Theta { value: T::Int64, lg_k: 4 };
    let state = |head: u64, words: &[u64]| {
        counted(head, &[&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()])
    };
    let sixteen: Vec<u64> = (0..16).collect();
    vec![
        ("theta_full", theta.clone(), state(33, &[&[16], &sixteen[..]].concat())),
        ("theta_of_a_difference", theta.clone(), state(3, &[16, 1])),
        ("theta_above_its_bound", theta.clone(), state(3, &[16, 16])),
        ("theta_without_room", theta.clone(), state(1, &[0])),
        ("theta_too_many", theta, state(34, &[&sixteen[..], &[16]].concat())),
    ]
}

fn histograms() -> Vec<Forged> {
    let one = Spec::Histogram { bounds: vec![0.0] };
    let exp = Spec::ExpHistogram { buckets: 4 };
    vec![
        ("histogram_most", one.clone(), counted(1, &[&[2], &counted(BATCH_EVENTS_MAX, &[])])),
        ("histogram_too_many", one.clone(), counted(1, &[&[2], &counted(BATCH_EVENTS_MAX + 1, &[])])),
        ("histogram_full", one.clone(), counted(3, &[])),
        ("histogram_beyond", one.clone(), counted(1, &[&[4, 1]])),
        ("histogram_none", one, counted(1, &[&[2, 0]])),
        ("exp_histogram_most", exp.clone(), counted(32, &[&counted(BATCH_EVENTS_MAX, &[]), &[0, 0]])),
        ("exp_histogram_too_many", exp.clone(), counted(32, &[&counted(BATCH_EVENTS_MAX + 1, &[]), &[0, 0]])),
        ("exp_histogram_full", exp.clone(), counted(1, &[])),
        ("exp_histogram_scale_too_low", exp.clone(), counted(31, &[&[0, 1, 0, 1, 0]])),
        ("exp_histogram_too_wide", exp.clone(), counted(32, &[&[0, 2, 0, 1, 3, 1, 0]])),
        ("exp_histogram_nothing", exp, counted(32, &[&[0, 0, 0]])),
    ]
}

fn in_buckets() -> Vec<Forged> {
    let bucket = Spec::Bucket { value: T::Bool, cap: 1 };
    let wide = [vec![2], key(true), vec![0x80, 0x80, 0x80, 0x80, 0x10, 0]].concat();
    vec![
        ("bucket_number_too_large", bucket.clone(), wide),
        ("bucket_above_cap", bucket, [vec![3], key(false), vec![0, 0], key(true), vec![0, 0]].concat()),
    ]
}

fn spans() -> Vec<Forged> {
    let one = |time: i64| {
        let mut out = vec![1];
        out.put_zigzag(time);
        out.extend_from_slice(&1f64.to_le_bytes());
        out
    };
    let weight = Spec::TimeWeight { linear: false };
    let states = |at: u8| [&[2, 3, 0, 2, 1][..], b"a", &[4, 1], b"b", &[5, at]].concat();
    vec![
        ("counter_apart", Spec::Counter, [vec![3], one(1), one(2)].concat()),
        ("counter_overlapping", Spec::Counter, [vec![3], one(1), one(1)].concat()),
        ("counter_broken", Spec::Counter, vec![0]),
        ("counter_more_resets_than_readings", Spec::Counter, {
            [
                vec![2, 3, 0],
                1f64.to_le_bytes().to_vec(),
                vec![9],
                1f64.to_le_bytes().to_vec(),
                vec![3, 4, 0, 1],
            ]
            .concat()
        }),
        ("time_weight_apart", weight.clone(), [vec![3], one(1), one(2)].concat()),
        ("time_weight_too_many_spans", weight, [vec![0x82, 0x20], one(1)].concat()),
        ("state_agg_two", Spec::StateAgg, states(1)),
        ("state_agg_no_last", Spec::StateAgg, states(2)),
    ]
}

fn key(value: bool) -> Vec<u8> {
    headwater::value::key::encode_key(&[Value::Bool(value)], &[T::Bool]).expect("fits")
}

/// Of aggregates that came later.
fn later() -> Vec<Forged> {
    let most = BATCH_EVENTS_MAX;
    let of = |count, sums: &[u64]| {
        let sums: Vec<Vec<u8>> = sums.iter().map(|sum| Big::new(*sum, 0, 0).exact(false, 0, 0)).collect();
        counted(count, &sums.iter().map(|sum| &sum[..]).collect::<Vec<_>>())
    };
    vec![
        ("moments4_alike", Spec::Moments4, of(9, &[9, 9, 9, 9])),
        ("moments4_too_many", Spec::Moments4, of(most + 1, &[9, 9, 9, 9])),
        ("moments4_negative_variance", Spec::Moments4, of(9, &[9, 8, 9, 9])),
        ("moments4_negative_variance_of_squares", Spec::Moments4, of(9, &[9, 9, 9, 8])),
        ("moments4_cubes_beyond", Spec::Moments4, of(9, &[0, 9, 10, 9])),
        ("moments4_no_fourth", Spec::Moments4, of(9, &[9, 9, 9, 0])),
        ("moments4_full", Spec::Moments4, counted(u64::MAX, &[])),
        ("regression_alike", Spec::Regression, of(5, &[5, 5, 5, 5, 5])),
        ("regression_too_many", Spec::Regression, of(most + 1, &[5, 5, 5, 5, 5])),
        ("regression_negative_variance", Spec::Regression, of(5, &[5, 5, 4, 5, 5])),
        ("regression_beyond_its_variances", Spec::Regression, of(5, &[0, 0, 5, 5, 6])),
        ("regression_no_squares", Spec::Regression, of(5, &[5, 5, 0, 5, 5])),
        ("regression_full", Spec::Regression, counted(u64::MAX, &[])),
    ]
}

fn rows() -> Vec<Forged> {
    let of =
        |keep, limit, data_type| Spec::Rows { keep, limit, columns: vec![SortColumn::ascending(data_type)] };
    let text = |bytes: usize| [vec![2], vec![b'a'; bytes], vec![0]].concat();
    let longest = 2 * VALUE_BYTES_MAX + 1;
    let sums = |count: u64, sum: u8| [vec![2], counted(count, &[]), vec![b'a', 0, sum]].concat();
    vec![
        ("rows_text_longest", of(Keep::First, 3, T::Text), text(longest)),
        ("rows_text_too_long", of(Keep::First, 3, T::Text), text(longest + 1)),
        ("rows_too_many", of(Keep::First, 1, T::Bool), vec![3, 0, 1]),
        ("rows_not_in_order", of(Keep::All, 9, T::Bool), vec![3, 1, 0]),
        ("rows_first_full", of(Keep::First, 1, T::Bool), vec![0]),
        ("rows_all_full", of(Keep::All, 1, T::Bool), vec![0]),
        ("rows_above_smallint", of(Keep::All, 1, T::Int16), vec![2, 0x81, 0x80, 0x04]),
        ("json_sum_most", Spec::JsonSum { cap: 1 }, sums(BATCH_EVENTS_MAX, 2)),
        ("json_sum_too_many", Spec::JsonSum { cap: 1 }, sums(BATCH_EVENTS_MAX + 1, 2)),
        ("json_sum_of_none", Spec::JsonSum { cap: 1 }, sums(0, 2)),
    ]
}

/// `admitted` from a producer, only `stored` (what merges may have given), or `refused`.
fn verdict(spec: &Spec, bytes: &[u8]) -> &'static str {
    let mut reader = Reader::new(bytes);
    if decode(spec, &mut reader).is_err() || !reader.is_empty() {
        return "refused";
    }
    match empty(spec, 1).admit(0, &mut Reader::new(bytes)) {
        Ok(events) if events <= BATCH_EVENTS_MAX => "admitted",
        _ => "stored",
    }
}

#[test]
fn verdicts_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/states_foreign.txt");
    let file = std::fs::read_to_string(path).expect("the vectors");
    let lines: Vec<&str> = file.lines().filter(|l| !l.starts_with('#')).collect();
    let forged = [
        sums(),
        sketches(),
        values(),
        filters(),
        later(),
        rows(),
        frequencies(),
        samples(),
        histograms(),
        in_buckets(),
        spans(),
    ]
    .concat();
    let own: Vec<String> = forged
        .iter()
        .map(|(name, spec, bytes)| {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("{name}\t{}\t{hex}\t{spec:?}", verdict(spec, bytes))
        })
        .collect();
    assert_eq!(lines, own, "add a line, never change one:\n{}", own.join("\n"));
}
