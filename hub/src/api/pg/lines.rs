//! Rows as COPY writes them: text, CSV, binary.
//!
//! Owns: the lines. Must not know: messages.

use super::binary;
use crate::api::text;
use bytes::{BufMut, BytesMut};
use headwater::schema::Field;
use headwater::value::Value;
use headwater_sql::{CopyFormat, CopyOptions, SqlError};

/// What a binary copy begins with: signature, flags, length of an extension.
const BINARY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What comes before all rows, if anything.
pub fn head(fields: &[Field], options: &CopyOptions) -> Option<Vec<u8>> {
    match options.format {
        CopyFormat::Binary => Some(BINARY_HEAD.to_vec()),
        _ if options.header => {
            let names = fields.iter().map(|field| Some(field.name.clone()));
            Some(line(names, &CopyOptions { force_quote: false, ..options.clone() }))
        }
        _ => None,
    }
}

/// What comes behind all rows, if anything.
pub fn tail(options: &CopyOptions) -> Option<Vec<u8>> {
    (options.format == CopyFormat::Binary).then(|| vec![0xff, 0xff])
}

/// A row.
///
/// # Errors
/// A value that the binary format cannot hold.
pub fn row(values: &[Value], fields: &[Field], options: &CopyOptions) -> Result<Vec<u8>, SqlError> {
    if options.format == CopyFormat::Binary {
        let mut out = BytesMut::new();
        out.put_u16(u16::try_from(fields.len()).unwrap_or(u16::MAX));
        for (value, field) in values.iter().zip(fields) {
            binary::put(value, &field.data_type, &mut out)?;
        }
        return Ok(out.to_vec());
    }
    let texts = values.iter().zip(fields).map(|(value, field)| text::text(value, &field.data_type));
    Ok(line(texts, options))
}

fn line(cells: impl ExactSizeIterator<Item = Option<String>>, options: &CopyOptions) -> Vec<u8> {
    let mut out = String::new();
    let alone = cells.len() == 1;
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(options.delimiter);
        }
        match (cell, options.format) {
            (None, _) => out.push_str(&options.null),
            (Some(cell), CopyFormat::Csv) => csv(&cell, alone, options, &mut out),
            (Some(cell), _) => escaped(&cell, options.delimiter, &mut out),
        }
    }
    out.push('\n');
    out.into_bytes()
}

fn escaped(cell: &str, delimiter: char, out: &mut String) {
    for c in cell.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c == delimiter => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
}

/// In quotes where it could be taken for something else.
fn csv(cell: &str, alone: bool, options: &CopyOptions, out: &mut String) {
    let special = [options.delimiter, options.quote, '\n', '\r'];
    let quoted =
        options.force_quote || cell == options.null || cell.contains(special) || (alone && cell == "\\.");
    if !quoted {
        return out.push_str(cell);
    }
    out.push(options.quote);
    for c in cell.chars() {
        if c == options.quote || c == options.escape {
            out.push(options.escape);
        }
        out.push(c);
    }
    out.push(options.quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::value::DataType;
    use headwater_sql::{StatementKind, parse};

    fn written(copy: &str, cells: &[Option<&str>]) -> String {
        let statement = parse(&format!("COPY (SELECT 1) TO STDOUT {copy}")).expect("it parses").remove(0);
        let StatementKind::Copy(copy) = statement.kind else { panic!("not a copy") };
        let field = |at: usize| Field { name: format!("c{at}"), data_type: DataType::Text };
        let fields: Vec<Field> = (0..cells.len()).map(field).collect();
        let value = |cell: &Option<&str>| cell.map_or(Value::Null, |text| Value::Text(text.into()));
        let values: Vec<Value> = cells.iter().map(value).collect();
        let mut out = head(&fields, &copy.options).unwrap_or_default();
        out.extend(row(&values, &fields, &copy.options).expect("it fits"));
        out.extend(tail(&copy.options).unwrap_or_default());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn text_escapes_and_csv_quotes() {
        let cells = [Some("a\tb\\c\nd"), None, Some("")];
        assert_eq!(written("", &cells), "a\\tb\\\\c\\nd\t\\N\t\n");
        assert_eq!(written("(DELIMITER '|')", &[Some("a|b")]), "a\\|b\n");
        let cells = [Some("a,\"b\""), None, Some(""), Some("plain")];
        assert_eq!(written("CSV HEADER", &cells), "c0,c1,c2,c3\n\"a,\"\"b\"\"\",,\"\",plain\n");
        assert_eq!(written("(FORMAT csv, NULL '-', FORCE_QUOTE *)", &[Some("x"), None]), "\"x\",-\n");
        assert_eq!(written("CSV", &[Some("\\.")]), "\"\\.\"\n");
        assert_eq!(written("(FORMAT csv, QUOTE '$', ESCAPE '!')", &[Some("a$!,")]), "$a!$!!,$\n");
    }

    #[test]
    fn binary_has_its_frame() {
        let out = written("(FORMAT binary)", &[Some("x"), None]);
        let rest = "\0\0\0\0\0\0\0\0\0\u{2}\0\0\0\u{1}x\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}";
        assert_eq!(out, format!("PGCOPY\n\u{fffd}\r\n\0{rest}"));
    }
}
