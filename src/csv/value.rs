//! One field to one value. Each function gives nothing where the text is not such a value.
//!
//! The text has no quotes, and no spaces around it. Nothing is rounded but binary floating point,
//! which is rounded correctly, and decimals where that is asked for.
//!
//! What is inlined always is so because a [`Text`] handed over through memory stalls the loop over a
//! column for longer than the parsing takes.

pub(super) mod binary;
mod boolean;
mod nulls;
mod number;
mod separators;
mod time;
mod time_format;

pub(super) use boolean::{BooleanSpellings, FALSE_VALUES, TRUE_VALUES, boolean};
pub(super) use nulls::Nulls;
pub(super) use number::{decimal, float32, float64, rounded_decimal, signed, unsigned};
pub(super) use separators::Separators;
pub(super) use time::{date, timestamp};
pub use time_format::TimeFormat;

/// The text of one field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    /// The eight bytes up to the text's end, whatever is before it.
    tail: u64,
}

impl<'a> Text<'a> {
    /// The text at `start..end` of `buffer`; empty where there is none.
    #[inline(always)]
    pub(super) fn within(buffer: &'a [u8], start: usize, end: usize) -> Self {
        let bytes = buffer.get(start..end).unwrap_or_default();
        match buffer.get(..end).and_then(|before| before.last_chunk()) {
            Some(tail) => Self { bytes, tail: u64::from_le_bytes(*tail) },
            None => Self::alone(bytes),
        }
    }

    /// A text with nothing before it.
    #[cold]
    fn alone(bytes: &'a [u8]) -> Self {
        let mut tail = [0; 8];
        for (to, from) in tail.iter_mut().rev().zip(bytes.iter().rev()) {
            *to = *from;
        }
        Self { bytes, tail: u64::from_le_bytes(tail) }
    }

    #[inline]
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The text without the spaces around it.
    #[inline]
    pub(super) fn trimmed(self) -> Self {
        match self.bytes {
            [b' ', ..] | [.., b' '] => trimmed(self.bytes).into(),
            _ => self,
        }
    }

    /// Appends the text to `bytes`. A short one goes as eight bytes at once, and is then cut.
    #[inline]
    pub(super) fn append_to(self, bytes: &mut Vec<u8>) {
        let length = self.bytes.len();
        if (1..=8).contains(&length) {
            let end = bytes.len() + length;
            let front_first = self.tail >> (8 * (8 - length));
            bytes.extend_from_slice(&front_first.to_le_bytes());
            bytes.truncate(end);
        } else {
            bytes.extend_from_slice(self.bytes);
        }
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::within(bytes, 0, bytes.len())
    }
}

/// `text` without the spaces around it.
pub(super) fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_around_a_text_go() {
        assert_eq!(trimmed(b"  a b "), b"a b");
        assert_eq!(trimmed(b"   "), b"");
    }
}
