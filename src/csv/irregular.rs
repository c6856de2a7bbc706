//! Rows that are not as they should be, as far as they can be read.

use std::borrow::Cow;
use std::ops::Range;

use super::column::Rows;
use super::decode::{Limits, LongRows, RowRules, ShortRows, Target};
use super::dialect::{Dialect, FieldReader};
use super::reject::{Fault, Faults, FieldAt, RejectKind};
use super::requote::requoted;
use super::row::fields_of_row;
use super::structure::{Misshapen, Shape};
use crate::memory::display_bytes;

/// What stands for what is no text.
const REPLACEMENT: &str = "\u{FFFD}";

/// A row with another number of fields than expected, or whose text had to be mended.
#[derive(Debug)]
pub(super) struct Irregular {
    /// Its number among the rows that are read with it.
    pub(super) row: usize,
    /// Where it is in the buffer, without its line end.
    pub(super) range: Range<usize>,
    /// Its text, as far as it can be read.
    text: Vec<u8>,
    /// The bounds of its fields in the text: see [`Rows`]. There may be none.
    bounds: Vec<u32>,
    /// How many fields are missing, where that is to be told.
    pub(super) missing: usize,
    /// The part of the text with the fields that are too many, where they are to be kept.
    surplus: Option<Range<usize>>,
    /// Whether its quotes make no sense, so that it is to be kept as it is, whatever was read of it.
    pub(super) is_raw: bool,
    /// Whether something in it is no text.
    pub(super) is_mended: bool,
}

impl Irregular {
    /// A row without fields.
    fn unread(row: usize, range: Range<usize>) -> Self {
        Self {
            row,
            range,
            text: Vec::new(),
            bounds: vec![0],
            missing: 0,
            surplus: None,
            is_raw: false,
            is_mended: false,
        }
    }

    /// Its fields, those that are too many aside.
    pub(super) fn rows<'a>(&'a self, reader: &'a FieldReader) -> Rows<'a> {
        Rows { buffer: &self.text, bounds: &self.bounds, stride: self.bounds.len(), reader }
    }

    /// The texts of the fields that are too many and to be kept.
    pub(super) fn surplus<'a>(
        &'a self,
        dialect: &'a Dialect,
        reader: &'a FieldReader,
    ) -> Option<impl Iterator<Item = Cow<'a, [u8]>>> {
        let surplus = &self.text[self.surplus.clone()?];
        Some(fields_of_row(dialect, surplus).map(move |field| reader.text(&surplus[field])))
    }
}

/// Reads irregular rows as the rules have it, and notes their faults.
pub(super) struct IrregularReader {
    pub(super) dialect: Dialect,
    rules: RowRules,
    fields: Vec<Target>,
    limits: Limits,
}

impl IrregularReader {
    pub(super) fn new(
        dialect: &Dialect,
        rules: RowRules,
        fields: Vec<Target>,
        limits: Limits,
    ) -> Self {
        Self { dialect: dialect.clone(), rules, fields, limits }
    }

    /// Reads a misshapen row, number `row` of those that are read with it.
    pub(super) fn misshapen(
        &self,
        row: usize,
        buffer: &[u8],
        misshapen: &Misshapen,
        faults: &mut Faults,
    ) -> Irregular {
        let range = misshapen.start..misshapen.end;
        let (kind, reason) = self.shape_fault(misshapen.shape);
        let is_tolerated = match kind {
            RejectKind::TooFewFields => self.rules.short_rows == ShortRows::Pad,
            RejectKind::TooManyFields => self.rules.long_rows != LongRows::Bad,
            _ => false,
        };
        if !is_tolerated {
            faults.add_fault(row, Fault { kind, reason, field: None });
        }
        match misshapen.shape {
            Shape::FieldCount(_) if is_tolerated || self.rules.rescue => {
                self.split(row, buffer, range, faults)
            }
            Shape::TextAfterQuote | Shape::NeverClosed | Shape::RunsOn if self.rules.rescue => {
                let text = self.requoted(&buffer[range.clone()]);
                let read = text.map(|text| self.split_text(row, range.clone(), &text, faults));
                let irregular = read.unwrap_or_else(|| Irregular::unread(row, range));
                Irregular { is_raw: true, ..irregular }
            }
            _ => Irregular { is_raw: true, ..Irregular::unread(row, range) },
        }
    }

    /// The text of a row whose quotes make no sense, as it is likely meant, where it then is no longer
    /// than it may be.
    fn requoted(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = requoted(&self.dialect, bytes);
        let is_short = |field: Range<usize>| field.len() <= self.limits.field_bytes_max;
        let is_within_limits = text.len() <= self.limits.row_bytes_max
            && fields_of_row(&self.dialect, &text).all(is_short);
        is_within_limits.then_some(text)
    }

    /// Reads a row of sound quotes: all that it has of the fields that are expected.
    pub(super) fn split(
        &self,
        row: usize,
        buffer: &[u8],
        range: Range<usize>,
        faults: &mut Faults,
    ) -> Irregular {
        let bytes = &buffer[range.clone()];
        self.split_text(row, range, bytes, faults)
    }

