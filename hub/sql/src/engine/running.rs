//! A statement's thread: planning and running never happen where ingest does.
//!
//! Owns: the thread of each running statement, how many there are, and the channel its answer comes through.
//! Invariants: the answer ends by the deadline whatever the thread is doing; a thread keeps its place until it
//! has really ended, so that threads which are slow to stop cannot add up; whatever DataFusion spawns runs on the
//! statement's own thread and ends with it.

use super::answer::Answer;
use super::guard::{Guard, cancelled, timeout};
use super::{Core, Description, Parameter, ReadOptions};
use crate::error::SqlError;
use crate::parse::Statement;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::future::{BoxFuture, pending};
use futures::{FutureExt, Stream, StreamExt};
use headwater::schema::Field;
use headwater::value::DataType;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Sleep, sleep_until, timeout_at};

/// Batches that wait for a slow reader, beyond the one being read: each is a batch of memory.
const BATCHES_WAITING: usize = 1;
/// Stack of a statement's thread; only what is touched becomes real. Deep statements get more (see `with_stack`).
const STACK_BYTES: usize = 32 << 20;

/// What a statement's thread is to do.
pub(super) enum Work {
    /// Run this text.
    Text(String),
    /// Run this statement with these values of its parameters.
    Statement(Arc<Statement>, Vec<Parameter>),
    /// Tell what this statement takes and answers.
    Describe(Arc<Statement>, Vec<Option<DataType>>),
}

/// What a statement's thread says.
enum Message {
    /// First, unless it failed.
    Head {
        tag: String,
        fields: Vec<Field>,
        schema: SchemaRef,
    },
    /// First and last, where that was asked for.
    Described(Description),
    Batch(RecordBatch),
    /// First and last: what a change that was applied answers. It is in memory, so that nothing that comes later,
    /// a deadline or an error, can tell it as a statement that did nothing.
    Applied(Answer),
    /// Last.
    Failed(SqlError),
    /// Last.
    End,
}

/// Runs a statement on a thread of its own.
pub(super) async fn execute(
    core: &Arc<Core>,
    work: Work,
    options: ReadOptions,
    stop: BoxFuture<'static, ()>,
) -> Result<Answer, SqlError> {
    start(core, work, options, stop).await?.answer().await
}

/// Describes a statement on a thread of its own: planning can take as long as running.
pub(super) async fn describe(
    core: &Arc<Core>,
    work: Work,
    options: ReadOptions,
) -> Result<Description, SqlError> {
    start(core, work, options, pending().boxed()).await?.description().await
}

async fn start(
    core: &Arc<Core>,
    work: Work,
    options: ReadOptions,
    mut stop: BoxFuture<'static, ()>,
) -> Result<Received, SqlError> {
    let timeout = options.timeout.map_or(core.options.timeout, |own| own.min(core.options.timeout));
    let deadline = Instant::now() + timeout;
    let waiting = timeout_at(deadline.into(), Arc::clone(&core.places).acquire_owned());
    let place = tokio::select! {
        biased;
        () = &mut stop => return Err(cancelled()),
        place = waiting => match place {
            Ok(Ok(place)) => place,
            _ => return Err(too_many()),
        },
    };
    let limits = &core.options;
    let guard = Guard::new(deadline, Handle::current(), limits.memory_bytes_max, limits.value_bytes_max);
    let guard = Arc::new(guard);
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
    let job = Job { core: Arc::clone(core), work, options, guard: Arc::clone(&guard), sender };
    let thread = std::thread::Builder::new().name("headwater-sql".into()).stack_size(STACK_BYTES);
    thread.spawn(move || job.run(place)).map_err(|_| too_many())?;
    let sleep = Box::pin(sleep_until(deadline.into()));
    Ok(Received { receiver, sleep, stop: Some(stop), guard, is_over: false })
}

