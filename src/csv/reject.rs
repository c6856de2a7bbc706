//! Rows that are not in the batch, and why.

use std::collections::BTreeMap;

use crate::error::Position;

/// How much of a value a reason quotes.
const QUOTED_CHARS_MAX: usize = 64;

/// How much of a row is kept.
const RAW_BYTES_MAX: usize = 1024;

/// A row that is not in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Where the row starts, and the column where one value is at fault.
    pub position: Position,
    /// What is wrong, such as `"12x" is not an int64`.
    pub reason: String,
    /// The row as it is in the object, without its line end: at most its first KiB, and with U+FFFD
    /// for what is not UTF-8.
    pub raw: String,
}

/// What is wrong with one row.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) reason: String,
    /// The name of the column at fault.
    pub(super) column: Option<String>,
    /// The range of the row in the buffer.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The faults of some rows: for each row the first to be found, which is the one to report.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<usize, Fault>);

impl Faults {
    pub(super) fn add(&mut self, row: usize, fault: impl FnOnce() -> Fault) {
        self.0.entry(row).or_insert_with(fault);
    }

    /// By row, in order.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (usize, Fault)> {
        self.0.into_iter()
    }
}

/// The start of `value`, quoted.
pub(super) fn quoted(value: &[u8]) -> String {
    // No character has more than four bytes.
    let text = String::from_utf8_lossy(&value[..value.len().min(4 * QUOTED_CHARS_MAX + 4)]);
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The start of `row` as text.
pub(super) fn raw(row: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&row[..row.len().min(RAW_BYTES_MAX + 4)]).into_owned();
    text.truncate(text.floor_char_boundary(RAW_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_short() {
        assert_eq!(quoted(b"12x"), "\"12x\"");
        assert_eq!(quoted(b"a\"\n\xFF"), "\"a\\\"\\n\u{FFFD}\"");
        assert_eq!(quoted("é".repeat(64).as_bytes()), format!("{:?}", "é".repeat(64)));
        assert_eq!(quoted("é".repeat(65).as_bytes()), format!("{:?}…", "é".repeat(64)));
    }

    #[test]
    fn rows_are_cut_between_characters() {
        assert_eq!(raw(b"a,b"), "a,b");
        let long = format!("a{}", "é".repeat(RAW_BYTES_MAX));
        assert_eq!(raw(long.as_bytes()), format!("a{}", "é".repeat(511)));
    }
}
