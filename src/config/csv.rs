//! How CSV objects are written.

use serde::Deserialize;

use super::spelling::{
    bool_or_auto, byte_false_or_auto, byte_or_false, compression, delimiter, formats, line_ending,
    number_or_auto, number_or_false, parse_bool, parse_byte_or_false, parse_delimiter,
    parse_formats, parse_number, parse_number_or_false, parse_or_auto, parse_place,
    parse_separator, parse_separator_or_false, place, separator, separator_or_false,
};
use super::{BadRows, file, values, word, wrong};
use crate::csv::{
    BadBytes, BinaryFormat, DialectOptions, EncodingOption, LineEnding, LongRows, RowRules,
    ShortRows, TimeFormat, ValueFormat,
};
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
    /// What is between a number's whole part and its fraction.
    #[serde(deserialize_with = "separator")]
    pub decimal_separator: char,
    /// What may be between a number's thousands, if anything.
    #[serde(deserialize_with = "separator_or_false")]
    pub thousands_separator: Option<char>,
    /// Whether decimals are rounded to the digits that their column has.
    pub round_decimals: bool,
    /// The words for true.
    pub true_values: Vec<String>,
    /// The words for false.
    pub false_values: Vec<String>,
    /// How dates are written.
    #[serde(deserialize_with = "formats")]
    pub date_format: Vec<TimeFormat>,
    /// How timestamps are written.
    #[serde(deserialize_with = "formats")]
    pub timestamp_format: Vec<TimeFormat>,
    /// How binary values are written.
    pub binary_format: BinaryFormat,
    /// Whether types are inferred; otherwise every column is a string.
    pub infer: bool,
    /// What becomes of a bad row.
    pub bad_rows: BadRows,
    /// With more bad rows, an object is refused.
    #[serde(deserialize_with = "number_or_false")]
    pub max_bad_rows: Option<u64>,
    /// With a greater share of bad rows, an object is refused.
    #[serde(deserialize_with = "number_or_false")]
    pub max_bad_ratio: Option<f64>,
    /// What becomes of a row with too few fields.
    pub short_rows: ShortRows,
    /// What becomes of a row with too many fields.
    pub long_rows: LongRows,
    /// The column that takes what is rescued.
    pub rescued_column: String,
    /// The folder of quarantine files; none: one beside the table's ledger.
    #[serde(deserialize_with = "place")]
    pub quarantine: Option<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        let values = ValueFormat::default();
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
            decimal_separator: values.decimal_separator,
            thousands_separator: values.thousands_separator,
            round_decimals: values.round_decimals,
            true_values: values.true_values,
            false_values: values.false_values,
            date_format: values.date_formats,
            timestamp_format: values.timestamp_formats,
            binary_format: values.binary_format,
            infer: true,
            bad_rows: BadRows::default(),
            max_bad_rows: None,
            max_bad_ratio: None,
            short_rows: ShortRows::default(),
            long_rows: LongRows::default(),
            rescued_column: "_rescued".to_owned(),
            quarantine: None,
        }
    }
}

impl CsvOptions {
    /// Sets the option `key` as the command line writes it: lists are separated by commas.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], as from the file.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let list = || -> Vec<String> { value.split(',').map(str::to_owned).collect() };
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
            "decimal_separator" => self.decimal_separator = parse_separator(value)?,
            "thousands_separator" => self.thousands_separator = parse_separator_or_false(value)?,
            "round_decimals" => self.round_decimals = parse_bool(value)?,
            "true_values" => self.true_values = list(),
            "false_values" => self.false_values = list(),
            "date_format" => self.date_format = parse_formats(&list())?,
            "timestamp_format" => self.timestamp_format = parse_formats(&list())?,
            "binary_format" => self.binary_format = word(value)?,
            "infer" => self.infer = parse_bool(value)?,
            "bad_rows" => self.bad_rows = word(value)?,
            "max_bad_rows" => self.max_bad_rows = parse_number_or_false(value)?,
            "max_bad_ratio" => self.max_bad_ratio = parse_number_or_false(value)?,
            "short_rows" => self.short_rows = word(value)?,
            "long_rows" => self.long_rows = word(value)?,
            "rescued_column" => self.rescued_column = value.to_owned(),
            "quarantine" => self.quarantine = parse_place(value),
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

    /// How the values of the columns are written of which nothing else is said.
    pub fn value_format(&self) -> ValueFormat {
        ValueFormat {
            null_values: None,
            decimal_separator: self.decimal_separator,
            thousands_separator: self.thousands_separator,
            round_decimals: self.round_decimals,
            true_values: self.true_values.clone(),
            false_values: self.false_values.clone(),
            date_formats: self.date_format.clone(),
            timestamp_formats: self.timestamp_format.clone(),
            binary_format: self.binary_format,
        }
    }

