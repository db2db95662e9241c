//! A program that counts, made to be killed: it emits numbered events with a disk spool, and says on stdout what is
//! safe. Started by the end-to-end tests.
//!
//! `producer ADDRESS FINGERPRINT SPOOL RUN EVENTS`: after each flush it prints `safe N` (events 0..N are durable),
//! at the end `done`.

use headwater::client::{Client, ConnectOptions, EmitError};
use headwater::wire::AckLevel;
use serde::Serialize;
use std::error::Error;
use std::io::Write;

#[derive(Serialize)]
struct Tick {
    run: i64,
    id: i64,
}

/// Events between two barriers.
const STEP: i64 = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, fingerprint, spool, run, events] = args.as_slice() else {
        return Err("usage: producer ADDRESS FINGERPRINT SPOOL RUN EVENTS".into());
    };
    let mut options = ConnectOptions::development(address.as_str(), fingerprint.parse()?);
    options.spool = Some(spool.into());
    options.lazy = true;
    let client = Client::connect(options).await?;
    let ticks = client.stream("ticks");
    let (run, events): (i64, i64) = (run.parse()?, events.parse()?);
    for id in 0..events {
        while let Err(error) = ticks.emit(&Tick { run, id }) {
            match error {
                EmitError::Backpressure | EmitError::WaitingFull => tokio::task::yield_now().await,
                error => return Err(error.into()),
            }
        }
        if (id + 1) % STEP == 0 {
            client.flush(AckLevel::Durable).await?;
            let mut out = std::io::stdout();
            writeln!(out, "safe {}", id + 1)?;
            out.flush()?;
        }
    }
    client.flush(AckLevel::Durable).await?;
    println!("done {}", client.stats().outbox.acked_events);
    client.close().await;
    Ok(())
}
