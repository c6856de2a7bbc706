//! Numbers as people write them: `1.234.567,89`.

use super::Text;

/// What may be written for a space between thousands, which typesetters do not let break: a no-break
/// space, a thin one, and one that is both.
const SPACES: [&str; 4] = [" ", "\u{A0}", "\u{2009}", "\u{202F}"];

/// What may be written for an apostrophe between thousands.
const APOSTROPHES: [&str; 2] = ["'", "\u{2019}"];

/// Rewrites numbers as the parsers want them: with a point, and nothing between thousands.
#[derive(Debug, Clone)]
pub(crate) struct Separators {
    decimal: Vec<u8>,
    thousands: Vec<Vec<u8>>,
    plain: Vec<u8>,
}

impl Separators {
    pub(crate) fn new(decimal: char, thousands: Option<char>) -> Self {
        let spellings = match thousands {
            Some(' ') => SPACES.map(str::to_owned).to_vec(),
            Some('\'') => APOSTROPHES.map(str::to_owned).to_vec(),
            other => other.iter().map(char::to_string).collect(),
        };
        Self {
            decimal: decimal.to_string().into_bytes(),
            thousands: spellings.into_iter().map(String::into_bytes).collect(),
            plain: Vec::new(),
        }
    }

    /// The number `text` without its separators; nothing where they are not where they belong.
    pub(crate) fn plain<'a>(&'a mut self, text: &'a [u8]) -> Option<Text<'a>> {
        if self.decimal == b"." && self.thousands.is_empty() {
            return Some(text.into());
        }
        self.plain.clear();
        let (whole, fraction) = match memchr::memmem::find(text, &self.decimal) {
            Some(at) => (&text[..at], Some(&text[at + self.decimal.len()..])),
            None => (text, None),
        };
        self.push_whole(whole)?;
        if self.plain.contains(&b'.') {
            return None;
        }
        if let Some(fraction) = fraction {
            self.plain.push(b'.');
            self.plain.extend_from_slice(fraction);
        }
        Some(self.plain.as_slice().into())
    }

    /// Appends the part before the decimal separator. Between its separators are three digits, or,
    /// as in India, two but for the last three: anything else is another notation, and would be misread.
    fn push_whole(&mut self, mut rest: &[u8]) -> Option<()> {
        let signs = rest.iter().take_while(|byte| matches!(byte, b'+' | b'-')).count();
        let (sign, digits) = rest.split_at(signs);
        self.plain.extend_from_slice(sign);
        rest = digits;
        let mut groups = Groups::default();
        while let Some((&byte, after)) = rest.split_first() {
            let separator = self.thousands.iter().find(|spelling| rest.starts_with(spelling));
            if let Some(separator) = separator {
                groups.end(false)?;
                rest = &rest[separator.len()..];
            } else {
                groups.count(byte);
                self.plain.push(byte);
                rest = after;
            }
        }
        groups.end(true)
    }
}

/// Checks the groups of digits between separators.
#[derive(Default)]
struct Groups {
    ended: usize,
    /// Of the group that is not ended.
    length: usize,
    has_other: bool,
    /// Of the first group, and of those between it and the last.
    first: usize,
    middle: Option<usize>,
}

impl Groups {
    fn count(&mut self, byte: u8) {
        self.length += 1;
        self.has_other |= !byte.is_ascii_digit();
    }

    fn end(&mut self, last: bool) -> Option<()> {
        let length = std::mem::take(&mut self.length);
        let sound = match (self.ended, last) {
            (0, true) => return Some(()),
            (0, false) => {
                self.first = length;
                (1..=3).contains(&length)
            }
            (_, false) => {
                let usual = *self.middle.get_or_insert(length);
                length == usual && (2..=3).contains(&length) && self.first <= length
            }
            (_, true) => length == 3,
        };
        self.ended += 1;
        (sound && !self.has_other).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(decimal: char, thousands: Option<char>, text: &str) -> Option<String> {
        let mut separators = Separators::new(decimal, thousands);
        let plain = separators.plain(text.as_bytes())?;
        Some(String::from_utf8(plain.bytes().to_vec()).unwrap())
    }

    #[test]
    fn numbers_of_many_countries() {
        for (decimal, thousands, text, expected) in [
            (',', None, "1,5", "1.5"),
            (',', None, "-1234567,", "-1234567."),
            (',', None, "1,5e-3", "1.5e-3"),
            (',', None, "NaN", "NaN"),
            (',', Some('.'), "1.234.567,89", "1234567.89"),
            (',', Some('.'), "+1.234", "+1234"),
            (',', Some('.'), "1234,5", "1234.5"),
            ('.', Some(','), "12,345.6789", "12345.6789"),
            ('.', Some(','), "1,23,45,678.9", "12345678.9"),
            (',', Some(' '), "1 234\u{A0}567\u{202F}890,1", "1234567890.1"),
            ('.', Some('\''), "1'234\u{2019}567.5", "1234567.5"),
            ('·', Some('_'), "1_000·25", "1000.25"),
        ] {
            assert_eq!(plain(decimal, thousands, text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn another_notation_is_not_misread() {
        for (decimal, thousands, text) in [
            (',', None, "1.5"),
            (',', None, "1.234,5"),
            (',', Some('.'), "1.5"),
            (',', Some('.'), "1.2345"),
            (',', Some('.'), "1234.567"),
            (',', Some('.'), ".234"),
            (',', Some('.'), "1..234"),
            (',', Some('.'), "1.234."),
            (',', Some('.'), "1.234.56"),
            (',', Some('.'), "192.168.100.1"),
            ('.', Some(','), "1,23,456,789"),
            ('.', Some(','), "123,45,678"),
            ('.', Some(','), "1,5"),
            ('.', Some(' '), "a bcd"),
        ] {
            assert_eq!(plain(decimal, thousands, text), None, "{text}");
        }
        // What these make is no number.
        assert_eq!(plain(',', Some('.'), "1,234.5").as_deref(), Some("1.234.5"));
        assert_eq!(plain(',', None, "1,2,3").as_deref(), Some("1.2,3"));
    }
}
