//! What is said of single columns.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::DataType;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::spelling::{self, parse_formats};
use super::{ColumnType, values, word, wrong};
use crate::csv::{BinaryFormat, TimeFormat, ValueFormat};
use crate::error::Result;

/// What is said of a column: a name of its type, or a table of these. What is left out is as
/// `[feed.csv]` has it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnOptions {
    /// The type; none: the table's, or what `format` writes, or the inferred one.
    #[serde(rename = "type")]
    pub column_type: Option<ColumnType>,
    /// How dates, timestamps or binary values are written.
    #[serde(deserialize_with = "format")]
    pub format: Option<ColumnFormat>,
    /// The unquoted spellings of null.
    pub null_values: Option<Vec<String>>,
    /// What is between a number's whole part and its fraction.
    #[serde(deserialize_with = "separator")]
    pub decimal_separator: Option<char>,
    /// What may be between a number's thousands, if anything.
    #[serde(deserialize_with = "optional_separator")]
    pub thousands_separator: Option<Option<char>>,
    /// Whether decimals are rounded to the digits that the column has.
    pub round_decimals: Option<bool>,
    /// The words for true.
    pub true_values: Option<Vec<String>>,
    /// The words for false.
    pub false_values: Option<Vec<String>>,
}

/// How the values of a column of some types are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnFormat {
    /// Dates or timestamps: the first that fits counts.
    Time(Vec<TimeFormat>),
    /// Bytes.
    Binary(BinaryFormat),
}

impl From<ColumnType> for ColumnOptions {
    fn from(column_type: ColumnType) -> Self {
        Self { column_type: Some(column_type), ..Self::default() }
    }
}

impl ColumnOptions {
    /// The type that the column has in a table that is to be made: the one that is given, else the one
    /// that the format writes. None: what the values say.
    pub fn type_in_new_table(&self) -> Option<DataType> {
        if let Some(given) = &self.column_type {
            return Some(given.data_type().clone());
        }
        match self.format.as_ref()? {
            ColumnFormat::Binary(_) => Some(DataType::Binary),
            ColumnFormat::Time(formats) if formats.iter().any(TimeFormat::is_iso) => None,
            ColumnFormat::Time(formats) => {
                let all = |is: fn(&TimeFormat) -> bool| formats.iter().all(is);
                let any = |is: fn(&TimeFormat) -> bool| formats.iter().any(is);
                if all(TimeFormat::is_instant) {
                    Some(ColumnType::timestamp_in_utc())
                } else if any(TimeFormat::is_instant) {
                    None
                } else if any(TimeFormat::has_time) {
                    Some(ColumnType::timestamp_without_zone())
                } else {
                    Some(DataType::Date32)
                }
            }
        }
    }

    /// How the column's values are written, where the feed's are `usual`.
    pub fn value_format(&self, usual: &ValueFormat) -> ValueFormat {
        let mut format = usual.clone();
        match &self.format {
            Some(ColumnFormat::Binary(binary)) => format.binary_format = *binary,
            Some(ColumnFormat::Time(formats)) => {
                format.date_formats.clone_from(formats);
                format.timestamp_formats.clone_from(formats);
            }
            None => {}
        }
        fn set<T: Clone>(to: &mut T, from: &Option<T>) {
            if let Some(from) = from {
                to.clone_from(from);
            }
        }
        format.null_values.clone_from(&self.null_values);
        set(&mut format.decimal_separator, &self.decimal_separator);
        set(&mut format.thousands_separator, &self.thousands_separator);
        set(&mut format.round_decimals, &self.round_decimals);
        set(&mut format.true_values, &self.true_values);
        set(&mut format.false_values, &self.false_values);
        format
    }

    /// Checks that what is said goes together, where the feed's values are `usual`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`].
    pub fn validate(&self, usual: &ValueFormat) -> Result<()> {
        self.value_format(usual).check()?;
        let Some(column_type) = &self.column_type else { return Ok(()) };
        let data_type = column_type.data_type();
        let is_number = data_type.is_numeric();
        let is_boolean = *data_type == DataType::Boolean;
        for (option, is_given, has_effect) in [
            ("decimal_separator", self.decimal_separator.is_some(), is_number),
            ("thousands_separator", self.thousands_separator.is_some(), is_number),
            ("round_decimals", self.round_decimals.is_some(), data_type.is_decimal()),
            ("true_values", self.true_values.is_some(), is_boolean),
            ("false_values", self.false_values.is_some(), is_boolean),
            ("format", self.format.is_some(), self.format_suits(data_type)),
        ] {
            if is_given && !has_effect {
                return Err(wrong(format!("this {option} is not one for the type {column_type}"))
                    .with_advice("leave one of them out, or give the column another type"));
            }
        }
        Ok(())
    }

    /// Whether a value of the format can be one of the type.
    fn format_suits(&self, data_type: &DataType) -> bool {
        match (&self.format, data_type) {
            (Some(ColumnFormat::Binary(_)), DataType::Binary) => true,
            (Some(ColumnFormat::Time(formats)), DataType::Date32) => {
                formats.iter().any(|format| !format.is_instant())
            }
            (Some(ColumnFormat::Time(formats)), DataType::Timestamp(_, None)) => {
                formats.iter().any(|format| !format.has_offset())
            }
            (Some(ColumnFormat::Time(_)), DataType::Timestamp(..)) => true,
            _ => false,
        }
    }
}

