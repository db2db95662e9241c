//! `cargo demo`: the main job on real data. Three million flights go through the native SDK into a hub on an
//! embedded file; the views' answers are printed beside the exact ones.
//!
//! Owns: the order of things and the exit code: 0 only when every exact aggregate is equal and every approximate
//! one is within its stated error.

mod args;
mod cell;
mod compare;
mod exact;
mod feed;
mod flights;
mod hub;
mod setup;
mod views;

use crate::cell::{Cell, grouped};
use compare::Answer;
use flights::Flights;
use headwater::client::{Client, Rows};
use hub::DemoHub;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match demo(&args).await {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The work, then the hub for whoever wants to look around; what is wrong with the answers.
async fn demo(args: &args::Args) -> Result<Vec<String>, Box<dyn Error>> {
    let (hub, faults) = tokio::select! {
        done = work(args) => done?,
        // Dropping the work removes its data.
        interrupt = hub::ended() => {
            interrupt?;
            return Err("interrupted".into());
        }
    };
    if args.serve {
        hub.serve().await?;
    }
    hub.stop().await?;
    Ok(faults)
}

async fn work(args: &args::Args) -> Result<(DemoHub, Vec<String>), Box<dyn Error>> {
    let file = setup::flights_file()?;
    let start = Instant::now();
    let context = exact::open(&file).await?;
    let flights = Flights::read(&context).await?;
    println!("{} flights from {} in {:.1?}", grouped(flights.len() as i128), file.display(), start.elapsed());

    let hub = hub::start(args.dir.as_deref()).await?;
    println!("hub on {}, data in {}", hub.quic, hub.dir.display());
    let client = Client::connect(hub.connect_options()?).await?;
    let views = views::views();
    client.query(views::STREAM).await?;
    for view in views.iter().filter(|view| !view.create.is_empty()) {
        client.query(&view.create).await?;
    }

    let fed = feed::feed(&client, &flights, args.threads).await?;
    fed.print(flights.len(), flights.ndjson_bytes());

    let mut faults = Vec::new();
    for view in &views {
        let start = Instant::now();
        let answer = answer(client.query(&view.read).await?);
        let time = start.elapsed();
        let exact = exact::query(&context, &view.exact).await?;
        faults.extend(compare::compare(view, &answer, &exact, time)?);
    }
    println!(
        "\nworst error: relative to the exact value; of top, what is missing of a count as a part of all events"
    );
    let verdict = if faults.is_empty() {
        "every answer is exact or within its stated error"
    } else {
        "there are wrong answers"
    };
    println!("\n{verdict}");
    // Before the hub is left to the user, who may end it with a signal.
    faults.iter().for_each(|fault| println!("WRONG: {fault}"));
    client.close().await;
    Ok((hub, faults))
}

fn answer(rows: Rows) -> Answer {
    let names = rows.columns.iter().map(|column| column.name.clone()).collect();
    let cells =
        |row: &Vec<_>| row.iter().zip(&rows.columns).map(|(v, c)| Cell::from_hub(v, &c.data_type)).collect();
    Answer { names, rows: rows.rows.iter().map(cells).collect() }
}
