//! Which column of a file feeds which column of a stream.

use super::CliError;
use headwater::schema::{ARRIVAL_TIMESTAMP, Field, StreamSchema};
use headwater::value::DataType;
use headwater_sql::type_name;

/// One column of the stream, `arrival_timestamp` last.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// Name and type in the stream.
    pub field: Field,
    /// The file's column by position; `None` is NULL, or the load's start for `arrival_timestamp`.
    pub source: Option<usize>,
}

/// Pairs the stream's columns with the file's `names`: first as `maps` says (`stream=file`, or `stream=` for
/// NULL), then by equal name, whatever the case. Every stream column must be found, except `arrival_timestamp`.
///
/// # Errors
/// Everything that does not meet, at once.
pub(super) fn resolve(
    schema: &StreamSchema,
    names: &[String],
    maps: &[String],
) -> Result<Vec<Target>, CliError> {
    let mut problems = duplicates(names);
    let mut given: Vec<(&str, &str)> = Vec::new();
    for map in maps {
        match map.split_once('=') {
            None => problems.push(format!("--map {map}: write STREAM_COLUMN=FILE_COLUMN")),
            Some((column, _)) if schema.column(column).is_none() => {
                problems.push(format!("--map {map}: stream {} has no column {column:?}", schema.name));
            }
            Some((column, _)) if given.iter().any(|(before, _)| *before == column) => {
                problems.push(format!("--map {map}: column {column} is mapped twice"));
            }
            Some(pair) => given.push(pair),
        }
    }
    let arrival = Field { name: ARRIVAL_TIMESTAMP.into(), data_type: DataType::Timestamp };
    let (mut targets, mut is_missing) = (Vec::new(), false);
    for field in schema.fields.iter().chain([&arrival]) {
        match source(field, names, &given) {
            Ok(source) => targets.push(Target { field: field.clone(), source }),
            Err(problem) => {
                problems.push(problem);
                is_missing = true;
            }
        }
    }
    if problems.is_empty() {
        return Ok(targets);
    }
    if is_missing {
        problems.push(format!("the file has: {}", names.join(", ")));
        problems.push(
            "name a column with --map STREAM_COLUMN=FILE_COLUMN, or leave it NULL with --map STREAM_COLUMN="
                .into(),
        );
    }
    Err(CliError::Usage(problems.join("\n  ")))
}

fn source(field: &Field, names: &[String], given: &[(&str, &str)]) -> Result<Option<usize>, String> {
    let (name, data_type) = (&field.name, type_name(&field.data_type));
    match given.iter().find(|(stream, _)| stream == name).map(|(_, file)| *file) {
        Some("") => Ok(None),
        Some(wanted) => match find(names, wanted)? {
            None => Err(format!("--map {name}={wanted}: the file has no column {wanted:?}")),
            found => Ok(found),
        },
        None => match find(names, name)? {
            None if name != ARRIVAL_TIMESTAMP => {
                Err(format!("the file has no column for {name} {data_type}"))
            }
            found => Ok(found),
        },
    }
}

/// Which of two columns of one name is meant cannot be said, with --map neither.
fn duplicates(names: &[String]) -> Vec<String> {
    let twice =
        |(at, name): &(usize, &String)| names[..*at].iter().filter(|before| before == name).count() == 1;
    let problem = |(_, name)| format!("the file has more than one column {name:?}");
    names.iter().enumerate().filter(twice).map(problem).collect()
}

/// Every pair, as journals keep it: `stream=file`.
pub(super) fn describe(targets: &[Target], names: &[String]) -> Vec<String> {
    let file =
        |target: &Target| target.source.and_then(|at| names.get(at)).map_or("", String::as_str).to_owned();
    targets.iter().map(|target| format!("{}={}", target.field.name, file(target))).collect()
}

/// The file's columns that feed none of the stream's.
pub(super) fn unused<'n>(targets: &[Target], names: &'n [String]) -> Vec<&'n str> {
    let is_used = |at: usize| targets.iter().any(|target| target.source == Some(at));
    names.iter().enumerate().filter(|(at, _)| !is_used(*at)).map(|(_, name)| name.as_str()).collect()
}

/// The column of this very name, or else the only one of this name in another case.
fn find(names: &[String], name: &str) -> Result<Option<usize>, String> {
    if let Some(exact) = names.iter().position(|n| n == name) {
        return Ok(Some(exact));
    }
    let mut alike = names.iter().enumerate().filter(|(_, n)| n.to_lowercase() == name.to_lowercase());
    match (alike.next(), alike.next()) {
        (Some((_, one)), Some((_, other))) => Err(format!(
            "{one:?} and {other:?} of the file could both be {name}: choose with --map {name}=..."
        )),
        (found, _) => Ok(found.map(|(at, _)| at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::ids::StreamId;

    fn sources(names: &[&str], maps: &[&str]) -> Result<Vec<Option<usize>>, String> {
        let field = |name: &str| Field { name: name.into(), data_type: DataType::Text };
        let schema = StreamSchema { id: StreamId(1), name: "s".into(), fields: vec![field("a"), field("b")] };
        let owned = |list: &[&str]| list.iter().map(|s| String::from(*s)).collect::<Vec<_>>();
        let targets = resolve(&schema, &owned(names), &owned(maps)).map_err(|e| e.to_string())?;
        Ok(targets.into_iter().map(|target| target.source).collect())
    }

    #[test]
    fn columns_meet_by_name_or_as_told() {
        assert_eq!(sources(&["B", "A", "other"], &[]), Ok(vec![Some(1), Some(0), None]));
        assert_eq!(sources(&["x", "a"], &["b=x"]), Ok(vec![Some(1), Some(0), None]));
        assert_eq!(sources(&["a", "t"], &["b=", "arrival_timestamp=t"]), Ok(vec![Some(0), None, Some(1)]));
    }

    #[test]
    fn columns_that_feed_none_are_known() {
        let names = ["a", "zzz", "B", "also"].map(String::from);
        let field = |name: &str| Field { name: name.into(), data_type: DataType::Text };
        let schema = StreamSchema { id: StreamId(1), name: "s".into(), fields: vec![field("a"), field("b")] };
        let targets = resolve(&schema, &names, &[]).expect("they meet");
        assert_eq!(unused(&targets, &names), ["zzz", "also"]);
    }

    /// One run told one of them.
    #[test]
    fn everything_that_does_not_meet_is_told_at_once() {
        let error = sources(&["c", "d", "d"], &["zzz=a", "b", "a=yyy"]).expect_err("much");
        for expected in [
            "more than one column \"d\"",
            "--map zzz=a: stream s has no column \"zzz\"",
            "--map b: write",
            "--map a=yyy: the file has no column \"yyy\"",
            "no column for b text",
            "the file has: c, d, d",
            "--map STREAM_COLUMN=",
        ] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert!(sources(&["a", "b"], &["a=b", "a=a"]).expect_err("twice").contains("mapped twice"));
    }

    #[test]
    fn a_name_in_two_cases_needs_a_choice() {
        assert!(sources(&["A", "B", "b"], &[]).is_ok(), "the very name goes first");
        let error = sources(&["\u{e4}", "a", "B", "b "], &["b=B"]);
        assert_eq!(error, Ok(vec![Some(1), Some(2), None]));
        let names = ["a", "Arrival_Timestamp", "ARRIVAL_TIMESTAMP", "b"];
        assert!(sources(&names, &[]).expect_err("two").contains("could both be arrival_timestamp"));
    }
}
