//! The tables of SKETCHES.md, made from the registry and from states of real size: the page cannot drift.
//! `HEADWATER_DOCS=complete` writes them anew.

use crate::support::{build, bytes, examples};
use headwater::aggregate::{AggregateSpec, Law, REGISTRY};
use headwater::value::{DataType, Value};
use std::fmt::Write;
use std::path::Path;

#[test]
fn the_page_about_sketches_says_what_the_states_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SKETCHES.md");
    let written = std::fs::read_to_string(&path).expect("SKETCHES.md");
    let page = replaced(&replaced(&written, "sizes", &sizes()), "states", &states());
    if std::env::var_os("HEADWATER_DOCS").is_some_and(|how| how == "complete") {
        std::fs::write(&path, &page).expect("SKETCHES.md is written");
    } else {
        assert!(
            page == written,
            "SKETCHES.md is not what the states are; HEADWATER_DOCS=complete writes it anew"
        );
    }
}

/// The page with `table` between the marks of `name`.
fn replaced(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = page.split_once(&begin).expect("the mark before the table");
    let (_, after) = rest.split_once(&end).expect("the mark behind the table");
    format!("{before}{begin}\n{table}\n{end}{after}")
}

/// Bytes of a state by the number of distinct values, each of which came once.
fn sizes() -> String {
    const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
    let text = || DataType::Text;
    let sketches = [
        ("`hll_agg(x)`", AggregateSpec::Hll { value: text(), precision: 14 }),
        ("`hll_agg(x, 10)`", AggregateSpec::Hll { value: text(), precision: 10 }),
        ("`theta_agg(x)`", AggregateSpec::Theta { value: text(), lg_k: 12 }),
        ("`exact_count_distinct(x)`, `set_agg(x)`", AggregateSpec::Set { value: text(), cap: 10_000 }),
        ("`ddsketch_agg(x)`, `percentile_cont`", AggregateSpec::DdSketch { alpha_ppm: 10_000 }),
        ("`dist_agg(x)`", AggregateSpec::TDigest { compression: 200 }),
        ("`exp_histogram(x)`", AggregateSpec::ExpHistogram { buckets: 160 }),
        ("`topk_agg(x, 10)`", AggregateSpec::TopK { value: text(), k: 10, weighted: false }),
        ("`freq_agg(x)`", AggregateSpec::Freq { value: text(), error_ppm: 2_000, confidence_ppm: 995_000 }),
        ("`bloom_agg(x)`", AggregateSpec::Bloom { value: text(), rate_ppm: 20_000, expected: 16_384 }),
    ];
    let mut table =
        String::from("| call | 1 | 10 | 100 | 1,000 | 10,000 | 100,000 |\n|---|---|---|---|---|---|---|\n");
    for (call, spec) in sketches {
        let cells = COUNTS.map(|count| grouped(bytes(&build(&spec, &distinct(&spec, count))).len()));
        writeln!(table, "| {call} | {} |", cells.join(" | ")).expect("a String grows");
    }
    table
}

/// Texts of nine bytes; numbers from 0 to 1,000.
fn distinct(spec: &AggregateSpec, count: usize) -> Vec<Vec<Value>> {
    let numeric = spec.arg_types()[0] == Some(DataType::Float64);
    let value = |i: usize| match numeric {
        true => Value::Float(1_000.0 * (i as f64 + 0.5) / count as f64),
        false => Value::Text(format!("user{i:05}")),
    };
    (0..count).map(|i| vec![value(i)]).collect()
}

/// All states: what merging promises, and the bytes of few and of many events.
fn states() -> String {
    let mut table = String::from(
        "| state | tag | merging | 1 event | 1,000 events | specs tried |\n|---|---|---|---|---|---|\n",
    );
    for (tag, entry) in REGISTRY.iter().enumerate() {
        let promise = match entry.law {
            Law::Exact => "same bytes in any order and any split",
            Law::Disjoint => "same answer for parts that do not overlap in time, else an error",
            Law::Bounded => "within the stated error in any order and any split",
        };
        let specs = (entry.specs)();
        let size = |n| {
            let of = |spec: &AggregateSpec| bytes(&build(spec, &examples(spec, 1, n))).len();
            let all = specs.iter().map(of);
            (all.clone().min().unwrap_or(0), all.max().unwrap_or(0))
        };
        let (one, many) = (span(size(1)), span(size(1_000)));
        writeln!(table, "| {} | {tag} | {promise} | {one} | {many} | {} |", entry.name, specs.len())
            .expect("a String grows");
    }
    table
}

fn span((low, high): (usize, usize)) -> String {
    if low == high { grouped(low) } else { format!("{} to {}", grouped(low), grouped(high)) }
}

/// `12,345`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
