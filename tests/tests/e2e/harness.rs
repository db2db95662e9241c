//! A real hub in a process of its own, on free ports, with a data directory that outlives it.
//!
//! Invariants: a hub is killed when its handle is dropped; readiness is what the hub prints, never a pause.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The hub and command line under test.
pub fn headwater() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater-under-test"));
    // The machine's own configuration must not change what is tested.
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("HEADWATER_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the command line to its end.
pub fn run(args: &[&str]) -> Output {
    headwater().args(args).output().expect("the program starts")
}

/// A running hub.
pub struct Hub {
    child: Child,
    /// QUIC.
    pub quic: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
    /// SHA-256 of the development certificate, as printed.
    pub fingerprint: String,
}

impl Hub {
    /// Starts a hub on `dir` and waits until it says that it is ready.
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        Self::start_at(dir, "127.0.0.1:0", "127.0.0.1:0", args)
    }

    /// Starts a hub where another one was, so that its clients find it again.
    pub fn restart(self, dir: &Path, args: &[&str]) -> Self {
        let (quic, http) = (self.quic.to_string(), self.http.to_string());
        drop(self);
        Self::start_at(dir, &quic, &http, args)
    }

    fn start_at(dir: &Path, quic: &str, http: &str, args: &[&str]) -> Self {
        let mut command = headwater();
        command.arg("serve").arg("--data-dir").arg(dir).args(["--listen", quic, "--listen-http", http]);
        command.args(args);
        Self::launch(command)
    }

    /// Starts a hub whose files cannot grow beyond a size, as on a full disk.
    pub fn start_with_file_limit(dir: &Path, kib: u32) -> Self {
        let mut command = Command::new("bash");
        // With the signal ignored, a write beyond the limit fails instead of ending the process.
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
        command.args(["-c", &script, "bash"]).arg(headwater().get_program());
        command.arg("serve").arg("--data-dir").arg(dir).args([
            "--listen",
            "127.0.0.1:0",
            "--listen-http",
            "127.0.0.1:0",
        ]);
        Self::launch(command)
    }

    fn launch(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the hub starts");
        let stdout = child.stdout.take().expect("piped");
        let mut hub = Self {
            child,
            quic: SocketAddr::from(([127, 0, 0, 1], 0)),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            fingerprint: String::new(),
        };
        hub.read_banner(BufReader::new(stdout));
        hub
    }

    /// `name value` lines; the fingerprint of a development hub comes last, when all doors are open.
    fn read_banner(&mut self, mut stdout: impl BufRead + Send + 'static) {
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|n| n > 0) {
            let (name, value) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
            match name {
                "quic" => self.quic = value.trim().parse().expect("an address"),
                "http" => self.http = value.trim().trim_start_matches("http://").parse().expect("an address"),
                "fingerprint" => {
                    self.fingerprint = value.trim().to_owned();
                    // Keep reading: a full pipe would stop the hub.
                    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
                    return;
                }
                _ => {}
            }
            line.clear();
        }
        panic!("the hub ended before it was ready: {:?}", self.child.wait());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("an exit status");
    }

    /// Asks it to end (SIGTERM) and waits for it.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        wait(&mut self.child)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a statement over HTTP; rows as JSON objects.
    pub fn sql(&self, sql: &str) -> Vec<serde_json::Value> {
        self.try_sql(sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Runs a statement over HTTP; the error is the answer's body.
    pub fn try_sql(&self, sql: &str) -> Result<Vec<serde_json::Value>, String> {
        let (status, body) = self.post("/v1/sql?format=ndjson", "text/plain", sql.as_bytes());
        let text = String::from_utf8_lossy(&body).into_owned();
        if status != 200 {
            return Err(text);
        }
        text.lines().map(|l| serde_json::from_str(l).map_err(|e| format!("{e}: {l}"))).collect()
    }

    /// The one number that a statement answers.
    pub fn number(&self, sql: &str) -> f64 {
        let rows = self.sql(sql);
        let value = rows.first().and_then(|row| row.as_object()?.values().next()).unwrap_or_else(|| {
            panic!("{sql}: no row");
        });
        let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
        number.unwrap_or_else(|| panic!("{sql}: {value} is no number"))
    }

    /// `GET path`: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let (status, body) = request(self.http, &format!("GET {path} HTTP/1.1"), "", &[]).expect("an answer");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// `POST path`: status and body.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let head = format!("content-type: {content_type}\r\n");
        request(self.http, &format!("POST {path} HTTP/1.1"), &head, body).expect("an answer")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may be gone already: that is what some tests are about.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process that must end.
pub fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "process {} does not end", child.id());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks again and again until `done` says yes; panics with `what` when it never does.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One HTTP/1.1 request on a connection of its own.
fn request(to: SocketAddr, line: &str, head: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{line}\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {}\r\n{head}\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let bad = || std::io::Error::new(std::io::ErrorKind::InvalidData, "not an HTTP answer");
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(bad)?;
    let head = String::from_utf8_lossy(&answer[..split]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(bad)?;
    let body = &answer[split + 4..];
    let chunked = head.contains("transfer-encoding: chunked");
    Ok((status, if chunked { unchunk(body).ok_or_else(bad)? } else { body.to_vec() }))
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        if length == 0 {
            return Some(out);
        }
        out.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}
