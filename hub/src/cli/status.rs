//! `headwater status`: what a hub holds and what became of its events.

use super::connect::ConnectArgs;
use super::table::{Format, render};
use super::{CliError, out, runtime};

/// Flags of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The parts of the status: a title, and the statement that answers it.
const PARTS: [(&str, &str); 4] = [
    ("Hub", "SELECT name, value FROM headwater.status"),
    ("Ledger", "SELECT outcome, reason, count FROM headwater.ledger"),
    ("Views", "SELECT \"view\", stream, groups, other, quarantined FROM headwater.view_sizes ORDER BY 1"),
    ("Shard groups", "SELECT * FROM headwater.shard_groups ORDER BY 1"),
];

pub(super) fn run(args: &StatusArgs) -> Result<(), CliError> {
    runtime()?.block_on(async {
        let client = args.connect.connect().await?;
        for (title, sql) in PARTS {
            let rows = client.query(sql).await?;
            if args.format == Format::Aligned {
                out::print(&format!("{title}\n"))?;
            }
            out::print(&format!("{}\n", render(&rows, args.format, false)))?;
        }
        client.close().await;
        Ok(())
    })
}
