//! From an address to the object store that holds it.
//!
//! This is the only module, beside `lease/`, that names a kind of storage.

use std::io;
use std::path::{Component, PathBuf};
use std::sync::{Arc, Mutex};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

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
}

/// The object stores of one process, opened lazily and shared.
#[derive(Debug)]
pub struct Stores {
    working_directory: PathBuf,
    local: Arc<dyn ObjectStore>,
    memory: Arc<dyn ObjectStore>,
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
            overlays: Mutex::default(),
        }
    }

    /// Uses `store` for every address of `scheme`, instead of the usual one. For tests: faults,
    /// latency, counters.
    pub fn overlay(&self, scheme: &str, store: Arc<dyn ObjectStore>) {
        let mut overlays = self.overlays.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        overlays.retain(|(known, _)| known != scheme);
        overlays.push((scheme.to_owned(), store));
    }

    /// The store and key of `address`: a plain path, or a `file://` or `memory://` address.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a scheme that this build does not have, or an address that
    /// cannot be a key.
    pub fn resolve(&self, address: &str) -> Result<Location> {
        let uri = self.canonical(address)?;
        let (scheme, rest) = uri.split_once("://").unwrap_or_default();
        let unusable = |cause: object_store::path::Error| {
            Error::new(ErrorKind::Configuration, "this address cannot be an object's key")
                .with_object(&uri)
                .with_cause(cause)
        };
        let path = match scheme {
            "file" => Path::from_absolute_path(rest).map_err(unusable)?,
            _ => Path::parse(rest.trim_matches('/')).map_err(unusable)?,
        };
        let store = self.store(scheme);
        Ok(Location { mutable_in_place: scheme == "file", uri, store, path })
    }

    /// The address of the object at `path` in the store of `uri`.
    pub fn uri_of(&self, uri: &str, path: &Path) -> String {
        match uri.split_once("://") {
            Some((scheme, _)) => format!("{scheme}:///{path}"),
            None => path.to_string(),
        }
    }

    fn canonical(&self, address: &str) -> Result<String> {
        match address.split_once("://") {
            None => Ok(format!("file://{}", self.absolute(address).display())),
            Some(("file", path)) if path.starts_with('/') => {
                Ok(format!("file://{}", self.absolute(path).display()))
            }
            Some(("memory", path)) => Ok(format!("memory:///{}", path.trim_start_matches('/'))),
            Some((scheme, _)) => Err(Error::new(
                ErrorKind::Configuration,
                format!("this build reads and writes no {scheme:?} addresses"),
            )
            .with_object(address)
            .with_advice("use a path, or a file:/// address")),
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

    fn store(&self, scheme: &str) -> Arc<dyn ObjectStore> {
        let overlays = self.overlays.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let overlay = overlays.iter().find(|(known, _)| known == scheme);
        match (overlay, scheme) {
            (Some((_, store)), _) => Arc::clone(store),
            (None, "memory") => Arc::clone(&self.memory),
            (None, _) => Arc::clone(&self.local),
        }
    }
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
    let scheme = location.uri.split_once("://").map_or("file", |(scheme, _)| scheme);
    let mut url =
        Url::parse(&format!("{scheme}:///")).map_err(|cause| invalid().with_cause(cause))?;
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

/// The store's error that `error` was caused by, if one was.
pub(crate) fn store_error_in<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a object_store::Error> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|e| e.downcast_ref())
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
    by_system || by_store
}

/// The kind of the operating system's error that `error` was caused by, if one was.
fn system_error_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
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
            assert_eq!(stores().uri_of(uri, &location.path), uri);
        }
    }

    #[test]
    fn an_unknown_scheme_is_refused() {
        let error = stores().resolve("s3://bucket/key").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("\"s3\""), "{error}");
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
