//! The object stores: what their errors mean.

use std::io;

use crate::error::{Error, ErrorKind};

/// What `error` means for a table's storage, about `object`.
///
/// The local store wraps the operating system's errors; a full disk, a folder that is not ours to
/// write and a folder mounted read-only are told apart, because each is mended differently.
pub(crate) fn storage_error(object: &str, error: object_store::Error) -> Error {
    let (message, advice) = match system_error_kind(&error) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            ("the disk is full", "free some space, then try again")
        }
        Some(io::ErrorKind::PermissionDenied) => (
            "the storage may not be written",
            "grant write access to the folder, then try again",
        ),
        Some(io::ErrorKind::ReadOnlyFilesystem) => (
            "the storage is mounted read-only",
            "mount it for writing, or choose another place",
        ),
        _ => match &error {
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
    Error::new(ErrorKind::StorageUnavailable, message)
        .with_object(object)
        .with_advice(advice)
        .with_cause(error)
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

    #[derive(Debug, thiserror::Error)]
    #[error("could not copy")]
    struct Wrapper(#[source] io::Error);

    fn caused_by(kind: io::ErrorKind) -> Error {
        let source = Box::new(Wrapper(kind.into()));
        storage_error(
            "a/b",
            object_store::Error::Generic {
                store: "local",
                source,
            },
        )
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
        assert_eq!(
            caused_by(io::ErrorKind::BrokenPipe).message(),
            "the storage failed"
        );
    }
}
