//! Our object stores, as the engine wants them: it is built on an older release of the same crate.
//!
//! So it goes where we go, as whom we go, and tries again as often. What it may do there is less: read,
//! and write data files. It deletes nothing, and the log is not for it to write.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use deltalake::logstore::object_store as theirs;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store as ours;
use ours::{MultipartUpload as _, ObjectStore as _};
use theirs::path::Path;

/// The folder that only commits are put in, by us.
const LOG_FOLDER: &str = "_delta_log";
const NAME: &str = "Lakefeed's store";

/// One of our stores, to be read and to be given data files.
#[derive(Debug, Clone)]
pub(super) struct Storage(pub Arc<dyn ours::ObjectStore>);

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl theirs::ObjectStore for Storage {
    async fn put_opts(
        &self,
        location: &Path,
        payload: theirs::PutPayload,
        options: theirs::PutOptions,
    ) -> theirs::Result<theirs::PutResult> {
        check_data_file(location)?;
        let mode = match options.mode {
            theirs::PutMode::Overwrite => ours::PutMode::Overwrite,
            theirs::PutMode::Create => ours::PutMode::Create,
            theirs::PutMode::Update(_) => return Err(not_allowed("a conditional update")),
        };
        let put = self.0.put_opts(&path(location)?, bytes(payload), mode.into()).await;
        put.map(result).map_err(error)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: theirs::PutMultipartOptions,
    ) -> theirs::Result<Box<dyn theirs::MultipartUpload>> {
        check_data_file(location)?;
        let options = ours::PutMultipartOptions::default();
        let upload = self.0.put_multipart_opts(&path(location)?, options).await.map_err(error)?;
        Ok(Box::new(Upload(upload)))
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: theirs::GetOptions,
    ) -> theirs::Result<theirs::GetResult> {
        let options = ours::GetOptions {
            if_match: options.if_match,
            if_none_match: options.if_none_match,
            if_modified_since: options.if_modified_since,
            if_unmodified_since: options.if_unmodified_since,
            range: options.range.map(range),
            version: options.version,
            head: options.head,
            ..Default::default()
        };
        let found = self.0.get_opts(&path(location)?, options).await.map_err(error)?;
        Ok(theirs::GetResult {
            meta: meta(found.meta)?,
            range: found.range,
            attributes: theirs::Attributes::default(),
            payload: match found.payload {
                ours::GetResultPayload::File(file, path) => {
                    theirs::GetResultPayload::File(file, path)
                }
                ours::GetResultPayload::Stream(stream) => {
                    theirs::GetResultPayload::Stream(stream.map_err(error).boxed())
                }
            },
        })
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, theirs::Result<Path>>,
    ) -> BoxStream<'static, theirs::Result<Path>> {
        futures::stream::once(async { Err(not_allowed("a deletion")) }).boxed()
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> BoxStream<'static, theirs::Result<theirs::ObjectMeta>> {
        match prefix.map(path).transpose() {
            Ok(prefix) => {
                self.0.list(prefix.as_ref()).map(|found| meta(found.map_err(error)?)).boxed()
            }
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, theirs::Result<theirs::ObjectMeta>> {
        match (prefix.map(path).transpose(), path(offset)) {
            (Ok(prefix), Ok(offset)) => self
                .0
                .list_with_offset(prefix.as_ref(), &offset)
                .map(|found| meta(found.map_err(error)?))
                .boxed(),
            (Err(error), _) | (_, Err(error)) => {
                futures::stream::once(async { Err(error) }).boxed()
            }
        }
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&Path>,
    ) -> theirs::Result<theirs::ListResult> {
        let prefix = prefix.map(path).transpose()?;
        let found = self.0.list_with_delimiter(prefix.as_ref()).await.map_err(error)?;
        Ok(theirs::ListResult {
            common_prefixes: found
                .common_prefixes
                .iter()
                .map(their_path)
                .collect::<Result<_, _>>()?,
            objects: found.objects.into_iter().map(meta).collect::<Result<_, _>>()?,
        })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: theirs::CopyOptions) -> theirs::Result<()> {
        Err(not_allowed("a copy"))
    }
}

#[derive(Debug)]
struct Upload(Box<dyn ours::MultipartUpload>);

#[async_trait]
impl theirs::MultipartUpload for Upload {
    fn put_part(&mut self, payload: theirs::PutPayload) -> theirs::UploadPart {
        self.0.put_part(bytes(payload)).map(|part| part.map_err(error)).boxed()
    }

    async fn complete(&mut self) -> theirs::Result<theirs::PutResult> {
        self.0.complete().await.map(result).map_err(error)
    }

    async fn abort(&mut self) -> theirs::Result<()> {
        self.0.abort().await.map_err(error)
    }
}

/// Refuses what is not for the engine to write.
fn check_data_file(location: &Path) -> theirs::Result<()> {
    match location.parts().any(|part| part.as_ref() == LOG_FOLDER) {
        true => Err(not_allowed("a write in the log")),
        false => Ok(()),
    }
}

fn not_allowed(operation: &str) -> theirs::Error {
    theirs::Error::NotImplemented { operation: operation.to_owned(), implementer: NAME.to_owned() }
}

fn path(path: &Path) -> theirs::Result<ours::path::Path> {
    ours::path::Path::parse(path.as_ref())
        .map_err(|source| theirs::Error::Generic { store: NAME, source: source.into() })
}

/// The same path.
pub(super) fn their_path(path: &ours::path::Path) -> theirs::Result<Path> {
    Ok(Path::parse(path.as_ref())?)
}

fn bytes(payload: theirs::PutPayload) -> ours::PutPayload {
    payload.into_iter().collect()
}

fn range(range: theirs::GetRange) -> ours::GetRange {
    match range {
        theirs::GetRange::Bounded(range) => ours::GetRange::Bounded(range),
        theirs::GetRange::Offset(offset) => ours::GetRange::Offset(offset),
        theirs::GetRange::Suffix(length) => ours::GetRange::Suffix(length),
    }
}

fn result(result: ours::PutResult) -> theirs::PutResult {
    theirs::PutResult { e_tag: result.e_tag, version: result.version }
}

fn meta(meta: ours::ObjectMeta) -> theirs::Result<theirs::ObjectMeta> {
    Ok(theirs::ObjectMeta {
        location: their_path(&meta.location)?,
        last_modified: meta.last_modified,
        size: meta.size,
        e_tag: meta.e_tag,
        version: meta.version,
    })
}

/// Ours is kept as the cause. The engine tells apart only what is not there.
fn error(error: ours::Error) -> theirs::Error {
    match &error {
        ours::Error::NotFound { path, .. } => {
            theirs::Error::NotFound { path: path.clone(), source: error.into() }
        }
        _ => theirs::Error::Generic { store: NAME, source: error.into() },
    }
}
