//! Building plans: equal subexpressions and equal states are shared.

use super::{ExprId, KEYS_MAX, NODES_MAX, Node, Op, Plan, PlanError, STATES_MAX, StatePlan};
use crate::aggregate::AggregateSpec;
use crate::ids::{PlanVersion, StreamId, ViewId};
use crate::value::{DataType, Value};
use alloc::vec::Vec;

/// Collects the expressions and states of one plan. Types are checked by [`Plan::validate`], not here.
///
/// ```
/// use headwater::aggregate::AggregateSpec;
/// use headwater::ids::{PlanVersion, StreamId, ViewId};
/// use headwater::plan::{BinaryOp, Op, PlanBuilder};
/// use headwater::value::{DataType, Value};
///
/// // SELECT count(*) FROM s WHERE x < 5 GROUP BY x
/// let mut plan = PlanBuilder::new();
/// let x = plan.column(0, DataType::Int64)?;
/// let five = plan.literal(Value::Int(5), DataType::Int64)?;
/// let small = plan.node(Op::Binary(BinaryOp::Lt, x, five), DataType::Bool)?;
/// plan.filter(small);
/// plan.key(x)?;
/// assert_eq!(plan.state(AggregateSpec::Count { argument: false }, &[], None)?, 0);
/// let plan = plan.finish(ViewId(1), PlanVersion(1), StreamId(1), 10_000);
/// assert_eq!(plan.nodes.len(), 3);
/// # Ok::<(), headwater::plan::PlanError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PlanBuilder {
    nodes: Vec<Node>,
    filter: Option<ExprId>,
    keys: Vec<ExprId>,
    states: Vec<StatePlan>,
}

impl PlanBuilder {
    /// A plan without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an expression, or finds an equal one. Its operands must have been added before.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`] above [`NODES_MAX`] expressions.
    pub fn node(&mut self, op: Op, data_type: DataType) -> Result<ExprId, PlanError> {
        let node = Node { op, data_type };
        if let Some(at) = self.nodes.iter().position(|n| same(n, &node)) {
            return Ok(ExprId(at as u16));
        }
        if self.nodes.len() == NODES_MAX {
            return Err(PlanError::TooLarge);
        }
        self.nodes.push(node);
        Ok(ExprId((self.nodes.len() - 1) as u16))
    }

    /// A stream column; the schema's length is `arrival_timestamp`.
    ///
    /// # Errors
    /// Those of [`PlanBuilder::node`].
    pub fn column(&mut self, column: u16, data_type: DataType) -> Result<ExprId, PlanError> {
        self.node(Op::Column(column), data_type)
    }

    /// A constant.
    ///
    /// # Errors
    /// Those of [`PlanBuilder::node`].
    pub fn literal(&mut self, value: Value, data_type: DataType) -> Result<ExprId, PlanError> {
        self.node(Op::Literal(value), data_type)
    }

    /// The type of an expression added before.
    ///
    /// # Panics
    /// When `id` is not from this builder.
    pub fn data_type(&self, id: ExprId) -> &DataType {
        &self.nodes[usize::from(id.0)].data_type
    }

    /// The operation of an expression added before.
    ///
    /// # Panics
    /// When `id` is not from this builder.
    pub fn op(&self, id: ExprId) -> &Op {
        &self.nodes[usize::from(id.0)].op
    }

    /// Sets the WHERE clause.
    pub fn filter(&mut self, id: ExprId) {
        self.filter = Some(id);
    }

    /// Appends a group expression; its position in the key.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`] above [`KEYS_MAX`] group expressions.
    pub fn key(&mut self, id: ExprId) -> Result<u16, PlanError> {
        if self.keys.len() == KEYS_MAX {
            return Err(PlanError::TooLarge);
        }
        self.keys.push(id);
        Ok((self.keys.len() - 1) as u16)
    }

    /// Adds a state, or finds an equal one; its index in the plan.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`] above [`STATES_MAX`] states.
    pub fn state(
        &mut self,
        spec: AggregateSpec,
        args: &[ExprId],
        filter: Option<ExprId>,
    ) -> Result<u16, PlanError> {
        let state = StatePlan { spec, args: args.to_vec(), filter };
        if let Some(at) = self.states.iter().position(|s| *s == state) {
            return Ok(at as u16);
        }
        if self.states.len() == STATES_MAX {
            return Err(PlanError::TooLarge);
        }
        self.states.push(state);
        Ok((self.states.len() - 1) as u16)
    }

