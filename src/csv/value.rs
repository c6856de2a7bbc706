//! One field to one value. Each function gives nothing where the text is not such a value.
//!
//! The text has no quotes, and no spaces around it. Nothing is rounded but binary floating point,
//! which is rounded correctly.
//!
//! What is inlined always is so because a [`Text`] handed over through memory stalls the loop over a
//! column for longer than the parsing takes.

use std::ops::RangeInclusive;

use super::marks::equal_bytes;

/// Days before 1970-01-01 in the proleptic Gregorian calendar, counted from 0000-03-01.
const EPOCH_DAYS: i32 = 719_468;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Up to this many digits are exact in a `f64`.
const F64_DIGITS: usize = 15;

/// The powers of ten that are exact in a `f64`, as far as [`F64_DIGITS`] can need them.
const F64_POWERS: [f64; F64_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The text of one field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    /// The eight bytes up to the text's end, whatever is before it.
    tail: u64,
}

impl<'a> Text<'a> {
    /// The text at `start..end` of `buffer`; empty where there is none.
    #[inline(always)]
    pub(super) fn within(buffer: &'a [u8], start: usize, end: usize) -> Self {
        let bytes = buffer.get(start..end).unwrap_or_default();
        match buffer.get(..end).and_then(|before| before.last_chunk()) {
            Some(tail) => Self { bytes, tail: u64::from_le_bytes(*tail) },
            None => Self::alone(bytes),
        }
    }

    /// A text with nothing before it.
    #[cold]
    fn alone(bytes: &'a [u8]) -> Self {
        let mut tail = [0; 8];
        for (to, from) in tail.iter_mut().rev().zip(bytes.iter().rev()) {
            *to = *from;
        }
        Self { bytes, tail: u64::from_le_bytes(tail) }
    }

    #[inline]
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Appends the text to `bytes`. A short one goes as eight bytes at once, and is then cut.
    #[inline]
    pub(super) fn append_to(self, bytes: &mut Vec<u8>) {
        let length = self.bytes.len();
        if (1..=8).contains(&length) {
            let end = bytes.len() + length;
            let front_first = self.tail >> (8 * (8 - length));
            bytes.extend_from_slice(&front_first.to_le_bytes());
            bytes.truncate(end);
        } else {
            bytes.extend_from_slice(self.bytes);
        }
    }

    /// A short text as eight bytes, filled up with zero digits in front.
    #[inline(always)]
    fn word(self) -> Option<u64> {
        let length = self.bytes.len();
        if length == 0 || length > 8 {
            return None;
        }
        let missing = 8 * (8 - length as u32);
        let front = (1_u64 << missing) - 1;
        Some((self.tail & !front) | (ZERO_DIGITS & front))
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::within(bytes, 0, bytes.len())
    }
}

const ZERO_DIGITS: u64 = 0x3030_3030_3030_3030;

/// The number that eight digits are; the first byte is the first digit.
#[inline(always)]
fn eight_digits(word: u64) -> Option<u64> {
    let digits = word ^ ZERO_DIGITS;
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Neighbours are joined to numbers of two digits, then four, then eight.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    Some((fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF)
}

/// Takes the point out of eight digits, and says how many digits are after it.
#[inline(always)]
fn without_point(word: u64) -> (u64, usize) {
    let points = equal_bytes(word, b'.');
    if points == 0 {
        return (word, 0);
    }
    let bit = points.trailing_zeros() & !7;
    let front = (1_u64 << bit) - 1;
    let back = !front & !(0xFF << bit);
    ((word & back) | ((word & front) << 8) | u64::from(b'0'), 7 - bit as usize / 8)
}

/// `text` without the spaces around it.
pub(super) fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

/// A declared boolean.
pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word.as_bytes());
    if ["true", "t", "1", "yes", "y"].iter().any(is) {
        Some(true)
    } else if ["false", "f", "0", "no", "n"].iter().any(is) {
        Some(false)
    } else {
        None
    }
}

