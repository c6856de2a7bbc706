//! Finding rows and fields: one pass over the bytes that notes where each field ends.
//!
//! Only the bytes that can mean something, which [`super::marks`] finds, are looked at. The pass looks
//! back but never ahead, so that it can stop and go on anywhere: of what several bytes mean together,
//! such as a delimiter or CRLF, it is the last one that is marked.
//!
//! A row whose quotes make no sense is its first line only, so that a stray quote doesn't swallow the
//! rows after it. If the pass has gone further by then, it goes back to the line after.

use super::decode::Limits;
use super::dialect::{Dialect, LineEnding};
use super::marks::{BLOCK_BYTES, Marker};

/// How many field ends are held before the pass waits for the rows to be taken.
const BOUNDS_MAX: usize = 1 << 20;

/// How many bytes may be read again, for each byte that was passed and for each that a row may have.
const RESYNC_BYTES_PER_BYTE_MAX: u64 = 8;

/// The complete rows of a buffer, and how far the row after them has been read.
#[derive(Debug)]
pub(super) struct Structure {
    marker: Marker,
    delimiter: Vec<u8>,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<u8>,
    line_ending: LineEnding,
    trailing_delimiter: bool,
    /// One byte delimits fields, LF ends rows, and no line is a comment.
    plain: bool,
    fields_per_row: usize,
    row_bytes_max: usize,
    field_bytes_max: usize,

    /// For each row, the position of a delimiter that would end right before it, then the end of
    /// each of its fields.
    bounds: Vec<u32>,
    rows: usize,
    misshapen: Vec<Misshapen>,

    /// How many bytes came before the buffer.
    forgotten: u64,
    scanned: usize,
    state: State,
    row_start: usize,
    field_start: usize,
    fields: usize,
    /// The last byte that an escape made data.
    escaped: Option<usize>,
    /// The row starts right after a CR that ended a line. An LF there belongs to it.
    after_cr: bool,
    /// Lines that are still to be skipped.
    skip_lines: u64,
    resync_bytes: u64,
    exhausted: bool,
}

/// Where in a row the pass is. Positions are in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unquoted,
    Quoted,
    /// The quote at `closed` closes the field, unless the next byte is a quote too.
    AfterQuote {
        closed: usize,
    },
    /// There was text after a closing quote. Only the line's end means anything.
    Malformed,
    /// In a line that is no row: a skipped one, a comment, or the rest of one too long.
    NoRow,
}

/// What comes after a closing quote.
enum After {
    /// A delimiter, or a line end.
    End,
    PartOfDelimiter,
    Text,
}

/// A row that cannot be told apart into the expected fields. In the bounds its fields are empty.
#[derive(Debug)]
pub(super) struct Misshapen {
    pub(super) row: usize,
    /// Where it is in the buffer, without its line end.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    TextAfterQuote,
    /// It has so many fields.
    FieldCount(usize),
    NeverClosed,
    /// The row has further lines, and together they are longer than a row may be.
    RunsOn,
    /// The row is one line, and this is as much of it as a row may have.
    RowTooLong,
    FieldTooLong,
}

impl Structure {
    pub(super) fn new(dialect: &Dialect, fields_per_row: usize, limits: &Limits) -> Self {
        let skips = dialect.skip_lines > 0;
        let mut structure = Self {
            marker: Marker::new(dialect),
            delimiter: dialect.delimiter.clone(),
            quote: dialect.quote,
            escape: dialect.own_escape(),
            comment: dialect.comment,
            line_ending: dialect.line_ending,
            trailing_delimiter: dialect.trailing_delimiter,
            plain: dialect.delimiter.len() == 1
                && dialect.line_ending == LineEnding::Lf
                && dialect.comment.is_none(),
            fields_per_row,
            row_bytes_max: limits.row_bytes_max,
            field_bytes_max: limits.field_bytes_max,
            bounds: Vec::new(),
            rows: 0,
            misshapen: Vec::new(),
            forgotten: 0,
            scanned: 0,
            state: if skips { State::NoRow } else { State::Unquoted },
            row_start: 0,
            field_start: 0,
            fields: 0,
            escaped: None,
            after_cr: false,
            skip_lines: dialect.skip_lines,
            resync_bytes: 0,
            exhausted: false,
        };
        structure.start_row(0);
        structure
    }

    /// How many complete rows there are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The misshapen ones among them, in order.
    pub(super) fn misshapen(&self) -> &[Misshapen] {
        &self.misshapen
    }

