//! How far a log is summed up in a checkpoint.
//!
//! Commits are taken away only behind a checkpoint, and whoever writes one says so in
//! `_last_checkpoint` first. So what is seen in the log counts if, *afterwards*, no checkpoint covers
//! it: else the commit may have been taken away, and what lies in its place may be that of a writer
//! who did not know.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;

use crate::error::Result;
use crate::store::storage_error;

#[derive(Deserialize)]
struct LastCheckpoint {
    version: u64,
}

/// The version of the newest checkpoint, as its writer says; nothing where nobody said anything.
///
/// # Errors
/// [`crate::error::ErrorKind::StorageUnavailable`].
pub(super) async fn summed_up_to(store: &dyn ObjectStore, log: &Path) -> Result<Option<u64>> {
    let path = log.clone().join("_last_checkpoint");
    let failed = |cause| storage_error(path.as_ref(), cause);
    let body = match store.get(&path).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    // It is only a hint: one that cannot be read is none.
    Ok(serde_json::from_slice(&body).ok().map(|LastCheckpoint { version }| version))
}
