//! What happened to each source object, and what the caller must do about it.

use std::collections::BTreeMap;
use std::error::Error as _;

use serde::{Deserialize, Serialize};

use crate::csv::{Complaint, DialectReport, RejectKind};
use crate::error::{Error, ErrorKind, with_causes};

/// What happened to one source object. Every object that was announced ends in one.
///
/// The names of the fields are an interface: scripts read them from `lakefeed ingest --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The object's URI.
    pub source: String,
    /// What became of it.
    pub status: Status,
    /// Why it was not taken, in a word: the policy or the circumstance.
    pub reason: Option<String>,
    /// The table's address.
    pub table: String,
    /// The table's version that holds its rows, for an object that was committed.
    pub version: Option<u64>,
    /// Rows that are now in the table.
    pub rows: u64,
    /// Rows that are not, because they were bad.
    pub rows_rejected: u64,
    /// Rows among those in the table that are bad, and were rescued.
    pub rows_rescued: u64,
    /// Rows of it that were in the table, and are not any more.
    pub rows_removed: u64,
    /// Columns that the commit of its rows added to the table.
    #[serde(default)]
    pub columns_added: Vec<String>,
    /// Bytes of the object that were read, as stored.
    pub bytes_read: u64,
    /// Bytes of data files that were written for it; its share by rows, of a file it shares.
    pub bytes_written: u64,
    /// Data files that hold its rows.
    pub data_files: u64,
    /// Commits that were tried.
    pub attempts: u32,
    /// From its start to its end, in milliseconds.
    pub duration_ms: u64,
    /// The process's CPU time in that while, in milliseconds.
    pub cpu_ms: u64,
    /// The process's largest resident set so far, in bytes.
    pub peak_rss_bytes: u64,
    /// How it is written down, for an object that was read to its end.
    pub dialect: Option<DialectReport>,
    /// The first of its bad rows, whatever became of them.
    pub rejects: Vec<RejectReport>,
    /// The address of the file that holds the rejected rows, where they were quarantined.
    pub quarantine: Option<String>,
    /// What went wrong, for an object that failed.
    pub error: Option<ErrorReport>,
}

/// A bad row as a receipt tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectReport {
    /// The line in the source object, of its first byte.
    pub line: u64,
    /// Its first byte in the source object.
    pub byte: u64,
    /// The column, where one value is at fault.
    pub column: Option<String>,
    /// What sort of fault.
    pub kind: RejectKind,
    /// What is wrong.
    pub reason: String,
}

impl From<&Complaint> for RejectReport {
    fn from(complaint: &Complaint) -> Self {
        let Complaint { position, kind, reason } = complaint;
        Self {
            line: position.line,
            byte: position.byte,
            column: position.column.clone(),
            kind: *kind,
            reason: reason.clone(),
        }
    }
}

/// What became of a source object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its rows are in the table, by this run.
    Committed,
    /// Its rows were in the table already.
    Duplicate,
    /// Its rows are not wanted, or it is not there any more.
    Skipped,
    /// Its rows are not in the table, and should be.
    Failed,
}

/// What the caller must do with the event that announced an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It is done: acknowledge it.
    Ack,
    /// The same event may succeed later: deliver it again.
    Retry,
    /// It fails until a person mends something: keep it aside.
    DeadLetter,
}

impl Receipt {
    /// What the caller must do.
    pub fn disposition(&self) -> Disposition {
        match (self.status, &self.error) {
            (Status::Committed | Status::Duplicate | Status::Skipped, _) => Disposition::Ack,
            (Status::Failed, Some(error)) => Disposition::of(error.kind),
            (Status::Failed, None) => Disposition::Retry,
        }
    }
}

