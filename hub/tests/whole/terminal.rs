//! `headwater sql` as a person uses it: in a terminal, key by key.

use super::cli::{HEADWATER, Server};
use super::house::House;
use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PROMPT: &str = "headwater=> ";
const UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";

/// A program in a terminal of its own.
struct Terminal {
    process: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    /// What was printed and not expected yet, without escape sequences.
    screen: String,
}

impl Terminal {
    fn open(server: &Server, home: &House) -> Self {
        let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("pty");
        let end = || pty.slave.try_clone().expect("clone");
        let process = Command::new(HEADWATER)
            .arg("sql")
            .env("HEADWATER_HUB", &server.address)
            .env("HOME", home.path())
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("sql");
        let keys = File::from(pty.master);
        let mut reader = keys.try_clone().expect("clone");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { process, keys, output, screen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("keys");
    }

    /// Waits until `text` was printed; gives all that was printed up to it.
    fn expect(&mut self, text: &str) -> String {
        let begun = Instant::now();
        let mut raw = Vec::new();
        loop {
            if let Some(at) = self.screen.find(text) {
                let rest = self.screen.split_off(at + text.len());
                return std::mem::replace(&mut self.screen, rest);
            }
            match self.output.recv_timeout(Duration::from_secs(20)) {
                Ok(bytes) => {
                    raw.extend_from_slice(&bytes);
                    let whole = raw.len() - unfinished(&raw);
                    let rest = raw.split_off(whole);
                    self.screen.push_str(&plain(&String::from_utf8_lossy(&raw)));
                    raw = rest;
                }
                Err(_) => panic!("{text:?} was not printed, but:\n{}", self.screen),
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{text:?} was not printed");
        }
    }

    /// Types a line and waits for the next prompt; gives what was printed in between.
    fn run(&mut self, line: &str) -> String {
        self.press(&format!("{line}\r"));
        let printed = self.expect(PROMPT);
        let echo = format!("{line}\n");
        printed.split_once(&echo).map_or(printed.clone(), |(_, after)| after.to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How many bytes at the end may be the beginning of a character or of an escape sequence.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = bytes.iter().rev().take(16).position(|b| *b == 0x1b).map_or(0, |at| at + 1);
    let sequence = &bytes[bytes.len() - tail..];
    if tail > 0 && !sequence.iter().skip(2).any(|b| (0x40..=0x7e).contains(b)) {
        return tail;
    }
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

/// The text without escape sequences and carriage returns.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => {
                let _ = chars.next();
                let _ = chars.by_ref().find(|c| ('\x40'..='\x7e').contains(c));
            }
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}

#[test]
fn a_person_types_statements_and_commands() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql("CREATE STREAM s (a TEXT, n BIGINT)");
    server.sql("CREATE CONTINUOUS VIEW v AS SELECT a, count(*) FROM s GROUP BY a");
    let mut terminal = Terminal::open(&server, &house);
    assert!(terminal.expect(PROMPT).contains("\\? for help"));

    assert!(terminal.run("SELECT 1 AS one;").contains(" one\n-----\n   1\n(1 row)\n"));
    terminal.press("SELECT\r");
    terminal.expect("headwater-> ");
    assert!(terminal.run("2 AS two; SELECT 3 AS three;").contains("   2\n(1 row)\n three\n"));

    let wide =
        terminal.run("SELECT '\u{6f22}\u{5b57}' AS w, NULL AS n, 1 AS x UNION ALL SELECT 'ab', NULL, 22;");
    let expected = "  w   | n | x\n------+---+----\n \u{6f22}\u{5b57} |   |  1\n ab   |   | 22\n(2 rows)\n";
    assert!(wide.contains(expected), "{wide}");

    let listed = terminal.run("\\d");
    assert!(listed.contains(" s    | stream") && listed.contains(" v    | view"), "{listed}");
    assert!(terminal.run("\\d v").contains("bigint"));
    assert!(terminal.run("\\timing").contains("Timing is on."));
    assert!(terminal.run("SELECT 4 AS four;").contains("Time: "));
    assert!(terminal.run("\\timing").contains("Timing is off."));
    assert!(terminal.run("\\nope").contains("unknown command \\nope; \\? lists all"));
    // An error about a DESCRIBE that nobody had typed.
    let none = terminal.run("\\d vv");
    assert!(none.contains("no stream, view or table vv") && !none.contains("DESCRIBE"), "{none}");
    assert!(terminal.run("\\d a b").contains("no stream, view or table a b; \\d lists all"));
    assert!(terminal.run("\\d+ v").contains("SELECT a, count(*) FROM s"));
    for (command, expected) in [
        ("\\dt", " v    | view"),
        ("\\dt s*", " s    | stream\n(1 row)"),
        ("\\d+", " v    | view"),
        ("\\l", "headwater"),
        ("\\dn", " public"),
        ("\\dv", "SELECT a, count(*) FROM s"),
        ("\\ds", "(1 row)"),
    ] {
        let printed = terminal.run(command);
        assert!(printed.contains(expected), "{command}: {printed}");
    }
    terminal.press("\\q\r");
    assert!(terminal.process.wait().expect("wait").success());
}

#[test]
fn mistakes_are_shown_and_taken_back() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    let mut terminal = Terminal::open(&server, &house);
    terminal.expect(PROMPT);
    let error = terminal.run("SELECT nope;");
    assert!(error.contains("LINE 1: SELECT nope\n               ^\nERROR: "), "{error}");

    terminal.press("SELECT garbage");
    terminal.press(CTRL_C);
    terminal.expect(PROMPT);
    assert!(terminal.run("SELECT 5 AS five;").contains("(1 row)"), "the line was given up");
    terminal.press("SELECT\r");
    terminal.expect("headwater-> ");
    terminal.press(CTRL_C);
    terminal.expect(PROMPT);
    assert!(terminal.run("SELECT 6 AS six;").contains("(1 row)"), "and so are the lines before it");

    terminal.press(UP);
    terminal.press("\r");
    // The editor draws the prompt anew with what it remembers.
    assert!(terminal.expect("(1 row)").contains("   6\n"), "history of this session");
    terminal.expect(PROMPT);
    terminal.press("\x04");
    assert!(terminal.process.wait().expect("wait").success(), "ctrl-D leaves");

    let mut terminal = Terminal::open(&server, &house);
    terminal.expect(PROMPT);
    terminal.press(UP);
    terminal.press("\r");
    assert!(terminal.expect("(1 row)").contains("   6\n"), "history of the session before");
}

/// Lines that came together without bracketed paste were dropped but for the first.
#[test]
fn lines_that_arrive_together_are_all_read() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    let mut terminal = Terminal::open(&server, &house);
    terminal.expect(PROMPT);
    let lines: String = (1..=40).map(|n| format!("SELECT {n}\r+ 1000 AS sum;\r")).collect();
    terminal.press(&lines);
    for n in 1..=40 {
        terminal.expect(&format!(" {}\n(1 row)", n + 1000));
    }
}

