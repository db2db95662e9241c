//! `headwater load`: a file's rows into a stream, exactly once, however often it is interrupted.
//!
//! Owns: the order of things. One load is one producer identity; its batches are runs of rows, numbered in
//! the file's order and written to a [`journal`] before they are sent. Whoever continues builds what the hub
//! does not hold yet from the same rows under the same numbers, so that the hub's dots decide what counts.
//! Must not know: how SQL or states work.

mod block;
mod csv;
mod faults;
mod file;
mod journal;
mod lines;
mod link;
mod mapping;
mod ndjson;
mod parquet;
mod pump;
mod rows;
mod text;
mod times;

use super::connect::ConnectArgs;
use super::{CliError, out, runtime};
use file::{Kind, Rows};
use headwater::client::{Client, ConnectOptions};
use headwater::expr::iso_timestamp;
use headwater::ids::{Micros, Pid, Seq};
use indicatif::{ProgressBar, ProgressStyle};
use journal::{Head, Journal, Twin};
use link::Link;
use mapping::Target;
use pump::{Pump, Report};
use rows::Builder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Silence after which a connection is dead: rows are always on their way, so a hub that lives is heard.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// As shells tell that SIGINT ended a program.
const INTERRUPTED: i32 = 130;

/// Flags of `load`.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// The file: .parquet, .csv (with a header line; an empty field is NULL, "" is empty text), .ndjson, .jsonl, or
    /// .json with one object per line. NaN reads as NULL, and how many is told. Text and bytea may have 64 KiB, as for
    /// emit. A fraction is no integer; more digits than a numeric's scale round half away from zero
    file: PathBuf,
    /// The file's format, whatever its extension
    #[arg(long, value_enum)]
    format: Option<Kind>,
    /// The stream
    #[arg(short, long, value_name = "STREAM")]
    stream: String,
    /// Feed a stream's column from this column of the file; nothing after = leaves it NULL. May be given several
    /// times. Others meet by name. arrival_timestamp is the start of the load unless a column feeds it: then the
    /// rows count in the time buckets of their own time, however long ago, and where it is NULL at the start of the
    /// load; how many is told
    #[arg(short, long = "map", value_name = "COLUMN=FILE_COLUMN")]
    maps: Vec<String>,
    /// Rows per batch (1 to 10000000); fewer where a batch would become too large
    #[arg(long, value_name = "ROWS", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    batch_rows: u64,
    /// Where to remember what was sent; a file of its own per load. Default: in the user's state directory
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Load a file again that was loaded already: its rows count once more
    #[arg(long)]
    again: bool,
    /// Send at once instead of reading every row first. A row that cannot be read then ends the load in the
    /// middle: the rows before it count, and a mended file is another file, which counts them again
    #[arg(long)]
    unchecked: bool,
    /// Rows bring their own time but are no history: time buckets older than the hub's late_max_ms are left out
    /// (told at the end, and groups_late in `headwater status`), as from any other producer
    #[arg(long)]
    live: bool,
    /// Load rows whose times look wrong as they are: some in the future, which views that group by time leave out, or
    /// all before 1980
    #[arg(long)]
    any_time: bool,
    /// Seconds to wait for a hub that went away or takes no rows before giving up (at most a year); the next run
    /// continues
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=31_536_000))]
    patience: u64,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) fn run(args: &LoadArgs) -> Result<(), CliError> {
    let kind = Kind::of(&args.file, args.format)?;
    let contents = journal::contents(&args.file)?;
    let bytes = contents.bytes;
    let (names, total) = kind.columns(&args.file, bytes)?;
    let mut options = args.connect.options()?;
    options.transport.idle_timeout = SILENCE_MAX.min(Duration::from_secs(args.patience.max(1)));
    options.transport.keep_alive = options.transport.idle_timeout / 3;
    runtime()?.block_on(async {
        let bar = progress(total);
        let mut interrupt = JoinSet::new();
        interrupt.spawn(end_on_interrupt(bar.clone()));
        let mut link = args.connect.unless_refused(Link::open(&options, &args.stream)).await?;
        let plans = link.first.clone();
        let targets = mapping::resolve(&plans.schema, &names, &args.maps)?;
        let unused = mapping::unused(&targets, &names);
        if !unused.is_empty() {
            out::note(&format!("columns of the file that feed none of the stream's: {}", unused.join(", ")));
        }
        let columns = mapping::describe(&targets, &names);
        let head = Head::new(
            &link.welcome,
            &plans.schema,
            (contents, kind.name()),
            columns,
            new_pid(link.welcome.time)?,
        );
        let path = args.journal.clone().unwrap_or_else(|| head.default_path());
        let mut journal = open_journal(&path, &head, args)?;
        if let Some(rows) = journal.done
            && is_held(&mut link, &mut journal).await?
        {
            return out::print(&format!(
                "{} is in stream {} already ({}; views that were made since then do not have them); load it once more \
                 with --again\n",
                args.file.display(),
                args.stream,
                counted(rows, "row", "rows")
            ));
        }
        let started = journal.head.started;
        let builder = |targets: Vec<Target>| {
            let rows = Rows::open(kind, (&args.file, bytes), &names, &targets)?;
            Ok::<_, CliError>(Builder::new(rows, targets, started, &plans, &link.welcome.limits))
        };
        let begun = Instant::now();
        if journal.next_row() == 0
            && !args.unchecked
            && let Err(error) = builder(targets.clone()).and_then(|builder| check(builder, args.any_time, &bar))
        {
            forget_empty(journal, &path);
            return Err(nothing_sent(error));
        }
        let checked = begun.elapsed();
        if plans.plans.is_empty() {
            forget_empty(journal, &path);
            return Err(no_view(&args.stream));
        }
        let builder = builder(targets)?;
        load(args, options, link, journal, builder, (bar, checked)).await
    })
}

