//! A data file as a manifest has it: its place, its partition, and metrics that are never narrower than
//! its rows.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field};
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Datum, Literal, PrimitiveLiteral,
    PrimitiveType, Struct, TableMetadata,
};

use super::layout::field_id;
use crate::error::{Error, ErrorKind, Result};
use crate::parquet::{prefix, text_upper};
use crate::table::{DataFile, Layout, Value};

/// The property that says which metrics are kept of a column, followed by its name.
pub(super) const METRICS_OF_COLUMN: &str = "write.metadata.metrics.column.";
/// The same of all columns that have no property of their own.
const METRICS: &str = "write.metadata.metrics.default";
/// Characters of a text's bound where the table does not say: Iceberg's own default.
const BOUND_CHARACTERS: usize = 16;

/// What is kept of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metrics {
    None,
    Counts,
    /// Counts, and bounds; those of text in so many characters.
    Bounds {
        characters: usize,
    },
}

impl Metrics {
    /// Those of the column `name`, as the table's properties have them. What they say wrongly counts as
    /// not said, as in Iceberg's own writers.
    fn of(properties: &HashMap<String, String>, name: &str) -> Self {
        let own = properties.get(&format!("{METRICS_OF_COLUMN}{name}"));
        let said = own.or_else(|| properties.get(METRICS)).and_then(|mode| Self::parse(mode));
        said.unwrap_or(Self::Bounds { characters: BOUND_CHARACTERS })
    }

    fn parse(mode: &str) -> Option<Self> {
        let mode = mode.trim().to_ascii_lowercase();
        Some(match mode.as_str() {
            "none" => Self::None,
            "counts" => Self::Counts,
            "full" => Self::Bounds { characters: usize::MAX },
            truncated => {
                let digits = truncated.strip_prefix("truncate(")?.strip_suffix(')')?;
                let characters = digits.parse().ok().filter(|&characters| characters > 0)?;
                Self::Bounds { characters }
            }
        })
    }
}

/// `file`, which is below `location`, as a manifest of the table's default partition spec has it.
///
/// # Errors
/// [`ErrorKind::Internal`] for values that are none of their columns'.
pub(super) fn describe(
    metadata: &TableMetadata,
    layout: &Layout,
    file: &DataFile,
) -> Result<iceberg::spec::DataFile> {
    let (mut values, mut nulls) = (HashMap::new(), HashMap::new());
    let (mut lower, mut upper) = (HashMap::new(), HashMap::new());
    for (column, statistics) in layout.stored_columns().into_iter().zip(&file.columns) {
        let field = layout.file_schema.field(column);
        let id = id_of(field)?;
        let metrics = Metrics::of(metadata.properties(), field.name());
        if metrics == Metrics::None {
            continue;
        }
        values.insert(id, file.rows);
        nulls.insert(id, statistics.null_count);
        let Metrics::Bounds { characters } = metrics else { continue };
        let datum = |value: Value| datum(field.data_type(), value);
        if let Some(bound) = statistics.lower.clone().map(|it| shortened(it, characters)) {
            lower.insert(id, datum(bound)?);
        }
        if let Some(bound) = statistics.upper.clone().and_then(|it| lengthened(it, characters)) {
            upper.insert(id, datum(bound)?);
        }
    }
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{}/{}", metadata.location(), file.path))
        .file_format(DataFileFormat::Parquet)
        .partition(partition(layout, file)?)
        .partition_spec_id(metadata.default_partition_spec_id())
        .record_count(file.rows)
        .file_size_in_bytes(file.size_bytes)
        .value_counts(values)
        .null_value_counts(nulls)
        .lower_bounds(lower)
        .upper_bounds(upper)
        .build()
        .map_err(|cause| {
            Error::new(ErrorKind::Internal, "a data file could not be described").with_cause(cause)
        })
}

fn id_of(field: &Field) -> Result<i32> {
    field_id(field).ok_or_else(|| {
        Error::new(ErrorKind::Internal, format!("column {:?} has no id", field.name()))
    })
}

