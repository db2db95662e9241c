use super::*;
use headwater::value::DataType;
use headwater_sql::{StatementKind, parse};

fn fields() -> Vec<Field> {
    let field = |name: &str, data_type| Field { name: name.into(), data_type };
    vec![
        field("k", DataType::Text),
        field("n", DataType::Int32),
        field("arrival_timestamp", DataType::Timestamp),
    ]
}

fn options(with: &str, header: Header) -> LineOptions {
    let sql = format!("COPY s FROM STDIN {with}");
    let StatementKind::CopyFrom(from) = parse(&sql).expect(with).remove(0).kind else { panic!("{with}") };
    let header = if from.options.header { Header::Skipped } else { header };
    LineOptions { copy: from.options, header, end_mark: true, on_error: from.on_error, line_bytes_max: 100 }
}

type Row = (Option<String>, Option<i64>, i64);

/// The rows of a text that comes in pieces.
fn read(options: &LineOptions, pieces: &[&[u8]]) -> Result<(Vec<Row>, u64), SqlError> {
    let mut lines = Lines::new(options.clone(), fields(), vec![0, 1], "s");
    let mut rows = Vec::new();
    let mut take = |batch: ColumnBatch| {
        for row in 0..batch.rows() {
            let value = |at: usize| batch.columns[at].value(row, &fields()[at].data_type);
            let text = match value(0) {
                headwater::value::Value::Text(text) => Some(text),
                _ => None,
            };
            let int = |at| match value(at) {
                headwater::value::Value::Int(n) => Some(n),
                _ => None,
            };
            rows.push((text, int(1), int(2).unwrap_or(-1)));
        }
        Ok(())
    };
    for piece in pieces {
        lines.feed(piece, Micros(7), &mut take)?;
    }
    lines.end(Micros(7), &mut take)?;
    let skipped = lines.skipped().map_or(0, |(skipped, _)| skipped);
    Ok((rows, skipped))
}

fn rows(with: &str, text: &str) -> Vec<(Option<String>, Option<i64>)> {
    let options = options(with, Header::None);
    let (whole, _) = read(&options, &[text.as_bytes()]).unwrap_or_else(|e| panic!("{with} {text:?}: {e:?}"));
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let (pieces, _) = read(&options, &bytes).expect("the same in pieces");
    assert_eq!(whole, pieces, "bytes may be cut anywhere: {text:?}");
    assert!(whole.iter().all(|row| row.2 == 7), "rows without a time get the hub's");
    whole.into_iter().map(|(k, n, _)| (k, n)).collect()
}

fn row(k: &str, n: i64) -> (Option<String>, Option<i64>) {
    (Some(k.into()), Some(n))
}

#[test]
fn text_is_postgresqls() {
    assert_eq!(rows("", "a\t1\nb\t2\n"), [row("a", 1), row("b", 2)]);
    assert_eq!(rows("", "a\t1\r\nb\t2"), [row("a", 1), row("b", 2)]);
    assert_eq!(rows("", "\\N\t\\N\n\t3\n"), [(None, None), row("", 3)]);
    assert_eq!(rows("", "a\\tb\\\\\\n\t1\n"), [row("a\tb\\\n", 1)]);
    assert_eq!(rows("", "a\\\tb\t1\n"), [row("a\tb", 1)], "an escaped delimiter");
    assert_eq!(rows("", "a\\\nb\t1\n"), [row("a\nb", 1)], "an escaped line break");
    assert_eq!(rows("", "\\101\\x42\\q\t1\n"), [row("ABq", 1)]);
    assert_eq!(rows("", "a\t1\n\\.\nrubbish\n"), [row("a", 1)]);
    assert_eq!(rows("(DELIMITER '|', NULL '-')", "a|1\n-|-\n"), [row("a", 1), (None, None)]);
    assert_eq!(rows("(HEADER)", "k\tn\na\t1\n"), [row("a", 1)]);
    assert_eq!(rows("", ""), []);
}

/// A body of `/v1/events` lost everything behind such a line, and was answered with 200.
#[test]
fn a_line_that_ends_copy_ends_nothing_else() {
    let text: &[u8] = b"k\n\\.\nb\n";
    let named = options("(FORMAT csv)", Header::Names);
    let names = |options: &LineOptions| {
        let (rows, _) = read(options, &[text]).expect("rows");
        rows.into_iter().filter_map(|row| row.0).collect::<Vec<_>>()
    };
    assert_eq!(names(&named), [""; 0], "COPY's mark");
    assert_eq!(names(&LineOptions { end_mark: false, ..named }), ["\\.", "b"]);
}

