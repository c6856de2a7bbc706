//! Lakefeed feeds a lakehouse.

pub mod clock;
pub mod config;
pub mod csv;
pub mod error;
pub mod memory;
pub mod parquet;
pub mod receipt;
pub mod table;
