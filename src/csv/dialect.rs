//! How a CSV object is written down.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};

/// What may come before the first row, and is no part of it.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The longest delimiter.
pub(crate) const DELIMITER_BYTES_MAX: usize = 8;

/// The most lines at an object's end that can be no rows: they are held back until it has ended.
pub(crate) const FOOTER_LINES_MAX: u64 = 1000;

/// How a CSV object is written down: all of it decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// What is between two fields: one byte, or several.
    pub delimiter: Vec<u8>,
    /// The byte around a field that holds delimiters or line ends; none: there are no such fields.
    pub quote: Option<u8>,
    /// The byte that makes the next byte data, in quotes and outside of them, and a CR LF as one.
    /// Outside of quotes it stays part of the text unless that byte could have meant something:
    /// `a\,b` is `a,b`, and `\N` is `\N`. None: a quote in quotes is escaped by another. It always is.
    pub escape: Option<u8>,
    /// A line that begins with this byte is no row.
    pub comment: Option<u8>,
    /// What ends a line.
    pub line_ending: LineEnding,
    /// Lines before the header, or before the first row, that are no rows.
    pub skip_lines: u64,
    /// The rows that name the columns; 0: none does.
    pub header_rows: u32,
    /// The columns' names, in the place of those that the header has; empty: there are none.
    pub columns: Vec<String>,
    /// Lines at the object's end that are no rows, be they empty.
    pub footer_lines: u64,
    /// Whether a delimiter at the end of a row has no field after it.
    pub trailing_delimiter: bool,
    /// Whether a field of the header without a name is no column: it has that many delimiters too many.
    pub skips_unnamed: bool,
    /// Whether the spaces around an unquoted field of text are no part of it.
    pub trim: bool,
    /// What stands for null. In a quoted field it does not, if the column is text.
    pub null_values: Vec<String>,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineEnding {
    /// LF, with a CR before it or not.
    Lf,
    /// CR and LF together; either alone is data.
    Crlf,
    /// CR; LF is data.
    Cr,
    /// LF, CR, or both together.
    Mixed,
}

/// What is said of a dialect beforehand. What is not said is found out for each object by
/// [`super::detect`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DialectOptions {
    /// As [`Dialect::delimiter`].
    pub delimiter: Option<Vec<u8>>,
    /// As [`Dialect::quote`]; `Some(None)` says that there is none.
    pub quote: Option<Option<u8>>,
    /// As [`Dialect::escape`].
    pub escape: Option<Option<u8>>,
    /// As [`Dialect::comment`]; never found out.
    pub comment: Option<u8>,
    /// As [`Dialect::line_ending`].
    pub line_ending: Option<LineEnding>,
    /// As [`Dialect::skip_lines`].
    pub skip_lines: Option<u64>,
    /// Whether there is a header.
    pub header: Option<bool>,
    /// As [`Dialect::header_rows`], where there is a header; else 1.
    pub header_rows: Option<u32>,
    /// As [`Dialect::columns`]; never found out.
    pub columns: Vec<String>,
    /// As [`Dialect::footer_lines`]; never found out.
    pub footer_lines: u64,
    /// As [`Dialect::trim`]; never found out.
    pub trim: bool,
    /// As [`Dialect::null_values`]; never found out.
    pub null_values: Vec<String>,
}

