//! From a Parquet footer to a table's statistics: a bound may be too wide, never too narrow.

use arrow::datatypes::{DataType, Field};
use parquet::data_type::ByteArray;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use crate::error::{Error, ErrorKind, Result};
use crate::table::{ColumnStatistics, Value};

/// The most that a table keeps of a string's bound after what the two bounds have in common: names of
/// objects begin alike, and differ where a shorter bound would end.
const STRING_BOUND_CHARACTERS_MAX: usize = 32;

/// The statistics of each of `columns`, the file's columns in order, where the flag says whether
/// the table wants bounds.
///
/// # Errors
/// [`ErrorKind::Internal`] when the footer lacks what our own writer always writes.
pub(super) fn of_file<'a>(
    footer: &ParquetMetaData,
    columns: impl Iterator<Item = (&'a Field, bool)>,
) -> Result<Vec<ColumnStatistics>> {
    columns
        .enumerate()
        .map(|(position, (field, bounded))| of_column(footer, position, field, bounded))
        .collect()
}

fn of_column(
    footer: &ParquetMetaData,
    position: usize,
    field: &Field,
    bounded: bool,
) -> Result<ColumnStatistics> {
    let mut null_count = 0;
    let mut bounds = Bounds::Empty;
    for row_group in footer.row_groups() {
        let chunk = row_group.column(position);
        let known = chunk.statistics().and_then(|known| Some((known, known.null_count_opt()?)));
        let (statistics, nulls) = known.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("no null count for column {:?}", field.name()))
        })?;
        null_count += nulls;
        if bounded && nulls < chunk.num_values().unsigned_abs() {
            bounds = bounds.merge(chunk_bounds(field.data_type(), statistics));
        }
    }
    let (lower, upper) = match bounds {
        Bounds::Known(Value::String(lower), Value::String(upper)) => {
            let kept = shared_characters(&lower, &upper) + STRING_BOUND_CHARACTERS_MAX;
            let lower = Value::String(prefix(&lower, kept).to_owned());
            (Some(lower), text_upper(upper, kept).map(Value::String))
        }
        Bounds::Known(lower, upper) => (Some(lower), Some(upper)),
        Bounds::Empty | Bounds::Unknown => (None, None),
    };
    Ok(ColumnStatistics { null_count, lower, upper })
}

/// Least and greatest of some row groups' values.
enum Bounds {
    /// There is no value.
    Empty,
    /// There are values, and no bounds for all of them.
    Unknown,
    Known(Value, Value),
}

impl Bounds {
    fn merge(self, other: Option<(Value, Value)>) -> Self {
        match (self, other) {
            (Self::Empty, Some((lower, upper))) => Self::Known(lower, upper),
            (Self::Known(lower, upper), Some((other_lower, other_upper))) => Self::Known(
                if is_less(&other_lower, &lower) { other_lower } else { lower },
                if is_less(&upper, &other_upper) { other_upper } else { upper },
            ),
            (_, None) | (Self::Unknown, _) => Self::Unknown,
        }
    }
}

/// Whether `a` sorts before `b`, two values of one column. Text sorts by its bytes.
fn is_less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Boolean(a), Value::Boolean(b)) => a < b,
        (Value::Integer(a), Value::Integer(b)) => a < b,
        (Value::Float(a), Value::Float(b)) => a < b,
        (Value::Decimal(a, _), Value::Decimal(b, _)) => a < b,
        (Value::Date(a), Value::Date(b)) => a < b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a < b,
        (Value::String(a), Value::String(b)) => a < b,
        _ => false,
    }
}