/// The values that the file's rows share, in the order of the partition columns.
fn partition(layout: &Layout, file: &DataFile) -> Result<Struct> {
    let columns = layout.partition_columns.iter().map(|&column| layout.schema.field(column));
    let literal = |(field, value): (&Field, &Option<Value>)| match value {
        None => Ok(None),
        Some(value) => {
            let datum = datum(field.data_type(), value.clone())?;
            Ok(Some(Literal::Primitive(datum.literal().clone())))
        }
    };
    let literals = columns.zip(&file.partition).map(literal).collect::<Result<Vec<_>>>()?;
    Ok(literals.into_iter().collect())
}

/// A bound that sorts no later.
fn shortened(lower: Value, characters: usize) -> Value {
    match lower {
        Value::String(text) => Value::String(prefix(&text, characters).to_owned()),
        value => value,
    }
}

/// A bound that sorts no earlier, if there is one that is no longer.
fn lengthened(upper: Value, characters: usize) -> Option<Value> {
    match upper {
        Value::String(text) => text_upper(text, characters).map(Value::String),
        value => Some(value),
    }
}

/// A value of a column of this type.
fn datum(column: &DataType, value: Value) -> Result<Datum> {
    let unfit = |value: &Value| {
        Error::new(ErrorKind::Internal, format!("{value:?} is no value of a {column} column"))
    };
    Ok(match (column, &value) {
        (DataType::Boolean, Value::Boolean(value)) => Datum::bool(*value),
        (DataType::Int32, Value::Integer(number)) => {
            Datum::int(i32::try_from(*number).map_err(|_| unfit(&value))?)
        }
        (DataType::Int64, Value::Integer(value)) => Datum::long(*value),
        // It was read from a column of this width.
        (DataType::Float32, Value::Float(value)) => Datum::float(*value as f32),
        (DataType::Float64, Value::Float(value)) => Datum::double(*value),
        (DataType::Decimal128(precision, scale), Value::Decimal(unscaled, _)) => {
            let column = PrimitiveType::Decimal {
                precision: u32::from(*precision),
                scale: u32::try_from(*scale).map_err(|_| unfit(&value))?,
            };
            let datum = Datum::try_from_bytes(&unscaled.to_be_bytes(), column);
            datum.map_err(|cause| unfit(&value).with_cause(cause))?
        }
        (DataType::Date32, Value::Date(days)) => Datum::date(*days),
        (DataType::Timestamp(_, None), Value::Timestamp(micros)) => {
            Datum::timestamp_micros(*micros)
        }
        (DataType::Timestamp(_, Some(_)), Value::Timestamp(micros)) => {
            Datum::timestamptz_micros(*micros)
        }
        (DataType::Utf8, Value::String(text)) => Datum::string(text),
        _ => return Err(unfit(&value)),
    })
}

/// The text that bounds a column of text in a file that others may have written.
pub(super) fn text_bound(bounds: &HashMap<i32, Datum>, id: i32) -> Option<&str> {
    match bounds.get(&id)?.literal() {
        PrimitiveLiteral::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn metrics_are_those_of_the_column_else_of_the_table_else_the_usual() {
        let said = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(key, mode)| (key.to_owned(), mode.to_owned())).collect()
        };
        let usual = Metrics::Bounds { characters: 16 };
        assert_eq!(Metrics::of(&said(&[]), "a"), usual);
        let properties = said(&[
            ("write.metadata.metrics.default", "counts"),
            ("write.metadata.metrics.column.a", "Truncate(3)"),
            ("write.metadata.metrics.column.b", "nonsense"),
            ("write.metadata.metrics.column.c", "full"),
            ("write.metadata.metrics.column.d", "none"),
        ]);
        assert_eq!(Metrics::of(&properties, "a"), Metrics::Bounds { characters: 3 });
        assert_eq!(Metrics::of(&properties, "b"), usual);
        assert_eq!(Metrics::of(&properties, "c"), Metrics::Bounds { characters: usize::MAX });
        assert_eq!(Metrics::of(&properties, "d"), Metrics::None);
        assert_eq!(Metrics::of(&properties, "e"), Metrics::Counts);
    }

    proptest! {
        #[test]
        fn bounds_of_text_hold_the_text(text in "\\PC{0,20}", characters in 1_usize..20) {
            let value = || Value::String(text.clone());
            let Value::String(lower) = shortened(value(), characters) else { unreachable!() };
            prop_assert!(lower <= text && lower.chars().count() <= characters);
            if let Some(Value::String(upper)) = lengthened(value(), characters) {
                prop_assert!(upper >= text && upper.chars().count() <= characters);
            }
        }
    }
}
