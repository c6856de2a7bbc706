//! How CSV objects are written.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{file, values, word, wrong};
use crate::csv::{BadBytes, DELIMITER_BYTES_MAX, DialectOptions, EncodingOption, LineEnding};
use crate::error::Result;
use crate::memory::display_bytes;
use crate::source::{Compression, DecompressOptions};

/// The longest line that can be asked for: a batch of rows must stay below 2 GiB.
const LINE_BYTES_MAX: u64 = 1 << 30;
/// What formats need that have no window of their own choice, and the largest that any has.
const WINDOW_BYTES_MIN: u64 = 8 << 20;
const WINDOW_BYTES_MAX: u64 = 2 << 30;

/// How a feed's CSV objects are written: `[feed.csv]`, or `--csv key=value`. What is found out for each
/// object where it is absent is `"auto"`, which can be said as well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvOptions {
    /// How they are compressed.
    #[serde(deserialize_with = "compression")]
    pub compression: Option<Compression>,
    /// The most that one of them may be decompressed.
    #[serde(deserialize_with = "values::size")]
    pub decompressed_bytes_max: u64,
    /// The most that one may be, as a multiple of its size, if it is more than 64 MiB.
    pub decompressed_ratio_max: u64,
    /// The most that a decompressor may have to look back.
    #[serde(deserialize_with = "values::size")]
    pub decompress_window_bytes_max: u64,
    /// The encoding of their text.
    #[serde(deserialize_with = "values::from_text")]
    pub encoding: EncodingOption,
    /// What becomes of bytes that are no text.
    pub bad_bytes: BadBytes,
    /// What separates fields.
    #[serde(deserialize_with = "delimiter")]
    pub delimiter: Option<Vec<u8>>,
    /// What may enclose a field, if anything.
    #[serde(deserialize_with = "byte_false_or_auto")]
    pub quote: Option<Option<u8>>,
    /// What makes the next byte data; where there is none, quotes inside quotes are doubled.
    #[serde(deserialize_with = "byte_false_or_auto")]
    pub escape: Option<Option<u8>>,
    /// What a line begins with that is no row.
    #[serde(deserialize_with = "byte_or_false")]
    pub comment: Option<u8>,
    /// What ends a line.
    #[serde(deserialize_with = "line_ending")]
    pub line_ending: Option<LineEnding>,
    /// Whether there is a header.
    #[serde(deserialize_with = "bool_or_auto")]
    pub header: Option<bool>,
    /// How many rows the header has.
    #[serde(deserialize_with = "number_or_auto")]
    pub header_rows: Option<u32>,
    /// The columns' names, in the place of those in the header.
    pub columns: Vec<String>,
    /// Lines before the header that are no rows.
    #[serde(deserialize_with = "number_or_auto")]
    pub skip_lines: Option<u64>,
    /// Lines at the end that are no rows.
    pub footer_lines: u64,
    /// The longest field, as it is written.
    #[serde(deserialize_with = "values::size")]
    pub field_bytes_max: u64,
    /// The longest row, be it of several lines, and the longest footer.
    #[serde(deserialize_with = "values::size")]
    pub line_bytes_max: u64,
    /// Unquoted spellings of null.
    pub null_values: Vec<String>,
    /// Whether the spaces around unquoted text are no part of it.
    pub trim: bool,
    /// Whether types are inferred; otherwise every column is a string.
    pub infer: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        let decompress = DecompressOptions::default();
        Self {
            compression: decompress.compression,
            decompressed_bytes_max: decompress.bytes_max,
            decompressed_ratio_max: decompress.ratio_max,
            decompress_window_bytes_max: decompress.window_bytes_max,
            encoding: EncodingOption::Auto,
            bad_bytes: BadBytes::BadRow,
            delimiter: None,
            quote: None,
            escape: None,
            comment: None,
            line_ending: None,
            header: None,
            header_rows: None,
            columns: Vec::new(),
            skip_lines: None,
            footer_lines: 0,
            field_bytes_max: 16 << 20,
            line_bytes_max: 16 << 20,
            null_values: vec![String::new()],
            trim: false,
            infer: true,
        }
    }
}

