//! Finding out how an object is written down, where nobody says.
//!
//! The start of the object is read by each dialect that could be meant, and the one wins whose rows are
//! alike and whose fields look like fields (see [`reading`]). Then a row is looked for that names the
//! columns (see [`header`]). On weak evidence it stays with what most objects are: commas, double
//! quotes, a header. Nothing depends on how the object is cut into reads.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::dialect::{BYTE_ORDER_MARK, Dialect, DialectOptions, LineEnding, declared_delimiter};
use super::header::{Sample, has_trailing_delimiter};
use reading::Reading;

mod cells;
mod header;
mod reading;

/// How much of an object is looked at.
pub const DETECTION_BYTES_MAX: usize = 256 << 10;
/// How much of it is read by each dialect, where that has some rows.
const READ_BYTES_MAX: usize = 32 << 10;
/// How many line ends make some rows.
const LINES_MIN: usize = 8;

/// The delimiters that are looked for, each with how likely it is to be one where it occurs: spaces and
/// colons are mostly something else.
const DELIMITERS: [(&[u8], f64); 12] = [
    (b",", 1.0),
    (b";", 0.98),
    (b"\t", 0.98),
    (b"|", 0.97),
    (b"\x01", 0.98),
    (b"||", 0.97),
    (b", ", 0.95),
    (b"; ", 0.94),
    (b"^", 0.85),
    (b"~", 0.85),
    (b" ", 0.4),
    (b":", 0.3),
];

/// What was found out of an object's dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The dialect: what was said, and what was found out.
    pub dialect: Dialect,
    /// From 0, a guess, to 1: nothing was left to find out, or nothing speaks against it.
    pub confidence: f64,
}

/// How an object is written down, for people who read a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DialectReport {
    /// How it is compressed: `plain`, `gzip`, `zip` …
    pub compression: String,
    /// The encoding of its text, as the WHATWG calls it.
    pub encoding: String,
    /// What separates fields.
    pub delimiter: String,
    /// What may enclose a field.
    pub quote: Option<char>,
    /// What makes the next character data.
    pub escape: Option<char>,
    /// What ends a line.
    pub line_ending: LineEnding,
    /// The rows that name the columns.
    pub header_rows: u32,
    /// The lines before them.
    pub skip_lines: u64,
    /// How sure that is: from 0, a guess, to 1, in hundredths.
    pub confidence: f64,
}

impl Detection {
    /// The same for people, of an object of this compression and encoding.
    pub fn report(&self, compression: &str, encoding: &str) -> DialectReport {
        let Dialect { delimiter, quote, escape, line_ending, header_rows, skip_lines, .. } =
            &self.dialect;
        DialectReport {
            compression: compression.to_owned(),
            encoding: encoding.to_owned(),
            delimiter: String::from_utf8_lossy(delimiter).into_owned(),
            quote: quote.map(char::from),
            escape: escape.map(char::from),
            line_ending: *line_ending,
            header_rows: *header_rows,
            skip_lines: *skip_lines,
            confidence: (self.confidence * 100.0).round() / 100.0,
        }
    }
}

impl fmt::Display for DialectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compression, encoding, delimiter, quote, header_rows, skip_lines, .. } = self;
        write!(f, "{compression}, {encoding}, delimiter {delimiter:?}, ")?;
        match quote {
            Some(quote) => write!(f, "quote {quote}, ")?,
            None => f.write_str("no quote, ")?,
        }
        match header_rows {
            0 => f.write_str("no header")?,
            1 => f.write_str("a header")?,
            rows => write!(f, "a header of {rows} rows")?,
        }
        if *skip_lines > 0 {
            write!(f, " after {skip_lines} lines")?;
        }
        write!(f, " (confidence {})", self.confidence)
    }
}

