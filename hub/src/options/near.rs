//! What somebody who misspelt a name may have meant.

/// The known name that is at most two changes away; the nearest of several.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    const CHANGES: usize = 2;
    let near = known.iter().map(|known| (distance(name.as_bytes(), known.as_bytes()), *known));
    near.filter(|(changes, _)| *changes <= CHANGES).min().map(|(_, known)| known)
}

/// Bytes to insert, to remove or to replace until `a` is `b`; two neighbours that changed places count as one.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(x != y);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_near() {
        let known = ["commit_delay_ms", "fold_interval_ms", "tokens"];
        assert_eq!(nearest("comit_delay_ms", &known), Some("commit_delay_ms"));
        assert_eq!(nearest("toknes", &known), Some("tokens"));
        assert_eq!(nearest("fold_ms", &known), None);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abcd", b"acbd"), 1);
    }
}
