//! Rows that are not as they should be, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Position;

/// How much of a value a reason quotes.
const QUOTED_CHARS_MAX: usize = 64;

/// What is wrong with a row, in a word that machines know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectKind {
    /// It has fewer fields than the header.
    TooFewFields,
    /// It has more fields than the header.
    TooManyFields,
    /// There is text after a closing quote.
    TextAfterQuote,
    /// A quote is never closed.
    QuoteNeverClosed,
    /// It is longer than a row may be.
    RowTooLong,
    /// A field is longer than one may be.
    FieldTooLong,
    /// There is a NUL byte in it.
    NulByte,
    /// It is not text in the encoding that it should be in.
    BadEncoding,
    /// A value does not fit the type of its column.
    BadValue,
    /// There is no value in a column that must not be null.
    MissingValue,
    /// What is to be rescued of it is longer than a row may be.
    RescueTooLong,
}

impl RejectKind {
    /// Its name, as in receipts and quarantine files.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooFewFields => "too_few_fields",
            Self::TooManyFields => "too_many_fields",
            Self::TextAfterQuote => "text_after_quote",
            Self::QuoteNeverClosed => "quote_never_closed",
            Self::RowTooLong => "row_too_long",
            Self::FieldTooLong => "field_too_long",
            Self::NulByte => "nul_byte",
            Self::BadEncoding => "bad_encoding",
            Self::BadValue => "bad_value",
            Self::MissingValue => "missing_value",
            Self::RescueTooLong => "rescue_too_long",
        }
    }
}

/// What is said of a bad row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where the row starts, and the column where one value is at fault.
    pub position: Position,
    /// What sort of fault.
    pub kind: RejectKind,
    /// What is wrong, such as `"12x" is not an int64`.
    pub reason: String,
}

/// A row that is not in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub complaint: Complaint,
    /// The row as it is in the object, without its line end; of one that is too long, as much as a
    /// row may have.
    pub raw: Vec<u8>,
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: RejectKind,
    pub(super) reason: String,
    /// The field at fault, where it is one.
    pub(super) field: Option<FieldAt>,
}

/// A field that goes into a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FieldAt {
    /// Which field of the row.
    pub(super) position: usize,
    /// Which column of the output.
    pub(super) column: usize,
}

/// The faults of some rows, by row: of each the first to be found, which is the one to report; or all,
/// where rows are rescued.
#[derive(Debug, Default)]
pub(super) struct Faults {
    of_rows: BTreeMap<usize, Vec<Fault>>,
    keep_all: bool,
    /// The field that is being read.
    field: Option<FieldAt>,
    /// The first of the rows that are being read.
    first_row: usize,
}

impl Faults {
    pub(super) fn new(keep_all: bool) -> Self {
        Self { keep_all, ..Self::default() }
    }

    /// What is added from now on is about this field of the rows from `first_row` on.
    pub(super) fn begin(&mut self, field: FieldAt, first_row: usize) {
        (self.field, self.first_row) = (Some(field), first_row);
    }

    /// Adds a fault of the field and of a row, counted from the first, that are being read.
    pub(super) fn add(&mut self, row: usize, kind: RejectKind, reason: impl FnOnce() -> String) {
        let faults = self.of_rows.entry(self.first_row + row).or_default();
        if faults.is_empty() || self.keep_all {
            faults.push(Fault { kind, reason: reason(), field: self.field });
        }
    }

    /// Adds a fault of any row.
    pub(super) fn add_fault(&mut self, row: usize, fault: Fault) {
        let faults = self.of_rows.entry(row).or_default();
        if faults.is_empty() || self.keep_all {
            faults.push(fault);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of_rows.is_empty()
    }

    /// Takes those of one row.
    pub(super) fn take(&mut self, row: usize) -> Vec<Fault> {
        self.of_rows.remove(&row).unwrap_or_default()
    }

    /// The rows that have some, in order.
    pub(super) fn rows(&self) -> Vec<usize> {
        self.of_rows.keys().copied().collect()
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
    fn a_kind_has_one_name() {
        let kinds = [RejectKind::TooFewFields, RejectKind::QuoteNeverClosed, RejectKind::BadValue];
        for kind in kinds {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