/// Its first column was called "\u{feff}k".
#[test]
fn csv_may_begin_with_a_byte_order_mark() {
    assert_eq!(rows("(FORMAT csv)", "\u{feff}a,1\n\u{feff}b,2\n"), [row("a", 1), row("\u{feff}b", 2)]);
    assert_eq!(rows("(FORMAT csv)", "\u{feff}\"a\",1\n"), [row("a", 1)]);
    assert_eq!(rows("", "\u{feff}a\t1\n"), [row("\u{feff}a", 1)], "COPY's text is all data");
    let named = options("(FORMAT csv)", Header::Names);
    let (rows, _) = read(&named, &["\u{feff}k,n\na,1\n".as_bytes()]).expect("rows");
    assert_eq!(rows, [(Some("a".into()), Some(1), 7)]);
}

#[test]
fn csv_is_postgresqls() {
    let csv = "(FORMAT csv)";
    assert_eq!(rows(csv, "a,1\n\"b,c\",\"2\"\n"), [row("a", 1), row("b,c", 2)]);
    assert_eq!(rows(csv, ",1\n\"\",2\n"), [(None, Some(1)), row("", 2)]);
    assert_eq!(rows(csv, "\"a\"\"b\r\nc\",1\r\n"), [row("a\"b\r\nc", 1)]);
    assert_eq!(rows(csv, "x\"y,z\"w,1\n"), [row("xy,zw", 1)]);
    assert_eq!(
        rows("(FORMAT csv, QUOTE '''', ESCAPE '~', DELIMITER ';')", "'a~'b;~~';1\n"),
        [row("a'b;~", 1)]
    );
    assert_eq!(
        rows("(FORMAT csv, HEADER, NULL 'NULL')", "k,n\nNULL,1\n\"NULL\",2\n"),
        [(None, Some(1)), row("NULL", 2)]
    );
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (with, text, code, message) in [
        ("", "a\t1\nb\tx\n", "22P02", "line 2: column \"n\": invalid input syntax for type integer: \"x\""),
        ("", "a\n", "22P04", "line 1: missing data for column \"n\""),
        ("", "a\t1\t2\n", "22P04", "line 1: extra data after last expected column"),
        ("", "a\t1\n\n", "22P04", "line 2: missing data for column \"n\""),
        ("", "\\xff\t1\n", "22021", "line 1: invalid byte sequence for encoding \"UTF8\""),
        ("", "\\000\t1\n", "22021", "line 1: invalid byte sequence for encoding \"UTF8\""),
        ("(FORMAT csv)", "\"a\nb\",1\n\"c,2\n", "22P04", "line 3: unterminated CSV quoted field"),
        (
            "(FORMAT csv)",
            "\"a\nb\",1\nc,9999999999\n",
            "22003",
            "line 3: column \"n\": value \"9999999999\" is out of range for type integer",
        ),
    ] {
        let error = read(&options(with, Header::None), &[text.as_bytes()]).expect_err(text);
        assert_eq!((error.code, error.message.as_str()), (code, message), "{text:?}");
    }
    let long = "x".repeat(101);
    let error = read(&options("", Header::None), &[long.as_bytes()]).expect_err("too long");
    assert_eq!((error.code, error.message.as_str()), ("54000", "line 1: a line is longer than 100 bytes"));
}

#[test]
fn lines_that_are_no_rows_are_skipped_and_counted() {
    let options = options("(ON_ERROR ignore)", Header::None);
    let (rows, skipped) = read(&options, &[b"a\t1\nb\tx\nc\n\xff\t1\nd\t4\n"]).expect("the others");
    let names: Vec<_> = rows.iter().filter_map(|row| row.0.as_deref()).collect();
    assert_eq!((names, skipped), (vec!["a", "d"], 3));
}

#[test]
fn a_header_may_name_the_columns() {
    let options = options("(FORMAT csv, ON_ERROR ignore)", Header::Names);
    let (rows, _) = read(&options, &[b"arrival_timestamp,k\n1970-01-01 00:00:01Z,a\n"]).expect("rows");
    assert_eq!(rows, [(Some("a".into()), None, 1_000_000)]);
    let error = read(&options, &[b"k,m\na,1\n"]).expect_err("no such column");
    assert_eq!(error.code, "42703");
}

/// Every short text over the bytes that mean something: cut anywhere, it says the same.
#[test]
fn nothing_depends_on_where_bytes_are_cut() {
    const BYTES: &[u8] = b"1,\"\\\n";
    for with in
        ["(DELIMITER ',')", "(FORMAT csv)", "(FORMAT csv, ESCAPE '\\')", "(FORMAT csv, ON_ERROR ignore)"]
    {
        let options = options(with, Header::None);
        for number in 0..BYTES.len().pow(6) {
            let text: Vec<u8> =
                (0..6).map(|digit| BYTES[number / BYTES.len().pow(digit) % BYTES.len()]).collect();
            let whole = read(&options, &[&text]);
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(whole, read(&options, &bytes), "{with} {:?}", text.escape_ascii().to_string());
            assert_eq!(
                whole,
                read(&options, &[&text[..3], &text[3..]]),
                "{with} {:?}",
                text.escape_ascii().to_string()
            );
        }
    }
}
