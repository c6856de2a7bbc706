//! From an address to the object store that holds it.
//!
//! This is the only module, beside `lease/` and `dynamodb`, that names a kind of storage.

use std::io;
use std::path::{Component, PathBuf};
use std::sync::{Arc, Mutex};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use crate::config::AwsAccess;
#[cfg(feature = "aws")]
use crate::dynamodb::DynamoDb;
use crate::error::{Error, ErrorKind, Result, cause_in};

#[cfg(feature = "aws")]
pub(crate) mod s3;
#[cfg(feature = "aws")]
mod s3_http;

#[cfg(feature = "aws")]
const KNOWN_ADDRESSES: &str = "use a path, a file:/// address or an s3:// address";
#[cfg(not(feature = "aws"))]
const KNOWN_ADDRESSES: &str = "use a path, or a file:/// address";

/// An address, resolved.
#[derive(Debug, Clone)]
pub struct Location {
    /// The canonical address: absolute, with its scheme, `//` inside a key left alone.
    pub uri: String,
    /// The store that holds it.
    pub store: Arc<dyn ObjectStore>,
    /// Its key in that store.
    pub path: Path,
    /// Whether an object can change under an unchanged name without the store knowing: its bytes
    /// are then checked again after reading.
    pub mutable_in_place: bool,
    /// Whether the store reads every name to list those that follow one.
    pub lists_from_the_first: bool,
}

/// The object stores of one process, opened lazily and shared.
#[derive(Debug)]
pub struct Stores {
    working_directory: PathBuf,
    local: Arc<dyn ObjectStore>,
    memory: Arc<dyn ObjectStore>,
    #[cfg(feature = "aws")]
    s3: s3::Buckets,
    #[cfg(feature = "aws")]
    dynamodb: Mutex<Option<Arc<DynamoDb>>>,
    overlays: Mutex<Vec<(String, Arc<dyn ObjectStore>)>>,
}

impl Stores {
    /// Stores for a process whose relative paths start at `working_directory`.
    pub fn new(working_directory: PathBuf) -> Self {
        Self {
            working_directory,
            // What a commit names must survive a power cut: every write is flushed to the disk.
            local: Arc::new(LocalFileSystem::new().with_fsync(true)),
            memory: Arc::new(InMemory::new()),
            #[cfg(feature = "aws")]
            s3: s3::Buckets::default(),
            #[cfg(feature = "aws")]
            dynamodb: Mutex::default(),
            overlays: Mutex::default(),
        }
    }

    /// Reaches Amazon's services as `access` says; without it, as nobody in particular.
    #[must_use]
    pub fn with_aws(self, access: AwsAccess) -> Self {
        #[cfg(feature = "aws")]
        return Self { s3: s3::Buckets::new(access), ..self };
        #[cfg(not(feature = "aws"))]
        {
            drop(access);
            self
        }
    }

    /// What says how Amazon's services are reached.
    #[cfg(feature = "aws")]
    pub fn aws(&self) -> &AwsAccess {
        self.s3.access()
    }

    /// DynamoDB, where leases and commits of tables on S3 may be kept. Nothing is asked of it.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where what says how to reach it contradicts itself.
    #[cfg(feature = "aws")]
    pub fn dynamodb(&self) -> Result<Arc<DynamoDb>> {
        let mut open = self.dynamodb.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(dynamodb) = &*open {
            return Ok(Arc::clone(dynamodb));
        }
        let dynamodb = Arc::new(DynamoDb::open(self.aws())?);
        *open = Some(Arc::clone(&dynamodb));
        Ok(dynamodb)
    }

    /// Uses `store` for every address of `scheme`, instead of the usual one. For tests: faults,
    /// latency, counters.
    pub fn overlay(&self, scheme: &str, store: Arc<dyn ObjectStore>) {
        let mut overlays = self.overlays.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        overlays.retain(|(known, _)| known != scheme);
        overlays.push((scheme.to_owned(), store));
    }

