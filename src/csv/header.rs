//! The start of an object: the names of its columns, and its first rows.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::column::Rows;
use super::decode::Limits;
use super::dialect::{BYTE_ORDER_MARK, Dialect, FieldReader};
use super::lines::LineCounter;
use super::reject::{Complaint, RejectKind};
use super::requote::requoted;
use super::row::fields_of_row;
use super::structure::{Shape, Structure};
use crate::error::{Error, ErrorKind, Position, Result};

/// More of a sample is not looked at.
const SAMPLE_BYTES_MAX: usize = 256 << 20;

/// Rows that are looked at to see how many fields they have, and whether they end with a delimiter.
const WIDTH_ROWS_MAX: usize = 1000;

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

/// What names the columns of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The columns' names.
    pub names: Vec<String>,
    /// What is wrong with its quotes: the names are then those that are likely meant.
    pub fault: Option<Complaint>,
}

impl Header {
    /// The names of a header that nothing is wrong with.
    ///
    /// # Errors
    /// [`ErrorKind::SourceInvalid`], with its position, for another.
    pub fn sound(self) -> Result<Vec<String>> {
        match self.fault {
            None => Ok(self.names),
            Some(fault) => Err(header_error(format!("{} in the first row", fault.reason))
                .with_position(fault.position)),
        }
    }
}

