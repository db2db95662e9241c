//! Taking a figure: several runs, the median, and how far the runs were apart.

use std::time::{Duration, Instant};

/// Runs of one program.
#[derive(Clone, Debug)]
pub struct Runs(Vec<Duration>);

impl Runs {
    /// The time that half of the runs did not need.
    pub fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    /// (slowest - fastest) / median: above 0.1 the machine was not quiet.
    pub fn spread(&self) -> f64 {
        let range = self.0[self.0.len() - 1] - self.0[0];
        range.as_secs_f64() / self.median().as_secs_f64()
    }

    /// Things per second at the median.
    pub fn rate(&self, things: usize) -> f64 {
        things as f64 / self.median().as_secs_f64()
    }
}

/// Times `work` on what `prepare` made, `runs` times (at least once) after one run that is not counted.
/// What `work` returns is dropped outside the measured time.
pub fn time<T, R>(runs: usize, mut prepare: impl FnMut() -> T, mut work: impl FnMut(T) -> R) -> Runs {
    std::hint::black_box(work(prepare()));
    let mut times: Vec<Duration> = (0..runs.max(1))
        .map(|_| {
            let input = prepare();
            let start = Instant::now();
            let output = std::hint::black_box(work(input));
            let time = start.elapsed();
            drop(output);
            time
        })
        .collect();
    times.sort();
    Runs(times)
}

/// Prints one figure: what, per second, and against the first figure of the table (`base` per second).
pub fn print_rate(name: &str, unit: &str, things: usize, runs: &Runs, base: Option<f64>) {
    let rate = runs.rate(things);
    let ratio = base.map_or_else(String::new, |base| format!("{:>8.2} x", rate / base));
    println!("{name:<44} {:>10.2} M {unit}/s  spread {:>4.1} %{ratio}", rate / 1e6, 100.0 * runs.spread());
}

/// The processor and the number of cores, for the head of a table.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map(|l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{}, {cores} cores", model.unwrap_or("unknown processor"))
}
