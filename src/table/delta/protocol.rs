//! Whether we may write to a table at all.

use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::transaction::UpdateTableOperation;
use delta_kernel::{Engine, KernelError};

use super::{ENGINE_INFO, compose, layout};
use crate::error::{Error, ErrorKind, Result};
use crate::table::Layout;

/// Writer versions whose features come all together, used or not.
const LEGACY_WRITER_VERSIONS: std::ops::RangeInclusive<i32> = 3..=6;

/// What to do about a feature that Lakefeed, or the kernel, does not have.
pub(super) const WAY_OUT: &str = "drop the feature (ALTER TABLE t DROP FEATURE f), or ingest into \
                                  another table and merge from there";

/// The layout of the table's data files, or the reason that we cannot write them: found out before
/// anything is.
pub(super) fn probe(uri: &str, snapshot: &SnapshotRef, engine: &dyn Engine) -> Result<Layout> {
    let transaction = snapshot
        .clone()
        .update_table(UpdateTableOperation::Write, ENGINE_INFO, true)
        .build(engine, Box::new(compose::Capture::default()));
    transaction
        .and_then(|transaction| {
            layout::of(&layout::Target {
                schema: snapshot.schema(),
                partition_by: transaction.logical_partition_columns().to_vec(),
                state: transaction.write_state()?,
            })
        })
        .map_err(|cause| refusal(uri, snapshot, cause))
}

fn refusal(uri: &str, snapshot: &SnapshotRef, cause: KernelError) -> Error {
    let protocol = snapshot.table_configuration().protocol();
    let writer = protocol.min_writer_version();
    let (message, advice) = match constraints(snapshot).as_slice() {
        [] if LEGACY_WRITER_VERSIONS.contains(&writer) => (
            format!(
                "its writer version {writer} asks for check constraints, generated columns and \
                 more at once, used or not"
            ),
            "upgrade the table to writer version 7, which names the features it uses: ALTER TABLE \
             t SET TBLPROPERTIES ('delta.minReaderVersion' = '3', 'delta.minWriterVersion' = '7')"
                .to_owned(),
        ),
        [] => {
            let features = features(snapshot);
            (format!("Lakefeed cannot write one of its features ({features})"), WAY_OUT.to_owned())
        }
        [first, ..] => (
            format!("it has check constraints ({first}), which Lakefeed cannot check"),
            format!(
                "drop them (ALTER TABLE t DROP CONSTRAINT {first}), or ingest into a table without \
                 them and merge from there"
            ),
        ),
    };
    Error::new(ErrorKind::TableUnsupported, message)
        .with_object(uri)
        .with_cause(cause)
        .with_advice(advice)
}

/// The names of what the table asks of its writers.
pub(super) fn features(snapshot: &SnapshotRef) -> String {
    let features = snapshot.table_configuration().protocol().writer_features();
    let names: Vec<&str> = features.into_iter().flatten().map(AsRef::as_ref).collect();
    names.join(", ")
}

/// The names of the table's check constraints.
fn constraints(snapshot: &SnapshotRef) -> Vec<&str> {
    let configuration = snapshot.table_configuration().metadata().configuration();
    let mut names: Vec<&str> =
        configuration.keys().filter_map(|key| key.strip_prefix("delta.constraints.")).collect();
    names.sort_unstable();
    names
}
