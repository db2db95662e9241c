//! Counts of what ran, read from the test runners' own lines, and the table at the end.

use std::time::Duration;

/// What one step, or one command of it, counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// Runners' lines worth repeating at the end.
    pub lines: Vec<String>,
    /// What went wrong or was skipped, in a few words.
    pub note: String,
    /// Tests that said that they are slow, and not yet how they ended.
    pub slow: Vec<String>,
    /// What runs now, as the runner announced it.
    subject: String,
}

impl Tally {
    /// A check without a test runner that passed.
    pub fn success() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// One thing that failed.
    pub fn failure(note: impl Into<String>) -> Self {
        Self { failed: 1, note: note.into(), ..Self::default() }
    }

    /// One thing that could not run here.
    pub fn skip(note: impl Into<String>) -> Self {
        Self { skipped: 1, note: note.into(), ..Self::default() }
    }

    /// Adds another command of the same step.
    pub fn and(mut self, other: Self) -> Self {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.lines.extend(other.lines);
        if self.note.is_empty() {
            self.note = other.note;
        }
        self
    }

    /// Reads one line of a command's output; lines that are not a runner's are ignored.
    pub fn read_line(&mut self, line: &str) {
        let line = strip_ansi(line);
        let line = line.trim();
        self.read_test(line);
        if let Some(rest) = line.strip_prefix("Running ").or_else(|| line.strip_prefix("Doc-tests ")) {
            self.subject = rest.split(" (").next().unwrap_or(rest).to_owned();
        } else if line.starts_with("test result:") {
            self.read_cargo(line);
        } else if let Some(rest) = line.strip_prefix("# ").or_else(|| line.strip_prefix("\u{2139} ")) {
            self.read_node(line, rest);
        }
    }

    /// `test a::b has been running for over 60 seconds`, `test a::b ... ok`.
    fn read_test(&mut self, line: &str) {
        let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.split(' ').next()) else { return };
        self.slow.retain(|slow| slow != name);
        if line.contains("has been running for over") {
            self.slow.push(name.to_owned());
        }
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; ...`
    fn read_cargo(&mut self, line: &str) {
        let count = |what: &str| -> u64 {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|w| w.trim_end_matches(';') == what);
            at.and_then(|i| words.get(i.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
        };
        let (passed, failed, ignored) = (count("passed"), count("failed"), count("ignored"));
        self.passed += passed;
        self.failed += failed;
        self.skipped += ignored;
        if passed + failed + ignored > 0 {
            self.lines.push(format!("{:<44} {line}", self.subject));
        }
    }

    /// `# pass 3`, or the same with an information sign: the two reporters of Node's test runner.
    fn read_node(&mut self, line: &str, rest: &str) {
        let Some((what, Ok(n))) = rest.split_once(' ').map(|(what, n)| (what, n.trim().parse::<u64>()))
        else {
            return;
        };
        match what {
            "pass" => self.passed += n,
            "fail" | "cancelled" => self.failed += n,
            "skipped" | "todo" => self.skipped += n,
            _ => return,
        }
        self.lines.push(format!("{:<44} {line}", "node"));
    }
}

fn strip_ansi(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            out.push(c);
        }
    }
    out
}

/// All steps, in order.
#[derive(Default)]
pub struct Report {
    rows: Vec<(&'static str, Tally, Duration)>,
}

impl Report {
    /// Records a step.
    pub fn add(&mut self, name: &'static str, tally: Tally, time: Duration) {
        self.rows.push((name, tally, time));
    }

    /// True when anything failed.
    pub fn failed(&self) -> bool {
        self.rows.iter().any(|(_, tally, _)| tally.failed > 0)
    }

    /// Prints the runners' lines, the table and the last line.
    pub fn print(&self) {
        println!();
        for line in self.rows.iter().flat_map(|(_, tally, _)| &tally.lines) {
            println!("{line}");
        }
        println!("\n{:<12} {:>7} {:>7} {:>7} {:>9}", "step", "passed", "failed", "skipped", "seconds");
        for (name, t, time) in &self.rows {
            let seconds = time.as_secs_f64();
            println!(
                "{name:<12} {:>7} {:>7} {:>7} {seconds:>9.1}  {}",
                t.passed, t.failed, t.skipped, t.note
            );
        }
        let sum = |of: fn(&Tally) -> u64| self.rows.iter().map(|(_, t, _)| of(t)).sum::<u64>();
        let seconds: f64 = self.rows.iter().map(|(_, _, time)| time.as_secs_f64()).sum();
        println!("total {seconds:.0} s");
        println!(
            "{} passed, {} failed, {} skipped",
            sum(|t| t.passed),
            sum(|t| t.failed),
            sum(|t| t.skipped)
        );
    }
}
