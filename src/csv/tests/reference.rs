//! A decoder that is slow and plain: byte by byte, value by value.

use super::*;

#[derive(Default)]
struct Row {
    line: u64,
    byte: usize,
    /// Text, whether it was quoted, and how long it is as it is written.
    fields: Vec<(Vec<u8>, bool, usize)>,
    shape: Option<String>,
    raw: Vec<u8>,
    /// A delimiter at its end that no field follows.
    surplus: usize,
}

pub(super) fn decode(
    plan: &DecodePlan,
    dialect: &Dialect,
    limits: Limits,
    bytes: &[u8],
) -> (Rows, Vec<Reject>) {
    let (mut good, mut rejects) = (Vec::new(), Vec::new());
    for row in rows(dialect, limits, bytes).into_iter().skip(dialect.header_rows as usize) {
        match judge(plan, dialect, limits, &row) {
            Ok(cells) => good.push(cells),
            Err((column, reason)) => rejects.push(Reject {
                position: Position { line: row.line, byte: row.byte as u64, column },
                reason,
                raw: String::from_utf8_lossy(raw_of(plan, limits, &row)).into_owned(),
            }),
        }
    }
    (good, rejects)
}

/// How many columns a header has, and whether it can be read; nothing where there is no row.
pub(super) fn header(dialect: &Dialect, bytes: &[u8]) -> Option<Result<usize, ()>> {
    let unlimited =
        Limits { row_bytes_max: usize::MAX, field_bytes_max: usize::MAX, ..Limits::default() };
    let mut rows = rows(dialect, unlimited, bytes);
    rows.truncate(dialect.header_rows.max(1) as usize);
    let is_text = |text: &[u8]| std::str::from_utf8(text).is_ok() && !text.contains(&0);
    let is_bad = |row: &Row| row.shape.is_some() || !row.fields.iter().all(|f| is_text(&f.0));
    let columns = rows.iter().map(|row| row.fields.len()).max()?;
    Some(if rows.iter().any(is_bad) { Err(()) } else { Ok(columns) })
}

/// A row of the right shape does not have the surplus delimiter.
fn raw_of<'a>(plan: &DecodePlan, limits: Limits, row: &'a Row) -> &'a [u8] {
    let well_shaped = row.fields.len() == plan.fields.len()
        && row.fields.iter().all(|(_, _, length)| *length <= limits.field_bytes_max);
    let surplus = if well_shaped { row.surplus } else { 0 };
    &row.raw[..row.raw.len() - surplus]
}

fn rows(dialect: &Dialect, limits: Limits, bytes: &[u8]) -> Vec<Row> {
    let mut at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut lines = vec![];
    let mut start = at;
    while start < bytes.len() {
        lines.push(start);
        start = next_line(dialect, bytes, start);
    }
    let rows_end = lines.len().saturating_sub(dialect.footer_lines as usize);
    let bytes = &bytes[..lines.get(rows_end).copied().unwrap_or(bytes.len())];
    for _ in 0..dialect.skip_lines {
        at = next_line(dialect, bytes, at);
    }
    let mut rows = Vec::new();
    while at < bytes.len() {
        let empty = line_end(dialect, bytes, at).is_some();
        if empty || Some(bytes[at]) == dialect.comment {
            at = next_line(dialect, bytes, at);
            continue;
        }
        let (row, next) = row(dialect, limits, bytes, at);
        rows.push(row);
        at = next;
    }
    rows
}

/// Where the line that `at` is in ends, without its line end, and where the next one starts.
fn line(dialect: &Dialect, bytes: &[u8], mut at: usize) -> (usize, usize) {
    loop {
        if let Some(length) = line_end(dialect, bytes, at) {
            return (at, at + length);
        }
        at += 1;
    }
}

fn next_line(dialect: &Dialect, bytes: &[u8], at: usize) -> usize {
    line(dialect, bytes, at).1
}

