//! The plan under construction.

use crate::error::SqlError;
use headwater::ids::{PlanVersion, StreamId, ViewId};
use headwater::plan::{ExprId, NODES_MAX, Node, Op, Plan, PlanBuilder, PlanError, StatePlan};
use headwater::value::{DataType, Value};

/// Nodes in dependency order; equal nodes are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    builder: PlanBuilder,
}

impl Nodes {
    pub(super) fn push(&mut self, op: Op, data_type: DataType) -> Result<ExprId, SqlError> {
        self.builder.node(op, data_type).map_err(too_large)
    }

    /// Adds the nodes of a plan; where each of them is.
    pub(super) fn import(&mut self, nodes: &[Node]) -> Result<Vec<ExprId>, SqlError> {
        let mut ids: Vec<ExprId> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let op = node.op.with_operands(&|id| ids[usize::from(id.0)]);
            ids.push(self.push(op, node.data_type.clone())?);
        }
        Ok(ids)
    }

    pub(super) fn op(&self, id: ExprId) -> &Op {
        self.builder.op(id)
    }

    /// The constant at `id`, if it is one.
    pub(super) fn literal(&self, id: ExprId) -> Option<&Value> {
        match self.builder.op(id) {
            Op::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// True when `found` holds for `id` or anything below it.
    pub(super) fn any(&self, id: ExprId, found: &impl Fn(&Op) -> bool) -> bool {
        let mut wanted = vec![false; usize::from(id.0) + 1];
        wanted[usize::from(id.0)] = true;
        for at in (0..=id.0).rev().filter(|at| usize::from(*at) < NODES_MAX) {
            if wanted[usize::from(at)] {
                let op = self.builder.op(ExprId(at));
                if found(op) {
                    return true;
                }
                op.operands(&mut |operand| wanted[usize::from(operand.0)] = true);
            }
        }
        false
    }

    /// The plan: what filter, keys and states do not need is left out. Ids of the view are placeholders.
    pub(super) fn finish(
        mut self,
        filter: Option<ExprId>,
        keys: &[ExprId],
        states: &[StatePlan],
        (stream, groups_max): (StreamId, u32),
    ) -> Result<Plan, SqlError> {
        filter.into_iter().for_each(|id| self.builder.filter(id));
        keys.iter().try_for_each(|id| self.builder.key(*id).map(|_| ())).map_err(too_large)?;
        for state in states {
            self.builder.state(state.spec.clone(), &state.args, state.filter).map_err(too_large)?;
        }
        Ok(self.builder.finish(ViewId(0), PlanVersion(0), stream, groups_max))
    }
}

fn too_large(error: PlanError) -> SqlError {
    SqlError::new("54001", format!("definition is too complex: {error}"))
}
