//! Where a table begins in a sample, and whether its first row names the columns.
//!
//! Both mistakes are silent: a row of data that is lost as a header, and a header that is taken as
//! data. So nothing before the first row is left out without a sign, and where nothing speaks for
//! or against a header, there is one: a text that does not fit the table's names is refused aloud.

use std::collections::HashSet;

use super::kind::{KINDS, Kind};
use super::parse::Table;

/// A header is looked for in so many first rows.
const LEAD_ROWS_MAX: usize = 64;

/// Fields whose kind is looked at.
const CELLS_MAX: usize = 8_000;

/// Rows in which a text of the first row is looked for again.
const REPEATS_ROWS_MAX: usize = 100;

/// The most rows of a header that are found out.
const HEADER_ROWS_MAX: usize = 3;

/// What says that there is a header, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderEvidence {
    /// The options do.
    Said,
    /// The first row has the names of known columns.
    Names,
    /// The first row's values differ from those below it, or do not.
    Values,
    /// Nothing does.
    Guess,
}

/// Where a table begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Start {
    /// The first row of the table; those before it are none of it.
    pub row: usize,
    pub header_rows: u32,
    pub evidence: HeaderEvidence,
    /// From 0 to 1.
    pub confidence: f64,
}

/// What is asked.
pub(super) struct Question<'a> {
    /// The commonest number of fields.
    pub width: usize,
    /// Whether rows may be left out at the start.
    pub may_skip: bool,
    /// Whether there is a header, where that is known.
    pub header: Option<bool>,
    /// How many rows it has, where that is known.
    pub header_rows: Option<u32>,
    /// Whether the columns' names are given, so that a header is not needed.
    pub has_given_names: bool,
    /// The names that it would have.
    pub columns: Vec<&'a str>,
}

impl Question<'_> {
    pub fn answer(&self, table: &Table<'_>) -> Start {
        let named = (self.header != Some(false)).then(|| self.row_of_names(table)).flatten();
        if let Some(row) = named {
            return Start {
                row: self.last_of_equals(table, row),
                header_rows: self.header_rows.unwrap_or(1),
                evidence: HeaderEvidence::Names,
                confidence: 1.0,
            };
        }
        let body = Body::of(table, self.width);
        let may_skip = self.may_skip && self.width > 1;
        let first = if may_skip { self.first_row(table, &body) } else { 0 };
        let last = self.last_of_equals(table, first);
        let row = if body.is_header(last) && self.header != Some(false) { last } else { first };
        let verdict = body.verdict(row).or_else(|| body.verdict_on_ragged(table, row));
        let (is_header, evidence, confidence) = match self.header {
            Some(said) => (said, HeaderEvidence::Said, 1.0),
            None => verdict.unwrap_or((!self.has_given_names, HeaderEvidence::Guess, 0.5)),
        };
        let is_evident = evidence == HeaderEvidence::Values;
        let header_rows = match (is_header, self.header_rows) {
            (false, _) => 0,
            (true, Some(said)) => said,
            (true, None) if is_evident && self.columns.is_empty() => body.header_rows(row),
            (true, None) => 1,
        };
        Start { row, header_rows, evidence, confidence }
    }

    /// The first row at least half of which are names of known columns.
    fn row_of_names(&self, table: &Table<'_>) -> Option<usize> {
        if self.columns.is_empty() {
            return None;
        }
        let known: HashSet<Vec<u8>> =
            self.columns.iter().map(|name| folded(name.as_bytes())).collect();
        let rows = if self.may_skip { LEAD_ROWS_MAX } else { 1 };
        let has_names = |row: &usize| {
            let names = table.row(*row).iter().map(|cell| folded(table.text_of(*cell)));
            let (known, other): (Vec<_>, Vec<_>) =
                names.filter(|name| !name.is_empty()).partition(|name| known.contains(name));
            // A text may happen to be a name; the header is not far from the start without reason.
            let names_min = if *row == 0 { 1 } else { 2 };
            known.len() >= names_min.max(other.len())
        };
        let row = (0..table.len().min(rows)).find(has_names)?;
        let is_data = |before: usize| {
            let cells = table.row(before);
            cells.len() == table.row(row).len()
                && cells.iter().any(|cell| Kind::of(table.text_of(*cell)).is_typed())
        };
        (!(0..row).any(is_data)).then_some(row)
    }

    /// The last of the rows that are the same as `row`, one after the other: a header written twice.
    fn last_of_equals(&self, table: &Table<'_>, row: usize) -> usize {
        let texts = |row: usize| table.row(row).iter().map(|cell| table.text_of(*cell));
        let is_equal = |next: &usize| texts(*next).eq(texts(row));
        let next = row + 1..table.len();
        if self.may_skip { next.take_while(is_equal).last().unwrap_or(row) } else { row }
    }

    /// The first row that is of the table.
    fn first_row(&self, table: &Table<'_>, body: &Body) -> usize {
        let Some(&exact) = body.rows.first().filter(|row| **row < LEAD_ROWS_MAX) else { return 0 };
        if let Some(row) = body.header_after_notes(table) {
            return row;
        }
        // A header may have lost a delimiter, or have one too many.
        let is_near =
            |row: &usize| table.row(*row).len().abs_diff(self.width) <= 1 && self.width > 2;
        let near = (0..exact).find(is_near).unwrap_or(exact);
        if near < exact && !body.is_header(exact) {
            return if self.may_leave_out(table, near) { near } else { 0 };
        }
        let padded = body.end_of_padding(table);
        let is_data = matches!(body.verdict(padded), Some((false, ..)));
        let may_leave_out =
            table.follows_blank_line(padded) || (!is_data && self.may_leave_out(table, padded));
        if padded > exact || body.is_header(padded) || may_leave_out { padded } else { 0 }
    }

    /// Whether the rows before `row` are evidently no rows: a blank line is between, or each is a
    /// single field where there should be three or more.
    fn may_leave_out(&self, table: &Table<'_>, row: usize) -> bool {
        let is_prose = |row: usize| table.row(row).len() == 1;
        row > 0 && (table.follows_blank_line(row) || (self.width > 2 && (0..row).all(is_prose)))
    }
}

