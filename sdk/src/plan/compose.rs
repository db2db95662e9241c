//! A plan over what another plan makes of events: expressions put where columns were.

use super::{BinaryOp, ExprId, NODES_MAX, Node, Op, Plan, PlanError};
use crate::ids::PlanVersion;
use crate::value::DataType;
use alloc::vec::Vec;

impl Plan {
    /// This plan over the stream of `transform`, whose keys are the columns of the stream that this plan reads: what it
    /// counts of the events that `transform` makes of others, it counts of those others. `arrival` is the column of
    /// `arrival_timestamp` there. Types of keys and columns must be equal.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`] above [`NODES_MAX`] expressions.
    pub fn composed(&self, transform: &Plan, arrival: u16, version: PlanVersion) -> Result<Plan, PlanError> {
        let mut nodes = transform.nodes.clone();
        let time = ExprId(nodes.len() as u16);
        nodes.push(Node { op: Op::Column(arrival), data_type: DataType::Timestamp });
        let mut ids: Vec<ExprId> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            if let Op::Column(column) = node.op {
                ids.push(transform.keys.get(usize::from(column)).copied().unwrap_or(time));
                continue;
            }
            let op = node.op.with_operands(&|id| ids.get(usize::from(id.0)).copied().unwrap_or(id));
            ids.push(push(&mut nodes, Node { op, data_type: node.data_type.clone() })?);
        }
        let place = |id: &ExprId| ids.get(usize::from(id.0)).copied().unwrap_or(*id);
        let filter = match (transform.filter, self.filter.as_ref().map(place)) {
            (Some(a), Some(b)) => {
                let op = Op::Binary(BinaryOp::And, a, b);
                Some(push(&mut nodes, Node { op, data_type: DataType::Bool })?)
            }
            (a, b) => a.or(b),
        };
        let keys = self.keys.iter().map(place).collect();
        let mut states = self.states.clone();
        for state in &mut states {
            state.args.iter_mut().chain(&mut state.filter).for_each(|id| *id = place(id));
        }
        let (view, stream, groups_max) = (self.view, transform.stream, self.groups_max);
        let mut plan = Plan { view, version, stream, nodes, filter, keys, states, groups_max };
        plan.prune();
        Ok(plan)
    }
}

impl Op {
    /// The same operation on other operands.
    #[must_use]
    pub fn with_operands(&self, place: &dyn Fn(ExprId) -> ExprId) -> Self {
        let mut op = self.clone();
        op.operands_mut(&mut |id| *id = place(*id));
        op
    }
}

fn push(nodes: &mut Vec<Node>, node: Node) -> Result<ExprId, PlanError> {
    if nodes.len() >= NODES_MAX {
        return Err(PlanError::TooLarge);
    }
    nodes.push(node);
    Ok(ExprId((nodes.len() - 1) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::AggregateSpec;
    use crate::ids::{StreamId, ViewId};
    use crate::plan::PlanBuilder;
    use crate::schema::{Field, StreamSchema};
    use crate::value::Value;

    fn compare(plan: &mut PlanBuilder, op: BinaryOp, column: u16, with: i64) -> ExprId {
        let column = plan.column(column, DataType::Int64).expect("room");
        let with = plan.literal(Value::Int(with), DataType::Int64).expect("room");
        plan.node(Op::Binary(op, column, with), DataType::Bool).expect("room")
    }

    /// Two columns that are one expression must not make one state of two: the view's partials have both.
    #[test]
    fn states_and_keys_stay_as_many_as_they_were() {
        // SELECT b + 1, b + 1 FROM s WHERE a > 3
        let mut transform = PlanBuilder::new();
        let over = compare(&mut transform, BinaryOp::Gt, 0, 3);
        transform.filter(over);
        let b = transform.column(1, DataType::Int64).expect("room");
        let one = transform.literal(Value::Int(1), DataType::Int64).expect("room");
        let sum = transform.node(Op::Binary(BinaryOp::Add, b, one), DataType::Int64).expect("room");
        transform.key(sum).expect("room");
        transform.key(sum).expect("room");
        let transform = transform.finish(ViewId(1), PlanVersion(1), StreamId(1), 0);
        // SELECT arrival_timestamp, sum(x), sum(y) FROM t WHERE y < 9 GROUP BY 1
        let mut view = PlanBuilder::new();
        let under = compare(&mut view, BinaryOp::Lt, 1, 9);
        view.filter(under);
        let time = view.column(2, DataType::Timestamp).expect("room");
        view.key(time).expect("room");
        for column in [0, 1] {
            let x = view.column(column, DataType::Int64).expect("room");
            view.state(AggregateSpec::Sum(DataType::Int64), &[x], None).expect("room");
        }
        let view = view.finish(ViewId(2), PlanVersion(2), StreamId(2), 7);
        let composed = view.composed(&transform, 2, PlanVersion(3)).expect("fits");
        let field = |name: &str| Field { name: name.into(), data_type: DataType::Int64 };
        let schema =
            StreamSchema { id: StreamId(1), name: "s".into(), fields: [field("a"), field("b")].into() };
        assert_eq!(composed.validate(&schema), Ok(()));
        assert_eq!((composed.view, composed.version, composed.groups_max), (ViewId(2), PlanVersion(3), 7));
        assert_eq!((composed.keys.len(), composed.states.len()), (1, 2));
        assert_eq!(composed.states[0], composed.states[1]);
        let key = &composed.nodes[usize::from(composed.keys[0].0)];
        assert_eq!(key.op, Op::Column(2), "an event made of another arrived when that did");
    }
}
