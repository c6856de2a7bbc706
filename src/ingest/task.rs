//! An object on its way through the pipeline.

use std::time::Duration;

use crate::clock::Usage;
use crate::commit::PlannedSource;
use crate::config::{Feed, SourceKey};
use crate::environment::Environment;
use crate::error::Error;
use crate::ledger::{Entry, EntryState};
use crate::receipt::{ErrorReport, Receipt, Status};
use crate::source::{Announcement, SourceObject};

use super::Share;
use super::bad_rows::Findings;
use super::quarantine::QuarantineFile;

/// How often an object may change while it is read before it is failed.
const CHANGES_MAX: u32 = 3;

/// An announced object that has no receipt yet.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub announcement: Announcement,
    /// Its name in the ledger.
    pub name: String,
    table: String,
    changes: u32,
}

impl Candidate {
    pub fn new(feed: &Feed, table: &str, announcement: Announcement) -> Self {
        let uri = &announcement.location.uri;
        let name = match feed.source_key {
            SourceKey::Uri => uri.clone(),
            SourceKey::Relative => announcement.relative.clone(),
            SourceKey::Name => uri.rsplit('/').next().unwrap_or(uri).to_owned(),
        };
        Self { announcement, name, table: table.to_owned(), changes: 0 }
    }

    /// Counts a change of the object while it was read; false when it has changed too often.
    pub fn may_change_again(&mut self) -> bool {
        self.changes += 1;
        self.changes < CHANGES_MAX
    }

    pub fn failed(&self, error: &Error) -> Receipt {
        let mut receipt = self.receipt(Status::Failed);
        receipt.error = Some(ErrorReport::of(error, &receipt.source));
        receipt
    }

    pub fn skipped(&self, reason: &str) -> Receipt {
        Receipt { reason: Some(reason.to_owned()), ..self.receipt(Status::Skipped) }
    }

    pub fn duplicate(&self, reason: &str, taken: &Entry) -> Receipt {
        Receipt {
            reason: Some(reason.to_owned()),
            version: Some(taken.version),
            ..self.receipt(Status::Duplicate)
        }
    }

    fn receipt(&self, status: Status) -> Receipt {
        Receipt {
            source: self.announcement.location.uri.clone(),
            status,
            reason: None,
            table: self.table.clone(),
            version: None,
            rows: 0,
            rows_rejected: 0,
            rows_rescued: 0,
            rows_removed: 0,
            columns_added: Vec::new(),
            bytes_read: 0,
            bytes_written: 0,
            data_files: 0,
            attempts: 0,
            duration_ms: 0,
            cpu_ms: 0,
            peak_rss_bytes: 0,
            dialect: None,
            rejects: Vec::new(),
            quarantine: None,
            error: None,
        }
    }
}

/// What is known of an object once it has been read.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub rows: u64,
    pub bytes_read: u64,
    /// The hash of its bytes, as the ledger writes it.
    pub content: String,
}

/// One version of an object that is to be taken.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub candidate: Candidate,
    pub object: SourceObject,
    /// Whether its rows take the place of those that the table has of it.
    pub replaces: bool,
    /// What was found in it, as far as it was read.
    pub findings: Findings,
    began: Duration,
    usage: Usage,
}

impl Task {
    pub fn new(candidate: Candidate, object: SourceObject, replaces: bool) -> Self {
        let (findings, began, usage) = Default::default();
        Self { candidate, object, replaces, findings, began, usage }
    }

    /// Starts its clock.
    pub fn begin(&mut self, environment: &Environment) {
        self.began = environment.clock.monotonic();
        self.usage = environment.clock.usage();
    }

    /// When it was begun, on the monotonic clock.
    pub fn began(&self) -> Duration {
        self.began
    }

    /// The address of the file that holds its rejected rows, if it has some; `file` is the append's.
    fn quarantine(&self, file: Option<&QuarantineFile>) -> Option<String> {
        file.filter(|_| self.findings.rows_rejected > 0).map(|file| file.uri.clone())
    }

    /// What the ledger will say of it.
    pub fn planned(&self, facts: &Facts, quarantine: Option<&QuarantineFile>) -> PlannedSource {
        PlannedSource {
            uri: self.object.location.uri.clone(),
            entry: Entry {
                rows: facts.rows,
                rows_rejected: self.findings.rows_rejected,
                content: facts.content.clone(),
                quarantine: self.quarantine(quarantine),
                ..Entry::draft(&self.candidate.name, &self.object, EntryState::In)
            },
        }
    }

    pub fn committed(
        &self,
        environment: &Environment,
        facts: &Facts,
        share: &Share,
        quarantine: Option<&QuarantineFile>,
        version: u64,
        attempts: u32,
    ) -> Receipt {
        Receipt {
            version: Some(version),
            rows: facts.rows,
            quarantine: self.quarantine(quarantine),
            bytes_read: facts.bytes_read,
            bytes_written: share.bytes_of(facts.rows),
            data_files: if facts.rows == 0 { 0 } else { share.files },
            attempts,
            ..self.timed(environment, self.candidate.receipt(Status::Committed))
        }
    }

    pub fn skipped(&self, reason: &str) -> Receipt {
        self.candidate.skipped(reason)
    }

    pub fn failed(&self, environment: &Environment, error: &Error) -> Receipt {
        self.timed(environment, self.candidate.failed(error))
    }

    fn timed(&self, environment: &Environment, receipt: Receipt) -> Receipt {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let usage = environment.clock.usage();
        let elapsed = environment.clock.monotonic().saturating_sub(self.began);
        Receipt {
            duration_ms: millis(elapsed),
            cpu_ms: millis(usage.cpu.saturating_sub(self.usage.cpu)),
            peak_rss_bytes: usage.peak_rss_bytes,
            rows_rejected: self.findings.rows_rejected,
            rows_rescued: self.findings.rows_rescued,
            dialect: self.findings.dialect.clone(),
            rejects: self.findings.first.clone(),
            ..receipt
        }
    }
}
