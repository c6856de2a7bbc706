//! A lease in an object store that can replace an object on condition (If-Match, or a generation).

use std::sync::Arc;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};

use super::swap::{Slot, Swap, SwapLease};
use super::{Lease, RECORD_BYTES_MAX};
use crate::clock::Clock;
use crate::error::Result;
use crate::store::storage_error;

/// A lease whose record is one object.
pub type ObjectLease = SwapLease<Object>;

/// The object of one lease.
pub struct Object {
    uri: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl ObjectLease {
    /// The lease whose record is at `path` of `store`; `uri` is its address.
    pub fn new(
        uri: String,
        store: Arc<dyn ObjectStore>,
        path: Path,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::in_slot(Object { uri, store, path }, clock)
    }
}

#[async_trait]
impl Slot for Object {
    /// How to replace just what was read.
    type Version = PutMode;

    fn uri(&self) -> &str {
        &self.uri
    }

    async fn read(&self) -> Result<(Option<Lease>, PutMode)> {
        let failed = |error| storage_error(&self.uri, error);
        let found = match self.store.get(&self.path).await {
            Err(StoreError::NotFound { .. }) => return Ok((None, PutMode::Create)),
            found => found.map_err(failed)?,
        };
        let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
        let lease = if found.meta.size > RECORD_BYTES_MAX {
            None
        } else {
            Lease::from_json(&found.bytes().await.map_err(failed)?)
        };
        Ok((lease, PutMode::Update(UpdateVersion { e_tag, version })))
    }

    async fn swap(&self, mode: PutMode, next: &Lease) -> Result<Swap> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.path, next.to_json().into(), options).await {
            Ok(_) => Ok(Swap::Done),
            // Also what a client reports that repeats its own request.
            Err(StoreError::Precondition { .. } | StoreError::AlreadyExists { .. }) => {
                Ok(Swap::Refused)
            }
            // The client has repeated it as often as is sensible.
            Err(error) => Err(storage_error(&self.uri, error)),
        }
    }
}