impl Disposition {
    /// What the caller must do about an error.
    pub fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::SourceChanged
            | ErrorKind::SourceUnavailable
            | ErrorKind::StorageUnavailable
            | ErrorKind::Contention
            | ErrorKind::CommitUnknown
            | ErrorKind::DeadlineExceeded => Self::Retry,
            ErrorKind::SourceGone => Self::Ack,
            ErrorKind::Configuration
            | ErrorKind::SourceInvalid
            | ErrorKind::SourceRefused
            | ErrorKind::SchemaMismatch
            | ErrorKind::TableUnsupported
            | ErrorKind::TableInvalid
            | ErrorKind::LedgerMissing
            | ErrorKind::LedgerForeign
            | ErrorKind::DeadlineTooShort
            | ErrorKind::AttemptsExhausted
            | ErrorKind::TableTooLarge
            | ErrorKind::OverBudget
            | ErrorKind::Internal => Self::DeadLetter,
        }
    }
}

/// An [`Error`] as a receipt tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// What sort of error.
    pub kind: ErrorKind,
    /// What went wrong and what caused it, without the place and the advice.
    pub message: String,
    /// The line in the source object.
    pub line: Option<u64>,
    /// The byte in the source object.
    pub byte: Option<u64>,
    /// Whether line and byte are those of what the object decompresses to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decompressed: bool,
    /// The column.
    pub column: Option<String>,
    /// What to do.
    pub advice: Option<String>,
}

impl ErrorReport {
    /// The report of an error of the object `source`, which the message then need not name.
    pub fn of(error: &Error, source: &str) -> Self {
        let message = with_causes(error.message(), error.source());
        let message = match error.object() {
            Some(object) if object != source => format!("{object}: {message}"),
            _ => message,
        };
        let position = error.position();
        Self {
            kind: error.kind(),
            message,
            line: position.map(|position| position.line),
            byte: position.map(|position| position.byte),
            decompressed: error.is_in_decompressed_text(),
            column: position.and_then(|position| position.column.clone()),
            advice: error.advice().map(str::to_owned),
        }
    }
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self::of(error, "")
    }
}

/// The sums of receipts, which may be too many to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects that were committed.
    pub committed: u64,
    /// Objects that had been taken before.
    pub duplicate: u64,
    /// Objects that were skipped.
    pub skipped: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Those of the failed for which only time was missing.
    pub late: u64,
    /// Rows that are in the tables now.
    pub rows: u64,
    /// Rows that are not, because they were bad.
    pub rows_rejected: u64,
    /// Rows among those in the tables that are bad, and were rescued.
    pub rows_rescued: u64,
    /// Rows of the objects that were in the tables, and are not any more.
    pub rows_removed: u64,
    /// Bytes of objects that were read, as stored.
    pub bytes_read: u64,
    /// Bytes of data files that were written.
    pub bytes_written: u64,
    /// The process's largest resident set so far, in bytes.
    pub peak_rss_bytes: u64,
    /// How often each commit was tried, by table and version.
    pub attempts: BTreeMap<(String, u64), u32>,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, receipt: &Receipt) {
        match receipt.status {
            Status::Committed => self.committed += 1,
            Status::Duplicate => self.duplicate += 1,
            Status::Skipped => self.skipped += 1,
            Status::Failed => self.failed += 1,
        }
        let kind = receipt.error.as_ref().map(|error| error.kind);
        self.late += u64::from(kind == Some(ErrorKind::DeadlineExceeded));
        self.rows += receipt.rows;
        self.rows_rejected += receipt.rows_rejected;
        self.rows_rescued += receipt.rows_rescued;
        self.rows_removed += receipt.rows_removed;
        self.bytes_read += receipt.bytes_read;
        self.bytes_written += receipt.bytes_written;
        self.peak_rss_bytes = self.peak_rss_bytes.max(receipt.peak_rss_bytes);
        if let (Status::Committed, Some(version)) = (receipt.status, receipt.version) {
            self.attempts.insert((receipt.table.clone(), version), receipt.attempts);
        }
    }

    /// How many objects were counted.
    pub fn objects(&self) -> u64 {
        self.committed + self.duplicate + self.skipped + self.failed
    }
}

