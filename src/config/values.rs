//! How single values are written, in the file and on the command line alike.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use super::wrong;
use crate::error::Result;

/// How alike two names must be for the one to be offered for the other, from 0 to 1.
const LIKENESS_MIN: f64 = 0.5;

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// A number of bytes: `4194304`, `"128MB"`, `"1.5 GiB"`.
///
/// # Errors
/// [`crate::error::ErrorKind::Configuration`] for anything else.
pub fn parse_size(text: &str) -> Result<u64> {
    let refuse = || {
        wrong(format!("{text:?} is not a size"))
            .with_advice("write bytes, or a number and B, KB, MB, GB, TB, KiB, MiB, GiB or TiB")
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    let scale = match unit {
        "" => 1,
        _ => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(refuse)?.1,
    };
    if number.contains('.') {
        let bytes = number.parse::<f64>().map_err(|_| refuse())? * scale as f64;
        // A float holds every whole number up to 2^53; no size here comes near.
        return if unit.is_empty() || bytes > 2_f64.powi(53) {
            Err(refuse())
        } else {
            Ok(bytes as u64)
        };
    }
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)).ok_or_else(refuse)
}

/// Of `known`, the name that `name` was probably meant to be.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), *candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Anything that is written as text.
pub(super) fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = crate::error::Error>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// A whole number of bytes, or text for [`parse_size`].
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Size;
    impl Visitor<'_> for Size {
        type Value = u64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size such as \"128MiB\" or 4194304")
        }
        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u64, E> {
            u64::try_from(value).map_err(|_| E::custom(format!("{value} is not a size")))
        }
        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }
        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<u64, E> {
            parse_size(value).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Size)
}

pub(super) fn optional_size<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    size(deserializer).map(Some)
}

/// Text, or `false` for none.
pub(super) fn text_or_false<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    struct TextOrFalse;
    impl Visitor<'_> for TextOrFalse {
        type Value = Option<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, or false for none")
        }
        fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Option<String>, E> {
            match value {
                false => Ok(None),
                true => Err(E::invalid_value(serde::de::Unexpected::Bool(true), &self)),
            }
        }
        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Option<String>, E> {
            Ok(Some(value.to_owned()))
        }
    }
    deserializer.deserialize_any(TextOrFalse)
}

/// A string, or a list of strings.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }
        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Vec<String>, E> {
            Ok(vec![value.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut values = Vec::new();
            while let Some(value) = list.next_element()? {
                values.push(value);
            }
            Ok(values)
        }
    }
    deserializer.deserialize_any(OneOrMany)
}
