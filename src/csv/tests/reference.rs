//! A decoder that is slow and plain: byte by byte, value by value.

use super::*;

#[derive(Default)]
struct Row {
    line: u64,
    byte: usize,
    /// Text, and whether it was quoted.
    fields: Vec<(Vec<u8>, bool)>,
    shape: Option<String>,
    raw: Vec<u8>,
}

pub(super) fn decode(plan: &DecodePlan, dialect: &Dialect, bytes: &[u8]) -> (Rows, Vec<Reject>) {
    let (mut good, mut rejects) = (Vec::new(), Vec::new());
    for row in rows(dialect, bytes).into_iter().skip(usize::from(dialect.has_header())) {
        match judge(plan, dialect, &row) {
            Ok(cells) => good.push(cells),
            Err((column, reason)) => rejects.push(Reject {
                position: Position { line: row.line, byte: row.byte as u64, column },
                reason,
                raw: String::from_utf8_lossy(&row.raw).into_owned(),
            }),
        }
    }
    (good, rejects)
}

fn rows(dialect: &Dialect, bytes: &[u8]) -> Vec<Row> {
    let mut at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut rows = Vec::new();
    while at < bytes.len() {
        let (row, next) = row(dialect, bytes, at);
        if !row.raw.is_empty() {
            rows.push(row);
        }
        at = next;
    }
    rows
}

fn line_of(bytes: &[u8], at: usize) -> u64 {
    1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The length of the line end at `at`; the end of the input is one of length 0.
fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match &bytes[at..] {
        [] => Some(0),
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        [b'\r'] => Some(1),
        _ => None,
    }
}

/// The row at `start`, and where the next one starts.
fn row(dialect: &Dialect, bytes: &[u8], start: usize) -> (Row, usize) {
    let mut row = Row { line: line_of(bytes, start), byte: start, ..Row::default() };
    let mut at = start;
    loop {
        let (mut text, mut quoted) = (Vec::new(), false);
        if at < bytes.len() && Some(bytes[at]) == dialect.quote {
            quoted = true;
            match quoted_text(dialect, bytes, at) {
                Some((inner, after)) => (text, at) = (inner, after),
                None => {
                    row.line = line_of(bytes, at);
                    row.shape = Some("a quote is never closed".to_owned());
                    row.raw = bytes[start..].to_vec();
                    return (row, bytes.len());
                }
            }
        }
        let after_quote = at;
        while line_end(bytes, at).is_none() && bytes[at] != dialect.delimiter[0] {
            text.push(bytes[at]);
            at += 1;
        }
        if quoted && at > after_quote {
            row.shape = Some("text after a closing quote".to_owned());
        }
        row.fields.push((text, quoted));
        if let Some(length) = line_end(bytes, at) {
            row.raw = bytes[start..at].to_vec();
            return (row, at + length);
        }
        at += 1;
    }
}

/// What is within the quotes that open at `at`, and what comes after them.
fn quoted_text(dialect: &Dialect, bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let quote = dialect.quote;
    let mut text = Vec::new();
    loop {
        at += 1;
        let byte = *bytes.get(at)?;
        if dialect.escape.is_some() && Some(byte) == dialect.escape {
            at += 1;
            text.push(*bytes.get(at)?);
        } else if Some(byte) != quote {
            text.push(byte);
        } else if dialect.escape.is_none() && bytes.get(at + 1).copied() == quote {
            at += 1;
            text.push(byte);
        } else {
            return Some((text, at + 1));
        }
    }
}

type Verdict<T> = Result<T, (Option<String>, String)>;

