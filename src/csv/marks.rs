//! The bytes of a block that can mean something, as a bit mask.

use super::dialect::{Dialect, LineEnding};

pub(super) const BLOCK_BYTES: usize = 64;

/// What a dialect gives a meaning.
#[derive(Debug)]
pub(super) struct Marker {
    delimiter_end: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    line_ending: LineEnding,
}

impl Marker {
    pub(super) fn new(dialect: &Dialect) -> Self {
        Self {
            delimiter_end: dialect.delimiter.last().copied().unwrap_or_default(),
            quote: dialect.quote,
            escape: dialect.own_escape(),
            line_ending: dialect.line_ending,
        }
    }

    /// Marks the delimiter's last byte, the quote, the escape, and the last byte of a line end.
    #[inline(always)]
    pub(super) fn marks(&self, block: &[u8; BLOCK_BYTES]) -> Marks {
        match self.line_ending {
            LineEnding::Lf | LineEnding::Crlf => self.marks_with(block, b'\n', None),
            LineEnding::Cr => self.marks_with(block, b'\r', None),
            LineEnding::Mixed => self.marks_with(block, b'\n', Some(b'\r')),
        }
    }

    #[inline(always)]
    fn marks_with(&self, block: &[u8; BLOCK_BYTES], line_end: u8, other: Option<u8>) -> Marks {
        let mut bytes = 0;
        let mut quoting = 0;
        let quote = self.quote.unwrap_or(line_end);
        let escape = self.escape.unwrap_or(line_end);
        for (i, word) in block.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            let mut ends = equal_bytes(word, self.delimiter_end) | equal_bytes(word, line_end);
            if let Some(other) = other {
                ends |= equal_bytes(word, other);
            }
            let quotes = equal_bytes(word, quote);
            let escapes = equal_bytes(word, escape);
            quoting |= (quotes | escapes) & !ends;
            bytes |= gather(ends | quotes | escapes) << (8 * i);
        }
        Marks { bytes, quoting: quoting != 0 }
    }
}

/// What a block holds.
pub(super) struct Marks {
    /// A bit for each byte that can mean something.
    pub(super) bytes: u64,
    /// Whether there is a quote or an escape among them.
    pub(super) quoting: bool,
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
}
