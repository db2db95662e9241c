//! `headwater load`: killed at any moment, on either side, the totals stay exact.

use super::cli::Server;
use super::house::House;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const ROWS: u64 = 60_000;
pub const TABLE: &str = "CREATE STREAM numbers (key TEXT, n BIGINT, x DOUBLE PRECISION)";
pub const VIEW: &str =
    "CREATE CONTINUOUS VIEW by_key AS SELECT key, count(*), sum(n) AS total FROM numbers GROUP BY key";
const TOTALS: &str = "SELECT combine(count), combine(total) FROM by_key";

pub fn csv(house: &House) -> PathBuf {
    let path = house.path().join("numbers.csv");
    let mut text = String::from("N,key,x,unused\n");
    for n in 0..ROWS {
        text.push_str(&format!("{n},k{},{}.5,-\n", n % 100, n % 7));
    }
    std::fs::write(&path, text).expect("write");
    path
}

pub fn load(server: &Server, house: &House, file: &Path, flags: &[&str]) -> Command {
    let mut command = server.command(&["load", "--stream", "numbers", "--batch-rows", "200"]);
    command.arg(file).arg("--journal").arg(journal(house)).args(flags);
    command
}

fn journal(house: &House) -> PathBuf {
    house.path().join("numbers.journal")
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn assert_totals(server: &Server, times: u64) {
    let output = server.run(&["sql", "--format", "csv", "-c", TOTALS]);
    let sum: u64 = (0..ROWS).sum();
    let expected = format!("{},{}", ROWS * times, sum * times);
    assert_eq!(text(&output).lines().nth(1), Some(expected.as_str()), "{}", text(&output));
}

/// Waits until the journal knows of `batches` batches (or the load is over).
pub fn wait_for_batches(house: &House, child: &mut Child, batches: usize) {
    let begun = Instant::now();
    loop {
        let lines = std::fs::read_to_string(journal(house)).map_or(0, |text| text.lines().count());
        if lines > batches || child.try_wait().expect("wait").is_some() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the load does not move");
        std::thread::yield_now();
    }
}

/// Groups that producers had folded themselves were told of nowhere.
#[test]
fn an_explosion_at_a_producer_is_visible_at_the_hub() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(&VIEW.replace(" AS SELECT", " WITH (group_cap = 3) AS SELECT"));
    let output = load(&server, &house, &csv(&house), &[]).output().expect("load");
    assert!(output.status.success(), "{}", text(&output));
    assert_totals(&server, 1);
    // Sizes are those of the last fold.
    let begun = Instant::now();
    let sizes = ["sql", "--format", "csv", "-c", "SELECT other > 0 FROM headwater.view_sizes"];
    while text(&server.run(&sizes)).lines().nth(1) != Some("t") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", text(&server.run(&sizes)));
    }
}

#[test]
fn a_load_killed_at_any_moment_continues_exactly() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let file = csv(&house);
    for batches in [1, 20, 60, 150] {
        let mut child = load(&server, &house, &file, &[]).stdout(Stdio::null()).spawn().expect("load");
        wait_for_batches(&house, &mut child, batches);
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(output.status.success() && text(&output).contains("60000 rows"), "{}", text(&output));
    assert_totals(&server, 1);
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(output.status.success() && text(&output).contains("already"), "{}", text(&output));
    assert_totals(&server, 1);
    let output = load(&server, &house, &file, &["--again"]).output().expect("load");
    assert!(output.status.success(), "{}", text(&output));
    assert_totals(&server, 2);
}

#[test]
fn a_hub_killed_during_a_load_loses_and_doubles_nothing() {
    let house = House::new();
    let mut server = Server::start(&house, &[]);
    let address = server.address.clone();
    server.sql(TABLE);
    server.sql(VIEW);
    let file = csv(&house);
    let mut child = load(&server, &house, &file, &[]).stdout(Stdio::null()).spawn().expect("load");
    for batches in [10, 120] {
        wait_for_batches(&house, &mut child, batches);
        server.kill();
        server = Server::start_at(&house, &address, &[]);
    }
    assert!(child.wait().expect("load").success());
    assert_totals(&server, 1);
}