impl<'a> Extend<&'a Receipt> for Tally {
    fn extend<I: IntoIterator<Item = &'a Receipt>>(&mut self, receipts: I) {
        for receipt in receipts {
            self.add(receipt);
        }
    }
}

/// Who wants to know how an ingest is getting on.
///
/// The methods are called from several threads, and must not take long.
pub trait Observer: Send + Sync {
    /// So much more is to be done.
    fn started(&self, objects: usize, bytes: u64);
    /// So many more bytes of source objects have been read.
    fn progressed(&self, bytes: u64);
    /// One object has come to its end.
    fn finished(&self, receipt: &Receipt);
}

/// Nobody.
impl Observer for () {
    fn started(&self, _: usize, _: u64) {}
    fn progressed(&self, _: u64) {}
    fn finished(&self, _: &Receipt) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Position;

    fn receipt(status: Status, error: Option<&Error>) -> Receipt {
        Receipt {
            source: "file:///in/a.csv".into(),
            status,
            reason: None,
            table: "file:///out".into(),
            version: Some(7),
            rows: 20,
            rows_rejected: 0,
            rows_rescued: 0,
            rows_removed: 0,
            columns_added: vec![],
            bytes_read: 1000,
            bytes_written: 500,
            data_files: 1,
            attempts: 2,
            duration_ms: 30,
            cpu_ms: 20,
            peak_rss_bytes: 1 << 20,
            dialect: None,
            rejects: vec![],
            quarantine: None,
            error: error.map(ErrorReport::from),
        }
    }

    #[test]
    fn the_names_are_an_interface() {
        let json = serde_json::to_string(&receipt(Status::Committed, None)).unwrap();
        assert_eq!(
            json,
            "{\"source\":\"file:///in/a.csv\",\"status\":\"committed\",\"reason\":null,\
             \"table\":\"file:///out\",\"version\":7,\"rows\":20,\"rows_rejected\":0,\
             \"rows_rescued\":0,\"rows_removed\":0,\"columns_added\":[],\"bytes_read\":1000,\"bytes_written\":500,\"data_files\":1,\"attempts\":2,\
             \"duration_ms\":30,\"cpu_ms\":20,\"peak_rss_bytes\":1048576,\"dialect\":null,\
             \"rejects\":[],\"quarantine\":null,\"error\":null}"
        );
    }

    #[test]
    fn an_error_is_told_in_parts() {
        let error = Error::new(ErrorKind::SourceInvalid, "\"x\" is not an int64")
            .with_object("file:///in/a.csv")
            .with_position(Position { line: 3, byte: 40, column: Some("id".into()) })
            .with_cause(std::io::Error::other("a cause"))
            .with_advice("mend it");
        let report = ErrorReport::of(&error, "file:///in/a.csv");
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            "{\"kind\":\"source_invalid\",\"message\":\"\\\"x\\\" is not an int64: a cause\",\
             \"line\":3,\"byte\":40,\"column\":\"id\",\"advice\":\"mend it\"}"
        );
        let elsewhere = ErrorReport::of(&error, "file:///in/b.csv").message;
        assert_eq!(elsewhere, "file:///in/a.csv: \"x\" is not an int64: a cause");
        assert_eq!(ErrorReport::from(&error).message, elsewhere);
    }

    #[test]
    fn what_did_not_fail_is_done() {
        for status in [Status::Committed, Status::Duplicate, Status::Skipped] {
            assert_eq!(receipt(status, None).disposition(), Disposition::Ack);
        }
    }

    #[test]
    fn the_kind_of_error_disposes() {
        let disposed = |kind| receipt(Status::Failed, Some(&Error::new(kind, "x"))).disposition();
        assert_eq!(disposed(ErrorKind::Contention), Disposition::Retry);
        assert_eq!(disposed(ErrorKind::CommitUnknown), Disposition::Retry);
        assert_eq!(disposed(ErrorKind::SourceInvalid), Disposition::DeadLetter);
        assert_eq!(receipt(Status::Failed, None).disposition(), Disposition::Retry);
    }
}
