//! Which data files the log names. Of the many, only those whose names are of our making.

use arrow::array::{AsArray, RecordBatch};
use delta_kernel::Engine;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt};
use serde::Deserialize;
use tokio::io::AsyncBufReadExt;
use tokio_util::io::StreamReader;
use url::Url;

use super::DeltaTable;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::store::storage_error;
use crate::table::{FileNames, FileOrigin, Snapshot};

/// Commits that are read at once.
const COMMITS_IN_FLIGHT_MAX: usize = 8;

/// The actions that name a data file.
const ACTIONS: [&str; 2] = ["add", "remove"];

/// Of one line of a commit, what names a data file.
#[derive(Deserialize)]
struct Action {
    add: Option<Named>,
    remove: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    path: String,
}

impl DeltaTable {
    /// See [`crate::table::Table::file_names_at`].
    pub(super) async fn names_at(
        &self,
        environment: &Environment,
        snapshot: &Snapshot,
    ) -> Result<FileNames<'_>> {
        let kernel = self.kernel_snapshot(snapshot)?;
        let holder = "the list of a table's files";
        let held = self.reserve_to_sum_up(environment, holder, &kernel).await?;
        let data = move |engine: &dyn Engine, _: &Url| {
            kernel.create_checkpoint_writer(engine)?.checkpoint_data(engine)
        };
        let actions = self.blocking(data).await?;
        let next = async move |(actions, held)| {
            let (actions, batch) = self.next_actions(actions).await?;
            Ok(batch.map(|batch| (names_in(&batch), (actions, held))))
        };
        Ok(stream::try_unfold((actions, held), next).boxed())
    }

    /// See [`crate::table::Table::file_names_in_history`]. From the snapshot's version down: a log is
    /// cleaned up from its other end, and no listing that lags hides a commit.
    pub(super) fn names_in_history(&self, snapshot: &Snapshot) -> FileNames<'_> {
        stream::iter((0..=snapshot.version).rev())
            .map(|version| self.names_in_commit(self.slot(version).path()))
            .buffered(COMMITS_IN_FLIGHT_MAX)
            .try_take_while(|names| std::future::ready(Ok(names.is_some())))
            .map_ok(Option::unwrap_or_default)
            .boxed()
    }

    /// Nothing where the commit is not there any more.
    async fn names_in_commit(&self, path: Path) -> Result<Option<Vec<String>>> {
        let body = match self.store.get(&path).await {
            Ok(found) => found.into_stream().map_err(std::io::Error::other),
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(cause) => return Err(storage_error(path.as_ref(), cause)),
        };
        let mut lines = StreamReader::new(body).lines();
        let mut names = Vec::new();
        loop {
            match lines.next_line().await {
                Ok(None) => return Ok(Some(names)),
                Ok(Some(line)) => {
                    let named = serde_json::from_str::<Action>(&line)
                        .map(|action| action.add.into_iter().chain(action.remove));
                    let paths = named.map_err(|cause| damaged(&path, cause))?;
                    names.extend(paths.filter_map(|named| name_of_ours(&named.path)));
                }
                Err(cause) => return Err(unreadable(&path, cause)),
            }
        }
    }
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::StorageUnavailable, "a commit cannot be read")
        .with_object(path.as_ref())
        .with_cause(cause)
}

fn damaged(path: &Path, cause: serde_json::Error) -> Error {
    Error::new(ErrorKind::TableInvalid, "a commit is not what the log says it is")
        .with_object(path.as_ref())
        .with_cause(cause)
        .with_advice("look at the table with another reader; nothing was deleted")
}

/// What a batch of the log's actions names.
fn names_in(actions: &RecordBatch) -> Vec<String> {
    let mut names = Vec::new();
    for action in ACTIONS {
        let paths = actions
            .column_by_name(action)
            .and_then(|action| action.as_struct_opt()?.column_by_name("path"))
            .and_then(|paths| paths.as_string_opt::<i32>());
        names
            .extend(paths.iter().flat_map(|paths| paths.iter()).flatten().filter_map(name_of_ours));
    }
    names
}

/// The last part of a data file's path, if it is a name that we give. It holds nothing that a path
/// would encode.
fn name_of_ours(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    FileOrigin::of_file(name).map(|_| name.to_owned())
}
