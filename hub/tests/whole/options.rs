//! Every option at its extremes: the hub says what is wrong, or it runs.

use super::cli::HEADWATER;
use super::house::House;
use headwater_hub::options::{OPTIONS, OptionDoc};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs a hub with one option set, asks it something where it starts, and ends it; gives its exit code and what it
/// said.
fn serve(house: &House, flag: &str, value: &str) -> (Option<i32>, String) {
    let mut command = Command::new(HEADWATER);
    command.args(["serve", &format!("--{flag}={value}")]).env("RUST_BACKTRACE", "0");
    for (default, value) in [("listen", "127.0.0.1:0"), ("log-level", "error")] {
        if flag != default {
            command.args([format!("--{default}"), value.into()]);
        }
    }
    if flag != "data-dir" {
        command.arg("--data-dir").arg(house.path().join("data"));
    }
    let mut hub = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("serve");
    let lines = BufReader::new(hub.stdout.take().expect("stdout")).lines();
    let http = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("http://")?.1.to_owned()));
    if let Some(address) = http {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        let body = "CREATE STREAM IF NOT EXISTS s (a TEXT)";
        let head = format!(
            "POST /v1/sql HTTP/1.1\r\nhost: hub\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
        let read = stream.read_to_end(&mut Vec::new());
        let is_late = read.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!is_late, "--{flag}={value}: no answer");
        let _ = hub.kill();
    }
    let output = hub.wait_with_output().expect("end");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Values at the edge of what an option takes, and beyond.
fn extremes(option: &OptionDoc) -> Vec<String> {
    let edges = option.range.into_iter().flat_map(|(least, most)| [least, most]).map(|n| n.to_string());
    let always = ["0", "18446744073709551615", "-1", ""].map(String::from);
    edges.chain(always).collect()
}

/// Some values made a hub panic, many were taken that mean nothing.
#[test]
fn every_option_at_its_extremes_is_refused_or_runs() {
    let house = House::new();
    for option in OPTIONS {
        for value in extremes(option) {
            if option.key == "data_dir" && !value.is_empty() {
                // A directory of that name, in the current one.
                continue;
            }
            let (code, said) = serve(&house, option.flag, &value);
            assert!(!said.contains("panicked"), "--{} {value:?}: {said}", option.flag);
            let is_number = option.range.is_some();
            let is_beyond = option.range.is_some_and(|(least, most)| {
                value.parse::<u64>().map_or(true, |n| !(least..=most).contains(&n))
            });
            // None: it ran, and was killed.
            let expected: &[Option<i32>] = match (is_number, is_beyond) {
                (true, true) => &[Some(2)],
                (true, false) => &[None, Some(2)],
                _ => &[None, Some(1), Some(2), Some(12)],
            };
            assert!(expected.contains(&code), "--{} {value:?}: {code:?} {said}", option.flag);
        }
    }
}

#[test]
fn what_a_hub_is_told_wrong_is_told_back() {
    let house = House::new();
    for (flag, value, expected) in [
        ("log-level", "loud", "log level \"loud\""),
        (
            "sql-timeout-ms",
            "0",
            "timeout_ms must be 1 to 86400000, not 0 (--sql-timeout-ms, HEADWATER_SQL_TIMEOUT_MS",
        ),
    ] {
        let (code, said) = serve(&house, flag, value);
        assert!(code == Some(2) && said.contains(expected), "{said}");
    }
    let output = Command::new(HEADWATER).arg("serve").env("HEADWATER_TOKNES", "x").output().expect("serve");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("did you mean HEADWATER_TOKENS?"), "{said}");
    let file = house.path().join("file");
    std::fs::write(&file, "x").expect("write");
    for below in [file.clone(), file.join("data")] {
        let (code, said) = serve(&house, "data-dir", below.to_str().expect("path"));
        assert!(code == Some(12) && said.contains("is not a headwater data directory"), "{code:?} {said}");
        assert!(said.contains("is a file"), "{said}");
    }
}