impl CsvOptions {
    /// Sets the option `key` as the command line writes it: lists are separated by commas.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], as from the file.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let list = || value.split(',').map(str::to_owned).collect();
        match key {
            "compression" => self.compression = parse_or_auto(value, |text| word(text))?,
            "decompressed_bytes_max" => self.decompressed_bytes_max = values::parse_size(value)?,
            "decompressed_ratio_max" => self.decompressed_ratio_max = parse_number(value)?,
            "decompress_window_bytes_max" => {
                self.decompress_window_bytes_max = values::parse_size(value)?;
            }
            "encoding" => self.encoding = value.parse()?,
            "bad_bytes" => self.bad_bytes = word(value)?,
            "delimiter" => self.delimiter = parse_delimiter(value)?,
            "quote" => self.quote = parse_or_auto(value, parse_byte_or_false)?,
            "escape" => self.escape = parse_or_auto(value, parse_byte_or_false)?,
            "comment" => self.comment = parse_byte_or_false(value)?,
            "line_ending" => self.line_ending = parse_or_auto(value, |text| word(text))?,
            "header" => self.header = parse_or_auto(value, parse_bool)?,
            "header_rows" => self.header_rows = parse_or_auto(value, parse_number)?,
            "columns" => self.columns = list(),
            "skip_lines" => self.skip_lines = parse_or_auto(value, parse_number)?,
            "footer_lines" => self.footer_lines = parse_number(value)?,
            "field_bytes_max" => self.field_bytes_max = values::parse_size(value)?,
            "line_bytes_max" => self.line_bytes_max = values::parse_size(value)?,
            "null_values" => self.null_values = list(),
            "trim" => self.trim = parse_bool(value)?,
            "infer" => self.infer = parse_bool(value)?,
            _ => return Err(file::unknown::<Self>(key, "--csv")),
        }
        Ok(())
    }

    /// What is said of the objects' compression.
    pub fn decompress_options(&self) -> DecompressOptions {
        DecompressOptions {
            compression: self.compression,
            bytes_max: self.decompressed_bytes_max,
            ratio_max: self.decompressed_ratio_max,
            window_bytes_max: self.decompress_window_bytes_max,
        }
    }

    /// What is said of the objects' dialect.
    pub fn dialect_options(&self) -> DialectOptions {
        DialectOptions {
            delimiter: self.delimiter.clone(),
            quote: self.quote,
            escape: self.escape,
            comment: self.comment,
            line_ending: self.line_ending,
            skip_lines: self.skip_lines,
            header: self.header,
            header_rows: self.header_rows,
            columns: self.columns.clone(),
            footer_lines: self.footer_lines,
            trim: self.trim,
            null_values: self.null_values.clone(),
        }
    }

    /// Checks what no single option can say of itself.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], naming the option.
    pub fn validate(&self) -> Result<()> {
        let window = self.decompress_window_bytes_max;
        if !(WINDOW_BYTES_MIN..=WINDOW_BYTES_MAX).contains(&window) {
            let (least, most) = (display_bytes(WINDOW_BYTES_MIN), display_bytes(WINDOW_BYTES_MAX));
            return Err(wrong(format!("decompress_window_bytes_max is {window}"))
                .with_advice(format!("give it at least {least}, and at most {most}")));
        }
        let quote = self.quote.flatten();
        let escape = self.escape.flatten();
        let in_delimiter = |byte: u8| self.delimiter.iter().flatten().any(|&other| other == byte);
        if quote.is_some_and(in_delimiter) || escape.is_some_and(in_delimiter) {
            return Err(wrong("delimiter is the quote or the escape as well")
                .with_advice("give each a byte of its own"));
        }
        if escape.is_some() && escape == quote {
            return Err(wrong("escape is the quote as well")
                .with_advice("leave escape out: quotes inside quotes are then doubled"));
        }
        if self.header == Some(false) && self.header_rows.is_some_and(|rows| rows > 0) {
            return Err(wrong("header_rows is given, but there is no header")
                .with_advice("leave one of them out"));
        }
        for (option, bytes) in
            [("field_bytes_max", self.field_bytes_max), ("line_bytes_max", self.line_bytes_max)]
        {
            if bytes == 0 || bytes > LINE_BYTES_MAX {
                let most = display_bytes(LINE_BYTES_MAX);
                return Err(wrong(format!("{option} is {bytes}"))
                    .with_advice(format!("give it at least 1, and at most {most}")));
            }
        }
        self.dialect_options().or_default().check()
    }
}

