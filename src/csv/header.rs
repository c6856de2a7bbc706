//! The start of an object: the names of its columns, and its first rows.

use std::collections::{HashMap, HashSet};

use super::column::Rows;
use super::decode::Limits;
use super::dialect::{BYTE_ORDER_MARK, Dialect, FieldReader};
use super::row::fields_of_row;
use super::structure::{Misshapen, Shape, Structure};
use crate::error::{Error, ErrorKind, Position, Result};

/// More of a sample is not looked at.
const SAMPLE_BYTES_MAX: usize = 256 << 20;

/// Rows that are looked at to see whether they end with a delimiter.
const TRAILING_ROWS_MAX: usize = 1000;

/// The longest name of a column.
const NAME_BYTES_MAX: usize = 255;

/// The start of an object.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The object's first bytes.
    pub bytes: &'a [u8],
    /// Whether they are all of it. If not, the last row is taken to be cut, and is ignored.
    pub whole: bool,
}

/// The names of the columns: those of the dialect, or as the header has them, or `column_1` and so on
/// for the fields of the first row. Nothing where the sample has no complete row.
///
/// The names of several header rows are joined with `_`. A column without a name becomes `column_3`,
/// and one of a name that was there before `name_2`. Names are cut to 255 bytes.
///
/// # Errors
/// [`ErrorKind::SourceInvalid`] where the first row, or one of the header, is no CSV text.
pub fn read_header(sample: Sample<'_>, dialect: &Dialect) -> Result<Option<Vec<String>>> {
    dialect.check()?;
    let first = SampleRows::new(sample, dialect).first(dialect.header_rows.max(1) as usize);
    if first.is_empty() || !dialect.columns.is_empty() {
        let given = (!first.is_empty()).then(|| distinct_names(&dialect.columns));
        return Ok(given);
    }
    let mut names: Vec<String> = Vec::new();
    for row in first {
        // Later rows are the decoder's to judge, one by one.
        for (column, field) in row?.into_iter().enumerate() {
            check_text(&field, true)?;
            if names.len() <= column {
                names.push(String::new());
            }
            let name = String::from_utf8_lossy(&field);
            if dialect.has_header() && !name.trim().is_empty() {
                let joint = if names[column].is_empty() { "" } else { "_" };
                names[column] += &format!("{joint}{name}");
            }
        }
    }
    Ok(Some(distinct_names(&names)))
}

/// Whether the rows of an object end with a delimiter that no field follows: most of them have one
/// empty field more than there are named columns, and none has text in it.
pub(super) fn has_trailing_delimiter(sample: Sample<'_>, dialect: &Dialect) -> bool {
    let rows = SampleRows::new(sample, dialect);
    let header_rows = dialect.header_rows as usize;
    let mut rows = rows.first(header_rows + TRAILING_ROWS_MAX).into_iter();
    let header: Vec<Vec<Vec<u8>>> =
        rows.by_ref().take(header_rows).filter_map(Result::ok).collect();
    let header = header.iter().max_by_key(|row| row.len());
    let unnamed = header.is_some_and(|row| row.len() > 1 && row.last().is_some_and(Vec::is_empty));
    let columns = match header {
        _ if !dialect.columns.is_empty() => dialect.columns.len(),
        Some(header) => header.len() - usize::from(unnamed),
        None => return false,
    };
    let rows: Vec<Vec<Vec<u8>>> = rows.filter_map(Result::ok).collect();
    let longer: Vec<_> = rows.iter().filter(|row| row.len() == columns + 1).collect();
    let empty = longer.iter().all(|row| row.last().is_some_and(Vec::is_empty));
    empty && (2 * longer.len() > rows.len() || (unnamed && rows.is_empty()))
}

/// `names` so that there is none twice, none is empty, and none too long for a table.
fn distinct_names(names: &[String]) -> Vec<String> {
    let names: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| match name.trim() {
            "" => format!("column_{}", i + 1),
            _ => name[..name.floor_char_boundary(NAME_BYTES_MAX)].to_owned(),
        })
        .collect();
    let all: HashSet<String> = names.iter().map(|name| folded_name(name)).collect();
    let mut taken = HashSet::new();
    // A number that was taken for a name is not tried again.
    let mut numbers: HashMap<String, u64> = HashMap::new();
    let mut distinct = |name: String| {
        if taken.insert(folded_name(&name)) {
            return name;
        }
        let number = numbers.entry(folded_name(&name)).or_insert(1);
        loop {
            *number += 1;
            let suffix = format!("_{number}");
            let stem = name.floor_char_boundary(NAME_BYTES_MAX - suffix.len());
            let other = format!("{}{suffix}", &name[..stem.min(name.len())]);
            if !all.contains(&folded_name(&other)) && taken.insert(folded_name(&other)) {
                return other;
            }
        }
    };
    names.into_iter().map(&mut distinct).collect()
}

