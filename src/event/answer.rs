//! From what became of the objects to what the sender of their messages is told.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::Message;
use crate::receipt::Disposition;

/// What became of announced objects, by address.
#[derive(Debug, Default)]
pub struct Dispositions(HashMap<String, Disposition>);

impl Dispositions {
    /// Notes what one feed says of the object; of several feeds the worst counts.
    pub fn note(&mut self, uri: &str, disposition: Disposition) {
        let noted = self.0.entry(uri.to_owned()).or_insert(disposition);
        if *noted == Disposition::Ack {
            *noted = disposition;
        }
    }

    /// An object that nobody spoke of is not done.
    fn is_done(&self, uri: &str) -> bool {
        self.0.get(uri) == Some(&Disposition::Ack)
    }
}

/// What the sender of an event is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a queue: which messages are to be delivered again, or kept aside when that has been
    /// tried often enough, which is for the queue to count.
    Partial(PartialBatchResponse),
    /// To a sender that takes nothing but yes: everything is done.
    Done,
    /// To a sender that takes nothing but yes or no: so many messages, or objects of a sweep, are not
    /// done, so that the whole event must come again.
    Failed(usize),
}

/// The answer to a batch of a queue of SQS, as Lambda reads it with `ReportBatchItemFailures`.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartialBatchResponse {
    /// The messages that are not done.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A message that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// The message's id.
    pub item_identifier: String,
}

impl Answer {
    /// The answer to `messages`, given what became of their objects.
    ///
    /// A message is done when each of its objects is. What only a person can mend is not done
    /// either: the queue's own rule moves it to its dead-letter queue. In a queue that keeps an
    /// order, a message that is not done holds back those of its group that come after it.
    pub fn to(messages: &[Message], dispositions: &Dispositions) -> Self {
        let mut held_groups = HashSet::new();
        let mut failures = Vec::new();
        let mut failed = 0;
        for message in messages {
            let is_done = match &message.content {
                Ok(objects) => objects.iter().all(|object| dispositions.is_done(&object.uri)),
                Err(_) => false,
            };
            let is_held = message.group.as_ref().is_some_and(|group| held_groups.contains(group));
            if is_done && !is_held {
                continue;
            }
            failed += 1;
            held_groups.extend(&message.group);
            let failure = |id: &String| BatchItemFailure { item_identifier: id.clone() };
            failures.extend(message.id.as_ref().map(failure));
        }
        if messages.iter().any(|message| message.id.is_some()) {
            return Self::Partial(PartialBatchResponse { batch_item_failures: failures });
        }
        if failed == 0 { Self::Done } else { Self::Failed(failed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::event::AnnouncedObject;

    fn message(id: Option<&str>, group: Option<&str>, uris: &[&str]) -> Message {
        let object = |uri: &&str| AnnouncedObject {
            uri: (*uri).to_owned(),
            size: None,
            etag: None,
            version_id: None,
            sequencer: None,
        };
        Message {
            id: id.map(str::to_owned),
            group: group.map(str::to_owned),
            receive_count: None,
            ignored: 0,
            content: Ok(uris.iter().map(object).collect()),
        }
    }

    fn dispositions() -> Dispositions {
        let mut dispositions = Dispositions::default();
        dispositions.note("good", Disposition::Ack);
        dispositions.note("bad", Disposition::DeadLetter);
        dispositions.note("busy", Disposition::Retry);
        dispositions
    }

    fn failures(messages: &[Message]) -> Vec<String> {
        match Answer::to(messages, &dispositions()) {
            Answer::Partial(response) => {
                response.batch_item_failures.into_iter().map(|f| f.item_identifier).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_not_done_comes_again() {
        let unreadable = Message {
            content: Err(Error::new(ErrorKind::Configuration, "x")),
            ..message(Some("4"), None, &[])
        };
        let batch = [
            message(Some("1"), None, &["good", "good"]),
            message(Some("2"), None, &["good", "busy"]),
            message(Some("3"), None, &["bad"]),
            unreadable,
            message(Some("5"), None, &["nobody spoke of it"]),
            message(Some("6"), None, &[]),
        ];
        assert_eq!(failures(&batch), ["2", "3", "4", "5"]);
        assert_eq!(failures(&batch[..1]), [""; 0]);
    }

    #[test]
    fn a_group_stops_at_its_first_failure() {
        let batch = [
            message(Some("1"), Some("a"), &["good"]),
            message(Some("2"), Some("a"), &["busy"]),
            message(Some("3"), Some("b"), &["good"]),
            message(Some("4"), Some("a"), &["good"]),
            message(Some("5"), Some("b"), &["bad"]),
            message(Some("6"), Some("b"), &["good"]),
        ];
        assert_eq!(failures(&batch), ["2", "4", "5", "6"]);
    }

    #[test]
    fn who_sends_without_a_queue_is_told_yes_or_no() {
        let done = message(None, None, &["good"]);
        let not_done = message(None, None, &["good", "bad"]);
        assert_eq!(Answer::to(&[done], &dispositions()), Answer::Done);
        assert_eq!(Answer::to(&[not_done], &dispositions()), Answer::Failed(1));
        assert_eq!(Answer::to(&[], &dispositions()), Answer::Done);
    }

    #[test]
    fn of_several_feeds_the_worst_counts() {
        let mut dispositions = dispositions();
        dispositions.note("good", Disposition::Retry);
        dispositions.note("busy", Disposition::Ack);
        assert!(!dispositions.is_done("good"));
        assert!(!dispositions.is_done("busy"));
    }

    #[test]
    fn the_names_are_lambdas() {
        let batch = [message(Some("1"), None, &["bad"])];
        let Answer::Partial(response) = Answer::to(&batch, &dispositions()) else { panic!() };
        assert_eq!(
            serde_json::to_string(&response).unwrap(),
            r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#
        );
    }
}
