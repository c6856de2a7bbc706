//! Numbers: integers, floats and decimals.

use std::str::FromStr;

use super::super::marks::equal_bytes;
use super::Text;

/// Up to this many digits are exact in a `f64`.
const F64_DIGITS: usize = 15;

/// The powers of ten that are exact in a `f64`, as far as [`F64_DIGITS`] can need them.
const F64_POWERS: [f64; F64_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

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

/// A short text as eight bytes, filled up with zero digits in front.
#[inline(always)]
fn word(text: Text<'_>) -> Option<u64> {
    let length = text.bytes.len();
    if length == 0 || length > 8 {
        return None;
    }
    let missing = 8 * (8 - length as u32);
    let front = (1_u64 << missing) - 1;
    Some((text.tail & !front) | (ZERO_DIGITS & front))
}

/// A signed integer of any width: a sign or none, and digits.
#[inline(always)]
pub(crate) fn signed<T: TryFrom<i64>>(text: Text<'_>) -> Option<T> {
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
pub(crate) fn unsigned<T: TryFrom<u64>>(text: Text<'_>) -> Option<T> {
    let (negative, rest) = sign(text);
    let magnitude = digits(rest)?;
    if negative && magnitude != 0 { None } else { T::try_from(magnitude).ok() }
}

/// The nearest `f64`: decimal, with or without an exponent, or a word for what is no number: `inf`,
/// `infinity`, `nan`, in any case, and `1.#INF`, `1.#QNAN`, `1.#SNAN` and `1.#IND`, as older programs for
/// Windows write them. A number that is too large is none: it does not become infinite.
#[inline(always)]
pub(crate) fn float64(text: Text<'_>) -> Option<f64> {
    let (negative, rest) = sign(text);
    match short_decimal(rest) {
        // Both operands are exact, so that the division rounds once, as it should.
        Some((mantissa, places)) => {
            let magnitude = mantissa as f64 / F64_POWERS[places];
            Some(if negative { -magnitude } else { magnitude })
        }
        None => long_float(text.bytes),
    }
}

/// The nearest `f32`, as [`float64`].
pub(crate) fn float32(text: Text<'_>) -> Option<f32> {
    long_float(text.bytes)
}

#[inline(never)]
fn long_float<T: FromStr + From<f32> + Into<f64> + Copy>(text: &[u8]) -> Option<T> {
    match text.strip_prefix(b"-").unwrap_or(text) {
        b"1.#INF" if text[0] == b'-' => return Some(f32::NEG_INFINITY.into()),
        b"1.#INF" => return Some(f32::INFINITY.into()),
        b"1.#QNAN" | b"1.#SNAN" | b"1.#IND" => return Some(f32::NAN.into()),
        _ => {}
    }
    let value: T = std::str::from_utf8(text).ok()?.parse().ok()?;
    let is_number = text.iter().any(u8::is_ascii_digit);
    (value.into().is_finite() || !is_number).then_some(value)
}

/// The unscaled value of a decimal that has at most `precision` digits, `scale` of them after the
/// point. Further digits after the point must be zeros; an exponent moves the point.
#[inline(always)]
pub(crate) fn decimal(text: Text<'_>, precision: u8, scale: u8) -> Option<i128> {
    let (negative, rest) = sign(text);
    let magnitude = match short_decimal(rest) {
        Some((mantissa, places)) => scaled(mantissa.into(), u32::try_from(places).ok()?, scale)?,
        None => long_decimal(rest.bytes, scale, Excess::Refused)?,
    };
    signed_decimal(negative, magnitude, precision)
}

/// As [`decimal`], but further digits after the point are rounded: half a unit away from zero, as SQL
/// has it.
pub(crate) fn rounded_decimal(text: Text<'_>, precision: u8, scale: u8) -> Option<i128> {
    let (negative, rest) = sign(text);
    signed_decimal(negative, long_decimal(rest.bytes, scale, Excess::Rounded)?, precision)
}

/// `mantissa`, which has `places` digits after the point, with `scale` of them.
#[inline(always)]
fn scaled(mantissa: i128, places: u32, scale: u8) -> Option<i128> {
    match u32::from(scale).checked_sub(places) {
        Some(0) => Some(mantissa),
        Some(shift) => mantissa.checked_mul(10_i128.pow(shift)),
        None => {
            let excess = 10_i128.pow(places - u32::from(scale));
            (mantissa % excess == 0).then_some(mantissa / excess)
        }
    }
}

#[inline(always)]
fn signed_decimal(negative: bool, magnitude: i128, precision: u8) -> Option<i128> {
    let value = if negative { -magnitude } else { magnitude };
    (magnitude < 10_i128.pow(u32::from(precision))).then_some(value)
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
    if let Some(word) = word(text) {
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
    if let Some(word) = word(text) {
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

/// What becomes of digits beyond the last that a decimal has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excess {
    /// Other than zeros, they make it no value.
    Refused,
    Rounded,
}

/// The magnitude of any decimal, with `scale` digits after the point: digits with a point or none,
/// and an exponent or none.
#[inline(never)]
fn long_decimal(text: &[u8], scale: u8, excess: Excess) -> Option<i128> {
    let (number, exponent) = match memchr::memchr2(b'e', b'E', text) {
        Some(at) => (&text[..at], signed::<i64>(text[at + 1..].into())?),
        None => (text, 0),
    };
    let (whole, fraction) = match memchr::memchr(b'.', number) {
        Some(point) => (&number[..point], &number[point + 1..]),
        None => (number, &[][..]),
    };
    let mut all = whole.iter().chain(fraction);
    if (whole.is_empty() && fraction.is_empty()) || !all.all(u8::is_ascii_digit) {
        return None;
    }
    let digits = || whole.iter().chain(fraction).map(|byte| i128::from(byte - b'0'));
    // Digits from the first on; there may be fewer.
    let wanted = exponent.saturating_add(whole.len() as i64).saturating_add(scale.into());
    let taken = usize::try_from(wanted).unwrap_or(0);
    let magnitude = digits()
        .take(taken)
        .try_fold(0_i128, |value, digit| value.checked_mul(10)?.checked_add(digit))?;
    let missing = taken.saturating_sub(number.len() - usize::from(number.contains(&b'.')));
    let magnitude = match magnitude {
        0 => 0,
        _ => magnitude.checked_mul(10_i128.checked_pow(u32::try_from(missing).ok()?)?)?,
    };
    let mut rest = digits().skip(taken);
    match excess {
        Excess::Refused => rest.all(|digit| digit == 0).then_some(magnitude),
        Excess::Rounded if wanted >= 0 && rest.next() >= Some(5) => magnitude.checked_add(1),
        Excess::Rounded => Some(magnitude),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    fn float32(text: &[u8]) -> Option<f32> {
        after_others(text, super::float32)
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
            "1e-400",
            "1.7976931348623157e308",
            "0.000000000000001",
            "9007199254740993",
            "179769313486231570000e288",
            "4.9e-324",
            "inf",
            "-Infinity",
            "0.30000000000000004",
        ] {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(float64(text.as_bytes()).unwrap().to_bits(), expected.to_bits(), "{text}");
        }
        for text in ["nAn", "-nan", "+NaN", "1.#QNAN", "-1.#IND", "1.#SNAN"] {
            assert!(float64(text.as_bytes()).unwrap().is_nan(), "{text}");
            assert!(float32(text.as_bytes()).unwrap().is_nan(), "{text}");
        }
        for (text, expected) in [
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("INFINITY", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1.#INF", f64::INFINITY),
            ("-1.#INF", f64::NEG_INFINITY),
        ] {
            assert_eq!(float64(text.as_bytes()), Some(expected), "{text}");
            assert_eq!(float32(text.as_bytes()), Some(expected as f32), "{text}");
        }
        for too_large in ["1e309", "-1e400", "179769313486231590000e288"] {
            assert_eq!(float64(too_large.as_bytes()), None, "{too_large}");
        }
        assert_eq!(float32(b"3.4028235e38"), Some(f32::MAX));
        assert_eq!(float32(b"1e39"), None);
        assert_eq!(float32(b"16777217"), Some(16_777_216.0));
        for bad in [
            "", ".", "-", "1..2", "1.2.3", "1e", "1.#inf", "#INF", "--1.#INF", "in", "1f", "0x1p3",
            " 1", "\u{FF11}",
        ] {
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
        assert_eq!(money("1e2"), Some(10000));
        assert_eq!(money("-1.2345E+2"), Some(-12345));
        assert_eq!(money("12345e-2"), Some(12345));
        assert_eq!(money("1230000e-4"), Some(12300));
        assert_eq!(money("0e999999"), Some(0));
        assert_eq!(money("0.00000e-7"), Some(0));
        assert_eq!(money("999.9900000000000000000000000000000000000000000"), Some(99999));
        assert_eq!(money("0000000000000000000000000000000000000000000001.1"), Some(110));
        for bad in [
            "",
            ".",
            "-",
            "1000",
            "0.001",
            "1.2.3",
            "1e3",
            "1e-3",
            "1e",
            "e1",
            ".e1",
            "1e1.0",
            "1e+-1",
            "1e99999999999999999999",
            "1e9223372036854775807",
            "1e-9223372036854775808",
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
    fn decimals_are_rounded_where_that_is_asked_for() {
        let money = |text: &str| rounded_decimal(text.as_bytes().into(), 5, 2);
        for (text, expected) in [
            ("1.234", Some(123)),
            ("1.235", Some(124)),
            ("1.225", Some(123)),
            ("-1.235", Some(-124)),
            ("-1.2349999999999999999999999999999999999999999", Some(-123)),
            ("0.005", Some(1)),
            ("0.0049", Some(0)),
            ("0.0005", Some(0)),
            ("9e-9", Some(0)),
            ("5e-3", Some(1)),
            ("999.994", Some(99999)),
            ("999.995", None),
            ("123.45", Some(12345)),
            ("1e400", None),
            ("x", None),
            ("1.2x5", None),
        ] {
            assert_eq!(money(text), expected, "{text}");
        }
        let nines = "9".repeat(38);
        let whole = |text: &str| rounded_decimal(text.as_bytes().into(), 38, 0);
        assert_eq!(whole(&format!("{nines}.4")), nines.parse().ok());
        assert_eq!(whole(&format!("{nines}.5")), None);
        assert_eq!(whole("0.5"), Some(1));
        assert_eq!(whole("1e-39"), Some(0));
    }

    /// A decimal by arithmetic on whole numbers alone: `mantissa * 10^(exponent + scale)`.
    fn by_arithmetic(mantissa: i64, exponent: i32, scale: u8, round: bool) -> Option<i128> {
        let shift = exponent + i32::from(scale);
        let mantissa = i128::from(mantissa);
        if shift >= 0 {
            return mantissa.checked_mul(10_i128.checked_pow(shift as u32)?);
        }
        let unit = 10_i128.pow(shift.unsigned_abs());
        let (whole, rest) = (mantissa / unit, mantissa % unit);
        match (rest, round) {
            (0, _) => Some(whole),
            (_, false) => None,
            (_, true) if 2 * rest.abs() >= unit => Some(whole + mantissa.signum()),
            (_, true) => Some(whole),
        }
    }

    /// A number with its point `places` digits from the end, and an exponent to match.
    fn written(mantissa: i64, places: usize, exponent: i32) -> String {
        let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        let sign = if mantissa < 0 { "-" } else { "" };
        format!("{sign}{whole}.{fraction}e{}", exponent + places as i32)
    }

    proptest! {
        #[test]
        fn decimals_are_as_arithmetic_has_them(
            mantissa in prop_oneof![any::<i64>(), -100_000..100_000_i64],
            places in 0..25_usize,
            exponent in -24..24_i32,
            scale in 0..20_u8,
        ) {
            let text = written(mantissa, places, exponent);
            let fits = |value: &i128| value.abs() < 10_i128.pow(38);
            let expected = |round| by_arithmetic(mantissa, exponent, scale, round).filter(fits);
            prop_assert_eq!(decimal(text.as_bytes(), 38, scale), expected(false), "{}", text);
            let rounded = rounded_decimal(text.as_bytes().into(), 38, scale);
            prop_assert_eq!(rounded, expected(true), "{}", text);
        }

        #[test]
        fn integers_and_floats_are_as_the_standard_library_has_them(
            text in "[+-]?[0-9]{0,22}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?",
        ) {
            prop_assert_eq!(signed::<i64>(text.as_bytes()), text.parse().ok());
            prop_assert_eq!(signed::<i16>(text.as_bytes()), text.parse().ok());
            let finite = |value: &f64| value.is_finite();
            let expected: Option<f64> = text.parse().ok().filter(finite);
            let found = float64(text.as_bytes());
            prop_assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits));
        }
    }
}
