//! Answers as frames: a header, rows in frames of bounded size, an end; or a failure.

use futures::StreamExt;
use futures::stream::BoxStream;
use headwater::value::Value;
use headwater::wire::{Failure, Rows, RowsEnd, RowsHeader, encode_frame};
use headwater_sql::{Answer, SqlError, rows_of};

/// Rows of one frame before it is measured; keeps frames small enough to stream.
const FRAME_ROWS_MAX: usize = 1024;

/// The frame that tells of a failed statement.
pub fn failure(error: &SqlError) -> Failure {
    Failure {
        code: error.code.into(),
        message: error.message.clone(),
        position: error.position,
        hint: error.hint.clone(),
    }
}

/// All frames of an answer, in order. After a failure nothing follows.
pub fn frames(answer: Answer, frame_bytes_max: usize) -> BoxStream<'static, Vec<u8>> {
    let header = encode_frame(&RowsHeader { columns: answer.fields.clone() });
    let state = Some(State { answer, sent: 0, waiting: Vec::new(), frame_bytes_max });
    let rest = futures::stream::unfold(state, |state| async move {
        let mut state = state?;
        let (frame, is_last) = state.next().await;
        Some((frame, (!is_last).then_some(state)))
    });
    futures::stream::once(async { header }).chain(rest).boxed()
}

struct State {
    answer: Answer,
    sent: u64,
    /// Frames of the last chunk, last first.
    waiting: Vec<Vec<u8>>,
    frame_bytes_max: usize,
}

impl State {
    /// The next frame, and whether it is the last.
    async fn next(&mut self) -> (Vec<u8>, bool) {
        loop {
            if let Some(frame) = self.waiting.pop() {
                return (frame, false);
            }
            match self.answer.batches.next().await {
                Some(Ok(batch)) => {
                    self.sent += batch.num_rows() as u64;
                    let rows = rows_of(&batch, &self.answer.fields);
                    if let Err(error) = rows.and_then(|r| split(r, self.frame_bytes_max, &mut self.waiting)) {
                        return (encode_frame(&failure(&error)), true);
                    }
                    self.waiting.reverse();
                }
                Some(Err(error)) => return (encode_frame(&failure(&error)), true),
                None => {
                    let tag = self.answer.told(self.sent);
                    return (encode_frame(&RowsEnd { tag, rows: self.sent }), true);
                }
            }
        }
    }
}

/// Frames of at most `bytes_max` for `rows`.
fn split(mut rows: Vec<Vec<Value>>, bytes_max: usize, out: &mut Vec<Vec<u8>>) -> Result<(), SqlError> {
    while rows.len() > FRAME_ROWS_MAX {
        let rest = rows.split_off(FRAME_ROWS_MAX);
        halve(std::mem::replace(&mut rows, rest), bytes_max, out)?;
    }
    if rows.is_empty() { Ok(()) } else { halve(rows, bytes_max, out) }
}

/// Recursion is as deep as a frame's rows can be halved.
fn halve(rows: Vec<Vec<Value>>, bytes_max: usize, out: &mut Vec<Vec<u8>>) -> Result<(), SqlError> {
    let body = Rows { rows };
    let frame = encode_frame(&body);
    if frame.len() <= bytes_max {
        out.push(frame);
        return Ok(());
    }
    let mut rows = body.rows;
    if rows.len() == 1 {
        return Err(SqlError::new("54000", format!("a row is larger than {bytes_max} bytes")));
    }
    let rest = rows.split_off(rows.len() / 2);
    halve(rows, bytes_max, out)?;
    halve(rest, bytes_max, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater::schema::Field;
    use headwater::value::DataType;
    use headwater::wire::{Frame, FrameKind};
    use headwater_sql::arrow::array::RecordBatch;
    use headwater_sql::arrow::datatypes::Schema;
    use headwater_sql::{arrow, arrow_field};
    use std::sync::Arc;

    /// Answers of one text column.
    async fn kinds(batches: Vec<Result<Vec<String>, SqlError>>, max: usize) -> Vec<FrameKind> {
        let schema = Arc::new(Schema::new(vec![arrow_field("s", &DataType::Text)]));
        let batch = |texts: Vec<String>| {
            let array = new_array(&texts, schema.field(0).data_type());
            RecordBatch::try_new(Arc::clone(&schema), vec![array]).expect("batch")
        };
        let batches: Vec<_> = batches.into_iter().map(|b| b.map(batch)).collect();
        let fields = vec![Field { name: "s".into(), data_type: DataType::Text }];
        let batches = futures::stream::iter(batches).boxed();
        let answer =
            Answer { tag: "SELECT".into(), notice: None, fields, schema: Arc::clone(&schema), batches };
        let frames: Vec<Vec<u8>> = frames(answer, max).collect().await;
        frames.iter().map(|bytes| Frame::read_only(bytes, max).expect("a frame").kind).collect()
    }

    fn new_array(texts: &[String], as_type: &arrow::datatypes::DataType) -> arrow::array::ArrayRef {
        arrow::compute::cast(&arrow::array::StringArray::from(texts.to_vec()), as_type).expect("text")
    }

    #[tokio::test]
    async fn rows_are_split_to_the_frame_limit() {
        let kinds = kinds(vec![Ok(vec!["x".repeat(100); 8])], 250).await;
        assert_eq!(kinds.iter().filter(|k| **k == FrameKind::Rows).count(), 4);
        assert_eq!((kinds.first(), kinds.last()), (Some(&FrameKind::RowsHeader), Some(&FrameKind::RowsEnd)));
    }

    #[tokio::test]
    async fn a_failure_ends_the_answer() {
        let late = Err(SqlError::new("57014", "too slow"));
        let row = vec![String::from("1")];
        assert_eq!(
            kinds(vec![Ok(row.clone()), late, Ok(row)], 1000).await,
            [FrameKind::RowsHeader, FrameKind::Rows, FrameKind::Failure]
        );
        assert_eq!(
            kinds(vec![Ok(vec!["x".repeat(1000)])], 100).await,
            [FrameKind::RowsHeader, FrameKind::Failure]
        );
    }
}
