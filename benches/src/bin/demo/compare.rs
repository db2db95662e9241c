//! Answers beside exact answers: relative errors, and whether they are allowed.

use crate::cell::Cell;
use crate::views::{Allowed, View};
use std::collections::HashMap;
use std::time::Duration;

/// An answer: column names and rows, from either engine.
pub struct Answer {
    /// Column names.
    pub names: Vec<String>,
    /// Rows, in the order of their keys.
    pub rows: Vec<Vec<Cell>>,
}

impl Answer {
    fn column(&self, name: &str) -> Result<usize, String> {
        self.names
            .iter()
            .position(|n| n == name)
            .ok_or_else(|| format!("no column {name} in {:?}", self.names))
    }
}

/// How one column of a view did.
struct Verdict {
    worst: f64,
    allowed: f64,
    kind: &'static str,
    /// The row that shows it: the one with the largest error, the first when all are exact.
    row: usize,
}

/// Prints the view's answers beside the exact ones; returns what is outside its bound.
pub fn compare(view: &View, answer: &Answer, exact: &Answer, time: Duration) -> Result<Vec<String>, String> {
    let offset = exact.column("one")? + 1;
    let mut faults = Vec::new();
    if answer.rows.len() != exact.rows.len() {
        return Ok(vec![format!("{}: {} rows, exactly {}", view.name, answer.rows.len(), exact.rows.len())]);
    }
    for (ours, theirs) in answer.rows.iter().zip(&exact.rows) {
        if ours[..view.keys] != theirs[offset..offset + view.keys] {
            return Ok(vec![format!("{}: another group: {:?} beside {:?}", view.name, ours, theirs)]);
        }
    }
    println!("\n{}: {} rows, read in {:.1?}", view.name, answer.rows.len(), time);
    println!(
        "  {:<18} {:<9} {:>26} {:>26} {:>11} {:>9}  of group",
        "column", "kind", "answer", "exact", "worst error", "allowed"
    );
    for (name, allowed) in &view.columns {
        let verdict = judge(answer, exact, name, *allowed)?;
        print_line(view, answer, exact, name, &verdict)?;
        // The division that gives the error rounds. NaN (a NULL or another text) is outside every bound.
        if verdict.worst.is_nan() || verdict.worst > verdict.allowed * (1.0 + 1e-9) {
            faults.push(format!(
                "{}.{name}: off by {:.3e}, allowed {:.3e}",
                view.name, verdict.worst, verdict.allowed
            ));
        }
    }
    Ok(faults)
}

fn judge(answer: &Answer, exact: &Answer, name: &str, allowed: Allowed) -> Result<Verdict, String> {
    let ours = answer.column(name)?;
    let (lo, hi) = match allowed {
        Allowed::Quantile(_) => (exact.column(&format!("{name}_lo"))?, exact.column(&format!("{name}_hi"))?),
        _ => (exact.column(name)?, exact.column(name)?),
    };
    let (kind, bound) = match allowed {
        Allowed::Exact => ("exact", 0.0),
        Allowed::Rounding(bound) => ("rounding", bound),
        Allowed::Distinct(bound) => ("distinct", bound),
        Allowed::Quantile(bound) => ("quantile", bound),
        Allowed::Top { bound, .. } => ("top", bound),
    };
    let mut verdict = Verdict { worst: 0.0, allowed: bound, kind, row: 0 };
    for (i, (a, e)) in answer.rows.iter().zip(&exact.rows).enumerate() {
        let error = error(&a[ours], &e[lo], &e[hi], allowed);
        if error > verdict.worst || error.is_nan() {
            (verdict.worst, verdict.row) = (error, i);
        }
        if error.is_nan() {
            break;
        }
    }
    Ok(verdict)
}

/// The relative error against the nearer end of `lo..=hi`; NaN when the values do not compare.
fn error(ours: &Cell, lo: &Cell, hi: &Cell, allowed: Allowed) -> f64 {
    if ours == lo || ours == hi {
        return 0.0;
    }
    if let (Allowed::Top { k, .. }, Cell::Text(ours), Cell::Text(all)) = (allowed, ours, lo) {
        return top_error(&counts(ours), &counts(all), k);
    }
    let (Some(ours), Some(lo), Some(hi)) = (ours.number(), lo.number(), hi.number()) else { return f64::NAN };
    if lo <= ours && ours <= hi {
        return 0.0;
    }
    let nearest = if ours < lo { lo } else { hi };
    match allowed {
        // Small sets are counted exactly; an estimate is rounded to a whole number.
        Allowed::Distinct(_) => ((ours - nearest).abs() - 0.5).max(0.0) / nearest.abs(),
        _ => (ours - nearest).abs() / nearest.abs(),
    }
}

/// `ORD:165573 DFW:156515`
fn counts(text: &str) -> HashMap<&str, f64> {
    let pairs = text.split(' ').filter_map(|pair| pair.split_once(':'));
    pairs.map(|(item, count)| (item, count.parse().unwrap_or(f64::NAN))).collect()
}

/// The largest error of a list of `k` heavy hitters, as a part of all events; infinite when a count is too high, or the
/// list too short.
fn top_error(listed: &HashMap<&str, f64>, all: &HashMap<&str, f64>, k: u32) -> f64 {
    if listed.len() < all.len().min(k as usize) {
        return f64::INFINITY;
    }
    let total: f64 = all.values().sum();
    let last = listed.values().copied().fold(f64::INFINITY, f64::min);
    let errors = all.iter().map(|(item, count)| match listed.get(item) {
        Some(estimate) if estimate > count => f64::INFINITY,
        Some(estimate) => count - estimate,
        None => count - last,
    });
    let unknown = listed.keys().any(|item| !all.contains_key(item));
    if unknown { f64::INFINITY } else { errors.fold(0.0, f64::max) / total }
}

fn print_line(view: &View, answer: &Answer, exact: &Answer, name: &str, v: &Verdict) -> Result<(), String> {
    if answer.rows.is_empty() {
        return Ok(());
    }
    let ours = &answer.rows[v.row];
    let theirs = match v.kind {
        "quantile" => quantile_range(exact, name, v.row)?,
        _ => exact.rows[v.row][exact.column(name)?].to_string(),
    };
    let key = ours[..view.keys].iter().map(Cell::to_string).collect::<Vec<_>>().join("-");
    let shown = ours[answer.column(name)?].to_string();
    let (shown, theirs) = (cut(&shown), cut(&theirs));
    let error = if v.worst == 0.0 { "0".to_owned() } else { format!("{:.2e}", v.worst) };
    let allowed = if v.allowed == 0.0 { "0".to_owned() } else { format!("{:.2e}", v.allowed) };
    println!("  {name:<18} {:<9} {shown:>26} {theirs:>26} {error:>11} {allowed:>9}  {key}", v.kind);
    Ok(())
}

fn quantile_range(exact: &Answer, name: &str, row: usize) -> Result<String, String> {
    let lo = &exact.rows[row][exact.column(&format!("{name}_lo"))?];
    let hi = &exact.rows[row][exact.column(&format!("{name}_hi"))?];
    Ok(if lo == hi { lo.to_string() } else { format!("{lo}..{hi}") })
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(24) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text.to_owned(),
    }
}
