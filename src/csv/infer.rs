//! Columns and their types, from samples of objects.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::dialect::{Dialect, FieldReader};
use super::format::{Formats, ValueFormat};
use super::header::{Sample, SampleRows, check_text, header_error, read_header};
use super::value::{self, BooleanSpellings, Nulls, Separators, Text};
use crate::error::Result;

/// The integers up to this one are exact in a `f64`.
const F64_INTEGER_MAX: u64 = 1 << 53;

/// Finds the columns of objects and their types.
///
/// A type is never one that a value of the samples contradicts. Rows that would be rejected for
/// their shape say nothing.
#[derive(Debug, Clone)]
pub struct Inference {
    /// Names that this makes equal are one column.
    fold: fn(&str) -> String,
    formats: Formats,
    columns: Vec<(String, Evidence)>,
    /// The columns of samples without names, by position.
    unnamed: Vec<Evidence>,
    /// Whether a row that is not text says nothing, and is no error; nor are the quotes of a header.
    tolerates_bad_rows: bool,
    rows: u64,
    rows_misshapen: u64,
}

impl Inference {
    /// Nothing observed yet. Names that `fold` makes equal are one column, with the first's name.
    pub fn new(fold: fn(&str) -> String) -> Self {
        let formats = Formats::default();
        Self {
            fold,
            formats,
            columns: Vec::new(),
            unnamed: Vec::new(),
            tolerates_bad_rows: false,
            rows: 0,
            rows_misshapen: 0,
        }
    }

    /// With the columns' values written so. `formats` has the names that the fold makes.
    pub fn with_formats(self, formats: Formats) -> Self {
        Self { formats, ..self }
    }

    /// Where values that are not text say nothing, and do not make a sample an error, nor does a header
    /// whose quotes make no sense: it must be text all the same.
    pub fn tolerating_bad_rows(self, tolerates_bad_rows: bool) -> Self {
        Self { tolerates_bad_rows, ..self }
    }

