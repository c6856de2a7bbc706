//! A decoder that is slow and plain: byte by byte, value by value.

use super::*;

#[path = "reference_values.rs"]
mod values;

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
        let column = column.map(|column| plan.schema.field(column).name().clone());
        if text.contains(&0) {
            return Err((column, "a NUL byte".to_owned()));
        }
        if std::str::from_utf8(text).is_err() {
            return Err((column, "not UTF-8".to_owned()));
        }
    }
    let mut cells = vec![Cell::Null; plan.schema.fields().len()];
    for ((text, quoted), column) in row.fields.iter().zip(&plan.fields) {
        let Some(column) = *column else { continue };
        let field = plan.schema.field(column);
        let text = std::str::from_utf8(text).unwrap();
        let format = plan.formats.get(column).cloned().unwrap_or_default();
        cells[column] = values::cell(dialect, &format, field, text, *quoted)
            .map_err(|reason| (Some(field.name().clone()), reason))?;
    }
    Ok(cells)
}