    /// The plan. Expressions that nothing needs are left out.
    pub fn finish(self, view: ViewId, version: PlanVersion, stream: StreamId, groups_max: u32) -> Plan {
        let Self { nodes, filter, keys, states } = self;
        let mut plan = Plan { view, version, stream, nodes, filter, keys, states, groups_max };
        plan.prune();
        plan
    }
}

/// Equality that tells -0.0 from 0.0 and does not share NaNs.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.op, &b.op) {
        (Op::Literal(Value::Float(x)), Op::Literal(Value::Float(y))) => {
            x.to_bits() == y.to_bits() && a.data_type == b.data_type
        }
        _ => a == b,
    }
}

impl Plan {
    /// What rows, keys and states need directly.
    pub fn roots(&self) -> Vec<ExprId> {
        let mut roots = Vec::new();
        let mut add = |ids: &[ExprId]| roots.extend_from_slice(ids);
        add(self.filter.as_slice());
        add(&self.keys);
        for state in &self.states {
            add(&state.args);
            add(state.filter.as_slice());
        }
        roots
    }

    /// Which of the nodes `roots` and everything below them need; operands out of order are ignored.
    pub(crate) fn needed(&self, roots: &[ExprId]) -> Vec<bool> {
        let mut needed = alloc::vec![false; self.nodes.len()];
        let mark = |needed: &mut Vec<bool>, id: ExprId| {
            if let Some(flag) = needed.get_mut(usize::from(id.0)) {
                *flag = true;
            }
        };
        roots.iter().for_each(|id| mark(&mut needed, *id));
        for at in (0..self.nodes.len()).rev() {
            if needed[at] {
                self.nodes[at].op.operands(&mut |id| mark(&mut needed, id));
            }
        }
        needed
    }

    /// The same plan with its first `count` states alone.
    #[must_use]
    pub fn first_states(&self, count: usize) -> Self {
        let mut plan = self.clone();
        plan.states.truncate(count);
        plan.prune();
        plan
    }

    /// Removes nodes that nothing needs and renumbers the rest.
    pub(super) fn prune(&mut self) {
        let needed = self.needed(&self.roots());
        let mut next = 0;
        let new: Vec<u16> = needed
            .iter()
            .map(|keep| {
                next += u16::from(*keep);
                next.wrapping_sub(1)
            })
            .collect();
        let renumber = |id: &mut ExprId| id.0 = new.get(usize::from(id.0)).copied().unwrap_or(id.0);
        let mut kept = needed.into_iter();
        self.nodes.retain(|_| kept.next() == Some(true));
        self.nodes.iter_mut().for_each(|n| n.op.operands_mut(&mut |id| renumber(id)));
        self.filter.iter_mut().for_each(renumber);
        self.keys.iter_mut().for_each(renumber);
        for state in &mut self.states {
            state.args.iter_mut().chain(&mut state.filter).for_each(renumber);
        }
    }
}

impl Op {
    pub(super) fn operands_mut(&mut self, f: &mut dyn FnMut(&mut ExprId)) {
        match self {
            Self::Column(_) | Self::Literal(_) => {}
            Self::Not(x)
            | Self::Negate(x)
            | Self::IsNull(x)
            | Self::IsNotNull(x)
            | Self::IsTrue(x)
            | Self::IsFalse(x)
            | Self::Cast { input: x, .. } => f(x),
            Self::Binary(_, a, b) => [a, b].into_iter().for_each(f),
            Self::Like { input, pattern, .. } => [input, pattern].into_iter().for_each(f),
            Self::Case { branches, otherwise } => {
                branches.iter_mut().flat_map(|(when, then)| [when, then]).chain(otherwise).for_each(f);
            }
            Self::InList { input, list, .. } => core::iter::once(input).chain(list).for_each(f),
            Self::Call(_, args) => args.iter_mut().for_each(f),
        }
    }
}
