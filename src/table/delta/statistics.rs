//! A data file's statistics as Delta writes them: JSON, never narrower than the data.

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Number, Value as Json, json};

use arrow::datatypes::{DataType, TimeUnit};

use crate::table::{DataFile, Layout, Value, decimal_text};

/// Readers take timestamps in statistics for whole milliseconds.
const MICROS_PER_MILLI: i64 = 1_000;
const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Which way a bound may move when it cannot be written exactly.
#[derive(Clone, Copy)]
enum Bound {
    Lower,
    Upper,
}

/// The `stats` of an `add` action.
pub(super) fn json(layout: &Layout, file: &DataFile) -> String {
    let (mut nulls, mut lower, mut upper) = (Map::new(), Map::new(), Map::new());
    for (column, statistics) in layout.stored_columns().into_iter().zip(&file.columns) {
        let field = layout.file_schema.field(column);
        nulls.insert(field.name().clone(), json!(statistics.null_count));
        let bound =
            |value: &Option<Value>, bound| render(value.as_ref()?, field.data_type(), bound);
        if let Some(value) = bound(&statistics.lower, Bound::Lower) {
            lower.insert(field.name().clone(), value);
        }
        if let Some(value) = bound(&statistics.upper, Bound::Upper) {
            upper.insert(field.name().clone(), value);
        }
    }
    json!({
        "numRecords": file.rows,
        "minValues": lower,
        "maxValues": upper,
        "nullCount": nulls,
    })
    .to_string()
}

/// A value as statistics hold it; nothing where it cannot be said.
fn render(value: &Value, column: &DataType, bound: Bound) -> Option<Json> {
    match value {
        // Of no use to a reader, and not in the kernel's schema of statistics.
        Value::Boolean(_) => None,
        Value::Integer(value) => Some(json!(value)),
        Value::Float(value) => Number::from_f64(*value).map(Json::Number),
        // As text: a JSON number would be rounded to 53 bits on its way through the kernel, which
        // writes it as a number all the same.
        Value::Decimal(unscaled, scale) => Some(json!(decimal_text(*unscaled, *scale))),
        // In a file that was written before its column became wider.
        Value::Date(days) if matches!(column, DataType::Timestamp(..)) => {
            let micros = i64::from(*days) * MICROS_PER_DAY;
            Some(json!(timestamp(micros, column, bound)?))
        }
        Value::Date(days) => Some(json!(date(*days)?)),
        Value::Timestamp(micros) => Some(json!(timestamp(*micros, column, bound)?)),
        Value::String(value) => Some(json!(value)),
    }
}

fn date(days: i32) -> Option<String> {
    let days_from_common_era = days.checked_add(719_163)?;
    let date = NaiveDate::from_num_days_from_ce_opt(days_from_common_era)?;
    Some(date.format("%Y-%m-%d").to_string())
}

fn timestamp(micros: i64, column: &DataType, bound: Bound) -> Option<String> {
    let millis = micros.div_euclid(MICROS_PER_MILLI);
    let exact = micros.rem_euclid(MICROS_PER_MILLI) == 0;
    let millis = match bound {
        Bound::Upper if !exact => millis.checked_add(1)?,
        _ => millis,
    };
    let time = DateTime::from_timestamp_millis(millis)?;
    let zone = if matches!(column, DataType::Timestamp(TimeUnit::Microsecond, Some(_))) {
        "Z"
    } else {
        ""
    };
    Some(format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S%.3f")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_to_the_last_digit() {
        assert_eq!(decimal_text(12_345, 2), "123.45");
        assert_eq!(decimal_text(-5, 3), "-0.005");
        assert_eq!(decimal_text(7, 0), "7");
        assert_eq!(decimal_text(i128::from(i64::MAX) * 10, 1), "9223372036854775807.0");
    }

    #[test]
    fn timestamps_move_outward() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
        let text = |micros, column, bound| timestamp(micros, column, bound).unwrap();
        assert_eq!(text(1_999, &zoned, Bound::Lower), "1970-01-01T00:00:00.001Z");
        assert_eq!(text(1_999, &plain, Bound::Upper), "1970-01-01T00:00:00.002");
        assert_eq!(text(2_000, &plain, Bound::Upper), "1970-01-01T00:00:00.002");
        assert_eq!(text(-1, &plain, Bound::Lower), "1969-12-31T23:59:59.999");
        assert_eq!(text(-1, &plain, Bound::Upper), "1970-01-01T00:00:00.000");
    }

    #[test]
    fn dates_before_and_after_the_epoch() {
        assert_eq!(date(0).unwrap(), "1970-01-01");
        assert_eq!(date(-1).unwrap(), "1969-12-31");
        assert_eq!(date(20_000).unwrap(), "2024-10-04");
    }
}