fn too_many() -> SqlError {
    SqlError::new("53300", "too many statements are running")
        .with_hint("try again, or raise sql.concurrent_max")
}

/// Everything a statement's thread needs.
struct Job {
    core: Arc<Core>,
    work: Work,
    options: ReadOptions,
    guard: Arc<Guard>,
    sender: mpsc::Sender<Message>,
}

impl Job {
    fn run(self, _place: OwnedSemaphorePermit) {
        self.guard.enter();
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
        runtime.block_on(async {
            let sender = self.sender.clone();
            tokio::select! {
                biased;
                // Nobody waits for the answer any more: drop whatever runs.
                () = sender.closed() => {}
                () = self.until_deadline() => {}
                // Sending waits for whoever reads, and must not keep the place beyond the deadline either.
                () = self.answered(&sender) => {}
            }
        });
        runtime.shutdown_background();
    }

    async fn until_deadline(&self) {
        sleep_until(self.guard.deadline.into()).await;
        if self.guard.is_applying() {
            std::future::pending::<()>().await;
        }
    }

    async fn answered(&self, sender: &mpsc::Sender<Message>) {
        let last = self.answer().await;
        let _ = sender.send(last).await;
    }

    /// Sends everything but the last message.
    async fn answer(&self) -> Message {
        let answer = match &self.work {
            Work::Text(sql) => self.core.execute(sql, self.options, &self.guard).await,
            Work::Statement(statement, parameters) => {
                self.core.run(statement, parameters, self.options, &self.guard).await
            }
            Work::Describe(statement, declared) => {
                return match self.core.describe_statement(statement, declared, self.options) {
                    Ok(description) => Message::Described(description),
                    Err(error) => Message::Failed(error),
                };
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Message::Failed(error),
        };
        if self.guard.is_applying() {
            return Message::Applied(answer);
        }
        let Answer { tag, fields, schema, mut batches, .. } = answer;
        if self.sender.send(Message::Head { tag, fields, schema }).await.is_err() {
            return Message::End;
        }
        while let Some(batch) = batches.next().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return Message::Failed(error),
            };
            if self.sender.send(Message::Batch(batch)).await.is_err() {
                break;
            }
        }
        Message::End
    }
}

/// An answer as it comes from its thread; dropping it stops the thread.
struct Received {
    receiver: mpsc::Receiver<Message>,
    sleep: Pin<Box<Sleep>>,
    /// Until it ended, or the answer began.
    stop: Option<BoxFuture<'static, ()>>,
    guard: Arc<Guard>,
    is_over: bool,
}

impl Received {
    async fn answer(mut self) -> Result<Answer, SqlError> {
        match std::future::poll_fn(|cx| self.poll_message(cx)).await {
            Message::Head { tag, fields, schema } => {
                self.stop = None;
                Ok(Answer { tag, notice: None, fields, schema, batches: self.boxed() })
            }
            Message::Applied(answer) => Ok(answer),
            Message::Failed(error) => Err(error),
            Message::Batch(_) | Message::Described(_) | Message::End => Err(died()),
        }
    }

    async fn description(mut self) -> Result<Description, SqlError> {
        match std::future::poll_fn(|cx| self.poll_message(cx)).await {
            Message::Described(description) => Ok(description),
            Message::Failed(error) => Err(error),
            _ => Err(died()),
        }
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        match self.receiver.poll_recv(cx) {
            Poll::Ready(Some(message)) => Poll::Ready(message),
            Poll::Ready(None) if Instant::now() >= self.guard.deadline => {
                Poll::Ready(Message::Failed(timeout()))
            }
            Poll::Ready(None) => Poll::Ready(Message::Failed(died())),
            Poll::Pending => match self.poll_end(cx) {
                Poll::Ready(error) if self.guard.stop() => Poll::Ready(Message::Failed(error)),
                _ => Poll::Pending,
            },
        }
    }

