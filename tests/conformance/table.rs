//! The table, as the pipeline, the protocol and the repairs use it.

mod commits;
mod creation;
mod evolution;
mod failures;
mod liars;
mod reading;
mod removals;
mod values;
