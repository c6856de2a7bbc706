//! What S3 says of its objects, itself and through EventBridge.
//!
//! - <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
//! - <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{AnnouncedObject, unknown};
use crate::error::Result;
use crate::source::plain_tag;

/// What the records of one message come to.
#[derive(Debug, Default)]
pub(super) struct Announced {
    pub objects: Vec<AnnouncedObject>,
    /// Records that announce nothing.
    pub ignored: usize,
}

impl Announced {
    /// Adds an object, unless it is only what consoles show as a folder.
    fn add(&mut self, object: AnnouncedObject) {
        if object.uri.ends_with('/') && object.size == Some(0) {
            self.ignored += 1;
        } else {
            self.objects.push(object);
        }
    }
}

/// What a notification announces; nothing for JSON that is none of S3's.
pub(super) fn announced(body: &Value) -> Option<Result<Announced>> {
    if body["Event"] == "s3:TestEvent" {
        return Some(Ok(Announced { ignored: 1, ..Announced::default() }));
    }
    if body["source"] == "aws.s3" && body["detail-type"].is_string() {
        return Some(of_bus(body));
    }
    let records = body["Records"].as_array()?;
    let is_ours = records.iter().any(is_of_s3);
    is_ours.then(|| of_records(records))
}

/// Stores that speak S3's language put their own name before the colon.
fn is_of_s3(record: &Value) -> bool {
    record["eventSource"].as_str().is_some_and(|source| source.ends_with(":s3"))
}

/// One wrong record fails the message: taking its other objects would acknowledge the wrong one.
fn of_records(records: &[Value]) -> Result<Announced> {
    let mut announced = Announced::default();
    for record in records {
        match record["eventVersion"].as_str() {
            // A new minor version adds fields, a new major one changes them.
            Some(version) if !version.starts_with("2.") => {
                return Err(unknown("the notification is of a version that is not known"));
            }
            _ => {}
        }
        let name = record["eventName"].as_str().unwrap_or_default();
        if !name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
            announced.ignored += 1;
            continue;
        }
        let (bucket, object) = (&record["s3"]["bucket"], &record["s3"]["object"]);
        let key = decode_key(key_of(object)?)?;
        announced.add(object_of(bucket, object, &key, ["eTag", "versionId"])?);
    }
    Ok(announced)
}

/// EventBridge does not encode keys, and spells two fields in its own way.
fn of_bus(event: &Value) -> Result<Announced> {
    let mut announced = Announced::default();
    if event["detail-type"] != "Object Created" {
        announced.ignored += 1;
        return Ok(announced);
    }
    let (bucket, object) = (&event["detail"]["bucket"], &event["detail"]["object"]);
    announced.add(object_of(bucket, object, key_of(object)?, ["etag", "version-id"])?);
    Ok(announced)
}

fn key_of(object: &Value) -> Result<&str> {
    let key = object["key"].as_str().filter(|key| !key.is_empty());
    key.ok_or_else(|| unknown("the notification names no key"))
}

fn object_of(
    bucket: &Value,
    object: &Value,
    key: &str,
    [etag, version_id]: [&str; 2],
) -> Result<AnnouncedObject> {
    let bucket = bucket["name"].as_str().filter(|name| !name.is_empty() && !name.contains('/'));
    let bucket = bucket.ok_or_else(|| unknown("the notification names no bucket"))?;
    let text = |field: &str| object[field].as_str().map(str::to_owned);
    Ok(AnnouncedObject {
        uri: format!("s3://{bucket}/{key}"),
        size: object["size"].as_u64(),
        etag: object[etag].as_str().map(plain_tag),
        version_id: text(version_id),
        sequencer: text("sequencer"),
    })
}

/// A key as it is, from a key as S3 writes it in its notifications: like a field of an HTML form.
fn decode_key(encoded: &str) -> Result<String> {
    let spaced = encoded.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|cause| unknown("the key is not UTF-8").with_cause(cause))
}

#[cfg(test)]
mod tests {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    /// What S3 leaves as it is, beside the slash, which some of its imitations encode too.
    const PLAIN: AsciiSet =
        NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b' ');
    const WITH_SLASHES: AsciiSet = PLAIN.remove(b'/');

    proptest! {
        #[test]
        fn every_key_comes_back(key in "\\PC{1,40}", keeps_slash: bool) {
            let set = if keeps_slash { &WITH_SLASHES } else { &PLAIN };
            let encoded = utf8_percent_encode(&key, set).to_string().replace(' ', "+");
            prop_assert_eq!(decode_key(&encoded).unwrap(), key);
        }
    }

    #[test]
    fn a_key_is_decoded_as_a_form() {
        for (encoded, key) in [
            ("orders/2026/08/01+a%2Bb%3D%C3%BC.csv", "orders/2026/08/01 a+b=ü.csv"),
            ("orders%2Fa.csv", "orders/a.csv"),
            ("a//b.csv", "a//b.csv"),
            ("50%25.csv", "50%.csv"),
            ("a%2520b.csv", "a%20b.csv"),
        ] {
            assert_eq!(decode_key(encoded).unwrap(), key);
        }
        decode_key("%FF.csv").unwrap_err();
    }
}
