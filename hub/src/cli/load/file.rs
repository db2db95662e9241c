//! The rows of a file, in order, as blocks of the stream's columns.

use super::block::Block;
use super::csv::Records as Csv;
use super::faults::Faults;
use super::mapping::Target;
use super::ndjson::{self, Objects};
use super::{CliError, parquet, text};
use clap::ValueEnum;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Rows read at a time; also the most that one evaluation takes.
pub(super) const ROWS: usize = 1024;

/// What kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Apache Parquet
    Parquet,
    /// Columns separated by commas, with a header line
    Csv,
    /// One JSON object per line
    #[value(name = "ndjson")]
    NdJson,
}

impl Kind {
    /// Its name in journals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::NdJson => "ndjson",
        }
    }

    /// As `given`, else by the file's extension.
    pub fn of(path: &Path, given: Option<Self>) -> Result<Self, CliError> {
        if path.as_os_str() == "-" || std::fs::metadata(path).is_ok_and(|file| !file.is_file()) {
            let message = "a load reads its file more than once: standard input, pipes and directories cannot be loaded";
            return Err(CliError::file(path, message));
        }
        let unknown = "the extension does not say the format: name it with --format parquet, csv or ndjson";
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
        match (given, extension.as_deref()) {
            (Some(kind), _) => Ok(kind),
            (None, Some("parquet" | "pq")) => Ok(Self::Parquet),
            (None, Some("csv")) => Ok(Self::Csv),
            (None, Some("ndjson" | "jsonl")) => Ok(Self::NdJson),
            (None, Some("json")) => match first_byte(path).map_err(|error| CliError::file(path, error))? {
                Some(b'{') => Ok(Self::NdJson),
                _ => {
                    let message = "it does not begin with a JSON object: NDJSON has one per line (jq -c '.[]' makes it \
                                   of an array); other formats are named with --format";
                    Err(CliError::file(path, message))
                }
            },
            (None, Some("gz" | "zst" | "bz2" | "xz" | "zip" | "lz4")) => Err(CliError::file(
                path,
                "packed files are not read: unpack it first (a Parquet file packs by itself)",
            )),
            (None, _) => Err(CliError::file(path, unknown)),
        }
    }

    /// The file's columns, and the number of its rows where that is known.
    pub fn columns(self, path: &Path, bytes: u64) -> Result<(Vec<String>, Option<u64>), CliError> {
        let columns = match self {
            Self::Parquet => parquet::names(path),
            Self::Csv => Csv::open(path, bytes).map(|(_, names)| (names, None)),
            Self::NdJson => ndjson::names(path, bytes).map(|names| (names, None)),
        };
        columns.map_err(|error| CliError::file(path, error))
    }
}

/// The first byte that is not blank, within what is read at once.
fn first_byte(path: &Path) -> io::Result<Option<u8>> {
    let mut file = BufReader::new(File::open(path)?);
    let text = file.fill_buf()?;
    let text = text.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(text);
    Ok(text.trim_ascii_start().first().copied())
}

/// A file's rows from some row on.
pub(super) struct Rows {
    kind: Kind,
    path: PathBuf,
    bytes: u64,
    names: Vec<String>,
    source: Source,
    /// The number of the next row.
    pub position: u64,
}

enum Source {
    Text(Box<dyn text::Records>),
    Parquet(Box<parquet::Reader>),
}

impl Rows {
    /// Opens the first `bytes` of `path` at their first row.
    pub fn open(
        kind: Kind,
        (path, bytes): (&Path, u64),
        names: &[String],
        targets: &[Target],
    ) -> Result<Self, CliError> {
        let source = match kind {
            Kind::Parquet => {
                parquet::Reader::open(path, targets, ROWS).map(|reader| Source::Parquet(Box::new(reader)))
            }
            Kind::Csv => Csv::open(path, bytes).map(|(records, _)| Source::Text(Box::new(records))),
            Kind::NdJson => Objects::open(path, bytes, names).map(|objects| Source::Text(Box::new(objects))),
        };
        let source = source.map_err(|error| CliError::file(path, error))?;
        Ok(Self { kind, path: path.into(), bytes, names: names.to_vec(), source, position: 0 })
    }

    /// Goes back to the first row.
    pub fn rewind(&mut self, targets: &[Target]) -> Result<(), CliError> {
        *self = Self::open(self.kind, (&self.path, self.bytes), &self.names, targets)?;
        Ok(())
    }

