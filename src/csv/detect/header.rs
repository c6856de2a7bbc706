//! Which row names the columns, and which lines come before it.

use std::collections::HashSet;

use super::cells::Kind;
use super::reading::{PREAMBLE_ROWS_MAX, Reading, Row, WIDTH_ROBUST};

/// Rows below a header that are looked at.
const ROWS_MAX: usize = 1000;
/// How many of a column's values must be of one kind for it to be the column's.
const TYPED_RATIO_MIN: f64 = 0.8;

/// From this vote on, a row is a header whatever comes before it.
const HEADER_VOTE_CLEAR: f64 = 0.3;

/// What was found out of the rows before the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    /// The first row of the table, be it its header or not.
    pub(super) first_row: usize,
    /// Whether it is the header.
    pub(super) has_header: bool,
    /// From 0 to 1, how sure that is.
    pub(super) confidence: f64,
}

/// What is known beforehand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// Whether there is a header.
    pub(super) has_header: Option<bool>,
    /// Whether lines before the table may be looked for.
    pub(super) may_skip: bool,
    /// The names of the table's columns, where there is a table.
    pub(super) columns: &'a [&'a str],
}

/// Finds the header of the table in `reading` of `text`.
pub(super) fn find(text: &[u8], reading: &Reading, known: Known<'_>) -> Found {
    let table = Table { text, reading };
    if let Some(found) = table.by_names(known) {
        return found;
    }
    let first_row = if known.may_skip { table.first_row() } else { 0 };
    let vote = table.vote(first_row);
    let has_header = known.has_header.unwrap_or(vote >= 0.0);
    // Lines that are left out for no header below them could be rows.
    let first_row = if has_header { first_row } else { 0 };
    let confidence = if known.has_header.is_some() { 1.0 } else { vote.abs().clamp(0.1, 1.0) };
    Found { first_row, has_header, confidence }
}

struct Table<'a> {
    text: &'a [u8],
    reading: &'a Reading,
}

impl Table<'_> {
    /// The row that names columns of the table, if one does.
    fn by_names(&self, known: Known<'_>) -> Option<Found> {
        if known.columns.is_empty() || known.has_header == Some(false) {
            return None;
        }
        let names: HashSet<String> = known.columns.iter().map(|name| folded(name)).collect();
        let rows = if known.may_skip { PREAMBLE_ROWS_MAX } else { 1 };
        let matches = |row: &Row| {
            row.fields
                .iter()
                .filter(|field| names.contains(&folded(&String::from_utf8_lossy(self.cell(field)))))
                .count()
        };
        let (first_row, matched) = self
            .reading
            .rows
            .iter()
            .take(rows)
            .map(matches)
            .enumerate()
            .max_by_key(|&(row, matched)| (matched, std::cmp::Reverse(row)))?;
        let fields = self.reading.rows[first_row].fields.len().min(names.len());
        let confidence = matched as f64 / fields.max(1) as f64;
        (2 * matched >= fields.max(1)).then_some(Found { first_row, has_header: true, confidence })
    }

    /// The first row that has about as many fields as most: those before it are titles and notes.
    fn first_row(&self) -> usize {
        let Reading { width, rows, .. } = self.reading;
        if *width == 1 {
            return 0;
        }
        let misses = |row: &Row| row.fields.len().abs_diff(*width);
        let is_wide = |row: &Row| misses(row) <= usize::from(*width >= WIDTH_ROBUST);
        let first = rows.iter().take(PREAMBLE_ROWS_MAX).position(is_wide).unwrap_or(0);
        // A header may lack a delimiter, or have one too many; what follows it is then no header.
        match first.checked_sub(1) {
            Some(before) if misses(&rows[before]) == 1 && rows[before].fields.len() > 1 => {
                if self.vote(first) < HEADER_VOTE_CLEAR { before } else { first }
            }
            _ => first,
        }
    }

    /// Above 0, `row` names the columns of those below it; below 0, it is one of them.
    fn vote(&self, row: usize) -> f64 {
        let Some((first, below)) = self.reading.rows.get(row..).and_then(<[Row]>::split_first)
        else {
            return 0.0;
        };
        let below: Vec<&Row> = below
            .iter()
            .filter(|row| row.fields.len() == self.reading.width)
            .take(ROWS_MAX)
            .collect();
        let cells: Vec<Kind> = first.fields.iter().map(|f| Kind::of(self.cell(f))).collect();
        if below.is_empty() {
            let typed = cells.iter().filter(|kind| kind.is_typed()).count();
            return if typed > 0 { -0.5 } else { 0.3 };
        }
        let columns = first.fields.len().min(self.reading.width);
        let votes = (0..columns).map(|column| self.vote_of(first, &below, column));
        votes.sum::<f64>() / columns.max(1) as f64
    }

    fn vote_of(&self, first: &Row, below: &[&Row], column: usize) -> f64 {
        let cell = self.cell(&first.fields[column]);
        let kind = Kind::of(cell);
        let values: Vec<&[u8]> = below
            .iter()
            .map(|row| self.cell(&row.fields[column]))
            .filter(|value| Kind::of(value) != Kind::Empty)
            .collect();
        let typed = values.iter().filter(|value| Kind::of(value).is_typed()).count() as f64;
        let is_typed = !values.is_empty() && typed >= TYPED_RATIO_MIN * values.len() as f64;
        let occurs_below = values.contains(&cell);
        match kind {
            Kind::Empty => -0.1,
            Kind::Text if is_typed => 1.0,
            _ if is_typed => -1.0,
            // A name is no number; a year above a column of texts may be one.
            Kind::Number | Kind::Time | Kind::Boolean => -0.3,
            Kind::Text if occurs_below => -0.6,
            Kind::Text => 0.1,
        }
    }

    /// A field without its quotes.
    fn cell(&self, field: &std::ops::Range<usize>) -> &[u8] {
        let bytes = self.text[field.clone()].trim_ascii();
        match (self.reading.dialect.quote, bytes) {
            (Some(quote), [first, inner @ .., last]) if *first == quote && *last == quote => inner,
            _ => bytes,
        }
    }
}

/// The form in which names are compared: letters and digits alone.
fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