/// Finds out what `options` do not say of the dialect, from the start of an object, as UTF-8. `columns`
/// are the names that a header would have, where there is a table already.
pub fn detect(sample: Sample<'_>, options: &DialectOptions, columns: &[&str]) -> Detection {
    let sample = start_of(sample);
    let mut dialect = options.or_default();
    let declared = declared_delimiter(sample.bytes)
        .filter(|_| options.delimiter.is_none() && options.skip_lines.is_none())
        .filter(|delimiter| {
            let declared = Dialect { delimiter: delimiter.to_vec(), ..dialect.clone() };
            declared.check().is_ok()
        });
    if let Some(delimiter) = declared {
        dialect.delimiter = delimiter.to_vec();
        dialect.skip_lines = 1;
    }
    let mut confidence = 1.0;
    if is_open(options) {
        let given = Given { options, dialect: &dialect, has_delimiter: declared.is_some() };
        (dialect, confidence) = find(sample, &given, columns);
    }
    dialect.trailing_delimiter = has_trailing_delimiter(sample, &dialect);
    Detection { dialect, confidence }
}

/// Whether there is anything to be found out.
fn is_open(options: &DialectOptions) -> bool {
    options.delimiter.is_none()
        || options.quote.is_none()
        || options.escape.is_none()
        || options.line_ending.is_none()
        || options.header.is_none()
        || options.skip_lines.is_none()
}

