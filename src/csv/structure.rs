//! Finding rows and fields: one pass over the bytes that notes where each field ends.
//!
//! A block of 64 bytes becomes a bit mask of the bytes that can mean something, and only those are
//! looked at. The pass looks back but never ahead, so that it can stop and go on anywhere.

use super::dialect::Dialect;

/// How many field ends are held before the pass waits for the rows to be taken.
const BOUNDS_MAX: usize = 1 << 20;

const BLOCK_BYTES: usize = 64;

/// The complete rows of a buffer, and how far the row after them has been read.
#[derive(Debug)]
pub(super) struct Structure {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    fields_per_row: usize,
    row_bytes_max: usize,

    /// For each row, the position before its first byte, then the end of each of its fields.
    bounds: Vec<u32>,
    rows: usize,
    misshapen: Vec<Misshapen>,

    scanned: usize,
    state: State,
    row_start: usize,
    field_start: usize,
    fields: usize,
    text_after_quote: bool,
    too_long: bool,
}

/// Where in a field the pass is. Positions are in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unquoted,
    /// `data` is the last byte that an escape made data.
    Quoted {
        opened: usize,
        data: usize,
    },
    /// The quote at `closed` closes the field, unless the next byte is a quote too.
    AfterQuote {
        opened: usize,
        closed: usize,
    },
}

/// A row that cannot be told apart into the expected fields. In the bounds its fields are empty.
#[derive(Debug)]
pub(super) struct Misshapen {
    pub(super) row: usize,
    /// The end of its last field, in the buffer.
    pub(super) end: usize,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    TextAfterQuote,
    FieldCount(usize),
    /// The quote at this position in the buffer is never closed.
    NeverClosed(usize),
}

