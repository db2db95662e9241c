//! The rows of a file, in order, as record batches of the columns that a stream takes.

use super::mapping::Target;
use super::{CliError, csv};
use headwater::value::DataType;
use headwater_sql::arrow::array::RecordBatch;
use headwater_sql::arrow::datatypes::{DataType as ArrowType, Field, Schema, TimeUnit};
use headwater_sql::arrow::error::ArrowError;
use headwater_sql::arrow::json;
use headwater_sql::parquet::arrow::ProjectionMask;
use headwater_sql::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;
use std::sync::Arc;

/// Rows read at a time; also the most that one evaluation takes.
pub(super) const ROWS: usize = 1024;
/// Records of an NDJSON file that are looked at for its columns.
const INFER: usize = 1024;

/// What kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Apache Parquet.
    Parquet,
    /// CSV with a header line.
    Csv,
    /// One JSON object per line.
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

    /// By the file's extension.
    pub fn of(path: &Path) -> Result<Self, CliError> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_lowercase).as_deref() {
            Some("parquet" | "pq") => Ok(Self::Parquet),
            Some("csv") => Ok(Self::Csv),
            Some("ndjson" | "jsonl") => Ok(Self::NdJson),
            _ => Err(CliError::file(path, "the extension must be parquet, csv, ndjson or jsonl")),
        }
    }

    /// The file's columns, and the number of its rows where that is known.
    pub fn columns(self, path: &Path) -> Result<(Vec<String>, Option<u64>), CliError> {
        let failed = |e: &dyn std::fmt::Display| CliError::file(path, e);
        let file = File::open(path).map_err(|e| failed(&e))?;
        let (schema, rows) = match self {
            Self::Parquet => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(&e))?;
                let rows = builder.metadata().file_metadata().num_rows();
                (Arc::clone(builder.schema()), u64::try_from(rows).ok())
            }
            Self::Csv => return Ok((csv::header(path).map_err(|e| failed(&e))?, None)),
            Self::NdJson => {
                let (schema, _) = json::reader::infer_json_schema(BufReader::new(file), Some(INFER))
                    .map_err(|e| failed(&e))?;
                (Arc::new(schema), None)
            }
        };
        Ok((schema.fields().iter().map(|f| f.name().clone()).collect(), rows))
    }
}

/// A file's rows from some row on. Columns are those of the targets that have a source, in their order.
pub(super) struct Rows {
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    rest: Option<RecordBatch>,
    /// The number of the next row.
    pub position: u64,
}