    /// The store and key of `address`: a plain path, or a `file://`, `memory://` or `s3://` address.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a scheme that this build does not have, or an address that
    /// cannot be a key.
    pub fn resolve(&self, address: &str) -> Result<Location> {
        match self.locate(address)? {
            (location, None) => Ok(location),
            (location, Some(reason)) => Err(Error::new(
                ErrorKind::Configuration,
                format!("this address cannot be an object's key: {reason}"),
            )
            .with_object(location.uri)
            .with_advice("choose a name without empty segments, dots alone or control characters")),
        }
    }

    /// The store and key of `address`, and why it cannot be asked for, where its key is one that the
    /// store may hold and the client cannot write: the location's path then means nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a scheme that this build does not have, or a store that
    /// cannot be opened.
    pub fn locate(&self, address: &str) -> Result<(Location, Option<String>)> {
        let uri = self.canonical(address)?;
        let Address { scheme, bucket, key } = Address::of(&uri);
        let path = match scheme {
            "file" => Path::from_absolute_path(key).map_err(|error| error.to_string()),
            "memory" => Path::parse(key.trim_matches('/')).map_err(|error| error.to_string()),
            _ => exact_path(key.strip_suffix('/').unwrap_or(key)),
        };
        let store = self.store(scheme, bucket)?;
        let reason = path.as_ref().err().cloned();
        let path = path.unwrap_or_default();
        let is_local = scheme == "file";
        let (mutable_in_place, lists_from_the_first) = (is_local, is_local);
        Ok((Location { mutable_in_place, lists_from_the_first, store, path, uri }, reason))
    }

    /// The address of the object at `path` in the store of `uri`.
    pub fn uri_of(&self, uri: &str, path: &Path) -> String {
        Address::of(uri).sibling(path.as_ref())
    }

    /// The address of the object that a listing of the store of `uri` calls `path`, and why it
    /// cannot be asked for, if it cannot.
    pub fn listed(&self, uri: &str, path: &Path) -> (String, Option<String>) {
        #[cfg(feature = "aws")]
        if let Some(key) = s3::unaddressable_key(path) {
            return (Address::of(uri).sibling(&key), exact_path(&key).err());
        }
        (self.uri_of(uri, path), None)
    }

    /// The one way of writing `address`: with a scheme, absolute; `//` inside a key is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a scheme that this build does not have.
    pub fn canonical(&self, address: &str) -> Result<String> {
        match address.split_once("://") {
            None => Ok(format!("file://{}", self.absolute(address).display())),
            Some(("file", path)) if path.starts_with('/') => {
                Ok(format!("file://{}", self.absolute(path).display()))
            }
            Some(("memory", path)) => Ok(format!("memory:///{}", path.trim_start_matches('/'))),
            #[cfg(feature = "aws")]
            Some(("s3" | "s3a", rest)) => s3::canonical(address, rest),
            Some((scheme, _)) => Err(Error::new(
                ErrorKind::Configuration,
                format!("this build reads and writes no {scheme:?} addresses"),
            )
            .with_object(address)
            .with_advice(KNOWN_ADDRESSES)),
        }
    }

    /// `path` made absolute, with `.` and `..` taken out, links left alone.
    fn absolute(&self, path: &str) -> PathBuf {
        let mut absolute = PathBuf::new();
        for component in self.working_directory.join(path).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    absolute.pop();
                }
                other => absolute.push(other),
            }
        }
        absolute
    }

    fn store(&self, scheme: &str, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
        let overlays = self.overlays.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let overlay = overlays.iter().find(|(known, _)| known == scheme);
        match (overlay, scheme) {
            (Some((_, store)), _) => Ok(Arc::clone(store)),
            (None, "memory") => Ok(Arc::clone(&self.memory)),
            #[cfg(feature = "aws")]
            (None, "s3") => self.s3.open(bucket),
            (None, _) => {
                debug_assert!(bucket.is_empty(), "only clouds have buckets");
                Ok(Arc::clone(&self.local))
            }
        }
    }
}

