//! The object store, as the source, the ledger, the uploads and the tables use it.

mod conditional;
mod keys;
mod liars;
mod listing;
mod multipart;
mod reading;
