//! Commands that begin with a backslash, as in psql.

/// What `\?` prints.
pub(super) const HELP: &str = "\\d          streams, views and tables; so does \\dt
\\d NAME     columns of a stream, view or table
\\d+ NAME    columns of a view, and its definition
\\ds [NAME]  streams; * in a name stands for any text
\\dv [NAME]  views; so does \\dm
\\dn         schemas
\\l          databases: a hub has one
\\timing     time of every statement, on or off
\\x          one column per line, on or off
\\q          leave
\\?          this help
Statements end with a semicolon and may span lines.";

/// What psql's other commands are here.
const ADVICE: [(&[&str], &str); 7] = [
    (&["i", "ir"], "run a file with: headwater sql -f FILE"),
    (&["o", "g"], "let the shell write answers to a file: headwater sql -c '...' > FILE"),
    (&["c", "connect", "conninfo"], "name a hub when you start: headwater sql --hub HOST:PORT"),
    (&["copy"], "load a file with: headwater load FILE --stream STREAM"),
    (&["df", "da"], "functions and aggregates are listed in hub/sql/SQL.md"),
    (&["di"], "there are no indexes: a view is stored by its GROUP BY, in that order"),
    (&["du", "dg", "dp", "z"], "there are no roles: whoever has a token of the hub may do everything"),
];

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    /// Print the help.
    Help,
    /// Leave.
    Quit,
    /// Timing on or off, or the other.
    Timing(Option<bool>),
    /// Toggle expanded output.
    Expanded,
    /// Run this statement.
    Query(String),
    /// The columns of a stream or view, as the name is written in SQL; also a view's definition.
    Describe { name: String, is_full: bool },
    /// There is no such command: why, or what to do instead.
    Unknown(String),
}

/// The command of a line; `None` for SQL. `exit`, `quit` and `help` are commands too.
pub(super) fn parse(line: &str) -> Option<Meta> {
    let line = line.trim_end_matches(';').trim_end();
    let Some(command) = line.strip_prefix('\\') else {
        return match line {
            "exit" | "quit" => Some(Meta::Quit),
            "help" => Some(Meta::Help),
            _ => None,
        };
    };
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let argument = argument.trim();
    Some(match (name, argument) {
        ("?" | "h" | "help", _) => Meta::Help,
        ("q", _) => Meta::Quit,
        ("timing", "") => Meta::Timing(None),
        ("timing", "on") => Meta::Timing(Some(true)),
        ("timing", "off") => Meta::Timing(Some(false)),
        ("timing", _) => Meta::Unknown("write \\timing, \\timing on or \\timing off".into()),
        ("x", _) => Meta::Expanded,
        (name, argument) => lists(name, argument).unwrap_or_else(|| Meta::Unknown(advice(name))),
    })
}

/// What `\d` and its relatives list. As in psql `+` may follow.
fn lists(name: &str, argument: &str) -> Option<Meta> {
    let base = name.strip_suffix('+').unwrap_or(name);
    let (columns, table) = match base {
        "d" if !argument.is_empty() => {
            return Some(Meta::Describe { name: argument.into(), is_full: name == "d+" });
        }
        "d" | "dt" => (
            "name, kind",
            "(SELECT name, 'stream' AS kind FROM headwater.streams \
             UNION ALL SELECT name, 'view' AS kind FROM headwater.views \
             UNION ALL SELECT name, 'table' AS kind FROM headwater.tables \
             UNION ALL SELECT name, 'transform' AS kind FROM headwater.transforms) AS t",
        ),
        "ds" => ("name, columns, views", "headwater.streams"),
        "dv" | "dm" => ("name, stream, definition", "headwater.views"),
        "dn" => ("name", "(VALUES ('headwater'), ('public')) AS schemas (name)"),
        "l" => ("name", "(SELECT current_database() AS name) AS databases"),
        _ => return None,
    };
    let wanted = match argument {
        "" => String::new(),
        pattern => format!(" WHERE name LIKE {}", quoted(&pattern.replace('*', "%"))),
    };
    Some(Meta::Query(format!("SELECT {columns} FROM {table}{wanted} ORDER BY name")))
}

/// A text of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The statement for a view's definition; `name` is as in SQL, where names without quotes are in lower case.
pub(super) fn definition(name: &str) -> String {
    let bare = match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_lowercase(),
    };
    format!("SELECT definition FROM headwater.views WHERE name = {}", quoted(&bare))
}

fn advice(name: &str) -> String {
    match ADVICE.iter().find(|(names, _)| names.contains(&name)) {
        Some((_, advice)) => format!("there is no \\{name} here; {advice}"),
        None => format!("unknown command \\{name}; \\? lists all there are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(line: &str) -> String {
        match parse(line) {
            Some(Meta::Query(sql)) => sql,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_are_told_from_sql() {
        assert_eq!(parse("SELECT 1"), None);
        assert_eq!(parse("\\q"), Some(Meta::Quit));
        assert_eq!(parse("quit;"), Some(Meta::Quit));
        assert_eq!(parse("help"), Some(Meta::Help));
        assert_eq!(parse("\\x"), Some(Meta::Expanded));
        let described = |name: &str, is_full| Some(Meta::Describe { name: name.into(), is_full });
        assert_eq!(parse("\\d by_url;"), described("by_url", false));
        assert_eq!(parse("\\d+  \"V\""), described("\"V\"", true));
        assert_eq!(query("\\dt"), query("\\d"));
        assert!(query("\\d").contains("headwater.tables"), "tables were not listed");
        assert_eq!(query("\\dm+"), query("\\dv"));
        assert!(query("\\ds it's*").contains(" WHERE name LIKE 'it''s%' ORDER BY"));
        for name in ["d", "d NAME", "d+ NAME", "ds", "dv", "dn", "l", "timing", "x", "q", "?"] {
            assert!(HELP.contains(&format!("\\{name} ")), "{name} is not in the help");
        }
    }

    /// Commands of psql were unknown without a word of what to do.
    #[test]
    fn what_there_is_not_is_told_with_what_there_is() {
        for (line, expected) in [
            ("\\foo bar", "unknown command \\foo; \\? lists all"),
            ("\\i x.sql", "headwater sql -f FILE"),
            ("\\timing often", "\\timing on or \\timing off"),
        ] {
            let Some(Meta::Unknown(told)) = parse(line) else { panic!("{line}") };
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn a_definition_is_found_by_the_name_as_sql_means_it() {
        assert!(definition("By_Url").ends_with("name = 'by_url'"));
        assert!(definition("\"It's \"\"A\"\"\"").ends_with("name = 'It''s \"A\"'"));
    }
}