/// Ends a load whose rows cannot be read, or cannot be meant.
fn check(builder: Builder, any_time: bool, bar: &ProgressBar) -> Result<(), CliError> {
    bar.set_message("checked, ");
    let odd = builder.check(|rows| bar.inc(rows))?;
    bar.set_message("");
    bar.set_position(0);
    bar.reset_eta();
    match times::doubt(&odd).filter(|_| !any_time) {
        Some(doubt) => Err(CliError::Rows(doubt)),
        None => Ok(()),
    }
}

/// The journal of a load; a new one where a file that was loaded is to be loaded `again`.
fn open_journal(path: &Path, head: &Head, args: &LoadArgs) -> Result<Journal, CliError> {
    let journal = Journal::open(path, head)?;
    if !args.again
        && journal.next_row() == 0
        && let Some((other, twin)) = head.twin(&args.file, &Head::default_dir(), path)
    {
        forget_empty(journal, path);
        return Err(loaded_otherwise(args, &other, twin));
    }
    if journal.done.is_none() || !args.again {
        return Ok(journal);
    }
    journal.remove(path).map_err(|e| CliError::file(path, e))?;
    Journal::open(path, head)
}

/// A journal that knows of nothing sent would be in the way of the mended file.
fn forget_empty(journal: Journal, path: &Path) {
    if journal.next_row() == 0 {
        let _ = journal.remove(path);
    }
}

fn loaded_otherwise(args: &LoadArgs, journal: &Path, twin: Twin) -> CliError {
    let from = match twin {
        Twin::Same => "from a load with other columns or another --journal",
        Twin::Beginning => "loaded before the file grew",
    };
    let (file, stream, journal) = (args.file.display(), &args.stream, journal.display());
    CliError::Usage(format!(
        "rows of {file} are in stream {stream} already, {from} (journal: {journal}): they would count twice; load the new \
         rows as a file of their own, or all of them again with --again"
    ))
}

fn no_view(stream: &str) -> CliError {
    CliError::Usage(format!(
        "no view reads stream {stream}: nothing of the rows would be kept; CREATE CONTINUOUS VIEW first"
    ))
}

/// Ctrl-C ends the process, as it may at any moment, but not without a word.
async fn end_on_interrupt(bar: ProgressBar) {
    if tokio::signal::ctrl_c().await.is_ok() {
        bar.finish_and_clear();
        out::note("headwater: interrupted; run the same command again to continue");
        std::process::exit(INTERRUPTED);
    }
}

fn nothing_sent(error: CliError) -> CliError {
    match error {
        CliError::Rows(message) => CliError::Rows(format!("{message}\nno row was sent")),
        CliError::File { path, message } => {
            CliError::File { path, message: format!("{message}; no row was sent") }
        }
        other => other,
    }
}

/// Asks the hub whether it holds what a finished journal says. What it has forgotten by now it once held.
async fn is_held(link: &mut Link, journal: &mut Journal) -> Result<bool, CliError> {
    let pid = journal.pid().ok_or_else(|| CliError::Other("the journal's producer is not one".into()))?;
    let resumed = link.resume(pid, Seq(1)).await?;
    let missing: u64 = pump::missing(&resumed, journal).iter().map(|range| range.rows).sum();
    if resumed.expired || missing == 0 {
        return Ok(true);
    }
    out::note(&pump::lost_rows(missing));
    journal.done = None;
    Ok(false)
}

async fn load(
    args: &LoadArgs,
    options: ConnectOptions,
    link: Link,
    journal: Journal,
    builder: Builder,
    (bar, checked): (ProgressBar, Duration),
) -> Result<(), CliError> {
    let begun = Instant::now();
    let (was, patience) = (journal.next_row(), Duration::from_secs(args.patience));
    let before = left_out(&options).await;
    let contents = journal.head.file.clone();
    let (stream, started, asked) = (args.stream.clone(), journal.head.started, options.clone());
    let pump = Pump::new(options, stream, link, journal, builder, bar.clone(), patience)?;
    let pump = if args.live { pump.live() } else { pump };
    let result = pump.run(args.batch_rows).await;
    bar.finish_and_clear();
    let report = result?;
    still_the_same(&args.file, &contents)?;
    tell(args, &report, was, (checked, begun.elapsed()));
    odd(&report, started);
    late(&before, &left_out(&asked).await);
    Ok(())
}

