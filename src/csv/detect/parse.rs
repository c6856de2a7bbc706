//! A sample told apart into rows and fields, as one candidate dialect would have it.
//!
//! It means what [`super::super::structure`] means, on bytes that are all there: what it makes of a
//! stray quote costs that quote's field, and not the rest of the sample. A field in quotes that has
//! such quotes in it as well, not doubled, is still one field: the decoder will reject its row, but it
//! tells what the quote is.

use super::candidate::Candidate;
use crate::csv::LineEnding;

/// A quote that is not closed within a sample that goes on may be closed behind it, if it is among so
/// many last bytes.
const OPEN_QUOTE_BYTES_MAX: usize = 64 << 10;

/// Bytes that are read for quotes that turn out to be stray; then quotes mean nothing.
const STRAY_QUOTE_BYTES_MAX: usize = 1 << 20;

/// A field's text, without its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    start: u32,
    end: u32,
    pub quoted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    start: u32,
    first_cell: u32,
    follows_blank_line: bool,
    /// It has a quoted field that does not end as one must, or has text after a closing quote.
    has_stray_quote: bool,
}

/// The rows of a sample. Blank lines and comments are none.
#[derive(Debug)]
pub(super) struct Table<'a> {
    text: &'a [u8],
    cells: Vec<Cell>,
    rows: Vec<Row>,
    /// Fields in quotes.
    pub quoted_cells: usize,
    /// Fields that a quote begins and none ends, or that go on after a closing one.
    pub stray_quotes: usize,
}

impl<'a> Table<'a> {
    /// The rows of `text`, which is all there is if `whole`; else the last row is taken to be cut, and
    /// is left out unless it is the only one.
    pub fn parse(text: &'a [u8], whole: bool, candidate: &Candidate) -> Self {
        let table = Self { text, cells: vec![], rows: vec![], quoted_cells: 0, stray_quotes: 0 };
        let mut special = [false; 256];
        for byte in b"\r\n".iter().chain(candidate.delimiter.first()).chain(&candidate.escape) {
            special[usize::from(*byte)] = true;
        }
        let mut parser =
            Parser { candidate, special, whole, table, stray_bytes: 0, after_blank: false };
        let mut position = 0;
        while position < text.len() {
            position = match candidate.comment == Some(text[position]) {
                true => parser.line_after(position),
                false => parser.row(position),
            };
        }
        parser.table
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn row(&self, row: usize) -> &[Cell] {
        let end = self.rows.get(row + 1).map_or(self.cells.len(), |next| next.first_cell as usize);
        &self.cells[self.rows[row].first_cell as usize..end]
    }

    pub fn has_stray_quote(&self, row: usize) -> bool {
        self.rows[row].has_stray_quote
    }

    pub fn follows_blank_line(&self, row: usize) -> bool {
        self.rows[row].follows_blank_line
    }

    /// Where a row begins in the text.
    pub fn start_of(&self, row: usize) -> usize {
        self.rows[row].start as usize
    }

    pub fn text_of(&self, cell: Cell) -> &'a [u8] {
        &self.text[cell.start as usize..cell.end as usize]
    }
}

/// How a field ends: what is after it, and where that begins.
enum End {
    Field(usize),
    Row(usize),
    Text,
}

/// What a quote at the beginning of a field is.
enum Opening {
    /// One that is closed there.
    Closed(usize),
    /// One that is closed behind the sample's end.
    Cut,
    /// A mistake.
    Stray,
}

struct Parser<'a, 'c> {
    candidate: &'c Candidate,
    /// The bytes that may mean something outside of quotes.
    special: [bool; 256],
    whole: bool,
    table: Table<'a>,
    stray_bytes: usize,
    /// Whether the line before was blank.
    after_blank: bool,
}

impl Parser<'_, '_> {
    /// Reads the row that begins at `start`, and says where the next one does.
    fn row(&mut self, start: usize) -> usize {
        let text = self.table.text;
        let (first_cell, stray_before) = (self.table.cells.len(), self.table.stray_quotes);
        let mut position = start;
        let end = loop {
            match self.field(position) {
                End::Field(next) => position = next,
                End::Row(next) => break next,
                End::Text if self.whole || self.table.rows.is_empty() => break text.len(),
                End::Text => {
                    self.table.cells.truncate(first_cell);
                    return text.len();
                }
            }
        };
        let is_blank = match self.table.cells[first_cell..] {
            [cell] => !cell.quoted && cell.start == cell.end,
            _ => false,
        };
        if is_blank {
            self.table.cells.truncate(first_cell);
        } else {
            self.table.rows.push(Row {
                start: start as u32,
                first_cell: first_cell as u32,
                follows_blank_line: self.after_blank,
                has_stray_quote: self.table.stray_quotes > stray_before,
            });
        }
        self.after_blank = is_blank;
        end
    }