/// The rows of the table's width, as far as they are looked at.
struct Body {
    /// The columns that are looked at.
    width: usize,
    rows: Vec<usize>,
    /// Row by row.
    kinds: Vec<Kind>,
    /// What is known of each text beside its kind, row by row.
    shapes: Vec<Shape>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    length: usize,
    hash: u64,
    has_digit: bool,
    is_upper: bool,
    number: Option<u32>,
}

/// What speaks for a header, and against it: columns.
#[derive(Debug, Clone, Copy, Default)]
struct Votes {
    header: f64,
    data: f64,
    /// Of those for the header: columns whose values are more than text.
    typed: usize,
}

impl Body {
    fn of(table: &Table<'_>, width: usize) -> Self {
        let columns = width.min(CELLS_MAX);
        let mut body = Self { width: columns, rows: vec![], kinds: vec![], shapes: vec![] };
        for row in (0..table.len()).filter(|row| table.row(*row).len() == width) {
            if body.kinds.len() > CELLS_MAX && body.rows.len() > 2 {
                break;
            }
            body.rows.push(row);
            for cell in &table.row(row)[..columns] {
                let text = table.text_of(*cell);
                body.kinds.push(Kind::of(text));
                body.shapes.push(Shape::of(text));
            }
        }
        body
    }

    fn position(&self, row: usize) -> Option<usize> {
        self.rows.binary_search(&row).ok()
    }

    /// Whether more speaks for a header at `row` than against it.
    fn is_header(&self, row: usize) -> bool {
        matches!(self.verdict(row), Some((true, _, confidence)) if confidence > 0.5)
    }

    /// Whether `row` is a header, and how sure that is; nothing where nothing speaks for either.
    fn verdict(&self, row: usize) -> Option<(bool, HeaderEvidence, f64)> {
        let position = self.position(row)?;
        let Votes { header, data, .. } = self.votes(position);
        let sum = header + data;
        // The look of one text column is not enough.
        if sum < 1.0 && data == 0.0 {
            return None;
        }
        let confidence = 0.5 + 0.5 * (header - data).abs() / sum * (1.0 - 0.5_f64.powf(2.0 * sum));
        Some((header >= data, HeaderEvidence::Values, confidence))
    }