    /// The bounds of all complete rows: see [`super::column::Rows`].
    pub(super) fn bounds(&self) -> &[u32] {
        let complete = self.rows * self.stride();
        &self.bounds[..complete]
    }

    /// How many bounds a row has.
    pub(super) fn stride(&self) -> usize {
        self.fields_per_row + 1
    }

    /// Where `row` starts, be it the incomplete one after the last.
    pub(super) fn start_of(&self, row: usize) -> usize {
        self.bounds[row * self.stride()].wrapping_add(self.delimiter.len() as u32) as usize
    }

    /// How far the buffer has been read.
    pub(super) fn scanned(&self) -> usize {
        self.scanned
    }

    /// Whether the next byte is in an unquoted field, and no escape makes it data, or the one after it.
    fn is_plain(&self) -> bool {
        let escaped = self.escaped.is_some_and(|escaped| escaped + 1 >= self.scanned);
        self.plain && self.state == State::Unquoted && !escaped
    }

    /// Whether so many rows made no sense that reading again would take too long. The pass ends there.
    pub(super) fn exhausted(&self) -> bool {
        self.exhausted
    }

    /// Skips the first `bytes` of the buffer.
    pub(super) fn skip(&mut self, bytes: usize) {
        debug_assert!(self.scanned == 0);
        self.scanned = bytes;
        self.restart_row(bytes);
    }

    /// Reads on in `buffer`, whose bytes up to [`Structure::scanned`] are as before.
    pub(super) fn scan(&mut self, buffer: &[u8]) {
        while self.scanned < buffer.len() && self.bounds.len() < BOUNDS_MAX && !self.exhausted {
            let rest = &buffer[self.scanned..];
            let (marks, length) = match rest.first_chunk::<BLOCK_BYTES>() {
                Some(block) => (self.marker.marks(block), BLOCK_BYTES),
                None => {
                    let mut block = [0; BLOCK_BYTES];
                    block[..rest.len()].copy_from_slice(rest);
                    (self.marker.marks(&block), rest.len())
                }
            };
            let to_its_end = if !marks.quoting && self.is_plain() {
                self.scan_plain(buffer, marks.bytes)
            } else if self.plain && self.escape.is_none() {
                self.scan_any::<true>(buffer, marks.bytes)
            } else {
                self.scan_any::<false>(buffer, marks.bytes)
            };
            if to_its_end {
                self.scanned += length;
                if self.scanned - self.row_start > self.row_bytes_max {
                    self.outgrow(buffer, self.scanned);
                }
            }
        }
    }

    /// Ends the row that the input's end leaves open, once all of `buffer` is scanned. Says whether
    /// there may be a row more, or more to scan.
    pub(super) fn end(&mut self, buffer: &[u8]) -> bool {
        let end = buffer.len();
        if self.row_start >= end {
            return false;
        }
        if self.state == State::NoRow || self.is_comment(buffer) {
            self.restart_row(end);
            return false;
        }
        let cr = self.line_ending.drops_cr() && buffer[self.field_start..].ends_with(b"\r");
        let line_end = end - usize::from(cr);
        let text_end = if self.escaped == Some(line_end) { end } else { line_end };
        match self.state {
            State::Quoted => {
                if !self.go_back(buffer, end, Shape::NeverClosed) {
                    self.reject_row(line_end, Shape::NeverClosed);
                    self.start_row(end);
                }
                return true;
            }
            State::AfterQuote { closed } if closed + 1 < text_end => {
                if self.go_back(buffer, end, Shape::TextAfterQuote) {
                    return true;
                }
                self.state = State::Malformed;
            }
            State::AfterQuote { .. } => self.state = State::Unquoted,
            State::Unquoted | State::Malformed | State::NoRow => {}
        }
        self.finish_row(text_end);
        self.start_row(end);
        true
    }

    /// Forgets the complete rows: the buffer now begins with the incomplete one.
    pub(super) fn forget_rows(&mut self) {
        let gone = self.row_start;
        self.bounds.drain(..self.rows * (self.fields_per_row + 1));
        for bound in &mut self.bounds {
            *bound = bound.wrapping_sub(gone as u32);
        }
        self.rows = 0;
        self.misshapen.clear();
        self.forgotten += gone as u64;
        self.scanned -= gone;
        self.row_start = 0;
        self.field_start -= gone;
        self.escaped = self.escaped.and_then(|position| position.checked_sub(gone));
        if let State::AfterQuote { closed } = &mut self.state {
            *closed -= gone;
        }
    }

