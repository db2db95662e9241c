//! Validation: a plan that passes can be evaluated without a panic, whoever wrote it.

use super::{
    ExprId, KEYS_MAX, LITERAL_BYTES_MAX, NODES_MAX, Node, Op, Plan, PlanError, STATES_MAX, StatePlan, types,
};
use crate::expr;
use crate::flavor::{FUNCTIONS, SKETCHES};
use crate::schema::StreamSchema;
use crate::value::{DataType, Value, key};
use alloc::vec::Vec;

impl Plan {
    /// Checks sizes, order, types, columns and states against the stream's schema.
    ///
    /// # Errors
    /// Anything that [`PlanError`] names: the first rule that the plan breaks.
    pub fn validate(&self, schema: &StreamSchema) -> Result<(), PlanError> {
        if self.nodes.len() > NODES_MAX || self.keys.len() > KEYS_MAX || self.states.len() > STATES_MAX {
            return Err(PlanError::TooLarge);
        }
        if self.stream != schema.id {
            return Err(PlanError::Stream);
        }
        for at in 0..self.nodes.len() {
            self.check_node(at as u16, schema)?;
        }
        for ExprId(at) in self.roots() {
            match self.nodes.get(usize::from(at)) {
                None => return Err(PlanError::Order(at)),
                // To a small build the width of a `time_bucket` is no value of its own.
                Some(node) if !FUNCTIONS && node.data_type == DataType::Interval => {
                    return Err(PlanError::Unsupported(at));
                }
                Some(_) => {}
            }
        }
        self.check_roots()?;
        self.states.iter().enumerate().try_for_each(|(at, state)| self.check_state(at as u16, state))
    }

    fn check_node(&self, at: u16, schema: &StreamSchema) -> Result<(), PlanError> {
        let (below, node) = (&self.nodes[..usize::from(at)], &self.nodes[usize::from(at)]);
        let (mut operands, mut ordered) = (Vec::new(), true);
        node.op.operands(&mut |id| match below.get(usize::from(id.0)) {
            Some(operand) => operands.push(operand),
            None => ordered = false,
        });
        if !ordered {
            return Err(PlanError::Order(at));
        }
        match &node.op {
            Op::Column(column)
                if schema.data_type(usize::from(*column)).as_ref() != Some(&node.data_type) =>
            {
                Err(PlanError::Column(at))
            }
            Op::Literal(Value::Text(v)) if v.len() > LITERAL_BYTES_MAX => Err(PlanError::TooLarge),
            Op::Literal(Value::Bytes(v)) if v.len() > LITERAL_BYTES_MAX => Err(PlanError::TooLarge),
            _ if !expr::is_supported(node, &operands) => Err(PlanError::Unsupported(at)),
            _ if is_sound(&node.data_type) && well_typed(node, &operands) => Ok(()),
            _ => Err(PlanError::Type(at)),
        }
    }

    fn check_roots(&self) -> Result<(), PlanError> {
        let is_boolean = |id: Option<ExprId>| id.is_none_or(|id| self.node(id).data_type == DataType::Bool);
        let boolean = is_boolean(self.filter) && self.states.iter().all(|state| is_boolean(state.filter));
        let keys = self.keys.iter().all(|id| key::is_key_type(&self.node(*id).data_type));
        if boolean && keys { Ok(()) } else { Err(PlanError::Root) }
    }

    fn check_state(&self, at: u16, state: &StatePlan) -> Result<(), PlanError> {
        let mut args = Vec::with_capacity(state.args.len());
        for id in &state.args {
            args.push(&self.node(*id).data_type);
        }
        let spec = &state.spec;
        // What is wrong with a spec that a small build does not know, if anything is, a larger one tells.
        if !spec.is_supported() && (!SKETCHES || spec.validate().is_ok()) {
            return Err(PlanError::Unsupported(at));
        }
        if spec.is_supported() && spec.accepts(&args) { Ok(()) } else { Err(PlanError::State(at)) }
    }

    fn node(&self, id: ExprId) -> &Node {
        &self.nodes[usize::from(id.0)]
    }
}

/// A build without [`FUNCTIONS`] trusts its hub for types: wrong ones give error slots or a trapped module.
fn well_typed(node: &Node, operands: &[&Node]) -> bool {
    !FUNCTIONS || types::check(node, operands)
}

/// A type that a column of a batch can have.
fn is_sound(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal { precision, scale } => (1..=38).contains(precision) && scale <= precision,
        other => key::is_key_type(other),
    }
}
