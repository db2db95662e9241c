//! PostgreSQL's patterns of `to_char`, `to_date` and `to_timestamp` in chrono's words, which DataFusion speaks.

/// Longest first, where one starts another.
const FIELDS: [(&str, &str); 27] = [
    ("YYYY", "%Y"),
    ("IYYY", "%G"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("Month", "%B"),
    ("month", "%B"),
    ("Mon", "%b"),
    ("Day", "%A"),
    ("DDD", "%j"),
    ("yyyy", "%Y"),
    ("hh24", "%H"),
    ("YY", "%y"),
    ("MM", "%m"),
    ("mm", "%m"),
    ("DD", "%d"),
    ("dd", "%d"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("mi", "%M"),
    ("SS", "%S"),
    ("ss", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("IW", "%V"),
    ("Dy", "%a"),
    ("AM", "%p"),
    ("PM", "%p"),
];

/// The pattern for DataFusion; the part that is not understood otherwise. What has a `%` is chrono's already.
pub(super) fn translate(pattern: &str) -> Result<String, &str> {
    if pattern.contains('%') {
        return Ok(pattern.to_owned());
    }
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(next) = rest.chars().next() {
        // Seconds of the day.
        if rest.starts_with("SSSS") {
            return Err(rest);
        }
        if let Some((field, ours)) = FIELDS.iter().find(|(field, _)| rest.starts_with(field)) {
            out.push_str(ours);
            rest = &rest[field.len()..];
        } else if let Some((quoted, behind)) = rest.strip_prefix('"').and_then(|r| r.split_once('"')) {
            out.push_str(quoted);
            rest = behind;
        } else if next == 'T' || !next.is_ascii_alphanumeric() {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            return Err(rest);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn patterns_are_understood_as_a_whole_or_not_at_all() {
        assert_eq!(translate("YYYY-MM-DD\"T\"HH24:MI:SS.MS").as_deref(), Ok("%Y-%m-%dT%H:%M:%S.%3f"));
        assert_eq!(translate("%d/%m").as_deref(), Ok("%d/%m"));
        assert_eq!(translate("Dy, DD Mon YYYY").as_deref(), Ok("%a, %d %b %Y"));
        assert_eq!(translate("SSSS"), Err("SSSS"));
        assert_eq!(translate("HH12:MI PM").as_deref(), Ok("%I:%M %p"));
        assert_eq!(translate("FMMonth"), Err("FMMonth"));
        assert_eq!(translate("YYYY 9,999"), Err("9,999"));
    }
}