impl DialectOptions {
    /// The dialect where what is not said is as [`Dialect::default`] has it.
    pub fn or_default(&self) -> Dialect {
        let default = Dialect::default();
        Dialect {
            delimiter: self.delimiter.clone().unwrap_or(default.delimiter),
            quote: self.quote.unwrap_or(default.quote),
            escape: self.escape.unwrap_or(default.escape),
            comment: self.comment,
            line_ending: self.line_ending.unwrap_or(default.line_ending),
            skip_lines: self.skip_lines.unwrap_or(default.skip_lines),
            header_rows: match self.header {
                Some(false) => 0,
                _ => self.header_rows.unwrap_or(default.header_rows),
            },
            columns: self.columns.clone(),
            footer_lines: self.footer_lines,
            trailing_delimiter: default.trailing_delimiter,
            skips_unnamed: default.skips_unnamed,
            trim: self.trim,
            null_values: self.null_values.clone(),
        }
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: vec![b','],
            quote: Some(b'"'),
            escape: None,
            comment: None,
            line_ending: LineEnding::Lf,
            skip_lines: 0,
            header_rows: 1,
            columns: Vec::new(),
            footer_lines: 0,
            trailing_delimiter: false,
            skips_unnamed: false,
            trim: false,
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
        let wrong = |message: String, advice: &str| {
            Err(Error::new(ErrorKind::Configuration, message).with_advice(advice))
        };
        if self.delimiter.is_empty() || self.delimiter.len() > DELIMITER_BYTES_MAX {
            let message = format!("a delimiter of {} bytes", self.delimiter.len());
            return wrong(message, &format!("give one of 1 to {DELIMITER_BYTES_MAX}"));
        }
        if self.footer_lines > FOOTER_LINES_MAX {
            let message = format!("a footer of {} lines", self.footer_lines);
            return wrong(message, &format!("there can be {FOOTER_LINES_MAX} lines"));
        }
        let single: Vec<u8> =
            [self.quote, self.own_escape(), self.comment].into_iter().flatten().collect();
        for byte in self.delimiter.iter().chain(&single) {
            if b"\0\r\n".contains(byte) {
                let message = format!("{:?} cannot delimit, quote or escape", char::from(*byte));
                return wrong(message, "take a mark other than a line end");
            }
        }
        for (i, byte) in single.iter().enumerate() {
            if !byte.is_ascii() || byte.is_ascii_alphanumeric() {
                let message = format!("{:?} cannot quote, escape or comment", char::from(*byte));
                return wrong(message, "take an ASCII punctuation mark");
            }
            if single[..i].contains(byte) || self.delimiter.contains(byte) {
                let message = format!("{:?} has two meanings", char::from(*byte));
                return wrong(message, "delimiter, quote, escape and comment must differ");
            }
        }
        if std::str::from_utf8(&self.delimiter).is_err() {
            return wrong("the delimiter is not UTF-8".to_owned(), "take another");
        }
        Ok(())
    }

    /// Whether there is a header.
    pub fn has_header(&self) -> bool {
        self.header_rows > 0
    }

    /// The escape, where it is not the quote itself: a quote that escapes a quote is doubling.
    pub(super) fn own_escape(&self) -> Option<u8> {
        self.escape.filter(|escape| Some(*escape) != self.quote)
    }
}

/// The delimiter that the first line of `bytes` declares, as Excel writes it: `sep=;`. Such a line is
/// no row.
pub(super) fn declared_delimiter(bytes: &[u8]) -> Option<&[u8]> {
    const DECLARATION: &[u8] = b"sep=";
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let (declaration, rest) = text.split_at_checked(DECLARATION.len())?;
    let delimiter = &rest[..memchr::memchr2(b'\n', b'\r', rest)?];
    let declares = declaration.eq_ignore_ascii_case(DECLARATION)
        && (1..=DELIMITER_BYTES_MAX).contains(&delimiter.len());
    declares.then_some(delimiter)
}

/// What the bytes of one field mean.
#[derive(Debug, Clone)]
pub(super) struct FieldReader {
    delimiter: Vec<u8>,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<u8>,
}

impl FieldReader {
    pub(super) fn new(dialect: &Dialect) -> Self {
        Self {
            delimiter: dialect.delimiter.clone(),
            quote: dialect.quote,
            escape: dialect.own_escape(),
            comment: dialect.comment,
        }
    }

    /// How many bytes are between two fields.
    #[inline]
    pub(super) fn delimiter_bytes(&self) -> usize {
        self.delimiter.len()
    }

    /// Whether a field of a well-shaped row is quoted; such a field ends with a quote too.
    #[inline]
    pub(super) fn is_quoted(&self, field: &[u8]) -> bool {
        field.first().is_some_and(|first| Some(*first) == self.quote)
    }

    /// Whether a field has neither quotes nor spaces around it, and can have no escapes.
    #[inline]
    pub(super) fn is_plain(&self, field: &[u8]) -> bool {
        !self.is_quoted(field)
            && field.first() != Some(&b' ')
            && field.last() != Some(&b' ')
            && self.escape.is_none()
    }

    /// Whether a field that is not quoted may have escapes.
    #[inline]
    pub(super) fn has_escapes(&self) -> bool {
        self.escape.is_some()
    }

