//! Bytes to batches.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::batch::{BatchBuilder, Slice};
use super::column::Rows;
use super::dialect::{BYTE_ORDER_MARK, Dialect, FieldReader, LineEnding};
use super::format::ValueFormat;
use super::irregular::{Irregular, IrregularReader, text_fault};
use super::lines::LineCounter;
use super::offsets::OffsetMap;
use super::reject::{Complaint, Faults, Reject};
use super::structure::Structure;
use crate::error::{Error, ErrorKind, Result};
use crate::memory::display_bytes;

/// Which field of a row goes where in the output.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodePlan {
    /// The output. A column that no field feeds is all null.
    pub schema: SchemaRef,
    /// Where each field of a row goes. A row should have exactly as many fields as this.
    pub fields: Vec<Target>,
    /// The column of text, in `schema`, that takes what fits into no other; none: there is none, and
    /// nothing is rescued.
    pub rescued: Option<usize>,
    /// For each column of `schema`, how its values are written; those beyond have the usual format.
    pub formats: Vec<Arc<ValueFormat>>,
    /// What is done about rows that are not as they should be.
    pub rules: RowRules,
}

/// What is done about rows that are not as they should be, but to reject them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowRules {
    /// Whether bad rows are taken all the same, as far as they can be read, and the rest goes into the
    /// plan's column of rescued values.
    pub rescue: bool,
    /// Rows with fewer fields than the plan has.
    pub short_rows: ShortRows,
    /// Rows with more fields than the plan has.
    pub long_rows: LongRows,
}

/// What becomes of a row with too few fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortRows {
    /// It is bad.
    #[default]
    Bad,
    /// The missing fields are null.
    Pad,
}

/// What becomes of a row with too many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongRows {
    /// It is bad.
    #[default]
    Bad,
    /// Those that are too many are rescued.
    Rescue,
    /// Those that are too many are left out.
    Ignore,
}

/// Where a field goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into this column of the output, which no other field goes into.
    Column(usize),
    /// Under this name into the row's rescued values, if it is not null.
    Rescued(String),
    /// Nowhere.
    Ignored,
}

impl Target {
    /// The column that the field goes into, if it has one of its own.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Column(column) => Some(*column),
            Self::Rescued(_) | Self::Ignored => None,
        }
    }
}

/// What a decoder may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a batch, rejected ones included.
    pub batch_rows: usize,
    /// A batch takes no further row once its rows, as text and as values of fixed width together,
    /// come to this. It can be exceeded by one row.
    pub batch_bytes_max: usize,
    /// A longer row, without its line end, is rejected. A footer may not be longer either.
    pub row_bytes_max: usize,
    /// A row with a longer field is rejected; never more than a row may have.
    pub field_bytes_max: usize,
    /// How many bytes are worked on at once. The buffer has at most some of these, one row, and one
    /// footer.
    pub chunk_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_rows: 8192,
            batch_bytes_max: 16 << 20,
            row_bytes_max: 16 << 20,
            field_bytes_max: 16 << 20,
            chunk_bytes: 128 << 10,
        }
    }
}

/// Some rows of the object: those that are good, and a verdict on each of the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The good rows.
    pub batch: RecordBatch,
    /// What is wrong with those of the good rows that were bad, and were rescued; in order.
    pub rescued: Vec<Complaint>,
    /// The others, in order.
    pub rejects: Vec<Reject>,
}

/// Decodes one object.
///
/// However the object's bytes are cut into slices, the same batches and rejects come out.
///
/// ```text
/// for each slice of bytes:
///     while let Some(decoded) = decoder.decode(&mut slice)? { .. }
/// while let Some(decoded) = decoder.finish()? { .. }
/// ```
pub struct Decoder {
    structure: Structure,
    reader: FieldReader,
    limits: Limits,
    irregular: IrregularReader,
    batch: BatchBuilder,

    /// Rows that were not taken yet, and a part of the next one.
    buffer: Vec<u8>,
    lines: LineCounter,
    /// How many of the structure's rows were taken.
    taken: usize,
    started: bool,
    /// Rows of the header that are still to come.
    header_rows_due: usize,
    footer_lines: u64,
    /// How many bytes at the buffer's end may be the footer.
    footer_bytes: usize,
    line_ending: LineEnding,
    ended: bool,

    /// Where in the object the batch begins.
    batch_start: u64,
}