/// The parts of a canonical address.
struct Address<'a> {
    scheme: &'a str,
    /// The bucket; empty where there are none.
    bucket: &'a str,
    /// What follows the slash after the bucket, or the whole path of a file.
    key: &'a str,
}

impl<'a> Address<'a> {
    fn of(uri: &'a str) -> Self {
        let (scheme, rest) = uri.split_once("://").unwrap_or_default();
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        Self { scheme, bucket, key: if scheme == "file" { rest } else { key } }
    }

    /// The address of another key beside it.
    fn sibling(&self, key: &str) -> String {
        format!("{}://{}/{key}", self.scheme, self.bucket)
    }
}

/// The path that stands for `key` and for no other, or why there is none.
fn exact_path(key: &str) -> Result<Path, String> {
    let path = Path::parse(key).map_err(|error| error.to_string())?;
    if path.as_ref() == key {
        return Ok(path);
    }
    Err("its key begins or ends with a slash".to_owned())
}

/// The address of a table's root as the Delta library wants it, ending in a slash.
///
/// # Errors
/// [`ErrorKind::Configuration`] for an address that is no URL.
pub fn directory_url(location: &Location) -> Result<Url> {
    let invalid = || {
        Error::new(ErrorKind::Configuration, "this address cannot be a URL")
            .with_object(&location.uri)
    };
    let Address { scheme, bucket, .. } = Address::of(&location.uri);
    let mut url = Url::parse(&format!("{scheme}://{bucket}/"))
        .map_err(|cause| invalid().with_cause(cause))?;
    url.path_segments_mut()
        .map_err(|()| invalid())?
        .pop_if_empty()
        .extend(location.path.as_ref().split('/'))
        .push("");
    Ok(url)
}

/// What `error` means for a table's storage, about `object`.
pub(crate) fn storage_error(object: &str, error: object_store::Error) -> Error {
    storage_failure(object, &error).with_cause(error)
}

/// What `error` means for a table's storage, about `object`, where it caused a cause.
///
/// The local store wraps the operating system's errors; a full disk, a folder that is not ours to
/// write and a folder mounted read-only are told apart, because each is mended differently.
pub(crate) fn storage_failure(object: &str, error: &object_store::Error) -> Error {
    if let Some(error) = misdirected(object, error) {
        return error;
    }
    let (message, advice) = match system_error_kind(error) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            ("the disk is full", "free some space, then try again")
        }
        Some(io::ErrorKind::PermissionDenied) => {
            ("the storage may not be written", "grant write access to the folder, then try again")
        }
        Some(io::ErrorKind::ReadOnlyFilesystem) => {
            ("the storage is mounted read-only", "mount it for writing, or choose another place")
        }
        _ => match error {
            object_store::Error::PermissionDenied { .. } => (
                "the storage refuses access",
                "grant the function's identity read and write access to the table's folder",
            ),
            object_store::Error::Unauthenticated { .. } => (
                "the storage does not accept the credentials",
                "renew or configure the credentials, then try again",
            ),
            _ => ("the storage failed", "try again"),
        },
    };
    Error::new(ErrorKind::StorageUnavailable, message).with_object(object).with_advice(advice)
}

