//! A dialect as receipts and plans tell it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Detection;
use crate::csv::LineEnding;

/// How an object was read, and how sure that is.
///
/// The names of the fields are an interface: scripts read them from `lakefeed ingest --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DialectReport {
    /// What is between two fields.
    pub delimiter: String,
    /// What encloses a field, if anything.
    pub quote: Option<char>,
    /// What makes the next character data; none: quotes are doubled.
    pub escape: Option<char>,
    /// What ends a line.
    pub line_ending: LineEnding,
    /// The rows that name the columns.
    pub header_rows: u32,
    /// Lines before the header, or the first row, that are no rows.
    pub skip_lines: u64,
    /// From 0, a guess, to 1; what was configured is certain.
    pub confidence: f64,
    /// The encoding of the text, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// How the object is compressed, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
}

impl From<&Detection> for DialectReport {
    fn from(detection: &Detection) -> Self {
        let dialect = &detection.dialect;
        Self {
            delimiter: String::from_utf8_lossy(&dialect.delimiter).into_owned(),
            quote: dialect.quote.map(char::from),
            escape: dialect.own_escape().map(char::from),
            line_ending: dialect.line_ending,
            header_rows: dialect.header_rows,
            skip_lines: dialect.skip_lines,
            // Two digits are more than it is worth.
            confidence: (detection.confidence * 100.0).round() / 100.0,
            encoding: None,
            compression: None,
        }
    }
}

impl fmt::Display for DialectReport {
    /// For a person: what is unusual, and how sure it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delimiter {:?}", self.delimiter)?;
        match self.quote {
            None => f.write_str(", no quotes")?,
            Some('"') => {}
            Some(quote) => write!(f, ", quote {quote}")?,
        }
        if let Some(escape) = self.escape {
            write!(f, ", escape {escape}")?;
        }
        match self.line_ending {
            LineEnding::Lf => {}
            LineEnding::Crlf => f.write_str(", lines end with CR LF")?,
            LineEnding::Cr => f.write_str(", lines end with CR")?,
            LineEnding::Mixed => f.write_str(", lines end with LF or CR")?,
        }
        match self.header_rows {
            0 => f.write_str(", no header")?,
            1 => f.write_str(", header")?,
            rows => write!(f, ", header of {rows} rows")?,
        }
        if self.skip_lines > 0 {
            write!(f, " after line {}", self.skip_lines)?;
        }
        for told in [&self.encoding, &self.compression].into_iter().flatten() {
            write!(f, ", {told}")?;
        }
        write!(f, " ({:.0} % sure)", 100.0 * self.confidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::{Dialect, detect::HeaderEvidence};

    fn report(dialect: Dialect) -> DialectReport {
        let header = HeaderEvidence::Guess;
        DialectReport::from(&Detection { dialect, confidence: 0.956, header, fields: None })
    }

    #[test]
    fn a_person_reads_what_is_unusual() {
        let plain = report(Dialect::default());
        assert_eq!(plain.to_string(), "delimiter \",\", header (96 % sure)");
        let unusual = report(Dialect {
            delimiter: b"\t".to_vec(),
            quote: Some(b'\''),
            escape: Some(b'\\'),
            line_ending: LineEnding::Cr,
            skip_lines: 3,
            ..Dialect::default()
        });
        assert_eq!(
            unusual.to_string(),
            "delimiter \"\\t\", quote ', escape \\, lines end with CR, header after line 3 (96 % sure)"
        );
        let bare = report(Dialect { quote: None, header_rows: 0, ..Dialect::default() });
        let bare = DialectReport { compression: Some("gzip".to_owned()), ..bare };
        assert_eq!(bare.to_string(), "delimiter \",\", no quotes, no header, gzip (96 % sure)");
    }

    #[test]
    fn a_script_reads_the_marks_themselves() {
        let told = report(Dialect { delimiter: b"\x01".to_vec(), ..Dialect::default() });
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(
            json,
            "{\"delimiter\":\"\\u0001\",\"quote\":\"\\\"\",\"escape\":null,\"line_ending\":\"lf\",\
             \"header_rows\":1,\"skip_lines\":0,\"confidence\":0.96}"
        );
        assert_eq!(serde_json::from_str::<DialectReport>(&json).unwrap(), told);
    }
}
