//! The dialects that a sample could be in.

use memchr::memmem;

use crate::csv::{DialectOptions, LineEnding};

/// Delimiters, the likeliest first, with how likely each is beside a comma when all else is equal.
const DELIMITERS: [(&[u8], f64); 16] = [
    (b",", 1.0),
    (b"\t", 0.99),
    (b";", 0.99),
    (b"|", 0.98),
    (b"\x01", 0.98),
    (b", ", 0.98),
    (b"; ", 0.97),
    (b" | ", 0.97),
    (b"||", 0.97),
    (b"::", 0.97),
    (b"|~|", 0.97),
    (b"~|~", 0.97),
    (b"^", 0.9),
    (b"~", 0.9),
    (b":", 0.97),
    (b" ", 0.97),
];

/// How to tell the rows and fields of a sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// Empty: each row is one field.
    pub delimiter: Vec<u8>,
    pub quote: Option<u8>,
    /// Not the quote: a quote in quotes is doubled in any case.
    pub escape: Option<u8>,
    pub line_ending: LineEnding,
    pub comment: Option<u8>,
    /// How likely it is before the sample is read: up to 1.
    pub prior: f64,
}

impl Candidate {
    /// Whether its delimiter is so common in text that it takes typed columns to believe in it.
    pub fn is_weak(&self) -> bool {
        matches!(self.delimiter.as_slice(), b" " | b":")
    }

    /// The same without quotes.
    pub fn unquoted(&self) -> Self {
        Self { quote: None, prior: self.prior * 0.95, ..self.clone() }
    }

    fn is_sound(&self) -> bool {
        let single: Vec<u8> =
            [self.quote, self.escape, self.comment].into_iter().flatten().collect();
        let mut others = single.iter().enumerate();
        others.all(|(i, byte)| !self.delimiter.contains(byte) && !single[..i].contains(byte))
    }
}

/// What `text` could be, as far as `options` leave it open; the likeliest first. `declared` is the
/// delimiter that the sample itself names.
pub(super) fn candidates(
    text: &[u8],
    options: &DialectOptions,
    declared: Option<&[u8]>,
) -> Vec<Candidate> {
    let said = options.delimiter.as_deref().or(declared);
    let delimiters: Vec<(&[u8], f64)> = match said {
        Some(said) => vec![(said, 1.0)],
        None => {
            let occurs = |(delimiter, _): &(&[u8], f64)| memmem::find(text, delimiter).is_some();
            let one_column: (&[u8], f64) = (b"", 1.0);
            DELIMITERS.into_iter().filter(occurs).chain([one_column]).collect()
        }
    };
    let mut candidates = Vec::new();
    for (delimiter, of_delimiter) in delimiters {
        for (line_ending, of_ending) in line_endings(text, options) {
            for (quote, of_quote) in quotes(text, options) {
                for (escape, of_escape) in escapes(text, options, quote, delimiter) {
                    candidates.push(Candidate {
                        delimiter: delimiter.to_vec(),
                        quote,
                        escape: escape.filter(|escape| Some(*escape) != quote),
                        line_ending,
                        comment: options.comment,
                        prior: of_delimiter * of_ending * of_quote * of_escape,
                    });
                }
            }
        }
    }
    candidates.retain(Candidate::is_sound);
    candidates
}

fn line_endings(text: &[u8], options: &DialectOptions) -> Vec<(LineEnding, f64)> {
    if let Some(said) = options.line_ending {
        return vec![(said, 1.0)];
    }
    let (mut lf, mut crlf, mut cr) = (0_usize, 0_usize, 0_usize);
    for at in memchr::memchr2_iter(b'\n', b'\r', text) {
        match (text[at], text.get(at + 1)) {
            (b'\n', _) if at > 0 && text[at - 1] == b'\r' => crlf += 1,
            (b'\n', _) => lf += 1,
            (_, Some(b'\n')) => {}
            // With the sample's last byte, a pair may be cut.
            (_, None) if lf + crlf > 0 => {}
            _ => cr += 1,
        }
    }
    let mut endings = Vec::new();
    if lf + crlf > 0 || cr == 0 {
        endings.push((LineEnding::Lf, if cr > lf + crlf { 0.9 } else { 1.0 }));
    }
    if cr > 0 && lf + crlf > 0 {
        endings.push((LineEnding::Mixed, 0.98));
    }
    if cr > lf + crlf {
        endings.push((LineEnding::Cr, 0.99));
    }
    if crlf > 0 && lf > 0 {
        endings.push((LineEnding::Crlf, 0.98));
    }
    endings
}

fn quotes(text: &[u8], options: &DialectOptions) -> Vec<(Option<u8>, f64)> {
    if let Some(said) = options.quote {
        return vec![(said, 1.0)];
    }
    let mut quotes = vec![(Some(b'"'), 1.0)];
    let begins_a_field =
        |at: usize| at == 0 || !(text[at - 1].is_ascii_alphanumeric() || text[at - 1] >= 0x80);
    if memchr::memchr_iter(b'\'', text).any(begins_a_field) {
        quotes.push((Some(b'\''), 0.97));
    }
    quotes
}

fn escapes(
    text: &[u8],
    options: &DialectOptions,
    quote: Option<u8>,
    delimiter: &[u8],
) -> Vec<(Option<u8>, f64)> {
    if let Some(said) = options.escape {
        return vec![(said, 1.0)];
    }
    let mut escapes = vec![(None, 1.0)];
    let mut after = memchr::memchr_iter(b'\\', text).filter_map(|at| text.get(at + 1));
    if after.any(|byte| Some(*byte) == quote || Some(byte) == delimiter.first()) {
        escapes.push((Some(b'\\'), 0.98));
    }
    escapes
}
