//! From an event's bytes to what is to be done, and from what was done to the answer. No input or
//! output; one file per provider.

use crate::error::{Error, ErrorKind, Result};

pub use answer::{Answer, BatchItemFailure, Dispositions, PartialBatchResponse};
pub use route::{NoFeed, Route, Routed, route};

mod answer;
mod envelope;
mod route;
mod s3;
pub mod schedule;

/// The largest event that is read: the largest that a function can be called with.
pub const EVENT_BYTES_MAX: usize = 6 << 20;

/// What an event asks for.
#[derive(Debug)]
pub enum Request {
    /// List the sources of every feed, and take what is missing.
    SweepAll,
    /// List the sources of this feed, and take what is missing.
    Sweep(String),
    /// Take these objects, where a feed wants them.
    Announced(Vec<Message>),
}

/// One message of an event: what is delivered, acknowledged or delivered again as a whole.
#[derive(Debug)]
pub struct Message {
    /// What its queue calls it; nothing for a message that came without a queue.
    pub id: Option<String>,
    /// Its group, in a queue that keeps an order within each.
    pub group: Option<String>,
    /// How often its queue has handed it out, this time included.
    pub receive_count: Option<u32>,
    /// How many records it holds that announce nothing: removals, tests, changes of tags.
    pub ignored: usize,
    /// The objects that it announces, in its order, repeated ones too; or why it is not understood,
    /// which is nobody else's fault.
    pub content: Result<Vec<AnnouncedObject>>,
}

/// What an event says of an object. It is not believed further than that there may be one: the
/// version that counts is the one that is there when it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AnnouncedObject {
    /// Its canonical address, the key decoded and otherwise left alone.
    pub uri: String,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its entity tag, without quotes.
    pub etag: Option<String>,
    /// Its version, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// Orders the events of one key, by itself and by nothing else.
    pub sequencer: Option<String>,
}

/// What the event in `bytes` asks for.
///
/// # Errors
/// [`ErrorKind::Configuration`] for bytes that are no event that we know.
pub fn parse(bytes: &[u8]) -> Result<Request> {
    if bytes.len() > EVENT_BYTES_MAX {
        return Err(unknown("the event is larger than any cloud sends"));
    }
    let event = serde_json::from_slice(bytes)
        .map_err(|cause| unknown("the event is not JSON").with_cause(cause))?;
    understand(&event)
}

/// What `event` asks for.
///
/// # Errors
/// [`ErrorKind::Configuration`] for what is no event that we know.
pub fn understand(event: &serde_json::Value) -> Result<Request> {
    if let Some(request) = schedule::parse(event)? {
        return Ok(request);
    }
    match envelope::messages(event)? {
        Some(messages) => Ok(Request::Announced(messages)),
        None => Err(unknown("this is no event that Lakefeed knows").with_advice(
            "known are S3 notifications, alone or from SQS, SNS or EventBridge, scheduled events of \
             EventBridge, and {\"lakefeed\": {\"sweep\": \"FEED\"}}",
        )),
    }
}

fn unknown(message: &str) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests;
