//! How the options of CSV are spelled, in a file and on the command line.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{values, word, wrong};
use crate::csv::{DELIMITER_BYTES_MAX, LineEnding, TimeFormat};
use crate::error::Result;
use crate::source::Compression;

/// One byte: itself, a tab as `tab` or `\t`, any as `\x01`. Line ends are taken.
fn parse_byte(text: &str) -> Result<u8> {
    match unescaped(text)?.as_slice() {
        [byte] if !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err(wrong(format!("{text:?} is not a single byte"))
            .with_advice("write one ASCII character other than a line end, or tab")),
    }
}

pub(super) fn parse_delimiter(text: &str) -> Result<Option<Vec<u8>>> {
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

/// One character.
pub(super) fn parse_separator(text: &str) -> Result<char> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(separator), None) => Ok(separator),
        _ => Err(wrong(format!("{text:?} is not a single character"))
            .with_advice("write a comma, a point, a space or an apostrophe")),
    }
}

pub(super) fn parse_separator_or_false(text: &str) -> Result<Option<char>> {
    if text == "false" { Ok(None) } else { parse_separator(text).map(Some) }
}

pub(super) fn parse_formats(texts: &[String]) -> Result<Vec<TimeFormat>> {
    texts.iter().map(|text| text.parse()).collect()
}

pub(super) fn parse_byte_or_false(text: &str) -> Result<Option<u8>> {
    if text == "false" { Ok(None) } else { parse_byte(text).map(Some) }
}

pub(super) fn parse_bool(text: &str) -> Result<bool> {
    text.parse().map_err(|_| wrong(format!("{text:?} is neither true nor false")))
}

pub(super) fn parse_number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| wrong(format!("{text:?} is not a number that fits")))
}

/// Nothing for `auto`, which is to be found out.
pub(super) fn parse_or_auto<T>(text: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    if text == "auto" { Ok(None) } else { parse(text).map(Some) }
}

/// Nothing for `false`.
pub(super) fn parse_number_or_false<T: FromStr>(text: &str) -> Result<Option<T>> {
    if text == "false" { Ok(None) } else { parse_number(text).map(Some) }
}

/// Nothing for `table`.
pub(super) fn parse_place(text: &str) -> Option<String> {
    (text != "table").then(|| text.to_owned())
}

/// A boolean, a number or a string of the file, as the command line would write it.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a string, a number, true or false")]
    enum Written {
        Bool(bool),
        Number(u64),
        Ratio(f64),
        Text(String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Bool(value) => value.to_string(),
        Written::Number(value) => value.to_string(),
        Written::Ratio(value) => value.to_string(),
        Written::Text(value) => value,
    })
}

pub(super) fn delimiter<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<u8>>, D::Error> {
    parse_delimiter(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn separator<'de, D: Deserializer<'de>>(deserializer: D) -> Result<char, D::Error> {
    parse_separator(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn separator_or_false<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<char>, D::Error> {
    match values::text_or_false(deserializer)? {
        Some(text) => parse_separator(&text).map(Some).map_err(D::Error::custom),
        None => Ok(None),
    }
}

pub(super) fn formats<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<TimeFormat>, D::Error> {
    parse_formats(&values::one_or_many(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn byte_or_false<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u8>, D::Error> {
    match values::text_or_false(deserializer)? {
        Some(text) => parse_byte(&text).map(Some).map_err(D::Error::custom),
        None => Ok(None),
    }
}

pub(super) fn byte_false_or_auto<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<u8>>, D::Error> {
    parse_or_auto(&written(deserializer)?, parse_byte_or_false).map_err(D::Error::custom)
}

pub(super) fn bool_or_auto<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<bool>, D::Error> {
    parse_or_auto(&written(deserializer)?, parse_bool).map_err(D::Error::custom)
}

pub(super) fn number_or_auto<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    parse_or_auto(&written(deserializer)?, parse_number).map_err(D::Error::custom)
}

pub(super) fn number_or_false<'de, D: Deserializer<'de>, T: FromStr>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    parse_number_or_false(&written(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn place<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    Ok(parse_place(&String::deserialize(deserializer)?))
}

pub(super) fn compression<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Compression>, D::Error> {
    parse_or_auto(&String::deserialize(deserializer)?, |text| word(text)).map_err(D::Error::custom)
}

pub(super) fn line_ending<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<LineEnding>, D::Error> {
    parse_or_auto(&String::deserialize(deserializer)?, |text| word(text)).map_err(D::Error::custom)
}