    /// The header behind the first blank line, if what is before has the look of notes: no values.
    fn header_after_notes(&self, table: &Table<'_>) -> Option<usize> {
        let has_values = |row: usize| {
            self.position(row)
                .is_some_and(|at| self.kinds_of(at).iter().any(|kind| kind.is_typed()))
        };
        let row = (1..table.len().min(LEAD_ROWS_MAX)).find(|row| table.follows_blank_line(*row))?;
        let votes = self.votes(self.position(row)?);
        let is_header = votes.typed > 0 && votes.data == 0.0;
        (is_header && !(0..row).any(has_values)).then_some(row)
    }

    /// Whether `row`, which has too few fields or too many to be compared column by column, is a
    /// header: whether it has no values where the table has some.
    fn verdict_on_ragged(
        &self,
        table: &Table<'_>,
        row: usize,
    ) -> Option<(bool, HeaderEvidence, f64)> {
        const CONFIDENCE: f64 = 0.75;
        if self.position(row).is_some() || row >= table.len() {
            return None;
        }
        let is_value = |kind: Kind| kind.is_typed() && kind != Kind::Boolean;
        let all: Vec<usize> = (0..self.rows.len()).collect();
        let common = (0..self.width).filter_map(|column| self.common_kind(&all, column));
        let columns = common.filter(|kind| is_value(*kind)).count();
        let cells = table.row(row).iter().take(CELLS_MAX);
        let values = cells.filter(|cell| is_value(Kind::of(table.text_of(**cell)))).count();
        match (columns, values) {
            (0, _) => None,
            (_, 0) => Some((true, HeaderEvidence::Values, CONFIDENCE)),
            _ if 2 * values >= columns => Some((false, HeaderEvidence::Values, CONFIDENCE)),
            _ => None,
        }
    }

    /// How many rows of a header begin at `row`. Sure only where each has text in most columns, and
    /// all below are more than that.
    fn header_rows(&self, row: usize) -> u32 {
        let Some(position) = self.position(row) else { return 1 };
        let is_another = |extra: &usize| {
            let position = position + extra;
            if self.rows.len() < position + 4 || self.rows[position] != row + extra {
                return false;
            }
            let votes = self.votes(position);
            votes.typed >= 2 && 2 * votes.typed >= self.width && votes.data == 0.0
        };
        1 + (1..HEADER_ROWS_MAX).take_while(is_another).count() as u32
    }

    /// The first row that is filled, if those before it are a title padded with delimiters to the
    /// table's width; else the first row.
    fn end_of_padding(&self, table: &Table<'_>) -> usize {
        let first = self.rows[0];
        // A word for nothing is something here.
        let filled =
            |position: usize| self.shapes_of(position).iter().filter(|it| it.length > 0).count();
        let lead = 0..self.rows.len().min(LEAD_ROWS_MAX);
        let Some(position) = lead.clone().find(|position| filled(*position) > 1) else {
            return first;
        };
        let is_full = filled(position) * 5 >= self.width * 4;
        let is_header = is_full && self.width > 2 && self.is_header(self.rows[position]);
        let is_parted = (0..position).any(|position| filled(position) == 0)
            || table.follows_blank_line(self.rows[position]);
        if position > 0 && (is_header || (is_parted && is_full)) {
            self.rows[position]
        } else {
            first
        }
    }

    fn kinds_of(&self, position: usize) -> &[Kind] {
        &self.kinds[position * self.width..(position + 1) * self.width]
    }

    fn shapes_of(&self, position: usize) -> &[Shape] {
        &self.shapes[position * self.width..][..self.width]
    }

