//! How CSV objects are written.

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{file, values, wrong};
use crate::csv::Dialect;
use crate::error::Result;

/// How a feed's CSV objects are written: `[feed.csv]`, or `--csv key=value`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvOptions {
    /// What separates fields.
    #[serde(deserialize_with = "byte")]
    pub delimiter: u8,
    /// What may enclose a field, if anything.
    #[serde(deserialize_with = "byte_or_false")]
    pub quote: Option<u8>,
    /// What takes the meaning from a quote inside quotes; where absent, quotes are doubled.
    #[serde(deserialize_with = "byte_or_false")]
    pub escape: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Unquoted spellings of null.
    pub null_values: Vec<String>,
    /// Whether types are inferred; otherwise every column is a string.
    pub infer: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        let Dialect { delimiter, quote, escape, header, null_values } = Dialect::default();
        Self { delimiter, quote, escape, header, null_values, infer: true }
    }
}

impl CsvOptions {
    /// Sets the option `key` as the command line writes it: `null_values` separated by commas.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], as from the file.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "delimiter" => self.delimiter = parse_byte(value)?,
            "quote" => self.quote = parse_byte_or_false(value)?,
            "escape" => self.escape = parse_byte_or_false(value)?,
            "header" => self.header = parse_bool(value)?,
            "null_values" => self.null_values = value.split(',').map(str::to_owned).collect(),
            "infer" => self.infer = parse_bool(value)?,
            _ => return Err(file::unknown::<Self>(key, "--csv")),
        }
        Ok(())
    }

    /// What the decoder needs to know.
    pub fn dialect(&self) -> Dialect {
        Dialect {
            delimiter: self.delimiter,
            quote: self.quote,
            escape: self.escape,
            header: self.header,
            null_values: self.null_values.clone(),
        }
    }

    /// Checks what no single option can say of itself.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], naming the option.
    pub fn validate(&self) -> Result<()> {
        let Self { delimiter, quote, escape, .. } = *self;
        if quote == Some(delimiter) || escape == Some(delimiter) {
            return Err(wrong("delimiter is the quote or the escape as well")
                .with_advice("give each a byte of its own"));
        }
        if escape.is_some() && escape == quote {
            return Err(wrong("escape is the quote as well")
                .with_advice("leave escape out: quotes inside quotes are then doubled"));
        }
        if escape.is_some() && quote.is_none() {
            return Err(wrong("escape is given, but there is no quote")
                .with_advice("leave escape out, or give a quote"));
        }
        Ok(())
    }
}

/// One byte: itself, or `tab` or `\t`. Line ends are taken.
fn parse_byte(text: &str) -> Result<u8> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err(wrong(format!("{text:?} is not a single byte"))
            .with_advice("write one ASCII character other than a line end, or tab")),
    }
}

fn parse_byte_or_false(text: &str) -> Result<Option<u8>> {
    if text == "false" { Ok(None) } else { parse_byte(text).map(Some) }
}

fn parse_bool(text: &str) -> Result<bool> {
    text.parse().map_err(|_| wrong(format!("{text:?} is neither true nor false")))
}

fn byte<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    parse_byte(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn byte_or_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    match values::text_or_false(deserializer)? {
        Some(text) => parse_byte(&text).map(Some).map_err(D::Error::custom),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_sets_what_the_file_sets() {
        let mut options = CsvOptions::default();
        for (key, value) in [
            ("delimiter", "\\t"),
            ("quote", "'"),
            ("escape", "\\"),
            ("header", "false"),
            ("null_values", ",NA,null"),
            ("infer", "false"),
        ] {
            options.set(key, value).unwrap();
        }
        let file = "delimiter = \"tab\"\nquote = \"'\"\nescape = \"\\\\\"\nheader = false\n\
                    null_values = [\"\", \"NA\", \"null\"]\ninfer = false\n";
        assert_eq!(options, toml::from_str(file).unwrap());
        options.set("quote", "false").unwrap();
        assert_eq!(options.quote, None);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let refused =
            |key: &str, value: &str| CsvOptions::default().set(key, value).unwrap_err().to_string();
        assert_eq!(
            refused("delimeter", ";"),
            "unknown field \"delimeter\" in --csv; did you mean \"delimiter\"?"
        );
        assert!(refused("delimiter", ";;").starts_with("\";;\" is not a single byte"));
        assert!(refused("delimiter", "\n").contains("line end"));
        assert_eq!(refused("header", "yes"), "\"yes\" is neither true nor false");
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let with = |pairs: &[(&str, &str)]| {
            let mut options = CsvOptions::default();
            pairs.iter().for_each(|(key, value)| options.set(key, value).unwrap());
            options.validate().map_err(|error| error.message().to_owned())
        };
        assert_eq!(with(&[("delimiter", "|"), ("escape", "\\")]), Ok(()));
        assert!(with(&[("delimiter", "\"")]).unwrap_err().contains("as well"));
        assert!(with(&[("escape", "\"")]).unwrap_err().contains("as well"));
        assert!(with(&[("quote", "false"), ("escape", "\\")]).unwrap_err().contains("no quote"));
    }
}
