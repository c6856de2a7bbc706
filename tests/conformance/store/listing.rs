//! Listings: finding sources, a table's log, and a ledger whose pointer is lost.
//!
//! Who relies on what: the ledger and the search for sources take a listing in any order; the Delta
//! kernel reads `list_with_offset` as it comes, and takes it to be ordered, except for `file:`
//! addresses, which it sorts.

use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::{Error, ObjectStoreExt};

use crate::support::stores::Store;

/// More than one page of every store.
const MANY: usize = 10_000;
const WRITERS: usize = 32;

impl Store {
    async fn sorted_names(&self, prefix: Option<&str>) -> Vec<String> {
        let mut names = self.names(prefix).await;
        names.sort();
        names
    }

    async fn names_after(&self, prefix: &str, offset: &str) -> Vec<String> {
        let (prefix, offset) = (self.key(prefix), self.key(offset));
        let listed = self.store.list_with_offset(Some(&prefix), &offset);
        let mut listed: Vec<_> = listed.try_collect().await.unwrap();
        if !self.can.ordered_listings {
            listed.sort_by(|a, b| a.location.cmp(&b.location));
        }
        listed.iter().map(|object| self.name(&object.location)).collect()
    }
}

async fn a_list_shows_what_was_just_written_and_not_what_was_deleted(store: Store) {
    for number in 0..20 {
        store.write(&format!("folder/{number:02}"), vec![0; number]).await;
        assert_eq!(store.names(Some("folder")).await.len(), number + 1);
    }
    for number in 0..20 {
        store.store.delete(&store.key(&format!("folder/{number:02}"))).await.unwrap();
        let left = store.sorted_names(Some("folder")).await;
        assert_eq!(left, (number + 1..20).map(|n| format!("folder/{n:02}")).collect::<Vec<_>>());
    }
}

async fn a_list_tells_sizes(store: Store) {
    for size in [0, 1, 1_000] {
        store.write(&format!("folder/{size}"), vec![0; size]).await;
    }
    let listed: Vec<_> = store.store.list(Some(&store.folder)).try_collect().await.unwrap();
    assert_eq!(listed.len(), 3);
    for object in listed {
        assert_eq!(store.name(&object.location), format!("folder/{}", object.size));
    }
}

async fn a_prefix_is_of_whole_segments(store: Store) {
    for name in ["a/b/1", "a/b/c/2", "a/bc/3", "a/b.csv", "a/b", "ab/4", "a-b/5"] {
        // On a disk, a folder is no object.
        if name != "a/b" {
            store.write(name, "x").await;
        }
    }
    assert_eq!(store.sorted_names(Some("a/b")).await, ["a/b/1", "a/b/c/2"]);
    assert_eq!(store.sorted_names(Some("a")).await, ["a/b.csv", "a/b/1", "a/b/c/2", "a/bc/3"]);
    assert_eq!(store.sorted_names(Some("a/bc")).await, ["a/bc/3"]);
}

/// To the ledger, a folder that is not there is one that is empty.
async fn a_list_of_nothing_is_empty_or_not_found(store: Store) {
    store.write("object", "x").await;
    for nothing in ["nothing", "nothing/at/all", "object"] {
        let key = store.key(nothing);
        match store.store.list(Some(&key)).try_collect::<Vec<_>>().await {
            Ok(listed) => assert!(listed.is_empty(), "{nothing}: {listed:?}"),
            Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{nothing}: {error:?}"),
        }
    }
}

async fn an_offset_is_left_out(store: Store) {
    for name in ["log/00", "log/01", "log/02", "log/10", "log/_last", "log/x/03", "other/99"] {
        store.write(name, "x").await;
    }
    let all = ["log/00", "log/01", "log/02", "log/10", "log/_last", "log/x/03"];
    assert_eq!(store.names_after("log", "log/01").await, all[2..]);
    assert_eq!(store.names_after("log", "log/011").await, all[2..]);
    assert_eq!(store.names_after("log", "log/_last").await, all[5..]);
    assert_eq!(store.names_after("log", "log").await, all);
    assert!(store.names_after("log", "log/y").await.is_empty());
}

async fn a_delimited_list_is_of_one_level(store: Store) {
    for name in ["tables/1/tail", "tables/2/deep/tail", "tables/object", "other/3"] {
        store.write(name, "x").await;
    }
    let listed = store.store.list_with_delimiter(Some(&store.key("tables"))).await.unwrap();
    let names = |keys: Vec<_>| {
        let mut names: Vec<String> = keys.into_iter().map(|key| store.name(key)).collect();
        names.sort();
        names
    };
    assert_eq!(names(listed.common_prefixes.iter().collect()), ["tables/1", "tables/2"]);
    let objects = listed.objects.iter().map(|object| &object.location).collect();
    assert_eq!(names(objects), ["tables/object"]);
}

pub async fn a_list_is_in_the_order_of_keys(store: Store) {
    let names = ["b", "a-b", "a/z", "a.b", "a/1", "ä", "Z", "_", "10", "9", "a/1-", "a/1/x"];
    for name in names {
        // On a disk, a folder is no object.
        if name != "a/1" {
            store.write(name, "x").await;
        }
    }
    let listed = store.names(None).await;
    let mut sorted = listed.clone();
    sorted.sort();
    assert_eq!(listed.len(), names.len() - 1);
    if store.can.ordered_listings {
        assert_eq!(listed, sorted, "the Delta kernel relies on the order");
    } else {
        // It is the kernel that sorts these, and these alone.
        assert!(store.address.starts_with("file:"), "who sorts {}?", store.address);
    }
}

async fn ten_thousand_keys_are_listed_once_each(store: Store) {
    let name = |number: usize| format!("{:02}/{number:05}", number % 100);
    let put = |number| {
        let (quick, key) = (&store.quick, store.key(&name(number)));
        async move { quick.put(&key, "x".into()).await.map(|_| ()) }
    };
    stream::iter(0..MANY).map(put).buffer_unordered(WRITERS).try_collect::<()>().await.unwrap();
    let mut expected: Vec<String> = (0..MANY).map(name).collect();
    expected.sort();
    assert!(store.sorted_names(None).await == expected);
    let upper = &expected[MANY / 2..];
    assert!(store.names_after("", &expected[MANY / 2 - 1]).await == upper);
}

on_every_store!([
    a_list_shows_what_was_just_written_and_not_what_was_deleted,
    a_list_tells_sizes,
    a_prefix_is_of_whole_segments,
    a_list_of_nothing_is_empty_or_not_found,
    an_offset_is_left_out,
    a_delimited_list_is_of_one_level,
    a_list_is_in_the_order_of_keys,
]);

// The emulator of S3 takes one request at a time; tests/e2e/test_s3.py lists many pages of it.
mod not_one_by_one {
    use super::ten_thousand_keys_are_listed_once_each;

    conformance!(stores: memory, local, faultless => [ten_thousand_keys_are_listed_once_each]);
}