    /// Reads `bytes` as the row that is at `range`.
    fn split_text(
        &self,
        row: usize,
        range: Range<usize>,
        bytes: &[u8],
        faults: &mut Faults,
    ) -> Irregular {
        let mended = self.mended(row, bytes, faults);
        let (text, is_mended) = match mended {
            Ok(None) => (bytes.to_vec(), false),
            Ok(Some(text)) => (text, true),
            Err(Unreadable) => return Irregular::unread(row, range),
        };
        let expected = self.fields.len();
        let delimiter_bytes = self.dialect.delimiter.len();
        let mut bounds = vec![0_u32.wrapping_sub(delimiter_bytes as u32)];
        let ends = fields_of_row(&self.dialect, &text).take(expected).map(|field| field.end as u32);
        bounds.extend(ends);
        let found = bounds.len() - 1;
        let read_bytes = if found > 0 { bounds[found] as usize + delimiter_bytes } else { 0 };
        let is_long = fields_of_row(&self.dialect, &text).nth(expected).is_some();
        let keeps_surplus = is_long && self.rules.long_rows != LongRows::Ignore;
        let tells_missing = self.rules.short_rows == ShortRows::Bad;
        Irregular {
            missing: if tells_missing { expected - found } else { 0 },
            surplus: keeps_surplus.then_some(read_bytes..text.len()),
            text,
            bounds,
            is_mended,
            ..Irregular::unread(row, range)
        }
    }

    /// The text of a row with [`REPLACEMENT`] for what is none; nothing where all of it is text.
    fn mended(
        &self,
        row: usize,
        bytes: &[u8],
        faults: &mut Faults,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        let Some(kind) = text_fault(bytes) else { return Ok(None) };
        let bad_field = fields_of_row(&self.dialect, bytes)
            .enumerate()
            .find_map(|(position, field)| Some((position, text_fault(&bytes[field])?)));
        let (position, kind) = bad_field.map_or((usize::MAX, kind), |found| found);
        let column = self.fields.get(position).and_then(Target::column);
        let field = column.map(|column| FieldAt { position, column });
        let reason = text_reason(kind).to_owned();
        faults.add_fault(row, Fault { kind, reason, field });
        if !self.rules.rescue {
            return Err(Unreadable);
        }
        let mended_bytes: usize = bytes.utf8_chunks().map(|chunk| mended_bytes_of(&chunk)).sum();
        if mended_bytes > self.limits.row_bytes_max {
            faults.add_fault(row, rescue_too_long(self.limits.row_bytes_max));
            return Err(Unreadable);
        }
        let text = String::from_utf8_lossy(bytes).replace('\0', REPLACEMENT);
        Ok(Some(text.into_bytes()))
    }

    fn shape_fault(&self, shape: Shape) -> (RejectKind, String) {
        let expected = self.fields.len();
        let size = |bytes: usize| display_bytes(bytes as u64);
        match shape {
            Shape::TextAfterQuote => {
                (RejectKind::TextAfterQuote, "text after a closing quote".to_owned())
            }
            Shape::FieldCount(found) => {
                let is_short = found < expected;
                let kind =
                    if is_short { RejectKind::TooFewFields } else { RejectKind::TooManyFields };
                (kind, format!("expected {expected} fields, found {found}"))
            }
            Shape::NeverClosed => {
                (RejectKind::QuoteNeverClosed, "a quote is never closed".to_owned())
            }
            Shape::RunsOn => {
                let limit = size(self.limits.row_bytes_max);
                let reason =
                    format!("a row runs on for more than {limit}; is a quote never closed?");
                (RejectKind::QuoteNeverClosed, reason)
            }
            Shape::RowTooLong => {
                let limit = size(self.limits.row_bytes_max);
                (RejectKind::RowTooLong, format!("a row is longer than {limit}"))
            }
            Shape::FieldTooLong => {
                let limit = size(self.limits.field_bytes_max);
                (RejectKind::FieldTooLong, format!("a field is longer than {limit}"))
            }
        }
    }
}

/// A row whose bytes are not to be read.
struct Unreadable;

pub(super) fn rescue_too_long(bytes_max: usize) -> Fault {
    let limit = display_bytes(bytes_max as u64);
    let reason = format!("what is to be rescued of it is longer than {limit}");
    Fault { kind: RejectKind::RescueTooLong, reason, field: None }
}

fn mended_bytes_of(chunk: &std::str::Utf8Chunk<'_>) -> usize {
    let valid = chunk.valid();
    let nul_bytes = memchr::memchr_iter(0, valid.as_bytes()).count();
    let replaced = nul_bytes + usize::from(!chunk.invalid().is_empty());
    valid.len() - nul_bytes + replaced * REPLACEMENT.len()
}

/// Why `bytes` are not text.
pub(super) fn text_fault(bytes: &[u8]) -> Option<RejectKind> {
    if memchr::memchr(0, bytes).is_some() {
        Some(RejectKind::NulByte)
    } else if simdutf8::basic::from_utf8(bytes).is_err() {
        Some(RejectKind::BadEncoding)
    } else {
        None
    }
}

fn text_reason(kind: RejectKind) -> &'static str {
    if kind == RejectKind::NulByte { "a NUL byte" } else { "not UTF-8" }
}
