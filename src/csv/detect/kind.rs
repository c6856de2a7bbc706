//! What sort of value a field's text looks like. Looser than the decoder's types: a price with its
//! currency is a number here, because what it says of the dialect is the same.

use super::super::value::trimmed;

/// What a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or a word for nothing.
    Empty,
    Number,
    /// A day, with a time or without.
    Date,
    Time,
    Boolean,
    /// A URL, an e-mail or IP address, a path, a UUID.
    Address,
    Text,
}

/// How many kinds there are.
pub(super) const KINDS: usize = 7;

/// Words for nothing.
const NULLS: [&str; 10] = ["na", "n/a", "null", "nan", "none", "nil", "-", "?", "\\n", "--"];
const BOOLEANS: [&str; 8] = ["true", "false", "yes", "no", "y", "n", "t", "f"];
/// The longest of those words.
const WORD_BYTES_MAX: usize = 5;
/// The longest date with a time, a fraction and a zone.
const MOMENT_BYTES_MAX: usize = 40;

impl Kind {
    pub fn of(text: &[u8]) -> Self {
        let text = trimmed(text);
        let Some(first) = text.first() else { return Self::Empty };
        if !first.is_ascii_digit() && text.len() <= WORD_BYTES_MAX {
            if is_word_of(text, &NULLS) {
                return Self::Empty;
            }
            if is_word_of(text, &BOOLEANS) {
                return Self::Boolean;
            }
        }
        if !first.is_ascii_alphabetic() && is_number(text) {
            return Self::Number;
        }
        let may_be_moment = first.is_ascii_alphanumeric() && text.len() <= MOMENT_BYTES_MAX;
        match may_be_moment.then(|| moment(text)).flatten() {
            Some(kind) => kind,
            None if is_address(text) => Self::Address,
            None => Self::Text,
        }
    }

    /// Whether it is more than words.
    pub fn is_typed(self) -> bool {
        !matches!(self, Self::Empty | Self::Text)
    }
}

fn is_word_of(text: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

/// A number with sign, currency, per cent, exponent, thousands separators and either decimal mark.
fn is_number(text: &[u8]) -> bool {
    const CURRENCIES: [&str; 4] = ["$", "€", "£", "¥"];
    let sign = |text: &[u8]| usize::from(matches!(text, [b'-' | b'+', ..]));
    let mut text = &text[sign(text)..];
    for currency in CURRENCIES.map(str::as_bytes) {
        if let Some(amount) = text.strip_prefix(currency) {
            text = &amount[sign(amount)..];
        }
        text = text.strip_suffix(currency).unwrap_or(text);
    }
    let text = trimmed(text.strip_suffix(b"%").unwrap_or(text));
    let mantissa_end =
        text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(mantissa_end);
    is_exponent(exponent) && is_mantissa(mantissa)
}

fn is_exponent(text: &[u8]) -> bool {
    let digits = match text {
        [] => return true,
        [_, b'+' | b'-', digits @ ..] | [_, digits @ ..] => digits,
    };
    (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

fn is_mantissa(text: &[u8]) -> bool {
    let Some(mark) = text.iter().position(|byte| !byte.is_ascii_digit()) else {
        return !text.is_empty();
    };
    let last = text.iter().rposition(|byte| matches!(byte, b'.' | b',')).unwrap_or(mark);
    let (whole, fraction) = (&text[..last], &text[last..]);
    let is_fraction = |text: &[u8]| matches!(text, [b'.' | b',', digits @ ..] if digits.iter().all(u8::is_ascii_digit));
    if mark == last && text.len() > 1 && is_fraction(fraction) {
        return true;
    }
    is_grouped(text) || (is_fraction(fraction) && fraction[0] != text[mark] && is_grouped(whole))
}

/// Digits in groups of three after the first.
fn is_grouped(text: &[u8]) -> bool {
    let Some(separator) = text.iter().copied().find(|byte| !byte.is_ascii_digit()) else {
        return false;
    };
    if !matches!(separator, b',' | b'.' | b' ' | b'\'') {
        return false;
    }
    let mut groups = text.split(|byte| *byte == separator);
    let digits = |group: &[u8]| group.iter().all(u8::is_ascii_digit);
    groups.next().is_some_and(|first| (1..=3).contains(&first.len()) && digits(first))
        && groups.all(|group| group.len() == 3 && digits(group))
}

/// A date, a time, or both.
fn moment(text: &[u8]) -> Option<Kind> {
    if is_time(text) {
        return Some(Kind::Time);
    }
    let ends = |pair: &[u8]| pair[0].is_ascii_digit() && matches!(pair[1], b'T' | b' ');
    let date_end = text.windows(2).position(ends).map_or(text.len(), |digit| digit + 1);
    let (date, rest) = text.split_at(date_end);
    let is_moment = is_date(date) && (rest.is_empty() || is_time(&rest[1..]));
    is_moment.then_some(Kind::Date)
}

fn is_date(text: &[u8]) -> bool {
    let Some(separator) = text.iter().copied().find(|byte| matches!(byte, b'-' | b'/' | b'.'))
    else {
        return false;
    };
    let mut parts = text.split(|byte| *byte == separator);
    let (Some(a), Some(b), Some(c), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let up_to = |text: &[u8], max: u32| {
        let value = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok());
        text.len() <= 2 && value.is_some_and(|value| (1..=max).contains(&value))
    };
    let is_month = |text: &[u8]| {
        const NAMES: [&str; 12] =
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        up_to(text, 12) || is_word_of(text, &NAMES)
    };
    let is_year = |text: &[u8]| matches!(text.len(), 2 | 4) && text.iter().all(u8::is_ascii_digit);
    (a.len() == 4 && is_year(a) && is_month(b) && up_to(c, 31))
        || (is_year(c) && ((up_to(a, 31) && is_month(b)) || (is_month(a) && up_to(b, 31))))
}

/// `hh:mm`, with seconds or not, a fraction, AM or PM, or a zone.
fn is_time(text: &[u8]) -> bool {
    let digits_end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit() && !matches!(byte, b':' | b'.' | b','))
        .unwrap_or(text.len());
    let (clock, zone) = text.split_at(digits_end);
    let mut parts = clock.split(|byte| *byte == b':');
    let two = |part: Option<&[u8]>| {
        part.is_some_and(|part| part.len() == 2 && part.iter().all(u8::is_ascii_digit))
    };
    let hours = parts.next().unwrap_or_default();
    let starts = (1..=2).contains(&hours.len()) && hours.iter().all(u8::is_ascii_digit);
    let is_clock = starts
        && two(parts.next())
        && parts.next().is_none_or(|seconds| two(seconds.get(..2)))
        && parts.next().is_none();
    let zone = trimmed(zone);
    let is_offset = matches!(zone, [b'+' | b'-', rest @ ..] if rest.len() <= 5 && rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b':'));
    is_clock && (zone.is_empty() || is_offset || is_word_of(zone, &["z", "am", "pm", "utc"]))
}

fn is_address(text: &[u8]) -> bool {
    if memchr::memchr3(b' ', b',', b';', text).is_some() {
        return false;
    }
    let is_path = text.len() > 1 && text[0] == b'/' && text[1].is_ascii_alphanumeric();
    is_path || is_url(text) || is_email(text) || is_ip(text) || is_uuid(text)
}

fn is_url(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"://").is_some_and(|at| {
        (2..=10).contains(&at) && text[..at].iter().all(u8::is_ascii_alphanumeric)
    })
}