    fn votes(&self, position: usize) -> Votes {
        let mut votes = Votes::default();
        let below = self.below(position);
        let mut numbers = 0.0;
        for column in 0..self.width {
            let first = self.kinds_of(position)[column];
            match self.common_kind(&below, column) {
                _ if first == Kind::Empty => {}
                // Nothing else is there to tell a value by.
                None if below.is_empty() && first.is_typed() && first != Kind::Boolean => {
                    votes.data += 1.0;
                }
                None => {}
                Some(Kind::Text) if first.is_typed() && first != Kind::Boolean => votes.data += 0.5,
                Some(Kind::Text) => self.vote_on_text(position, &below, column, &mut votes),
                Some(kind) if kind == first && kind == Kind::Number => numbers += 1.0,
                Some(kind) if kind == first => votes.data += 1.0,
                Some(_) if first == Kind::Text => {
                    votes.header += 1.0;
                    votes.typed += 1;
                }
                Some(_) => {}
            }
        }
        let unnamed = self.kinds_of(position).iter().filter(|kind| **kind == Kind::Empty).count();
        votes.data += if 2 * unnamed > self.width { 1.0 } else { 0.0 };
        // Years that count on, over what are none, are names.
        let are_years = self.are_years(position) && !self.are_years(position + 1);
        *if are_years { &mut votes.header } else { &mut votes.data } += numbers;
        votes
    }

    /// The rows below one, but for those that are the same: where files are put together, the header
    /// comes again.
    fn below(&self, position: usize) -> Vec<usize> {
        let differs = |below: &usize| self.shapes_of(*below) != self.shapes_of(position);
        (position + 1..self.rows.len()).filter(differs).collect()
    }

    /// The kind of nearly all values of a column in the rows below one.
    fn common_kind(&self, below: &[usize], column: usize) -> Option<Kind> {
        let mut counts = [0_usize; KINDS];
        for row in below {
            counts[self.kinds_of(*row)[column] as usize] += 1;
        }
        let filled: usize = counts.iter().sum::<usize>() - counts[Kind::Empty as usize];
        let kinds =
            [Kind::Number, Kind::Date, Kind::Time, Kind::Boolean, Kind::Address, Kind::Text];
        let is_common = |kind: &Kind| counts[*kind as usize] * 5 >= filled * 4;
        if filled == 0 { None } else { kinds.into_iter().find(is_common).or(Some(Kind::Text)) }
    }

    fn vote_on_text(&self, position: usize, below: &[usize], column: usize, votes: &mut Votes) {
        let shape = |position: usize| self.shapes[position * self.width + column];
        let first = shape(position);
        let is_filled = |row: &&usize| self.kinds_of(**row)[column] != Kind::Empty;
        let below: Vec<Shape> =
            below.iter().filter(is_filled).take(REPEATS_ROWS_MAX).map(|row| shape(*row)).collect();
        let all = |is_so: fn(&Shape) -> bool| below.len() > 1 && below.iter().all(is_so);
        let is_of_one_length =
            below.len() > 2 && below.iter().all(|other| other.length == below[0].length);
        if below.iter().any(|other| other.hash == first.hash && other.length == first.length) {
            // Less than what a typed column says: a value may happen to be the column's name.
            votes.data += 0.75;
        } else if (is_of_one_length && first.length != below[0].length)
            || (all(|shape| shape.has_digit) && !first.has_digit)
            || (first.is_upper && all(|shape| !shape.is_upper))
        {
            votes.header += 0.5;
        }
    }

    /// Whether a row's numbers, two or more, are years, each next to the one before.
    fn are_years(&self, position: usize) -> bool {
        let row = self.shapes.get(position * self.width..(position + 1) * self.width);
        let numbers: Vec<u32> =
            row.unwrap_or_default().iter().filter_map(|shape| shape.number).collect();
        numbers.len() > 1
            && numbers.iter().all(|number| (1900..=2100).contains(number))
            && numbers.windows(2).all(|pair| pair[0].abs_diff(pair[1]) == 1)
    }
}

impl Shape {
    fn of(text: &[u8]) -> Self {
        let letters = || text.iter().filter(|byte| byte.is_ascii_alphabetic());
        let is_number = (1..=9).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        let value = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        Self {
            length: text.len(),
            hash: xxhash_rust::xxh3::xxh3_64(text),
            has_digit: text.iter().any(u8::is_ascii_digit),
            is_upper: letters().count() > 1 && letters().all(u8::is_ascii_uppercase),
            number: if is_number { value(text) } else { None },
        }
    }
}

/// A name without what may differ between a header and a table: case, spaces, and what stands for
/// them.
fn folded(name: &[u8]) -> Vec<u8> {
    let name = String::from_utf8_lossy(name).to_lowercase();
    name.chars().filter(|char| char.is_alphanumeric()).collect::<String>().into_bytes()
}