impl Decoder {
    /// A decoder for one object.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] for a dialect or limits that cannot work;
    /// [`ErrorKind::SchemaMismatch`] for a column of a type that CSV cannot fill, or one that must
    /// not be null and that no field feeds; [`ErrorKind::Internal`] for a plan that contradicts itself.
    pub fn new(plan: DecodePlan, dialect: &Dialect, limits: Limits) -> Result<Self> {
        dialect.check()?;
        check_limits(&limits)?;
        Ok(Self {
            structure: Structure::new(dialect, plan.fields.len(), &limits),
            reader: FieldReader::new(dialect),
            limits: Limits { chunk_bytes: limits.chunk_bytes.max(BYTE_ORDER_MARK.len()), ..limits },
            irregular: IrregularReader::new(dialect, plan.rules, plan.fields.clone(), limits),
            batch: BatchBuilder::new(plan, dialect, &limits)?,
            buffer: Vec::new(),
            lines: LineCounter::new(dialect.line_ending),
            taken: 0,
            started: false,
            header_rows_due: dialect.header_rows as usize,
            footer_lines: dialect.footer_lines,
            footer_bytes: 0,
            line_ending: dialect.line_ending,
            ended: false,
            batch_start: 0,
        })
    }

    /// Gives each place as it is in the object that the text was transcoded from.
    #[must_use]
    pub fn with_offsets(mut self, offsets: Option<OffsetMap>) -> Self {
        self.lines.locate_with(offsets);
        self
    }

    /// Takes bytes off the front of `bytes` until a batch is full, or there are no more.
    ///
    /// # Errors
    /// [`ErrorKind::SourceInvalid`], with its position, for a footer that is too long, and where so
    /// many quotes make no sense that the object would have to be read over and over. The rows
    /// before it have been given.
    pub fn decode(&mut self, bytes: &mut &[u8]) -> Result<Option<Decoded>> {
        loop {
            if let Some(decoded) = self.advance()? {
                return Ok(Some(decoded));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            self.fill(bytes);
        }
    }

    /// What is left after the last byte. Call it until there is nothing.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn finish(&mut self) -> Result<Option<Decoded>> {
        self.ended = true;
        loop {
            if let Some(decoded) = self.advance()? {
                return Ok(Some(decoded));
            }
            let rows_end = self.buffer.len() - self.footer_bytes;
            if !self.structure.end(&self.buffer[..rows_end]) {
                return self.batch.finish();
            }
        }
    }

    /// What the buffer takes: at most one row and a few chunks.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Goes on with what is in the buffer: until a batch is full, or more bytes are needed.
    fn advance(&mut self) -> Result<Option<Decoded>> {
        loop {
            let unread = self.unread_bytes();
            if self.taken < self.structure.rows() {
                if self.take_rows() {
                    return self.batch.finish();
                }
            } else if self.structure.exhausted() {
                return match self.batch.finish()? {
                    Some(decoded) => Ok(Some(decoded)),
                    None => Err(self.exhausted()),
                };
            } else if unread > 0 && (self.ended || unread >= self.limits.chunk_bytes) {
                self.forget_taken_rows();
                self.skip_byte_order_mark();
                self.hold_footer_back()?;
                let rows_end = self.buffer.len() - self.footer_bytes;
                self.structure.scan(&self.buffer[..rows_end]);
            } else {
                return Ok(None);
            }
        }
    }

    /// How many bytes of the buffer are still to be scanned, as far as they are known to be no footer.
    fn unread_bytes(&self) -> usize {
        self.buffer.len() - self.footer_bytes - self.structure.scanned()
    }

    /// Finds the bytes at the buffer's end that are the footer if the object ends there.
    fn hold_footer_back(&mut self) -> Result<()> {
        if self.footer_lines == 0 {
            return Ok(());
        }
        let scanned = self.structure.scanned();
        let unread = &self.buffer[scanned..];
        let start = self.line_ending.last_lines(unread, self.footer_lines).unwrap_or_default();
        self.footer_bytes = unread.len() - start;
        if self.footer_bytes <= self.limits.row_bytes_max {
            return Ok(());
        }
        let message = format!(
            "its last {} lines can be longer than {}",
            self.footer_lines,
            display_bytes(self.limits.row_bytes_max as u64)
        );
        Err(Error::new(ErrorKind::SourceInvalid, message)
            .with_position(self.lines.position_of(&self.buffer, scanned + start))
            .with_advice("lower footer_lines, or raise line_bytes_max"))
    }

    fn fill(&mut self, bytes: &mut &[u8]) {
        self.forget_taken_rows();
        let room = self.limits.chunk_bytes.saturating_sub(self.unread_bytes()).min(bytes.len());
        let (front, rest) = bytes.split_at(room);
        let needed = self.buffer.len() + front.len();
        if needed > self.buffer.capacity() {
            let capacity_max = self.limits.row_bytes_max + 2 * self.limits.chunk_bytes;
            let capacity = needed.max((2 * self.buffer.capacity()).min(capacity_max));
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
        self.buffer.extend_from_slice(front);
        *bytes = rest;
    }

    fn forget_taken_rows(&mut self) {
        let gone = self.structure.start_of(self.structure.rows());
        if gone > 0 {
            self.lines.forget(&self.buffer, gone);
            self.buffer.drain(..gone);
            self.structure.forget_rows();
            self.taken = 0;
        }
    }

    fn skip_byte_order_mark(&mut self) {
        if !self.started {
            self.started = true;
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.structure.skip(BYTE_ORDER_MARK.len());
            }
        }
    }

