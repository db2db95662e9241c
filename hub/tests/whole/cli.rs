//! The `headwater` program as people run it.

use super::house::House;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater");

/// `headwater serve` in a process of its own; killed when dropped.
pub struct Server {
    process: Child,
    pub address: String,
    pub greeting: String,
}

impl Server {
    /// Starts it and waits until it says that it is ready.
    pub fn start(house: &House, flags: &[&str]) -> Self {
        Self::start_at(house, "127.0.0.1:0", flags)
    }

    /// At an address of the caller's choice.
    pub fn start_at(house: &House, address: &str, flags: &[&str]) -> Self {
        Self::launch(Command::new(HEADWATER), house, address, flags)
    }

    /// On a disk where no file may become larger than this.
    #[cfg(unix)]
    pub fn start_with_file_limit(house: &House, kib: u32, flags: &[&str]) -> Self {
        // With the signal ignored, a write beyond the limit fails instead of ending the process.
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash", HEADWATER]);
        Self::launch(command, house, "127.0.0.1:0", flags)
    }

    fn launch(mut command: Command, house: &House, address: &str, flags: &[&str]) -> Self {
        let data = house.path().join("data");
        let mut process = command
            .args(["serve", "--listen", address, "--data-dir"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("serve");
        let mut lines = BufReader::new(process.stdout.take().expect("stdout")).lines();
        let mut greeting = String::new();
        for line in lines.by_ref() {
            let line = line.expect("line");
            greeting.push_str(&line);
            greeting.push('\n');
            if line.contains("fingerprint") {
                break;
            }
        }
        let address = greeting.lines().find_map(|line| line.trim().strip_prefix("quic ")).unwrap_or_default();
        Self { process, address: address.trim().into(), greeting }
    }

    /// Runs `headwater` as a client of this hub.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("run")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(HEADWATER);
        command.args(args).env("HEADWATER_HUB", &self.address);
        command
    }

    /// Runs statements and gives what they print.
    pub fn sql(&self, sql: &str) -> String {
        let output = self.run(&["sql", "-c", sql]);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("utf-8")
    }

    /// Sends a signal by its name.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let (signal, id) = (format!("-{name}"), self.process.id().to_string());
        assert!(Command::new("kill").args([&signal, &id]).status().expect("kill").success());
    }

    /// The exit code, once it ends; `None` when that takes longer than `limit`.
    pub fn wait_within(&mut self, limit: Duration) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.process.try_wait().expect("wait") {
                return status.code();
            }
            std::thread::yield_now();
        }
        None
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().expect("kill");
        self.process.wait().expect("wait");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn statements_from_the_command_line_a_file_and_a_pipe() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    assert!(server.greeting.contains("is ready"), "{}", server.greeting);
    assert_eq!(server.sql("CREATE STREAM s (a TEXT, n BIGINT)"), "CREATE STREAM\n");
    assert_eq!(
        server.sql("SELECT 1 AS one, 'x' AS \"text\"; SELECT NULL AS nothing"),
        " one | text\n-----+------\n   1 | x\n(1 row)\n nothing\n---------\n\n(1 row)\n"
    );
    assert_eq!(server.sql("\\d"), " name |  kind\n------+--------\n s    | stream\n(1 row)\n");
    let described = server.sql("\\d s");
    assert!(described.contains(" a ") && described.contains("bigint"), "{described}");
    let file = house.path().join("script.sql");
    std::fs::write(&file, "-- a comment;\nSELECT ';' AS s;\nSELECT 2 AS two").expect("write");
    let output = server.run(&["sql", "--format", "csv", "-f", file.to_str().expect("path")]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "s\n;\ntwo\n2\n");
    std::fs::write(&file, "\\d\nSELECT 'a;\nb' AS t;\n\\x\nSELECT 7 AS seven; \n\\q\nSELECT broken")
        .expect("write");
    let output = server.run(&["sql", "-f", file.to_str().expect("path")]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains(" s    | stream"), "{printed}");
    assert!(printed.contains(" a;\\nb") && printed.ends_with("seven | 7\n"), "{printed}");
    let mut piped = server.command(&["sql", "--format", "json"]);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sql");
    piped.stdin.take().expect("stdin").write_all(b"SELECT 3 AS three;").expect("write");
    assert_eq!(String::from_utf8_lossy(&piped.wait_with_output().expect("output").stdout), "{\"three\":3}\n");
}

