use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// What an event asks for, in lines.
fn describe(request: Result<Request>) -> String {
    let messages = match request {
        Ok(Request::Announced(messages)) => messages,
        other => return format!("{other:?}\n"),
    };
    let mut text = String::new();
    for Message { id, group, receive_count, ignored, content } in messages {
        writeln!(
            text,
            "message {id:?}, group {group:?}, received {receive_count:?}, {ignored} ignored"
        )
        .unwrap();
        match content {
            Ok(objects) => objects.iter().for_each(|object| {
                writeln!(text, "  {}", serde_json::to_string(object).unwrap()).unwrap();
            }),
            Err(error) => writeln!(text, "  {:?}: {error}", error.kind()).unwrap(),
        }
    }
    text
}

/// Set `UPDATE_GOLDEN=1` to write what is understood now; then read the difference.
#[test]
#[allow(clippy::disallowed_methods)]
fn what_aws_sends_is_understood() {
    let update = std::env::var("UPDATE_GOLDEN").is_ok();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/aws");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let understood = describe(parse(&std::fs::read(&path).unwrap()));
        let golden = path.with_extension("golden");
        if update {
            std::fs::write(&golden, &understood).unwrap();
        }
        assert_eq!(understood, std::fs::read_to_string(&golden).unwrap(), "{}", path.display());
        cases += 1;
    }
    assert!(cases >= 23, "only {cases} cases");
}

/// Any JSON, with the names and values that the parser looks for among it.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![
        "\\PC{0,6}",
        prop::sample::select(vec![
            "aws:s3",
            "aws:sqs",
            "aws:sns",
            "aws.s3",
            "Object Created",
            "ObjectCreated:Put",
            "s3:TestEvent",
            "Notification",
            "%FF",
            "{}",
            "2.1",
            "{\"Records\":[{}]}",
        ])
        .prop_map(str::to_owned),
    ];
    let name = prop::sample::select(vec![
        "Records",
        "eventSource",
        "EventSource",
        "eventName",
        "eventVersion",
        "s3",
        "bucket",
        "name",
        "object",
        "key",
        "size",
        "body",
        "messageId",
        "attributes",
        "Sns",
        "Message",
        "Type",
        "TopicArn",
        "source",
        "detail-type",
        "detail",
        "Event",
        "lakefeed",
        "sweep",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        text.prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(name.clone(), inner, 0..6).prop_map(|fields| {
                let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
                serde_json::Value::Object(fields.collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_is_too_odd(json in any_json()) {
        let wrapped = serde_json::json!({ "Records": [
            { "eventSource": "aws:sqs", "messageId": "1", "body": json.to_string() }
        ] });
        for event in [json, wrapped] {
            let _ = parse(event.to_string().as_bytes());
        }
    }

    #[test]
    fn no_bytes_are_too_odd(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }
}

#[test]
fn a_message_cannot_be_wrapped_without_end() {
    let mut body = include_str!("../../events/aws/s3-put-2.1.json").to_owned();
    for wrappings in 0..8 {
        let Ok(Request::Announced(messages)) = parse(body.as_bytes()) else { panic!("{body}") };
        assert_eq!(messages[0].content.is_ok(), wrappings <= 4, "{wrappings}");
        let wrapped =
            serde_json::json!({ "Type": "Notification", "TopicArn": "arn", "Message": body });
        body = wrapped.to_string();
    }
}

#[test]
fn a_queue_whose_messages_have_no_id_is_refused_whole() {
    let event = br#"{"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}"#;
    assert_eq!(parse(event).unwrap_err().kind(), ErrorKind::Configuration);
    parse(&vec![b' '; EVENT_BYTES_MAX + 1]).unwrap_err();
}

mod routes {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Settings;
    use crate::store::Stores;

    #[test]
    fn objects_go_to_every_feed_that_wants_them() {
        let settings = Settings::parse(
            "[[feed]]\nname = 'all'\nsource = 'memory:///in'\ntable = 'a'\n\
             [[feed]]\nname = 'orders'\nsource = ['memory:///in/o/*.csv', 'memory:///in']\n\
             table = 'b'\n[[feed]]\nname = 'none'\nsource = 'memory:///out'\ntable = 'c'\n",
        )
        .unwrap();
        let stores = Stores::new(PathBuf::from("/here"));
        let object = |uri: &str| AnnouncedObject {
            uri: uri.to_owned(),
            size: None,
            etag: None,
            version_id: None,
            sequencer: None,
        };
        let uris = ["memory:///in/o/a.csv", "memory:///in/o/a.txt", "memory:///in/o/a.csv"];
        let message = |receive_count, uris: &[&str]| Message {
            id: None,
            group: None,
            receive_count,
            ignored: 0,
            content: Ok(uris.iter().map(|uri| object(uri)).collect()),
        };
        let messages = [message(Some(3), &uris), message(None, &uris[..1])];
        let (routes, no_feed) = route(&stores, &settings, &messages).unwrap();
        let routed: Vec<_> = routes
            .iter()
            .map(|route| {
                let names = route.objects.iter().map(|routed| (routed.relative, routed.deliveries));
                (route.feed.name.as_str(), names.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(routed, [("all", vec![("o/a.csv", 3)]), ("orders", vec![("a.csv", 3)])]);
        assert_eq!(no_feed.iter().map(|o| o.uri.as_str()).collect::<Vec<_>>(), [uris[1]]);
    }
}