/// A column's name without the characters that Delta and Parquet forbid in one.
pub fn legal_name(name: &str) -> String {
    const FORBIDDEN: [char; 11] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\r', '\t', '='];
    name.trim().replace(FORBIDDEN, "_")
}

/// The form in which a table tells names apart: neither by case, nor by what it forbids.
pub fn folded_name(name: &str) -> String {
    legal_name(name).to_lowercase()
}

pub(super) fn header_error(message: String) -> Error {
    Error::new(ErrorKind::SourceInvalid, message)
        .with_position(Position { line: 1, byte: 0, column: None })
        .with_advice(
            "check the quotes and the lines to skip; if there is no header, say `header = false`",
        )
}

/// The complete rows of a sample.
pub(super) struct SampleRows<'a> {
    /// Without a byte-order mark and a footer.
    text: &'a [u8],
    whole: bool,
    dialect: &'a Dialect,
}

impl<'a> SampleRows<'a> {
    pub(super) fn new(sample: Sample<'a>, dialect: &'a Dialect) -> Self {
        let bytes = &sample.bytes[..sample.bytes.len().min(SAMPLE_BYTES_MAX)];
        let whole = sample.whole && bytes.len() == sample.bytes.len();
        let mut text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        if whole {
            let footer = dialect.line_ending.last_lines(text, dialect.footer_lines);
            text = &text[..footer.unwrap_or_default()];
        }
        Self { text, whole, dialect }
    }

    /// The texts of the fields of the first `rows` rows, or what is wrong with such a row.
    fn first(&self, rows: usize) -> Vec<Result<Vec<Vec<u8>>>> {
        let reader = FieldReader::new(self.dialect);
        // Where no fields are expected, there is a verdict on each row that says how many it has.
        let mut first = Vec::new();
        self.scan(0, |text, structure| {
            let read =
                structure.misshapen().iter().map(|row| fields_of(self.dialect, &reader, text, row));
            first.extend(read.take(rows - first.len()));
            first.len() < rows
        });
        first
    }

    /// Visits each field of the rows of so many fields, but for the first `skip` rows; returns how many
    /// rows are misshapen.
    pub(super) fn for_each(
        &self,
        fields: usize,
        mut skip: usize,
        mut visit: impl FnMut(usize, &[u8]),
    ) -> u64 {
        let reader = FieldReader::new(self.dialect);
        let mut rows_misshapen = 0;
        self.scan(fields, |text, structure| {
            let stride = structure.stride();
            rows_misshapen += structure.misshapen().iter().filter(|m| m.row >= skip).count() as u64;
            let mut misshapen = structure.misshapen().iter().map(|m| m.row).peekable();
            let sound: Vec<usize> =
                (0..structure.rows()).filter(|row| misshapen.next_if_eq(row).is_none()).collect();
            let rows = Rows { buffer: text, bounds: structure.bounds(), stride, reader: &reader };
            for row in sound.into_iter().skip_while(|row| *row < skip) {
                (0..fields).for_each(|position| visit(position, rows.field(row, position)));
            }
            skip = skip.saturating_sub(structure.rows());
            true
        });
        rows_misshapen
    }

    /// Gives `take` the rows some at a time, as long as it wants more.
    pub(super) fn scan(&self, fields: usize, mut take: impl FnMut(&[u8], &mut Structure) -> bool) {
        let unlimited =
            Limits { row_bytes_max: usize::MAX, field_bytes_max: usize::MAX, ..Limits::default() };
        let mut structure = Structure::new(self.dialect, fields, &unlimited);
        let mut text = self.text;
        loop {
            structure.scan(text);
            let scanned = structure.scanned() == text.len();
            let more = !scanned || (self.whole && structure.end(text));
            if !take(text, &mut structure) || !more || structure.exhausted() {
                return;
            }
            text = &text[structure.start_of(structure.rows())..];
            structure.forget_rows();
        }
    }
}

fn fields_of(
    dialect: &Dialect,
    reader: &FieldReader,
    text: &[u8],
    row: &Misshapen,
) -> Result<Vec<Vec<u8>>> {
    match row.shape {
        Shape::TextAfterQuote => {
            Err(header_error("text after a closing quote in the first row".to_owned()))
        }
        Shape::NeverClosed | Shape::RunsOn | Shape::RowTooLong => {
            Err(header_error("a quote in the first row is never closed".to_owned()))
        }
        Shape::FieldCount(_) | Shape::FieldTooLong => {
            let row = &text[row.start..row.end];
            Ok(fields_of_row(dialect, row)
                .map(|field| reader.text(&row[field]).into_owned())
                .collect())
        }
    }
}

