//! Reads: of one version of an object, whole and in ranges. Sources, logs and data files are read
//! so.

use object_store::{Error, GetOptions, GetRange, ObjectStoreExt, Result};

use crate::support::stores::Store;

const LARGE_BYTES: usize = 20 << 20;
/// What the source asks for at a time.
const RANGE_BYTES: u64 = 2 << 20;

/// Bytes that are nowhere the same.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i ^ (i >> 8) ^ (i >> 16).wrapping_mul(31)) as u8).collect()
}

impl Store {
    async fn tag(&self, name: &str) -> String {
        let head = self.store.head(&self.key(name)).await.unwrap();
        head.e_tag.expect("an object has an entity tag")
    }

    async fn range(&self, name: &str, range: GetRange, tag: Option<String>) -> Result<Vec<u8>> {
        let options = GetOptions { range: Some(range), if_match: tag, ..GetOptions::default() };
        let found = self.store.get_opts(&self.key(name), options).await?;
        Ok(found.bytes().await?.to_vec())
    }
}

async fn what_is_not_there_is_not_found(store: Store) {
    store.write("folder/object", "x").await;
    for name in ["nothing", "folder", "folder/nothing", "nothing/at/all"] {
        assert!(store.is_absent(name).await, "{name}");
        let key = store.key(name);
        let got = store.store.get(&key).await.map(|found| found.meta);
        assert!(matches!(got, Err(Error::NotFound { .. })), "{name}: {got:?}");
        let ranged = store.range(name, GetRange::Bounded(0..1), None).await;
        assert!(matches!(ranged, Err(Error::NotFound { .. })), "{name}: {ranged:?}");
    }
}

async fn put_head_get_and_list_agree(store: Store) {
    let put = store.store.put(&store.key("object"), "content".into()).await.unwrap();
    let head = store.store.head(&store.key("object")).await.unwrap();
    let got = store.store.get(&store.key("object")).await.unwrap();
    assert_eq!((head.size, &head.location), (7, &store.key("object")));
    assert!(head.e_tag.is_some(), "an object has an entity tag");
    assert_eq!(put.e_tag, head.e_tag);
    assert_eq!(put.version, head.version);
    assert_eq!(got.meta, head);
    assert_eq!(got.range, 0..7);
    assert_eq!(got.bytes().await.unwrap(), "content");
    let listed = store.store.list_with_delimiter(Some(&store.folder)).await.unwrap().objects;
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].location, listed[0].size), (&head.location, head.size));
}

async fn a_rewrite_has_another_tag(store: Store) {
    let mut tags = std::collections::BTreeSet::new();
    for content in ["one", "two", "one", "one"] {
        let put = store.store.put(&store.key("object"), content.into()).await.unwrap();
        let tag = store.tag("object").await;
        assert_eq!(put.e_tag.as_ref(), Some(&tag));
        tags.insert(tag);
    }
    // The same content may have the same tag, as on S3; other content of the same size may not.
    assert!(tags.len() >= 2, "two contents of one size have one tag: {tags:?}");
    store.write("object", "one").await;
    let before = store.tag("object").await;
    store.write("object", "two").await;
    assert_ne!(before, store.tag("object").await);
}

pub async fn a_pinned_read_is_of_that_version(store: Store) {
    store.write("object", "version one").await;
    let tag = Some(store.tag("object").await);
    for (range, expected) in [
        (GetRange::Bounded(0..7), &b"version"[..]),
        (GetRange::Bounded(8..11), b"one"),
        (GetRange::Offset(8), b"one"),
    ] {
        let read = store.range("object", range, tag.clone()).await.unwrap();
        assert_eq!(read, expected);
    }

    store.write("object", "version two").await;
    let whole = GetOptions { if_match: tag.clone(), ..GetOptions::default() };
    let whole = store.store.get_opts(&store.key("object"), whole).await.map(|found| found.meta);
    assert!(matches!(whole, Err(Error::Precondition { .. })), "another version: {whole:?}");
    for range in [GetRange::Bounded(0..7), GetRange::Bounded(8..11), GetRange::Offset(8)] {
        let read = store.range("object", range, tag.clone()).await;
        assert!(matches!(read, Err(Error::Precondition { .. })), "another version: {read:?}");
    }

    store.store.delete(&store.key("object")).await.unwrap();
    let gone = store.range("object", GetRange::Bounded(0..7), tag).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "no version: {gone:?}");
}

