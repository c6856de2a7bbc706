//! Source objects: finding them, pinning them, and reading them as they were when pinned.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncReadExt;
use tokio_util::io::StreamReader;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Location, Stores, misdirected};

mod archive;
mod compression;
mod discover;
mod pattern;
mod snappy;

pub use compression::{Compression, DecompressOptions, Decompressor, MAGIC_BYTES_MAX};
pub use discover::discover;
pub use pattern::Pattern;

/// How much one request asks for.
pub const READ_RANGE_BYTES: u64 = 2 << 20;
/// Requests under way at once for one object: the next range is fetched while one is decoded.
const READ_RANGES_IN_FLIGHT_MAX: usize = 2;
/// What reading one object may hold, beside what [`DecompressOptions::held_bytes_max`] says.
pub const READ_BUFFER_BYTES_MAX: u64 = READ_RANGE_BYTES * (READ_RANGES_IN_FLIGHT_MAX as u64 + 1);

/// What an event, a listing or a person says: there is an object at this address.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The canonical address.
    pub location: Location,
    /// The address below the folder or pattern that found it, for `source_key = "relative"`.
    pub relative: String,
    /// Whether a person named this very object. One that is not there is then a failure; one
    /// that an event or a listing named has just gone.
    pub named: bool,
    /// Its size, where finding it told that.
    pub size_hint: Option<u64>,
    /// The version that was there when it was listed, as [`SourceObject::identity`]. What is there
    /// now may be another.
    pub listed_identity: Option<String>,
    /// How often it was announced, where that is known.
    pub deliveries: u32,
    /// Why it cannot be asked for, for an object whose name is no key.
    pub unaddressable: Option<String>,
}

impl Announcement {
    /// What an event says: there is an object at `uri`, a canonical address.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where its store cannot be opened.
    pub(crate) fn by_event(
        stores: &Stores,
        uri: &str,
        relative: &str,
        size_hint: Option<u64>,
        deliveries: u32,
    ) -> Result<Self> {
        let (location, unaddressable) = stores.locate(uri)?;
        let relative = relative.to_owned();
        Ok(Self {
            location,
            relative,
            named: false,
            size_hint,
            listed_identity: None,
            deliveries,
            unaddressable,
        })
    }
}

/// One version of one object.
#[derive(Debug, Clone)]
pub struct SourceObject {
    /// Where it is.
    pub location: Location,
    /// Which version: compared for equality, never ordered.
    pub identity: String,
    /// Its size as stored.
    pub size_bytes: u64,
    /// The store's own tag of this version, for conditional reads.
    tag: Option<String>,
}

impl SourceObject {
    /// The version that is there now of what was announced.
    ///
    /// # Errors
    /// As [`SourceObject::head`], and [`ErrorKind::SourceUnavailable`] for what cannot be asked for.
    pub async fn of(announcement: &Announcement) -> Result<Self> {
        match &announcement.unaddressable {
            None => Self::head(&announcement.location).await,
            Some(reason) => Err(Error::new(
                ErrorKind::SourceUnavailable,
                format!("it cannot be read: {reason}"),
            )
            .with_object(&announcement.location.uri)
            .with_advice("rename it, or grant read permission, then run again")),
        }
    }

    /// Asks the store which version is there now.
    ///
    /// # Errors
    /// [`ErrorKind::SourceGone`] when there is none, [`ErrorKind::SourceUnavailable`] when the
    /// store does not say.
    pub async fn head(location: &Location) -> Result<Self> {
        let meta = location
            .store
            .head(&location.path)
            .await
            .map_err(|cause| read_error(location, "cannot be looked at", cause))?;
        Ok(Self {
            identity: identity(&meta),
            size_bytes: meta.size,
            tag: meta.e_tag,
            location: location.clone(),
        })
    }

    /// Opens exactly this version.
    pub fn open(&self, options: DecompressOptions) -> SourceReader {
        SourceReader {
            object: self.clone(),
            options,
            raw: Arc::default(),
            content: Content::Unopened,
            decompressed_bytes: 0,
        }
    }
}

/// The version of an object in words: the normalised entity tag and the size, or, where the store
/// has no tags, what it has.
fn identity(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(tag) => {
            format!("etag:{}:{}", plain_tag(tag), meta.size)
        }
        None => format!("modified:{}:{}", meta.last_modified.timestamp_micros(), meta.size),
    }
}

/// An entity tag without what stores write around it: quotes, plain or escaped for XML, and the
/// mark of a weak one.
pub(crate) fn plain_tag(tag: &str) -> String {
    tag.trim_start_matches("W/").replace("&quot;", "\"").trim_matches('"').to_owned()
}

/// Reads one version of an object: ranges pinned to its identity, decompressed.
pub struct SourceReader {
    object: SourceObject,
    options: DecompressOptions,
    raw: Arc<Mutex<RawDigest>>,
    content: Content,
    decompressed_bytes: u64,
}

/// What has passed through, as stored.
#[derive(Default)]
struct RawDigest {
    hash: Xxh3,
    bytes: u64,
}

