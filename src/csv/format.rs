//! How the values of columns are written.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::value::{BooleanSpellings, FALSE_VALUES, Separators, TRUE_VALUES, TimeFormat};
use crate::error::{Error, ErrorKind, Result};

/// How the values of one column are written, whatever its type is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueFormat {
    /// What stands for null; none: what the dialect says.
    pub null_values: Option<Vec<String>>,
    /// What is between a number's whole part and its fraction.
    pub decimal_separator: char,
    /// What may be between a number's thousands.
    pub thousands_separator: Option<char>,
    /// Whether a decimal is rounded to the digits that its column has, half a unit away from zero;
    /// otherwise it is a bad value.
    pub round_decimals: bool,
    /// The words for true, of which the case of ASCII letters makes no difference.
    pub true_values: Vec<String>,
    /// The words for false, likewise.
    pub false_values: Vec<String>,
    /// How dates are written: the first that fits counts.
    pub date_formats: Vec<TimeFormat>,
    /// How timestamps are written: the first that fits counts, and after them the dates.
    pub timestamp_formats: Vec<TimeFormat>,
    /// How binary values are written.
    pub binary_format: BinaryFormat,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BinaryFormat {
    /// As they are.
    #[default]
    Raw,
    /// Two hexadecimal digits for each.
    Hex,
    /// As RFC 4648 has it in section 4; the padding may be left out.
    Base64,
}

impl Default for ValueFormat {
    fn default() -> Self {
        Self {
            null_values: None,
            decimal_separator: '.',
            thousands_separator: None,
            round_decimals: false,
            true_values: TRUE_VALUES.map(str::to_owned).to_vec(),
            false_values: FALSE_VALUES.map(str::to_owned).to_vec(),
            date_formats: vec![TimeFormat::iso()],
            timestamp_formats: vec![TimeFormat::iso()],
            binary_format: BinaryFormat::Raw,
        }
    }
}

impl ValueFormat {
    /// Refuses a format in which a text would mean two things.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`].
    pub fn check(&self) -> Result<()> {
        let separators = [Some(self.decimal_separator), self.thousands_separator];
        for separator in separators.into_iter().flatten() {
            if separator.is_alphanumeric() || matches!(separator, '+' | '-' | '#') {
                return Err(wrong(format!("{separator:?} cannot be part of a number's notation"))
                    .with_advice("take a comma, a point, a space or an apostrophe"));
            }
        }
        if self.thousands_separator == Some(self.decimal_separator) {
            return Err(wrong("decimal_separator and thousands_separator are the same".to_owned())
                .with_advice("a decimal comma goes with \".\", \" \" or no thousands_separator"));
        }
        let of_false =
            |word: &&String| self.false_values.iter().any(|other| other.eq_ignore_ascii_case(word));
        if let Some(word) = self.true_values.iter().find(of_false) {
            return Err(wrong(format!("{word:?} is in true_values and in false_values"))
                .with_advice("give both lists, without a word in common"));
        }
        if self.true_values.is_empty() || self.false_values.is_empty() {
            return Err(wrong("true_values or false_values is empty".to_owned())
                .with_advice("name a word for each, or leave them out"));
        }
        if self.date_formats.is_empty() || self.timestamp_formats.is_empty() {
            return Err(wrong("a list of formats is empty".to_owned())
                .with_advice("leave it out for \"iso\""));
        }
        Ok(())
    }

    /// Whether numbers are written as programs write them.
    pub(super) fn has_plain_numbers(&self) -> bool {
        self.decimal_separator == '.' && self.thousands_separator.is_none()
    }

    pub(super) fn separators(&self) -> Separators {
        Separators::new(self.decimal_separator, self.thousands_separator)
    }

    /// Whether nothing is said of the words for booleans.
    pub(super) fn has_usual_booleans(&self) -> bool {
        self.true_values == TRUE_VALUES && self.false_values == FALSE_VALUES
    }

    pub(super) fn boolean_spellings(&self) -> BooleanSpellings {
        BooleanSpellings::new(&self.true_values, &self.false_values)
    }

    /// Whether dates are in the forms of ISO 8601 alone.
    pub(super) fn has_iso_dates(&self) -> bool {
        self.date_formats.iter().all(TimeFormat::is_iso)
    }

    /// Whether timestamps are in the forms of ISO 8601 alone.
    pub(super) fn has_iso_timestamps(&self) -> bool {
        self.has_iso_dates() && self.timestamp_formats.iter().all(TimeFormat::is_iso)
    }

    /// Days since 1970.
    pub(super) fn date(&self, text: &[u8]) -> Option<i32> {
        self.date_formats.iter().find_map(|format| format.date(text))
    }

    /// Microseconds since 1970, and whether the text says its offset from UTC.
    pub(super) fn timestamp(&self, text: &[u8]) -> Option<(i64, bool)> {
        let formats = self.timestamp_formats.iter().chain(&self.date_formats);
        formats.into_iter().find_map(|format| format.timestamp(text))
    }

    /// What a date is called where a value is none.
    pub(super) fn name_of_dates(&self) -> String {
        match self.has_iso_dates() {
            true => "a date".to_owned(),
            false => format!("a date written as {}", listed(&self.date_formats)),
        }
    }

    /// What a timestamp, `name`, is called where a value is none.
    pub(super) fn name_of_timestamps(&self, name: &str) -> String {
        match self.has_iso_timestamps() {
            true => name.to_owned(),
            false => format!("{name} written as {}", listed(&self.timestamp_formats)),
        }
    }
}

fn listed(formats: &[TimeFormat]) -> String {
    formats.iter().map(TimeFormat::to_string).collect::<Vec<_>>().join(" or ")
}

/// The formats of a feed's columns.
#[derive(Debug, Clone, Default)]
pub struct Formats {
    usual: Arc<ValueFormat>,
    columns: HashMap<String, Arc<ValueFormat>>,
}

impl Formats {
    /// `usual` for all but some columns, which are named.
    pub fn new(
        usual: ValueFormat,
        columns: impl IntoIterator<Item = (String, ValueFormat)>,
    ) -> Self {
        let columns = columns.into_iter().map(|(name, format)| (name, Arc::new(format)));
        Self { usual: Arc::new(usual), columns: columns.collect() }
    }

    /// The format of the column of this name.
    pub fn of(&self, column: &str) -> Arc<ValueFormat> {
        Arc::clone(self.columns.get(column).unwrap_or(&self.usual))
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Configuration, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_means_one_thing() {
        ValueFormat::default().check().unwrap();
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let usual = ValueFormat::default;
        for format in [
            ValueFormat { thousands_separator: Some('.'), ..usual() },
            ValueFormat { decimal_separator: '1', ..usual() },
            ValueFormat { decimal_separator: '-', ..usual() },
            ValueFormat { thousands_separator: Some('e'), ..usual() },
            ValueFormat { true_values: list(&["N"]), ..usual() },
            ValueFormat { true_values: list(&[]), ..usual() },
            ValueFormat { date_formats: vec![], ..usual() },
        ] {
            let error = format.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.advice().is_some());
        }
    }

    #[test]
    fn a_column_that_is_not_named_has_the_usual_format() {
        let other = ValueFormat { decimal_separator: ',', ..ValueFormat::default() };
        let formats = Formats::new(ValueFormat::default(), [("price".to_owned(), other)]);
        assert_eq!(formats.of("price").decimal_separator, ',');
        assert_eq!(formats.of("id").decimal_separator, '.');
    }
}
