//! Columns that become wider, as the table feature `typeWidening` has it.
//!
//! The kernel reads and writes such tables, and widens no column itself. So the columns are widened here, in
//! a copy of the pinned snapshot on which the commit is then composed: it checks the change as the table's
//! own metadata would be checked, and composes all else.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use delta_kernel::actions::Metadata;
use delta_kernel::schema::{DataType as KernelType, MetadataValue, StructField, StructType};
use delta_kernel::snapshot::{Snapshot as KernelSnapshot, SnapshotRef};
use delta_kernel::table_configuration::TableConfiguration;
use delta_kernel::table_features::TableFeature;
use delta_kernel::{KernelError, KernelResult};
use serde_json::json;

use crate::table::WiderTypes;

/// The field's metadata that holds what its type was before.
const TYPE_CHANGES: &str = "delta.typeChanges";

/// How columns of the table can be widened by a commit that adds rows, if at all: as Spark does it of
/// itself. From whole numbers to others that count in fractions is for a person to say.
pub(super) fn wider_types(snapshot: &KernelSnapshot) -> Option<WiderTypes> {
    let table = snapshot.table_configuration();
    let is_frozen = [TableFeature::IcebergCompatV2, TableFeature::IcebergCompatV3]
        .iter()
        .any(|feature| table.is_feature_enabled(feature));
    if is_frozen || !table.is_feature_enabled(&TableFeature::TypeWidening) {
        return None;
    }
    match table.is_feature_supported(&TableFeature::TimestampWithoutTimezone) {
        true => Some(with_times),
        false => Some(without_times),
    }
}

fn without_times(narrow: &DataType) -> Vec<DataType> {
    match narrow {
        DataType::Int8 => vec![DataType::Int16, DataType::Int32, DataType::Int64],
        DataType::Int16 => vec![DataType::Int32, DataType::Int64],
        DataType::Int32 => vec![DataType::Int64],
        DataType::Float32 => vec![DataType::Float64],
        _ => vec![],
    }
}

fn with_times(narrow: &DataType) -> Vec<DataType> {
    match narrow {
        DataType::Date32 => vec![DataType::Timestamp(TimeUnit::Microsecond, None)],
        other => without_times(other),
    }
}

/// The table of `snapshot` as it would be if these columns were as wide as that.
pub(super) fn widened(
    snapshot: &KernelSnapshot,
    columns: &[(String, KernelType)],
) -> KernelResult<SnapshotRef> {
    let table = snapshot.table_configuration();
    let schema = snapshot.schema();
    let field = |field: &StructField| match columns.iter().find(|(name, _)| name == field.name()) {
        Some((_, wide)) => widened_field(field, wide),
        None => Ok(field.clone()),
    };
    let schema =
        StructType::try_new(schema.fields().map(field).collect::<KernelResult<Vec<_>>>()?)?;
    let metadata = table.metadata();
    let metadata = Metadata::from_parts(
        metadata.id().to_owned(),
        metadata.name().map(str::to_owned),
        metadata.description().map(str::to_owned),
        metadata.format_provider().to_owned(),
        metadata.format_options().clone(),
        serde_json::to_string(&schema)?,
        metadata.partition_columns().to_vec(),
        metadata.created_time(),
        metadata.configuration().clone(),
    );
    let root = table.table_root().clone();
    let table =
        TableConfiguration::try_new(metadata, table.protocol().clone(), root, table.version())?;
    Ok(Arc::new(KernelSnapshot::new(snapshot.log_segment().clone(), table)?))
}

fn widened_field(field: &StructField, wide: &KernelType) -> KernelResult<StructField> {
    let mut metadata = field.metadata().clone();
    let mut changes = match metadata.remove(TYPE_CHANGES) {
        None => Vec::new(),
        Some(MetadataValue::Other(serde_json::Value::Array(changes))) => changes,
        Some(other) => {
            let message = format!("{TYPE_CHANGES} of {:?} is {other}", field.name());
            return Err(KernelError::generic(message));
        }
    };
    changes.push(json!({ "fromType": field.data_type(), "toType": wide }));
    metadata.insert(TYPE_CHANGES.to_owned(), MetadataValue::Other(changes.into()));
    let widened = StructField::new(field.name(), wide.clone(), field.is_nullable());
    Ok(widened.with_metadata(metadata))
}
