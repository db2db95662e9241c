//! The flights, read once into columns, so that reading the file is no part of what is measured.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use headwater::expr::iso_timestamp;
use serde::Serialize;
use std::collections::HashMap;
use std::io::Write;

/// All flights, by column.
#[derive(Default)]
pub struct Flights {
    date: Vec<i64>,
    delay: Vec<i64>,
    distance: Vec<i64>,
    origin: Vec<u16>,
    destination: Vec<u16>,
    airports: Vec<String>,
}

/// One event, as a program would have it.
#[derive(Serialize)]
pub struct Flight<'a> {
    /// Scheduled departure, microseconds since 1970-01-01T00:00:00Z.
    pub date: i64,
    /// Minutes late; negative when early.
    pub delay: i64,
    /// Miles.
    pub distance: i64,
    /// Airport code.
    pub origin: &'a str,
    /// Airport code.
    pub destination: &'a str,
}

impl Flights {
    /// Reads the table `flights` of `context`.
    pub async fn read(context: &SessionContext) -> Result<Self, DataFusionError> {
        let sql = "SELECT arrow_cast(date, 'Timestamp(Microsecond, None)'), CAST(delay AS BIGINT),
                   CAST(distance AS BIGINT), arrow_cast(origin, 'Utf8'), arrow_cast(destination, 'Utf8') FROM flights";
        let mut flights = Self::default();
        let mut codes = HashMap::new();
        for batch in context.sql(sql).await?.collect().await? {
            flights.append(&batch, &mut codes);
        }
        Ok(flights)
    }

    fn append(&mut self, batch: &RecordBatch, codes: &mut HashMap<String, u16>) {
        self.date.extend_from_slice(batch.column(0).as_primitive::<TimestampMicrosecondType>().values());
        self.delay.extend_from_slice(batch.column(1).as_primitive::<Int64Type>().values());
        self.distance.extend_from_slice(batch.column(2).as_primitive::<Int64Type>().values());
        for (column, into) in [(3, &mut self.origin), (4, &mut self.destination)] {
            for code in batch.column(column).as_string::<i32>().iter().map(Option::unwrap_or_default) {
                let airports = &mut self.airports;
                let id = codes.get(code).copied().unwrap_or_else(|| {
                    airports.push(code.to_owned());
                    codes.insert(code.to_owned(), (airports.len() - 1) as u16);
                    (airports.len() - 1) as u16
                });
                into.push(id);
            }
        }
        assert!(batch.columns().iter().all(|c| c.null_count() == 0), "the data set has no nulls");
    }

    /// The number of flights.
    pub fn len(&self) -> usize {
        self.date.len()
    }

    /// Flight `row`.
    #[inline]
    pub fn get(&self, row: usize) -> Flight<'_> {
        Flight {
            date: self.date[row],
            delay: self.delay[row],
            distance: self.distance[row],
            origin: &self.airports[usize::from(self.origin[row])],
            destination: &self.airports[usize::from(self.destination[row])],
        }
    }

    /// Bytes of all flights as NDJSON with ISO 8601 dates: what shipping the events would cost.
    pub fn ndjson_bytes(&self) -> u64 {
        let mut sink = Counter(0);
        for row in 0..self.len() {
            let flight = self.get(row);
            let line = Line { date: iso_timestamp(flight.date), rest: flight };
            // Counting bytes cannot fail: the sink takes everything and the fields are plain.
            let written = line.write(&mut sink);
            debug_assert!(written.is_ok());
        }
        sink.0
    }
}

struct Line<'a> {
    date: String,
    rest: Flight<'a>,
}

impl Line<'_> {
    fn write(&self, out: &mut Counter) -> std::io::Result<()> {
        let Flight { delay, distance, origin, destination, .. } = &self.rest;
        let date = &self.date;
        writeln!(
            out,
            r#"{{"date":"{date}","delay":{delay},"distance":{distance},"origin":"{origin}","destination":"{destination}"}}"#
        )
    }
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
