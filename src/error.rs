//! One error type for the whole crate.
//!
//! There is one [`ErrorKind`] for each distinct thing that a caller would do, and nothing is ever
//! recognised by the text of a message. A lost race is not an error; it is a value (see
//! [`crate::commit`]).

use std::fmt;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The command line, the configuration or an address is wrong: mend it. Nothing was started.
    Configuration,
    /// The object is not there, or not any more.
    SourceGone,
    /// The object was replaced while it was read: take its new version.
    SourceChanged,
    /// The object's content cannot be ingested as it is: mend the object or the feed's options.
    SourceInvalid,
    /// The object could not be read, for a reason outside its content: try again.
    SourceUnavailable,
    /// The feed's policy refuses the object.
    SourceRefused,
    /// The object's columns do not fit the table's.
    SchemaMismatch,
    /// The table asks of its writers what Lakefeed cannot do.
    TableUnsupported,
    /// What is at the table's address is damaged, or is not a table.
    TableInvalid,
    /// The table says that objects were taken, but the record of which ones is missing.
    LedgerMissing,
    /// The ledger belongs to another table (a clone, or a table replaced in place).
    LedgerForeign,
    /// The table's storage could not be read or written: mend it, then try again.
    StorageUnavailable,
    /// Every attempt lost its race against other writers: try again later.
    Contention,
    /// A commit's answer was lost and could not be found out: try again; the ledger will tell.
    CommitUnknown,
    /// There was no time left before the deadline: try again.
    DeadlineExceeded,
    /// It takes longer than a whole invocation has: run it where it has longer.
    DeadlineTooShort,
    /// Each time that it was begun, the process died: find out why, or run it where there is more
    /// memory and time.
    AttemptsExhausted,
    /// The table's own metadata, or its ledger, is larger than may be loaded.
    TableTooLarge,
    /// It does not fit the memory budget.
    OverBudget,
    /// A defect in Lakefeed.
    Internal,
}

impl ErrorKind {
    /// Whether the rows may be in the table in spite of the error.
    pub fn might_have_happened(self) -> bool {
        matches!(self, Self::CommitUnknown)
    }
}

/// A place in a source object.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The line on which the row starts, from 1, as an editor counts (a quoted line end counts).
    pub line: u64,
    /// The offset of the row's first byte in the decompressed object, from 0.
    pub byte: u64,
    /// The column's name, where one value is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

/// What went wrong, where, and what to do.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    object: Option<String>,
    position: Option<Position>,
    /// Whether the position is in what the object decompresses to.
    decompressed: bool,
    advice: Option<String>,
    cause: Option<Cause>,
}

impl Error {
    /// An error of `kind`; `message` says what is wrong in one clause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            object: None,
            position: None,
            decompressed: false,
            advice: None,
            cause: None,
        }))
    }

    /// Names the object, table or file that the error is about.
    #[must_use]
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.0.object.get_or_insert(object.into());
        self
    }

    /// Says where in the object.
    #[must_use]
    pub fn with_position(mut self, position: Position) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Says that the place is in what the object decompresses to.
    #[must_use]
    pub fn in_decompressed_text(mut self) -> Self {
        self.0.decompressed = true;
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.0.advice.get_or_insert(advice.into());
        self
    }

    /// Keeps what caused it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is wrong, without place, cause or advice.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The object, table or file that it is about.
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// Where in the object.
    pub fn position(&self) -> Option<&Position> {
        self.0.position.as_ref()
    }

    /// Whether the place is in what the object decompresses to.
    pub fn is_in_decompressed_text(&self) -> bool {
        self.0.decompressed
    }

    /// What to do.
    pub fn advice(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, object, position, decompressed, advice, cause, .. } = &*self.0;
        if let Some(object) = object {
            write!(f, "{object}: ")?;
        }
        if let Some(Position { line, byte, column }) = position {
            let of = if *decompressed { " decompressed" } else { "" };
            write!(f, "line {line} (byte {byte}{of})")?;
            if let Some(column) = column {
                write!(f, ", column {column:?}")?;
            }
            f.write_str(": ")?;
        }
        let cause = cause.as_ref().map(|cause| &**cause as &dyn std::error::Error);
        f.write_str(&with_causes(message, cause))?;
        if let Some(advice) = advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

/// `message`, then `cause` and what caused it. Some libraries tell in each error what caused it: what
/// has been told is not told again.
pub(crate) fn with_causes(message: &str, cause: Option<&dyn std::error::Error>) -> String {
    let mut told = message.to_owned();
    let mut next = cause;
    while let Some(cause) = next {
        let cause_told = cause.to_string();
        if !told.contains(&cause_told) {
            told.push_str(": ");
            told.push_str(&cause_told);
        }
        next = cause.source();
    }
    told
}

/// `error`, or the first of what caused it, that is a `T`.
pub(crate) fn cause_in<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|e| e.downcast_ref())
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| &**cause as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no list: {0}")]
    struct Repeats(#[source] std::io::Error);

    #[test]
    fn a_place_in_decompressed_text_is_told_as_one() {
        let error = Error::new(ErrorKind::SourceInvalid, "a NUL byte")
            .with_position(Position { line: 3, byte: 40, column: None })
            .in_decompressed_text();
        assert_eq!(error.to_string(), "line 3 (byte 40 decompressed): a NUL byte");
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = Error::new(ErrorKind::Internal, "it failed")
            .with_cause(Repeats(std::io::Error::other("no answer")));
        assert_eq!(error.to_string(), "it failed: no list: no answer");
    }
}
