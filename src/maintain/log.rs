//! The table's log, as the engine sees it: it composes a commit, and finds out whether another's stands
//! against it. To put it in its slot is ours, as everywhere.
//!
//! The engine would go on after a commit with a checkpoint and a clean-up of the log, whatever it is
//! told (1.1 does not hand the properties on that forbid it), and would take a failure there for one of the
//! commit. So it never hears of its success: it is told to stop, and what was put is kept here.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::DeltaResult;
use deltalake::kernel::Version;
use deltalake::kernel::transaction::TransactionError;
use deltalake::logstore::object_store::{ObjectStore, prefix::PrefixStore};
use deltalake::logstore::{
    CommitOrBytes, LogStore, LogStoreConfig, LogStoreRef, StorageConfig, default_logstore,
};
use uuid::Uuid;

use super::storage::{Storage, their_path};
use crate::error::{Error, ErrorKind, Result};
use crate::table::delta::DeltaTable;
use crate::table::{CommitOutcome, Table};

/// The log of one table, to commit to once.
pub(super) struct Log {
    table: Arc<DeltaTable>,
    /// Everything but the putting.
    reader: LogStoreRef,
    put: Mutex<Option<Put>>,
}

/// What came of the commit.
pub(super) enum Put {
    /// It is this version, and these are its actions.
    Committed(u64, Bytes),
    /// It may be there, now or later.
    Unknown,
    /// Nothing was put, for this reason.
    Failed(Error),
}

/// What the engine is told instead of success.
#[derive(Debug, thiserror::Error)]
#[error("Lakefeed has put the commit in its slot, or knows why not: the engine stops here")]
struct Stop;

impl Log {
    /// # Errors
    /// [`ErrorKind::Configuration`] for a table at an address that the engine cannot write.
    pub fn new(table: Arc<DeltaTable>) -> Result<Self> {
        let root = Arc::new(Storage(Arc::clone(table.store())));
        let prefix = their_path(table.root()).map_err(|cause| {
            Error::new(ErrorKind::Configuration, "the engine does not take this address")
                .with_object(table.uri())
                .with_cause(cause)
        })?;
        let prefixed = PrefixStore::new(Storage(Arc::clone(table.store())), prefix);
        let reader =
            default_logstore(Arc::new(prefixed), root, table.url(), &StorageConfig::default());
        Ok(Self { table, reader, put: Mutex::default() })
    }

    /// What came of the commit, if the engine has come to it.
    pub fn take(&self) -> Option<Put> {
        self.put.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn offer(&self, version: Version, commit: &Bytes) -> Result<Option<Put>> {
        Ok(match self.table.put_commit(version, commit).await? {
            CommitOutcome::Committed(version) => Some(Put::Committed(version, commit.clone())),
            CommitOutcome::Unknown => Some(Put::Unknown),
            CommitOutcome::Conflict => None,
        })
    }
}

#[async_trait]
impl LogStore for Log {
    /// The engine hands the bytes over to a log of this name. For others it puts them in the log first.
    fn name(&self) -> String {
        self.reader.name()
    }

    async fn read_commit_entry(&self, version: Version) -> DeltaResult<Option<Bytes>> {
        self.reader.read_commit_entry(version).await
    }

    async fn write_commit_entry(
        &self,
        version: Version,
        commit: CommitOrBytes,
        _: Uuid,
    ) -> Result<(), TransactionError> {
        let put = match &commit {
            CommitOrBytes::LogBytes(commit) => self.offer(version, commit).await,
            CommitOrBytes::TmpCommit(_) => {
                Err(Error::new(ErrorKind::Internal, "the engine has put a commit by itself"))
            }
        };
        let Some(put) = put.unwrap_or_else(|error| Some(Put::Failed(error))) else {
            return Err(TransactionError::VersionAlreadyExists(version));
        };
        *self.put.lock().unwrap_or_else(PoisonError::into_inner) = Some(put);
        Err(TransactionError::LogStoreError { msg: Stop.to_string(), source: Box::new(Stop) })
    }

    async fn abort_commit_entry(
        &self,
        _: Version,
        _: CommitOrBytes,
        _: Uuid,
    ) -> Result<(), TransactionError> {
        Ok(())
    }

    async fn get_latest_version(&self, current: Version) -> DeltaResult<Version> {
        self.reader.get_latest_version(current).await
    }

    fn object_store(&self, operation: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.reader.object_store(operation)
    }

    fn root_object_store(&self, operation: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.reader.root_object_store(operation)
    }

    fn config(&self) -> &LogStoreConfig {
        self.reader.config()
    }
}
