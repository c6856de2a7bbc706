//! Schedules: EventBridge rules, and our own request to sweep one feed, which EventBridge Scheduler
//! and cron jobs send as their constant input.
//!
//! The event of a rule: <https://docs.aws.amazon.com/eventbridge/latest/ref/welcome.html>

use serde_json::Value;

use super::Request;
use crate::error::{Error, ErrorKind, Result};

/// What a schedule's event asks for; nothing for an event of another kind.
///
/// # Errors
/// [`ErrorKind::Configuration`] for a request of ours that names no feed.
pub fn parse(event: &Value) -> Result<Option<Request>> {
    if let Some(request) = event.get("lakefeed") {
        return match request.get("sweep") {
            Some(Value::String(feed)) => Ok(Some(Request::Sweep(feed.clone()))),
            Some(Value::Bool(true)) => Ok(Some(Request::SweepAll)),
            _ => Err(Error::new(ErrorKind::Configuration, "the event does not say what to sweep")
                .with_advice(
                    "write {\"lakefeed\": {\"sweep\": \"FEED\"}}, or true for every feed",
                )),
        };
    }
    let is_schedule = event["detail-type"] == "Scheduled Event" && event["source"] == "aws.events";
    Ok(is_schedule.then_some(Request::SweepAll))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn fixtures_are_understood() {
        let rule = include_bytes!("../../events/schedule/eventbridge-rule.json");
        assert!(matches!(parse(rule).unwrap(), Request::SweepAll));
        let one = include_bytes!("../../events/schedule/sweep-one-feed.json");
        assert!(matches!(parse(one).unwrap(), Request::Sweep(feed) if feed == "orders"));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for bytes in ["", "{}", "[1]", r#"{"lakefeed": {}}"#, r#"{"lakefeed": {"sweep": 3}}"#] {
            let error = parse(bytes.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{bytes}");
        }
    }
}
