//! How well a candidate explains a sample.
//!
//! The idea is that of van den Burg, Nazábal and Sutton, "Wrangling messy CSV files by detecting row
//! and type patterns" (Data Mining and Knowledge Discovery 33, 2019): in the right dialect rows have
//! one number of fields, and fields look like values. The formula is ours.

use std::collections::HashMap;

use super::candidate::Candidate;
use super::kind::Kind;
use super::parse::{Cell, Table};

/// Fields whose values are looked at.
const CELLS_MAX: usize = 8_000;

/// How much a line before the table counts against it, beside a row in it of a wrong width.
const LEAD_WEIGHT: f64 = 0.2;

/// How much a line after the table does: nobody skips those unasked.
const TAIL_WEIGHT: f64 = 0.5;

/// How likely a delimiter that is common in text is, beside others, where quotes do not speak for it.
const WEAK_UNQUOTED: f64 = 0.72;

/// What one row is worth: that rows have one width says nothing then.
const ONE_ROW: f64 = 0.7;

/// What a table of a single column can come to.
const ONE_COLUMN: f64 = 0.45;

/// How well a candidate explains a sample: all shares from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Score {
    /// Of everything below, and of the candidate's prior: what is compared.
    pub value: f64,
    /// How many fields the table's rows have.
    pub width: usize,
    /// How many rows have that many.
    pub rows: usize,
    /// Their share of the rows in the table.
    pub consistency: f64,
    /// Columns that are more than text.
    pub typed_columns: usize,
    /// Whether no field has anything in it that another dialect would tell apart.
    pub is_clean: bool,
}

impl Score {
    pub fn of(table: &Table<'_>, candidate: &Candidate) -> Self {
        let Some(pattern) = Pattern::of(table) else {
            return Self::default();
        };
        let looks = Looks::of(table, pattern.width);
        let consistency = pattern.consistency(table.len());
        let mut value =
            consistency * consistency * (0.25 + 0.75 * looks.types) * breadth(pattern.width);
        if pattern.rows == 1 {
            value *= ONE_ROW;
        }
        // One of these takes more than rows of one width: half of the columns typed, or quotes.
        let is_quoted = table.quoted_cells >= table.len() && table.stray_quotes == 0;
        let typed_min =
            if is_quoted { pattern.width.div_ceil(3) } else { pattern.width.div_ceil(2) };
        let is_believable = looks.typed_columns >= typed_min
            && (pattern.rows > 1 || looks.typed_columns > 1)
            && (consistency >= 0.9 || is_quoted);
        if candidate.is_weak() {
            value *= match (is_believable, is_quoted) {
                (false, _) => 0.0,
                (true, false) => WEAK_UNQUOTED,
                (true, true) => 1.0,
            };
        }
        Self {
            value: value * candidate.prior,
            width: pattern.width,
            rows: pattern.rows,
            consistency,
            typed_columns: looks.typed_columns,
            is_clean: looks.is_clean && table.stray_quotes == 0,
        }
    }

    /// Whether no other dialect could tell more apart.
    pub fn is_perfect(&self) -> bool {
        self.is_clean && self.width > 1 && self.rows > 1 && self.consistency == 1.0
    }
}

/// More columns are less likely by chance.
fn breadth(width: usize) -> f64 {
    if width < 2 { ONE_COLUMN } else { 1.0 - 0.25 / (width - 1) as f64 }
}

/// The rows of the commonest width, and where they are.
#[derive(Debug, Clone, Copy)]
struct Pattern {
    width: usize,
    rows: usize,
    sound_rows: f64,
    first: usize,
    last: usize,
}

impl Pattern {
    fn of(table: &Table<'_>) -> Option<Self> {
        let mut patterns: HashMap<usize, Self> = HashMap::new();
        for row in 0..table.len() {
            let width = table.row(row).len();
            let none = Self { width, rows: 0, sound_rows: 0.0, first: row, last: row };
            let pattern = patterns.entry(width).or_insert(none);
            pattern.rows += 1;
            pattern.sound_rows += if table.has_stray_quote(row) { 0.5 } else { 1.0 };
            pattern.last = row;
        }
        let merit = |pattern: &Self| pattern.consistency(table.len()) * breadth(pattern.width);
        // By width at last, so that the order in the map does not matter.
        patterns
            .into_values()
            .max_by(|a, b| merit(a).total_cmp(&merit(b)).then(a.width.cmp(&b.width)))
    }

    fn consistency(&self, rows: usize) -> f64 {
        let within = (self.last - self.first + 1) as f64;
        let lead = LEAD_WEIGHT * self.first as f64;
        let tail = TAIL_WEIGHT * (rows - 1 - self.last) as f64;
        self.sound_rows / (within + lead + tail)
    }
}

/// What the fields of the rows of one width look like.
struct Looks {
    types: f64,
    /// Columns that are more than text.
    typed_columns: usize,
    is_clean: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Column {
    likeness: f64,
    filled: usize,
    typed: usize,
}

impl Looks {
    fn of(table: &Table<'_>, width: usize) -> Self {
        let mut columns = vec![Column::default(); width.min(CELLS_MAX)];
        let (mut rows, mut is_clean) = (0_usize, true);
        for row in (0..table.len()).filter(|row| table.row(*row).len() == width) {
            if rows * width > CELLS_MAX {
                break;
            }
            rows += 1;
            for (column, cell) in columns.iter_mut().zip(table.row(row)) {
                let text = table.text_of(*cell);
                let kind = Kind::of(text);
                let likeness = likeness(*cell, text, kind);
                is_clean &= likeness >= 0.9;
                column.likeness += likeness;
                column.filled += usize::from(!text.is_empty());
                column.typed += usize::from(kind.is_typed());
            }
        }
        // A delimiter that ends each row is common; elsewhere, nothing at all is a sign that there are
        // too many fields.
        let is_void = |(i, column): (usize, &Column)| column.filled == 0 && i + 1 != width;
        let likeness = |(i, column)| match is_void((i, column)) {
            true => 0.2,
            false => column.likeness / rows as f64,
        };
        let types = columns.iter().enumerate().map(likeness).sum::<f64>() / columns.len() as f64;
        is_clean &= !columns.iter().enumerate().any(is_void);
        let is_typed =
            |column: &&Column| column.filled > 0 && 5 * column.typed >= 3 * column.filled;
        Self { types, typed_columns: columns.iter().filter(is_typed).count(), is_clean }
    }
}

/// How much a field looks like one value.
fn likeness(cell: Cell, text: &[u8], kind: Kind) -> f64 {
    if cell.quoted {
        return 1.0;
    }
    let is_padded = text.first() == Some(&b' ') || text.last() == Some(&b' ');
    let padding = if is_padded { 0.15 } else { 0.0 };
    let base = match kind {
        Kind::Text => text_likeness(text),
        Kind::Empty => 0.95,
        _ => 1.0,
    };
    base - padding
}

fn text_likeness(text: &[u8]) -> f64 {
    let (first, last) = (text.first(), text.last());
    let is_quote = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\''));
    if is_quote(first) && (is_quote(last) || first == Some(&b'"')) {
        return 0.1;
    }
    let is_mark = |byte: &u8| matches!(byte, b',' | b';' | b'\t' | b'|' | 1 | b'"' | b'\r' | b'\n');
    // It may make what comes next data.
    let is_cut = last == Some(&b'\\');
    if is_cut || text.iter().any(is_mark) { 0.2 } else { 0.9 }
}