/// What was sent is what the file was when the load began. Where it is not that any more, rows of both may have been
/// sent.
fn still_the_same(path: &Path, begun: &journal::Contents) -> Result<(), CliError> {
    if journal::contents_within(path, begun.bytes)? != *begun {
        let message = "the file changed while it was loaded: rows of before and after may have been counted";
        return Err(CliError::file(path, message));
    }
    let bytes = std::fs::metadata(path).map_err(|e| CliError::file(path, e))?.len();
    if bytes > begun.bytes {
        out::note(&format!(
            "warning: {} appended to the file while it was loaded and left out, and the file as it is now is another one: a \
             load of it would count all its rows, those of this load again",
            counted(bytes - begun.bytes, "byte was", "bytes were")
        ));
    }
    Ok(())
}

/// Groups that the hub has left out so far, by reason; empty when it does not say.
async fn left_out(options: &ConnectOptions) -> BTreeMap<String, i64> {
    let sql = "SELECT reason, count FROM headwater.ledger WHERE outcome = 'groups left out'";
    let Ok(client) = Client::connect(options.clone()).await else { return BTreeMap::new() };
    let rows: Vec<(String, i64)> = client.query_as(sql).await.unwrap_or_default();
    client.close().await;
    rows.into_iter().collect()
}

/// What only the hub sees, which has one count for all producers.
fn late(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) {
    let more = |(reason, count): (&String, &i64)| {
        let more = count - before.get(reason)?;
        (more > 0).then(|| format!("{more} {reason}"))
    };
    let told: Vec<String> = after.iter().filter_map(more).collect();
    if !told.is_empty() {
        out::note(&format!(
            "warning: meanwhile the hub left out groups with all their rows, of this load or of others: {} (`headwater \
             status` counts them)",
            told.join(", ")
        ));
    }
}

/// How many of what there are.
fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `checked` and `sent`: how long either took.
fn tell(args: &LoadArgs, report: &Report, was: u64, (checked, sent): (Duration, Duration)) {
    let (checking, sending) = (checked.as_secs_f64(), sent.as_secs_f64());
    let continued = if was > 0 { format!(", continued after row {was}") } else { String::new() };
    // The rows count, whoever reads this.
    let _ = out::print(&format!(
        "{}: {} in stream {}{continued} ({}, {} sent; {checking:.1} s to check, {sending:.1} s to send: {:.0} rows/s in all)\n",
        args.file.display(),
        counted(report.rows, "row", "rows"),
        args.stream,
        counted(report.batches, "batch", "batches"),
        counted(report.bytes, "byte", "bytes"),
        report.sent_rows as f64 / (checking + sending).max(0.001),
    ));
}

/// Warns of what was read in another way than it may look, and of what is in no view.
fn odd(report: &Report, started: i64) {
    if report.odd.nans > 0 {
        let nans = counted(report.odd.nans, "NaN value was", "NaN values were");
        out::note(&format!("warning: {nans} read as NULL"));
    }
    if report.odd.timeless > 0 {
        out::note(&format!(
            "warning: {} no arrival_timestamp (NULL): they count at the start of the load, {}",
            counted(report.odd.timeless, "row has", "rows have"),
            iso_timestamp(started)
        ));
    }
    if report.odd.future > 0 {
        let rows = counted(report.odd.future, "row lies", "rows lie");
        out::note(&format!("warning: {rows} in the future; views that group by time left them out"));
    }
    if report.oversized > 0 {
        let groups = counted(report.oversized, "group is", "groups are");
        out::note(&format!("warning: {groups} too large for a batch: left out"));
    }
    if !report.rejected.is_empty() {
        let reasons: Vec<String> =
            report.rejected.iter().map(|(reason, rows)| format!("{rows} {}", reason.code())).collect();
        out::note(&format!(
            "warning: views left out rows that they cannot count, each for itself: {}",
            reasons.join(", ")
        ));
    }
}

fn progress(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(rows) => {
            (ProgressBar::new(rows), "{bar:40} {msg}{human_pos}/{human_len} rows  {per_sec}  {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {msg}{human_pos} rows  {per_sec}  {elapsed}"),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Born by the hub's clock: it judges the age.
fn new_pid(born: Micros) -> Result<Pid, CliError> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| CliError::Other(format!("no random numbers: {error}")))?;
    Ok(Pid::new(u64::try_from(born.millis()).unwrap_or(0), random))
}