/// One byte: itself, a tab as `tab` or `\t`, any as `\x01`. Line ends are taken.
fn parse_byte(text: &str) -> Result<u8> {
    match unescaped(text)?.as_slice() {
        [byte] if !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err(wrong(format!("{text:?} is not a single byte"))
            .with_advice("write one ASCII character other than a line end, or tab")),
    }
}

fn parse_delimiter(text: &str) -> Result<Option<Vec<u8>>> {
    if text == "auto" {
        return Ok(None);
    }
    let bytes = unescaped(text)?;
    let legal = !bytes.is_empty()
        && bytes.len() <= DELIMITER_BYTES_MAX
        && !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    legal.then_some(Some(bytes)).ok_or_else(|| {
        wrong(format!("{text:?} is not a delimiter")).with_advice(format!(
            "write 1 to {DELIMITER_BYTES_MAX} characters other than line ends, or tab, or auto"
        ))
    })
}

/// A text's bytes, with `tab`, `\t`, `\\` and `\xNN` for what is hard to write.
fn unescaped(text: &str) -> Result<Vec<u8>> {
    if text == "tab" {
        return Ok(vec![b'\t']);
    }
    if text == "\\" {
        return Ok(vec![b'\\']);
    }
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&next, after)) = rest.split_first() {
        let hex = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        let (byte, left) = match (next, after) {
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'x', high, low, after @ ..]) if hex(&[*high, *low]).is_some() => {
                (hex(&[*high, *low]).unwrap_or_default(), after)
            }
            (b'\\', _) => {
                return Err(wrong(format!("{text:?} has an escape that is not known"))
                    .with_advice(
                        "there are \\t, \\\\ and \\x followed by two hexadecimal digits",
                    ));
            }
            (other, after) => (other, after),
        };
        bytes.push(byte);
        rest = left;
    }
    Ok(bytes)
}

fn parse_byte_or_false(text: &str) -> Result<Option<u8>> {
    if text == "false" { Ok(None) } else { parse_byte(text).map(Some) }
}

fn parse_bool(text: &str) -> Result<bool> {
    text.parse().map_err(|_| wrong(format!("{text:?} is neither true nor false")))
}

fn parse_number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| wrong(format!("{text:?} is not a number that fits")))
}

/// Nothing for `auto`, which is to be found out.
fn parse_or_auto<T>(text: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    if text == "auto" { Ok(None) } else { parse(text).map(Some) }
}

/// A boolean, a number or a string of the file, as the command line would write it.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a string, a number, true or false")]
    enum Written {
        Bool(bool),
        Number(u64),
        Text(String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Bool(value) => value.to_string(),
        Written::Number(value) => value.to_string(),
        Written::Text(value) => value,
    })
}

fn delimiter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    parse_delimiter(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn byte_or_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    match values::text_or_false(deserializer)? {
        Some(text) => parse_byte(&text).map(Some).map_err(D::Error::custom),
        None => Ok(None),
    }
}

fn byte_false_or_auto<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<u8>>, D::Error> {
    parse_or_auto(&written(deserializer)?, parse_byte_or_false).map_err(D::Error::custom)
}

fn bool_or_auto<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    parse_or_auto(&written(deserializer)?, parse_bool).map_err(D::Error::custom)
}

fn number_or_auto<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    parse_or_auto(&written(deserializer)?, parse_number).map_err(D::Error::custom)
}

fn compression<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Compression>, D::Error> {
    parse_or_auto(&String::deserialize(deserializer)?, |text| word(text)).map_err(D::Error::custom)
}

