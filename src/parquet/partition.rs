//! Rows to partitions: the values that a row belongs to, and the folder that shows them.

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use chrono::DateTime;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind, Result};
use crate::table::{Layout, Value, decimal_text};

/// The folder that Hive, Spark and their readers know for rows without a value.
/// A longer `column=value` is shortened: file systems limit a folder's name to 255 bytes. Readers that
/// take values from names (Polars) then read what is left, so nothing is cut without need.
const NAME_BYTES_MAX: usize = 230;
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// The identity of a partition: equal exactly when the values are. Empty without partitioning.
pub(super) type PartitionKey = Box<[u8]>;

/// Rows of one batch that belong to one partition.
pub(super) struct PartitionRows {
    pub(super) key: PartitionKey,
    pub(super) values: Vec<Option<Value>>,
    /// The stored columns, named as in files.
    pub(super) rows: RecordBatch,
}

/// Splits batches by the partition columns of a table.
pub(super) struct Partitioner {
    columns: Vec<usize>,
    keys: RowConverter,
}

impl Partitioner {
    /// The partitioner of `layout`.
    ///
    /// # Errors
    /// [`ErrorKind::TableUnsupported`] for a partition column that has no text form.
    pub(super) fn new(layout: &Layout) -> Result<Self> {
        let columns = layout.partition_columns.clone();
        for &column in &columns {
            let field = layout.schema.field(column);
            if !is_supported(field.data_type()) {
                return Err(Error::new(
                    ErrorKind::TableUnsupported,
                    format!(
                        "partition column {:?} is of type {}, which no folder name can hold",
                        field.name(),
                        field.data_type()
                    ),
                ));
            }
        }
        let fields = columns.iter().map(|&column| layout.schema.field(column).data_type());
        let keys = RowConverter::new(fields.cloned().map(SortField::new).collect());
        Ok(Self { columns, keys: keys.map_err(defect)? })
    }

    /// Splits `stored`, the stored columns of `batch`, keeping the order of rows within each
    /// partition.
    pub(super) fn split(
        &self,
        batch: &RecordBatch,
        stored: RecordBatch,
    ) -> Result<Vec<PartitionRows>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        if self.columns.is_empty() {
            return Ok(vec![PartitionRows {
                key: PartitionKey::default(),
                values: Vec::new(),
                rows: stored,
            }]);
        }
        let columns: Vec<_> =
            self.columns.iter().map(|&column| batch.column(column).clone()).collect();
        let keys = self.keys.convert_columns(&columns).map_err(defect)?;
        let (order, sorted) = sort(&keys, stored)?;
        let mut split = Vec::new();
        let mut start = 0;
        for same in order.chunk_by(|&a, &b| keys.row(a as usize) == keys.row(b as usize)) {
            let first = same[0] as usize;
            split.push(PartitionRows {
                key: keys.row(first).as_ref().into(),
                values: columns.iter().map(|column| value_at(column, first)).collect(),
                rows: sorted.slice(start, same.len()),
            });
            start += same.len();
        }
        Ok(split)
    }
}

/// `batch` in the order of its `keys`, and that order.
fn sort(keys: &Rows, batch: RecordBatch) -> Result<(Vec<u32>, RecordBatch)> {
    let rows = u32::try_from(batch.num_rows()).map_err(|error| {
        Error::new(ErrorKind::Internal, "a batch is too long").with_cause(error)
    })?;
    let mut order: Vec<u32> = (0..rows).collect();
    if order.is_sorted_by_key(|&row| keys.row(row as usize)) {
        return Ok((order, batch));
    }
    order.sort_by_key(|&row| keys.row(row as usize));
    let sorted = take_record_batch(&batch, &UInt32Array::from(order.clone())).map_err(defect)?;
    Ok((order, sorted))
}

fn defect(error: ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "a batch could not be split by partition").with_cause(error)
}

fn is_supported(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Utf8
    ) || matches!(data_type, DataType::Decimal128(_, scale) if *scale >= 0)
}