    /// Takes rows into the batch, and says whether it is full.
    fn take_rows(&mut self) -> bool {
        if self.header_rows_due > 0 {
            let header_rows = self.header_rows_due.min(self.structure.rows() - self.taken);
            self.taken += header_rows;
            self.header_rows_due -= header_rows;
            return false;
        }
        let byte_of = |row: usize| self.lines.byte_of(self.structure.start_of(row));
        if self.batch.rows() == 0 {
            self.batch_start = byte_of(self.taken);
        }
        let fits = |row: usize| {
            let rows = self.batch.rows() + row - self.taken;
            let text_bytes = byte_of(row) - self.batch_start;
            let bytes = text_bytes + self.batch.bytes_beside_text(rows);
            rows == 0
                || (rows < self.limits.batch_rows && bytes < self.limits.batch_bytes_max as u64)
        };
        let at_once =
            self.structure.rows().min(self.taken.saturating_add(self.batch.rows_at_once()));
        let mut end = self.taken;
        while end < at_once && fits(end) {
            end += 1;
        }
        self.parse_rows(end);
        end < at_once
    }

    /// Parses the rows up to `end`.
    fn parse_rows(&mut self, end: usize) {
        let mut faults = Faults::new(self.batch.rules().rescue);
        let irregular = self.irregular_rows(end, &mut faults);
        let Self { structure, buffer, reader, lines, batch, .. } = self;
        let rows = rows_of(structure, buffer, reader, self.taken..end);
        let slice = Slice { rows, irregular: &irregular };
        batch.parse(&slice, faults, |start| lines.position_of(buffer, start));
        self.taken = end;
    }

    /// Reads the rows up to `end` that are misshapen, or are not text.
    fn irregular_rows(&self, end: usize, faults: &mut Faults) -> Vec<Irregular> {
        let first = self.taken;
        let mut irregular = Vec::new();
        for misshapen in self.structure.misshapen() {
            if (first..end).contains(&misshapen.row) {
                let row = misshapen.row - first;
                irregular.push(self.irregular.misshapen(row, &self.buffer, misshapen, faults));
            }
        }
        let range = self.structure.start_of(first)..self.structure.start_of(end);
        if text_fault(&self.buffer[range]).is_none() {
            return irregular;
        }
        let rows = rows_of(&self.structure, &self.buffer, &self.reader, first..end);
        let mut misshapen = irregular.iter().map(|it: &Irregular| it.row).peekable();
        let sound = (0..rows.count()).filter(|row| misshapen.next_if_eq(row).is_none());
        let not_text: Vec<usize> =
            sound.filter(|&row| text_fault(&self.buffer[rows.range(row)]).is_some()).collect();
        for row in not_text {
            irregular.push(self.irregular.split(row, &self.buffer, rows.range(row), faults));
        }
        irregular.sort_unstable_by_key(|it| it.row);
        irregular
    }

    fn exhausted(&mut self) -> Error {
        let start = self.structure.start_of(self.structure.rows());
        Error::new(
            ErrorKind::SourceInvalid,
            "too many quotes are never closed, or closed too early",
        )
        .with_position(self.lines.position_of(&self.buffer, start))
        .with_advice("check the quote and the escape, or say `quote = false`")
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("limits", &self.limits)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

/// Some of the complete rows.
fn rows_of<'a>(
    structure: &'a Structure,
    buffer: &'a [u8],
    reader: &'a FieldReader,
    rows: Range<usize>,
) -> Rows<'a> {
    let stride = structure.stride();
    let bounds = &structure.bounds()[rows.start * stride..rows.end * stride];
    Rows { buffer, bounds, stride, reader }
}

fn check_limits(limits: &Limits) -> Result<()> {
    // Positions in the buffer are of 32 bits, and so are offsets of text in a batch, signed.
    let most = [limits.batch_bytes_max, limits.row_bytes_max, 2 * limits.chunk_bytes];
    let most = most.into_iter().fold(0, usize::saturating_add);
    if limits.batch_rows == 0 || limits.chunk_bytes == 0 || i32::try_from(most).is_err() {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("these limits cannot work: {limits:?}"),
        )
        .with_advice("batch, row and chunk together must stay below 2 GiB"));
    }
    Ok(())
}
