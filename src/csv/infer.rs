//! Columns and their types, from samples of objects.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::dialect::{Dialect, FieldReader};
use super::header::{Sample, SampleRows, check_text, header_error, read_header};
use super::value;
use crate::error::Result;

/// The integers up to this one are exact in a `f64`.
const F64_INTEGER_MAX: u64 = 1 << 53;

/// Finds the columns of objects and their types.
///
/// A type is never one that a value of the samples contradicts. Rows that would be rejected for
/// their shape say nothing.
#[derive(Debug, Clone)]
pub struct Inference {
    dialect: Dialect,
    /// Names that this makes equal are one column.
    fold: fn(&str) -> String,
    columns: Vec<(String, Evidence)>,
    rows: u64,
}

impl Inference {
    /// Nothing observed yet. Names that `fold` makes equal are one column, with the first's name.
    pub fn new(dialect: Dialect, fold: fn(&str) -> String) -> Self {
        Self { dialect, fold, columns: Vec::new(), rows: 0 }
    }

    /// Takes the values of a sample into account. New columns come after those known.
    ///
    /// # Errors
    /// As [`read_header`], and where any part of the sample is not text.
    pub fn observe(&mut self, sample: Sample<'_>) -> Result<()> {
        check_text(sample.bytes, sample.whole)?;
        let Some(names) = read_header(sample, &self.dialect)? else {
            return Ok(());
        };
        let mut folded = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !folded.insert((self.fold)(name))) {
            return Err(header_error(format!(
                "the table could not tell {twice:?} from another name"
            )));
        }
        let reader = FieldReader::new(&self.dialect);
        let rows = SampleRows::new(sample, &self.dialect);
        let mut evidence = vec![Evidence::default(); names.len()];
        rows.for_each(names.len(), self.dialect.header_rows as usize, |position, field| {
            self.rows += u64::from(position == 0);
            let text = reader.text(field);
            if !reader.is_null(&text) {
                evidence[position].observe(&text);
            }
        });
        self.add(names.into_iter().zip(evidence));
        Ok(())
    }

    /// Takes into account what `other` has observed.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.add(other.columns);
    }

    /// How many rows were observed.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The columns in order of their first appearance, all nullable.
    pub fn finish(self) -> Schema {
        let field =
            |(name, evidence): (String, Evidence)| Field::new(name, evidence.data_type(), true);
        Schema::new(self.columns.into_iter().map(field).collect::<Vec<_>>())
    }

    fn add(&mut self, columns: impl IntoIterator<Item = (String, Evidence)>) {
        let names = self.columns.iter().enumerate().map(|(i, (name, _))| ((self.fold)(name), i));
        let known: HashMap<String, usize> = names.collect();
        for (name, evidence) in columns {
            match known.get(&(self.fold)(&name)) {
                Some(index) => self.columns[*index].1.merge(evidence),
                None => self.columns.push((name, evidence)),
            }
        }
    }
}

/// What the values of a column could all be.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    /// There was a value.
    any: bool,
    boolean: bool,
    integer: bool,
    /// Numbers that a `f64` holds without changing an integer, or words for such.
    float: bool,
    /// There was a number that is not a word.
    digits: bool,
    date: bool,
    timestamp: bool,
    /// There was a time with an offset from UTC, or one without.
    zoned: bool,
    unzoned: bool,
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            any: false,
            boolean: true,
            integer: true,
            float: true,
            digits: false,
            date: true,
            timestamp: true,
            zoned: false,
            unzoned: false,
        }
    }
}

impl Evidence {
    fn of(text: &[u8]) -> Self {
        let text = value::trimmed(text);
        let digits = text.iter().any(u8::is_ascii_digit);
        let plain = is_plain(text);
        let time = value::timestamp(text);
        Self {
            any: true,
            boolean: text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false"),
            integer: plain && value::signed::<i64>(text.into()).is_some(),
            float: plain && is_float(text, digits),
            digits,
            date: value::date(text).is_some(),
            timestamp: time.is_some(),
            zoned: matches!(time, Some((_, true))),
            unzoned: matches!(time, Some((_, false))),
        }
    }

    fn observe(&mut self, text: &[u8]) {
        self.merge(Self::of(text));
    }

    fn merge(&mut self, other: Self) {
        self.any |= other.any;
        self.boolean &= other.boolean;
        self.integer &= other.integer;
        self.float &= other.float;
        self.digits |= other.digits;
        self.date &= other.date;
        self.timestamp &= other.timestamp;
        self.zoned |= other.zoned;
        self.unzoned |= other.unzoned;
    }

