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
pub(super) fn resolve(
    schema: &StreamSchema,
    names: &[String],
    maps: &[String],
) -> Result<Vec<Target>, CliError> {
    let mut given: Vec<(&str, &str)> = Vec::new();
    for map in maps {
        let pair = map
            .split_once('=')
            .ok_or_else(|| CliError::Usage(format!("--map {map}: write STREAM_COLUMN=FILE_COLUMN")))?;
        if schema.column(pair.0).is_none() {
            return Err(CliError::Usage(format!(
                "--map {map}: stream {} has no column {:?}",
                schema.name, pair.0
            )));
        }
        given.push(pair);
    }
    let arrival = Field { name: ARRIVAL_TIMESTAMP.into(), data_type: DataType::Timestamp };
    let fields = schema.fields.iter().chain([&arrival]);
    fields.map(|field| target(field, names, &given)).collect()
}

fn target(field: &Field, names: &[String], given: &[(&str, &str)]) -> Result<Target, CliError> {
    let wanted = given.iter().find(|(stream, _)| *stream == field.name).map(|(_, file)| *file);
    let source = match wanted {
        Some("") => None,
        Some(name) => Some(find(names, name).ok_or_else(|| missing(name, names))?),
        None => match find(names, &field.name) {
            None if field.name != ARRIVAL_TIMESTAMP => return Err(unmatched(field, names)),
            found => found,
        },
    };
    Ok(Target { field: field.clone(), source })
}

/// Every pair, as journals keep it: `stream=file`.
pub(super) fn describe(targets: &[Target], names: &[String]) -> Vec<String> {
    let file =
        |target: &Target| target.source.and_then(|at| names.get(at)).map_or("", String::as_str).to_owned();
    targets.iter().map(|target| format!("{}={}", target.field.name, file(target))).collect()
}

fn find(names: &[String], name: &str) -> Option<usize> {
    let exact = names.iter().position(|n| n == name);
    exact.or_else(|| names.iter().position(|n| n.to_lowercase() == name.to_lowercase()))
}

fn missing(name: &str, names: &[String]) -> CliError {
    CliError::Usage(format!("the file has no column {name:?}; it has: {}", names.join(", ")))
}

fn unmatched(field: &Field, names: &[String]) -> CliError {
    CliError::Usage(format!(
        "the file has no column for {} {}; it has: {}. Name one with --map {}=COLUMN, or leave it NULL with --map {}=",
        field.name,
        type_name(&field.data_type),
        names.join(", "),
        field.name,
        field.name
    ))
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
    fn what_does_not_meet_is_told_with_what_there_is() {
        let error = sources(&["a", "c"], &[]).expect_err("no b");
        assert!(
            error.contains("no column for b text; it has: a, c") && error.contains("--map b="),
            "{error}"
        );
        assert!(sources(&["a"], &["b=zzz"]).expect_err("no zzz").contains("\"zzz\""));
        assert!(sources(&["a", "b"], &["zzz=a"]).expect_err("no zzz").contains("\"zzz\""));
        assert!(sources(&["a", "b"], &["a"]).is_err());
    }
}
