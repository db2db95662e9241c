//! The plan under construction: nodes without duplicates.

use crate::error::SqlError;
use headwater::plan::{ExprId, Node, Op};
use headwater::value::{DataType, Value};

/// Most nodes of a plan, counting those that are pruned at the end.
const NODES_MAX: usize = 4_096;

/// Nodes in dependency order; equal nodes are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
}

impl Nodes {
    pub(super) fn push(&mut self, op: Op, data_type: DataType) -> Result<ExprId, SqlError> {
        let node = Node { op, data_type };
        if let Some(at) = self.nodes.iter().position(|n| *n == node) {
            return Ok(ExprId(at as u16));
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(SqlError::new(
                "54001",
                format!("definition is too complex: more than {NODES_MAX} expressions"),
            ));
        }
        self.nodes.push(node);
        Ok(ExprId(self.nodes.len() as u16 - 1))
    }

    pub(super) fn get(&self, id: ExprId) -> &Node {
        &self.nodes[usize::from(id.0)]
    }

    /// The constant at `id`, if it is one.
    pub(super) fn literal(&self, id: ExprId) -> Option<&Value> {
        match &self.get(id).op {
            Op::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// True when `found` holds for `id` or anything below it.
    pub(super) fn any(&self, id: ExprId, found: &impl Fn(&Op) -> bool) -> bool {
        let mut wanted = vec![false; usize::from(id.0) + 1];
        wanted[usize::from(id.0)] = true;
        for at in (0..wanted.len()).rev() {
            if wanted[at] {
                if found(&self.nodes[at].op) {
                    return true;
                }
                operands(&self.nodes[at].op).iter().for_each(|o| wanted[usize::from(o.0)] = true);
            }
        }
        false
    }

    /// Keeps what the roots need and renumbers the roots.
    pub(super) fn prune(self, roots: &mut [&mut ExprId]) -> Vec<Node> {
        let mut wanted = vec![false; self.nodes.len()];
        roots.iter().for_each(|root| wanted[usize::from(root.0)] = true);
        for at in (0..self.nodes.len()).rev() {
            if wanted[at] {
                mark(&self.nodes, &mut wanted, at);
            }
        }
        let mut renumbered = vec![ExprId(0); self.nodes.len()];
        let mut kept = Vec::new();
        for (at, mut node) in self.nodes.into_iter().enumerate().filter(|(at, _)| wanted[*at]) {
            operands_mut(&mut node.op).into_iter().for_each(|o| *o = renumbered[usize::from(o.0)]);
            renumbered[at] = ExprId(kept.len() as u16);
            kept.push(node);
        }
        roots.iter_mut().for_each(|root| **root = renumbered[usize::from(root.0)]);
        kept
    }
}

fn mark(nodes: &[Node], wanted: &mut [bool], at: usize) {
    operands(&nodes[at].op).iter().for_each(|o| wanted[usize::from(o.0)] = true);
}

fn operands(op: &Op) -> Vec<ExprId> {
    operands_mut(&mut op.clone()).into_iter().map(|o| *o).collect()
}

fn operands_mut(op: &mut Op) -> Vec<&mut ExprId> {
    match op {
        Op::Not(x) | Op::Negate(x) | Op::IsNull(x) | Op::IsNotNull(x) | Op::IsTrue(x) | Op::IsFalse(x) => {
            vec![x]
        }
        Op::Cast { input, .. } => vec![input],
        Op::Binary(_, a, b) => vec![a, b],
        Op::Case { branches, otherwise } => {
            branches.iter_mut().flat_map(|(c, r)| [c, r]).chain(otherwise).collect()
        }
        Op::InList { input, list, .. } => std::iter::once(input).chain(list).collect(),
        Op::Like { input, pattern, .. } => vec![input, pattern],
        Op::Call(_, args) => args.iter_mut().collect(),
        _ => Vec::new(),
    }
}
