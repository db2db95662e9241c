//! Functions that plans put around an expression, and that nobody can call: what they give is of its type.

use super::postgres::each;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What is done to the values of an array.
type Run = fn(&ArrayRef) -> Result<ArrayRef>;

/// One of them: two of a name are the same.
#[derive(Debug)]
pub(super) struct Wrapper {
    name: &'static str,
    run: Run,
    is_per_row: bool,
    signature: Signature,
}

impl Wrapper {
    /// A function that gives what `run` makes of its argument, and one value for one value.
    pub(super) fn of_values(name: &'static str, run: Run) -> Arc<ScalarUDF> {
        Self::made(name, run, false)
    }

    /// A function that gives a value for every row, also of a constant, and of none where there are no rows.
    pub(super) fn of_rows(name: &'static str, run: Run) -> Arc<ScalarUDF> {
        Self::made(name, run, true)
    }

    fn made(name: &'static str, run: Run, is_per_row: bool) -> Arc<ScalarUDF> {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::from(Self { name, run, is_per_row, signature }))
    }
}

impl PartialEq for Wrapper {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Wrapper {}

impl Hash for Wrapper {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Wrapper {
    fn name(&self) -> &str {
        self.name
    }

    /// That of what is in it: columns keep their names.
    fn display_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().unwrap_or(&Expr::default()).to_string())
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().unwrap_or(&Expr::default()).schema_name().to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.is_per_row {
            true => (self.run)(&args.args[0].to_array(args.number_rows)?).map(ColumnarValue::Array),
            false => each(&args.args[0], args.number_rows, self.run),
        }
    }
}