    fn field(&mut self, start: usize) -> End {
        let text = self.table.text;
        if self.candidate.quote.is_some_and(|quote| text.get(start) == Some(&quote)) {
            match self.opening(start) {
                Opening::Closed(close) => {
                    self.table.quoted_cells += 1;
                    self.push(start + 1, close, true);
                    return self.end_at(close + 1).unwrap_or(End::Text);
                }
                Opening::Cut => {
                    self.push(start + 1, text.len(), true);
                    return End::Text;
                }
                Opening::Stray => self.table.stray_quotes += 1,
            }
        }
        let mut position = start;
        while let Some(ahead) = text
            .get(position..)
            .and_then(|rest| rest.iter().position(|b| self.special[usize::from(*b)]))
        {
            position += ahead;
            if let Some(end) = self.end_at(position) {
                self.push(start, position, false);
                return end;
            }
            position += if self.candidate.escape == Some(text[position]) { 2 } else { 1 };
        }
        self.push(start, text.len(), false);
        End::Text
    }

    fn push(&mut self, start: usize, end: usize, quoted: bool) {
        self.table.cells.push(Cell { start: start as u32, end: end as u32, quoted });
    }

    /// What ends a field at `position`, if something does.
    fn end_at(&self, position: usize) -> Option<End> {
        let rest = &self.table.text[position..];
        if rest.is_empty() {
            return Some(End::Text);
        }
        let delimiter = &self.candidate.delimiter;
        if delimiter.first() == rest.first() && rest.starts_with(delimiter) {
            return Some(End::Field(position + delimiter.len()));
        }
        let length = line_end(rest, self.candidate.line_ending)?;
        Some(End::Row(position + length))
    }

    fn opening(&mut self, open: usize) -> Opening {
        let text = self.table.text;
        let Some(quote) = self.candidate.quote else { return Opening::Stray };
        if self.stray_bytes > STRAY_QUOTE_BYTES_MAX {
            return Opening::Stray;
        }
        let escape = self.candidate.escape.unwrap_or(quote);
        let mut position = open + 1;
        let mut has_text_after_quote = false;
        while let Some(ahead) =
            text.get(position..).and_then(|rest| memchr::memchr2(quote, escape, rest))
        {
            if has_text_after_quote && has_line_end(&text[position..position + ahead]) {
                return self.stray(position - open);
            }
            position += ahead;
            let is_quote = text[position] == quote;
            if is_quote && text.get(position + 1) != Some(&quote) {
                if self.end_at(position + 1).is_some() {
                    self.table.stray_quotes += usize::from(has_text_after_quote);
                    return Opening::Closed(position);
                }
                // The first such quote answers for all of the text before it.
                if !has_text_after_quote && has_line_end(&text[open..position]) {
                    return self.stray(position - open);
                }
                has_text_after_quote = true;
                position += 1;
            } else {
                position += 2;
            }
        }
        if has_text_after_quote {
            return self.stray(text.len() - open);
        }
        match !self.whole && text.len() - open < OPEN_QUOTE_BYTES_MAX {
            true => Opening::Cut,
            false => self.stray(text.len() - open),
        }
    }

    fn stray(&mut self, bytes: usize) -> Opening {
        self.stray_bytes += bytes;
        Opening::Stray
    }

    fn line_after(&self, position: usize) -> usize {
        let text = self.table.text;
        let end = (position..text.len())
            .find_map(|at| line_end(&text[at..], self.candidate.line_ending).map(|n| at + n));
        end.unwrap_or(text.len())
    }
}

fn has_line_end(text: &[u8]) -> bool {
    memchr::memchr2(b'\n', b'\r', text).is_some()
}

/// The length of the line end with which `rest` begins, if it does. A carriage return that ends the
/// sample is one: what it belongs to is not there.
pub(super) fn line_end(rest: &[u8], line_ending: LineEnding) -> Option<usize> {
    match (line_ending, rest) {
        (LineEnding::Cr, [b'\r', ..]) => Some(1),
        (LineEnding::Cr, _) => None,
        (_, [b'\r', b'\n', ..]) => Some(2),
        (LineEnding::Lf | LineEnding::Mixed, [b'\n', ..]) => Some(1),
        (LineEnding::Mixed, [b'\r', ..]) | (_, [b'\r']) => Some(1),
        _ => None,
    }
}
