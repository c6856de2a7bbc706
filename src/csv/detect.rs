//! Finding out how an object is written down, where nobody says.
//!
//! ```text
//! sample ── candidates ──> a table for each ── score ──> the likeliest ── header ──> Detection
//! ```
//!
//! Every dialect that the sample's bytes allow is tried on its first bytes, and the likeliest few on
//! all of it. What is looked at, how it is scored, and what it cannot know is in
//! `docs/decisions/0012-detection.md`.

mod candidate;
mod header;
mod kind;
mod parse;
mod report;
mod score;
#[cfg(test)]
mod tests;

use super::dialect::{BYTE_ORDER_MARK, Dialect, DialectOptions, LineEnding, declared_delimiter};
use super::header::{Sample, has_stray_delimiters, has_trailing_delimiter};
use candidate::{Candidate, candidates};
use header::Question;
use kind::Kind;
use parse::{Table, line_end};
use score::Score;

pub use header::HeaderEvidence;
pub use report::DialectReport;

/// How much of an object is looked at.
pub const DETECTION_BYTES_MAX: usize = 256 << 10;

/// How much of the sample every candidate is tried on,
const FIRST_BYTES_MAX: usize = 16 << 10;

/// and how much all of them together are.
const ALL_FIRST_BYTES_MAX: usize = 512 << 10;

/// How many candidates are tried on all of the sample,
const CANDIDATES_MAX: usize = 4;

/// and how likely, beside the likeliest, they must have been on its first bytes.
const LIKELIHOOD_MIN: f64 = 0.6;

/// Below this, no number of fields is common enough to speak of columns.
const CONSISTENCY_MIN: f64 = 0.4;

/// How many rows it takes to believe in a single column of texts with commas in them.
const PROSE_ROWS_MIN: usize = 5;

/// What was found out of an object's dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The dialect: what was said, and what was found out.
    pub dialect: Dialect,
    /// From 0, a guess, to 1: nothing was left to find out, or nothing speaks against it.
    pub confidence: f64,
    /// What says that there is a header, or that there is none.
    pub header: HeaderEvidence,
    /// How many fields most rows have, a last empty one after a trailing delimiter included; nothing
    /// where that was not looked at, or no number is common enough.
    pub fields: Option<usize>,
}

/// Finds out what `options` do not say of the dialect, from the first [`DETECTION_BYTES_MAX`] of an
/// object. `columns` are the names that a header would have, as far as a table has them.
pub fn detect(sample: Sample<'_>, options: &DialectOptions, columns: &[&str]) -> Detection {
    let sample = first_of(sample);
    let mut detection = match is_complete(options) {
        true => said(options, 1.0),
        false => find(&Text::of(sample, options), options, columns),
    };
    let dialect = &mut detection.dialect;
    dialect.trailing_delimiter =
        may_trail(sample.bytes, &dialect.delimiter) && has_trailing_delimiter(sample, dialect);
    dialect.skips_unnamed = dialect.columns.is_empty() && has_stray_delimiters(sample, dialect);
    detection
}

/// Whether nothing is left to find out but what ends each row.
fn is_complete(options: &DialectOptions) -> bool {
    options.delimiter.is_some()
        && options.quote.is_some()
        && options.escape.is_some()
        && options.line_ending.is_some()
        && options.skip_lines.is_some()
        && options.header.is_some()
}

/// What the options say, where the sample says nothing.
fn said(options: &DialectOptions, confidence: f64) -> Detection {
    let header = options.header.map_or(HeaderEvidence::Guess, |_| HeaderEvidence::Said);
    Detection { dialect: options.or_default(), confidence, header, fields: None }
}

fn find(text: &Text<'_>, options: &DialectOptions, columns: &[&str]) -> Detection {
    let Some(found) = likeliest(text, options) else {
        let mut detection = said(options, 0.0);
        if let Some(declared) = text.declared {
            detection.dialect.delimiter = declared.to_vec();
        }
        detection.dialect.skip_lines = text.lines_before;
        return detection;
    };
    let given = options.columns.iter().map(String::as_str);
    let question = Question {
        width: found.score.width,
        may_skip: options.skip_lines.is_none() && found.score.consistency >= CONSISTENCY_MIN,
        header: options.header,
        header_rows: options.header_rows,
        has_given_names: !options.columns.is_empty(),
        columns: given.chain(columns.iter().copied()).collect(),
    };
    let start = question.answer(&found.table);
    let Candidate { quote, escape, line_ending, .. } = found.candidate;
    let before = match start.row {
        0 => &[][..],
        row => &text.bytes[..found.table.start_of(row)],
    };
    let dialect = Dialect {
        delimiter: found.delimiter(options, text),
        quote,
        escape,
        line_ending,
        skip_lines: text.lines_before + lines(before, line_ending),
        header_rows: start.header_rows,
        ..options.or_default()
    };
    let confidence = found.confidence(options, text).min(start.confidence);
    let is_common = found.score.consistency >= CONSISTENCY_MIN;
    let fields = is_common.then_some(found.score.width);
    Detection { dialect, confidence, header: start.evidence, fields }
}

