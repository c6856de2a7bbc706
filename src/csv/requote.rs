//! Rows whose quotes make no sense, or that lack a delimiter beside a quote, as they are likely meant.
//!
//! What a quote is shows by what is next to it: one with a delimiter before it opens a field, and one with a
//! delimiter after it closes one. So of a field that begins with a quote
//!
//! - the first quote before a delimiter closes it, and single ones before that are data: `"24" wide",1` is
//!   `24" wide` and `1`;
//! - if another field opens before that, or the row ends, the first quote in it has closed it, and the text
//!   behind belongs to it: `"a"b,"c"` is `ab` and `c`;
//! - without such a quote, the one that it begins with is data: `"a,"c"` is `"a` and `c`.
//!
//! Two quotes before a delimiter are taken for a pair, and the field goes on behind them, unless it then
//! closes nowhere: `"24"",1,"c"` is `24"`, `1` and `c`.

use std::ops::Range;

use super::dialect::Dialect;
use super::row::{delimiter_after, fields_of_row};

/// No longer row is looked at for a missing delimiter: it is read once for each place.
const LACKING_ROW_BYTES_MAX: usize = 16 << 10;

/// Nor is one with more quotes.
const LACKING_ROW_QUOTES_MAX: usize = 64;

/// One row, without its line end, written anew so that its quotes make sense: at most twice as long, and
/// two bytes for each field.
pub(super) fn requoted(dialect: &Dialect, row: &[u8]) -> Vec<u8> {
    let Some(quote) = dialect.quote else { return row.to_vec() };
    let fields = Fields { row, delimiter: &dialect.delimiter, quote, escape: dialect.own_escape() };
    let mut written = Vec::with_capacity(row.len() + 2);
    let mut start = 0;
    loop {
        let is_quoted = row.get(start) == Some(&quote);
        let closed = if is_quoted { fields.closing_quote(start) } else { None };
        let end = delimiter_after(dialect, row, closed.map_or(start, |closed| closed + 1));
        let field = start..end.unwrap_or(row.len());
        match closed {
            Some(closed) => {
                written.push(quote);
                fields.write_quoted(&row[start + 1..closed], &mut written);
                fields.write_quoted(&row[closed + 1..field.end], &mut written);
                written.push(quote);
            }
            None if is_quoted => fields.write_data(&row[field], &mut written),
            None => written.extend_from_slice(&row[field]),
        }
        let Some(end) = end else { return written };
        written.extend_from_slice(&dialect.delimiter);
        start = end + dialect.delimiter.len();
    }
}

/// A row of another number of `fields` with the delimiter that it lacks: where there is exactly one place
/// between a quote and a text, or between two quotes, at which a delimiter parts a quoted field from
/// another and makes it a row of sound quotes and so many fields. `"a""b"` is `"a","b"`, and `a"b"` is
/// `a,"b"`; but quotes with a space beside them are a part of a text.
pub(super) fn with_missing_delimiter(
    dialect: &Dialect,
    row: &[u8],
    fields: usize,
) -> Option<Vec<u8>> {
    let quote = dialect.quote?;
    if row.len() > LACKING_ROW_BYTES_MAX {
        return None;
    }
    let quotes: Vec<usize> = memchr::memchr_iter(quote, row).collect();
    if quotes.len() > LACKING_ROW_QUOTES_MAX {
        return None;
    }
    let delimiter = dialect.delimiter.as_slice();
    // Quotes aside, there is text before it and after it.
    let is_between = |place: &usize| {
        let last = row[..*place].iter().rposition(|byte| *byte != quote);
        let next = row[*place..].iter().position(|byte| *byte != quote);
        let (Some(last), Some(next)) = (last, next) else { return false };
        let (before, after) = (&row[..=last], &row[place + next..]);
        !before.ends_with(b" ")
            && !after.starts_with(b" ")
            && !before.ends_with(delimiter)
            && !after.starts_with(delimiter)
    };
    let mut places: Vec<usize> = quotes.iter().flat_map(|quote| [*quote, quote + 1]).collect();
    places.dedup();
    let mut rows = places.into_iter().filter(is_between).filter_map(|place| {
        let row = [&row[..place], delimiter, &row[place..]].concat();
        let found: Vec<_> = fields_of_row(dialect, &row).collect();
        let is_quoted = |field: &Range<usize>| row.get(field.start) == Some(&quote);
        let is_beside_quoted =
            found.windows(2).any(|pair| pair[0].end == place && pair.iter().any(is_quoted));
        let is_right = found.len() == fields && is_beside_quoted && requoted(dialect, &row) == row;
        is_right.then_some(row)
    });
    let found = rows.next()?;
    rows.next().is_none().then_some(found)
}

