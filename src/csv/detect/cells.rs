//! What a field looks like: the evidence of which all the rest is made.

/// A text longer than this is rather a line than a field.
const FIELD_BYTES_USUAL: usize = 80;

/// The marks that would rather separate fields than be in one.
const STRONG_MARKS: &[u8] = b";\t|\x01";

/// What the text of a field could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    /// With whatever marks of whatever country.
    Number,
    /// A date, a time, or both.
    Time,
    Boolean,
    Text,
}

impl Kind {
    pub(super) fn of(text: &[u8]) -> Self {
        let text = text.trim_ascii();
        if text.is_empty() {
            Self::Empty
        } else if is_number(text) {
            Self::Number
        } else if is_time(text) {
            Self::Time
        } else if [&b"true"[..], b"false", b"yes", b"no"]
            .iter()
            .any(|w| w.eq_ignore_ascii_case(text))
        {
            Self::Boolean
        } else {
            Self::Text
        }
    }

    /// Whether it is not just any text.
    pub(super) fn is_typed(self) -> bool {
        matches!(self, Self::Number | Self::Time | Self::Boolean)
    }
}

/// From 0 to 1, how much `field`, as it is in the object, looks like one whole field. `quote` is the
/// dialect's.
pub(super) fn likeliness(field: &[u8], quote: Option<u8>) -> f64 {
    let is_quoted = |quote: u8| {
        field.len() >= 2 && field.first() == Some(&quote) && field.last() == Some(&quote)
    };
    if quote.is_some_and(is_quoted) {
        return 1.0;
    }
    let padding = if field.trim_ascii().len() == field.len() { 1.0 } else { 0.8 };
    let text = field.trim_ascii();
    let has = |marks: &[u8]| text.iter().any(|byte| marks.contains(byte));
    let at_an_end = |marks: &[u8]| {
        [text.first(), text.last()].into_iter().flatten().any(|byte| marks.contains(byte))
    };
    padding
        * match Kind::of(text) {
            Kind::Empty => 0.8,
            Kind::Number | Kind::Time | Kind::Boolean => 1.0,
            Kind::Text if at_an_end(b"\"'") => 0.3,
            Kind::Text if has(STRONG_MARKS) => 0.3,
            Kind::Text if has(b"\"") => 0.5,
            Kind::Text if text.len() > FIELD_BYTES_USUAL => 0.6,
            Kind::Text if has(b",") => 0.7,
            Kind::Text => 0.9,
        }
}

/// Whether there is a mark in `text` that would rather separate fields.
pub(super) fn has_strong_mark(text: &[u8]) -> bool {
    text.iter().any(|byte| STRONG_MARKS.contains(byte))
}

/// `1`, `-2.50`, `1,5`, `1.234.567,89`, `1'000`, `3e-7`, `12%`, `$5`.
fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let text = text.strip_prefix(b"$").or(text.strip_suffix(b"%")).unwrap_or(text).trim_ascii();
    let exponent = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = text.split_at(exponent.unwrap_or(text.len()));
    is_exponent(exponent) && is_mantissa(mantissa)
}

fn is_exponent(text: &[u8]) -> bool {
    let [_, digits @ ..] = text else { return true };
    let digits = digits.strip_prefix(b"-").or(digits.strip_prefix(b"+")).unwrap_or(digits);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Digits, with one point or comma at most; or in groups of three, and then too.
fn is_mantissa(text: &[u8]) -> bool {
    let marks: Vec<usize> = (0..text.len()).filter(|&i| !text[i].is_ascii_digit()).collect();
    let digits = text.len() - marks.len();
    let Some((&last, groups)) = marks.split_last() else { return digits > 0 };
    let is_point = |mark: usize| matches!(text[mark], b'.' | b',');
    let group = groups.first().map_or(text[last], |&first| text[first]);
    let in_threes = marks.windows(2).all(|pair| pair[1] - pair[0] == 4);
    let of_groups = matches!(group, b'.' | b',' | b'\'' | b' ')
        && groups.iter().all(|&mark| text[mark] == group)
        && in_threes
        && marks[0] > 0;
    let ends_in_group = text[last] == group && text.len() - last == 4;
    let ends_in_fraction = is_point(last) && text[last] != group;
    digits > 0
        && ((groups.is_empty() && is_point(last))
            || (of_groups && (ends_in_group || (!groups.is_empty() && ends_in_fraction))))
}

/// Digits with the marks of dates and times between them.
fn is_time(text: &[u8]) -> bool {
    const BYTES_MAX: usize = 35;
    let is_mark = |byte: &u8| matches!(byte, b'-' | b'/' | b':' | b'.');
    let is_part = |byte: &u8| {
        byte.is_ascii_digit() || is_mark(byte) || matches!(byte, b' ' | b'T' | b'Z' | b'+')
    };
    let marks = text.iter().filter(|byte| is_mark(byte)).count();
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    text.len() <= BYTES_MAX
        && text[0].is_ascii_digit()
        && text.iter().all(is_part)
        && digits >= 3
        && (marks >= 2 || (marks == 1 && text.contains(&b':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let all = |kind, texts: &[&str]| {
            for text in texts {
                assert_eq!(Kind::of(text.as_bytes()), kind, "{text:?}");
            }
        };
        all(Kind::Empty, &["", "  "]);
        all(
            Kind::Number,
            &[
                "1",
                "-2.50",
                "1,5",
                ".5",
                "1.234.567,89",
                "1,234",
                "1'000.5",
                "3e-7",
                "12%",
                "$5",
                "1 000",
            ],
        );
        all(Kind::Time, &["2024-01-31", "31.01.2024", "10:15", "2024-01-31T10:15:00.5+01:00"]);
        all(Kind::Boolean, &["true", "NO"]);
        all(
            Kind::Text,
            &["a", "1,2,3", "1;2", "e5", "-", "1e", "12 apples", "$", "1.2,3.4", "1,23,456"],
        );
    }

    #[test]
    fn a_whole_field_is_likelier_than_what_has_marks_in_it() {
        let likeliness = |field: &str| super::likeliness(field.as_bytes(), Some(b'"'));
        assert!(likeliness("\"a;b\"") > likeliness("plain"));
        assert!(likeliness("plain") > likeliness("Doe, John"));
        assert!(likeliness("Doe, John") > likeliness("a;b"));
        assert!(likeliness("5") > likeliness(" 5"));
        assert!(likeliness("say \"so\" now") > likeliness("'a"));
    }
}
