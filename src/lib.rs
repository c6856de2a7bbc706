//! Lakefeed feeds CSV objects into a lakehouse table, exactly once, in bounded memory.
//!
//! # The way of one byte
//!
//! ```text
//! event        ─► which objects, and for which feeds                     event, delivery
//! announcement ─► pin the table, look at the object, ask the ledger      ingest, commit, ledger
//!              ─► ranges of that very version ─► decompressed            source
//!              ─► in UTF-8, its dialect found out                        csv
//!              ─► the table's columns for it, or a change of them        ingest
//!              ─► typed Arrow batches, and a verdict on each bad row     csv
//!              ─► durable Parquet files, not yet visible                 parquet
//!              ─► the table's lease, if the feed wants one               lease
//!              ─► ledger tail, then the next version of the table        commit, ledger, table
//!              ─► receipt                                                receipt
//! ```
//!
//! # What holds, always
//!
//! 1. *Exactly once.* The rows of one version of one object become visible in exactly one commit, or
//!    not at all.
//! 2. *All or nothing.* A reader never sees part of an object.
//! 3. *Optimistic concurrency control decides.* Nothing rests on a lock or a clock.
//! 4. *Unknown is not failed.* A commit whose answer was lost is found out about before anything
//!    else.
//! 5. *Bounded memory.* Every buffer, queue and retry has a named limit, and their sum is checked.
//! 6. *Nothing is lost silently.* Every object ends in a receipt.
//! 7. *After the commit nothing can fail the ingest.*
//!
//! # Where to begin
//!
//! [`ingest`] and [`commit`] read from top to bottom as the specification. Only [`table::delta`] names
//! a table format (and `table::iceberg` and `maintain`, where they are built in), only [`store`],
//! [`lease`] and `dynamodb` a kind of storage, and only `bin/` and [`event`] a runtime. What was taken
//! is taken back by [`undo`]; what killed writers left behind is deleted by [`orphans`]; what is wrong
//! with a ledger is mended by [`repair`].

pub mod clock;
pub mod commit;
pub mod config;
pub mod csv;
pub mod delivery;
#[cfg(feature = "aws")]
pub mod dynamodb;
pub mod environment;
pub mod error;
pub mod event;
pub mod fault;
pub mod ingest;
pub mod lease;
pub mod ledger;
#[cfg(feature = "maintain")]
pub mod maintain;
pub mod memory;
pub mod metrics;
pub mod orphans;
pub mod parquet;
pub mod receipt;
pub mod repair;
pub mod source;
pub mod store;
pub mod table;
pub mod undo;