#[test]
fn what_cannot_be_loaded_is_told() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    let file = csv(&house);
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(text(&output).contains("no stream \"numbers\""), "{}", text(&output));
    server.sql("CREATE STREAM numbers (key BIGINT, other TEXT)");
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("no column for other text"), "{}", text(&output));
    let output = load(&server, &house, &file, &["--map", "other="]).output().expect("load");
    assert!(!output.status.success() && text(&output).contains("k0"), "{}", text(&output));
    let output = load(&server, &house, "nowhere.csv".as_ref(), &[]).output().expect("load");
    assert!(text(&output).contains("nowhere.csv"), "{}", text(&output));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("dir");
    for entry in std::fs::read_dir(from).expect("dir") {
        let path = entry.expect("entry").path();
        std::fs::copy(&path, to.join(path.file_name().expect("name"))).expect("copy");
    }
}

/// A finished journal was believed without asking: the second hub got nothing, and the load said it was done.
#[test]
fn a_load_into_another_hub_is_another_load() {
    let (house, other) = (House::new(), House::new());
    let file = csv(&house);
    let state = tempfile::tempdir().expect("dir");
    for home in [&house, &other] {
        let server = Server::start(home, &[]);
        server.sql(TABLE);
        server.sql(VIEW);
        let mut command = server.command(&["load", "--stream", "numbers"]);
        let output = command.arg(&file).env("XDG_STATE_HOME", state.path()).output().expect("load");
        assert!(output.status.success(), "{}", text(&output));
        assert_totals(&server, 1);
    }
    let server = Server::start(&house, &[]);
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(output.status.success(), "{}", text(&output));
    drop(server);
    let server = Server::start(&other, &[]);
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(!output.status.success() && text(&output).contains("another hub"), "{}", text(&output));
    assert_totals(&server, 1);
}

#[test]
fn a_hub_that_lost_what_it_held_gets_it_again() {
    let house = House::new();
    let (data, kept) = (house.path().join("data"), house.path().join("kept"));
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    server.kill();
    copy(&data, &kept);
    let server = Server::start(&house, &[]);
    let file = csv(&house);
    assert!(load(&server, &house, &file, &[]).status().expect("load").success());
    server.kill();
    std::fs::remove_dir_all(&data).expect("remove");
    copy(&kept, &data);
    let server = Server::start(&house, &[]);
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(output.status.success() && text(&output).contains("lost 60000 rows"), "{}", text(&output));
    assert_totals(&server, 1);
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(text(&output).contains("already"), "{}", text(&output));
}

/// What was acknowledged before the hub came back with older data was lost, and nobody was told.
#[test]
fn a_hub_that_comes_back_with_older_data_gets_it_again() {
    let house = House::new();
    let (data, kept) = (house.path().join("data"), house.path().join("kept"));
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let address = server.address.clone();
    server.kill();
    copy(&data, &kept);
    let server = Server::start_at(&house, &address, &[]);
    let told = house.path().join("told");
    let output = std::fs::File::create(&told).expect("file");
    let mut child = load(&server, &house, &csv(&house), &[]).stderr(output).spawn().expect("load");
    wait_for_batches(&house, &mut child, 60);
    server.kill();
    std::fs::remove_dir_all(&data).expect("remove");
    copy(&kept, &data);
    let server = Server::start_at(&house, &address, &[]);
    assert!(child.wait().expect("load").success());
    let told = std::fs::read_to_string(&told).expect("told");
    assert!(told.contains("the hub lost"), "{told}");
    assert_totals(&server, 1);
}

/// The rest of the rows went to whoever answered at the address.
#[test]
fn another_hub_at_the_address_gets_nothing_of_a_load() {
    let (house, other) = (House::new(), House::new());
    let server = Server::start(&house, &[]);
    let address = server.address.clone();
    server.sql(TABLE);
    server.sql(VIEW);
    let stranger = Server::start(&other, &[]);
    stranger.sql(TABLE);
    stranger.sql(VIEW);
    stranger.kill();
    let told = house.path().join("told");
    let output = std::fs::File::create(&told).expect("file");
    let mut child = load(&server, &house, &csv(&house), &[]).stderr(output).spawn().expect("load");
    wait_for_batches(&house, &mut child, 60);
    server.kill();
    // With the same certificate: another one is refused before anything is said.
    for file in ["dev-cert.pem", "dev-key.pem"] {
        let at = |house: &House| house.path().join("data").join(file);
        std::fs::copy(at(&house), at(&other)).expect("certificate");
    }
    let stranger = Server::start_at(&other, &address, &[]);
    let code = child.wait().expect("load").code();
    let told = std::fs::read_to_string(&told).expect("told");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another hub answers now: its cluster is "), "{told}");
    let rows = stranger.run(&["sql", "--format", "csv", "-c", "SELECT count(*) FROM by_key"]);
    assert_eq!(text(&rows).lines().nth(1), Some("0"), "{}", text(&rows));
}