/// A signed integer of any width: a sign or none, and digits.
#[inline(always)]
pub(super) fn signed<T: TryFrom<i64>>(text: Text<'_>) -> Option<T> {
    let (negative, rest) = sign(text);
    let magnitude = digits(rest)?;
    let value = if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    };
    T::try_from(value?).ok()
}

/// An unsigned integer of any width; zero may have a minus.
#[inline(always)]
pub(super) fn unsigned<T: TryFrom<u64>>(text: Text<'_>) -> Option<T> {
    let (negative, rest) = sign(text);
    let magnitude = digits(rest)?;
    if negative && magnitude != 0 { None } else { T::try_from(magnitude).ok() }
}

/// The nearest `f64`: decimal, with or without an exponent, or `inf`, `infinity`, `nan`.
#[inline(always)]
pub(super) fn float64(text: Text<'_>) -> Option<f64> {
    let (negative, rest) = sign(text);
    match short_decimal(rest) {
        // Both operands are exact, so that the division rounds once, as it should.
        Some((mantissa, places)) => {
            let magnitude = mantissa as f64 / F64_POWERS[places];
            Some(if negative { -magnitude } else { magnitude })
        }
        None => std::str::from_utf8(text.bytes).ok()?.parse().ok(),
    }
}

/// The nearest `f32`, as [`float64`].
pub(super) fn float32(text: &[u8]) -> Option<f32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The unscaled value of a decimal that has at most `precision` digits, `scale` of them after the
/// point. Further digits after the point must be zeros. There is no exponent.
#[inline(always)]
pub(super) fn decimal(text: Text<'_>, precision: u8, scale: u8) -> Option<i128> {
    let (negative, rest) = sign(text);
    let (mantissa, places) = match short_decimal(rest) {
        Some((mantissa, places)) => (i128::from(mantissa), places),
        None => long_decimal(rest.bytes, usize::from(scale))?,
    };
    let shift = u32::from(scale).checked_sub(u32::try_from(places).ok()?);
    let magnitude = match shift {
        Some(0) => mantissa,
        Some(shift) => mantissa.checked_mul(10_i128.pow(shift))?,
        None => {
            let excess = 10_i128.pow(u32::try_from(places).ok()? - u32::from(scale));
            if mantissa % excess != 0 {
                return None;
            }
            mantissa / excess
        }
    };
    if magnitude >= 10_i128.pow(u32::from(precision)) {
        return None;
    }
    Some(if negative { -magnitude } else { magnitude })
}

/// Days since 1970-01-01 of `YYYY-MM-DD`, years 0001 to 9999.
#[inline(always)]
pub(super) fn date(text: &[u8]) -> Option<i32> {
    let text: &[u8; 10] = text.try_into().ok()?;
    let mut sound = text[4] == b'-' && text[7] == b'-';
    let mut digit = |i: usize| {
        let digit = text[i].wrapping_sub(b'0');
        sound &= digit <= 9;
        i32::from(digit)
    };
    let year = 1000 * digit(0) + 100 * digit(1) + 10 * digit(2) + digit(3);
    let month = 10 * digit(5) + digit(6);
    let day = 10 * digit(8) + digit(9);
    // All at once: one branch that is always taken is cheaper than many.
    sound &= (year > 0) & (day > 0) & (day <= month_days(year, month));
    sound.then(|| days_since_epoch(year, month, day))
}

