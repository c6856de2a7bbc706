//! Markers of objects that were begun and never ended.
//!
//! An object that kills the function (by its memory, by the machine) gives no receipt, and is
//! delivered again. A marker, written before it is begun and removed after, tells the next
//! invocation: it goes last, after everything else has been committed, and the third time it is
//! failed. Only what may be dangerous has one: a large object, or one that was delivered
//! [`DELIVERIES_MIN`] times. And only where there is a deadline, that is, in a function: a person
//! may interrupt an ingest as often as he likes.
//!
//! A marker that cannot be read or written stops nothing.

use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::Run;
use super::task::Task;
use crate::error::{Error, ErrorKind};
use crate::store::storage_error;

/// How often an object may be begun without an end.
const ATTEMPTS_MAX: u32 = 3;
/// How often an object is delivered before it is thought dangerous.
pub(super) const DELIVERIES_MIN: u32 = 3;
/// The folder of markers, beside the ledgers.
const FOLDER: &str = "attempts";

/// A version of an object was begun so often, and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    source: String,
    identity: String,
    attempts: u32,
    last_begun_at: String,
    last_begun_by: String,
}

impl Run<'_> {
    fn has_markers(&self) -> bool {
        self.environment.time_box.is_some()
    }

    /// How often `task` was begun before without an end.
    pub(super) async fn attempts_before(&self, task: &Task) -> u32 {
        if !self.has_markers() {
            return 0;
        }
        let path = self.marker_of(task);
        let read = async { self.table.store().get(&path).await?.bytes().await };
        match read.await {
            // A marker that was cut short was written by somebody who died writing it.
            Ok(bytes) => serde_json::from_slice(&bytes).map_or(1, |marker: Marker| marker.attempts),
            Err(StoreError::NotFound { .. }) => 0,
            Err(error) => {
                tracing::warn!("a marker was not read: {}", storage_error(path.as_ref(), error));
                0
            }
        }
    }

    /// Marks `task` as begun once more; an objection, if that was too often.
    pub(super) async fn mark(&self, task: &Task, attempts_before: u32) -> Option<Error> {
        if attempts_before >= ATTEMPTS_MAX {
            return Some(
                Error::new(
                    ErrorKind::AttemptsExhausted,
                    format!(
                        "it was begun {attempts_before} times, and each time the function died"
                    ),
                )
                .with_advice(
                    "look at the function's log for memory or time; take the object with `lakefeed \
                     ingest` where there is more of them",
                ),
            );
        }
        if !self.has_markers() {
            return None;
        }
        let marker = Marker {
            source: task.object.location.uri.clone(),
            identity: task.object.identity.clone(),
            attempts: attempts_before + 1,
            last_begun_at: self.environment.clock.now().to_rfc3339(),
            last_begun_by: self.environment.process.clone(),
        };
        let path = self.marker_of(task);
        let json = serde_json::to_vec(&marker).unwrap_or_default();
        if let Err(error) = self.table.store().put(&path, json.into()).await {
            tracing::warn!("a marker was not written: {}", storage_error(path.as_ref(), error));
        }
        None
    }

    /// Takes a marker away: its object has come to its end, whichever.
    pub(super) async fn unmark(&self, marker: &Path) {
        if !self.has_markers() {
            return;
        }
        if let Err(error) = self.table.store().delete(marker).await {
            tracing::warn!("a marker stays behind: {}", storage_error(marker.as_ref(), error));
        }
    }

    /// Another version of the object is another object here.
    pub(super) fn marker_of(&self, task: &Task) -> Path {
        let Task { candidate, object, .. } = task;
        let key = xxh3_128(format!("{}\n{}", candidate.name, object.identity).as_bytes());
        self.table.ledger_root().join(FOLDER).join(format!("{key:032x}.json"))
    }
}
