//! A change of a table's columns, made by the commit that adds the first rows that need it.
//!
//! The kernel checks the change and, where columns are mapped, gives a new column its id and its name in
//! the files. Data files are written before the commit: so the change is composed before them, and what
//! the kernel said of the new columns then is what the commit says.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use delta_kernel::schema::{StructField, StructType};
use delta_kernel::snapshot::{Snapshot as KernelSnapshot, SnapshotRef};
use delta_kernel::table_features::TableFeature;
use delta_kernel::transaction::UpdateTableOperation;
use delta_kernel::{Engine, KernelError, KernelResult};
use xxhash_rust::xxh3::Xxh3;

use super::layout::{self, Target};
use super::{ENGINE_INFO, compose, protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Evolution, SchemaChange};

/// The table's property that holds the highest id of a column that ever was.
const MAX_COLUMN_ID: &str = "delta.columnMapping.maxColumnId";

/// What a commit says of a change of columns.
pub(super) struct Evolved {
    /// The new columns, with the ids and names that data files have been written with.
    pub added: Vec<StructField>,
    /// All columns, with logical names.
    pub schema: Arc<StructType>,
}

/// Equal for two versions of a table that have the same columns, with the same identities.
pub(super) fn columns_id(snapshot: &KernelSnapshot) -> u128 {
    let metadata = snapshot.table_configuration().metadata();
    let mut hash = Xxh3::new();
    hash.update(metadata.schema_string().as_bytes());
    let highest = metadata.configuration().get(MAX_COLUMN_ID);
    // No schema ends in it: it is no JSON.
    hash.update(&[0]);
    hash.update(highest.map(String::as_bytes).unwrap_or_default());
    hash.digest128()
}

/// Composes `change` of the table at `snapshot`.
pub(super) fn plan(
    uri: &str,
    snapshot: &SnapshotRef,
    engine: &dyn Engine,
    change: &SchemaChange,
) -> Result<Evolution> {
    check_room(uri, snapshot, change)?;
    compose(snapshot, engine, change).map_err(|cause| refusal(uri, snapshot, cause))
}

fn compose(
    snapshot: &SnapshotRef,
    engine: &dyn Engine,
    change: &SchemaChange,
) -> KernelResult<Evolution> {
    let wanted = layout::kernel_schema(&Arc::new(Schema::new(change.added.clone())))?;
    let mut builder = snapshot.clone().update_table(UpdateTableOperation::Write, ENGINE_INFO, true);
    for field in wanted.fields() {
        builder = builder.add_column(field.clone());
    }
    let transaction = builder.build(engine, Box::new(compose::Capture::default()))?;
    let target = Target {
        schema: snapshot.schema(),
        partition_by: transaction.logical_partition_columns().to_vec(),
        state: transaction.write_state()?,
    };
    let context = target.bind_any()?;
    let added = wanted
        .fields()
        .map(|field| context.logical_data_schema().field(field.name()).cloned())
        .collect::<Option<Vec<StructField>>>()
        .ok_or_else(|| KernelError::generic("the kernel has not added the columns"))?;
    let schema = StructType::try_new(snapshot.schema().fields().chain(&added).cloned())?;
    let schema = Arc::new(schema);
    Ok(Evolution {
        change: change.clone(),
        columns_id: columns_id(snapshot),
        layout: Arc::new(layout::of(&Target { schema: Arc::clone(&schema), ..target })?),
        inner: Arc::new(Evolved { added, schema }),
    })
}

/// Refuses columns that the table has no room for.
fn check_room(uri: &str, snapshot: &SnapshotRef, change: &SchemaChange) -> Result<()> {
    let schema = snapshot.schema();
    let mut taken: HashSet<String> =
        schema.fields().map(|field| field.name().to_lowercase()).collect();
    let table = snapshot.table_configuration();
    let has_times = table.is_feature_supported(&TableFeature::TimestampWithoutTimezone);
    for field in &change.added {
        let name = field.name();
        if !taken.insert(name.to_lowercase()) {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                format!("the table has a column that it could not tell from {name:?}"),
            )
            .with_object(uri)
            .with_advice("rename the object's column, or say new_columns = \"rescue\""));
        }
        if *field.data_type() == DataType::Timestamp(TimeUnit::Microsecond, None) && !has_times {
            return Err(Error::new(
                ErrorKind::TableUnsupported,
                format!("{name:?} is a time without a zone, and the table cannot hold one"),
            )
            .with_object(uri)
            .with_advice(
                "give the column another type in [feed.columns], or let the table hold such times: \
                 ALTER TABLE t SET TBLPROPERTIES ('delta.feature.timestampNtz' = 'supported')",
            ));
        }
    }
    Ok(())
}

fn refusal(uri: &str, snapshot: &SnapshotRef, cause: KernelError) -> Error {
    let error = match cause.without_backtrace() {
        KernelError::Schema(_) => {
            Error::new(ErrorKind::SchemaMismatch, "the table cannot have the object's columns")
                .with_advice("rename the object's columns, or say new_columns = \"rescue\"")
        }
        _ => Error::new(
            ErrorKind::TableUnsupported,
            format!(
                "Lakefeed cannot add columns to a table with its features ({})",
                protocol::features(snapshot)
            ),
        )
        .with_advice(
            "add them yourself (ALTER TABLE t ADD COLUMN), or say new_columns = \"rescue\"",
        ),
    };
    error.with_object(uri).with_cause(cause)
}
