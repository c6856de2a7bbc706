//! How a CSV object is written down.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};

/// What may come before the first row, and is no part of it.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How a CSV object is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between two fields.
    pub delimiter: u8,
    /// The byte around a field that holds delimiters or line ends; none: there are no such fields.
    pub quote: Option<u8>,
    /// The byte that, within quotes, makes the next byte data. None: a quote is escaped by another.
    pub escape: Option<u8>,
    /// Whether the first row names the columns.
    pub header: bool,
    /// What stands for null. In a quoted field it does not, if the column is text.
    pub null_values: Vec<String>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            header: true,
            null_values: vec![String::new()],
        }
    }
}

impl Dialect {
    /// Refuses a dialect in which a byte would mean two things.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`].
    pub fn check(&self) -> Result<()> {
        let special: Vec<u8> =
            [Some(self.delimiter), self.quote, self.own_escape()].into_iter().flatten().collect();
        for (i, byte) in special.iter().enumerate() {
            let usable = byte.is_ascii() && !byte.is_ascii_alphanumeric();
            if !usable || b"\0\r\n".contains(byte) {
                let message = format!("{:?} cannot delimit, quote or escape", char::from(*byte));
                return Err(Error::new(ErrorKind::Configuration, message)
                    .with_advice("take an ASCII punctuation mark, a space or a tab"));
            }
            if special[..i].contains(byte) {
                let message = format!("{:?} has two meanings", char::from(*byte));
                return Err(Error::new(ErrorKind::Configuration, message)
                    .with_advice("delimiter, quote and escape must differ"));
            }
        }
        Ok(())
    }

    /// The escape, where it is not the quote itself: a quote that escapes a quote is doubling.
    pub(super) fn own_escape(&self) -> Option<u8> {
        self.escape.filter(|escape| Some(*escape) != self.quote)
    }
}

/// What the bytes of one field mean.
#[derive(Debug, Clone)]
pub(super) struct FieldReader {
    quote: Option<u8>,
    escape: Option<u8>,
    empty_is_null: bool,
    other_nulls: Vec<Vec<u8>>,
}

impl FieldReader {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let (empty, other): (Vec<_>, Vec<_>) =
            dialect.null_values.iter().partition(|null| null.is_empty());
        Self {
            quote: dialect.quote,
            escape: dialect.own_escape(),
            empty_is_null: !empty.is_empty(),
            other_nulls: other.into_iter().map(|null| null.clone().into_bytes()).collect(),
        }
    }

    /// Whether `text`, a field without its quotes, stands for null.
    #[inline]
    pub(super) fn is_null(&self, text: &[u8]) -> bool {
        if text.is_empty() {
            return self.empty_is_null;
        }
        !self.other_nulls.is_empty() && self.other_nulls.iter().any(|null| null == text)
    }

    /// Whether a field of a well-shaped row is quoted; such a field ends with a quote too.
    #[inline]
    pub(super) fn is_quoted(&self, field: &[u8]) -> bool {
        field.first().is_some_and(|first| Some(*first) == self.quote)
    }

    /// Whether a field has neither quotes nor spaces around it.
    #[inline]
    pub(super) fn is_plain(&self, field: &[u8]) -> bool {
        !self.is_quoted(field) && field.first() != Some(&b' ') && field.last() != Some(&b' ')
    }

    /// A field's text: without its quotes and escapes.
    pub(super) fn text<'a>(&self, field: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.is_quoted(field) {
            return Cow::Borrowed(field);
        }
        let inner = field.get(1..field.len() - 1).unwrap_or_default();
        match self.escape.or(self.quote) {
            Some(escape) if memchr::memchr(escape, inner).is_some() => {
                Cow::Owned(without_escapes(inner, escape))
            }
            _ => Cow::Borrowed(inner),
        }
    }
}

fn without_escapes(inner: &[u8], escape: u8) -> Vec<u8> {
    let mut text = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        escaped = byte == escape && !escaped;
        if !escaped {
            text.push(byte);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_means_one_thing() {
        Dialect::default().check().unwrap();
        Dialect { delimiter: b'\t', escape: Some(b'\\'), ..Default::default() }.check().unwrap();
        Dialect { escape: Some(b'"'), ..Default::default() }.check().unwrap();
        for delimiter in [b'"', b'\n', b'\r', 0, b'a', b'0', 0xA7] {
            let dialect = Dialect { delimiter, ..Default::default() };
            assert_eq!(dialect.check().unwrap_err().kind(), ErrorKind::Configuration);
        }
    }

    #[test]
    fn text_is_what_the_quotes_hold() {
        let doubled = FieldReader::new(&Dialect::default());
        assert_eq!(doubled.text(b"a\"b"), &b"a\"b"[..]);
        assert_eq!(doubled.text(br#""a""b""""#), &br#"a"b""#[..]);
        assert_eq!(doubled.text(br#""""#), &b""[..]);
        let escaped = FieldReader::new(&Dialect { escape: Some(b'\\'), ..Default::default() });
        assert_eq!(escaped.text(br#""a\"b\\c\d""#), &br#"a"b\cd"#[..]);
        let unquoted = FieldReader::new(&Dialect { quote: None, ..Default::default() });
        assert_eq!(unquoted.text(br#""a""#), &br#""a""#[..]);
        assert!(!unquoted.is_quoted(b""));
    }

    #[test]
    fn nulls() {
        let null_values = vec!["NA".into(), "-".into()];
        let reader = FieldReader::new(&Dialect { null_values, ..Default::default() });
        assert!(reader.is_null(b"NA") && reader.is_null(b"-"));
        assert!(!reader.is_null(b"") && !reader.is_null(b"N"));
        assert!(FieldReader::new(&Dialect::default()).is_null(b""));
    }
}
