//! Sends the flights: several threads emit one by one, as a program's threads would.

use crate::cell::grouped;
use crate::flights::Flights;
use headwater::client::{Client, EmitError, Emitter, Stats};
use headwater::wire::AckLevel;
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::time::{Duration, Instant};

/// Events between two looks at the progress bar, so that it costs nothing.
const STEP: usize = 10_000;

/// What feeding took.
pub struct Fed {
    emitted: Duration,
    durable: Duration,
    stats: Stats,
}

/// Emits all flights from `threads` threads and waits until the hub has them on disk.
pub async fn feed(client: &Client, flights: &Flights, threads: usize) -> Result<Fed, Box<dyn Error>> {
    // Plans are there before the clock starts: what is measured is emitting, not connecting.
    client.schema("flights").await?;
    let bar = ProgressBar::new(flights.len() as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} flights, {per_sec}, {elapsed}",
    )?);
    let start = Instant::now();
    tokio::task::block_in_place(|| emit_all(client, flights, threads, &bar))?;
    let emitted = start.elapsed();
    client.flush(AckLevel::Durable).await?;
    let durable = start.elapsed();
    bar.finish_and_clear();
    Ok(Fed { emitted, durable, stats: client.stats() })
}

fn emit_all(client: &Client, flights: &Flights, threads: usize, bar: &ProgressBar) -> Result<(), EmitError> {
    let share = flights.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|i| {
                let emitter = client.stream("flights");
                let rows = i * share..flights.len().min((i + 1) * share);
                scope.spawn(move || emit_rows(&emitter, flights, rows, bar))
            })
            .collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap_or(Err(EmitError::Closed)));
        ended.collect()
    })
}

fn emit_rows(
    emitter: &Emitter,
    flights: &Flights,
    rows: std::ops::Range<usize>,
    bar: &ProgressBar,
) -> Result<(), EmitError> {
    for (i, row) in rows.clone().enumerate() {
        let flight = flights.get(row);
        // A full outbox is the hub's way of asking for time.
        while let Err(error) = emitter.emit(&flight) {
            match error {
                EmitError::Backpressure => std::thread::sleep(Duration::from_millis(1)),
                error => return Err(error),
            }
        }
        if i % STEP == STEP - 1 {
            bar.inc(STEP as u64);
        }
    }
    bar.inc((rows.len() % STEP) as u64);
    Ok(())
}

impl Fed {
    /// Prints rates and bytes.
    pub fn print(&self, events: usize, ndjson_bytes: u64) {
        let rate = |time: Duration| grouped((events as f64 / time.as_secs_f64()) as i128);
        println!("emitted in {:.2?}: {} events/s", self.emitted, rate(self.emitted));
        println!("durable in {:.2?}: {} events/s", self.durable, rate(self.durable));
        let (sent, outbox) = (self.stats.wire.sent, &self.stats.outbox);
        println!(
            "{} bytes on the wire in {} batches, {:.2} per event; the events as NDJSON: {} bytes, {:.0} times as many",
            grouped(i128::from(sent)),
            grouped(i128::from(outbox.acked_batches)),
            sent as f64 / events as f64,
            grouped(i128::from(ndjson_bytes)),
            ndjson_bytes as f64 / sent.max(1) as f64
        );
    }
}
