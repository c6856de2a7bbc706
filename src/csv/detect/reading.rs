//! A sample, read by one dialect, and how well that went.

use std::collections::HashMap;
use std::ops::Range;

use super::super::dialect::Dialect;
use super::super::header::{Sample, SampleRows};
use super::super::row::fields_of_row;
use super::super::structure::Shape;
use super::cells;

/// Rows whose fields are looked at.
const ROWS_MAX: usize = 500;
/// Fields of a row that are looked at.
const FIELDS_MAX: usize = 64;
/// Rows before the table that may be something else.
pub(super) const PREAMBLE_ROWS_MAX: usize = 50;
/// What such a row weighs, against one that is in the table.
const PREAMBLE_WEIGHT: f64 = 0.25;
/// From so many fields on, a row with one more or less is half right.
pub(super) const WIDTH_ROBUST: usize = 4;

/// One row of the sample, and where its fields are.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) start: usize,
    pub(super) fields: Vec<Range<usize>>,
    /// Whether its quotes make no sense.
    is_broken: bool,
}

/// A sample as one dialect has it.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) dialect: Dialect,
    pub(super) rows: Vec<Row>,
    /// How many fields most rows have.
    pub(super) width: usize,
    /// From 0 to 1, how many of the rows have as many fields as they should.
    pub(super) consistency: f64,
    /// How well it went: the higher, the better.
    pub(super) score: f64,
    /// Whether nothing speaks for another dialect.
    pub(super) is_plain: bool,
}

impl Reading {
    /// Reads `sample` by `dialect`, which is as likely as `prior` says, from 0 to 1, before anything
    /// was read.
    pub(super) fn new(sample: Sample<'_>, dialect: Dialect, prior: f64) -> Self {
        let rows = rows(sample, &dialect);
        let width = usual_width(&rows);
        let consistency = consistency(&rows, width);
        let broken = rows.iter().filter(|row| row.is_broken).count() as f64;
        let sound = 1.0 - broken / rows.len().max(1) as f64;
        let quality = quality(sample.bytes, &rows, dialect.quote);
        let score =
            consistency * consistency * worth(width) * quality * prior * sound * weight(rows.len());
        let has_no_mark = |row: &Row| {
            !row.fields.iter().any(|field| {
                let text = &sample.bytes[field.clone()];
                text.first() != dialect.quote.as_ref() && cells::has_strong_mark(text)
            })
        };
        let is_plain = width > 1
            && broken == 0.0
            && rows.iter().all(|row| row.fields.len() == width)
            && rows.iter().all(has_no_mark);
        Self { dialect, rows, width, consistency, score, is_plain }
    }

    /// Whether the two find the same fields.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let same = |(one, other): (&Row, &Row)| one.fields == other.fields;
        self.rows.len() == other.rows.len() && self.rows.iter().zip(&other.rows).all(same)
    }
}

fn rows(sample: Sample<'_>, dialect: &Dialect) -> Vec<Row> {
    let mut rows = Vec::new();
    // A footer is some odd rows more; so the text below is always the sample's end.
    let dialect = &Dialect { footer_lines: 0, ..dialect.clone() };
    SampleRows::new(sample, dialect).scan(0, |text, structure| {
        let offset = sample.bytes.len() - text.len();
        for row in structure.misshapen() {
            let bytes = &text[row.start..row.end];
            let start = offset + row.start;
            let fields = fields_of_row(dialect, bytes)
                .map(|field| start + field.start..start + field.end)
                .collect();
            let is_broken = !matches!(row.shape, Shape::FieldCount(_) | Shape::FieldTooLong);
            rows.push(Row { start, fields, is_broken });
        }
        true
    });
    rows
}

/// The number of fields that most rows have; of two, the greater.
fn usual_width(rows: &[Row]) -> usize {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for row in rows.iter().filter(|row| !row.is_broken) {
        *counts.entry(row.fields.len()).or_default() += 1;
    }
    counts.into_iter().max_by_key(|&(width, rows)| (rows, width)).map_or(1, |(width, _)| width)
}

fn consistency(rows: &[Row], width: usize) -> f64 {
    let first = rows.iter().position(|row| row.fields.len() == width).unwrap_or(0);
    let preamble = first.min(PREAMBLE_ROWS_MAX);
    let right = |row: &Row| {
        if row.is_broken {
            return 0.0;
        }
        match row.fields.len().abs_diff(width) {
            0 => 1.0,
            1 if width >= WIDTH_ROBUST => 0.5,
            _ => 0.0,
        }
    };
    let rows_in_table = (rows.len() - preamble) as f64;
    let right: f64 = rows[preamble..].iter().map(right).sum();
    right / (rows_in_table + PREAMBLE_WEIGHT * preamble as f64).max(1.0)
}

/// From 0 to 1, how much the fields look like fields. Each row counts alike.
fn quality(text: &[u8], rows: &[Row], quote: Option<u8>) -> f64 {
    let rows = &rows[..rows.len().min(ROWS_MAX)];
    let of_row = |row: &Row| {
        let fields = &row.fields[..row.fields.len().min(FIELDS_MAX)];
        let sum: f64 =
            fields.iter().map(|field| cells::likeliness(&text[field.clone()], quote)).sum();
        sum / fields.len().max(1) as f64
    };
    rows.iter().map(of_row).sum::<f64>() / rows.len().max(1) as f64
}

/// What so many rows say: that one row is like itself says little.
fn weight(rows: usize) -> f64 {
    rows as f64 / (rows as f64 + 0.5)
}

/// What a table of so many columns is worth: that rows are alike is the less a chance, the more there
/// is to them.
fn worth(width: usize) -> f64 {
    match width {
        0 | 1 => 0.3,
        width => 1.0 - 0.6 / width as f64,
    }
}
