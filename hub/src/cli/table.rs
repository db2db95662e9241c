//! Answers on a terminal: aligned, expanded, CSV, JSON.
//!
//! Owns: how rows look. Must not know: where they come from.

use super::out::printable;
use crate::api::{format, text};
use clap::ValueEnum;
use headwater::client::Rows;
use headwater::schema::Field;
use headwater::value::{DataType, Value};
use unicode_width::UnicodeWidthStr;

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table, as in psql.
    #[default]
    Aligned,
    /// CSV with a header line.
    Csv,
    /// One JSON object per row and line.
    Json,
}

/// The text of an answer, with its last line break.
pub(super) fn render(rows: &Rows, format: Format, is_expanded: bool) -> String {
    if rows.columns.is_empty() {
        return if format == Format::Aligned { format!("{}\n", rows.tag) } else { String::new() };
    }
    match format {
        Format::Aligned if is_expanded => expanded(rows),
        Format::Aligned => aligned(rows),
        Format::Csv => {
            let mut out = String::new();
            format::csv_header(&rows.columns, &mut out);
            rows.rows.iter().for_each(|row| format::csv_row(row, &rows.columns, &mut out));
            out.replace("\r\n", "\n")
        }
        Format::Json => {
            rows.rows.iter().map(|row| format!("{}\n", format::json_object(row, &rows.columns))).collect()
        }
    }
}

fn cell(value: &Value, field: &Field) -> String {
    printable(&text::text(value, &field.data_type).unwrap_or_default())
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Columns on a terminal: some characters take two, some none.
fn width(text: &str) -> usize {
    text.width()
}

/// Blanks that fill `text` up to `columns`.
fn blanks(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(width(text)))
}

fn aligned(rows: &Rows) -> String {
    let cells: Vec<Vec<String>> = rows
        .rows
        .iter()
        .map(|row| row.iter().zip(&rows.columns).map(|(v, f)| cell(v, f)).collect())
        .collect();
    let widths: Vec<usize> = (0..rows.columns.len())
        .map(|at| {
            let widest = cells.iter().filter_map(|row| row.get(at)).map(|text| width(text)).max();
            widest.unwrap_or(0).max(width(&printable(&rows.columns[at].name)))
        })
        .collect();
    let header: Vec<String> =
        rows.columns.iter().zip(&widths).map(|(f, w)| centred(&printable(&f.name), *w)).collect();
    let rule: Vec<String> = widths.iter().map(|w| "-".repeat(w + 2)).collect();
    let mut out = format!("{}\n{}\n", header.join("|").trim_end(), rule.join("+"));
    for row in &cells {
        let line: Vec<String> =
            row.iter().zip(&widths).zip(&rows.columns).map(|((text, w), f)| pad(text, *w, f)).collect();
        out.push_str(line.join("|").trim_end());
        out.push('\n');
    }
    out.push_str(&format!("({} row{})\n", rows.len(), if rows.len() == 1 { "" } else { "s" }));
    out
}

fn pad(text: &str, width: usize, field: &Field) -> String {
    let blanks = blanks(text, width);
    if is_number(&field.data_type) { format!(" {blanks}{text} ") } else { format!(" {text}{blanks} ") }
}

fn centred(text: &str, width: usize) -> String {
    let blanks = blanks(text, width);
    let (left, right) = blanks.split_at(blanks.len() / 2);
    format!(" {left}{text}{right} ")
}

fn expanded(rows: &Rows) -> String {
    let names = rows.columns.iter().map(|f| width(&printable(&f.name))).max().unwrap_or(0);
    let mut out = String::new();
    for (at, row) in rows.rows.iter().enumerate() {
        out.push_str(&format!("-[ record {} ]{}\n", at + 1, "-".repeat(names)));
        for (value, field) in row.iter().zip(&rows.columns) {
            let name = &field.name;
            let line = format!("{name}{} | {}", blanks(name, names), cell(value, field));
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    if rows.is_empty() {
        out.push_str("(0 rows)\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let field = |name: &str, data_type| Field { name: name.into(), data_type };
        Rows {
            columns: vec![field("url", DataType::Text), field("count", DataType::Int64)],
            rows: vec![
                vec![Value::Text("/".into()), Value::Int(12_345)],
                vec![Value::Text("/a,b".into()), Value::Null],
            ],
            tag: "SELECT 2".into(),
        }
    }

    #[test]
    fn tables_are_aligned_as_in_psql() {
        let expected = " url  | count\n------+-------\n /    | 12345\n /a,b |\n(2 rows)\n";
        assert_eq!(render(&rows(), Format::Aligned, false), expected);
    }

    #[test]
    fn rows_can_be_expanded() {
        let expected =
            "-[ record 1 ]-----\nurl   | /\ncount | 12345\n-[ record 2 ]-----\nurl   | /a,b\ncount |\n";
        assert_eq!(render(&rows(), Format::Aligned, true), expected);
    }

    #[test]
    fn csv_and_json_are_for_programs() {
        assert_eq!(render(&rows(), Format::Csv, false), "url,count\n/,12345\n\"/a,b\",\n");
        let expected = "{\"url\":\"/\",\"count\":12345}\n{\"url\":\"/a,b\",\"count\":null}\n";
        assert_eq!(render(&rows(), Format::Json, false), expected);
        let command = Rows { tag: "CREATE STREAM".into(), ..Rows::default() };
        assert_eq!(render(&command, Format::Aligned, false), "CREATE STREAM\n");
        assert_eq!(render(&command, Format::Csv, false), "");
    }
}