/// Columns by name: for each a type, or a table.
pub(super) fn columns<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, ColumnOptions>, D::Error> {
    struct TypeOrTable(ColumnOptions);
    struct TypeOrTableVisitor;
    impl<'de> Visitor<'de> for TypeOrTableVisitor {
        type Value = TypeOrTable;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a type such as \"int64\", or a table such as { type = \"int64\" }")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TypeOrTable, E> {
            let column_type = ColumnType::deserialize(StrDeserializer::<E>::new(text))?;
            Ok(TypeOrTable(column_type.into()))
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TypeOrTable, A::Error> {
            ColumnOptions::deserialize(MapAccessDeserializer::new(map)).map(TypeOrTable)
        }
    }
    impl<'de> Deserialize<'de> for TypeOrTable {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(TypeOrTableVisitor)
        }
    }
    let columns = BTreeMap::<String, TypeOrTable>::deserialize(deserializer)?;
    Ok(columns.into_iter().map(|(name, TypeOrTable(options))| (name, options)).collect())
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ColumnFormat>, D::Error> {
    let formats = values::one_or_many(deserializer)?;
    if let [format] = formats.as_slice()
        && let Ok(binary) = word(format)
    {
        return Ok(Some(ColumnFormat::Binary(binary)));
    }
    let formats = parse_formats(&formats).map_err(D::Error::custom)?;
    Ok(Some(ColumnFormat::Time(formats)))
}

fn separator<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<char>, D::Error> {
    spelling::separator(deserializer).map(Some)
}

fn optional_separator<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<char>>, D::Error> {
    spelling::separator_or_false(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(text: &str) -> ColumnOptions {
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_format_says_the_type_where_nothing_else_does() {
        let type_of = |text: &str| {
            column(text).type_in_new_table().map(|data_type| ColumnType::name_of(&data_type))
        };
        for (text, expected) in [
            ("format = '%d.%m.%Y'", Some("date")),
            ("format = ['%d.%m.%Y', '%d.%m.%y']", Some("date")),
            ("format = ['%d.%m.%Y', '%d.%m.%Y %H:%M']", Some("timestamp")),
            ("format = '%d.%m.%Y %H:%M %z'", Some("timestamptz")),
            ("format = 'epoch_ms'", Some("timestamptz")),
            ("format = ['iso', '%d.%m.%Y']", None),
            ("format = ['epoch_s', '%d.%m.%Y']", None),
            ("format = 'hex'", Some("binary")),
            ("type = 'timestamp'\nformat = 'epoch_ms'", Some("timestamp")),
            ("decimal_separator = ','", None),
        ] {
            assert_eq!(type_of(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_column_says_counts_more_than_what_the_feed_says() {
        let usual = ValueFormat {
            decimal_separator: ',',
            thousands_separator: Some('.'),
            ..ValueFormat::default()
        };
        assert_eq!(ColumnOptions::default().value_format(&usual), usual);
        let swiss =
            column("decimal_separator = '.'\nthousands_separator = false\nnull_values = ['-']")
                .value_format(&usual);
        assert_eq!((swiss.decimal_separator, swiss.thousands_separator), ('.', None));
        assert_eq!(swiss.null_values, Some(vec!["-".to_owned()]));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let usual = ValueFormat::default();
        for good in [
            "type = 'date'\nformat = '%d.%m.%Y %H:%M'",
            "type = 'timestamp'\nformat = 'epoch_s'",
            "type = 'decimal(5,2)'\nround_decimals = true\ndecimal_separator = ','",
            "type = 'boolean'\ntrue_values = ['1']\nfalse_values = ['0']",
            "type = 'binary'\nformat = 'base64'",
            "decimal_separator = ','\nthousands_separator = '.'",
        ] {
            column(good).validate(&usual).unwrap();
        }
        for (bad, expected) in [
            ("type = 'date'\nformat = 'epoch_s'", "this format is not one for the type date"),
            ("type = 'date'\nformat = 'hex'", "this format is not one"),
            ("type = 'int64'\nformat = 'epoch_s'", "this format is not one for the type int64"),
            ("type = 'timestamp'\nformat = '%Y-%m-%d %H:%M %z'", "this format is not one"),
            ("type = 'string'\ndecimal_separator = ','", "this decimal_separator is not one"),
            ("type = 'int64'\nround_decimals = true", "this round_decimals is not one"),
            ("type = 'int64'\ntrue_values = ['1']", "this true_values is not one"),
            ("thousands_separator = '.'", "are the same"),
            ("true_values = ['0']", "\"0\" is in true_values and in false_values"),
        ] {
            let error = column(bad).validate(&usual).unwrap_err();
            assert!(error.message().contains(expected), "{bad}: {error}");
            assert!(error.advice().is_some(), "{bad}");
        }
    }
}