/// The names of the columns: those of the dialect, or as the header has them, or `column_1` and so on
/// for the fields of the first row. Nothing where the sample has no complete row, unless the dialect has
/// names, and the object nothing but lines to be skipped.
///
/// The names of several header rows are joined with `_`. A column without a name becomes `column_3`,
/// and one of a name that was there before `name_2`. Names are cut to 255 bytes.
///
/// # Errors
/// [`ErrorKind::SourceInvalid`] where the first row, or one of the header, is no text.
pub fn read_header(sample: Sample<'_>, dialect: &Dialect) -> Result<Option<Header>> {
    dialect.check()?;
    let first = SampleRows::new(sample, dialect).first(dialect.header_rows.max(1) as usize);
    if !dialect.columns.is_empty() {
        let is_skipped = sample.whole && dialect.skip_lines > 0 && !sample.bytes.is_empty();
        let names = distinct_names(&dialect.columns);
        let is_there = !first.is_empty() || is_skipped;
        return Ok(is_there.then_some(Header { names, fault: None }));
    }
    if first.is_empty() {
        return Ok(None);
    }
    let mut names: Vec<String> = Vec::new();
    let mut fault = None;
    for row in first {
        fault = fault.or(row.fault);
        // Later rows are the decoder's to judge, one by one.
        for (column, field) in row.fields.into_iter().enumerate() {
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
    if dialect.skips_unnamed {
        names.retain(|name| !name.is_empty());
    }
    Ok(Some(Header { names: distinct_names(&names), fault }))
}

/// Whether the rows of an object end with a delimiter that no field follows: most of them have one
/// empty field more than there are named columns, and none has text in it.
pub(super) fn has_trailing_delimiter(sample: Sample<'_>, dialect: &Dialect) -> bool {
    let rows = SampleRows::new(sample, dialect);
    let header_rows = dialect.header_rows as usize;
    let mut rows = rows.first(header_rows + WIDTH_ROWS_MAX).into_iter();
    let header: Vec<Vec<Vec<u8>>> =
        rows.by_ref().take(header_rows).filter_map(SampleRow::sound).collect();
    let header = header.iter().max_by_key(|row| row.len());
    let unnamed = header.is_some_and(|row| row.len() > 1 && row.last().is_some_and(Vec::is_empty));
    let columns = match header {
        _ if !dialect.columns.is_empty() => dialect.columns.len(),
        Some(header) => header.len() - usize::from(unnamed),
        None => return false,
    };
    let rows: Vec<Vec<Vec<u8>>> = rows.filter_map(SampleRow::sound).collect();
    let longer: Vec<_> = rows.iter().filter(|row| row.len() == columns + 1).collect();
    let empty = longer.iter().all(|row| row.last().is_some_and(Vec::is_empty));
    empty && (2 * longer.len() > rows.len() || (unnamed && rows.is_empty()))
}

/// Whether what has no name in an object's header is no column, but a delimiter too many: most rows have
/// exactly as many fields as there are names, and none as many as the header.
pub(super) fn has_stray_delimiters(sample: Sample<'_>, dialect: &Dialect) -> bool {
    let rows = SampleRows::new(sample, dialect);
    let width = |fields: &[Vec<u8>]| fields.len();
    let names =
        |fields: &[Vec<u8>]| fields.iter().filter(|name| !name.trim_ascii().is_empty()).count();
    let has_gaps = |row: &SampleRow| (1..width(&row.fields)).contains(&names(&row.fields));
    if dialect.header_rows != 1 || !rows.first(1).first().is_some_and(has_gaps) {
        return false;
    }
    let mut rows = rows.first(1 + WIDTH_ROWS_MAX).into_iter().filter_map(SampleRow::sound);
    let Some(header) = rows.next() else { return false };
    let widths: Vec<usize> = rows.map(|row| row.len()).collect();
    let count = |wanted: usize| widths.iter().filter(|width| **width == wanted).count();
    count(header.len()) == 0 && 2 * count(names(&header)) > widths.len()
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

/// One row of a sample.
struct SampleRow {
    /// The texts of its fields, as likely meant where its quotes make no sense.
    fields: Vec<Vec<u8>>,
    /// What is wrong with its quotes.
    fault: Option<Complaint>,
}

impl SampleRow {
    /// The fields of a row that nothing is wrong with.
    fn sound(self) -> Option<Vec<Vec<u8>>> {
        self.fault.is_none().then_some(self.fields)
    }
}

/// The complete rows of a sample.
pub(super) struct SampleRows<'a> {
    /// Without a footer.
    bytes: &'a [u8],
    /// Without a byte-order mark either.
    text: &'a [u8],
    whole: bool,
    dialect: &'a Dialect,
}

impl<'a> SampleRows<'a> {
    pub(super) fn new(sample: Sample<'a>, dialect: &'a Dialect) -> Self {
        let mut bytes = &sample.bytes[..sample.bytes.len().min(SAMPLE_BYTES_MAX)];
        let whole = sample.whole && bytes.len() == sample.bytes.len();
        if whole {
            let footer = dialect.line_ending.last_lines(bytes, dialect.footer_lines);
            bytes = &bytes[..footer.unwrap_or_default()];
        }
        let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        Self { bytes, text, whole, dialect }
    }

    /// The first `rows` rows.
    fn first(&self, rows: usize) -> Vec<SampleRow> {
        let reader = FieldReader::new(self.dialect);
        // Where no fields are expected, there is a verdict on each row that says how many it has.
        let mut first = Vec::new();
        let mut lines = LineCounter::new(self.dialect.line_ending);
        self.scan(0, |text, structure| {
            let before = self.bytes.len() - text.len();
            let read = structure.misshapen().iter().map(|row| {
                let position = || lines.position_of(self.bytes, before + row.start);
                self.read(&reader, &text[row.start..row.end], row.shape, position)
            });
            first.extend(read.take(rows - first.len()));
            first.len() < rows
        });
        first
    }

    fn read(
        &self,
        reader: &FieldReader,
        row: &[u8],
        shape: Shape,
        position: impl FnOnce() -> Position,
    ) -> SampleRow {
        let (kind, reason) = match shape {
            Shape::FieldCount(_) | Shape::FieldTooLong => {
                return SampleRow { fields: self.texts(reader, row), fault: None };
            }
            Shape::TextAfterQuote => (RejectKind::TextAfterQuote, "text after a closing quote"),
            Shape::NeverClosed | Shape::RunsOn | Shape::RowTooLong => {
                (RejectKind::QuoteNeverClosed, "a quote is never closed")
            }
        };
        let fault = Complaint { position: position(), kind, reason: reason.to_owned() };
        let fields = self.texts(reader, &requoted(self.dialect, row));
        SampleRow { fields, fault: Some(fault) }
    }

    fn texts(&self, reader: &FieldReader, row: &[u8]) -> Vec<Vec<u8>> {
        let text = |field: Range<usize>| reader.text(&row[field]).into_owned();
        fields_of_row(self.dialect, row).map(text).collect()
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
        let header = read_header(Sample { bytes: text.as_bytes(), whole }, dialect).unwrap();
        header.map(|header| header.sound().unwrap())
    }

    #[test]
    fn headers() {
        let header = |text: &str, whole| header(text, whole, &Dialect::default());
        assert_eq!(header("a,\"b\"\"\n\"\r\n1", false).unwrap(), ["a", "b\"\n"]);
        assert_eq!(header("\n\na,b", true).unwrap(), ["a", "b"]);
        assert_eq!(header("a,b", false), None);
        assert_eq!(header("\"a\nb", false), None);
        assert_eq!(header("", true), None);
    }

    #[test]
    fn a_header_whose_quotes_make_no_sense_is_read_as_likely_meant_and_told() {
        let dialect = Dialect { skip_lines: 1, ..Dialect::default() };
        for (text, names, kind) in [
            ("\"a\"x,b\n1,2\n", ["ax", "b"], RejectKind::TextAfterQuote),
            ("\"a,b\n1,2\n", ["\"a", "b"], RejectKind::QuoteNeverClosed),
        ] {
            let text = format!("notes\n{text}");
            let sample = Sample { bytes: text.as_bytes(), whole: true };
            let header = read_header(sample, &dialect).unwrap().unwrap();
            assert_eq!(header.names, names);
            let position = Position { line: 2, byte: 6, column: None };
            let fault = header.fault.clone().unwrap();
            assert_eq!((fault.kind, &fault.position), (kind, &position));
            let error = header.sound().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourceInvalid);
            assert_eq!(error.position(), Some(&position));
            assert!(error.advice().is_some());
        }
    }

    #[test]
    fn a_header_may_have_delimiters_too_many() {
        let strays = |text: &str, header_rows| {
            let dialect = Dialect { header_rows, ..Dialect::default() };
            has_stray_delimiters(Sample { bytes: text.as_bytes(), whole: true }, &dialect)
        };
        assert!(strays("a,,b\n1,2\n3,4\n", 1));
        assert!(strays(",a,b, \n1,2\n3\n4,5\n", 1));
        assert!(!strays("a,,b\n1,2,3\n3,4\n5,6\n", 1));
        assert!(!strays("a,,b\n1\n3,4\n", 1));
        assert!(!strays("a,,b\n", 1));
        assert!(!strays("a,b\n1,2\n", 1));
        assert!(!strays(",,\n1,2\n", 1));
        assert!(!strays("a,,b\n1,2\n", 0));
        let dialect = Dialect { skips_unnamed: true, ..Dialect::default() };
        assert_eq!(header("a,,b\n1,2\n", true, &dialect).unwrap(), ["a", "b"]);
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
            let after_notes = Dialect { skip_lines: 2, ..given };
            assert_eq!(header("x\ny\n", true, &after_notes).unwrap(), ["a", "b", "A_2"]);
            assert_eq!(header("x\n", false, &after_notes), None);
            assert_eq!(header("", true, &after_notes), None);
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
