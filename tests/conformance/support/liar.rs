//! Stores that break one promise: a suite that takes them for sound tests nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryFutureExt;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};

use super::stores::{Store, memory};
use super::{Opened, tables};

/// How long the store that looks first thinks about what it saw.
const THOUGHT: Duration = Duration::from_millis(100);

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A create overwrites.
    CreatesOverwrite,
    /// A create looks whether there is something, and then overwrites.
    CreatesLookFirst,
    /// A stale update overwrites.
    UpdatesOverwrite,
    /// A read takes whatever version is there.
    ReadsAreNotPinned,
    /// What is uploaded is seen before its end.
    UploadsShow,
    /// A listing is in no order.
    ListingsAreBackwards,
}

/// A store in memory that lies.
pub fn store(lie: Lie) -> Opened<Store> {
    Ok(memory()?.through(|inner| Liar { inner, lie }))
}

/// A table on it.
#[cfg(feature = "delta")]
pub fn delta(lie: Lie) -> Opened<tables::Lake> {
    tables::delta_on(store(lie)?)
}

/// The same of the other format.
#[cfg(feature = "iceberg")]
pub fn iceberg(lie: Lie) -> Opened<tables::Lake> {
    tables::iceberg_on(store(lie)?)
}

#[derive(Debug)]
struct Liar {
    inner: Arc<dyn ObjectStore>,
    lie: Lie,
}

impl Liar {
    async fn look_first(&self, location: &Path) -> Result<()> {
        if self.inner.head(location).await.is_ok() {
            let (path, source) = (location.to_string(), "it is there".into());
            return Err(Error::AlreadyExists { path, source });
        }
        #[allow(clippy::disallowed_methods)] // To lose the race that this is about.
        tokio::time::sleep(THOUGHT).await;
        Ok(())
    }
}

impl fmt::Display for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Liar({:?})", self.lie)
    }
}

#[async_trait]
impl ObjectStore for Liar {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        match (self.lie, &options.mode) {
            (Lie::CreatesOverwrite, PutMode::Create) => options.mode = PutMode::Overwrite,
            (Lie::UpdatesOverwrite, PutMode::Update(_)) => {
                #[allow(clippy::disallowed_methods)] // So that others read what it overwrites.
                tokio::time::sleep(THOUGHT).await;
                options.mode = PutMode::Overwrite;
            }
            (Lie::CreatesLookFirst, PutMode::Create) => {
                self.look_first(location).await?;
                options.mode = PutMode::Overwrite;
            }
            _ => {}
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if self.lie == Lie::UploadsShow {
            self.inner.put(location, PutPayload::new()).await?;
        }
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        if self.lie == Lie::ReadsAreNotPinned {
            options.if_match = None;
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listing = self.inner.list(prefix);
        if self.lie != Lie::ListingsAreBackwards {
            return listing;
        }
        let all = listing.try_collect::<Vec<_>>();
        let backwards = all.map_ok(|all| stream::iter(all.into_iter().rev().map(Ok)));
        stream::once(backwards).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