/// The part of a sample that is looked at.
fn first_of(sample: Sample<'_>) -> Sample<'_> {
    let bytes = &sample.bytes[..sample.bytes.len().min(DETECTION_BYTES_MAX)];
    Sample { bytes, whole: sample.whole && sample.bytes.len() < DETECTION_BYTES_MAX }
}

/// Whether any line ends with a delimiter.
fn may_trail(bytes: &[u8], delimiter: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, delimiter)
        .any(|at| matches!(bytes.get(at + delimiter.len()), None | Some(b'\n' | b'\r')))
}

/// What of a sample is told apart.
struct Text<'a> {
    bytes: &'a [u8],
    whole: bool,
    /// Lines that come before it: those that are to be skipped, or a declaration.
    lines_before: u64,
    /// The delimiter that the sample declares.
    declared: Option<&'a [u8]>,
}

impl<'a> Text<'a> {
    fn of(sample: Sample<'a>, options: &DialectOptions) -> Self {
        let Sample { bytes, whole } = sample;
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let is_legal = |delimiter: &&[u8]| {
            Dialect { delimiter: delimiter.to_vec(), ..options.or_default() }.check().is_ok()
        };
        let declared = declared_delimiter(bytes).filter(is_legal);
        let declared = declared.filter(|_| options.skip_lines.is_none());
        let lines_before = options.skip_lines.unwrap_or(declared.is_some().into());
        let bytes = without_lines(bytes, lines_before, options.line_ending);
        Self { bytes, whole, lines_before, declared }
    }
}

/// `bytes` without so many lines. What ends one is not known yet, unless it is said.
fn without_lines(mut bytes: &[u8], lines: u64, said: Option<LineEnding>) -> &[u8] {
    let has_lf = memchr::memchr(b'\n', bytes).is_some();
    let guessed = if has_lf { LineEnding::Lf } else { LineEnding::Cr };
    let line_ending = said.unwrap_or(guessed);
    for _ in 0..lines {
        let end =
            (0..bytes.len()).find_map(|at| line_end(&bytes[at..], line_ending).map(|n| at + n));
        let Some(end) = end else { return b"" };
        bytes = &bytes[end..];
    }
    bytes
}

/// How many lines end in `bytes`.
fn lines(bytes: &[u8], line_ending: LineEnding) -> u64 {
    let (mut position, mut lines) = (0, 0);
    while let Some(ahead) = memchr::memchr2(b'\n', b'\r', &bytes[position..]) {
        position += ahead;
        let length = line_end(&bytes[position..], line_ending);
        lines += u64::from(length.is_some());
        position += length.unwrap_or(1);
    }
    lines
}

/// The likeliest candidate, and what it makes of the sample.
struct Found<'a> {
    candidate: Candidate,
    score: Score,
    table: Table<'a>,
    /// How likely the next one is, beside it, that tells fields or rows apart in another way.
    runner_up: f64,
}

fn likeliest<'a>(text: &Text<'a>, options: &DialectOptions) -> Option<Found<'a>> {
    let first = &text.bytes[..text.bytes.len().min(FIRST_BYTES_MAX)];
    let candidates = candidates(first, options, text.declared);
    let first = &first[..first.len().min(ALL_FIRST_BYTES_MAX / candidates.len().max(1))];
    let is_all = first.len() == text.bytes.len();
    let mut tried = try_all(first, text.whole && is_all, candidates, options);
    let mut runner_up = runner_up(&tried);
    if !is_all {
        let best = tried.first()?.1.value;
        tried.retain(|(_, score)| score.value >= LIKELIHOOD_MIN * best);
        tried.truncate(CANDIDATES_MAX);
        let candidates = tried.into_iter().map(|(candidate, _)| candidate).collect();
        tried = try_all(text.bytes, text.whole, candidates, options);
        runner_up = self::runner_up(&tried).or(runner_up);
    }
    let (candidate, score) = tried.into_iter().next()?;
    let table = Table::parse(text.bytes, text.whole, &candidate);
    let runner_up = runner_up.unwrap_or_default();
    (table.len() > 0).then_some(Found { candidate, score, table, runner_up })
}