    fn data_type(self) -> DataType {
        let timestamp =
            |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        match self {
            Self { any: false, .. } => DataType::Utf8,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { integer: true, .. } => DataType::Int64,
            Self { float: true, digits: true, .. } => DataType::Float64,
            Self { date: true, .. } => DataType::Date32,
            Self { timestamp: true, zoned: false, .. } => timestamp(None),
            Self { timestamp: true, unzoned: false, .. } => timestamp(Some("UTC")),
            _ => DataType::Utf8,
        }
    }
}

/// Whether a number could be meant: a leading plus or zero makes it a code, such as a telephone's.
fn is_plain(text: &[u8]) -> bool {
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    !matches!(magnitude, [b'+', ..] | [b'0', b'0'..=b'9', ..])
}

fn is_float(text: &[u8], digits: bool) -> bool {
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    if magnitude.iter().all(u8::is_ascii_digit) {
        return value::unsigned::<u64>(magnitude.into())
            .is_some_and(|value| value <= F64_INTEGER_MAX);
    }
    // A number that is too large for a f64 would become infinite.
    value::float64(text.into()).is_some_and(|value| value.is_finite() || !digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Position};

    fn types_of(values: &[&str]) -> DataType {
        let text: String = values.iter().map(|value| format!("x,{value}\n")).collect();
        let mut inference = Inference::new(Dialect::default(), str::to_owned);
        let bytes = format!("id,value\n{text}");
        inference.observe(Sample { bytes: bytes.as_bytes(), whole: true }).unwrap();
        inference.finish().field(1).data_type().clone()
    }

    #[test]
    fn types() {
        let time =
            |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        let cases: &[(&[&str], DataType)] = &[
            (&["true", "", "FALSE"], DataType::Boolean),
            (&["t", "f"], DataType::Utf8),
            (&["1", "-20", "\"3\"", "0"], DataType::Int64),
            (&["1", "true"], DataType::Utf8),
            (&["007"], DataType::Utf8),
            (&["-07.5"], DataType::Utf8),
            (&["+49"], DataType::Utf8),
            (&["9223372036854775807"], DataType::Int64),
            (&["9223372036854775808"], DataType::Utf8),
            (&["1", "2.5"], DataType::Float64),
            (&["9007199254740992", "2.5"], DataType::Float64),
            (&["9007199254740993", "2.5"], DataType::Utf8),
            (&["-9007199254740993", "2.5"], DataType::Utf8),
            (&["0.5", "NaN", "-inf", "1e9"], DataType::Float64),
            (&["NaN", "inf"], DataType::Utf8),
            (&["1e999"], DataType::Utf8),
            (&["", ""], DataType::Utf8),
            (&["2024-02-29"], DataType::Date32),
            (&["2023-02-29"], DataType::Utf8),
            (&["2024-02-29", "2024-02-29 10:00"], time(None)),
            (&["2024-02-29T10:00Z", "2024-02-29T10:00+01"], time(Some("UTC"))),
            (&["2024-02-29T10:00Z", "2024-02-29T10:00"], DataType::Utf8),
            (&["2024-02-29", "5"], DataType::Utf8),
            (&["a"], DataType::Utf8),
        ];
        for (values, expected) in cases {
            assert_eq!(types_of(values), *expected, "{values:?}");
        }
    }

    #[test]
    fn samples_combine() {
        let dialect = Dialect::default();
        let observed = |text: &str| {
            let mut inference = Inference::new(dialect.clone(), str::to_owned);
            inference.observe(Sample { bytes: text.as_bytes(), whole: false }).unwrap();
            inference
        };
        // The last row is cut, and a row of another shape says nothing.
        let mut inference = observed("\u{FEFF}a,b\n1,2\nx\n3,4.");
        inference.merge(observed("c,a\ntrue,1.5\n"));
        let schema = inference.finish();
        let expected = [("a", DataType::Float64), ("b", DataType::Int64), ("c", DataType::Boolean)];
        for (field, (name, data_type)) in schema.fields().iter().zip(expected) {
            assert_eq!((field.name().as_str(), field.data_type()), (name, &data_type));
        }
        assert_eq!(schema.fields().len(), 3);
    }

    #[test]
    fn what_is_not_text_has_no_columns() {
        let cases: [(&[u8], u64, u64); 3] = [
            (b"\x89PNG\r\n\x1A\n\0", 1, 0),
            (b"PAR1\x15\x04\0", 1, 6),
            (b"a,b\n\xE9t\xE9,1\n", 2, 4),
        ];
        for (bytes, line, byte) in cases {
            let error = Inference::new(Dialect::default(), str::to_owned)
                .observe(Sample { bytes, whole: false })
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourceInvalid);
            assert_eq!(error.position(), Some(&Position { line, byte, column: None }));
        }
        let cut = Sample { bytes: b"a\n1\n\xC3", whole: false };
        Inference::new(Dialect::default(), str::to_owned).observe(cut).unwrap();
    }
}
