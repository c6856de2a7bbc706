//! What a field's text is as a value, by the standard library, `chrono` and the plainest means.

use chrono::Timelike;

use super::*;

pub(super) fn cell(
    dialect: &Dialect,
    format: &ValueFormat,
    field: &Field,
    text: &str,
    quoted: bool,
) -> Result<Cell, (RejectKind, String)> {
    let data_type = field.data_type();
    let value = text.trim_matches(' ');
    let is_text = *data_type == DataType::Utf8;
    let is_encoded = *data_type == DataType::Binary && format.binary_format != BinaryFormat::Raw;
    let text = if is_text && dialect.trim && !quoted { value } else { text };
    if is_null(dialect, format, data_type, text, quoted) {
        return match field.is_nullable() {
            true => Ok(Cell::Null),
            false => {
                let reason = "null in a column that must not be null".to_owned();
                Err((RejectKind::MissingValue, reason))
            }
        };
    }
    let number = plain_number(format, value);
    let number = number.as_deref().unwrap_or("not a number");
    let (cell, name) = match data_type {
        DataType::Boolean => (boolean(format, value), "a boolean".to_owned()),
        DataType::Int8 => (integer(number, i8::MIN.into(), i8::MAX.into()), "an int8".to_owned()),
        DataType::Int64 => {
            (integer(number, i64::MIN.into(), i64::MAX.into()), "an int64".to_owned())
        }
        DataType::UInt64 => (integer(number, 0, u64::MAX.into()), "a uint64".to_owned()),
        DataType::Float32 => {
            let float = number.parse().ok().filter(|f: &f32| f.is_finite() || is_word(number));
            (float.map(|f: f32| Cell::Float(f.to_bits().into())), "a float32".to_owned())
        }
        DataType::Float64 => {
            let float = number.parse().ok().filter(|f: &f64| f.is_finite() || is_word(number));
            (float.map(|f: f64| Cell::Float(f.to_bits())), "a float64".to_owned())
        }
        DataType::Decimal128(7, 2) => {
            (decimal(number, format.round_decimals), "a decimal(7,2)".to_owned())
        }
        DataType::Date32 => {
            let days = |date: NaiveDate| i128::from(date.num_days_from_ce() - 719_163);
            let date = match is_german(format) {
                true => german_date(value),
                false => date(value),
            };
            (date.map(|date| Cell::Integer(days(date))), format.name_of_dates())
        }
        DataType::Timestamp(_, zone) => {
            let time = match is_german(format) {
                true => german_timestamp(value).map(|cell| (cell, false)),
                false => timestamp(value),
            };
            let name = match zone {
                Some(_) => "a timestamp",
                None => "a timestamp without an offset",
            };
            let fits = |(_, zoned): &(Cell, bool)| zone.is_some() || !zoned;
            (time.filter(fits).map(|(micros, _)| micros), format.name_of_timestamps(name))
        }
        DataType::Binary if is_encoded => (bytes(value).map(Cell::Text), "hexadecimal".to_owned()),
        _ => (Some(Cell::Text(text.as_bytes().to_vec())), "text".to_owned()),
    };
    let start: String = text.chars().take(64).collect();
    let rest = if start.len() < text.len() { "…" } else { "" };
    cell.ok_or_else(|| (RejectKind::BadValue, format!("{start:?}{rest} is not {name}")))
}

fn is_null(
    dialect: &Dialect,
    format: &ValueFormat,
    data_type: &DataType,
    text: &str,
    quoted: bool,
) -> bool {
    let nulls = format.null_values.as_ref().unwrap_or(&dialect.null_values);
    let is = |text: &str| nulls.iter().any(|null| null == text);
    match data_type {
        DataType::Utf8 => !quoted && is(text),
        DataType::Binary if format.binary_format == BinaryFormat::Raw => !quoted && is(text),
        DataType::Binary => !quoted && (is(text) || is(text.trim_matches(' '))),
        _ => is(text) || is(text.trim_matches(' ')),
    }
}

fn is_german(format: &ValueFormat) -> bool {
    format.decimal_separator == ','
}

fn is_word(number: &str) -> bool {
    !number.contains(|c: char| c.is_ascii_digit())
}

fn all_digits(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit())
}

/// `1.234,5` as `1234.5`.
fn plain_number(format: &ValueFormat, value: &str) -> Option<String> {
    if !is_german(format) {
        return Some(value.to_owned());
    }
    let (whole, fraction) = value.split_once(',').map_or((value, None), |(w, f)| (w, Some(f)));
    let magnitude = whole.trim_start_matches(['+', '-']);
    let groups: Vec<&str> = magnitude.split('.').collect();
    if let [first, middle @ .., last] = groups.as_slice() {
        let width = middle.first().map_or(3, |group| group.len());
        let sound = (2..=3).contains(&width)
            && middle.iter().all(|group| group.len() == width)
            && (1..=width).contains(&first.len())
            && last.len() == 3
            && groups.iter().all(|group| all_digits(group));
        if groups.len() > 1 && !sound {
            return None;
        }
    }
    let plain = whole.replace('.', "");
    Some(fraction.map_or(plain.clone(), |fraction| format!("{plain}.{fraction}")))
}

