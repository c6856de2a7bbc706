//! CSV to Arrow.
//!
//! ```text
//! bytes ── structure ──> where each field ends ── columns ──> Arrow arrays ──> Decoded
//!            (one pass over the bytes)      (one pass over each column)
//! ```
//!
//! [`Decoder`] turns the bytes of one object into typed batches in bounded memory, with a verdict
//! ([`Reject`]) on each row that is not in them. It never decides what becomes of a rejected row.
//! [`Inference`] finds the columns' types in samples of objects. [`ValueFormat`] says how the values of
//! a column are written.
//!
//! # What is a row
//! - A row ends with LF or CRLF, or where the object ends. Empty lines are skipped.
//! - A field is quoted if the quote is its first byte. Delimiters, line ends and escaped quotes are
//!   then data. A quote anywhere else in a field is data.
//! - A row is rejected for its shape (text after a closing quote, a quote never closed, another
//!   number of fields than expected), else for its text (a NUL byte, or not UTF-8, in any field),
//!   else for its leftmost bad value.

mod column;
mod decode;
mod detect;
mod dialect;
mod format;
mod infer;
mod reject;
mod structure;
#[cfg(test)]
mod tests;
mod value;

pub use decode::{DecodePlan, Decoded, Decoder, Limits};
pub use detect::{Detection, detect};
pub use dialect::{Dialect, DialectOptions, LineEnding};
pub use format::{BinaryFormat, Formats, ValueFormat};
pub use infer::{Inference, Sample, read_header};
pub use reject::Reject;
pub use value::TimeFormat;