impl Rows {
    /// Opens `path` at its first row.
    pub fn open(kind: Kind, path: &Path, names: &[String], targets: &[Target]) -> Result<Self, CliError> {
        let failed = |e: &dyn std::fmt::Display| CliError::file(path, e);
        let file = File::open(path).map_err(|e| failed(&e))?;
        let order: Vec<usize> = targets.iter().filter_map(|target| target.source).collect();
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send> = match kind {
            Kind::Parquet => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(&e))?;
                let mask = ProjectionMask::roots(builder.parquet_schema(), order.iter().copied());
                let reader =
                    builder.with_projection(mask).with_batch_size(ROWS).build().map_err(|e| failed(&e))?;
                // The reader keeps the file's order of columns.
                let mut sorted = order.clone();
                sorted.sort_unstable();
                sorted.dedup();
                let places = order.iter().filter_map(|at| sorted.binary_search(at).ok()).collect::<Vec<_>>();
                Box::new(reader.map(move |batch| batch?.project(&places)))
            }
            Kind::Csv => Box::new(csv::Batches::open(path, names, order, ROWS).map_err(|e| failed(&e))?),
            Kind::NdJson => {
                let fields = typed(names, targets);
                let schema = Schema::new(order.iter().map(|at| fields[*at].clone()).collect::<Vec<_>>());
                let reader = json::ReaderBuilder::new(Arc::new(schema)).with_batch_size(ROWS);
                Box::new(reader.build(skip_blank(BufReader::new(file))).map_err(|e| failed(&e))?)
            }
        };
        Ok(Self { batches, rest: None, position: 0 })
    }

    /// Up to `ROWS` rows, at most `max`; `None` at the end of the file.
    pub fn next(&mut self, max: u64) -> Result<Option<RecordBatch>, ArrowError> {
        let batch = loop {
            match self.rest.take() {
                Some(batch) if batch.num_rows() > 0 => break batch,
                _ => match self.batches.next() {
                    Some(batch) => self.rest = Some(batch?),
                    None => return Ok(None),
                },
            }
        };
        let take = usize::try_from(max).unwrap_or(usize::MAX).min(batch.num_rows());
        if take < batch.num_rows() {
            self.rest = Some(batch.slice(take, batch.num_rows() - take));
        }
        self.position += take as u64;
        Ok(Some(batch.slice(0, take)))
    }

    /// Moves on to row `to`; false when the file ends before.
    pub fn skip_to(&mut self, to: u64) -> Result<bool, ArrowError> {
        while self.position < to {
            if self.next(to - self.position)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// JSON's reader takes blank lines; a byte order mark it does not.
fn skip_blank(mut reader: BufReader<File>) -> BufReader<File> {
    let has_mark = reader.fill_buf().is_ok_and(|bytes| bytes.starts_with(&[0xef, 0xbb, 0xbf]));
    if has_mark {
        let _ = reader.seek(std::io::SeekFrom::Start(3));
    }
    reader
}

/// Text formats are read in the types of the stream; columns that nobody wants as text.
fn typed(names: &[String], targets: &[Target]) -> Vec<Field> {
    let wanted = |at: usize| targets.iter().find(|target| target.source == Some(at));
    let field = |(at, name): (usize, &String)| {
        let data_type = wanted(at).map_or(ArrowType::Utf8, |target| text_type(&target.field.data_type));
        Field::new(name, data_type, true)
    };
    names.iter().enumerate().map(field).collect()
}

fn text_type(data_type: &DataType) -> ArrowType {
    match data_type {
        DataType::Bool => ArrowType::Boolean,
        DataType::Int16 => ArrowType::Int16,
        DataType::Int32 => ArrowType::Int32,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float32 => ArrowType::Float32,
        DataType::Float64 => ArrowType::Float64,
        DataType::Decimal { precision, scale } => ArrowType::Decimal128(*precision, scale.cast_signed()),
        DataType::Date => ArrowType::Date32,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => ArrowType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::mapping::resolve;
    use headwater::ids::StreamId;
    use headwater::schema::{Field as Column, StreamSchema};

    fn schema() -> StreamSchema {
        let field = |name: &str, data_type| Column { name: name.into(), data_type };
        let fields = vec![field("n", DataType::Int64), field("s", DataType::Text)];
        StreamSchema { id: StreamId(1), name: "t".into(), fields }
    }

    fn read(name: &str, text: &str) -> (Vec<u64>, Rows) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("write");
        let kind = Kind::of(&path).expect("kind");
        let (names, _) = kind.columns(&path).expect("columns");
        let targets = resolve(&schema(), &names, &[]).expect("mapping");
        let mut rows = Rows::open(kind, &path, &names, &targets).expect("rows");
        let mut sizes = Vec::new();
        while let Some(batch) = rows.next(2).expect("batch") {
            assert_eq!(batch.num_columns(), 2);
            sizes.push(batch.num_rows() as u64);
        }
        (sizes, Rows::open(kind, &path, &names, &targets).expect("again"))
    }

    #[test]
    fn csv_and_ndjson_are_read_in_the_streams_types() {
        let csv = "S,extra,N\na,1,10\nb,2,20\n,3,\n";
        let (sizes, mut again) = read("x.csv", csv);
        assert_eq!(sizes, [2, 1]);
        assert!(again.skip_to(2).expect("skip") && again.position == 2);
        assert!(!again.skip_to(9).expect("skip"), "the file has 3 rows");
        let (sizes, _) =
            read("x.ndjson", "{\"n\":1,\"s\":\"a\"}\n\n{\"s\":null,\"n\":2}\n{\"n\":3,\"more\":[1]}\n");
        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn kinds_are_told_by_extension() {
        assert_eq!(Kind::of("a/B.PARQUET".as_ref()).expect("kind"), Kind::Parquet);
        assert!(Kind::of("x.xlsx".as_ref()).expect_err("kind").to_string().contains("extension"));
    }
}