/// A timestamp in microseconds since 1970, and whether it says its offset from UTC.
///
/// `YYYY-MM-DD[T ]HH:MM[:SS[.fraction]][Z|±HH[:MM]]`, or a date alone, which is its midnight. Digits
/// beyond microseconds must be zeros.
pub(super) fn timestamp(text: &[u8]) -> Option<(i64, bool)> {
    let (day, rest) = text.split_at_checked(10)?;
    let midnight = i64::from(date(day)?) * 86_400;
    let Some((b'T' | b' ', rest)) = rest.split_first() else {
        return rest.is_empty().then_some((midnight * MICROS_PER_SECOND, false));
    };
    let (hour, rest) = two_digits_of(rest, 0..=23)?;
    let (minute, mut rest) = two_digits_of(rest.strip_prefix(b":")?, 0..=59)?;
    let (mut second, mut micros) = (0, 0);
    if let Some(seconds) = rest.strip_prefix(b":") {
        (second, rest) = two_digits_of(seconds, 0..=59)?;
        if let Some(fraction) = rest.strip_prefix(b".") {
            (micros, rest) = microseconds(fraction)?;
        }
    }
    let (offset, zoned) = if rest.is_empty() { (0, false) } else { (offset_seconds(rest)?, true) };
    let seconds = midnight + i64::from(hour * 3600 + minute * 60 + second - offset);
    Some((seconds * MICROS_PER_SECOND + micros, zoned))
}

#[inline(always)]
fn sign(text: Text<'_>) -> (bool, Text<'_>) {
    match text.bytes {
        [b'-', rest @ ..] => (true, Text { bytes: rest, ..text }),
        [b'+', rest @ ..] => (false, Text { bytes: rest, ..text }),
        _ => (false, text),
    }
}

/// One or more digits that fit.
#[inline(always)]
fn digits(text: Text<'_>) -> Option<u64> {
    if let Some(word) = text.word() {
        return eight_digits(word);
    }
    long_digits(text.bytes)
}

#[inline(never)]
fn long_digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        let digit = (digit <= 9).then_some(u64::from(digit))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Digits with a point or none, few enough to be exact everywhere: as an integer, and how many of
/// them are after the point.
#[inline(always)]
fn short_decimal(text: Text<'_>) -> Option<(u64, usize)> {
    if let Some(word) = text.word() {
        let (digits, places) = without_point(word);
        let only_a_point = text.bytes == b".";
        return eight_digits(digits).filter(|_| !only_a_point).map(|number| (number, places));
    }
    medium_decimal(text.bytes)
}

#[inline(never)]
fn medium_decimal(text: &[u8]) -> Option<(u64, usize)> {
    if text.len() > F64_DIGITS + 1 {
        return None;
    }
    let mut mantissa = 0;
    let mut point = None;
    for (i, byte) in text.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa * 10 + u64::from(digit);
        } else if *byte == b'.' && point.is_none() {
            point = Some(i);
        } else {
            return None;
        }
    }
    let digits = text.len() - usize::from(point.is_some());
    let places = point.map_or(0, |point| text.len() - point - 1);
    (1..=F64_DIGITS).contains(&digits).then_some((mantissa, places))
}

