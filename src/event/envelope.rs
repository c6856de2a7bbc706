//! What S3's notifications are wrapped in: nothing, SQS, SNS, EventBridge, or one in another.
//!
//! - SQS to Lambda: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
//! - SNS to Lambda: <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>
//! - SNS to SQS: <https://docs.aws.amazon.com/sns/latest/dg/sns-sqs-as-subscriber.html>

use serde_json::Value;

use super::s3::{self, Announced};
use super::{Message, unknown};
use crate::error::Result;

/// How many wrappings one message may have: a queue's, a topic's and a bus's make three.
const WRAPPINGS_MAX: u32 = 4;

/// The messages of an event that announces objects; nothing for an event of another kind.
///
/// # Errors
/// [`crate::error::ErrorKind::Configuration`] for a batch of a queue whose messages have no id: what
/// failed of it could not be told apart, so that the whole must come again.
pub(super) fn messages(event: &Value) -> Result<Option<Vec<Message>>> {
    if let Some(records) = records_of(event, "eventSource", "aws:sqs") {
        return records.iter().map(queued).collect::<Result<_>>().map(Some);
    }
    if let Some(records) = records_of(event, "EventSource", "aws:sns") {
        let published = |record: &Value| alone(text(&record["Sns"]["Message"], WRAPPINGS_MAX));
        return Ok(Some(records.iter().map(published).collect()));
    }
    Ok(content(event, WRAPPINGS_MAX).map(|announced| vec![alone(announced)]))
}

/// The event's records, where the first of them is from `source`.
fn records_of<'a>(event: &'a Value, field: &str, source: &str) -> Option<&'a [Value]> {
    let records = event["Records"].as_array()?;
    (records.first()?[field] == source).then_some(records)
}

/// A message of a queue.
fn queued(record: &Value) -> Result<Message> {
    let Some(id) = record["messageId"].as_str() else {
        return Err(unknown("a message of the queue has no messageId"));
    };
    let attributes = &record["attributes"];
    // Standard queues have groups as well, which share a queue fairly and keep no order.
    let keeps_order =
        record["eventSourceARN"].as_str().is_some_and(|queue| queue.ends_with(".fifo"));
    let group = attributes["MessageGroupId"].as_str().filter(|_| keeps_order);
    let receive_count = &attributes["ApproximateReceiveCount"];
    Ok(Message {
        id: Some(id.to_owned()),
        group: group.map(str::to_owned),
        receive_count: receive_count.as_str().and_then(|count| count.parse().ok()),
        ..alone(text(&record["body"], WRAPPINGS_MAX))
    })
}

/// A message that no queue waits for.
fn alone(announced: Result<Announced>) -> Message {
    let (ignored, content) = match announced {
        Ok(Announced { objects, ignored }) => (ignored, Ok(objects)),
        Err(error) => (0, Err(error)),
    };
    Message { id: None, group: None, receive_count: None, ignored, content }
}

/// What a message announces that is JSON within a string.
fn text(body: &Value, wrappings: u32) -> Result<Announced> {
    parse_text(body, wrappings)
        .map_err(|error| error.with_advice("look at what sends to the queue or the topic"))
}

fn parse_text(body: &Value, wrappings: u32) -> Result<Announced> {
    let text = body.as_str().ok_or_else(|| unknown("the message has no text"))?;
    let body: Value = serde_json::from_str(text)
        .map_err(|cause| unknown("the message is not JSON").with_cause(cause))?;
    content(&body, wrappings)
        .unwrap_or_else(|| Err(unknown("the message is no notification of S3")))
}

/// What is announced by a notification, unwrapped as far as it is wrapped; nothing where it is of
/// another kind.
fn content(body: &Value, wrappings: u32) -> Option<Result<Announced>> {
    let is_of_a_topic = body["Type"] == "Notification" && !body["TopicArn"].is_null();
    if !is_of_a_topic {
        return s3::announced(body);
    }
    Some(match wrappings.checked_sub(1) {
        Some(wrappings) => text(&body["Message"], wrappings),
        None => Err(unknown("the message is wrapped too often")),
    })
}
