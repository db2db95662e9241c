//! Did you mean: the nearest known name to a misspelt one.

/// A hint that names the closest candidate, when one is close.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|best| format!("did you mean \"{best}\"?"))
}

/// Names that a hint lists.
const LISTED_MAX: usize = 12;

/// A hint that names all there is, where none is close and they are few.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().take(LISTED_MAX + 1).collect();
    let is_short = !names.is_empty() && names.len() <= LISTED_MAX;
    is_short.then(|| format!("there are: {}", names.join(", ")))
}

/// The candidate within a third of the name's length (at least one edit), nearest first.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let length = name.chars().count();
    // Any letter is one edit from any other.
    let limit = (length / 3).max(usize::from(length > 1));
    let scored = candidates.into_iter().map(|c| (distance(&name, &c.to_lowercase()), c));
    scored.filter(|(d, _)| *d <= limit).min_by_key(|(d, c)| (*d, c.len())).map(|(_, c)| c)
}

/// Edit distance with transpositions (optimal string alignment); O(len * len), names are short.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(128).collect(), b.chars().take(128).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replace = last[j] + usize::from(a[i] != b[j]);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_name() {
        assert_eq!(nearest("lateny_ms", ["latency_ms", "url"]), Some("latency_ms"));
        assert_eq!(nearest("cuontry", ["country", "count"]), Some("country"));
        assert_eq!(nearest("zzz", ["country", "count"]), None);
        assert_eq!(nearest("c", ["a", "b"]), None);
        assert_eq!(nearest("C", ["c"]), Some("c"));
        assert_eq!(distance("", "abc"), 3);
    }
}