/// The part of a sample that is looked at, without its byte-order mark.
fn start_of(sample: Sample<'_>) -> Sample<'_> {
    let bytes = sample.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(sample.bytes);
    cut(Sample { bytes, ..sample }, DETECTION_BYTES_MAX)
}

fn cut(sample: Sample<'_>, bytes_max: usize) -> Sample<'_> {
    let whole = sample.whole && sample.bytes.len() <= bytes_max;
    Sample { bytes: &sample.bytes[..sample.bytes.len().min(bytes_max)], whole }
}

/// What is not to be found out.
struct Given<'a> {
    options: &'a DialectOptions,
    /// With everything that is given.
    dialect: &'a Dialect,
    /// Whether the object itself says its delimiter.
    has_delimiter: bool,
}

fn find(sample: Sample<'_>, given: &Given<'_>, columns: &[&str]) -> (Dialect, f64) {
    let Given { options, dialect, .. } = *given;
    let part = cut(sample, READ_BYTES_MAX);
    let lines = memchr::memchr2_iter(b'\n', b'\r', part.bytes).take(LINES_MIN).count();
    let part = if lines < LINES_MIN { sample } else { part };
    let (reading, confidence) = best(part, given);
    let known = header::Known {
        has_header: options.header,
        may_skip: options.skip_lines.is_none(),
        columns,
    };
    let found = header::find(part.bytes, &reading, known);
    let mut found_dialect = reading.dialect;
    if found.first_row > 0 {
        let start = reading.rows[found.first_row].start;
        found_dialect.skip_lines = found_dialect.line_ending.count(0, &part.bytes[..start]) as u64;
    }
    found_dialect.header_rows = if found.has_header { dialect.header_rows.max(1) } else { 0 };
    (found_dialect, confidence.min(found.confidence))
}

/// The reading that goes best, and how sure that is.
fn best(sample: Sample<'_>, given: &Given<'_>) -> (Reading, f64) {
    let endings = line_endings(sample.bytes, given.options.line_ending);
    let first = Dialect { line_ending: endings[0], ..given.dialect.clone() };
    let default = Reading::new(sample, first.clone(), 1.0);
    let quotes = quotes(sample.bytes, given, &default);
    let has_one_quote = quotes == [given.dialect.quote];
    if default.is_plain && endings.len() == 1 && has_one_quote {
        return (default, 1.0);
    }
    let escapes = escapes(sample.bytes, given, &quotes);
    let mut readings = vec![default];
    for (delimiter, delimiter_prior) in delimiters(sample.bytes, given) {
        for (i, &line_ending) in endings.iter().enumerate() {
            for &quote in &quotes {
                for &escape in &escapes {
                    let prior = delimiter_prior
                        * if i > 0 { 0.95 } else { 1.0 }
                        * if quote == Some(b'"') { 1.0 } else { 0.97 }
                        * if escape.is_some() { 0.98 } else { 1.0 };
                    let delimiter = delimiter.clone();
                    let other = Dialect { delimiter, quote, escape, line_ending, ..first.clone() };
                    if other != first && other.check().is_ok() {
                        readings.push(Reading::new(sample, other, prior));
                    }
                }
            }
        }
    }
    // Of equals, the first.
    let best = (0..readings.len())
        .max_by(|&a, &b| readings[a].score.total_cmp(&readings[b].score).then(b.cmp(&a)))
        .unwrap_or(0);
    let best = readings.swap_remove(best);
    let rival = readings
        .iter()
        .filter(|reading| !reading.agrees_with(&best))
        .map(|reading| reading.score)
        .fold(0.0, f64::max);
    let lead = if best.score > 0.0 { 1.0 - rival / best.score } else { 0.0 };
    let confidence = (best.consistency * (0.5 + 0.5 * lead)).clamp(0.0, 1.0);
    (best, confidence)
}

/// What may end the lines of `text`, the likeliest first.
fn line_endings(text: &[u8], given: Option<LineEnding>) -> Vec<LineEnding> {
    if let Some(given) = given {
        return vec![given];
    }
    let is_bare = |&at: &usize| text.get(at + 1) != Some(&b'\n');
    let bare_crs = memchr::memchr_iter(b'\r', text).filter(is_bare).count();
    let lfs = memchr::memchr_iter(b'\n', text).count();
    // The rarer of the two may be within quotes.
    if bare_crs == 0 {
        vec![LineEnding::Lf]
    } else if lfs == 0 {
        vec![LineEnding::Cr]
    } else if bare_crs > lfs {
        vec![LineEnding::Cr, LineEnding::Mixed]
    } else {
        vec![LineEnding::Lf, LineEnding::Mixed]
    }
}

/// The delimiters that occur in `text`, with their priors, and one that does not: the object may have
/// one column.
fn delimiters(text: &[u8], given: &Given<'_>) -> Vec<(Vec<u8>, f64)> {
    if given.has_delimiter || given.options.delimiter.is_some() {
        return vec![(given.dialect.delimiter.clone(), 1.0)];
    }
    let count = |delimiter: &[u8]| memchr::memmem::find_iter(text, delimiter).count();
    let (there, absent): (Vec<_>, Vec<_>) =
        DELIMITERS.into_iter().partition(|(delimiter, _)| count(delimiter) > 0);
    let none = absent.into_iter().find(|(delimiter, _)| delimiter.len() == 1);
    // A mark that only occurs in a longer delimiter is none by itself.
    let is_part = |short: &[u8]| {
        there.iter().any(|(long, _)| {
            let times = memchr::memmem::find_iter(long, short).count();
            long.len() > short.len() && times > 0 && times * count(long) == count(short)
        })
    };
    let whole: Vec<_> = there.iter().copied().filter(|(short, _)| !is_part(short)).collect();
    whole
        .into_iter()
        .chain(none.map(|(delimiter, _)| (delimiter, 1.0)))
        .map(|(delimiter, prior)| (delimiter.to_vec(), prior))
        .collect()
}

fn quotes(text: &[u8], given: &Given<'_>, default: &Reading) -> Vec<Option<u8>> {
    if let Some(quote) = given.options.quote {
        return vec![quote];
    }
    let mut quotes = vec![Some(b'"')];
    if memchr::memchr(b'\'', text).is_some() {
        quotes.push(Some(b'\''));
    }
    if default.consistency < 1.0 && memchr::memchr(b'"', text).is_some() {
        quotes.push(None);
    }
    quotes
}

/// The escapes that make sense: there must be a quote to escape.
fn escapes(text: &[u8], given: &Given<'_>, quotes: &[Option<u8>]) -> Vec<Option<u8>> {
    if let Some(escape) = given.options.escape {
        return vec![escape];
    }
    let escapes_a_quote = memchr::memchr_iter(b'\\', text)
        .any(|at| text.get(at + 1).is_some_and(|next| quotes.contains(&Some(*next))));
    if escapes_a_quote { vec![None, Some(b'\\')] } else { vec![None] }
}

#[cfg(test)]
mod tests;
