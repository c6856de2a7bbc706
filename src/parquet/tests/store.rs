//! A store that fails when told to, and remembers how it was used.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

#[derive(Debug)]
pub(super) struct FaultyStore {
    inner: InMemory,
    record: Arc<Record>,
}

#[derive(Debug)]
struct Record {
    fails_at_part: usize,
    part_sizes: Mutex<Vec<usize>>,
    open_uploads: AtomicUsize,
    parts_in_flight: AtomicUsize,
    most_parts_in_flight: AtomicUsize,
}

impl FaultyStore {
    /// Fails the part of this number, counted from 0 over all uploads.
    pub(super) fn failing_at_part(fails_at_part: usize) -> Self {
        let record = Arc::new(Record {
            fails_at_part,
            part_sizes: Mutex::default(),
            open_uploads: AtomicUsize::new(0),
            parts_in_flight: AtomicUsize::new(0),
            most_parts_in_flight: AtomicUsize::new(0),
        });
        Self { inner: InMemory::new(), record }
    }

    pub(super) fn part_sizes(&self) -> Vec<usize> {
        self.record.part_sizes.lock().unwrap().clone()
    }

    pub(super) fn open_uploads(&self) -> usize {
        self.record.open_uploads.load(SeqCst)
    }

    pub(super) fn most_parts_in_flight(&self) -> usize {
        self.record.most_parts_in_flight.load(SeqCst)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a faulty store")
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    record: Arc<Record>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let record = self.record.clone();
        let number = {
            let mut sizes = record.part_sizes.lock().unwrap();
            sizes.push(data.content_length());
            sizes.len() - 1
        };
        let in_flight = record.parts_in_flight.fetch_add(1, SeqCst) + 1;
        record.most_parts_in_flight.fetch_max(in_flight, SeqCst);
        let sending = self.inner.put_part(data);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let sent = sending.await;
            record.parts_in_flight.fetch_sub(1, SeqCst);
            if number == record.fails_at_part {
                return Err(object_store::Error::Generic {
                    store: "faulty",
                    source: "told to".into(),
                });
            }
            sent
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        assert_eq!(self.record.parts_in_flight.load(SeqCst), 0);
        self.record.open_uploads.fetch_sub(1, SeqCst);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        assert_eq!(self.record.parts_in_flight.load(SeqCst), 0);
        self.record.open_uploads.fetch_sub(1, SeqCst);
        self.inner.abort().await
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        self.record.open_uploads.fetch_add(1, SeqCst);
        Ok(Box::new(FaultyUpload { inner, record: self.record.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
