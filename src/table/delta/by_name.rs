//! The newest commits of a log, found by their names.
//!
//! A local folder can only be listed whole, and a log keeps its commits for 30 days: 43,200 of them,
//! at one a minute. But the names of those after a checkpoint are known, and versions have no gaps,
//! so asking for one after the other finds the end. Storages that list from a name on need none of
//! this.
//!
//! A log has gaps only while it is cleaned up, and then behind a checkpoint. Whoever cleans up says
//! which one first, and begins with the oldest, deleting some side by side: so an end counts as one
//! where the first commit is still there afterwards and none of those that would follow is. (What is
//! missing behind a checkpoint that was named meanwhile is noticed where it is loaded: see `hint`.)

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::slot;

/// Commits that are asked for; where there are more, the log is listed.
const COMMITS_MAX: u64 = 1_000;
/// Commits after the end that must not be there: more than anybody deletes side by side.
const COMMITS_AFTER_END: u64 = 16;

/// A table's storage in which a listing of the log that begins at a checkpoint finds that one and
/// the commits from it on, by asking for each.
#[derive(Debug)]
pub struct LogByName(pub Arc<dyn ObjectStore>);

/// The checkpoint of the version that `from` names, and the commits from that version on, in the
/// order of their names; nothing where only a listing can tell.
async fn newest(store: &dyn ObjectStore, from: &Path) -> Result<Option<Vec<ObjectMeta>>> {
    let Some((log, first)) = from.parent().zip(from.filename().and_then(slot::version)) else {
        return Ok(None);
    };
    let commit = async |version| head(store, log.clone().join(slot::file_name(version))).await;
    let checkpoint = log.clone().join(slot::checkpoint_name(first));
    // The kernel passes over an empty one, and takes another.
    let checkpoint = head(store, checkpoint).await?.filter(|file| file.size > 0);
    let Some(checkpoint) = checkpoint else { return Ok(None) };
    let mut found = vec![checkpoint];
    let mut next = first;
    while let Some(file) = commit(next).await? {
        if next - first == COMMITS_MAX {
            return Ok(None);
        }
        found.push(file);
        next += 1;
    }
    for after in 1..=COMMITS_AFTER_END {
        if commit(next + after).await?.is_some() {
            return Ok(None);
        }
    }
    Ok(commit(first).await?.map(|_| found))
}

async fn head(store: &dyn ObjectStore, path: Path) -> Result<Option<ObjectMeta>> {
    match store.head(&path).await {
        Ok(file) => Ok(Some(file)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(cause) => Err(cause),
    }
}

impl fmt::Display for LogByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogByName({})", self.0)
    }
}

#[async_trait]
impl ObjectStore for LogByName {
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix, offset) = (Arc::clone(&self.0), prefix.cloned(), offset.clone());
        let listing = async move {
            Ok::<_, Error>(match newest(store.as_ref(), &offset).await? {
                Some(found) => stream::iter(found).map(Ok).boxed(),
                None => store.list_with_offset(prefix.as_ref(), &offset),
            })
        };
        stream::once(listing).try_flatten().boxed()
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    /// The names that a listing from the checkpoint 20 on finds in a log that has `commits`, with the
    /// checkpoints 20 and 40.
    async fn listed(commits: impl IntoIterator<Item = u64>) -> Vec<String> {
        let (store, log) = (Arc::new(InMemory::new()), Path::from("t/_delta_log"));
        let names = commits.into_iter().map(slot::file_name);
        let checkpoints = [20, 40].map(slot::checkpoint_name);
        for name in names.chain(checkpoints).chain(["_last_checkpoint".to_owned()]) {
            store.put(&log.clone().join(name), "{}".into()).await.unwrap();
        }
        let from = log.clone().join(format!("{:020}", 20));
        let listing = LogByName(store).list_with_offset(Some(&log), &from);
        let files: Vec<ObjectMeta> = listing.try_collect().await.unwrap();
        assert!(files.is_sorted_by_key(|file| file.location.clone()));
        let name =
            |file: ObjectMeta| file.location.filename().unwrap().trim_matches('0').to_owned();
        files.into_iter().map(name).collect()
    }

    /// Whether that was found by a listing, which alone finds files that are no versions.
    fn is_whole(found: &[String]) -> bool {
        found.last().is_some_and(|name| name == "_last_checkpoint")
    }

    #[tokio::test]
    async fn the_end_of_a_log_is_found_by_asking() {
        assert_eq!(listed(0..23).await, ["20.checkpoint.parquet", "20.json", "21.json", "22.json"]);
        assert_eq!(listed(20..21).await, ["20.checkpoint.parquet", "20.json"]);
    }

    #[tokio::test]
    async fn a_log_that_may_have_been_cleaned_up_is_listed() {
        // The first is gone, or one in between.
        assert!(is_whole(&listed(0..20).await));
        assert!(is_whole(&listed(21..23).await));
        assert!(is_whole(&listed((20..23).chain(24..25)).await));
        assert!(is_whole(&listed((20..23).chain(39..40)).await));
    }

    #[tokio::test]
    async fn a_log_is_listed_where_much_follows_the_checkpoint() {
        assert!(!is_whole(&listed(20..20 + COMMITS_MAX).await));
        assert!(is_whole(&listed(20..21 + COMMITS_MAX).await));
    }
}