#[test]
fn errors_point_at_the_place_and_set_the_exit_code() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    let output = server.run(&["sql", "-c", "SELECT 1,\n       nope FROM nowhere"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("LINE 2:") && stderr.contains('^'), "{stderr}");
    // Of a file it is the file's line.
    let file = house.path().join("script.sql");
    let text = "SELECT 1; -- one\n\n-- two\n\\x\nSELECT 2; SELECT\n  nope FROM nowhere;\nSELECT 3";
    std::fs::write(&file, text).expect("write");
    let output = server.run(&["sql", "-f", file.to_str().expect("path")]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("script.sql:6:   nope FROM nowhere\n"), "{stderr}");
    let output = Command::new(HEADWATER).args(["sql", "--hub", "127.0.0.1:1", "-c", "SELECT 1"]).output();
    assert_eq!(output.expect("run").status.code(), Some(3));
    let output = Command::new(HEADWATER).args(["serve", "--commit-delay-ms", "soon"]).output().expect("run");
    assert_eq!(output.status.code(), Some(2));
}

/// It took 10 s to say that there is no hub.
#[test]
fn a_hub_that_is_not_there_is_told_at_once() {
    for command in
        [vec!["sql", "-c", "SELECT 1"], vec!["status"], vec!["load", "Cargo.toml.csv", "--stream", "s"]]
    {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join("Cargo.toml.csv"), "a\n1\n").expect("write");
        let begun = Instant::now();
        let mut run = Command::new(HEADWATER);
        let output =
            run.args(&command).args(["--hub", "127.0.0.1:1"]).current_dir(dir.path()).output().expect("run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(
            stderr.contains("127.0.0.1:1: nothing listens there") && stderr.contains("headwater serve"),
            "{stderr}"
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "{command:?} took {:?}", begun.elapsed());
    }
    // It took as long to say that a name is none.
    let begun = Instant::now();
    let output = Command::new(HEADWATER).args(["status", "--hub", "no.invalid:7171"]).output().expect("run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && stderr.contains("--hub HOST:PORT"), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let output = Command::new(HEADWATER).args(["status", "--hub", "127.0.0.1"]).output().expect("run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && stderr.contains("127.0.0.1:7171"), "{stderr}");
}