fn judge(plan: &DecodePlan, dialect: &Dialect, row: &Row) -> Verdict<Vec<Cell>> {
    if let Some(shape) = &row.shape {
        return Err((None, shape.clone()));
    }
    let (expected, found) = (plan.fields.len(), row.fields.len());
    if expected != found {
        return Err((None, format!("expected {expected} fields, found {found}")));
    }
    for ((text, _), column) in row.fields.iter().zip(&plan.fields) {
        let column = column.column().map(|column| plan.schema.field(column).name().clone());
        if text.contains(&0) {
            return Err((column, "a NUL byte".to_owned()));
        }
        if std::str::from_utf8(text).is_err() {
            return Err((column, "not UTF-8".to_owned()));
        }
    }
    let mut cells = vec![Cell::Null; plan.schema.fields().len()];
    for ((text, quoted), column) in row.fields.iter().zip(&plan.fields) {
        let Some(column) = column.column() else { continue };
        let field = plan.schema.field(column);
        let text = std::str::from_utf8(text).unwrap();
        cells[column] = cell(dialect, field, text, *quoted)
            .map_err(|reason| (Some(field.name().clone()), reason))?;
    }
    Ok(cells)
}

fn cell(dialect: &Dialect, field: &Field, text: &str, quoted: bool) -> Result<Cell, String> {
    let textual = matches!(field.data_type(), DataType::Utf8 | DataType::Binary);
    if dialect.null_values.iter().any(|null| null == text) && !(quoted && textual) {
        return if field.is_nullable() {
            Ok(Cell::Null)
        } else {
            Err("null in a column that must not be null".to_owned())
        };
    }
    let value = text.trim_matches(' ');
    let (cell, name) = match field.data_type() {
        DataType::Boolean => (boolean(value), "a boolean"),
        DataType::Int8 => (integer(value, i8::MIN.into(), i8::MAX.into()), "an int8"),
        DataType::Int64 => (integer(value, i64::MIN.into(), i64::MAX.into()), "an int64"),
        DataType::UInt64 => (integer(value, 0, u64::MAX.into()), "a uint64"),
        DataType::Float32 => {
            (value.parse().ok().map(|f: f32| Cell::Float(f.to_bits().into())), "a float32")
        }
        DataType::Float64 => {
            (value.parse().ok().map(|f: f64| Cell::Float(f.to_bits())), "a float64")
        }
        DataType::Decimal128(7, 2) => (decimal(value), "a decimal(7,2)"),
        DataType::Date32 => {
            let days = |date: NaiveDate| i128::from(date.num_days_from_ce() - 719_163);
            (date(value).map(|date| Cell::Integer(days(date))), "a date")
        }
        DataType::Timestamp(_, None) => {
            let local = timestamp(value).filter(|(_, zoned)| !zoned);
            (local.map(|(micros, _)| micros), "a timestamp without an offset")
        }
        DataType::Timestamp(..) => (timestamp(value).map(|(micros, _)| micros), "a timestamp"),
        _ => (Some(Cell::Text(text.as_bytes().to_vec())), "text"),
    };
    let start: String = text.chars().take(64).collect();
    let rest = if start.len() < text.len() { "…" } else { "" };
    cell.ok_or_else(|| format!("{start:?}{rest} is not {name}"))
}

fn boolean(value: &str) -> Option<Cell> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Some(Cell::Boolean(true)),
        "false" | "f" | "no" | "n" | "0" => Some(Cell::Boolean(false)),
        _ => None,
    }
}

fn integer(value: &str, least: i128, most: i128) -> Option<Cell> {
    let value = value.parse().ok()?;
    (least..=most).contains(&value).then_some(Cell::Integer(value))
}

fn decimal(value: &str) -> Option<Cell> {
    let magnitude = value.strip_prefix(['+', '-']).unwrap_or(value);
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if magnitude.len() == usize::from(magnitude.contains('.'))
        || !is_number(whole)
        || !is_number(fraction)
    {
        return None;
    }
    let fraction = format!("{:0<2}", fraction.trim_end_matches('0'));
    let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    let negative = value.starts_with('-');
    (fraction.len() == 2 && unscaled < 10_000_000).then_some(Cell::Integer(if negative {
        -unscaled
    } else {
        unscaled
    }))
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
    let (time, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let fraction = if time.contains('.') && seconds.len() != 8 {
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
        "" | "Z" => FixedOffset::east_opt(0)?,
        _ => {
            let full = if zone.len() == 3 { format!("{zone}:00") } else { zone.to_owned() };
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
