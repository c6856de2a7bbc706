//! CSV to Arrow.
//!
//! ```text
//! bytes, or text of another encoding made UTF-8 by [`Transcoder`]
//!       ── structure ──> where each field ends ── columns ──> Arrow arrays ──> Decoded
//!            (one pass over the bytes)      (one pass over each column)
//! ```
//!
//! [`Decoder`] turns the bytes of one object into typed batches in bounded memory, with a verdict
//! ([`Reject`]) on each row that is not in them. It never decides what becomes of a rejected row.
//! [`Inference`] finds the columns' types in samples of objects. [`ValueFormat`] says how the values of
//! a column are written.
//!
//! # What is a row
//! - A row ends with a line end of the [`Dialect`], or where the object ends. It is no row if it is
//!   empty, if it is among the lines skipped at the start or at the end, or if it begins with the
//!   comment's byte: then nothing in it means anything but its end.
//! - A field is quoted if the quote is its first byte. Delimiters, line ends and escaped quotes are
//!   then data. A quote anywhere else in a field is data.
//! - In quotes, two quotes are one. An escape makes the next byte data, CR LF as one, in quotes and
//!   outside of them. Outside it stays in the text unless the byte could have meant something: `a\,b`
//!   is the text `a,b`, and `\N` is `\N`, which can be a null. (So does DuckDB's `strict_mode =
//!   false`, and Python's `csv`, but that both drop the escape in `\N` as well.)
//! - A row is misshapen if there is text after a closing quote, if a quote is never closed, or if it is
//!   longer than a row may be. If that takes it over several lines, it is only the first of them, and
//!   the next row starts with the second: a stray quote costs its own line, and no more.
//! - A row is rejected for its shape (misshapen, a field longer than a field may be, another number
//!   of fields than expected), else for its text (a NUL byte, or not UTF-8, in any field), else for
//!   its leftmost bad value.

mod batch;
mod column;
mod decode;
mod detect;
mod dialect;
mod encoding;
mod format;
mod header;
mod infer;
mod irregular;
mod lines;
mod marks;
mod offsets;
mod reject;
mod requote;
mod rescue;
mod row;
mod structure;
#[cfg(test)]
mod tests;
mod transcode;
mod value;

pub use decode::{DecodePlan, Decoded, Decoder, Limits, LongRows, RowRules, ShortRows, Target};
pub use detect::{DETECTION_BYTES_MAX, Detection, DialectReport, HeaderEvidence, detect};
pub(crate) use dialect::DELIMITER_BYTES_MAX;
pub use dialect::{Dialect, DialectOptions, LineEnding};
pub use encoding::{
    BadBytes, ENCODING_SAMPLE_BYTES_MAX, EncodingEvidence, EncodingOption, FoundEncoding,
    find_encoding,
};
pub use format::{BinaryFormat, Formats, ValueFormat};
pub use header::{Header, Sample, folded_name, legal_name, read_header};
pub use infer::Inference;
pub use offsets::{OFFSETS_BYTES_MAX, OffsetMap};
pub use reject::{Complaint, Reject, RejectKind};
pub use transcode::Transcoder;
pub use value::TimeFormat;
