//! What becomes of an object's bad rows, as the feed wants it.

use crate::config::{BadRows, CsvOptions};
use crate::csv::{Complaint, Decoded, DialectReport};
use crate::error::{Error, ErrorKind, Position, Result};
use crate::receipt::RejectReport;

/// Bad rows that a receipt tells.
const TOLD_MAX: usize = 5;

/// What was found in one object.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    /// How it is written, once it has been looked into.
    pub dialect: Option<DialectReport>,
    /// Bad rows that are not in the table.
    pub rows_rejected: u64,
    /// Those that are, as far as they can be read.
    pub rows_rescued: u64,
    /// The first bad rows.
    pub first: Vec<RejectReport>,
}

impl Findings {
    fn rows_bad(&self) -> u64 {
        self.rows_rejected + self.rows_rescued
    }

    fn add(&mut self, decoded: &Decoded) {
        self.rows_rejected += decoded.rejects.len() as u64;
        self.rows_rescued += decoded.rescued.len() as u64;
        let rejected = decoded.rejects.iter().map(|reject| &reject.complaint);
        let mut complaints: Vec<&Complaint> = rejected.chain(&decoded.rescued).collect();
        complaints.sort_by_key(|complaint| complaint.position.byte);
        let room = TOLD_MAX - self.first.len().min(TOLD_MAX);
        self.first.extend(complaints.into_iter().take(room).map(RejectReport::from));
    }
}

/// Judges one object by its bad rows.
pub(super) struct Judge<'a> {
    options: &'a CsvOptions,
    findings: Findings,
}

impl<'a> Judge<'a> {
    pub fn new(options: &'a CsvOptions) -> Self {
        Self { options, findings: Findings::default() }
    }

    /// What was found so far.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Tells of what is wrong with a header, which is no row.
    pub fn tell(&mut self, complaint: &Complaint) {
        self.findings.first.push(RejectReport::from(complaint));
    }

    /// Takes some rows into account.
    ///
    /// # Errors
    /// [`ErrorKind::SourceInvalid`], with the place of the first bad row, where there are more than
    /// there may be.
    pub fn add(&mut self, decoded: &Decoded) -> Result<()> {
        self.findings.add(decoded);
        let is_fatal = matches!(self.options.bad_rows, BadRows::Fail | BadRows::Rescue);
        if let Some(reject) = decoded.rejects.first().filter(|_| is_fatal) {
            return Err(bad_row(&reject.complaint));
        }
        match self.options.max_bad_rows {
            Some(most) if self.findings.rows_bad() > most => {
                let bad = self.findings.rows_bad();
                Err(self.refusal(format!("{bad} bad rows so far, and max_bad_rows is {most}")))
            }
            _ => Ok(()),
        }
    }

    /// Judges the whole object, of which `rows` go into the table.
    ///
    /// # Errors
    /// Those of [`Judge::add`].
    pub fn end(&self, rows: u64) -> Result<()> {
        let (bad, all) = (self.findings.rows_bad(), rows + self.findings.rows_rejected);
        match self.options.max_bad_ratio {
            Some(most) if bad as f64 > most * all as f64 => {
                let message = format!("{bad} of {all} rows are bad, and max_bad_ratio is {most}");
                Err(self.refusal(message))
            }
            _ => Ok(()),
        }
    }

    fn refusal(&self, message: String) -> Error {
        let first = self.findings.first.first();
        let reason = first.map_or(String::new(), |first| format!("; the first: {}", first.reason));
        let error = Error::new(ErrorKind::SourceInvalid, message + &reason).with_advice(
            "see the first of them in the receipt, mend the object, or allow for more; nothing of \
             the object was taken",
        );
        let position = first.map(|RejectReport { line, byte, column, .. }| Position {
            line: *line,
            byte: *byte,
            column: column.clone(),
        });
        match position {
            Some(position) => error.with_position(position),
            None => error,
        }
    }
}

fn bad_row(complaint: &Complaint) -> Error {
    Error::new(ErrorKind::SourceInvalid, complaint.reason.clone())
        .with_position(complaint.position.clone())
        .with_advice(
            "mend the row, give the column another type with [feed.columns], or say what becomes of \
             bad rows with bad_rows; nothing of the object was taken",
        )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;

    use super::*;
    use crate::csv::{Reject, RejectKind};

    fn decoded(rejected: &[u64], rescued: &[u64]) -> Decoded {
        let complaint = |line: &u64| Complaint {
            position: Position { line: *line, byte: *line, column: None },
            kind: RejectKind::BadValue,
            reason: format!("row {line}"),
        };
        let reject = |line: &u64| Reject { complaint: complaint(line), raw: vec![] };
        Decoded {
            batch: RecordBatch::new_empty(Arc::new(Schema::empty())),
            rescued: rescued.iter().map(complaint).collect(),
            rejects: rejected.iter().map(reject).collect(),
        }
    }

    fn options(pairs: &[(&str, &str)]) -> CsvOptions {
        let mut options = CsvOptions::default();
        pairs.iter().for_each(|(key, value)| options.set(key, value).unwrap());
        options
    }

    #[test]
    fn one_bad_row_fails_its_object_unless_something_else_is_said() {
        for (policy, refused) in
            [("fail", true), ("rescue", true), ("quarantine", false), ("drop", false)]
        {
            let options = options(&[("bad_rows", policy)]);
            let mut judge = Judge::new(&options);
            assert_eq!(judge.add(&decoded(&[3, 5], &[])).is_err(), refused, "{policy}");
            assert_eq!(judge.findings().rows_rejected, 2);
        }
    }

    #[test]
    fn the_first_bad_rows_are_told_in_their_order() {
        let options = options(&[("bad_rows", "drop")]);
        let mut judge = Judge::new(&options);
        judge.add(&decoded(&[3, 5], &[2, 4])).unwrap();
        judge.add(&decoded(&[9, 10], &[8])).unwrap();
        let lines: Vec<u64> = judge.findings().first.iter().map(|report| report.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 8]);
    }

    #[test]
    fn an_object_with_too_many_bad_rows_is_refused() {
        let options = options(&[("bad_rows", "drop"), ("max_bad_rows", "3")]);
        let mut judge = Judge::new(&options);
        judge.add(&decoded(&[3, 5], &[2])).unwrap();
        let error = judge.add(&decoded(&[9], &[])).unwrap_err();
        assert_eq!(error.message(), "4 bad rows so far, and max_bad_rows is 3; the first: row 2");
        assert_eq!(error.position().map(|position| position.line), Some(2));
    }

    #[test]
    fn an_object_with_too_great_a_share_of_bad_rows_is_refused() {
        let options = options(&[("bad_rows", "drop"), ("max_bad_ratio", "0.25")]);
        let mut judge = Judge::new(&options);
        judge.end(0).unwrap();
        judge.add(&decoded(&[1], &[2])).unwrap();
        judge.end(7).unwrap();
        let error = judge.end(6).unwrap_err();
        assert!(error.message().starts_with("2 of 7 rows are bad"), "{error}");
    }
}
