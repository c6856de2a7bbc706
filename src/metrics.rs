//! What CloudWatch counts: one line of JSON for each feed of an invocation, in the embedded metric
//! format, from which CloudWatch Logs makes metrics by itself.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::delivery::Taken;
use crate::receipt::Tally;

/// Where CloudWatch files the metrics.
pub const NAMESPACE: &str = "Lakefeed";
/// What tells the metrics of one feed from another's.
const DIMENSION: &str = "feed";

/// What is the same for all feeds of one invocation.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The cloud's name for it.
    pub request_id: &'a str,
    /// Now.
    pub at: DateTime<Utc>,
    /// Whether it is the first of its process.
    pub is_cold_start: bool,
    /// The process's largest resident set so far, in bytes.
    pub peak_rss_bytes: u64,
}

/// The line for what one feed did, without its end.
pub fn line(invocation: &Invocation<'_>, taken: &Taken) -> String {
    let metrics = metrics(invocation, taken);
    let definitions: Vec<Value> =
        metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": invocation.at.timestamp_millis(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [[DIMENSION]],
                "Metrics": definitions,
            }],
        }),
    );
    line.insert(DIMENSION.to_owned(), taken.feed.clone().into());
    line.insert("request_id".to_owned(), invocation.request_id.into());
    line.extend(metrics.map(|(name, _, value)| (name.to_owned(), value.into())));
    Value::Object(line).to_string()
}

/// Names, units and values.
fn metrics(invocation: &Invocation<'_>, taken: &Taken) -> [(&'static str, &'static str, u64); 14] {
    let Tally { committed, duplicate, skipped, failed, attempts, .. } = &taken.tally;
    let Tally { rows, rows_rejected, rows_rescued, bytes_read, bytes_written, .. } = &taken.tally;
    [
        ("ObjectsCommitted", "Count", *committed),
        ("ObjectsDuplicate", "Count", *duplicate),
        ("ObjectsSkipped", "Count", *skipped),
        ("ObjectsFailed", "Count", *failed),
        ("Rows", "Count", *rows),
        ("RowsRejected", "Count", *rows_rejected),
        ("RowsRescued", "Count", *rows_rescued),
        ("BytesRead", "Bytes", *bytes_read),
        ("BytesWritten", "Bytes", *bytes_written),
        ("DurationMs", "Milliseconds", taken.duration.as_millis() as u64),
        ("Commits", "Count", attempts.len() as u64),
        ("Attempts", "Count", attempts.values().map(|attempts| u64::from(*attempts)).sum()),
        ("PeakRssBytes", "Bytes", invocation.peak_rss_bytes),
        ("ColdStart", "Count", invocation.is_cold_start.into()),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::receipt::{Receipt, Status};

    fn receipt(status: Status, version: u64, rows: u64) -> Receipt {
        Receipt {
            source: "s3://landing/a.csv".into(),
            status,
            reason: None,
            table: "s3://lake/orders".into(),
            version: Some(version),
            rows,
            rows_rejected: 1,
            rows_rescued: 2,
            rows_removed: 0,
            columns_added: vec![],
            bytes_read: 1000,
            bytes_written: 500,
            data_files: 1,
            attempts: 3,
            duration_ms: 30,
            cpu_ms: 20,
            peak_rss_bytes: 1,
            dialect: None,
            rejects: vec![],
            quarantine: None,
            error: None,
        }
    }

    /// Word for word, because CloudWatch ignores without a word what is not as it specifies.
    #[test]
    fn a_line_is_as_specified() {
        let mut tally = Tally::default();
        tally.extend(&[
            receipt(Status::Committed, 7, 20),
            receipt(Status::Committed, 7, 22),
            receipt(Status::Committed, 9, 1),
            receipt(Status::Duplicate, 5, 0),
            receipt(Status::Failed, 0, 0),
        ]);
        let duration = Duration::from_micros(1_234_567);
        let taken = Taken { feed: "orders".into(), tally, duration, ended_early: false };
        let invocation = Invocation {
            request_id: "156cb537",
            at: DateTime::from_timestamp_millis(1_574_109_732_004).unwrap(),
            is_cold_start: true,
            peak_rss_bytes: 64 << 20,
        };
        let expected = r#"{"_aws":{"CloudWatchMetrics":[{"Dimensions":[["feed"]],"Metrics":[
            {"Name":"ObjectsCommitted","Unit":"Count"},
            {"Name":"ObjectsDuplicate","Unit":"Count"},
            {"Name":"ObjectsSkipped","Unit":"Count"},
            {"Name":"ObjectsFailed","Unit":"Count"},
            {"Name":"Rows","Unit":"Count"},
            {"Name":"RowsRejected","Unit":"Count"},
            {"Name":"RowsRescued","Unit":"Count"},
            {"Name":"BytesRead","Unit":"Bytes"},
            {"Name":"BytesWritten","Unit":"Bytes"},
            {"Name":"DurationMs","Unit":"Milliseconds"},
            {"Name":"Commits","Unit":"Count"},
            {"Name":"Attempts","Unit":"Count"},
            {"Name":"PeakRssBytes","Unit":"Bytes"},
            {"Name":"ColdStart","Unit":"Count"}],
            "Namespace":"Lakefeed"}],"Timestamp":1574109732004},
            "feed":"orders","request_id":"156cb537",
            "ObjectsCommitted":3,"ObjectsDuplicate":1,"ObjectsSkipped":0,"ObjectsFailed":1,
            "Rows":43,"RowsRejected":5,"RowsRescued":10,"BytesRead":5000,"BytesWritten":2500,"DurationMs":1234,
            "Commits":2,"Attempts":6,"PeakRssBytes":67108864,"ColdStart":1}"#;
        let line = line(&invocation, &taken);
        assert_eq!(line.lines().count(), 1);
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(expected).unwrap());
    }
}
