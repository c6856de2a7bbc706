//! From Iceberg's schema to the layout of data files, and back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use iceberg::spec::{NestedField, PrimitiveType, Schema, TableMetadata, Type};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::metadata::{library_error, unsupported};
use crate::error::{Error, ErrorKind, Result};
use crate::table::Layout;

/// The layout of the data files of a table.
///
/// Columns that no CSV can feed are left out of the files where they may be null; every reader takes an
/// absent column for null.
///
/// # Errors
/// [`ErrorKind::TableUnsupported`] for such a column that may not be null, or that the table is
/// partitioned by.
pub(super) fn of(uri: &str, metadata: &TableMetadata) -> Result<Layout> {
    let schema = metadata.current_schema();
    let partitions = metadata.default_partition_spec().fields();
    let partitions: Vec<i32> = partitions.iter().map(|field| field.source_id).collect();
    let (mut fields, mut file_fields, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for column in schema.as_struct().fields() {
        let Some(data_type) = arrow_type(&column.field_type) else {
            if column.required || partitions.contains(&column.id) {
                return Err(unsupported(
                    uri,
                    format!(
                        "column {:?} of type {} has to be written, and no CSV can hold that",
                        column.name, column.field_type
                    ),
                    "ingest into a table without it and merge from there",
                ));
            }
            continue;
        };
        let field = Field::new(&column.name, data_type, !column.required);
        let id = (PARQUET_FIELD_ID_META_KEY.to_owned(), column.id.to_string());
        file_fields.push(field.clone().with_metadata(HashMap::from([id])));
        fields.push(field);
        ids.push(column.id);
    }
    let position = |source: &i32| ids.iter().position(|id| id == source);
    let partition_columns: Option<Vec<usize>> = partitions.iter().map(position).collect();
    let partition_columns = partition_columns.ok_or_else(|| {
        unsupported(
            uri,
            "it is partitioned by a part of a column",
            "ingest into a table that is partitioned by whole columns, and merge from there",
        )
    })?;
    Ok(Layout {
        bounded_columns: vec![true; fields.len()],
        schema: Arc::new(ArrowSchema::new(fields)),
        file_schema: Arc::new(ArrowSchema::new(file_fields)),
        partition_columns,
        stores_partition_columns: true,
    })
}

/// The id of a column of [`Layout::file_schema`].
pub(super) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

/// The schema of a new table with these columns.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] for a type that Iceberg does not have.
pub(super) fn schema_of(uri: &str, columns: &ArrowSchema) -> Result<Schema> {
    let fields = columns.fields().iter().zip(1..).map(|(field, id)| {
        let column = iceberg_type(field.data_type()).ok_or_else(|| {
            Error::new(
                ErrorKind::SchemaMismatch,
                format!(
                    "column {:?} is of type {}, which Iceberg does not have",
                    field.name(),
                    field.data_type()
                ),
            )
            .with_object(uri)
            .with_advice("give the column another type")
        })?;
        Ok(Arc::new(NestedField::optional(id, field.name(), Type::Primitive(column))))
    });
    let fields = fields.collect::<Result<Vec<_>>>()?;
    let schema = Schema::builder().with_fields(fields).build();
    schema.map_err(|cause| library_error(uri, cause))
}

/// Narrow integers are stored as the narrowest that there is.
fn iceberg_type(data_type: &DataType) -> Option<PrimitiveType> {
    Some(match data_type {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 => PrimitiveType::Int,
        DataType::Int64 => PrimitiveType::Long,
        DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Decimal128(precision, scale) => PrimitiveType::Decimal {
            precision: u32::from(*precision),
            scale: u32::try_from(*scale).ok()?,
        },
        DataType::Date32 => PrimitiveType::Date,
        DataType::Timestamp(TimeUnit::Microsecond, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Utf8 => PrimitiveType::String,
        DataType::Binary => PrimitiveType::Binary,
        _ => return None,
    })
}

/// Nothing for a type that no CSV can feed.
fn arrow_type(column: &Type) -> Option<DataType> {
    Some(match column.as_primitive_type()? {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => {
            DataType::Decimal128(u8::try_from(*precision).ok()?, i8::try_from(*scale).ok()?)
        }
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        PrimitiveType::String => DataType::Utf8,
        PrimitiveType::Binary => DataType::Binary,
        PrimitiveType::Time
        | PrimitiveType::TimestampNs
        | PrimitiveType::TimestamptzNs
        | PrimitiveType::Uuid
        | PrimitiveType::Fixed(_) => return None,
    })
}