    /// The common case: no field of this block is quoted, and the dialect is plain. Like
    /// [`Self::scan_any`], it gives false where the pass goes on elsewhere than after the block.
    fn scan_plain(&mut self, buffer: &[u8], mut marks: u64) -> bool {
        while marks != 0 {
            let position = self.scanned + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            if buffer[position] != b'\n' {
                self.end_field(position, position + 1);
            } else if !self.end_row(buffer, position) {
                return false;
            }
        }
        true
    }

    /// What is only in dialects that are not plain, or have an escape, is compiled for those alone.
    fn scan_any<const PLAIN: bool>(&mut self, buffer: &[u8], mut marks: u64) -> bool {
        while marks != 0 {
            let position = self.scanned + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            if !PLAIN {
                let ends_crlf = std::mem::take(&mut self.after_cr) && position == self.row_start;
                if ends_crlf && buffer[position] == b'\n' {
                    self.restart_row(position + 1);
                    continue;
                }
                if self.fields == 0 && self.state == State::Unquoted && self.is_comment(buffer) {
                    self.state = State::NoRow;
                }
            }
            if self.state != State::NoRow && position - self.row_start > self.row_bytes_max {
                self.outgrow(buffer, position);
                return false;
            }
            if !self.step::<PLAIN>(buffer, position) {
                return false;
            }
        }
        true
    }

    /// Takes the marked byte at `position` into account.
    #[inline]
    fn step<const PLAIN: bool>(&mut self, buffer: &[u8], position: usize) -> bool {
        let byte = buffer[position];
        match self.state {
            State::Unquoted => self.unquoted::<PLAIN>(buffer, position),
            State::Quoted if !PLAIN && self.escaped == Some(position) => true,
            State::Quoted => {
                if Some(byte) == self.quote {
                    self.state = State::AfterQuote { closed: position };
                } else if !PLAIN && Some(byte) == self.escape {
                    self.escaped = Some(position + 1);
                }
                true
            }
            State::AfterQuote { closed } if position == closed + 1 && Some(byte) == self.quote => {
                self.state = State::Quoted;
                true
            }
            State::AfterQuote { closed } if PLAIN && position == closed + 1 => {
                self.state = State::Unquoted;
                self.unquoted::<PLAIN>(buffer, position)
            }
            State::AfterQuote { closed } => match self.after_quote(buffer, closed, position) {
                After::End => {
                    self.state = State::Unquoted;
                    self.unquoted::<PLAIN>(buffer, position)
                }
                After::PartOfDelimiter => true,
                After::Text => {
                    !self.go_back(buffer, position, Shape::TextAfterQuote) && {
                        self.state = State::Malformed;
                        self.step::<PLAIN>(buffer, position)
                    }
                }
            },
            State::Malformed => {
                !self.line_ending.ends_at(buffer, position) || self.end_line(buffer, position)
            }
            State::NoRow => {
                if self.line_ending.ends_at(buffer, position) {
                    self.skip_lines = self.skip_lines.saturating_sub(1);
                    if self.skip_lines == 0 {
                        self.state = State::Unquoted;
                    }
                    self.restart_row(position + 1);
                    self.note_cr(buffer, position);
                }
                true
            }
        }
    }

    #[inline]
    fn unquoted<const PLAIN: bool>(&mut self, buffer: &[u8], position: usize) -> bool {
        let byte = buffer[position];
        if !PLAIN && self.escaped.is_some_and(|escaped| covers(buffer, escaped, position)) {
            return true;
        }
        if PLAIN && byte == b'\n' {
            return self.end_row(buffer, position);
        }
        if !PLAIN && self.line_ending.ends_at(buffer, position) {
            return self.end_line(buffer, position);
        }
        if Some(byte) == self.quote {
            if position == self.field_start {
                self.state = State::Quoted;
            }
        } else if PLAIN {
            self.end_field(position, position + 1);
        } else if Some(byte) == self.escape {
            self.escaped = Some(position + 1);
        } else if let Some(start) = self.delimiter_before(buffer, position + 1) {
            self.end_field(start, position + 1);
        }
        true
    }

    /// Where the delimiter starts that ends before `next`.
    fn delimiter_before(&self, buffer: &[u8], next: usize) -> Option<usize> {
        let start = next.checked_sub(self.delimiter.len())?;
        let whole = start >= self.field_start && buffer[start..next] == self.delimiter;
        (whole && self.escaped.is_none_or(|escaped| escaped < start)).then_some(start)
    }