    /// Takes the values of a sample into account, which is written in `dialect`. New columns come after
    /// those known.
    ///
    /// # Errors
    /// As [`read_header`], and where any part of the sample is not text, if that is not tolerated.
    pub fn observe(&mut self, sample: Sample<'_>, dialect: &Dialect) -> Result<()> {
        let is_text = match check_text(sample.bytes, sample.whole) {
            Err(error) if !self.tolerates_bad_rows => return Err(error),
            checked => checked.is_ok(),
        };
        let Some(header) = read_header(sample, dialect)? else {
            return Ok(());
        };
        let names = if self.tolerates_bad_rows { header.names } else { header.sound()? };
        let mut folded = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !folded.insert((self.fold)(name))) {
            return Err(header_error(format!(
                "the table could not tell {twice:?} from another name"
            )));
        }
        let reader = FieldReader::new(dialect);
        let rows = SampleRows::new(sample, dialect);
        let format = |name: &String| self.formats.of(&(self.fold)(name));
        let mut interpreters: Vec<Interpreter> =
            names.iter().map(|name| Interpreter::new(&format(name), dialect)).collect();
        self.rows_misshapen +=
            rows.for_each(names.len(), dialect.header_rows as usize, |position, field| {
                self.rows += u64::from(position == 0);
                if is_text || check_text(field, true).is_ok() {
                    interpreters[position].observe(&reader.text(field));
                }
            });
        let evidence = interpreters.into_iter().map(|interpreter| interpreter.evidence);
        if dialect.has_header() || !dialect.columns.is_empty() {
            self.add(names.into_iter().zip(evidence));
        } else {
            self.add_unnamed(evidence.collect());
        }
        Ok(())
    }

    /// Takes into account what `other` has observed.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.rows_misshapen += other.rows_misshapen;
        self.add(other.columns);
        self.add_unnamed(other.unnamed);
    }

    /// How many rows were observed that say something of the columns.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many others there were: they say nothing but that they are there.
    pub fn rows_misshapen(&self) -> u64 {
        self.rows_misshapen
    }

    /// The columns in order of their first appearance, all nullable. Where there are names, columns
    /// without are the named ones in that order; what they are more is called `column_3` and so on.
    pub fn finish(mut self) -> Schema {
        for (i, evidence) in std::mem::take(&mut self.unnamed).into_iter().enumerate() {
            match self.columns.get_mut(i) {
                Some((_, named)) => named.merge(evidence),
                None => self.add([(format!("column_{}", i + 1), evidence)]),
            }
        }
        let field =
            |(name, evidence): (String, Evidence)| Field::new(name, evidence.data_type(), true);
        Schema::new(self.columns.into_iter().map(field).collect::<Vec<_>>())
    }

    fn add_unnamed(&mut self, columns: Vec<Evidence>) {
        let count = self.unnamed.len().max(columns.len());
        self.unnamed.resize_with(count, Evidence::default);
        for (known, evidence) in self.unnamed.iter_mut().zip(columns) {
            known.merge(evidence);
        }
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

/// What the values of a column could all be. What is said of a number or of a time counts only as long
/// as the column could be one.
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

/// Looks at the values of one column.
struct Interpreter {
    format: Arc<ValueFormat>,
    nulls: Nulls,
    booleans: BooleanSpellings,
    separators: Separators,
    evidence: Evidence,
}

impl Interpreter {
    fn new(format: &Arc<ValueFormat>, dialect: &Dialect) -> Self {
        Self {
            format: Arc::clone(format),
            nulls: Nulls::new(format.null_values.as_ref().unwrap_or(&dialect.null_values)),
            booleans: format.boolean_spellings().telling(),
            separators: format.separators(),
            evidence: Evidence::default(),
        }
    }

    fn observe(&mut self, whole: &[u8]) {
        let text = value::trimmed(whole);
        if self.nulls.contain(whole) || self.nulls.contain(text) {
            return;
        }
        // What earlier values have ruled out is not tried again: most columns are soon down to one type.
        let evidence = &mut self.evidence;
        evidence.any = true;
        evidence.boolean = evidence.boolean && self.booleans.read(text).is_some();
        if evidence.integer || evidence.float {
            let number = self.separators.plain(text).map(Text::bytes).filter(|it| is_plain(it));
            let digits = text.iter().any(u8::is_ascii_digit);
            evidence.integer = evidence.integer
                && number.is_some_and(|number| value::signed::<i64>(number.into()).is_some());
            evidence.float =
                evidence.float && number.is_some_and(|number| is_float(number, digits));
            evidence.digits |= digits;
        }
        evidence.date = evidence.date && self.format.date(text).is_some();
        if evidence.timestamp {
            let time = self.format.timestamp(text);
            evidence.timestamp = time.is_some();
            evidence.zoned |= matches!(time, Some((_, true)));
            evidence.unzoned |= matches!(time, Some((_, false)));
        }
    }
}

/// Whether a number could be meant: a leading plus or zero makes it a code, such as a telephone's.
fn is_plain(text: &[u8]) -> bool {
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    !matches!(magnitude, [b'+', ..] | [b'0', b'0'..=b'9', ..])
}

/// Whether a `f64` holds a number without changing what is before its point, and without losing it:
/// one that is too large is no value. Without digits, it is a word for what is no number.
fn is_float(text: &[u8], digits: bool) -> bool {
    let magnitude = text.strip_prefix(b"-").unwrap_or(text);
    let whole = magnitude.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits && matches!(magnitude.get(whole), None | Some(b'.')) && whole > 0 {
        let exact = value::unsigned::<u64>(magnitude[..whole].into());
        if exact.is_none_or(|value| value > F64_INTEGER_MAX) {
            return false;
        }
    }
    value::float64(text.into()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Position};

    fn types_of(values: &[&str]) -> DataType {
        types_in(&ValueFormat::default(), values)
    }

    /// The type of a column whose values are written in `format`.
    fn types_in(format: &ValueFormat, values: &[&str]) -> DataType {
        let text: String = values.iter().map(|value| format!("x|{value}\n")).collect();
        let dialect = Dialect { delimiter: b"|".to_vec(), ..Dialect::default() };
        let formats = Formats::new(ValueFormat::default(), [("value".to_owned(), format.clone())]);
        let mut inference = Inference::new(str::to_owned).with_formats(formats);
        let bytes = format!("id|value\n{text}");
        inference.observe(Sample { bytes: bytes.as_bytes(), whole: true }, &dialect).unwrap();
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
            (&["9007199254740993.5"], DataType::Utf8),
            (&["9007199254740991.5", "1e30"], DataType::Float64),
            (&["18446744073709551616.0"], DataType::Utf8),
            (&["0", "0.5", "-0.25"], DataType::Float64),
            (&["00123", "123"], DataType::Utf8),
            (&["1,5"], DataType::Utf8),
            (&["1", " ", " 2 "], DataType::Int64),
            (&["1.#INF", "2.5"], DataType::Float64),
            (&["0.5", "NaN", "-inf", "1e9"], DataType::Float64),
            (&["NaN", "inf"], DataType::Utf8),
            (&["1e999"], DataType::Utf8),
            (&["", ""], DataType::Utf8),
            (&["2024-02-29"], DataType::Date32),
            (&["2023-02-29"], DataType::Utf8),
            (&["2024-02-29", "2024-02-29 10:00"], time(None)),
            (&["2024-02-29T10:00Z", "2024-02-29T10:00+01"], time(Some("UTC"))),
            (&["2024-02-29T10:00Z", "2024-02-29T10:00"], DataType::Utf8),
            (&["2024-02-29T10:00Z", "2024-02-29"], DataType::Utf8),
            (&["2024-02-29 10:00:00 UTC"], time(Some("UTC"))),
            (&["20240229"], DataType::Int64),
            (&["20240229T100000Z"], time(Some("UTC"))),
            (&["2024-02-29", "5"], DataType::Utf8),
            (&["29.02.2024"], DataType::Utf8),
            (&["10:00", "11:30:00"], DataType::Utf8),
            (&["0", "1"], DataType::Int64),
            (&["y", "n"], DataType::Utf8),
            (&["a"], DataType::Utf8),
        ];
        for (values, expected) in cases {
            assert_eq!(types_of(values), *expected, "{values:?}");
        }
    }

    #[test]
    fn types_of_values_in_other_formats() {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let format = ValueFormat {
            null_values: Some(list(&["-"])),
            decimal_separator: ',',
            thousands_separator: Some('.'),
            true_values: list(&["ja", "true"]),
            false_values: list(&["nein"]),
            date_formats: vec!["%d.%m.%Y".parse().unwrap()],
            timestamp_formats: vec!["%d.%m.%Y %H:%M".parse().unwrap()],
            ..ValueFormat::default()
        };
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let cases: &[(&[&str], DataType)] = &[
            (&["1,5", "-", "1.234,5"], DataType::Float64),
            (&["1.234", "-12"], DataType::Int64),
            (&["1.234", "1.5"], DataType::Utf8),
            (&["0.123"], DataType::Utf8),
            (&["0,5", "00,5"], DataType::Utf8),
            (&["9.007.199.254.740.993", "2,5"], DataType::Utf8),
            (&["Ja", "nein", "TRUE"], DataType::Boolean),
            (&["ja", "false"], DataType::Utf8),
            (&["29.02.2024", "1.1.2024"], DataType::Date32),
            (&["29.02.2023"], DataType::Utf8),
            (&["29.02.2024", "29.02.2024 12:00"], local),
            (&["2024-02-29"], DataType::Utf8),
            (&["-", "-"], DataType::Utf8),
            (&["1", ""], DataType::Utf8),
        ];
        for (values, expected) in cases {
            assert_eq!(types_in(&format, values), *expected, "{values:?}");
        }
    }

    #[test]
    fn samples_combine() {
        let dialect = Dialect::default();
        let observed = |text: &str| {
            let mut inference = Inference::new(str::to_owned);
            inference.observe(Sample { bytes: text.as_bytes(), whole: false }, &dialect).unwrap();
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
    fn columns_without_names_are_those_with_names_in_their_order() {
        let bare = Dialect { header_rows: 0, ..Dialect::default() };
        let samples = [("1.5,x,true\n", &bare), ("id,name\n1,a\n", &Dialect::default())];
        for order in [[0, 1], [1, 0]] {
            let mut inference = Inference::new(str::to_owned);
            for (text, dialect) in order.map(|i| samples[i]) {
                let sample = Sample { bytes: text.as_bytes(), whole: true };
                inference.observe(sample, dialect).unwrap();
            }
            assert_eq!(inference.rows(), 2);
            let schema = inference.finish();
            let columns: Vec<_> = schema
                .fields()
                .iter()
                .map(|f| (f.name().as_str(), f.data_type().clone()))
                .collect();
            let expected = [
                ("id", DataType::Float64),
                ("name", DataType::Utf8),
                ("column_3", DataType::Boolean),
            ];
            assert_eq!(columns, expected);
        }
    }

    #[test]
    fn what_is_not_text_has_no_columns() {
        let cases: [(&[u8], u64, u64); 3] = [
            (b"\x89PNG\r\n\x1A\n\0", 1, 0),
            (b"PAR1\x15\x04\0", 1, 6),
            (b"a,b\n\xE9t\xE9,1\n", 2, 4),
        ];
        for (bytes, line, byte) in cases {
            let error = Inference::new(str::to_owned)
                .observe(Sample { bytes, whole: false }, &Dialect::default())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourceInvalid);
            assert_eq!(error.position(), Some(&Position { line, byte, column: None }));
        }
        let (bytes, ..) = cases[2];
        let mut tolerant = Inference::new(str::to_owned).tolerating_bad_rows(true);
        tolerant.observe(Sample { bytes, whole: true }, &Dialect::default()).unwrap();
        assert_eq!(tolerant.finish().field(1).data_type(), &DataType::Int64);
        let cut = Sample { bytes: b"a\n1\n\xC3", whole: false };
        Inference::new(str::to_owned).observe(cut, &Dialect::default()).unwrap();
    }
}