    /// What is done about rows that are not as they should be.
    pub fn row_rules(&self) -> RowRules {
        RowRules {
            rescue: self.bad_rows == BadRows::Rescue,
            short_rows: self.short_rows,
            long_rows: self.long_rows,
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
        self.validate_values()?;
        if self.max_bad_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            return Err(wrong("max_bad_ratio is not between 0 and 1")
                .with_advice("write 0.01 for one row in a hundred"));
        }
        if self.bad_rows == BadRows::Fail
            && (self.max_bad_rows.is_some() || self.max_bad_ratio.is_some())
        {
            return Err(wrong(
                "max_bad_rows or max_bad_ratio is given, and any bad row fails its object",
            )
            .with_advice("say what becomes of bad rows with bad_rows"));
        }
        if self.rescued_column.is_empty() {
            return Err(wrong("rescued_column is empty").with_advice("give it a name"));
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

    fn validate_values(&self) -> Result<()> {
        self.value_format().check()?;
        if let Some(format) = self.date_format.iter().find(|format| format.is_instant()) {
            return Err(wrong(format!(
                "date_format has {:?}, which is no date",
                format.to_string()
            ))
            .with_advice("give it to timestamp_format"));
        }
        let delimits =
            |separator: char| self.delimiter.as_deref() == Some(separator.to_string().as_bytes());
        // With quotes, a number can hold the delimiter.
        if self.quote == Some(None) && delimits(self.decimal_separator) {
            return Err(wrong("decimal_separator is the delimiter, and there is no quote")
                .with_advice(
                    "no number could have a fraction: check the delimiter and the quote",
                ));
        }
        Ok(())
    }
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
            ("decimal_separator", ","),
            ("thousands_separator", " "),
            ("round_decimals", "true"),
            ("true_values", "ja,1"),
            ("false_values", "nein,0"),
            ("date_format", "%d.%m.%Y,iso"),
            ("timestamp_format", "epoch_ms"),
            ("binary_format", "hex"),
            ("infer", "false"),
            ("bad_rows", "quarantine"),
            ("max_bad_rows", "10"),
            ("max_bad_ratio", "0.5"),
            ("short_rows", "pad"),
            ("long_rows", "ignore"),
            ("rescued_column", "_rest"),
            ("quarantine", "s3://lake/bad"),
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
                    null_values = [\"\", \"NA\", \"null\"]\ntrim = true\n\
                    decimal_separator = \",\"\nthousands_separator = \" \"\n\
                    round_decimals = true\ntrue_values = [\"ja\", \"1\"]\n\
                    false_values = [\"nein\", \"0\"]\ndate_format = [\"%d.%m.%Y\", \"iso\"]\n\
                    timestamp_format = \"epoch_ms\"\nbinary_format = \"hex\"\ninfer = false\n\
                    bad_rows = \"quarantine\"\nmax_bad_rows = 10\nmax_bad_ratio = 0.5\n\
                    short_rows = \"pad\"\nlong_rows = \"ignore\"\nrescued_column = \"_rest\"\n\
                    quarantine = \"s3://lake/bad\"\n";
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
        assert!(refused("decimal_separator", ",,").contains("is not a single character"));
        assert!(refused("date_format", "dd.mm.yyyy").contains("is not a format of dates"));
        assert!(refused("binary_format", "octal").contains("unknown variant"));
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
        assert_eq!(with(&[("delimiter", ","), ("decimal_separator", ",")]), Ok(()));
        let no_quote = [("delimiter", ","), ("decimal_separator", ","), ("quote", "false")];
        assert!(with(&no_quote).unwrap_err().contains("there is no quote"));
        assert!(with(&[("thousands_separator", ".")]).unwrap_err().contains("are the same"));
        assert!(with(&[("date_format", "epoch_s")]).unwrap_err().contains("is no date"));
        assert!(with(&[("line_bytes_max", "2GiB")]).unwrap_err().contains("line_bytes_max"));
        assert!(with(&[("footer_lines", "1001")]).unwrap_err().contains("a footer of 1001 lines"));
        assert!(with(&[("max_bad_rows", "1")]).unwrap_err().contains("any bad row fails"));
        let ratio = [("bad_rows", "drop"), ("max_bad_ratio", "1.5")];
        assert!(with(&ratio).unwrap_err().contains("between 0 and 1"));
        assert!(with(&[("delimiter", "\""), ("quote", "\"")]).unwrap_err().contains("as well"));
        assert!(with(&[("escape", "\""), ("quote", "\"")]).unwrap_err().contains("as well"));
        assert!(
            with(&[("header", "false"), ("header_rows", "2")]).unwrap_err().contains("no header")
        );
    }
}