/// The rest of the rows was left out as late: they count when the load began, and that was long ago.
#[test]
fn a_load_that_is_continued_late_loses_no_row() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(
        "CREATE CONTINUOUS VIEW by_day AS SELECT date_trunc('day', arrival_timestamp) AS day, count(*), sum(n) AS total \
         FROM numbers GROUP BY day",
    );
    let file = csv(&house);
    let mut child = load(&server, &house, &file, &[]).stdout(Stdio::null()).spawn().expect("load");
    wait_for_batches(&house, &mut child, 20);
    child.kill().expect("kill");
    child.wait().expect("wait");
    // Ten days ago, which is more than late_max_ms.
    let written = std::fs::read_to_string(journal(&house)).expect("journal");
    let (before, after) = written.split_once("\"started\":").expect("started");
    let (started, after) = after.split_once('}').expect("the head's end");
    let started: i64 = started.parse().expect("microseconds");
    let written = format!("{before}\"started\":{}}}{after}", started - 10 * 86_400_000_000);
    std::fs::write(journal(&house), written).expect("write");
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(output.status.success() && !text(&output).contains("left out"), "{}", text(&output));
    let sql = "SELECT combine(count), combine(total) FROM by_day";
    let output = server.run(&["sql", "--format", "csv", "-c", sql]);
    let expected = format!("{ROWS},{}", (0..ROWS).sum::<u64>());
    assert_eq!(text(&output).lines().nth(1), Some(expected.as_str()), "{}", text(&output));
}

/// Another --map made another journal, and all rows counted twice.
#[test]
fn a_file_is_not_loaded_again_with_other_columns() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let (file, state) = (csv(&house), tempfile::tempdir().expect("dir"));
    let load = |flags: &[&str]| {
        let mut command = server.command(&["load", "--stream", "numbers"]);
        command.arg(&file).args(flags).env("XDG_STATE_HOME", state.path()).output().expect("load")
    };
    assert!(load(&[]).status.success());
    let output = load(&["--map", "x="]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("they would count twice; load the new"), "{}", text(&output));
    assert_totals(&server, 1);
    assert!(load(&["--map", "x=", "--again"]).status.success());
    assert_totals(&server, 2);
    let output = load(&["--map", "x="]);
    assert!(output.status.success() && text(&output).contains("already"), "{}", text(&output));
}

/// A continued load with other columns would have mixed two readings of one file under the same numbers.
#[test]
fn a_load_goes_on_with_the_columns_it_began_with() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(VIEW);
    let file = csv(&house);
    let mut child = load(&server, &house, &file, &[]).stdout(Stdio::null()).spawn().expect("load");
    wait_for_batches(&house, &mut child, 20);
    child.kill().expect("kill");
    child.wait().expect("wait");
    let output = load(&server, &house, &file, &["--map", "key=unused"]).output().expect("load");
    assert!(!output.status.success() && text(&output).contains("other columns"), "{}", text(&output));
    assert!(load(&server, &house, &file, &["--map", "n=N"]).status().expect("load").success());
    assert_totals(&server, 1);
}

#[test]
fn null_empty_text_and_nan_are_told_apart() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql(
        "CREATE CONTINUOUS VIEW seen AS SELECT key, count(*), count(n) AS ns, count(x) AS xs FROM numbers GROUP BY key",
    );
    let file = house.path().join("nulls.csv");
    std::fs::write(&file, "key,n,x\n,1,NaN\n\"\",,2.5\n\"a\nb\",3,\n").expect("write");
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("1 NaN value was read as NULL"), "{}", text(&output));
    let sql = "SELECT key IS NULL, length(key), count, ns, xs FROM seen ORDER BY length(key) NULLS FIRST";
    let output = server.run(&["sql", "--format", "csv", "-c", sql]);
    let rows: Vec<String> = text(&output).lines().skip(1).map(String::from).collect();
    assert_eq!(rows, ["t,,1,1,0", "f,0,1,0,1", "f,3,1,1,0"]);
}

/// The rows before a bad one counted, and the mended file counted them again.
#[test]
fn a_file_with_a_bad_row_counts_no_row() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql(TABLE);
    server.sql("CREATE CONTINUOUS VIEW seen AS SELECT count(*) AS n FROM numbers");
    let file = house.path().join("bad.csv");
    let rows: String = (0..5_000).map(|i| format!("k,{i},1\n")).collect();
    std::fs::write(&file, format!("key,n,x\n{rows}k,oops,1\n")).expect("write");
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(!output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("no row was sent"), "{}", text(&output));
    std::fs::write(&file, format!("key,n,x\n{rows}k,1,1\n")).expect("write");
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert!(output.status.success(), "{}", text(&output));
    let output = server.run(&["sql", "--format", "csv", "-c", "SELECT n FROM seen"]);
    assert_eq!(text(&output).lines().nth(1), Some("5001"));
}