/// A request that cannot succeed before a person mends where it goes, or who makes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "a local disk has no buckets"))]
pub(crate) enum Misdirected {
    /// The bucket does not exist, there or at all.
    #[error("there is no such bucket")]
    NoBucket,
    /// The bucket is elsewhere.
    #[error("the bucket is in the region {0}")]
    OtherRegion(String),
    /// Nothing says who we are.
    #[error("there are no credentials")]
    NoCredentials,
    /// They are nobody's, or nobody's any more; S3's word for it.
    #[error("the credentials are not accepted ({0})")]
    WrongCredentials(&'static str),
}

/// What `error` means, about `object`, where it can only be mended in the configuration.
pub(crate) fn misdirected(object: &str, error: &object_store::Error) -> Option<Error> {
    let misdirected: &Misdirected = cause_in(error)?;
    let advice = match misdirected {
        Misdirected::NoBucket => {
            "check the bucket's name, and the region and the endpoint in [s3]".to_owned()
        }
        Misdirected::OtherRegion(region) => {
            format!("set region = {region:?} in [s3], or AWS_REGION")
        }
        Misdirected::NoCredentials => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where there is a role"
                .to_owned()
        }
        Misdirected::WrongCredentials(_) => {
            "check or renew the credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and \
             AWS_SESSION_TOKEN belong together"
                .to_owned()
        }
    };
    let error = Error::new(ErrorKind::Configuration, misdirected.to_string());
    Some(error.with_object(object).with_advice(advice))
}

/// Whether the store refused, so that nothing happened and nothing will: every other failure of a
/// write may have happened.
pub(crate) fn refused(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    let by_system = system_error_kind(error).is_some_and(|kind| {
        matches!(
            kind,
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::NotADirectory
        )
    });
    let by_store = matches!(
        error,
        E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::NotImplemented { .. }
            | E::NotSupported { .. }
            | E::InvalidPath { .. }
    );
    by_system || by_store || cause_in::<Misdirected>(error).is_some()
}

/// The kind of the operating system's error that `error` was caused by, if one was.
fn system_error_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    cause_in(error).map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores() -> Stores {
        Stores::new(PathBuf::from("/here/dir"))
    }

    #[test]
    fn plain_paths_become_absolute_addresses() {
        for (given, uri, path) in [
            ("a.csv", "file:///here/dir/a.csv", "here/dir/a.csv"),
            ("./x/../a b.csv", "file:///here/dir/a b.csv", "here/dir/a b.csv"),
            ("/data//a.csv", "file:///data/a.csv", "data/a.csv"),
            ("file:///data/a.csv", "file:///data/a.csv", "data/a.csv"),
            ("/data/50%20 #1?.csv", "file:///data/50%20 #1?.csv", "data/50%20 #1?.csv"),
            ("memory://t/a.csv", "memory:///t/a.csv", "t/a.csv"),
        ] {
            let location = stores().resolve(given).unwrap();
            assert_eq!((location.uri.as_str(), location.path.as_ref()), (uri, path), "{given}");
        }
        let listed = stores().listed("memory:///t", &Path::from("t/a.csv"));
        assert_eq!(listed, ("memory:///t/a.csv".to_owned(), None));
    }

    #[test]
    fn an_unknown_scheme_is_refused() {
        let error = stores().resolve("ftp://host/key").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("\"ftp\""), "{error}");
    }

    #[test]
    fn a_directory_is_a_url_with_a_slash() {
        let location = stores().resolve("my lake/orders").unwrap();
        let url = directory_url(&location).unwrap();
        assert_eq!(url.as_str(), "file:///here/dir/my%20lake/orders/");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("could not copy")]
    struct Wrapper(#[source] io::Error);

    fn caused_by(kind: io::ErrorKind) -> Error {
        let source = Box::new(Wrapper(kind.into()));
        storage_error("a/b", object_store::Error::Generic { store: "local", source })
    }

    #[test]
    fn a_full_disk_is_not_an_unwritable_folder() {
        let full = caused_by(io::ErrorKind::StorageFull);
        assert_eq!(full.kind(), ErrorKind::StorageUnavailable);
        assert_eq!(full.object(), Some("a/b"));
        assert_eq!(full.message(), "the disk is full");
        let denied = caused_by(io::ErrorKind::PermissionDenied);
        assert_eq!(denied.message(), "the storage may not be written");
        let read_only = caused_by(io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(read_only.message(), "the storage is mounted read-only");
        assert_ne!(full.advice(), denied.advice());
        assert_eq!(caused_by(io::ErrorKind::BrokenPipe).message(), "the storage failed");
    }
}
