//! `time_bucket` and `date_round` of definitions.

use super::coerce::{Typed, What};
use super::expr::Exprs;
use super::function::Call;
use crate::buckets::{Placing, rounding, shift, zone};
use crate::convert::cast_text;
use crate::error::SqlError;
use headwater::plan::{BinaryOp, ExprId, Function, Op};
use headwater::value::{DataType, Interval, Value};

impl Exprs<'_> {
    /// `time_bucket(width, time[, time zone][, origin or offset])`
    pub(super) fn time_bucket(&mut self, mut call: Call<'_>) -> Result<What, SqlError> {
        call.check(2..=4)?;
        let placing = self.placing(call.args.split_off(2))?;
        let source = call.args.remove(1);
        let (width, at) = self.width(call.args.remove(0), "time_bucket")?;
        self.bucket(width, source, &placing).map_err(|e| e.at(at))
    }

    /// PipelineDB's `date_round(time, width)`.
    pub(super) fn date_round(&mut self, mut call: Call<'_>) -> Result<What, SqlError> {
        call.check(2..=2)?;
        let (width, at) = self.width(call.args.remove(1), "date_round")?;
        self.bucket(width, call.args.remove(0), &rounding(width)).map_err(|e| e.at(at))
    }

    fn width(&mut self, width: Typed, name: &str) -> Result<(Interval, Option<u32>), SqlError> {
        let at = width.at;
        let width = self.nodes.coerce(width, &DataType::Interval)?;
        match self.nodes.literal(width) {
            Some(Value::Interval(width)) => Ok((*width, at)),
            _ => Err(SqlError::unsupported(format!("a {name} whose width is not a literal")).at(at)),
        }
    }

    /// What follows the time: a time zone, then an origin or an offset.
    fn placing(&mut self, args: Vec<Typed>) -> Result<Placing, SqlError> {
        let mut placing = Placing::default();
        for (n, arg) in args.into_iter().enumerate() {
            let at = arg.at;
            let literal = match &arg.what {
                What::Text(text) => match zone(text).map_err(|e| e.at(at))? {
                    Some(zone) if n == 0 => {
                        placing.zone_us = zone;
                        continue;
                    }
                    _ => Some(cast_text(text, &DataType::Timestamp).map_err(|e| e.at(at))?),
                },
                What::Node(id, DataType::Timestamp | DataType::Interval) => self.nodes.literal(*id).cloned(),
                _ => None,
            };
            match literal {
                Some(Value::Interval(offset)) => placing.offset = Some(offset),
                Some(Value::Int(origin)) => placing.origin_us = Some(origin),
                _ => {
                    let what = "a time_bucket with anything but a literal time zone, origin or offset";
                    return Err(SqlError::unsupported(what).at(at));
                }
            }
        }
        Ok(placing)
    }

    /// A plain bucket of the shifted time, shifted back.
    fn bucket(&mut self, width: Interval, source: Typed, placing: &Placing) -> Result<What, SqlError> {
        let by = shift(width, placing)?;
        let source = self.nodes.coerce(source, &DataType::Timestamp)?;
        let interval = |nodes: &mut super::nodes::Nodes, value| {
            nodes.push(Op::Literal(Value::Interval(value)), DataType::Interval)
        };
        let width = interval(&mut self.nodes, width)?;
        let time = |nodes: &mut super::nodes::Nodes, op| nodes.push(op, DataType::Timestamp);
        if by == Interval::default() {
            let id = time(&mut self.nodes, Op::Call(Function::TimeBucket, vec![width, source]))?;
            return Ok(What::Node(id, DataType::Timestamp));
        }
        let by: ExprId = interval(&mut self.nodes, by)?;
        let moved = time(&mut self.nodes, Op::Binary(BinaryOp::Subtract, source, by))?;
        let bucket = time(&mut self.nodes, Op::Call(Function::TimeBucket, vec![width, moved]))?;
        let id = time(&mut self.nodes, Op::Binary(BinaryOp::Add, bucket, by))?;
        Ok(What::Node(id, DataType::Timestamp))
    }
}
