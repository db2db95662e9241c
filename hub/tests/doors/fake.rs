//! A backend made of memory: it acks what it gets, once its gate is open.

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use headwater::ids::{BootId, CatalogVersion, ClusterId, Epoch, Seq, StreamId};
use headwater::schema::{Field, StreamSchema};
use headwater::value::DataType;
use headwater::wire::{
    Ack, AckLevel, BatchFrame, Query, Refused, RefusedCode, Resume, Resumed, SessionLimits,
};
use headwater_hub::ingress::{Backend, Outcome};
use headwater_sql::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use headwater_sql::arrow::compute::cast;
use headwater_sql::arrow::datatypes::Schema;
use headwater_sql::definition::StreamDef;
use headwater_sql::source::CatalogSnapshot;
use headwater_sql::{Answer, SqlError, arrow_field};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};

pub struct Fake {
    catalog: watch::Sender<Arc<CatalogSnapshot>>,
    pub batches: Mutex<Vec<BatchFrame>>,
    /// Those of the door through which the last batch came.
    pub limits: Mutex<Option<SessionLimits>>,
    /// Batches wait for a permit before they are acked.
    pub gate: Arc<Semaphore>,
    /// One permit per batch that arrived.
    pub arrived: Semaphore,
}

impl Fake {
    pub fn new() -> Self {
        Self {
            catalog: watch::channel(Arc::default()).0,
            batches: Mutex::default(),
            limits: Mutex::default(),
            gate: Arc::new(Semaphore::new(1 << 20)),
            arrived: Semaphore::new(0),
        }
    }

    /// How many wait for news of the catalog.
    pub fn watchers(&self) -> usize {
        self.catalog.receiver_count()
    }

    /// Makes a stream, as DDL would.
    pub fn create_stream(&self, name: &str) {
        self.catalog.send_modify(|catalog| {
            let mut next = CatalogSnapshot::clone(catalog);
            next.version = CatalogVersion(next.version.0 + 1);
            let id = StreamId(next.streams.len() as u32 + 1);
            let schema = StreamSchema { id, name: name.into(), fields: Vec::new() };
            next.streams.push(Arc::new(StreamDef { schema }));
            *catalog = Arc::new(next);
        });
    }
}

impl Backend for Fake {
    fn catalog(&self) -> watch::Receiver<Arc<CatalogSnapshot>> {
        self.catalog.subscribe()
    }

    fn cluster(&self) -> ClusterId {
        ClusterId([6; 16])
    }

    fn boot(&self) -> BootId {
        BootId(5)
    }

    fn submit(
        &self,
        batch: BatchFrame,
        limits: &SessionLimits,
    ) -> BoxFuture<'static, BoxStream<'static, Outcome>> {
        *self.limits.lock().expect("lock") = Some(*limits);
        let (pid, seq) = (batch.pid, batch.seq);
        let is_bad = batch.payload == [0xad];
        self.batches.lock().expect("lock").push(batch);
        self.arrived.add_permits(1);
        let gate = Arc::clone(&self.gate);
        let outcomes = stream::once(async move {
            gate.acquire().await.expect("open").forget();
            if is_bad {
                let (code, message) = (RefusedCode::Malformed, "not a payload".into());
                return Outcome::Refused(Refused { pid, seq, code, message, retry_after_ms: 0 });
            }
            Outcome::Ack(Ack { pid, seq, level: AckLevel::Durable, epoch: Epoch(1) })
        });
        async move { outcomes.boxed() }.boxed()
    }

    fn resume(&self, resume: Resume) -> BoxFuture<'static, Result<Resumed, Refused>> {
        let (pid, level) = (resume.pid, AckLevel::Durable);
        async move { Ok(Resumed { pid, floor: Seq(3), bitmap: 1, level, expired: false }) }.boxed()
    }

    fn query(&self, query: Query) -> BoxFuture<'static, Result<Answer, SqlError>> {
        let answer = match query.sql.as_str() {
            "rows" => Ok(answer(stream::iter([(1, Some("a,b")), (i64::MAX, None)]))),
            "fails at once" => Ok(failing(answer(stream::iter([(1, Some("x"))])))),
            "fails late" => Ok(failing(answer(stream::iter(vec![(1, Some("x")); 20_000])))),
            "endless" => Ok(answer(stream::repeat((1, Some("x"))))),
            _ => Err(SqlError {
                position: Some(3),
                hint: Some("try rows".into()),
                ..SqlError::new("42601", "no")
            }),
        };
        async move { answer }.boxed()
    }
}

/// The same rows, and then an error.
fn failing(answer: Answer) -> Answer {
    let error = SqlError::new("57014", "the statement took too long");
    Answer { batches: answer.batches.chain(stream::iter([Err(error)])).boxed(), ..answer }
}

/// An answer with columns `n bigint, name text`, one batch per row.
fn answer(rows: impl futures::Stream<Item = (i64, Option<&'static str>)> + Send + 'static) -> Answer {
    let types = [("n", DataType::Int64), ("name", DataType::Text)];
    let fields =
        types.iter().map(|(name, t)| Field { name: String::from(*name), data_type: t.clone() }).collect();
    let arrow_fields: Vec<_> = types.iter().map(|(name, t)| arrow_field(name, t)).collect();
    let schema = Arc::new(Schema::new(arrow_fields));
    let of_schema = Arc::clone(&schema);
    let batches = rows.map(move |(n, name)| {
        let columns: [ArrayRef; 2] =
            [Arc::new(Int64Array::from(vec![n])), Arc::new(StringArray::from(vec![name]))];
        let typed =
            columns.iter().zip(of_schema.fields()).map(|(c, f)| cast(c, f.data_type()).expect("cast"));
        Ok(RecordBatch::try_new(Arc::clone(&of_schema), typed.collect()).expect("batch"))
    });
    Answer { tag: "SELECT".into(), notice: None, fields, schema, batches: batches.boxed() }
}