fn line_ending<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LineEnding>, D::Error> {
    parse_or_auto(&String::deserialize(deserializer)?, |text| word(text)).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_sets_what_the_file_sets() {
        let mut options = CsvOptions::default();
        for (key, value) in [
            ("compression", "zip"),
            ("decompressed_bytes_max", "1GiB"),
            ("decompressed_ratio_max", "50"),
            ("decompress_window_bytes_max", "64MiB"),
            ("encoding", "shift_jis"),
            ("bad_bytes", "replace"),
            ("delimiter", "\\t"),
            ("quote", "'"),
            ("escape", "\\"),
            ("comment", "#"),
            ("line_ending", "crlf"),
            ("header", "true"),
            ("header_rows", "2"),
            ("columns", "a,b"),
            ("skip_lines", "3"),
            ("footer_lines", "1"),
            ("field_bytes_max", "64KiB"),
            ("line_bytes_max", "32MiB"),
            ("null_values", ",NA,null"),
            ("trim", "true"),
            ("infer", "false"),
        ] {
            options.set(key, value).unwrap();
        }
        let file = "compression = \"zip\"\ndecompressed_bytes_max = \"1GiB\"\n\
                    decompressed_ratio_max = 50\ndecompress_window_bytes_max = \"64MiB\"\n\
                    encoding = \"shift_jis\"\nbad_bytes = \"replace\"\n\
                    delimiter = \"tab\"\nquote = \"'\"\nescape = \"\\\\\"\ncomment = \"#\"\n\
                    line_ending = \"crlf\"\nheader = true\nheader_rows = 2\ncolumns = [\"a\", \"b\"]\n\
                    skip_lines = 3\nfooter_lines = 1\n\
                    field_bytes_max = \"64KiB\"\nline_bytes_max = \"32MiB\"\n\
                    null_values = [\"\", \"NA\", \"null\"]\ntrim = true\ninfer = false\n";
        assert_eq!(options, toml::from_str(file).unwrap());
        options.set("quote", "false").unwrap();
        assert_eq!(options.quote, Some(None));
    }

    #[test]
    fn auto_is_what_is_not_said() {
        let mut options = CsvOptions::default();
        for key in ["delimiter", "quote", "escape", "line_ending", "header", "skip_lines"] {
            options.set(key, "auto").unwrap();
        }
        let file = "delimiter = \"auto\"\nquote = \"auto\"\nescape = \"auto\"\n\
                    line_ending = \"auto\"\nheader = \"auto\"\nskip_lines = \"auto\"\n";
        assert_eq!(options, CsvOptions::default());
        assert_eq!(options, toml::from_str(file).unwrap());
    }

    #[test]
    fn any_byte_can_be_written() {
        let delimiter = |text: &str| parse_delimiter(text).unwrap().unwrap();
        assert_eq!(delimiter("\\x01"), b"\x01");
        assert_eq!(delimiter("||"), b"||");
        assert_eq!(delimiter("a\\\\\\t"), b"a\\\t");
        assert_eq!(delimiter("\\"), b"\\");
        assert!(parse_delimiter("\\q").is_err() && parse_delimiter("\\x0").is_err());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let refused =
            |key: &str, value: &str| CsvOptions::default().set(key, value).unwrap_err().to_string();
        assert_eq!(
            refused("delimeter", ";"),
            "unknown field \"delimeter\" in --csv; did you mean \"delimiter\"?"
        );
        assert!(refused("delimiter", "123456789").starts_with("\"123456789\" is not a delimiter"));
        assert!(refused("delimiter", "\n").contains("line end"));
        assert_eq!(refused("header", "yes"), "\"yes\" is neither true nor false");
        assert!(refused("skip_lines", "-1").contains("is not a number"));
        assert!(refused("line_bytes_max", "long").contains("is not a size"));
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let with = |pairs: &[(&str, &str)]| {
            let mut options = CsvOptions::default();
            pairs.iter().for_each(|(key, value)| options.set(key, value).unwrap());
            options.validate().map_err(|error| error.message().to_owned())
        };
        assert_eq!(with(&[("delimiter", "|"), ("escape", "\\")]), Ok(()));
        assert_eq!(with(&[("delimiter", "||")]), Ok(()));
        assert_eq!(with(&[("delimiter", "\\x01")]), Ok(()));
        assert!(with(&[("line_bytes_max", "2GiB")]).unwrap_err().contains("line_bytes_max"));
        assert!(with(&[("footer_lines", "1001")]).unwrap_err().contains("a footer of 1001 lines"));
        assert!(with(&[("delimiter", "\""), ("quote", "\"")]).unwrap_err().contains("as well"));
        assert!(with(&[("escape", "\""), ("quote", "\"")]).unwrap_err().contains("as well"));
        assert!(
            with(&[("header", "false"), ("header_rows", "2")]).unwrap_err().contains("no header")
        );
    }
}
