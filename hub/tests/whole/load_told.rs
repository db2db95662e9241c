//! What `headwater load` says of rows that do not count as they may seem to, and of a hub that does not answer.

use super::cli::Server;
use super::house::House;
use super::load::{TABLE, VIEW, assert_totals, csv, load, text, wait_for_batches};
use std::process::Stdio;
use std::time::{Duration, Instant};

const BY_DAY: &str = "CREATE CONTINUOUS VIEW by_day AS \
                      SELECT date_trunc('day', arrival_timestamp) AS day, count(*) FROM numbers GROUP BY day";

/// Each was silent, and what `--live` leaves out besides (`history_loads_unless_the_hub_takes_none`).
#[test]
fn rows_that_do_not_count_as_they_may_seem_to_are_told() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(BY_DAY);
    server.sql("CREATE CONTINUOUS VIEW inverse AS SELECT sum(6 / n) AS s FROM numbers");
    server.sql("CREATE CONTINUOUS VIEW by_key AS SELECT key, count(*) FROM numbers GROUP BY key");
    let file = house.path().join("odd.csv");
    let long = "k".repeat(2_000);
    let rows = format!("key,n,x,arrival_timestamp\na,0,,\nb,2,,2016-01-01\n{long},0,,\n");
    std::fs::write(&file, rows).expect("write");
    let output = load(&server, &house, &file, &[]).output().expect("load");
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("2 rows have no arrival_timestamp (NULL): they count at the start of the"),
        "{told}"
    );
    assert!(told.contains("each for itself: 2 division_by_zero, 1 key_too_long"), "{told}");
}

/// `emit` refused it, a load took it.
#[test]
fn a_value_that_is_too_long_is_told_with_its_line() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    let file = house.path().join("long.csv");
    std::fs::write(&file, format!("key,n,x\na,1,\n{},2,\n", "v".repeat(70_000))).expect("write");
    let output = load(&server, &house, &file, &[]).output().expect("load");
    let told = text(&output);
    assert!(!output.status.success() && told.contains("line 3, column key: "), "{told}");
    assert!(told.contains("is longer than 64 KiB (too_long)") && told.contains("no row was sent"), "{told}");
}

/// A table was no stream that the hub has; files of other names could not be loaded at all.
#[test]
fn tables_and_formats_are_told_apart() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(BY_DAY);
    server.sql("CREATE TABLE prices (key TEXT PRIMARY KEY, n BIGINT)");
    let file = house.path().join("rows.txt");
    std::fs::write(&file, "key,n,x\na,1,\n").expect("write");
    let into_table = server.command(&["load", "--stream", "prices", "--format", "csv"]).arg(&file).output();
    let told = text(&into_table.expect("load"));
    assert!(told.contains("prices is a table") && told.contains("COPY prices FROM STDIN"), "{told}");
    let told = text(&load(&server, &house, &file, &[]).output().expect("load"));
    assert!(told.contains("name it with --format"), "{told}");
    let output = load(&server, &house, &file, &["--format", "csv"]).output().expect("load");
    let told = text(&output);
    assert!(output.status.success() && told.contains(": 1 row in stream numbers (1 batch, "), "{told}");
    assert!(told.contains(" s to check, ") && told.contains(" s to send: "), "{told}");
}

/// Columns were those of the first 1,024 records: later ones were dropped in silence.
#[test]
fn a_column_that_comes_up_late_is_loaded() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(BY_DAY);
    let file = house.path().join("late.ndjson");
    let mut rows = "{\"key\":\"a\",\"n\":1,\"x\":null}\n".repeat(3_000);
    rows.push_str("{\"key\":\"a\",\"n\":1,\"x\":1,\"arrival_timestamp\":\"1987-05-06T07:08:09Z\"}\n");
    std::fs::write(&file, rows).expect("write");
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(
        output.status.success() && text(&output).contains("3000 rows have no arrival"),
        "{}",
        text(&output)
    );
    let sql = "SELECT count FROM by_day WHERE day < TIMESTAMP '1988-01-01'";
    let output = server.run(&["sql", "--format", "csv", "-c", sql]);
    assert_eq!(text(&output).lines().nth(1), Some("1"), "{}", text(&output));
}

