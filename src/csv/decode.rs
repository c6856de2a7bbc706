//! Bytes to batches.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;

use super::column::{Absent, Column, Rows, column_for};
use super::dialect::{BYTE_ORDER_MARK, Dialect, FieldReader, LineEnding};
use super::format::ValueFormat;
use super::lines::LineCounter;
use super::reject::{Fault, Faults, Reject, raw};
use super::structure::{Misshapen, Shape, Structure};
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
    schema: SchemaRef,
    /// For each field that is wanted, in order: its position, and its column.
    wanted: Vec<(usize, usize)>,
    columns: Vec<Box<dyn Column>>,
    /// What the values of fixed width of one row take.
    row_width_bytes: usize,

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

    batch_rows: usize,
    batch_start: u64,
    rejected_rows: Vec<usize>,
    rejects: Vec<Reject>,
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
        let wanted = wanted_fields(&plan)?;
        let columns = columns_of(&plan, &wanted, dialect)?;
        let widths = plan.schema.fields().iter().map(|f| f.data_type().primitive_width());
        Ok(Self {
            structure: Structure::new(dialect, plan.fields.len(), &limits),
            reader: FieldReader::new(dialect),
            limits: Limits { chunk_bytes: limits.chunk_bytes.max(BYTE_ORDER_MARK.len()), ..limits },
            // Text has an offset of four bytes.
            row_width_bytes: widths.map(|width| width.unwrap_or(4)).sum(),
            schema: plan.schema,
            wanted,
            columns,
            buffer: Vec::new(),
            lines: LineCounter::new(dialect.line_ending),
            taken: 0,
            started: false,
            header_rows_due: dialect.header_rows as usize,
            footer_lines: dialect.footer_lines,
            footer_bytes: 0,
            line_ending: dialect.line_ending,
            ended: false,
            batch_rows: 0,
            batch_start: 0,
            rejected_rows: Vec::new(),
            rejects: Vec::new(),
        })
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
                return self.emit();
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
                    return self.emit();
                }
            } else if self.structure.exhausted() {
                return match self.emit()? {
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
        if self.batch_rows == 0 {
            self.batch_start = byte_of(self.taken);
        }
        let fits = |row: usize| {
            let rows = self.batch_rows + row - self.taken;
            let text_bytes = byte_of(row) - self.batch_start;
            let bytes = text_bytes + (rows * self.row_width_bytes) as u64;
            rows == 0
                || (rows < self.limits.batch_rows && bytes < self.limits.batch_bytes_max as u64)
        };
        let mut end = self.taken;
        while end < self.structure.rows() && fits(end) {
            end += 1;
        }
        let full = end < self.structure.rows();
        self.parse_rows(end);
        full
    }

    /// Parses the rows up to `end`, column by column.
    fn parse_rows(&mut self, end: usize) {
        let first = self.taken;
        let mut faults = Faults::default();
        for misshapen in self.structure.misshapen() {
            if (first..end).contains(&misshapen.row) {
                let expected = self.structure.fields_per_row();
                faults
                    .add(misshapen.row - first, || shape_fault(misshapen, expected, &self.limits));
            }
        }
        self.find_bad_text(end, &mut faults);
        let stride = self.structure.stride();
        let bounds = &self.structure.bounds()[first * stride..end * stride];
        let rows = Rows { buffer: &self.buffer, bounds, stride, reader: &self.reader };
        for &(position, column) in &self.wanted {
            self.columns[column].parse(rows, position, &mut faults);
        }
        for (row, fault) in faults.into_rows() {
            self.rejected_rows.push(self.batch_rows + row);
            let mut position = self.lines.position_of(&self.buffer, fault.start);
            position.column = fault.column;
            let raw = raw(&self.buffer[fault.start..fault.end]);
            self.rejects.push(Reject { position, reason: fault.reason, raw });
        }
        self.batch_rows += end - first;
        self.taken = end;
    }

    /// Finds the rows up to `end` that are not text, and leaves no byte of them to the columns.
    fn find_bad_text(&mut self, end: usize, faults: &mut Faults) {
        let (first, stride) = (self.taken, self.structure.stride());
        let range = self.structure.start_of(first)..self.structure.start_of(end);
        if text_fault(&self.buffer[range]).is_none() {
            return;
        }
        for row in first..end {
            let bounds = &mut self.structure.bounds()[row * stride..][..stride];
            let rows = Rows { buffer: &self.buffer, bounds, stride, reader: &self.reader };
            let bad = (0..stride - 1).find_map(|position| {
                let reason = text_fault(rows.field(0, position))?;
                Some((position, reason))
            });
            let Some((position, reason)) = bad else {
                continue;
            };
            let (start, end) = rows.range(0);
            let wanted = self.wanted.iter().find(|(field, _)| *field == position);
            let column = wanted.map(|(_, column)| self.schema.field(*column).name().clone());
            let reason = reason.to_owned();
            faults.add(row - first, || Fault { reason, column, start, end });
            bounds[1..].fill(0);
        }
    }

    /// The batch as far as it is filled; nothing where it has no row.
    fn emit(&mut self) -> Result<Option<Decoded>> {
        if self.batch_rows == 0 {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.batch_rows);
        let rejected_rows = std::mem::take(&mut self.rejected_rows);
        let batch = self.finish_batch(rows, &rejected_rows).map_err(|error| {
            Error::new(ErrorKind::Internal, "decoded columns do not make a batch").with_cause(error)
        })?;
        Ok(Some(Decoded { batch, rejects: std::mem::take(&mut self.rejects) }))
    }

    fn finish_batch(&mut self, rows: usize, rejected: &[usize]) -> Result<RecordBatch, ArrowError> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            arrays.push(column.finish(rows)?);
        }
        if !rejected.is_empty() {
            let mut kept = vec![true; rows];
            for row in rejected {
                kept[*row] = false;
            }
            let kept = BooleanArray::from(kept);
            for array in &mut arrays {
                *array = filter(array, &kept)?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows - rejected.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
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
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

fn shape_fault(misshapen: &Misshapen, expected: usize, limits: &Limits) -> Fault {
    let longer = |what: &str, bytes: usize| {
        format!("a {what} is longer than {}", display_bytes(bytes as u64))
    };
    let reason = match misshapen.shape {
        Shape::TextAfterQuote => "text after a closing quote".to_owned(),
        Shape::FieldCount(found) => format!("expected {expected} fields, found {found}"),
        Shape::NeverClosed => "a quote is never closed".to_owned(),
        Shape::RunsOn => format!(
            "a row runs on for more than {}; is a quote never closed?",
            display_bytes(limits.row_bytes_max as u64)
        ),
        Shape::RowTooLong => longer("row", limits.row_bytes_max),
        Shape::FieldTooLong => longer("field", limits.field_bytes_max),
    };
    let (start, end) = (misshapen.start, misshapen.end);
    Fault { reason, column: None, start, end }
}

/// Why `bytes` are not text.
fn text_fault(bytes: &[u8]) -> Option<&'static str> {
    if memchr::memchr(0, bytes).is_some() {
        Some("a NUL byte")
    } else if simdutf8::basic::from_utf8(bytes).is_err() {
        Some("not UTF-8")
    } else {
        None
    }
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

fn wanted_fields(plan: &DecodePlan) -> Result<Vec<(usize, usize)>> {
    let mut wanted: Vec<(usize, usize)> = Vec::new();
    for (position, target) in plan.fields.iter().enumerate() {
        let Some(column) = target.column() else { continue };
        let fed = wanted.iter().any(|(_, other)| *other == column);
        if fed || column >= plan.schema.fields().len() {
            let message = format!("field {position} cannot feed column {column}");
            return Err(Error::new(ErrorKind::Internal, message));
        }
        wanted.push((position, column));
    }
    Ok(wanted)
}

fn columns_of(
    plan: &DecodePlan,
    wanted: &[(usize, usize)],
    dialect: &Dialect,
) -> Result<Vec<Box<dyn Column>>> {
    let usual = Arc::default();
    let column_of = |(index, field): (usize, &FieldRef)| {
        if wanted.iter().any(|(_, column)| *column == index) {
            let format = plan.formats.get(index).unwrap_or(&usual);
            column_for(field, format, dialect).ok_or_else(|| {
                let (name, data_type) = (field.name(), field.data_type());
                let message = format!("column {name:?} is {data_type}, which CSV cannot fill");
                Error::new(ErrorKind::SchemaMismatch, message)
            })
        } else if field.is_nullable() {
            Ok(Box::new(Absent(field.data_type().clone())) as Box<dyn Column>)
        } else {
            let message =
                format!("no field feeds column {:?}, which must not be null", field.name());
            Err(Error::new(ErrorKind::SchemaMismatch, message))
        }
    };
    plan.schema.fields().iter().enumerate().map(column_of).collect()
}