    /// A field's text: without its quotes and escapes. Of a misshapen row's field, quotes that are not
    /// around it stay: `"a" b"` is `a" b`, and `"a" b` is as it is written.
    pub(super) fn text<'a>(&self, field: &'a [u8]) -> Cow<'a, [u8]> {
        match (self.quote, self.escape) {
            (Some(quote), escape) if self.is_quoted(field) => {
                let Some(inner) = field[1..].strip_suffix(&[quote]) else {
                    return Cow::Borrowed(field);
                };
                without_quote_escapes(inner, quote, escape)
            }
            (_, Some(escape)) if memchr::memchr(escape, field).is_some() => {
                Cow::Owned(self.without_escapes(field, escape))
            }
            _ => Cow::Borrowed(field),
        }
    }

    /// Unquoted text without its escapes, but for those that nothing calls for.
    fn without_escapes(&self, field: &[u8], escape: u8) -> Vec<u8> {
        let mut text = Vec::with_capacity(field.len());
        let mut rest = field;
        while let Some((&byte, after)) = rest.split_first() {
            let (byte, after) = match after.split_first() {
                Some((&next, after_next)) if byte == escape => {
                    if !self.is_special(next) && !after.starts_with(&self.delimiter) {
                        text.push(escape);
                    }
                    (next, after_next)
                }
                _ => (byte, after),
            };
            text.push(byte);
            rest = after;
        }
        text
    }

    fn is_special(&self, byte: u8) -> bool {
        let single = [self.quote, self.escape, self.comment, Some(b'\r'), Some(b'\n')];
        single.contains(&Some(byte))
    }
}

/// What is within quotes, without the bytes that make the next one data: an escape, or a quote before
/// another.
fn without_quote_escapes(inner: &[u8], quote: u8, escape: Option<u8>) -> Cow<'_, [u8]> {
    let find = |rest: &[u8]| match escape {
        Some(escape) => memchr::memchr2(quote, escape, rest),
        None => memchr::memchr(quote, rest),
    };
    let mut next = find(inner);
    if next.is_none() {
        return Cow::Borrowed(inner);
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = next {
        let (before, special) = rest.split_at(at);
        let escapes = Some(special[0]) == escape || special.get(1) == Some(&quote);
        let (data, after) = special[usize::from(escapes)..].split_at_checked(1).unwrap_or_default();
        text.extend_from_slice(before);
        text.extend_from_slice(data);
        rest = after;
        next = find(rest);
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_means_one_thing() {
        Dialect::default().check().unwrap();
        Dialect { delimiter: b"\t".to_vec(), escape: Some(b'\\'), ..Default::default() }
            .check()
            .unwrap();
        Dialect { escape: Some(b'"'), ..Default::default() }.check().unwrap();
        for delimiter in [b'"', b'\n', b'\r', 0, 0xA7] {
            let dialect = Dialect { delimiter: vec![delimiter], ..Default::default() };
            assert_eq!(dialect.check().unwrap_err().kind(), ErrorKind::Configuration);
        }
    }

    #[test]
    fn text_is_what_the_quotes_hold() {
        let doubled = FieldReader::new(&Dialect::default());
        assert_eq!(doubled.text(b"a\"b"), &b"a\"b"[..]);
        assert_eq!(doubled.text(br#""a""b""""#), &br#"a"b""#[..]);
        assert_eq!(doubled.text(br#""""#), &b""[..]);
        assert_eq!(doubled.text(br#""a"b""c""#), &br#"a"b"c"#[..]);
        assert_eq!(doubled.text(br#""a"b"#), &br#""a"b"#[..]);
        assert_eq!(doubled.text(b"\""), &b"\""[..]);
        let escaped = FieldReader::new(&Dialect { escape: Some(b'\\'), ..Default::default() });
        assert_eq!(escaped.text(br#""a\"b\\c\d""#), &br#"a"b\cd"#[..]);
        assert_eq!(escaped.text(br#""a""b""#), &br#"a"b"#[..]);
        let unquoted = FieldReader::new(&Dialect { quote: None, ..Default::default() });
        assert_eq!(unquoted.text(br#""a""#), &br#""a""#[..]);
        assert!(!unquoted.is_quoted(b""));
    }

    #[test]
    fn escapes_outside_of_quotes_go_where_they_are_needed() {
        let dialect = Dialect {
            delimiter: b"||".to_vec(),
            escape: Some(b'\\'),
            comment: Some(b'#'),
            ..Default::default()
        };
        let text = |field: &'static [u8]| FieldReader::new(&dialect).text(field).into_owned();
        assert_eq!(text(br"a\||b\\c\n"), br"a||b\c\n");
        assert_eq!(text(br"\N"), br"\N");
        assert_eq!(text(br"\\N"), br"\N");
        assert_eq!(text(b"\\#\\\r\n\\"), b"#\r\n\\");
    }

    #[test]
    fn a_first_line_may_declare_the_delimiter() {
        assert_eq!(declared_delimiter(b"sep=;\r\na;b\r\n"), Some(&b";"[..]));
        assert_eq!(declared_delimiter(b"\xEF\xBB\xBFSEP=\t\n"), Some(&b"\t"[..]));
        for text in [&b"sep="[..], b"sep=\n", b"sep=;", b"sep=a long name\n", b"step=;\n", b""] {
            assert_eq!(declared_delimiter(text), None);
        }
    }
}