/// Seconds and milliseconds since 1970 were read as microseconds: all rows were of January 1970, in silence.
#[test]
fn numbers_that_are_no_microseconds_are_not_loaded() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(BY_DAY);
    let file = house.path().join("epochs.ndjson");
    for (time, unit) in [("1700000000", "seconds"), ("1700000000000", "milliseconds")] {
        std::fs::write(&file, format!("{{\"key\":\"a\",\"n\":1,\"x\":1,\"arrival_timestamp\":{time}}}\n"))
            .expect("write");
        let output = load(&server, &house, &file, &[]).output().expect("load");
        let told = text(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("look like {unit}")) && told.contains("no row was sent"), "{told}");
    }
    let output = load(&server, &house, &file, &["--any-time"]).output().expect("load");
    assert!(output.status.success(), "{}", text(&output));
}

/// It waited in silence and longer than it was told to, and ended with 1.
#[test]
fn a_hub_that_goes_away_for_good_is_told() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let (file, address) = (csv(&house), server.address.clone());
    let mut command = load(&server, &house, &file, &["--patience", "1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("load");
    wait_for_batches(&house, &mut child, 10);
    server.kill();
    let begun = Instant::now();
    let output = child.wait_with_output().expect("load");
    let (told, took) = (text(&output), begun.elapsed());
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("trying again for 1 s (--patience)"), "{told}");
    assert!(told.contains(&address) && told.contains("run the same command again to continue"), "{told}");
    assert!(took < Duration::from_secs(8), "{took:?}: {told}");
    let server = Server::start_at(&house, &address, &[]);
    assert!(load(&server, &house, &file, &[]).status().expect("load").success());
    assert_totals(&server, 1);
}

/// A hub that hangs was waited for much longer than one that is gone.
#[cfg(unix)]
#[test]
fn a_hub_that_hangs_is_told() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let file = csv(&house);
    let mut command = load(&server, &house, &file, &["--patience", "1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("load");
    wait_for_batches(&house, &mut child, 10);
    server.signal("STOP");
    let begun = Instant::now();
    let output = child.wait_with_output().expect("load");
    let (told, took) = (text(&output), begun.elapsed());
    server.signal("CONT");
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("timed out; trying again for 1 s"), "{told}");
    assert!(took < Duration::from_secs(8), "{took:?}: {told}");
    assert!(load(&server, &house, &file, &[]).status().expect("load").success());
    assert_totals(&server, 1);
}

#[cfg(unix)]
#[test]
fn ctrl_c_says_how_to_go_on() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let file = csv(&house);
    let mut command = load(&server, &house, &file, &[]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("load");
    wait_for_batches(&house, &mut child, 10);

    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    let output = child.wait_with_output().expect("load");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(text(&output).contains("interrupted; run the same command again"), "{}", text(&output));
    assert!(load(&server, &house, &file, &[]).status().expect("load").success());
    assert_totals(&server, 1);
}

/// The rows were told as loaded, nobody had counted them, and the view that was made next did not get them either.
#[test]
fn rows_that_no_view_would_count_are_not_loaded() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    let file = csv(&house);
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("no view reads stream numbers"), "{}", text(&output));
    server.sql(VIEW);
    assert!(load(&server, &house, &file, &[]).status().expect("load").success());
    assert_totals(&server, 1);
}

/// What was appended meanwhile was loaded too, and once more with the file as it was then.
#[test]
fn a_file_that_grows_is_loaded_as_it_was() {
    use std::io::Write;
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let file = csv(&house);
    let told = house.path().join("told");
    let output = std::fs::File::create(&told).expect("file");
    let mut child = load(&server, &house, &file, &[]).stderr(output).spawn().expect("load");
    wait_for_batches(&house, &mut child, 5);
    let mut appended = std::fs::OpenOptions::new().append(true).open(&file).expect("file");
    appended.write_all(b"7,late,1,-\n").expect("append");
    assert!(child.wait().expect("load").success());
    assert_totals(&server, 1);
    let told = std::fs::read_to_string(&told).expect("told");
    assert!(told.contains("appended to the file while it was loaded"), "{told}");
}
