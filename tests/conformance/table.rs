//! The table, as the pipeline, the protocol and the repairs use it.

mod commits;
mod creation;
#[cfg(feature = "delta")]
mod evolution;
mod failures;
mod liars;
mod reading;
#[cfg(feature = "delta")]
mod removals;
mod values;