type RawStream = StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>;

enum Content {
    Unopened,
    Open { compression: Compression, reader: Decompressor },
}

impl SourceReader {
    /// Fills `buffer` from the decompressed content; 0 at its end. After the end, the object has
    /// been checked to be the pinned version still.
    ///
    /// # Errors
    /// [`ErrorKind::SourceChanged`] when another version took its place, [`ErrorKind::SourceGone`],
    /// [`ErrorKind::SourceUnavailable`], or [`ErrorKind::SourceInvalid`] when it cannot be
    /// decompressed, or not within the limits.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if matches!(self.content, Content::Unopened) {
            self.content = self.open_content().await?;
        }
        let Content::Open { compression, reader } = &mut self.content else {
            return Ok(0);
        };
        let compression = *compression;
        match reader.read(buffer).await {
            Ok(0) => {
                self.check_unchanged().await?;
                Ok(0)
            }
            Ok(bytes) if compression == Compression::None => Ok(bytes),
            Ok(bytes) => {
                self.decompressed_bytes += bytes as u64;
                let sizes = self.options.check_size(self.decompressed_bytes, self.bytes_read());
                sizes.map_err(|error| error.with_object(&self.object.location.uri))?;
                Ok(bytes)
            }
            Err(error) => Err(self.read_failed(compression, error)),
        }
    }

    /// How it is compressed, once something was read.
    pub fn compression(&self) -> Option<Compression> {
        match self.content {
            Content::Unopened => None,
            Content::Open { compression, .. } => Some(compression),
        }
    }

    /// Bytes read so far, as stored.
    pub fn bytes_read(&self) -> u64 {
        self.raw.lock().unwrap_or_else(std::sync::PoisonError::into_inner).bytes
    }

    /// The xxh3 of the bytes read so far, as stored: of the whole object, after its end.
    pub fn content_hash(&self) -> u64 {
        self.raw.lock().unwrap_or_else(std::sync::PoisonError::into_inner).hash.digest()
    }

    /// Reads to the end for the hash alone, without decompressing.
    ///
    /// # Errors
    /// Those of [`SourceReader::read`].
    pub async fn hash_content(self) -> Result<u64> {
        let mut ranges = self.ranges();
        while let Some(range) = ranges.next().await {
            range.map_err(|error| self.read_failed(Compression::None, error))?;
        }
        self.check_unchanged().await?;
        Ok(self.content_hash())
    }

    async fn open_content(&self) -> Result<Content> {
        let mut ranges = self.ranges();
        let first = ranges
            .try_next()
            .await
            .map_err(|error| self.read_failed(Compression::None, error))?
            .unwrap_or_default();
        let uri = &self.object.location.uri;
        let DecompressOptions { compression, window_bytes_max, .. } = self.options;
        let compression = compression.unwrap_or_else(|| Compression::of(&first, uri));
        compression
            .check_window(&first, window_bytes_max)
            .map_err(|error| error.with_object(uri))?;
        let whole = stream::once(async move { Ok(first) }).chain(ranges).boxed();
        let raw: RawStream = StreamReader::new(whole);
        let reader = compression.decompressor(raw, window_bytes_max);
        Ok(Content::Open { compression, reader })
    }

    /// The object's bytes in ranges, each read on condition that this version is still there.
    fn ranges(&self) -> BoxStream<'static, io::Result<Bytes>> {
        let SourceObject { location, tag, size_bytes, .. } = self.object.clone();
        let raw = Arc::clone(&self.raw);
        stream::iter(split(size_bytes))
            .map(move |range| {
                let options = GetOptions {
                    range: Some(GetRange::Bounded(range.clone())),
                    if_match: tag.clone(),
                    ..GetOptions::default()
                };
                let Location { store, path, .. } = location.clone();
                async move { read_range(store, path, options, range).await }
            })
            .buffered(READ_RANGES_IN_FLIGHT_MAX)
            .inspect_ok(move |bytes| {
                let mut raw = raw.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                raw.hash.update(bytes);
                raw.bytes += bytes.len() as u64;
            })
            .map_err(io::Error::other)
            .boxed()
    }

    async fn check_unchanged(&self) -> Result<()> {
        if !self.object.location.mutable_in_place {
            return Ok(());
        }
        let now = SourceObject::head(&self.object.location).await?;
        if now.identity == self.object.identity { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> Error {
        Error::new(ErrorKind::SourceChanged, "the object was replaced while it was read")
            .with_object(&self.object.location.uri)
            .with_advice("nothing of it was taken; its new version can be ingested")
    }

    fn read_failed(&self, compression: Compression, error: io::Error) -> Error {
        let location = &self.object.location;
        let storage = error.get_ref().and_then(|inner| inner.downcast_ref::<object_store::Error>());
        if storage.is_none() {
            return compression
                .failed(error, self.options.window_bytes_max)
                .with_object(&location.uri);
        }
        match error.into_inner().map(|inner| inner.downcast::<object_store::Error>()) {
            Some(Ok(cause)) => match *cause {
                object_store::Error::Precondition { .. } => self.changed(),
                cause => read_error(location, "cannot be read", cause),
            },
            _ => Error::new(ErrorKind::Internal, "a failure of the storage was lost"),
        }
    }
}

async fn read_range(
    store: Arc<dyn ObjectStore>,
    path: Path,
    options: GetOptions,
    range: Range<u64>,
) -> object_store::Result<Bytes> {
    let bytes = store.get_opts(&path, options).await?.bytes().await?;
    if bytes.len() as u64 == range.end - range.start {
        return Ok(bytes);
    }
    // A local file that was cut short after it was opened.
    Err(object_store::Error::Precondition {
        path: path.to_string(),
        source: "the object is shorter than it was".into(),
    })
}

fn split(size_bytes: u64) -> impl Iterator<Item = Range<u64>> + Send {
    (0..size_bytes.div_ceil(READ_RANGE_BYTES)).map(move |i| {
        let start = i * READ_RANGE_BYTES;
        start..(start + READ_RANGE_BYTES).min(size_bytes)
    })
}

fn read_error(location: &Location, what: &str, cause: object_store::Error) -> Error {
    if let Some(error) = misdirected(&location.uri, &cause) {
        return error;
    }
    let (kind, message, advice) = match &cause {
        object_store::Error::NotFound { .. } => {
            (ErrorKind::SourceGone, "there is no such object".to_owned(), "check the address")
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => (
            ErrorKind::SourceUnavailable,
            format!("{what}: permission is missing"),
            "grant read permission, then run again",
        ),
        _ => (ErrorKind::SourceUnavailable, what.to_owned(), "run again when the storage answers"),
    };
    let error = Error::new(kind, message).with_object(&location.uri).with_advice(advice);
    if kind == ErrorKind::SourceGone { error } else { error.with_cause(cause) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use object_store::PutPayload;

    use super::*;

    fn stores(folder: &tempfile::TempDir) -> Stores {
        Stores::new(PathBuf::from(folder.path()))
    }

    async fn read_all(object: &SourceObject) -> Result<(Vec<u8>, u64)> {
        let mut reader = object.open(DecompressOptions::default());
        let (mut all, mut buffer) = (Vec::new(), vec![0; 1000]);
        loop {
            match reader.read(&mut buffer).await? {
                0 => return Ok((all, reader.content_hash())),
                n => all.extend_from_slice(&buffer[..n]),
            }
        }
    }

    #[tokio::test]
    async fn reads_ranges_and_compression() {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..READ_RANGE_BYTES * 2 + 17).map(|i| b'a' + (i % 23) as u8).collect();
        std::fs::write(folder.path().join("plain.csv"), &text).unwrap();
        let object =
            SourceObject::head(&stores(&folder).resolve("plain.csv").unwrap()).await.unwrap();
        let (read, hash) = read_all(&object).await.unwrap();
        assert!(read == text);
        assert_eq!(hash, xxhash_rust::xxh3::xxh3_64(&text));
        assert_eq!(object.open(DecompressOptions::default()).hash_content().await.unwrap(), hash);
    }

    #[tokio::test]
    async fn a_version_that_was_replaced_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "id\n1\n").unwrap();
        let object = SourceObject::head(&stores(&folder).resolve("a.csv").unwrap()).await.unwrap();
        std::fs::write(&path, "id\n1\n2\n").unwrap();
        assert_eq!(read_all(&object).await.unwrap_err().kind(), ErrorKind::SourceChanged);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_all(&object).await.unwrap_err().kind(), ErrorKind::SourceGone);
    }

    #[tokio::test]
    async fn damaged_compression_is_bad_input() {
        let folder = tempfile::tempdir().unwrap();
        let stores = stores(&folder);
        let location = stores.resolve("memory:///a.csv.gz").unwrap();
        let body = PutPayload::from_static(&[0x1f, 0x8b, 8, 0, 1, 2, 3]);
        location.store.put(&location.path, body).await.unwrap();
        let object = SourceObject::head(&location).await.unwrap();
        let error = read_all(&object).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceInvalid);
        assert!(error.to_string().contains("gzip"), "{error}");
    }

    #[tokio::test]
    async fn a_bomb_ends_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let location = stores(&folder).resolve("memory:///a.csv.gz").unwrap();
        let body = include_bytes!("../tests/data/compressed/gzip.csv.gz");
        location.store.put(&location.path, PutPayload::from_static(body)).await.unwrap();
        let object = SourceObject::head(&location).await.unwrap();
        let options = DecompressOptions { bytes_max: 5000, ..DecompressOptions::default() };
        let mut reader = object.open(options);
        let (mut read, mut buffer) = (0, [0; 100]);
        let error = loop {
            match reader.read(&mut buffer).await {
                Ok(bytes) => read += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!((read, error.kind()), (5000, ErrorKind::SourceInvalid));
        assert_eq!(reader.compression(), Some(Compression::Gzip));
        assert!(read_all(&object).await.unwrap().0.ends_with(b"\n"));
    }
}