async fn an_old_version_is_read_by_its_id(store: Store) {
    let put = store.store.put(&store.key("object"), "version one".into()).await.unwrap();
    store.write("object", "version two").await;
    let head = store.store.head(&store.key("object")).await.unwrap();
    if !store.can.versions {
        assert_eq!((put.version, head.version), (None, None), "it has learnt to keep versions");
        return;
    }
    assert_ne!(put.version, head.version);
    let options = GetOptions { version: put.version, ..GetOptions::default() };
    let old = store.store.get_opts(&store.key("object"), options).await.unwrap();
    assert_eq!(old.bytes().await.unwrap(), "version one");
}

async fn a_read_that_began_before_a_rewrite_is_not_mixed(store: Store) {
    let (old, new) = (vec![1_u8; 8 << 20], vec![2_u8; 8 << 20]);
    store.write("object", old.clone()).await;
    let begun = store.store.get(&store.key("object")).await.unwrap();
    store.write("object", new.clone()).await;
    // Refusing to go on is as good.
    if let Ok(read) = begun.bytes().await {
        assert!(read == old, "a read shows what was not there when it began");
    }
    assert!(store.read("object").await == new);
}

async fn ranges_are_exact(store: Store) {
    let content = pattern(1_000);
    store.write("object", content.clone()).await;
    for range in [0..1, 0..1_000, 999..1_000, 500..501, 250..750, 992..1_000] {
        let expected = &content[range.start as usize..range.end as usize];
        let read = store.range("object", GetRange::Bounded(range.clone()), None).await.unwrap();
        assert!(read == expected, "{range:?}");
        let read = store.store.get_range(&store.key("object"), range.clone()).await.unwrap();
        assert!(read == expected, "{range:?}");
    }
    let ranges = [990..1_000, 0..10, 5..15, 400..401];
    let read = store.store.get_ranges(&store.key("object"), &ranges).await.unwrap();
    assert_eq!(read.len(), ranges.len());
    for (range, read) in ranges.iter().zip(read) {
        assert!(read == content[range.start as usize..range.end as usize], "{range:?}");
    }
    let last = store.range("object", GetRange::Suffix(8), None).await;
    if store.can.suffix_ranges {
        assert!(last.unwrap() == content[992..]);
    } else {
        assert!(matches!(last, Err(Error::NotSupported { .. })), "it has learnt it: {last:?}");
    }
}

/// The source takes a short answer for an object that was cut short meanwhile.
async fn a_range_beyond_the_end_is_cut_or_refused(store: Store) {
    store.write("object", "0123456789").await;
    let beyond = store.range("object", GetRange::Bounded(8..20), None).await;
    assert_eq!(beyond.unwrap(), b"89");
    for range in [GetRange::Bounded(10..20), GetRange::Bounded(15..20), GetRange::Offset(10)] {
        let beyond = store.range("object", range, None).await;
        let refused = beyond.expect_err("there is nothing there");
        // Neither gone nor changed, to whoever asks.
        let is_other = matches!(refused, Error::NotFound { .. } | Error::Precondition { .. });
        assert!(!is_other, "{refused:?}");
    }
}

async fn an_empty_object_is_an_object(store: Store) {
    store.write("empty", "").await;
    let head = store.store.head(&store.key("empty")).await.unwrap();
    assert_eq!(head.size, 0);
    assert!(head.e_tag.is_some());
    assert_eq!(store.read("empty").await, b"");
    assert_eq!(store.names(None).await, ["empty"]);
    let pinned = GetOptions { if_match: head.e_tag, ..GetOptions::default() };
    let read = store.store.get_opts(&store.key("empty"), pinned).await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), "");
}

async fn a_large_object_comes_back(store: Store) {
    let content = pattern(LARGE_BYTES);
    store.write("object", content.clone()).await;
    assert!(store.read("object").await == content);
    let tag = Some(store.tag("object").await);
    let mut read = Vec::new();
    while (read.len() as u64) < LARGE_BYTES as u64 {
        let start = read.len() as u64;
        let range = GetRange::Bounded(start..start + RANGE_BYTES);
        read.extend(store.range("object", range, tag.clone()).await.unwrap());
    }
    assert!(read == content);
}

on_every_store!([
    what_is_not_there_is_not_found,
    put_head_get_and_list_agree,
    a_rewrite_has_another_tag,
    a_pinned_read_is_of_that_version,
    an_old_version_is_read_by_its_id,
    ranges_are_exact,
    a_range_beyond_the_end_is_cut_or_refused,
    an_empty_object_is_an_object,
    a_large_object_comes_back,
]);

// The emulator of S3 takes one request at a time.
mod not_one_by_one {
    use super::a_read_that_began_before_a_rewrite_is_not_mixed;

    conformance!(stores: memory, local, faultless => [a_read_that_began_before_a_rewrite_is_not_mixed]);
}
