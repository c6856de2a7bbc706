//! What decides which metadata is the table's: a catalog, which can do two things.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};

use crate::error::Result;
use crate::table::CommitOutcome;

/// Where a table's current metadata is kept. It tries a commit once, on exactly the metadata that it was
/// composed on: it never loads newer metadata and puts the updates on top of that.
#[async_trait]
pub(super) trait Catalog: Send + Sync {
    /// The table's current metadata; nothing where there is no table.
    async fn load(&self) -> Result<Option<Loaded>>;

    /// Tries to put `change` on top of `base`, or of nothing, once.
    ///
    /// # Errors
    /// Only when nothing happened.
    async fn commit(&self, base: Option<&Loaded>, change: &Change) -> Result<CommitOutcome>;
}

/// A table's metadata, as it was when it was loaded.
pub(super) struct Loaded {
    /// The metadata.
    pub metadata: TableMetadata,
    /// The address of the file that holds it.
    pub location: String,
    /// How many of a path catalog's metadata files came up to it, itself among them.
    pub number: u64,
}

/// A change of a table's metadata, composed and not yet tried.
pub(super) struct Change {
    /// What must be so of the metadata that it is put on top of.
    pub requirements: Vec<TableRequirement>,
    /// What changes, for a catalog that applies changes itself.
    #[allow(dead_code)] // Nothing but a REST catalog reads it.
    pub updates: Vec<TableUpdate>,
    /// What comes of it, for a catalog that is told: the new metadata as JSON.
    pub outcome: Bytes,
    /// The version that the table has then.
    pub version: u64,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loaded").field(&self.location).finish()
    }
}
