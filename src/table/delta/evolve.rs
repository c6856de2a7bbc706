//! A change of a table's columns, made by the commit that adds the first rows that need it.
//!
//! The kernel checks the change and, where columns are mapped, gives a new column its id and its name in
//! the files. Data files are written before the commit: so the change is composed before them, and what
//! the kernel said of the new columns then is what the commit says.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, TimeUnit};
use delta_kernel::expressions::ColumnName;
use delta_kernel::schema::{DataType as KernelType, StructField, StructType};
use delta_kernel::snapshot::{Snapshot as KernelSnapshot, SnapshotRef};
use delta_kernel::table_features::TableFeature;
use delta_kernel::transaction::{UpdateTableOperation, UpdateTableTransactionBuilder};
use delta_kernel::{Engine, KernelError, KernelResult};
use xxhash_rust::xxh3::Xxh3;

use super::layout::{self, Target};
use super::{ENGINE_INFO, compose, protocol, widen};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Evolution, SchemaChange};

/// What a commit says of a change of columns.
pub(super) struct Evolved {
    /// The new columns, with the ids and names that data files have been written with.
    added: Vec<StructField>,
    /// The columns that become wider, with their new types.
    widened: Vec<(String, KernelType)>,
    /// All columns, with logical names.
    pub schema: Arc<StructType>,
}

impl Evolved {
    /// What the commit is composed on, in the place of `snapshot`.
    pub fn base(&self, snapshot: &SnapshotRef) -> KernelResult<SnapshotRef> {
        base(snapshot, &self.widened)
    }

    /// Makes the change a part of the commit that is composed on `base`.
    pub fn put_into(
        &self,
        builder: UpdateTableTransactionBuilder,
        base: &KernelSnapshot,
    ) -> KernelResult<UpdateTableTransactionBuilder> {
        change(builder, base, &self.added)
    }
}

fn base(snapshot: &SnapshotRef, widened: &[(String, KernelType)]) -> KernelResult<SnapshotRef> {
    match widened {
        [] => Ok(snapshot.clone()),
        columns => widen::widened(snapshot, columns),
    }
}

fn change(
    mut builder: UpdateTableTransactionBuilder,
    base: &KernelSnapshot,
    added: &[StructField],
) -> KernelResult<UpdateTableTransactionBuilder> {
    if added.is_empty() {
        // Nothing changes but what has changed in `base` already: it makes the kernel say so.
        let schema = base.schema();
        let nullable = schema.fields().find(|field| field.is_nullable());
        let nullable = nullable.ok_or_else(|| KernelError::unsupported("no column may be null"))?;
        return Ok(builder.set_nullable(ColumnName::new([nullable.name()])));
    }
    for field in added {
        builder = builder.add_column(field.clone());
    }
    Ok(builder)
}

/// Equal for two versions of a table that have the same columns, with the same identities, and partitions,
/// and of which the same properties say how they are mapped and described.
pub(super) fn columns_id(snapshot: &KernelSnapshot) -> u128 {
    let metadata = snapshot.table_configuration().metadata();
    let mut texts = vec![metadata.schema_string().as_str()];
    texts.extend(metadata.partition_columns().iter().map(String::as_str));
    // Between partitions and properties.
    texts.push("");
    let properties: BTreeMap<&String, &String> = metadata.configuration().iter().collect();
    texts.extend(properties.into_iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]));
    let mut hash = Xxh3::new();
    for text in texts {
        // So that no two lists are one text.
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
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
    wanted: &SchemaChange,
) -> KernelResult<Evolution> {
    let added: Vec<StructField> = kernel_fields(&wanted.added)?;
    let widened: Vec<(String, KernelType)> = kernel_fields(&wanted.widened)?
        .into_iter()
        .map(|field| (field.name().clone(), field.data_type().clone()))
        .collect();
    let base = base(snapshot, &widened)?;
    let builder = base.clone().update_table(UpdateTableOperation::Write, ENGINE_INFO, true);
    let transaction =
        change(builder, &base, &added)?.build(engine, Box::new(compose::Capture::default()))?;
    let target = Target {
        schema: base.schema(),
        partition_by: transaction.logical_partition_columns().to_vec(),
        state: transaction.write_state()?,
    };
    let context = target.bind_any()?;
    let added = added
        .iter()
        .map(|field| context.logical_data_schema().field(field.name()).cloned())
        .collect::<Option<Vec<StructField>>>()
        .ok_or_else(|| KernelError::generic("the kernel has not added the columns"))?;
    let schema = StructType::try_new(base.schema().fields().chain(&added).cloned())?;
    let schema = Arc::new(schema);
    Ok(Evolution {
        change: wanted.clone(),
        columns_id: columns_id(snapshot),
        layout: Arc::new(layout::of(&Target { schema: Arc::clone(&schema), ..target })?),
        inner: Arc::new(Evolved { added, widened, schema }),
    })
}

fn kernel_fields(fields: &[FieldRef]) -> KernelResult<Vec<StructField>> {
    let schema = layout::kernel_schema(&Arc::new(Schema::new(fields.to_vec())))?;
    Ok(schema.fields().cloned().collect())
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
                "Lakefeed cannot change the columns of a table with its features ({})",
                protocol::features(snapshot)
            ),
        )
        .with_advice("change them yourself (ALTER TABLE t), or say new_columns = \"rescue\""),
    };
    error.with_object(uri).with_cause(cause)
}
