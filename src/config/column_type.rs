//! The names of column types.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};
use serde::{Deserialize, Deserializer};

use super::{values, wrong};
use crate::error::{Error, Result};

/// A column's type, as configuration names it: `int64`, `decimal(15,2)`, `timestamptz` …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType(DataType);

impl ColumnType {
    /// The Arrow type. Timestamps are in microseconds; `timestamptz` is in `UTC`.
    pub fn data_type(&self) -> &DataType {
        &self.0
    }

    /// What `timestamp` is.
    pub(super) fn timestamp_without_zone() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, None)
    }

    /// What `timestamptz` is.
    pub(super) fn timestamp_in_utc() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
    }

    /// The name of an Arrow type, as configuration would write it.
    pub fn name_of(data_type: &DataType) -> String {
        Self(data_type.clone()).to_string()
    }
}

/// Every type but the decimals, which have parameters.
fn plain_types() -> [(&'static str, DataType); 12] {
    [
        ("boolean", DataType::Boolean),
        ("int8", DataType::Int8),
        ("int16", DataType::Int16),
        ("int32", DataType::Int32),
        ("int64", DataType::Int64),
        ("float32", DataType::Float32),
        ("float64", DataType::Float64),
        ("date", DataType::Date32),
        ("timestamp", ColumnType::timestamp_without_zone()),
        ("timestamptz", ColumnType::timestamp_in_utc()),
        ("string", DataType::Utf8),
        ("binary", DataType::Binary),
    ]
}

impl FromStr for ColumnType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some((_, data_type)) = plain_types().into_iter().find(|(name, _)| *name == text) {
            return Ok(Self(data_type));
        }
        if let Some(parameters) =
            text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'))
        {
            return decimal(parameters).map(Self).ok_or_else(|| {
                wrong(format!("{text:?} is not a decimal type")).with_advice(format!(
                    "write decimal(precision,scale): at most {DECIMAL128_MAX_PRECISION} digits, \
                     of which scale after the point"
                ))
            });
        }
        let names: Vec<&str> =
            plain_types().map(|(name, _)| name).into_iter().chain(["decimal(p,s)"]).collect();
        let error = wrong(format!("{text:?} is not a column type"));
        Err(match values::nearest(text, &names) {
            Some(nearest) => error.with_advice(format!("did you mean {nearest:?}?")),
            None => error.with_advice(format!("the types are {}", names.join(", "))),
        })
    }
}

fn decimal(parameters: &str) -> Option<DataType> {
    let (precision, scale) = parameters.split_once(',')?;
    let precision: u8 = precision.trim().parse().ok()?;
    let scale: u8 = scale.trim().parse().ok()?;
    let legal = (1..=DECIMAL128_MAX_PRECISION).contains(&precision) && scale <= precision;
    legal.then_some(DataType::Decimal128(precision, scale as i8))
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            DataType::Decimal128(precision, scale) => write!(f, "decimal({precision},{scale})"),
            other => match plain_types().iter().find(|(_, data_type)| data_type == other) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "{other}"),
            },
        }
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_round_trips() {
        for (name, data_type) in plain_types() {
            let column: ColumnType = name.parse().unwrap();
            assert_eq!(column.data_type(), &data_type);
            assert_eq!(column.to_string(), name);
        }
        let price: ColumnType = "decimal(15, 2)".parse().unwrap();
        assert_eq!(price.data_type(), &DataType::Decimal128(15, 2));
        assert_eq!(price.to_string(), "decimal(15,2)");
    }

    #[test]
    fn what_is_no_type_is_refused_with_the_nearest() {
        let refused = |text: &str| text.parse::<ColumnType>().unwrap_err().to_string();
        assert_eq!(
            refused("integer64"),
            "\"integer64\" is not a column type; did you mean \"int64\"?"
        );
        assert_eq!(refused("bool"), "\"bool\" is not a column type; did you mean \"boolean\"?");
        assert!(refused("xyz").contains("the types are boolean, int8"), "{}", refused("xyz"));
        for text in ["decimal(39,2)", "decimal(0,0)", "decimal(5,6)", "decimal(5)", "decimal(a,b)"]
        {
            assert!(refused(text).contains("is not a decimal type"), "{}", refused(text));
        }
    }
}
