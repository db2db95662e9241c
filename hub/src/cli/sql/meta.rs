//! Commands that begin with a backslash, as in psql.

/// What `\?` prints.
pub(super) const HELP: &str = "\\d          streams and views
\\d NAME     columns of a stream or view
\\ds         streams
\\dv         views
\\timing     time of every statement, on or off
\\x          one column per line, on or off
\\q          leave
\\?          this help
Statements end with a semicolon and may span lines.";

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
    /// Run these statements.
    Query(Vec<String>),
    /// There is no such command.
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
        ("x", _) => Meta::Expanded,
        ("d", "") => query(
            "SELECT name, 'stream' AS kind FROM headwater.streams \
             UNION ALL SELECT name, 'view' AS kind FROM headwater.views ORDER BY 1",
        ),
        ("d", name) => query(&format!("DESCRIBE {name}")),
        ("ds", "") => query("SELECT name, columns, views FROM headwater.streams ORDER BY name"),
        ("dv", "") => query("SELECT name, stream, definition FROM headwater.views ORDER BY name"),
        (name, _) => Meta::Unknown(name.into()),
    })
}

fn query(sql: &str) -> Meta {
    Meta::Query(vec![sql.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_sql() {
        assert_eq!(parse("SELECT 1"), None);
        assert_eq!(parse("\\q"), Some(Meta::Quit));
        assert_eq!(parse("quit;"), Some(Meta::Quit));
        assert_eq!(parse("help"), Some(Meta::Help));
        assert_eq!(parse("\\x"), Some(Meta::Expanded));
        assert_eq!(parse("\\d by_url;"), Some(query("DESCRIBE by_url")));
        assert_eq!(parse("\\foo bar"), Some(Meta::Unknown("foo".into())));
        for name in ["d", "d NAME", "ds", "dv", "timing", "x", "q", "?"] {
            assert!(HELP.contains(&format!("\\{name} ")), "{name} is not in the help");
        }
    }
}
