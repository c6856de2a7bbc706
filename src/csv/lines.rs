//! Physical lines: where they end, whatever a dialect makes of what is in them.

use memchr::{memchr, memchr_iter, memchr2, memmem, memrchr, memrchr2};

use super::dialect::LineEnding;
use super::offsets::OffsetMap;
use crate::error::Position;

const CRLF: &[u8] = b"\r\n";

impl LineEnding {
    /// Whether a line ends with the byte at `position`. An LF after a [`LineEnding::Mixed`] CR ends
    /// an empty line of its own here.
    #[inline]
    pub(super) fn ends_at(self, bytes: &[u8], position: usize) -> bool {
        match (self, bytes[position]) {
            (Self::Lf | Self::Mixed, b'\n') | (Self::Cr | Self::Mixed, b'\r') => true,
            (Self::Crlf, b'\n') => position > 0 && bytes[position - 1] == b'\r',
            _ => false,
        }
    }

    /// Whether a CR before the LF that ends a line is no part of it.
    pub(super) fn drops_cr(self) -> bool {
        matches!(self, Self::Lf | Self::Crlf)
    }

    /// Where the first line end of `bytes` has its last byte; for one that is CR and LF in
    /// [`LineEnding::Mixed`], its CR.
    pub(super) fn first_end(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Lf => memchr(b'\n', bytes),
            Self::Crlf => memmem::find(bytes, CRLF).map(|start| start + 1),
            Self::Cr => memchr(b'\r', bytes),
            Self::Mixed => memchr2(b'\n', b'\r', bytes),
        }
    }

    /// Where the last `lines` lines of `bytes` start; nothing where there are fewer.
    pub(super) fn last_lines(self, bytes: &[u8], lines: u64) -> Option<usize> {
        let mut start = bytes.len();
        for _ in 0..lines {
            if start == 0 {
                return None;
            }
            let text = self.without_end(&bytes[..start]);
            start = self.last_end(text).map_or(0, |end| end + 1);
        }
        Some(start)
    }

    fn without_end(self, line: &[u8]) -> &[u8] {
        let ends: &[&[u8]] = match self {
            Self::Lf => &[b"\n"],
            Self::Crlf => &[CRLF],
            Self::Cr => &[b"\r"],
            Self::Mixed => &[CRLF, b"\n", b"\r"],
        };
        ends.iter().find_map(|end| line.strip_suffix(*end)).unwrap_or(line)
    }

    fn last_end(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Lf => memrchr(b'\n', bytes),
            Self::Crlf => memmem::rfind(bytes, CRLF).map(|start| start + 1),
            Self::Cr => memrchr(b'\r', bytes),
            Self::Mixed => memrchr2(b'\n', b'\r', bytes),
        }
    }

    /// How many lines end in `bytes`, which come after the byte `before`.
    pub(super) fn count(self, before: u8, bytes: &[u8]) -> usize {
        let count = |byte: u8| memchr_iter(byte, bytes).count();
        let crlfs = || {
            let across = before == b'\r' && bytes.first() == Some(&b'\n');
            memmem::find_iter(bytes, CRLF).count() + usize::from(across)
        };
        match self {
            Self::Lf => count(b'\n'),
            Self::Crlf => crlfs(),
            Self::Cr => count(b'\r'),
            Self::Mixed => count(b'\n') + count(b'\r') - crlfs(),
        }
    }
}

/// Counts lines up to a position in a buffer that only moves on.
#[derive(Debug)]
pub(super) struct LineCounter {
    line_ending: LineEnding,
    /// The offset in the text of the buffer's first byte.
    byte: u64,
    position: usize,
    line: u64,
    /// The last byte that was counted.
    last: u8,
    /// Where the text is in its object; nothing where it is the object.
    offsets: Option<OffsetMap>,
}

impl LineCounter {
    pub(super) fn new(line_ending: LineEnding) -> Self {
        Self { line_ending, byte: 0, position: 0, line: 1, last: 0, offsets: None }
    }

    /// Gives places in the object that the text was transcoded from.
    pub(super) fn locate_with(&mut self, offsets: Option<OffsetMap>) {
        self.offsets = offsets;
    }

    /// The offset in the text of a position in the buffer.
    pub(super) fn byte_of(&self, position: usize) -> u64 {
        self.byte + position as u64
    }

    /// The first `bytes` of the buffer go.
    pub(super) fn forget(&mut self, buffer: &[u8], bytes: usize) {
        self.advance(buffer, bytes);
        self.byte += bytes as u64;
        self.position -= bytes;
        if let Some(offsets) = &self.offsets {
            offsets.forget_before(self.byte);
        }
    }

    /// The place of a position in the buffer that is not before the last one asked for.
    pub(super) fn position_of(&mut self, buffer: &[u8], position: usize) -> Position {
        self.advance(buffer, position);
        let byte = self.byte_of(position);
        let byte = self.offsets.as_ref().map_or(byte, |offsets| offsets.original_of(byte));
        Position { line: self.line, byte, column: None }
    }

    fn advance(&mut self, buffer: &[u8], position: usize) {
        let passed = buffer.get(self.position..position).unwrap_or_default();
        if let Some(last) = passed.last() {
            self.line += self.line_ending.count(self.last, passed) as u64;
            self.last = *last;
            self.position = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_however_they_are_cut() {
        let text = b"a\r\nb\rc\n\r\n\r\rd\n\ne\r\n";
        for (line_ending, expected) in [
            (LineEnding::Lf, 7),
            (LineEnding::Crlf, 4),
            (LineEnding::Cr, 7),
            (LineEnding::Mixed, 10),
        ] {
            for step in 1..text.len() {
                let mut counter = LineCounter::new(line_ending);
                let mut rest = &text[..];
                while rest.len() > step {
                    counter.forget(rest, step);
                    rest = &rest[step..];
                }
                let position = counter.position_of(rest, rest.len());
                assert_eq!((position.line, position.byte), (expected, text.len() as u64));
            }
        }
    }

    #[test]
    fn the_last_lines_may_lack_their_line_end() {
        let start =
            |line_ending: LineEnding, text: &[u8], lines| line_ending.last_lines(text, lines);
        for text in [&b"a\nbc\nd\n"[..], b"a\nbc\nd"] {
            assert_eq!(start(LineEnding::Lf, text, 0), Some(text.len()));
            assert_eq!(start(LineEnding::Lf, text, 1), Some(5));
            assert_eq!(start(LineEnding::Lf, text, 3), Some(0));
            assert_eq!(start(LineEnding::Lf, text, 4), None);
        }
        assert_eq!(start(LineEnding::Lf, b"a\n\n", 1), Some(2));
        for text in [&b"a\r\nb\r\n"[..], b"a\r\nb\r", b"a\r\nb"] {
            assert_eq!(start(LineEnding::Mixed, text, 1), Some(3));
            assert_eq!(start(LineEnding::Crlf, text, 1), Some(3));
        }
        assert_eq!(start(LineEnding::Cr, b"a\rb\n\r", 1), Some(2));
        assert_eq!(start(LineEnding::Crlf, b"a\nb\r\n", 1), Some(0));
    }
}
