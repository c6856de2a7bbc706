//! Lakefeed feeds a lakehouse.

pub mod clock;
pub mod csv;
pub mod error;
pub mod memory;
pub mod parquet;
pub(crate) mod store;
pub mod table;