struct Fields<'a> {
    row: &'a [u8],
    delimiter: &'a [u8],
    quote: u8,
    escape: Option<u8>,
}

impl Fields<'_> {
    /// The quote that closes the field that the one at `open` opens; nothing where that one is data.
    fn closing_quote(&self, open: usize) -> Option<usize> {
        // A quote with text around it, and the second of two before a delimiter.
        let (mut inner, mut pair) = (None, None);
        let mut position = open + 1;
        while let Some(at) = self.next_mark(position) {
            if self.row[at] != self.quote {
                position = at + 2;
                continue;
            }
            let opens = at > open + 1 && self.row[open + 1..at].ends_with(self.delimiter);
            if self.row.get(at + 1) != Some(&self.quote) {
                if self.is_end(at + 1) {
                    return Some(at);
                }
                if opens {
                    break;
                }
                inner = inner.or(Some(at));
                position = at + 1;
            } else {
                if self.is_end(at + 2) {
                    if opens {
                        break;
                    }
                    pair = pair.or(Some(at + 1));
                }
                position = at + 2;
            }
        }
        pair.or(inner)
    }

    /// The next quote or escape.
    fn next_mark(&self, position: usize) -> Option<usize> {
        let rest = self.row.get(position..)?;
        let escape = self.escape.unwrap_or(self.quote);
        memchr::memchr2(self.quote, escape, rest).map(|ahead| position + ahead)
    }

    /// Whether a field that goes as far as `position` ends there.
    fn is_end(&self, position: usize) -> bool {
        let rest = &self.row[position..];
        rest.is_empty() || rest.starts_with(self.delimiter)
    }

    /// Writes a part of what is in quotes: what is escaped or doubled in it stays so.
    fn write_quoted(&self, text: &[u8], written: &mut Vec<u8>) {
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            let is_mark = byte == self.quote || Some(byte) == self.escape;
            let takes_next = match after.first() {
                Some(next) => Some(byte) == self.escape || *next == byte,
                None => false,
            };
            written.push(byte);
            if is_mark {
                written.push(if takes_next { after[0] } else { byte });
            }
            rest = &after[usize::from(is_mark && takes_next)..];
        }
    }

    /// Writes a field that is all data, and begins with a quote.
    fn write_data(&self, field: &[u8], written: &mut Vec<u8>) {
        if let Some(escape) = self.escape {
            written.push(escape);
            written.extend_from_slice(field);
            return;
        }
        written.push(self.quote);
        for &byte in field {
            written.push(byte);
            if byte == self.quote {
                written.push(byte);
            }
        }
        written.push(self.quote);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::csv::dialect::FieldReader;
    use crate::csv::row::fields_of_row;

    fn texts(dialect: &Dialect, row: &str) -> Vec<String> {
        let written = requoted(dialect, row.as_bytes());
        let reader = FieldReader::new(dialect);
        let text = |field: std::ops::Range<usize>| reader.text(&written[field]).into_owned();
        let fields = fields_of_row(dialect, &written).map(text);
        fields.map(|text| String::from_utf8(text).unwrap()).collect()
    }

    #[test]
    fn a_stray_quote_is_a_part_of_its_value() {
        let texts = |row: &str| texts(&Dialect::default(), row);
        assert_eq!(texts("\"1,b,\"c\""), ["\"1", "b", "c"]);
        assert_eq!(texts("\"1,\"b, b\",c"), ["\"1", "b, b", "c"]);
        assert_eq!(texts("\"1,\"\",c"), ["\"1", "", "c"]);
        assert_eq!(texts("\"1,\"b, 10\"\"\",c"), ["\"1", "b, 10\"", "c"]);
        assert_eq!(texts("1,\"\"b, b\",\"c\""), ["1", "\"b, b", "c"]);
        assert_eq!(texts("1,\"\"b, 10\"\"\",c"), ["1", "\"b, 10\"", "c"]);
        assert_eq!(texts("1,b,\""), ["1", "b", "\""]);
        assert_eq!(texts("1,\"b,c"), ["1", "\"b", "c"]);
    }

    #[test]
    fn quotes_that_were_not_doubled_are_data() {
        let texts = |row: &str| texts(&Dialect::default(), row);
        assert_eq!(texts("\"24\" wide, low\",2"), ["24\" wide, low", "2"]);
        assert_eq!(texts("\"so \"and\" so\",2"), ["so \"and\" so", "2"]);
        assert_eq!(texts("\"24\"\",2,\"c\""), ["24\"", "2", "c"]);
        assert_eq!(texts("\"low, 24\"\",\"c, d\""), ["low, 24\"", "c, d"]);
    }

    #[test]
    fn text_after_a_closing_quote_belongs_to_the_field() {
        let texts = |row: &str| texts(&Dialect::default(), row);
        assert_eq!(texts("1,\"a\"b"), ["1", "ab"]);
        assert_eq!(texts("\"a, b\"c,\"d\""), ["a, bc", "d"]);
        assert_eq!(texts("\"a, \"\"b\"\"\"c,\"d\""), ["a, \"b\"c", "d"]);
    }

    #[test]
    fn the_dialect_says_what_a_quote_is() {
        let apostrophes =
            Dialect { quote: Some(b'\''), delimiter: b"||".to_vec(), ..Dialect::default() };
        assert_eq!(texts(&apostrophes, "'it's || so'||'b||c"), ["it's || so", "'b", "c"]);
        let escaped = Dialect { escape: Some(b'\\'), ..Dialect::default() };
        assert_eq!(texts(&escaped, "\"a\\\"b\"c\\N\\,,\"d"), ["a\"bcN,", "\"d"]);
        assert_eq!(texts(&escaped, "\"\\N,\"b\"c\\"), ["\"\\N", "bc\\"]);
        let unquoted = Dialect { quote: None, ..Dialect::default() };
        assert_eq!(texts(&unquoted, "\"a,\"b"), ["\"a", "\"b"]);
    }

    #[test]
    fn a_delimiter_that_is_missing_beside_a_quote_is_put_in_where_the_number_of_fields_says_so() {
        let found = |row: &str, fields| {
            let found = with_missing_delimiter(&Dialect::default(), row.as_bytes(), fields);
            found.map(|row| String::from_utf8(row).unwrap())
        };
        assert_eq!(found("1,\"a, b\"\"c\",2", 4).unwrap(), "1,\"a, b\",\"c\",2");
        assert_eq!(found("1,a\"b, c, d\",2", 4).unwrap(), "1,a,\"b, c, d\",2");
        assert_eq!(found("1,a\"b\"", 3).unwrap(), "1,a,\"b\"");
        assert_eq!(found("1,\"a, b\"c,2", 4).unwrap(), "1,\"a, b\",c,2");
        // Nothing says where.
        assert_eq!(found("\"a\"\"b\"\"c\",2", 3), None);
        assert_eq!(found("1,2", 3), None);
        // Texts with quotes in them, in a row that lacks a field.
        assert_eq!(found("1,\"24\"\" wide, low\"", 3), None);
        assert_eq!(found("1,24\" wide", 3), None);
        assert_eq!(found("1,\"a \"\"b\"\" c\"", 3), None);
        assert_eq!(found("1,\"a 24\"\"\",\"b, c\"", 4), None);
        // As it is, it is right.
        assert_eq!(found("1,\"a\"", 2), None);
        let long = format!("1,\"{}\"\"c\"", "a".repeat(LACKING_ROW_BYTES_MAX));
        assert_eq!(found(&long, 3), None);
        let quotes = format!("1,{}\"a\"\"c\"", "\"\",".repeat(LACKING_ROW_QUOTES_MAX / 2));
        assert_eq!(found(&quotes, 3 + LACKING_ROW_QUOTES_MAX / 2), None);
    }

    proptest! {
        /// A row that makes sense is not changed, and any other makes sense afterwards.
        #[test]
        fn it_is_done_once(
            row in proptest::collection::vec(
                prop::sample::select(vec!["a", ",", ",", "\"", "\"", "\"\"", "\\"]), 0..20),
            escape in prop::sample::select(vec![None, Some(b'\\')]),
        ) {
            let dialect = Dialect { escape, ..Dialect::default() };
            let once = requoted(&dialect, row.concat().as_bytes());
            prop_assert_eq!(&requoted(&dialect, &once), &once);
        }
    }
}
