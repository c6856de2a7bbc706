use std::collections::HashSet;
use std::path::PathBuf;

use object_store::ObjectStoreExt;

use super::*;
use crate::clock::TimeBox;

const FEEDS: &str = "
[[feed]]
name = 'astray'
source = 'memory:///in/*.csv'
table = 'nowhere://t'
[[feed]]
name = 'good'
source = 'memory:///in/*.csv'
table = 'memory:///t'
";

async fn environment(time_box: Option<TimeBox>) -> Environment {
    let settings = Settings { memory: Some(1 << 30), ..Settings::default() };
    let environment =
        Environment::of_process("test".into(), &settings, PathBuf::from("/"), None).unwrap();
    let object = environment.stores.resolve("memory:///in/a.csv").unwrap();
    object.store.put(&object.path, "id\n1\n".into()).await.unwrap();
    Environment { time_box, ..environment }
}

fn request(text: &str) -> Request {
    event::parse(text.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_feed_holds_back_no_other() {
    let environment = environment(None).await;
    let settings = Settings::parse(FEEDS).unwrap();
    let all = request(r#"{"lakefeed": {"sweep": true}}"#);
    let delivery = handle(&environment, &settings, &all, &()).await.unwrap();
    assert_eq!(delivery.answer, Answer::Failed(1));
    let [taken] = &delivery.feeds[..] else { panic!("{delivery:?}") };
    assert_eq!((taken.feed.as_str(), taken.tally.committed), ("good", 1));

    // Alone, it says why it cannot run.
    let one = request(r#"{"lakefeed": {"sweep": "astray"}}"#);
    let error = handle(&environment, &settings, &one, &()).await.unwrap_err();
    assert_eq!((error.kind(), error.object()), (ErrorKind::Configuration, Some("nowhere://t")));
    let none = request(r#"{"lakefeed": {"sweep": "god"}}"#);
    let error = handle(&environment, &settings, &none, &()).await.unwrap_err();
    assert_eq!(error.advice(), Some("did you mean \"good\"?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_without_time_is_left_to_the_next() {
    let over = TimeBox { began: Duration::ZERO, ends: Duration::ZERO };
    let environment = environment(Some(over)).await;
    let settings = Settings::parse(FEEDS).unwrap();
    let all = request(r#"{"lakefeed": {"sweep": true}}"#);
    let delivery = handle(&environment, &settings, &all, &()).await.unwrap();
    assert_eq!(delivery.answer, Answer::Done);
    assert!(delivery.feeds.is_empty(), "{delivery:?}");
}

#[tokio::test]
async fn where_time_may_run_out_everyone_is_first_at_times() {
    let feeds = ["a", "b", "c"];
    let mut environment = environment(None).await;
    let firsts = |environment: &Environment| -> HashSet<&str> {
        (0..100).filter_map(|_| in_turn(environment, &feeds).next().copied()).collect()
    };
    assert_eq!(firsts(&environment), HashSet::from(["a"]));
    environment.time_box = Some(TimeBox { began: Duration::ZERO, ends: Duration::MAX });
    assert_eq!(firsts(&environment), HashSet::from(feeds));
    let all: HashSet<_> = in_turn(&environment, &feeds).copied().collect();
    assert_eq!(all, HashSet::from(feeds));
    assert_eq!(in_turn(&environment, &[] as &[&str]).count(), 0);
}

#[tokio::test]
async fn a_configuration_without_a_feed_is_refused() {
    let environment = environment(None).await;
    let error = check(&environment, &Settings::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}
