//! The judge of `cargo demo`: a wrong answer must be a fault. Its files are compiled here without the demo, whose
//! program takes a query engine and minutes to build.

#![expect(dead_code, reason = "the demo uses more of these files")]

#[path = "../../../benches/src/bin/demo/cell.rs"]
mod cell;
#[path = "../../../benches/src/bin/demo/compare.rs"]
mod compare;
#[path = "../../../benches/src/bin/demo/views.rs"]
mod views;

/// What showing a time needs; no time is judged here.
mod flights {
    pub fn iso(micros: i64) -> String {
        format!("{micros:>10}")
    }
}

use cell::Cell;
use compare::{Answer, compare};
use std::time::Duration;
use views::{Allowed, View};

fn view(columns: Vec<(&'static str, Allowed)>) -> View {
    let text = String::new;
    View { name: "v", create: text(), read: text(), exact: text(), keys: 1, columns }
}

/// The faults of a view of one group, whose exact answer has the marker `one` and the key before the cells.
fn faults(columns: Vec<(&'static str, Allowed)>, ours: &[Cell], exact: &[(&str, Cell)]) -> Vec<String> {
    let names = ["k"].into_iter().chain(columns.iter().map(|(name, _)| *name)).map(String::from).collect();
    let row = [&[Cell::Int(1)], ours].concat();
    let answer = Answer { names, rows: vec![row] };
    let exact = exact.iter().map(|(name, cell)| (name.to_string(), cell.clone()));
    let (names, row) =
        [("one".to_owned(), Cell::Int(1)), ("k".to_owned(), Cell::Int(1))].into_iter().chain(exact).unzip();
    compare(&view(columns), &answer, &Answer { names, rows: vec![row] }, Duration::ZERO).expect("columns")
}

#[test]
fn an_exact_answer_that_is_off_by_one_is_a_fault() {
    let exact = [("n", Cell::Int(1_000_000_000))];
    let of = |ours| faults(vec![("n", Allowed::Exact)], &[ours], &exact).len();
    assert_eq!(of(Cell::Int(1_000_000_000)), 0);
    assert_eq!(of(Cell::Int(1_000_000_001)), 1);
    assert_eq!(of(Cell::Null), 1);
    assert_eq!(of(Cell::Text("1000000000".into())), 1);
}

#[test]
fn an_approximate_answer_outside_its_error_is_a_fault() {
    let exact = [("q_lo", Cell::Float(100.0)), ("q_hi", Cell::Float(110.0))];
    let quantile = |ours| faults(vec![("q", Allowed::Quantile(0.01))], &[Cell::Float(ours)], &exact).len();
    assert_eq!([99.1, 105.0, 111.0].map(quantile), [0; 3]);
    assert_eq!([98.9, 111.2].map(quantile), [1; 2]);
    let exact = [("d", Cell::Int(1000))];
    let distinct = |ours| faults(vec![("d", Allowed::Distinct(0.02))], &[Cell::Int(ours)], &exact).len();
    assert_eq!([981, 1000, 1020].map(distinct), [0; 3]);
    assert_eq!([979, 1021].map(distinct), [1; 2]);
}

#[test]
fn heavy_hitters_that_are_too_high_or_unknown_are_a_fault() {
    let exact = [("t", Cell::Text("a:60 b:30 c:10".into()))];
    let of = |k, bound, ours: &str| {
        faults(vec![("t", Allowed::Top { k, bound })], &[Cell::Text(ours.into())], &exact).len()
    };
    let top = |ours: &str| of(2, 0.05, ours);
    assert_eq!(["a:60 b:30", "a:57 b:28"].map(top), [0; 2]);
    assert_eq!(["a:61 b:30", "a:50 b:30", "a:60 x:30"].map(top), [1; 3]);
    // A list that ends early is no answer, however wide the bound: there are min(k, distinct) rows.
    assert_eq!(["a:60", ""].map(|ours| of(2, 1.0, ours)), [1; 2]);
    assert_eq!([of(5, 0.05, "a:60 b:30 c:10"), of(5, 1.0, "a:60 b:30")], [0, 1]);
}

#[test]
fn a_missing_row_and_another_group_are_faults() {
    let view = view(vec![("n", Allowed::Exact)]);
    let of = |rows: Vec<Vec<Cell>>| Answer { names: vec!["k".into(), "n".into()], rows };
    let names = ["one", "k", "n"].map(String::from).to_vec();
    let exact = Answer { names, rows: vec![[1, 1, 5].map(Cell::Int).to_vec()] };
    let missing = compare(&view, &of(Vec::new()), &exact, Duration::ZERO).expect("columns");
    let other = of(vec![[2, 5].map(Cell::Int).to_vec()]);
    let other = compare(&view, &other, &exact, Duration::ZERO).expect("columns");
    assert_eq!((missing.len(), other.len()), (1, 1));
}