/// Refuses what is not CSV at all. A character may be cut where the sample is.
pub(super) fn check_text(bytes: &[u8], whole: bool) -> Result<()> {
    let invalid = match std::str::from_utf8(bytes) {
        Err(error) if whole || error.error_len().is_some() => Some(error.valid_up_to()),
        _ => None,
    };
    let Some(byte) = memchr::memchr(0, bytes).into_iter().chain(invalid).min() else {
        return Ok(());
    };
    let line = 1 + memchr::memchr_iter(b'\n', &bytes[..byte]).count() as u64;
    let what = if bytes[byte] == 0 { "a NUL byte" } else { "not UTF-8" };
    Err(Error::new(ErrorKind::SourceInvalid, format!("this is not CSV text: {what}"))
        .with_position(Position { line, byte: byte as u64, column: None })
        .with_advice("check its format, compression and encoding, and the feed's pattern"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str, whole: bool, dialect: &Dialect) -> Option<Vec<String>> {
        read_header(Sample { bytes: text.as_bytes(), whole }, dialect).unwrap()
    }

    #[test]
    fn headers() {
        let header = |text: &str, whole| header(text, whole, &Dialect::default());
        assert_eq!(header("a,\"b\"\"\n\"\r\n1", false).unwrap(), ["a", "b\"\n"]);
        assert_eq!(header("\n\na,b", true).unwrap(), ["a", "b"]);
        assert_eq!(header("a,b", false), None);
        assert_eq!(header("\"a\nb", false), None);
        assert_eq!(header("", true), None);
        for bad in ["\"a\"x\n", "\"a", "\"a\nb"] {
            let sample = Sample { bytes: bad.as_bytes(), whole: true };
            let error = read_header(sample, &Dialect::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourceInvalid, "{bad}");
            assert!(error.position().is_some() && error.advice().is_some());
        }
    }

    #[test]
    fn names_come_from_where_the_dialect_says() {
        let bare = Dialect { header_rows: 0, ..Dialect::default() };
        assert_eq!(header("1,2\n", true, &bare).unwrap(), ["column_1", "column_2"]);
        let columns = vec!["a".to_owned(), "b".to_owned(), "A".to_owned()];
        for header_rows in [0, 1] {
            let given = Dialect { header_rows, columns: columns.clone(), ..Dialect::default() };
            assert_eq!(header("1,\"2\n", true, &given).unwrap(), ["a", "b", "A_2"]);
            assert_eq!(header("\n", true, &given), None);
        }
    }

    #[test]
    fn header_rows_are_found_after_skipped_lines_and_comments_and_joined() {
        let dialect =
            Dialect { skip_lines: 2, header_rows: 2, comment: Some(b'#'), ..Dialect::default() };
        let text = "Report \"of\n\n# \"units\nsales,,costs\n\n2023,\"2024\",,note\n1,2,3,4\n";
        let expected = ["sales_2023", "2024", "costs", "note"];
        assert_eq!(header(text, false, &dialect).unwrap(), expected);
        assert_eq!(header("x\ny\na,b", true, &dialect).unwrap(), ["a", "b"]);
        assert_eq!(header("x\ny\n", true, &dialect), None);
        let footer = Dialect { footer_lines: 2, ..Dialect::default() };
        assert_eq!(header("a,b\n\nTotal", true, &footer).unwrap(), ["a", "b"]);
        assert_eq!(header("\nTotal", true, &footer), None);
    }

    #[test]
    fn names_are_distinct_and_legal() {
        let names = |names: &[&str]| {
            distinct_names(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names(&["a", "A", "a_2", " a"]), ["a", "A_3", "a_2", " a_4"]);
        assert_eq!(names(&["", "column_1", " "]), ["column_1", "column_1_2", "column_3"]);
        assert_eq!(names(&["a b", "a_b", "a;b"]), ["a b", "a_b_2", "a;b_3"]);
        let long = "é".repeat(200);
        let cut = names(&[&long, &long]);
        assert_eq!(cut[0], "é".repeat(127));
        assert_eq!(cut[1], format!("{}_2", "é".repeat(126)));
        let many = names(&["x"; 10_000]);
        assert_eq!(many.last().unwrap(), "x_10000");
    }

    #[test]
    fn a_delimiter_may_end_each_row() {
        let trailing = |text: &str, header_rows| {
            let dialect = Dialect { header_rows, ..Dialect::default() };
            has_trailing_delimiter(Sample { bytes: text.as_bytes(), whole: true }, &dialect)
        };
        assert!(trailing("a,b,\n1,2,\n3,4,\n", 1));
        assert!(trailing("a,b\n1,2,\n3,4,\n5,6\n", 1));
        assert!(trailing("a,b,\n", 1));
        assert!(!trailing("a,b,\n1,2,3\n4,5,\n", 1));
        assert!(!trailing("a,b,\n1,2,\"\"\n4,5,6\n", 1));
        assert!(!trailing("a,b\n1,2,\n3,4\n5,6\n", 1));
        assert!(!trailing("a,b\n1,\n", 1));
        assert!(!trailing("1,2,\n3,4,\n", 0));
    }
}
