//! The fields of one row that is not as it should be.

use std::ops::Range;

use super::dialect::Dialect;

/// Where the fields of `row` are, one row without its line end: those of a well-shaped one as they
/// are, and of another as they are likely meant. What comes after a closing quote belongs to the
/// field; a quote that is never closed is data.
pub(super) fn fields_of_row<'a>(
    dialect: &'a Dialect,
    row: &'a [u8],
) -> impl Iterator<Item = Range<usize>> + use<'a> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        if dialect.trailing_delimiter && start == row.len() && start > 0 {
            return None;
        }
        let end = end_of_field(dialect, row, start);
        next = end.map(|end| end + dialect.delimiter.len());
        Some(start..end.unwrap_or(row.len()))
    })
}

/// Where the delimiter after the field at `start` is.
fn end_of_field(dialect: &Dialect, row: &[u8], start: usize) -> Option<usize> {
    delimiter_after(dialect, row, after_quotes(dialect, row, start).unwrap_or(start))
}

/// Where the next delimiter is that no escape makes data, from a `position` outside of quotes.
pub(super) fn delimiter_after(dialect: &Dialect, row: &[u8], mut position: usize) -> Option<usize> {
    while position < row.len() {
        if row[position..].starts_with(&dialect.delimiter) {
            return Some(position);
        }
        position += if Some(row[position]) == dialect.own_escape() { 2 } else { 1 };
    }
    None
}

/// What follows the quote that closes the one at `start`.
fn after_quotes(dialect: &Dialect, row: &[u8], start: usize) -> Option<usize> {
    let quote = dialect.quote?;
    if row.get(start) != Some(&quote) {
        return None;
    }
    let mut position = start + 1;
    loop {
        let byte = *row.get(position)?;
        if Some(byte) == dialect.own_escape() {
            position += 2;
        } else if byte != quote {
            position += 1;
        } else if row.get(position + 1) == Some(&quote) {
            position += 2;
        } else {
            return Some(position + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(dialect: &Dialect, row: &'a str) -> Vec<&'a str> {
        fields_of_row(dialect, row.as_bytes()).map(|range| &row[range]).collect()
    }

    #[test]
    fn misshapen_rows_have_fields_too() {
        let dialect = Dialect::default();
        assert_eq!(fields(&dialect, "a,\"b,\"\"c\",,"), ["a", "\"b,\"\"c\"", "", ""]);
        assert_eq!(fields(&dialect, "\"a\"b,\"c,d\""), ["\"a\"b", "\"c,d\""]);
        assert_eq!(fields(&dialect, "a,\"b,c"), ["a", "\"b", "c"]);
        assert_eq!(fields(&dialect, ""), [""]);
    }

    #[test]
    fn the_dialect_says_what_separates_them() {
        let dialect = Dialect { delimiter: b"||".to_vec(), ..Dialect::default() };
        assert_eq!(fields(&dialect, "a|||b||\"c||\"||"), ["a", "|b", "\"c||\"", ""]);
        let dialect = Dialect { quote: None, escape: Some(b'\\'), ..Dialect::default() };
        assert_eq!(fields(&dialect, "a\\,b,\"c\\\\,d\\"), ["a\\,b", "\"c\\\\", "d\\"]);
        let dialect = Dialect { trailing_delimiter: true, ..Dialect::default() };
        assert_eq!(fields(&dialect, "a,b,"), ["a", "b"]);
        assert_eq!(fields(&dialect, "a,,"), ["a", ""]);
        assert_eq!(fields(&dialect, ""), [""]);
    }
}