/// The bounds of one column chunk that has values.
fn chunk_bounds(data_type: &DataType, statistics: &Statistics) -> Option<(Value, Value)> {
    match statistics {
        Statistics::Boolean(s) => {
            Some((Value::Boolean(*s.min_opt()?), Value::Boolean(*s.max_opt()?)))
        }
        Statistics::Int32(s) => {
            Some((number(data_type, *s.min_opt()?)?, number(data_type, *s.max_opt()?)?))
        }
        Statistics::Int64(s) => {
            Some((number(data_type, *s.min_opt()?)?, number(data_type, *s.max_opt()?)?))
        }
        Statistics::Float(s) if s.nan_count_opt() == Some(0) => {
            floats(f64::from(*s.min_opt()?), f64::from(*s.max_opt()?))
        }
        Statistics::Double(s) if s.nan_count_opt() == Some(0) => {
            floats(*s.min_opt()?, *s.max_opt()?)
        }
        Statistics::ByteArray(s) => {
            Some((text(data_type, s.min_opt()?)?, text(data_type, s.max_opt()?)?))
        }
        Statistics::FixedLenByteArray(s) => Some((
            number(data_type, big_endian(s.min_bytes_opt()?)?)?,
            number(data_type, big_endian(s.max_bytes_opt()?)?)?,
        )),
        Statistics::Float(_) | Statistics::Double(_) | Statistics::Int96(_) => None,
    }
}

fn number(data_type: &DataType, stored: impl Into<i128>) -> Option<Value> {
    let stored = stored.into();
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Some(Value::Integer(i64::try_from(stored).ok()?))
        }
        DataType::Decimal128(_, scale) => Some(Value::Decimal(stored, u8::try_from(*scale).ok()?)),
        DataType::Date32 => Some(Value::Date(i32::try_from(stored).ok()?)),
        DataType::Timestamp(..) => Some(Value::Timestamp(i64::try_from(stored).ok()?)),
        _ => None,
    }
}

/// A signed number of up to sixteen bytes.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if *bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [sign; 16];
    wide[16_usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// Readers disagree on whether the two zeros are equal, so a zero bound takes in both.
fn floats(lower: f64, upper: f64) -> Option<(Value, Value)> {
    if lower.is_nan() || upper.is_nan() {
        return None;
    }
    let lower = if lower == 0.0 { -0.0 } else { lower };
    let upper = if upper == 0.0 { 0.0 } else { upper };
    Some((Value::Float(lower), Value::Float(upper)))
}

fn text(data_type: &DataType, stored: &ByteArray) -> Option<Value> {
    match data_type {
        DataType::Utf8 => Some(Value::String(stored.as_utf8().ok()?.to_owned())),
        _ => None,
    }
}

/// How many characters two texts begin with alike.
fn shared_characters(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

/// At least every text whose first `kept` characters sort no later than those of `upper`.
pub(crate) fn text_upper(upper: String, kept: usize) -> Option<String> {
    match prefix(&upper, kept) {
        whole if whole.len() == upper.len() => Some(upper),
        cut => next_after_all_that_start_with(cut),
    }
}

/// At most `characters` of the beginning of `text`: a text that sorts no later.
pub(crate) fn prefix(text: &str, characters: usize) -> &str {
    match text.char_indices().nth(characters) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// The shortest text that sorts after every text that starts with `prefix`, if there is one.
fn next_after_all_that_start_with(prefix: &str) -> Option<String> {
    let mut kept = prefix.to_owned();
    while let Some(last) = kept.pop() {
        // A range of characters steps over the surrogates, which are none.
        if let Some(next) = (last..=char::MAX).nth(1) {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_text_steps_over_surrogates_and_past_the_last_character() {
        let next = next_after_all_that_start_with;
        assert_eq!(next("ab").as_deref(), Some("ac"));
        assert_eq!(next("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
        assert_eq!(next("a\u{10FFFF}\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(next("\u{10FFFF}"), None);
    }

    #[test]
    fn a_row_group_without_bounds_makes_the_column_unbounded() {
        let one = || Some((Value::Integer(1), Value::Integer(2)));
        assert!(matches!(Bounds::Empty.merge(one()).merge(None), Bounds::Unknown));
        assert!(matches!(Bounds::Empty.merge(None).merge(one()), Bounds::Unknown));
    }

    #[test]
    fn big_endian_numbers_keep_their_sign() {
        assert_eq!(big_endian(&[0xff, 0xfe]), Some(-2));
        assert_eq!(big_endian(&[0x00, 0xfe]), Some(254));
        assert_eq!(big_endian(&i128::MIN.to_be_bytes()), Some(i128::MIN));
        assert_eq!(big_endian(&[]), None);
    }
}
