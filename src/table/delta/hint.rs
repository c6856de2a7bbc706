//! How far a log is summed up in a checkpoint.
//!
//! Commits are taken away only behind a checkpoint, and whoever writes one says so in
//! `_last_checkpoint` first. So what is seen in the log counts if, *afterwards*, no checkpoint covers
//! it: else the commit may have been taken away, and what lies in its place may be that of a writer
//! who did not know.

use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::store::storage_error;

const FILE_NAME: &str = "_last_checkpoint";

/// How often the hint is written that others write, too.
const ADVANCES_MAX: u32 = 5;

/// What `_last_checkpoint` says: <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#last-checkpoint-file-schema>
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastCheckpoint {
    /// The version that was summed up.
    pub version: u64,
    /// The actions in the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// The size of its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_in_bytes: Option<u64>,
    /// The data files that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_of_add_files: Option<i64>,
}

/// The version of the newest checkpoint, as its writer says; nothing where nobody said anything.
///
/// # Errors
/// [`crate::error::ErrorKind::StorageUnavailable`].
pub(super) async fn summed_up_to(store: &dyn ObjectStore, log: &Path) -> Result<Option<u64>> {
    Ok(read(store, log).await?.version())
}

/// Says that there is a checkpoint, unless a newer one is known: the hint never moves back.
///
/// # Errors
/// [`crate::error::ErrorKind::StorageUnavailable`]. The checkpoint is found without the hint, too.
pub(super) async fn advance(
    store: &dyn ObjectStore,
    log: &Path,
    checkpoint: &LastCheckpoint,
) -> Result<()> {
    let path = log.clone().join(FILE_NAME);
    let body = serde_json::to_vec(checkpoint).unwrap_or_default();
    for _ in 0..ADVANCES_MAX {
        let known = read(store, log).await?;
        if known.version() >= Some(checkpoint.version) {
            return Ok(());
        }
        let put = |mode: PutMode| store.put_opts(&path, body.clone().into(), mode.into());
        let outcome = match put(known.into_replacement()).await {
            // A local disk has no conditional update; others of its writers look first, too.
            Err(StoreError::NotImplemented { .. }) => put(PutMode::Overwrite).await,
            outcome => outcome,
        };
        match outcome {
            Ok(_) => return Ok(()),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {}
            Err(cause) => return Err(storage_error(path.as_ref(), cause)),
        }
    }
    tracing::debug!(%path, "others say which checkpoint is the newest");
    Ok(())
}

/// The hint as it stands.
enum Known {
    Nothing,
    Something { checkpoint: Option<LastCheckpoint>, is: UpdateVersion },
}

impl Known {
    fn version(&self) -> Option<u64> {
        match self {
            // It is only a hint: one that cannot be read is none.
            Self::Nothing | Self::Something { checkpoint: None, .. } => None,
            Self::Something { checkpoint: Some(checkpoint), .. } => Some(checkpoint.version),
        }
    }

    /// How to put another in its place, and in no other's.
    fn into_replacement(self) -> PutMode {
        match self {
            Self::Nothing => PutMode::Create,
            Self::Something { is, .. } => PutMode::Update(is),
        }
    }
}

async fn read(store: &dyn ObjectStore, log: &Path) -> Result<Known> {
    let path = log.clone().join(FILE_NAME);
    let failed = |cause| storage_error(path.as_ref(), cause);
    let found = match store.get(&path).await {
        Ok(found) => found,
        Err(StoreError::NotFound { .. }) => return Ok(Known::Nothing),
        Err(cause) => return Err(failed(cause)),
    };
    let is = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
    let body = found.bytes().await.map_err(failed)?;
    Ok(Known::Something { checkpoint: serde_json::from_slice(&body).ok(), is })
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn of(version: u64) -> LastCheckpoint {
        LastCheckpoint { version, size: None, size_in_bytes: None, num_of_add_files: None }
    }

    #[tokio::test]
    async fn it_never_moves_back() {
        let (store, log) = (InMemory::new(), Path::from("t/_delta_log"));
        assert_eq!(summed_up_to(&store, &log).await.unwrap(), None);
        // Whoever sums up 5 may end after whoever summed up 7.
        for (told, known) in [(3, 3), (7, 7), (5, 7), (7, 7), (8, 8)] {
            advance(&store, &log, &of(told)).await.unwrap();
            assert_eq!(summed_up_to(&store, &log).await.unwrap(), Some(known));
        }
    }

    #[tokio::test]
    async fn one_that_cannot_be_read_is_none() {
        let (store, log) = (InMemory::new(), Path::from("t/_delta_log"));
        store.put(&log.clone().join(FILE_NAME), "no json".into()).await.unwrap();
        assert_eq!(summed_up_to(&store, &log).await.unwrap(), None);
        advance(&store, &log, &of(3)).await.unwrap();
        assert_eq!(summed_up_to(&store, &log).await.unwrap(), Some(3));
    }
}
