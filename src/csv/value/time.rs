//! Dates and timestamps in the forms of ISO 8601.

use std::ops::RangeInclusive;

/// Days before 1970-01-01 in the proleptic Gregorian calendar, counted from 0000-03-01.
const EPOCH_DAYS: i32 = 719_468;

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;

pub(super) const SECONDS_PER_DAY: i64 = 86_400;

/// Days since 1970-01-01 of `YYYY-MM-DD`, years 0001 to 9999.
#[inline(always)]
pub(crate) fn date(text: &[u8]) -> Option<i32> {
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
/// `YYYY-MM-DD[T ]HH:MM[:SS[.fraction]][offset]`, or a date alone, which is its midnight, or without
/// separators `YYYYMMDDTHHMM[SS[.fraction]][offset]`. The fraction may have a comma for its point, and
/// digits beyond microseconds must be zeros. The offset is `Z`, `UTC`, `±HH`, `±HHMM` or `±HH:MM`, with
/// a space before it or none. There is no second 60: a table cannot hold it.
pub(crate) fn timestamp(text: &[u8]) -> Option<(i64, bool)> {
    if text.get(8) == Some(&b'T') {
        return basic_timestamp(text);
    }
    let (day, rest) = text.split_at_checked(10)?;
    let midnight = i64::from(date(day)?) * SECONDS_PER_DAY;
    let Some((b'T' | b' ', rest)) = rest.split_first() else {
        return rest.is_empty().then_some((midnight * MICROS_PER_SECOND, false));
    };
    let (hour, rest) = two_digits_of(rest, 0..=23)?;
    let (minute, rest) = two_digits_of(rest.strip_prefix(b":")?, 0..=59)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => seconds(rest)?,
        None => (0, rest),
    };
    let minutes = midnight + i64::from(hour * 3600 + minute * 60);
    moment(minutes * MICROS_PER_SECOND + second, rest)
}

#[inline(never)]
fn basic_timestamp(text: &[u8]) -> Option<(i64, bool)> {
    let (&[m, c, x, y, month_tens, month, day_tens, day], rest) = text.split_first_chunk()?;
    let day = [m, c, x, y, b'-', month_tens, month, b'-', day_tens, day];
    let midnight = i64::from(date(&day)?) * SECONDS_PER_DAY;
    let (hour, rest) = two_digits_of(rest.strip_prefix(b"T")?, 0..=23)?;
    let (minute, rest) = two_digits_of(rest, 0..=59)?;
    let (second, rest) = match rest.first() {
        Some(b'0'..=b'9') => seconds(rest)?,
        _ => (0, rest),
    };
    let minutes = midnight + i64::from(hour * 3600 + minute * 60);
    moment(minutes * MICROS_PER_SECOND + second, rest)
}

/// A local time, and what is left of its text: its offset, or nothing.
fn moment(local_micros: i64, offset: &[u8]) -> Option<(i64, bool)> {
    if offset.is_empty() {
        return Some((local_micros, false));
    }
    let seconds = i64::from(offset_seconds(offset)?);
    Some((local_micros - seconds * MICROS_PER_SECOND, true))
}

/// Seconds with a fraction or none, as microseconds.
fn seconds(text: &[u8]) -> Option<(i64, &[u8])> {
    let (second, rest) = two_digits_of(text, 0..=59)?;
    let second = i64::from(second) * MICROS_PER_SECOND;
    match rest {
        [b'.' | b',', fraction @ ..] => {
            let (micros, rest) = microseconds(fraction)?;
            Some((second + micros, rest))
        }
        _ => Some((second, rest)),
    }
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

/// How far the offset is ahead of UTC.
fn offset_seconds(text: &[u8]) -> Option<i32> {
    let (direction, rest) = match text.strip_prefix(b" ").unwrap_or(text) {
        b"Z" | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = two_digits_of(rest, 0..=23)?;
    let minutes = match rest {
        [] => 0,
        [b':', rest @ ..] | rest => {
            two_digits_of(rest, 0..=59).filter(|(_, rest)| rest.is_empty())?.0
        }
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
        assert_eq!(at("2024-02-29T07:00-0500"), Some((noon, true)));
        assert_eq!(at("2024-02-29 12:00:00 UTC"), Some((noon, true)));
        assert_eq!(at("2024-02-29 13:00:00 +0100"), Some((noon, true)));
        assert_eq!(at("2024-02-29 12:00 Z"), Some((noon, true)));
        assert_eq!(at("2024-02-29 12:00:00,000001"), Some((noon + 1, false)));
        assert_eq!(at("20240229T120000"), Some((noon, false)));
        assert_eq!(at("20240229T1200Z"), Some((noon, true)));
        assert_eq!(at("20240229T130000.000001+0100"), Some((noon + 1, true)));
        assert_eq!(at("0001-01-01T00:00"), Some((-62_135_596_800_000_000, false)));
        let last = 253_402_300_799_999_999;
        assert_eq!(at("9999-12-31T23:59:59.999999"), Some((last, false)));
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
            "2024-02-29Z",
            "2024-02-29T12:00.5",
            "2024-02-29x12:00",
            "2024-02-29T",
            "2024-02-29T12:00  Z",
            "2024-02-29T12:00 GMT",
            "2024-02-29T12:00utc",
            "2024-02-29T12:00:00,",
            "2024-02-29T12:00+02300",
            "2024-02-29T12:00+24",
            "2024-02-29T12:00+02:60",
            "20240229",
            "20240230T120000",
            "20240229T12",
            "20240229T120000.",
            "20240229T120060",
            "20240229T1200000",
            "20240229 120000",
            "2024é229T1200",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
