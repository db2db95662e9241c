//! Planned queries, kept for the next time: a dashboard asks the same again and again, and planning costs more
//! than reading a thousand groups.
//!
//! Invariants: a plan is kept only within one catalog version and for one read level, only when every operator
//! in it can run again, and never when its text could read a clock, a random number or a system table (their
//! values are folded into the plan).

use super::{Parameter, ReadOptions};
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use headwater::wire::ReadLevel;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Plans kept per catalog version; when full, all are dropped. About 10 KB each.
const PLANS_MAX: usize = 128;
/// Longest text whose plan is kept, bytes.
const SQL_BYTES_MAX: usize = 4_096;

/// Most bytes of constants in a plan that is kept.
const CONSTANT_BYTES_MAX: usize = 16 << 10;

/// Operators that hold nothing from one run to the next, or forget it on reset.
const REPEATABLE: [&str; 10] = [
    super::watched::NAME,
    "StreamingTableExec",
    "ProjectionExec",
    "FilterExec",
    "GlobalLimitExec",
    "LocalLimitExec",
    "CooperativeExec",
    "CoalescePartitionsExec",
    "AggregateExec",
    "SortExec",
];

/// Parts of words that make a text's answer depend on more than the views it reads.
const UNREPEATABLE: [&str; 12] = [
    "now",
    "current",
    "today",
    "time_of",
    "random",
    "rand",
    "uuid",
    "headwater",
    "pipelinedb",
    "information_schema",
    "local",
    "version",
];

/// The plans of one catalog version.
#[derive(Default)]
pub(super) struct Plans {
    plans: Mutex<HashMap<(String, ReadLevelKey), Arc<dyn ExecutionPlan>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ReadLevelKey(bool);

/// Values of parameters are constants of the plan.
fn key(sql: &str, parameters: &[Parameter], options: ReadOptions) -> Option<(String, ReadLevelKey)> {
    let text = if parameters.is_empty() { sql.to_owned() } else { format!("{sql}\0{parameters:?}") };
    let lower = text.to_lowercase();
    let repeatable = text.len() <= SQL_BYTES_MAX && !UNREPEATABLE.iter().any(|word| lower.contains(word));
    repeatable.then(|| (text, ReadLevelKey(options.read_level == ReadLevel::Durable)))
}

impl Plans {
    /// The plan of this text, planned now if it is not known.
    pub(super) fn get_or_plan(
        &self,
        sql: &str,
        parameters: &[Parameter],
        options: ReadOptions,
        plan: impl FnOnce() -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(key) = key(sql, parameters, options) else { return plan() };
        let known = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return reset_plan_states(known);
        }
        let planned = plan()?;
        if is_repeatable(&planned)? {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if plans.len() >= PLANS_MAX {
                plans.clear();
            }
            plans.insert(key, Arc::clone(&planned));
        }
        Ok(planned)
    }
}

fn is_repeatable(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut repeatable = super::watched::constant_bytes(plan)? <= CONSTANT_BYTES_MAX;
    plan.apply(|node| {
        repeatable &= REPEATABLE.contains(&node.name());
        Ok(if repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(repeatable)
}