    /// What is between the quote at `closed`, which closes a field, and the end of `position`.
    fn after_quote(&self, buffer: &[u8], closed: usize, position: usize) -> After {
        let after = &buffer[closed + 1..=position];
        let ends_line = match after {
            b"\n" | b"\r" => self.line_ending.ends_at(buffer, position),
            b"\r\n" => self.line_ending.drops_cr(),
            _ => false,
        };
        if ends_line || after == self.delimiter {
            After::End
        } else if self.delimiter.starts_with(after) {
            After::PartOfDelimiter
        } else {
            After::Text
        }
    }

    #[inline]
    fn end_field(&mut self, end: usize, next: usize) {
        // A row of nothing but delimiters must not fill the memory with bounds.
        if self.fields < self.fields_per_row {
            self.bounds.push(end as u32);
        }
        self.fields += 1;
        self.field_start = next;
    }

    fn end_line(&mut self, buffer: &[u8], line_end: usize) -> bool {
        let ended = self.end_row(buffer, line_end);
        self.note_cr(buffer, line_end);
        ended
    }

    fn note_cr(&mut self, buffer: &[u8], line_end: usize) {
        self.after_cr = self.line_ending == LineEnding::Mixed && buffer[line_end] == b'\r';
    }

    #[inline]
    fn end_row(&mut self, buffer: &[u8], line_end: usize) -> bool {
        if line_end - self.row_start > self.row_bytes_max {
            self.outgrow(buffer, line_end);
            return false;
        }
        let cr = self.line_ending.drops_cr()
            && line_end > self.field_start
            && buffer[line_end - 1] == b'\r';
        self.finish_row(line_end - usize::from(cr));
        self.start_row(line_end + 1);
        true
    }

    /// Completes the row whose last field ends at `end`, unless it is an empty line.
    fn finish_row(&mut self, end: usize) {
        if end == self.row_start {
            self.bounds.pop();
            return;
        }
        if !self.trailing_delimiter || end > self.field_start || self.fields == 0 {
            self.end_field(end, end);
        }
        if self.state == State::Malformed {
            self.reject_row(end, Shape::TextAfterQuote);
        } else if end - self.row_start > self.field_bytes_max && self.has_long_field() {
            self.reject_row(end, Shape::FieldTooLong);
        } else if self.fields != self.fields_per_row {
            self.reject_row(end, Shape::FieldCount(self.fields));
        } else {
            self.rows += 1;
        }
    }

    fn has_long_field(&self) -> bool {
        let gap = self.delimiter.len() as u32;
        self.bounds[self.rows * self.stride()..].windows(2).any(|pair| {
            pair[1].wrapping_sub(pair[0].wrapping_add(gap)) as usize > self.field_bytes_max
        })
    }

    fn start_row(&mut self, start: usize) {
        self.bounds.push((start as u32).wrapping_sub(self.delimiter.len() as u32));
        self.row_start = start;
        self.field_start = start;
        self.fields = 0;
    }

    /// Lets the incomplete row start at `start`.
    fn restart_row(&mut self, start: usize) {
        self.bounds.truncate(self.rows * self.stride());
        self.start_row(start);
    }

    /// Completes the row, which ends at `end`, as a misshapen one.
    #[cold]
    fn reject_row(&mut self, end: usize, shape: Shape) {
        self.misshapen.push(Misshapen { row: self.rows, start: self.row_start, end, shape });
        let stride = self.stride();
        self.bounds.truncate(self.rows * stride + 1);
        self.rows += 1;
        self.bounds.resize(self.rows * stride, 0);
        self.state = State::Unquoted;
    }

    fn is_comment(&self, buffer: &[u8]) -> bool {
        self.comment.is_some() && buffer.get(self.row_start) == self.comment.as_ref()
    }

    /// Deals with a line that has reached `position`, which is more than a row may have.
    #[cold]
    fn outgrow(&mut self, buffer: &[u8], position: usize) {
        if self.state == State::NoRow || self.is_comment(buffer) {
            // Of such a line, nothing is needed but a CR that an LF may follow.
            self.state = State::NoRow;
            self.scanned = position;
            self.restart_row(position - 1);
            return;
        }
        let end = self.row_start + self.row_bytes_max;
        if !self.go_back(buffer, end + 1, Shape::RunsOn) {
            self.reject_row(end, Shape::RowTooLong);
            self.state = State::NoRow;
            self.scanned = end;
            self.start_row(end);
        }
    }

