//! Multipart uploads: data files larger than a part.

use futures::future::join_all;
use object_store::{MultipartUpload, ObjectStoreExt};

use crate::support::stores::Store;

/// S3 takes no smaller part, but for the last.
const PART_BYTES: usize = 5 << 20;

/// Three parts that differ, the last of them small.
fn parts() -> [Vec<u8>; 3] {
    [vec![1; PART_BYTES], vec![2; PART_BYTES], vec![3; 1_000]]
}

impl Store {
    async fn upload(&self, name: &str) -> Box<dyn MultipartUpload> {
        self.store.put_multipart(&self.key(name)).await.unwrap()
    }

    /// Neither under its name nor in a listing.
    async fn shows_nothing(&self, name: &str) {
        assert!(self.is_absent(name).await, "it is seen");
        assert!(self.names(None).await.is_empty(), "it is listed");
    }
}

async fn an_upload_shows_when_it_is_complete_and_whole(store: Store) {
    let mut upload = store.upload("file").await;
    store.shows_nothing("file").await;
    for part in parts() {
        upload.put_part(part.into()).await.unwrap();
        store.shows_nothing("file").await;
    }
    let put = upload.complete().await.unwrap();
    let head = store.store.head(&store.key("file")).await.unwrap();
    assert_eq!(head.size, 2 * PART_BYTES as u64 + 1_000);
    assert_eq!(put.e_tag, head.e_tag);
    assert!(store.read("file").await == parts().concat());
    assert_eq!(store.names(None).await, ["file"]);
}

async fn parts_are_in_the_order_in_which_they_were_begun(store: Store) {
    let mut upload = store.upload("file").await;
    let mut sent: Vec<_> = parts().into_iter().map(|part| upload.put_part(part.into())).collect();
    sent.pop().unwrap().await.unwrap();
    sent.pop().unwrap().await.unwrap();
    sent.pop().unwrap().await.unwrap();
    upload.complete().await.unwrap();
    assert!(store.read("file").await == parts().concat());

    let mut upload = store.upload("at once").await;
    let sent: Vec<_> = parts().into_iter().map(|part| upload.put_part(part.into())).collect();
    let sent = join_all(sent.into_iter().map(tokio::spawn)).await;
    sent.into_iter().for_each(|sent| sent.unwrap().unwrap());
    upload.complete().await.unwrap();
    assert!(store.read("at once").await == parts().concat());
}

async fn an_aborted_upload_shows_nothing(store: Store) {
    let mut upload = store.upload("file").await;
    for part in parts() {
        upload.put_part(part.into()).await.unwrap();
    }
    upload.abort().await.unwrap();
    store.shows_nothing("file").await;
    drop(upload);
    store.shows_nothing("file").await;
}

async fn an_abort_after_the_end_takes_nothing_away(store: Store) {
    let mut upload = store.upload("file").await;
    upload.put_part("content".into()).await.unwrap();
    upload.complete().await.unwrap();
    // It may say that there is nothing to abort.
    let _ = upload.abort().await;
    drop(upload);
    assert_eq!(store.read("file").await, b"content");
}

/// As when a process is killed, but for the parts that some stores keep where no listing shows them.
pub async fn a_dropped_upload_shows_nothing(store: Store) {
    let mut upload = store.upload("file").await;
    let [first, second, _] = parts();
    upload.put_part(first.into()).await.unwrap();
    drop(upload.put_part(second.into()));
    drop(upload);
    store.shows_nothing("file").await;
    // And the name is free.
    store.write("file", "another").await;
    assert_eq!(store.read("file").await, b"another");
}

async fn an_upload_takes_the_place_of_an_object_at_its_end(store: Store) {
    store.write("file", "old").await;
    let mut upload = store.upload("file").await;
    for part in parts() {
        upload.put_part(part.into()).await.unwrap();
    }
    assert_eq!(store.read("file").await, b"old");
    upload.complete().await.unwrap();
    assert!(store.read("file").await == parts().concat());
}

async fn uploads_to_one_name_do_not_mix(store: Store) {
    let (mut one, mut other) = (store.upload("file").await, store.upload("file").await);
    one.put_part(vec![1; PART_BYTES].into()).await.unwrap();
    other.put_part(vec![2; PART_BYTES].into()).await.unwrap();
    one.put_part("one".into()).await.unwrap();
    other.put_part("other".into()).await.unwrap();
    one.complete().await.unwrap();
    assert!(store.read("file").await == [vec![1; PART_BYTES], b"one".to_vec()].concat());
    other.complete().await.unwrap();
    assert!(store.read("file").await == [vec![2; PART_BYTES], b"other".to_vec()].concat());
}

conformance!(stores: memory, local, faultless => [
    an_upload_shows_when_it_is_complete_and_whole,
    parts_are_in_the_order_in_which_they_were_begun,
    an_aborted_upload_shows_nothing,
    an_abort_after_the_end_takes_nothing_away,
    a_dropped_upload_shows_nothing,
    an_upload_takes_the_place_of_an_object_at_its_end,
    uploads_to_one_name_do_not_mix,
]);