/// The value in row `row` of a column of a supported type.
pub(super) fn value_at(column: &dyn Array, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return None;
    }
    let integer = |value| Some(Value::Integer(value));
    match column.data_type() {
        DataType::Boolean => Some(Value::Boolean(column.as_boolean().value(row))),
        DataType::Int8 => integer(column.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => integer(column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => integer(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => {
            Some(Value::Float(column.as_primitive::<Float32Type>().value(row).into()))
        }
        DataType::Float64 => Some(Value::Float(column.as_primitive::<Float64Type>().value(row))),
        DataType::Decimal128(_, scale) => Some(Value::Decimal(
            column.as_primitive::<Decimal128Type>().value(row),
            scale.unsigned_abs(),
        )),
        DataType::Date32 => Some(Value::Date(column.as_primitive::<Date32Type>().value(row))),
        DataType::Timestamp(..) => {
            Some(Value::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::Utf8 => Some(Value::String(column.as_string::<i32>().value(row).to_owned())),
        _ => None,
    }
}

/// The folder `column=value/column=value/` for the partition of `values`; empty without
/// partitioning. It is for people and for readers that know nothing but folders: a table's own
/// metadata holds the values.
pub(super) fn folder(layout: &Layout, values: &[Option<Value>]) -> String {
    let mut folder = String::new();
    for (&column, value) in layout.partition_columns.iter().zip(values) {
        let mut name = String::new();
        escape_into(&mut name, layout.schema.field(column).name());
        name.push('=');
        match value.as_ref().map(value_text) {
            Some(text) if !text.is_empty() => escape_into(&mut name, &text),
            _ => name.push_str(NO_VALUE),
        }
        folder.push_str(&shortened(name));
        folder.push('/');
    }
    folder
}

/// A name that file systems take. What is cut off is told apart by its hash.
fn shortened(mut name: String) -> String {
    if name.len() > NAME_BYTES_MAX {
        let hash = xxh3_64(name.as_bytes());
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        name.push_str(&format!("~{hash:016x}"));
    }
    name
}

/// A value as Spark writes it in a folder's name, before escaping.
fn value_text(value: &Value) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Decimal(unscaled, scale) => decimal_text(*unscaled, *scale),
        Value::Date(days) => {
            moment_text(i64::from(*days) * 86_400_000_000, "%Y-%m-%d").unwrap_or(days.to_string())
        }
        Value::Timestamp(micros) => {
            moment_text(*micros, "%Y-%m-%d %H:%M:%S%.f").unwrap_or(micros.to_string())
        }
        Value::String(text) => text.clone(),
    }
}

fn moment_text(micros: i64, format: &str) -> Option<String> {
    Some(DateTime::from_timestamp_micros(micros)?.format(format).to_string())
}

/// Percent-encodes what Hive and Spark do: what a file system or a reader of folders would trip on.
fn escape_into(folder: &mut String, text: &str) {
    for character in text.chars() {
        let unsafe_ = character.is_ascii_control()
            || matches!(
                character,
                '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^'
            );
        if unsafe_ {
            folder.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            folder.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_make_short_names_that_differ() {
        let names = ["é".repeat(500), "é".repeat(501)].map(shortened);
        assert!(names.iter().all(|name| name.len() <= 255), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert_eq!(shortened("short".to_owned()), "short");
    }

    #[test]
    fn folder_names_are_those_of_hive() {
        let mut folder = String::new();
        escape_into(&mut folder, "a/b=c:50% \u{1}é[x]");
        assert_eq!(folder, "a%2Fb%3Dc%3A50%25 %01é%5Bx%5D");
    }

    #[test]
    fn values_read_as_spark_writes_them() {
        assert_eq!(value_text(&Value::Decimal(-5, 2)), "-0.05");
        assert_eq!(value_text(&Value::Decimal(12345, 0)), "12345");
        assert_eq!(value_text(&Value::Date(-1)), "1969-12-31");
        assert_eq!(value_text(&Value::Timestamp(1_500_000)), "1970-01-01 00:00:01.500");
        assert_eq!(value_text(&Value::Timestamp(0)), "1970-01-01 00:00:00");
        assert_eq!(value_text(&Value::Boolean(true)), "true");
    }
}
