//! Keys: any name that a source may have, and what becomes of deleted ones.

use object_store::{Error, GetOptions, ObjectStoreExt, PutMode};

use crate::support::stores::Store;

/// Names that something on the way might decode, encode, cut or fold.
const NAMES: [&str; 22] = [
    "with a space.csv",
    " leading and trailing ",
    "50%.csv",
    "50%20encoded.csv",
    "%2F",
    "%2f",
    "a=b/c=d.csv",
    "a+b.csv",
    "what?.csv",
    "#hash.csv",
    "a#b.csv",
    "semi;colon,comma.csv",
    "am&per$and.csv",
    "[brackets]{braces}.csv",
    "quotes'\"`.csv",
    "back\\slash.csv",
    "grüße.csv",
    "文件.csv",
    "😀.csv",
    "star*.csv",
    "a:b|c<d>e.csv",
    "~tilde^caret.csv",
];

async fn a_key_is_kept_to_the_letter(store: Store) {
    for name in NAMES {
        let key = store.key(name);
        let content = format!("the content of {name}");
        store.store.put_opts(&key, content.clone().into(), PutMode::Create.into()).await.unwrap();
        let head = store.store.head(&key).await.unwrap();
        assert_eq!(head.location, key);
        let pinned = GetOptions { if_match: head.e_tag, ..GetOptions::default() };
        let read = store.store.get_opts(&key, pinned).await.unwrap().bytes().await.unwrap();
        assert_eq!(read, content);
    }
    let (mut listed, mut expected) = (store.names(None).await, NAMES.map(str::to_owned).to_vec());
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    for name in NAMES {
        store.store.delete(&store.key(name)).await.unwrap();
        assert!(store.is_absent(name).await, "{name:?}");
    }
    assert!(store.names(None).await.is_empty());
}

async fn keys_that_differ_are_two(store: Store) {
    let pairs =
        [("a b", "a%20b"), ("a+b", "a b+"), ("case", "Case"), ("%2F", "%2f"), ("é", "e\u{301}")];
    for (one, other) in pairs {
        store.write(one, "one").await;
        store.write(other, "other").await;
        assert_eq!(store.read(one).await, b"one", "{one:?} and {other:?}");
        assert_eq!(store.read(other).await, b"other", "{one:?} and {other:?}");
    }
}

/// The names of the local store's unfinished files: it refuses them, rather than to take one for the other.
async fn a_name_that_ends_in_a_hash_and_a_number(store: Store) {
    let put = store.store.put(&store.key("file.csv#1"), "x".into()).await;
    if store.can.staging_names {
        put.unwrap();
        assert_eq!(store.names(None).await, ["file.csv#1"]);
    } else {
        assert!(put.is_err(), "it has learnt to take them");
        assert!(store.names(None).await.is_empty());
    }
}

async fn an_object_may_be_the_folder_of_another(store: Store) {
    store.write("object", "x").await;
    let below = store.store.put(&store.key("object/below"), "y".into()).await;
    if store.can.nested_names {
        below.unwrap();
        assert_eq!(store.read("object/below").await, b"y");
        assert_eq!(store.names(None).await, ["object", "object/below"]);
    } else {
        assert!(below.is_err(), "it has learnt it");
    }
    assert_eq!(store.read("object").await, b"x");
}

async fn deleting_what_is_not_there_harms_nobody(store: Store) {
    store.write("folder/object", "x").await;
    let deleted = store.store.delete(&store.key("folder/nothing")).await;
    if store.can.deletion_tells_of_absence {
        assert!(matches!(deleted, Err(Error::NotFound { .. })), "{deleted:?}");
    } else {
        deleted.unwrap();
    }
    assert_eq!(store.read("folder/object").await, b"x");
    store.store.delete(&store.key("folder/object")).await.unwrap();
    assert!(store.is_absent("folder/object").await);
}

async fn an_overwrite_leaves_the_new_content_alone(store: Store) {
    store.write("object", "a long content").await;
    store.write("object", "short").await;
    assert_eq!(store.read("object").await, b"short");
    assert_eq!(store.names(None).await, ["object"]);
}

conformance!(stores: memory, local, faultless => [
    a_key_is_kept_to_the_letter,
    keys_that_differ_are_two,
    a_name_that_ends_in_a_hash_and_a_number,
    an_object_may_be_the_folder_of_another,
    deleting_what_is_not_there_harms_nobody,
    an_overwrite_leaves_the_new_content_alone,
]);