    /// Up to `ROWS` rows, at most `max`; `None` at the end of the file. Rows that cannot be taken are in `faults`,
    /// and then the block is not what the file says.
    pub fn next<'a>(
        &mut self,
        max: u64,
        targets: &'a [Target],
        faults: &mut Faults,
    ) -> Result<Option<Block<'a>>, CliError> {
        let max = usize::try_from(max).unwrap_or(ROWS).min(ROWS);
        let mut block = Block::new(targets);
        let passed = match &mut self.source {
            Source::Text(records) => text::read(records.as_mut(), max, &mut block, faults),
            Source::Parquet(reader) => reader.read(max, targets, &mut block, faults),
        };
        let passed = self.pass(passed)?;
        Ok((passed > 0).then_some(block))
    }

    /// Moves on to row `to`; false when the file ends before.
    pub fn skip_to(&mut self, to: u64) -> Result<bool, CliError> {
        while self.position < to {
            let left = usize::try_from(to - self.position).unwrap_or(ROWS);
            let passed = match &mut self.source {
                Source::Text(records) => records.advance().map(usize::from),
                Source::Parquet(reader) => reader.skip(left),
            };
            if self.pass(passed)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn pass(&mut self, passed: io::Result<usize>) -> Result<usize, CliError> {
        let passed = passed.map_err(|error| CliError::file(&self.path, error))?;
        self.position += passed as u64;
        Ok(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::mapping::resolve;
    use headwater::ids::StreamId;
    use headwater::schema::{Field as Column, StreamSchema};
    use headwater::value::DataType;

    fn schema() -> StreamSchema {
        let field = |name: &str, data_type| Column { name: name.into(), data_type };
        let fields = vec![field("n", DataType::Int64), field("s", DataType::Text)];
        StreamSchema { id: StreamId(1), name: "t".into(), fields }
    }

    /// The sizes of blocks of two rows, and the file again.
    fn read(name: &str, text: &str) -> (Vec<usize>, Faults, Rows) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("write");
        let kind = Kind::of(&path, None).expect("kind");
        let (names, _) = kind.columns(&path, u64::MAX).expect("columns");
        let targets = resolve(&schema(), &names, &[]).expect("mapping");
        let mut rows = Rows::open(kind, (&path, u64::MAX), &names, &targets).expect("rows");
        let (mut sizes, mut faults) = (Vec::new(), Faults::default());
        while let Some(block) = rows.next(2, &targets, &mut faults).expect("block") {
            sizes.push(block.finish(0).0.rows());
        }
        (sizes, faults, Rows::open(kind, (&path, u64::MAX), &names, &targets).expect("again"))
    }

    #[test]
    fn csv_and_ndjson_are_read_in_the_streams_types() {
        let (sizes, _, mut again) = read("x.csv", "S,extra,N\na,1,10\nb,2,20\n,3,\n");
        assert_eq!(sizes, [2, 1]);
        assert!(again.skip_to(2).expect("skip") && again.position == 2);
        assert!(!again.skip_to(9).expect("skip"), "the file has 3 rows");
        let (sizes, ..) =
            read("x.ndjson", "{\"n\":1,\"s\":\"a\"}\n\n{\"s\":null,\"n\":2}\n{\"n\":3,\"more\":[1]}\n");
        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn faults_name_the_line() {
        let (_, faults, _) = read("x.csv", "n,s\n1,\"a\nb\"\n\n1.5,x\n7\n");
        let told = faults.to_string();
        assert!(told.contains("\n  line 5, column n: \"1.5\" is not bigint (wrong_type)"), "{told}");
        assert!(told.contains("\n  line 6, 1 field where the header has 2 (malformed)"), "{told}");
        let text = "{\"n\":1,\"s\":\"a\"}\n\n{\"n\":1.5}\n{\"n\":1\n[1]\n{\"n\":1,\"n\":2}\n{\"s\":5}\n{\"s\":\"\\u00e4\"} x\n";
        let (sizes, faults, _) = read("x.ndjson", text);
        assert_eq!(sizes.iter().sum::<usize>(), 1);
        let told = faults.to_string();
        for expected in [
            "line 3, column n: \"1.5\" is not bigint (wrong_type)",
            "line 4, EOF while parsing an object at byte 6 (malformed)",
            "line 5, a JSON object is expected, not an array (malformed)",
            "line 6, a column is given twice at byte 10 (malformed)",
            "line 7, column s: 5 is not text (wrong_type)",
            "line 8, trailing characters at byte 16 (malformed)",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }

    #[test]
    fn kinds_are_told_by_extension() {
        assert_eq!(Kind::of("a/B.PARQUET".as_ref(), None).expect("kind"), Kind::Parquet);
        assert_eq!(Kind::of("a/b.csv".as_ref(), Some(Kind::NdJson)).expect("kind"), Kind::NdJson);
        let told = |path: &Path| Kind::of(path, None).expect_err("none").to_string();
        for name in ["x.xlsx", "x.tsv", "x.txt", "x"] {
            assert!(told(name.as_ref()).contains("--format parquet, csv or ndjson"), "{name}");
        }
        assert!(told("x.csv.gz".as_ref()).contains("unpack it first"));
        assert!(told("-".as_ref()).contains("standard input"));
        let dir = tempfile::tempdir().expect("dir");
        assert!(told(dir.path()).contains("directories"));
        let path = dir.path().join("x.json");
        std::fs::write(&path, "\n {\"a\":1}\n").expect("write");
        assert_eq!(Kind::of(&path, None).expect("kind"), Kind::NdJson);
        std::fs::write(&path, "[{\"a\":1}]").expect("write");
        assert!(told(&path).contains("one per line"));
    }
}