fn is_email(text: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'@', text) else { return false };
    at > 0
        && memchr::memchr(b'.', &text[at..]).is_some()
        && memchr::memchr(b'@', &text[at + 1..]).is_none()
}

fn is_ip(text: &[u8]) -> bool {
    let parts = text.split(|byte| *byte == b'.');
    let is_part =
        |part: &[u8]| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    parts.clone().count() == 4 && parts.into_iter().all(is_part)
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let cases: [(Kind, &[&str]); KINDS] = [
            (Kind::Empty, &["", "  ", "NA", "n/a", "NULL", "-", "\\N"]),
            (
                Kind::Number,
                &[
                    "0",
                    "-1",
                    "+2.5",
                    "1,5",
                    ".5",
                    "5.",
                    "1e9",
                    "-1.2E-7",
                    "$62.03",
                    "$-5",
                    "12 %",
                    "1,234,567",
                    "1.234.567,89",
                    "1,234.5",
                    "1 234,5",
                    "12 €",
                    "1'000.00",
                    "00123",
                ],
            ),
            (
                Kind::Date,
                &[
                    "2024-02-29",
                    "1/2/99",
                    "13/01/2018",
                    "31.12.2024",
                    "2024-02-29T10:00:00Z",
                    "2024-02-29 10:00",
                    "12-OCT-2020",
                    "2024/1/2 9:05 PM",
                ],
            ),
            (Kind::Time, &["10:00", "9:05:01", "23:59:59.999", "10:00 pm", "10:00:00+02:00"]),
            (Kind::Boolean, &["true", "No", "y"]),
            (
                Kind::Address,
                &[
                    "https://example.com/a?b=1",
                    "a.b@example.org",
                    "10.0.0.1",
                    "/usr/bin",
                    "123e4567-e89b-12d3-a456-426614174000",
                ],
            ),
            (
                Kind::Text,
                &[
                    "a",
                    "1,5;2",
                    "ZN-2320",
                    "1.2.3",
                    "12,34,5",
                    "2024-13-01",
                    "1:2:3:4",
                    "e5",
                    ".",
                    "12:3",
                    "e",
                    "1e",
                    "a@b",
                    "14/01",
                    "--1",
                    "a, b",
                ],
            ),
        ];
        for (kind, texts) in cases {
            for text in texts {
                assert_eq!(Kind::of(text.as_bytes()), kind, "{text:?}");
            }
        }
    }
}