/// Rows of the past were dropped as late, in silence, unless the hub ran with --late-max-ms 0.
#[test]
fn history_loads_unless_the_hub_takes_none() {
    let house = House::new();
    let by_year = |server: &Server| {
        let sql = "SELECT extract(year FROM day), count FROM by_day ORDER BY day";
        text(&server.run(&["sql", "--format", "csv", "-c", sql]))
            .lines()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let file = house.path().join("past.csv");
    std::fs::write(
        &file,
        "key,n,x,arrival_timestamp\na,1,,1987-05-06 07:08:09\na,2,,2016-01-01T00:00:00Z\na,3,,2999-01-01\n",
    )
    .expect("write");
    let server = Server::start(&house, &["--backfill", "false"]);
    server.sql(TABLE);
    server.sql(
        "CREATE CONTINUOUS VIEW by_day AS SELECT date_trunc('day', arrival_timestamp) AS day, count(*) FROM numbers GROUP BY day",
    );
    let output = load(&server, &house, &file, &[]).output().expect("load");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("1 row lies in the future"), "{}", text(&output));
    assert!(
        text(&output).contains("\n  line 4, column arrival_timestamp: 2999-01-01T00:00:00Z"),
        "{}",
        text(&output)
    );
    assert!(
        text(&output).contains("--any-time") && text(&output).contains("no row was sent"),
        "{}",
        text(&output)
    );
    let output = load(&server, &house, &file, &["--any-time"]).output().expect("load");
    assert!(!output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("takes no backfill") && text(&output).contains("--live"),
        "{}",
        text(&output)
    );
    assert_eq!(by_year(&server), "");
    server.kill();
    let server = Server::start(&house, &[]);
    let output = load(&server, &house, &file, &["--any-time"]).output().expect("load");
    assert!(
        output.status.success() && text(&output).contains("1 row lies in the future"),
        "{}",
        text(&output)
    );
    assert_eq!(by_year(&server), "1987,1 2016,1");
    let output = load(&server, &house, &file, &["--again", "--live", "--any-time"]).output().expect("load");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("left out groups with all their rows"), "{}", text(&output));
    assert!(text(&output).contains("2 late, ") || text(&output).contains(", 2 late"), "{}", text(&output));
    assert_eq!(by_year(&server), "1987,1 2016,1", "late, and counted as such by the hub");
    let metrics = text(&server.run(&["status"]));
    assert!(metrics.contains("late"), "{metrics}");
}

/// Rows of the rest of the file went into a stream that was made anew under the same name, and all of them once more
/// when the command was run again; where the new stream had fewer columns the program ended by a panic.
#[cfg(unix)]
#[test]
fn a_stream_that_is_dropped_ends_its_load() {
    for made_anew in [None, Some(TABLE), Some("CREATE STREAM numbers (n TEXT)")] {
        let house = House::new();
        let server = Server::start(&house, &[]);
        server.sql(TABLE);
        server.sql(VIEW);
        let file = csv(&house);
        let output = house.path().join("told");
        let told = std::fs::File::create(&output).expect("file");
        let mut child = load(&server, &house, &file, &[]).stderr(told).spawn().expect("load");
        wait_for_batches(&house, &mut child, 20);
        // Stands still while the stream changes, so that there are rows left.
        let signal = |name: &str| {
            let id = child.id().to_string();
            assert!(Command::new("kill").args([name, &id]).status().expect("kill").success());
        };
        signal("-STOP");
        server.sql("DROP STREAM numbers CASCADE");
        if let Some(stream) = made_anew {
            server.sql(stream);
            server.sql("CREATE CONTINUOUS VIEW seen AS SELECT count(n) AS ns FROM numbers");
        }
        signal("-CONT");
        assert_eq!(child.wait().expect("load").code(), Some(1));
        let told = std::fs::read_to_string(&output).expect("told");
        assert!(told.contains("the stream was dropped while it was loaded"), "{told}");
        if made_anew.is_some() {
            let rows = server.run(&["sql", "--format", "csv", "-c", "SELECT ns FROM seen"]);
            assert_eq!(text(&rows).lines().nth(1), Some("0"), "{}", text(&rows));
        }
    }
}