    /// Why nothing more should come.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<SqlError> {
        if let Some(stop) = &mut self.stop
            && stop.poll_unpin(cx).is_ready()
        {
            self.stop = None;
            return Poll::Ready(cancelled());
        }
        self.sleep.as_mut().poll(cx).map(|()| timeout())
    }
}

fn died() -> SqlError {
    SqlError::new("XX000", "the statement's thread ended without an answer")
}

impl Stream for Received {
    type Item = Result<RecordBatch, SqlError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let item = match std::task::ready!(self.poll_message(cx)) {
            Message::Batch(batch) => return Poll::Ready(Some(Ok(batch))),
            Message::Failed(error) => Some(Err(error)),
            Message::Head { .. } | Message::Described(_) | Message::Applied(_) => Some(Err(died())),
            Message::End => None,
        };
        self.is_over = true;
        self.guard.cancel();
        Poll::Ready(item)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.guard.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Prevents that a thread which never comes to a stop holds its reader beyond the deadline, too.
    #[tokio::test]
    async fn an_answer_ends_by_its_deadline_whatever_its_thread_is_doing() {
        let deadline = Instant::now() + Duration::from_millis(10);
        let guard = Arc::new(Guard::new(deadline, Handle::current(), 1 << 20, 1 << 20));
        let (thread, receiver) = mpsc::channel(BATCHES_WAITING);
        let sleep = Box::pin(sleep_until(deadline.into()));
        let answer = Received { receiver, sleep, stop: None, guard, is_over: false }.answer().await;
        assert_eq!(answer.err().map(|error| error.code), Some("57014"));
        drop(thread);
    }

    /// An INSERT that was cancelled while it was applied was told not to have happened, and counted.
    #[tokio::test]
    async fn a_change_that_is_applied_ends_with_its_outcome() {
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let begun = |is_applying: bool| {
            let guard = Arc::new(Guard::new(deadline, Handle::current(), 1 << 20, 1 << 20));
            assert!(!is_applying || guard.begin_applying());
            let (thread, receiver) = mpsc::channel(BATCHES_WAITING);
            let (sleep, stop) = (Box::pin(sleep_until(deadline.into())), Some(async {}.boxed()));
            (thread, Received { receiver, sleep, stop, guard: Arc::clone(&guard), is_over: false }, guard)
        };
        let (_thread, received, guard) = begun(false);
        assert_eq!(received.answer().await.err().map(|error| error.code), Some("57014"));
        assert!(!guard.begin_applying(), "it has ended");
        let (thread, received, _guard) = begun(true);
        let (answer, ()) = tokio::join!(received.answer(), async {
            tokio::task::yield_now().await;
            let sent = thread.send(Message::Failed(SqlError::new("58030", "the outcome"))).await;
            assert!(sent.is_ok(), "it is waited for");
        });
        assert_eq!(answer.err().map(|error| error.code), Some("58030"));
    }

    /// INSERTs that were counted were answered with 57014 where the deadline came between an answer's head and its end.
    #[tokio::test]
    async fn an_applied_change_is_answered_whole() {
        let deadline = Instant::now();
        let guard = Arc::new(Guard::new(deadline, Handle::current(), 1 << 20, 1 << 20));
        assert!(guard.begin_applying());
        let (thread, receiver) = mpsc::channel(BATCHES_WAITING);
        let sleep = Box::pin(sleep_until(deadline.into()));
        let received = Received {
            receiver,
            sleep,
            stop: Some(async {}.boxed()),
            guard: Arc::clone(&guard),
            is_over: false,
        };
        assert!(thread.try_send(Message::Applied(Answer::command("INSERT 0 1"))).is_ok());
        let mut answer = received.answer().await.expect("it was applied");
        assert_eq!(answer.tag, "INSERT 0 1");
        // Its thread is still there, and the deadline has passed.
        assert!(answer.batches.next().await.is_none(), "no error behind it");
        drop(thread);
    }
}
