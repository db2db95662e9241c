//! SQL for Headwater: definitions compiled to plans, queries over merged states.
//!
//! The only crate that names DataFusion. It never opens redb or a socket: the hub hands it a [`source::Source`].

mod buckets;
pub mod chain;
mod compile;
mod convert;
pub mod definition;
mod dialect;
mod engine;
mod error;
mod functions;
mod parse;
pub mod source;
mod suggest;
mod text;
pub mod transform;
mod types;
mod units;

pub use compile::{GROUPS_MAX_DEFAULT, ViewOptions, compile};
pub use convert::{TYPE_KEY, arrow_field, arrow_type, put_cell, type_of_field};
pub use datafusion::{arrow, parquet};
pub use engine::{
    Answer, Description, Engine, EngineOptions, Found, PARAMETERS_MAX, Parameter, ParameterValue,
    ReadOptions, Rows, Skipped, TableTarget, TableWriter, WriteTarget, array_items, batch_of, columns_of,
    rows_of, unknown_column,
};
pub use error::SqlError;
pub use parse::*;
pub use types::type_name;
