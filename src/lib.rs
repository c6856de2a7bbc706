//! Lakefeed feeds a lakehouse.

pub mod clock;
pub mod commit;
pub mod config;
pub mod csv;
pub mod environment;
pub mod error;
pub mod event;
pub mod ingest;
pub mod ledger;
pub mod memory;
pub mod parquet;
pub mod receipt;
pub mod source;
pub mod store;
pub mod table;