fn line_of(dialect: &Dialect, bytes: &[u8], at: usize) -> u64 {
    let (mut number, mut start) = (1, next_line(dialect, bytes, 0));
    while start <= at {
        number += 1;
        start = next_line(dialect, bytes, start);
    }
    number
}

/// The length of the line end at `at`; the end of the input is one of length 0.
fn line_end(dialect: &Dialect, bytes: &[u8], at: usize) -> Option<usize> {
    use LineEnding::{Cr, Crlf, Lf, Mixed};
    match (dialect.line_ending, &bytes[at..]) {
        (_, []) => Some(0),
        (Lf | Crlf | Mixed, [b'\r', b'\n', ..]) => Some(2),
        (Lf | Mixed, [b'\n', ..]) | (Cr | Mixed, [b'\r', ..]) => Some(1),
        (Lf | Crlf, [b'\r']) => Some(1),
        _ => None,
    }
}

/// How far one must have read to know that the line ends at `at`.
fn last_of_line_end(dialect: &Dialect, bytes: &[u8], at: usize) -> usize {
    match (dialect.line_ending, &bytes[at..]) {
        (LineEnding::Lf | LineEnding::Crlf, [b'\r', ..]) => at + 1,
        _ => at,
    }
}

/// The row at `start`, and where the next one starts.
fn row(dialect: &Dialect, limits: Limits, bytes: &[u8], start: usize) -> (Row, usize) {
    let mut row = Row { line: line_of(dialect, bytes, start), byte: start, ..Row::default() };
    let last = start.saturating_add(limits.row_bytes_max);
    let (first_end, second_line) = line(dialect, bytes, start);
    let first_fits = second_line > first_end && last_of_line_end(dialect, bytes, first_end) <= last;
    let read = fields(dialect, bytes, start);
    let (known, end) = match &read {
        Ok((_, end)) => (last_of_line_end(dialect, bytes, *end), *end),
        Err((known, _)) if *known <= last => {
            (last_of_line_end(dialect, bytes, first_end), first_end)
        }
        Err((known, _)) => (*known, first_end),
    };
    let limit = display_bytes(limits.row_bytes_max as u64);
    if known > last {
        if first_fits {
            row.shape =
                Some(format!("a row runs on for more than {limit}; is a quote never closed?"));
            row.raw = bytes[start..first_end].to_vec();
        } else {
            row.shape = Some(format!("a row is longer than {limit}"));
            row.raw = bytes[start..last].to_vec();
        }
        return (row, second_line);
    }
    row.raw = bytes[start..end].to_vec();
    match read {
        Ok((fields, end)) => {
            row.fields = fields;
            let surplus = row.fields.last().is_some_and(|(_, _, length)| *length == 0);
            if dialect.trailing_delimiter && surplus && row.fields.len() > 1 {
                row.fields.pop();
                row.surplus = dialect.delimiter.len();
            }
            (row, next_line(dialect, bytes, end))
        }
        Err((_, reason)) => {
            row.shape = Some(reason.to_owned());
            (row, second_line)
        }
    }
}

type Fields = Vec<(Vec<u8>, bool, usize)>;

/// The fields of the row at `at` and where it ends; or what is wrong, and how far one must have read
/// to know.
fn fields(
    dialect: &Dialect,
    bytes: &[u8],
    mut at: usize,
) -> Result<(Fields, usize), (usize, &'static str)> {
    let mut fields = Vec::new();
    loop {
        let start = at;
        let (mut text, mut quoted) = (Vec::new(), false);
        if at < bytes.len() && Some(bytes[at]) == dialect.quote {
            quoted = true;
            let Some((inner, after)) = quoted_text(dialect, bytes, at) else {
                return Err((bytes.len(), "a quote is never closed"));
            };
            (text, at) = (inner, after);
            let rest = &bytes[at..];
            if line_end(dialect, bytes, at).is_none() && !rest.starts_with(&dialect.delimiter) {
                return Err((noticed(dialect, bytes, at), "text after a closing quote"));
            }
        }
        let rest = at;
        while line_end(dialect, bytes, at).is_none() && !bytes[at..].starts_with(&dialect.delimiter)
        {
            at += match &bytes[at..] {
                [byte, b'\r', b'\n', ..] if is_escape(dialect, *byte) => 3,
                [byte, _, ..] if is_escape(dialect, *byte) => 2,
                _ => 1,
            };
        }
        text.extend(unescaped(dialect, &bytes[rest..at]));
        fields.push((text, quoted, at - start));
        if line_end(dialect, bytes, at).is_some() {
            return Ok((fields, at));
        }
        at += dialect.delimiter.len();
    }
}