/// As [`short_decimal`], for any number of digits; zeros beyond `scale` are left out.
fn long_decimal(text: &[u8], scale: usize) -> Option<(i128, usize)> {
    let point = memchr::memchr(b'.', text);
    let (whole, fraction) = match point {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (fraction, excess) = fraction.split_at(fraction.len().min(scale));
    if excess.iter().any(|byte| *byte != b'0') {
        return None;
    }
    let mantissa = whole.iter().chain(fraction).try_fold(0_i128, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        let digit = (digit <= 9).then_some(i128::from(digit))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    Some((mantissa, fraction.len()))
}

#[inline]
fn two_digits(tens: u8, ones: u8) -> Option<i32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(i32::from(tens) * 10 + i32::from(ones))
}

fn two_digits_of(text: &[u8], range: RangeInclusive<i32>) -> Option<(i32, &[u8])> {
    let (&[tens, ones], rest) = text.split_first_chunk()?;
    let value = two_digits(tens, ones).filter(|value| range.contains(value))?;
    Some((value, rest))
}

fn microseconds(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = text.split_at(length);
    let (significant, excess) = fraction.split_at(length.min(6));
    if significant.is_empty() || excess.iter().any(|digit| *digit != b'0') {
        return None;
    }
    let digits = significant.iter().chain(std::iter::repeat(&b'0')).take(6);
    Some((digits.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')), rest))
}

/// How far `Z`, `±HH` or `±HH:MM` is ahead of UTC.
fn offset_seconds(text: &[u8]) -> Option<i32> {
    let (direction, rest) = match text {
        b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = two_digits_of(rest, 0..=23)?;
    let minutes = match rest {
        [] => 0,
        [b':', rest @ ..] => two_digits_of(rest, 0..=59).filter(|(_, rest)| rest.is_empty())?.0,
        _ => return None,
    };
    Some(direction * (hours * 3600 + minutes * 60))
}

/// How many days the month has; none where there is no such month.
#[inline]
fn month_days(year: i32, month: i32) -> i32 {
    const DAYS: [i32; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0));
    let days = usize::try_from(month).ok().and_then(|month| DAYS.get(month)).copied();
    days.unwrap_or(0) + i32::from(leap & (month == 2))
}

/// The year is taken to begin in March, so that the leap day is its last.
#[inline]
fn days_since_epoch(year: i32, month: i32, day: i32) -> i32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let century = year / 100;
    365 * year + year / 4 - century + century / 4 + (153 * month + 2) / 5 + day - 1 - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed<T: TryFrom<i64>>(text: &[u8]) -> Option<T> {
        after_others(text, super::signed)
    }

    fn unsigned<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
        after_others(text, super::unsigned)
    }

    fn float64(text: &[u8]) -> Option<f64> {
        after_others(text, super::float64)
    }

    fn decimal(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
        after_others(text, |text| super::decimal(text, precision, scale))
    }

    /// A text is read alike wherever it is in the buffer.
    fn after_others<T>(text: &[u8], parse: impl Fn(Text<'_>) -> Option<T>) -> Option<T> {
        let buffer = [b"-1.7,5-.3,", text, b"9,"].concat();
        let within = parse(Text::within(&buffer, 10, 10 + text.len()));
        let alone = parse(text.into());
        assert_eq!(within.is_some(), alone.is_some());
        within
    }

    #[test]
    fn integers() {
        assert_eq!(signed(b"-128"), Some(-128_i8));
        assert_eq!(signed::<i8>(b"-129"), None);
        assert_eq!(signed(b"+0127"), Some(127_i8));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed::<i64>(b"-9223372036854775809"), None);
        assert_eq!(signed::<i64>(b"9223372036854775808"), None);
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned(b"00000000018446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned::<u64>(b"18446744073709551616"), None);
        assert_eq!(unsigned(b"-0"), Some(0_u8));
        assert_eq!(unsigned::<u8>(b"-1"), None);
        assert_eq!(unsigned::<u8>(b"256"), None);
        for bad in ["", "+", "-", "1.0", "1e3", "--1", "1 ", "0x1", "١"] {
            assert_eq!(signed::<i64>(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn floats_are_the_nearest() {
        for text in [
            "0",
            "-0",
            "0.1",
            "123456789012345",
            "1234567890123456",
            ".5",
            "5.",
            "1e-7",
            "+1E5",
            "1e400",
            "0.000000000000001",
            "9007199254740993",
            "179769313486231570000e289",
            "4.9e-324",
            "inf",
            "-Infinity",
            "0.30000000000000004",
        ] {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(float64(text.as_bytes()).unwrap().to_bits(), expected.to_bits(), "{text}");
        }
        assert!(float64(b"nAn").unwrap().is_nan());
        assert_eq!(float32(b"16777217"), Some(16_777_216.0));
        for bad in ["", ".", "-", "1..2", "1.2.3", "1e", "1f", "0x1p3", " 1", "\u{FF11}"] {
            assert_eq!(float64(bad.as_bytes()), None, "{bad}");
            assert_eq!(float32(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        let money = |text: &str| decimal(text.as_bytes(), 5, 2);
        assert_eq!(money("123.45"), Some(12345));
        assert_eq!(money("-1"), Some(-100));
        assert_eq!(money("+.5"), Some(50));
        assert_eq!(money("7."), Some(700));
        assert_eq!(money("999.9900000000000000000000000000000000000000000"), Some(99999));
        assert_eq!(money("0000000000000000000000000000000000000000000001.1"), Some(110));
        for bad in [
            "",
            ".",
            "-",
            "1000",
            "0.001",
            "1.2.3",
            "1e2",
            "12345678901234567890123456.1",
            "1.0000000000000001",
        ] {
            assert_eq!(money(bad), None, "{bad}");
        }
        let nines = "9".repeat(38);
        assert_eq!(decimal(nines.as_bytes(), 38, 0), nines.parse().ok());
        assert_eq!(decimal(format!("{nines}9").as_bytes(), 38, 0), None);
        assert_eq!(decimal(b"1", 38, 38), None);
        assert_eq!(decimal(b"0.1", 38, 38), Some(10_i128.pow(37)));
        assert_eq!(decimal(b"0", 38, 38), Some(0));
    }

    #[test]
    fn every_day_of_the_calendar() {
        let mut day = chrono::NaiveDate::from_ymd_opt(1, 1, 1).unwrap();
        let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        while chrono::Datelike::year(&day) < 10_000 {
            let expected = i32::try_from((day - epoch).num_days()).unwrap();
            assert_eq!(date(day.to_string().as_bytes()), Some(expected), "{day}");
            day = day.succ_opt().unwrap();
        }
        for bad in [
            "0000-01-01",
            "2023-02-29",
            "1900-02-29",
            "2023-00-01",
            "2023-13-01",
            "2023-04-31",
            "2023-1-1",
            "2023-01-00",
            "2023/01/01",
            "+023-01-01",
        ] {
            assert_eq!(date(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn timestamps() {
        let at = |text: &str| timestamp(text.as_bytes());
        let noon = 1_709_208_000_000_000; // 2024-02-29T12:00:00Z
        assert_eq!(at("2024-02-29 12:00"), Some((noon, false)));
        assert_eq!(at("2024-02-29T12:00:00.000001000"), Some((noon + 1, false)));
        assert_eq!(at("2024-02-29T12:00:01.5Z"), Some((noon + 1_500_000, true)));
        assert_eq!(at("2024-02-29T14:30:00+02:30"), Some((noon, true)));
        assert_eq!(at("2024-02-29T04:00-08"), Some((noon, true)));
        assert_eq!(at("2024-02-29"), Some((noon - 43_200_000_000, false)));
        assert_eq!(at("1969-12-31 23:59:59.999999"), Some((-1, false)));
        for bad in [
            "",
            "2024-02-30T12:00",
            "2024-02-29T24:00",
            "2024-02-29T12:60",
            "2024-02-29T12:00:60",
            "2024-02-29T12",
            "2024-02-29T12:00:00.",
            "2024-02-29T12:00:00.0000001",
            "2024-02-29T12:00z",
            "2024-02-29T12:00+2",
            "2024-02-29T12:00+02:3",
            "2024-02-29T12:00+0230",
            "2024-02-29Z",
            "2024-02-29T12:00.5",
            "2024-02-29x12:00",
            "2024-02-29T12:00 Z",
            "2024-02-29T",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn booleans_and_spaces() {
        assert_eq!(
            ["TRUE", "t", "Yes", "y", "1"].map(|word| boolean(word.as_bytes())),
            [Some(true); 5]
        );
        assert_eq!(
            ["False", "F", "no", "N", "0"].map(|word| boolean(word.as_bytes())),
            [Some(false); 5]
        );
        assert_eq!(["", "tr", "10", "on"].map(|word| boolean(word.as_bytes())), [None; 4]);
        assert_eq!(trimmed(b"  a b "), b"a b");
        assert_eq!(trimmed(b"   "), b"");
    }
}