/// How likely the second is of what was tried, beside the first; quotes and escapes aside.
fn runner_up(tried: &[(Candidate, Score)]) -> Option<f64> {
    let (first, score) = tried.first()?;
    let differs = |(other, _): &&(Candidate, Score)| {
        other.delimiter != first.delimiter || other.line_ending != first.line_ending
    };
    let (_, other) = tried.iter().find(differs)?;
    (score.value > 0.0).then(|| other.value / score.value)
}

/// Tries candidates on `text`, and returns the likeliest first; of equals, the earlier one.
fn try_all(
    text: &[u8],
    whole: bool,
    candidates: Vec<Candidate>,
    options: &DialectOptions,
) -> Vec<(Candidate, Score)> {
    let mut tried = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        // One table at a time is in memory.
        let table = Table::parse(text, whole, &candidate);
        let score = Score::of(&table, &candidate);
        if tried.is_empty() && score.is_perfect() && !candidate.is_weak() {
            return vec![(candidate, score)];
        }
        let most_quotes_are_stray =
            table.stray_quotes > 1 && table.quoted_cells < table.stray_quotes;
        let unquoted = candidate.unquoted();
        tried.push((candidate, score));
        if options.quote.is_none() && most_quotes_are_stray {
            let score = Score::of(&Table::parse(text, whole, &unquoted), &unquoted);
            tried.push((unquoted, score));
        }
    }
    // Values with spaces and colons in them: times, for instance.
    let are_values = |(candidate, score): &(Candidate, Score)| {
        candidate.delimiter.is_empty() && score.width == 1 && score.typed_columns == 1
    };
    if tried.iter().any(are_values) {
        tried.retain(|(candidate, _)| !candidate.is_weak());
    }
    tried.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
    tried
}

impl Found<'_> {
    fn has_columns(&self) -> bool {
        self.score.width > 1 && self.score.consistency >= CONSISTENCY_MIN
    }

    /// The delimiter. Where there is one column it is a comma, unless commas are part of the text:
    /// then it is one that the sample does not have. But if the first row has a comma too, it may have
    /// been meant as a delimiter, and a row refused is better than rows misread.
    fn delimiter(&self, options: &DialectOptions, text: &Text<'_>) -> Vec<u8> {
        const UNUSUAL: [&[u8]; 4] = [b"\t", b"|", b"\x01", b"\x1F"];
        if let Some(said) = options.delimiter.as_deref().or(text.declared) {
            return said.to_vec();
        }
        if !self.candidate.delimiter.is_empty() && self.has_columns() {
            return self.candidate.delimiter.clone();
        }
        let unused =
            UNUSUAL.into_iter().find(|unused| memchr::memmem::find(text.bytes, unused).is_none());
        match unused {
            Some(unused) if text.bytes.contains(&b',') && self.is_prose() => unused.to_vec(),
            _ => b",".to_vec(),
        }
    }

    /// Whether the one column is text that may have commas in it: not a few rows, nor numbers of which
    /// one has a field too many.
    fn is_prose(&self) -> bool {
        let has_mark = |bytes: &[u8]| bytes.iter().any(|byte| b",;\t|".contains(byte));
        let texts = |row: usize| self.table.row(row).iter().map(|cell| self.table.text_of(*cell));
        let is_text = |row: &usize| texts(*row).all(|text| Kind::of(text) == Kind::Text);
        let rows = self.table.len();
        self.candidate.delimiter.is_empty()
            && rows >= PROSE_ROWS_MIN
            && !texts(0).any(has_mark)
            && 2 * (1..rows).filter(is_text).count() > rows
    }

    fn confidence(&self, options: &DialectOptions, text: &Text<'_>) -> f64 {
        if options.delimiter.is_some() || text.declared.is_some() {
            return self.score.consistency;
        }
        let rows = 1.0 - 0.5_f64.powi(self.score.rows.min(64) as i32);
        if !self.has_columns() {
            return 0.6 * rows * self.score.consistency;
        }
        let margin = 1.0 - self.runner_up;
        rows * self.score.consistency * (2.5 * margin).min(1.0)
    }
}
