//! From an event's bytes to what is to be done. No input or output; one file per provider.

use crate::error::{Error, ErrorKind, Result};

pub mod schedule;

/// What an event asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// List the sources of every feed, and take what is missing.
    SweepAll,
    /// List the sources of this feed, and take what is missing.
    Sweep(String),
}

/// What the event in `bytes` asks for.
///
/// # Errors
/// [`ErrorKind::Configuration`] for bytes that are no event that we know.
pub fn parse(bytes: &[u8]) -> Result<Request> {
    let event: serde_json::Value = serde_json::from_slice(bytes).map_err(|cause| {
        Error::new(ErrorKind::Configuration, "the event is not JSON").with_cause(cause)
    })?;
    schedule::parse(&event)?.ok_or_else(|| {
        Error::new(ErrorKind::Configuration, "this is no event that Lakefeed knows").with_advice(
            "known are scheduled events of EventBridge, and {\"lakefeed\": {\"sweep\": \"FEED\"}}",
        )
    })
}