/// A hub that wants a token looked like one that is down.
#[test]
fn a_missing_token_is_told_as_such() {
    let house = House::new();
    let server = Server::start(&house, &["--tokens", "right"]);
    let file = house.path().join("rows.csv");
    std::fs::write(&file, "a\n1\n").expect("write");
    let file = file.to_str().expect("path");
    for token in [&[][..], &["--token", "wrong"]] {
        for command in [["sql", "-c", "SELECT 1"].as_slice(), &["status"], &["load", file, "--stream", "s"]] {
            let output = server.run(&[command, token].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{stderr}");
            assert!(stderr.contains(&server.address), "{stderr}");
            assert!(stderr.contains("token") && stderr.contains("HEADWATER_TOKEN"), "{command:?}: {stderr}");
        }
    }
    assert!(server.run(&["sql", "-c", "SELECT 1", "--token", "right"]).status.success());
}

/// It told a code of TLS, and neither what was tried nor which flag would help.
#[test]
fn a_certificate_that_is_not_trusted_is_told_with_what_was_tried() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    let (file, wrong) = (house.path().join("rows.csv"), "ab".repeat(32));
    std::fs::write(&file, "a\n1\n").expect("write");
    let file = file.to_str().expect("path");
    for command in [["sql", "-c", "SELECT 1"].as_slice(), &["status"], &["load", file, "--stream", "s"]] {
        let output = server.run(&[command, &["--fingerprint", &wrong]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        for expected in [server.address.as_str(), "fingerprint", "--fingerprint HEX", "--ca FILE"] {
            assert!(stderr.contains(expected), "{expected}: {stderr}");
        }
    }
}

/// `headwater status | head` panicked.
#[cfg(unix)]
#[test]
fn a_reader_who_has_seen_enough_ends_a_command_without_a_word() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    for args in [
        vec!["status"],
        vec!["config"],
        vec!["sql", "-c", "SELECT 1; SELECT 2"],
        vec!["sql", "-c", "\\?\n\\timing\nSELECT 1"],
    ] {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        let output = server.command(&args).stdout(writer).output().expect("run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.as_ref()), (Some(141), ""), "{args:?}");
    }
    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let refused = server.command(&["sql", "-c", "SELECT nope"]).stderr(writer).output().expect("run");
    assert_eq!(refused.status.code(), Some(4), "an error that nobody reads is no panic");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_told_by_its_exit_code() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    let data = house.path().join("data");
    let serve = |dir: &std::path::Path| {
        let mut command = Command::new(HEADWATER);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir).output().expect("serve")
    };
    let output = serve(&data);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(10), "{stderr}");
    assert!(stderr.contains("in use") && stderr.contains("hint: stop the other hub"), "{stderr}");
    server.kill();
    let other = house.path().join("other");
    std::fs::create_dir(&other).expect("dir");
    std::fs::write(other.join("letters.txt"), "dear").expect("write");
    assert_eq!(serve(&other).status.code(), Some(12));
    assert_eq!(std::fs::read_dir(&other).expect("dir").count(), 1, "nothing was written");
    std::fs::write(data.join("hub.redb"), b"garbage").expect("write");
    assert_eq!(serve(&data).status.code(), Some(13));
}

/// Each source sets an impossible value; the message tells whose was taken. Nothing is ever started.
#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let house = House::new();
    let file = house.path().join("hub.toml");
    std::fs::write(&file, "[storage]\nshard_groups = 0\n[limits]\nstreams_max = 0\n").expect("write");
    let serve = |flags: &[&str], env: &[(&str, &str)]| {
        let mut command = Command::new(HEADWATER);
        command.args(["serve", "--config"]).arg(&file).args(flags).envs(env.iter().copied());
        let output = command.output().expect("serve");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (shards, streams) = ("shard_groups must be 1 to 1024, not 0", "streams_max must be");
    assert!(serve(&[], &[]).contains(shards), "the file alone");
    assert!(serve(&[], &[("HEADWATER_SHARD_GROUPS", "1")]).contains(streams), "the environment wins");
    assert!(
        serve(&["--shard-groups", "1"], &[("HEADWATER_SHARD_GROUPS", "0")]).contains(streams),
        "the flag wins"
    );
    std::fs::write(&file, "[storage]\nshards = 1\n").expect("write");
    assert!(serve(&[], &[]).contains("unknown field `shards`"));
}

#[cfg(unix)]
#[test]
fn sigterm_drains_and_ends_well() {
    let house = House::new();
    let mut server = Server::start(&house, &[]);
    server.sql("CREATE STREAM s (a TEXT)");
    let id = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
    assert!(server.process.wait().expect("wait").success());
    let server = Server::start(&house, &[]);
    assert!(server.sql("\\d").contains(" s "), "what was made is still there");
}

#[test]
fn every_option_is_in_the_help_and_in_the_printed_file() {
    let help = Command::new(HEADWATER).args(["serve", "--help"]).output().expect("help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let config = Command::new(HEADWATER).arg("config").output().expect("config");
    let config = String::from_utf8_lossy(&config.stdout).into_owned();
    for option in headwater_hub::options::OPTIONS {
        assert!(help.contains(option.flag) && help.contains(option.env), "{}", option.flag);
        assert!(config.contains(option.key), "{}", option.key);
    }
}