/// The first byte that means anything and is neither part of a delimiter nor a line end at `after`.
fn noticed(dialect: &Dialect, bytes: &[u8], after: usize) -> usize {
    let means = |byte: u8| match byte {
        b'\n' => dialect.line_ending != LineEnding::Cr,
        b'\r' => matches!(dialect.line_ending, LineEnding::Cr | LineEnding::Mixed),
        _ => {
            let single = [dialect.delimiter.last().copied(), dialect.quote, dialect.escape];
            single.contains(&Some(byte))
        }
    };
    (after..bytes.len())
        .find(|&at| means(bytes[at]) && !dialect.delimiter.starts_with(&bytes[after..=at]))
        .unwrap_or(bytes.len())
}

fn is_escape(dialect: &Dialect, byte: u8) -> bool {
    dialect.escape != dialect.quote && Some(byte) == dialect.escape
}

/// Unquoted text without the escapes before what could have meant something.
fn unescaped(dialect: &Dialect, field: &[u8]) -> Vec<u8> {
    let single = [dialect.quote, dialect.escape, dialect.comment, Some(b'\r'), Some(b'\n')];
    let (mut text, mut at) = (Vec::new(), 0);
    while at < field.len() {
        let rest = &field[at + 1..];
        if is_escape(dialect, field[at]) && !rest.is_empty() {
            if !single.contains(&Some(rest[0])) && !rest.starts_with(&dialect.delimiter) {
                text.push(field[at]);
            }
            at += 1;
        }
        text.push(field[at]);
        at += 1;
    }
    text
}

/// What is within the quotes that open at `at`, and what comes after them.
fn quoted_text(dialect: &Dialect, bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let quote = dialect.quote;
    let mut text = Vec::new();
    loop {
        at += 1;
        let byte = *bytes.get(at)?;
        if dialect.escape != quote && Some(byte) == dialect.escape {
            at += 1;
            text.push(*bytes.get(at)?);
        } else if Some(byte) != quote {
            text.push(byte);
        } else if bytes.get(at + 1).copied() == quote {
            at += 1;
            text.push(byte);
        } else {
            return Some((text, at + 1));
        }
    }
}

type Verdict<T> = Result<T, (Option<String>, String)>;

fn judge(plan: &DecodePlan, dialect: &Dialect, limits: Limits, row: &Row) -> Verdict<Vec<Cell>> {
    if let Some(shape) = &row.shape {
        return Err((None, shape.clone()));
    }
    let (expected, found) = (plan.fields.len(), row.fields.len());
    let long =
        row.fields.iter().take(expected).any(|(_, _, length)| *length > limits.field_bytes_max);
    if long {
        let limit = display_bytes(limits.field_bytes_max as u64);
        return Err((None, format!("a field is longer than {limit}")));
    }
    if expected != found {
        return Err((None, format!("expected {expected} fields, found {found}")));
    }
    for ((text, _, _), column) in row.fields.iter().zip(&plan.fields) {
        let column = column.column().map(|column| plan.schema.field(column).name().clone());
        if text.contains(&0) {
            return Err((column, "a NUL byte".to_owned()));
        }
        if std::str::from_utf8(text).is_err() {
            return Err((column, "not UTF-8".to_owned()));
        }
    }
    let mut cells = vec![Cell::Null; plan.schema.fields().len()];
    for ((text, quoted, _), column) in row.fields.iter().zip(&plan.fields) {
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
