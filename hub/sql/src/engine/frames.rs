//! What windows calculate, where DataFusion's own way is wrong or refused.
//!
//! A frame that slides is calculated by taking out what leaves it. Doubles do not come back from that: once a large value or an
//! infinity has been in the frame, every later sum is wrong. Such frames are calculated anew for every row, as in
//! PostgreSQL, and so are those of aggregates that cannot take anything out. Keys that are calculated come from a projection
//! below, as DataFusion does not always know again what it has sorted by.

use super::guard;
use super::walk::rewrite_all;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, ExprSchemable, LogicalPlan, Projection, Signature,
    Window, WindowFrame, WindowFrameBound, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use std::mem::size_of_val;
use std::sync::Arc;

/// Puts those into a plan.
#[derive(Debug)]
pub(super) struct PrepareWindows;

impl AnalyzerRule for PrepareWindows {
    fn name(&self) -> &str {
        "prepare_windows"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_all(
            plan,
            |expr, schema| Ok(anew(expr, schema)),
            |plan| match plan {
                LogicalPlan::Window(window) => keyed(window),
                plan => Ok(Transformed::no(plan)),
            },
        )
    }
}

/// Aggregates that are right in every frame.
const FINE: [&str; 6] = ["count", "min", "max", "first_value", "last_value", "nth_value"];

fn anew(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::WindowFunction(call) = &mut expr else { return Transformed::no(expr) };
    let slides = slides(&call.params.window_frame);
    let is_double = |arg: &Expr| arg.get_type(schema).is_ok_and(|data_type| data_type.is_floating());
    let has_doubles = call.params.args.iter().any(is_double);
    match &mut call.fun {
        WindowFunctionDefinition::AggregateUDF(func)
            if slides && !FINE.contains(&func.name()) && !call.params.args.is_empty() =>
        {
            *func = Arc::new(AggregateUDF::from(Anew { inner: Arc::clone(func), has_doubles }));
            Transformed::yes(expr)
        }
        _ => Transformed::no(expr),
    }
}

/// True when rows leave the frame.
fn slides(frame: &WindowFrame) -> bool {
    !matches!(&frame.start_bound, WindowFrameBound::Preceding(distance) if distance.is_null())
}

/// Puts the keys that are no columns into a projection below, and takes them out again above.
fn keyed(window: Window) -> Result<Transformed<LogicalPlan>> {
    // Windows of the same keys must stay so.
    let mut calculated: Vec<Expr> = Vec::new();
    let mut exprs = window.window_expr.clone();
    for expr in &mut exprs {
        let name = expr.schema_name().to_string();
        let Some(call) = call_of(expr) else { continue };
        let params = &mut call.params;
        let keys = params.partition_by.iter_mut().chain(params.order_by.iter_mut().map(|key| &mut key.expr));
        for key in keys.filter(|key| !matches!(key, Expr::Column(_) | Expr::Literal(..))) {
            let known = calculated.iter().position(|known| known == key);
            let at = known.unwrap_or(calculated.len());
            // Columns' names have no control characters.
            let calculation = std::mem::replace(key, Expr::Column(format!("$key\u{1}{at}").as_str().into()));
            if known.is_none() {
                calculated.push(calculation);
            }
        }
        if !matches!(expr, Expr::Alias(_)) {
            *expr = std::mem::take(expr).alias(name);
        }
    }
    if calculated.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let keys = calculated.into_iter().enumerate().map(|(at, key)| key.alias(format!("$key\u{1}{at}")));
    let below = window.input.schema().iter().map(Expr::from).chain(keys).collect();
    let above = window.schema.iter().map(Expr::from).collect();
    let input = Projection::try_new(below, Arc::clone(&window.input))?;
    let window = Window::try_new(exprs, Arc::new(LogicalPlan::Projection(input)))?;
    let above = Projection::try_new(above, Arc::new(LogicalPlan::Window(window)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(above)))
}

fn call_of(expr: &mut Expr) -> Option<&mut WindowFunction> {
    match expr {
        Expr::WindowFunction(call) => Some(call),
        Expr::Alias(alias) => call_of(&mut alias.expr),
        _ => None,
    }
}

/// An aggregate whose sliding frames are calculated anew.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Anew {
    inner: Arc<AggregateUDF>,
    has_doubles: bool,
}

impl AggregateUDFImpl for Anew {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let recipe = Recipe::new(Arc::clone(&self.inner), &args);
        if !self.has_doubles {
            let sliding = self.inner.create_sliding_accumulator(args)?;
            if sliding.supports_retract_batch() {
                return Ok(sliding);
            }
        }
        Ok(Box::new(Frame { recipe, rows: Vec::new() }))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }
}

/// What makes an accumulator.
#[derive(Debug)]
struct Recipe {
    function: Arc<AggregateUDF>,
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Recipe {
    fn new(function: Arc<AggregateUDF>, args: &AccumulatorArgs<'_>) -> Self {
        Self {
            function,
            return_field: Arc::clone(&args.return_field),
            schema: args.schema.clone(),
            ignore_nulls: args.ignore_nulls,
            order_bys: args.order_bys.to_vec(),
            is_reversed: args.is_reversed,
            name: args.name.to_owned(),
            is_distinct: args.is_distinct,
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.to_vec(),
        }
    }

    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

/// The rows of one frame.
#[derive(Debug)]
struct Frame {
    recipe: Recipe,
    /// Its arguments, one array each.
    rows: Vec<ArrayRef>,
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.rows.is_empty() {
            self.rows = values.to_vec();
            return Ok(());
        }
        for (rows, new) in self.rows.iter_mut().zip(values) {
            *rows = concat(&[rows.as_ref(), new.as_ref()])?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let gone = values.first().map_or(0, |values| values.len());
        for rows in &mut self.rows {
            let gone = gone.min(rows.len());
            *rows = rows.slice(gone, rows.len() - gone);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        guard::check()?;
        let mut accumulator = self.recipe.accumulator()?;
        if self.rows.first().is_some_and(|rows| !rows.is_empty()) {
            accumulator.update_batch(&self.rows)?;
        }
        accumulator.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.iter().map(|rows| rows.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("a frame has no state")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("frames are not merged")
    }
}