fn boolean(format: &ValueFormat, value: &str) -> Option<Cell> {
    let value = value.to_ascii_lowercase();
    if format.true_values.contains(&value) {
        Some(Cell::Boolean(true))
    } else if format.false_values.contains(&value) {
        Some(Cell::Boolean(false))
    } else {
        None
    }
}

fn bytes(value: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = value.chars().map(|c| c.to_digit(16)).collect();
    let pairs = digits?.chunks(2).map(<[u32]>::to_vec).collect::<Vec<_>>();
    pairs.iter().map(|pair| Some((16 * pair[0] + pair.get(1)?) as u8)).collect()
}

fn german_date(value: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(value, "%d.%m.%Y").ok()?;
    has_whole_year(value, date.year()).then_some(date)
}

/// Whether the year is written with four digits, and one that there is.
fn has_whole_year(value: &str, year: i32) -> bool {
    let written = value.split('.').nth(2).unwrap_or_default().split(' ').next().unwrap_or_default();
    (1..=9999).contains(&year) && written == format!("{year:04}")
}

fn german_timestamp(value: &str) -> Option<Cell> {
    let time = match NaiveDateTime::parse_from_str(value, "%d.%m.%Y %H:%M:%S%.f") {
        Ok(time) => time,
        Err(_) => german_date(value)?.and_time(NaiveTime::MIN),
    };
    let nanos = time.nanosecond();
    let sound =
        nanos < 1_000_000_000 && nanos.is_multiple_of(1000) && has_whole_year(value, time.year());
    sound.then_some(Cell::Integer(time.and_utc().timestamp_micros().into()))
}

fn integer(value: &str, least: i128, most: i128) -> Option<Cell> {
    let value = value.parse().ok()?;
    (least..=most).contains(&value).then_some(Cell::Integer(value))
}

/// A `decimal(7,2)`, by moving digits about.
fn decimal(value: &str, round: bool) -> Option<Cell> {
    let magnitude = value.strip_prefix(['+', '-']).unwrap_or(value);
    let (number, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits = format!("{whole}{fraction}");
    if digits.is_empty() || !all_digits(&digits) {
        return None;
    }
    // Beyond these, nothing but zero would fit.
    let point = (whole.len() as i64).saturating_add(exponent).clamp(-100, 200);
    let point = usize::try_from(point).unwrap_or_else(|_| {
        digits.insert_str(0, &"0".repeat(point.unsigned_abs() as usize));
        0
    });
    digits = format!("{digits:0<width$}", width = point + 3);
    let (kept, excess) = digits.split_at(point + 2);
    if !round && excess.contains(|c| c != '0') {
        return None;
    }
    let kept = kept.trim_start_matches('0');
    let unscaled: i128 =
        if kept.is_empty() { 0 } else { kept.get(..10.min(kept.len()))?.parse().ok()? };
    let unscaled = unscaled + i128::from(round && excess >= "5");
    let signed = if value.starts_with('-') { -unscaled } else { unscaled };
    (kept.len() <= 7 && unscaled < 10_000_000).then_some(Cell::Integer(signed))
}

fn date(value: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(value, "%Y-%m-%d")
        .ok()
        .filter(|date| date.to_string() == value && (1..=9999).contains(&date.year()))
}

fn timestamp(value: &str) -> Option<(Cell, bool)> {
    let (day, rest) = (value.get(..10)?, value.get(10..)?);
    let time = match rest.strip_prefix(['T', ' ']) {
        Some(time) => time,
        None if rest.is_empty() => "00:00",
        None => return None,
    };
    let (time, zone) = time.split_at(time.find([' ', 'Z', 'U', '+', '-']).unwrap_or(time.len()));
    let zone =
        zone.strip_prefix(' ').map_or(Some(zone), |zone| Some(zone).filter(|z| !z.is_empty()))?;
    let (seconds, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    let fraction = if time.contains(['.', ',']) && seconds.len() != 8 {
        return None;
    } else {
        fraction
    };
    let format = if seconds.len() == 5 { "%H:%M" } else { "%H:%M:%S" };
    let clock = NaiveTime::parse_from_str(seconds, format).ok()?;
    if clock.format(format).to_string() != seconds || seconds.ends_with(":60") {
        return None;
    }
    let digits = format!("{:0<6}", fraction.trim_end_matches('0'));
    if fraction.is_empty() || digits.len() > 6 || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let offset = match zone {
        "" | "Z" | "UTC" => FixedOffset::east_opt(0)?,
        _ => {
            let full = match zone.len() {
                3 => format!("{zone}:00"),
                5 => format!("{}:{}", zone.get(..3)?, zone.get(3..)?),
                _ => zone.to_owned(),
            };
            let offset: FixedOffset = full.parse().ok()?;
            if full.replace("-00:00", "+00:00") != offset.to_string() {
                return None;
            }
            offset
        }
    };
    let local = NaiveDateTime::new(date(day)?, clock).and_utc().timestamp_micros();
    let micros = local - i64::from(offset.local_minus_utc()) * 1_000_000;
    let micros = micros + digits.parse::<i64>().ok()?;
    Some((Cell::Integer(micros.into()), !zone.is_empty()))
}