    /// Rejects the first line of a row that makes no sense, as the pass knows at `position`, and has
    /// it go back to the next line; unless the row is of one line so far.
    #[cold]
    fn go_back(&mut self, buffer: &[u8], position: usize, shape: Shape) -> bool {
        let row = &buffer[self.row_start..position];
        let Some(line_end) = self.line_ending.first_end(row) else {
            return false;
        };
        let cr = self.line_ending.drops_cr() && row[..line_end].ends_with(b"\r");
        let end = self.row_start + line_end - usize::from(cr);
        let next = self.row_start + line_end + 1;
        self.reject_row(end, shape);
        self.note_cr(buffer, next - 1);
        self.escaped = None;
        self.scanned = next;
        self.start_row(next);
        self.resync_bytes += (position - next) as u64;
        let passed = (self.forgotten + next as u64).saturating_add(self.row_bytes_max as u64);
        self.exhausted = self.resync_bytes > passed.saturating_mul(RESYNC_BYTES_PER_BYTE_MAX);
        true
    }
}

/// Whether an escape before the byte at `escaped` makes the one at `position` data: the byte itself,
/// and an LF after it if it is a CR.
fn covers(buffer: &[u8], escaped: usize, position: usize) -> bool {
    escaped == position || (escaped + 1 == position && buffer[escaped..=position] == *b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(dialect: &Dialect, text: &str, fields: usize) -> Vec<Result<Vec<String>, Shape>> {
        let mut structure = Structure::new(dialect, fields, &Limits::default());
        structure.scan(text.as_bytes());
        let stride = structure.stride();
        let mut rows: Vec<_> = structure
            .bounds()
            .chunks(stride)
            .map(|row| {
                let field = |pair: &[u32]| {
                    let start = pair[0].wrapping_add(dialect.delimiter.len() as u32);
                    let range = start as usize..pair[1] as usize;
                    text.get(range).unwrap_or("").to_owned()
                };
                Ok(row.windows(2).map(field).collect())
            })
            .collect();
        for misshapen in structure.misshapen() {
            rows[misshapen.row] = Err(misshapen.shape);
        }
        rows
    }

    #[test]
    fn shapes() {
        let split = |text: &str| rows(&Dialect::default(), text, 2);
        let row = |a: &str, b: &str| Ok(vec![a.to_owned(), b.to_owned()]);
        assert_eq!(split("a,b\r\n\n\r\nc,d\n,\n"), [row("a", "b"), row("c", "d"), row("", "")]);
        assert_eq!(split("\"a,\n\"\"x\",\"\"\r\n"), [row("\"a,\n\"\"x\"", "\"\"")]);
        assert_eq!(split("a\"b,c\rd\n"), [row("a\"b", "c\rd")]);
        assert_eq!(split("a\nb,c\n"), [Err(Shape::FieldCount(1)), row("b", "c")]);
        assert_eq!(split("a,b,c,\nb,c\n"), [Err(Shape::FieldCount(4)), row("b", "c")]);
        assert_eq!(split("\"a\"x,\"b\nc,d\n"), [Err(Shape::TextAfterQuote), row("c", "d")]);
        assert_eq!(split("\"a\n\"x,b\nc,d\n")[0], Err(Shape::TextAfterQuote));
        assert_eq!(split("\"a\"\rx,b\nc,d\n"), [Err(Shape::TextAfterQuote), row("c", "d")]);
    }

    #[test]
    fn an_escape_makes_the_next_byte_data() {
        let dialect = Dialect { escape: Some(b'\\'), ..Dialect::default() };
        let split = |text: &str| rows(&dialect, text, 1);
        let row = |field: &str| Ok(vec![field.to_owned()]);
        assert_eq!(
            split("\"a\\\"b\\\\\"\n\"a\"\"b\"\n"),
            [row("\"a\\\"b\\\\\""), row("\"a\"\"b\"")]
        );
        assert_eq!(
            split("a\\,b\\\\\n\\\"\nc\\\r\nd\n"),
            [row("a\\,b\\\\"), row("\\\""), row("c\\\r\nd")]
        );
    }

    #[test]
    fn delimiters_of_several_bytes_are_found_leftmost_first() {
        let dialect = Dialect { delimiter: b"||".to_vec(), ..Dialect::default() };
        let row = |a: &str, b: &str| Ok(vec![a.to_owned(), b.to_owned()]);
        let split = |text: &str| rows(&dialect, text, 2);
        assert_eq!(split("a|||b\n\"a||\"||b|\n"), [row("a", "|b"), row("\"a||\"", "b|")]);
        assert_eq!(split("\"a\"|b||c\n"), [Err(Shape::TextAfterQuote)]);
    }
}