impl Structure {
    pub(super) fn new(dialect: &Dialect, fields_per_row: usize, row_bytes_max: usize) -> Self {
        let mut structure = Self {
            delimiter: dialect.delimiter[0],
            quote: dialect.quote,
            escape: dialect.own_escape(),
            fields_per_row,
            row_bytes_max,
            bounds: Vec::new(),
            rows: 0,
            misshapen: Vec::new(),
            scanned: 0,
            state: State::Unquoted,
            row_start: 0,
            field_start: 0,
            fields: 0,
            text_after_quote: false,
            too_long: false,
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
    pub(super) fn bounds(&mut self) -> &mut [u32] {
        let complete = self.rows * self.stride();
        &mut self.bounds[..complete]
    }

    /// How many fields a row must have.
    pub(super) fn fields_per_row(&self) -> usize {
        self.fields_per_row
    }

    /// How many bounds a row has.
    pub(super) fn stride(&self) -> usize {
        self.fields_per_row + 1
    }

    /// Where `row` starts, be it the incomplete one after the last.
    pub(super) fn start_of(&self, row: usize) -> usize {
        self.bounds[row * self.stride()].wrapping_add(1) as usize
    }

    /// How far the buffer has been read.
    pub(super) fn scanned(&self) -> usize {
        self.scanned
    }

    /// Whether the row after the complete ones is longer than a row may be. The pass ends there.
    pub(super) fn too_long(&self) -> bool {
        self.too_long
    }

    /// The quote within which the pass is.
    pub(super) fn open_quote(&self) -> Option<usize> {
        match self.state {
            State::Quoted { opened, .. } => Some(opened),
            State::Unquoted | State::AfterQuote { .. } => None,
        }
    }

    /// Skips the first `bytes` of the buffer.
    pub(super) fn skip(&mut self, bytes: usize) {
        debug_assert!(self.scanned == 0);
        self.scanned = bytes;
        self.bounds.clear();
        self.start_row(bytes);
    }

    /// Reads on in `buffer`, whose bytes up to [`Structure::scanned`] are as before.
    pub(super) fn scan(&mut self, buffer: &[u8]) {
        while self.scanned < buffer.len() && self.bounds.len() < BOUNDS_MAX && !self.too_long {
            let rest = &buffer[self.scanned..];
            let (marks, length) = match rest.first_chunk::<BLOCK_BYTES>() {
                Some(block) => (self.marks(block), BLOCK_BYTES),
                None => {
                    let mut block = [0; BLOCK_BYTES];
                    block[..rest.len()].copy_from_slice(rest);
                    (self.marks(&block), rest.len())
                }
            };
            if self.state == State::Unquoted && !marks.quoting {
                self.scan_plain(buffer, marks.bytes);
            } else {
                self.scan_quoted(buffer, marks.bytes);
            }
            self.scanned += length;
            self.too_long |= self.scanned - self.row_start > self.row_bytes_max;
        }
    }

    /// Ends the row that the end of the input leaves within quotes.
    pub(super) fn end_within_quotes(&mut self, opened: usize, end: usize) {
        self.reject_row(end, Shape::NeverClosed(opened));
        self.rows += 1;
        self.state = State::Unquoted;
        self.start_row(self.scanned);
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
        self.scanned -= gone;
        self.row_start = 0;
        self.field_start -= gone;
        match &mut self.state {
            State::Unquoted => {}
            State::Quoted { opened, data: other } | State::AfterQuote { opened, closed: other } => {
                *opened -= gone;
                *other -= gone;
            }
        }
    }

    /// The common case: no field of this block is quoted.
    fn scan_plain(&mut self, buffer: &[u8], mut marks: u64) {
        while marks != 0 {
            let position = self.scanned + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            if buffer[position] == b'\n' {
                self.end_row(buffer, position);
            } else {
                self.end_field(position);
            }
        }
    }

    fn scan_quoted(&mut self, buffer: &[u8], mut marks: u64) {
        while marks != 0 {
            let position = self.scanned + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            let byte = buffer[position];
            match self.state {
                State::Unquoted => self.unquoted(buffer, position),
                State::Quoted { data, .. } if position == data => {}
                State::Quoted { opened, .. } if Some(byte) == self.quote => {
                    self.state = State::AfterQuote { opened, closed: position };
                }
                State::Quoted { opened, .. } if Some(byte) == self.escape => {
                    self.state = State::Quoted { opened, data: position + 1 };
                }
                State::Quoted { .. } => {}
                State::AfterQuote { opened, closed } => {
                    let doubled = Some(byte) == self.quote && position == closed + 1;
                    if doubled && self.escape.is_none() {
                        self.state = State::Quoted { opened, data: position };
                    } else {
                        let after = &buffer[closed + 1..=position];
                        let closes =
                            after == [self.delimiter] || after == b"\n" || after == b"\r\n";
                        self.text_after_quote |= !closes;
                        self.state = State::Unquoted;
                        self.unquoted(buffer, position);
                    }
                }
            }
        }
    }

    fn unquoted(&mut self, buffer: &[u8], position: usize) {
        let byte = buffer[position];
        if byte == b'\n' {
            self.end_row(buffer, position);
        } else if byte == self.delimiter {
            self.end_field(position);
        } else if Some(byte) == self.quote && position == self.field_start {
            self.state = State::Quoted { opened: position, data: position };
        }
    }

    #[inline]
    fn end_field(&mut self, end: usize) {
        // A row of nothing but delimiters must not fill the memory with bounds.
        if self.fields < self.fields_per_row {
            self.bounds.push(end as u32);
        }
        self.fields += 1;
        self.field_start = end + 1;
    }

    fn end_row(&mut self, buffer: &[u8], line_end: usize) {
        if self.too_long || line_end - self.row_start > self.row_bytes_max {
            self.too_long = true;
            return;
        }
        let crlf = line_end > self.field_start && buffer[line_end - 1] == b'\r';
        let end = line_end - usize::from(crlf);
        if end == self.row_start {
            self.bounds.pop();
        } else {
            self.end_field(end);
            if self.text_after_quote {
                self.reject_row(end, Shape::TextAfterQuote);
            } else if self.fields != self.fields_per_row {
                self.reject_row(end, Shape::FieldCount(self.fields));
            }
            self.rows += 1;
        }
        self.start_row(line_end + 1);
    }

    fn start_row(&mut self, start: usize) {
        self.bounds.push((start as u32).wrapping_sub(1));
        self.row_start = start;
        self.field_start = start;
        self.fields = 0;
        self.text_after_quote = false;
    }

    fn reject_row(&mut self, end: usize, shape: Shape) {
        self.misshapen.push(Misshapen { row: self.rows, end, shape });
        let stride = self.stride();
        self.bounds.truncate(self.rows * stride + 1);
        self.bounds.resize((self.rows + 1) * stride, 0);
    }

    #[inline(always)]
    fn marks(&self, block: &[u8; BLOCK_BYTES]) -> Marks {
        let mut bytes = 0;
        let mut quoting = 0;
        let quote = self.quote.unwrap_or(b'\n');
        let escape = self.escape.unwrap_or(b'\n');
        for (i, word) in block.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            let ends = equal_bytes(word, self.delimiter) | equal_bytes(word, b'\n');
            let quotes = equal_bytes(word, quote);
            let escapes = equal_bytes(word, escape);
            quoting |= (quotes | escapes) & !ends;
            bytes |= gather(ends | quotes | escapes) << (8 * i);
        }
        Marks { bytes, quoting: quoting != 0 }
    }
}

/// What a block holds.
struct Marks {
    /// A bit for each byte that can mean something.
    bytes: u64,
    /// Whether there is a quote or an escape among them.
    quoting: bool,
}

const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;

/// The high bit of each byte of `word` that equals `byte`; exact, without carries between bytes.
#[inline]
pub(super) fn equal_bytes(word: u64, byte: u8) -> u64 {
    let difference = word ^ (u64::from(byte) * 0x0101_0101_0101_0101);
    !(((difference & LOW_BITS) + LOW_BITS) | difference | LOW_BITS)
}

/// The high bits of the eight bytes as the low eight bits, first byte first.
#[inline]
fn gather(high_bits: u64) -> u64 {
    (high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_exact() {
        for value in 0..=255_u8 {
            let word = u64::from_le_bytes([value, b',', 0, 255, b',' ^ 0x80, value, b'-', b',']);
            let expected = if value == b',' { 0b1010_0011 } else { 0b1000_0010 };
            assert_eq!(gather(equal_bytes(word, b',')), expected, "{value}");
        }
    }

    fn rows(dialect: &Dialect, text: &str, fields: usize) -> Vec<Result<Vec<String>, Shape>> {
        let mut structure = Structure::new(dialect, fields, 1 << 20);
        structure.scan(text.as_bytes());
        let stride = structure.stride();
        let mut rows: Vec<_> = structure
            .bounds()
            .chunks(stride)
            .map(|row| {
                let field = |pair: &[u32]| {
                    let range = pair[0].wrapping_add(1) as usize..pair[1] as usize;
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
        assert_eq!(split("\"a\"x,\"b\n\"\nc,d\n"), [Err(Shape::TextAfterQuote), row("c", "d")]);
        assert_eq!(split("\"a\"\rx,b\nc,d\n"), [Err(Shape::TextAfterQuote), row("c", "d")]);
    }

    #[test]
    fn an_escape_works_within_quotes_only() {
        let dialect = Dialect { escape: Some(b'\\'), ..Dialect::default() };
        let split = |text: &str| rows(&dialect, text, 1);
        assert_eq!(
            split("\"a\\\"b\\\\\"\na\\\n"),
            [Ok(vec!["\"a\\\"b\\\\\"".into()]), Ok(vec!["a\\".into()])]
        );
        assert_eq!(split("\"a\"\"b\"\n"), [Err(Shape::TextAfterQuote)]);
    }
}