/// In the middle of a statement commands were swallowed, `\\q` among them.
#[test]
fn commands_work_in_the_middle_of_a_statement() {
    let house = House::new();
    let server = Server::start(&house, &[]);
    server.sql("CREATE STREAM s (a TEXT)");
    let mut terminal = Terminal::open(&server, &house);
    terminal.expect(PROMPT);
    assert!(terminal.run("help").contains("streams, views and tables"));
    for (command, expected) in
        [("SELECT 7", ""), ("\\?", "this help"), ("\\d", " s    | stream"), ("quit", "ctrl-C")]
    {
        terminal.press(&format!("{command}\r"));
        terminal.expect(expected);
        terminal.expect("headwater-> ");
    }
    assert!(
        terminal.run("AS seven; SELECT 8 AS eight;").contains("   8\n"),
        "the line is part of the statement"
    );
    terminal.press("SELECT '\r");
    terminal.expect("headwater-> ");
    terminal.press("\\q\r");
    terminal.expect("headwater-> ");
    assert!(terminal.run("' AS text;").contains("\\n\\q\\n"), "a text may hold one");
    terminal.press("SELECT\r");
    terminal.expect("headwater-> ");
    terminal.press("\\q\r");
    assert!(terminal.process.wait().expect("wait").success());
}
