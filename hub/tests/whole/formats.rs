//! `headwater load`: what it reads and what it refuses is the same in every format.

use super::cli::Server;
use super::house::House;
use headwater_sql::arrow::array::{ArrayRef, Decimal128Array, Float64Array, RecordBatch};
use headwater_sql::parquet::arrow::ArrowWriter;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

const TABLE: &str = "CREATE STREAM prices (n BIGINT, price NUMERIC(10,2))";
const VIEW: &str =
    "CREATE CONTINUOUS VIEW totals AS SELECT count(*) AS rows, sum(n) AS n, sum(price) AS price FROM prices";

/// The same rows in three formats: `n` as a double, `price` with three digits.
fn files(house: &House, name: &str, rows: &[(f64, i128)]) -> [PathBuf; 3] {
    let path = |extension: &str| house.path().join(format!("{name}.{extension}"));
    let price = |units: i128| {
        format!("{}{}.{:03}", if units < 0 { "-" } else { "" }, units.abs() / 1000, units.abs() % 1000)
    };
    let csv: String = rows.iter().map(|(n, units)| format!("{n},{}\n", price(*units))).collect();
    std::fs::write(path("csv"), format!("n,price\n{csv}")).expect("csv");
    let json: String =
        rows.iter().map(|(n, units)| format!("{{\"n\":{n:?},\"price\":{}}}\n", price(*units))).collect();
    std::fs::write(path("ndjson"), json).expect("ndjson");
    let n: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|(n, _)| *n)));
    let units = Decimal128Array::from_iter_values(rows.iter().map(|(_, units)| *units));
    let units: ArrayRef = Arc::new(units.with_precision_and_scale(12, 3).expect("decimals"));
    let batch = RecordBatch::try_from_iter([("n", n), ("price", units)]).expect("batch");
    let file = std::fs::File::create(path("parquet")).expect("parquet");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("write");
    writer.close().expect("close");
    [path("csv"), path("ndjson"), path("parquet")]
}

fn load(server: &Server, house: &House, stream: &str, file: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let mut command = server.command(&["load", "--stream", stream]);
    let output = command.arg(file).args(flags).env("XDG_STATE_HOME", house.path()).output().expect("load");
    (output.status.code(), text(&output))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// NDJSON and Parquet cut fractions to integers in silence, where CSV refused them.
#[test]
fn a_fraction_is_no_integer_in_any_format() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let mut rows = vec![(1.0, 5); 3000];
    (rows[1].0, rows[2999].0) = (1.5, 0.25);
    for (file, first, last) in files(&house, "bad", &rows)
        .iter()
        .zip(["line 3", "line 2", "row 2"])
        .zip(["line 3001", "line 3000", "row 3000"])
        .map(|((f, a), b)| (f, a, b))
    {
        let (code, said) = load(&server, &house, "prices", file, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("2 rows cannot be taken (2 wrong_type)"), "{said}");
        assert!(said.contains(&format!("{first}, column n: ")) && said.contains("1.5"), "{first}: {said}");
        assert!(said.contains(&format!("{last}, column n: ")) && said.contains("no row was sent"), "{said}");
        let (code, said) = load(&server, &house, "prices", file, &["--unchecked"]);
        assert!(code == Some(1) && said.contains(first), "{said}");
    }
    let rows = text(&server.run(&["sql", "--format", "csv", "-c", "SELECT sum(rows) FROM totals"]));
    assert!(!rows.contains('3'), "nothing counted: {rows}");
}

#[test]
fn numeric_rounds_half_away_from_zero_in_every_format() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    // 1.005 + 1.005 - 0.005 + 2.004, each rounded: 1.01 + 1.01 - 0.01 + 2.00.
    let rows = [(2.0, 1005), (2.0, 1005), (1.0, -5), (0.0, 2004)];
    for (at, file) in files(&house, "good", &rows).iter().enumerate() {
        let (code, said) = load(&server, &house, "prices", file, &[]);
        assert_eq!(code, Some(0), "{said}");
        let times = at as u64 + 1;
        let total = 401 * times;
        let expected =
            format!("rows,n,price\n{},{},{}.{:02}\n", 4 * times, 5 * times, total / 100, total % 100);
        let answer = text(&server.run(&["sql", "--format", "csv", "-c", "SELECT * FROM totals"]));
        assert_eq!(answer, expected, "{}", file.display());
    }
}

#[test]
fn all_that_does_not_meet_is_told_in_one_run() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql("CREATE STREAM wide (a TEXT, b TEXT, c BIGINT)");
    server.sql("CREATE CONTINUOUS VIEW of_wide AS SELECT count(*) FROM wide");
    let file = house.path().join("narrow.csv");
    std::fs::write(&file, "x,x,c\n1,2,3\n").expect("write");
    let (code, said) = load(&server, &house, "wide", &file, &["--map", "a=y"]);
    assert_eq!(code, Some(2), "{said}");
    for expected in
        ["more than one column \"x\"", "no column \"y\"", "no column for b text", "the file has: x, x, c"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let (code, said) = load(&server, &house, "of_wide", &file, &[]);
    assert!(
        code == Some(2) && said.contains("of_wide is a view") && said.contains("--stream wide"),
        "{said}"
    );
    let (code, said) = load(&server, &house, "wild", &file, &[]);
    assert!(code == Some(2) && said.contains("no stream \"wild\"; it has: wide"), "{said}");
}

/// It waited without a word, and then failed like anything else.
#[cfg(unix)]
#[test]
fn storage_that_takes_no_rows_is_told_with_its_code() {
    let house = House::new();
    let server = Server::start_with_file_limit(&house, 4 * 1024, &["--fold-log-bytes", "65536"]);
    server.sql("CREATE STREAM names (name TEXT)");
    server.sql("CREATE CONTINUOUS VIEW by_name AS SELECT name, count(*) FROM names GROUP BY name");
    let file = house.path().join("names.csv");
    let rows: String = (0..200_000).map(|i| format!("a name that takes some room {i:08}\n")).collect();
    std::fs::write(&file, format!("name\n{rows}")).expect("write");
    let (code, said) = load(&server, &house, "names", &file, &["--patience", "1", "--batch-rows", "2000"]);
    assert_eq!(code, Some(16), "{said}");
    assert!(said.contains("warning: the hub takes no rows: no space left"), "{said}");
    assert!(said.contains("run the same command again to continue"), "{said}");
}
