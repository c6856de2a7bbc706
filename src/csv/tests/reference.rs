//! A decoder that is slow and plain: byte by byte, value by value.

use super::*;

mod values;

#[derive(Default)]
struct Row {
    line: u64,
    byte: usize,
    /// Text, whether it was quoted, and how long it is as it is written.
    fields: Vec<(Vec<u8>, bool, usize)>,
    shape: Option<(RejectKind, String)>,
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
            Err((column, kind, reason)) => {
                let position = Position { line: row.line, byte: row.byte as u64, column };
                let complaint = Complaint { position, kind, reason };
                rejects.push(Reject { complaint, raw: raw_of(plan, limits, &row).to_vec() });
            }
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
            let reason = format!("a row runs on for more than {limit}; is a quote never closed?");
            row.shape = Some((RejectKind::QuoteNeverClosed, reason));
            row.raw = bytes[start..first_end].to_vec();
        } else {
            row.shape = Some((RejectKind::RowTooLong, format!("a row is longer than {limit}")));
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
        Err((_, (kind, reason))) => {
            row.shape = Some((kind, reason.to_owned()));
            (row, second_line)
        }
    }
}

type Fields = Vec<(Vec<u8>, bool, usize)>;

type Misread = (RejectKind, &'static str);

/// The fields of the row at `at` and where it ends; or what is wrong, and how far one must have read
/// to know.
fn fields(
    dialect: &Dialect,
    bytes: &[u8],
    mut at: usize,
) -> Result<(Fields, usize), (usize, Misread)> {
    let mut fields = Vec::new();
    loop {
        let start = at;
        let (mut text, mut quoted) = (Vec::new(), false);
        if at < bytes.len() && Some(bytes[at]) == dialect.quote {
            quoted = true;
            let Some((inner, after)) = quoted_text(dialect, bytes, at) else {
                let fault = (RejectKind::QuoteNeverClosed, "a quote is never closed");
                return Err((bytes.len(), fault));
            };
            (text, at) = (inner, after);
            let rest = &bytes[at..];
            if line_end(dialect, bytes, at).is_none() && !rest.starts_with(&dialect.delimiter) {
                let fault = (RejectKind::TextAfterQuote, "text after a closing quote");
                return Err((noticed(dialect, bytes, at), fault));
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

type Verdict<T> = Result<T, (Option<String>, RejectKind, String)>;

fn judge(plan: &DecodePlan, dialect: &Dialect, limits: Limits, row: &Row) -> Verdict<Vec<Cell>> {
    if let Some((kind, reason)) = &row.shape {
        return Err((None, *kind, reason.clone()));
    }
    let (expected, found) = (plan.fields.len(), row.fields.len());
    let long =
        row.fields.iter().take(expected).any(|(_, _, length)| *length > limits.field_bytes_max);
    if long {
        let limit = display_bytes(limits.field_bytes_max as u64);
        return Err((None, RejectKind::FieldTooLong, format!("a field is longer than {limit}")));
    }
    if expected != found {
        let is_short = found < expected;
        let kind = if is_short { RejectKind::TooFewFields } else { RejectKind::TooManyFields };
        return Err((None, kind, format!("expected {expected} fields, found {found}")));
    }
    for ((text, _, _), column) in row.fields.iter().zip(&plan.fields) {
        let column = column.column().map(|column| plan.schema.field(column).name().clone());
        if text.contains(&0) {
            return Err((column, RejectKind::NulByte, "a NUL byte".to_owned()));
        }
        if std::str::from_utf8(text).is_err() {
            return Err((column, RejectKind::BadEncoding, "not UTF-8".to_owned()));
        }
    }
    let mut cells = vec![Cell::Null; plan.schema.fields().len()];
    for ((text, quoted, _), column) in row.fields.iter().zip(&plan.fields) {
        let Some(column) = column.column() else { continue };
        let field = plan.schema.field(column);
        let text = std::str::from_utf8(text).unwrap();
        let format = plan.formats.get(column).cloned().unwrap_or_default();
        cells[column] = values::cell(dialect, &format, field, text, *quoted)
            .map_err(|(kind, reason)| (Some(field.name().clone()), kind, reason))?;
    }
    Ok(cells)
}
